# Every target does its own set-up in .venv, from the committed locks; the second run starts at once.
.DEFAULT_GOAL := help
.PHONY: help serve demo test check check-lint check-format check-types check-rooms check-docs bench prove docs docs-serve format lock clean
MAKEFLAGS += --no-print-directory
SHELL := /bin/sh
PORT ?= 8080
BIN := .venv/bin
SETUP_INPUTS := pyproject.toml scripts/setup.sh requirements/build.lock requirements/runtime.lock
STEP := @sh scripts/quietly.sh
# The variable silences a notice about MkDocs 2, not a warning about these pages.
MKDOCS := env NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile

.venv/.runtime-ready: $(SETUP_INPUTS)
	@sh scripts/setup.sh runtime
	@touch $@

.venv/.dev-ready: $(SETUP_INPUTS) requirements/dev.lock
	@sh scripts/setup.sh dev
	@touch .venv/.runtime-ready $@

serve: .venv/.runtime-ready ## the gateway on its embedded defaults (PORT=8080, ARGS="--config headgate.yaml")
	@exec $(BIN)/headgate serve --port $(PORT) $(ARGS)

demo: .venv/.runtime-ready ## four weeks of made-up traffic, served with its console (PORT=8080, ARGS="--calls 1000000")
	@exec $(BIN)/python scripts/demo --port $(PORT) $(ARGS)

test: .venv/.dev-ready ## all tests (ARGS="-k journal" for some)
	@$(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder $(ARGS)

check: check-lint check-format check-types check-rooms check-docs ## lint, format, types, rooms, docs
	@echo "check: all is well"

check-lint: .venv/.dev-ready
	$(STEP) "lint" $(BIN)/ruff check .

check-format: .venv/.dev-ready
	$(STEP) "format" $(BIN)/ruff format --check .

check-types: .venv/.dev-ready
	$(STEP) "types" $(BIN)/mypy

check-rooms: .venv/.dev-ready
	$(STEP) "rooms" $(BIN)/python scripts/rooms.py

check-docs: .venv/.dev-ready
	$(STEP) "docs" $(MKDOCS) build --strict

format: .venv/.dev-ready ## rewrites the code as `make check` wants it
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

docs: .venv/.dev-ready ## the documentation into site/, strictly
	$(STEP) "docs" $(MKDOCS) build --strict
	@echo "docs: open site/index.html"

docs-serve: .venv/.dev-ready ## the documentation, live, on port 8000
	@$(MKDOCS) serve

bench: .venv/.dev-ready ## nginx, this gateway and its peers, side by side, over the same load
	@$(BIN)/python bench/run $(ARGS); status=$$?; $(BIN)/python scripts/proofs.py && exit $$status

prove: .venv/.dev-ready ## the long proofs (ARGS="bench/prove/x.py" for some), then docs/proofs.md
	@sh scripts/prove.sh $(ARGS)

lock: .venv/.dev-ready ## new locks after a change of dependencies (ARGS="--upgrade" for newer versions)
	@sh scripts/lock.sh $(ARGS)

clean: ## removes .venv and everything built
	@rm -rf .venv site dist .mypy_cache .ruff_cache .pytest_cache .hypothesis

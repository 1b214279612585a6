"""Prices in the configuration: exact, strict, stronger than the table; and where the table is read at all."""

from __future__ import annotations

import logging
import subprocess
from pathlib import Path

import pytest

from headgate.config import price_book
from headgate.config.load import load_settings
from headgate.config.price_book import PriceBook, load_table
from headgate.config.priced import price_steps, steps_of
from headgate.config.settings import Settings
from headgate.config.units import Rate, parse_dollars, parse_rate
from headgate.core.errors import ConfigError
from headgate.core.price import Price
from headgate.core.usage import Usage
from headgate.providers.pricelist import Schedule


def settings(text: str) -> Settings:
    return load_settings(text=text, environ={})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that has the extracted table."""
    made = tmp_path_factory.mktemp("table")
    assert load_table(made) is not None
    return made


@pytest.mark.parametrize(
    ("value", "nano"),
    [
        (0, 0),
        (3, 3_000_000_000),
        (0.15, 150_000_000),
        ("0.15", 150_000_000),
        ("$2.50", 2_500_000_000),
        (".5", 500_000_000),
        (0.000000001, 1),
        (1.5e-7, 150),
        (0.1 + 0.2, None),
        (999_999, 999_999_000_000_000),
        (1_000_000, None),
        (-1, None),
        (True, None),
        (None, None),
        ("", None),
        (".", None),
        ("1,5", None),
        ("3 dollars", None),
        (float("nan"), None),
        (float("inf"), None),
    ],
)
def test_dollars_are_read_exactly(value: object, nano: int | None) -> None:
    """What is written becomes the same number of nano-dollars, or nothing."""
    assert parse_dollars(value) == nano


def test_rates_may_step_up_with_the_prompt() -> None:
    """``3, 6 above 200000`` has a base and steps, in whatever order they stand."""
    assert parse_rate(3) == Rate(3_000_000_000)
    assert parse_rate("3, 9 above 1_000_000, 6 above 200000") == Rate(
        3_000_000_000, ((200_000, 6_000_000_000), (1_000_000, 9_000_000_000))
    )
    assert [parse_rate(text) for text in ("3 above 5", "3, 6", "3, 6 above", "3, x above 5", "")] == [None] * 5


def test_a_configured_price_is_used() -> None:
    """A model's own price goes before its provider's, that before ``*``; sim has no other."""
    found = settings("""
        providers:
          up:
            dialect: openai_chat
            url: http://127.0.0.1:1/v1
            prices: {m: {input: 0.15, output: "0.6, 1 above 1000"}}
          own: {type: vllm, prices: {"*": {input: 0, output: 0}}}
        models:
          fast: {route: [up/m, own/any, sim/echo]}
          dear: {route: [up/m], price: {input: 2, output: 8, request: 0.01}}
    """)
    fast, own, sim = (deployment.price for deployment in price_steps(found, steps_of(found, "fast")))
    assert fast is not None
    assert (fast.source, fast.cost(Usage(1_000_000, 1_000_000))) == ("configuration", 1_150_000_000)
    assert own is not None
    assert own.cost(Usage(1_000_000, 1_000_000)) == 0
    assert sim is None
    (dear,) = price_steps(found, steps_of(found, "dear"))
    assert dear.price is not None
    assert dear.price.cost(Usage(1_000_000)) == 2_010_000_000
    (direct,) = price_steps(found, steps_of(found, "up/m"))
    assert direct.price == fast
    assert [steps_of(found, name) for name in ("x", "up/", "none/m", "sim/no-such")] == [()] * 4


@pytest.mark.parametrize(
    ("price", "said"),
    [
        ("{input: 1}", "fast.price: a price wants `input` and `output`"),
        ("{input: -1, output: 1}", "fast.price.input: expected dollars per million tokens"),
        ("{input: 1, output: 0.12345678901}", "fast.price.output: expected dollars"),
        ("{input: 1, output: cheap}", "fast.price.output: expected dollars"),
        ("{input: 1, output: [1]}", "fast.price.output: expected dollars"),
        ('{input: 1, output: 1, search: "1, 2 above 5"}', "fast.price.search: expected dollars (0.01)"),
        ("{input: 1, output: 1, cachd: 1}", 'fast.price.cachd: unknown setting "cachd"; did you mean "cached"?'),
    ],
)
def test_a_wrong_price_is_an_error(price: str, said: str) -> None:
    """The error names the path and what is wanted, and there is but one for each thing that is wrong."""
    with pytest.raises(ConfigError) as caught:
        settings(f"models: {{fast: {{route: [sim/echo], price: {price}}}}}")
    assert said in caught.value.message
    assert caught.value.message.count("\n") == 0


def test_the_table_is_read_for_public_providers_alone(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Simulated, local and private providers never need it; a public one is found by its URL, or by name."""
    found = settings("""
        providers:
          openai: {key: none}
          near: {dialect: openai_chat, url: "http://127.0.0.1:1/v1"}
          lan: {dialect: openai_chat, url: "http://10.1.2.3/v1"}
          box: {dialect: openai_chat, url: "http://box:8000/v1"}
          proxy: {dialect: openai_chat, url: "https://llm.example.com/v1", price_table: openai}
          off: {type: openai, key: none, price_table: none}
          odd: {dialect: openai_chat, url: "https://llm.example.com/v1", price_table: opnai}
          far: {dialect: openai_chat, url: "https://llm.example.com/v1"}
    """).providers
    read: list[Path] = []
    monkeypatch.setattr(price_book, "load_table", lambda path: read.append(path) or load_table(path))
    book = PriceBook(folder)
    assert [book.find(found[name], "gpt-4o") for name in ("sim", "near", "lan", "box", "off")] == [None] * 5
    assert read == []
    assert isinstance(book.find(found["openai"], "gpt-4o-mini"), Schedule)
    assert isinstance(book.find(found["proxy"], "gpt-4o-mini"), Schedule)
    assert book.find(found["far"], "gpt-4o-mini") is None
    assert book.find(found["openai"], "no-such-model") is None
    assert read == [folder]
    with pytest.raises(ConfigError, match=r'odd\.price_table: the price table has no "opnai"; did you mean "openai"'):
        book.find(found["odd"], "gpt-4o")
    assert PriceBook(None).find(found["openai"], "gpt-4o") is None
    own = Price(book.find(found["openai"], "gpt-4o").at(1.8e9).rates)  # type: ignore[union-attr]
    assert book.find(found["openai"], "gpt-4o", own) is own


def test_the_table_is_extracted_once_a_version(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is there is read; an older version's file goes when a new one is made."""
    (file,) = folder.glob("prices-*.json")
    older = folder / "prices-0.0.1.json"
    older.write_text("{}")

    def forbidden(*_: object, **__: object) -> None:
        raise AssertionError("extracted again")

    with monkeypatch.context() as patched:
        patched.setattr(price_book, "_extract", forbidden)
        assert load_table(folder) is not None
    file.unlink()
    assert load_table(folder) is not None
    assert [path.name for path in folder.glob("prices-*.json")] == [file.name]


def test_without_a_table_models_are_unpriced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A package that is missing, broken or unreadable costs a warning, never the start."""
    provider = settings("providers: {openai: {key: none}}").providers["openai"]
    with caplog.at_level(logging.WARNING):
        with monkeypatch.context() as patched:
            patched.setattr(price_book, "PACKAGE", "no-such-package")
            assert PriceBook(tmp_path).find(provider, "gpt-4o") is None
        failed = subprocess.CalledProcessError(1, "x", stderr="it broke")
        with monkeypatch.context() as patched:
            patched.setattr(price_book.subprocess, "run", lambda *_, **__: (_ for _ in ()).throw(failed))
            assert load_table(tmp_path) is None
    assert "no-such-package is not installed" in caplog.text
    assert "it broke" in caplog.text

"""The section ``traces``: where spans go, with which headers, and what of OpenTelemetry's own variables counts."""

from __future__ import annotations

import importlib.util
import pathlib

import pytest

from headgate.config.explain import explain, show_text
from headgate.config.load import load
from headgate.core.errors import ConfigError
from headgate.core.trace import Provider, TracePlan

UP = "providers: {up: {dialect: openai_chat, url: 'https://llm.example.org:8443/v1', key: none}}\n"


def plan(traces: str, **environ: str) -> TracePlan | None:
    """What a section says."""
    return load(text=f"{UP}traces: {traces}\n", environ=environ).settings.traces


def test_without_the_section_nothing_is_exported() -> None:
    """Whatever variables an application has for its own traces."""
    environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}
    assert load(text=UP, environ=environ).settings.traces is None
    assert plan("false", **environ) is None


def test_all_that_can_be_written() -> None:
    """Every setting reaches the plan; secrets by where they live."""
    found = plan(
        "{endpoint: 'https://otlp.example.org/otlp', headers: {Authorization: 'env:TOKEN', x-tenant: t1},"
        " service: gate, attributes: {deployment.environment.name: prod}, sampling: 0.1, content: true,"
        " every: 5s, timeout: 3s, pending: 10, compression: none}",
        TOKEN="Basic abc",
        OTEL_EXPORTER_OTLP_HEADERS="not=used",
        OTEL_RESOURCE_ATTRIBUTES="deployment.environment.name=dev,team=core,service.name=other",
    )
    assert found is not None
    assert found.endpoint == "https://otlp.example.org/otlp/v1/traces"
    assert found.headers == {"authorization": "env:TOKEN", "x-tenant": "t1"}
    assert (found.headers_from, found.service) == ("", "gate")
    assert found.attributes == {"deployment.environment.name": "prod", "team": "core"}
    assert (found.sampling, found.content, found.every, found.timeout) == (0.1, True, 5.0, 3.0)
    assert (found.pending, found.compress, found.ca_file) == (10, False, "")
    assert found.providers["up"] == Provider("openai_compatible", "llm.example.org", 8443)
    assert found.providers["sim"] == Provider("sim", "", 0)


@pytest.mark.parametrize(
    ("environ", "endpoint"),
    [
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}, "http://c:4318/v1/traces"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318/base/"}, "http://c:4318/base/v1/traces"),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c:4318/x"}, "http://c:4318/x"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://a", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://b/t"}, "http://b/t"),
        (
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://a", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"},
            "http://a/v1/traces",
        ),
    ],
)
def test_an_empty_section_goes_by_the_standard_variables(environ: dict[str, str], endpoint: str) -> None:
    """The variable for traces holds the whole URL, the one for everything a base."""
    names = {"OTEL_SERVICE_NAME": "named", "OTEL_EXPORTER_OTLP_HEADERS": "api-key=secret%20one,x=y"}
    found = plan("{}", **environ, **names)
    assert found is not None
    assert (found.endpoint, found.service) == (endpoint, "named")
    assert (found.headers, found.headers_from) == ({}, "OTEL_EXPORTER_OTLP_HEADERS")


@pytest.mark.parametrize(
    ("traces", "environ", "said"),
    [
        ("{}", {}, "traces: has no `endpoint`, and neither OTEL_EXPORTER_OTLP_TRACES_ENDPOINT nor"),
        ("{endpoint: 'c:4318'}", {}, "traces.endpoint: not a URL"),
        ("{endpoint: 'http://u:p@c'}", {}, "a URL holds no credentials here"),
        ("{}", {"OTEL_EXPORTER_OTLP_ENDPOINT": "c:4317"}, "OTEL_EXPORTER_OTLP_ENDPOINT: not a URL"),
        (
            "{}",
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4317", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
            "the protocol 'grpc' is not spoken",
        ),
        ("{endpoint: 'http://c', headers: {authorization: sk-1}}", {}, "this header holds a secret"),
        ("{endpoint: 'http://c', headers: {dd-api-key: sk-1}}", {}, "this header holds a secret"),
        ("{endpoint: 'http://c', headers: {x-honeycomb-token: sk-1}}", {}, "this header holds a secret"),
        ("{endpoint: 'http://c', headers: {authorization: 'env:T'}}", {}, "environment variable T is not set"),
        ("{endpoint: 'http://c', headers: {content-type: x}}", {}, "written by Headgate itself"),
        ("{endpoint: 'http://c', headers: {A: x, a: y}}", {}, "the same header twice"),
        ("{endpoint: 'http://c'}", {"OTEL_EXPORTER_OTLP_HEADERS": "sk-1"}, "expected name=value pairs"),
        ("{endpoint: 'http://c', sampling: 2}", {}, "2 is out of range; allowed: 0 to 1"),
        ("{endpoint: 'http://c', sample: 1}", {}, 'unknown setting "sample"; did you mean "sampling"?'),
        ("{endpoint: 'http://c', attributes: {service.name: x}}", {}, "write `service`"),
        ("{endpoint: 'http://c', ca_file: nowhere.pem}", {}, "can not read file"),
        ("true", {}, "{} takes the defaults"),
    ],
)
def test_what_is_wrong_is_said_and_no_secret_with_it(traces: str, environ: dict[str, str], said: str) -> None:
    """With the setting's path."""
    with pytest.raises(ConfigError) as caught:
        plan(traces, **environ)
    assert said in caught.value.message
    assert "traces" in caught.value.message
    assert "sk-1" not in caught.value.message


def test_a_library_that_is_missing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """At start and wherever the configuration is checked, not in some log."""
    find = importlib.util.find_spec
    hidden = lambda name, *rest: None if name.startswith("opentelemetry") else find(name, *rest)  # noqa: E731
    monkeypatch.setattr(importlib.util, "find_spec", hidden)
    with pytest.raises(ConfigError, match=r"pip install 'headgate\[otlp\]'"):
        plan("{endpoint: 'http://c'}")
    assert load(text=UP, environ={}).settings.traces is None


def test_it_is_explained_without_secrets(tmp_path: pathlib.Path) -> None:
    """`config explain` shows where they live."""
    text = f"{UP}traces: {{endpoint: 'http://c', headers: {{authorization: 'env:TOKEN'}}}}\n"
    shown = show_text(explain(load(text=text, environ={"TOKEN": "sk-1"})))
    assert "sk-1" not in shown
    lines = {line.split()[0]: line.split(None, 1)[1] for line in shown.splitlines()}
    assert lines["traces.endpoint"].startswith("http://c/v1/traces")
    assert lines["traces.headers.authorization"].startswith("env:TOKEN (set)")
    assert lines["traces.sampling"].startswith("1")

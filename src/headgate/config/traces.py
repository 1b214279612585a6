"""Traces as they are written in the configuration: where they go, how many, what is in them."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal
from urllib.parse import unquote, urlsplit

import msgspec

from headgate.config.checks import check_header, check_path, check_url, is_reference
from headgate.config.nodes import join
from headgate.config.rule import Rule
from headgate.config.units import show_seconds
from headgate.core.errors import ConfigError
from headgate.core.trace import Provider, TracePlan

if TYPE_CHECKING:
    from headgate.config.keyhole import Keyhole
    from headgate.config.ledger import Ledger
    from headgate.config.settings import ProviderSettings

_PATH = "/v1/traces"
_SECRETIVE = re.compile(r"key|token|secret|auth|password|cookie|credential", re.IGNORECASE)
_PREFIX = "OTEL_EXPORTER_OTLP_"


def check_trace_header(text: str) -> str:
    """One header as ``name: value``; what sounds like a secret is given by where it lives."""
    wrong = check_header(text)
    name, _, value = text.partition(": ")
    if not wrong and _SECRETIVE.search(name) and not is_reference(value):
        return "this header holds a secret: give it by where it lives, `env:NAME` or `file:/path`"
    return wrong


def check_attribute(text: str) -> str:
    """One attribute of the resource as ``name: value``."""
    name, _, value = text.partition(": ")
    if not name or not name.isprintable() or " " in name or name == "service.name":
        return "an attribute's name has no spaces, and is not service.name (write `service`)"
    return "" if value and value.isprintable() else "a value is printable and not empty"


class TracesConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Spans for an OpenTelemetry collector, by OTLP over HTTP with protobuf."""

    endpoint: Annotated[
        str,
        Rule(
            "The collector's base URL, to which `/v1/traces` is added. Left out: "
            "`OTEL_EXPORTER_OTLP_TRACES_ENDPOINT` or `OTEL_EXPORTER_OTLP_ENDPOINT`.",
            check=check_url,
        ),
    ] = ""
    headers: Annotated[
        dict[str, str],
        Rule(
            "Sent along; secrets as `env:NAME` or `file:/path`. Left out: `OTEL_EXPORTER_OTLP_HEADERS`.",
            check=check_trace_header,
            secret=True,
        ),
    ] = {}
    service: Annotated[str, Rule("The service's name. Left out: `OTEL_SERVICE_NAME`, or `headgate`.")] = ""
    attributes: Annotated[
        dict[str, str],
        Rule("More attributes of the resource, beside those of `OTEL_RESOURCE_ATTRIBUTES`.", check=check_attribute),
    ] = {}
    sampling: Annotated[
        float,
        Rule("The share of traces that is sent, whole ones; failed calls always are.", low=0.0, high=1.0),
    ] = 1.0
    content: Annotated[bool, Rule("Whether prompts and answers are sent, as redacted as they are kept.")] = False
    every: Annotated[float, Rule("From one sending to the next.", unit="seconds", low=0.1, high=60.0)] = 1.0
    timeout: Annotated[float, Rule("For one request to the collector.", unit="seconds", low=0.1, high=120.0)] = 10.0
    pending: Annotated[
        int, Rule("Calls that wait while the collector is away; of more, the oldest are dropped.", low=1, high=10**8)
    ] = 1_000_000
    ca_file: Annotated[str | None, Rule("Certificates (PEM) to trust instead of the system's.", check=check_path)] = (
        None
    )
    compression: Annotated[Literal["gzip", "none"], Rule("How bodies are compressed.")] = "gzip"


def read_traces(
    written: TracesConfig | None, ledger: Ledger, keyhole: Keyhole, providers: Mapping[str, ProviderSettings]
) -> TracePlan | None:
    """Returns the plan that was written, None where none is; what is wrong is told.

    Args:
        written: the section ``traces``, None where there is none.
        ledger: hears what is wrong.
        keyhole: looks for secrets and variables.
        providers: by name; spans say where an answer came from.
    """
    if written is None:
        return None
    if importlib.util.find_spec("opentelemetry") is None or importlib.util.find_spec("opentelemetry.proto") is None:
        ledger.tell("traces", "wants the package opentelemetry-proto: pip install 'headgate[otlp]'")
    environ = keyhole.environ
    headers_from = "" if written.headers else _first(environ, "HEADERS")
    if headers_from:
        _check_header_list(headers_from, environ[headers_from], ledger)
    service = written.service or environ.get("OTEL_SERVICE_NAME", "").strip()
    attributes = _attributes(environ.get("OTEL_RESOURCE_ATTRIBUTES", ""))
    named = attributes.pop("service.name", "")
    return TracePlan(
        endpoint=_endpoint(written, ledger, environ),
        headers=_headers(written, ledger, keyhole),
        headers_from=headers_from,
        service=service or named or "headgate",
        attributes={**attributes, **written.attributes},
        sampling=written.sampling,
        content=written.content,
        every=written.every,
        timeout=written.timeout,
        pending=written.pending,
        ca_file=_ca_file(written, ledger, keyhole),
        compress=written.compression == "gzip",
        providers={name: _provider(one) for name, one in providers.items()},
    )


def explain_traces(plan: TracePlan) -> Iterator[tuple[str, Any]]:
    """Yields path and value of every setting, secrets by where they live."""
    yield "traces.endpoint", plan.endpoint
    for name, value in plan.headers.items():
        yield join("traces.headers", name), f"{value} (set)" if is_reference(value) else value
    if plan.headers_from:
        yield "traces.headers", f"env:{plan.headers_from} (set)"
    yield "traces.service", plan.service
    for name, value in plan.attributes.items():
        yield join("traces.attributes", name), value
    yield "traces.sampling", plan.sampling
    yield "traces.content", plan.content
    yield "traces.every", show_seconds(plan.every)
    yield "traces.timeout", show_seconds(plan.timeout)
    yield "traces.pending", plan.pending
    yield "traces.ca_file", plan.ca_file or "system"
    yield "traces.compression", "gzip" if plan.compress else "none"


def _endpoint(written: TracesConfig, ledger: Ledger, environ: Mapping[str, str]) -> str:
    if written.endpoint:
        url = written.endpoint.rstrip("/")
        return url if url.endswith(_PATH) else url + _PATH
    if ledger.known_bad("traces.endpoint"):
        return ""
    variable = _first(environ, "ENDPOINT")
    if not variable:
        ledger.tell("traces", f"has no `endpoint`, and neither {_PREFIX}TRACES_ENDPOINT nor {_PREFIX}ENDPOINT is set")
        return ""
    url = environ[variable].strip()
    wrong = check_url(url)
    spoken = environ.get(_first(environ, "PROTOCOL"), "http/protobuf").strip()
    if wrong:
        ledger.tell("traces", f"{variable}: {wrong}")
    elif spoken != "http/protobuf":
        hint = "write an `endpoint` for http/protobuf (mostly port 4318)"
        ledger.tell("traces", f"the protocol {spoken[:40]!r} is not spoken: {hint}")
    # The variable for traces alone holds the whole URL, the other one a base.
    return url if "TRACES" in variable else url.rstrip("/") + _PATH


def _headers(written: TracesConfig, ledger: Ledger, keyhole: Keyhole) -> dict[str, str]:
    headers: dict[str, str] = {}
    for name, text in written.headers.items():
        below = join("traces.headers", name)
        if name.lower() in headers:
            ledger.tell(below, "the same header twice (case does not count)")
        value = text
        if is_reference(text):
            try:
                value = keyhole.find(text).reference
            except ConfigError as error:
                ledger.tell(below, error.message)
        headers[name.lower()] = value
    return headers


def _check_header_list(variable: str, text: str, ledger: Ledger) -> None:
    from headgate.observe.traces.sender import read_header_list

    try:
        read_header_list(text)
    except ConfigError as error:
        ledger.tell("traces", f"{variable}: {error.message}")


def _ca_file(written: TracesConfig, ledger: Ledger, keyhole: Keyhole) -> str:
    if not written.ca_file:
        return ""
    file = (keyhole.base / written.ca_file).absolute()
    try:
        if b"-----BEGIN CERTIFICATE-----" not in file.read_bytes():
            ledger.tell("traces.ca_file", f"no PEM certificate in {file}")
    except OSError as error:
        ledger.tell("traces.ca_file", f"can not read file {file}: {error.strerror}")
    return str(file)


def _provider(settings: ProviderSettings) -> Provider:
    parts = urlsplit(settings.url)
    port = parts.port or {"https": 443, "http": 80}.get(parts.scheme, 0)
    return Provider(settings.row.name, parts.hostname or "", port)


def _first(environ: Mapping[str, str], name: str) -> str:
    """Returns the variable that is set: the one for traces, else the one for everything, else ""."""
    names = (f"{_PREFIX}TRACES_{name}", f"{_PREFIX}{name}")
    return next((one for one in names if environ.get(one, "").strip()), "")


def _attributes(text: str) -> dict[str, str]:
    """Reads ``OTEL_RESOURCE_ATTRIBUTES``; as its specification wants it, all is left out where a part is malformed."""
    found = {}
    for part in text.split(","):
        name, equals, value = part.partition("=")
        if equals and name.strip():
            found[name.strip()] = unquote(value.strip())
        elif part.strip():
            return {}
    return found

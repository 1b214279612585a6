"""What is wrong with a file is told by line and path, with the nearest right name; all of it at once."""

from __future__ import annotations

import pytest

from headgate.config.load import load_settings
from headgate.core.errors import ConfigError

ENVIRON = {"UP_KEY": "sk-secret-value", "EMPTY": ""}


def errors(text: str, environ: dict[str, str] | None = None) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_settings(text=text, environ=ENVIRON if environ is None else environ)
    assert caught.value.code == "config_error"
    assert "sk-secret" not in caught.value.message
    return [line.removeprefix("<config>:") for line in caught.value.message.split("\n")]


UP = "providers: {up: {dialect: openai_chat, url: 'http://h/v1'}}\n"

TABLE = {
    "unknown section": ("sever: {}", '1: sever: unknown setting "sever"; did you mean "server"?'),
    "unknown key": (
        "server:\n  prot: 1",
        '2: server.prot: unknown setting "prot"; did you mean "port"?',
    ),
    "unknown key far from all": (
        "defaults: {zzz: 1}",
        '1: defaults.zzz: unknown setting "zzz"; settings here: breaker, limit, max_tokens, retry, timeouts',
    ),
    "wrong type": ('server: {port: "80"}', "1: server.port: expected a whole number, found '80'"),
    "infinite": ("server: {port: 1e999}", "1: server.port: expected a whole number, found the number inf"),
    "infinite time": (
        "defaults: {timeouts: {idle: 1e999}}",
        "1: defaults.timeouts.idle: expected seconds (30, 30s, 500ms, 2m), found the number inf",
    ),
    "true is no number": ("server: {port: true}", "1: server.port: expected a whole number, found true"),
    "an error code that there is none of": (
        "alerts:\n  rules:\n    slow: {kind: error_rate, error: idle_timeoutt}",
        '3: alerts.rules.slow.error: unknown error code "idle_timeoutt"; did you mean "idle_timeout"?',
    ),
    "an error code far from all": (
        "alerts: {rules: {slow: {kind: error_rate, error: zzz}}}",
        '1: alerts.rules.slow.error: unknown error code "zzz"; the page on errors lists them all',
    ),
    "a first wait above the longest": (
        "defaults:\n  retry: {base: 10s}",
        "2: defaults.retry.base: `base` (10s) is above `cap` (8s): no wait would ever be so long; "
        "raise `cap` or lower `base`",
    ),
    "a longest wait below an inherited first one": (
        "defaults: {retry: {base: 1s}}\nmodels: {m: {route: [sim/echo], retry: {cap: 500ms}}}",
        "2: models.m.retry.cap: `base` (1s) is above `cap` (0.5s): no wait would ever be so long; "
        "raise `cap` or lower `base`",
    ),
    "half a port": ("server: {port: 80.5}", "1: server.port: expected a whole number, found the number 80.5"),
    "yes is no boolean": (
        "server: {strict_translation: yes}",
        "1: server.strict_translation: expected true or false, found 'yes'",
    ),
    "mapping expected": ("server: [1]", "1: server: expected a mapping of settings, found a list"),
    "list expected": (UP + "models: {m: {route: up/x}}", "2: models.m.route: expected a list, found 'up/x'"),
    "a number where a string belongs": (
        "models: {m: {description: 5, route: [sim/echo]}}",
        "1: models.m.description: expected a string, found the number 5; put it in quotes",
    ),
    "nothing where a string belongs": (
        "server:\n  host:\n",
        "2: server.host: expected a string, found nothing",
    ),
    "a network that is none": (
        "server:\n  trusted_proxies: [127.0.0.1, here]",
        "2: server.trusted_proxies[1]: not an address or network; write 127.0.0.1, 10.0.0.0/8 or 2001:db8::/32",
    ),
    "out of range": ("server: {port: 70000}", "1: server.port: 70000 is out of range; allowed: 0 to 65535"),
    "time out of range": (
        "defaults: {timeouts: {connect: 2d}}",
        "1: defaults.timeouts.connect: 2d is out of range; allowed: 1ms to 1d",
    ),
    "time without meaning": (
        "defaults: {timeouts: {connect: 5x}}",
        "1: defaults.timeouts.connect: expected seconds (30, 30s, 500ms, 2m), found '5x'",
    ),
    "size without meaning": (
        "server: {body_limit: 32Mib}",
        "1: server.body_limit: expected bytes (1048576, 1MiB, 10MB), found '32Mib'",
    ),
    "a password in the database's URL": (
        "data:\n  database: postgresql://me:sk-secret@h/db",
        "2: data.database: the URL holds a password: put it into a variable or file, and write `env:NAME` or "
        "`file:/path`",
    ),
    "another kind of database": (
        "data: {database: 'mysql://sk-secret@h/db'}",
        "1: data.database: expected a URL like postgresql://user@host:5432/database; or write `env:NAME` or "
        "`file:/path` of one",
    ),
    "a variable that holds no database's URL": (
        "data: {database: 'env:UP_KEY'}",
        "1: data.database: what env:UP_KEY holds can not be used: expected a URL like "
        "postgresql://user@host:5432/database",
    ),
    "a database's variable that is not set": (
        "data: {database: 'env:DB'}",
        "1: data.database: environment variable DB is not set",
    ),
    "wrong word": (
        "data: {journal: {fsync: alway}}",
        """1: data.journal.fsync: expected never, interval or always, found 'alway'; did you mean "always"?""",
    ),
    "missing variable": (
        "providers:\n  up:\n    dialect: openai_chat\n    url: http://h/v1\n    key: env:UP_KEYS",
        '5: providers.up.key: environment variable UP_KEYS is not set; did you mean "UP_KEY"?',
    ),
    "empty variable": (
        "providers: {up: {dialect: openai_chat, url: 'http://h/v1', key: 'env:EMPTY'}}",
        "1: providers.up.key: environment variable EMPTY is empty",
    ),
    "missing secret file": (
        "providers: {up: {dialect: openai_chat, url: 'http://h/v1', key: 'file:/nowhere/k'}}",
        "1: providers.up.key: can not read file /nowhere/k: No such file or directory",
    ),
    "a key in the file": (
        "providers: {up: {dialect: openai_chat, url: 'http://h/v1', key: sk-secret}}",
        "1: providers.up.key: a key is given by where it lives, `env:NAME` or `file:/path`, never by its value",
    ),
    "a secret header in the file": (
        "providers: {up: {dialect: openai_chat, url: 'http://h/v1', headers: {Authorization: Bearer sk-secret}}}",
        "1: providers.up.headers.Authorization: this header holds a secret: give it by where it lives, "
        "`env:NAME` or `file:/path`",
    ),
    "a header of ours": (
        "providers: {up: {dialect: openai_chat, url: 'http://h/v1', headers: {Host: x}}}",
        "1: providers.up.headers.Host: this header is written by Headgate itself",
    ),
    "headers that are no mapping": (
        "providers: {up: {dialect: openai_chat, url: 'http://h/v1', headers: sk-secret}}",
        "1: providers.up.headers: expected a mapping, found a string",
    ),
    "a header twice": (
        "providers: {up: {dialect: openai_chat, url: 'http://h/v1', headers: {X-A: x, x-a: y}}}",
        "1: providers.up.headers.x-a: the same header twice (case does not count)",
    ),
    "a header with a line break": (
        "providers: {up: {dialect: openai_chat, url: 'http://h/v1', headers: {x-a: \"a\\r\\nb: c\"}}}",
        "1: providers.up.headers.x-a: a header's value is printable ASCII",
    ),
    "unknown type": (
        "providers: {a: {type: opnai}}",
        '1: providers.a.type: unknown provider type "opnai"; did you mean "openai"?',
    ),
    "unknown dialect": (
        "providers: {a: {dialect: openai, url: 'http://h'}}",
        '1: providers.a.dialect: unknown dialect "openai"; did you mean "openai_chat"?',
    ),
    "neither type nor dialect": (
        "providers: {opnai: {}}",
        '1: providers.opnai: wants a `type`, or a `dialect` with a `url`; "opnai" is no known type; '
        'did you mean "openai"?',
    ),
    "dialect without url": (
        "providers: {a: {dialect: anthropic}}",
        "1: providers.a: has no `url`: write its base URL, e.g. http://127.0.0.1:9000/v1",
    ),
    "dialect that the type does not speak": (
        "providers: {a: {type: vllm, dialect: anthropic}}",
        "1: providers.a.dialect: type vllm speaks openai_chat; leave `type` out to use another dialect",
    ),
    "a type's key that is not there": (
        "providers: {openai: {}}",
        "1: providers.openai.key: no key for OpenAI: set OPENAI_API_KEY (or OPENAI_API_KEY_FILE), "
        "or write `key: env:NAME` or `key: file:/path`",
    ),
    "a type's key would go elsewhere": (
        "providers: {a: {type: openai, url: 'http://elsewhere/v1'}}",
        "1: providers.a.key: OPENAI_API_KEY (or OPENAI_API_KEY_FILE) belongs to https://api.openai.com/v1; "
        "at another URL name the key, or write `key: none`",
    ),
    "the simulator's name": (
        "providers: {sim: {dialect: openai_chat, url: 'http://h/v1'}}",
        '1: providers.sim: the name "sim" belongs to the embedded simulator; choose another',
    ),
    "a simulator with a URL": (
        "providers: {sim: {url: 'http://h/v1'}}",
        "1: providers.sim.url: the embedded simulator has no url; for a `headgate sim` use `dialect` and `url`",
    ),
    "anthropic's field": (
        "providers: {a: {dialect: anthropic, url: 'http://h', max_tokens_field: max_completion_tokens}}",
        "1: providers.a.max_tokens_field: the anthropic dialect has max_tokens only",
    ),
    "a provider's name": (
        "providers: {a/b: {type: vllm}}",
        "1: providers[\"a/b\"]: a provider's name is letters, digits, '.', '_' and '-' (at most 64), "
        "beginning with a letter or digit",
    ),
    "unknown provider in a route": (
        UP + "models:\n  fast:\n    route:\n      - upp/gpt",
        '5: models.fast.route[0]: unknown provider "upp"; did you mean "up"?',
    ),
    "known type in a route, without its key": (
        "models: {m: {route: [openai/gpt-4o]}}",
        '1: models.m.route[0]: unknown provider "openai"; set OPENAI_API_KEY, or describe it under `providers`',
    ),
    "a model alone in a route": (
        UP + "models: {gpt-4.1: {route: [gpt-4o]}}",
        '2: models["gpt-4.1"].route[0]: expected provider/model, found "gpt-4o"; providers: sim, up',
    ),
    "unknown model in a route": (
        "models: {m: {route: [sim/ehco]}}",
        '1: models.m.route[0]: unknown model "ehco" at sim; did you mean "echo"?',
    ),
    "twice in a route": (
        UP + "models: {m: {route: [up/a, up/b, up/a]}}",
        "2: models.m.route[2]: up/a stands in this route already",
    ),
    "no route": ("models: {m: {}}", "1: models.m: has no `route`: list at least one provider/model"),
    "an empty route": ("models: {m: {route: []}}", "1: models.m: has no `route`: list at least one provider/model"),
    "a route step that is nothing of use": (
        UP + "models: {m: {route: [up/a, 5]}}",
        "2: models.m.route[1]: expected provider/model or a mapping, found the number 5",
    ),
    "an empty route step": (
        UP + "models:\n  m:\n    route:\n      - up/a\n      -\n",
        "6: models.m.route[1]: expected provider/model or a mapping, found nothing",
    ),
    "a step without use": (
        UP + "models:\n  m:\n    route:\n      - up/a\n      - weight: 2\n",
        "6: models.m.route[1]: has no `use`: write provider/model",
    ),
    "a misspelt step": (
        UP + "models: {m: {route: [{use: up/a, wieght: 2}]}}",
        '2: models.m.route[0].wieght: unknown setting "wieght"; did you mean "weight"?',
    ),
    "unknown provider in a mapping": (
        UP + "models: {m: {route: [{use: upp/a}]}}",
        '2: models.m.route[0].use: unknown provider "upp"; did you mean "up"?',
    ),
    "unknown provider in a group": (
        UP + "models:\n  m:\n    route:\n      - of:\n          - up/a\n          - upp/b\n",
        '7: models.m.route[0].of[1]: unknown provider "upp"; did you mean "up"?',
    ),
    "unknown provider in a mapping in a group": (
        UP + "models:\n  m:\n    route:\n      - of:\n          - up/a\n          - {use: upp/b}\n",
        '7: models.m.route[0].of[1].use: unknown provider "upp"; did you mean "up"?',
    ),
    "twice in a group": (
        UP + "models: {m: {route: [{of: [up/a, {use: up/a, weight: 2}]}]}}",
        "2: models.m.route[0].of[1].use: up/a stands in this route already",
    ),
    "twice across groups": (
        UP + "models: {m: {route: [up/a, {of: [up/b, up/a]}]}}",
        "2: models.m.route[1].of[1]: up/a stands in this route already",
    ),
    "weight 0": (
        UP + "models: {m: {route: [{of: [up/a, {use: up/b, weight: 0}]}]}}",
        "2: models.m.route[0].of[1].weight: 0 is out of range; allowed: 0.001 to 1000",
    ),
    "a weight below 0": (
        UP + "models: {m: {route: [{use: up/b, weight: -1.5}]}}",
        "2: models.m.route[0].weight: -1.5 is out of range; allowed: 0.001 to 1000",
    ),
    "an empty group": (
        UP + "models: {m: {route: [up/a, {of: []}]}}",
        "2: models.m.route[1]: is a group without deployments: list at least one in `of`",
    ),
    "a group without of": (
        UP + "models: {m: {route: [{balance: latency}]}}",
        "2: models.m.route[0]: is a group without deployments: list at least one in `of`",
    ),
    "a group that is no list": (
        UP + "models: {m: {route: [{of: up/a}]}}",
        "2: models.m.route[0].of: expected a list, found 'up/a'",
    ),
    "a group in a group": (
        UP + "models: {m: {route: [{of: [up/a, {of: [up/b]}]}]}}",
        '2: models.m.route[0].of[1].of: unknown setting "of"; a group holds deployments, no groups',
    ),
    "a group with a weight": (
        UP + "models: {m: {route: [{of: [up/a], weight: 2}]}}",
        '2: models.m.route[0].weight: unknown setting "weight"; settings here: balance, of, sticky',
    ),
    "unknown balance": (
        UP + "models: {m: {route: [{of: [up/a], balance: cheap}]}}",
        "2: models.m.route[0].balance: expected ordered, latency, weighted or cheapest, found 'cheap'; "
        'did you mean "cheapest"?',
    ),
    "unknown kind of failure": (
        UP + "models:\n  m:\n    route: [up/a]\n    on:\n      contxt_length: [up/b]\n",
        '6: models.m.on.contxt_length: unknown kind of failure "contxt_length"; did you mean "context_length"?',
    ),
    "kind of failure far from all": (
        UP + "models: {m: {route: [up/a], on: {zzz: [up/b]}}}",
        '2: models.m.on.zzz: unknown kind of failure "zzz"; kinds: auth, connect_failed, content_filter, '
        "context_length, invalid_request, not_found, overloaded, rate_limited, server_error, timeout, too_large, "
        "upstream_broken",
    ),
    "unknown provider for a kind": (
        UP + "models: {m: {route: [up/a], on: {auth: [up/b, upp/c]}}}",
        '2: models.m.on.auth[1]: unknown provider "upp"; did you mean "up"?',
    ),
    "twice for a kind": (
        UP + "models: {m: {route: [up/a], on: {auth: [up/b, up/b]}}}",
        "2: models.m.on.auth[1]: up/b stands in this list already",
    ),
    "nothing for a kind": (
        UP + "models: {m: {route: [up/a], on: {auth: []}}}",
        "2: models.m.on.auth: is empty: list at least one provider/model, or leave the kind out",
    ),
    "a mapping for a kind": (
        UP + "models: {m: {route: [up/a], on: {auth: [{use: up/b}]}}}",
        "2: models.m.on.auth[0]: expected a string, found a mapping",
    ),
    "hedge true": (
        "models: {m: {route: [sim/echo], hedge: true}}",
        "1: models.m.hedge: expected a mapping of settings or false, found true; {} takes the defaults",
    ),
    "hedge nothing": (
        "models:\n  m:\n    route: [sim/echo]\n    hedge:\n",
        "4: models.m.hedge: expected a mapping of settings or false, found nothing; {} takes the defaults",
    ),
    "hedge quantile": (
        "models: {m: {route: [sim/echo], hedge: {quantile: 95}}}",
        "1: models.m.hedge.quantile: 95 is out of range; allowed: 0.5 to 0.999",
    ),
    "an empty answer": (
        "models: {m: {route: [sim/echo], answer: ' '}}",
        "1: models.m.answer: an answer is not empty; leave it out where the error is wanted",
    ),
    "a misspelt retry": (
        UP + "models: {m: {route: [up/a], retry: {attemps: 1}}}",
        '2: models.m.retry.attemps: unknown setting "attemps"; did you mean "attempts"?',
    ),
    "a rate as per cent": (
        "defaults: {breaker: {failure_rate: 50}}",
        "1: defaults.breaker.failure_rate: 50 is out of range; allowed: 0.01 to 1",
    ),
    "a share as text": (
        "providers: {v: {type: vllm, limit: {batch_share: 20%}}}",
        "1: providers.v.limit.batch_share: expected a number, found '20%'",
    ),
    "keys beside a key": (
        "providers: {up: {dialect: openai_chat, url: 'http://h/v1', key: 'env:UP_KEY', keys: ['env:UP_KEY']}}",
        "1: providers.up.keys: stands beside `key`: write one of the two",
    ),
    "no keys": (
        "providers: {up: {dialect: openai_chat, url: 'http://h/v1', keys: []}}",
        "1: providers.up.keys: is empty: list at least one `env:NAME` or `file:/path`, or write `key: none`",
    ),
    "keys that are no list": (
        "providers: {openai: {keys: sk-secret}}",
        "1: providers.openai.keys: expected a list, found a string",
    ),
    "the same key twice": (
        "providers:\n  up:\n    dialect: openai_chat\n    url: http://h/v1\n    keys:\n"
        "      - env:UP_KEY\n      - env:UP_KEY\n",
        "7: providers.up.keys[1]: env:UP_KEY stands in this list already",
    ),
    "a missing variable in keys": (
        "providers: {openai: {keys: ['env:UP_KEY', 'env:UP_KEYS']}}",
        '1: providers.openai.keys[1]: environment variable UP_KEYS is not set; did you mean "UP_KEY"?',
    ),
    "a key in keys": (
        "providers: {openai: {keys: ['env:UP_KEY', sk-secret]}}",
        "1: providers.openai.keys[1]: a key is given by where it lives, `env:NAME` or `file:/path`, never by its value",
    ),
    "none in keys": (
        "providers: {openai: {keys: [none]}}",
        "1: providers.openai.keys[0]: expected `env:NAME` or `file:/path`; `key: none` is for a provider without a key",
    ),
    "a number in keys": (
        "providers: {openai: {keys: [123456789]}}",
        "1: providers.openai.keys[0]: expected a string; put it in quotes",
    ),
    "a simulator with keys": (
        "providers: {sim: {keys: ['env:UP_KEY']}}",
        "1: providers.sim.keys: the embedded simulator has no keys",
    ),
    "duplicate key": (
        "server: {port: 1}\nmodels:\n  m: {route: [sim/echo]}\n  m: {route: [sim/echo]}",
        "4: models.m: duplicate key; it stands at line 3 already",
    ),
    "duplicate section": ("server: {}\nserver: {}", "2: server: duplicate key; it stands at line 1 already"),
    "ca file": (
        "providers: {a: {type: vllm, ca_file: /nowhere/ca.pem}}",
        "1: providers.a.ca_file: can not read file /nowhere/ca.pem: No such file or directory",
    ),
    "alias": ("a: &x 1\nb: *x", "1: anchors (&) are not supported: write the value out, or quote the text"),
    "tag": (
        "a: !!python/object:os.system 1",
        "1: tags (!) are not supported: values are plain data, or quote the text",
    ),
    "two documents": ("server: {}\n---\nserver: {}", "2: more than one YAML document in the file"),
    "key that is no text": ("{[1]: 2}", "1: a key must be plain text"),
    "not a mapping": ("- 1", "1: expected a mapping of settings, found a list"),
}


@pytest.mark.parametrize("case", TABLE, ids=lambda case: case.replace(" ", "-"))
def test_error_table(case: str) -> None:
    """Each mistake is told as file, line, path, what is wrong and what would be right; and nothing else is told."""
    text, expected = TABLE[case]
    assert errors(text) == [expected]


@pytest.mark.parametrize(
    ("url", "wrong"),
    [
        ("ftp://h/v1", "expected http:// or https:// in front"),
        ("h:9000/v1", "expected http:// or https:// in front"),
        ("http://", "no valid host"),
        ("http://h:99999/v1", "host or port is malformed"),
        ("http://h:0/v1", "no valid host"),
        ("http://u:sk-secret@h/v1", "holds no credentials"),
        ("u:sk-secret@h/v1", "holds no credentials"),
        ("http://h/v1?a=b", "no query"),
        ("http://h/v1#x", "no query and no fragment"),
        ("http://h /v1", "holds spaces"),
        ("http://h/v1\\nx", "not a URL"),
        ("http://[::1/v1", "malformed"),
        ("http://hö/v1", "outside ASCII"),
    ],
)
def test_bad_urls(url: str, wrong: str) -> None:
    """A URL that can not be a base URL is refused, and credentials in it are not repeated."""
    (line,) = errors(f'providers: {{a: {{dialect: openai_chat, url: "{url}"}}}}')
    assert line.startswith("1: providers.a.url: ")
    assert wrong in line


def test_all_errors_at_once_in_order() -> None:
    """Everything wrong is told in one go, sorted by line; a bad provider brings no follow-up errors of its routes."""
    lines = errors(
        "models:\n  fast: {route: [up/a, nope/b], max_tokens: 0}\n"
        "providers:\n  up: {dialect: openai_chat, url: 'gopher://h', key: 'env:NOPE'}\n"
        "server:\n  port: x\n"
    )
    assert [line.split(": ")[:2] for line in lines] == [
        ["2", "models.fast.max_tokens"],
        ["2", "models.fast.route[1]"],
        ["4", "providers.up.url"],
        ["6", "server.port"],
    ]


@pytest.mark.parametrize("shape", ["[" * 20_000, "{a: " * 20_000, "- " * 20_000, "a: [" * 17])
def test_deep_nesting_is_an_error(shape: str) -> None:
    """Nesting costs an error, never a crash."""
    (line,) = errors(shape)
    assert "nested deeper than 16 levels" in line or "not YAML" in line


def test_bounds_of_the_file(tmp_path) -> None:
    """A file over 1 MiB, one that is not UTF-8 and one that can not be read are errors that name the file."""
    path = tmp_path / "headgate.yaml"
    for content, wrong in (
        (b"# " + b"x" * 1024 * 1024, f"{path}: larger than 1 MiB"),
        (b"a: b\nc: \xff", f"{path}:2: not UTF-8 text"),
    ):
        path.write_bytes(content)
        with pytest.raises(ConfigError, match=r"headgate\.yaml") as caught:
            load_settings(path, environ={})
        assert caught.value.message == wrong
    with pytest.raises(ConfigError, match=r"can not read the configuration .*gone\.yaml.*HEADGATE_CONFIG"):
        load_settings(environ={"HEADGATE_CONFIG": str(tmp_path / "gone.yaml")})
    with pytest.raises(ConfigError, match="Is a directory"):
        load_settings(tmp_path, environ={})


def test_unknown_fault_of_the_simulator() -> None:
    """A fault that the embedded simulator does not know is told where it stands."""
    (line,) = errors("models: {m: {route: [sim/echo, sim/words-200+hang-mid-streem]}}")
    assert line.startswith("1: models.m.route[1]: ")
    assert "hang-mid-stream" in line
    load_settings(text="models: {m: {route: [sim/fail-503, sim/words-20+hang-mid-stream, sim/tools-2]}}", environ={})


def test_no_yaml() -> None:
    """A file that is no YAML is told with the line where the parser gave up."""
    (line,) = errors("server: {}\nmodels: }\n")
    assert line.startswith("2: not YAML: ")


def test_a_tab_is_called_a_tab() -> None:
    """Nobody sees one: the error says what stands there, and what should."""
    (line,) = errors("models:\n  fast:\n\troute: [sim/echo]\n")
    assert line == "3: not YAML: a tab in front of the line; YAML is indented by spaces alone"


def test_numbers_that_may_be_secrets_are_not_repeated() -> None:
    """A number in the place of a key is not repeated in the error."""
    (line,) = errors("providers: {a: {type: vllm, key: 123456789}}")
    assert line == "1: providers.a.key: expected a string; put it in quotes"


def test_overrides_are_checked_like_the_file() -> None:
    """A value from the command line is named by its option."""
    with pytest.raises(ConfigError, match="--port: 70000 is out of range"):
        load_settings(text="", environ={}, overrides={"server.port": ("--port", 70000)})


def test_a_longest_wait_alone_may_be_short() -> None:
    """The first wait that nobody wrote gives way."""
    settings = load_settings(text="defaults: {retry: {cap: 100ms}}", environ=ENVIRON)
    assert (settings.defaults.retry.base, settings.defaults.retry.cap) == (0.25, 0.1)

"""Scenarios: strict reading, conditions of faults, rules of answers."""

from __future__ import annotations

import json
import pathlib

import pytest

from headgate.core.clock import FixedClock
from headgate.core.errors import ConfigError
from headgate.sim.engine import Sim
from headgate.sim.fault import CATALOGUE, parse_fault_header
from headgate.sim.play import Answer
from headgate.sim.scenario import load_scenario, parse_scenario, read_answers, shipped_names


def ask(sim: Sim, text: str = "hello", headers: dict[bytes, bytes] | None = None, **more: object) -> Answer:
    """One OpenAI chat call."""
    body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": text}], **more}
    return sim.answer("POST", "/v1/chat/completions", headers or {}, json.dumps(body).encode())


def said(answer: Answer) -> str:
    """The text of a unary answer."""
    return str(json.loads(answer.body or b"")["choices"][0]["message"]["content"])


def play(text: str, clock: FixedClock | None = None) -> Sim:
    """A simulator of a scenario."""
    return Sim(parse_scenario(text, "test").behaviour, clock)


@pytest.mark.parametrize("name", shipped_names())
def test_shipped_scenarios_load(name: str) -> None:
    """Every scenario that ships is valid and says what it is for."""
    scenario = load_scenario(name)
    assert scenario.name == name
    assert scenario.about


def test_the_library_plays_every_fault() -> None:
    """Each fault of the catalogue happens in at least one scenario that ships."""
    played = {fault.kind for name in shipped_names() for fault in load_scenario(name).behaviour.faults}
    assert sorted(set(CATALOGUE) - played) == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("sped: 3", "test:1: sped: unknown key; did you mean 'speed'"),
        ("seed: 1\nfaults:\n  - fault: hang-mid-strem", "test:3: faults.0..fault: unknown fault .*'hang-mid-stream'"),
        ("faults:\n  - fault: 503\n    when: {probabilty: 0.3}", "test:3: .*did you mean 'probability'"),
        ("faults: [{fault: cut, retry_after: 3}]", "retry_after: unknown key"),
        ("faults: [{fault: cut, after: soon}]", "after: expected `int"),
        ("faults: [{fault: 503, when: {probability: 2}}]", "between 0 and 1"),
        ("faults: [{fault: 503, when: {down_s: 2}}]", "needs period_s"),
        ("faults: [{fault: 200}]", "unknown fault '200'"),
        ("faults: 503", "expected a list"),
        ("seed: many", "seed: expected `int`"),
        ("speed: fast", "speed: expected a number"),
        ("answers: [{match: '(', text: x}]", "not a regular expression"),
        ("answers: [{match: x}]", "needs exactly one of"),
        ("answers: [{text: x, echo: true}]", "needs exactly one of"),
        ("answers: [{file: /etc/passwd}]", "only by a scenario that is a file itself"),
        ("default: shout", "echo or words-N"),
        ("{", "not YAML"),
        ("- 1", "expected a mapping"),
    ],
)
def test_wrong_scenarios_are_refused(text: str, words: str) -> None:
    """Unknown keys name the nearest one; wrong types and ranges name their path and line."""
    with pytest.raises(ConfigError, match=words):
        parse_scenario(text, "test")


def test_a_scenario_that_is_neither_file_nor_shipped() -> None:
    """The error names the nearest shipped one."""
    with pytest.raises(ConfigError, match="did you mean 'flaky'"):
        load_scenario("flakey")


def test_counting_conditions() -> None:
    """first, skip and every choose among the calls that fit."""
    sim = play("faults: [{fault: 503, when: {first: 2, skip: 1, every: 2}}]")
    assert [ask(sim).status for _ in range(7)] == [200, 503, 200, 503, 200, 200, 200]
    sim.reset()
    assert [ask(sim).status for _ in range(2)] == [200, 503]


def test_conditions_on_the_request() -> None:
    """Header, model, text, dialect and streaming narrow a fault."""
    for when in ("header: {x-team: a}", "model: 'gpt-*', match: ^hel", "wire: openai, stream: false"):
        sim = play(f"faults: [{{fault: 503, when: {{{when}}}}}]")
        assert ask(sim, headers={b"x-team": b"a"}).status == 503
    for when in ("header: {x-team: b}", "model: 'o*'", "match: bye", "wire: anthropic", "stream: true"):
        sim = play(f"faults: [{{fault: 503, when: {{{when}}}}}]")
        assert ask(sim, headers={b"x-team": b"a"}).status == 200


def test_conditions_on_time() -> None:
    """A window and a period, by the clock since the start."""
    clock = FixedClock()
    sim = play("faults: [{fault: 503, when: {after_s: 10, before_s: 30, period_s: 4, down_s: 1}}]", clock)
    seen = {}
    for second in range(40):
        seen[second] = ask(sim).status
        clock.advance(1)
    assert [second for second, status in seen.items() if status == 503] == [10, 14, 18, 22, 26]
    sim.load(sim.behaviour)
    assert ask(sim).status == 200


def test_probability_follows_the_seed() -> None:
    """About the share asked for; the same seed fails the same calls, another seed others."""
    text = "seed: %d\nfaults: [{fault: 503, when: {probability: 0.3}}]"
    runs = [[ask(play_).status for _ in range(300)] for play_ in (play(text % 1), play(text % 1), play(text % 2))]
    assert runs[0] == runs[1] != runs[2]
    assert 60 < runs[0].count(503) < 120


def test_rules_answer_in_order() -> None:
    """The first rule that fits answers; texts come in turn; the rest falls to the default."""
    sim = play(
        """
default: words-3
answers:
  - {match: "(?i)weather", tool: {name: forecast, arguments: {city: Oslo}}}
  - {match: "(?i)weather", text: no tools here}
  - {match: list, texts: [one, two]}
  - {match: shape, json: {a: 1}}
  - {match: down, fault: 503}
  - {model: o1, words: 5, reasoning: let me see}
"""
    )
    tools = [{"type": "function", "function": {"name": "forecast"}}]
    called = json.loads(ask(sim, "Weather?", tools=tools).body or b"")["choices"][0]["message"]["tool_calls"][0]
    assert called["function"] == {"name": "forecast", "arguments": '{"city":"Oslo"}'}
    assert said(ask(sim, "Weather?")) == "no tools here"
    assert [said(ask(sim, "list")) for _ in range(3)] == ["one", "two", "one"]
    assert said(ask(sim, "shape")) == '{"a":1}'
    assert ask(sim, "down").status == 503
    message = json.loads(ask(sim, "x", model="o1").body or b"")["choices"][0]["message"]
    assert message["reasoning_content"] == "let me see"
    assert len(message["content"].split()) == 5
    assert len(said(ask(sim, "other")).split()) == 3


def test_answers_from_files(tmp_path: pathlib.Path) -> None:
    """Text split by --- lines, a YAML list of rules, and a scenario's ``file`` beside it."""
    (tmp_path / "a.txt").write_text("first\nanswer\n---\nsecond\n")
    assert read_answers(tmp_path / "a.txt")[0].texts == ("first\nanswer", "second")
    (tmp_path / "rules.yaml").write_text("- {match: hi, text: hello}\n- bye\n")
    assert [rule.texts for rule in read_answers(tmp_path / "rules.yaml")] == [("hello",), ("bye",)]
    (tmp_path / "s.yaml").write_text("answers: [{file: a.txt}]")
    assert said(ask(Sim(load_scenario(str(tmp_path / "s.yaml")).behaviour))) == "first\nanswer"
    with pytest.raises(ConfigError, match="can not read"):
        read_answers(tmp_path / "none.txt")


def test_fault_headers() -> None:
    """The header takes a fault with its settings, and refuses conditions and unknown names."""
    fault = parse_fault_header("429; retry_after=1.5; hint=body")
    assert (fault.kind, fault.status, fault.retry_after, fault.hint) == ("status", 429, 1.5, "body")
    for name in CATALOGUE:
        assert parse_fault_header(name).kind == name
    for text in ("429; when=1", "hang", "cut; rate=3", "429; hint=loud"):
        with pytest.raises(ConfigError):
            parse_fault_header(text)
    sim = play("seed: 1")
    assert ask(sim, headers={b"x-sim-fault": b"hang"}).status == 400
    assert ask(sim, headers={b"x-sim-seed": b"x"}).status == 400


def test_a_rule_of_tools_gives_way_after_the_result() -> None:
    """Once the tool's result is in, the rule does not call it again."""
    sim = play("answers: [{match: hello, tool: f}]")
    tools = [{"type": "function", "function": {"name": "f"}}]
    messages = [
        {"role": "user", "content": "hello"},
        {
            "role": "assistant",
            "tool_calls": [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
        },
        {"role": "tool", "tool_call_id": "1", "content": "5"},
    ]
    assert "tool_calls" in json.loads(ask(sim, tools=tools).body or b"")["choices"][0]["message"]
    assert said(ask(sim, tools=tools, messages=messages)) == "hello"

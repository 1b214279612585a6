"""Replays as a person reads them: two outcomes side by side, the difference of their words, a run in a table."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click
import msgspec

from headgate.cli.story import clean, span
from headgate.cli.tables import print_json, print_table
from headgate.core.price import show_cost
from headgate.observe.replay.many import Run, total
from headgate.observe.replay.outcome import Comparison, Outcome, diff_text

if TYPE_CHECKING:
    from headgate.core.tape import Tape
    from headgate.observe.replay.offline import Reproduction
    from headgate.observe.replay.recorded import Recorded

_COLORS = {"+": "green", "-": "red", "@": "cyan"}
_WEIGHED = frozenset({"model", "answered by", "outcome", "error", "finish", "input", "output"})
_SHOWN_BYTES = 4000
_PIECE = 500


def print_comparison(comparison: Comparison, form: str) -> None:
    """Prints one replay."""
    if comparison.redacted:
        click.echo("the call is kept redacted: pseudonyms were sent in the place of what was private", err=True)
    if form == "json":
        diff = list(diff_text(comparison.before.text or "", comparison.after.text or ""))
        print_json({**msgspec.to_builtins(comparison), "diff": diff})
        return
    before, after = comparison.before, comparison.after
    changes = {
        "cost": _signed(comparison.cost_change, lambda nano: show_cost(nano, 6)),
        "took": _signed(comparison.latency_change_us, span),
    }
    rows = [
        (name, one, other, changes.get(name, "differs" if name in _WEIGHED and one != other else ""))
        for (name, one), (_, other) in zip(_figures(before), _figures(after), strict=True)
    ]
    print_table(("", "RECORDED", "REPLAYED", "CHANGE"), rows)
    print()
    _print_answers(comparison)


def print_reproduction(recorded: Recorded, reproduction: Reproduction, form: str) -> None:
    """Prints what came of playing a call, and what its upstreams had said."""
    before, after = reproduction.before, reproduction.after
    if form == "json":
        print_json({**msgspec.to_builtins(reproduction), "reproduced": not reproduction.differs})
        return
    rows = [
        (name, one, other, "" if one == other else "differs")
        for (name, one), (_, other) in zip(_results(before), _results(after), strict=True)
    ]
    print_table(("", "RECORDED", "PLAYED", ""), rows)
    for tape in recorded.tapes:
        _print_tape(tape, recorded.story["attempts"][tape.attempt]["deployment"])
    print()
    for number in reproduction.told:
        print(f"attempt {number + 1} has no tape; its recorded error was taken as told")
    print("reproduced" if not reproduction.differs else f"NOT reproduced: {', '.join(reproduction.differs)} differ")


def _print_tape(tape: Tape, deployment: str) -> None:
    """Prints what one attempt's upstream had said, and when."""
    print()
    print(f"attempt {tape.attempt + 1} at {clean(deployment)} heard ({tape.dialect}):")
    if tape.status:
        print(f"  {span(tape.head_us):>10}  status {tape.status}")
    for name, value in tape.headers:
        print(f"              {clean(name.decode('latin-1'))}: {clean(value.decode('latin-1'), 200)}")
    yielded = 0
    for at, piece in tape.pieces:
        if yielded < _SHOWN_BYTES:
            for n, line in enumerate(_lines(piece)):
                print(f"  {'' if n else span(at):>10}  {clean(line)}")
        yielded += len(piece)
    if yielded > _SHOWN_BYTES:
        print(f"              … {yielded} bytes in all")
    if tape.too_long:
        print("              … and more, which is not kept: the answer was too long")
    if tape.error is not None:
        print(f"              then {tape.error.code}: {clean(tape.error.message)}")


def _lines(piece: bytes) -> list[str]:
    """The lines of what was heard at once, as it begins; the empty ones, which end an event, say nothing."""
    text = piece.decode(errors="replace").replace("\r\n", "\n")
    short = text if len(text) <= _PIECE else text[: _PIECE - 1] + "…"
    return [line for line in short.split("\n") if line] or [""]


def print_run(run: Run, form: str) -> None:
    """Prints a run: its sums, and the replays whose answers differ most."""
    results = [run.done[id] for id in run.head.ids if id in run.done]
    sums = total(results)
    if form == "json":
        print_json(
            {
                "where": run.head.where,
                "changes": msgspec.to_builtins(run.head.changes),
                "file": str(run.path),
                "total": msgspec.to_builtins(sums),
                "replays": msgspec.to_builtins(results),
            }
        )
        return
    rows = [
        ("completed", f"{sums.completed_before:,}", f"{sums.completed_after:,}"),
        ("cost", show_cost(sums.cost_before, 6), show_cost(sums.cost_after, 6)),
        ("median time", _span(sums.latency_before_us), _span(sums.latency_after_us)),
        ("output tokens", f"{sums.output_before:,}", f"{sums.output_after:,}"),
    ]
    print_table((f"{sums.replays:,} REPLAYS", "RECORDED", "REPLAYED"), rows, frozenset({"RECORDED", "REPLAYED"}))
    alike = "-" if sums.similarity is None else f"{sums.similarity:.0%}"
    print(f"{sums.same_answers:,} of {sums.compared_answers:,} answers are the same; similarity {alike} on average")
    different = [one for one in results if one.same_answer is False or one.before != one.after]
    if different:
        print()
        different.sort(key=lambda one: one.similarity or 0.0)
        cells = [
            (one.id, one.replay, one.after, one.error or one.finish_after or "-", _part(one.similarity))
            for one in different[:20]
        ]
        print_table(("RECORDED", "REPLAYED", "OUTCOME", "FINISH", "ALIKE"), cells, frozenset({"ALIKE"}))
    for one in results:
        if one.failed:
            click.echo(f"not replayed: {one.id}: {clean(one.failed, 300)}", err=True)
    print(f"\nevery replay is a call: headgate records --tag replay_of=ID; all figures: {run.path}")


def _figures(outcome: Outcome) -> Iterator[tuple[str, str]]:
    yield from _results(outcome)
    yield "call", outcome.id
    yield "input", _count(outcome.input_tokens)
    yield "output", _count(outcome.output_tokens)
    yield "cost", show_cost(outcome.cost, 6)
    yield "first content", span(outcome.first_content_us)
    yield "took", span(outcome.duration_us)


def _results(outcome: Outcome) -> Iterator[tuple[str, str]]:
    yield "model", clean(outcome.model, 40)
    yield "answered by", clean(outcome.deployment or "nobody", 40)
    yield "outcome", outcome.outcome
    yield "error", clean(outcome.error or "-", 60)
    yield "finish", clean(outcome.finish or "-", 30)
    yield "attempts", ", ".join(clean(error or result, 30) for _, result, error, _ in outcome.attempts) or "-"


def _print_answers(comparison: Comparison) -> None:
    before, after = comparison.before, comparison.after
    if after.error:
        print(f"the replay failed: {clean(after.error_message)}")
    if comparison.same_answer is None:
        print("there was no answer" if before.text is None else "there is no new answer; the recorded one:")
        if after.text is not None:
            print("the new one:")
        if before.text is not None or after.text is not None:
            print(_words(before.text or after.text or ""))
    elif comparison.same_answer:
        print("the answers are the same:")
        print(_words(after.text or ""))
    else:
        print(f"the answers differ ({_part(comparison.similarity)} alike):")
        colors = sys.stdout.isatty()
        for line in diff_text(before.text or "", after.text or ""):
            shown = clean(line, 10_000)
            print(click.style(shown, fg=_COLORS.get(line[:1])) if colors else shown)


def _words(text: str) -> str:
    return "\n".join(f"  {clean(line, 10_000)}" for line in text.splitlines()) or "  (no text)"


def _signed(change: int | None, show: Any) -> str:
    if not change:
        return "" if change == 0 else "-"
    return f"{'+' if change > 0 else '-'}{show(abs(change))}"


def _count(tokens: int | None) -> str:
    return "-" if tokens is None else f"{tokens:,}"


def _span(us: int | None) -> str:
    return "-" if us is None else span(us)


def _part(ratio: float | None) -> str:
    return "-" if ratio is None else f"{ratio:.0%}"

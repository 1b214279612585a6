"""The checklist's items about upstreams that fail: retries, fallbacks, breakers, bounds in time and length."""

from __future__ import annotations

from headgate.check.facts import Facts, steps_of
from headgate.check.item import Item, Line, count, share, some

_LONG_FIRST_S, _LONG_TOTAL_S = 300.0, 3600.0
_DRILL = (
    "exercise it: point the first provider at `headgate sim --scenario outage` for a minute, and look at the records"
)


def retries(facts: Facts) -> Item:
    """What fails is tried again, with a growing wait."""
    line = Line("retries", "Failures are retried, with backoff")
    steps = {step.name: step for model in facts.models for step in steps_of(model)}
    once = [name for name, step in steps.items() if step.retry.attempts == 0]
    if once:
        return line.failed(f"retry.attempts is 0 at {some(once)}", "retry: {attempts: 2} there, or in defaults")
    widest = max(steps.values(), key=lambda step: step.retry.attempts).retry
    evidence = f"up to {widest.attempts} more tries, waits random up to {widest.base:g} s doubling to {widest.cap:g} s"
    again = [story for story in facts.sample if _sent(story) > 1]
    if again:
        saved = sum(story["outcome"] == "completed" for story in again)
        evidence += (
            f"; {len(again)} of the last {len(facts.sample):,} calls needed another try, {saved} were saved by it"
        )
    return line.passed(evidence, tried_again=len(again), sample=len(facts.sample))


def fallback(facts: Facts) -> Item:
    """Every model has somewhere else to go, and has gone there."""
    line = Line("fallback", "A fallback exists and has been exercised")
    embedding = _embedding(facts)
    models = [model for model in facts.models if model.name not in embedding]
    if not models:
        return line.not_applicable("only embeddings were asked for: another model's vectors would be no fallback")
    alone = [model.name for model in models if len({step.provider for step in steps_of(model)}) < 2]
    if alone:
        return line.failed(
            f"no second provider behind {some(alone)}",
            "give its route another: models: {NAME: {route: [openai/…, anthropic/…]}}",
            models=len(models),
            alone=len(alone),
        )
    saved, days = facts.calls.fallbacks, facts.days
    if saved:
        return line.passed(
            f"{count(len(models), 'model')} with a second provider; {count(saved, 'call')} of {facts.calls.total:,} in "
            f"{days:g} days answered by another deployment than the first",
            exercised=saved,
        )
    if not facts.has_records:
        return line.unproven(f"{count(len(models), 'model')} with a second provider; no call yet", _DRILL)
    return line.failed(
        f"a second provider stands by, but none of {count(facts.calls.total, 'call')} in {days:g} days needed it: "
        "nobody knows whether it works",
        _DRILL,
        exercised=0,
    )


def breaker(facts: Facts) -> Item:
    """What is down is left alone."""
    line = Line("breaker", "A provider that is down is left alone")
    off = [step.name for model in facts.models for step in steps_of(model) if not step.breaker.enabled]
    if off:
        return line.failed(f"breaker.enabled is false at {some(list(dict.fromkeys(off)))}", "breaker: {enabled: true}")
    one = facts.settings.defaults.breaker
    turned = sum(any(attempt["outcome"] == "skipped" for attempt in story["attempts"]) for story in facts.sample)
    evidence = f"opens at {one.failure_rate:.0%} failures within {one.window:g} s"
    if turned:
        evidence += f"; of the last {len(facts.sample):,} calls {turned} went past one that was open or full"
    return line.passed(evidence, skipped=turned)


def timeouts(facts: Facts) -> Item:
    """No call waits for ever."""
    line = Line("timeouts", "Every wait is bounded")
    steps = {step.name: step.timeouts for model in facts.models for step in steps_of(model)}
    long = [name for name, one in steps.items() if one.first_content > _LONG_FIRST_S or one.total > _LONG_TOTAL_S]
    if long:
        return line.failed(
            f"at {some(long)} callers may wait over {_LONG_FIRST_S:g} s for a word, or {_LONG_TOTAL_S:g} s in all",
            "timeouts: {first_content: 60, total: 600}",
        )
    bounds = {
        name: max(getattr(one, name) for one in steps.values())
        for name in ("connect", "first_content", "idle", "total")
    }
    return line.passed(", ".join(f"{name.replace('_', ' ')} {value:g} s" for name, value in bounds.items()), **bounds)


def max_tokens(facts: Facts) -> Item:
    """Every request bounds its answer."""
    line = Line("max-tokens", "max_tokens is sent with every request")
    asked = {model.name: model.max_tokens for model in facts.models}
    evidence = f"where the caller names none: {_range(sorted(set(asked.values())))} tokens"
    answered = [story for story in facts.conversations() if story["winner"] >= 0]
    if not answered:
        return line.unproven(f"{evidence}; no call yet")
    without = [story for story in answered if not story["attempts"][story["winner"]]["max_tokens"]]
    if without:
        return line.failed(
            f"{len(without)} of the last {len(answered):,} conversations had none, e.g. {without[0]['id']}",
            "set defaults.max_tokens",
            without=len(without),
        )
    own = sum(bool(story["max_tokens"]) for story in answered)
    cut = share(facts.calls.cut_short, facts.calls.answers) if facts.calls.answers else "0 %"
    return line.passed(
        f"all of the last {len(answered):,} conversations had one, {own:,} the caller's own; {evidence}; {cut} of "
        "answers were cut short by it",
        callers_own=own,
        sample=len(answered),
    )


def _embedding(facts: Facts) -> set[str]:
    """The models that are only asked for embeddings: the vectors of two models can not stand for each other."""
    asked: dict[str, set[str]] = {}
    for story in facts.sample:
        asked.setdefault(story["model"], set()).add(story["dialect"])
    return {model for model, dialects in asked.items() if dialects == {"embeddings"}}


def _sent(story: dict[str, list[dict[str, str]]]) -> int:
    return sum(attempt["outcome"] != "skipped" for attempt in story["attempts"])


def _range(values: list[int]) -> str:
    return f"{values[0]:,}" if len(values) == 1 else f"{values[0]:,} to {values[-1]:,}"


ITEMS = (retries, fallback, breaker, timeouts, max_tokens)

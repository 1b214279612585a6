"""Makes the tables of ``docs/faults.md`` from what the fault matrix of ``tests/scenarios/faults`` expects.

So the page promises what the tests check, and nothing else. ``python scripts/faults.py`` rewrites what stands between
the page's two markers; with ``--check`` it only says whether the page is up to date.
"""

from __future__ import annotations

import pathlib
import sys
from collections.abc import Callable

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.scenarios.faults.breaker import verdict  # noqa: E402 - the path above finds it
from tests.scenarios.faults.table import GROUPS, WIRES, Fate, Fault  # noqa: E402

PAGE = ROOT / "docs" / "faults.md"
START = "<!-- faults: made by `python scripts/faults.py` -->\n"
END = "<!-- end of faults -->\n"
COLUMNS = (
    "the upstream",
    "whole, alone",
    "whole, with a fallback",
    "streamed, alone",
    "streamed, with a fallback",
    "its attempt in the Record",
    "breaker",
)
_ANSWERS = {
    "whole": "the answer",
    "nothing": "the empty answer",
    "half": "what there is, and its finish reason",
    "doubled": "the answer, doubled",
    "mixed": "the answer, mixed",
}
_NO_CASE = "as above"
"""For a whole answer there is nothing between its head and its body."""
_VERDICTS = {"counts": "counts", "pauses": "pauses", "ignores": "-"}


def update(page: str) -> str:
    """Returns the page with its tables made anew."""
    before, start, rest = page.partition(START)
    _, end, after = rest.partition(END)
    if not start or not end:
        raise SystemExit(f"{PAGE} has lost its markers")
    return before + START + "\n" + tables() + "\n" + END + after


def tables() -> str:
    """Returns every table under its heading, and the notes at the end."""
    notes: list[str] = []
    parts = []
    for title, faults in GROUPS.items():
        lines = [f"### {title}", "", f"| {' | '.join(COLUMNS)} |", "|" + "---|" * len(COLUMNS)]
        for fault in faults:
            if fault.note:
                notes.append(fault.note)
            mark = f" ({len(notes)})" if fault.note else ""
            lines.append(f"| {' | '.join([fault.about + mark, *cells(fault)])} |")
        parts.append("\n".join(lines) + "\n")
    parts.append("\n".join(f"({number}) {note}  " for number, note in enumerate(notes, 1)).rstrip() + "\n")
    return "\n".join(parts)


def cells(fault: Fault) -> list[str]:
    """Returns a row's cells after its first."""
    told = [
        by_wire(fault, stream, lambda fate, rescued=rescued: seen(fate, rescued))
        for stream in (False, True)
        for rescued in (False, True)
    ]
    return [*told, by_shape(fault, recorded), by_shape(fault, lambda fate: _VERDICTS[verdict(fate)])]


def by_wire(fault: Fault, stream: bool, say: Callable[[Fate], str]) -> str:
    """Says what ``say`` says of a fate; where Anthropic's wire makes a difference, both."""
    fates = [fault.fate(wire, stream) for wire in WIRES]
    words = [say(fate) for fate in fates if fate is not None]
    if not words:
        return _NO_CASE
    return words[0] if len(set(words)) == 1 else f"{words[0]}; Anthropic: {words[1]}"


def by_shape(fault: Fault, say: Callable[[Fate], str]) -> str:
    """Says it of a whole and of a streamed answer, once where it is the same."""
    whole, streamed = (by_wire(fault, stream, say) for stream in (False, True))
    if whole in (_NO_CASE, streamed):
        return streamed
    return f"{whole}; streamed: {streamed}"


def seen(fate: Fate, rescued: bool) -> str:
    """Says what a caller sees."""
    if fate.how == "answered":
        return _ANSWERS[fate.says]
    if fate.how == "broken":
        return f"error event `{fate.code}`"
    return "**answered**" if rescued and fate.next else f"{fate.status} `{fate.code}`"


def recorded(fate: Fate) -> str:
    """Says what the Record's attempt at the failing deployment holds."""
    if fate.how == "answered":
        return "completed"
    return f"failed, `{fate.code}`{'' if fate.sent else ', not sent'}"


def main(arguments: list[str]) -> int:
    """Makes the page, or checks it."""
    page = PAGE.read_text()
    made = update(page)
    if "--check" in arguments:
        if made != page:
            print("docs/faults.md is not what tests/scenarios/faults promises; run python scripts/faults.py")
        return int(made != page)
    PAGE.write_text(made)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""What calls were thought of, as the first page shows it: sums, the time before, a chart with its gaps."""

from __future__ import annotations

import pathlib
import time

from headgate.console.feedback import read_judged
from headgate.core.clock import Ids
from headgate.core.feedback import make_feedback
from headgate.core.record import Record
from headgate.stores.data import DataDir
from headgate.stores.ingest import Ingest

_HOUR_NS = 3600 * 10**9


def test_satisfaction_of_a_time_and_of_the_time_before(tmp_path: pathlib.Path) -> None:
    """The mean of each; one point a step of the chart, a gap where nobody said anything; the bad ones, newest first."""
    data = DataDir(tmp_path)
    engine = data.open_engine()
    now = time.time_ns()
    assert read_judged(engine, now - 24 * _HOUR_NS, now).now is None
    records, said = [], []
    for hours, score in ((1, 1.0), (1, 0.5), (3, 0.0), (30, 0.25), (5, None)):
        record = Record(Ids().new(), now - hours * _HOUR_NS, key_id="key_1", dialect="openai_chat", model="fast")
        records.append(record)
        at = record.time_ns + 10**9
        said.append(make_feedback(record.id, time_ns=at, key_id="key_1", score=score, label=f"{hours} h ago"))
    Ingest(engine, data.owner).store(records, [], {}, lambda refused: None, said)
    judged = read_judged(engine, now - 24 * _HOUR_NS, now)
    assert judged.now is not None
    assert (judged.now.feedback, judged.now.scored, judged.now.score, judged.now.bad) == (4, 3, 0.5, 1)
    assert judged.before is not None
    assert judged.before.score == 0.25
    assert [one["label"] for one in judged.bad] == ["3 h ago"]
    assert judged.plot is not None
    (line,) = judged.plot.lines
    assert [value for value in line.values if value is not None] == [0.0, 0.75]
    assert line.values.index(0.75) - line.values.index(0.0) == 2
    assert not judged.plot.empty
    assert read_judged(engine, now - 2 * _HOUR_NS, now).bad == []
    assert read_judged(engine, now - _HOUR_NS // 2, now).plot is None
    week = read_judged(engine, now - 7 * 24 * _HOUR_NS, now).plot
    assert week is not None
    assert len(week.times_ns) in (8, 9)
    engine.dispose()

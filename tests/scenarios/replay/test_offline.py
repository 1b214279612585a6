"""Offline replay: every fault of the matrix is reproduced from what the call's record holds, without any upstream."""

from __future__ import annotations

import asyncio
import pathlib
from collections.abc import Iterable, Sequence

import pytest
from tests.scenarios.faults.client import ask, request
from tests.scenarios.faults.gate import LoopGateway, MemoryJournal
from tests.scenarios.faults.matrix import PROMPT, Case, Upstreams, cases, configure

from headgate.core.tape import Tape, decode_tapes, encode_tapes
from headgate.observe.replay.offline import Reproduction, reproduce
from headgate.observe.replay.recorded import Recorded
from headgate.stores.rows import COLUMNS, to_row, to_story

CASES = [case for case in cases() if not case.rescued or case.client == case.upstream]


class KeepingJournal(MemoryJournal):
    """A journal that keeps everything, as bytes, as the real one does."""

    def __init__(self) -> None:
        super().__init__()
        self.payloads: dict[str, tuple[bytes, bytes]] = {}
        self.tapes: dict[str, bytes] = {}

    def append_payload(self, call_id: str, request: bytes, response: bytes, policy: str = "full") -> None:
        assert call_id not in self.payloads, "two payloads of one call"
        self.payloads[call_id] = (request, response)

    def append_tapes(self, call_id: str, tapes: Sequence[Tape]) -> None:
        self.tapes[call_id] = encode_tapes(list(tapes))

    def recorded(self, call_id: str) -> Recorded:
        """Returns a call as the store would give it."""
        story = to_story(dict(zip(COLUMNS, to_row(self.records[call_id]), strict=True)))
        heard = self.tapes.get(call_id)
        return Recorded(story, *self.payloads[call_id], False, () if heard is None else decode_tapes(heard))


async def play_all(folder: pathlib.Path, all_cases: Iterable[Case]) -> dict[str, Reproduction]:
    """Plays the cases for real, then each from its record, when every upstream is gone."""
    all_cases = list(all_cases)
    upstreams = Upstreams(folder)
    journal = KeepingJournal()
    ids = {}
    async with upstreams.running():
        gateway = LoopGateway({**configure(upstreams, all_cases), "data": {"payloads": "full"}})
        gateway.journal = journal
        async with gateway:
            for start in range(0, len(all_cases), 16):
                some = all_cases[start : start + 16]
                asked = (
                    ask(gateway.port, request(case.client, case.name, PROMPT, stream=case.stream)) for case in some
                )
                for case, got in zip(some, await asyncio.gather(*asked), strict=True):
                    ids[case.name] = got.headers["x-headgate-id"]
            dialects = gateway.core.dialects
    return {name: await reproduce(journal.recorded(id), dialects) for name, id in ids.items()}


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Reproduction]:
    return asyncio.run(play_all(tmp_path_factory.mktemp("offline"), CASES))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_failure_is_reproduced_from_its_record_alone(case: Case, played: dict[str, Reproduction]) -> None:
    """The same error, finish and text, the same attempts with the same errors and statuses; in both dialects."""
    reproduction = played[case.name]
    assert reproduction.differs == []
    assert reproduction.told == []
    fate = case.fate
    if fate.how != "answered" and not case.rescued:
        assert reproduction.after.error == fate.code

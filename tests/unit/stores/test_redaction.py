"""Records lose their secrets on their way to the store, however many go together."""

from __future__ import annotations

import logging

import pytest

from headgate.core.record import Record
from headgate.guards.redactor import Redactor
from headgate.stores.redaction import clean_all

from .conftest import MakeRecord

SECRET = "hg-" + "Zk3v7Q2mX9" * 4
MANY = 600
PLACES = ("user", "trace", "tag", "tag's name", "lost", "attempt", "attempt's lost")


@pytest.fixture
def redactor() -> Redactor:
    """A redactor with a secret of its own."""
    return Redactor(b"0123456789abcdef")


def plant(record: Record, place: str, words: str) -> None:
    """Puts words in one place of a Record."""
    attempt = record.attempts[0]
    if place == "tag":
        record.tags = {"a": words}
    elif place == "tag's name":
        record.tags = {words: "a"}
    elif place == "lost":
        record.lost = [words]
    elif place == "attempt":
        attempt.upstream_id = words
    elif place == "attempt's lost":
        attempt.lost = [words]
    else:
        setattr(record, place, words)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("number", [0, 255, 256, MANY - 1])
def test_one_secret_among_many_is_found(redactor: Redactor, make_record: MakeRecord, place: str, number: int) -> None:
    """A secret in one of many Records goes, wherever it stands; what stands in the others stays."""
    records = [make_record(user=f"someone-with-a-name-{one}") for one in range(MANY)]
    plant(records[number], place, SECRET)
    clean_all(redactor, records)
    assert not [record for record in records if SECRET in str(record)]
    assert redactor.pseudonym("HEADGATE_KEY", SECRET) in str(records[number])
    rest = records[:number] + records[number + 1 :]
    assert all(record.user.startswith("someone-with-a-name-") for record in rest)


def test_odd_letters_of_one_call_hide_nothing_in_another(redactor: Redactor, make_record: MakeRecord) -> None:
    """A letter whose small form is of another length does not keep what is in capitals from being found."""
    records = [make_record(user="İSTANBUL OFFICE"), make_record(user="PASSWORD=Xk29vQzz81"), make_record()]
    clean_all(redactor, records)
    assert "Xk29vQzz81" not in str(records)
    assert records[0].user == "İSTANBUL OFFICE"


def test_messages_and_notes_are_cleaned_beside_clean_names(redactor: Redactor, make_record: MakeRecord) -> None:
    """What calls say in words is looked at in each of them, also where no name has a secret."""
    records = [make_record(error_message=f"mail to ann{one}@example.com", notes={"by": SECRET}) for one in range(3)]
    records[1].attempts[0].error_message = f"no such key {SECRET}"
    clean_all(redactor, records)
    assert "example.com" not in str(records)
    assert SECRET not in str(records)
    assert "mail to [EMAIL:" in records[2].error_message


def test_what_can_not_be_cleaned_loses_its_words_alone(
    redactor: Redactor, make_record: MakeRecord, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """One Record that the search fails on is kept without words; the others keep theirs."""
    name = redactor.name

    def fails(text: str) -> str:
        if "something-that-breaks" in text:
            raise RuntimeError("no")
        return name(text)

    monkeypatch.setattr(redactor, "name", fails)
    records = [make_record(user=user) for user in ("first-of-all-users", "something-that-breaks", "last-of-all-users")]
    with caplog.at_level(logging.ERROR):
        clean_all(redactor, records)
    assert [record.user for record in records] == ["first-of-all-users", "", "last-of-all-users"]
    assert "its words are dropped (RuntimeError)" in caplog.text

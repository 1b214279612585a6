"""The ledger beside an invoice: what agrees, what differs, and why."""

from __future__ import annotations

from headgate.observe.invoice import Line
from headgate.observe.reconcile import Ledger, Row, reconcile

DAY = "2026-03-01"


def one(invoice: list[Line], ledger: list[Line], unpriced: int = 0, **options: object) -> Row:
    kept = Ledger(ledger, {(line.day, line.model): unpriced for line in ledger} if unpriced else {})
    (row,) = reconcile(invoice, kept, **options)  # type: ignore[arg-type]
    return row


def test_what_agrees_agrees() -> None:
    """Spellings, what the invoice does not say, a tenth of a per cent and a cent do not matter."""
    ledger = [Line(DAY, "gpt-4o", 3, 150, 30, 30, 500_000)]
    for invoice in (
        Line(DAY, "gpt-4o-2024-08-06", 3, 150, 30, 30),
        Line(DAY, "gpt-4o", cost=10_400_000),
        Line(DAY, "gpt-4o", input=150),
    ):
        assert one([invoice], ledger).state == "agrees"
    many = [Line(DAY, "gpt-4o", 1, 1_000_000, cost=10**12)]
    assert one([Line(DAY, "gpt-4o", 1, 1_001_000, cost=10**12 + 10**9)], many).state == "agrees"
    assert one([Line(DAY, "gpt-4o", 1, 1_002_000)], many).state == "differs"
    assert one([Line(DAY, "gpt-4o", 1, 1_002_000)], many, tolerance=1.0).state == "agrees"


def test_a_difference_is_named() -> None:
    """Which number, both sides, the gap, and what it points to."""
    ledger = [Line(DAY, "m", 3, 150, 30, 0, 2_000_000_000)]
    price = one([Line(DAY, "m", 3, 150, 30, cost=3_000_000_000)], ledger)
    assert price.reasons == [
        "cost invoice $3.00, ledger $2.00, +$1.00 (+50.0%)",
        "the counts agree: the price in the ledger is not the one that was billed",
    ]
    calls = one([Line(DAY, "m", 4, 150)], ledger)
    assert calls.reasons[0] == "requests invoice 4, ledger 3, +1 (+33.3%)"
    assert "did not go through this gateway" in calls.reasons[1]
    missing = one([Line(DAY, "m", cost=3_000_000_000)], ledger, unpriced=2)
    assert missing.reasons[-1] == "2 attempts in the ledger have no price"
    assert one([Line(DAY, "m", cached=5)], ledger).reasons == ["cached invoice 5, ledger 0, +5"]


def test_one_side_alone_is_named() -> None:
    """What only one side has is a difference, unless it is nothing."""
    assert one([Line(DAY, "m", 3)], []).state == "only on the invoice"
    assert one([Line(DAY, "m", 0, 0, 0, 0, 0)], []).state == "agrees"
    assert one([], [Line(DAY, "m", 3, 1, 1, 0, 5)]).state == "only in the ledger"


def test_an_alias_joins_names() -> None:
    """A deployment whose name at the provider is no model's is held against the model that it stands for."""
    ledger = [Line(DAY, "my-deployment", 3, 150)]
    assert one([Line(DAY, "gpt-4o", 3, 150)], ledger, aliases={"my-deployment": "gpt-4o"}).state == "agrees"


def test_an_invoice_without_models_is_held_against_whole_days() -> None:
    """A bill of days alone is compared with the sum of all models."""
    ledger = [Line(DAY, "a", 1, cost=10**9), Line(DAY, "b", 1, cost=2 * 10**9)]
    row = one([Line(DAY, "", cost=3 * 10**9)], ledger)
    assert (row.state, row.model) == ("agrees", "(all models)")


def test_days_and_models_stand_in_order() -> None:
    """One row for each day and model of either side."""
    rows = reconcile([Line(DAY, "b", 1), Line("2026-02-28", "a", 1)], Ledger([Line(DAY, "a", 1)], {}))
    assert [(row.day, row.model) for row in rows] == [("2026-02-28", "a"), (DAY, "a"), (DAY, "b")]

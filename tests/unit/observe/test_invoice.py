"""A provider's export is read as it comes, or refused with what is missing."""

from __future__ import annotations

import pytest

from headgate.core.errors import BadRequest
from headgate.observe.invoice import Line, model_key, read_invoice

OPENAI_USAGE = """start_time,end_time,start_time_iso,end_time_iso,project_id,num_model_requests,user_id,api_key_id,\
model,batch,service_tier,input_tokens,output_tokens,input_cached_tokens,input_uncached_tokens
1772323200,1772323260,2026-03-01T00:00:00+00:00,2026-03-01T00:01:00+00:00,,2,,,gpt-4o-2024-08-06,,,100,20,30,70
1772323260,1772323320,2026-03-01T00:01:00+00:00,2026-03-01T00:02:00+00:00,,1,,,gpt-4o-2024-08-06,,,50,10,0,50
1772409600,1772409660,2026-03-02T00:00:00+00:00,2026-03-02T00:01:00+00:00,,,,,,,,,,,
"""
OPENAI_COST = """start_time,end_time,start_time_iso,end_time_iso,amount_value,amount_currency,line_item,project_id
1772323200,1772409600,2026-03-01T00:00:00+00:00,2026-03-02T00:00:00+00:00,0.00037500000,usd,"gpt-4o-2024-08-06, input",
1772323200,1772409600,2026-03-01T00:00:00+00:00,2026-03-02T00:00:00+00:00,0.0000375,usd,"gpt-4o-2024-08-06, cached",
"""
ANTHROPIC_USAGE = """usage_date_utc,model_version,api_key,workspace,usage_type,context_window,\
usage_input_tokens_no_cache,usage_input_tokens_cache_write_5m,usage_input_tokens_cache_write_1h,\
usage_input_tokens_cache_read,usage_output_tokens,web_search_count,inference_geo,speed
2026-03-01,claude-haiku-4-5-20251001,k,Default,standard,\u2264 200k,100,10,5,40,60,0,not_available,standard
"""
ANTHROPIC_COST = """usage_date_utc,model,workspace,api_key,usage_type,context_window,token_type,cost_usd,list_price_usd
2026-03-01,Claude Haiku 4.5,Default,k,message,\u2264 200k,input_no_cache,0.05,0.05
2026-03-01,Claude Haiku 4.5,Default,k,message,\u2264 200k,output,0.25,0.25
"""


def test_openais_usage_is_read() -> None:
    """Minutes add up to days; an empty bucket says nothing."""
    found = read_invoice(OPENAI_USAGE)
    assert found.provider == "openai"
    assert found.lines == [Line("2026-03-01", "gpt-4o-2024-08-06", 3, 150, 30, 30)]


def test_openais_costs_are_read() -> None:
    """Line items of one model are one sum, exact to the nano-dollar."""
    (line,) = read_invoice(OPENAI_COST).lines
    assert line == Line("2026-03-01", "gpt-4o-2024-08-06", cost=412_500)


def test_anthropics_usage_is_read() -> None:
    """Its kinds of input add up to the whole prompt."""
    found = read_invoice("\ufeff" + ANTHROPIC_USAGE)
    assert found.provider == "anthropic"
    assert found.lines == [Line("2026-03-01", "claude-haiku-4-5-20251001", None, 155, 60, 40)]


def test_anthropics_costs_are_read() -> None:
    """Token types of one model are one sum."""
    assert read_invoice(ANTHROPIC_COST).lines == [Line("2026-03-01", "Claude Haiku 4.5", cost=300_000_000)]


def test_other_exports_are_read_by_their_columns() -> None:
    """Any separator, amounts with signs and thousands, dates and moments; columns can be named."""
    text = "Tag;Modell;Betrag\n2026-03-01 23:59:59 UTC;m-1;$1,234.50\n2026-03-02T01:00:00+02:00;m-1;0.5\nSumme;;2\n"
    found = read_invoice(text, {"day": "Tag", "model": "Modell", "cost": "Betrag"})
    assert found.provider == ""
    assert found.lines == [Line("2026-03-01", "m-1", cost=1_235_000_000_000)]
    assert read_invoice("date\tcost\n1772323200\t1\n1772323200000\t2\n").lines == [
        Line("2026-03-01", "", cost=3_000_000_000)
    ]


@pytest.mark.parametrize(
    ("text", "columns", "said"),
    [
        ("", {}, "no usage or cost export"),
        ("a,b\n1,2\n", {}, "no usage or cost export"),
        ("date,model\n2026-03-01,m\n", {}, "no usage or cost export"),
        ("date,cost\n2026-03-01,much\n", {}, "line 2: cost is no number: 'much'"),
        ("date,cost\n2026-03-01,NaN\n", {}, "line 2: cost is no number"),
        ("date,cost\n2026-03-01,1\n", {"cost": "Betrag"}, "there is no column 'Betrag'"),
    ],
)
def test_what_can_not_be_read_is_told(text: str, columns: dict[str, str], said: str) -> None:
    """The error says which column or line, and how to name columns."""
    with pytest.raises(BadRequest) as caught:
        read_invoice(text, columns)
    assert said in caught.value.message
    assert caught.value.code == "unreadable_invoice"


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("claude-haiku-4-5-20251001", "Claude Haiku 4.5", True),
        ("gpt-4o-mini-2024-07-18", "gpt-4o-mini", True),
        ("claude-3-5-haiku-latest", "claude-3-5-haiku", True),
        ("gpt-4o", "gpt-4o-mini", False),
        ("gpt-4.1", "gpt-4", False),
    ],
)
def test_spellings_of_a_model_are_one(one: str, other: str, same: bool) -> None:
    """Dates and the order of words do not matter; anything else does."""
    assert (model_key(one) == model_key(other)) is same

"""What a call costs: every expected figure is worked out by hand from the published rates, never by our own code."""

from __future__ import annotations

import json
import random
import uuid
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

import psycopg
import pytest
from genai_prices import Usage, calc_price

from tallystick.prices import price_rows

Db = psycopg.Connection[Any]

NOVEMBER = datetime(2026, 11, 22, 12, tzinfo=UTC)
ALICE, BOB = uuid.UUID(int=1), uuid.UUID(int=2)


class Call(NamedTuple):
    """One call; most of the calls below take a thousand tokens in and give a thousand out."""

    model: str
    provider: str = "anthropic"
    at: datetime = NOVEMBER
    tier: str = ""
    speed: str = ""
    geo: str = ""
    grain: str = "call"
    input: int = 1000
    c5m: int = 0
    c1h: int = 0
    read: int = 0
    output: int = 1000
    web: int = 0


def cost(db: Db, call: Call, *, user_id: uuid.UUID | None = None) -> Decimal | None:
    """The cost as the ledger works it out; None where the call is unpriced."""
    row = db.execute(
        """
        select tallystick.cost_usd(
          f.price, %(grain)s, %(tier)s, case when f.implies_fast then 'fast' else %(speed)s end, %(geo)s,
          %(input)s, %(c5m)s, %(c1h)s, %(read)s, %(output)s, %(web)s
        )
        from tallystick.find_price(%(user_id)s, %(provider)s, %(model)s, %(at)s) as f
        """,
        {**call._asdict(), "user_id": user_id},
    ).fetchone()
    return None if row is None else row[0]


def add(db: Db, *prices: dict[str, Any], user_id: uuid.UUID | None = ALICE) -> None:
    db.execute("select public.add_token_prices(%s::jsonb, %s)", [json.dumps(prices), user_id])


def price(model: str, rate: str, *, valid_from: str = "1970-01-01", **members: Any) -> dict[str, Any]:
    """A price of one rate for every kind of token."""
    rates = {"input_usd_per_mtok": rate, "output_usd_per_mtok": rate}
    return {"provider": "anthropic", "model": model, "valid_from": valid_from, **rates, **members}


# Calls that were sent through Claude Code 2.1.330 and the cost that it wrote down, where the published price is another
# one than what it wrote, that one with the reason beside it.
CLAUDE_CODE_CALLS = [
    (Call("claude-opus-4-8"), "0.030"),
    (Call("claude-opus-4-8", speed="fast"), "0.060"),
    (Call("claude-opus-5", speed="fast"), "0.060"),
    (Call("claude-opus-5-5", speed="fast"), "0.048"),
    (Call("claude-opus-4-6", speed="fast"), "0.180"),
    (Call("claude-opus-4-7", speed="fast"), "0.180"),
    (Call("claude-opus-4-8", geo="us"), "0.033"),
    (Call("claude-opus-4-8", tier="batch"), "0.015"),  # a batch costs half; Claude Code, which sends none, ignores it
    (Call("claude-opus-4-8", tier="priority"), "0.030"),
    (Call("claude-sonnet-4-5", input=250_000), "1.5225"),  # the price above 200,000, which Claude Code never had
    (Call("claude-sonnet-4-5", input=10, read=250_000), "0.17256"),  # the same
    (Call("claude-sonnet-4-6", input=250_000), "0.765"),
    (Call("claude-sonnet-5", input=250_000), "0.51"),
    (Call("claude-opus-4-8", input=250_000), "1.275"),
    (Call("claude-haiku-5-5", input=50_000), "0.0055"),
    (Call("claude-haiku-5-5", input=150_000), "0.0775"),
    (Call("claude-haiku-5-5", input=1000, read=149_000), "0.01045"),
    (Call("claude-haiku-4-5"), "0.006"),
    (Call("claude-fable-5"), "0.060"),
    (Call("claude-fable-5-1", read=10_000), "0.0625"),
    (Call("claude-fable-5-2", read=10_000), "0.050"),
    (Call("claude-opus-5-5", read=10_000, c5m=1000, c1h=1000), "0.039"),
    (Call("claude-sonnet-5-5", read=10_000), "0.013"),
    (Call("claude-opus-4-8", c5m=1000), "0.03625"),
    (Call("claude-opus-4-8", c5m=300, c1h=700), "0.038875"),
    (Call("claude-opus-4-8", c5m=4300, c1h=700), "0.063875"),
    (Call("claude-opus-4-8", tier="standard", speed="standard", geo="global"), "0.030"),
    (Call("claude-opus-4-8", web=3), "0.060"),
    (Call("claude-haiku-4-5", output=1000), "0.006"),  # a call and its advisor's are two, of two models: this one ...
    (Call("claude-opus-4-8", output=1000), "0.030"),  # ... and the advisor's
    (Call("claude-opus-4-8", grain="turn"), "0.030"),
    (Call("my-custom-model"), None),  # Claude Code guesses 0.024
    (Call("us.anthropic.claude-sonnet-4-5-20250929-v1:0"), "0.0198"),  # Bedrock's regional price, a tenth more
    (Call("us.anthropic.claude-sonnet-4-5-20250929-v1:0", provider="aws"), "0.0198"),
    (Call("us.anthropic.claude-sonnet-4-5-20250929-v1:0", provider=""), "0.0198"),
    (Call("global.anthropic.claude-sonnet-4-5-20250929-v1:0", provider="aws"), "0.018"),
    (Call("claude-sonnet-4-5[1m]", input=250_000), "1.5225"),  # as without the suffix
]


@pytest.mark.parametrize(("call", "expected"), CLAUDE_CODE_CALLS)
def test_a_claude_code_call_costs_its_list_price(db: Db, call: Call, expected: str | None) -> None:
    assert cost(db, call) == (None if expected is None else Decimal(expected))


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (Call("claude-haiku-5-5", input=100_000, output=0), "0.01"),
        (Call("claude-haiku-5-5", input=100_001, output=0), "0.0500005"),
        (Call("gemini-2.5-pro", "google", input=200_000, output=0), "0.25"),
        (Call("gemini-2.5-pro", "google", input=200_001, output=0), "0.5000025"),
        (Call("gpt-5.5", "openai", input=272_000, output=0), "1.36"),
        (Call("gpt-5.5", "openai", input=272_001, output=0), "2.72001"),
        # every kind of prompt token counts towards the threshold, and none of the answer's
        (Call("claude-haiku-5-5", input=40_000, c5m=30_000, c1h=20_000, read=10_000), "0.01235"),
        (Call("claude-haiku-5-5", input=40_001, c5m=30_000, c1h=20_000, read=10_000), "0.0617505"),
        (Call("claude-haiku-5-5", input=0, output=500_000), "0.25"),
    ],
)
def test_the_whole_request_changes_price_above_the_threshold(db: Db, call: Call, expected: str) -> None:
    assert cost(db, call) == Decimal(expected)


@pytest.mark.parametrize("grain", ["turn", "session_delta", "import"])
def test_what_sums_up_several_calls_never_pays_the_long_context_price(db: Db, grain: str) -> None:
    assert cost(db, Call("claude-haiku-5-5", grain=grain, input=150_000)) == Decimal("0.0155")


@pytest.mark.parametrize(("at", "expected"), [("2026-03-12T23:59:59Z", "2.5375"), ("2026-03-13T00:00:00Z", "1.275")])
def test_a_price_holds_from_midnight_utc_of_its_date(db: Db, at: str, expected: str) -> None:
    call = Call("claude-opus-4-6", at=datetime.fromisoformat(at), input=250_000)
    assert cost(db, call) == Decimal(expected)


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (Call("claude-opus-4-5", geo="us"), "0.030"),
        (Call("claude-sonnet-4-5", geo="us"), "0.018"),
        (Call("claude-fable-5", geo="us"), "0.066"),
        (Call("claude-haiku-5-5", geo="us", input=150_000), "0.08525"),
        (Call("claude-opus-4-8", geo="us", speed="fast"), "0.066"),
        (Call("claude-opus-4-8", geo="us", web=2), "0.053"),
        (Call("claude-opus-4-8", tier="batch", web=2), "0.035"),
        (Call("claude-opus-4-8", tier="batch", at=datetime(2026, 9, 1, tzinfo=UTC)), "0.015"),
        (Call("gpt-5.1", "openai", tier="flex"), "0.005625"),
        (Call("gpt-5.1", "openai", tier="priority"), "0.0225"),
        (Call("gpt-5.1", "openai", tier="fast"), "0.0225"),
        (Call("gpt-5.1", "openai", tier="default"), "0.01125"),
    ],
)
def test_tier_speed_and_place_multiply_the_token_rates(db: Db, call: Call, expected: str) -> None:
    assert cost(db, call) == Decimal(expected)


@pytest.mark.parametrize(
    "call",
    [
        Call("claude-haiku-4-5", speed="fast"),
        Call("claude-opus-4-8", tier="flex"),
        Call("claude-opus-4-8", tier="economy"),
        Call("claude-opus-4-8", speed="warp"),
        # OpenAI gives no long-context price in this tier, so no one factor leads to it
        Call("gpt-5.4", "openai", tier="priority"),
        # genai-prices knows the batch prices of OpenAI from 2026-10-14 on
        Call("gpt-5.1", "openai", tier="batch", at=datetime(2026, 10, 13, tzinfo=UTC)),
        # a cloud that sells at the maker's price is not known to do so in a batch
        Call("gpt-5.1", "azure", tier="batch"),
    ],
)
def test_a_context_without_a_known_price_is_unpriced_and_not_free(db: Db, call: Call) -> None:
    assert cost(db, call) is None
    assert cost(db, call._replace(tier="", speed="")) is not None


def test_no_digit_is_lost(db: Db) -> None:
    add(db, price("exact", "0.0375"))
    call = Call("exact", input=9_007_199_254_740_991, output=0)
    assert cost(db, call, user_id=ALICE) == Decimal("337769972.0527871625")


# -- which name


@pytest.mark.parametrize(
    ("provider", "model", "expected"),
    [
        ("anthropic", "claude-opus-4-8", ("anthropic", "claude-opus-4-8")),
        ("anthropic", "  Claude-Opus-4-8 ", ("anthropic", "claude-opus-4-8")),
        ("anthropic", "claude-sonnet-4-5-20250929", ("anthropic", "claude-sonnet-4-5")),
        ("anthropic", "claude-sonnet-4-5-2025-09-29", ("anthropic", "claude-sonnet-4-5")),
        ("anthropic", "claude-sonnet-4-5-20250929[1m]", ("anthropic", "claude-sonnet-4-5")),
        ("anthropic", "claude-3-5-sonnet-latest", ("anthropic", "claude-3-5-sonnet-latest")),
        ("anthropic", "claude-sonnet-5.5-20261001", ("anthropic", "claude-sonnet-5.5")),
        ("anthropic", "anthropic/claude-3.5-opus-4.8", (None, None)),
        ("anthropic", "claude-fable-5.2", ("anthropic", "claude-fable-5-2")),
        ("anthropic", "claude-opus-4-6-fast", ("anthropic", "claude-opus-4-6")),
        ("anthropic", "claude-sonnet-4-5@20250929", ("google", "claude-sonnet-4-5")),
        ("", "anthropic/claude-opus-4.8", ("anthropic", "claude-opus-4.8")),
        ("", "openrouter/anthropic/claude-opus-4.8", ("openrouter", "anthropic/claude-opus-4.8")),
        ("openrouter", "openrouter/anthropic/claude-opus-4.8", ("openrouter", "anthropic/claude-opus-4.8")),
        ("", "gpt-5.2", ("openai", "gpt-5.2")),
        ("", "openai/gpt-5.2-2025-12-11", ("openai", "gpt-5.2-2025-12-11")),
        ("openai", "gpt-5.2-20251211", ("openai", "gpt-5.2")),
        ("", "models/gemini-2.5-pro", ("google", "gemini-2.5-pro")),
        ("", "claude-fable-5-2", ("anthropic", "claude-fable-5-2")),
        ("", "kimi-k3", (None, None)),
        ("moonshot", "kimi-k3", ("moonshotai", "kimi-k3")),
        ("amazon-bedrock", "eu.anthropic.claude-opus-4-5-20251101-v1:0", ("aws", "eu.anthropic.claude-opus-4-5")),
        ("bedrock", "global.anthropic.claude-opus-4-6-v1", ("aws", "global.anthropic.claude-opus-4-6")),
        ("github-copilot", "claude-opus-4.8-fast", ("github-copilot", "claude-opus-4.8-fast")),
        ("azure", "claude-opus-4-8", ("azure", "claude-opus-4-8")),
        ("elsewhere", "claude-opus-4-8", (None, None)),
    ],
)
def test_a_model_is_found_under_the_name_that_is_listed(
    db: Db, provider: str, model: str, expected: tuple[str | None, str | None]
) -> None:
    found = db.execute(
        "select price_provider, price_model from tallystick.resolve_model(null, %s, %s)", [provider, model]
    ).fetchone()
    assert found == expected


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        ("anthropic", "claude-opus-4-8-turbo-x"),
        ("anthropic", "claude-opus-4-8-20260230"),
        ("anthropic", "claude-opus-4-8-20260431"),
        ("anthropic", "claude-opus-4-8-2026-0102"),
        ("anthropic", "claude-opus-4-8-19990101"),
        ("anthropic", "claude-opus-4-8-20260101-x"),
        ("anthropic", "my-claude-opus-4-8"),
        ("anthropic", "claude-haiku-4-5 -20251001"),
        ("anthropic", "claude"),
        ("anthropic", ""),
        ("openai", "gpt-5-nano-turbo"),
        ("google", "gemini-2.5-pro-invented"),
        ("aws", "us.anthropic.claude-sonnet-4-5-invented-v1:0"),
        ("", "<synthetic>"),
    ],
)
def test_an_invented_name_is_never_priced(db: Db, provider: str, model: str) -> None:
    assert cost(db, Call(model, provider)) is None


def test_a_leap_day_is_a_date(db: Db) -> None:
    assert cost(db, Call("claude-opus-4-8-20280229")) == Decimal("0.030")
    assert cost(db, Call("claude-opus-4-8-20270229")) is None


def test_a_name_that_ends_in_fast_means_the_fast_speed_where_nobody_lists_it(db: Db) -> None:
    assert cost(db, Call("claude-opus-4-6-fast")) == Decimal("0.180")
    assert cost(db, Call("claude-opus-4-8-FAST[1m]")) == Decimal("0.060")
    assert cost(db, Call("claude-haiku-4-5-fast")) is None
    assert cost(db, Call("claude-opus-4.8-fast", "github-copilot")) == Decimal("0.060")


def test_without_a_provider_a_name_that_two_makers_list_is_nobodys(db: Db) -> None:
    add(db, price("twin", "1", provider="openai"), user_id=None)
    assert cost(db, Call("twin", "")) == Decimal("0.002")
    add(db, price("twin", "1", provider="google"), user_id=None)
    assert cost(db, Call("twin", "")) is None
    assert cost(db, Call("twin", "google")) == Decimal("0.002")


# -- which price


def test_the_users_own_price_wins_over_the_list_and_for_that_user_only(db: Db) -> None:
    call = Call("claude-opus-4-8")
    add(db, price("claude-opus-4-8", "1"))
    assert [cost(db, call, user_id=user) for user in (ALICE, BOB, None)] == [
        Decimal(n) for n in ("0.002", "0.03", "0.03")
    ]
    add(db, price("claude-opus-4-8", "2"), user_id=BOB)
    assert [cost(db, call, user_id=user) for user in (ALICE, BOB, None)] == [
        Decimal(n) for n in ("0.002", "0.004", "0.03")
    ]


def test_an_own_price_holds_for_the_model_with_a_date_behind_it_too(db: Db) -> None:
    add(db, price("claude-opus-4", "1"))
    listed_as_written = Call("claude-opus-4-20250514")
    assert cost(db, listed_as_written) == Decimal("0.090")
    assert cost(db, listed_as_written, user_id=ALICE) == Decimal("0.002")


def test_before_the_first_own_price_the_list_holds(db: Db) -> None:
    add(db, price("claude-sonnet-4-5-20250929", "1", valid_from="2026-11-01"))
    call = Call("claude-sonnet-4-5-20250929")
    for at, expected in [("2026-10-31T23:59:59Z", "0.018"), ("2026-11-01T00:00:00Z", "0.002")]:
        assert cost(db, call._replace(at=datetime.fromisoformat(at)), user_id=ALICE) == Decimal(expected)


def test_a_newer_list_price_does_not_end_an_own_price(db: Db) -> None:
    add(db, price("claude-opus-4-6", "1", valid_from="2026-01-01"))
    assert cost(db, Call("claude-opus-4-6", at=datetime(2026, 4, 1, tzinfo=UTC)), user_id=ALICE) == Decimal("0.002")


def test_an_own_price_for_an_unknown_provider_prices_calls_without_one(db: Db) -> None:
    add(db, price("my-custom-model", "1", provider=""))
    assert cost(db, Call("my-custom-model", ""), user_id=ALICE) == Decimal("0.002")
    assert cost(db, Call("my-custom-model", "elsewhere"), user_id=ALICE) is None


def test_the_newest_date_that_has_come_wins_whatever_was_added_last(db: Db) -> None:
    add(db, price("m", "3", valid_from="2026-03-01"), price("m", "1"), price("m", "2", valid_from="2026-02-01"))
    for month, expected in [(1, "0.002"), (2, "0.004"), (3, "0.006"), (4, "0.006")]:
        assert cost(db, Call("m", at=datetime(2026, month, 1, tzinfo=UTC)), user_id=ALICE) == Decimal(expected)


def test_of_two_prices_with_one_date_the_later_added_wins(db: Db) -> None:
    add(db, price("m", "1"))
    add(db, price("m", "2"))
    assert cost(db, Call("m"), user_id=ALICE) == Decimal("0.004")
    add(db, price("m", "1"))
    assert cost(db, Call("m"), user_id=ALICE) == Decimal("0.002")


def test_the_periods_of_a_model_meet_and_never_overlap(db: Db) -> None:
    add(
        db,
        price("claude-opus-4-6", "1", valid_from="2026-02-01"),
        price("claude-opus-4-6", "2", valid_from="2026-05-01"),
    )
    add(db, price("claude-opus-4-6", "3", valid_from="2026-05-01"))
    periods = db.execute(
        "select valid_from::date::text, isfinite(valid_until), (price).input_usd_per_mtok, lead(valid_from) "
        "over (order by valid_from) is not distinct from nullif(valid_until, 'infinity') "
        "from tallystick.price_periods(%s, 'anthropic', 'claude-opus-4-6-20260205') order by valid_from",
        [ALICE],
    ).fetchall()
    assert periods == [
        ("1970-01-01", True, Decimal(5), True),
        ("2026-02-01", True, Decimal(1), True),
        ("2026-05-01", False, Decimal(3), True),
    ]


def test_prices_are_looked_up_by_index_only(db: Db) -> None:
    scans = "select seq_scan, idx_scan from pg_stat_xact_user_tables where relname = 'token_usage_prices'"
    before = db.execute(scans).fetchone()
    assert cost(db, Call("claude-sonnet-4-5-20250929"), user_id=ALICE) == Decimal("0.018")
    after = db.execute(scans).fetchone()
    assert before is not None
    assert after is not None
    assert (after[0] - before[0], after[1] > before[1]) == (0, True)


# -- against the library that the list comes from


def test_costs_equal_those_of_genai_prices(db: Db) -> None:
    dice = random.Random(20261122)
    contexts = {
        "batch": ("batch_multiplier", {"processing": "batch"}),
        "flex": ("flex_multiplier", {"service_tier": "flex"}),
        "priority": ("priority_multiplier", {"service_tier": "priority"}),
    }
    rows = [row for row in price_rows() if "tallystick" not in row["origin"]]
    for _ in range(300):
        row = dice.choice(rows)
        tier = dice.choice(["", *(tier for tier, (multiplier, _) in contexts.items() if multiplier in row)])
        at = datetime.fromisoformat(row["valid_from"]).replace(tzinfo=UTC) + timedelta(hours=dice.randrange(24))
        top = dice.choice([100, 60_000, 150_000])
        read, c5m, c1h, uncached, output = (dice.randrange(top) for _ in range(5))
        call = Call(
            row["model"], row["provider"], at, tier,
            input=uncached, c5m=c5m, c1h=c1h, read=read, output=output, web=dice.randrange(3),
        )  # fmt: skip
        usage = Usage(
            input_tokens=uncached + read + c5m + c1h,
            cache_read_tokens=read,
            cache_write_tokens=c5m + c1h,
            cache_write_1h_tokens=c1h,
            output_tokens=output,
            web_searches=call.web,
        )
        theirs = calc_price(
            usage,
            row["model"],
            provider_id=row["provider"],
            genai_request_timestamp=at,
            price_context=contexts[tier][1] if tier else None,
        )
        assert cost(db, call) == theirs.total_price, call

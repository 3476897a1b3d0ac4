"""The price list as it is made from genai-prices, and a user's own price file."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from genai_prices import Usage, calc_price

from tallystick import prices
from tallystick.errors import ConfigError
from tallystick.prices import PriceRow, price_list_sql, price_rows, read_price_file

MIGRATION = Path(prices.__file__).with_name("sql") / "migrations" / "0002_price_list.sql"


@pytest.fixture(scope="module")
def rows() -> list[PriceRow]:
    return price_rows()


def found(rows: list[PriceRow], provider: str, model: str) -> list[PriceRow]:
    return [row for row in rows if (row["provider"], row["model"]) == (provider, model)]


def test_the_committed_migration_is_what_the_program_makes() -> None:
    assert MIGRATION.read_text(encoding="utf-8") == price_list_sql()


def test_the_migration_is_small_enough_to_push() -> None:
    assert MIGRATION.stat().st_size < 2_000_000


def test_the_program_itself_never_imports_genai_prices() -> None:
    code = "import sys, tallystick.prices; sys.exit('genai_prices' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_model_has_one_price_for_each_date(rows: list[PriceRow]) -> None:
    keys = Counter((row["provider"], row["model"], row["valid_from"]) for row in rows)
    assert max(keys.values()) == 1
    assert [*keys] == sorted(keys)


def test_figures_are_digits_without_an_exponent(rows: list[PriceRow]) -> None:
    figures = {value for row in rows for member, value in row.items() if member in prices.NUMBER_NAMES}
    assert {figure for figure in figures if not figure.replace(".", "", 1).isdigit()} == set()
    assert {figure for figure in figures if "." in figure and figure[-1] in "0."} == set()


def _cost(row: PriceRow, prefix: str, *, input: int, output: int, read: int, c5m: int, c1h: int) -> Decimal:
    tokens = {"input": input, "output": output, "cache_read": read, "cache_creation_5m": c5m, "cache_creation_1h": c1h}
    rates = {bucket: Decimal(row[f"{prefix}{bucket}_usd_per_mtok"]) for bucket in tokens}
    return sum((rates[bucket] * count for bucket, count in tokens.items()), Decimal(0)) / 1_000_000


def _differences(rows: list[PriceRow]) -> Iterator[tuple[PriceRow, str]]:
    for row in rows:
        threshold = int(row.get("long_context_threshold_tokens", 200_000))
        long_prefix = "long_" if "long_input_usd_per_mtok" in row else ""
        # exactly at the threshold, and above it; the counts are such that no two rates could change places unseen
        for prefix, read in (("", threshold - 7919 - 6101 - 2317), (long_prefix, threshold)):
            usage = Usage(
                input_tokens=7919 + read + 6101 + 2317,
                cache_read_tokens=read,
                cache_write_tokens=6101 + 2317,
                cache_write_1h_tokens=2317,
                output_tokens=3571,
            )
            at = datetime.fromisoformat(row["valid_from"]).replace(tzinfo=UTC)
            theirs = calc_price(usage, row["model"], provider_id=row["provider"], genai_request_timestamp=at)
            if theirs.total_price != _cost(row, prefix, input=7919, output=3571, read=read, c5m=6101, c1h=2317):
                yield row, prefix


def test_every_listed_price_is_what_genai_prices_takes_at_its_date(rows: list[PriceRow]) -> None:
    assert list(_differences(rows)) == []


def test_the_list_holds_every_maker_and_most_models(rows: list[PriceRow]) -> None:
    models = {(row["provider"], row["model"]) for row in rows}
    assert len(models) > 3500
    assert {"anthropic", "openai", "google", "aws", "azure", "openrouter", "moonshotai", "x-ai", "zai"} <= {
        provider for provider, _ in models
    }


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        ("anthropic", "claude-sonnet-4-5"),
        ("anthropic", "claude-3-5-sonnet-latest"),
        ("aws", "us.anthropic.claude-sonnet-4-5-20250929"),
        ("azure", "gpt-5.2"),
        ("google", "claude-opus-4-8"),
        ("google", "gemini-2.5-pro-preview-06-05"),
        ("openai", "gpt-5.2"),
        ("openrouter", "anthropic/claude-opus-4.8"),
    ],
)
def test_a_model_is_listed_by_the_names_in_use(rows: list[PriceRow], provider: str, model: str) -> None:
    assert found(rows, provider, model)


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        ("deepseek", "deepseek-chat"),  # its price depends on the time of day
        ("openrouter", "qwen/qwen3.7-flash"),  # three steps of context length
        ("perplexity", "sonar-pro"),  # a fee for each request
        ("openai", "gpt-realtime"),  # sound that is put out has a price of its own
        ("github-copilot", "gpt-4.1"),  # part of the subscription
        ("anthropic", "claude-haiku-5-5@"),  # the beginning of names
    ],
)
def test_what_a_row_cannot_say_is_left_out(rows: list[PriceRow], provider: str, model: str) -> None:
    assert found(rows, provider, model) == []


def test_only_what_says_so_in_its_name_is_free(rows: list[PriceRow]) -> None:
    free = [row for row in rows if row["input_usd_per_mtok"] == "0"]
    assert len(free) > 100
    assert [row["model"] for row in free if not row["model"].endswith(":free")] == []


def test_a_factor_is_listed_only_where_it_leads_to_every_price_exactly(rows: list[PriceRow]) -> None:
    assert found(rows, "openai", "gpt-5.1")[-1]["priority_multiplier"] == "2"
    assert found(rows, "openai", "gpt-4.1")[-1]["priority_multiplier"] == "1.75"
    # 0.25 / 0.15 has no end; cached tokens are dearer than the factor of the others says; no long-context prices
    for model, multiplier in [
        ("gpt-4o-mini", "priority_multiplier"),
        ("gpt-5.4", "flex_multiplier"),
        ("gpt-5.4", "priority_multiplier"),
    ]:
        assert multiplier not in found(rows, "openai", model)[-1]


def test_our_own_figures_are_told_apart_by_their_origin(rows: list[PriceRow]) -> None:
    (opus,) = found(rows, "anthropic", "claude-opus-4-7")
    assert (opus["us_multiplier"], opus["fast_multiplier"], opus["batch_multiplier"]) == ("1.1", "6", "0.5")
    assert opus["origin"].endswith(", tallystick 2026-11")
    ours = {(row["provider"], row["model"]) for row in rows if "tallystick" in row["origin"]}
    assert {provider for provider, _ in ours} == {"anthropic"}


def test_each_of_our_own_figures_names_a_listed_model_a_source_and_a_date(rows: list[PriceRow]) -> None:
    own = prices._own_prices()
    for entry in own["adjustments"] + own["aliases"]:
        assert str(entry["source"]).startswith("https://")
        assert datetime.fromisoformat(str(entry["checked"]))
    for entry in own["adjustments"]:
        (multiplier,) = entry.keys() & set(prices.MULTIPLIER_NAMES)
        for model in entry["models"]:
            listed = found(rows, str(entry["provider"]), model)
            assert listed, model
            assert {row.get(multiplier) for row in listed} == {entry[multiplier]}, model


# -- a user's own file


def test_a_price_file_is_read_digit_for_digit(tmp_path: Path) -> None:
    path = tmp_path / "prices.json"
    path.write_text(
        '[{"provider": "zai", "model": "glm", "valid_from": "2026-01-01T00:00:00+08:00",'
        ' "input_usd_per_mtok": 0.10000000000000000001, "output_usd_per_mtok": "0.50",'
        ' "long_context_threshold_tokens": 200000, "origin": "my contract"}]'
    )
    assert read_price_file(path) == [
        {
            "provider": "zai",
            "model": "glm",
            "valid_from": "2026-01-01T00:00:00+08:00",
            "input_usd_per_mtok": "0.10000000000000000001",
            "output_usd_per_mtok": "0.50",
            "long_context_threshold_tokens": "200000",
            "origin": "my contract",
        }
    ]


def test_every_problem_of_a_price_file_is_told_with_its_entry(tmp_path: Path) -> None:
    path = tmp_path / "prices.json"
    path.write_text(
        '[7, {"provider": "a", "model": null, "valid_from": "yesterday", "input_usd_per_mtok": -1, "colour": "red"},'
        ' {"provider": "a", "model": "b", "valid_from": "2026-01-01T00:00:00", "input_usd_per_mtok": 1e-1,'
        ' "output_usd_per_mtok": 1, "fast_multiplier": true},'
        ' {"provider": "", "model": " ", "valid_from": "2026-01-01", "input_usd_per_mtok": 1, "output_usd_per_mtok": 1,'
        ' "origin": "a\\u0000"}]'
    )
    with pytest.raises(ConfigError) as problem:
        read_price_file(path)
    assert problem.value.message.removeprefix(f"{path}: ").split("; ") == [
        "price 1: not an object",
        "price 2: output_usd_per_mtok is missing",
        "price 2: model is neither text nor number",
        "price 2: valid_from is neither a date nor a time with its offset: yesterday",
        "price 2: input_usd_per_mtok is not a plain number of dollars: -1",
        "price 2: unknown member colour",
        "price 3: valid_from is neither a date nor a time with its offset: 2026-01-01T00:00:00",
        "price 3: input_usd_per_mtok is not a plain number of dollars: 1e-1",
        "price 3: fast_multiplier is neither text nor number",
        "price 4: model is empty",
        "price 4: origin holds a sign that cannot be printed",
    ]
    assert "docs/prices.md" in problem.value.hint


@pytest.mark.parametrize(("text", "problem"), [("{", "is not JSON"), ("{}", "is not a list"), ("\xff", "is not JSON")])
def test_a_file_that_is_no_list_of_prices_is_refused(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "prices.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(ConfigError, match=problem):
        read_price_file(path)


def test_a_missing_price_file_is_a_problem_of_the_configuration(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read"):
        read_price_file(tmp_path / "none.json")

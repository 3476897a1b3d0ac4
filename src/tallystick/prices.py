"""The price list, as rows of token_usage_prices: genai-prices and a few figures of our own; and a user's price file.

The list is made when Tallystick is, by `python -m tallystick.prices`, and comes into the ledger by a migration, so that
callers who never meet Python are priced too. Figures are Decimal, and text in JSON. What genai-prices knows and a row
cannot say is left out, and calls to it stay unpriced: docs/prices.md names the cases.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, time
from decimal import Decimal
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from tallystick.errors import ConfigError

if TYPE_CHECKING:
    from genai_prices.types import (
        MatchLogic,
        ModelInfo,
        ModelPrice,
        Provider,
        StartDateConstraint,
        TieredPrices,
        TimeOfDateConstraint,
    )

PriceRow: TypeAlias = dict[str, str]
OwnEntry: TypeAlias = dict[str, str | list[str]]

OWN_PRICES_FILE = Path(__file__).with_name("sql") / "own_prices.json"
OWN_ORIGIN = "tallystick 2026-11"
BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)

BUCKETS = ("input", "output", "cache_read", "cache_creation_5m", "cache_creation_1h")
RATE_NAMES = tuple(f"{bucket}_usd_per_mtok" for bucket in BUCKETS)
LONG_RATE_NAMES = tuple(f"long_{name}" for name in RATE_NAMES)
THRESHOLD_NAME = "long_context_threshold_tokens"

# Tokens of a kind that has no price of its own are priced as the next more general kind; so does genai-prices.
BUCKET_KEYS = (
    ("input_mtok",),
    ("output_mtok",),
    ("cache_read_mtok", "input_mtok"),
    ("cache_write_5m_mtok", "cache_write_mtok", "input_mtok"),
    ("cache_write_1h_mtok", "cache_write_mtok", "input_mtok"),
)
WEB_SEARCH_KEY = "web_searches_kcount"
# Prices for what the ledger does not count: they leave the price of a text call as it is. A model with any other price
# (of an image put out, a minute, a page, a request) is one that these buckets would price wrongly.
UNCOUNTED_KEYS = (
    "cache_audio_read_mtok",
    "cache_image_read_mtok",
    "code_executions_kcount",
    "input_audio_mtok",
    "input_image_mtok",
    "input_video_mtok",
    "social_searches_kcount",
    "storage_searches_kcount",
)
READABLE_KEYS = frozenset((*(key for keys in BUCKET_KEYS for key in keys), WEB_SEARCH_KEY, *UNCOUNTED_KEYS))

# The request contexts of genai-prices that each multiplier stands for; OpenAI calls its priority tier fast as well.
CONTEXTS = {
    "batch_multiplier": ({"processing": "batch"},),
    "flex_multiplier": ({"service_tier": "flex"},),
    "priority_multiplier": ({"service_tier": "priority"}, {"service_tier": "fast"}),
    "fast_multiplier": ({"speed": "fast"},),
}
MULTIPLIER_NAMES = (*CONTEXTS, "us_multiplier")
NUMBER_NAMES = frozenset((*RATE_NAMES, *LONG_RATE_NAMES, THRESHOLD_NAME, *MULTIPLIER_NAMES, "web_search_usd"))
REQUIRED_NAMES = ("provider", "model", "valid_from", "input_usd_per_mtok", "output_usd_per_mtok")
PRICE_FILE_HINT = "See docs/prices.md for what a price file may say."
KNOWN_NAMES = NUMBER_NAMES | {*REQUIRED_NAMES, "origin"}


class Price(NamedTuple):
    """Rates in US dollars per million tokens, in the order of BUCKETS, and factors on them; None means unknown."""

    rates: tuple[Decimal, ...]
    threshold: int | None = None
    long_rates: tuple[Decimal, ...] | None = None
    web_search_usd: Decimal = Decimal(0)
    multipliers: tuple[Decimal | None, ...] = (None, None, None, None, Decimal(1))
    origin: str = ""


class Listing(NamedTuple):
    """One price of one model from one date on, and all the names that the model has at this provider."""

    provider: str
    names: tuple[str, ...]
    valid_from: datetime
    price: Price


@cache
def _own_prices() -> dict[str, list[OwnEntry]]:
    own: dict[str, list[OwnEntry]] = json.loads(OWN_PRICES_FILE.read_text(encoding="utf-8"))
    return own


@cache
def _library() -> tuple[list[Provider], str]:
    # Imported here because it takes 200 ms, and is there only where the list is built.
    from genai_prices import __version__, data

    return data.providers, f"genai-prices {__version__}"


def price_rows() -> list[PriceRow]:
    """The complete list, as add_token_prices() takes it, ordered by provider, model and date.

    Needs genai-prices, which is no dependency of the installed program.
    """
    rows = [_row(listing, name) for listing in _listings() for name in listing.names]
    return sorted(rows, key=lambda row: (row["provider"], row["model"], row["valid_from"]))


def _row(listing: Listing, name: str) -> PriceRow:
    price = listing.price
    figures = {
        **dict(zip(RATE_NAMES, price.rates, strict=True)),
        THRESHOLD_NAME: price.threshold,
        **dict(zip(LONG_RATE_NAMES, price.long_rates or (None,) * len(BUCKETS), strict=True)),
        **dict(zip(MULTIPLIER_NAMES, price.multipliers, strict=True)),
        "web_search_usd": price.web_search_usd,
    }
    return {
        "provider": listing.provider,
        "model": name,
        "valid_from": f"{listing.valid_from:%Y-%m-%d}",
        **{member: _plain(figure) for member, figure in figures.items() if figure is not None},
        "origin": price.origin,
    }


def _plain(figure: Decimal | int) -> str:
    """Digits without exponent or trailing zeros, so that equal figures are equal texts."""
    text = f"{figure:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _listings() -> Iterator[Listing]:
    providers, _ = _library()
    for provider in providers:
        for model in provider.models:
            yield from _listings_of(provider, model, _adjusted(provider.id, model.id, _dated_prices(model)))
        # Clouds that sell other makers' models at the makers' prices. In which contexts they do is not known.
        for maker in (p for p in providers if p.id in (provider.fallback_model_providers or ())):
            for model in maker.models:
                yield from _listings_of(provider, model, _dated_prices(model, in_contexts=False))


def _listings_of(provider: Provider, model: ModelInfo, prices: list[tuple[datetime, Price]]) -> Iterator[Listing]:
    names = _names(provider, model)
    if not prices and _is_empty(model):
        # No price at all may mean free, included or forgotten; only a name that says so is free.
        names = tuple(name for name in names if name.endswith(":free"))
        prices = [(BEGINNING, Price(rates=(Decimal(0),) * len(BUCKETS), origin=_library()[1]))]
    for valid_from, price in prices if names else ():
        yield Listing(provider.id, names, valid_from, price)


def _is_empty(model: ModelInfo) -> bool:
    return not isinstance(model.prices, list) and not any(vars(model.prices).values())


def _names(provider: Provider, model: ModelInfo) -> tuple[str, ...]:
    """What this model is called at this provider: its id and the literals of its patterns, where the library agrees.

    A pattern's literal that ends in a separator is the beginning of names and no name.
    """
    providers, _ = _library()
    aliases = {
        name
        for alias in _own_prices()["aliases"]
        if (alias["provider"], alias["model"]) == (provider.id, model.id)
        for name in alias["names"]
    }
    candidates = {model.id.lower(), *(literal.lower() for literal in _literals(model.match)), *aliases}
    names = {
        name
        for name in candidates
        if re.fullmatch(r"[a-z0-9@~](.*[a-z0-9])?", name)
        and provider.find_model(name, all_providers=providers) is model
    }
    assert aliases <= names, f"genai-prices does not take {aliases - names} for {model.id}"
    return tuple(sorted(names))


def _literals(clause: MatchLogic) -> Iterator[str]:
    for kind, value in vars(clause).items():
        if kind in ("or_", "and_"):
            for part in value:
                yield from _literals(part)
        elif kind != "regex":
            yield value


def _dated_prices(model: ModelInfo, *, in_contexts: bool = True) -> list[tuple[datetime, Price]]:
    """The model's prices by date; none if any of them is one that a row cannot say."""
    constraints = [condition.constraint for condition in model.prices] if isinstance(model.prices, list) else []
    constraints += [variant.constraint for variant in model.price_variants or ()]
    starts = {_start(constraint) for constraint in constraints if constraint is not None}
    prices: list[tuple[datetime, Price]] = []
    for date in sorted({BEGINNING, *(start for start in starts if start is not None)}):
        price = _read(model.get_prices(date))
        if price is None or None in starts:
            return []
        if in_contexts:
            price = price._replace(multipliers=(*_multipliers(model, price, date), Decimal(1)))
        if not prices or prices[-1][1] != price:
            prices.append((date, price))
    return prices


def _start(constraint: StartDateConstraint | TimeOfDateConstraint) -> datetime | None:
    """Midnight UTC of the day from which it holds; None where it holds at hours of the day."""
    return datetime.combine(constraint.start_date, time(), UTC) if hasattr(constraint, "start_date") else None


def _read(prices: ModelPrice) -> Price | None:
    figures: dict[str, Decimal | TieredPrices] = {k: v for k, v in vars(prices).items() if v is not None}
    tiers = [figure.tiers for figure in figures.values() if not isinstance(figure, Decimal)]
    thresholds = {tier.start for steps in tiers for tier in steps}
    web_search = figures.get(WEB_SEARCH_KEY, Decimal(0))
    if "input_mtok" not in figures or not figures.keys() <= READABLE_KEYS or len(thresholds) > 1:
        return None
    if not isinstance(web_search, Decimal):
        return None
    # A model without a price for output is one that puts none out, such as an embedding.
    buckets = [next((figures[key] for key in keys if key in figures), Decimal(0)) for keys in BUCKET_KEYS]
    return Price(
        rates=tuple(figure if isinstance(figure, Decimal) else figure.base for figure in buckets),
        threshold=next(iter(thresholds), None),
        long_rates=tuple(figure if isinstance(figure, Decimal) else figure.tiers[0].price for figure in buckets)
        if thresholds
        else None,
        web_search_usd=web_search.scaleb(-3),
        origin=_library()[1],
    )


def _multipliers(model: ModelInfo, standard: Price, date: datetime) -> Iterator[Decimal | None]:
    active = [
        variant.when
        for variant in model.price_variants or ()
        if variant.constraint is None or variant.constraint.active(date)
    ]
    for contexts in CONTEXTS.values():
        factors = {
            _factor(standard, _read(model.get_prices(date, context))) for context in contexts if context in active
        }
        yield factors.pop() if len(factors) == 1 else None


def _factor(standard: Price, variant: Price | None) -> Decimal | None:
    """The one number that makes every rate of `standard` that of `variant`; None if none does so exactly."""
    if variant is None or (standard.threshold, standard.web_search_usd) != (variant.threshold, variant.web_search_usd):
        return None
    before = [*standard.rates, *(standard.long_rates or ())]
    after = [*variant.rates, *(variant.long_rates or ())]
    ratios = {Fraction(new) / Fraction(old) for old, new in zip(before, after, strict=True) if old}
    if len(ratios) != 1 or any(new and not old for old, new in zip(before, after, strict=True)):
        return None
    ratio = ratios.pop()
    is_decimal = 10**12 % ratio.denominator == 0
    return Decimal(ratio.numerator) / Decimal(ratio.denominator) if is_decimal else None


def _adjusted(provider: str, model: str, prices: list[tuple[datetime, Price]]) -> list[tuple[datetime, Price]]:
    """The prices with what we add: multipliers where genai-prices has none (us_multiplier it never has)."""
    own: dict[str, Decimal] = {}
    for entry in _own_prices()["adjustments"]:
        if entry["provider"] == provider and model in entry["models"]:
            own |= {name: Decimal(str(value)) for name, value in entry.items() if name in MULTIPLIER_NAMES}
    adjusted: list[tuple[datetime, Price]] = []
    for date, price in prices:
        multipliers = tuple(
            own.get(name, listed) if listed is None or name == "us_multiplier" else listed
            for name, listed in zip(MULTIPLIER_NAMES, price.multipliers, strict=True)
        )
        is_same = multipliers == price.multipliers
        ours = price if is_same else price._replace(multipliers=multipliers, origin=f"{price.origin}, {OWN_ORIGIN}")
        if not adjusted or adjusted[-1][1] != ours:
            adjusted.append((date, ours))
    return adjusted


def price_list_sql() -> str:
    """The migration that brings the list into a ledger: one line per price, with all names that have it."""
    listings = sorted(_listings(), key=lambda listing: (listing.provider, listing.names, listing.valid_from))
    values = ",\n".join(_values(listing) for listing in listings)
    return PRICE_LIST_SQL.replace("{values}", values)


def _values(listing: Listing) -> str:
    price = listing.price
    cells = [
        listing.provider,
        _array(listing.names),
        f"{listing.valid_from:%Y-%m-%d}",
        _array(map(_plain, price.rates)),
        None if price.threshold is None else str(price.threshold),
        None if price.long_rates is None else _array(map(_plain, price.long_rates)),
        _array("null" if factor is None else _plain(factor) for factor in price.multipliers),
        _plain(price.web_search_usd),
        price.origin,
    ]
    assert not any("'" in cell for cell in cells if cell is not None)
    return "(" + ", ".join("null" if cell is None else f"'{cell}'" for cell in cells) + ")"


def _array(items: Iterable[str]) -> str:
    texts = list(items)
    assert all(re.fullmatch(r'[^\s,{}"\\]+', text) for text in texts), texts
    return "{" + ",".join(texts) + "}"


# One expression over all rows, so that installing the list is one statement and takes a fraction of a second. price_id
# is the place in the list; append_prices() gives the real one, and the owner, the digest and the time.
PRICE_LIST_SQL = """\
-- The price list. Made by `python -m tallystick.prices` from genai-prices (MIT) and sql/own_prices.json; change those,
-- and make it anew. What stands in the ledger already is not added again.
select tallystick.append_prices(null, array(
  select row(
    row_number() over (order by l.provider, m.name collate "C", l.valid_from),
    null, l.provider, m.name, (l.valid_from || 'T00:00:00Z')::timestamptz,
    f.rates[1], f.rates[2], f.rates[3], f.rates[4], f.rates[5], l.threshold::bigint,
    f.long_rates[1], f.long_rates[2], f.long_rates[3], f.long_rates[4], f.long_rates[5],
    f.multipliers[1], f.multipliers[2], f.multipliers[3], f.multipliers[4], f.multipliers[5],
    l.web_search_usd::numeric, l.origin, null, null
  )::public.token_usage_prices
  from (values
{values}
  ) as l (provider, names, valid_from, rates, threshold, long_rates, multipliers, web_search_usd, origin)
  cross join lateral (
    select l.rates::numeric[] as rates, l.long_rates::numeric[] as long_rates, l.multipliers::numeric[] as multipliers
  ) as f
  cross join unnest(l.names::text[]) as m (name)
));
"""


def read_price_file(path: Path) -> list[PriceRow]:
    """A user's own prices: a JSON list of prices as add_token_prices() takes them; numbers as text, digit for digit.

    Raises ConfigError that names every problem. What the members must say together, the ledger checks.
    """
    try:
        entries = json.loads(path.read_text(encoding="utf-8"), parse_float=str, parse_int=str)
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}", hint="Name a file that you may read.") from error
    except ValueError as error:
        raise ConfigError(f"{path} is not JSON: {error}", hint=PRICE_FILE_HINT) from error
    if not isinstance(entries, list):
        raise ConfigError(f"{path} is not a list of prices", hint=PRICE_FILE_HINT)
    problems = [f"price {place}: {fault}" for place, entry in enumerate(entries, 1) for fault in _faults(entry)]
    if problems:
        raise ConfigError(f"{path}: {'; '.join(problems)}", hint=PRICE_FILE_HINT)
    return entries


def _faults(entry: object) -> Iterator[str]:
    if not isinstance(entry, dict):
        yield "not an object"
        return
    yield from (f"{member} is missing" for member in REQUIRED_NAMES if member not in entry)
    for member, value in entry.items():
        if member not in KNOWN_NAMES:
            yield f"unknown member {member}"
        elif not isinstance(value, str):
            yield f"{member} is neither text nor number"
        elif not value.isprintable():
            yield f"{member} holds a sign that cannot be printed"
        elif member == "model" and not value.strip():
            yield f"{member} is empty"
        elif member in NUMBER_NAMES and not re.fullmatch(r"[0-9]{1,7}(\.[0-9]{1,20})?", value):
            yield f"{member} is not a plain number of dollars: {value}"
        elif member == "valid_from" and not _is_time(value):
            yield f"{member} is neither a date nor a time with its offset: {value}"


def _is_time(text: str) -> bool:
    try:
        return datetime.fromisoformat(text if "T" in text else f"{text}T00:00:00Z").tzinfo is not None
    except ValueError:
        return False


if __name__ == "__main__":
    sys.stdout.write(price_list_sql())

"""`tally live`: what stands on the screen, against figures worked out here, and what its keys do."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal

import pytest

from tallystick.db import Database, open_connection
from tallystick.ledger import Ledger
from tallystick.live.app import LiveApp
from tallystick.live.follower import Follower, State
from tallystick.road import SERVICE
from tests.servers import connect
from tests.surface.screens import HAIKU, OPUS, UNPRICED, Call, Screen, look, noon_zone, take_in

CALLS = (
    Call(20 * 60, "old", "/w/shop", OPUS, 2_000, 3_000, 400_000, 5_000),  # of yesterday, and of a block that is over
    Call(19 * 60, "old", "/w/shop", HAIKU, 10, 20),
    Call(40, "long", "/w/shop", OPUS, 1_200, 350, 40_000, 900),
    Call(35, "quiet", "/w/notes", HAIKU, 7, 2_500, 61_000),
    Call(12, "long", "/w/shop", HAIKU, 30, 80, 1_000),
    Call(9, "other", "/w/api", UNPRICED, 1_000, 2_000, source="codex"),
    Call(4, "old", "/w/shop", OPUS, 3, 1_000, 100_000),
)
HOUR, SECOND = timedelta(hours=1), timedelta(seconds=1)
YESTERDAY, TODAY = CALLS[:2], CALLS[2:]


def shown(cost: Decimal) -> str:
    return f"${cost.quantize(Decimal('0.01'), rounding=ROUND_HALF_UP):,}"


def cost_of(*calls: Call) -> str:
    return shown(sum((call.cost_usd for call in calls), Decimal(0)))


def total(name: str, calls: tuple[Call, ...]) -> str:
    return f"{sum(getattr(call, name) for call in calls):,}"


@pytest.fixture
def now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture
def writer(ledger_url_18: str, now: datetime) -> Iterator[Ledger]:
    """The books of a user whose clock says that it is past noon."""
    with Ledger.connect(ledger_url_18, user_id=str(uuid.uuid4())) as ledger:
        ledger.make_account(time_zone=noon_zone(now))
        yield ledger


@pytest.fixture
def viewed(ledger_url_18: str, writer: Ledger) -> Iterator[Ledger]:
    """The same books, for the view alone."""
    with Ledger.connect(ledger_url_18, user_id=writer.user_id) as ledger:
        yield ledger


def test_80_columns_and_24_lines_show_everything(writer: Ledger, viewed: Ledger, now: datetime) -> None:
    take_in(writer, now, *CALLS)

    async def act(screen: Screen) -> None:
        assert [line[:6] for line in screen.lines].count("      ") == 0
        for title in ("Today", "Models today", "Running sessions", "Last calls"):
            assert any(line.startswith(f" {title} ") for line in screen.lines), title
        assert "…" not in screen.text
        for key in ("q Quit", "? Help", "p Pause", "r Refresh", "s Sort", "d Theme"):
            assert key in screen.lines[-1]
        # so far and yesterday, with the mark of what is not priced
        assert screen.cells("Cost")[:2] == [f"{cost_of(*TODAY)}*", cost_of(*YESTERDAY)]
        assert screen.cells("Messages")[:2] == ["5", "2"]
        for name, member in (("Input", "input"), ("Output", "output"), ("Cache read", "cache_read")):
            cells = screen.cells(name)
            assert cells[:2] == [total(f"{member}_tokens", calls) for calls in (TODAY, YESTERDAY)], name
        assert screen.cells("Cache write")[:2] == ["900", "5,000"]
        assert screen.cells("* unpriced")[:4] == ["1", "event", "0", "events"]

    look(viewed, act, now=now)


def test_the_block_has_its_pace_and_where_that_leads(writer: Ledger, viewed: Ledger, now: datetime) -> None:
    take_in(writer, now, *CALLS)
    # it begins at the full hour of its first call, which was 40 minutes ago; all went on for 36 minutes
    start = (now - timedelta(minutes=40)).replace(minute=0, second=0, microsecond=0)
    end, used_s = start + timedelta(hours=5), 36 * 60
    tokens, cost = sum(call.tokens for call in TODAY), sum((call.cost_usd for call in TODAY), Decimal(0))
    left_s = int((end - now).total_seconds())
    zone_hours = 12 - now.hour

    async def act(screen: Screen) -> None:
        local = (start + timedelta(hours=zone_hours), end + timedelta(hours=zone_hours))
        assert screen.half("Block") == [f"{local[0]:%H:%M}", "so", "far", "by", f"{local[1]:%H:%M}"]
        assert screen.half("Cost") == [f"{shown(cost)}*", f"{shown(cost + cost * left_s / used_s)}*"]
        assert screen.half("Tokens") == [f"{tokens:,}", f"{tokens + tokens * left_s // used_s:,}"]
        rate = f"{shown(cost * 3600 / used_s)}*/h, {tokens * 60 // used_s:,} tokens/min"
        assert " ".join(screen.half("Burn rate")) == rate
        assert (
            f"{left_s // 3600} h {left_s // 60 % 60} min left".replace(" 0 min", "").replace("0 h ", "") in screen.text
        )

    look(viewed, act, now=now)


def test_what_the_provider_says_of_its_windows_goes_before_our_model_of_them(
    writer: Ledger, viewed: Ledger, now: datetime
) -> None:
    take_in(writer, now, *CALLS)
    told = {"source": "claude-code", "observed_at": (now - timedelta(minutes=2)).isoformat()}
    windows = [
        {"limit_name": "five_hour", "used_percent": "42.5", "window_minutes": 300, "resets_at": now + HOUR * 1.5},
        {"limit_name": "seven_day", "used_percent": 7, "window_minutes": 10080, "resets_at": now + HOUR * 50},
    ]

    def observe() -> None:
        texts = [{**told, **one, "resets_at": one["resets_at"].isoformat()} for one in windows]  # type: ignore[attr-defined]
        assert writer.observe_usage_limits(json.dumps(texts)).rejected == 0

    async def act(screen: Screen) -> None:
        assert "━" in screen.text
        observe()
        await screen.shows("Official")
        # the ledger keeps the end of a window to the minute
        assert screen.half("Official 5 hours")[0] == "42.5%,"
        assert " ".join(screen.half("Official 5 hours")[1:]) in ("1 h 29 min", "1 h 30 min")
        assert screen.half("Official 7 days")[0] == "7%,"
        assert "━" not in screen.text
        assert screen.half("Cost")[0] == f"{cost_of(*TODAY)}*"

    look(viewed, act, now=now)


def test_without_calls_in_the_last_five_hours_no_block_runs(writer: Ledger, viewed: Ledger, now: datetime) -> None:
    take_in(writer, now, *YESTERDAY)

    async def act(screen: Screen) -> None:
        assert "No block runs: the next call opens one." in screen.text
        assert "Nothing was used today." in screen.text
        assert "No call in the last 30 minutes." in screen.text
        assert screen.cells("Cost")[:2] == ["$0.00", cost_of(*YESTERDAY)]

    look(viewed, act, now=now)


def test_a_session_runs_for_half_an_hour_and_shows_all_that_it_ever_used(
    writer: Ledger, viewed: Ledger, now: datetime
) -> None:
    take_in(writer, now, *CALLS)

    async def act(screen: Screen) -> None:
        begin, end = (screen.text.index(title) for title in ("Running sessions", "Last calls"))
        rows = [line.split() for line in screen.text[begin:end].splitlines()[1:] if line.strip()]
        old = [call for call in CALLS if call.session_id == "old"]
        long = [call for call in CALLS if call.session_id == "long"]
        assert [row[:3] for row in rows] == [
            ["shop", "claude-code", OPUS],
            ["api", "codex", UNPRICED],
            ["shop", "claude-code", HAIKU],
        ]
        assert [row[-2:] for row in rows] == [
            [f"{sum(call.tokens for call in old):,}", cost_of(*old)],
            ["3,000", "unpriced"],
            [f"{sum(call.tokens for call in long):,}", cost_of(*long)],
        ]

    look(viewed, act, now=now)


def test_what_is_dated_after_now_is_neither_among_the_last_calls_nor_running(
    writer: Ledger, viewed: Ledger, now: datetime
) -> None:
    take_in(writer, now, CALLS[6], Call(-4 * 365 * 24 * 60, "ahead", "/w/ahead", HAIKU, 1, 1))

    async def act(screen: Screen) -> None:
        assert "ahead" not in screen.text
        assert screen.text.count("shop") == 2

    look(viewed, act, now=now)


def test_models_come_dearest_first_and_calls_latest_first(writer: Ledger, viewed: Ledger, now: datetime) -> None:
    take_in(writer, now, *CALLS)

    async def act(screen: Screen) -> None:
        at = screen.text.index("Models today")
        models = [line.split() for line in screen.text[at:].splitlines()[1:4]]
        by_model = {model: tuple(call for call in TODAY if call.model == model) for model in (OPUS, HAIKU, UNPRICED)}
        assert [row[0] for row in models] == list(by_model)
        assert [row[-1] for row in models] == [cost_of(*by_model[OPUS]), cost_of(*by_model[HAIKU]), "unpriced"]
        at = screen.text.index("Last calls")
        rows = [line.split() for line in screen.text[at:].splitlines()[1:4]]
        assert [(row[1], row[2], row[3], row[4]) for row in rows] == [
            (call.source, call.model, call.project[3:], f"{call.tokens:,}") for call in CALLS[:3:-1]
        ]
        assert [row[5] for row in rows] == [cost_of(CALLS[6]), "unpriced", "$0.0005"]

    look(viewed, act, now=now)


def test_what_has_no_price_is_never_shown_as_nothing(writer: Ledger, viewed: Ledger, now: datetime) -> None:
    take_in(writer, now, Call(5, "a", "/w/a", UNPRICED, 10, 20), Call(3, "a", "/w/a", UNPRICED, 10, 20))

    async def act(screen: Screen) -> None:
        assert screen.cells("Cost")[:2] == ["unpriced", "$0.00"]  # yesterday there was nothing
        assert screen.half("Cost") == ["unpriced", "unpriced"]
        assert " ".join(screen.half("Burn rate")) == "unpriced, 30 tokens/min"
        assert screen.text.count("$") == 1

    look(viewed, act, now=now)


# -- following


def test_what_is_taken_in_appears_by_itself(writer: Ledger, viewed: Ledger, now: datetime) -> None:
    async def act(screen: Screen) -> None:
        assert "No usage recorded yet." in screen.text
        assert "tally doctor" in screen.text
        take_in(writer, now, CALLS[2])
        await screen.shows(cost_of(CALLS[2]))
        take_in(writer, now, CALLS[6], first_number=1)
        await screen.shows(cost_of(CALLS[2], CALLS[6]))
        assert "No usage" not in screen.text

    look(viewed, act, now=now)


def test_where_nobody_tells_of_changes_the_ledger_is_asked(writer: Ledger, ledger_url_18: str, now: datetime) -> None:
    take_in(writer, now, CALLS[2])
    with Ledger(Database(open_connection(ledger_url_18), caller=SERVICE), user_id=writer.user_id) as untold:

        async def act(screen: Screen) -> None:
            assert untold.changes(timeout_s=0) is None
            take_in(writer, now, CALLS[6], first_number=1)
            await screen.shows(cost_of(CALLS[2], CALLS[6]))

        look(untold, act, now=now)


def test_a_ledger_that_goes_away_leaves_its_last_figures_and_comes_back_by_itself(
    writer: Ledger, viewed: Ledger, ledger_url_18: str, server_urls: dict[str, str], now: datetime
) -> None:
    take_in(writer, now, CALLS[2])
    with connect(ledger_url_18) as connection:
        (name,) = connection.execute("select current_database()").fetchone() or ("",)

    async def act(screen: Screen) -> None:
        with connect(server_urls["18"], autocommit=True) as admin:
            admin.execute(f"alter database {name} allow_connections false".encode())
            admin.execute(
                "select pg_terminate_backend(pid, 60000) from pg_stat_activity where datname = %s", [name]
            ).fetchall()
            await screen.shows("the next try in")
            assert screen.lines[0].rstrip().endswith("no answer")
            assert screen.lines[1].startswith(" Figures of 12:")
            assert cost_of(CALLS[2]) in screen.text
            # somebody waits for it: however often it was tried, the pauses stay short
            for _ in range(5):
                before = screen.app._state.away
                await screen.press("r")
                await screen.until(lambda before=before: screen.app._state.away != before)  # type: ignore[misc]
            assert screen.app._state.away is not None
            assert screen.app._state.away.next_try_at - datetime.now(UTC) <= 5 * SECOND
            # to the last word, over as many lines as it takes
            assert "is not currently accepting connections" in " ".join(screen.text.split())
            admin.execute(f"alter database {name} allow_connections true".encode())
        take_in(writer, now, CALLS[6], first_number=1)
        await screen.shows(cost_of(CALLS[2], CALLS[6]))
        assert screen.lines[0].rstrip().endswith("live")
        assert "the next try in" not in screen.text

    look(viewed, act, now=now)


# -- keys


def test_paused_it_shows_what_was_until_it_is_asked(
    writer: Ledger, viewed: Ledger, ledger_url_18: str, now: datetime
) -> None:
    take_in(writer, now, CALLS[2])
    others: list[State] = []
    somebody = Ledger.connect(ledger_url_18, user_id=writer.user_id)
    other = Follower(somebody, fallback_zone="UTC", tell=others.append)
    other.start()

    async def act(screen: Screen) -> None:
        await screen.press("p")
        assert screen.lines[0].rstrip().endswith("paused")
        take_in(writer, now, CALLS[6], first_number=1)
        await screen.until(lambda: any(state.figures and len(state.figures.calls) == 2 for state in others))
        assert cost_of(CALLS[2]) == screen.cells("Cost")[0]
        await screen.press("r")
        await screen.shows(cost_of(CALLS[2], CALLS[6]))
        assert screen.lines[0].rstrip().endswith("paused")
        take_in(writer, now, CALLS[3], first_number=2)
        await screen.press("p")
        await screen.shows(cost_of(CALLS[2], CALLS[3], CALLS[6]))
        assert screen.lines[0].rstrip().endswith("live")

    look(viewed, act, now=now)
    other.stop()
    somebody.close()


def test_sessions_are_sorted_by_one_thing_after_another(writer: Ledger, viewed: Ledger, now: datetime) -> None:
    take_in(writer, now, *CALLS)
    long, old = (tuple(call for call in CALLS if call.session_id == name) for name in ("long", "old"))
    costs = {"old": cost_of(*old), "other": "unpriced", "long": cost_of(*long)}

    async def act(screen: Screen) -> None:
        for column, order in (
            ("Last ↓", ["old", "other", "long"]),
            ("Cost ↓", ["old", "long", "other"]),
            ("Tokens ↓", ["old", "long", "other"]),
            ("Running sessions ↓", ["other", "old", "long"]),
            ("Last ↓", ["old", "other", "long"]),
        ):
            begin, end = (screen.text.index(title) for title in ("Running sessions", "Last calls"))
            title, *rows = [line for line in screen.text[begin:end].splitlines() if line.strip()]
            assert column in title
            assert [row.split()[-1] for row in rows] == [costs[name] for name in order], column
            await screen.press("s")

    look(viewed, act, now=now)


def test_help_says_what_the_keys_do_until_any_is_pressed(writer: Ledger, viewed: Ledger, now: datetime) -> None:
    take_in(writer, now, CALLS[2])

    async def act(screen: Screen) -> None:
        await screen.press("question_mark")
        assert "sort the running sessions" in screen.text
        await screen.press("x")
        assert "sort the running sessions" not in screen.text
        was = screen.app.theme
        await screen.press("d")
        assert screen.app.theme != was
        await screen.press("d")
        assert screen.app.theme == was

    look(viewed, act, now=now)


def test_lists_are_scrolled_and_their_titles_stay(writer: Ledger, viewed: Ledger, now: datetime) -> None:
    calls = [Call(number, "s", f"/w/p{number:02}", OPUS, 1, 1) for number in range(40, 0, -1)]
    take_in(writer, now, *calls)

    async def act(screen: Screen) -> None:
        assert "p01" in screen.text
        assert "p40" not in screen.text
        await screen.press("end")
        await screen.shows("p40")
        assert "Last calls" in screen.text
        await screen.press("home")
        await screen.until(lambda: "p40" not in screen.text)
        await screen.press("tab", "tab", "tab")
        await screen.press("down")
        await screen.shows("p02")

    look(viewed, act, now=now)


# -- what comes from files, and terminals of other sizes


def test_names_from_files_cannot_style_or_move_anything(writer: Ledger, viewed: Ledger, now: datetime) -> None:
    take_in(
        writer,
        now,
        Call(5, "s", "/w/[red]x", "[bold]m[/bold]", 10, 20),
        Call(3, "s", "/w/\x1b[31m\ny", "[/]", 1, 2),
    )

    async def act(screen: Screen) -> None:
        assert "[bold]m[/bold]" in screen.text
        assert "[red]x" in screen.text
        assert "?[31m?y" in screen.text
        assert "\x1b" not in screen.text

    look(viewed, act, now=now)


@pytest.mark.parametrize("size", [(36, 10), (40, 16), (60, 24), (72, 14), (100, 24), (130, 40), (220, 60)])
def test_the_cost_of_today_and_of_the_sessions_are_there_in_every_size(
    writer: Ledger, viewed: Ledger, now: datetime, size: tuple[int, int]
) -> None:
    take_in(writer, now, *CALLS)

    async def act(screen: Screen) -> None:
        assert f"{cost_of(*TODAY)}*" in screen.text
        assert "yesterday" in screen.text
        assert {len(line) for line in screen.lines} == {size[0]}
        if size[1] > 16:
            assert "Running sessions" in screen.text
            assert "Last calls" in screen.text

    look(viewed, act, now=now, size=size)


def test_what_did_not_change_is_not_drawn_again(writer: Ledger, viewed: Ledger, now: datetime) -> None:
    take_in(writer, now, *CALLS)

    async def act(screen: Screen) -> None:
        drawn = [panel._text.visual for panel in screen.app.query("Panel").results()]  # type: ignore[attr-defined]
        screen.app._draw()
        assert all(
            panel._text.visual is before  # type: ignore[attr-defined]
            for panel, before in zip(screen.app.query("Panel").results(), drawn, strict=True)
        )

    look(viewed, act, now=now)


def test_what_is_told_while_it_ends_is_not_drawn(viewed: Ledger) -> None:
    apps: list[LiveApp] = []

    async def act(screen: Screen) -> None:
        apps.append(screen.app)

    look(viewed, act)
    (app,) = apps
    app.on_live_app_told(LiveApp.Told(State(trouble="too late")))

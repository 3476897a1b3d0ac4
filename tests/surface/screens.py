"""The live view on a made-up terminal, and a user's calls of the last day for it to show."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

from textual.pilot import Pilot

from tallystick.ledger import Ledger
from tallystick.live.app import LiveApp
from tests.surface.records import batch_of, observation

LIMIT_S = 60.0
OPUS, HAIKU, UNPRICED = "claude-opus-4-8", "claude-haiku-4-5", "acme-large-1"
# US dollars per million tokens: input, output, cache read, cache write for five minutes
RATES = {OPUS: ("5", "25", "0.5", "6.25"), HAIKU: ("1", "5", "0.1", "1.25")}


class Call(NamedTuple):
    """One model call, so long ago."""

    minutes_ago: int
    session_id: str
    project: str
    model: str
    input_tokens: int
    output_tokens: int
    cache_read_tokens: int = 0
    cache_creation_tokens: int = 0
    source: str = "claude-code"

    @property
    def tokens(self) -> int:
        return self.input_tokens + self.output_tokens + self.cache_read_tokens + self.cache_creation_tokens

    @property
    def cost_usd(self) -> Decimal:
        """By hand, each bucket at its rate; nothing where there is no rate."""
        counts = (self.input_tokens, self.output_tokens, self.cache_read_tokens, self.cache_creation_tokens)
        rates = RATES.get(self.model, ("0",) * 4)
        return sum((count * Decimal(rate) for count, rate in zip(counts, rates, strict=True)), Decimal(0)) / 10**6


def noon_zone(now: datetime) -> str:
    """A zone in which it is between noon and one now, so that today and yesterday are where the tests have them."""
    return f"Etc/GMT{now.hour - 12:+d}"


def take_in(ledger: Ledger, now: datetime, *calls: Call, first_number: int = 0) -> None:
    """Put the calls into the ledger; their numbers make their keys."""
    ledger.ingest_token_usage(
        batch_of(
            *(
                observation(
                    number,
                    occurred_at=(now - timedelta(minutes=call.minutes_ago)).isoformat(),
                    source=call.source,
                    model=call.model,
                    session_id=call.session_id,
                    project=call.project,
                    input_tokens=call.input_tokens,
                    output_tokens=call.output_tokens,
                    cache_read_tokens=call.cache_read_tokens,
                    cache_creation_5m_tokens=call.cache_creation_tokens,
                )
                for number, call in enumerate(calls, first_number)
            )
        )
    )


class Screen:
    """What somebody in front of the terminal sees and does."""

    def __init__(self, app: LiveApp, pilot: Pilot[None]) -> None:
        self.app = app
        self._pilot = pilot

    @property
    def lines(self) -> list[str]:
        """The lines on the screen."""
        return ["".join(segment.text for segment in strip) for strip in self.app.screen._compositor.render_strips()]

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    def cells(self, start: str) -> list[str]:
        """The words of the first line that begins so, without what it begins with."""
        for line in self.lines:
            if line.strip().startswith(start):
                return line.strip().removeprefix(start).split()
        raise AssertionError(f"no line begins with {start!r}:\n{self.text}")

    def half(self, start: str) -> list[str]:
        """The same of the right half of the screen."""
        for line in self.lines:
            right = line[len(line) // 2 :].strip()
            if right.startswith(start):
                return right.removeprefix(start).split()
        raise AssertionError(f"no right half begins with {start!r}:\n{self.text}")

    async def until(self, is_so: Callable[[], bool]) -> None:
        """Wait until the screen is so, and is laid out: what changes is drawn before what that moves."""
        deadline = time.monotonic() + LIMIT_S
        seen: list[str] = []
        while not is_so() or seen[-3:] != [self.text] * 3:
            assert time.monotonic() < deadline, self.text
            seen.append(self.text)
            await self._pilot.pause(0.01)

    async def shows(self, text: str) -> None:
        await self.until(lambda: text in self.text)

    async def press(self, *keys: str) -> None:
        await self._pilot.press(*keys)
        await self.until(lambda: True)


def look(
    ledger: Ledger,
    act: Callable[[Screen], Awaitable[Any]],
    *,
    size: tuple[int, int] = (80, 24),
    now: datetime | None = None,
) -> None:
    """Open the live view on a terminal of that size, do something there, and close it."""

    async def script() -> None:
        at = now or datetime.now(UTC)
        app = LiveApp(ledger, fallback_zone="UTC", clock=lambda: at)
        async with app.run_test(size=size) as pilot:
            screen = Screen(app, pilot)
            await screen.until(lambda: "so far" in screen.text or "No usage" in screen.text)
            await act(screen)

    asyncio.run(script())

"""The screen of `tally live`: panels that change only where their words do, and the keys."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from datetime import UTC, datetime
from typing import ClassVar

from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, Vertical, VerticalScroll
from textual.content import Content
from textual.message import Message
from textual.screen import ModalScreen
from textual.widgets import Footer, Static

from tallystick.ledger import Ledger
from tallystick.live.figures import Figures
from tallystick.live.follower import Follower, State
from tallystick.live.texts import (
    NOTHING_YET,
    ORDERS,
    Words,
    away_words,
    block_words,
    call_words,
    head_words,
    model_words,
    session_words,
    today_words,
    trouble_words,
)

TICK_S = 1.0
# of a title, and of the lines under it: app.tcss
PADDING = 2
NORMAL_WIDTH = 72
TALL_HEIGHT = 21
THEMES = ("textual-dark", "textual-light")
LEAVING = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
HELP = """\
q      quit
p      pause: the figures stay as they are; again to go on
r      read the figures now
s      sort the running sessions by another thing
d      dark or light
tab    go to the next list; arrows and page keys scroll it

Tokens are those of all buckets; cost is the API's list price of
the day. Unpriced, and * beside a cost: a model has no price.
A block is five hours from its first call's full hour on. Official
is what the plan's provider says: how much of a window is used, and
for how long it lasts.
A session runs while its last call is not 30 minutes old.

Any key closes this."""


class Panel(Vertical):
    """A title that stays, and lines below it, which can be scrolled where there are more than fit."""

    def __init__(self, name: str, *, is_list: bool) -> None:
        super().__init__(id=name)
        self._heading = Static(classes="heading", markup=False)
        self._text = Static(markup=False)
        self._scroller = VerticalScroll(self._text, can_focus=is_list)
        self._make: Callable[[int], Words] | None = None
        self._words: Words | None = None

    def compose(self) -> ComposeResult:
        """The title over what scrolls."""
        yield self._heading
        yield self._scroller

    def show(self, make: Callable[[int], Words]) -> None:
        """Put up what `make` says for the width of a line; the same words as before are left alone."""
        self._make = make
        self.on_resize()

    def on_resize(self) -> None:
        width = self.size.width - PADDING
        words = self._make(width) if self._make and width > 0 else self._words
        if words is None or words == self._words:
            return
        self._words = words
        self._heading.update(Content(words.title))
        notes = Content("\n".join(words.notes)).stylize("dim")
        self._text.update(Content("\n".join(words.lines)) if words.lines else notes)


class Help(ModalScreen[None]):
    """What the keys do, and what the figures mean."""

    def compose(self) -> ComposeResult:
        """One box of text."""
        yield Static(HELP, id="help", markup=False)

    def on_key(self) -> None:
        self.dismiss()


class LiveApp(App[None]):
    """The live view of one user's books."""

    TITLE = "tally live"
    CSS_PATH = "app.tcss"
    ENABLE_COMMAND_PALETTE = False
    AUTO_FOCUS = "#calls VerticalScroll"
    # Textual declares these two as variables of an instance
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (NORMAL_WIDTH, "-normal"), (130, "-wide")]  # noqa: RUF012
    VERTICAL_BREAKPOINTS = [(0, "-low"), (14, "-short"), (TALL_HEIGHT, "-tall"), (34, "-high")]  # noqa: RUF012
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "quit", "Quit"),
        Binding("ctrl+c", "quit", show=False, priority=True),
        Binding("question_mark", "help", "Help", key_display="?"),
        Binding("p", "pause", "Pause"),
        Binding("r", "refresh_figures", "Refresh"),
        Binding("s", "sort", "Sort"),
        Binding("d", "theme", "Theme"),
    ]

    class Told(Message):
        """The follower has something new to show."""

        def __init__(self, state: State) -> None:
            super().__init__()
            self.state = state

    def __init__(
        self,
        ledger: Ledger,
        *,
        fallback_zone: str,
        has_colour: bool = True,
        trouble: Callable[[], str] = str,
        clock: Callable[[], datetime] | None = None,
    ) -> None:
        # where NO_COLOR is set, Textual leaves out its own colours only with those of the terminal
        super().__init__(ansi_color=None if has_colour else True)
        self.defect: Exception | None = None
        self._clock = clock or (lambda: datetime.now(UTC))
        self._follower = Follower(ledger, fallback_zone=fallback_zone, tell=self._take, trouble=trouble)
        self._state = State()
        self._is_paused = False
        self._order = 0
        self._put_texts: dict[str, str] = {}

    def compose(self) -> ComposeResult:
        """The head, the five panels, and the keys."""
        yield Static(id="head", markup=False)
        yield Static(id="away", markup=False)
        with Container(id="panels"):
            yield Panel("today", is_list=False)
            yield Panel("block", is_list=False)
            yield Panel("models", is_list=True)
            yield Panel("sessions", is_list=True)
            yield Panel("calls", is_list=True)
        yield Static(id="nothing", markup=False)
        yield Footer(show_command_palette=False)

    def on_mount(self) -> None:
        for number in LEAVING:
            asyncio.get_running_loop().add_signal_handler(number, self.exit)
        self.set_interval(TICK_S, self._draw)
        self._follower.start()

    def on_unmount(self) -> None:
        self._follower.stop()

    def _take(self, state: State) -> None:
        """Called by the follower's thread."""
        self.post_message(self.Told(state))

    def on_live_app_told(self, message: Told) -> None:
        self._state = message.state
        self.defect = message.state.defect
        if self.defect:
            self.exit()
        self._draw()

    def on_resize(self) -> None:
        self._draw()

    def action_help(self) -> None:
        self.push_screen(Help())

    def action_pause(self) -> None:
        self._is_paused = not self._is_paused
        self._follower.pause(self._is_paused)
        self._draw()

    def action_refresh_figures(self) -> None:
        self._follower.refresh()

    def action_sort(self) -> None:
        self._order = (self._order + 1) % len(ORDERS)
        self._draw()

    def action_theme(self) -> None:
        self.theme = THEMES[self.theme == THEMES[0]]

    def _draw(self) -> None:
        """Word everything anew; what is worded as before is not drawn."""
        if not self.is_running:
            return  # while it is taken down there is nothing left to draw on
        now = self._clock()
        figures, away = self._state.figures, self._state.away
        width = self.size.width - PADDING
        self._put("head", head_words(figures, now=now, status=self._status(), width=width))
        self._put("away", away_words(away, figures, now=now) if away else trouble_words(self._state.trouble))
        has_usage = figures is not None and bool(figures.calls)
        self._put("nothing", "" if has_usage or figures is None else "\n".join(NOTHING_YET))
        self.query_one("#panels").display = has_usage
        if figures is not None and has_usage:
            self._draw_panels(figures, now)

    def _draw_panels(self, figures: Figures, now: datetime) -> None:
        is_brief = self.size.width < NORMAL_WIDTH or self.size.height < TALL_HEIGHT
        order = ORDERS[self._order]
        makers: dict[str, Callable[[int], Words]] = {
            "today": lambda width: today_words(figures, width=width, is_brief=is_brief),
            "block": lambda width: block_words(figures, width=width, now=now),
            "models": lambda width: model_words(figures, width=width),
            "sessions": lambda width: session_words(figures, width=width, order=order),
            "calls": lambda width: call_words(figures, width=width),
        }
        for name, make in makers.items():
            self.query_one(f"#{name}", Panel).show(make)

    def _put(self, name: str, text: str) -> None:
        """A text in its place, which goes away with it."""
        if self._put_texts.get(name) != text:
            self._put_texts[name] = text
            place = self.query_one(f"#{name}", Static)
            place.update(Content(text))
            place.display = bool(text)

    def _status(self) -> str:
        if self._is_paused:
            return "paused"
        if self._state.away:
            return "no answer"
        return "live" if self._state.figures else "reading"


def run_live(ledger: Ledger, *, fallback_zone: str, has_colour: bool, trouble: Callable[[], str]) -> None:
    """Show the books until somebody quits; a defect of ours is raised once the terminal is as it was.

    `trouble` says what keeps new usage from being taken in, '' where nothing does; a thread asks it again and again.
    """
    app = LiveApp(ledger, fallback_zone=fallback_zone, has_colour=has_colour, trouble=trouble)
    app.run()
    if app.defect:
        raise app.defect

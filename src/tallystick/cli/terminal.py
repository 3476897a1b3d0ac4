"""Where the text goes: how wide it may be, whether it may have colour, and which signs it can show."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from functools import partial
from typing import NamedTuple, TextIO

from tallystick.waiting import Waiting, told_when_slow

DEFAULT_WIDTH = 80
LEAST_WIDTH = 40

# Signs that a terminal or a file without Unicode cannot take, and what stands for them there.
_ASCII_SIGNS = str.maketrans({"─": "-", "…": "~"})


class NoReader(Exception):
    """Whoever read the output has gone: no error, and nothing more to say. (click takes a BrokenPipeError for one.)"""


class Palette(NamedTuple):
    """The escape sequences of each kind of text; all empty where colour is not wanted."""

    strong: str = ""
    faint: str = ""
    warning: str = ""
    reset: str = ""


PLAIN = Palette()
COLOUR = Palette(strong="\x1b[1m", faint="\x1b[2m", warning="\x1b[33m", reset="\x1b[0m")


class Terminal(NamedTuple):
    """What the text must fit: columns, colours, and whether anything beyond ASCII can be shown."""

    width: int
    palette: Palette
    has_unicode: bool
    is_interactive: bool


def look_at_output() -> Terminal:
    """What standard output can show."""
    return look_at(sys.stdout)


def look_at(stream: TextIO, *, environ: Mapping[str, str] | None = None) -> Terminal:
    """Find out what `stream` can show; COLUMNS, NO_COLOR and TERM are words of the terminal, not settings of ours."""
    environ = os.environ if environ is None else environ
    is_interactive = stream.isatty()
    has_colour = is_interactive and not environ.get("NO_COLOR") and environ.get("TERM") != "dumb"
    encoding = (stream.encoding or "ascii").lower().replace("-", "").replace("_", "")
    return Terminal(
        width=_width_of(stream, environ, is_interactive=is_interactive),
        palette=COLOUR if has_colour else PLAIN,
        has_unicode=encoding.startswith("utf"),
        is_interactive=is_interactive,
    )


def _width_of(stream: TextIO, environ: Mapping[str, str], *, is_interactive: bool) -> int:
    columns = environ.get("COLUMNS", "")
    if columns.isdecimal() and int(columns) > 0:
        return max(int(columns), LEAST_WIDTH)
    if not is_interactive:
        return DEFAULT_WIDTH
    try:
        return max(os.get_terminal_size(stream.fileno()).columns or DEFAULT_WIDTH, LEAST_WIDTH)
    except OSError:
        return DEFAULT_WIDTH


def write_lines(lines: Iterable[str], *, terminal: Terminal) -> None:
    """Print lines to standard output, in signs that it can show."""
    text = "".join(f"{line}\n" for line in lines)
    try:
        sys.stdout.write(text if terminal.has_unicode else text.translate(_ASCII_SIGNS))
        sys.stdout.flush()
    except BrokenPipeError as error:
        raise NoReader from error


def waiting_for(what: str) -> Waiting:
    """What to ask questions in: when one takes long, it is said on a terminal what is waited for, once."""
    if not sys.stderr.isatty():
        return nullcontext
    lines = [f"Waiting for {what} ..."]

    def tell() -> None:
        if lines:
            say(lines.pop())

    return partial(told_when_slow, tell)


def say(line: str) -> None:
    """Print one line beside the report, on standard error."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()

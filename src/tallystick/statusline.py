"""One line for an agent's status bar: what its own JSON says, and what a file has of the ledger's figures.

It is run anew for every line, ten at once, so it imports next to nothing, is run by a Python that looks for no
packages, asks no database and starts none. Where the file is old it starts one program that renews it, and does not
wait for that.
"""

from __future__ import annotations

import os
import sys
import time

# Spelled out here and in cli/statusline.py, which neither of the two may import from the other.
CACHE_NAME = "statusline.json"
LIMITS_NAME = "statusline-limits.json"
LOCK_NAME = "statusline.lock"
LIMITS = ("five_hour", "seven_day")
PARTS = ("session", "today", "block", "burn", "context")
UNKNOWN = "n/a"
FRESH_S = 10.0
# figures of an hour ago say nothing of now
USABLE_S = 3600.0
MAX_INPUT_BYTES = 1 << 20

JsonObject = dict[str, object]


class _Reading:
    """What json's own scanner wants to know; the package around it takes longer to import than all else here."""

    strict = False
    object_hook = None
    object_pairs_hook = None
    parse_float = float
    parse_int = int
    parse_constant = float
    memo: dict[str, str] = {}  # noqa: RUF012 (the scanner empties it)


def main(arguments: list[str]) -> None:
    """Print the line; `arguments` are the folder of our state, the parts to show, and the program that renews."""
    state_dir, parts, *renewal = arguments
    now = time.time()
    told = read_object(sys.stdin.buffer.read(MAX_INPUT_BYTES) if not sys.stdin.isatty() else b"")
    known = read_object(_content_of(f"{state_dir}/{CACHE_NAME}"))
    sys.stdout.write(line_of(told, known, parts=parts.split(","), now=now) + "\n")
    sys.stdout.flush()
    _leave_limits(told, f"{state_dir}/{LIMITS_NAME}", now)
    if renewal and not 0 <= now - _number(known, "at") < FRESH_S:
        _renew(state_dir, renewal)


def line_of(told: JsonObject, known: JsonObject, *, parts: list[str], now: float) -> str:
    """The line, from the agent's JSON and our file; whatever is not known is n/a."""
    usable = known if 0 <= now - _number(known, "at") < USABLE_S else {}
    makers = {"session": _session, "today": _today, "block": _block, "burn": _burn, "context": _context}
    return " | ".join(makers[part](told, usable, now) for part in parts if part in makers)


def read_object(text: bytes) -> JsonObject:
    """A JSON object, {} for whatever else it is."""
    try:
        from _json import make_scanner  # CPython's own; json.scanner would bring all of json

        value, _ = make_scanner(_Reading)(text.decode("utf-8", "replace").strip(), 0)  # type: ignore[arg-type]
    except (ImportError, ValueError, StopIteration, RecursionError, SystemError):
        return {}  # the last is what the scanner comes to where json's own error is not imported
    return value if isinstance(value, dict) else {}


def _session(told: JsonObject, _: JsonObject, __: float) -> str:
    cost = _part(told, "cost").get("total_cost_usd")
    return f"{_dollars(cost)} session"


def _today(_: JsonObject, known: JsonObject, now: float) -> str:
    is_today = now < _number(known, "day_ends_at")
    return f"{_dollars(known.get('today_usd') if is_today else None)} today"


def _block(told: JsonObject, known: JsonObject, now: float) -> str:
    """The plan's own window where the agent tells of it, or the ledger knows it; else our model of it."""
    for official in (_part(_part(told, "rate_limits"), "five_hour"), _part(known, "official")):
        used, resets_at = official.get("used_percentage"), _number(official, "resets_at")
        if isinstance(used, (int, float)) and not 0 < resets_at <= now:
            return f"5h {used:.0f}% used{_time_left(resets_at - now)}"
    block = _part(known, "block")
    left_s = _number(block, "ends_at") - now
    return f"{_dollars(block.get('cost_usd') if left_s > 0 else None)} block{_time_left(left_s)}"


def _burn(_: JsonObject, known: JsonObject, now: float) -> str:
    block = _part(known, "block")
    rate = block.get("usd_per_hour") if now < _number(block, "ends_at") else None
    return UNKNOWN + " per hour" if rate is None else f"{_dollars(rate)}/h"


def _context(told: JsonObject, _: JsonObject, __: float) -> str:
    used = _part(told, "context_window").get("used_percentage")
    return f"context {used:.0f}%" if isinstance(used, (int, float)) else f"context {UNKNOWN}"


def _part(value: JsonObject, name: str) -> JsonObject:
    part = value.get(name)
    return part if isinstance(part, dict) else {}


def _number(value: JsonObject, name: str) -> float:
    number = value.get(name)
    return float(number) if isinstance(number, (int, float)) else 0.0


def _dollars(cost: object) -> str:
    """An amount to the cent; ours come as text that is rounded already."""
    if isinstance(cost, str):
        return f"${cost}"
    return f"${cost:.2f}" if isinstance(cost, (int, float)) and not isinstance(cost, bool) else UNKNOWN


def _time_left(seconds: float) -> str:
    if seconds <= 0:
        return ""
    minutes = int(seconds // 60)
    return f", {minutes // 60}h {minutes % 60}m left" if minutes >= 60 else f", {minutes}m left"


def _content_of(path: str) -> bytes:
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return b""
    try:
        return os.read(descriptor, MAX_INPUT_BYTES)
    finally:
        os.close(descriptor)


def _leave_limits(told: JsonObject, path: str, now: float) -> None:
    """Leave the plan's own figures where they changed, for the next program that asks the ledger to hand on.

    A session that was left open tells of a window that has ended: that is no news.
    """
    windows = []
    for name in LIMITS:
        window = _part(_part(told, "rate_limits"), name)
        used, resets_at = window.get("used_percentage"), _number(window, "resets_at")
        if isinstance(used, (int, float)) and 0 <= used <= 1000 and (resets_at == 0 or now < resets_at < 1e10):
            windows.append(f'"{name}":{{"used_percentage":{float(used)},"resets_at":{resets_at}}}')
    figures = f'{{"limits":{{{",".join(windows)}}},"observed_at":'.encode()
    if not windows or _content_of(path).startswith(figures):
        return
    beside = f"{path}.{os.getpid()}"
    try:
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        try:
            os.write(descriptor, figures + f"{now}}}".encode())
        finally:
            os.close(descriptor)
        os.replace(beside, path)  # noqa: PTH105 (pathlib takes longer to import than all else here)
    except OSError:
        return  # the next line tries again


def _renew(state_dir: str, program: list[str]) -> None:
    """Start the program that renews the file, unless one runs: it has the lock until it ends, however it ends."""
    import fcntl  # most lines renew nothing

    try:
        lock = os.open(f"{state_dir}/{LOCK_NAME}", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    except OSError:
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.set_inheritable(lock, True)
        silent = [(os.POSIX_SPAWN_OPEN, number, os.devnull, os.O_RDWR, 0) for number in range(3)]
        os.posix_spawn(program[0], program, os.environ, file_actions=silent, setsid=True)
    except OSError:
        pass
    finally:
        os.close(lock)

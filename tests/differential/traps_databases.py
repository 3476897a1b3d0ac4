"""Histories of agents that keep a database, with one thing each that is easily miscounted."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from pathlib import Path

from tests.corpus import goose, hermes, opencode, zcode
from tests.corpus.histories import Call, History, Tokens
from tests.differential import plain
from tests.differential.made import BEGIN, Made, Use, uses_of

SONNET = "claude-sonnet-4-5"


def make_trap_histories() -> list[Made]:
    return [*_opencode(), *_goose(), *_zcode(), *_hermes()]


def _some_uses(model: str, count: int = 3) -> list[Use]:
    """Calls a minute apart, of which no two are equal."""
    return [
        Use(BEGIN + timedelta(minutes=at), model, Tokens(100 + at, 200 + at, 3_000, 400 + 10 * at))
        for at in range(count)
    ]


def _opencode() -> list[Made]:
    uses = _some_uses(SONNET)
    messages = [plain.opencode_message(number, use) for number, use in enumerate(uses)]
    thinking = [plain.opencode_message(number, use, reasoning=150) for number, use in enumerate(uses)]
    folder = Path(plain.OPENCODE_DATA)
    running = opencode.make_message(opencode.Tokens(0, 0, 0, 0, 0), time={"created": 1_788_249_900_000}, modelID=SONNET)

    def save(
        *, sessions: int = 1, of: list[dict[str, object]] = messages, place: Path = folder / "opencode.db"
    ) -> Callable[[Path], None]:
        def write(home: Path) -> None:
            with closing(opencode.OpenCodeHistory(home / place)) as history:
                for session in range(sessions):
                    history.save_session(f"ses_{session}")
                    for number, message in enumerate(of):
                        history.save_message(f"msg_{session}{number:03d}", message, session_id=f"ses_{session}")

        return write

    def save_both(home: Path) -> None:
        save()(home)
        for number, message in enumerate(messages):
            opencode.write_message_file(home / folder, f"msg_0{number:03d}", message, session_id="ses_0")

    def save_files(home: Path) -> None:
        for number, message in enumerate(messages):
            opencode.write_message_file(home / folder, f"msg_0{number:03d}", message, session_id="ses_0")

    steps = [opencode.Tokens(5, 6, 0, 7, 8), opencode.Tokens(50, 60, 0, 70, 80)]

    def save_steps(home: Path) -> None:
        with closing(opencode.OpenCodeHistory(home / folder / "opencode.db")) as history:
            history.save_session("ses_1")
            history.save_message("msg_1", plain.opencode_message(0, Use(BEGIN, SONNET, Tokens(50, 80, 70, 60))))
            history.save_steps("msg_1", [opencode.make_step(step) for step in steps])

    stepped = [Use(BEGIN, SONNET, Tokens(step.input, step.write, step.read, step.output)) for step in steps]
    kilo = Path(".local/share/kilo/kilo.db")
    return [
        Made(("opencode",), "a fork: a copy under new ids", uses, save(sessions=2)),
        Made(("opencode",), "thinking", uses, save(of=thinking)),
        Made(("opencode",), "the database, and the files from before it", uses, save_both),
        Made(("opencode",), "the files from before the database", uses, save_files),
        Made(("opencode",), "a message of two steps", stepped, save_steps),
        Made(("opencode",), "an answer that is still awaited", uses, save(of=[*messages, running])),
        Made(("kilo-cli",), "a fork: a copy under new ids", uses, save(sessions=2, place=kilo)),
        Made(("kilo-cli",), "thinking", uses, save(of=thinking, place=kilo)),
    ]


def _goose() -> list[Made]:
    uses = _some_uses(SONNET)
    place = ".local/share/goose/sessions/sessions.db"
    two_days = [uses[0], uses[1]._replace(at=BEGIN + timedelta(days=1))]

    def save_all(home: Path) -> None:
        with closing(goose.GooseHistory(home / place)) as history:
            for number, use in enumerate(uses):
                plain.save_goose_session(history, number, use)

    def save_one(home: Path) -> None:
        """One session, whose totals are those of both calls."""
        both = Use(BEGIN, SONNET, Tokens(*(a + b for a, b in zip(uses[0].tokens, uses[1].tokens, strict=True))))
        with closing(goose.GooseHistory(home / place)) as history:
            plain.save_goose_totals(history, "20260901_1", both)
            for use in two_days:
                plain.save_goose_call(history, "20260901_1", use)

    return [
        Made(("goose",), "cache reads and writes", uses, save_all),
        Made(("goose",), "a session over two days", two_days, save_one),
    ]


def _zcode() -> list[Made]:
    use = Use(BEGIN, "glm-4.6", Tokens(1_000, 100, 8_000, 700))
    at_ms = Call(0, use.at, use.tokens).at_ms
    columns = {"model_id": use.model, "input_tokens": 9_100, "started_at": at_ms - 1, "completed_at": at_ms}

    def save(home: Path, *, with_running: bool) -> None:
        path = home / ".zcode/cli/db/db.sqlite"
        path.parent.mkdir(parents=True)
        with closing(zcode.make_usage(path)) as connection:
            zcode.save_call(connection, 1, **columns)
            if with_running:
                zcode.save_call(connection, 2, **columns | {"status": "running", "completed_at": None})

    return [
        Made(("zcode",), "thinking within the output", [use], lambda home: save(home, with_running=False)),
        Made(("zcode",), "an answer that is still awaited", [use], lambda home: save(home, with_running=True)),
    ]


def _hermes() -> list[Made]:
    model = "anthropic/claude-opus-4.6"
    calls = [Call(at, use.at, use.tokens) for at, use in enumerate(_some_uses(model))]

    def save(home: Path) -> None:
        hermes.write(home / ".hermes/state.db", [History({}, calls)])
        hermes.write(home / ".hermes/profiles/work/state.db", [History({}, calls)], name="0900")

    return [Made(("hermes",), "a second profile", uses_of([*calls, *calls], model), save)]

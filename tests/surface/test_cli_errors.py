"""What `tally` says when something is wrong, and how it ends."""

from __future__ import annotations

import os
import pty
import select
import signal
import time
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import pytest

from tallystick.cli.program import SECTIONS, find_entry, program, run
from tests.servers import hanging_server

if TYPE_CHECKING:
    from tests.surface.cli_home import Tally

pytest_plugins = "tests.surface.cli_home"

USAGE_ERRORS = {
    "dialy": "No such command 'dialy'. Did you mean 'daily'? 'tally --help' shows how.",
    "db sttaus": "No such command 'sttaus'.",
    "daily --untli 2026-11-01": "No such option '--untli'. Did you mean '--until'?",
    "daily --since 01.11.2026": "'01.11.2026' is not a day; write it as YYYY-MM-DD, such as 2026-11-30.",
    "daily --since 20261101": "'20261101' is not a day; write it as YYYY-MM-DD",
    "daily --until 2026-02-30": "'2026-02-30' is not a day of the calendar.",
    "daily --since 2026-11-02 --until 2026-11-01": "--since 2026-11-02 is after --until 2026-11-01",
    "daily --last 7": "'7' is no number of days, weeks or months; write 7d, 4w or 3m.",
    "daily --last 0d": "'0d' is no number of days",
    "daily --last 7d --since 2026-11-01": "--last says both ends of the range",
    "daily --json --csv": "--json and --csv exclude each other",
    "daily --by colour": "'colour' is not one of 'model', 'project', 'source', 'session'",
    "weekly --week-start mon": "'mon' is no day of the week",
    "session": "Missing argument 'ID'.",
    "daily --database ledger.db": "that is no URL of a ledger",
    "forget": "either --project NAME or --everything",
    "forget --everything --project shop": "either --project NAME or --everything",
    "rerate --since 2026-11-02 --until 2026-11-01": "exchange them",
}


@pytest.mark.parametrize("arguments", USAGE_ERRORS)
def test_a_command_line_that_makes_no_sense_is_one_line(arguments: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(arguments.split()) == 2
    said = capsys.readouterr()
    assert said.out == ""
    (line,) = said.err.splitlines()
    assert line.startswith("tally: ")
    assert USAGE_ERRORS[arguments] in line


def test_a_command_line_that_makes_no_sense_is_exit_code_2(books: Tally) -> None:
    assert "is not a day" in books.fail("daily", "--since", "yesterday", exit_code=2)


def test_an_empty_path_is_not_this_folder(books: Tally) -> None:
    assert "a PATH is empty" in books.fail("import", "", exit_code=2)
    assert "a PATH is empty" in books.fail("import", str(books.claude), "", exit_code=2)


def test_an_id_that_is_no_text_is_refused(books: Tally) -> None:
    assert "that is not UTF-8" in books.fail("session", os.fsdecode(b"\xff"), "--no-import", exit_code=2)


def test_an_unknown_zone_is_refused(books: Tally) -> None:
    for arguments in (["daily"], ["daily", "--last", "1d"]):
        assert "zone" in books.fail(*arguments, "--no-import", "--timezone", "Mars/Olympus", exit_code=2)


def test_a_database_that_does_not_answer_is_told_without_its_password(books: Tally) -> None:
    url = "postgresql://ann:s3cret@127.0.0.1:1/books"
    for arguments in (["daily"], ["db", "status"], ["db", "migrate"], ["daily", "--verbose"]):
        done = books.run(*arguments, "--database", url, exit_code=1)
        assert "s3cret" not in done.stderr + done.stdout
        assert done.stderr.splitlines()[-1].startswith("tally: cannot reach the ledger at postgresql://ann:***@127")


@pytest.mark.parametrize("scheme", ["postgresql", "http"])
def test_a_terminal_is_told_what_is_waited_for(fresh: Tally, scheme: str) -> None:
    screen, inside = pty.openpty()
    login = "ann:s3cret@" if scheme == "postgresql" else ""
    with hanging_server() as port:
        place = f"127.0.0.1:{port}/books?connect_timeout=600"
        key = {"TALLYSTICK_API_KEY": "tly_" + "x" * 43}
        process = fresh.start("daily", "--database", f"{scheme}://{login}{place}", environ=key, stderr=inside)
        os.close(inside)
        said = b""
        while b"..." not in said:
            assert select.select([screen], [], [], 60)[0], "it says nothing"
            said += os.read(screen, 1000)
        process.send_signal(signal.SIGINT)
        process.communicate()
    assert process.returncode == 130
    shown = f"{scheme}://{login.replace('s3cret', '***')}{place}"
    assert said.decode().splitlines() == [f"Waiting for the ledger at {shown} ..."]
    os.close(screen)


def test_in_a_pipe_nothing_is_said_of_waiting(fresh: Tally) -> None:
    with hanging_server() as port:
        url = f"postgresql://ann@127.0.0.1:{port}/books?connect_timeout=3"
        assert fresh.fail("daily", "--database", url).startswith("tally: cannot reach the ledger")


def test_the_database_can_be_named_before_the_command_and_by_the_environment(books: Tally) -> None:
    url = "postgresql://ann@127.0.0.1:1/books"
    assert "cannot reach" in books.fail("--database", url, "daily")
    assert "cannot reach" in books.fail("daily", environ={"TALLYSTICK_DATABASE_URL": url})


def test_verbose_shows_the_trace_and_then_the_line(books: Tally) -> None:
    assert "Traceback" not in books.run("session", "ffff", "--no-import", exit_code=1).stderr
    for arguments in (["--verbose", "session", "ffff"], ["session", "ffff", "--verbose"]):
        lines = books.run(*arguments, "--no-import", exit_code=1).stderr.splitlines()
        assert any(line.startswith("Traceback") for line in lines)
        assert lines[-1].startswith("tally: no session 'ffff'")


def test_a_broken_setting_is_told_with_its_line(fresh: Tally) -> None:
    config = fresh.home / "config"
    config.mkdir(parents=True)
    (config / "config.toml").write_text('time_zone = "Europe/Berlin"\ncolour = "red"\n')
    assert "config.toml, line 2: there is no setting 'colour'" in fresh.fail("daily")
    (config / "config.toml").unlink()


@pytest.mark.parametrize("command", ["watch", "statusline install"])
@pytest.mark.parametrize("home", ["/sys", "one whose folder for state is a file"])
def test_a_home_that_cannot_be_written_is_told_in_one_line_with_the_way_out(
    command: str, home: str, fresh: Tally, tmp_path: Path
) -> None:
    (tmp_path / ".local").touch()
    place = home if home == "/sys" else str(tmp_path)
    environ = {"HOME": place, "TALLYSTICK_HOME": "", "CLAUDE_CONFIG_DIR": ""}
    line = fresh.fail(*command.split(), environ=environ)
    assert line.startswith(f"tally: cannot write {place}/.local")
    assert "set TALLYSTICK_HOME to a folder in which it is" in line
    assert not (tmp_path / ".claude").exists()


@pytest.mark.parametrize("home", ["/sys", "one whose folder of Claude Code is a file"])
def test_settings_of_claude_code_that_cannot_be_written_name_their_variable(
    home: str, fresh: Tally, tmp_path: Path
) -> None:
    (tmp_path / "claude").touch()
    folder = Path("/sys/claude") if home == "/sys" else tmp_path / "claude" / "deep"
    line = fresh.fail("statusline", "install", environ={"CLAUDE_CONFIG_DIR": str(folder)})
    assert line.startswith(f"tally: cannot write {folder}")
    assert "set CLAUDE_CONFIG_DIR" in line


def test_a_home_that_is_a_file_is_told_with_the_way_out(fresh: Tally, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    line = fresh.fail("watch", environ={"TALLYSTICK_HOME": str(tmp_path / "file")})
    assert "config.toml: Not a directory." in line
    assert "set TALLYSTICK_HOME to another folder" in line


def test_help_and_version_need_nothing(fresh: Tally) -> None:
    text = fresh.run("--help").stdout
    assert all(name in text for entries in SECTIONS.values() for name in entries)
    assert "first-run" not in text
    assert fresh.lines("--version") == [f"tally {version('tallystick')}"]
    assert not fresh.home.exists()


def test_no_command_is_the_help_and_exit_code_2(books: Tally) -> None:
    assert "Usage: tally" in books.run(exit_code=2).stderr


def test_help_lists_each_command_in_the_words_of_the_command_itself() -> None:
    context = click.Context(program)
    for entries in SECTIONS.values():
        for name, entry in entries.items():
            command = program.get_command(context, name)
            assert command is not None
            assert find_entry(name) == entry
            assert command.name == name
            help_words = set((command.help or "").lower().replace(",", "").replace(".", "").split())
            assert entry.summary.split()[0].lower() in help_words


def test_help_loads_no_command(books: Tally) -> None:
    process = books.start("--help", environ={"PYTHONPROFILEIMPORTTIME": "1"})
    _, imports = process.communicate()
    assert "click" in imports
    for module in ("psycopg", "rich", "tallystick.cli.reports", "tallystick.ledger", "msgspec", "asyncio"):
        assert f" {module}\n" not in imports


def test_a_report_in_a_pipe_loads_neither_rich_nor_the_parser(books: Tally) -> None:
    books.run("daily")
    process = books.start("daily", environ={"PYTHONPROFILEIMPORTTIME": "1"})
    _, imports = process.communicate()
    assert "psycopg" in imports
    for module in ("rich", "msgspec", "stringzilla", "platformdirs", "tallystick.sources.claude_code"):
        assert f" {module}\n" not in imports


def test_a_reader_that_goes_away_is_no_error(books: Tally) -> None:
    with books.start("sessions", "--no-import", "--json") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait() == 141


def test_a_full_disk_is_one_line(books: Tally) -> None:
    with Path("/dev/full").open("w") as full:
        process = books.start("daily", "--no-import", stdout=full)
        _, error = process.communicate()
    assert process.returncode == 1
    assert error == "tally: output: No space left on device\n"


def test_a_process_without_output_ends_as_if_it_had_one(books: Tally) -> None:
    process = books.start("daily", "--no-import", stdout=None, preexec_fn=lambda: os.close(1))
    _, error = process.communicate()
    assert (process.returncode, error) == (0, "")


@pytest.mark.parametrize("delay_s", [0.15, 0.3, 0.5])
def test_ctrl_c_at_any_moment_is_exit_code_130_without_a_trace(delay_s: float, own: Tally, truth: Any) -> None:
    calls = [truth.Call(f"{n % 50:08d}-9", truth.SHOP, truth.OPUS, "2026-11-12T10:00:00Z", 1, 2, 3) for n in range(400)]
    truth.write_transcripts(own.claude, calls, first_number=1_000)
    process = own.start("import", start_new_session=True)
    time.sleep(delay_s)
    os.killpg(process.pid, signal.SIGINT)
    _, error = process.communicate()
    # as long as Python itself is starting, it ends in its own way; after our last word, the signal is too late
    if "tallystick/cli" in error or "Traceback" not in error:
        assert process.returncode in (130, 0, -signal.SIGINT)
        assert "Traceback" not in error
    own.run("import")
    assert own.json("daily", "--no-import")["totals"]["message_count"] == len(truth.CALLS) + 400
    assert own.lines("verify")[-1].startswith("All ")

"""The command tree and what happens around a command: one line per error, exit codes, quiet ends.

The commands live in modules of their own, loaded only when they are called: `tally --help` and `tally daily` must not
pay for what the others need.
"""

from __future__ import annotations

import gc
import io
import os
import sys
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

import click

from tallystick import __version__
from tallystick.cli.main import EXIT_INTERRUPTED
from tallystick.cli.options import CommonOptions, common_options
from tallystick.cli.terminal import NoReader, say
from tallystick.errors import TallystickError
from tallystick.redaction import one_line, without_passwords

EXIT_FAILURE = 1
EXIT_USAGE = 2
# 128 + SIGPIPE, as other programs end when the reader of their output has gone.
EXIT_NO_READER = 141


class Entry(NamedTuple):
    """Where a command lives and its line in the help."""

    module: str
    attribute: str
    summary: str


SECTIONS: dict[str, dict[str, Entry]] = {
    "Reports": {
        "daily": Entry("reports", "daily", "Usage by day."),
        "weekly": Entry("reports", "weekly", "Usage by week."),
        "monthly": Entry("reports", "monthly", "Usage by month."),
        "sessions": Entry("reports", "sessions", "Usage by session."),
        "session": Entry("reports", "session", "The model calls of one session."),
        "models": Entry("reports", "models", "Usage by model."),
        "projects": Entry("reports", "projects", "Usage by project."),
        "blocks": Entry("reports", "blocks", "Usage by five-hour block."),
    },
    "Ledger": {
        "import": Entry("import_command", "import_", "Take in what is new in the transcripts."),
        "verify": Entry("ledger_commands", "verify", "Prove that every total equals its rows."),
        "rerate": Entry("ledger_commands", "rerate", "Price recorded usage anew at the prices known today."),
        "forget": Entry("ledger_commands", "forget", "Erase usage from the ledger."),
        "doctor": Entry("doctor", "doctor", "Show what was found, what was not counted, and why."),
    },
    "Following": {
        "watch": Entry("watch", "watch", "Follow all transcripts into the ledger until it is stopped."),
        "live": Entry("live", "live", "Show what is spent on the whole screen, as it is spent."),
        "status": Entry("watch", "status", "Show whether anything follows, and how far the ledger is behind."),
        "service": Entry("service", "service", "Have the machine itself follow: install, uninstall, status, logs."),
        "statusline": Entry("statusline", "statusline", "One line for Claude Code's status bar; install, uninstall."),
        "limits": Entry("limits", "limits", "Show what the providers say of your plans' limits."),
        "sources": Entry("sources", "sources", "Show which agents were found, and what was taken in of each."),
    },
    "Server": {
        "up": Entry("serve", "up", "Start the database, follow all transcripts, and serve the HTTP API."),
        "serve": Entry("serve", "serve", "Serve the HTTP API on the ledger."),
        "keys": Entry("keys_commands", "keys", "The keys of the HTTP API: create, list, revoke."),
        "mcp": Entry("mcp", "mcp", "Serve the reports to AI agents: an MCP server on standard input and output."),
    },
    "Setup": {
        "db": Entry("database_commands", "database", "The database: start, stop, back up, restore, ..."),
        "config": Entry("config_command", "config", "Show every setting and where it comes from."),
    },
}
HIDDEN = {"first-run": Entry("first_run", "first_run", "Import, report and say what to try next.")}


class LazyGroup(click.Group):
    """A group that knows its commands by name and loads one only when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 (click's signature)
        """Every name, in the order of the help."""
        return [name for entries in SECTIONS.values() for name in entries]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 (as above)
        """Load the module of one command."""
        entry = find_entry(cmd_name)
        if entry is None:
            return None
        command = getattr(import_module(f"tallystick.cli.{entry.module}"), entry.attribute)
        assert isinstance(command, click.Command)
        # What is loaded stays, so the collector need never look at it.
        gc.freeze()
        gc.enable()
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does it, but naming the nearest command where there is none of that name."""
        if find_entry(args[0]) is None and not ctx.resilient_parsing and not args[0].startswith("-"):
            raise click.exceptions.NoSuchCommand(args[0], possibilities=self.list_commands(ctx), ctx=ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 (as above)
        """The commands in their sections, from the table above and so without loading any of them."""
        for title, entries in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl([(name, entry.summary) for name, entry in entries.items()])


def find_entry(name: str) -> Entry | None:
    """The entry of a command, also of a hidden one."""
    for entries in (*SECTIONS.values(), HIDDEN):
        if name in entries:
            return entries[name]
    return None


def _print_version(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if value:
        click.echo(f"tally {__version__}")
        ctx.exit()


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option(
    "--version", is_flag=True, expose_value=False, is_eager=True, callback=_print_version, help="Show the version."
)
@common_options
def program() -> None:
    """Keep the books on AI tokens: what coding agents spend, model call by model call, in your own ledger.

    Costs are API-equivalent prices: what the calls cost at the list prices of their day, whatever your plan charges.

    \b
    Start with:  tally daily --last 7d
    """


def run(arguments: list[str]) -> int:
    """Run one command line; answers the exit code."""
    common = CommonOptions()
    _make_output_sure()
    try:
        try:
            answer = program.main(arguments, prog_name="tally", standalone_mode=False, obj=common)
        finally:
            sys.stdout.flush()
    except (NoReader, BrokenPipeError):
        _drop_output()
        return EXIT_NO_READER
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return EXIT_USAGE
    except (KeyboardInterrupt, Exception) as error:
        _trace(error, common)
        line, exit_code = _verdict(error, is_verbose=common.verbose)
        say(f"tally: {line}")
        return exit_code
    return answer if isinstance(answer, int) else 0


def _make_output_sure() -> None:
    """Give a process without output one that goes nowhere, and have a sign that the output cannot show be escaped."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115 (it lives as long as we do)
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _verdict(error: BaseException, *, is_verbose: bool) -> tuple[str, int]:
    """The one line that an error is told in, and the exit code."""
    exit_code = EXIT_FAILURE
    if isinstance(error, (KeyboardInterrupt, click.Abort)):
        line, exit_code = "interrupted", EXIT_INTERRUPTED
    elif isinstance(error, click.UsageError):
        path = error.ctx.command_path if error.ctx else "tally"
        line, exit_code = one_line(error.format_message(), f"'{path} --help' shows how."), EXIT_USAGE
    elif isinstance(error, click.ClickException):
        line = one_line(error.format_message())
    elif isinstance(error, TallystickError):
        line = one_line(error.message, error.hint)
    elif isinstance(error, OSError):
        line = one_line(f"{error.filename or 'output'}: {error.strerror or error}")
    else:
        hint = "" if is_verbose else "This is a defect; run it again with --verbose to see where."
        line = one_line(f"{type(error).__name__}: {error}", hint)
    return line, exit_code


def _trace(error: BaseException, common: CommonOptions) -> None:
    if common.verbose and not isinstance(error, click.UsageError):
        # Only a failure that someone wants to see in full pays for this import.
        from traceback import format_exception

        say(without_passwords("".join(format_exception(error)).rstrip()))


def _drop_output() -> None:
    """Point standard output at nothing, so that the interpreter's own flush at exit does not complain."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, sys.stdout.fileno())
    os.close(nothing)

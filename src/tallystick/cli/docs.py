"""docs/cli.md, written from the commands themselves: python -m tallystick.cli.docs > docs/cli.md"""

from __future__ import annotations

import sys
from collections.abc import Iterator

import click

from tallystick.cli.program import SECTIONS, program

WIDTH = 100
REPORTS = "Reports"

INTRODUCTION = """\
# The command line

This page is written by `make docs` from the commands themselves; `tally COMMAND --help` shows the same.

`tally` reads the embedded ledger of this machine, and starts its Postgres when a command needs it. Answers go to
standard output, everything else to standard error. An error is one line that says what to do; the exit code is 1 for
an error, 2 for a command line that makes no sense, and 130 after Ctrl-C, 143 after SIGTERM and 129 after its terminal
was closed. What runs until it is stopped (`watch`, `live`, `serve`, `up`, `mcp`) has done what it was told when one of
them ends it: 0. Nothing is left half done, and the embedded Postgres goes with its last command. A terminal is told
what a command waits for once that takes longer than two seconds; `watch` and `serve` keep a log instead, and
`tally status` tells of the former. Colour shows on a terminal only, and not where `NO_COLOR` is set. Tables fit 80
columns; wider terminals show more of them."""

OUTPUT = """\
`--json` prints one object. Its list is named after the report (`days`, `weeks`, `months`, `sessions`, `models`,
`projects`, `blocks`; `events` for one session), and its rows have the columns of the function of the same name in SQL
(`usage_daily()`, ...), with every cost as a decimal string, exact to the last digit, or null where nothing is priced.
Beside it stand `totals` (`input_tokens`, `output_tokens`, `thinking_tokens`, `cache_creation_tokens`,
`cache_read_tokens`, `web_search_requests`, `message_count`, `cost_usd`, `unpriced_event_count`), `unpriced_models`,
`range` (`since` and `until`, null where open), `time_zone` and `by`. `--csv` prints the rows alone.

In a pipe or a file names are what the ledger holds, sign by sign. On a terminal they cannot move the cursor: where a
sign does not print, JSON escapes it and CSV shows `?`. Nothing is put before a name that begins with `=`, `+`, `-` or
`@`, because another program would take that for a part of the name: before you open CSV in a spreadsheet that runs
formulas, import such columns as text."""


def command_page() -> str:
    """The whole page in Markdown."""
    root = click.Context(program, info_name="tally", terminal_width=WIDTH, help_option_names=["-h", "--help"])
    parts = [INTRODUCTION, *_command(program, root, level=2)]
    for title, entries in SECTIONS.items():
        parts.append(f"## {title}")
        if title == REPORTS:
            parts += _reports(root, names=list(entries))
        else:
            for name in entries:
                parts += _tree(_find(program, root, name), root, name=name, level=3)
    return "\n\n".join(parts) + "\n"


def _reports(root: click.Context, *, names: list[str]) -> Iterator[str]:
    """What each report is about, and once the options that all of them take."""
    commands = [_find(program, root, name) for name in names]
    contexts = [
        click.Context(command, info_name=name, parent=root) for command, name in zip(commands, names, strict=True)
    ]
    lines = [
        f"| `{' '.join([context.command_path, *_arguments(command)])}` | {_sentence(command)} |"
        for command, context in zip(commands, contexts, strict=True)
    ]
    yield "\n".join(["| report | shows |", "|---|---|", *lines])
    yield "Every report takes the same options:"
    formatter = click.HelpFormatter(width=WIDTH)
    commands[0].format_options(contexts[0], formatter)
    yield f"```\n{formatter.getvalue().strip()}\n```"
    yield OUTPUT


def _arguments(command: click.Command) -> list[str]:
    return [parameter.metavar or "" for parameter in command.params if isinstance(parameter, click.Argument)]


def _sentence(command: click.Command) -> str:
    return " ".join((command.help or "").split())


def _tree(command: click.Command, above: click.Context, *, name: str, level: int) -> Iterator[str]:
    """A command, and below a group its commands."""
    context = click.Context(command, info_name=name, parent=above)
    yield from _command(command, context, level=level)
    if isinstance(command, click.Group):
        for child in command.list_commands(context):
            yield from _tree(_find(command, context, child), context, name=child, level=level + 1)


def _find(group: click.Group, context: click.Context, name: str) -> click.Command:
    command = group.get_command(context, name)
    assert command is not None
    return command


def _command(command: click.Command, context: click.Context, *, level: int) -> Iterator[str]:
    yield f"{'#' * level} {context.command_path}"
    yield f"```\n{command.get_help(context).strip()}\n```"


if __name__ == "__main__":
    sys.stdout.write(command_page())

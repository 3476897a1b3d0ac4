"""docs/cli.md, written from the commands themselves: python -m tallystick.cli.docs > docs/cli.md"""

from __future__ import annotations

import sys
from collections.abc import Iterator

import click

from tallystick.cli.program import SECTIONS, program

WIDTH = 100


def command_page() -> str:
    """The whole page in Markdown."""
    root = click.Context(program, info_name="tally", terminal_width=WIDTH)
    parts = ["# The command line", "Written from the commands by `make docs`.", *_command(program, root, level=2)]
    for title, entries in SECTIONS.items():
        parts.append(f"## {title}")
        for name in entries:
            command = program.get_command(root, name)
            assert command is not None
            parts += _tree(command, root, name=name, level=3)
    return "\n\n".join(parts) + "\n"


def _tree(command: click.Command, above: click.Context, *, name: str, level: int) -> Iterator[str]:
    """A command, and below a group its commands."""
    context = click.Context(command, info_name=name, parent=above, terminal_width=WIDTH)
    yield from _command(command, context, level=level)
    if isinstance(command, click.Group):
        for child in command.list_commands(context):
            found = command.get_command(context, child)
            assert found is not None
            yield from _tree(found, context, name=child, level=level + 1)


def _command(command: click.Command, context: click.Context, *, level: int) -> Iterator[str]:
    yield f"{'#' * level} {context.command_path}"
    yield f"```\n{command.get_help(context).strip()}\n```"


if __name__ == "__main__":
    sys.stdout.write(command_page())

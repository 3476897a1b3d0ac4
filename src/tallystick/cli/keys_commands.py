"""`tally keys`: the keys of the HTTP API."""

from __future__ import annotations

import re
import sys
from datetime import UTC, datetime, timedelta
from uuid import UUID

import click

from tallystick.cli.books import open_books
from tallystick.cli.cells import label
from tallystick.cli.options import CommonOptions, common_options
from tallystick.cli.render import Column, Kind, Line, render_table
from tallystick.cli.terminal import NoReader, look_at_output, write_lines
from tallystick.config import load_key_secret
from tallystick.keys import PREFIX_LENGTH, SCOPES, digest_of, is_key, make_key
from tallystick.model import ApiKeyRow


def _read_expiry(_: click.Context, __: click.Parameter, text: str | None) -> timedelta | None:
    if text is None:
        return None
    match = re.fullmatch(r"(\d{1,4})([dwh])", text.lower(), re.ASCII)
    if match is None or int(match[1]) == 0:
        raise click.BadParameter(f"{text!r} is no time; write 12h, 90d or 8w.")
    return int(match[1]) * {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}[match[2]]


@click.group()
def keys() -> None:
    """The keys of the HTTP API."""


@keys.command()
@click.option("--name", required=True, metavar="NAME", help="What or whom the key is for.")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    type=click.Choice(SCOPES),
    help="What it may do; may be repeated. Left out: ingest and read.",
)
@click.option("--user", type=click.UUID, metavar="UUID", help="Whose books it opens. Left out: your own.")
@click.option("--service", is_flag=True, help="A key that acts for any user that a request names.")
@click.option("--expires", callback=_read_expiry, metavar="90d|8w|12h", help="When it ends. Left out: never.")
@click.option(
    "--requests-per-minute", type=click.IntRange(1, 2**31 - 1), help="Its own limit, instead of the server's."
)
@common_options
@click.pass_obj
def create(
    common: CommonOptions,
    *,
    name: str,
    scopes: tuple[str, ...],
    user: UUID | None,
    service: bool,
    expires: timedelta | None,
    requests_per_minute: int | None,
) -> None:
    """Make a key and show it, once."""
    if user and service:
        raise click.UsageError("--user and --service exclude each other; leave one out.")
    with open_books(common) as books:
        key = make_key()
        books.ledger.create_api_key(
            user_id=None if service else str(user or books.state.user_id),
            name=name,
            prefix=key.prefix,
            digest=digest_of(key.key, secret=load_key_secret(books.settings)),
            scopes=list(scopes) or ["ingest", "read"],
            expires_at=datetime.now(UTC) + expires if expires else None,
            requests_per_minute=requests_per_minute,
        )
        click.echo("This is the only time that the key is shown:", err=True)
        try:
            write_lines([key.key], terminal=look_at_output())
            sys.stdout.flush()
        except (OSError, NoReader):
            # nobody has seen it, so nobody shall be able to use it
            books.ledger.revoke_api_key(key.prefix)
            raise


@keys.command("list")
@common_options
@click.pass_obj
def list_(common: CommonOptions) -> None:
    """Show every key: what it may do, whose it is, when it was last used."""
    with open_books(common) as books:
        rows = books.ledger.api_keys()
    terminal = look_at_output()
    if not rows:
        write_lines(["No keys. `tally keys create --name NAME` makes one."], terminal=terminal)
        return
    columns = [
        Column("Key", Kind.WHOLE),
        Column("Name", Kind.LABEL),
        Column("Scopes", Kind.WHOLE),
        Column("State", Kind.WHOLE),
        Column("Last used", Kind.WHOLE, rank=1),
        Column("User", Kind.LABEL, least_width=9),
    ]
    lines = [
        Line(
            (
                row.prefix,
                label(row.name),
                " ".join(row.scopes),
                _state(row),
                _day(row.last_used_at),
                row.user_id or "any",
            )
        )
        for row in rows
    ]
    table = render_table(columns, lines, width=terminal.width, palette=terminal.palette)
    left_out = [f"No room for: {', '.join(table.left_out)}. A wider terminal shows all."] if table.left_out else []
    write_lines([*table.lines, *left_out], terminal=terminal)


@keys.command()
@click.argument("key", metavar="KEY")
@common_options
@click.pass_obj
def revoke(common: CommonOptions, key: str) -> None:
    """End a key, named as `tally keys list` shows it; a server refuses it within a second."""
    with open_books(common) as books:
        # a key that was pasted whole is named by its beginning, and told no further
        name = key[:PREFIX_LENGTH] if is_key(key) else key
        books.ledger.revoke_api_key(name)
    write_lines([f"Revoked {label(name)}."], terminal=look_at_output())


def _state(row: ApiKeyRow) -> str:
    if row.revoked_at:
        return "revoked"
    if row.expires_at:
        return "ended" if row.expires_at <= datetime.now(UTC) else f"until {_day(row.expires_at)}"
    return "good"


def _day(time: datetime | None) -> str:
    return time.astimezone(UTC).date().isoformat() if time else "never"

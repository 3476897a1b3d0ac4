"""`tally db`: the database that the ledger lives in."""

from __future__ import annotations

from pathlib import Path

import click

from tallystick.cli.books import require_embedded
from tallystick.cli.cells import plural
from tallystick.cli.options import CommonOptions, common_options
from tallystick.cli.terminal import look_at_output, write_lines
from tallystick.config import Settings, load_settings
from tallystick.db import Database
from tallystick.embedded import EmbeddedServer
from tallystick.redaction import redacted_url
from tallystick.schema import export_migrations, install_or_migrate, installed_migrations, known_migrations


class OrderedGroup(click.Group):
    """A group whose help lists the commands as they stand in this file."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 (click's signature)
        """Every name, in that order."""
        return list(self.commands)


@click.group("db", cls=OrderedGroup)
def database() -> None:
    """The database that the ledger lives in: the embedded Postgres, or any other that you name."""


@database.command()
@common_options
@click.pass_obj
def start(common: CommonOptions) -> None:
    """Start the embedded Postgres and keep it up until `tally db stop`."""
    server = _keep_up(common, action="`tally db start`")
    _print(f"The embedded Postgres {server.status().version} is up, until `tally db stop`.")


@database.command()
@common_options
@click.pass_obj
def stop(common: CommonOptions) -> None:
    """Stop the embedded Postgres."""
    server = EmbeddedServer(require_embedded(common, action="`tally db stop`").embedded_dir)
    was_running = server.status().is_running
    server.stop()
    _print("The embedded Postgres is stopped." if was_running else "The embedded Postgres was not running.")


@database.command()
@common_options
@click.pass_obj
def url(common: CommonOptions) -> None:
    """Print the URL of the embedded Postgres.

    It is started and kept up until `tally db stop`, for whatever connects to it: psql "$(tally db url)".
    """
    server = _keep_up(common, action="`tally db url`")
    _print(server.status().url)


@database.command()
@common_options
@click.pass_obj
def status(common: CommonOptions) -> None:
    """Show the server and the schema; starts nothing."""
    settings = load_settings(database_url=common.database_url)
    facts = _embedded_facts(settings) if settings.database_url is None else _server_facts(settings.database_url)
    width = max(len(name) for name, _ in facts)
    _print(*(f"{name:<{width}}  {value}" for name, value in facts))


@database.command()
@common_options
@click.pass_obj
def migrate(common: CommonOptions) -> None:
    """Install the ledger, or bring its schema up to date."""
    settings = load_settings(database_url=common.database_url)
    if settings.database_url is not None:
        applied = install_or_migrate(settings.database_url)
    else:
        with EmbeddedServer(settings.embedded_dir) as embedded_url:
            applied = install_or_migrate(embedded_url)
    if applied:
        _print(*(f"applied {name}" for name in applied), f"The ledger is at {known_migrations()[-1]}.")
    else:
        _print(f"Nothing to do: the ledger is at {known_migrations()[-1]}.")


@database.command()
@click.argument("folder", metavar="DIR", type=click.Path(file_okay=False, path_type=Path))
@common_options
def export(folder: Path) -> None:
    """Write the SQL of the schema into DIR.

    Meant for the folder supabase/migrations of a Supabase project; a file that stands there and differs is left alone.
    """
    written = export_migrations(folder)
    _print(*(str(path) for path in written), f"{plural(len(written), 'file')} written.")


@database.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@common_options
@click.pass_obj
def backup(common: CommonOptions, file: Path) -> None:
    """Write the whole ledger into a new FILE."""
    # Both commands need modules that no other command does.
    from tallystick.cli.backup import write_backup

    settings = load_settings(database_url=common.database_url)
    _print(*write_backup(settings, file))


@database.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--force", is_flag=True, help="Replace what the ledger holds now.")
@common_options
@click.pass_obj
def restore(common: CommonOptions, file: Path, force: bool) -> None:
    """Fill an empty ledger from FILE.

    FILE is one that `tally db backup` wrote, of this version of Tallystick or an older one.
    """
    from tallystick.cli.backup import restore_backup

    settings = load_settings(database_url=common.database_url)
    _print(*restore_backup(settings, file, is_forced=force))


def _print(*lines: str) -> None:
    write_lines(lines, terminal=look_at_output())


def _keep_up(common: CommonOptions, *, action: str) -> EmbeddedServer:
    """Start the server, leave the mark that keeps it up, and install the ledger, so that it can be looked at."""
    server = EmbeddedServer(require_embedded(common, action=action).embedded_dir)
    with server as embedded_url:
        install_or_migrate(embedded_url)
        server.keep_up()
    return server


def _embedded_facts(settings: Settings) -> list[tuple[str, str]]:
    found = EmbeddedServer(settings.embedded_dir).status()
    state = "up" if found.is_running else "down; a command starts it when it needs it"
    if found.is_running:
        state += ", until `tally db stop`" if found.kept_up else ", until the last command has ended"
    facts = [("server", f"embedded Postgres {found.version}, {state}"), ("data", str(found.data_dir))]
    if found.is_running:
        facts += [
            ("process", str(found.pid)),
            ("clients", str(found.client_count)),
            ("url", found.url),
            ("schema", _schema_fact(found.url)),
        ]
    if found.roots_dir:
        facts.append(("root's", f"{found.roots_dir}; only root can tell whether it is up"))
    return facts


def _server_facts(database_url: str) -> list[tuple[str, str]]:
    with Database.connect(database_url, as_service_role=False) as connection:
        version = str(connection.value("show server_version"))
    return [
        ("server", f"Postgres {version}"),
        ("url", redacted_url(database_url)),
        ("schema", _schema_fact(database_url)),
    ]


def _schema_fact(database_url: str) -> str:
    with Database.connect(database_url, as_service_role=False) as connection:
        installed = installed_migrations(connection)
    if not installed:
        return "not installed; `tally db migrate` installs it"
    missing = [name for name in known_migrations() if name not in installed]
    unknown = [name for name in installed if name not in known_migrations()]
    if unknown:
        return f"{installed[-1]}, made by a newer Tallystick"
    return f"{installed[-1]}, {missing[0]} is missing" if missing else f"{installed[-1]}, up to date"

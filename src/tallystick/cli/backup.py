"""Writing the whole ledger into a file, and filling a ledger from one.

Backups are archives of pg_dump. The schema comes along, so that an old backup is first put back as it was and then
migrated. Into the embedded server it goes beside the ledger that stands, which is replaced only when all is well; into
any other database it goes in one transaction.
"""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO
from urllib.parse import unquote

from tallystick.cli.books import NOBODY
from tallystick.cli.cells import byte_size, plural
from tallystick.config import Settings, save_user_id
from tallystick.db import Database
from tallystick.embedded import EmbeddedServer
from tallystick.errors import ConfigError, Conflict, LedgerError
from tallystick.ledger import Ledger
from tallystick.redaction import without_passwords
from tallystick.schema import SQL_FOLDER, install_or_migrate, installed_migrations

EMBEDDED_DATABASE = "tallystick"
RESTORED_DATABASE = "tallystick_restored"
REPLACED_DATABASE = "tallystick_replaced"
# Supabase has an auth schema of its own; plain Postgres gets our stand-in from the bootstrap file.
DUMP_ARGUMENTS = ("--format=custom", "--no-owner", "--exclude-schema=auth")
# A setting that Postgres 15 and 16 lack, and the mark that later minor versions leave on the columns of a table.
PASSED_OVER = re.compile(rb"SET transaction_timeout = 0;\n|ALTER TABLE ONLY .* SET \(pg_attver=\d+\);\n")
PSQL_ARGUMENTS = ("--no-psqlrc", "--quiet", "--single-transaction", "--set=ON_ERROR_STOP=1", "--output=/dev/null")


def write_backup(settings: Settings, file: Path) -> list[str]:
    """Dump the ledger into `file`; raises Conflict where it exists. Answers what was written."""
    if file.exists():
        raise Conflict(f"{file} exists already", hint="Name a new file.")
    unfinished = file.with_name(f"{file.name}.unfinished")
    # The file is private from its first byte on: it tells which projects somebody works on.
    try:
        os.close(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600))
    except OSError as error:
        hint = "Name a file in a folder that you may write to."
        raise ConfigError(f"cannot write {file}: {error.strerror}", hint=hint) from error
    try:
        if settings.database_url is None:
            with EmbeddedServer(settings.embedded_dir) as url:
                install_or_migrate(url)
                _dump(settings, url, unfinished)
        else:
            _require_ledger(settings.database_url)
            _dump(settings, settings.database_url, unfinished)
        with unfinished.open("rb") as written:
            os.fsync(written.fileno())
        unfinished.rename(file)
    finally:
        unfinished.unlink(missing_ok=True)
    return [f"{file}: {byte_size(file.stat().st_size)}. `tally db restore {file}` fills an empty ledger from it."]


def _dump(settings: Settings, url: str, file: Path) -> None:
    others = _tables_of_others(url)
    excluded = ['--exclude-table=public."{}"'.format(name.replace('"', '""')) for name in others]
    _run(settings, "pg_dump", [*DUMP_ARGUMENTS, *excluded, "--file", str(file)], url=url)


def _tables_of_others(url: str) -> list[str]:
    """What else lives in the schema public of a database that is not the ledger's alone."""
    with Database.connect(url, as_service_role=False) as database:
        return database.rows(
            str,
            "select c.relname from pg_catalog.pg_class as c where c.relnamespace = 'public'::regnamespace "
            "and c.relkind in ('r', 'p', 'v', 'm', 'S', 'f') and c.relname !~ '^token_usage_' order by 1",
        )


def restore_backup(settings: Settings, file: Path, *, is_forced: bool) -> list[str]:
    """Fill the ledger from `file`; raises Conflict where it holds usage and nobody said that it may go."""
    if not file.is_file():
        raise ConfigError(f"there is no file {file}", hint="Name one that `tally db backup` wrote.")
    try:
        _run(settings, "pg_restore", ["--list", str(file)])
    except LedgerError as error:
        raise ConfigError(f"{file} is no backup", hint="Name a file that `tally db backup` wrote.") from error
    if settings.database_url is None:
        server = EmbeddedServer(settings.embedded_dir)
        with server as url:
            install_or_migrate(url)
            _refuse_to_overwrite(url, is_forced=is_forced)
            _replace_embedded(settings, url, file)
            return _restored_lines(settings, url)
    _refuse_to_overwrite(settings.database_url, is_forced=is_forced)
    _restore_in_place(settings, settings.database_url, file)
    return _restored_lines(settings, settings.database_url)


def _replace_embedded(settings: Settings, url: str, file: Path) -> None:
    """Put the backup into a database beside the ledger, bring it up to date, and let the two change places."""
    beside = url.replace(f"/{EMBEDDED_DATABASE}?", f"/{RESTORED_DATABASE}?", 1)
    maintenance = url.replace(f"/{EMBEDDED_DATABASE}?", "/postgres?", 1)
    assert beside != url != maintenance
    for name in (RESTORED_DATABASE, REPLACED_DATABASE):
        _run(settings, "dropdb", ["--if-exists", "--force", name], url=maintenance)
    _run(settings, "createdb", ["--template=template0", RESTORED_DATABASE], url=maintenance)
    try:
        _prepare(beside)
        _replay(settings, file, [], url=beside)
        _finish(beside)
    except BaseException:
        _run(settings, "dropdb", ["--if-exists", "--force", RESTORED_DATABASE], url=maintenance)
        raise
    # Both names change in one transaction: there is always a ledger, the old one or the new.
    swap = (
        f"select pg_terminate_backend(pid) from pg_stat_activity where datname = '{EMBEDDED_DATABASE}'",
        f"alter database {EMBEDDED_DATABASE} rename to {REPLACED_DATABASE}",
        f"alter database {RESTORED_DATABASE} rename to {EMBEDDED_DATABASE}",
    )
    commands = [part for statement in swap for part in ("--command", statement)]
    _run(settings, "psql", [*PSQL_ARGUMENTS, *commands], url=maintenance)
    _run(settings, "dropdb", ["--force", REPLACED_DATABASE], url=maintenance)


def _restore_in_place(settings: Settings, url: str, file: Path) -> None:
    _prepare(url)
    _replay(settings, file, ["--clean", "--if-exists"], url=url)
    _finish(url)


def _replay(settings: Settings, file: Path, arguments: Sequence[str], *, url: str) -> None:
    """Run the backup as a script, in one transaction: that can leave out what not every server takes."""
    command = _command(settings, "pg_restore", ["--no-owner", *arguments, "--file=-", str(file)])
    with tempfile.TemporaryFile() as script:
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as reading:
            assert reading.stdout is not None
            script.writelines(line for line in reading.stdout if not PASSED_OVER.fullmatch(line))
        if reading.returncode != 0:
            raise ConfigError(f"{file} is damaged", hint="Nothing of the ledger was changed. Use another backup.")
        script.seek(0)
        _run(settings, "psql", [*PSQL_ARGUMENTS, "--file=-"], url=url, stdin=script)


def _prepare(url: str) -> None:
    """Roles and the auth stand-in, which grants and policies in the backup name."""
    with Database.connect(url, as_service_role=False) as database, database.transaction():
        database.run_script((SQL_FOLDER / "bootstrap.sql").read_text(encoding="utf-8"))


def _finish(url: str) -> None:
    """Migrate, and make the ledger another one than that which was backed up: no checkpoint may hold for both."""
    install_or_migrate(url)
    with Ledger.connect(url, user_id=NOBODY) as ledger:
        ledger.renew_ledger_id()


def _refuse_to_overwrite(url: str, *, is_forced: bool) -> None:
    with Database.connect(url, as_service_role=False) as database:
        if is_forced or not installed_migrations(database):
            return
        if database.value("select exists (select from public.token_usage_events)"):
            raise Conflict(
                "the ledger is not empty, and restoring would replace it",
                hint="Back it up with `tally db backup`, then restore with --force.",
            )


def _require_ledger(url: str) -> None:
    with Database.connect(url, as_service_role=False) as database:
        if not installed_migrations(database):
            raise LedgerError("there is no ledger in this database", hint="`tally db migrate` installs one.")


def _restored_lines(settings: Settings, url: str) -> list[str]:
    """What the ledger holds now; whoever restores on a new machine goes on as the user of the backup."""
    with Database.connect(url, as_service_role=False) as database:
        accounts = database.rows(str, "select user_id from public.token_usage_accounts order by 1 limit 2")
        calls = int(database.value("select count(*) from public.token_usage_events"))
    lines = [f"Restored {plural(calls, 'call')}. `tally verify` proves it."]
    if settings.user_id in accounts:
        return lines
    if len(accounts) == 1:
        save_user_id(settings, accounts[0])
        return [*lines, f"{settings.config_file} now names the user of this backup, {accounts[0]}."]
    return [*lines, f"None of its accounts is yours: set user_id in {settings.config_file}."]


def _run(
    settings: Settings, program: str, arguments: Sequence[str], *, url: str = "", stdin: IO[bytes] | None = None
) -> None:
    """Run one of Postgres' own programs at `url`; raises LedgerError with what it said.

    The password goes through the environment, because everybody may see a command line.
    """
    shown_url, password = _split_password(url)
    target = ["--maintenance-db" if program in ("createdb", "dropdb") else "--dbname", shown_url] if url else []
    environment = dict(os.environ) | ({"PGPASSWORD": password} if password else {})
    done = subprocess.run(
        _command(settings, program, [*target, *arguments]),
        env=environment,
        stdin=stdin or subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        said = [line for line in done.stderr.splitlines() if line.strip()] or ["it said nothing"]
        told = next((line for line in said if "error" in line.lower()), said[-1])
        raise LedgerError(f"{program} failed: {without_passwords(told)}", hint="Nothing of the ledger was changed.")


def _command(settings: Settings, program: str, arguments: Sequence[str]) -> list[str]:
    return [str(EmbeddedServer(settings.embedded_dir).binary(program)), *arguments]


def _split_password(url: str) -> tuple[str, str]:
    """The URL without its password, and the password."""
    before, after = re.match(r"(\w+://[^:@/]*):([^@]*)@", url), re.search(r"[?&]password=([^&]*)", url)
    if before:
        return f"{before[1]}@{url[before.end() :]}", unquote(before[2])
    if after:
        rest = url[after.end() :]
        return url[: after.start()] + (f"?{rest[1:]}" if rest and after[0].startswith("?") else rest), unquote(after[1])
    return url, ""

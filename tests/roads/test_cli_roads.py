"""The command line on a ledger behind an http address: Supabase by its own variables, a server by its key."""

from __future__ import annotations

import uuid
from types import ModuleType
from typing import TYPE_CHECKING

import pytest

from tests.roads.faulty import Fault, faulty
from tests.roads.places import Place
from tests.supabase.project import SECRET_KEY

if TYPE_CHECKING:
    from tests.surface.cli_home import Tally

pytest_plugins = "tests.surface.cli_home"


@pytest.fixture
def tally(fresh: Tally, truth: ModuleType) -> Tally:
    """A machine with transcripts on which Tallystick has never run."""
    truth.write_transcripts(fresh.claude)
    return fresh


def on_supabase(place: Place, user_id: str) -> dict[str, str]:
    return {"SUPABASE_URL": place.supabase_url, "SUPABASE_SERVICE_KEY": SECRET_KEY, "USER_ID": user_id}


def on_server(place: Place, key: str) -> dict[str, str]:
    return {"TALLYSTICK_DATABASE_URL": place.server_url, "TALLYSTICK_API_KEY": key}


def assert_the_books_are_kept(tally: Tally, truth: ModuleType, environ: dict[str, str]) -> None:
    """Everything that a user does with them, from the first import on."""
    expected = truth.expected(truth.CALLS)
    imported = tally.lines("import", environ=environ)
    assert f"{len(truth.CALLS)} new calls" in imported[1]
    assert "No new calls." in tally.lines("import", environ=environ)
    document = tally.json("daily", environ=environ)
    assert {name: document["totals"][name] for name in expected} == expected
    assert tally.json("session", "1a00", environ=environ)["events"]
    tally.run("verify", environ=environ)
    doctor = "\n".join(tally.lines("doctor", environ=environ))
    assert "no usage yet" not in doctor
    for line in ("config", "doctor"):
        shown = tally.run(line, environ=environ)
        for name, secret in environ.items():
            if name.endswith("_KEY"):
                assert secret not in shown.stdout + shown.stderr
    assert not (tally.home / "data" / "postgres").exists()


def test_the_environment_of_supabase_is_all_that_it_takes(
    place: Place, user_id: str, tally: Tally, truth: ModuleType
) -> None:
    environ = on_supabase(place, user_id)
    assert_the_books_are_kept(tally, truth, environ)
    config = "\n".join(tally.lines("config", environ=environ))
    for name in ("SUPABASE_URL", "SUPABASE_SERVICE_KEY", "USER_ID"):
        assert name in config
    assert place.supabase_url in config
    with place.open("sql", user_id) as ledger:
        assert ledger.ledger_state().receipt_count > 0


def test_a_server_and_a_key_are_all_that_it_takes(place: Place, user_id: str, tally: Tally, truth: ModuleType) -> None:
    assert_the_books_are_kept(tally, truth, on_server(place, place.key(user_id)))
    with place.open("sql", user_id) as ledger:
        assert ledger.ledger_state().receipt_count > 0


def test_a_service_key_keeps_the_books_of_the_user_that_is_named(place: Place, user_id: str, tally: Tally) -> None:
    environ = {"TALLYSTICK_API_KEY": place.key(None), "USER_ID": user_id}
    tally.run("import", "--database", place.server_url, environ=environ)
    with place.open("sql", user_id) as ledger:
        assert ledger.ledger_state().receipt_count > 0


@pytest.mark.parametrize("road", ["supabase", "server"])
def test_tracking_that_is_switched_off_takes_nothing_in(place: Place, user_id: str, tally: Tally, road: str) -> None:
    environ = on_supabase(place, user_id) if road == "supabase" else on_server(place, place.key(user_id))
    off = {**environ, "TOKEN_TRACKING_ENABLED": "false"}
    assert "switched off" in tally.fail("import", environ=off)
    tally.run("daily", environ=off)
    with place.open("sql", user_id) as ledger:
        assert ledger.ledger_state().receipt_count == 0


@pytest.mark.parametrize("arguments", [("status",), ("migrate",), ("backup", "FILE"), ("url",)])
def test_what_needs_the_database_itself_says_what_to_do(place: Place, tally: Tally, arguments: tuple[str, ...]) -> None:
    file = tally.folder / "backup"
    given = [str(file) if argument == "FILE" else argument for argument in arguments]
    environ = {"TALLYSTICK_API_KEY": place.key(None)}
    line = tally.fail("db", *given, "--database", place.server_url, environ=environ)
    assert "--database" in line
    assert "Traceback" not in line


def test_a_ledger_that_never_answers_is_told_soon(place: Place, tally: Tally, user_id: str) -> None:
    with faulty(place.server_url) as front:
        environ = {"TALLYSTICK_DATABASE_URL": front.url, "TALLYSTICK_API_KEY": place.key(user_id)}
        front.always = Fault(502, "<html>", "text/html")
        assert "HTTP 502 Bad Gateway. Nothing is lost" in tally.fail("daily", environ=environ)
        assert len(front.asked) == 2
        front.always = None
        # one that has answered is worth waiting for
        front.faults += [None, Fault(502), Fault(502)]
        tally.run("daily", "--no-import", environ=environ)
        assert front.faults == []


def test_a_key_that_is_wrong_or_missing_is_one_line(place: Place, tally: Tally, user_id: str) -> None:
    wrong = on_server(place, "tly_abcdefgh_" + "a" * 43)
    assert "no key or token that holds" in tally.fail("daily", environ=wrong)
    missing = {"TALLYSTICK_DATABASE_URL": place.server_url}
    assert "TALLYSTICK_API_KEY" in tally.fail("daily", environ=missing)
    anothers = {**on_server(place, place.key(str(uuid.uuid4()))), "USER_ID": user_id}
    line = tally.fail("daily", environ=anothers)
    assert f"USER_ID names {user_id}, and the API key is another user's. Unset USER_ID" in line
    spoiled = {**on_supabase(place, user_id), "SUPABASE_SERVICE_KEY": SECRET_KEY + "x"}
    line = tally.fail("daily", environ=spoiled)
    assert SECRET_KEY not in line
    assert "Invalid API key" in line

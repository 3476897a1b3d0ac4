"""Importing transcripts while the ledger is new, older than the checkpoints, cut off or away."""

from __future__ import annotations

import time
from collections.abc import Callable

import psycopg
import pytest

from tallystick.cli.books import Books
from tallystick.cli.import_new import take_in_what_is_new
from tallystick.cli.options import CommonOptions
from tallystick.collector.run import import_new
from tallystick.collector.summary import ImportProgress
from tallystick.errors import LedgerUnavailable
from tallystick.ledger import Ledger
from tallystick.model import Receipt
from tests.acceptance.machines import Machine, line
from tests.acceptance.made_transcripts import make_home


def test_the_account_is_made_in_the_zone_of_the_machine(here: Machine) -> None:
    here.take_in()
    assert here.ledger.ledger_state().time_zone is None
    here.write("a.jsonl", line(1))
    here.take_in()
    assert here.ledger.ledger_state().time_zone == "Europe/Berlin"


def test_a_zone_that_postgres_does_not_know_becomes_utc(here: Machine) -> None:
    here.write("a.jsonl", line(1))
    import_new(here.ledger, here.settings._replace(time_zone="Nowhere/Atlantis"))
    assert here.ledger.ledger_state().time_zone == "UTC"


def test_progress_is_told_up_to_the_end(here: Machine) -> None:
    truth = make_home(here.settings.claude_config_dirs[0], files=4, calls_per_file=600)
    told: list[ImportProgress] = []
    started_at = time.monotonic()
    summary = here.take_in(on_progress=told.append)
    assert told[-1] == ImportProgress(summary.bytes_read, summary.bytes_read, 8, 8, truth.calls)
    assert told == sorted(told)
    assert len(told) <= 3 + (time.monotonic() - started_at) / 0.1


def test_a_lost_checkpoint_file_costs_a_reading_and_no_number(here: Machine) -> None:
    truth = make_home(here.settings.claude_config_dirs[0], files=2, calls_per_file=50)
    here.take_in()
    digest = here.ledger.ledger_digest()
    here.settings.checkpoint_file.write_bytes(b"damaged" * 1000)
    summary = here.take_in()
    assert summary.receipt == Receipt(received=truth.lines_with_usage, duplicate=truth.lines_with_usage)
    assert "was moved to" in summary.notices[0]
    assert here.ledger.ledger_digest() == digest


def test_a_ledger_set_back_to_an_old_copy_is_filled_again(here: Machine, server_urls: dict[str, str]) -> None:
    here.write("a.jsonl", line(1))
    here.take_in()
    name = psycopg.conninfo.conninfo_to_dict(here.url)["dbname"]
    here.ledger.close()
    with psycopg.connect(server_urls["18"], autocommit=True) as connection:
        connection.execute(f"create database {name}_old template {name}")
    now = here._replace(ledger=Ledger.connect(here.url, user_id=here.ledger.user_id))
    here.write("b.jsonl", line(2))
    now.take_in()
    digest = now.ledger.ledger_digest()
    now.ledger.close()
    old_url = here.url.replace(f"/{name}", f"/{name}_old", 1)
    old = here._replace(ledger=Ledger.connect(old_url, user_id=here.ledger.user_id))
    try:
        with old.ledger:
            assert old.tokens() == (1, 1, 10)
            summary = old.take_in()
            assert "older than the checkpoints" in summary.notices[0]
            assert old.ledger.ledger_digest() == digest
            assert old.take_in().notices == ()
    finally:
        with psycopg.connect(server_urls["18"], autocommit=True) as connection:
            connection.execute(f"drop database {name}_old with (force)")


def test_an_import_that_asked_the_ledger_before_another_one_ended_drops_nothing(here: Machine) -> None:
    here.write("a.jsonl", line(1))
    before = here.ledger.ledger_state()
    here.take_in()
    summary = here.take_in(state=before)
    assert (summary.notices, summary.files_read) == ((), 0)


def test_a_connection_that_breaks_is_made_anew_and_the_import_goes_on(
    here: Machine, server_urls: dict[str, str], undisturbed: Callable[[Machine], str]
) -> None:
    make_home(here.settings.claude_config_dirs[0], files=4, calls_per_file=900)
    name = psycopg.conninfo.conninfo_to_dict(here.url)["dbname"]
    cuts: list[int] = []

    def cut(_: ImportProgress) -> None:
        if not cuts:
            with psycopg.connect(server_urls["18"], autocommit=True) as connection:
                query = "select pg_terminate_backend(pid) from pg_stat_activity where datname = %s"
                cuts.append(len(connection.execute(query, [name]).fetchall()))

    summary = here.take_in(on_progress=cut)
    assert cuts == [1]
    assert sum(summary.receipt[1:5]) == summary.receipt.received
    assert here.ledger.ledger_digest() == undisturbed(here)


def test_a_ledger_that_is_away_loses_nothing_and_says_how_far_the_import_lags(
    here: Machine, server_urls: dict[str, str], undisturbed: Callable[[Machine], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tallystick.retrying.TIMEOUT_S", 0.2)
    make_home(here.settings.claude_config_dirs[0], files=4, calls_per_file=900)
    name = psycopg.conninfo.conninfo_to_dict(here.url)["dbname"]

    def cut(_: ImportProgress) -> None:
        with psycopg.connect(server_urls["18"], autocommit=True) as connection:
            connection.execute(f"alter database {name} allow_connections false")
            connection.execute("select pg_terminate_backend(pid) from pg_stat_activity where datname = %s", [name])

    with pytest.raises(LedgerUnavailable, match=r"of 8 files .* are not taken in yet") as raised:
        here.take_in(on_progress=cut)
    assert "Nothing is lost" in raised.value.hint
    with psycopg.connect(server_urls["18"], autocommit=True) as connection:
        connection.execute(f"alter database {name} allow_connections true")
    again = here._replace(ledger=Ledger.connect(here.url, user_id=here.ledger.user_id))
    with again.ledger:
        summary = again.take_in()
        assert summary.receipt.new > 0
        assert again.ledger.ledger_digest() == undisturbed(here)


def test_a_report_says_in_one_line_that_its_ledger_is_away_and_that_it_only_reads_beside_the_report(
    here: Machine, server_urls: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    here.write("a.jsonl", line(1))
    here.take_in()
    here.write("b.jsonl", line(2))
    books = Books(here.ledger, here.settings, here.ledger.ledger_state())
    name = psycopg.conninfo.conninfo_to_dict(here.url)["dbname"]
    cut_off = "select pg_terminate_backend(pid, 60000) from pg_stat_activity where datname = %s"
    with psycopg.connect(server_urls["18"], autocommit=True) as admin:
        # as a standby is
        admin.execute(f"alter database {name} set default_transaction_read_only = on")
        admin.execute(cut_off, [name])
        books.ledger.attempts = 2
        assert take_in_what_is_new(books, CommonOptions()) == books
        assert "not taken in: " in capsys.readouterr().err
        assert len(books.ledger.usage_recent()) == 1
        admin.execute(f"alter database {name} allow_connections false")
        admin.execute(cut_off, [name])
        books.ledger.attempts = 2
        with pytest.raises(LedgerUnavailable):
            take_in_what_is_new(books, CommonOptions())
        assert capsys.readouterr().err == ""
        admin.execute(f"alter database {name} allow_connections true")

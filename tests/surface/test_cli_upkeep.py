"""import, verify, rerate, forget, doctor, config and first-run, as processes."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg

if TYPE_CHECKING:
    from tests.surface.cli_home import Tally

pytest_plugins = "tests.surface.cli_home"

ACME_PRICE = {
    "provider": "",
    "model": "acme-large-1",
    "valid_from": "2026-01-01",
    "input_usd_per_mtok": "2",
    "output_usd_per_mtok": "8.5",
}


def test_an_import_says_what_it_did_and_the_second_finds_nothing(empty: Tally, truth: Any) -> None:
    truth.write_transcripts(empty.claude)
    first = empty.lines("import")
    assert first[0].startswith("Read 3 files of 3, ")
    assert first[1:] == [
        "7 new calls, 0 revised, 7 copies of calls already counted, 0 rejected.",
        "2 new calls without a price; `tally models` names the models.",
    ]
    assert empty.lines("import") == ["Read 0 files of 3, 0 B, in 0.0 s.", "No new calls."]
    assert empty.lines("import", str(empty.claude / "projects"))[1] == "No new calls."
    assert "cannot read /nowhere/at-all" in empty.fail("import", "/nowhere/at-all")


def test_an_import_takes_the_files_that_are_named(own: Tally, truth: Any) -> None:
    elsewhere = own.folder / "elsewhere"
    call = truth.Call("9a000000-1", truth.SHOP, truth.OPUS, "2026-11-21T10:00:00Z", 1, 2, 3)
    truth.write_transcripts(elsewhere, [call], first_number=100)
    assert own.lines("import", str(elsewhere))[1].startswith("1 new call, 0 revised")
    assert own.json("daily", "--no-import")["totals"] == truth.expected([*truth.CALLS, call])


def test_tracking_that_is_switched_off_takes_nothing_in(own: Tally, truth: Any) -> None:
    call = truth.Call("9a000000-1", truth.SHOP, truth.OPUS, "2026-11-21T10:00:00Z", 1, 2, 3)
    truth.write_transcripts(own.claude, [call], first_number=100)
    off = {"TOKEN_TRACKING_ENABLED": "false"}
    assert own.json("daily", environ=off)["totals"] == truth.expected(truth.CALLS)
    assert own.fail("import", environ=off) == (
        "tally: token tracking is switched off. Unset TOKEN_TRACKING_ENABLED to take usage in."
    )


def test_verify_proves_the_books_and_finds_what_was_tampered_with(own: Tally) -> None:
    lines = own.lines("verify")
    assert all(line.endswith("  ok") for line in lines[:-2])
    assert lines[-1] == f"All {len(lines) - 2} checks hold: every total equals its rows."
    with psycopg.connect(own.lines("db", "url")[0]) as connection:
        connection.execute("update token_usage_daily set daily_output_tokens = daily_output_tokens + 1")
    done = own.run("verify", exit_code=1)
    assert "days equal their events" in next(line for line in done.stdout.splitlines() if "WRONG" in line)


def test_a_price_of_ones_own_prices_what_was_unpriced(own: Tally) -> None:
    assert own.lines("rerate") == [
        "7 calls looked at, 0 costs changed.",
        "2 calls still without a price; `tally models` names the models.",
    ]
    prices = own.home / "config" / "prices.json"
    prices.write_text(json.dumps([ACME_PRICE]))
    assert own.lines("rerate", "--until", "2026-11-01") == [
        f"Took in 1 price of yours from {prices}.",
        "0 calls looked at, 0 costs changed.",
    ]
    # (1,010 input at 2 + 2,020 output at 8.5) / 1,000,000
    assert own.lines("rerate") == [
        "7 calls looked at, 2 costs changed.",
        "Those cost $0.00 before and $0.02 now; the old costs are kept.",
    ]
    (row,) = own.json("models", "--no-import", "--model", "acme-large-1")["models"]
    assert (row["cost_usd"], row["unpriced_event_count"]) == ("0.01919", 0)
    assert not any("Unpriced" in line for line in own.lines("daily", "--no-import"))
    assert own.lines("verify")[-1].startswith("All ")


def test_a_report_takes_a_changed_price_file_in(own: Tally, truth: Any) -> None:
    prices = own.home / "config" / "prices.json"
    prices.write_text(json.dumps([ACME_PRICE]))
    call = truth.Call("9a000000-1", truth.SHOP, "acme-large-1", "2026-11-21T10:00:00Z", 1_000_000, 0, 0)
    truth.write_transcripts(own.claude, [call], first_number=100)
    assert own.json("daily", "--since", "2026-11-21")["totals"]["cost_usd"] == "2"
    prices.write_text("[{]")
    done = own.run("daily")
    assert "2026-11-21" in done.stdout
    assert "prices.json is not JSON" in done.stderr
    assert "prices.json is not JSON" in own.fail("rerate")


def test_forgetting_a_project_asks_and_leaves_the_others(own: Tally, truth: Any) -> None:
    own.run("import")
    for answer in ("", "n\n", "perhaps\n"):
        done = own.run("forget", "--project", "shop", exit_code=1, answer=answer)
        assert "Erase the project /nowhere/ann/shop (3 calls) from the ledger for good? [y/N]" in done.stderr
        # somebody who answers has pressed Enter on a terminal; the end of the input has not
        assert done.stderr.endswith(
            ("\n" if answer == "" else " ") + "tally: nothing was erased. Answer y, or give --yes.\n"
        )
    done = own.run("forget", "--project", "shop", answer="y\n")
    assert done.stdout.startswith("Erased 3 calls and 0 earlier versions of them; 1 session and 2 days are gone")
    assert own.json("daily")["totals"] == truth.expected(truth.CALLS[3:])
    own.run("forget", "--everything", "--yes")
    assert own.json("daily", "--no-import")["days"] == []
    assert own.lines("verify")[-1].startswith("All ")


def test_doctor_shows_what_was_not_counted_and_the_gap_to_what_the_agent_says(own: Tally, truth: Any) -> None:
    first, second = truth.FIRST, truth.SECOND
    truth.add_line(own.claude, first, {"type": "hologram", "sessionId": first})
    truth.add_line(own.claude, first, '{"type":"assistant","message":{"id":"msg_torn","usage":{"input_tok')
    for session_id, models in (
        # what the ledger holds for the first session's calls, and half a dollar that was never written down
        (first, {truth.OPUS: "0.663785", truth.HAIKU: "0.00053"}),
        (second, {truth.HAIKU: "0.0021193"}),
    ):
        usage = {model: {"inputTokens": 1, "outputTokens": 1, "costUSD": float(cost)} for model, cost in models.items()}
        truth.add_line(own.claude, session_id, {"type": "cost-state", "sessionId": session_id, "modelUsage": usage})
    with psycopg.connect(own.lines("db", "url")[0]) as connection:
        totals = "jsonb_build_object('user_id', user_id, 'session_id', %s::text, 'output_tokens', 1)"
        query = f"select public.upsert_token_usage({totals}) ->> 'new' from public.token_usage_accounts"
        assert connection.execute(query.encode(), [truth.THIRD]).fetchone() == ("1",)
    text = own.run("doctor").stdout
    assert f"{truth.THIRD}: by snapshots and by claude-code" in text
    assert f"{own.claude / 'projects'}: 3 files" in text
    assert "passed over, of the unknown type hologram: 1 line" in text
    assert "rejected, not_json: 1 record" in text
    assert "acme-large-1: 2 events" in text
    assert "whose days are those of Europe/Berlin" in text
    assert "2 sessions compared, 1 equal to the cent." in text
    (line,) = [line for line in text.splitlines() if line.startswith("  1a000000")]
    assert line.split() == ["1a000000", "$0.66", "$0.16", "$0.50"]
    (line,) = [line for line in own.run("doctor", "--verbose").stdout.splitlines() if line.startswith("  2a000000")]
    assert line.split() == ["2a000000", "$0.0021", "$0.0021", "$0.00", "2", "calls", "unpriced"]
    assert max(map(len, text.splitlines())) <= 80 + len(str(own.folder))


def test_an_import_of_what_is_no_transcript_says_so(empty: Tally) -> None:
    other = empty.folder / "notes.txt"
    other.write_text("one\ntwo\n\n[1]\n")
    os.utime(other, (1, 1))
    lines = empty.lines("import", str(other))
    assert "Passed over 2 lines that are no transcript's: not json." in lines
    assert "Passed over 1 line that is no transcript's: not an object." in lines
    assert lines[-1] == "No call was found there. Where something else wrote it, name that with --source."
    assert empty.lines("import", str(other))[-1] == "Nothing there has changed since it was taken in last."
    for source, title, reason in (
        ("codex", "Codex CLI", "Passed over 2 lines that are no transcript's: not json."),
        ("amp", "Amp", f"  {other}: not a whole JSON document"),
        ("goose", "Goose", f"  {other}: SQLite: file is not a database"),
    ):
        lines = empty.lines("import", "--source", source, str(other))
        assert reason in lines
        last = f"No call of {title} was found there. Where something else wrote it, name that with --source."
        assert lines[-1] == last
    (empty.folder / "empty").mkdir()
    last = "No file there is named as transcripts of Amp are. Name the file itself, and its --source."
    assert empty.lines("import", "--source", "amp", str(empty.folder / "empty"))[-1] == last


def test_an_import_that_finds_nothing_says_where_it_looked(empty: Tally) -> None:
    assert f"Looked in {empty.claude / 'projects'}. CLAUDE_CONFIG_DIR names another place." in empty.lines("import")


def test_doctor_works_on_an_empty_machine(empty: Tally) -> None:
    text = empty.run("doctor").stdout
    assert f"{empty.claude / 'projects'}: not there" in text
    assert "no usage yet" in text
    assert "Counted twice\n  nothing\n" in text


def test_config_tells_each_setting_and_its_origin(fresh: Tally) -> None:
    config = fresh.home / "config"
    config.mkdir(parents=True)
    (config / "config.toml").write_text('device = "workbench"\n')
    environ = {"TALLYSTICK_DATABASE_URL": "postgresql://ann:s3cret@db/books"}
    lines = fresh.lines("config", environ=environ)
    rows = {line.split()[0]: line.split()[1:] for line in lines if line}
    assert rows["device"] == ["config.toml", "workbench"]
    assert rows["time_zone"] == ["default", "Europe/Berlin"]
    assert rows["database_url"] == ["TALLYSTICK_DATABASE_URL", "postgresql://ann:***@db/books"]
    assert rows["claude_config_dirs"] == ["CLAUDE_CONFIG_DIR", str(fresh.claude)]
    assert "s3cret" not in "".join(lines)
    assert fresh.lines("config", "--database", "postgresql://db/x")[3].split()[:2] == ["database_url", "--database"]
    assert fresh.lines("config", "--path") == [str(config / "config.toml")]


def test_the_first_run_reports_the_transcripts_it_finds(fresh: Tally, truth: Any) -> None:
    truth.write_transcripts(fresh.claude)
    lines = fresh.lines("first-run")
    assert lines[0].startswith("Found 3 transcripts of Claude Code, ")
    assert any(line.startswith("2026-11-02") for line in lines)
    assert any(line.startswith("7 new calls") for line in lines)
    assert any(line.startswith("All of it took ") for line in lines)
    assert lines[-1].endswith("-m tallystick projects")
    assert fresh.json("daily", "--no-import")["totals"] == truth.expected(truth.CALLS)


def test_the_first_run_without_transcripts_shows_a_sample_and_leaves_nothing_behind(fresh: Tally) -> None:
    before = set(Path(tempfile.gettempdir()).glob("tallystick-sample-*"))
    lines = fresh.lines("first-run")
    assert lines[0].startswith("No transcripts of coding agents")
    assert f"  {fresh.claude / 'projects'} (not there)" in lines
    assert any("invented sample" in line for line in lines)
    assert any(line.startswith("Total ") for line in lines)
    assert lines[-1].endswith("-m tallystick doctor")
    assert set(Path(tempfile.gettempdir()).glob("tallystick-sample-*")) == before
    assert not fresh.home.exists()

"""Histories of every agent, imported into a real ledger: the totals are the truth, once, and grow as it grows."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterable
from datetime import date
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tallystick.model import Receipt, UsageFilter
from tests.acceptance.machines import LONG_AGO_S, Machine, machine
from tests.corpus import amp, cline, codebuff, cursor, droid, forge, grok_build, hermes, mistral_vibe, mux, zed
from tests.corpus.histories import History, Tokens, sum_of

Make = Callable[[int, int], History]

MAKERS: dict[str, Make] = {
    **{source: partial(cline.task, source=source) for source in cline.EXTENSIONS},
    "cline-cli": cline.session,
    "droid": droid.session,
    "amp": amp.thread,
    "codebuff": codebuff.chat,
    "mistral-vibe": mistral_vibe.session,
    "mux": mux.chat,
    "grok-build": grok_build.session,
}
SESSIONS = 3
HERMES = ".hermes/state.db"


class OneDatabase(NamedTuple):
    """An agent that keeps all its sessions in one database."""

    place: str
    make: Make
    write: Callable[[Path, list[History]], None]


DATABASES = {
    "forge": OneDatabase(".forge/.forge.db", forge.conversation, forge.write),
    "zed": OneDatabase(".local/share/zed/threads/threads.db", zed.thread_history, zed.write),
}
EXPORT = "Downloads/usage-events-1.csv"


class Home(NamedTuple):
    """A machine on which every agent is at work."""

    path: Path
    here: Machine

    def live(self, calls: int) -> dict[str, Tokens]:
        """Let every session have had so many calls; answers the truth by source."""
        truth = {}
        for source, make in MAKERS.items():
            histories = [make(seed, calls) for seed in range(1, SESSIONS + 1)]
            for history in histories:
                self.write(history)
            truth[source] = sum_of(history.tokens for history in histories)
        for profile in ("", "profiles/work/"):
            histories = [hermes.session(seed + len(profile), calls) for seed in range(SESSIONS)]
            place = self.path / HERMES.replace("state", f"{profile}state")
            hermes.write(place, histories, name=profile.strip("/").replace("/", "-"))
            rest(place, LONG_AGO_S + calls)
            truth["hermes"] = sum_of(iter((truth.get("hermes", Tokens(0, 0, 0, 0)), *(h.tokens for h in histories))))
        for source in DATABASES:
            truth[source] = self.write_database(source, range(1, SESSIONS + 1), calls)
        truth["cursor"] = self.write(cursor.month(1, calls)).tokens
        return truth

    def write(self, history: History) -> History:
        for place, content in history.files.items():
            path = self.path / place
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            # at rest, and yet at another time than when it held less
            rest(path, LONG_AGO_S + len(history.calls))
        return history

    def write_database(self, source: str, seeds: Iterable[int], calls: int) -> Tokens:
        place, make, write = DATABASES[source]
        histories = [make(seed, calls) for seed in seeds]
        write(self.path / place, histories)
        rest(self.path / place, LONG_AGO_S + calls)
        return sum_of(history.tokens for history in histories)

    def take_in(self) -> Receipt:
        """What the machine has, and then the export that a person names."""
        found, named = self.here.take_in(), self.here.take_in(paths=[self.path / EXPORT])
        assert (found.problems, named.problems) == ((), ())
        assert (found.unknown_line_types, named.unknown_line_types) == ((), ())
        return found.receipt.plus(named.receipt)

    def tokens(self, source: str) -> Tokens:
        return tokens_of(self.here, source)


def tokens_of(here: Machine, source: str) -> Tokens:
    row = here.ledger.usage_summary(UsageFilter(sources=[source]))
    return Tokens(row.input_tokens, row.cache_creation_tokens, row.cache_read_tokens, row.output_tokens)


def rest(path: Path, seconds: int) -> None:
    os.utime(path, (seconds, seconds))


@pytest.fixture
def home(here: Machine, tmp_path: Path) -> Home:
    return Home(tmp_path, here)


def test_the_totals_of_every_agent_are_the_truth_and_a_second_import_changes_nothing(home: Home) -> None:
    truth = home.live(9)
    receipt = home.take_in()
    assert receipt.rejected == 0
    assert {source: home.tokens(source) for source in truth} == truth
    assert len(truth) == 15
    state, digest = home.here.ledger.ledger_state(), home.here.ledger.ledger_digest()
    assert home.take_in() == Receipt()
    assert (home.here.ledger.ledger_state(), home.here.ledger.ledger_digest()) == (state, digest)
    assert all(check.bad_rows == 0 for check in home.here.ledger.verify_token_usage())


def test_what_grew_raises_the_totals_by_the_difference(home: Home) -> None:
    for calls in (2, 5, 5, 11):
        truth = home.live(calls)
        assert home.take_in().rejected == 0
        assert {source: home.tokens(source) for source in truth} == truth
    assert all(check.bad_rows == 0 for check in home.here.ledger.verify_token_usage())


def test_everything_read_anew_changes_nothing(home: Home) -> None:
    home.live(4)
    home.take_in()
    home.live(8)
    home.take_in()
    digest = home.here.ledger.ledger_digest()
    home.here.settings.checkpoint_file.unlink()
    again = home.take_in()
    assert (again.new, again.revised, again.rejected) == (0, 0, 0)
    assert home.here.ledger.ledger_digest() == digest


def test_the_same_home_on_another_machine_changes_nothing(home: Home, ledger_url_18: str, tmp_path: Path) -> None:
    truth = home.live(6)
    home.take_in()
    there = machine(ledger_url_18, tmp_path / "there", home.here.ledger.user_id)
    with there.ledger:
        other = Home(tmp_path / "there", there._replace(settings=there.settings._replace(device="another")))
        other.live(6)
        receipt = other.take_in()
    assert (receipt.new, receipt.rejected) == (0, 0)
    assert {source: home.tokens(source) for source in truth} == truth


def test_two_exports_of_cursor_that_overlap_count_each_call_once(home: Home) -> None:
    calls = cursor.month(1, 30).calls
    rows = [cursor.row(call) for call in calls] + [cursor.row(calls[12])]
    for name, part in (("first", rows[:20] + rows[30:]), ("second", rows[:9:-1])):
        path = home.path / f"{name}.csv"
        path.write_bytes(cursor.export(part))
        summary = home.here.take_in(paths=[path], source="cursor")
        assert (summary.receipt.rejected, summary.problems) == (0, ())
    twelfth = calls[12].tokens
    assert home.tokens("cursor") == sum_of(iter((*(call.tokens for call in calls), twelfth)))


def test_a_file_that_is_no_export_of_cursors_is_one_problem(home: Home) -> None:
    path = home.path / "disk-usage.csv"
    path.write_text("folder,bytes\n/home,5\n")
    rest(path, LONG_AGO_S)
    summary = home.here.take_in(paths=[path])
    assert [problem.reason for problem in summary.problems] == [
        "no export of Cursor's usage: the header has no column 'Date'"
    ]
    assert home.here.take_in(paths=[path]).problems == summary.problems


# -- running totals


class Totals(NamedTuple):
    """An agent that keeps nothing but totals, as something that can be told how much it has."""

    source: str
    write: Callable[[Home, int], Tokens]


def write_document(make: Make, home: Home, calls: int) -> Tokens:
    return home.write(make(1, calls)).tokens


def write_hermes(home: Home, calls: int) -> Tokens:
    history = hermes.session(1, calls)
    hermes.write(home.path / HERMES, [history])
    return history.tokens


def write_database(source: str, home: Home, calls: int) -> Tokens:
    return home.write_database(source, [1], calls)


TOTALS = [
    pytest.param(Totals("droid", partial(write_document, droid.session)), id="droid"),
    pytest.param(Totals("mistral-vibe", partial(write_document, mistral_vibe.session)), id="mistral-vibe"),
    pytest.param(Totals("hermes", write_hermes), id="hermes"),
    *(pytest.param(Totals(source, partial(write_database, source)), id=source) for source in DATABASES),
]


@pytest.mark.parametrize("agent", TOTALS)
@settings(max_examples=7, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.integers(1, 6), min_size=2, max_size=7), keeps=st.lists(st.booleans(), min_size=7, max_size=7))
def test_running_totals_that_grow_stay_shrink_and_come_back_are_counted_to_their_highest(
    agent: Totals, steps: list[int], keeps: list[bool], ledger_url_18: str, tmp_path: Path
) -> None:
    """`keeps` says whether the machine still knows what it has read, as it does unless its checkpoints are lost."""
    folder = tmp_path / str(random.getrandbits(64))
    highest = Tokens(0, 0, 0, 0)
    here = machine(ledger_url_18, folder)
    with here.ledger:
        home = Home(folder, here)
        for number, (calls, is_kept) in enumerate(zip(steps, keeps, strict=False)):
            highest = max(highest, agent.write(home, calls), key=sum)
            for path in folder.rglob("*"):
                if path.is_file() and path.suffix in (".json", ".db"):
                    rest(path, LONG_AGO_S + number)
            if not is_kept:
                here.settings.checkpoint_file.unlink(missing_ok=True)
            here.take_in()
            assert tokens_of(here, agent.source) == highest
        assert all(check.bad_rows == 0 for check in here.ledger.verify_token_usage())


def test_what_droid_had_before_it_was_first_read_is_of_its_first_day_and_the_rest_of_today(home: Home) -> None:
    first = home.write(droid.session(1, 3))
    home.here.take_in()
    days = [row.period_start for row in home.here.ledger.usage_daily(UsageFilter(sources=["droid"]))]
    assert days == [first.calls[0].at.date()]
    grown = home.write(droid.session(1, 8))
    home.here.take_in()
    rows = home.here.ledger.usage_daily(UsageFilter(sources=["droid"]))
    assert first.calls[0].at.date() in {row.period_start for row in rows}
    assert max(row.period_start or date.min for row in rows) > date(2026, 9, 3)
    assert home.tokens("droid") == grown.tokens


def test_a_session_of_hermes_is_of_the_days_of_its_messages(home: Home) -> None:
    history = hermes.session(1, 5)
    hermes.write(home.path / HERMES, [history])
    home.here.take_in()
    (row,) = home.here.ledger.usage_daily(UsageFilter(sources=["hermes"]))
    assert row.period_start in {call.at.date() for call in history.calls}


def test_a_clone_that_goes_on_is_counted_by_what_it_has_beyond_its_original(home: Home) -> None:
    calls = forge.conversation(1, 9).calls
    path = home.path / DATABASES["forge"].place
    for number, has in enumerate((6, 6, 9)):
        # the original, its clone as it was made, the clone later; all begun when the original was
        forge.save(path, f"c{min(number, 1)}", forge.messages_of(calls[:has]), updates=number)
        rest(path, LONG_AGO_S + number)
        home.here.take_in()
        assert home.tokens("forge") == History({}, calls[:has]).tokens
    forge.save(path, "c0", forge.messages_of(calls[:7]), updates=3)
    rest(path, LONG_AGO_S + 3)
    assert home.here.take_in().receipt.rejected == 1
    assert [row.reason for row in home.here.ledger.rejects()] == ["totals_shrank"]
    assert home.tokens("forge") == History({}, calls).tokens

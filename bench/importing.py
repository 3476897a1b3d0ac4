"""What the whole road costs: everything into an empty ledger, and a report when nothing is new."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from bench.bare_ledger import owner_connection, service_connection
from bench.ccusage import install_ccusage, run_ccusage
from bench.events import make_batches
from bench.results import Result, at_most, equal
from bench.setting import Corpus, Setting, TallyHome, TokenTotals
from bench.timing import MIB, BenchError, Run, compare

IMPORT_MOST_OF_CCUSAGE = 3.0
DAILY_MOST_OF_CCUSAGE = 0.25
MORE_HISTORY = 10
MOST_GROWTH = 1.2
# Runs of a tenth of a second: more pairs, because each is noisier.
HISTORY_PAIR_COUNT = 11
BATCH_SIZE = 2_000
# Years before the corpus, so that a report on its last 30 days covers the same days in both ledgers.
HISTORY_STARTS_AT = datetime(2023, 3, 1, tzinfo=UTC)
# The dates stand written out because the corpus has fixed ones: `--last 30d` would show nothing some day.
DAILY = ("daily",)
LAST_30_DAYS = ("daily", "--since", "2026-10-21", "--until", "2026-11-19")
INGEST = "select public.ingest_token_usage(%s, %s::json)"
ONLY_ACCOUNT = "select user_id::text from public.token_usage_accounts"
COUNT_EVENTS = "select count(*) from public.token_usage_events"


class Stage(NamedTuple):
    """What the rows of this module share."""

    setting: Setting
    corpus: Corpus
    ccusage: Path

    def ccusage_seconds(self) -> float:
        return run_ccusage(self.ccusage, self.corpus).wall_seconds


def measure_import(setting: Setting) -> Iterator[Result]:
    """`tally import` into an empty embedded ledger whose server is up already."""
    stage = make_stage(setting)
    runs: list[Run] = []
    totals: set[TokenTotals] = set()

    def import_seconds() -> float:
        home = setting.new_home("import")
        home.start()
        runs.append(home.run("import", corpus=stage.corpus))
        totals.add(home.totals())
        home.stop()
        return runs[-1].wall_seconds

    stage.ccusage_seconds()
    pairs = compare(import_seconds, stage.ccusage_seconds)
    shutil.rmtree(setting.work_folder / "home-import")
    note = f" ({pairs.ours_seconds:.2f} s of {pairs.theirs_seconds:.2f} s)"
    yield at_most("importing the corpus, of ccusage's time", pairs.ratio, IMPORT_MOST_OF_CCUSAGE, note=note)
    yield Result("importing the corpus, largest process", f"{max(run.peak_bytes for run in runs) / MIB:.0f} MiB")
    yield equal("token totals of the ledger, beside the truth", totals, {stage.corpus.totals})


def measure_daily(setting: Setting) -> Iterator[Result]:
    """`tally daily` with nothing new against ccusage, and a month of it with ten times the history."""
    stage = make_stage(setting)
    home = setting.new_home("daily")
    longer = setting.new_home("daily-longer")
    try:
        for each in (home, longer):
            each.start()
            each.run("import", corpus=stage.corpus)
        yield compare_with_ccusage(stage, home)
        yield compare_histories(stage, home, longer, event_counts=(count_events(home.url()), add_history(longer)))
    finally:
        for each in (home, longer):
            each.stop()
            shutil.rmtree(each.path, ignore_errors=True)


def make_stage(setting: Setting) -> Stage:
    return Stage(setting, setting.corpus(), install_ccusage(setting.work_folder))


def compare_with_ccusage(stage: Stage, home: TallyHome) -> Result:
    def our_seconds() -> float:
        return home.run(*DAILY, corpus=stage.corpus).wall_seconds

    our_seconds()
    stage.ccusage_seconds()
    pairs = compare(our_seconds, stage.ccusage_seconds)
    note = f" ({pairs.ours_seconds * 1000:.0f} ms of {pairs.theirs_seconds * 1000:.0f} ms)"
    return at_most("tally daily, nothing new, of ccusage's time", pairs.ratio, DAILY_MOST_OF_CCUSAGE, note=note)


def add_history(home: TallyHome) -> int:
    """Older events of the same user, until there are ten times as many as before; answers how many there are then."""
    url = home.url()
    stored = count_events(url)
    batches = make_batches(
        "history", event_count=stored * (MORE_HISTORY - 1), batch_size=BATCH_SIZE, first_call_at=HISTORY_STARTS_AT
    )
    with owner_connection(url) as owner, service_connection(url) as service:
        accounts = owner.execute(ONLY_ACCOUNT).fetchall()
        if len(accounts) != 1:
            raise BenchError(f"one account was to be there, not {len(accounts)}")
        for batch in batches:
            service.execute(INGEST, [accounts[0][0], batch])
        owner.execute("vacuum (analyze)")
        owner.execute("checkpoint")
    return count_events(url)


def count_events(url: str) -> int:
    with owner_connection(url) as owner:
        row = owner.execute(COUNT_EVENTS).fetchone()
    assert row is not None, "a count answers one row"
    return int(row[0])


def compare_histories(stage: Stage, home: TallyHome, longer: TallyHome, *, event_counts: tuple[int, int]) -> Result:
    """The same month out of both ledgers; both must show the same."""
    few, many = event_counts
    if many != few * MORE_HISTORY:
        raise BenchError(f"{many} events are stored beside {few}, not {MORE_HISTORY} times as many")

    def run_longer() -> Run:
        return longer.run(*LAST_30_DAYS, corpus=stage.corpus)

    def run_shorter() -> Run:
        return home.run(*LAST_30_DAYS, corpus=stage.corpus)

    if run_longer().output != run_shorter().output:
        raise BenchError("the month shows other figures in the ledger with more history")
    pairs = compare(
        lambda: run_longer().wall_seconds, lambda: run_shorter().wall_seconds, pair_count=HISTORY_PAIR_COUNT
    )
    note = f" ({pairs.ours_seconds * 1000:.0f} ms of {pairs.theirs_seconds * 1000:.0f} ms)"
    return at_most(f"tally daily of 30 days, {many:,} events of {few:,}", pairs.ratio, MOST_GROWTH, note=note)

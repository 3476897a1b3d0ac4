"""Limits on their way from transcripts into the ledger."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from tallystick.catalog import CODEX, Root
from tallystick.errors import Forbidden
from tallystick.model import UsageLimitRow
from tests.acceptance.machines import Machine
from tests.corpus.codex_rollouts import ERA, Call, Thread
from tests.servers import connect

EVERY_LIMIT = "select count(*) from public.token_usage_limits"
GRANT = "grant execute on function tallystick.observe_usage_limits(uuid, jsonb) to service_role"


class Codex:
    """A thread that runs now, in a folder of Codex's, and is told its limits with every answer."""

    def __init__(self, folder: Path) -> None:
        self.began = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=10)
        self.thread = Thread(ERA["0.169.0"], begin_ms=int(self.began.timestamp() * 1000))
        self.thread.begin_turn()
        self._file = folder / "sessions" / self.thread.name
        self._file.parent.mkdir(parents=True)

    @property
    def ends(self) -> datetime:
        return (self.began + timedelta(hours=3)).replace(second=0)

    def answer(self, used_percent: float) -> datetime:
        """One call, and what is told of the limits with it; answers when that was."""
        self.thread.call(Call(1000))
        window = {"used_percent": used_percent, "window_minutes": 300, "resets_at": self.ends.timestamp()}
        limits = {"limit_id": "codex", "primary": window, "secondary": None}
        self.thread.write("event_msg", {"type": "token_count", "info": None, "rate_limits": limits})
        self._file.write_bytes(self.thread.content)
        return datetime.fromisoformat(self.thread.lines[-1]["timestamp"])


@pytest.fixture
def codex(tmp_path: Path) -> Codex:
    return Codex(tmp_path / "codex")


@pytest.fixture
def machine_with_codex(here: Machine, tmp_path: Path) -> Machine:
    return here._replace(settings=here.settings._replace(agent_roots=(Root(tmp_path / "codex" / "sessions", CODEX),)))


def test_the_limits_of_a_thread_are_in_the_ledger_with_its_calls(machine_with_codex: Machine, codex: Codex) -> None:
    here = machine_with_codex
    codex.answer(12.0)
    codex.answer(12.0)
    last = codex.answer(13.5)
    here.take_in()
    latest = UsageLimitRow("codex", "five_hour", Decimal("13.5"), 300, codex.ends, last)
    assert here.ledger.usage_limits() == [latest]
    later = codex.answer(13.5)
    assert here.take_in().receipt.new == 1
    assert here.ledger.usage_limits() == [latest._replace(observed_at=later)]
    assert here.ledger.rejects() == []


def test_a_checkpoint_stays_until_the_limits_have_their_receipt_too(machine_with_codex: Machine, codex: Codex) -> None:
    here = machine_with_codex
    codex.answer(12.0)
    with connect(here.url, autocommit=True) as owner:
        owner.execute(GRANT.replace("grant", "revoke").replace(" to ", " from "))
        with pytest.raises(Forbidden):
            here.take_in()
        assert here.ledger.usage_limits() == []
        owner.execute(GRANT)
    receipt = here.take_in().receipt
    assert (receipt.new, receipt.duplicate) == (0, 1)
    assert [limit.used_percent for limit in here.ledger.usage_limits()] == [12]


def test_the_thousands_of_tellings_of_a_long_thread_are_sent_in_parts(
    machine_with_codex: Machine, codex: Codex
) -> None:
    here = machine_with_codex
    for number in range(2100):
        window = {"used_percent": number / 21, "window_minutes": 300, "resets_at": codex.ends.timestamp()}
        codex.thread.write("event_msg", {"type": "token_count", "rate_limits": {"primary": window}})
    last = codex.answer(99.5)
    here.take_in()
    assert [(limit.used_percent, limit.observed_at) for limit in here.ledger.usage_limits()] == [
        (Decimal("99.5"), last)
    ]
    with connect(here.url) as owner:
        assert owner.execute(EVERY_LIMIT).fetchone() == (100,)

"""Fixtures of the imports: a machine of one's own, and what its transcripts come to undisturbed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tallystick.collector.run import import_new
from tests.acceptance.machines import Machine, machine
from tests.acceptance.watched import Watched
from tests.servers import database_url


@pytest.fixture
def here(ledger_url_18: str, tmp_path: Path) -> Iterator[Machine]:
    made = machine(ledger_url_18, tmp_path)
    with made.ledger:
        yield made


@pytest.fixture
def undisturbed(ledger_url_18: str, tmp_path: Path) -> Callable[[Machine], str]:
    """The digest of the same transcripts, taken in at once by somebody who never saw them before."""

    def digest(of: Machine) -> str:
        other = machine(ledger_url_18, tmp_path / "other")
        with other.ledger:
            import_new(other.ledger, other.settings._replace(claude_config_dirs=of.settings.claude_config_dirs))
            return other.ledger.ledger_digest()

    return digest


@pytest.fixture
def watched(home: Path, ledger_url_18: str, server_urls: dict[str, str]) -> Iterator[Watched]:
    watched = Watched(home, ledger_url_18, database_url(server_urls["18"], "postgres"))
    yield watched
    for process in watched.processes:
        process.kill()
        process.communicate()

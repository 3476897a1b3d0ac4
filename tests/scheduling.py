"""Which tests stay together in a run of several processes: a module's, and those that share what starts slowly."""

from __future__ import annotations

import re

from xdist.scheduler import LoadScopeScheduling

# each of them once in the run, not once in every process: PGlite, the pooler, Supabase's API, the makers' own clients
TOGETHER = {
    "17": re.compile(r"^tests/sql/.*\[17[]-]"),
    "pooled": re.compile(r"\[pooled[]-]"),
    "supabase": re.compile(r"^tests/supabase/"),
    "roads": re.compile(r"^tests/roads/"),
    "makers": re.compile(r"^tests/(unit/test_(anthropic|google|openai)_api|surface/test_track_docs)\.py"),
}
# those that take longest come first, so that no process is left with one of them when the others are done
FOLDERS = ("supabase", "roads", "api", "surface", "acceptance", "sql", "differential", "migrations", "unit")


class ByServer(LoadScopeScheduling):
    """xdist's `loadscope` with the scopes of this file."""

    def _split_scope(self, nodeid: str) -> str:
        return scope_of(nodeid) or str(super()._split_scope(nodeid))


def scope_of(nodeid: str) -> str | None:
    """Which of TOGETHER a test is one of."""
    return next((scope for scope, pattern in TOGETHER.items() if pattern.search(nodeid)), None)


def rank(nodeid: str) -> tuple[bool, int]:
    """The place of a test in a run: those that stay together, then by FOLDERS; a new folder comes first."""
    folder = nodeid.split("/")[1]
    return scope_of(nodeid) is None, FOLDERS.index(folder) if folder in FOLDERS else -1

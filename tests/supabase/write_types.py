"""Writes the types of the database: `python -m tests.supabase.write_types FILE`, which is `make types`."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tests.supabase.project import ProjectFolder, make_database, running_server


def main() -> None:
    with running_server() as server, tempfile.TemporaryDirectory() as folder:
        project = ProjectFolder(Path(folder), make_database(server, "typed"))
        project.push_ledger()
        Path(sys.argv[1]).write_text(project.database_types(), encoding="utf-8")


if __name__ == "__main__":
    main()

"""The Postgres servers that the tests run on: the embedded 18 and Debian's 15, each started once per test run."""

from __future__ import annotations

from pathlib import Path

from tallystick.embedded import EmbeddedServer

DEBIAN_15_BINARIES = Path("/usr/lib/postgresql/15/bin")


def server_of(major: str, folder: Path) -> EmbeddedServer:
    """A server of that major version with its data below `folder`, not started yet."""
    if major == "18":
        return EmbeddedServer(folder / "postgres-18")
    assert (DEBIAN_15_BINARIES / "postgres").exists(), "Postgres 15 is missing: run `make test-packages`"
    return EmbeddedServer(folder / "postgres-15", binaries=DEBIAN_15_BINARIES)


def database_url(server_url: str, name: str) -> str:
    """The URL of another database of the same server."""
    return server_url.replace("/tallystick?", f"/{name}?", 1)

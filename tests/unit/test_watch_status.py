"""One place for each ledger on a machine, however its address is spelled."""

from __future__ import annotations

from pathlib import Path

import pytest

from tallystick.collector.watch_status import Place, place_of
from tallystick.config import load_settings


def place(url: str, home: Path) -> Place:
    return place_of(load_settings({"HOME": str(home)}, database_url=url))


@pytest.mark.parametrize(
    "url",
    [
        "postgres://db.example/books",
        "postgresql://db.example:5432/books",
        "postgresql://DB.Example/books",
        "postgresql://ann@db.example/books",
        "postgresql://ann:s3cret@db.example/books?sslmode=require&connect_timeout=3",
        "postgresql://ann@db.example/books?connect_timeout=3&sslmode=require&password=s3cret",
        "postgresql:///books?port=5432&host=db.example",
        "host=db.example dbname=books",
        "dbname='books' port=5432 user=ann host=db.example",
    ],
)
def test_every_spelling_of_a_postgres_is_one_place(url: str, tmp_path: Path) -> None:
    assert place(url, tmp_path) == place("postgresql://db.example/books", tmp_path)


def test_what_the_environment_of_libpq_says_is_part_of_the_place(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, value in {"PGHOST": "db.example", "PGPORT": "6543", "PGDATABASE": "books"}.items():
        monkeypatch.setenv(name, value)
    assert place("postgresql://", tmp_path) == place("postgresql://db.example:6543/books", tmp_path)


def test_a_database_has_its_users_name_where_it_is_not_named(tmp_path: Path) -> None:
    assert place("postgresql://ann@db", tmp_path) == place("postgresql://db/ann", tmp_path)


def test_of_several_servers_the_order_does_not_matter(tmp_path: Path) -> None:
    one = place("postgresql://a:1,b/books", tmp_path)
    assert place("postgresql://B:5432,a:1/books", tmp_path) == one
    assert place("postgresql://a,b:1/books", tmp_path) != one


@pytest.mark.parametrize("url", ["http://Books.Example", "http://books.example:80/", "http://books.example/"])
def test_every_spelling_of_a_server_is_one_place(url: str, tmp_path: Path) -> None:
    assert place(url, tmp_path) == place("http://books.example", tmp_path)


def test_other_ledgers_have_other_places(tmp_path: Path) -> None:
    urls = [
        "postgresql://db/books",
        "postgresql://db/Books",
        "postgresql://db2/books",
        "postgresql://db:5433/books",
        "postgresql:///books?host=/run/pg",
        "postgresql:///books?host=/run/PG",
        "postgresql://books?service=team",
        "http://db/books",
        "https://db/books",
        "http://db:8377/books",
        "postgresql://db:not-a-port:x@@/books",
    ]
    assert len({place(url, tmp_path) for url in urls}) == len(urls)


def test_the_embedded_ledger_is_one_place_also_behind_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    names = {
        place_of(load_settings({"HOME": "/", "TALLYSTICK_HOME": str(tmp_path / name)})).lock.name
        for name in ("real", "link")
    }
    assert len(names) == 1

"""The committed types of the database are those that Supabase generates from the schema."""

from __future__ import annotations

from tallystick import database_types
from tallystick.schema import SQL_FOLDER
from tests.supabase.project import ProjectFolder

COMMITTED = SQL_FOLDER.with_name("database_types.py")


def test_the_types_are_those_of_the_schema(pushed_project: ProjectFolder) -> None:
    assert COMMITTED.read_text(encoding="utf-8") == pushed_project.database_types(), "run `make types`"


def test_the_types_name_the_columns_of_a_day() -> None:
    assert set(database_types.PublicTokenUsageDaily.model_fields) >= {"usage_date", "daily_cost_usd", "user_id"}

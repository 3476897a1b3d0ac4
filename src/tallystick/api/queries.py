"""The parameters of the reports over HTTP: those of tallystick.questions, and whose books they are about."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer

from tallystick import questions

UserId = Annotated[UUID, PlainSerializer(str)]


class Query(BaseModel):
    """What every question may say: whose books it is about. Only a service key has to, and only it may name others."""

    model_config = ConfigDict(extra="forbid")

    user_id: UserId | None = Field(None, description="Whose books; left out, the caller's own.")

    @property
    def user(self) -> str | None:
        """The user's id as text."""
        return str(self.user_id) if self.user_id else None


class PageQuery(questions.PageQuery, Query):
    """Which page of a report, and whose."""


class FilterQuery(questions.FilterQuery, Query):
    """Which usage, and whose."""


class ReportQuery(questions.ReportQuery, Query):
    """What a report may be asked, and of whom."""


class RecentQuery(Query):
    """How many of the latest calls."""

    limit: questions.Count = Field(
        100, description="At most so many calls.", json_schema_extra={"minimum": 1, "maximum": 10_000}
    )


class WeekQuery(questions.WeekQuery, Query):
    """The same by week."""

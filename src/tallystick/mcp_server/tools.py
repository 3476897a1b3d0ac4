"""The tools: the reports under the names of the ledger's functions, with the parameters and the answers of HTTP.

What they say of themselves is written for a model that knows nothing of Tallystick and reads one tool at a time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import msgspec
from pydantic import BaseModel, ConfigDict, Field, create_model

from tallystick.answers import (
    BLOCKS,
    DAILY,
    MODELS,
    MONTHLY,
    PROJECTS,
    SESSIONS,
    WEEKLY,
    Document,
    Report,
    answer_limits,
    answer_report,
    answer_session,
    answer_summary,
    answer_verification,
)
from tallystick.ledger import Ledger
from tallystick.objects import (
    BlockRowObject,
    LedgerCheckObject,
    SessionEventObject,
    SessionRowObject,
    UsageLimitObject,
    UsageRowObject,
    list_of,
    report_of,
)
from tallystick.questions import FilterQuery, PageQuery, ReportQuery, Text, WeekQuery

# half a kilobyte a row, of which a model reads every word
DEFAULT_ROWS = 50
MAX_ROWS = 100
MAX_ANSWER_BYTES = 1 << 16
MAX_UNPRICED_MODELS = 50

FIGURES = (
    "Token counts are integers; input_tokens are those neither read from nor written to a cache, and thinking_tokens "
    "are a part of output_tokens. cost_usd is an exact decimal text in US dollars: what the calls cost at the API's "
    "list prices of their day, whatever the user's plan charges. null is not 0: nothing in that row has a price; "
    "unpriced_event_count says how many events the cost lacks. Add costs as decimals, never as floats."
)
RANGE = (
    "since and until are inclusive days of `timezone`, which left out is the ledger's own (time_zone in the answer); "
    "`last` (7d, 4w, 3m) ends today. Names of projects, models, sources and devices must be whole and exact."
)
PAGES = (
    f"The answer has at most `limit` rows ({DEFAULT_ROWS}, at most {MAX_ROWS}), fewer where they are long. Where "
    "`next` is not null there may be more: ask again with the same arguments and `after` set to it, as JSON text. "
    "`totals` are those of the whole report, whatever page it is; unpriced_models names the "
    f"{MAX_UNPRICED_MODELS} with most events."
)

Query = TypeVar("Query", bound=BaseModel)


class Tool(NamedTuple):
    """One tool: what it is called and says of itself, what it reads and answers, and the question it puts."""

    name: str
    title: str
    description: str
    arguments: type[BaseModel]
    answer: type[BaseModel]
    ask: Callable[[Ledger, Any], Document]

    def answer_of(self, ledger: Ledger, query: BaseModel) -> Document:
        """The answer in a size that a model can read: where rows are long, there are fewer of them in a page."""
        while True:
            document = self.ask(ledger, query)
            unpriced = document.get("unpriced_models")
            if isinstance(unpriced, list):
                document["unpriced_models"] = unpriced[:MAX_UNPRICED_MODELS]
            is_short = len(msgspec.json.encode(document)) <= MAX_ANSWER_BYTES
            if is_short or not isinstance(query, PageQuery) or query.limit == 1:
                return document
            query = query.model_copy(update={"limit": query.limit // 2})


class NoArguments(BaseModel):
    """Nothing to say."""

    model_config = ConfigDict(extra="forbid")


class SessionQuery(PageQuery):
    """Which session, and which of its calls."""

    session_id: Text = Field(description="Its id, or a unique beginning of it of at least 4 characters.")


def _in_short_pages(query: type[Query]) -> type[Query]:
    """The same question with pages of a size that a model can read."""
    limit: Any = Field(DEFAULT_ROWS, ge=1, le=MAX_ROWS, description="Rows of a page.")
    short: type[Query] = create_model(query.__name__, __base__=query, limit=(int, limit))
    return short


def _report(
    name: str, report: Report, row: type[BaseModel], says: str, *, arguments: type[ReportQuery] = ReportQuery
) -> Tool:
    def ask(ledger: Ledger, query: ReportQuery) -> Document:
        return answer_report(ledger, report, query)

    return Tool(
        f"usage_{name}",
        f"Usage: {name}",
        f"{says} {RANGE} {PAGES} {FIGURES}",
        _in_short_pages(arguments),
        report_of(f"{name.capitalize()}Report", report.list_name, row),
        ask,
    )


def _ask_session(ledger: Ledger, query: SessionQuery) -> Document:
    return answer_session(ledger, query.session_id, query)


BY = "`by` breaks every row down by model, project, source (which agent), session or device."

_TOOLS = (
    _report("daily", DAILY, UsageRowObject, f"Tokens and cost by day, oldest first; `last` keeps it short. {BY}"),
    _report(
        "weekly",
        WEEKLY,
        UsageRowObject,
        f"Tokens and cost by week, oldest first; a week is named by its first day. {BY}",
        arguments=WeekQuery,
    ),
    _report(
        "monthly",
        MONTHLY,
        UsageRowObject,
        f"Tokens and cost by calendar month, oldest first; a month is named by its first day. {BY}",
    ),
    _report(
        "sessions",
        SESSIONS,
        SessionRowObject,
        "Tokens and cost by session (one conversation with an agent), the one that was quiet longest first; its model, "
        f"project and device are those of its latest call. {BY}",
    ),
    Tool(
        "usage_session",
        "Usage: one session",
        f"The model calls of one session, oldest first, each with its tokens and cost. {RANGE} {PAGES} {FIGURES}",
        _in_short_pages(SessionQuery),
        report_of("SessionReport", "events", SessionEventObject),
        _ask_session,
    ),
    _report(
        "blocks",
        BLOCKS,
        BlockRowObject,
        "Tokens and cost by five-hour block, the window that a plan is limited by, oldest first, with the pauses "
        "(is_gap) between. A range cuts a block at midnight, so for the present ask with last=2d and look at the last "
        f"row, which still runs where is_active is true. Times are UTC. {BY}",
    ),
    _report("models", MODELS, UsageRowObject, f"Tokens and cost by model, in the order of their names. {BY}"),
    _report("projects", PROJECTS, UsageRowObject, f"Tokens and cost by project, in the order of their names. {BY}"),
    Tool(
        "usage_summary",
        "Usage: everything added up",
        "Tokens and cost of everything in the range as one row, each session counted once; zeros where there is "
        f"nothing. {RANGE} {FIGURES}",
        FilterQuery,
        UsageRowObject,
        answer_summary,
    ),
    Tool(
        "usage_limits",
        "Official limits",
        "What providers say themselves of the windows of the user's plans that still run: used_percent of each as "
        "decimal text, when it ends (resets_at, UTC, null where it was not said) and when that was told (observed_at). "
        "Go by these rather than by usage_blocks. An empty list where no agent told.",
        NoArguments,
        list_of("UsageLimits", "limits", UsageLimitObject),
        lambda ledger, _: answer_limits(ledger),
    ),
    Tool(
        "verify_token_usage",
        "Verify the ledger",
        "Prove the ledger: every rule of the books (each total equals its events, each cost its price) with the number "
        "of rows that break it. All is well where every bad_rows is 0. Takes a while on a large ledger.",
        NoArguments,
        list_of("Verification", "checks", LedgerCheckObject),
        lambda ledger, _: answer_verification(ledger),
    ),
)
TOOLS = {tool.name: tool for tool in _TOOLS}

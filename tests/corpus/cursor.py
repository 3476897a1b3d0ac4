"""Exports of Cursor's dashboard, invented."""

from __future__ import annotations

from collections.abc import Iterable

from tests.corpus.histories import Call, History, make_calls

FIRST_HEADER = (
    "Date,Model,Input (w/ Cache Write),Input (w/o Cache Write),Cache Read,Output Tokens,Total Tokens,Cost,Cost to you"
)
HEADER = (
    "Date,Kind,Model,Max Mode,Input (w/ Cache Write),Input (w/o Cache Write),Cache Read,Output Tokens,Total Tokens,Cost"
)
TEAM_HEADER = (
    "Date,User,Cloud Agent ID,Automation ID,Kind,Model,Max Mode,Input (w/ Cache Write),Input (w/o Cache Write),"
    "Cache Read,Output Tokens,Total Tokens,Cost"
)


def row(call: Call, header: str = HEADER, **changes: str) -> str:
    """A row as the export writes it, every field in quotes."""
    tokens = call.tokens
    fields = {
        "Date": call.at_text,
        "Kind": "Included",
        "Model": "claude-4.5-sonnet-thinking",
        "Max Mode": "No",
        "Input (w/ Cache Write)": str(tokens.written),
        "Input (w/o Cache Write)": str(tokens.input),
        "Cache Read": str(tokens.read),
        "Output Tokens": str(tokens.output),
        "Total Tokens": str(tokens.prompt + tokens.output),
        "Cost": "0.25",
        **changes,
    }
    return ",".join(f'"{fields.get(name, "")}"' for name in header.split(","))


def export(rows: Iterable[str], header: str = HEADER) -> bytes:
    return "\n".join([header, *rows]).encode()


def month(seed: int, calls: int) -> History:
    """An export, newest first."""
    made = make_calls(seed, calls)
    return History({f"Downloads/usage-events-{seed}.csv": export(row(call) for call in reversed(made))}, made)

"""What each member of an answer means, with an example: the same name means the same in every answer.

A key `Class.member` is for the one class in which a member means something else.
"""

from __future__ import annotations

from typing import Any, NamedTuple


class Member(NamedTuple):
    """What is said of a member."""

    description: str
    example: Any


_USER = "7b0e4c1a-52f4-4c1a-8a55-0d6f4a7a1b11"

MEMBERS: dict[str, Member] = {
    # labels
    "source": Member(
        "Who reported it: api, claude-code, snapshot, ...; null where the rows are not told apart.", "api"
    ),
    "session_id": Member("The session; null where it is unknown or the rows are not told apart.", "conversation-17"),
    "project": Member("The project; null where it is unknown or the rows are not told apart.", "support-bot"),
    "model": Member("The model; null where it is unknown or the rows are not told apart.", "claude-sonnet-4-5"),
    "device": Member("The machine; null where it is unknown or the rows are not told apart.", "laptop"),
    "SessionRow.device": Member("The machine of the latest call, or the one that the row is of, by device.", "laptop"),
    "BlockRow.models": Member("Every model in the block.", ["claude-sonnet-4-5"]),
    "event_key": Member("The provider's id of the answer, with the provider before it.", "anthropic:msg_01AbCdEf"),
    "user_id": Member("Whose books they are.", _USER),
    "other_source": Member("The source that knows the session call by call.", "claude-code"),
    "is_sidechain": Member("Whether a sub-agent made the call.", False),
    "flags": Member("What is odd about the event: implausible, clock_skew, ...", []),
    # time
    "period_start": Member("The day, or the first day of the week or month; null in reports without.", "2026-11-22"),
    "occurred_at": Member("When the call was made.", "2026-11-22T10:15:00Z"),
    "session_started_at": Member("The first call of the session.", "2026-11-22T10:15:00Z"),
    "last_activity_at": Member("The latest call.", "2026-11-22T10:15:00Z"),
    "first_activity_at": Member("The first call; null in a gap.", "2026-11-22T10:15:00Z"),
    "block_start": Member("Where the block begins.", "2026-11-22T10:00:00Z"),
    "block_end": Member("Where it ends: five hours later, or where a gap ends.", "2026-11-22T15:00:00Z"),
    "is_gap": Member("Whether it is a pause between two blocks.", False),
    "is_active": Member("Whether the block still runs.", True),
    "since": Member("The first day, inclusive.", "2026-11-01"),
    "until": Member("The last day, inclusive.", None),
    "time_zone": Member("The zone whose days these are; null where there are no books yet.", "Europe/Berlin"),
    # counts
    "session_count": Member("Distinct sessions; they do not add up over rows.", 1),
    "event_count": Member("Model calls.", 1),
    "message_count": Member("Messages; one for each call that was reported by itself.", 1),
    "unpriced_event_count": Member("Events without a price; the cost lacks them.", 0),
    "input_tokens": Member("Neither read from nor written to a cache.", 1200),
    "output_tokens": Member("All that is billed as output.", 340),
    "thinking_tokens": Member("How many of the output tokens are thinking.", 0),
    "cache_creation_tokens": Member("Written to a cache.", 0),
    "cache_read_tokens": Member("Read from a cache.", 8000),
    "web_search_requests": Member("Searches that are billed one by one.", 0),
    "cost_usd": Member("US dollars, every digit; null where nothing is priced.", "0.0111"),
    "cost_basis": Member("Where the cost is from: list, custom, reported or unpriced.", "list"),
    # limits
    "UsageLimitRow.source": Member("Which agent was told.", "claude-code"),
    "limit_name": Member("five_hour, seven_day or <n>_minutes, behind a name of the provider's own.", "five_hour"),
    "used_percent": Member("How much of the window is used, in percent.", "23.5"),
    "window_minutes": Member("How long the window is; null where it is unknown.", 300),
    "resets_at": Member("When the window ends, to the minute; null where it is unknown.", "2026-11-22T15:00:00Z"),
    "observed_at": Member("When the provider said so.", "2026-11-22T10:15:00Z"),
    # receipts
    "received": Member("How many came.", 1),
    "new": Member("How many were not known.", 1),
    "revised": Member("How many improved on what was known.", 0),
    "duplicate": Member("How many brought nothing new.", 0),
    "rejected": Member("How many could not be counted.", 0),
    "unpriced": Member("How many of the new ones have no price.", 0),
    "Receipt.rejects": Member("What could not be counted, and why; 20 at most.", []),
    "Receipt.unknown_members": Member("Names in the first event that no event has, and that were passed over.", []),
    "SnapshotReceipt.rejects": Member("Which sessions could not be counted, and why.", []),
    "LimitReceipt.rejects": Member("What could not be counted, and why; 20 at most.", []),
    "record_index": Member("Which of the records sent it was, from 0; null where an older ledger does not say.", 0),
    "RejectedRecord.event_key": Member(
        "What the record gave as its event_key, or as the name of a limit; null where it gave none.",
        "anthropic:msg_01AbCdEf",
    ),
    "position": Member("What the record gave as its `position`, else the digest of the record.", "conversation-17:4"),
    "reason": Member("Why: the name of the rule that it broke.", "time_without_offset"),
    "added": Member("How many rates differ from those in force.", 1),
    "unchanged": Member("How many were in force already.", 0),
    "examined": Member("How many events were looked at.", 120),
    "changed": Member("How many cost something else now.", 2),
    "old_cost_usd": Member("What they cost before.", "1.25"),
    "new_cost_usd": Member("What they cost now.", "1.5"),
    "RerateReceipt.unpriced": Member("How many of those looked at have no price.", 0),
    "next_key": Member("Give it as `after` for the next slice; null where this was the last.", None),
    "ForgetReceipt.events": Member("How many events were erased.", 120),
    "versions": Member("How many superseded states.", 3),
    "ForgetReceipt.rejects": Member("How many notes of rejected records.", 0),
    "ForgetReceipt.sessions": Member("How many sessions.", 4),
    "ForgetReceipt.days": Member("How many days.", 2),
    "more": Member("Whether another slice is left.", False),
    # the books
    "ledger_id": Member("Which ledger it is.", "0d9a3f52-2f1b-4a57-9d0e-5f1c2b3a4d5e"),
    "receipt_count": Member("How many batches these books have taken; 0 where there are none yet.", 17),
    "last_migration": Member("The version of the schema.", "0002_price_list"),
    "check_name": Member("The rule.", "days_equal_their_events"),
    "bad_rows": Member("How many rows break it.", 0),
    "record_count": Member("How many records.", 1),
    "first_seen_at": Member("When the first came.", "2026-11-22T10:15:00Z"),
    "last_seen_at": Member("When one came last.", "2026-11-22T10:15:00Z"),
    "digest": Member("64 hexadecimal digits.", "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"),
    # around the rows of a report
    "totals": Member("What the whole report adds up to, whatever page this is.", None),
    "unpriced_models": Member("The models without a price, most events first.", []),
    "range": Member("The days asked for.", None),
    "by": Member("What the rows are broken down by.", None),
    "next": Member("Give it, as JSON, as `after` for the next page; null where this is the last.", None),
    "checks": Member("The rules.", None),
}


def member_of(class_name: str, member: str) -> Member:
    """What is said of a member; a list of rows needs no words of its own."""
    return MEMBERS.get(f"{class_name}.{member}") or MEMBERS.get(member) or Member("The rows.", None)

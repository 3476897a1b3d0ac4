"""Two users' books side by side, and everything that the one of them can do, for the tests of isolation."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Container, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import psycopg

Db = psycopg.Connection[Any]

# Bob's id is the smaller one: a row of his that got in would come first
ALICE, BOB = "aaaaaaaa-0000-4000-8000-000000000001", "00000000-0000-4000-8000-000000000002"
# the functions that somebody else may call: entries, and the bodies behind them
CALLERS = "n.nspname = 'public' or p.prosecdef"
# takes no p_user_id: each of its records names its user
SNAPSHOTS = "upsert_token_usage"
NOW = "2026-06-20T12:00:00Z"
SNAPSHOT_KEY = "snapshot:session-1:2026-06-11:model-a"
PRICE = {"provider": "test", "valid_from": "2026-01-01", "output_usd_per_mtok": "5", "origin": "test"}


class Function(NamedTuple):
    """One function of ours, with what a call of it needs; the parameters are names and types."""

    schema: str
    name: str
    signature: str
    parameters: list[tuple[str, str]]
    default_count: int

    @property
    def takes_user(self) -> bool:
        return self.name == SNAPSHOTS or any(name == "p_user_id" for name, _ in self.parameters)


def functions(db: Db, where: str) -> list[Function]:
    """The functions of ours for which a condition on `p` (pg_proc) and `n` (pg_namespace) holds."""
    rows = db.execute(
        "select n.nspname, p.proname, p.oid::regprocedure::text, "
        "coalesce(p.proargnames, '{}'), p.proargtypes::regtype[]::text[], p.pronargdefaults "
        "from pg_proc as p join pg_namespace as n on n.oid = p.pronamespace "
        f"where n.nspname in ('public', 'tallystick') and ({where}) order by 3".encode()
    ).fetchall()
    return [
        Function(schema, name, signature, list(zip(names, types, strict=False)), default_count)
        for schema, name, signature, names, types, default_count in rows
    ]


def tables(db: Db, where: str = "true") -> list[str]:
    rows = db.execute(
        "select c.oid::regclass::text from pg_class as c join pg_namespace as n on n.oid = c.relnamespace "
        f"where n.nspname in ('public', 'tallystick') and c.relkind in ('r', 'p', 'v', 'm', 'f') and ({where}) "
        "order by 1".encode()
    ).fetchall()
    return [name for (name,) in rows]


def tables_of_users(db: Db) -> list[str]:
    """The tables whose rows are of a user, who may read them."""
    has_user = "exists (select from pg_attribute as a where a.attrelid = c.oid and a.attname = 'user_id')"
    return tables(db, f"n.nspname = 'public' and {has_user}")


def act_as(db: Db, role: str, user_id: str | None = None) -> None:
    """Be somebody for the rest of the transaction, as PostgREST does it; the role `none` is the owner again."""
    db.execute("select set_config('role', %s, true)", [role])
    claims = json.dumps({"sub": user_id, "role": role}) if user_id else ""
    db.execute("select set_config('request.jwt.claims', %s, true)", [claims])


@contextmanager
def undone(db: Db) -> Iterator[None]:
    """What happens inside leaves nothing, the role included."""
    with db.transaction(force_rollback=True):
        yield


def call(db: Db, function: Function, arguments: dict[str, Any]) -> list[tuple[Any, ...]]:
    """Call by name; a parameter that is not given is null, or its default where it has one."""
    required = len(function.parameters) - function.default_count
    given = [
        (name, kind) for place, (name, kind) in enumerate(function.parameters) if name in arguments or place < required
    ]
    passed = ", ".join(f"{name} => %s::{kind}" for name, kind in given)
    query = f"select * from {function.schema}.{function.name}({passed})"
    return db.execute(query.encode(), [arguments.get(name) for name, _ in given]).fetchall()


def error_of(db: Db, statement: str) -> psycopg.Error | None:
    try:
        with db.transaction(force_rollback=True):
            db.execute(statement.encode())
    except psycopg.Error as error:
        return error
    return None


def refusal(db: Db, function: Function, user_id: str | None) -> tuple[Any, ...] | None:
    """All that a caller learns from the refusal of a call for somebody, None where it is not refused."""
    try:
        with db.transaction(force_rollback=True):
            call(db, function, for_user(function.name, user_id, {}) if function.takes_user else {})
    except psycopg.Error as error:
        told = error.diag
        return error.sqlstate, told.constraint_name, told.message_primary, told.message_hint, told.message_detail
    return None


def assert_refused(db: Db, function: Function) -> None:
    """Alice is refused whether or not there is a Bob, as the function is granted and also were it granted to all."""
    rule = "caller_is_service" if function.name in OF_THE_SERVICE else "caller_is_the_user"
    with undone(db):
        for grant in (False, True):
            if grant:
                db.execute(f"grant execute on function {function.signature} to authenticated".encode())
                db.execute("grant execute on all functions in schema tallystick to authenticated")
            act_as(db, "authenticated", ALICE)
            told = refusal(db, function, BOB)
            assert told is not None, f"{function.signature} works for Bob"
            assert told[:2] == ("PT403", rule) or (told[0] == "42501" and not grant), (function.signature, told)
            assert told == refusal(db, function, unknown_user()), f"{function.signature} tells whether Bob is there"
            assert BOB not in str(told)
            act_as(db, "none")


def entry(db: Db, name: str, **arguments: Any) -> list[tuple[Any, ...]]:
    """Call a function of `public` by its name."""
    passed = ", ".join(f"{argument} => %s" for argument in arguments)
    return db.execute(f"select * from public.{name}({passed})".encode(), list(arguments.values())).fetchall()


def for_user(name: str, user_id: str | None, arguments: dict[str, Any]) -> dict[str, Any]:
    """The arguments of a call for a user, who stands beside them or, for snapshots, in each of them."""
    if name != SNAPSHOTS:
        return {"p_user_id": user_id, **arguments}
    session_data = [{**totals, "user_id": user_id} for totals in arguments.get("session_data", [snapshot(1)])]
    return {**arguments, "session_data": json.dumps(session_data)}


def snapshot(tens: int, **members: Any) -> dict[str, Any]:
    """The running totals of a session after so many times ten of everything."""
    counts = ("input_tokens", "output_tokens", "cache_creation_tokens", "cache_read_tokens", "message_count")
    return {
        "session_id": "session-1",
        "model_used": "model-a",
        "session_started_at": "2026-06-11T08:00:00Z",
        "estimated_cost_usd": "0.5",
        **dict.fromkeys(counts, 10 * tens),
        **members,
    }


def snapshots(*totals: dict[str, Any], on: str = "2026-06-11") -> tuple[str, str, dict[str, Any]]:
    """One of WRITES."""
    return "authenticated", SNAPSHOTS, {"session_data": totals, "daily_data": json.dumps({"usage_date": on})}


def correction(event_key: str, **members: Any) -> tuple[str, str, dict[str, Any]]:
    """One of WRITES."""
    return "service_role", "correct_token_usage", {"p_corrections": json.dumps([{"event_key": event_key, **members}])}


def observation(number: int, **members: Any) -> dict[str, Any]:
    return {
        "event_key": f"test:{number}",
        "occurred_at": f"2026-06-10T{7 + number:02}:10:00Z",
        "source": "one",
        "provider": "test",
        "model": ("model-a", "model-b", "nobody-knows")[number % 3],
        "session_id": f"session-{number % 2}",
        "project": f"project-{number % 2}",
        "device": "desk",
        "input_tokens": 1000 + number,
        "output_tokens": 100 + number,
        **members,
    }


def chain(first: datetime, count: int) -> list[dict[str, Any]]:
    """Calls every four hours, so that each block hangs on the one before."""
    return [
        observation(100 + step, occurred_at=(first + step * timedelta(hours=4)).isoformat(), session_id="chain")
        for step in range(count)
    ]


def price(model: str, input_usd_per_mtok: str) -> dict[str, str]:
    return {**PRICE, "model": model, "input_usd_per_mtok": input_usd_per_mtok}


def api_key(prefix: str) -> dict[str, Any]:
    digest = hashlib.sha256(prefix.encode()).hexdigest()
    return {"p_name": "a key", "p_prefix": prefix, "p_digest": digest, "p_scopes": ["ingest"]}


def limits(*percents: int, **members: Any) -> dict[str, Any]:
    """Arguments of observe_usage_limits: so much of one window at a time, from ten o'clock on."""
    told = [
        {
            "source": "one",
            "limit_name": "five_hour",
            "used_percent": percent,
            "observed_at": f"2026-06-20T{10 + number}:10:00Z",
            "resets_at": "2026-06-20T15:00:00Z",
            "device": "desk",
            **members,
        }
        for number, percent in enumerate(percents)
    ]
    return {"p_limits": json.dumps(told)}


def ingest(db: Db, user_id: str, batch: list[dict[str, Any]]) -> None:
    entry(db, "ingest_token_usage", p_user_id=user_id, p_events=json.dumps(batch))


def open_books(db: Db) -> None:
    """Prices for everybody, a service key, the clock, and names that are written out in full."""
    db.execute("set local search_path = ''")
    db.execute("select set_config('tallystick.now', %s, true)", [NOW])
    entry(db, "add_token_prices", p_prices=json.dumps([price("model-a", "3")]))
    entry(db, "create_api_key", p_user_id=None, **api_key("tly_service"))


def keep_alices_books(db: Db) -> None:
    ingest(db, ALICE, [observation(1, output_tokens=1)])
    entry(db, "set_time_zone", p_user_id=ALICE, p_time_zone="Europe/Berlin")
    own = [price("model-b", "7"), price("dated", "2")]
    entry(db, "add_token_prices", p_prices=json.dumps(own), p_user_id=ALICE)
    batch = [
        *(observation(number) for number in range(1, 9)),
        observation(9, occurred_at="2026-06-10T03:10:00Z", model="dated-2026-01-01"),
        observation(10, input_tokens=-1, position="a:1"),
        *chain(datetime(2026, 6, 12, 0, 10, tzinfo=UTC), 15),
    ]
    ingest(db, ALICE, batch)
    entry(db, "observe_usage_limits", p_user_id=ALICE, **limits(10, 20))


def keep_bobs_books(db: Db) -> None:
    """Books that would show up in Alice's, wherever hers were not told from his.

    The same keys and labels with other counts, times before, between and after hers, sessions that begin like hers,
    totals that were corrected sooner than hers, prices for what she has none for, and damage: an event on a wrong day,
    and a version of no event.
    """
    entry(db, "make_account", p_user_id=BOB, p_time_zone="America/Los_Angeles")
    own = [
        {**price(model, "11"), "valid_from": since}
        for model in ("model-a", "model-b", "nobody-knows", "dated-2026-01-01")
        for since in ("2026-01-01", "2026-02-01")
    ]
    entry(db, "add_token_prices", p_prices=json.dumps(own), p_user_id=BOB)
    entry(db, "create_api_key", p_user_id=BOB, **api_key("tly_bob"))
    ingest(db, BOB, [observation(number, output_tokens=1) for number in range(1, 4)])
    batch = [
        *(observation(number, input_tokens=5000, output_tokens=700, device="lap") for number in range(1, 16)),
        *(observation(number, occurred_at=f"2026-06-{number}T05:40:00Z", device="lap") for number in range(16, 20)),
        observation(4, output_tokens=800, model="nobody-else"),
        *(observation(number, occurred_at=f"2026-06-09T{number}:00:00Z") for number in (20, 21)),
        observation(22, occurred_at="2026-06-10T05:10:00Z"),
        observation(23, occurred_at="2026-06-11T21:10:00Z"),
        observation(30, session_id="session-12", occurred_at="2026-06-09T20:00:00Z"),
        observation(31, session_id="session-77", project="project-0", occurred_at="2026-06-10T09:30:00Z"),
        observation(32, source="two", occurred_at="2026-06-10T12:30:00Z"),
        observation(10, input_tokens=-1, position="b:1"),
        observation(11, input_tokens=-1, position="a:1"),
        *chain(datetime(2026, 6, 12, 2, 10, tzinfo=UTC), 15),
    ]
    ingest(db, BOB, batch)
    entry(db, "observe_usage_limits", p_user_id=BOB, **limits(20, 30, 40, device="lap"))
    for _, name, arguments in (
        snapshots(snapshot(3)),
        correction(SNAPSHOT_KEY, input_tokens=7),
        snapshots(snapshot(9)),
    ):
        entry(db, name, **for_user(name, BOB, arguments))
    db.execute("update public.token_usage_events set usage_date = '2026-06-01' where event_key = 'test:32'")
    db.execute("update public.token_usage_event_versions set event_key = 'nobody' where event_key = 'test:3'")


def rows_of(db: Db, user_id: str, *, with_keys: bool = True) -> dict[str, list[Any]]:
    """Every row of a user, without numbers that a sequence or chance gave; the keys are for the owner alone to read."""
    found = {}
    for table in [*tables_of_users(db), *(["tallystick.api_keys"] if with_keys else [])]:
        query = f"select to_jsonb(t) - 'price_id' - 'key_id' from {table} as t where user_id = %s order by 1"
        found[table] = [line for (line,) in db.execute(query.encode(), [user_id])]
    return found


REPORTS: list[tuple[str, dict[str, Any]]] = [
    *((name, {}) for name in ("usage_daily", "usage_weekly", "usage_monthly", "usage_models", "usage_projects")),
    *(("usage_daily", {"p_by": by}) for by in ("model", "project", "source", "session", "device")),
    ("usage_daily", {"p_time_zone": "Asia/Tokyo"}),
    ("usage_daily", {"p_time_zone": "Asia/Tokyo", "p_by": "session"}),
    ("usage_models", {"p_sessions": ["session-1"]}),
    *(
        ("usage_sessions", arguments)
        for arguments in ({}, {"p_since": "2026-06-12"}, {"p_by": "model"}, {"p_limit": 1})
    ),
    ("usage_sessions", {"p_time_zone": "Asia/Tokyo", "p_models": ["model-a"]}),
    ("usage_session", {"p_session_id": "session-1"}),
    ("usage_session", {"p_session_id": "session-1", "p_time_zone": "Asia/Tokyo"}),
    ("usage_sessions", {"p_by": "device"}),
    ("usage_session", {"p_session_id": "sess"}),
    ("usage_session", {"p_session_id": "session-1", "p_devices": ["desk"]}),
    ("usage_session", {"p_session_id": "session-7"}),
    ("usage_session", {"p_session_id": "session-12"}),
    ("usage_blocks", {}),
    ("usage_blocks", {"p_by": "device"}),
    ("usage_models", {"p_devices": ["desk"]}),
    ("usage_blocks", {"p_since": "2026-06-14", "p_until": "2026-06-14"}),
    ("usage_events", {"p_event_keys": [f"test:{number}" for number in range(120)]}),
    ("usage_recent", {}),
    ("usage_recent", {"p_limit": 2}),
    ("usage_summary", {}),
    ("usage_summary", {"p_models": ["model-a"], "p_since": "2026-06-11"}),
    ("usage_summary", {"p_time_zone": "Asia/Tokyo"}),
    ("usage_limits", {}),
    ("usage_rejects", {}),
    ("usage_double_sessions", {}),
    ("ledger_state", {}),
    ("verify_token_usage", {}),
    ("ledger_digest", {}),
]

# what takes no user, and all that the service role alone may do
OF_THE_LEDGER = {"only_account", "renew_ledger_id", "revoke_api_key"}
OF_THE_SERVICE = OF_THE_LEDGER | {"create_api_key", "api_keys", "admit_key", "admit_user"}

WRITES: list[tuple[str, str, dict[str, Any]]] = [
    ("authenticated", "make_account", {"p_time_zone": "UTC"}),
    (
        "authenticated",
        "ingest_token_usage",
        {
            "p_events": json.dumps(
                [
                    observation(2, output_tokens=900),  # a better count
                    observation(3, occurred_at="2026-06-09T01:00:00Z", project="moved"),  # an earlier time
                    observation(4),  # nothing new
                    *(observation(number) for number in (13, 14, 15)),  # Bob has these keys already
                    observation(10, input_tokens=-1, position="a:1"),
                    observation(11, input_tokens=-1, position="b:1"),
                ]
            )
        },
    ),
    ("authenticated", "add_token_prices", {"p_prices": json.dumps([price("nobody-knows", "11")])}),
    ("service_role", "rerate_token_usage", {"p_limit": 4}),
    ("service_role", "rerate_token_usage", {"p_limit": 100, "p_from": "2026-06-10"}),
    correction("test:5", project="corrected", input_tokens=1),
    correction("test:16"),
    snapshots(snapshot(1)),
    snapshots(snapshot(2), snapshot(1, session_id="session-2"), snapshot(-1)),
    correction(SNAPSHOT_KEY, input_tokens=1),
    snapshots(snapshot(4), on="2026-06-12"),
    snapshots(snapshot(3)),  # less than before
    # the first is known, Bob has the second, and nobody the third
    ("authenticated", "observe_usage_limits", limits(20, 30, 50)),
    ("service_role", "create_api_key", api_key("tly_alice")),
    ("authenticated", "set_time_zone", {"p_time_zone": "Asia/Tokyo"}),
    ("authenticated", "forget_token_usage", {"p_project": "project-1", "p_limit": 2}),
    ("authenticated", "forget_token_usage", {"p_project": "project-1"}),
    ("authenticated", "forget_token_usage", {}),
    ("service_role", "api_keys", {}),
]


def outcome(db: Db, role: str, name: str, arguments: dict[str, Any]) -> Any:
    """What Alice gets: the rows, or the error as she sees it."""
    try:
        with db.transaction():
            act_as(db, role, ALICE if role == "authenticated" else None)
            rows = entry(db, name, **for_user(name, ALICE, arguments))
            act_as(db, "none")
            return [tuple(map(without_chance, row)) for row in rows]
    except psycopg.Error as error:
        return error.sqlstate, error.diag.constraint_name, error.diag.message_primary


def without_chance(value: Any) -> Any:
    """An id that is no user's is another one each time."""
    return "an id" if isinstance(value, uuid.UUID) and str(value) not in (ALICE, BOB) else value


def reports_of_alice(db: Db, names: Container[str] | None = None) -> Iterator[tuple[str, Any]]:
    """What she gets for each of REPORTS, or for those of some names."""
    for name, arguments in REPORTS:
        if names is None or name in names:
            yield name, outcome(db, "authenticated", name, arguments)


def writes_of_alice(db: Db) -> Iterator[tuple[str, Any]]:
    """What she gets for each of WRITES, and what her books are then, from the day on that she has none."""
    yield "nothing yet", outcome(db, "authenticated", "verify_token_usage", {})
    keep_alices_books(db)
    yield "kept", rows_of(db, ALICE)
    for role, name, arguments in WRITES:
        yield name, outcome(db, role, name, arguments)
        yield name, rows_of(db, ALICE)


def unknown_user() -> str:
    return str(uuid.uuid4())

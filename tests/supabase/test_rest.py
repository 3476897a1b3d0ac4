"""The ledger through Supabase's REST: with a secret key, as a signed-in user, and with a publishable key alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

import httpx
import psycopg
import pytest
from postgrest import APIError

from tallystick.database_types import PublicUsageRow
from tests.sql.two_users import REPORTS, WRITES, for_user, observation, price, tables_of_users
from tests.supabase.project import PUBLISHABLE_KEY, SECRET_KEY, Api, SignedInUser

if TYPE_CHECKING:
    from supabase import Client

# what supabase-py does to its own postgrest
pytestmark = pytest.mark.filterwarnings(
    "ignore:The '(timeout|verify|proxy)' parameter is deprecated:DeprecationWarning"
)

REPORT_NAMES = sorted({name for name, _ in REPORTS})
# by whom a request may be refused: a function of ours, or Postgres before one is reached
REFUSALS = {"PT403", "42501"}
BROWSER = {"User-Agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0"}


class Books(NamedTuple):
    """Two signed-in users whose books hold the same keys and labels with other counts, and who sees both."""

    alice: SignedInUser
    bob: SignedInUser
    service: Client
    tables: list[str]


def outcome(client: Client, name: str, arguments: dict[str, Any]) -> Any:
    """What a call answers, or its error as the caller sees it."""
    try:
        return client.rpc(name, arguments).execute().data
    except APIError as error:
        return error.code, error.message, error.hint


def as_json(arguments: dict[str, Any]) -> dict[str, Any]:
    """The arguments as REST takes them: what is JSON is sent as it is, and not as a text that holds it."""
    return {
        name: json.loads(value) if isinstance(value, str) and value.startswith(("[", "{")) else value
        for name, value in arguments.items()
    }


def refusal(call: Callable[[], Any]) -> str:
    """The code of the error that a request must end with."""
    with pytest.raises(APIError) as error:
        call()
    return str(error.value.code)


def keep_books(service: Client, user: SignedInUser, *, output_tokens: int) -> None:
    """Rows in every table: a call revised, one rejected, one without a price, an own price, and a plan's limit."""
    own_price = price("model-a", str(output_tokens))
    service.rpc("add_token_prices", {"p_prices": [own_price], "p_user_id": user.user_id}).execute()
    batches = [
        [observation(1, output_tokens=1)],
        [
            *(observation(number, output_tokens=output_tokens + number) for number in range(1, 9)),
            observation(9, input_tokens=-1, position="a:1"),
        ],
    ]
    for batch in batches:
        service.rpc("ingest_token_usage", {"p_user_id": user.user_id, "p_events": batch}).execute()
    now = datetime.now(UTC)
    limit = {
        "source": "codex",
        "limit_name": "five_hour",
        "used_percent": output_tokens / 10,
        "resets_at": (now + timedelta(hours=4)).isoformat(),
        "observed_at": now.isoformat(),
    }
    service.rpc("observe_usage_limits", {"p_user_id": user.user_id, "p_limits": [limit]}).execute()


@pytest.fixture(scope="module")
def books(api: Api, superuser_of_api: psycopg.Connection[Any]) -> Books:
    service = api.client(SECRET_KEY)
    alice, bob = api.sign_up("alice@example.com"), api.sign_up("bob@example.com")
    keep_books(service, alice, output_tokens=500)
    keep_books(service, bob, output_tokens=700)
    names = [table.removeprefix("public.") for table in tables_of_users(superuser_of_api)]
    assert len(names) > 8
    return Books(alice, bob, service, names)


def test_the_same_batch_again_changes_nothing(api: Api, new_user: Callable[[], SignedInUser]) -> None:
    service, user = api.client(SECRET_KEY), new_user()
    batch = {"p_user_id": user.user_id, "p_events": [observation(number) for number in range(5)]}
    counted = {"received": 5, "new": 5, "revised": 0, "duplicate": 0, "rejected": 0, "unpriced": 5}
    assert service.rpc("ingest_token_usage", batch).execute().data == counted
    again = service.rpc("ingest_token_usage", batch).execute().data
    assert (again["new"], again["duplicate"]) == (0, 5)


def test_a_signed_in_user_may_report_for_themselves(new_user: Callable[[], SignedInUser]) -> None:
    user = new_user()
    batch = {"p_user_id": user.user_id, "p_events": [observation(1)]}
    assert user.client.rpc("ingest_token_usage", batch).execute().data["new"] == 1
    assert [day["event_count"] for day in user.client.rpc("usage_daily", {}).execute().data] == [1]


def test_money_is_text_and_exact(api: Api, new_user: Callable[[], SignedInUser]) -> None:
    service, user = api.client(SECRET_KEY), new_user()
    # a rate with more digits than a float has
    rate = Decimal("0.1234567890123456789")
    own_price = price("exact", str(rate)) | {"output_usd_per_mtok": "0"}
    service.rpc("add_token_prices", {"p_prices": [own_price], "p_user_id": user.user_id}).execute()
    batch = [observation(number, model="exact", session_id="one", input_tokens=10**9 + number) for number in range(3)]
    service.rpc("ingest_token_usage", {"p_user_id": user.user_id, "p_events": batch}).execute()
    expected = sum(10**9 + number for number in range(3)) * rate / 10**6
    (day,) = user.client.rpc("usage_daily", {}).execute().data
    assert isinstance(day["cost_usd"], str)
    assert Decimal(day["cost_usd"]) == expected
    assert PublicUsageRow.model_validate(day).cost_usd == day["cost_usd"]
    rows = user.client.table("token_usage_sessions").select("estimated_cost_usd::text").execute().data
    assert [Decimal(row["estimated_cost_usd"]) for row in rows] == [expected]


def test_a_signed_in_user_reads_the_own_rows_of_every_table_and_nobody_elses(books: Books) -> None:
    for table in books.tables:
        stored = books.service.table(table).select("*").eq("user_id", books.alice.user_id).execute().data
        others = books.service.table(table).select("*").eq("user_id", books.bob.user_id).execute().data
        assert stored, table
        assert others, table
        seen = books.alice.client.table(table).select("*").not_.is_("user_id", "null").execute().data
        assert sorted(map(str, seen)) == sorted(map(str, stored)), table
        asked = books.alice.client.table(table).select("*").eq("user_id", books.bob.user_id).execute().data
        assert asked == [], table


@pytest.mark.parametrize("name", REPORT_NAMES)
def test_a_report_answers_a_signed_in_user_about_the_own_books_only(books: Books, name: str) -> None:
    answers = []
    for arguments in (arguments for report, arguments in REPORTS if report == name):
        own = outcome(books.alice.client, name, arguments)
        assert own == outcome(books.service, name, arguments | {"p_user_id": books.alice.user_id})
        answers.append((own, outcome(books.service, name, arguments | {"p_user_id": books.bob.user_id})))
        refused = outcome(books.alice.client, name, arguments | {"p_user_id": books.bob.user_id})
        assert refused[0] == "PT403"
        assert "own books" in refused[1]
        assert "p_user_id" in refused[2]
    # the two have the same labels and other counts; what holds no counts is alike
    assert name in {"verify_token_usage", "ledger_state", "usage_double_sessions"} or any(
        own != others for own, others in answers
    )


def test_no_function_works_for_another(books: Books) -> None:
    digest = {"p_user_id": books.bob.user_id}
    before = books.service.rpc("ledger_digest", digest).execute().data
    for _, name, arguments in WRITES:
        told = outcome(books.alice.client, name, as_json(for_user(name, books.bob.user_id, arguments)))
        assert told[0] in REFUSALS, (name, told)
    assert books.service.rpc("ledger_digest", digest).execute().data == before


def test_nobody_writes_a_table(api: Api, books: Books) -> None:
    for client in (books.alice.client, books.service, api.client(PUBLISHABLE_KEY)):
        for table in books.tables:
            row = {"user_id": books.alice.user_id}
            rows = client.table(table)
            assert refusal(lambda rows=rows, row=row: rows.insert(row).execute()) == "42501", table
            assert refusal(lambda rows=rows, row=row: rows.upsert(row).execute()) == "42501", table
            own = ("user_id", books.alice.user_id)
            assert refusal(lambda rows=rows, row=row, own=own: rows.update(row).eq(*own).execute()) == "42501", table
            assert refusal(lambda rows=rows, own=own: rows.delete().eq(*own).execute()) == "42501", table


def test_the_publishable_key_alone_reads_and_calls_nothing(api: Api, books: Books) -> None:
    anybody = api.client(PUBLISHABLE_KEY)
    for table in books.tables:
        assert refusal(lambda table=table: anybody.table(table).select("*").execute()) == "42501", table
    for name, arguments in REPORTS:
        told = outcome(anybody, name, arguments)
        assert told[0] == "42501", (name, told)
    for name, arguments in [*REPORTS, *((name, arguments) for _, name, arguments in WRITES)]:
        told = outcome(anybody, name, as_json(for_user(name, books.alice.user_id, arguments)))
        assert told[0] == "42501", (name, told)


def test_schemas_beside_public_are_not_exposed(books: Books) -> None:
    for schema, table in (("tallystick", "ledger"), ("auth", "users")):
        assert refusal(lambda s=schema, t=table: books.service.schema(s).table(t).select("*").execute()) == "PGRST106"


@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        ("ingest_token_usage", {"p_events": {"not": "a list"}}, (400, "Pass a list")),
        ("usage_daily", {"p_since": "2026-06-02", "p_until": "2026-06-01"}, (400, "swap")),
        ("usage_daily", {"p_time_zone": "Mars/Olympus"}, (400, "IANA")),
        ("usage_session", {"p_session_id": "nowhere"}, (404, "whole id")),
        ("usage_session", {"p_session_id": "sess"}, (409, "more of the id")),
        ("ingest_token_usage", {"p_events": [{}] * 20001}, (413, "smaller")),
    ],
)
def test_an_error_is_an_http_status_with_its_code_and_a_hint(
    api: Api, books: Books, name: str, arguments: dict[str, Any], expected: tuple[int, str]
) -> None:
    status, hint = expected
    asked = {"p_user_id": books.alice.user_id, **arguments}
    url = f"{api.url}/rest/v1/rpc/{name}"
    answer = httpx.post(url, headers={"apikey": SECRET_KEY}, json=asked, timeout=30)
    told = answer.json()
    assert (answer.status_code, told["code"]) == (status, f"PT{status}")
    assert told["message"]
    assert hint in told["hint"]


def test_pages_go_on_after_the_thousand_rows_that_an_answer_is_cut_off_at(
    api: Api, new_user: Callable[[], SignedInUser]
) -> None:
    service, user = api.client(SECRET_KEY), new_user()
    batch = [observation(1) | {"event_key": f"test:{n}", "session_id": f"s{n:05}"} for n in range(2300)]
    service.rpc("ingest_token_usage", {"p_user_id": user.user_id, "p_events": batch}).execute()
    found: list[dict[str, Any]] = []
    sizes = []
    while True:
        after = {"p_after": found[-1]} if found else {}
        page = user.client.rpc("usage_sessions", {"p_limit": 10000, **after}).execute().data
        sizes.append(len(page))
        if not page:
            break
        found += page
    assert sizes == [1000, 1000, 300, 0]
    assert len({row["session_id"] for row in found}) == 2300


def test_a_secret_key_alone_in_apikey_is_enough_and_a_browser_is_refused(api: Api, books: Books) -> None:
    url = f"{api.url}/rest/v1/rpc/ledger_state"
    asked = {"p_user_id": books.alice.user_id}
    assert httpx.post(url, headers={"apikey": SECRET_KEY}, json=asked).status_code == 200
    assert httpx.post(url, headers={"apikey": SECRET_KEY, **BROWSER}, json=asked).status_code == 401
    assert httpx.post(url, headers={"Authorization": f"Bearer {SECRET_KEY}"}, json=asked).status_code == 401
    assert httpx.post(url, headers={"apikey": SECRET_KEY + "x"}, json=asked).status_code == 401


def test_the_token_of_a_user_beats_a_secret_key_beside_it(api: Api, books: Books) -> None:
    headers = {"apikey": SECRET_KEY, "Authorization": f"Bearer {books.alice.token}"}
    rows = httpx.get(f"{api.url}/rest/v1/token_usage_accounts", headers=headers).json()
    assert [row["user_id"] for row in rows] == [books.alice.user_id]


def test_a_report_can_be_asked_for_with_get(books: Books) -> None:
    arguments = {"p_since": "2026-06-01", "p_by": "model"}
    asked = books.alice.client.rpc("usage_daily", arguments, get=True).execute().data
    assert asked == books.alice.client.rpc("usage_daily", arguments).execute().data != []

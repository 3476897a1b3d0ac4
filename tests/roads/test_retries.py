"""What passes is tried again, after a pause, a few times, and counts once; what does not pass is told at once."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
import stamina

from tallystick.errors import (
    Busy,
    Conflict,
    Forbidden,
    InvalidRequest,
    LedgerError,
    LedgerNotInstalled,
    LedgerUnavailable,
    NotFound,
    RateLimited,
    TooMuch,
    Unauthorized,
    UnreadableBatch,
)
from tallystick.ledger import ATTEMPTS, Ledger
from tallystick.model import Receipt, UsageFilter
from tallystick.retrying import FIRST_PAUSE_S
from tallystick.sqlstates import error_of
from tests.roads.faulty import Fault, FaultyServer, faulty
from tests.roads.places import Place, token_of
from tests.supabase.project import PUBLISHABLE_KEY, SECRET_KEY
from tests.surface.records import batch_of, key_of, observation

EVERYTHING = UsageFilter()
HTTP_ROADS = ("server", "supabase")
HTML = "<html><body>Bad gateway</body></html>"


def told(status: int, code: str) -> Fault:
    """An answer of PostgREST's."""
    return Fault(status, json.dumps({"code": code, "message": "what it says", "details": None, "hint": None}))


def problem(status: int, constraint: str = "") -> Fault:
    """An answer of a Tallystick server's."""
    members = {"title": "x", "status": status, "detail": "what it says", "hint": "what to do"}
    members["constraint"] = constraint
    return Fault(status, json.dumps(members), "application/problem+json", (("Retry-After", "1"),))


# by which road, what comes, and what it is told as where it does not pass
PASSING = {
    "a gateway that reaches nobody": (HTTP_ROADS, Fault(502, HTML, "text/html"), LedgerUnavailable),
    "a gateway that is full": (HTTP_ROADS, Fault(503, "busy", "text/plain"), Busy),
    "a gateway that waited in vain": (HTTP_ROADS, Fault(504), LedgerUnavailable),
    "Cloudflare's unknown error": (HTTP_ROADS, Fault(520, HTML, "text/html"), LedgerUnavailable),
    "Cloudflare's dead origin": (HTTP_ROADS, Fault(522, HTML, "text/html"), LedgerUnavailable),
    "too many requests": (HTTP_ROADS, Fault(429, "", "text/plain", (("Retry-After", "1"),)), RateLimited),
    "a connection that is closed": (HTTP_ROADS, Fault(), LedgerUnavailable),
    "an answer that is lost": (HTTP_ROADS, Fault(is_passed_on=True), LedgerUnavailable),
    "an answer that a gateway loses": (HTTP_ROADS, Fault(502, is_passed_on=True), LedgerUnavailable),
    "a server whose database is gone": (("server",), problem(503), Busy),
    "a server that gave up": (("server",), problem(504), LedgerUnavailable),
    "PostgREST without a database": (("supabase",), told(503, "PGRST000"), LedgerUnavailable),
    "PostgREST that lost its database": (("supabase",), told(503, "PGRST001"), LedgerUnavailable),
    "PostgREST that still reads the schema": (("supabase",), told(503, "PGRST002"), LedgerUnavailable),
    "PostgREST without a free connection": (("supabase",), told(504, "PGRST003"), LedgerUnavailable),
    "a serialization failure": (("supabase",), told(500, "40001"), Busy),
    "a deadlock": (("supabase",), told(500, "40P01"), Busy),
    "a lock not had in time": (("supabase",), told(400, "55P03"), Busy),
    "too many connections": (("supabase",), told(503, "53300"), LedgerUnavailable),
    "a shutdown": (("supabase",), told(500, "57P01"), LedgerUnavailable),
    "a broken connection": (("supabase",), told(503, "08006"), LedgerUnavailable),
}
LASTING = {
    "no such address": (HTTP_ROADS, Fault(404, HTML, "text/html"), NotFound),
    "a moved address": (HTTP_ROADS, Fault(301, "", "text/html", (("Location", "https://elsewhere/"),)), LedgerError),
    "a page of another program": (HTTP_ROADS, Fault(200, HTML, "text/html"), LedgerError),
    "JSON of another program": (HTTP_ROADS, Fault(200, '["hello"]'), LedgerError),
    "no leave": (HTTP_ROADS, Fault(403, HTML, "text/html"), Forbidden),
    "a wrong key": (HTTP_ROADS, Fault(401, "{}"), Unauthorized),
    "a wait that is too long": (HTTP_ROADS, Fault(429, "", "text/plain", (("Retry-After", "3600"),)), RateLimited),
    "a refused argument": (("server",), problem(400), InvalidRequest),
    "a forbidden one": (("server",), problem(403), Forbidden),
    "something that is not there": (("server",), problem(404), NotFound),
    "a conflict": (("server",), problem(409), Conflict),
    "a token that has expired": (("supabase",), told(401, "PGRST303"), Unauthorized),
    "a function that is not there": (("supabase",), told(404, "PGRST202"), LedgerNotInstalled),
    "a schema that is not exposed": (("supabase",), told(406, "PGRST106"), LedgerNotInstalled),
    "a right that is not had": (("supabase",), told(403, "42501"), Forbidden),
    "a broken rule": (("supabase",), told(400, "23514"), LedgerError),
    "a mistake of SQL's": (("supabase",), told(400, "42601"), LedgerError),
    "a refusal of ours": (("supabase",), told(400, "PT400"), InvalidRequest),
    "a conflict of ours": (("supabase",), told(409, "PT409"), Conflict),
}


CUT = [
    Fault(),
    *(Fault(cut_at=part, is_length_told=told) for part in (0, 0.6) for told in (True, False)),
]


def by_road(cases: dict[str, tuple[tuple[str, ...], Fault, type[LedgerError]]]) -> list[object]:
    return [
        pytest.param(road, (fault, kind), id=f"{road}-{what}")
        for what, (roads, fault, kind) in cases.items()
        for road in roads
    ]


def front_of(place: Place, road: str) -> Iterator[FaultyServer]:
    with faulty(place.server_url if road.startswith("server") else place.supabase_url) as server:
        yield server


@pytest.fixture
def front(place: Place, road: str) -> Iterator[FaultyServer]:
    """What stands before the ledger on this road."""
    yield from front_of(place, road)


@pytest.fixture
def hurried() -> Iterator[None]:
    """Without the pauses, for what is not about them."""
    with stamina.set_testing(True, attempts=ATTEMPTS):
        yield


@pytest.mark.usefixtures("hurried")
@pytest.mark.parametrize(("road", "case"), by_road(PASSING))
def test_what_passes_is_tried_again_and_counts_once(
    place: Place, user_id: str, front: FaultyServer, road: str, case: tuple[Fault, type[LedgerError]]
) -> None:
    fault, kind = case
    batch = batch_of(*(observation(number) for number in range(5)))
    with place.open(road, user_id, attempts=ATTEMPTS, url=front.url) as ledger:
        front.faults += [fault, fault]
        receipt = ledger.ingest_token_usage(batch)
        assert (receipt.received, receipt.new + receipt.duplicate) == (5, 5)
        assert receipt.duplicate == (5 if fault.is_passed_on else 0)
        assert len(front.asked) == 3
        assert len({asked.body for asked in front.asked}) == 1
        front.faults += [fault]
        assert ledger.usage_summary(EVERYTHING).event_count == 5
        front.asked.clear()
        front.always = fault._replace(is_passed_on=False)
        with pytest.raises(LedgerError) as refusal:
            ledger.ledger_digest()
    assert type(refusal.value) is kind
    assert refusal.value.hint
    assert len(front.asked) == ATTEMPTS


@pytest.mark.usefixtures("hurried")
@pytest.mark.parametrize("fault", CUT)
@pytest.mark.parametrize("road", HTTP_ROADS)
def test_an_answer_that_is_cut_is_a_connection_that_broke(
    place: Place, user_id: str, front: FaultyServer, road: str, fault: Fault
) -> None:
    over_sql = error_of("57P01", "terminating connection due to administrator command")
    with place.open(road, user_id, attempts=ATTEMPTS, url=front.url) as ledger:
        front.faults += [fault]
        assert ledger.ingest_token_usage(batch_of(observation(1))).duplicate == (fault.cut_at is not None)
        for ask in (ledger.ledger_digest, ledger.ledger_state, lambda: ledger.usage_daily(EVERYTHING)):
            front.asked.clear()
            front.faults += [fault]
            assert ask()
            assert len(front.asked) == 2
        front.always = fault
        with pytest.raises(LedgerUnavailable) as refusal:
            ledger.usage_summary(EVERYTHING)
    assert refusal.value.message.partition(": ")[0] == over_sql.message.partition(": ")[0]
    assert refusal.value.hint == over_sql.hint


@pytest.mark.parametrize(("road", "case"), by_road(LASTING))
def test_what_does_not_pass_is_told_at_once(
    place: Place, user_id: str, front: FaultyServer, road: str, case: tuple[Fault, type[LedgerError]]
) -> None:
    fault, kind = case
    with place.open(road, user_id, attempts=ATTEMPTS, url=front.url) as ledger:
        front.always = fault
        with pytest.raises(LedgerError) as refusal:
            ledger.ledger_state()
    assert type(refusal.value) is kind
    assert len(front.asked) == 1
    (line,) = str(refusal.value).splitlines()
    assert line
    assert "<" not in line


@pytest.mark.usefixtures("hurried")
@pytest.mark.parametrize("road", HTTP_ROADS)
def test_a_correction_is_never_made_twice(place: Place, user_id: str, front: FaultyServer, road: str) -> None:
    with place.open("sql", user_id) as ledger:
        ledger.ingest_token_usage(batch_of(observation(1)))
    opened = "server with a service key" if road == "server" else road
    with place.open(opened, user_id, attempts=ATTEMPTS, url=front.url) as ledger:
        front.faults += [Fault(is_passed_on=True)]
        with pytest.raises(LedgerUnavailable):
            ledger.correct_token_usage(json.dumps([{"event_key": key_of(1), "output_tokens": 9}]))
        assert len(front.asked) == 1


@pytest.mark.parametrize("road", ["supabase"])
def test_the_pauses_grow_and_the_tries_end(place: Place, user_id: str, front: FaultyServer, road: str) -> None:
    front.always = told(503, "PGRST000")
    with place.open(road, user_id, attempts=4, url=front.url) as ledger, pytest.raises(LedgerUnavailable):
        ledger.ledger_digest()
    pauses = front.pauses()
    assert len(pauses) == 3
    for number, pause in enumerate(pauses):
        least = FIRST_PAUSE_S * 2**number
        assert least <= pause < least + 1.5  # up to a second of it is chance


@pytest.mark.parametrize("road", ["server"])
def test_a_limit_is_waited_for_as_long_as_it_says(place: Place, user_id: str, front: FaultyServer, road: str) -> None:
    front.faults += [Fault(429, "", "text/plain", (("Retry-After", "2"),))]
    with place.open(road, user_id, attempts=ATTEMPTS, url=front.url) as ledger:
        ledger.ledger_digest()
    (pause,) = front.pauses()
    assert 2 <= pause < 3.5


@pytest.mark.parametrize(
    ("road", "fault"),
    [
        ("supabase", told(500, "57014")),
        ("supabase", Fault(413, HTML, "text/html")),
        ("supabase", told(413, "PT413")),
        ("supabase", told(400, "PGRST102")),
        ("supabase", told(500, "54001")),
        ("supabase", told(400, "22P02")),
        ("supabase", told(400, "22P05")),
        ("server", problem(413)),
        ("server", Fault(413, HTML, "text/html")),
        ("server", problem(400, "batch_is_readable")),
    ],
)
def test_a_batch_that_is_too_much_at_a_time_is_halved(
    place: Place, user_id: str, front: FaultyServer, road: str, fault: Fault
) -> None:
    front.faults += [fault, fault]
    with place.open(road, user_id, attempts=ATTEMPTS, url=front.url) as ledger:
        batch = batch_of(*(observation(number) for number in range(20)))
        assert ledger.ingest_token_usage(batch) == Receipt(received=20, new=20)
    # whole, its first half, and that in two quarters; then its second half
    assert len(front.asked) == 5
    assert [asked.body.count(b'"event_key"') for asked in front.asked] == [20, 10, 5, 5, 10]


@pytest.mark.parametrize(("road", "error"), [("supabase", TooMuch), ("server", TooMuch)])
def test_halving_ends(place: Place, user_id: str, front: FaultyServer, road: str, error: type[LedgerError]) -> None:
    front.always = Fault(413, HTML, "text/html")
    with place.open(road, user_id, attempts=ATTEMPTS, url=front.url) as ledger, pytest.raises(error) as refusal:
        ledger.ingest_token_usage(batch_of(*(observation(number) for number in range(16))))
    assert refusal.value.hint
    assert len(front.asked) == 5


@pytest.mark.parametrize("road", ["supabase"])
def test_unreadable_ends_too(place: Place, user_id: str, front: FaultyServer, road: str) -> None:
    front.always = told(400, "PGRST102")
    with place.open(road, user_id, url=front.url) as ledger, pytest.raises(UnreadableBatch):
        ledger.ingest_token_usage(batch_of(*(observation(number) for number in range(16))))
    assert len(front.asked) == 6


@pytest.mark.parametrize("road", ["supabase"])
def test_a_key_of_supabase_goes_into_apikey_alone(place: Place, user_id: str, front: FaultyServer, road: str) -> None:
    with place.open(road, user_id, url=front.url) as ledger:
        ledger.ledger_digest()
    with place.open("supabase as a user", user_id, url=front.url) as ledger:
        ledger.ledger_digest()
    legacy = token_of(user_id)
    with Ledger.connect(front.url, key=legacy, user_id=user_id, attempts=1) as ledger:
        front.faults += [told(401, "PGRST301")]
        with pytest.raises(Unauthorized):
            ledger.ledger_digest()
    service, user, old = (asked.headers for asked in front.asked)
    assert (service["apikey"], service.get("authorization")) == (SECRET_KEY, None)
    assert user["apikey"] == PUBLISHABLE_KEY
    assert user["authorization"].startswith("Bearer ey")
    assert (old["apikey"], old["authorization"]) == (legacy, f"Bearer {legacy}")
    # Supabase takes what says that it is a browser for one, and refuses it a secret key
    assert all("Mozilla" not in asked.headers["user-agent"] for asked in front.asked)
    assert all(asked.path == "/rest/v1/rpc/ledger_digest" for asked in front.asked)


@pytest.mark.parametrize("road", ["server"])
def test_a_key_of_a_server_is_its_bearer_token(place: Place, user_id: str, front: FaultyServer, road: str) -> None:
    with place.open(road, user_id, url=front.url) as ledger:
        ledger.ledger_digest()
    (asked,) = front.asked
    assert asked.headers["authorization"].startswith("Bearer tly_")
    assert "apikey" not in asked.headers
    assert "tly_" not in asked.path

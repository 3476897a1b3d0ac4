"""Requests that are counted ahead: how seldom the database is asked, and that no limit is passed on the way."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from tallystick.api.admission import Admission, Admissions, Admitted, Counted, Identity
from tallystick.errors import LedgerUnavailable, Unauthorized
from tallystick.ledger import Ledger
from tests.api.serving import PREFIX, Api

WHO = Identity("key:1", None, frozenset({"read"}))


class Books:
    """What the database keeps of one caller: its minute, which lets a hundredth of the limit through at once."""

    def __init__(self, limit: int, *, reset_s: float = 60.0, delay_s: float = 0.0) -> None:
        self.limit, self.reset_s, self.delay_s = limit, reset_s, delay_s
        self.questions: list[int] = []
        self.count = 0

    def ask(self, token: str, requests: int) -> Admission:
        time.sleep(self.delay_s)
        if token != "known":
            raise Unauthorized("nobody")
        self.questions.append(requests)
        wanted = min(requests, max(self.limit // 100, 1))
        admitted = wanted if self.count + wanted <= self.limit else int(self.count < self.limit)
        self.count += admitted
        return Admission(WHO, Counted(admitted, self.limit, self.limit - self.count, self.reset_s))


def run(ask: Callable[[str, int], Admission], tokens: list[str], *, at_once: bool) -> list[Admitted | BaseException]:
    async def admit_all() -> list[Admitted | BaseException]:
        with ThreadPoolExecutor(8) as threads:
            admissions = Admissions(ask, digest_of=str.upper, threads=threads, requests_at_once=7)
            if at_once:
                return await asyncio.gather(*map(admissions.admit, tokens), return_exceptions=True)
            return [await admissions.admit(token) for token in tokens]

    return asyncio.run(admit_all())


@pytest.mark.parametrize("at_once", [False, True])
def test_a_busy_caller_asks_seldom_and_gets_no_more_than_its_limit(at_once: bool) -> None:
    books = Books(limit=1200)
    answers = run(books.ask, ["known"] * 1400, at_once=at_once)
    told = [answer for answer in answers if isinstance(answer, Admitted)]
    # those who wait at once are let through in any order
    assert sorted((not one.is_admitted, -one.rate.remaining) for one in told) == [
        *((False, -left) for left in range(1199, -1, -1)),
        *[(True, 0)] * 200,
    ]
    assert books.count == 1200
    # 1, 2, 4, 8, then 12 at a time, and the last hundredth one by one
    assert len(books.questions) < 200


def test_a_caller_of_one_request_now_and_then_has_none_counted_ahead() -> None:
    books = Books(limit=6000, reset_s=0.9)

    def ask(token: str, requests: int) -> Admission:
        return books.ask(token, requests)

    async def slowly() -> None:
        with ThreadPoolExecutor(1) as threads:
            admissions = Admissions(ask, digest_of=str, threads=threads, requests_at_once=7)
            for _ in range(4):
                assert (await admissions.admit("known")).is_admitted
                await asyncio.sleep(1.01)

    asyncio.run(slowly())
    assert books.questions == [1, 1, 1, 1]


def test_those_who_wait_for_one_answer_share_its_failure() -> None:
    questions = []

    def fail(token: str, _: int) -> Admission:
        questions.append(token)
        time.sleep(0.2)
        raise LedgerUnavailable("away")

    first = Books(limit=100)
    failing = [False]

    def ask(token: str, requests: int) -> Admission:
        return fail(token, requests) if failing[0] else first.ask(token, requests)

    async def meet() -> list[Admitted | BaseException]:
        with ThreadPoolExecutor(8) as threads:
            admissions = Admissions(ask, digest_of=str, threads=threads, requests_at_once=7)
            await admissions.admit("known")
            failing[0] = True
            return await asyncio.gather(*(admissions.admit("known") for _ in range(50)), return_exceptions=True)

    assert {type(answer) for answer in asyncio.run(meet())} == {LedgerUnavailable}
    assert questions == ["known"]


def test_strangers_are_refused_and_forgotten() -> None:
    answers = run(Books(limit=100).ask, [f"stranger {number}" for number in range(100)], at_once=True)
    assert {type(answer) for answer in answers} == {Unauthorized}


def test_a_key_that_is_revoked_is_refused_within_a_second(api: Api, alice: str) -> None:
    key = api.key(alice)
    for _ in range(20):
        assert api.ask("GET", f"{PREFIX}/state", key=key).status_code == 200
    with Ledger.connect(api.database_url) as ledger:
        ledger.revoke_api_key(key[:12])
    time.sleep(1.05)
    assert api.ask("GET", f"{PREFIX}/state", key=key).status_code == 401

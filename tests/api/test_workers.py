"""Several processes on one port: what they count together, and what becomes of them when one of them ends."""

from __future__ import annotations

import os
import signal
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.api.serving import PREFIX, Api, event, new_user, until
from tests.servers import connect

WORKERS = 2


@pytest.fixture
def many(start_api: Callable[..., Api], api_database: str) -> Api:
    """A server of the test's own, whose processes it may end."""
    return when_all_serve(start_api(api_database, "--workers", str(WORKERS)))


@pytest.fixture(scope="module")
def shared(api_database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """One for the tests that leave it whole."""
    api = Api(tmp_path_factory.mktemp("workers"), api_database, "--workers", str(WORKERS))
    yield when_all_serve(api)
    api.stop()


def when_all_serve(api: Api) -> Api:
    until(lambda: len(workers_of(api)) == WORKERS and answers(api))
    return api


def children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="utf-8").split()]


def workers_of(api: Api) -> list[int]:
    """The processes that serve; one more of multiprocessing's own only looks after what they leave behind."""
    serving = []
    for child in children_of(api.process.pid):
        command = Path(f"/proc/{child}/cmdline").read_bytes()
        if b"spawn_main" in command:
            serving.append(child)
    return serving


def answers(api: Api) -> bool:
    try:
        return httpx.get(f"{api.address}/healthz", timeout=5).status_code == 200
    except httpx.TransportError:
        return False


def ask_anew(api: Api, key: str) -> httpx.Response:
    """A request on a connection of its own, which either process may get."""
    return httpx.get(f"{api.address}{PREFIX}/state", headers={"Authorization": f"Bearer {key}"}, timeout=30)


def counted(api: Api) -> float:
    families = text_string_to_metric_families(httpx.get(f"{api.address}/metrics", timeout=30).text)
    return sum(
        sample.value
        for family in families
        for sample in family.samples
        if sample.name == "tallystick_requests_total" and sample.labels["route"] == f"{PREFIX}/state"
    )


def test_the_metrics_are_those_of_all_processes(shared: Api) -> None:
    key = shared.key(new_user())
    before = counted(shared)
    for _ in range(20):
        assert ask_anew(shared, key).status_code == 200
    # whichever of them is asked
    assert {counted(shared) - before for _ in range(10)} == {20.0}


def test_a_limit_holds_for_all_processes_together(shared: Api) -> None:
    key = shared.key(new_user(), requests_per_minute=10)
    statuses = Counter(ask_anew(shared, key).status_code for _ in range(40))
    # twenty where a new minute began in between
    assert statuses[200] in (10, 20)
    assert statuses[429] == 40 - statuses[200]


def test_a_process_that_is_killed_is_replaced_and_no_acknowledged_event_is_lost(shared: Api) -> None:
    user = new_user()
    key = shared.key(user)
    acknowledged = set()

    def send(number: int) -> bool:
        try:
            answer = httpx.post(
                f"{shared.address}{PREFIX}/track",
                headers={"Authorization": f"Bearer {key}"},
                json=event(number),
                timeout=30,
            )
        except httpx.TransportError:
            return False
        if answer.status_code == 200:
            acknowledged.add(number)
        return answer.status_code == 200

    for number in range(10):
        assert send(number)
    (victim, survivor) = workers_of(shared)
    os.kill(victim, signal.SIGKILL)
    for number in range(10, 30):
        until(lambda number=number: send(number))  # type: ignore[misc]  # mypy does not see the default
    until(lambda: len(workers_of(shared)) == WORKERS)
    assert survivor in workers_of(shared)
    assert acknowledged == set(range(30))
    with connect(shared.database_url) as reader:
        found = reader.execute("select count(*) from token_usage_events where user_id = %s", [user]).fetchone()
    assert found == (30,)


def test_all_end_with_the_first_one(many: Api) -> None:
    workers = workers_of(many)
    assert many.stop() == 0
    assert not any(Path(f"/proc/{worker}").exists() for worker in workers)


def test_an_interrupt_while_they_start_ends_all_at_once(start_api: Callable[..., Api], api_database: str) -> None:
    api = start_api(api_database, "--workers", str(WORKERS))
    until(lambda: len(workers_of(api)) == WORKERS)
    # as a terminal does it, and long before one of them can answer
    os.killpg(api.process.pid, signal.SIGINT)
    assert api.process.wait(timeout=30) == 0
    assert "KeyboardInterrupt" not in api.log_file.read_text(encoding="utf-8")


def test_none_outlives_a_parent_that_was_killed(many: Api) -> None:
    workers = workers_of(many)
    many.process.kill()
    until(lambda: not any(is_running(worker) for worker in workers))


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_port_that_another_server_has_is_not_shared_with_it(shared: Api) -> None:
    port = shared.address.rpartition(":")[2]
    command = [*shared.process.args[:4], "--port", port, "--workers", "2"]  # type: ignore[index]
    finished = subprocess.run(command, env=shared.environ, capture_output=True, text=True, check=False, timeout=60)
    assert finished.returncode == 1
    assert f"cannot listen on 127.0.0.1, port {port}: Address already in use" in finished.stderr

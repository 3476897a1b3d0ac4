"""The examples of the OpenAPI description, asked of a real server: each is answered as it is described."""

from __future__ import annotations

from typing import Any

import pytest

from tallystick.api import create_app
from tallystick.api.docs import NOWHERE
from tests.api.serving import Api, new_user

DESCRIPTION = create_app(NOWHERE).openapi()
OPERATIONS = [(path, method) for path, found in DESCRIPTION["paths"].items() for method in found]
# what others need stands first
BODIES = sorted(
    ((path, method) for path, method in OPERATIONS if method != "get"),
    key=lambda operation: ("forget" in operation[0], "track" not in operation[0]),
)
QUESTIONS = [(path, method) for path, method in OPERATIONS if method == "get"]


def shape(value: Any) -> Any:
    """A value by the names of its members, whatever they hold."""
    return {name: shape(member) for name, member in value.items()} if isinstance(value, dict) else None


@pytest.fixture(scope="module")
def user() -> str:
    return new_user()


@pytest.mark.parametrize(("path", "method"), [*BODIES[:-1], *QUESTIONS, BODIES[-1]])
def test_an_example_is_answered_as_it_is_described(api: Api, user: str, path: str, method: str) -> None:
    operation = DESCRIPTION["paths"][path][method]
    given = {
        parameter["name"]: parameter["schema"]["examples"][0]
        for parameter in operation.get("parameters", [])
        if "examples" in parameter["schema"]
    }
    content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
    answer = api.ask(
        method.upper(),
        path.format(**given),
        key=api.key(None),
        params={"user_id": user, **{name: value for name, value in given.items() if f"{{{name}}}" not in path}},
        json=content.get("example"),
    )
    assert answer.status_code == 200, answer.text
    described = operation["responses"]["200"]["content"]["application/json"]["example"]
    assert shape(answer.json()) == shape(described)
    for name, member in answer.json().items():
        if isinstance(member, list) and member and described[name]:
            assert shape(member[0]) == shape(described[name][0])

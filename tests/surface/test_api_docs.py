"""docs/api.md is what the HTTP API says of itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tallystick.api import create_app
from tallystick.api.docs import NOWHERE, api_page

PAGE = Path(__file__).parents[2] / "docs" / "api.md"


@pytest.fixture(scope="module")
def description() -> dict[str, Any]:
    return create_app(NOWHERE).openapi()


def operations(description: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, found in description["paths"].items():
        for method, operation in found.items():
            yield f"{method} {path}", operation


def test_the_page_of_the_http_api_is_current() -> None:
    assert PAGE.read_text(encoding="utf-8") == api_page(), "run `make docs`"


def test_every_operation_is_described_with_an_example(description: dict[str, Any]) -> None:
    found = dict(operations(description))
    assert len(found) == 26
    for name, operation in found.items():
        assert operation["description"].endswith("."), name
        assert "example" in operation["responses"]["200"]["content"]["application/json"], name
        assert "application/problem+json" in operation["responses"]["default"]["content"], name
        assert operation["security"] == [{"bearer": []}], name
        assert name.startswith("get") == ("requestBody" not in operation), name
        if "requestBody" in operation:
            assert "example" in operation["requestBody"]["content"]["application/json"], name


def test_every_parameter_and_member_is_described(description: dict[str, Any]) -> None:
    for name, operation in operations(description):
        for parameter in operation.get("parameters", []):
            assert parameter.get("description"), f"{name} {parameter['name']}"
    for name, schema in description["components"]["schemas"].items():
        for member, told in schema.get("properties", {}).items():
            assert told.get("description"), f"{name}.{member}"
            assert told["description"] != "The rows." or told["type"] == "array", f"{name}.{member}"

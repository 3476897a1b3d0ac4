"""Everything that the OpenAPI description allows, and what it does not, asked by schemathesis."""

from __future__ import annotations

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tallystick.api import create_app
from tallystick.config import ServerSettings
from tests.api.serving import Api, new_user

schema = schemathesis.openapi.from_dict(create_app(ServerSettings("postgresql://nowhere", "none")).openapi())
CHECKS = [
    not_a_server_error,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
]


@pytest.fixture(scope="module")
def keys(api: Api) -> list[str]:
    """A user's key and the service's."""
    return [api.key(new_user(), requests_per_minute=10**6), api.key(None, requests_per_minute=10**6)]


@schema.parametrize()
@settings(max_examples=3, deadline=None, database=None, suppress_health_check=list(HealthCheck))
def test_every_answer_is_one_that_is_described(case: schemathesis.Case, api: Api, keys: list[str]) -> None:
    # a user is named to the service; a user's own key may name nobody else
    key = keys["user_id" in (case.query or {})]
    answer = case.call(base_url=api.address, headers={"Authorization": f"Bearer {key}"})
    case.validate_response(answer, checks=CHECKS)
    assert answer.headers["x-content-type-options"] == ["nosniff"]

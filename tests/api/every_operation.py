"""Everything that the OpenAPI description allows, and what it does not, asked by schemathesis.

test_schemathesis.py runs this file: its cases take seconds to make, and are made where it is collected.
"""

from __future__ import annotations

import json
import os

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

ADDRESS = os.environ["ADDRESS"]
# a user's key and the service's
KEYS = json.loads(os.environ["KEYS"])
schema = schemathesis.openapi.from_dict(create_app(ServerSettings("postgresql://nowhere", "none")).openapi())
CHECKS = [
    not_a_server_error,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
]


@schema.parametrize()
@settings(max_examples=3, deadline=None, database=None, suppress_health_check=list(HealthCheck))
def test_every_answer_is_one_that_is_described(case: schemathesis.Case) -> None:
    # a user is named to the service; a user's own key may name nobody else
    key = KEYS["user_id" in (case.query or {})]
    answer = case.call(base_url=ADDRESS, headers={"Authorization": f"Bearer {key}"})
    case.validate_response(answer, checks=CHECKS)
    assert answer.headers["x-content-type-options"] == ["nosniff"]

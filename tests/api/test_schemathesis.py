"""The operations of the OpenAPI description, each asked for everything that it allows, and for what it does not."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tallystick.api import create_app
from tallystick.api.docs import NOWHERE
from tests.api.serving import Api, new_user

# the plugin by its module: by its name it is left out of every run of the tests
PYTEST = (sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "schemathesis.pytest.plugin")


@pytest.mark.timeout(1200)  # some three thousand requests
def test_every_answer_of_every_operation_is_one_that_is_described(api: Api) -> None:
    keys = [api.key(user, requests_per_minute=10**6) for user in (new_user(), None)]
    done = subprocess.run(
        [*PYTEST, Path(__file__).with_name("every_operation.py")],
        env={**os.environ, "ADDRESS": api.address, "KEYS": json.dumps(keys)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    operations = [found for path in create_app(NOWHERE).openapi()["paths"].values() for found in path]
    assert re.findall(r"^(\d+) passed", done.stdout, flags=re.MULTILINE) == [str(len(operations))]

"""docs/api.md, written from the OpenAPI description itself: python -m tallystick.api.docs > docs/api.md"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

from tallystick.api.app import create_app
from tallystick.api.examples import REF
from tallystick.config import ServerSettings

# nothing is connected to: only the description is asked for
NOWHERE = ServerSettings(database_url="postgresql://nowhere", key_secret="none")
GROUPS = {"reports": "Reports", "writes": "What goes in", "upkeep": "Upkeep"}

INTRODUCTION = """\
# The HTTP API

This page is written by `make docs` from the OpenAPI description, which a server gives at `/openapi.json`.

`tally serve` serves the ledger at `http://127.0.0.1:8377`; `tally up` starts the embedded database and imports first.
In an application of your own, `app.include_router(tallystick.api.router)` does the same inside a FastAPI app; the
settings come from the environment (`TALLYSTICK_DATABASE_URL`, ...).

## Who asks

Every request has `Authorization: Bearer` and a key or a token. `tally keys create --name NAME` makes a key and shows it
once; it opens one user's books, does what its scopes say (`ingest`, `read`, `admin`), and may expire. A key made with
`--service` acts for the user that each request names with `?user_id=`. A token is the access token of a signed-in user
of the Supabase project in `SUPABASE_URL` (ES256 and RS256 by its published keys, HS256 with `SUPABASE_JWT_SECRET`); it
may do all that its user may.

## Limits

A body has at most 16 MiB, packed (`Content-Encoding: gzip`) or not, and comes within 20 s; a list has at most 10,000
events. A caller may make 6,000 requests a minute (`TALLYSTICK_REQUESTS_PER_MINUTE`, or the key's own), counted over all
servers of the ledger: `RateLimit` says how many are left, and 429 comes with `Retry-After`. So does 503, when the
database cannot be had for the moment: whatever was sent may be sent again, and counts once.

## Problems

An error is `application/problem+json` as RFC 9457 has it. `detail` says what is wrong, `hint` what to do, `constraint`
names the rule; `request_id` is the header `X-Request-ID`, which a caller may set, and stands in the server's log.

| status | when |
|---|---|
| 400 | a parameter or a body is wrong |
| 401 | no key or token that holds |
| 403 | the key has no such scope, or the books are somebody else's |
| 404, 405 | no such address, session or event; not this method |
| 409 | the state of the ledger forbids it |
| 413 | too large a body, too many events, or a question that took too long |
| 429 | too many requests in this minute |
| 503, 504 | the database is away or busy: send it again |

## Settings of the server

| variable | default | what |
|---|---|---|
| `TALLYSTICK_DATABASE_URL` | | the ledger's Postgres; `tally up` has the embedded one |
| `TALLYSTICK_KEY_SECRET` | made at first use, beside config.toml | what keys are kept under |
| `TALLYSTICK_REQUESTS_PER_MINUTE` | 6000 | limit of a caller whose key has none of its own |
| `TALLYSTICK_POOL_SIZE` | 10 | connections to the database, for each process |
| `TALLYSTICK_CORS_ORIGINS` | none | origins, with commas between them, whose pages may call from a browser |
| `SUPABASE_URL`, `SUPABASE_JWT_SECRET` | none | whose users' tokens are taken, and the secret of HS256 |

`tally keys` and every server of a ledger need the same secret: under another one no key holds.

## Several processes

`tally serve --workers 2` answers with two processes, each with `TALLYSTICK_POOL_SIZE` connections (10) to the database.
One that dies is replaced; limits and metrics are those of all together.

## Health

Beside the API stand `/healthz` (the process lives), `/readyz` (the database answers) and `/metrics` for Prometheus.
They ask for no key, so let nobody else reach them."""


def api_page() -> str:
    """The whole page in Markdown."""
    description = create_app(NOWHERE).openapi()
    parts = [INTRODUCTION]
    group = ""
    for path, operations in description["paths"].items():
        for method, operation in operations.items():
            if operation["tags"][0] != group:
                group = operation["tags"][0]
                parts.append(f"## {GROUPS[group]}")
            parts += _operation(method.upper(), path, operation)
    parts += _parameters(description)
    parts += _members(description["components"]["schemas"])
    return "\n\n".join(parts) + "\n"


def _operation(method: str, path: str, operation: dict[str, Any]) -> Iterator[str]:
    yield f"### {method} {path}"
    yield operation["description"]
    names = [f"`{parameter['name']}`" for parameter in operation.get("parameters", [])]
    if names:
        yield f"Parameters: {', '.join(names)}."
    body = operation.get("requestBody")
    if body:
        yield f"Body: {body['description']}"
        members = _body_members(body["content"]["application/json"]["schema"])
        if members:
            yield _table("member", members)
    yield f"```sh\n{_request(method, path, operation)}\n```"
    answer = operation["responses"]["200"]["content"]["application/json"]
    yield f"```json\n{json.dumps(answer['example'], indent=2)}\n```"
    yield f"The answer is a [{_name_of(answer['schema'])}](#{_name_of(answer['schema']).lower()})."


def _body_members(schema: dict[str, Any]) -> dict[str, Any]:
    """The members of a body, or of one object of it, and those of a member that is an object itself."""
    members: dict[str, Any] = {}
    for name, told in schema.get("oneOf", [schema])[0].get("properties", {}).items():
        members[name] = told
        members |= {f"{name}.{inner}": more for inner, more in told.get("properties", {}).items()}
    return members


def _table(title: str, members: dict[str, Any]) -> str:
    rows = [f"| `{name}` | {_kind(told)} | {told['description']} |" for name, told in members.items()]
    return "\n".join([f"| {title} | is | says |", "|---|---|---|", *rows])


def _request(method: str, path: str, operation: dict[str, Any]) -> str:
    given = {
        parameter["name"]: parameter["schema"]["examples"][0]
        for parameter in operation.get("parameters", [])
        if "examples" in parameter["schema"]
    }
    query = urlencode({name: value for name, value in given.items() if f"{{{name}}}" not in path}, safe="/")
    lines = [f"curl -H \"Authorization: Bearer $KEY\" '$URL{path.format(**given)}{'?' if query else ''}{query}'"]
    lines[0] = lines[0].replace("'", '"')
    if method != "GET":
        body = operation["requestBody"]["content"]["application/json"]["example"]
        lines = [
            f"{lines[0]} \\",
            f"  -X {method} -H 'Content-Type: application/json' -d '{json.dumps(body, indent=2)}'",
        ]
    return "\n".join(lines)


def _parameters(description: dict[str, Any]) -> Iterator[str]:
    """Every parameter once: the same name means the same everywhere."""
    yield "## Parameters"
    told = {
        parameter["name"]: {**parameter["schema"], "description": parameter["description"]}
        for operations in description["paths"].values()
        for operation in operations.values()
        for parameter in operation.get("parameters", [])
    }
    yield _table("parameter", told)
    yield "A parameter that an address does not know is refused."


def _members(schemas: dict[str, Any]) -> Iterator[str]:
    yield "## Objects"
    for name, schema in schemas.items():
        yield f"### {name}"
        if "description" in schema:
            yield schema["description"].replace("\n", " ")
        members = schema.get("properties", {})
        if members:
            yield _table("member", members)


def _kind(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        return f"[{_name_of(schema)}](#{_name_of(schema).lower()})"
    if "anyOf" in schema:
        return " or ".join(_kind(one) for one in schema["anyOf"])
    if "enum" in schema:
        return ", ".join(f"`{one}`" for one in schema["enum"])
    if schema.get("type") == "array":
        return f"list of {_kind(schema['items'])}"
    kind = schema.get("type", "anything")
    return " or ".join(kind) if isinstance(kind, list) else str(schema.get("format") or kind)


def _name_of(schema: dict[str, Any]) -> str:
    return str(schema["$ref"]).removeprefix(REF)


if __name__ == "__main__":
    sys.stdout.write(api_page())

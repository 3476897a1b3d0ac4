"""Examples of answers, put together from those of their members, so that the two cannot differ."""

from __future__ import annotations

from typing import Any

REF = "#/components/schemas/"


def example_of(schema: dict[str, Any], schemas: dict[str, Any]) -> Any:
    """One value that fits a schema of our own OpenAPI description."""
    if "examples" in schema:
        return schema["examples"][0]
    if "$ref" in schema:
        return example_of(schemas[schema["$ref"].removeprefix(REF)], schemas)
    if schema.get("type") == "object":
        return {name: example_of(member, schemas) for name, member in schema.get("properties", {}).items()}
    if schema.get("type") == "array":
        return [example_of(schema["items"], schemas)]
    assert {"type": "null"} in schema.get("anyOf", ()), schema
    return None

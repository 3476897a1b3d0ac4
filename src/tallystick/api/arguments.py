"""What an endpoint asks for, read from a request: who makes it, its query, its path, its body, in this order.

FastAPI reads the same signatures to describe the API. Its own way to fill them in costs a request more than all else
that it does, the database left out, so the endpoints here are filled in by this module alone.
"""

from __future__ import annotations

from collections.abc import Callable
from inspect import signature
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, TypeAdapter, ValidationError

from tallystick.api.body import read_body
from tallystick.api.caller import admit


class Arguments:
    """The parameters of one endpoint: `caller`, a query of one model, `body` if it has one, and parts of its path."""

    def __init__(self, endpoint: Callable[..., Any]) -> None:
        self._query_name = ""
        self._query_model: type[BaseModel] = BaseModel
        self._lists: frozenset[str] = frozenset()
        self._path: dict[str, TypeAdapter[Any]] = {}
        hints = get_type_hints(endpoint, include_extras=True)
        self._has_body = "body" in hints
        for name in signature(endpoint).parameters.keys() - {"caller", "body"}:
            kind = get_args(hints[name])[0] if get_origin(hints[name]) is Annotated else hints[name]
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                self._query_name, self._query_model = name, kind
                fields = kind.model_fields.items()
                self._lists = frozenset(key for key, field in fields if get_origin(field.annotation) is list)
            else:
                self._path[name] = TypeAdapter(hints[name])

    async def read(self, request: Request) -> dict[str, Any]:
        """The arguments; raises Unauthorized, RateLimited, RequestValidationError, and what reading the body raises."""
        arguments: dict[str, Any] = {"caller": await admit(request)}
        place: tuple[str, ...] = ("query",)
        try:
            arguments[self._query_name] = self._query_model.model_validate(self._query_of(request))
            for name, adapter in self._path.items():
                place = ("path", name)
                arguments[name] = adapter.validate_python(request.path_params[name])
        except ValidationError as error:
            faults = error.errors(include_url=False, include_input=False, include_context=False)
            raise RequestValidationError([{**fault, "loc": (*place, *fault["loc"])} for fault in faults]) from None
        if self._has_body:
            arguments["body"] = await read_body(request)
        return arguments

    def _query_of(self, request: Request) -> dict[str, Any]:
        query: dict[str, Any] = {}
        for name, value in request.query_params.multi_items():
            if name in self._lists:
                query.setdefault(name, []).append(value)
            else:
                query[name] = value
        return query

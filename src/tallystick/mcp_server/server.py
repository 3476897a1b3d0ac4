"""The protocol: standard input and output carry MCP and nothing else, and whatever goes wrong is a tool's error."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Sequence
from traceback import format_exc
from typing import Any

import anyio
import mcp_types as types
import msgspec
import structlog
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server
from mcp.shared.exceptions import MCPError
from pydantic import ValidationError

from tallystick.errors import TallystickError
from tallystick.logs import log_to_stderr
from tallystick.mcp_server.asker import Asker, Opener
from tallystick.mcp_server.tools import TOOLS, Tool
from tallystick.questions import told_faults
from tallystick.redaction import one_line, without_passwords

INSTRUCTIONS = (
    "What the user's AI coding agents and applications have spent, in tokens and US dollars: a ledger of every model "
    "call, which these tools read and never change. It holds what was taken in; `tally import`, or `tally watch` in "
    "the background, takes in what is new. Begin with usage_summary or usage_daily and a range such as last=7d."
)

log = structlog.get_logger("tallystick.mcp")


def run_server(
    open_ledger: Opener, give_up: Callable[[], None], *, version: str, ending: Sequence[signal.Signals]
) -> None:
    """Serve until standard input ends; at a signal of `ending` the process ends with exit code 0, the ledger closed.

    Where that is busy with a question for too long, it is left to itself, and `give_up` called.
    """
    log_to_stderr()
    asker = Asker(open_ledger, give_up)
    try:
        anyio.run(_serve, _server_of(asker, version=version), asker, ending)
    except* BrokenPipeError:
        pass  # whoever asked has gone
    finally:
        # a client that has closed our input sends it when we are not gone within two seconds
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        asker.close()


async def _serve(server: Server[Any], asker: Asker, ending: Sequence[signal.Signals]) -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_leave_at_a_signal, asker, ending)
        async with stdio_server() as (incoming, outgoing):
            await server.run(incoming, outgoing, server.create_initialization_options())
        tasks.cancel_scope.cancel()


async def _leave_at_a_signal(asker: Asker, ending: Sequence[signal.Signals]) -> None:
    with anyio.open_signal_receiver(*ending) as signals:
        async for _ in signals:
            exit_code = 1
            try:
                asker.close()
                exit_code = 0
            finally:
                # the thread that reads standard input wakes up for nothing else
                os._exit(exit_code)


def _server_of(asker: Asker, *, version: str) -> Server[Any]:
    async def list_tools(
        _: ServerRequestContext[Any], __: types.PaginatedRequestParams | None
    ) -> types.ListToolsResult:
        return types.ListToolsResult(tools=[_described(tool) for tool in TOOLS.values()])

    async def call_tool(_: ServerRequestContext[Any], params: types.CallToolRequestParams) -> types.CallToolResult:
        tool = TOOLS.get(params.name)
        if tool is None:
            raise MCPError(types.INVALID_PARAMS, f"no tool {params.name!r}; there are {', '.join(TOOLS)}")
        return await _answered(asker, tool, params.arguments or {})

    return Server(
        "tallystick",
        version=version,
        title="Tallystick",
        instructions=INSTRUCTIONS,
        on_list_tools=list_tools,
        on_call_tool=call_tool,
    )


def _described(tool: Tool) -> types.Tool:
    return types.Tool(
        name=tool.name,
        title=tool.title,
        description=tool.description,
        input_schema=_short_schema(tool.arguments.model_json_schema()),
        output_schema=_short_schema(tool.answer.model_json_schema()),
        annotations=types.ToolAnnotations(
            read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=False
        ),
    )


def _short_schema(schema: dict[str, Any]) -> dict[str, Any]:
    """A schema without the titles that only repeat names, and without examples: each word of it is read every time."""

    def shortened(part: Any) -> Any:
        if isinstance(part, list):
            return [shortened(one) for one in part]
        if not isinstance(part, dict):
            return part
        return {
            name: shortened(value)
            for name, value in part.items()
            if name != "examples" and not (name == "title" and isinstance(value, str))
        }

    short: dict[str, Any] = shortened(schema)
    return short


async def _answered(asker: Asker, tool: Tool, given: dict[str, Any]) -> types.CallToolResult:
    try:
        # models like to spell out what they leave out
        query = tool.arguments.model_validate({name: value for name, value in given.items() if value is not None})
        document = await asker.ask(lambda ledger: tool.answer_of(ledger, query))
    except ValidationError as error:
        faults = error.errors(include_url=False, include_input=False, include_context=False)
        told = told_faults((fault["loc"], fault["msg"]) for fault in faults)
        return _failed(one_line(told, f"Arguments of {tool.name}: {', '.join(tool.arguments.model_fields) or 'none'}."))
    except TallystickError as error:
        return _failed(one_line(error.message, error.hint))
    except Exception:
        log.error("failed", tool=tool.name, trace=without_passwords(format_exc()))
        return _failed("a defect of Tallystick. The log of its MCP server has more.")
    return _succeeded(tool, document)


def _succeeded(tool: Tool, document: dict[str, Any]) -> types.CallToolResult:
    texts = [msgspec.json.encode(document).decode()]
    if document.get("next") is not None:
        after = msgspec.json.encode(document["next"]).decode()
        texts.append(
            f"There may be more rows: call {tool.name} again with the same arguments and this `after`: {after}"
        )
    return types.CallToolResult(content=_content(texts), structured_content=document)


def _failed(told: str) -> types.CallToolResult:
    return types.CallToolResult(content=_content([told]), is_error=True)


def _content(texts: Sequence[str]) -> list[types.ContentBlock]:
    return [types.TextContent(type="text", text=text) for text in texts]

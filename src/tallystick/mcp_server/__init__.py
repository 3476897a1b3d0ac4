"""The MCP server: the reports as read-only tools for AI agents, over standard input and output."""

from tallystick.mcp_server.server import run_server

__all__ = ["run_server"]

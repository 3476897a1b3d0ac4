"""Tool calls inside generated transcripts: the block that asks, and the user line's content that answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from bench.corpus_lines import Era, Origin
from bench.corpus_text import TextSource

MAX_RESULT_BYTES = 220_000


class ToolResult(NamedTuple):
    """The content of the user line that brings a result, and its further members with their leading comma."""

    content: str
    extra: str


class ToolUse(NamedTuple):
    """A tool_use block, and the draw of its result, which comes after the blocks of the whole call are drawn."""

    block: str
    draw_result: Callable[[], ToolResult]


class ToolBox:
    """Draws tool calls for one session; `tool_scale` multiplies the size of results."""

    def __init__(self, source: TextSource, *, origin: Origin, tool_scale: float) -> None:
        self.source = source
        self.random = source.random
        self.origin = origin
        self.tool_scale = tool_scale

    def draw(self) -> ToolUse:
        """One tool call, by its share of all calls."""
        tool_id = f"toolu_01{self.source.base58(22)}"
        share = self.random.random()
        file_path = f"{self.origin.cwd}/src/{self.source.word()}/{self.source.identifier()}.py"
        if share < 0.38:
            return self.bash(tool_id)
        if share < 0.68:
            return self.read(tool_id, file_path)
        if share < 0.86:
            return self.edit(tool_id, file_path)
        if share < 0.93:
            return self.write(tool_id, file_path)
        if share < 0.9985:
            return self.grep(tool_id)
        return self.ledger_post(tool_id)

    def result_size(self) -> int:
        """A heavy tail with a mean of about 4 KB."""
        return int(min(MAX_RESULT_BYTES, self.tool_scale * self.random.lognormvariate(7.05, 1.45)))

    def block(self, tool_id: str, name: str, arguments: str) -> str:
        caller = ',"caller":{"type":"direct"}' if self.origin.era >= Era.LONG_USAGE else ""
        return f'{{"type":"tool_use","id":"{tool_id}","name":"{name}","input":{{{arguments}}}{caller}}}'

    def bash(self, tool_id: str) -> ToolUse:
        def draw_result() -> ToolResult:
            output = self.source.text(self.result_size())
            return ToolResult(
                f'[{{"tool_use_id":"{tool_id}","type":"tool_result","content":"{output}","is_error":false}}]',
                f',"toolUseResult":{{"stdout":"{output}","stderr":"","interrupted":false,"isImage":false}}',
            )

        arguments = f'"command":"{self.source.text(90)}","description":"{self.source.text(30)}"'
        return ToolUse(self.block(tool_id, "Bash", arguments), draw_result)

    def read(self, tool_id: str, file_path: str) -> ToolUse:
        def draw_result() -> ToolResult:
            if self.random.random() < 0.012:
                return self.image_result(tool_id)
            lines = self.source.pool_lines(self.result_size)
            numbered = "\\n".join(f"{number:6d}\u2192{line}" for number, line in enumerate(lines, 1))
            content = "\\n".join(lines)
            return ToolResult(
                plain_result(tool_id, numbered),
                f',"toolUseResult":{{"type":"text","file":{{"filePath":"{file_path}","content":"{content}",'
                f'"numLines":{len(lines)},"startLine":1,"totalLines":{len(lines)}}}}}',
            )

        return ToolUse(self.block(tool_id, "Read", f'"file_path":"{file_path}"'), draw_result)

    def image_result(self, tool_id: str) -> ToolResult:
        image = self.source.blob(self.random.randrange(40000, 400000))
        return ToolResult(
            f'[{{"tool_use_id":"{tool_id}","type":"tool_result","content":[{{"type":"image","source":'
            f'{{"type":"base64","data":"{image}","media_type":"image/png"}}}}]}}]',
            f',"toolUseResult":{{"type":"image","file":{{"base64":"{image}","type":"image/png",'
            f'"originalSize":{len(image) * 3 // 4}}}}}',
        )

    def edit(self, tool_id: str, file_path: str) -> ToolUse:
        old = self.source.text(self.random.randrange(60, 900))
        new = self.source.text(self.random.randrange(60, 1200))

        def draw_result() -> ToolResult:
            original = self.source.text(self.result_size() * 2)
            return ToolResult(
                plain_result(tool_id, f"The file {file_path} has been updated successfully."),
                f',"toolUseResult":{{"filePath":"{file_path}","oldString":"{old}","newString":"{new}",'
                f'"originalFile":"{original}","structuredPatch":[{{"oldStart":{self.random.randrange(900)},'
                f'"oldLines":7,"newStart":12,"newLines":9,"lines":["- {self.source.identifier()}",'
                f'"+ {self.source.identifier()}"]}}],"userModified":false,"replaceAll":false}}',
            )

        arguments = f'"file_path":"{file_path}","old_string":"{old}","new_string":"{new}","replace_all":false'
        return ToolUse(self.block(tool_id, "Edit", arguments), draw_result)

    def write(self, tool_id: str, file_path: str) -> ToolUse:
        content = self.source.text(self.random.randrange(400, 9000))

        def draw_result() -> ToolResult:
            return ToolResult(
                plain_result(tool_id, f"File created successfully at: {file_path}"),
                f',"toolUseResult":{{"type":"create","filePath":"{file_path}","content":"{content}",'
                '"structuredPatch":[],"originalFile":null}',
            )

        arguments = f'"file_path":"{file_path}","content":"{content}"'
        return ToolUse(self.block(tool_id, "Write", arguments), draw_result)

    def grep(self, tool_id: str) -> ToolUse:
        def draw_result() -> ToolResult:
            hits = self.source.text(self.result_size() // 2)
            return ToolResult(
                plain_result(tool_id, hits),
                f',"toolUseResult":{{"mode":"content","numFiles":0,"filenames":[],"content":"{hits}",'
                f'"numLines":{hits.count(chr(92) + "n")}}}',
            )

        arguments = (
            f'"pattern":"{self.source.identifier()}","path":"{self.origin.cwd}","output_mode":"content","-n":true'
        )
        return ToolUse(self.block(tool_id, "Grep", arguments), draw_result)

    def ledger_post(self, tool_id: str) -> ToolUse:
        """A tool whose input and result hold keys like those of a usage record, as real objects, not in strings."""

        def draw_result() -> ToolResult:
            return ToolResult(
                plain_result(tool_id, "ok"),
                ',"toolUseResult":{"ok":true,"usage":{"input_tokens":777,"output_tokens":888,'
                '"cache_read_input_tokens":1}}',
            )

        arguments = '"id":null,"model":null,"usage":{"input_tokens":777,"output_tokens":888},"requestId":null'
        return ToolUse(self.block(tool_id, "mcp__ledger__post", arguments), draw_result)


def plain_result(tool_id: str, content: str) -> str:
    return f'[{{"tool_use_id":"{tool_id}","type":"tool_result","content":"{content}"}}]'

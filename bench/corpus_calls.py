"""Model calls inside generated transcripts: a call on the main line, and a sub-agent with calls of its own."""

from __future__ import annotations

from typing import NamedTuple

from bench.corpus_lines import Era, Shape, Thread, Usage, envelope
from bench.corpus_tools import ToolUse
from bench.corpus_transcript import MAIN_THREAD, Call, CallId, Transcript

MAX_OUTPUT_TOKENS = 30_000
MAX_CACHE_WRITE_TOKENS = 60_000
SMALL_MODEL = "claude-haiku-4-5-20251001"
PROMPT_TOKEN_COUNTS = (1, 2, 3, 4, 4, 6, 10, 12)
PLACEHOLDER_TOKEN_COUNTS = (1, 2, 3, 5, 8)


class Draft(NamedTuple):
    """What a call will hold, drawn before its blocks."""

    call: CallId
    has_thinking: bool
    has_text: bool
    tool_count: int
    usage: Usage


class WrittenCall(NamedTuple):
    """The context after the call, and the assistant lines that it wrote."""

    context_tokens: int
    lines: list[str]


def write_call(
    transcript: Transcript, *, model: str, context_tokens: int, is_last: bool, thread: Thread = MAIN_THREAD
) -> WrittenCall:
    """One call: thinking, text and tool_use blocks on a line each, then the results of its tools."""
    draft = draft_call(transcript, model, context_tokens, is_last=is_last, thread=thread)
    blocks, tool_uses = draw_blocks(transcript, draft)
    share = transcript.random.random()
    shape = Shape.SPACED if share < 0.0015 else Shape.USAGE_FIRST if share < 0.003 else Shape.NATIVE
    if transcript.random.random() < 0.0006:
        draft = draft._replace(call=draft.call._replace(request_id=None))
    finished_at, lines = write_blocks(transcript, draft, blocks, thread=thread, shape=shape)
    for tool_use in tool_uses:
        result = tool_use.draw_result()
        transcript.write_user(result.content, extra=result.extra, thread=thread)
    usage = draft.usage
    transcript.calls.append(Call(int(finished_at), model + ("-fast" if usage.is_fast else ""), usage))
    written_tokens = usage.cache_creation_5m_tokens + usage.cache_creation_1h_tokens
    return WrittenCall(usage.cache_read_tokens + written_tokens + usage.output_tokens, lines)


def draft_call(transcript: Transcript, model: str, context_tokens: int, *, is_last: bool, thread: Thread) -> Draft:
    random = transcript.random
    call = transcript.new_call_id(model)
    has_thinking = random.random() < 0.45
    tool_count = 0 if is_last else random.choices([1, 2, 3, 4], [70, 18, 8, 4])[0]
    has_text = is_last or random.random() < 0.5
    output = int(min(MAX_OUTPUT_TOKENS, random.lognormvariate(5.3, 1.0))) + 12
    growth = output + (int(random.lognormvariate(6.8, 1.1)) if random.random() < 0.93 else 0)
    written, read = min(growth, MAX_CACHE_WRITE_TOKENS), context_tokens
    prompt = random.choice(PROMPT_TOKEN_COUNTS)
    if random.random() < 0.02:
        # Half of the context was no longer in the cache.
        written, read = written + context_tokens // 2, context_tokens - context_tokens // 2
    is_fast = transcript.origin.era >= Era.FAST_MODE and random.random() < 0.01
    hour = transcript.origin.era >= Era.HOUR_CACHE and not thread.is_sidechain
    thinking = output // 3 if has_thinking else 0
    usage = Usage(prompt, output, 0 if hour else written, written if hour else 0, read, thinking, is_fast)
    return Draft(call, has_thinking, has_text, tool_count, usage)


def draw_blocks(transcript: Transcript, draft: Draft) -> tuple[list[str], list[ToolUse]]:
    """The call's content blocks in order, and its tool calls, whose blocks stand last."""
    random, source = transcript.random, transcript.source
    blocks = []
    if draft.has_thinking:
        signature = source.blob(random.randrange(300, 1900))
        is_redacted = transcript.origin.era >= Era.AGENT_FOLDERS
        thinking = "" if is_redacted else source.text(random.randrange(150, 2500))
        blocks.append(f'{{"type":"thinking","thinking":"{thinking}","signature":"{signature}"}}')
    if draft.has_text:
        text = source.text(min(9000, int(random.lognormvariate(5.6, 0.9))))
        blocks.append(f'{{"type":"text","text":"{text}"}}')
    tool_uses = [transcript.tools.draw() for _ in range(draft.tool_count)]
    blocks += [tool_use.block for tool_use in tool_uses]
    return blocks or ['{"type":"text","text":"ok"}'], tool_uses


def write_blocks(
    transcript: Transcript, draft: Draft, blocks: list[str], *, thread: Thread, shape: Shape
) -> tuple[float, list[str]]:
    """A line per block; gives the time of the first line with the final count, and the lines."""
    era, random, usage = transcript.origin.era, transcript.random, draft.usage
    has_placeholders = era < Era.HOUR_CACHE or (era < Era.STOP_REASON_ON_EACH_LINE and random.random() < 0.25)
    finished_at: float | None = None
    lines = []
    for number, block in enumerate(blocks, 1):
        is_last = number == len(blocks)
        output = usage.output_tokens
        if has_placeholders and not is_last:
            output = min(output, random.choice(PLACEHOLDER_TOKEN_COUNTS))
        is_stopped = is_last or era >= Era.STOP_REASON_ON_EACH_LINE
        line = transcript.write_assistant(
            block,
            call=draft.call,
            usage=usage,
            output_tokens=output,
            stop_reason=("tool_use" if draft.tool_count else "end_turn") if is_stopped else None,
            timestamp=transcript.tick(0.4, 6),
            thread=thread,
            shape=shape,
        )
        lines.append(line)
        if finished_at is None and output == usage.output_tokens:
            finished_at = transcript.clock
    assert finished_at is not None, "the last line carries the final count"
    return finished_at, lines


def write_main_call(transcript: Transcript, *, model: str, is_last: bool) -> None:
    """A call on the main line, after which the conversation may have to be compacted."""
    written = write_call(transcript, model=model, context_tokens=transcript.context_tokens, is_last=is_last)
    transcript.context_tokens = written.context_tokens
    if written.context_tokens > transcript.random.randrange(140000, 190000):
        compact(transcript)


def compact(transcript: Transcript) -> None:
    transcript.write(
        f'{{"parentUuid":null,"logicalParentUuid":"{transcript.parent_uuid}","isSidechain":false,"type":"system",'
        f'"subtype":"compact_boundary","content":"Conversation compacted","isMeta":false,'
        f'"timestamp":"{transcript.tick(1, 9)}","uuid":"{transcript.source.uuid()}","level":"info",'
        f'"compactMetadata":{{"trigger":"auto","preTokens":{transcript.context_tokens}}},'
        f"{envelope(transcript.origin)}}}"
    )
    summary = transcript.source.text(6000)
    transcript.write_user(
        f'"This session is being continued from a previous conversation. {summary}"',
        extra=',"isCompactSummary":true',
    )
    transcript.context_tokens = transcript.random.randrange(18000, 32000)


def write_agent(transcript: Transcript) -> None:
    """A Task call: the agent's own file, mirrors of its lines in some versions, a result with a usage object in it."""
    random, source = transcript.random, transcript.source
    agent_id = f"a{random.getrandbits(64):016x}"
    model = random.choice([transcript.plan.models[0], SMALL_MODEL])
    call = transcript.new_call_id(transcript.plan.models[0])
    tool_id = f"toolu_01{source.base58(22)}"
    prompt = source.text(random.randrange(200, 2500))
    write_task_block(transcript, call, tool_id, prompt)
    thread = open_agent_thread(transcript, agent_id)
    parent_uuid, transcript.parent_uuid = transcript.parent_uuid, None
    context_tokens = random.randrange(5000, 14000)
    transcript.write_user(f'"{prompt}"', thread=thread)
    call_count = 1 + int(random.expovariate(1 / 6))
    agent_lines: list[str] = []
    for number in range(1, call_count + 1):
        context_tokens, lines = write_call(
            transcript, model=model, context_tokens=context_tokens, is_last=number == call_count, thread=thread
        )
        agent_lines += lines
    if thread.file and Era.SCALARS_LAST <= transcript.origin.era <= Era.LONG_USAGE:
        write_mirrors(transcript, agent_lines, agent_id=agent_id, tool_id=tool_id, parent_uuid=parent_uuid)
    transcript.parent_uuid = parent_uuid
    write_task_result(transcript, agent_id, tool_id, prompt, context_tokens=context_tokens, call_count=call_count)


def write_task_block(transcript: Transcript, call: CallId, tool_id: str, prompt: str) -> None:
    is_hour = transcript.origin.era >= Era.HOUR_CACHE
    usage = Usage(3, 180, 0 if is_hour else 420, 420 if is_hour else 0, transcript.context_tokens, 0, False)
    arguments = f'"description":"{transcript.source.text(25)}","prompt":"{prompt}","subagent_type":"general-purpose"'
    transcript.write_assistant(
        f'{{"type":"tool_use","id":"{tool_id}","name":"Task","input":{{{arguments}}}}}',
        call=call,
        usage=usage,
        output_tokens=usage.output_tokens,
        stop_reason="tool_use",
        timestamp=transcript.tick(1, 4),
    )
    transcript.calls.append(Call(int(transcript.clock), call.model, usage))
    transcript.context_tokens += 600


def open_agent_thread(transcript: Transcript, agent_id: str) -> Thread:
    """The agent's own file, where its version has one; the oldest wrote into the main file."""
    era = transcript.origin.era
    if era >= Era.AGENT_FOLDERS:
        file = f"{transcript.origin.session_id}/subagents/agent-{agent_id}.jsonl"
    elif era >= Era.AGENT_FILES:
        file = f"agent-{agent_id[:8]}.jsonl"
    else:
        return Thread(True, agent_id, None)
    transcript.agent_files[file] = []
    return Thread(True, agent_id, file)


def write_mirrors(
    transcript: Transcript, lines: list[str], *, agent_id: str, tool_id: str, parent_uuid: str | None
) -> None:
    """Progress lines in the main file that carry every third line of the agent again."""
    for line in lines[::3]:
        transcript.write(
            f'{{"parentUuid":"{parent_uuid}","isSidechain":false,"type":"progress","data":'
            f'{{"type":"agent_progress","agentId":"{agent_id}","message":{line},"normalizedMessages":[]}},'
            f'"toolUseID":"{tool_id}","parentToolUseID":"{tool_id}","uuid":"{transcript.source.uuid()}",'
            f'"timestamp":"{transcript.now()}",{envelope(transcript.origin)}}}'
        )


def write_task_result(
    transcript: Transcript, agent_id: str, tool_id: str, prompt: str, *, context_tokens: int, call_count: int
) -> None:
    text = transcript.source.text(transcript.random.randrange(400, 5000))
    content = f'[{{"type":"text","text":"{text}"}}]'
    usage = (
        '{"input_tokens":4,"cache_creation_input_tokens":420,'
        f'"cache_read_input_tokens":{max(0, context_tokens - 600)},"output_tokens":170,'
        '"server_tool_use":{"web_search_requests":0},"service_tier":"standard",'
        '"cache_creation":{"ephemeral_5m_input_tokens":420,"ephemeral_1h_input_tokens":0}}'
    )
    transcript.write_user(
        f'[{{"tool_use_id":"{tool_id}","type":"tool_result","content":{content}}}]',
        extra=f',"toolUseResult":{{"status":"completed","prompt":"{prompt}","agentId":"{agent_id}",'
        f'"content":{content},"totalDurationMs":{transcript.random.randrange(2000, 300000)},'
        f'"totalTokens":{context_tokens},"totalToolUseCount":{call_count},"usage":{usage}}}',
    )

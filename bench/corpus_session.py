"""One whole session: prompts, calls, agents, resumes, and the noise that stands between them."""

from __future__ import annotations

from typing import NamedTuple

from bench.corpus_calls import write_agent, write_main_call
from bench.corpus_lines import Usage, envelope, true_or_false
from bench.corpus_transcript import Call, SessionPlan, Transcript

MIN_SESSION_BYTES = 900
MIN_PROMPT_ROOM_BYTES = 700
MIN_AGENT_SESSION_BYTES = 60_000
REPLAY_WINDOW_LINES = 40


class ResumedFrom(NamedTuple):
    """The tail of an older session that a newer one begins with."""

    session_id: bytes
    lines: list[bytes]


def write_session(plan: SessionPlan, *, seed: str, tool_scale: float, resumed: ResumedFrom | None = None) -> Transcript:
    """All lines of a session; a session is a function of its plan, its seed and what it resumes."""
    transcript = Transcript(plan, seed=seed, tool_scale=tool_scale)
    random, source = transcript.random, transcript.source
    if random.random() < 0.3:
        transcript.write(f'{{"type":"summary","summary":"{source.text(60)}","leafUuid":"{source.uuid()}"}}')
    if resumed:
        session_id = transcript.origin.session_id.encode()
        # A resume writes the older lines again with the same ids and times, under its own session id.
        for line in resumed.lines:
            transcript.write_encoded(line.replace(resumed.session_id, session_id))
    while transcript.written_bytes < wanted_bytes(plan):
        write_turn(transcript)
        if random.random() < 0.012:
            write_synthetic_error(transcript)
        if random.random() < 0.006:
            write_replay(transcript)
        if random.random() < 0.0015:
            transcript.write("")
        transcript.clock += random.expovariate(1 / 240.0)
    return transcript


def tail_of(transcript: Transcript) -> ResumedFrom:
    """What a later session repeats of this one: a third of it, within limits."""
    count = max(6, min(400, len(transcript.main_lines) // 3))
    return ResumedFrom(transcript.origin.session_id.encode(), transcript.main_lines[-count:])


def draw_torn_line(transcript: Transcript) -> bytes:
    """The cut line at the end of a file that is just being written; most files have none."""
    if transcript.plan.number % 173 != 5:
        return b""
    line = (
        f'{{"parentUuid":"{transcript.source.uuid()}","isSidechain":false,'
        f'"message":{{"model":"{transcript.plan.models[0]}","id":"msg_01'
    )
    return line.encode()


def wanted_bytes(plan: SessionPlan) -> float:
    return max(MIN_SESSION_BYTES, plan.target_bytes)


def write_turn(transcript: Transcript) -> None:
    """A prompt and the calls that answer it."""
    random, plan = transcript.random, transcript.plan
    if plan.target_bytes - transcript.written_bytes > MIN_PROMPT_ROOM_BYTES:
        prompt = transcript.source.text(min(6000, int(random.lognormvariate(4.9, 1.1))))
        transcript.write_user(f'[{{"type":"text","text":"{prompt}"}}]')
    call_count = 1 + int(random.expovariate(1 / 7))
    model = random.choices(plan.models, [8, 1])[0]
    for number in range(1, call_count + 1):
        if random.random() < 0.035 and plan.target_bytes > MIN_AGENT_SESSION_BYTES:
            write_agent(transcript)
        write_main_call(transcript, model=model, is_last=number == call_count)
        if random.random() < 0.12:
            write_noise(transcript)
        if transcript.written_bytes >= wanted_bytes(plan):
            break


def write_noise(transcript: Transcript) -> None:
    """A line that carries no usage, by its share of such lines."""
    share = transcript.random.random()
    if share < 0.35:
        write_file_snapshot(transcript)
    elif share < 0.55:
        write_turn_duration(transcript)
    elif share < 0.70:
        operation = transcript.random.choice(["enqueue", "dequeue"])
        transcript.write(
            f'{{"type":"queue-operation","operation":"{operation}","timestamp":"{transcript.now()}",'
            f'"sessionId":"{transcript.origin.session_id}","content":"{transcript.source.text(80)}"}}'
        )
    elif share < 0.85:
        transcript.write(
            f'{{"type":"last-prompt","lastPrompt":"{transcript.source.text(120)}",'
            f'"sessionId":"{transcript.origin.session_id}"}}'
        )
    else:
        transcript.write(
            f'{{"parentUuid":"{transcript.parent_uuid}","isSidechain":false,"attachment":'
            f'{{"type":"todo_reminder","content":[],"itemCount":0}},"type":"attachment",'
            f'"uuid":"{transcript.source.uuid()}","timestamp":"{transcript.now()}",{envelope(transcript.origin)}}}'
        )


def write_file_snapshot(transcript: Transcript) -> None:
    random, source = transcript.random, transcript.source
    backups = ",".join(
        f'"src/{source.word()}/{source.identifier()}.py":{{"backupFileName":"{random.getrandbits(64):016x}'
        f'@v{random.randrange(1, 9)}","version":{random.randrange(1, 9)},"backupTime":"{transcript.now()}"}}'
        for _ in range(random.randrange(0, 14))
    )
    message_id = source.uuid()
    is_update = random.choice([True, False])
    transcript.write(
        f'{{"type":"file-history-snapshot","messageId":"{message_id}","snapshot":{{"messageId":"{message_id}",'
        f'"trackedFileBackups":{{{backups}}},"timestamp":"{transcript.now()}"}},'
        f'"isSnapshotUpdate":{true_or_false(is_update)}}}'
    )


def write_turn_duration(transcript: Transcript) -> None:
    transcript.write(
        f'{{"parentUuid":"{transcript.parent_uuid}","isSidechain":false,"type":"system","subtype":"turn_duration",'
        f'"durationMs":{transcript.random.randrange(900, 400000)},"timestamp":"{transcript.tick(0.01, 0.1)}",'
        f'"uuid":"{transcript.source.uuid()}","isMeta":false,{envelope(transcript.origin)}}}'
    )


def write_replay(transcript: Transcript) -> None:
    """A side question: a sidechain line that repeats a recent message under another request id."""
    for line in reversed(transcript.main_lines[-REPLAY_WINDOW_LINES:]):
        if not can_be_replayed(line):
            continue
        start = line.rindex(b'"requestId":"') + len(b'"requestId":"')
        end = line.index(b'"', start)
        replay = line[:start] + f"req_011C{transcript.source.base58(20)}".encode() + line[end:]
        transcript.write_encoded(replay.replace(b'"isSidechain":false', b'"isSidechain":true', 1))
        return


def can_be_replayed(line: bytes) -> bool:
    return (
        line.startswith(b'{"parentUuid":')
        and b'"type":"assistant"' in line
        and b'"requestId":"req_' in line
        and b'"isSidechain":false' in line
        and b'"model":"<synthetic>"' not in line
    )


def write_synthetic_error(transcript: Transcript) -> None:
    """The line that stands for a failed request: a made-up message with no tokens."""
    message_id = transcript.source.uuid()
    uuid = transcript.source.uuid()
    parent = f'"{transcript.parent_uuid}"' if transcript.parent_uuid else "null"
    timestamp = transcript.tick(0.1, 1)
    transcript.write(
        f'{{"parentUuid":{parent},"isSidechain":false,"type":"assistant","uuid":"{uuid}","timestamp":"{timestamp}",'
        f'"message":{{"id":"{message_id}","container":null,"model":"<synthetic>","role":"assistant",'
        '"stop_reason":"stop_sequence","stop_sequence":"","type":"message","usage":{"input_tokens":0,'
        '"output_tokens":0,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,'
        '"server_tool_use":{"web_search_requests":0,"web_fetch_requests":0},"service_tier":null,'
        '"cache_creation":{"ephemeral_1h_input_tokens":0,"ephemeral_5m_input_tokens":0},"inference_geo":null,'
        f'"iterations":null,"speed":null}},"content":[{{"type":"text","text":"API Error: '
        f'{transcript.source.text(40)}"}}],"context_management":null}},"error":"server_error",'
        f'"isApiErrorMessage":true,{envelope(transcript.origin)}}}'
    )
    transcript.calls.append(Call(int(transcript.clock), "<synthetic>", Usage(0, 0, 0, 0, 0, 0, False)))
    transcript.parent_uuid = uuid

"""What the three records that Copilot CLI keeps of one call have in common: the key, and counts without overlap."""

from __future__ import annotations

import hashlib
from typing import Final, NamedTuple

import msgspec

from tallystick.observation import Observation

SOURCE: Final = "copilot-cli"


class Usage(NamedTuple):
    """A call's counts as Copilot writes them: the prompt contains what the cache held and what was put into it."""

    prompt_tokens: int
    output_tokens: int
    read_tokens: int
    written_tokens: int
    reasoning_tokens: int

    def event_key(self, session_id: str) -> str:
        """The key of a call: its session, and its tokens sent and received.

        The ids of calls would be better, but the session store has none. Older spans do not tell what was read from the
        cache, so that only the whole prompt is the same everywhere. It grows from call to call.
        """
        written = f"{session_id}\n{self.prompt_tokens}\n{self.output_tokens}"
        return f"{SOURCE}:{hashlib.sha256(written.encode('utf-8', 'replace')).hexdigest()[:40]}"

    def laid_over(self, observation: Observation) -> Observation:
        """The observation with these counts, each token in one bucket; thinking is in the output."""
        return msgspec.structs.replace(
            observation,
            input_tokens=self.prompt_tokens - self.read_tokens - self.written_tokens,
            cache_creation_5m_tokens=self.written_tokens,
            cache_read_tokens=self.read_tokens,
            output_tokens=self.output_tokens,
            thinking_tokens=min(self.reasoning_tokens, max(self.output_tokens, 0)),
        )

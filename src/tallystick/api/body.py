"""Reading a request's body within limits: its size, its size unpacked, and the time it takes to come."""

from __future__ import annotations

import asyncio
import zlib
from typing import Annotated

from fastapi import Depends, Request

from tallystick.errors import InvalidRequest, TooMuch

MAX_BODY_BYTES = 16 << 20
BODY_TIMEOUT_S = 20.0
_GZIP = 16 + zlib.MAX_WBITS


async def read_body(request: Request) -> bytes:
    """The body, unpacked where it is gzip; raises TooMuch over 16 MiB, packed or not, and InvalidRequest.

    To be read only when it is known who sends it: nobody else may fill this memory.
    """
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("identity", "gzip"):
        raise InvalidRequest(
            f"no Content-Encoding {encoding[:20]!r} here",
            hint="Send the body as it is, or as gzip.",
            constraint="encoding_is_known",
        )
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > MAX_BODY_BYTES:
        raise _too_large()
    packed = bytearray()
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            async for chunk in request.stream():
                packed += chunk
                if len(packed) > MAX_BODY_BYTES:
                    raise _too_large()
    except TimeoutError:
        raise InvalidRequest(
            f"the body did not come within {BODY_TIMEOUT_S:.0f} s",
            hint="Send smaller batches.",
            constraint="body_comes_in_time",
        ) from None
    return _unpacked(packed) if encoding == "gzip" else bytes(packed)


# what an endpoint writes that takes one; Depends keeps FastAPI from describing it as a member of a JSON object
Body = Annotated[bytes, Depends(read_body)]


def _unpacked(packed: bytearray) -> bytes:
    unpacker = zlib.decompressobj(_GZIP)
    try:
        text = unpacker.decompress(packed, MAX_BODY_BYTES + 1)
    except zlib.error:
        raise InvalidRequest(
            "the body is not gzip", hint="Leave Content-Encoding out.", constraint="body_is_gzip"
        ) from None
    if len(text) > MAX_BODY_BYTES:
        raise _too_large()
    if not unpacker.eof or unpacker.unused_data:
        raise InvalidRequest("the body is not one whole gzip", hint="Send it again.", constraint="body_is_gzip")
    return text


def _too_large() -> TooMuch:
    return TooMuch(
        f"the body is larger than {MAX_BODY_BYTES >> 20} MiB",
        hint="Send smaller batches.",
        constraint="body_is_small_enough",
    )

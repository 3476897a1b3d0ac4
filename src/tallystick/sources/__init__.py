"""One file per transcript format: bytes and state in, observations and state out, no I/O."""

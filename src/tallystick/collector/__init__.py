"""From the transcripts on this machine to the ledger: discover, tail, checkpoint, run."""

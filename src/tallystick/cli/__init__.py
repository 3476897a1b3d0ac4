"""The command line: `tally`. It reads the same Ledger methods as every other face of the ledger."""

"""The roads to a ledger that lead over HTTP. They alone, and the HTTP API itself, know words of HTTP."""

"""Checks our SQL with Postgres' own scanner and parser: it parses, and keywords and names are in lower case.

Run as `python -m tests.check_sql FOLDER`; prints one line per finding and exits with 1 if there is any.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

from pglast import parse_sql, scan
from pglast.parser import ParseError

MAX_LINE = 120


def findings_of(path: Path) -> Iterator[str]:
    """One line for each thing wrong with a file."""
    text = path.read_text(encoding="utf-8")
    try:
        parse_sql(text)
    except ParseError as error:
        yield f"{path}: does not parse: {error}"
        return
    # the price list is data: one row per line, whatever its length
    if "price_list" not in path.name:
        for number, line in enumerate(text.splitlines(), start=1):
            if len(line) > MAX_LINE:
                yield f"{path}:{number}: longer than {MAX_LINE} characters"
            if line != line.rstrip():
                yield f"{path}:{number}: blank at the end of the line"
    yield from case_findings(path, text, first_line=1)


def case_findings(path: Path, text: str, *, first_line: int) -> Iterator[str]:
    """Words with a capital in code, the bodies between dollar quotes included; strings and comments are free."""
    raw = text.encode()
    for token in scan(text):
        piece = raw[token.start : token.end + 1].decode()
        line = first_line + raw[: token.start].count(b"\n")
        if token.name == "SCONST":
            body = re.fullmatch(r"(\$\w*\$)(.*)\1", piece, flags=re.DOTALL)
            if body:
                yield from case_findings(path, body.group(2), first_line=line)
        elif token.name not in {"SQL_COMMENT", "C_COMMENT"} and not piece.startswith('"') and piece != piece.lower():
            yield f"{path}:{line}: {piece} is not in lower case"


def main() -> int:
    paths = sorted(Path(sys.argv[1]).rglob("*.sql"))
    assert paths, f"no SQL below {sys.argv[1]}"
    findings = [finding for path in paths for finding in findings_of(path)]
    print("\n".join(findings) or f"{len(paths)} SQL files parse and are in lower case")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())

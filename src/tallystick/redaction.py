"""Text that may be shown: what could be a password in it is ***. Better too much is hidden than too little."""

from __future__ import annotations

import re
from typing import Final

# password=... in a query string or a connection string, where a quoted one may hold blanks and \' and \\
_SETTING: Final = re.compile(r"(password\s*=\s*)('(?:[^'\\]|\\.)*'?|(?:[^\s\\&]|\\.)+)", re.IGNORECASE | re.DOTALL)
# user:password@, up to the last @, because nobody can say which one ends a password
_USER_IN_URL: Final = re.compile(r"(://[^:@]*):.*@", re.DOTALL)
_USER_IN_TEXT: Final = re.compile(r"(://[^:/?@\s]*):\S*@")
# where the host was forgotten, the password stands in the place of the port
_PORT: Final = re.compile(r"(://[^:/?@\s\[]*):(?!\*\*\*@|\d{1,5}(?:[/?,\s]|$))[^\s/?]*")


def redacted_url(url: str) -> str:
    """A connection URL, or a connection string, without its password, which may hold any sign at all."""
    return _without_rest(_USER_IN_URL.sub(r"\1:***@", url))


def without_passwords(text: str) -> str:
    """A text without the passwords of the URLs and connection strings in it."""
    return _without_rest(_USER_IN_TEXT.sub(r"\1:***@", text))


def one_line(message: str, hint: str = "") -> str:
    """What is wrong and what to do, as one line without line breaks and passwords."""
    said = " ".join(message.split()).rstrip(".")
    told = " ".join(hint.split())
    told = told[:1].upper() + told[1:]
    if not told:
        return without_passwords(said)
    return without_passwords(f"{said} {told}" if said.endswith(("?", "!")) else f"{said}. {told}")


def _without_rest(text: str) -> str:
    return _SETTING.sub(r"\1***", _PORT.sub(r"\1:***", text))

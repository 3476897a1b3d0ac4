"""One member of a JSON object put in, replaced or taken out, with every other sign of the text as it was.

Read and written anew, a text would lose what a program keeps of it only once or not at all: a name that stands twice, a
number beyond its floats, line ends, indents. All of this raises ValueError for what is no JSON object.
"""

from __future__ import annotations

import json
import re
from typing import NamedTuple, NoReturn

_BLANKS = re.compile(r"[ \t\r\n]*")
_BYTE_ORDER_MARK = "\ufeff"


class _Member(NamedTuple):
    """Where a member stands: from its name over the beginning of its value to the end of that."""

    name: str
    start: int
    value_start: int
    end: int


def member_of(text: str, name: str) -> str | None:
    """The value of a member as it is written; None where there is none."""
    member = _find(_members_of(text), name)
    return text[member.value_start : member.end] if member else None


def with_member(text: str, name: str, value: str) -> str:
    """The text with this value, which is JSON, as that of a member: in its place, or behind the last one."""
    members = _members_of(text)
    member = _find(members, name)
    if member:
        return text[: member.value_start] + value + text[member.end :]
    written = f"{json.dumps(name)}: {value}"
    if members:
        blanks = text[text.index("{") + 1 : members[0].start]
        end = members[-1].end
        return f"{text[:end]},{blanks}{written}{text[end:]}"
    start = text.index("{") + 1
    line_end = "\r\n" if "\r\n" in text else "\n"
    return f"{text[:start]}{line_end}  {written}{line_end}{text[text.index('}', start) :]}"


def without_member(text: str, name: str) -> str:
    """The text without a member, and without the comma and the blanks that parted it from the one before."""
    members = _members_of(text)
    member = _find(members, name)
    if member is None:
        return text
    place = members.index(member)
    if place:
        return text[: members[place - 1].end] + text[member.end :]
    start = text.index("{") + 1
    if len(members) > 1:
        return text[: member.start] + text[members[1].start :]
    return text[:start] + text[text.index("}", member.end) :]


def _find(members: list[_Member], name: str) -> _Member | None:
    found = [member for member in members if member.name == name]
    if len(found) > 1:
        raise ValueError(f"{name} stands in it {len(found)} times")
    return found[0] if found else None


def _members_of(text: str) -> list[_Member]:
    bare = text.removeprefix(_BYTE_ORDER_MARK)
    decoder = json.JSONDecoder(parse_constant=_refuse)
    try:
        is_object = isinstance(decoder.decode(bare), dict)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if not is_object:
        raise ValueError("it is no JSON object")
    members: list[_Member] = []
    place = text.index("{") + 1
    while text[start := _after_blanks(text, place)] != "}":
        name, place = decoder.raw_decode(text, start)
        value_start = _after_blanks(text, _after_blanks(text, place) + len(":"))
        _, end = decoder.raw_decode(text, value_start)
        members.append(_Member(name, start, value_start, end))
        place = _after_blanks(text, end)
        place += text[place] == ","
    return members


def _after_blanks(text: str, place: int) -> int:
    found = _BLANKS.match(text, place)
    assert found
    return found.end()


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")

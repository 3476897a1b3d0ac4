"""One member of a JSON text changes, and no other sign of it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallystick.cli.json_member import member_of, with_member, without_member

NAME = "statusLine"
VALUE = '{"command": "c", "n": [1e400]}'
TEXTS = {
    "indented": '{\n  "a": 1,\n  "b": {"statusLine": 2}\n}\n',
    "on one line": '{"a": 1, "b": 2}',
    "without blanks": '{"a":1,"b":[{},"}"]}',
    "a number beyond every float": '{"a": 1e400, "b": -0.0, "c": 12345678901234567890.10}',
    "a name that stands twice": '{"a": 1, "a": 2}',
    "a byte order mark": '\ufeff{"a": 1}',
    "line ends of Windows": '{\r\n\t"a": 1\r\n}\r\n',
    "half of a surrogate pair": '{"a": "\\ud800", "\\u0073": "ü/\\/"}',
    "blanks everywhere": ' \n{ "a" :\t1 ,\r"b" : [ ] } \n',
}

blanks = st.text(" \t\r\n", max_size=2)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


@st.composite
def object_texts(draw: st.DrawFn) -> str:
    """JSON objects as anybody might write them, with names that may stand twice."""
    is_ascii = draw(st.booleans())
    members = [
        f"{draw(blanks)}{json.dumps(name)}{draw(blanks)}:{draw(blanks)}{json.dumps(value, ensure_ascii=is_ascii)}"
        for name, value in draw(st.lists(st.tuples(st.text(max_size=3), values), min_size=1, max_size=4))
    ]
    return f"{draw(blanks)}{{{f'{draw(blanks)},'.join(members)}{draw(blanks)}}}{draw(blanks)}"


def pairs_of(text: str) -> Any:
    return json.loads(text.removeprefix("\ufeff"), object_pairs_hook=tuple)


@pytest.mark.parametrize("what", TEXTS)
def test_a_member_that_is_put_in_and_taken_out_leaves_the_text_as_it_was(what: str) -> None:
    text = TEXTS[what]
    put_in = with_member(text, NAME, VALUE)
    assert member_of(text, NAME) is None
    assert member_of(put_in, NAME) == VALUE
    assert without_member(put_in, NAME) == text
    assert with_member(put_in, NAME, "5") == put_in.replace(VALUE, "5")


@given(text=object_texts())
def test_whatever_the_text_the_other_members_stay_and_it_comes_back(text: str) -> None:
    put_in = with_member(text, NAME, VALUE)
    assert pairs_of(put_in) == (*pairs_of(text), (NAME, pairs_of(VALUE)))
    assert without_member(put_in, NAME) == text
    for first in dict(pairs_of(text)):
        if [name for name, _ in pairs_of(text)].count(first) == 1:
            others = tuple(pair for pair in pairs_of(text) if pair[0] != first)
            assert pairs_of(without_member(text, first)) == others


def test_the_only_member_comes_and_goes() -> None:
    assert with_member("{}\n", NAME, "5") == '{\n  "statusLine": 5\n}\n'
    assert without_member('{\n  "statusLine": 5\n}\n', NAME) == "{}\n"
    assert without_member("{ }", NAME) == "{ }"


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "Expecting value"),
        ("[]", "no JSON object"),
        ("// a comment\n{}", "Expecting value"),
        ('{"a": 1} x', "Extra data"),
        ('{"a": NaN}', "NaN"),
        ('{"a": -Infinity}', "-Infinity"),
        ('{"a": 1,}', "property name"),
        ('{"statusLine": 1, "a": 2, "statusLine": 3}', "2 times"),
        ('{"statusLine": 1, "status\\u004cine": 3}', "2 times"),
        ('{"a": ' + "[" * 100_000 + "]" * 100_000 + "}", "deeply"),
        ("\ufeff\ufeff{}", "Expecting value"),
    ],
)
def test_a_text_in_which_it_cannot_be_told_is_refused(text: str, fault: str) -> None:
    for change in (
        lambda: member_of(text, NAME),
        lambda: with_member(text, NAME, "5"),
        lambda: without_member(text, NAME),
    ):
        with pytest.raises(ValueError, match=fault):
            change()

"""A list of records is cut between its records, whatever stands in them."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallystick.batches import reject_unreadable, split_batch, split_records
from tallystick.errors import InvalidRequest

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(alphabet='"\\[]{},: aü\n', max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(alphabet='"\\[]{},', max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(values=st.lists(json_values, min_size=1, max_size=6), indent=st.sampled_from([0, 2]))
def test_a_list_is_cut_between_its_records_and_nowhere_else(values: list[Any], indent: int) -> None:
    text = msgspec.json.format(msgspec.json.encode(values), indent=indent)
    assert [msgspec.json.decode(record) for record in split_records(text)] == values
    halves = split_batch(b" " + text + b"\n")
    assert [value for half in halves for value in msgspec.json.decode(half)] == values
    assert len(halves) == min(2, len(values))


@pytest.mark.parametrize("text", [b"", b"5", b"{}", b"[", b"]", b"[}", b"[}{]", b"[]]", b"[[]", b"[] []", b"[],"])
def test_what_is_no_list_is_refused(text: bytes) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        split_records(text)
    assert refusal.value.hint


def test_the_place_of_a_record_is_its_digest_whatever_stands_around_it() -> None:
    # as sha256sum says
    digest = "999aaa8645bb72ff599e143b1e3d2a94777127f4783a69f067251f7bbebc5ab6"
    for events in (b"[nonsense]", b" [ nonsense\n] "):
        (reject,) = msgspec.json.decode(reject_unreadable(events))
        assert reject == {"source": "unknown", "position": f"sha256:{digest}", "reject_reason": "unreadable"}


def test_a_record_that_names_its_place_keeps_it_and_nothing_else() -> None:
    record = b'{"source": "claude-code", "position":"3a25-77:1854", "model":"\\u0000", "project": "secret"}'
    (reject,) = msgspec.json.decode(reject_unreadable(b"[" + record + b"]"))
    assert reject == {"source": "claude-code", "position": "3a25-77:1854", "reject_reason": "unreadable"}


@pytest.mark.parametrize(
    "member",
    [b'"position":"two words"', b'"position":"a\\"b"', b'"position":"\xc3\xa9"', b'"position":"' + b"x" * 201 + b'"'],
)
def test_what_is_no_place_stays_out(member: bytes) -> None:
    (reject,) = msgspec.json.decode(reject_unreadable(b"[{" + member + b"}]"))
    assert reject["position"].startswith("sha256:")

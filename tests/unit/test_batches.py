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

"""Elements of a JSON array, found without parsing them."""

import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notus.data.files import json_array
from notus.data.files.json_array import elements

values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.floats(), st.text()),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)
signs = st.text(st.sampled_from('"\\[]{},: \n'), max_size=9)


def found(content: bytes) -> list[bytes]:
    return list(elements(io.BytesIO(content)))


@given(
    rows=st.lists(st.one_of(values, signs), max_size=6),
    indent=st.sampled_from([None, 2]),
    chunk=st.integers(1, 9),
)
def test_any_array_in_any_chunks(rows: list[Any], indent: int | None, chunk: int) -> None:
    content = json.dumps(rows, indent=indent).encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_array, "CHUNK", chunk)
        assert [json.dumps(json.loads(part)) for part in found(content)] == [
            json.dumps(row) for row in rows
        ]


def test_what_is_no_json_keeps_its_place() -> None:
    assert found(b"[1, nonsense ,, {'a': 1}, ]") == [b"1", b" nonsense ", b"", b" {'a': 1}", b" "]
    assert found(b" \n[ ] \n") == []


@pytest.mark.parametrize("content", [b"[", b"[1, 2", b'[1, "a', b'["a\\', b"[[1]", b"[1,"])
def test_an_array_that_never_closes(content: bytes) -> None:
    with pytest.raises(EOFError, match="the array is not closed after element"):
        found(content)


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"[1] [2]", "text after the array: b'\\[2\\]'"), (b"[1}", "closes with '}'")],
)
def test_what_follows_an_array(content: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        found(content)


def test_an_element_that_has_no_end_is_not_kept_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_array, "CHUNK", 10)
    monkeypatch.setattr(json_array, "LIMIT", 100)
    file = io.BytesIO(b'[1, "' + b"x" * 1000)
    with pytest.raises(ValueError, match="element 2 is longer than 100 bytes"):
        list(elements(file))
    assert file.tell() < 250

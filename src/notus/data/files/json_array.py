"""The elements of a JSON array in a file, one at a time: a gigabyte needs a megabyte of memory.

Only brackets, commas and quotes are looked at, to find where an element ends; what is inside is
parsed later, each element by itself, so that one that is no JSON costs only itself. What costs the
whole file is an array that never closes: then nobody can tell what is missing.
"""

import re
from collections.abc import Iterator
from typing import BinaryIO

CHUNK = 1 << 20
LIMIT = 1 << 28
"""Bytes of the longest element; a file with a longer one is no list of rows."""

_TEXT = rb'"(?:[^"\\]++|\\.)*+"'
_TO_MARK = re.compile(rb'(?:[^"\[\]{},]++|' + _TEXT + rb")*+", re.DOTALL)
_TO_BRACKET = re.compile(rb'(?:[^"\[\]{}]++|' + _TEXT + rb")*+", re.DOTALL)
_OPENING, _CLOSING = b"[{", b"]}"


def elements(file: BinaryIO) -> Iterator[bytes]:
    """Yield the bytes of each element of the array that a file consists of.

    Raises:
        ValueError: an element is longer than `LIMIT`, or something follows the array.
        EOFError: the array is not closed.
    """
    buffer, start, at, depth, count = b"", 0, 0, 0, 0
    # What is left comes again with as much once more, so that it is looked at a few times at most.
    while chunk := file.read(max(CHUNK, len(buffer) - start)):
        buffer, start, at = buffer[start:] + chunk, 0, at - start
        while True:
            found = (_TO_BRACKET if depth > 1 else _TO_MARK).match(buffer, at)
            at = found.end() if found else at
            sign = buffer[at : at + 1]
            # The end of the buffer, or the beginning of a text that ends behind it.
            if sign in (b"", b'"'):
                break
            at += 1
            depth += (sign in _OPENING) - (sign in _CLOSING)
            if sign in _OPENING and depth == 1:
                start = at
            elif depth == 0 or (sign == b"," and depth == 1):
                element, start = buffer[start : at - 1], at
                if depth or count or element.strip():
                    count += 1
                    yield element
                if depth == 0:
                    _require_end(buffer[at:] + file.read(CHUNK), sign)
                    return
        if len(buffer) - start > LIMIT:
            raise ValueError(f"element {count + 1} is longer than {LIMIT:,} bytes")
    raise EOFError(f"the array is not closed after element {count}")


def _require_end(rest: bytes, sign: bytes) -> None:
    if sign != b"]":
        raise ValueError("an array that closes with '}'")
    if rest.strip():
        raise ValueError(f"text after the array: {rest.strip()[:40]!r}")

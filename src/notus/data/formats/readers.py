"""The source formats by name, and the look at the first rows that tells which one is there.

The order of `READERS` is from the most particular to the most general: where two formats recognise
equally many rows, the first one named wins. So a row of SimPO's, which has a chosen and a rejected
answer beside its five scored ones, is read as scored answers, and any other pair as a pair.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from notus.data.files.streams import read_batches
from notus.data.formats import (
    best_of_n,
    finegrained,
    helpsteer,
    hh_rlhf,
    kto,
    nectar,
    pairs,
    saferlhf,
    sharegpt,
    ultrafeedback,
)
from notus.data.parsed import Parsed
from notus.errors import DataError, explain

DETECTION_ROWS = 20


class Reader(NamedTuple):
    """One source format."""

    recognises: Callable[[Mapping[str, object]], bool]
    parse: Callable[[Mapping[str, object]], Parsed]
    fields: str
    """What its rows must have, for messages."""


def detect(files: Sequence[Path]) -> str:
    """Name the format that recognises most of the first rows of the first file that has any.

    Raises:
        DataError: none recognises any.
    """
    path, first = _first_rows(files)
    rows = [row for _, row in first if isinstance(row, Mapping)]
    votes = {name: sum(map(reader.recognises, rows)) for name, reader in READERS.items()}
    best = max(votes, key=lambda name: votes[name])
    if votes[best] == 0:
        found = f"rows with the fields {', '.join(rows[0])}" if rows else "no JSON objects"
        raise DataError(
            explain(
                found=found,
                expected="; ".join(f"{name}: {reader.fields}" for name, reader in READERS.items()),
                where=f"the first {len(first)} rows of {path.name}",
                remedy="say which field is which in a file for --map, or name the format with "
                "--format to see each reason",
            )
        )
    return best


def _first_rows(files: Sequence[Path]) -> tuple[Path, list[tuple[int, object]]]:
    for path in files:
        for rows, _ in read_batches(path):
            if rows:
                return path, rows[:DETECTION_ROWS]
    return files[0], []


READERS: dict[str, Reader] = {
    ultrafeedback.NAME: Reader(
        ultrafeedback.recognises, ultrafeedback.parse, "instruction and completions"
    ),
    finegrained.NAME: Reader(
        finegrained.recognises, finegrained.parse, "question, prediction 1, 2 ... and preference"
    ),
    saferlhf.NAME: Reader(
        saferlhf.recognises, saferlhf.parse, "prompt, response_0, response_1, better_response_id"
    ),
    helpsteer.COMPARED: Reader(
        helpsteer.recognises_compared,
        helpsteer.parse_compared,
        "context, response1, response2 and overall_preference",
    ),
    helpsteer.RATED: Reader(
        helpsteer.recognises_rated, helpsteer.parse_rated, "prompt, response and helpfulness ..."
    ),
    nectar.NAME: Reader(nectar.recognises, nectar.parse, "prompt and answers with answer and rank"),
    best_of_n.NAME: Reader(
        best_of_n.recognises, best_of_n.parse, "prompt, responses and rewards_... or scores"
    ),
    hh_rlhf.NAME: Reader(
        hh_rlhf.recognises, hh_rlhf.parse, "chosen and rejected that begin with Human:"
    ),
    sharegpt.NAME: Reader(
        sharegpt.recognises, sharegpt.parse, "conversations, chosen and rejected"
    ),
    kto.NAME: Reader(kto.recognises, kto.parse, "messages or prompt and completion, with label"),
    pairs.NAME: Reader(pairs.recognises, pairs.parse, "prompt, chosen and rejected"),
}

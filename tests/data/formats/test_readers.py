"""Which format a source has."""

import json
from pathlib import Path
from typing import Any

import pytest

from notus.data.formats.readers import READERS, detect
from notus.errors import DataError

PAIR = {"chosen": "a", "rejected": "b"}
ROWS: dict[str, dict[str, Any]] = {
    "ultrafeedback": {"instruction": "A?", "completions": []},
    "finegrained": {"question": "A?", "prediction 1": "a", "preference": []},
    "saferlhf": {"prompt": "A?", "response_0": "a", "response_1": "b", "better_response_id": 0},
    "helpsteer3": {"context": [], "response1": "a", "response2": "b", "overall_preference": 0},
    "helpsteer2": {"prompt": "A?", "response": "a", "helpfulness": 4},
    "nectar": {"prompt": "A?", "answers": [{"answer": "a", "model": "m", "rank": 1}]},
    "best_of_n": {"prompt": "A?", "responses": ["a"], "scores": [1], **PAIR},
    "hh_rlhf": {"chosen": "\n\nHuman: A?\n\nAssistant: a", "rejected": "b"},
    "sharegpt": {"conversations": [], **PAIR},
    "kto": {"messages": [], "label": True},
    "pairs": {"prompt": "A?", **PAIR},
}


def test_every_reader_is_here() -> None:
    assert list(ROWS) == list(READERS)


def lines(path: Path, *rows: Any) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize("name", READERS)
def test_each_format_is_detected(tmp_path: Path, name: str) -> None:
    assert detect([lines(tmp_path / "x.jsonl", ROWS[name])]) == name


def test_most_rows_decide_and_the_first_file_with_rows_is_looked_at(tmp_path: Path) -> None:
    empty = lines(tmp_path / "a.jsonl")
    mixed = lines(tmp_path / "b.jsonl", ROWS["kto"], ROWS["pairs"], 7, ROWS["pairs"])
    other = lines(tmp_path / "c.jsonl", ROWS["kto"])
    assert detect([empty, mixed, other]) == "pairs"


def test_nothing_known_is_an_error_that_names_the_formats(tmp_path: Path) -> None:
    path = lines(tmp_path / "x.jsonl", {"a": 1, "b": 2})
    with pytest.raises(DataError) as caught:
        detect([path])
    message = str(caught.value)
    assert message.startswith("rows with the fields a, b\n")
    assert all(f"{name}: {reader.fields}" in message for name, reader in READERS.items())
    assert "--map" in message
    with pytest.raises(DataError, match="no JSON objects"):
        detect([lines(tmp_path / "y.jsonl")])

"""Damaged rows and damaged files: nothing raises, nothing is lost, nothing hangs.

The full measure, 10,000 files beside these 120,000 rows, is `benchmarks/fuzz_readers.py`.
"""

import importlib
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from notus.data.formats.readers import READERS
from notus.data.sources import ingest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
fuzz = importlib.import_module("fuzz_readers")
mutations = importlib.import_module("mutations")

READERS_AND_MAPPED = fuzz.readers()
NO_REAL_ROWS = Path("nowhere")
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    texts,
    st.sampled_from(["user", "assistant", "human", "gpt", "N/A", "\n\nHuman: a\n\nAssistant: b"]),
)
names = sorted(
    {name for row in mutations.SEEDS.values() for name in row}
    | {"role", "content", "from", "value", "score", "answer", "model", "rank", "response"}
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.sampled_from(names), inner, max_size=4)
    ),
    max_leaves=12,
)


@pytest.mark.parametrize("name", READERS_AND_MAPPED)
def test_ten_thousand_damaged_rows(name: str) -> None:
    seeds = fuzz.seeds_of(name, NO_REAL_ROWS)
    rng = np.random.default_rng(7)
    counts = fuzz.fuzz_rows(name, READERS_AND_MAPPED[name], seeds, 10_000, rng)
    assert counts["rows"] == 10_000 == counts["kept"] + counts["refused"]
    # The damage is neither so small that nothing is refused nor so great that nothing is left.
    assert counts["kept"] > 500
    assert counts["refused"] > 500
    assert counts["with refused parts"] > 0 or name in ("hh_rlhf", "sharegpt")
    assert counts["slowest"] < 2e6


@given(row=st.dictionaries(st.sampled_from(names), values, max_size=8))
@settings(max_examples=150)
def test_rows_of_any_shape(row: dict[str, Any]) -> None:
    for name, reader in READERS_AND_MAPPED.items():
        reader.recognises(row)
        fuzz.require_usable(name, row, reader.parse(row))


@pytest.mark.parametrize("name", READERS)
def test_what_is_kept_of_damaged_rows_is_in_the_tables(name: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(11)
    seed = mutations.SEEDS[name]
    rows = [row for _ in range(300) if isinstance(row := mutations.mutate_row(seed, rng), dict)]
    (tmp_path / "x.jsonl").write_bytes(mutations.file_of([seed, *rows], ".jsonl"))
    result = ingest(tmp_path / "x.jsonl", tmp_path / "out", format=name, max_refused=1.0)
    facts = result.manifest.facts
    fuzz.require_accounts(facts, tmp_path / "out")
    parsed = [READERS[name].parse(row) for row in [seed, *rows]]
    assert facts["rows"] == len(parsed)
    given = sum(len(one.completions) for one in parsed if one.messages is not None)
    # Ingest refuses a few more rows whole, for roles and empty prompts.
    repeated = facts["repeated"]
    assert isinstance(repeated, dict)
    assert facts["completions"] + repeated["completions"] <= given  # type: ignore[operator]
    assert facts["refused_rows"] >= sum(one.messages is None for one in parsed)  # type: ignore[operator]


@pytest.mark.parametrize("suffix", fuzz.KINDS)
def test_damaged_files(suffix: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    formats = list(READERS) if suffix in (".jsonl", ".jsonl.gz", ".json") else ["pairs"]
    outcomes = set()
    # The first file is whole.
    for number in range(24):
        name = formats[number % len(formats)]
        whole = mutations.file_of([mutations.SEEDS[name]] * 6, suffix)
        folder = tmp_path / str(number)
        folder.mkdir()
        content = mutations.mutate_bytes(whole, rng) if number else whole
        outcomes.add(fuzz.fuzz_file(content, suffix, name, folder))
    assert "read" in outcomes
    assert outcomes <= {"read", "no good row", "damaged"}


@pytest.mark.shared
def test_damage_of_real_rows(shared_data: Path) -> None:
    rng = np.random.default_rng(5)
    for name in mutations.REAL:
        seeds = mutations.real_rows(shared_data, name, 20)
        assert seeds
        counts = fuzz.fuzz_rows(name, READERS[name], seeds, 500, rng)
        assert counts["rows"] == counts["kept"] + counts["refused"] == 500

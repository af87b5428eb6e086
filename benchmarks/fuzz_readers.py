"""Feed damaged rows and damaged files to every reader, and account for every row.

Each format's reader gets `--inputs` rows that were good before a few changes: the real rows of its
data set where they are at hand, rows of the published schema otherwise. It must not raise, and what
it makes of a row must be usable by ingest. Then files of every kind are damaged byte by byte and
ingested in a process of their own: either the file is refused as a whole, with a message, or every
row in it is kept or refused, and the tables hold exactly what was kept.
"""

import argparse
import datetime
import json
import math
import multiprocessing
import os
import queue
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from mutations import SEEDS, file_of, mutate_bytes, mutate_row, real_rows

from notus.data.contracts import check
from notus.data.formats.mapping import FieldMap, reader_of
from notus.data.formats.readers import READERS, Reader
from notus.data.parsed import Parsed
from notus.data.schema import TABLES
from notus.data.sources import ingest
from notus.errors import DataError
from notus.manifest import hardware, versions
from notus.store import read_table

RESULTS = Path(__file__).parent / "results"
KINDS = (".jsonl", ".jsonl.gz", ".json", ".csv", ".parquet", ".arrow")
NESTED = (".jsonl", ".jsonl.gz", ".json")
"""Kinds of files that can hold any row."""
OUTCOMES = ("read", "no good row", "damaged")
SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
MAPPED = """
prompt: instruction
completions:
  - text: completions[*].response
    model: completions[*].model
    ratings:
      - {aspect: overall, value: "completions[*].overall_score", scale: [1, 10]}
"""
LISTS = {"ultrafeedback": "completions", "nectar": "answers", "best_of_n": "responses"}
"""Formats whose completions are a list, and so can be counted in the row."""


def readers() -> dict[str, Reader]:
    """Every reader, one made from a mapping file among them."""
    mapping = FieldMap.model_validate({"name": "mapped", **yaml.safe_load(MAPPED)})
    return READERS | {mapping.name: reader_of(mapping)}


def seeds_of(name: str, shared: Path, limit: int = 100) -> list[Any]:
    """Rows of a format to start from."""
    name = "ultrafeedback" if name == "mapped" else name
    return real_rows(shared, name, limit) or [SEEDS[name]]


def require_usable(name: str, row: Any, parsed: Parsed) -> None:
    """Check what every reader promises, for any row.

    Raises:
        AssertionError: it does not hold.
    """
    levels = Counter(refusal.level for refusal in parsed.refusals)
    if parsed.messages is None:
        assert levels == {"row": 1}, levels
        return
    assert not levels.keys() - {"completion", "rating"}, levels
    for turn in parsed.messages:
        assert all(isinstance(turn[part], str) for part in ("role", "content")), turn
    assert isinstance(parsed.source, str)
    assert parsed.source
    for completion in parsed.completions:
        assert completion.model.strip(), completion
        assert completion.text.strip(), completion
        json.dumps(completion.metadata).encode()
        said = [rating[:2] for rating in completion.ratings]
        assert len(said) == len(set(said)), said
        for rating in completion.ratings:
            assert rating.rater.strip(), rating
            assert rating.aspect.strip(), rating
            assert rating.value is None or math.isfinite(rating.value), rating
            assert rating.scale_min < rating.scale_max, rating
            assert isinstance(rating.rationale, str | None), rating
    json.dumps(parsed.metadata).encode()
    given = row.get(LISTS.get(name, ""))
    if isinstance(given, list):
        assert len(parsed.completions) + levels["completion"] == len(given)


def fuzz_rows(
    name: str, reader: Reader, seeds: Sequence[Any], inputs: int, rng: np.random.Generator
) -> Counter[str]:
    """Read damaged rows; count what became of them, and the slowest in microseconds."""
    counts: Counter[str] = Counter()
    while counts["rows"] < inputs:
        row = mutate_row(seeds[int(rng.integers(len(seeds)))], rng)
        if not isinstance(row, dict):
            continue
        began = time.perf_counter()
        reader.recognises(row)
        parsed = reader.parse(row)
        micros = int((time.perf_counter() - began) * 1e6)
        require_usable(name, row, parsed)
        kept = parsed.messages is not None
        counts["rows"] += 1
        counts["kept" if kept else "refused"] += 1
        counts["with refused parts"] += kept and bool(parsed.refusals)
        counts["slowest"] = max(counts["slowest"], micros)
    return counts


def fuzz_file(content: bytes, suffix: str, name: str, folder: Path) -> str:
    """Ingest one damaged file and check its accounts.

    Returns:
        "read", or what the error says of the file as a whole.

    Raises:
        AssertionError: the accounts do not add up.
    """
    path = folder / f"x{suffix}"
    path.write_bytes(content)
    try:
        result = ingest(path, folder / "out", format=name, max_refused=1.0)
    except DataError as error:
        return "damaged" if "damaged file" in str(error) else "no good row"
    facts: Mapping[str, Any] = result.manifest.facts
    require_accounts(facts, folder / "out")
    return "read"


def require_accounts(facts: Mapping[str, Any], directory: Path) -> None:
    """Check that every row, prompt and refusal of an ingest is where its counts say.

    Raises:
        AssertionError: it is not.
    """
    tables = {
        name: read_table(directory, name).collect()
        for name in ("prompts", "completions", "ratings", "refused")
    }
    assert facts["rows"] == facts["kept"] + facts["refused_rows"]
    assert facts["kept"] == tables["prompts"].height + facts["repeated"]["prompts"]
    for name in ("prompts", "completions", "ratings"):
        assert facts[name] == tables[name].height
    assert sum(facts["refused"].values()) == tables["refused"].height
    for name, table in tables.items():
        assert check(TABLES[name], table).refused.is_empty(), name


def fuzz_files(files: int, shared: Path, batch: int = 200) -> dict[str, Counter[str]]:
    """Ingest damaged files in processes of their own, so that one that dies is counted too.

    Raises:
        AssertionError: an ingest raised something else than its own errors, or its accounts do not
            add up.
    """
    counts: dict[str, Counter[str]] = {kind: Counter() for kind in (*KINDS, "all")}
    context = multiprocessing.get_context("spawn")
    for seed in range(math.ceil(files / batch)):
        results = context.Queue()
        process = context.Process(target=_worker, args=(seed, batch, shared, results))
        process.start()
        for _ in range(batch):
            found = _next(results, process)
            if found is None:
                counts["all"]["died or hung"] += 1
                process.kill()
                break
            suffix, outcome, seconds = found
            assert outcome in OUTCOMES, outcome
            counts[suffix][outcome] += 1
            counts["all"]["slowest"] = max(counts["all"]["slowest"], int(seconds * 1e3))
        process.join()
    return counts


def _worker(seed: int, files: int, shared: Path, results: Any) -> None:
    rng = np.random.default_rng(seed)
    with tempfile.TemporaryDirectory() as folder:
        for number in range(files):
            suffix = KINDS[int(rng.integers(len(KINDS)))]
            names = list(READERS) if suffix in NESTED else ["pairs"]
            name = names[int(rng.integers(len(names)))]
            rows = seeds_of(name, shared, 6)
            content = mutate_bytes(file_of([*rows, *rows], suffix), rng)
            place = Path(folder) / str(number)
            place.mkdir()
            began = time.perf_counter()
            try:
                outcome = fuzz_file(content, suffix, name, place)
            except Exception:
                outcome = f"seed {seed}, file {number}: {traceback.format_exc()}"
            results.put((suffix, outcome, time.perf_counter() - began))


def _next(results: Any, process: Any) -> tuple[str, str, float] | None:
    """Wait for a worker's next result; None if it is dead or has said nothing for a minute."""
    for _ in range(60):
        alive = process.is_alive()
        try:
            found: tuple[str, str, float] = results.get(timeout=1)
        except queue.Empty:
            if not alive:
                return None
        else:
            return found
    return None


def report(
    inputs: int, rows: Mapping[str, Counter[str]], files: Mapping[str, Counter[str]], real: set[str]
) -> str:
    """Render the result file."""
    machine, installed = hardware(), versions()
    by_reader = "\n".join(
        f"| {name} | {'real' if name in real else 'schema'} | {n['rows']:,} | {n['kept']:,} "
        f"| {n['with refused parts']:,} | {n['refused']:,} | {n['slowest'] / 1e3:.1f} ms |"
        for name, n in rows.items()
    )
    by_kind = "\n".join(
        f"| {kind} | {sum(files[kind].values()):,} "
        + "".join(f"| {files[kind][outcome]:,} " for outcome in OUTCOMES)
        + "|"
        for kind in KINDS
    )
    total = sum(sum(files[kind].values()) for kind in KINDS)
    return f"""# Readers under damaged input

Every reader got {inputs:,} damaged rows; none raised, and each row was kept or refused, never both.

| reader | seeds | rows in | kept | of them with refused parts | refused | slowest row |
| --- | --- | ---: | ---: | ---: | ---: | ---: |
{by_reader}

{total:,} damaged files were ingested; {files["all"]["died or hung"]} ended or hung their process;
the slowest took {files["all"]["slowest"] / 1e3:.1f} s. Where a file was read, rows = kept +
refused, kept = prompts + repeated, the tables hold what the counts say, and every table keeps
its rules.

| kind | files | read | no good row in it | damaged as a whole |
| --- | ---: | ---: | ---: | ---: |
{by_kind}

Machine: {machine["cpu"]}, {machine["cores"]} cores, {machine["memory_gib"]} GiB;
{", ".join(f"{k} {installed.get(k)}" for k in ("python", "polars", "pyarrow"))}.
Command: `python benchmarks/fuzz_readers.py --inputs {inputs} --files {total}`
"""


def main() -> None:
    """Parse the arguments, feed, and write the result."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--inputs", type=int, default=10_000, help="damaged rows a reader")
    parser.add_argument("--files", type=int, default=10_000, help="damaged files in all")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    shared = Path(os.environ.get("NOTUS_SHARED_DATA", SHARED))
    rng = np.random.default_rng(arguments.seed)
    rows = {
        name: fuzz_rows(name, reader, seeds_of(name, shared), arguments.inputs, rng)
        for name, reader in readers().items()
    }
    real = {name for name in rows if real_rows(shared, name, 1) or name == "mapped"}
    text = report(arguments.inputs, rows, fuzz_files(arguments.files, shared), real)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"fuzz_readers_{datetime.date.today():%Y-%m-%d}.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()

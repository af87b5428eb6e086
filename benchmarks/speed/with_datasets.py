"""The work of the speed comparison with `datasets.map`: one function over batches of rows.

What needs all rows at once (ranks, and aspects by source) is done in numpy on the mapped columns.
"""

import hashlib
import itertools
import unicodedata
from pathlib import Path
from typing import Any

import datasets
import numpy as np
from scipy.stats import rankdata
from speed.answers import (
    ASPECTS,
    CONFLICT,
    CONFLICT_MEDIANS,
    EXAM_SOURCE,
    SEED,
    Answer,
    Stopwatch,
    digest,
)
from speed.with_pandas import NUMBERS, fold, hashed

PROCESSES = 2


def work(source: Path, folder: Path, clock: Stopwatch) -> Answer:
    """Do the work."""
    datasets.disable_progress_bars()
    with clock("read"):
        rows = datasets.load_dataset(
            "json", data_files=str(source), split="train", cache_dir=str(folder / "cache")
        )
    with clock("ingest"):
        hashlib.sha256(source.read_bytes()).hexdigest()
        mapped = rows.map(
            ids_and_scores, batched=True, num_proc=PROCESSES, remove_columns=["models"]
        )
    with clock("binarize"):
        pairs = mapped.map(
            preferences,
            batched=True,
            num_proc=PROCESSES,
            remove_columns=mapped.column_names,
        )
    with clock("audit"):
        issues, counts = _audit(mapped)
        columns = {name: pairs[name][:] for name in pairs.column_names}
        one, two = columns["argilla-v1"], columns["h4-v2"]
        both = [(a[0], b[0]) for a, b in zip(one, two, strict=True) if a and b]
        margins = [margin for margin in columns["margin"] if margin is not None]
    return {
        **counts,
        **issues,
        "ties": sum(margin == 0 for margin in margins),
        "flips": [len(both), sum(a != b for a, b in both)],
        "argilla-v1": digest("".join(pair) for pair in one if pair),
        "h4-v2": digest("".join(pair) for pair in two if pair),
    }


def ids_and_scores(batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """Ids, folded texts, mean ratings, overall scores and flags of every completion."""
    names = ("prompt_id", "ids", "keys", "means", "overall", "off", "rated", "twins")
    columns: dict[str, list[Any]] = {name: [] for name in names}
    for instruction, items in zip(batch["instruction"], batch["completions"], strict=True):
        prompt = hashed([["user", unicodedata.normalize("NFC", instruction)]])
        kept = [item for item in items if item["response"].strip()]
        ids = [hashed([prompt, item["model"], item["response"]]) for item in kept]
        keys = [hashed(fold(item["response"])) for item in kept]
        values = [
            {name: NUMBERS[entry["Rating"]] for name, entry in item["annotations"].items()}
            for item in kept
        ]
        overall = [item["overall_score"] for item in kept]
        columns["prompt_id"].append(prompt)
        columns["ids"].append(ids)
        columns["keys"].append(keys)
        columns["means"].append([_mean(found) for found in values])
        columns["overall"].append(overall)
        columns["off"].append([_off(v, s) for v, s in zip(values, overall, strict=True)])
        columns["rated"].append([sorted(found) for found in values])
        columns["twins"].append(_twins(ids, keys))
    return columns


def preferences(batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """The pair of both strategies for every row, and the margin of h4-v2."""
    columns: dict[str, list[Any]] = {"argilla-v1": [], "h4-v2": [], "margin": []}
    fields = ("source", "ids", "keys", "means", "overall")
    for source, ids, keys, ratings, overall in zip(*(batch[f] for f in fields), strict=True):
        argilla = _pair(ids, keys, ratings, lower=True)
        h4 = None if source == EXAM_SOURCE else _pair(ids, keys, overall, lower=False)
        columns["argilla-v1"].append(argilla and [ids[i] for i in argilla])
        columns["h4-v2"].append(h4 and [ids[i] for i in h4])
        columns["margin"].append(None if h4 is None else overall[h4[0]] - overall[h4[1]])
    return columns


def _mean(values: dict[str, float]) -> float:
    present = [values[name] for name in ASPECTS if values.get(name) == values.get(name)]
    return round(sum(present) / len(present), 9)


def _off(values: dict[str, float], overall: float) -> bool:
    aspects = any(not 1 <= value <= 5 or value % 1 for value in values.values())
    return bool(aspects or not 1 <= overall <= 10 or (overall * 2) % 1)


def _twins(ids: list[str], keys: list[str]) -> list[str]:
    groups: dict[str, list[str]] = {}
    for name, key in zip(ids, keys, strict=True):
        groups.setdefault(key, []).append(name)
    return [name for group in groups.values() for name in sorted(group)[1:]]


def _pair(
    ids: list[str], keys: list[str], scores: list[float], *, lower: bool
) -> tuple[int, int] | None:
    draws = [
        np.frombuffer(hashlib.blake2b(f"{SEED}:{name}".encode(), digest_size=16).digest(), "<u8")
        for name in ids
    ]
    if not ids:
        return None
    best = min(range(len(ids)), key=lambda i: (-scores[i], int(draws[i][0])))
    rivals = [
        i
        for i in range(len(ids))
        if keys[i] != keys[best] and i != best and (not lower or scores[i] < scores[best])
    ]
    return (best, min(rivals, key=lambda i: int(draws[i][1]))) if rivals else None


def _audit(mapped: datasets.Dataset) -> tuple[dict[str, str], dict[str, int]]:
    names = ("prompt_id", "source", "ids", "means", "overall", "off", "rated", "twins")
    columns = {name: mapped[name][:] for name in names}
    ids = list(itertools.chain.from_iterable(columns["ids"]))
    flat = {
        name: np.array(list(itertools.chain.from_iterable(columns[name])))
        for name in ("means", "overall", "off")
    }
    n = len(ids)
    ranks = [((rankdata(flat[name]) - 0.5) / n).round(9) for name in ("overall", "means")]
    distance = np.abs(ranks[0] - ranks[1]).round(9)
    bug = (flat["overall"] == 10) & (flat["means"] <= 2)
    half = (flat["overall"] == 5) & (flat["means"] <= 1)
    fraction = half | ((flat["overall"] == 7.5) & (flat["means"] <= 2))
    conflict = (distance > max(CONFLICT, CONFLICT_MEDIANS * np.median(distance))) | bug | fraction
    lonely = [
        prompt
        for prompt, own in zip(columns["prompt_id"], columns["ids"], strict=True)
        if len(own) < 2
    ]
    every: dict[str, set[str]] = {}
    for source, rated in zip(columns["source"], columns["rated"], strict=True):
        every.setdefault(source, set()).update(*rated)
    lacking = [
        name
        for source, own, rated in zip(
            columns["source"], columns["ids"], columns["rated"], strict=True
        )
        for name, aspects in zip(own, rated, strict=True)
        if every[source] - set(aspects)
    ]
    array = np.array(ids)
    issues = {
        "score_conflict": digest(array[conflict]),
        "scale": digest(array[flat["off"]]),
        "arity": digest([*lonely, *lacking]),
        "identical": digest(itertools.chain.from_iterable(columns["twins"])),
    }
    ratings = sum(len(aspects) + 1 for rated in columns["rated"] for aspects in rated)
    return issues, {"prompts": len(columns["ids"]), "completions": n, "ratings": ratings}

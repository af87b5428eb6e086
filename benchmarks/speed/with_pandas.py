"""The work of the speed comparison in pandas, tuned by hand.

Rows become lists in one plain loop and then frames, because that is several times as fast as what
`with_pandas_frames` does; from there on everything is vectorised.
"""

import hashlib
import json
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pandas as pd
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

PROMPTS = ["prompt_id", "text", "source", "sha256", "line", "metadata"]
COMPLETIONS = ["completion_id", "prompt_id", "model", "text", "sha256", "line", "metadata"]
RATINGS = ["completion_id", "aspect", "value", "rationale"]
NUMBERS = {"N/A": np.nan, **{str(value): float(value) for value in range(11)}}


class Tables(NamedTuple):
    """The same tables that notus has."""

    prompts: pd.DataFrame
    completions: pd.DataFrame
    ratings: pd.DataFrame


def work(
    source: Path,
    folder: Path,
    clock: Stopwatch,
    flatten: Callable[[list[dict[str, Any]], str], Tables] | None = None,
) -> Answer:
    """Do the work; `flatten` makes the tables of rows and the file's digest."""
    with clock("read"):
        rows = [msgspec.json.decode(line) for line in source.read_bytes().splitlines()]
    with clock("ingest"):
        tables = (flatten or make_tables)(rows, hashlib.sha256(source.read_bytes()).hexdigest())
        for name, table in tables._asdict().items():
            table.to_parquet(folder / f"{name}.parquet", compression="zstd")
    with clock("binarize"):
        # Both strategies and the rule `identical` compare texts in this form.
        tables.completions["key"] = [fold(text) for text in tables.completions["text"]]
        scores = {"argilla-v1": means(tables, ASPECTS), "h4-v2": means(tables, ("overall",))}
        candidates = {name: draw(tables, score) for name, score in scores.items()}
        made = {
            "argilla-v1": binarize(candidates["argilla-v1"], lower=True),
            "h4-v2": binarize(candidates["h4-v2"][~_is_exam(tables, candidates)], lower=False),
        }
    with clock("audit"):
        issues = {
            "score_conflict": score_conflict(tables),
            "scale": scale(tables),
            "arity": arity(tables),
            "identical": identical(tables),
        }
        ties = int((made["h4-v2"]["margin"] == 0).sum())
        both = made["argilla-v1"].merge(made["h4-v2"], on="prompt_id")
        flips = [len(both), int((both["chosen_id_x"] != both["chosen_id_y"]).sum())]
    return {
        **{name: len(table) for name, table in tables._asdict().items()},
        **{name: digest(ids) for name, ids in issues.items()},
        "ties": ties,
        "flips": flips,
        **{name: digest(t["chosen_id"] + t["rejected_id"]) for name, t in made.items()},
    }


def hashed(value: Any) -> str:
    """The id that notus gives."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def fold(text: str) -> str:
    """What reads the same is the same: NFC, white space collapsed."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def make_tables(rows: list[dict[str, Any]], sha256: str) -> Tables:
    """Flatten rows, with ids, origins and what has no column of its own as JSON."""
    prompts, completions, ratings = [], [], []
    for line, row in enumerate(rows, start=1):
        prompt = hashed([["user", unicodedata.normalize("NFC", row["instruction"])]])
        rest = {k: row[k] for k in ("models", "correct_answers", "incorrect_answers")}
        prompts.append((prompt, row["instruction"], row["source"], sha256, line, json.dumps(rest)))
        for position, item in enumerate(row["completions"]):
            if not item["response"].strip():
                continue
            key = hashed([prompt, item["model"], item["response"]])
            extra = {
                "principle": item["principle"],
                "custom_system_prompt": item["custom_system_prompt"],
                "fine-grained_score": item["fine-grained_score"],
                "position": position,
                "annotations": {
                    name: {k: v for k, v in entry.items() if k not in ("Rating", "Rationale")}
                    for name, entry in item["annotations"].items()
                },
            }
            completions.append(
                (key, prompt, item["model"], item["response"], sha256, line, json.dumps(extra))
            )
            ratings.extend(_ratings_of(key, item))
    return distinct(
        pd.DataFrame(prompts, columns=PROMPTS),
        pd.DataFrame(completions, columns=COMPLETIONS),
        pd.DataFrame(ratings, columns=RATINGS),
    )


def distinct(prompts: pd.DataFrame, completions: pd.DataFrame, ratings: pd.DataFrame) -> Tables:
    """Leave out what was there before."""
    return Tables(
        prompts.drop_duplicates("prompt_id"),
        completions.drop_duplicates("completion_id"),
        ratings.drop_duplicates(["completion_id", "aspect"]),
    )


def _ratings_of(key: str, item: dict[str, Any]) -> Iterator[tuple[str, str, float, str]]:
    for name, entry in item["annotations"].items():
        yield (key, name, NUMBERS[entry["Rating"]], entry["Rationale"])
    yield (key, "overall", item["overall_score"], item["critique"])


def means(tables: Tables, aspects: tuple[str, ...]) -> pd.Series:
    """Mean of the ratings that are present, by completion."""
    ratings = tables.ratings
    present = ratings[ratings["aspect"].isin(aspects) & ratings["value"].notna()]
    return present.groupby("completion_id", sort=False)["value"].mean().round(9)


def score_conflict(tables: Tables) -> list[str]:
    """Completions whose overall score contradicts their mean rating, as notus has it."""
    both = pd.DataFrame(
        {"overall": means(tables, ("overall",)), "rating": means(tables, ASPECTS)}
    ).dropna()
    ranks = ((both.rank(method="average") - 0.5) / len(both)).round(9)
    distance = (ranks["overall"] - ranks["rating"]).abs().round(9)
    bug = (both["overall"] == 10) & (both["rating"] <= 2)
    half = (both["overall"] == 5) & (both["rating"] <= 1)
    fraction = half | ((both["overall"] == 7.5) & (both["rating"] <= 2))
    bound = max(CONFLICT, CONFLICT_MEDIANS * distance.median())
    return list(both.index[(distance > bound) | bug | fraction])


def scale(tables: Tables) -> list[str]:
    """Completions with a rating that is N/A, off its steps or out of its scale."""
    ratings = tables.ratings
    overall = ratings["aspect"] == "overall"
    step, top = np.where(overall, 0.5, 1.0), np.where(overall, 10.0, 5.0)
    value = ratings["value"]
    off = value.isna() | (value < 1) | (value > top) | ((value / step) % 1 != 0)
    return list(ratings.loc[off, "completion_id"].unique())


def arity(tables: Tables) -> list[str]:
    """Prompts with fewer than two completions, and completions that lack an aspect."""
    counts = tables.completions["prompt_id"].value_counts()
    lonely = tables.prompts.loc[tables.prompts["prompt_id"].map(counts).fillna(0) < 2, "prompt_id"]
    sources = tables.completions[["completion_id", "prompt_id"]].merge(
        tables.prompts[["prompt_id", "source"]], on="prompt_id"
    )
    rated = tables.ratings[["completion_id", "aspect"]].merge(sources, on="completion_id")
    every = rated[["source", "aspect"]].drop_duplicates()
    wanted = sources.merge(every, on="source")
    found = wanted.merge(
        rated[["completion_id", "aspect"]],
        on=["completion_id", "aspect"],
        how="left",
        indicator=True,
    )
    lacking = found.loc[found["_merge"] == "left_only", "completion_id"].unique()
    return [*lonely, *lacking]


def identical(tables: Tables) -> list[str]:
    """Completions that read the same as another one of their prompt, but the first."""
    completions = tables.completions
    first = completions.groupby(["prompt_id", "key"], sort=False)["completion_id"].transform("min")
    return list(completions.loc[completions["completion_id"] != first, "completion_id"])


def draw(tables: Tables, score: pd.Series) -> pd.DataFrame:
    """Completions with a score, and two draws each that depend on the id alone."""
    frame = tables.completions[["completion_id", "prompt_id", "key"]].merge(
        score.rename("score"), left_on="completion_id", right_index=True
    )
    digests = [
        hashlib.blake2b(f"{SEED}:{name}".encode(), digest_size=16).digest()
        for name in frame["completion_id"]
    ]
    words = np.frombuffer(b"".join(digests), dtype="<u8").reshape(-1, 2)
    return frame.assign(draw_chosen=words[:, 0], draw_rejected=words[:, 1])


def binarize(candidates: pd.DataFrame, *, lower: bool) -> pd.DataFrame:
    """The best completion of each prompt, and a random other one."""
    best = candidates.sort_values(
        ["score", "draw_chosen"], ascending=[False, True], kind="stable"
    ).drop_duplicates("prompt_id")
    rivals = candidates.merge(best, on="prompt_id", suffixes=("", "_best"))
    may = (rivals["completion_id"] != rivals["completion_id_best"]) & (
        rivals["key"] != rivals["key_best"]
    )
    if lower:
        may &= rivals["score"] < rivals["score_best"]
    drawn = rivals[may].sort_values("draw_rejected").drop_duplicates("prompt_id")
    return pd.DataFrame(
        {
            "prompt_id": drawn["prompt_id"],
            "chosen_id": drawn["completion_id_best"],
            "rejected_id": drawn["completion_id"],
            "margin": (drawn["score_best"] - drawn["score"]).round(9),
        }
    ).sort_values("prompt_id")


def _is_exam(tables: Tables, candidates: dict[str, pd.DataFrame]) -> pd.Series:
    """Candidates of prompts that h4-v2 leaves out: TruthfulQA's, or such as read like one."""
    text = tables.prompts["text"].map(lambda text: fold(text).lower())
    exam = text[tables.prompts["source"] == EXAM_SOURCE]
    prompts = tables.prompts.loc[text.isin(exam), "prompt_id"]
    return candidates["h4-v2"]["prompt_id"].isin(prompts)

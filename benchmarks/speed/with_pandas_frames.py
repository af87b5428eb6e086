"""The work of the speed comparison in pandas as its manual has it: json_normalize, then frames.

Only the making of the tables differs from `with_pandas`.
"""

import json
import unicodedata
from pathlib import Path
from typing import Any

import pandas as pd
from speed import with_pandas
from speed.answers import ASPECTS, Answer, Stopwatch
from speed.with_pandas import COMPLETIONS, PROMPTS, RATINGS, Tables, distinct, hashed

_PROMPT_REST = ["models", "correct_answers", "incorrect_answers"]
_KNOWN = (*COMPLETIONS, "response", "critique", "overall_score", "#row")


def work(source: Path, folder: Path, clock: Stopwatch) -> Answer:
    """Do the work."""
    return with_pandas.work(source, folder, clock, flatten=make_tables)


def make_tables(rows: list[dict[str, Any]], sha256: str) -> Tables:
    """Flatten rows by json_normalize; ids, metadata and numbers are columns of the result."""
    prompts = pd.DataFrame(rows).drop(columns="completions")
    prompts = prompts.rename(columns={"instruction": "text"})
    prompts["prompt_id"] = prompts["text"].map(
        lambda text: hashed([["user", unicodedata.normalize("NFC", text)]])
    )
    prompts["sha256"], prompts["line"] = sha256, prompts.index + 1
    prompts["metadata"] = _as_json(prompts[_PROMPT_REST])
    numbered = [row | {"#row": number} for number, row in enumerate(rows)]
    flat = pd.json_normalize(numbered, record_path="completions", meta="#row")
    flat["#row"] = flat["#row"].astype(int)
    flat["position"] = flat.groupby("#row").cumcount()
    flat["prompt_id"] = flat["#row"].map(prompts["prompt_id"])
    flat["sha256"], flat["line"] = sha256, flat["#row"] + 1
    flat = flat[flat["response"].str.strip() != ""].rename(columns={"response": "text"})
    flat["completion_id"] = flat[["prompt_id", "model", "text"]].apply(
        lambda row: hashed(list(row)), axis=1
    )
    ratings = pd.concat([_aspect(flat, aspect) for aspect in ASPECTS] + [_overall(flat)])
    judged = [f"annotations.{a}.{name}" for a in ASPECTS for name in ("Rating", "Rationale")]
    flat["metadata"] = _as_json(flat[[name for name in flat if name not in (*_KNOWN, *judged)]])
    return distinct(prompts[PROMPTS], flat[COMPLETIONS], ratings[RATINGS])


def _as_json(frame: pd.DataFrame) -> list[str]:
    return [json.dumps(record, default=str) for record in frame.to_dict("records")]


def _aspect(flat: pd.DataFrame, aspect: str) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "completion_id": flat["completion_id"],
            "aspect": aspect,
            "value": pd.to_numeric(flat[f"annotations.{aspect}.Rating"], errors="coerce"),
            "rationale": flat[f"annotations.{aspect}.Rationale"],
        }
    )


def _overall(flat: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "completion_id": flat["completion_id"],
            "aspect": "overall",
            "value": flat["overall_score"],
            "rationale": flat["critique"],
        }
    )

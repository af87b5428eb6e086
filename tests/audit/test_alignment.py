"""Completions that answer another row's prompt."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from row_subjects import Answer, make_subject, named, shuffled, summary

from notus.audit.alignment import FARTHER, LEAST_PROMPTS, OFFSETS, alignment
from notus.audit.verdict import Subject

FUNCTION = ("the", "of", "and", "to", "a", "in", "is", "that", "for", "it", "as", "with", "on")


def world(rows: int, *, seed: int = 0, answers: int = 4) -> dict[str, list[Answer]]:
    """Questions on a topic each, and answers that take it up: word by word made up."""
    rng = np.random.default_rng(seed)
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz"))
    vocabulary = ["".join(rng.choice(letters, 7)) for _ in range(12 * rows)]
    prompts: dict[str, list[Answer]] = {}
    for row in range(rows):
        topic = vocabulary[12 * row : 12 * row + 12]

        def text(words: int, share: float, topic: list[str] = topic) -> str:
            pools = (topic, FUNCTION, vocabulary)
            kinds = np.searchsorted([share, 0.7], rng.random(words)).tolist()
            places = rng.random(words).tolist()
            return " ".join(
                pools[kind][int(place * len(pools[kind]))]
                for kind, place in zip(kinds, places, strict=True)
            )

        question = text(30, 0.4)
        prompts[question] = [(f"{row}-{i}", text(50, 0.2), {}) for i in range(answers)]
    return prompts


def shifted(
    prompts: dict[str, list[Answer]], start: int, stop: int, by: int = 1
) -> dict[str, list[Answer]]:
    """Attach the answers of some rows to the row before, the first one's to the last row."""
    names, answers = list(prompts), list(prompts.values())
    block = answers[start:stop]
    moved = [*answers[:start], *block[by:], *block[:by], *answers[stop:]]
    return dict(zip(names, moved, strict=True))


def flagged(subject: Subject) -> set[str]:
    return {str(row["model"]) for row in named(subject, alignment(subject))}


def test_answers_to_their_own_question_are_left_alone() -> None:
    verdict = alignment(make_subject(world(200)))
    assert verdict.issues.is_empty()
    assert verdict.looked_at == 800
    (finding,) = verdict.findings
    assert finding.severity == "info"
    assert finding.value > 0.99


def test_a_block_of_shifted_rows_is_found_and_nothing_else() -> None:
    subject = make_subject(shifted(world(200), 50, 70))
    # The last row of the block got the answers of the first one, 19 rows away.
    moved = {f"{row}-{i}" for row in range(51, 70) for i in range(4)}
    found = flagged(subject)
    assert found <= moved
    assert len(found) >= 0.9 * len(moved)


def test_the_evidence_names_the_prompt_that_it_answers() -> None:
    prompts = shifted(world(100), 10, 20)
    subject = make_subject(prompts)
    issue = named(subject, alignment(subject))[0]
    text = list(prompts)[int(str(issue["model"]).split("-")[0])]
    known = subject.feedback.prompts.collect()
    identifier = known.filter(pl.col("messages").list.first().struct.field("content") == text)[
        "prompt_id"
    ][0]
    assert "the prompt 1 rows on by" in str(issue["evidence"])
    assert identifier in str(issue["evidence"])
    assert text[:80] in str(issue["evidence"])
    assert issue["severity"] == "warning"
    assert issue["score"] > 0


@pytest.mark.parametrize("by", [1, 17])
def test_a_set_that_is_shifted_as_a_whole_is_an_error(by: int) -> None:
    prompts = world(200)
    (finding,) = alignment(make_subject(shifted(prompts, 0, 200, by))).findings
    assert finding.severity == "error"
    assert finding.low < 0.5 < finding.high


def test_short_answers_are_never_flagged() -> None:
    """In a block of shifted rows every second answer is "Yes", which fits every question."""
    prompts = {
        name: [*answers[:2], ("yes" + answers[0][0], "Yes.", {}), ("no" + answers[0][0], "No", {})]
        for name, answers in world(100).items()
    }
    found = flagged(make_subject(shifted(prompts, 30, 50)))
    assert found
    assert not {name for name in found if name.startswith(("yes", "no"))}


def test_order_is_the_sources_and_not_the_tables() -> None:
    subject = make_subject(shifted(world(60), 20, 30))
    assert flagged(subject)
    assert summary(alignment(shuffled(subject, 3))) == summary(alignment(subject))


def test_without_an_origin_nothing_breaks() -> None:
    subject = make_subject(world(40))
    origin = pl.lit(None, subject.feedback.prompts.collect_schema()["origin"])
    prompts = subject.feedback.prompts.with_columns(origin=origin)
    lost = replace(subject, feedback=replace(subject.feedback, prompts=prompts))
    assert alignment(lost).issues.is_empty()


def test_texts_without_words() -> None:
    prompts = {"?" * (i + 1): [("m", "!" * (i + 1), {})] for i in range(LEAST_PROMPTS)}
    verdict = alignment(make_subject(prompts))
    assert verdict.issues.is_empty()
    assert verdict.findings[0].value is None


def test_too_few_prompts_are_skipped() -> None:
    for rows in (0, 1, LEAST_PROMPTS - 1):
        assert "shuffle" in (alignment(make_subject(world(rows))).skipped or "")
    assert alignment(make_subject({name: [] for name in world(30)})).skipped


def test_the_fit_by_hand() -> None:
    """20 prompts of two own words each: idf ln(21/1.5), norm idf sqrt(2), fit to both, idf sqrt(2).

    Row 5's answer takes up row 6's words; its own fit is 0, and so are those to strangers.
    """
    prompts: dict[str, list[Answer]] = {
        f"alpha{i} beta{i}": [(str(i), f"alpha{i} beta{i} !", {})] for i in range(20)
    }
    prompts["alpha5 beta5"] = [("5", "alpha6 beta6", {})]
    subject = make_subject(prompts)
    (issue,) = named(subject, alignment(subject))
    assert issue["model"] == "5"
    assert issue["score"] == pytest.approx(np.sqrt(2) * np.log(21 / 1.5), abs=1e-6)
    assert FARTHER > 1
    assert 1 in OFFSETS


@pytest.mark.shared
def test_the_real_pairs_are_aligned_until_they_are_shifted(shared_data: Path) -> None:
    path = shared_data / "ultrafeedback" / "binarized" / "train_clean.jsonl"
    prompts: dict[str, list[Answer]] = {}
    for line, text in enumerate(path.read_text(encoding="utf-8").splitlines()):
        row = json.loads(text)
        if row["chosen"].strip() and row["rejected"].strip():
            prompts[row["prompt"]] = [
                (f"{line}-{side}", row[side], {}) for side in ("chosen", "rejected")
            ]
    clean = alignment(make_subject(prompts))
    assert clean.issues.height <= 0.001 * clean.looked_at
    assert clean.findings[0].value > 0.95
    names = list(prompts.values())
    found = flagged(make_subject(shifted(prompts, 300, 350)))
    moved = {answer[0] for answers in names[300:350] for answer in answers}
    assert len(found & moved) >= 0.65 * len(moved)
    assert len(found - moved) <= 1

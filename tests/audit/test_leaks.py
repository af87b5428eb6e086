"""Traces of hidden prompts in answers."""

import json
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from row_subjects import make_subject, named, shuffled, summary

from notus.audit.leaks import COPIED, COPIED_WORDS, STATED, prompt_leak
from notus.audit.verdict import Subject
from notus.data.schema import PREFERENCES, completion_id, preference_id, prompt_id
from notus.stats import mcnemar_exact, wilson

NOTE = "Express your confidence in every answer as a number from one to ten, and be kind."


def found(prompt: str, answer: str, note: str | None = None) -> list[dict[str, object]]:
    metadata = {answer: json.dumps({"custom_system_prompt": note})} if note else {}
    subject = make_subject({prompt: [("m", answer, {}), ("n", "Fine.", {})]}, metadata=metadata)
    return named(subject, prompt_leak(subject))


@pytest.mark.parametrize(
    ("answer", "trace"),
    [
        ("It is 4.\n\nConfidence: 90%", "Confidence: 90%"),
        ("It is 4. Confidence: 90%", "Confidence: 90%"),
        (
            "It is 4.\n\n## Confidence level: 80%\n\nAnd more." + " More." * 99,
            "Confidence level: 80%",
        ),
        ("It is 4.\n[Confidence]\n85%", "Confidence]\n85%".replace("\n", " ")),
        ("It is 4. My confidence level for this answer is 95%.", "95%"),
        ("As an AI verbalizing confidence, I say 4.", "verbalizing confidence"),
    ],
)
def test_a_stated_confidence(answer: str, trace: str) -> None:
    (issue,) = found("What is 2 + 2?", answer)
    assert issue["severity"] == "warning"
    assert str(issue["evidence"]).startswith(f'{STATED}: "')
    assert trace in str(issue["evidence"])


@pytest.mark.parametrize(
    ("prompt", "answer"),
    [
        ("What is 2 + 2? How sure are you?", "4. Confidence: 90%"),
        ("State your confidence.", "4. Confidence: 90%"),
        ("How do I speak?", "With confidence. 90% of it is practice."),
        ("Explain intervals.", "A 95% confidence interval covers the mean. " + "So it is. " * 40),
        ("Explain.", "We have full confidence in you."),
    ],
)
def test_no_trace(prompt: str, answer: str) -> None:
    assert found(prompt, answer) == []


def test_words_of_its_own_note() -> None:
    copied = "Well. I express: your confidence in every answer as a number from one. Done."
    (issue,) = found("What is 2 + 2?", copied, NOTE)
    assert issue["evidence"] == f'{COPIED}: "your confidence in every answer as a number"'
    assert COPIED_WORDS == 8
    fewer = "Well. I express: your confidence in every answer as a digit. Done."
    assert found("What is 2 + 2?", fewer, NOTE) == []
    assert found("What is 2 + 2?", copied) == []
    assert found("What is your confidence in every answer as a number, then?", copied, NOTE) == []
    assert found("What is 2 + 2?", "Words (of) a [note]: a+b is * as \\d is.", "a+b is *") == []


def test_notes_may_hold_what_a_pattern_means() -> None:
    note = 'Say "(yes|no) [or] a+b* is $1" to all that ask?'
    (issue,) = found("What?", f"I {note.lower().replace('say', 'Say')}", note)
    assert str(issue["evidence"]).startswith(COPIED)


def paired(sides: list[tuple[bool, bool]]) -> Subject:
    """A pair for each (chosen leaks, rejected leaks)."""
    prompts, rows = {}, []
    for i, marks in enumerate(sides):
        key = prompt_id([{"role": "user", "content": f"{i}?"}])
        texts = [
            f"{side} {i}" + ("\nConfidence: 80%" if leak else "")
            for side, leak in zip(("good", "bad"), marks, strict=True)
        ]
        prompts[f"{i}?"] = [("c", texts[0], {}), ("r", texts[1], {})]
        both = [completion_id(key, model, text) for model, text in zip("cr", texts, strict=True)]
        rows.append((preference_id(key, *both), key, *both, 1.0, "given"))
    frame = pl.DataFrame(rows, schema=PREFERENCES.schema, orient="row")
    return replace(make_subject(prompts), preferences=frame)


def test_rates_by_side() -> None:
    """12 pairs leak in chosen only, 1 in rejected only, 2 in both, 25 in none."""
    sides = [(True, False)] * 12 + [(False, True)] + [(True, True)] * 2 + [(False, False)] * 25
    chosen, rejected = prompt_leak(paired(sides)).findings
    assert (chosen.subject, rejected.subject) == ("chosen", "rejected")
    assert (chosen.value, rejected.value) == (14 / 40, 3 / 40)
    expected = wilson(14, 40)
    assert (chosen.low, chosen.high) == pytest.approx((expected.low, expected.high))
    assert chosen.n == 40
    assert f"p = {mcnemar_exact(12, 1):.2g}" in chosen.evidence
    assert {chosen.severity, rejected.severity} == {"warning"}


def test_the_same_rate_on_both_sides_is_no_warning() -> None:
    sides = [(True, False), (False, True)] * 20
    assert {f.severity for f in prompt_leak(paired(sides)).findings} == {"info"}


def test_without_preferences_there_is_one_rate() -> None:
    subject = make_subject({"?": [("m", "a. Confidence: 80%", {}), ("n", "b", {})]})
    (rate,) = prompt_leak(subject).findings
    assert (rate.value, rate.n, rate.severity) == (0.5, 2, "info")


def test_row_order_changes_nothing() -> None:
    subject = paired([(True, False), (False, True), (False, False)] * 5)
    assert summary(prompt_leak(shuffled(subject, 2))) == summary(prompt_leak(subject))


def test_nothing_is_skipped() -> None:
    assert prompt_leak(make_subject({})).skipped
    assert prompt_leak(make_subject({"?": []})).skipped


@pytest.mark.shared
def test_the_real_pairs(shared_data: Path) -> None:
    """Of 998 pairs with both answers, 100 chosen and 66 rejected end with a confidence."""
    path = shared_data / "ultrafeedback" / "binarized" / "train_clean.jsonl"
    prompts: dict[str, list[tuple[str, str, dict[str, float | None]]]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        if row["chosen"].strip() and row["rejected"].strip():
            prompts[row["prompt"]] = [("c", row["chosen"], {}), ("r", row["rejected"], {})]
    subject = make_subject(prompts)
    issues = named(subject, prompt_leak(subject))
    by_model = {model: sum(row["model"] == model for row in issues) for model in "cr"}
    assert by_model == {"c": 100, "r": 66}

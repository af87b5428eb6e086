"""Planted biases are found, and quality alone is no bias."""

from typing import Any

import numpy as np
import pytest
from pair_subjects import best_and_other, make_subject, world

from notus.audit.bias import model_bias, position, rejected_index, same_model, self_preference

ROWS = 1500
PROMPTS = world(ROWS, seed=0)
RULES = (rejected_index, position, model_bias)


def overall(text: str, place: int) -> float:
    return float(PROMPTS[text][place][2]["overall"] or 0)


def best(text: str) -> int:
    """The best place; of equally good ones one that the prompt's name draws."""
    draws = np.random.default_rng(int(text.rstrip("?"))).random(4) * 1e-3
    return int(np.argmax([overall(text, place) + draws[place] for place in range(4)]))


def severities(subject: Any) -> dict[str, dict[str, str]]:
    return {
        rule.__name__: {finding.subject: finding.severity for finding in rule(subject).findings}
        for rule in RULES
    }


def test_quality_alone_is_no_bias() -> None:
    subject = make_subject(PROMPTS, best_and_other(PROMPTS, seed=1))
    found = severities(subject)
    assert len(found["model_bias"]) == 6
    assert {level for levels in found.values() for level in levels.values()} == {"info"}
    shares = {finding.subject: finding.value for finding in model_bias(subject).findings}
    assert shares["model-5"] > 0.6 > 0.4 > shares["model-0"], "strong models do win"


def test_the_lowest_is_rejected_in_sorted_rows_and_that_is_no_bias() -> None:
    """Half of the rows are sorted upwards and half downwards, so the ends are rejected."""

    def mean(answer: Any) -> float:
        return (answer[2]["overall"] - 1) / 9 + (answer[2]["honesty"] - 1) / 4

    rows = {
        text: sorted(answers, key=mean, reverse=i % 2 > 0)
        for i, (text, answers) in enumerate(PROMPTS.items())
    }
    pairs = [(text, 0, 3) if i % 2 else (text, 3, 0) for i, text in enumerate(rows)]
    (finding,) = rejected_index(make_subject(rows, pairs)).findings
    assert finding.severity == "info"
    assert "1: 0.0%" in finding.evidence


def test_h4_v1s_draw_is_an_error() -> None:
    """Index 0 is rejected, or 2 where 0 is chosen."""
    pairs = [(text, best(text), 0 if best(text) else 2) for text in PROMPTS]
    subject = make_subject(PROMPTS, pairs)
    found = severities(subject)
    assert found["rejected_index"] == {"places of the rejected": "error"}
    assert found["position"] == {"places of the chosen": "info"}
    (finding,) = rejected_index(subject).findings
    assert finding.value is not None
    assert finding.value > 0.5
    assert finding.n == ROWS
    assert "1: 0.0%" in finding.evidence


def test_a_draw_that_depends_on_the_chosen_place_is_an_error() -> None:
    """The one behind the chosen one: every place is rejected equally often."""
    subject = make_subject(PROMPTS, [(text, best(text), (best(text) + 1) % 4) for text in PROMPTS])
    assert severities(subject)["rejected_index"] == {"places of the rejected": "error"}


def test_a_judge_that_likes_the_first_place_is_an_error() -> None:
    rng = np.random.default_rng(2)
    pairs = []
    for text in PROMPTS:
        chosen = 0 if rng.random() < 0.4 else best(text)
        pairs.append((text, chosen, int(rng.choice([p for p in range(4) if p != chosen]))))
    found = severities(make_subject(PROMPTS, pairs))
    assert found["position"] == {"places of the chosen": "error"}
    assert found["rejected_index"] == {"places of the rejected": "info"}


def test_a_model_that_is_always_rejected_is_an_error_and_no_other_is() -> None:
    rng = np.random.default_rng(3)
    pairs = []
    for text, answers in PROMPTS.items():
        others = [place for place in range(4) if place != best(text)]
        disliked = [place for place in others if answers[place][0] == "model-4"]
        pairs.append((text, best(text), int(rng.choice(disliked or others))))
    found = severities(make_subject(PROMPTS, pairs))
    assert found["model_bias"]["model-4"] == "error"
    assert list(found["model_bias"].values()).count("error") == 1


def test_a_model_that_is_chosen_against_its_scores_is_an_error() -> None:
    rng = np.random.default_rng(4)
    pairs = []
    for text, answers in PROMPTS.items():
        loved = [place for place in range(4) if answers[place][0] == "model-1"]
        chosen = loved[0] if loved and rng.random() < 0.6 else best(text)
        pairs.append((text, chosen, int(rng.choice([p for p in range(4) if p != chosen]))))
    subject = make_subject(PROMPTS, pairs)
    assert severities(subject)["model_bias"]["model-1"] == "error"
    loved_most = next(f for f in model_bias(subject).findings if f.subject == "model-1")
    assert "p = 0" in loved_most.evidence or "e-" in loved_most.evidence


def test_without_scores_models_are_counted_and_not_judged() -> None:
    bare = {t: [(model, text, {}) for model, text, _ in rows] for t, rows in PROMPTS.items()}
    subject = make_subject(bare, [(text, best(text), (best(text) + 1) % 4) for text in bare])
    findings = model_bias(subject).findings
    assert len(findings) == 6
    assert {finding.severity for finding in findings} == {"info"}
    assert all("no scores to compare with" in finding.evidence for finding in findings)


def test_the_labels_own_order_is_no_bias() -> None:
    pairs = {f"{i}?": [("chosen", "a", {}), ("rejected", "b", {})] for i in range(100)}
    subject = make_subject(pairs, [(text, 0, 1) for text in pairs])
    for rule in (rejected_index, position):
        assert "the order is the label's own" in str(rule(subject).skipped)
    assert "not named" in str(model_bias(subject).skipped)


def test_of_two_completions_the_rejected_is_the_other_one() -> None:
    rows = {text: answers[:2] for text, answers in PROMPTS.items()}
    subject = make_subject(rows, [(text, i % 2, 1 - i % 2) for i, text in enumerate(rows)])
    assert "two completions" in str(rejected_index(subject).skipped)
    assert position(subject).findings[0].severity == "info"


def test_rules_say_what_they_lack() -> None:
    for rule in (*RULES, self_preference):
        verdict = rule(make_subject({}, []))
        assert verdict.skipped
        assert not verdict.findings


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("gpt-4", "gpt-4-0613", True),
        ("openai/GPT-4", "gpt-4", True),
        ("gpt-4@file:3", "gpt-4", True),
        ("gpt-4", "gpt-4o", False),
        ("gpt-3", "gpt-3.5-turbo", False),
        ("llama-2-7b-chat", "llama-2-13b-chat", False),
        ("ultrafeedback", "gpt-4", False),
        ("", "gpt-4", False),
    ],
)
def test_same_model(one: str, other: str, same: bool) -> None:
    assert same_model(one, other) == same_model(other, one) == same


def judged(own: float, *, others: bool = True, lenience: float = 0.0) -> Any:
    """Ratings by model-2 and, perhaps, another judge; model-2 adds `own` to its own answers."""
    rng = np.random.default_rng(5)
    prompts: dict[str, Any] = {}
    for row in range(200):
        answers = []
        for number in (1, 2, 3):
            quality = 3 + rng.normal() * 0.5
            said = {"model-2-0613: honesty": quality + lenience + own * (number == 2)}
            if others:
                said["human: honesty"] = quality + rng.normal() * 0.2
            answers.append((f"model-{number}", f"{row} {number}", said))
        prompts[f"{row}?"] = answers
    return make_subject(prompts, [])


def test_a_judge_that_likes_its_own_answers() -> None:
    (finding,) = self_preference(judged(1.0)).findings
    assert (finding.severity, finding.subject, finding.n) == ("error", "model-2-0613", 200)
    assert finding.value == pytest.approx(0.25, abs=0.02)
    assert finding.low is not None
    assert finding.high is not None
    assert finding.low < finding.value < finding.high
    assert self_preference(judged(0.25)).findings[0].severity == "warning"


def test_a_lenient_judge_is_no_biased_one() -> None:
    (finding,) = self_preference(judged(0.0, lenience=1.0)).findings
    assert finding.severity == "info"
    assert finding.value == pytest.approx(0.0, abs=0.02)


def test_one_judge_alone_proves_nothing() -> None:
    (finding,) = self_preference(judged(1.0, others=False)).findings
    assert finding.severity == "info"
    assert finding.value == pytest.approx(0.25, abs=0.05)
    assert "others in the same prompt" in finding.evidence


def test_raters_that_are_no_models_are_skipped() -> None:
    assert "named like a model" in str(self_preference(make_subject(PROMPTS, [])).skipped)

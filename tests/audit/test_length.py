"""Whether the longer answer is chosen."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from pair_subjects import make_subject

from notus.audit.length import length, length_slope
from notus.audit.verdict import Finding, Subject
from notus.stats import Z_95, wilson


def pairs_of(lengths: Sequence[tuple[int, int]], **more: Any) -> Subject:
    """Pairs with so many words on each side, all rated 8 over 6."""
    prompts = {
        f"{i}?": [
            ("a", "\n".join(["one"] * chosen), {"overall": 8.0}),
            ("b", "two  " * rejected, {"overall": 6.0}),
        ]
        for i, (chosen, rejected) in enumerate(lengths)
    }
    return make_subject(prompts, [(text, 0, 1) for text in prompts], **more)


def by_subject(subject: Subject) -> dict[str, Finding]:
    verdict = length(subject)
    assert verdict.issues.is_empty()
    return {finding.subject: finding for finding in verdict.findings}


def test_share_and_slope_by_hand() -> None:
    """Twice as long wins 30 and loses 10: beta log 2 = log 3."""
    found = by_subject(pairs_of([(4, 2)] * 30 + [(3, 6)] * 10 + [(5, 5)] * 7))
    share = wilson(30, 40)
    assert found["longer chosen, words"][3:7] == (share.value, share.low, share.high, 40)
    slope = found["slope, log words"]
    assert slope.value == pytest.approx(np.log(3) / np.log(2))
    assert slope.high is not None
    assert slope.high - np.log(3) / np.log(2) == pytest.approx(Z_95 / (np.log(2) * np.sqrt(7.5)))
    assert slope.evidence == "twice the words multiply the odds of being chosen by 3.00"


@pytest.mark.parametrize(
    ("longer", "n", "severity"),
    [
        (55, 100, "info"),
        (75, 100, "warning"),
        (95, 100, "error"),
        (5, 100, "error"),
        # Extreme, but fewer than a hundred pairs are no ground for an error.
        (95, 95, "warning"),
    ],
)
def test_severity(longer: int, n: int, severity: str) -> None:
    found = by_subject(pairs_of([(4, 2)] * longer + [(2, 4)] * (n - longer)))
    assert found["longer chosen, words"].severity == severity


def test_ties_do_not_count() -> None:
    subject = pairs_of([(4, 2)] * 3)
    tie = pairs_of([(4, 2)] * 3, strategy="s", margin=0.0)
    assert length(subject).looked_at == 3
    assert "every pair is a tie" in str(length(tie).skipped)
    assert "every pair is a tie" in str(length(pairs_of([(2, 2)])).skipped)
    assert length(make_subject({}, [])).skipped


def test_tokens_are_counted_where_there_is_a_tokenizer() -> None:
    def encode(conversations: Sequence[Any], texts: Sequence[str]) -> list[list[int]]:
        assert [turns[0]["role"] for turns in conversations] == ["user"] * len(texts)
        return [list(range(len(text))) for text in texts]

    found = by_subject(replace(pairs_of([(3, 2)] * 8), encode=encode))
    assert found["longer chosen, words"].value == 1.0
    assert found["longer chosen, tokens"].value == 1.0  # 11 characters and 10
    assert "slope, log tokens" not in found


def test_no_slope_where_all_point_one_way() -> None:
    assert length_slope(np.array([0.1, 0.2, 0.0])) is None
    assert length_slope(np.zeros(0)) is None
    found = length_slope(np.array([0.5, -0.5]))
    assert found is not None
    assert found[0] == pytest.approx(0, abs=1e-9)

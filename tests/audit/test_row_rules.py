"""What holds for every rule about single rows, whatever the feedback."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from row_subjects import make_subject, shuffled, summary

from notus.audit.alignment import alignment
from notus.audit.critiques import critique_conflict
from notus.audit.histograms import pile_up
from notus.audit.leaks import prompt_leak
from notus.audit.scores import arity, scale, score_conflict
from notus.audit.texts import identical
from notus.audit.verdict import Rule, findings_frame
from notus.data.schema import ASPECTS, FINDINGS, ISSUES, check

RULES: tuple[Rule, ...] = (
    score_conflict,
    critique_conflict,
    pile_up,
    scale,
    arity,
    alignment,
    identical,
    prompt_leak,
)
VALUES = st.sampled_from([None, -1.0, 0.0, 1.0, 2.0, 4.5, 5.0, 7.5, 10.0])
TEXTS = st.sampled_from(["x", "x ", "y z", "Confidence: 80%", "\u00e9\u4e00", "wrong answer"])
ANSWERS = st.lists(
    st.tuples(
        st.sampled_from("mn"),
        TEXTS,
        st.dictionaries(st.sampled_from([*ASPECTS, "overall", "humour"]), VALUES),
    ),
    max_size=4,
    unique_by=lambda answer: answer[:2],
)
CRITIQUES = st.dictionaries(TEXTS, st.sampled_from([None, "", "Good.", "Wrong and useless.", "?"]))


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
@given(
    prompts=st.dictionaries(st.text("ABC xyz", min_size=1).filter(str.strip), ANSWERS, max_size=25),
    critiques=CRITIQUES,
    seed=st.integers(0, 99),
)
@settings(max_examples=25)
def test_any_feedback_gives_a_good_verdict(
    rule: Rule, prompts: Any, critiques: Any, seed: int
) -> None:
    """Valid rows, at most one an item, the same whatever the order; nothing raises."""
    subject = make_subject(prompts, critiques=critiques)
    verdict = rule(subject)
    assert check(ISSUES, verdict.issues).refused.is_empty()
    assert check(FINDINGS, findings_frame(verdict.findings)).refused.is_empty()
    assert verdict.issues.filter(verdict.issues.is_duplicated()).is_empty()
    assert (verdict.looked_at == 0) == (verdict.skipped is not None)
    assert summary(rule(shuffled(subject, seed))) == summary(verdict)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_every_rule_says_its_source_and_its_false_alarms(rule: Rule) -> None:
    assert "Source:" in (rule.__doc__ or "")
    assert "False alarms:" in (rule.__doc__ or "")

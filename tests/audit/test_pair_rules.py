"""Every rule about pairs answers whatever it is given, in the columns of the contract."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pair_subjects import make_subject

from notus.audit.bias import model_bias, position, rejected_index, self_preference
from notus.audit.collapse import collapse
from notus.audit.length import length
from notus.audit.pairs import contradiction, flip, inversion, tie
from notus.audit.verdict import Rule, Subject, Verdict, findings_frame
from notus.audit.votes import confident, rm_vote
from notus.data.schema import FINDINGS, ISSUES, check

RULES: tuple[Rule, ...] = (
    *(tie, inversion, contradiction, flip),
    *(rejected_index, position, model_bias, self_preference),
    *(length, rm_vote, confident, collapse),
)
SAID = st.dictionaries(
    st.sampled_from(
        ["overall", "honesty", "preference", "rm: reward", "m1: overall", "p@f:2: preference"]
    ),
    st.one_of(st.none(), st.sampled_from([0.0, 0.5, 1.0, 3.0, 7.25])),
)
ANSWERS = st.lists(
    st.tuples(st.sampled_from(["m0", "m1", "chosen"]), st.sampled_from("ab \n1"), SAID),
    min_size=2,
    max_size=4,
    unique_by=lambda answer: answer[:2],
)


def checked(rule: Rule, subject: Subject) -> Verdict:
    verdict = rule(subject)
    assert check(ISSUES, verdict.issues).refused.is_empty()
    assert check(FINDINGS, findings_frame(verdict.findings)).refused.is_empty()
    for finding in verdict.findings:
        ends = [x for x in (finding.low, finding.value, finding.high) if x is not None]
        assert ends == sorted(ends)
    if verdict.skipped is not None:
        assert verdict.skipped
        assert verdict.issues.is_empty()
        assert not verdict.findings
    return verdict


@settings(max_examples=40)
@given(data=st.data(), rows=st.lists(ANSWERS, max_size=4), margin=st.sampled_from([0.0, 1.0]))
def test_no_rule_raises(data: Any, rows: list[Any], margin: float) -> None:
    prompts = {f"{i}?": answers for i, answers in enumerate(rows)}
    pairs = []
    for text, answers in prompts.items():
        sides = st.permutations(range(len(answers)))
        drawn = data.draw(st.lists(sides, max_size=2, unique_by=lambda order: tuple(order[:2])))
        pairs += [(text, order[0], order[1]) for order in map(list, drawn)]
    strategy = data.draw(st.sampled_from(["given", "mine"]))
    subject = make_subject(
        prompts,
        pairs,
        strategy=strategy,
        margin=margin,
        encode=lambda _, texts: [[ord(letter) for letter in text] for text in texts],
    )
    for rule in RULES:
        checked(rule, subject)


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_says_what_it_catches_where_from_and_what_it_gets_wrong(rule: Rule) -> None:
    text = str(rule.__doc__)
    assert "Source:" in text
    assert "False alarms:" in text

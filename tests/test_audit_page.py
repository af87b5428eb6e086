"""The page of an audit: what stands on it, and that nothing on it can run."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from html.parser import HTMLParser

import polars as pl
import pytest

from notus.audit.rules import RULES, audit
from notus.audit.verdict import Finding, Subject, Verdict, make_issues
from notus.audit_page import NUM_WORST, audit_page
from notus.binarize import binarize
from notus.data.schema import PREFERENCES, Feedback
from notus.specifications import SPECIFICATIONS

Values = Mapping[str, float | None]
Make = Callable[[Mapping[str, Sequence[tuple[str, str, Values]]]], Feedback]
EVIL = "<script>alert(1)</script><img src=x onerror=alert(2)> \u202e & 'quoted'"
ASPECTS = ("instruction_following", "honesty", "truthfulness", "helpfulness")


def rated(overall: float, mean: float) -> Values:
    return {"overall": overall, **dict.fromkeys(ASPECTS, mean)}


def subject_of(feedback: Feedback, *names: str) -> Subject:
    made = {name: binarize(feedback, SPECIFICATIONS[name]).preferences for name in names}
    main = next(iter(made.values()), pl.DataFrame(schema=PREFERENCES.schema))
    return Subject(feedback=feedback, preferences=main, strategies=made)


@pytest.fixture
def subject(make_feedback: Make) -> Subject:
    """300 prompts; the longer answer is better; one carries the parser's mark and an evil text."""
    prompts: dict[str, list[tuple[str, str, Values]]] = {
        f"prompt {i}": [
            ("strong", "word " * (i % 9 + 1), rated(8, 4 + (i % 2))),
            ("weak", "word " * (i % 7 + 1), rated(3, 2)),
        ]
        for i in range(300)
    }
    prompts[EVIL] = [("bad", EVIL, rated(10, 1)), ("good", "fine", rated(9, 5))]
    return subject_of(make_feedback(prompts), "argilla-v1", "h4-v2")


class Tags(HTMLParser):
    """Collects elements, their attributes and the text outside of style."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.names: list[str] = []
        self.attributes: list[str] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)
        self.attributes += [name for name, _ in attrs]

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_says_what_was_found(subject: Subject) -> None:
    found = audit(subject)
    page = audit_page(subject, found)
    text = " ".join(Tags(page).text.split())
    assert re.search(r"errors? in 1 prompt: look at these first", text)
    assert "overall score 10 and a mean rating of at most 2: of 1 with a 10" in text
    for rule in RULES:
        assert f"<code>{rule}</code>" in page
    for name in subject.strategies:
        assert f'<th scope="row">{name}</th>' in page
    assert "The longer answer is the chosen one" in text
    assert "Not checked: no evaluation items were named" in text
    assert page.count("<svg") == 4


def test_every_skipped_rule_gives_its_reason(subject: Subject) -> None:
    found = audit(subject)
    reasons = [str(rule["skipped"]) for rule in found.rules.values() if rule["skipped"]]
    assert reasons
    text = " ".join(Tags(audit_page(subject, found)).text.split())
    for reason in reasons:
        assert " ".join(reason.split()) in text


def test_foreign_text_is_only_text(subject: Subject) -> None:
    def shout(_: Subject) -> Verdict:
        first = subject.feedback.completions.select("prompt_id", "completion_id").head(1)
        issue = make_issues(
            first, "shout", severity="error", score=pl.lit(1.0), evidence=pl.lit(EVIL)
        )
        said = Finding("shout", "error", EVIL, 0.5, 0.4, 0.6, 10, EVIL)
        return Verdict(issues=issue, findings=(said,), looked_at=1)

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(RULES, "shout", shout)
        page = audit_page(subject, audit(subject))
    tags = Tags(page)
    assert "script" not in tags.names
    assert "img" not in tags.names
    assert not [name for name in tags.attributes if name.startswith("on")]
    assert "\u202e" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert "default-src 'none'; style-src 'unsafe-inline'" in page
    assert not re.findall(r'(?:src|href)="(?!#)[^"]*"', page)


def test_overlaps_stand_side_by_side(subject: Subject) -> None:
    prompt = subject.feedback.prompts.select("prompt_id").collect()["prompt_id"][0]
    items = pl.DataFrame(
        {"benchmark": ["quiz"] * 2, "item": ["a:1", "a:2"], "text": ["What is it?", EVIL]}
    )
    overlaps = pl.DataFrame(
        {
            "prompt_id": [prompt],
            "benchmark": ["quiz"],
            "item": ["a:2"],
            "kind": ["ngram"],
            "coverage": [0.75],
            "item_text": [EVIL],
            "prompt_text": ["... what is it ..."],
        }
    )
    asked = replace(subject, items=items, overlaps=overlaps, strategies={})
    page = audit_page(asked, audit(asked))
    text = " ".join(Tags(page).text.split())
    assert re.search(r"quiz\s*2\s*1\s*50\.0 %", text)
    assert "a:2 - coverage 75.0" in text
    assert "<img" not in page
    assert "Fewer than two strategies" in text


def test_at_most_so_many_rows_of_a_rule(make_feedback: Make) -> None:
    prompts = {f"{i}": [("a", "same", {}), ("b", "same", {})] for i in range(NUM_WORST + 5)}
    subject = subject_of(make_feedback(prompts))
    page = audit_page(subject, audit(subject, {"identical": RULES["identical"]}))
    assert page.count("same text as completion") == NUM_WORST
    assert f"{NUM_WORST} of {NUM_WORST + 5}" in Tags(page).text


def test_equal_inputs_give_an_equal_page(subject: Subject) -> None:
    assert audit_page(subject, audit(subject)) == audit_page(subject, audit(subject))


def test_nothing_to_show(make_feedback: Make) -> None:
    empty = subject_of(make_feedback({}))
    text = " ".join(Tags(audit_page(empty, audit(empty))).text.split())
    assert "No rule found an error." in text
    assert "No rule found an issue." in text
    assert "Empty feedback" in text

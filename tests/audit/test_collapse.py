"""Pairs that are the same tokens to the trainer."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import polars as pl
from hypothesis import given
from hypothesis import strategies as st
from pair_subjects import flagged, make_subject

from notus.audit.collapse import HEAD, ROOM, collapse, sides
from notus.errors import ModelError

KEPT = ROOM


def encode(conversations: Sequence[Any], texts: Sequence[str]) -> list[list[int]]:
    """A token a byte, of the first 64, and an end of sequence where that leaves room."""
    assert len(conversations) == len(texts)
    return [[*text.encode(), 0][:KEPT] for text in texts]


def test_pairs_collapse_by_truncation_and_by_being_equal() -> None:
    start = "x" * KEPT
    prompts = {
        "cut?": [("a", start + "one", {}), ("b", start + "two", {})],
        "equal?": [("a", "same", {}), ("b", "same", {})],
        "late?": [("a", start[:-1] + "1", {}), ("b", start[:-1] + "2", {})],
        "longer?": [("a", "short", {}), ("b", "short one", {})],
        "other?": [("a", "this", {}), ("b", "that", {})],
    }
    subject = make_subject(prompts, [(text, 0, 1) for text in prompts], encode=encode)
    verdict = collapse(subject)
    found = flagged(subject, verdict)
    assert found.keys() == {"cut?", "equal?"}
    assert found["cut?"][0] == "error"
    assert found["cut?"][1].endswith("both sides are the same 64 tokens")
    assert found["equal?"][1].endswith("the same 5 tokens, and the same text")
    (finding,) = verdict.findings
    assert (finding.value, finding.n) == (0.4, 5)
    assert finding.evidence == "2 of 5 pairs become equal tokens, 1 of them because the texts " + (
        "are equal"
    )


TEXTS = st.text("aB1. \u00e9\n", min_size=1, max_size=20)


@given(st.lists(st.tuples(st.integers(0, 70), TEXTS, TEXTS), max_size=8))
def test_the_shortcut_misses_nothing(texts: list[tuple[int, str, str]]) -> None:
    pairs = {f"{i}?": ("x" * same + a, "x" * same + b) for i, (same, a, b) in enumerate(texts)}
    prompts = {text: [("a", one, {}), ("b", other, {})] for text, (one, other) in pairs.items()}
    subject = make_subject(prompts, [(text, 0, 1) for text in prompts], encode=encode)
    tokens = {text: encode([None] * 2, pair) for text, pair in pairs.items()}
    equal = {text for text, (one, other) in tokens.items() if one == other}
    if texts:
        assert flagged(subject, collapse(subject)).keys() == equal


def test_most_pairs_are_never_tokenised() -> None:
    prompts = {f"{i}?": [("a", f"{i} yes", {}), ("b", f"{i + 1} no", {})] for i in range(50)}
    subject = make_subject(prompts, [(text, 0, 1) for text in prompts])
    assert sides(subject, alike=True).is_empty()
    assert sides(subject, alike=False).height == 50
    empty = collapse(replace(subject, encode=encode))
    assert (empty.issues.height, empty.looked_at) == (0, 50)
    alike = {"?": [("a", "Yes, of course", {}), ("b", "yes", {})]}
    heads = sides(make_subject(alike, [("?", 0, 1)]), alike=True)
    assert heads.select("chosen", "rejected").rows() == [("Yes, of course", "yes")]


def test_where_prompts_leave_no_room_everything_is_tokenised() -> None:
    """Prompt and completion share one length, as where no length of the prompt is named."""

    def cramped(conversations: Sequence[Any], texts: Sequence[str]) -> list[list[int]]:
        room = [max(1, 100 - len(turns[0]["content"])) for turns in conversations]
        return [list(text.encode())[:n] for text, n in zip(texts, room, strict=True)]

    answers = [("a", "1st", {}), ("b", "12th", {})]
    prompts = {"short?": answers, "long?" * 20: answers}
    subject = make_subject(prompts, [(text, 0, 1) for text in prompts], encode=cramped)
    assert HEAD > 2
    assert flagged(subject, collapse(subject)).keys() == {"long?" * 20}


def test_it_says_what_it_lacks() -> None:
    def refuse(*_: Any) -> list[list[int]]:
        raise ModelError("no system turn, please")

    subject = make_subject({"?": [("a", "x", {}), ("b", "x", {})]}, [("?", 0, 1)])
    assert "no tokenizer" in str(collapse(subject).skipped)
    assert "no system turn" in str(collapse(replace(subject, encode=refuse)).skipped)
    none = pl.DataFrame(schema=subject.preferences.schema)
    assert "no preferences" in str(collapse(replace(subject, preferences=none)).skipped)

"""Ids, and the check of a frame against a table's rules."""

import hashlib
import json
import unicodedata
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from notus.data.contracts import RAW_LIMIT
from notus.data.schema import (
    COMPLETIONS,
    REFUSED,
    TABLES,
    check,
    completion_id,
    preference_id,
    prompt_id,
    raw_text,
)
from notus.errors import DataError

A, B, C = "a" * 32, "b" * 32, "c" * 32
GOOD: dict[str, dict[str, Any]] = {
    "prompts": {
        "prompt_id": A,
        "messages": [{"role": "system", "content": ""}, {"role": "user", "content": "Why?"}],
        "source": "test",
        "origin": {"sha256": "f" * 64, "line": 1},
        "metadata": "{}",
    },
    "completions": {
        "completion_id": B,
        "prompt_id": A,
        "model": "m",
        "text": "Because.",
        "origin": None,
        "metadata": "{}",
    },
    "ratings": {
        "completion_id": B,
        "rater": "r",
        "aspect": "honesty",
        "value": 0.0,
        "scale_min": 1.0,
        "scale_max": 5.0,
        "rationale": None,
    },
    "issues": {
        "rule": "scale",
        "prompt_id": A,
        "completion_id": None,
        "severity": "info",
        "score": 1.0,
        "evidence": "x",
    },
    "findings": {
        "rule": "length",
        "severity": "info",
        "subject": "longer chosen",
        "value": 0.6,
        "low": None,
        "high": None,
        "n": 10,
        "evidence": "x",
    },
    "preferences": {
        "preference_id": A,
        "prompt_id": A,
        "chosen_id": B,
        "rejected_id": C,
        "margin": 0.0,
        "strategy": "s",
    },
    "dropped": {"prompt_id": A, "strategy": "s", "reason": "r"},
    "refused": {"place": "f:1", "reason": "r", "raw": ""},
}
NO_ID = "not-a-hash"
BREAKS: dict[tuple[str, str], dict[str, Any]] = {
    ("prompts", "no messages"): {"messages": []},
    ("prompts", "unknown role"): {"messages": [{"role": "human", "content": "Why?"}]},
    ("prompts", "last message is not the user's"): {
        "messages": [{"role": "assistant", "content": "Why?"}]
    },
    ("prompts", "empty prompt"): {"messages": [{"role": "user", "content": " \n"}]},
    ("prompts", "no source"): {"source": None},
    ("prompts", "no metadata"): {"metadata": None},
    ("completions", "no model"): {"model": " "},
    ("completions", "empty completion"): {"text": "\t\u00a0"},
    ("completions", "no metadata"): {"metadata": None},
    ("ratings", "no rater"): {"rater": ""},
    ("ratings", "no aspect"): {"aspect": None},
    ("ratings", "value is not a finite number"): {"value": float("nan")},
    ("ratings", "scale is empty"): {"scale_min": 5.0},
    ("findings", "no rule"): {"rule": ""},
    ("findings", "unknown severity"): {"severity": "bad"},
    ("findings", "no subject"): {"subject": None},
    ("findings", "no evidence"): {"evidence": " "},
    ("issues", "no rule"): {"rule": ""},
    ("issues", "unknown severity"): {"severity": "fatal"},
    ("issues", "score is not a finite number"): {"score": float("inf")},
    ("issues", "no evidence"): {"evidence": None},
    ("preferences", "chosen is rejected"): {"rejected_id": B},
    ("preferences", "margin is not a finite number"): {"margin": None},
    ("preferences", "no strategy"): {"strategy": ""},
    ("dropped", "no strategy"): {"strategy": ""},
    ("dropped", "no reason"): {"reason": ""},
    ("refused", "no place"): {"place": ""},
    ("refused", "no reason"): {"reason": ""},
    ("refused", "no raw"): {"raw": None},
} | {
    (table.name, rule): {rule.split()[0]: NO_ID}
    for table in TABLES.values()
    for rule in table.rules
    if rule.endswith("is not a content hash")
}


def frame(table: str, *rows: dict[str, Any]) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema=TABLES[table].schema)


def test_prompt_id_is_the_hash_of_the_canonical_json() -> None:
    """By hand: a list of [role, content], UTF-8, no spaces, the first 32 hex digits."""
    canonical = '[["user","caf\u00e9 \\"x\\""]]'.encode()
    expected = hashlib.sha256(canonical).hexdigest()[:32]
    assert prompt_id([{"role": "user", "content": 'caf\u00e9 "x"'}]) == expected


def test_prompt_id_ignores_unicode_composition_but_nothing_else() -> None:
    composed = prompt_id([{"role": "user", "content": "caf\u00e9"}])
    assert prompt_id([{"role": "user", "content": "cafe\u0301"}]) == composed
    for other in ("cafe", "caf\u00e9 ", "Caf\u00e9"):
        assert prompt_id([{"role": "user", "content": other}]) != composed
    assert prompt_id([{"role": "system", "content": "caf\u00e9"}]) != composed


@given(st.lists(st.text(max_size=3), min_size=3, max_size=3), st.data())
def test_ids_keep_their_parts_apart(parts: list[str], data: st.DataObject) -> None:
    other = data.draw(st.lists(st.text(max_size=3), min_size=3, max_size=3))
    assert (completion_id(*parts) == completion_id(*other)) == (parts == other)
    assert (preference_id(*parts) == preference_id(*other)) == (parts == other)


@pytest.mark.parametrize("name", TABLES)
def test_a_good_row_passes(name: str) -> None:
    checked = check(TABLES[name], frame(name, GOOD[name]))
    assert checked.good.to_dicts() == [GOOD[name]]
    assert checked.refused.is_empty()
    assert checked.refused.schema == REFUSED.schema


def test_every_rule_has_a_row_that_breaks_it() -> None:
    rules = {(table.name, rule) for table in TABLES.values() for rule in table.rules}
    assert set(BREAKS) == rules


@pytest.mark.parametrize(("name", "rule"), BREAKS)
def test_a_broken_rule_is_named_and_the_row_is_kept(name: str, rule: str) -> None:
    bad = GOOD[name] | BREAKS[name, rule]
    checked = check(TABLES[name], frame(name, GOOD[name], bad))
    assert checked.good.to_dicts() == [GOOD[name]]
    (refused,) = checked.refused.to_dicts()
    assert refused["place"] == f"{name}:2"
    assert refused["reason"] == rule
    assert set(json.loads(refused["raw"])) == set(bad)


def test_duplicates_are_refused_and_a_bad_row_spoils_no_good_one() -> None:
    good = GOOD["completions"]
    bad = good | {"text": ""}
    checked = check(COMPLETIONS, frame("completions", bad, good, good))
    assert checked.good.to_dicts() == [good]
    assert checked.refused.select("place", "reason").rows() == [
        ("completions:1", "empty completion"),
        ("completions:3", "duplicate"),
    ]


def test_rows_without_a_key_may_repeat() -> None:
    assert check(REFUSED, frame("refused", *[GOOD["refused"]] * 2)).good.height == 2


@given(
    st.lists(
        st.fixed_dictionaries(
            {
                "completion_id": st.sampled_from([A, B, NO_ID]),
                "prompt_id": st.sampled_from([A, "", None]),
                "model": st.sampled_from(["m", " ", None]),
                "text": st.sampled_from(["yes", "", "\n", None]),
                "origin": st.sampled_from([None, {"sha256": "f" * 64, "line": 2}]),
                "metadata": st.sampled_from(["{}", None]),
            }
        ),
        max_size=12,
    )
)
def test_check_separates_and_never_loses(rows: list[dict[str, Any]]) -> None:
    checked = check(COMPLETIONS, frame("completions", *rows))
    assert checked.good.height + checked.refused.height == len(rows)
    assert checked.good["completion_id"].is_unique().all()
    assert check(COMPLETIONS, checked.good).refused.is_empty()
    places = [int(place.split(":")[1]) for place in checked.refused["place"]]
    assert places == sorted(set(places))
    kept = [row for i, row in enumerate(rows, start=1) if i not in places]
    assert checked.good.to_dicts() == kept


def test_columns_may_stand_in_any_order() -> None:
    turned = frame("completions", GOOD["completions"]).select(sorted(COMPLETIONS.schema))
    assert check(COMPLETIONS, turned).good.columns == COMPLETIONS.schema.names()


def test_wrong_columns_are_named_with_what_was_expected() -> None:
    wrong = pl.DataFrame({"completion_id": [1], "texts": ["x"]})
    with pytest.raises(DataError) as caught:
        check(COMPLETIONS, wrong)
    message = str(caught.value)
    assert "completion_id: Int64 (expected String)" in message
    assert "text: missing (expected String)" in message
    assert "texts: String (expected no such column)" in message
    assert "where:    table completions" in message


def test_raw_text_is_cut_and_always_writable() -> None:
    assert raw_text({"a": [1, "\u00e9"]}) == '{"a": [1, "\u00e9"]}'
    assert len(raw_text("x" * 5000)) == RAW_LIMIT
    assert raw_text("half \ud800 pair") == "half \\ud800 pair"


@given(st.text(), st.text(), st.text())
def test_an_id_is_the_hash_of_its_compact_json(prompt: str, model: str, text: str) -> None:
    """What ids have been since the first release, written without the library that is used now."""
    canonical = json.dumps([prompt, model, text], ensure_ascii=False, separators=(",", ":"))
    expected = hashlib.sha256(canonical.encode("utf-8")).hexdigest()[:32]
    assert completion_id(prompt, model, text) == expected


def test_every_character_is_written_as_json_writes_it() -> None:
    text = "".join(map(chr, [*range(0xD800), *range(0xE000, 0x11000)]))
    normal = unicodedata.normalize("NFC", text)
    canonical = json.dumps([["user", normal]], ensure_ascii=False, separators=(",", ":"))
    expected = hashlib.sha256(canonical.encode("utf-8")).hexdigest()[:32]
    assert prompt_id([{"role": "user", "content": text}]) == expected

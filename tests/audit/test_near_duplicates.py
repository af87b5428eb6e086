import json

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from notus.audit import tokens
from notus.audit.near_duplicates import near_dup, near_duplicates
from notus.audit.tokens import folded_words
from notus.audit.verdict import Subject, findings_frame
from notus.data.schema import COMPLETIONS, FINDINGS, ISSUES, PROMPTS, RATINGS, Feedback, check


def turns(prompts: dict[str, list[str]]) -> pl.DataFrame:
    rows = [(key, text) for key, texts in prompts.items() for text in texts]
    return pl.DataFrame(rows, schema={"prompt_id": pl.String, "text": pl.String}, orient="row")


def slow_pairs(prompts: dict[str, list[str]]) -> dict[tuple[str, str], float]:
    """Jaccard of (later, earlier) for all pairs; 1 for the same turns but for case and layout."""
    sets, whole = {}, {}
    for key, texts in prompts.items():
        frame = pl.DataFrame({"t": texts}).select(folded_words(pl.col("t")))
        split = [text.split(" ") if text else [] for text in frame["t"]]
        sets[key] = {tuple(s[i : i + 5]) for s in split for i in range(len(s) - 4)}
        whole[key] = [" ".join(text.lower().split()).strip(" .!?\"'") for text in texts]
    found, keys = {}, list(prompts)
    for n, later in enumerate(keys):
        for earlier in keys[:n]:
            one, other = sets[later], sets[earlier]
            jaccard = len(one & other) / max(len(one | other), 1)
            if whole[later] == whole[earlier]:
                jaccard = 1.0
            if jaccard >= 0.8:
                found[later, earlier] = round(jaccard, 9)
    return found


def agrees(prompts: dict[str, list[str]]) -> None:
    found = near_duplicates(turns(prompts))
    pairs = slow_pairs(prompts)
    best: dict[str, float] = {}
    for (later, _), jaccard in pairs.items():
        best[later] = max(best.get(later, 0.0), jaccard)
    rows = list(found.iter_rows())
    assert {later: jaccard for later, _, jaccard in rows} == best
    assert all(pairs[later, earlier] == jaccard for later, earlier, jaccard in rows)


WORDS = [f"w{number}" for number in range(300)]
TEXT = st.lists(st.sampled_from(WORDS), max_size=40)


@settings(max_examples=50, derandomize=True)
@given(st.lists(st.lists(TEXT, min_size=1, max_size=2), min_size=1, max_size=5), st.data())
def test_found_is_what_brute_force_finds(prompts, data) -> None:
    # Copies with a few words changed, so that there are pairs on both sides of the threshold.
    rng = np.random.default_rng(data.draw(st.integers(0, 1000)))
    several = {}
    for number, texts in enumerate(prompts):
        for copy in range(3):
            changed = [list(text) for text in texts]
            for text in changed:
                if copy and text:
                    text[int(rng.integers(len(text)))] = f"new{int(rng.integers(3))}"
            several[f"p{copy}.{number}"] = [" ".join(text) for text in changed]
    agrees(several)


def test_case_punctuation_and_layout_do_not_hide_a_copy() -> None:
    found = near_duplicates(
        turns({"a": ["Don't say, 'Hello big world'!"], "b": ["dont say\n\nHELLO big world"]})
    )
    assert found.rows() == [("b", "a", 1.0)]


def test_short_prompts_repeat_only_word_for_word() -> None:
    found = near_duplicates(
        turns(
            {
                "a": ["Tell me a joke"],
                "b": ["Tell me a story"],
                "c": ["tell me \n a joke!"],
                "d": ["2 + 2"],
                "e": ["2 - 2"],
                "f": ["+"],
                "g": ["-"],
            }
        )
    )
    assert found.rows() == [("c", "a", 1.0)]


def test_turns_count_as_turns() -> None:
    words = " ".join(WORDS[:30])
    prompts = {
        "a": [words, "and now?"],
        "b": [words, "or not?"],
        "c": ["and now?", "or not?"],
        "d": ["and", "now or not?"],
    }
    # No turn of c and d has five words, and they differ in where a turn ends.
    assert near_duplicates(turns(prompts)).rows() == [("b", "a", 1.0)]


def test_the_nearest_earlier_prompt_is_named_and_the_first_of_equals() -> None:
    text = WORDS[:60]
    nearer, farther = [*text[:59], "x"], [*text[:57], "x", "y", "z"]
    prompts = {
        "far": [" ".join(farther)],
        "near": [" ".join(nearer)],
        "copy": [" ".join(nearer)],
        "last": [" ".join(text)],
    }
    found = {later: earlier for later, earlier, _ in near_duplicates(turns(prompts)).iter_rows()}
    assert found == {"near": "far", "copy": "near", "last": "near"}


def test_batches_change_nothing(monkeypatch) -> None:
    rng = np.random.default_rng(0)
    prompts = {
        f"p{n}": [" ".join(rng.choice(WORDS[:2], 6)), " ".join(rng.choice(WORDS[:8], 3))]
        for n in range(60)
    }
    whole = near_duplicates(turns(prompts))
    assert whole.height
    monkeypatch.setattr(tokens, "_BATCH_BYTES", 50)
    assert near_duplicates(turns(prompts)).equals(whole)


def test_a_template_of_thousands_is_no_trouble() -> None:
    template = " ".join(WORDS[:60])
    prompts = {f"p{n}": [f"{template} {n} {n + 1}"] for n in range(3000)}
    found = near_duplicates(turns(prompts))
    assert found.height == 2999


def feedback(prompts: dict[str, list[str]]) -> Feedback:
    rows = [
        {
            "prompt_id": key,
            "messages": [{"role": "user", "content": text} for text in texts],
            "source": "test",
            "origin": None,
            "metadata": "{}",
        }
        for key, texts in prompts.items()
    ]
    empty = [pl.LazyFrame(schema=table.schema) for table in (COMPLETIONS, RATINGS)]
    return Feedback(
        prompts=pl.LazyFrame(rows, schema=PROMPTS.schema), completions=empty[0], ratings=empty[1]
    )


def test_the_rule_warns_of_copies_and_mentions_near_ones() -> None:
    text = " ".join(WORDS[:60])
    prompts = {f"{n:032x}": [one] for n, one in enumerate([text, "Hi", text + "!", text + " x"])}
    verdict = near_dup(Subject(feedback=feedback(prompts), preferences=pl.DataFrame()))
    first, copy, near = (f"{n:032x}" for n in (0, 2, 3))
    assert verdict.looked_at == 4
    issues = {row["prompt_id"]: row for row in verdict.issues.iter_rows(named=True)}
    assert {key: row["severity"] for key, row in issues.items()} == {copy: "warning", near: "info"}
    assert issues[copy]["evidence"] == f"Jaccard 1.0 with the earlier prompt {first}"
    assert issues[near]["score"] == pytest.approx(56 / 57)
    (finding,) = verdict.findings
    assert (finding.value, finding.n, finding.severity) == (0.5, 4, "warning")
    assert check(ISSUES, verdict.issues).refused.is_empty()
    assert check(FINDINGS, findings_frame(verdict.findings)).refused.is_empty()


def test_no_prompts_are_skipped() -> None:
    verdict = near_dup(Subject(feedback=feedback({}), preferences=pl.DataFrame()))
    assert verdict.skipped


@pytest.mark.shared
def test_real_prompts_agree_with_brute_force(shared_data) -> None:
    lines = (shared_data / "ultrafeedback/binarized/train_clean.jsonl").read_text().split("\n")
    prompts = {str(n): [json.loads(line)["prompt"]] for n, line in enumerate(lines) if line}
    agrees(prompts)
    found = near_duplicates(turns(prompts))
    # Two FLAN tasks whose instructions are worded anew around the same input.
    assert found["jaccard"].round(2).to_list() == [0.93, 0.86]

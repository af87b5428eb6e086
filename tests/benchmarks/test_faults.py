"""The bench plants what it says, knows what it planted, and counts honestly."""

import copy
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from faults import bench, clean, plant_pairs, plant_ratings, plant_texts, rediscover, report
from faults.bench import Outcome, base_rows, make_subject, run_fault, take_in
from faults.kinds import FAULTS, REFUSED
from faults.rediscover import Rediscovery
from faults.tables import share, table

from notus.data.schema import prompt_id
from notus.store import read_feedback

ROWS = 700
FACTS = """
score_conflict critique_conflict pile_up scale arity alignment tie inversion flip identical collapse
rejected_index model_bias length prompt_leak position self_preference near_dup contradiction
contamination rm_vote confident
"""
ITEMS = [name for name, fault in FAULTS.items() if fault.shown == "items"]
WHOLE = [name for name in FAULTS if name not in ITEMS]


def planted(kind: str, seed: int = 1) -> tuple[list[dict[str, Any]], Any]:
    fault = FAULTS[kind]
    rows = base_rows(fault.form, ROWS, seed)
    before = copy.deepcopy(rows)
    return before, fault.plant(rows, np.random.default_rng(seed), fault.share)


def test_every_audit_has_a_fault_and_there_are_twenty_kinds_at_least() -> None:
    rules = {rule for fault in FAULTS.values() for rule in fault.rules}
    assert rules - {REFUSED} == set(FACTS.split())
    assert len(FAULTS) >= 20
    assert all(fault.what.endswith(".") for fault in FAULTS.values())


@pytest.mark.parametrize("kind", sorted(set(FAULTS) - {"rejected_index"}))
def test_a_planter_spoils_rows_and_draws_from_its_generator_alone(kind: str) -> None:
    before, first = planted(kind)
    _, again = planted(kind)
    assert first.rows != before
    assert first == again
    assert bool(first.groups) == (FAULTS[kind].shown == "items")


@pytest.mark.parametrize("kind", sorted(set(ITEMS) - {"blank_text", "self_pair"}))
def test_the_ids_of_spoiled_items_are_those_of_ingest(kind: str, tmp_path: Path) -> None:
    _, found = planted(kind)
    feedback = read_feedback(take_in(found.rows, tmp_path))
    known = set(feedback.completions.select("completion_id").collect()["completion_id"])
    known |= set(feedback.prompts.select("prompt_id").collect()["prompt_id"])
    assert all(group <= known for group in found.groups)


@pytest.mark.parametrize(
    ("kind", "items"),
    [("ten_flip", 4), ("out_of_scale", 4), ("identical_answers", 1), ("tie_kept", 1)],
)
def test_as_many_are_spoiled_as_the_share_says(kind: str, items: int) -> None:
    before, found = planted(kind)
    wanted = FAULTS[kind].share * items * len(before)
    # There may be fewer scores of 1 than the share asks for.
    assert 0.5 * wanted < len(found.groups) <= wanted + 1


def test_ten_flips_are_scores_of_one_and_nothing_else_changes() -> None:
    before, found = planted("ten_flip")
    changed = [
        (old, new)
        for row, spoiled in zip(before, found.rows, strict=True)
        for old, new in zip(row["completions"], spoiled["completions"], strict=True)
        if old != new
    ]
    assert len(changed) == len(found.groups)
    assert all(new == old | {"overall_score": 10.0} for old, new in changed)
    assert {old["overall_score"] for old, _ in changed} == {1.0}


def test_shifted_completions_are_the_next_rows() -> None:
    before, found = planted("shifted_completions")
    moved = [i for i, row in enumerate(before) if row != found.rows[i]]
    assert moved == list(range(moved[0], moved[-1] + 1))
    for index in moved[:-1]:
        assert found.rows[index]["instruction"] == before[index]["instruction"]
        assert found.rows[index]["completions"] == before[index + 1]["completions"]


def test_pairs_prefer_the_higher_score() -> None:
    rows = base_rows("pairs", ROWS, 1)
    assert all(row["score_chosen"] > row["score_rejected"] for row in rows)
    assert all(row["chosen"] != row["rejected"] for row in rows)
    spoiled = plant_pairs.inverted_pair(rows, np.random.default_rng(0), 1.0).rows
    assert all(row["score_chosen"] < row["score_rejected"] for row in spoiled)


def test_the_trainer_of_the_bench_cuts_collapsing_pairs_to_the_same_tokens() -> None:
    rows = base_rows("pairs", ROWS, 1)
    found = plant_pairs.truncation_collapse(rows, np.random.default_rng(0), 0.02)
    spoiled = {key for group in found.groups for key in group}
    for row in found.rows:
        prompt = [{"role": "user", "content": row["prompt"]}]
        one, two = bench.encode_words([prompt, prompt], [row["chosen"], row["rejected"]])
        assert (one == two) == (prompt_id(prompt) in spoiled)


def test_near_duplicates_share_most_of_their_five_grams() -> None:
    _, found = planted("near_duplicate_prompts")
    text = {prompt_id([{"role": "user", "content": r["instruction"]}]): r for r in found.rows}

    def grams(key: str) -> set[tuple[str, ...]]:
        words = text[key]["instruction"].split()
        return set(zip(*(words[i:] for i in range(5)), strict=False))

    for group in found.groups:
        one, two = (grams(key) for key in group)
        assert len(one & two) / len(one | two) > 0.8


def test_contamination_is_of_the_items_that_the_audit_gets() -> None:
    _, found = planted("contamination")
    texts = " ".join(row["instruction"].lower() for row in found.rows)
    hits = [text for text in plant_texts.items()["text"] if text.lower() in texts]
    assert len(hits) == len(found.groups)


def test_self_preference_raises_the_own_answers_of_one_judge_only() -> None:
    before, found = planted("self_preference")
    assert len(found.rows) == 2 * len(before)
    for row, biased, other in zip(
        before, found.rows[: len(before)], found.rows[len(before) :], strict=True
    ):
        assert biased["rater"] == plant_ratings.JUDGE
        for old, new, plain in zip(
            row["completions"], biased["completions"], other["completions"], strict=True
        ):
            assert plain["overall_score"] == old["overall_score"]
            own = old["model"] == plant_ratings.JUDGE and old["overall_score"] < 10
            assert (new["overall_score"] > old["overall_score"]) == own


@pytest.mark.parametrize(
    "kind", ["ten_flip", "na_as_minus_one", "missing_aspect", "blank_text", "tie_kept"]
)
def test_plain_faults_are_caught_in_full(kind: str) -> None:
    outcome = run_fault(kind, rows=ROWS, seed=2)
    assert outcome.found == outcome.planted > 0
    assert outcome.right == outcome.flagged


def test_a_finding_is_seen_where_it_is_planted() -> None:
    assert run_fault("rejected_index", rows=ROWS, seed=2).detected
    assert run_fault("scrambled_scores", rows=ROWS, seed=2).detected
    assert not run_fault("scrambled_scores", rows=ROWS, seed=2, dose=0.01).detected


def test_clean_data_raises_no_error() -> None:
    found = clean.alarms("ultrafeedback", ROWS, seed=2)
    assert {alarm.rule for alarm in found} >= {"score_conflict", "scale"}
    assert sum(alarm.errors for alarm in found) == 0


def test_nothing_planted_is_nothing_found(tmp_path: Path) -> None:
    fault = FAULTS["out_of_scale"]
    folder = take_in(base_rows("ultrafeedback", ROWS, 3), tmp_path)
    subject = make_subject(read_feedback(folder), fault)
    issues = bench.RULES["scale"](subject).issues
    assert issues.filter(pl.col("severity") != "info").is_empty()


def test_blind_data_has_neither_ratings_nor_scores_of_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen = []

    def rule(subject: Any) -> Any:
        seen.append(subject.feedback.ratings.collect())
        return bench.Verdict()

    monkeypatch.setitem(rediscover.RULES, rediscover.RULE, rule)
    errors, warnings = rediscover.on_simulator(ROWS, seed=1, quirks=False)
    assert (errors.found, warnings.flagged) == (0, 0)
    assert errors.planted > 10
    assert set(seen[0]["aspect"]) == {"overall"}
    assert seen[0].filter(pl.col("value") == 1).is_empty()
    demo = rediscover.on_demo()[0]
    assert demo.planted == 50
    assert set(seen[1]["aspect"]) == {"overall"}


def outcome(kind: str, **figures: Any) -> Outcome:
    plain = {"planted": 0, "found": 0, "flagged": 0, "right": 0, "items": 100, "detected": False}
    plain |= {"alarm": False}
    return Outcome(
        kind=kind, skipped="", evidence="", seconds=0.0, **({"seed": 1} | plain | figures)
    )


def test_a_kind_is_caught_by_recall_and_false_alarms_over_all_seeds() -> None:
    good = outcome("tie_kept", planted=10, found=10, flagged=10, right=10)
    loud = outcome("tie_kept", planted=10, found=9, flagged=12, right=9, seed=2)
    blind = outcome("tie_kept", planted=10, found=5, flagged=5, right=5)
    assert [kind.caught for kind in report.by_kind([good])] == [True]
    assert [kind.caught for kind in report.by_kind([good, loud])] == [False]
    assert [kind.caught for kind in report.by_kind([good, blind])] == [False]
    seen = outcome("pile_up", detected=True)
    assert [kind.caught for kind in report.by_kind([seen, seen])] == [True]
    assert [kind.caught for kind in report.by_kind([seen, outcome("pile_up")])] == [False]
    assert [kind.caught for kind in report.by_kind([seen._replace(alarm=True)])] == [False]


def test_the_page_says_what_was_not_caught() -> None:
    blind = Rediscovery(
        "demo", "error", 10, planted=4, found=4, flagged=5, flagged_tens=4, seconds=1
    )
    figures = report.Figures(
        rows=10,
        seeds=[1],
        outcomes=[
            outcome("tie_kept", planted=10, found=10, flagged=10, right=10),
            outcome("pile_up")._replace(skipped="no rule pile_up"),
        ],
        blind=[blind],
    )
    text = report.render(figures, "run.py")
    assert "1 of 2 kinds caught" in text
    assert "NO no rule pile_up" in text
    assert "Blind rediscovery FAILS" in text
    assert report.as_json(figures)["kinds"][0]["caught"]
    assert "## Limits" in text


def test_the_page_shows_smaller_shares_and_the_worst_false_alarms() -> None:
    alarm = clean.Alarms("clean", "tie", 1000, 1, 0, 0, skipped="", evidence="", seconds=0.1)
    figures = report.Figures(
        rows=10,
        seeds=[1],
        outcomes=[outcome("tie_kept", planted=99, found=99, flagged=100, right=99, items=200)],
        weaker=[outcome("pile_up", detected=True, dose=dose) for dose in (0.5, 0.25)],
        clean=[alarm],
    )
    text = report.render(figures, "run.py")
    assert "at most 0.10% of the items" in text
    assert "at most 0.50% (limit 1%)" in text
    assert "1 of 1 at 3.00%" in text


def test_tables_line_up() -> None:
    lines = table(("what", "n"), [("a", 5), ("longer", 12)]).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert lines[2].endswith("|   5 |")
    assert share(0, 0) == ""
    assert share(1, 2).startswith("0.500 [0.09")

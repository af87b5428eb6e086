"""Named specifications: the published ones by hand on small feedback, and a user's own file."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from notus import binarize as rules
from notus.binarize import binarize
from notus.data.schema import DROPPED, PREFERENCES, Feedback, check
from notus.errors import DataError, RecipeError, UsageError
from notus.specification import Specification
from notus.specifications import SPECIFICATIONS, specification
from notus.withheld import CONTAMINATED, NO_REQUIRED_MODEL

Make = Callable[[Mapping[str, Sequence[tuple[str, str, Mapping[str, float | None]]]]], Feedback]

# Mean ratings a 4, b 3, c 2, d 1, so the order is a b c d; overall scores say c d b a.
ROW = [
    ("a", "one", {"honesty": 4, "helpfulness": 4, "overall": 2}),
    ("b", "two two", {"honesty": 3, "helpfulness": 3, "overall": 4}),
    ("c", "three three three", {"honesty": 2, "helpfulness": 2, "overall": 9}),
    ("d", "four four four four", {"honesty": 1, "helpfulness": 1, "overall": 8}),
]


def own(**fields: Any) -> Specification:
    base = {
        "name": "own",
        "note": "for a test",
        "score": {"weights": {"honesty": 1}},
        "rejected": "lowest",
        "ties": "drop",
    }
    return Specification.model_validate(base | fields)


def pairs(feedback: Feedback, spec: Specification, **more: Any) -> list[str]:
    """Models of chosen and rejected, sorted: "ab" for a over b."""
    made = binarize(feedback, spec, **more)
    assert check(PREFERENCES, made.preferences).refused.is_empty()
    assert check(DROPPED, made.dropped).refused.is_empty()
    models = dict(feedback.completions.select("completion_id", "model").collect().iter_rows())
    rows = made.preferences.select("chosen_id", "rejected_id").iter_rows()
    return sorted(models[chosen] + models[rejected] for chosen, rejected in rows)


def dropped(feedback: Feedback, spec: Specification, **more: Any) -> list[str]:
    return sorted(binarize(feedback, spec, **more).dropped["reason"])


def test_every_published_set_has_a_specification() -> None:
    assert set(SPECIFICATIONS) == {
        *("argilla-v1", "argilla-cleaned", "argilla-multi", "h4-v1", "h4-v2", "allenai-cleaned"),
        *("tulu-3", "olmo-3", "simpo", "given"),
    }
    for name, spec in SPECIFICATIONS.items():
        assert specification(name) == spec
        assert spec.name == name
        assert spec.rejected in rules.REJECTED
        assert spec.source or name == "given"


@pytest.mark.parametrize(
    ("rejected", "expected"),
    [
        ("lowest", ["ad"]),
        ("second", ["ab"]),
        ("all_lower", ["ab", "ac", "ad"]),
    ],
)
def test_rules_that_leave_nothing_to_a_draw(
    make_feedback: Make, rejected: str, expected: list[str]
) -> None:
    assert pairs(make_feedback({"?": ROW}), own(rejected=rejected)) == expected


def test_a_random_rule_draws_all_it_may_and_nothing_else(make_feedback: Make) -> None:
    feedback = make_feedback({f"{i}?": ROW for i in range(60)})
    assert set(pairs(feedback, own(rejected="random_lower"))) == {"ab", "ac", "ad"}
    assert set(pairs(feedback, own(rejected="margin", margin=2))) == {"ac", "ad"}
    assert pairs(feedback, own(rejected="margin", margin=3)) == ["ad"] * 60
    assert dropped(feedback, own(rejected="margin", margin=4)) == [rules.NO_RIVAL] * 60


@pytest.mark.parametrize(("best", "expected"), [(0, "ac"), (1, "ba"), (2, "ca"), (3, "da")])
def test_the_draw_of_h4_v1(make_feedback: Make, best: int, expected: str) -> None:
    """Its generator was seeded anew for each row: index 0, or 2 where 0 is chosen."""
    row = [(m, m, {"overall": 9.0 if i == best else 5.0}) for i, m in enumerate("abcd")]
    feedback = make_feedback({f"{i}?": row for i in range(5)})
    assert pairs(feedback, SPECIFICATIONS["h4-v1"]) == [expected] * 5


def test_h4_v1_keeps_ties_identical_texts_and_rows_of_two(make_feedback: Make) -> None:
    same = [("a", "x", {"overall": 7}), ("b", "x", {"overall": 7})]
    feedback = make_feedback({"?": same, "!": [*same, ("c", "y", {"overall": 7})], "0": same[:1]})
    assert pairs(feedback, SPECIFICATIONS["h4-v1"]) == ["ab", "ac"]
    assert dropped(feedback, SPECIFICATIONS["h4-v1"]) == [rules.TOO_FEW]


def test_the_place_that_the_reader_noted_counts(make_feedback: Make) -> None:
    """The first answer of the row was refused, so b, c, d stand at 1, 2, 3: none is at 0, and 2 is
    next."""
    row = [(m, m, {"overall": v}) for m, v in zip("bcd", (9, 1, 1), strict=True)]
    feedback = make_feedback({"?": row})
    noted = pl.concat_str(pl.lit('{"position": '), pl.int_range(1, pl.len() + 1), pl.lit("}"))
    placed = Feedback(
        prompts=feedback.prompts,
        completions=feedback.completions.with_columns(metadata=noted),
        ratings=feedback.ratings,
    )
    assert pairs(placed, SPECIFICATIONS["h4-v1"]) == ["bc"]


def test_published_strategies_on_one_row(make_feedback: Make) -> None:
    ratings = {"instruction_following": 3, "truthfulness": 3}
    row = [(m, text, values | ratings) for m, text, values in ROW]
    feedback = make_feedback({f"{i}?": row for i in range(40)})
    assert set(pairs(feedback, SPECIFICATIONS["argilla-v1"])) == {"ab", "ac", "ad"}
    assert pairs(feedback, SPECIFICATIONS["argilla-multi"]).count("ac") == 40
    assert set(pairs(feedback, SPECIFICATIONS["h4-v2"])) == {"ca", "cb", "cd"}
    assert set(pairs(feedback, SPECIFICATIONS["h4-v1"])) == {"ca"}
    none = pl.Series([], dtype=pl.String)
    assert set(pairs(feedback, SPECIFICATIONS["tulu-3"], contaminated=none)) == {"ab", "ac", "ad"}
    assert dropped(feedback, SPECIFICATIONS["olmo-3"]) == [NO_REQUIRED_MODEL] * 40


def test_weights_and_missing_ratings(make_feedback: Make) -> None:
    """With honesty three times as heavy: a (3*1+5)/4 = 2, b (3*2+1)/4 = 1.75; evenly 3 and 1.5."""
    row = [
        ("a", "x", {"honesty": 1, "helpfulness": 5}),
        ("b", "y", {"honesty": 2, "helpfulness": 1}),
        ("c", "z", {"honesty": 5, "helpfulness": None}),
    ]
    feedback = make_feedback({"?": row})
    heavy = {"weights": {"honesty": 3, "helpfulness": 1}}
    whole = own(score=heavy | {"missing": "unrated"})
    made = binarize(feedback, whole)
    assert pairs(feedback, whole) == ["ab"]
    assert made.preferences["margin"].item() == 0.25
    assert pairs(feedback, own(score=heavy)) == ["cb"]


def test_one_raters_word_and_a_unit_scale(make_feedback: Make) -> None:
    feedback = make_feedback({"?": ROW})
    other = feedback.ratings.filter(pl.col("aspect") == "honesty").with_columns(
        rater=pl.lit("other"), value=6 - pl.col("value")
    )
    both = Feedback(
        prompts=feedback.prompts,
        completions=feedback.completions,
        ratings=pl.concat([feedback.ratings, other]),
    )
    assert pairs(both, own(score={"weights": {"honesty": 1}, "rater": "other"})) == ["da"]
    assert dropped(both, own()) == [rules.ALL_EQUAL]
    mixed = {"weights": {"honesty": 1, "overall": 1}}
    with pytest.raises(DataError, match=r"scales 1\.\.5, 1\.\.10[^$]*score.unit_scale"):
        binarize(feedback, own(score=mixed))
    # Honesty (v-1)/4 and overall (v-1)/9: a .75 + .11, b .5 + .33, c .25 + .89, d 0 + .78.
    assert pairs(feedback, own(score=mixed | {"unit_scale": True})) == ["cd"]


def test_filters_take_away_with_a_reason(make_feedback: Make) -> None:
    feedback = make_feedback({"?": ROW, "!": ROW[:2]})
    assert pairs(feedback, own(filters={"drop_models": ["a", "d"]})) == ["bc"]
    assert dropped(feedback, own(filters={"drop_models": ["a", "d"]})) == [rules.TOO_FEW]
    assert pairs(feedback, own(filters={"require_models": ["c", "d"]})) == ["ad"]
    assert dropped(feedback, own(filters={"require_models": ["c"]})) == [NO_REQUIRED_MODEL]
    assert pairs(feedback, own(filters={"min_margin": 1.5})) == ["ad"]
    assert dropped(feedback, own(filters={"min_margin": 1.5})) == [rules.MARGIN]
    assert pairs(feedback, own(filters={"max_length_difference": 1})) == ["ab"]
    assert dropped(feedback, own(filters={"max_length_difference": 1})) == [rules.LENGTHS]


def test_every_filtered_pair_of_a_prompt_is_a_row(make_feedback: Make) -> None:
    feedback = make_feedback({"?": ROW})
    spec = own(rejected="all_lower", filters={"min_margin": 2})
    assert pairs(feedback, spec) == ["ac", "ad"]
    assert dropped(feedback, spec) == [rules.MARGIN]


def test_sources_go_together_with_what_reads_the_same(make_feedback: Make) -> None:
    feedback = make_feedback({"Who  is it?": ROW, "who is IT?": ROW, "Other": ROW})
    truthful = pl.when(pl.col("messages").list.first().struct.field("content") == "Who  is it?")
    named = Feedback(
        prompts=feedback.prompts.with_columns(
            source=truthful.then(pl.lit("truthful_qa")).otherwise("source")
        ),
        completions=feedback.completions,
        ratings=feedback.ratings,
    )
    spec = own(filters={"drop_sources": ["truthful_qa"]})
    assert pairs(named, spec) == ["ad"]
    assert dropped(named, spec) == [
        "reads like a prompt of source truthful_qa",
        "source truthful_qa",
    ]


def test_decontamination_needs_something_to_compare_with(make_feedback: Make) -> None:
    feedback = make_feedback({"?": ROW, "!": ROW})
    spec = own(filters={"decontaminate": True})
    hit = feedback.prompts.select("prompt_id").collect()["prompt_id"][:1]
    assert pairs(feedback, spec, contaminated=hit) == ["ad"]
    assert dropped(feedback, spec, contaminated=hit) == [CONTAMINATED]
    with pytest.raises(DataError, match=r"no evaluation items[^$]*--against FILE"):
        binarize(feedback, spec)


def test_what_a_source_states_is_taken_rater_by_rater(make_feedback: Make) -> None:
    """Two rows of one prompt: a over b, and c over d. No row ever said a over d."""
    answers = [(m, m, {"preference": v}) for m, v in zip("abcd", (1, 0, 1, 0), strict=True)]
    feedback = make_feedback({"?": answers})
    second = pl.col("completion_id").is_in(
        feedback.completions.filter(pl.col("model").is_in(["c", "d"]))
        .select("completion_id")
        .collect()["completion_id"]
        .implode()
    )
    rater = pl.when(second).then(pl.lit("pairs@b.jsonl:2")).otherwise(pl.lit("pairs"))
    stated = Feedback(
        prompts=feedback.prompts,
        completions=feedback.completions,
        ratings=feedback.ratings.with_columns(rater=rater),
    )
    assert pairs(stated, SPECIFICATIONS["given"]) == ["ab", "cd"]
    again = pl.concat(
        [stated.ratings, stated.ratings.with_columns(rater=pl.col("rater") + "@again")]
    )
    twice = Feedback(prompts=stated.prompts, completions=stated.completions, ratings=again)
    assert pairs(twice, SPECIFICATIONS["given"]) == ["ab", "cd"]
    assert dropped(twice, SPECIFICATIONS["given"]) == [rules.AGAIN] * 2
    reverse = pl.concat(
        [
            stated.ratings,
            stated.ratings.with_columns(
                rater=pl.col("rater") + "@again", value=1 - pl.col("value")
            ),
        ]
    )
    contrary = Feedback(prompts=stated.prompts, completions=stated.completions, ratings=reverse)
    assert pairs(contrary, SPECIFICATIONS["given"]) == ["ab", "ba", "cd", "dc"]


def test_a_specification_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(yaml.safe_dump(own(ties="keep").model_dump()), encoding="utf-8")
    assert specification(str(path)) == own(ties="keep")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- a", r"list at the top level\n.*keys name, version"),
        ("a: [", "text that is not YAML"),
        ("name: own", r"note: Field required[^$]*score: Field required"),
        ("name: own\nnote: n\nrejcted: lowest", "rejcted: Extra inputs"),
        (
            "name: own\nnote: n\nscore: {weights: {honesty: -1}}\nrejected: lowest\nties: drop",
            r"score.weights.honesty: Input should be greater than 0",
        ),
        (
            "name: own\nnote: n\nscore: {weights: {honesty: 1}}\nrejected: margin\nties: drop",
            "margin None with rejected 'margin'",
        ),
    ],
)
def test_a_file_that_is_no_specification(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(RecipeError, match=message):
        specification(str(path))


def test_names_that_are_not_there(tmp_path: Path) -> None:
    message = r"strategy 'argilla'\n.*argilla-v1 \(mean of[^$]*given[^$]*--strategy"
    with pytest.raises(UsageError, match=message):
        specification("argilla")
    with pytest.raises(UsageError, match=r"no file\n.*a YAML file"):
        specification(str(tmp_path / "none.yaml"))


def test_a_published_name_means_one_thing(tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(yaml.safe_dump(own(name="h4-v2").model_dump()), encoding="utf-8")
    with pytest.raises(UsageError, match=r"another specification named 'h4-v2'[^$]*rename it"):
        specification(str(path))

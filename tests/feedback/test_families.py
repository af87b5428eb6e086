"""The families' promises: exact counts, determinism, balance, and splits that share nothing."""

import json
import string
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from notus.errors import UsageError
from notus.feedback import facts, topics
from notus.feedback.families import FAMILIES, make_prompts
from notus.feedback.questions import operands
from notus.feedback.verifiable import CHECKS, verify

SEEN = [family for family in FAMILIES.values() if not family.unseen]
POOLS = {
    f"{module.__name__}.{name}": pool
    for module in (topics, facts)
    for name, pool in vars(module).items()
    if isinstance(pool, dict) and set(pool) == {"train", "test"}
}


def instructions(prompts):
    return [prompt.messages[-1]["content"] for prompt in prompts]


def test_one_family_is_never_trained_on():
    assert [family.name for family in FAMILIES.values() if family.unseen] == ["greeting"]
    assert "greeting" not in {prompt.family for prompt in make_prompts("train", 1, 0)}
    assert "greeting" in {prompt.family for prompt in make_prompts("test", 1, 0)}


def test_named_families_alone_are_drawn_and_the_same_as_among_all():
    some = make_prompts("test", 2, 0, families=["copy", "greeting"])
    assert Counter(prompt.family for prompt in some) == {"copy": 2, "greeting": 2}
    every = make_prompts("test", 2, 0)
    assert some == [prompt for prompt in every if prompt.family in ("copy", "greeting")]
    with pytest.raises(UsageError, match=r"families nothing[^$]*copy"):
        make_prompts("test", 2, 0, families=["nothing", "copy"])


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_wordings_are_enough_and_disjoint(family):
    assert len(family.wordings["train"]) >= (0 if family.unseen else 6)
    assert len(family.wordings["test"]) >= 3
    for split in ("train", "test"):
        assert len(set(family.wordings[split])) == len(family.wordings[split])
    assert not set(family.wordings["train"]) & set(family.wordings["test"])


def test_no_wording_serves_two_families():
    every = [w for family in FAMILIES.values() for both in family.wordings.values() for w in both]
    assert [wording for wording, times in Counter(every).items() if times > 1] == []


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_wordings_use_every_field_that_varies(family):
    """A wording that left a field out would ask the same thing for two cases."""
    for split, wordings in family.wordings.items():
        if wordings:
            asked = [w.format(**case.fields) for w in wordings for case in family.cases(split)]
            assert len(set(asked)) == len(asked)


@pytest.mark.parametrize("name", POOLS)
def test_pools_are_disjoint(name):
    train, test = set(POOLS[name]["train"]), set(POOLS[name]["test"])
    assert test
    assert not train & test


@given(st.integers(0, 50), st.integers(0, 100))
def test_operands_are_disjoint_and_cover_the_range(low, high):
    train, test = operands("train", low, high), operands("test", low, high)
    assert sorted(train + test) == list(range(low, high))


@pytest.mark.parametrize("family", SEEN, ids=lambda family: family.name)
def test_fields_of_the_splits_are_disjoint(family):
    """The first field is the parameter: topic, word, operand...; no value is in both splits."""
    shared_on_purpose = {"count"}  # how many list items: three in training, four in testing
    train, test = (
        {
            (name, value)
            for case in family.cases(split)
            for name, value in case.fields.items()
            if name not in shared_on_purpose and name != "above"
        }
        for split in ("train", "test")
    )
    assert not train & test


@pytest.mark.parametrize("family", SEEN, ids=lambda family: family.name)
def test_there_are_sixty_training_prompts_and_ten_test_prompts(family):
    assert len(family.cases("train")) * len(family.wordings["train"]) >= 60
    assert len(family.cases("test")) * len(family.wordings["test"]) >= 10


@settings(max_examples=20, deadline=None)
@given(st.sampled_from(["train", "test"]), st.integers(1, 15), st.integers(0, 2**32))
def test_exactly_as_many_different_prompts_as_asked_for(split, per_family, seed):
    prompts = make_prompts(split, per_family, seed)
    counts = Counter(prompt.family for prompt in prompts)
    assert set(counts.values()) == {per_family}
    assert len(set(instructions(prompts))) == len(prompts)
    assert prompts == make_prompts(split, per_family, seed)


def test_a_family_gives_all_its_prompts_and_no_more():
    family = FAMILIES["copy"]
    everything = len(family.cases("train")) * len(family.wordings["train"])
    assert everything == min(
        len(other.cases("train")) * len(other.wordings["train"]) for other in SEEN
    )
    drawn = [p for p in make_prompts("train", everything, 3) if p.family == "copy"]
    assert len(set(instructions(drawn))) == everything
    with pytest.raises(UsageError, match=rf"{everything + 1} prompts asked of family 'copy'\n"):
        make_prompts("train", everything + 1, 3)


def test_other_seeds_and_splits_draw_other_prompts():
    first = set(instructions(make_prompts("train", 10, 0)))
    assert first != set(instructions(make_prompts("train", 10, 1)))
    assert not first & set(instructions(make_prompts("test", 10, 0)))


def test_more_prompts_start_with_the_same_ones():
    few, many = make_prompts("train", 5, 7), make_prompts("train", 9, 7)
    for name in {prompt.family for prompt in few}:
        of_few = instructions(p for p in few if p.family == name)
        assert of_few == instructions(p for p in many if p.family == name)[:5]


def test_wordings_are_balanced():
    counts = Counter(prompt.metadata["wording"] for prompt in make_prompts("train", 60, 0))
    assert len(counts) == sum(len(family.wordings["train"]) for family in SEEN)
    assert min(counts.values()) >= 7


@pytest.mark.parametrize("split", ["train", "test"])
def test_metadata_is_json_and_names_checks_that_take_its_parameters(split):
    for prompt in make_prompts(split, 10, 0):
        metadata = prompt.metadata
        assert json.loads(json.dumps(metadata)) == metadata
        assert metadata["instruction"] == prompt.messages[-1]["content"]
        assert metadata["split"] == split
        assert verify("any text", metadata["constraints"])
        aspects = {CHECKS[constraint["check"]].aspect for constraint in metadata["constraints"]}
        assert metadata["aspect"] in aspects
        assert not set("{}") & set(metadata["instruction"])


def test_instructions_are_short_and_plain():
    for split in ("train", "test"):
        for text in instructions(make_prompts(split, 10, 0)):
            assert len(text) <= 120
            assert set(text) <= set(string.printable)


def test_every_check_is_used():
    used = {
        constraint["check"]
        for family in FAMILIES.values()
        for case in family.cases("test")
        for constraint in case.constraints
    }
    assert used == set(CHECKS)


@pytest.mark.parametrize("split", ["Train", "validation", ""])
def test_an_unknown_split_is_shown(split):
    with pytest.raises(UsageError, match=f"split '{split}'"):
        make_prompts(split, 1, 0)


@pytest.mark.parametrize("count", [0, -1])
def test_at_least_one_prompt_is_asked_for(count):
    with pytest.raises(UsageError, match=f"{count} prompts asked of family"):
        make_prompts("train", count, 0)


ANSWERS = [
    ("addition", "{left} + {right} = {answer}."),
    ("times", "That makes {answer}."),
    ("larger", "{answer} is larger."),
]


@pytest.mark.parametrize(("name", "answer"), ANSWERS)
@pytest.mark.parametrize("split", ["train", "test"])
def test_arithmetic_is_right(name, answer, split):
    compute = {"addition": int.__add__, "times": int.__mul__, "larger": max}[name]
    for case in FAMILIES[name].cases(split):
        value = compute(case.fields["left"], case.fields["right"])
        for given_value in (value, value + 1):
            text = answer.format(**case.fields, answer=given_value)
            passed = all(verdict.passed for verdict in verify(text, case.constraints))
            assert passed is (given_value == value)


@pytest.mark.parametrize("split", ["train", "test"])
def test_counts_and_orders_are_right(split):
    for case in FAMILIES["counting"].cases(split):
        count = case.fields["items"].count(",") + 2
        assert all(v.passed for v in verify(f"There are {count}.", case.constraints))
        assert not all(v.passed for v in verify(f"There are {count + 1}.", case.constraints))
    for case in FAMILIES["sort_numbers"].cases(split)[::97]:
        asked = [int(number) for number in case.fields["items"].split(", ")]
        assert all(v.passed for v in verify(str(sorted(asked)), case.constraints))
        assert not all(v.passed for v in verify(str(asked), case.constraints))

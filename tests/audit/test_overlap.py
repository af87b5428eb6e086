import itertools
import json
import re

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from notus.audit import tokens
from notus.audit.contamination import contamination, judge
from notus.audit.edited import long_coverage, short_coverage
from notus.audit.overlap import OVERLAPS, overlaps
from notus.audit.tokens import folded_words, user_turns
from notus.audit.verdict import Subject, findings_frame
from notus.data.evaluation_items import read_items
from notus.data.schema import COMPLETIONS, FINDINGS, ISSUES, PROMPTS, RATINGS, Feedback, check

QUESTIONS = [
    "Can bats fly?",
    "What is larger, a lake or a sea?",
    "How many lighthouses did the keeper's widow repaint before the winter of 1911?",
    "A farmer sells 12 crates of pears at $4 each and buys 3 goats for $9 each. She then mends "
    "two fences and sells a goat at twice its price. How much money does she have now?",
    "Write a short story about a clockmaker who forgets the year, with a parrot as its hero.",
]


def table(texts: list[str]) -> pl.DataFrame:
    return pl.DataFrame({"prompt_id": [f"p{n}" for n in range(len(texts))], "text": texts})


def items(texts: list[str], benchmark: str = "quiz") -> pl.DataFrame:
    return pl.DataFrame(
        {
            "benchmark": [benchmark] * len(texts),
            "item": [f"q{n}" for n in range(len(texts))],
            "text": texts,
        },
        schema=dict.fromkeys(("benchmark", "item", "text"), pl.String),
    )


def kinds(turns: list[str], questions: list[str]) -> list[tuple[str, str, str]]:
    found = overlaps(table(turns), items(questions))
    return list(found.select("prompt_id", "item", "kind").iter_rows())


def test_verbatim_items_are_found_alone_and_inside_longer_turns() -> None:
    inside = [
        f"Hello, I need help with this please {text} thank you very much" for text in QUESTIONS
    ]
    found = overlaps(table([*QUESTIONS, *inside]), items(QUESTIONS))
    assert found.schema == OVERLAPS
    pairs = set(found.select("prompt_id", "item").iter_rows())
    assert pairs == {(f"p{n}", f"q{n % len(QUESTIONS)}") for n in range(2 * len(QUESTIONS))}
    assert set(found["coverage"]) == {1.0}
    assert set(found.filter(pl.col("item").is_in(["q0"]))["kind"]) == {"exact"}
    assert set(found.filter(pl.col("item") == "q3")["kind"]) == {"ngram"}


@pytest.mark.parametrize(
    ("turn", "question", "found"),
    [
        ("INFLATION!", "Inflation", True),
        ("the inflation of balloons", "Inflation", False),
        ("My stall has no paper. What do you do?", "What do you do?", False),
        ("what do you do", "What do you do?", True),
        ("I wonder can pigs fly? Tell me", "Can pigs fly?", True),
        ("tell me how can pigs fly over walls", "Can pigs fly?", False),
        (
            "The real interest rate is what an investor finds in long tables.",
            "The real interest rate is",
            False,
        ),
        (
            "so where did the first fortune cookies originate from then",
            "Where did the first fortune cookies originate",
            True,
        ),
    ],
)
def test_short_items_are_found_where_they_stand_by_themselves(turn, question, found) -> None:
    assert bool(kinds([turn], [question])) == found


@pytest.mark.parametrize(
    "edited",
    [
        "How many lighthouses did the keepers widow paint before the winter of 1911",
        "how many LIGHTHOUSES did the keeper's widow repaint, before that winter of 1911?!",
        "Please answer: How many lighthouses did widow repaint before the winter of 1911?",
        "How many lighthouses did the widow keeper's repaint before the winter 1911 of?",
        "How many lighthuoses did the keeper's widow repaint befor the wintr of 1911?",
    ],
)
def test_small_edits_are_found(edited: str) -> None:
    assert [item for _, item, _ in kinds([edited], QUESTIONS)] == ["q2"]
    inside = f"I have a question for you. {edited} Please be brief. It matters to me."
    assert [item for _, item, _ in kinds([inside], QUESTIONS)] == ["q2"]


def test_an_edit_that_leaves_no_8_gram_is_near_and_others_are_not() -> None:
    edited = "How many lighthouses did the keeper's daughter repaint before the spring of 1911?"
    template = "How many bridges did the king's daughter cross before the spring of 1648?"
    assert kinds([edited, template], QUESTIONS) == [("p0", "q2", "near")]


def test_a_shared_template_is_no_hit() -> None:
    question = "What is the best way to form a new habit?"
    assert not kinds(["What is the best way to shoplift from a store?"], [question])
    question = "Which one of the following is not a centripetal force in a state?"
    assert not kinds(["Q: Which one of the following is not a prime number? (A) 2"], [question])


def test_half_of_an_item_must_be_covered_by_one_turn() -> None:
    item = " ".join(f"word{n}" for n in range(40))
    half, more = " ".join(item.split()[:20]), " ".join(item.split()[:21])
    first, second = " ".join(item.split()[:15]), " ".join(item.split()[15:30])
    turns = pl.DataFrame(
        {"prompt_id": ["half", "more", "two", "two"], "text": [half, more, first, second]}
    )
    found = overlaps(turns, items([item]))
    assert found.select("prompt_id", "coverage").rows() == [("more", 21 / 40)]


def test_the_place_is_shown() -> None:
    filler = " ".join(f"filler{n}" for n in range(50))
    found = overlaps(table([f"{filler}. {QUESTIONS[0]} {filler}"]), items(QUESTIONS[:1]))
    assert QUESTIONS[0] in found["prompt_text"][0]
    assert found["prompt_text"][0].startswith("... ")
    assert len(found["prompt_text"][0]) < len(filler)
    assert found["item_text"].to_list() == QUESTIONS[:1]


def test_no_turns_and_no_items_give_an_empty_table() -> None:
    for turns, questions in (([], QUESTIONS), (QUESTIONS, []), (["", "?"], ["..."])):
        found = overlaps(
            table(turns).cast({"prompt_id": pl.String, "text": pl.String}), items(questions)
        )
        assert found.is_empty()
        assert found.schema == OVERLAPS


# All of them carry content, so that the oracle need not know which words do.
WORDS = [f"word{letter}" for letter in "abcdef"]
TOKENS = st.lists(st.sampled_from(WORDS), min_size=8, max_size=30)


def slow_coverage(turn: list[str], item: list[str]) -> float:
    """Mark every word of the item that lies in an 8-gram which the turn has too."""
    there = {tuple(turn[i : i + 8]) for i in range(len(turn) - 7)}
    marked = set()
    for i in range(len(item) - 7):
        if tuple(item[i : i + 8]) in there:
            marked |= set(range(i, i + 8))
    return len(marked) / len(item)


@settings(max_examples=60)
@given(st.lists(TOKENS, min_size=1, max_size=4), st.data())
def test_coverage_is_that_of_the_definition(
    questions: list[list[str]], data: st.DataObject
) -> None:
    parts = st.lists(
        st.sampled_from(questions).flatmap(
            lambda q: st.tuples(st.integers(0, len(q)), st.integers(0, len(q))).map(
                lambda ends: q[min(ends) : max(ends)]
            )
        )
        | TOKENS,
        min_size=1,
        max_size=3,
    )
    turns = [list(itertools.chain(*data.draw(parts))) for _ in range(3)]
    found = overlaps(table([" ".join(t) for t in turns]), items([" ".join(q) for q in questions]))
    ngrams = found.filter(pl.col("kind") == "ngram")
    expected = {
        (f"p{t}", f"q{q}"): slow_coverage(turn, question)
        for t, turn in enumerate(turns)
        for q, question in enumerate(questions)
    }
    assert dict(
        zip(ngrams.select("prompt_id", "item").rows(), ngrams["coverage"], strict=True)
    ) == {key: pytest.approx(value) for key, value in expected.items() if value > 0.5}


def test_batches_change_nothing(monkeypatch) -> None:
    turns = table([f"{a} {b}" for a in QUESTIONS for b in QUESTIONS])
    whole = overlaps(turns, items(QUESTIONS))
    monkeypatch.setattr(tokens, "_BATCH_BYTES", 100)
    assert overlaps(turns, items(QUESTIONS)).equals(whole)
    assert overlaps(turns.reverse(), items(QUESTIONS)).equals(whole)


@pytest.mark.parametrize(
    ("item", "part", "found"),
    [
        ("is the keeper old", "is the keeper old", True),
        ("why did the keeper leave", "why did a keeper leaf", False),
        ("why did the keeper leave", "why did the keepr leave", True),
        ("who is the president of peru", "who is the president", False),
        ("what are you thinking of", "what are you painting of", False),
    ],
)
def test_short_items_need_two_content_words_in_common(item, part, found) -> None:
    assert (short_coverage(item.split(), part.split(), whole=False) is not None) == found


def test_order_counts_in_a_sentence_and_not_in_a_whole_turn() -> None:
    item, part = (
        ["which", "statement", "here", "is", "surely", "true"],
        ["true", "is", "surely", "here", "which", "statement"],
    )
    assert short_coverage(item, part, whole=False) is None
    assert short_coverage(item, part, whole=True) == 1.0


def test_long_items_need_two_thirds_in_order() -> None:
    item = list(range(20))
    assert long_coverage(item, [*range(100, 110), *range(14)]) == pytest.approx(14 / 20)
    assert long_coverage(item, list(range(12))) is None
    assert long_coverage(item, item[::-1]) is None


def feedback(prompts: list[list[str]]) -> Feedback:
    rows = [
        {
            "prompt_id": f"{n:032x}",
            "messages": [
                message
                for turn in turns
                for message in (
                    {"role": "user", "content": turn},
                    {"role": "assistant", "content": QUESTIONS[3]},
                )
            ][:-1],
            "source": "test",
            "origin": None,
            "metadata": "{}",
        }
        for n, turns in enumerate(prompts)
    ]
    empty = [pl.LazyFrame(schema=table.schema) for table in (COMPLETIONS, RATINGS)]
    return Feedback(
        prompts=pl.LazyFrame(rows, schema=PROMPTS.schema), completions=empty[0], ratings=empty[1]
    )


def test_the_rule_counts_items_and_only_what_users_said() -> None:
    prompts = [["Hi", QUESTIONS[2]], [QUESTIONS[2]], ["Bye", "See you"], [QUESTIONS[0]]]
    known = pl.concat([items(QUESTIONS), items(["Never asked by anybody here?"], "other")])
    verdict = contamination(
        Subject(feedback=feedback(prompts), preferences=pl.DataFrame(), items=known)
    )
    assert verdict.skipped is None
    assert verdict.looked_at == 4
    assert set(verdict.issues["prompt_id"]) == {f"{n:032x}" for n in (0, 1, 3)}
    assert check(ISSUES, verdict.issues).refused.is_empty()
    assert "quiz q2: ngram, 100% of the item's words" in verdict.issues["evidence"][0]
    other, quiz = verdict.findings
    assert (quiz.subject, quiz.value, quiz.n, quiz.severity) == ("quiz", 2 / 5, 5, "error")
    assert quiz.low < 2 / 5 < quiz.high
    assert "2 of 5 items stand in 3 prompts (1 exact, 1 ngram)" in quiz.evidence
    assert (other.value, other.severity) == (0.0, "info")
    assert check(FINDINGS, findings_frame(verdict.findings)).refused.is_empty()


def test_two_percent_is_not_over_two_percent() -> None:
    known = items([f"Question number {n}?" for n in range(100)])
    hits = [
        {
            "prompt_id": "p",
            "benchmark": "quiz",
            "item": f"q{n}",
            "kind": "near",
            "coverage": 0.9,
            "item_text": "",
            "prompt_text": "",
        }
        for n in range(3)
    ]
    for count, severity in ((2, "info"), (3, "error")):
        verdict = judge(pl.DataFrame(hits[:count], schema=OVERLAPS), known, 10)
        assert [finding.severity for finding in verdict.findings] == [severity]
        assert f"and {count - 1} more items" in verdict.issues["evidence"][0]


def test_without_items_the_rule_says_what_it_needs() -> None:
    verdict = contamination(Subject(feedback=feedback([["Hi"]]), preferences=pl.DataFrame()))
    assert "--against" in verdict.skipped


@pytest.mark.shared
def test_planted_real_items_are_found(shared_data) -> None:
    lines = (shared_data / "ultrafeedback/binarized/train_clean.jsonl").read_text().split("\n")
    clean = [json.loads(line)["prompt"] for line in lines if line]
    files = ("truthfulqa/TruthfulQA_v1.csv", "gsm8k/test.jsonl")
    known = read_items(
        [
            *(shared_data / "benchmarks" / file for file in files),
            shared_data / "judging/mt_bench/question.jsonl",
        ]
    ).items.sample(fraction=0.25, seed=0)
    known = known.with_columns(item=pl.format("{} {}", "benchmark", "item"))
    rng, other = np.random.default_rng(0), " ".join(clean).split()
    ways = {
        "verbatim": list,
        "inside": lambda texts: [inside(text, clean, rng) for text in texts],
        "edited": lambda texts: [edit(text, other, rng) for text in texts],
    }
    least = {"verbatim": 1.0, "inside": 0.99, "edited": 0.95}
    for name, way in ways.items():
        planted = pl.DataFrame({"prompt_id": known["item"], "text": way(known["text"].to_list())})
        found = overlaps(pl.concat([table(clean), planted]), known)
        hit = found.filter(pl.col("prompt_id") == pl.col("item")).height
        assert hit >= least[name] * known.height, name
        false = found.filter(pl.col("prompt_id").str.contains(r"^p\d+$"))
        assert false["prompt_id"].n_unique() <= 0.001 * len(clean)


def inside(text: str, hosts: list[str], rng: np.random.Generator) -> str:
    host = hosts[int(rng.integers(len(hosts)))].split(" ")
    place = int(rng.integers(len(host) + 1))
    return " ".join([*host[:place], text, *host[place:]])


def edit(text: str, other: list[str], rng: np.random.Generator) -> str:
    parts = text.split()
    for _ in range(int(rng.integers(1, 3))):
        place = int(rng.integers(len(parts)))
        word, at = parts[place], int(rng.integers(1, max(2, len(parts[place]))))
        letter = "etaoins"[int(rng.integers(7))]
        parts[place : place + 1] = (
            [other[int(rng.integers(len(other)))]],
            [],
            [word[:at] + letter + word[at:]],
            [word[:at] + word[at + 1 :]],
            [word.upper(), "-"],
        )[int(rng.integers(5))]
        parts = parts or [text]
    return re.sub(r"[?.]$", "", " ".join(parts))


@pytest.mark.shared
def test_short_real_items_alone_and_inside(shared_data) -> None:
    known = read_items([shared_data / "benchmarks/truthfulqa/TruthfulQA_v1.csv"]).items
    length = pl.col("text").pipe(folded_words).str.count_matches(" ", literal=True) + 1
    short = known.filter(length < 8)
    assert short.height == 222
    turns = short.select(prompt_id="item", text="text")
    found = overlaps(turns, short).filter(pl.col("prompt_id") == pl.col("item"))
    assert found.height == short.height
    inside = turns.with_columns(
        text="Please think hard about this " + pl.col("text") + " and reply"
    )
    found = overlaps(inside, short).filter(pl.col("prompt_id") == pl.col("item"))
    # "Who are you?" and "What do you do?" are found as whole turns only.
    assert found.height == short.height - 2


def test_user_turns_are_in_order() -> None:
    turns = user_turns(feedback([["a", "b"], ["c"]]))
    assert turns["text"].to_list() == ["a", "b", "c"]

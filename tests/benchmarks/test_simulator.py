"""The simulated data set has the published marginals, by constants that are the published ones."""

import itertools
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from faults import marginals, prose, ratings
from faults.simulator import simulate, write
from scipy.stats import chisquare, spearmanr

from notus.data.sources import ingest

ROWS = 8_000
SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "faults" / "simulator.py"


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    return list(simulate(ROWS, seed=5))


@pytest.fixture(scope="module")
def completions(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [completion for row in rows for completion in row["completions"]]


def p_value(found: Counter[Any], published: dict[Any, int]) -> float:
    """Chi-squared test that counts were drawn with published shares."""
    assert found.keys() <= published.keys()
    counts = np.array([found[key] for key in published])
    expected = np.array(list(published.values()), dtype=float)
    return float(chisquare(counts, expected * counts.sum() / expected.sum()).pvalue)


def test_sources_and_principles_are_drawn_from_the_published_counts(
    rows: list[dict[str, Any]], completions: list[dict[str, Any]]
) -> None:
    assert p_value(Counter(row["source"] for row in rows), marginals.SOURCES) > 0.001
    principles = Counter(completion["principle"] for completion in completions)
    assert p_value(principles, marginals.PRINCIPLES) > 0.001


def test_models_have_their_shares_and_a_row_has_four_different_ones(
    rows: list[dict[str, Any]], completions: list[dict[str, Any]]
) -> None:
    assert all(len(set(row["models"])) == 4 for row in rows)
    found = Counter(completion["model"] for completion in completions)
    total = sum(marginals.MODELS.values())
    for model, count in marginals.MODELS.items():
        assert found[model] / len(completions) == pytest.approx(count / total, abs=0.006)


def test_completions_are_not_in_the_order_of_models(rows: list[dict[str, Any]]) -> None:
    same = [
        [completion["model"] for completion in row["completions"]] == row["models"] for row in rows
    ]
    assert np.mean(same) == pytest.approx(1 / 24, abs=0.01)


def test_aspect_ratings_have_the_published_histograms(completions: list[dict[str, Any]]) -> None:
    # Answers to one prompt are correlated, so a chi-squared test would be too strict; a share over
    # 8,000 clusters of 4 has a standard error of at most 0.5 * sqrt((1 + 3 * 0.5) / 32,000).
    for aspect, counts in marginals.RATINGS.items():
        found = Counter(completion["annotations"][aspect]["Rating"] for completion in completions)
        numeric = sum(found[str(value)] for value in range(1, 6))
        for value, count in enumerate(counts, start=1):
            assert found[str(value)] / numeric == pytest.approx(count / sum(counts), abs=0.015)
        lacking = 1 - marginals.NUMERIC.get(aspect, 255_612) / 255_612
        assert found["N/A"] / len(completions) == pytest.approx(lacking, abs=0.006)


def test_overall_scores_have_the_published_histogram(completions: list[dict[str, Any]]) -> None:
    scores = np.array([completion["overall_score"] for completion in completions])
    for value, count in marginals.OVERALL.items():
        share = count / sum(marginals.OVERALL.values())
        assert np.mean(scores == value) == pytest.approx(share, abs=0.01), value
    assert scores.mean() == pytest.approx(marginals.OVERALL_MEAN, abs=0.05)
    assert scores.std() == pytest.approx(marginals.OVERALL_SD, abs=0.05)
    assert len(np.unique(scores)) <= marginals.OVERALL_VALUES


def test_mean_overall_score_by_source(rows: list[dict[str, Any]]) -> None:
    for source, mean in marginals.MEAN_OVERALL.items():
        scores = [
            completion["overall_score"]
            for row in rows
            if row["source"] == source
            for completion in row["completions"]
        ]
        # Four standard errors: the scores of one prompt correlate at about 0.2.
        tolerance = 4 * marginals.OVERALL_SD * np.sqrt((1 + 3 * 0.2) / len(scores))
        assert np.mean(scores) == pytest.approx(mean, abs=tolerance), source


def test_fine_grained_score_is_the_mean_of_the_ratings(completions: list[dict[str, Any]]) -> None:
    scores = np.array([completion["fine-grained_score"] for completion in completions])
    assert scores.mean() == pytest.approx(marginals.FINE_GRAINED_MEAN, abs=0.05)
    assert scores.std() == pytest.approx(marginals.FINE_GRAINED_SD, abs=0.05)
    assert len(np.unique(scores)) <= marginals.FINE_GRAINED_VALUES


@pytest.mark.parametrize(("quirks", "low", "high"), [(True, 0.70, 0.77), (False, 0.80, 0.86)])
def test_scores_agree_as_far_as_is_stated(quirks: bool, low: float, high: float) -> None:
    drawn = ratings.draw(np.random.default_rng(1), ROWS, quirks=quirks)
    means = np.nanmean(drawn.aspects, axis=-1).ravel()
    assert low < spearmanr(drawn.overall.ravel(), means)[0] < high
    flat = np.nan_to_num(drawn.aspects, nan=4.0).reshape(-1, 4)
    between = np.corrcoef(flat.T)[np.triu_indices(4, k=1)]
    assert between.min() > 0.6
    assert between.max() < 0.75


def test_a_better_model_is_rated_better(completions: list[dict[str, Any]]) -> None:
    means = {
        model: np.mean([c["fine-grained_score"] for c in completions if c["model"] == model])
        for model in ("gpt-4", "llama-2-13b-chat", "alpaca-7b", "pythia-12b")
    }
    assert list(means) == sorted(means, key=lambda model: -means[model])


def test_texts_have_realistic_lengths(
    rows: list[dict[str, Any]], completions: list[dict[str, Any]]
) -> None:
    def median(texts: list[str]) -> float:
        return float(np.median([len(text) for text in texts]))

    assert 400 < median([row["instruction"] for row in rows]) < 600
    assert 800 < median([completion["response"] for completion in completions]) < 1300
    assert 480 < median([completion["critique"] for completion in completions]) < 660
    rationales = [c["annotations"]["honesty"]["Rationale"] for c in completions]
    assert 120 < median(rationales) < 220


def test_an_answer_shares_rare_words_with_its_own_prompt_only(rows: list[dict[str, Any]]) -> None:
    def words(text: str) -> set[str]:
        return {word.strip(".,").lower() for word in text.split()} - set(prose.FUNCTION_WORDS)

    long = [row for row in rows[:400] if len(row["instruction"]) > 200]
    own, other = [], []
    for row, stranger in itertools.pairwise(long):
        answer = words(row["completions"][0]["response"])
        if len(answer) < 20:
            continue
        own.append(len(answer & words(row["instruction"])) / len(answer))
        other.append(len(answer & words(stranger["instruction"])) / len(answer))
    assert np.mean(own) > 5 * np.mean(other)


def test_a_critique_follows_its_score_but_no_sentence_gives_it_away(
    completions: list[dict[str, Any]],
) -> None:
    low = [c["critique"] for c in completions if c["overall_score"] <= 2]
    high = [c["critique"] for c in completions if c["overall_score"] >= 8.5]
    assert np.mean(["not address the question" in text for text in low]) > 0.1
    assert np.mean(["not address the question" in text for text in high]) < 0.001
    middle = " ".join(c["critique"] for c in completions if c["overall_score"] == 6)
    assert "is excellent" in middle
    assert "is wrong on nearly every count" in middle
    assert len(set(low)) == len(low)


def test_quirks_of_the_real_set_are_at_their_places() -> None:
    def aspect(number: int) -> str:
        (row,) = simulate(1, seed=0, first=number)
        return row["completions"][0]["annotations"]["instruction_following"]["Rating"]

    assert [aspect(number) for number in (10_007, 20_011, 30_011)] == ["0"] * marginals.ZEROS
    assert aspect(40_009) == "N/A"
    (lone,) = simulate(1, seed=0, first=4242)
    assert len(lone["completions"]) == 1
    places = np.arange(marginals.ROWS)
    assert np.sum(places % 253 == 100) == marginals.EMPTY
    assert np.sum(places % 1640 == 1639) == marginals.ROWS - marginals.INSTRUCTIONS
    assert 4 * marginals.ROWS - 3 == marginals.COMPLETIONS


def test_clean_data_has_no_quirks() -> None:
    rows = list(simulate(2_000, seed=1, quirks=False))
    texts = [completion["response"] for row in rows for completion in row["completions"]]
    scores = {c["overall_score"] for row in rows for c in row["completions"]}
    assert min(map(len, texts)) > 40
    assert not [text for text in texts if "Confidence:" in text]
    assert len(set(texts)) == len(texts)
    assert len({row["instruction"] for row in rows}) == len(rows)
    assert scores <= marginals.OVERALL.keys()


def test_rows_depend_on_the_seed_and_not_on_how_many_are_drawn() -> None:
    few, many = list(simulate(20, seed=3)), list(simulate(1_030, seed=3))
    assert few == many[:20]
    assert list(simulate(10, seed=3, first=1_020)) == many[1_020:]
    assert few != list(simulate(20, seed=4))


def test_the_reader_takes_simulated_rows(tmp_path: Path) -> None:
    source = tmp_path / "rows.jsonl"
    assert write(source, simulate(600, seed=2)) == 600
    facts = ingest(source, tmp_path / "out").manifest.facts
    assert facts["prompts"] == 600
    assert facts["completions"] == 2_400 - 2
    assert facts["refused"] == {"empty completion": 2}


def test_the_script_writes_a_file(tmp_path: Path) -> None:
    out = tmp_path / "clean.jsonl"
    command = [sys.executable, SCRIPT, "--rows", "30", "--seed", "9", "--out", out, "--clean"]
    subprocess.run(command, check=True, capture_output=True)
    written = [json.loads(line) for line in out.read_text("utf-8").splitlines()]
    assert written == list(simulate(30, seed=9, quirks=False))


@pytest.mark.shared
def test_constants_are_the_published_ones(shared_data: Path) -> None:
    path = shared_data / "ultrafeedback" / "raw_rows" / "uf_full_dataset_stats.json"
    published = json.loads(path.read_text("utf-8"))
    assert published["completions_total"] == marginals.COMPLETIONS
    assert published["dropped"] == marginals.EMPTY
    assert published["n_unique"]["instruction"] == marginals.INSTRUCTIONS
    assert published["n_unique"]["custom_system_prompt"] == marginals.SYSTEM_PROMPTS
    assert published["n_unique"]["overall_score"] == marginals.OVERALL_VALUES
    assert published["n_unique"]["fine-grained_score"] == marginals.FINE_GRAINED_VALUES
    assert published["source"] == marginals.SOURCES
    assert published["models"] == marginals.MODELS
    assert published["principle"] == marginals.PRINCIPLES
    assert published["mean_overall_by_source"] == marginals.MEAN_OVERALL
    for aspect, counts in marginals.RATINGS.items():
        found = published["ratings"][aspect]
        assert tuple(found[str(value)] for value in range(1, 6)) == counts
    assert published["honesty_numeric_n"] == marginals.NUMERIC["honesty"]
    following = "instruction_following"
    assert published[f"{following}_numeric_n"] == marginals.NUMERIC[following]
    assert published[f"{following}_zero_ratings"] == marginals.ZEROS
    fine = published["fine-grained_score"]
    assert (fine["mean"], fine["std"]) == (marginals.FINE_GRAINED_MEAN, marginals.FINE_GRAINED_SD)
    overall = published["overall_score"]
    assert (overall["mean"], overall["std"]) == (marginals.OVERALL_MEAN, marginals.OVERALL_SD)
    assert {float(k): v for k, v in overall["top"].items()} == marginals.OVERALL_TOP
    assert {float(k): v for k, v in overall["quantiles"].items()} == marginals.OVERALL_QUANTILES


def test_the_fitted_histogram_keeps_what_is_published() -> None:
    values, counts = np.array(list(marginals.OVERALL)), np.array(list(marginals.OVERALL.values()))
    assert {v: marginals.OVERALL[v] for v in marginals.OVERALL_TOP} == marginals.OVERALL_TOP
    assert set(values[np.argsort(-counts)[:5]]) == set(marginals.OVERALL_TOP)
    shares = counts / counts.sum()
    assert shares @ values == pytest.approx(marginals.OVERALL_MEAN, abs=5e-4)
    sd = np.sqrt(shares @ values**2 - (shares @ values) ** 2)
    assert sd == pytest.approx(marginals.OVERALL_SD, abs=5e-4)
    cumulative = np.cumsum(shares)
    for share, quantile in marginals.OVERALL_QUANTILES.items():
        assert values[np.searchsorted(cumulative, share)] == quantile
    assert sum(marginals.SOURCES.values()) == sum(marginals.MODELS.values())

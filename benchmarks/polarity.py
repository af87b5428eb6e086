"""Compare measures of a critique's sentiment: which one tells the score that was given?

    python benchmarks/polarity.py [--shared ../shared/data] [--minilm FOLDER]

Critiques: GPT-4's judgments of MT-Bench (the rating and every verdict in digits cut out), the
bundled feedback (with the true scores), and the simulator of benchmarks/faults. Measures: VADER,
the audit's lexicon, what the audit learns from the data set itself, and, where --minilm names the
folder of an all-MiniLM-L6-v2 model, ridge regression on its embeddings, learned in the same
halves. Then flips of 1 to 10 are planted and `critique_conflict` looks for them. Writes
benchmarks/results/polarity_DATE.md.
"""

import argparse
import datetime
import gzip
import hashlib
import json
import re
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
from scipy.stats import rankdata

from notus.audit import polarity
from notus.audit.critiques import critique_conflict
from notus.audit.hashed import hash_words
from notus.audit.lexicon import lexicon_polarity
from notus.audit.verdict import Subject
from notus.data.schema import PREFERENCES, RATINGS, Feedback
from notus.manifest import hardware, versions

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
RESAMPLES = 500
SIMULATED_ROWS = 2500
FLIPPED = (0.005, 0.01)
RIDGE = 30.0

Reader = Callable[["Critiques"], np.ndarray]


class Critiques(NamedTuple):
    """Critiques with the score that was meant, 1..10, and the id of their prompt."""

    name: str
    texts: pl.Series
    scores: np.ndarray
    prompts: pl.Series


def main() -> None:
    """Measure, and write the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--shared", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--minilm", type=Path)
    options = parser.parse_args()
    sets = [mt_bench(options.shared), demo(), simulated()]
    readers: dict[str, Reader] = {"VADER": vader, "lexicon": lexicon, "learned": learned}
    if options.minilm is not None:
        readers["MiniLM + ridge"] = lambda critiques: minilm(critiques, options.minilm)
    text = render(sets, readers)
    path = HERE / "results" / f"polarity_{datetime.date.today():%Y-%m-%d}.md"
    path.write_text(text, encoding="utf-8")  # what to make of it is added by hand
    print(text)


def mt_bench(shared: Path) -> Critiques:
    """Read GPT-4's judgments, without their rating and whatever else says it in digits."""
    folder = shared / "judging" / "mt_bench" / "model_judgment"
    rows = [
        json.loads(line)
        for path in sorted(folder.iterdir())
        for line in path.read_text(encoding="utf-8").splitlines()
    ]
    rows = [row for row in rows if row["score"] > 0]
    return made(
        "MT-Bench judgments",
        [without_verdict(row["judgment"]) for row in rows],
        [row["score"] for row in rows],
        [row["question_id"] for row in rows],
    )


def without_verdict(text: str) -> str:
    """Cut out [[9]], "9/10", "9 out of 10" and "rating: 9"."""
    text = re.sub(r"\[\[?\s*[\d.]+\s*\]?\]", "", text)
    text = re.sub(r"\b\d+(?:\.\d+)?\s*(?:/|out of)\s*10\b", "", text)
    return re.sub(r"(?i)\b(?:rating|score)\b\s*(?:is|of|:)?\s*\d*(?:\.\d+)?", "", text)


def demo() -> Critiques:
    """Read the bundled feedback, with the scores from before the bug was planted."""
    folder = ROOT / "data" / "demo"
    lines = (folder / "planted.jsonl").read_text(encoding="utf-8").splitlines()
    truth = {(row["line"], row["model"]): row["true_score"] for row in map(json.loads, lines)}
    with gzip.open(folder / "feedback.jsonl.gz", "rt", encoding="utf-8") as file:
        rows = [
            (completion["critique"], truth.get(place, completion["overall_score"]), number)
            for number, row in enumerate(map(json.loads, file), start=1)
            for completion in row["completions"]
            for place in [(number, completion["model"])]
        ]
    return made("bundled feedback", *map(list, zip(*rows, strict=True)))


def simulated() -> Critiques:
    """Draw from the simulator of UltraFeedback."""
    sys.path.insert(0, str(HERE))
    from faults.simulator import simulate

    rows = [
        (completion["critique"], completion["overall_score"], number)
        for number, row in enumerate(simulate(SIMULATED_ROWS, seed=0, quirks=False))
        for completion in row["completions"]
    ]
    return made("simulator", *map(list, zip(*rows, strict=True)))


def made(name: str, texts: list[str], scores: list[float], prompts: list[int]) -> Critiques:
    """Bring critiques into columns; a prompt's number becomes an id."""
    ids = {number: hashlib.sha256(f"{number}".encode()).hexdigest()[:32] for number in prompts}
    return Critiques(
        name,
        pl.Series(texts),
        np.array(scores, dtype=float),
        pl.Series([ids[number] for number in prompts]),
    )


def vader(critiques: Critiques) -> np.ndarray:
    """VADER's compound score."""
    from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

    analyzer = SentimentIntensityAnalyzer()
    return np.array([analyzer.polarity_scores(text)["compound"] for text in critiques.texts])


def lexicon(critiques: Critiques) -> np.ndarray:
    """The audit's lexicon alone."""
    return lexicon_polarity(hash_words(critiques.texts))


def learned(critiques: Critiques) -> np.ndarray:
    """What the audit does."""
    shares = (critiques.scores - 1) / 9
    measure = polarity.learn_polarity(critiques.texts, critiques.prompts, shares)
    return polarity.expected_scores(measure, critiques.texts, critiques.prompts)


def minilm(critiques: Critiques, folder: Path) -> np.ndarray:
    """Ridge regression on sentence embeddings, each half read by what the other taught."""
    vectors = embed(critiques.texts.to_list(), folder)
    halves = (critiques.prompts.str.slice(-4).str.to_integer(base=16) % 2).to_numpy()
    expected = np.zeros(critiques.scores.size)
    for half in (0, 1):
        who = (halves != half) & (critiques.scores < 10)
        x, y = vectors[who], critiques.scores[who]
        centre, mean = x.mean(0), y.mean()
        gram = (x - centre).T @ (x - centre) + np.eye(x.shape[1])
        weights = np.linalg.solve(gram, (x - centre).T @ (y - mean))
        expected[halves == half] = (vectors[halves == half] - centre) @ weights + mean
    return expected


def embed(texts: list[str], folder: Path) -> np.ndarray:
    """Average the last hidden states over each text's tokens, at most 256."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder)
    order = np.argsort([len(text) for text in texts])
    vectors = np.empty((len(texts), model.config.hidden_size))
    with torch.inference_mode():
        for start in range(0, len(texts), 64):
            batch = order[start : start + 64]
            tokens = tokenizer(
                [texts[i] for i in batch],
                padding=True,
                truncation=True,
                max_length=256,
                return_tensors="pt",
            )
            mask = tokens["attention_mask"][..., None]
            states = model(**tokens).last_hidden_state
            vectors[batch] = ((states * mask).sum(1) / mask.sum(1)).numpy()
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def spearman(scores: np.ndarray, read: np.ndarray) -> float:
    """Rank correlation."""
    return float(np.corrcoef(rankdata(scores), rankdata(read))[0, 1])


def auc(scores: np.ndarray, read: np.ndarray) -> float:
    """Chance that a critique of 8 or more reads better than one of 3 or less."""
    good, bad = read[scores >= 8], read[scores <= 3]
    ranks = rankdata(np.concatenate([good, bad]))[: good.size]
    return float((ranks.sum() - good.size * (good.size + 1) / 2) / (good.size * bad.size))


def interval(
    statistic: Callable[[np.ndarray, np.ndarray], float], critiques: Critiques, read: np.ndarray
) -> str:
    """The statistic with its 95 % bootstrap interval; prompts are drawn with all they have."""
    rng = np.random.default_rng(0)
    _, number = np.unique(critiques.prompts.to_numpy(), return_inverse=True)
    order = np.argsort(number, kind="stable")
    members = np.split(order, np.cumsum(np.bincount(number))[:-1])
    values = []
    for _ in range(RESAMPLES):
        drawn = np.concatenate([members[i] for i in rng.integers(len(members), size=len(members))])
        values.append(statistic(critiques.scores[drawn], read[drawn]))
    low, high = np.quantile(values, [0.025, 0.975])
    return f"{statistic(critiques.scores, read):.3f} [{low:.3f}, {high:.3f}]"


def rediscover(critiques: Critiques, share: float, seed: int) -> tuple[int, int, int, int]:
    """Plant flips among the scores of 1: planted, found, errors, issues in all."""
    rng = np.random.default_rng(seed)
    ones = np.flatnonzero(critiques.scores == 1)
    number = min(ones.size, round(share * critiques.scores.size))
    planted = rng.choice(ones, number, replace=False)
    written = critiques.scores.copy()
    written[planted] = 10.0
    issues = critique_conflict(subject(critiques, written)).issues
    errors = issues.filter(pl.col("severity") == "error")
    found = set(errors["completion_id"]) & {identifier(i) for i in planted}
    return number, len(found), errors.height, issues.height


def identifier(number: int) -> str:
    """Id of a completion."""
    return hashlib.sha256(f"completion {number}".encode()).hexdigest()[:32]


def subject(critiques: Critiques, written: np.ndarray) -> Subject:
    """Feedback of scores and critiques and nothing else."""
    names = [identifier(i) for i in range(written.size)]
    ratings = pl.DataFrame(
        {"completion_id": names, "value": written, "rationale": critiques.texts}
    ).with_columns(
        rater=pl.lit("critic"),
        aspect=pl.lit("overall"),
        scale_min=pl.lit(1.0),
        scale_max=pl.lit(10.0),
    )
    completions = pl.DataFrame({"completion_id": names, "prompt_id": critiques.prompts})
    return Subject(
        feedback=Feedback(
            prompts=pl.LazyFrame(schema={"prompt_id": pl.String}),
            completions=completions.lazy(),
            ratings=ratings.select(RATINGS.schema.names()).lazy(),
        ),
        preferences=pl.DataFrame(schema=PREFERENCES.schema),
    )


def render(sets: list[Critiques], readers: dict[str, Reader]) -> str:
    """Write both tables."""
    lines = [
        "# What do critiques mean?",
        "",
        f"{hardware()['cpu']}, polars {versions()['polars']}, numpy {np.__version__}. "
        "Command: `python benchmarks/polarity.py --minilm FOLDER`.",
        "",
        "Rank correlation with the score that was given, and the chance that a critique of 8 or "
        "more reads better than one of 3 or less (AUC); 95 % bootstrap intervals over prompts.",
        "",
        "| critiques | n | measure | Spearman | AUC | ends, n | s for 1,000 |",
        "| --- | --- | --- | --- | --- | --- | --- |",
        *(row for critiques in sets for row in compared(critiques, readers)),
        "",
        "Blind rediscovery: scores of 1 are read as 10; `critique_conflict` sees scores and "
        "critiques only. Found and precision count errors; alarms are errors and warnings on "
        "completions that were not spoiled.",
        "",
        "| critiques | n | planted | seeds | recall | precision | alarms |",
        "| --- | --- | --- | --- | --- | --- | --- |",
        *(row for critiques in sets for row in rediscovered(critiques)),
        "",
    ]
    return "\n".join(lines)


def compared(critiques: Critiques, readers: dict[str, Reader]) -> Iterator[str]:
    """One line a measure."""
    ends = int(((critiques.scores >= 8) | (critiques.scores <= 3)).sum())
    for name, reader in readers.items():
        start = time.perf_counter()
        read = reader(critiques)
        seconds = (time.perf_counter() - start) / read.size * 1000
        yield (
            f"| {critiques.name} | {read.size} | {name} | {interval(spearman, critiques, read)} | "
            f"{interval(auc, critiques, read)} | {ends} | {seconds:.3f} |"
        )


def rediscovered(critiques: Critiques, seeds: int = 5) -> Iterator[str]:
    """One line a share of flips, the first without any."""
    clean = critique_conflict(subject(critiques, critiques.scores)).issues
    errors = clean.filter(pl.col("severity") == "error").height
    size = critiques.scores.size
    yield f"| {critiques.name} | {size} | 0 | | | {errors} errors | {clean.height} |"
    for share in FLIPPED:
        runs = np.array([rediscover(critiques, share, seed) for seed in range(seeds)])
        planted, found, raised, issues = runs.sum(axis=0)
        yield (
            f"| {critiques.name} | {size} | {share:.1%} ({runs[0, 0]}) | {seeds} | "
            f"{found / planted:.3f} | {found / max(raised, 1):.3f} | "
            f"{(issues - found) / seeds:.1f} |"
        )


if __name__ == "__main__":
    main()

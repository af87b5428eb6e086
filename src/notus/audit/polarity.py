"""What a critique's words say of the score that was meant, whatever score is written beside it.

    critiques --words, pairs of words, lexicon--> ridge regression on the scores --> expected score

The regression is learned on the data set itself and so speaks the rater's own language. On GPT-4's
1,125 judgments of MT-Bench it agrees with the score by .87 (Spearman) and puts 9,998 in 10,000
pairs of 8 and more against 3 and less in order; a general lexicon of sentiment (VADER) reaches .55
and 8,370. Sentence embeddings are worse than words and 200 times as slow. Three precautions keep a
wrong score from explaining itself:

- no critique is judged by what was learned in its own prompt's half of the data;
- scores at the very top of the scale teach nothing: that is where a 1 that was read as 10 ends up,
  and if every 1 did, "worthless" would pass for praise;
- under `LEARN_AT_LEAST` critiques there is nothing to learn from, and the lexicon decides alone.

At most about `LEARN_FROM` critiques are learned from, which takes half a second.
Measured in benchmarks/results/polarity_2026-11-25.md.
"""

import math
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from notus.audit.hashed import HashedWords, hash_slices, pair_hashes
from notus.audit.lexicon import lexicon_polarity

LEARN_FROM = 12_000
LEARN_AT_LEAST = 500
_BITS = 18
BUCKETS = 1 << _BITS
"""Words and pairs share so many weights; about one in ten of them meets another by chance."""
HALVES = 2
PENALTY = 30.0
"""Of the squared weights, in critiques: a word in fewer of them counts for less than half."""
LEXICON_SCALE = 5.0
"""The lexicon is a feature whose weight is penalised 25 times less than a word's."""
LEXICON_SPREAD = 0.165
"""Robust standard deviation of score - lexicon on GPT-4's judgments, as a share of the scale."""
_STEPS = 30
_TO_SD = 1.4826
"""Median absolute deviation to standard deviation, for normal values."""


class Measure(NamedTuple):
    """How critiques are read: learned weights, and how far to trust them.

    Scores are shares of their scale: 0 the lowest, 1 the highest.
    """

    weights: np.ndarray | None
    """float32 [halves, BUCKETS + 2]: for buckets, lexicon and mean; None: the lexicon alone."""
    spread: float
    """Robust standard deviation of score - expected score."""
    low: float
    high: float
    """10th and 90th percentile of the expected scores."""
    learned_from: int
    """Critiques; 0 for the lexicon."""
    agreement: float
    """Rank correlation of scores and expected scores in a sample; NaN where all are equal."""
    sampled: int
    """Critiques in that sample."""


def learn_polarity(texts: pl.Series, prompts: pl.Series, scores: np.ndarray) -> Measure:
    """Learn which words go with which score.

    Args:
        texts: Critiques, at least one.
        prompts: Id of the prompt that each belongs to, a hash in hex: it decides who teaches
            whom, so that row order changes nothing.
        scores: The written scores as shares of their scale, finite.
    """
    halves, draws = _halves(prompts), _draws(prompts)
    sample = draws < LEARN_FROM / texts.len()
    teachers = [sample & (scores < 1) & (halves != half) for half in range(HALVES)]
    enough = min(int(who.sum()) for who in teachers) >= LEARN_AT_LEAST // HALVES
    weights = [_learn(texts.filter(pl.Series(who)), scores[who]) for who in teachers if enough]
    measure = Measure(np.stack(weights) if enough else None, LEXICON_SPREAD, 0, 1, 0, math.nan, 0)
    drawn = pl.Series(sample)
    return _assessed(measure, texts.filter(drawn), prompts.filter(drawn), scores[sample])


def _assessed(
    measure: Measure, texts: pl.Series, prompts: pl.Series, scores: np.ndarray
) -> Measure:
    """Compare a measure with a sample of scores."""
    if texts.is_empty():
        return measure
    expected = expected_scores(measure, texts, prompts)
    both = pl.DataFrame({"score": scores, "expected": expected})
    low, high = np.quantile(expected, [0.1, 0.9])
    measure = measure._replace(
        low=float(low),
        high=float(high),
        agreement=float(both.select(pl.corr("score", "expected", method="spearman")).item()),
        sampled=texts.len(),
    )
    if measure.weights is None:
        return measure
    residual = np.abs(scores - expected)[scores < 1]
    return measure._replace(spread=_TO_SD * float(np.median(residual)), learned_from=residual.size)


def expected_scores(measure: Measure, texts: pl.Series, prompts: pl.Series) -> np.ndarray:
    """Estimate from the words of each critique the score that was meant.

    Args:
        measure: Of `learn_polarity`.
        texts: Critiques.
        prompts: Ids of their prompts.

    Returns:
        float64 shares of the scale; a little outside 0..1 where the words are extreme.
    """
    halves = _halves(prompts)
    expected, first = [np.empty(0)], 0
    for part in hash_slices(texts):
        number = part.starts.size - 1
        if measure.weights is None:
            expected.append((lexicon_polarity(part) + 1) / 2)
        else:
            expected.append(_weighed(part, measure.weights, halves[first : first + number]))
        first += number
    return np.concatenate(expected)


def _weighed(part: HashedWords, weights: np.ndarray, halves: np.ndarray) -> np.ndarray:
    """Add up the weights of each text's words, pairs and lexicon, from its half's row."""
    rows, buckets = _buckets(part)
    found = weights.ravel()[(halves * weights.shape[1])[rows] + buckets]
    sums = np.bincount(rows, weights=found, minlength=halves.size)
    lexicon, mean = weights[halves, BUCKETS], weights[halves, BUCKETS + 1]
    return np.asarray(sums + lexicon * LEXICON_SCALE * lexicon_polarity(part) + mean)


def _halves(prompts: pl.Series) -> np.ndarray:
    last = prompts.str.slice(-4).str.to_integer(base=16)
    return (last % HALVES).to_numpy()


def _draws(prompts: pl.Series) -> np.ndarray:
    """A number in 0..1 for each prompt, from its id."""
    return prompts.str.slice(0, 8).str.to_integer(base=16).to_numpy() / 16**8


def _learn(texts: pl.Series, scores: np.ndarray) -> np.ndarray:
    """Fit ridge regression by conjugate gradients.

    Returns:
        float32 [BUCKETS + 2]: a weight for each bucket, for the lexicon, and the mean.
    """
    features = _features(texts)
    mean = float(scores.mean())
    residual = features.T @ (scores - mean).astype(np.float32)
    weights = np.zeros(BUCKETS + 1, np.float32)
    direction, size = residual.copy(), float(residual @ residual)
    for _ in range(_STEPS):
        if size < 1e-6:
            break
        image = features.T @ (features @ direction) + np.float32(PENALTY) * direction
        step = np.float32(size / float(direction @ image))
        weights += step * direction
        residual -= step * image
        before, size = size, float(residual @ residual)
        direction = residual + np.float32(size / before) * direction
    return np.append(weights, np.float32(mean))


def _features(texts: pl.Series) -> Any:
    """Sparse matrix [texts, BUCKETS + 1]: which words and pairs occur, and the lexicon."""
    from scipy.sparse import csr_matrix

    rows, columns, values, first = [], [], [], 0
    for part in hash_slices(texts):
        number = part.starts.size - 1
        row, bucket = _buckets(part)
        rows += [first + row, np.arange(first, first + number)]
        columns += [bucket, np.full(number, BUCKETS)]
        values += [np.ones(row.size), LEXICON_SCALE * lexicon_polarity(part)]
        first += number
    entries = np.concatenate(values).astype(np.float32)
    places = (np.concatenate(rows), np.concatenate(columns))
    return csr_matrix((entries, places), shape=(first, BUCKETS + 1))


def _buckets(part: HashedWords) -> tuple[np.ndarray, np.ndarray]:
    """Text and bucket of every word and pair, each once a text; texts of a slice are few."""
    texts = part.starts.size - 1
    kind: type[np.signedinteger[Any]] = np.int32 if texts < 1 << (31 - _BITS) else np.int64
    base = np.repeat(np.arange(texts, dtype=kind) << _BITS, np.diff(part.starts))
    shift = np.uint64(64 - _BITS)
    found = np.empty(2 * base.size, kind)
    found[: base.size] = base + (part.words >> shift).astype(kind)
    found[base.size :] = base + (pair_hashes(part) >> shift).astype(kind)
    found.sort()
    found = found[np.append(found[:-1] != found[1:], True)] if found.size else found
    return found >> _BITS, found & (BUCKETS - 1)

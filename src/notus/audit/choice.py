"""What was to be chosen from in each row, and how likely each candidate was by its score alone.

That the strong model is chosen more often, or the weak one's place in the row is rejected, is no
bias. So the rules of `audit.bias` compare with Luce's choice model: in a row with candidates of
classes c_1..c_n (here: how far each is ahead of the others' best score, and how many it is ahead
of), candidate j is taken with probability w(c_j) / sum_k w(c_k). The weights are fitted to the same
data, so of each class as many are expected to be taken as were; what is left over is due to
something else.

Source: Luce 1959, "Individual Choice Behavior"; the iteration is Hunter 2004, "MM algorithms for
generalized Bradley-Terry models".
"""

import functools
from dataclasses import dataclass, fields

import numpy as np
import polars as pl

from notus.audit.sides import KINDS
from notus.audit.verdict import Subject

ITERATIONS = 1000
MOST = 8
"""Numbers of completions behind that are told apart, from 0."""
GAPS = (-0.5, -0.3, -0.2, -0.125, -0.0625, -1e-9, 1e-9, 0.0625, 0.125, 0.2, 0.3, 0.5)
"""Edges of the classes of leads, in shares of the scale: finer near 0, which has its own."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Candidates:
    """What each preference chose from: arrays with one entry a completion, row after row."""

    row: np.ndarray
    """Number of the prompt, 0.. without gaps, ascending."""
    index: np.ndarray
    """Place of the completion in its row, from 0."""
    size: np.ndarray
    """Completions in its row."""
    model: np.ndarray
    """Number of its model in `names`."""
    standing: np.ndarray
    """Class of its score among those of the row, see `_standings`; -1: some there have none."""
    chosen: np.ndarray
    """Whether it is the chosen one."""
    rejected: np.ndarray
    """Whether it is the rejected one."""
    names: tuple[str, ...]
    """Models, sorted."""

    @property
    def rows(self) -> int:
        """Number of prompts."""
        return int(self.row[-1]) + 1 if self.row.size else 0

    def where(self, mask: np.ndarray) -> "Candidates":
        """Keep some completions; their rows are numbered anew."""
        kept = {
            field.name: getattr(self, field.name)[mask]
            for field in fields(self)
            if field.name != "names"
        }
        starts = np.diff(kept["row"], prepend=-1) > 0
        return Candidates(**kept | {"row": np.cumsum(starts) - 1, "names": self.names})


@functools.lru_cache(maxsize=1)
def candidates(subject: Subject) -> Candidates:
    """List what each preference chose from; kept, because three rules ask it of one subject.

    Prompts with several preferences are left out: what is left to choose then depends on the
    others. The place is the `position` in the completions' metadata, where the source has one,
    else the order of the table, which is that of the source.

    Args:
        subject: What is audited.
    """
    once = subject.preferences.lazy().filter(pl.len().over("prompt_id") == 1)
    position = pl.col("metadata").str.json_path_match("$.position").cast(pl.Int64, strict=False)
    has_position = pl.col("metadata").str.contains('"position"', literal=True)
    scores = _scores(subject.feedback.ratings).lazy()
    frame = (
        subject.feedback.completions.select(
            "completion_id", "prompt_id", "model", place=pl.when(has_position).then(position)
        )
        .with_row_index("line")
        .join(
            once.select("prompt_id", "chosen_id", "rejected_id").with_row_index("row"),
            on="prompt_id",
        )
        .join(scores, on="completion_id", how="left")
        .select(
            *("row", "line", "place", "model", "score"),
            chosen=pl.col("completion_id") == pl.col("chosen_id"),
            rejected=pl.col("completion_id") == pl.col("rejected_id"),
        )
        .sort("row", "line")
        .collect(engine="streaming")
    )
    row = np.cumsum(np.diff(frame["row"].to_numpy().astype(np.int64), prepend=-1) > 0) - 1
    size = np.bincount(row)
    names = frame["model"].unique().sort()
    return Candidates(
        row=row,
        index=_places(frame["place"], row, size),
        size=size[row],
        model=frame["model"].cast(pl.Enum(names)).to_physical().to_numpy().astype(np.int64),
        standing=_standings(frame["score"].to_numpy(), row, size.size),
        chosen=frame["chosen"].to_numpy(),
        rejected=frame["rejected"].to_numpy(),
        names=tuple(names),
    )


def luce(row: np.ndarray, classes: np.ndarray, taken: np.ndarray) -> np.ndarray:
    """Fit Luce's model, and return the probability of each candidate to be the one taken.

    Each class has half a win and half a loss against a stranger of weight 1 beside its own, so that
    a class that is never taken, or always, has a finite weight.

    Args:
        row: Number of each candidate's row, 0.. without gaps.
        classes: Class of each candidate, 0 and up.
        taken: Whether it was taken: one candidate a row.
    """
    if not row.size:
        return np.zeros(0)
    wins = np.bincount(classes, weights=taken) + 0.5
    kind, times = _alike(row, classes)
    one = np.isin(row, kind)
    _, rows = np.unique(row[one], return_inverse=True)
    inside = classes[one]
    weights = np.ones(wins.size)
    for _ in range(ITERATIONS):
        shares = times / np.bincount(rows, weights=weights[inside])
        exposure = np.bincount(inside, weights=shares[rows]) + 1 / (1 + weights)
        before, weights = weights, wins / exposure
        if np.allclose(before, weights, rtol=1e-6, atol=0):
            break
    return weights[classes] / np.bincount(row, weights=weights[classes])[row]


def _alike(row: np.ndarray, classes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Find the rows with different classes: a representative of each, ascending, and how many.

    64,000 rows with four completions have at most a few thousand different sets of classes. Sums of
    fixed random 64-bit words stand for the sets.
    """
    words = np.random.default_rng(0).integers(2**64, size=classes.max() + 1, dtype=np.uint64)
    starts = np.flatnonzero(np.diff(row, prepend=-1))
    sums = np.add.reduceat(words[classes], starts)
    _, first, times = np.unique(sums, return_index=True, return_counts=True)
    order = np.argsort(first)
    return first[order], times[order]


def _scores(ratings: pl.LazyFrame) -> pl.DataFrame:
    """Average what is said of each completion over raters and kinds, on a scale of 0 to 1."""
    share = (pl.col("value") - pl.col("scale_min")) / (pl.col("scale_max") - pl.col("scale_min"))
    by_kind = {kind: [a for a in KINDS if KINDS[a] == kind] for kind in KINDS.values()}
    means = [
        pl.col("share").filter(pl.col("aspect").is_in(aspects)).mean().round(9).alias(kind)
        for kind, aspects in by_kind.items()
    ]
    return (
        ratings.filter(pl.col("value").is_finite())
        .select("completion_id", "aspect", share=share)
        .group_by("completion_id")
        .agg(means)
        .select("completion_id", score=pl.mean_horizontal(*by_kind).round(9))
        .collect(engine="streaming")
    )


def _places(written: pl.Series, row: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Take the written places where a row has all of them, each once; else count."""
    start = np.cumsum(size) - size
    counted = np.arange(row.size) - start[row]
    place = written.fill_null(-1).to_numpy()
    order = np.lexsort((place, row))
    again = (np.diff(place[order], prepend=-2) == 0) & (np.diff(row[order], prepend=-1) == 0)
    unusable = np.bincount(row, weights=place < 0, minlength=size.size)
    unusable += np.bincount(row[order], weights=again, minlength=size.size)
    return np.where(unusable[row] > 0, counted, place)


def _standings(score: np.ndarray, row: np.ndarray, rows: int) -> np.ndarray:
    """Class each candidate by its lead over the best other one, and by how many it is ahead of.

    A row with a candidate that has no score is not classed at all: it gets -1.
    """
    if not row.size:
        return np.zeros(0, dtype=np.int64)
    known = np.isfinite(score)
    complete = (np.bincount(row, weights=~known, minlength=rows) == 0)[row]
    order = np.lexsort((score, row))
    value = np.nan_to_num(score)[order]
    places = np.arange(row.size)
    start = np.diff(row, prepend=-1) > 0
    first = np.maximum.accumulate(np.where(start, places, 0))
    unequal = start | (np.diff(value, prepend=np.nan) != 0)
    behind = np.maximum.accumulate(np.where(unequal, places, 0)) - first
    # Rows ascend, so after sorting the best of each stands last, and its best rival before it.
    last = np.flatnonzero(np.append(start[1:], True))
    is_last = places == last[row]
    rival = np.where(is_last, value[np.maximum(last - 1, 0)][row], value[last][row])
    classes = np.digitize(np.round(value - rival, 9), GAPS) * MOST + np.minimum(behind, MOST - 1)
    standing = np.empty(row.size, dtype=np.int64)
    standing[order] = classes
    return np.where(complete, standing, -1)

"""Rule `near_dup`: prompts that repeat an earlier prompt, word for word or nearly.

    turns -> same text but for case and layout ---------------------------> copies
          -> words -> 5-word shingles -> MinHash -> bands -> exact Jaccard -> near copies

Two prompts are near-duplicates when their sets of shingles, over all user turns, have a Jaccard
coefficient of at least 0.8. MinHash only proposes pairs; the coefficient that decides is exact, so
nothing is reported that is not so. 25 bands of 5 hashes miss a pair at 0.8 with a chance of 5e-5,
and the rarer the higher it is. A prompt none of whose turns has 5 words has no shingles: it repeats
another only if their texts are the same but for case, white space and the marks at their ends
("2 + 2" and "2 - 2" hold the same words).

A prompt that shares a band with hundreds of earlier ones is paired with the last 32 of them, and of
all its pairs the 8 most alike are compared exactly: sets made from one template would otherwise
cost the square of their number. 64,000 prompts of 11 million words take about 6 s on one core and
0.5 GiB.

Source: Broder 1997, "On the resemblance and containment of documents"; banding, Leskovec et al.
2020, "Mining of Massive Datasets", section 3.4.
"""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import polars as pl
from rensa import RMinHash

from notus.audit.lookup import distinct
from notus.audit.tokens import batches, grams, mixed, user_turns, words
from notus.audit.verdict import Finding, Subject, Verdict, make_issues
from notus.stats import wilson

RULE = "near_dup"
SHINGLE = 5
"""Words of a shingle."""
MIN_JACCARD = 0.8
HASHES, BANDS, ROWS = 128, 25, 5
MIN_ESTIMATE = 0.6
"""Least share of equal hashes for which the exact coefficient is worth its time: at 0.8 the share
has a standard deviation of 0.035."""
MOST_IN_BAND = 32
"""Earlier prompts of one band that a prompt is paired with."""
MOST_VERIFIED = 8
"""Earlier prompts that are compared exactly, those of the highest estimates."""
MANY = 0.01
"""Share of repeated prompts over which the data set as a whole deserves a warning."""
_SEED = 1
_ENDS = " .!?\"'"
_CHUNK = 1 << 16
_SHINGLE_BITS = np.uint64(42)
"""Of a shingle's hash; the others number the prompts of a batch, at most one a byte of it."""

DUPLICATES = pl.Schema(
    {"prompt_id": pl.String(), "earlier_id": pl.String(), "jaccard": pl.Float64()}
)


def near_dup(subject: Subject) -> Verdict:
    """Find prompts that are near-duplicates of an earlier prompt.

    They weigh double in training, and with one in training and the other in a holdout they leak.
    Word 5-grams of the user's turns, Jaccard at least 0.8; the evidence names the earlier prompt.
    A warning where the coefficient is 1, else info. The finding is the share of prompts that repeat
    another, a warning over 1 %.

    Source: Broder 1997, "On the resemblance and containment of documents".

    False alarms: none by the definition, as every pair is verified. But prompts of one long
    template that differ in a few words meet it without being a fault, hence info: 2 of 1,000 real
    prompts of UltraFeedback, both FLAN tasks in other words.
    """
    turns = user_turns(subject.feedback)
    prompts = turns["prompt_id"].n_unique()
    if not prompts:
        return Verdict(skipped="there are no prompts")
    found = near_duplicates(turns)
    issues = make_issues(
        found.lazy().with_columns(completion_id=pl.lit(None, pl.String)),
        RULE,
        severity=pl.when(pl.col("jaccard") == 1).then(pl.lit("warning")).otherwise(pl.lit("info")),
        score=pl.col("jaccard"),
        evidence=pl.format(
            "Jaccard {} with the earlier prompt {}", pl.col("jaccard").round(3), "earlier_id"
        ),
    )
    share = wilson(found.height, prompts)
    finding = Finding(
        rule=RULE,
        severity="warning" if share.value > MANY else "info",
        subject="prompts",
        value=share.value,
        low=share.low,
        high=share.high,
        n=prompts,
        evidence=f"{found.height} of {prompts} prompts repeat an earlier one; "
        f"{int((found['jaccard'] == 1).sum())} of them with a Jaccard coefficient of 1",
    )
    return Verdict(issues=issues, findings=(finding,), looked_at=prompts)


def near_duplicates(turns: pl.DataFrame) -> pl.DataFrame:
    """Find, for each prompt, the earlier one that it repeats most closely.

    Args:
        turns: prompt_id and text, a row for each user turn; the turns of a prompt side by side.

    Returns:
        prompt_id, earlier_id and jaccard (at least `MIN_JACCARD`, rounded to 9 digits; 1 also for
        the same text without any shingle), one row for each prompt that repeats an earlier one, in
        the order of the prompts. Of several earlier ones the most similar counts, of equally
        similar ones the first.
    """
    sketches = [_sketch(batch) for batch in batches(turns)]
    ids = pl.concat([sketch.ids for sketch in sketches])
    first = _first_copies(np.concatenate([sketch.wording for sketch in sketches]))
    later = np.flatnonzero(first != np.arange(len(ids)))
    copies = pl.DataFrame({"later": later, "earlier": first[later], "jaccard": np.ones(len(later))})
    pairs = _verified(sketches, first)
    found = (
        pl.concat([copies, pairs])
        .sort("later", -pl.col("jaccard"), "earlier")
        .unique("later", keep="first", maintain_order=True)
    )
    return pl.DataFrame(
        {
            "prompt_id": ids.gather(found["later"]),
            "earlier_id": ids.gather(found["earlier"]),
            "jaccard": found["jaccard"].round(9),
        },
        schema=DUPLICATES,
    )


class _Sketch(NamedTuple):
    """Prompts of one batch; P prompts, S shingles of all of them."""

    ids: pl.Series
    wording: np.ndarray
    """[P] a hash of all turns, equal for turns that differ only in case and layout."""
    shingles: np.ndarray
    """[S] distinct and ascending within each prompt."""
    starts: np.ndarray
    """[P + 1] where each prompt's shingles begin."""
    digests: np.ndarray
    """[P, HASHES] uint32."""


def _sketch(turns: pl.DataFrame) -> _Sketch:
    prompt = turns["prompt_id"].rle_id().to_numpy().astype(np.int64)
    first_turn = np.flatnonzero(np.diff(prompt, prepend=-1))
    texts = words(turns["text"])
    text = pl.col("text").fill_null("").str.to_lowercase().str.replace_all(r"\s+", " ")
    keys = turns.select(text.str.strip_chars(_ENDS).hash(_SEED)).to_series().to_numpy()
    # A turn counts with its place in the prompt.
    turn = np.arange(len(prompt)) - first_turn[prompt]
    sums = np.append(np.uint64(0), np.cumsum(mixed(keys + mixed(turn.astype(np.uint64)))))
    ends = np.append(first_turn, len(prompt))
    hashes, first = grams(texts, SHINGLE)
    # Prompt and shingle in one integer: sorting it is ten times faster than sorting by both.
    owner = prompt[texts.texts[first]].astype(np.uint64) << _SHINGLE_BITS
    packed = distinct(owner | (hashes >> (np.uint64(64) - _SHINGLE_BITS)))
    shingles = packed & ((np.uint64(1) << _SHINGLE_BITS) - np.uint64(1))
    starts = np.searchsorted(packed >> _SHINGLE_BITS, np.arange(len(first_turn) + 1))
    matrix = RMinHash.digest_matrix_from_flat_token_hashes(
        shingles, starts.astype(np.uint64), HASHES, _SEED
    )
    return _Sketch(
        ids=turns["prompt_id"].gather(first_turn),
        wording=sums[ends[1:]] - sums[ends[:-1]],
        shingles=shingles,
        starts=starts,
        digests=np.array(matrix.to_rows(), dtype=np.uint32).reshape(-1, HASHES),
    )


def _first_copies(wording: np.ndarray) -> np.ndarray:
    """Name, for each prompt, the first of the same wording: itself if there is none before."""
    _, first, number = np.unique(wording, return_index=True, return_inverse=True)
    return first[number]


def _verified(sketches: Sequence[_Sketch], first: np.ndarray) -> pl.DataFrame:
    """Compare the pairs that MinHash proposes: later, earlier and jaccard, where it is enough."""
    sizes = np.concatenate([np.diff(sketch.starts) for sketch in sketches])
    rows = np.flatnonzero((sizes > 0) & (first == np.arange(len(first))))
    digests = np.concatenate([sketch.digests for sketch in sketches])[rows]
    shingles = [
        sketch.shingles[a:b]
        for sketch in sketches
        for a, b in itertools.pairwise(sketch.starts.tolist())
    ]
    found = []
    for earlier, later in _candidates(digests):
        one, other = shingles[rows[earlier]], shingles[rows[later]]
        both = len(np.intersect1d(one, other, assume_unique=True))
        jaccard = both / (len(one) + len(other) - both)
        if jaccard >= MIN_JACCARD:
            found.append((int(rows[later]), int(rows[earlier]), jaccard))
    schema = {"later": pl.Int64, "earlier": pl.Int64, "jaccard": pl.Float64}
    return pl.DataFrame(found, schema=schema, orient="row")


def _candidates(digests: np.ndarray) -> list[tuple[int, int]]:
    """Propose pairs (earlier, later) of rows that share a band and most hashes."""
    count = len(digests)
    codes = []
    for band in range(BANDS):
        key = np.zeros(count, np.uint64)
        for column in digests[:, band * ROWS : (band + 1) * ROWS].T:
            key = mixed(key + column)
        order = np.argsort(key, kind="stable")
        key = key[order]
        for back in range(1, MOST_IN_BAND + 1):
            (at,) = np.nonzero(key[back:] == key[:-back])
            if not len(at):
                break
            codes.append(order[at + back] * np.int64(count) + order[at])
    pairs = distinct(np.concatenate([np.zeros(0, np.int64), *codes]))
    later, earlier = np.divmod(pairs, max(count, 1))
    estimate = np.concatenate(
        [np.zeros(0)]
        + [
            (digests[later[i : i + _CHUNK]] == digests[earlier[i : i + _CHUNK]]).mean(axis=1)
            for i in range(0, len(pairs), _CHUNK)
        ]
    )
    proposed = pl.DataFrame({"later": later, "earlier": earlier, "estimate": estimate})
    best = (
        proposed.filter(pl.col("estimate") >= MIN_ESTIMATE)
        .sort("later", -pl.col("estimate"), "earlier")
        .group_by("later", maintain_order=True)
        .head(MOST_VERIFIED)
    )
    return list(best.select("earlier", "later").iter_rows())

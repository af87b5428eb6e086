"""Find evaluation items in prompts: by 8-grams, exactly where an item is short, and edited ones.

    turns  -> words -> 8-grams -----------> an item's words covered by one turn: over half  "ngram"
    items  -> words -> items under 8 words > a whole turn, or a run of words inside one     "exact"
                    -> `small_edits` ------> all but a few words stand there                "near"

One user turn is one row: an item that is scattered over turns is not found. Coverage is the share
of an item's words, so a long prompt hides nothing, and the passage of a DROP item alone covers it.
Of the words that carry content half must be covered as well, because "Which one of the following is
not a" is an 8-gram of many questions.

Items under 8 words have no 8-gram. One that is a whole turn is always a hit. Inside a longer turn
six or seven words in a row are a hit; three to five need a word that carries content and must stand
by themselves: as a sentence, or if the item ends with a mark at the begin or the end of one ("Now,
can pigs fly? ..."). One or two words ("Inflation") are found as a whole turn only. In 4,878 real
prompts this leaves no false hit of 1,400 short items.

Work is done in batches of turns, so memory grows with what is found and not with what is searched:
64,000 prompts of 11 million words against 30,000 items take 6 s on two cores and 0.8 GiB. Prompts
that are the items themselves, of which many share a template, give 800,000 overlaps in 3 GiB.

Source: 8-grams and the bound of one half, Lambert et al. 2024, "Tulu 3", section 3.2, and its
code, which takes the share of an item's tokens covered by the n-grams of one training document.
"""

import itertools
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import polars as pl

from notus.audit.edited import carries_content
from notus.audit.lookup import Lookup, distinct
from notus.audit.small_edits import EditedItems, Hits
from notus.audit.tokens import Words, batches, gram_sizes, grams, words

N = 8
MIN_COVERAGE = 0.5
"""An item is hit when more than this share of its words is covered."""
MIN_RUN, LOOSE_RUN = 3, 6
"""Words from which a short item is looked for inside turns, and from which anywhere in them."""
KINDS = ("exact", "ngram", "near")
"""How a hit was found, the surest first."""
OVERLAPS = pl.Schema(
    {
        "prompt_id": pl.String(),
        "benchmark": pl.String(),
        "item": pl.String(),
        "kind": pl.String(),
        "coverage": pl.Float64(),
        "item_text": pl.String(),
        "prompt_text": pl.String(),
    }
)
_WRITTEN_WORD = re.compile(r"[^\W_]+(?:['\u2019][^\W_]+)*")
_WORKERS = 2
_MARGIN = 8
"""Words of a turn shown to either side of the place that fits an item."""


def overlaps(turns: pl.DataFrame, items: pl.DataFrame) -> pl.DataFrame:
    """Find the evaluation items that stand in user turns.

    Args:
        turns: prompt_id and text, a row for each user turn.
        items: benchmark, item and text, a row for each item (`evaluation_items.read_items`).

    Returns:
        Columns of `OVERLAPS`, one row for each item of each prompt that holds it, the surest kind
        and then the highest coverage; item_text whole, prompt_text the part of the turn that fits
        with a few words around. Sorted by benchmark, item and prompt_id.
    """
    known = words(items["text"])

    def search(batch: pl.DataFrame) -> list[pl.DataFrame]:
        texts = words(batch["text"])
        exact, ngram = index.result().find(texts)
        kinds = exact, ngram, edited.result().find(texts, known=(ngram.text, ngram.item))
        return [
            _rows(kind, hits, texts, batch, items) for kind, hits in zip(KINDS, kinds, strict=True)
        ]

    # Numpy and Polars let go of the interpreter in what takes their time.
    with ThreadPoolExecutor(max_workers=_WORKERS) as pool:
        index, edited = (
            pool.submit(_ItemIndex, known, items["text"]),
            pool.submit(EditedItems, known),
        )
        found = itertools.chain.from_iterable(pool.map(search, batches(turns)))
        parts = [pl.DataFrame(schema=OVERLAPS), *found]
    order = pl.col("kind").replace_strict(KINDS, range(len(KINDS)), return_dtype=pl.Int8)
    return (
        pl.concat(parts)
        .with_columns(order=order)
        .sort("benchmark", "item", "prompt_id", "order", -pl.col("coverage"), maintain_order=True)
        .unique(["benchmark", "item", "prompt_id"], keep="first", maintain_order=True)
        .select(OVERLAPS.names())
    )


class _ItemIndex:
    """Items by their 8-grams, and the short ones by all their words."""

    def __init__(self, items: Words, texts: pl.Series) -> None:
        self.counts = items.counts
        self.short_items: dict[int, tuple[np.ndarray, Lookup]] = {}
        self.content_before = np.append(0, np.cumsum(carries_content(items.hashes)))
        self.content = np.diff(self.content_before[items.starts])
        self.loose = self.counts >= LOOSE_RUN
        self.inside = self.loose | ((self.counts >= MIN_RUN) & (self.content > 0))
        """[I] whether a short item is looked for inside turns."""
        self.ended = texts.str.contains(r"""[.!?]["')\s]*$""").to_numpy()
        """[I] whether an item is a whole sentence."""
        hashes, self.gram_start = grams(items, N)
        self.gram_item, self.grams = items.texts[self.gram_start], Lookup(hashes)
        rows = np.flatnonzero(self.counts < N)
        short = words(texts[rows])
        for n, hashes, first in gram_sizes(short, N - 1):
            item = short.texts[first]
            whole = short.counts[item] == n
            self.short_items[n] = rows[item[whole]], Lookup(hashes[whole])

    def find(self, texts: Words) -> tuple[Hits, Hits]:
        """Find items under 8 words, and items of which one text's 8-grams cover more than half."""
        text_of, short = texts.texts, []
        breaks = np.zeros(len(texts.hashes) + 1, dtype=bool)
        breaks[texts.sentence_starts] = True
        for n, hashes, first in gram_sizes(texts, N):
            if n < N:
                short.append(self._short(texts, text_of, breaks, n, hashes, first))
            else:
                covered = self._covered(text_of, hashes, first)
        text, item, first, last = np.concatenate(short, axis=1)
        return Hits(text, item, np.ones(len(text)), first, last), covered

    def _short(
        self,
        texts: Words,
        text_of: np.ndarray,
        breaks: np.ndarray,
        n: int,
        hashes: np.ndarray,
        first: np.ndarray,
    ) -> np.ndarray:
        """Match items of n words: [4, H] text, item, first and last."""
        items, lookup = self.short_items[n]
        index, keys = lookup.find(hashes)
        which, entries = lookup.expand(keys)
        place, item = first[index][which], items[entries]
        text = text_of[place]
        begins, ends = breaks[place], breaks[place + n]
        alone = (begins & ends) | (self.ended[item] & (begins | ends))
        good = (texts.counts[text] == n) | (self.inside[item] & (self.loose[item] | alone))
        return np.stack([text, item, place, place + n])[:, good]

    def _covered(self, text_of: np.ndarray, hashes: np.ndarray, first: np.ndarray) -> Hits:
        index, keys = self.grams.find(hashes)
        text = text_of[first[index]]
        # A gram that a text holds twice covers nothing new.
        _, new = np.unique(text * np.int64(len(self.grams.hashes)) + keys, return_index=True)
        index, keys = index[new], keys[new]
        which, entries = self.grams.expand(keys)
        place = first[index][which]
        return self._coverage(text_of[place], place, entries)

    def _coverage(self, text: np.ndarray, place: np.ndarray, entries: np.ndarray) -> Hits:
        """Add up, for each text and item, the item's words that its grams found there cover."""
        item, start = self.gram_item[entries], self.gram_start[entries]
        order = np.lexsort((start, item, text))
        text, item, start, place = text[order], item[order], start[order], place[order]
        begins = np.append(True, (np.diff(text) != 0) | (np.diff(item) != 0))[: len(order)]
        (group,) = np.nonzero(begins)
        if not len(group):
            return Hits(*(np.zeros(0, dtype=np.int64) for _ in Hits._fields))
        # A gram covers its words up to where the item's next one begins.
        added = np.append(np.where(begins[1:], N, np.minimum(np.diff(start), N)), N)
        content = self.content_before[start + added] - self.content_before[start]
        text, item = text[group], item[group]
        coverage = np.add.reduceat(added, group) / self.counts[item]
        hit = (coverage > MIN_COVERAGE) & (
            np.add.reduceat(content, group) >= MIN_COVERAGE * self.content[item]
        )
        first, last = np.minimum.reduceat(place, group), np.maximum.reduceat(place, group) + N
        return Hits(text[hit], item[hit], coverage[hit], first[hit], last[hit])


def _rows(
    kind: str, hits: Hits, texts: Words, turns: pl.DataFrame, items: pl.DataFrame
) -> pl.DataFrame:
    """Bring hits into the columns of `OVERLAPS`."""
    turn, item = turns[hits.text], items[hits.item]
    # Some turns hold many items: a passage all its questions, a template all of its kind.
    spans = {
        int(row): [match.span() for match in _WRITTEN_WORD.finditer(turns["text"][int(row)] or "")]
        for row in distinct(hits.text)
    }
    places = zip(
        turn["text"],
        (spans[row] for row in hits.text.tolist()),
        (hits.first - texts.starts[hits.text]).tolist(),
        (hits.last - texts.starts[hits.text]).tolist(),
        texts.counts[hits.text].tolist(),
        strict=True,
    )
    return pl.DataFrame(
        {
            "prompt_id": turn["prompt_id"],
            "benchmark": item["benchmark"],
            "item": item["item"],
            "kind": pl.repeat(kind, turn.height, eager=True),
            "coverage": hits.coverage.astype(np.float64),
            "item_text": item["text"],
            "prompt_text": [_excerpt(*place) for place in places],
        },
        schema=OVERLAPS,
    )


def _excerpt(text: str, spans: Sequence[tuple[int, int]], first: int, last: int, count: int) -> str:
    """Cut the words first .. last - 1 of `count` out of a turn, with a few words around.

    `spans` are words of the text as it is written, where a sign like a ligature may make one more
    or less: the place may then be a little off, which the words around make up for.
    """
    scale = len(spans) / max(count, 1)
    begin = int(max(first - _MARGIN, 0) * scale)
    end = min(int((last + _MARGIN) * scale) + 1, len(spans))
    if not spans or (begin == 0 and end == len(spans)):
        return text
    start = 0 if begin == 0 else spans[begin][0]
    stop = len(text) if end == len(spans) else spans[end - 1][1]
    return f"{'... ' if start else ''}{text[start:stop]}{' ...' if stop < len(text) else ''}"

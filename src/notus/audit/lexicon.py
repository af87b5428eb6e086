"""The sentiment of a critique by a small lexicon of what critics of answers say.

Some 350 words in four strengths and a few word pairs; a negation turns the words that follow it.
The lexicon is English and knows no rater, so it is the measure only where there is too little to
learn from (`notus.audit.polarity`), and elsewhere what learning starts from.
"""

import functools
from typing import NamedTuple

import numpy as np
import polars as pl

from notus.audit.hashed import HashedWords, hash_words, pair_hashes

NEGATION_SPAN = 3
"""Words after a negation that it turns."""
TURNED = 0.75
"""Share of its strength that a turned word keeps: "not good" is milder than "bad"."""
NEUTRAL_WEIGHT = 2.0
"""Strength that stands for no opinion, so that a single word does not decide."""

NEGATIONS = """
    not no never nor neither none nothing without cannot hardly barely scarcely isn't aren't wasn't
    weren't doesn't don't didn't won't wouldn't can't couldn't shouldn't hasn't haven't hadn't
    fails failed lacks lacking lack
    """

WORDS: dict[float, str] = {
    2.0: """
        amazing brilliant commendable commendably excellent excellently exceptional exceptionally
        exemplary fantastic flawless flawlessly ideal impeccable impressive impressively masterful
        outstanding perfect perfectly remarkable spotless stellar superb wonderful
        """,
    1.0: """
        accessible accurate accurately achieves adequate adequately admirable apt articulate
        beneficial clarity clean clear clearly coherent comprehensive comprehensively concise
        concisely consistent convincing correct correctly creative creatively creativity credible
        delightful demonstrates depth detailed effective effectively efficient elegant elegantly
        engaging enjoyable factual faithful faithfully fluent good great helpful helpfully honest
        imaginative informative insight insightful insights interesting knowledgeable logical
        logically lovely meets nice nicely nuanced pleasant pleasing plausible polished precise
        precisely professional properly readable reasonable relevant reliable respectful rich
        rightly robust satisfies satisfying sensible smart solid sound strength strengths strong
        successful successfully succinct succinctly suitable superior thorough thoroughly
        thoughtful true trustworthy truthful useful valid valuable vivid well worthwhile
        """,
    -1.0: """
        ambiguous awkward bland boring careless cluttered confused confusing confusingly
        contradictory contradicts convoluted cryptic disappointing disjointed disorganized dull
        excessive excessively flaw flawed flaws forgets forgot fragmentary generic hallucination
        ignores ignored ignoring imprecise improper inadequate inadequately inappropriate incoherent
        incomplete inconsistent insufficient insufficiently irritating lack lacked lacking lacks
        misleading misinterprets misinterpreted missed misses missing mistake mistakes mistaken
        misunderstands misunderstood muddled needless neglects omits omitted omission overlooks
        overlooked poor poorly problem problematic problems questionable redundant repeated repeats
        repetition repetitive rude rushed shallow simplistic sloppy superficial tedious unclear
        unconvincing underdeveloped unfinished unfortunately unhelpful uninformative unnecessary
        unnecessarily unorganized unrelated unsatisfactory unsuitable unsupported vague vaguely
        verbose weak weakness weaknesses weird wordy
        """,
    -2.0: """
        absurd appalling awful bad badly broken dangerous disastrous dreadful error errors erroneous
        fabricated fabricates fail failed failing fails failure false falsehood garbage garbled
        gibberish harmful horrible incomprehensible incorrect incorrectly inaccurate inaccuracies
        inaccuracy ineffective irrelevant meaningless nonsense nonsensical offensive pointless
        refuses refused ridiculous ruined senseless terrible unacceptable unintelligible unreadable
        unusable untrue useless worse worst worthless wrong wrongly
        """,
}
"""Strength -> words, in lower case."""
PAIRS: dict[float, str] = {
    1.0: "good_job great_job well_done spot_on high_quality no_errors no_mistakes",
    -1.0: "should_have could_have would_have does_not did_not is_not was_not off_topic",
    -2.0: "makes_no no_sense not_address",
}
"""Strength -> word pairs, written with an underscore."""


class Table(NamedTuple):
    """Hashes with a strength each, to be found among many others."""

    keys: np.ndarray
    """uint64, sorted."""
    strengths: np.ndarray
    may_hold: np.ndarray
    """bool [2^16]: whether any key begins with these 16 bits; most words are told apart by it."""

    def find(self, hashes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Find the known ones: their places in `hashes`, and their strengths."""
        maybe = np.flatnonzero(self.may_hold[hashes >> np.uint64(48)])
        index = np.minimum(np.searchsorted(self.keys, hashes[maybe]), self.keys.size - 1)
        known = self.keys[index] == hashes[maybe]
        return maybe[known], self.strengths[index[known]]


def lexicon_polarity(hashed: HashedWords) -> np.ndarray:
    """Score texts from -1 (only blame) to 1 (only praise); 0 where no word is known.

    (praise - blame) / (praise + blame + `NEUTRAL_WEIGHT`), summed over words and pairs.
    """
    words, negations, pairs = _tables()
    place, strength = words.find(hashed.words)
    text = _text_of(place, hashed.starts)
    negation = np.zeros(NEGATION_SPAN + hashed.words.size, bool)
    negation[NEGATION_SPAN + negations.find(hashed.words)[0]] = True
    behind = place - hashed.starts[text]  # words of the same text that stand before it
    turned = np.zeros(place.size, bool)
    for distance in range(1, NEGATION_SPAN + 1):
        turned |= negation[NEGATION_SPAN + place - distance] & (behind >= distance)
    strength = np.where(turned, -TURNED * strength, strength)
    pair_place, pair_strength = pairs.find(pair_hashes(hashed))
    texts = np.concatenate([text, _text_of(pair_place, hashed.starts)])
    strengths = np.concatenate([strength, pair_strength])
    number = hashed.starts.size - 1
    praise = np.bincount(texts, np.maximum(strengths, 0), number)
    blame = np.bincount(texts, np.maximum(-strengths, 0), number)
    return np.asarray((praise - blame) / (praise + blame + NEUTRAL_WEIGHT))


def _text_of(places: np.ndarray, starts: np.ndarray) -> np.ndarray:
    return np.searchsorted(starts, places, side="right") - 1


@functools.cache
def _tables() -> tuple[Table, Table, Table]:
    """The words, the negations and the pairs."""
    words = [(word, strength) for strength, text in WORDS.items() for word in text.split()]
    pairs = [(pair, strength) for strength, text in PAIRS.items() for pair in text.split()]
    negations = [(word, 1.0) for word in NEGATIONS.split()]
    return _table(words), _table(negations), _table(pairs)


def _table(entries: list[tuple[str, float]]) -> Table:
    texts, strengths = zip(*entries, strict=True)
    hashed = hash_words(pl.Series(texts).str.replace("_", " "))
    paired = np.diff(hashed.starts) > 1
    first = hashed.starts[:-1]
    keys = np.where(paired, pair_hashes(hashed)[first], hashed.words[first])
    order = np.argsort(keys)
    may_hold = np.zeros(1 << 16, bool)
    may_hold[keys >> np.uint64(48)] = True
    return Table(keys[order], np.array(strengths)[order], may_hold)

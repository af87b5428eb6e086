"""What the tables hold so far, so that a source row adds only what is new.

A prompt is its messages, a completion its prompt, model and exact text; where one occurs again, the
later row adds to it. A value that a rater gave before is not stored again, nor are other words for
it; another value is, as that of RATER@FILE:LINE. So every key of the ratings stays unique, and no
value is lost.

A comparison means something only against its other side: all comparisons of a row that comes after
the first one of its prompt belong to RATER@FILE:LINE, and two rows that contradict each other can
be told apart. A row whose comparisons were all made before by the same raters repeats them.

Memory: 150 bytes a completion, a quarter of its prompt included. Equal ratings of different
completions are one object; where hardly two are rated alike, as with rewards, it is 300 to 450.
"""

import hashlib
import itertools
from collections.abc import Sequence
from typing import NamedTuple

from notus.data.columns import Columns
from notus.data.parsed import ParsedRating
from notus.data.schema import PREFERENCE

COMPARISONS = frozenset({PREFERENCE, "safer"})
"""Aspects whose values compare the completions of one row and mean nothing beyond it."""
SHARED_NAMES = 1_000
SHARED_VALUES = 100_000
"""How many raters and aspects, and values of each, are kept to be shared: others seldom recur."""

Said = tuple[tuple[object, ...], ...]
"""What a completion was given, as columns: the source's raters, aspects, values, stored raters."""


class Place(NamedTuple):
    """A source row beside the tables so far."""

    name: str
    """FILE:LINE."""
    first: bool
    """Whether its prompt was not there before."""
    compares: bool
    """Whether any of its ratings is a comparison."""
    repeats: bool
    """Whether all its comparisons were made before."""
    used: set[tuple[str, str, str]]
    """Completion, aspect and stored rater of its comparisons so far, if the prompt was known."""


class Merged(NamedTuple):
    """What a completion adds to the tables."""

    new: bool
    """Whether the completion itself was not there before."""
    ratings: Columns
    """Columns of the ratings to store, under the raters' stored names; () if there are none."""


class Known:
    """Prompts, completions and what was said about them."""

    def __init__(self) -> None:
        self._prompts: set[bytes] = set()
        self._completions: dict[bytes, Said] = {}
        self._comparisons: set[bytes] = set()
        # Raters and aspects of which no two are alike -> values -> the ratings of these values.
        self._shared: dict[Columns, dict[Columns, Said]] = {}

    def place(
        self,
        name: str,
        prompt: str,
        completions: Sequence[str],
        ratings: Sequence[Columns],
    ) -> Place:
        """Take in a prompt, and see whether its row and what the row compares are new.

        Args:
            name: FILE:LINE of the row.
            prompt: The prompt's id.
            completions: The ids of the row's completions.
            ratings: The ratings of each.
        """
        key = bytes.fromhex(prompt)
        first = key not in self._prompts
        self._prompts.add(key)
        if all(not columns or COMPARISONS.isdisjoint(columns[1]) for columns in ratings):
            return Place(name, first, compares=False, repeats=False, used=set())
        compared = [
            (completion, *rating[:3])
            for completion, columns in zip(completions, ratings, strict=True)
            for rating in zip(*columns, strict=True)
            if rating[1] in COMPARISONS
        ]
        text = "\n".join(sorted(map(repr, compared)))
        group = hashlib.blake2b(text.encode(), digest_size=16).digest()
        repeats = group in self._comparisons
        self._comparisons.add(group)
        return Place(name, first, compares=True, repeats=repeats, used=set())

    def merge(self, place: Place, completion: str, ratings: Columns) -> Merged:
        """Take in a completion and its ratings; keep what says something new."""
        key = bytes.fromhex(completion)
        said = self._completions.get(key)
        if said is None and (place.first or not place.compares):
            shared = self._shared.get(ratings[:2])
            if shared is None:
                shared = self._share(ratings[:2])
            if shared is not None:
                values = ratings[2:3]
                said = shared.get(values)
                if said is None:
                    said = (*ratings[:3], *ratings[:1])
                    if len(shared) < SHARED_VALUES:
                        shared[values] = said
                self._completions[key] = said
                return Merged(True, ratings)
        entries = [] if said is None else list(zip(*said, strict=True))
        rows = map(ParsedRating._make, zip(*ratings, strict=True))
        kept = [new for row in rows if (new := _new(place, completion, entries, row))]
        self._completions[key] = tuple(zip(*entries, strict=True))
        return Merged(said is None, tuple(zip(*kept, strict=True)))

    def _share(self, names: Columns) -> dict[Columns, Said] | None:
        """Find who shares ratings by the same raters; None if a rater rates an aspect twice."""
        if len(set(zip(*names, strict=True))) < len(names[0] if names else ()):
            return None
        shared: dict[Columns, Said] = {}
        if len(self._shared) < SHARED_NAMES:
            self._shared[names] = shared
        return shared


def _new(
    place: Place, completion: str, entries: list[tuple[object, ...]], rating: ParsedRating
) -> ParsedRating | None:
    """Name the rater of a rating that says something new; None if it was said before."""
    rater, aspect, value = rating[:3]
    compares = aspect in COMPARISONS
    if place.repeats if compares else rating[:3] in [entry[:3] for entry in entries]:
        return None
    taken = {entry[3] for entry in entries if entry[1] == aspect}
    taken |= {name for whose, what, name in place.used if (whose, what) == (completion, aspect)}
    names = itertools.chain(
        [] if compares and not place.first else [rater],
        [f"{rater}@{place.name}"],
        (f"{rater}@{place.name}#{number}" for number in itertools.count(2)),
    )
    name = next(name for name in names if name not in taken)
    if compares and not place.first:
        place.used.add((completion, aspect, name))
    else:
        entries.append((rater, aspect, value, name))
    return rating._replace(rater=name)

"""What telling repetitions costs; what it decides is tested with the tables it decides about."""

import hashlib
import tracemalloc

import pytest

from notus.data.columns import Columns
from notus.data.known import Known

PROMPTS = 2_000
RATERS, ASPECTS = ("r",) * 5, ("a", "b", "c", "d", "e")


def rated(values: tuple[float, ...]) -> Columns:
    return RATERS, ASPECTS, values, (0.0,) * 5, (9.0,) * 5, (None,) * 5


@pytest.mark.parametrize(("kind", "limit"), [("stars", 180), ("rewards", 480)])
def test_memory_of_a_completion(kind: str, limit: int) -> None:
    """Four completions a prompt, five ratings each: out of few values, or no two alike."""
    known = Known()
    tracemalloc.start()
    for number in range(PROMPTS):
        prompt = hashlib.md5(b"%d" % number).hexdigest()
        completions = [hashlib.md5(b"%d %d" % (number, i)).hexdigest() for i in range(4)]
        numbers = [
            tuple(
                number % 5 + 1.0 if kind == "stars" else number + i / 8 + a / 64 for a in range(5)
            )
            for i in range(4)
        ]
        ratings = [rated(values) for values in numbers]
        place = known.place(f"x.jsonl:{number}", prompt, completions, ratings)
        for completion, columns in zip(completions, ratings, strict=True):
            assert known.merge(place, completion, columns).new
    used = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert used / (4 * PROMPTS) < limit

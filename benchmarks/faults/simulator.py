"""A simulated UltraFeedback of any size, in the raw schema, from the published marginals.

    python benchmarks/faults/simulator.py --rows 63967 --seed 0 --out FILE.jsonl [--clean]

Row n is the same however many rows are drawn, because chunks of 512 rows have generators of their
own: a small data set is the beginning of a large one. Memory is that of a chunk; full size
(63,967 rows, 0.9 GB of JSONL) takes about half a minute.

With quirks the data set has the real one's oddities: empty answers, one-word answers that agree, a
row with one completion, zeros and an N/A where none should be, scores between half points, repeated
instructions, `Confidence: N%` tails, longer answers from better models. Without quirks it has none
of them, and the critique's score follows the ratings more closely; N/A for honesty stays, because
it is no defect.
"""

import argparse
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from faults import judgements, marginals, prose, ratings, wordings
from faults.ratings import ASPECTS, MODELS, PER_ROW, SOURCES, Drawn

CHUNK = 512
CLOSED_SHARE = 0.12
"""Of the FLAN prompts, those whose answers are one word."""
TAIL_SHARE = 0.65
"""Of the answers under verbalized calibration, those that end in their confidence."""
PRINCIPLES = tuple(marginals.PRINCIPLES)
_BANK = judgements.make_bank()
_SYSTEM_PROMPTS = {
    name: tuple(head + tail for head in heads for tail in wordings.SYSTEM_TAILS)[:11]
    for name, heads in wordings.SYSTEM_HEADS.items()
} | {"verbalized_calibration": (wordings.SYSTEM_HEADS["verbalized_calibration"][0] + ".",)}

Row = dict[str, Any]


class Chunk(NamedTuple):
    """Some rows before they are written out."""

    drawn: Drawn
    topics: prose.Topics
    instructions: list[str]
    responses: list[str]
    critiques: list[str]
    principles: np.ndarray
    """[R, 4] index in `PRINCIPLES`."""


def simulate(rows: int, *, seed: int, quirks: bool = True, first: int = 0) -> Iterator[Row]:
    """Draw rows in the raw schema of openbmb/UltraFeedback.

    Args:
        rows: How many.
        seed: Of everything.
        quirks: Whether the real data set's oddities are there.
        first: Number of the first row; the rows before it are skipped a chunk at a time.
    """
    skipped = first % CHUNK
    last = first + rows
    previous = ""
    for start in range(first - skipped, last, CHUNK):
        rng = np.random.default_rng([seed, start // CHUNK])
        chunk = _draw_chunk(rng, quirks=quirks)
        for number, row in enumerate(_write_rows(rng, chunk, start), start=start):
            if quirks:
                _spoil(row, number, previous, rng)
                previous = row["instruction"]
            if first <= number < last:
                yield row


def write(path: Path, rows: Iterator[Row]) -> int:
    """Write rows as JSONL; return how many."""
    count = 0
    with path.open("wb") as file:
        for row in rows:
            file.write(msgspec.json.encode(row) + b"\n")
            count += 1
    return count


def _draw_chunk(rng: np.random.Generator, *, quirks: bool) -> Chunk:
    drawn = ratings.draw(rng, CHUNK, quirks=quirks)
    topics = prose.draw_topics(rng, CHUNK)
    rows = np.arange(CHUNK)
    owners = np.repeat(rows, PER_ROW)
    wanted = np.array([marginals.INSTRUCTION_CHARACTERS[name] for name in SOURCES])
    lengths = prose.draw_lengths(rng, wanted[drawn.sources], sigma=0.9, least=4, most=1500)
    bodies = prose.draw_texts(rng, topics, rows, lengths)
    answers = np.array([marginals.RESPONSE_CHARACTERS[name] for name in SOURCES])
    medians = answers[drawn.sources][owners].astype(float)
    if quirks:
        medians *= np.exp(0.12 * drawn.quality.ravel())
    words = prose.draw_lengths(rng, medians, sigma=0.75, least=12, most=1200)
    responses = prose.draw_texts(rng, topics, owners, words)
    principles = rng.choice(
        len(PRINCIPLES), size=(CHUNK, PER_ROW), p=ratings.shares(marginals.PRINCIPLES)
    )
    if quirks:
        responses = _closed(rng, drawn, responses)
        responses = _with_confidence(rng, drawn, principles, responses)
    written = judgements.critiques(rng, _BANK, topics, owners, drawn.overall.ravel())
    openers = rng.integers(len(wordings.OPENERS), size=CHUNK).tolist()
    instructions = [
        wordings.OPENERS[opener].format(t=topics.words(row, 0), u=topics.words(row, 1))
        + ("" if len(body) < 60 else f" {body}")
        for row, (opener, body) in enumerate(zip(openers, bodies, strict=True))
    ]
    return Chunk(drawn, topics, instructions, responses, written, principles)


def _closed(rng: np.random.Generator, drawn: Drawn, responses: list[str]) -> list[str]:
    """Answer some FLAN prompts in a word."""
    flan = np.array([name.startswith("flan") for name in SOURCES])
    closed = flan[drawn.sources] & (rng.random(CHUNK) < CLOSED_SHARE)
    picks = rng.integers(4, size=len(responses)) + np.repeat(
        rng.integers(3, size=CHUNK) * 4, PER_ROW
    )
    return [
        wordings.CLOSED[pick] if short else text
        for text, short, pick in zip(
            responses, np.repeat(closed, PER_ROW).tolist(), picks.tolist(), strict=True
        )
    ]


def _with_confidence(
    rng: np.random.Generator, drawn: Drawn, principles: np.ndarray, responses: list[str]
) -> list[str]:
    """Leave the confidence that a hidden system prompt asked for; good answers obey more often."""
    asked = principles.ravel() == PRINCIPLES.index("verbalized_calibration")
    obeyed = rng.random(len(responses)) < TAIL_SHARE + 0.2 * np.tanh(drawn.quality.ravel())
    sure = rng.integers(10, 21, size=len(responses)) * 5
    return [
        f"{text}\n\nConfidence: {per_cent}%" if tail else text
        for text, tail, per_cent in zip(
            responses, (asked & obeyed).tolist(), sure.tolist(), strict=True
        )
    ]


def _write_rows(rng: np.random.Generator, chunk: Chunk, start: int) -> Iterator[Row]:
    """Bring drawn numbers and texts into rows; completions stand in an order of their own."""
    order = rng.permuted(np.tile(np.arange(PER_ROW), (CHUNK, 1)), axis=1).tolist()
    picks = rng.integers(1 << 20, size=(CHUNK, PER_ROW, len(ASPECTS) + 2)).tolist()
    aspects, overall = chunk.drawn.aspects.tolist(), chunk.drawn.overall.tolist()
    for row in range(CHUNK):
        models = [MODELS[model] for model in chunk.drawn.models[row]]
        source = SOURCES[chunk.drawn.sources[row]]
        completions = []
        for own in order[row]:
            at = row * PER_ROW + own
            numbers = [value for value in aspects[row][own] if value == value]
            completions.append(
                {
                    "model": models[own],
                    **_principle(int(chunk.principles[row, own]), picks[row][own][-1]),
                    "response": chunk.responses[at],
                    "critique": chunk.critiques[at],
                    "overall_score": overall[row][own],
                    "fine-grained_score": round(sum(numbers) / len(numbers), 4),
                    "annotations": _annotations(aspects[row][own], picks[row][own], chunk, row),
                }
            )
        known = source == "truthful_qa"
        words = [chunk.topics.words(row, rank) for rank in range(4)]
        yield {
            "source": source,
            "instruction": chunk.instructions[row],
            "models": models,
            "completions": completions,
            "correct_answers": [f"It is {words[0]} with {words[1]}."] if known else ["None"],
            "incorrect_answers": [f"It is {words[2]} or {words[3]}."] if known else ["None"],
        }


def _principle(number: int, pick: int) -> dict[str, str]:
    name = PRINCIPLES[number]
    prompts = _SYSTEM_PROMPTS[name]
    return {"principle": name, "custom_system_prompt": prompts[pick % len(prompts)]}


def _annotations(values: list[float], picks: list[int], chunk: Chunk, row: int) -> Row:
    annotations: Row = {}
    for aspect, value, pick in zip(ASPECTS, values, picks, strict=False):
        word = chunk.topics.words(row, pick >> 12)
        entry: Row = {
            "Rating": str(int(value)) if value == value else "N/A",
            "Rationale": judgements.rationale(_BANK, aspect, value, pick, word),
        }
        if aspect in ("truthfulness", "helpfulness"):
            entry["Type"] = [str(1 + pick % 3)] if value < 5 else ["None"]
            entry["Rationale For Rating"] = judgements.reason(_BANK, pick >> 4, word)
        annotations[aspect] = entry
    return annotations


def _spoil(row: Row, number: int, previous: str, rng: np.random.Generator) -> None:
    """Give a row the oddities of the real set, at their real rates.

    Rates under one in a thousand are kept by counting, so that full size has them exactly.
    """
    place = number % marginals.ROWS
    completions = row["completions"]
    if place % 1640 == 1639:
        row["instruction"] = previous
    if place == 4242:
        del completions[1:]
        return
    following = completions[0]["annotations"]["instruction_following"]
    if place in (10_007, 20_011, 30_011):
        following["Rating"] = "0"
    if place == 40_009:
        following["Rating"] = "N/A"
    if place % 253 == 100:
        completions[2]["response"] = ""
    for completion in completions:
        if completion["overall_score"] in (7.5, 8.0, 8.5) and rng.random() < 2e-4:
            completion["overall_score"] += 0.25


def main() -> None:
    """Write a simulated data set."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rows", type=int, default=marginals.ROWS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True, help="JSONL to write")
    parser.add_argument("--clean", action="store_true", help="without the real set's oddities")
    options = parser.parse_args()
    began = time.perf_counter()
    count = write(options.out, simulate(options.rows, seed=options.seed, quirks=not options.clean))
    seconds = time.perf_counter() - began
    print(f"{count} rows, {options.out.stat().st_size / 1e6:.0f} MB, {seconds:.1f} s")


if __name__ == "__main__":
    main()

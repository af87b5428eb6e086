"""The work of the speed comparison done by notus, and beside it every other cheap rule."""

import gc
from collections.abc import Mapping
from pathlib import Path

import polars as pl
from speed.answers import Answer, Stopwatch, digest

from notus.audit.pairs import agreement_of_choices
from notus.audit.rules import RULES
from notus.audit.texts import text_keys
from notus.audit.verdict import Subject, Verdict
from notus.binarize import binarize
from notus.data.files.streams import read_batches
from notus.data.schema import Feedback
from notus.data.sources import ingest
from notus.specifications import specification
from notus.store import read_feedback

COMPARED = ("score_conflict", "scale", "arity", "identical", "tie", "flip")
"""Rules that the other contenders have, too."""
DEAR = (
    *("near_dup", "contamination", "confident", "collapse"),
    *("alignment", "critique_conflict", "prompt_leak"),
)
"""Rules that read every word, compare all texts with each other, fit a model, or need a tokenizer;
their times are in faults_DATE.md."""


def work(source: Path, folder: Path, clock: Stopwatch, *, others: bool = True) -> Answer:
    """Do the work; `others` also times the other cheap rules.

    Reading is what `read_batches` alone takes: lines of bytes to JSON values, of which a batch is
    in memory at a time; as in ingest, without the garbage collector, so that not too much is taken
    off.
    """
    gc.disable()
    with clock("read"):
        for _ in read_batches(source):
            pass
    gc.enable()
    with clock("ingest"):
        facts = ingest(source, folder / "feedback", max_refused=1.0).manifest.facts
    # Ingest reads the file itself, once more.
    clock.seconds["ingest"] -= clock.seconds["read"]
    feedback = read_feedback(folder / "feedback")
    with clock("binarize"):
        keys = text_keys(feedback.completions)
        made = {
            name: binarize(feedback, specification(name), keys=keys).preferences
            for name in ("argilla-v1", "h4-v2")
        }
    subject = _subject(feedback, made, "argilla-v1", keys)
    # Ties are none in argilla-v1, so they are looked for in the other one.
    subjects = dict.fromkeys(RULES, subject) | {"tie": _subject(feedback, made, "h4-v2", keys)}
    verdicts = {}
    for name in COMPARED:
        with clock("audit"):
            verdicts[name] = RULES[name](subjects[name])
    for name in RULES if others else ():
        if name not in COMPARED and name not in DEAR:
            with clock(f"rule {name}"):
                RULES[name](subjects[name])
    return _answer(facts, feedback, made, verdicts)


def _subject(
    feedback: Feedback, made: Mapping[str, pl.DataFrame], main: str, keys: pl.DataFrame
) -> Subject:
    return Subject(feedback=feedback, preferences=made[main], strategies=made, keys=keys)


def _answer(
    facts: Mapping[str, object],
    feedback: Feedback,
    made: Mapping[str, pl.DataFrame],
    verdicts: Mapping[str, Verdict],
) -> Answer:
    both = agreement_of_choices(made["argilla-v1"], made["h4-v2"], feedback.completions)
    return {
        **{name: facts[name] for name in ("prompts", "completions", "ratings")},
        **{
            name: digest(
                completion or prompt
                for prompt, completion in verdicts[name]
                .issues.select("prompt_id", "completion_id")
                .iter_rows()
            )
            for name in ("score_conflict", "scale", "arity", "identical")
        },
        "ties": made["h4-v2"].filter(pl.col("margin") == 0).height,
        "flips": None if both is None else [both.n, both.differ],
        **{
            name: digest(
                f"{chosen}{rejected}"
                for chosen, rejected in table.select("chosen_id", "rejected_id").iter_rows()
            )
            for name, table in made.items()
        },
    }

"""Stages of AI feedback: write prompts, generate completions, rate them."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import polars as pl

from notus.data.prompts import read_prompts
from notus.data.schema import COMPLETIONS, PROMPTS, RATINGS
from notus.feedback.families import FAMILIES, make_prompts
from notus.feedback.topics import Split
from notus.names import model_digest, short_name
from notus.settings import GenerateSection
from notus.stages.files import write_lines
from notus.store import StageResult, read_feedback, read_table, run_stage, write_table

Bar = Callable[[int, int], None]


def write_prompts(
    out: Path,
    *,
    split: Split,
    per_family: int,
    seed: int,
    per_unseen: int | None = None,
    families: Sequence[str] | None = None,
) -> dict[str, object]:
    """Write verifiable prompts (see `make_prompts`) as JSONL: messages, source, metadata."""
    made = make_prompts(split, per_family, seed, per_unseen=per_unseen, families=families)
    lines: list[dict[str, object]] = [
        {
            "messages": prompt.messages,
            "source": prompt.family,
            "metadata": {**prompt.metadata, "seen": not FAMILIES[prompt.family].unseen},
        }
        for prompt in made
    ]
    write_lines(out, lines)
    return {"prompts": len(made), "families": len({prompt.family for prompt in made})}


def generate(
    prompts: Path,
    out: Path,
    *,
    model: str,
    settings: GenerateSection,
    progress: Bar | None = None,
) -> StageResult:
    """Sample completions for prompts (a JSONL file or a Feedback directory); ratings stay empty."""

    def build(directory: Path) -> Mapping[str, object]:
        from notus.feedback.generate import generate_completions
        from notus.models import load

        table = (
            read_table(prompts, "prompts").collect() if prompts.is_dir() else read_prompts(prompts)
        )
        write_table(directory, PROMPTS, table)
        write_table(directory, RATINGS, pl.DataFrame(schema=RATINGS.schema))
        loaded = load(model)
        label = short_name(model)
        facts = generate_completions(
            table, loaded, settings, directory, model_name=label, progress=progress
        )
        return {"prompts": table.height, **facts}

    return run_stage(
        out,
        stage="generate",
        config={"model": short_name(model), **settings.model_dump(mode="json")},
        inputs={"prompts": prompts, "model": model_digest(model)},
        build=build,
        resumable=True,
        determinism="machine",
    )


def rate(feedback: Path, out: Path, *, rater: str) -> StageResult:
    """Add a rater's ratings to a new Feedback directory."""

    def build(directory: Path) -> Mapping[str, object]:
        from notus.feedback.rate import rate_completions

        tables = read_feedback(feedback)
        ratings = rate_completions(tables, rater)
        kept = tables.ratings.filter(pl.col("rater") != rater).collect()
        write_table(directory, PROMPTS, tables.prompts.collect())
        write_table(directory, COMPLETIONS, tables.completions.collect())
        write_table(directory, RATINGS, pl.concat([kept, ratings]))
        return {"ratings": ratings.height, "kept": kept.height, "rater": rater}

    return run_stage(
        out, stage="rate", config={"rater": rater}, inputs={"feedback": feedback}, build=build
    )

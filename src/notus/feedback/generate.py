"""The stage that samples completions: K answers a prompt from one local model.

Every completion has its own sampler - a temperature, and a system prompt (a principle) when one is
given - and carries the sampler's name as its model, so that ratings can later be split by it. A
principle is written to the completion's metadata and never to the prompt: it was not asked for.

Finished batches of prompts are written as shards, so a killed run goes on where it stopped.
"""

import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from notus.data.schema import COMPLETIONS, Message, completion_id
from notus.errors import DataError, explain
from notus.generation import generate as sample
from notus.models import Model
from notus.settings import GenerateSection
from notus.store import write_table

PROMPTS_PER_SHARD = 256


@dataclass(frozen=True, kw_only=True)
class Sampler:
    """How one completion of every prompt is drawn."""

    name: str
    """Stands as the completion's model."""
    temperature: float
    principle: str | None


def samplers(model_name: str, settings: GenerateSection) -> list[Sampler]:
    """Name one sampler a temperature, with the principles cycled over them.

    Raises:
        DataError: Two samplers would have the same name, so their answers could not be told apart.
    """
    found = []
    for i, temperature in enumerate(settings.temperatures):
        principle = settings.principles[i % len(settings.principles)]
        suffix = "" if principle is None else f"-p{i % len(settings.principles)}"
        found.append(
            Sampler(
                name=f"{model_name}-t{temperature:g}{suffix}",
                temperature=temperature,
                principle=principle,
            )
        )
    names = [sampler.name for sampler in found]
    if len(set(names)) < len(names):
        raise DataError(
            explain(
                found=f"samplers {names}",
                expected="different temperatures or principles",
                where="settings temperatures and principles of generate",
                remedy="change one of the equal temperatures, for example 1.0 to 1.01",
            )
        )
    return found


def generate_completions(
    prompts: pl.DataFrame,
    model: Model,
    settings: GenerateSection,
    directory: Path,
    *,
    model_name: str,
    progress: Callable[[int, int], None] | None = None,
) -> Mapping[str, object]:
    """Sample one completion for every prompt and sampler; write completions.parquet.

    Args:
        prompts: A prompts table.
        model: The model to sample from.
        settings: Temperatures, principles, lengths and seed.
        directory: A stage's directory; shards of an earlier, killed run in it are kept.
        model_name: Prefix of the samplers' names.
        progress: Called with (completions so far, completions in all).

    Returns:
        Counts: completions, empty answers, unfinished answers.
    """
    chosen = samplers(model_name, settings)
    shards = directory / "shards"
    shards.mkdir(exist_ok=True)
    total, done = prompts.height * len(chosen), 0

    def report(count: int) -> None:
        if progress is not None:
            progress(count, total)

    for number, chunk in enumerate(prompts.iter_slices(PROMPTS_PER_SHARD)):
        shard = shards / f"{number:05d}"
        if not (shard / "completions.parquet").is_file():
            rows = _answer(chunk, model, chosen, settings, report, before=done)
            unfinished = shard.with_suffix(".partial")
            unfinished.mkdir(exist_ok=True)
            write_table(unfinished, COMPLETIONS, rows)
            unfinished.rename(shard)
        done += chunk.height * len(chosen)
        report(done)
    parts = [pl.read_parquet(path) for path in sorted(shards.glob("[0-9]*/*.parquet"))]
    completions = pl.concat(parts).unique(subset="completion_id", keep="first", maintain_order=True)
    empty = completions.filter(pl.col("text").str.strip_chars() == "").height
    write_table(directory, COMPLETIONS, completions.filter(pl.col("text").str.strip_chars() != ""))
    shutil.rmtree(shards)
    cut = completions["metadata"].str.json_path_match("$.finished").eq("false").sum()
    return {
        "completions": completions.height - empty,
        "duplicates": total - completions.height,
        "empty": empty,
        "unfinished": int(cut),
    }


def _answer(
    prompts: pl.DataFrame,
    model: Model,
    chosen: Sequence[Sampler],
    settings: GenerateSection,
    report: Callable[[int], None],
    *,
    before: int,
) -> pl.DataFrame:
    """Sample one chunk: all samplers of a prompt side by side, in the samplers' order.

    `report` is told how many completions there are, `before` of them from earlier chunks.
    """
    rows: dict[tuple[int, int], dict[str, object]] = {}
    for k, sampler in enumerate(chosen):

        def advance(done: int, _: int, start: int = before + k * prompts.height) -> None:
            report(start + done)

        answers = sample(
            model,
            [list(_with_principle(m, sampler.principle)) for m in prompts["messages"].to_list()],
            max_new_tokens=settings.max_new_tokens,
            temperature=sampler.temperature,
            seed=settings.seed * 101 + k,
            batch_tokens=settings.batch_tokens,
            progress=advance,
        )
        for i, (pid, answer) in enumerate(zip(prompts["prompt_id"], answers, strict=True)):
            metadata = {
                "temperature": sampler.temperature,
                "custom_system_prompt": sampler.principle,
                "finished": answer.finished,
                "num_tokens": answer.num_tokens,
            }
            rows[i, k] = {
                "completion_id": completion_id(pid, sampler.name, answer.text),
                "prompt_id": pid,
                "model": sampler.name,
                "text": answer.text,
                "metadata": json.dumps(metadata, sort_keys=True),
            }
    return pl.DataFrame([rows[key] for key in sorted(rows)], schema=COMPLETIONS.schema)


def _with_principle(messages: Sequence[Message], principle: str | None) -> Iterator[Message]:
    if principle is not None:
        yield {"role": "system", "content": principle}
    yield from messages

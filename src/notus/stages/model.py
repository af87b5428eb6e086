"""Stages of the model half: base, train, answers, compare.

torch and transformers are imported inside the functions, so that a reused stage costs nothing.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import polars as pl

from notus.data.schema import Feedback
from notus.names import model_digest, short_name
from notus.processes import give
from notus.recipe import EvaluateSection, Recipe
from notus.stages.files import write_json
from notus.store import StageResult, read_feedback, read_table, run_stage, write_frame

if TYPE_CHECKING:
    from notus.training.preflight import Preflight


class Given(NamedTuple):
    """Directories of preferences that a recipe holds out as a file of their own."""

    feedback: Path
    preferences: Path

    @property
    def inputs(self) -> dict[str, Path]:
        """Inputs of a stage that reads them."""
        return {f"heldout {name}": path for name, path in self._asdict().items()}


@dataclass(frozen=True, kw_only=True)
class Heldout:
    """Where the preferences are that no model was trained on, and how they were encoded."""

    feedback: Path
    preferences: Path
    training: Path
    """A finished training's directory; its split.parquet says which are held out."""
    max_length: int
    max_prompt_length: int

    @property
    def inputs(self) -> dict[str, Path | str]:
        """Inputs of a stage that reads them."""
        split = self.training / "split.parquet"
        return {"feedback": self.feedback, "preferences": self.preferences, "split": split}

    def read(self) -> tuple[pl.DataFrame, Feedback]:
        """Read the held-out preferences and the feedback that they point into."""
        split = pl.scan_parquet(self.training / "split.parquet")
        kept = read_table(self.preferences, "preferences").join(
            split.filter(pl.col("split") == "heldout"), on="preference_id", how="semi"
        )
        return kept.collect(), read_feedback(self.feedback)


def base(
    model: str, out: Path, *, trust_remote_code: bool = False, chat_template: Path | None = None
) -> StageResult:
    """Write the base model as safetensors, whatever form it came in.

    Args:
        model: A folder, `package:NAME` or a hub id.
        out: Directory to write.
        trust_remote_code: Run Python code that ships with the model.
        chat_template: Jinja file that takes the place of the tokenizer's own chat template.
    """

    def build(directory: Path) -> Mapping[str, object]:
        from notus.models import load, save

        template = None if chat_template is None else chat_template.read_text(encoding="utf-8")
        loaded = load(model, trust_remote_code=trust_remote_code, chat_template=template)
        save(loaded.model, loaded.tokenizer, directory)
        parameters = sum(p.numel() for p in loaded.model.parameters())
        return {"model": short_name(model), "parameters": parameters, "window": loaded.window}

    return run_stage(
        out,
        stage="base",
        config={"model": short_name(model)},
        inputs={"model": model_digest(model)}
        | ({} if chat_template is None else {"chat_template": chat_template}),
        build=build,
    )


def train(
    recipe: Recipe,
    *,
    feedback: Path,
    preferences: Path,
    base: Path,
    out: Path,
    reference: Path,
    heldout: Given | None = None,
    progress: Callable[[str, int, int], None] | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> StageResult:
    """Train on preferences: model/, metrics.jsonl, split.parquet, dropped.parquet.

    Processes that were started together train together: this one, the first, tells the others.
    """

    def build(directory: Path) -> Mapping[str, object]:
        places = {
            "preferences": preferences,
            "feedback": feedback,
            "base": base,
            "directory": directory,
            "reference": reference,
        }
        if heldout is not None:
            places |= heldout.inputs
        task = {name: str(path.absolute()) for name, path in places.items()}
        task["recipe"] = recipe.model_dump_json()
        give(task)
        return take_part(task, progress, say)

    inputs = {"feedback": feedback, "preferences": preferences, "base": base}
    return run_stage(
        out,
        stage="train",
        config=_training_config(recipe),
        inputs={**inputs, **(heldout.inputs if heldout else {})},
        build=build,
        resumable=True,
        determinism="machine",
    )


def take_part(
    task: Mapping[str, str],
    progress: Callable[[str, int, int], None] | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> Mapping[str, object]:
    """Do one process's part of the training that the first process has described."""
    from notus.training.fit import fit
    from notus.training.prepare import read_tables

    path = {name: Path(value) for name, value in task.items() if name != "recipe"}
    heldout = [path[name] for name in ("heldout feedback", "heldout preferences") if name in path]
    return fit(
        Recipe.model_validate_json(task["recipe"]),
        read_table(path["preferences"], "preferences").collect(),
        read_feedback(path["feedback"]),
        path["base"],
        path["directory"],
        reference_root=path["reference"],
        heldout=None if not heldout else read_tables(*heldout),
        progress=progress,
        say=say,
    )


def _training_config(recipe: Recipe) -> dict[str, object]:
    read = {"max_length", "max_prompt_length", "holdout", "max_pairs"}
    data = recipe.data.model_dump(mode="json", include=read)
    # What is accepted decides whether a training begins, not what comes of it.
    settings = recipe.train.model_dump(mode="json", exclude={"accept_findings"})
    monitor = recipe.monitor.model_dump(mode="json")
    return {"seed": recipe.seed, "data": data, "train": settings, "monitor": monitor}


def preflight(
    recipe: Recipe,
    *,
    feedback: Path,
    preferences: Path,
    base: Path,
    out: Path,
    reference: Path,
    heldout: Given | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> "Preflight":
    """Check what `train` would begin with; nothing is written."""
    from notus.training.preflight import preflight as check
    from notus.training.prepare import prepare, read_tables

    pairs, texts = read_tables(feedback, preferences)
    given = None if heldout is None else read_tables(*heldout)
    prepared = prepare(
        recipe, pairs, texts, base, directory=out, reference_root=reference, heldout=given
    )
    return check(prepared, progress=progress)


def answers(
    recipe: EvaluateSection,
    out: Path,
    *,
    model: Path | str,
    label: str,
    seed: int,
    heldout: Heldout | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> StageResult:
    """Let one model answer verifiable prompts and score held-out preferences.

    Writes samples.parquet, logps.parquet and summary.json.
    """

    def build(directory: Path) -> Mapping[str, object]:
        from notus.evaluation.measure import measure
        from notus.evaluation.results import summarize

        samples, logps = measure(
            recipe, str(model), label, heldout=heldout, seed=seed, progress=progress
        )
        write_frame(directory / "samples.parquet", samples)
        write_frame(directory / "logps.parquet", logps)
        summary = [result.model_dump() for result in summarize(samples)]
        write_json(directory / "summary.json", summary)
        return {"samples": samples.height, "heldout": logps.height, "results": summary}

    inputs: dict[str, Path | str] = {"model": model_digest(str(model))}
    if heldout is not None:
        inputs |= heldout.inputs
    if recipe.prompts is not None:
        inputs["prompts"] = recipe.prompts
    config = recipe.model_dump(mode="json", exclude={"prompts", "resamples"})
    return run_stage(
        out,
        stage="answers",
        config={"seed": seed, "label": label, **config},
        inputs=inputs,
        build=build,
        determinism="machine",
    )


def compare(recipe: Recipe, *, base: Path, tuned: Path, out: Path) -> StageResult:
    """Compare two sets of answers, paired: results.json and samples.parquet."""

    def build(directory: Path) -> Mapping[str, object]:
        from notus.evaluation.preferences import rank
        from notus.evaluation.results import Comparison, compare_pairs, compare_samples

        samples = pl.concat([pl.read_parquet(d / "samples.parquet") for d in (base, tuned)])
        logps = pl.concat([pl.read_parquet(d / "logps.parquet") for d in (base, tuned)])
        settings = {"seed": recipe.seed, "resamples": recipe.evaluate.resamples}
        parts = [compare_samples(samples, **settings), compare_pairs(rank(logps), **settings)]
        everything = Comparison(
            results=[r for part in parts for r in part.results],
            paired=[p for part in parts for p in part.paired],
        )
        write_frame(directory / "samples.parquet", samples)
        write_frame(directory / "pairs.parquet", rank(logps))
        evaluate = recipe.evaluate.model_dump(mode="json", exclude={"prompts"})
        content: dict[str, object] = dict(everything.as_dict())
        content["settings"] = {"seed": recipe.seed, **evaluate}
        write_json(directory / "results.json", content)
        return {"paired": len(everything.paired)}

    config = {"seed": recipe.seed, "resamples": recipe.evaluate.resamples}
    inputs = {"base": base, "tuned": tuned}
    return run_stage(out, stage="evaluate", config=config, inputs=inputs, build=build)

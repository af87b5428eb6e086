"""`notus run RECIPE`: every stage from raw feedback to a model card, each reused if it fits.

ingest -> audit -> binarize -> base -> train -> answers (base, tuned) -> evaluate -> report, card
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from notus.console import Talk
from notus.data.prompts import read_prompts
from notus.data.sources import ingest
from notus.errors import DataError, explain
from notus.recipe import Recipe
from notus.settings import AuditSection
from notus.stages import model as model_stages
from notus.stages.audit import audit
from notus.stages.binarize import preferences as make_preferences
from notus.store import StageResult

if TYPE_CHECKING:
    from notus.training.preflight import Preflight


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """What a run left behind."""

    directory: Path
    report: Path
    card: Path
    stages: dict[str, bool]
    """Stage -> whether it was reused."""

    def as_dict(self) -> dict[str, object]:
        """Plain values, for JSON."""
        paths = {"directory": self.directory, "report": self.report, "card": self.card}
        return {**{name: str(path) for name, path in paths.items()}, "reused": self.stages}


class Steps:
    """Runs stages one after another, says what happens, and remembers which were reused."""

    def __init__(self, talk: Talk) -> None:
        self.talk = talk
        self.reused: dict[str, bool] = {}

    def __call__(self, name: str, build: Callable[[], StageResult]) -> Path:
        """Run one stage; return its directory."""
        self.talk.say(f"{name} ...")
        result = build()
        self.reused[name] = result.reused
        seconds = result.manifest.wall_seconds
        note = "reused, nothing to do" if result.reused else f"done in {seconds:.1f} s"
        self.talk.say(f"{name}: {note}")
        return result.directory


def run(recipe: Recipe, out: Path, *, talk: Talk, until: str = "card") -> RunResult:
    """Run a whole recipe; a second run reuses every finished stage and says so.

    Args:
        recipe: The resolved recipe.
        out: The run's directory.
        talk: Where a person sees what happens.
        until: "card" for everything; "train" leaves the evaluation out, and a later run goes on.
    """
    from notus.card import write_card
    from notus.report import write_report

    check_files(recipe)
    out.mkdir(parents=True, exist_ok=True)
    write_recipe(recipe, out)
    step = Steps(talk)
    feedback, preferences = _data_half(recipe, out, step)
    given = _held_out(recipe, out, step)
    base = step("base", lambda: _base(recipe, out))
    training = step("train", lambda: train(recipe, out, feedback, preferences, base, talk, given))
    if until == "card":
        measured = given or model_stages.Given(feedback, preferences)
        evaluate(recipe, out, *measured, base, training, step=step)
    report, card = write_report(out), write_card(out)
    talk.say(f"report: {report}\ncard:   {card}")
    return RunResult(directory=out, report=report, card=card, stages=step.reused)


def preflight(recipe: Recipe, out: Path, *, talk: Talk) -> "Preflight":
    """Check a recipe's training before it begins; the stages before it are run, and kept."""
    check_files(recipe)
    out.mkdir(parents=True, exist_ok=True)
    step = Steps(talk)
    feedback, preferences = _data_half(recipe, out, step, audited=False)
    given = _held_out(recipe, out, step)
    base = step("base", lambda: _base(recipe, out))
    talk.say("preflight ...")
    return model_stages.preflight(
        recipe,
        feedback=feedback,
        preferences=preferences,
        base=base,
        out=out,
        reference=reference_root(out),
        heldout=given,
        progress=talk.advance,
    )


def reference_root(out: Path) -> Path:
    """Where the reference log-probs of a run are: beside it, shared by all runs in its folder.

    They are keyed by all that decides them, so that runs of any data and model may share a place.
    """
    return out.absolute().parent / ".reference"


def train(
    recipe: Recipe,
    out: Path,
    feedback: Path,
    preferences: Path,
    base: Path,
    talk: Talk,
    given: model_stages.Given | None,
) -> StageResult:
    """Train on binarized preferences inside a run's directory."""
    return model_stages.train(
        recipe,
        feedback=feedback,
        preferences=preferences,
        base=base,
        out=out / "training",
        reference=reference_root(out),
        heldout=given,
        progress=talk.advance,
        say=talk.say,
    )


def evaluate(
    recipe: Recipe,
    out: Path,
    feedback: Path,
    preferences: Path,
    base: Path,
    training: Path,
    *,
    step: Steps,
) -> Path:
    """Measure base and tuned on the same items, held-out preferences among them, and compare."""
    heldout = model_stages.Heldout(
        feedback=feedback,
        preferences=preferences,
        training=training,
        max_length=recipe.data.max_length,
        max_prompt_length=recipe.data.max_prompt_length,
    )

    def answers(label: str, model: Path) -> Path:
        return step(
            f"answers of {label}",
            lambda: model_stages.answers(
                recipe.evaluate,
                out / f"answers-{label}",
                model=model,
                label=label,
                seed=recipe.seed,
                heldout=heldout,
                progress=step.talk.advance,
            ),
        )

    measured = {"base": answers("base", base), "tuned": answers("tuned", training / "model")}
    return step(
        "evaluate", lambda: model_stages.compare(recipe, out=out / "evaluation", **measured)
    )


def check_files(recipe: Recipe) -> None:
    """See before the first stage that the last ones will find their files.

    Raises:
        DataError: The evaluation's prompts cannot be read, or a file that the recipe names is not
            there. The source is the first thing that is read anyhow.
        RecipeError: It accepts findings of a check that does not exist.
    """
    if recipe.evaluate.prompts is not None:
        read_prompts(recipe.evaluate.prompts)
    if recipe.train.accept_findings:
        from notus.training.preflight import known_checks

        known_checks(recipe)
    named = {
        "data.planted": (recipe.data.planted, "JSONL of completions known to be rated wrong"),
        "model.chat_template": (recipe.model.chat_template, "a chat template in Jinja"),
    }
    for key, (path, expected) in named.items():
        if path is not None and not path.is_file():
            raise DataError(
                explain(
                    found=f"no file {path.name!r}",
                    expected=f"{expected}, or null",
                    where=f"{key}: {path}",
                    remedy=f"check the path, or --set {key}=null",
                )
            )


def write_recipe(recipe: Recipe, out: Path) -> None:
    """Write the resolved recipe beside the results: enough to run it again."""
    text = yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
    (out / "recipe.yaml").write_text(text, encoding="utf-8")


def _data_half(
    recipe: Recipe, out: Path, step: Steps, *, audited: bool = True
) -> tuple[Path, Path]:
    """Feedback and preferences; with a second specification also an audit of both."""
    data, settings = recipe.data, recipe.binarize
    feedback = step(
        "ingest",
        lambda: ingest(
            str(data.source),
            out / "feedback",
            format=data.format,
            map=data.map,
            max_refused=data.max_refused,
            progress=step.talk.bar("ingest"),
        ),
    )
    if settings.compare is not None and audited:
        chosen = AuditSection(
            strategies=[settings.strategy, settings.compare], planted=data.planted
        )
        step(
            "audit",
            lambda: audit(feedback, out / "audit", chosen, progress=step.talk.bar("audit")),
        )
    preferences = step(
        "binarize",
        lambda: make_preferences(recipe, feedback, out / "preferences", **dict(settings)),
    )
    return feedback, preferences


def _held_out(recipe: Recipe, out: Path, step: Steps) -> model_stages.Given | None:
    """Feedback and preferences of `data.heldout`, as its rows state them."""
    data, folder = recipe.data, out / "heldout"
    if data.heldout is None:
        return None
    source = str(data.heldout)
    feedback = step(
        "ingest of held-out pairs",
        lambda: ingest(
            source,
            folder / "feedback",
            max_refused=data.max_refused,
            progress=step.talk.bar("ingest"),
        ),
    )
    preferences = step(
        "held-out pairs",
        lambda: make_preferences(recipe, feedback, folder / "preferences", strategy="given"),
    )
    return model_stages.Given(feedback, preferences)


def _base(recipe: Recipe, out: Path) -> StageResult:
    model = recipe.model
    return model_stages.base(
        model.base,
        out / "base",
        trust_remote_code=model.trust_remote_code,
        chat_template=model.chat_template,
    )

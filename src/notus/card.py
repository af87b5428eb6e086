"""The model card of a run: what the model is, from which rows, by which settings, how well it does.

The front matter is built with huggingface_hub's own classes, so the hub reads it. They merge two
results of one data set silently unless its config differs (`EvalResult.unique_identifier` leaves
the data set's arguments out), so mode and family are in the config here. Values from data are
escaped for Markdown; no path of the machine is named.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCardData
from jinja2 import Environment, PackageLoader, StrictUndefined

from notus.directories import write_atomically
from notus.manifest import Manifest
from notus.markdown import escape_code, escape_text
from notus.results import Paired, Result
from notus.run_facts import RunFacts, read_run
from notus.store import read_manifest
from notus.words import FILTERS, headline, held_out, method, p_value, percent, points

PACKAGES = ("notus", "torch", "transformers", "peft", "polars", "python")
METRICS = {
    "pass_rate": "pass rate",
    "reward_accuracy": "reward accuracy",
    "logp_accuracy": "log-probability accuracy",
}
USAGE = """\
from transformers import AutoModelForCausalLM, AutoTokenizer

path = "training/model"  # or the name under which the model was published
tokenizer = AutoTokenizer.from_pretrained(path)
model = AutoModelForCausalLM.from_pretrained(path)

messages = [{"role": "user", "content": "List three rivers, one a line."}]
inputs = tokenizer.apply_chat_template(
    messages, add_generation_prompt=True, return_dict=True, return_tensors="pt"
)
output = model.generate(**inputs, max_new_tokens=64, do_sample=False)
answer = output[0, inputs["input_ids"].shape[1] :]
print(tokenizer.decode(answer, skip_special_tokens=True))
"""


def write_card(run: Path) -> Path:
    """Write RUN/MODEL_CARD.md from what the run directory holds.

    The recipe's `model.hub_id`, `model.license` and `model.language`, where given, go into the
    front matter; nothing is guessed.

    Args:
        run: The directory that `notus run` or `notus train` wrote.

    Returns:
        The card's path. An older card is replaced at once, never half.

    Raises:
        IncompleteError: The directory is no run, one of its stages did not finish, or it has no
            training.
    """
    facts = read_run(run)
    training = read_manifest(run / "training", "train")
    template = _environment(facts).get_template("MODEL_CARD.md.j2")
    text = template.render(run=facts, usage=USAGE.strip(), **_made(facts, training), **_rows(facts))
    path = run / "MODEL_CARD.md"
    write_atomically(path, lambda partial: partial.write_text(text, encoding="utf-8"))
    return path


def card_data(run: RunFacts) -> ModelCardData:
    """Build the front matter: what the hub indexes, with the tuned model's results."""
    model = run.recipe.get("model", {})
    base = _base_name(run.recipe)
    results = [
        _eval_result(row) for row in run.results if row.model == "tuned" and row.part != "families"
    ]
    return ModelCardData(
        model_name=run.name,
        base_model=base if re.fullmatch(r"[\w.-]+/[\w.-]+", base) else None,
        license=model.get("license"),
        language=model.get("language"),
        library_name="transformers",
        pipeline_tag="text-generation",
        tags=["notus", *_tags(run.recipe.get("train", {})), "ai-feedback"],
        eval_results=results or None,
    )


def _made(run: RunFacts, training: Manifest) -> dict[str, Any]:
    """What the card says of the model's making."""
    base = run.stages.get("base")
    return {
        "front_matter": card_data(run).to_yaml().strip(),
        "base": _base_name(run.recipe),
        "method": method(run.recipe),
        "parameters": f"{base.facts['parameters'] / 1e6:,.0f} M" if base else "",
        "raters": run.feedback.raters if run.feedback else (),
        "dropped": list(_dropped(run)),
        "settings": list(_settings(run.recipe)),
        "manifest": training,
        "packages": [name for name in PACKAGES if name in training.versions],
    }


def _rows(run: RunFacts) -> dict[str, Any]:
    """What the card says of the model's results."""
    return {
        "headline": headline(run),
        "held_out": held_out(run),
        "overall": run.pairs("pass_rate"),
        "families": run.pairs("pass_rate", "families"),
        "unseen": run.pairs("pass_rate", "unseen"),
        "reward": run.result("reward_accuracy", "tuned"),
        "ranked": run.pairs("logp_accuracy"),
    }


def _eval_result(row: Result) -> EvalResult:
    metric = METRICS.get(row.metric, row.metric)
    what = "Held-out preferences"
    if row.mode is not None:
        what = f"Held-out verifiable prompts, {row.label}, {row.mode} answers"
    return EvalResult(
        task_type="text-generation",
        dataset_type=f"notus-{row.benchmark}",
        dataset_name=what,
        dataset_config="/".join([row.mode or "pairs", row.family or "all", row.metric]),
        dataset_split="test",
        metric_type=row.metric,
        metric_name=metric,
        metric_value=round(row.value, 4),
        metric_args={"n": row.n, "ci95": [round(row.low, 4), round(row.high, 4)]},
    )


def _base_name(recipe: Mapping[str, Any]) -> str:
    """Name the base model as its hub id, or as the recipe does, without a path of this machine."""
    model = recipe.get("model", {})
    name = str(model.get("hub_id") or model.get("base", "unknown"))
    is_path = name.startswith((".", "/", "~")) or name.count("/") > 1
    return Path(name).name if is_path else name.removeprefix("package:")


def _tags(train: Mapping[str, Any]) -> list[str]:
    """Name the method as the hub does."""
    if train.get("objective") == "sft":
        return ["sft"]
    loss = train.get("loss") or "sigmoid"
    names = [loss] if isinstance(loss, str) else list(loss)
    return [*("dpo" if name == "sigmoid" else name for name in names), "preference-optimization"]


def _dropped(run: RunFacts) -> Iterator[tuple[str, str, int]]:
    """Rows that did not reach training: (stage, reason, number)."""
    places: dict[str, Mapping[str, int]] = {
        "refused on reading": run.feedback.refused if run.feedback else {},
        "dropped in binarizing": run.preferences.dropped if run.preferences else {},
        "dropped before training": run.training.dropped if run.training else {},
    }
    if run.training and run.training.num_left_out:
        places["not trained on"] = {"not drawn (data.max_pairs)": run.training.num_left_out}
    for where, reasons in places.items():
        for reason, number in reasons.items():
            yield where, reason, number


def _settings(recipe: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Every setting of the resolved recipe under its dotted key; of a path its last part."""
    for key, value in recipe.items():
        if isinstance(value, Mapping):
            yield from _settings(value, f"{prefix}{key}.")
        elif isinstance(value, str) and value.startswith("/"):
            yield prefix + key, Path(value).name
        else:
            yield prefix + key, "-" if value is None else str(value)


def _environment(run: RunFacts) -> Environment:
    environment = Environment(
        loader=PackageLoader("notus", "templates"),
        autoescape=False,  # Markdown: `cell` and `code` escape what comes from data
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {**FILTERS, "cell": escape_text, "code": escape_code}
    environment.globals["table"] = lambda rows: _table(run, rows)
    return environment


def _table(run: RunFacts, rows: list[Paired]) -> str:
    head = "prompts | answers | base | tuned | difference, points | n | gained / lost | exact p"
    lines = [f"| {head} | verdict |", "| --- | --- |" + " ---: |" * 6 + " --- |"]
    for row in rows:
        values = [escape_text(row.label), row.mode or "-"]
        for model, value in (("base", row.base), ("tuned", row.tuned)):
            found = run.result(row.metric, model, row)
            ends = f" ({100 * found.low:.1f} to {100 * found.high:.1f})" if found else ""
            values.append(percent(value) + ends)
        values.append(f"{points(row.difference)} ({points(row.low)} to {points(row.high)})")
        values += [f"{row.n:,}", f"{row.gained} / {row.lost}", p_value(row.p_value), row.verdict]
        lines.append("| " + " | ".join(values) + " |")
    return "\n".join(lines) + "\n"

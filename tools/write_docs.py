"""Write docs/reference.md from the code: formats, rules, strategies, exports, checks, settings.

What a closed set holds is said once, in the code; this page is that, for people. Run as
`python tools/write_docs.py` to write it, with `--check` to exit with 1 when it is out of date.
"""

import inspect
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from notus import recipe, settings
from notus.audit.rules import RULES
from notus.data.exports.writers import WRITERS
from notus.data.formats.readers import READERS
from notus.loss_settings import LOSS_SETTINGS
from notus.metric_names import METRICS
from notus.section import Section
from notus.specifications import SPECIFICATIONS
from notus.training.preflight import CHECKS
from notus.training.signs import RULES as SIGNS

PAGE = Path(__file__).resolve().parent.parent / "docs" / "reference.md"
VERBS = {
    "ingest": settings.IngestSection,
    "audit": settings.AuditSection,
    "binarize": recipe.BinarizeSection,
    "export": settings.ExportSection,
    "prompts": settings.PromptsSection,
    "generate": settings.GenerateSection,
    "rate": settings.RateSection,
    "evaluate": recipe.EvaluateSection,
    "chat": settings.ChatSection,
}


def page() -> str:
    """The whole page."""
    parts = [
        "# Reference",
        "Written by `tools/write_docs.py` from the code; do not edit it here.",
        "## Formats that `notus ingest` reads",
        "The format is recognised by the first rows; `--format NAME` overrides, and `--map FILE` "
        "reads anything else.",
        *_formats(),
        "## Audit rules",
        *_docstrings(RULES),
        "## Strategies of `notus binarize`",
        "Each is a YAML file in `src/notus/specifications/`; `--strategy FILE.yaml` takes one of "
        "your own.",
        *_table(
            ["strategy", "what it does", "published as"],
            [[f"`{s.name}`", s.note, s.source or "-"] for s in SPECIFICATIONS.values()],
        ),
        "## Schemas that `notus export` writes",
        *_table(["schema", "what it is"], [[f"`{name}`", w.note] for name, w in WRITERS.items()]),
        "## Checks of `notus preflight`",
        "Each runs before a training's first step; `train.accept_findings` names those whose "
        "errors do not stop it.",
        *_docstrings(CHECKS),
        "## Losses",
        "`train.loss` of a recipe is one of them, or a mixture of losses of pairs "
        "(`{sigmoid: 1, nll: 0.2}` is RPO). Settings that it reads are keys of `train`, here with "
        "the values they have when a recipe leaves them out.",
        *_losses(),
        "## What a training logs",
        "Rows of `metrics.jsonl`, and TensorBoard's scalars. `eval_` before a name: held-out pairs."
        " `source/NAME/` or `strategy/NAME/` before a name: the pairs of one source or strategy. "
        "pi is the policy, pi_ref the reference.",
        *_table(
            ["name", "unit", "what it is"],
            [[f"`{name}`", m.unit or "-", m.meaning] for name, m in METRICS.items()],
        ),
        "## Signs that a training goes wrong",
        *_table(
            ["sign", "what it means", "what to do"],
            [[f"`{name}`", rule.meaning, rule.remedy] for name, rule in SIGNS.items()],
        ),
        "## Settings of the verbs",
        "Each can be given as `--set key=value`.",
        *_settings(),
    ]
    return "\n\n".join(parts) + "\n"


def _formats() -> Iterator[str]:
    rows = []
    for name, reader in READERS.items():
        module = inspect.getmodule(reader.parse)
        about = _first_paragraph(module) if module else ""
        rows.append([f"`{name}`", reader.fields, about])
    yield from _table(["format", "its rows have", "how it is read"], rows)


def _docstrings(functions: Mapping[str, Callable[..., object]]) -> Iterator[str]:
    for name, rule in functions.items():
        doc = inspect.getdoc(rule) or ""
        paragraphs = [" ".join(part.split()) for part in doc.split("\n\n")]
        yield f"**`{name}`** - " + "\n\n".join(_plain(part) for part in paragraphs)


def _losses() -> list[str]:
    rows = [
        [
            f"`{name}`",
            f"{loss.title}, {loss.paper}",
            loss.trains_on,
            "yes" if loss.needs_reference else "no",
            ", ".join(f"{key} {value:g}" for key, value in loss.defaults.items()) or "-",
        ]
        for name, loss in LOSS_SETTINGS.items()
    ]
    return _table(["loss", "what it is", "trains on", "reference", "settings"], rows)


def _settings() -> Iterator[str]:
    for verb, section in VERBS.items():
        yield f"### {verb}"
        yield from _table(["key", "default", "meaning"], _fields(section))


def _fields(section: type[Section]) -> list[list[str]]:
    rows = []
    for name, field in section.model_fields.items():
        default = (
            "required"
            if field.is_required()
            else _value(field.get_default(call_default_factory=True))
        )
        rows.append([f"`{name}`", default, " ".join((field.description or "").split())])
    return rows


def _value(value: Any) -> str:
    return "null" if value is None else f"`{value}`"


def _first_paragraph(thing: object) -> str:
    doc = (inspect.getdoc(thing) or "").split("\n\n")
    return " ".join(doc[0].split())


def _plain(text: str) -> str:
    return text.replace("<", "&lt;").replace("*", r"\*")


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    lines = [head, ["---"] * len(head), *rows]
    yield "\n".join(
        "| " + " | ".join(cell.replace("|", r"\|") for cell in row) + " |" for row in lines
    )


def main(arguments: Sequence[str]) -> int:
    """Write the page, or with --check compare it; return the exit code."""
    text = page()
    if "--check" not in arguments:
        PAGE.write_text(text, encoding="utf-8")
        return 0
    if PAGE.is_file() and PAGE.read_text(encoding="utf-8") == text:
        print("write_docs: docs/reference.md is up to date")
        return 0
    print("docs/reference.md is out of date: run python tools/write_docs.py", file=sys.stderr)
    return 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

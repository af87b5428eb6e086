"""Answer verifiable prompts with a model and check the answers.

A sample passes when every constraint of its prompt holds, the model ended it, and it is not
degenerate (`feedback.rubrics`). Greedy and sampled pass rates differ much on small models, so both
are taken: one greedy answer a prompt, and `samples` sampled ones. A prompt's metadata may say
`"seen": false`: its family was kept out of training.
"""

import json
from collections.abc import Callable

import polars as pl

from notus.chat_template import render_prompt
from notus.errors import DataError, explain
from notus.feedback.rubrics import rate
from notus.feedback.verifiable import verify
from notus.generation import Generated, generate
from notus.models import Model

SAMPLES_SCHEMA = pl.Schema(
    {
        "model": pl.String,
        "prompt_id": pl.String,
        "family": pl.String,
        "seen": pl.Boolean,
        "mode": pl.String,
        "sample": pl.Int64,
        "prompt": pl.String,
        "rendered": pl.String,
        "text": pl.String,
        "passed": pl.Boolean,
        "finished": pl.Boolean,
        "num_tokens": pl.Int64,
        "verdicts": pl.String,
    }
)


def answer_prompts(
    prompts: pl.DataFrame,
    model: Model,
    *,
    label: str,
    samples: int,
    temperature: float,
    max_new_tokens: int,
    seed: int,
    progress: Callable[[int, int], None] | None = None,
) -> pl.DataFrame:
    """Answer and check every prompt.

    Args:
        prompts: A prompts table whose metadata carries constraints and a family.
        model: The model to answer with.
        label: What to call the model in the samples.
        samples: Sampled answers a prompt, beside the greedy one.
        temperature: Temperature of the sampled answers.
        max_new_tokens: Cut an answer after so many tokens.
        seed: Seed of the sampled answers; the same for every model that is compared.
        progress: Called with (answers so far, answers in all).

    Returns:
        One row a prompt and answer, with the columns of SAMPLES_SCHEMA.

    Raises:
        DataError: A prompt has no constraints or family, or is too long for the model's window.
    """
    _require_constraints(prompts)
    conversations = prompts["messages"].to_list()
    total = len(conversations) * (1 + samples)
    rows: list[dict[str, object]] = []
    for number in range(1 + samples):
        greedy = number == 0

        def report(done: int, _: int, start: int = number * len(conversations)) -> None:
            if progress is not None:
                progress(start + done, total)

        answers = generate(
            model,
            conversations,
            max_new_tokens=max_new_tokens,
            temperature=0.0 if greedy else temperature,
            seed=seed * 1_009 + number,
            progress=report,
        )
        names = {"model": label, "mode": "greedy" if greedy else "sampled"}
        for prompt, answer in zip(prompts.iter_rows(named=True), answers, strict=True):
            rendered = render_prompt(model.tokenizer, prompt["messages"])
            place = {"sample": max(0, number - 1), "rendered": rendered}
            rows.append({**names, **place, **_check(prompt, answer)})
    return pl.DataFrame(rows, schema=SAMPLES_SCHEMA)


def _require_constraints(prompts: pl.DataFrame) -> None:
    """Find a prompt that cannot be checked before any is answered."""
    for prompt, text in prompts.select("prompt_id", "metadata").iter_rows():
        metadata = json.loads(text)
        if not metadata.get("constraints") or not metadata.get("family"):
            raise DataError(
                explain(
                    found=f"prompt {prompt} with the metadata keys {sorted(metadata)}",
                    expected="metadata with 'family' and a list 'constraints', not empty",
                    where="prompts of the evaluation",
                    remedy="evaluate on prompts that `notus prompts` wrote, or add both to yours",
                )
            )
        verify("x", metadata["constraints"])


def _check(prompt: dict[str, object], answer: Generated) -> dict[str, object]:
    messages: list[dict[str, str]] = prompt["messages"]  # type: ignore[assignment]
    asked = messages[-1]["content"]
    metadata = {"instruction": asked, **json.loads(str(prompt["metadata"]))}
    verdicts = verify(answer.text, metadata["constraints"])
    return {
        "prompt_id": prompt["prompt_id"],
        "family": metadata["family"],
        "seen": bool(metadata.get("seen", True)),
        "prompt": asked,
        "text": answer.text,
        "passed": rate(answer.text, metadata, finished=answer.finished).passed,
        "finished": answer.finished,
        "num_tokens": answer.num_tokens,
        "verdicts": json.dumps(
            [{"check": v.check, "passed": v.passed, "message": v.message} for v in verdicts]
        ),
    }

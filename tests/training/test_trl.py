"""Our step against TRL's own trainer: the same pairs, the same loss, the same gradients.

TRL's tokenisation, collator and compute_loss run as they are; its reference is a second model, so
that every pair has a margin. Tolerance 1e-5 in float32, of losses and of every gradient.
"""

from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset, disable_progress_bars
from small_runs import assert_same_gradients, gradients, make_trainer, old_name_warns, step
from trl import DPOConfig, DPOTrainer

import tiny
from notus.chat_template import Encoder, render_prompt
from notus.scoring.score import score
from notus.training.examples import Pair

BETA = 0.3
CONVERSATIONS = [
    ("Say the word.", "the word", "no"),
    ("What is in the tin?", "Tin is in the tin, and the rest is air.", "In the tin"),
    ("Hi", "in the end all is well", "in the end nothing is. The end"),
    ("Count.", "1, 2, 3, 4, 5, 6, 7", "1, 2, 3, 4, 5, 6, 8"),
    ("Why?", "x", "because of the way it is"),
]


def rows_for_trl(tokenizer: Any, conversational: bool) -> list[dict[str, Any]]:
    if conversational:
        return [
            {
                "prompt": [{"role": "user", "content": prompt}],
                "chosen": [{"role": "assistant", "content": chosen}],
                "rejected": [{"role": "assistant", "content": rejected}],
            }
            for prompt, chosen, rejected in CONVERSATIONS
        ]
    return [
        {
            "prompt": render_prompt(tokenizer, [{"role": "user", "content": prompt}]),
            "chosen": chosen,
            "rejected": rejected,
        }
        for prompt, chosen, rejected in CONVERSATIONS
    ]


def our_pairs(tokenizer: Any, reference: Any) -> list[Pair]:
    encode = Encoder(tokenizer, max_length=128, max_prompt_length=100)
    pairs = []
    for i, (prompt, chosen, rejected) in enumerate(CONVERSATIONS):
        one, two = (
            encode([{"role": "user", "content": prompt}], text) for text in (chosen, rejected)
        )
        pairs.append(
            Pair(
                preference_id=str(i),
                prompt_id=str(i),
                prompt_ids=one.prompt_ids,
                chosen_ids=one.completion_ids,
                rejected_ids=two.completion_ids,
            )
        )
    logps = score(reference, [pair.tree for pair in pairs]).logps.view(-1, 2).tolist()
    return [pair.with_reference(*row) for pair, row in zip(pairs, logps, strict=True)]


def trl_trainer(
    folder: Path, tokenizer: Any, *, model: Any, reference: Any, conversational: bool
) -> DPOTrainer:
    disable_progress_bars()
    arguments = DPOConfig(
        output_dir=str(folder),
        beta=BETA,
        max_length=128,
        per_device_train_batch_size=len(CONVERSATIONS),
        bf16=False,
        activation_checkpointing=False,
        use_cpu=True,
        report_to="none",
        disable_tqdm=True,
    )
    return DPOTrainer(
        model=model,
        ref_model=reference,
        args=arguments,
        train_dataset=Dataset.from_list(rows_for_trl(tokenizer, conversational)),
        processing_class=tokenizer,
    )


@old_name_warns
@pytest.mark.parametrize(
    ("template", "conversational"), [("chatml", False), ("spaced", True)], ids=["text", "messages"]
)
def test_loss_gradients_and_rewards_are_trls(
    tmp_path: Path, template: str, conversational: bool
) -> None:
    tokenizer = tiny.make_tokenizer(template)
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    pairs = our_pairs(tokenizer, tiny.make_llama(tokenizer, seed=1))
    theirs = trl_trainer(
        tmp_path,
        tokenizer,
        model=tiny.make_llama(tokenizer),
        reference=tiny.make_llama(tokenizer, seed=1),
        conversational=conversational,
    )
    rows = list(theirs.train_dataset)
    for row, pair in zip(rows, pairs, strict=True):
        assert row["prompt_ids"] == pair.prompt_ids
        assert row["chosen_ids"] == pair.chosen_ids
        assert row["rejected_ids"] == pair.rejected_ids
    theirs.model.train()
    loss = theirs.compute_loss(theirs.model, theirs.data_collator(rows))
    loss.backward()

    ours = make_trainer(tiny.make_llama(tokenizer), pairs, beta=BETA)
    our_loss, found = step(ours, pairs)
    assert our_loss == pytest.approx(loss.item(), rel=1e-5, abs=1e-5)
    assert abs(our_loss - 0.6931) > 0.01, "the margins are 0: nothing was compared"
    assert_same_gradients(found, gradients(theirs.model))

    ours.log({"loss": our_loss})
    logged = ours.state.log_history[-1]
    for name, (value,) in theirs._metrics["train"].items():
        if name in logged:
            assert logged[name] == pytest.approx(value, rel=1e-5, abs=1e-5), name
    shared = {"rewards/margins", "rewards/accuracies", "logps/chosen", "logps/rejected"}
    assert shared <= theirs._metrics["train"].keys() & logged.keys()

"""What is exported for TRL goes into TRL's own trainer as it is, and is learned from."""

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from datasets import disable_progress_bars, load_dataset
from exported import save_feedback, save_preferences
from trl import DPOConfig, DPOTrainer

import tiny
from notus.data.schema import Feedback
from notus.stages.export import export

# PEFT and TRL ask transformers by the old name.
pytestmark = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing.*:FutureWarning")
Make = Callable[[Mapping[str, Any]], Feedback]
NUM_PAIRS = 6


@pytest.fixture
def inputs(make_feedback: Make, tmp_path: Path) -> tuple[Path, Path]:
    said = {
        f"What is {i}?": [("m", f"in the end {i}", {"honesty": 5.0}), ("n", "the end", {})]
        for i in range(NUM_PAIRS)
    }
    feedback = save_feedback(tmp_path / "feedback", make_feedback(said))
    pairs = [(i, 2 * i, 2 * i + 1) for i in range(NUM_PAIRS)]
    return feedback, save_preferences(tmp_path / "preferences", feedback, pairs)


def test_dpo_trainer_takes_the_directory_as_it_is(
    inputs: tuple[Path, Path], tmp_path: Path
) -> None:
    disable_progress_bars()
    feedback, preferences = inputs
    export(feedback, tmp_path / "out", to="trl", preferences=preferences, holdout=2)
    splits = load_dataset(str(tmp_path / "out"), cache_dir=str(tmp_path / "cache"))
    train, test = splits.values()
    tokenizer = tiny.make_tokenizer()
    trainer = DPOTrainer(
        model=tiny.make_llama(tokenizer),
        ref_model=tiny.make_llama(tokenizer),
        args=DPOConfig(
            output_dir=str(tmp_path / "run"),
            max_length=tiny.WINDOW,
            per_device_train_batch_size=2,
            max_steps=2,
            learning_rate=1e-2,
            bf16=False,
            activation_checkpointing=False,
            use_cpu=True,
            report_to="none",
            save_strategy="no",
            disable_tqdm=True,
        ),
        train_dataset=train,
        eval_dataset=test,
        processing_class=tokenizer,
    )
    assert (len(trainer.train_dataset), len(trainer.eval_dataset)) == (NUM_PAIRS - 2, 2)
    for row, pair in zip(trainer.train_dataset, train, strict=True):
        answer = pair["chosen"][-1]["content"]
        assert tokenizer.decode(row["chosen_ids"]).startswith(answer)
        assert tokenizer.decode(row["prompt_ids"]).count("What is") == 1
    before = trainer.evaluate()["eval_loss"]
    assert before == pytest.approx(math.log(2), abs=1e-4)
    assert math.isfinite(trainer.train().training_loss)
    assert trainer.evaluate()["eval_loss"] < before

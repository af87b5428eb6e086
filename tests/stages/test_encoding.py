"""The trainer's tokens for audits, from the tokenizer alone."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import tiny
from notus.audit.collapse import collapse
from notus.audit.verdict import Subject
from notus.binarize import binarize
from notus.chat_template import Encoder
from notus.errors import MissingExtraError, ModelError
from notus.specifications import specification
from notus.stages.encoding import load_encode
from notus.training.batches import encode_preferences

LENGTHS = {"max_length": 120, "max_prompt_length": 50}
TURNS: Any = [{"role": "user", "content": "which thing? " * 20}]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model's folder without its weights: an audit needs none."""
    made = tiny.save_model(tmp_path_factory.mktemp("models") / "tiny")
    for weights in made.glob("*.safetensors"):
        weights.unlink()
    return made


def test_tokens_are_the_trainers(folder: Path) -> None:
    trainer = Encoder(tiny.make_tokenizer(), **LENGTHS)
    texts = ["the thing", "in the thing.." * 20, "<|im_end|>"]
    found = load_encode(str(folder), **LENGTHS)([TURNS] * 3, texts)
    assert found == [trainer(TURNS, text).completion_ids for text in texts]
    assert [len(ids) <= 70 for ids in found] == [True] * 3
    assert len(found[1]) == 70


def test_collapsed_are_the_pairs_that_training_drops(
    folder: Path, make_feedback: Callable[[Any], Any]
) -> None:
    start = "x" * 80
    answers = {
        "end?": ("one", "two"),
        "cut?": (start + "1", start + "2"),
        "late?": ("y" + start, start),
    }
    feedback = make_feedback(
        {
            text: [("a", one, {"preference": 1.0}), ("b", other, {"preference": 0.0})]
            for text, (one, other) in answers.items()
        }
    )
    preferences = binarize(feedback, specification("given")).preferences
    encode = load_encode(str(folder), **LENGTHS)
    verdict = collapse(Subject(feedback=feedback, preferences=preferences, encode=encode))
    dropped = encode_preferences(preferences, feedback, Encoder(tiny.make_tokenizer(), **LENGTHS))
    assert verdict.issues["prompt_id"].to_list() == dropped.dropped["prompt_id"].to_list()
    assert verdict.issues.height == 1


def test_an_adapter_has_the_tokenizer_of_its_base(folder: Path, tmp_path: Path) -> None:
    config = {"base_model_name_or_path": str(folder)}
    (tmp_path / "adapter_config.json").write_text(json.dumps(config), encoding="utf-8")
    encode = load_encode(str(tmp_path), **LENGTHS)
    assert encode([TURNS], ["x"]) == load_encode(str(folder), **LENGTHS)([TURNS], ["x"])


def test_a_gguf_file_has_a_tokenizer(tmp_path: Path) -> None:
    encode = load_encode(str(tiny.save_gguf(tmp_path)), **LENGTHS)
    trainer = Encoder(tiny.make_tokenizer(), **LENGTHS)
    assert encode([TURNS], ["the.."]) == [trainer(TURNS, "the..").completion_ids]


@pytest.mark.parametrize("kind", ["no template", "no eos"])
def test_a_tokenizer_that_cannot_be_trained_with_is_refused(kind: str, tmp_path: Path) -> None:
    tiny.make_tokenizer(kind).save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="without chat template or end-of-sequence"):
        load_encode(str(tmp_path), **LENGTHS)


def test_what_is_no_tokenizer_is_explained(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no tokenizer that can be read"):
        load_encode(str(tmp_path), **LENGTHS)
    with pytest.raises(ModelError, match="no folder"):
        load_encode(str(tmp_path / "missing"), **LENGTHS)
    with pytest.raises(MissingExtraError, match="is not installed"):
        load_encode("package:no_such_package", **LENGTHS)


def test_lengths_that_leave_no_room_are_refused(folder: Path) -> None:
    with pytest.raises(ModelError, match="max_prompt_length 50, max_length 50"):
        load_encode(str(folder), max_length=50, max_prompt_length=50)

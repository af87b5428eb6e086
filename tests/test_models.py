"""Models from folders, adapters, GGUF files and packages; and everything that is no model.

Every file is written by the test itself. What transformers, safetensors, GGUF and PEFT raise for
broken ones must reach the user as one message.
"""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.testing import assert_close

import tiny
from notus.chat_template import encode_prompt
from notus.errors import MissingExtraError, ModelError
from notus.models import Model, load, locate, resolve_precision, weights_digest

# PEFT asks transformers for a name that the latter has renamed.
pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing.:FutureWarning")

TURNS: Any = [{"role": "user", "content": "the thing\n\n\u00e9"}]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture
def folder(saved: Path, tmp_path: Path) -> Path:
    """A copy that a test may break."""
    return Path(shutil.copytree(saved, tmp_path / "tiny"))


def logits(model: Model) -> torch.Tensor:
    with torch.no_grad():
        ids = torch.tensor([encode_prompt(model.tokenizer, TURNS)], device=model.model.device)
        return model.model(ids).logits.cpu()


def test_a_folder_gives_the_model_that_was_saved(saved: Path) -> None:
    model = load(str(saved))
    expected = tiny.make_model()
    assert (model.name, model.window) == (str(saved), tiny.WINDOW)
    assert not model.model.training
    assert weights_digest(model.model) == weights_digest(expected.model)
    assert encode_prompt(model.tokenizer, TURNS) == encode_prompt(expected.tokenizer, TURNS)
    assert model.tokenizer.pad_token == "<|pad|>"


def test_the_type_of_the_weights(saved: Path) -> None:
    assert load(str(saved)).model.dtype == torch.float32
    assert load(str(saved), dtype=torch.bfloat16).model.dtype == torch.bfloat16


def test_without_a_padding_token_the_end_token_pads(tmp_path: Path) -> None:
    model = load(str(tiny.save_model(tmp_path / "m", "no pad")))
    assert model.tokenizer.pad_token == tiny.END


def test_a_digest_is_of_names_types_shapes_and_values() -> None:
    digest = weights_digest(tiny.make_model().model)
    assert digest == weights_digest(tiny.make_llama(tiny.make_tokenizer()))
    changed = tiny.make_llama(tiny.make_tokenizer())
    with torch.no_grad():
        changed.model.norm.weight[3] += 1e-3
    half = tiny.make_llama(tiny.make_tokenizer()).half()
    assert len({digest, weights_digest(changed), weights_digest(half)}) == 3


def test_a_gguf_file_gives_the_same_model_and_can_be_saved(tmp_path: Path) -> None:
    (tmp_path / "gguf").mkdir()
    model = load(str(tiny.save_gguf(tmp_path / "gguf")))
    assert model.window == tiny.WINDOW
    assert encode_prompt(model.tokenizer, TURNS) == encode_prompt(tiny.make_tokenizer(), TURNS)
    digest = weights_digest(tiny.make_model().model)
    assert weights_digest(model.model) == digest
    model.model.save_pretrained(tmp_path / "saved")
    model.tokenizer.save_pretrained(tmp_path / "saved")
    assert weights_digest(load(str(tmp_path / "saved")).model) == digest


def test_a_package_is_its_folder_and_never_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "notus_test_package"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('a model is not run')")
    (package / "any-name.gguf").touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    assert locate("package:notus_test_package") == (package, "any-name.gguf")


def test_an_adapter_stands_on_its_base(saved: Path, tmp_path: Path) -> None:
    from peft import LoraConfig, get_peft_model

    base = load(str(saved))
    settings = LoraConfig(r=2, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")
    adapted = get_peft_model(base.model, settings)
    with torch.no_grad(), torch.random.fork_rng():
        torch.manual_seed(0)
        for name, parameter in adapted.named_parameters():
            if "lora_B" in name:
                parameter.normal_()
    adapted.save_pretrained(tmp_path / "adapter")
    expected = logits(Model(model=adapted, tokenizer=base.tokenizer, name="", window=1))
    model = load(str(tmp_path / "adapter"))
    assert model.name == str(tmp_path / "adapter")
    assert model.window == tiny.WINDOW
    assert_close(logits(model), expected)
    assert not torch.allclose(expected, logits(load(str(saved))), atol=0.1)


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("nowhere", "no folder 'nowhere'"),
        ("./nowhere", "no folder './nowhere'"),
        ("/no/where", "no folder '/no/where'"),
        ("a/b/c", "no folder 'a/b/c'"),
        ("~/no-such-model-here", "no folder '~/no-such-model-here'"),
    ],
)
def test_a_path_that_is_not_there_is_not_asked_of_the_hub(name: str, found: str) -> None:
    with pytest.raises(ModelError, match=found):
        load(name)


def test_a_slip_inside_a_folder_that_is_there_is_not_asked_of_the_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert locate("runs/dmeo") == (Path("runs/dmeo"), None)  # may be a hub id
    (tmp_path / "runs").mkdir()
    with pytest.raises(ModelError, match="no folder 'runs/dmeo'"):
        locate("runs/dmeo")


def test_a_hub_id_is_no_folder() -> None:
    assert locate("org/name") == (Path("org/name"), None)


@pytest.mark.parametrize("package", ["", "no_such_package", "no_such.package", "sys", "__main__"])
def test_a_package_that_is_not_there(package: str) -> None:
    with pytest.raises(MissingExtraError, match="is not installed"):
        load(f"package:{package}")


@pytest.mark.parametrize(
    ("kind", "found"), [("no template", "no chat template"), ("no eos", "no end-of-sequence token")]
)
def test_a_model_that_is_no_chat_model(kind: str, found: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=found):
        load(str(tiny.save_model(tmp_path / "m", kind)))


def cut_weights(folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:1000])


def garble_weights(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"x" * 50)


def remove_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def pickle_weights(folder: Path) -> None:
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    remove_weights(folder)


def lose_one_weight(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def change_config(folder: Path, **change: object) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | change))


def remove_tokenizer(folder: Path) -> None:
    for file in [*folder.glob("tokenizer*"), folder / "chat_template.jinja"]:
        file.unlink()


FAULTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "cut weights": (cut_weights, "header"),
    "garbled weights": (garble_weights, "header"),
    "no weights": (remove_weights, "model.safetensors"),
    "only a pickle": (pickle_weights, "model.safetensors"),
    "one weight missing": (lose_one_weight, "1 weights are missing.*layers.1.mlp.up_proj"),
    "other sizes": (lambda f: change_config(f, hidden_size=64), "could not be loaded"),
    "unknown type": (lambda f: change_config(f, model_type="nope"), "nope"),
    "broken config": (lambda f: (f / "config.json").write_text("{"), "config.json"),
    "broken tokenizer": (lambda f: (f / "tokenizer.json").write_text("{"), "line 1"),
    "no tokenizer": (remove_tokenizer, "tokenizer"),
    "empty folder": (lambda f: (shutil.rmtree(f), f.mkdir()), "could not be loaded"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_broken_folder_gives_one_message(fault: str, folder: Path) -> None:
    spoil, found = FAULTS[fault]
    spoil(folder)
    with pytest.raises(ModelError, match=found) as caught:
        load(str(folder))
    assert str(folder) in str(caught.value)
    assert "do this:" in str(caught.value)


def test_code_in_a_model_is_not_run(folder: Path) -> None:
    ran = folder / "ran"
    (folder / "code.py").write_text(f"open({str(ran)!r}, 'w')")
    change_config(
        folder,
        model_type="own",
        auto_map={"AutoConfig": "code.C", "AutoModelForCausalLM": "code.M"},
    )
    with pytest.raises(ModelError, match="custom code"):
        load(str(folder))
    assert not ran.exists()


@pytest.mark.parametrize("content", [b"GGUF", b"nope" * 100])
def test_a_broken_gguf_file(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "broken.gguf").write_bytes(content)
    with pytest.raises(ModelError, match="could not be loaded"):
        load(str(tmp_path))


def test_of_several_gguf_files_none_is_meant(tmp_path: Path) -> None:
    for name in ("q4.gguf", "q8.gguf"):
        (tmp_path / name).touch()
    with pytest.raises(ModelError, match=r"2 GGUF files: q4\.gguf, q8\.gguf"):
        load(str(tmp_path))
    (tmp_path / "config.json").touch()
    assert locate(str(tmp_path)) == (tmp_path, None)


def test_a_reader_that_is_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny.save_gguf(tmp_path)
    monkeypatch.setitem(sys.modules, "gguf", None)
    with pytest.raises(MissingExtraError, match="pip install"):
        load(str(tmp_path))


@pytest.mark.parametrize("config", ["{", "{}", '{"base_model_name_or_path": null}', "[]"])
def test_an_adapter_without_a_base(config: str, tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text(config)
    with pytest.raises(ModelError):
        load(str(tmp_path))


def test_an_adapter_without_its_weights(saved: Path, tmp_path: Path) -> None:
    config = {"base_model_name_or_path": str(saved), "peft_type": "LORA"}
    (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match="could not be loaded"):
        load(str(tmp_path))


def test_precision_auto_is_what_the_processor_computes_in() -> None:
    if torch.cuda.is_available():
        pytest.skip("asks the processor")
    flags = Path("/proc/cpuinfo").read_text().split()
    fast = "avx512_bf16" in flags or "amx_tile" in flags
    assert resolve_precision("auto") == ("bfloat16" if fast else "float32")
    assert resolve_precision("bfloat16") == "bfloat16"
    assert resolve_precision("float32") == "float32"

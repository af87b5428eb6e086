"""The trainer's tokens for audits: its template, its truncation, and no weights.

The audit of collapsed pairs must see exactly what training would. So this takes the trainer's own
`Encoder`; of the model it reads the tokenizer alone, which needs the extra `train`, as training
does.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from notus.audit.verdict import Encode
from notus.data.schema import Message
from notus.errors import MissingExtraError, ModelError, explain


def load_encode(name: str, *, max_length: int, max_prompt_length: int) -> Encode:
    """Make the function that turns answers into the tokens that training would see.

    Args:
        name: A model as `notus.models` knows it: a folder, `package:NAME` or a hub id.
        max_length: Tokens of prompt and completion, as in a recipe's section data.
        max_prompt_length: Tokens of the prompt.

    Returns:
        A function of (conversations, answers) that gives each answer's completion ids: what is
        left of it, with its end of sequence unless that was cut.

    Raises:
        ModelError: No such model, no chat template, or lengths that leave no room.
        MissingExtraError: The tokenizer needs a package that is not installed.
    """
    tokenizer = load_tokenizer(name)
    return encode_with(tokenizer, max_length=max_length, max_prompt_length=max_prompt_length)


def encode_with(tokenizer: Any, *, max_length: int, max_prompt_length: int) -> Encode:
    """Make the same of a tokenizer that is loaded already."""
    from notus.chat_template import Encoder

    encoder = Encoder(tokenizer, max_length=max_length, max_prompt_length=max_prompt_length)

    def encode(conversations: Sequence[Sequence[Message]], texts: Sequence[str]) -> list[list[int]]:
        return [
            encoder(messages, text).completion_ids
            for messages, text in zip(conversations, texts, strict=True)
        ]

    return encode


def load_tokenizer(name: str, *, chat_template: Path | None = None) -> Any:
    """Load the tokenizer of a model that can be trained, and no weights.

    Args:
        name: A model as `notus.models` knows it: a folder, `package:NAME` or a hub id.
        chat_template: Jinja file in place of its own chat template.

    Raises:
        ModelError: No such model, or no tokenizer with a chat template and an end of sequence.
        MissingExtraError: It needs a package that is not installed.
    """
    try:
        tokenizer = _read_tokenizer(name)
    except MissingExtraError:
        raise
    except ImportError as error:
        raise MissingExtraError(
            explain(
                found=f"a package that is not installed: {error}",
                expected="transformers, and gguf for a GGUF file",
                where=f"tokenizer of {name!r}",
                remedy="pip install 'notus[demo]', or leave the tokenizer out: then the audit "
                "skips what needs tokens",
            )
        ) from error
    if chat_template is not None:
        tokenizer.chat_template = chat_template.read_text(encoding="utf-8")
    if not tokenizer.chat_template or tokenizer.eos_token_id is None:
        raise _unusable(name, "a tokenizer without chat template or end-of-sequence token")
    return tokenizer


def _read_tokenizer(name: str) -> Any:
    """Read the tokenizer of a model, of an adapter that of its base."""
    from transformers import AutoTokenizer

    from notus.models import locate, no_bars

    folder, gguf = locate(name)
    adapter = folder / "adapter_config.json"
    try:
        if adapter.is_file():
            base = json.loads(adapter.read_text(encoding="utf-8"))["base_model_name_or_path"]
            return _read_tokenizer(str(base))
        with no_bars():
            return AutoTokenizer.from_pretrained(
                str(folder) if folder.is_dir() else name, **({"gguf_file": gguf} if gguf else {})
            )
    except (OSError, ValueError, KeyError, TypeError) as error:
        if isinstance(error, ModelError):
            raise
        raise _unusable(name, f"no tokenizer that can be read: {error}") from error


def _unusable(name: str, found: str) -> ModelError:
    return ModelError(
        explain(
            found=found,
            expected="a chat model's tokenizer",
            where=name,
            remedy="name the model that is to be trained, or leave the tokenizer out",
        )
    )

"""Turn conversations into tokens, exactly as the model will see them at inference.

A prompt is the chat template's rendering with its generation prompt. A completion is tokenised on
its own and put behind it, so the prompt's tokens are an exact prefix of every sequence by
construction (tokenising the joined text can merge tokens across the border: trl issues 2054 and
5213), and it ends with exactly one end-of-sequence token unless it was cut: a completion's text is
data, so the name of a special token in it is text too.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl
from jinja2 import TemplateError

from notus.data.schema import Feedback, Message
from notus.errors import DataError, ModelError, explain

_MARK = "notus-completion-mark"


@dataclass(frozen=True, kw_only=True)
class Encoded:
    """One conversation as tokens."""

    prompt_ids: list[int]
    """The rendered prompt, its oldest tokens cut when it was too long."""
    completion_ids: list[int]
    """The completion with one terminal end-of-sequence token, its end cut when too long."""
    prompt_cut: int
    """Number of prompt tokens cut."""
    completion_cut: int
    """Number of completion tokens cut."""


@dataclass(frozen=True, kw_only=True)
class EncodedPair:
    """One preference as tokens."""

    preference_id: str
    prompt_id: str
    source: str
    strategy: str
    chosen: Encoded
    rejected: Encoded


def render_prompt(tokenizer: Any, messages: Sequence[Message]) -> str:
    """Render a conversation up to where the model's answer begins.

    Raises:
        ModelError: The template takes no such conversation, for example no system turn.
    """
    try:
        text = tokenizer.apply_chat_template(
            list(messages), tokenize=False, add_generation_prompt=True
        )
    except TemplateError as error:
        raise ModelError(
            explain(
                found=f"roles {[message['role'] for message in messages]}: {error}",
                expected="a conversation that the model's chat template takes",
                where="chat template of the tokenizer",
                remedy="leave out what the template refuses, or use another model",
            )
        ) from error
    return str(text)


def encode_prompt(tokenizer: Any, messages: Sequence[Message]) -> list[int]:
    """Tokenise a conversation up to where the model's answer begins."""
    return _tokens(tokenizer, render_prompt(tokenizer, messages))


class Encoder:
    """Encodes conversations with one tokenizer, cutting them to given lengths."""

    def __init__(self, tokenizer: Any, *, max_length: int, max_prompt_length: int) -> None:
        if not 0 < max_prompt_length < max_length:
            raise ModelError(
                explain(
                    found=f"max_prompt_length {max_prompt_length}, max_length {max_length}",
                    expected="0 < max_prompt_length < max_length, both in tokens",
                    where="recipe section data",
                    remedy="leave room for the completion behind the longest prompt",
                )
            )
        self.tokenizer = tokenizer
        self.max_length = max_length
        self.max_prompt_length = max_prompt_length
        self.end_ids = end_of_turn(tokenizer)

    def __call__(self, messages: Sequence[Message], text: str) -> Encoded:
        """Encode a prompt and one completion.

        The prompt loses its oldest tokens (the question stands at its end) down to
        `max_prompt_length`; the completion loses its last tokens down to what is left of
        `max_length`.
        """
        if not text.strip():
            raise DataError(
                explain(
                    found=f"an empty completion {text!r}",
                    expected="a completion with text",
                    where=f"prompt {messages[-1]['content'][:80]!r}",
                    remedy="ingest refuses empty completions: rebuild the preferences from it",
                )
            )
        prompt = encode_prompt(self.tokenizer, messages)
        completion = list(
            self.tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
        )
        completion += self.end_ids
        kept_prompt = prompt[-self.max_prompt_length :]
        kept_completion = completion[: self.max_length - len(kept_prompt)]
        return Encoded(
            prompt_ids=kept_prompt,
            completion_ids=kept_completion,
            prompt_cut=len(prompt) - len(kept_prompt),
            completion_cut=len(completion) - len(kept_completion),
        )


def encode_pairs(
    preferences: pl.DataFrame, feedback: Feedback, encode: Encoder
) -> Iterator[EncodedPair]:
    """Encode both completions of every preference, in the order of their ids.

    Args:
        preferences: A preferences table.
        feedback: The tables that its ids point into.
        encode: Encoder with the run's lengths.
    """
    joined = select_texts(preferences, feedback)
    if joined.height != preferences.height:
        raise DataError(
            explain(
                found=f"{preferences.height - joined.height} of {preferences.height} preferences "
                "whose prompt or completion is not in the feedback",
                expected="preferences made from this feedback",
                where="preferences.parquet, columns prompt_id, chosen_id, rejected_id",
                remedy="run notus binarize on this feedback again",
            )
        )
    for row in joined.iter_rows(named=True):
        yield EncodedPair(
            preference_id=row["preference_id"],
            prompt_id=row["prompt_id"],
            source=row["source"],
            strategy=row["strategy"],
            chosen=encode(row["messages"], row["chosen"]),
            rejected=encode(row["messages"], row["rejected"]),
        )


def select_texts(preferences: pl.DataFrame, feedback: Feedback) -> pl.DataFrame:
    """Join preferences with what they point to: messages, source, both texts; sorted by id."""
    texts = feedback.completions.select("completion_id", "text")
    prompts = feedback.prompts.select("prompt_id", "messages", "source")
    return (
        preferences.lazy()
        .join(prompts, on="prompt_id", how="inner")
        .join(texts.rename({"text": "chosen"}), left_on="chosen_id", right_on="completion_id")
        .join(texts.rename({"text": "rejected"}), left_on="rejected_id", right_on="completion_id")
        .sort("preference_id")
        .collect()
    )


def template_digest(tokenizer: Any) -> str:
    """Digest of all that decides which tokens a conversation becomes (sha256 hex)."""
    parts = [tokenizer.chat_template, tokenizer.__class__.__name__]
    backend = getattr(tokenizer, "backend_tokenizer", None)
    parts.append(backend.to_str() if backend is not None else str(sorted(tokenizer.get_vocab())))
    return hashlib.sha256("\x00".join(parts).encode()).hexdigest()


def end_of_turn(tokenizer: Any) -> list[int]:
    """Tokens that the template writes behind an answer; the last is the end-of-sequence token.

    Where the template ends a turn with another token (Gemma's `<end_of_turn>`), that stands first.
    """
    suffix = ending_text(tokenizer)
    ids = _tokens(tokenizer, suffix)
    eos = tokenizer.eos_token_id
    if eos in ids:
        return [*ids[: ids.index(eos)], eos]
    return [*_tokens(tokenizer, suffix.rstrip()), eos]


def ending_text(tokenizer: Any) -> str:
    """What the template writes behind an answer at the end of a conversation."""
    turns = [{"role": "user", "content": "?"}, {"role": "assistant", "content": _MARK}]
    return str(tokenizer.apply_chat_template(turns, tokenize=False)).rpartition(_MARK)[2]


def stop_ids(tokenizer: Any) -> set[int]:
    """Tokens that end an answer: end of sequence, and the template's own end of a turn."""
    special = tokenizer.added_tokens_decoder
    end = [i for i in end_of_turn(tokenizer) if i in special and special[i].special]
    return {tokenizer.eos_token_id, *end[:1]}


def _tokens(tokenizer: Any, text: str) -> list[int]:
    # The template writes its own special tokens; adding them again would double the BOS.
    return list(tokenizer(text, add_special_tokens=False)["input_ids"]) if text else []

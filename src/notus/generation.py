"""Sample answers from a local model, in batches by length, or as a stream.

Batches hold prompts of like length (left padding wastes little) up to a token budget, longest
first, so that a batch which does not fit in memory fails at once. What all prompts of a batch begin
with, mostly a system turn, is computed once. A row leaves its batch when its
answer has ended: short answers to long ones are common, and transformers' own loop would go on
computing them. Each row draws from its own generator, seeded by (seed, tokens of the prompt), so
neither batches nor other prompts have a say in an answer. Answers come back in the caller's order.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import DynamicCache

from notus.chat_template import encode_prompt, stop_ids
from notus.data.schema import Message
from notus.errors import DataError, explain
from notus.models import Model


@dataclass(frozen=True, kw_only=True)
class Generated:
    """One sampled answer."""

    text: str
    """The answer without special tokens."""
    finished: bool
    """Whether the model ended it; False where `max_new_tokens` cut it."""
    num_tokens: int
    """Number of tokens sampled, the end token included."""


def generate(
    model: Model,
    prompts: Sequence[Sequence[Message]],
    *,
    max_new_tokens: int,
    temperature: float = 0.0,
    seed: int = 0,
    batch_tokens: int = 8192,
    progress: Callable[[int, int], None] | None = None,
) -> list[Generated]:
    """Answer every prompt once.

    Args:
        model: A loaded model.
        prompts: Conversations that end with the turn to answer.
        max_new_tokens: Cut an answer after so many tokens.
        temperature: 0 picks the likeliest token; above it, sampling from the tempered distribution.
        seed: Seed of the draws (unused at temperature 0).
        batch_tokens: Most tokens (prompts padded, and answers) in one batch.
        progress: Called with (answers so far, answers in all) after each batch.

    Returns:
        One answer a prompt, in the order of `prompts`.

    Raises:
        DataError: A prompt and its answer do not fit in the model's window.
    """
    encoded = [_fitting_prompt(model, messages, max_new_tokens) for messages in prompts]
    answers = generate_ids(
        model,
        encoded,
        max_new_tokens=max_new_tokens,
        temperature=temperature,
        seed=seed,
        batch_tokens=batch_tokens,
        progress=progress,
    )
    return [decode(model, ids) for ids in answers]


def generate_ids(
    model: Model,
    prompts: Sequence[list[int]],
    *,
    max_new_tokens: int,
    temperature: float = 0.0,
    seed: int = 0,
    batch_tokens: int = 8192,
    progress: Callable[[int, int], None] | None = None,
) -> list[list[int]]:
    """Answer encoded prompts once, as `generate` does; prompts and answers must fit the window.

    Returns:
        The tokens of one answer a prompt, the end token included where the model ended it.
    """
    answers: list[list[int]] = [[] for _ in prompts]
    done = 0
    for batch in _batches(prompts, max_new_tokens, batch_tokens):
        draws = np.stack([_draws(prompts[i], seed, max_new_tokens) for i in batch])
        rows = [prompts[i] for i in batch]
        for row, token in _sample(model, rows, torch.from_numpy(draws), temperature):
            answers[batch[row]].append(token)
        done += len(batch)
        if progress is not None:
            progress(done, len(prompts))
    return answers


def decode(model: Model, ids: list[int]) -> Generated:
    """Turn the tokens of an answer of `generate_ids` into text."""
    finished = ids[-1] in _stops(model)
    text = model.tokenizer.decode(ids[:-1] if finished else ids, skip_special_tokens=True)
    return Generated(text=text.strip(), finished=finished, num_tokens=len(ids))


def stream(
    model: Model,
    messages: Sequence[Message],
    *,
    max_new_tokens: int,
    temperature: float = 0.0,
    seed: int = 0,
) -> Iterator[str]:
    """Answer one conversation, yielding pieces of text as they are sampled.

    The pieces are the answer that `generate` gives to this conversation alone, but that white space
    at its ends is kept.

    Raises:
        DataError: The conversation and its answer do not fit in the model's window.
    """
    prompt = _fitting_prompt(model, messages, max_new_tokens)
    draws = torch.from_numpy(_draws(prompt, seed, max_new_tokens)[None])
    ids: list[int] = []
    shown, stops = "", _stops(model)
    for _, token in _sample(model, [prompt], draws, temperature):
        if token in stops:
            break
        ids.append(token)
        text = model.tokenizer.decode(ids, skip_special_tokens=True)
        # A character may be made of several tokens: wait for its last.
        if len(text) > len(shown) and text.startswith(shown) and not text.endswith("\ufffd"):
            yield text[len(shown) :]
            shown = text
    rest = model.tokenizer.decode(ids, skip_special_tokens=True)[len(shown) :]
    if rest:
        yield rest


def _fitting_prompt(model: Model, messages: Sequence[Message], max_new_tokens: int) -> list[int]:
    ids = encode_prompt(model.tokenizer, messages)
    if len(ids) + max_new_tokens > model.window:
        raise DataError(
            explain(
                found=f"a prompt of {len(ids)} tokens and {max_new_tokens} tokens to answer it",
                expected=f"at most {model.window} tokens in all, the window of {model.name}",
                where=f"prompt {messages[-1]['content'][:80]!r}",
                remedy="shorten the prompt or lower max_new_tokens",
            )
        )
    return ids


def _draws(prompt: list[int], seed: int, count: int) -> np.ndarray:
    """Uniform draws of one prompt's answer."""
    key = int.from_bytes(hashlib.sha256(np.array(prompt, dtype=np.int64).tobytes()).digest()[:8])
    return np.random.default_rng([seed, key]).random(count)


def _batches(encoded: Sequence[list[int]], max_new_tokens: int, budget: int) -> Iterator[list[int]]:
    """Cut the prompts, longest first, into batches of at most `budget` tokens."""
    order = sorted(range(len(encoded)), key=lambda i: -len(encoded[i]))
    start = 0
    while start < len(order):
        width = len(encoded[order[start]]) + max_new_tokens
        size = max(1, budget // width)
        yield order[start : start + size]
        start += size


def _stops(model: Model) -> set[int]:
    """Tokens that end an answer, by the chat template and by the model's own settings."""
    own = getattr(model.model.generation_config, "eos_token_id", None)
    more = own if isinstance(own, list) else [own]
    return {*stop_ids(model.tokenizer), *(token for token in more if token is not None)}


@torch.no_grad()
def _sample(
    model: Model, prompts: list[list[int]], draws: Tensor, temperature: float
) -> Iterator[tuple[int, int]]:
    """Yield (row, token) as tokens are sampled; draws [B, N], one for each row and new token."""
    pad: Any = model.tokenizer.pad_token_id
    device, stops = model.model.device, _stops(model)
    shared = _num_shared(prompts)
    width = max(map(len, prompts)) - shared
    pads = [[pad] * (width - len(p) + shared) for p in prompts]
    rows = [padding + p[shared:] for padding, p in zip(pads, prompts, strict=True)]
    masks = [[1] * shared + [0] * len(padding) + [1] * (width - len(padding)) for padding in pads]
    mask = torch.tensor(masks, device=device)
    position = (mask.cumsum(1) - 1).clamp(min=0)[:, shared:]
    step, cache = torch.tensor(rows, device=device), DynamicCache(config=model.model.config)
    if shared:  # The system turn, once for the whole batch.
        prefix = torch.tensor([prompts[0][:shared]], device=device)
        model.model(input_ids=prefix, past_key_values=cache, logits_to_keep=1)
        cache.batch_repeat_interleave(len(prompts))
    live = list(range(len(prompts)))
    for n in range(draws.shape[1]):
        output = model.model(
            input_ids=step,
            attention_mask=mask,
            position_ids=position,
            past_key_values=cache,
            logits_to_keep=1,
        )
        step = _pick(output.logits[:, -1], draws[live, n].to(device), temperature)
        tokens = step.tolist()
        yield from zip(live, tokens, strict=True)
        going = [k for k, token in enumerate(tokens) if token not in stops]
        if not going:
            return
        if len(going) < len(live):
            kept = torch.tensor(going, device=device)
            step, mask, position = step[kept], mask[kept], position[kept]
            cache.batch_select_indices(kept)
            live = [live[k] for k in going]
        step, position = step[:, None], position[:, -1:] + 1
        mask = torch.cat([mask, mask.new_ones(len(live), 1)], dim=1)


def _num_shared(prompts: list[list[int]]) -> int:
    """Tokens that all prompts begin with; each keeps at least one of its own."""
    first, last = min(prompts), max(prompts)
    most = min(map(len, prompts)) - 1
    for n in range(most):
        if first[n] != last[n]:
            return n
    return most


def _pick(logits: Tensor, draws: Tensor, temperature: float) -> Tensor:
    """Next tokens [B]: the likeliest, or by inverting the tempered distribution at `draws` [B]."""
    if temperature == 0:
        return logits.argmax(-1)
    # float64: the float32 sum of 49,152 probabilities is off by more than the rarest of them.
    total = torch.softmax(logits.double() / temperature, dim=-1).cumsum(-1)
    picked = torch.searchsorted(total, draws[:, None] * total[:, -1:], right=True)[:, 0]
    return picked.clamp(max=logits.shape[-1] - 1)

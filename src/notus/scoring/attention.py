"""Attention over a forest, registered with transformers as "notus_tree".

The mask of a forest is `k <= q < subtree_end[k]`. On the CPU it is worked through in pieces that
need no mask (cpu_attention.py): for T = 2,625 tokens of real preference pairs in float32 a dense
mask costs 3-4 times as much. On a GPU it is FlexAttention (flex.py). For what those cannot do
(dropout, unequal head sizes) the mask is materialised for torch's attention; logit soft-capping
(Gemma 2) on the CPU takes the textbook formula.

Legend: T tokens in the row, H query heads, J key heads, G = H / J query heads a key head, D size.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn
from weakref import WeakSet

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AttentionInterface, PreTrainedModel

from notus.errors import UnsupportedModelError, UsageError, explain
from notus.scoring.cpu_attention import cpu_attention
from notus.scoring.flex import flex
from notus.scoring.forest import Forest
from notus.scoring.logps import as_autocast, sequence_logps
from notus.scoring.tree import TokenTree

NAME = "notus_tree"
_ATTENTION_LAYERS = {"full_attention", "sliding_attention", "chunked_attention"}
_WINDOWS = {"sliding_attention": "sliding_window", "chunked_attention": "attention_chunk_size"}


def _masked(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    forest: Forest,
    scale: float,
    dropout: float,
    softcap: float | None,
) -> Tensor:
    """Attention with the mask materialised; [1, H, T, D], [1, J, T, D] x 2 -> [1, T, H, D].

    With a softcap, logits x become softcap * tanh(x / softcap) (Gemma 2, arXiv 2408.00118).
    """
    groups = query.shape[1] // key.shape[1]
    key, value = (x.repeat_interleave(groups, 1) for x in (key, value))
    if softcap is None:
        out = F.scaled_dot_product_attention(
            query, key, value, attn_mask=forest.mask, dropout_p=dropout, scale=scale
        )
    else:
        logits = softcap * torch.tanh(query @ key.transpose(2, 3) * (scale / softcap))
        logits = logits.masked_fill(~forest.mask, float("-inf"))
        # float32 as in transformers' own Gemma 2
        weights = F.softmax(logits, -1, dtype=torch.float32).to(query.dtype)
        out = F.dropout(weights, dropout) @ value
    return out.transpose(1, 2).contiguous()


def tree_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    scaling: float | None = None,
    dropout: float = 0.0,
    forest: Forest | None = None,
    softcap: float | None = None,
    **_: object,
) -> tuple[Tensor, None]:
    """Attend over a forest; the signature is that of transformers' attention functions.

    Args:
        module: The attention layer that calls.
        query: [1, H, T, D].
        key: [1, J, T, D].
        value: [1, J, T, D].
        attention_mask: None, always: transformers builds none for a name that it does not know.
        scaling: Factor of the logits, D ** -0.5 when None.
        dropout: Probability of dropping an attention weight.
        forest: The row, passed to the model's forward as a keyword.
        softcap: Gemma 2's cap of the attention logits.

    Returns:
        [1, T, H, D] and None for the weights.

    Raises:
        UsageError: the model was called without a forest.
        UnsupportedModelError: the layer's window is shorter than the forest is deep.
    """
    forest = _checked(module, query, forest)
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    query, key, value = map(as_autocast, (query, key, value))
    sizes = {query.shape[-1], key.shape[-1], value.shape[-1]}
    if query.device.type == "cpu" and dropout == 0.0 and softcap is None and len(sizes) == 1:
        return cpu_attention(query, key, value, forest, scale), None
    if query.is_cuda and dropout == 0.0 and len(sizes) == 1:
        return flex(query, key, value, forest, scale, softcap), None
    return _masked(query, key, value, forest, scale, dropout, softcap), None


def _checked(module: Any, query: Tensor, forest: Forest | None) -> Forest:
    if forest is None or query.shape[0] != 1 or query.shape[2] != len(forest.subtree_end):
        raise UsageError(
            explain(
                found=f"a call with queries of shape {list(query.shape)} and "
                + ("no forest" if forest is None else f"a forest of {len(forest.parent)} tokens"),
                expected="one row as long as its forest: token_logps(model, forest)",
                where=f"{type(module).__name__} of a model inside use_tree_attention",
                remedy="leave use_tree_attention before generating or calling the model yourself",
            )
        )
    config = module.config
    kinds = getattr(config, "layer_types", None)
    kind = kinds[module.layer_idx] if kinds else "sliding_attention"
    window = getattr(config, _WINDOWS.get(kind, ""), None)
    if window is not None and forest.num_levels > window:
        raise UnsupportedModelError(
            explain(
                found=f"a window of {window} tokens and a tree {forest.num_levels} tokens deep",
                expected="trees no deeper than the window: within it the layer sees every token",
                where=f"layer {module.layer_idx} ({type(module).__name__}, {kind})",
                remedy='cut the sequences, or score with layout="padded"',
            )
        )
    return forest


@contextmanager
def use_tree_attention(model: nn.Module) -> Iterator[None]:
    """Switch a model to tree attention inside a `with` block, after proving that it is exact.

    The proof: six tokens in a tree and as plain rows must get the same log-probabilities. It
    catches what no list of architectures can: recurrence, attention sinks, logits scaled after the
    head, positions that do not come from `position_ids`. The former implementation returns at the
    end, also after an error. A model is proved once; a nested use changes nothing.

    Args:
        model: A transformers causal language model, or a PeftModel of one.

    Raises:
        UnsupportedModelError: the model has layers that carry state from token to token, keeps its
            attention to itself, or failed the proof.
    """
    inner = _transformers_model(model)
    if inner.config._attn_implementation == NAME:
        yield
        return
    if inner not in _proved:
        _prove(model, inner)
        _proved.add(inner)
    with _switched(inner):
        yield


@contextmanager
def _switched(inner: PreTrainedModel) -> Iterator[None]:
    before = inner.config._attn_implementation
    inner.set_attn_implementation(NAME)
    try:
        if inner.config._attn_implementation != NAME:
            _refuse(inner, "attention that cannot be exchanged")
        yield
    finally:
        inner.set_attn_implementation(before)


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Switch dropout off inside a `with` block; each module gets its own former mode back."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True


def _transformers_model(model: nn.Module) -> PreTrainedModel:
    """Return the transformers model inside of wrappers such as PEFT's."""
    for module in model.modules():
        if isinstance(module, PreTrainedModel):
            return module
    raise UnsupportedModelError(
        explain(
            found=f"a {type(model).__name__} without a transformers model in it",
            expected="a transformers causal language model, or a wrapper of one",
            where="use_tree_attention",
            remedy="load the model with AutoModelForCausalLM.from_pretrained",
        )
    )


def _prove(model: nn.Module, inner: PreTrainedModel) -> None:
    config = inner.config.get_text_config()
    for i, kind in enumerate(getattr(config, "layer_types", None) or ()):
        if kind not in _ATTENTION_LAYERS:
            _refuse(inner, f"layer {i} of kind {kind}, which is not attention over single tokens")
    ids = torch.arange(1, 7, device=inner.device) % config.vocab_size
    sequences = torch.stack([ids[:4], torch.cat([ids[:2], ids[4:]])])
    tree = TokenTree.from_sequences(sequences.tolist(), [1, 1])
    with evaluation_mode(model), torch.no_grad():
        logits = model(input_ids=sequences, use_cache=False).logits[:, :-1].float()
        plain = F.log_softmax(logits, -1).gather(-1, sequences[:, 1:, None]).sum((1, 2))
        with _switched(inner):
            scores = sequence_logps(model, Forest.from_trees([tree]).to(inner.device))
    # Logits that a half type holds exactly were computed in it, maybe by autocast inside the model.
    is_half = any(
        torch.equal(logits, logits.to(t).float()) for t in (torch.bfloat16, torch.float16)
    )
    error = float((scores - plain).abs().max())
    if not error <= (tolerance := 0.3 if is_half else 1e-3):
        _refuse(inner, f"log-probs of six tokens that differ by {error:.2g} nats (> {tolerance})")


def _refuse(model: PreTrainedModel, found: str) -> NoReturn:
    raise UnsupportedModelError(
        explain(
            found=f"{type(model).__name__} has {found}",
            expected="softmax attention over the tokens before, through transformers' interface",
            where="use_tree_attention",
            remedy='score with layout="padded", or train another model',
        )
    )


_proved: WeakSet[PreTrainedModel] = WeakSet()
AttentionInterface.register(NAME, tree_attention)

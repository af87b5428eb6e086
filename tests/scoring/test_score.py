"""The tree layout against the padded oracle, over model families, adapters and packings."""

from typing import Any

import peft
import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_models import (
    VOCABULARY,
    assert_parity,
    assert_same_gradients,
    gradients,
    make_model,
    make_trees,
    padded_logps,
)

from notus.errors import UnsupportedModelError, UsageError
from notus.scoring.attention import use_tree_attention
from notus.scoring.forest import Forest
from notus.scoring.logps import sequence_logps
from notus.scoring.score import score
from notus.scoring.tree import TokenTree

EXACT = ["llama", "qwen2", "qwen3", "gemma", "gemma3", "gpt_neox", "mistral", "phi"]
# Gemma 2's own attention computes its softmax in float32, so float64 has no exact oracle.
CASES = [(name, dtype) for name in EXACT for dtype in (torch.float64, torch.float32)]
CASES += [("gemma2", torch.float32)]

# PEFT asks transformers by the old name.
peft_warns = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing.*:FutureWarning")


def assert_layouts_agree(model: Any) -> None:
    trees = make_trees()
    slow = padded_logps(model, trees)
    slow_gradients = gradients(model, slow)
    with use_tree_attention(model):
        fast = sequence_logps(model, Forest.from_trees(trees))
        fast_gradients = gradients(model, fast)
    assert_parity(fast, slow, "log-probs")
    assert_same_gradients(fast_gradients, slow_gradients)


@pytest.mark.parametrize(("name", "dtype"), CASES)
def test_tree_equals_padded(name: str, dtype: torch.dtype) -> None:
    assert_layouts_agree(make_model(name, dtype))


@pytest.mark.parametrize(("name", "dtype"), CASES)
def test_scores_of_both_layouts_agree(name: str, dtype: torch.dtype) -> None:
    model, trees = make_model(name, dtype), make_trees()
    fast = score(model, trees, max_tokens=50)
    slow = score(model, trees, max_tokens=50, layout="padded")
    assert_parity(fast.logps, slow.logps, "log-probs", dtype)
    assert torch.equal(fast.num_tokens, slow.num_tokens)
    assert torch.equal(fast.is_greedy, slow.is_greedy)


@peft_warns
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("targets", ["all-linear", ["q_proj", "embed_tokens", "lm_head"]])
def test_lora_parity(dtype: torch.dtype, targets: str | list[str]) -> None:
    config = peft.LoraConfig(
        r=2,
        lora_alpha=4,
        target_modules=targets,
        init_lora_weights=False,  # the usual start, B = 0, would hide the adapter
        task_type="CAUSAL_LM",
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = peft.get_peft_model(make_model("llama", dtype), config).to(dtype)
    assert_layouts_agree(model)


@pytest.mark.parametrize("name", ["llama", "gemma", "gpt_neox"])
@pytest.mark.parametrize("use_reentrant", [True, False])
def test_gradient_checkpointing_parity(name: str, use_reentrant: bool) -> None:
    model = make_model(name, torch.float64)
    model.activation_checkpointing_enable({"use_reentrant": use_reentrant})
    model.train()
    assert_layouts_agree(model)


@peft_warns
def test_lora_with_gradient_checkpointing_parity() -> None:
    config = peft.LoraConfig(r=2, target_modules="all-linear", init_lora_weights=False)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = peft.get_peft_model(make_model("llama", torch.float64), config).to(torch.float64)
    model.enable_input_require_grads()
    model.activation_checkpointing_enable({"use_reentrant": False})
    model.train()
    assert_layouts_agree(model)


sequences = st.lists(
    st.lists(st.integers(0, 3), min_size=1, max_size=7), min_size=1, max_size=6
).filter(bool)


@settings(max_examples=25)
@given(groups=st.lists(sequences, min_size=1, max_size=4), max_tokens=st.integers(1, 60))
def test_scores_depend_neither_on_sharing_nor_on_packing(
    groups: list[list[list[int]]], max_tokens: int
) -> None:
    """However sequences are grouped into trees and trees into rows, each has its own score."""
    model = make_model("llama", torch.float64)
    grouped = [TokenTree.from_sequences(group, [1] * len(group)) for group in groups]
    single = [TokenTree.from_sequences([row], [1]) for group in groups for row in group]
    everything = [row for group in groups for row in group]
    together = TokenTree.from_sequences(everything[::-1], [1] * len(everything))
    expected = padded_logps(model, single)
    for trees in (grouped, single):
        assert_parity(score(model, trees, max_tokens=max_tokens).logps, expected, "packed")
    assert_parity(score(model, [together]).logps.flip(0), expected, "all in one tree")


def test_greedy_means_every_scored_token_is_the_argmax() -> None:
    model = make_model("llama", torch.float64)
    ids = torch.tensor([[5, 9, 30]])
    greedy = model.generate(ids, max_new_tokens=4, do_sample=False, eos_token_id=None)[0].tolist()
    last_wrong = [*greedy[:-1], (greedy[-1] + 1) % VOCABULARY]
    tree = TokenTree.from_sequences([greedy, last_wrong, last_wrong], [3, 3, 7])
    for layout in ("tree", "padded"):
        scores = score(model, [tree], layout=layout)
        assert scores.is_greedy.tolist() == [True, False, True]
        assert scores.num_tokens.tolist() == [4, 4, 0]
        assert scores.logps[2] == 0.0


@pytest.mark.parametrize("layout", ["tree", "padded"])
def test_progress_reaches_the_number_of_sequences(layout: str) -> None:
    trees, calls = make_trees(), []
    score(
        make_model("llama"),
        trees,
        max_tokens=40,
        layout=layout,
        progress=lambda done, total: calls.append((done, total)),
    )
    num_sequences = sum(tree.num_sequences for tree in trees)
    assert len(calls) > 2
    assert calls == sorted(set(calls))
    assert calls[-1] == (num_sequences, num_sequences)
    assert {total for _, total in calls} == {num_sequences}


@pytest.mark.parametrize("layout", ["tree", "padded"])
def test_nothing_to_score(layout: str) -> None:
    scores = score(make_model("llama"), [], layout=layout)
    assert [values.tolist() for values in scores] == [[], [], []]


@pytest.mark.parametrize("layout", ["tree", "padded"])
def test_dropout_is_off_while_scoring_and_modes_return(layout: str) -> None:
    model = make_model("gpt_neox", hidden_dropout=0.5, attention_dropout=0.5)
    expected = score(model, make_trees(), layout=layout).logps
    model.train()
    model.gpt_neox.layers[0].eval()
    modes = [module.training for module in model.modules()]
    assert torch.equal(score(model, make_trees(), layout=layout).logps, expected)
    assert [module.training for module in model.modules()] == modes


def test_scores_need_no_gradient_but_can_enter_a_loss() -> None:
    model, trees = make_model("llama"), make_trees()
    reference = score(model, trees).logps
    assert not reference.requires_grad
    with use_tree_attention(model):
        logps = sequence_logps(model, Forest.from_trees(trees))
    (logps * reference).sum().backward()
    assert model.lm_head.weight.grad.abs().max() > 0


def test_recurrent_model_is_scored_padded_and_refused_as_tree() -> None:
    config = transformers.MambaConfig(
        vocab_size=VOCABULARY, hidden_size=16, state_size=4, num_hidden_layers=2
    )
    model, trees = transformers.MambaForCausalLM(config).eval(), make_trees()
    with pytest.raises(
        UnsupportedModelError, match=r"(?s)layer 0 of kind linear_attention.*padded"
    ):
        score(model, trees)
    whole = score(model, trees, layout="padded").logps
    single = [score(model, [tree], layout="padded", max_tokens=1).logps for tree in trees]
    assert_parity(torch.cat(single), whole, "one by one", torch.float32)


def test_unknown_layout_lists_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"(?s)layout 'ragged'.*one of tree, padded"):
        score(make_model("llama"), make_trees(), layout="ragged")

"""Flash, matrix products and the dense mask against the textbook; what the switch lets through."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import transformers
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_tree import Scored, scored_sequences, tree_of
from tiny_models import (
    TOLERANCE,
    VOCABULARY,
    assert_parity,
    make_model,
    make_trees,
)
from torch import Tensor, nn

from notus.errors import UnsupportedModelError, UsageError
from notus.scoring import cpu_attention
from notus.scoring.attention import tree_attention, use_tree_attention
from notus.scoring.cpu_attention import SHORT
from notus.scoring.forest import Forest
from notus.scoring.logps import sequence_logps, token_logps
from notus.scoring.score import score
from notus.scoring.tree import TokenTree

LAYER = SimpleNamespace(config=SimpleNamespace(layer_types=None), layer_idx=0)


def states(
    forest: Forest, heads: int, key_heads: int, dtype: torch.dtype, value_size: int = 8
) -> tuple[Tensor, Tensor, Tensor]:
    length, rng = len(forest.parent), torch.Generator().manual_seed(0)
    shapes = (heads, 8), (key_heads, 8), (key_heads, value_size)
    q, k, v = (torch.randn(1, h, length, d, generator=rng, dtype=dtype) for h, d in shapes)
    return q.requires_grad_(), k.requires_grad_(), v.requires_grad_()


def textbook(q: Tensor, k: Tensor, v: Tensor, forest: Forest, cap: float | None = None) -> Tensor:
    """Softmax over the ancestors, one head at a time."""
    heads = []
    for h in range(q.shape[1]):
        j = h * k.shape[1] // q.shape[1]
        logits = 0.5 * q[0, h] @ k[0, j].T
        logits = logits if cap is None else cap * torch.tanh(logits / cap)
        weights = logits.masked_fill(~forest.mask, float("-inf")).softmax(-1)
        heads.append(weights @ v[0, j])
    return torch.stack(heads, 1)[None]


def run(q: Tensor, k: Tensor, v: Tensor, forest: Forest, **kw: Any) -> Tensor:
    return tree_attention(LAYER, q, k, v, None, scaling=0.5, forest=forest, **kw)[0]  # type: ignore[arg-type]


def assert_as_textbook(
    forest: Forest, inputs: tuple[Tensor, ...], cap: float | None = None
) -> None:
    fast, slow = run(*inputs, forest, softcap=cap), textbook(*inputs, forest, cap)
    assert_parity(fast, slow, "output")
    weights = torch.randn(slow.shape, dtype=slow.dtype)
    wanted = torch.autograd.grad((slow * weights).sum(), inputs)
    for name, a, b in zip(
        "qkv", torch.autograd.grad((fast * weights).sum(), inputs), wanted, strict=True
    ):
        assert_parity(a, b, f"gradient of {name}")


@pytest.fixture(params=["flash", "matmul"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways on the CPU, whatever is faster on this one."""
    monkeypatch.setattr(cpu_attention, "uses_matmul", lambda *_: request.param == "matmul")
    return str(request.param)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("key_heads", [1, 2, 4])
def test_both_ways_are_the_textbook(dtype: torch.dtype, key_heads: int) -> None:
    forest = Forest.from_trees(make_trees())
    assert len(forest.crosses) > 5
    assert_as_textbook(forest, states(forest, 4, key_heads, dtype))


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("size", [1, 3, 1000])
def test_blocks_of_any_size_are_the_textbook(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu_attention, "BLOCK", size)
    forest = Forest.from_trees(make_trees())
    assert_as_textbook(forest, states(forest, 4, 2, torch.float64))


@pytest.mark.usefixtures("way")
@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(scored_sequences, min_size=1, max_size=4))
def test_both_ways_are_the_textbook_for_any_forest(groups: list[Scored]) -> None:
    forest = Forest.from_trees([tree_of(group) for group in groups])
    assert_as_textbook(forest, states(forest, 4, 2, torch.float64))


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("key_heads", [1, 2, 4])
def test_dense_path_is_the_textbook(dtype: torch.dtype, key_heads: int) -> None:
    """Flash needs equal head sizes; values of another size take the materialised mask."""
    forest = Forest.from_trees(make_trees())
    assert_as_textbook(forest, states(forest, 4, key_heads, dtype, value_size=6))


def test_softcap_is_the_textbook() -> None:
    forest = Forest.from_trees(make_trees())
    assert_as_textbook(forest, states(forest, 4, 2, torch.float32), cap=2.0)


def long_forest() -> Forest:
    """Parts shorter and longer than `SHORT`; flash works in blocks of 32 to 512 positions."""
    rows = torch.randint(9, (4, 600), generator=torch.Generator().manual_seed(0)).tolist()
    rows = [rows[0][:500] + rows[1], rows[0][:500] + rows[2][:40], rows[0][:30] + rows[3]]
    return Forest.from_trees([TokenTree.from_sequences(rows, [1] * 3)])


@pytest.mark.usefixtures("way")
def test_long_chains_cross_flash_blocks() -> None:
    forest = long_forest()
    lengths = [at.stop - at.start for at in forest.chains]
    assert min(lengths) < SHORT < max(lengths)
    assert_as_textbook(forest, states(forest, 2, 1, torch.float64))


@pytest.mark.parametrize("make", [lambda: Forest.from_trees(make_trees()), long_forest])
@pytest.mark.parametrize(("dtype", "bits"), [(torch.bfloat16, 8), (torch.float16, 11)])
def test_half_precision_stays_close(
    dtype: torch.dtype, bits: int, make: Callable[[], Forest]
) -> None:
    """From the same inputs, results are within 4 roundings of the largest value."""
    forest = make()
    exact = states(forest, 4, 2, torch.float32)
    halves = tuple(x.detach().to(dtype).requires_grad_() for x in exact)
    inputs = tuple(x.detach().float().requires_grad_() for x in halves)
    slow, fast = textbook(*inputs, forest), run(*halves, forest)
    wanted = torch.autograd.grad(slow.sum(), inputs)
    found = torch.autograd.grad(fast.sum(), halves)
    for a, b in zip((fast, *found), (slow, *wanted), strict=True):
        assert a.dtype == dtype
        error = (a - b).abs().max() / b.abs().max()
        assert error.item() <= 4 * 2**-bits


def test_autocast_casts_mixed_inputs_like_torch_attention() -> None:
    """Rotary embeddings leave float32 queries beside bfloat16 values."""
    forest = Forest.from_trees(make_trees())
    q, k, v = states(forest, 4, 2, torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        out = run(q, k, v.bfloat16(), forest)
    assert out.dtype == torch.bfloat16
    out.sum().backward()
    assert q.grad is not None
    assert q.grad.dtype == torch.float32


@pytest.mark.parametrize("softcap", [None, 2.0])
def test_attention_dropout_drops_weights(softcap: float | None) -> None:
    """With value 1 everywhere a root, which sees itself only, gives 0 or 1 / (1 - 0.5)."""
    forest = Forest.from_trees(make_trees())
    q, k, v = states(forest, 4, 2, torch.float32)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        out = run(q, k, torch.ones_like(v), forest, dropout=0.5, softcap=softcap)
    roots = out[0, forest.parent < 0]
    assert roots.unique().tolist() == [0.0, 2.0]


def test_implementation_returns_after_the_block_and_after_errors() -> None:
    model = make_model("llama")
    model.set_attn_implementation("eager")
    with pytest.raises(UsageError, match="no forest"), use_tree_attention(model):
        model(input_ids=torch.tensor([[5, 6]]))
    assert model.config._attn_implementation == "eager"
    score(model, make_trees())
    assert model.config._attn_implementation == "eager"
    with use_tree_attention(model):
        with use_tree_attention(model):
            pass
        assert model.config._attn_implementation == "notus_tree"
    assert model.config._attn_implementation == "eager"


def test_a_model_is_proved_once() -> None:
    model, calls = make_model("llama"), []
    model.register_forward_pre_hook(lambda *_: calls.append(1))
    for _ in range(3):
        with use_tree_attention(model):
            pass
    assert len(calls) == 2  # one plain, one tree


def test_calls_that_are_no_forest_are_refused() -> None:
    model, forest = make_model("llama"), Forest.from_trees(make_trees())
    with use_tree_attention(model):
        with pytest.raises(UsageError, match=r"(?s)no forest.*LlamaAttention.*leave"):
            model.generate(torch.tensor([[5, 6]]), max_new_tokens=2)
        with pytest.raises(UsageError, match=r"(?s)\[1, 4, 3, 8\] and a forest of \d\d+ tokens"):
            model(input_ids=torch.tensor([[5, 6, 7]]), forest=forest)
        with pytest.raises(UsageError, match=r"\[2, 4, \d\d+, 8\]"):
            model(input_ids=forest.input_ids.repeat(2, 1), forest=forest)


@pytest.mark.parametrize(
    ("name", "config", "message"),
    [
        ("mistral", {"sliding_window": 7}, r"(?s)7 tokens.*8 tokens deep.*layer 0 \(MistralAtt"),
        (
            "qwen2",
            {"sliding_window": 7, "use_sliding_window": True, "max_window_layers": 1},
            r"(?s)layer 1 \(Qwen2Attention, sliding_attention",
        ),
        ("gemma3", {"sliding_window": 7}, r"(?s)7 tokens.*layer 0 \(Gemma3Attention"),
    ],
)
def test_window_shorter_than_the_tree_is_refused(
    name: str, config: dict[str, Any], message: str
) -> None:
    """Leaves are not read, so sequences of 9 tokens are 8 deep."""
    rows = [[1, 2, 3, 4, 5, 6, 7, 8, 9], [1, 2, 3]]
    tree = TokenTree.from_sequences(rows, [1, 1])
    short = make_model(name, **config)
    with pytest.raises(UnsupportedModelError, match=message):
        score(short, [tree])
    just = make_model(name, **config | {"sliding_window": 8})
    assert_parity(
        score(just, [tree]).logps,
        score(just, [tree], layout="padded").logps,
        "window as long as the tree is deep",
        torch.float32,
    )


def test_models_that_trees_would_score_wrongly_are_refused() -> None:
    """Attention sinks, scaled logits and ALiBi would each give plausible, wrong numbers."""
    sizes = {"vocab_size": VOCABULARY, "hidden_size": 32, "initializer_range": 0.3}
    layers = {"num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2}
    sinks = transformers.GptOssConfig(
        **sizes, **layers, head_dim=8, intermediate_size=16, num_experts_per_tok=1
    )
    scaled = transformers.CohereConfig(
        **sizes, **layers, intermediate_size=40, logit_scale=0.5, eos_token_id=2
    )
    alibi = transformers.BloomConfig(**sizes, n_layer=2, n_head=4)
    for config, message in (
        (sinks, r"GptOssForCausalLM has log-probs of six tokens that differ by \S+ nats"),
        (scaled, r"CohereForCausalLM has log-probs of six tokens that differ by \S+ nats"),
        (alibi, r"(?s)BloomForCausalLM has attention that cannot be exchanged.*padded"),
    ):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            model = transformers.AutoModelForCausalLM.from_config(config)
        before = model.config._attn_implementation
        with pytest.raises(UnsupportedModelError, match=message), use_tree_attention(model):
            pass
        assert model.config._attn_implementation == before


def test_hybrid_and_recurrent_models_name_their_layer() -> None:
    sizes = {"vocab_size": VOCABULARY, "hidden_size": 16, "num_hidden_layers": 2}
    mamba = transformers.MambaForCausalLM(transformers.MambaConfig(**sizes, state_size=4))
    hybrid = transformers.RecurrentGemmaForCausalLM(
        transformers.RecurrentGemmaConfig(**sizes, intermediate_size=16, num_attention_heads=2)
    )
    for model in (mamba, hybrid):
        with (
            pytest.raises(UnsupportedModelError, match="layer 0 of kind linear_attention"),
            use_tree_attention(model),
        ):
            pass


def test_only_transformers_models() -> None:
    with (
        pytest.raises(UnsupportedModelError, match="a Linear without a transformers model"),
        use_tree_attention(nn.Linear(2, 2)),
    ):
        pass


def test_models_in_bfloat16_are_proved_and_scored() -> None:
    model, trees = make_model("llama", torch.bfloat16), make_trees()
    half = score(model, trees).logps
    full = score(make_model("llama"), trees).logps
    assert (half - full).abs().max() < 0.05 * full.abs().max()
    with use_tree_attention(model):
        logps = sequence_logps(model, Forest.from_trees(trees))
        assert logps.dtype == torch.float32
        logps.sum().backward()


def test_attention_dropout_in_training_is_supported() -> None:
    model = make_model("llama", attention_dropout=0.5)
    forest = Forest.from_trees(make_trees())
    with use_tree_attention(model), torch.random.fork_rng():
        exact = token_logps(model, forest)
        model.train()
        torch.manual_seed(0)
        dropped = token_logps(model, forest)
    assert (exact - dropped).abs().max().item() > 0.01

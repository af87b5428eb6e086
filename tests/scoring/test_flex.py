"""FlexAttention over a forest: the mask and the forward here, the backward where there is a GPU."""

import pytest
import torch
from test_attention import states, textbook
from tiny_models import assert_parity, make_trees

from notus.scoring.flex import block_mask, flex
from notus.scoring.forest import Forest
from notus.scoring.tree import TokenTree


def long_forest() -> Forest:
    """More than two blocks of 128 tokens, and trees that end inside a block."""
    rng = torch.Generator().manual_seed(0)
    rows = torch.randint(9, (4, 150), generator=rng).tolist()
    pairs = [
        TokenTree.from_sequences([rows[0] + rows[1][:40], rows[0] + rows[2]], [150, 150]),
        TokenTree.from_sequences([rows[3], rows[3][:70] + rows[0][:20]], [70, 70]),
    ]
    return Forest.from_trees(pairs)


FORESTS = [Forest.from_trees(make_trees()), long_forest()]


@pytest.mark.parametrize("forest", FORESTS)
def test_the_mask_is_the_forests(forest: Forest) -> None:
    """Every block that the mask calls empty is empty, and inside the function decides."""
    mask, length = block_mask(forest), len(forest.parent)
    index = torch.arange(length)
    sees = mask.mask_mod(torch.tensor(0), torch.tensor(0), index[:, None], index[None])
    assert torch.equal(sees, forest.mask)
    size = mask.BLOCK_SIZE[0]
    blocks = mask.to_dense()[0, 0].bool()
    wide = blocks.repeat_interleave(size, 0).repeat_interleave(size, 1)[:length, :length]
    assert not (forest.mask & ~wide).any()
    assert torch.equal(blocks, block_any(forest.mask, size, len(blocks)))


def block_any(mask: torch.Tensor, size: int, count: int) -> torch.Tensor:
    padded = torch.zeros(count * size, count * size, dtype=torch.bool)
    padded[: len(mask), : len(mask)] = mask
    return padded.view(count, size, count, size).any(3).any(1)


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
@pytest.mark.parametrize("forest", FORESTS)
@pytest.mark.parametrize("key_heads", [1, 2, 4])
@pytest.mark.parametrize("cap", [None, 2.0])
def test_forward_is_the_textbook(forest: Forest, key_heads: int, cap: float | None) -> None:
    q, k, v = (x.detach() for x in states(forest, 4, key_heads, torch.float32))
    assert_parity(flex(q, k, v, forest, 0.5, cap), textbook(q, k, v, forest, cap), "output")


@pytest.mark.gpu
@pytest.mark.parametrize("forest", FORESTS)
@pytest.mark.parametrize("cap", [None, 2.0])
def test_gradients_are_the_textbooks(forest: Forest, cap: float | None) -> None:
    forest = forest.to("cuda")
    inputs = [x.detach().cuda().requires_grad_() for x in states(forest, 4, 2, torch.float32)]
    fast, slow = flex(*inputs, forest, 0.5, cap), textbook(*inputs, forest, cap)
    weights = torch.randn(slow.shape, device="cuda")
    wanted = torch.autograd.grad((slow * weights).sum(), inputs)
    for a, b in zip(torch.autograd.grad((fast * weights).sum(), inputs), wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-3)  # TF32 products on the GPU

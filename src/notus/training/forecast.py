"""Memory, operations and time of a training, from shapes alone.

    Shape (the model), Setup (how it is trained), Load (the data) -> memory, operations -> seconds

What a step keeps in memory is counted tensor by tensor for the layers that Llama, Mistral, Qwen and
their like share: two RMS norms, attention, a gated feed-forward part. Tests compare the counts with
what autograd really saves. Constants that cannot be derived are measured, and stand together below.

Legend: D hidden size, L layers, Q = heads x head size, K = key heads x head size, F inner size of
the feed-forward part, V vocabulary, r bytes of a residual number, c bytes of a product's operand.
"""

from collections.abc import Mapping
from dataclasses import dataclass

MIB = 2**20

# --- measured constants; what follows from them has not been compared with real runs yet

PROCESS_BYTES = {"cpu": 520 * MIB, "cuda": 1100 * MIB}
"""Interpreter and libraries; on CUDA instead the context, and the workspaces of its libraries."""
LOGITS_BYTES = 128 * MIB
"""float32 logits alive at once in the head (scoring.logps)."""
LOGITS_COPIES = 2.5
"""Copies of them, in float32 and in the products' type, at the worst moment."""
SLACK = {"cpu": 0.10, "cuda": 0.06}
"""Share of activations that the allocator holds beside what is in use."""
PAIR_BYTES_A_TOKEN = 36
"""A token of the encoded pairs: a Python int and its place in a list."""
BACKWARD = 2.5
"""Operations of attention's backward, in those of its forward: five products instead of two."""

OPTIMISER_STATES = {"adamw_torch": 2, "rmsprop": 1}
"""Numbers that an optimiser keeps for each trained weight."""
SHARDINGS = {
    "none": (),
    "zero2": ("gradients", "optimiser"),
    "fsdp": ("gradients", "optimiser", "weights"),
    "zero3": ("gradients", "optimiser", "weights"),
    "zero3-offload": ("gradients", "optimiser", "weights"),
}
"""How several processes may share: the parts of which each holds its share alone. With -offload
that share lies in the host's memory."""
GATHERED_LAYERS = 2
"""Layers that a process holds whole where weights are sharded: the one at work and the next."""


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What of a model decides memory and operations."""

    hidden: int
    """D."""
    layers: int
    """L."""
    heads: int
    queries: int
    """Q."""
    keys: int
    """K."""
    feedforward: int
    """F."""
    vocabulary: int
    """V."""
    parameters: int
    """All weights of the base model, shared ones once."""
    matrices: int
    """Those in the layers' matrix products."""
    rank: int = 0
    """Rank of the adapters; 0: all weights are trained."""
    adapters: int = 0
    """Weights of the adapters."""
    adapted: int = 0
    """Numbers that go into one layer's adapted products, a token."""
    adapted_products: int = 0
    """How many of a layer's products are adapted."""

    @property
    def trainable(self) -> int:
        """Weights that are trained."""
        return self.adapters or self.parameters

    @property
    def head(self) -> int:
        """Weights of the language-model head."""
        return self.hidden * self.vocabulary


@dataclass(frozen=True, kw_only=True)
class Setup:
    """How a model is trained."""

    device: str = "cpu"
    """cpu or cuda."""
    weight_bytes: float = 4
    """Of a number in the trained weights and the residual stream."""
    product_bytes: int = 4
    """Of a number in a matrix product."""
    four_bit: bool = False
    """The layers' frozen weights in 4 bits."""
    optimiser: str = "adamw_torch"
    checkpointing: bool = False
    """Only each layer's input is kept; the rest is computed again."""
    micro_batches: int = 2
    """Most of one step; from the second on, gradients lie beside a full set of activations."""
    processes: int = 1
    sharding: str = "none"
    """A name of SHARDINGS."""


@dataclass(frozen=True, kw_only=True)
class Load:
    """What one pass over some trees of tokens works on."""

    tokens: float
    """Tokens that the model sees."""
    scored: float
    """Positions at which the head runs."""
    attended: float
    """(query, key) pairs that attention computes."""

    def times(self, factor: float) -> "Load":
        """So many passes."""
        return Load(
            tokens=self.tokens * factor,
            scored=self.scored * factor,
            attended=self.attended * factor,
        )

    def plus(self, other: "Load") -> "Load":
        """Both."""
        return Load(
            tokens=self.tokens + other.tokens,
            scored=self.scored + other.scored,
            attended=self.attended + other.attended,
        )


def mean_load(trees: float, prompt: float, completion: float, *, completions: int = 2) -> Load:
    """The load of trees of which all have the mean lengths, in tokens."""
    seen = prompt * prompt / 2 + completions * completion * (prompt + completion / 2)
    tree = Load(
        tokens=prompt + completions * completion, scored=completions * completion, attended=seen
    )
    return tree.times(trees)


def activation_bytes(shape: Shape, setup: Setup) -> float:
    """Bytes that one layer keeps for its backward, a token."""
    r, c, trained = setup.weight_bytes, setup.product_bytes, shape.rank == 0
    # A norm keeps its input and the reciprocal norm in float32 and, where its own weights are
    # trained, the normed numbers.
    norms = 2 * (shape.hidden * (4 + (r if trained else 0)) + 4)
    # What two norms, attention and the gate give out, each kept once for all products that read it.
    outputs = 2 * shape.hidden + shape.queries + shape.feedforward
    if trained and r != c:
        inputs = outputs + 3 * shape.hidden  # Each product casts for itself.
    elif trained or r == c == 4:
        inputs = outputs if trained else min(outputs, shape.adapted)
    else:
        inputs = shape.adapted + shape.queries  # Cast to the adapters' float32 and back.
    inputs += shape.rank * shape.adapted_products
    # Query, key, value; its output is the next product's input. Sums of exponentials in float32.
    attention = c * (shape.queries + 2 * shape.keys) + 4 * shape.heads
    return norms + c * inputs + attention + 3 * c * shape.feedforward


def memory(shape: Shape, setup: Setup, *, tokens: float, pairs: float = 0) -> dict[str, float]:
    """Bytes of one process at its worst moment, by part.

    Args:
        shape: The model.
        setup: How it is trained.
        tokens: Of the largest micro-batch.
        pairs: Tokens of all encoded pairs, which lie in the memory of the CPU.
    """
    states = OPTIMISER_STATES[setup.optimiser] * setup.weight_bytes * shape.trainable
    parts = {
        "weights": _weights(shape, setup),
        "gradients": setup.weight_bytes * shape.trainable,
        "optimiser": states,
    }
    _shard(parts, shape, setup)
    if setup.micro_batches < 2:
        # They grow as the backward frees activations; at its beginning there are the head's alone.
        parts["gradients"] = 0.0
    kept = _kept(shape, setup, tokens)
    parts |= {
        "copies for products": _copies(shape, setup),
        "activations": kept,
        "logits": _logits(shape, setup),
        "overhead": PROCESS_BYTES[setup.device] + SLACK[setup.device] * kept,
    }
    if setup.device == "cpu":
        # With two numbers a pair for the reference, which is no second model: they are stored.
        parts["pairs and reference log-probs"] = PAIR_BYTES_A_TOKEN * pairs
    return parts


def largest_micro_batch(shape: Shape, setup: Setup, *, room: float, pairs: float = 0) -> int:
    """Most tokens of a micro-batch that fit into `room` bytes; below 1 if none does."""
    nothing = sum(memory(shape, setup, tokens=0, pairs=pairs).values())
    slope = sum(memory(shape, setup, tokens=1, pairs=pairs).values()) - nothing
    return int((room - nothing) / slope)


def operations(shape: Shape, load: Load, *, backward: bool, setup: Setup) -> dict[str, float]:
    """Multiplications and additions of a pass, by part.

    Two for each weight and token forward (Kaplan et al. 2020, section 2.1), as many for the
    gradient of a product's input and, where they are trained, of its weights.
    """
    body = 2 * (shape.matrices + shape.adapters) * load.tokens
    head = 2 * shape.head * load.scored
    attention = 4 * shape.queries * load.attended * shape.layers
    if not backward:
        return {"body": body, "head": head, "attention": attention}
    again = 1 if setup.checkpointing else 0
    factor = 3 if shape.rank == 0 else 2
    # The head computes its logits a second time instead of keeping them.
    return {
        "body": (factor + again) * body + 2 * shape.adapters * load.tokens,
        "head": (factor + 1) * head,
        "attention": (1 + BACKWARD + again) * attention,
    }


def _weights(shape: Shape, setup: Setup) -> float:
    """Base weights, and adapters in float32 (PEFT widens them)."""
    base = setup.weight_bytes * shape.parameters
    if setup.four_bit:
        # 4 bits a weight, and 8.127 / 64 for the double-quantised scales (arXiv 2305.14314, 3).
        packed = (4 + 8.127 / 64) / 8 * shape.matrices
        base = packed + setup.weight_bytes * (shape.parameters - shape.matrices)
    return base + 4 * shape.adapters


def _shard(parts: dict[str, float], shape: Shape, setup: Setup) -> None:
    """Divide among the processes what is sharded, and add what they hold besides."""
    shared = SHARDINGS[setup.sharding]
    if not shared and setup.processes > 1:
        parts["buckets"] = parts["gradients"]  # What all-reduce works on.
    for name in shared:
        offloaded = setup.sharding.endswith("-offload")
        parts[name] = 0.0 if offloaded else parts[name] / setup.processes
    if "weights" in shared:
        layer = shape.matrices / shape.layers
        outside = shape.parameters - shape.matrices
        parts["gathered weights"] = setup.weight_bytes * (GATHERED_LAYERS * layer + outside)


def _copies(shape: Shape, setup: Setup) -> float:
    """Weights in the products' type, which autocast makes and the backward needs."""
    if setup.product_bytes == setup.weight_bytes or setup.four_bit:
        return 0.0
    frozen_again = shape.rank > 0 and setup.checkpointing
    sharded = "weights" in SHARDINGS[setup.sharding]
    layers = 1 if frozen_again or sharded else shape.layers
    return setup.product_bytes * (shape.matrices / shape.layers * layers + shape.head)


def _kept(shape: Shape, setup: Setup, tokens: float) -> float:
    one = activation_bytes(shape, setup)
    if setup.checkpointing:
        return tokens * (setup.weight_bytes * shape.hidden * shape.layers + one)
    return tokens * one * shape.layers


def _logits(shape: Shape, setup: Setup) -> float:
    """Logits of one chunk, and the gradient of the head's weights where they are trained."""
    gradient = (setup.product_bytes + setup.weight_bytes) * shape.head if shape.rank == 0 else 0
    return LOGITS_COPIES * LOGITS_BYTES + gradient


def total(parts: Mapping[str, float]) -> float:
    """All parts together."""
    return sum(parts.values())

"""Reference log-probs: computed once for each completion, kept under content digests.

A row's key is the digest of its tokens; a store's key is the digest of the reference's weights and
settings, its template and the type of its matrix products. Re-binarizing, another beta, later
epochs and a killed run therefore cost no second reference pass, and any change in any of them
misses.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from notus.chat_template import template_digest
from notus.models import Model, weights_digest
from notus.scoring.score import score
from notus.store import write_frame
from notus.training.examples import completion_tree
from notus.training.group import group_place, wait_for_all

TREES_PER_SHARD = 128

SCHEMA = pl.Schema({"tokens": pl.String, "logp": pl.Float64, "num_tokens": pl.Int64})


class References(NamedTuple):
    """Log-probs of groups of completions, and what they cost."""

    logps: list[list[float]]
    """For each group the summed log-prob of each completion, in nats."""
    num_reused: int
    """Distinct completions that were stored already."""
    num_computed: int
    """Distinct completions that were scored now."""


class ReferenceStore:
    """A folder of log-probs under one reference model."""

    def __init__(self, root: Path, model: Model, *, precision: str) -> None:
        parts = [weights_digest(model.model), _settings(model.model.config)]
        parts += [template_digest(model.tokenizer), precision]
        self.key = hashlib.sha256("|".join(parts).encode()).hexdigest()[:16]
        self.directory = root / self.key
        self._logps: dict[str, float] = {}
        self.read()

    def read(self) -> None:
        """Take in what is on the disk, whichever process wrote it."""
        shards = sorted(self.directory.glob("*.parquet"))
        if shards:
            table = pl.concat([pl.read_parquet(path) for path in shards])
            self._logps = dict(zip(table["tokens"], table["logp"], strict=True))

    def add(self, rows: Sequence[tuple[str, float, int]]) -> None:
        """Keep new log-probs; they are on disk when this returns."""
        table = pl.DataFrame(list(rows), schema=SCHEMA, orient="row")
        self.directory.mkdir(parents=True, exist_ok=True)
        name = hashlib.sha256("".join(sorted(table["tokens"])).encode()).hexdigest()[:16]
        write_frame(self.directory / f"{name}.parquet", table)
        self._logps.update(zip(table["tokens"], table["logp"], strict=True))

    def __contains__(self, tokens: str) -> bool:
        return tokens in self._logps

    def __getitem__(self, tokens: str) -> float:
        return self._logps[tokens]


def tokens_digest(prompt_ids: Sequence[int], completion_ids: Sequence[int]) -> str:
    """Key of one completion behind one prompt (sha256 hex of both token lists)."""
    border = np.array([len(prompt_ids)], dtype=np.int64)
    ids = np.array([*prompt_ids, *completion_ids], dtype=np.int64)
    return hashlib.sha256(border.tobytes() + ids.tobytes()).hexdigest()


def reference_logps(
    store: ReferenceStore,
    model: Any,
    groups: Sequence[tuple[Sequence[int], Sequence[Sequence[int]]]],
    *,
    max_tokens: int,
    progress: Callable[[int, int], None] | None = None,
) -> References:
    """Log-probs of completions under the reference, from the store where it has them.

    Of what is missing each process of a group scores a part, and all read it from the store: a
    log-prob is the same number in all of them.

    Args:
        store: Where they are kept.
        model: The reference model.
        groups: (prompt tokens, token lists of its completions).
        max_tokens: Most tokens in one forward pass.
        progress: Called with (prompts scored so far, prompts to score) after each shard.
    """
    here = group_place()
    wait_for_all()  # The first may have written some, which all then know.
    store.read()
    keys = [[tokens_digest(prompt, c) for c in completions] for prompt, completions in groups]
    missing: dict[tuple[int, ...], dict[str, Sequence[int]]] = {}
    for (prompt, completions), row in zip(groups, keys, strict=True):
        for key, completion in zip(row, completions, strict=True):
            # What is stored is never scored again: it could differ in its last bit.
            if key not in store:
                missing.setdefault(tuple(prompt), {})[key] = completion
    num_computed = sum(map(len, missing.values()))
    num_reused = len({key for row in keys for key in row}) - num_computed
    todo = list(missing.items())
    for start in range(here.rank * TREES_PER_SHARD, len(todo), here.size * TREES_PER_SHARD):
        chunk = todo[start : start + TREES_PER_SHARD]
        trees = [
            completion_tree(list(prompt), [list(ids) for ids in rows.values()])
            for prompt, rows in chunk
        ]
        scores = score(model, trees, max_tokens=max_tokens)
        flat = [key for _, rows in chunk for key in rows]
        values = zip(flat, scores.logps.tolist(), scores.num_tokens.tolist(), strict=True)
        store.add(list(values))
        if progress is not None:
            progress(start + len(chunk), len(todo))
    wait_for_all()
    store.read()
    return References([[store[key] for key in row] for row in keys], num_reused, num_computed)


def _settings(config: Any) -> str:
    """What decides log-probs beside the weights (positions, norms), without where it came from."""
    settings = config.to_dict()
    for place in ("_name_or_path", "transformers_version"):
        settings.pop(place, None)
    return json.dumps(settings, sort_keys=True, default=str)

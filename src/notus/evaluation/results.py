"""Turn samples and pairs into numbers with n and an interval, and paired comparisons in words.

A family of prompts that was never trained on is reported apart (`unseen:NAME`) and is not part of
the main number.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from notus.results import UNSEEN, Paired, Result
from notus.stats import Estimate, mcnemar_exact, mean_interval, paired_bootstrap, wilson

SIGNIFICANCE = 0.05
NOTHING_SHOWN = "no difference shown"


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """All results of one evaluation."""

    results: list[Result]
    paired: list[Paired]

    def as_dict(self) -> dict[str, list[dict[str, object]]]:
        """Plain rows, for JSON."""
        return {
            "results": [result.model_dump() for result in self.results],
            "paired": [paired.model_dump() for paired in self.paired],
        }


def summarize(samples: pl.DataFrame) -> list[Result]:
    """Pass rates of each model in `samples`, greedy and sampled, in all and by family."""
    found = []
    for (model, mode), group in _items(samples).group_by("model", "mode", maintain_order=True):
        for family, rows in _groups(group):
            names = {"benchmark": "verifiable", "metric": "pass_rate", "mode": str(mode)}
            estimate = _estimate(rows["value"].to_numpy())
            found.append(_result({**names, "family": family}, str(model), estimate))
    return found


def compare_samples(samples: pl.DataFrame, *, seed: int, resamples: int) -> Comparison:
    """Pass rates of base and tuned, greedy and sampled, in all and by family.

    Args:
        samples: Rows of `verifiable.answer_prompts` for the models "base" and "tuned".
        seed: Seed of the bootstrap.
        resamples: Bootstrap resamples of each interval.
    """
    items = _items(samples)
    results, paired = [], []
    for mode in ("greedy", "sampled"):
        of_mode = items.filter(pl.col("mode") == mode)
        if of_mode.is_empty():
            continue
        for family, group in _groups(of_mode):
            names = {"benchmark": "verifiable", "metric": "pass_rate", "mode": mode}
            block = _block(group, {**names, "family": family}, seed=seed, resamples=resamples)
            results += block.results
            paired += block.paired
    return Comparison(results=results, paired=paired)


def compare_pairs(pairs: pl.DataFrame, *, seed: int, resamples: int) -> Comparison:
    """Log-prob accuracy of base and tuned, and reward accuracy of tuned, on held-out pairs."""
    if pairs.is_empty():
        return Comparison(results=[], paired=[])
    names: dict[str, str | None] = {"benchmark": "preferences", "mode": None, "family": None}
    items = pairs.select("model", "prompt_id", "preference_id", value="logp_correct")
    items = items.sort("preference_id", "model")
    block = _block(items, {**names, "metric": "logp_accuracy"}, seed=seed, resamples=resamples)
    rewards = pairs.filter(pl.col("model") == "tuned")["reward_correct"].to_numpy()
    reward = _result({**names, "metric": "reward_accuracy"}, "tuned", _estimate(rewards))
    return Comparison(results=[*block.results, reward], paired=block.paired)


def verdict(difference: Estimate, p_value: float | None) -> str:
    """Say in words what a paired difference shows.

    "better" or "worse" needs both: an interval without 0, and an exact test (where there is one)
    that rejects at 5 %. With ten items a bootstrap interval leaves 0 out after four gains and no
    loss, which happens by chance once in eight times (exact p = 0.125).
    """
    if p_value is not None and p_value >= SIGNIFICANCE:
        return NOTHING_SHOWN
    if difference.low > 0:
        return "better"
    return "worse" if difference.high < 0 else NOTHING_SHOWN


def _items(samples: pl.DataFrame) -> pl.DataFrame:
    """One row a model, mode and prompt: the share of its answers that passed."""
    return (
        samples.group_by("model", "mode", "family", "seen", "prompt_id", maintain_order=True)
        .agg(value=pl.col("passed").cast(pl.Float64).mean())
        .sort("mode", "family", "prompt_id", "model")
    )


def _groups(items: pl.DataFrame) -> list[tuple[str | None, pl.DataFrame]]:
    """All seen families together (None), then each of them, then each unseen one."""
    seen, unseen = items.filter("seen"), items.filter(~pl.col("seen"))
    groups: list[tuple[str | None, pl.DataFrame]] = [(None, seen)] if not seen.is_empty() else []
    for name in sorted(seen["family"].unique()):
        groups.append((name, seen.filter(pl.col("family") == name)))
    for name in sorted(unseen["family"].unique()):
        groups.append((f"{UNSEEN}{name}", unseen.filter(pl.col("family") == name)))
    return groups


def _block(
    items: pl.DataFrame, names: Mapping[str, str | None], *, seed: int, resamples: int
) -> Comparison:
    """Results of both models on the same items, and their paired comparison."""
    base = items.filter(pl.col("model") == "base")["value"].to_numpy()
    tuned = items.filter(pl.col("model") == "tuned")["value"].to_numpy()
    results = [
        _result(names, label, _estimate(values))
        for label, values in (("base", base), ("tuned", tuned))
        if len(values)
    ]
    if len(base) < 2 or len(tuned) < 2:  # One item has no spread: a number, but no interval.
        return Comparison(results=results, paired=[])
    clusters = items.filter(pl.col("model") == "base")["prompt_id"].to_numpy()
    rng = np.random.default_rng(seed)
    difference = paired_bootstrap(
        base, tuned, rng=rng, resamples=resamples, clusters=clusters, limits=(-1.0, 1.0)
    )
    binary = bool(np.isin(np.concatenate([base, tuned]), (0.0, 1.0)).all())
    gained, lost = int((tuned > base).sum()), int((tuned < base).sum())
    p_value = mcnemar_exact(gained, lost) if binary else None
    paired = Paired(
        benchmark=str(names["benchmark"]),
        metric=str(names["metric"]),
        mode=names["mode"],
        family=names["family"],
        base=float(base.mean()),
        tuned=float(tuned.mean()),
        difference=difference.value,
        low=difference.low,
        high=difference.high,
        p_value=p_value,
        gained=gained,
        lost=lost,
        n=len(base),
        num_clusters=len(set(clusters.tolist())),
        verdict=verdict(difference, p_value),
    )
    return Comparison(results=results, paired=[paired])


def _estimate(values: Sequence[float] | np.ndarray) -> Estimate:
    """Wilson's interval for outcomes of 0 and 1, else the normal one of a mean."""
    array = np.asarray(values, dtype=np.float64)
    if np.isin(array, (0.0, 1.0)).all():
        return wilson(int(array.sum()), len(array))
    return mean_interval(array)


def _result(names: Mapping[str, str | None], model: str, estimate: Estimate) -> Result:
    return Result(
        benchmark=str(names["benchmark"]),
        metric=str(names["metric"]),
        mode=names["mode"],
        family=names["family"],
        model=model,
        value=estimate.value,
        standard_error=estimate.standard_error,
        low=estimate.low,
        high=estimate.high,
        n=estimate.n,
    )

"""What a training logs: every name with its unit and its formula, as docs/training.md lists them.

A name in `metrics.jsonl` is one of METRICS, or `eval_` and one of them (held-out pairs), or
`source/NAME/` or `strategy/NAME/` and one of them (the pairs of one source or strategy), or all.
"""

from typing import NamedTuple


class Metric(NamedTuple):
    """One logged number."""

    unit: str
    meaning: str


METRICS: dict[str, Metric] = {
    "step": Metric("", "optimiser steps so far"),
    "epoch": Metric("", "passes over the training pairs so far"),
    "loss": Metric("nats", "mean loss of the step's pairs"),
    "perplexity": Metric("", "of supervised fine-tuning: exp of the loss"),
    "learning_rate": Metric("", "learning rate of the step"),
    "grad_norm": Metric("", "norm of the gradient before clipping"),
    "clipped": Metric("share", "steps since the last row whose gradient was scaled down"),
    "num_examples": Metric(
        "", "examples (pairs, votes, demonstrations) that the row's means are over"
    ),
    "rewards/chosen": Metric("nats", "implicit reward of the chosen answers, as the loss has it"),
    "rewards/rejected": Metric("nats", "the same of the rejected answers"),
    "rewards/margins": Metric("nats", "mean of reward of chosen minus reward of rejected"),
    "rewards/margins_p10": Metric("nats", "10 % quantile of the margin over pairs"),
    "rewards/margins_p50": Metric("nats", "median of the margin"),
    "rewards/margins_p90": Metric("nats", "90 % quantile of the margin"),
    "rewards/accuracies": Metric("share", "pairs with a positive margin; a tie counts half"),
    "rewards/accuracies_low": Metric("share", "lower end of its 95 % interval (Wilson 1927)"),
    "rewards/accuracies_high": Metric("share", "upper end of its 95 % interval"),
    "logps/chosen": Metric("nats", "mean log-prob of the chosen answers, summed over tokens"),
    "logps/rejected": Metric("nats", "the same of the rejected answers"),
    "delta_logps/chosen": Metric("nats", "mean of ln pi(chosen) - ln pi_ref(chosen)"),
    "delta_logps/rejected": Metric("nats", "mean of ln pi(rejected) - ln pi_ref(rejected)"),
    "delta_logps_per_token/chosen": Metric(
        "nats/token", "mean over pairs of (ln pi - ln pi_ref) / tokens, chosen answers"
    ),
    "delta_logps_per_token/rejected": Metric("nats/token", "the same of the rejected answers"),
    "displaced": Metric(
        "share",
        "pairs with ln pi(chosen) < ln pi_ref(chosen): likelihood displacement of a pair "
        "(arXiv 2410.08847, definition 1)",
    ),
    "displacement": Metric(
        "nats/token", "mean over pairs of max(0, -(ln pi - ln pi_ref) / tokens), chosen answers"
    ),
    "tokens_per_second": Metric(
        "tokens/s", "tokens of the trees per second of training steps (without evaluation, saving)"
    ),
    "mfu": Metric(
        "share",
        "model FLOPs a second of training steps, over the matrix-product ceiling measured at start",
    ),
    "ceiling": Metric(
        "FLOP/s",
        "the best matrix product in the type of training's, measured before the first step",
    ),
    "answers/tokens": Metric("tokens", "mean length of greedy answers to the sample prompts"),
    "answers/length_ratio": Metric("ratio", "the same over that of the base's answers"),
    "answers/finished": Metric("share", "greedy answers that the model ended itself"),
    "answers/repetition": Metric(
        "share", "4-grams of greedy answers that stood there before (seq-rep-4, arXiv 1908.04319)"
    ),
    "answers/base_repetition": Metric("share", "the same of the base's answers"),
    "answers/kl": Metric(
        "nats/token",
        "KL(policy || reference) on answers sampled at temperature 1: mean of r - 1 - ln r with "
        "r = p_ref / p (k3, Schulman 2020)",
    ),
    "answers/kl_sequence": Metric(
        "nats/answer", "mean over sampled answers of ln p - ln p_ref, summed over tokens"
    ),
    "answers/entropy": Metric("nats/token", "mean of -ln p of the sampled tokens"),
    "answers/entropy_ratio": Metric("ratio", "the same over that of the base's own answers"),
    "runtime": Metric("s", "duration of the evaluation"),
    "samples_per_second": Metric("pairs/s", "held-out pairs a second"),
    "steps_per_second": Metric("batches/s", "held-out batches a second"),
}
METRICS |= {
    f"seconds/{part}": Metric("s", f"since the last row: {what}")
    for part, what in {
        "reference": "log-probs of the reference",
        "data": "waiting for the next batch",
        "forward": "forward passes, with the gradient of the head, which is made there",
        "backward": "backward passes",
        "optimiser": "clipping, optimiser and schedule",
        "logging": "statistics, metrics files and trackers",
        "evaluation": "held-out pairs",
        "answers": "sample answers and their KL",
        "saving": "checkpoints",
    }.items()
}


class Name(NamedTuple):
    """A logged name, taken apart."""

    is_evaluation: bool
    kind: str | None
    """"source" or "strategy"; None: all pairs."""
    group: str | None
    metric: str
    """A key of METRICS."""


def parse(name: str) -> Name | None:
    """Take a logged name apart; None for a name that no training of notus logs.

    A group's name may hold anything, slashes too, so the metric is what it ends with.
    """
    rest = name.removeprefix("eval_")
    is_evaluation = rest != name
    if rest in METRICS:
        return Name(is_evaluation, None, None, rest)
    kind, _, rest = rest.partition("/")
    fitting = [metric for metric in METRICS if rest.endswith(f"/{metric}")]
    if kind not in ("source", "strategy") or not fitting:
        return None
    metric = max(fitting, key=len)
    return Name(is_evaluation, kind, rest.removesuffix(f"/{metric}"), metric)

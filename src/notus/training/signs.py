"""Signs that a training goes wrong, said once and in words: numbers, what they mean, what to do.

    a row of metrics.jsonl -> Signs.observe -> signs that have just set in

A sign sets in at one threshold and ends at a milder one, so a number that hovers about a threshold
is said once; what has ended may set in again. Everything here follows from the rows alone, none of
it from the clock: a resumed training replays its rows and says what it would have said.
"""

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import exp, isfinite
from typing import Any, NamedTuple

from notus.stats import wilson

Row = Mapping[str, Any]

WINDOW = 20
"""Training rows that a running mean is over."""
KEPT = 200
"""Training rows that are remembered."""
LEAST_PAIRS = 32
"""Pairs that a running mean needs before anything is said."""
CHANCE_PAIRS = 200
"""Pairs that an accuracy needs before it is called chance: +-7 points."""


class Mean(NamedTuple):
    """A running mean."""

    value: float
    num_examples: int
    since: int
    """Step before the first that it is over."""


class Reading(NamedTuple):
    """What a rule makes of the last row."""

    sets_in: bool
    ends: bool
    numbers: str
    since: int
    """Step of the oldest evidence: a checkpoint up to there is not yet concerned."""


@dataclass(frozen=True, kw_only=True)
class Sign:
    """Something that has set in."""

    name: str
    step: int
    since: int
    numbers: str
    meaning: str
    remedy: str

    @property
    def text(self) -> str:
        """The whole sign in three sentences."""
        return f"{self.name.replace('_', ' ')}: {self.numbers}. {self.meaning} {self.remedy}"


@dataclass(frozen=True, kw_only=True)
class Rule:
    """How one kind of sign is read, and what is said about it."""

    read: Callable[["History"], Reading | None]
    """None: the last row says nothing about it."""
    meaning: str
    remedy: str


class History:
    """The rows that rules look at."""

    def __init__(self, total_steps: int) -> None:
        self.total_steps = total_steps
        self.last: Row = {}
        self.training: deque[Row] = deque(maxlen=KEPT)
        self.before: dict[str, int] = {}
        """Kind of row -> step of the one before the last: "eval" and "answers"."""
        self._steps: dict[str, int] = {}

    def add(self, row: Row) -> None:
        """Take in one row."""
        self.last = row
        if "loss" in row:
            self.training.append(row)
        for kind, key in (("eval", "eval_loss"), ("answers", "answers/tokens")):
            if key in row:
                self.before[kind] = self._steps.get(kind, 0)
                self._steps[kind] = int(row["step"])

    def mean(self, name: str, *, least_pairs: int = LEAST_PAIRS, rows: int = WINDOW) -> Mean | None:
        """Mean over the pairs of the last rows; None: too few pairs for it."""
        total, pairs, first = 0.0, 0, 0
        for i, row in enumerate(reversed(self.training)):
            if name not in row or (i >= rows and pairs >= least_pairs):
                break
            total += row[name] * row["num_examples"]
            pairs, first = pairs + int(row["num_examples"]), int(row["step"])
        return Mean(total / pairs, pairs, first - 1) if pairs >= least_pairs else None


class Signs:
    """Watches rows go by."""

    def __init__(self, total_steps: int) -> None:
        self._history = History(total_steps)
        self.raised: set[str] = set()

    def observe(self, row: Row) -> list[Sign]:
        """Take in one row of metrics.jsonl; return the signs that it sets in."""
        self._history.add(row)
        found = []
        for name, rule in RULES.items():
            reading = rule.read(self._history)
            if reading is None:
                continue
            if name in self.raised:
                if reading.ends:
                    self.raised.remove(name)
            elif reading.sets_in:
                self.raised.add(name)
                found.append(
                    Sign(
                        name=name,
                        step=int(row["step"]),
                        since=reading.since,
                        numbers=reading.numbers,
                        meaning=rule.meaning,
                        remedy=rule.remedy,
                    )
                )
        return found


def _not_finite(history: History) -> Reading | None:
    row = history.last
    wrong = [
        f"{name} is {row[name]}"
        for name in ("loss", "grad_norm", "eval_loss")
        if name in row and not isfinite(row[name])
    ]
    return Reading(bool(wrong), not wrong, " and ".join(wrong), int(row["step"]) - 1)


def _displacement(history: History) -> Reading | None:
    if "eval_displacement" in history.last:
        lost, share = history.last["eval_displacement"], history.last["eval_displaced"]
        where, since = "held-out", history.before["eval"]
    elif "displacement" in history.last:
        mean, displaced = history.mean("displacement"), history.mean("displaced")
        if mean is None or displaced is None:
            return None
        lost, share, where, since = mean.value, displaced.value, "training", mean.since
    else:
        return None
    numbers = (
        f"chosen answers of {where} pairs lost {lost:.2f} nats a token "
        f"({100 * (1 - exp(-lost)):.0f} % less likely), {100 * share:.0f} % of pairs are displaced"
    )
    return Reading(lost > 0.1 and share > 0.5, lost < 0.05, numbers, since)


def _collapse(history: History) -> Reading | None:
    row = history.last
    if "answers/tokens" not in row:
        return None
    repeated = row["answers/repetition"] - row["answers/base_repetition"]
    entropy = row.get("answers/entropy_ratio", 1.0)
    length = row["answers/length_ratio"]
    numbers = (
        f"{100 * row['answers/repetition']:.0f} % of 4-grams are repeated (base "
        f"{100 * row['answers/base_repetition']:.0f} %), length is {length:.2f} of the base's"
    )
    if "answers/entropy_ratio" in row:
        numbers += f", entropy {entropy:.2f} of the base's"
    bad = repeated > 0.3 or entropy < 0.25 or length < 0.25
    fine = repeated < 0.2 and entropy > 0.4 and length > 0.4
    return Reading(bad, fine, numbers, history.before["answers"])


def _length_drift(history: History) -> Reading | None:
    row = history.last
    if "answers/tokens" not in row:
        return None
    ratio = row["answers/length_ratio"]
    numbers = (
        f"answers have {row['answers/tokens']:.1f} tokens on average, {ratio:.2f} of the base's to "
        "the same prompts"
    )
    bad, fine = ratio > 1.5 or ratio < 1 / 1.5, 0.8 < ratio < 1.25
    return Reading(bad, fine, numbers, history.before["answers"])


def _kl(history: History) -> Reading | None:
    row = history.last
    if "answers/kl" not in row:
        return None
    numbers = (
        f"KL to the reference is {row['answers/kl']:.2f} nats a token, "
        f"{row['answers/kl_sequence']:.0f} nats an answer"
    )
    # A NaN sets in, too.
    return Reading(
        not row["answers/kl"] <= 0.5, row["answers/kl"] < 0.25, numbers, history.before["answers"]
    )


def _chance(history: History) -> Reading | None:
    row = history.last
    if 2 * int(row["step"]) < history.total_steps:
        return None
    if "eval_rewards/accuracies" in row:
        accuracy, n = row["eval_rewards/accuracies"], row["eval_num_examples"]
        where, since = "held-out", history.before["eval"]
    elif "rewards/accuracies" in row:
        mean = history.mean("rewards/accuracies", least_pairs=CHANCE_PAIRS)
        accuracy, n, since = mean or (0.0, 0, 0)
        where = "training"
    else:
        return None
    if n < CHANCE_PAIRS or not isfinite(accuracy):
        return None
    estimate = wilson(accuracy * n, int(n))
    numbers = (
        f"reward accuracy on {n:.0f} {where} pairs is {100 * accuracy:.0f} % "
        f"({100 * estimate.low:.0f} to {100 * estimate.high:.0f} %)"
    )
    return Reading(estimate.low <= 0.5, estimate.low > 0.5, numbers, since)


def _clipping(history: History) -> Reading | None:
    rows = list(history.training)[-WINDOW:]
    if "clipped" not in history.last or len(rows) < WINDOW:
        return None
    rate = sum(row["clipped"] for row in rows) / WINDOW
    norm = sorted(row["grad_norm"] for row in rows)[WINDOW // 2]
    numbers = (
        f"{100 * rate:.0f} % of the last {WINDOW} steps were clipped, the median gradient norm "
        f"being {norm:.1f}"
    )
    return Reading(rate == 1, rate < 0.8, numbers, int(rows[0]["step"]) - 1)


RULES: dict[str, Rule] = {
    "not_finite": Rule(
        read=_not_finite,
        meaning="From here on weights are or will be NaN; nothing later can be used.",
        remedy="Lower train.learning_rate; with bfloat16 try train.precision=float32; look at the "
        "pairs of this step.",
    ),
    "displacement": Rule(
        read=_displacement,
        meaning="The margin grows because rejected answers fall faster, while the probability of "
        "chosen ones goes to answers that nobody rated (likelihood displacement).",
        remedy="Lower train.learning_rate or raise train.beta; drop pairs whose answers are nearly "
        "alike; add a term on the chosen answers (RPO's NLL, or loss apo_zero).",
    ),
    "collapse": Rule(
        read=_collapse,
        meaning="The model says the same over and over, or next to nothing, whatever it is asked.",
        remedy="Go back to an earlier checkpoint; lower train.learning_rate or the number of "
        "epochs, raise train.beta.",
    ),
    "length_drift": Rule(
        read=_length_drift,
        meaning="The model may be learning length instead of quality: compare the lengths of "
        "chosen and rejected answers (notus audit, rule length).",
        remedy="Use a length-normalised loss, or a strategy that balances lengths.",
    ),
    "kl": Rule(
        read=_kl,
        meaning="The policy is far from its reference; its implicit reward is no longer a guide.",
        remedy="Raise train.beta, lower train.learning_rate, or stop earlier.",
    ),
    "chance": Rule(
        read=_chance,
        meaning="Half of the training is over and the model still ranks pairs no better than a "
        "coin.",
        remedy="Raise train.learning_rate; check that chosen and rejected are not swapped, and how "
        "far raters agree (notus audit).",
    ),
    "clipping": Rule(
        read=_clipping,
        meaning="Every step has the same length whatever the gradient says, so the learning rate "
        "means something else than it seems.",
        remedy="Raise train.max_grad_norm above the usual norm, or lower train.learning_rate and "
        "know that it is a step length.",
    ),
}
"""Every sign by name, in the order in which they are said."""

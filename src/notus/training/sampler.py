"""Sample answers while a model trains: the base's once, the policy's at every evaluation.

    held-out prompts -> greedy answer: length, repetition
                     -> answer drawn at temperature 1: KL to the reference, entropy
                     -> samples.jsonl: every answer, for people to read

Prompts and draws are fixed, so two answers to one prompt differ by the weights alone. What an
evaluation costs is bounded by the recipe: 2 * samples * max_new_tokens tokens drawn, half of them
scored twice. Every process of a run samples alike, because a sharded model cannot answer alone.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from notus.directories import write_atomically
from notus.generation import decode, generate_ids
from notus.models import Model
from notus.scoring.attention import evaluation_mode, use_tree_attention
from notus.scoring.forest import pack
from notus.scoring.logps import token_scores
from notus.training.answers import divergence, length_ratio, repetition
from notus.training.examples import completion_tree
from notus.training.monitor import Array

MODES = {"greedy": 0.0, "sampled": 1.0}
"""How answers are made, and at which temperature."""
BASE, POLICY = "base", "policy"
Context = Callable[[], AbstractContextManager[Any]]


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A row of samples.jsonl."""

    step: int
    model: str
    """BASE or POLICY."""
    mode: str
    """A key of MODES."""
    prompt_id: str
    prompt: str
    """The prompt as the model saw it, without special tokens."""
    text: str
    finished: bool
    """Whether the model ended it."""
    num_tokens: int
    repetition: float
    """Repeated share of its 4-grams."""
    entropy: float | None
    """Mean of -ln p over a sampled answer's tokens, in nats."""


class SamplePrompt(NamedTuple):
    """A prompt that is answered again and again."""

    prompt_id: str
    ids: list[int]


class _Round(NamedTuple):
    """What one model answered at one time."""

    answers: list[Answer]
    sampled: list[list[int]]
    """Tokens of the answers drawn at temperature 1."""
    logps: list[Array]
    """Their log-probs under the model that drew them."""


def choose_prompts(
    prompts: Mapping[str, list[int]], number: int, *, longest: int
) -> list[SamplePrompt]:
    """Choose the prompts whose ids, which are hashes, come first.

    Args:
        prompts: prompt_id -> tokens.
        number: How many.
        longest: Most tokens that a prompt may have, for an answer to fit the model's window.
    """
    fitting = sorted(name for name, ids in prompts.items() if len(ids) <= longest)
    return [SamplePrompt(name, prompts[name]) for name in fitting[:number]]


class Sampler:
    """Answers the same prompts before and while a model trains."""

    def __init__(
        self,
        model: Model,
        prompts: Sequence[SamplePrompt],
        *,
        path: Path,
        writes: bool,
        max_new_tokens: int,
        seed: int,
        autocast: Context,
        reference: Context | None,
    ) -> None:
        """Prepare sampling.

        Args:
            model: The model that trains.
            prompts: What it is asked; at least one.
            path: samples.jsonl.
            writes: Whether this process is the one that writes it.
            max_new_tokens: Cut an answer after so many tokens.
            seed: Of the draws.
            autocast: What training computes under.
            reference: Lends the reference model; None: no KL.
        """
        self._model = model
        self._prompts = prompts
        self._path = path
        self._writes = writes
        self._max_new_tokens = max_new_tokens
        self._seed = seed
        self._autocast = autocast
        self._reference = reference
        self._base: list[Answer] = []

    def start(self) -> None:
        """Answer as the base: before its first step the policy is the base."""
        self._base = self._round(0, BASE).answers
        self._write(self._base)

    def resume(self, step: int) -> None:
        """Go on after a step: what was answered later is dropped."""
        lines = self._path.read_text("utf-8").splitlines()
        answers = [Answer(**json.loads(line)) for line in lines if _is_whole(line)]
        self._base = [answer for answer in answers if answer.model == BASE]
        self._write([answer for answer in answers if answer.step <= step])

    def evaluate(self, step: int) -> tuple[list[Answer], dict[str, float]]:
        """Answer as the policy; return the answers and their numbers."""
        found = self._round(step, POLICY)
        self._append(found.answers)
        numbers = compare(found.answers, self._base)
        if self._reference is not None:
            with self._reference() as reference:
                theirs = self._logps(reference, found.sampled)
            kl = divergence(found.logps, theirs)
            numbers |= {"answers/kl": kl.k3, "answers/kl_sequence": kl.sequence}
        return found.answers, numbers

    def _round(self, step: int, name: str) -> _Round:
        ids = {mode: self._generate(temperature) for mode, temperature in MODES.items()}
        logps = self._logps(self._model.model, ids["sampled"])
        answers = [
            self._answer(step, name, mode, prompt, answer, own)
            for mode, rows in ids.items()
            for prompt, answer, own in zip(self._prompts, rows, logps, strict=True)
        ]
        return _Round(answers, ids["sampled"], logps)

    def _answer(
        self, step: int, name: str, mode: str, prompt: SamplePrompt, ids: list[int], logps: Array
    ) -> Answer:
        decoded = decode(self._model, ids)
        return Answer(
            step=step,
            model=name,
            mode=mode,
            prompt_id=prompt.prompt_id,
            prompt=self._model.tokenizer.decode(prompt.ids, skip_special_tokens=True),
            text=decoded.text,
            finished=decoded.finished,
            num_tokens=decoded.num_tokens,
            repetition=repetition(ids),
            entropy=-float(logps.mean()) if mode == "sampled" else None,
        )

    def _generate(self, temperature: float) -> list[list[int]]:
        with evaluation_mode(self._model.model), self._autocast():
            return generate_ids(
                self._model,
                [prompt.ids for prompt in self._prompts],
                max_new_tokens=self._max_new_tokens,
                temperature=temperature,
                seed=self._seed,
            )

    def _logps(self, model: Any, answers: Sequence[list[int]]) -> list[Array]:
        """Log-probs of the tokens of each answer under `model`."""
        trees = [completion_tree(p.ids, [a]) for p, a in zip(self._prompts, answers, strict=True)]
        found: list[Array] = [np.zeros(0)] * len(answers)
        with evaluation_mode(model), use_tree_attention(model), self._autocast():
            for forest in pack(trees, 4096):
                logps = token_scores(model, forest.to(model.device)).logps.double().cpu().numpy()
                sequence = forest.scored_sequence.numpy()
                for place, i in enumerate(forest.sequence_index.tolist()):
                    found[i] = logps[sequence == place]
        return found

    def _append(self, answers: Sequence[Answer]) -> None:
        if self._writes:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(_lines(answers))

    def _write(self, answers: Sequence[Answer]) -> None:
        if self._writes:
            write_atomically(self._path, lambda path: path.write_text(_lines(answers), "utf-8"))


def compare(policy: Sequence[Answer], base: Sequence[Answer]) -> dict[str, float]:
    """Numbers of the policy's answers beside the base's, under the names of METRICS."""
    greedy, before = ([a for a in side if a.mode == "greedy"] for side in (policy, base))
    lengths = [a.num_tokens for a in greedy]
    entropy, entropy_before = _entropy(policy), _entropy(base)
    return {
        "answers/tokens": float(np.mean(lengths)),
        "answers/length_ratio": length_ratio(lengths, [a.num_tokens for a in before]),
        "answers/finished": float(np.mean([a.finished for a in greedy])),
        "answers/repetition": float(np.mean([a.repetition for a in greedy])),
        "answers/base_repetition": float(np.mean([a.repetition for a in before])),
        "answers/entropy": entropy,
        "answers/entropy_ratio": entropy / entropy_before,
    }


def _entropy(answers: Sequence[Answer]) -> float:
    """Mean over tokens, so that a short answer does not weigh like a long one."""
    known = [(a.entropy, a.num_tokens) for a in answers if a.entropy is not None]
    values, weights = zip(*known, strict=True)
    return float(np.average(values, weights=weights))


def _lines(answers: Sequence[Answer]) -> str:
    return "".join(json.dumps(asdict(answer)) + "\n" for answer in answers)


def _is_whole(line: str) -> bool:
    """A kill may cut the last line."""
    try:
        json.loads(line)
    except ValueError:
        return False
    return True

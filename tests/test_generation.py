"""Greedy answers are transformers' own; sampled ones follow the tempered distribution.

Neither the batch, nor the other prompts, nor a stream instead of a batch may change an answer.
"""

import copy
import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from transformers import GenerationConfig

import tiny
from notus import generation
from notus.chat_template import encode_prompt
from notus.errors import DataError
from notus.generation import Generated, generate, stream
from notus.models import Model

NEW = 12
PROMPTS: Any = [
    [{"role": "user", "content": "the thing " * (1 + 5 * i % 7) + str(i)}] for i in range(14)
]


@pytest.fixture(scope="module")
def model() -> Model:
    return tiny.make_model()


def answers(model: Model, prompts: Any = PROMPTS, **settings: Any) -> list[Generated]:
    return generate(model, prompts, max_new_tokens=NEW, **settings)


def changed(model: Model) -> Model:
    """A copy whose inner model a test may change."""
    return dataclasses.replace(model, model=copy.deepcopy(model.model))


def by_transformers(model: Model, messages: Any, stops: Sequence[int]) -> list[int]:
    ids = torch.tensor([encode_prompt(model.tokenizer, messages)])
    settings = GenerationConfig(
        max_new_tokens=NEW,
        do_sample=False,
        eos_token_id=list(stops),
        pad_token_id=model.tokenizer.pad_token_id,
    )
    out = model.model.generate(
        input_ids=ids, attention_mask=torch.ones_like(ids), generation_config=settings
    )
    return [int(token) for token in out[0, ids.shape[1] :]]


@pytest.mark.parametrize("batch_tokens", [1, 300, 100_000])
def test_greedy_answers_are_those_of_transformers(model: Model, batch_tokens: int) -> None:
    eos = model.tokenizer.eos_token_id
    found = answers(model, batch_tokens=batch_tokens)
    # Some rows end early and leave their batch while others go on, or this would show little.
    assert 2 <= sum(answer.finished for answer in found) <= len(found) - 2
    for messages, answer in zip(PROMPTS, found, strict=True):
        ids = by_transformers(model, messages, [eos])
        expected = model.tokenizer.decode(ids, skip_special_tokens=True).strip()
        assert answer == Generated(text=expected, finished=ids[-1] == eos, num_tokens=len(ids))


def test_an_answer_ends_where_a_turn_or_the_model_says_so() -> None:
    """With Gemma's form of template the end of a turn is another token than the EOS."""
    model = changed(tiny.make_model("own end"))
    turn_end, own = model.tokenizer.convert_tokens_to_ids(["<end_of_turn>", "z"])
    model.model.generation_config.eos_token_id = [model.tokenizer.eos_token_id, own]
    with torch.no_grad():
        model.model.lm_head.weight[[turn_end, own]] *= 2
    ends = set()
    for messages, answer in zip(PROMPTS, answers(model), strict=True):
        ids = by_transformers(model, messages, [model.tokenizer.eos_token_id, turn_end, own])
        assert answer.num_tokens == len(ids)
        text = ids[:-1] if answer.finished else ids
        assert answer.text == model.tokenizer.decode(text, skip_special_tokens=True).strip()
        ends |= {ids[-1]} if answer.finished else set()
    assert {turn_end, own} <= ends


@pytest.mark.parametrize("temperature", [0.0, 1.3])
def test_neither_batches_nor_neighbours_nor_order_have_a_say(
    model: Model, temperature: float
) -> None:
    settings: dict[str, Any] = {"temperature": temperature, "seed": 3}
    expected = answers(model, batch_tokens=100_000, **settings)
    assert len({answer.text for answer in expected}) > len(expected) // 2
    assert answers(model, batch_tokens=1, **settings) == expected
    assert answers(model, PROMPTS[::-1], batch_tokens=500, **settings) == expected[::-1]
    assert answers(model, PROMPTS[5:6], **settings) == expected[5:6]


def test_a_seed_decides_sampled_answers_and_no_global_state(model: Model) -> None:
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    first = answers(model, temperature=1.0, seed=1)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert answers(model, temperature=1.0, seed=1) == first
    assert answers(model, temperature=1.0, seed=2) != first
    assert answers(model, seed=1) == answers(model, seed=2)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_sampling_follows_the_tempered_distribution(model: Model, temperature: float) -> None:
    """Chi-square of 20,000 first tokens drawn by prompts' own generators.

    With k categories (those expected 5 times or more, and the others as one) the statistic has
    mean k - 1 and variance 2(k - 1) if the draws follow the distribution; 5 standard deviations
    are allowed. A temperature that is off by 10 % exceeds that.
    """
    ids = encode_prompt(model.tokenizer, PROMPTS[0])
    with torch.no_grad():
        logits = model.model(torch.tensor([ids])).logits[:, -1]
    draws = np.concatenate([generation._draws(ids, seed, 1) for seed in range(20_000)])
    picked = generation._pick(
        logits.expand(len(draws), -1), torch.from_numpy(draws), temperature
    ).numpy()

    def deviation(temperature: float) -> float:
        expected = torch.softmax(logits[0].double() / temperature, -1).numpy() * len(draws)
        seen = np.bincount(picked, minlength=len(expected))
        rare = expected < 5
        if rare.any():
            seen = np.append(seen[~rare], seen[rare].sum())
            expected = np.append(expected[~rare], expected[rare].sum())
        statistic = ((seen - expected) ** 2 / expected).sum()
        freedom = len(seen) - 1
        return float((statistic - freedom) / np.sqrt(2 * freedom))

    assert abs(deviation(temperature)) < 5
    assert deviation(1.1 * temperature) > 5


def test_the_first_tokens_of_answers_are_those_draws(model: Model) -> None:
    """What the test above draws is what `generate` draws."""
    ids = encode_prompt(model.tokenizer, PROMPTS[0])
    with torch.no_grad():
        logits = model.model(torch.tensor([ids])).logits[:, -1]
    for seed in range(20):
        draw = torch.from_numpy(generation._draws(ids, seed, 1))
        token = int(generation._pick(logits, draw, 1.0)[0])
        (answer,) = generate(model, PROMPTS[:1], max_new_tokens=1, temperature=1.0, seed=seed)
        assert answer.text == model.tokenizer.decode([token], skip_special_tokens=True).strip()


def test_a_draw_at_either_end_picks_a_token_that_can_be() -> None:
    logits = torch.tensor([[-torch.inf, 0.0, -torch.inf, 1.0, -torch.inf]])
    last = np.nextafter(1.0, 0.0)
    for draw, token in ((0.0, 1), (last, 3)):
        assert (
            generation._pick(logits, torch.tensor([draw], dtype=torch.float64), 1.0).item() == token
        )
    rare = torch.zeros(1, 50_000)
    rare[0, -1] = -12.0
    assert generation._pick(rare, torch.tensor([last], dtype=torch.float64), 1.0).item() == 49_999


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_stream_is_the_answer_in_pieces(model: Model, temperature: float) -> None:
    for seed, messages in enumerate(PROMPTS[:5]):
        settings: dict[str, Any] = {"temperature": temperature, "seed": seed}
        pieces = list(stream(model, messages, max_new_tokens=NEW, **settings))
        (answer,) = answers(model, [messages], **settings)
        assert "".join(pieces).strip() == answer.text
        assert "" not in pieces
        assert len(pieces) > 1 or answer.num_tokens < 3


def test_a_stream_waits_for_all_bytes_of_a_character(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "caf\u00e9 \u4f60\u597d \U0001f600."
    script = iter([*model.tokenizer(text)["input_ids"], model.tokenizer.eos_token_id])
    monkeypatch.setattr(generation, "_pick", lambda *_: torch.tensor([next(script)]))
    pieces = list(stream(model, PROMPTS[0], max_new_tokens=40))
    assert "".join(pieces) == text
    assert all("\ufffd" not in piece for piece in pieces)
    assert "\U0001f600" in pieces


def test_penalties_of_the_models_own_settings_change_nothing(model: Model) -> None:
    other = changed(model)
    other.model.generation_config.repetition_penalty = 3.0
    other.model.generation_config.suppress_tokens = list(range(200))
    assert answers(other) == answers(model)
    pieces = stream(other, PROMPTS[1], max_new_tokens=NEW)
    assert "".join(pieces).strip() == answers(model)[1].text


def test_an_error_of_the_model_ends_a_stream(model: Model) -> None:
    broken = changed(model)

    def fails(*_: Any, **__: Any) -> None:
        raise RuntimeError("out of memory")

    broken.model.model.layers[1].forward = fails
    with pytest.raises(RuntimeError, match="out of memory"):
        list(stream(broken, PROMPTS[0], max_new_tokens=NEW))


def test_no_gradients_are_kept(model: Model) -> None:
    for _ in stream(model, PROMPTS[0], max_new_tokens=2):
        # Between two pieces the caller's own switch holds.
        assert torch.is_grad_enabled()
    answers(model, PROMPTS[:2])
    assert all(parameter.grad is None for parameter in model.model.parameters())


def test_a_prompt_longer_than_the_window() -> None:
    model = tiny.make_model(window=64)
    fits = 64 - len(encode_prompt(model.tokenizer, PROMPTS[0]))
    assert len(generate(model, PROMPTS[:1], max_new_tokens=fits)) == 1
    for ask in (generate(model, PROMPTS[:0], max_new_tokens=99), answers(model, [])):
        assert ask == []
    with pytest.raises(DataError, match=f"{64 - fits} tokens and {fits + 1} tokens to answer"):
        generate(model, PROMPTS[:1], max_new_tokens=fits + 1)
    with pytest.raises(DataError, match="at most 64 tokens"):
        list(stream(model, PROMPTS[0], max_new_tokens=fits + 1))


def test_batches_keep_the_budget_longest_first(model: Model) -> None:
    encoded = [encode_prompt(model.tokenizer, messages) for messages in PROMPTS]
    batches = list(generation._batches(encoded, NEW, 400))
    assert sorted(i for batch in batches for i in batch) == list(range(len(encoded)))
    widths = [max(len(encoded[i]) for i in batch) for batch in batches]
    assert widths == sorted(widths, reverse=True)
    assert len(batches) > 2
    for batch, width in zip(batches, widths, strict=True):
        assert len(batch) == 1 or len(batch) * (width + NEW) <= 400


def test_progress_counts_answers(model: Model) -> None:
    seen: list[tuple[int, int]] = []
    answers(model, batch_tokens=400, progress=lambda done, total: seen.append((done, total)))
    assert [done for done, _ in seen] == sorted({done for done, _ in seen})
    assert seen[-1] == (len(PROMPTS), len(PROMPTS))
    assert {total for _, total in seen} == {len(PROMPTS)}

"""The tokens of a training sequence are those that the model sees at inference.

Checked for three kinds of template: the end of a turn is the EOS (ChatML), is another token and the
template writes the BOS itself (Gemma's), or stands behind a space (Llama 2's).
"""

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import tiny
from notus.binarize import binarize
from notus.chat_template import (
    Encoder,
    encode_pairs,
    encode_prompt,
    end_of_turn,
    render_prompt,
    stop_ids,
    template_digest,
)
from notus.errors import DataError, ModelError
from notus.specifications import specification

KINDS = ("chatml", "own end", "spaced")
TOKENIZERS = {kind: tiny.make_tokenizer(kind) for kind in KINDS}
# Pieces that merge with each other and with what the templates write around them.
PIECES = st.sampled_from(
    ["the", " the", "\n", " ", ".", "in", "\u00e9", "\U0001f600", *tiny.SPECIAL]
)
TEXTS = st.one_of(st.text(max_size=20), st.lists(PIECES, max_size=8).map("".join))
ANSWERS = TEXTS.filter(lambda text: bool(text.strip()))
TURNS: Any = [{"role": "user", "content": "Why?"}]


def user(text: str) -> Any:
    return [{"role": "user", "content": text}]


def encoder(kind: str, max_length: int = 10_000, max_prompt_length: int = 9_000) -> Encoder:
    tokenizer = TOKENIZERS[kind]
    return Encoder(tokenizer, max_length=max_length, max_prompt_length=max_prompt_length)


def decode(kind: str, ids: list[int]) -> str:
    return str(TOKENIZERS[kind].decode(ids, skip_special_tokens=False))


@pytest.mark.parametrize("kind", KINDS)
@given(prompt=TEXTS, text=ANSWERS)
@example(prompt="x\n", text="\n the")
@example(prompt="Say it.", text=f"{tiny.END}<eos>{tiny.START}")
def test_a_sequence_is_the_prompt_of_inference_and_the_text_and_one_end(
    kind: str, prompt: str, text: str
) -> None:
    tokenizer = TOKENIZERS[kind]
    encoded = encoder(kind)(user(prompt), text)
    inference = tokenizer.apply_chat_template(
        user(prompt), add_generation_prompt=True, return_dict=False
    )
    assert encoded.prompt_ids == encode_prompt(tokenizer, user(prompt)) == inference
    assert encoded.completion_ids.count(tokenizer.eos_token_id) == 1
    assert encoded.completion_ids[-1] == tokenizer.eos_token_id
    assert (encoded.prompt_cut, encoded.completion_cut) == (0, 0)
    # What a special token is called is text in an answer: no token of it is special but the end.
    end = end_of_turn(tokenizer)
    assert not set(encoded.completion_ids[: -len(end)]) & set(tokenizer.added_tokens_decoder)
    assert decode(kind, encoded.completion_ids[: -len(end)]) == text


@pytest.mark.parametrize("kind", KINDS)
@given(prompt=TEXTS, text=ANSWERS)
def test_a_sequence_reads_as_the_template_renders_it(kind: str, prompt: str, text: str) -> None:
    tokenizer = TOKENIZERS[kind]
    turns = [*user(prompt), {"role": "assistant", "content": text}]
    rendered = str(tokenizer.apply_chat_template(turns, tokenize=False))
    encoded = encoder(kind)(user(prompt), text)
    read = decode(kind, encoded.prompt_ids + encoded.completion_ids)
    # The template may go on behind the end, with a line break; Gemma's form writes no EOS itself.
    assert rendered.startswith(read.removesuffix("<eos>") if kind == "own end" else read)


def test_merges_over_the_border_would_break_the_prefix() -> None:
    """The pieces above are chosen well: joined and tokenised, these do merge."""
    tokenizer = TOKENIZERS["chatml"]
    encoded = encoder("chatml")(TURNS, "\n the")
    joined = tokenizer(render_prompt(tokenizer, TURNS) + "\n the", add_special_tokens=False)
    assert joined["input_ids"][: len(encoded.prompt_ids)] != encoded.prompt_ids


@pytest.mark.parametrize(
    ("kind", "end", "stops"),
    [
        ("chatml", ["<|im_end|>"], {"<|im_end|>"}),
        ("own end", ["<end_of_turn>", "<eos>"], {"<end_of_turn>", "<eos>"}),
        ("spaced", ["\u0120", "<eos>"], {"<eos>"}),
    ],
)
def test_what_ends_an_answer(kind: str, end: list[str], stops: set[str]) -> None:
    tokenizer = TOKENIZERS[kind]
    assert tokenizer.convert_ids_to_tokens(end_of_turn(tokenizer)) == end
    assert set(tokenizer.convert_ids_to_tokens(sorted(stop_ids(tokenizer)))) == stops


@pytest.mark.parametrize("kind", ["own end", "spaced"])
def test_one_beginning_even_if_the_tokenizer_adds_one(kind: str) -> None:
    from tokenizers.processors import TemplateProcessing

    tokenizer = tiny.make_tokenizer(kind)
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<bos> $A", special_tokens=[("<bos>", tokenizer.bos_token_id)]
    )
    assert tokenizer("a")["input_ids"][0] == tokenizer.bos_token_id
    encoded = Encoder(tokenizer, max_length=99, max_prompt_length=50)(TURNS, "the end")
    assert encoded == encoder(kind)(TURNS, "the end")
    assert encoded.prompt_ids.count(tokenizer.bos_token_id) == 1
    assert tokenizer.bos_token_id not in encoded.completion_ids


@given(
    words=st.integers(1, 40),
    answer=st.integers(1, 60),
    max_prompt=st.integers(1, 60),
    rest=st.integers(1, 40),
)
def test_each_side_is_cut_at_its_own_end(
    words: int, answer: int, max_prompt: int, rest: int
) -> None:
    messages, text = user("a " * words), "b " * answer
    whole = encoder("chatml")(messages, text)
    cut = encoder("chatml", max_prompt + rest, max_prompt)(messages, text)
    assert len(cut.prompt_ids) == min(len(whole.prompt_ids), max_prompt)
    assert cut.prompt_ids == whole.prompt_ids[cut.prompt_cut :]
    assert cut.completion_cut == len(whole.completion_ids) - len(cut.completion_ids)
    assert cut.completion_ids == whole.completion_ids[: len(cut.completion_ids)]
    room = max_prompt + rest - len(cut.prompt_ids)
    assert len(cut.completion_ids) == min(len(whole.completion_ids), room)
    assert len(cut.completion_ids) >= 1
    eos = TOKENIZERS["chatml"].eos_token_id
    assert cut.completion_ids.count(eos) == (1 if cut.completion_cut == 0 else 0)


@pytest.mark.parametrize(("length", "prompt"), [(10, 10), (10, 11), (10, 0), (0, 0), (5, -1)])
def test_lengths_that_leave_no_room(length: int, prompt: int) -> None:
    with pytest.raises(ModelError, match=f"max_prompt_length {prompt}, max_length {length}"):
        encoder("chatml", length, prompt)


@pytest.mark.parametrize("text", ["", " ", "\n\t\n"])
def test_an_empty_completion_is_refused(text: str) -> None:
    with pytest.raises(DataError, match="empty completion"):
        encoder("chatml")(user("What is it?"), text)


def test_a_conversation_that_the_template_refuses() -> None:
    tokenizer = tiny.make_tokenizer()
    tokenizer.chat_template = (
        "{% if messages[0].role == 'system' %}{{ raise_exception('no system turn') }}{% endif %}"
    )
    messages: Any = [{"role": "system", "content": "Be brief."}, *TURNS]
    with pytest.raises(ModelError, match=r"\['system', 'user'\]: no system turn"):
        encode_prompt(tokenizer, messages)


def test_pairs_are_encoded_in_the_order_of_their_ids(make_feedback: Callable[..., Any]) -> None:
    rated: Mapping[str, Any] = {
        f"Question {i}?": [
            ("a", f"good {i}", {"helpfulness": 5.0}),
            ("b", f"bad {i}", {"helpfulness": 1.0}),
        ]
        for i in range(6)
    }
    feedback = make_feedback(rated)
    made = binarize(feedback, specification("argilla-v1")).preferences
    assert made.height == 6
    shuffled = made.sample(fraction=1.0, shuffle=True, seed=1)
    pairs = list(encode_pairs(shuffled, feedback, encoder("chatml")))
    assert [pair.preference_id for pair in pairs] == sorted(made["preference_id"])
    prompts = dict(feedback.prompts.select("prompt_id", "messages").collect().iter_rows())
    for pair in pairs:
        number = prompts[pair.prompt_id][0]["content"].split()[1].rstrip("?")
        assert pair.strategy == "argilla-v1"
        for side, word in ((pair.chosen, "good"), (pair.rejected, "bad")):
            expected = encoder("chatml")(prompts[pair.prompt_id], f"{word} {number}")
            assert side == expected
    other = make_feedback(dict(list(rated.items())[:4]))
    with pytest.raises(DataError, match="2 of 6 preferences"):
        list(encode_pairs(made, other, encoder("chatml")))


def test_the_digest_is_of_all_that_decides_tokens() -> None:
    tokenizer = tiny.make_tokenizer()
    other_template = tiny.make_tokenizer()
    other_template.chat_template += " "
    other_words = tiny.make_tokenizer()
    other_words.add_tokens(["notus"])
    digests = [template_digest(t) for t in (tokenizer, other_template, other_words)]
    assert len(set(digests)) == 3
    assert template_digest(tiny.make_tokenizer()) == digests[0]

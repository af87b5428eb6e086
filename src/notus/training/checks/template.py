"""The chat template: whether training and inference mean the same conversation by it.

Trained is the rendering up to the answer (what `generation` and `chat` feed the model), the
answer's own tokens, and the end of the turn. The rendering of the whole conversation is what the
model sees of this answer in a later turn, and what other tools train on.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from notus.chat_template import encode_prompt, ending_text, render_prompt
from notus.data.schema import Message
from notus.training.batches import draw_pairs
from notus.training.checks.finding import MOST_SHOWN, Finding, quoted, share, texts_of
from notus.training.prepare import Prepared

SAMPLE = 300
"""Pairs whose conversations are rendered again; a fault of the template is in every row."""
_WHERE = "chat template of the tokenizer"
_MARKER = re.compile(r"</?\|?[A-Za-z_][\w ]*\|?>|<[\uff5c|][^<>]*[\uff5c|]>")
_NO_ANSWER = "the answer is not in it as it was written"


class Drift(NamedTuple):
    """How the rendering of a whole conversation departs from what is trained."""

    kind: str
    """A key of `_DRIFTS`."""
    rendered: str
    trained: str


def template_round_trip(prepared: Prepared) -> Iterator[Finding]:
    """Compare what is trained with the template's rendering of the whole conversation.

    An error where the words around an answer differ: a template that ignores
    `add_generation_prompt`, opens the answer otherwise, or changes the answer. A warning where it
    is white space, or where the template only adds words of its own (thinking marks).

    Source: trl issue 1930, alignment-handbook issue 116 (prompts rendered otherwise than at
    inference).
    """
    tokenizer = prepared.model.tokenizer
    pairs = draw_pairs(prepared.split.train, SAMPLE, seed=0)
    drifts: dict[str, list[Drift]] = {}
    for row in texts_of(prepared, pairs).iter_rows(named=True):
        drift = _drift(tokenizer, row["messages"], row["chosen"])
        if drift is not None:
            drifts.setdefault(drift.kind, []).append(drift)
    for kind, found in drifts.items():
        level, what, remedy = _DRIFTS[kind]
        yield Finding(
            level=level,
            found=f"{what}, in {share(len(found), len(pairs))} of the conversations looked at",
            where=_WHERE,
            remedy=remedy,
            rows=tuple(
                f"whole conversation {quoted(d.rendered)}, trained {quoted(d.trained)}"
                for d in found[:MOST_SHOWN]
            ),
        )


def _drift(tokenizer: Any, messages: Sequence[Message], answer: str) -> Drift | None:
    prompt = render_prompt(tokenizer, messages)
    turns = [*messages, {"role": "assistant", "content": answer}]
    whole = str(tokenizer.apply_chat_template(turns, tokenize=False))
    if not whole.startswith(prompt):
        same = _squeezed(whole).startswith(_squeezed(prompt))
        at = next((i for i, (a, b) in enumerate(zip(whole, prompt, strict=False)) if a != b), 0)
        begin = max(0, at - 20)
        return Drift("space" if same else "opening", whole[begin : at + 40], prompt[begin:])
    rest = whole[len(prompt) :]
    before, answered, _ = rest.partition(answer.strip())
    if not answered:
        return Drift("answer", rest, answer)
    if before.strip():
        plain = str(tokenizer.apply_chat_template(list(messages), tokenize=False))
        return Drift("opening" if plain == prompt else "addition", rest, answer)
    if before + answered != answer[: len(before + answered)]:
        return Drift("space", rest[:40], answer[:40])
    return None


def _squeezed(text: str) -> str:
    return "".join(text.split())


_DRIFTS: dict[str, tuple[Any, str, str]] = {
    "opening": (
        "error",
        "the template opens an answer in one way when the model is to write it and in another "
        "when it stands in the conversation",
        "mend the template: what it writes for add_generation_prompt must be what it writes before "
        "the assistant's content",
    ),
    "answer": (
        "error",
        "the template changes the assistant's content",
        "mend the template, or take what it leaves out of the answers",
    ),
    "addition": (
        "warning",
        "the template writes words of its own before the assistant's content",
        "see that the answers are meant for this mode of the template (thinking, tools)",
    ),
    "space": (
        "warning",
        "the template puts other white space around an answer than is trained",
        "harmless for single answers; in longer conversations the model sees other tokens",
    ),
}


def answer_ending(prepared: Prepared) -> Iterator[Finding]:
    """See how the template ends an answer, and that every trained answer ends like that once.

    An error where the template ends it with nothing, with two end-of-sequence tokens, or with a
    mark that the tokenizer reads as plain text; where a completion that was not cut lacks the
    end-of-sequence token, or one holds it twice.

    Source: trl issue 1239, unsloth issue 3228 (answers that never end after training).
    """
    yield from _template_ending(prepared)
    eos = prepared.model.tokenizer.eos_token_id
    wrong = []
    for pair in prepared.encoded.pairs:
        for ids, cut in (
            (pair.chosen_ids, pair.chosen_cut),
            (pair.rejected_ids, pair.rejected_cut),
        ):
            # A cut may fall between the tokens of the ending.
            if Counter(ids)[eos] != (cut == 0) or (not cut and ids[-1] != eos):
                wrong.append((pair, ids))
    if wrong:
        total = 2 * len(prepared.encoded.pairs)
        name = prepared.model.tokenizer.eos_token
        yield Finding(
            level="error",
            found=f"{share(len(wrong), total)} completions do not end with exactly one "
            f"{name!r} (token {eos})",
            where="completions after template and truncation",
            remedy="eos_token in tokenizer_config.json must be a token that stands in no text",
            rows=tuple(
                f"{pair.preference_id[:12]}: {Counter(ids)[eos]} times in {len(ids)} tokens, "
                f"the last is {prepared.model.tokenizer.convert_ids_to_tokens(ids[-1])!r}"
                for pair, ids in wrong[:MOST_SHOWN]
            ),
        )


def _template_ending(prepared: Prepared) -> Iterator[Finding]:
    tokenizer = prepared.model.tokenizer
    text, eos = ending_text(tokenizer), tokenizer.eos_token
    ids = list(tokenizer(text, add_special_tokens=False)["input_ids"])
    special = [i for i in ids if i in tokenizer.added_tokens_decoder]
    if not text.strip():
        yield Finding(
            level="error",
            found=f"the template ends an answer with {text!r}: nothing says that it is over",
            where=_WHERE,
            remedy=f"write {{{{ eos_token }}}} behind the assistant's content; training adds "
            f"{eos!r}, but in a conversation the model would not see it",
        )
    elif ids.count(tokenizer.eos_token_id) > 1:
        yield Finding(
            level="error",
            found=f"the template ends an answer with {text!r}: {eos!r} more than once",
            where=_WHERE,
            remedy="write the end-of-sequence token once",
        )
    elif not special and (eos in text or _MARKER.search(text)):
        yield Finding(
            level="error",
            found=f"the template ends an answer with {text!r}, which the tokenizer reads as "
            f"{len(ids)} plain tokens",
            where="tokenizer.json, added_tokens",
            remedy="add the mark as a special token (and a row to the embeddings), or take the "
            "tokenizer that belongs to this template",
        )
    elif tokenizer.eos_token_id not in ids:
        yield Finding(
            level="note",
            found=f"the template ends an answer with {text!r} and not with {eos!r}",
            where=_WHERE,
            remedy=f"nothing: training writes both, {eos!r} last",
        )


def beginning(prepared: Prepared) -> Iterator[Finding]:
    """Look for a doubled, a missing or a cut begin-of-sequence token.

    An error where two stand side by side. A warning where the tokenizer would write one but the
    template does not, and where a prompt lost its own to max_prompt_length.

    Source: trl issue 1930, alignment-handbook issue 116 (double BOS).
    """
    tokenizer = prepared.model.tokenizer
    bos, pairs = tokenizer.bos_token_id, prepared.encoded.pairs
    if bos is None:
        return
    double = [p for p in pairs if (bos, bos) in zip(p.prompt_ids, p.prompt_ids[1:], strict=False)]
    if double:
        yield Finding(
            level="error",
            found=f"{share(len(double), len(pairs))} prompts hold {tokenizer.bos_token!r} "
            "twice in a row",
            where="prompts after the template",
            remedy="write bos_token once in the template, and in no prompt",
            rows=tuple(
                f"{p.preference_id[:12]}: begins {quoted(tokenizer.decode(p.prompt_ids[:12]))}"
                for p in double[:MOST_SHOWN]
            ),
        )
    first = encode_prompt(tokenizer, [{"role": "user", "content": "?"}])[:1]
    if tokenizer("?")["input_ids"][:1] == [bos] and first != [bos]:
        yield Finding(
            level="warning",
            found=f"the tokenizer begins every text with {tokenizer.bos_token!r}, "
            "but the template does not write it",
            where=_WHERE,
            remedy="begin the template with {{ bos_token }} if the model was trained with it",
        )
    lost = [p for p in pairs if first == [bos] and p.prompt_cut and p.prompt_ids[0] != bos]
    if lost:
        yield Finding(
            level="note",
            found=f"{share(len(lost), len(pairs))} prompts lost {tokenizer.bos_token!r} and what "
            "follows it to max_prompt_length",
            where="recipe key data.max_prompt_length",
            remedy="raise it, if these prompts matter",
        )

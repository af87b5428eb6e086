"""Tokens: whether they say what the text says, and whether the model has a row for each."""

import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import polars as pl

from notus.chat_template import encode_prompt, end_of_turn, render_prompt
from notus.data.schema import Message
from notus.training.batches import draw_pairs
from notus.training.checks.finding import (
    MOST_SHOWN,
    Finding,
    quoted,
    share,
    shown,
    texts_of,
    token_names,
)
from notus.training.examples import Pair
from notus.training.prepare import Prepared

SAMPLE = 300
"""Pairs whose texts are tokenised again."""
MANY = 0.01
"""Share of rows over which a fault is the data's and no longer a row's."""
_TOKENIZER = "tokenizer.json and tokenizer_config.json of the model"


def vocabulary(prepared: Prepared) -> Iterator[Finding]:
    """Compare the tokens of the pairs with the rows of the model's embeddings.

    An error where a token has no row, or where more than 1 % of the tokens are unknown: both mean
    that the tokenizer belongs to another model. A warning where the tokenizer could make such
    tokens although these pairs have none.

    Source: trl issue 3168 and unsloth issue 3228 (tokens added without resizing the embeddings).
    """
    tokenizer, model = prepared.model.tokenizer, prepared.model.model
    rows = len(model.get_input_embeddings().weight)
    counts = Counter(_ids(prepared.encoded.pairs))
    beyond = sorted(i for i in counts if i >= rows)
    if beyond:
        yield Finding(
            level="error",
            found=f"{len(beyond)} tokens of the pairs have no row in the embeddings of {rows} "
            f"rows; the tokenizer has {len(tokenizer)}",
            where=_TOKENIZER,
            remedy="take the tokenizer that belongs to the model, or resize its embeddings",
            rows=tuple(token_names(tokenizer, [i]) for i in beyond[:MOST_SHOWN]),
        )
    elif len(tokenizer) > rows:
        yield Finding(
            level="warning",
            found=f"the tokenizer has {len(tokenizer)} tokens and the embeddings {rows} rows",
            where=_TOKENIZER,
            remedy="take the tokenizer that belongs to the model, or resize its embeddings",
        )
    head = getattr(model.get_output_embeddings(), "weight", None)
    if head is not None and len(head) != rows:
        yield Finding(
            level="error",
            found=f"the model reads {rows} tokens and writes {len(head)}",
            where="embeddings and head of the model",
            remedy="resize both to the tokenizer",
        )
    unknown = 0 if tokenizer.unk_token_id is None else counts[tokenizer.unk_token_id]
    if unknown:
        total = counts.total()
        yield Finding(
            level="error" if unknown > MANY * total else "warning",
            found=f"{share(unknown, total)} tokens are {tokenizer.unk_token!r}: what stood there "
            "is lost",
            where=_TOKENIZER,
            remedy="take the tokenizer that belongs to the model",
        )


def special_tokens(prepared: Prepared) -> Iterator[Finding]:
    """Compare the end tokens of tokenizer, template, model and generation settings.

    An error where generation would never stop at what training puts behind an answer, or where
    begin and end of sequence are told apart by nothing the template needs. A note where padding is
    the end-of-sequence token: harmless here, as nothing is padded.

    Source: unsloth issue 3228, trl issue 1239 (answers that never end after training).
    """
    tokenizer, model = prepared.model.tokenizer, prepared.model.model
    ends = set(end_of_turn(tokenizer))
    stops = _stops(getattr(model, "generation_config", None)) or _stops(model.config)
    if stops and not stops & ends:
        yield Finding(
            level="error",
            found=f"generation stops at {token_names(tokenizer, sorted(stops))}; answers are "
            f"trained to end with {token_names(tokenizer, sorted(ends))}",
            where="eos_token_id in generation_config.json and config.json",
            remedy=f"set eos_token_id to {tokenizer.eos_token_id} there, or eos_token in "
            "tokenizer_config.json to what the model ends with",
        )
    elif stops and tokenizer.eos_token_id not in stops:
        yield Finding(
            level="warning",
            found=f"generation does not stop at eos_token "
            f"{token_names(tokenizer, [tokenizer.eos_token_id])}",
            where="eos_token_id in generation_config.json and config.json",
            remedy=f"add {tokenizer.eos_token_id} to it",
        )
    if tokenizer.pad_token_id == tokenizer.eos_token_id:
        yield Finding(
            level="note",
            found=f"padding is the end-of-sequence token {tokenizer.eos_token!r}",
            where="tokenizer_config.json",
            remedy="nothing: this training pads nothing; trainers that mask padding never learn "
            "to end an answer",
        )


def _stops(config: Any) -> set[int]:
    found = getattr(config, "eos_token_id", None)
    return {int(i) for i in (found if isinstance(found, list) else [found]) if i is not None}


def border(prepared: Prepared) -> Iterator[Finding]:
    """Count where tokenising prompt and answer as one text would merge tokens across the border.

    A note: each is tokenised by itself, so the model reads at inference the very prompt that it was
    trained on. An error where the trained prompt is not the end of what inference feeds.

    Source: trl issues 2054 and 5213 (prompt is no prefix of prompt and completion).
    """
    tokenizer = prepared.model.tokenizer
    pairs = {p.preference_id: p for p in draw_pairs(prepared.split.train, SAMPLE, seed=0)}
    merged, other = [], []
    for row in texts_of(prepared, list(pairs.values())).iter_rows(named=True):
        pair = pairs[row["preference_id"]]
        fed = encode_prompt(tokenizer, row["messages"])
        if pair.prompt_ids != fed[len(fed) - len(pair.prompt_ids) :]:
            other.append(pair)
        if joined := _merge(tokenizer, row["messages"], fed, row["chosen"]):
            merged.append((pair, joined))
    if other:
        yield Finding(
            level="error",
            found=f"{share(len(other), len(pairs))} prompts are other tokens than inference feeds",
            where="prompts after template and truncation",
            remedy="build the pairs with the tokenizer of the model that is trained",
            rows=shown(other, lambda p: quoted(tokenizer.decode(p.prompt_ids[-12:]))),
        )
    if merged:
        yield Finding(
            level="note",
            found=f"in {share(len(merged), len(pairs))} of the pairs looked at, prompt and answer "
            "as one text would be other tokens around the border",
            where="prompts and chosen completions",
            remedy="nothing: they are tokenised apart, as at inference",
            rows=tuple(f"{pair.preference_id[:12]}: {text}" for pair, text in merged[:MOST_SHOWN]),
        )


def _merge(
    tokenizer: Any, messages: Sequence[Message], prompt: Sequence[int], answer: str
) -> str | None:
    """Describe the tokens at a border that one text would merge; None where it merges none."""
    # The end alone decides, and long prompts would be tokenised twice for nothing.
    text = render_prompt(tokenizer, messages)[-200:] + answer[:200]
    joined = tokenizer(text, add_special_tokens=False)["input_ids"]
    begin = tokenizer(text[: text.rfind(answer[:200])], add_special_tokens=False)["input_ids"]
    if joined[: len(begin)] == begin:
        return None
    at = next(i for i, (a, b) in enumerate(zip(joined, begin, strict=False)) if a != b)
    return (
        f"{token_names(tokenizer, joined[at : at + 1])} over {token_names(tokenizer, begin[at:])}"
    )


def lossy(prepared: Prepared) -> Iterator[Finding]:
    """Turn tokens back into text and compare it with the answer.

    An error where letters are lost in more than 1 % of the answers looked at, a warning where in
    fewer; white space and Unicode forms may differ (SentencePiece normalises both).

    Source: trl issue 5826 and our own: a tokenizer of another model spells everything with unknown
    tokens, and one that lower-cases trains a model that does.
    """
    tokenizer = prepared.model.tokenizer
    pairs = {p.preference_id: p for p in draw_pairs(prepared.split.train, SAMPLE, seed=0)}
    lost = []
    for row in texts_of(prepared, list(pairs.values())).iter_rows(named=True):
        pair = pairs[row["preference_id"]]
        ids = pair.chosen_ids[: len(pair.chosen_ids) - len(prepared.encoder.end_ids)]
        if pair.chosen_cut:
            continue
        text = tokenizer.decode(ids, clean_up_tokenization_spaces=False)
        if _plain(text) != _plain(row["chosen"]):
            lost.append((pair, row["chosen"], text))
    if lost:
        yield Finding(
            level="error" if len(lost) > MANY * len(pairs) else "warning",
            found=f"the tokens of {share(len(lost), len(pairs))} answers say something else than "
            "their text",
            where=_TOKENIZER,
            remedy="take the tokenizer that belongs to the model",
            rows=tuple(
                f"{pair.preference_id[:12]}: {quoted(text)} became {quoted(tokens)}"
                for pair, text, tokens in lost[:MOST_SHOWN]
            ),
        )


def _plain(text: str) -> str:
    return "".join(unicodedata.normalize("NFKC", text).split())


def markers(prepared: Prepared) -> Iterator[Finding]:
    """Look for the template's own tokens inside the texts.

    In a prompt they become control tokens and open turns of their own; in an answer they are
    tokenised as text, so the model learns to write them out. An error where more than 1 % of the
    pairs hold any: the data was rendered by a template before. A warning where fewer.

    Source: alignment-handbook issue 116, trl issue 1239 (templates applied twice).
    """
    tokenizer, pairs = prepared.model.tokenizer, prepared.split.train
    special = {t.content for t in tokenizer.added_tokens_decoder.values() if t.special}
    special -= {name for name in special if name.isalnum()}
    if not special:
        return
    rows = texts_of(prepared, pairs).with_columns(
        prompt=pl.col("messages").list.eval(pl.element().struct.field("content")).list.join("\n")
    )
    for place, columns in (("prompts", ["prompt"]), ("answers", ["chosen", "rejected"])):
        held = rows.filter(pl.any_horizontal(pl.col(columns).str.contains_any(sorted(special))))
        if held.is_empty():
            continue
        yield Finding(
            level="error" if held.height > MANY * len(pairs) else "warning",
            found=f"{share(held.height, len(pairs))} pairs have special tokens of the template in "
            f"their {place}",
            where=f"text of the {place}",
            remedy="give turns as messages, not as rendered text",
            rows=tuple(
                f"{row['preference_id'][:12]}: {_around(row, columns, special)}"
                for row in held.head(MOST_SHOWN).iter_rows(named=True)
            ),
        )


def _around(row: dict[str, Any], columns: Sequence[str], special: set[str]) -> str:
    """Show the place of the first special token in a row."""
    text, token = next((row[c], t) for c in columns for t in sorted(special) if t in row[c])
    at = text.find(token)
    return quoted(text[max(0, at - 20) : at + len(token) + 20])


def _ids(pairs: Sequence[Pair]) -> Iterator[int]:
    for pair in pairs:
        yield from pair.prompt_ids
        yield from pair.chosen_ids
        yield from pair.rejected_ids

"""Faults as users have them, planted into the files of a set-up, and the check that must say so."""

from collections.abc import Callable
from typing import NamedTuple

from setups import Setup

from tiny import CHATML, OWN_END


class Fault(NamedTuple):
    """One fault: what it does to a set-up, and which check must find it."""

    rule: str
    plant: Callable[[Setup], None]
    kind: str = "chatml"
    """Of `tiny.TEMPLATES`."""


def no_ending(setup: Setup) -> None:
    setup.template(CHATML.replace("{{ m.content }}<|im_end|>", "{{ m.content }}"))


def doubled_ending(setup: Setup) -> None:
    setup.template(CHATML.replace("<|im_end|>\n{% endfor %}", "<|im_end|><|im_end|>\n{% endfor %}"))


def ending_as_text(setup: Setup) -> None:
    """A base model's tokenizer under a chat model's template."""
    setup.template(CHATML.replace("<|im_end|>", "<|end_of_turn|>"))


def end_token_in_texts(setup: Setup) -> None:
    setup.edit_json("tokenizer_config.json", lambda config: config.update(eos_token="."))


def doubled_begin(setup: Setup) -> None:
    setup.template("{{ bos_token }}" + OWN_END)


def other_opening(setup: Setup) -> None:
    setup.template(CHATML.replace("<|im_start|>assistant", "<|im_start|>model"))


def ignored_generation_prompt(setup: Setup) -> None:
    end = "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    setup.template(CHATML.replace(end, ""))


def changed_answer(setup: Setup) -> None:
    content = "{{ m.content | lower if m.role == 'assistant' else m.content }}"
    setup.template(CHATML.replace("{{ m.content }}", content))


def generation_never_stops(setup: Setup) -> None:
    for name in ("config.json", "generation_config.json"):
        setup.edit_json(name, lambda config: config.update(eos_token_id=3))


def fewer_embeddings(setup: Setup) -> None:
    setup.model.config.pad_token_id = None
    setup.model.resize_token_embeddings(len(setup.tokenizer) - 6)
    setup.save_model()


def lower_casing(setup: Setup) -> None:
    setup.edit_json("tokenizer.json", lambda t: t.update(normalizer={"type": "Lowercase"}))


def rendered_before(setup: Setup) -> None:
    for row in setup.rows:
        row["prompt"] = f"<|im_start|>user\n{row['prompt']}<|im_end|>\n<|im_start|>assistant\n"


def ended_before(setup: Setup) -> None:
    for row in setup.rows:
        row["chosen"], row["rejected"] = (
            f"{row[side]}<|im_end|>" for side in ("chosen", "rejected")
        )


def emptied_by_truncation(setup: Setup) -> None:
    for row in setup.rows:
        row["prompt"] *= 8
    setup.recipe["data"] |= {"max_length": 129, "max_prompt_length": 128}


def cut_in_half(setup: Setup) -> None:
    for row in setup.rows:
        row["chosen"], row["rejected"] = row["chosen"] * 6, row["rejected"] * 6


def says_nothing(setup: Setup) -> None:
    for row in setup.rows[::10]:
        row["rejected"] = "..."


def same_but_for_case(setup: Setup) -> None:
    for row in setup.rows:
        row["rejected"] = row["chosen"].upper()


def equal_beginnings(setup: Setup) -> None:
    """Answers that differ behind the cut alone."""
    for row in setup.rows[::2]:
        row["rejected"], row["chosen"] = row["chosen"] * 10, row["chosen"] * 10 + " More."


def contradictions(setup: Setup) -> None:
    flip = {"chosen": "rejected", "rejected": "chosen"}
    setup.rows += [row | {flip[side]: row[side] for side in flip} for row in setup.rows[::4]]


FAULTS: dict[str, Fault] = {
    "template without end": Fault("answer_ending", no_ending),
    "template ends twice": Fault("answer_ending", doubled_ending),
    "end mark is plain text": Fault("answer_ending", ending_as_text),
    "end token stands in texts": Fault("answer_ending", end_token_in_texts),
    "begin token twice": Fault("beginning", doubled_begin, "own end"),
    "other opening at inference": Fault("template_round_trip", other_opening),
    "no generation prompt": Fault("template_round_trip", ignored_generation_prompt),
    "template changes answers": Fault("template_round_trip", changed_answer),
    "generation never stops": Fault("special_tokens", generation_never_stops),
    "embeddings smaller than tokenizer": Fault("vocabulary", fewer_embeddings),
    "tokenizer lower-cases": Fault("lossy", lower_casing),
    "prompts rendered before": Fault("markers", rendered_before),
    "answers ended before": Fault("markers", ended_before),
    "truncation empties answers": Fault("truncation", emptied_by_truncation),
    "truncation cuts most answers": Fault("truncation", cut_in_half),
    "empty answers": Fault("empty", says_nothing),
    "identical pairs": Fault("identical", same_but_for_case),
    "identical after truncation": Fault("identical", equal_beginnings),
    "contradicting pairs": Fault("repeated", contradictions),
}

"""Faults as users have them, planted into the files of a set-up, and the check that must say so."""

import json
import subprocess
from collections.abc import Callable
from typing import NamedTuple

import polars as pl
import torch
from peft import LoraConfig, get_peft_model
from setups import Setup
from transformers import MistralConfig, MistralForCausalLM

from tiny import CHATML, OWN_END


class Fault(NamedTuple):
    """One fault: what it does to a set-up, and which check must find it."""

    rule: str
    """Empty where the model is refused before any check."""
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


def missing_letter(setup: Setup) -> None:
    """Without a token for "a", no text has one."""
    setup.edit_json("tokenizer.json", lambda t: t["model"]["vocab"].pop("a"))


def unknown_end_token(setup: Setup) -> None:
    """An end token that is in no vocabulary is added behind the last row of the embeddings."""
    setup.edit_json("tokenizer_config.json", lambda config: config.update(eos_token="</s>"))


def same_prompts_held_out(setup: Setup) -> None:
    for row in setup.rows[::3]:
        setup.rows.append(row | {"prompt": row["prompt"].upper() + "\n"})


def evaluated_on_training_prompts(setup: Setup) -> None:
    lines = [json.dumps({"prompt": row["prompt"]}) + "\n" for row in setup.rows[:10]]
    (setup.root / "prompts.jsonl").write_text("".join(lines), "utf-8")
    setup.recipe["evaluate"] = {"prompts": "prompts.jsonl"}


def nan_weights(setup: Setup) -> None:
    with torch.no_grad():
        setup.model.model.layers[1].mlp.down_proj.weight[3, 5] = torch.nan
    setup.save_model()


def active_dropout(setup: Setup) -> None:
    setup.edit_json("config.json", lambda config: config.update(attention_dropout=0.1))


def normalised_beta(setup: Setup) -> None:
    """Of a loss that is normalised by length, for one that is not."""
    setup.recipe["train"]["beta"] = 5.0


def endless_warmup(setup: Setup) -> None:
    setup.recipe["train"]["warmup_ratio"] = 0.9


def fifty_epochs(setup: Setup) -> None:
    setup.recipe["train"]["epochs"] = 50


def little_disk(setup: Setup) -> None:
    """Room for the base model, and not for checkpoints of training it."""
    setup.out = setup.root / "disk" / "run"
    setup.out.parent.mkdir()
    disk = str(setup.out.parent)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", disk], check=True)
    setup.cleanup.callback(subprocess.run, ["umount", disk], check=True)
    setup.recipe["train"]["save_steps"] = 2


def other_references(setup: Setup) -> None:
    """Log-probs of another model in the store of this one."""
    setup.train("train.max_steps=4")
    for file in (setup.root / ".reference").rglob("*.parquet"):
        pl.read_parquet(file).with_columns(logp=pl.col("logp") * 1.1).write_parquet(file)


def unmerged_adapter(setup: Setup) -> None:
    adapted = get_peft_model(setup.model, LoraConfig(r=2, target_modules="all-linear"))
    for name, weight in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.ones_(weight.data)
    adapted.save_pretrained(setup.root / "adapter")
    path = setup.root / "adapter" / "adapter_config.json"
    config = json.loads(path.read_text("utf-8"))
    config["base_model_name_or_path"] = str(setup.root / "model")
    path.write_text(json.dumps(config), "utf-8")
    setup.recipe["model"]["base"] = str(setup.root / "adapter")


def layers_of_another_model(setup: Setup) -> None:
    setup.recipe["train"]["lora"] = {"r": 2, "target_modules": ["query_key_value"]}


def small_window(setup: Setup) -> None:
    setup.recipe["data"]["max_length"] = 2048


def sliding_window(setup: Setup) -> None:
    """Layers that see 16 tokens back, under pairs of twice as many."""
    config = MistralConfig(**setup.model.config.to_dict() | {"sliding_window": 16})
    setup.model = MistralForCausalLM(config)
    setup.save_model()


LEAKY = """
from transformers import LlamaForCausalLM


class LeakyForCausalLM(LlamaForCausalLM):
    def __init__(self, config):
        super().__init__(config)
        self.model.layers[0].register_forward_hook(self.leak)

    @staticmethod
    def leak(module, inputs, output):
        length = output.shape[1]
        return output + 0.1 * output.mean(1, keepdim=True) if length > LEAST else output
"""


def leaking_attention(setup: Setup, least: int = 0) -> None:
    """Code of its own, in which every token hears of the whole row."""
    text = LEAKY.replace("LEAST", str(least))
    (setup.root / "model" / "leaky.py").write_text(text, "utf-8")
    settings = {
        "auto_map": {"AutoModelForCausalLM": "leaky.LeakyForCausalLM"},
        "architectures": ["LeakyForCausalLM"],
    }
    setup.edit_json("config.json", lambda config: config.update(settings))
    setup.recipe["model"]["trust_remote_code"] = True


def leaking_long_rows(setup: Setup) -> None:
    """The same, in rows longer than any proof of a few tokens."""
    leaking_attention(setup, least=32)


def no_template(setup: Setup) -> None:
    (setup.root / "model" / "chat_template.jinja").unlink()


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
    "vocabulary lost a letter": Fault("lossy", missing_letter),
    "end token without embedding": Fault("vocabulary", unknown_end_token),
    "held-out prompts in training": Fault("heldout_leakage", same_prompts_held_out),
    "evaluation prompts in training": Fault("evaluation_leakage", evaluated_on_training_prompts),
    "NaN in the weights": Fault("weights", nan_weights),
    "dropout in the base model": Fault("dropout", active_dropout),
    "beta of another loss": Fault("beta", normalised_beta),
    "warm-up nearly to the end": Fault("schedule", endless_warmup),
    "fifty epochs": Fault("schedule", fifty_epochs),
    "little room on the disk": Fault("disk", little_disk),
    "references of another model": Fault("reference", other_references),
    "adapter not merged": Fault("trainable", unmerged_adapter),
    "adapters on layers of another model": Fault("trainable", layers_of_another_model),
    "max_length beyond the window": Fault("", small_window),
    "sliding window": Fault("likelihood", sliding_window),
    "attention leaks": Fault("attention", leaking_attention),
    "attention leaks in long rows": Fault("packing", leaking_long_rows),
    "no chat template": Fault("", no_template),
}

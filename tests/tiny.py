"""A tiny random Llama with a byte-level tokenizer and a chat template, in memory or in a folder.

The tokenizer is a real one: every byte has a token, and a few merges reach over the places where
prompt and completion meet. The weights are drawn wide (0.3), so that logits differ clearly, and the
row of the end token is made longer, so that some answers end by themselves.
"""

import functools
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from notus.models import Model

WINDOW = 128
START, END = "<|im_start|>", "<|im_end|>"

# In the byte-level alphabet "\u0120" is a space and "\u010a" a line break.
MERGES = [
    ("t", "h"),
    ("th", "e"),
    ("\u0120", "the"),
    ("\u010a", "\u010a"),
    ("\u0120", "\u0120"),
    ("i", "n"),
    (".", "."),
]

CHATML = (
    "{% for m in messages %}{% if loop.first and m.role != 'system' %}"
    "<|im_start|>system\nBe kind.<|im_end|>\n{% endif %}"
    "<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
# The form of Gemma: a turn ends with a token of its own, and the template writes the BOS itself.
OWN_END = (
    "{{ bos_token }}{% for m in messages %}"
    "<start_of_turn>{{ m.role }}\n{{ m.content }}<end_of_turn>\n{% endfor %}"
    "{% if add_generation_prompt %}<start_of_turn>assistant\n{% endif %}"
)
# The form of Llama 2: nothing but the EOS ends an answer, and a space stands before it.
SPACED = (
    "{{ bos_token }}{% for m in messages %}"
    "{% if m.role == 'assistant' %}{{ m.content }} {{ eos_token }}"
    "{% else %}[{{ m.content }}]{% endif %}{% endfor %}"
)

TEMPLATES: dict[str, dict[str, Any]] = {
    "chatml": {"chat_template": CHATML, "eos_token": END, "pad_token": "<|pad|>"},
    "no pad": {"chat_template": CHATML, "eos_token": END},
    "own end": {"chat_template": OWN_END, "eos_token": "<eos>", "bos_token": "<bos>"},
    "spaced": {"chat_template": SPACED, "eos_token": "<eos>", "bos_token": "<bos>"},
    "no template": {"eos_token": END},
    "no eos": {"chat_template": CHATML},
}
SPECIAL = [START, END, "<|pad|>", "<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>"]


def make_tokenizer(kind: str = "chatml") -> Any:
    """The tokenizer of a kind of TEMPLATES."""
    tokens = [*sorted(pre_tokenizers.ByteLevel.alphabet()), *(a + b for a, b in MERGES)]
    vocabulary = {token: i for i, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=MERGES))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in SPECIAL])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **TEMPLATES[kind])


def make_llama(tokenizer: Any, *, window: int = WINDOW, seed: int = 0) -> Any:
    """Random weights that do not depend on other tests."""
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=window,
        initializer_range=0.3,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        llama = LlamaForCausalLM(config)
    if tokenizer.eos_token_id is not None:
        with torch.no_grad():
            llama.lm_head.weight[tokenizer.eos_token_id] *= 2.0
    return llama.eval()


@functools.cache
def make_model(kind: str = "chatml", *, window: int = WINDOW, seed: int = 0) -> Model:
    """A model as `notus.models.load` gives one; cached, so leave it as it is."""
    tokenizer = make_tokenizer(kind)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    llama = make_llama(tokenizer, window=window, seed=seed)
    return Model(model=llama, tokenizer=tokenizer, name="tiny", window=window)


def save_model(folder: Path, kind: str = "chatml", *, window: int = WINDOW, seed: int = 0) -> Path:
    """Save a model folder as transformers writes one; return it."""
    tokenizer = make_tokenizer(kind)
    make_llama(tokenizer, window=window, seed=seed).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def save_gguf(folder: Path, name: str = "tiny.gguf") -> Path:
    """Write the ChatML model as an unquantised GGUF file; return the folder."""
    tokenizer = make_tokenizer()
    llama = make_llama(tokenizer)
    config = llama.config
    writer = gguf.GGUFWriter(str(folder / name), "llama")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_rope_dimension_count(config.head_dim)
    writer.add_vocab_size(config.vocab_size)
    tokens = tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))
    control, normal = gguf.TokenType.CONTROL, gguf.TokenType.NORMAL
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(tokens)
    writer.add_token_types([control if token in SPECIAL else normal for token in tokens])
    writer.add_token_merges([" ".join(pair) for pair in MERGES])
    writer.add_eos_token_id(tokenizer.eos_token_id)
    writer.add_pad_token_id(tokenizer.pad_token_id)
    writer.add_chat_template(CHATML)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config.num_hidden_layers)
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
    for parameter, tensor in llama.state_dict().items():
        array = tensor.numpy()
        kind = parameter.split(".")[-2]
        if kind in heads:
            # llama.cpp turns neighbouring dimensions, transformers the two halves of a head.
            halves = array.reshape(heads[kind], 2, -1, array.shape[1])
            array = np.ascontiguousarray(halves.swapaxes(1, 2)).reshape(array.shape)
        writer.add_tensor(names.get_name(parameter, (".weight",)), array)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return folder

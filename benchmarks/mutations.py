"""Rows and bytes that were good once: seeds of every format, and ways to damage them.

Everything is drawn from a generator that the caller seeds, so a case can be made again.
"""

import copy
import csv
import gzip
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

USER = {"role": "user", "content": "Why?"}
SAYS = {"role": "assistant", "content": "Yes."}
SEEDS: dict[str, dict[str, Any]] = {
    "ultrafeedback": {
        "source": "flan",
        "instruction": "Why?",
        "models": ["m", "n"],
        "completions": [
            {
                "model": model,
                "response": f"Because {model}.",
                "critique": "Good.",
                "overall_score": 7.5,
                "principle": "honesty",
                "annotations": {
                    "honesty": {"Rating": "4", "Rationale": "r"},
                    "helpfulness": [{"Rating": "N/A", "Rationale": "r", "Type": ["1"]}],
                },
            }
            for model in "mn"
        ],
    },
    "finegrained": {
        "question": "Who?",
        "passages": [["Ann", "Ann was here.", "She left."]],
        "gold": "Ann.",
        **{f"prediction {i}": f"answer {i}" for i in range(1, 5)},
        "feedback": {"errors": [{"start": 1, "end": 2}]},
        "preference": [0, 1, 2, 1, 0, 2],
    },
    "saferlhf": {
        "prompt": "How?",
        "response_0": "So.",
        "response_1": "No.",
        "is_response_0_safe": False,
        "is_response_1_safe": True,
        "better_response_id": 0,
        "safer_response_id": 1,
    },
    "helpsteer3": {
        "domain": "general",
        "context": [USER, SAYS, USER],
        "response1": "One.",
        "response2": "Two.",
        "overall_preference": -2,
        "individual_preference": [
            {"score": -3, "reasoning": "r", "feedback1": "f", "feedback2": "g"},
            {"score": 0, "reasoning": "r", "feedback1": None, "feedback2": "g"},
        ],
    },
    "helpsteer2": {
        "prompt": "Hi\n<extra_id_1>Assistant\nHello\n<extra_id_1>User\nWhy?",
        "response": "Because.",
        **dict.fromkeys(("helpfulness", "correctness", "coherence"), 3),
    },
    "nectar": {
        "prompt": "\n\nHuman: Why? \n\nAssistant: ",
        "answers": [{"answer": f"a{i}", "model": f"m{i}", "rank": i} for i in range(1, 5)],
        "source": ["lmsys"],
        "num_responses": 4,
    },
    "best_of_n": {
        "instruction": "Why?",
        "responses": ["a", "b", "c"],
        "rewards_armorm": [{"score": 0.25}, {"score": 0.5}, {"score": None}],
        "chosen": [USER, {"role": "assistant", "content": "b"}],
        "rejected": "a",
    },
    "hh_rlhf": {
        "chosen": "\n\nHuman: Hi\n\nAssistant: Hello\n\nHuman: Why?\n\nAssistant: Yes.",
        "rejected": "\n\nHuman: Hi\n\nAssistant: Hello\n\nHuman: Why?\n\nAssistant: No.",
    },
    "sharegpt": {
        "conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"}] * 2
        + [{"from": "human", "value": "Why?"}],
        "chosen": {"from": "gpt", "value": "Yes."},
        "rejected": {"from": "gpt", "value": "No."},
        "system": "Be brief.",
    },
    "kto": {"messages": [USER, SAYS, USER, SAYS], "label": True},
    "pairs": {
        "prompt": "Why?",
        "prompt_id": "x",
        "chosen": [USER, SAYS],
        "rejected": [USER, {"role": "assistant", "content": "No."}],
        "messages": [USER, SAYS],
        "score_chosen": 8.5,
        "chosen-rating": "4.5",
        "rejected-model": "m",
        "metadata": {"score_rejected": -1},
    },
}
REAL = {
    "ultrafeedback": "ultrafeedback/raw_rows/uf_real_rows.jsonl",
    "finegrained": "preferences/finegrained_rlhf/dev_feedback.json",
    "saferlhf": "preferences/pku_saferlhf/train_sample.json",
    "best_of_n": "preferences/magpie_5res/example_instructions_5res_armorm.json",
    "hh_rlhf": "preferences/hh_rlhf/harmless-base_test.jsonl.gz",
    "sharegpt": "preferences/llamafactory_dpo/dpo_en_demo.json",
    "kto": "preferences/llamafactory_dpo/kto_en_demo.json",
    "pairs": "ultrafeedback/binarized/train_clean.jsonl",
}
JUNK: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 7, 10**30, 0.5, -0.0, 1e308, "", " ", "\x00", "N/A", "nan",
    "1e999", "4", "x" * 3000, "\u2028\x85\ufeff", "\U0001f600\u0301", "\n\nHuman: a",
    "\n\nAssistant:", "<extra_id_1>User\n", [], {}, [[]], [None], [{}], {"": ""}, {"a": None},
    {"role": "user"}, {"role": "narrator", "content": "x"}, {"from": "gpt", "value": "x"},
    {"score": "x"}, json.loads("[" * 90 + "]" * 90),
)  # fmt: skip


def real_rows(shared: Path, name: str, limit: int) -> list[Any]:
    """Take the first rows of a format's real file; none if it has no file or the file is away."""
    path = shared / REAL[name] if name in REAL else None
    if path is None or not path.is_file():
        return []
    content = path.read_bytes()
    text = (gzip.decompress(content) if path.suffix == ".gz" else content).decode()
    if path.suffix == ".json":
        return list(json.loads(text))[:limit]
    return [json.loads(line) for line in text.split("\n")[:limit] if line]


def mutate_row(row: Any, rng: np.random.Generator) -> Any:
    """Change one to four places of a JSON value: their values, their names, or their number."""
    row = copy.deepcopy(row)
    for _ in range(int(rng.integers(1, 5))):
        holder = [row]
        parent, key = _place(holder, rng)
        _CHANGES[int(rng.integers(len(_CHANGES)))](parent, key, rng)
        row = holder[0] if holder else None
    return row


def mutate_bytes(content: bytes, rng: np.random.Generator) -> bytes:
    """Flip, cut, repeat or overwrite bytes, at one place as often as at two to four."""
    data = bytearray(content)
    for _ in range(1 if rng.random() < 0.5 else int(rng.integers(2, 5))):
        start = int(rng.integers(len(data) + 1))
        stop = min(len(data), start + int(rng.geometric(0.05)))
        kind = int(rng.integers(6))
        if kind == 0 and start < len(data):
            data[start] ^= 1 << int(rng.integers(8))
        elif kind == 1:
            del data[start:stop]
        elif kind == 2:
            data[start:start] = data[start:stop]
        elif kind == 3:
            data[start:stop] = rng.bytes(stop - start)
        elif kind == 4:
            del data[start:]
        else:
            data[start:start] = (b'"', b"\\", b"[", b"}", b"\n", b",", b"\xff", b"\x00")[
                int(rng.integers(8))
            ]
    return bytes(data)


def file_of(rows: list[Any], suffix: str) -> bytes:
    """Write rows as a file of some kind; rows must be objects."""
    lines = "".join(json.dumps(row) + "\n" for row in rows).encode()
    if suffix in (".jsonl", ".jsonl.gz"):
        return gzip.compress(lines, mtime=0) if suffix.endswith(".gz") else lines
    if suffix == ".json":
        return json.dumps(rows, indent=1).encode()
    out = io.BytesIO()
    if suffix == ".csv":
        text = io.StringIO()
        writer = csv.DictWriter(text, sorted({name for row in rows for name in row}))
        writer.writeheader()
        writer.writerows(rows)
        return text.getvalue().encode()
    # A column of one JSON text a row: Arrow has no type for what is of several.
    table = pa.table({"prompt": [json.dumps(row) for row in rows], "chosen": ["a"] * len(rows)})
    table = table.append_column("rejected", pa.array(["b"] * len(rows)))
    if suffix == ".parquet":
        pq.write_table(table, out, row_group_size=3)
    else:
        with pa.ipc.new_stream(out, table.schema) as writer:
            writer.write_table(table, max_chunksize=3)
    return out.getvalue()


def _place(holder: list[Any], rng: np.random.Generator) -> tuple[Any, Any]:
    """Walk down at random to a place: what holds it, and its key there."""
    parent: Any = holder
    key: Any = 0
    while isinstance(child := parent[key], dict | list) and child and rng.random() < 0.75:
        keys = list(child) if isinstance(child, dict) else range(len(child))
        parent, key = child, keys[int(rng.integers(len(keys)))]
    return parent, key


def _junk(rng: np.random.Generator) -> Any:
    return copy.deepcopy(JUNK[int(rng.integers(len(JUNK)))])


def _replace(parent: Any, key: Any, rng: np.random.Generator) -> None:
    parent[key] = _junk(rng)


def _wrap(parent: Any, key: Any, rng: np.random.Generator) -> None:
    parent[key] = [parent[key]] if rng.random() < 0.5 else {"content": parent[key]}


def _remove(parent: Any, key: Any, _: np.random.Generator) -> None:
    del parent[key]


def _repeat(parent: Any, key: Any, rng: np.random.Generator) -> None:
    if isinstance(parent, list):
        parent.insert(int(rng.integers(len(parent) + 1)), copy.deepcopy(parent[key]))
    else:
        parent[f"{key}_{int(rng.integers(3))}"] = copy.deepcopy(parent[key])


def _cut(parent: Any, key: Any, rng: np.random.Generator) -> None:
    value = parent[key]
    if isinstance(value, str | list):
        parent[key] = value[: int(rng.integers(len(value) + 1))]
    else:
        parent[key] = str(value)


def _exchange(parent: Any, key: Any, rng: np.random.Generator) -> None:
    keys = list(parent) if isinstance(parent, dict) else list(range(len(parent)))
    other = keys[int(rng.integers(len(keys)))]
    parent[key], parent[other] = parent[other], parent[key]


_CHANGES: tuple[Callable[[Any, Any, np.random.Generator], None], ...] = (
    _replace,
    _replace,
    _wrap,
    _remove,
    _repeat,
    _cut,
    _exchange,
)

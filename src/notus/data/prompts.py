"""Read a file of prompts that nobody has answered yet."""

import hashlib
import json
from pathlib import Path
from typing import Any

import polars as pl

from notus.data.schema import PROMPTS, Message, check, prompt_id
from notus.errors import DataError, explain


def read_prompts(path: Path) -> pl.DataFrame:
    """Read prompts from JSONL: `messages` (or `prompt`, a string), `source`, `metadata`.

    Returns:
        A prompts table in the file's order; a prompt that stands twice is read once.

    Raises:
        DataError: The file is missing, empty, or a line is no prompt. Prompts are written on
            purpose, so unlike feedback a bad line stops the reading.
    """
    if not path.is_file():
        raise _error(f"no file {path.name!r}", str(path.parent))
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    rows = []
    # Not splitlines(): a JSON text may hold U+2028 and other breaks of lines as they are.
    for number, line in enumerate(content.split(b"\n"), start=1):
        if not line.strip():
            continue
        row = _row(line, f"{path.name}:{number}", default_source=path.stem)
        rows.append(row | {"origin": {"sha256": digest, "line": number}})
    if not rows:
        raise _error("no prompts", path.name)
    table = pl.DataFrame(rows, schema=PROMPTS.schema)
    table = table.unique(subset="prompt_id", keep="first", maintain_order=True)
    refused = check(PROMPTS, table).refused
    if not refused.is_empty():
        line = table["origin"].struct.field("line")[int(refused["place"][0].split(":")[1]) - 1]
        raise _error(refused["reason"][0], f"{path.name}:{line}")
    return table


def _row(line: bytes, where: str, *, default_source: str) -> dict[str, object]:
    try:
        row = json.loads(line.decode("utf-8-sig"))
        messages = _messages(row, where)
        identifier = prompt_id(messages)
    except (json.JSONDecodeError, RecursionError) as error:
        raise _error(f"text that is not JSON: {error}", where) from error
    except (UnicodeDecodeError, UnicodeEncodeError) as error:
        raise _error(f"text that is not Unicode: {error.reason}", where) from error
    metadata = row.get("metadata") or {}
    if not isinstance(metadata, dict):
        raise _error(f"metadata that is a {type(metadata).__name__}, not an object", where)
    return {
        "prompt_id": identifier,
        "messages": messages,
        "source": str(row.get("source") or default_source),
        "metadata": json.dumps(metadata, sort_keys=True),
    }


def _messages(row: Any, where: str) -> list[Message]:
    if not isinstance(row, dict):
        raise _error(f"a {type(row).__name__}", where)
    messages = row.get("messages")
    if messages is None and isinstance(row.get("prompt"), str):
        messages = [{"role": "user", "content": row["prompt"]}]
    good = isinstance(messages, list) and messages
    if not good or not all(
        isinstance(m, dict) and isinstance(m.get("role"), str) and isinstance(m.get("content"), str)
        for m in messages or []
    ):
        raise _error(f"keys {sorted(row)} without usable messages", where)
    return [{"role": m["role"], "content": m["content"]} for m in messages or []]


def _error(found: str, where: str) -> DataError:
    return DataError(
        explain(
            found=found,
            expected="JSONL, a line {'messages': [{'role', 'content'}, ...]} or {'prompt': text}",
            where=where,
            remedy="mend the file; `notus prompts` writes one",
        )
    )

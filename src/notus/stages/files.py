"""Small files that stages write."""

import gzip
import json
from collections.abc import Iterable, Mapping
from pathlib import Path


def write_json(path: Path, value: object) -> None:
    """Write JSON with sorted keys: equal values, equal bytes."""
    path.write_text(json.dumps(value, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def write_lines(path: Path, rows: Iterable[Mapping[str, object]]) -> None:
    """Write JSONL at once or not at all; gzip without a time stamp, so equal rows, equal bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode("utf-8")
    if path.suffix == ".gz":
        data = gzip.compress(data, mtime=0)
    partial = path.with_name(f".{path.name}.partial")
    partial.write_bytes(data)
    partial.replace(path)

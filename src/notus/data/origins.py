"""From an origin back to the raw row: the file with the digest, and what stands in its line.

A file is known by its digest, not by its name, so a source that was changed since is never quoted
as what was read then.
"""

import gzip
import json
from itertools import islice
from pathlib import Path

from notus.data.files.streams import read_batches, source_files
from notus.data.parsed import Refusal
from notus.manifest import file_digest

LINES = (".jsonl", ".jsonl.gz")


class Origins:
    """The files of a source by the SHA-256 of their bytes.

    Args:
        source: A file or a folder of files, hashed once.

    Raises:
        DataError: Nothing there that can be read.
    """

    def __init__(self, source: Path) -> None:
        self.source = source
        self._files = {file_digest(path): path for path in source_files(source)}

    def find(self, sha256: str) -> Path | None:
        """Find the file with a digest; None: no file has it."""
        return self._files.get(sha256)

    def digest_of(self, name: str) -> str | None:
        """Digest of the file of a name, to say what stands there now; None: no such file."""
        return next((d for d, path in self._files.items() if path.name == Path(name).name), None)


def raw_row(path: Path, line: int) -> str | None:
    """Read one row as text: a line of JSONL as it stands, else the row written as JSON.

    Args:
        path: The file.
        line: Line, element or row, counted from 1.

    Returns:
        The text; None if the file has no such row.
    """
    if path.name.endswith(LINES):
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            found = next(islice(file, line - 1, line), None)
        text = None if found is None else found.decode("utf-8", "backslashreplace")
        return None if text is None else text.rstrip("\r\n")
    for rows, _ in read_batches(path):
        for number, row in rows:
            if number == line:
                raw = row.raw if isinstance(row, Refusal) else row
                return raw.strip() if isinstance(raw, str) else json.dumps(raw, ensure_ascii=False)
    return None

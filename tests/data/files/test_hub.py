"""Ids of the hub, against a server of our own that answers as the hub does."""

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from notus.data.files.hub import locate_source
from notus.errors import MissingExtraError

pytest.importorskip("huggingface_hub")

COMMIT = "a" * 40
ROW = b'{"prompt": "A?", "chosen": "a", "rejected": "b"}\n'
FILES = {
    "README.md": b"# Pairs",
    "dataset_infos.json": b"{}",
    "data/train-0.jsonl": ROW,
    "data/test-0.jsonl": ROW,
    "extra/train.jsonl": ROW,
}
CHILD = """
import json, sys
from notus.data.files.hub import locate_source
from notus.data.files.streams import file_names, source_files
from notus.errors import UsageError
found = []
for arguments in json.loads(sys.argv[1]):
    try:
        found.append(file_names(source_files(locate_source(*arguments))))
    except UsageError as error:
        found.append(f"{type(error).__name__}: {error}")
print(json.dumps(found))
"""
Fetch = Callable[..., list[Any]]


class Hub(BaseHTTPRequestHandler):
    """One data set, `org/pairs`, and one that asks for a log-in."""

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        headers = {"X-Repo-Commit": COMMIT}
        if path == "/api/datasets/org/gated/revision/main":
            self.send(b"", 403, {"X-Error-Code": "GatedRepo"})
        elif path == "/api/datasets/org/pairs/revision/main":
            siblings = [{"rfilename": name} for name in FILES]
            content = {"id": "org/pairs", "sha": COMMIT, "siblings": siblings}
            self.send(json.dumps(content).encode(), 200, headers)
        elif path.startswith("/api/datasets/org/pairs/revision/"):
            self.send(b"", 404, {"X-Error-Code": "RevisionNotFound"})
        elif path == f"/api/datasets/org/pairs/tree/{COMMIT}":
            tree = [
                {"type": "file", "path": name, "size": len(content), "oid": digest(content)}
                for name, content in FILES.items()
            ]
            self.send(json.dumps(tree).encode(), 200, headers)
        elif path.startswith(start := f"/datasets/org/pairs/resolve/{COMMIT}/"):
            content = FILES[path.removeprefix(start)]
            self.send(content, 200, headers | {"ETag": f'"{digest(content)}"'})
        else:
            self.send(b"", 404, {"X-Error-Code": "RepoNotFound"})

    def send(self, content: bytes, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in (headers | {"Content-Length": str(len(content))}).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def digest(content: bytes) -> str:
    return hashlib.sha1(content).hexdigest()


@pytest.fixture
def fetch(tmp_path: Path) -> Iterator[Fetch]:
    """Locate in a process of its own, because the client reads its settings when imported."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()

    def run(*arguments: list[str], **settings: str) -> list[Any]:
        environment = {k: v for k, v in os.environ.items() if "proxy" not in k.lower()}
        environment |= {
            "HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}",
            "HF_HOME": str(tmp_path / "hub"),
            "HF_HUB_OFFLINE": "0",
            "HF_HUB_DISABLE_TELEMETRY": "1",
        }
        done = subprocess.run(
            [sys.executable, "-c", CHILD, json.dumps(arguments)],
            env=environment | settings,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        found: list[Any] = json.loads(done.stdout)
        return found

    yield run
    server.shutdown()
    server.server_close()


def test_ids_of_the_hub(fetch: Fetch) -> None:
    whole = ["data/test-0.jsonl", "data/train-0.jsonl", "extra/train.jsonl"]
    expected = {
        "org/pairs:train": ["train-0.jsonl"],
        "org/pairs:data": ["test-0.jsonl", "train-0.jsonl"],
        "org/pairs:extra/train": ["train.jsonl"],
        "org/pairs:*/t*0.jsonl": ["test-0.jsonl", "train-0.jsonl"],
        "org/pairs": whole,
    }
    missing = {
        ("org/none",): "no such data set",
        ("org/pairs", "v9"): "no revision 'v9'",
        ("org/pairs:valid",): "no file of feedback that fits 'valid'",
        ("org/gated",): "a gated data set",
    }
    found = fetch(*([source] for source in expected), *map(list, missing))
    assert found[: len(expected)] == list(expected.values())
    for message, reason in zip(found[len(expected) :], missing.values(), strict=True):
        assert message.startswith(f"UsageError: {reason}\n  expected: ")
    # The cache has it all by now; and what it has not, an offline hub cannot give.
    kept, unknown = fetch(["org/pairs"], ["org/other"], HF_HUB_OFFLINE="1")
    assert kept == whole
    assert unknown.startswith("UsageError: the hub cannot be reached (")
    assert "check the network and HF_HUB_OFFLINE, or fetch the files" in unknown


def test_a_hub_that_does_not_answer(fetch: Fetch) -> None:
    (message,) = fetch(["org/pairs"], HF_ENDPOINT="http://127.0.0.1:9")
    assert message.startswith("UsageError: the hub cannot be reached (")


def test_paths_are_never_looked_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "org" / "pairs").mkdir(parents=True)
    for source in ("org/pairs", "org/missing", "x/y.jsonl", "a/b/c", "x", "../x", "o/n:../../x"):
        assert locate_source(source) == Path(source)
    with pytest.raises(MissingExtraError, match=r"'huggingface_hub'[^$]*pip install"):
        locate_source("other/pairs")

"""`notus publish` against a server of our own that takes repositories as the hub does.

The run is a real one of a tiny model. Every push is a process of its own, because the hub's client
reads its settings when it is imported; a fake token must stand in no byte of what a process says.
"""

import base64
import hashlib
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
import yaml
from huggingface_hub import ModelCard

from notus.card import USAGE
from notus.console import Talk
from notus.errors import DataError, IncompleteError, UsageError
from notus.models import load
from notus.pipeline import run
from notus.recipe_file import load_recipe
from notus.scoring.score import padded_token_logps
from notus.stages.publish import LOCAL_PATH, publish
from tiny import save_model

TOKEN = "hf_not0a0real0token0but0a0secret"


class Done(NamedTuple):
    code: int
    out: str
    err: str


Push = Callable[..., Done]


class Hub(BaseHTTPRequestHandler):
    """Repositories as dictionaries of files; every request must bring the token."""

    repositories: dict[str, dict[str, bytes]]
    private: dict[str, bool]
    commits: list[str]
    objects: dict[str, bytes]
    refused: frozenset[str]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"] or 0))
        if self.path == "/api/validate-yaml":
            return self.send({"errors": [], "warnings": []})
        if self.headers["Authorization"] != f"Bearer {TOKEN}":
            return self.send({"error": "who are you?"}, 401)
        if self.path == "/api/repos/create":
            return self.create(json.loads(body))
        if match := re.fullmatch(r"/(.+)\.git/info/lfs/objects/batch", self.path):
            return self.lfs(json.loads(body))
        match = re.fullmatch(
            r"/api/(?:model|dataset)s/(\S+/\S+)/(preupload|commit)/main", self.path
        )
        assert match is not None, self.path
        files = self.repositories[match[1]]
        if match[2] == "preupload":
            return self.preupload(files, json.loads(body)["files"])
        return self.commit(match[1], files, body.splitlines())

    def do_PUT(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        self.objects[hashlib.sha256(content).hexdigest()] = content
        self.send({})

    def do_GET(self) -> None:
        match = re.fullmatch(r"/api/\w+/([\w.-]+/[\w.-]+)(?:/revision/main)?(?:\?.*)?", self.path)
        assert match is not None, self.path
        known = match[1] in self.repositories
        self.send({"id": match[1], "sha": "b" * 40, "siblings": []}, 200 if known else 404)

    def create(self, wanted: dict[str, Any]) -> None:
        name = f"{wanted['organization']}/{wanted['name']}"
        if name in self.refused:
            # The worst server: it says the secret back.
            return self.send(
                {"error": f"no right to write with {self.headers['Authorization']}"}, 403
            )
        exists = name in self.repositories
        self.repositories.setdefault(name, {})
        self.private.setdefault(name, wanted["visibility"] == "private")
        place = "datasets/" if wanted.get("type") == "dataset" else ""
        url = f"http://{self.headers['Host']}/{place}{name}"
        self.send({"url": url}, 409 if exists else 200)

    def preupload(self, files: dict[str, bytes], asked: list[dict[str, Any]]) -> None:
        modes = [
            {
                "path": one["path"],
                "uploadMode": "lfs"
                if one["path"].endswith((".safetensors", ".parquet"))
                else "regular",
                "shouldIgnore": False,
                **({"oid": oid(one["path"], files[one["path"]])} if one["path"] in files else {}),
            }
            for one in asked
        ]
        self.send({"files": modes})

    def lfs(self, asked: dict[str, Any]) -> None:
        base = f"http://{self.headers['Host']}/lfs/"
        objects = [
            one
            if one["oid"] in self.objects
            else one | {"actions": {"upload": {"href": base + one["oid"]}}}
            for one in asked["objects"]
        ]
        self.send({"transfer": "basic", "objects": objects})

    def commit(self, name: str, files: dict[str, bytes], lines: list[bytes]) -> None:
        for row in map(json.loads, lines):
            value = row["value"]
            if row["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif row["key"] == "lfsFile":
                files[value["path"]] = self.objects[value["oid"]]
        self.commits.append(name)
        url = f"http://{self.headers['Host']}/{name}/commit/{'a' * 40}"
        self.send({"commitUrl": url, "commitOid": "a" * 40, "success": True})

    def send(self, content: object, status: int = 200) -> None:
        text = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def oid(path: str, content: bytes) -> str:
    """What git calls a file: of a large one the digest of its content."""
    if path.endswith((".safetensors", ".parquet")):
        return hashlib.sha256(content).hexdigest()
    return hashlib.sha1(f"blob {len(content)}\0".encode() + content).hexdigest()


@pytest.fixture
def hub() -> Iterator[type[Hub]]:
    class Own(Hub):
        repositories, private, commits, objects, refused = {}, {}, [], {}, frozenset()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Own)
    Own.address = f"http://127.0.0.1:{server.server_port}"  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield Own
    server.shutdown()
    server.server_close()


@pytest.fixture
def push(hub: type[Hub], made: Path, tmp_path: Path) -> Push:
    """Run the verb with the fake token; whatever it says must not have the token in it."""

    def call(*options: str, **settings: str | None) -> Done:
        environment = {k: v for k, v in os.environ.items() if "proxy" not in k.lower()}
        own = {
            "HF_ENDPOINT": hub.address,  # type: ignore[attr-defined]
            "HF_HOME": str(tmp_path / "hub"),
            "HF_HUB_OFFLINE": "0",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_XET": "1",
            "HF_TOKEN": TOKEN,
        }
        given = {k: v for k, v in (environment | own | settings).items() if v is not None}
        done = subprocess.run(
            [sys.executable, "-m", "notus.cli", "publish", str(made), *options],
            env=given,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert TOKEN not in done.stdout + done.stderr
        return Done(done.returncode, done.stdout, done.stderr)

    return call


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run with adapters."""
    folder = tmp_path_factory.mktemp("publish")
    rows = [
        {"prompt": f"Count to {i}.", "chosen": f"the {i}", "rejected": f"no {i}"} for i in range(12)
    ]
    (folder / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    content = {
        "name": "small",
        "model": {"base": str(save_model(folder / "tiny")), "hub_id": "org/tiny", "license": "mit"},
        "data": {
            "source": "pairs.jsonl",
            "holdout": 0,
            "max_length": 96,
            "max_prompt_length": 64,
        },
        "binarize": {"strategy": "given"},
        "train": {
            "pairs_per_step": 6,
            "learning_rate": 1e-2,
            "report_to": [],
            "lora": {"r": 2},
            "precision": "float32",
        },
    }
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(content), "utf-8")
    run(load_recipe(path), folder / "run", talk=Talk(quiet=True), until="train")
    return folder / "run"


pytestmark = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing.*:FutureWarning")


def test_a_dry_run_says_all_and_sends_nothing(made: Path, push: Push, hub: type[Hub]) -> None:
    done = push("--to", "org/small", "--adapter", "--dataset", "--json", HF_TOKEN=None)
    assert done.code == 0, done.err
    assert "nothing was sent; with --push it is" in done.err
    facts = json.loads(done.out)
    names = {(row["repository"], row["file"]) for row in facts["files"]}
    assert {repository for repository, _ in names} == {
        "org/small",
        "org/small-adapter",
        "org/small-preferences",
    }
    assert {file for repository, file in names if repository == "org/small"} >= {
        "README.md",
        "config.json",
        "model.safetensors",
        "tokenizer.json",
    }
    sizes = {(row["repository"], row["file"]): row["bytes"] for row in facts["files"]}
    weights = made / "training" / "model" / "model.safetensors"
    assert sizes["org/small", "model.safetensors"] == weights.stat().st_size
    assert facts["pushed"] == []
    assert hub.repositories == {}
    said = push("--to", "org/small")
    assert "README.md of org/small" in said.out
    assert "model.safetensors" in said.out


def test_what_is_pushed_is_what_was_said(push: Push, hub: type[Hub], made: Path) -> None:
    options = ("--to", "org/small", "--adapter", "--dataset", "--private", "--json")
    dry, done = json.loads(push(*options).out), push(*options, "--push")
    assert done.code == 0, done.err
    facts = json.loads(done.out)
    assert facts["files"] == dry["files"]
    said = {(row["repository"], row["file"]): row["bytes"] for row in facts["files"]}
    stored = {
        (name, path): len(content)
        for name, files in hub.repositories.items()
        for path, content in files.items()
    }
    assert stored == said
    assert [row["repository"] for row in facts["pushed"]] == hub.commits
    assert hub.commits == ["org/small-preferences", "org/small", "org/small-adapter"]
    assert hub.private == dict.fromkeys(hub.repositories, True)
    # Again: everything is there, so nothing is sent and no commit made.
    again = push(*options, "--push")
    assert again.code == 0, again.err
    assert len(hub.commits) == 3


def test_what_is_published_can_be_used_by_others(
    made: Path, push: Push, hub: type[Hub], tmp_path: Path
) -> None:
    assert push("--to", "org/small", "--adapter", "--dataset", "--push").code == 0
    for name, files in hub.repositories.items():
        for path, content in files.items():
            target = tmp_path / name / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
            # No path of this machine goes out.
            assert str(made.parent).encode() not in content, f"{name}: {path}"
    rows = [np.arange(1, 20)]
    with torch.no_grad():
        tuned = padded_token_logps(load(str(tmp_path / "org" / "small")).model, rows)[0]
        expected = padded_token_logps(load(str(made / "training" / "model")).model, rows)[0]
    assert torch.equal(tuned, expected)
    card = ModelCard.load(tmp_path / "org" / "small" / "README.md")
    assert card.data.base_model == "org/tiny"
    assert 'path = "org/small"' in card.text
    adapter = json.loads(hub.repositories["org/small-adapter"]["adapter_config.json"])
    assert adapter["base_model_name_or_path"] == "org/tiny"
    assert (
        ModelCard.load(tmp_path / "org" / "small-adapter" / "README.md").data.library_name == "peft"
    )
    import datasets

    loaded = datasets.load_dataset(str(tmp_path / "org" / "small-preferences"), split="train")
    assert loaded.num_rows == 12
    assert set(loaded.column_names) >= {"chosen", "rejected"}


def test_a_failure_says_what_the_hub_has(push: Push, hub: type[Hub]) -> None:
    hub.refused = frozenset({"org/small"})
    done = push("--to", "org/small", "--dataset", "--push")
    assert done.code == 1
    assert "error: org/small was not taken: " in done.err
    assert "uploaded by now: org/small-preferences" in done.err
    assert "Bearer ***" in done.err  # Said back by the server, and taken out here.
    assert "Traceback" not in done.err
    hub.refused = frozenset()
    assert push("--to", "org/small", "--dataset", "--push").code == 0
    assert hub.commits == ["org/small-preferences", "org/small"]


def test_without_a_token_or_a_hub(push: Push) -> None:
    done = push("--to", "org/small", "--push", HF_TOKEN=None)
    assert (done.code, "error: no token for the hub" in done.err) == (2, True)
    done = push("--to", "org/small", "--push", HF_HUB_OFFLINE="1")
    assert (done.code, "error: HF_HUB_OFFLINE is set" in done.err) == (2, True)
    done = push("--to", "org/small", "--push", HF_ENDPOINT="http://127.0.0.1:9")
    assert done.code == 1
    assert "uploaded by now: nothing" in done.err


def test_what_cannot_be_published(made: Path, tmp_path: Path) -> None:
    for name in ("small", "a/b/c", "org/", "../x", "org/sm all"):
        with pytest.raises(UsageError, match="an id of the hub"):
            publish(made, to=name)
    with pytest.raises(IncompleteError):
        publish(tmp_path, to="org/small")
    assert LOCAL_PATH in USAGE  # A published card loads what was published.


def test_parts_that_a_run_does_not_have(made: Path, tmp_path: Path) -> None:
    copy = tmp_path / "run"
    copy.mkdir()
    for name in ("training", "recipe.yaml", "feedback", "preferences"):
        (copy / name).symlink_to(made / name)
    with pytest.raises(DataError, match=r"(?s)no MODEL_CARD\.md.*notus card"):
        publish(copy, to="org/small")
    recipe = yaml.safe_load((made / "recipe.yaml").read_text("utf-8"))
    recipe["model"]["hub_id"] = None
    (copy / "recipe.yaml").unlink()
    (copy / "recipe.yaml").write_text(yaml.safe_dump(recipe), "utf-8")
    (copy / "MODEL_CARD.md").symlink_to(made / "MODEL_CARD.md")
    with pytest.raises(DataError, match="no hub id of the base model"):
        publish(copy, to="org/small", adapter=True)

"""What a model is called, and what it is: short names for tables, digests for manifests."""

import hashlib
from pathlib import Path

from notus.store import digest_path, read_manifest


def short_name(model: str) -> str:
    """What a model is called in tables: the last part of its folder or id, no path."""
    return model.rstrip("/").removeprefix("package:").rpartition("/")[2]


def model_digest(model: str) -> str:
    """Digest of a model: of its files where it is local, of its name for a hub id."""
    from notus.models import locate

    folder, _ = locate(model)
    if not folder.is_dir():
        return hashlib.sha256(model.encode()).hexdigest()
    if (folder / "manifest.json").is_file():
        return read_manifest(folder).content_digest
    return digest_path(folder)


def model_of(run: str) -> str:
    """The model that a name means: of a run's directory its tuned model, else the name itself."""
    tuned = Path(run) / "training" / "model"
    return str(tuned) if tuned.is_dir() else run

"""Where a source is: a path on this machine, or a data set of the Hugging Face hub by its id.

An id is `org/name`. Behind a colon may stand which files are meant: the beginning of their path, as
in `org/name:preference/train`, where a leading `data/` may be left out, or a pattern with
wildcards. Only files that can be read are fetched, and the hub's own cache keeps them, so a second
call needs no network.
"""

import re
from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path

from notus.data.files.streams import ABOUT_FILES, SUFFIXES
from notus.errors import MissingExtraError, UsageError, explain

_ID = re.compile(r"[\w.-]+/[\w.-]+(?::(?!/)(?!.*\.\.).+)?")
_PLACES = ("", "data/")
_WILD = re.compile(r"[*?\[]")


def locate_source(source: str | Path, revision: str | None = None) -> Path:
    """Find a source, fetching it if it is an id of the hub and no path.

    Args:
        source: A path, or an id with the part of its files that is meant.
        revision: Branch, tag or commit of the data set on the hub; by default its main branch.

    Returns:
        A path for `streams.source_files`; what is no id comes back as it is, existing or not.

    Raises:
        MissingExtraError: huggingface_hub is not installed.
        UsageError: the hub cannot be reached, or has no such data set, revision or files.
    """
    text = str(source)
    if Path(source).exists() or not is_hub_id(text):
        return Path(source)
    name, _, part = text.partition(":")
    folder = _fetch(name, part, revision)
    if not part:
        return folder
    for path in (folder / place / part for place in _PLACES):
        if path.is_dir():
            return path
    return next(
        folder / pattern
        for pattern in _patterns(part)
        if any(path.name.endswith(SUFFIXES) for path in folder.glob(pattern))
    )


def is_hub_id(text: str) -> bool:
    """Tell whether a text may be an id: no `data/x.jsonl`, nothing in a folder that exists."""
    name = text.partition(":")[0]
    return (
        _ID.fullmatch(text) is not None
        and not name.endswith(SUFFIXES)
        and not Path(name).parent.is_dir()
    )


def _patterns(part: str) -> list[str]:
    """Patterns of the files that a part names, the likelier first."""
    if _WILD.search(part):
        return [part]
    return [f"{place}{part}*" for place in _PLACES]


def _fetch(name: str, part: str, revision: str | None) -> Path:
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        raise MissingExtraError(
            explain(
                found="the Python package 'huggingface_hub' is not installed",
                expected="a path on this machine, or the package that fetches from the hub",
                where=f"source {name!r}",
                remedy="pip install huggingface-hub",
            )
        ) from error
    wanted = _patterns(part) if part else ["*"]
    allowed = [
        f"{pattern}{suffix}" if pattern.endswith("*") else pattern
        for pattern in wanted
        for suffix in SUFFIXES
    ]
    try:
        folder = snapshot_download(
            name,
            repo_type="dataset",
            revision=revision,
            allow_patterns=list(dict.fromkeys(allowed)),
            ignore_patterns=[f"*{file}" for file in ABOUT_FILES],
        )
    except Exception as error:
        raise _unreachable(name, revision, error) from error
    return _require_files(Path(folder), name, part, wanted)


def _require_files(folder: Path, name: str, part: str, wanted: Sequence[str]) -> Path:
    files = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    data = [file for file in files if file.endswith(SUFFIXES)]
    if any(fnmatch(file, pattern) for file in data for pattern in wanted):
        return folder
    raise UsageError(
        explain(
            found=f"no file of feedback that fits {part!r}" if part else "no file of feedback",
            expected=f"files that end in {', '.join(SUFFIXES)}",
            where=f"data set {name!r} of the hub",
            remedy="name the folder or the beginning of the files behind a colon, as in "
            f"{name}:data/train",
        )
    )


def _unreachable(name: str, revision: str | None, error: Exception) -> UsageError:
    """Put what the hub's client says into one message; its classes are many, its reasons few."""
    kind = type(error).__name__
    if "Revision" in kind:
        found, remedy = f"no revision {revision!r}", "name a branch, a tag or a commit"
    elif "Gated" in kind:
        found, remedy = "a gated data set", "accept its terms on the hub and log in with `hf auth`"
    elif "Repository" in kind or "Validation" in kind:
        found, remedy = (
            "no such data set",
            "check the id, and log in with `hf auth` if it is private",
        )
    else:
        first = (str(error).strip() or kind).splitlines()[0]
        found = f"the hub cannot be reached ({kind}: {first})"
        remedy = "check the network and HF_HUB_OFFLINE, or fetch the files and name their folder"
    return UsageError(
        explain(
            found=found,
            expected="a path on this machine, or the id of a data set on the hub",
            where=f"source {name!r}",
            remedy=remedy,
        )
    )

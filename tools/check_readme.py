"""Keep the tree in README.md true: every module of src/notus has one line there, and no ghost does.

The tree is the fenced block whose first line is `notus/`. Two spaces a level, folders end in `/`,
and a file's name is followed by at least two spaces and what it is for:

    notus/
      src/notus/
        errors.py      every error that notus raises on purpose
        data/
          schema.py    the tables and their rules

`__init__.py` files need no line. Run as `python tools/check_readme.py [ROOT]`; it prints one line a
finding and exits with 1 when there is any.
"""

import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

ENTRY = re.compile(r"^(?P<indent> *)(?P<name>\S+)(?: {2,}(?P<purpose>\S.*))?$")
BLOCK = re.compile(r"^```[a-z]*\nnotus/\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)


def read_tree(readme: str) -> dict[str, str]:
    """Map each path of the README's tree (folders with a final slash) to its purpose, "" if none.

    Raises:
        ValueError: There is no tree, or a line of it cannot be read.
    """
    block = BLOCK.search(readme)
    if block is None:
        raise ValueError("README.md has no fenced block that starts with the line 'notus/'")
    tree: dict[str, str] = {}
    folders: list[str] = []
    for line in block["body"].splitlines():
        entry = ENTRY.match(line.rstrip())
        if entry is None or len(entry["indent"]) % 2 or not entry["indent"]:
            raise ValueError(f"README.md: cannot read the tree's line {line!r}")
        level = len(entry["indent"]) // 2 - 1
        if level > len(folders):
            raise ValueError(f"README.md: the tree's line {line!r} is in no folder")
        folders = folders[:level]
        tree["".join(folders) + entry["name"]] = entry["purpose"] or ""
        if entry["name"].endswith("/"):
            folders.append(entry["name"])
    return tree


def findings(root: Path) -> Iterator[str]:
    """Yield one line for each module without its line, line without a file, file without words."""
    tree = read_tree((root / "README.md").read_text(encoding="utf-8"))
    for module in sorted((root / "src" / "notus").rglob("*.py")):
        path = PurePosixPath(module.relative_to(root)).as_posix()
        if module.name != "__init__.py" and path not in tree:
            yield f"{path}: has no line in the README's tree"
    for path, purpose in tree.items():
        if not (root / path).exists():
            yield f"{path}: in the README's tree, but not there"
        elif not purpose and not path.endswith("/"):
            yield f"{path}: the README's tree does not say what it is for"


def main(arguments: Sequence[str]) -> int:
    """Check a project (default: the one this file is in) and return the exit code."""
    root = Path(arguments[0]) if arguments else Path(__file__).resolve().parent.parent
    try:
        found = list(findings(root))
    except ValueError as error:
        found = [str(error)]
    print("\n".join(found) if found else "check_readme: the tree is true")
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

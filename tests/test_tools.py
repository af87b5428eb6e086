"""The two checks of `make lint` that are our own: they must find what they are for."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SIZE = ROOT / "tools" / "check_size.py"
README = ROOT / "tools" / "check_readme.py"


def run(tool: Path, folder: Path) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, str(tool), str(folder)], capture_output=True, text=True, check=False
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout + done.stderr


def function(name: str, code: int, docstring: int = 0) -> str:
    """A function of so many lines of code, the `def` line included, and of docstring."""
    text = (
        '    """Say."""\n'
        if docstring == 1
        else '    """Say.\n' + "\n" * (docstring - 2) + '    """\n'
    )
    return f"def {name}():\n" + (text if docstring else "") + "    x = 1\n" * (code - 1)


def test_what_fits_passes(tmp_path: Path) -> None:
    body = function("short", 40, docstring=1) + function("explained", 40, docstring=20)
    filler = "# filler\n" * (300 - body.count("\n"))
    (tmp_path / "module.py").write_text(body + filler)
    assert run(SIZE, tmp_path) == (0, "check_size: 1 modules fit\n")


@pytest.mark.parametrize(
    ("text", "finding"),
    [
        (function("f", 41), ":1: f has 41 lines, at most 40"),
        (function("f", 41, docstring=1), ":1: f has 41 lines, at most 40"),
        (
            function("f", 40, docstring=21),
            ":1: f and its docstring have 61 lines, at most 60",
        ),
        ("# filler\n" * 301, ": 301 lines, at most 300"),
        ("async " + function("f", 41), ":1: f has 41 lines, at most 40"),
        (
            "class C:\n" + "".join(f"    {row}\n" for row in function("m", 41).splitlines()),
            ":2: m has 41 lines, at most 40",
        ),
        ("@decorated\n@twice\n" + function("f", 41), ":3: f has 41 lines, at most 40"),
    ],
)
def test_what_is_too_long_is_named(tmp_path: Path, text: str, finding: str) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "module.py").write_text(text)
    code, output = run(SIZE, tmp_path)
    assert code == 1
    assert output.strip() == f"{tmp_path / 'deep' / 'module.py'}{finding}"


def test_decorators_do_not_count(tmp_path: Path) -> None:
    (tmp_path / "module.py").write_text("@decorated\n@twice\n" + function("f", 40))
    assert run(SIZE, tmp_path)[0] == 0


def test_an_empty_folder_does_not_pass(tmp_path: Path) -> None:
    code, output = run(SIZE, tmp_path)
    assert code == 1
    assert "no Python file" in output


def project(folder: Path, tree: str, modules: list[str]) -> Path:
    """A project with these modules below src/notus and this tree in its README."""
    for module in modules:
        path = folder / "src" / "notus" / module
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (folder / "README.md").write_text(f"# notus\n\n```text\nnotus/\n{tree}```\n\nMore text.\n")
    return folder


TREE = """  src/notus/
    errors.py      every error
    data/          tables
      schema.py    the tables and their rules
"""


def test_a_true_tree_passes(tmp_path: Path) -> None:
    modules = ["errors.py", "__init__.py", "data/schema.py", "data/__init__.py"]
    assert run(README, project(tmp_path, TREE, modules)) == (0, "check_readme: the tree is true\n")


def test_a_module_without_a_line_is_named(tmp_path: Path) -> None:
    # store.py is in the README's prose and as data/store.py, but has no line of its own.
    tree = TREE + "      store.py     not that one\n"
    modules = ["errors.py", "store.py", "data/schema.py", "data/store.py"]
    code, output = run(README, project(tmp_path, tree, modules))
    assert (code, output) == (1, "src/notus/store.py: has no line in the README's tree\n")


def test_a_ghost_is_named(tmp_path: Path) -> None:
    code, output = run(README, project(tmp_path, TREE, ["data/schema.py"]))
    assert (code, output) == (1, "src/notus/errors.py: in the README's tree, but not there\n")


def test_a_file_without_words_is_named(tmp_path: Path) -> None:
    tree = TREE.replace("  every error", "")
    code, output = run(README, project(tmp_path, tree, ["errors.py", "data/schema.py"]))
    assert code == 1
    assert "src/notus/errors.py: the README's tree does not say what it is for" in output


@pytest.mark.parametrize(
    ("readme", "message"),
    [
        ("# notus\n", "no fenced block"),
        ("```text\nnotus/\n   odd.py  three spaces\n```\n", "cannot read the tree's line"),
        ("```text\nnotus/\n      deep.py  in no folder\n```\n", "is in no folder"),
    ],
)
def test_a_tree_that_cannot_be_read_fails(tmp_path: Path, readme: str, message: str) -> None:
    (tmp_path / "README.md").write_text(readme)
    code, output = run(README, tmp_path)
    assert code == 1
    assert message in output

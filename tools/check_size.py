"""Hold every module and function of src/ to its size (DESIGN 3): small enough to read at once.

A module has at most 300 lines. A function has at most 40 lines of code and, with its docstring, at
most 60. Run as `python tools/check_size.py [FOLDER]`;
it prints one line a finding and exits with 1 when there is any.
"""

import ast
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

MODULE_LINES = 300
FUNCTION_LINES = 40
FUNCTION_LINES_WITH_DOCSTRING = 60


def findings(path: Path) -> Iterator[str]:
    """Yield one line for the module, and for each of its functions, that is too long."""
    text = path.read_text(encoding="utf-8")
    lines = text.splitlines()
    if len(lines) > MODULE_LINES:
        yield f"{path}: {len(lines)} lines, at most {MODULE_LINES}"
    for node in ast.walk(ast.parse(text, filename=str(path))):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        # The decorators are not counted: they stand above the line that `lineno` names.
        length = (node.end_lineno or node.lineno) - node.lineno + 1
        code = length - _docstring_lines(node)
        if code > FUNCTION_LINES:
            yield f"{path}:{node.lineno}: {node.name} has {code} lines, at most {FUNCTION_LINES}"
        elif length > FUNCTION_LINES_WITH_DOCSTRING:
            most = f"at most {FUNCTION_LINES_WITH_DOCSTRING}"
            yield f"{path}:{node.lineno}: {node.name} and its docstring have {length} lines, {most}"


def _docstring_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    if ast.get_docstring(node) is None:
        return 0
    first = node.body[0]
    return (first.end_lineno or first.lineno) - first.lineno + 1


def main(arguments: Sequence[str]) -> int:
    """Check a folder (default: src beside this file's folder) and return the exit code."""
    folder = Path(arguments[0]) if arguments else Path(__file__).resolve().parent.parent / "src"
    modules = sorted(folder.rglob("*.py"))
    if not modules:
        print(f"check_size: no Python file under {folder}", file=sys.stderr)
        return 1
    found = [line for module in modules for line in findings(module)]
    print("\n".join(found) if found else f"check_size: {len(modules)} modules fit")
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

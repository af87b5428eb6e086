"""The verb trace: an item's whole lineage as a tree of aligned lines.

Texts of the data are a stranger's: control characters never reach the terminal, and each text is
cut to one line. `--json` has everything whole.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any
from unicodedata import category

import typer

from notus.commands.options import Json, print_facts
from notus.console import Talk

EXCERPT = 72
"""Characters of a text that a line shows."""
DIGITS = 12
"""Digits of an id or digest that a line shows: enough to trace it again."""

Fact = dict[str, Any]


@dataclass
class Node:
    """One line of the tree, and what hangs on it."""

    label: str
    text: str
    children: list["Node"] = field(default_factory=list)


def trace(
    item: Annotated[str, typer.Argument(metavar="ID", help="6 or more digits of an id.")],
    directories: Annotated[
        list[Path], typer.Argument(metavar="DIR...", help="Stage directories, or a run's.")
    ],
    source: Annotated[
        Path | None, typer.Option(help="File or folder that was ingested: shows the raw rows.")
    ] = None,
    decisions: Annotated[Path | None, typer.Option(help="File of decisions.")] = None,
    json: Json = False,
) -> None:
    """Follow a preference, completion or prompt to its ratings, issues, decisions and raw row."""
    from notus.lineage import trace as run

    found = run(item, directories, source=source, decisions=decisions)
    for warning in found["warnings"]:
        Talk().say(f"warning: {warning}")
    if json:
        print_facts(found, json=True)
        return
    typer.echo("\n".join(tree_lines(tree_of(found))))


def tree_of(found: Fact) -> Node:
    """Arrange what `notus.lineage.trace` found as a tree."""
    root = Node(found["kind"], found["id"])
    root.children += [_preference(row) for row in found["preferences"]]
    for row in found["dropped"]:
        root.children.append(
            Node("dropped", f"{row['strategy']}: {plain(row['reason'])}  {row['directory']}")
        )
    for row in found["withheld"]:
        what = f"{row['kind']} {_short(row['item'])}: {plain(row['reason'])}"
        root.children.append(Node("withheld", f"{what}  {row['directory']}"))
    feedback = found["feedback"]
    root.children.append(Node("feedback", f"{_short(feedback['digest'])}  {feedback['directory']}"))
    root.children.append(_prompt(found["prompt"]))
    place = found["prompt"]["origin"]
    root.children += [_completion(row, place) for row in found["completions"]]
    return root


def tree_lines(node: Node) -> Iterator[str]:
    """Draw a tree; the texts of siblings stand under each other."""
    yield f"{node.label} {node.text}"
    yield from _branches(node.children, "")


def plain(text: str, limit: int = EXCERPT) -> str:
    """Put a text on one line that no terminal obeys: no control or format characters, and cut."""
    kept = (
        c if c.isprintable() else " " if c.isspace() or category(c) == "Cc" else "" for c in text
    )
    whole = " ".join("".join(kept).split())
    return whole if len(whole) <= limit else f"{whole[: limit - 3]}..."


def _branches(nodes: Sequence[Node], indent: str) -> Iterator[str]:
    width = max((len(node.label) for node in nodes), default=0)
    for node in nodes:
        last = node is nodes[-1]
        yield f"{indent}{'`' if last else '|'}-- {node.label:<{width}}  {node.text}".rstrip()
        yield from _branches(node.children, indent + ("    " if last else "|   "))


def _preference(row: Fact) -> Node:
    node = Node("preference", f"{_short(row['preference_id'])}  margin {row['margin']:g}")
    spec, made_from = row["specification"], row["made_from"]
    digest = "" if spec is None else f"  sha256 {_short(spec['sha256'])}"
    origin = f"{_short(made_from['digest'])}  {made_from['directory'] or '(not given)'}"
    node.children += [
        Node("strategy", plain(row["strategy"]) + digest),
        Node("made from", origin),
        Node("directory", row["directory"]),
        Node("chosen", _short(row["chosen_id"])),
        Node("rejected", _short(row["rejected_id"])),
    ]
    return _with_decisions(node, row)


def _prompt(row: Fact) -> Node:
    last = row["messages"][-1]["content"]
    node = Node("prompt", f"{_short(row['prompt_id'])}  {plain(row['source'])}  {_quoted(last)}")
    node.children += _origin(row["origin"])
    node.children += map(_issue, row["issues"])
    return _with_decisions(node, row)


def _completion(row: Fact, of_prompt: Fact | None) -> Node:
    label = row.get("side", "completion")
    text = f"{_short(row['completion_id'])}  {plain(row['model'])}  {_quoted(row['text'])}"
    node = Node(label, text)
    if row["origin"] != of_prompt:
        node.children += _origin(row["origin"])
    node.children += [Node("rating", _rating(rating)) for rating in row["ratings"]]
    for rating in row["overridden"]:
        reason = plain(rating["reason"])
        node.children.append(Node("overridden", f"{_rating(rating)}  {reason}"))
    node.children += map(_issue, row["issues"])
    return _with_decisions(node, row)


def _rating(row: Fact) -> str:
    value = "N/A" if row["value"] is None else f"{row['value']:g}"
    scale = f"{row['scale_min']:g}..{row['scale_max']:g}"
    text = f"{plain(row['aspect'])} {value} of {scale} by {plain(row['rater'])}"
    return f"{text}  {_quoted(row['rationale'])}" if row["rationale"] else text


def _issue(row: Fact) -> Node:
    other = "" if row["of_this_feedback"] else "  (audit of other Feedback)"
    text = f"{row['rule']} {row['severity']} {row['score']:.3g}  {plain(row['evidence'])}"
    return Node("issue", text + other)


def _origin(origin: Fact | None) -> list[Node]:
    if origin is None:
        return []
    place = f"{plain(origin['file'] or 'a file of a directory not given')}:{origin['line']}"
    node = Node("origin", f"{place}  sha256 {_short(origin['sha256'])}")
    raw = origin.get("raw")
    if raw is not None:
        text = _quoted(raw["text"] or "no such row") if raw["verified"] else raw["problem"]
        node.children.append(Node("raw" if raw["verified"] else "raw row not shown", text))
    return [node]


def _with_decisions(node: Node, row: Fact) -> Node:
    for made in row.get("decisions", ()):
        text = f"{made['id']}  {made['action']}{_value(made['value'])} by {plain(made['reviewer'])}"
        note = f"  {_quoted(made['note'])}" if made["note"] else ""
        undone = "  (taken back)" if made["undone"] else ""
        node.children.append(Node("decision", f"{text} {made['decided_at'][:16]}Z{note}{undone}"))
    return node


def _value(value: object) -> str:
    if isinstance(value, dict):
        number = "N/A" if value["value"] is None else f"{value['value']:g}"
        return f" {plain(value['aspect'])} {number}"
    return "" if value is None else f" {_short(str(value))}"


def _quoted(text: str) -> str:
    return f'"{plain(text)}"'


def _short(identifier: str | None) -> str:
    return "unknown" if identifier is None else identifier[:DIGITS]

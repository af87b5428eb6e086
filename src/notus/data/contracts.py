"""The contract of a table, and the check of a frame against it.

A rule is a named boolean expression that every good row satisfies. `check` never drops anything:
it returns the good rows and, for each other row, the name of the first rule that it broke.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from notus.errors import DataError, explain

RAW_LIMIT = 2000
"""Characters of a refused item that are kept: enough to recognise it, never a whole book."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Table:
    """The contract of one table."""

    name: str
    schema: pl.Schema
    key: tuple[str, ...]
    """Columns that together occur once; empty if rows may repeat."""
    rules: Mapping[str, pl.Expr]
    """Rule name -> boolean expression; null counts as broken."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Checked:
    """Rows that keep every rule, and the others in the columns of `REFUSED`."""

    good: pl.DataFrame
    refused: pl.DataFrame


def check(table: Table, frame: pl.DataFrame) -> Checked:
    """Separate the rows that keep every rule of a table from those that break one.

    Among rows that keep the rules, the first of those with equal key is good and the others are
    refused as "duplicate".

    Args:
        table: the contract.
        frame: rows with exactly the table's columns, in any column order.

    Returns:
        Good rows in the table's column order; refused rows as (place "table:row", reason, raw),
        rows counted from 1.

    Raises:
        DataError: a column is missing, unknown or of another type: then nothing can be checked.
    """
    require_columns(table, frame)
    broken = [
        pl.when(~rule.fill_null(False)).then(pl.lit(name)) for name, rule in table.rules.items()
    ]
    marked = frame.select(table.schema.names()).with_row_index("#row", offset=1)
    marked = marked.with_columns(pl.coalesce([*broken, pl.lit(None, pl.String)]).alias("#reason"))
    good = marked.filter(pl.col("#reason").is_null())
    bad = marked.filter(pl.col("#reason").is_not_null())
    if table.key:
        first = pl.struct(table.key).is_first_distinct()
        again = good.filter(~first).with_columns(pl.lit("duplicate").alias("#reason"))
        good, bad = good.filter(first), pl.concat([bad, again]).sort("#row")
    return Checked(good=good.drop("#row", "#reason"), refused=_refused_rows(table, bad))


def require_columns(table: Table, frame: pl.DataFrame) -> None:
    """Raise DataError unless a frame has exactly the columns of a table, in any order."""
    found, expected = dict(frame.schema), dict(table.schema)
    wrong = [
        f"{name}: {found.get(name, 'missing')} (expected {expected.get(name, 'no such column')})"
        for name in sorted(found.keys() | expected.keys())
        if found.get(name) != expected.get(name)
    ]
    if wrong:
        raise DataError(
            explain(
                found="columns that do not fit: " + "; ".join(wrong),
                expected=", ".join(f"{name} {dtype}" for name, dtype in expected.items()),
                where=f"table {table.name}",
                remedy="select and cast the columns of the table before it is checked or written",
            )
        )


def raw_text(item: object) -> str:
    """Render a refused item as text of at most `RAW_LIMIT` characters that any file can hold."""
    text = item if isinstance(item, str) else json.dumps(item, ensure_ascii=False, default=str)
    return text[:RAW_LIMIT].encode("utf-8", errors="backslashreplace").decode("utf-8")


def strings(*names: str) -> dict[str, pl.DataType]:
    """Text columns of a schema."""
    return dict.fromkeys(names, pl.String())


def has_text(expression: pl.Expr) -> pl.Expr:
    """Whether a text is more than white space."""
    return expression.str.strip_chars().str.len_bytes() > 0


def _refused_rows(table: Table, bad: pl.DataFrame) -> pl.DataFrame:
    rows = bad.drop("#row", "#reason").to_dicts()
    return pl.DataFrame(
        {
            "place": [f"{table.name}:{row}" for row in bad["#row"]],
            "reason": bad["#reason"],
            "raw": [raw_text(row) for row in rows],
        },
        schema=REFUSED.schema,
    )


REFUSED = Table(
    name="refused",
    schema=pl.Schema(strings("place", "reason", "raw")),
    key=(),
    rules={
        "no place": has_text(pl.col("place")),
        "no reason": has_text(pl.col("reason")),
        "no raw": pl.col("raw").is_not_null(),
    },
)

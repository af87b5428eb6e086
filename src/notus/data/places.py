"""Rows of a table by their place in it, without reading all of it."""

import polars as pl

BLOCK_ROWS = 10_000
"""Rows that are read together: about 15 MB of answers."""


def rows_at(table: pl.LazyFrame, places: pl.Series) -> pl.DataFrame:
    """Read single rows of a table.

    The table is read in blocks of `BLOCK_ROWS`, each once and only where a row of it is wanted;
    Polars skips the row groups of a Parquet file that no block needs.

    Args:
        table: A scan; its rows must not change their order from one reading to the next.
        places: Row numbers from 0, in any order and as often as you like; at least one.

    Returns:
        Each of the rows once, sorted by place, with the place as column "#row".
    """
    wanted = pl.DataFrame({"#row": places.cast(pl.UInt32).unique()})
    parts = []
    for block in (wanted["#row"] // BLOCK_ROWS).unique().sort():
        start = block * BLOCK_ROWS
        rows = table.slice(start, BLOCK_ROWS).with_row_index("#row", offset=start)
        parts.append(rows.collect().join(wanted, on="#row", how="semi"))
    return pl.concat(parts).sort("#row")

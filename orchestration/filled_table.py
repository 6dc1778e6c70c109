"""A table with its gaps filled, in its own columns and types, and a table of the gaps."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from orchestration.readers.table_cells import with_room_for_nulls, with_types
from orchestration.readers.time_table import TimeTable, as_in
from orchestration.table_files import with_column

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


def times_of(table: TimeTable) -> pd.Index:
    """Of each row of the grid its time as the table has it, or would; its number without one."""
    if table.times is None:
        return table.values.index
    places = np.arange(len(table.values))
    times = table.times.set_axis(table.rows).reindex(places)
    missing = ~np.isin(places, table.rows)
    times.loc[missing] = as_in(times, table.values.index[missing])
    return pd.Index(times)


def filled_table(
    table: TimeTable,
    time_column: str | None,
    times: pd.Index,
    variables: Sequence[str],
    wanted: np.ndarray,
    quantiles: np.ndarray,
) -> pa.Table:
    """The table on its grid of times, in its own columns; rows that are new have empty cells.

    Args:
        table: as read; K variables at N times of its grid.
        time_column: name of its column of times, if it has one.
        times: of `times_of`.
        variables: names of the K.
        wanted: bool (N, K), the gaps that are filled.
        quantiles: float64 (len(QUANTILES), N, K), of their samples.
    """
    from_rows = np.full(len(wanted), -1)
    from_rows[table.rows] = np.arange(len(table.rows))
    is_new = from_rows < 0
    raw = with_types(table.raw, with_room_for_nulls) if is_new.any() else table.raw
    filled = raw.take(pa.array(from_rows, mask=is_new))
    if time_column is not None:
        place = table.places[time_column]
        field = filled.schema.field(place)
        filled = filled.set_column(place, field, pa.Array.from_pandas(times, type=field.type))
    middle = quantiles[QUANTILES.index(0.5)]
    for k, variable in enumerate(variables):
        if wanted[:, k].any():
            place = table.places[variable]
            was, values = filled.column(place), table.values[variable].to_numpy()
            column = _filled_column(was, values, wanted[:, k], middle[:, k])
            filled = with_column(filled, place, column)
    return filled


def _filled_column(
    was: pa.ChunkedArray, values: np.ndarray, wanted: np.ndarray, medians: np.ndarray
) -> pa.ChunkedArray | pa.Array:
    """A variable with medians where they are wanted; text stays text, all else is float64."""
    if not (pa.types.is_string(was.type) or pa.types.is_large_string(was.type)):
        return pa.array(np.where(wanted, medians, values))
    texts = pa.array([repr(median) for median in medians.tolist()], was.type)
    return pc.if_else(pa.array(wanted), texts, was)


def gap_rows(
    times: pd.Index, variables: Sequence[str], wanted: np.ndarray, quantiles: np.ndarray
) -> pd.DataFrame:
    """A row for each gap: its time, the variable, and a column a quantile."""
    rows, columns = np.nonzero(wanted)
    return pd.DataFrame(
        {
            "time": times[rows],
            "variable": np.array(variables)[columns],
            **{
                f"q{round(100 * q):02d}": quantiles[i, rows, columns]
                for i, q in enumerate(QUANTILES)
            },
        }
    )

"""Tables for a user to take away: CSV or parquet, whole or not there."""

import json
from io import BytesIO
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from orchestration.files import write_bytes

PANDAS = b"pandas"  # key of a schema's metadata


def write_table(path: Path, table: pd.DataFrame | pa.Table) -> None:
    """Writes a table, a frame without its index, as what the end of the path says.

    Raises:
        MachineError: the disk is full or not writable.
    """
    if path.suffix == ".csv":
        frame = table.to_pandas() if isinstance(table, pa.Table) else table
        write_bytes(path, frame.to_csv(index=False).encode())
        return
    content = BytesIO()
    if isinstance(table, pd.DataFrame):
        table = pa.Table.from_pandas(table, preserve_index=False)
    pq.write_table(table, content, write_page_checksum=True)
    write_bytes(path, content.getvalue())


def with_column(table: pa.Table, place: int, values: pa.Array | pa.ChunkedArray) -> pa.Table:
    """A table with other values in one of its columns, whatever type these have.

    What the schema tells pandas of the column's type goes, since pandas would convert to it.
    """
    name = table.schema.field(place).name
    table = table.set_column(place, name, values)
    metadata = table.schema.metadata or {}
    if PANDAS not in metadata:
        return table
    facts = json.loads(metadata[PANDAS])
    facts["columns"] = [of_one for of_one in facts["columns"] if of_one["field_name"] != name]
    return table.replace_schema_metadata({**metadata, PANDAS: json.dumps(facts)})

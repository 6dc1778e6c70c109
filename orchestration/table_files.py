"""Tables for a user to take away: CSV or parquet, whole or not there."""

from io import BytesIO
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from orchestration.files import write_bytes


def write_table(path: Path, table: pd.DataFrame) -> None:
    """Writes a table, without its index, as what the end of the path says.

    Raises:
        MachineError: the disk is full or not writable.
    """
    if path.suffix == ".csv":
        write_bytes(path, table.to_csv(index=False).encode())
        return
    content = BytesIO()
    arrow = pa.Table.from_pandas(table, preserve_index=False)
    pq.write_table(arrow, content, write_page_checksum=True)
    write_bytes(path, content.getvalue())

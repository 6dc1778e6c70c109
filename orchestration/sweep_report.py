"""What a sweep leaves beside its searches: a summary, a table, a picture and a page.

All derived from the fronts and made anew by every command.
"""

from collections.abc import Mapping, Sequence

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from orchestration.files import disk_errors, write_bytes, write_json
from orchestration.members import Front
from orchestration.sweep_directory import SweepDirectory
from orchestration.sweep_failures import Failures
from orchestration.sweep_page import sweep_html
from orchestration.sweep_plan import PlannedSearch
from orchestration.sweep_plot import sweep_png
from orchestration.sweep_summary import Summary, Swept, summarize_sweep


def write_sweep_report(
    directory: SweepDirectory,
    searches: Sequence[PlannedSearch],
    fronts: Mapping[str, Front],
    failures: Failures,
) -> Summary:
    """Writes all of it; the content of `summary.json`.

    Raises:
        MachineError: the disk is full or not writable.
    """
    swept = [
        Swept(s.name, s.dataset, s.optimizer, s.seed, fronts.get(s.name), failures.line(s.name))
        for s in searches
    ]
    summary = summarize_sweep(swept)
    write_json(directory.summary, summary)
    table = pa.Table.from_pandas(pd.DataFrame(summary["searches"]), preserve_index=False)
    temporary = directory.table.with_suffix(".tmp")
    with disk_errors(directory.table):
        pq.write_table(table, temporary, write_page_checksum=True)
        temporary.replace(directory.table)
    write_bytes(directory.picture, sweep_png(swept))
    write_bytes(directory.page, sweep_html(directory.path.name, swept, summary).encode())
    return summary

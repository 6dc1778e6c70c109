"""Fill the gaps of a table of time series with a trained supernet and a schedule.

The table is a CSV or a parquet file, a row a time, whose columns have the names of the variables
that the supernet was trained on. Empty cells of these are gaps; one that is neither empty nor a
finite number is refused. Variables that the table lacks are named. Writes <out>/<table's name>
with medians in the gaps and every other cell as it was (rows that were missing have no others, but
for the time), a stored index too, <out>/quantiles.parquet (a row a gap: its time as in the table,
the variable, .05, .25, .5, .75 and .95 quantiles) and <out>/imputed.png, the window with the most
gaps.
"""

import argparse
import sys
from pathlib import Path

from jobs import cli, schedule_arguments
from orchestration.errors import ConfigError

QUANTILES, PICTURE = "quantiles.parquet", "imputed.png"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's own arguments."""
    schedule_arguments.add_arguments(parser)
    parser.add_argument("--table", type=Path, required=True, metavar="FILE", help="to fill")
    parser.add_argument(
        "--time", metavar="COLUMN", help="its column of times (default: rows are evenly spaced)"
    )
    parser.add_argument(
        "--num-samples", type=int, default=100, metavar="N", help="a window (default: 100)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the noise (default: 0)")


def main(invocation: cli.Invocation) -> None:
    """Runs the command."""
    arguments = invocation.arguments
    cli.check_within("--num-samples", arguments.num_samples, 1)
    cli.check_within("--seed", arguments.seed, 0, 2**32 - 1)
    file = arguments.table.expanduser().resolve()
    path = invocation.out / file.name
    if path == file:
        raise ConfigError(f"--out: got {invocation.out}, where the table is; expected another one")
    if file.name in (QUANTILES, PICTURE):  # the filled table would be written over
        raise ConfigError(
            f"--table: got {file}, expected another name than that of what is written beside it,"
            f" {QUANTILES} and {PICTURE}"
        )
    schedule = schedule_arguments.read_schedule(arguments.schedule)
    supernet = schedule_arguments.supernet_of(arguments)
    from orchestration.readers.time_table import read_table  # heavy, as the others

    table = read_table(file, arguments.time)
    from orchestration.imputing import check_columns, check_step, fill, read_imputer

    imputer = read_imputer(supernet, schedule)
    check_step(imputer, table)
    known, others, lacking = check_columns(imputer, table)
    num_gaps = int(table.values[known].isna().to_numpy().sum())
    print(f"{num_gaps:,} gaps in {len(known)} variables at {len(table.values):,} times -> {path}")
    if others:
        print(f"left as they are: {', '.join(others)}")
    if lacking:
        print(f"variables that the table lacks, unknown throughout: {', '.join(lacking)}")
    if invocation.dry_run:
        return
    from orchestration.machine import local_device
    from orchestration.table_files import write_table

    device = local_device(invocation.config.score.device)
    filled = fill(
        imputer, schedule, table, arguments.time, arguments.num_samples, arguments.seed, print,
        device,
    )  # fmt: skip
    write_table(path, filled.table)
    write_table(invocation.out / QUANTILES, filled.gaps)
    if filled.picture is not None:
        from orchestration.files import write_bytes

        write_bytes(invocation.out / PICTURE, filled.picture)
    print(f"written to {invocation.out}")


if __name__ == "__main__":
    sys.exit(
        cli.run("impute", main, __doc__, add_arguments, default=schedule_arguments.default_config)
    )

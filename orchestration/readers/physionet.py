"""PhysioNet 2012 (Computing in Cardiology Challenge), set-a: 48 hours of 4,000 patients.

A folder of files `<record>.txt`, each with the head `Time,Parameter,Value` and rows such as
`07:30,HR,88`: hours and minutes since the admission. As CSDI has it (Tashiro et al., NeurIPS
2021): 35 variables at 48 hours, the last value in each hour. Seven tenths of the records train,
one tenth validates, two tenths are the test, drawn once for all.
"""

from pathlib import Path

import numpy as np

from orchestration.errors import DataError
from orchestration.formats import stamp_of
from orchestration.window_formats import HOUR_S, Part, WindowSource

VARIABLES = (
    "DiasABP", "HR", "Na", "Lactate", "NIDiasABP", "PaO2", "WBC", "pH", "Albumin", "ALT",
    "Glucose", "SaO2", "Temp", "AST", "Bilirubin", "HCO3", "BUN", "RespRate", "Mg", "HCT",
    "SysABP", "FiO2", "K", "GCS", "Cholesterol", "NISysABP", "TroponinT", "MAP", "TroponinI",
    "PaCO2", "Platelets", "Urine", "NIMAP", "Creatinine", "ALP",
)  # fmt: skip
HOURS = 48
HEAD = "Time,Parameter,Value"
FEWEST = 10  # records, so that each part has some


def physionet(path: Path) -> WindowSource:
    """The records in the folder `path`; DataError where there are too few."""
    folder = path.expanduser()
    names = sorted(file.name for file in folder.glob("*.txt"))
    if len(names) < FEWEST:
        raise DataError(
            f"{folder}: got {len(names)} files *.txt, expected PhysioNet 2012's set-a, at least"
            f" {FEWEST} records"
        )
    return WindowSource(
        stamp=stamp_of(folder, names),
        variables=VARIABLES,
        length=HOURS,
        read=lambda: _split([folder / name for name in names]),
        step_s=HOUR_S,
    )


def read_record(file: Path) -> np.ndarray:
    """One patient: float32 (35, 48), NaN where nothing was measured.

    Raises:
        DataError: the file is none of these; it says which line.
    """
    try:
        lines = file.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read {file}: {error}; expected a record of set-a") from error
    if not lines or lines[0].strip() != HEAD:
        raise DataError(f"{file}: got line 1 {lines[:1]}, expected {HEAD}")
    rows = {name: row for row, name in enumerate(VARIABLES)}
    found = np.full((len(VARIABLES), HOURS), np.nan, np.float32)
    for number, line in enumerate(lines[1:], 2):
        try:
            time, name, value = line.split(",")
            hour, minute = map(int, time.split(":"))
            if name in rows and 60 * hour + minute < 60 * HOURS:
                found[rows[name], hour] = _number(value)
        except ValueError:
            raise DataError(
                f"{file}, line {number}: got {line!r}, expected HH:MM,Parameter,Value"
            ) from None
    return found


def _number(text: str) -> float:
    """ValueError where it is none, or infinite as float32: it would be normalised by."""
    value = float(text)
    if abs(value) > float(np.finfo(np.float32).max):
        raise ValueError(text)
    return value


def _split(files: list[Path]) -> dict[str, Part]:
    order = np.random.default_rng(0).permutation(len(files))
    num_test, num_validation = len(files) // 5, len(files) // 10
    cuts = np.split(order, [num_test, num_test + num_validation])
    parts = {}
    for name, chosen in zip(("test", "validation", "train"), cuts, strict=True):
        records = [files[i] for i in sorted(chosen)]
        values = np.stack([read_record(file) for file in records])
        parts[name] = Part(values, tuple(file.stem for file in records))
    return parts

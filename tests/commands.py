"""Runs the program's commands as a user does: `python -m jobs.<name>`, in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
CONFIGS = ROOT / "jobs" / "configs"
STUB = ("--config", CONFIGS / "golden-stub.yaml")
NOWHERE = "127.0.0.1:1"  # who asks for Ray there gets none

# Where there is a cluster already, a command would use it. These start their own.
ENVIRONMENT = {
    **{name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"},
    "PYTHONPATH": str(ROOT),
    "OMP_NUM_THREADS": "1",
}
TIMEOUT_S = 900


def arguments(name: str, *argv: object) -> list[str]:
    """The command line."""
    return [sys.executable, "-m", f"jobs.{name}", *map(str, argv)]


def run(name: str, *argv: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs a command to its end."""
    return subprocess.run(
        arguments(name, *argv),
        cwd=ROOT,
        env={**ENVIRONMENT, **environment},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )


def run_until(line: str, number: int, name: str, *argv: object) -> tuple[int, str]:
    """Runs a command, and sends it a signal once it has said a line that begins so.

    Returns:
        Its exit code, and what it wrote on stderr.
    """
    process = subprocess.Popen(
        arguments(name, *argv),
        cwd=ROOT,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        said = []
        for text in process.stdout:
            said.append(text)
            if text.startswith(line):
                break
        else:
            raise AssertionError(f"never said {line!r}, but {said} and {process.stderr.read()}")
        process.send_signal(number)
        _, errors = process.communicate(timeout=TIMEOUT_S)
    finally:
        process.kill()
    return process.returncode, errors


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, by its path from there; of a lock, only that it is there."""
    return {
        str(path.relative_to(folder)): b"" if path.name == ".lock" else path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def assert_one_line(
    name: str, found: subprocess.CompletedProcess[str], code: int, expected: str
) -> None:
    """Whether a failed command said one line, the expected one."""
    assert (found.returncode, found.stderr.count("\n")) == (code, 1), found.stderr
    assert found.stderr.startswith(f"{name}: error: ") and expected in found.stderr
    assert "Traceback" not in found.stdout + found.stderr

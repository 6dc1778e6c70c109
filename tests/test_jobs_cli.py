import errno
import io
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from jobs import cli
from orchestration.errors import ConfigError, DataError, MachineError

ROOT = Path(__file__).parent.parent


def call(main, *argv, add_arguments=None):
    return cli.run("try", main, "Tries.", add_arguments, argv=argv)


def raises(error):
    def main(invocation):
        raise error

    return main


def test_main_gets_the_configuration_and_the_arguments(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("mine.yaml").write_text("train: {seed: 3}\nsearch: {seed: 4}")
    seen = []
    argv = ["--config", "mine.yaml", "--set", "search.seed=5", "--set", "data.name=digits"]
    argv += ["--out", "here", "--dry-run", "--supernet", "there"]
    add = lambda parser: parser.add_argument("--supernet", type=Path)  # noqa: E731
    assert call(seen.append, *argv, add_arguments=add) == 0
    (invocation,) = seen
    assert (invocation.config.train.seed, invocation.config.search.seed) == (3, 5)
    assert invocation.out == tmp_path / "here"
    assert invocation.dry_run and not invocation.debug
    assert invocation.arguments.supernet == Path("there")


def test_without_arguments_the_run_is_named_after_the_command(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    seen = []
    assert call(seen.append) == 0
    assert seen[0].out == tmp_path / "runs" / "try"
    assert not seen[0].dry_run
    assert seen[0].config == cli.load(cli.DEFAULT)
    assert list(tmp_path.iterdir()) == []


class FakeRayTaskError(DataError):
    """What `ray.get` raises: of the cause's kind, with a traceback of many lines for a text."""

    def __init__(self, cause):
        super().__init__("Traceback (most recent call last):\n  File ...")
        self.cause = cause


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (ConfigError("search.budget: got 0"), 2, "try: error: search.budget: got 0"),
        (DataError("a.parquet\n is\tdamaged"), 3, "try: error: a.parquet is damaged"),
        (MachineError("held by pid 7"), 4, "try: error: held by pid 7"),
        (FakeRayTaskError(DataError("a is damaged")), 3, "try: error: a is damaged"),
        (OSError(errno.ENOSPC, "No space left on device", "/x"), 4, "try: error: /x: No space"),
        (KeyboardInterrupt(), 130, "try: interrupted; the same command resumes"),
        (SystemExit(signal.SIGTERM), 143, "try: interrupted; the same command resumes"),
        (SystemExit(0), 130, "try: interrupted; the same command resumes"),
    ],
)
def test_each_error_has_its_exit_code_and_one_line(tmp_path, capsys, error, code, line):
    assert call(raises(error), "--out", str(tmp_path)) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(line) and err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []  # nothing but our own faults leaves a file


def test_a_working_directory_that_is_gone_is_told_with_its_usual_cause(
    tmp_path, monkeypatch, capsys
):
    # Ray's agents of several nodes with one --temp-dir replace it under a running command
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)

    def main(invocation):
        gone.rmdir()
        os.path.abspath("anything")

    assert call(main, "--out", str(tmp_path / "run")) == 4
    err = capsys.readouterr().err
    assert err.startswith("try: error: working directory: gone") and "--temp-dir" in err
    assert not (tmp_path / "run").exists()


def test_another_missing_file_is_our_own_fault(tmp_path, capsys):
    missing = FileNotFoundError(errno.ENOENT, "No such file", "odd")
    assert call(raises(missing), "--out", str(tmp_path)) == 1
    assert "internal error: FileNotFoundError" in capsys.readouterr().err


def test_our_own_fault_leaves_its_traceback_in_a_file(tmp_path, capsys):
    out = tmp_path / "run"
    assert call(raises(ValueError("first\nsecond")), "--out", str(out)) == 1
    err = capsys.readouterr().err
    log = out / "error.log"
    assert err == f"try: internal error: ValueError: first second (traceback in {log})\n"
    assert "in main" in log.read_text() and log.read_text().endswith("first\nsecond\n")


def test_once_the_command_ends_well_the_traceback_is_gone(tmp_path, capsys):
    out = tmp_path / "run"
    assert call(raises(ValueError("odd")), "--out", str(out)) == 1
    assert call(raises(DataError("bad")), "--out", str(out)) == 3
    assert call(lambda invocation: None, "--out", str(out), "--dry-run") == 0
    assert (out / "error.log").exists()
    assert call(lambda invocation: None, "--out", str(out)) == 0
    assert not (out / "error.log").exists()


def test_a_dry_run_writes_not_even_that(tmp_path, capsys):
    out = tmp_path / "run"
    assert call(raises(ValueError("odd")), "--out", str(out), "--dry-run") == 1
    assert capsys.readouterr().err == "try: internal error: ValueError: odd\n"
    assert not out.exists()


def test_where_the_traceback_cannot_be_kept_the_error_is_still_told(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert call(raises(ValueError("odd")), "--out", str(tmp_path / "file" / "run")) == 1
    err = capsys.readouterr().err
    assert "ValueError: odd (traceback not kept: cannot write " in err and err.count("\n") == 1


def test_debug_shows_the_traceback_and_logs_more(tmp_path, capsys):
    seen = []

    def main(invocation):
        seen.append(logging.getLogger("orchestration.search").isEnabledFor(logging.DEBUG))
        raise DataError("a is damaged")

    try:
        assert call(main, "--debug", "--out", str(tmp_path)) == 3
        assert call(main, "--out", str(tmp_path)) == 3
    finally:
        logging.getLogger("orchestration").setLevel(logging.NOTSET)
    err = capsys.readouterr().err
    assert err.count("Traceback (most recent call last)") == 1 and "in main" in err
    assert seen[0]


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        (["--budget", "5"], "unrecognized arguments: --budget 5"),
        (["--dry"], "unrecognized arguments: --dry"),
        (["--set"], "argument --set: expected one argument"),
        (["--set", "search.budgett=5"], "search.budgett: unknown key; did you mean 'search.budg"),
        (["--set", "search.budget"], "--set search.budget: expected KEY=VALUE"),
        (["--config", "/none.yaml"], "cannot read /none.yaml: No such file or directory"),
        (["--out", "/tmp/ray/session_1/runtime_resources/x/run"], "--out: got /tmp"),
    ],
)
def test_a_bad_command_line_is_one_line_and_exit_code_2(capsys, argv, line):
    assert call(raises(AssertionError("main was called")), *argv) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"try: error: {line}") and err.count("\n") == 1


def test_help_shows_the_command_and_the_common_arguments(capsys):
    add = lambda parser: parser.add_argument("--supernet", help="a trained one")  # noqa: E731
    with pytest.raises(SystemExit) as caught:
        call(raises(AssertionError), "--help", add_arguments=add)
    assert caught.value.code == 0
    text = capsys.readouterr().out
    options = ("--config", "--set", "--out", "--dry-run", "--debug", "--supernet", "runs/try")
    assert all(option in text for option in options) and "Tries." in text


WAIT = """
import sys, time
from jobs import cli
from orchestration import signals

def main(invocation):
    try:
        if "{how}" == "ray":
            import ray
            ray.init("local", num_cpus=1, include_dashboard=False, log_to_driver=False)
            signals.install()

            @ray.remote
            def wait():
                time.sleep(600)

            handle = wait.remote()
            print("ready", flush=True)
            ray.get(handle)
        print("ready", flush=True)
        time.sleep(600)
    except KeyboardInterrupt:
        if "{how}" != "swallow":
            raise
    finally:
        print("closed", flush=True)

sys.exit(cli.run("try", main, None, argv=["--out", sys.argv[1]]))
"""


@pytest.mark.parametrize(
    ("how", "number", "code"),
    [
        ("plain", signal.SIGINT, 130),
        ("plain", signal.SIGTERM, 143),
        ("swallow", signal.SIGTERM, 143),
        ("ray", signal.SIGTERM, 143),
    ],
)
def test_a_signal_is_a_clean_stop(tmp_path, how, number, code):
    process = subprocess.Popen(
        [sys.executable, "-c", WAIT.format(how=how), str(tmp_path / "run")],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "RAY_DEDUP_LOGS": "0"},
    )
    try:
        assert process.stdout.readline() == "ready\n"
        if how == "ray":
            time.sleep(0.5)  # until the main thread waits inside ray.get
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert (process.returncode, out) == (code, "closed\n")
    assert err.splitlines()[-1] == "try: interrupted; the same command resumes"
    assert "Traceback" not in err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_names_of_files_that_are_no_text_are_told_with_escapes(tmp_path, monkeypatch, encoding):
    name = os.fsdecode(b"caf\xe9.png")  # of Latin-1
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding) for _ in range(2))
    err.reconfigure(errors="backslashreplace")  # as Python opens it
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)

    def main(invocation):
        print(f"{name} is left out: 3 \xb1 1")
        raise ValueError(name)

    assert call(main, "--out", str(tmp_path)) == 1
    sign = "\xb1" if encoding == "utf-8" else "\\xb1"
    out.flush()
    assert out.buffer.getvalue().decode(encoding) == f"caf\\udce9.png is left out: 3 {sign} 1\n"
    err.flush()
    assert b"ValueError: caf\\udce9.png (traceback in " in err.buffer.getvalue()
    assert (tmp_path / "error.log").read_text().endswith("ValueError: caf\\udce9.png\n")


def test_a_reader_that_has_gone_is_no_fault_of_ours(tmp_path):
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "jobs.search", "--dry-run", "--out", tmp_path / "run"]
    with os.fdopen(write, "wb") as stdout:
        found = subprocess.run(
            command, cwd=ROOT, stdout=stdout, stderr=subprocess.PIPE, text=True
        )
    assert found.returncode == 128 + signal.SIGPIPE
    expected = "search: nobody reads the output any more; the same command resumes\n"
    assert found.stderr == expected and not (tmp_path / "run").exists()

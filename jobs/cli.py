"""What all commands have in common: arguments, exit codes, one line for each error.

A command is a file `jobs/<name>.py` that ends with

    if __name__ == "__main__":
        sys.exit(cli.run("name", main, __doc__, add_arguments))

and whose `main(invocation)` raises what goes wrong. It imports heavy modules inside `main`, so
that a mistake in the configuration is answered at once.

Exit codes: 0 done; 1 our own fault (traceback in `<out>/error.log`); 2 bad config or arguments; 3
bad data or artifact; 4 environment (disk, lock, cluster); 130 and 143 interrupted by SIGINT and
SIGTERM, 141 by a pipe whose reader has gone. stderr gets one line, and a traceback only with
`--debug`.
"""

import argparse
import errno
import logging
import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import TextIOWrapper
from pathlib import Path
from typing import NoReturn

from orchestration import fault_log, signals
from orchestration.config import Config, load
from orchestration.errors import ConfigError, MachineError, StepwiseError

Load = Callable[[Path | None, Sequence[str], Path | None], Config]

CONFIGS = Path(__file__).parent / "configs"
DEFAULT = CONFIGS / "digits.yaml"


@dataclass(frozen=True)
class Invocation:
    """One call of a command.

    Args:
        config: the effective configuration.
        out: the run directory, absolute (Ray's workers change directory).
        dry_run: print the plan, write nothing, start no Ray.
        debug: tell more.
        arguments: the command's own arguments.
    """

    config: Config
    out: Path
    dry_run: bool
    debug: bool
    arguments: argparse.Namespace


def run(
    name: str,
    main: Callable[[Invocation], None],
    description: str | None,
    add_arguments: Callable[[argparse.ArgumentParser], None] | None = None,
    *,
    default: Path | Callable[[argparse.Namespace], Path] = DEFAULT,
    load: Load = load,
    argv: Sequence[str] | None = None,
) -> int:
    """Runs a command and returns its exit code; nothing but `--help` leaves it by an exception.

    Args:
        name: of the command; its run directory is `runs/<name>` unless `--out` says otherwise.
        main: does the work; raises StepwiseError for what the user can mend.
        description: the command's docstring, shown by `--help`.
        add_arguments: adds the command's own arguments.
        default: the configuration under the user's `--config` and `--set`, or how to find it
            from the arguments.
        load: reads the configuration: a command may have sections of its own.
        argv: the command line without the program's name; `sys.argv[1:]` by default.
    """
    signals.install()
    if isinstance(sys.stdout, TextIOWrapper):
        # Progress is seen at once through a pipe too. A file's name may be no text, an encoding
        # may lack a letter: then escapes are told, which stderr does by itself
        sys.stdout.reconfigure(line_buffering=True, errors="backslashreplace")
    try:
        arguments = _parser(name, description, add_arguments, default).parse_args(argv)
    except ConfigError as error:
        return _say(name, error.exit_code, f"error: {error}")
    try:
        invocation = _prepare(arguments, default, load)
        main(invocation)
        if not invocation.dry_run:
            fault_log.forget(invocation.out)
    except (Exception, KeyboardInterrupt, SystemExit) as error:
        return _fail(name, error, arguments)
    if signals.received() is not None:  # and somebody on the way has swallowed the exception
        return _fail(name, KeyboardInterrupt(), arguments)
    return 0


def check_within(option: str, value: int, least: int, most: int | None = None) -> None:
    """Raises ConfigError where a number of the command line is too small or too large."""
    if value < least:
        raise ConfigError(f"{option}: got {value}, expected at least {least}")
    if most is not None and value > most:
        raise ConfigError(f"{option}: got {value}, expected at most {most}")


def _prepare(
    arguments: argparse.Namespace,
    default: Path | Callable[[argparse.Namespace], Path],
    load: Load,
) -> Invocation:
    logging.basicConfig(level=logging.WARNING)
    if arguments.debug:
        logging.getLogger("orchestration").setLevel(logging.DEBUG)
    base = default(arguments) if callable(default) else default
    config = load(arguments.config, arguments.overrides, base)
    out = arguments.out.expanduser().resolve()
    if "runtime_resources" in out.parts:
        raise ConfigError(
            f"--out: got {arguments.out}, which is in Ray's own copy of the working directory and"
            " goes with it; expected an absolute path"
        )
    return Invocation(config, out, arguments.dry_run, arguments.debug, arguments)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{message} (see --help)")


def _parser(
    name: str,
    description: str | None,
    add_arguments: Callable[[argparse.ArgumentParser], None] | None,
    default: Path | Callable[[argparse.Namespace], Path],
) -> argparse.ArgumentParser:
    base = default.name if isinstance(default, Path) else "the schedule's run"
    parser = _Parser(
        prog=f"python -m jobs.{name}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    if add_arguments is not None:
        add_arguments(parser)
    common = parser.add_argument_group("common to all commands")
    common.add_argument(
        "--config", type=Path, metavar="FILE", help=f"YAML over the values of {base}"
    )
    common.add_argument(
        "--set", dest="overrides", action="append", default=[], metavar="KEY=VALUE",
        help="one value over those of the file, such as search.budget=300; repeatable",
    )  # fmt: skip
    common.add_argument(
        "--out", type=Path, default=Path("runs") / name, metavar="DIR",
        help="run directory (default: %(default)s); the same command with the same one resumes",
    )  # fmt: skip
    common.add_argument(
        "--dry-run", action="store_true", help="check everything, print the plan, do nothing"
    )
    common.add_argument("--debug", action="store_true", help="log more, show tracebacks")
    return parser


def _fail(name: str, error: BaseException, arguments: argparse.Namespace) -> int:
    """Says in one line what went wrong; returns the exit code."""
    if arguments.debug:
        traceback.print_exception(error)
    code, line = _judge(error)
    if code == 1 and not arguments.dry_run:
        line += _keep_traceback(error, arguments.out.expanduser())
    return _say(name, code, line)


def _say(name: str, code: int, line: str) -> int:
    print(f"{name}: {' '.join(line.split())}", file=sys.stderr)
    return code


def _judge(error: BaseException) -> tuple[int, str]:
    """The exit code of an error, and its one line."""
    if isinstance(error, KeyboardInterrupt | SystemExit):
        # Ray's own SIGTERM handler exits with the signal's number
        by_ray = isinstance(error, SystemExit) and error.code == signal.SIGTERM
        number = signals.received() or (signal.SIGTERM if by_ray else signal.SIGINT)
        return 128 + number, "interrupted; the same command resumes"
    if isinstance(error, BrokenPipeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is still buffered
        return 128 + signal.SIGPIPE, "nobody reads the output any more; the same command resumes"
    known = _known(error)
    if known is not None:
        return known.exit_code, f"error: {known}"
    return 1, f"internal error: {type(error).__name__}: {error}"


def _known(error: BaseException) -> StepwiseError | None:
    """The error with a known cause in `error`: itself, a Ray task's, no space, no place to be."""
    cause = getattr(error, "cause", None)  # of a RayTaskError, whose text is a whole traceback
    if isinstance(cause, BaseException):
        return _known(cause)
    if isinstance(error, StepwiseError):
        return error
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return MachineError(f"{error.filename or 'disk'}: {error.strerror}; expected free space")
    if isinstance(error, FileNotFoundError) and _has_no_working_directory():
        return MachineError(
            "working directory: gone, or replaced by another; expected it to stay (Ray nodes that"
            " share a machine each need a --temp-dir of their own: docs/cluster.md). The same"
            " command, from a directory that exists, resumes"
        )
    return None


def _has_no_working_directory() -> bool:
    try:
        os.getcwd()
    except FileNotFoundError:
        return True
    return False


def _keep_traceback(error: BaseException, folder: Path) -> str:
    try:
        return f" (traceback in {fault_log.keep(error, folder)})"
    except MachineError as unwritten:
        return f" (traceback not kept: {unwritten})"

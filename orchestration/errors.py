"""The errors that a user can mend, and the exit code each of them ends a command with.

Every message says three things in one line: what is wrong, where, and what is expected. Anything
else that is raised is our own fault and ends with code 1 and a traceback in `<out>/error.log`.

The only constructor argument is the message, so that an error survives pickling and arrives whole
when it crosses from a Ray worker to the driver.
"""


class StepwiseError(Exception):
    """An error with a known cause; `exit_code` is what the command returns to the shell."""

    exit_code = 1


class ConfigError(StepwiseError):
    """A configuration or a command line that cannot be meant: key, value, what is expected."""

    exit_code = 2


class DataError(StepwiseError):
    """Data, or an artifact of an earlier run, that is missing, damaged or of another format."""

    exit_code = 3


class MachineError(StepwiseError):
    """The surroundings fail us: a full disk, a lock that another process holds, the cluster."""

    exit_code = 4

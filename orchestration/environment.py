"""The environment of processes that compute, which they read when they start."""

import os
import sys

MALLOC = {
    # Activations of a few MB are handed back to the kernel at every call, and cleared by it when
    # they come again, unless malloc is told to keep them: much of the time of a network call.
    "MALLOC_MMAP_THRESHOLD_": str(2**25),
    "MALLOC_TRIM_THRESHOLD_": str(2**30),
    "MALLOC_TOP_PAD_": str(2**26),
}

ENVIRONMENT = {
    # Several processes with several threads each on few cores wait for each other's threads: one
    # thread a process, and a process a core.
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",
    **MALLOC,
}
"""Of Ray's workers; what the user has set is left alone."""


def begin_again_with_malloc() -> None:
    """Starts this command anew with MALLOC, unless the environment has it: as workers compute."""
    if not MALLOC.keys() <= os.environ.keys():
        for name, value in MALLOC.items():
            os.environ.setdefault(name, value)
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])

"""Contexts that are entered when they are first needed."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import cache
from typing import TypeVar

T = TypeVar("T")


@contextmanager
def deferred(make: Callable[[], AbstractContextManager[T]]) -> Iterator[Callable[[], T]]:
    """Yields a function that gives what a context does, which is entered for the first call."""
    with ExitStack() as stack:
        yield cache(lambda: stack.enter_context(make()))

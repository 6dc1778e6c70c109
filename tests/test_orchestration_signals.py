"""A signal is an interruption at once, or at the end of what must not be torn."""

import os
import signal
import threading

import pytest

from orchestration import signals


@pytest.fixture(autouse=True)
def installed():
    """Our handlers, and those of before again."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    signals.install()
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def send(number):
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_interrupts_and_is_remembered(number):
    with pytest.raises(KeyboardInterrupt):
        send(number)
    assert signals.received() == number


def test_what_is_held_is_done_before_the_signal_is_raised():
    done = []
    with pytest.raises(KeyboardInterrupt), signals.held():
        with signals.held():
            send(signal.SIGTERM)
            done.append("inner")
        done.append("outer")
    assert done == ["inner", "outer"]
    with pytest.raises(KeyboardInterrupt):  # and nothing is held from then on
        send(signal.SIGINT)


def test_without_a_signal_what_is_held_ends_as_it_does():
    with signals.held():
        pass
    with pytest.raises(ValueError, match="its own"), signals.held():
        raise ValueError("its own")


def test_another_thread_holds_nothing():
    inside, done = threading.Event(), threading.Event()

    def work():
        with signals.held():
            inside.set()
            done.wait(60)

    thread = threading.Thread(target=work)
    thread.start()
    inside.wait(60)
    with pytest.raises(KeyboardInterrupt):
        send(signal.SIGINT)
    done.set()
    thread.join()


def test_a_signal_goes_over_the_error_of_what_was_held():
    with pytest.raises(KeyboardInterrupt) as raised, signals.held():
        send(signal.SIGINT)
        raise ValueError("its own")
    assert isinstance(raised.value.__context__, ValueError)

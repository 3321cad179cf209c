"""What must hold after every test: nothing is left behind."""

import gc
import os
import signal
import threading
from collections.abc import Iterator

import pytest

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)


@pytest.fixture(autouse=True)
def _nothing_is_left_behind() -> Iterator[None]:
    handlers = [signal.getsignal(number) for number in _SIGNALS]
    threads = set(threading.enumerate())
    yield
    assert [signal.getsignal(number) for number in _SIGNALS] == handlers
    # trio keeps its worker threads for ten seconds, to use them again.
    left = [t for t in threading.enumerate() if t not in threads and "Trio" not in t.name]
    assert left == []
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)
    # A coroutine that was never awaited says so when it is collected; warnings are errors.
    gc.collect(0)

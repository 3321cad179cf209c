"""What must hold after every test: nothing is left behind."""

import gc
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

# Started in the background of a script, or by nohup, a process ignores these, and so do its
# children.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
signal.signal(signal.SIGQUIT, signal.SIG_DFL)

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGCHLD)


@pytest.fixture(scope="module", autouse=True)
def _what_is_here_is_not_collected() -> None:
    # A collection looks at what the tests make, not each time at all that was there before.
    gc.collect()
    getattr(gc, "freeze", gc.collect)()  # PyPy cannot


def _children() -> set[str]:
    """List the child processes, but for the helpers that multiprocessing keeps."""
    listed: set[str] = set()
    for thread in Path("/proc/self/task").iterdir():
        listed |= set(_read(thread / "children").decode().split())
    return {pid for pid in listed if b"multiprocessing" not in _read(Path(f"/proc/{pid}/cmdline"))}


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:  # pragma: no cover - a thread that has ended meanwhile
        return b""


@pytest.fixture
def handlers_restored() -> Iterator[None]:
    """For programs that set handlers of signals for good."""
    handlers = [signal.getsignal(number) for number in _SIGNALS]
    yield
    for number, handler in zip(_SIGNALS, handlers, strict=True):
        signal.signal(number, handler)


@pytest.fixture(autouse=True)
def _nothing_is_left_behind(request: pytest.FixtureRequest) -> Iterator[None]:
    handlers = [signal.getsignal(number) for number in _SIGNALS]
    threads, children = set(threading.enumerate()), _children()
    yield
    assert [signal.getsignal(number) for number in _SIGNALS] == handlers
    if request.module.__name__.endswith(("test_dask", "test_future_actor")):
        return  # a pool or a cluster lives as long as the module, threads and all
    # trio keeps its worker threads for ten seconds, to use them again; distributed never stops
    # those of two pools, and its profiler notices late that a worker has gone.
    kept = ("Trio", "Dask-Offload", "Dask-Callback-Thread", "Profile")
    left = [t for t in threading.enumerate() if t not in threads and not t.name.startswith(kept)]
    assert left == []
    assert _children() <= children
    # A coroutine that was never awaited says so when it is collected; warnings are errors.
    gc.collect(0)

"""Actors and runs that several test files need."""

import contextlib
import sys
from collections.abc import Awaitable, Callable
from typing import NoReturn

import pytest
import trio

from trio_rungroup import Record, RunGroup

# Put before a command, it makes the terminal on its standard input the one that controls it.
TAKES_TERMINAL = (
    sys.executable,
    "-S",
    "-c",
    "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); "
    "os.execv(sys.argv[1], sys.argv[1:])",
)

once_is_enough = pytest.mark.skipif(
    sys.version_info[:2] != (3, 11), reason="takes long, and is the same on every Python"
)
on_oldest_and_newest = pytest.mark.skipif(
    sys.version_info[:2] == (3, 12), reason="takes long: on the oldest and the newest Python"
)
needs_trio_asyncio = pytest.mark.skipif(
    sys.version_info >= (3, 14), reason="trio-asyncio 0.16 is for Python up to 3.13"
)


class ConfigError(Exception):
    pass


def ends(after: float, error: BaseException | None = None) -> Callable[[], Awaitable[None]]:
    async def execute() -> None:
        await trio.sleep(after)
        if error is not None:
            raise error

    return execute


def stops(
    after: float, error: BaseException | None = None
) -> tuple[Callable[[], Awaitable[None]], Callable[[object], None]]:
    """Make an actor that takes a while to stop when it is told to."""
    told = trio.Event()

    async def execute() -> None:
        await told.wait()
        await ends(after, error)()

    return execute, lambda _: told.set()


async def finished(group: RunGroup) -> Record:
    with contextlib.suppress(Exception, KeyboardInterrupt, SystemExit, BaseExceptionGroup):
        await group.run()
    assert group.record is not None
    return group.record


def raises(
    error: BaseException, *, cause: BaseException, context: BaseException
) -> Callable[[], NoReturn]:
    def fail() -> NoReturn:
        try:
            raise context
        except type(context):
            raise error from cause

    return fail

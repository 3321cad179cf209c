"""Actors and runs that several test files need."""

import contextlib
import sys
from collections.abc import Awaitable, Callable
from typing import NoReturn

import pytest
import trio

from trio_rungroup import Record, RunGroup

once_is_enough = pytest.mark.skipif(
    sys.version_info[:2] != (3, 11), reason="takes long, and is the same on every Python"
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

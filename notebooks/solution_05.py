"""A solution of notebook 05: `race`, and the core of a run group."""

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias

import trio

Execute: TypeAlias = Callable[[], Awaitable[object]]
Interrupt: TypeAlias = Callable[[BaseException | None], Awaitable[object]]


async def race(*async_fns: Execute) -> object:
    """Run them all; return what the first one to return gives; cancel the others."""
    results: list[object] = []

    async with trio.open_nursery() as nursery:

        async def run_one(async_fn: Execute) -> None:
            results.append(await async_fn())
            nursery.cancel_scope.cancel(reason="somebody has won")

        for async_fn in async_fns:
            nursery.start_soon(run_one, async_fn)

    return results[0]  # a loser may still have come in, after the winner


async def run_group(actors: Sequence[tuple[Execute, Interrupt]]) -> object:
    """Run pairs (execute, interrupt) by the one rule."""
    exits: list[tuple[object, BaseException | None]] = []  # in order of time
    stopping = trio.Event()

    async def run_actor(execute: Execute) -> None:
        value, error = None, None
        try:
            value = await execute()
        except Exception as exc:  # raised at the end, if it is the first
            error = exc
        exits.append((value, error))
        stopping.set()

    async with trio.open_nursery() as nursery:
        for execute, _ in actors:
            nursery.start_soon(run_actor, execute)
        await stopping.wait()
        for _, interrupt in actors:
            await interrupt(exits[0][1])

    value, error = exits[0]
    if error is not None:
        raise error
    return value

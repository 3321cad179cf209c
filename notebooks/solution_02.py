"""A solution for notebook 02: results in the order of the functions."""

from collections.abc import Awaitable, Callable
from typing import Any

import trio


async def collect(functions: list[Callable[[], Awaitable[Any]]]) -> list[Any]:
    """Call all functions at the same time; return their results in the order of the list."""
    results: list[Any] = [None] * len(functions)

    async def one(index: int, function: Callable[[], Awaitable[Any]]) -> None:
        results[index] = await function()

    async with trio.open_nursery() as nursery:
        for index, function in enumerate(functions):
            nursery.start_soon(one, index, function)
    return results

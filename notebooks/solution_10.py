"""A solution for notebook 10: producer, workers and collector, and each closes what it holds."""

from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import trio


async def pipeline(
    items: Iterable[Any], work: Callable[[Any], Awaitable[Any]], workers: int
) -> list[Any]:
    """Work on all items, a few at a time; return the results as they are done."""

    async def produce(sending: trio.MemorySendChannel[Any]) -> None:
        async with sending:
            for item in items:
                await sending.send(item)

    async def worker(
        receiving: trio.MemoryReceiveChannel[Any], sending: trio.MemorySendChannel[Any]
    ) -> None:
        async with receiving, sending:
            async for item in receiving:
                await sending.send(await work(item))

    sending_items, items_to_do = trio.open_memory_channel[Any](0)
    sending_results, results = trio.open_memory_channel[Any](0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(produce, sending_items)
        async with items_to_do, sending_results:  # those that the clones are made of
            for _ in range(workers):
                nursery.start_soon(worker, items_to_do.clone(), sending_results.clone())
        async with results:
            return [result async for result in results]

"""A solution of notebook 08: work on a cluster that can be interrupted."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeAlias

from distributed import Client, Event

from trio_rungroup import future_actor

Execute: TypeAlias = Callable[[], Awaitable[object]]
Interrupt: TypeAlias = Callable[[BaseException | None], object]


def stoppable(client: Client, step: Callable[[], None]) -> tuple[Execute, Interrupt]:
    """Call `step()` on the cluster, again and again, until interrupted; count the calls."""
    stop = Event(client=client)  # without a name: a new one for each actor

    def work(stop: Event) -> int:
        steps = 0
        while not stop.is_set():
            step()
            steps += 1
        return steps

    return future_actor(
        lambda: client.submit(work, stop, pure=False),
        lambda error: stop.set(),
    )

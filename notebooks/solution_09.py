"""A solution for notebook 09: a service that survives its worst client, and stops in order."""

import trio
from exercises_09 import answer

from trio_rungroup import RunGroup, listener_actor, signal_actor


def make_service(listeners: list[trio.SocketListener]) -> RunGroup:
    """Answer requests until a signal comes; then finish what is under way, within a second."""

    async def handle(stream: trio.SocketStream) -> None:
        try:
            await answer(stream)
        except Exception as error:  # not BaseException: a cancellation has to come out
            print("one request failed:", error)

    group = RunGroup(grace=1)
    group.add(*signal_actor())
    group.add(*listener_actor(handle, listeners))
    return group

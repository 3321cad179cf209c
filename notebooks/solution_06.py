"""A solution of notebook 06: a reporter that stops when it is told to.

Both bugs are common. An assignment inside a function makes a local name, so the old `interrupt`
set a flag that nobody ever read. And with that repaired, a flag that is looked at once an hour
is a stop that takes an hour: wait for an event, with a time limit.
"""

from collections.abc import Awaitable, Callable

import trio


def make_reporter(
    report: Callable[[], Awaitable[None]],
) -> tuple[Callable[[], Awaitable[None]], Callable[[BaseException | None], None]]:
    """Make an actor that reports now and then once an hour, until it is told to stop."""
    stopping = trio.Event()  # an object: whoever sets it, all see it

    async def execute() -> None:
        while not stopping.is_set():
            await report()
            with trio.move_on_after(3600):
                await stopping.wait()  # wakes up at once, not after the hour

    def interrupt(error: BaseException | None) -> None:
        stopping.set()

    return execute, interrupt

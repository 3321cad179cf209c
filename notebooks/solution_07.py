"""A solution of notebook 07: a Go actor with a ticker and a channel, on trio."""

from collections.abc import Awaitable, Callable

import trio


def flusher(
    flush: Callable[[], Awaitable[None]],
) -> tuple[Callable[[], Awaitable[None]], Callable[[BaseException | None], None]]:
    """Flush every 30 s; when told to stop, flush what is left, and exit."""
    cancel = trio.Event()  # Go: cancel := make(chan struct{})

    async def execute() -> None:
        while True:
            with trio.move_on_after(30):  # Go: case <-time.After(30 * time.Second)
                await cancel.wait()  # Go: case <-cancel
            last = cancel.is_set()  # asked before the flush: during it more may come in
            await flush()
            if last:
                return

    def interrupt(error: BaseException | None) -> None:
        cancel.set()  # Go: close(cancel)

    return execute, interrupt

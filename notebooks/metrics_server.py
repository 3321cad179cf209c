"""The simulated parts of a metrics server, for notebook 07.

They only sleep and remember, but each has to be stopped as the real one has to be: some may
be cut off, some finish the work at hand first, and the storage refuses what comes too late.
"""

from __future__ import annotations

import logging
import math
import signal
from collections.abc import Awaitable, Callable

import trio

from trio_rungroup import RunGroup, SignalReceived

# The notebook shows later errors itself; the library would write them to standard error.
logging.getLogger("trio_rungroup").addHandler(logging.NullHandler())


class StorageClosed(Exception):  # noqa: N818 - it tells a state
    """Raised by a write to a storage that is not open yet, or not any more."""


class Storage:
    """Takes a while to open, and a while to close."""

    def __init__(self) -> None:
        self.opened = trio.Event()
        self.is_open = False
        self.scope = trio.CancelScope()

    async def run(self) -> None:
        """Open; stay open until `close()`."""
        with self.scope:
            await trio.sleep(2.0)  # reads its journal
            self.is_open = True
            self.opened.set()
            await trio.sleep_forever()

    async def close(self, error: BaseException | None) -> None:
        """Take no more writes, and save what is in memory: the interrupt."""
        if self.is_open:
            self.is_open = False
            await trio.sleep(0.8)
        self.scope.cancel(reason="the storage is closed")

    def write(self, what: str) -> None:
        """Keep something."""
        if not self.is_open:
            raise StorageClosed(f"the storage is not open: {what} would be lost")


class Notifier:
    """Sends alerts, one at a time."""

    def __init__(self) -> None:
        self.raised = self.sent = 0
        self._queue, self._alerts = trio.open_memory_channel[str](math.inf)  # Go: a chan

    async def run(self) -> None:
        """Send alerts until the queue is closed and empty. Go: `for alert := range alerts`."""
        async for _ in self._alerts:
            await trio.sleep(1.9)
            self.sent += 1

    def stop(self, error: BaseException | None) -> None:
        """Close the queue: the interrupt. What is in it is still sent."""
        self._queue.close()

    def alert(self, what: str) -> None:
        """Queue an alert; an error if the queue is closed, as in Go."""
        self.raised += 1
        self._queue.send_nowait(what)


class Manager:
    """Works every so often, once the configuration is loaded; is never cut off at work."""

    def __init__(
        self, loaded: trio.Event, every: float, work: Callable[[], Awaitable[None]]
    ) -> None:
        self.loaded = loaded
        self.every = every
        self.work = work
        self.busy = trio.Lock()
        self.scope = trio.CancelScope()

    async def run(self) -> None:
        """Wait for the gate; then sleep and work in turns until `stop()`."""
        with self.scope:
            await self.loaded.wait()
            while True:
                await trio.sleep(self.every)
                async with self.busy:
                    await self.work()

    async def stop(self, error: BaseException | None) -> None:
        """Stop, as soon as the work at hand is done: the interrupt."""
        async with self.busy:
            self.scope.cancel(reason="stop() was called")


class Parts:
    """All the parts of one server, and what they do with each other."""

    def __init__(self) -> None:
        self.loaded = trio.Event()  # the gate: set when the configuration has been loaded
        self.storage = Storage()
        self.notifier = Notifier()
        self.rules = Manager(self.loaded, 2.0, self._evaluate)
        self.scraper = Manager(self.loaded, 1.5, self._scrape)

    async def discover(self) -> None:
        """Look for what there is to measure."""
        while True:
            await trio.sleep(5.0)

    async def load_config(self) -> None:
        """Read the configuration and hand it to everybody, the storage included."""
        await trio.sleep(1.7)
        self.storage.write("a setting")

    async def serve(self) -> None:
        """Answer requests; a real one would say 503 until the gate is open."""
        while True:
            await trio.sleep(1.1)

    async def _evaluate(self) -> None:
        await trio.sleep(1.5)
        self.storage.write("a result of the rules")
        self.notifier.alert("the disk is nearly full")

    async def _scrape(self) -> None:
        await trio.sleep(0.3)
        self.storage.write("a measurement")


async def serve_until(sigterm: float, group: RunGroup, sighup: float = 5.9) -> None:
    """Run a group, and send this process a SIGHUP and a SIGTERM at the given moments."""

    async def send(number: signal.Signals, moment: float) -> None:
        await trio.sleep_until(moment)
        signal.raise_signal(number)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send, signal.SIGHUP, sighup)
        nursery.start_soon(send, signal.SIGTERM, sigterm)
        try:
            await group.run()
        except SignalReceived:
            pass
        finally:
            nursery.cancel_scope.cancel(reason="the group has ended")

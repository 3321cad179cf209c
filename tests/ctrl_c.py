"""Strike the library with Ctrl-C at its n-th line, for every n; run by test_ctrl_c.py.

A trace function raises a real SIGINT when the library is about to execute its n-th line. All
positions are tried in one fork; after one that goes wrong, a new fork goes on with the next.
Prints how many positions there were, and then what went wrong.

    python ctrl_c.py SCENARIO STEP [GAP...]

strikes at every STEP-th line; with gaps, once for each of them, and a second time GAP lines later.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import gc
import itertools
import logging
import os
import re
import signal
import socket
import sys
import threading
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import trio
import trio.testing

import trio_rungroup
from trio_rungroup import (
    RunGroup,
    future_actor,
    listener_actor,
    process_actor,
    scope_actor,
    thread_actor,
)
from trio_rungroup.testing import check_actor

LIBRARY = str(Path(trio_rungroup.__file__).parent)
never_awaited: list[BaseException | None] = []  # what Python says about lost coroutines
GIVE_UP_AFTER = 30  # seconds for one position, which takes milliseconds


class Actors:
    """Three actors; counts what is called."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.ended: Counter[str] = Counter()
        self.expected: Counter[str] = Counter()  # nothing, if struck while the group was made

    def add_to(self, group: RunGroup, *, kind: str) -> None:
        """Add actors with sync or async interrupts, with none, or such as report their start."""
        for name in ("a", "b", "c"):
            told = trio.Event()

            async def execute(name: str = name, told: trio.Event = told) -> None:
                self.calls[f"execute {name}"] += 1
                try:
                    with trio.move_on_after(2 if name == "b" else 500):
                        await told.wait()
                        await trio.sleep(1)
                finally:
                    self.ended[name] += 1

            def interrupt(
                error: BaseException | None, name: str = name, told: trio.Event = told
            ) -> None:
                self.calls[f"interrupt {name}"] += 1
                told.set()

            async def async_interrupt(
                error: BaseException | None, interrupt: Callable[..., None] = interrupt
            ) -> None:
                interrupt(error)
                await trio.sleep(1)

            async def report(
                *, task_status: trio.TaskStatus[str], execute: Callable[[], Any] = execute
            ) -> None:
                task_status.started("yes")
                await execute()

            if kind == "none":
                group.add(execute)
            elif kind == "reporting":
                group.add(report, interrupt, grace=10, ends_group=False, reports_started=True)
            else:
                group.add(execute, async_interrupt if kind == "async" else interrupt, grace=10)
        called = ["execute"] if kind == "none" else ["execute", "interrupt"]
        self.expected.update(f"{what} {name}" for what in called for name in "abc")

    def check(self) -> None:
        assert self.calls == self.expected, self.calls
        assert self.ended == Counter("abc" if self.expected else ""), self.ended


async def one_group(actors: Actors, kind: str) -> None:
    group = RunGroup()
    actors.add_to(group, kind=kind)
    await group.run()


async def nested_groups(actors: Actors, kind: str) -> None:
    inner, outer = RunGroup(), RunGroup(grace=30)
    actors.add_to(inner, kind=kind)
    outer.add(inner.run, inner.interrupt)
    outer.add(trio.sleep_forever)
    await outer.run()


async def started_group(actors: Actors, kind: str) -> None:
    group = RunGroup(grace=30)
    actors.add_to(group, kind=kind)
    async with trio.open_nursery() as nursery:
        await nursery.start(group.run)
        await trio.sleep(1)
        group.interrupt()


async def reporting_group(actors: Actors, kind: str) -> None:
    group = RunGroup(grace=30)
    actors.add_to(group, kind=kind)
    async with trio.open_nursery() as nursery:
        started = await nursery.start(group.run)  # and comes back when all have returned
        assert list(started.values()) == ["yes", "yes", "yes"]


async def cancelled_from_outside(actors: Actors, kind: str) -> None:
    group = RunGroup()
    actors.add_to(group, kind=kind)
    with trio.move_on_after(1):
        await group.run()


async def checked_actor(actors: Actors, kind: str) -> None:
    del actors  # nothing is promised of those that are being checked

    def make() -> tuple[Callable[[], Any], Callable[[BaseException | None], object]]:
        told = trio.Event()

        async def async_interrupt(error: BaseException | None) -> None:
            await trio.lowlevel.checkpoint()
            told.set()

        return told.wait, async_interrupt if kind == "async" else lambda _: told.set()

    await check_actor(make)


async def ready_made_actor(actors: Actors, kind: str) -> None:
    del actors  # what they leave behind is looked for when all is over
    up = trio.Event()

    async def end() -> None:
        await up.wait()
        await trio.sleep(0.001)

    group = RunGroup(grace=GIVE_UP_AFTER)
    with contextlib.ExitStack() as stack:
        match kind:
            case "process":
                group.add(*process_actor(["sleep", "1000"]))
                up.set()
            case "thread":
                stopping, token = threading.Event(), trio.lowlevel.current_trio_token()

                def work() -> None:
                    token.run_sync_soon(up.set)
                    stopping.wait()

                group.add(*thread_actor(work, lambda _: stopping.set()))
            case "future":
                pool = stack.enter_context(concurrent.futures.ThreadPoolExecutor(1))
                group.add(*future_actor(lambda: pool.submit(time.sleep, 0.002)))
                up.set()
            case "future of this thread":
                future: concurrent.futures.Future[None] = concurrent.futures.Future()
                group.add(*future_actor(lambda: future))

                async def finish() -> None:
                    await trio.sleep(0.002)
                    future.set_result(None)
                    await trio.sleep_forever()

                group.add(finish)
            case "scope":
                group.add(*scope_actor(trio.CancelScope()))
                up.set()
            case _:
                server = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
                client = stack.enter_context(socket.create_connection(server.getsockname()))
                client.sendall(b"hello")
                listener = trio.SocketListener(trio.socket.from_stdlib_socket(server))

                async def answer(stream: trio.abc.Stream) -> None:
                    await stream.receive_some()
                    up.set()

                group.add(*listener_actor(answer, [listener]))
        group.add(end)
        await group.run()


async def failing_handler(actors: Actors, kind: str) -> None:
    """Lose no error of a handler: it comes out, stands in the record, or is in a context."""
    del actors, kind
    error = LookupError("handler")
    raised = False

    async def handle(stream: trio.abc.Stream) -> None:
        nonlocal raised
        raised = True
        raise error

    with contextlib.ExitStack() as stack:
        server = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        stack.enter_context(socket.create_connection(server.getsockname()))
        group = RunGroup()
        listener = trio.SocketListener(trio.socket.from_stdlib_socket(server))
        group.add(*listener_actor(handle, [listener]))
        try:
            await group.run()
        except BaseException as exc:
            out, is_it = exc, isinstance(exc, ExceptionGroup)
        kept = [] if group.record is None else [each.error for each in group.record.actors]
        assert not raised or error in leads_to(out, *kept), "the error is lost"
        if not is_it:
            raise out


def leads_to(*errors: BaseException | None) -> list[BaseException]:
    found: list[BaseException] = []
    todo = list(errors)
    while todo:
        error = todo.pop()
        if error is not None and error not in found:
            found.append(error)
            todo += [error.__context__, *getattr(error, "exceptions", ())]
    return found


def look_for_what_is_left() -> None:
    with contextlib.suppress(ChildProcessError):
        raise AssertionError(f"a process is left: {os.waitpid(-1, os.WNOHANG)}")
    # A thread that is abandoned has been told to stop all the same. trio keeps the idle ones.
    give_up_at = time.monotonic() + GIVE_UP_AFTER / 2
    while busy := [
        thread
        for thread in threading.enumerate()
        if thread is not threading.main_thread() and not thread.name.startswith("Trio thread")
    ]:
        assert time.monotonic() < give_up_at, busy
        time.sleep(0.0001)


def strike_at(position: int, second: int | None) -> tuple[Callable[..., Any], Callable[[], int]]:
    """Make a trace function that raises SIGINT at the library's n-th line, and maybe again."""
    lines = 0

    def trace(frame: FrameType, event: str, arg: object) -> Callable[..., Any] | None:
        nonlocal lines
        if not frame.f_code.co_filename.startswith(LIBRARY):
            return None
        if event == "line":
            lines += 1
            if lines in (position, second):
                if second is None or lines == second:
                    sys.settrace(None)  # no more to come: the rest runs twice as fast
                signal.raise_signal(signal.SIGINT)
        return trace

    return trace, lambda: lines


def in_a_fork(sweep: Callable[[Callable[[int], None]], None]) -> tuple[int, str]:
    """Let a fork try one position after the other until one goes wrong or there are no more.

    Hands back the last position that it began with, and what went wrong.
    """
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)

        def begin(position: int) -> None:
            os.write(writing, b"%d\n" % position)
            signal.setitimer(signal.ITIMER_REAL, GIVE_UP_AFTER)  # SIGALRM kills what hangs

        try:
            sweep(begin)
        except BaseException:
            sys.settrace(None)
            os.write(writing, traceback.format_exc().encode()[:50_000])
            os._exit(1)
        os._exit(0)
    os.close(writing)
    output = b"".join(iter(lambda: os.read(reading, 65536), b"")).decode()
    os.close(reading)
    _, status = os.waitpid(pid, 0)
    begun = re.match(r"(\d+\n)*", output)
    assert begun is not None
    wrong = "" if status == 0 else f"status {status} {output[begun.end() :]}"
    return int(begun[0].split()[-1]), wrong


def run_and_strike(
    scenario: Callable[[Actors, str], Any], kind: str, position: int, second: int | None = None
) -> bool:
    """Run a scenario under Ctrl-C; tell whether there was such a position in it."""
    actors = Actors()
    trace, lines = strike_at(position, second)
    # That clock would jump past threads, sockets and processes.
    is_virtual = scenario is not ready_made_actor
    clock = trio.testing.MockClock(autojump_threshold=0) if is_virtual else None
    struck = False

    async def main() -> None:
        sys.settrace(trace)
        try:
            # The trace function has to be on for frames that exist already, too.
            await scenario(actors, kind)
        finally:
            sys.settrace(None)

    try:
        trio.run(main, clock=clock)
    except* KeyboardInterrupt:  # bare, or out of a nursery of the scenario's own
        struck = True
    look_for_what_is_left()
    gc.collect()
    assert not never_awaited, never_awaited
    if lines() < position:
        assert not struck
        return False
    assert struck, "Ctrl-C was swallowed"
    actors.check()
    return True


SCENARIOS = {
    "one group": (one_group, "sync"),
    "one group, async interrupts": (one_group, "async"),
    "nested groups": (nested_groups, "sync"),
    "started, then interrupted": (started_group, "async"),
    "reports its start, ends when all have returned": (reporting_group, "reporting"),
    "no interrupts": (one_group, "none"),
    "cancelled from outside": (cancelled_from_outside, "sync"),
    "cancelled from outside, async interrupts": (cancelled_from_outside, "async"),
    "cancelled from outside, no interrupts": (cancelled_from_outside, "none"),
    "check_actor": (checked_actor, "sync"),
    "check_actor, async interrupt": (checked_actor, "async"),
    "process_actor": (ready_made_actor, "process"),
    "thread_actor": (ready_made_actor, "thread"),
    "future_actor": (ready_made_actor, "future"),
    "future_actor, done in trio's thread": (ready_made_actor, "future of this thread"),
    "scope_actor": (ready_made_actor, "scope"),
    "listener_actor": (ready_made_actor, "listener"),
    "listener_actor, whose handler fails": (failing_handler, ""),
}


def main(name: str, step: int, gaps: Sequence[int | None]) -> None:
    logging.getLogger("trio_rungroup").addHandler(logging.NullHandler())
    gc.freeze()
    gc.disable()
    warnings.simplefilter("error", RuntimeWarning)
    sys.unraisablehook = lambda raised: never_awaited.append(raised.exc_value)
    sweeps = [strike_at_every(name, step, gap) for gap in gaps or [None]]
    print(min(positions for positions, _ in sweeps))
    for _, wrong in sweeps:
        print("".join(f"{each}\n" for each in wrong), end="")


def strike_at_every(name: str, step: int, gap: int | None) -> tuple[int, list[str]]:
    """Count the positions, and tell what went wrong at which."""
    scenario, kind = SCENARIOS[name]
    position, over = 0, False
    wrong: list[str] = []

    def sweep(begin: Callable[[int], None]) -> None:
        for each in itertools.count(position + step, step):
            begin(each)
            second = None if gap is None else each + gap
            if not run_and_strike(scenario, kind, each, second):
                return

    while not over:
        position, trouble = in_a_fork(sweep)
        over = not trouble
        if trouble:
            wrong.append(f"line {position}, {gap=}: {trouble}")
    return position - step, wrong


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), [int(gap) for gap in sys.argv[3:]])

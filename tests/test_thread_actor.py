"""thread_actor: real threads that block in a socket, a queue, a select."""

from __future__ import annotations

import contextvars
import functools
import gc
import logging
import queue
import re
import select
import socket
import sys
import threading
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import trio
from runs import raises

from trio_rungroup import RunGroup, thread_actor


def nothing(_: BaseException | None) -> None:
    """Be an interrupt of what ends by itself."""


async def until(holds: Callable[[], object]) -> None:
    while not holds():
        await trio.sleep(0.01)  # pragma: no cover - a thread may be as quick


def is_anywhere_in(function: Any) -> bool:
    """Tell whether a thread is in a function, if that is the innermost one in Python."""
    return any(frame.f_code is function.__code__ for frame in sys._current_frames().values())


async def thread_ends(name: str) -> None:
    """Wait until no thread has a name: trio's threads have their own again when idle."""
    while any(name in thread.name for thread in threading.enumerate()):
        await trio.sleep(0.01)


async def test_what_the_function_returns_is_what_the_actor_returns() -> None:
    value = object()
    execute, _ = thread_actor(lambda: value, nothing)
    assert await execute() is value


async def test_what_the_function_raises_comes_out_unchanged() -> None:
    cause, context, error = KeyError("cause"), ValueError("context"), LookupError("error")

    fail = raises(error, cause=cause, context=context)
    group = RunGroup()
    group.add(*thread_actor(fail, nothing))
    with pytest.raises(LookupError) as caught:
        await group.run()
    assert caught.value is error
    assert error.__cause__ is cause
    assert error.__context__ is context


async def test_sixty_at_once_all_run() -> None:
    everybody = threading.Barrier(60, timeout=60)
    stop = threading.Event()

    def work() -> None:
        everybody.wait()
        stop.wait()

    group = RunGroup()
    for _ in range(59):
        group.add(*thread_actor(work, lambda _: stop.set()))
    group.add(*thread_actor(everybody.wait, nothing))
    await group.run()


async def test_the_function_may_call_back_into_trio_and_sees_the_context_variables() -> None:
    variable = contextvars.ContextVar[str]("variable")
    variable.set("of the caller")
    seen: list[object] = []

    async def in_trio() -> str:
        await trio.lowlevel.checkpoint()
        return "async"

    def work() -> None:
        seen.append(variable.get())
        seen.append(trio.from_thread.run(in_trio))
        seen.append(trio.from_thread.run_sync(threading.current_thread))
        seen.append(threading.current_thread().name)

    execute, _ = thread_actor(work, nothing)
    group = RunGroup()
    group.add(execute, name="worker")
    await group.run()
    name = f"{work.__qualname__} from worker"
    assert seen == ["of the caller", "async", threading.current_thread(), name]


async def test_the_interrupt_is_called_in_the_trio_thread_with_the_error() -> None:
    stop = threading.Event()
    calls: list[object] = []

    def interrupt(error: BaseException | None) -> None:
        calls.extend([error, threading.current_thread()])
        stop.set()

    error = LookupError("first")

    async def fail() -> None:
        raise error

    group = RunGroup()
    group.add(*thread_actor(stop.wait, interrupt))
    group.add(fail)
    with pytest.raises(LookupError):
        await group.run()
    assert calls == [error, threading.current_thread()]


async def test_the_interrupt_may_be_async() -> None:
    stop = threading.Event()

    async def interrupt(_: BaseException | None) -> None:
        await trio.lowlevel.checkpoint()
        stop.set()

    group = RunGroup()
    group.add(*thread_actor(stop.wait, interrupt))
    group.add(trio.lowlevel.checkpoint)
    await group.run()


async def test_it_stops_a_blocking_accept() -> None:
    served: list[bytes] = []
    listening = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:  # shut down
                return
            with connection:
                served.append(connection.recv(100))
                connection.sendall(b"thanks")

    group = RunGroup()
    group.add(*thread_actor(serve, lambda _: listening.shutdown(socket.SHUT_RDWR)))

    @group.add
    async def client() -> None:
        async with await trio.open_tcp_stream(*listening.getsockname()) as stream:
            await stream.send_all(b"hello")
            assert await stream.receive_some(100) == b"thanks"

    with listening:
        await group.run()
    assert served == [b"hello"]


async def test_it_stops_the_consumer_of_a_queue_after_what_is_in_it() -> None:
    jobs: queue.Queue[int | None] = queue.Queue()
    done: list[int] = []

    def consume() -> str:
        while (job := jobs.get()) is not None:
            done.append(job)
        return "drained"

    group = RunGroup()
    group.add(*thread_actor(consume, lambda _: jobs.put(None)))

    @group.add
    async def produce() -> None:
        for job in range(1000):
            jobs.put(job)

    await group.run()
    assert done == list(range(1000))


async def test_it_stops_a_select_loop() -> None:
    wake, woken = socket.socketpair()
    feed, fed = socket.socketpair()
    received: list[bytes] = []

    def loop() -> None:
        while True:
            readable, _, _ = select.select([woken, fed], [], [])
            if fed in readable:
                received.append(fed.recv(100))
            else:
                return

    group = RunGroup()
    group.add(*thread_actor(loop, lambda _: wake.sendall(b"!")))

    @group.add
    async def write() -> None:
        feed.sendall(b"something")

    with wake, woken, feed, fed:
        await group.run()
    assert received == [b"something"]


async def test_a_thread_that_is_late_holds_nothing_when_it_has_ended() -> None:
    class Kept:
        """Something that can be watched."""

    def late() -> None:
        kept = Kept()
        made.append(weakref.ref(kept))
        release.wait()

    made: list[weakref.ref[Kept]] = []
    release, group = threading.Event(), RunGroup(grace=0.01)
    group.add(*thread_actor(late, nothing))
    group.add(functools.partial(until, lambda: made))
    gc.disable()
    try:
        await group.run()
        release.set()
        await thread_ends(late.__qualname__)
        with trio.fail_after(10):
            await until(lambda: made[0]() is None)
    finally:
        gc.enable()


async def test_of_one_that_waits_for_trio_it_is_the_line_that_does(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def asks() -> None:
        trio.from_thread.run(answer)

    async def answer() -> None:
        asked.set()
        await answered.wait()

    asked, answered, group = trio.Event(), trio.Event(), RunGroup(grace=0.05)
    group.add(*thread_actor(asks, nothing), name="worker")
    group.add(asked.wait)
    await group.run()
    answered.set()
    await thread_ends(asks.__qualname__)
    place = f"'worker' at {__file__}:{asks.__code__.co_firstlineno + 1} in {asks.__qualname__}"
    assert f"{place} (in its thread)" in caplog.text


async def test_of_a_function_in_c_the_place_is_trios(caplog: pytest.LogCaptureFixture) -> None:
    lock = threading.Lock()
    group = RunGroup(grace=0.05)
    with lock:
        group.add(*thread_actor(lock.acquire, nothing), name="worker")
        group.add(functools.partial(trio.sleep, 0.05))
        await group.run()
    await thread_ends("acquire")
    assert re.search(r"'worker' at .*_threads\.py:\d+ in to_thread_run_sync\n", caplog.text)


async def test_an_async_function_in_disguise_is_called_by_its_name() -> None:
    async def works() -> None:
        """Not in a thread."""

    def seems_to() -> object:
        return works()

    execute, _ = thread_actor(seems_to, nothing)
    with pytest.raises(TypeError, match=r"seems_to' appears to be asynchronous"):
        await execute()


async def test_where_a_thread_waits_is_told_also_if_no_function_of_the_users_does(
    caplog: pytest.LogCaptureFixture,
) -> None:
    server = socket.create_server(("127.0.0.1", 0))
    try:
        group = RunGroup(grace=0.01)
        group.add(*thread_actor(server.accept, nothing), name="worker")
        group.add(functools.partial(until, lambda: is_anywhere_in(socket.socket.accept)))
        await group.run()
    finally:
        server.shutdown(socket.SHUT_RDWR)
        server.close()
        await thread_ends("accept")
    [place] = re.findall("'worker' at (.*)", caplog.text)
    assert re.fullmatch(r".*socket\.py:\d+ in socket\.accept \(in its thread\)", place)


@pytest.mark.parametrize("how", ["grace", "outside"])
async def test_a_thread_that_does_not_listen_is_abandoned_with_one_warning(
    how: str, caplog: pytest.LogCaptureFixture
) -> None:
    begun = trio.Event()
    release = threading.Event()

    def deaf() -> None:
        trio.from_thread.run_sync(begun.set)
        release.wait()

    group = RunGroup()
    execute, interrupt = thread_actor(deaf, nothing)
    if how == "grace":
        group.add(execute, interrupt, name="worker", grace=0.01)
    else:
        group.add(execute, interrupt, name="worker")
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(group.run)
            await begun.wait()
            if how == "grace":
                group.interrupt()
            else:
                nursery.cancel_scope.cancel()
        assert any(deaf.__qualname__ in thread.name for thread in threading.enumerate())
    finally:
        release.set()
        await thread_ends(deaf.__qualname__)
    if how == "grace":
        place = f"'worker' at {__file__}:{deaf.__code__.co_firstlineno + 2} in {deaf.__qualname__}"
        assert f"\n  {place} (in its thread)" in caplog.text
    [message] = [text for _, _, text in caplog.record_tuples if "is abandoned" in text]
    assert message == (
        f"actor 'worker' is cancelled; its thread, which runs {deaf.__qualname__}, is abandoned"
    )
    [record] = [record for record in caplog.records if record.getMessage() == message]
    assert (record.name, record.levelno) == ("trio_rungroup", logging.WARNING)


async def test_a_thread_that_raises_a_cancelled_of_its_own_is_not_called_abandoned(
    caplog: pytest.LogCaptureFixture,
) -> None:
    kept = list[trio.Cancelled]()
    with trio.CancelScope() as scope:
        scope.cancel()
        try:
            await trio.lowlevel.checkpoint()
        except trio.Cancelled as cancelled:
            kept.append(cancelled)
            raise

    def raise_it() -> None:
        raise kept[0]

    group = RunGroup()
    group.add(*thread_actor(raise_it, nothing))
    with pytest.raises(trio.Cancelled):
        await group.run()
    kept.clear()
    assert caplog.messages == []


async def test_of_a_name_without_end_a_warning_shows_the_beginning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    release = threading.Event()
    group = RunGroup()
    group.add(*thread_actor(release.wait, nothing), name="x" * 10_000, grace=0)
    group.add(trio.lowlevel.checkpoint)
    try:
        await group.run()
    finally:
        release.set()
        await thread_ends("Event.wait")
    assert [len(text) < 1000 for text in caplog.messages] == [True, True]


async def test_a_thread_is_not_begun_when_the_actor_is_cancelled_already(
    caplog: pytest.LogCaptureFixture,
) -> None:
    called: list[str] = []
    execute, interrupt = thread_actor(lambda: called.append("called"), nothing)
    with trio.CancelScope() as scope:
        scope.cancel()
        await execute()
    assert scope.cancelled_caught
    interrupt(None)
    assert called == []
    assert caplog.records == []


async def test_a_broken_log_handler_does_not_break_the_actor() -> None:
    class Broken(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise LookupError(record)

    broken = Broken()
    release = threading.Event()
    scope = trio.CancelScope()

    def deaf() -> None:
        trio.from_thread.run_sync(scope.cancel)
        release.wait()

    execute, _ = thread_actor(deaf, nothing)
    logging.getLogger("trio_rungroup").addHandler(broken)
    try:
        with scope:
            await execute()
        assert scope.cancelled_caught
    finally:
        logging.getLogger("trio_rungroup").removeHandler(broken)
        release.set()
        await thread_ends(deaf.__qualname__)


async def test_the_same_pair_runs_again() -> None:
    numbers = iter(range(2))
    execute, interrupt = thread_actor(functools.partial(next, numbers), nothing)
    assert [await execute(), await execute()] == [0, 1]
    interrupt(None)


def test_what_is_no_blocking_function_or_no_interrupt_is_refused() -> None:
    async def work() -> None: ...

    refuse: Callable[..., object] = thread_actor
    with pytest.raises(TypeError, match="an async one is added as it is"):
        refuse(work, nothing)
    for wrong in ("work", work()):  # the coroutine is closed
        with pytest.raises(TypeError, match="takes a blocking function"):
            refuse(wrong, nothing)
    with pytest.raises(TypeError, match=r"called without arguments.*functools.partial\(function"):
        refuse(lambda job: job, nothing)
    with pytest.raises(TypeError, match="a thread cannot be cancelled, only asked"):
        refuse(print, None)
    with pytest.raises(TypeError, match="a function of one argument"):
        refuse(print, "stop")
    with pytest.raises(TypeError, match="write `lambda error"):
        refuse(print, lambda: None)

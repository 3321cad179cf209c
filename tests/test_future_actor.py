"""future_actor: pools of threads and of processes, and whatever else is a future."""

from __future__ import annotations

import asyncio
import gc
import math
import multiprocessing
import operator
import signal
import subprocess
import sys
import threading
import types
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import (
    BrokenExecutor,
    CancelledError,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
)
from typing import Any

import pytest
import trio
from runs import raises

from trio_rungroup import RunGroup, _actors, future_actor


@pytest.fixture(scope="module")
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as pool:
        yield pool


@pytest.fixture(scope="module")
def processes() -> Iterator[ProcessPoolExecutor]:
    # Not forked: a fork of a process with threads may hang.
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as processes:
        yield processes


class Fetched(Future[object]):
    """A future of the standard library's class that fetches its result all the same."""

    def __init__(self) -> None:
        super().__init__()
        self.fetching: list[threading.Thread] = []

    def result(self, timeout: float | None = None) -> object:
        self.fetching.append(threading.current_thread())
        return super().result(timeout)


async def test_what_fetches_its_result_is_not_waited_for_in_the_trio_thread() -> None:
    future = Fetched()
    future.set_result("fetched")
    group = RunGroup()
    group.add(*future_actor(lambda: future))
    assert await group.run() == "fetched"
    assert threading.main_thread() not in future.fetching


async def test_a_future_that_cannot_tell_whether_it_is_cancelled_keeps_its_error() -> None:
    class Broken(Future[object]):
        def cancelled(self) -> bool:
            raise OSError("not there any more")

    future = Broken()
    execute, interrupt = future_actor(lambda: future, lambda _: None)
    with pytest.RaisesGroup(pytest.RaisesExc(ValueError, match="of the work")):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(execute)
            await trio.testing.wait_all_tasks_blocked()
            interrupt(None)
            future.set_exception(ValueError("of the work"))


class Remote:
    """A future whose result stays on another machine until somebody fetches it."""

    def __init__(self) -> None:
        self.future: Future[object] = Future()
        self.fetched = threading.Event()
        self.fetching: list[threading.Thread] = []

    def add_done_callback(self, callback: Callable[[Remote], object]) -> None:
        self.future.add_done_callback(lambda _: callback(self))

    def result(self) -> object:
        self.fetching.append(threading.current_thread())
        self.fetched.wait()
        return self.future.result()

    def cancel(self) -> None:
        self.fetched.set()
        self.future.cancel()

    def cancelled(self) -> bool:
        return self.future.cancelled()


async def test_the_value_of_the_future_is_the_value_of_the_actor(pool: ThreadPoolExecutor) -> None:
    value = object()
    execute, _ = future_actor(lambda: pool.submit(lambda: value))
    assert await execute() is value


async def test_the_error_of_the_future_comes_out_unchanged(pool: ThreadPoolExecutor) -> None:
    cause, context, error = KeyError("cause"), ValueError("context"), LookupError("error")

    fail = raises(error, cause=cause, context=context)
    group = RunGroup()
    group.add(*future_actor(lambda: pool.submit(fail)))
    with pytest.raises(LookupError) as caught:
        await group.run()
    assert caught.value is error
    assert error.__cause__ is cause
    assert error.__context__ is context


async def test_processes_give_values_and_errors_of_their_own_types(
    processes: ProcessPoolExecutor,
) -> None:
    execute, _ = future_actor(lambda: processes.submit(math.factorial, 5))
    assert await execute() == 120
    execute, _ = future_actor(lambda: processes.submit(operator.truediv, 1, 0))
    with pytest.raises(ZeroDivisionError, match="division by zero"):
        await execute()


async def test_a_process_that_dies_in_the_middle_is_an_error() -> None:
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as processes:
        group = RunGroup()
        group.add(*future_actor(lambda: processes.submit(signal.raise_signal, signal.SIGKILL)))
        with pytest.raises(BrokenExecutor):
            await group.run()


async def test_a_future_cancelled_by_its_interrupt_is_a_clean_return() -> None:
    future: Future[None] = Future()
    group = RunGroup()
    group.add(*future_actor(lambda: future))
    group.add(trio.lowlevel.checkpoint)
    assert await group.run() is None
    assert future.cancelled()
    assert group.record is not None
    assert [actor.how for actor in group.record.actors] == ["returned", "returned"]


async def test_a_future_cancelled_by_somebody_else_raises_its_own_error() -> None:
    future: Future[None] = Future()
    group = RunGroup()
    group.add(*future_actor(lambda: future))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.to_thread.run_sync, future.cancel)
        with pytest.raises(CancelledError):
            await group.run()


@pytest.mark.parametrize("error", [CancelledError(), asyncio.CancelledError()])
async def test_a_result_that_says_cancelled_counts_as_cancelled(error: BaseException) -> None:
    def cancel(_: BaseException | None) -> None:
        futures[-1].set_exception(error)

    def submit() -> Future[None]:
        futures.append(Future())
        return futures[-1]

    futures: list[Future[None]] = []
    execute, interrupt = future_actor(submit, cancel)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(execute)
        await trio.testing.wait_all_tasks_blocked()
        interrupt(None)
    with pytest.RaisesGroup(type(error)) as caught:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(execute)
            await trio.testing.wait_all_tasks_blocked()
            cancel(None)
    assert caught.value.exceptions[0] is error


async def test_a_cancelled_future_is_a_clean_return_whatever_its_result_raises() -> None:
    class Killed(Remote):
        def result(self) -> object:
            raise LookupError("the task was killed")

    execute, interrupt = future_actor(Killed)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(execute)
        await trio.testing.wait_all_tasks_blocked()
        interrupt(None)


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, GeneratorExit])
async def test_a_cancelled_future_does_not_hide_what_is_more_than_an_error(
    kind: type[BaseException],
) -> None:
    class Exits(Remote):
        def result(self) -> object:
            raise error

    error = kind()
    group = RunGroup()
    group.add(*future_actor(Exits))
    group.add(trio.lowlevel.checkpoint)
    with pytest.raises(kind) as caught:
        await group.run()
    assert caught.value is error


def ctrl_c_in(processes: ProcessPoolExecutor) -> BaseException:
    error = processes.submit(signal.raise_signal, signal.SIGINT).exception()
    assert isinstance(error, KeyboardInterrupt)
    return error


async def test_ctrl_c_that_has_ended_the_work_elsewhere_too_is_no_second_one(
    processes: ProcessPoolExecutor,
) -> None:
    # The terminal sends it to the processes of a pool as well as to us.
    error, future, stopped = ctrl_c_in(processes), Future[None](), trio.Event()

    async def wind_down() -> None:
        await stopped.wait()
        await trio.sleep(0.1)

    group = RunGroup()
    group.add(*future_actor(lambda: future, lambda _: future.set_exception(error)))
    group.add(wind_down, lambda _: stopped.set(), grace=60)
    group.add(trio.lowlevel.checkpoint)
    await group.run()
    assert group.record is not None
    assert [actor.how for actor in group.record.actors] == ["returned"] * 3


async def test_ctrl_c_in_the_work_before_the_interrupt_is_raised(
    processes: ProcessPoolExecutor,
) -> None:
    error, future = ctrl_c_in(processes), Future[None]()
    future.set_exception(error)
    group = RunGroup()
    group.add(*future_actor(lambda: future))
    with pytest.raises(KeyboardInterrupt) as caught:
        await group.run()
    assert caught.value is error


async def test_one_pair_is_not_two_actors() -> None:
    submitted: list[Future[object]] = []

    def submit() -> Future[object]:
        submitted.append(Future())
        return submitted[-1]

    pair = future_actor(submit)
    group = RunGroup()
    group.add(*pair)
    group.add(*pair)
    message = r"give each actor a pair of its own, group\.add\(\*future_actor\(\.\.\.\)\)"
    with pytest.raises(RuntimeError, match=message):
        await group.run()
    assert [future.cancelled() for future in submitted] == [True]


async def test_what_runs_already_is_stopped_by_an_interrupt_it_listens_to(
    pool: ThreadPoolExecutor,
) -> None:
    stop = threading.Event()
    calls: list[object] = []

    def interrupt(error: BaseException | None) -> None:
        calls.append(error)
        stop.set()

    group = RunGroup()
    group.add(*future_actor(lambda: pool.submit(stop.wait), interrupt))
    group.add(trio.lowlevel.checkpoint)
    await group.run()
    assert calls == [None]


async def test_the_interrupt_may_be_async(pool: ThreadPoolExecutor) -> None:
    stop = threading.Event()

    async def interrupt(_: BaseException | None) -> None:
        await trio.lowlevel.checkpoint()
        stop.set()

    group = RunGroup()
    group.add(*future_actor(lambda: pool.submit(stop.wait), interrupt))
    group.add(trio.lowlevel.checkpoint)
    await group.run()


async def test_an_error_after_the_interrupt_is_an_error(pool: ThreadPoolExecutor) -> None:
    stop = threading.Event()

    def work() -> None:
        stop.wait()
        raise LookupError("could not save")

    execute, interrupt = future_actor(lambda: pool.submit(work), lambda _: stop.set())
    with pytest.RaisesGroup(LookupError):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(execute)
            await trio.testing.wait_all_tasks_blocked()
            interrupt(None)


@pytest.mark.parametrize("how", ["grace", "outside"])
async def test_a_cancelled_actor_cancels_its_future_and_leaves_at_once(how: str) -> None:
    future: Future[None] = Future()
    group = RunGroup()
    execute, interrupt = future_actor(lambda: future, lambda _: None)
    if how == "grace":
        group.add(execute, interrupt, grace=0.01)
    else:
        group.add(execute, interrupt)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(group.run)
        await trio.testing.wait_all_tasks_blocked()
        if how == "grace":
            group.interrupt()
        else:
            nursery.cancel_scope.cancel()
    assert future.cancelled()


def test_a_future_that_is_done_after_the_trio_run_harms_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    future: Future[None] = Future()
    future.set_running_or_notify_cancel()  # so cancelling it is of no avail

    async def main() -> None:
        group = RunGroup()
        group.add(*future_actor(lambda: future))
        with trio.move_on_after(0.01):
            await group.run()

    trio.run(main)
    future.set_result(None)
    assert caplog.records == []  # where concurrent.futures tells of a callback that raised


async def test_an_interrupt_after_the_exit_is_harmless() -> None:
    future: Future[int] = Future()
    future.set_result(1)
    execute, interrupt = future_actor(lambda: future)
    assert await execute() == 1
    interrupt(None)
    assert future.result() == 1


async def test_the_same_pair_runs_again(pool: ThreadPoolExecutor) -> None:
    stop = threading.Event()
    execute, interrupt = future_actor(lambda: pool.submit(stop.wait), lambda _: stop.set())
    for _ in range(2):
        group = RunGroup()
        group.add(execute, interrupt)
        group.add(trio.lowlevel.checkpoint)
        await group.run()
        stop.clear()
    # What the interrupts of those runs have said is forgotten.
    execute, interrupt = future_actor(Future[None])
    interrupt(None)
    with pytest.raises(trio.TooSlowError), trio.fail_after(0.01):
        await execute()


async def test_a_thousand_at_once_take_no_threads_but_those_of_the_pool(
    pool: ThreadPoolExecutor,
) -> None:
    futures: list[Future[None]] = []
    all_submitted = threading.Event()
    threads: list[int] = []

    def work() -> None:
        all_submitted.wait()
        threads.append(threading.active_count())

    def submit() -> Future[None]:
        futures.append(pool.submit(work))
        if len(futures) == 1000:
            all_submitted.set()
        return futures[-1]

    before = threading.active_count()
    group = RunGroup()
    for _ in range(1000):
        group.add(*future_actor(submit), ends_group=False)
    await group.run()
    assert len(threads) == 1000
    assert max(threads) <= before + 2


async def test_what_may_block_is_fetched_in_a_thread_of_its_own() -> None:
    remote = Remote()
    execute, _ = future_actor(lambda: remote)

    async def finish() -> None:
        remote.future.set_result("value")
        remote.fetched.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(finish)
        assert await execute() == "value"
    assert remote.fetching != [threading.current_thread()]


async def test_a_fetch_that_blocks_is_abandoned_when_the_actor_is_cancelled(
    caplog: pytest.LogCaptureFixture,
) -> None:
    remote = Remote()
    remote.future.set_result("value")
    execute, _ = future_actor(lambda: remote)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(execute, name="job")
        while not remote.fetching:
            await trio.sleep(0.001)
        nursery.cancel_scope.cancel()
    assert remote.fetched.is_set()  # so it was cancelled, and the thread has an end
    assert [text for _, _, text in caplog.record_tuples] == [
        "actor 'job' is cancelled; its thread, which runs result() of its future, is abandoned"
    ]


async def test_what_submit_raises_is_the_exit_of_the_actor() -> None:
    error = LookupError("no such queue")

    def submit() -> Future[None]:
        raise error

    execute, interrupt = future_actor(submit)
    with pytest.raises(LookupError) as caught:
        await execute()
    assert caught.value is error
    interrupt(None)


async def test_a_stop_iteration_that_submit_raises_is_an_error() -> None:
    execute, _ = future_actor(lambda: next(iter(())))
    with pytest.raises(RuntimeError) as caught:  # as from any coroutine
        await execute()
    assert isinstance(caught.value.__cause__, StopIteration)


def test_ctrl_c_ends_a_submit_that_blocks() -> None:
    def submit() -> Future[None]:
        signal.raise_signal(signal.SIGINT)
        raise AssertionError("it goes on")

    group = RunGroup()
    group.add(*future_actor(submit))
    with pytest.raises(KeyboardInterrupt) as caught:
        trio.run(group.run)
    assert group.record is not None
    assert group.record.actors[0].error is caught.value


def test_ctrl_c_right_after_submit_does_not_lose_the_future() -> None:
    future: Future[None] = Future()

    def strike(frame: types.FrameType, event: str, _: object) -> None:  # pragma: no cover
        if event == "return" and frame.f_code is _actors._look_up_unprotected.__code__:
            sys.setprofile(None)
            signal.raise_signal(signal.SIGINT)

    group = RunGroup()
    group.add(*future_actor(lambda: future))
    sys.setprofile(strike)
    try:
        with pytest.raises(KeyboardInterrupt):
            trio.run(group.run)
    finally:
        sys.setprofile(None)
    assert future.cancelled()


async def test_nothing_is_submitted_where_the_actor_is_cancelled_before_it_has_begun() -> None:
    def submit() -> Future[None]:
        raise AssertionError("submitted")

    execute, _ = future_actor(submit)
    with trio.CancelScope() as scope:
        scope.cancel()
        await execute()
    assert scope.cancelled_caught


async def test_a_future_that_refuses_the_callback_is_cancelled() -> None:
    error = RuntimeError("the client is closed")

    class Refusing(Remote):
        def add_done_callback(self, callback: Callable[[Remote], object]) -> None:
            raise error

    remote = Refusing()
    execute, _ = future_actor(lambda: remote)
    with pytest.raises(RuntimeError) as caught:
        await execute()
    assert caught.value is error
    assert remote.cancelled()


async def test_a_future_that_cannot_be_cancelled_is_given_up_with_a_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Refusing(Remote):  # as Parsl's
        def cancel(self) -> None:
            raise NotImplementedError("Cancel not implemented")

    execute, _ = future_actor(Refusing)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(execute, name="job")
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    [message] = [text for _, _, text in caplog.record_tuples]
    assert message == (
        "actor 'job' gives up its future, which cannot be cancelled: "
        "NotImplementedError: Cancel not implemented"
    )


def test_the_package_imports_no_engine_and_no_test_helper() -> None:
    program = """
import array, sys, trio  # array: of the standard library
before = set(sys.modules)
from trio_rungroup import *
assert "future_actor" in globals() and "testing" not in globals()
print(*sorted({name.partition(".")[0] for name in set(sys.modules) - before}))
"""
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert run.stdout.split() == ["trio_rungroup"]


async def test_an_error_is_free_as_soon_as_it_is_handled() -> None:
    class JobError(Exception): ...

    def submit() -> Future[None]:
        future: Future[None] = Future()
        future.set_exception(JobError())
        return future

    gc.collect()
    gc.disable()
    try:
        execute, _ = future_actor(submit)
        alive: weakref.ref[JobError] | None = None
        try:
            await execute()
        except JobError as error:
            alive = weakref.ref(error)
        assert alive is not None
        assert alive() is None
    finally:
        gc.enable()


async def test_what_is_no_future_is_refused() -> None:
    async def submit() -> None: ...

    refuse: Callable[..., tuple[Any, Any]] = future_actor
    with pytest.raises(TypeError, match=r"hands back a future, .* not coroutine"):
        await refuse(submit)[0]()
    with pytest.raises(TypeError, match=r"hands back a future, .* not NoneType"):
        await refuse(lambda: None)[0]()
    loop = asyncio.new_event_loop()
    with pytest.raises(TypeError, match=r"an asyncio future.*asyncio\.run_coroutine_threadsafe\("):
        await refuse(loop.create_future)[0]()
    loop.close()
    for wrong in (Future[None](), submit()):  # the coroutine is closed
        with pytest.raises(TypeError, match="takes a function that submits the work"):
            refuse(wrong)
    with pytest.raises(TypeError, match=r"called without arguments.*functools.partial\(function"):
        refuse(lambda job: job)
    with pytest.raises(TypeError, match="write `lambda error"):
        refuse(submit, lambda: None)

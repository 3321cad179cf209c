"""Groups in unusual surroundings: other loops, threads, other libraries, crowds, no collector."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import gc
import itertools
import logging
import math
import os
import signal
import subprocess
import sys
import threading
import weakref
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeAlias, TypeVar

import anyio
import anyio.abc
import anyio.from_thread
import anyio.to_thread
import greenback
import pytest
import trio
import trio.testing
from runs import needs_trio_asyncio, once_is_enough

from trio_rungroup import RunGroup, _group

T = TypeVar("T")
MOMENT = 0.01  # seconds


class Scene:
    """A group of three: one stops in order and in its time, one is cancelled, one may fail."""

    def __init__(self, *, fails: bool = True) -> None:
        self.error = LookupError("first")
        self.log: list[str] = []
        self.told = trio.Event()
        self.group = RunGroup(grace=60)
        self.group.add(self.serve, self.tell, grace=30)
        self.group.add(self.wait)
        if fails:
            self.group.add(self.fail)

    async def serve(self) -> None:
        await self.told.wait()
        await trio.sleep(MOMENT)
        self.log.append("has stopped in order")

    def tell(self, error: BaseException | None) -> None:
        self.log.append(f"is told of {type(error).__name__}")
        self.told.set()

    async def wait(self) -> None:
        try:
            await trio.sleep_forever()
        finally:
            self.log.append("is cancelled")

    async def fail(self) -> None:
        await trio.sleep(MOMENT)
        raise self.error

    def came_down_in_order(self, cause: str) -> bool:
        # Cancelled from outside, the first two come in the same tick, in either order.
        assert sorted(self.log[:2]) == ["is cancelled", f"is told of {cause}"]
        assert self.log[2:] == ["has stopped in order"]
        return "not running" in repr(self.group)


async def error_of(group: RunGroup) -> BaseException:
    try:
        await group.run()
    except BaseException as error:
        return error
    raise AssertionError("run() has returned")


def ignore(error: BaseException | None) -> None:
    """An interrupt that does not interrupt."""


def run_program(program: str, *options: str) -> str:
    """Run a program that must say nothing on standard error; hand back what it printed."""
    # What starts in the process for coverage's sake is none of the program's business.
    environment = {key: value for key, value in os.environ.items() if "COVERAGE" not in key}
    process = subprocess.run(
        [sys.executable, *options, "-c", program],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,  # one that hangs fails
    )
    assert process.stderr == ""
    assert process.returncode == 0
    return process.stdout


# ---- trio as a guest of asyncio ----


def start_as_guest(main: Callable[[], Awaitable[object]]) -> asyncio.Future[Any]:
    loop = asyncio.get_running_loop()
    done = loop.create_future()
    trio.lowlevel.start_guest_run(
        main,
        run_sync_soon_threadsafe=loop.call_soon_threadsafe,
        run_sync_soon_not_threadsafe=loop.call_soon,
        done_callback=done.set_result,
    )
    return done


async def as_guest(main: Callable[[], Awaitable[object]]) -> object:
    return (await start_as_guest(main)).unwrap()


def test_in_guest_mode_the_first_error_comes_out_and_the_others_stop_in_order() -> None:
    scene = Scene()
    assert asyncio.run(as_guest(functools.partial(error_of, scene.group))) is scene.error
    assert scene.came_down_in_order("LookupError")


def test_in_guest_mode_a_timeout_around_run_stops_in_order() -> None:
    scene = Scene(fails=False)

    async def main() -> bool:
        with trio.move_on_after(MOMENT) as scope:
            await scene.group.run()
        return scope.cancelled_caught

    assert asyncio.run(as_guest(main))
    assert scene.came_down_in_order("Cancelled")


async def have_asyncio_struck() -> None:
    """Send Ctrl-C while asyncio, and no task of trio's, is running."""
    await trio.testing.wait_all_tasks_blocked()
    asyncio.get_running_loop().call_soon(signal.raise_signal, signal.SIGINT)
    await trio.sleep_forever()


def test_in_guest_mode_ctrl_c_stops_in_order_and_leaves_nothing() -> None:
    scene = Scene(fails=False)
    scene.group.add(have_asyncio_struck)

    async def host() -> None:
        await as_guest(scene.group.run)
        raise AssertionError("Ctrl-C was swallowed")

    # Not asyncio.run(), which would take Ctrl-C for itself; then trio leaves it alone.
    loop = asyncio.new_event_loop()
    try:
        with pytest.raises(KeyboardInterrupt) as caught:
            loop.run_until_complete(host())
        assert asyncio.all_tasks(loop) == set()
    finally:
        loop.close()
    assert caught.value.__context__ is None
    assert scene.came_down_in_order("KeyboardInterrupt")


def test_in_guest_mode_a_ctrl_c_that_asyncio_takes_can_be_handed_on_as_a_cancellation() -> None:
    scene, scope = Scene(fails=False), trio.CancelScope()
    scene.group.add(have_asyncio_struck)

    async def main() -> None:
        with scope:
            await scene.group.run()

    async def host() -> None:
        done = start_as_guest(main)
        try:
            await asyncio.shield(done)
        except asyncio.CancelledError:
            scope.cancel(reason="Ctrl-C")
            (await done).unwrap()
            raise

    with pytest.raises(KeyboardInterrupt):
        asyncio.run(host())
    assert scope.cancelled_caught
    assert scene.came_down_in_order("Cancelled")


def test_in_guest_mode_a_task_of_asyncio_can_be_an_actor() -> None:
    log: list[str] = []

    async def count() -> str:
        try:
            await asyncio.Event().wait()
        finally:
            log.append("asyncio's task is cancelled")
        raise AssertionError("nobody sets that event")

    async def answer() -> str:
        await asyncio.sleep(MOMENT)
        return "answer"

    async def main() -> object:
        group = RunGroup(grace=60)
        for function in (count, answer):
            task, done = asyncio.ensure_future(function()), trio.Event()
            task.add_done_callback(lambda _, done=done: done.set())  # type: ignore[misc]

            async def execute(
                task: asyncio.Future[str] = task, done: trio.Event = done
            ) -> str | None:
                await done.wait()
                return None if task.cancelled() else task.result()

            def interrupt(error: BaseException | None, task: asyncio.Future[str] = task) -> None:
                task.cancel()

            group.add(execute, interrupt, grace=30)
        return await group.run()

    assert asyncio.run(as_guest(main)) == "answer"
    assert log == ["asyncio's task is cancelled"]


# ---- nurseries that do not wrap a lone exception ----


OpenNursery: TypeAlias = Callable[[], Any]


@pytest.fixture(params=["whole run", "one nursery"])
def run_loosely(request: pytest.FixtureRequest) -> Callable[[Callable[[OpenNursery], Any]], Any]:
    """Run a main function that is given a way to open a nursery."""

    def run(main: Callable[[OpenNursery], Any]) -> Any:
        # Deprecated, and says so.
        with pytest.warns(trio.TrioDeprecationWarning, match="strict_exception_groups"):
            if request.param == "whole run":
                return trio.run(main, trio.open_nursery, strict_exception_groups=False)
            loose = functools.partial(trio.open_nursery, strict_exception_groups=False)
            return trio.run(main, loose)

    return run


@pytest.mark.parametrize("interrupt", [None, ignore], ids=["default", "own"])
def test_with_loose_nurseries_the_first_error_comes_out_as_itself(
    run_loosely: Any, interrupt: Callable[[BaseException | None], object] | None
) -> None:
    scene = Scene()

    async def main(open_nursery: OpenNursery) -> None:
        async def fail_in_a_nursery() -> None:
            async with open_nursery() as nursery:
                nursery.start_soon(trio.sleep_forever)
                await scene.fail()

        outer, inner = RunGroup(), RunGroup()
        inner.add(fail_in_a_nursery, interrupt)
        outer.add(inner.run, inner.interrupt)
        outer.add(trio.sleep_forever)
        assert await error_of(outer) is scene.error

    run_loosely(main)
    assert len(scene.error.__notes__) == 2
    assert scene.error.__context__ is None


def test_with_loose_nurseries_a_group_of_errors_comes_out_as_it_is(run_loosely: Any) -> None:
    async def main(open_nursery: OpenNursery) -> None:
        raised: list[BaseException] = []

        async def wait_and_fail() -> None:
            try:
                await trio.sleep_forever()
            finally:
                raise OSError

        async def fail_twice() -> None:
            try:
                async with open_nursery() as nursery:
                    nursery.start_soon(wait_and_fail)
                    await trio.sleep(MOMENT)
                    raise LookupError
            except BaseException as error:
                raised.append(error)
                raise

        group = RunGroup()
        group.add(fail_twice)
        group.add(trio.sleep_forever)
        with pytest.RaisesGroup(LookupError, OSError) as caught:
            await group.run()
        assert [caught.value] == raised

    run_loosely(main)


def test_with_loose_nurseries_a_cancellation_from_outside_stops_in_order(
    run_loosely: Any,
) -> None:
    scene = Scene(fails=False)

    async def main(open_nursery: OpenNursery) -> bool:
        async def wait_in_a_nursery() -> None:
            async with open_nursery() as nursery:
                nursery.start_soon(trio.sleep_forever)
                await trio.sleep_forever()

        scene.group.add(wait_in_a_nursery)
        with trio.move_on_after(MOMENT) as scope:
            async with open_nursery() as nursery:
                nursery.start_soon(scene.group.run)
        return scope.cancelled_caught

    assert run_loosely(main)
    assert scene.came_down_in_order("Cancelled")


@pytest.mark.parametrize("interrupt", [None, ignore], ids=["default", "own"])
def test_with_loose_nurseries_an_error_under_a_cancellation_loses_the_cancelled_beside_it(
    run_loosely: Any, interrupt: Callable[[BaseException | None], object] | None
) -> None:
    error = OSError("clean-up")

    async def main(open_nursery: OpenNursery) -> None:
        async def fail_to_clean_up() -> None:
            try:
                await trio.sleep_forever()
            finally:
                raise error

        async def wait_in_a_nursery() -> None:
            async with open_nursery() as nursery:
                nursery.start_soon(fail_to_clean_up)
                await trio.sleep_forever()

        group = RunGroup()
        group.add(wait_in_a_nursery, interrupt)
        with trio.move_on_after(MOMENT), pytest.RaisesGroup(OSError) as caught:
            await group.run()
        assert caught.value.exceptions == (error,)

    run_loosely(main)


# ---- anyio ----


def run_with_anyio(main: Callable[[], Awaitable[T]]) -> T:
    return anyio.run(main, backend="trio")


def test_in_a_task_group_of_anyio_a_timeout_of_anyio_stops_in_order() -> None:
    scene = Scene(fails=False)

    async def main() -> bool:
        with anyio.move_on_after(MOMENT) as scope:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(scene.group.run)
        return scope.cancelled_caught

    assert run_with_anyio(main)
    assert scene.came_down_in_order("Cancelled")


def test_in_a_task_group_of_anyio_the_first_error_stops_the_other_tasks_too() -> None:
    scene, other = Scene(), Scene(fails=False)

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(scene.group.run)
            tasks.start_soon(other.group.run)

    with pytest.RaisesGroup(LookupError) as caught:
        run_with_anyio(main)
    assert caught.value.exceptions == (scene.error,)
    assert scene.came_down_in_order("LookupError")
    assert other.came_down_in_order("Cancelled")


def test_a_task_group_of_anyio_can_start_a_group_and_learn_what_it_reports() -> None:
    scene = Scene(fails=False)

    async def report(*, task_status: anyio.abc.TaskStatus[int]) -> None:
        task_status.started(8080)
        await anyio.sleep_forever()

    scene.group.add(report, name="port", reports_started=True)

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            assert await tasks.start(scene.group.run) == {"port": 8080}
            scene.group.interrupt()

    run_with_anyio(main)
    assert scene.came_down_in_order("NoneType")


def test_cancel_scopes_of_anyio_serve_inside_actors_and_as_interrupts() -> None:
    log: list[str] = []

    async def main() -> None:
        scope = anyio.CancelScope()

        async def until_cancelled() -> None:
            with scope:
                try:
                    await anyio.sleep_forever()
                finally:
                    with anyio.CancelScope(shield=True):
                        await anyio.sleep(MOMENT)
                        log.append("cleaned up")
            log.append("left its own scope")

        async def too_slow() -> None:
            with anyio.move_on_after(MOMENT) as inner:
                await anyio.sleep_forever()
            assert inner.cancelled_caught
            with anyio.fail_after(MOMENT):
                await anyio.sleep_forever()

        group = RunGroup(grace=60)
        group.add(until_cancelled, lambda error: scope.cancel(), grace=30)
        group.add(too_slow)
        with pytest.raises(TimeoutError):
            await group.run()

    run_with_anyio(main)
    assert log == ["cleaned up", "left its own scope"]


@pytest.mark.parametrize("own_interrupt", [True, False])
def test_a_thread_of_anyio_is_waited_for_and_may_stop_the_group(own_interrupt: bool) -> None:
    log: list[str] = []

    async def main() -> object:
        group, told = RunGroup(), threading.Event()

        def work_until_told() -> None:
            anyio.from_thread.run_sync(group.interrupt)
            told.wait(60 if own_interrupt else MOMENT)
            log.append("told" if told.is_set() else "done")

        def interrupt(error: BaseException | None) -> None:
            told.set()

        work = functools.partial(anyio.to_thread.run_sync, work_until_told)
        group.add(work, interrupt if own_interrupt else None)
        group.add(anyio.sleep_forever)
        return await group.run()

    assert run_with_anyio(main) is None
    assert log == ["told" if own_interrupt else "done"]


def test_what_a_thread_of_anyio_returns_is_what_run_returns() -> None:
    async def main() -> object:
        group = RunGroup()
        group.add(functools.partial(anyio.to_thread.run_sync, threading.get_ident))
        group.add(anyio.sleep_forever)
        return await group.run()

    assert run_with_anyio(main) not in (None, threading.get_ident())


# ---- trio-asyncio ----

# A program, not a function: importing trio_asyncio puts another event loop policy in place for
# the whole process.
IN_A_LOOP_OF_TRIO_ASYNCIO = """
import asyncio

import trio
import trio_asyncio
from trio_rungroup import RunGroup

error = LookupError("first")


async def one_run(end):
    waiting, told, cancelled = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def serve_in_asyncio():
        await told.wait()
        await cancelled.wait()
        print("stopped in order")

    async def wait_in_asyncio():
        try:
            waiting.set()
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            print("cancelled")
            cancelled.set()
            raise

    async def end_in_asyncio():
        await waiting.wait()
        end()
        await asyncio.Event().wait()

    group = RunGroup(grace=60)
    group.add(trio_asyncio.aio_as_trio(serve_in_asyncio), lambda error: told.set(), grace=30)
    group.add(trio_asyncio.aio_as_trio(wait_in_asyncio))
    group.add(trio_asyncio.aio_as_trio(end_in_asyncio))
    await group.run()


def fail():
    raise error


async def main():
    async with trio_asyncio.open_loop():
        try:
            await one_run(fail)
        except LookupError as raised:
            print(raised is error, len(raised.__notes__))
        with trio.CancelScope() as scope:
            await one_run(scope.cancel)
        print(scope.cancelled_caught)


trio.run(main)
"""


RUN_IN_ASYNCIO_CODE = """
import trio
import trio_asyncio
from trio_rungroup import RunGroup

group = RunGroup()


@group.add
async def answer():
    await trio.sleep(0.01)
    return 42


async def main_in_asyncio():
    try:
        await group.run()
    except RuntimeError as error:
        print(error)
    print(await trio_asyncio.trio_as_aio(group.run)())


async def main():
    async with trio_asyncio.open_loop():
        await trio_asyncio.aio_as_trio(main_in_asyncio)()
        print(await group.run())


trio.run(main)
"""


@needs_trio_asyncio
def test_to_await_run_in_asyncio_code_in_a_loop_of_trio_asyncio_is_refused() -> None:
    refusal, *answers = run_program(RUN_IN_ASYNCIO_CODE).splitlines()
    assert refusal.startswith("run() has to be awaited in trio: ")
    assert refusal.endswith("trio_asyncio.trio_as_aio(group.run)() can be awaited")
    assert answers == ["42", "42"]


@needs_trio_asyncio
def test_in_a_loop_of_trio_asyncio_functions_of_asyncio_are_actors() -> None:
    assert run_program(IN_A_LOOP_OF_TRIO_ASYNCIO).splitlines() == [
        "cancelled",
        "stopped in order",
        "True 1",
        "cancelled",
        "stopped in order",
        "True",
    ]


# ---- greenback ----


@pytest.mark.parametrize("is_renamed", [False, True])
@pytest.mark.parametrize(
    ("grace", "graces", "told"),
    [
        (math.inf, math.inf, "the stop has been waiting for 10 s for"),
        (5, math.inf, "cancelled because the grace has ended"),
        (math.inf, 5, "cancelled because the grace has ended"),
    ],
)
async def test_an_actor_with_a_portal_of_greenback_is_named_and_its_grace_ended(
    autojump_clock: trio.testing.MockClock,
    grace: float,
    graces: float,
    told: str,
    is_renamed: bool,
    caplog: pytest.LogCaptureFixture,
) -> None:
    # It puts a coroutine of its own in the place of the task's.
    group, stopping = RunGroup(grace=graces), trio.Event()

    async def first() -> str:
        await trio.sleep(1)
        return "value"

    async def portal() -> None:
        await greenback.ensure_portal()
        if is_renamed:
            trio.lowlevel.current_task().name = "renamed"
        await trio.lowlevel.checkpoint()  # from here on it is there
        greenback.await_(trio.sleep(12.5))

    async def in_order() -> None:
        await stopping.wait()
        await trio.sleep(4)

    group.add(first)
    group.add(portal, lambda _: None, name="portal", grace=grace)
    group.add(in_order, lambda _: stopping.set(), name="in order")
    assert await group.run() == "value"
    record = group.record
    assert record is not None
    ends = 12.5 if grace == graces else 6
    assert [actor.exited for actor in record.actors] == [1, ends, 5]
    (message,) = caplog.messages
    assert message.startswith(f"{told}:\n  'portal' at ")
    assert message.endswith(" at an unknown place" if is_renamed else " in _greenback_shim")


async def test_a_group_in_an_actor_with_a_portal_of_greenback_sees_that_its_grace_is_over(
    autojump_clock: trio.testing.MockClock,
) -> None:
    outer, inner = RunGroup(), RunGroup()

    async def clean_up() -> None:
        await greenback.ensure_portal()
        await trio.lowlevel.checkpoint()
        try:
            await trio.sleep_forever()
        finally:
            inner.add(trio.sleep_forever, lambda _: None, grace=20)
            await inner.run()

    outer.add(functools.partial(trio.sleep, 1))
    outer.add(clean_up, lambda _: None, grace=5)
    await outer.run()
    assert inner.record is not None
    assert inner.record.ended == 0


# ---- a profiler ----


async def test_graces_end_where_every_function_of_ours_has_been_wrapped(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As line_profiler's add_module() does it: all tasks run the wrapper then.
    def wrap(function: Callable[..., Awaitable[object]]) -> Callable[..., Awaitable[object]]:
        @functools.wraps(function)
        async def wrapper(*arguments: Any, **options: Any) -> object:
            return await function(*arguments, **options)

        return wrapper

    monkeypatch.setattr(_group.Run, "run_actor", wrap(_group.Run.run_actor))
    group = RunGroup()
    group.add(functools.partial(trio.sleep, 100), ignore, grace=2)  # not for ever: rather fail
    group.add(functools.partial(trio.sleep, 100), ignore, grace=3)
    group.add(functools.partial(trio.sleep, 1))
    await group.run()
    assert group.record is not None
    assert [actor.exited for actor in group.record.actors] == [3, 4, 1]


# ---- python -X dev -W error ----

ALL_KINDS_OF_STOPS = """
import functools
import logging
import math
import signal
import time

import trio
import trio.testing
from trio_rungroup import RunGroup, SignalReceived, process_actor, signal_actor, thread_actor

logging.getLogger("trio_rungroup").addHandler(logging.NullHandler())


async def end(value=None, *, error=None, after=0.01):
    await trio.sleep(after)
    if error is not None:
        raise error
    return value


def ignore(error):
    pass


def fail(error):
    raise OSError("interrupt")


async def pause(error):
    await trio.sleep(0.01)


async def late():
    try:
        await trio.sleep_forever()
    finally:
        raise OSError("late")


async def report(*, task_status):
    task_status.started(1)
    await trio.sleep_forever()


async def run(*pairs, grace=math.inf, timeout=math.inf, raises=(), **options):
    group = RunGroup(grace=grace)
    for pair in pairs:
        group.add(*(pair if isinstance(pair, tuple) else (pair,)), **options)
    with trio.move_on_after(timeout):
        try:
            await group.run()
        except raises:
            return
        assert not raises


async def main():
    forever, error = trio.sleep_forever, functools.partial(end, error=LookupError())
    nested = RunGroup(grace=1)
    nested.add(end, ignore)
    nested.add(forever, pause, grace=0.01)
    await run()
    await run(end, forever)
    await run(end, end, ends_group=False)
    await run(error, forever, late, raises=LookupError)
    await run(end, (forever, ignore), (forever, pause), grace=0.01)
    await run(error, (forever, fail), raises=LookupError)
    await run(forever, (forever, ignore), (forever, pause), grace=0.01, timeout=0.01)
    await run(forever, late, timeout=0.01, raises=OSError)
    await run((nested.run, nested.interrupt), (forever, ignore), grace=1)
    await run(functools.partial(end, error=SystemExit(1)), forever, late, raises=SystemExit)
    await run(functools.partial(end, error=KeyboardInterrupt()), raises=KeyboardInterrupt)
    await run(thread_actor(functools.partial(time.sleep, 0.01), ignore), forever)
    await run(end, process_actor(["sleep", "60"]))
    await run(end, process_actor(["sleep", "60"]), grace=0)
    started = RunGroup()
    started.add(report, reports_started=True)
    async with trio.open_nursery() as nursery:
        await nursery.start(started.run)
        started.interrupt(OSError())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(functools.partial(run, forever, signal_actor(), raises=SignalReceived))
        await trio.testing.wait_all_tasks_blocked()
        signal.raise_signal(signal.SIGINT)


async def ctrl_c():
    group = RunGroup(grace=1)
    group.add(forever := trio.sleep_forever, ignore, grace=0.01)
    group.add(forever)
    group.add(struck)
    await group.run()


async def struck():
    await trio.sleep(0.01)
    signal.raise_signal(signal.SIGINT)


trio.run(main)
try:
    trio.run(ctrl_c)
except KeyboardInterrupt:
    print("over")
"""


def test_in_development_mode_with_warnings_as_errors_no_kind_of_stop_says_a_word() -> None:
    assert run_program(ALL_KINDS_OF_STOPS, "-X", "dev", "-W", "error") == "over\n"


# ---- crowds ----

A_HUNDRED_THOUSAND = """
import trio
from trio_rungroup import RunGroup

cancelled = 0


async def wait():
    global cancelled
    try:
        await trio.sleep_forever()
    except trio.Cancelled:
        cancelled += 1
        raise


async def answer():
    await trio.lowlevel.checkpoint()
    return "answer"


async def main():
    group = RunGroup()
    for _ in range(99_999):
        group.add(wait)
    group.add(answer)
    print(await group.run(), cancelled, group.record.first.name)
    print(all(actor.exited >= actor.interrupted for actor in group.record.actors[:-1]))


trio.run(main)
"""


@once_is_enough
def test_a_hundred_thousand_actors_are_cancelled_and_awaited() -> None:
    # A program of its own: it needs 400 MB, and would be traced here.
    assert run_program(A_HUNDRED_THOUSAND).splitlines() == ["answer 99999 answer", "True"]


async def test_ten_thousand_actors_stop_in_order(
    autojump_clock: trio.testing.MockClock,
) -> None:
    group, error = RunGroup(), LookupError("first")
    interrupted: list[int] = []
    ended: list[int] = []

    def add(number: int) -> None:
        told = trio.Event()

        async def execute() -> None:
            await told.wait()
            await trio.sleep(1)
            ended.append(number)

        def interrupt(reason: BaseException | None) -> None:
            assert reason is error
            interrupted.append(number)
            told.set()

        group.add(execute, interrupt, grace=10)

    async def fail() -> None:
        await trio.sleep(1)
        raise error

    for number in range(10_000):
        add(number)
    group.add(fail)
    assert await error_of(group) is error
    assert interrupted == list(range(10_000))
    assert sorted(ended) == interrupted
    assert trio.current_time() == 2


async def test_two_thousand_graces_end_and_are_told_at_once(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    group = RunGroup()
    for _ in range(2_000):
        group.add(trio.sleep_forever, ignore, grace=5)
    group.add(functools.partial(trio.sleep, 1))
    await group.run()
    assert trio.current_time() == 6
    (told,) = caplog.records
    assert told.levelno == logging.WARNING
    assert group.record is not None
    assert [actor.how for actor in group.record.actors[:-1]] == ["cancelled"] * 2_000


def six_hundred(
    innermost: Callable[[], Awaitable[object]], *, pairs: bool, **options: Any
) -> list[RunGroup]:
    groups = [RunGroup() for _ in range(600)]
    for outer, inner in itertools.pairwise(groups):
        if pairs:
            outer.add(inner.run, inner.interrupt, **options)
        else:
            outer.add(inner.run)
    groups[-1].add(innermost)
    return groups


@pytest.mark.parametrize("options", [{}, {"grace": 60}])
@pytest.mark.parametrize("pairs", [False, True])
async def test_six_hundred_nested_groups_come_down_when_the_outermost_is_interrupted(
    pairs: bool, options: dict[str, Any]
) -> None:
    groups = six_hundred(trio.sleep_forever, pairs=pairs, **options)
    async with trio.open_nursery() as nursery:
        await nursery.start(groups[0].run)
        await trio.testing.wait_all_tasks_blocked()
        groups[0].interrupt()
    assert {repr(group) for group in groups} == {"<RunGroup of 1 actor, not running>"}


async def test_six_hundred_nested_groups_with_graces_stop_in_order_when_cancelled() -> None:
    scene = Scene(fails=False)
    groups = six_hundred(scene.group.run, pairs=True, grace=60)
    groups[-1] = scene.group
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(groups[0].run)
            await trio.testing.wait_all_tasks_blocked()
            scope.cancel(reason="test")
    assert scope.cancelled_caught
    # The innermost of the 600 has no interrupt for the scene, which is cancelled in its turn.
    assert scene.came_down_in_order("Cancelled")


@pytest.mark.parametrize("pairs", [False, True])
async def test_an_error_of_the_innermost_of_six_hundred_goes_before_the_cancellation(
    pairs: bool,
) -> None:
    error = LookupError("clean-up")

    async def fail_to_clean_up() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise error

    groups = six_hundred(fail_to_clean_up, pairs=pairs)
    with trio.CancelScope() as scope, pytest.RaisesGroup(LookupError) as caught:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(groups[0].run)
            await trio.testing.wait_all_tasks_blocked()
            scope.cancel(reason="test")
    assert caught.value.exceptions == (error,)


async def test_a_later_error_of_the_innermost_of_six_hundred_is_told_and_the_first_raised(
    caplog: pytest.LogCaptureFixture,
) -> None:
    error, told = LookupError("first"), trio.Event()

    async def fail() -> None:
        await trio.lowlevel.checkpoint()
        raise error

    async def fail_when_told() -> None:
        await told.wait()
        raise OSError

    groups = six_hundred(fail, pairs=True)
    groups[-1].add(fail_when_told, lambda reason: told.set())
    assert await error_of(groups[0]) is error
    assert [record.levelno for record in caplog.records] == [logging.ERROR]


async def test_a_thousand_groups_do_not_notice_a_broken_one_among_them(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    error = LookupError("broken")

    def fail(reason: BaseException | None) -> None:
        raise OSError

    async def fail_at_once() -> None:
        raise error

    async def end(number: int) -> int:
        await trio.sleep(number % 7)
        return number

    outcomes: dict[int, object] = {}

    async def run(number: int) -> None:
        group = RunGroup(grace=1)
        group.add(trio.sleep_forever, fail if number == 500 else ignore)
        group.add(trio.sleep_forever)
        group.add(fail_at_once if number == 500 else functools.partial(end, number))
        try:
            outcomes[number] = await group.run()
        except LookupError as raised:
            outcomes[number] = raised

    async with trio.open_nursery() as nursery:
        for number in range(1_000):
            nursery.start_soon(run, number)
    assert outcomes == {number: number for number in range(1_000)} | {500: error}
    assert trio.current_time() == 7
    assert [record.levelno for record in caplog.records].count(logging.ERROR) == 1


async def test_a_broken_one_of_a_thousand_groups_brings_the_others_down_in_order() -> None:
    broken, others = Scene(), [Scene(fails=False) for _ in range(999)]
    with pytest.RaisesGroup(LookupError) as caught:
        async with trio.open_nursery() as nursery:
            for scene in [broken, *others]:
                nursery.start_soon(scene.group.run)
    assert caught.value.exceptions == (broken.error,)
    assert broken.came_down_in_order("LookupError")
    assert all(scene.came_down_in_order("Cancelled") for scene in others)


# ---- Ctrl-C far inside ----


async def raise_it() -> None:
    await trio.lowlevel.checkpoint()
    raise KeyboardInterrupt


async def send_it() -> None:
    await trio.lowlevel.checkpoint()
    signal.raise_signal(signal.SIGINT)


@trio.lowlevel.enable_ki_protection
async def send_it_to_the_main_task() -> None:
    signal.raise_signal(signal.SIGINT)
    await trio.sleep_forever()


@pytest.mark.parametrize("strike", [raise_it, send_it, send_it_to_the_main_task])
@pytest.mark.parametrize("pairs", [False, True])
def test_ctrl_c_fifty_groups_deep_comes_out_bare(
    strike: Callable[[], Awaitable[object]], pairs: bool
) -> None:
    scene = Scene(fails=False)
    scene.group.add(strike)
    inner = scene.group
    for _ in range(49):
        outer = RunGroup()
        if pairs:
            outer.add(inner.run, inner.interrupt)
        else:
            outer.add(inner.run)
        outer.add(trio.sleep_forever)
        inner = outer
    with pytest.raises(KeyboardInterrupt) as caught:
        trio.run(inner.run)
    assert caught.value.__context__ is None
    assert caught.value.__cause__ is None
    struck_from_outside = strike is send_it_to_the_main_task
    cause = "Cancelled" if struck_from_outside and not pairs else "KeyboardInterrupt"
    assert scene.came_down_in_order(cause)


# ---- other threads ----


def test_a_group_runs_in_another_thread_than_the_main_one() -> None:
    failing, cancelled = Scene(), Scene(fails=False)

    async def main() -> bool:
        assert await error_of(failing.group) is failing.error
        with trio.move_on_after(MOMENT) as scope:
            await cancelled.group.run()
        return scope.cancelled_caught

    with ThreadPoolExecutor() as pool:
        assert pool.submit(trio.run, main).result()
    assert failing.came_down_in_order("LookupError")
    assert cancelled.came_down_in_order("Cancelled")


def test_a_group_is_interrupted_from_another_thread() -> None:
    scene = Scene(fails=False)
    tokens: list[trio.lowlevel.TrioToken] = []
    running = threading.Event()

    async def main() -> object:
        async with trio.open_nursery() as nursery:
            await nursery.start(scene.group.run)
            tokens.append(trio.lowlevel.current_trio_token())
            running.set()
        return scene.group.record

    with ThreadPoolExecutor() as pool:
        future = pool.submit(trio.run, main)
        assert running.wait(60)
        trio.from_thread.run_sync(scene.group.interrupt, LookupError(), trio_token=tokens[0])
        assert future.result() is scene.group.record
    assert scene.came_down_in_order("LookupError")


def test_two_threads_run_groups_at_the_same_time() -> None:
    both = threading.Barrier(2, timeout=60)

    async def main() -> list[Scene]:
        scenes = [Scene() for _ in range(50)]

        async def run(scene: Scene) -> None:
            for _ in range(2):
                scene.log.clear()
                scene.told = trio.Event()
                assert await error_of(scene.group) is scene.error

        async with trio.open_nursery() as nursery:
            both.wait()
            for scene in scenes:
                nursery.start_soon(run, scene)
            await trio.sleep(MOMENT / 2)
            both.wait()  # neither is over yet
        return scenes

    with ThreadPoolExecutor() as pool:
        futures = [pool.submit(trio.run, main) for _ in range(2)]
        for future in futures:
            scenes = future.result()
            assert all(scene.came_down_in_order("LookupError") for scene in scenes)


# ---- what trio offers to tasks ----

place = contextvars.ContextVar[str]("place", default="nowhere")


async def test_an_actor_sees_the_context_of_the_caller_of_run_and_keeps_its_own_to_itself() -> None:
    seen: list[str] = []
    group = RunGroup()

    async def look_and_move(to: str) -> None:
        seen.append(place.get())
        place.set(to)
        await trio.testing.wait_all_tasks_blocked()
        seen.append(place.get())

    place.set("where add() is called")
    group.add(functools.partial(look_and_move, "first"), ends_group=False)
    group.add(functools.partial(look_and_move, "second"), ends_group=False)
    place.set("where run() is called")
    await group.run()
    assert seen[:2] == ["where run() is called"] * 2
    assert sorted(seen[2:]) == ["first", "second"]
    assert place.get() == "where run() is called"


@pytest.mark.parametrize("how", ["sync", "async"])
@pytest.mark.parametrize("somebody_is_cancelled", [False, True])
async def test_an_interrupt_sees_the_context_of_the_caller_of_run_whoever_exits_first(
    how: str, somebody_is_cancelled: bool
) -> None:
    seen: list[str] = []
    group = RunGroup()

    async def move_and_exit() -> None:
        await trio.testing.wait_all_tasks_blocked()
        place.set("an actor's own")

    def look(_: object) -> None:
        seen.append(place.get())

    async def look_and_wait(_: object) -> None:
        look(_)
        await trio.lowlevel.checkpoint()
        look(_)

    group.add(move_and_exit, look)
    group.add(move_and_exit, look if how == "sync" else look_and_wait)
    group.add(move_and_exit, look)
    if somebody_is_cancelled:
        group.add(trio.sleep_forever)
    place.set("where run() is called")
    await group.run()
    assert seen == ["where run() is called"] * (3 if how == "sync" else 4)


async def test_an_actor_can_wait_until_all_tasks_are_blocked() -> None:
    scene = Scene(fails=False)

    async def settle() -> str:
        await trio.testing.wait_all_tasks_blocked()
        return "settled"

    scene.group.add(settle)
    assert await scene.group.run() == "settled"
    assert scene.came_down_in_order("NoneType")


def test_a_group_in_a_system_task_stops_in_order_when_the_main_task_is_over() -> None:
    scene = Scene(fails=False)

    async def main() -> None:
        trio.lowlevel.spawn_system_task(scene.group.run)
        await trio.testing.wait_all_tasks_blocked()

    trio.run(main)
    assert scene.came_down_in_order("Cancelled")


# ---- no collector ----


class Kept(Exception):
    """An error that can be watched."""


class Watch:
    """What has been made, and which of it is alive."""

    def __init__(self) -> None:
        self.made: list[weakref.ref[Any]] = []

    def group(self) -> RunGroup:
        group = RunGroup(grace=60)
        self.made.append(weakref.ref(group))
        return group

    def error(self) -> Kept:
        error = Kept()
        self.made.append(weakref.ref(error))
        return error

    async def fail(self) -> None:
        await trio.lowlevel.checkpoint()
        raise self.error()

    async def fail_late(self) -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise self.error()

    def broken(self, error: BaseException | None) -> None:
        raise self.error()

    async def broken_later(self, error: BaseException | None) -> None:
        await self.fail()

    def watch(self, error: BaseException | None) -> None:
        assert error is not None
        self.made.append(weakref.ref(error))

    async def watch_later(self, error: BaseException | None) -> None:
        self.watch(error)
        await trio.lowlevel.checkpoint()

    def alive(self) -> list[object]:
        return [thing for ref in self.made if (thing := ref()) is not None]


def plain(watch: Watch) -> RunGroup:
    group = watch.group()
    group.add(watch.fail)
    group.add(watch.fail_late)
    group.add(trio.sleep_forever)
    return group


def with_interrupts(watch: Watch, *, are_async: bool = False) -> RunGroup:
    group = watch.group()
    interrupt = watch.watch_later if are_async else watch.watch
    group.add(watch.fail, interrupt)
    group.add(watch.fail_late, interrupt, grace=0)
    group.add(trio.sleep_forever, watch.broken_later if are_async else watch.broken)
    return group


with_async_interrupts = functools.partial(with_interrupts, are_async=True)


def nested(watch: Watch) -> RunGroup:
    outer, middle, inner = watch.group(), watch.group(), watch.group()
    inner.add(watch.fail)
    inner.add(trio.sleep_forever, watch.watch, grace=0)
    middle.add(inner.run, inner.interrupt, grace=10)
    middle.add(watch.fail_late)
    outer.add(middle.run, middle.interrupt)
    outer.add(trio.sleep_forever, watch.watch_later, grace=0)
    return outer


def only_cancelled(watch: Watch) -> RunGroup:
    group = watch.group()
    group.add(trio.sleep_forever)
    group.add(trio.sleep_forever, watch.watch, grace=0)
    group.add(trio.sleep_forever, watch.watch_later, grace=0)
    return group


@pytest.mark.parametrize(
    ("build", "cancelled_after"),
    [
        (plain, 60),
        (plain, 0),
        (with_interrupts, 60),
        (with_interrupts, 0),
        (with_async_interrupts, 60),
        (with_async_interrupts, 0),
        (nested, 60),
        (nested, 0),
        (only_cancelled, 0),
    ],
)
async def test_errors_and_groups_die_without_the_collector(
    build: Callable[[Watch], RunGroup], cancelled_after: float, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL, "trio_rungroup")  # caplog would keep every later error
    watch = Watch()
    gc.disable()
    try:
        for _ in range(50):
            with trio.move_on_after(cancelled_after):
                try:
                    await build(watch).run()  # a local name would make a cycle of our own
                except Kept:
                    pass
        await trio.testing.wait_all_tasks_blocked()
        assert len(watch.made) >= 100
        assert watch.alive() == []
    finally:
        gc.enable()

"""check_actor: it passes what is right, finds each planted fault, and always comes back."""

from __future__ import annotations

import contextlib
import contextvars
import functools
import gc
import inspect
import math
import pydoc
import signal
import socket
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from concurrent.futures import Future
from typing import Any, TypeAlias

import pytest
import trio
import trio.testing

from trio_rungroup import (
    future_actor,
    listener_actor,
    process_actor,
    scope_actor,
    signal_actor,
    testing,
    thread_actor,
)
from trio_rungroup.testing import check_actor

Pair: TypeAlias = tuple[
    Callable[[], Awaitable[object]], Callable[[BaseException | None], object] | None
]
Main: TypeAlias = Callable[[], Coroutine[Any, Any, None]]

SHORT = 0.1  # for what never exits, however long one waits


@pytest.fixture(params=["real", "autojump"])
def run(request: pytest.FixtureRequest) -> Callable[[Main], None]:
    """Run on a clock of each kind, and see that no task is left."""

    def run(main: Main) -> None:
        async def leave_nothing() -> None:
            before = trio.lowlevel.current_statistics().tasks_living
            await main()
            assert trio.lowlevel.current_statistics().tasks_living == before

        autojump = trio.testing.MockClock(autojump_threshold=0)
        trio.run(leave_nothing, clock=autojump if request.param == "autojump" else None)
        gc.collect()  # what the actors have left behind does not come to life again

    return run


def nothing(_: BaseException | None) -> None:
    """Be an interrupt that does nothing."""


def untyped(function: Any) -> Any:
    return function


def server() -> Pair:
    stop = trio.Event()
    return stop.wait, lambda _: stop.set()


# ---- what is right ----


def a_signal() -> Pair:
    return signal_actor()


def a_scope() -> Pair:
    return scope_actor(trio.CancelScope())


def a_process() -> Pair:
    return process_actor(["sleep", "600"])


def a_listener() -> Pair:
    sock = socket.create_server(("127.0.0.1", 0))
    listener = trio.SocketListener(trio.socket.from_stdlib_socket(sock))
    return listener_actor(trio.aclose_forcefully, [listener])


def a_thread() -> Pair:
    stop = threading.Event()
    return thread_actor(stop.wait, lambda _: stop.set())


def a_future() -> Pair:
    return future_actor(Future[None])


@pytest.mark.parametrize("factory", [a_signal, a_scope, a_process, a_listener, a_thread, a_future])
async def test_every_ready_made_actor_passes_and_is_named_after_its_maker(
    factory: Callable[[], Pair],
) -> None:
    names: list[str] = []

    def remember() -> Pair:
        execute, interrupt = factory()
        names.append(getattr(execute, "__qualname__", ""))
        return execute, interrupt

    await check_actor(remember, timeout=60)
    with trio.fail_after(60):  # the thread that was abandoned has been told to end
        while any("thread_actor" in thread.name for thread in threading.enumerate()):
            await trio.sleep(0.01)  # pragma: no cover - mostly it has
    assert names == [factory.__name__.removeprefix("a_") + "_actor"] * 3


def test_an_actor_that_does_what_is_demanded_passes(run: Callable[[Main], None]) -> None:
    async def main() -> None:
        await check_actor(server)
        await check_actor(lambda: (trio.sleep_forever, None))

    run(main)


def test_an_actor_that_exits_by_itself_passes(run: Callable[[Main], None]) -> None:
    async def fail() -> None:
        raise LookupError("at once")

    async def fail_later() -> None:
        await trio.lowlevel.checkpoint()
        raise LookupError("later")

    async def main() -> None:
        for execute in fail, fail_later, trio.lowlevel.checkpoint:
            await check_actor(lambda execute=execute: (execute, None))  # type: ignore[misc]
            await check_actor(lambda execute=execute: (execute, lambda _: None))  # type: ignore[misc]

    run(main)


def test_an_interrupt_may_be_async_and_take_its_time(run: Callable[[Main], None]) -> None:
    def factory() -> Pair:
        stop = trio.Event()

        async def interrupt(_: BaseException | None) -> None:
            await trio.sleep(0.01)
            stop.set()

        return stop.wait, interrupt

    async def main() -> None:
        await check_actor(factory, timeout=60)

    run(main)


def test_the_interrupt_sees_the_context_variables_of_the_caller(
    run: Callable[[Main], None],
) -> None:
    variable = contextvars.ContextVar[str]("variable")
    seen: list[str] = []

    def factory() -> Pair:
        execute, interrupt = server()
        assert interrupt is not None

        async def stop(error: BaseException | None) -> None:
            seen.append(variable.get())
            interrupt(error)

        def interrupt_first(error: BaseException | None) -> Awaitable[None]:
            seen.append(variable.get())
            return stop(error)

        return execute, interrupt_first

    async def main() -> None:
        variable.set("of the caller")
        await check_actor(factory)

    run(main)
    assert seen == ["of the caller"] * 6


async def test_interrupts_are_given_errors_and_none() -> None:
    given: list[str] = []

    def factory() -> Pair:
        stop = trio.Event()

        def interrupt(error: BaseException | None) -> None:
            given.append(type(error).__name__)
            stop.set()

        return stop.wait, interrupt

    await check_actor(factory)
    assert given == ["NoneType", "RuntimeError", "Cancelled"]


def raises_again(kind: type[BaseException], *, is_async: bool) -> Callable[[], Pair]:
    """Make pairs whose interrupt raises what it is given, if it is of that kind."""

    def factory() -> Pair:
        stop = trio.Event()

        def interrupt(error: BaseException | None) -> None:
            stop.set()
            if isinstance(error, kind):
                raise error

        async def later(error: BaseException | None) -> None:
            interrupt(error)

        return stop.wait, later if is_async else interrupt

    return factory


@pytest.mark.parametrize("is_async", [False, True])
def test_an_interrupt_may_end_in_the_cancellation_it_is_given(is_async: bool) -> None:
    # In a trio.run of its own: pytest-trio takes a test that ends in Cancelled for a good one.
    trio.run(check_actor, raises_again(trio.Cancelled, is_async=is_async))


@pytest.mark.parametrize("is_async", [False, True])
async def test_an_interrupt_that_raises_the_error_it_is_given_has_failed(is_async: bool) -> None:
    with pytest.raises(AssertionError, match="the interrupt raised RuntimeError"):
        await check_actor(raises_again(BaseException, is_async=is_async))


async def test_an_interrupt_that_returns_a_generator_is_found() -> None:
    def factory() -> Pair:
        return trio.sleep_forever, lambda _: iter_nothing()

    def iter_nothing() -> Iterator[None]:
        yield  # pragma: no cover - which never runs is what this is about

    with pytest.raises(AssertionError, match=r"the interrupt raised TypeError: .* a generator"):
        await check_actor(factory)


async def test_an_interrupt_that_can_only_do_with_errors_is_found() -> None:
    def factory() -> Pair:
        stop = trio.Event()

        def interrupt(error: BaseException | None) -> None:
            stop.set()
            if not isinstance(error, Exception | None):
                raise TypeError("who has ever heard of that")

        return stop.wait, interrupt

    with pytest.raises(
        AssertionError, match="must be harmless, but the interrupt raised TypeError"
    ):
        await check_actor(factory)


# ---- planted faults ----


def deaf() -> Pair:
    return trio.sleep_forever, nothing


def forgetful() -> Pair:
    stop: trio.Event | None = None

    async def execute() -> None:
        nonlocal stop
        await trio.lowlevel.checkpoint()
        stop = trio.Event()
        await stop.wait()

    def interrupt(_: BaseException | None) -> None:
        if stop is not None:
            stop.set()

    return execute, interrupt


def raises_at_once() -> Pair:
    scopes: list[trio.CancelScope] = []

    async def execute() -> None:
        await trio.lowlevel.checkpoint()
        with trio.CancelScope() as scope:
            scopes.append(scope)
            await trio.sleep_forever()

    return execute, lambda _: scopes[0].cancel()


def raises_afterwards() -> Pair:
    running: list[trio.Event] = []

    async def execute() -> None:
        running.append(trio.Event())
        try:
            await running[0].wait()
        finally:
            running.clear()

    return execute, lambda _: running[0].set()


def raises_afterwards_async() -> Pair:
    execute, interrupt = raises_afterwards()

    async def async_interrupt(error: BaseException | None) -> None:
        assert interrupt is not None
        interrupt(error)

    return execute, async_interrupt


def waits_afterwards() -> Pair:
    send, receive = trio.open_memory_channel[None](0)

    async def interrupt(_: BaseException | None) -> None:
        await send.send(None)

    return receive.receive, interrupt


def interrupt_never_ends() -> Pair:
    return swallows_everything()[0], lambda _: swallows_cancelled()[0]()


def swallows_cancelled() -> Pair:
    execute, interrupt = server()

    async def swallow() -> None:
        while True:
            try:
                await execute()
            except trio.Cancelled:
                pass
            else:
                break

    return swallow, interrupt


def swallows_everything() -> Pair:
    execute, interrupt = server()

    async def swallow() -> None:
        while True:
            try:
                await execute()
                break
            except:  # noqa: E722
                pass

    return swallow, interrupt


def shields_itself() -> Pair:
    execute, interrupt = server()

    async def shield() -> None:
        with trio.CancelScope(shield=True), trio.CancelScope(shield=True):
            await execute()

    return shield, interrupt


def iterates() -> Pair:
    execute, interrupt = server()

    async def generator() -> AsyncIterator[None]:
        while True:
            with contextlib.suppress(BaseException):
                await execute()
                return
            yield

    async def iterate() -> None:
        async for _ in generator():
            pass

    return iterate, interrupt


def swallows_in_nurseries() -> Pair:
    pairs = [make() for make in (swallows_everything, swallows_cancelled, shields_itself)]

    async def nested() -> None:
        async with trio.open_nursery() as nursery:
            for execute, _ in pairs:
                nursery.start_soon(execute)

    async def in_the_body() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(nested)
            for execute, _ in pairs:
                await execute()

    def stop(_: BaseException | None) -> None:
        for _execute, interrupt in pairs:
            assert interrupt is not None
            interrupt(None)

    return in_the_body, stop


STOPS = "it must exit when it is interrupted, but "
STOPS_AT_ONCE = "it must exit when it is interrupted at once after its start, but "
OBEYS = "it must exit when it is cancelled, but "
HARMLESS = "an interrupt after it has exited must be harmless, but "
RAISED = "the interrupt raised IndexError: list index out of range"
WAITS = "after 0.1 s it is waiting"


@pytest.mark.parametrize(
    ("factory", "fault", "places"),
    [
        (deaf, STOPS + WAITS, ["sleep_forever"]),
        (forgetful, STOPS_AT_ONCE + WAITS, ["forgetful.<locals>.execute"]),
        (raises_at_once, STOPS_AT_ONCE + RAISED, []),
        (raises_afterwards, HARMLESS + RAISED, []),
        (raises_afterwards_async, HARMLESS + RAISED, []),
        (waits_afterwards, HARMLESS + WAITS, ["waits_afterwards.<locals>.interrupt"]),
        (
            interrupt_never_ends,
            STOPS + WAITS,
            ["swallows_everything.<locals>.swallow", "swallows_cancelled.<locals>.swallow"],
        ),
        (swallows_cancelled, OBEYS + WAITS, ["swallows_cancelled.<locals>.swallow"]),
        (swallows_everything, OBEYS + WAITS, ["swallows_everything.<locals>.swallow"]),
        (shields_itself, OBEYS + WAITS, ["shields_itself.<locals>.shield"]),
        (iterates, OBEYS + WAITS, ["iterates.<locals>.generator"]),
        (
            swallows_in_nurseries,
            OBEYS + WAITS,
            [
                "swallows_cancelled.<locals>.swallow",
                "swallows_everything.<locals>.swallow",
                "shields_itself.<locals>.shield",
            ],
        ),
    ],
)
def test_a_fault_is_found_and_named_and_nothing_is_left(
    run: Callable[[Main], None], factory: Callable[[], Pair], fault: str, places: list[str]
) -> None:
    async def main() -> None:
        with pytest.raises(AssertionError) as caught:
            await check_actor(factory, timeout=SHORT)
        message = str(caught.value)
        assert fault in message
        for place in places:
            assert place in message
        if RAISED in fault:
            assert isinstance(caught.value.__cause__, IndexError)
        elif factory is not deaf:
            assert f" at {__file__}:" in message

    run(main)


def test_an_actor_that_is_made_to_end_may_clean_up(run: Callable[[Main], None]) -> None:
    log: list[str] = []

    async def stubborn() -> None:
        try:
            await swallows_cancelled()[0]()
        finally:
            log.append("cleaned up")

    async def main() -> None:
        with pytest.raises(AssertionError):
            await check_actor(lambda: (stubborn, nothing), timeout=SHORT)

    run(main)
    assert log == ["cleaned up"]


async def test_the_message_can_be_read() -> None:
    with pytest.raises(AssertionError) as caught:
        await check_actor(shields_itself, timeout=SHORT)
    lines = str(caught.value).splitlines()
    assert len(lines) == 2
    assert lines[0] == (
        "shields_itself.<locals>.shield: it must exit when it is cancelled, but "
        "after 0.1 s it is waiting:"
    )
    assert lines[1].startswith(f"  'shields_itself.<locals>.shield' at {__file__}:")
    assert lines[1].endswith(" in shields_itself.<locals>.shield")


async def test_on_an_autojump_clock_it_says_what_that_does_not_wait_for(
    autojump_clock: trio.testing.MockClock,
) -> None:
    with pytest.raises(AssertionError) as caught:
        await check_actor(shields_itself, timeout=3600)
    assert (
        str(caught.value)
        .splitlines()[0]
        .endswith(
            "after 3600 s it is waiting (a MockClock waits for no thread, socket or process):"
        )
    )


@pytest.mark.parametrize("factory", [deaf, swallows_everything, swallows_in_nurseries])
def test_a_check_that_is_cancelled_comes_back_too(
    run: Callable[[Main], None], factory: Callable[[], Pair]
) -> None:
    async def main() -> None:
        with trio.CancelScope() as scope:
            scope.cancel()
            await check_actor(factory, timeout=SHORT)
        assert scope.cancelled_caught

    run(main)


async def test_a_busy_neighbour_does_not_keep_the_check_from_beginning() -> None:
    async def busy() -> None:
        while True:
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(busy)
        await check_actor(server, timeout=SHORT)
        nursery.cancel_scope.cancel()


async def test_a_thread_that_cannot_be_abandoned_is_waited_for() -> None:
    release = threading.Event()
    timer = threading.Timer(0.5, release.set)

    async def block() -> None:
        await trio.to_thread.run_sync(release.wait)

    timer.start()
    with pytest.raises(AssertionError, match=STOPS + WAITS):
        await check_actor(lambda: (block, nothing), timeout=SHORT)
    assert release.is_set()
    timer.join()


class Threads:
    """Actors whose threads must not be abandoned, but stop when told; the last fails then."""

    def __init__(self, failure: BaseException, *, is_async: bool) -> None:
        self.failure = failure
        self.is_async = is_async
        self.made: list[threading.Event] = []

    def factory(self) -> Pair:
        stopping = threading.Event()
        self.made.append(stopping)

        async def block() -> None:
            await trio.to_thread.run_sync(stopping.wait)

        def interrupt(_: BaseException | None) -> None:
            stopping.set()
            if len(self.made) == 3:
                raise self.failure

        async def async_interrupt(error: BaseException | None) -> None:
            await trio.sleep(SHORT / 10)
            interrupt(error)

        return block, async_interrupt if self.is_async else interrupt

    def check(self) -> None:
        def set_all() -> None:  # pragma: no cover - if it hung
            for each in self.made:
                each.set()

        give_up = threading.Timer(30, set_all)
        give_up.start()
        try:
            # Longer: two of them do exit, as soon as their threads get their turn.
            trio.run(functools.partial(check_actor, self.factory, timeout=1))
        finally:
            assert give_up.is_alive()
            give_up.cancel()
            give_up.join()


@pytest.mark.parametrize("is_async", [False, True])
def test_a_thread_that_must_not_be_abandoned_is_told_when_all_is_over(*, is_async: bool) -> None:
    with pytest.raises(AssertionError, match=OBEYS + "after 1 s it is waiting") as caught:
        Threads(ValueError("too late to matter"), is_async=is_async).check()
    assert caught.value.__cause__ is None


async def test_an_interrupt_that_tells_it_and_stays_is_cancelled() -> None:
    made: list[threading.Event] = []
    ends: list[trio.Cancelled] = []

    def factory() -> Pair:
        stopping = threading.Event()
        made.append(stopping)

        async def block() -> None:
            await trio.to_thread.run_sync(stopping.wait)

        async def interrupt(_: BaseException | None) -> None:
            stopping.set()
            if len(made) == 3:
                try:
                    await trio.sleep(20)
                except trio.Cancelled as error:
                    ends.append(error)
                    raise

        return block, interrupt

    with pytest.raises(AssertionError, match=OBEYS + "after 1 s it is waiting"):
        await check_actor(factory, timeout=1)
    assert len(ends) == 1


def test_ctrl_c_while_it_is_told_is_not_lost() -> None:
    with pytest.raises(KeyboardInterrupt):
        Threads(KeyboardInterrupt(), is_async=False).check()


async def test_an_actor_that_does_not_stop_is_told_once() -> None:
    given = list[BaseException | None]()

    async def goes_on() -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(5 * SHORT)

    with pytest.raises(AssertionError, match=STOPS + WAITS):
        await check_actor(lambda: (goes_on, given.append), timeout=SHORT)
    assert given == [None]


@pytest.mark.parametrize("held_up", [0, 0.3])
async def test_an_actor_that_exits_by_itself_is_not_taken_for_a_used_one(held_up: float) -> None:
    async def once() -> None:
        time.sleep(held_up)  # noqa: ASYNC251 - it must block

    await check_actor(lambda: (once, None), timeout=SHORT)


async def test_nor_is_one_whose_first_start_takes_long() -> None:
    starts = 0

    async def once() -> None:
        nonlocal starts
        starts += 1
        until = trio.current_time() + (0.3 if starts == 1 else 0)
        while trio.current_time() < until:  # and never waits
            await trio.lowlevel.checkpoint()

    await check_actor(lambda: (once, None))
    assert starts == 3


async def test_an_actor_that_raises_an_old_cancelled_has_only_exited() -> None:
    kept = list[trio.Cancelled]()
    with trio.CancelScope() as scope:
        scope.cancel()
        try:
            await trio.lowlevel.checkpoint()
        except trio.Cancelled as error:
            kept.append(error)
            raise

    async def stray() -> None:
        raise kept[0]

    def fails(_: BaseException | None) -> None:
        raise ValueError("not harmless")

    with pytest.raises(AssertionError, match=HARMLESS + "the interrupt raised ValueError"):
        await check_actor(lambda: (stray, fails))


@pytest.mark.parametrize(
    "execute",
    [
        functools.partial(untyped(trio.sleep), 1, 2),
        functools.partial(untyped(trio.sleep_forever), seconds=1),
        time.sleep,
        functools.partial(max, 1),
    ],
)
async def test_what_cannot_be_called_is_refused(execute: Any) -> None:
    with pytest.raises(TypeError, match="is called without arguments, and that fails: "):
        await check_actor(lambda: (execute, None))


async def test_a_type_error_of_its_own_is_an_exit_like_any_other() -> None:
    def fails() -> Awaitable[None]:
        raise TypeError("of its own")

    await check_actor(lambda: (fails, None))


@pytest.mark.parametrize("kind", [SystemExit, GeneratorExit])
def test_an_actor_may_exit_with_what_is_more_than_an_error(
    run: Callable[[Main], None], kind: type[BaseException]
) -> None:
    def factory() -> Pair:
        stop = trio.Event()

        async def leave() -> None:
            await stop.wait()
            raise kind

        return leave, lambda _: stop.set()

    async def main() -> None:
        await check_actor(factory)

    run(main)


@pytest.mark.parametrize("is_async", [False, True])
async def test_an_interrupt_that_exits_has_failed(is_async: bool) -> None:
    error = SystemExit(3)

    def factory() -> Pair:
        stop = trio.Event()

        def leave(_: BaseException | None) -> None:
            stop.set()
            raise error

        async def leave_later(_: BaseException | None) -> None:
            leave(None)

        return stop.wait, leave_later if is_async else leave

    with pytest.raises(AssertionError, match="the interrupt raised SystemExit: 3") as caught:
        await check_actor(factory)
    assert caught.value.__cause__ is error


@pytest.mark.parametrize("busy", [0, 2 * SHORT])  # seconds; the second one, beyond the timeout
async def test_an_async_interrupt_that_fails_before_it_has_told_the_actor_is_to_blame(
    busy: float,
) -> None:
    def factory() -> Pair:
        async def fail(_: BaseException | None) -> None:
            time.sleep(busy)  # noqa: ASYNC251 - as on a machine that stands still
            await trio.lowlevel.checkpoint()
            raise error

        return trio.sleep_forever, fail

    error = ValueError("before it says a word")
    with pytest.raises(AssertionError, match="the interrupt raised ValueError") as caught:
        await check_actor(factory, timeout=SHORT if busy else 60)
    assert caught.value.__cause__ is error


def press_ctrl_c(_: object = None) -> None:
    signal.raise_signal(signal.SIGINT)


async def ctrl_c_in_the_actor() -> None:
    press_ctrl_c()


async def ctrl_c_in_a_task_of_the_actor() -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ctrl_c_in_the_actor)


async def ctrl_c_while_all_wait() -> None:
    trio.lowlevel.current_trio_token().run_sync_soon(press_ctrl_c)
    await trio.sleep_forever()


async def ctrl_c_in_an_async_interrupt(_: BaseException | None) -> None:
    press_ctrl_c()


def raise_what_ctrl_c_raises(_: BaseException | None) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("execute", "interrupt"),
    [
        (ctrl_c_in_the_actor, None),
        (ctrl_c_in_a_task_of_the_actor, None),
        (ctrl_c_while_all_wait, None),
        (trio.sleep_forever, press_ctrl_c),
        (trio.sleep_forever, raise_what_ctrl_c_raises),
        (trio.sleep_forever, ctrl_c_in_an_async_interrupt),
    ],
)
def test_ctrl_c_ends_the_check_wherever_it_comes(
    run: Callable[[Main], None], execute: Any, interrupt: Any
) -> None:
    async def main() -> None:
        await check_actor(lambda: (execute, interrupt))

    with pytest.raises(KeyboardInterrupt):
        run(main)


async def test_what_trio_says_of_an_actor_in_disorder_comes_out() -> None:
    async def disorder() -> None:
        await trio.open_nursery().__aenter__()

    with pytest.RaisesGroup(pytest.RaisesExc(RuntimeError, match="Nursery stack corrupted")):
        await check_actor(lambda: (disorder, None))


async def test_an_actor_that_reports_its_start_is_tried_once_it_has() -> None:
    async def deaf(*, task_status: trio.TaskStatus[None]) -> None:
        await trio.sleep(0.3)
        task_status.started()
        while True:
            await trio.sleep(60)

    with pytest.raises(AssertionError, match="it must exit when it is interrupted, but"):
        await check_actor(lambda: (deaf, nothing), timeout=0.5)


async def test_an_actor_that_takes_a_moment_to_start_is_tried_when_it_has() -> None:
    def consumer() -> Pair:
        stopping = trio.Event()

        async def execute() -> None:
            await trio.to_thread.run_sync(time.sleep, 0.01)
            assert not stopping.is_set()  # also an exit
            await trio.sleep_forever()

        return execute, lambda _: stopping.set()

    with pytest.raises(AssertionError, match="it must exit when it is interrupted, but"):
        await check_actor(consumer, timeout=0.5)


async def test_an_actor_that_cannot_be_called_is_refused() -> None:
    async def serve(host: str) -> None: ...

    check: Callable[..., Awaitable[None]] = check_actor
    with pytest.raises(TypeError, match=r"missing a required argument: 'host'; use functools"):
        await check(lambda: (serve, None))


async def test_a_wrapper_hands_task_status_on() -> None:
    async def deaf(*, task_status: trio.TaskStatus[None]) -> None:
        await trio.sleep(0.3)
        task_status.started()
        while True:
            await trio.sleep(60)

    @functools.wraps(deaf)
    async def wrapper(*args: Any, **kwargs: Any) -> None:
        await deaf(*args, **kwargs)

    with pytest.raises(AssertionError, match="it must exit when it is interrupted, but"):
        await check_actor(lambda: (wrapper, nothing), timeout=0.5)


async def test_who_reports_its_start_is_at_rest_only_after_that(
    autojump_clock: trio.testing.MockClock,
) -> None:
    def deaf_once_started() -> tuple[Callable[..., Awaitable[None]], Callable[[object], None]]:
        told = trio.Event()

        async def execute(*, task_status: trio.TaskStatus[None]) -> None:
            with trio.move_on_after(3):
                await told.wait()
            task_status.started()
            await trio.sleep(0 if told.is_set() else math.inf)

        return execute, lambda error: told.set()

    with pytest.raises(AssertionError, match="it must exit when it is interrupted, but"):
        await check_actor(deaf_once_started)


async def test_a_wrapper_is_called_as_it_stands() -> None:
    async def serve(host: str, *, task_status: trio.TaskStatus[None]) -> None:
        del host
        task_status.started()
        await trio.sleep_forever()

    @functools.wraps(serve)
    async def here() -> None:
        await serve("localhost", task_status=trio.TASK_STATUS_IGNORED)

    await check_actor(lambda: (here, None))
    with pytest.raises(AssertionError, match="it must exit when it is interrupted, but"):
        await check_actor(lambda: (here, nothing), timeout=SHORT)


async def test_a_wrapper_of_what_takes_no_task_status_is_given_none() -> None:
    given: list[dict[str, object]] = []

    @functools.wraps(trio.sleep_forever)
    async def wrapper(**kwargs: Any) -> None:
        given.append(kwargs)
        await trio.sleep_forever(**kwargs)

    await check_actor(lambda: (wrapper, None))
    assert given == [{}, {}, {}]


class WithoutSignature:
    """Be called, but do not tell how, as many a built-in function."""

    __signature__ = "unknown"
    __name__ = __qualname__ = "built_in"

    async def __call__(self) -> None:
        await trio.sleep_forever()


async def test_what_tells_no_signature_is_tried(autojump_clock: trio.testing.MockClock) -> None:
    del autojump_clock
    built_in: Callable[[], Awaitable[None]] = WithoutSignature()
    with pytest.raises((TypeError, ValueError)):  # ValueError since 3.12
        inspect.signature(built_in)
    await check_actor(lambda: (built_in, None))
    assert trio.current_time() < 1
    with pytest.raises(AssertionError, match="it must exit when it is interrupted, but"):
        await check_actor(lambda: (built_in, nothing))


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), None, "5"])
async def test_a_timeout_that_is_none_is_refused(seconds: Any) -> None:
    with pytest.raises((TypeError, ValueError), match=r"timeout must be .* seconds, not"):
        await check_actor(server, timeout=seconds)


async def test_what_is_no_pair_is_refused() -> None:
    check: Callable[..., Awaitable[None]] = check_actor
    with pytest.raises(TypeError, match="it returned an object of type function"):
        await check(lambda: nothing)
    with pytest.raises(TypeError, match="it returned an object of type tuple"):
        await check(lambda: (trio.sleep_forever, None, None))
    with pytest.raises(TypeError, match="a function of one argument"):
        await check(lambda: (trio.sleep_forever, "stop"))
    with pytest.raises(TypeError, match="takes an async function"):
        await check(lambda: ("server", None))
    with pytest.raises(TypeError, match=r"dict is not an async function.*thread_actor"):
        await check(lambda: (dict, None))


async def test_a_pair_that_is_not_fresh_and_remembers_its_stop_is_refused() -> None:
    execute, interrupt = server()
    with pytest.raises(TypeError, match="it returned the same one again, or one"):
        await check_actor(lambda: (execute, interrupt))


async def test_pairs_that_share_what_the_first_one_has_used_up_are_refused() -> None:
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    with pytest.raises(TypeError, match="or one that shares something with an earlier one"):
        await check_actor(lambda: listener_actor(trio.aclose_forcefully, listeners))


async def test_pairs_can_be_made_beforehand_where_that_needs_an_await() -> None:
    made = [
        listener_actor(trio.aclose_forcefully, await trio.open_tcp_listeners(0, host="127.0.0.1"))
        for _ in range(3)
    ]
    await check_actor(made.pop)
    assert made == []


async def test_an_actor_that_exits_by_itself_about_when_it_is_told_to_passes(
    autojump_clock: trio.testing.MockClock,
) -> None:
    del autojump_clock
    for _ in range(20):
        await check_actor(lambda: (functools.partial(trio.sleep, 0.1), None))


async def test_an_actor_that_fails_by_itself_sooner_or_later_passes(
    autojump_clock: trio.testing.MockClock,
) -> None:
    del autojump_clock
    delays = [0.04, 0.15, 0.15]
    await check_actor(lambda: (functools.partial(trio.sleep, delays.pop()), None))
    assert delays == []


async def test_an_actor_that_takes_a_moment_to_become_deaf_is_found(
    autojump_clock: trio.testing.MockClock,
) -> None:
    del autojump_clock

    def factory() -> Pair:
        stop = trio.Event()

        async def execute() -> None:
            await trio.sleep(0.05)
            with trio.CancelScope(shield=True):
                await stop.wait()

        return execute, lambda _: stop.set()

    with pytest.raises(AssertionError, match="it must exit when it is cancelled"):
        await check_actor(factory)


async def test_a_pair_that_is_not_fresh_but_forgets_its_stop_is_tried_like_any_other() -> None:
    stops: list[trio.Event] = []

    async def serve() -> None:
        stops.append(trio.Event())
        await stops[-1].wait()

    def stop(error: BaseException | None) -> None:
        stops[-1].set()

    async def deaf() -> None:
        await trio.sleep_forever()

    await check_actor(lambda: (serve, stop))
    await check_actor(lambda: (trio.lowlevel.checkpoint, nothing))  # exits untold each time
    with pytest.raises(AssertionError, match="it must exit when it is interrupted, but"):
        await check_actor(lambda: (deaf, nothing), timeout=0.1)


async def test_a_pair_is_refused_where_its_maker_is_wanted() -> None:
    check: Callable[..., Awaitable[None]] = check_actor
    with pytest.raises(TypeError, match=r"write check_actor\(lambda: my_actor\(\.\.\.\)\)"):
        await check(server())


async def test_an_async_maker_of_pairs_is_refused_and_its_coroutine_closed() -> None:
    async def make() -> Pair:
        raise AssertionError("nobody awaits it")

    check: Callable[..., Awaitable[None]] = check_actor
    with pytest.raises(
        TypeError, match=r"await a factory that is async beforehand: .*check_actor\(made.pop"
    ):
        await check(make)


def test_a_clock_that_stands_still_is_refused() -> None:
    with pytest.raises(RuntimeError, match="this MockClock stands still; use autojump_clock"):
        trio.run(check_actor, server, clock=trio.testing.MockClock())
    trio.run(check_actor, server, clock=trio.testing.MockClock(rate=10))


def test_help_shows_the_checker_and_nothing_else() -> None:
    text = pydoc.plain(pydoc.render_doc(testing))
    assert "check_actor(" in text
    assert "task.context.run" not in text
    assert "TypeAlias" not in text.partition("__annotations__")[0]


async def test_nothing_of_a_check_goes_on_watching_the_run() -> None:
    def trials() -> int:
        gc.collect()
        return sum(type(each) is testing._Trial for each in gc.get_objects())

    before = trials()
    await check_actor(lambda: (trio.sleep_forever, None))
    assert trials() <= before

"""oklog/run's own tests and examples, restated under their Go names, and what differs."""

from __future__ import annotations

import signal
from collections.abc import Awaitable, Callable

import pytest
import trio
import trio.testing

from trio_rungroup import RunGroup, ScopeCancelled, SignalReceived, scope_actor, signal_actor

Execute = Callable[[], Awaitable[object]]


def returning(error: Exception) -> Execute:
    async def execute() -> None:
        raise error

    return execute


def nil_interrupt(error: BaseException | None) -> None:
    """Go's NilInterrupt."""


async def test_zero() -> None:
    with trio.fail_after(1):
        assert await RunGroup().run() is None


async def test_one() -> None:
    error, group = ValueError("foobar"), RunGroup()
    group.add(returning(error), nil_interrupt)
    with trio.fail_after(1), pytest.raises(ValueError, match="foobar") as caught:
        await group.run()
    assert caught.value is error


async def test_many() -> None:
    interrupt, group, cancel = ValueError("interrupt"), RunGroup(), trio.Event()
    group.add(returning(interrupt), nil_interrupt)
    group.add(cancel.wait, lambda _: cancel.set())
    with trio.fail_after(1), pytest.raises(ValueError, match="interrupt") as caught:
        await group.run()
    assert caught.value is interrupt


async def test_nil_interrupt() -> None:
    interrupt, group = ValueError("interrupt"), RunGroup()
    for function in (nil_interrupt, None, nil_interrupt):
        group.add(returning(interrupt), function)
    with trio.fail_after(1), pytest.raises(ValueError, match="interrupt") as caught:
        await group.run()
    assert caught.value is interrupt


async def test_context_handler() -> None:
    scope, group = trio.CancelScope(), RunGroup()
    group.add(*scope_actor(scope))
    with trio.fail_after(5), pytest.RaisesGroup(ScopeCancelled):
        async with trio.open_nursery() as nursery:
            await nursery.start(group.run)
            scope.cancel(reason="test")


async def test_signal_error() -> None:
    group = RunGroup()
    group.add(*signal_actor(signal.SIGINT))

    async def interrupt_ourselves() -> None:
        await trio.testing.wait_all_tasks_blocked()
        signal.raise_signal(signal.SIGINT)
        await trio.sleep_forever()

    group.add(interrupt_ourselves)
    with trio.fail_after(5), pytest.raises(SignalReceived) as caught:
        await group.run()
    assert caught.value.signal is signal.SIGINT
    assert str(caught.value) == "received signal SIGINT"


async def test_signal_handler_nil() -> None:
    """A signal handler whose context is cancelled ends the group without a signal."""
    group = RunGroup()
    group.add(*signal_actor(signal.SIGINT))
    with trio.CancelScope() as scope:
        scope.cancel(reason="test")
        await group.run()
    assert scope.cancelled_caught


async def test_example_group_add_basic(
    autojump_clock: trio.testing.MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    group, cancel = RunGroup(), trio.Event()

    async def first() -> None:
        with trio.move_on_after(1):
            await cancel.wait()
            print("The first actor was canceled")
            return
        print("The first actor had its time elapsed")  # must not be reached

    def interrupt_first(error: BaseException | None) -> None:
        print(f"The first actor was interrupted with: {error}")
        cancel.set()

    async def second() -> None:
        print("The second actor is returning immediately")
        raise ValueError("immediate teardown")

    def interrupt_second(error: BaseException | None) -> None:
        # Called, although its execute has returned.
        print(f"The second actor was interrupted with: {error}")

    group.add(first, interrupt_first)
    group.add(second, interrupt_second)
    with pytest.raises(ValueError) as caught:
        await group.run()
    print(f"The group was terminated with: {caught.value}")
    assert capsys.readouterr().out.splitlines() == [
        "The second actor is returning immediately",
        "The first actor was interrupted with: immediate teardown",
        "The second actor was interrupted with: immediate teardown",
        "The first actor was canceled",
        "The group was terminated with: immediate teardown",
    ]


async def test_example_group_add_context(
    autojump_clock: trio.testing.MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    """Go needs a context to cancel an actor; here that is what no interrupt means."""
    group = RunGroup()

    async def actor() -> None:
        try:
            await trio.sleep(5)
        except trio.Cancelled as cancelled:
            print(f"The actor was cancelled: {cancelled.reason}")
            raise

    async def canceller() -> None:
        await trio.sleep(0.1)
        raise ScopeCancelled("context canceled")

    group.add(actor)
    group.add(canceller, name="canceller")
    with pytest.raises(ScopeCancelled) as caught:
        await group.run()
    print(f"The group was terminated with: {caught.value}")
    assert capsys.readouterr().out.splitlines() == [
        "The actor was cancelled: actor 'canceller' exited first",
        "The group was terminated with: context canceled",
    ]


async def test_example_group_add_listener() -> None:
    group = RunGroup()
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")

    async def serve() -> None:
        while True:
            await (await listener.accept()).aclose()

    def close(error: BaseException | None) -> None:
        listener.socket.close()

    async def stop_soon() -> None:
        await trio.testing.wait_all_tasks_blocked()
        raise ValueError("closing")

    group.add(serve, close)
    group.add(stop_soon)
    with pytest.raises(ValueError, match="closing"):
        await group.run()
    assert group.record is not None
    assert isinstance(group.record.actors[0].error, trio.ClosedResourceError)


# ---- what differs from Go


async def test_unlike_go_a_later_error_is_not_lost(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    group, cancel = RunGroup(), trio.Event()

    async def fail_when_cancelled() -> None:
        await cancel.wait()
        raise KeyError("later")

    group.add(fail_when_cancelled, lambda _: cancel.set())
    group.add(returning(ValueError("first")))
    with pytest.raises(ValueError, match="first"):
        await group.run()
    assert "KeyError: 'later'" in caplog.text


async def test_unlike_go_a_failing_interrupt_does_not_end_the_program() -> None:
    group = RunGroup()

    def panic(error: BaseException | None) -> None:
        raise RuntimeError("a panic in Go")

    group.add(trio.sleep_forever, panic)
    group.add(returning(ValueError("first")))
    with pytest.raises(ValueError, match="first"):
        await group.run()


async def test_unlike_go_a_grace_really_ends_an_actor(
    autojump_clock: trio.testing.MockClock,
) -> None:
    group = RunGroup(grace=5)
    group.add(trio.sleep_forever, nil_interrupt)
    group.add(returning(ValueError("first")))
    with pytest.raises(ValueError, match="first"):
        await group.run()
    assert trio.current_time() == 5


async def test_unlike_go_an_actor_can_give_back_a_value() -> None:
    group = RunGroup()

    @group.add
    async def answer() -> int:
        return 42

    assert await group.run() == 42


async def test_unlike_go_a_group_leaves_a_record() -> None:
    group = RunGroup()
    group.add(returning(ValueError("first")), name="the one")
    with pytest.raises(ValueError, match="first"):
        await group.run()
    assert group.record is not None
    assert "raised ValueError → result of run()" in str(group.record)

"""CONTRACT.md, promise by promise: the number stands in each test's name.

Mutants. `mutants.toml` changes one thing in `_group.py` and `_graces.py` at a time, in 593 ways.
The tests notice all but these, which nobody could tell from the original:

- `final` taken away: for type checkers.
- `or` for `and` where `run_actor` asks for Ctrl-C: it takes longer, and comes to the same.
- `!= math.inf` for `< math.inf`; `<= math.inf` where the group's grace counts, too, or where one
  begins during the stop: nothing is above infinity, and a deadline there wakes nobody.
- `range(1)`, `range(3)` and `[]` for `range(2)`, `if not self.tasks_left` in `wait_for_all`: it
  takes longer, and comes to the same.
- `or`, `> 0`, `>= 1` and `!= 1` where the stop asks whether there is a group inside: it asks the
  scopes for nothing.
- `told_graces_are_over = True` for False in the watch: it ends graces that have ended, once more.
- `cancelled_by_us_below` begins at -1; `index + 2`: the next one is cancelled in the same breath.
- `settles=True` for what a handler of the log raises: it ends the program, so it settles anyway.
- `dict.fromkeys(self.names, 0)`: the next name is looked for from one number earlier on.
- `adding` begins as True: there is nothing to forget.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import inspect
import itertools
import logging
import math
import re
import signal
import sys
import types
import warnings
import weakref
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import outcome
import pytest
import trio
import trio.testing

from trio_rungroup import Record, RunGroup, _graces, _group
from trio_rungroup._record import Facts

Execute = Callable[[], Awaitable[object]]
Interrupt = Callable[[BaseException | None], object]


class Log(list[Any]):
    """An order of events, recorded to be compared once."""

    def actor(
        self,
        name: str,
        *,
        after: float = math.inf,
        error: BaseException | None = None,
        value: object = None,
        winding_down: float = 0,
        then: BaseException | None = None,
    ) -> tuple[Callable[[], Awaitable[object]], Interrupt]:
        """Exit by itself `after` seconds, or `winding_down` seconds after the interrupt."""
        told = trio.Event()

        async def execute() -> object:
            self.append((trio.current_time(), name, "begins"))
            with trio.move_on_after(after):
                await told.wait()
                await trio.sleep(winding_down)
                self.append((trio.current_time(), name, "is done"))
                if then is not None:
                    raise then
                return value
            self.append((trio.current_time(), name, "exits"))
            if error is not None:
                raise error
            return value

        def interrupt(reason: BaseException | None) -> None:
            self.append((trio.current_time(), name, "interrupted", reason))
            told.set()

        return execute, interrupt


async def fail(after: float, error: BaseException) -> None:
    await trio.sleep(after)
    raise error


async def give(after: float, value: object) -> object:
    await trio.sleep(after)
    return value


async def stubborn(seconds: float) -> None:
    """Ignore cancellation for a while."""
    with trio.CancelScope(shield=True):
        await trio.sleep(seconds)


async def fail_at_once(error: BaseException) -> None:
    raise error


def ignore(error: BaseException | None) -> None:
    """An interrupt that does not interrupt."""


def note(log: list[str], word: str, error: BaseException | None) -> None:
    log.append(word)


def fail_at(after: float, error: BaseException) -> Callable[[], Awaitable[None]]:
    return functools.partial(fail, after, error)


async def raised_by(group: RunGroup) -> BaseException:
    try:
        await group.run()
    except BaseException as error:
        return error
    raise AssertionError("run() has returned")


# ---- 1


async def test_promise_1_an_empty_group_returns_none_after_one_checkpoint() -> None:
    group = RunGroup()
    with trio.testing.assert_checkpoints():
        assert await group.run() is None
    assert group.record is not None
    assert group.record.actors == ()
    assert group.record.ended is not None
    assert str(group.record).startswith("no actors")


async def test_promise_1_an_empty_group_started_by_a_nursery_reports_no_values() -> None:
    async with trio.open_nursery() as nursery:
        assert await nursery.start(RunGroup().run) == {}


async def test_promise_1_an_empty_run_leaves_the_record_of_another_one_alone() -> None:
    class Adds(trio.abc.Instrument):
        def before_task_step(self, task: trio.lowlevel.Task) -> None:
            # The first run is at its checkpoint: another task adds an actor, and runs the group.
            if task.name == "empty" and group.record is not None and not records:
                records.append(group.record)
                group.record = other

    records: list[Record] = []
    group, other = RunGroup(), Record(Facts((), 0))
    trio.lowlevel.add_instrument(Adds())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(group.run, name="empty")
    assert (records[0].how, other.how) == ("returned", None)


async def test_promise_1_an_empty_group_that_is_cancelled_says_so() -> None:
    with trio.CancelScope() as scope:
        scope.cancel(reason="test")
        group = RunGroup()
        await group.run()
    assert scope.cancelled_caught
    assert group.record is not None
    assert group.record.how == "cancelled"


async def test_promise_1_what_comes_out_of_an_empty_group_is_left_in_no_cycle() -> None:
    class Refusal(Exception):
        pass

    class Refuses(trio.TaskStatus[object]):
        def started(self, value: object = None) -> None:
            raise Refusal

    gc.collect()
    gc.disable()
    try:
        try:
            await RunGroup().run(task_status=Refuses())
        except Refusal as error:
            left = weakref.ref(error)
        assert left() is None
    finally:
        gc.enable()


def test_promise_1_an_empty_group_that_ctrl_c_reaches_says_so() -> None:
    @trio.lowlevel.enable_ki_protection
    async def main() -> None:
        signal.raise_signal(signal.SIGINT)  # comes at the checkpoint
        await group.run()

    group = RunGroup()
    with pytest.raises(KeyboardInterrupt) as caught:
        trio.run(main)
    assert group.record is not None
    assert (group.record.how, group.record.error) == ("raised", caught.value)


# ---- 2


async def test_promise_2_all_actors_start_concurrently_and_each_once(
    autojump_clock: trio.testing.MockClock,
) -> None:
    group, begun = RunGroup(), list[Any]()
    meeting = trio.Event()

    async def execute(number: int) -> None:
        begun.append(number)
        if len(begun) == 5:
            meeting.set()
        await meeting.wait()
        await trio.sleep(1)

    for number in range(5):
        group.add(functools.partial(execute, number))
    await group.run()
    assert sorted(begun) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("interrupt", [None, ignore], ids=["default", "own"])
async def test_promise_2_an_actor_is_run_even_when_another_exits_at_once(
    interrupt: Interrupt | None,
) -> None:
    for _ in range(20):
        group, begun = RunGroup(), list[Any]()

        async def execute(name: str, begun: list[str] = begun) -> None:
            begun.append(name)

        for name in "abcde":
            group.add(functools.partial(execute, name), interrupt)
        await group.run()
        assert sorted(begun) == ["a", "b", "c", "d", "e"]


async def test_promise_2_an_actor_is_run_even_when_the_group_is_cancelled_at_its_start() -> None:
    group, begun = RunGroup(), list[Any]()

    async def execute() -> None:
        begun.append("execute")
        await trio.sleep_forever()

    group.add(execute)
    group.add(execute, lambda error: begun.append(type(error)))
    with trio.CancelScope() as scope:
        scope.cancel(reason="test")
        await group.run()
    assert begun == ["execute", "execute", trio.Cancelled]


# ---- 3


async def test_promise_3_every_interrupt_is_called_once_in_the_order_of_add(
    autojump_clock: trio.testing.MockClock,
) -> None:
    log, group, error = Log(), RunGroup(), ValueError("boom")
    group.add(*log.actor("a"))
    group.add(*log.actor("b", after=3, error=error))
    group.add(*log.actor("c", winding_down=2))
    assert await raised_by(group) is error
    assert log[3:] == [
        (3, "b", "exits"),
        (3, "a", "interrupted", error),
        (3, "b", "interrupted", error),  # also the one that has exited
        (3, "c", "interrupted", error),
        (3, "a", "is done"),
        (5, "c", "is done"),
    ]


async def test_promise_3_what_an_interrupt_returns_is_of_no_interest() -> None:
    group, stop = RunGroup(), trio.Event()

    def interrupt(error: BaseException | None) -> str:
        stop.set()
        return "nothing to await"

    group.add(stop.wait, interrupt)
    group.add(functools.partial(give, 0, "value"))
    assert await group.run() == "value"
    assert group.record is not None
    assert [actor.interrupt_error for actor in group.record.actors] == [None, None]


async def test_promise_3_an_async_interrupt_is_awaited_before_the_next_is_called(
    autojump_clock: trio.testing.MockClock,
) -> None:
    group, log = RunGroup(), list[Any]()

    async def slow(name: str, error: BaseException | None) -> None:
        log.append((trio.current_time(), name, error))
        await trio.sleep(2)
        log.append((trio.current_time(), name, "has returned"))

    group.add(functools.partial(give, 1, "value"), functools.partial(slow, "a"))
    group.add(trio.sleep_forever)  # cancelled when its turn comes
    group.add(functools.partial(give, 0.5, None), functools.partial(slow, "b"), ends_group=False)
    assert await group.run() == "value"
    assert log == [
        (1, "a", None),
        (3, "a", "has returned"),
        (3, "b", None),
        (5, "b", "has returned"),
    ]
    assert group.record is not None
    assert [actor.interrupted for actor in group.record.actors] == [1, 3, 3]
    assert [actor.exited for actor in group.record.actors] == [1, 3, 0.5]


async def keep_reason(reasons: list[str | None]) -> None:
    """Write down why it is cancelled."""
    try:
        await trio.sleep_forever()
    except trio.Cancelled as cancelled:
        reasons.append(cancelled.reason)
        raise


async def test_promise_3_the_default_interrupt_names_who_exited_first(
    autojump_clock: trio.testing.MockClock,
) -> None:
    for own_interrupt in (None, ignore):
        group, reasons = RunGroup(), list[str | None]()
        group.add(functools.partial(keep_reason, reasons))
        group.add(functools.partial(give, 1, None), own_interrupt, name="the timer")
        await group.run()
        assert reasons == ["actor 'the timer' exited first"]


async def test_promise_3_the_default_interrupt_names_what_began_the_stop_if_no_actor_did(
    autojump_clock: trio.testing.MockClock,
) -> None:
    for own_interrupt in (None, ignore):
        group, reasons = RunGroup(), list[str | None]()
        group.add(functools.partial(keep_reason, reasons))
        group.add(functools.partial(trio.sleep, 1), own_interrupt, name="the timer")
        async with trio.open_nursery() as nursery:
            await nursery.start(group.run)
            group.interrupt()
        assert reasons == ["interrupt() was called"]


# ---- 4


@pytest.mark.parametrize("is_cancelled", [False, True])
async def test_promise_4_unlike_go_no_interrupt_is_called_before_its_execute_has_begun(
    is_cancelled: bool,
) -> None:
    for _ in range(20):
        group, log = RunGroup(), list[Any]()

        async def execute(name: str, log: list[Any] = log) -> None:
            log.append((name, "begins"))

        def interrupt(name: str, error: BaseException | None, log: list[Any] = log) -> None:
            assert (name, "begins") in log
            log.append((name, "interrupted"))

        for name in "abc":
            group.add(functools.partial(execute, name), functools.partial(interrupt, name))
        with trio.CancelScope() as scope:
            if is_cancelled:
                scope.cancel(reason="test")
            await group.run()
        assert log[3:] == [("a", "interrupted"), ("b", "interrupted"), ("c", "interrupted")]


async def test_promise_4_interrupt_called_by_another_task_waits_for_the_actors_to_begin() -> None:
    for _ in range(20):
        group, log = RunGroup(), list[Any]()

        async def execute(log: list[str] = log) -> None:
            log.append("begins")
            await trio.sleep_forever()

        async def stop(group: RunGroup = group) -> None:
            while group.record is None:
                await trio.lowlevel.checkpoint()
            group.interrupt()

        group.add(execute, functools.partial(note, log, "interrupted"), grace=0)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stop)
            nursery.start_soon(group.run)
        assert log == ["begins", "interrupted"]


async def test_promise_4_nobody_is_interrupted_before_he_began_by_the_record_either() -> None:
    for interrupt in (None, ignore):
        for _ in range(20):
            group = RunGroup()
            for _ in range(3):
                group.add(trio.sleep_forever, interrupt)
            with trio.CancelScope() as scope:
                scope.cancel(reason="test")
                await group.run()
            assert group.record is not None
            for actor in group.record.actors:
                assert actor.began is not None
                assert actor.interrupted is not None
                assert actor.began <= actor.interrupted


# ---- 5


async def test_promise_5_run_returns_only_when_every_actor_and_interrupt_has_finished(
    autojump_clock: trio.testing.MockClock,
) -> None:
    group, tasks_before = RunGroup(), trio.lowlevel.current_statistics().tasks_living

    async def slow(error: BaseException | None) -> None:
        await trio.sleep(9)

    group.add(functools.partial(stubborn, 7))
    group.add(trio.sleep_forever, slow, grace=10)
    group.add(functools.partial(give, 1, "value"))
    assert await group.run() == "value"
    assert trio.current_time() == 11  # the first actor 7, the interrupt 1 + 9, the grace 1 + 10
    assert trio.lowlevel.current_statistics().tasks_living == tasks_before


def leave_a_scope_open(after: float) -> Execute:
    async def ticks() -> AsyncGenerator[None]:
        with trio.move_on_after(1000):
            yield

    async def execute() -> str:
        await trio.sleep(after)
        generator = ticks()
        async for _ in generator:
            kept.append(generator)  # not left to the collector, which might close the scope
            return "value"
        raise AssertionError("there is a tick")

    kept: list[AsyncGenerator[None]] = []
    return execute


async def test_promise_5_an_actor_that_leaves_a_scope_open_keeps_no_other_from_stopping_in_order(
    autojump_clock: trio.testing.MockClock,
) -> None:
    log, group = Log(), RunGroup()
    group.add(leave_a_scope_open(1), ignore, name="sloppy")
    group.add(*log.actor("a", winding_down=2), grace=30)
    error = await raised_by(group)
    assert isinstance(error, RuntimeError)
    assert "raised by actor 'sloppy'" in error.__notes__[0]
    assert group.record is not None
    assert [actor.how for actor in group.record.actors] == ["raised", "returned"]
    assert log[1:] == [(1, "a", "interrupted", error), (3, "a", "is done")]


async def test_promise_5_one_that_leaves_a_nursery_open_makes_trio_cancel_them_all(
    autojump_clock: trio.testing.MockClock,
) -> None:
    log, group = Log(), RunGroup()

    @functools.partial(group.add, interrupt=ignore, name="sloppy")
    async def execute() -> None:
        await trio.open_nursery().__aenter__()

    group.add(*log.actor("a", winding_down=2), grace=30)
    error = await raised_by(group)
    assert isinstance(error, RuntimeError)
    assert "raised by actor 'sloppy'" in error.__notes__[0]
    assert trio.current_time() == 0


async def test_promise_5_what_it_raises_goes_before_the_disorder_it_leaves(
    caplog: pytest.LogCaptureFixture,
) -> None:
    group, error = RunGroup(), ValueError()

    @functools.partial(group.add, interrupt=ignore)
    async def execute() -> None:
        trio.CancelScope().__enter__()
        raise error

    assert await raised_by(group) is error
    assert "Cancel scope stack corrupted" in error.__notes__[0]
    assert len(caplog.records) == 1


# ---- 6


@pytest.mark.parametrize("interrupt", [None, ignore], ids=["default", "own"])
async def test_promise_6_run_raises_the_very_object_with_its_own_cause_context_and_traceback(
    interrupt: Interrupt | None,
) -> None:
    group = RunGroup()
    cause, context = KeyError("cause"), IndexError("context")

    async def execute() -> None:
        try:
            raise context
        except IndexError:
            raise ValueError("boom") from cause

    group.add(execute, interrupt)
    group.add(trio.sleep_forever)
    caught = None
    try:
        raise TypeError("handled while run() is called")
    except TypeError:
        try:
            await group.run()
        except ValueError as error:
            caught = error
    assert caught is not None
    assert caught.__cause__ is cause
    assert caught.__context__ is context
    traceback = caught.__traceback__
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    assert traceback is not None
    assert traceback.tb_frame.f_code.co_name == "execute"


async def test_promise_6_an_error_without_a_context_is_given_none() -> None:
    group, error = RunGroup(), ValueError("boom")
    group.add(fail_at(0, error))
    try:
        raise TypeError("handled while run() is called")
    except TypeError:
        assert await raised_by(group) is error
    assert error.__context__ is None


async def test_promise_6_a_group_that_an_actor_raises_is_raised_as_it_is() -> None:
    group, error = RunGroup(), ExceptionGroup("mine", [ValueError(), KeyError()])
    group.add(fail_at(0, error), ignore)
    assert await raised_by(group) is error


@pytest.mark.parametrize("interrupt", [None, ignore], ids=["default", "own"])
async def test_promise_6_only_a_group_with_cancelled_in_it_is_raised_as_a_new_object_without(
    autojump_clock: trio.testing.MockClock, interrupt: Interrupt | None
) -> None:
    group, error = RunGroup(grace=1), ValueError("boom")

    async def execute() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            nursery.start_soon(fail, 5, error)
            try:
                await trio.sleep_forever()
            finally:
                raise KeyError("cleanup")

    group.add(execute, interrupt)
    with trio.CancelScope() as scope:
        scope.cancel(reason="test")
        with pytest.RaisesGroup(KeyError):
            await group.run()


async def test_promise_6_run_returns_what_the_first_actor_returned(
    autojump_clock: trio.testing.MockClock,
) -> None:
    group = RunGroup()
    group.add(functools.partial(give, 2, "slow"))
    group.add(functools.partial(give, 1, "fast"))
    assert await group.run() == "fast"


# ---- 7


async def test_promise_7_an_actor_is_cancelled_when_its_grace_after_its_interrupt_has_ended(
    autojump_clock: trio.testing.MockClock,
) -> None:
    log, group = Log(), RunGroup()
    group.add(*log.actor("in time", winding_down=2), grace=3)
    group.add(*log.actor("too slow", winding_down=9), grace=4)
    group.add(functools.partial(give, 1, None))
    await group.run()
    assert group.record is not None
    assert [(a.exited, a.how) for a in group.record.actors] == [
        (3, "returned"),
        (5, "cancelled"),
        (1, "returned"),
    ]


async def test_promise_7_a_grace_counts_from_the_call_of_the_interrupt(
    autojump_clock: trio.testing.MockClock,
) -> None:
    group = RunGroup()
    group.add(functools.partial(give, 1, None), lambda _: trio.sleep(5))
    group.add(trio.sleep_forever, ignore, grace=4)
    await group.run()
    assert trio.current_time() == 1 + 5 + 4


async def test_promise_7_the_groups_grace_counts_from_the_first_exit_for_all(
    autojump_clock: trio.testing.MockClock,
) -> None:
    group = RunGroup(grace=3)
    group.add(functools.partial(give, 1, None), lambda _: trio.sleep(2))
    group.add(trio.sleep_forever, ignore)
    group.add(trio.sleep_forever, ignore, grace=1.5)
    group.add(trio.sleep_forever, ignore, grace=0.5)
    await group.run()
    assert group.record is not None
    assert [a.exited for a in group.record.actors] == [1, 4, 4, 3.5]


@pytest.mark.parametrize("_", range(20))  # trio draws lots for the order of the tasks in a tick
async def test_promise_7_the_groups_grace_counts_from_the_first_exit_however_late_the_stop_is(
    autojump_clock: trio.testing.MockClock, _: int
) -> None:
    event, group = trio.Event(), RunGroup(grace=5)

    async def first() -> None:
        await trio.sleep(3)
        event.set()

    async def busy() -> None:
        await event.wait()
        autojump_clock.jump(2)  # as long computations do

    group.add(first)
    group.add(busy, ignore)
    group.add(trio.sleep_forever, ignore)
    await group.run()
    assert trio.current_time() == 8


@pytest.mark.parametrize(("groups", "own"), [(3, math.inf), (math.inf, 3)])
async def test_promise_7_a_grace_that_ends_while_the_processor_is_busy_ends_right_after_that(
    autojump_clock: trio.testing.MockClock,
    caplog: pytest.LogCaptureFixture,
    groups: float,
    own: float,
) -> None:
    told, group = trio.Event(), RunGroup(grace=groups)

    async def busy() -> None:
        await told.wait()
        await trio.sleep(2)
        autojump_clock.jump(17)  # as long computations do

    group.add(busy, lambda _: told.set())
    group.add(trio.sleep_forever, lambda _: trio.sleep(60), grace=own)
    group.add(trio.sleep_forever, ignore, grace=own)  # its turn comes at 20 s
    group.add(functools.partial(stubborn, 30))
    group.add(functools.partial(give, 1, None))
    with trio.move_on_after(50):
        await group.run()
    assert group.record is not None
    third = 20 if groups == 3 else 23
    assert [actor.exited for actor in group.record.actors] == [20, 20, third, 30, 1]
    assert "the grace has ended" in caplog.text
    assert "the stop has been waiting for 19 s for:" in caplog.text  # promise 17


async def test_promise_7_an_async_interrupt_is_bound_by_its_actors_deadline(
    autojump_clock: trio.testing.MockClock,
) -> None:
    group, log = RunGroup(), list[Any]()

    async def interrupt(error: BaseException | None) -> None:
        try:
            await trio.sleep_forever()
        finally:
            log.append(trio.current_time())

    group.add(trio.sleep_forever, interrupt, grace=2)
    group.add(functools.partial(give, 1, None))
    await group.run()
    assert log == [3]
    assert group.record is not None
    assert group.record.actors[0].interrupt_error is None


@pytest.mark.parametrize("has_exited", [False, True])
async def test_promise_7_so_is_one_that_runs_a_group_of_its_own(
    autojump_clock: trio.testing.MockClock, has_exited: bool
) -> None:
    group, inner = RunGroup(), RunGroup()
    inner.add(functools.partial(trio.sleep, 50), ignore, grace=40)

    async def interrupt(error: BaseException | None) -> None:
        await inner.run()

    group.add(functools.partial(trio.sleep, 0 if has_exited else 100), interrupt, grace=5)
    group.add(functools.partial(give, 0, "value"))
    await group.run()
    assert trio.current_time() == 5


async def test_promise_7_interrupts_whose_turn_comes_after_the_groups_grace_are_still_called(
    autojump_clock: trio.testing.MockClock,
) -> None:
    group, log = RunGroup(grace=2), list[Any]()

    async def slow(error: BaseException | None) -> None:
        await stubborn(5)
        log.append((trio.current_time(), "stubborn interrupt"))

    async def late(error: BaseException | None) -> None:
        log.append((trio.current_time(), "late begins"))
        await trio.sleep(0)
        log.append("must not be reached")

    group.add(functools.partial(give, 1, None), slow)
    group.add(trio.sleep_forever, lambda _: log.append((trio.current_time(), "sync")))
    group.add(trio.sleep_forever, late)
    await group.run()
    assert log == [(6, "stubborn interrupt"), (6, "sync"), (6, "late begins")]
    assert group.record is not None
    assert [a.exited for a in group.record.actors] == [1, 3, 3]


async def test_promise_7_so_are_those_after_what_else_ends_all_graces(
    autojump_clock: trio.testing.MockClock,
) -> None:
    exits = SystemExit(3)
    called: list[str | None] = []

    def leave(error: BaseException | None) -> None:
        raise exits

    async def hang(error: BaseException | None) -> None:
        called.append("its first line")
        await keep_reason(called)

    group = RunGroup()
    group.add(functools.partial(give, 1, None), leave)
    group.add(functools.partial(give, 2, None), hang)
    with trio.move_on_after(100):  # without it, a hang would be no failure
        assert await raised_by(group) is exits
    assert called == ["its first line", "SystemExit during the stop"]
    assert group.record is not None
    assert group.record.ended == 1


async def test_promise_7_a_grace_of_zero_cancels_right_after_the_interrupt(
    autojump_clock: trio.testing.MockClock,
) -> None:
    group, log = RunGroup(), list[Any]()
    group.add(trio.sleep_forever, log.append, grace=0)
    group.add(functools.partial(give, 1, None))
    await group.run()
    assert (log, trio.current_time()) == ([None], 1)


async def test_promise_7_without_any_grace_a_group_waits_as_long_as_go_does(
    autojump_clock: trio.testing.MockClock,
) -> None:
    log, group = Log(), RunGroup()
    group.add(*log.actor("slow", winding_down=1e6))
    group.add(functools.partial(give, 1, None))
    await group.run()
    assert trio.current_time() == 1e6 + 1


# ---- 8


async def test_promise_8_a_timeout_around_run_lets_actors_with_a_grace_stop_in_order(
    autojump_clock: trio.testing.MockClock,
) -> None:
    log, group = Log(), RunGroup()
    seen: list[Any] = []

    async def drain(error: BaseException | None) -> None:
        await trio.sleep(1)
        seen.append((trio.current_time(), type(error)))

    group.add(*log.actor("in order", winding_down=2), grace=9)
    group.add(trio.sleep_forever, drain, grace=3)
    group.add(trio.sleep_forever)
    group.add(*log.actor("no grace"))
    with trio.move_on_after(1) as timeout:
        await group.run()
    assert timeout.cancelled_caught
    assert trio.current_time() == 1 + 3
    assert seen == [(2, trio.Cancelled)]
    assert group.record is not None
    assert [(a.exited, a.how) for a in group.record.actors] == [
        (3, "returned"),
        (4, "cancelled"),
        (1, "cancelled"),
        (1, "cancelled"),
    ]
    assert (group.record.first, group.record.how) == (None, "cancelled")
    assert group.record.reason == "run() is cancelled from outside"


async def test_promise_8_the_groups_grace_shields_too_and_a_cancelled_parent_is_the_same(
    autojump_clock: trio.testing.MockClock,
) -> None:
    log, group = Log(), RunGroup(grace=5)
    group.add(*log.actor("a", winding_down=2))
    with pytest.RaisesGroup(ValueError):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(group.run)
            nursery.start_soon(fail, 1, ValueError("the parent's"))
    assert log[-1] == (3, "a", "is done")


async def test_promise_8_an_async_interrupt_without_a_grace_is_cancelled_at_once(
    autojump_clock: trio.testing.MockClock,
) -> None:
    group, log = RunGroup(), list[Any]()

    async def interrupt(error: BaseException | None) -> None:
        log.append("called")
        await trio.sleep(1)
        log.append("must not be reached")

    group.add(trio.sleep_forever, interrupt)
    with trio.move_on_after(1):
        await group.run()
    assert log == ["called"]
    assert trio.current_time() == 1


@pytest.mark.parametrize("request_", ["timeout", "outer grace"])
async def test_promise_8_a_cancellation_during_a_stop_ends_every_grace_at_once(
    autojump_clock: trio.testing.MockClock, request_: str
) -> None:
    log, group = Log(), RunGroup()
    called: list[float] = []

    async def interrupt(error: BaseException | None) -> None:
        called.append(trio.current_time())
        with trio.CancelScope(shield=True):
            await trio.sleep(4)  # even while an interrupt does not listen

    group.add(*log.actor("a", winding_down=50), grace=100)
    group.add(trio.sleep_forever, interrupt, grace=100)
    group.add(trio.sleep_forever, lambda _: called.append(trio.current_time()), grace=100)
    group.add(functools.partial(give, 1, "value"))
    if request_ == "timeout":
        with trio.move_on_after(3) as timeout:
            await group.run()
        assert timeout.cancelled_caught
    else:
        outer = RunGroup()
        outer.add(group.run, group.interrupt, grace=2)
        outer.add(functools.partial(give, 1, "outer"), name="outer")
        assert await outer.run() == "outer"
    assert group.record is not None
    assert [(a.exited, a.how) for a in group.record.actors] == [
        (3, "cancelled"),
        (3, "cancelled"),
        (3, "cancelled"),
        (1, "returned"),
    ]
    assert called == [1, 5]  # the interrupt whose turn had not come is called all the same


async def test_promise_8_a_cancellation_that_is_there_when_the_stop_begins_is_no_second_request(
    autojump_clock: trio.testing.MockClock,
) -> None:
    for _ in range(20):
        log, group = Log(), RunGroup()
        group.add(*log.actor("a", winding_down=2), grace=9)
        with trio.CancelScope() as scope:

            async def cancel(group: RunGroup = group, scope: trio.CancelScope = scope) -> None:
                await trio.sleep(1)
                scope.cancel(reason="test")
                group.interrupt()

            async with trio.open_nursery() as nursery:
                nursery.start_soon(cancel)
                nursery.start_soon(group.run)
        assert log[-1][1:] == ("a", "is done")


async def test_promise_8_a_cancellation_right_after_the_stop_has_begun_is_a_second_request(
    autojump_clock: trio.testing.MockClock,
) -> None:
    for stop in ("interrupt", "exit"):
        for _ in range(10):
            group, scope = RunGroup(), trio.CancelScope()

            async def exit_and_cancel(
                scope: trio.CancelScope = scope, group: RunGroup = group, stop: str = stop
            ) -> None:
                await trio.sleep(1)
                if stop == "interrupt":
                    group.interrupt()
                    scope.cancel(reason="test")
                else:
                    trio.lowlevel.current_trio_token().run_sync_soon(scope.cancel, "test")

            group.add(trio.sleep_forever, ignore, grace=9)
            group.add(exit_and_cancel, ignore, grace=9)
            began = trio.current_time()
            with scope:
                await group.run()
            assert trio.current_time() == began + 1


@pytest.mark.parametrize("_", range(10))  # trio draws lots for the order of the tasks in a tick
async def test_promise_8_it_reaches_a_group_in_an_interrupt_also_where_the_clock_is_late(
    autojump_clock: trio.testing.MockClock, _: int
) -> None:
    inner, outer = RunGroup(grace=100), RunGroup()
    inner.add(trio.sleep_forever, ignore)

    async def run_inner(error: BaseException | None) -> None:
        await inner.run()

    async def pause(error: BaseException | None) -> None:
        await trio.sleep(0.5)

    async def late() -> None:  # for two graces, when the watch looks after the first one
        await trio.sleep(6)
        autojump_clock.jump(1)

    outer.add(trio.sleep_forever, ignore, grace=5)
    outer.add(functools.partial(trio.sleep, 1), pause)
    outer.add(trio.sleep_forever, run_inner, grace=5)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(late)
        await outer.run()
        assert trio.current_time() == 7


@pytest.mark.parametrize(("has_interrupts", "ended"), [(False, 101), (True, 3)])
async def test_promise_8_only_with_an_interrupt_a_timeout_reaches_a_group_begun_in_a_clean_up(
    autojump_clock: trio.testing.MockClock, ended: float, *, has_interrupts: bool
) -> None:
    # Asking for the deadline of what is around would cost each group all that is around it.
    inner, outer = RunGroup(grace=100), RunGroup()
    inner.add(trio.sleep_forever, ignore)

    async def cleans_up() -> None:
        try:
            await trio.sleep_forever()
        finally:
            await inner.run()

    outer.add(functools.partial(trio.sleep, 1))
    outer.add(cleans_up)
    if has_interrupts:
        outer.add(trio.lowlevel.checkpoint, ignore, ends_group=False)
    with trio.move_on_after(3):
        await outer.run()
    assert trio.current_time() == ended


@pytest.mark.parametrize("_", range(20))  # trio draws lots for the order of the tasks in a tick
async def test_promise_8_a_cancellation_in_the_tick_in_which_all_are_ready_is_one_request(
    autojump_clock: trio.testing.MockClock, _: int
) -> None:
    log, group = Log(), RunGroup()

    async def reporter(task_status: trio.TaskStatus[None]) -> None:
        task_status.started()
        outer.cancel(reason="test")
        await trio.sleep_forever()

    group.add(reporter, reports_started=True)
    group.add(trio.sleep_forever)
    group.add(*log.actor("a", winding_down=3), grace=5)
    with trio.CancelScope() as outer:
        async with trio.open_nursery() as nursery:
            await nursery.start(group.run)
    assert group.record is not None
    assert group.record.first is None
    assert group.record.reason == "run() is cancelled from outside"
    assert log[-1] == (3, "a", "is done")


@pytest.mark.parametrize("ended_by", ["group's grace", "actor's grace", "timeout", "bare error"])
@pytest.mark.parametrize("interrupts", ["quick", "slow", "cancel", "now and then"])
@pytest.mark.parametrize("depth", [1, 2, 3, 8])
@pytest.mark.parametrize("in_a_nursery", [False, True])
async def test_promise_8_it_reaches_into_groups_at_every_depth(
    autojump_clock: trio.testing.MockClock,
    ended_by: str,
    interrupts: str,
    depth: int,
    *,
    in_a_nursery: bool,
) -> None:
    async def slow(error: BaseException | None) -> None:
        await trio.sleep(60)

    async def run_in_a_nursery(group: RunGroup) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(group.run)

    async def stop_soon() -> None:
        await trio.sleep(9)
        raise SystemExit

    innermost = group = RunGroup()
    group.add(trio.sleep_forever, ignore, grace=30)
    for level in reversed(range(depth)):
        inner = group
        run = functools.partial(run_in_a_nursery, inner) if in_a_nursery else inner.run
        is_outermost = level == 0
        group = RunGroup(grace=7 if is_outermost and ended_by == "group's grace" else math.inf)
        if interrupts == "slow":
            group.add(trio.sleep_forever, slow, grace=7 if ended_by == "actor's grace" else 50)
        if interrupts == "cancel" or (interrupts == "now and then" and level % 2):
            group.add(run)
        else:
            grace = 7 if is_outermost and ended_by == "actor's grace" else math.inf
            group.add(run, inner.interrupt, grace=grace)
    group.add(functools.partial(give, 2, "value"))
    group.add(trio.sleep_forever, ignore)
    if ended_by == "bare error":
        group.add(stop_soon, ignore)
    expected = pytest.raises(SystemExit) if ended_by == "bare error" else contextlib.nullcontext()
    with trio.move_on_after(9 if ended_by == "timeout" else 100), expected:
        await group.run()
    assert innermost.record is not None
    if ended_by == "actor's grace":
        # The slow interrupt's actor has the first; an actor without an interrupt has none.
        seconds = {"slow": 9 + 7, "cancel": 2 + 30}.get(interrupts, 9)
    else:
        seconds = 9
    assert innermost.record.actors[0].exited == seconds


@pytest.mark.parametrize("patience", [3, math.inf])
@pytest.mark.parametrize("depth", [1, 3])
async def test_promise_8_it_reaches_into_groups_that_were_added_without_any_interrupts(
    autojump_clock: trio.testing.MockClock, depth: int, patience: float
) -> None:
    group = RunGroup(grace=20)
    group.add(trio.sleep_forever, ignore)
    for _ in range(depth):
        inner, group = group, RunGroup()
        group.add(inner.run)
    group.add(functools.partial(trio.sleep, 1))
    async with trio.open_nursery() as nursery:
        nursery.cancel_scope.relative_deadline = patience
        nursery.start_soon(group.run)
        await trio.sleep(3)
        nursery.cancel_scope.cancel(reason="test")
    assert trio.current_time() == 3


@pytest.mark.parametrize("somebody_has_an_interrupt", [False, True])
async def test_promise_8_a_known_gap_is_a_group_that_a_function_runs_where_nobody_has_an_interrupt(
    somebody_has_an_interrupt: bool, autojump_clock: trio.testing.MockClock
) -> None:
    # Where the nursery's scope stands for all, the calling task is cancelled with the actors, and
    # there is no public way to tell what comes from further outside after that. A scope for each
    # actor of every group would close it, and let one of 1,000 actors take 1.66 times as long.
    group = group_in_a_function(ignore if somebody_has_an_interrupt else None)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(group.run)
        await trio.sleep(3)
        nursery.cancel_scope.cancel(reason="test")
    assert trio.current_time() == (3 if somebody_has_an_interrupt else 21)


@pytest.mark.parametrize("interrupt", [None, ignore])
async def test_promise_8_a_timeout_is_no_such_gap(
    interrupt: Interrupt | None, autojump_clock: trio.testing.MockClock
) -> None:
    group = group_in_a_function(interrupt)
    for timeout, ends in (3, 3), (30, 21), (0.5, 20.5):  # it is the first request, the last time
        began = trio.current_time()
        with trio.move_on_after(timeout):
            await group.run()
        assert trio.current_time() == began + ends


async def test_promise_8_nor_is_one_that_is_noticed_a_moment_late_as_on_every_real_clock() -> None:
    began = trio.current_time()
    with trio.move_on_after(0.1):
        await group_in_a_function(None, stops_at=0.01).run()
    assert trio.current_time() < began + 20


def group_in_a_function(interrupt: Interrupt | None, stops_at: float = 1) -> RunGroup:
    """Make a group with a function that runs another one, whose grace is 20."""
    inner, group = RunGroup(), RunGroup()
    inner.add(trio.sleep_forever, ignore, grace=20)

    async def run_inner() -> None:
        await inner.run()

    group.add(run_inner)
    group.add(functools.partial(trio.sleep, stops_at), interrupt)
    return group


def shut_down_by(scope: trio.CancelScope, clean_up: RunGroup) -> Execute:
    """Make an actor that runs a group when it is cancelled, in a scope."""

    async def execute() -> None:
        try:
            await trio.sleep_forever()
        finally:
            with scope:
                await clean_up.run()

    return execute


@pytest.mark.parametrize("shield", [False, True])
async def test_promise_8_a_group_that_begins_when_all_graces_are_over_has_none_unless_shielded(
    autojump_clock: trio.testing.MockClock, shield: bool
) -> None:
    clean_up, group = RunGroup(), RunGroup(grace=2)
    clean_up.add(functools.partial(trio.sleep, 10), ignore, grace=20)
    group.add(shut_down_by(trio.CancelScope(shield=shield), clean_up), ignore)
    group.add(functools.partial(give, 1, None))
    await group.run()
    assert trio.current_time() == (13 if shield else 3)


async def test_promise_8_a_stop_that_begins_in_a_shielded_clean_up_has_its_graces(
    autojump_clock: trio.testing.MockClock,
) -> None:
    clean_up, group = RunGroup(), RunGroup(grace=2)
    clean_up.add(functools.partial(trio.sleep, 10), ignore, grace=20)
    clean_up.add(functools.partial(give, 1, None))
    group.add(shut_down_by(trio.CancelScope(shield=True), clean_up), ignore)
    group.add(functools.partial(give, 1, None))
    await group.run()
    assert trio.current_time() == 13


async def test_promise_8_a_shield_keeps_a_second_request_from_a_group_that_is_stopping(
    autojump_clock: trio.testing.MockClock,
) -> None:
    inner, outer = RunGroup(), RunGroup()
    inner.add(functools.partial(trio.sleep, 8), ignore, grace=20)

    async def shielding() -> None:
        with trio.CancelScope(shield=True):
            await inner.run()

    outer.add(shielding, inner.interrupt)
    outer.add(functools.partial(give, 1, None))
    with trio.move_on_after(3):
        await outer.run()
    assert trio.current_time() == 8


@pytest.mark.parametrize("begins", ["before", "in the clean-up", "later in it"])
@pytest.mark.parametrize("whose", ["the group", "the actor", "the interrupt"])
async def test_promise_7_a_group_has_no_grace_where_the_actor_around_it_has_none_left(
    autojump_clock: trio.testing.MockClock, whose: str, begins: str
) -> None:
    inner = RunGroup()
    inner.add(trio.sleep_forever, ignore, grace=50)
    outer = RunGroup(grace=2 if whose == "the group" else math.inf)

    async def execute(_: BaseException | None = None) -> None:
        try:
            if begins != "before":
                await trio.sleep_forever()
        finally:
            await stubborn(1 if begins == "later in it" else 0)
            await inner.run()

    grace = math.inf if whose == "the group" else 2
    if whose == "the interrupt":
        outer.add(functools.partial(trio.sleep, 1), execute, grace=grace)
    else:
        outer.add(execute, ignore, grace=grace)
    outer.add(functools.partial(trio.sleep, 1))
    await outer.run()
    assert trio.current_time() == (4 if begins == "later in it" else 3)


async def test_promise_7_nor_where_an_interrupt_that_still_has_one_is_being_awaited(
    autojump_clock: trio.testing.MockClock,
) -> None:
    clean_up, outer = RunGroup(), RunGroup()
    clean_up.add(functools.partial(trio.sleep, 10), ignore, grace=20)
    outer.add(shut_down_by(trio.CancelScope(), clean_up), ignore, grace=2)
    outer.add(functools.partial(give, 1, None), lambda _: trio.sleep(4), grace=20)
    await outer.run()
    assert outer.record is not None
    assert outer.record.actors[0].exited == 3


@pytest.mark.parametrize("interrupt", [None, ignore])
async def test_promise_8_a_group_that_begins_in_a_clean_up_that_nobody_limits_has_its_graces(
    interrupt: Interrupt | None, autojump_clock: trio.testing.MockClock
) -> None:
    clean_up, group = RunGroup(), RunGroup()
    clean_up.add(functools.partial(trio.sleep, 10), ignore, grace=20)
    group.add(shut_down_by(trio.CancelScope(), clean_up))
    group.add(functools.partial(give, 1, None), interrupt)
    await group.run()
    assert trio.current_time() == 11


async def test_promise_8_a_group_in_a_task_that_an_actor_put_among_ours_is_reached_as_well(
    autojump_clock: trio.testing.MockClock,
) -> None:
    group, inner = RunGroup(), RunGroup()
    inner.add(trio.sleep_forever, ignore, grace=3)

    async def clean_up() -> None:
        try:
            await trio.sleep(1.5)
        finally:
            await inner.run()

    async def execute() -> None:
        nursery = trio.lowlevel.current_task().parent_nursery
        assert nursery is not None
        nursery.start_soon(clean_up)
        await trio.sleep(1)

    group.add(execute, ignore)
    group.add(functools.partial(trio.sleep, 8), ignore)
    with trio.move_on_after(2):
        await group.run()
    assert trio.current_time() == 2
    assert inner.record is not None
    assert inner.record.how == "cancelled"


@pytest.mark.parametrize("interrupt", [None, ignore])
@pytest.mark.parametrize("ticks", range(6))
async def test_promise_8_a_shield_raised_in_any_tick_of_the_stop_is_no_error(
    interrupt: Interrupt | None, ticks: int
) -> None:
    for _ in range(10):
        outer, inside, group = trio.CancelScope(), trio.CancelScope(), RunGroup()

        @functools.partial(group.add, interrupt=interrupt)
        async def execute(outer: trio.CancelScope = outer) -> str:
            outer.cancel(reason="test")
            return "value"

        async def shield(
            outer: trio.CancelScope = outer, inside: trio.CancelScope = inside
        ) -> None:
            while not outer.cancel_called:
                await trio.lowlevel.cancel_shielded_checkpoint()
            for _ in range(ticks):
                await trio.lowlevel.cancel_shielded_checkpoint()
            inside.shield = True

        async with trio.open_nursery() as nursery:
            nursery.start_soon(shield)
            with outer, inside:
                assert await group.run() in ("value", None)


async def test_promise_8_who_was_shielded_when_the_graces_ended_is_reached_by_the_next_request(
    autojump_clock: trio.testing.MockClock,
) -> None:
    inner, group, scope = RunGroup(), RunGroup(grace=1), trio.CancelScope(shield=True)
    inner.add(functools.partial(trio.sleep, 100), ignore, grace=50)

    async def shielding() -> None:
        with scope:
            await inner.run()

    async def lift_the_shield() -> None:
        await stubborn(4)
        scope.shield = False

    group.add(shielding, ignore)
    group.add(lift_the_shield, ignore)
    group.add(functools.partial(give, 1, None))
    with trio.move_on_after(7):
        await group.run()
    assert inner.record is not None
    assert inner.record.stopped == 4
    assert trio.current_time() == 7


@pytest.mark.parametrize("_", range(20))  # trio draws lots for the order of the tasks in a tick
async def test_promise_8_a_group_that_begins_after_the_graces_of_the_same_tick_is_not_forgotten(
    autojump_clock: trio.testing.MockClock, _: int
) -> None:
    inner, outer = RunGroup(), RunGroup()
    inner.add(functools.partial(trio.sleep, 100), ignore, grace=50)
    outer.add(functools.partial(fail_at_once, SystemExit(3)), ignore)
    outer.add(functools.partial(fail_at_once, ValueError()), ignore)
    outer.add(inner.run, inner.interrupt)
    with pytest.raises(SystemExit):
        await outer.run()
    # The SystemExit starts an orderly stop if it was the first, and else ends all graces.
    assert outer.record is not None
    assert outer.record.first is not None
    is_second = isinstance(outer.record.first.error, ValueError)
    assert trio.current_time() == (0 if is_second else 50)


async def test_promise_8_what_a_shield_kept_from_a_group_is_not_held_against_it_later(
    autojump_clock: trio.testing.MockClock,
) -> None:
    inner, outer = RunGroup(), RunGroup(grace=2)
    inner.add(trio.sleep_forever, ignore, grace=3)

    async def shielding() -> None:
        with trio.CancelScope(shield=True), trio.move_on_after(6):
            await inner.run()

    outer.add(shielding, ignore)
    outer.add(functools.partial(give, 1, None))
    await outer.run()
    assert trio.current_time() == 9


async def test_promise_8_nor_is_it_where_a_nursery_starts_the_group(
    autojump_clock: trio.testing.MockClock,
) -> None:
    inner, outer = RunGroup(), RunGroup(grace=2)
    inner.add(trio.sleep_forever, ignore, grace=3)

    async def never_started(*, task_status: trio.TaskStatus[None]) -> None:
        await trio.sleep_forever()

    inner.add(never_started, reports_started=True)

    async def shielding() -> None:
        with trio.CancelScope(shield=True), trio.move_on_after(6):
            async with trio.open_nursery() as nursery:
                await nursery.start(inner.run)

    outer.add(shielding, ignore)
    outer.add(functools.partial(give, 1, None))
    await outer.run()
    assert trio.current_time() == 9


@pytest.mark.parametrize("_", range(20))  # trio draws lots for the order of the tasks in a tick
async def test_promise_8_a_cancellation_that_a_shield_takes_back_has_begun_the_stop(
    autojump_clock: trio.testing.MockClock, _: int
) -> None:
    # Once all are ready, the calling task has something to do, and so may not be asleep.
    group, outside, inside = RunGroup(), trio.CancelScope(), trio.CancelScope()

    async def cancel_outside(*, task_status: trio.TaskStatus[None]) -> None:
        task_status.started()
        outside.cancel(reason="test")

    async def shield_inside() -> None:
        while not outside.cancel_called:
            await trio.lowlevel.cancel_shielded_checkpoint()
        inside.shield = True
        await trio.sleep_forever()

    group.add(cancel_outside, reports_started=True)
    group.add(shield_inside)
    with outside, inside:
        async with trio.open_nursery() as nursery:
            await nursery.start(group.run)
    assert group.record is not None
    assert group.record.reason == "run() is cancelled from outside"


@pytest.mark.parametrize("own_interrupt", [False, True])
@pytest.mark.parametrize("_", range(20))  # trio draws lots for the order of the tasks in a tick
async def test_promise_9_an_error_goes_before_a_cancellation_that_a_shield_takes_back(
    _: int, own_interrupt: bool
) -> None:
    # It may be raised before the calling task, in the same tick, learns what has woken it.
    error, ready, outside, inside = (
        ValueError(),
        trio.Event(),
        trio.CancelScope(),
        trio.CancelScope(),
    )
    group = RunGroup(grace=60)
    raised = list[BaseException]()

    async def execute() -> None:
        with trio.CancelScope(shield=True):
            await ready.wait()
        raise error

    async def run() -> None:
        with outside, inside:
            raised.append(await raised_by(group))

    group.add(execute, ignore if own_interrupt else None)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        await trio.testing.wait_all_tasks_blocked()
        ready.set()
        outside.cancel(reason="test")
        inside.shield = True
    assert raised == [error]
    assert group.record is not None
    assert group.record.reason == "run() is cancelled from outside"


async def test_promise_8_an_interrupt_that_ignores_it_keeps_no_other_from_being_cancelled(
    autojump_clock: trio.testing.MockClock,
) -> None:
    group, called = RunGroup(grace=7), list[float]()

    async def deaf(error: BaseException | None) -> None:
        await stubborn(60)

    group.add(functools.partial(give, 2, "value"))
    group.add(trio.sleep_forever, deaf)
    group.add(trio.sleep_forever, lambda _: called.append(trio.current_time()))
    group.add(trio.sleep_forever)
    await group.run()
    assert group.record is not None
    assert [actor.exited for actor in group.record.actors] == [2, 9, 9, 9]
    assert called == [62]
    assert group.record.ended == 62


async def test_promise_8_inside_a_shielded_actor_the_outer_deadline_is_not_seen() -> None:
    group, deadlines = RunGroup(), []

    async def execute() -> None:
        deadlines.append(trio.current_effective_deadline())

    group.add(execute, ignore, grace=1)
    with trio.move_on_after(3):
        await group.run()
    assert deadlines == [math.inf]


async def test_promise_8_a_second_request_ends_the_grace_of_an_async_interrupt_too(
    autojump_clock: trio.testing.MockClock,
) -> None:
    group = RunGroup()
    group.add(functools.partial(give, 1, None), lambda _: trio.sleep(40), grace=50)
    with trio.move_on_after(3) as timeout:
        await group.run()
    assert timeout.cancelled_caught
    assert trio.current_time() == 3


# ---- 9


@pytest.mark.parametrize("interrupt", [None, ignore], ids=["default", "own"])
async def test_promise_9_a_real_error_raised_while_cancelled_from_outside_is_raised_and_not_logged(
    autojump_clock: trio.testing.MockClock,
    interrupt: Interrupt | None,
    caplog: pytest.LogCaptureFixture,
) -> None:
    group, error, told = RunGroup(), ValueError("while cancelled"), list[Any]()

    async def execute() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise error

    group.add(execute, interrupt)
    group.add(trio.sleep_forever, told.append)
    with trio.move_on_after(1) as timeout:
        assert await raised_by(group) is error
    assert not timeout.cancelled_caught
    assert caplog.messages == []
    assert [type(reason) for reason in told] == [trio.Cancelled]
    assert group.record is not None
    assert group.record.first is None


async def test_promise_9_of_two_errors_while_cancelled_the_second_is_a_later_one(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    log, group = Log(), RunGroup(grace=9)
    first, second = ValueError("first"), KeyError("second")
    group.add(*log.actor("a", winding_down=2, then=second))
    group.add(*log.actor("b", winding_down=1, then=first))
    with trio.move_on_after(1):
        assert await raised_by(group) is first
    assert [record.exc_info[1] for record in caplog.records if record.exc_info] == [second]


async def test_promise_9_an_outer_cancellation_is_not_lost_when_the_first_exit_was_clean(
    autojump_clock: trio.testing.MockClock,
) -> None:
    for interrupt in (None, ignore):
        group = RunGroup()

        async def clean() -> str:
            try:
                await trio.sleep_forever()
            except trio.Cancelled:
                return "swallowed"

        group.add(clean, interrupt)
        with trio.move_on_after(1) as timeout:
            await group.run()
        assert timeout.cancelled_caught


async def test_promise_9_an_outer_cancellation_is_not_lost_when_it_comes_during_the_stop(
    autojump_clock: trio.testing.MockClock,
) -> None:
    for interrupt in (None, ignore):
        group = RunGroup()
        group.add(functools.partial(stubborn, 5), interrupt)
        group.add(functools.partial(give, 1, "value"))
        with trio.move_on_after(3) as timeout:
            await group.run()
        assert timeout.cancelled_caught


async def test_promise_9_an_error_raised_under_a_second_request_goes_before_cancelled(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    log, group, error = Log(), RunGroup(), ValueError("while cancelled")

    async def execute() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise error

    group.add(execute, ignore, grace=99)
    group.add(*log.actor("first", after=1, value="value"))
    with trio.move_on_after(3):
        assert await raised_by(group) is error
    assert "raised an error after the stop had begun" not in caplog.text


@pytest.mark.parametrize("_", range(10))  # trio draws lots for the order of the tasks in a tick
@pytest.mark.parametrize("with_scopes", [False, True])
async def test_promise_9_an_error_of_an_actor_that_was_cancelled_before_its_group_did_is_raised(
    with_scopes: bool, _: int
) -> None:
    group, error = RunGroup(), ValueError("in the clean-up")
    group.add(raise_when_cancelled(error))
    if with_scopes:
        group.add(trio.sleep_forever, ignore)
    with pytest.RaisesGroup(ValueError) as caught:
        async with trio.open_nursery() as nursery:
            await nursery.start(group.run)
            group.interrupt()
            nursery.cancel_scope.cancel(reason="test")
    assert caught.value.exceptions == (error,)


async def test_promise_9_an_error_is_raised_if_an_interrupt_has_cancelled_what_is_around_run(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    group, error = RunGroup(), ValueError("while cancelled from outside")

    async def execute() -> None:
        try:
            await trio.sleep_forever()
        except trio.Cancelled as cancelled:
            assert cancelled.reason == "by an interrupt"
            raise error from None

    with trio.CancelScope() as outside:
        group.add(
            functools.partial(trio.sleep, 2),
            lambda _: outside.cancel(reason="by an interrupt"),
        )
        group.add(execute)
        group.add(functools.partial(give, 1, "value"))
        assert await raised_by(group) is error
    assert caplog.records == []


async def test_promise_9_an_error_of_an_actor_cancelled_by_the_group_stays_a_later_one(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    for other in (None, ignore):
        caplog.clear()
        group, error = RunGroup(), ValueError("late")

        async def execute(error: Exception = error) -> None:
            await stubborn(5)
            raise error

        group.add(execute)
        group.add(functools.partial(give, 1, "value"), other)
        with trio.move_on_after(3) as timeout:
            await group.run()
        assert timeout.cancelled_caught
        assert [record.exc_info[1] for record in caplog.records if record.exc_info] == [error]


async def cancelled_and_kept() -> list[BaseException]:
    """Be cancelled, and keep the exception; in a list, which a test can empty."""
    with trio.CancelScope() as scope:
        scope.cancel(reason="test")
        try:
            await trio.sleep(0)
        except trio.Cancelled as cancelled:
            return [cancelled]
    raise AssertionError("not cancelled")


async def test_promise_9_a_cancelled_that_someone_had_kept_is_still_an_exit(
    autojump_clock: trio.testing.MockClock,
) -> None:
    kept = await cancelled_and_kept()
    group = RunGroup()
    group.add(fail_at(1, kept[0]), name="odd")
    group.add(trio.sleep_forever)
    assert await raised_by(group) is kept[0]
    assert group.record is not None
    assert group.record.first is group.record.actors[0]
    kept.clear()


@pytest.mark.parametrize("other", [None, ValueError("boom")])
async def test_promise_3_the_interrupts_get_what_run_raises_also_where_cancelled_is_in_it(
    autojump_clock: trio.testing.MockClock, other: ValueError | None
) -> None:
    kept = await cancelled_and_kept()
    error = kept[0] if other is None else BaseExceptionGroup("both", [kept[0], other])
    given: list[BaseException | None] = []
    group = RunGroup()
    group.add(fail_at(1, error))
    group.add(trio.sleep_forever, given.append, grace=1)
    assert [await raised_by(group)] == given
    kept.clear()


async def test_promise_9_a_real_error_goes_before_a_cancelled_that_someone_had_kept(
    autojump_clock: trio.testing.MockClock,
) -> None:
    kept = await cancelled_and_kept()
    log, group, error = Log(), RunGroup(), ValueError("real")
    group.add(fail_at(1, kept.pop()))
    group.add(*log.actor("a", then=error))
    assert await raised_by(group) is error


# ---- 10


@pytest.mark.parametrize("is_async", [False, True])
async def test_promise_10_a_failing_interrupt_does_not_stop_the_others(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture, is_async: bool
) -> None:
    log, group, broken = Log(), RunGroup(), OSError("broken interrupt")

    def interrupt(error: BaseException | None) -> object:
        if is_async:
            return fail(0, broken)
        raise broken

    group.add(trio.sleep_forever, interrupt, name="broken", grace=9)
    group.add(*log.actor("other", winding_down=2))
    group.add(functools.partial(give, 1, "value"))
    assert await group.run() == "value"
    assert group.record is not None
    assert [(a.exited, a.how) for a in group.record.actors] == [
        (1, "cancelled"),
        (3, "returned"),
        (1, "returned"),
    ]
    assert group.record.actors[0].interrupt_error is broken
    assert "broken interrupt" in str(group.record)
    assert caplog.messages == [
        "the interrupt of actor 'broken' raised an error after the stop had begun"
    ]


async def test_promise_10_an_interrupt_that_ends_in_cancelled_has_not_failed(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    group = RunGroup()

    async def interrupt(error: BaseException | None) -> None:
        async with trio.open_nursery() as nursery:  # makes it a group of Cancelled
            nursery.start_soon(trio.sleep_forever)
            await trio.sleep_forever()

    group.add(trio.sleep_forever, interrupt)
    with trio.move_on_after(1):
        await group.run()
    assert group.record is not None
    assert group.record.actors[0].interrupt_error is None
    assert caplog.messages == []


async def wait_in_vain(error: BaseException) -> None:
    """Wait, and fail to be cancelled; trio would wait for ever."""
    task = trio.lowlevel.current_task()

    async def wake() -> None:
        await trio.sleep(40)
        trio.lowlevel.reschedule(task)

    def fail_to_abort(_: object) -> trio.lowlevel.Abort:
        raise error

    trio.lowlevel.spawn_system_task(wake)
    await trio.lowlevel.wait_task_rescheduled(fail_to_abort)


def failing(error: BaseException | None) -> None:
    raise KeyError


async def failing_late(error: BaseException | None) -> None:
    await trio.sleep(1)
    raise KeyError


@pytest.mark.parametrize(
    ("interrupt", "grace", "second", "exits"),
    [
        (None, math.inf, 100, 6),
        (failing, math.inf, 100, 6),
        (failing_late, math.inf, 100, 7),
        (ignore, 2, 100, 6),
        (ignore, 90, 3, 3),
    ],
)
async def test_promise_10_an_abort_function_that_fails_keeps_nothing_else_from_being_done(
    autojump_clock: trio.testing.MockClock,
    caplog: pytest.LogCaptureFixture,
    interrupt: Interrupt | None,
    grace: float,
    second: float,
    exits: float,
) -> None:
    group, error, log = RunGroup(), ValueError("of an abort function"), Log()
    group.add(functools.partial(wait_in_vain, error), interrupt, grace=grace)
    group.add(trio.sleep_forever, ignore, grace=5)
    group.add(*log.actor("last"), grace=60)
    group.add(functools.partial(give, 1, None))
    with trio.move_on_after(second):
        await group.run()
    assert trio.current_time() == 40
    assert group.record is not None
    broken, other, *_ = group.record.actors
    if interrupt in (failing, failing_late):  # the interrupt's own error, which came before
        assert type(broken.interrupt_error) is KeyError
    else:
        assert broken.interrupt_error is error
    assert error in [record.exc_info[1] for record in caplog.records if record.exc_info]
    assert (other.how, other.exited) == ("cancelled", exits)
    assert log[-1][2] == "is done"


async def test_promise_10_nor_does_one_of_an_interrupt_when_all_graces_end(
    autojump_clock: trio.testing.MockClock,
) -> None:
    group, error = RunGroup(), ValueError("of an abort function")
    group.add(trio.sleep_forever, ignore, grace=100)
    group.add(functools.partial(give, 1, None), lambda _: wait_in_vain(error), grace=50)
    group.add(trio.sleep_forever, ignore, grace=100)
    with trio.move_on_after(3):
        await group.run()
    assert trio.current_time() == 41
    assert group.record is not None
    assert [actor.exited for actor in group.record.actors] == [3, 1, 3]
    assert error in getattr(group.record.actors[1].interrupt_error, "exceptions", (error,))


async def test_promise_10_one_of_an_actor_where_nobody_has_an_interrupt_is_a_later_error(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    group, error = RunGroup(), ValueError("of an abort function")
    group.add(functools.partial(wait_in_vain, error))
    group.add(functools.partial(give, 1, "first"))
    assert await group.run() == "first"
    assert trio.current_time() == 40
    assert [record.exc_info[1] for record in caplog.records if record.exc_info] == [error]


async def test_promise_10_of_an_interrupt_that_fails_and_leaves_a_scope_open_both_are_kept(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    group, error = RunGroup(), ValueError("of an interrupt")

    async def interrupt(_: BaseException | None) -> None:
        trio.CancelScope().__enter__()
        raise error

    group.add(functools.partial(give, 1, None), interrupt)
    await group.run()
    assert group.record is not None
    assert group.record.actors[0].interrupt_error is error
    logged = [record.exc_info[1] for record in caplog.records if record.exc_info]
    assert logged[1] is error
    assert "stack corrupted" in str(logged[0])


# ---- 11


@pytest.mark.parametrize("kept", [False, True])
async def test_promise_11_of_a_first_one_that_leaves_a_scope_open_both_errors_are_kept(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture, kept: bool
) -> None:
    group, error = RunGroup(), ValueError("first")
    cancelled = await cancelled_and_kept()

    async def execute() -> None:
        trio.CancelScope().__enter__()
        raise BaseExceptionGroup("only Cancelled", cancelled) if kept else error

    group.add(execute, name="odd")
    group.add(trio.sleep_forever, ignore, grace=1)
    raised = await raised_by(group)
    if kept:
        assert "Cancel scope stack corrupted" in str(raised)
        assert caplog.messages[1:] == []  # the first: that the other one's grace has ended
    else:
        assert raised is error
        assert caplog.messages[0].startswith("actor 'odd' raised an error besides the one")
        assert "stack corrupted" in str(error.__notes__)
    cancelled.clear()


@pytest.mark.parametrize("interrupt", [None, ignore], ids=["default", "own"])
async def test_promise_11_later_errors_are_logged_once_recorded_and_noted(
    autojump_clock: trio.testing.MockClock,
    caplog: pytest.LogCaptureFixture,
    interrupt: Interrupt | None,
) -> None:
    group, first, later = RunGroup(grace=9), ValueError("first"), KeyError("later")

    async def execute() -> None:
        try:
            await trio.sleep(3)
        finally:
            raise later

    group.add(execute, interrupt, name="b")
    group.add(fail_at(1, first), name="a")
    assert await raised_by(group) is first
    assert group.record is not None
    assert [actor.error for actor in group.record.actors] == [later, first]
    assert group.record.error is first
    assert [(r.name, r.levelno) for r in caplog.records] == [("trio_rungroup", logging.ERROR)]
    (record,) = caplog.records
    assert record.exc_info is not None
    assert record.exc_info[1] is later
    assert "test_group.py" in caplog.text
    assert first.__notes__ == [
        "raised by actor 'a' of a RunGroup; later: actor 'b' raised KeyError: 'later'"
    ]
    assert not hasattr(later, "__notes__")


async def test_promise_11_the_same_note_is_not_added_twice() -> None:
    group, error = RunGroup(), ValueError("again")
    group.add(fail_at(0, error), name="a")
    for _ in range(3):
        assert await raised_by(group) is error
    assert error.__notes__ == ["raised by actor 'a' of a RunGroup"]


async def test_promise_11_nested_groups_add_a_note_each() -> None:
    inner, outer, error = RunGroup(), RunGroup(), ValueError("inside")
    inner.add(fail_at(0, error), name="a")
    outer.add(inner.run, inner.interrupt, name="inner group")
    assert await raised_by(outer) is error
    assert error.__notes__ == [
        "raised by actor 'a' of a RunGroup",
        "raised by actor 'inner group' of a RunGroup",
    ]


async def test_promise_11_an_error_without_arguments_is_noted_like_any_other(
    autojump_clock: trio.testing.MockClock,
) -> None:
    group = RunGroup()
    group.add(fail_at(1, RuntimeError()), name="a")
    error = await raised_by(group)
    assert error.__notes__ == ["raised by actor 'a' of a RunGroup"]


async def test_promise_11_an_error_that_refuses_notes_is_raised_without() -> None:
    class Refusing(Exception):
        def add_note(self, note: str) -> None:
            raise RuntimeError("no notes")

    class Frozen(Exception):
        def __setattr__(self, name: str, value: object) -> None:
            raise AttributeError("frozen")

    for error in (Refusing("a"), Frozen("b")):
        group = RunGroup()
        group.add(fail_at(0, error))
        assert await raised_by(group) is error


@pytest.mark.parametrize(("number", "more"), [(100, ""), (120, "and 20 more, all of them logged")])
async def test_promise_11_a_note_names_at_most_a_hundred_later_errors(
    caplog: pytest.LogCaptureFixture, number: int, more: str
) -> None:
    group, first = RunGroup(), ValueError("first")

    async def execute() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise KeyError

    for _ in range(number):
        group.add(execute)
    group.add(fail_at(0, first))
    assert await raised_by(group) is first
    (note,) = first.__notes__
    assert note.count("raised KeyError") == 100
    assert note.endswith(f"; later: {more}") if more else "more" not in note
    assert len(caplog.records) == number


async def test_promise_11_a_broken_log_handler_breaks_nothing(
    autojump_clock: trio.testing.MockClock,
) -> None:
    class Broken(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise RuntimeError("broken handler")

    handler = Broken()
    logging.getLogger("trio_rungroup").addHandler(handler)
    try:
        log, group = Log(), RunGroup()
        group.add(*log.actor("a", then=KeyError("later")))
        group.add(functools.partial(give, 1, "value"))
        assert await group.run() == "value"
    finally:
        logging.getLogger("trio_rungroup").removeHandler(handler)


class Exits(logging.Handler):
    """What some programs do at the first error that is logged."""

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno == logging.ERROR:
            raise SystemExit(3)


async def test_promise_9_a_log_handler_that_raises_cancelled_cancels_nobody(
    autojump_clock: trio.testing.MockClock,
) -> None:
    class Cancels(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise strays[0]

    with trio.CancelScope() as scope:
        scope.cancel(reason="to have one")
        try:
            await trio.lowlevel.checkpoint()
        except trio.Cancelled as cancelled:
            strays = [cancelled]
    handler, group = Cancels(), RunGroup()
    group.add(functools.partial(give, 1, "value"))
    group.add(raise_when_cancelled(KeyError("later")))
    logging.getLogger("trio_rungroup").addHandler(handler)
    try:  # captured, since pytest-trio would take a Cancelled for a success
        assert await outcome.acapture(group.run) == outcome.Value("value")
    finally:
        logging.getLogger("trio_rungroup").removeHandler(handler)
        strays.clear()


async def raised_where_the_log_exits(group: RunGroup) -> BaseException:
    handler = Exits()
    logging.getLogger("trio_rungroup").addHandler(handler)
    try:
        return await raised_by(group)
    finally:
        logging.getLogger("trio_rungroup").removeHandler(handler)


@pytest.mark.parametrize("failing", ["sync interrupt", "async interrupt", "actor", "two actors"])
async def test_promise_12_a_log_handler_that_exits_does_so_when_all_have_stopped(
    autojump_clock: trio.testing.MockClock, failing: str
) -> None:
    def interrupt(error: BaseException | None) -> object:
        if failing == "sync interrupt":
            raise KeyError("later")
        return fail(0, KeyError("later")) if failing == "async interrupt" else None

    group, called = RunGroup(), list[Any]()
    group.add(functools.partial(give, 1, "value"))
    group.add(trio.sleep_forever, interrupt, grace=3)
    for _ in range(["actor", "two actors"].index(failing) + 1 if "actor" in failing else 0):
        group.add(raise_when_cancelled(KeyError("later")))
    group.add(trio.sleep_forever, called.append, grace=60)
    error = await raised_where_the_log_exits(group)
    assert (type(error), called) == (SystemExit, [None])
    assert error.__notes__[0].startswith("raised by a handler of the log of a RunGroup; later: ")
    assert error.__notes__[0].count("KeyError") == (2 if failing == "two actors" else 1)
    assert error.__notes__[0].count("a handler of the log raised SystemExit: 3") == (
        failing == "two actors"
    )
    assert group.record is not None
    assert group.record.ended == 1  # for every grace, it is a second request to stop


async def test_promise_12_also_if_it_exits_at_the_line_that_tells_whose_grace_has_ended(
    autojump_clock: trio.testing.MockClock,
) -> None:
    class ExitsAtWarnings(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            assert record.levelno == logging.WARNING
            raise SystemExit(3)

    group, handler = RunGroup(grace=60), ExitsAtWarnings()
    group.add(functools.partial(give, 1, "value"))
    group.add(trio.sleep_forever, ignore)
    group.add(trio.sleep_forever, ignore)
    logging.getLogger("trio_rungroup").addHandler(handler)
    try:
        with trio.move_on_after(2):
            error = await raised_by(group)
    finally:
        logging.getLogger("trio_rungroup").removeHandler(handler)
    assert type(error) is SystemExit
    assert group.record is not None
    assert [actor.exited for actor in group.record.actors] == [1, 2, 2]


async def test_promise_12_one_that_exits_before_the_stop_has_begun_ends_no_grace(
    autojump_clock: trio.testing.MockClock,
) -> None:
    # The first to exit has left a scope open: that is logged before the stop begins.
    async def first() -> None:
        await trio.sleep(1)
        trio.CancelScope().__enter__()
        raise ValueError("the first")

    log, group = Log(), RunGroup()
    group.add(first, ignore)
    group.add(*log.actor("server", winding_down=2))
    error = await raised_where_the_log_exits(group)
    assert type(error) is SystemExit
    assert [entry[:3] for entry in log] == [
        (0, "server", "begins"),
        (1, "server", "interrupted"),
        (3, "server", "is done"),
    ]


async def test_promise_12_what_it_cancels_during_the_stop_does_not_have_the_open_scope_for_context(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async def leave_a_scope_open() -> None:
        await trio.sleep(2)
        trio.CancelScope().__enter__()
        raise ValueError

    async def look() -> None:
        try:
            await trio.sleep_forever()
        except trio.Cancelled as cancelled:
            contexts.append(cancelled.__context__)
            raise

    contexts: list[BaseException | None] = []
    group = RunGroup()
    group.add(leave_a_scope_open, ignore)
    group.add(look, ignore)
    group.add(functools.partial(give, 1, None))
    error = await raised_where_the_log_exits(group)
    assert type(error) is SystemExit
    assert contexts == [None]


# ---- 12


class count_calls:
    """Count the calls of a function, by the interpreter's own hook."""

    def __init__(self, code: types.CodeType) -> None:
        self.code = code
        self.number = 0

    def __enter__(self) -> None:
        self.before = sys.getprofile()
        sys.setprofile(self.profile)

    def __exit__(self, *exc_info: object) -> None:
        sys.setprofile(self.before)

    # Coverage does not see what runs inside the interpreter's own hook.
    def profile(  # pragma: no cover
        self, frame: types.FrameType, event: str, arg: object
    ) -> None:
        self.number += event == "call" and frame.f_code is self.code


class Bare(BaseException):
    """Neither an Exception nor Cancelled."""


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, Bare])
@pytest.mark.parametrize("interrupt", [None, ignore], ids=["default", "own"])
async def test_promise_12_a_bare_exception_starts_an_orderly_stop_and_is_raised_bare(
    autojump_clock: trio.testing.MockClock,
    kind: type[BaseException],
    interrupt: Interrupt | None,
    caplog: pytest.LogCaptureFixture,
) -> None:
    log, group, error = Log(), RunGroup(), kind()
    group.add(fail_at(1, error), interrupt)
    group.add(*log.actor("in order", winding_down=2, then=ValueError("later")))
    assert await raised_by(group) is error
    assert error.__context__ is None
    assert log[1:] == [(1, "in order", "interrupted", error), (3, "in order", "is done")]
    assert len(caplog.records) == 1


async def test_promise_12_a_bare_exception_in_a_group_is_raised_out_of_it(
    autojump_clock: trio.testing.MockClock,
) -> None:
    group, bare, other = RunGroup(), SystemExit(3), ValueError("beside it")
    both = BaseExceptionGroup("both", [BaseExceptionGroup("inner", [other, bare])])
    group.add(fail_at(1, both), ignore)
    group.add(trio.sleep_forever)
    assert await raised_by(group) is bare
    assert bare.__context__ is both


async def test_promise_12_a_bare_exception_during_the_stop_displaces_the_first_error(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    group, first, bare, second = RunGroup(), ValueError("first"), SystemExit(3), Bare()
    log = Log()
    slow, interrupt = log.actor("slow", winding_down=99)

    async def execute() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise bare

    group.add(slow, interrupt, grace=500)
    group.add(execute, name="exit")
    group.add(fail_at(1, first))

    async def another() -> None:
        await stubborn(5)
        raise second

    group.add(another)
    assert await raised_by(group) is bare
    assert bare.__context__ is first
    assert group.record is not None
    assert group.record.actors[0].exited == 1  # every grace has ended at once
    assert [record.exc_info[1] for record in caplog.records if record.exc_info] == [second]
    assert bare.__notes__ == [
        "raised by actor 'exit' of a RunGroup; later: actor "
        "'test_promise_12_a_bare_exception_during_the_stop_displaces_the_first_error"
        ".<locals>.another' raised Bare"
    ]


async def test_promise_12_a_group_around_it_is_a_later_error_if_there_was_a_first(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    group, first, bare = RunGroup(), ValueError("first"), SystemExit(3)
    both = BaseExceptionGroup("both", [KeyError("beside"), bare])
    log = Log()
    group.add(*log.actor("a", then=both))
    group.add(fail_at(1, first))
    group.add(trio.sleep_forever)
    # The group with its KeyError is lost neither: it is displaced twice, and logged.
    assert await raised_by(group) is bare
    assert bare.__context__ is first
    assert [record.exc_info[1] for record in caplog.records if record.exc_info] == [both]


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, Bare])
@pytest.mark.parametrize("is_async", [False, True])
async def test_promise_12_an_interrupt_may_raise_it_too(
    autojump_clock: trio.testing.MockClock, kind: type[BaseException], is_async: bool
) -> None:
    bare, called, group = kind(), list[Any](), RunGroup()

    def interrupt(error: BaseException | None) -> object:
        if is_async:
            return fail(0, bare)
        raise bare

    group.add(functools.partial(give, 1, "value"), interrupt)
    group.add(trio.sleep_forever, called.append, grace=999)
    assert await raised_by(group) is bare
    assert bare.__context__ is None
    assert called == [None]
    assert trio.current_time() == 1


@pytest.mark.parametrize("who", ["actor", "interrupt"])
async def test_promise_12_the_first_counts_also_where_what_it_cancels_raises_another(
    autojump_clock: trio.testing.MockClock, who: str
) -> None:
    async def fail_to_be_cancelled() -> None:
        task = trio.lowlevel.current_task()

        def abort(_: object) -> trio.lowlevel.Abort:
            trio.lowlevel.reschedule(task)
            raise SystemExit(2)

        await trio.lowlevel.wait_task_rescheduled(abort)

    def interrupt(error: BaseException | None) -> None:
        if who == "interrupt":
            raise SystemExit(1)

    group = RunGroup()
    group.add(functools.partial(give, 1, None))
    group.add(fail_to_be_cancelled, interrupt, name="broken")
    if who == "actor":
        group.add(functools.partial(fail, 2, SystemExit(1)), ignore, name="actor")
    error = await raised_by(group)
    assert (type(error), error.args) == (SystemExit, (1,))
    (note,) = error.__notes__
    raiser = "actor 'actor'" if who == "actor" else "the interrupt of actor 'broken'"
    assert note == (
        f"raised by {raiser} of a RunGroup; later: an abort function of actor 'broken' raised "
        "SystemExit: 2"
    )


async def test_promise_12_it_may_come_from_the_call_of_execute_itself(
    caplog: pytest.LogCaptureFixture,
) -> None:
    log, group, bare = Log(), RunGroup(), KeyboardInterrupt()

    def execute() -> Awaitable[None]:
        raise bare

    group.add(execute)
    group.add(*log.actor("a"))
    assert await raised_by(group) is bare
    assert [event[1:] for event in log if event[2] == "interrupted"] == [("a", "interrupted", bare)]
    assert caplog.messages == []
    assert bare.__context__ is None


async def test_promise_12_a_context_that_is_displaced_in_turn_is_not_lost(
    autojump_clock: trio.testing.MockClock,
) -> None:
    group, first, own, bare = RunGroup(), ValueError("first"), OSError("own"), SystemExit(3)
    first.__cause__ = first.__context__ = KeyError("why")

    async def execute() -> None:
        with contextlib.suppress(trio.Cancelled):
            await trio.sleep_forever()
        try:
            raise own
        except OSError:
            raise bare from None

    group.add(execute)
    group.add(fail_at(1, first))
    assert await raised_by(group) is bare
    assert bare.__context__ is first
    assert first.__context__ is first.__cause__
    assert first.__context__.__context__ is own


async def test_promise_12_of_two_long_chains_of_contexts_no_link_is_lost(
    autojump_clock: trio.testing.MockClock,
) -> None:
    def linked(*errors: BaseException) -> BaseException:
        for error, context in itertools.pairwise(errors):
            error.__context__ = context
        return errors[0]

    kept = list[trio.Cancelled]()
    with trio.CancelScope() as scope:
        scope.cancel(reason="test")
        try:
            await trio.lowlevel.checkpoint()
        except trio.Cancelled as cancelled:
            kept.append(cancelled)
            raise
    first = [ValueError("a"), ValueError("b"), ValueError("c")]
    second = [SystemExit(3), LookupError("d"), LookupError("e"), *kept]
    group = RunGroup()
    group.add(fail_at(1, linked(*first)), ignore)
    group.add(fail_at(2, linked(*second)), ignore)
    error: BaseException | None = await raised_by(group)
    chain = list[BaseException]()
    while error is not None:
        chain.append(error)
        error = error.__context__
    assert chain == [second[0], *first, *second[1:]]


@pytest.mark.parametrize("_", range(5))  # trio draws lots for the order of the tasks in a tick
@pytest.mark.parametrize("ticks", range(5))
def test_promise_12_an_error_raised_in_the_tick_in_which_ctrl_c_comes_is_its_context_or_logged(
    ticks: int, _: int, caplog: pytest.LogCaptureFixture
) -> None:
    # Promise 18 leaves open which of the two is first.
    group, error, ready = RunGroup(), ValueError("in the same tick"), trio.Event()

    async def execute() -> None:
        await ready.wait()
        for _ in range(ticks):
            await trio.lowlevel.cancel_shielded_checkpoint()
        raise error

    @trio.lowlevel.enable_ki_protection  # so it reaches the main task, which awaits run()
    async def strike() -> None:
        await trio.testing.wait_all_tasks_blocked()
        ready.set()
        signal.raise_signal(signal.SIGINT)

    group.add(execute, ignore)
    group.add(strike, ignore, ends_group=False)
    with pytest.raises(KeyboardInterrupt) as caught:
        trio.run(group.run)
    logged = [record.exc_info[1] for record in caplog.records if record.exc_info]
    assert [caught.value.__context__, *logged].count(error) == 1
    assert group.record is not None
    assert group.record.actors[0].error is error


@pytest.mark.parametrize("who", ["an interrupt", "the calling task"])
def test_promise_12_the_error_of_an_actor_that_it_cancels_is_its_context(who: str) -> None:
    group, error, exited = RunGroup(), ValueError("in the clean-up"), SystemExit(3)

    async def execute() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise error

    def interrupt(_: BaseException | None) -> None:
        if who == "an interrupt":
            raise exited

    async def strike() -> None:
        await trio.sleep(2)
        signal.raise_signal(signal.SIGINT)

    async def main() -> None:
        group.add(execute, ignore, grace=5)
        group.add(strike, interrupt, grace=5)
        with trio.move_on_after(1):
            await group.run()

    with pytest.raises(BaseException) as caught:
        trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
    assert type(caught.value) is (SystemExit if who == "an interrupt" else KeyboardInterrupt)
    assert caught.value.__context__ is error
    assert isinstance(error.__context__, trio.Cancelled)
    assert error.__context__.__context__ is None


async def test_promise_12_an_error_that_it_was_raised_while_handling_is_in_its_context_already(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    group, first, own, bare = RunGroup(), ValueError("first"), OSError("own"), SystemExit(3)

    def interrupt(error: BaseException | None) -> None:
        try:
            raise first
        except ValueError:
            try:
                raise own
            except OSError:
                raise bare from None

    group.add(fail_at(1, first))
    group.add(trio.sleep_forever, interrupt)
    assert await raised_by(group) is bare
    assert bare.__context__ is own
    assert own.__context__ is first
    assert first.__context__ is None
    assert not any(record.exc_info for record in caplog.records)  # no later error


@pytest.mark.parametrize("shared", ["the bare one", "further down", "the next"])
async def test_promise_12_where_two_contexts_cannot_be_made_one_the_error_is_a_later_one(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture, shared: str
) -> None:
    group, first, own, bare = RunGroup(), ValueError("first"), OSError("own"), SystemExit(3)
    both = KeyError("both")
    if shared == "the bare one":
        first.__context__ = bare
    else:
        first.__context__ = both
        bare.__context__ = own if shared == "further down" else both
        own.__context__ = both
    contexts = [error.__context__ for error in (first, own, bare)]
    group.add(raise_now(first))
    group.add(trio.sleep_forever, ignore, grace=5)
    group.add(raise_when_cancelled(bare))
    assert await raised_by(group) is bare
    if shared == "the next":
        assert (bare.__context__, first.__context__, both.__context__) == (first, both, None)
        assert not any(record.exc_info for record in caplog.records)
    else:
        assert [error.__context__ for error in (first, own, bare)] == contexts
        assert [record.exc_info[1] for record in caplog.records if record.exc_info] == [first]
        assert bare.__notes__[0].endswith("; later: actor 'first' raised ValueError: first")


async def test_promise_12_the_error_it_displaces_does_not_get_its_cancellation_as_context(
    autojump_clock: trio.testing.MockClock,
) -> None:
    group, first, bare = RunGroup(), ValueError("first"), SystemExit(3)

    async def exits() -> None:
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            raise bare  # noqa: B904 - so the Cancelled is its context

    group.add(raise_now(first))
    group.add(exits)
    assert await raised_by(group) is bare
    assert (bare.__context__, first.__context__) == (first, None)


async def test_promise_12_an_error_whose_contexts_go_round_in_a_circle_is_one_as_well(
    autojump_clock: trio.testing.MockClock,
) -> None:
    group, first, second, bare = RunGroup(), ValueError("first"), OSError("second"), SystemExit(3)
    first.__context__, second.__context__ = second, first
    group.add(raise_now(first))
    group.add(raise_when_cancelled(bare))
    try:
        assert await raised_by(group) is bare
        assert bare.__context__ is first
    finally:
        first.__context__ = None


def raise_now(error: BaseException) -> Callable[[], Awaitable[None]]:
    async def first() -> None:
        context = error.__context__
        try:
            raise error
        finally:
            error.__context__ = context

    first.__qualname__ = "first"
    return first


def raise_when_cancelled(error: BaseException) -> Callable[[], Awaitable[None]]:
    async def execute() -> None:
        context = error.__context__
        with contextlib.suppress(trio.Cancelled):
            await trio.sleep_forever()
        try:
            raise error
        finally:
            error.__context__ = context

    return execute


async def test_promise_12_many_bare_exceptions_during_a_stop_cost_no_more_than_one(
    caplog: pytest.LogCaptureFixture,
) -> None:
    group, number = RunGroup(), 300

    async def execute() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise Bare

    for _ in range(number):
        group.add(execute)
    group.add(functools.partial(give, 0, None), ignore)
    cancels = count_calls(trio.CancelScope.cancel.__code__)
    with cancels:
        assert isinstance(await raised_by(group), Bare)
    assert len(caplog.records) == number - 1
    assert cancels.number < 4 * number
    walks = count_calls(_graces.end_graces_inside.__code__)  # each looks at all tasks
    with walks:
        assert isinstance(await raised_by(group), Bare)
    assert walks.number == 1


async def test_promise_12_no_loop_of_contexts_is_made(
    autojump_clock: trio.testing.MockClock,
) -> None:
    group, bare = RunGroup(), SystemExit(3)
    first = ValueError("raised while the exit was handled")
    first.__context__ = bare
    log = Log()
    group.add(*log.actor("a", then=bare))
    group.add(fail_at(1, first))
    assert await raised_by(group) is bare
    assert bare.__context__ is None


@pytest.mark.parametrize("interrupt", [None, ignore], ids=["default", "own"])
def test_promise_12_ctrl_c_in_the_main_task_stops_in_order(interrupt: Interrupt | None) -> None:
    log, group = Log(), RunGroup()
    clock = trio.testing.MockClock(autojump_threshold=0)

    async def main() -> None:
        async def ctrl_c() -> None:
            await trio.sleep(1)
            signal.raise_signal(signal.SIGINT)

        # The signal is raised in a protected system task, so trio delivers it to main.
        trio.lowlevel.spawn_system_task(ctrl_c)
        if interrupt is None:
            group.add(trio.sleep_forever)
        else:
            group.add(*log.actor("a", winding_down=2))
        await group.run()

    with pytest.raises(KeyboardInterrupt) as caught:
        trio.run(main, clock=clock)
    assert not hasattr(caught.value, "__notes__")  # nobody needs to be told who raised it
    assert group.record is not None
    assert group.record.reason == "KeyboardInterrupt in the task that awaits run()"
    assert group.record.error is caught.value
    if interrupt is not None:
        assert [event[1:3] for event in log] == [
            ("a", "begins"),
            ("a", "interrupted"),
            ("a", "is done"),
        ]


def test_promise_11_a_ctrl_c_carries_the_errors_that_came_later() -> None:
    group = RunGroup()

    async def main() -> None:
        async def ctrl_c() -> None:
            await trio.sleep(1)
            signal.raise_signal(signal.SIGINT)

        trio.lowlevel.spawn_system_task(ctrl_c)
        told = trio.Event()

        async def fails_to_stop() -> None:
            await told.wait()
            raise ValueError("boom")

        group.add(fails_to_stop, lambda _: told.set(), grace=5)
        await group.run()

    with pytest.raises(KeyboardInterrupt) as caught:
        trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
    (text,) = caught.value.__notes__
    assert "later: actor " in text
    assert "ValueError: boom" in text


def test_promise_12_a_second_ctrl_c_ends_every_grace_at_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    log, group = Log(), RunGroup()
    clock = trio.testing.MockClock(autojump_threshold=0)

    async def main() -> None:
        async def ctrl_c() -> None:
            for _ in range(2):
                await trio.sleep(1)
                signal.raise_signal(signal.SIGINT)

        trio.lowlevel.spawn_system_task(ctrl_c)
        group.add(*log.actor("a", winding_down=50), grace=99)
        group.add(*log.actor("b", winding_down=50))
        group.add(trio.sleep_forever, lambda _: trio.sleep(50))
        await group.run()

    with pytest.raises(KeyboardInterrupt) as caught:
        trio.run(main, clock=clock)
    assert caught.value.__context__ is None
    assert group.record is not None
    assert [actor.exited for actor in group.record.actors] == [2, 2, 2]
    assert [record for record in caplog.records if record.levelno == logging.ERROR] == []


@pytest.mark.parametrize("_", range(20))  # trio draws lots for the order of the tasks in a tick
def test_promise_12_right_after_the_first_exit_it_reaches_a_group_that_a_function_runs(
    _: int,
) -> None:
    group, inner = RunGroup(), RunGroup()
    inner.add(functools.partial(trio.sleep, 50), ignore, grace=40)
    exits = trio.Event()

    async def run_inner() -> None:
        await inner.run()

    async def exit_first() -> None:
        await trio.sleep(1)
        exits.set()

    async def ctrl_c() -> None:
        await exits.wait()
        signal.raise_signal(signal.SIGINT)

    async def main() -> None:
        trio.lowlevel.spawn_system_task(ctrl_c)
        group.add(run_inner)
        group.add(exit_first)
        try:
            await group.run()
        finally:
            assert trio.current_time() == 1

    with pytest.raises(KeyboardInterrupt):
        trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


@pytest.mark.parametrize("_", range(10))  # trio draws lots for the order of the tasks in a tick
@pytest.mark.parametrize("interrupt", [None, ignore])
@pytest.mark.parametrize("is_nested", [False, True])
async def test_promise_12_a_bare_exception_in_the_tick_of_the_cancellation_ends_every_grace(
    interrupt: Interrupt | None, is_nested: bool, _: int, autojump_clock: trio.testing.MockClock
) -> None:
    group, bare, causes = RunGroup(), SystemExit(3), list[BaseException | None]()
    group.add(raise_when_cancelled(bare), interrupt)
    group.add(trio.sleep_forever, causes.append, grace=100)
    run = group.run
    if is_nested:
        outer = RunGroup()
        outer.add(group.run, group.interrupt)
        run = outer.run
    with pytest.raises(SystemExit) as caught, trio.move_on_after(1):
        await run()
    assert caught.value is bare
    assert trio.current_time() == 1
    assert [type(cause) for cause in causes] == [trio.Cancelled]


def test_promise_12_ctrl_c_that_arrives_at_the_end_is_raised_in_place_of_a_value() -> None:
    group = RunGroup()

    async def main() -> None:
        @trio.lowlevel.enable_ki_protection
        async def execute() -> str:
            signal.raise_signal(signal.SIGINT)  # pending, since this is protected
            return "value"

        group.add(execute)
        await group.run()
        raise AssertionError("not reached")

    with pytest.raises(KeyboardInterrupt):
        trio.run(main)


# ---- 13


async def test_promise_13_a_clean_return_does_not_end_the_group_with_ends_group_false(
    autojump_clock: trio.testing.MockClock,
) -> None:
    group = RunGroup()
    group.add(functools.partial(give, 1, "setup"), ends_group=False)
    group.add(functools.partial(give, 3, "main"), name="main")
    assert await group.run() == "main"
    assert trio.current_time() == 3
    assert group.record is not None
    assert group.record.first is group.record.actors[1]


async def test_promise_13_an_exception_ends_the_group_all_the_same(
    autojump_clock: trio.testing.MockClock,
) -> None:
    group, error = RunGroup(), ValueError()
    group.add(fail_at(1, error), ends_group=False)
    group.add(trio.sleep_forever)
    assert await raised_by(group) is error


@pytest.mark.parametrize("own_interrupts", [False, True])
async def test_promise_13_when_all_have_returned_without_ending_it_there_is_no_first(
    autojump_clock: trio.testing.MockClock, own_interrupts: bool
) -> None:
    group, told = RunGroup(), []

    async def slow(error: BaseException | None) -> None:
        told.append(error)
        await trio.sleep(3)

    for seconds in (2, 1):
        group.add(
            functools.partial(give, seconds, "value"),
            slow if own_interrupts else None,
            ends_group=False,
        )
    assert await group.run() is None
    assert told == ([None, None] if own_interrupts else [])
    assert trio.current_time() == (8 if own_interrupts else 2)
    assert group.record is not None
    assert group.record.first is None
    assert group.record.reason == "all actors have returned"


# ---- 14


async def test_promise_14_start_returns_once_all_have_begun_and_reported(
    autojump_clock: trio.testing.MockClock,
) -> None:
    group, begun = RunGroup(), list[Any]()

    async def server(port: int, *, task_status: trio.TaskStatus[int]) -> None:
        await trio.sleep(port / 10)
        task_status.started(port)
        await trio.sleep_forever()

    async def plain() -> None:
        begun.append("plain")
        await trio.sleep_forever()

    group.add(functools.partial(server, 20), name="slow", reports_started=True)
    group.add(plain)
    group.add(functools.partial(server, 10), name="fast", reports_started=True)
    async with trio.open_nursery() as nursery:
        values = await nursery.start(group.run)
        assert list(values.items()) == [("slow", 20), ("fast", 10)]
        assert begun == ["plain"]
        assert trio.current_time() == 2
        group.interrupt()


async def test_promise_14_without_reporters_start_returns_once_all_have_begun() -> None:
    group, begun = RunGroup(), list[Any]()

    async def execute() -> None:
        begun.append(1)
        await trio.sleep_forever()

    for _ in range(3):
        group.add(execute)
    async with trio.open_nursery() as nursery:
        assert await nursery.start(group.run) == {}
        assert begun == [1, 1, 1]
        group.interrupt()


async def test_promise_14_run_without_start_ignores_what_is_reported() -> None:
    group = RunGroup()

    async def execute(*, task_status: trio.TaskStatus[str]) -> str:
        task_status.started("ignored")
        return "value"

    group.add(execute, reports_started=True)
    assert await group.run() == "value"


async def test_promise_14_an_actor_that_returns_without_started_is_an_error() -> None:
    group = RunGroup()

    async def execute(*, task_status: trio.TaskStatus[None]) -> None:
        pass

    group.add(execute, reports_started=True)
    with pytest.raises(RuntimeError, match=r"^child exited without calling task_status\.started"):
        await group.run()


async def test_promise_14_an_actor_told_to_stop_before_it_started_is_none(
    caplog: pytest.LogCaptureFixture,
) -> None:
    group, told = RunGroup(), trio.Event()

    async def execute(*, task_status: trio.TaskStatus[None]) -> None:
        await told.wait()

    group.add(execute, lambda _: told.set(), reports_started=True)
    group.add(functools.partial(give, 0, "value"))
    assert await group.run() == "value"
    assert caplog.messages == []


async def test_promise_14_calling_started_twice_is_an_error_in_trios_words() -> None:
    group = RunGroup()

    async def execute(*, task_status: trio.TaskStatus[None]) -> None:
        task_status.started()
        task_status.started()

    group.add(execute, reports_started=True)
    with pytest.raises(RuntimeError, match="called 'started' twice on the same task status"):
        await group.run()


async def test_promise_14_a_group_that_stops_before_all_have_started_forwards_nothing(
    autojump_clock: trio.testing.MockClock,
) -> None:
    error = ValueError("boom")

    async def never(*, task_status: trio.TaskStatus[None]) -> None:
        await trio.sleep_forever()

    for ending in (fail_at(1, error), functools.partial(give, 1, None)):
        group = RunGroup()
        group.add(never, reports_started=True)
        group.add(ending)
        async with trio.open_nursery() as nursery:
            with pytest.raises((ValueError, RuntimeError)) as caught:
                await nursery.start(group.run)
        if isinstance(caught.value, ValueError):
            assert caught.value is error
        else:
            assert str(caught.value) == "child exited without calling task_status.started()"


@pytest.mark.parametrize("_", range(10))
async def test_promise_14_a_group_that_stops_while_its_actors_begin_has_still_started(
    autojump_clock: trio.testing.MockClock, _: int
) -> None:
    group = RunGroup()
    group.add(functools.partial(give_at_once, "value"))
    group.add(trio.sleep_forever)
    async with trio.open_nursery() as nursery:
        assert await nursery.start(group.run) == {}


async def test_promise_14_a_value_that_reports_a_start_when_it_is_dropped_harms_nothing() -> None:
    group, statuses = RunGroup(), list[trio.TaskStatus[None]]()

    class Value:
        def __del__(self) -> None:
            statuses[0].started()

    async def report(*, task_status: trio.TaskStatus[Value]) -> str:
        task_status.started(Value())
        await trio.testing.wait_all_tasks_blocked()
        return "value"

    async def keep(*, task_status: trio.TaskStatus[None]) -> None:
        statuses.append(task_status)
        await trio.sleep_forever()

    group.add(report, reports_started=True)
    group.add(keep, reports_started=True)
    assert await group.run() == "value"
    with pytest.raises(RuntimeError, match="twice"):
        statuses[0].started()


async def give_at_once(value: object) -> object:
    return value


@pytest.mark.parametrize("_", range(20))  # trio draws lots for the order of the tasks in a tick
async def test_promise_14_what_is_reported_in_the_tick_of_the_stop_counts_if_it_came_first(
    autojump_clock: trio.testing.MockClock, _: int
) -> None:
    order, group, returned = list[str](), RunGroup(), False

    async def stop() -> None:
        order.append("stop")
        raise KeyError("stop")

    async def reporter(task_status: trio.TaskStatus[str]) -> None:
        order.append("started")
        task_status.started("value")
        await trio.sleep_forever()

    group.add(stop)
    group.add(reporter, reports_started=True)
    with pytest.RaisesGroup(KeyError):
        async with trio.open_nursery() as nursery:
            await nursery.start(group.run)
            returned = True
    assert returned == (order == ["started", "stop"])


async def test_promise_14_a_group_started_and_stopped_at_once_has_still_started() -> None:
    group = RunGroup()

    async def execute(*, task_status: trio.TaskStatus[str]) -> None:
        task_status.started("quick")

    group.add(execute, name="a", reports_started=True)
    async with trio.open_nursery() as nursery:
        assert await nursery.start(group.run) == {"a": "quick"}


async def test_promise_14_a_task_status_that_fails_is_an_error_of_run() -> None:
    group = RunGroup()
    group.add(trio.sleep_forever)

    async def twice(*, task_status: trio.TaskStatus[object]) -> None:
        task_status.started()
        await group.run(task_status=task_status)

    with pytest.RaisesGroup(pytest.RaisesExc(RuntimeError, match="called 'started' twice")):
        async with trio.open_nursery() as nursery:
            await nursery.start(twice)


async def test_promise_14_a_start_that_cannot_be_reported_stops_the_group_in_order(
    autojump_clock: trio.testing.MockClock,
) -> None:
    log, group = Log(), RunGroup()
    group.add(*log.actor("a", winding_down=2), grace=5)

    async def report_twice(*, task_status: trio.TaskStatus[None]) -> None:
        task_status.started()
        await group.run(task_status=task_status)  # type: ignore[arg-type]

    with pytest.RaisesGroup(pytest.RaisesExc(RuntimeError, match="called 'started' twice")) as got:
        async with trio.open_nursery() as nursery:
            await nursery.start(report_twice)
    assert log[1:] == [(0, "a", "interrupted", got.value.exceptions[0]), (2, "a", "is done")]
    assert group.record is not None
    assert group.record.reason == "RuntimeError in task_status.started()"


async def test_promise_14_nor_does_one_that_cannot_be_reported_during_the_stop_end_a_grace(
    autojump_clock: trio.testing.MockClock,
) -> None:
    group, error = RunGroup(), ValueError()

    class Broken(trio.TaskStatus[dict[str, object]]):
        def started(self, value: object = None) -> None:
            raise error

    async def execute() -> None:
        group.interrupt()  # before the other one has begun
        await trio.sleep(2)

    group.add(execute, ignore, grace=30)
    group.add(execute, ignore, grace=30)
    with pytest.raises(ValueError) as caught:
        await group.run(task_status=Broken())
    assert caught.value is error
    assert group.record is not None
    assert [(actor.how, actor.exited) for actor in group.record.actors] == [("returned", 2)] * 2


# ---- 15


async def test_promise_15_interrupt_starts_the_stop_and_run_returns_none(
    autojump_clock: trio.testing.MockClock,
) -> None:
    log, group, error = Log(), RunGroup(), ValueError("please stop")
    group.add(*log.actor("a", value="not the result"))
    group.interrupt(KeyError("nothing runs: nothing happens"))
    results: list[object] = []

    async def run(*, task_status: trio.TaskStatus[Any]) -> None:
        results.append(await group.run(task_status=task_status))

    async with trio.open_nursery() as nursery:
        await nursery.start(run)
        group.interrupt(error)
        group.interrupt(KeyError("idempotent"))
    group.interrupt(KeyError("nothing runs any more"))
    assert results == [None]
    assert [event[1:] for event in log] == [
        ("a", "begins"),
        ("a", "interrupted", error),
        ("a", "is done"),
    ]
    assert group.record is not None
    assert group.record.reason == "interrupt() was called with ValueError: please stop"


async def test_promise_15_groups_nest(autojump_clock: trio.testing.MockClock) -> None:
    log, inner, outer, error = Log(), RunGroup(), RunGroup(), ValueError("outer")
    inner.add(*log.actor("inner", winding_down=2))
    outer.add(inner.run, inner.interrupt)
    outer.add(fail_at(1, error))
    assert await raised_by(outer) is error
    assert log[1:] == [(1, "inner", "interrupted", error), (3, "inner", "is done")]


@pytest.mark.parametrize("order", [["cancel", "interrupt"], ["interrupt", "cancel"]])
async def test_promise_15_of_interrupt_and_a_cancellation_in_one_step_the_first_begins_the_stop(
    order: list[str], autojump_clock: trio.testing.MockClock
) -> None:
    group, error, causes = RunGroup(), ValueError("interrupt()"), list[BaseException | None]()
    group.add(trio.sleep_forever, causes.append, grace=10)

    async def run() -> None:
        with outside:
            await group.run()

    outside = trio.CancelScope()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        await trio.sleep(1)
        for each in order:
            if each == "interrupt":
                group.interrupt(error)
            else:
                outside.cancel(reason="test")
    assert outside.cancelled_caught
    assert group.record is not None
    if order[0] == "interrupt":  # and the cancellation is the second request, which ends the grace
        assert causes == [error]
        assert (group.record.reason, group.record.ended) == (
            "interrupt() was called with ValueError: interrupt()",
            1,
        )
    else:
        assert [type(cause) for cause in causes] == [trio.Cancelled]
        assert (group.record.reason, group.record.ended) == ("run() is cancelled from outside", 11)


async def test_promise_15_interrupt_in_another_thread_is_refused_and_harms_nothing() -> None:
    group = RunGroup()
    group.add(trio.sleep_forever)
    async with trio.open_nursery() as nursery:
        await nursery.start(group.run)
        with pytest.raises(RuntimeError, match=r"trio\.from_thread\.run_sync\(group\.interrupt"):
            await trio.to_thread.run_sync(in_no_thread_of_trio, group.interrupt)
        with pytest.raises(RuntimeError, match=r"trio\.from_thread\.run_sync\(group\.interrupt"):
            await trio.to_thread.run_sync(trio.run, call_at_once, group.interrupt)
        # Nothing that two loops may share tells them apart, such as a clock.
        same = functools.partial(trio.run, clock=trio.lowlevel.current_clock())
        with pytest.raises(RuntimeError, match=r"trio\.from_thread\.run_sync\(group\.interrupt"):
            await trio.to_thread.run_sync(same, call_at_once, group.interrupt)
        group.interrupt()


async def call_at_once(function: Callable[[], None]) -> None:
    function()


def in_no_thread_of_trio(function: Callable[[], None]) -> None:
    with ThreadPoolExecutor() as pool:
        pool.submit(function).result()


async def test_promise_15_errors_after_interrupt_are_later_ones(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    log, group = Log(), RunGroup()
    group.add(*log.actor("a", then=ValueError("while stopping")))
    async with trio.open_nursery() as nursery:
        await nursery.start(group.run)
        group.interrupt()
    assert len(caplog.records) == 1


@pytest.mark.parametrize("depth", [1, 3])
async def test_promise_9_nor_is_an_error_lost_where_a_grace_shields_an_inner_group(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture, depth: int
) -> None:
    # 15 says that run() returns None after interrupt(). But here it is called with the Cancelled,
    # and without the grace the inner group would have met that itself and raised the error.
    group, error, told = RunGroup(), ValueError(), trio.Event()

    @functools.partial(group.add, interrupt=lambda _: told.set(), grace=5)
    async def execute() -> None:
        await told.wait()
        raise error

    for _ in range(depth):
        outer = RunGroup()
        outer.add(group.run, group.interrupt, grace=20)
        group = outer
    with trio.move_on_after(2):
        assert await raised_by(group) is error
    assert trio.current_time() == 2
    assert caplog.records == []


def deep(levels: int, function: Callable[[], object]) -> None:
    if levels:
        deep(levels - 1, function)
    else:
        function()


async def test_promise_15_an_interrupt_that_fails_where_the_stack_is_full_can_be_called_again() -> (
    None
):
    failed = 0
    levels = sys.getrecursionlimit() - len(inspect.stack(0))
    for spared in range(50):
        group = RunGroup()
        group.add(trio.sleep_forever)
        async with trio.open_nursery() as nursery:
            await nursery.start(group.run)
            record = group.record
            assert record is not None
            try:
                deep(levels - spared, group.interrupt)
            except RecursionError:
                failed += 1
                assert (record.stopped, record.reason, record.first) == (None, None, None)
            else:
                assert record.stopped is not None
            group.interrupt()
            with trio.fail_after(5):
                while nursery.child_tasks:
                    await trio.lowlevel.checkpoint()
    assert 0 < failed < 50


async def test_promise_6_where_the_stack_is_too_full_to_begin_this_is_what_is_raised() -> None:
    async def run_deep(levels: int, group: RunGroup) -> None:
        if levels:
            await run_deep(levels - 1, group)
        else:
            await group.run()

    raised, levels = list[type[BaseException]](), sys.getrecursionlimit() - len(inspect.stack(0))
    before = {**_graces.runs_under_way}  # another test may have broken off a run
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # at some depth, trio forgets to begin a task
        for spared in (*range(50), 800):  # coverage needs some, too
            group = RunGroup()
            group.add(trio.lowlevel.checkpoint, ignore)
            try:
                await run_deep(levels - spared, group)
            except BaseException as error:
                raised.append(type(error))
            assert _graces.runs_under_way == before
        gc.collect()  # here: such a task would say in a later test that it was never awaited
    assert 0 < len(raised) <= 50
    assert set(raised) == {RecursionError}


async def test_promise_7_where_the_stack_is_too_full_to_end_a_grace_all_are_cancelled(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    # How full that is depends on Python and trio; some frames more, and trio itself breaks.
    def fail(*_: object) -> None:
        raise RecursionError

    monkeypatch.setattr(_graces.Watch, "end_graces_due", fail)
    group = RunGroup()
    group.add(functools.partial(give, 1, "value"))
    group.add(functools.partial(trio.sleep, 100), ignore, grace=5)  # not for ever: rather fail
    group.add(functools.partial(trio.sleep, 100), ignore, grace=7)
    assert type(await raised_by(group)) is RecursionError
    assert group.record is not None
    assert [actor.exited for actor in group.record.actors] == [1, 6, 6]


async def test_promise_3_an_exit_counts_where_the_stack_was_too_full_for_an_interrupt_before_it(
    autojump_clock: trio.testing.MockClock,
) -> None:
    raised = list[type[BaseException] | None]()
    for spared in range(30):
        group, stopping = RunGroup(), trio.Event()

        async def worker(group: RunGroup = group, spared: int = spared) -> None:
            await trio.sleep(1)
            levels = sys.getrecursionlimit() - len(inspect.stack(0))
            deep(levels - spared, group.interrupt)

        def interrupt(_: BaseException | None, stopping: trio.Event = stopping) -> None:
            stopping.set()

        group.add(worker)
        group.add(stopping.wait, interrupt)
        with trio.fail_after(60):
            try:
                await group.run()
            except RecursionError as error:
                raised.append(type(error))
            else:
                raised.append(None)
    assert raised[0] is RecursionError
    assert raised[-1] is None


@pytest.mark.parametrize("way", ["cancel", "interrupt"])
async def test_promise_15_a_stop_that_began_on_a_full_stack_goes_on_with_the_next_call(
    way: str,
) -> None:
    failed = 0
    levels = sys.getrecursionlimit() - len(inspect.stack(0))
    for spared in range(50):
        group, stopping, outside = RunGroup(), trio.Event(), trio.CancelScope()

        async def run(group: RunGroup = group, outside: trio.CancelScope = outside) -> None:
            with outside, contextlib.suppress(RecursionError):
                await group.run()

        def interrupt(_: BaseException | None, stopping: trio.Event = stopping) -> None:
            stopping.set()

        group.add(stopping.wait, interrupt, grace=100)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run)
            await trio.testing.wait_all_tasks_blocked()
            try:
                deep(levels - spared, outside.cancel if way == "cancel" else group.interrupt)
            except RecursionError:
                failed += 1
            for fewer in range(15):  # these fail at first, and change nothing
                with contextlib.suppress(RecursionError):
                    deep(levels - fewer, group.interrupt)
            group.interrupt()
            with trio.fail_after(5):
                while nursery.child_tasks:
                    await trio.lowlevel.checkpoint()
    assert 0 < failed < 50


async def test_promise_15_an_instrument_that_interrupts_when_it_sees_the_stop_comes_too_late(
    autojump_clock: trio.testing.MockClock,
) -> None:
    class Interrupts(trio.abc.Instrument):
        def task_scheduled(self, task: trio.lowlevel.Task) -> None:
            if task is caller:
                times.append(trio.current_time())
                group.interrupt(KeyError())

    log, group, error, times = Log(), RunGroup(), ValueError("the first"), list[float]()
    group.add(functools.partial(fail, 1, error), name="fails")
    group.add(*log.actor("other"))
    caller, instrument = trio.lowlevel.current_task(), Interrupts()
    trio.lowlevel.add_instrument(instrument)
    assert await raised_by(group) is error
    trio.lowlevel.remove_instrument(instrument)
    assert times[0] == 1
    assert [entry[3] for entry in log if entry[2] == "interrupted"] == [error]
    assert group.record is not None
    assert group.record.first is group.record.actors[0]
    assert group.record.reason is None


async def test_promise_15_interrupt_counts_also_while_the_actors_are_being_started(
    autojump_clock: trio.testing.MockClock,
) -> None:
    class Interrupts(trio.abc.Instrument):
        def task_spawned(self, task: trio.lowlevel.Task) -> None:
            if task.name == "second":
                group.interrupt(error)

    log, group, error = Log(), RunGroup(), ValueError("now")
    group.add(*log.actor("first"), name="first")
    group.add(*log.actor("second"), name="second")
    instrument = Interrupts()
    trio.lowlevel.add_instrument(instrument)
    with trio.fail_after(60):
        assert await group.run() is None
    trio.lowlevel.remove_instrument(instrument)
    begun = sorted(name for _, name, what, *_ in log if what == "begins")
    assert begun == ["first", "second"]
    assert [entry for entry in log if entry[2] == "interrupted"] == [
        (0, "first", "interrupted", error),
        (0, "second", "interrupted", error),
    ]
    assert group.record is not None
    assert group.record.reason == "interrupt() was called with ValueError: now"


# ---- 16


async def test_promise_16_nor_is_a_group_without_actors_run_twice_at_once() -> None:
    group, messages = RunGroup(), list[str]()

    async def run() -> None:
        try:
            await group.run()
        except RuntimeError as error:
            messages.append(str(error))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        nursery.start_soon(run)
    assert [message[:33] for message in messages] == ["this RunGroup is already running;"]


async def test_promise_16_a_group_can_be_run_again_but_not_twice_at_once(
    autojump_clock: trio.testing.MockClock,
) -> None:
    group, runs = RunGroup(), []

    async def execute() -> None:
        runs.append("ran")
        await trio.sleep(1)

    group.add(execute, ignore, grace=1)
    await group.run()
    first_record = group.record
    await group.run()
    assert runs == ["ran", "ran"]
    assert group.record is not first_record
    async with trio.open_nursery() as nursery:
        await nursery.start(group.run)
        with pytest.raises(RuntimeError, match="already running"):
            await group.run()
    assert repr(group) == "<RunGroup of 1 actor, not running>"


async def test_promise_16_what_is_added_during_a_run_counts_from_the_next(
    autojump_clock: trio.testing.MockClock,
) -> None:
    group, ran = RunGroup(), []

    async def second() -> None:
        ran.append("second")

    async def first() -> None:
        ran.append("first")
        if len(ran) == 1:
            assert repr(group) == "<RunGroup of 1 actor, running>"
            group.add(second, ends_group=False)
            assert repr(group) == "<RunGroup of 2 actors, running>"
        await trio.sleep(1)

    group.add(first)
    await group.run()
    assert ran == ["first"]
    await group.run()
    assert sorted(ran) == ["first", "first", "second"]


@pytest.mark.parametrize("interrupt", [None, ignore], ids=["default", "own"])
async def test_promise_16_nor_does_the_run_under_way_start_interrupt_or_record_what_is_added(
    interrupt: Interrupt | None,
    autojump_clock: trio.testing.MockClock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    group = RunGroup(grace=2)

    async def late(*, task_status: trio.TaskStatus[None]) -> None:
        raise AssertionError("it was not there when the run began")

    async def adds(*, task_status: trio.TaskStatus[str]) -> None:
        group.add(late, failing, name="late", reports_started=True)
        task_status.started("ready")
        await trio.sleep_forever()

    group.add(adds, interrupt, name="adds", reports_started=True)
    group.add(functools.partial(trio.sleep, 1), name="ends")
    async with trio.open_nursery() as nursery:
        assert await nursery.start(group.run) == {"adds": "ready"}
    assert group.record is not None
    assert [(a.name, a.exited) for a in group.record.actors] == [
        ("adds", 1 if interrupt is None else 3),
        ("ends", 1),
    ]
    assert "late" not in str(group.record)
    assert not any("late" in message for message in caplog.messages)


# ---- 17


async def wait_here() -> None:
    await stubborn(30)


async def wait_in_a_nursery() -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait_here)


@pytest.mark.parametrize("interrupt", [None, ignore], ids=["default", "own"])
async def test_promise_17_a_long_stop_names_the_actors_it_waits_for_and_where(
    autojump_clock: trio.testing.MockClock,
    caplog: pytest.LogCaptureFixture,
    interrupt: Interrupt | None,
) -> None:
    group, inner = RunGroup(), RunGroup()
    inner.add(wait_here, name="in the inner group")
    group.add(wait_here, interrupt, name="direct")
    group.add(wait_in_a_nursery, name="with a nursery")
    group.add(inner.run, name="inner group")
    group.add(trio.sleep_forever, name="quick")
    group.add(functools.partial(give, 1, None), name="first")
    await group.run()
    assert [(r.name, r.levelno) for r in caplog.records] == [
        ("trio_rungroup", logging.WARNING)
    ] * 2  # the inner group says so as well
    text = caplog.text
    assert text.count("the stop has been waiting for 10 s for:") == 2
    for name in ("direct", "with a nursery", "inner group"):
        (line,) = (line for line in text.splitlines() if line.startswith(f"  {name!r} at "))
        assert "test_group.py" in line
        assert "in stubborn" in line
    assert "'quick'" not in text
    assert "'first'" not in text


async def test_promise_17_an_actor_without_an_interrupt_is_named_also_under_a_groups_grace(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    # It was cancelled at once: there is no grace of which to await the end.
    group = RunGroup(grace=20)
    group.add(wait_here, name="cancelled")
    group.add(wait_here, ignore, name="has a grace")
    group.add(functools.partial(give, 1, None))
    await group.run()
    after_10_s = caplog.messages[0]
    assert "the stop has been waiting for 10 s for:" in after_10_s
    assert "'cancelled'" in after_10_s
    assert "'has a grace'" not in after_10_s


async def test_promise_17_it_is_named_as_well_when_the_groups_grace_has_ended_before(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    group = RunGroup(grace=3)
    group.add(wait_here, name="cancelled")
    group.add(trio.sleep_forever, ignore)
    group.add(functools.partial(give, 1, None))
    await group.run()
    ended, after_10_s = caplog.messages
    assert "the grace has ended" in ended
    assert "the stop has been waiting for 10 s for:" in after_10_s
    assert "'cancelled'" in after_10_s


async def test_promise_17_an_interrupt_without_a_grace_that_hangs_is_named_too(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    group = RunGroup()
    group.add(functools.partial(give, 1, None), lambda _: wait_here())
    await group.run()
    assert "the interrupt of actor 'give' at" in caplog.text
    assert "in stubborn" in caplog.text


async def test_promise_17_none_is_named_that_takes_its_turn_in_time(
    autojump_clock: trio.testing.MockClock,
) -> None:
    times: list[float] = []
    group = RunGroup()
    for _ in range(60):
        group.add(trio.lowlevel.checkpoint, lambda _: trio.sleep(1))
    with times_of_logging(times):
        await group.run()
    assert trio.current_time() == 60
    assert times == [10]  # by then it is the stop that takes long


async def test_promise_17_and_so_is_one_that_hangs_after_the_first_warning(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    times: list[float] = []
    group = RunGroup()
    group.add(trio.lowlevel.checkpoint, lambda _: trio.sleep(12), name="a")
    group.add(trio.lowlevel.checkpoint, lambda _: trio.sleep_forever(), name="b")
    with times_of_logging(times), trio.move_on_after(1000):
        await group.run()
    assert times == [10, 22]
    for name, time, message in zip("ab", times, caplog.messages, strict=True):
        assert f"waiting for {time:g} s for:\n  the interrupt of actor '{name}' at" in message


@pytest.mark.parametrize("odd", ["module", "name"])
async def test_promise_17_what_cannot_be_told_is_not_in_the_way_of_the_stop(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture, odd: str
) -> None:
    names: dict[str, Any] = {"trio": trio, "__name__": None if odd == "module" else "plugin"}
    exec("async def wait():\n    await trio.sleep_forever()", names)

    async def renamed() -> None:
        trio.lowlevel.current_task().name = ["a", "list"]  # type: ignore[assignment]
        await trio.sleep_forever()

    group = RunGroup()
    group.add(names["wait"] if odd == "module" else renamed, ignore, name="odd", grace=3)
    group.add(functools.partial(give, 1, None))
    await group.run()
    assert trio.current_time() == 4
    assert f"'odd' at {'<string>:2 in wait' if odd == 'module' else __file__}" in caplog.text


@contextlib.contextmanager
def times_of_logging(times: list[float]) -> Iterator[None]:
    handler, log = logging.Handler(), logging.getLogger("trio_rungroup")
    handler.emit = lambda record: times.append(trio.current_time())  # type: ignore[method-assign]
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)


@pytest.mark.parametrize("request_at", [2, 15])
async def test_promise_17_who_stays_after_all_graces_have_ended_is_named_ten_seconds_later(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture, request_at: float
) -> None:
    times: list[float] = []
    group = RunGroup()
    group.add(functools.partial(give, 1, None))
    group.add(functools.partial(stubborn, 500), ignore, grace=100, name="with a grace")
    group.add(functools.partial(stubborn, 500), ignore, name="without one")
    with trio.move_on_after(request_at), times_of_logging(times):
        await group.run()
    assert times == ([2, 11] if request_at == 2 else [11, 15, 25])
    asked_again = caplog.messages[0 if request_at == 2 else 1]
    assert asked_again.startswith("cancelled because the grace has ended (asked a second time to ")
    assert caplog.text.count("'without one'") == 1  # the timeout has cancelled it, too
    assert caplog.text.count("'with a grace'") == 2


async def test_promise_17_whose_grace_a_second_request_ends_is_named(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    group, inner, innermost = RunGroup(grace=50), RunGroup(), RunGroup()
    innermost.add(wait_here, ignore)
    inner.add(innermost.run, innermost.interrupt, name="innermost", grace=40)
    inner.add(wait_here, ignore, name="inside", grace=40)
    group.add(functools.partial(give, 1, None))
    group.add(inner.run, inner.interrupt, name="inner")
    group.add(wait_here, ignore, grace=20, name="direct")
    group.add(wait_here, name="cancelled already")
    with trio.move_on_after(3):
        await group.run()
    ended = "cancelled because the grace has ended"
    messages = [message for message in caplog.messages if message.startswith(ended)]
    around, inside = (re.sub(r"\S+:[0-9]+ in ", "", message) for message in messages)
    assert around == (
        f"{ended} (asked a second time to stop):\n"
        "  'inner' at stubborn (2 tasks)\n"  # found wherever it is inside
        "  'direct' at stubborn"
    )
    assert inside == (
        f"{ended} (the grace has ended in the group around this one):\n  'inside' at stubborn"
    )


async def test_promise_17_an_interrupt_that_is_late_after_a_second_request_is_named_in_time(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async def nine(error: BaseException | None) -> None:
        await stubborn(9)

    times: list[float] = []
    group = RunGroup()
    group.add(functools.partial(give, 0, None), nine)
    for name in "abc":
        group.add(trio.sleep_forever, nine, name=name)
    with trio.move_on_after(1), times_of_logging(times):
        await group.run()
    assert times[0] == 10
    assert caplog.messages[0].startswith(
        "the stop has been waiting for 10 s for:\n  the interrupt of actor 'a' at "
    )


async def test_promise_17_who_outlasts_an_error_that_ends_all_graces_is_named_in_time(
    autojump_clock: trio.testing.MockClock,
) -> None:
    times: list[float] = []
    group = RunGroup()
    group.add(functools.partial(give, 0, None))
    group.add(fail_at(12, SystemExit()), ignore)
    group.add(functools.partial(stubborn, 40), ignore, grace=100)
    with times_of_logging(times), pytest.raises(SystemExit):
        await group.run()
    assert times == [10, 12, 22]


async def test_promise_17_a_request_inside_a_shield_is_no_grace_that_ended_around(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    outer, inner = RunGroup(grace=5), RunGroup()

    async def clean_up() -> None:
        with trio.move_on_after(20, shield=True):
            await inner.run()

    inner.add(trio.sleep_forever, ignore, grace=100, name="slow")
    inner.add(functools.partial(give, 8, None))
    outer.add(clean_up, ignore)
    outer.add(functools.partial(give, 1, None))
    await outer.run()
    assert caplog.messages[-1].startswith(
        "cancelled because the grace has ended (asked a second time to stop):\n  'slow' at "
    )


async def test_promise_17_a_group_that_begins_when_the_grace_around_it_ends_is_named(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    outer, inner = RunGroup(grace=0), RunGroup()

    async def clean_up() -> None:
        try:
            await trio.sleep_forever()
        finally:
            await inner.run()

    inner.add(trio.sleep_forever, ignore, grace=50, name="keeper")
    outer.add(clean_up)
    outer.add(trio.sleep_forever, ignore, name="x")
    with trio.move_on_after(1):
        await outer.run()
    assert "'x' at " in caplog.text
    assert "'keeper' at " in caplog.text


async def test_promise_17_a_grace_that_ends_around_a_group_is_no_second_request(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    group, inner = RunGroup(), RunGroup()

    async def run_inner() -> None:
        await inner.run()

    inner.add(wait_here, ignore, grace=100, name="inside")
    group.add(functools.partial(give, 1, None))
    group.add(run_inner, inner.interrupt, grace=2, name="inner")
    await group.run()
    around, inside, *_ = caplog.messages
    assert around.startswith("cancelled because the grace has ended:\n  'inner' at ")
    assert inside.startswith(
        "cancelled because the grace has ended (the grace has ended in the group around this one):"
        "\n  'inside' at "
    )


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(3)])
async def test_promise_17_also_if_ctrl_c_or_an_exit_is_that_request(
    autojump_clock: trio.testing.MockClock,
    caplog: pytest.LogCaptureFixture,
    error: BaseException,
) -> None:
    group = RunGroup()
    group.add(functools.partial(give, 1, None))
    group.add(trio.sleep_forever, ignore, name="without a grace")
    group.add(functools.partial(fail, 2, error), ignore)
    assert await raised_by(group) is error
    (message,) = caplog.messages
    assert message.partition(" at /")[0] == (
        f"cancelled because the grace has ended ({type(error).__name__} during the stop):\n"
        "  'without a grace'"
    )


async def test_promise_17_whatever_the_class_of_that_exit_is_called(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    group = RunGroup()
    group.add(functools.partial(give, 1, None))
    group.add(trio.sleep_forever, ignore)
    group.add(functools.partial(fail, 2, type("Exit 100%", (SystemExit,), {})()), ignore)
    await raised_by(group)
    (message,) = caplog.messages
    assert message.startswith("cancelled because the grace has ended (Exit 100% during the stop):")


async def test_promise_17_where_no_grace_has_begun_none_is_said_to_have_ended(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async def stop_and_cancel() -> None:
        await trio.sleep(1)
        group.interrupt()
        outside.cancel(reason="in the same tick")
        await trio.sleep_forever()

    group = RunGroup(grace=50)
    group.add(stop_and_cancel)
    group.add(trio.sleep_forever, ignore)
    with trio.CancelScope() as outside:
        await group.run()
    assert group.record is not None
    assert group.record.ended == 1
    assert caplog.messages == []


async def test_promise_17_who_has_not_been_interrupted_yet_is_named_apart(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async def hang(error: BaseException | None) -> None:
        await trio.sleep_forever()

    group = RunGroup()
    group.add(wait_here, name="told")
    group.add(trio.sleep_forever, hang, grace=20, name="hanging")
    group.add(trio.sleep_forever, name="innocent")
    group.add(functools.partial(give, 1, None))
    await group.run()
    told, innocent = caplog.messages[0].split("\nnot interrupted yet:\n  ")
    assert [line.partition(" at /")[0] for line in told.splitlines()] == [
        "the stop has been waiting for 10 s for:",
        "  'told'",
        "  the interrupt of actor 'hanging'",
    ]
    assert innocent.startswith("'innocent' at ")


async def test_promise_17_also_if_what_holds_it_up_has_been_named_before(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async def hang(error: BaseException | None) -> None:
        await stubborn(100)

    group = RunGroup()
    group.add(functools.partial(give, 1, None))
    group.add(trio.sleep_forever, hang, name="hanging")
    group.add(wait_here, ignore, grace=200, name="later")
    with trio.move_on_after(15):
        await group.run()
    at_11, at_15, at_25 = caplog.messages
    assert at_11.startswith(
        "the stop has been waiting for 10 s for:\n  'hanging' at "  # and its interrupt
    )
    assert at_15.startswith(
        "cancelled because the grace has ended (asked a second time to stop):\n  'later' at "
    )
    assert at_25.startswith(
        "the stop has been waiting for 24 s\nnot interrupted yet:\n  'later' at "
    )


async def test_promise_17_whose_interrupt_has_failed_is_named_for_there_is_no_grace_to_come(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(error: BaseException | None) -> None:
        raise ValueError

    group = RunGroup()
    group.add(functools.partial(give, 1, None))
    group.add(functools.partial(stubborn, 500), broken, grace=20, name="stubborn")
    await group.run()
    _, warning = caplog.messages
    assert warning.startswith("the stop has been waiting for 10 s for:\n  'stubborn' at ")


async def test_promise_17_also_if_it_fails_when_the_ten_seconds_are_over(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(error: BaseException | None) -> None:
        await trio.sleep(15)
        raise ValueError

    times: list[float] = []
    group = RunGroup()
    group.add(functools.partial(give, 1, None))
    group.add(functools.partial(stubborn, 500), broken, grace=20, name="stubborn")
    with times_of_logging(times):
        await group.run()
    assert times == [16, 26]
    _, warning = caplog.messages
    assert warning.startswith("the stop has been waiting for 25 s for:\n  'stubborn' at ")


@pytest.mark.parametrize(
    ("grace", "group_grace", "at"),
    [(5, math.inf, 16), (20, math.inf, 31), (math.inf, 5, 16), (math.inf, 20, 31)],
)
async def test_promise_17_an_interrupt_that_does_not_heed_the_end_of_its_grace_is_named(
    autojump_clock: trio.testing.MockClock,
    caplog: pytest.LogCaptureFixture,
    grace: float,
    group_grace: float,
    at: float,
) -> None:
    times: list[float] = []
    group = RunGroup(grace=group_grace)
    group.add(functools.partial(give, 1, None))
    group.add(functools.partial(give, 2, None), lambda _: stubborn(500), grace=grace, name="slow")
    with times_of_logging(times):
        await group.run()
    assert times == [at]
    (warning,) = caplog.messages
    assert f"waiting for {at - 1} s for:\n  the interrupt of actor 'slow' at" in warning


async def test_promise_17_also_in_a_shielded_clean_up_of_an_actor_whose_own_grace_is_over(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    inner, clean_up, outer = RunGroup(), RunGroup(grace=2), RunGroup(grace=2)
    inner.add(lambda: stubborn(25), ignore)
    clean_up.add(inner.run, inner.interrupt, name="inner")
    clean_up.add(functools.partial(give, 3, None))
    outer.add(shut_down_by(trio.CancelScope(shield=True), clean_up), ignore, name="outer")
    outer.add(functools.partial(give, 1, None))
    times: list[float] = []
    with times_of_logging(times):
        await outer.run()
    ended = [
        (time, name)
        for time, message in zip(times, caplog.messages, strict=True)
        for name in ("outer", "inner")
        if message.startswith(f"cancelled because the grace has ended:\n  '{name}' at")
    ]
    assert ended == [(3, "outer"), (8, "inner")]


async def test_promise_17_nor_the_end_of_all_graces(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    times: list[float] = []
    group = RunGroup()
    group.add(functools.partial(give, 1, None))
    group.add(functools.partial(give, 2, None), lambda _: stubborn(500), grace=100, name="last")
    with trio.move_on_after(3), times_of_logging(times):
        await group.run()
    assert times == [13]
    assert caplog.text.count("the interrupt of actor 'last'") == 1


async def test_promise_17_also_by_a_clock_that_has_passed_that_moment(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async def jump() -> None:
        await trio.sleep(12)
        autojump_clock.jump(10)

    times: list[float] = []
    group = RunGroup()
    group.add(functools.partial(give, 1, None))
    group.add(functools.partial(give, 2, None), lambda _: stubborn(500), grace=5)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(jump)
        with times_of_logging(times):
            await group.run()
    assert times == [22]


@pytest.mark.parametrize("grace", [9.9, 10])
async def test_promise_17_an_interrupt_that_heeds_it_is_not_named_even_if_it_takes_a_moment(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture, grace: float
) -> None:
    async def slow(error: BaseException | None) -> None:
        try:
            await trio.sleep_forever()
        finally:
            await stubborn(0.2)

    group = RunGroup()
    group.add(functools.partial(give, 1, None))
    group.add(functools.partial(give, 2, None), slow, grace=grace)
    await group.run()
    assert trio.current_time() == 1 + grace + 0.2
    assert caplog.messages == []


async def test_promise_17_an_interrupt_that_is_called_when_all_graces_are_over_has_its_time_too(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    times: list[float] = []
    group = RunGroup(grace=5)
    group.add(functools.partial(give, 1, None))
    group.add(functools.partial(give, 2, None), lambda _: stubborn(9), name="in time")
    group.add(functools.partial(give, 2, None), lambda _: stubborn(9), name="in time, too")
    group.add(functools.partial(give, 2, None), lambda _: stubborn(11), name="late")
    with times_of_logging(times):
        await group.run()
    assert times == [19 + 10]
    (warning,) = caplog.messages
    assert "waiting for 28 s for:\n  the interrupt of actor 'late' at" in warning


async def test_promise_17_an_interrupt_is_named_once(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    times: list[float] = []
    group = RunGroup()
    group.add(functools.partial(give, 1, None), lambda _: stubborn(500))
    with trio.move_on_after(20), times_of_logging(times):
        await group.run()
    assert times == [11]


async def test_promise_17_an_interrupt_that_holds_up_the_others_is_named_though_it_has_a_grace(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async def slow(error: BaseException | None) -> None:
        await trio.sleep(300)

    group = RunGroup()
    group.add(functools.partial(give, 1, None))
    group.add(trio.sleep_forever, slow, grace=200, name="slow")
    group.add(trio.sleep_forever, name="its turn has not come")
    await group.run()
    warning, _ = caplog.messages
    assert "'its turn has not come'" in warning
    assert "the interrupt of actor 'slow' at" in warning


async def test_promise_17_an_interrupt_that_its_grace_will_end_and_nobody_waits_for_is_not_named(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async def slow(error: BaseException | None) -> None:
        await trio.sleep(300)

    group = RunGroup()
    group.add(functools.partial(give, 1, None))
    group.add(trio.sleep_forever, slow, grace=200, name="slow")
    await group.run()
    (message,) = caplog.messages
    assert message.startswith("cancelled because the grace has ended:\n  'slow' at ")


async def test_promise_9_a_cancelled_task_of_somebody_else_in_the_nursery_is_no_error(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async def execute() -> None:
        nursery = trio.lowlevel.current_task().parent_nursery
        assert nursery is not None
        nursery.start_soon(trio.sleep_forever)
        await trio.sleep(1)
        raise error

    group, error = RunGroup(), ValueError("of the actor")
    group.add(execute, ignore)
    with trio.move_on_after(2):
        assert await raised_by(group) is error
    assert trio.current_time() == 2
    assert error.__notes__ == [f"raised by actor {execute.__qualname__!r} of a RunGroup"]
    assert caplog.messages == []


async def test_promise_5_a_task_of_somebody_else_in_the_nursery_is_cancelled_with_the_last_actor(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async def execute() -> str:
        nursery = trio.lowlevel.current_task().parent_nursery
        assert nursery is not None
        nursery.start_soon(trio.sleep, 100)
        return "done"

    group = RunGroup()
    group.add(execute)
    assert await group.run() == "done"
    assert trio.current_time() == 0


async def test_promise_17_a_task_of_somebody_else_in_the_nursery_is_not_taken_for_an_actor(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async def guest(index: object) -> None:
        await trio.sleep_forever()

    async def execute() -> None:
        nursery = trio.lowlevel.current_task().parent_nursery
        assert nursery is not None
        for index in 0, 1, ["not a number"]:
            nursery.start_soon(guest, index)
        with trio.CancelScope(shield=True):
            await trio.sleep(20)
        nursery.cancel_scope.cancel()

    group = RunGroup()
    group.add(functools.partial(give, 1, None))
    group.add(execute, ignore, grace=3)
    await group.run()
    assert len(caplog.messages) == 2  # its grace has ended; it is still there
    for message in caplog.messages:
        assert message.endswith(".execute")
        assert "guest" not in message


async def test_promise_17_who_has_a_finite_grace_is_named_when_it_ends(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    group = RunGroup()
    group.add(trio.sleep_forever, ignore, name="in trio only", grace=20)
    group.add(wait_here, ignore, name="with a grace", grace=15)
    group.add(functools.partial(give, 1, None))
    times: list[float] = []
    with times_of_logging(times):
        await group.run()
    assert times == [16, 21, 26]
    first, second, third = caplog.messages
    assert first.startswith("cancelled because the grace has ended:\n  'with a grace' at ")
    assert "in stubborn" in first
    assert "'in trio only' at " in second
    assert "in sleep_forever" in second
    assert third.startswith("the stop has been waiting for 25 s for:\n  'with a grace', cancelled ")
    assert "cancelled 10 s ago, at " in third
    assert "in stubborn" in third


async def test_promise_17_also_if_a_second_request_has_ended_the_other_graces_meanwhile(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    group = RunGroup()
    group.add(functools.partial(stubborn, 500), ignore, grace=5, name="own")
    group.add(functools.partial(stubborn, 500), ignore, grace=100, name="other")
    group.add(functools.partial(give, 0, None))
    times: list[float] = []
    with trio.move_on_after(8), times_of_logging(times):
        await group.run()
    assert times == [5, 8, 10, 15]
    assert "'own', cancelled 10 s ago, at " in caplog.messages[3]


async def test_promise_17_a_group_inside_speaks_for_itself(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    inner, outer = RunGroup(), RunGroup()
    inner.add(functools.partial(stubborn, 500), ignore, name="stubborn one")
    outer.add(inner.run, inner.interrupt, grace=5, name="inner")
    outer.add(functools.partial(stubborn, 500), ignore, grace=5, name="beside it")
    outer.add(functools.partial(give, 0, None))
    await outer.run()
    waiting = [text for text in caplog.messages if text.startswith("the stop has been waiting")]
    assert [re.findall("  '(.*?)'", text) for text in waiting] == [["stubborn one"], ["beside it"]]


async def test_promise_17_also_by_a_clock_that_has_passed_the_ten_seconds(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async def jump() -> None:
        await trio.sleep(8)
        autojump_clock.jump(32)

    group = RunGroup()
    group.add(functools.partial(stubborn, 60), ignore, grace=5, name="one")
    group.add(functools.partial(stubborn, 60), ignore, grace=7, name="other")
    group.add(functools.partial(give, 0, None))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(jump)
        await group.run()
    assert len(caplog.messages) == 3
    assert "'one', cancelled 35 s ago, at " in caplog.messages[2]
    assert "'other', cancelled 33 s ago, at " in caplog.messages[2]


@pytest.mark.parametrize("groups_grace", [math.inf, 12])
async def test_promise_17_who_does_not_heed_the_end_of_its_grace_is_named_once_more(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture, groups_grace: float
) -> None:
    group = RunGroup(grace=groups_grace)
    group.add(functools.partial(stubborn, 21.9), ignore, grace=12, name="heeds it late")
    group.add(functools.partial(stubborn, 500), ignore, grace=12, name="does not")
    group.add(functools.partial(stubborn, 500), ignore, grace=12.5, name="nor does this")
    group.add(functools.partial(give, 0, None))
    times: list[float] = []
    with times_of_logging(times):
        await group.run()
    ends = [12, 12.5] if groups_grace == math.inf else [12]
    assert times == [*ends, *(end + 10 for end in ends)]
    named_again = "".join(caplog.messages[len(ends) :])
    assert re.findall("'(.*)', cancelled 10 s ago", named_again) == ["does not", "nor does this"]


@pytest.mark.parametrize(("number", "more"), [(4, ""), (5, " and 1 more"), (20, " and 16 more")])
async def test_promise_17_an_actor_with_many_tasks_is_told_in_few_places(
    autojump_clock: trio.testing.MockClock,
    caplog: pytest.LogCaptureFixture,
    number: int,
    more: str,
) -> None:
    lines = "".join(f"        if n == {n}: await trio.sleep(30)\n" for n in range(number))
    shielded = "    with trio.CancelScope(shield=True):\n"
    names: dict[str, Any] = {"trio": trio}
    exec(f"async def somewhere(n):\n{shielded}{lines}", names)

    async def execute() -> None:
        async with trio.open_nursery() as nursery:
            for n in range(number):
                nursery.start_soon(names["somewhere"], n)

    group = RunGroup()
    group.add(execute, name="many")
    group.add(functools.partial(give, 1, None))
    await group.run()
    (warning,) = caplog.messages
    places = re.findall(r"<string>:\d+ in somewhere", warning)
    assert len(places) == len(set(places)) == 4  # and the nursery itself
    assert warning.endswith(f"in somewhere{more}")


async def test_promise_17_and_those_who_wait_in_the_same_place_together(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async def is_stuck() -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(30)

    async def execute() -> None:
        async with trio.open_nursery() as nursery:
            for n in range(40):
                nursery.start_soon(is_stuck if n == 20 else wait_here)

    group = RunGroup()
    group.add(execute, name="many")
    group.add(functools.partial(give, 1, None))
    await group.run()
    (warning,) = caplog.messages
    places = [re.split(r"\.| in ", place)[-1] for place in warning.split(", ")]
    assert places[0] == "execute"
    assert {*places[1:]} == {"stubborn (39 tasks)", "is_stuck"}


async def test_promise_17_a_stop_within_10_s_says_nothing(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    group = RunGroup()
    group.add(functools.partial(stubborn, 10.5))
    group.add(functools.partial(give, 1, None))
    await group.run()
    assert caplog.messages == []


async def test_promise_17_who_is_cancelled_already_is_not_said_to_be_when_a_grace_ends(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    group = RunGroup(grace=5)
    group.add(functools.partial(stubborn, 8))
    group.add(functools.partial(stubborn, 8), ignore, grace=2, name="own grace")
    group.add(functools.partial(give, 1, None))
    await group.run()
    (message,) = caplog.messages
    assert message.startswith("cancelled because the grace has ended:\n  'own grace' at ")


# ---- 18


async def test_promise_18_of_two_exits_in_one_tick_either_is_first_and_both_are_recorded(
    autojump_clock: trio.testing.MockClock,
) -> None:
    firsts = set()
    for _ in range(100):
        group = RunGroup()
        group.add(functools.partial(give, 1, "a"), name="a")
        group.add(functools.partial(give, 1, "b"), name="b")
        value = await group.run()
        assert group.record is not None
        assert group.record.first is not None
        assert group.record.first.name == value
        assert [actor.how for actor in group.record.actors] == ["returned", "returned"]
        firsts.add(value)
    assert firsts == {"a", "b"}


async def test_promise_18_an_interrupt_that_cancels_does_not_hide_an_error_due_in_the_same_tick(
    autojump_clock: trio.testing.MockClock,
) -> None:
    # So the interrupts are called a turn after the first exit, and not by the task that has made
    # it: trio lets a cancellation from further out win over a sleep that is over.
    for _ in range(20):
        group, errors = RunGroup(), [ValueError("a"), KeyError("b")]

        async def execute(scope: trio.CancelScope, error: Exception) -> None:
            with scope:
                await trio.sleep(1)
                raise error

        for error in errors:
            scope = trio.CancelScope()
            interrupt = functools.partial(cancel, scope)
            group.add(functools.partial(execute, scope, error), interrupt)
        assert await raised_by(group) in errors
        assert group.record is not None
        assert [actor.error for actor in group.record.actors] == errors


def cancel(scope: trio.CancelScope, _: BaseException | None) -> None:
    scope.cancel(reason="its interrupt was called")


# ---- 19: see also test_ctrl_c.py


@pytest.fixture
def ctrl_c_before_the_first_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Strike once at the line that begins a coroutine, unless its name begins with `not_`."""
    unprotected = _group.unprotected
    struck: weakref.WeakSet[Coroutine[Any, Any, object]] = weakref.WeakSet()

    @trio.lowlevel.disable_ki_protection
    async def strike(coroutine: Coroutine[Any, Any, object]) -> object:
        name: str = getattr(coroutine, "__name__")  # noqa: B009 - mypy does not know it
        if coroutine not in struck and not name.startswith("not_"):
            struck.add(coroutine)
            signal.raise_signal(signal.SIGINT)
        return await unprotected(coroutine)

    monkeypatch.setattr(_group, "unprotected", strike)


def run_under_ctrl_c(group: RunGroup) -> KeyboardInterrupt:
    with pytest.raises(KeyboardInterrupt) as caught:
        trio.run(group.run, clock=trio.testing.MockClock(autojump_threshold=0))
    assert group.record is not None
    assert group.record.stopped is not None
    return caught.value


@pytest.mark.parametrize("interrupt", [None, ignore])
def test_promise_19_where_a_coroutine_is_made_ctrl_c_waits_so_that_none_is_lost(
    interrupt: Interrupt | None,
) -> None:
    begun: list[bool] = []
    group = RunGroup()

    async def worker() -> None:
        begun.append(True)
        await trio.sleep_forever()

    @functools.partial(group.add, interrupt=interrupt, grace=5 if interrupt else math.inf)
    def execute() -> Awaitable[object]:
        signal.raise_signal(signal.SIGINT)
        return worker()

    run_under_ctrl_c(group)
    assert begun == [True]


@pytest.mark.usefixtures("ctrl_c_before_the_first_line")
@pytest.mark.parametrize("interrupt", [None, ignore])
@pytest.mark.parametrize("then", [None, ValueError("at the first line")])
def test_promise_19_a_coroutine_that_ctrl_c_kept_from_its_first_line_is_begun(
    then: Exception | None, interrupt: Interrupt | None, caplog: pytest.LogCaptureFixture
) -> None:
    begun: list[bool] = []
    group = RunGroup()

    @functools.partial(group.add, interrupt=interrupt)
    async def execute() -> None:
        begun.append(trio.current_effective_deadline() == -math.inf)
        if then is not None:
            raise then
        await trio.sleep_forever()

    run_under_ctrl_c(group)
    assert begun == [True]
    assert group.record is not None
    (actor,) = group.record.actors
    assert actor.how == ("cancelled" if then is None else "raised")
    assert actor.error is then
    logged = [record.exc_info and record.exc_info[1] for record in caplog.records]
    assert logged == ([] if then is None else [then])


@pytest.mark.usefixtures("ctrl_c_before_the_first_line")
def test_promise_19_ctrl_c_does_not_wait_for_an_actor_that_shields_its_first_line() -> None:
    told = trio.Event()
    group = RunGroup()

    async def execute() -> None:
        with trio.CancelScope(shield=True):
            await told.wait()
            await trio.sleep(3)

    group.add(execute, lambda _: told.set())
    run_under_ctrl_c(group)
    assert group.record is not None
    assert (group.record.stopped, group.record.ended) == (0, 3)


@pytest.mark.usefixtures("ctrl_c_before_the_first_line")
def test_promise_19_who_exits_meanwhile_is_not_taken_for_the_one_that_it_struck() -> None:
    group = RunGroup()

    async def execute() -> None:
        await stubborn(3)

    async def not_struck() -> None:
        await stubborn(1)

    group.add(execute, ignore)
    group.add(not_struck, ignore)
    run_under_ctrl_c(group)
    assert group.record is not None
    assert [actor.how for actor in group.record.actors] == ["returned", "returned"]


@pytest.mark.usefixtures("ctrl_c_before_the_first_line")
def test_promise_19_nor_for_an_async_interrupt_that_does() -> None:
    group = RunGroup()

    async def interrupt(_: BaseException | None) -> None:
        await stubborn(20)

    async def not_this() -> None: ...

    async def not_that() -> None:
        await trio.sleep_forever()

    group.add(not_this, interrupt, grace=100)
    group.add(not_that, ignore, grace=100)
    run_under_ctrl_c(group)
    assert group.record is not None
    assert group.record.actors[1].exited == 0  # during a stop, it ends every grace
    assert group.record.ended == 20


@pytest.mark.usefixtures("ctrl_c_before_the_first_line")
def test_promise_19_whom_it_cancels_there_is_named_also_without_a_grace(
    caplog: pytest.LogCaptureFixture,
) -> None:
    group = RunGroup()

    async def interrupt(_: BaseException | None) -> None: ...

    async def not_this() -> None: ...

    async def not_that() -> None:
        await trio.sleep_forever()

    group.add(not_this, interrupt)
    group.add(not_that, ignore, name="without a grace")
    run_under_ctrl_c(group)
    (message,) = caplog.messages
    assert "'without a grace' at " in message


@pytest.mark.usefixtures("ctrl_c_before_the_first_line")
@pytest.mark.parametrize("interrupt", [None, ignore])
def test_promise_19_nor_does_one_hang_that_leaves_a_scope_open(
    interrupt: Interrupt | None,
) -> None:
    group = RunGroup()

    @functools.partial(group.add, interrupt=interrupt)
    async def execute() -> None:
        trio.CancelScope().__enter__()

    run_under_ctrl_c(group)
    assert group.record is not None
    assert isinstance(group.record.actors[0].error, RuntimeError)


@pytest.mark.usefixtures("ctrl_c_before_the_first_line")
def test_promise_19_what_a_coroutine_raises_that_is_begun_late_is_kept_beside_a_scope_left_open(
    caplog: pytest.LogCaptureFixture,
) -> None:
    group, error = RunGroup(), ValueError("begun late")

    async def execute() -> None:
        trio.CancelScope().__enter__()
        raise error

    async def not_struck() -> None:
        await trio.sleep_forever()

    group.add(execute, ignore, grace=1)
    group.add(not_struck, ignore, grace=1)
    run_under_ctrl_c(group)
    assert group.record is not None
    assert group.record.actors[0].error is error
    logged = [record.exc_info[1] for record in caplog.records if record.exc_info]
    assert any("stack corrupted" in str(each) for each in logged)


def test_promise_19_ctrl_c_strikes_while_trio_moves_a_run_to_a_nursery_that_is_cancelled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # trio's started() does that, called by the user, who is not protected; and so it calls our
    # abort function there.
    begin_stop, called = _group.Run.begin_stop, list[object]()

    def strike(self: Any, *args: Any, **kwargs: Any) -> None:
        if not self.stopped:
            signal.raise_signal(signal.SIGINT)
        begin_stop(self, *args, **kwargs)

    async def service(*, task_status: trio.TaskStatus[None]) -> None:
        group = RunGroup()
        group.add(trio.sleep_forever, called.append)
        async with trio.open_nursery() as nursery:
            await nursery.start(group.run)
            monkeypatch.setattr(_group.Run, "begin_stop", strike)
            task_status.started()

    async def watch() -> None:
        await trio.sleep(1000)
        raise AssertionError("it hangs")

    async def main() -> None:
        trio.lowlevel.spawn_system_task(watch)
        async with trio.open_nursery() as nursery:
            with trio.CancelScope(shield=True):
                async with trio.open_nursery() as starting:
                    nursery.cancel_scope.cancel(reason="test")
                    starting.start_soon(nursery.start, service)

    with pytest.raises((KeyboardInterrupt, BaseExceptionGroup)):
        trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
    assert len(called) == 1


# ---- 20


class BrokenRepr(Exception):
    def __repr__(self) -> str:
        raise RuntimeError("broken repr")

    __str__ = __repr__


@pytest.mark.parametrize("make", [BrokenRepr, lambda: ValueError("x" * 50_000_000)])
@pytest.mark.parametrize("interrupt", [None, ignore], ids=["default", "own"])
async def test_promise_20_hostile_errors_harm_nothing(
    autojump_clock: trio.testing.MockClock,
    make: Callable[[], Exception],
    interrupt: Interrupt | None,
) -> None:
    logging.getLogger("trio_rungroup").disabled = True
    try:
        log, group, first, later = Log(), RunGroup(), make(), make()
        group.add(*log.actor("a", then=later))
        group.add(fail_at(1, first), interrupt)
        assert await raised_by(group) is first
    finally:
        logging.getLogger("trio_rungroup").disabled = False
    (note,) = first.__notes__
    assert len(note) < 400
    assert len(str(group.record)) < 2000


class Unsplittable(BaseExceptionGroup[BaseException]):
    def split(self, condition: Any, /) -> Any:
        raise KeyboardInterrupt  # not the user's, so run() does not raise it


class WithoutExceptions(BaseExceptionGroup[BaseException]):
    @property
    def exceptions(self) -> Any:
        raise RuntimeError("no")


@pytest.mark.parametrize("kind", [Unsplittable, WithoutExceptions])
@pytest.mark.parametrize("how", ["first", "later"])
async def test_promise_20_a_group_of_errors_that_cannot_be_taken_apart_harms_nothing(
    kind: type[BaseExceptionGroup[BaseException]], how: str, caplog: pytest.LogCaptureFixture
) -> None:
    group, error = RunGroup(), kind("whole", [ValueError()])
    group.add(fail_at(0, error) if how == "first" else raise_when_cancelled(error))
    group.add(functools.partial(give, 0 if how == "later" else math.inf, "value"))
    if how == "first":
        assert await raised_by(group) is error
    else:
        assert await group.run() == "value"
        (record,) = caplog.records
        assert record.exc_info is not None
        assert record.exc_info[1] is error


class Underivable(BaseExceptionGroup[BaseException]):
    def derive(self, excs: Any, /) -> Any:
        raise RuntimeError("no")


@pytest.mark.parametrize("kind", [Unsplittable, Underivable])
@pytest.mark.parametrize("errors", [[], [ValueError()]])
async def test_promise_6_nor_does_its_cancelled_part_count(
    autojump_clock: trio.testing.MockClock,
    kind: type[BaseExceptionGroup[BaseException]],
    errors: list[Exception],
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def wraps() -> None:
        try:
            await trio.sleep_forever()
        except trio.Cancelled as error:
            raise kind("whole", [error, *errors])  # noqa: B904

    group = RunGroup()
    group.add(wraps)
    with trio.move_on_after(1):
        raised = await raised_by(group)
    if errors:
        assert type(raised) is ExceptionGroup
        assert (raised.message, raised.exceptions) == ("whole", tuple(errors))
        assert raised.__traceback__ is not None
    else:
        assert type(raised) is trio.Cancelled
    assert caplog.records == []


class Incomparable(type):
    __eq__: Any = BrokenRepr.__repr__  # fails
    __hash__ = type.__hash__


class Unhashable(type):
    __hash__: Any = None


@pytest.mark.parametrize("metaclass", [Incomparable, Unhashable])
@pytest.mark.parametrize("how", ["first", "later", "in a group"])
async def test_promise_20_an_error_whose_class_cannot_be_compared_harms_nothing(
    autojump_clock: trio.testing.MockClock,
    metaclass: type,
    how: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    group, given = RunGroup(), list[BaseException | None]()
    error: Exception = metaclass("Strange", (Exception,), {})()
    if how == "in a group":
        error = ExceptionGroup("both", [error, ValueError()])
    if how == "later":
        group.add(fail_at(1, ValueError()))
        group.add(raise_when_cancelled(error))
    else:
        group.add(fail_at(1, error), given.append)
        group.add(trio.sleep_forever)
    raised = await raised_by(group)
    if how == "later":
        (record,) = caplog.records
        assert record.exc_info is not None
        assert record.exc_info[1] is error
    else:
        assert raised is error
        assert given == [error]
    assert group.record is not None
    assert all(actor.exited == 1 for actor in group.record.actors)


@pytest.mark.parametrize("own_interrupts", [False, True])
async def test_promise_20_six_hundred_nested_groups_come_down_when_cancelled_from_outside(
    own_interrupts: bool,
) -> None:
    groups = [RunGroup() for _ in range(600)]
    for outer, inner in itertools.pairwise(groups):
        if own_interrupts:
            outer.add(inner.run, inner.interrupt)
        else:
            outer.add(inner.run)
    innermost_runs = trio.Event()

    async def execute() -> None:
        innermost_runs.set()
        await trio.sleep_forever()

    groups[-1].add(execute)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(groups[0].run)
        await innermost_runs.wait()
        nursery.cancel_scope.cancel(reason="test")


@pytest.mark.parametrize("own_interrupts", [False, True])
async def test_promise_20_six_hundred_nested_groups_come_down_when_the_innermost_fails(
    own_interrupts: bool,
) -> None:
    groups, error = [RunGroup() for _ in range(600)], ValueError("deep")
    for outer, inner in itertools.pairwise(groups):
        if own_interrupts:
            outer.add(inner.run, inner.interrupt)
        else:
            outer.add(inner.run)
    groups[-1].add(fail_at(0, error))
    assert await raised_by(groups[0]) is error


async def test_promise_20_six_hundred_levels_down_a_later_error_is_still_a_later_one(
    caplog: pytest.LogCaptureFixture,
) -> None:
    groups, told = [RunGroup() for _ in range(600)], trio.Event()
    for outer, inner in itertools.pairwise(groups):
        outer.add(inner.run, inner.interrupt)

    async def fails_to_stop() -> None:
        await told.wait()
        raise ValueError("later")

    groups[-1].add(fails_to_stop, lambda _: told.set())
    groups[-1].add(functools.partial(give, 0, "value"))
    assert await groups[0].run() == "value"
    assert "ValueError: later" in caplog.text


@pytest.mark.parametrize("own_interrupts", [False, True])
async def test_promise_20_six_hundred_nested_groups_report_their_start_and_come_down(
    own_interrupts: bool,
) -> None:
    groups = [RunGroup() for _ in range(600)]
    for outer, inner in itertools.pairwise(groups):
        interrupt = inner.interrupt if own_interrupts else None
        outer.add(inner.run, interrupt, name="inner", reports_started=True)

    async def execute(*, task_status: trio.TaskStatus[str]) -> None:
        task_status.started("ready")
        await trio.sleep_forever()

    groups[-1].add(execute, name="inner", reports_started=True)
    async with trio.open_nursery() as nursery:
        value: Any = await nursery.start(groups[0].run)
        for _ in groups:
            value = value["inner"]
        assert value == "ready"
        nursery.cancel_scope.cancel(reason="test")


class OwnArguments(Exception):
    args: Any = None


class NoArguments(Exception):
    @property
    def args(self) -> Any:  # type: ignore[override]
        raise AssertionError("not to be looked at")


class NoTraceback(Exception):
    @property
    def __traceback__(self) -> Any:  # type: ignore[override]
        raise AssertionError("not to be looked at")


class NoTruth(Exception):
    def __bool__(self) -> bool:
        raise RuntimeError("neither true nor false")


class Empty(Exception):
    def __len__(self) -> int:
        return 0


class NoEquality(Exception):
    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        raise AssertionError("not to be compared")


class EqualToAll(Exception):
    __hash__ = Exception.__hash__

    def __eq__(self, other: object) -> bool:
        return True  # must not be reached


class NoContext(Exception):
    @property
    def __context__(self) -> BaseException | None:  # type: ignore[override]
        raise RuntimeError("no context")


class NoClass(Exception):
    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        raise RuntimeError("isinstance() asks for this")


class NoAttributes(Exception):
    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError("not even __class__")


class NamelessClass(type):
    @property
    def __name__(cls) -> str:  # type: ignore[override]
        raise RuntimeError("no name")  # must not be reached


class Nameless(Exception, metaclass=NamelessClass):
    pass


@pytest.mark.parametrize(
    "kind",
    [
        OwnArguments,
        NoArguments,
        NoTraceback,
        NoTruth,
        Empty,
        NoEquality,
        EqualToAll,
        NoContext,
        NoClass,
        NoAttributes,
        pytest.param(Nameless, id="Nameless"),
    ],
)
async def test_promise_20_errors_of_odd_classes_harm_nothing(
    autojump_clock: trio.testing.MockClock,
    kind: type[Exception],
    caplog: pytest.LogCaptureFixture,
) -> None:
    first, later, bare = kind(), kind(), SystemExit(3)
    group, log = RunGroup(), Log()
    group.add(*log.actor("later", then=later))
    group.add(fail_at(1, first))
    assert await raised_by(group) is first
    (record,) = caplog.records
    assert record.exc_info is not None
    assert record.exc_info[1] is later
    group = RunGroup()
    group.add(*log.actor("bare", then=bare))
    group.add(fail_at(1, first))
    assert await raised_by(group) is bare
    assert bare.__context__ is first

    def broken(error: BaseException | None) -> None:
        raise kind

    start = trio.current_time()
    group = RunGroup(grace=9)
    group.add(functools.partial(give, 1, None))
    group.add(trio.sleep_forever, broken, name="broken")
    await group.run()
    assert trio.current_time() - start == 1
    assert group.record is not None
    assert type(group.record.actors[1].interrupt_error) is kind
    assert f"its interrupt raised {vars(type)['__name__'].__get__(kind)}" in str(group.record)
    assert group.record.to_svg()


class NoClassToAsk:
    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        raise ValueError("isinstance() asks for this")  # must not be reached


class NoStartsWith(str):
    __slots__ = ()

    def startswith(self, *_: object) -> bool:
        raise ValueError("not even that")  # must not be reached


@pytest.mark.parametrize("kind", [RuntimeError, TypeError, AttributeError])
@pytest.mark.parametrize("odd", [NoClassToAsk, NoStartsWith])
async def test_promise_20_errors_with_odd_arguments_harm_nothing(
    autojump_clock: trio.testing.MockClock,
    kind: type[Exception],
    odd: type,
    caplog: pytest.LogCaptureFixture,
) -> None:
    first, later, broken = kind(odd()), kind(odd()), kind(odd())
    group, log = RunGroup(), Log()

    def interrupt(_: BaseException | None) -> None:
        raise broken

    group.add(fail_at(1, first), name="first")
    group.add(trio.sleep_forever, interrupt, name="broken")
    group.add(*log.actor("in order", winding_down=2), name="in order")
    group.add(*log.actor("later", winding_down=1, then=later), name="later")
    assert await raised_by(group) is first
    (note,) = first.__notes__
    assert note.startswith("raised by actor 'first' of a RunGroup; later: the interrupt of actor ")
    assert "; later: actor 'later' raised " in note
    assert [record.exc_info[1] for record in caplog.records if record.exc_info] == [broken, later]
    record = group.record
    assert record is not None
    assert [actor.exited for actor in record.actors] == [1, 1, 3, 2]
    assert [actor.how for actor in record.actors] == ["raised", "cancelled", "returned", "raised"]


async def no_cycle_after(run: Callable[[], Awaitable[None]]) -> None:
    """Nothing waits for the collector once `run` is over."""
    logging.getLogger("trio_rungroup").propagate = False  # pytest keeps what is logged
    await run()
    for _ in range(3):
        await trio.testing.wait_all_tasks_blocked()
    gc.collect()
    gc.disable()
    try:
        gc.set_debug(gc.DEBUG_SAVEALL)
        await run()
        for _ in range(3):
            await trio.testing.wait_all_tasks_blocked()
        gc.collect()
        ours = [thing for thing in gc.garbage if is_ours(thing)]
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
        logging.getLogger("trio_rungroup").propagate = True
    assert ours == []


def is_ours(thing: object) -> bool:
    frame_file = thing.f_code.co_filename if isinstance(thing, types.FrameType) else ""
    module = type(thing).__module__.partition(".")[0]
    return "trio_rungroup" in frame_file or module == "trio_rungroup"


async def fail_to_clean_up() -> None:
    try:
        await trio.sleep_forever()
    finally:
        raise ValueError  # with the Cancelled as its context


async def fail_to_clean_up_with(errors: list[Exception]) -> None:
    try:
        await trio.sleep_forever()
    finally:
        raise errors.pop()  # held by no local of this frame: that would be a cycle of our own


def test_the_search_for_cycles_knows_what_is_ours() -> None:
    assert [is_ours(RunGroup()), is_ours(ValueError()), is_ours(sys._getframe())] == [
        True,
        False,
        False,
    ]


@pytest.mark.parametrize("interrupt", [None, ignore], ids=["default", "own"])
@pytest.mark.parametrize(
    "kind",
    ["error", "bare", "clean", "cancelled", "interrupt error", "failing clean-up", "reporter"],
)
async def test_promise_20_no_reference_cycle_is_left(
    interrupt: Interrupt | None, kind: str
) -> None:
    async def raise_new(kind: type[BaseException]) -> None:
        raise kind  # held by no local of this frame: that would be a cycle of our own

    def broken(error: BaseException | None) -> object:
        return raise_new(OSError)

    async def report_and_fail(*, task_status: trio.TaskStatus[None]) -> None:
        task_status.started()
        raise ValueError

    async def run() -> None:
        group = RunGroup(grace=1)
        endings: dict[str, Callable[[], Awaitable[object]]] = {
            "error": lambda: raise_new(ValueError),
            "bare": lambda: raise_new(SystemExit),
            "clean": lambda: give(0, "value"),
            "cancelled": trio.sleep_forever,
            "interrupt error": lambda: give(0, "value"),
            "failing clean-up": fail_to_clean_up,
        }
        if kind == "reporter":
            group.add(report_and_fail, interrupt, reports_started=True)
        else:
            group.add(endings[kind], broken if kind == "interrupt error" else interrupt)
        group.add(trio.sleep_forever)
        try:
            with trio.move_on_after(0):
                await group.run()
        except (ValueError, SystemExit):
            pass
        del group  # this frame is in the error's traceback, too

    await no_cycle_after(run)


@pytest.mark.parametrize("interrupt", [None, ignore], ids=["default", "own"])
@pytest.mark.parametrize("ended_by", ["group's grace", "actor's grace", "bare error", "timeout"])
@pytest.mark.parametrize("nested", ["", "cancelled", "interrupted"])
async def test_promise_20_nor_after_an_actor_that_fails_when_its_grace_has_ended(
    autojump_clock: trio.testing.MockClock, interrupt: Interrupt | None, ended_by: str, nested: str
) -> None:
    async def exit_later() -> None:
        try:
            await trio.sleep(3)
        finally:
            raise SystemExit

    async def run() -> None:
        group = RunGroup(grace=3 if ended_by == "group's grace" else math.inf)
        group.add(functools.partial(give, 1, None), lambda _: trio.sleep(9), grace=20)
        if nested:
            inner = RunGroup()
            inner.add(fail_to_clean_up, interrupt)
            group.add(inner.run, inner.interrupt if nested == "interrupted" else None)
            del inner
        else:
            group.add(
                fail_to_clean_up,
                interrupt,
                grace=3 if interrupt and ended_by == "actor's grace" else math.inf,
            )
        if ended_by == "bare error":
            group.add(exit_later, ignore, grace=30)
        try:
            with trio.move_on_after(5 if ended_by == "timeout" else 100):
                await group.run()
        except (ValueError, SystemExit):
            pass
        del group

    await no_cycle_after(run)


@pytest.mark.parametrize("struck", ["an actor", "the calling task"])
def test_promise_20_nor_after_a_ctrl_c_whose_context_is_what_it_has_caused(struck: str) -> None:
    async def strike() -> None:
        try:
            await trio.sleep_forever()
        finally:
            signal.raise_signal(signal.SIGINT)

    @trio.lowlevel.enable_ki_protection
    async def protected() -> None:  # so it goes to the main task, which awaits run()
        await strike()

    async def run() -> None:
        group = RunGroup()
        group.add(fail_to_clean_up, ignore, grace=20)
        group.add(strike if struck == "an actor" else protected, ignore, grace=3)
        caught = False
        try:
            with trio.move_on_after(1):
                await group.run()
        except KeyboardInterrupt as error:
            caught = isinstance(error.__context__, ValueError)
        assert caught
        del group

    trio.run(no_cycle_after, run, clock=trio.testing.MockClock(autojump_threshold=0))


async def test_promise_20_nor_after_an_actor_that_a_later_interrupt_knows() -> None:
    async def run() -> None:
        inner, group = RunGroup(), RunGroup()
        inner.add(fail_to_clean_up)
        group.add(inner.run)
        group.add(functools.partial(give, 0, None), inner.interrupt)
        await group.run()
        assert inner.record is not None
        assert isinstance(inner.record.error, ValueError)
        del inner, group

    await no_cycle_after(run)


async def test_promise_20_nor_after_an_actor_that_runs_its_own_group() -> None:
    async def run() -> None:
        group = RunGroup()
        find = weakref.ref(group)  # not by the group itself: that would be a cycle of our own

        async def execute() -> None:
            group = find()
            assert group is not None
            run = group.run()
            del group
            await run

        group.add(execute)
        with contextlib.suppress(RuntimeError):
            await group.run()
        del group

    await no_cycle_after(run)


@pytest.mark.parametrize("which", [ValueError, SystemExit])
async def test_promise_20_nor_after_a_value_that_leads_to_an_error(
    which: type[BaseException],
) -> None:
    class Value:
        error: BaseException

    async def run() -> None:
        group, value = RunGroup(), Value()
        find_value = weakref.ref(value)

        def known_to_the_value(error: BaseException) -> BaseException:
            value = find_value()
            assert value is not None
            if isinstance(error, which):
                value.error = error
            return error

        async def fail_when_cancelled() -> None:
            try:
                await trio.sleep_forever()
            finally:
                raise known_to_the_value(ValueError("in the clean-up"))

        def fail(_: BaseException | None) -> None:
            raise known_to_the_value(SystemExit(3))

        group.add(fail_when_cancelled, ignore)
        group.add(functools.partial(give, 0, value), fail)
        with pytest.raises(SystemExit):
            await group.run()
        assert isinstance(value.error, which)
        del group, value

    await no_cycle_after(run)


async def test_promise_20_nor_after_an_interrupt_that_leaves_a_scope_open() -> None:
    def leave_it_open(_: BaseException | None) -> None:
        trio.CancelScope().__enter__()

    async def run() -> None:
        group = RunGroup()
        group.add(functools.partial(give, 0, None), leave_it_open)
        with pytest.raises(RuntimeError, match="stack corrupted"):
            await group.run()
        del group

    await no_cycle_after(run)


@pytest.mark.usefixtures("ctrl_c_before_the_first_line")
@pytest.mark.parametrize("interrupt", [None, ignore])
def test_promise_20_nor_after_a_coroutine_that_ctrl_c_kept_from_its_first_line(
    interrupt: Interrupt | None,
) -> None:
    async def run() -> None:
        group = RunGroup()
        group.add(fail_at(0, ValueError()), interrupt)
        with contextlib.suppress(KeyboardInterrupt):
            await group.run()
        del group

    trio.run(no_cycle_after, run)


@pytest.mark.usefixtures("ctrl_c_before_the_first_line")
def test_promise_20_nor_after_a_group_that_ctrl_c_kept_from_its_first_line() -> None:
    async def run() -> None:
        inner, outer = RunGroup(), RunGroup()
        inner.add(trio.sleep_forever, ignore, grace=3)
        outer.add(inner.run, inner.interrupt)
        outer.add(functools.partial(not_struck))
        with contextlib.suppress(KeyboardInterrupt):
            await outer.run()
        del inner, outer

    async def not_struck() -> None:
        await trio.sleep_forever()

    trio.run(no_cycle_after, run)


async def test_promise_20_nor_after_a_started_value_that_leads_to_the_error() -> None:
    class Value:
        error: BaseException

    async def fail(values: list[Value], *, task_status: trio.TaskStatus[Value]) -> None:
        task_status.started(values.pop())
        raise ValueError

    async def run() -> None:
        value, group = Value(), RunGroup()
        group.add(functools.partial(fail, [value]), reports_started=True)
        try:
            await group.run()
        except ValueError as error:
            value.error = error
        del value, group

    await no_cycle_after(run)


async def test_promise_20_nor_after_a_started_value_that_nursery_start_has_handed_on() -> None:
    class Value:
        error: BaseException

    async def fail(*, task_status: trio.TaskStatus[Value]) -> None:
        value = Value()
        task_status.started(value)
        del task_status  # trio's own holds the value, too
        await trio.lowlevel.checkpoint()
        try:
            raise ValueError
        except ValueError as error:
            value.error = error
            raise
        finally:
            del value

    async def run() -> None:
        group = RunGroup()
        group.add(fail, reports_started=True)
        try:
            async with trio.open_nursery() as nursery:
                await nursery.start(group.run)
        except* ValueError:
            pass
        del nursery, group

    await no_cycle_after(run)


@pytest.mark.parametrize("then", [None, ValueError()])
async def test_promise_20_nor_after_an_actor_that_leaves_a_scope_open(
    then: Exception | None,
) -> None:
    async def execute(then: Exception | None) -> None:
        trio.CancelScope().__enter__()
        if then is not None:
            raise then

    async def run() -> None:
        group = RunGroup()
        group.add(functools.partial(execute, then), ignore)
        with contextlib.suppress(RuntimeError, ValueError):
            await group.run()
        del group

    await no_cycle_after(run)


async def test_promise_20_nor_after_an_interrupt_that_raises_the_same_error_as_its_actor() -> None:
    def fail(errors: list[Exception], error: BaseException | None) -> None:
        raise errors[0]

    async def run() -> None:
        errors: list[Exception] = [ValueError()]
        group = RunGroup()
        group.add(functools.partial(fail_to_clean_up_with, errors), functools.partial(fail, errors))
        group.add(functools.partial(give, 0, None))
        await group.run()
        del group

    await no_cycle_after(run)


async def test_promise_20_nor_after_two_actors_that_raise_one_error_and_a_log_that_ends_all() -> (
    None
):
    class Broken(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise SystemExit

    async def fail(errors: list[Exception]) -> None:
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            raise errors[0] from None

    async def run() -> None:
        errors: list[Exception] = [ValueError()]
        group = RunGroup()
        group.add(functools.partial(fail, errors))
        group.add(functools.partial(fail_to_clean_up_with, errors), ignore)
        group.add(functools.partial(give, 0, None))
        with contextlib.suppress(SystemExit):
            await group.run()
        del group

    log, handler = logging.getLogger("trio_rungroup"), Broken()
    log.addHandler(handler)
    try:
        await no_cycle_after(run)
    finally:
        log.removeHandler(handler)


async def test_promise_20_an_error_dies_with_its_handler_even_if_the_group_lives_no_longer() -> (
    None
):
    class Mine(Exception):
        pass

    group, alive = RunGroup(), []

    async def execute() -> None:
        error = Mine()
        alive.append(weakref.ref(error))
        try:
            raise error
        finally:
            del error

    group.add(execute)
    gc.disable()
    try:
        try:
            await group.run()
        except Mine:
            pass
        del group
        await trio.lowlevel.checkpoint()
        assert alive[0]() is None
    finally:
        gc.enable()


async def test_promise_20_what_an_actor_has_returned_that_does_not_end_the_group_is_not_kept(
    autojump_clock: trio.testing.MockClock,
) -> None:
    class Value:
        pass

    returned: list[weakref.ref[Value]] = []

    async def returns() -> Value:
        value = Value()
        returned.append(weakref.ref(value))
        return value

    group = RunGroup()
    group.add(returns, ends_group=False)
    group.add(trio.sleep_forever)
    async with trio.open_nursery() as nursery:
        await nursery.start(group.run)
        await trio.sleep(1)
        assert returned[0]() is None
        group.interrupt()


async def test_promise_20_nor_is_what_an_interrupt_has_returned(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    # pytest keeps what is logged.
    monkeypatch.setattr(logging.getLogger("trio_rungroup"), "propagate", False)

    class Server:
        error: BaseException | None = None

        def stop(self, error: BaseException | None) -> Server:
            return self

    async def helper() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise ValueError("late")

    async def run() -> weakref.ref[Server]:
        group, server = RunGroup(), Server()
        group.add(functools.partial(trio.sleep, 1), server.stop)
        group.add(helper)
        await group.run()
        assert group.record is not None
        server.error = group.record.actors[1].error
        reference = weakref.ref(server)
        # From Python 3.12 on, the Cancelled before that error leads to this frame, too.
        del group, server
        return reference

    gc.collect()
    gc.disable()
    try:
        assert (await run())() is None
    finally:
        gc.enable()


# ---- 21


@pytest.mark.parametrize("interrupt", [None, ignore], ids=["default", "own"])
async def test_promise_21_no_task_of_the_library_wakes_while_the_actors_run(
    autojump_clock: trio.testing.MockClock, interrupt: Interrupt | None
) -> None:
    class Steps(trio.abc.Instrument):
        def __init__(self) -> None:
            self.names: list[str] = []

        def before_task_step(self, task: trio.lowlevel.Task) -> None:
            self.names.append(task.name)

    group, steps = RunGroup(grace=5), Steps()

    async def ticker() -> None:
        await trio.sleep(1)
        trio.lowlevel.add_instrument(steps)
        for _ in range(10):
            await trio.sleep(1)
        trio.lowlevel.remove_instrument(steps)

    group.add(ticker, interrupt, name="ticker")
    group.add(trio.sleep_forever, interrupt)
    await group.run()
    assert steps.names == ["ticker"] * 10


# ---- the record


async def test_all_times_are_counted_from_the_start_of_the_run(
    autojump_clock: trio.testing.MockClock,
) -> None:
    group = RunGroup()
    group.add(functools.partial(give, 1, None))
    group.add(stubborn_for_2_s)
    await trio.sleep(100)
    await group.run()
    assert group.record is not None
    assert (group.record.start, group.record.stopped, group.record.ended) == (100, 1, 3)
    times = [(actor.began, actor.interrupted, actor.exited) for actor in group.record.actors]
    assert times == [(0, 1, 1), (0, 1, 3)]


async def stubborn_for_2_s() -> None:
    try:
        await trio.sleep_forever()
    finally:
        await stubborn(2)


async def test_a_group_is_equal_to_itself_only() -> None:
    groups = [RunGroup(), RunGroup()]
    assert len(set(groups)) == 2
    assert groups[0] != groups[1]


# ---- names


async def test_default_names_are_qualified_names_made_unique() -> None:
    class Callable_:
        async def __call__(self) -> None: ...

    group = RunGroup()
    for execute in (
        trio.sleep_forever,
        functools.partial(functools.partial(trio.sleep), 1),
        trio.sleep_forever,
        Callable_(),
        trio.sleep_forever,
    ):
        group.add(execute)
    group.add(trio.sleep_forever, name="sleep_forever #4")
    group.add(trio.sleep_forever)
    await group.run()
    assert group.record is not None
    names = [actor.name for actor in group.record.actors]
    prefix = "test_default_names_are_qualified_names_made_unique.<locals>."
    assert names == [
        "sleep_forever",
        "sleep",
        "sleep_forever #2",
        f"{prefix}Callable_",
        "sleep_forever #3",
        "sleep_forever #4",
        "sleep_forever #5",
    ]


async def test_ten_thousand_actors_of_one_name_are_added_without_a_look_at_those_before() -> None:
    group = RunGroup()
    looks = count_calls(_group._Actors.forget_half_added.__code__)
    with looks:
        for _ in range(10_000):
            group.add(trio.sleep_forever)
    assert looks.number == 0
    with pytest.raises(ValueError, match="is taken"):
        group.add(trio.sleep_forever, name="sleep_forever")
    group.add(trio.lowlevel.checkpoint, name="the next one counts all the same")
    await group.run()
    assert group.record is not None
    assert len(group.record.actors) == 10_001


async def test_a_task_is_named_after_its_actor() -> None:
    group, names = RunGroup(), []

    async def execute() -> None:
        names.append(trio.lowlevel.current_task().name)

    group.add(execute, name="the name")
    await group.run()
    assert names == ["the name"]


async def test_add_decorates_bare() -> None:
    group = RunGroup()

    @group.add
    async def ticker() -> str:
        return "tick"

    assert await ticker() == "tick"
    assert await group.run() == "tick"


async def test_an_actor_that_leaves_its_scopes_in_disorder_cannot_hang_the_group() -> None:
    for interrupt in (None, ignore):
        group = RunGroup()

        async def execute() -> None:
            await trio.open_nursery().__aenter__()

        group.add(execute, interrupt)
        group.add(trio.sleep_forever)
        with pytest.raises(RuntimeError, match="stack corrupted"):
            await group.run()


@pytest.mark.parametrize("wrap", [lambda run: run, functools.partial], ids=["run", "partial"])
async def test_promise_8_a_second_request_reaches_a_group_that_is_an_actor(
    autojump_clock: trio.testing.MockClock, wrap: Callable[[Any], Callable[[], Awaitable[object]]]
) -> None:
    outer, inner, stopping = RunGroup(), RunGroup(grace=60), trio.Event()

    async def winds_down() -> None:
        await stopping.wait()
        await trio.sleep(30)

    inner.add(winds_down, lambda _: stopping.set())
    outer.add(wrap(inner.run))
    outer.add(functools.partial(give, 1, None))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(outer.run)
        await trio.sleep(3)
        nursery.cancel_scope.cancel(reason="a second request")
    assert trio.current_time() == 3


async def test_promise_8_what_scopes_left_in_disorder_around_a_group_cancel_is_cancelled() -> None:
    group, given = RunGroup(), list[BaseException | None]()
    group.add(trio.sleep_forever, given.append)

    async def main() -> None:
        scope, manager = trio.CancelScope(), trio.open_nursery()
        scope.__enter__()
        nursery = await manager.__aenter__()
        nursery.start_soon(group.run)
        await trio.testing.wait_all_tasks_blocked()
        with contextlib.suppress(RuntimeError):
            scope.__exit__(None, None, None)
        await manager.__aexit__(None, None, None)

    await trio.to_thread.run_sync(trio.run, main)
    assert [type(error) for error in given] == [trio.Cancelled]
    assert group.record is not None
    assert group.record.how == "cancelled"


async def test_nor_can_an_interrupt_that_does(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    log, group, kept = list[Any](), RunGroup(grace=5), list[Any]()

    async def open_scopes() -> AsyncGenerator[None]:
        with trio.fail_after(9):
            yield

    async def interrupt(error: BaseException | None) -> None:
        kept.append(open_scopes())
        await anext(kept[0])
        raise ValueError("and fails")

    group.add(functools.partial(give, 1, "value"), interrupt)
    group.add(trio.sleep_forever, log.append, grace=3)
    assert await group.run() == "value"
    assert trio.current_time() == 4
    assert log == [None]
    complaint, failure, _ = caplog.records
    assert "stack corrupted" in f"{complaint.exc_info}"
    assert "and fails" in f"{failure.exc_info}"
    await kept[0].aclose()


async def test_any_awaitable_will_do() -> None:
    @types.coroutine
    def generator_based() -> Generator[Any, Any, str]:
        yield from trio.lowlevel.checkpoint().__await__()
        return "generator"

    class Awaitable_:
        def __await__(self) -> Generator[Any, Any, str]:
            yield from trio.lowlevel.checkpoint().__await__()
            return "awaitable"

    results = []
    for execute in (generator_based, Awaitable_):
        group = RunGroup()
        group.add(execute)
        results.append(await group.run())
    assert results == ["generator", "awaitable"]

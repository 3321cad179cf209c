"""What a group costs, as far as it can be counted: scheduler steps, calls, bytes, imports.

Nothing here measures time; tests/benchmarks does.
"""

from __future__ import annotations

import collections
import functools
import gc
import logging
import os
import subprocess
import sys
import threading
import tracemalloc
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeAlias

import pytest
import trio
from trio.testing import MockClock

from trio_rungroup import RunGroup

Scenario: TypeAlias = Callable[[int], Awaitable[object]]  # with so many sleepers


class Steps(trio.abc.Instrument):
    """How many steps each task has taken."""

    def __init__(self) -> None:
        self.taken: collections.Counter[trio.lowlevel.Task] = collections.Counter()

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.taken[task] += 1


class Waiter:
    """An actor with an interrupt of its own."""

    def __init__(self) -> None:
        self.event = trio.Event()

    async def execute(self) -> None:
        await self.event.wait()

    def interrupt(self, error: BaseException | None) -> None:
        self.event.set()


def nothing_to_interrupt(error: BaseException | None) -> None:
    """Interrupt an actor that ends by itself."""


async def end() -> None:
    await trio.lowlevel.checkpoint()


async def bare_nursery(n: int) -> None:
    async def child(execute: Callable[[], Awaitable[object]]) -> None:
        await execute()
        nursery.cancel_scope.cancel(reason="the first one has finished")

    async with trio.open_nursery() as nursery:
        for _ in range(n):
            nursery.start_soon(child, trio.sleep_forever)
        nursery.start_soon(child, end)


async def default_group(n: int) -> None:
    group = RunGroup()
    for _ in range(n):
        group.add(trio.sleep_forever)
    group.add(end)
    await group.run()


async def group_with_interrupts(n: int) -> None:
    group = RunGroup()
    for _ in range(n):
        waiter = Waiter()
        group.add(waiter.execute, waiter.interrupt, grace=60)
    group.add(end, nothing_to_interrupt, grace=60)
    await group.run()


GROUPS = [default_group, group_with_interrupts]


# ---- scheduler steps ----


def steps_of(scenario: Scenario, n: int) -> int:
    steps = Steps()

    async def main() -> int:
        for _ in range(10):  # trio's own tasks have come to rest
            await trio.lowlevel.checkpoint()
        before = steps.taken.total()
        await scenario(n)
        return steps.taken.total() - before

    return trio.run(main, instruments=[steps])


@pytest.mark.parametrize("n", [0, 1, 10, 300])
@pytest.mark.parametrize("scenario", GROUPS)
def test_a_run_takes_at_most_three_steps_more_than_a_bare_nursery(
    scenario: Scenario, n: int
) -> None:
    # trio draws lots for the order of the tasks in a tick, and so for the third.
    assert max(steps_of(scenario, n) for _ in range(10)) <= steps_of(bare_nursery, n) + 3


async def reporting(task_status: trio.TaskStatus[None]) -> None:
    task_status.started()
    await trio.sleep_forever()


def test_21_while_the_actors_run_no_other_task_takes_a_step() -> None:
    steps = Steps()
    slept: list[dict[trio.lowlevel.Task, int]] = []
    tasks: list[trio.lowlevel.Task] = []

    async def sleep_alone() -> None:
        for _ in range(10):  # all have begun, and whoever waits for that has come to rest
            await trio.lowlevel.checkpoint()
        steps.taken.clear()
        await trio.sleep(3600)
        slept.append(dict(steps.taken))
        tasks.append(trio.lowlevel.current_task())

    async def main() -> None:
        waiter, inner, outer = Waiter(), RunGroup(grace=20), RunGroup(grace=30)
        inner.add(trio.sleep_forever)
        inner.add(waiter.execute, waiter.interrupt, grace=10)
        outer.add(inner.run, inner.interrupt, grace=5)
        outer.add(reporting, reports_started=True)
        outer.add(trio.sleep_forever, ends_group=False)
        outer.add(sleep_alone)
        async with trio.open_nursery() as nursery:
            await nursery.start(outer.run)

    trio.run(main, clock=MockClock(autojump_threshold=0), instruments=[steps])
    assert slept == [{tasks[0]: 1}]


# ---- calls and bytes ----


def calls_of(scenario: Scenario, n: int) -> int:
    """Count the calls of functions, Python's and C's, in the luckiest of several runs.

    trio draws lots for the order of the tasks in a tick, which may cost a step more: that matters
    where there are few.
    """
    return min(calls_of_one_run(scenario, n) for _ in range(1 + 320 // max(n, 10)))


def calls_of_one_run(scenario: Scenario, n: int, clock: MockClock | None = None) -> int:
    calls = 0

    # What counts the calls is not traced itself.
    def count(frame: object, event: str, argument: object) -> None:  # pragma: no cover
        nonlocal calls
        calls += event in ("call", "c_call")

    async def main() -> None:
        sys.setprofile(count)
        try:
            await scenario(n)
        finally:
            sys.setprofile(None)

    gc.disable()  # what it finalises depends on what ran before
    try:
        trio.run(main, clock=clock)
    finally:
        gc.enable()
    return calls


def peak_bytes_of(scenario: Scenario, n: int) -> int:
    async def main() -> int:
        gc.collect()
        tracemalloc.start()
        try:
            await scenario(n)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    return trio.run(main)


def test_a_run_of_one_actor_does_not_pay_for_cancelling_nobody() -> None:
    # With that it would be half as much again.
    assert calls_of(default_group, 0) <= 1.4 * calls_of(bare_nursery, 0)


@pytest.mark.parametrize("scenario", GROUPS)
def test_the_four_hundredth_actor_costs_no_more_calls_than_the_tenth(scenario: Scenario) -> None:
    few = calls_of(scenario, 20) - calls_of(scenario, 10)
    many = calls_of(scenario, 400) - calls_of(scenario, 200)
    assert many / 200 == pytest.approx(few / 10, rel=0.05)


async def graces_that_end_one_by_one(n: int) -> None:
    group = RunGroup()
    for index in range(n):
        group.add(trio.sleep_forever, nothing_to_interrupt, grace=1 + index)
    group.add(end)
    await group.run()


async def async_interrupts_of_those_that_have_exited(n: int) -> None:
    async def tell(error: BaseException | None) -> None:
        await trio.lowlevel.checkpoint()

    group = RunGroup()
    for _ in range(n):
        group.add(end, tell, ends_group=False, grace=5)
    group.add(functools.partial(trio.sleep, 2), nothing_to_interrupt)
    group.add(functools.partial(trio.sleep, 1))
    await group.run()


@pytest.mark.parametrize(
    "scenario", [graces_that_end_one_by_one, async_interrupts_of_those_that_have_exited]
)
def test_the_four_hundredth_of_a_long_stop_costs_no_more_calls_than_the_tenth(
    caplog: pytest.LogCaptureFixture, scenario: Scenario
) -> None:
    caplog.set_level(logging.CRITICAL, "trio_rungroup")

    def calls(n: int) -> int:
        clocks = [MockClock(autojump_threshold=0) for _ in range(4)]
        return min(calls_of_one_run(scenario, n, clock) for clock in clocks)

    few, many = calls(20) - calls(10), calls(400) - calls(200)
    assert many / 200 == pytest.approx(few / 10, rel=0.1)


async def nested_groups(depth: int) -> None:
    group = RunGroup()
    group.add(end)
    for _ in range(depth):
        outer = RunGroup()
        outer.add(trio.sleep_forever)
        outer.add(group.run, group.interrupt)
        group = outer
    await group.run()


async def nested_default_groups(depth: int) -> None:
    group = RunGroup()
    group.add(end)
    for _ in range(depth):
        outer = RunGroup()
        outer.add(trio.sleep_forever)
        outer.add(group.run)
        group = outer
    await group.run()


async def groups_that_functions_run(depth: int) -> None:
    async def run(group: RunGroup) -> None:
        await group.run()

    group = RunGroup()
    group.add(end)
    for _ in range(depth):
        outer = RunGroup()
        outer.add(trio.sleep_forever)
        outer.add(functools.partial(run, group))
        group = outer
    await group.run()


@pytest.mark.parametrize(
    "scenario", [nested_groups, nested_default_groups, groups_that_functions_run]
)
def test_a_group_costs_no_more_calls_the_deeper_it_is_nested(scenario: Scenario) -> None:
    few = calls_of(scenario, 20) - calls_of(scenario, 10)
    many = calls_of(scenario, 100) - calls_of(scenario, 50)
    assert many / 50 == pytest.approx(few / 10, rel=0.1)


@pytest.mark.parametrize("scenario", GROUPS)
def test_memory_grows_with_the_number_of_actors_and_no_faster(scenario: Scenario) -> None:
    few, many = peak_bytes_of(scenario, 500), peak_bytes_of(scenario, 2_000)
    assert many / 2_000 == pytest.approx(few / 500, rel=0.1)


# Measured as the benchmark does, in a process of its own: coverage takes memory, too.
TELL_MEMORY = """
import sys
sys.path.insert(0, sys.argv[1])
from contenders import CONTENDERS
from measures import peak_bytes
peaks = {each.name: peak_bytes(each, 1_000) for each in CONTENDERS if each.module == "trio"}
print(peaks["default"] / peaks["bare"], peaks["own"] / peaks["bare"])
"""


@pytest.mark.skipif(sys.implementation.name != "cpython", reason="nobody else counts bytes")
def test_an_actor_needs_at_most_a_tenth_more_memory_than_a_bare_task() -> None:
    command = [sys.executable, "-c", TELL_MEMORY, str(Path(__file__).parent / "benchmarks")]
    plain = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=plain)
    default, own = map(float, done.stdout.split())
    assert default <= 1.1
    assert own <= 1.1


# ---- a thousand runs ----


async def five_runs(group: RunGroup) -> None:
    """Run a group that is kept, and new ones: to a return, an error, a cancellation."""

    async def fail() -> None:
        await end()
        raise LookupError

    await group.run()
    await default_group(3)
    await group_with_interrupts(3)
    failing = RunGroup(grace=1)
    failing.add(fail, nothing_to_interrupt)
    failing.add(fail)
    failing.add(functools.partial(default_group, 3))
    with pytest.raises(LookupError):
        await failing.run()
    with trio.CancelScope() as scope:
        scope.cancel(reason="from outside")
        await group_with_interrupts(3)


def test_a_thousand_runs_leave_nothing_behind(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, "trio_rungroup")  # caplog would keep every later error
    group = RunGroup()
    group.add(trio.sleep_forever)
    group.add(end)

    async def repeat(times: int) -> None:
        for _ in range(times):
            await five_runs(group)

    def left_after(times: int) -> tuple[int, int, int]:
        trio.run(repeat, times)  # its end takes along the old deadlines that trio keeps a while
        gc.collect()
        descriptors = len(list(Path("/proc/self/fd").iterdir()))
        return tracemalloc.get_traced_memory()[0], threading.active_count(), descriptors

    tracemalloc.start()
    try:
        left_after(20)
        before, after = left_after(20), left_after(200)
    finally:
        tracemalloc.stop()
    assert after[1] <= before[1]  # a worker thread of an earlier test may end meanwhile
    assert after[2] <= before[2]
    assert after[0] - before[0] < 5_000  # one object kept by each run would be more


# ---- the import ----


def test_the_import_loads_nothing_but_the_package_itself() -> None:
    program = (
        # array: of the standard library, and loaded anyway by the older Pythons
        "import array, sys, trio; before = set(sys.modules); import trio_rungroup; "
        "print(*sorted(set(sys.modules) - before))"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    loaded = done.stdout.split()
    assert "trio_rungroup._group" in loaded
    assert "trio_rungroup._picture" not in loaded  # with its XML library
    assert [name for name in loaded if name.partition(".")[0] != "trio_rungroup"] == []

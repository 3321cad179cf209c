"""Promise 19: Ctrl-C at any line of the library's own code. See ctrl_c.py."""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
import trio
import trio.testing
from runs import on_oldest_and_newest, once_is_enough

import trio_rungroup
from trio_rungroup import RunGroup

DRIVER = Path(__file__).parent / "ctrl_c.py"
READY_MADE = [
    "future_actor",
    "future_actor, done in trio's thread",
    "listener_actor",
    "listener_actor, whose handler fails",
    "process_actor",
    "scope_actor",
    "thread_actor",
]


def strike(*arguments: str) -> None:
    # The driver needs the trace function for itself: coverage must not start in it.
    environment = {key: value for key, value in os.environ.items() if "COVERAGE" not in key}
    process = subprocess.run(
        [sys.executable, str(DRIVER), *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    positions, *wrong = process.stdout.splitlines()
    assert wrong == []
    assert int(positions) > 150


@pytest.mark.parametrize(
    "scenario",
    [
        "one group",
        "one group, async interrupts",
        "nested groups",
        "started, then interrupted",
    ],
)
@on_oldest_and_newest
def test_promise_19_ctrl_c_at_every_line_loses_and_doubles_nothing(scenario: str) -> None:
    strike(scenario, "1")


@pytest.mark.parametrize("scenario", READY_MADE)
@on_oldest_and_newest
def test_promise_19_nor_does_it_in_a_ready_made_actor_or_leave_something_of_it(
    scenario: str,
) -> None:
    strike(scenario, "1")


@pytest.mark.parametrize("scenario", READY_MADE)
@once_is_enough
def test_promise_19_nor_does_a_second_ctrl_c_in_a_ready_made_actor(scenario: str) -> None:
    strike(scenario, "7", "1", "3", "10", "40")


def add_three_and_strike(
    group: RunGroup, calls: list[str], positions: tuple[int, int], add_again: bool
) -> int:
    """Add actors, and strike the library with Ctrl-C at two of its lines; tell how many it has."""

    async def reports(name: str, *, task_status: trio.TaskStatus[None]) -> None:
        calls.append(f"execute {name}")
        task_status.started()

    async def ends(name: str) -> None:
        calls.append(f"execute {name}")
        await trio.sleep(1)

    def interrupt(name: str, error: BaseException | None) -> None:
        calls.append(f"interrupt {name}")

    lines, library = 0, str(Path(trio_rungroup.__file__).parent)

    # Nobody traces a trace function.
    def trace(frame: FrameType, event: str, arg: object) -> Any:  # pragma: no cover
        nonlocal lines
        if not frame.f_code.co_filename.startswith(library):
            return None
        if event == "line":
            lines += 1
            if lines in positions:
                signal.raise_signal(signal.SIGINT)
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    for name, execute, flags in (
        ("a", reports, {"ends_group": False, "reports_started": True}),
        ("b", ends, {"grace": 5.0}),
        ("c", ends, {"grace": 10.0}),
    ):
        with contextlib.suppress(KeyboardInterrupt):
            group.add(
                functools.partial(execute, name),
                functools.partial(interrupt, name),
                name=name,
                **flags,
            )
    sys.settrace(before)
    for name in "abcd":
        if add_again or name == "d":
            # A name is taken if its actor is there, and only then.
            with contextlib.suppress(ValueError):
                group.add(
                    functools.partial(ends, name), functools.partial(interrupt, name), name=name
                )
    return lines


@pytest.mark.parametrize("add_again", [False, True])
@pytest.mark.parametrize("gap", [1, 2, 3, 5, 8, 30])
def test_promise_19_ctrl_c_in_add_outside_of_trio_adds_a_whole_actor_or_none(
    gap: int, add_again: bool
) -> None:
    names: list[str] = []
    lines, position = 1, 0
    while position <= lines:
        position += 1
        calls: list[str] = []
        group = RunGroup()
        lines = add_three_and_strike(group, calls, (position, position + gap), add_again)
        trio.run(group.run, clock=trio.testing.MockClock(autojump_threshold=0))
        assert group.record is not None
        names = [actor.name for actor in group.record.actors]
        assert set("abcd" if add_again else "d") <= set(names)
        for flagged in group._actors.may_return, group._actors.reporting:
            assert {names[index] for index in flagged} <= {"a"}
        assert sorted(calls) == sorted(
            f"{what} {name}" for what in ("execute", "interrupt") for name in names
        )
    assert names == list("abcd")


@pytest.mark.parametrize(
    ("struck", "raiser"), [("execute", "actor 'a'"), ("tell", "the interrupt of actor 'a'")]
)
def test_promise_19_whom_it_kept_from_the_first_line_is_named(struck: str, raiser: str) -> None:
    begun: list[str] = []
    strikes = [signal.SIGINT]

    # Coverage is off while the other trace function is on.
    async def execute() -> None:  # pragma: no cover
        begun.append("execute")
        await trio.sleep(1)

    async def tell(error: BaseException | None) -> None:  # pragma: no cover
        begun.append("tell")

    # Nobody traces a trace function.
    def trace(frame: FrameType, event: str, arg: object) -> Any:  # pragma: no cover
        awaited = frame.f_locals.get("coroutine")
        if frame.f_code.co_name != "unprotected" or getattr(awaited, "__name__", "") != struck:
            return None
        if event == "line" and strikes:
            signal.raise_signal(strikes.pop())
        return trace

    group = RunGroup()
    group.add(execute, tell, name="a")
    before = sys.gettrace()
    sys.settrace(trace)
    try:  # pragma: no cover
        with pytest.raises(KeyboardInterrupt) as caught:
            trio.run(group.run, clock=trio.testing.MockClock(autojump_threshold=0))
    finally:
        sys.settrace(before)  # pragma: no cover - it does not see how it is switched on
    assert strikes == []
    assert sorted(begun) == ["execute", "tell"]
    assert caught.value.__notes__ == [f"raised by {raiser} of a RunGroup"]


# Most of the lines they execute have been struck above: some will do.
@pytest.mark.parametrize(
    ("scenario", "step"),
    [
        ("reports its start, ends when all have returned", "5"),
        ("no interrupts", "5"),
        ("cancelled from outside", "5"),
        ("cancelled from outside, async interrupts", "5"),
        ("cancelled from outside, no interrupts", "5"),
        pytest.param("check_actor", "11", marks=once_is_enough),
        pytest.param("check_actor, async interrupt", "11", marks=once_is_enough),
    ],
)
def test_promise_19_nor_does_it_in_another_stop_struck_at_some_lines(
    scenario: str, step: str
) -> None:
    strike(scenario, step)


@pytest.mark.parametrize(
    ("scenario", "step", "gaps"),
    [
        ("one group, async interrupts", "5", ["1", "7", "40"]),
        ("nested groups", "17", ["1", "7", "40", "150"]),
        ("cancelled from outside, async interrupts", "17", ["7", "150"]),
    ],
)
def test_promise_19_a_second_ctrl_c_at_a_later_line_does_no_harm_either(
    scenario: str, step: str, gaps: list[str]
) -> None:
    strike(scenario, step, *gaps)


async def be_busy(error: BaseException | None = None) -> None:
    """Compute, and never ask trio whether to go on."""
    end = time.monotonic() + 30
    while time.monotonic() < end:
        pass
    raise AssertionError("Ctrl-C has not been obeyed")


async def end_at_once() -> None: ...


def busy_execute(group: RunGroup) -> None:
    group.add(be_busy)


def busy_interrupt(group: RunGroup) -> None:
    group.add(end_at_once, be_busy)


@pytest.mark.parametrize("add_to", [busy_execute, busy_interrupt])
def test_promise_19_a_busy_loop_in_an_actor_or_an_async_interrupt_obeys(
    add_to: Callable[[RunGroup], None],
) -> None:
    group = RunGroup()
    add_to(group)
    main = threading.get_ident()
    timer = threading.Timer(0.5, lambda: signal.pthread_kill(main, signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        trio.run(group.run)
    timer.join()

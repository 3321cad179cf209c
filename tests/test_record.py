"""The record, and its text timeline. The picture is tested in test_picture.py."""

from __future__ import annotations

import contextvars
import copy
import math
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NoReturn

import pytest
import trio
from hypothesis import given, settings, strategies as st
from runs import ConfigError, ends, finished, stops
from trio.testing import MockClock

from trio_rungroup import Record, RunGroup
from trio_rungroup._record import (
    ActorRecord,
    Facts,
    columns,
    distinct,
    fit,
    fit_name,
    rows,
    seconds,
    shorten,
)


def virtual(main: Callable[[], Awaitable[Record]]) -> Record:
    return trio.run(main, clock=MockClock(autojump_threshold=0))


async def halfway(group: RunGroup, moment: float, look: Callable[[Record], Any] = str) -> Any:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(finished, group)
        await trio.sleep(moment)
        assert group.record is not None
        seen = look(group.record)
        nursery.cancel_scope.cancel(reason="seen enough")
    return seen


def lines(record: Record) -> list[str]:
    return [line.rstrip() for line in str(record).splitlines()]


# ---- the timeline ----


async def test_the_timeline_of_a_run(autojump_clock: MockClock) -> None:
    group = RunGroup()
    group.add(*stops(1.6), name="http server")
    group.add(*stops(0.5), name="metrics server")
    group.add(*stops(1, ConnectionError("the broker has gone away")), name="queue consumer")
    error = ConfigError("port 0 is not allowed")
    group.add(ends(3, error), lambda _: None, name="config watcher")
    group.add(*stops(0), name="signal handler")
    assert str(await finished(group)) == (
        "config watcher exits first; the other 4 are interrupted\n"
        "run() ends at 4.6 s with ConfigError: port 0 is not allowed\n"
        "\n"
        "  http server     ━━━━━━━━━━━━━━━▼───────✓  returned · 4.6 s\n"
        "  metrics server  ━━━━━━━━━━━━━━━▼──✓       returned · 3.5 s\n"
        "  queue consumer  ━━━━━━━━━━━━━━━▼────✗     raised ConnectionError · 4 s\n"
        "* config watcher  ━━━━━━━━━━━━━━━✗          raised ConfigError → result of run()\n"
        "  signal handler  ━━━━━━━━━━━━━━━✓          returned · 3 s\n"
        "                  0 s            ▲ first exit · 3 s\n"
        "\n"
        "queue consumer raised ConnectionError: the broker has gone away"
    )


async def test_the_end_is_on_the_axis_where_there_is_room(autojump_clock: MockClock) -> None:
    group = RunGroup()
    group.add(*stops(9), name="a")
    group.add(ends(1), name="b")
    assert lines(await finished(group)) == [
        "b exits first; the other is interrupted",
        "run() ends at 10 s",
        "",
        "  a  ━━━━▼───────────────────────────────────✓  returned · 10 s",
        "* b  ━━━━✓                                      returned → result of run()",
        "     0 s ▲ first exit · 1 s                  10 s",
    ]


async def test_a_stop_soon_after_the_start_goes_before_the_0_of_the_axis(
    autojump_clock: MockClock,
) -> None:
    group = RunGroup()
    group.add(*stops(99), name="a")
    group.add(ends(1), name="b")
    assert lines(await finished(group))[-1].split() == [
        "▲",
        "first",
        "exit",
        "·",
        "1",
        "s",
        "100",
        "s",
    ]


async def test_rows_fit_into_80_columns(autojump_clock: MockClock) -> None:
    group = RunGroup()
    group.add(*stops(1.25, ConnectionRefusedError("refused")), name="a consumer of 24 columns")
    group.add(ends(3, ConfigError("wrong")), name="config")
    for line in lines(await finished(group)):
        assert columns(line) <= 80


async def test_a_run_of_no_time_has_no_bars(autojump_clock: MockClock) -> None:
    group = RunGroup()
    group.add(ends(0), name="first")
    group.add(*stops(0), name="second")
    assert lines(await finished(group))[1:] == [
        "run() ends at 0 s",
        "",
        "* first   ✓  returned → result of run()",
        "  second  ✓  returned · 0 s",
        "          ▲ first exit · 0 s",
    ]


async def test_a_run_without_actors_says_so(autojump_clock: MockClock) -> None:
    assert lines(await finished(RunGroup())) == ["no actors", "run() ends at 0 s"]


async def test_an_actor_whose_grace_ended_is_cancelled_after_winding_down(
    autojump_clock: MockClock,
) -> None:
    group = RunGroup(grace=6)
    group.add(trio.sleep_forever, lambda _: None, name="stubborn")
    group.add(ends(2), name="done")
    assert lines(await finished(group))[3] == (
        "  stubborn  ━━━━━━━━━━▼────────────────────────────◇  cancelled · 8 s"
    )


async def test_an_async_interrupt_delays_the_next_one(autojump_clock: MockClock) -> None:
    group = RunGroup()
    execute, interrupt = stops(0)

    async def slow(error: object) -> None:
        await trio.sleep(4)
        interrupt(error)

    group.add(execute, slow, name="slow")
    group.add(*stops(2), name="next")
    group.add(ends(2), name="first")
    assert [line[9:50].rstrip() for line in lines(await finished(group))[3:6]] == [
        "━━━━━━━━━━▼───────────────────✓",
        "━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━▼─────────✓",
        "━━━━━━━━━━✓",
    ]


# ---- what it says ----


async def test_the_result_is_the_later_keyboard_interrupt(autojump_clock: MockClock) -> None:
    group = RunGroup()
    group.add(ends(3, ConfigError("bad")), name="config")
    group.add(*stops(1, KeyboardInterrupt()), name="server")
    text = str(await finished(group))
    assert "run() ends at 4 s with KeyboardInterrupt\n" in text
    assert "raised ConfigError · 3 s\n" in text
    assert "raised KeyboardInterrupt · 4 s → result of run()\n" in text
    assert text.endswith("\n\nconfig raised ConfigError: bad")


async def test_the_result_is_what_an_interrupt_raised(autojump_clock: MockClock) -> None:
    def interrupt(error: object) -> NoReturn:
        raise SystemExit(3)

    group = RunGroup()
    group.add(trio.sleep_forever, interrupt, name="server")
    group.add(ends(3), name="config")
    text = str(await finished(group))
    assert "cancelled · 3 s; its interrupt raised SystemExit → result of run()\n" in text
    assert "returned · 3 s\n" in text


async def test_the_result_that_an_interrupt_raises_again_is_told_once(
    autojump_clock: MockClock,
) -> None:
    def interrupt(error: BaseException | None) -> NoReturn:
        assert error is not None
        raise error

    group = RunGroup()
    group.add(trio.sleep_forever, interrupt, name="server")
    group.add(ends(3, ConfigError("bad")), name="config")
    text = str(await finished(group))
    assert "cancelled · 3 s; its interrupt raised ConfigError\n" in text
    assert "raised ConfigError → result of run()\n" in text


async def test_a_failed_interrupt_is_told_with_its_message(autojump_clock: MockClock) -> None:
    def interrupt(error: object) -> NoReturn:
        raise ValueError("cannot close")

    group = RunGroup()
    group.add(trio.sleep_forever, interrupt, name="server")
    group.add(ends(3), name="config")
    text = str(await finished(group))
    assert "cancelled · 3 s; its interrupt raised ValueError\n" in text
    assert text.endswith("\n\nthe interrupt of server raised ValueError: cannot close")


async def test_a_cancellation_from_outside_is_no_first_exit(autojump_clock: MockClock) -> None:
    group = RunGroup(grace=5)
    group.add(*stops(1), name="server")
    group.add(trio.sleep_forever, name="ticker")
    with trio.move_on_after(3):
        await group.run()
    assert group.record is not None
    assert lines(group.record) == [
        "run() is cancelled from outside; the 2 actors are interrupted",
        "run() ends at 4 s, cancelled",
        "",
        "  server  ━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━▼─────────✓  returned · 4 s",
        "  ticker  ━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━◇            cancelled · 3 s",
        "          0 s                           ▲ stop · 3 s",
    ]


async def test_an_error_during_a_cancellation_from_outside_is_the_result(
    autojump_clock: MockClock,
) -> None:
    group = RunGroup(grace=5)
    group.add(*stops(1, ConfigError("cannot save")), name="server")
    with trio.move_on_after(3), pytest.raises(ConfigError):
        await group.run()
    text = str(group.record)
    assert text.startswith("run() is cancelled from outside; the actor is interrupted\n")
    assert "raised ConfigError · 4 s → result of run()" in text


def test_ctrl_c_is_named_as_the_reason() -> None:
    async def main() -> Record:
        group = RunGroup()
        group.add(*stops(1), name="server")

        # Protected, so that Ctrl-C goes to the main task.
        @trio.lowlevel.enable_ki_protection
        async def press() -> None:
            await trio.sleep(2)
            signal.raise_signal(signal.SIGINT)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(press)
            return await finished(group)

    assert lines(virtual(main))[:2] == [
        "KeyboardInterrupt in the task that awaits run(); the actor is interrupted",
        "run() ends at 3 s with KeyboardInterrupt",
    ]


async def test_a_record_tells_when_its_run_began_on_trios_clock(autojump_clock: MockClock) -> None:
    group = RunGroup()
    group.add(ends(1))
    await trio.sleep(5)
    record = await finished(group)
    assert (record.start, record.ended) == (5, 1)
    with pytest.raises(TypeError):
        Record(Facts((), 0), start=3)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


async def test_a_call_of_interrupt_is_named_as_the_reason(autojump_clock: MockClock) -> None:
    group = RunGroup()
    group.add(*stops(1), name="server")
    group.add(trio.sleep_forever, name="ticker")
    async with trio.open_nursery() as nursery:
        await nursery.start(group.run)
        await trio.sleep(2)
        group.interrupt()
    assert str(group.record).startswith(
        "interrupt() was called; the 2 actors are interrupted\nrun() ends at 3 s\n"
    )


async def test_where_all_have_returned_nobody_is_shown_as_interrupted(
    autojump_clock: MockClock,
) -> None:
    group = RunGroup()
    group.add(ends(1), name="migrate", ends_group=False)
    group.add(ends(4), name="warm up", ends_group=False)
    record = await finished(group)
    assert record.actors[0].interrupted == 4
    assert lines(record) == [
        "all actors have returned",
        "run() ends at 4 s",
        "",
        "  migrate  ━━━━━━━━━━✓                                returned · 1 s",
        "  warm up  ━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━✓  returned · 4 s",
        "           0 s                                     ▲ stop · 4 s",
    ]


async def test_an_actor_that_had_returned_before_is_not_called_interrupted(
    autojump_clock: MockClock,
) -> None:
    group = RunGroup()
    group.add(ends(1), lambda _: None, name="migrate", ends_group=False)
    group.add(*stops(1), name="server")
    group.add(ends(3), name="config")
    assert lines(await finished(group)) == [
        "config ends the group; the other is interrupted",
        "run() ends at 4 s",
        "",
        "  migrate  ━━━━━━━━━━✓                                returned · 1 s",
        "  server   ━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━▼─────────✓  returned · 4 s",
        "* config   ━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━✓            returned → result of run()",
        "           0 s                           ▲ stop · 3 s",
    ]


async def test_of_a_lone_actor_nobody_else_is_said_to_be_interrupted(
    autojump_clock: MockClock,
) -> None:
    group = RunGroup()
    group.add(ends(1), name="only")
    assert lines(await finished(group))[0] == "only exits first"


@pytest.mark.parametrize("limit", [math.inf, 1])
async def test_an_error_that_equals_the_result_is_told_as_well(
    autojump_clock: MockClock, limit: float
) -> None:
    class AlwaysEqual(Exception):
        def __eq__(self, other: object) -> bool:
            return True  # pragma: no cover - nobody is to ask

        __hash__ = Exception.__hash__

    group = RunGroup(grace=9)
    group.add(*stops(1, AlwaysEqual("one")), name="one")
    group.add(*stops(2, AlwaysEqual("two")), name="two")
    group.add(ends(3 if limit == 1 else 1, AlwaysEqual("three")), name="three")
    with trio.move_on_after(limit):
        await finished(group)
    text = str(group.record)
    assert text.count("result of run()") == 1
    late = ["one"] if limit == math.inf else []
    assert text.endswith("\n".join(f"{name} raised AlwaysEqual: {name}" for name in (*late, "two")))


async def test_an_error_without_message_is_told_once(autojump_clock: MockClock) -> None:
    group = RunGroup()
    group.add(*stops(1, ConfigError()), name="server")
    group.add(ends(3), name="config")
    assert str(await finished(group)).count("ConfigError") == 1


# ---- a run that is not over ----


async def test_a_record_can_be_read_while_the_actors_run(autojump_clock: MockClock) -> None:
    group = RunGroup()
    group.add(ends(1), name="setup", ends_group=False)
    group.add(trio.sleep_forever, name="server")
    group.add(trio.sleep_forever, name="ticker")
    assert (await halfway(group, 2.5)).splitlines() == [
        "2 of 3 actors running",
        "run() has been going for 2.5 s",
        "",
        "  setup   ━━━━━━━━━━━━━━━━✓                          returned · 1 s",
        "  server  ━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━…  still running",
        "  ticker  ━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━…  still running",
        "          0 s                                     2.5 s",
    ]


async def test_a_record_can_be_read_while_the_group_stops(autojump_clock: MockClock) -> None:
    group = RunGroup()
    group.add(*stops(9), name="server")
    group.add(ends(3, ConfigError("bad")), name="config")
    assert (await halfway(group, 5)).splitlines() == [
        "config exits first; the other is interrupted",
        "run() is still waiting after 5 s",
        "",
        "  server  ━━━━━━━━━━━━━━━━━━━━━━━━▼───────────────…  winding down",
        "* config  ━━━━━━━━━━━━━━━━━━━━━━━━✗                  raised ConfigError · 3 s",
        "          0 s                     ▲ first exit · 3 s",
        "",
        "config raised ConfigError: bad",
    ]


async def test_an_actor_that_has_not_begun_says_so(autojump_clock: MockClock) -> None:
    group = RunGroup()
    seen: list[str] = []

    async def look() -> None:
        seen.append(str(group.record))

    group.add(look, name="a")
    group.add(look, name="b")
    await group.run()
    # Either may be the first to begin; the other one then has not.
    assert seen[0].startswith("2 actors running\nrun() has been going for 0 s\n")
    assert sorted(line[5:].strip() for line in seen[0].splitlines()[3:5]) == [
        "not begun",
        "…  still running",
    ]


async def test_a_lone_actor_is_running(autojump_clock: MockClock) -> None:
    group = RunGroup()
    group.add(trio.sleep_forever, name="only")
    assert (await halfway(group, 1)).startswith("1 actor running\n")


async def test_outside_of_trio_an_unfinished_run_is_drawn_up_to_what_is_known(
    autojump_clock: MockClock,
) -> None:
    group = RunGroup()
    group.add(ends(1), name="setup", ends_group=False)
    group.add(trio.sleep_forever, name="server")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(group.run)
        await trio.sleep(2)
        text = await trio.to_thread.run_sync(str, group.record)
        nursery.cancel_scope.cancel(reason="seen enough")
    assert text.splitlines()[1] == "run() has been going for at least 1 s"


async def test_nor_in_another_run_of_trio_which_has_another_clock(
    autojump_clock: MockClock,
) -> None:
    group, texts = RunGroup(), list[str]()

    async def read() -> None:
        copied = pickle.loads(pickle.dumps(group.record))
        texts.extend(str(record).splitlines()[1] for record in (group.record, copied))

    group.add(ends(1), name="setup", ends_group=False)
    group.add(trio.sleep_forever, name="server")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(group.run)
        await trio.sleep(2)
        await trio.to_thread.run_sync(trio.run, read)
        await read()
        texts.append(str(copy.copy(group.record)).splitlines()[1])  # shows the same run
        nursery.cancel_scope.cancel(reason="seen enough")
    at_least, exactly = "run() has been going for at least 1 s", "run() has been going for 2 s"
    assert texts == [at_least, at_least, exactly, at_least, exactly]


async def test_a_record_can_be_read_whenever_another_run_lets_its_objects_go(
    autojump_clock: MockClock,
) -> None:
    group, other, texts = RunGroup(), RunGroup(), list[str]()
    kept = contextvars.ContextVar[object]("kept")

    class ReadsAtItsEnd:
        def __del__(self) -> None:
            texts.append(str(other.record).splitlines()[1])

    async def slow() -> None:
        kept.set(ReadsAtItsEnd())
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(1)

    group.add(ends(1))
    group.add(slow, lambda _: None, grace=1)
    other.add(trio.sleep_forever)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(other.run)
        await group.run()
        await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel(reason="seen enough")
    assert texts == ["run() has been going for 3 s"]


def test_a_record_can_be_read_after_the_run() -> None:
    async def main() -> Record:
        group = RunGroup()
        group.add(ends(1), name="only")
        return await finished(group)

    record = virtual(main)
    assert str(record).startswith("only exits first\n")
    assert repr(record).startswith("Record(actors=(ActorRecord(name='only', began=0.0,")


async def test_a_record_that_is_read_later_ends_where_its_run_did(
    autojump_clock: MockClock,
) -> None:
    group = RunGroup()
    group.add(ends(1), name="only")
    record = await finished(group)
    before = str(record)
    await trio.sleep(5)
    assert str(record) == before


async def test_the_entries_of_a_record_are_the_same_ones_each_time_and_tell_what_happens(
    autojump_clock: MockClock,
) -> None:
    group = RunGroup()
    group.add(*stops(1), name="server")
    group.add(ends(2), name="ends")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(group.run)
        await trio.sleep(1)
        assert group.record is not None
        before = server, ends_first = group.record.actors
        assert (server.name, server.began, server.interrupted, server.exited) == (
            "server",
            0,
            None,
            None,
        )
        assert (server.how, server.error, server.interrupt_error) == (None, None, None)
        assert group.record.first is None
    assert group.record.actors is before
    assert group.record.first is ends_first
    assert (server.interrupted, server.exited, server.how) == (2, 3, "returned")
    assert repr(server) == (
        "ActorRecord(name='server', began=0.0, interrupted=2.0, exited=3.0, how='returned')"
    )
    with pytest.raises(AttributeError):
        server.exited = 4.0  # pyright: ignore[reportAttributeAccessIssue]


def test_the_entries_of_a_record_are_the_same_ones_in_every_thread() -> None:
    async def main() -> Record:
        group = RunGroup()
        for _ in range(1_000):
            group.add(ends(1))
        return await finished(group)

    record = virtual(main)
    together = threading.Barrier(4)

    def look() -> ActorRecord | None:
        together.wait()
        return record.first

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(4) as pool:
            looks = [pool.submit(look) for _ in range(4)]
    finally:
        sys.setswitchinterval(interval)
    assert {look.result() for look in looks} == {record.first}


# ---- many actors ----


def names(shown: list[ActorRecord | str]) -> list[str]:
    return [row if isinstance(row, str) else row.name for row in shown]


async def test_forty_actors_have_a_row_each(autojump_clock: MockClock) -> None:
    group = RunGroup()
    for number in range(39):
        group.add(*stops(number), name=f"worker {number}")
    group.add(ends(1), name="first")
    text = lines(await finished(group))
    assert [line[2:11].strip() for line in text[3:43]] == [
        *(f"worker {number}" for number in range(39)),
        "first",
    ]
    assert all(columns(line) <= 80 for line in text)


async def test_of_ten_thousand_actors_the_middle_is_left_out(autojump_clock: MockClock) -> None:
    group = RunGroup()
    for number in range(10_000):
        match number:
            case 5_000:
                group.add(ends(1, ConfigError("bad")), name="first")
            case 7_000:
                group.add(*stops(1, OSError("late")), name="late")
            case 8_000:
                group.add(*stops(1), name="middling")
            case _:
                group.add(trio.sleep_forever, name=str(number))
    record = await finished(group)
    start = time.perf_counter()
    text = str(record)
    assert time.perf_counter() - start < 1
    assert names(rows(record)) == [
        *(str(number) for number in range(19)),
        "… 4,981 more, all cancelled",
        "first",
        "… 1,999 more, all cancelled",
        "late",
        "… 2,980 more: 2,979 cancelled, 1 returned",
        *(str(number) for number in range(9_981, 10_000)),
    ]
    assert "first exits first; the other 9,999 are interrupted\n" in text
    assert "\n  … 1,999 more, all cancelled\n" in text
    assert text.endswith("\n\nlate raised OSError: late")


async def test_a_single_actor_is_not_left_out(autojump_clock: MockClock) -> None:
    group = RunGroup()
    for number in range(41):
        group.add(trio.sleep_forever, name=str(number))
    shown = await halfway(group, 1, rows)
    assert names(shown) == [str(number) for number in range(41)]


async def test_of_too_many_failures_the_first_ones_are_shown(autojump_clock: MockClock) -> None:
    group = RunGroup()
    for number in range(99):
        group.add(*stops(1, OSError("late")), name=str(number))
    group.add(ends(1), name="first")
    assert names(rows(await finished(group))) == [
        *(str(number) for number in range(20)),
        "… 60 more, all raised",
        *(str(number) for number in range(80, 99)),
        "first",
    ]


async def test_the_first_exit_is_not_left_out_for_failures_nor_those_for_who_is_waited_for(
    autojump_clock: MockClock,
) -> None:
    group = RunGroup()
    for number in range(100):
        if number == 82:
            group.add(ends(1), name="first")
        elif number >= 60:
            group.add(*stops(0, OSError("late") if number < 82 else None), name=str(number))
        else:
            group.add(*stops(9 if number >= 40 else 0), name=str(number))
    assert names(await halfway(group, 2, rows)) == [
        *(str(number) for number in range(10)),
        "… 50 more: 30 returned, 20 winding down",
        *(str(number) for number in range(60, 79)),
        "… 3 more, all raised",
        "first",
        "… 7 more, all returned",
        *(str(number) for number in range(90, 100)),
    ]


async def test_the_first_exit_is_not_left_out_where_another_one_is_the_result(
    autojump_clock: MockClock,
) -> None:
    group = RunGroup()
    for number in range(100):
        match number:
            case 40:
                group.add(ends(1), name="first")
            case 60:
                group.add(*stops(1, KeyboardInterrupt()), name="result")
            case _:
                group.add(trio.sleep_forever, name=str(number))
    assert names(rows(await finished(group)))[19:22] == [
        "… 21 more, all cancelled",
        "first",
        "… 19 more, all cancelled",
    ]


async def test_who_is_waited_for_is_not_left_out(autojump_clock: MockClock) -> None:
    group = RunGroup()
    for number in range(100):
        group.add(*stops(9 if number == 50 else 0), name=str(number))
    async with trio.open_nursery() as nursery:
        await nursery.start(group.run)
        group.interrupt()
        await trio.sleep(1)
        assert group.record is not None
        shown = names(rows(group.record))
    assert shown[19:23] == ["19", "… 30 more, all returned", "50", "… 30 more, all returned"]


# ---- names and messages ----


async def test_wide_characters_do_not_shift_the_bars(autojump_clock: MockClock) -> None:
    group = RunGroup()
    for name in ("ascii", "ロケット", "🚀 rocket", "cafe\N{COMBINING ACUTE ACCENT}"):
        group.add(*stops(1), name=name)
    group.add(ends(1), name="first")
    bars = [line.partition("━") for line in lines(await finished(group))[3:8]]
    assert {columns(before) for before, _, _ in bars} == {2 + len("🚀 rocket") + 1 + 2}


async def test_a_long_name_is_cut(autojump_clock: MockClock) -> None:
    group = RunGroup()
    group.add(ends(1, ConfigError("x" * 1000)), name="n" * 80)
    group.add(*stops(1, ConfigError("y" * 1000)), name="広" * 80)
    text = lines(await finished(group))
    assert text[0] == f"{'n' * 20}…{'n' * 19} exits first; the other is interrupted"
    assert text[1] == f"run() ends at 2 s with ConfigError: {'x' * 199}…"
    assert text[3].startswith(f"* {'n' * 10}…{'n' * 10}  ━")
    assert text[4].startswith(f"  {'広' * 5}…{'広' * 5}  ━")
    assert text[-1] == f"{'広' * 80} raised ConfigError: {'y' * 199}…"
    assert all(columns(line) <= 80 for line in text[3:6])


async def test_a_long_type_is_cut_in_the_row_and_whole_below(autojump_clock: MockClock) -> None:
    long_type = type("Long" * 20, (Exception,), {})
    group = RunGroup()
    group.add(ends(1), name="first")
    group.add(*stops(1, long_type("bad")), name="second")
    text = lines(await finished(group))
    assert text[4].endswith(f"  raised {('Long' * 20)[:39]}… · 2 s")
    assert text[-1] == f"second raised {'Long' * 20}: bad"


async def test_no_name_and_no_message_can_do_harm_to_a_terminal(autojump_clock: MockClock) -> None:
    group = RunGroup()
    group.add(ends(1, ConfigError("\x1b[31mred\r\nnext\x00")), name="new\nline \x1b[2J")
    group.add(*stops(1), name="\ud800 surrogate")
    group.add(*stops(1), name="\N{RIGHT-TO-LEFT OVERRIDE}turned")
    text = str(await finished(group))
    assert len(text.encode("utf-8").splitlines()) == 7
    assert text.startswith("new line �[2J exits first; ")
    assert "ConfigError: �[31mred next�\n" in text
    assert all(char.isprintable() or char == "\n" for char in text)


class RudeStr(str):
    __slots__ = ()
    __getitem__ = None  # type: ignore[assignment]


def broken(*, how: object) -> Exception:
    class BrokenError(Exception):
        def __str__(self) -> str:
            if isinstance(how, BaseException):
                raise how
            return how  # type: ignore[return-value]

        __repr__ = __str__

    return BrokenError()


@pytest.mark.parametrize(
    ("how", "message"),
    [
        (ValueError("no"), "BrokenError: <its str() failed>"),
        (SystemExit(3), "BrokenError: <its str() failed>"),
        (42, "BrokenError: <its str() failed>"),
        (RudeStr("polite"), "BrokenError: polite"),
        (RudeStr("x" * 50_000_000), f"BrokenError: {'x' * 199}…"),
        ("", "BrokenError"),
    ],
    ids=["raises", "exits", "no text", "rude text", "50 MB", "empty"],
)
async def test_an_error_that_cannot_be_told_does_no_harm(
    autojump_clock: MockClock, how: object, message: str
) -> None:
    group = RunGroup()
    group.add(ends(1, broken(how=how)), name="first")
    record = await finished(group)
    start = time.perf_counter()
    assert str(record).splitlines()[1] == f"run() ends at 1 s with {message}"
    assert time.perf_counter() - start < 1


@pytest.mark.parametrize(
    ("errors", "inside"),
    [
        ([KeyError("acme")], "[KeyError: 'acme']"),
        (
            [OSError("disk"), ExceptionGroup("in it", [ValueError("a"), TypeError("b")])],
            "[OSError: disk; ValueError: a; TypeError: b]",
        ),
        (
            [ValueError(str(n)) for n in range(4)],
            "[ValueError: 0; ValueError: 1; ValueError: 2; …]",
        ),
        ([broken(how=ValueError("no"))], "[BrokenError: <its str() failed>]"),
        ([ValueError("x" * 300)], f"[ValueError: {'x' * 139}…"),
    ],
    ids=["one", "a group in it", "many", "broken", "long"],
)
async def test_a_group_of_errors_is_told_with_what_is_in_it(
    autojump_clock: MockClock, errors: list[Exception], inside: str
) -> None:
    group = RunGroup()
    group.add(ends(1, ExceptionGroup("Exceptions from Trio nursery", errors)), name="first")
    number = f"{len(errors)} sub-exception" + "s" * (len(errors) > 1)
    told = f"ExceptionGroup: Exceptions from Trio nursery ({number}) {inside}"
    record = await finished(group)
    assert str(record).splitlines()[1] == f"run() ends at 1 s with {told}"


# ---- the helpers ----


@pytest.mark.parametrize(
    ("span", "text"),
    [
        (None, "0 s"),
        (0, "0 s"),
        (3.2e-7, "0.32 µs"),
        (0.000_012_3, "12.3 µs"),
        (0.001, "1 ms"),
        (0.02, "20 ms"),
        (0.025_54, "25.5 ms"),
        (0.999_4, "999 ms"),
        (0.999_9, "1 s"),
        (4.6, "4.6 s"),
        (3, "3 s"),
        (99.94, "99.9 s"),
        (99.96, "100 s"),
        (100.4, "100 s"),
        (119.4, "119 s"),
        (119.6, "2 min"),
        (400, "6 min 40 s"),
        (7_199, "119 min 59 s"),
        (7_200, "2 h"),
        (9_000, "2 h 30 min"),
        (86_400, "24 h"),
        (2 * 86_400 - 1, "48 h"),
        (2 * 86_400, "2 d"),
        (3 * 86_400, "3 d"),
        (3 * 86_400 + 4 * 3_600, "3 d 4 h"),
        (1_000 * 86_400, "1000 d"),
    ],
)
def test_a_span_of_time_is_written_with_its_unit(span: float | None, text: str) -> None:
    assert seconds(span) == text


def test_a_text_is_cut_to_one_line() -> None:
    assert shorten("one \n\t two\u2028three") == "one two three"
    assert shorten("x" * 200) == "x" * 200
    assert shorten("x" * 201) == "x" * 199 + "…"


def test_a_text_is_cut_to_its_width() -> None:
    assert fit("abc", 3, columns) == "abc"
    assert fit("abcd", 3, columns) == "ab…"
    assert fit("広い部屋", 6, columns) == "広い…"


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("test_something.<locals>.ends", "test_something.<locals>.ends"),  # it fits
        ("test_something.<locals>.serve_metrics", "test_something.serve_metrics"),
        ("Outer.of.<locals>.Inner.make.<locals>.work #2", "Outer.of.Inner.make.work #2"),
        ("test_something_else.<locals>.serve_metrics", "test_something…serve_metrics"),
        ("test_something_else.<locals>.serve_metric_values", "test_som…serve_metric_values"),
        ("test_something.<locals>." + "a" * 30, "test_something…" + "a" * 13),
        ("test_something_else_that_is_long", "test_something…_that_is_long"),
        ("test_something_else_that_is_l #2", "test_something…_that_is_l #2"),
        ("a" * 200 + "b" * 200, "a" * 14 + "…" + "b" * 13),
        ("e\u0301" * 40, "e\u0301" * 14 + "…" + "e\u0301" * 13),
    ],
)
async def test_a_name_that_is_cut_keeps_beginning_and_end(
    name: str, shown: str, autojump_clock: MockClock
) -> None:
    group = RunGroup()
    group.add(ends(1), name=name)
    group.add(*stops(1), name="short")
    record = await finished(group)
    assert lines(record)[3].startswith(f"* {shown}  ")


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("test_something_else.<locals>.serve_value", "test_something_else.<locals>.serve_value"),
        (
            "test_something_else.<locals>.serve_metric_values",
            "test_something_else.serve_metric_values",
        ),
        ("a" * 41 + "b" * 41, "a" * 20 + "…" + "b" * 19),
    ],
)
async def test_the_title_has_room_for_more_of_a_name(
    name: str, shown: str, autojump_clock: MockClock
) -> None:
    group = RunGroup()
    group.add(ends(1), name=name)
    group.add(*stops(1), name="short")
    title = lines(await finished(group))[0]
    assert title == f"{shown} exits first; the other is interrupted"


async def test_names_made_alike_differ_when_they_are_cut(autojump_clock: MockClock) -> None:
    names = [
        "http_server_actor_for_port.<locals>.execute",
        "database_connection_actor.<locals>.execute",
        "ingest worker for region eu-central-1",
        "ingest worker for region eu-central-2",
        "x" * 300 + " #2",
        "x" * 300 + " #3",
    ]
    group = RunGroup()
    for number, name in enumerate(names):
        group.add(*stops(number), name=name)
    group.add(ends(1), name="short")
    shown = [line[2:30].rstrip() for line in lines(await finished(group))[3:9]]
    assert shown == [
        "http_server_ac…_port.execute",
        "database_conne…actor.execute",
        "ingest worker … eu-central-1",
        "ingest worker … eu-central-2",
        "xxxxxxxxxxxxxx…xxxxxxxxxx #2",
        "xxxxxxxxxxxxxx…xxxxxxxxxx #3",
    ]


async def test_names_that_would_be_the_same_when_cut_are_cut_elsewhere(
    autojump_clock: MockClock,
) -> None:
    names = [
        "ingest-worker-eu-west-1-consumer",
        "ingest-worker-us-east-1-consumer",
        "ingest-worker-us-east-2-consumer",
        "a" * 29,
        "a" * 30,
        "a" * 300 + "b" + "a" * 300,
        "a" * 300 + "cc" + "a" * 300,
    ]
    group = RunGroup()
    for number, name in enumerate(names):
        group.add(*stops(number), name=name)
    group.add(ends(1), name="short")
    shown = [line[2:30].rstrip() for line in lines(await finished(group))[3:10]]
    assert shown == [
        "ingest-wo…eu-west-1-consumer",
        "ingest-wo…us-east-1-consumer",
        "ingest-worker-…st-2-consumer",
        "aaaaaaaaa…",
        "aaaaaaaaa…a",
        "aaaaaaaaa…baaaaaaaaaaaaaaaa…",
        "aaaaaaaaa…ccaaaaaaaaaaaaaaa…",
    ]


@settings(max_examples=300, derandomize=True)  # a set of names that none can tell apart can be made
@given(
    st.lists(
        st.lists(
            st.sampled_from(["producer", "consumer", "eu", "us", "west", "1", "2"]), min_size=4
        ).map("-".join),
        min_size=2,
        max_size=12,
        unique=True,
    ),
    st.integers(16, 28),
)
def test_names_of_many_parts_differ_when_they_are_cut(names: list[str], room: int) -> None:
    facts = Facts(names, len(names))
    actors = [ActorRecord(facts, index) for index in range(len(names))]
    shown = distinct(actors, lambda actor, at: fit_name(actor, room, columns, at))
    assert list(shown) == actors
    assert all(columns(name) <= room for name in shown.values())
    assert len(set(shown.values())) == len(names)


async def test_names_that_nobody_can_tell_apart_are_shown_all_the_same(
    autojump_clock: MockClock,
) -> None:
    group = RunGroup()
    for name in ("a\x00", "a\x01"):
        group.add(*stops(1), name=name)
    group.add(ends(1), name="first")
    assert [line[2:9] for line in lines(await finished(group))[3:5]] == ["a\ufffd     "] * 2


async def test_a_name_without_a_visible_character_is_shown_as_python_writes_it(
    autojump_clock: MockClock,
) -> None:
    group = RunGroup()
    group.add(ends(1), name="")
    group.add(*stops(1), name=" \t")
    group.add(*stops(1), name="\N{ARABIC LETTER MARK}")
    text = lines(await finished(group))
    assert text[0] == "'' exits first; the other 2 are interrupted"
    assert [line[2:].split("  ")[0] for line in text[3:6]] == ["''", r"' \t'", r"'\u061c'"]


async def test_a_letter_keeps_few_of_many_accents(autojump_clock: MockClock) -> None:
    group = RunGroup()
    group.add(ends(1), name="e" + "\u0301" * 50 + "e\u0301")
    group.add(*stops(1), name="short")
    assert lines(await finished(group))[3].startswith("* e" + "\u0301" * 4 + "e\u0301  ")


async def test_the_text_has_the_errors_of_those_without_a_row(autojump_clock: MockClock) -> None:
    group = RunGroup()
    for number in range(99):
        group.add(*stops(1, OSError(f"late {number}" if number != 50 else "")), name=str(number))
    group.add(ends(1), name="first")
    below = lines(await finished(group))[-99:]
    assert below == [
        f"{number} raised OSError" + (f": late {number}" if number != 50 else "")
        for number in range(99)
    ]


# ---- the picture ----


async def test_a_notebook_gets_the_picture_and_the_text(autojump_clock: MockClock) -> None:
    group = RunGroup()
    group.add(ends(1), name="only")
    record = await finished(group)
    bundle = record._repr_mimebundle_()
    assert bundle == {"image/svg+xml": record.to_svg(), "text/plain": str(record)}
    assert record._repr_mimebundle_(include=["text/plain"], exclude=None) == bundle
    assert bundle["image/svg+xml"].startswith("<svg ")


def test_importing_the_package_imports_no_xml_library() -> None:
    program = "import sys, trio_rungroup; print('xml.etree.ElementTree' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert done.stdout == b"False\n"

"""The public interface as type checkers must see it; nothing here is ever run."""

import functools
from typing import Literal, assert_type

import trio

from trio_rungroup import (
    ActorRecord,
    Record,
    RunGroup,
    SignalReceived,
    process_actor,
    scope_actor,
    signal_actor,
)


async def serve(port: int) -> str:
    return str(port)


async def report(*, task_status: trio.TaskStatus[int]) -> None:
    task_status.started(1)


def interrupt(error: BaseException | None) -> None: ...


async def async_interrupt(error: BaseException | None) -> bool:
    return error is None


async def main() -> None:
    group = RunGroup(grace=3)
    RunGroup(grace="3")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    RunGroup(3)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    partial = functools.partial(serve, 80)
    group.add(partial, interrupt, name="a", grace=1.5, ends_group=False)
    group.add(partial, async_interrupt)
    group.add(report, reports_started=True)
    group.add(*signal_actor(), name="signals")
    group.add(*scope_actor(trio.CancelScope()))
    group.add(*process_actor(["true", b"word"], cwd="/"), grace=10)
    outer = RunGroup()
    outer.add(group.run, group.interrupt)
    group.add(interrupt)  # type: ignore[type-var]  # pyright: ignore[reportArgumentType]
    group.add(partial, 3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    group.add(partial, interrupt, None)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]

    @group.add
    async def decorated() -> int:
        return 3

    assert_type(await decorated(), int)
    assert_type(await group.run(), object)
    assert_type(group.interrupt(), None)
    assert_type(group.record, Record | None)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(group.run)
        await nursery.start(group.run)
    assert group.record is not None
    assert_type(group.record.actors, tuple[ActorRecord, ...])
    assert_type(group.record.first, ActorRecord | None)
    assert_type(group.record.actors[0].began, float | None)
    assert_type(group.record.actors[0].how, Literal["returned", "raised", "cancelled"] | None)
    assert_type(group.record.actors[0].error, BaseException | None)
    assert_type(SignalReceived(15).exit_code, int)

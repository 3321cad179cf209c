"""The behaviour recorded from Go's github.com/oklog/run, replayed on trio in virtual time."""

import json
import math
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from trio_rungroup import RunGroup

TRACES = json.loads((Path(__file__).parent / "run_group_traces.json").read_text())["scenarios"]

Events = list[list[Any]]


def add_actor(
    group: RunGroup, index: int, actor: dict[str, Any], events: Events, *, sync: bool
) -> None:
    told = trio.Event()

    async def execute() -> None:
        with trio.move_on_after(math.inf if actor["exits_at"] is None else actor["exits_at"]):
            await told.wait()
        error = actor["error"]
        if told.is_set():
            await trio.sleep(actor["on_interrupt"]["after"])
            error = actor["on_interrupt"]["error"]
        events.append(["exit", index, error])
        if error is not None:
            raise LookupError(error)

    def interrupt(error: BaseException | None) -> None:
        events.append(["interrupt", index, None if error is None else str(error)])
        told.set()

    async def slow_interrupt(error: BaseException | None) -> None:
        interrupt(error)
        await trio.sleep(actor["interrupt_takes"])

    # A sync interrupt that takes time would stop the clock for all: those stay async.
    chosen: Callable[[BaseException | None], Awaitable[None] | None] = interrupt
    if not sync or actor["interrupt_takes"]:
        chosen = slow_interrupt
    group.add(execute, chosen, name=f"actor {index}")


@pytest.mark.parametrize("sync", [True, False], ids=["sync", "async"])
def test_all_recorded_traces_of_go_are_reproduced(sync: bool) -> None:
    assert len(TRACES) == 240
    for trace in TRACES:
        events: Events = []

        async def main(trace: dict[str, Any] = trace, events: Events = events) -> None:
            group = RunGroup()
            for index, actor in enumerate(trace["actors"]):
                add_actor(group, index, actor, events, sync=sync)
            result = None
            try:
                assert await group.run() is None
            except LookupError as error:
                result = str(error)
            assert (result, trio.current_time()) == (trace["result"], trace["returned_at"])

        trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
        assert events == trace["events"], trace["name"]

"""What is measured, each by a function that measures it once for one contender."""

from __future__ import annotations

import gc
import math
import os
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias

import trio
from contenders import (
    VALUE,
    Contender,
    cancelled_from_outside,
    nested_work_for,
    work_for,
)

# CPU time of this process: nothing here waits, and what else the machine does is no news.
clock: Final = time.process_time

Measure: TypeAlias = Callable[[Contender], float]


def repeats_for(contender: Contender, n: int, seconds: float) -> int:
    """Tell how many runs, one after the other, take so long."""
    once = min(time_to_run(contender, n) for _ in range(3)) if n < 10_000 else seconds
    return max(1, math.ceil(seconds / once))


def time_to_run(contender: Contender, n: int, repeats: int = 1) -> float:
    """Measure one run, from building it to its result."""

    async def main() -> float:
        work = work_for(contender, n)
        start = clock()
        for _ in range(repeats):
            await contender.run(work)
        return (clock() - start) / repeats

    return _start(contender, main)


def time_to_stop(contender: Contender, n: int, repeats: int = 1) -> float:
    """Measure from the first exit to the return."""

    async def main() -> float:
        total = exited = 0.0

        async def end() -> str:
            nonlocal exited
            await trio.lowlevel.checkpoint()
            exited = clock()
            return VALUE

        work = work_for(contender, n, end)
        for _ in range(repeats):
            await contender.run(work)
            total += clock() - exited
        return total / repeats

    return _start(contender, main)


def time_to_be_cancelled(contender: Contender, n: int, repeats: int = 1) -> float:
    """Measure a run that is cancelled from outside."""

    async def main() -> float:
        start = clock()
        for _ in range(repeats):
            await cancelled_from_outside(contender, n)
        return (clock() - start) / repeats

    return _start(contender, main)


def time_of_nested(contender: Contender, n: int) -> float:
    """Measure n runs one inside the other; they end from the inside out."""

    async def main() -> float:
        work = nested_work_for(contender, n)
        start = clock()
        await contender.run(work)
        return clock() - start

    return _start(contender, main)


def time_side_by_side(contender: Contender, n: int) -> float:
    """Measure n runs, all at the same time, in one nursery."""

    async def main() -> float:
        works = [work_for(contender, 1) for _ in range(n)]
        start = clock()
        async with trio.open_nursery() as nursery:
            for work in works:
                nursery.start_soon(contender.run, work)
        return clock() - start

    return _start(contender, main)


def peak_bytes(contender: Contender, n: int) -> float:
    """Measure the memory for each task, at its peak."""

    async def main() -> float:
        work = work_for(contender, n)
        gc.collect()
        tracemalloc.start()
        try:
            await contender.run(work)
            return tracemalloc.get_traced_memory()[1] / (n + 1)
        finally:
            tracemalloc.stop()

    return _start(contender, main)


# ---- scheduler steps: exact, free of noise ----


class Steps(trio.abc.Instrument):
    """How many steps trio's scheduler has taken."""

    taken = 0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.taken += 1


def steps_of_a_run(contender: Contender, n: int) -> int:
    """Count the scheduler's steps from the start of a run to its result.

    In which order tasks take their turns is drawn by lot, and may cost one more.
    """
    steps = Steps()

    async def main() -> int:
        for _ in range(10):  # trio's own tasks have come to rest
            await trio.lowlevel.checkpoint()
        before = steps.taken
        await contender.run(work_for(contender, n))
        return steps.taken - before

    return trio.run(main, instruments=[steps])


def steps_while_running(contender: Contender, n: int, ticks: int = 100) -> int:
    """Count the steps that nobody's work asked for, between the start and the first exit."""
    steps = Steps()
    others = 0

    async def end() -> str:
        nonlocal others
        for _ in range(10):  # all have begun, and whoever starts them has come to rest
            await trio.lowlevel.checkpoint()
        before = steps.taken
        for _ in range(ticks):
            await trio.lowlevel.checkpoint()
        others = steps.taken - before - ticks
        return VALUE

    trio.run(contender.run, work_for(contender, n, end), instruments=[steps])
    return others


# ---- the import ----


def time_to_import(module: str, *before: str) -> float:
    """Measure an import in a new interpreter, after others; in seconds."""
    lines = [
        *[f"import {each}" for each in before],
        "import time",
        "start = time.perf_counter()",
        f"import {module}",
        "print(time.perf_counter() - start)",
    ]
    command = [sys.executable, "-c", "\n".join(lines)]
    # What is installed is compiled.
    env = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=env)
    return float(done.stdout)


def _start(contender: Contender, main: Callable[[], Awaitable[float]]) -> float:
    """Take a sample: the collector is on, as in life, and starts with nothing to do."""
    gc.collect()
    return float(contender.start(main))

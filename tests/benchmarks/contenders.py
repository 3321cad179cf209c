"""The contenders: all run n sleepers and one that ends, which ends the others.

A contender is an async function of one argument, the `Work`. What it does for it is what its
row in the table says, no less: `check` lets each one run work that keeps count, and raises if
something was not started, not stopped, or not returned.
"""

from __future__ import annotations

import asyncio
import functools
import importlib
import importlib.util
import inspect
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeAlias

import attrs
import outcome
import trio
import trio.testing

from trio_rungroup import RunGroup

Execute: TypeAlias = Callable[[], Awaitable[object]]
Interrupt: TypeAlias = Callable[[BaseException | None], object]

GRACE: Final = 60.0  # seconds; finite, and never over before a sample is
VALUE: Final = "what the first one returned"
_log: Final = logging.getLogger("benchmarks")


@attrs.define(eq=False)
class Work:
    """What a contender is to run: a function for each task, and what interrupts it."""

    executes: list[Execute]
    interrupts: list[Interrupt]


# ---- what is compared with, and the library ----


async def bare_nursery(work: Work) -> None:
    async def child(execute: Execute) -> None:
        await execute()
        nursery.cancel_scope.cancel(reason="the first one has finished")

    async with trio.open_nursery() as nursery:
        for execute in work.executes:
            nursery.start_soon(child, execute)


async def run_group(work: Work) -> object:
    group = RunGroup()
    for execute in work.executes:
        group.add(execute)
    return await group.run()


async def run_group_with_interrupts(work: Work) -> object:
    group = RunGroup()
    for execute, interrupt in zip(work.executes, work.interrupts, strict=True):
        group.add(execute, interrupt, grace=GRACE)
    return await group.run()


# ---- by hand, with care ----


async def by_hand(work: Work) -> object:
    """Keep the first outcome, cancel everybody's own scope, lose no later error."""
    first: list[outcome.Outcome[object]] = []
    scopes = [trio.CancelScope() for _ in work.executes]

    async def child(execute: Execute, scope: trio.CancelScope) -> None:
        result: outcome.Outcome[object] | None = None
        try:
            with scope:  # inside the try: it takes Cancelled out of a group of errors
                result = outcome.Value(await execute())
        except Exception as exc:
            result = outcome.Error(exc)
        if result is None:
            return
        if not first:
            first.append(result)
            for each in scopes:
                each.cancel(reason="the first one has finished")
        elif isinstance(result, outcome.Error):
            _log.error("a later error", exc_info=result.error)

    async with trio.open_nursery() as nursery:
        for execute, scope in zip(work.executes, scopes, strict=True):
            nursery.start_soon(child, execute, scope)
    return first[0].unwrap()


async def by_hand_with_interrupts(work: Work) -> object:
    """Call the interrupts in order, contain their errors, end each task's grace.

    Every task is shielded, so that it can stop in order also when all this is cancelled.
    """
    first: list[outcome.Outcome[object]] = []
    stopping = trio.Event()
    scopes = [trio.CancelScope(shield=True) for _ in work.executes]

    async def child(execute: Execute, scope: trio.CancelScope) -> None:
        result: outcome.Outcome[object] | None = None
        try:
            with scope:  # inside the try: it takes Cancelled out of a group of errors
                result = outcome.Value(await execute())
        except Exception as exc:
            result = outcome.Error(exc)
        if result is None:
            return
        if not first:
            first.append(result)
            stopping.set()
        elif isinstance(result, outcome.Error):
            _log.error("a later error", exc_info=result.error)

    async with trio.open_nursery() as nursery:
        for execute, scope in zip(work.executes, scopes, strict=True):
            nursery.start_soon(child, execute, scope)
        error: BaseException | None = None
        try:
            await stopping.wait()
        except trio.Cancelled as exc:
            error = exc
        else:
            error = first[0].error if isinstance(first[0], outcome.Error) else None
        for interrupt, scope in zip(work.interrupts, scopes, strict=True):
            scope.deadline = trio.current_time() + GRACE
            try:
                waiting = interrupt(error)
                if inspect.isawaitable(waiting):
                    with trio.CancelScope(deadline=scope.deadline, shield=True):
                        await waiting
            except Exception:
                _log.exception("an interrupt failed")
                scope.cancel(reason="its interrupt failed")
    await trio.lowlevel.checkpoint_if_cancelled()
    return first[0].unwrap()


async def by_hand_in_one_scope(work: Work) -> object:
    """Keep the first outcome, cancel the nursery."""
    first: list[outcome.Outcome[object]] = []

    async def child(execute: Execute) -> None:
        result: outcome.Outcome[object]
        try:
            result = outcome.Value(await execute())
        except Exception as exc:
            result = outcome.Error(exc)
        if not first:
            first.append(result)
            nursery.cancel_scope.cancel(reason="the first one has finished")
        elif isinstance(result, outcome.Error):
            _log.error("a later error", exc_info=result.error)

    async with trio.open_nursery() as nursery:
        for execute in work.executes:
            nursery.start_soon(child, execute)
    return first[0].unwrap()


# ---- peers on trio ----


async def wait_any(work: Work) -> None:
    await _trio_util().wait_any(*work.executes)


async def anyio_task_group(work: Work) -> None:
    async def child(execute: Execute) -> None:
        await execute()
        group.cancel_scope.cancel()

    async with _anyio().create_task_group() as group:
        for execute in work.executes:
            group.start_soon(child, execute)


async def service_nursery(work: Work) -> None:
    async def child(execute: Execute) -> None:
        await execute()
        nursery.cancel_scope.cancel(reason="the first one has finished")

    async with _tricycle().open_service_nursery() as nursery:
        for execute in work.executes:
            nursery.start_soon(child, execute)


# ---- on another event loop ----


class _Finished(Exception):
    """What ends an `asyncio.TaskGroup` from inside: its documentation's own recipe."""


async def asyncio_task_group(work: Work) -> None:
    async def child(execute: Execute) -> None:
        await execute()
        raise _Finished

    try:
        async with asyncio.TaskGroup() as group:
            for execute in work.executes:
                group.create_task(child(execute))
    except* _Finished:
        pass


async def quattro_task_group(work: Work) -> None:
    async def child(execute: Execute) -> None:
        await execute()
        raise _Finished

    try:
        async with _quattro().TaskGroup() as group:
            for execute in work.executes:
                group.create_task(child(execute))
    except* _Finished:
        pass


# Peers may be missing, and their types too.


def _import(module: str) -> Callable[[], Any]:
    return functools.cache(lambda: importlib.import_module(module))


_trio_util, _anyio, _tricycle, _quattro = map(
    _import, ("trio_util", "anyio", "tricycle", "quattro")
)


@attrs.frozen
class Contender:
    """Who takes part.

    Attributes:
        name: For the command line.
        label: For the table.
        run: Runs the work.
        module: What must be installed for it.
        interrupts: Whether each task's own interrupt is called, instead of cancelling it.
        returns: Whether what the first task returned is returned.
        on_asyncio: Whether it runs on asyncio, for orientation.
    """

    name: str
    label: str
    run: Callable[[Work], Awaitable[object]]
    module: str = "trio"
    interrupts: bool = False
    returns: bool = False
    on_asyncio: bool = False

    @property
    def is_installed(self) -> bool:
        return importlib.util.find_spec(self.module) is not None

    def start(self, function: Callable[..., Awaitable[Any]], *args: object) -> Any:
        """Run an async function in the loop that this contender runs in."""
        if self.on_asyncio:
            return asyncio.run(function(*args))  # type: ignore[arg-type]
        return trio.run(function, *args)


BARE: Final = Contender("bare", "bare nursery", bare_nursery)
CONTENDERS: Final = (
    BARE,
    Contender("default", "**RunGroup**", run_group, returns=True),
    Contender("by-hand", "by hand: a scope per task, first outcome kept", by_hand, returns=True),
    Contender(
        "one-scope",
        "by hand: the nursery's scope, first outcome kept",
        by_hand_in_one_scope,
        returns=True,
    ),
    Contender(
        "own",
        "**RunGroup**, each actor with interrupt and grace",
        run_group_with_interrupts,
        interrupts=True,
        returns=True,
    ),
    Contender(
        "own-by-hand",
        "by hand: the same, with a shielded deadline per task",
        by_hand_with_interrupts,
        interrupts=True,
        returns=True,
    ),
    Contender("wait_any", "`trio_util.wait_any`", wait_any, "trio_util"),
    Contender("anyio", "anyio task group, on trio", anyio_task_group, "anyio"),
    Contender("tricycle", "tricycle service nursery", service_nursery, "tricycle"),
    Contender("asyncio", "`asyncio.TaskGroup`", asyncio_task_group, "asyncio", on_asyncio=True),
    Contender("quattro", "quattro, on asyncio", quattro_task_group, "quattro", on_asyncio=True),
)


# ---- work ----


class Waiter:
    """A task with an interrupt of its own, as servers have them; can be run again."""

    __slots__ = ("event",)

    async def execute(self) -> None:
        self.event = trio.Event()
        await self.event.wait()

    def interrupt(self, error: BaseException | None) -> None:
        self.event.set()


async def end() -> str:
    """End, but not before all have begun."""
    await trio.lowlevel.checkpoint()
    return VALUE


async def _end_on_asyncio() -> str:
    await asyncio.sleep(0)
    return VALUE


async def _sleep_on_asyncio() -> None:
    await asyncio.get_running_loop().create_future()


def nothing_to_interrupt(error: BaseException | None) -> None:
    """Interrupt a task that ends by itself."""


def work_for(contender: Contender, n: int, last: Execute | None = None) -> Work:
    """Make n sleepers and one that ends, or another last one."""
    if contender.on_asyncio:
        return Work([*[_sleep_on_asyncio] * n, last or _end_on_asyncio], [])
    if contender.interrupts:
        waiters = [Waiter() for _ in range(n)]
        return Work(
            [*[waiter.execute for waiter in waiters], last or end],
            [*[waiter.interrupt for waiter in waiters], nothing_to_interrupt],
        )
    return Work([*[trio.sleep_forever] * n, last or end], [])


def nested_work_for(contender: Contender, depth: int) -> Work:
    """Make one run inside another; each has a sleeper, the innermost one that ends."""
    work = work_for(contender, 1)
    for _ in range(depth - 1):
        work = work_for(contender, 1, functools.partial(contender.run, work))
    return work


async def cancelled_from_outside(contender: Contender, n: int) -> None:
    """Run sleepers only, and cancel what is around them."""
    last = Waiter()

    async def cancel_outside() -> None:
        await trio.lowlevel.checkpoint()
        outside.cancel(reason="from outside")
        await last.execute()

    work = work_for(contender, n, cancel_outside)
    if contender.interrupts:
        work.interrupts[-1] = last.interrupt
    with trio.CancelScope() as outside:
        await contender.run(work)


# ---- the check ----


def check(contender: Contender, n: int = 10) -> None:
    """Raise unless the contender does what it is measured for."""
    logging.disable()
    try:
        _check_a_return(contender, n)
        if not contender.on_asyncio:
            _check_a_cancellation(contender, n)
        if contender.returns:
            _check_an_error(contender, n)
        if contender.interrupts:
            _check_the_graces(contender, n)
    finally:
        logging.disable(logging.NOTSET)


def _check_a_return(contender: Contender, n: int) -> None:
    ledger = _Ledger()
    value = contender.start(contender.run, ledger.of(work_for(contender, n)))
    everybody = list(range(n + 1))
    _demand(contender, "begins all", sorted(ledger.began) == everybody)
    _demand(contender, "ends all", sorted(ledger.ended) == everybody)
    _demand(contender, "lets the one that ends be first", ledger.ended[0] == n)
    if contender.interrupts:
        _demand(contender, "calls the interrupts in order", ledger.interrupted == everybody)
    if contender.returns:
        _demand(contender, "returns the first value", value == VALUE)


def _check_a_cancellation(contender: Contender, n: int) -> None:
    ledger = _Ledger()

    def counting(work: Work) -> Awaitable[object]:
        return contender.run(ledger.of(work))

    clock = trio.testing.MockClock(autojump_threshold=0)
    trio.run(cancelled_from_outside, attrs.evolve(contender, run=counting), n, clock=clock)
    everybody = list(range(n + 1))
    _demand(contender, "ends at once when cancelled", clock.current_time() == 0)
    _demand(contender, "ends all when cancelled", sorted(ledger.ended) == everybody)
    if contender.interrupts:
        _demand(contender, "interrupts all when cancelled", ledger.interrupted == everybody)


def _check_an_error(contender: Contender, n: int) -> None:
    error = LookupError("what the first one raised")
    raised: Exception | None = None

    async def fail() -> None:
        raise error

    try:
        trio.run(contender.run, work_for(contender, n, fail))
    except Exception as exc:
        raised = exc
    _demand(contender, "raises the first error itself", raised is error)


def _check_the_graces(contender: Contender, n: int) -> None:
    """One interrupt fails, one is ignored: the one is contained, the other one's task ended."""
    ledger = _Ledger()
    work = ledger.of(work_for(contender, n))
    proper = work.interrupts[1]
    seconds: list[float] = []

    def fail(error: BaseException | None) -> None:
        proper(error)
        raise RuntimeError("an interrupt has failed")

    async def sleep_on() -> None:
        start = trio.current_time()
        try:
            await trio.sleep(2 * GRACE)
        finally:
            seconds.append(trio.current_time() - start)

    work.interrupts[1] = fail
    work.executes[2] = sleep_on
    work.interrupts[2] = nothing_to_interrupt
    clock = trio.testing.MockClock(autojump_threshold=0)
    value = trio.run(contender.run, work, clock=clock)
    _demand(contender, "contains a failing interrupt", len(ledger.interrupted) == n)
    _demand(contender, "ends what ignores its interrupt", seconds == [GRACE])
    _demand(contender, "returns the first value all the same", value == VALUE)


@attrs.define(eq=False)
class _Ledger:
    """Which tasks began and ended, and which were interrupted, each in their order."""

    began: list[int] = attrs.field(factory=list[int])
    ended: list[int] = attrs.field(factory=list[int])
    interrupted: list[int] = attrs.field(factory=list[int])

    def of(self, work: Work) -> Work:
        return Work(
            [self._execute(number, execute) for number, execute in enumerate(work.executes)],
            [self._interrupt(number, each) for number, each in enumerate(work.interrupts)],
        )

    def _execute(self, number: int, execute: Execute) -> Execute:
        async def counted() -> object:
            self.began.append(number)
            try:
                return await execute()
            finally:
                self.ended.append(number)

        return counted

    def _interrupt(self, number: int, interrupt: Interrupt) -> Interrupt:
        def counted(error: BaseException | None) -> object:
            self.interrupted.append(number)
            return interrupt(error)

        return counted


def _demand(contender: Contender, what: str, holds: object) -> None:
    if not holds:
        raise AssertionError(f"{contender.name} can only be measured if it {what}")

"""The check of notebook 07: `check(flusher)`."""

from __future__ import annotations

import contextlib
import inspect
import logging
import math
import signal
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeAlias

import attrs
import trio
from helpers import (
    STUB_IS_LEFT,
    Attempt,
    attempt,
    shortly,
    verdict,
    why_it_failed,
    why_no_pair,
)

from trio_rungroup import RunGroup, SignalReceived

Flush: TypeAlias = Callable[[], Awaitable[None]]
Flusher: TypeAlias = Callable[[Flush], Any]

_LONG = 1000  # virtual seconds
_MOST_CALLS = 2000  # of flush(), in a loop without an `await` that would fill the memory
_SOON = 1.0  # virtual seconds: also for an interrupt that looks now and then

# Where a stop waits in vain, the check says so; the library would, on standard error.
logging.getLogger("trio_rungroup").addHandler(logging.NullHandler())


@attrs.define
class _Run:
    """A flusher in a group that stops at some moment: when it flushed, and how it ended."""

    flusher: Flusher
    stop_at: float
    fails: bool = False
    by_signal: bool = False  # and so by an error, as most groups are
    grace: float = math.inf
    cancelled_at: float | None = None  # alone, without a group and without being told
    began: list[float] = attrs.field(factory=list[float], init=False)
    done: list[float] = attrs.field(factory=list[float], init=False)
    is_pair: bool = attrs.field(default=False, init=False)
    is_actor: bool = attrs.field(default=False, init=False)
    how: str | None = attrs.field(default=None, init=False)
    error: BaseException | None = attrs.field(default=None, init=False)  # the actor's
    waits: bool = attrs.field(default=False, init=False)  # the interrupt, and for ever
    passed_on: bool = attrs.field(default=False, init=False)  # the scope got its cancellation back
    ended: Attempt = attrs.field(init=False)
    calls: list[Coroutine[Any, Any, None]] = attrs.field(
        factory=list[Coroutine[Any, Any, None]], init=False
    )
    not_awaited: bool = attrs.field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        self.ended = attempt(self._run)
        for call in self.calls:
            self.not_awaited |= inspect.getcoroutinestate(call) == inspect.CORO_CREATED
            call.close()

    async def _run(self) -> None:
        group = RunGroup()
        execute, interrupt = self.flusher(self.flush)
        self.is_pair = True
        if self.cancelled_at is not None:
            with trio.move_on_at(self.cancelled_at) as scope:
                await execute()
            self.passed_on = scope.cancelled_caught
            return
        group.add(execute, interrupt, name="flusher", grace=self.grace)
        self.is_actor = True
        group.add(self._stop, name="stop")
        with trio.move_on_after(_LONG) as limit:
            try:
                await group.run()
            except SignalReceived:
                pass
            finally:
                if group.record is not None:
                    actor = group.record.actors[0]
                    self.how, self.error = actor.how, actor.error
                    self.waits = limit.cancel_called and actor.exited < _LONG
        if limit.cancel_called:
            raise trio.TooSlowError(f"it did not stop within {_LONG} s")
        if group.record is not None and actor.interrupt_error is not None:
            raise actor.interrupt_error

    async def _stop(self) -> None:
        await trio.sleep(self.stop_at)
        if self.by_signal:
            raise SignalReceived(signal.SIGTERM)

    def flush(self) -> Coroutine[Any, Any, None]:
        if len(self.calls) > _MOST_CALLS:
            raise RuntimeError(f"flush() was called {_MOST_CALLS} times, and never awaited")
        self.calls.append(self._flush())
        return self.calls[-1]

    async def _flush(self) -> None:
        self.began.append(_now())
        if trio.current_time() > _LONG:  # also behind a shield
            raise trio.TooSlowError(f"it did not stop within {_LONG} s")
        await trio.sleep(2)
        if self.fails:
            raise OSError("the disk is full")
        self.done.append(_now())

    def __str__(self) -> str:
        began = ", ".join(f"{moment:g} s" for moment in self.began[:5]) or "never"
        cut = len(self.began) - len(self.done)
        return (
            f"Flushes began at: {began}{f'; {cut} did not finish' if cut else ''}. "
            f"In the end {self.ended}."
        )


def _now() -> float:
    return round(trio.current_time(), 6)  # three hundred tenths are not exactly thirty


def check(flusher: Flusher) -> None:
    """Run what the learner wrote in a few groups; print what holds, and a hint."""
    idle = _Run(flusher, stop_at=75.5)
    if idle.ended.spins:  # and would in the others, too, which takes its time
        hint = f"{idle.ended}. Wait for the event, and return when it is set: it stays so."
        verdict((False, "it flushes every 30 s", hint))
        return
    early = _Run(flusher, stop_at=0.5)
    near = _Run(flusher, stop_at=29.5, by_signal=True)
    busy = _Run(flusher, stop_at=31.0)
    fails = _Run(flusher, stop_at=75.5, fails=True)
    fails_last = _Run(flusher, stop_at=0.5, fails=True)
    cancelled = _Run(flusher, stop_at=math.inf, cancelled_at=10.5)
    cut = _Run(flusher, stop_at=math.inf, cancelled_at=31.0)
    cut_last = _Run(flusher, stop_at=10.5, grace=1.0)
    if idle.ended.not_written:
        hint = "make a trio.Event for the channel, and write the two functions around it. "
        hint += STUB_IS_LEFT
        verdict((False, "flusher is written", hint))
        return
    if not idle.is_actor:
        what = "execute takes no parameter, interrupt takes one: the error"
        what = what if idle.is_pair else "it returns a pair of functions"
        verdict((False, what, why_no_pair(idle.ended)))
        return
    for run in (idle, early, near, busy):  # no flush() fails here
        own = run.ended.error or run.error  # that no result tells, if it was told to stop before
        if own is not None and not (isinstance(own, trio.TooSlowError) and str(own)):  # not ours
            why = why_it_failed(own)
            if isinstance(own, trio.TooSlowError):
                why += " `fail_after` raises it when its time is over, which is no TimeoutError."
            if run is not idle:
                by = ", by an error of another actor" if run.by_signal else ""
                why = f"Told to stop at {run.stop_at:g} s{by}: {why}"
            verdict((False, "it has no error of its own", why))
            return
    if any(run.not_awaited for run in (idle, early, near, busy, fails, fails_last)):
        hint = "flush() was called, but nobody awaited it: `await flush()`. (Go's `return flush()` "
        hint += "is that, and then `return`.)"
        verdict((False, "every flush() is awaited", hint))
        return
    verdict(
        (
            # From the end of a flush to the next, or at every multiple of 30: both are right.
            idle.began[:2] in ([30.0, 60.0], [30.0, 62.0]),
            "it flushes every 30 s",
            (
                "it returned, and nobody had told it to. How does it tell the two ends of its wait "
                "apart? `event.is_set()` needs its brackets. Or was the event set before? The "
                f"interrupt is a function, `lambda error: cancel.set()`, not a call. {idle}"
                if idle.how == "returned" and idle.began in ([0.0], [30.0])
                else f"it does not wait between two flushes: is there an `await`? {idle}"
                if idle.began[:2] == [0.0, 2.0]
                else f"it flushes at once, and only then waits: turn that round. {idle}"
                if idle.began[:1] == [0.0]
                else f"with trio.move_on_after(30): await the event. {idle}"
            ),
        ),
        (
            idle.began[2:] == [75.5] and idle.done[2:] == [77.5],
            "told to stop at 75.5 s, it flushes once more, at once",
            (
                f"it stopped without the last flush: flush once more after the wait. {idle}"
                if idle.how == "returned" and not idle.began[2:]
                else "the last flush was cut off: the interrupt has cancelled the scope that it is "
                f"in. Flush after the `with`. {idle}"
                if idle.how == "returned" and idle.began[2:] == [75.5]
                else f"it flushes once too often: after the last flush comes no other. {idle}"
                if idle.how == "returned" and idle.began[2:3] == [75.5]
                else "does `execute` see what `interrupt` does, and look at it? `cancel.set()` "
                "needs its brackets; a function that assigns to a name makes a new, local name; "
                f"and a lock that is held all the time keeps the interrupt out. {idle}"
                if isinstance(idle.ended.error, trio.TooSlowError)
                else "a wait for the event ends at once when the interrupt sets it, a sleep does "
                "not; an actor without an interrupt of its own is cancelled; and a lock that is "
                f"held all the time keeps the interrupt out. {idle}"
            ),
        ),
        (
            early.began == [0.5] and early.done == [2.5],
            "so it does when it is told at 0.5 s, before the first tick",
            f"a second flusher did not wait: make the flag or event inside of flusher. {early}"
            if early.began[:1] == [0.0]
            else f"the last flush does not depend on an earlier one. {early}",
        ),
        (
            near.began == [29.5] and near.done == [31.5],
            "told at 29.5 s, just before a tick, it flushes once more, and finishes that",
            "another actor has raised SignalReceived here, which the interrupt is given: it tells "
            f"`execute` to stop, whatever the error is. {near}"
            if isinstance(near.ended.error, trio.TooSlowError)
            else f"the flush is inside the time limit: leave the `with` before you flush. {near}",
        ),
        (
            busy.began[:1] == [30.0] and busy.done[:1] == [32.0],
            "told to stop during a flush, it lets that one finish",
            f"only the waiting may be cut short, never flush(). {busy}",
        ),
        (
            len(busy.began) == 2
            and 32.0 <= busy.began[1] < 32 + _SOON
            and busy.done[1:] == [busy.began[1] + 2],
            "and flushes once more what has come in since",
            (
                "two flushes at the same time: the interrupt only tells; execute flushes, and "
                f"awaits each one before the next. {busy}"
                if busy.began[1:2] == [31.0]
                else "look before each flush whether you have been told to stop, not after it. "
                f"{busy}"
            ),
        ),
        (
            [run.how for run in (idle, early, near, busy)] == ["returned"] * 4
            and [run.ended.ended for run in (idle, early, near)] == [77.5, 2.5, 31.5]
            and 34.0 <= busy.ended.ended < 34 + _SOON,
            "then it returns",
            f"`execute` {idle.how}, and the interrupt goes on for ever: for what does it wait?"
            if idle.waits
            else "`execute` was cancelled, as an actor is that has no interrupt of its own. One "
            "that is told to stop *returns*."
            if idle.how == "cancelled"
            else f"after the last flush, return. {idle}",
        ),
        (
            isinstance(fails.ended.error, OSError) and fails.began == [30.0] and not fails.waits,
            "an error of flush() comes out, and ends the actor",
            (
                "the error came out in a group: a nursery of yours has wrapped it. Do without, by "
                f"a time limit around the wait for an event. {fails}"
                if isinstance(fails.ended.error, BaseExceptionGroup)
                else "the interrupt is called after an error of flush(), too, when `execute` has "
                "gone: here it waits for ever, and run() never comes back. For what does it wait?"
                if fails.waits
                else "the interrupt is called after an error of the actor's own, too, and must not "
                f"flush then. {fails}"
                if isinstance(fails.ended.error, OSError) and fails.began == [30.0, 32.0]
                else f"Go's `return err` is a raise: let the exception out, flush no more. {fails}"
            ),
        ),
        (
            isinstance(fails_last.error, OSError) and fails_last.began == [0.5],
            "and so does an error of the last flush",
            (
                "told at 0.5 s, it flushed, and that failed: let the error out as itself, not "
                f"caught, and not in a group. It {fails_last.how}, with {fails_last.error!r}."
            ),
        ),
        (
            # At once, or after a last flush behind a shield: both are right.
            cancelled.ended.error is None
            and cancelled.ended.ended in (10.5, 12.5)
            and cancelled.passed_on,
            "cancelled from outside while it waits, it obeys, and lets the cancellation out",
            "`Cancelled` was swallowed. Let it through, or end the `except` block with `raise`."
            if cancelled.ended.error is None
            and cancelled.ended.ended in (10.5, 12.5)
            and not cancelled.passed_on
            else f"{shortly(cancelled.ended.error)} came out in place of `Cancelled`: let that "
            "through, or end the `except` block with `raise`."
            if cancelled.ended.error is not None and cancelled.ended.ended == 10.5
            else "put no shield around the wait: it was cancelled at 10.5 s, and "
            f"{cancelled.ended}.",
        ),
        (
            cut.passed_on,
            "and so it does during a flush",
            (
                "`Cancelled` came out of flush(), and was swallowed. Let it through, or end the "
                f"`except` block with `raise`. Cancelled at 31 s, {cut.ended}."
            ),
        ),
        (
            cut_last.how == "cancelled" or len(cut_last.done) == 1,
            "also when a grace ends the last flush",
            (
                "`Cancelled` came out of the last flush() and was swallowed: it returned as though "
                "all were done. Let it through, or end the `except` block with `raise`."
            ),
        ),
    )


# ---- wrong answers, each of which the check must find; and other right ones ----


def _no_interrupt(flush: Flush) -> Any:
    async def execute() -> None:
        while True:
            await trio.sleep(30)
            await flush()

    return execute, None


def _sleeps_on(flush: Flush) -> Any:
    cancel = trio.Event()

    async def execute() -> None:
        while not cancel.is_set():
            await trio.sleep(30)
            await flush()

    return execute, lambda _: cancel.set()


def _cuts_a_flush(flush: Flush) -> Any:
    scope = trio.CancelScope()

    async def execute() -> None:
        with scope:
            while True:
                await trio.sleep(30)
                await flush()
        await flush()

    return execute, lambda _: scope.cancel()


def _loses_the_rest(flush: Flush) -> Any:
    cancel = trio.Event()

    async def execute() -> None:
        while not cancel.is_set():
            with trio.move_on_after(30):
                await cancel.wait()
            await flush()

    return execute, lambda _: cancel.set()


def _flushes_inside_the_limit(flush: Flush) -> Any:
    cancel = trio.Event()

    async def execute() -> None:
        while True:
            with trio.move_on_after(30):
                await cancel.wait()
                await flush()
                return
            await flush()

    return execute, lambda _: cancel.set()


def _no_last_flush(flush: Flush) -> Any:
    cancel = trio.Event()

    async def execute() -> None:
        while True:
            with trio.move_on_after(30):
                await cancel.wait()
            if cancel.is_set():
                return
            await flush()

    return execute, lambda _: cancel.set()


def _no_flush_after_the_scope(flush: Flush) -> Any:
    busy, scope = trio.Lock(), trio.CancelScope()

    async def execute() -> None:
        with scope:
            while True:
                await trio.sleep(30)
                async with busy:
                    await flush()

    async def interrupt(error: BaseException | None) -> None:
        del error
        async with busy:
            scope.cancel()

    return execute, interrupt


def _hangs(flush: Flush) -> Any:
    async def execute() -> None:
        while True:
            await trio.sleep(30)
            await flush()

    return execute, lambda _: None


def _spins(flush: Flush) -> Any:
    cancel = trio.Event()

    async def execute() -> None:
        while True:  # the event stays set
            with trio.move_on_after(30):
                await cancel.wait()
            await flush()

    return execute, lambda _: cancel.set()


def _flushes_in_the_interrupt(flush: Flush) -> Any:
    async def execute() -> None:
        while True:
            await trio.sleep(30)
            await flush()

    return execute, lambda _: flush()


def _flushes_once_too_often(flush: Flush) -> Any:
    cancel = trio.Event()

    async def execute() -> None:
        while not cancel.is_set():
            with trio.move_on_after(30):
                await cancel.wait()
            await flush()
        await flush()

    return execute, lambda _: cancel.set()


def _flushes_in_the_interrupt_meanwhile(flush: Flush) -> Any:
    cancel = trio.Event()

    async def execute() -> None:
        while not cancel.is_set():
            with trio.move_on_after(30):
                await cancel.wait()
                return
            await flush()

    async def interrupt(error: BaseException | None) -> None:
        del error
        cancel.set()
        await flush()

    return execute, interrupt


def _everything_in_a_shield(flush: Flush) -> Any:
    execute, interrupt = _with_an_event(flush)

    async def shielded() -> None:
        with trio.CancelScope(shield=True):
            await execute()

    return shielded, interrupt


def _hides_errors(flush: Flush) -> Any:
    cancel = trio.Event()

    async def execute() -> None:
        while True:
            with trio.move_on_after(30):
                await cancel.wait()
            last = cancel.is_set()
            with contextlib.suppress(OSError):
                await flush()
            if last:
                return

    return execute, lambda _: cancel.set()


def _flushes_after_an_error(flush: Flush) -> Any:
    cancel = trio.Event()

    async def execute() -> None:
        try:
            while not cancel.is_set():
                with trio.move_on_after(30):
                    await cancel.wait()
                    break
                await flush()
        finally:
            await flush()

    return execute, lambda _: cancel.set()


def _returns_nothing(flush: Flush) -> Any:
    del flush


def _turned_round(flush: Flush) -> Any:
    execute, interrupt = _loses_the_rest(flush)
    return interrupt, execute


def _no_parameter(flush: Flush) -> Any:
    execute, interrupt = _with_a_lock(flush)
    del interrupt
    return execute, lambda: None


MISTAKES: list[Flusher] = [
    _no_interrupt,
    _sleeps_on,
    _cuts_a_flush,
    _loses_the_rest,
    _flushes_inside_the_limit,
    _no_last_flush,
    _no_flush_after_the_scope,
    _hangs,
    _spins,
    _flushes_in_the_interrupt,
    _flushes_once_too_often,
    _flushes_in_the_interrupt_meanwhile,
    _everything_in_a_shield,
    _hides_errors,
    _flushes_after_an_error,
    _returns_nothing,
    _turned_round,
    _no_parameter,
]


def _with_an_event(flush: Flush) -> Any:
    cancel = trio.Event()

    async def execute() -> None:
        while True:
            with trio.move_on_after(30) as limit:
                await cancel.wait()
            await flush()
            if not limit.cancelled_caught:
                return

    return execute, lambda _: cancel.set()


def _with_each_flush_in_a_shield(flush: Flush) -> Any:
    async def shielded() -> None:
        with trio.CancelScope(shield=True):
            await flush()

    return _with_an_event(shielded)


def _with_a_last_flush_when_cancelled(flush: Flush) -> Any:
    cancel = trio.Event()

    async def execute() -> None:
        while not cancel.is_set():
            try:
                with trio.move_on_after(30):
                    await cancel.wait()
            except trio.Cancelled:
                with trio.CancelScope(shield=True):
                    await flush()
                raise
            if not cancel.is_set():
                await flush()
        await flush()

    return execute, lambda _: cancel.set()


def _with_a_lock(flush: Flush) -> Any:
    busy, scope = trio.Lock(), trio.CancelScope()

    async def execute() -> None:
        with scope:
            while True:
                await trio.sleep(30)
                async with busy:
                    await flush()
        await flush()

    async def interrupt(error: BaseException | None) -> None:
        del error
        async with busy:
            scope.cancel()

    return execute, interrupt


def _at_every_multiple(flush: Flush) -> Any:
    cancel = trio.Event()

    async def execute() -> None:
        tick = trio.current_time()
        while not cancel.is_set():
            tick += 30
            with trio.move_on_at(tick):
                await cancel.wait()
                break
            await flush()
        await flush()

    return execute, lambda _: cancel.set()


ALSO_RIGHT: list[Flusher] = [
    _with_an_event,
    _with_each_flush_in_a_shield,
    _with_a_last_flush_when_cancelled,
    _with_a_lock,
    _at_every_multiple,
]

"""The check of notebook 06, `check(make_reporter)`; `show_log()` and `stop_pressed_after()`."""

from __future__ import annotations

import contextlib
import inspect
import logging
import math
import os
import re
import signal
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
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
from IPython.core.getipython import get_ipython

from trio_rungroup import RunGroup, SignalReceived

Report: TypeAlias = Callable[[], Awaitable[None]]
MakeReporter: TypeAlias = Callable[[Report], Any]

_LONG = 1e5  # virtual seconds
_SOON = 5.0  # virtual seconds
_AT_ONCE = 60.0  # virtual seconds: also a shield with a limit will do
_TOLD_WHILE_BUSY = (
    "told during the report, it then slept the hour: look again before sleeping, or wait for an "
    "event."
)

_log = logging.getLogger("trio_rungroup")


# ---- what the library has to say, in the notebook ----


class _Show(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        text = re.sub(r"(\S+\.py):(\d+)", _place, record.getMessage())
        print(f"{record.levelname}: {text}")


def _place(match: re.Match[str]) -> str:
    """Name the cell instead of the temporary file that it is compiled from."""
    file, line = match.groups()
    shell: Any = get_ipython()  # type: ignore[no-untyped-call,unused-ignore]
    cell = None if shell is None else shell.compile.format_code_name(file)
    return f"{Path(file).name if cell is None else ' '.join(cell)}, line {line}"


def show_log() -> None:
    """Print what the library logs, below the cell; without this it goes to standard error."""
    _log.handlers[:] = [_Show()]


# ---- a finger for the stop button ----


@contextlib.contextmanager
def stop_pressed_after(*moments: float) -> Iterator[None]:
    """Send what the stop button sends, so many (real) seconds after the block has begun."""
    fingers = [threading.Timer(moment, _press) for moment in moments]
    for finger in fingers:
        finger.start()
    try:
        yield
    finally:
        for finger in fingers:
            finger.cancel()
            finger.join()


def _press() -> None:
    # As Jupyter does: to all processes that this one has started, too, if it leads their group.
    if os.getpgrp() == os.getpid():
        os.killpg(os.getpid(), signal.SIGINT)
    else:
        os.kill(os.getpid(), signal.SIGINT)


# ---- the check ----


@attrs.define
class _Run:
    """A reporter that is told to stop, or else cancelled, at some moment."""

    make_reporter: MakeReporter
    stop_at: float
    is_told: bool = True
    by_signal: bool = False  # and so by an error, as most groups are
    report_takes: float = 2.0
    grace: float = math.inf
    began: list[float] = attrs.field(factory=list[float], init=False)
    done: list[float] = attrs.field(factory=list[float], init=False)
    is_pair: bool = attrs.field(default=False, init=False)
    is_async: bool = attrs.field(default=True, init=False)
    is_actor: bool = attrs.field(default=False, init=False)
    how: str | None = attrs.field(default=None, init=False)
    exited: float | None = attrs.field(default=None, init=False)
    interrupt_failed: bool = attrs.field(default=False, init=False)
    passed_on: bool = attrs.field(default=False, init=False)  # the scope got its cancellation back
    outcome: Attempt = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.outcome = attempt(self._run)

    async def _run(self) -> None:
        execute, interrupt = self.make_reporter(self._report)
        self.is_pair = True
        self.is_async = inspect.iscoroutinefunction(execute)
        if not self.is_told:
            with trio.move_on_after(self.stop_at) as scope:
                await execute()
            self.passed_on = scope.cancelled_caught
            return
        group = RunGroup()
        group.add(execute, interrupt, name="reporter", grace=self.grace)
        self.is_actor = True
        group.add(self._stop, name="stop")
        with trio.move_on_after(_LONG) as limit, contextlib.suppress(SignalReceived):
            await group.run()
        if group.record is not None:
            reporter = group.record.actors[0]
            if not limit.cancel_called or reporter.exited < _LONG:
                self.how, self.exited = reporter.how, reporter.exited
        if limit.cancel_called:
            raise trio.TooSlowError(f"it did not stop within {_LONG:g} s")
        if group.record is not None and reporter.interrupt_error is not None:
            self.interrupt_failed = True
            raise reporter.interrupt_error
        if group.record is not None and reporter.error is not None:  # which no result tells
            raise reporter.error

    async def _stop(self) -> None:
        await trio.sleep(self.stop_at)
        if self.by_signal:
            raise SignalReceived(signal.SIGTERM)

    async def _report(self) -> None:
        self.began.append(trio.current_time())
        if trio.current_time() > _LONG:  # also behind a shield
            raise trio.TooSlowError(f"it did not stop within {_LONG:g} s")
        await trio.sleep(self.report_takes)
        self.done.append(trio.current_time())

    @property
    def never_ends(self) -> bool:
        error = self.outcome.error
        if isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        return isinstance(error, trio.TooSlowError) and bool(str(error))  # not a learner's own

    @property
    def has_failed(self) -> bool:
        return self.outcome.error is not None and not self.never_ends

    def __str__(self) -> str:
        """Tell what was seen, for a hint."""
        if self.has_failed:
            return f"It raised {shortly(self.outcome.error)}."
        began = ", ".join(f"{moment:g} s" for moment in self.began[:5]) or "never"
        cut = len(self.began) - len(self.done)
        broken = f"; {cut} broken off" if cut else ""
        how = "was cancelled" if self.how == "cancelled" else self.how
        end = "it never stopped" if self.exited is None else f"it {how} at {self.exited:g} s"
        return f"Reports began at: {began}{broken}; {end}."


def check(make_reporter: MakeReporter) -> None:
    """Play five scenes with the reporter; print what holds, and a hint."""
    was_disabled, _log.disabled = _log.disabled, True  # the check itself says who hangs
    try:
        told: list[_Run] = []
        for stop_at in (100.5, 1.0, 7300.5):
            told.append(_Run(make_reporter, stop_at, by_signal=stop_at > 7200))
            if told[-1].outcome.spins:  # and would in the others, too, which takes its time
                hint = f"{told[-1].outcome}. Wait for an event instead of looking again and again, "
                hint += "with a time limit; and return when it is set: it stays so."
                if not told[-1].is_async:
                    hint = "is `execute` an `async def`? A plain `def` cannot wait."
                verdict((False, "it does not go round in circles", hint))
                return
        asleep, busy, for_long = told
        cancelled = _Run(make_reporter, stop_at=50.5, is_told=False)
        stuck = _Run(make_reporter, stop_at=1.0, is_told=False, report_takes=_LONG / 2)
        cut = _Run(make_reporter, stop_at=1.0, report_takes=_LONG / 2, grace=_AT_ONCE + 1)
    finally:
        _log.disabled = was_disabled
    if asleep.outcome.not_written:
        hint = "begin with what is there: copy the body of buggy_reporter, and repair it. "
        hint += STUB_IS_LEFT
        verdict((False, "make_reporter is written", hint))
        return
    if not asleep.is_actor:
        what = "execute takes no parameter, interrupt takes one: the error"
        what = what if asleep.is_pair else "it returns a pair of functions"
        verdict((False, what, why_no_pair(asleep.outcome)))
        return
    verdict(
        (
            asleep.began[:1] == [0.0],
            "it begins with a report",
            (
                "it returned at once: look at the condition of its loop. `is_set` needs its "
                "brackets, `while not stopping.is_set():`. Or was the event set before? The "
                "interrupt is a function, `lambda error: stopping.set()`, not a call."
                if not asleep.began and asleep.exited == 0 and asleep.how == "returned"
                else _why(asleep)
                if asleep.has_failed and not asleep.began
                else f"await report() before anything else, as buggy_reporter does. {asleep}"
            ),
        ),
        (
            asleep.outcome.error is None,
            "told to stop, it stops",
            (
                f"`execute` {asleep.how} at {asleep.exited:g} s, and the interrupt goes on for "
                "ever: for what does it wait?"
                if asleep.never_ends and asleep.exited is not None
                else "does `execute` see what `interrupt` does? `stopping.set()` needs its "
                "brackets; a function that assigns to a name makes a new, local name; and its "
                f"argument may be None, if the first exit was a return. {asleep}"
                if asleep.never_ends
                else f"the interrupt has failed. {_why(asleep)} What it raises stops nobody: it "
                "only has to tell `execute`."
                if asleep.interrupt_failed
                else f"an error came out: {_why(asleep)}"
            ),
        ),
        (
            asleep.exited == 100.5,
            "told to stop at 100.5 s, while it sleeps, it is gone at once",
            (
                f"it does not wait between two reports: is there an `await`? {asleep}"
                if asleep.began[1:2] == [2.0]
                else "told to stop, it made one more report: after the wait, look whether you have "
                f"been told. {asleep}"
                if asleep.began[1:2] == [100.5]
                else "it has to wait for two things at once: the hour, and being told to stop. "
                f"Which event could it wait for, with which time limit? {asleep}"
            ),
        ),
        (
            busy.began == [0.0] and busy.done == [2.0],
            "told to stop while it reports, it finishes that report, and begins no other",
            (
                "the report that was under way was broken off, and another one begun: only the "
                f"sleep may be cut short. {busy}"
                if busy.began[1:2] == [1.0] and busy.done[:1] != [2.0]
                else f"the interrupt only tells; it is `execute` that reports. {busy}"
                if busy.began[1:2] == [1.0]
                else _why_not_returned(busy)
                if busy.done[:1] == [2.0] or busy.has_failed
                else f"only the sleep may be cut short, not the report. {busy}"
                if busy.began
                else "a second reporter never reported: make the flag or event inside of "
                "make_reporter, one for each."
            ),
        ),
        (
            [run.how for run in (asleep, busy, for_long)] == ["returned"] * 3
            and (for_long.exited == 7300.5 or for_long.began != [0.0, 3602.0, 7204.0])
            and busy.exited is not None
            and 2.0 <= busy.exited < 2 + _SOON,  # also for an interrupt that looks now and then
            "then it returns",
            _why_not_returned(busy, for_long),
        ),
        (
            for_long.began == [0.0, 3602.0, 7204.0],
            "left alone, it reports and then sleeps an hour, again and again",
            (
                "between two reports lies an hour: the next begins at 3602 s. Is the report inside "
                "the time limit, too? Leave the `with` before you report. Or is it counted "
                f"from the beginning of a report? {for_long}"
                if for_long.began == [0.0, 3600.0, 7200.0]
                else f"the time limit of the wait is the hour. {for_long}"
            ),
        ),
        (
            cancelled.outcome.ended == 50.5
            and cancelled.outcome.error is None
            and cancelled.began == [0.0]
            and cancelled.passed_on,
            "cancelled from outside, while it sleeps, it obeys, and lets the cancellation out",
            (
                "`Cancelled` was swallowed: it returned as if it had been told to stop. Never "
                "swallow it: let it through, or end the `except` block with `raise`. To stop in "
                "order is what the interrupt is for."
                if cancelled.outcome.ended == 50.5
                and cancelled.outcome.error is None
                and not cancelled.passed_on
                else "let a cancellation pass: do not catch it, and put no shield around the "
                f"sleep. Cancelled at 50.5 s, {cancelled.outcome} "
                f"(reports begun: {len(cancelled.began)})."
            ),
        ),
        (
            stuck.outcome.error is None
            and stuck.outcome.ended <= stuck.stop_at + _AT_ONCE
            and stuck.passed_on,
            "cancelled from outside, while a report hangs, it obeys as well",
            (
                "`Cancelled` was swallowed: it returned as if it had been told to stop. Never "
                "swallow it: let it through, or end the `except` block with `raise`."
                if stuck.outcome.error is None and stuck.outcome.ended == stuck.stop_at
                else "a shield around the report keeps out the end of a grace, too: nobody could "
                "stop a report that hangs. The interrupt can leave the report alone: it need not "
                f"cancel anything. Cancelled at 1 s, {stuck.outcome}."
            ),
        ),
        (
            cut.how == "cancelled"
            or (cut.exited is not None and cut.exited < cut.stop_at + cut.grace),
            "so it does when it has been told, and the report hangs until the grace is over",
            (
                "`Cancelled` came out of report(), and was swallowed: it returned as if the report "
                "were done. Let it through, or end the `except` block with `raise`."
            ),
        ),
    )


def _why(run: _Run) -> str:
    error = run.outcome.error
    if error is None:
        return ""
    if run.interrupt_failed and "must derive from BaseException" in str(error):
        return f"{error!r}: there may be no error to raise."
    return why_it_failed(error)


def _why_not_returned(*runs: _Run) -> str:
    for run in runs:
        if run.has_failed:
            what = "the interrupt has failed" if run.interrupt_failed else "it had an error"
            why = _why(run)
            if "single 'with' block" in why:
                why += " A scope can be entered once: make a new one each time."
            elif isinstance(run.outcome.error, trio.TooSlowError):
                why += " When the hour is over, that is no error: move_on_after just goes on."
            return f"told to stop at {run.stop_at:g} s, {what}. {why}"
        if run.by_signal and run.never_ends:
            return (
                "another actor has raised SignalReceived here, which the interrupt is given: it "
                f"tells `execute` to stop, whatever the error is. {run}"
            )
    busy = runs[0]
    if busy.never_ends or (busy.exited is not None and busy.exited >= 2 + _SOON):
        return f"{_TOLD_WHILE_BUSY} {busy}"
    return (
        "an actor that stops when told to *returns*. Without an interrupt of its own it is "
        f"cancelled; and it should not stop unless told. {' '.join(map(str, runs))}"
    )


# ---- wrong answers, each of which the check must find; and other right ones ----


def _as_found_it_hangs(report: Report) -> Any:
    stopping = False

    async def execute() -> None:
        while not stopping:
            await report()
            await trio.sleep(3600)

    def interrupt(error: BaseException | None) -> None:
        stopping = True

    return execute, interrupt


def _only_nonlocal(report: Report) -> Any:
    stopping = False

    async def execute() -> None:
        while not stopping:
            await report()
            await trio.sleep(3600)

    def interrupt(error: BaseException | None) -> None:
        nonlocal stopping
        stopping = True

    return execute, interrupt


def _looks_every_minute(report: Report) -> Any:
    stopping = trio.Event()

    async def execute() -> None:
        while not stopping.is_set():
            await report()
            for _ in range(60):
                if not stopping.is_set():
                    await trio.sleep(60)

    return execute, lambda _: stopping.set()


def _cancels_everything(report: Report) -> Any:
    scope = trio.CancelScope()

    async def execute() -> None:
        with scope:
            while True:
                await report()
                await trio.sleep(3600)

    return execute, lambda _: scope.cancel(reason="told to stop")


def _no_interrupt(report: Report) -> Any:
    execute, _ = _as_found_it_hangs(report)
    return execute, None


def _everything_in_a_shield(report: Report) -> Any:
    stopping = trio.Event()

    async def execute() -> None:
        while not stopping.is_set():
            with trio.CancelScope(shield=True):
                await report()
                with trio.move_on_after(3600):
                    await stopping.wait()

    return execute, lambda _: stopping.set()


def _catches_a_cancellation(report: Report) -> Any:
    stopping = trio.Event()

    async def execute() -> None:
        while not stopping.is_set():
            await report()
            with contextlib.suppress(trio.Cancelled), trio.move_on_after(3600):
                await stopping.wait()

    return execute, lambda _: stopping.set()


def _reports_once(report: Report) -> Any:
    stopping = trio.Event()

    async def execute() -> None:
        await report()
        await stopping.wait()

    return execute, lambda _: stopping.set()


def _one_scope_for_all_hours(report: Report) -> Any:
    stopping, sleep = False, trio.CancelScope()

    async def execute() -> None:
        while not stopping:
            await report()
            with sleep:
                await trio.sleep(3600)

    def interrupt(error: BaseException | None) -> None:
        nonlocal stopping
        stopping = True
        sleep.cancel(reason="told to stop")

    return execute, interrupt


def _is_not_told_while_busy(report: Report) -> Any:
    stopping, sleep = False, trio.CancelScope()

    async def execute() -> None:
        nonlocal sleep
        while not stopping:
            await report()
            with trio.CancelScope() as sleep:
                await trio.sleep(3600)

    def interrupt(error: BaseException | None) -> None:
        nonlocal stopping
        stopping = True
        sleep.cancel(reason="told to stop")

    return execute, interrupt


def _has_no_scope_while_busy(report: Report) -> Any:
    sleep: Any = None

    async def execute() -> None:
        nonlocal sleep
        while sleep is None or not sleep.cancelled_caught:
            await report()
            with trio.CancelScope() as sleep:
                await trio.sleep(3600)

    return execute, lambda _: sleep.cancel(reason="told to stop")


def _looks_at_the_scope_only(report: Report) -> Any:
    sleep = trio.CancelScope()

    async def execute() -> None:
        nonlocal sleep
        while not sleep.cancelled_caught:
            await report()
            with trio.CancelScope() as sleep:
                await trio.sleep(3600)

    return execute, lambda _: sleep.cancel(reason="told to stop")


def _gives_up_after_the_hour(report: Report) -> Any:
    stopping = trio.Event()

    async def execute() -> None:
        while not stopping.is_set():
            await report()
            with trio.fail_after(3600):
                await stopping.wait()

    return execute, lambda _: stopping.set()


def _with_the_report_in_a_shield(report: Report) -> Any:
    scope = trio.CancelScope()

    async def execute() -> None:
        with scope:
            while True:
                with trio.CancelScope(shield=True):
                    await report()
                await trio.sleep(3600)

    return execute, lambda _: scope.cancel(reason="told to stop")


def _reports_once_more(report: Report) -> Any:
    stopping = trio.Event()

    async def execute() -> None:
        while True:
            await report()
            if stopping.is_set():
                return
            with trio.move_on_after(3600):
                await stopping.wait()

    return execute, lambda _: stopping.set()


def _spins(report: Report) -> Any:
    stopping = trio.Event()

    async def execute() -> None:
        while True:  # the event stays set
            with trio.move_on_after(3600):
                await stopping.wait()

    return execute, lambda _: stopping.set()


def _one_event_for_all() -> MakeReporter:
    stopping = trio.Event()

    def one_event_for_all(report: Report) -> Any:
        async def execute() -> None:
            while not stopping.is_set():
                await report()
                with trio.move_on_after(3600):
                    await stopping.wait()

        return execute, lambda _: stopping.set()

    return one_event_for_all


def _asks_whether_the_event_is_true(report: Report) -> Any:
    stopping = trio.Event()

    async def execute() -> None:
        while not stopping:
            await report()
            with trio.move_on_after(3600):
                await stopping.wait()

    return execute, lambda _: stopping.set()


def _sets_what_is_no_event(report: Report) -> Any:
    stopping: Any = False

    async def execute() -> None:
        while not stopping:
            await report()
            await trio.sleep(3600)

    return execute, lambda _: stopping.set()


def _interrupt_takes_no_error(report: Report) -> Any:
    execute, _ = _as_found_it_hangs(report)
    return execute, lambda: None


def _turned_round(report: Report) -> Any:
    execute, interrupt = _reports_once(report)
    return interrupt, execute


def _returns_nothing(report: Report) -> Any:
    del report


MISTAKES: list[MakeReporter] = [
    _as_found_it_hangs,
    _only_nonlocal,
    _looks_every_minute,
    _cancels_everything,
    _no_interrupt,
    _everything_in_a_shield,
    _catches_a_cancellation,
    _reports_once,
    _one_scope_for_all_hours,
    _is_not_told_while_busy,
    _has_no_scope_while_busy,
    _looks_at_the_scope_only,
    _gives_up_after_the_hour,
    _with_the_report_in_a_shield,
    _reports_once_more,
    _spins,
    _one_event_for_all(),
    _asks_whether_the_event_is_true,
    _sets_what_is_no_event,
    _interrupt_takes_no_error,
    _turned_round,
    _returns_nothing,
]


def _with_a_lock(report: Report) -> Any:
    busy, scope = trio.Lock(), trio.CancelScope()

    async def execute() -> None:
        with scope:
            while True:
                async with busy:
                    await report()
                await trio.sleep(3600)

    async def interrupt(error: BaseException | None) -> None:
        async with busy:
            scope.cancel(reason="told to stop")

    return execute, interrupt


def _with_a_limit_to_the_shield(report: Report) -> Any:
    scope = trio.CancelScope()

    async def execute() -> None:
        with scope:
            while True:
                with trio.move_on_after(30, shield=True):
                    await report()
                await trio.sleep(3600)

    return execute, lambda _: scope.cancel(reason="told to stop")


def _with_a_long_limit_to_the_shield(report: Report) -> Any:
    stopping = trio.Event()

    async def execute() -> None:
        while True:
            with trio.move_on_after(_AT_ONCE, shield=True):
                await report()
            if stopping.is_set():
                return
            with trio.move_on_after(3600):
                await stopping.wait()
                return

    return execute, lambda _: stopping.set()


def _with_a_flag_and_a_scope(report: Report) -> Any:
    stopping, sleep = False, trio.CancelScope()

    async def execute() -> None:
        nonlocal sleep
        while not stopping:
            await report()
            with trio.CancelScope() as sleep:
                if not stopping:
                    await trio.sleep(3600)

    def interrupt(error: BaseException | None) -> None:
        nonlocal stopping
        stopping = True
        sleep.cancel(reason="told to stop")

    return execute, interrupt


def _with_an_interrupt_that_looks(report: Report) -> Any:
    busy = False
    scope = trio.CancelScope()

    async def execute() -> None:
        nonlocal busy
        with scope:
            while True:
                busy = True
                await report()
                busy = False
                await trio.sleep(3600)

    async def interrupt(error: BaseException | None) -> None:
        while busy:
            await trio.sleep(0.3)
        scope.cancel(reason="it has nothing to do")

    return execute, interrupt


ALSO_RIGHT: list[MakeReporter] = [
    _with_an_interrupt_that_looks,
    _with_a_lock,
    _with_a_limit_to_the_shield,
    _with_a_long_limit_to_the_shield,
    _with_a_flag_and_a_scope,
]

"""The check of notebook 06, `check(make_reporter)`, and `show_log()`."""

import logging
import math
import re
import textwrap
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeAlias

import trio
from helpers import run

from trio_rungroup import RunGroup

Report: TypeAlias = Callable[[], Awaitable[None]]
MakeReporter: TypeAlias = Callable[[Report], tuple[Callable[[], Awaitable[object]], Any]]

_log = logging.getLogger("trio_rungroup")


# ---- what the library has to say, in the notebook ----


class _Show(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        text = re.sub(r"(\S+\.py):(\d+)", _place, record.getMessage())
        print(f"{record.levelname}: {text}")


def _place(match: re.Match[str]) -> str:
    """Name the cell instead of the temporary file that it is compiled from."""
    file, line = match.groups()
    try:
        from IPython.core.getipython import get_ipython  # noqa: PLC0415 - without it, too

        shell: Any = get_ipython()  # type: ignore[no-untyped-call,unused-ignore]
        cell = shell.compile.format_code_name(file)
    except (AttributeError, ImportError):
        cell = None
    return f"{Path(file).name if cell is None else ' '.join(cell)}, line {line}"


def show_log() -> None:
    """Print what the library logs, below the cell; without this it goes to standard error."""
    _log.handlers[:] = [_Show()]


# ---- the check ----


class _Scene:
    """A reporter in a group that somebody else ends at a given time."""

    def __init__(self, make_reporter: MakeReporter, stop_at: float) -> None:
        self.began: list[float] = []
        self.finished: list[float] = []
        self.hint = ""
        self.endless = False
        self.exited: float | None = None
        self.how: str | None = None
        group = RunGroup()

        async def report() -> None:
            self.began.append(trio.current_time())
            if trio.current_time() > 1e5:
                self.endless = True
                raise trio.TooSlowError  # also out of a shield
            await trio.sleep(2.0)
            self.finished.append(trio.current_time())

        async def somebody_else() -> None:
            await trio.sleep(stop_at)

        try:
            group.add(*make_reporter(report), name="reporter")
            group.add(somebody_else)
            run(group.run)
        except NotImplementedError:
            self.hint = "it is not written yet."
        except trio.TooSlowError:
            self.endless = True
        except Exception as error:  # told to the learner
            self.hint = f"this came out: {error!r}."
        if self.endless:
            self.hint = (
                "it never stopped. Does `execute` see what `interrupt` does? In Python a function "
                "that assigns to a name has made a new, local name."
            )
        if group.record is not None and not self.hint:
            reporter = group.record.actors[0]
            self.exited, self.how = reporter.exited, reporter.how
            if reporter.interrupt_error is not None:
                self.hint = f"the interrupt raised {reporter.interrupt_error!r}."


def _stops(make_reporter: MakeReporter, stop_at: float, began: list[float], exited: float) -> str:
    scene = _Scene(make_reporter, stop_at)
    if scene.hint:
        return scene.hint
    if len(scene.finished) < len(scene.began):
        return "a report was broken off in the middle. Only the hour of sleep may be cut short."
    if scene.exited is not None and scene.exited > exited:
        return (
            f"it stopped at {scene.exited:g} s, not at {exited:g} s. It has to wait for two things "
            "at once: the hour, and being told to stop. Which event could it wait for, "
            "with which time limit?"
        )
    if scene.began != began:
        return f"reports began at {scene.began}, and should have begun at {began}."
    if scene.exited is None or scene.exited != exited or scene.how != "returned":
        was = "was " if scene.how == "cancelled" else ""
        return (
            f"it {was}{scene.how} at {scene.exited:g} s, and should have returned at {exited:g} s. "
            "Is it the interrupt that ends it, and only that?"
        )
    return ""


def _obeys_cancellation(make_reporter: MakeReporter) -> str:
    async def main() -> float:
        async def report() -> None:
            if trio.current_time() > 1e5:
                raise trio.TooSlowError  # also out of a shield
            await trio.sleep(2.0)

        execute, _ = make_reporter(report)
        with trio.move_on_after(50.5):
            await execute()
        return trio.current_time()

    try:
        ended = run(main)
    except trio.TooSlowError:
        ended = math.inf
    except Exception as error:  # told to the learner
        return f"this came out: {error!r}."
    if ended != 50.5:
        return (
            f"cancelled at 50.5 s, it ended at {ended:g} s. Let a cancellation pass: do not catch "
            "it, and do not put a shield around everything."
        )
    return ""


def check(make_reporter: MakeReporter) -> None:
    """Play some scenes; print which are right, and a hint for the first that is not."""
    scenes: list[tuple[str, Callable[[], str]]] = [
        (
            "told to stop while it sleeps, it is gone at once",
            lambda: _stops(make_reporter, 100.5, [0.0], 100.5),
        ),
        (
            "told to stop while it reports, it finishes the report, and begins no other",
            lambda: _stops(make_reporter, 1.0, [0.0], 2.0),
        ),
        (
            "left alone, it reports and then sleeps an hour, again and again",
            lambda: _stops(make_reporter, 7300.5, [0.0, 3602.0, 7204.0], 7300.5),
        ),
        ("cancelled from outside, it obeys", lambda: _obeys_cancellation(make_reporter)),
    ]
    was_disabled, _log.disabled = _log.disabled, True
    try:
        for what, scene in scenes:
            hint = scene()
            print("✗" if hint else "✓", what)
            if hint:
                hint = f"hint: {hint}"
                print(textwrap.fill(hint, 88, initial_indent="  ", subsequent_indent="  "))
                return
    finally:
        _log.disabled = was_disabled


# ---- typical mistakes: the tests see to it that each one is found ----


def _as_found(report: Report) -> tuple[Any, Any]:
    stopping = False

    async def execute() -> None:
        while not stopping:
            await report()
            await trio.sleep(3600)

    def interrupt(error: BaseException | None) -> None:
        stopping = True

    return execute, interrupt


def _only_nonlocal(report: Report) -> tuple[Any, Any]:
    stopping = False

    async def execute() -> None:
        while not stopping:
            await report()
            await trio.sleep(3600)

    def interrupt(error: BaseException | None) -> None:
        nonlocal stopping
        stopping = True

    return execute, interrupt


def _looks_every_minute(report: Report) -> tuple[Any, Any]:
    stopping = trio.Event()

    async def execute() -> None:
        while not stopping.is_set():
            await report()
            for _ in range(60):
                if not stopping.is_set():
                    await trio.sleep(60)

    return execute, lambda error: stopping.set()


def _cancels_everything(report: Report) -> tuple[Any, Any]:
    scope = trio.CancelScope()

    async def execute() -> None:
        with scope:
            while True:
                await report()
                await trio.sleep(3600)

    return execute, lambda error: scope.cancel(reason="told to stop")


def _no_interrupt(report: Report) -> tuple[Any, Any]:
    execute, _ = _as_found(report)
    return execute, None


def _keeps_cancelled_to_itself(report: Report) -> tuple[Any, Any]:
    stopping = trio.Event()

    async def execute() -> None:
        while not stopping.is_set():
            with trio.CancelScope(shield=True):
                await report()
                with trio.move_on_after(3600):
                    await stopping.wait()

    return execute, lambda error: stopping.set()


def _reports_once(report: Report) -> tuple[Any, Any]:
    stopping = trio.Event()

    async def execute() -> None:
        await report()
        await stopping.wait()

    return execute, lambda error: stopping.set()


_stopping_of_all = trio.Event()


def _one_flag_for_all(report: Report) -> tuple[Any, Any]:
    async def execute() -> None:
        while not _stopping_of_all.is_set():
            await report()
            with trio.move_on_after(3600):
                await _stopping_of_all.wait()

    return execute, lambda error: _stopping_of_all.set()


def _interrupt_takes_no_error(report: Report) -> tuple[Any, Any]:
    execute, _ = _as_found(report)
    return execute, lambda: None


def _not_yet_written(report: Report) -> tuple[Any, Any]:
    raise NotImplementedError


def _returns_nothing(report: Report) -> Any:
    return None


MISTAKES: list[MakeReporter] = [
    _as_found,
    _only_nonlocal,
    _looks_every_minute,
    _cancels_everything,
    _no_interrupt,
    _keeps_cancelled_to_itself,
    _reports_once,
    _one_flag_for_all,
    _interrupt_takes_no_error,
    _not_yet_written,
    _returns_nothing,
]

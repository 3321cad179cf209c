"""What every notebook imports: `from helpers import run`.

`run` is `trio.run` in virtual time: an hour's sleep costs nothing, times are exact, and a
program that waits for ever is told so at once. Not for threads, sockets or processes: the
clock would jump past them. `Timeline` draws what your own tasks do; `attempt` and `verdict`
are for the checks of the exercises.
"""

from __future__ import annotations

import asyncio
import ctypes
import dis
import gc
import inspect
import math
import re
import signal
import textwrap
import threading
import time
import traceback
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from types import FrameType
from typing import Any
from unittest import mock
from xml.sax.saxutils import escape

import attrs
import trio
import trio.testing
from IPython.core.getipython import get_ipython

from trio_rungroup import RunGroup

_FOR_EVER = 1e6  # virtual seconds
_MOST_STEPS = 100_000  # of all tasks together; a real second or two
_MOST_STEPS_OF_AN_ATTEMPT = 10_000  # no exercise needs as many, and a learner is told soon
_MOST_DELAYS = 500  # of the alarm clock, a millisecond each
_LAST_STEPS = 1_000  # for cleaning up, once it has been cancelled for that
_LONGEST_STEP = 5  # real seconds of an attempt in which no other task can run


def run(async_fn: Callable[..., Awaitable[Any]], *args: Any) -> Any:
    """Run an async function in virtual time.

    Raises:
        TypeError: It has been called already.
        trio.TooSlowError: Everybody waits for something that nobody will do, or somebody
            goes round in circles, or so many tasks do so much that it looks like that.
    """
    if inspect.iscoroutine(async_fn):
        async_fn.close()
        name = "group.run" if is_run_of_a_group(async_fn) else async_fn.__name__
        raise TypeError(f"write run({name}), without the brackets: run calls it itself")
    return _Watched(_MOST_STEPS).run(async_fn, *args)


def is_run_of_a_group(value: object) -> bool:
    """Tell whether somebody has written `group.run()` where nobody awaits it."""
    return inspect.iscoroutine(value) and value.__qualname__ == RunGroup.run.__qualname__


class _Watched(trio.abc.Instrument):
    """A run that ends: it is cancelled if it takes too long, and given up if that is no help.

    For a task behind a shield need not notice that it is cancelled, nor one that catches
    everything. But when a scope reaches its deadline, the event loop asks each task that
    waits in it how to wake it; a task of ours waits there, and answers by raising.
    """

    def __init__(
        self, most_steps: int, more_instruments: Iterable[trio.abc.Instrument] = ()
    ) -> None:
        self.most_steps = most_steps
        self.instruments = [self, *more_instruments]
        self.limit = trio.CancelScope(deadline=_FOR_EVER)
        self.last_limit = trio.CancelScope(deadline=2 * _FOR_EVER)
        self.root: trio.lowlevel.Task | None = None
        self.steps = 0
        self.over = False

    @property
    def hangs(self) -> bool:
        try:
            return self.limit.cancel_called
        except RuntimeError:  # the run has broken off, and nobody had cancelled it
            return False

    @property
    def spins(self) -> bool:
        return self.steps > self.most_steps

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        del task
        self.steps += 1
        if self.steps == self.most_steps + 1:
            self.limit.cancel(reason="this goes round in circles")
        elif self.steps == self.most_steps + _LAST_STEPS:
            self.last_limit.deadline = 0

    def run(self, async_fn: Callable[..., Awaitable[Any]], *args: Any) -> Any:
        clock = trio.testing.MockClock(autojump_threshold=0)
        try:
            value = trio.run(self._main, async_fn, args, clock=clock, instruments=self.instruments)
        except Exception as error:
            if isinstance(error, trio.TrioInternalError):
                keep_for_ever(self.root)
            if not self.hangs:
                raise
        else:
            if not self.hangs:
                return value
        why = "after eleven days it has not ended: somebody waits in vain, or goes on for ever"
        if self.spins:
            why = "this goes round in circles and does not end"
            if self.most_steps == _MOST_STEPS:
                why = f"more than {_MOST_STEPS:,} steps: it goes round in circles, or is too large "
                why += "for these notebooks"
        raise trio.TooSlowError(why)

    async def _main(self, async_fn: Callable[..., Awaitable[Any]], args: tuple[Any, ...]) -> Any:
        self.root = trio.lowlevel.current_root_task()
        trio.lowlevel.spawn_system_task(self._wait_for_the_last_limit)
        try:
            with self.limit:
                return await async_fn(*args)
        finally:
            self.over = True

    async def _wait_for_the_last_limit(self) -> None:
        with self.last_limit:
            await trio.lowlevel.wait_task_rescheduled(self._wake)

    def _wake(self, _: object) -> trio.lowlevel.Abort:
        if not self.over:
            raise trio.TooSlowError
        return trio.lowlevel.Abort.SUCCEEDED


def keep_for_ever(tasks: object) -> None:
    """Never collect the tasks of a run that has broken off: each would be closed, and go on."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(tasks))


# ---- for the checks of the exercises ----


@attrs.frozen
class Attempt:
    """How a call ended: its value or its error, and when in virtual time; or that it hangs."""

    value: Any
    error: BaseException | None
    ended: float
    hangs: bool = False
    spins: bool = False  # hangs, and not because it waits: it never stops doing something

    def __str__(self) -> str:
        """Say it in words, for a hint."""
        if self.hangs:
            return f"it never came back: {self.error}"
        what = f"returned {self.value!r}" if self.error is None else f"raised {shortly(self.error)}"
        return f"it {what} after {self.ended:g} s"

    @property
    def not_written(self) -> bool:
        """Whether this is the stub that the learner finds, or has a part of it left."""
        return self.error is not None and any(
            isinstance(leaf, NotImplementedError) and not _asks_whether_an_event_is_true(leaf)
            for leaf in leaves_of(self.error)
        )


_CALLED_TOO_EARLY = "hand over the function itself: `check(f)`, without brackets after its name."
_HAS_A_YIELD = "there is a `yield` in your function, so it cannot be awaited: write `return`."


def called(async_fn: Callable[..., Awaitable[Any]], *args: Any) -> Awaitable[Any]:
    """Call what a learner wrote, and say what is wrong if that gives nothing to await."""
    if inspect.iscoroutine(async_fn):
        async_fn.close()
        raise TypeError(_CALLED_TOO_EARLY)
    call = async_fn(*args)
    if inspect.isasyncgen(call):
        raise TypeError(_HAS_A_YIELD)
    if not inspect.isawaitable(call):
        raise TypeError("a plain function cannot wait: write `async def`")
    return call


def attempt(async_fn: Callable[..., Awaitable[Any]], *args: Any) -> Attempt:
    """Run what a learner wrote, whatever it does, and tell how it ended."""
    ended = 0.0

    async def main() -> Any:
        nonlocal ended
        try:
            return await called(async_fn, *args)
        finally:
            ended = trio.current_time()

    with (
        _without_asyncio(),
        mock.patch.object(time, "sleep", _sleep_elsewhere),
        alarm_clock(_LONGEST_STEP) as instruments,
    ):
        watched = _Watched(_MOST_STEPS_OF_AN_ATTEMPT, instruments)
        try:
            return Attempt(watched.run(main), None, ended)
        except BaseException as raised:  # a check never raises
            error = raised
    leaves = leaves_of(error)
    _close_what_asyncio_was_given(leaves)
    if any(isinstance(leaf, KeyboardInterrupt) for leaf in leaves):
        raise KeyboardInterrupt  # the stop button
    for leaf in leaves:
        if isinstance(leaf, BlocksError):
            return Attempt(None, leaf, math.inf, hangs=True, spins=True)
    if watched.hangs:
        return Attempt(None, error, math.inf, hangs=True, spins=watched.spins)
    return Attempt(None, error, ended)


_BLOCKS = "`time.sleep` lets no other task run: write `await trio.sleep(...)`"
_sleep = time.sleep


def _sleep_elsewhere(seconds: float) -> None:
    """Refuse to block the event loop; sleep in a thread."""
    if trio.lowlevel.in_trio_task():
        raise RuntimeError(_BLOCKS)
    _sleep(seconds)


class BlocksError(BaseException):
    """Raised by the alarm clock in what lets no other task run."""


@attrs.frozen
class _AlarmClock(trio.abc.Instrument):
    """Rings in a step of a task that does not end."""

    seconds: float

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        del task
        signal.setitimer(signal.ITIMER_REAL, self.seconds, 1)  # and again: it may catch the first

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        del task
        signal.setitimer(signal.ITIMER_REAL, 0)


@contextmanager
def alarm_clock(seconds: float) -> Iterator[list[trio.abc.Instrument]]:
    """Make an instrument for `trio.run` that ends what takes so long without an `await`."""
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or not hasattr(signal, "setitimer"):  # a signal reaches only that; Windows
        yield []
        return

    patience = _MOST_DELAYS

    def ring(_: object, frame: FrameType | None) -> None:
        nonlocal patience
        if _is_swallowed_in(frame) or (patience > 0 and _is_in_the_middle_of_trio(frame)):
            patience -= 1
            signal.setitimer(signal.ITIMER_REAL, 0.001, 1)  # a moment later
            return
        raise BlocksError(
            f"for {seconds:g} s no other task could run: it waits, or goes round in circles, "
            "without an `await` that really waits"
        )

    before = signal.signal(signal.SIGALRM, ring)
    try:
        yield [_AlarmClock(seconds)]
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _is_swallowed_in(frame: FrameType | None) -> bool:
    """Tell whether Python swallows what is raised: in functions that it or its collector calls."""
    called = [getattr(callback, "__code__", None) for callback in gc.callbacks]
    while frame is not None:
        code = frame.f_code
        if code.co_name in {"__del__", "_warn_unawaited_coroutine"} or code in called:
            return True
        if frame.f_globals.get("__name__") in {"weakref", "_weakrefset"}:
            is_called_by_us = code.co_name == "__call__" and frame.f_locals.get("_") is None
            if code.co_name in {"remove", "_remove", "__call__"} and not is_called_by_us:
                return True  # a callback
        frame = frame.f_back
    return False


def _is_in_the_middle_of_trio(frame: FrameType | None) -> bool:
    """Tell whether a step of a task is in trio's code, which what is raised there might break."""
    while frame is not None:
        if str(frame.f_globals.get("__name__")).startswith("trio."):
            return True
        if frame.f_code.co_flags & inspect.CO_COROUTINE:
            break
        frame = frame.f_back
    return False


@contextmanager
def _without_asyncio() -> Iterator[None]:
    """Start no task on the loop that Jupyter runs on: it would go on there, and fail in public."""

    def refuse(loop: object, coroutine: Any, **_: object) -> Any:
        coroutine.close()
        raise RuntimeError("asyncio's tasks do not work in trio")

    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        yield
        return
    factory = loop.get_task_factory()
    loop.set_task_factory(refuse)
    try:
        yield
    finally:
        loop.set_task_factory(factory)


def _close_what_asyncio_was_given(errors: Iterable[BaseException]) -> None:
    """Spare the learner a warning about calls that nobody awaits now that `gather` has failed."""
    for error in errors:
        for frame, _ in traceback.walk_tb(error.__traceback__):
            if str(frame.f_globals.get("__name__")).startswith("asyncio."):
                for value in frame.f_locals.values():
                    for call in value if isinstance(value, (list, tuple)) else [value]:
                        if inspect.iscoroutine(call) and has_not_begun(call):
                            call.close()


def has_not_begun(call: Coroutine[Any, Any, Any]) -> bool:
    """Tell whether nobody has awaited it yet."""
    return inspect.getcoroutinestate(call) == inspect.CORO_CREATED


def leaves_of(error: BaseException) -> list[BaseException]:
    """List the errors in a group, or in the groups in it; or the one error."""
    if isinstance(error, BaseExceptionGroup):
        return [leaf for part in error.exceptions for leaf in leaves_of(part)]
    return [error]


def shortly(error: BaseException) -> str:
    """Name an error by type and first line, and what is in a group by that."""
    kind = type(error).__name__
    if isinstance(error, BaseExceptionGroup):
        return f"{kind} of {', '.join(map(shortly, leaves_of(error)))}"
    first, *more = str(error).splitlines() or [""]
    return f"{kind}({first!r}…)" if more else repr(error)


def why_it_failed(error: BaseException, whole: BaseException | None = None) -> str:
    """Explain an error of the learner's own code, for a hint; `whole` is the group it came in."""
    leaf = leaves_of(error)[0]
    text = str(leaf)
    told = f"{shortly(leaf)} came out of your own code"
    if "expecting an async function" in text and "coroutine object" in text:
        return (
            "that starts a call: write `nursery.start_soon(one, f)`, the function and its "
            "arguments, not `start_soon(one(f))`."
        )
    if text in (_CALLED_TOO_EARLY, _HAS_A_YIELD, _BLOCKS):
        return text
    if "stack corrupted" in text:
        return (
            f"{told}. Is there a `yield` inside a nursery or a cancel scope? It leaves the block "
            "without ending it."
        )
    if "asynchronous context manager" in text:
        if "CancelScope" in text:
            return f"{told}. A scope is entered with a plain `with`, without `async`."
        return f"{told}. Are the brackets missing, as in `open_nursery()`?"
    if "plain function" in text:
        return "write `async def`: a plain function cannot wait."
    if isinstance(leaf, LookupError) and came_out_of_the_block(leaf, whole or error):
        return (
            "that was read inside the nursery's block, before any task has run: read it after the "
            "block, or `await` an event first."
        )
    if isinstance(leaf, NameError) and _is_gone_with_its_except(leaf):
        return (
            f"{told}. Python deletes the name after `as` when the except block ends: keep it "
            "under another name, `except Exception as exc: error = exc`."
        )
    if isinstance(leaf, UnboundLocalError):
        return (
            f"{told}. A function that assigns to a name makes it its own, and it has no value "
            "before that: give it one first, such as None before the `try`. If you mean the name "
            "of the function around it, see `nonlocal`."
        )
    if _asks_whether_an_event_is_true(leaf):
        return f"{told}. An event is asked with `event.is_set()`, not with `if event:`."
    if re.search(r"object (Event|bool) can't be used in 'await'|'Event' object is not call", text):
        return f"{told}. Waiting for an event is `await event.wait()`."
    if "object CancelScope can't be used in 'await'" in text:
        return f"{told}. A limit is `with trio.move_on_after(3600):` around what waits."
    if "must derive from BaseException" in text:
        return (
            f"{told}. What you raise is no exception. Is it None, for want of an error? Write "
            "`if error is not None: raise error`. Or a text, or what the error is kept in?"
        )
    if "'coroutine' object is not callable" in text:
        return (
            "a call was handed over where a function belongs: write `start_soon(one, execute)`, "
            "not `start_soon(one, execute())`; the task calls it."
        )
    if "appears to be synchronous" in text:
        return f"{told}. A task runs an `async def`; a plain `def` cannot wait."
    if "asyncio" in text or "event loop" in text or "create_future" in text:
        return (
            "that is asyncio's, which does not work in trio: in place of `asyncio.gather` open a "
            "nursery, and a cancel scope in place of `wait_for` or `shield`; trio.sleep and "
            "trio.Event are trio's own."
        )
    if "start_soon() got an unexpected keyword argument" in text:
        return "start_soon passes on arguments by position only: `start_soon(one, i, f)`."
    if "task_status" in text:
        return "write `start_soon`, without `await`: `start` is for what reports when it is ready."
    if "use 'async with" in text or "'NurseryManager' object has no" in text:
        return "the line that opens the nursery is `async with trio.open_nursery() as nursery:`."
    if "'Nursery' object has no attribute 'cancel'" in text:
        return "what is cancelled is the nursery's scope: write `nursery.cancel_scope.cancel()`."
    if "from inside a run()" in text:
        return "you are in trio already: write `await f()` in place of `run(f)`."
    if awaited := re.search(
        r"object (\S+) can't be used in 'await'|'(\S+)' object can't be aw", text
    ):
        if "NoneType" in awaited[0]:
            return (
                f"{told}: something was awaited that gives back nothing. `start_soon(...)`, "
                "`set()` and `cancel()` are called without `await`."
            )
        if re.search("function|method|partial", awaited[0]):
            return f"{told}. Call what you await, with brackets: `await f()`, not `await f`."
    return f"{told}."


def came_out_of_the_block(leaf: BaseException, whole: BaseException) -> bool:
    """Tell whether the parent raised it in the nursery's block, not a task of its nursery."""
    if leaf is whole:
        return False
    ours, parents = ({id(f) for f, _ in traceback.walk_tb(e.__traceback__)} for e in (leaf, whole))
    return not ours.isdisjoint(parents)


def _asks_whether_an_event_is_true(error: BaseException) -> bool:
    """Tell trio's own NotImplementedError, for `if event:`, from a stub's."""
    return isinstance(error, NotImplementedError) and "as bools" in str(error)


def _is_gone_with_its_except(error: NameError) -> bool:
    """Tell whether the name that has no value stands after an `as`."""
    *_, (frame, _) = traceback.walk_tb(error.__traceback__)
    inner = [const for const in frame.f_code.co_consts if inspect.iscode(const)]
    return any(
        step.opname in {"DELETE_FAST", "DELETE_DEREF"} and f"'{step.argval}'" in str(error)
        for code in (frame.f_code, *inner)  # the task's own, where the name is `nonlocal`
        for step in dis.get_instructions(code)
    )


def why_no_pair(outcome: Attempt) -> str:
    """Explain why what should make an actor did not return a pair, for a hint."""
    if "coroutine object" in str(outcome.error) and "unpack" in str(outcome.error):
        return "making the pair has nothing to wait for: write it as `def`, without `async`."
    if "'tuple' object is not callable" in str(outcome.error):
        return _CALLED_TOO_EARLY
    return (
        "return execute, interrupt: an async function without parameters, and a function of one. "
        f"Here, {outcome}."
    )


def verdict(*demands: tuple[object, str, str]) -> None:
    """Print a line per demand (met or not, what it is, a hint), then the first hint needed."""
    for met, what, _ in demands:
        print("✓" if met else "✗", what)
    hints = [hint for met, _, hint in demands if not met]
    if hints:
        show_hint(hints[0])
    else:
        print("\nAll of it holds. Well done!")


CATCHES_CANCELLED = (
    "One thing more. A task of yours catches `Cancelled` and goes on, as a bare `except` does, or "
    "`except BaseException`. It goes well in this check; but where nothing else raises "
    "`Cancelled`, the call comes back as if nobody had cancelled it. Let it through, and catch "
    "`Exception`."
)


async def until_cancelled() -> None:
    """Sleep for ever; `a_task_swallows` knows in which task."""
    try:
        await trio.sleep_forever()
    except trio.Cancelled:
        _told_to_stop.add(trio.lowlevel.current_task())
        raise


_told_to_stop: weakref.WeakSet[trio.lowlevel.Task] = weakref.WeakSet()


def a_task_swallows(async_fn: Callable[..., Awaitable[object]], *args: object) -> bool:
    """Cancel a call from outside; tell whether a task in it got `Cancelled`, and returned.

    `args` lead to `until_cancelled`.
    """
    swallowed = False
    open_nursery = trio.open_nursery

    @attrs.frozen
    class Watched:
        nursery: trio.Nursery

        def start_soon(
            self, child: Callable[..., Awaitable[object]], *args: object, name: object = None
        ) -> None:
            self.nursery.start_soon(self.watch, child, args, name=name)

        async def watch(self, child: Any, args: tuple[object, ...]) -> None:
            nonlocal swallowed
            await child(*args)
            module = str(getattr(child, "__module__", ""))
            if not module.startswith("trio_rungroup"):  # which knows what it does
                swallowed |= trio.lowlevel.current_task() in _told_to_stop

        def __getattr__(self, name: str) -> object:
            return getattr(self.nursery, name)

    @asynccontextmanager
    async def watched(**options: Any) -> AsyncIterator[Watched]:
        async with open_nursery(**options) as nursery:
            yield Watched(nursery)

    async def main() -> None:
        with trio.move_on_after(1):
            await async_fn(*args)

    with mock.patch.object(trio, "open_nursery", watched):
        attempt(main)
    return swallowed


def show_hint(hint: str) -> None:
    """Print a hint after a list of demands."""
    show(f"Hint: {hint}")


def show(text: str) -> None:
    """Print it in lines that fit below a cell: Jupyter would break them within a word."""
    text = re.sub("`[^`]*`", lambda code: code[0].replace(" ", "\xa0"), text)  # on one line
    lines = textwrap.wrap(text, 80, break_on_hyphens=False)
    print("", *(line.replace("\xa0", " ") for line in lines), sep="\n")


STUB_IS_LEFT = "(If you have written all that: delete the line `raise NotImplementedError`.)"


# ---- a picture of what tasks do ----

_NOTHING = "nothing has run yet"
_MARKS = {"returned": "✓", "raised": "✗", "cancelled": "◇"}
_COLOURS = {"returned": "#00795a", "raised": "#b8460a", "cancelled": "#8e4a78"}
_SHAPES = {  # as in the picture of a run group: its outline, and what is written in it
    "returned": (
        "M-8.7 0a8.7 8.7 0 1 0 17.4 0a8.7 8.7 0 1 0 -17.4 0Z",
        "M-3.6 .3l2.5 2.6 4.8 -5.5",
    ),
    "raised": ("M-7.7 -7.7H7.7V7.7H-7.7Z", "M-3 -3l6 6M-3 3l6 -6"),
    "cancelled": ("M-9.9 0L0 -9.9L9.9 0L0 9.9Z", "M-3.4 0h6.8"),
}


@attrs.define(eq=False)
class _Bar:
    name: str
    began: float
    task: trio.lowlevel.Task | None = None  # which takes these notes
    nurseries: int = 0  # that it had opened before
    ended: float = 0.0
    how: str = "returned"
    inside: list[_Bar] = attrs.field(factory=list["_Bar"])

    def rows(self, depth: int = 0) -> Iterator[tuple[int, _Bar]]:
        yield depth, self
        # Tasks that begin in one instant begin in any order; the picture shows them in one.
        for bar in sorted(self.inside, key=lambda bar: (bar.began, bar.ended, bar.name)):
            yield from bar.rows(depth + 1)

    @property
    def words(self) -> str:
        return f"{self.how} · {self.ended:g} s"


class Timeline:
    """Draws when parts of a program ran: `with timeline.bar("name"): ...`.

    A bar that begins inside another is drawn below it, indented; that of a child task below the
    one in which its nursery is opened, whoever starts it.
    """

    def __init__(self, title: str) -> None:
        self._top = _Bar(title, 0)
        self._run: trio.lowlevel.Task | None = None
        self._open: list[_Bar] = []

    @contextmanager
    def bar(self, name: str) -> Iterator[None]:
        """Draw how long the block takes, and how it ends."""
        root = trio.lowlevel.current_root_task()
        if self._run is not root:  # a cell was run again: a new picture
            self._run = root
            self._top.inside.clear()
            self._open.clear()
        task = trio.lowlevel.current_task()
        bar = _Bar(name, trio.current_time(), task, len(task.child_nurseries))
        self._around(task).inside.append(bar)
        self._open.append(bar)
        try:
            yield
        except trio.Cancelled:
            bar.how = "cancelled"
            raise
        except BaseException:
            bar.how = "raised"
            raise
        finally:
            self._open.remove(bar)
            bar.ended = trio.current_time()

    def _around(self, task: trio.lowlevel.Task) -> _Bar:
        """Find the innermost open bar in which a task is, or its nursery is opened."""
        level = math.inf  # of the nursery in which we come from below
        while True:
            for bar in reversed(self._open):
                if bar.task is task and bar.nurseries <= level:
                    return bar
            nursery = task.eventual_parent_nursery or task.parent_nursery  # for nursery.start()
            if nursery is None:
                return self._top
            task = nursery.parent_task
            level = task.child_nurseries.index(nursery)

    def _rows(self) -> tuple[list[tuple[int, _Bar]], float]:
        rows = [(depth - 1, bar) for depth, bar in self._top.rows()][1:]
        return rows, max((bar.ended for _, bar in rows), default=0) or 1

    def __str__(self) -> str:
        """Draw it as text."""
        rows, end = self._rows()
        if not rows:
            return f"{self._top.name}\n\n{_NOTHING}"
        wide = max(len("  " * depth + bar.name) for depth, bar in rows)
        lines = [self._top.name, ""]
        for depth, bar in rows:
            begin, length = (round(t / end * 36) for t in (bar.began, bar.ended - bar.began))
            drawn = " " * begin + "━" * length + _MARKS[bar.how]
            lines.append(f"{'  ' * depth + bar.name:<{wide}}  {drawn:<37}  {bar.words}")
        return "\n".join(lines)

    def to_svg(self) -> str:
        """Draw it as SVG, with nothing in it that a notebook viewer takes out."""
        rows, end = self._rows()
        left = 44 + max((8 * len(bar.name) + 16 * depth for depth, bar in rows), default=0)
        scale = (720 - 150 - left) / end
        parts: list[str] = []

        def text(x: float, y: float, content: str, look: str) -> None:
            parts.append(f'<text x="{x:.1f}" y="{y:.1f}" {look}>{escape(content)}</text>')

        text(24, 32, self._top.name, 'fill="#1a1a1a" font-size="16" font-weight="bold"')
        bottom = 52 + 30 * len(rows)
        if not rows:
            text(24, bottom, _NOTHING, 'fill="#595959" font-size="13.5"')
        for moment in (moment * _round_step(end) for moment in range(7)):
            if rows and moment <= end:
                x = left + moment * scale
                parts.append(
                    f'<line x1="{x:.1f}" x2="{x:.1f}" y1="48" y2="{bottom}" stroke="#e3e3e3"/>'
                )
                look = 'fill="#595959" font-size="12" text-anchor="middle"'
                text(x, bottom + 18, f"{moment:g} s", look)
        for index, (depth, bar) in enumerate(rows):
            y, x, width = 67 + 30 * index, left + bar.began * scale, bar.ended - bar.began
            text(24 + 16 * depth, y + 4.5, bar.name, 'fill="#1a1a1a" font-size="13.5"')
            shape = f'x="{x:.1f}" y="{y - 6}" width="{max(width * scale, 1.5):.1f}" height="12"'
            parts.append(f'<rect {shape} fill="#0072b2"/>')
            x += width * scale
            colour = f'fill="{_COLOURS[bar.how]}"'
            outline, strokes = _SHAPES[bar.how]
            parts.append(
                f'<g transform="translate({x:.1f} {y})" stroke="#ffffff">'
                f'<path d="{outline}" {colour} stroke-width="1.5"/>'
                f'<path d="{strokes}" fill="none" stroke-width="2"/></g>'
            )
            text(x + 14, y + 4.3, bar.words, f'{colour} font-size="12.5"')
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" role="img" width="720" '
            f'height="{bottom + 32}" viewBox="0 0 720 {bottom + 32}" '
            'font-family="Noto Sans, Segoe UI, Helvetica, Arial, sans-serif">'
            f"<title>{escape(self._top.name)}</title>"
            f'<rect x="0.5" y="0.5" width="719" height="{bottom + 31}" rx="8" fill="#ffffff" '
            f'stroke="#c8c8c8"/>{"".join(parts)}</svg>'
        )

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        del include, exclude
        return {"image/svg+xml": self.to_svg(), "text/plain": str(self)}


def _round_step(end: float) -> float:
    """Choose a round step that gives at most seven marks."""
    return next(step for step in (0.5, 1, 2, 5, 10, 20, 60, 600, 6000, 1e5) if end / step <= 6)


# ---- errors in a notebook ----


def tree_of(error: BaseException) -> str:
    """Draw an exception, or a group of them, as a small tree: types and messages."""
    return "\n".join(_tree(error, "", with_lines=False))


def _tree(error: BaseException, indent: str, *, with_lines: bool) -> Iterator[str]:
    if with_lines:
        for frame, number in traceback.walk_tb(error.__traceback__):
            if (place := _place_of(frame)) is not None:
                function = frame.f_code.co_name
                where = "" if function == "<module>" else f", in {function}"
                yield f"{indent}{place}, line {number}{where}"
    if isinstance(error, BaseExceptionGroup):
        yield f"{indent}{type(error).__name__}: {error.message}"
        for part in error.exceptions:
            yield from _tree(part, indent + "    ", with_lines=with_lines)
    else:
        yield f"{indent}{type(error).__name__}: {error}".rstrip(": ")
    yield from (f"{indent}  note: {note}" for note in getattr(error, "__notes__", ()))


def _place_of(frame: FrameType) -> str | None:
    """Name the cell that a line of a traceback is in; `None` for a line of a library."""
    shell = get_ipython()
    file = frame.f_code.co_filename
    name = None if shell is None else shell.compile.format_code_name(file)
    # What came back from a cluster has no globals of ours, and with some versions of cloudpickle
    # no file either.
    if file == "<dynamic-code>" or (name and frame.f_globals is not shell.user_ns):
        return "elsewhere"
    return None if name is None else " ".join(name)


def show_errors_as_trees() -> None:
    """Show the error that ends a cell shortly: your own lines, and a group as a tree.

    IPython prints an exception group to standard error, where neither a reader of the saved
    notebook nor a program that runs it sees that the cell has failed.
    """
    shell = get_ipython()
    if shell is None:
        return

    def handler(shell: Any, kind: Any, error: Any, tb: Any, tb_offset: Any = None) -> None:
        del tb, tb_offset
        text = "\n".join(_tree(error, "", with_lines=True))
        leaves = leaves_of(error)
        if all(isinstance(leaf, KeyboardInterrupt) for leaf in leaves):  # no mistake to look for
            text = f"stopped: {tree_of(leaves[0])}"
        shell._showtraceback(kind, error, text.splitlines())

    shell.set_custom_exc((Exception, BaseExceptionGroup, KeyboardInterrupt), handler)


show_errors_as_trees()

"""The one rule.

    The first actor to exit settles the result; every actor is then interrupted; `run()`
    comes back when the last one has exited.

Where to begin. `Run.drive` carries out the rule, in five steps; `Run.run_actor` and
`Run.record_exit` are what each actor's task does. The rest serves these three, most of it in rare
cases (a long stop, a second request to stop, groups in groups, Ctrl-C), and can be skipped at
first.

How it works. Each actor is a task in the one nursery of `Run.drive`. An actor's exception
is captured in its own task (an exception that reached the nursery would cancel everybody
before any interrupt could run), so the nursery closes quietly and the result is raised
after it, as itself. Three kinds of task take part:

- an actor's task (`Run.run_actor`) runs one actor and records how it exited;
- the calling task (`Run.drive`) starts them, sleeps until the stop begins, calls the
  interrupts, and waits for all to exit: it is the one in which a cancellation from outside, or
  Ctrl-C, becomes a stop. If the stop is long, it ends graces and warns (`_graces.py`);
- one more task (`Run.await_interrupts`) takes over at the first async interrupt, and calls the
  rest, so that a slow one cannot keep the calling task from ending graces.

Words. A *request* to stop is a cancellation from *outside* (from around `run()`) or a Ctrl-C. One
that comes during a stop, whatever began that, is a *second request*: it ends all graces. The
*cause* is the error that interrupts get, the *reason* a text. *Bare* is a KeyboardInterrupt, a
SystemExit or the like: `run()` never raises it in an ExceptionGroup. An error *settles* the result
if nothing did before. A *complaint* is what trio raises about scopes or nurseries left in disorder.
A *stray* is a `Cancelled` raised though nobody had cancelled the actor.

One scope or many. If any actor has an interrupt, or is the `run` of another group, each gets a
scope (`Run.scopes`). If not, `scopes` is empty and the nursery's scope stands for all: faster, and
different only in rare cases (`cancel_all`).

Every function here that trio or the user calls to run a group is protected from Ctrl-C, and so is
all that it calls in turn: a Ctrl-C then waits for the next checkpoint of the main task, whether or
not that awaits `run()`. An actor's own code is awaited through `unprotected`, and obeys at once.

Why so many functions end in `del`: an exception keeps its traceback, a traceback its frames, and a
frame its local variables. trio makes an actor's `Cancelled` inside our call of `cancel()`, so its
traceback leads to our frames; and so does whatever the actor raises while it handles that, since
the `Cancelled` is its context. If one of these frames held this error, it would lead to itself: a
reference cycle. So a function that calls `cancel()`, directly or not, drops errors, and what may
lead to one, before it returns. And an error is dealt with after its `except` block: inside, it
would become the context of that `Cancelled`.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import itertools
import logging
import math
import sys
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from types import CoroutineType, MethodType
from typing import Any, Final, NamedTuple, TypeAlias, TypeVar, cast, final

import attrs
import trio
from trio.lowlevel import disable_ki_protection, enable_ki_protection

from ._checks import (
    as_coroutine,
    as_grace,
    asyncio_hint,
    check_cause,
    check_execute,
    check_interrupt,
    check_task_status,
    to_await,
    unique_name,
)
from ._errors import (
    bare_in,
    context_of,
    displace,
    is_a,
    set_context,
    traceback_of,
    without_cancelled,
)
from ._graces import (
    GRACE_OVER_AROUND,
    SECOND_REQUEST,
    Watch,
    actor_around_is_out_of_grace,
    end_all_graces,
    end_graces_inside,
    runs_under_way,
)
from ._record import ALL_RETURNED, Facts, How, Record, class_name, describe, shorten

_log: Final = logging.getLogger("trio_rungroup")
_MOST_NOTED: Final = 100  # later errors that fit into a note
_CALLER: Final = "the task that awaits run()"
_LOG_HANDLER: Final = "a handler of the log"
_INTERRUPTS_TASK: Final = "<interrupts of a RunGroup>"
_CANCELLED_OUTSIDE: Final = "run() is cancelled from outside"

_ExecuteT = TypeVar("_ExecuteT", bound=Callable[..., Awaitable[object]])
_Coroutine: TypeAlias = Coroutine[Any, Any, object]
_Interrupt: TypeAlias = Callable[[BaseException | None], object]


@final
class _Actors:
    """What `add` was given: a column for each argument, found by an actor's index.

    With an object for each actor, adding and running 1,000 of them takes 3 % longer.
    """

    names: list[str]  # an actor counts as soon as it has one
    executes: list[Callable[..., Awaitable[object]]]
    interrupts: list[_Interrupt | None]
    graces: list[float]
    may_return: set[int]  # added with ends_group=False
    reporting: set[int]  # added with reports_started=True
    need_scopes: bool  # "One scope or many", above

    numbers: dict[str, int]  # the last one given for each name: for unique_name()
    adding: bool  # whether one is half added

    __slots__ = tuple(__annotations__)

    def __init__(self) -> None:
        self.names, self.executes, self.interrupts, self.graces = [], [], [], []
        self.may_return, self.reporting = set(), set()
        self.need_scopes = self.adding = False
        self.numbers = {}

    def forget_half_added(self) -> None:
        """Drop what was left by an `add` that raised, or that Ctrl-C ended.

        Outside of `trio.run` its protection has no effect.
        """
        number = len(self.names)
        self.may_return.discard(number)
        self.reporting.discard(number)
        del self.executes[number:], self.interrupts[number:], self.graces[number:]
        self.numbers = dict.fromkeys(self.names, 1)


@final
@attrs.define(eq=False, on_setattr=attrs.setters.NO_OP)  # faster; run() checks a grace set later
class RunGroup:
    """Run actors together; when the first one exits, interrupt and await the others.

    An actor is a pair of functions: `execute`, an async function that runs until it is done
    or told to stop, and `interrupt`, which tells it to stop. An exit is a return or a raise.
    Go: `run.Group` of github.com/oklog/run.

    A group can be run again, one run at a time. `run` and `interrupt` belong to the trio
    thread (elsewhere use `trio.from_thread.run(group.run)` and
    `trio.from_thread.run_sync(group.interrupt)`); `add` may come before `trio.run`.

    Logging:
        On the logger `trio_rungroup`, at ERROR each later error, once, with its traceback; at
        WARNING whom the stop still waits for after ten seconds, and who was cancelled because its
        grace had ended, each with the place in the code where it waits.

    Args:
        grace: Seconds from the start of the stop (usually the first exit) until every actor
            still running is cancelled. The default, infinity, waits as long as it takes, as Go
            does.

    Attributes:
        grace: The one given, as a float; another one, set later, counts from the next `run()` on.
        record: What happened in the last run, or is happening in this one; `None` before the
            first.

    Raises:
        TypeError: `grace` is not a number.
        ValueError: `grace` is negative or NaN.

    Example:
        ```python
        group = RunGroup(grace=30)
        group.add(*signal_actor())
        group.add(server.serve, lambda error: server.close(), grace=10)
        await group.run()
        ```
    """

    grace: float = attrs.field(default=math.inf, kw_only=True, converter=as_grace)
    record: Record | None = attrs.field(default=None, init=False)

    _actors: _Actors = attrs.field(factory=_Actors, init=False)
    _current: Run | None = attrs.field(default=None, init=False)

    def __repr__(self) -> str:
        state = "running" if self._current is not None else "not running"
        number = len(self._actors.names)
        actors = "1 actor" if number == 1 else f"{number} actors"
        return f"<RunGroup of {actors}, {state}>"

    @enable_ki_protection
    def add(
        self,
        execute: _ExecuteT,
        interrupt: _Interrupt | None = None,
        *,
        name: str | None = None,
        grace: float = math.inf,
        ends_group: bool = True,
        reports_started: bool = False,
    ) -> _ExecuteT:
        """Add an actor; it takes part from the next `run()` on.

        A second positional argument is always the interrupt, never an argument for
        `execute`: arguments go through `functools.partial(execute, argument)`.

        The interrupt must make `execute` exit soon, and must be harmless when `execute` has
        exited already. It is called exactly once per run, after `execute` has begun, with
        the error of the first exit (`None` after a clean one), which it is not to raise: that
        would change the error's traceback, and make it a later error as well. It may be async;
        then the next interrupt waits for it, and the grace bounds it as it bounds the actor.
        (Without a grace, a cancellation of `run()` ends it at its first checkpoint: if it has work
        to do, give it a grace.) It must not block the thread: everything would wait for it, Ctrl-C
        included. If it raises, its actor is cancelled at once. Without an interrupt
        the actor is cancelled, and so is what it awaits in a `finally`. Go: `Group.Add`.

        Cancellation:
            An actor with an interrupt and a finite grace (its own or the group's) is
            shielded from cancellation from outside, so that it can stop gracefully, until
            its grace ends or a second request to stop comes (`run` says what is one). Inside
            such an actor `trio.current_effective_deadline()` does not see the deadlines
            outside. Every other actor is cancelled at once when `run()` is.

        Args:
            execute: An async function without parameters.
            interrupt: A function of one argument, sync or async. It runs with the context variables
                of the task that awaits `run()`; do not set them.
            name: For the record, notes and logs; unique in the group. The default is the
                function's qualified name, with ` #2`, ` #3`, … if it is taken.
            grace: Seconds from the call of the interrupt until the actor is cancelled, and the
                interrupt if it is still being awaited. If the group's grace ends sooner, that
                counts.
            ends_group: Whether a clean return ends the group. An exception always does. If all
                actors return without ending it, `run()` returns `None`.
            reports_started: Whether `execute` takes trio's `task_status` and calls
                `started()`, as a function made for `nursery.start` does. One that returns without
                that exits with trio's RuntimeError, unless the stop has begun.

        Returns:
            `execute`, so that a bare `@group.add` decorates.

        Raises:
            TypeError: `execute` is not an async function without parameters, `interrupt` is
                not a function of one argument, `name` is not a str, or `grace` not a number.
                (If only the call of `execute` shows that it is not async, its actor exits with
                this error. That call is protected from Ctrl-C, so that the coroutine it makes
                cannot be lost: a function without `async` that blocks holds Ctrl-C up.)
            ValueError: `grace` is negative or NaN, or finite where there is no interrupt; or
                the name is taken.

        Example:
            ```python
            group.add(functools.partial(consume, queue), lambda error: queue.close())
            ```
        """
        check_execute(execute, reports_started=reports_started)
        if interrupt is not None:
            check_interrupt(interrupt)
        if grace is not math.inf:  # the default
            grace = as_grace(grace)
            if interrupt is None and grace != math.inf:
                raise ValueError(
                    f"grace={grace:g} needs an interrupt to follow: without one the actor is "
                    "cancelled at once; leave it out, or write add(execute, interrupt, grace=...)"
                )
        actors = self._actors
        if actors.adding:
            actors.forget_half_added()
        actors.adding = True
        name = unique_name(actors.numbers, execute, name)
        if interrupt is not None or _is_run_of_a_group(execute):
            actors.need_scopes = True
        actors.executes.append(execute)
        actors.interrupts.append(interrupt)
        actors.graces.append(grace)
        if not ends_group:
            actors.may_return.add(len(actors.names))
        if reports_started:
            actors.reporting.add(len(actors.names))
        actors.names.append(name)  # last: now it counts
        actors.adding = False
        return execute

    @enable_ki_protection
    async def run(
        self, *, task_status: trio.TaskStatus[dict[str, object]] = trio.TASK_STATUS_IGNORED
    ) -> object:
        """Run all actors; when the first exits, interrupt all and wait for every one.

        `await nursery.start(group.run)` returns once all actors have begun and those with
        `reports_started` have called `started()`; its value is `{name: started value}`. If the
        group ends cleanly before that, `nursery.start` raises trio's RuntimeError, and
        `record.first` tells which actor ended it. `task_status` may also be an object of your own,
        whose `started()` is called with that value. Go: `Group.Run`.

        Checkpoints:
            At least one, unless `run()` refuses to begin; an empty group returns `None` after it.

        Cancellation:
            A cancellation is a request to stop: the interrupts are called with the
            `trio.Cancelled`, and when all actors have exited, `run()` raises `Cancelled`, unless
            one of them has failed. If the stop has already begun for another reason, it is a
            second request, and ends every grace at once. (What an actor without an interrupt
            raises, when the stop has cancelled it before, stays a later error.) But two
            cancellations are one request: after a first one, another timeout around `run()`
            shortens no grace.

            If the main task awaits `run()`, Ctrl-C is a request as well: it begins a graceful stop,
            or, whatever began the stop, ends every grace at once. (If `run()` was started in a
            nursery, the group hears of the second one only through a `signal_actor`.) The same
            goes for a `KeyboardInterrupt`, `SystemExit` or the like of an actor or an interrupt.

            A second request also reaches the groups inside this one, with one exception. If no
            actor here has an interrupt or is itself the `run` of a group, and the stop has begun,
            then a `cancel()` around this group (or a second Ctrl-C, if it runs in a nursery) does
            not end the graces of groups inside. A deadline does, as it was set when the stop
            began, if those groups were running then.

        Returns:
            What the first actor to end the group returned; `None` after `interrupt()`, or when
            all actors have returned without ending it.

        Raises:
            BaseException: The very object that the first actor to exit raised (only of a group
                that mixes `trio.Cancelled` with errors, the part without it; and in place of a
                group with a `KeyboardInterrupt` or `SystemExit`, that one, bare), with a note
                that names the actor and the errors that came later. Those are also logged
                on the logger `trio_rungroup` and stand in `record`. The order of precedence:
                `KeyboardInterrupt` and `SystemExit`, any other error, `trio.Cancelled`, a value.
            RuntimeError: The group is running already; or this is not awaited in trio.
            TypeError, ValueError: `grace` was set to what is not 0 or more seconds.
            TypeError: `task_status` has no method `started`, or an async one.

        If two actors exit in the same scheduler tick, either may be first.
        """
        if not _in_trio():
            raise RuntimeError(
                "run() has to be awaited in trio: write trio.run(group.run); in a notebook, "
                "%autoawait trio makes `await group.run()` work; in a loop of trio-asyncio, "
                "trio_asyncio.trio_as_aio(group.run)() can be awaited"
            )
        if self._current is not None:
            del self  # whose record may come to hold this error, if one of its actors is to blame
            raise RuntimeError(
                "this RunGroup is already running; wait for run() to come back, or make "
                "another RunGroup"
            )
        if task_status is not trio.TASK_STATUS_IGNORED:
            check_task_status(task_status)
        run = self._current = Run(self._actors, as_grace(self.grace), task_status)
        self.record = run.record
        value = error = context = None
        try:
            value, error = await run.drive()
            if error is None:
                return value
            # Where run() is called inside an except block, `raise` would make the exception
            # handled there the context of this one, which has a context of its own.
            context = context_of(error)
            try:
                raise error
            finally:
                set_context(error, context)
        finally:
            self._current = None
            # The tracebacks of the errors lead here, and into the frames of the run: see above.
            run.let_go()
            del self, value, error, context, task_status

    @enable_ki_protection
    def interrupt(self, error: BaseException | None = None) -> None:
        """Stop the group as an exit would; `run()` then returns `None`.

        Does nothing when no run is under way or the stop has begun. So that the run is under
        way, start it with `await nursery.start(group.run)`. With `run` this makes a pair, so
        groups nest: `outer.add(inner.run, inner.interrupt)`. When the grace of the inner group
        in the outer one ends, or all graces there do, all graces in the inner group end, too.

        If `error` is a `trio.Cancelled`, as the outer group passes on when it is cancelled, then
        `run()` raises the error of an actor, if one fails during the stop.

        Do not call this in a handler of `signal.signal`, which may run in the middle of trio's
        own code: use a `signal_actor`, or call `token.run_sync_soon(group.interrupt)` there, where
        `token` is the `trio.lowlevel.current_trio_token()` of the run.

        Args:
            error: What the interrupts are given.

        Raises:
            RuntimeError: The group runs, but not in this thread and its `trio.run`.
            TypeError: `error` is not an exception.
        """
        check_cause(error)
        run = self._current
        if run is None:
            return
        if not trio.lowlevel.in_trio_run() or trio.lowlevel.current_trio_token() is not run.token:
            raise RuntimeError(
                "interrupt() has to be called in the trio thread; from another one write "
                "trio.from_thread.run_sync(group.interrupt, trio_token=...)"
            )
        with_error = "" if error is None else f" with {describe(error)}"
        run.stop(error, reason=f"interrupt() was called{with_error}")


def _in_trio() -> bool:
    """Tell whether we are awaited in trio."""
    if not trio.lowlevel.in_trio_task():
        return False
    # trio-asyncio runs asyncio code in a task of trio's, and tells sniffio which of the two it is.
    sniffio = sys.modules.get("sniffio") if "trio_asyncio" in sys.modules else None
    return sniffio is None or sniffio.current_async_library() == "trio"


def _is_run_of_a_group(execute: object) -> bool:
    if isinstance(execute, functools.partial):
        execute = cast("functools.partial[object]", execute).func
    return isinstance(execute, MethodType) and execute.__func__ is RunGroup.run


class _Awaited(NamedTuple):
    """An async interrupt that is being awaited."""

    actor: int
    scope: trio.CancelScope
    task: trio.lowlevel.Task


@final
class Run:
    """One run of a group: who still runs, why it stops, what comes out of it."""

    actors: _Actors
    number: int  # how many take part: `actors` may grow meanwhile
    grace: float
    clock: trio.abc.Clock
    token: trio.lowlevel.TrioToken
    caller: trio.lowlevel.Task
    nursery: trio.Nursery
    facts: Facts
    record: Record
    start: float
    tasks_left: int  # in the nursery
    scopes: list[trio.CancelScope]  # empty: the nursery's scope stands for all

    # The start.
    not_begun: int  # actors whose execute is still to be called
    started_values: dict[str, object]  # what those that report it have called started() with
    # Given by nursery.start(group.run): who is told when all have begun, and have reported it where
    # they do.
    task_status: trio.TaskStatus[dict[str, object]]
    not_reported: float  # actors that are still to report it; infinity where nobody has asked

    # Of the actor (or interrupt) whose task runs right now: another may overwrite them at the next
    # await.
    # Not locals of that task: before Python 3.13 _by_actor() makes a copy of those, which would be
    # part of a cycle.
    returned: object
    raised: BaseException | None

    # The stop.
    stopped: bool
    stopped_at: float
    cause: BaseException | None  # for the interrupts
    cancelled_outside: bool
    # What an actor raises during the stop is a later error; but if it was being cancelled from
    # outside, it takes the place of that `Cancelled`. So it matters who cancelled it first: those
    # below this index that have no interrupt, this run's stop did.
    cancelled_by_us_below: int
    awaited: _Awaited | None  # the async interrupt that is being awaited
    watch: Watch | None  # over a stop that lasts
    graces_end: float  # when all graces end together, or have ended; known once the stop has begun
    graces_over: str | None  # why they are, once end_all_graces() has been called
    # Told by a run around this one, where no second request gets through. The watch acts on it: a
    # call of end_all_graces() would recurse through hundreds of groups, and would end the graces of
    # one that the user shields.
    told_graces_are_over: bool

    # The result, in order of precedence. Between error and stray comes a cancellation from outside,
    # kept nowhere: drive() asks trio for it.
    bare: BaseException | None
    error: BaseException | None
    stray: BaseException | None
    value: object
    bare_raiser: str
    error_raiser: str
    later: list[str]

    # Slots: without them, CPython is slower from the 31st attribute on. Not attrs, which takes 1 ms
    # of the import for so many.
    __slots__ = tuple(__annotations__)

    def __init__(
        self, actors: _Actors, grace: float, task_status: trio.TaskStatus[dict[str, object]]
    ) -> None:
        self.actors = actors
        self.number = self.tasks_left = self.not_begun = len(actors.names)
        self.grace = grace
        self.task_status = task_status
        self.clock = trio.lowlevel.current_clock()
        self.token = trio.lowlevel.current_trio_token()
        self.caller = trio.lowlevel.current_task()
        self.facts = Facts(actors.names, self.number)
        self.record = Record(self.facts)
        self.start = self.record.start = self.clock.current_time()
        self.started_values, self.scopes, self.later = {}, [], []
        self.not_reported = math.inf
        self.cancelled_by_us_below = 0
        self.stopped = self.cancelled_outside = False
        self.told_graces_are_over = False
        self.awaited = self.watch = self.graces_over = None
        self.returned = self.raised = self.cause = None
        self.bare = self.error = self.stray = self.value = None
        self.bare_raiser = self.error_raiser = _CALLER
        if actors.need_scopes:
            # An actor with its own interrupt and a finite grace is given time to stop in
            # order, whatever is cancelled around run(): it has to be shielded before.
            is_finite = grace < math.inf
            self.scopes = [
                trio.CancelScope(
                    shield=actors.interrupts[index] is not None
                    and (is_finite or actors.graces[index] < math.inf)
                )
                for index in range(self.number)
            ]

    # ---- the calling task ----

    async def drive(self) -> tuple[object, BaseException | None]:
        """Run everything; return what `run()` is to return, and what it is to raise."""
        error: BaseException | None = None
        complaints: Sequence[BaseException] = ()
        try:
            # Strict, whatever trio.run() was told: complaints come as a group.
            async with trio.open_nursery(strict_exception_groups=True) as self.nursery:
                try:
                    # Run each actor.
                    runs_under_way[self.nursery] = self
                    self.start_all()
                    # Wait for the first to exit, or for a request to stop.
                    await self.wait_for_stop()
                    # Interrupt them all, but none that has not begun.
                    while self.not_begun:
                        await trio.lowlevel.cancel_shielded_checkpoint()
                    if not self.cancelled_outside:  # which was the first request
                        self.take_request(await _pending_request(), begins=False)
                    self.interrupt_all()
                    # Wait for all to exit.
                    await self.wait_for_all()
                except BaseException:
                    # No actor's: the stack is full, say. The nursery cancels all then, and no grace
                    # may keep that from an actor, since nobody would end it any more.
                    for scope in self.scopes:
                        scope.shield = False
                    raise
        # No actor's error takes this road: only complaints of trio's, about a nursery that an actor
        # left open, or scopes around run(), and what comes of tasks that others put among ours.
        except BaseExceptionGroup as group:
            complaints = group.exceptions
        except BaseException as exc:  # noqa: BLE001 - kept below
            complaints = (exc,)
        try:
            for complaint in complaints:
                rest = without_cancelled(complaint)
                if rest is not None:
                    self.keep_error("a task", rest, settles=True)
                del complaint, rest
            # Pass on what the first one did.
            self.record.ended = self.now()
            error = self.error if self.bare is None else self.bare
            if error is None:
                # A cancellation from outside was absorbed, to stop gracefully: now it is
                # raised.
                error = await _pending_request() or self.stray
            self.conclude(error)
            return self.value, error
        finally:
            del error, complaints

    def start_all(self) -> None:
        if self.task_status is not trio.TASK_STATUS_IGNORED:
            self.not_reported = len(self.reporters())
        start_soon, run_actor, names = self.nursery.start_soon, self.run_actor, self.actors.names
        for index in range(self.number):
            start_soon(run_actor, index, name=names[index])
        if not self.number:
            if self.not_reported == 0:
                self.forward_started()
            self.stop(None, reason=ALL_RETURNED)

    async def wait_for_stop(self) -> None:
        # An actor whose grace is over may run this group to clean up. Then we are cancelled from
        # the start, and will hear of no second request: our graces end as the stop begins.
        is_out_of_grace = actor_around_is_out_of_grace(self.caller) and _is_cancelled()
        error: BaseException | None = None
        try:
            if not self.stopped:  # as an empty group has, or a trio instrument may
                await self.sleep()
        except BaseException as exc:  # noqa: BLE001 - kept by take_request()
            error = exc
        # If anything, this began the stop: all else would have woken us first.
        self.take_request(error, begins=True)
        del error
        if is_out_of_grace:
            end_all_graces(self, GRACE_OVER_AROUND)

    def interrupt_all(self) -> None:
        """Cancel all, or call the interrupts until there is one to be awaited."""
        if not self.scopes:
            self.cancel_all()
            return
        calls = self.call_interrupts()
        first = next(calls, None)
        if first is not None:
            self.tasks_left += 1
            calls = itertools.chain([first], calls)
            self.nursery.start_soon(self.await_interrupts, calls, name=_INTERRUPTS_TASK)

    def cancel_all(self) -> None:
        """Cancel all at once, where the nursery's scope stands for them.

        What differs from a scope for each: a second request may not reach a group inside (see
        `RunGroup.run`); and, as in any trio nursery, an abort function (which trio calls to end a
        wait) that fails keeps the cancellation from others, a scope left open may go unnoticed, and
        a task that somebody put among ours is cancelled, too.
        """
        self.facts.interrupted = [self.now()] * self.number
        if not (self.tasks_left or self.nursery.child_tasks):
            return  # nobody is left: sparing trio's cancel(), an eighth of a run of one actor
        if not self.cancelled_outside:
            self.cancelled_by_us_below = self.number
            # Once its scope is cancelled, we see nothing of what is around the nursery, such as a
            # timeout. Asked only for groups inside, since it asks all scopes around us, which may
            # be many.
            if len(runs_under_way) > 1 and any(t.child_nurseries for t in self.nursery.child_tasks):
                self.graces_end = min(self.graces_end, _effective_deadline())
        error = _error_of_cancelling(self.nursery.cancel_scope, self.cancel_reason())
        if error is not None:  # trio stops half-way then, and no one else can go on for it
            self.keep_error("an abort function", error, settles=False)
            del error
        if self.graces_over is not None:  # before this could reach the groups inside
            end_graces_inside(self.nursery.child_tasks)

    async def wait_for_all(self) -> None:
        # Usually all have exited within a tick, or two if they do something on their way. To wait
        # for those first spares the watch and its scope: a seventh of a run of two actors.
        for _ in range(2):
            if self.tasks_left:
                await trio.lowlevel.cancel_shielded_checkpoint()
        if self.tasks_left:
            self.watch = Watch(self)
            await self.watch.until_all_have_exited()

    # ---- a task for each actor ----

    @enable_ki_protection
    async def run_actor(self, index: int) -> None:
        """Run one actor; whatever it does, record its exit and let nothing out."""
        coroutine: _Coroutine | None = None
        try:
            coroutine = self.call_execute(index)
            self.returned = await unprotected(coroutine)
        except BaseException as exc:  # noqa: BLE001 - recorded below
            self.raised = exc
        # From here on no other task runs (but in begin_after_ctrl_c()): what is on `self` is ours.
        if type(self.raised) is KeyboardInterrupt and coroutine is not None:
            # To pass `self.raised` and `self.who(index)`, too, takes 48 bytes more for each actor.
            await self.begin_after_ctrl_c(coroutine, index)
        if self.scopes:
            self.leave_scope(index)
        self.record_exit(index)

    def call_execute(self, index: int) -> _Coroutine:
        """Enter an actor's scope and call its `execute`."""
        if self.scopes:
            self.scopes[index].__enter__()
        self.facts.began[index] = self.clock.current_time() - self.start  # now(), sparing a call
        self.not_begun -= 1
        if not (self.not_begun or self.not_reported):
            self.forward_started()
        actors = self.actors
        execute = actors.executes[index]
        if index in actors.reporting:
            result = execute(task_status=_TaskStatus(self, actors.names[index]))
        else:
            result = execute()
        if not isinstance(result, CoroutineType):  # sparing a call
            result = as_coroutine(result, execute)
        return result  # pyright: ignore[reportUnknownVariableType]

    def leave_scope(self, index: int) -> None:
        """Leave an actor's scope; to have left another one open is an error of the actor."""
        # Entered and left by hand: nothing is raised in it. A `with`, and a null context for
        # groups without scopes, takes a tenth longer and 64 bytes more for each actor.
        try:
            self.scopes[index].__exit__(None, None, None)
        except BaseException as exc:  # noqa: BLE001 - trio's, dealt with below
            complaint = exc
        else:
            return
        if self.raised is None or without_cancelled(self.raised) is None:
            self.raised = complaint
        else:
            self.keep_error(self.who(index), complaint, settles=False)
        del complaint

    def record_exit(self, index: int) -> None:
        """Record an exit; begin the stop if it is the first to end the group."""
        facts = self.facts
        facts.exited[index] = self.clock.current_time() - self.start
        self.tasks_left -= 1
        before_stop = not self.stopped
        raised, self.raised = self.raised, None
        if raised is None and before_stop:
            raised = self.unreported(index)
        if raised is None:
            how: How = "returned"
        # type() first: that spares nearly all that were cancelled the call.
        elif type(raised) is trio.Cancelled or (error := without_cancelled(raised)) is None:
            how = "cancelled"
        else:
            # Before keep_error() logs: a handler of that may read the record.
            how = facts.how[index] = "raised"
            facts.errors[index] = raised = error
            settles = before_stop or self.is_cancelled_from_outside(index)
            self.keep_error(self.who(index), error, settles=settles, begins=before_stop)
            del error
        facts.how[index] = how
        # What it means for the group.
        if not before_stop:
            if self.tasks_left == 0:
                self.wake()
        elif how != "returned" or index not in self.actors.may_return:
            if how == "returned":
                self.value = self.returned
            elif how == "cancelled":
                self.stray = raised
            self.stop(raised, first=index)
        elif self.tasks_left == 0:
            self.stop(None, reason=ALL_RETURNED)
        self.returned = None
        del raised, facts

    def unreported(self, index: int) -> RuntimeError | None:
        """Make an error if an actor that has returned has not called `started()` as promised.

        One that is told to stop before it has started may well return without that.
        """
        if index in self.actors.reporting and self.actors.names[index] not in self.started_values:
            return RuntimeError("child exited without calling task_status.started()")
        return None

    def is_cancelled_from_outside(self, index: int) -> bool:
        """Tell whether an actor that raised was being cancelled, and not by its own group.

        Its error then replaces the `Cancelled` that `run()` would raise.
        """
        if self.record.reason == _CANCELLED_OUTSIDE:  # written a tick before `cause` is known
            return True
        if self.cause is not None and without_cancelled(self.cause) is None:
            return True  # a stray; or the group around this one passed it on
        if self.actors.interrupts[index] is None and index < self.cancelled_by_us_below:
            return False
        return self.cancelled_outside or _is_cancelled()

    # ---- how the stop begins ----

    def stop(
        self,
        cause: BaseException | None,
        *,
        first: int | None = None,
        reason: str | None = None,
    ) -> None:
        """Begin the stop; the calling task carries it out in the next tick.

        So an actor whose sleep ends in this very tick can still exit. To carry it out at once would
        make a run of two actors 7 % faster, and cancel that one.
        """
        facts, record = self.facts, self.record
        before = self.stopped, facts.first, record.stopped, record.reason
        self.begin_stop(cause, first, reason)
        try:
            self.wake()  # also if it had begun: a cancel that failed has not woken us
        except BaseException:  # where the stack is full: as if not called, so the next call counts
            self.stopped, facts.first, record.stopped, record.reason = before
            raise

    def begin_stop(
        self, cause: BaseException | None, first: int | None, reason: str | None
    ) -> None:
        """Write down what began the stop; only the first call counts."""
        if not self.stopped:
            self.stopped_at = self.clock.current_time()
            self.graces_end = self.stopped_at + self.grace
            self.record.stopped = self.stopped_at - self.start
            self.cause, self.facts.first, self.record.reason = cause, first, reason
            self.stopped = True

    def sleep(self) -> Awaitable[object]:
        """Sleep until `wake()`; only the calling task does, and awaits this at once."""
        self.caller.custom_sleep_data = self  # trio clears it whenever it reschedules the task
        return trio.lowlevel.wait_task_rescheduled(self.abort_sleep)  # noqa: ASYNC105

    def wake(self) -> None:
        if self.caller.custom_sleep_data is self:
            trio.lowlevel.reschedule(self.caller)

    @enable_ki_protection  # trio's started() may call this, and is not protected
    def abort_sleep(self, _: object) -> trio.lowlevel.Abort:
        # The abort function of our sleep: trio calls it the moment a cancellation or Ctrl-C reaches
        # us, before another task runs. So the stop begins here, and take_request() will learn what
        # came. (During a stop, deadlines of the watch and second requests come this way, too, and
        # begin_stop() ignores all but the first.)
        self.begin_stop(None, None, _CANCELLED_OUTSIDE)
        return trio.lowlevel.Abort.SUCCEEDED

    def take_request(
        self, error: BaseException | None, *, begins: bool, who: str = _CALLER
    ) -> None:
        """Act on a request to stop: a cancellation from outside, or Ctrl-C. `None`: none."""
        if error is None:
            return
        reason = _CANCELLED_OUTSIDE
        if is_a(error, trio.Cancelled):
            self.cancelled_outside = True
        else:
            reason = f"{class_name(error)} in {who}"
            # A second Ctrl-C adds nothing to what is known; it ends the graces.
            if not (is_a(error, KeyboardInterrupt) and is_a(self.bare, type(error))):
                self.keep_error(who, error, settles=True, begins=begins)
        if begins:
            self.stop(error)  # usually abort_sleep() has begun it already; now it is known why:
            self.cause, self.record.reason = error, reason
        elif not is_a(error, Exception):  # an Exception comes from a task status
            end_all_graces(self, SECOND_REQUEST)
        del error

    # ---- the interrupts ----

    def call_interrupts(self) -> Iterator[tuple[int, _Coroutine]]:
        """Call the interrupts, in the order of `add`; yield each that is to be awaited."""
        # Whether the current task is cancelled, if that is known: to find out is slow in deeply
        # nested groups.
        is_cancelled: bool | None = self.cancelled_outside
        reason = error = pending = result = None
        for index in range(self.number):
            interrupt = self.actors.interrupts[index]
            self.facts.interrupted[index] = self.now()
            if self.watch is not None:
                self.watch.grace_begins(index)
            if interrupt is None:
                if is_cancelled is None:
                    is_cancelled = _is_cancelled()
                if not is_cancelled:
                    self.cancelled_by_us_below = index + 1
                reason = reason or self.cancel_reason()
                self.cancel(index, reason)
                continue
            is_cancelled = None  # an interrupt may cancel what is around us
            try:
                result = interrupt(self.cause)
                if result is not None:
                    pending = to_await(result, interrupt)
            except BaseException as exc:  # noqa: BLE001 - kept below
                error = exc
            del interrupt
            result = None  # both may belong to an object that will hold an actor's error
            if pending is not None:
                yield index, pending
                pending = None
            elif error is not None:
                self.interrupt_failed(index, error)
                error = None

    def cancel(self, index: int, reason: str, scope: trio.CancelScope | None = None) -> None:
        """Cancel an actor, or the interrupt of one; go on if an abort function fails."""
        error = _error_of_cancelling(scope or self.scopes[index], reason)
        if error is not None:
            self.facts.interrupt_errors.setdefault(index, error)
            self.keep_error(f"an abort function of {self.who(index)}", error, settles=False)
            del error

    def cancel_reason(self) -> str:
        """Say why an actor is cancelled that has no interrupt of its own."""
        if self.facts.first is not None:
            return f"{self.who(self.facts.first)} exited first"
        assert self.record.reason is not None  # one of the two began the stop
        return self.record.reason

    def interrupt_failed(self, index: int, raised: BaseException) -> None:
        error = without_cancelled(raised)
        if error is not None:
            self.facts.interrupt_errors[index] = error
            self.keep_error(f"the interrupt of {self.who(index)}", error, settles=False)
            self.cancel(index, "its interrupt raised an exception")
            if self.watch is not None:
                self.watch.warn_again()
            del error
        del raised

    @enable_ki_protection
    async def await_interrupts(self, calls: Iterator[tuple[int, _Coroutine]]) -> None:
        """Await the interrupts that are async, one at a time, and call the others between them."""
        try:
            for index, coroutine in calls:
                await self.await_interrupt(index, coroutine)
        finally:
            self.tasks_left -= 1
            if self.tasks_left == 0:
                self.wake()

    async def await_interrupt(self, index: int, coroutine: _Coroutine) -> None:
        """Await one interrupt within its actor's deadline."""
        error: BaseException | None = None
        complaint: BaseException | None = None
        deadline = min(self.grace_ends(index), self.stopped_at + self.grace)
        try:
            with trio.CancelScope(deadline=deadline, shield=deadline < math.inf) as scope:
                self.awaited = _Awaited(index, scope, trio.lowlevel.current_task())
                self.wake()  # for the watch, which may have to name it one day
                if self.graces_over is not None:
                    scope.cancel(reason=self.graces_over)
                self.raised = await _error_of(coroutine)
                await self.begin_after_ctrl_c(coroutine, index, "the interrupt of ")
                error, self.raised = self.raised, None
        except BaseException as exc:  # noqa: BLE001 - trio's, about a scope that was left open
            complaint = exc
        self.awaited = None
        if complaint is not None:
            self.interrupt_failed(index, complaint)
        if error is not None:
            self.interrupt_failed(index, error)
        del complaint, error

    # ---- the result ----

    def keep_error(
        self, who: str, error: BaseException, *, settles: bool, begins: bool = False
    ) -> None:
        """Lose no error: it becomes the result, or is logged and noted as a later one.

        `settles`: it may become the result. `begins`: it is what began the stop, and so ends no
        grace if it is bare.
        """
        bare = bare_in(error)
        if bare is not None and self.bare is None:
            self.bare, self.bare_raiser = bare, who
            settles = True  # an ExceptionGroup it came in becomes its context, if nothing else does
        if error is self.bare:
            pass  # it is the result already
        elif settles and self.error is None:
            self.error, self.error_raiser = error, who
        else:
            self.keep_later(who, error)
        if bare is not None and self.stopped and not begins and self.graces_over is None:
            end_all_graces(self, f"{class_name(bare)} during the stop")
        del bare, error

    def keep_later(self, who: str, error: BaseException) -> None:
        hint = asyncio_hint(error)
        self.later.append(f"{who} raised {describe(error)}{hint}")
        when = "after the stop had begun" if self.stopped else "besides the one that ends the group"
        self.log(f"%s raised an error {when}{hint}", who, error=error)
        del error

    def log(self, message: str, *texts: str, error: BaseException | None = None) -> None:
        level, exc_info = logging.WARNING, None
        if error is not None:  # not `exc_info=error`: an error may be false
            level, exc_info = logging.ERROR, (type(error), error, traceback_of(error))
        failure: BaseException | None = None
        try:
            _log.log(level, message, *texts, exc_info=exc_info)
        except BaseException as exc:  # noqa: BLE001 - a broken handler must not break the group
            failure = exc
        if failure is not None and bare_in(failure) is not None:  # one that ends the program
            if self.bare is None:
                self.keep_error(_LOG_HANDLER, failure, settles=False)
            else:
                self.later.append(f"{_LOG_HANDLER} raised {describe(failure)}")
        del failure, exc_info, error

    def conclude(self, error: BaseException | None) -> None:
        """Write into the record, and onto the error, how the run has ended."""
        self.record.how = "returned"
        if error is None:
            return
        if without_cancelled(error) is None:
            self.record.how = "cancelled"
            return
        self.record.how = "raised"
        self.record.error = error
        raiser = self.error_raiser
        if error is self.bare:
            raiser = self.bare_raiser
            if self.error is not None and not displace(self.error, error):
                self.keep_later(self.error_raiser, self.error)
        if raiser == _CALLER and not self.later:
            return  # it came to the caller, who needs no note
        later = self.later[:_MOST_NOTED]
        if len(self.later) > _MOST_NOTED:
            later.append(f"and {len(self.later) - _MOST_NOTED} more, all of them logged")
        with contextlib.suppress(BaseException):  # an error that refuses notes is raised without
            raised = f"raised by {raiser} of a RunGroup{asyncio_hint(error)}"
            note = "; later: ".join([raised, *later])
            if note not in getattr(error, "__notes__", ()):
                error.add_note(note)

    def let_go(self) -> None:
        """Hold no error any more, and no value, which may lead to one."""
        # First: what is dropped below may be somebody's, whose __del__ looks at all that are here.
        # Where the stack is too full to open a nursery, there is none.
        runs_under_way.pop(getattr(self, "nursery", None), None)
        self.returned = self.raised = self.cause = None
        self.bare = self.error = self.stray = self.value = None
        for name in [*self.started_values]:  # a second started() is still refused by the name
            self.started_values[name] = None
        del self.record, self.facts, self.actors
        self.task_status = trio.TASK_STATUS_IGNORED  # which has the values, too
        self.watch = None  # which refers to this

    # ---- seldom: a start that is reported, or that Ctrl-C held up ----

    def forward_started(self) -> None:
        """Tell `nursery.start` that all have begun, and reported it where they do.

        If this group is such an actor itself, the group around it is told instead, and so on, as
        long as each was the last. A loop: hundreds may be inside each other.
        """
        run = self
        error: BaseException | None = None
        try:
            while isinstance(run.task_status, _TaskStatus):
                around = run.task_status
                if not around.report(run.values_to_report()):
                    return
                run = around.run
            run.task_status.started(run.values_to_report())
        except BaseException as exc:  # noqa: BLE001 - kept by take_request()
            error = exc
        run.take_request(error, begins=not run.stopped, who="task_status.started()")
        del error

    def reporters(self) -> list[int]:
        """Find the actors of this run that report their start."""
        return [index for index in range(self.number) if index in self.actors.reporting]

    def values_to_report(self) -> dict[str, object]:
        names = self.actors.names
        return {names[index]: self.started_values[names[index]] for index in self.reporters()}

    async def begin_after_ctrl_c(self, coroutine: _Coroutine, index: int, what: str = "") -> None:
        """Begin a coroutine that Ctrl-C kept from its first line, as the next Ctrl-C may again.

        It runs in a cancelled scope, so only to its first checkpoint, or for as long as it shields
        itself; the Ctrl-C does not wait for that. What it raises takes the place of `raised`, which
        stays as it is if the coroutine had begun.
        """
        error, self.raised = self.raised, None  # which other actors use meanwhile
        while (
            is_a(error, KeyboardInterrupt)
            and inspect.getcoroutinestate(coroutine) == inspect.CORO_CREATED
        ):
            who = what + self.who(index)
            self.take_request(error, begins=not self.stopped, who=who)
            error = complaint = None
            try:
                with trio.CancelScope() as scope:
                    scope.cancel(reason="Ctrl-C")
                    error = await _error_of(coroutine)
            except BaseException as exc:  # noqa: BLE001 - trio's, about a scope that was left open
                complaint = exc
            if error is None:
                error = complaint
            elif complaint is not None:
                self.keep_error(who, complaint, settles=False)
            del complaint
        self.raised = error
        del error

    # ---- what is known of an actor ----

    def now(self) -> float:
        """Tell how many seconds ago the run began."""
        return self.clock.current_time() - self.start

    def name(self, index: int) -> str:
        """Name an actor, for people."""
        return repr(shorten(self.actors.names[index]))

    def who(self, index: int) -> str:
        return f"actor {self.name(index)}"

    def has_exited(self, index: int) -> bool:
        return self.facts.exited[index] < math.inf

    def is_a_group(self, index: int) -> bool:
        return _is_run_of_a_group(self.actors.executes[index])

    def grace_ends(self, index: int) -> float:
        """Tell when an actor's own grace ends; infinity before its interrupt is called."""
        return self.start + self.facts.interrupted[index] + self.actors.graces[index]


@final
class _TaskStatus(trio.TaskStatus[object]):
    """What an actor that reports its start is given as `task_status`."""

    def __init__(self, run: Run, name: str) -> None:
        self.run = run
        self.name = name

    @enable_ki_protection
    def started(self, value: object = None) -> None:
        if self.report(value):
            self.run.forward_started()

    def report(self, value: object) -> bool:
        """Write down that an actor has started; tell whether it was the last one."""
        run = self.run
        if self.name in run.started_values:
            raise RuntimeError("called 'started' twice on the same task status")
        run.started_values[self.name] = value
        if run.stopped:
            return False
        run.not_reported -= 1
        return run.not_begun == 0 == run.not_reported


@disable_ki_protection
async def unprotected(coroutine: _Coroutine) -> object:
    return await coroutine


async def _error_of(coroutine: _Coroutine) -> BaseException | None:
    try:
        await unprotected(coroutine)
    except BaseException as exc:  # noqa: BLE001 - handed back
        return exc
    return None


def _error_of_cancelling(scope: trio.CancelScope, reason: str) -> BaseException | None:
    """Cancel a scope; hand back what an abort function in it raises."""
    try:
        scope.cancel(reason=reason)
    except BaseException as exc:  # noqa: BLE001 - handed back
        return exc
    return None


async def _pending_request() -> BaseException | None:
    """Return what a checkpoint would raise now, `Cancelled` or Ctrl-C; `None` if nothing."""
    try:
        # Not trio.current_effective_deadline(): that asks all the scopes around us, which for
        # a thousand nested groups takes twice as long as all the rest.
        await trio.lowlevel.checkpoint_if_cancelled()
    except AssertionError:
        # trio's: a shield has taken the cancellation back within that tick, or scopes around us
        # were left in disorder; then only a sleep tells.
        pass
    except BaseException as exc:  # noqa: BLE001 - handed back
        return exc
    else:
        return None
    return await _error_of(trio.sleep_forever()) if _is_cancelled() else None  # noqa: ASYNC105


def _is_cancelled() -> bool:
    """Tell whether the current task is cancelled by a scope around it."""
    return _effective_deadline() == -math.inf


def _effective_deadline() -> float:
    try:
        return trio.current_effective_deadline()
    except RecursionError:
        # It asks the scopes around us recursively, and hundreds of nested groups are too
        # many; but it stops at the first one that is cancelled.
        return math.inf

"""The check of notebook 04: `check(first_error)`."""

from __future__ import annotations

import contextlib
import inspect
import math
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Any, TypeAlias
from unittest import mock

import attrs
import trio
from helpers import (
    CATCHES_CANCELLED,
    STUB_IS_LEFT,
    Attempt,
    a_task_swallows,
    attempt,
    leaves_of,
    shortly,
    show,
    until_cancelled,
    verdict,
    why_it_failed,
)

AsyncFn: TypeAlias = Callable[[], Awaitable[object]]
FirstError: TypeAlias = Callable[..., Awaitable[object]]

_FIRST_HINT = (
    "replace `raise NotImplementedError`: begin with a nursery and a list; each task runs one "
    f"function, and catches what it raises. {STUB_IS_LEFT}"
)

_THE_VERY_OBJECT = "Raise the very object that the job raised."

_ONE_DEEPER = (
    "One thing more. Yours takes the error out of a group, and relies on the order in it. In a "
    "single nursery that is the order in time, so it is right here. One nursery deeper, as in the "
    "cell of `outer` above, it would be wrong. To be independent of that order, catch each error "
    "in its own task, where it happens."
)


class JobError(Exception):
    """Of a type that nobody catches by its name."""


_WORDS = "the same for everybody"
_SIGNATURE = re.compile("plain function|positional argument")


class _Job:
    """Fails at a time, or ends; told to stop, it may tidy up, and fail at that too."""

    def __init__(
        self, seconds: float, *, fails: bool = True, tidies_up: float = 0, then_fails: bool = False
    ) -> None:
        self.error = JobError(_WORDS)
        self.seconds, self.fails = seconds, fails
        self.tidies_up, self.then_fails = tidies_up, then_fails
        self.ended: float | None = None
        self.calls = 0
        self.__name__ = "job"  # for those who print it

    def __call__(self) -> Awaitable[None]:
        self.calls += 1
        return self._run()

    async def _run(self) -> None:
        try:
            await trio.sleep(self.seconds)
        except trio.Cancelled:
            with trio.CancelScope(shield=True):
                await trio.sleep(self.tidies_up)
            if self.then_fails:
                raise self.error from None
            raise
        finally:
            self.ended = trio.current_time()
        if self.fails:
            raise self.error


@attrs.frozen
class _Scene:
    """What is run, whose error is to come out of it, and when."""

    what: str
    jobs: list[_Job]
    first: _Job | None
    at: float
    limit: float = math.inf  # of a scope around it

    async def play(self, first_error: FirstError) -> object:
        with trio.move_on_after(self.limit) as scope:
            await first_error(*self.jobs)
        return scope.cancelled_caught

    def _is_of_a_job(self, error: BaseException) -> bool:
        return type(error) is JobError and str(error) == _WORDS

    def hint(self, outcome: Attempt, of_earlier_calls: list[Exception]) -> str | None:
        """Say what is wrong, or None."""
        raised = outcome.error
        if any(job.calls > 1 for job in self.jobs):
            return (
                "one function was called for all: the children begin when the loop is over, and "
                "`f` is the last one then. Pass it as an argument of start_soon."
            )
        if outcome.hangs or (isinstance(raised, TypeError) and _SIGNATURE.search(str(raised))):
            return _hint_for_no_answer(outcome)
        own = [leaf for leaf in leaves_of(raised) if not self._is_of_a_job(leaf)] if raised else []
        if own and (_WORDS in str(own[0]) or isinstance(own[0].__cause__, JobError)):
            return f"{why_it_failed(own[0], raised)} {_THE_VERY_OBJECT}"
        if own and "'_Job' object is not iterable" in str(own[0]):
            return _hint_for_no_answer(outcome)
        if own and isinstance(own[0], IndexError) and self.first is None:
            return (
                f"{shortly(own[0])}: nobody has failed, so there is no error: `if errors:` first."
            )
        if own:
            return why_it_failed(own[0], raised)
        if isinstance(raised, BaseExceptionGroup):
            return _why_a_group(raised)
        if raised is not (None if self.first is None else self.first.error):
            if raised is None and not any(job.calls for job in self.jobs):
                return "no job was called. Start a task for each in the nursery."
            if raised is None and all(job.ended is None for job in self.jobs):
                return "no job has run: it was called, but nobody awaited it. Write `await f()`."
            if raised is None and outcome.ended < self.at and outcome.value is None:
                return (
                    f"nothing was raised, and it came back at {outcome.ended:g} s: all were "
                    "cancelled before anybody had failed. The task that has failed cancels."
                )
            if raised is None:
                return _why_no_error(outcome)
            whose = [index for index, job in enumerate(self.jobs) if job.error is raised]
            if whose and self.first is not None:
                return f"that is the error of job {whose[0]}. Which one came first in time?"
            if any(raised is error for error in of_earlier_calls):
                return (
                    "that is the error of an earlier call. Keep nothing from one call to the "
                    "next: make the list inside of `first_error`."
                )
            return f"that is a copy. {_THE_VERY_OBJECT}"
        on_time = math.isclose(outcome.ended, self.at)
        if not on_time and self.limit < math.inf:
            return (
                f"cancelled at {self.limit:g} s, it came back at {outcome.ended:g} s. Is there a "
                "shield, or does somebody catch `Cancelled`?"
            )
        if not on_time:
            how = ""
            if outcome.ended == max(job.seconds for job in self.jobs):  # nobody was cancelled
                how = " Is it `cancel()`, with brackets, of the nursery in which all run? Or is "
                how += "there a shield?"
            return (
                f"it came back at {outcome.ended:g} s instead of {self.at:g} s. All run at the "
                f"same time; the first error, and nothing else, cancels the nursery's scope.{how}"
            )
        if self.limit < math.inf and not outcome.value:
            return (
                "it was cancelled, and came back as if it had not been: `Cancelled` was swallowed. "
                "Catch `Exception`, and let everything else through."
            )
        if any(job.ended is None for job in self.jobs):
            return "not every job was run to its end."
        return None


def _why_a_group(raised: BaseExceptionGroup) -> str:
    if not raised.message:
        return (
            "a group came out, one that you have made, or that was made of what an `except*` block "
            "raised. Raise the first error, not a group, and after that block, not in it."
        )
    if "nursery" not in raised.message:
        return "a group came out, one that you have made: raise the first error, not a group."
    return (
        "a group came out: a `JobError` has reached the nursery. Catch each one in its own task, "
        "by `except Exception`, and raise the first after the nursery."
    )


def _why_no_error(outcome: Attempt) -> str:
    if isinstance(outcome.value, Exception):
        return "it returned the error: `raise` it."
    return (
        "nothing was raised: the error is lost. Is your `raise` after the nursery's block? In the "
        "block it comes before any task has run. And a plain assignment in a task makes a local "
        "name: use `nonlocal`, or append to a list. What a task returns goes nowhere."
    )


def _hint_for_no_answer(outcome: Attempt) -> str:
    if outcome.spins:
        return f"{outcome}. You need no loop that looks again and again."
    if outcome.hangs:
        return f"{outcome}. The end of the nursery waits for all; you need no other wait."
    return f"{outcome}. The first line is `async def first_error(*async_fns)`, with the star."


def check(first_error: FirstError) -> None:
    """Play some scenes; print which are right, and a hint for the first that is not."""
    # Odd times: where somebody looks again and again, nothing is to depend on who comes first.
    quick, patient = partial(_Job, 1.03), partial(_Job, 9.07, fails=False)
    one, two, three, four = quick(), quick(), quick(), quick()
    scenes = [
        _Scene("one fails, and its error comes out as itself", [one], one, 1.03),
        _Scene(
            "nobody fails: it is back when the last is done",
            [_Job(1.57, fails=False), patient()],
            None,
            9.07,
        ),
        _Scene("one fails: the other is cancelled at once", [patient(), two], two, 1.03),
        _Scene("the first in time, not in the list", [_Job(2.61), three], three, 1.03),
        _Scene(
            "a later error, from tidying up, does not replace the first",
            [_Job(9.07, tidies_up=0.53, then_fails=True), four],
            four,
            1.56,
        ),
        _Scene("cancelled from outside at 3 s, it obeys", [patient()], None, 3, limit=3),
        _Scene("without functions it comes back at once", [], None, 0),
    ]
    demands: list[tuple[object, str, str]] = []
    errors: list[Exception] = []
    for scene in scenes:
        if scene.limit < math.inf:
            outcome = attempt(scene.play, first_error)
        else:
            outcome = attempt(first_error, *scene.jobs)
        hint = scene.hint(outcome, errors)
        errors += [job.error for job in scene.jobs]
        if outcome.not_written:
            verdict((False, "first_error is written", _FIRST_HINT))
            return
        demands.append((hint is None, scene.what, hint or ""))
        if outcome.spins:  # and would in the others, too, which takes its time
            break
    verdict(*demands)
    if all(met for met, _, _ in demands) and _takes_it_out_of_a_group(first_error):
        show(_ONE_DEEPER)
    if all(met for met, _, _ in demands) and a_task_swallows(first_error, until_cancelled):
        show(CATCHES_CANCELLED)


def _takes_it_out_of_a_group(first_error: FirstError) -> bool:
    """Tell whether it goes by the order in a group: turn that round, and look."""
    open_nursery = trio.open_nursery

    @contextlib.asynccontextmanager
    async def turned_round(**options: Any) -> AsyncIterator[trio.Nursery]:
        try:
            async with open_nursery(**options) as nursery:
                yield nursery
        except BaseExceptionGroup as group:
            raise group.derive(group.exceptions[::-1]) from None

    first, later = _Job(1.0), _Job(9.0, tidies_up=0.5, then_fails=True)
    with mock.patch.object(trio, "open_nursery", turned_round):
        return attempt(first_error, later, first).error is not first.error


# ---- typical mistakes: the tests see to it that each one is found ----


async def _calls_it_and_does_not_await(*async_fns: AsyncFn) -> None:
    calls: list[object] = []

    async def run_one(async_fn: AsyncFn) -> None:
        calls.append(async_fn())

    async with trio.open_nursery() as nursery:
        for async_fn in async_fns:
            nursery.start_soon(run_one, async_fn)
    for call in calls:
        if inspect.iscoroutine(call):
            call.close()  # without a warning


async def _lets_the_group_through(*async_fns: AsyncFn) -> None:
    async with trio.open_nursery() as nursery:
        for async_fn in async_fns:
            nursery.start_soon(async_fn)


async def _raises_the_last_of_the_group(*async_fns: AsyncFn) -> None:
    found: BaseException | None = None
    try:
        await _lets_the_group_through(*async_fns)
    except* Exception as group:
        found = group.exceptions[-1]
    if found is not None:
        raise found


async def _swallows_it(*async_fns: AsyncFn) -> BaseException | None:
    found: BaseException | None = None
    try:
        await _lets_the_group_through(*async_fns)
    except* Exception as group:
        found = group.exceptions[0]
    return found


def _collecting(
    *, cancels: bool = True, chosen: int | None = 0, copies: bool = False
) -> FirstError:
    async def first_error(*async_fns: AsyncFn) -> None:
        in_time: list[Exception] = []
        in_order: dict[int, Exception] = {}

        async def run_one(index: int, async_fn: AsyncFn) -> None:
            try:
                await async_fn()
            except Exception as error:  # raised below
                in_time.append(error)
                in_order[index] = error
                if cancels:
                    nursery.cancel_scope.cancel(reason="another one has failed")

        async with trio.open_nursery() as nursery:
            for index, async_fn in enumerate(async_fns):
                nursery.start_soon(run_one, index, async_fn)
        if in_time:
            error = in_order[min(in_order)] if chosen is None else in_time[chosen]
            raise RuntimeError(str(error)) if copies else error

    return first_error


async def _in_a_shield(*async_fns: AsyncFn) -> None:
    with trio.CancelScope(shield=True):
        await _collecting()(*async_fns)


async def _swallows_cancelled(*async_fns: AsyncFn) -> None:
    errors: list[BaseException] = []

    async def run_one(async_fn: AsyncFn) -> None:
        try:
            await async_fn()
        except BaseException as error:
            errors.append(error)
            nursery.cancel_scope.cancel(reason="another one has failed")

    async with trio.open_nursery() as nursery:
        for async_fn in async_fns:
            nursery.start_soon(run_one, async_fn)
    if errors and isinstance(errors[0], Exception):
        raise errors[0]


async def _one_after_the_other(*async_fns: AsyncFn) -> None:
    for async_fn in async_fns:
        await async_fn()


async def _hangs(*_: AsyncFn) -> None:
    await trio.sleep_forever()


async def _hangs_behind_a_shield(*_: AsyncFn) -> None:
    with trio.CancelScope(shield=True):
        await trio.sleep_forever()


async def _hangs_whatever_happens(*_: AsyncFn) -> None:
    while True:
        with contextlib.suppress(BaseException):
            await trio.sleep_forever()


async def _goes_round_in_circles(*async_fns: AsyncFn) -> None:
    errors: list[BaseException] = []

    async def run_one(async_fn: AsyncFn) -> None:
        try:
            await async_fn()
        except BaseException as error:
            errors.append(error)

    async with trio.open_nursery() as nursery:
        for async_fn in async_fns:
            nursery.start_soon(run_one, async_fn)
        with trio.CancelScope(shield=True):
            while not errors:
                await trio.lowlevel.checkpoint()
    raise errors[0]


async def _not_yet_written(*_: AsyncFn) -> None:
    raise NotImplementedError


def _no_async_def(*_: AsyncFn) -> None:
    return None


MISTAKES: list[Callable[..., object]] = [
    _calls_it_and_does_not_await,
    _lets_the_group_through,
    _raises_the_last_of_the_group,
    _swallows_it,
    _collecting(cancels=False),
    _collecting(chosen=-1),
    _collecting(chosen=None),  # the first of the list
    _collecting(copies=True),
    _in_a_shield,
    _swallows_cancelled,
    _one_after_the_other,
    _hangs,
    _hangs_behind_a_shield,
    _hangs_whatever_happens,
    _goes_round_in_circles,
    _not_yet_written,
    _no_async_def,
]


async def _first_of_the_group(*async_fns: AsyncFn) -> None:
    try:
        await _lets_the_group_through(*async_fns)
    except ExceptionGroup as group:
        raise group.exceptions[0] from None


async def _first_of_the_group_with_a_star(*async_fns: AsyncFn) -> None:
    found: Exception | None = None
    try:
        await _lets_the_group_through(*async_fns)
    except* Exception as group:
        found = group.exceptions[0]
    if found is not None:  # what the block itself raises is wrapped by 3.11.2
        raise found


async def _keeps_it_and_lets_it_through(*async_fns: AsyncFn) -> None:
    errors: list[Exception] = []

    async def run_one(async_fn: AsyncFn) -> None:
        try:
            await async_fn()
        except Exception as error:
            errors.append(error)
            raise  # so that the nursery cancels the others

    try:
        async with trio.open_nursery() as nursery:
            for async_fn in async_fns:
                nursery.start_soon(run_one, async_fn)
    except* Exception:
        del errors[1:]
    if errors:
        raise errors[0]


async def _with_a_channel(*async_fns: AsyncFn) -> None:
    sending, receiving = trio.open_memory_channel[Exception](math.inf)

    async def run_one(async_fn: AsyncFn) -> None:
        try:
            await async_fn()
        except Exception as error:
            sending.send_nowait(error)
            nursery.cancel_scope.cancel(reason="another one has failed")

    async with trio.open_nursery() as nursery:
        for async_fn in async_fns:
            nursery.start_soon(run_one, async_fn)
    with contextlib.suppress(trio.WouldBlock):
        raise receiving.receive_nowait()


RIGHT_HERE_ONLY: list[FirstError] = [_first_of_the_group, _first_of_the_group_with_a_star]
ALSO_RIGHT: list[FirstError] = [
    _keeps_it_and_lets_it_through,
    _with_a_channel,
    *RIGHT_HERE_ONLY,
]

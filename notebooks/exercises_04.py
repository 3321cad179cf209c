"""The check of notebook 04: `check(first_error)`."""

import inspect
import textwrap
from collections.abc import Awaitable, Callable
from typing import TypeAlias

import trio
from helpers import run

AsyncFn: TypeAlias = Callable[[], Awaitable[object]]
FirstError: TypeAlias = Callable[..., Awaitable[object]]


class _Job:
    """Fails at a time, or ends; told to stop, it may tidy up, and fail at that too."""

    def __init__(
        self, seconds: float, *, fails: bool = True, tidies_up: float = 0, then_fails: bool = False
    ) -> None:
        self.error = RuntimeError("the same words for everybody")
        self.seconds, self.fails = seconds, fails
        self.tidies_up, self.then_fails = tidies_up, then_fails
        self.ended: float | None = None

    async def __call__(self) -> None:
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


def _difference(
    first_error: FirstError, jobs: list[_Job], expected: _Job | None, at: float
) -> str | None:
    """Play one scene; say what is wrong, or None."""
    back: list[float] = []

    async def scene() -> None:
        try:
            awaitable = first_error(*jobs)
            if not inspect.isawaitable(awaitable):
                raise TypeError("write `async def`: a plain function cannot wait")
            await awaitable
        finally:
            back.append(trio.current_time())

    raised: BaseException | None = None
    try:
        run(scene)
    except Exception as error:  # told to the learner
        raised = error
    if isinstance(raised, trio.TooSlowError):
        return "it never comes back."
    if isinstance(raised, BaseExceptionGroup):
        return (
            "a group came out: an error has reached the nursery. Catch each one in its own "
            "task, or take it out of the group, and raise it after the nursery."
        )
    wanted = None if expected is None else expected.error
    if raised is not wanted:
        if raised is None:
            return "nothing was raised: the error is lost."
        whose = [index for index, job in enumerate(jobs) if job.error is raised]
        if whose and wanted is not None:
            return f"that is the error of job {whose[0]}. Which one came first in time?"
        if isinstance(raised, RuntimeError) and str(raised) == str(jobs[0].error):
            return "that is a copy. Raise the very object that the job raised."
        return f"{raised!r} came out."
    if back != [at]:
        return (
            f"it came back at {back[0]:g} s instead of {at:g} s. The first error ends the others: "
            "nursery.cancel_scope.cancel(reason=...), and all of them run at once."
        )
    if any(job.ended is None for job in jobs):
        return "not every job was run to its end."
    return None


def check(first_error: FirstError) -> None:
    """Play some scenes; print which are right, and a hint for the first that is not."""
    quick, slow = _Job(1.0), _Job(2.5)
    patient = _Job(9.0, fails=False)
    scenes: list[tuple[str, list[_Job], _Job | None, float]] = [
        ("one fails, and its error comes out as itself", [quick], quick, 1.0),
        ("nobody fails: back when the last is done", [_Job(1.5, fails=False), patient], None, 9.0),
        ("one fails: the other is cancelled at once", [patient, quick], quick, 1.0),
        ("the first in time, not in the list", [slow, quick], quick, 1.0),
        (
            "a later error, from tidying up, does not replace the first",
            [_Job(9.0, tidies_up=0.5, then_fails=True), quick],
            quick,
            1.5,
        ),
    ]
    for what, jobs, expected, at in scenes:
        for job in jobs:
            job.ended = None
        hint = _difference(first_error, jobs, expected, at)
        if hint is None:
            print("✓", what)
            continue
        if "NotImplementedError" in hint:
            hint = "it is not written yet. Begin with a nursery and a list; each task runs one"
            hint += " function, and catches what it raises."
        print("✗", what)
        print(textwrap.fill(f"hint: {hint}", 88, initial_indent="  ", subsequent_indent="  "))
        return


# ---- typical mistakes: the tests see to it that each one is found ----


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


async def _one_after_the_other(*async_fns: AsyncFn) -> None:
    for async_fn in async_fns:
        await async_fn()


async def _never_comes_back(*_: AsyncFn) -> None:
    await trio.sleep_forever()


async def _not_yet_written(*_: AsyncFn) -> None:
    raise NotImplementedError


def _no_async_def(*_: AsyncFn) -> None:
    return None


MISTAKES: list[Callable[..., object]] = [
    _lets_the_group_through,
    _raises_the_last_of_the_group,
    _swallows_it,
    _collecting(cancels=False),
    _collecting(chosen=-1),
    _collecting(chosen=None),  # the first of the list
    _collecting(copies=True),
    _one_after_the_other,
    _never_comes_back,
    _not_yet_written,
    _no_async_def,
]

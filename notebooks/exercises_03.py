"""The check of notebook 03, and the mistakes that it must find."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Awaitable, Callable
from typing import Any

import attrs
import trio
from helpers import STUB_IS_LEFT, Attempt, attempt, called, leaves_of, verdict, why_it_failed

Function = Callable[[], Awaitable[Any]]
WithCleanUp = Callable[[Function, Function], Awaitable[Any]]

# Behind a shield, nothing that is called here could end a clean-up that really hangs.
_HANGS = 1000


_NO_OTHER_WAIT = "Nothing but the work and the clean-up is waited for."
_A_COPY = " Is that a copy? Let the original error through, or `raise`."


class WorkError(Exception):
    """Of a type that nobody catches by its name."""


@attrs.define
class _Scene:
    """One call of the learner's function, and what was seen of it."""

    clean_up_takes: float
    work_takes: float = 1.03  # an odd time: who looks now and then is late, and never by chance not
    error: Exception | None = None
    limit: float = math.inf  # of the scope around the call
    in_a_nursery: bool = False  # where the work is done
    clean_up_error: Exception | None = None

    outcome: Attempt = attrs.field(init=False)
    began: float | None = None  # the clean-up
    done: float | None = None
    calls: int = 0
    went_on: bool = False  # after the call, in the cancelled scope
    caught: bool = False  # the scope got its cancellation back

    async def work(self) -> str:
        if self.in_a_nursery:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.sleep, self.work_takes)
        else:
            await trio.sleep(self.work_takes)
        if self.error is not None:
            raise self.error
        return "result"

    def clean_up(self) -> Awaitable[None]:
        self.calls += 1
        return self._clean_up()

    async def _clean_up(self) -> None:
        self.began = trio.current_time()
        await trio.sleep(self.clean_up_takes)
        self.done = trio.current_time()
        if self.clean_up_error is not None:
            raise self.clean_up_error

    async def play(self, with_clean_up: WithCleanUp) -> Any:
        with trio.move_on_after(self.limit) as scope:
            value = await called(with_clean_up, self.work, self.clean_up)
            self.went_on = True
            if inspect.iscoroutine(value):
                value.close()
            return value
        self.caught = scope.cancelled_caught
        return "cancelled"


def check(with_clean_up: WithCleanUp) -> None:
    """Call it in all the situations that the text names."""
    good = _Scene(clean_up_takes=0.57)
    error = WorkError("no network")
    bad = _Scene(clean_up_takes=0.57, error=error)
    cancelled = _Scene(clean_up_takes=1.57, work_takes=9, limit=1)
    deep = _Scene(clean_up_takes=0.57, work_takes=9, limit=1, in_a_nursery=True)
    fails = _Scene(clean_up_takes=0.57, clean_up_error=WorkError("no permission"))
    stuck = _Scene(clean_up_takes=_HANGS, work_takes=9, limit=1)
    stuck_after_good = _Scene(clean_up_takes=_HANGS)
    stuck_after_bad = _Scene(clean_up_takes=_HANGS, error=error)
    cut = _Scene(clean_up_takes=1.57, limit=1.5)
    cut_after_bad = _Scene(clean_up_takes=1.57, limit=1.5, error=error)
    stucks, cuts = (stuck, stuck_after_good, stuck_after_bad), (cut, cut_after_bad)
    for scene in (good, bad, cancelled, deep, fails, *stucks, *cuts):
        scene.outcome = attempt(functools.partial(scene.play, with_clean_up))
        if scene.outcome.spins:  # and would in the others, too, which takes its time
            verdict((False, "it comes back", f"{scene.outcome}. {_NO_OTHER_WAIT}"))
            return
    if good.outcome.not_written:
        hint = "replace `raise NotImplementedError`: try the work, and clean up in `finally`. "
        hint += STUB_IS_LEFT
        verdict((False, "with_clean_up is written", hint))
        return
    verdict(
        (
            good.outcome.value == "result",
            "the result of the work comes out",
            _why_no_result(good, bad),
        ),
        (
            _is(good.done, 1.6) and good.calls == 1,
            "the clean-up is done after work that returned",
            f"the work was done at 1.03 s, the clean-up takes 0.57 s, and it {_did(good)}.",
        ),
        (
            bad.outcome.error is error and _is(bad.done, 1.6),
            "the clean-up is done after work that failed, and the error comes out",
            f"the work raised {error!r}; {bad.outcome}, and the clean-up {_did(bad)}."
            + _why_no_error(bad, error),
        ),
        (
            cancelled.began == 1 and stuck.began == 1,
            "the work can be cancelled: the clean-up begins at that moment",
            f"cancelled at 1 s; the clean-up {_did(cancelled)}. "
            + (
                "`Cancelled` is no `Exception`: it passes `except Exception` and `else`, while "
                "`finally` sees everything. And an `await` before the shield raises at once."
                if cancelled.began is None
                else "Call it in `finally` only, which comes in any case."
                if cancelled.calls > 1
                else "Is the work in the shield, too?"
            ),
        ),
        (
            deep.began == 1 and deep.caught,
            "also where the work has a nursery inside",
            (
                f"cancelled at 1 s; the clean-up {_did(deep)}. A cancelled nursery raises a group "
                "of `Cancelled`, which `except trio.Cancelled` does not catch. `finally` sees all."
            ),
        ),
        (
            _is(cancelled.done, 2.57),
            "a clean-up of 1.57 s is finished although everything is being cancelled",
            f"it {_did(cancelled)}. "
            + (
                "It was given up at 2 s. A deadline is a moment on the clock, such as "
                "trio.current_time() + 2; move_on_after(2) counts from where it is entered."
                if cancelled.outcome.ended == 2
                else "In a cancelled scope every checkpoint raises; what stops that, for all that "
                "is awaited inside its `with`, and not for a task that is only started there?"
            ),
        ),
        (
            all(_is(scene.done, 2.6) for scene in cuts),
            "also when the cancellation comes only while it is cleaning up",
            (
                f"cancelled at 1.5 s; it {_did(cut_after_bad if _is(cut.done, 2.6) else cut)}. "
                "Shield it."
            ),
        ),
        (
            cut.outcome.value == "result" and cut_after_bad.outcome.error is error,
            "even then, what had come of the work comes out",
            (
                "the work was done at 1.03 s, and while it was being cleaned up the cancellation "
                "came. Only that came out; the result, or the error, was lost. Is there an `await` "
                "behind the clean-up? It raises the cancellation."
            ),
        ),
        (
            _is(stuck.outcome.ended, 3),
            "a clean-up that hangs is given up after 2 s while everything is being cancelled",
            f"cancelled at 1 s, so it should be over at 3 s; {_ended(stuck)}.",
        ),
        (
            _is(stuck_after_good.outcome.ended, 3.03)
            and stuck_after_good.outcome.value == "result",
            "a clean-up that hangs is given up after 2 s, and the result still comes out",
            f"the work was done at 1.03 s; {_ended(stuck_after_good)}.{_quietly(stuck_after_good)}",
        ),
        (
            _is(stuck_after_bad.outcome.ended, 3.03) and stuck_after_bad.outcome.error is error,
            "and so does the error of work that failed",
            f"the work failed at 1.03 s; {_ended(stuck_after_bad)}.{_quietly(stuck_after_bad)}",
        ),
        (
            all(scene.caught and not scene.went_on for scene in (cancelled, stuck)),
            "the cancellation comes out again",
            "it was swallowed, or something else came out. Let `Cancelled` through, or `raise`.",
        ),
        (
            fails.calls == 1,
            "a clean-up that fails is not done again",
            f"it failed, and {_did(fails)}. Call it in `finally` only, not in the `try`.",
        ),
        (
            _is(max(good.outcome.ended, bad.outcome.ended), 1.6),
            "a clean-up that is done keeps nobody waiting",
            (
                "it was done at 1.6 s, and with_clean_up came back at "
                f"{max(good.outcome.ended, bad.outcome.ended):g} s. Two seconds are the most that "
                "it may take."
            ),
        ),
    )


def _is(time: float | None, at: float) -> bool:
    return time is not None and math.isclose(time, at)


def _quietly(scene: _Scene) -> str:
    if isinstance(scene.outcome.error, trio.TooSlowError) and not scene.outcome.hangs:
        return " `fail_after` raises when the time is over; `move_on_after` gives up quietly."
    if scene.outcome.error is None and scene.outcome.value is None:
        return (
            " Is there more in the block of that limit than the clean-up? The block ends as a "
            "whole, and what was on its way out is lost."
        )
    return ""


def _why_no_error(scene: _Scene, error: WorkError) -> str:
    outcome = scene.outcome
    if scene.calls == 0 and outcome.error is error:
        return " `finally` comes after an error, too."
    if outcome.error is error or outcome.hangs:
        return ""
    if "single 'with' block" in str(outcome.error):
        return " A scope can be entered once: make a new one in each call."
    if repr(outcome.error) == repr(error):
        return _A_COPY
    if outcome.error is not None and error in leaves_of(outcome.error):
        return " A nursery, or `except*`, puts an error into a group: do without."
    return (
        " Was the error caught? Let it through, or `raise`. And a `return` in `finally` replaces "
        "whatever is on its way out."
    )


def _why_no_result(good: _Scene, bad: _Scene) -> str:
    outcome = good.outcome
    if inspect.iscoroutine(outcome.value):
        return "what came out is a call that nobody has awaited: write `await work()`."
    if outcome.error is not None and not outcome.hangs:
        return why_it_failed(outcome.error)
    if outcome.hangs:
        return f"{outcome}. {_NO_OTHER_WAIT}"
    if outcome.value is None and bad.outcome.error is None:
        return (
            "None came out, and an error of the work does not come out either. Is `work` awaited, "
            "and its error not caught? And a `return` in `finally` replaces whatever is on its way "
            "out: result, error, cancellation."
        )
    return f"{outcome}. Is there a `return`?"


def _ended(scene: _Scene) -> str:
    if scene.outcome.ended >= _HANGS:
        return (
            f"it was over only at {scene.outcome.ended:g} s. Who limits the shield? A limit "
            "outside of it is kept out, too"
        )
    if scene.outcome.value == "cancelled":  # says the scope of the check
        return f"it was over at {scene.outcome.ended:g} s"
    return str(scene.outcome)


def _did(scene: _Scene) -> str:
    if scene.calls > 1:
        return f"was called {scene.calls} times"
    if scene.began is None:
        return "was called, but nobody awaited it" if scene.calls else "was never called"
    end = "was never finished" if scene.done is None else f"was done at {scene.done:g} s"
    return f"began at {scene.began:g} s and {end}"


# ---- what people write, and the check must find ----


async def without_a_shield(work: Function, clean_up: Function) -> Any:
    try:
        return await work()
    finally:
        await clean_up()


async def with_a_limit_only(work: Function, clean_up: Function) -> Any:
    try:
        return await work()
    finally:
        with trio.move_on_after(2):
            await clean_up()


async def with_a_shield_only_a_hang(work: Function, clean_up: Function) -> Any:
    try:
        return await work()
    finally:
        with trio.CancelScope(shield=True):
            await clean_up()


async def with_the_limit_outside_the_shield(work: Function, clean_up: Function) -> Any:
    try:
        return await work()
    finally:
        with trio.move_on_after(2), trio.CancelScope(shield=True):
            await clean_up()


async def with_the_work_in_the_shield(work: Function, clean_up: Function) -> Any:
    with trio.CancelScope(shield=True):
        try:
            return await work()
        finally:
            with trio.move_on_after(2):
                await clean_up()


async def with_a_swallowed_cancellation(work: Function, clean_up: Function) -> Any:
    result = None
    try:
        result = await work()
    except trio.Cancelled:
        pass
    finally:
        with trio.move_on_after(2, shield=True):
            await clean_up()
    return result


async def with_an_error_instead(work: Function, clean_up: Function) -> Any:
    try:
        return await work()
    finally:
        with trio.fail_after(2, shield=True):
            await clean_up()


async def only_when_cancelled(work: Function, clean_up: Function) -> Any:
    try:
        return await work()
    except trio.Cancelled:
        with trio.move_on_after(2, shield=True):
            await clean_up()
        raise


async def with_a_shield_when_cancelled_only(work: Function, clean_up: Function) -> Any:
    try:
        result = await work()
    except BaseException:
        with trio.move_on_after(2, shield=True):
            await clean_up()
        raise
    with trio.move_on_after(2):
        await clean_up()
    return result


async def without_a_limit_after_an_error(work: Function, clean_up: Function) -> Any:
    try:
        result = await work()
    except Exception:
        with trio.CancelScope(shield=True):
            await clean_up()
        raise
    except trio.Cancelled:
        with trio.move_on_after(2, shield=True):
            await clean_up()
        raise
    with trio.move_on_after(2, shield=True):
        await clean_up()
    return result


async def without_the_result(work: Function, clean_up: Function) -> None:
    try:
        await work()
    finally:
        with trio.move_on_after(2, shield=True):
            await clean_up()


async def with_a_limit_of_its_own(work: Function, clean_up: Function) -> Any:
    async def limit(scope: trio.CancelScope) -> None:
        for _ in range(20):
            await trio.sleep(0.1)  # twenty times a tenth is not exactly 2
        scope.cancel(reason="it has had its two seconds")

    try:
        return await work()
    finally:
        async with trio.open_nursery() as nursery:
            nursery.cancel_scope.shield = True
            nursery.start_soon(limit, nursery.cancel_scope)
            await clean_up()
            nursery.cancel_scope.cancel(reason="it is done")


ALSO_RIGHT = [with_a_limit_of_its_own]
MISTAKES = [
    without_a_shield,
    with_a_limit_only,
    with_a_shield_only_a_hang,
    with_the_limit_outside_the_shield,
    with_the_work_in_the_shield,
    with_a_swallowed_cancellation,
    with_an_error_instead,
    only_when_cancelled,
    with_a_shield_when_cancelled_only,
    without_a_limit_after_an_error,
    without_the_result,
]

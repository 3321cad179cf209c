"""The check of notebook 01, and the mistakes that it must find."""

from __future__ import annotations

import inspect
import logging
import math
import re
from collections.abc import Callable
from contextlib import redirect_stdout
from io import StringIO

import trio
from helpers import attempt, is_run_of_a_group, verdict
from solution_01 import job, make_group as right_group, server, ticker, watchdog

from trio_rungroup import RunGroup

logging.getLogger("trio_rungroup").addHandler(logging.NullHandler())  # an answer may have a grace

_SEVERAL_AT_ONCE = (  # what `add` says of several actors
    r"RunGroup\.add\(\) takes from|RunGroup\.__init__\(\) takes|of type (list|tuple|set)\b"
    r"|the interrupt \S*(server|ticker|job|watchdog) is"
)


def check(make_group: Callable[[], RunGroup] | RunGroup) -> None:
    """Make a group, run it in virtual time, and look at its record."""
    if isinstance(make_group, RunGroup) or inspect.iscoroutine(make_group):
        if inspect.iscoroutine(make_group):
            make_group.close()
        hint = "write check(make_group), without brackets after make_group: check calls it itself."
        verdict((False, "make_group is handed over as a function", hint))
        return
    if not callable(make_group):
        hint = f"check was handed {make_group!r}. Write check(make_group), without brackets after "
        hint += "make_group; and make_group ends with `return group`."
        verdict((False, "make_group is handed over as a function", hint))
        return
    group = again = None
    try:
        group = make_group()
        if isinstance(group, RunGroup):
            again = make_group()
    except NotImplementedError:
        group = None
        hint = "replace `raise NotImplementedError` by your own lines; the last is `return group`."
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a check never raises
        hint = f"make_group() raised {error!r}."
        if group is not None:
            hint = f"called a second time, it raised {error!r}. "
            hint += "Make a new RunGroup() inside the function."
        group = None
        if "missing" in str(error) and "RunGroup." in str(error):
            hint += " Are the brackets missing, in `group = RunGroup()`?"
        if re.search(_SEVERAL_AT_ONCE, str(error)):
            hint = "write one `group.add(...)` for each actor, such as `group.add(server)`."
        if isinstance(error, AttributeError) and error.name == "add" and callable(error.obj):
            name = getattr(error.obj, "__name__", "that")
            hint = f"`add` was called on {name}, not on the group. `add` gives back the function, "
            hint += "not the group: write `group = RunGroup()`, then `group.add(...)` for each."
        if any("raised by actor" in note for note in getattr(error, "__notes__", ())):
            hint = "return the group, do not run it: check does that."
    else:
        hint = f"it returned {group!r}. Is there a `return group` at the end?"
        if group is RunGroup:
            hint = "it returned the class RunGroup: the brackets are missing, `RunGroup()`."
    if inspect.iscoroutine(group):
        hint = "it has nothing to wait for: write `def make_group()`, without `async`."
        if is_run_of_a_group(group):
            hint = "return the group, do not run it: `return group`, not `return group.run()`."
        group.close()
    if not isinstance(group, RunGroup):
        verdict((False, "make_group() returns a RunGroup", hint))
        return
    if again is group:
        hint = "it returned the same group again: make a new RunGroup() inside the function."
        verdict((False, "make_group() returns a new RunGroup", hint))
        return
    has_run = group.record is not None
    if has_run:
        hint = "it has run before: make a new RunGroup() inside the function, and do not run it."
        verdict((False, "make_group() returns a new RunGroup", hint))
        return
    with redirect_stdout(StringIO()):  # the ticks
        outcome = attempt(group.run)
    record = group.record
    # A function in a function is called make_group.<locals>.watchdog.
    names = {actor.name.split(".")[-1] for actor in record.actors} if record else set()
    missing = sorted({"server", "ticker", "job", "watchdog"} - names)
    others = sorted(names - {"server", "ticker", "job", "watchdog"})
    first = record.first if record else None
    exited = (first.exited if first else None) or 0.0
    verdict(
        (True, "make_group() returns a RunGroup", ""),
        (
            not missing and not others,
            "it has four actors: server, ticker, job and watchdog",
            (
                f"missing: {', '.join(missing)}; it has: {', '.join(sorted(names)) or 'nobody'}. "
                "An actor is called what its function is called, or what you call it: "
                'group.add(f, name="watchdog").'
                if missing
                else f"it has others besides: {', '.join(others)}."
            ),
        ),
        (
            first is not None and first.name.split(".")[-1] == "watchdog",
            "the watchdog is the first to exit",
            (
                "somebody goes round in circles: `await trio.sleep(1.6)` waits."
                if outcome.spins
                else f"the first is {first.name if first else 'nobody'}. When does each return or "
                "raise?"
            ),
        ),
        (
            math.isclose(exited, 1.6),
            "it exits at 1.6 s",
            f"it exits at {exited:g} s. `await trio.sleep(1.6)` waits, in an `async def`.",
        ),
        (
            isinstance(outcome.error, OSError) and str(outcome.error) == "the disk is full",
            'run() raises OSError("the disk is full")',
            f"{outcome}. "
            + (
                "Who goes on although it is cancelled? Let `Cancelled` through."
                if outcome.hangs
                else "The watchdog has to *raise* it, not to return or print it."
                if outcome.error is None
                else "That is another error: type and text have to be the same."
            ),
        ),
    )


# ---- what people write, and the check must find ----


def _of(*actors: Callable[[], object]) -> RunGroup:
    group = RunGroup()
    for actor in actors:
        group.add(actor, name=actor.__name__)
    return group


def _with(watchdog: Callable[[], object]) -> RunGroup:
    return _of(server, ticker, job, watchdog)


def the_job_still_goes_first() -> RunGroup:
    async def watchdog() -> None:
        await trio.sleep(4)
        raise OSError("the disk is full")

    return _with(watchdog)


def it_returns_the_error() -> RunGroup:
    async def watchdog() -> OSError:
        await trio.sleep(1.6)
        return OSError("the disk is full")

    return _with(watchdog)


def nobody_returns_the_group() -> None:
    right_group()


async def it_is_async() -> RunGroup:
    return right_group()


def the_watchdog_looks_too_late() -> RunGroup:
    async def watchdog() -> None:
        await trio.sleep(1.61)
        raise OSError("the disk is full")

    return _with(watchdog)


def the_job_is_gone() -> RunGroup:
    return _of(server, ticker, watchdog)


def nobody_ever_exits_a_hang() -> RunGroup:
    group = _of(server, ticker)
    group.add(server, name="job")
    group.add(trio.sleep_forever, name="watchdog")
    return group


def it_goes_round_in_circles() -> RunGroup:
    async def watchdog() -> None:
        while True:
            await trio.lowlevel.checkpoint()

    return _with(watchdog)


def the_watchdog_looks_again_and_again() -> RunGroup:
    async def watchdog() -> None:
        for _ in range(16):
            await trio.sleep(0.1)
        raise OSError("the disk is full")

    return _with(watchdog)


ALSO_RIGHT = [the_watchdog_looks_again_and_again]
MISTAKES = [
    the_job_still_goes_first,
    it_returns_the_error,
    nobody_returns_the_group,
    it_is_async,
    the_watchdog_looks_too_late,
    the_job_is_gone,
    nobody_ever_exits_a_hang,
    it_goes_round_in_circles,
]

"""The check of notebook 02, and the mistakes that it must find."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Awaitable, Callable
from typing import Any

import attrs
import trio
from helpers import STUB_IS_LEFT, Attempt, attempt, leaves_of, shortly, verdict, why_it_failed

Function = Callable[[], Awaitable[Any]]
Collect = Callable[[list[Function]], Awaitable[Any]]

_RESULTS = ["slow", "quick", "middle"]
# Odd times: where somebody looks again and again, nothing is to depend on who comes first.
_SECONDS = [3.07, 1.03, 2.05]
_LITTLE = [None, 0, ""]
_EITHER_ORDER = [["call 1", "call 2"], ["call 2", "call 1"]]
_MORE_PLACES = "The list needs as many places as there are functions: `[None] * len(functions)`."
_PLACES = "Give each place in the list a result of its own."
_KEPT = "Keep nothing from one call to the next: make the list inside of `collect`."
_TOO_EARLY = "Inside the block no child has run yet: read the results after it."


def check(collect: Collect) -> None:
    """Call it with three functions, with none, and with one that fails."""
    calls: list[Any] = []

    async def work(seconds: float, result: Any) -> Any:
        calls.append(result)
        await trio.sleep(seconds)
        return result

    error = OSError("no network")

    async def fail() -> None:
        await trio.sleep(1.57)
        raise error

    times = 0

    async def count() -> str:
        nonlocal times
        times += 1
        result = f"call {times}"
        await trio.sleep(1.57)
        return result

    def attempt_on(functions: list[Function]) -> Attempt:
        outcome = attempt(collect, functions)
        copy = list(outcome.value) if isinstance(outcome.value, list) else outcome.value
        return attrs.evolve(outcome, value=copy)  # a later call may append to the same list

    def bring(seconds: float, result: Any) -> Function:
        function: Any = functools.partial(work, seconds, result)
        function.__name__ = "work"  # for those who print it
        return function

    three = [bring(s, r) for s, r in zip(_SECONDS, _RESULTS, strict=True)]
    outcome = attempt_on(three)
    if outcome.not_written:
        hint = "replace `raise NotImplementedError` by a nursery; start_soon once per function. "
        hint += STUB_IS_LEFT
        verdict((False, "collect is written", hint))
        return
    if outcome.spins:  # and would with the others, too, which takes its time
        verdict((False, "it comes back", _why_nothing(outcome, [])))
        return
    called = sorted(calls)
    one, two = (bring(seconds, f"{seconds} s") for seconds in (1.03, 2.05))
    twice = attempt_on([two, count, one, count])
    nothing = attempt_on([])
    bring_little = [bring(1, result) for result in _LITTLE]
    little = attempt_on(bring_little)
    failed = attempt_on([fail, bring(3.07, "slow")])
    if any(map(inspect.iscoroutine, _as_list(outcome.value) or ())):
        for each in (outcome, twice, little, failed):
            _close(each.value)
        hint = "the list is full of calls that nobody has awaited: write `await f()`."
        verdict((False, "each function is called and awaited", hint))
        return
    verdict(
        (
            outcome.error is None and outcome.value is not None,
            "it returns something",
            _why_nothing(outcome, called),
        ),
        (
            called == sorted(_RESULTS),
            "each function is called once",
            _why_not_called(called),
        ),
        (
            _as_list(outcome.value) == _RESULTS,
            "the results are in the order of the functions",
            _why_not_in_order(outcome),
        ),
        (
            _as_list(twice.value)
            in [["2.05 s", *calls[:1], "1.03 s", *calls[1:]] for calls in _EITHER_ORDER],
            "also where one is in the list twice, and each call has a result of its own",
            f"the functions take 2.05 s, 1.57 s, 1.03 s, and the same 1.57 s again; {twice}. "
            + (
                _KEPT
                if any(result in _RESULTS for result in _as_list(twice.value) or ())
                else _MORE_PLACES
                if twice.error is not None and isinstance(leaves_of(twice.error)[0], IndexError)
                else _PLACES
            ),
        ),
        (
            outcome.error is None and math.isclose(outcome.ended, 3.07),
            "3.07 s, 1.03 s and 2.05 s of work take 3.07 s together",
            _why_not_in_time(outcome),
        ),
        (
            _as_list(nothing.value) == [],
            "no functions, no results: an empty list",
            f"for an empty list {nothing}.",
        ),
        (
            _as_list(little.value) == _LITTLE,
            "None, 0 and an empty text are results like others",
            (
                f"three functions bring {_LITTLE}, and {little}. Do not look at a result to tell "
                "whether it is there: the end of the nursery waits for all."
            ),
        ),
        (
            nothing.ended == 0 and math.isclose(twice.ended, 2.05),
            "it comes back when the last one is done, no later",
            (
                f"for an empty list it came back after {nothing.ended:g} s, and after "
                f"{twice.ended:g} s where the longest takes 2.05 s. The end of the nursery waits; "
                "write no `sleep`."
            ),
        ),
        (
            failed.error is not None and leaves_of(failed.error) == [error],
            "the error of a function comes out",
            (
                f"one function raised {error!r}, and {failed}. Do not catch it; that very object "
                "comes out by itself, in a group."
            ),
        ),
        (
            math.isclose(failed.ended, 1.57),
            "and the others do not run on",
            (
                f"one function failed at 1.57 s, and it came back at {failed.ended:g} s. Let the "
                "error reach the nursery, which cancels the others and lets it out. Is it caught, "
                "or are the others behind a shield?"
            ),
        ),
    )


def _close(value: object) -> None:
    """Spare the learner a warning about what nobody awaits."""
    for call in _as_list(value) or ():
        if inspect.iscoroutine(call):
            call.close()


def _as_list(value: object) -> list[Any] | None:
    return list(value) if isinstance(value, (list, tuple)) else None


def _why_nothing(outcome: Attempt, called: list[str]) -> str:
    if _all_the_same(called):
        return _why_not_called(called)
    if outcome.hangs:
        return f"{outcome}. For whom does it wait? The end of the nursery waits for all."
    if outcome.error is not None and "'list' object is not callable" in str(
        leaves_of(outcome.error)[0]
    ):
        return (
            "a list was called like a function. The first line is `async def collect(functions)`, "
            "without a star; call each of `functions`, and read a list with `results[i]`."
        )
    if outcome.error is not None and isinstance(leaves_of(outcome.error)[0], IndexError):
        return f"{shortly(leaves_of(outcome.error)[0])}. {_MORE_PLACES}"
    if outcome.error is not None:
        return why_it_failed(outcome.error)
    return "it returned None. Is there a `return`, and is it after the nursery's block?"


def _all_the_same(called: list[str]) -> bool:
    return len(called) == len(_RESULTS) and len({*called}) == 1


def _why_not_called(called: list[str]) -> str:
    if _all_the_same(called):
        return (
            "all three children have called the same function, the last one: they begin when the "
            "loop is over. Pass `i, f` as arguments of start_soon."
        )
    if 0 < len(called) < len(_RESULTS):
        return (
            f"only {', '.join(called)} was called. Does a `return` or `break` end the loop too "
            "soon? It stands after the loop, and after the nursery's block."
        )
    if not called:
        return (
            "no function was called. A bare call such as `one(i, f)` only makes an object: write "
            "`nursery.start_soon(one, i, f)`."
        )
    return f"called were: {', '.join(called)}."


def _why_not_in_order(outcome: Attempt) -> str:
    if _as_list(outcome.value) == []:
        return (
            "the list is empty: no child has written its result into it, or it was copied too "
            f"early. {_TOO_EARLY}"
        )
    if _as_list(outcome.value) == [None] * len(_RESULTS) and outcome.ended == 0:
        return (
            "all were cancelled before they could bring anything. Nobody needs to cancel: the "
            "nursery ends by itself when the last child has."
        )
    if _as_list(outcome.value) == [None] * len(_RESULTS):
        return (
            f"start_soon gives back nothing; each child writes down its result. {_TOO_EARLY} And "
            "`results = ...` in a child makes a local name: write `results[i] = ...`."
        )
    if _as_list(outcome.value) == ["quick", "middle", "slow"]:
        return "that is the order in which they were done. Give each result a place of its own."
    if _as_list(outcome.value) is None and outcome.error is None:
        return f"that is no list: return `list(...)` of it. Expected {_RESULTS}; {outcome}."
    return f"expected {_RESULTS}; {outcome}."


def _why_not_in_time(outcome: Attempt) -> str:
    if math.isclose(outcome.ended, sum(_SECONDS)):
        return (
            f"it took {outcome.ended:g} s: they ran one after the other. Start all, and only then "
            "wait."
        )
    return (
        f"{outcome}. That is later than the last one: the end of the nursery waits, so nobody has "
        "to look now and then."
    )


# ---- what people write, and the check must find ----


async def one_after_the_other(functions: list[Function]) -> list[Any]:
    return [await function() for function in functions]


async def in_a_nursery_each(functions: list[Function]) -> list[Any]:
    results = []

    async def one(function: Function) -> None:
        results.append(await function())

    for function in functions:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(one, function)
    return results


async def as_they_come(functions: list[Function]) -> list[Any]:
    results = []

    async def one(function: Function) -> None:
        results.append(await function())

    async with trio.open_nursery() as nursery:
        for function in functions:
            nursery.start_soon(one, function)
    return results


async def inserted_in_their_places(functions: list[Function]) -> list[Any]:
    results: list[Any] = []

    async def one(index: int) -> None:
        results.insert(index, await functions[index]())

    async with trio.open_nursery() as nursery:
        for index in range(len(functions)):
            nursery.start_soon(one, index)
    return results


async def by_function(functions: list[Function]) -> list[Any]:
    results: dict[Function, Any] = {}

    async def one(function: Function) -> None:
        results[function] = await function()

    async with trio.open_nursery() as nursery:
        for function in functions:
            nursery.start_soon(one, function)
    return [results[function] for function in functions]


async def without_return(functions: list[Function]) -> None:
    await as_they_come(functions)


async def with_a_lost_error(functions: list[Function]) -> list[Any]:
    results: list[Any] = [None] * len(functions)

    async def one(index: int) -> None:
        try:
            results[index] = await functions[index]()
        except OSError:
            results[index] = None

    async with trio.open_nursery() as nursery:
        for index in range(len(functions)):
            nursery.start_soon(one, index)
    return results


async def reads_inside_the_block(functions: list[Function]) -> list[Any]:
    results: dict[int, Any] = {}

    async def one(index: int) -> None:
        results[index] = await functions[index]()

    async with trio.open_nursery() as nursery:
        for index in range(len(functions)):
            nursery.start_soon(one, index)
        return [results[index] for index in range(len(functions))]


async def copies_inside_the_block(functions: list[Function]) -> list[Any]:
    results: list[Any] = []

    async def one(function: Function) -> None:
        results.append(await function())

    async with trio.open_nursery() as nursery:
        for function in functions:
            nursery.start_soon(one, function)
        return [*results]


async def with_the_last_function_only(functions: list[Function]) -> list[Any]:
    results: dict[int, Any] = {}
    async with trio.open_nursery() as nursery:
        for index, function in enumerate(functions):

            async def one() -> None:
                results[index] = await function()  # noqa: B023 - the mistake

            nursery.start_soon(one)
    return [results[index] for index in range(len(functions))]


async def with_what_start_soon_gives_back(functions: list[Function]) -> list[Any]:
    start: Any
    async with trio.open_nursery() as nursery:
        start = nursery.start_soon
        return [start(function) for function in functions]


async def a_hang(functions: list[Function]) -> None:
    async with trio.open_nursery() as nursery:
        for function in functions:
            nursery.start_soon(function)
        await trio.sleep_forever()


async def in_circles(functions: list[Function]) -> None:
    async with trio.open_nursery() as nursery:
        for function in functions:
            nursery.start_soon(function)
        while nursery.child_tasks or functions is not None:
            await trio.lowlevel.checkpoint()


MISTAKES = [
    one_after_the_other,
    in_a_nursery_each,
    as_they_come,
    inserted_in_their_places,
    by_function,
    without_return,
    with_a_lost_error,
    reads_inside_the_block,
    copies_inside_the_block,
    with_the_last_function_only,
    with_what_start_soon_gives_back,
    a_hang,
    in_circles,
]

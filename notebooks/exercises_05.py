"""The checks of notebook 05: `check_race(race)`, and `check(run_group)` against Go's traces.

The traces were recorded from Go's run.Group, for the tests of the library: 240 groups of one
to six actors. Here they are replayed in virtual time, so all of them take a second.
"""

from __future__ import annotations

import contextlib
import inspect
import json
import logging
import math
import textwrap
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any, TypeAlias

import attrs
import trio
from helpers import (
    CATCHES_CANCELLED,
    STUB_IS_LEFT,
    a_task_swallows,
    attempt,
    came_out_of_the_block,
    has_not_begun,
    leaves_of,
    shortly,
    show,
    show_hint,
    until_cancelled,
    verdict,
    why_it_failed,
)
from solution_05 import Execute, Interrupt

RunGroupFn: TypeAlias = Callable[[Sequence[tuple[Execute, Interrupt]]], Awaitable[object]]
Race: TypeAlias = Callable[..., Awaitable[object]]

TRACES: list[dict[str, Any]] = json.loads(
    (Path(__file__).parent.parent / "tests" / "run_group_traces.json").read_text("utf-8")
)["scenarios"]
_LONG_ENOUGH = 10  # real seconds, where a difference has been found
TRACES.sort(key=lambda trace: abs(len(trace["actors"]) - 2))  # two actors tell the most

# The check shows later errors itself; the library would write them to standard error.
logging.getLogger("trio_rungroup").addHandler(logging.NullHandler())


class TraceError(Exception):
    """What the actors of a trace raise."""


# ---- race ----


@attrs.define
class _Runner:
    """Runs for a while; once it is told to stop it may tidy up, or not even listen."""

    name: str
    seconds: float
    tidies_up: float = 0
    deaf: bool = False
    brings: bool = True
    gone: float | None = None
    calls: int = 0

    @property
    def __name__(self) -> str:  # for those who print it
        return self.name

    async def __call__(self) -> str | None:
        self.calls += 1
        try:
            with trio.CancelScope(shield=self.deaf):
                await trio.sleep(self.seconds)
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(self.tidies_up)
            self.gone = trio.current_time()
        return self.name if self.brings else None


def _hare(*, brings: bool = True) -> _Runner:
    return _Runner("hare", 1.0, brings=brings)


_A_LOCAL_NAME = (
    "A plain assignment in the task makes a local name: use `nonlocal`, or append to a list."
)


def check_race(race: Race) -> None:
    """Let `race` run some races; print what is right and what is not, with a hint."""
    demands: list[tuple[object, str, str]] = []
    cancel = "The winner's task calls nursery.cancel_scope.cancel(). Or is there a shield?"
    for what, at, hint, hare, losers in (
        ("a hare and a tortoise", 1.0, cancel, _hare(), [_Runner("tortoise", 3.5)]),
        ("a hare alone", 1.0, cancel, _hare(), []),
        (
            "a loser that tidies up for 0.5 s",
            1.5,
            "Return after the nursery, when the last loser has gone.",
            _hare(),
            [_Runner("slow", 9, tidies_up=0.5)],
        ),
        (
            "a loser that comes in all the same",
            2.5,
            "The second value must not replace the first.",
            _hare(),
            [_Runner("deaf", 2.5, deaf=True)],
        ),
        (
            "the same, and the hare brings nothing",
            2.5,
            "None is a value like any other: it does not tell whether somebody has won.",
            _hare(brings=False),
            [_Runner("deaf", 2.5, deaf=True)],
        ),
    ):
        value = "hare" if hare.brings else None
        outcome = attempt(race, *losers, hare)
        if outcome.not_written:
            yours = "replace `raise NotImplementedError`: open a nursery, start a task for each "
            yours += "function; the first that comes back writes down its value, and cancels "
            yours += f"nursery.cancel_scope. {STUB_IS_LEFT}"
            verdict((False, "race is written", yours))
            return
        right = (outcome.error, outcome.value, outcome.ended) == (None, value, at)
        gone = [runner.gone for runner in (hare, *losers)]
        yours = f"{outcome}. {hint}"
        if any(runner.calls > 1 for runner in (hare, *losers)):
            yours = (
                "one function was called for all: the children begin when the loop is over, and "
            )
            yours += (
                "the name of the loop is the last one then. Pass it as an argument of start_soon."
            )
        elif right:
            yours = f"the value is right, but somebody did not run, or was not cancelled. {hint}"
        elif outcome.value is None and outcome.error is None and hare.brings:
            yours = f"{outcome}. What a task returns goes nowhere; write it down where the parent "
            yours += f"finds it, and return it after the nursery. {_A_LOCAL_NAME}"
        elif inspect.iscoroutine(outcome.value):
            outcome.value.close()
            yours = "what came out is a call that nobody has awaited: write `await async_fn()`."
        elif isinstance(outcome.error, LookupError) and outcome.ended < at:
            yours = f"{outcome}: the race was called off before anybody came in. The parent does "
            yours += "not cancel; the winner's task does."
        elif isinstance(outcome.value, (list, tuple, dict)):
            yours = f"{outcome}: return the winner's value, not what you have kept it in."
        elif outcome.error is None and gone[1:] and gone[0] != 1.0:
            yours = f"{outcome}: the hare did not start at 0 s. Start all in the nursery, "
            yours += "`start_soon` for each, and await none of them in the loop."
        elif isinstance(outcome.error, LookupError):
            yours = f"{outcome}: no value was written down before the end. {_A_LOCAL_NAME}"
        elif "race() takes" in str(outcome.error):
            yours = f"{outcome}. The first line is `async def race(*async_fns)`, with the star."
        elif outcome.error is not None and not outcome.hangs:  # nobody in the race raises
            yours = why_it_failed(outcome.error)
        all_gone = gone == [1.0, *(at for _ in losers)]
        demands.append((right and all_gone, f"{what}: {value!r} after {at:g} s", yours))
        if outcome.spins:  # and would in the others, too, which takes its time
            break
    else:
        demands += _what_is_no_win(race)
    verdict(*demands)


def _what_is_no_win(race: Race) -> list[tuple[object, str, str]]:
    async def horse() -> None:
        await trio.sleep(0.5)
        raise TraceError("fell at the first fence")

    async def called_off() -> bool:
        with trio.move_on_after(0.5) as scope:
            await race(_hare(), _Runner("tortoise", 3.5))
        return scope.cancelled_caught

    fell = attempt(race, horse, _hare())
    off = attempt(called_off)
    return [
        (
            fell.error is not None
            and all(isinstance(leaf, TraceError) for leaf in leaves_of(fell.error))
            and fell.ended == 0.5,
            "a horse that falls at 0.5 s has not won: its error comes out",
            (
                f"a horse raised an error; {fell}. An error is no return: do not catch it, and the "
                "nursery cancels the others and raises it."
            ),
        ),
        (
            off.value is True and off.ended == 0.5,
            "cancelled from outside at 0.5 s, it obeys",
            f"{off}. Was `Cancelled` caught, or kept out by a shield? Let it through.",
        ),
    ]


# ---- the traces ----


class _Replay:
    """A trace of Go's, played by what the learner wrote."""

    def __init__(
        self, run_group: RunGroupFn, trace: dict[str, Any], of_earlier_calls: list[BaseException]
    ) -> None:
        self.trace = trace
        self.of_earlier_calls = of_earlier_calls
        self.events: list[list[Any]] = []
        self.raised: list[BaseException] = []
        self.calls: list[Coroutine[Any, Any, None]] = []  # of interrupts
        self.began: list[tuple[float, int]] = []
        self.ran_uncancelled = False
        self.cancelled_early = False
        pairs = [self._pair(index, actor) for index, actor in enumerate(trace["actors"])]
        self.outcome = attempt(run_group, pairs)
        self.not_awaited = [call for call in self.calls if has_not_begun(call)]
        for call in self.not_awaited:
            call.close()

    def _pair(self, index: int, actor: dict[str, Any]) -> tuple[Execute, Interrupt]:
        told = trio.Event()

        async def execute() -> str | None:
            self.began.append((trio.current_time(), index))
            self.ran_uncancelled |= trio.current_effective_deadline() > -math.inf
            exits_at = math.inf if actor["exits_at"] is None else actor["exits_at"]
            message = actor["error"]
            try:
                with trio.move_on_after(exits_at):
                    await told.wait()
                if told.is_set():
                    await trio.sleep(actor["on_interrupt"]["after"])
                    message = actor["on_interrupt"]["error"]
            except trio.Cancelled:
                self.cancelled_early |= len(self.told) < len(self.trace["actors"])
                raise
            self.events.append(["exit", index, message])
            if message is not None:
                error = TraceError(message)
                self.raised.append(error)
                raise error
            return _value_of(index)

        async def tell(error: BaseException | None) -> None:
            known = error is None or any(error is each for each in self.raised)
            what = f"another error, {error!r}" if not known else error and str(error)
            self.events.append(["interrupt", index, what])
            told.set()
            await trio.sleep(actor["interrupt_takes"])

        def interrupt(error: BaseException | None) -> Coroutine[Any, Any, None]:
            self.calls.append(tell(error))
            return self.calls[-1]

        return execute, interrupt

    @property
    def result(self) -> str:
        """What came out, in words that `expected` uses too."""
        outcome = self.outcome
        if outcome.hangs:
            return "never comes back"
        if outcome.error is None:
            return f"returns {outcome.value!r} at {outcome.ended:g}"
        if any(outcome.error is error for error in self.raised):
            return f"raises {str(outcome.error)!r} at {outcome.ended:g}"
        if isinstance(outcome.error, TraceError):
            which = "an earlier call's" if self.is_of_an_earlier_call else "a copy of"
            return f"raises {which} {str(outcome.error)!r} at {outcome.ended:g}"
        return f"raises {shortly(self.own_error or outcome.error)} at {outcome.ended:g}"

    @property
    def is_of_an_earlier_call(self) -> bool:
        return any(self.outcome.error is error for error in self.of_earlier_calls)

    @property
    def own_error(self) -> BaseException | None:
        """What went wrong in the learner's code, not in an actor."""
        error = None if self.outcome.hangs else self.outcome.error
        leaves = leaves_of(error) if error is not None else []
        return next((leaf for leaf in leaves if not isinstance(leaf, TraceError)), None)

    @property
    def expected(self) -> str:
        """What came out of Go's."""
        return _result_of(self.trace)

    @property
    def same(self) -> bool:
        """Whether this is what Go's did."""
        return self.events == self.trace["events"] and self.result == self.expected

    @property
    def exited_before_the_last_was_told(self) -> set[int]:
        """Who had exited when the last interrupt was called."""
        kinds = [event[0] for event in self.events]
        last = len(kinds) - kinds[::-1].index("interrupt")
        return {event[1] for event in self.events[:last] if event[0] == "exit"}

    @property
    def too_late(self) -> bool:
        """Whether all had exited before the first was told, unlike in Go's."""
        exits, count = ["exit"] * len(self.trace["actors"]), len(self.trace["actors"])
        ours, go = ([event[0] for event in e[:count]] for e in (self.events, self.trace["events"]))
        return ours == exits != go

    @property
    def only_later(self) -> bool:
        """Whether all happened as in Go's, but took longer."""
        in_time = self.outcome.ended <= self.trace["returned_at"]
        return self.events == self.trace["events"] and not in_time

    @property
    def told(self) -> list[int]:
        """Whose interrupt was called, in order of time."""
        return [event[1] for event in self.events if event[0] == "interrupt"]

    @property
    def told_too_late(self) -> int | None:
        """Who had exited by itself before it was told, unlike in Go's."""

        def has(events: list[list[Any]], index: int) -> bool:
            return [what for what, i, _ in events if i == index] == ["exit", "interrupt"]

        ours, go = self.events, self.trace["events"]
        return next((i for i in self.told if has(ours, i) and not has(go, i)), None)

    def hint(self) -> str:
        """Say what the difference probably comes from."""
        ours, go, error = self.events, self.trace["events"], self.outcome.error
        told = self.told
        if self.outcome.spins:
            return (
                "yours goes round in circles. Wait for a trio.Event instead of looking again and "
                "again."
            )
        everybody = list(range(len(self.trace["actors"])))
        exited = {event[1] for event in ours if event[0] == "exit"}
        if isinstance(self.own_error, LookupError) and self.ran_uncancelled and not exited:
            return (
                "the event is set before anything has been written down. First `await execute()`, "
                "then append how that ended, then set the event."
            )
        if isinstance(self.own_error, LookupError) and exited:
            return (
                "the event is set, but nothing has been written down. Append to the list before "
                "you set the event, `(value, None)` when an actor returns, too. (`exits = ...` in "
                "the task would make a list of its own.)"
            )
        if "'tuple' object is not callable" in str(self.own_error):
            return (
                "a tuple was called like a function. Is it one of the pairs? Take it apart: "
                "`for execute, interrupt in actors`."
            )
        if "interrupt() missing 1 required" in str(self.own_error):
            return "an interrupt takes the error of the first exit: `await interrupt(error)`."
        if self.own_error is not None and isinstance(self.own_error.__cause__, TraceError):
            return "a new error came out: raise the first one itself, that very object."
        if self.own_error is not None:
            return why_it_failed(self.own_error, error)
        if not any(event[0] == "exit" for event in ours) and told:
            return "the interrupts are called, but no actor has run: `await execute()`."
        if self.not_awaited:
            return "an interrupt was called, but nobody awaited it: `await interrupt(error)`."
        ran = [index for _, index in self.began]
        if len(ran) > len({*ran}):
            return (
                f"actor {ran[-1]} has run {ran.count(ran[-1])} times, and another one never: the "
                "children begin when the loop is over. Pass `execute` as an argument of start_soon."
            )
        if any(began for began, _ in self.began):
            return (
                "an actor began only when another one had exited. Start all of them with "
                "`start_soon`, and await none of them in the loop."
            )
        if ours and ours[0][0] == "interrupt":
            return "the interrupts are called before anybody has exited: wait for the event first."
        if isinstance(error, BaseExceptionGroup) and "nursery" not in error.message:
            return "a group came out, one that you have made: raise the first error, not a group."
        if isinstance(error, BaseExceptionGroup) and any(
            came_out_of_the_block(leaf, error) for leaf in leaves_of(error)
        ):
            return (
                "an error was raised in the nursery's block, so the nursery cancelled everybody "
                "and put it into a group. Raise it after the nursery's block, not in it."
            )
        if isinstance(error, BaseExceptionGroup):
            return (
                "an actor's exception has reached the nursery, which cancelled everybody and "
                "put it into a group. Catch it in the task that runs the actor."
            )
        if not told and self.outcome.hangs and {*everybody} - {*ran}:
            never = min({*everybody} - {*ran})
            return (
                f"actor {never} was never started: start all of them in a loop of its own, before "
                "you wait for the event."
            )
        if not told and self.outcome.hangs:
            return (
                "nobody was told to stop, and all wait for ever. Does every exit set the event, a "
                "return as well as a raise? And do you wait for it inside the nursery's block?"
            )
        if self.cancelled_early and not self.outcome.hangs:
            return (
                "an actor was cancelled before everybody was told to stop. Nobody cancels: a run "
                "group asks, and waits. Nor may an exception reach the nursery, which would cancel "
                "the others: catch it in the task that runs the actor."
            )
        if not told:
            return (
                "nobody was told to stop: wait for the first exit inside the nursery's block, and "
                "call every interrupt there."
            )
        if self.too_late:
            return (
                "the interrupts come too late, when all have exited: wait for the event inside the "
                "nursery's block, and call them there."
            )
        if self.is_of_an_earlier_call:
            return (
                "that is the error of an earlier call. Keep nothing from one call to the next: "
                "make your list inside of `run_group`."
            )
        if len(told) > len(set(told)) and len(told) == len(everybody):
            return (
                f"interrupt {told[-1]} was called {told.count(told[-1])} times, and another one "
                "never. Take the pair apart in the second loop, too: "
                "`for _, interrupt in actors`."
            )
        if len(told) > len(set(told)):
            return "an interrupt was called twice. Only the first exit calls them."
        if self.outcome.hangs:
            return (
                "somebody waits for ever. Wait for the first exit only, inside the nursery; after "
                "the last interrupt, the end of the nursery waits for all by itself."
            )
        untold = {*everybody} - {*told}
        if told == everybody[: len(told)] and untold - self.exited_before_the_last_was_told:
            return (
                f"only {len(told)} of {len(everybody)} were told to stop. Does something end the "
                "loop early, such as a `return` in it?"
            )
        if sorted(told) != everybody:
            return (
                "everybody's interrupt is called, also of those that have exited already. "
                "So an interrupt may rely on being called."
            )
        if [event for event in ours if event[0] == "interrupt"] != [
            event for event in go if event[0] == "interrupt"
        ]:
            if told != sorted(told):
                return (
                    "the interrupts are called in the order in which the actors were added, "
                    "each awaited before the next one begins."
                )
            return "every interrupt is given the error of the first exit, None if it was clean."
        if len(ours) < len(go):
            return (
                "an actor was cancelled while it was still stopping gracefully. Interrupt, then "
                "wait: the end of the nursery waits for all by itself."
            )
        if self.only_later:
            return "the same events, but later: wait for an event, do not look now and then."
        if self.told_too_late is not None:
            late = self.told_too_late
            return (
                f"interrupt {late} was called only when actor {late} had exited by itself. With "
                "the first exit everybody's is called, and nothing else is waited for in between."
            )
        if ours != go or self.outcome.ended != self.trace["returned_at"]:
            return (
                "the interrupts are called one at a time: each is awaited before the next one "
                "begins, and nobody else waits for them."
            )
        if error is None and self.outcome.value is None and self.trace["result"] is not None:
            return (
                "nothing came out. After the nursery's block, raise what the first one raised; "
                "return what it returned. (The first in time: is it the first of your list, too?)"
            )
        if isinstance(self.outcome.value, tuple):
            return (
                "a pair came out. Raise the error that is in it; return the value if there is none."
            )
        if error is not None or self.trace["result"] is not None:
            return (
                "the first exit settles the result, and later ones change nothing: raise what "
                "the first one raised, that very object; return if it returned."
            )
        return "after a clean first exit, return what that actor returned, be it None."


def _value_of(index: int) -> str | None:
    return f"value {index}" if index else None  # most actors have nothing to return


def _result_of(trace: dict[str, Any]) -> str:
    _, index, error = trace["events"][0]
    what = f"returns {_value_of(index)!r}" if error is None else f"raises {error!r}"
    return f"{what} at {trace['returned_at']:g}"


def _in_words(event: list[Any] | None) -> str:
    if event is None:
        return "(nothing)"
    what, index, error = event
    if what == "exit":
        return f"actor {index} {'returns' if error is None else f'raises {error!r}'}"
    return f"interrupt {index} gets {error!r}"


def _actors_in_words(trace: dict[str, Any]) -> Iterator[str]:
    for index, actor in enumerate(trace["actors"]):
        stop = actor["on_interrupt"]
        alone = "runs until told to stop"
        if actor["exits_at"] is not None:
            end = "returns" if actor["error"] is None else f"raises {actor['error']!r}"
            alone = f"{end} at {actor['exits_at']}"
        end = "returns" if stop["error"] is None else f"raises {stop['error']!r}"
        slow = f" (the interrupt takes {actor['interrupt_takes']})"
        yield (
            f"actor {index} {alone}; when told, {end} after {stop['after']}"
            f"{slow if actor['interrupt_takes'] else ''}"
        )


def show_trace(name: str) -> None:
    """Print one of Go's traces in words."""
    trace = next(trace for trace in TRACES if trace["name"] == name)
    print(*_actors_in_words(trace), "", sep="\n")
    print("what Go's run.Group did:", *map(_in_words, trace["events"]), sep="\n  ")
    print(f"  Run {_result_of(trace)}")


async def _nothing(error: BaseException | None) -> None:
    pass


async def _cancelled_at_3_s(run_group: RunGroupFn, first: tuple[Execute, Interrupt]) -> bool:
    with trio.move_on_after(3) as scope:
        await run_group([first, (trio.sleep_forever, _nothing)])
    return scope.cancelled_caught


async def _one_second() -> None:
    await trio.sleep(1)


async def _fifty_seconds(error: BaseException | None) -> None:
    await trio.sleep(50)


def check(run_group: RunGroupFn) -> None:
    """Replay every trace; print whether all agree, or how the smallest one differs."""
    replays: list[_Replay] = []
    errors: list[BaseException] = []
    began = time.monotonic()
    for trace in TRACES:
        replay = _Replay(run_group, trace, [*errors])
        errors += replay.raised
        if replay.outcome.not_written:
            hint = "replace `raise NotImplementedError`: begin with the task that runs one actor. "
            hint += "It awaits execute(), catches what that raises, writes down how it exited, "
            hint += f"and sets an event. {STUB_IS_LEFT}"
            verdict((False, "run_group is written", hint))
            return
        replays.append(replay)
        # As it would in the others, too, which takes its time.
        if replay.outcome.spins or replay.only_later:
            break
        if time.monotonic() - began > _LONG_ENOUGH and not replay.same:
            break
    count = len(replays)
    differing = [replay for replay in replays if not replay.same]
    if not differing:
        print(f"✓ all {count} traces: the same events in the same order, the same result")
        for what, first_actor in (
            ("", (trio.sleep_forever, _nothing)),
            (" while an interrupt takes its time", (_one_second, _fifty_seconds)),
        ):
            outcome = attempt(_cancelled_at_3_s, run_group, first_actor)
            if outcome.value is not True or outcome.ended != 3:
                print(f"  at the same time.\n✗ cancelled from outside at 3 s{what}, it obeys")
                show_hint(
                    f"none of Go's traces tests this, for nobody can cancel a goroutine; {outcome}."
                    " Let `Cancelled` through, and put no shield around everything, nor around the "
                    "interrupts."
                )
                return
        value = ValueError("the value")

        async def returns_it() -> ValueError:
            return value

        outcome = attempt(run_group, [(returns_it, _nothing)])
        if outcome.value is not value:
            print("  at the same time.\n✗ an exception that an actor *returns* is a value")
            show_hint(
                f"no trace tests this: {outcome}. For each exit, keep the pair: a value and None, "
                "or None and the error."
            )
            return
        print("  at the same time. This is a run group.")
        if a_task_swallows(run_group, [(until_cancelled, _nothing)]):
            show(CATCHES_CANCELLED)
        return
    first = differing[0]
    print(f"✗ {len(differing)} of {count} traces differ. The first is {first.trace['name']}:")
    print(*(f"    {line}" for line in _actors_in_words(first.trace)), "", sep="\n")
    rows = [
        *(map(_in_words, pair) for pair in zip_longest(first.trace["events"], first.events)),
        (first.expected, first.result),
    ]
    print(f"    {'Go':<38}yours")
    for go, yours in rows:
        mark = " " if go == yours else "≠"
        print(f"  {mark} {go:<38}{textwrap.shorten(yours, 70, placeholder='…')}")
    show_hint(first.hint())


# ---- typical mistakes: the tests see to it that each one is found ----


def _variant(
    *,
    catch: bool = True,
    chosen: int = 0,
    only_running: bool = False,
    order: int = 1,
    together: bool = False,
    cancel: bool = False,
    with_error: bool = True,
    interrupts: bool = True,
    raises: str = "itself",
    value: bool = True,
    none_counts: bool = True,
    polls: bool = False,
    late: bool = False,
) -> RunGroupFn:
    async def run_group(actors: Sequence[tuple[Execute, Interrupt]]) -> object:
        exits: list[tuple[object, BaseException | None]] = []
        exited: list[Execute] = []

        async def run_actor(execute: Execute) -> None:
            result, error = None, None
            try:
                result = await execute()
            except Exception as exc:
                if not catch:
                    raise
                error = exc
            exits.append((result, error))
            exited.append(execute)
            stopping.set()

        stopping = trio.Event()
        async with trio.open_nursery() as nursery:
            for execute, _ in actors:
                nursery.start_soon(run_actor, execute)
            while polls and not stopping.is_set():
                await trio.lowlevel.checkpoint()
            await stopping.wait()
            for execute, interrupt in actors[::order]:
                if late or not interrupts or (only_running and execute in exited):
                    continue
                first = exits[0][1] if with_error else None
                if together:
                    nursery.start_soon(interrupt, first)
                else:
                    await interrupt(first)
            if cancel:
                nursery.cancel_scope.cancel(reason="enough")
        for _, interrupt in actors if late else ():
            await interrupt(exits[0][1])
        result, error = exits[chosen]
        if not none_counts:
            result, error = next((each for each in exits if each != (None, None)), exits[0])
        if error is not None and raises == "copy":
            raise TraceError(str(error))
        if error is not None and raises == "itself":
            raise error
        return result if value else None

    return run_group


async def _everybody_tells_everybody(actors: Sequence[tuple[Execute, Interrupt]]) -> None:
    async def run_actor(execute: Execute) -> None:
        error = None
        try:
            await execute()
        except Exception as exc:
            error = exc
            raise
        finally:
            for _, interrupt in actors:
                await interrupt(error)

    async with trio.open_nursery() as nursery:
        for execute, _ in actors:
            nursery.start_soon(run_actor, execute)


async def _waits_for_all(*async_fns: Execute) -> object:
    results: list[object] = []

    async def run_one(async_fn: Execute) -> None:
        results.append(await async_fn())

    async with trio.open_nursery() as nursery:
        for async_fn in async_fns:
            nursery.start_soon(run_one, async_fn)
    return results[0]


async def _returns_it_from_the_task(*async_fns: Execute) -> object:
    async def run_one(async_fn: Execute) -> object:
        value = await async_fn()
        nursery.cancel_scope.cancel(reason="somebody has won")
        return value

    async with trio.open_nursery() as nursery:
        for async_fn in async_fns:
            nursery.start_soon(run_one, async_fn)
    return None


async def _last_one_wins(*async_fns: Execute) -> object:
    winner: object = None

    async def run_one(async_fn: Execute) -> None:
        nonlocal winner
        winner = await async_fn()
        nursery.cancel_scope.cancel(reason="somebody has won")

    async with trio.open_nursery() as nursery:
        for async_fn in async_fns:
            nursery.start_soon(run_one, async_fn)
    return winner


async def _none_has_not_won(*async_fns: Execute) -> object:
    winner: object = None

    async def run_one(async_fn: Execute) -> None:
        nonlocal winner
        value = await async_fn()
        if winner is None:
            winner = value
        nursery.cancel_scope.cancel(reason="somebody has won")

    async with trio.open_nursery() as nursery:
        for async_fn in async_fns:
            nursery.start_soon(run_one, async_fn)
    return winner


async def _only_the_first_runs(*async_fns: Execute) -> object:
    return await async_fns[0]()


async def _hangs(*_: object) -> None:
    await trio.sleep_forever()


async def _hangs_behind_a_shield(*_: object) -> None:
    with trio.CancelScope(shield=True):
        await trio.sleep_forever()


async def _hangs_whatever_happens(*_: object) -> None:
    while True:
        with contextlib.suppress(BaseException):
            await trio.sleep_forever()


async def _waits_for_everybody_and_hangs(actors: Sequence[tuple[Execute, Interrupt]]) -> None:
    async with trio.open_nursery() as nursery:
        for execute, _ in actors:
            nursery.start_soon(execute)
    for _, interrupt in actors:
        await interrupt(None)


async def _not_yet_written(*_: object) -> None:
    raise NotImplementedError


def _no_async_def(*_: object) -> Any:
    return None


only_the_running = _variant(only_running=True)  # those that have exited are not interrupted

RACE_MISTAKES: list[Race] = [
    _waits_for_all,
    _returns_it_from_the_task,
    _last_one_wins,
    _none_has_not_won,
    _only_the_first_runs,
    _hangs,
    _hangs_behind_a_shield,
    _hangs_whatever_happens,
    _not_yet_written,
    _no_async_def,
]
MISTAKES: list[RunGroupFn] = [
    _variant(chosen=-1),  # the last exit settles the result
    _variant(catch=False),  # the exception reaches the nursery
    only_the_running,
    _variant(order=-1),  # in reverse
    _variant(together=True),  # all interrupts at once
    _variant(cancel=True),  # nobody has time to stop in order
    _variant(with_error=False),  # always None
    _variant(interrupts=False),  # nobody is told
    _variant(raises="copy"),  # not the very object
    _variant(raises="nothing"),  # swallowed
    _variant(value=False),  # the value is lost
    _variant(none_counts=False),  # a return of None is taken for no exit
    _variant(polls=True),  # burns the processor
    _variant(late=True),  # the interrupts after the nursery
    _everybody_tells_everybody,
    _waits_for_everybody_and_hangs,
    _hangs,
    _hangs_behind_a_shield,
    _hangs_whatever_happens,
    _not_yet_written,
    _no_async_def,
]

"""Any group there is, against a model of CONTRACT.md that knows nothing of the library.

A *plan* says what a group is made of and what happens to it. The *model* works out from the
contract, without trio, what then must be seen: a dictionary of facts. The *stage* plays the
plan with a real group in virtual time, and writes the same facts down. They must be equal.

No two durations of a plan have the same fraction of a second, so no two sums of them are the
same moment: what happens at one moment has one cause, but in one test, where actors may exit
by themselves at the same moment. The order within a moment is the scheduler's (promise 18):
there the model follows the order in which exits and calls of interrupts were seen, says what
must come of it, and where even that leaves two things open, such as whether an actor that is
told to stop and cancelled winds down or cleans up, it allows both.

    TRIO_RUNGROUP_EXAMPLES=100 pytest tests/test_properties.py   # a hundred times as many
"""

from __future__ import annotations

import functools
import heapq
import itertools
import logging
import math
import os
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any, Literal, TypeAlias, cast

import attrs
import pytest
import trio
import trio.testing
from hypothesis import HealthCheck, example, given, settings, strategies as st

from trio_rungroup import Record, RunGroup

MORE = int(os.environ.get("TRIO_RUNGROUP_EXAMPLES", "1"))

# ---- the plan: all durations in seconds, `inf` for never

Ending: TypeAlias = Literal[
    "returns", "raises", "raises a group", "is cancelled", "exits", "exits in a group"
]


@attrs.frozen
class Body:
    """What an actor does: it works, winds down when told, cleans up when cancelled."""

    work: float = math.inf  # 0: without a checkpoint, like every other 0 here
    ends: Ending = "returns"
    wind_down: float = 0
    told: Ending = "returns"
    clean_up: float = 0
    shielded: bool = True  # else the clean-up is cut short by the next checkpoint
    cancelled: Ending = "is cancelled"
    starts: float = math.inf  # when it calls started(), if it still works
    nursery: bool = False  # all this goes on inside a nursery, next to another task


@attrs.frozen
class Interrupt:
    tells: Literal["at first", "at last", "never"] = "at first"
    takes: float | None = None  # None: a sync one
    shielded: bool = False
    ends: Ending = "returns"


@attrs.frozen
class Actor:
    does: Body | Group
    interrupt: Interrupt | None = None
    grace: float = math.inf
    ends_group: bool = True
    reports: bool = False


@attrs.frozen
class Group:
    actors: tuple[Actor, ...]
    grace: float = math.inf


@attrs.frozen
class Plan:
    group: Group
    cancelled: float = 100  # always, in the end: no plan goes on for ever
    by_deadline: bool = False
    interrupts: tuple[float, ...] = ()  # the calls of `group.interrupt()`
    by_start: bool = False  # `await nursery.start(group.run)`


# ---- the model

Facts: TypeAlias = dict[str, object]
NEVER_STARTED = "child exited without calling task_status.started()"


@attrs.frozen
class Error:
    """An error in words: what it says (a group: what its members say), and the exit in it."""

    text: object
    bare: str | None = None


@attrs.frozen
class Exit:
    how: Literal["returned", "raised", "cancelled"]
    value: object = None
    error: Error | None = None


def end(ending: Ending, label: str) -> Exit:
    bare = f"{label}: bare" if ending.startswith("exits") else None
    match ending:
        case "returns":
            return Exit("returned", label)
        case "is cancelled":
            return Exit("cancelled")
        case "raises":
            text: object = label
        case "raises a group":
            text = (f"{label}: one", f"{label}: two")
        case "exits":
            text = bare
        case _:
            text = (f"{label}: beside", bare)
    return Exit("raised", error=Error(text, bare))


class World:
    """Time, and what is due when. What happens at one moment does so as it was seen to.

    What is left open within one moment is decided by the choices.
    """

    def __init__(self, seen: Sequence[str], choices: list[bool]) -> None:
        self.now = 0.0
        self.seen = seen  # the order of the exits, and the calls of interrupts
        self.choices, self.chosen = choices, 0
        self.queue: list[tuple[float, int, int, Callable[[], None]]] = []
        self.age = itertools.count()
        self.kept: list[str] = []  # all the errors that run() did not raise

    def after(self, seconds: float, action: Callable[[], None], rank: int = -1) -> None:
        if seconds < math.inf:
            heapq.heappush(self.queue, (self.now + seconds, rank, next(self.age), action))

    def as_seen(self, event: str, action: Callable[[], None]) -> None:
        self.after(0, action, (*self.seen, event).index(event))

    def either(self) -> bool:
        """Choose where the contract leaves open which of two things comes first."""
        self.chosen += 1
        if self.chosen > len(self.choices):
            self.choices.append(False)
        return self.choices[self.chosen - 1]

    def run(self) -> None:
        while self.queue:
            self.now, _, _, action = heapq.heappop(self.queue)
            action()


class BodyModel:
    def __init__(self, world: World, plan: Body, actor: ActorModel) -> None:
        self.world, self.plan, self.actor = world, plan, actor
        self.stage = ""
        self.due = math.inf  # when it exits, if nothing else happens
        self.cancelled: float | None = None

    def begin(self) -> None:
        self.enter("works", self.plan.work, self.plan.ends)
        self.world.after(self.plan.starts, self.report)

    def report(self) -> None:
        if self.stage == "works":
            self.actor.starts(f"{self.actor.path} started")

    def tell(self, _: object) -> None:
        if self.stage == "works":
            told = self.due > self.world.now
        else:  # told and cancelled at one moment: either may win
            at_once = self.cancelled == self.world.now and self.plan.wind_down == 0
            told = at_once and self.world.either()
        if told:
            self.cancelled = None
            self.enter("winds down", self.plan.wind_down, self.plan.told)

    def cancel(self) -> None:
        if self.cancelled is None and (self.due > self.world.now or self.world.either()):
            self.cancelled = self.world.now
            if self.plan.clean_up > 0 and not self.plan.shielded:
                self.enter("cleans up", 0, "is cancelled")
            else:
                self.enter("cleans up", self.plan.clean_up, self.plan.cancelled)

    def enter(self, stage: str, seconds: float, ending: Ending) -> None:
        self.stage, self.due = stage, self.world.now + seconds
        self.world.after(seconds, functools.partial(self.leave, stage, ending))

    def leave(self, stage: str, ending: Ending) -> None:
        if self.stage == stage:
            self.world.as_seen(self.actor.path, functools.partial(self.exit, stage, ending))

    def exit(self, stage: str, ending: Ending) -> None:
        if self.stage == stage:
            exit_ = end(ending, f"{self.actor.path} {stage}")
            if self.plan.nursery and exit_.error is not None:  # a nursery wraps an error
                exit_ = Exit("raised", error=attrs.evolve(exit_.error, text=(exit_.error.text,)))
            elif self.plan.nursery and self.cancelled is not None:  # its other task was, too
                exit_ = Exit("cancelled")
            self.actor.exits(exit_)

    def tell_facts(self, facts: Facts) -> None:
        facts[f"{self.actor.path} body"] = (self.stage, self.cancelled)


class ActorModel:
    def __init__(self, world: World, plan: Actor, path: str, group: GroupModel) -> None:
        self.world, self.plan, self.path, self.group = world, plan, path, group
        self.does: BodyModel | GroupModel
        if isinstance(plan.does, Body):
            self.does = BodyModel(world, plan.does, self)
        else:
            self.does = GroupModel(world, plan.does, f"{path}.", self.exits, self.starts)
        self.shielded = plan.interrupt is not None and min(plan.grace, group.plan.grace) < math.inf
        self.interrupted: float | None = None
        self.interrupt_error: object = None
        self.exited: float | None = None
        self.exit = Exit("returned")
        self.started = False

    def tell(self, error: object) -> None:
        if self.exited is None:
            self.does.tell(error)

    def cancel(self) -> None:
        if self.exited is None:
            self.does.cancel()

    def cancel_for_good(self) -> None:
        """Cancel because a grace has ended: so does every grace inside."""
        self.cancel()
        if self.exited is None and isinstance(self.does, GroupModel):
            self.does.end_every_grace()

    def starts(self, value: object) -> None:
        self.started = True
        if self.plan.reports:
            self.group.values[self.path] = value
            self.group.forward_values()

    def exits(self, exit_: Exit) -> None:
        may_not = self.plan.reports and not self.started and self.group.stopped is None
        if may_not and exit_.how == "returned":
            exit_ = Exit("raised", error=Error(NEVER_STARTED))
        self.exited, self.exit = self.world.now, exit_
        self.group.actor_exits(self)

    def tell_facts(self, facts: Facts) -> None:
        error = self.exit.error
        facts[self.path] = {
            "began": 0,
            "interrupted": self.interrupted,
            "exited": self.exited,
            "how": self.exit.how,
            "error": error and error.text,
            "interrupt error": self.interrupt_error,
        }
        self.does.tell_facts(facts)


class GroupModel:
    def __init__(
        self,
        world: World,
        plan: Group,
        path: str,
        leave: Callable[[Exit], None],
        forward: Callable[[object], None],
    ) -> None:
        self.world, self.plan, self.path = world, plan, path
        self.leave, self.forward = leave, forward
        self.actors = [
            ActorModel(world, actor, f"{path}{i}", self) for i, actor in enumerate(plan.actors)
        ]
        self.begun = False
        self.values: dict[str, object] = {}
        self.stopped: float | None = None
        self.cancelled: float | None = None  # from outside
        self.cancelled_first = False  # that is why it stops
        self.has_deadline = False  # which is how it will be cancelled
        self.hurried = False  # every grace has ended
        self.error_for_interrupts: object = None
        self.turns = iter(self.actors)  # whose interrupts are still to be called
        self.calling: ActorModel | None = None
        self.calls: list[list[object]] = []
        self.first: str | None = None
        self.value: object = None
        self.errors: list[Error] = []
        self.begun_by: Error | None = None
        self.error: Error | None = None
        self.bare: Error | None = None
        self.result: Exit | None = None
        self.ended: float | None = None

    def begin(self) -> None:
        for actor in self.actors:
            actor.does.begin()
        self.begun = True
        self.forward_values()

    def forward_values(self) -> None:
        ready = all(actor.started or not actor.plan.reports for actor in self.actors)
        if ready and self.begun and self.stopped is None:
            self.forward(dict(self.values))

    # What starts the stop.

    def actor_exits(self, actor: ActorModel) -> None:
        error = actor.exit.error
        if self.stopped is not None:
            if error is not None:
                self.add_error(error, may_be_first=self.is_cancelled_from_outside(actor))
        elif error is not None:
            self.first = actor.path
            self.begun_by = None if error.bare else error
            self.add_error(error, may_be_first=True)
            self.stop(error.text)
        elif actor.plan.ends_group:
            self.first, self.value = actor.path, actor.exit.value
            self.stop(None)
        elif all(actor.exited is not None for actor in self.actors):
            self.stop(None)
        self.end_if_all_is_done()

    def is_cancelled_from_outside(self, actor: ActorModel) -> bool:
        """Whether an actor that raises was not cancelled, as its interrupt, by the group."""
        if self.error_for_interrupts == "Cancelled":  # maybe by the group around this one
            return True
        if self.cancelled is None or self.cancelled_first or actor.plan.interrupt is not None:
            return self.cancelled is not None
        if self.cancelled == actor.interrupted == self.stopped:
            return self.world.either()
        return actor.interrupted is None or self.cancelled <= actor.interrupted

    def tell(self, error: object) -> None:
        if self.stopped is None:
            self.stop(error)
        elif self.was_just_cancelled and self.world.either():
            # Cancelled and told at one moment. What the interrupts are given is open, and so
            # is whether that makes a first and a second request.
            self.error_for_interrupts = error
            if self.world.either():
                self.cancelled_first = False
                self.end_every_grace()

    def cancel(self) -> None:
        if self.result is not None:  # just about to leave
            if self.result.how == "returned" and self.world.either():
                self.result = Exit("cancelled")
            return
        if self.cancelled is not None:
            return
        self.cancelled = self.world.now
        if self.stopped is None:
            self.cancelled_first = True
            for actor in self.actors:
                if not actor.shielded:
                    actor.cancel()
            self.stop("Cancelled")
        elif self.may_be_asked_again or (self.stopped == self.world.now and self.world.either()):
            self.end_every_grace()

    @property
    def may_be_asked_again(self) -> bool:
        """Whether it meets a second cancellation: the gap that `RunGroup.run` tells."""
        return self.has_deadline or any(actor.plan.interrupt is not None for actor in self.actors)

    @property
    def was_just_cancelled(self) -> bool:
        return self.cancelled_first and self.stopped == self.world.now and not self.calls

    # The stop.

    def stop(self, error: object) -> None:
        self.stopped, self.error_for_interrupts = self.world.now, error
        self.world.after(self.plan.grace, functools.partial(self.grace_ends, self.actors))
        self.world.after(0, self.call_interrupts)

    def call_interrupts(self) -> None:
        """Call those whose turn it is, up to one that must be awaited."""
        for actor in self.turns:
            if actor.plan.interrupt is not None:
                call = functools.partial(self.call, actor, actor.plan.interrupt)
                self.world.as_seen(f"{actor.path} interrupt", call)
                return
            actor.interrupted = self.world.now
            actor.cancel()
        self.end_if_all_is_done()

    def call(self, actor: ActorModel, interrupt: Interrupt) -> None:
        assert self.stopped is not None
        self.calling = actor
        self.calls.append([actor.path, self.error_for_interrupts, self.world.now])
        actor.interrupted = self.world.now
        self.world.after(actor.plan.grace, functools.partial(self.grace_ends, [actor]))
        if interrupt.tells == "at first":
            actor.tell(self.error_for_interrupts)
        end = functools.partial(self.end_call, actor, interrupt)
        if not interrupt.takes:
            end()
            return
        self.world.after(interrupt.takes, end)
        no_time = self.hurried or self.world.now >= self.stopped + self.plan.grace
        if no_time or (self.cancelled_first and not actor.shielded):
            self.cancel_call()

    def end_call(self, actor: ActorModel, interrupt: Interrupt) -> None:
        if self.calling is not actor:
            return  # it was cancelled
        self.calling = None
        self.calls[-1].append(self.world.now)
        if interrupt.tells == "at last":
            actor.tell(self.error_for_interrupts)
        error = end(interrupt.ends, f"{actor.path} interrupt").error
        if error is not None:
            actor.interrupt_error = error.text
            actor.cancel()
            self.add_error(error, may_be_first=False)
        self.call_interrupts()

    def cancel_call(self) -> None:
        interrupt = self.calling and self.calling.plan.interrupt
        if interrupt and not interrupt.shielded:
            self.calling = None
            self.calls[-1].append(self.world.now)
            self.call_interrupts()

    def grace_ends(self, actors: Sequence[ActorModel]) -> None:
        for actor in actors:
            actor.cancel_for_good()
        if self.calling in actors:
            self.cancel_call()

    def end_every_grace(self) -> None:
        self.hurried = True
        for actor in self.actors:
            actor.cancel_for_good()
        self.cancel_call()

    # What becomes of an error, and the end.

    def add_error(self, error: Error, *, may_be_first: bool) -> None:
        self.errors.append(error)
        if may_be_first and self.error is None:
            self.error = error
        if error.bare is not None:
            self.bare = self.bare or error
            # What the cancellation from outside brings about may come before the stop.
            before = self.was_just_cancelled and self.world.either()
            if self.stopped is not None and not before:
                self.end_every_grace()

    def end_if_all_is_done(self) -> None:
        exited = all(actor.exited is not None for actor in self.actors)
        called = self.calling is None and all(a.interrupted is not None for a in self.actors)
        if exited and called and self.result is None:
            self.ended, self.result = self.world.now, self.find_result()
            self.world.as_seen(self.path[:-1], self.depart)

    def depart(self) -> None:
        assert self.result is not None
        self.leave(self.result)

    def find_result(self) -> Exit:
        raised = self.bare or self.error
        self.world.kept += [f"{e.text}" for e in self.errors if e is not raised]
        if raised is None:
            return Exit("returned", self.value) if self.cancelled is None else Exit("cancelled")
        if raised.bare is None or raised.bare == raised.text:
            return Exit("raised", error=raised)
        self.world.kept.append(f"{raised.text}")
        return Exit("raised", error=Error(raised.bare, raised.bare))

    def tell_facts(self, facts: Facts) -> None:
        assert self.result is not None
        error, begun_by = self.result.error, self.begun_by
        facts[f"{self.path}run()"] = {
            "interrupts": self.calls,
            "stopped": self.stopped,
            "ended": self.ended,
            "first": self.first,
            "how": self.result.how,
            "value": self.result.value,
            "error": error and error.text,
            "displaced": begun_by.text if self.bare and begun_by is not None else None,
        }
        for actor in self.actors:
            actor.tell_facts(facts)


def facts_by_contract(plan: Plan, seen: Sequence[str]) -> Iterator[Facts]:
    """Yield all that may be seen: more than one only where things fall on one moment."""
    choices: list[bool] = []
    while True:
        yield facts_by_choice(plan, World(seen, choices))
        while choices and choices[-1]:
            choices.pop()
        if not choices:
            return
        choices[-1] = True


def facts_by_choice(plan: Plan, world: World) -> Facts:
    facts, started = Facts(), list[object]()

    def forward(values: object) -> None:
        started.append((world.now, values))

    group = GroupModel(world, plan.group, "", lambda _: None, forward)
    group.has_deadline = plan.by_deadline
    world.after(plan.cancelled, group.cancel)
    for moment in plan.interrupts:
        world.after(moment, functools.partial(group.tell, f"interrupt() at {moment}"))
    group.begin()
    world.run()
    group.tell_facts(facts)
    facts["kept"] = sorted(world.kept)
    facts["started"] = started if plan.by_start else []
    return facts


# ---- the stage


class Bare(BaseException):
    """Neither an Exception nor Cancelled."""


def members(error: BaseException | None) -> Sequence[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return cast("BaseExceptionGroup[BaseException]", error).exceptions
    return ()


def has_cancelled(error: BaseException) -> bool:
    return isinstance(error, trio.Cancelled) or any(map(has_cancelled, members(error)))


class Stage:
    """Plays a plan with a real group and writes down what happens."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.seen: list[str] = []
        self.facts: Facts = {}
        self.made: dict[str, BaseException] = {}  # every error by what it says
        self.raised: list[BaseException] = []  # whatever left an actor
        self.executed: Counter[str] = Counter()
        self.running: set[str] = set()
        self.calls: dict[str, list[list[object]]] = {}
        self.kept: list[str] = []  # what was logged, or is the context of what was raised
        self.groups: dict[str, RunGroup] = {}
        self.runs: dict[str, dict[str, Any]] = {}
        self.began = 0.0

    def now(self) -> float:
        return trio.current_time() - self.began

    # Errors and words for them.

    def make(self, kind: type[BaseException], label: str) -> BaseException:
        assert label not in self.made
        self.made[label] = error = kind(label)
        return error

    def keep(self, error: BaseException) -> BaseException:
        self.raised.append(error)
        return error

    def end(self, ending: Ending, label: str) -> str:
        match ending:
            case "raises":
                raise self.make(ValueError, label)
            case "raises a group":
                one, two = (self.make(KeyError, f"{label}: {word}") for word in ("one", "two"))
                raise self.keep(BaseExceptionGroup("both", [one, two]))
            case "exits":
                kind = (KeyboardInterrupt, SystemExit, Bare)[len(self.made) % 3]
                raise self.make(kind, f"{label}: bare")
            case "exits in a group":
                beside = self.make(KeyError, f"{label}: beside")
                bare = self.make(SystemExit, f"{label}: bare")
                raise self.keep(BaseExceptionGroup("", [beside, bare]))
            case _:
                return label

    def words(self, error: BaseException | None) -> object:
        """Put an error into words, as the model does; make sure it is the very object."""
        if members(error):
            # A new object only if there was a Cancelled in the old one.
            assert not any(map(has_cancelled, members(error)))
            assert error in self.raised or any(
                has_cancelled(raised) and self.spell(raised) == self.spell(error)
                for raised in self.raised
            )
        return self.spell(error)

    def spell(self, error: BaseException | None) -> object:
        if isinstance(error, trio.Cancelled):
            return "Cancelled"
        if members(error):
            return tuple(self.spell(e) for e in members(error) if not has_cancelled(e))
        if error is None or f"{error}".startswith(NEVER_STARTED):
            return error and NEVER_STARTED
        text = f"{error.args[0]}"
        assert self.made[text] is error
        return text

    def keep_contexts(self, error: BaseException) -> None:
        assert error.__context__ is None or not isinstance(
            error, Exception
        )  # only Ctrl-C displaces
        while error.__context__ is not None:
            error = error.__context__
            self.kept.append(f"{self.words(error)}")

    # Actors.

    def build(self, plan: Group, path: str) -> RunGroup:
        group = self.groups[path] = RunGroup(grace=plan.grace)
        self.calls[path] = []
        for i, actor in enumerate(plan.actors):
            self.add(group, actor, path, f"{path}{i}")
        return group

    def add(self, group: RunGroup, plan: Actor, parent: str, path: str) -> None:
        told = trio.Event()
        execute: Callable[[trio.TaskStatus[Any]], Awaitable[object]]
        tell: Callable[[BaseException | None], object]
        if isinstance(plan.does, Body):
            perform = functools.partial(self.perform, plan.does, path, told)
            execute, tell = perform, lambda _: told.set()
        else:
            inner = self.build(plan.does, f"{path}.")
            execute, tell = functools.partial(self.run, inner, f"{path}."), inner.interrupt
        asked = plan.interrupt
        group.add(
            functools.partial(self.execute, execute, path),
            None if asked is None else self.interrupt(asked, tell, parent, path),
            name=path,
            grace=plan.grace,
            ends_group=plan.ends_group,
            reports_started=plan.reports,
        )

    async def execute(
        self,
        execute: Callable[[trio.TaskStatus[Any]], Awaitable[object]],
        path: str,
        task_status: trio.TaskStatus[Any] = trio.TASK_STATUS_IGNORED,
    ) -> object:
        self.executed[path] += 1
        self.running.add(path)
        try:
            return await execute(task_status)
        except BaseException as error:
            self.keep(error)
            raise
        finally:
            self.running.remove(path)
            self.seen.append(path)

    async def perform(
        self, plan: Body, path: str, told: trio.Event, task_status: trio.TaskStatus[str]
    ) -> object:
        if not plan.nursery:
            return await self.act(plan, path, told, task_status)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            value = await self.act(plan, path, told, task_status)
            nursery.cancel_scope.cancel(reason="done")
        return value

    async def act(
        self, plan: Body, path: str, told: trio.Event, task_status: trio.TaskStatus[str]
    ) -> str:
        stage, ending, cancelled = "works", plan.ends, None
        try:
            if plan.work > 0:
                with trio.move_on_after(plan.work):
                    with trio.move_on_after(plan.starts):
                        await told.wait()
                        stage, ending = "winds down", plan.told
                    if stage == "works":
                        task_status.started(f"{path} started")
                        await told.wait()
                        stage, ending = "winds down", plan.told
            if stage == "winds down" and plan.wind_down > 0:
                await trio.sleep(plan.wind_down)
        except trio.Cancelled:
            stage, ending, cancelled = "cleans up", plan.cancelled, self.now()
            if plan.clean_up > 0:
                with trio.CancelScope(shield=plan.shielded):
                    await trio.sleep(plan.clean_up)
            if plan.cancelled == "is cancelled":
                raise
        finally:
            self.facts[f"{path} body"] = (stage, cancelled)
        return self.end(ending, f"{path} {stage}")

    # Interrupts.

    def interrupt(
        self,
        plan: Interrupt,
        tell: Callable[[BaseException | None], object],
        parent: str,
        path: str,
    ) -> Callable[[BaseException | None], object]:
        def enter(error: BaseException | None) -> None:
            assert path in self.executed
            assert all(len(call) == 4 for call in self.calls[parent]), "one at a time"
            self.seen.append(f"{path} interrupt")
            self.calls[parent].append([path, self.words(error), self.now()])
            if plan.tells == "at first":
                tell(error)

        def leave() -> None:
            self.calls[parent][-1].append(self.now())

        def sync(error: BaseException | None) -> None:
            enter(error)
            leave()
            if plan.tells == "at last":
                tell(error)
            self.end(plan.ends, f"{path} interrupt")

        async def asynchronous(error: BaseException | None) -> None:
            enter(error)
            try:
                if plan.takes:
                    with trio.CancelScope(shield=plan.shielded):
                        await trio.sleep(plan.takes)
            finally:
                leave()
            if plan.tells == "at last":
                tell(error)
            self.end(plan.ends, f"{path} interrupt")

        return sync if plan.takes is None else asynchronous

    # The run.

    async def run(
        self,
        group: RunGroup,
        path: str,
        task_status: trio.TaskStatus[Any] = trio.TASK_STATUS_IGNORED,
    ) -> object:
        run = self.runs[path] = dict[str, Any](how="returned", value=None, error=None)
        try:
            run["value"] = value = await group.run(task_status=task_status)
            return value
        except trio.Cancelled:
            run["how"] = "cancelled"
            raise
        except BaseException as error:
            run.update(how="raised", error=error, context=error.__context__)
            raise

    async def play(self) -> None:
        group = self.build(self.plan.group, "")
        await trio.sleep(4)  # a record counts from the start of its run
        self.began = trio.current_time()
        before = trio.lowlevel.current_statistics().tasks_living
        deadline = self.began + self.plan.cancelled if self.plan.by_deadline else math.inf
        scope = trio.CancelScope(deadline=deadline)
        result: list[BaseException | None] = [None]
        self.facts["started"] = started = list[object]()

        async def run(task_status: trio.TaskStatus[Any] = trio.TASK_STATUS_IGNORED) -> None:
            try:
                await self.run(group, "", task_status)
            except trio.Cancelled:
                raise
            except BaseException as error:
                result[0] = error

        async with trio.open_nursery() as others:
            if not self.plan.by_deadline:
                others.start_soon(self.cancel, scope)
            for moment in self.plan.interrupts:
                others.start_soon(self.interrupt_group, group, moment)
            with scope:
                if self.plan.by_start:
                    async with trio.open_nursery() as nursery:
                        try:
                            value = await nursery.start(run)
                            started.append((self.now(), value))
                        except RuntimeError as error:
                            assert str(error).startswith(NEVER_STARTED)
                else:
                    await run()
            others.cancel_scope.cancel(reason="the run is over")
        assert trio.lowlevel.current_statistics().tasks_living == before
        assert self.running == set()
        if result[0] is not None:
            self.keep_contexts(result[0])
        self.write_down()

    async def cancel(self, scope: trio.CancelScope) -> None:
        await trio.sleep(self.plan.cancelled)
        scope.cancel(reason="the plan")

    async def interrupt_group(self, group: RunGroup, moment: float) -> None:
        await trio.sleep(moment)
        group.interrupt(self.make(ValueError, f"interrupt() at {moment}"))

    def write_down(self) -> None:
        for path, group in self.groups.items():
            run, record = self.runs[path], group.record
            assert record is not None
            assert (record.how, record.error) == (run["how"], run["error"])
            self.facts[f"{path}run()"] = {
                "interrupts": self.calls[path],
                "stopped": record.stopped,
                "ended": record.ended,
                "first": record.first and record.first.name,
                "how": run["how"],
                "value": run["value"],
                "error": self.words(record.error),
                "displaced": self.words(self.displaced(record, run)),
            }
            for actor in record.actors:
                assert self.executed[actor.name] == 1
                self.facts[actor.name] = {
                    "began": actor.began,
                    "interrupted": actor.interrupted,
                    "exited": actor.exited,
                    "how": actor.how,
                    "error": self.words(actor.error),
                    "interrupt error": self.words(actor.interrupt_error),
                }
        self.facts["kept"] = sorted(self.kept)

    def displaced(self, record: Record, run: dict[str, Any]) -> BaseException | None:
        """Look up what an exit displaced, if an error had begun the stop."""
        if record.error is None or isinstance(record.error, Exception):
            return None
        begun_by_error = record.first is not None and isinstance(record.first.error, Exception)
        return run["context"] if begun_by_error else None


class Handler(logging.Handler):
    def __init__(self, stage: Stage) -> None:
        super().__init__(logging.ERROR)
        self.stage = stage

    def emit(self, record: logging.LogRecord) -> None:
        assert record.exc_info is not None
        error = record.exc_info[1]
        assert error is not None
        self.stage.kept.append(f"{self.stage.words(error)}")
        self.stage.keep_contexts(error)


def play(plan: Plan, seed: int) -> Stage:
    stage = Stage(plan)
    logger, handler = logging.getLogger("trio_rungroup"), Handler(stage)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("trio._core._run._ALLOW_DETERMINISTIC_SCHEDULING", True)
        patch.setattr("trio._core._run._r", random.Random(seed))
        patch.setattr(logger, "handlers", [handler])
        patch.setattr(logger, "propagate", False)
        trio.run(stage.play, clock=trio.testing.MockClock(autojump_threshold=0))
    return stage


# ---- plans

OWN_ENDS: tuple[Ending, ...] = (
    *("returns", "returns", "returns", "returns", "returns", "raises", "raises", "raises"),
    *("raises a group", "exits", "exits in a group"),
)

RETURNS: tuple[Ending, ...] = ("returns",) * 6

# What may fall on one moment: nothing but what cannot be told apart; what one exit, or one
# interrupt, brings about at once; exits that have nothing to do with each other.
Moments: TypeAlias = Literal["of their own", "shared by cause and effect", "shared by exits"]


class Durations:
    """Durations with a fraction that no other has, and exact as floats whatever is added."""

    def __init__(self, draw: st.DrawFn) -> None:
        self.draw = draw
        self.fractions = (2.0**-i for i in range(1, 43))

    def __call__(self, low: int = 0, high: int = 6) -> float:
        return self.draw(st.integers(low, high)) + next(self.fractions)

    def or_(self, other: float) -> float:
        return other if self.draw(st.booleans()) else self()


def ending(draw: st.DrawFn, *more: Ending) -> Ending:
    return draw(st.sampled_from((*more, *OWN_ENDS)))


@st.composite
def bodies(draw: st.DrawFn, durations: Durations, *, reports: bool, moments: Moments) -> Body:
    # A nursery takes its time to close: what happens meanwhile has more than one outcome.
    nursery = draw(st.sampled_from((False, False, True)))
    lonely = moments == "of their own"
    tie = moments == "shared by exits" and not nursery and draw(st.booleans())
    return Body(
        work=draw(st.sampled_from((0, 1, 2))) if tie else durations.or_(math.inf),
        ends=ending(draw),
        wind_down=durations() if nursery or lonely else durations.or_(0),
        told=ending(draw, "returns"),
        clean_up=durations() if lonely else durations.or_(0),
        shielded=draw(st.booleans()),
        cancelled=ending(draw, "is cancelled", "is cancelled", "raises", "raises"),
        starts=durations(0, 3) if reports else math.inf,
        nursery=nursery,
    )


@st.composite
def interrupts(draw: st.DrawFn, durations: Durations) -> Interrupt:
    return Interrupt(
        tells=draw(st.sampled_from(("at first", "at first", "at last", "never"))),
        takes=draw(st.sampled_from((None, 0, 1, 1))) and durations(0, 9),
        shielded=draw(st.booleans()),
        ends=ending(draw, *RETURNS),
    )


@st.composite
def groups(
    draw: st.DrawFn, durations: Durations, *, most: int, depth: int, reports: bool, moments: Moments
) -> Group:
    actors: list[Actor] = []
    for i in range(draw(st.integers(1, most))):
        report = reports and draw(st.booleans())
        does: Body | Group
        if depth > 0 and i == 0:
            does = draw(groups(durations, most=2, depth=depth - 1, reports=report, moments=moments))
        else:
            does = draw(bodies(durations, reports=report, moments=moments))
        interrupt = draw(st.none() | interrupts(durations))
        actors.append(
            Actor(
                does=does,
                interrupt=interrupt,
                grace=durations.or_(math.inf) if interrupt is not None else math.inf,
                ends_group=draw(st.sampled_from((True, True, False))),
                reports=report,
            )
        )
    return Group(tuple(draw(st.permutations(actors))), grace=durations.or_(math.inf))


@st.composite
def plans(
    draw: st.DrawFn, *, depth: int = 0, moments: Moments = "shared by cause and effect"
) -> Plan:
    durations = Durations(draw)
    cancelled = durations(0, 9) + draw(st.sampled_from((0, 0, 64)))
    reports = draw(st.booleans())
    interrupts = [durations() for _ in range(draw(st.integers(0, 2)))]
    group = groups(durations, most=2 if depth else 4, depth=depth, reports=reports, moments=moments)
    return Plan(
        group=draw(group),
        cancelled=cancelled,
        by_deadline=draw(st.booleans()),
        interrupts=tuple(interrupts),
        by_start=reports,
    )


SEEDS = st.integers(0, 1000)
CHECKED = settings(
    deadline=None,
    database=None,
    derandomize=MORE == 1,
    max_examples=200 * MORE,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def check(plan: Plan, seed: int) -> Facts:
    stage = play(plan, seed)
    seen, allowed = stage.facts, list(facts_by_contract(plan, stage.seen))
    expected = next((facts for facts in allowed if facts == seen), allowed[0])
    different = [key for key in seen.keys() | expected.keys() if seen.get(key) != expected.get(key)]
    assert {key: seen.get(key) for key in different} == {
        key: expected.get(key) for key in different
    }
    return seen


# Cancelled from outside before it has started, it returns: nobody is to blame.
CANCELLED_BEFORE_STARTED = Plan(
    Group((Actor(Body(starts=5.5, cancelled="returns"), reports=True),)), cancelled=1.25
)

# Cancelled from outside before its turn to be interrupted has come.
CANCELLED_BEFORE_ITS_TURN = Plan(
    Group(
        (
            Actor(Body(work=1.5), Interrupt(takes=9.25)),
            Actor(Body(clean_up=2.125, cancelled="raises")),
        )
    ),
    cancelled=3.0625,
)


@CHECKED
@given(plans(), SEEDS)
@example(CANCELLED_BEFORE_STARTED, 0)
@example(CANCELLED_BEFORE_STARTED, 1)
@example(CANCELLED_BEFORE_ITS_TURN, 0)
def test_any_group_does_what_the_contract_says(plan: Plan, seed: int) -> None:
    check(plan, seed)


@CHECKED
@given(plans(moments="shared by exits"), SEEDS)
def test_of_two_things_at_one_moment_either_may_be_first_and_the_rest_follows(
    plan: Plan, seed: int
) -> None:
    check(plan, seed)


# The first interrupt ends every grace, also that of the inner group, which is told right after.
CANCELLED_AND_TOLD = Plan(
    group=Group(
        (
            Actor(Body(work=1.5), Interrupt(ends="exits")),
            Actor(Group((Actor(Body(wind_down=1.25), Interrupt()),), grace=2.125), Interrupt(), 9),
        )
    )
)

# The inner group is told to stop before it has started, and cancelled right after.
TOLD_AND_CANCELLED = Plan(
    group=Group(
        (
            Actor(
                does=Group(
                    (
                        Actor(Body(wind_down=9.5), Interrupt()),
                        Actor(Body(starts=5.25), reports=True),
                    ),
                    grace=3.125,
                ),
                interrupt=Interrupt(ends="raises"),
                reports=True,
            ),
            Actor(Body(work=1.0625)),
        )
    ),
    by_start=True,
)


# The inner group is told to stop, and cancelled, at one moment: the grace of its actor is none.
TOLD_AND_CANCELLED_AT_ONCE = Plan(
    Group(
        (
            Actor(Group((Actor(Body(clean_up=0.25, cancelled="raises")),)), Interrupt(), grace=0),
            Actor(Body(work=1.5)),
        )
    ),
    cancelled=9.0625,
)


@CHECKED
@given(plans(depth=1), SEEDS)
@example(TOLD_AND_CANCELLED_AT_ONCE, 0)
@example(CANCELLED_AND_TOLD, 0)
@example(TOLD_AND_CANCELLED, 0)
def test_a_nested_group_does_what_the_contract_says(plan: Plan, seed: int) -> None:
    check(plan, seed)


@CHECKED
@given(plans(moments="of their own"), st.lists(SEEDS, min_size=2, max_size=3, unique=True))
def test_the_order_of_scheduling_changes_nothing(plan: Plan, seeds: list[int]) -> None:
    first, *others = (check(plan, seed) for seed in seeds)
    assert others == [first] * len(others)

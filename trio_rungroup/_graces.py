"""A stop that takes long: graces that end, warnings, and the groups inside.

Nothing here is needed to understand the rule (`_group.py`). Where all actors exit soon after they
have been interrupted, nothing here runs but `actor_around_is_out_of_grace`, once.

When graces end. An actor's own grace ends by the clock. All graces of a run end together, at the
time `run.graces_end` (the end of the group's grace, or of a timeout that `run.cancel_all()` hides),
or sooner: at a second request to stop, an error that ends the program, a word from a run around
this one. The `Watch` is what the calling task does in the meantime.

Groups nest. trio carries a cancellation into a group and those inside it at once, but not through
the shield of a grace. Each group takes it as a request to stop: as the first, or as the second if
it is stopping already. It does not see another one after that, since it shields itself, or waits in
a cancelled nursery. So a run whose graces are over tells the runs inside it (`end_graces_inside`).
"""

from __future__ import annotations

import functools
import heapq
import inspect
import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final, final

import trio

from ._record import seconds
from ._where import where

if TYPE_CHECKING:
    from ._group import Run

SECOND_REQUEST: Final = "asked a second time to stop"
GRACE_OVER_AROUND: Final = "the grace has ended in the group around this one"
_GRACE_OVER: Final = "its grace has ended"
_PATIENCE: Final = 10.0  # seconds that a stop may take before we log what it waits for

# The runs that are under way, by nursery, for those around them and inside them: groups nest.
runs_under_way: Final[dict[object, Run]] = {}


def end_all_graces(run: Run, reason: str) -> list[int]:
    """Cancel all that are left, end the graces inside them, and hand back whose grace this ended.

    Where the nursery's scope stands for all, `run.cancel_all()` cancels them.
    """
    ended: list[int] = []
    if run.told_graces_are_over and reason == SECOND_REQUEST:  # which is how we hear of it
        reason = GRACE_OVER_AROUND
    if run.graces_over is None:
        run.graces_over = reason
        run.graces_end = min(run.graces_end, run.clock.current_time())
        if run.watch is not None:
            run.watch.warn_again()
        if run.awaited is not None:
            run.cancel(run.awaited.actor, reason, run.awaited.scope)
        ended = _in_a_grace(run, reason)
        for index in range(len(run.scopes)):
            run.cancel(index, reason)
    end_graces_inside(run.nursery.child_tasks)  # every time: one may have begun meanwhile
    if ended:
        _log_cancelled(run, ended, _by_actor(run.nursery.child_tasks, run), reason)
    return ended


def _in_a_grace(run: Run, reason: str) -> list[int]:
    """Find the actors whose grace this cuts short, for the log."""
    if not run.scopes or run.facts.interrupted[0] == math.inf:
        return []  # all are cancelled with the nursery's scope; or not even the first is told yet
    running = _not_cancelled(run, range(run.number))
    if run.cancelled_outside:  # which the others have heard of by themselves
        running = [index for index in running if run.scopes[index].shield]
    if reason != _GRACE_OVER and actor_around_is_out_of_grace(run.caller):
        # The group around this one has told of what is inside. If each did so again, it would
        # take 2.5 s where 600 are inside each other.
        running = [index for index in running if not run.is_a_group(index)]
    return running


def _not_cancelled(run: Run, indices: Iterable[int]) -> list[int]:
    """Find the actors that are still running, and whose scope nobody has cancelled."""
    return [i for i in indices if not (run.has_exited(i) or run.scopes[i].cancel_called)]


def _log_cancelled(
    run: Run, ended: list[int], tasks: dict[int, trio.lowlevel.Task], reason: str
) -> None:
    """Tell whose grace has ended, and where each was waiting."""
    because = "" if reason == _GRACE_OVER else f" ({reason})"
    places = where((run.name(index), tasks.get(index)) for index in ended)
    run.log("cancelled because the grace has ended%s:%s", because, places)


@final
class Watch:
    """The calling task's watch over a stop that takes long: it ends graces and warns."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.patience_ends = run.stopped_at + _PATIENCE
        # Whom a warning has named: actors, and the last interrupt (an actor's index).
        self.named: set[int] = set()
        self.interrupt_named: int | None = None
        # Whose grace has ended, and when to name those that stay all the same; in order of time.
        self.to_exit_by: list[tuple[float, list[int]]] = []
        self.deadlines = [  # a heap: until when, which actor
            (ends, index)
            for index in range(run.number)
            if (ends := run.grace_ends(index)) < math.inf
        ]
        heapq.heapify(self.deadlines)

    async def until_all_have_exited(self) -> None:
        run = self.run
        error: BaseException | None = None
        while run.tasks_left:
            # Once we have been cancelled, from outside or with the nursery's scope that stands for
            # all, we shield ourselves: the same cancellation would only wake us again. Then we meet
            # no second one, and have to be told of it.
            shield = run.cancelled_outside or not run.scopes
            if run.told_graces_are_over and shield:
                run.told_graces_are_over = False
                end_all_graces(run, GRACE_OVER_AROUND)
            try:
                with trio.CancelScope(deadline=self.next_deadline(), shield=shield):
                    await run.sleep()
            except BaseException as exc:  # noqa: BLE001 - kept by take_request()
                error = exc
            run.take_request(error, begins=False)
            error = None
            now = run.clock.current_time()
            self.end_graces_due(now)
            self.warn_if_due(now)

    def grace_begins(self, index: int) -> None:
        """Add the grace of an actor that is interrupted only now."""
        ends = self.run.grace_ends(index)
        if ends < math.inf:
            heapq.heappush(self.deadlines, (ends, index))
            self.run.wake()

    def warn_again(self) -> None:
        """Warn within ten seconds, even if that has been done before."""
        self.patience_ends = min(self.patience_ends, self.run.clock.current_time() + _PATIENCE)
        self.run.wake()

    def next_deadline(self) -> float:
        """Return when there will be something to do."""
        run = self.run
        next_warning = min(self.patience_ends, self.interrupt_is_late_at())
        if self.to_exit_by:
            next_warning = min(next_warning, self.to_exit_by[0][0])
        if run.graces_over is not None:
            return next_warning
        next_grace = self.deadlines[0][0] if self.deadlines else math.inf
        return min(next_warning, run.graces_end, next_grace)

    def end_graces_due(self, now: float) -> None:
        """Cancel the actors whose grace has ended, and tell where each was waiting."""
        run = self.run
        if run.graces_over is not None:
            return
        if now >= run.graces_end:
            self.expect_to_exit(end_all_graces(run, _GRACE_OVER), now)
            return
        due: list[int] = []
        while self.deadlines and self.deadlines[0][0] <= now:
            due.append(heapq.heappop(self.deadlines)[1])
        if run.awaited is not None and run.awaited.actor in due:
            # Its scope has the same deadline, but trio may not have acted on it yet.
            run.cancel(run.awaited.actor, _GRACE_OVER, run.awaited.scope)
            end_graces_inside([run.awaited.task])
        left = [index for index in due if not run.has_exited(index)]
        ended = _not_cancelled(run, left)
        self.expect_to_exit(ended, now)
        for index in left:
            run.cancel(index, _GRACE_OVER)
        end_graces_inside(self.tasks[index] for index in left if index in self.tasks)
        if ended:
            _log_cancelled(run, ended, self.tasks, _GRACE_OVER)

    def expect_to_exit(self, ended: list[int], now: float) -> None:
        """Name those whose grace has ended once more, if they have not exited in ten seconds.

        A group inside names its own actors.
        """
        self.named.update(ended)
        actors = [index for index in ended if not self.run.is_a_group(index)]
        if actors:
            self.to_exit_by.append((now + _PATIENCE, actors))

    def warn_if_due(self, now: float) -> None:
        """Name those that no grace will end, or no longer, and what holds up the interrupts."""
        run = self.run
        waiting: list[tuple[str, trio.lowlevel.Task | None]] = []
        yet_to_be_told: list[tuple[str, trio.lowlevel.Task | None]] = []
        # Now, since it depends on `patience_ends`, which the next lines reset.
        late = run.awaited if now >= self.interrupt_is_late_at() else None
        if now >= self.patience_ends:
            self.patience_ends = math.inf
            endless = [
                index
                for index in range(run.number)
                if not run.has_exited(index)
                and index not in self.named
                and self.has_no_grace_to_come(index)
            ]
            self.named.update(endless)
            for index in endless:
                is_told = run.facts.interrupted[index] < math.inf
                named = waiting if is_told else yet_to_be_told
                named.append((run.name(index), self.tasks.get(index)))
        while self.to_exit_by and self.to_exit_by[0][0] <= now:
            due, indices = self.to_exit_by.pop(0)
            since = f"cancelled {seconds(now - due + _PATIENCE)} ago,"
            waiting += [
                (f"{run.name(index)}, {since}", self.tasks.get(index))
                for index in indices
                if not run.has_exited(index)
            ]
        if late is not None:
            self.interrupt_named = late.actor
            waiting.append((f"the interrupt of {run.who(late.actor)}", late.task))
        if waiting or yet_to_be_told:
            places = f" for:{where(waiting)}" if waiting else ""
            if yet_to_be_told:
                places += f"\nnot interrupted yet:{where(yet_to_be_told)}"
            run.log(f"the stop has been waiting for {seconds(now - run.stopped_at)}%s", places)

    def interrupt_is_late_at(self) -> float:
        """Return when to name the interrupt that is being awaited."""
        run = self.run
        awaited = run.awaited
        if awaited is None or awaited.actor == self.interrupt_named:
            return math.inf
        called_at = run.start + run.facts.interrupted[awaited.actor]
        deadline = awaited.scope.deadline
        soon = min(called_at + _PATIENCE, self.patience_ends)
        # To look at all is for then: thousands of async interrupts may come and go before.
        if deadline == math.inf or soon > run.clock.current_time():
            return soon
        if not all(map(run.has_exited, range(awaited.actor + 1, run.number))):
            return soon  # others wait for their turn
        # Only if it does not even end with its grace.
        return max(called_at, min(deadline, run.graces_end)) + _PATIENCE

    def has_no_grace_to_come(self, index: int) -> bool:
        run = self.run
        if min(run.actors.graces[index], run.grace) == math.inf:
            return True
        return run.actors.interrupts[index] is None or run.scopes[index].cancel_called

    @functools.cached_property
    def tasks(self) -> dict[int, trio.lowlevel.Task]:
        """The tasks of the actors that had not exited when this was first wanted.

        One may be missing: see `_by_actor`.
        """
        return _by_actor(self.run.nursery.child_tasks, self.run)


def end_graces_inside(tasks: Iterable[trio.lowlevel.Task]) -> None:
    """Tell the runs that are under way in some tasks that all graces are over.

    Only the outermost ones: those tell the runs inside them. The cancellation that goes with this
    does not reach them where they have shielded themselves since their first request to stop.

    A run that is not stopping is left alone: a shield of the user's keeps the cancellation from it.
    One that is stopping heeds us while it shields itself: it cannot see the user's shield then.
    """
    todo = list(tasks)
    while todo:
        for nursery in todo.pop().child_nurseries:
            run = runs_under_way.get(nursery)
            if run is None:
                todo += nursery.child_tasks
            elif run.stopped:
                run.told_graces_are_over = True
                run.wake()


def actor_around_is_out_of_grace(task: trio.lowlevel.Task) -> bool:
    """Tell whether the innermost actor, or interrupt, that a task is part of has no grace left."""
    nursery = task.parent_nursery
    while nursery is not None and nursery not in runs_under_way:
        task = nursery.parent_task
        nursery = task.parent_nursery
    if nursery is None:
        return False  # no group is around it
    run = runs_under_way[nursery]
    if not run.stopped:
        return False
    if run.graces_over is not None:
        return True
    index: int | None
    if run.awaited is not None and task is run.awaited.task:
        index = run.awaited.actor
    else:
        index = next(iter(_by_actor([task], run)), None)
    # None: somebody has put it among ours
    return index is not None and run.clock.current_time() >= run.grace_ends(index)


def _by_actor(tasks: Iterable[trio.lowlevel.Task], run: Run) -> dict[int, trio.lowlevel.Task]:
    """Find which actors some tasks of a run's nursery run; one that runs none is left out.

    Seldom needed, so we read the `index` out of its coroutine: a list of the tasks would take 1 %
    of every run. (Before Python 3.13 this makes a copy of its locals, so no error may be among
    them.) Where another coroutine has been put in the place of ours, as greenback does, or around
    it, as a profiler may, the task's name tells; if that has been changed as well, the actor is not
    found.
    """
    found: dict[int, trio.lowlevel.Task] = {}
    others: list[trio.lowlevel.Task] = []
    for task in tasks:
        index: int | None = None
        if getattr(task.coro, "cr_code", None) is run.run_actor.__code__:
            index = inspect.getcoroutinelocals(task.coro).get("index")
        if index is None:
            others.append(task)
        else:
            found[index] = task
    if others:
        names = {run.actors.names[index]: index for index in range(run.number)}
        for task in others:
            if (index := names.get(task.name)) is not None:
                found.setdefault(index, task)
    return found

"""The check of notebook 08: `check(stoppable)`, on the notebook's cluster, in real time."""

from __future__ import annotations

import functools
import inspect
import itertools
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import attrs
import trio
from distributed import Client, Event, LocalCluster, default_client, get_worker
from helpers import verdict

from trio_rungroup import future_actor

Step: TypeAlias = Callable[[], None]
Stoppable: TypeAlias = Callable[[Client, Step], Any]

_RUNS = 0.8  # seconds that the first one runs; the second runs twice as long
_SOON = 2.0  # seconds that an interrupted one may take
_MOST = 6.0  # seconds after which a step ends whoever makes it
_tokens = itertools.count()


def check(stoppable: Stoppable) -> None:
    """Run what the learner wrote on a cluster; print what holds, and a hint."""
    try:
        client = default_client()
    except ValueError:  # not in the notebook: a small cluster of threads, for the moment
        with (
            LocalCluster(
                n_workers=1,
                threads_per_worker=4,
                processes=False,
                dashboard_address=":0",
                silence_logs=50,
            ) as cluster,
            Client(cluster) as client,
        ):
            _check(stoppable, client)
    else:
        _check(stoppable, client)


def _check(stoppable: Stoppable, client: Client) -> None:
    first, second, fails = (_Run(client, stoppable, fails=fails) for fails in (False, False, True))
    trio.run(_two_at_once, first, second)
    if first.ended and second.ended:
        trio.run(fails.run, trio.Event())
    for run in (first, second, fails):
        run.end_what_is_left()
    if isinstance(first.error, NotImplementedError):
        hint = "make an Event, and a function that calls step() in a loop until it is set."
        verdict((False, "stoppable is written", hint))
        return
    verdict(
        (
            first.steps_at_end > 0 and second.steps_at_end > 0,
            "its steps are made on the cluster",
            f"client.submit sends a function there; future_actor takes the future. {first}",
        ),
        (
            first.ended and second.ended,
            "interrupted, it ends soon",
            "the loop has to ask the event before each step; the interrupt sets it.",
        ),
        (
            first.steps_at_end == first.steps_later,
            "and then no more steps are made",
            (
                "cancelling a future only ends the waiting, so give future_actor an interrupt of "
                f"its own. It made {first.steps_at_end} steps, and later {first.steps_later}."
            ),
        ),
        (
            first.value == first.steps_at_end > 0,
            "it gives back the number of steps",
            f"what the remote function returns is what comes back. {first}",
        ),
        (
            0 < first.steps_later < second.steps_at_end == second.value,
            "a second one, at the same time, does not mind",
            f"each needs an event of its own, and pure=False. {first} The second: {second}",
        ),
        (
            isinstance(fails.error, OSError) and fails.steps_at_end == 3,
            "an error in a step comes out as itself",
            f"let it out of the loop; the future brings it here. {fails}",
        ),
    )


@attrs.define
class _Run:
    """One actor: what came out of it, and how many steps had been made when."""

    client: Client
    stoppable: Stoppable
    fails: bool
    token: int = attrs.field(factory=functools.partial(next, _tokens), init=False)
    ended: bool = attrs.field(default=False, init=False)
    value: object = attrs.field(default=None, init=False)
    error: Exception | None = attrs.field(default=None, init=False)
    steps_at_end: int = attrs.field(default=0, init=False)
    steps_later: int = attrs.field(default=0, init=False)

    async def run(self, stop: trio.Event) -> None:
        """Run it until `stop`; interrupt it; see what happens."""
        with trio.move_on_after(_MOST):
            try:
                execute, interrupt = self.stoppable(
                    self.client, _step(self.token, time.time() + _MOST, fails=self.fails)
                )
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._execute, execute, stop)
                    await stop.wait()
                    if not self.ended:
                        result = interrupt(None)
                        if inspect.isawaitable(result):
                            await result
                    nursery.cancel_scope.deadline = trio.current_time() + _SOON
            except Exception as error:  # a check never raises
                self.error = self.error or error
        self.steps_at_end = self._steps()
        await trio.sleep(0.3)
        self.steps_later = self._steps()

    async def _execute(self, execute: Callable[[], Awaitable[object]], stop: trio.Event) -> None:
        try:
            self.value = await execute()
        except Exception as error:  # shown to the learner
            self.error = error
        self.ended = True
        stop.set()

    def _steps(self) -> int:
        token = self.token

        def steps(dask_worker: Any) -> int:
            counted: int = getattr(dask_worker, "steps_of_08", {}).get(token, 0)
            return counted

        return sum(self.client.run(steps).values())

    def end_what_is_left(self) -> None:
        """Free the worker of a loop that nobody can stop: its next step fails."""
        token = self.token

        def give_up(dask_worker: Any) -> None:
            if hasattr(dask_worker, "steps_of_08"):
                dask_worker.steps_of_08[token] = -(10**9)

        self.client.run(give_up)

    def __str__(self) -> str:
        if self.error is not None:
            return f"It raised {self.error!r} after {self.steps_at_end} steps."
        if not self.ended:
            return f"It did not end; {self.steps_at_end} steps were made."
        return f"It gave back {self.value!r}, and {self.steps_at_end} steps had been made."


async def _two_at_once(first: _Run, second: _Run) -> None:
    async def stop_after(run: _Run, seconds: float) -> None:
        stop = trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run.run, stop)
            await trio.sleep(seconds)
            stop.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(stop_after, first, _RUNS)
        nursery.start_soon(stop_after, second, 2 * _RUNS + 0.3)


def _step(token: int, until: float, *, fails: bool) -> Step:
    """Make a step that counts its calls on the worker, and does not go on for ever."""

    def step() -> None:
        worker: Any = get_worker()
        if not hasattr(worker, "steps_of_08"):
            worker.steps_of_08 = {}
        steps = worker.steps_of_08[token] = worker.steps_of_08.get(token, 0) + 1
        time.sleep(0.02)
        if fails and steps == 3:
            raise OSError("the third step fails")
        if steps < 0 or time.time() > until:
            raise TimeoutError("nobody has stopped this")

    return step


# ---- wrong answers, each of which the check must find ----


def _until(stop: Event, step: Step) -> int:
    steps = 0
    while not stop.is_set():
        step()
        steps += 1
    return steps


def _hangs(client: Client, step: Step) -> Any:
    stop = Event(client=client)
    return future_actor(lambda: client.submit(_until, stop, step, pure=False), lambda _: None)


def _only_cancels(client: Client, step: Step) -> Any:
    stop = Event(client=client)
    return future_actor(lambda: client.submit(_until, stop, step, pure=False))


def _one_event_for_all(client: Client, step: Step) -> Any:
    stop = Event("stop", client=client)
    return future_actor(lambda: client.submit(_until, stop, step, pure=False), lambda _: stop.set())


def _one_key_for_all(client: Client, step: Step) -> Any:
    stop = Event(client=client)
    return future_actor(lambda: client.submit(_until, stop, step, key="work"), lambda _: stop.set())


def _works_here(client: Client, step: Step) -> Any:
    stop = Event(client=client)

    async def execute() -> int:
        return await trio.to_thread.run_sync(_until, stop, step)

    return execute, lambda _: stop.set()


def _gives_nothing_back(client: Client, step: Step) -> Any:
    def work(stop: Event) -> None:
        while not stop.is_set():
            step()

    stop = Event(client=client)
    return future_actor(lambda: client.submit(work, stop, pure=False), lambda _: stop.set())


def _hides_errors(client: Client, step: Step) -> Any:
    def work(stop: Event) -> int:
        steps = 0
        while not stop.is_set():
            try:
                step()
            except OSError:
                return steps
            steps += 1
        return steps

    stop = Event(client=client)
    return future_actor(lambda: client.submit(work, stop, pure=False), lambda _: stop.set())


def _asks_once(client: Client, step: Step) -> Any:
    def work(stop: Event) -> int:
        steps = 0
        if not stop.is_set():
            step()
            steps += 1
        return steps

    stop = Event(client=client)
    return future_actor(lambda: client.submit(work, stop, pure=False), lambda _: stop.set())


def _returns_nothing(client: Client, step: Step) -> Any:
    del client, step


MISTAKES: list[Stoppable] = [
    _hangs,
    _only_cancels,
    _one_event_for_all,
    _one_key_for_all,
    _works_here,
    _gives_nothing_back,
    _hides_errors,
    _asks_once,
    _returns_nothing,
]

"""The check of notebook 08: `check(stoppable)`, on the notebook's cluster, in real time."""

from __future__ import annotations

import functools
import inspect
import itertools
import signal
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import attrs
import trio
from distributed import Client, Event, LocalCluster, default_client, get_worker
from helpers import BlocksError, alarm_clock, verdict

from trio_rungroup import SignalReceived, future_actor

Step: TypeAlias = Callable[[], None]
Stoppable: TypeAlias = Callable[[Client, Step], Any]

_FIRST, _SECOND = 0.5, 1.1  # seconds after which each of the two is interrupted
_SOON = 2.0  # seconds that an interrupted one may take
_MOST = 4.0  # seconds after which a step ends whoever makes it
_PATIENCE = 25  # seconds that work may take which was there before
_LONGEST_STEP = 5  # seconds in which nothing else can run: it waits without an `await`
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
    first = _Run(client, stoppable)
    first.make()
    if isinstance(first.error, NotImplementedError):
        hint = "make an Event, and a function that calls step() in a loop until it is set."
        verdict((False, "stoppable is written", hint))
        return
    if first.error is not None:
        first.end_what_is_left()
        hint = f"return what future_actor(...) gives back. {first}"
        if "coroutine object" in str(first.error):
            hint = "making the pair has nothing to wait for: write it as `def`, without `async`."
        verdict((False, "it returns a pair of functions", hint))
        return
    if not _is_free(client):
        hint = "wait until what runs there has ended, or run client.restart(), if it never does."
        verdict((False, "all workers are free", hint))
        return
    time.sleep(0.2)
    if first.steps() > 0:
        first.end_what_is_left()
        hint = "future_actor takes a function that submits, `lambda: client.submit(...)`: the work "
        hint += "must not be submitted before the actor runs."
        verdict((False, "no step is made before the actor runs", hint))
        return
    first.make()  # anew: time may have passed
    second = _Run(client, stoppable, stop=SignalReceived(signal.SIGTERM))
    fails = _Run(client, stoppable, fails=True)
    second.make()
    with alarm_clock(_LONGEST_STEP) as instruments:
        trio.run(_two_at_once, first, second, instruments=instruments)
        if first.ended and second.ended and not isinstance(first.error, BlocksError):
            fails.make()
            trio.run(fails.run, _MOST, instruments=instruments)
    for run in (first, second, fails):
        run.end_what_is_left()
    if isinstance(first.error, BlocksError):
        hint = "nothing here may wait for the cluster but the future_actor: a call such as "
        hint += f"`future.result()` or `stop.wait()` lets no other task run. {first.error}."
        verdict((False, "it lets others run while it waits", hint))
        return
    verdict(
        (
            first.steps_at_end + second.steps_at_end > 0,
            "its steps are made on the cluster",
            _why_no_steps(first),
        ),
        (
            first.took > 0,
            "it goes on until it is interrupted",
            f"call step() in a loop: ask the event, make a step, ask again. {first}",
        ),
        (
            first.ended
            and second.ended
            and first.took < _SOON
            and first.interrupt_error is second.interrupt_error is None,
            "interrupted, it ends soon",
            (
                f"the interrupt raised {(first.interrupt_error or second.interrupt_error)!r}."
                if first.interrupt_error is not None or second.interrupt_error is not None
                else "the second was interrupted with SignalReceived, as by a signal: the "
                f"interrupt sets the event, whatever the error is. {second}"
                if first.ended and first.took < _SOON
                else "the loop has to ask the event before each step, and the interrupt sets it, "
                "`stop.set()` with its brackets (is it Dask's Event? One of trio's, or a variable, "
                "is merely copied); nothing here may wait for the future but the future_actor. "
                f"{first}"
            ),
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
            0 < first.steps_later < second.steps_at_end and second.took > 0,
            "a second one, at the same time, runs on undisturbed",
            f"each needs an event of its own, and pure=False. {first} The second: {second}",
        ),
        (
            first.value == first.steps_at_end > 0 and second.value == second.steps_at_end,
            "it gives back the number of steps",
            "more steps are counted than were made: equal calls are made once, write pure=False; "
            f"and a step that is submitted is made later, so wait for it before you count. {first}"
            if isinstance(first.value, int) and first.value > first.steps_at_end + 1
            else "what the function counts there, it has to return: a variable from here is merely "
            f"copied. Begin at 0, and count a step when it is made. {first}"
            if isinstance(first.value, int)
            else "what the remote function returns is what comes back, unless the interrupt "
            f"cancels the future as well: a cancelled one has no value. {first}",
        ),
        (
            isinstance(fails.error, OSError) and fails.steps_at_end == 1,
            "an error in a step comes out as itself",
            f"let it out of the loop; the future brings it here. {fails}",
        ),
    )


def _why_no_steps(run: _Run) -> str:
    if run.value == 0:
        return (
            "the loop ended before its first step. An event of Dask's is always true: ask it with "
            "`while not stop.is_set():`, in a plain `def`, not an `async def`. Or was it set "
            f"before? The interrupt is a function, `lambda error: stop.set()`, not a call. {run}"
        )
    if isinstance(run.error, ValueError) and "No worker found" in str(run.error):
        return (
            "the step was made here. client.submit calls the function there: hand it over without "
            f"brackets, `client.submit(work, stop)`. {run}"
        )
    if run.error is not None:
        return (
            "it failed before its first step. client.submit sends a function there, with what it "
            "needs: of events only Dask's own, `distributed.Event`, can be sent; not one of "
            f"threading's or trio's, nor the client. {run}"
        )
    if isinstance(run.value, int):
        return f"it counted steps, and none was made: call `step()`, with its brackets. {run}"
    return (
        "client.submit sends a function there; future_actor takes a function that submits, and "
        f"waits for its future. {run}"
    )


def _is_free(client: Client) -> bool:
    """Wait for work that still runs there, as after a tweak."""
    until = time.monotonic() + _PATIENCE
    workers = client.scheduler_info(n_workers=-1)["workers"]
    answers = [client.submit(int, workers=[worker], pure=False) for worker in workers]
    try:
        for answer in answers:
            answer.result(timeout=max(0.1, until - time.monotonic()))
    except TimeoutError:
        return False
    return True


@attrs.define
class _Run:
    """One actor: what came out of it, and how many steps had been made when."""

    client: Client
    stoppable: Stoppable
    fails: bool = False
    stop: Exception | None = None  # what its interrupt is given
    token: int = attrs.field(factory=functools.partial(next, _tokens), init=False)
    pair: tuple[Any, Any] | None = attrs.field(default=None, init=False)
    ended: bool = attrs.field(default=False, init=False)
    took: float = attrs.field(default=0, init=False)  # seconds to the end, from the interrupt
    value: object = attrs.field(default=None, init=False)
    interrupt_error: BaseException | None = attrs.field(default=None, init=False)
    error: BaseException | None = attrs.field(default=None, init=False)
    steps_at_end: int = attrs.field(default=0, init=False)
    steps_later: int = attrs.field(default=0, init=False)

    def make(self) -> None:
        """Call what the learner wrote."""
        step = _step(self.token, time.time() + _MOST, fails=self.fails)
        try:
            execute, interrupt = self.stoppable(self.client, step)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a check never raises
            self.error = error
        else:
            self.pair = execute, interrupt

    async def run(self, seconds: float) -> None:
        """Run it for so long, unless it ends before; interrupt it; see what happens."""
        if self.pair is not None:
            execute, interrupt = self.pair
            stop_at = trio.current_time() + seconds
            async with trio.open_nursery() as nursery:
                ended = trio.Event()
                nursery.start_soon(self._execute, execute, ended)
                with trio.move_on_at(stop_at):
                    await ended.wait()
                if not self.ended:
                    nursery.start_soon(self._interrupt, interrupt)
                    nursery.cancel_scope.deadline = trio.current_time() + _SOON
            self.took = trio.current_time() - stop_at
        self.steps_at_end = self.steps()
        await trio.sleep(0.2)
        self.steps_later = self.steps()

    async def _execute(self, execute: Callable[[], Awaitable[object]], ended: trio.Event) -> None:
        try:
            self.value = await execute()
        except (trio.Cancelled, KeyboardInterrupt):
            raise
        except BaseException as error:  # shown to the learner
            self.error = error
        self.ended = True
        ended.set()

    async def _interrupt(self, interrupt: Callable[[Exception | None], object]) -> None:
        try:
            result = interrupt(self.stop)
            if inspect.isawaitable(result):
                await result
        except (trio.Cancelled, KeyboardInterrupt):
            raise
        except BaseException as error:  # shown to the learner
            self.interrupt_error = error

    def steps(self) -> int:
        """Count the steps made so far."""
        token = self.token

        def steps(dask_worker: Any) -> int:
            counted: int = vars(dask_worker).get("steps_of_08", {}).get(token, 0)
            return counted

        return sum(self.client.run(steps).values())

    def end_what_is_left(self) -> None:
        """Free the worker of a loop that nobody can stop: its next step fails."""
        token = self.token

        def give_up(dask_worker: Any) -> None:
            vars(dask_worker).setdefault("steps_of_08", {})[token] = -(10**9)

        self.client.run(give_up)

    def __str__(self) -> str:
        """Tell what was seen, for a hint."""
        if self.error is not None:
            return f"It raised {self.error!r} (steps made: {self.steps_at_end})."
        if not self.ended:
            return f"It did not end (steps made: {self.steps_at_end})."
        return f"It gave back {self.value!r} (steps made: {self.steps_at_end})."


async def _two_at_once(first: _Run, second: _Run) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(first.run, _FIRST)
        nursery.start_soon(second.run, _SECOND)


def _step(token: int, until: float, *, fails: bool) -> Step:
    """Make a step that counts its calls on the worker, and does not go on for ever."""

    def step() -> None:  # it goes to a worker, where this module may not be at hand
        counts: dict[int, int] = vars(get_worker()).setdefault("steps_of_08", {})
        steps = counts[token] = counts.get(token, 0) + 1
        time.sleep(0.02)
        if fails:
            raise OSError("the step fails")
        if steps < 0 or time.time() > until:
            raise TimeoutError("nobody has stopped this")

    return step


# ---- wrong answers, each of which the check must find; and other right ones ----


def _until(stop: Event, step: Step) -> int:
    steps = 0
    while not stop.is_set():
        step()
        steps += 1
    return steps


def _never_asked_it_hangs(client: Client, step: Step) -> Any:
    stop = Event(client=client)
    return future_actor(lambda: client.submit(_until, stop, step, pure=False), lambda _: None)


def _only_cancels(client: Client, step: Step) -> Any:
    stop = Event(client=client)
    return future_actor(lambda: client.submit(_until, stop, step, pure=False))


def _an_event_of_trios(client: Client, step: Step) -> Any:
    stop: Any = trio.Event()
    return future_actor(lambda: client.submit(_until, stop, step, pure=False), lambda _: stop.set())


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


def _asks_whether_there_is_an_event(client: Client, step: Step) -> Any:
    def work(stop: Event) -> int:
        steps = 0
        while not stop:
            step()
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


def _waits_here_and_hangs(client: Client, step: Step) -> Any:
    stop = Event(client=client)

    async def execute() -> object:
        return client.submit(_until, stop, step, pure=False).result()

    return execute, lambda _: stop.set()


def _interrupt_takes_no_error(client: Client, step: Step) -> Any:
    stop = Event(client=client)
    interrupt: Any = stop.set  # without a parameter
    return future_actor(lambda: client.submit(_until, stop, step, pure=False), interrupt)


def _returns_nothing(client: Client, step: Step) -> Any:
    del client, step


MISTAKES: list[Stoppable] = [
    _never_asked_it_hangs,
    _only_cancels,
    _an_event_of_trios,
    _one_event_for_all,
    _one_key_for_all,
    _works_here,
    _gives_nothing_back,
    _hides_errors,
    _asks_whether_there_is_an_event,
    _asks_once,
    _waits_here_and_hangs,
    _interrupt_takes_no_error,
    _returns_nothing,
]


def _one_step_at_a_time(client: Client, step: Step) -> Any:
    stopping = False

    async def execute() -> int:
        steps = 0
        while not stopping:
            await future_actor(lambda: client.submit(step, pure=False))[0]()
            steps += 1
        return steps

    def interrupt(error: BaseException | None) -> None:
        nonlocal stopping
        stopping = True

    return execute, interrupt


def _waits_in_the_interrupt(client: Client, step: Step) -> Any:
    stop = Event(client=client)

    async def interrupt(error: BaseException | None) -> None:
        await trio.to_thread.run_sync(stop.set)

    return future_actor(lambda: client.submit(_until, stop, step, pure=False), interrupt)


ALSO_RIGHT: list[Stoppable] = [_one_step_at_a_time, _waits_in_the_interrupt]

"""The check of notebook 10, and the mistakes that it must find."""

from __future__ import annotations

import contextlib
import inspect
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from typing import Any
from unittest import mock

import attrs
import trio
from helpers import STUB_IS_LEFT, Attempt, attempt, called, leaves_of, verdict, why_it_failed

Work = Callable[[Any], Awaitable[Any]]
Pipeline = Callable[[Iterable[Any], Work, int], Awaitable[Any]]

_SECONDS = {"a": 3, "b": 1, "c": 1.5, "d": 1.25}
_DONE = ["B", "C", "A", "D"]  # with two workers
_LITTLE = {None: 1, 0: 1.5, "": 2}
_MANY = 40
_AHEAD = 2
_AGAIN = 12  # times more
_LATE = 1000  # by then everything is over, or never


@attrs.define
class _Spy:
    """Opens channels as trio does, and remembers them."""

    open: Any = trio.open_memory_channel
    receiving: list[trio.MemoryReceiveChannel[Any]] = attrs.field(factory=list)

    def __call__(self, max_buffer_size: float) -> tuple[Any, Any]:  # as trio calls it
        pair = self.open(max_buffer_size)
        self.receiving.append(pair[1])
        return pair

    def __getitem__(self, _: object) -> _Spy:
        return self


@attrs.define
class _Scene:
    """One call of the learner's function, and what was seen of it."""

    items: list[Any]
    seconds: Callable[[Any], float]
    workers: int = 2
    in_a_list: bool = False  # and not from a generator, which several can share
    fails: str | None = None
    limit: float = math.inf  # of the scope around the call
    outcome: Attempt = attrs.field(init=False)
    spy: _Spy = attrs.field(factory=_Spy)
    calls: list[Any] = attrs.field(factory=list)
    taken: int = 0
    ahead: int = 0  # the most that were taken, and not yet in work
    caught: bool = False  # the scope got its cancellation back
    stuck: list[trio.MemoryChannelStatistics] = attrs.field(factory=list)

    async def work(self, item: Any) -> Any:
        self.calls.append(item)
        await trio.sleep(self.seconds(item))
        if item is not None and item == self.fails:
            raise OSError("no network")
        return item.upper() if isinstance(item, str) else item

    def _take(self) -> Iterator[Any]:
        for item in self.items:
            self.taken += 1
            yield item

    async def _look(self) -> None:
        await trio.sleep(0.125)
        while trio.current_time() < _MANY:
            self.ahead = max(self.ahead, self.taken - len(self.calls))
            await trio.sleep(0.25)
        await trio.sleep_until(_LATE)
        self.stuck = [channel.statistics() for channel in self.spy.receiving]

    async def _play(self, pipeline: Pipeline) -> Any:
        trio.lowlevel.spawn_system_task(self._look)
        with trio.move_on_after(self.limit) as scope:
            items = [*self.items] if self.in_a_list else self._take()
            return await called(pipeline, items, self.work, self.workers)
        self.caught = scope.cancelled_caught
        return None

    def play(self, pipeline: Pipeline) -> None:
        with mock.patch.object(trio, "open_memory_channel", self.spy):
            self.outcome = attempt(self._play, pipeline)
        if isinstance(value := self.outcome.value, list):  # as it is now: it may be shared
            self.outcome = attrs.evolve(self.outcome, value=[*value])

    @property
    def results(self) -> list[Any] | None:
        value = self.outcome.value
        return list(value) if isinstance(value, (list, tuple)) else None


def _failing() -> _Scene:
    return _Scene([*_SECONDS], _SECONDS.__getitem__, fails="b")


def _has_failed_at_once(scene: _Scene) -> bool:
    return _has_oserror(scene.outcome.error) and scene.outcome.ended == 1


def check(pipeline: Pipeline) -> None:
    """Call it with a few items, none, many, with one that fails, and in a scope that ends."""
    main = _Scene([*_SECONDS], _SECONDS.__getitem__)
    little = _Scene([*_LITTLE], _LITTLE.__getitem__, workers=5, in_a_list=True)
    nothing = _Scene([], _SECONDS.__getitem__)
    many = _Scene([*range(_MANY)], lambda number: 1 + number % 2 / 2)
    failing = _failing()
    cancelled = _Scene([*_SECONDS], _SECONDS.__getitem__, limit=2.25)
    late = _Scene([*_SECONDS], _SECONDS.__getitem__, limit=3.25)  # the last item is in work
    scenes = [main, little, nothing, many, failing, cancelled, late]
    for scene in scenes:
        scene.play(pipeline)
        if main.outcome.spins:  # and would in the others, too, which takes its time
            break
    for _ in range(_AGAIN):  # what is cancelled in one moment is so in any order
        if main.outcome.spins or not _has_failed_at_once(failing):
            break
        failing = _failing()
        failing.play(pipeline)
    if main.outcome.spins:
        verdict((False, "it comes back by itself", _why_it_hangs(main)))
        return
    if main.outcome.not_written:
        hint = (
            "replace `raise NotImplementedError`: two channels, a nursery, and in it a task that "
            f"sends the items. {STUB_IS_LEFT}"
        )
        verdict((False, "pipeline is written", hint))
        return
    calls = [call for s in scenes for call in s.results or () if inspect.iscoroutine(call)]
    if calls:
        for call in calls:
            call.close()
        hint = "the list is full of calls that nobody has awaited: write `await work(item)`."
        verdict((False, "each call of work is awaited", hint))
        return
    verdict(
        (
            main.outcome.error is None and main.outcome.value is not None,
            "it comes back by itself, and returns something",
            _why_nothing(main),
        ),
        (
            _are_the_same(main.calls, _SECONDS),
            "each item is worked on once",
            _why_not_called(main.calls),
        ),
        (
            _are_the_same(main.results or (), _DONE),
            "all results are there",
            _why_not_all(main),
        ),
        (
            main.outcome.ended == 3.75,
            "two workers take 3.75 s for 3, 1, 1.5 and 1.25 s of work",
            _why_not_in_time(main),
        ),
        (
            main.results == _DONE,
            "the results are in the order in which they are done",
            f"expected {_DONE}; {main.outcome}. A result goes on its way when it is done.",
        ),
        (
            little.results == [*_LITTLE] and little.outcome.ended == 2,
            "five workers and three items: None, 0 and an empty text, which are items like others",
            _why_not_little(little),
        ),
        (
            nothing.results == [] and nothing.outcome.ended == 0,
            "no items, no results: an empty list, at once",
            _told(nothing, "for no items, "),
        ),
        (
            many.ahead <= _AHEAD and _are_the_same(many.results or (), many.items),
            f"of {_MANY} items it never takes more than {_AHEAD} ahead of the workers",
            _why_ahead(many),
        ),
        (
            _has_failed_at_once(failing),
            "an error of work comes out at once",
            _why_not_failed(failing),
        ),
        (
            cancelled.caught and cancelled.outcome.ended == 2.25,
            "cancelled from outside, it ends, and the cancellation comes out",
            _told(cancelled, "cancelled at 2.25 s, and ")
            + " Let `Cancelled` through, and put no shield around the work.",
        ),
        (
            late.caught and late.outcome.ended == 3.25,
            "also while the last item is in work",
            _told(late, "cancelled at 3.25 s, and ")
            + " A worker has swallowed `Cancelled`: let it through, and catch `Exception`.",
        ),
    )


def _are_the_same(some: Iterable[Any], others: Iterable[Any]) -> bool:
    """Compare in any order what may be anything, and so cannot be sorted."""
    return sorted(map(repr, some)) == sorted(map(repr, others))


def _has_oserror(error: BaseException | None) -> bool:
    return error is not None and any(isinstance(leaf, OSError) for leaf in leaves_of(error))


def _told(scene: _Scene, before: str) -> str:
    if scene.outcome.hangs:
        return before + _why_it_hangs(scene)
    return f"{before}{scene.outcome}."


def _why_it_hangs(scene: _Scene) -> str:
    return " ".join(_who_waits(scene))


def _who_waits(scene: _Scene) -> tuple[str, str]:
    """Tell what is seen, and what may be the cause."""
    if scene.outcome.spins:
        return (
            f"{scene.outcome}.",
            "You need no loop that looks again and again: `async for` waits.",
        )
    for stuck in sorted(
        scene.stuck,
        key=lambda stuck: (stuck.tasks_waiting_receive, stuck.tasks_waiting_send),
        reverse=True,
    ):
        if stuck.tasks_waiting_receive:
            return (
                f"it never came back: {_tasks(stuck.tasks_waiting_receive)} for a value from a "
                f"channel with {_ends(stuck.open_send_channels)} still open."
            ), (
                "No item has been taken: is the task started that sends them?"
                if scene.items and not scene.taken
                else "Whoever holds one closes it, with `async with`; also the one that clones "
                "were made of. (One around the nursery closes it too late: after its tasks.)"
            )
        if stuck.tasks_waiting_send:
            told = (
                f"it never came back: {_tasks(stuck.tasks_waiting_send)} to send into a channel "
                "from which nobody takes."
            )
            if stuck.tasks_waiting_send == 1 and len(scene.calls) == scene.workers:
                return told, "Does each worker take one item only? It has to go on: `async for`."
            if scene.items and not scene.calls:
                return told, "Are items sent before the workers are started? Both run side by side."
            return told, (
                "Is the collector after the nursery's block? It has to run beside the workers. Or "
                "does it wait for more values than come, since `items` is gone through in two "
                "places? They can be gone through once."
            )
    return f"{scene.outcome}.", "Who waits for whom?"


def _tasks(number: int) -> str:
    return "one task waits" if number == 1 else f"{number} tasks wait"


def _ends(number: int) -> str:
    return "one sending end" if number == 1 else f"{number} sending ends"


def _why_nothing(scene: _Scene) -> str:
    error = scene.outcome.error
    if scene.outcome.hangs:
        return _why_it_hangs(scene)
    if error is None:
        return "it returned None. Is there a `return`?"
    leaf = leaves_of(error)[0]
    if isinstance(leaf, trio.ClosedResourceError):
        return (
            "ClosedResourceError: an end is used that is closed already. If another task closes "
            "it, give each a `clone()` of its own, which it uses; and the `async with` goes around "
            "the whole loop."
        )
    if isinstance(leaf, trio.BrokenResourceError):
        return (
            "BrokenResourceError: a task sends, and every receiving end is closed. Close one only "
            "when nobody is to receive from it any more; whoever shares it needs a `clone()`."
        )
    if isinstance(leaf, trio.EndOfChannel):
        return "EndOfChannel is how `receive()` says that it is over; `async for` just ends."
    if isinstance(leaf, trio.WouldBlock):
        return "WouldBlock: what ends in `_nowait` does not wait. Write `await` and `send`."
    if "max_buffer_size" in str(leaf):
        return "how much room has the channel? Say it: `trio.open_memory_channel(0)`."
    if "MemorySendChannel" in str(leaf) or "'MemoryReceiveChannel' object has no" in str(leaf):
        return "open_memory_channel gives the sending end first, and then the receiving one."
    if "async for" in str(leaf):
        return "the items are not a channel: go through them with a plain `for`."
    if "is not iterable" in str(leaf) and "Channel" in str(leaf):
        return "a channel is gone through with `async for`: between two values you wait."
    if "has no len" in str(leaf) or "not subscriptable" in str(leaf):
        return f"{why_it_failed(leaf, error)} The items came from a generator: only `for` works."
    return why_it_failed(leaf, error)


def _why_not_called(calls: list[Any]) -> str:
    if not calls:
        return "no item has come to `work`. Is each `send` awaited, and `work` called?"
    return f"called were: {', '.join(map(str, calls))}."


def _why_not_all(scene: _Scene) -> str:
    if scene.results is None:
        return f"a list is expected; {scene.outcome}."
    return (
        f"expected {_DONE}, in any order; {scene.outcome}. Is the list read or copied, or are the "
        "workers cancelled, before they are done, is each `send` awaited, and does the task send "
        "what `work` returns? Or is something read before an `await` and written after it, as in "
        "`results = results + [await work(item)]`? Meanwhile another task has written."
    )


def _why_not_in_time(scene: _Scene) -> str:
    outcome = scene.outcome
    if outcome.ended == sum(_SECONDS.values()):
        return (
            f"it took {outcome.ended:g} s: one after the other. Two workers means two tasks that "
            "take items from the same channel, and no lock that lets only one of them work."
        )
    if outcome.ended == max(_SECONDS.values()):
        return (
            "it took 3 s: all at once, or three of them. Start as many tasks as there are "
            "workers, not items."
        )
    if outcome.ended == 4.5 and sorted(scene.calls[:2]) == ["a", "b"]:
        return (
            "it took 4.5 s: it waits until both are done, and begins two more then. Each worker "
            "takes the next item as soon as it is free itself."
        )
    if scene.calls[2:] != ["c", "d"]:
        return (
            f"begun were {', '.join(map(str, scene.calls))}, in this order. They are to be taken "
            "in order (`pop()` takes the last). Tasks begin in any order: start as many as there "
            "are workers, not items; each takes the next item when it is free."
        )
    return (
        f"{outcome}. The last result was there at 3.75 s. That it is over is told by the end that "
        "is closed, not a clock."
    )


def _why_not_little(scene: _Scene) -> str:
    if scene.outcome.hangs:
        return (
            f"{_who_waits(scene)[0]} There are more workers here than items, and one of the items "
            "is None: that is not the end."
        )
    for_each = [*_LITTLE] * scene.workers
    if "not an iterator" in str(scene.outcome) or _are_the_same(scene.results or (), for_each):
        return (
            f"{scene.outcome}. The items are in a list here, through which each `for` goes from "
            "its beginning. `iter(items)`, called once, gives an iterator that several can share."
        )
    if isinstance(scene.outcome.error, BaseException):
        return f"{scene.outcome}. Here there are more workers than items, and it is another call."
    if scene.results == [*_LITTLE]:
        return (
            f"it took {scene.outcome.ended:g} s in place of 2: each item can have a worker of its "
            "own here. Is the number of workers what it is told, and does nobody sleep?"
        )
    if scene.results is not None and scene.results[: len(_DONE)] == _DONE:
        return (
            f"{scene.outcome}: the results of an earlier call are in it. Make the list inside of "
            "`pipeline`."
        )
    return (
        f"the items are {[*_LITTLE]}, and so are the results; {scene.outcome}. Do not look at a "
        "value to tell whether it is there, or the last."
    )


def _why_not_failed(scene: _Scene) -> str:
    told = _told(scene, "work raised an OSError at 1 s, and ")
    if scene.outcome.hangs:
        return told
    if _has_oserror(scene.outcome.error):
        return (
            f"{told} The nursery cancels the others, unless a shield keeps that out, or the error "
            "is caught before it gets there."
        )
    leaves = leaves_of(scene.outcome.error) if scene.outcome.error is not None else []
    if any(isinstance(leaf, trio.BrokenResourceError) for leaf in leaves):
        return (
            f"{told} The end of an `async with` for a channel is a checkpoint: if its nursery is "
            "cancelled by then, `Cancelled` takes the place of the error. That of a `with` is none."
        )
    return f"{told} Do not catch it: it comes out of the nursery, and ends the others."


def _why_ahead(scene: _Scene) -> str:
    if scene.outcome.error is not None or scene.ahead <= _AHEAD:
        return _told(scene, f"with {_MANY} items, ")
    return (
        f"it had taken {scene.ahead} items more than were in work or done: those in a channel, and "
        "one in the hand of who waits to send. Let the one who takes them wait for a free worker: "
        "a send waits, where the channel has room for 0."
    )


# ---- what people write, and the check must find ----


async def _send_all(sending: trio.MemorySendChannel[Any], items: Iterable[Any]) -> None:
    async with sending:
        for item in items:
            await sending.send(item)


async def _work_on(
    receiving: trio.MemoryReceiveChannel[Any], sending: trio.MemorySendChannel[Any], work: Work
) -> None:
    async with receiving, sending:
        async for item in receiving:
            await sending.send(await work(item))


async def a_hang_as_nobody_closes_the_items(
    items: Iterable[Any], work: Work, workers: int
) -> list[Any]:
    async def produce() -> None:
        for item in items:
            await send_item.send(item)

    send_item, to_do = trio.open_memory_channel[Any](0)
    send_result, results = trio.open_memory_channel[Any](0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(produce)
        async with send_result:
            for _ in range(workers):
                nursery.start_soon(_work_on, to_do.clone(), send_result.clone(), work)
        return [result async for result in results]


async def a_hang_as_the_first_end_stays_open(
    items: Iterable[Any], work: Work, workers: int
) -> list[Any]:
    send_item, to_do = trio.open_memory_channel[Any](0)
    send_result, results = trio.open_memory_channel[Any](0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_send_all, send_item, items)
        for _ in range(workers):
            nursery.start_soon(_work_on, to_do.clone(), send_result.clone(), work)
        return [result async for result in results]


async def a_hang_as_it_collects_after_the_block(
    items: Iterable[Any], work: Work, workers: int
) -> list[Any]:
    send_item, to_do = trio.open_memory_channel[Any](0)
    send_result, results = trio.open_memory_channel[Any](0)
    async with trio.open_nursery() as nursery, send_result:
        nursery.start_soon(_send_all, send_item, items)
        for _ in range(workers):
            nursery.start_soon(_work_on, to_do.clone(), send_result.clone(), work)
    return [result async for result in results]


async def with_one_sending_end_for_all(items: Iterable[Any], work: Work, workers: int) -> list[Any]:
    send_item, to_do = trio.open_memory_channel[Any](0)
    send_result, results = trio.open_memory_channel[Any](0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_send_all, send_item, items)
        for _ in range(workers):
            nursery.start_soon(_work_on, to_do.clone(), send_result, work)
        return [result async for result in results]


async def with_one_receiving_end_for_all(
    items: Iterable[Any], work: Work, workers: int
) -> list[Any]:
    send_item, to_do = trio.open_memory_channel[Any](0)
    send_result, results = trio.open_memory_channel[Any](0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_send_all, send_item, items)
        async with send_result:
            for _ in range(workers):
                nursery.start_soon(_work_on, to_do, send_result.clone(), work)
        return [result async for result in results]


async def one_after_the_other(items: Iterable[Any], work: Work, workers: int) -> list[Any]:
    return [await work(item) for item in items]


async def all_at_once(items: Iterable[Any], work: Work, workers: int) -> list[Any]:
    results = []

    async def one(item: Any) -> None:
        results.append(await work(item))

    async with trio.open_nursery() as nursery:
        for item in items:
            nursery.start_soon(one, item)
    return results


async def all_in_front_of_a_limiter(items: Iterable[Any], work: Work, workers: int) -> list[Any]:
    results, limiter = [], trio.CapacityLimiter(workers)

    async def one(item: Any) -> None:
        async with limiter:
            results.append(await work(item))

    async with trio.open_nursery() as nursery:
        for item in items:
            nursery.start_soon(one, item)
    return results


async def with_room_for_all(items: Iterable[Any], work: Work, workers: int) -> list[Any]:
    send_item, to_do = trio.open_memory_channel[Any](math.inf)
    send_result, results = trio.open_memory_channel[Any](0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_send_all, send_item, items)
        async with to_do, send_result:
            for _ in range(workers):
                nursery.start_soon(_work_on, to_do.clone(), send_result.clone(), work)
        return [result async for result in results]


async def in_the_order_of_the_items(items: Iterable[Any], work: Work, workers: int) -> list[Any]:
    results: dict[int, Any] = {}

    async def worker() -> None:
        for number, item in numbered:
            results[number] = await work(item)

    numbered = iter(enumerate(items))
    async with trio.open_nursery() as nursery:
        for _ in range(workers):
            nursery.start_soon(worker)
    return [results[number] for number in sorted(results)]


async def always_two(items: Iterable[Any], work: Work, workers: int) -> Any:
    return await _from_one_iterator(items, work, 2)


async def with_a_lost_error(items: Iterable[Any], work: Work, workers: int) -> Any:
    async def careful(item: Any) -> Any:
        try:
            return await work(item)
        except OSError:
            return None

    return await _from_one_iterator(items, careful, workers)


async def with_a_shield(items: Iterable[Any], work: Work, workers: int) -> Any:
    async def shielded(item: Any) -> Any:
        with trio.CancelScope(shield=True):
            return await work(item)

    return await _from_one_iterator(items, shielded, workers)


async def with_a_swallowed_cancellation(items: Iterable[Any], work: Work, workers: int) -> Any:
    try:
        return await _from_one_iterator(items, work, workers)
    except* trio.Cancelled:
        pass
    return []


async def with_none_for_the_end(items: Iterable[Any], work: Work, workers: int) -> list[Any]:
    results = []

    async def produce() -> None:
        for item in [*items, *[None] * workers]:
            await sending.send(item)

    async def worker() -> None:
        while (item := await receiving.receive()) is not None:
            results.append(await work(item))

    sending, receiving = trio.open_memory_channel[Any](0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(produce)
        for _ in range(workers):
            nursery.start_soon(worker)
    return results


async def without_what_is_nothing(items: Iterable[Any], work: Work, workers: int) -> list[Any]:
    return [result for result in await _from_one_iterator(items, work, workers) if result]


async def without_return(items: Iterable[Any], work: Work, workers: int) -> None:
    await _from_one_iterator(items, work, workers)


async def copies_inside_the_block(items: Iterable[Any], work: Work, workers: int) -> list[Any]:
    results: list[Any] = []

    async def worker() -> None:
        for item in shared:
            result = await work(item)
            results.append(result)

    shared = iter(items)
    async with trio.open_nursery() as nursery:
        for _ in range(workers):
            nursery.start_soon(worker)
        return [*results]


async def in_circles(items: Iterable[Any], work: Work, workers: int) -> list[Any]:
    results: list[Any] = []

    async def worker() -> None:
        while True:
            try:
                item = receiving.receive_nowait()
            except trio.WouldBlock:
                await trio.lowlevel.checkpoint()
            else:
                results.append(await work(item))

    sending, receiving = trio.open_memory_channel[Any](0)
    async with trio.open_nursery() as nursery:
        for _ in range(workers):
            nursery.start_soon(worker)
        for item in items:
            await sending.send(item)
    return results


MISTAKES: list[Pipeline] = [
    a_hang_as_nobody_closes_the_items,
    a_hang_as_the_first_end_stays_open,
    a_hang_as_it_collects_after_the_block,
    with_one_sending_end_for_all,
    with_one_receiving_end_for_all,
    one_after_the_other,
    all_at_once,
    all_in_front_of_a_limiter,
    with_room_for_all,
    in_the_order_of_the_items,
    always_two,
    with_a_lost_error,
    with_a_shield,
    with_a_swallowed_cancellation,
    with_none_for_the_end,
    without_what_is_nothing,
    without_return,
    copies_inside_the_block,
    in_circles,
]


# ---- what is right, too ----


async def _from_one_iterator(items: Iterable[Any], work: Work, workers: int) -> list[Any]:
    """Tasks share memory: between two checkpoints nobody else takes the next item."""
    results = []

    async def worker() -> None:
        for item in shared:
            result = await work(item)
            results.append(result)

    shared = iter(items)
    async with trio.open_nursery() as nursery:
        for _ in range(workers):
            nursery.start_soon(worker)
    return results


async def _with_a_list_for_the_results(items: Iterable[Any], work: Work, workers: int) -> list[Any]:
    results = []

    async def worker() -> None:
        async for item in receiving:
            result = await work(item)
            results.append(result)

    sending, receiving = trio.open_memory_channel[Any](1)
    async with trio.open_nursery() as nursery:
        for _ in range(workers):
            nursery.start_soon(worker)
        with sending:
            for item in items:
                await sending.send(item)
    return results


async def _with_a_nursery_for_the_workers(
    items: Iterable[Any], work: Work, workers: int
) -> list[Any]:
    results = []

    async def worker() -> None:
        async for item in to_do:
            await send_result.send(await work(item))

    async def work_on_all() -> None:
        async with send_result, trio.open_nursery() as nursery:
            for _ in range(workers):
                nursery.start_soon(worker)

    async def collect() -> None:
        results.extend([result async for result in done])

    send_item, to_do = trio.open_memory_channel[Any](0)
    send_result, done = trio.open_memory_channel[Any](math.inf)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(collect)
        nursery.start_soon(work_on_all)
        nursery.start_soon(_send_all, send_item, items)
    return results


async def _with_a_mark_for_the_end(items: Iterable[Any], work: Work, workers: int) -> list[Any]:
    results, end = [], object()

    async def worker() -> None:
        while True:
            item = await receiving.receive()
            if item is end:
                return
            results.append(await work(item))

    sending, receiving = trio.open_memory_channel[Any](0)
    async with trio.open_nursery() as nursery:
        for _ in range(workers):
            nursery.start_soon(worker)
        for item in items:
            await sending.send(item)
        for _ in range(workers):
            await sending.send(end)
    return results


async def _with_a_semaphore(items: Iterable[Any], work: Work, workers: int) -> list[Any]:
    results, free = [], trio.Semaphore(workers)

    async def one(item: Any) -> None:
        results.append(await work(item))
        free.release()

    async with trio.open_nursery() as nursery:
        await free.acquire()
        for item in items:
            nursery.start_soon(one, item)
            await free.acquire()
    return results


async def _with_a_generator(items: Iterable[Any], work: Work, workers: int) -> list[Any]:
    @contextlib.asynccontextmanager
    async def running() -> AsyncIterator[trio.MemoryReceiveChannel[Any]]:
        send_item, to_do = trio.open_memory_channel[Any](0)
        send_result, results = trio.open_memory_channel[Any](0)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_send_all, send_item, items)
            with to_do, send_result:
                for _ in range(workers):
                    nursery.start_soon(_work_on, to_do.clone(), send_result.clone(), work)
            yield results

    async with running() as results:
        return [result async for result in results]


async def _names_the_size(items: Iterable[Any], work: Work, workers: int) -> list[Any]:
    results: list[Any] = []
    to_do, taken = trio.open_memory_channel[Any](max_buffer_size=0)

    async def worker() -> None:
        async for item in taken:
            results.append(await work(item))  # noqa: PERF401 - as soon as it is done

    async with trio.open_nursery() as nursery:
        for _ in range(workers):
            nursery.start_soon(worker)
        async with to_do:
            for item in items:
                await to_do.send(item)
    return results


ALSO_RIGHT: list[Pipeline] = [
    _names_the_size,
    _from_one_iterator,
    _with_a_list_for_the_results,
    _with_a_nursery_for_the_workers,
    _with_a_mark_for_the_end,
    _with_a_semaphore,
    _with_a_generator,
]

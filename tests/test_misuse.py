"""Misuse gets an error that says what to write instead."""

from __future__ import annotations

import asyncio
import functools
import math
import threading
import types
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
import trio

from trio_rungroup import RunGroup, listener_actor, process_actor, signal_actor


async def ticker(times: int = 1) -> None: ...


def failing_call() -> None:
    raise TypeError("cannot be called")


async def generator() -> AsyncIterator[int]:
    yield 1  # must not be reached


def blocking() -> str:
    return "blocked"


def interrupt(error: BaseException | None) -> None: ...


def test_a_coroutine_object_is_refused_and_closed() -> None:
    with pytest.raises(TypeError, match=r"write group.add\(ticker\) instead of") as caught:
        RunGroup().add(ticker())  # type: ignore[type-var,unused-coroutine]
    assert "functools.partial(ticker, ...)" in str(caught.value)


def test_the_call_of_a_groups_run_is_refused_where_its_pair_is_wanted() -> None:
    with pytest.raises(TypeError, match=r"group.add\(inner.run, inner.interrupt\)"):
        RunGroup().add(RunGroup().run())  # type: ignore[type-var,unused-coroutine]


@pytest.mark.parametrize("command", ["sleep 5", ["sleep", "5"]])
def test_a_command_is_refused_where_the_actor_of_a_process_is_wanted(command: Any) -> None:
    with pytest.raises(TypeError, match=r"group.add\(\*process_actor\(\['sleep', '5'\]\)\)"):
        RunGroup().add(command)


@pytest.mark.parametrize("thing", [None, 3, (ticker, None), threading.Thread()])
def test_what_cannot_be_called_is_refused(thing: Any) -> None:
    with pytest.raises(TypeError, match=r"takes an async function .*group.add\(\*signal_actor"):
        RunGroup().add(thing)


@pytest.mark.parametrize("function", [generator, functools.partial(generator)])
def test_an_async_generator_function_is_refused(function: Any) -> None:
    with pytest.raises(TypeError, match=r"async generator function.*async for"):
        RunGroup().add(function)


def test_a_group_is_refused_where_its_pair_is_wanted() -> None:
    with pytest.raises(TypeError, match=r"group.add\(inner.run, inner.interrupt\)"):
        RunGroup().add(RunGroup())  # type: ignore[type-var]


class Parameters:
    async def none(self) -> None: ...
    async def one(self, a: object) -> None: ...
    async def optional(self, a: object = None, *, b: object = None) -> None: ...
    async def keyword(self, *, a: object) -> None: ...
    async def status(self, *, task_status: trio.TaskStatus[None]) -> None:
        task_status.started()

    async def status_first(self, task_status: trio.TaskStatus[None]) -> None:
        task_status.started()

    async def may_take_status(
        self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        task_status.started()

    async def any_keyword(self, **options: trio.TaskStatus[None]) -> None:
        for each in options.values():
            each.started()

    async def any_argument(*arguments: object) -> None: ...
    async def positional(self, task_status: trio.TaskStatus[None], /) -> None: ...
    @staticmethod
    async def one_of_each(a: object, *, b: object) -> None: ...


def make_sleeper(seconds: float) -> Awaitable[None]:
    return trio.sleep(seconds)


here = Parameters()
partial: Any = functools.partial  # whose calls mypy checks, too
NEEDS_SOME = r"needs some; write group.add\(functools.partial\("
NEEDS_STATUS = r"needs a task_status: write group.add\(..., reports_started=True\)"
NEEDS_SELF = r"needs some; write group.add\(instance.{}\)$"
PAIR = r"or group.add\(\*.*\(...\)\) if it makes a pair"
NOT_TAKEN = "does not take the arguments that functools.partial gives it"
TAKES_NONE = r"takes no keyword task_status, .*async def execute\(\*, task_status\)"


@pytest.mark.parametrize(
    ("function", "reports_started", "refusal"),
    [
        (trio.sleep, False, NEEDS_SOME),
        (trio.sleep, True, TAKES_NONE),
        (here.one, False, NEEDS_SOME),
        (here.keyword, False, NEEDS_SOME),
        (here.one_of_each, False, NEEDS_SOME),
        (Parameters.none, False, NEEDS_SELF.format("none")),
        (here.status, False, NEEDS_STATUS),
        (here.status_first, False, NEEDS_STATUS),
        (here.none, True, TAKES_NONE),
        (here.optional, True, TAKES_NONE),
        (here.any_argument, True, TAKES_NONE),
        (Parameters.status, True, NEEDS_SELF.format("status")),
        (here.positional, True, TAKES_NONE),
        (make_sleeper, False, NEEDS_SOME),
        (process_actor, False, PAIR),
        (lambda seconds: seconds, False, NEEDS_SOME),
        (partial(trio.sleep), False, NEEDS_SOME),
        (partial(here.one), False, NEEDS_SOME),
        (partial(here.one_of_each, 1), False, NEEDS_SOME),
        (partial(here.one_of_each, b=1), False, NEEDS_SOME),
        (partial(here.status), False, NEEDS_STATUS),
        (partial(here.one, 1), True, TAKES_NONE),
        (partial(Parameters.one, a=1), False, NEEDS_SELF.format("one")),
        (partial(trio.sleep, 1, 2), False, NOT_TAKEN),
        (partial(here.none, 1), False, NOT_TAKEN),
        (partial(here.none, a=1), False, NOT_TAKEN),
        (partial(here.positional, task_status=1), False, NOT_TAKEN),
        (partial(here.any_keyword, 1), False, NOT_TAKEN),
        (partial(here.any_argument, a=1), False, NOT_TAKEN),
    ],
)
def test_parameters_that_nothing_is_given_for_are_refused(
    function: Any, reports_started: bool, refusal: str
) -> None:
    with pytest.raises(TypeError, match=refusal):
        RunGroup().add(function, reports_started=reports_started)


class Proxy:
    """Shows all that the function has, and gives it what it needs, as wrapt's decorators do."""

    def __init__(self, function: Callable[..., Awaitable[None]]) -> None:
        self.function = function

    def __getattr__(self, name: str) -> object:
        return getattr(self.function, name)

    async def __call__(self) -> None:
        await self.function(None)


class Compiled:
    """Shows the code of a function that takes nothing, as those of mypyc do."""

    __name__ = "compiled"
    __code__ = (lambda: None).__code__
    __defaults__ = None
    __kwdefaults__ = None

    async def __call__(self, _: object = None) -> None: ...


async def test_a_compiled_function_is_taken_whatever_it_shows_and_named() -> None:
    group = RunGroup()
    group.add(Compiled(), Compiled())
    group.add(functools.partial(Compiled()), functools.partial(Compiled()))
    for listener in await trio.open_tcp_listeners(0, host="127.0.0.1"):
        listener_actor(Compiled(), [listener])
        await listener.aclose()
    await group.run()
    assert group.record is not None
    assert [actor.name for actor in group.record.actors] == ["compiled", "compiled #2"]
    assert [actor.interrupt_error for actor in group.record.actors] == [None, None]


async def test_a_proxy_that_shows_the_code_of_another_function_is_taken() -> None:
    group = RunGroup()
    group.add(Proxy(here.one), ends_group=False)
    group.add(types.MethodType(here.any_argument, 3), ends_group=False)
    await group.run()
    assert group.record is not None
    assert [actor.how for actor in group.record.actors] == ["returned"] * 2


async def test_what_a_partial_gives_need_not_be_given() -> None:
    group = RunGroup()
    for quiet in (
        functools.partial(here.one, 1),
        functools.partial(here.one, a=1),
        functools.partial(functools.partial(Parameters.one_of_each, 1), b=2),
        functools.partial(Parameters.optional, here, b=2),
        functools.partial(here.any_argument, 1, 2),
        functools.partial(here.any_keyword, other=trio.TASK_STATUS_IGNORED),
        functools.partial(Proxy(here.one)),
        lambda: make_sleeper(0),
    ):
        group.add(quiet, ends_group=False)
    group.add(functools.partial(Parameters.status, here), ends_group=False, reports_started=True)
    await group.run()
    assert group.record is not None
    assert [actor.how for actor in group.record.actors] == ["returned"] * 9


async def test_parameters_that_need_not_be_given_are_taken() -> None:
    group = RunGroup()
    for quiet in (here.none, here.optional, here.may_take_status, here.any_keyword):
        group.add(quiet, ends_group=False)
    group.add(here.any_argument, ends_group=False)
    for reporting in (here.status, here.status_first, here.may_take_status, here.any_keyword):
        group.add(reporting, ends_group=False, reports_started=True)
    async with trio.open_nursery() as nursery:
        started = await nursery.start(group.run)
    assert list(started.values()) == [None] * 4
    assert group.record is not None
    assert [actor.how for actor in group.record.actors] == ["returned"] * 9


@pytest.mark.parametrize("function", [asyncio.sleep, functools.partial(asyncio.sleep, 1)])
def test_a_function_of_asyncio_is_refused(function: Any) -> None:
    refused_as_asyncios(function)


def test_so_is_a_call_of_one_and_it_is_closed() -> None:
    refused_as_asyncios(asyncio.sleep(1))


def refused_as_asyncios(function: Any) -> None:
    with pytest.raises(TypeError, match=r"sleep is asyncio's: .*trio_asyncio.aio_as_trio"):
        RunGroup().add(function)


@pytest.mark.parametrize("thing", [3, "x", ()])
def test_an_argument_given_as_the_interrupt_is_refused(thing: Any) -> None:
    with pytest.raises(TypeError, match=r"write functools.partial\(execute, argument\)"):
        RunGroup().add(ticker, thing)


class Service:
    async def serve(self) -> None: ...

    def close(self, error: BaseException | None = None) -> None: ...


def test_who_swaps_execute_and_interrupt_reads_which_comes_first() -> None:
    serve: Any = Service().serve
    with pytest.raises(TypeError, match=r"execute comes first, its interrupt second\)$"):
        RunGroup().add(Service().close, serve)  # type: ignore[type-var]
    needs_one: Any = lambda error: None  # noqa: E731
    with pytest.raises(TypeError, match=r"; an interrupt is the second argument$"):
        RunGroup().add(needs_one, serve)


async def test_a_class_whose_objects_can_be_called_is_pointed_to_its_objects() -> None:
    class Ticker:
        async def __call__(self) -> None: ...

    class Other:
        def __call__(self) -> None: ...

    classes: list[tuple[Any, str]] = [
        (Ticker, r"Ticker is a class; make an object of it: group.add\(.*Ticker\(...\)\)"),
        (Other, "Other is not an async function"),
        (object, "object is not an async function"),
    ]
    for cls, said in classes:
        group = RunGroup()
        group.add(cls)
        with pytest.raises(TypeError, match=said):
            await group.run()


def test_a_coroutine_object_given_as_the_interrupt_is_refused_and_closed() -> None:
    with pytest.raises(
        TypeError, match=r"the interrupt itself, .*: write ticker, or .* instead of"
    ):
        RunGroup().add(ticker, ticker())  # type: ignore[arg-type]


def plain_generator(error: BaseException | None) -> Generator[None]:
    yield


@types.coroutine
def coroutine_by_yield(error: BaseException | None) -> Generator[Any, Any, None]:
    yield from trio.lowlevel.checkpoint().__await__()
    interrupted.append(error)


interrupted: list[object] = []


@pytest.mark.parametrize("function", [generator, plain_generator])
def test_a_generator_function_given_as_the_interrupt_is_refused(function: Any) -> None:
    for interrupt in (function, functools.partial(function)):
        with pytest.raises(TypeError, match="which would never run"):
            RunGroup().add(ticker, interrupt)
    assert list(plain_generator(None)) == [None]


class Interrupter:
    """Can be called, and its call makes a generator."""

    def __init__(self, function: Callable[[Any], object]) -> None:
        self.function = function

    def __call__(self, error: BaseException | None) -> object:
        return self.function(error)


@pytest.mark.parametrize("function", [lambda _: generator(), plain_generator])
async def test_a_generator_that_an_interrupt_returns_is_an_error(
    function: Any, caplog: pytest.LogCaptureFixture
) -> None:
    group = RunGroup()
    group.add(trio.lowlevel.checkpoint)
    group.add(trio.sleep_forever, Interrupter(function))  # which would wait for ever
    await group.run()
    assert group.record is not None
    error = group.record.actors[1].interrupt_error
    assert isinstance(error, TypeError)
    assert str(error) == (
        "the interrupt Interrupter returned a generator, which would never run; "
        "use a sync or async function"
    )
    assert len(caplog.records) == 1


@pytest.mark.parametrize("error", ["stop", ValueError, 5])
def test_what_is_no_exception_is_refused_as_the_cause_of_a_stop(error: Any) -> None:
    with pytest.raises(TypeError, match=r"an exception or None, .*; write group\.interrupt"):
        RunGroup().interrupt(error)


async def test_a_generator_that_is_a_coroutine_is_awaited() -> None:
    group = RunGroup()
    group.add(trio.lowlevel.checkpoint, coroutine_by_yield)
    await group.run()
    assert interrupted == [None]


def no_parameter() -> None: ...


def two_parameters(a: object, b: object) -> None: ...


def keyword_only(a: object, *, b: object) -> None: ...


def untyped(function: Any) -> Any:
    return function


@pytest.mark.parametrize(
    "function",
    [
        trio.Event().set,
        no_parameter,
        two_parameters,
        keyword_only,
        functools.partial(keyword_only, 1),
        functools.partial(untyped(no_parameter), foo=1),
        functools.partial(untyped(two_parameters), 1, 2, 3),
    ],
)
def test_an_interrupt_that_cannot_take_the_error_is_refused(function: Any) -> None:
    with pytest.raises(TypeError, match=r"called with one argument.*lambda error: \.\.\."):
        RunGroup().add(ticker, function)


class Server:
    def __init__(self, loop: asyncio.AbstractEventLoop | None = None) -> None:
        self.loop = loop

    def future(self) -> object:
        assert self.loop is not None
        return self.loop.create_future()

    def generator(self) -> AsyncIterator[int]:
        return generator()

    def close(self, error: BaseException | None) -> None: ...
    def __call__(self, error: BaseException | None) -> None: ...


def optional(error: BaseException | None = None, *, fast: bool = True) -> None: ...


def with_default(error: BaseException | None, group: object = None) -> None: ...


def any_number(*errors: BaseException | None) -> None: ...


class Fussy(functools.partial[Any]):
    def __call__(self, *_: Any) -> Any: ...  # in its own way


@pytest.mark.parametrize(
    "function",
    [
        interrupt,
        optional,
        with_default,
        any_number,
        Server().close,
        Server(),
        functools.partial(two_parameters, 1),
        functools.partial(dict, 1),  # which does not tell what it takes
        Fussy(untyped(no_parameter), 1),
        print,
        [].append,
        dict,
    ],
)
async def test_an_interrupt_that_can_is_taken(function: Any) -> None:
    RunGroup().add(ticker, function)


@pytest.mark.parametrize(
    "make", [RunGroup, lambda grace: RunGroup().add(ticker, print, grace=grace)]
)
def test_a_grace_must_be_seconds(make: Callable[..., Any]) -> None:
    for grace in (-1, math.nan, -math.inf, -(10**400)):
        with pytest.raises(ValueError, match="grace must be 0 or more seconds"):
            make(grace=grace)
    for thing in (None, "5", b"5", [1], 1j):
        with pytest.raises(TypeError, match="grace must be a number of seconds"):
            make(grace=thing)
    right: list[Any] = [0, 3, 2.5, math.inf, 10**400, Fraction(1, 3), Decimal("Infinity")]
    for grace in right:
        make(grace=grace)


async def test_an_infinite_grace_may_be_a_number_of_any_type() -> None:
    group, stopping = RunGroup(), trio.Event()
    infinity: Any = Decimal("Infinity")

    async def drains() -> None:
        await stopping.wait()
        await trio.lowlevel.checkpoint()
        await trio.sleep(0.01)  # long enough for its grace to be looked at

    group.add(trio.lowlevel.checkpoint)
    group.add(drains, lambda _: stopping.set(), grace=infinity)
    await group.run()
    assert group.record is not None
    assert group.record.actors[1].how == "returned"


async def test_a_grace_that_is_set_later_is_looked_at_by_run() -> None:
    group = RunGroup()
    group.add(ticker)
    group.grace = -1
    with pytest.raises(ValueError, match="grace must be 0 or more seconds, not -1"):
        await group.run()
    assert group.record is None
    group.grace = 1
    await group.run()


def test_a_grace_needs_an_interrupt() -> None:
    with pytest.raises(
        ValueError,
        match=r"grace=5 needs an interrupt.*; leave it out, or write add\(exec",
    ):
        RunGroup().add(ticker, grace=5)


async def test_a_name_of_a_derived_class_is_made_a_plain_one() -> None:
    class Name(str):
        __slots__ = ()

        def __repr__(self) -> str:
            raise OSError("no repr")

    with pytest.raises(OSError, match="no repr"):
        repr(Name("a"))
    group = RunGroup()
    group.add(ticker, name=Name("a"))
    group.add(trio.lowlevel.checkpoint)
    await group.run()
    assert group.record is not None
    assert type(group.record.actors[0].name) is str


def test_a_name_is_a_string_given_once() -> None:
    group = RunGroup()
    group.add(ticker, name="a")
    with pytest.raises(ValueError, match="the name 'a' is taken"):
        group.add(ticker, name="a")
    with pytest.raises(TypeError, match="name must be a str, not int"):
        group.add(ticker, name=3)  # type: ignore[arg-type]
    group.add(ticker)
    with pytest.raises(ValueError, match="the name 'ticker' is taken"):
        group.add(ticker, name="ticker")


def test_a_name_that_the_group_has_made_is_taken_and_only_that() -> None:
    group = RunGroup()
    for _ in range(3):
        group.add(ticker)  # the third is "ticker #3"
    for name in ("ticker #2", "ticker #3", "ticker"):  # the first refusal has all counted anew
        with pytest.raises(ValueError, match="is taken"):
            group.add(ticker, name=name)
    free = [
        "ticker #0",
        "ticker #1",
        "ticker #02",
        "ticker #٢",
        "ticker #",
        f"ticker #{'9' * 5000}",
    ]
    for name in ("ticker #4", *free):
        group.add(ticker, name=name)
    group.add(ticker)  # "ticker #4" has just been taken
    with pytest.raises(ValueError, match="is taken"):
        group.add(ticker, name="ticker #5")


async def test_a_refused_name_leaves_the_others_as_they_were() -> None:
    group = RunGroup()
    group.add(trio.sleep_forever)
    with pytest.raises(ValueError, match="is taken"):
        group.add(trio.sleep_forever, name="sleep_forever")
    group.add(trio.lowlevel.checkpoint, name="sleep_forever #2")
    group.add(trio.sleep_forever)
    await group.run()
    assert group.record is not None
    names = [actor.name for actor in group.record.actors]
    assert names == ["sleep_forever", "sleep_forever #2", "sleep_forever #3"]


async def test_the_second_of_a_name_is_number_2_also_where_the_first_was_given() -> None:
    group = RunGroup()
    group.add(ticker, name="ticker")
    group.add(ticker)
    await group.run()
    assert group.record is not None
    assert [actor.name for actor in group.record.actors] == ["ticker", "ticker #2"]


async def test_a_function_that_is_called_like_a_name_that_was_made_gets_another() -> None:
    group = RunGroup()
    group.add(ticker)
    group.add(ticker)

    async def other() -> None: ...

    other.__qualname__ = "ticker #2"
    group.add(other)
    group.add(other)
    group.add(ticker)
    await group.run()
    assert group.record is not None
    names = [actor.name for actor in group.record.actors]
    assert names == ["ticker", "ticker #2", "ticker #2 #2", "ticker #2 #3", "ticker #3"]


class Retry:
    """A decorator that is a class, as there are many: its methods have no `__qualname__`."""

    def __init__(self, function: Any) -> None:
        self.function = function

    def __get__(self, instance: object, owner: object) -> Any:
        return types.MethodType(self, instance)

    async def __call__(self, *arguments: object) -> object:
        return await self.function(*arguments)


class Decorated:
    @Retry
    async def execute(self) -> str:
        return "done"


async def test_a_method_behind_a_decorator_class_is_named_after_that() -> None:
    group = RunGroup()
    group.add(Decorated().execute)
    assert await group.run() == "done"
    assert group.record is not None
    assert group.record.actors[0].name == "method"


async def test_nothing_is_added_by_what_is_refused() -> None:
    group = RunGroup()
    wrong: list[Any] = [(3,), (ticker, 3)]
    for arguments in wrong:
        with pytest.raises(TypeError):
            group.add(*arguments)
    with pytest.raises(ValueError, match="grace"):
        group.add(ticker, grace=5)
    await group.run()
    assert group.record is not None
    assert group.record.actors == ()


async def run_with(function: Callable[..., Any]) -> BaseException:
    group = RunGroup()
    group.add(function, name="misused")
    group.add(trio.sleep_forever)
    try:
        await group.run()
    except BaseException as error:
        return error
    raise AssertionError("run() has returned")


@pytest.mark.parametrize("actors", [0, 1])
def test_run_outside_of_trio_is_told_where_to_go(actors: int) -> None:
    group = RunGroup()
    for _ in range(actors):
        group.add(trio.sleep_forever, lambda _: None)
    with pytest.raises(RuntimeError, match=r"write trio\.run\(group\.run\)"):
        asyncio.run(group.run())
    assert group.record is None
    group.add(trio.sleep_forever, lambda _: None)


async def test_a_sync_function_is_found_when_it_returns_and_pointed_to_a_thread() -> None:
    error = await run_with(blocking)
    assert isinstance(error, TypeError)
    assert "blocking is not an async function" in str(error)
    assert "group.add(*thread_actor(execute, interrupt))" in str(error)


async def test_a_factory_that_was_not_called_is_pointed_to_the_star() -> None:
    error = await run_with(signal_actor)
    assert isinstance(error, TypeError)
    assert str(error).endswith("added with a star: group.add(*signal_actor())")


async def test_a_function_that_returns_none_is_told_so() -> None:
    error = await run_with(lambda: None)
    assert "it returned None, nothing to await" in str(error)


async def test_an_async_generator_that_is_returned_is_refused() -> None:
    error = await run_with(Server().generator)
    assert isinstance(error, TypeError)
    assert "returned an async generator" in str(error)


async def test_an_asyncio_future_is_refused() -> None:
    loop = asyncio.new_event_loop()
    try:
        error = await run_with(Server(loop).future)
    finally:
        loop.close()
    assert isinstance(error, TypeError)
    assert "returned an asyncio future" in str(error)
    assert "trio_asyncio.aio_as_trio" in str(error)


@pytest.mark.parametrize(
    ("wait", "kind"),
    [
        (lambda: asyncio.sleep(1), RuntimeError),
        (lambda: asyncio.Event().wait(), AttributeError),
        (lambda: asyncio.Queue[None]().get(), AttributeError),
    ],
    ids=["sleep", "Event", "Queue"],
)
async def test_a_coroutine_of_asyncio_is_pointed_to_trio_asyncio(
    wait: Callable[[], Awaitable[object]], kind: type[Exception]
) -> None:
    async def wrong_library() -> None:
        await wait()

    error = await run_with(wrong_library)
    assert type(error) is kind
    assert "trio_asyncio.aio_as_trio" in error.__notes__[0]


async def test_an_error_that_only_looks_like_one_of_asyncios_gets_no_hint() -> None:
    async def fail() -> None:
        raise AttributeError("'NoneType' object has no attribute 'create_task'")

    error = await run_with(fail)
    assert error.__notes__ == ["raised by actor 'misused' of a RunGroup"]


async def test_what_trio_says_about_a_foreign_await_is_kept_and_pointed_to_trio_asyncio() -> None:
    class Foreign:
        def __await__(self) -> Any:
            yield "unknown to trio"

    async def wrong_library() -> None:
        await Foreign()

    error = await run_with(wrong_library)
    assert isinstance(error, TypeError)
    assert "trio_asyncio.aio_as_trio" in error.__notes__[0]


@pytest.mark.parametrize("kind", [RuntimeError, TypeError])
async def test_an_error_that_cannot_be_put_into_words_is_raised_all_the_same(
    kind: type[Exception],
) -> None:
    class Broken:
        def __str__(self) -> str:
            raise ValueError("no words")

    error = kind(Broken())

    async def execute() -> None:
        raise error

    assert await run_with(execute) is error
    with pytest.raises(ValueError, match="no words"):
        str(error)


async def test_an_interrupt_is_judged_by_what_is_called_and_not_by_what_it_wraps() -> None:
    calls: list[object] = []

    def close() -> None:
        calls.append("closed")

    @functools.wraps(close)
    def wrapper(*args: object) -> None:
        close()

    group = RunGroup()
    group.add(trio.lowlevel.checkpoint, wrapper)
    await group.run()
    assert calls == ["closed"]


async def test_a_call_that_fails_is_the_actors_error() -> None:
    error = await run_with(failing_call)
    assert isinstance(error, TypeError)
    assert "cannot be called" in str(error)


class AsyncStatus:
    async def started(self, value: object = None) -> None:
        raise AssertionError("must not be called")


@pytest.mark.parametrize(
    "status", [print, None, AsyncStatus()], ids=["a function", "None", "async"]
)
async def test_a_task_status_that_cannot_be_told_is_refused_before_anything_begins(
    status: Any,
) -> None:
    group = RunGroup()
    group.add(trio.sleep_forever)
    with pytest.raises(TypeError, match=r"`await nursery.start\(group.run\)`; or an object"):
        await group.run(task_status=status)
    assert group.record is None
    assert repr(group) == "<RunGroup of 1 actor, not running>"


async def test_an_interrupt_written_for_asyncio_is_told_so_in_note_and_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def fail() -> None:
        raise ValueError("first")

    group = RunGroup()
    group.add(fail, lambda error: asyncio.get_running_loop())
    with pytest.raises(ValueError, match="first") as caught:
        await group.run()
    (note,) = caught.value.__notes__
    hint = " (asyncio code does not run on trio by itself; wrap it with trio_asyncio.aio_as_trio)"
    assert note.endswith(f"RuntimeError: no running event loop{hint}")
    (message,) = caplog.messages
    assert message.endswith(f" raised an error after the stop had begun{hint}")

"""The check of notebook 09: `check(make_service)`, with sockets and a signal, in real time."""

from __future__ import annotations

import contextlib
import io
import logging
import signal
import socket
import struct
import sys
import traceback
from collections.abc import Awaitable, Callable, Iterator
from types import FrameType
from typing import Any, TypeAlias
from unittest import mock

import attrs
import trio
from helpers import (
    CATCHES_CANCELLED,
    STUB_IS_LEFT,
    BlocksError,
    alarm_clock,
    is_run_of_a_group,
    keep_for_ever,
    show,
    tree_of,
    verdict,
)

from trio_rungroup import RunGroup, SignalReceived, listener_actor, signal_actor

MakeService: TypeAlias = Callable[[list[trio.SocketListener]], Any]

_PATIENCE = 7.0  # seconds that the whole may take
_TIME_FOR_AN_ANSWER = 2.0  # seconds
_LONGEST_STEP = 2  # seconds in which nothing else can run: it waits without an `await`
_MOST_LINES = 50  # that it may print
_TURNS = 20  # of trio's loop, in which a stop begins for certain
_GRACE = 1.0  # seconds, as the exercise wants it
_GRACE_IS_OVER = "its grace has ended"  # the library's reason to cancel


def make_clock() -> trio.abc.Clock | None:
    """Make the clock of a check: trio's own. The tests, which check often, have a faster one."""
    return None


async def answer(stream: trio.SocketStream) -> None:
    """Answer one request in capitals; it takes half a second."""
    request = await stream.receive_some()
    text = request.decode()
    await trio.sleep(0.5)
    await stream.send_all(text.upper().encode())


async def ask(port: int, request: bytes) -> bytes:
    """Send a request; the answer is empty if the connection is closed without one."""
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        await stream.send_all(request)
        return bytes(await stream.receive_some())


def check(make_service: MakeService) -> None:
    """Serve with what the learner wrote, ask, and send SIGTERM; print what holds, and a hint."""
    play = _Play(make_service)
    with _sigterm_is_harmless(), _nothing_is_logged(), _few_lines(), play.watching():
        try:
            with alarm_clock(_LONGEST_STEP) as instruments:
                trio.run(play.run, clock=make_clock(), instruments=instruments)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a check never raises
            if isinstance(error, trio.TrioInternalError):
                keep_for_ever(play.root)
            play.error = play.error or error
    if isinstance(play.error, NotImplementedError):
        hint = "make a RunGroup, add two actors of the library's to it, return it. " + STUB_IS_LEFT
        verdict((False, "make_service is written", hint))
        return
    blocks = next((e for e in (play.error, play.result) if isinstance(e, BlocksError)), None)
    if blocks is not None:
        verdict((False, "it lets others run while it waits", f"{blocks}."))
        return
    if play.group is None:
        verdict((False, "it returns a run group that does not run yet", play.why_no_group()))
        return
    if play.ended_early and not isinstance(play.result, BaseExceptionGroup):
        verdict(
            (True, "it returns a run group that does not run yet", ""),
            (False, "it runs until the signal comes", f"{play}"),
        )
        return
    verdict(
        (True, "it returns a run group that does not run yet", ""),
        (
            play.first == b"HELLO",
            "it answers a request",
            (
                "add a listener_actor with a handler and the listeners, as above; the handler is "
                f"to await `answer(stream)`. {play}"
            ),
        ),
        (
            play.unreadable is not None and play.second == b"STILL THERE?",
            "a request that cannot be answered hurts nobody else",
            (
                "the request that is no text got no answer, and for 2 s its connection was not "
                f"closed either: the handler has to end. {play}"
                if play.unreadable is None and not play.ended_early
                else "what leaves the handler ends the service. Catch it in the handler: `except "
                f"Exception as error:`. {play}"
            ),
        ),
        (
            play.beside == b"BESIDE",
            "also not while the other one is under way",
            (
                "the request that came 0.1 s before it was cut off. An error that reaches the "
                f"nursery cancels the other handlers: catch it in the handler. {play}"
            ),
        ),
        (
            isinstance(play.result, SignalReceived),
            "SIGTERM ends it: run() raises SignalReceived",
            (
                "the handler does not end when it is cancelled: `except BaseException` has to end "
                "with `raise`, and a shield needs a limit."
                if play.given_up
                else "nobody listens to the signal: `group.add(*signal_actor())`. (It would have "
                "ended the program, and here the kernel.)"
                if play.ended_at is None
                else f"that is what signal_actor() does; let it out. {play}"
            ),
        ),
        (
            play.under_way == b"LAST",
            "the request that is under way then is answered",
            (
                "it was cut off. Add both functions, `group.add(*listener_actor(...))`: the second "
                "one lets it finish. That takes half a second, and the grace is to be 1. "
                f"{play}"
            ),
        ),
        (
            play.late is False,
            "a new client is refused at once",
            (
                "the interrupt of listener_actor closes the listeners: add both functions of the "
                f"pair, `group.add(*listener_actor(...))`. {play}"
            ),
        ),
        (
            play.is_soon_enough,
            "and one that says nothing holds up the stop for a second at most",
            _why_not_in_time(play),
        ),
        (
            play.first == b"HELLO" and max(play.ends.values(), default=0) < 3,
            "a handler ends when its client has gone",
            (
                "where the client has gone, there is nothing to wait for: `receive_some` gives b'' "
                "at once, each time, and yours answers that again and again. Await "
                "`answer(stream)` once for each connection."
            ),
        ),
    )
    if play.swallowed and play.is_soon_enough:
        show(CATCHES_CANCELLED)


def _why_not_in_time(play: _Play) -> str:
    if play.group is not None and play.group.grace == _GRACE:
        return (
            "the grace is over after a second, and the handler is cancelled then. Does it obey? It "
            f"must not shield itself, and `except BaseException` has to end with `raise`. {play}"
        )
    return f"write RunGroup(grace=1): a second for everybody, from the signal on. {play}"


@attrs.define(eq=False)
class _Play:
    """One service, its clients, and what became of them."""

    make_service: MakeService
    error: BaseException | None = attrs.field(default=None, init=False)
    made: object = attrs.field(default=None, init=False)
    group: RunGroup | None = attrs.field(default=None, init=False)
    first: bytes | None = attrs.field(default=None, init=False)
    unreadable: bytes | None = attrs.field(default=None, init=False)
    beside: bytes | None = attrs.field(default=None, init=False)
    second: bytes | None = attrs.field(default=None, init=False)
    under_way: bytes | None = attrs.field(default=None, init=False)
    late: bool | None = attrs.field(default=None, init=False)  # whether it was let in
    told_at: float | None = attrs.field(default=None, init=False)
    ended_at: float | None = attrs.field(default=None, init=False)
    result: object = attrs.field(default=None, init=False)
    root: trio.lowlevel.Task | None = attrs.field(default=None, init=False)
    is_over: bool = attrs.field(default=False, init=False)
    given_up: bool = attrs.field(default=False, init=False)
    ends: dict[trio.SocketStream, int] = attrs.field(  # how often each was read after its end
        factory=dict[trio.SocketStream, int], init=False
    )
    cancelled: dict[trio.lowlevel.Task, trio.Cancelled] = attrs.field(
        factory=dict[trio.lowlevel.Task, trio.Cancelled], init=False
    )

    @property
    def took(self) -> float | None:
        """Tell how many seconds after the signal it ended."""
        if self.told_at is None or self.ended_at is None:
            return None
        return self.ended_at - self.told_at

    @property
    def ended_early(self) -> bool:
        """Tell whether it ended before the signal."""
        return self.ended_at is not None and (self.took is None or self.took < 0)

    @property
    def is_soon_enough(self) -> bool:
        """Tell whether it ended about a grace after the signal; a busy machine may be late."""
        grace = None if self.group is None else self.group.grace
        late = 0.9 if grace is None else 1.9 if grace <= _GRACE else 0.35
        return self.took is not None and 0 < self.took < _GRACE + late

    def __str__(self) -> str:
        if self.ended_at is None:
            return "The service did not end."
        when = "before the signal" if self.ended_early else f"{self.took:.1f} s after the signal"
        what = self.result
        if isinstance(what, BaseException):
            return f"The service ended {when}, with {' '.join(tree_of(what).split())}."
        return f"The service ended {when}, and returned {what!r}."

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Keep the first `Cancelled` of each handler, if trio or the library has called that.

        Only the first: one that catches everything in a loop gets a million of them. And only
        the library's: one that comes from a limit of the handler's own ends there, as it should.
        """
        receive_some = trio.SocketStream.receive_some

        async def watched(stream: trio.SocketStream, max_bytes: int | None = None) -> Any:
            try:
                data = await receive_some(stream, max_bytes)
            except trio.Cancelled as cancelled:
                task = trio.lowlevel.current_task()
                if cancelled.reason == _GRACE_IS_OVER and _is_trios(task.coro.cr_frame):
                    self.cancelled.setdefault(task, cancelled)
                raise
            self.ends[stream] = self.ends.get(stream, 0) + (not data)
            return data

        with mock.patch.object(trio.SocketStream, "receive_some", watched):
            yield

    @property
    def swallowed(self) -> bool:
        """Whether one of them has not come as far as who had called the handler."""
        return not all(
            any(_is_trios(frame) for frame, _ in list(traceback.walk_tb(each.__traceback__))[:1])
            for each in self.cancelled.values()
        )

    def why_no_group(self) -> str:
        if self.error is not None:
            return f"calling it failed: {type(self.error).__name__}: {self.error}"
        if is_run_of_a_group(self.made):
            return "it returned a call, `group.run()`: return the group itself, `return group`."
        if hasattr(self.made, "close") and hasattr(self.made, "send"):
            return "making a group has nothing to wait for: write it as `def`, without `async`."
        return f"it returned {self.made!r}. Do not forget `return group`; do not run the group."

    async def _wait_for_the_last_limit(self) -> None:
        """Break off the run of a handler that no cancellation ends; see `helpers._Watched`."""
        with trio.move_on_after(_PATIENCE + 2):
            await trio.lowlevel.wait_task_rescheduled(self._wake)

    def _wake(self, _: object) -> trio.lowlevel.Abort:
        if not self.is_over:
            self.given_up = True
            raise trio.TooSlowError
        return trio.lowlevel.Abort.SUCCEEDED

    async def run(self) -> None:
        self.root = trio.lowlevel.current_root_task()
        trio.lowlevel.spawn_system_task(self._wait_for_the_last_limit)
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        port: int = listeners[0].socket.getsockname()[1]
        try:
            self.made = self.make_service(listeners)
            if isinstance(self.made, RunGroup):
                self.group = self.made
                with trio.move_on_after(_PATIENCE):
                    await self.play(self.made, port)
            elif hasattr(self.made, "close"):
                self.made.close()
        finally:
            self.is_over = True
            for listener in listeners:
                await trio.aclose_forcefully(listener)

    async def play(self, group: RunGroup, port: int) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.serve, group, nursery.cancel_scope)
            nursery.start_soon(_say_nothing, port)  # from the beginning
            self.first = await _answer_of(port, b"hello")
            async with trio.open_nursery() as clients:
                clients.start_soon(self.be_beside, port)
                await trio.sleep(0.1)
                self.unreadable = await _answer_of(port, b"\xff")
            await _go_away(port)
            await trio.sleep(0.7)  # it is missed when the answer is sent
            self.second = await _answer_of(port, b"still there?")
            nursery.start_soon(self.be_under_way, port)
            nursery.start_soon(_say_nothing, port)
            await trio.sleep(0.2)
            self.told_at = trio.current_time()
            signal.raise_signal(signal.SIGTERM)
            await trio.sleep(0.1)
            for _ in range(_TURNS):  # on a busy machine the signal may not have been seen yet
                await trio.lowlevel.checkpoint()
            self.late = await _is_let_in(port)
            await trio.sleep(_GRACE + 2)
            nursery.cancel_scope.cancel(reason="it does not end")

    async def serve(self, group: RunGroup, scope: trio.CancelScope) -> None:
        try:
            self.result = await group.run()
        except trio.Cancelled:
            raise
        except BaseException as error:  # shown in a hint
            if isinstance(error, BaseExceptionGroup) and error.split(trio.Cancelled)[1] is None:
                raise
            self.result = error
        self.ended_at = trio.current_time()
        await trio.sleep(0.3)  # for those who are still to get an answer
        scope.cancel(reason="the service has ended")

    async def be_beside(self, port: int) -> None:
        self.beside = await _answer_of(port, b"beside")

    async def be_under_way(self, port: int) -> None:
        self.under_way = await _answer_of(port, b"last")


def _is_trios(frame: FrameType) -> bool:
    return str(frame.f_globals.get("__name__")).startswith("trio")


async def _answer_of(port: int, request: bytes) -> bytes | None:
    with trio.move_on_after(_TIME_FOR_AN_ANSWER), contextlib.suppress(OSError):
        try:
            return await ask(port, request)
        except trio.BrokenResourceError:  # closed before it was read
            return b""
    return None


async def _say_nothing(port: int) -> None:
    with contextlib.suppress(OSError, trio.BrokenResourceError):
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            await stream.receive_some()


async def _go_away(port: int) -> None:
    """Ask, and reset the connection before the answer comes."""
    with contextlib.suppress(OSError):
        stream = await trio.open_tcp_stream("127.0.0.1", port)
        await stream.send_all(b"never mind")
        await trio.sleep(0.1)
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await trio.aclose_forcefully(stream)


async def _is_let_in(port: int) -> bool:
    try:
        stream = await trio.open_tcp_stream("127.0.0.1", port)
    except OSError:
        return False
    await trio.aclose_forcefully(stream)
    return True


@contextlib.contextmanager
def _sigterm_is_harmless() -> Iterator[None]:
    """Keep the kernel alive where nobody listens to the signal."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        yield
    finally:
        for number, handler in before.items():  # a run that is broken off leaves its own
            signal.signal(number, handler)


@contextlib.contextmanager
def _few_lines() -> Iterator[None]:
    """Let a service print some lines, and not fill the notebook if it never stops."""
    out, left = sys.stdout, _MOST_LINES

    class Few(io.TextIOBase):
        def write(self, text: str) -> int:
            nonlocal left
            if left > 0:
                out.write(text)
            left -= text.count("\n")
            return len(text)

    with contextlib.redirect_stdout(Few()):
        yield
    if left < 0:
        print("… and more")


@contextlib.contextmanager
def _nothing_is_logged() -> Iterator[None]:
    """Leave out the warning that a grace has ended: here it has to."""
    log = logging.getLogger("trio_rungroup")
    level = log.level
    log.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        log.setLevel(level)


# ---- typical mistakes, and other right answers: for the tests ----

Handler: TypeAlias = Callable[[trio.SocketStream], Awaitable[None]]


async def _careful(stream: trio.SocketStream) -> None:
    with contextlib.suppress(Exception):
        await answer(stream)


async def _minds_the_text_only(stream: trio.SocketStream) -> None:
    with contextlib.suppress(UnicodeDecodeError):
        await answer(stream)


async def _with_a_shield_it_hangs(stream: trio.SocketStream) -> None:
    with trio.CancelScope(shield=True), contextlib.suppress(Exception):
        with trio.move_on_after(_PATIENCE):  # or the check would hang, too
            await answer(stream)


def _a_group(handler: Handler, *, grace: float = 1) -> MakeService:
    def make_service(listeners: list[trio.SocketListener]) -> RunGroup:
        group = RunGroup(grace=grace)
        group.add(*signal_actor())
        group.add(*listener_actor(handler, listeners))
        return group

    make_service.__name__ += f"_{handler.__name__}_{grace}"
    return make_service


def _forgets_to_return(listeners: list[trio.SocketListener]) -> Any:
    _a_group(_careful)(listeners)


def _adds_a_pair_without_a_star(listeners: list[trio.SocketListener]) -> RunGroup:
    group = RunGroup(grace=1)
    actor: Any = signal_actor()
    group.add(actor)
    return group


def _without_a_server(listeners: list[trio.SocketListener]) -> RunGroup:
    del listeners
    group = RunGroup(grace=1)
    group.add(*signal_actor())
    return group


def _closes_too_late(listeners: list[trio.SocketListener]) -> RunGroup:
    execute, close = listener_actor(_careful, listeners)

    async def close_later(error: BaseException | None) -> None:
        await trio.sleep(0.6)
        close(error)

    group = RunGroup(grace=1)
    group.add(*signal_actor())
    group.add(execute, close_later)
    return group


MISTAKES: list[MakeService] = [
    _a_group(_careful, grace=0.1),
    _a_group(_with_a_shield_it_hangs),
    _a_group(_minds_the_text_only),
    _forgets_to_return,
    _adds_a_pair_without_a_star,
    _without_a_server,
    _closes_too_late,
]


def _grace_for_the_server(listeners: list[trio.SocketListener]) -> RunGroup:
    group = RunGroup()
    group.add(*listener_actor(_careful, listeners), grace=1)
    group.add(*signal_actor(signal.SIGTERM))
    return group


def _by_hand(listeners: list[trio.SocketListener]) -> RunGroup:
    accepting = trio.CancelScope()

    async def serve() -> None:
        async with trio.open_nursery() as nursery:
            with accepting:
                await trio.serve_listeners(_careful, listeners, handler_nursery=nursery)

    def stop(error: BaseException | None) -> None:
        accepting.cancel(reason="no new ones, please")

    group = RunGroup(grace=1)
    group.add(*signal_actor())
    group.add(serve, stop)
    return group


def _lets_the_idle_go_at_once(listeners: list[trio.SocketListener]) -> RunGroup:
    stopping = False
    idle: set[trio.CancelScope] = set()

    async def handle(stream: trio.SocketStream) -> None:
        with trio.CancelScope() as waiting:
            idle.add(waiting)
            await trio.lowlevel.wait_readable(stream.socket)
        idle.discard(waiting)
        if not (stopping and waiting.cancelled_caught):
            await _careful(stream)

    execute, close = listener_actor(handle, listeners)

    def stop(error: BaseException | None) -> None:
        nonlocal stopping
        stopping = True
        close(error)
        for waiting in idle:
            waiting.cancel(reason="nothing was asked")

    group = RunGroup(grace=1)
    group.add(*signal_actor())
    group.add(execute, stop)
    return group


def _has_a_limit_of_its_own(listeners: list[trio.SocketListener]) -> RunGroup:
    async def handle(stream: trio.SocketStream) -> None:
        with contextlib.suppress(Exception), trio.move_on_after(1):
            await answer(stream)

    group = RunGroup(grace=1)
    group.add(*signal_actor())
    group.add(*listener_actor(handle, listeners))
    return group


def _answers_with_an_error(listeners: list[trio.SocketListener]) -> RunGroup:
    async def handle(stream: trio.SocketStream) -> None:
        try:
            await answer(stream)
        except UnicodeDecodeError:
            await stream.send_all(b"400 not text\n")
        except trio.BrokenResourceError:
            pass

    group = RunGroup(grace=1)
    group.add(*signal_actor())
    group.add(*listener_actor(handle, listeners))
    return group


ALSO_RIGHT: list[MakeService] = [
    _has_a_limit_of_its_own,
    _answers_with_an_error,
    _grace_for_the_server,
    _by_hand,
    _lets_the_idle_go_at_once,
]

"""listener_actor: real sockets of every kind, and no connection lost."""

from __future__ import annotations

import contextlib
import functools
import gc
import inspect
import os
import resource
import signal
import socket
import ssl
import subprocess
import sys
import time
import types
import weakref
from collections.abc import AsyncIterator, Callable, Generator
from pathlib import Path
from typing import Any, TypeAlias, cast

import attrs
import pytest
import trio
import trustme

from trio_rungroup import RunGroup, _actors, listener_actor

Interrupt: TypeAlias = Callable[[BaseException | None], object]


PATIENCE = 10  # seconds that nothing here takes, however busy the machine is


@attrs.frozen
class Address:
    """Where to listen, and how to get there: a kind of listener and its clients."""

    family: socket.AddressFamily
    name: Any
    server_tls: ssl.SSLContext | None = None
    client_tls: ssl.SSLContext | None = None

    def listen(self) -> tuple[trio.abc.Listener[trio.abc.Stream], Address]:
        if self.family == socket.AF_UNIX:
            Path(self.name).unlink(missing_ok=True)
        sock = socket.socket(self.family)
        sock.bind(self.name)
        sock.listen(1000)
        here = attrs.evolve(self, name=sock.getsockname())
        listener = trio.SocketListener(trio.socket.from_stdlib_socket(sock))
        if self.server_tls is None:
            return listener, here
        return trio.SSLListener(listener, self.server_tls), here

    def connect(self) -> socket.socket:
        """Connect at once, without giving the server a turn."""
        sock = socket.socket(self.family)
        try:
            sock.connect(self.name)
        except OSError:
            sock.close()
            raise
        return sock

    def stream(self, sock: socket.socket) -> trio.abc.Stream:
        stream = trio.SocketStream(trio.socket.from_stdlib_socket(sock))
        if self.client_tls is None:
            return stream
        return trio.SSLStream(stream, self.client_tls, server_hostname="localhost")


@pytest.fixture(params=["tcp", "tls", "unix"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> Address:
    match request.param:
        case "tcp":
            return Address(socket.AF_INET, ("127.0.0.1", 0))
        case "unix":
            return Address(socket.AF_UNIX, str(tmp_path / "socket"))
    authority = trustme.CA()
    server_tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(server_tls)
    client_tls = ssl.create_default_context()
    authority.configure_trust(client_tls)
    return Address(socket.AF_INET, ("127.0.0.1", 0), server_tls, client_tls)


@pytest.fixture
def tcp() -> Address:
    return Address(socket.AF_INET, ("127.0.0.1", 0))


async def echo(stream: trio.abc.Stream) -> None:
    await stream.send_all(b"<" + await stream.receive_some(100) + b">")


async def ask(stream: trio.abc.Stream, question: bytes) -> bytes:
    async with stream:
        await stream.send_all(question)
        return bytes(await stream.receive_some(100))


async def test_it_serves_until_it_is_interrupted(address: Address) -> None:
    listener, address = address.listen()
    execute, interrupt = listener_actor(echo, [listener])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(execute)
        for _ in range(3):
            assert await ask(address.stream(address.connect()), b"hello") == b"<hello>"
        interrupt(None)


async def test_a_second_interrupt_while_a_handler_finishes_is_harmless(address: Address) -> None:
    listener, address = address.listen()
    execute, interrupt = listener_actor(echo, [listener])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(execute)
        stream = address.stream(address.connect())
        await trio.testing.wait_all_tasks_blocked()
        interrupt(None)
        interrupt(None)
        assert await ask(stream, b"hello") == b"<hello>"


async def test_a_connection_is_refused_as_soon_as_the_interrupt_returns(address: Address) -> None:
    listener, address = address.listen()
    execute, interrupt = listener_actor(echo, [listener])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(execute)
        await trio.testing.wait_all_tasks_blocked()
        interrupt(None)
        with pytest.raises(ConnectionRefusedError):
            address.connect()


async def test_the_handlers_in_flight_finish(address: Address) -> None:
    listener, address = address.listen()
    execute, interrupt = listener_actor(echo, [listener])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(execute)
        streams = [address.stream(address.connect()) for _ in range(3)]
        await trio.testing.wait_all_tasks_blocked()
        interrupt(None)
        await trio.testing.wait_all_tasks_blocked()
        assert [await ask(stream, b"still here?") for stream in streams] == [b"<still here?>"] * 3


async def test_connections_that_nobody_has_accepted_yet_are_not_lost(address: Address) -> None:
    listener, address = address.listen()
    execute, interrupt = listener_actor(echo, [listener])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(execute)
        await trio.testing.wait_all_tasks_blocked()
        # No checkpoint, so the kernel has them all, and the actor none.
        streams = [address.stream(address.connect()) for _ in range(50)]
        interrupt(None)
        assert [await ask(stream, b"in?") for stream in streams] == [b"<in?>"] * 50


async def test_a_default_timeout_of_sockets_does_not_hold_the_interrupt_up(tcp: Address) -> None:
    listener, address = tcp.listen()
    execute, interrupt = listener_actor(echo, [listener])
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(PATIENCE)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(execute)
            await trio.testing.wait_all_tasks_blocked()
            begun = time.monotonic()
            interrupt(None)
            assert time.monotonic() < begun + PATIENCE / 2
    finally:
        socket.setdefaulttimeout(before)
    with pytest.raises(ConnectionRefusedError):
        address.connect()


async def test_a_connection_that_arrives_in_the_tick_of_the_interrupt_is_not_lost(
    address: Address,
) -> None:
    async def interrupt_on_arrival(listening: int, interrupt: Interrupt) -> None:
        await trio.lowlevel.wait_readable(listening)
        interrupt(None)

    # The connection wakes two tasks, and trio shuffles them: the interrupt closes the listener
    # before or after the actor has accepted.
    for _ in range(30):
        listener, here = address.listen()
        execute, interrupt = listener_actor(echo, [listener])
        twin = os.dup(descriptor(listener))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(execute)
            nursery.start_soon(interrupt_on_arrival, twin, interrupt)
            await trio.testing.wait_all_tasks_blocked()
            assert await ask(here.stream(here.connect()), b"in?") == b"<in?>"
        os.close(twin)


async def test_it_serves_all_its_listeners_and_closes_all_of_them(address: Address) -> None:
    pairs = [address.listen(), Address(socket.AF_INET, ("127.0.0.1", 0)).listen()]
    execute, interrupt = listener_actor(echo, [listener for listener, _ in pairs])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(execute)
        await trio.testing.wait_all_tasks_blocked()
        streams = [here.stream(here.connect()) for _, here in pairs]
        interrupt(None)
        assert [await ask(stream, b"in?") for stream in streams] == [b"<in?>"] * len(pairs)
    assert {descriptor(listener) for listener, _ in pairs} == {-1}


async def test_it_reports_its_listeners(tcp: Address) -> None:
    listener, tcp = tcp.listen()
    group = RunGroup(grace=60)
    group.add(*listener_actor(echo, [listener]), reports_started=True)
    async with trio.open_nursery() as nursery:
        assert await nursery.start(group.run) == {"listener_actor": [listener]}
        assert await ask(tcp.stream(tcp.connect()), b"hello") == b"<hello>"
        group.interrupt()


async def test_a_stop_waits_for_the_handlers_of_many_servers_at_the_same_time(
    tcp: Address,
) -> None:
    events = [trio.Event() for _ in range(3)]

    def release(event: trio.Event, _: BaseException | None) -> None:
        event.set()

    async def handle(number: int, stream: trio.abc.Stream) -> None:
        await stream.send_all(b"in flight")
        await events[number].wait()

    # The handlers of the first server finish only when the last actor is interrupted.
    group = RunGroup()
    streams: list[trio.abc.Stream] = []
    for number in range(3):
        listener, here = tcp.listen()
        execute, interrupt = listener_actor(functools.partial(handle, number), [listener])
        group.add(execute, interrupt)
        group.add(events[number].wait, functools.partial(release, events[2 - number]))
        streams.append(here.stream(here.connect()))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(group.run)
        for stream in streams:
            assert await stream.receive_some(100) == b"in flight"
        group.interrupt()
    for stream in streams:
        assert await stream.receive_some(100) == b""
        await stream.aclose()


@pytest.mark.parametrize("grace", [True, False])
async def test_a_grace_that_expires_or_a_cancellation_ends_the_handlers(
    address: Address, grace: bool
) -> None:
    how: list[str] = []

    async def handle(stream: trio.abc.Stream) -> None:
        try:
            await stream.receive_some(100)
        except trio.Cancelled:
            how.append("cancelled")
            raise

    listener, address = address.listen()
    group = RunGroup()
    if grace:
        group.add(*listener_actor(handle, [listener]), grace=0.01)
    else:
        group.add(*listener_actor(handle, [listener]))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(group.run)
        await trio.testing.wait_all_tasks_blocked()
        with address.connect() as one:
            await trio.lowlevel.wait_writable(one)
            await trio.testing.wait_all_tasks_blocked()
            with address.connect() as other:  # nobody has accepted this one yet
                if grace:
                    group.interrupt()
                else:
                    nursery.cancel_scope.cancel()
                for sock in one, other:
                    with trio.CancelScope(shield=True):
                        await trio.lowlevel.wait_readable(sock)
    assert "cancelled" in how
    assert descriptor(listener) == -1


async def test_what_a_handler_raises_is_the_exit_of_the_actor(address: Address) -> None:
    error = LookupError("handler")

    async def handle(_: trio.abc.Stream) -> None:
        raise error

    listener, address = address.listen()
    execute, _ = listener_actor(handle, [listener])
    with address.connect(), pytest.RaisesGroup(LookupError) as caught:
        await execute()
    assert caught.value.exceptions[0] is error
    assert descriptor(listener) == -1


async def test_what_a_handler_raises_during_the_stop_is_the_exit_too(address: Address) -> None:
    async def handle(stream: trio.abc.Stream) -> None:
        await stream.receive_some(100)
        raise LookupError("handler")

    listener, address = address.listen()
    execute, interrupt = listener_actor(handle, [listener])
    with pytest.RaisesGroup(pytest.RaisesGroup(LookupError)):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(execute)
            await trio.testing.wait_all_tasks_blocked()
            stream = address.stream(address.connect())
            interrupt(None)
            async with stream:
                await stream.send_all(b"hello")
                await trio.sleep_forever()


@pytest.mark.parametrize("is_accepted", [True, False])
async def test_what_a_cancelled_handler_raises_is_not_lost(
    address: Address, is_accepted: bool
) -> None:
    error = LookupError("the clean-up")

    async def handle(_: trio.abc.Stream) -> None:
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            raise error from None

    listener, address = address.listen()
    group = RunGroup(grace=0.1)
    group.add(*listener_actor(handle, [listener]))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(group.run)
        await trio.testing.wait_all_tasks_blocked()
        with address.connect() as sock:
            if is_accepted:
                await trio.lowlevel.wait_writable(sock)
                await trio.testing.wait_all_tasks_blocked()
            group.interrupt()
            with trio.fail_after(PATIENCE, shield=True):
                await trio.lowlevel.wait_readable(sock)
    assert group.record is not None
    (actor,) = group.record.actors
    assert isinstance(actor.error, ExceptionGroup)
    assert actor.error.exceptions == (error,)


async def test_a_handler_that_is_thrown_away_starts_nothing() -> None:
    @types.coroutine
    def pause() -> Generator[None]:
        yield

    async def handle(_: trio.abc.Stream) -> None:
        await pause()

    stream, _ = trio.testing.memory_stream_pair()
    kept: list[BaseException] = []
    handling = _actors._handle(handle, kept.append, stream)
    handling.send(None)
    handling.close()  # as the collector does with a run that has broken down
    assert kept == []


async def test_a_listener_that_somebody_else_closes_is_an_error(address: Address) -> None:
    listener, _ = address.listen()
    execute, _ = listener_actor(echo, [listener])
    with pytest.RaisesGroup(pytest.RaisesGroup(pytest.RaisesGroup(trio.ClosedResourceError))):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(execute)
            await trio.testing.wait_all_tasks_blocked()
            await listener.aclose()


async def test_the_errors_of_handlers_come_out_with_that_of_the_listener(address: Address) -> None:
    async def handler(stream: trio.abc.Stream) -> None:
        handling.set()
        try:
            await trio.sleep_forever()
        finally:
            raise error

    listener, where = address.listen()
    error, handling, group = OSError("no disk to tidy up on"), trio.Event(), RunGroup()
    group.add(*listener_actor(handler, [listener]))
    with where.connect(), pytest.raises(ExceptionGroup) as caught, trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(group.run)
            await handling.wait()
            await listener.aclose()
    found, *others = [each for each in leaves(caught.value) if each is error]
    assert (found, others) == (error, [])
    assert any(isinstance(each, trio.ClosedResourceError) for each in leaves(caught.value))


def leaves(error: BaseException) -> list[BaseException]:
    if not isinstance(error, BaseExceptionGroup):
        return [error]
    group = cast("BaseExceptionGroup[BaseException]", error)
    return [leaf for each in group.exceptions for leaf in leaves(each)]


async def test_the_error_of_a_handler_dies_without_the_collector(address: Address) -> None:
    class Kept(Exception):
        """An error that can be watched."""

    async def handler(stream: trio.abc.Stream) -> None:
        error = Kept()
        made.append(weakref.ref(error))
        try:
            raise error
        finally:
            del error

    made: list[weakref.ref[Kept]] = []
    gc.disable()
    try:
        for _ in range(10):
            listener, where = address.listen()
            group = RunGroup()
            group.add(*listener_actor(handler, [listener]))
            with where.connect(), contextlib.suppress(ExceptionGroup):
                await group.run()
        del group  # whose record has the error
        assert len(made) == 10
        assert [error for ref in made if (error := ref()) is not None] == []
    finally:
        gc.enable()


async def test_a_second_run_says_that_it_needs_listeners_of_its_own(address: Address) -> None:
    listener, _ = address.listen()
    group = RunGroup()
    group.add(*listener_actor(echo, [listener]))
    group.add(trio.lowlevel.checkpoint)
    await group.run()
    with pytest.raises(RuntimeError, match="has run before, or is running: for each run, make"):
        await group.run()


async def test_one_pair_of_a_listener_is_not_two_actors(address: Address) -> None:
    listener, _ = address.listen()
    pair = listener_actor(echo, [listener])
    group = RunGroup()
    group.add(*pair)
    group.add(*pair)
    with pytest.raises(RuntimeError, match="has run before, or is running: for each run, make"):
        await group.run()
    assert group.record is not None
    assert sorted(actor.how or "" for actor in group.record.actors) == ["raised", "returned"]


async def test_an_error_that_cannot_be_shown_stops_all_in_order(address: Address) -> None:
    class Unshowable(Exception):
        def __repr__(self) -> str:
            raise ValueError("it cannot be shown")  # pragma: no cover - nobody asks for it

    async def handler(stream: trio.abc.Stream) -> None:
        raise error

    async def client() -> None:
        with where.connect():
            await told.wait()
            stopped.append(client)

    listener, where = address.listen()
    error, told, stopped, group = Unshowable(), trio.Event(), list[object](), RunGroup()
    group.add(*listener_actor(handler, [listener]))
    group.add(client, lambda _: told.set(), grace=PATIENCE)
    with pytest.raises(ExceptionGroup) as caught, trio.fail_after(PATIENCE):
        await group.run()
    assert (caught.value.exceptions, caught.value.args[1], stopped) == ((error,), [error], [client])


async def test_an_interrupt_after_the_exit_is_harmless(address: Address) -> None:
    listener, _ = address.listen()
    execute, interrupt = listener_actor(echo, [listener])
    with trio.CancelScope() as scope:
        scope.cancel()
        await execute()
    assert scope.cancelled_caught
    interrupt(None)
    assert descriptor(listener) == -1


async def test_an_interrupt_of_one_that_is_being_cancelled_is_harmless(address: Address) -> None:
    listener, address = address.listen()
    execute, interrupt = listener_actor(echo, [listener])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(execute)
        await trio.testing.wait_all_tasks_blocked()
        with address.connect() as sock:
            nursery.cancel_scope.cancel()
            interrupt(None)
            with trio.CancelScope(shield=True):
                await trio.lowlevel.wait_readable(sock)  # closed, not left open


async def test_what_cannot_be_accepted_for_want_of_descriptors_is_told(
    tcp: Address, caplog: pytest.LogCaptureFixture
) -> None:
    listener, tcp = tcp.listen()
    execute, interrupt = listener_actor(echo, [listener])
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(execute)
        await trio.testing.wait_all_tasks_blocked()
        with tcp.connect() as sock:
            plugs = [os.dup(sock.fileno())]
            resource.setrlimit(resource.RLIMIT_NOFILE, (plugs[0] + 1, hard))
            try:
                with pytest.raises(OSError, match="Too many open files"):
                    while True:
                        plugs.append(os.dup(sock.fileno()))
                interrupt(None)
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
                for plug in plugs:
                    os.close(plug)
    [record] = caplog.records
    assert (record.name, record.levelname) == ("trio_rungroup", "WARNING")
    assert record.getMessage() == (
        "listener_actor loses the connections that are still queued: [Errno 24] Too many open files"
    )


@attrs.frozen
class Mailbox(trio.abc.Listener[trio.StapledStream[Any, Any]]):
    """A listener of another kind: connections within the process."""

    arrivals: trio.MemoryReceiveChannel[trio.StapledStream[Any, Any]]

    async def accept(self) -> trio.StapledStream[Any, Any]:
        return await self.arrivals.receive()

    async def aclose(self) -> None:
        await self.arrivals.aclose()


async def test_a_listener_of_another_kind_stops_in_order_too(tcp: Address) -> None:
    send, receive = trio.open_memory_channel[trio.StapledStream[Any, Any]](0)
    listener, address = tcp.listen()
    execute, interrupt = listener_actor(echo, [Mailbox(receive), listener])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(execute)
        ours, theirs = trio.testing.memory_stream_pair()
        await send.send(theirs)
        interrupt(None)
        with pytest.raises(ConnectionRefusedError):
            address.connect()
        assert await ask(ours, b"still here?") == b"<still here?>"
        with pytest.raises(trio.BrokenResourceError):
            await send.send(theirs)


async def test_a_handler_without_async_is_told_so_at_its_first_connection(tcp: Address) -> None:
    def handle(stream: object) -> None: ...

    listener, address = tcp.listen()
    make: Callable[..., Any] = listener_actor
    group = RunGroup()
    group.add(*make(handle, [listener]))
    said = r"^the handler .*handle is not an async function: .*def`$"
    with address.connect(), pytest.RaisesGroup(pytest.RaisesExc(TypeError, match=said)):
        await group.run()


async def test_what_is_no_handler_or_no_listener_is_refused(tcp: Address) -> None:
    listener, _ = tcp.listen()
    refuse: Callable[..., object] = listener_actor
    with pytest.raises(TypeError, match="takes the handler first"):
        refuse([listener], echo)
    never_called = trio.sleep(0)
    with pytest.raises(TypeError, match="takes the handler first"):
        refuse(never_called, [listener])  # and closed
    with pytest.raises(TypeError, match=r"await trio\.open_tcp_listeners"):
        refuse(echo, trio.open_tcp_listeners(0))
    with pytest.raises(TypeError, match=r"for one listener write \[listener\]"):
        refuse(echo, listener)
    with socket.socket() as sock, pytest.raises(TypeError, match=r"trio\.SocketListener\("):
        refuse(echo, [sock])
    with pytest.raises(TypeError, match=r"write `await trio\.open_tcp_listeners\(8080\)`"):
        refuse(echo, 8080)
    with pytest.raises(ValueError, match="at least one"):
        listener_actor(echo, [])

    async def takes_none() -> None: ...

    async def takes_two(stream: object, peer: object) -> None: ...

    async def yields(stream: object) -> AsyncIterator[object]:
        yield stream  # must not be reached

    for handler in (takes_none, takes_two):
        with pytest.raises(TypeError, match=f"{handler.__name__} is called with one argument, the"):
            refuse(handler, [listener])
    with pytest.raises(TypeError, match="takes_two is called with one argument, the"):
        refuse(functools.partial(cast("Any", takes_two), 1, 2, 3), [listener])
    with pytest.raises(TypeError, match=r"yields is a generator function.*use an async function"):
        refuse(yields, [listener])
    refuse(functools.partial(takes_two, peer=None), [listener])

    @functools.wraps(takes_two)
    async def gives_the_other(stream: object) -> None:
        await takes_two(stream, None)  # must not be reached

    gives_the_other.__signature__ = inspect.signature(takes_two)  # type: ignore[attr-defined]
    refuse(gives_the_other, [listener])
    await listener.aclose()


SERVER = """
import functools, signal, sys
import trio
from trio_rungroup import RunGroup, SignalReceived, listener_actor, signal_actor

async def handle(stream):
    async with stream:
        request = bytes(await stream.receive_some(100))
        if request == b"block":
            await stream.send_all(b"blocked")
            sys.stdin.readline()  # the whole trio thread: from here on nothing is accepted
        elif request == b"long":
            await stream.send_all(b"begun ")
            await stream.receive_some(100)
        await stream.send_all(b"done")

async def main():
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1", backlog=1000)
    print(listeners[0].socket.getsockname()[1], flush=True)
    group = RunGroup(grace=60)
    group.add(*signal_actor())
    group.add(*listener_actor(handle, listeners))
    await group.run()

try:
    trio.run(main)
except SignalReceived as stop:
    sys.exit(stop.exit_code)
"""


def test_of_hundreds_of_connections_at_a_sigterm_not_one_is_lost() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        address = "127.0.0.1", int(server.stdout.readline())

        def send(request: bytes) -> socket.socket:
            sock = socket.create_connection(address, timeout=60)
            sock.sendall(request)
            return sock

        in_flight = [send(b"long") for _ in range(300)]
        for sock in in_flight:
            assert sock.recv(100) == b"begun "
        blocking = send(b"block")
        assert blocking.recv(100) == b"blocked"
        # The kernel completes the handshake of these; the server has not heard of them.
        queued = [send(b"short") for _ in range(100)]
        server.send_signal(signal.SIGTERM)
        server.stdin.write("\n")
        server.stdin.flush()
        for sock in in_flight:
            sock.sendall(b"go on")
        for sock in [blocking, *queued, *in_flight]:
            assert sock.recv(100) == b"done"
            assert sock.recv(100) == b""
            sock.close()
        assert server.wait(60) == 128 + signal.SIGTERM
        with pytest.raises(ConnectionRefusedError):
            send(b"short")


def descriptor(listener: trio.abc.Listener[Any]) -> int:
    if isinstance(listener, trio.SSLListener):
        listener = listener.transport_listener
    assert isinstance(listener, trio.SocketListener)
    return listener.socket.fileno()

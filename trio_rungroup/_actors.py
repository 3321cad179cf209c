"""Ready-made actors: each function returns a pair, `group.add(*signal_actor())`."""

from __future__ import annotations

import contextlib
import copy
import functools
import inspect
import logging
import math
import os
import signal
import socket
import subprocess
import sys
import threading
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NoReturn, Protocol, TypeAlias, TypeGuard, TypeVar, cast

import trio
from trio.lowlevel import disable_ki_protection, enable_ki_protection

from ._checks import (
    check_handler,
    check_interrupt,
    close_coroutine,
    default_name,
    refuse_parameters,
)
from ._errors import without_cancelled
from ._record import describe, shorten
from ._where import explains, in_thread

Execute: TypeAlias = Callable[[], Awaitable[object]]
Interrupt: TypeAlias = Callable[[BaseException | None], object]

_StreamT = TypeVar("_StreamT", bound=trio.abc.AsyncResource)
_Listener: TypeAlias = trio.abc.Listener[Any]

_log: Final = logging.getLogger("trio_rungroup")
# The signals that a signal_actor is waiting for, each with its trio.run: one that breaks off with a
# TrioInternalError leaves its own here.
_taken: Final[set[tuple[trio.lowlevel.TrioToken, int]]] = set()
_MOST_QUEUED: Final = 0xFFFF  # connections; what trio asks the kernel to queue
_HAS_PROC: Final = Path("/proc/self/stat").exists()
_LEADERLESS: Final = 10.0  # seconds that a process group has at most when its leader has exited


class SignalReceived(Exception):  # noqa: N818 - it is news, not an error; so is Go's
    """Raised by `signal_actor` when a signal has arrived. Go: `SignalError`.

    Attributes:
        signal: The `signal.Signals` member; the number, for a signal that has none.
        exit_code: The exit status that a shell reports for it: 128 + the number of the signal.

    Example:
        ```python
        try:
            trio.run(main)
        except SignalReceived as stop:
            sys.exit(stop.exit_code)
        ```
    """

    def __init__(self, received: int) -> None:
        self.signal: signal.Signals | int = _member(received)
        super().__init__(f"received signal {_name(received)}")

    def __reduce__(self) -> tuple[type[SignalReceived], tuple[int], dict[str, object]]:
        return SignalReceived, (int(self.signal),), self.__dict__  # which has the notes

    @property
    def exit_code(self) -> int:
        return 128 + self.signal


class ScopeCancelled(Exception):  # noqa: N818 - a request, not an error; Go: context.Canceled
    """Raised by `scope_actor` when its scope has been cancelled. Go: `context.Canceled`."""


def signal_actor(*signals: int) -> tuple[Execute, None]:
    """Make an actor that ends when the process receives a signal. Go: `SignalHandler`.

    The handlers that were there before are back as soon as it exits. So a second Ctrl-C
    ends every grace (trio raises KeyboardInterrupt in the main task, which should be the
    one that awaits `run()`), and any SIGTERM once it has exited, even the first if something else
    has begun the stop, kills this process without clean-up (process 1 of a container ignores it).
    So does a SIGHUP, which comes when the terminal is closed, unless it waits for that, too.
    Signals that come in the same moment are one.

    Add it before actors with an async interrupt: when something else begins the stop, those would
    keep it from exiting, and a signal that comes meanwhile would only be a later error.

    A child that is forked meanwhile, and executes no other program (multiprocessing's "fork"),
    inherits the handlers, and so ignores these signals, `terminate()` as well. Use "spawn" or
    "forkserver".

    What `faulthandler.register` has set for one of these signals is lost.

    Main thread only, and one `signal_actor` per signal at a time. Nobody else may set a handler of
    these signals meanwhile that is to be taken back later (as `trio.open_signal_receiver` does): it
    would be gone when this actor exits, and put back one of this actor's that is dead.

    Cancellation:
        It may be cancelled at any time; that is its interrupt.

    Args:
        signals: Members of `signal.Signals`; the default is SIGINT and SIGTERM.

    Raises:
        SignalReceived: From `execute`, when one of the signals has arrived.
        RuntimeError: From `execute`, outside the main thread, or when another `signal_actor` is
            waiting for one of the signals, or when a handler was not installed by Python, which
            could not put it back.
        TypeError: An argument is not an `int`.
        ValueError: There is no such signal, or no process can wait for it (SIGKILL, SIGSTOP).

    Example:
        ```python
        group.add(*signal_actor(signal.SIGINT, signal.SIGTERM, signal.SIGHUP))
        ```
    """
    wanted = [_signal(number) for number in signals or (signal.SIGINT, signal.SIGTERM)]

    @enable_ki_protection
    async def signal_actor() -> NoReturn:
        if threading.current_thread() is not threading.main_thread():
            raise RuntimeError(
                "signal_actor() works only in the main thread, where Python receives signals: add "
                "it to a group that runs there"
            )
        token = trio.lowlevel.current_trio_token()
        taking = {(token, number) for number in wanted}
        if taken := _taken & taking:
            names = ", ".join(map(_name, sorted(number for _, number in taken)))
            raise RuntimeError(
                f"another signal_actor is waiting for {names}; use one per signal, in the "
                "outermost group"
            )
        for number in wanted:
            if signal.getsignal(number) is None:
                raise RuntimeError(
                    f"signal_actor() could not put back the handler of {_name(number)}, which "
                    "Python has not installed: leave that signal out, or give the handler up "
                    f"before trio.run: signal.signal({number:d}, signal.SIG_DFL)"
                )
        with trio.open_signal_receiver(*wanted) as arrivals:
            _taken.update(taking)
            try:
                # Not `async for`: the handlers have to be gone before anyone hears of it.
                number = await anext(arrivals)
                await _take_what_came_with_it(arrivals, len(wanted))
            finally:
                _taken.difference_update(taking)
        raise SignalReceived(number)

    signal_actor.__qualname__ = "signal_actor"
    return signal_actor, None


async def _take_what_came_with_it(arrivals: AsyncIterator[int], most: int) -> None:
    """Take the signals that came in the same moment: they are the same request to stop.

    trio would send them anew as soon as the old handlers are back. A SIGTERM that came with a
    SIGINT would kill the process before anything has stopped.
    """

    @enable_ki_protection
    async def take() -> NoReturn:
        while True:
            await anext(arrivals)

    with trio.CancelScope(shield=True):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(take)
            for _ in range(most + 2):  # a tick for each, one to begin, one to spare
                await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel(reason="no other signal came with it")


def scope_actor(scope: trio.CancelScope) -> tuple[Execute, None]:
    """Make an actor that ends when a cancel scope does. Go: `ContextHandler`.

    The actor enters the scope, and a scope can be entered only once, so a group with this
    actor runs once: a second run raises a RuntimeError.

    Cancellation:
        It may be cancelled at any time; that is its interrupt. So nobody may shield the scope
        while the group runs: the group could not stop.

    Args:
        scope: A `trio.CancelScope` that nobody has entered.

    Raises:
        ScopeCancelled: From `execute`, when the scope is cancelled.
        trio.TooSlowError: From `execute`, when its deadline passes.
        RuntimeError: From `execute`, when the scope has been entered already.
        TypeError: `scope` is no `trio.CancelScope`.
        ValueError: `scope` has been entered already, or is shielded; from `execute`, when it has
            been shielded since.
    """
    if not isinstance(scope, trio.CancelScope):  # pyright: ignore[reportUnnecessaryIsInstance]
        instead = (
            "in place of trio.fail_after(5) write trio.move_on_after(5), which ends with "
            "TooSlowError here"
        )
        if scope is trio.CancelScope:
            instead = "write scope_actor(trio.CancelScope())"
        raise TypeError(
            f"scope_actor() takes a trio.CancelScope, not {type(scope).__name__}; {instead}"
        )
    if scope.is_relative is None:
        raise ValueError(
            "scope_actor() enters the scope itself, and a scope can be entered only once; "
            "pass a new trio.CancelScope() and cancel that one"
        )
    _refuse_shield(scope)

    @enable_ki_protection
    async def scope_actor() -> NoReturn:
        if scope.is_relative is None:
            raise RuntimeError(
                "the scope of this scope_actor() has been entered already: for each run, make "
                "another one with a scope of its own"
            )
        _refuse_shield(scope)
        source = ""
        with scope:
            try:
                await trio.sleep_forever()
            except trio.Cancelled as cancelled:
                source = cancelled.source
                raise
        # Only here if the cancellation was this scope's, not one from around it.
        if source == "deadline":
            raise trio.TooSlowError
        raise ScopeCancelled("the scope was cancelled")

    scope_actor.__qualname__ = "scope_actor"
    return scope_actor, None


def _refuse_shield(scope: trio.CancelScope) -> None:
    if scope.shield:
        raise ValueError(
            "scope_actor() could not be interrupted behind the shield of this scope; pass a "
            "trio.CancelScope() without shield=True"
        )


def process_actor(
    command: str | os.PathLike[str] | Sequence[str | bytes | os.PathLike[str]],
    **options: Any,  # noqa: ANN401 - trio's to check
) -> tuple[Execute, Interrupt]:
    """Make an actor that runs a process, and its process group. POSIX only.

    The process leads a process group of its own. What it starts belongs to that group too, unless
    it leaves it, as a daemon does. To start it takes one of the 40 threads that `trio.to_thread`
    shares out.

    The interrupt sends SIGTERM to the whole group (and SIGCONT, in case it is stopped); after it,
    death by SIGTERM or SIGKILL is a clean return (of one that is killed because its grace has
    ended, the record says "cancelled"; one that catches the SIGTERM and exits with 143, as Java
    does, has failed). Where the process has not been started yet, the actor returns without it.

    When the process exits, what is left of its group is killed before the actor returns: at once,
    or, if the actor has been interrupted, when it has not ended within 10 seconds. So what a shell
    runs may stop gracefully, though the shell itself dies of SIGTERM at once.

    Its standard input is the null device. In a terminal it runs in the background, where reading
    /dev/tty suspends it. If your own program dies without clean-up (of SIGKILL, a second SIGTERM,
    a SIGHUP that nobody waits for), its processes run on. So for a program in a terminal use
    `signal_actor(signal.SIGINT, signal.SIGTERM, signal.SIGHUP)`, and ignore SIGHUP before
    `trio.run`, for it may come twice, from bash and from the kernel:
    `signal.signal(signal.SIGHUP, signal.SIG_IGN)`.

    Cancellation:
        When the grace has expired, or from outside where there is none: SIGKILL to the group (an
        instant after the SIGTERM of the interrupt, if it is from outside); the actor exits once the
        process is reaped. Give the actor a grace when adding it, for a process may ignore SIGTERM.
        One that has become another user's, as by sudo, hears nothing of us: it runs on, and the
        actor raises a PermissionError.

    Args:
        command: As for `trio.run_process`: a sequence of words (strings, bytes or paths), a path,
            or a string with `shell=True`.
        **options: As for `trio.lowlevel.open_process`, such as `env`, `cwd`, `stdout` and
            `stderr` (a file or descriptor: nobody would read a pipe).

    Raises:
        subprocess.CalledProcessError: From `execute`, when the exit status is not 0.
        OSError: From `execute`, when the process cannot be started, or not be killed.
        RuntimeError: From `execute`, when it is running already (each actor needs a pair of its
            own), or when SIGCHLD is ignored, so that nobody hears of the exit status.
        TypeError: The command is not a list of words; or an option is a pipe (nobody would read
            it), is for text or buffers, or is one that this function sets itself; from `execute`,
            when an option is unknown to `trio.lowlevel.open_process`.
        ValueError: The command is empty.
        NotImplementedError: On Windows.

    Example:
        ```python
        group.add(*process_actor(["nginx", "-g", "daemon off;"]), grace=10)
        ```
    """
    _check_command(command, options)
    process: trio.Process | None = None
    interrupted, starting = False, trio.CancelScope()

    @_one_at_a_time
    @enable_ki_protection
    async def process_actor() -> None:
        nonlocal process, interrupted, starting
        _check_that_children_are_waited_for()
        interrupted, starting = False, trio.CancelScope()
        started, status = None, 0
        with starting:  # may take long: trio does it in one of its 40 shared threads
            process = started = await trio.lowlevel.open_process(
                command,
                stdin=subprocess.DEVNULL,
                process_group=0,
                **options,
            )
        if started is None:
            return
        of_which = f" (process {started.pid})"
        explains[trio.lowlevel.current_task()] = lambda place: place + of_which
        try:
            if interrupted:  # while it was being started
                _ask_group(started)
            status = await started.wait()
            if interrupted:
                # Before what it has left is waited for: that may take until its grace ends.
                status = 0 if status in (-signal.SIGTERM, -signal.SIGKILL) else status
                with trio.move_on_after(_LEADERLESS):
                    await _until_gone(started.pid)
        except trio.Cancelled:
            if not status:  # else there is an error to be told instead
                raise
        finally:
            process = None
            await _end_group(started)
        if status:
            raise subprocess.CalledProcessError(status, started.args)

    def interrupt(error: BaseException | None) -> None:  # noqa: ARG001 - it is told to everyone
        nonlocal interrupted
        interrupted = True
        if process is not None:
            _ask_group(process)
        else:
            starting.cancel(reason="process_actor was interrupted")

    return process_actor, interrupt


def listener_actor(  # noqa: C901 - three functions in one
    handler: Callable[[_StreamT], Awaitable[object]],
    listeners: Sequence[trio.abc.Listener[_StreamT]],
) -> tuple[Execute, Interrupt]:
    """Make an actor that serves connections, and finishes those it has when it stops.

    It is `trio.serve_listeners` with an orderly stop. The interrupt accepts what the kernel
    has queued already (closing would reset those connections) and closes the listeners, at
    once and without waiting: from then on a new connection is refused. (One whose handshake
    ends in the microseconds between the two is reset; no system offers better. So are those for
    which the process has no file descriptor left, with a warning.) The actor exits when the
    handlers in flight have finished. A handler that waits for a request that never comes holds
    that up, so give the actor a grace when adding it.

    `execute` takes trio's `task_status` and reports the listeners, for `reports_started`.
    They are closed when it exits, so a group with this actor runs once: a second run raises a
    RuntimeError. The path of a Unix socket stays.

    Cancellation:
        When the grace has expired, or from outside where there is none: the listeners are
        closed and the handlers are cancelled.

    Args:
        handler: An async function of one stream. The stream is closed when it exits.
        listeners: A list of listeners, as from `await trio.open_tcp_listeners(80)`. Only a
            `trio.SocketListener`, also inside a `trio.SSLListener`, shows what is queued;
            one of another kind is closed when its task gets its next turn.

    Raises:
        ExceptionGroup: From `execute`, as from `trio.serve_listeners`: what a handler raised,
            or, in another group inside, what a listener raised. The other handlers are cancelled.
        RuntimeError: From `execute`, when it has run before, or is running.
        TypeError: `handler` is not a function of one argument, or `listeners` are no listeners.
            (What only its call shows not to be async is an error of the first connection.)
        ValueError: There are no listeners.

    Example:
        ```python
        listeners = await trio.open_tcp_listeners(8000)
        group.add(*listener_actor(handle, listeners), grace=10)
        ```
    """
    ours = _check_listeners(handler, listeners)
    accepting = trio.CancelScope()
    handlers: trio.Nursery | None = None
    failed: list[BaseException] = []  # what handlers have raised
    has_begun = False

    @enable_ki_protection
    async def listener_actor(
        *,
        task_status: trio.TaskStatus[list[trio.abc.Listener[_StreamT]]] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        nonlocal accepting, handlers, has_begun
        if has_begun:
            raise RuntimeError(
                "this listener_actor() has run before, or is running: for each run, make another "
                "one with listeners of its own"
            )
        has_begun = True
        try:
            async with trio.open_nursery() as handlers:
                with trio.CancelScope() as accepting:
                    await trio.serve_listeners(
                        functools.partial(_handle, handler, keep),
                        ours,
                        handler_nursery=handlers,
                        task_status=task_status,
                    )
        except BaseException as exc:
            if not failed:
                raise
            failed.append(exc)
        finally:
            handlers = None
        try:
            if failed:
                raise BaseExceptionGroup("Exceptions from Trio nursery", [*failed])
        finally:
            failed.clear()  # the traceback of an error may lead to it

    def keep(error: BaseException) -> None:
        assert handlers is not None  # a handler runs in it
        failed.append(error)
        handlers.cancel_scope.cancel(reason="a handler has failed")
        del error

    def interrupt(error: BaseException | None) -> None:  # noqa: ARG001 - it is told to everyone
        if handlers is None:
            return
        # Before the closing, which would make a pending accept() raise.
        accepting.cancel(reason="listener_actor was interrupted")
        for listener in ours:
            if (listening := _socket_of(listener)) is None:
                continue
            queue = _Queue(deque(_queued(listening)))
            listening.close()
            source = _with_queue(listener, queue)
            for _ in range(len(queue.streams)):
                handlers.start_soon(_handle_queued, handler, keep, source)

    listener_actor.__qualname__ = "listener_actor"
    return listener_actor, interrupt


def thread_actor(
    execute: Callable[[], object],
    interrupt: Callable[[BaseException | None], object],
) -> tuple[Execute, Interrupt]:
    """Make an actor of a blocking function, in a worker thread of its own.

    It never waits for one of the 40 threads that `trio.to_thread` shares out. The function
    can call back with `trio.from_thread` and sees the context variables of the group's
    caller. When it has returned, trio keeps the idle thread for ten seconds, to use it again.

    The interrupt is called in the trio thread, possibly before the first line of the
    function has run. So it should set what stays set: an event, an item in a queue, a socket
    that is shut down (to close it wakes no thread that waits for it).

    Cancellation:
        When the grace has expired, or from outside where there is none: a thread can only be
        asked, so it is abandoned, with a warning on the logger `trio_rungroup` that names it.
        It runs on as a daemon, and what comes out of it is lost.

    Args:
        execute: A blocking function without parameters.
        interrupt: A function of one argument that makes `execute` return.

    Raises:
        BaseException: From `execute`, the very object that the function raised; but no
            coroutine can raise a StopIteration, so that is the cause of a RuntimeError.
        TypeError: `execute` is not a blocking function, or `interrupt` not a function of
            one argument.

    Example:
        ```python
        group.add(*thread_actor(watch, lambda error: stopping.set()), grace=10)
        ```
    """
    if not callable(execute) or inspect.iscoroutinefunction(execute):
        close_coroutine(execute)
        raise TypeError(
            "thread_actor() takes a blocking function without parameters; an async one is "
            "added as it is: group.add(execute, interrupt)"
        )
    if interrupt is None:  # pyright: ignore[reportUnnecessaryComparison]
        raise TypeError(
            "thread_actor() needs an interrupt, a function of one argument that makes "
            "execute return: a thread cannot be cancelled, only asked"
        )
    refuse_parameters(execute)
    check_interrupt(interrupt)

    @enable_ki_protection
    async def thread_actor() -> object:
        return await _in_own_thread(execute, default_name(execute))

    thread_actor.__qualname__ = "thread_actor"
    return thread_actor, interrupt


class _Future(Protocol):
    def add_done_callback(self, fn: Callable[[Any], object], /) -> object: ...
    def result(self) -> object: ...
    def cancel(self) -> object: ...
    def cancelled(self) -> bool: ...


def future_actor(
    submit: Callable[[], _Future],
    interrupt: Callable[[BaseException | None], object] | None = None,
) -> tuple[Execute, Interrupt]:
    """Make an actor of work that runs elsewhere: in a pool, on a cluster.

    It ends when the future is done. Takes the futures of `concurrent.futures`,
    `dask.distributed`, Parsl, `mpi4py.futures`: any with `add_done_callback`, `result`,
    `cancel` and `cancelled`. No thread waits for it.

    Without an interrupt the future is cancelled. That keeps work from being begun; but most engines
    do not stop what is running (the actor waits for it, or on dask forgets it), and Parsl refuses
    altogether, so that the interrupt fails. For that, pass an interrupt that the work listens to,
    such as the `set` of a `distributed.Event`. A future cancelled after its interrupt is a clean
    return.

    Ctrl-C in a terminal reaches the processes of a pool as well. Work that it ends after the
    interrupt is a clean return, too; if it ends before, `run()` raises its KeyboardInterrupt in
    place of a `SignalReceived`. So that they may finish their work, let them ignore it:
    `ProcessPoolExecutor(initializer=signal.signal, initargs=(signal.SIGINT, signal.SIG_IGN))`.
    It reaches the workers of a `distributed.LocalCluster`, too: have `client.run` call a function
    there that ignores SIGINT in the same way.

    Cancellation:
        When the grace has expired, or from outside where there is none: the future is
        cancelled, and the actor exits at once, whatever the engine does. Should a thread be
        fetching the result from another machine by then, it is abandoned, with a warning. This
        ends the actor, not the work: leaving the `with` of a pool, and the end of the program,
        wait for what still runs there. Pass an interrupt that the work listens to.

    Args:
        submit: A function without parameters that hands back the future. It is called in
            the trio thread, where Ctrl-C can end it.
        interrupt: A function of one argument that makes the work end.

    Raises:
        BaseException: From `execute`, what `submit` raised, or what the future holds. A
            future cancelled without an interrupt raises its own CancelledError.
        RuntimeError: From `execute`, when it is running already: each actor needs a pair of its
            own.
        TypeError: `submit` is not a function without parameters, or `interrupt` not a function
            of one argument; from `execute`, when `submit` does not return a future.

    Example:
        ```python
        client = distributed.Client(address)
        stop = distributed.Event()
        group.add(
            *future_actor(
                lambda: client.submit(train, stop, pure=False),  # equal calls are not one call
                lambda error: stop.set(),
            )
        )
        ```
    """
    if not callable(submit):
        close_coroutine(submit)
        raise TypeError(
            "future_actor() takes a function that submits the work and hands back its future: "
            "future_actor(lambda: pool.submit(work))"
        )
    refuse_parameters(submit)
    if interrupt is not None:
        check_interrupt(interrupt)
    future: _Future | None = None
    interrupted = False

    @_one_at_a_time
    @enable_ki_protection
    async def future_actor() -> object:
        nonlocal future, interrupted
        interrupted = False
        await trio.lowlevel.checkpoint_if_cancelled()  # then there is nothing to be submitted
        submitted = future = _submitted(submit)
        try:
            await _until_done(submitted)
            return await _result_of(submitted)
        except trio.Cancelled:
            _give_up(submitted)
            raise
        except BaseException as error:
            # No SystemExit or the like is hidden because the future was cancelled as well.
            if interrupted and (
                _is_cancelled_error(error)
                or _is_ctrl_c_elsewhere(error)
                or (isinstance(error, Exception) and _is_cancelled(submitted))
            ):
                return None
            raise
        finally:
            future = None
            # The error's traceback holds this frame: it must not hold the error in turn.
            del submitted

    def stop(error: BaseException | None) -> object:
        nonlocal interrupted
        interrupted = True
        if interrupt is not None:
            return interrupt(error)
        if future is not None:
            future.cancel()
        return None

    return future_actor, stop


def _one_at_a_time(execute: Execute) -> Execute:
    """Refuse to run twice at the same time: the interrupt would reach only one of the two."""
    factory = execute.__name__
    is_running = False

    @enable_ki_protection
    async def actor() -> object:
        nonlocal is_running
        if is_running:
            raise RuntimeError(
                f"this {factory} is running already: give each actor a pair of its own, "
                f"group.add(*{factory}(...))"
            )
        is_running = True
        try:
            return await execute()
        finally:
            is_running = False

    actor.__name__ = actor.__qualname__ = factory
    return actor


_REFUSED_OPTIONS: Final = {
    "stdin process_group start_new_session": (
        "process_actor() takes no {option}: the process reads from the null device and leads a "
        "process group of its own"
    ),
    "grace name ends_group reports_started": (
        "{option} is for add(): write group.add(*process_actor(...), {option}=...)"
    ),
    "check capture_output timeout input": (
        "process_actor() takes no {option}, unlike subprocess.run(): its options are those of "
        "trio.lowlevel.open_process()"
    ),
}


def _check_command(command: object, options: dict[str, object]) -> None:
    if sys.platform == "win32":  # pragma: no cover
        raise NotImplementedError("process_actor() needs process groups, which are POSIX only")
    _check_words(command, shell=bool(options.get("shell")))
    for names, refusal in _REFUSED_OPTIONS.items():
        for option in names.split():
            if option in options:
                raise TypeError(refusal.format(option=option))
    for option in ("universal_newlines", "text", "encoding", "errors", "bufsize"):
        if options.get(option):
            raise TypeError(
                f"process_actor() takes no {option}: what the process writes goes to its file as "
                "it is"
            )
    if subprocess.PIPE in (options.get("stdout"), options.get("stderr")):
        raise TypeError(
            "process_actor() takes no PIPE, since nobody would read it; pass a file, a file "
            "descriptor or subprocess.DEVNULL"
        )


def _check_that_children_are_waited_for() -> None:
    """Refuse to start what would seem to return though it fails: the kernel keeps no status."""
    if signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN:  # inherited, perhaps
        raise RuntimeError(
            "process_actor() cannot tell how a process exits while SIGCHLD is ignored: write "
            "signal.signal(signal.SIGCHLD, signal.SIG_DFL) before trio.run"
        )


def _check_words(command: object, *, shell: bool) -> None:
    if not command and isinstance(command, Sequence):
        raise ValueError(f"process_actor() takes the words of a command, not {command!r}")
    if shell:
        if not isinstance(command, (str, bytes)):
            raise TypeError(
                f"process_actor() takes a shell's command in one string, not {command!r}; leave "
                "out shell=True for a list of words"
            )
    elif isinstance(command, str):
        raise TypeError(
            f"process_actor() takes the words of a command, here {command.split()}; a command in "
            "one string needs shell=True"
        )
    elif not isinstance(command, os.PathLike) and not (
        isinstance(command, Sequence)
        and all(
            isinstance(word, (str, bytes, os.PathLike))
            for word in cast("Sequence[object]", command)
        )
    ):
        raise TypeError(
            "process_actor() takes the words of a command as a list, such as ['ls', '-l'], not "
            f"{command!r}"
        )


def _signal(number: int) -> int:
    if not isinstance(number, int):  # pyright: ignore[reportUnnecessaryIsInstance]
        instead = "signal_actor(*signals) for a list of them"
        if isinstance(number, str):
            instead = "a member of signal.Signals"
        raise TypeError(
            f"signal_actor() takes signals such as signal.SIGTERM, not {number!r}; write {instead}"
        )
    if number not in signal.valid_signals():
        raise ValueError(f"there is no signal {number}")
    name = _name(number)
    if name in ("SIGKILL", "SIGSTOP"):  # Windows does not have them
        raise ValueError(f"no process can wait for {name}")
    return number


def _member(number: int) -> signal.Signals | int:
    try:
        return signal.Signals(number)
    except ValueError:  # a real-time signal
        return number


def _name(number: int) -> str:
    return getattr(_member(number), "name", str(number))


def _signal_group(group: int, number: int) -> bool:
    """Send a signal to a process group; tell whether anyone was left in it."""
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):  # or only zombies (macOS), or not ours
        return False
    return True


def _ask_group(process: trio.Process) -> None:
    for number in signal.SIGTERM, signal.SIGCONT:  # one that is stopped would not hear of it
        _signal_group(process.pid, number)
        if _has_left_its_group(process):
            process.send_signal(number)


def _has_left_its_group(process: trio.Process) -> bool:
    # Until it is reaped, which only we do, its number is given to no other one.
    try:
        return process.poll() is None and os.getpgid(process.pid) != process.pid
    except ProcessLookupError:  # pragma: no cover - a zombie, on macOS
        return False


def _is_living(pid: int, group: int) -> bool:
    """Tell whether a process is in a group, and not only as a zombie."""
    try:
        if os.getpgid(pid) != group:
            return False
        threads = os.listdir(f"/proc/{pid}/task")  # noqa: PTH208 - as below
    except OSError:  # it has gone
        return False
    for thread in threads:  # the first one may have ended before the others
        with contextlib.suppress(OSError):  # this one has
            stat = Path(f"/proc/{pid}/task/{thread}/stat").read_bytes()
            # Before the state stands the name, which may hold anything.
            if stat.rpartition(b")")[2].split()[0] not in (b"Z", b"X"):
                return True
    return False


async def _until_gone(group: int) -> None:
    """Wait until nobody is left in a process group, but for zombies.

    Those stay until their new parent reaps them, and process 1 of a container never may.
    """
    living: list[int] = []
    pause = 0.001
    while _signal_group(group, 0):
        living = [pid for pid in living if _is_living(pid, group)]
        # Most are gone in a moment, and then there is no need to go through all processes. Where
        # Linux's /proc is not, zombies are not told apart; on macOS killpg does that.
        if not living and pause > 0.01 and _HAS_PROC:
            pids = map(int, filter(str.isdecimal, os.listdir("/proc")))  # noqa: PTH208 - faster
            living = [pid for pid in pids if _is_living(pid, group)]
            if not living:
                return
        await trio.sleep(pause)
        pause = min(2 * pause, 0.1)


async def _end_group(process: trio.Process) -> None:
    """Kill what is left of the process's group, reap the process, see the others gone."""
    # The number of a group cannot be given away while it has a member. If it has none, the
    # leader was reaped an instant ago, and numbers are not reused that fast.
    _signal_group(process.pid, signal.SIGKILL)
    process.kill()  # it may have left its group
    with trio.CancelScope(shield=True):
        await process.wait()
        # The rest are not our children and cannot be awaited, only looked for; and not for
        # long, since even SIGKILL may have to wait for what the kernel does for them.
        with trio.move_on_after(1):
            await _until_gone(process.pid)


def _check_listeners(
    handler: Callable[[_StreamT], Awaitable[object]],
    listeners: Sequence[trio.abc.Listener[_StreamT]],
) -> list[trio.abc.Listener[_StreamT]]:
    if not callable(handler):
        close_coroutine(handler)
        raise TypeError(
            "listener_actor() takes the handler first, an async function of one stream, and "
            "then the listeners"
        )
    check_handler(handler)
    if close_coroutine(listeners):
        raise TypeError(
            "listener_actor() takes listeners, not a coroutine object: write "
            "listener_actor(handler, await trio.open_tcp_listeners(...))"
        )
    try:
        ours = list(listeners)
    except TypeError:
        ours = None
    if ours is None or not all(
        isinstance(each, trio.abc.Listener)  # pyright: ignore[reportUnnecessaryIsInstance]
        for each in ours
    ):
        if isinstance(listeners, trio.abc.Listener):
            instead = "for one listener write [listener]"
        elif isinstance(listeners, int):
            instead = f"for a port write `await trio.open_tcp_listeners({listeners})`"
        else:
            instead = (
                "for a listening socket write "
                "[trio.SocketListener(trio.socket.from_stdlib_socket(sock))]"
            )
        raise TypeError(f"listener_actor() takes a list of trio's listeners; {instead}")
    if not ours:
        raise ValueError("listener_actor() needs at least one listener")
    return ours


def _is_tls(listener: _Listener) -> TypeGuard[trio.SSLListener[Any]]:
    return isinstance(listener, trio.SSLListener)


def _socket_of(listener: _Listener) -> trio.socket.SocketType | None:
    while _is_tls(listener):
        listener = listener.transport_listener
    return listener.socket if isinstance(listener, trio.SocketListener) else None


def _queued(listening: trio.socket.SocketType) -> Iterator[trio.SocketStream]:
    """Accept, without waiting, the connections that the kernel has queued."""
    if listening.fileno() == -1:  # closed already
        return
    # trio's socket can only wait for the next one; another object for the same descriptor
    # tells at once that there is none.
    twin = socket.socket(fileno=listening.fileno())
    try:
        twin.settimeout(0)
        # Bounded, or a flood of new ones could keep the stop from ever happening.
        for _ in range(_MOST_QUEUED):  # pragma: no branch - we cannot make such a flood
            try:
                connection, _address = twin.accept()
            except BlockingIOError:
                return
            except ConnectionError:  # pragma: no cover - broken while it was queued; not on Linux
                continue
            except OSError as error:
                _warn("listener_actor loses the connections that are still queued: %s", error)
                return
            yield trio.SocketStream(trio.socket.from_stdlib_socket(connection))
    finally:
        twin.detach()


class _Queue(trio.abc.Listener[trio.SocketStream]):
    """Gives out connections that have been accepted already."""

    def __init__(self, streams: deque[trio.SocketStream]) -> None:
        self.streams = streams

    async def accept(self) -> trio.SocketStream:
        # No checkpoint: a cancellation would leave the connection to nobody.
        return self.streams.popleft()

    async def aclose(self) -> None:
        """Do nothing: it is emptied, never closed."""


def _with_queue(listener: _Listener, queue: _Queue) -> _Listener:
    """Copy a listener, TLS and all, with a queue where its socket was."""
    if not _is_tls(listener):
        return queue
    copied = copy.copy(listener)
    copied.transport_listener = _with_queue(copied.transport_listener, queue)
    return copied


@enable_ki_protection
async def _handle_queued(
    handler: Callable[[Any], Awaitable[object]],
    keep: Callable[[BaseException], None],
    listener: _Listener,
) -> None:
    stream = await listener.accept()
    try:
        await _handle(handler, keep, stream)
    finally:
        await trio.aclose_forcefully(stream)


@enable_ki_protection
async def _handle(
    handler: Callable[[_StreamT], Awaitable[object]],
    keep: Callable[[BaseException], None],
    stream: _StreamT,
) -> None:
    """Serve a connection; what the handler raises is kept.

    It does not go to the nursery, which would format its `repr`, and that may fail. And after us
    the stream is closed, and where we are cancelled, that raises a `Cancelled` in place of it.
    """
    try:
        await _call_handler(handler, stream)
    except GeneratorExit:  # the run has broken down
        raise
    except BaseException as exc:
        error = without_cancelled(exc)
        if error is None:
            raise
    else:
        return
    keep(error)
    del error


@disable_ki_protection
async def _call_handler(handler: Callable[[_StreamT], Awaitable[object]], stream: _StreamT) -> None:
    await _awaitable(handler(stream), handler)


@enable_ki_protection
def _awaitable(result: object, handler: Callable[..., object]) -> Awaitable[object]:
    """Refuse what a handler without `async` hands back."""
    if inspect.isawaitable(result):
        return result
    name = default_name(handler)
    raise TypeError(
        f"the handler {name} is not an async function: it returned nothing to await. Make it "
        "`async def`"
    )


async def _in_own_thread(function: Callable[[], object], what: str) -> object:
    task = trio.lowlevel.current_task()
    actor = shorten(task.name)
    # Cancelled before the thread has begun: then none is abandoned.
    await trio.lowlevel.checkpoint_if_cancelled()
    thread = 0

    def run() -> object:
        nonlocal thread
        thread = threading.get_ident()
        return function()

    run.__qualname__ = what  # for trio's complaint about one that is async
    explains[task] = lambda place: in_thread(thread) or place
    try:
        return await trio.to_thread.run_sync(
            run,
            thread_name=f"{what} from {actor}",
            abandon_on_cancel=True,
            limiter=trio.CapacityLimiter(1),  # the shared one has 40 tokens for everybody
        )
    except trio.Cancelled:
        # Else it is one that the thread has raised, and has ended by.
        if trio.current_effective_deadline() == -math.inf:
            _warn("actor %r is cancelled; its thread, which runs %s, is abandoned", actor, what)
        raise


def _submitted(submit: Callable[[], _Future]) -> _Future:
    # A defaultdict calls submit() and keeps what it returns, all in C: no Ctrl-C comes between.
    made: defaultdict[None, _Future] = defaultdict(submit)
    try:
        _look_up_unprotected(made)
    except BaseException:
        for future in made.values():  # Ctrl-C came when it was there already
            _give_up(future)
        raise
    return _check_future(made[None])


@disable_ki_protection  # so that Ctrl-C ends a submit() that blocks
def _look_up_unprotected(made: defaultdict[None, _Future]) -> None:
    made[None]


def _check_future(future: _Future) -> _Future:
    for method in ("add_done_callback", "result", "cancel", "cancelled"):
        if not callable(getattr(future, method, None)):
            close_coroutine(future)
            raise TypeError(
                "future_actor() takes a function that hands back a future, an object with "
                f"add_done_callback, result, cancel and cancelled, not {type(future).__name__}"
            )
    if getattr(future, "_asyncio_future_blocking", None) is not None:
        raise TypeError(
            "future_actor() cannot wait for an asyncio future, which is done only where its loop "
            "runs: run the loop in a thread and write future_actor(lambda: "
            "asyncio.run_coroutine_threadsafe(work(), loop))"
        )
    return future


def _is_cancelled(future: _Future) -> bool:
    try:
        return future.cancelled()
    except Exception:  # noqa: BLE001 - the actor has another one to raise
        return False


def _give_up(future: _Future) -> None:
    actor = shorten(trio.lowlevel.current_task().name)
    try:
        future.cancel()
    except Exception as error:  # noqa: BLE001 - the actor has another one to raise
        _warn("actor %r gives up its future, which cannot be cancelled: %s", actor, describe(error))


async def _until_done(future: _Future) -> None:
    done = trio.Event()
    token = trio.lowlevel.current_trio_token()

    @enable_ki_protection  # else Ctrl-C could keep us from hearing of it
    def wake(_: object) -> None:  # in whatever thread the engine likes, and whenever
        with contextlib.suppress(trio.RunFinishedError):
            token.run_sync_soon(done.set, idempotent=True)

    try:
        future.add_done_callback(wake)
    except BaseException:
        _give_up(future)  # nobody could wait for it
        raise
    await done.wait()


async def _result_of(future: _Future) -> object:
    # Imported already by whoever has made a future of it.
    from concurrent import futures  # noqa: PLC0415

    # Once it is done, such a future has its result at hand. That of a cluster may be still
    # on the other machine, or lost and computed anew, so there result() blocks.
    if getattr(future.result, "__func__", None) is vars(futures.Future)["result"]:
        try:
            return future.result()
        finally:
            # The error's traceback holds this frame: it must not hold the error in turn.
            del future
    return await _in_own_thread(future.result, "result() of its future")


def _is_cancelled_error(error: BaseException) -> bool:
    # By name: concurrent.futures has one, asyncio another, and engines derive their own.
    return any(base.__name__ == "CancelledError" for base in type(error).__mro__)


def _is_ctrl_c_elsewhere(error: BaseException) -> bool:
    # The one that has stopped us has reached the processes of a pool, too. The cause is the
    # traceback that came along; what is raised in this process has none.
    return isinstance(error, KeyboardInterrupt) and error.__cause__ is not None


def _warn(message: str, *args: object) -> None:
    with contextlib.suppress(Exception):  # a broken log handler must not break the actor
        _log.warning(message, *args)

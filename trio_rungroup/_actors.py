"""Ready-made actors: each function returns a pair, `group.add(*signal_actor())`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, NoReturn, TypeAlias

import trio
from trio.lowlevel import enable_ki_protection

Execute: TypeAlias = Callable[[], Awaitable[object]]
Interrupt: TypeAlias = Callable[[BaseException | None], None]

_taken: Final[set[int]] = set()


class SignalReceived(Exception):  # noqa: N818 - it is news, not an error; so is Go's
    """Raised by `signal_actor` when a signal has arrived. Go: `SignalError`.

    Attributes:
        signal: The `signal.Signals` member; the number, for a signal that has none.
        exit_code: The exit status by which a shell would tell of it: 128 + its number.

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

    def __reduce__(self) -> tuple[type[SignalReceived], tuple[int]]:
        return SignalReceived, (int(self.signal),)

    @property
    def exit_code(self) -> int:
        return 128 + self.signal


class ScopeCancelled(Exception):  # noqa: N818 - a request, not an error; Go: context.Canceled
    """Raised by `scope_actor` when its scope has been cancelled. Go: `context.Canceled`."""


def signal_actor(*signals: int) -> tuple[Execute, None]:
    """Make an actor that ends when the process receives a signal. Go: `SignalHandler`.

    The handlers that were there before are back as soon as it exits. So a second Ctrl-C
    ends every grace (trio raises KeyboardInterrupt in the main task, which should be the
    one that awaits `run()`), and a second SIGTERM kills this process without clean-up.

    Main thread only, and one `signal_actor` per signal at a time.

    Cancellation:
        It may be cancelled at any time; that is its interrupt.

    Args:
        signals: Members of `signal.Signals`; the default is SIGINT and SIGTERM.

    Raises:
        SignalReceived: From `execute`, when one of the signals has arrived.
        RuntimeError: From `execute`, outside the main thread, or when another
            `signal_actor` is waiting for one of the signals.
        TypeError: What is given is no signal.
        ValueError: What is given is no signal that can be waited for.
    """
    wanted = [_signal(number) for number in signals or (signal.SIGINT, signal.SIGTERM)]

    @enable_ki_protection
    async def signal_actor() -> NoReturn:
        if taken := _taken.intersection(wanted):
            names = ", ".join(map(_name, sorted(taken)))
            raise RuntimeError(
                f"another signal_actor is waiting for {names}; use one per signal, in the "
                "outermost group"
            )
        with trio.open_signal_receiver(*wanted) as arrivals:
            _taken.update(wanted)
            try:
                # Not `async for`: the handlers have to be gone before anyone hears of it.
                number = await anext(arrivals)
            finally:
                _taken.difference_update(wanted)
        raise SignalReceived(number)

    signal_actor.__qualname__ = "signal_actor"
    return signal_actor, None


def scope_actor(scope: trio.CancelScope) -> tuple[Execute, None]:
    """Make an actor that ends when a cancel scope does. Go: `ContextHandler`.

    The actor enters the scope, and a scope can be entered only once, so a group with this
    actor runs once.

    Cancellation:
        It may be cancelled at any time; that is its interrupt.

    Args:
        scope: A `trio.CancelScope` that nobody has entered.

    Raises:
        ScopeCancelled: From `execute`, when the scope is cancelled.
        trio.TooSlowError: From `execute`, when its deadline passes.
        TypeError: `scope` is no `trio.CancelScope`.
        ValueError: `scope` has been entered already, or is shielded.
    """
    if not isinstance(scope, trio.CancelScope):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"scope_actor() takes a trio.CancelScope, not {type(scope).__name__}")
    if scope.is_relative is None:
        raise ValueError(
            "scope_actor() enters the scope itself, and a scope can be entered only once; "
            "pass a new trio.CancelScope() and cancel that one"
        )
    if scope.shield:
        raise ValueError(
            "scope_actor() could not be interrupted behind the shield of this scope; pass a "
            "trio.CancelScope() without shield=True"
        )

    @enable_ki_protection
    async def scope_actor() -> NoReturn:
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


def process_actor(
    command: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    **options: Any,  # noqa: ANN401 - trio's to check
) -> tuple[Execute, Interrupt]:
    """Make an actor that runs a process, and whatever the process starts. POSIX only.

    The process leads a process group of its own. The interrupt sends SIGTERM to the whole
    group (and SIGCONT, in case it is stopped); after it, death by SIGTERM or SIGKILL is a
    clean return. When the process exits, what is left of its group is killed before the
    actor returns. Its standard input is the null device.

    Cancellation:
        When the grace has expired, or from outside: SIGKILL to the group; the actor exits
        once the process is reaped. Give the actor a grace when adding it, for a process
        may ignore SIGTERM.

    Args:
        command: As for `trio.run_process`: a sequence of strings, or a string with
            `shell=True`.
        **options: As for `trio.lowlevel.open_process`, such as `env`, `cwd`, `stdout` and
            `stderr` (a file or descriptor: nobody would read a pipe).

    Raises:
        subprocess.CalledProcessError: From `execute`, when the exit status is not 0.
        OSError: From `execute`, when the process cannot be started.
        TypeError: An option that this function sets itself, or a pipe.
        NotImplementedError: On Windows.

    Example:
        ```python
        group.add(*process_actor(["nginx", "-g", "daemon off;"]), grace=10)
        ```
    """
    _check_options(options)
    process: trio.Process | None = None
    interrupted = False

    @enable_ki_protection
    async def process_actor() -> None:
        nonlocal process, interrupted
        interrupted = False
        process = started = await trio.lowlevel.open_process(
            command,
            stdin=subprocess.DEVNULL,
            process_group=0,
            **options,
        )
        try:
            if interrupted:  # while it was being started
                _ask_group(started.pid)
            await started.wait()
        finally:
            process = None
            await _end_group(started)
        if started.returncode in (-signal.SIGTERM, -signal.SIGKILL) and interrupted:
            return
        if started.returncode != 0:
            raise subprocess.CalledProcessError(started.returncode or 0, started.args)

    def interrupt(error: BaseException | None) -> None:  # noqa: ARG001 - it is told to everyone
        nonlocal interrupted
        interrupted = True
        if process is not None:
            _ask_group(process.pid)

    process_actor.__qualname__ = "process_actor"
    return process_actor, interrupt


def _check_options(options: dict[str, object]) -> None:
    if sys.platform == "win32":  # pragma: no cover
        raise NotImplementedError("process_actor() needs process groups, which are POSIX only")
    for option in ("stdin", "process_group", "start_new_session", "preexec_fn"):
        if option in options:
            raise TypeError(
                f"process_actor() takes no {option}: the process reads from the null device "
                "and leads a process group of its own"
            )
    if subprocess.PIPE in (options.get("stdout"), options.get("stderr")):
        raise TypeError(
            "process_actor() takes no PIPE, since nobody would read it; pass a file, a file "
            "descriptor or subprocess.DEVNULL"
        )


def _signal(number: int) -> int:
    if not isinstance(number, int):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"signal_actor() takes signals such as signal.SIGTERM, not {number!r}")
    if number not in signal.valid_signals():
        raise ValueError(f"there is no signal {number}")
    if number in (signal.SIGKILL, signal.SIGSTOP):
        raise ValueError(f"no process can wait for {_name(number)}")
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
    except ProcessLookupError:
        return False
    except PermissionError:  # pragma: no cover - only zombies left (macOS), or not ours any more
        return False
    return True


def _ask_group(group: int) -> None:
    _signal_group(group, signal.SIGTERM)
    _signal_group(group, signal.SIGCONT)  # one that is stopped would not hear of it


async def _end_group(process: trio.Process) -> None:
    """Kill what is left of the process's group, reap the process, see the others gone."""
    # The number of a group cannot be given away while it has a member. If it has none, the
    # leader was reaped an instant ago, and numbers are not reused that fast.
    left = _signal_group(process.pid, signal.SIGKILL)
    with trio.CancelScope(shield=True):
        await process.wait()
        # The rest are not our children and cannot be awaited, only looked for; and not for
        # long, for they stay on as zombies until their new parent reaps them, if it does.
        with trio.move_on_after(0.1 if left else 0):
            while _signal_group(process.pid, 0):
                await trio.sleep(0.001)

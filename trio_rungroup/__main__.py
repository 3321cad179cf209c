"""The command: a run group of processes, built on the public interface.

How the output travels. Each command writes into two pipes of ours. A task per pipe takes
what has come, up to 64 KiB, puts the command's name before each line and writes it all at
once, in a thread: whoever reads our output may be slow, and then the commands are held back
by their pipes, while signals are attended to as ever. A command has exited, for its group,
when its process has, and what that has left is gone; what has been written when all have
exited is passed on, however long that takes.

Against the one end that nobody can prepare for, SIGKILL, there is a guard: see `_guarded`.
"""

from __future__ import annotations

import sys

if sys.platform == "win32":  # pragma: no cover - POSIX only
    sys.exit("trio-rungroup needs the process groups of POSIX and does not run on Windows")

import argparse
import contextlib
import errno
import fcntl
import functools
import itertools
import logging
import marshal
import math
import os
import re
import resource
import select
import shlex
import shutil
import signal
import subprocess
import termios
from collections.abc import (
    AsyncGenerator,
    Awaitable,
    Callable,
    Container,
    Generator,
    Iterable,
    Sequence,
)
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeAlias

import trio

from trio_rungroup import Record, RunGroup, SignalReceived, _guard, process_actor
from trio_rungroup._record import columns

# SIGHUP (the terminal was closed) and SIGQUIT (its Ctrl-\) would leave the commands behind.
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
_CHUNK: Final = 65536  # bytes read at once
_LONGEST_LINE: Final = 16 * _CHUNK  # bytes; a longer one is passed on as several
_ECHO: Final = 0.1  # seconds in which timeout(1) sends its signal twice: to us, and to our group
_LAST_WORDS: Final = 1.0  # seconds to pass on what is left when somebody wants us to end
_LOOKS_AGAIN: Final = 0.02  # seconds until it looks whether what it has told to end has ended
_MOST_APART: Final = 10.0  # seconds, at most, for what is left in process groups of its own
_FILES: Final = 5  # open files for each command: two pipes (4), and what trio waits by (1)
_WIDEST_NAME: Final = 24  # columns that all names take; a longer one moves its own lines only
_COLOURS: Final = (36, 33, 32, 35, 34)  # cyan, yellow, green, magenta, blue; red means errors

_MARK: Final = "TRIO_RUNGROUP_PID"  # an environment variable of all that the commands start
_SHOWS_ENVIRONMENTS: Final = Path("/proc/self/environ").exists()  # Linux does
# What a terminal would obey, and what turns the direction of a text.
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
_QUOTED: Final = re.compile(r"""'[^']*'|"(?:[^"\\]|\\.)*"|\\.""", re.DOTALL)
_ESCAPES: Final = {"$": "$", "`": "`", "\n": ""}

_Execute: TypeAlias = Callable[[], Awaitable[object]]
_Stop: TypeAlias = Callable[[Exception, str], None]

_QUOTE: Final = "each command is one argument, in quotes: 'sleep 5'"
_SHELL: Final = "no shell runs it: where you need one, write 'sh -c \"...\"'"
_OF_A_SHELL: Final = re.compile(r"&&|\|\||&|\||\S*;|<|[0-9&]?>>?\S*")
_HELP: Final = """\
Run commands together; when the first one exits, stop the others.

Each COMMAND is one argument, split into words as a shell does, but # begins no comment; no
shell runs it. Every line of output is passed on with the command's name before it (a line
of more than a mebibyte as several). When the first command exits, the others get SIGTERM,
and those that are still running when the grace ends get SIGKILL. Ctrl-C, SIGTERM, SIGHUP or
SIGQUIT stops all of them in the same way; a second signal kills them at once. (A later
SIGHUP does not count, nor the same signal again within 0.1 seconds: timeout(1) sends it
twice.) What a command leaves behind in its process group when it exits is killed: at once,
or if the command was told to stop, when the grace ends, but after 10 seconds at most. What
has made a process group of its own, as timeout(1) does, is not stopped with its command: on
Linux, with the exceptions below, it gets SIGTERM when all commands have exited, and SIGKILL
when it has had the grace, too, but 10 seconds at most. So a stop may take that much longer.
All output is passed on before the end, however slow its reader is; but after a signal, only
until one second after the grace. At the end, a timeline goes to standard error (after a
signal, too, for a second at most).

The commands cannot read from the terminal: their standard input is empty, and one that
reads /dev/tty, as for a password, or changes the terminal's settings, is suspended. Ctrl-Z
suspends trio-rungroup alone: they run on. If trio-rungroup itself is killed (SIGKILL), its
commands are killed too, on Linux, except those with a session of their own and those whose
environment does not show our mark (cleared by env -i, overwritten by a long process title,
or hidden). A command that has become another user's (sudo) cannot be stopped at all. In a
container, run it under an init (docker run --init), not as process 1: it reaps no orphans."""

_OTHER_PICTURES: Final = {".gif", ".jpeg", ".jpg", ".pdf", ".png", ".webp"}
_EPILOG: Final = """\
example:
  trio-rungroup 'python -u -m http.server 8000' 'sleep 60'

  serves files for a minute: the server is stopped when sleep exits, or sleep when the
  server fails. (-u, since Python holds back what it writes into a pipe; for other
  programs 'stdbuf -oL' may help. Where a shell is needed: 'sh -c "..."'. Before
  '| tee', write 'tee -i', or Ctrl-C ends it before the timeline comes.)

exit status:
  that of the first command to exit; 128 + n if signal n ended it, or stopped us before one
  had exited (we exit; a bash script that runs us goes on after Ctrl-C, unless it looks at
  the status). In place of 0: 141 if nobody reads the output, 1 if what the commands write,
  or FILE.svg, cannot be written. 127 if a program is not found, 126 if it cannot be
  started; 2 for wrong arguments, or if FILE.svg cannot be opened at the start."""


def main() -> int:
    """Run the command line; hand back the exit status."""
    # Before and after the run, Ctrl-C ends us as it ends any program: without a traceback (but for
    # the 0.3 seconds until here, in which Python imports us).
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    # If whoever starts us has set it to be ignored, we could get no exit status.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    # A standard stream that was closed would be what is opened next (or has been since: trio's
    # import of ctypes makes libffi open a file), and our output end up in that.
    null = os.open(os.devnull, os.O_RDWR)
    for fd, stream in enumerate((sys.stdin, sys.stdout, sys.stderr)):
        if stream is None:
            os.dup2(null, fd)
    try:
        return _main()
    except BrokenPipeError:
        return 128 + signal.SIGPIPE
    except OSError as error:  # such as no pipes left before the start
        hint = " (ulimit -n raises the limit)" if error.errno == errno.EMFILE else ""
        with contextlib.suppress(OSError):
            _write(2, _line(f"trio-rungroup: {error}{hint}"))
        return 1


def _main() -> int:
    parser = argparse.ArgumentParser(
        "trio-rungroup",
        usage="trio-rungroup [OPTION]... COMMAND...",
        description=_HELP,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        add_help=False,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("commands", metavar="COMMAND", nargs="*", type=_command, help="a program and its arguments")
    add("--grace", type=_seconds, default=10.0, help="seconds from SIGTERM to SIGKILL (10)")
    add("--timeline", metavar="FILE.svg", type=_svg, help="draw the timeline into this file, too")
    add("--quiet", action="store_true", help="show no timeline at the end")
    add("--version", action="store_true", help="show the version")
    add("-h", "--help", action="store_true", help="show this help")
    # Apart from the rest, since this way of parsing looks for options after a "--", too.
    arguments = sys.argv[1:]
    end = arguments.index("--") if "--" in arguments else len(arguments)
    options, unknown = parser.parse_known_intermixed_args(arguments[:end])
    options.commands += parser.parse_args(arguments[end:]).commands
    if unknown:
        parser.error(f"unrecognized arguments: {' '.join(unknown)} ({_QUOTE})")
    # Not print(): what that holds back would fail, unseen by us, when the interpreter exits.
    if options.help:
        _write(1, _line(parser.format_help().rstrip()))
        return 0
    if options.version:
        from importlib.metadata import version  # noqa: PLC0415 - slow: 0.1 s

        _write(1, _line(f"trio-rungroup {version('trio-rungroup')}"))
        return 0
    if not options.commands:
        parser.error("give at least one COMMAND to run")
    for command in options.commands:
        if shutil.which(command.words[0]) is None:
            parser.exit(*_not_found(command.words))
        _tell_of_a_shell(command)
    picture = None
    if options.timeline is not None:
        try:  # before anything is started, to tell what cannot be written; but keep what it holds
            picture = os.open(options.timeline, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        except OSError as error:
            parser.error(f"cannot write the timeline: {error}")
    _allow_open_files(_FILES * (len(options.commands) + 20))
    with _guarded() as environment:
        return trio.run(_run, options, picture, environment)


class _Command(NamedTuple):
    """A command: its words, and what there was outside of quotes."""

    words: list[str]
    not_quoted: str


def _command(text: str) -> _Command:
    """Split a command as a POSIX shell does.

    What shlex leaves out: in double quotes a backslash also escapes `$` and a backquote, and with
    a newline after it, it is nothing anywhere.
    """
    try:
        words = shlex.split(_QUOTED.sub(_without_escapes, text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"cannot split {text!r}: {error}") from None
    if not words:
        raise argparse.ArgumentTypeError("is empty")
    return _Command(words, _QUOTED.sub('""', text))


def _not_found(words: Sequence[str]) -> tuple[int, str]:
    """Tell the exit status, and what to say, where the first word names no program."""
    program = words[0]
    if os.sep in program and os.path.isdir(program):  # noqa: PTH112 - Path's may raise
        return 126, f"trio-rungroup: is a directory: {program}\n"
    if os.sep in program and os.path.isfile(program):  # noqa: PTH113
        return 126, f"trio-rungroup: not executable: {program} (chmod +x makes it so)\n"
    hint = _QUOTE if len(words) == 1 else _SHELL
    return 127, f"trio-rungroup: program not found: {program or repr(program)} ({hint})\n"


def _tell_of_a_shell(command: _Command) -> None:
    for word in filter(_OF_A_SHELL.fullmatch, command.not_quoted.split()):
        told = f"trio-rungroup: {command.words[0]} gets {word} as an argument ({_SHELL})"
        with contextlib.suppress(OSError):  # it is no reason not to run it
            _write(2, _line(told))


def _without_escapes(part: re.Match[str]) -> str:
    if part[0].startswith('"'):
        return re.sub(r"\\([\\\n\"$`])", lambda escape: _ESCAPES.get(escape[1], escape[0]), part[0])
    return "" if part[0] == "\\\n" else part[0]


def _svg(text: str) -> Path:
    path = Path(text)
    if path.suffix.lower() in _OTHER_PICTURES:
        raise argparse.ArgumentTypeError(f"it is an SVG picture: write {path.with_suffix('.svg')}")
    return path


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not seconds >= 0:
        raise argparse.ArgumentTypeError(f"must be 0 or more seconds, not {text!r}")
    return seconds


def _allow_open_files(number: int) -> None:
    """Raise our limit, which the commands inherit, if it is too low for so many of them."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = number if hard == resource.RLIM_INFINITY else min(number, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


@contextlib.contextmanager
def _guarded() -> Generator[dict[str, str]]:
    """Have the commands killed when we are; hand out the environment to start them in.

    A process of ours, the guard, finds the commands and what they have started by a mark in their
    environment, which Linux shows in /proc; elsewhere there is no guard, nor in a frozen program,
    which is no Python that could run it. What has cleared its environment is not found, for only
    `process_actor` knows the processes; nor what shows it to nobody, such as a process of another
    user. What has gone into a session of its own stays, as ever.
    """
    environment = {**os.environ, _MARK: str(os.getpid())}
    if not _SHOWS_ENVIRONMENTS or hasattr(sys, "frozen"):  # pragma: no cover - not here
        yield environment
        return
    ours, theirs = os.pipe()
    loader: Any = _guard.__loader__  # its source may not be there
    os.write(theirs, marshal.dumps(loader.get_code(_guard.__name__)))
    program = "import marshal, os; exec(marshal.loads(os.read(0, 65536)))"
    guard = subprocess.Popen(  # noqa: S603 - our own words
        # Not the path of Python, which may have the name of a project in it; but Python finds its
        # library by this one, too.
        ["/proc/self/exe", "-I", "-S", "-c", program, *_marked()],
        executable=sys.executable,
        stdin=ours,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # so Ctrl-C and a guard of those who started us do not end it
    )
    os.close(ours)
    try:
        yield environment
    finally:
        guard.kill()  # one that somebody has stopped would not hear of the end
        os.close(theirs)
        guard.wait()


def _marked() -> tuple[str, str]:
    """Tell the mark of what we have started, and its session, as the guard wants them."""
    return f"{_MARK}={os.getpid()}", str(os.getsid(0))


async def _run_all(
    group: RunGroup,
    task_status: trio.TaskStatus[dict[str, object]],
    grace: float,
    say: Callable[[str], None],
) -> None:
    """Run the group, and end what it has left."""
    try:
        # The record keeps what is suppressed here. RuntimeError: no thread to start one in.
        with contextlib.suppress(subprocess.CalledProcessError, OSError, RuntimeError):
            await group.run(task_status=task_status)
    finally:
        if _SHOWS_ENVIRONMENTS:  # pragma: no branch - Linux only
            await _end_what_is_left(grace, say)


async def _end_what_is_left(grace: float, say: Callable[[str], None]) -> None:
    """End what the commands have started in process groups of their own.

    `timeout` makes one, and so does a shell with job control: nobody has told those to stop.

    Cancellation: kills them at once.
    """
    find = functools.partial(_guard.find, *_marked())
    told: set[int] = set()
    try:
        with trio.move_on_after(min(grace, _MOST_APART)):
            while left := find():
                if not told:
                    names = ", ".join(map(_name_of, left))
                    say(f"stopping what the commands have left behind: {names}")
                # What they start in order to stop gracefully is left alone.
                targets = _groups_of(left) - told
                _send(signal.SIGTERM, targets)
                told |= targets
                await trio.sleep(_LOOKS_AGAIN)
    finally:
        # For a while only: the kernel may keep one that waits for a disk.
        with trio.move_on_after(_LAST_WORDS, shield=True):
            while left := find():
                _send(signal.SIGKILL, _groups_of(left))
                await trio.sleep(_LOOKS_AGAIN)


def _groups_of(pids: Iterable[int]) -> set[int]:
    """Find what to send a signal to: process groups, as negative numbers, but not our own."""
    targets: set[int] = set()
    for pid in pids:
        with contextlib.suppress(OSError):  # it has gone
            group = os.getpgid(pid)
            targets.add(pid if group == os.getpgrp() else -group)
    return targets


def _send(number: int, targets: Iterable[int]) -> None:
    for target in targets:
        with contextlib.suppress(OSError):  # it has gone
            os.kill(target, number)


def _name_of(pid: int) -> str:
    name = "?"
    with contextlib.suppress(OSError):
        name = _CONTROL.sub("?", Path(f"/proc/{pid}/comm").read_text(errors="replace").rstrip("\n"))
    return f"{name} ({pid})"


async def _run(
    options: argparse.Namespace, picture: int | None, environment: dict[str, str]
) -> int:
    """Run the commands until the last one is reaped, tell how it went, hand back the status."""
    group = RunGroup()
    reasons: list[str] = []

    def stop(error: Exception, reason: str) -> None:
        reasons.append(reason)
        group.interrupt(error)

    out, err = outputs = _outputs(stop)
    commands: dict[str, list[str]] = {}
    for words, _ in options.commands:
        name = _CONTROL.sub("?", Path(words[0]).name)
        commands[_unique(name, commands)] = words
    width = min(max(map(columns, commands)), _WIDEST_NAME)
    pipes: list[_Pipe] = []
    for (name, words), colour in zip(commands.items(), itertools.cycle(_COLOURS), strict=False):
        pair = _Pipe(out, name, width, colour), _Pipe(err, name, width, colour)
        execute, interrupt = process_actor(
            words, stdout=pair[0].write_end, stderr=pair[1].write_end, env=environment
        )
        group.add(_ending(execute, pair), interrupt, name=name, grace=options.grace)
        pipes += pair
    async with _signals() as next_signal:
        stopped_by, is_hurried = await _run_group(
            group, pipes, err, options.grace, stop=stop, next_signal=next_signal
        )
        record = group.record
        assert record is not None
        if record.first is None:  # not "interrupt() was called": the reader has called nothing
            record.reason = reasons[0]
        status, messages = _outcome(record, stopped_by, outputs)
        report = b"".join(_line(f"trio-rungroup: {message}") for message in messages)
        if not options.quiet:
            report += _line(f"\n{record}", "replace")  # a bar keeps its length
        is_drawn = await _tell(
            report, record, picture, err, is_hurried=is_hurried, next_signal=next_signal
        )
    return status if is_drawn else status or 1


async def _tell(
    report: bytes,
    record: Record,
    picture: int | None,
    err: _Output,
    *,
    is_hurried: bool,
    next_signal: Callable[[], Awaitable[int]],
) -> bool:
    """Tell how it went, in words and as a picture; hand back whether that is drawn, if wanted.

    Once there has been a signal, nobody is waited for any longer than a second.
    """

    async def hurry() -> None:
        nonlocal is_hurried
        if not is_hurried:
            await next_signal()
            is_hurried = True
        await trio.sleep(_LAST_WORDS)

    await _first_of(functools.partial(err.write, report), hurry)
    if picture is None:
        return True
    is_drawn = await _first_of(functools.partial(_drawn, record, picture, err), hurry)
    if is_drawn is None:  # it took too long
        given_up = _line("trio-rungroup: cannot write the timeline: it is not read")
        await _first_of(functools.partial(err.write, given_up), hurry)
    return bool(is_drawn)


async def _first_of(*functions: Callable[[], Awaitable[object]]) -> object:
    group = RunGroup()
    for function in functions:
        group.add(function)
    return await group.run()


def _draw(record: Record, picture: int) -> None:
    drawing = record.to_svg().encode()  # first, since it may be given up while this takes its time
    # What holds, or shows, what the commands have written is kept.
    if not any(os.path.sameopenfile(fd, picture) for fd in (1, 2)):
        with contextlib.suppress(OSError):  # it may be a pipe
            os.ftruncate(picture, 0)
    _write(picture, drawing)
    os.close(picture)  # which tells, on some file systems, that there was no room


async def _drawn(record: Record, picture: int, err: _Output) -> bool:
    try:
        await _in_a_thread(_draw, record, picture)
    except OSError as error:
        await err.write(_line(f"trio-rungroup: cannot write the timeline: {error}"))
        return False
    return True


def _unique(name: str, taken: Container[str]) -> str:
    numbered = (f"{name} #{number}" for number in itertools.count(2))
    return next(each for each in itertools.chain([name], numbered) if each not in taken)


def _ending(execute: _Execute, pipes: Sequence[_Pipe]) -> _Execute:
    """Make an actor that also closes its ends of the pipes when it has exited."""

    async def command() -> None:
        try:
            await execute()
        finally:
            for pipe in pipes:
                os.close(pipe.write_end)

    return command


async def _run_group(
    group: RunGroup,
    pipes: Sequence[_Pipe],
    err: _Output,
    grace: float,
    *,
    stop: _Stop,
    next_signal: Callable[[], Awaitable[int]],
) -> tuple[int, bool]:
    """Run the group, and pass on its output; stop at the first signal, kill at the second.

    Hands back the first, and whether any has come, if only when all commands had exited.
    """
    stopped_by, stopped_at = 0, -math.inf
    is_over = is_hurried = False
    last_words_end = math.inf  # only a signal limits them
    at_once, passing_on, watching = trio.CancelScope(), trio.CancelScope(), trio.CancelScope()

    async def run(*, task_status: trio.TaskStatus[dict[str, object]]) -> None:
        nonlocal is_over
        with passing_on:
            async with trio.open_nursery() as passing:
                for pipe in pipes:
                    passing.start_soon(pipe.pass_on)
                with at_once:
                    await _run_all(group, task_status, grace, say)
                is_over = True
                for pipe in pipes:
                    pipe.end()
                # Not before: that would close pipes that commands still write into.
                passing_on.deadline = max(last_words_end, trio.current_time() + _LAST_WORDS)
        watching.cancel(reason="the last command has exited, and its output is passed on")
        nursery.cancel_scope.deadline = trio.current_time() + _LAST_WORDS  # for what we say

    def say(text: str) -> None:
        nursery.start_soon(err.write, _line(f"trio-rungroup: {text}"))

    log = logging.getLogger("trio_rungroup")
    log.addHandler(_Log(say))
    async with trio.open_nursery() as nursery:
        with watching:
            await nursery.start(run)  # a signal that comes meanwhile is kept
            while True:
                number = await next_signal()
                is_hurried = True
                received = SignalReceived(number)
                if is_over:
                    end = trio.current_time() + _LAST_WORDS
                    passing_on.deadline = min(passing_on.deadline, end)  # a later one adds nothing
                    say(f"{received}: no longer waiting for the output to be read")
                elif not stopped_by:
                    stopped_by, stopped_at = number, trio.current_time()
                    stop(received, str(received))
                    last_words_end = trio.current_time() + grace + _LAST_WORDS
                    say(f"{received}: stopping; a second signal kills")
                elif number == stopped_by and trio.current_time() <= stopped_at + _ECHO:
                    pass  # it is the same one
                elif number != signal.SIGHUP:  # sent twice: by the terminal and the shell
                    at_once.cancel(reason="a second signal")
                    last_words_end = trio.current_time()
    return stopped_by, is_hurried


@contextlib.asynccontextmanager
async def _signals() -> AsyncGenerator[Callable[[], Awaitable[int]]]:
    """Hand out a function that waits for the next signal to stop us.

    A signal that comes after this block is ignored: all that is left to do is to exit, which takes
    Python a while, and the exit status is known.
    """
    # In the background of a script SIGINT is ignored, and under nohup SIGHUP: let it be so,
    # for the commands as well, which inherit it.
    wanted = [each for each in _SIGNALS if signal.getsignal(each) is not signal.SIG_IGN]
    if not wanted:
        yield trio.sleep_forever
        return
    # trio passes a signal that comes when all is over to the handler set here. That only notes it,
    # so that it cannot keep us from telling how it went.
    noted: list[int] = []
    for each in wanted:
        signal.signal(each, lambda number, _: noted.append(number))
    with trio.open_signal_receiver(*wanted) as arrivals:
        for number in noted:  # before the receiver was there
            signal.raise_signal(number)
        yield functools.partial(anext, arrivals)
    for each in wanted:
        signal.signal(each, signal.SIG_IGN)


def _outcome(record: Record, stopped_by: int, outputs: Sequence[_Output]) -> tuple[int, list[str]]:
    """Tell the exit status, and what there is to say about it."""
    messages: list[str] = []
    first = record.first
    if first is None:
        status = 128 + stopped_by if stopped_by else 0
    elif isinstance(first.error, subprocess.CalledProcessError):
        code = first.error.returncode
        status = code if code > 0 else 128 - code
    elif first.error is not None:
        status = 126
        told = f"cannot start {first.name}: {first.error}"
        missing = isinstance(first.error, FileNotFoundError) and first.error.filename
        if missing and os.path.isfile(missing):  # noqa: PTH113
            told += " (the file is there; the interpreter that it names is not)"
        messages.append(told)
    else:
        status = 0
    for output in outputs:
        if isinstance(output.failure, BrokenPipeError):
            status = status or 128 + signal.SIGPIPE
        elif output.failure is not None:
            status = status or 1
            messages.append(f"cannot write to {output.name}: {output.failure.strerror}")
    return status, messages


class _Output:
    """Our standard output or error: whole lines, one writer at a time."""

    def __init__(self, fd: int, name: str, stop: _Stop) -> None:
        self.fd = fd
        self.name = name
        self.stop = stop
        colourless = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
        self.coloured = os.isatty(fd) and not colourless
        self.turn = trio.Lock()
        self.usable = True
        self.failure: OSError | None = None

    async def write(self, lines: bytes) -> None:
        """Write; or do nothing, if a write has failed."""
        async with self.turn:
            if not self.usable:
                return
            self.usable = False  # for good, if this fails or is given up halfway
            try:
                await _in_a_thread(_write, self.fd, lines)
                self.usable = True
            except OSError as error:
                self.failure = error
                nobody_reads = isinstance(error, BrokenPipeError)
                reason = f"nobody reads {self.name}" if nobody_reads else f"{self.name} failed"
                self.stop(error, reason)


def _outputs(stop: _Stop) -> tuple[_Output, _Output]:
    out, err = _Output(1, "standard output", stop), _Output(2, "standard error", stop)
    if os.path.sameopenfile(1, 2):  # a terminal, or 2>&1
        err.turn = out.turn
    return out, err


class _Pipe:
    """What a command writes to its standard output or error, on its way to ours."""

    def __init__(self, output: _Output, name: str, width: int, colour: int) -> None:
        on, off = (f"\x1b[0;{colour}m", "\x1b[0m") if output.coloured else ("", "")
        padding = " " * (width - columns(name))
        self.prefix = os.fsencode(f"{on}{name}{padding}{off} | ")
        self.output = output
        read_end, self.write_end = os.pipe()
        self.stream = trio.lowlevel.FdStream(read_end)
        self.left = math.inf  # bytes still to be read
        self.begun = b""  # a line that has no end yet

    async def pass_on(self) -> None:
        """Pass on whatever comes, until `end()` and all that has come by then."""
        async with self.stream:
            with contextlib.suppress(trio.ClosedResourceError):
                while self.left > 0 and (chunk := await self.stream.receive_some(_CHUNK)):
                    self.left -= len(chunk)
                    await self.write(self.whole_lines(chunk))
            await self.write(self.begun and self.begun + b"\n")

    def whole_lines(self, chunk: bytes) -> bytes:
        """Put `chunk` to what has come before; take out all lines that are complete."""
        text, pieces = self.begun + chunk, b""
        # Only the first line can be longer than that: it becomes several lines.
        while len(text) > _LONGEST_LINE and text.find(b"\n", 0, _LONGEST_LINE + 1) == -1:
            pieces += text[:_LONGEST_LINE] + b"\n"
            text = text[_LONGEST_LINE:]
        lines, newline, self.begun = text.rpartition(b"\n")
        return pieces + lines + newline

    async def write(self, lines: bytes) -> None:
        if lines:
            inner = lines[:-1].replace(b"\n", b"\n" + self.prefix)
            await self.output.write(self.prefix + inner + b"\n")

    def end(self) -> None:
        """Say that all commands have exited: what they wrote is in the pipe by now."""
        # We do not wait for the end of the file: a grandchild that escaped into a session of
        # its own may keep it from coming.
        if self.stream.fileno() == -1:
            return  # but it has come
        waiting = fcntl.ioctl(self.stream.fileno(), termios.FIONREAD, bytes(4))
        self.left = int.from_bytes(waiting, sys.byteorder)
        if not self.left:
            self.stream.close()


class _Log(logging.Handler):
    """Show what the library logs in one line, without traceback and places in the source."""

    def __init__(self, say: Callable[[str], None]) -> None:
        super().__init__()
        self.say = say

    def emit(self, record: logging.LogRecord) -> None:
        words = [line.partition(" at /")[0] for line in record.getMessage().splitlines()]
        if record.exc_info:
            words.append(f"({record.exc_info[1]})")
        self.say(" ".join(" ".join(words).split()))


async def _in_a_thread(function: Callable[..., None], *args: object) -> None:
    """Call what may be held up; a cancellation abandons it."""
    try:
        await trio.to_thread.run_sync(function, *args, abandon_on_cancel=True)
    except RuntimeError:  # no thread can be started: better be held up than say nothing
        function(*args)


def _line(text: str, unencodable: str = "backslashreplace") -> bytes:
    return f"{text}\n".encode(sys.getfilesystemencoding(), unencodable)


def _write(fd: int, text: bytes) -> None:
    left = memoryview(text)
    while left:
        try:
            left = left[os.write(fd, left) :]
        except BlockingIOError:  # somebody who shares it with us has made it non-blocking
            select.select((), (fd,), ())


if __name__ == "__main__":
    sys.exit(main())

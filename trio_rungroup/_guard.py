"""The guard of the command, and how it finds what the commands have started.

The guard is a process of its own: it waits for the end of a pipe that ends with us, and then kills
the commands. `__main__.py` starts it, and sends it this module through that very pipe, so that its
command line, unlike ours, has no name in it that somebody might give to `pkill -f`.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time


def find(mark: str, session: str) -> list[int]:
    """Find the processes of a session with a mark in their environment, which Linux shows."""
    found: list[int] = []
    for name in os.listdir("/proc"):  # noqa: PTH208 - pathlib takes longer to import than this all
        with contextlib.suppress(OSError, ValueError):  # no process; or gone, or not ours
            pid = int(name)
            with open(f"/proc/{pid}/environ", "rb") as environment:  # noqa: PTH123
                marks = environment.read().split(b"\0")
            is_ours = os.fsencode(mark) in marks and str(os.getsid(pid)) == session
            if is_ours and pid != os.getpid():
                found.append(pid)
    return found


def kill_all(mark: str, session: str) -> None:  # pragma: no cover - runs in the guard
    """Kill them all."""
    quiet = 0
    while quiet < 5:  # one that is just being started has no mark yet
        quiet += 1
        for pid in find(mark, session):
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
                quiet = 0
        time.sleep(0.02)


if __name__ == "__main__":  # pragma: no cover - runs in the guard
    # What is meant for us, by name or sent to all, must not end the guard before us.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)
    with contextlib.suppress(OSError), open("/proc/self/comm", "w", encoding="ascii") as comm:  # noqa: PTH123
        comm.write("guard")
    os.read(0, 1)  # nobody writes any more
    kill_all(*sys.argv[1:])

"""Where a task waits: file, line and function, as a user would look for it."""

from __future__ import annotations

import contextlib
import sys
from collections import Counter
from collections.abc import Callable, Iterable, MutableMapping
from types import FrameType
from typing import Final
from weakref import WeakKeyDictionary

import trio

_MOST_PLACES: Final = 5
_UNKNOWN: Final = "an unknown place"

# For a task of a ready-made actor, whose frames are all ours or trio's: tells more than that place.
explains: Final[MutableMapping[trio.lowlevel.Task, Callable[[str], str]]] = WeakKeyDictionary()


def where(tasks: Iterable[tuple[str, trio.lowlevel.Task | None]]) -> str:
    """Tell, a line per task, who waits where; `None`: its task is not known."""
    lines: list[str] = []
    for who, task in tasks:
        places = Counter([_UNKNOWN])
        with contextlib.suppress(Exception):  # mere information must not hold up a stop
            places = Counter(_places(task)) if task is not None else places
        texts = [
            place if number == 1 else f"{place} ({number} tasks)"
            for place, number in places.items()
        ]
        more = f" and {len(texts) - _MOST_PLACES} more" if len(texts) > _MOST_PLACES else ""
        lines.append(f"\n  {who} at {', '.join(texts[:_MOST_PLACES])}{more}")
    return "".join(lines)


def _places(task: trio.lowlevel.Task) -> list[str]:
    """Find the innermost frame that is the user's, in a task and in the nurseries it opened."""
    places: list[str] = []
    in_trio = _UNKNOWN
    todo = [task]
    while todo:
        each = todo.pop()
        place = None
        for frame, line in reversed(list(each.iter_await_frames())):
            package = _package(frame)
            if package == "trio":
                in_trio = _place(frame, line)  # the actor may be a function of trio's own
            elif package != "trio_rungroup":
                place = _place(frame, line)
                break
        if place is not None:
            places.append(place)
        for nursery in each.child_nurseries:
            todo += nursery.child_tasks
    if task in explains:
        in_trio = explains[task](in_trio)
    return places or [in_trio]


def in_thread(ident: int) -> str | None:
    """Find the innermost frame that is the user's in a thread; else one of the standard library.

    `None` if there is neither, as in a function that is written in C.
    """
    # Not a name for them all: our own frame is among them.
    frame = sys._current_frames().get(ident)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
    in_library = None
    while frame is not None and (package := _package(frame)) != "trio_rungroup":  # who calls it
        place = f"{_place(frame, frame.f_lineno)} (in its thread)"
        if package in sys.stdlib_module_names:
            in_library = in_library or place
        elif package != "trio":
            return place
        frame = frame.f_back
    return in_library


def _package(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__")).partition(".")[0]


def _place(frame: FrameType, line: int) -> str:
    return f"{frame.f_code.co_filename}:{line} in {frame.f_code.co_qualname}"

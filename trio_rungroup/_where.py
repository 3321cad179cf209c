"""Where a task waits: file, line and function, as a user would look for it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from typing import Final

import trio

_MOST_PLACES: Final = 5
_UNKNOWN: Final = "an unknown place"


def where(tasks: Iterable[tuple[str, trio.lowlevel.Task]]) -> str:
    """Tell, a line per task, who waits where."""
    lines: list[str] = []
    for who, task in tasks:
        places = [_UNKNOWN]
        with contextlib.suppress(Exception):  # mere information must not hold up a stop
            places = _places(task)
        more = f" and {len(places) - _MOST_PLACES} more" if len(places) > _MOST_PLACES else ""
        lines.append(f"\n  {who} at {', '.join(places[:_MOST_PLACES])}{more}")
    return "".join(lines)


def _places(task: trio.lowlevel.Task) -> list[str]:
    """Find the innermost frame that is the user's, in a task and in the nurseries it opened."""
    places: list[str] = []
    in_trio = _UNKNOWN
    todo = [task]
    while todo:
        task = todo.pop()
        place = None
        for frame, line in reversed(list(task.iter_await_frames())):
            package = str(frame.f_globals.get("__name__")).partition(".")[0]
            here = f"{frame.f_code.co_filename}:{line} in {frame.f_code.co_qualname}"
            if package == "trio":
                in_trio = here  # the actor may be a function of trio's own
            elif package != "trio_rungroup":
                place = here
                break
        if place is not None:
            places.append(place)
        for nursery in task.child_nurseries:
            todo += nursery.child_tasks
    return places or [in_trio]

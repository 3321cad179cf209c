"""What happened in a run: the data, and the text timeline.

Times are seconds on trio's clock, counted from the start of the run. A time that has not
come yet is `None`, so a record can be read while its group is still running.
"""

from __future__ import annotations

import math
from typing import Final, Literal, TypeAlias, final

import attrs
import trio

How: TypeAlias = Literal["returned", "raised", "cancelled"]

_LONGEST_TEXT: Final = 200
_BAR_WIDTH: Final = 40
_NAME_WIDTH: Final = 28
_EXIT_MARKS: Final[dict[How, str]] = {"returned": "✓", "raised": "✗", "cancelled": "◇"}


@final
@attrs.define(eq=False, weakref_slot=False)
class ActorRecord:
    """What happened to one actor, in seconds from the start of the run.

    Attributes:
        name: The actor's name, unique in its group.
        began: When `execute` was called.
        interrupted: When its interrupt was called (or its scope cancelled).
        exited: When `execute` had returned or raised.
        how: "returned", "raised" or "cancelled" (it ended in `trio.Cancelled`).
        error: What it raised, without any `trio.Cancelled` in it; `None` unless it raised.
        interrupt_error: What its interrupt raised, if the interrupt failed.
    """

    name: str
    began: float | None = None
    interrupted: float | None = None
    exited: float | None = None
    how: How | None = None
    error: BaseException | None = attrs.field(default=None, repr=False)
    interrupt_error: BaseException | None = attrs.field(default=None, repr=False)


@final
@attrs.define(eq=False)
class Record:
    """What happened in one run of a group. `str()` of it is a text timeline.

    Attributes:
        actors: One entry per actor, in the order of `add`.
        first: The entry of the actor whose exit ended the group; `None` if none did.
        reason: In words, what else began the stop where no actor did.
        stopped: When the stop began, in seconds from the start of the run.
        ended: When `run()` had nothing left to wait for.
        how: How `run()` ended: "returned", "raised" or "cancelled".
        error: What `run()` raised; `None` unless it raised.
    """

    actors: tuple[ActorRecord, ...]
    first: ActorRecord | None = None
    reason: str | None = None
    stopped: float | None = None
    ended: float | None = None
    how: How | None = None
    error: BaseException | None = attrs.field(default=None, repr=False)
    _start: float = attrs.field(factory=trio.current_time, init=False, repr=False)

    def now(self) -> float:
        """Tell how many seconds ago the run began. Only inside `trio.run`."""
        return trio.current_time() - self._start

    @property
    def end(self) -> float:
        """Where the timeline ends: the end of the run, or now if it is still going."""
        if self.ended is not None:
            return self.ended
        if trio.lowlevel.in_trio_run():
            return self.now()
        moments = (t for a in self.actors for t in (a.began, a.interrupted, a.exited))
        return max((t for t in moments if t is not None), default=0.0)

    @property
    def title(self) -> str:
        """The message of the run in one line: who exited first, or why it stopped."""
        others = len(self.actors) - (self.first is not None)
        if not self.actors:
            return "no actors"
        if self.stopped is None:
            return f"{_count(others, 'actor')} running"
        cause = f"{shorten(self.first.name)} exits first" if self.first else self.reason
        match others:
            case 0:
                return f"{cause}"
            case 1:
                return f"{cause}; the {'other' if self.first else 'actor'} is interrupted"
            case _:
                who = "the other " if self.first else "all "
                return f"{cause}; {who}{others} are interrupted"

    @property
    def subtitle(self) -> str:
        """How and when `run()` ended, in one line."""
        if self.how is None:
            return f"run() is still waiting after {seconds(self.end)}"
        ending = f" with {describe(self.error)}" if self.error is not None else ""
        if self.how == "cancelled":
            ending = " cancelled"
        return f"run() ends at {seconds(self.end)}{ending}"

    def __str__(self) -> str:
        """Draw the run as text: a row per actor, bars for time, words for every fact."""
        names = [shorten(actor.name, _NAME_WIDTH) for actor in self.actors]
        width = max(map(len, names), default=0)
        rows = [
            f"{'*' if actor is self.first else ' '} {name:<{width}}  "
            f"{self._bar(actor):<{_BAR_WIDTH + 1}}  {self._words(actor)}".rstrip()
            for actor, name in zip(self.actors, names, strict=True)
        ]
        if rows:
            rows = ["", *rows, " " * (width + 4) + self._axis()]
        return "\n".join([self.title, self.subtitle, *rows])

    def _column(self, moment: float) -> int:
        return round(moment / self.end * _BAR_WIDTH) if self.end > 0 else 0

    def _bar(self, actor: ActorRecord) -> str:
        """Thick while running, thin while winding down; marks for what happened."""
        if actor.began is None:
            return ""
        begin, end = self._column(actor.began), self._column(_first_of(actor.exited, self.end))
        cells = [" "] * begin + ["━"] * (end - begin) + [""]
        if actor.interrupted is not None and _first_of(actor.exited, math.inf) >= actor.interrupted:
            at = self._column(actor.interrupted)
            cells[at:end] = ["▼", *["─"] * (end - at)][: end - at]
        if actor.how is not None:
            cells[end] = _EXIT_MARKS[actor.how]
        return "".join(cells)

    def _words(self, actor: ActorRecord) -> str:
        match actor.how:
            case None if actor.began is None:
                words = "not begun"
            case None:
                state = "running" if actor.interrupted is None else "winding down"
                words = f"{state} · {seconds(self.end)}"
            case "raised":
                words = f"raised {describe(actor.error)} · {seconds(actor.exited)}"
            case how:
                words = f"{how} · {seconds(actor.exited)}"
        if actor.interrupt_error is not None:
            words += f"; interrupt raised {describe(actor.interrupt_error)}"
        if actor is self.first:
            words += " → result of run()" if self.how != "cancelled" else " → first exit"
        return words

    def _axis(self) -> str:
        """Label the ends of the axis, and the first exit where there is room for it."""
        cells = f"{'0 s':<{_BAR_WIDTH}}{seconds(self.end)}"
        if self.stopped is None:
            return cells
        label = seconds(self.stopped)
        at = self._column(self.stopped)
        if at < 5 or at + len(label) > _BAR_WIDTH - 1:
            return cells
        return cells[:at] + label + cells[at + len(label) :]


def _first_of(moment: float | None, default: float) -> float:
    return default if moment is None else moment


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def shorten(text: str, longest: int = _LONGEST_TEXT) -> str:
    """Cut a text to one line of at most `longest` characters."""
    # Cut before looking for line breaks: a message can be 50 MB long.
    line = " ".join(text[: longest + 1].split())
    return line if len(text) <= longest else line[: longest - 1] + "…"


def describe(error: BaseException | None) -> str:
    """Say the type and the message of an error, whatever its `__str__` does."""
    try:
        message = str(error)
    except Exception:  # noqa: BLE001 - a broken __str__ must not break the group it ran in
        message = "<its str() failed>"
    name = type(error).__name__
    return f"{name}: {shorten(message)}" if message else name


def seconds(time: float | None) -> str:
    """Write a time span with its unit, three digits of it: 20 ms, 4.6 s, 3 d 4 h."""
    time = float(f"{time or 0:.3g}") if (time or 0) < 100 else round(time or 0)
    if time >= 2 * 86400:
        return _two_units(time, 86400, "d", 3600, "h")
    if time >= 2 * 3600:
        return _two_units(time, 3600, "h", 60, "min")
    if time >= 120:
        return _two_units(time, 60, "min", 1, "s")
    if time >= 1 or time == 0:
        return f"{time:g} s"
    if time >= 1e-3:
        return f"{time * 1e3:.3g} ms"
    return f"{time * 1e6:.3g} µs"


def _two_units(time: float, size: int, unit: str, part_size: int, part: str) -> str:
    whole, rest = divmod(round(time / part_size), size // part_size)
    return f"{whole} {unit} {rest} {part}" if rest else f"{whole} {unit}"

"""What happened in a run: the data, and the text timeline.

Times are seconds on trio's clock, counted from the start of the run. A time that has not
come yet is `None`, so a record can be read while its group is still running.

The functions below the classes put facts into words, for the text timeline here and for the
picture of `_picture.py`: the two must say the same.
"""

from __future__ import annotations

import itertools
import math
import re
import unicodedata
from array import array
from collections import Counter
from collections.abc import Callable, MutableSequence, Sequence
from typing import Final, Literal, TypeAlias, cast, final

import attrs
import trio
from trio.lowlevel import enable_ki_protection

from ._errors import is_a, leaves_of

How: TypeAlias = Literal["returned", "raised", "cancelled"]

_LONGEST_TEXT: Final = 200
_COLUMNS: Final = 80  # what a row fits into, unless its words are very long
_SHORTEST_NAME: Final = 16
_LONGEST_NAME: Final = 28
_LONGEST_IN_TITLE: Final = 40
_LONGEST_TYPE: Final = 40
_SHORTEST_BAR: Final = 16
_LONGEST_BAR: Final = 40
_MOST_ROWS: Final = 40
_EXIT_MARKS: Final[dict[How | None, str]] = {
    "returned": "✓",
    "raised": "✗",
    "cancelled": "◇",
    None: "…",
}
_CLASS_NAME: Final = vars(type)["__name__"]
ALL_RETURNED: Final = "all actors have returned"
_NEVER: Final = [math.inf]
_NEVER_PACKED: Final = array("d", _NEVER)
_MOST_CUTS: Final = 10  # tries to cut names so that they differ
_MOST_LEAVES: Final = 3  # of a group of errors that are told
_MOST_ACCENTS: Final = 4  # upon one letter: else they cover the lines above and below
# What would move the cursor, turn the direction of writing, or stop a file from being
# written: control characters, lone surrogates, and what XML 1.0 does not allow.
_UNPRINTABLE: Final = "[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]"


@final
class Facts:
    """What happened to the actors of a run: a column for each fact, found by an actor's index.

    With an object for each actor, a run of 1,000 takes 2 % longer, and 3 % more memory. Times
    are seconds from the start of the run; one that has not come yet is infinity.
    """

    names: Sequence[str]  # there may be more: of actors that were added later
    began: MutableSequence[float]
    interrupted: MutableSequence[float]
    exited: MutableSequence[float]
    how: list[How | None]
    errors: dict[int, BaseException]
    interrupt_errors: dict[int, BaseException]
    first: int | None  # whose exit ended the group

    __slots__ = tuple(__annotations__)

    def __init__(self, names: Sequence[str], number: int) -> None:
        self.names = names
        # This holds a time for each while all run: an array spares 24 bytes, the float object. The
        # others share one infinity until the stop; there a list is faster.
        self.began = _NEVER_PACKED * number
        self.interrupted = _NEVER * number
        self.exited = _NEVER * number
        self.how = [None] * number
        self.errors, self.interrupt_errors = {}, {}
        self.first = None


@final
@attrs.define(eq=False, repr=False, match_args=False, weakref_slot=False)
class ActorRecord:
    """What happened to one actor, in seconds from the start of the run.

    A time that has not come yet is `None`. Made by a `Record`, and follows the run as that does.
    """

    _facts: Facts
    _index: int

    @property
    def name(self) -> str:
        """The actor's name, unique in its group."""
        return self._facts.names[self._index]

    @property
    def began(self) -> float | None:
        """When `execute` was called."""
        return _if_come(self._facts.began[self._index])

    @property
    def interrupted(self) -> float | None:
        """When its interrupt was called, or its scope cancelled; it may have exited before."""
        return _if_come(self._facts.interrupted[self._index])

    @property
    def exited(self) -> float | None:
        """When `execute` had returned or raised."""
        return _if_come(self._facts.exited[self._index])

    @property
    def how(self) -> How | None:
        """How it exited: "returned", "raised" or "cancelled" (it ended in `trio.Cancelled`)."""
        return self._facts.how[self._index]

    @property
    def error(self) -> BaseException | None:
        """What it raised, without any `trio.Cancelled` in it; `None` unless it raised."""
        return self._facts.errors.get(self._index)

    @property
    def interrupt_error(self) -> BaseException | None:
        """What its interrupt raised, or an abort function did when the actor was cancelled."""
        return self._facts.interrupt_errors.get(self._index)

    def __repr__(self) -> str:
        return _repr(self, "name", "began", "interrupted", "exited", "how")


@final
@attrs.define(eq=False, repr=False, match_args=False)
class Record:
    """What happened in one run of a group; it follows the run while it goes on.

    `actors` has an entry for each actor, and `first` is that of the one whose exit ended the group.
    `str()` of it is a text timeline; a notebook shows it as the picture of `to_svg()`. Both leave
    out the middle rows of a group of more than 41 actors, but not the first to exit; the text
    still has the type and the message of every error.

    Attributes:
        reason: What began the stop, in words, if no actor's exit did; else `None`.
        stopped: When the stop began, in seconds from the start of the run.
        ended: When `run()` had nothing left to wait for.
        how: How `run()` ended: "returned", "raised" or "cancelled".
        error: What `run()` raised; `None` unless it raised.
        start: The `trio.current_time()` at which the run began.
    """

    _facts: Facts
    reason: str | None = None
    stopped: float | None = None
    ended: float | None = None
    how: How | None = None
    error: BaseException | None = None
    start: float = attrs.field(init=False)
    _actors: tuple[ActorRecord, ...] | None = attrs.field(default=None, init=False)

    @property
    def actors(self) -> tuple[ActorRecord, ...]:
        """One entry per actor, in the order of `add`."""
        if self._actors is None:
            actors = tuple([ActorRecord(self._facts, i) for i in range(len(self._facts.how))])
            if self._actors is None:  # pragma: no branch - another thread may have looked
                self._actors = actors
        return self._actors

    @property
    def first(self) -> ActorRecord | None:
        """The entry of the actor whose exit ended the group; `None` if none did."""
        first = self._facts.first
        return None if first is None else self.actors[first]

    def __repr__(self) -> str:
        return _repr(self, "actors", "first", "reason", "stopped", "ended", "how")

    def now(self) -> float:
        """Tell how many seconds ago the run began. Only inside the `trio.run` that it is in."""
        return trio.current_time() - self.start

    @property
    def end(self) -> float:
        """Where the timeline ends: the end of the run, or now if it is still going.

        Outside the `trio.run` that it is in, where nobody can ask its clock, and in a copy by
        pickle: the last moment in the record.
        """
        if self.ended is not None:
            return self.ended
        times = [t for a in self.actors for t in (a.began, a.interrupted, a.exited)]
        if self._is_under_way_here():
            times.append(self.now())
        return max((t for t in times if t is not None), default=0.0)

    def _is_under_way_here(self) -> bool:
        """Tell whether the clock that we could ask is that of the run."""
        from ._graces import runs_under_way  # noqa: PLC0415 - which imports this module

        if not trio.lowlevel.in_trio_run():
            return False
        token = trio.lowlevel.current_trio_token()
        runs = list(runs_under_way.values())  # other threads may have some, too
        return any(run.token is token and run.facts is self._facts for run in runs)

    @property
    def title(self) -> str:
        """The message of the run in one line: who exited first, or why it stopped."""
        if not self.actors:
            return "no actors"
        if self.stopped is None:
            running = sum(actor.exited is None for actor in self.actors)
            of_all = "" if running == len(self.actors) else f" of {len(self.actors):,}"
            noun = "actor" if len(self.actors) == 1 else "actors"
            return f"{running:,}{of_all} {noun} running"
        if self.first is None:
            cause = shorten(f"{self.reason}")
            if self.reason == ALL_RETURNED:
                return cause
        else:
            verb = "exits first" if _is_first_exit(self) else "ends the group"
            cause = f"{fit_name(self.first, _LONGEST_IN_TITLE, columns)} {verb}"
        others = sum(
            actor is not self.first and not _had_returned(actor, self.stopped)
            for actor in self.actors
        )
        if others == 0:
            return cause
        if self.first is None:
            who = "the actor is" if others == 1 else f"the {others:,} actors are"
        else:
            who = "the other is" if others == 1 else f"the other {others:,} are"
        return f"{cause}; {who} interrupted"

    @property
    def subtitle(self) -> str:
        """How and when `run()` ended, in one line."""
        end = seconds(self.end)
        if self.how is None:
            waiting = "has been going for" if self.stopped is None else "is still waiting after"
            at_least = "" if self._is_under_way_here() else "at least "
            return f"run() {waiting} {at_least}{end}"
        how = ", cancelled" if self.how == "cancelled" else ""
        if self.error is not None:
            how = f" with {describe(self.error)}"
        return f"run() ends at {end}{how}"

    def to_svg(self) -> str:
        """Draw the run as a picture: a row per actor, bars for time, shapes for exits.

        A thick bar is an actor that runs, a thin one an actor that winds down. A notebook
        shows this picture for a record. To write it to a file:
        `pathlib.Path("run.svg").write_text(record.to_svg(), encoding="utf-8")`.

        Returns:
            An SVG element 720 pixels wide, without scripts, styles or links. A group of
            more than 41 actors is shown without its middle.
        """
        # Here, so that importing the package does not import an XML library.
        from ._picture import draw  # noqa: PLC0415

        return draw(self)

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        """Give a notebook the picture, and the text for where pictures are not trusted."""
        del include, exclude  # wishes, which IPython itself sees to
        return {"image/svg+xml": self.to_svg(), "text/plain": str(self)}

    def __str__(self) -> str:
        """Draw the run as text: a row per actor, bars for time, words for every fact."""
        lines = [self.title, self.subtitle]
        if shown := rows(self):
            lines += ["", *_timeline(self, shown)]
        if messages := _messages(self, shown):
            lines += ["", *messages]
        return "\n".join(lines)


def _if_come(moment: float) -> float | None:
    return None if moment == math.inf else moment


def _repr(thing: object, *names: str) -> str:
    of = ", ".join(f"{name}={getattr(thing, name)!r}" for name in names)
    return f"{type(thing).__name__}({of})"


# ---- the text timeline ----


def _timeline(record: Record, shown: list[ActorRecord | str]) -> list[str]:
    end = record.end
    actors = [row for row in shown if isinstance(row, ActorRecord)]
    room = _COLUMNS - len("*   |  ") - max(columns(words(record, actor)) for actor in actors)
    name_room = min(max(room - _SHORTEST_BAR, _SHORTEST_NAME), _LONGEST_NAME)
    names = distinct(actors, lambda actor, at: fit_name(actor, name_room, columns, at))
    name_width = max(map(columns, names.values()))
    bar_width = min(max(room - name_width, _SHORTEST_BAR), _LONGEST_BAR) if end > 0 else 0

    def column(moment: float) -> int:
        return round(min(moment / (end or 1), 1) * bar_width)

    lines: list[str] = []
    for row in shown:
        if isinstance(row, str):
            lines.append(f"  {row}")
            continue
        mark = "*" if row is record.first else " "
        name = names[row]
        name += " " * (name_width - columns(name))
        bar = f"{_bar(record, row, end, column):<{bar_width + 1}}"
        lines.append(f"{mark} {name}  {bar}  {words(record, row)}")
    return [*lines, " " * (name_width + 4) + _axis(record, end, bar_width, column)]


def _bar(record: Record, actor: ActorRecord, end: float, column: Callable[[float], int]) -> str:
    """Thick while running, thin while winding down; marks for what happened."""
    if actor.began is None:
        return ""
    begin, finish = column(actor.began), column(end if actor.exited is None else actor.exited)
    cells = [" "] * begin + ["━"] * (finish - begin) + [_EXIT_MARKS[actor.how]]
    interrupted = interrupted_at(record, actor)
    if interrupted is not None and (at := column(interrupted)) < finish:
        cells[at:finish] = ["▼", *["─"] * (finish - at - 1)]
    return "".join(cells)


def _axis(record: Record, end: float, width: int, column: Callable[[float], int]) -> str:
    """Label the start, the stop, and the end where there is room for it."""
    line = "0 s"
    if record.stopped is not None:
        at = column(record.stopped)
        line = f"{line if at > len(line) else '':<{at}}▲ {stop_label(record)}"
    return line if end == 0 or len(line) > width - 2 else f"{line:<{width}}{seconds(end)}"


def _messages(record: Record, shown: list[ActorRecord | str]) -> list[str]:
    """Give the messages for which a row has no room; the subtitle has that of `run()`."""
    lines: list[str] = []
    has_row = set(shown)
    for actor in record.actors:
        for whose, error in (("", actor.error), ("the interrupt of ", actor.interrupt_error)):
            if error is None or error is record.error:
                continue
            if (what := describe(error)) != _type_of(error) or actor not in has_row:
                lines.append(f"{whose}{_shown_name(actor)} raised {what}")
    return lines


# ---- facts and words, shared with the picture ----


def rows(record: Record) -> list[ActorRecord | str]:
    """Choose what is shown: everybody, or of many actors those at the ends and in trouble.

    A text stands for the actors that are left out, and says how they fared.
    """
    actors = record.actors
    if len(actors) <= _MOST_ROWS:
        return list(actors)
    notable: list[tuple[int, int]] = []
    for index, actor in enumerate(actors):
        if actor is record.first or _is_result(record, actor):
            notable.append((0, index))
        elif actor.error is not None or actor.interrupt_error is not None:
            notable.append((1, index))
        elif record.stopped is not None and actor.exited is None:
            notable.append((2, index))
    chosen = {index for _, index in sorted(notable)[: _MOST_ROWS // 2]}
    from_both_ends = zip(range(len(actors)), reversed(range(len(actors))), strict=True)
    for index in itertools.chain.from_iterable(from_both_ends):
        if len(chosen) < _MOST_ROWS:
            chosen.add(index)
    shown: list[ActorRecord | str] = []
    for is_chosen, part in itertools.groupby(range(len(actors)), chosen.__contains__):
        members = [actors[index] for index in part]
        if is_chosen or len(members) == 1:
            shown += members
        else:
            shown.append(_left_out(members))
    return shown


def _left_out(actors: list[ActorRecord]) -> str:
    states = Counter(state(actor) for actor in actors).most_common()
    if len(states) == 1:
        return f"… {len(actors):,} more, all {states[0][0]}"
    return f"… {len(actors):,} more: {', '.join(f'{n:,} {state}' for state, n in states)}"


def words(record: Record, actor: ActorRecord, *, brief: bool = False) -> str:
    """Say in a few words how an actor ended, or what it is doing.

    `brief`: without the time, and without saying that this is the result.
    """
    say = state(actor)
    if actor.error is not None:
        say += f" {_type_of(actor.error)}"
    is_result = _is_result(record, actor)
    # Of a first exit that is the result, the time stands at the axis.
    if actor.how is not None and not brief and not (is_result and actor is record.first):
        say += f" · {seconds(actor.exited)}"
    if is_result and not brief:
        say += " → result of run()"
    if actor.interrupt_error is not None:
        say += f"; its interrupt raised {_type_of(actor.interrupt_error)}"
        # An interrupt may raise what it was given: then it is the first one's error.
        was_given = record.first is not None and record.first.error is record.error
        if actor.interrupt_error is record.error and not was_given:
            say += " → result of run()"
    return say


def state(actor: ActorRecord) -> str:
    """Say how an actor exited, or what it is doing."""
    if actor.how is not None:
        return actor.how
    if actor.began is None:
        return "not begun"
    return "still running" if actor.interrupted is None else "winding down"


def interrupted_at(record: Record, actor: ActorRecord) -> float | None:
    """Tell when an actor was told to stop, if it had not exited by then.

    Every interrupt is called, also those of actors that have exited; those wind down no more.
    """
    if actor is record.first or record.reason == ALL_RETURNED:
        return None
    return None if had_exited(actor, actor.interrupted) else actor.interrupted


def stop_label(record: Record) -> str:
    """Name the moment at which the stop began."""
    return f"{'first exit' if _is_first_exit(record) else 'stop'} · {seconds(record.stopped)}"


def _is_result(record: Record, actor: ActorRecord) -> bool:
    """Tell whether the actor's exit is what `run()` gave: mostly the first, not always."""
    if record.how == "raised":
        if record.first is not None and record.first.error is record.error:
            return actor is record.first
        return actor.error is record.error
    return record.how == "returned" and actor is record.first


def _is_first_exit(record: Record) -> bool:
    """Tell whether nobody had returned before the exit that ended the group, if any did."""
    first = record.first
    return first is not None and not any(_had_returned(a, first.exited) for a in record.actors)


def _had_returned(actor: ActorRecord, moment: float | None) -> bool:
    return actor.how == "returned" and had_exited(actor, moment)


def had_exited(actor: ActorRecord, moment: float | None) -> bool:
    return actor.exited is not None and moment is not None and actor.exited < moment


def _type_of(error: BaseException) -> str:
    return shorten(class_name(error), _LONGEST_TYPE)


def shorten(text: str, longest: int = _LONGEST_TEXT) -> str:
    """Cut a text to one line of at most `longest` printable characters."""
    # Cut before looking for line breaks: a message can be 50 MB long.
    line = " ".join(text[: longest + 1].split())
    if not line.isprintable():
        line = re.sub(_UNPRINTABLE, "\N{REPLACEMENT CHARACTER}", line)
    if not line.isascii():
        line = _with_few_accents(line)
    return line if len(text) <= longest else line[: longest - 1] + "…"


def _with_few_accents(text: str) -> str:
    runs = itertools.groupby(text, lambda char: unicodedata.category(char) in {"Mn", "Me"})
    return "".join(
        char
        for is_accent, run in runs
        for char in itertools.islice(run, _MOST_ACCENTS if is_accent else None)
    )


def fit(text: str, room: float, width: Callable[[str], float]) -> str:
    """Cut a text so that it is no wider than `room`."""
    if width(text) <= room:
        return text
    return _beginning(text, room - width("…"), width) + "…"


def distinct(
    actors: Sequence[ActorRecord], cut: Callable[[ActorRecord, int | None], str]
) -> dict[ActorRecord, str]:
    """Cut the names of actors so that no two are the same afterwards, if that can be.

    `cut`: cuts the name of one; given an index, so that what comes from there on stays.
    """
    keep: dict[ActorRecord, int | None] = dict.fromkeys(actors)
    for _ in range(_MOST_CUTS):
        by_name: dict[str, list[ActorRecord]] = {}
        for actor, at in keep.items():
            by_name.setdefault(cut(actor, at), []).append(actor)
        for alike in by_name.values():
            if len(alike) > 1:
                keep |= dict.fromkeys(alike, _differ_at([actor.name for actor in alike]))
        if len(by_name) == len(actors):
            break
    return {actor: cut(actor, at) for actor, at in keep.items()}


def _differ_at(names: Sequence[str]) -> int:
    """Tell how many characters the names have in common at their beginning."""
    # What the first and the last one have, in the order of the alphabet, those between have, too.
    pairs = zip(min(names), max(names), strict=False)
    return sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))


def fit_name(
    actor: ActorRecord, room: float, width: Callable[[str], float], at: int | None = None
) -> str:
    """Cut an actor's name so that it is no wider than `room`.

    The middle goes: names that are made alike differ at the beginning or at the end. Of a
    `__qualname__` its last part stays, if it is no longer than three quarters. Where names are
    told apart by what comes from `at` on, that stays.
    """
    name = _shown_name(actor)
    if width(name) <= room:
        return name
    if at is not None:
        beginning = _beginning(name, room / 3, width) + "…"
        return beginning + fit(shorten(actor.name[at:]), room - width(beginning), width)
    name = name.replace("<locals>.", "")
    if width(name) <= room:
        return name
    room -= width("…")
    last_part = name.rpartition(".")[2] if "." in name else ""
    if room / 2 < width(last_part) <= room * 3 / 4:
        end = last_part
    else:
        end = _beginning(name[::-1], room / 2, width)[::-1]
    while end and _columns_of(end[0]) == 0:  # an accent without its letter
        end = end[1:]
    return f"{_beginning(name, room - width(end), width)}…{end}"


def _shown_name(actor: ActorRecord) -> str:
    """Show an actor's name in one line, without its middle if it is very long."""
    name = actor.name
    if len(name) > _LONGEST_TEXT:
        name = f"{name[: _LONGEST_TEXT // 2]}…{name[1 - _LONGEST_TEXT // 2 :]}"
    name = shorten(name)
    return name if columns(name) else shorten(ascii(actor.name))


def _beginning(text: str, room: float, width: Callable[[str], float]) -> str:
    ends = itertools.accumulate(map(width, text))
    return "".join(char for char, end in zip(text, ends, strict=True) if end <= room)


def columns(text: str) -> int:
    """Tell how many columns of a terminal a text takes."""
    return len(text) if text.isascii() else sum(map(_columns_of, text))


def _columns_of(char: str) -> int:
    if unicodedata.category(char) in {"Mn", "Me", "Cf"}:
        return 0
    return 2 if unicodedata.east_asian_width(char) in {"W", "F"} else 1


def class_name(error: BaseException) -> str:
    """Name the class of an error, whatever its metaclass does."""
    return cast("str", _CLASS_NAME.__get__(type(error)))


@enable_ki_protection  # what is caught below must not be Ctrl-C
def describe(error: BaseException) -> str:
    """Say the type and the message of an error, whatever its `__str__` does.

    Of a group also what is in it: its own message tells nothing of that.
    """
    name = shorten(class_name(error))
    try:
        # A str that overrides its methods is made a plain one.
        message = shorten(str.__str__(str(error)))
    # A broken __str__ must not break the group that tells of it, whatever it raises.
    except BaseException:  # noqa: BLE001
        message = "<its str() failed>"
    if is_a(error, BaseExceptionGroup):
        leaves = leaves_of(error)
        told = [describe(leaf) for leaf in itertools.islice(leaves, _MOST_LEAVES)]
        if next(leaves, None) is not None:
            told.append("…")
        message = shorten(f"{message} [{'; '.join(told)}]")
    return f"{name}: {message}" if message else name


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

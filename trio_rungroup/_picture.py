"""The record as a picture: SVG that every notebook viewer shows.

Public viewers take out of an SVG what could do harm, each by its own list: scripts and links,
but also styles, classes, gradients and clip paths. So this draws with plain elements and their
presentation attributes, and without ids, so that two pictures on one page do not meddle.

Nothing tells here how wide a text will be where the picture is shown. It is estimated, rather
too wide than too narrow, and the scale of time is chosen so that every label has its room.
"""

from __future__ import annotations

import functools
import math
import unicodedata
from typing import Final, Literal, TypeAlias
from xml.etree.ElementTree import Element, SubElement, tostring

import attrs

from ._record import (
    ActorRecord,
    How,
    Record,
    columns,
    describe,
    distinct,
    fit,
    fit_name,
    had_exited,
    interrupted_at,
    rows,
    seconds,
    shorten,
    state,
    stop_label,
    words,
)

_WIDTH: Final = 720
_LEFT: Final = 24
_RIGHT: Final = _WIDTH - _LEFT
_TOP: Final = 92  # of the first row
_GAP: Final = 22  # between a name and its bar: the ring of an exit at 0 s has room in it
_WIDEST_NAME: Final = 200
_NARROWEST_PLOT: Final = 150
_FONTS: Final = "Noto Sans, Segoe UI, Helvetica, Arial, sans-serif"

# After Okabe and Ito, darkened until text stands out from white by 4.5 to 1.
_PAPER: Final = "#ffffff"
_INK: Final = "#1a1a1a"
_FAINT: Final = "#595959"
_GRID: Final = "#e3e3e3"
_BORDER: Final = "#c8c8c8"
_RUNNING: Final = "#0072b2"
_WINDING: Final = "#8f5800"
_WINDING_INSIDE: Final = "#fff4de"
_EXIT_COLOURS: Final[dict[How | None, str]] = {
    "returned": "#00795a",
    "raised": "#b8460a",
    "cancelled": "#8e4a78",
    None: _FAINT,
}

# How wide characters are, in parts of the font size: in the widest of Noto Sans, DejaVu Sans
# and Arial. A letter with an accent is as wide as without.
_CHAR_WIDTHS: Final = {
    char: width
    for width, chars in (
        (0.33, " ',.ijl·"),
        (0.42, "!()-/:;I[\\]frt|"),
        (0.56, '"*?J_`csz'),
        (0.65, "$0123456789EFKLPSTYabdeghknopquvxy{}"),
        (0.72, "ABCRVXZ"),
        (0.86, "#&+<=>DGHNOQU^w~"),
        (1.0, "%@MWm…→"),
    )
    for char in chars
}
_OTHER_WIDTH: Final = 0.95
_EMOJI_WIDTH: Final = 1.4
_BOLDER: Final = 1.16

_Look: TypeAlias = dict[str, float | str]
_Item: TypeAlias = Literal["running", "interrupted", "winding down"] | How
_LEGEND: Final[dict[_Item, float]] = {  # with the widths of the samples
    "running": 26,
    "interrupted": 12,
    "winding down": 26,
    "returned": 17,
    "raised": 17,
    "cancelled": 21,
}


@attrs.frozen
class _Font:
    size: float
    fill: str
    weight: Literal["normal", "bold"] = "normal"

    def width(self, text: str) -> float:
        """Estimate how wide a text is, rather too wide than too narrow."""
        bolder = _BOLDER if self.weight == "bold" else 1
        return sum(map(_char_width, text)) * self.size * bolder


_TITLE: Final = _Font(16, _INK, "bold")
_SUBTITLE: Final = _Font(13, _FAINT)
_NAME: Final = _Font(13.5, _INK)
_LABEL: Final = _Font(12.5, _FAINT)
_AXIS: Final = _Font(12, _FAINT)
_STOP: Final = _Font(12, _INK, "bold")


@functools.lru_cache(maxsize=1000)
def _char_width(char: str) -> float:
    width = _CHAR_WIDTHS.get(unicodedata.normalize("NFD", char)[0])
    if width is not None:
        return width
    match columns(char):
        case 0:
            return 0
        case 1:
            return _OTHER_WIDTH
        case _:
            return _EMOJI_WIDTH if unicodedata.category(char) in {"So", "Sk"} else 1


def draw(record: Record) -> str:
    """Draw a record as SVG; the run may still be going."""
    plot = _Plot.of(record)
    svg = Element("svg", {"xmlns": "http://www.w3.org/2000/svg", "role": "img"})
    _add(svg, "title", record.title)
    facts = [row if isinstance(row, str) else _facts(record, row) for row in plot.rows]
    _add(svg, "desc", ". ".join([record.subtitle, *facts]))
    # Opaque: the page behind may be dark.
    paper = _add(svg, "rect", x=0.5, y=0.5, rx=8, fill=_PAPER, stroke=_BORDER)
    _heading(svg, 30, record.title, _TITLE)
    _heading(svg, 50, record.subtitle, _SUBTITLE)
    height = 66.0
    if plot.rows:
        _axis(svg, plot)
        legend: set[_Item] = set()
        for index, row in enumerate(plot.rows):
            y = _TOP + (index + 0.5) * plot.pitch
            if isinstance(row, ActorRecord):
                legend |= _row(_add(svg, "g"), plot, row, y)
            else:
                _label(svg, plot.left, y, row, _LABEL)
        _legend(svg, legend, plot.bottom + 54)
        height = plot.bottom + 78
    paper.attrib |= {"width": _number(_WIDTH - 1), "height": _number(height - 1)}
    svg.attrib |= {"width": _number(_WIDTH), "height": _number(height)}
    svg.attrib |= {"viewBox": f"0 0 {_WIDTH} {_number(height)}", "font-family": _FONTS}
    return tostring(svg, encoding="unicode")


# ---- where things stand ----


@attrs.frozen
class _Plot:
    """Where the rows and the moments of a record are, in pixels."""

    record: Record
    end: float
    rows: list[ActorRecord | str]
    names: dict[ActorRecord, str]
    pitch: float  # from row to row
    left: float
    scale: float  # pixels per second

    @classmethod
    def of(cls, record: Record) -> _Plot:
        """Give the time as much width as the names and the labels leave."""
        shown = rows(record)
        end = record.end
        actors = [row for row in shown if isinstance(row, ActorRecord)]
        names = _names(actors)
        widths = [_font(record, actor, _NAME).width(name) for actor, name in names.items()]
        left = _LEFT + max(widths, default=0) + _GAP
        pitch = min(max(24, 400 / max(len(shown), 1)), 38)
        plot = cls(record, end, shown, names, pitch, left, scale=0)
        if end <= 0:
            return plot
        narrowest = _NARROWEST_PLOT / end
        scales = [(_RIGHT - left) / end]
        for actor in actors:
            # Where not all of a label has room, the shorter one may have.
            full, brief = (
                plot.scale_for(actor, words(record, actor, brief=brief)) for brief in (False, True)
            )
            scales.append(full if full >= narrowest else brief)
        return attrs.evolve(plot, scale=max(min(scales), narrowest))

    def scale_for(self, actor: ActorRecord, label: str) -> float:
        """Tell the scale at which there is room for a label, also if it goes behind the stop."""
        moment = self.last_moment(actor)
        if had_exited(actor, self.record.stopped):
            moment = self.record.stopped or 0
        if moment <= 0:
            return math.inf
        room = _RIGHT - self.left - self.beside(actor) - 1
        return (room - _font(self.record, actor, _LABEL).width(label)) / moment

    def x(self, moment: float) -> float:
        return self.left + min(moment, self.end) * self.scale

    def last_moment(self, actor: ActorRecord) -> float:
        return self.end if actor.exited is None else actor.exited

    def beside(self, actor: ActorRecord) -> float:
        """How far a label is from the moment it tells of."""
        return (self.ring if actor is self.record.first else self.mark) + 8

    def label(self, actor: ActorRecord) -> tuple[float, str]:
        """Place what became of an actor: not across the line of the stop, if there is room."""
        x = self.x(self.last_moment(actor)) + self.beside(actor)
        width = _font(self.record, actor, _LABEL).width
        label = words(self.record, actor)
        if had_exited(actor, self.record.stopped):
            stop = self.x(self.record.stopped or 0)
            if x + width(label) > stop - 4:
                x = max(x, stop + 8)
        if x + width(label) > _RIGHT:
            label = words(self.record, actor, brief=True)
        return x, label

    @property
    def bottom(self) -> float:
        return _TOP + len(self.rows) * self.pitch

    @property
    def bar(self) -> float:
        """The thickness of a running actor's bar."""
        return 0.42 * self.pitch

    @property
    def mark(self) -> float:
        """The radius of an exit's mark."""
        return min(8, 0.25 * self.pitch)

    @property
    def ring(self) -> float:
        """The radius of the ring round the first exit."""
        return min(14.5, 0.44 * self.pitch)


def _font(record: Record, actor: ActorRecord, font: _Font) -> _Font:
    return attrs.evolve(font, weight="bold") if actor is record.first else font


_DECIMAL: Final[tuple[float, ...]] = ()
# From which end on, the unit's size and name, and the steps that are round in it.
_UNITS: Final = (
    (2 * 86400, 86400, "d", _DECIMAL),
    (2 * 3600, 3600, "h", (1, 2, 3, 6, 12)),
    (2 * 60, 60, "min", (1, 2, 5, 10, 20, 30)),
    (1, 1, "s", _DECIMAL),
    (1e-3, 1e-3, "ms", _DECIMAL),
    (0, 1e-6, "µs", _DECIMAL),
)


def _ticks(end: float, width: float) -> list[tuple[float, str]]:
    """Choose round moments, far enough apart for their labels, in the unit of `end`."""
    if end <= 0:
        return [(0, seconds(0))]
    size, unit, steps = next((s, u, steps) for least, s, u, steps in _UNITS if end >= least)
    least_step = end / size * 62 / width
    if not steps:
        power = 10.0 ** math.floor(math.log10(least_step))
        steps = (power, 2 * power, 5 * power, 10 * power)
    step = next((step for step in steps if step >= least_step), steps[-1])
    number = math.floor(end / size / step + 1e-9) + 1
    return [(index * step * size, f"{index * step:g} {unit}") for index in range(number)]


# ---- the parts of the picture ----


def _axis(svg: Element, plot: _Plot) -> None:
    """Draw the grid of time, and the dashed line where the stop began."""
    for moment, text in _ticks(plot.end, plot.x(plot.end) - plot.left):
        x = plot.x(moment)
        _add(svg, "line", x1=x, x2=x, y1=_TOP - 4, y2=plot.bottom, stroke=_GRID)
        _text(svg, x, plot.bottom + 18, text, _AXIS, anchor="middle")
    if plot.record.stopped is not None:
        x = plot.x(plot.record.stopped)
        label = stop_label(plot.record)
        half = _STOP.width(label) / 2
        middle = min(max(x, _LEFT + half), _RIGHT - half)
        _text(svg, middle, 72, label, _STOP, anchor="middle")
        line: _Look = {"x1": x, "x2": x, "y1": 78, "y2": plot.bottom, "stroke": _INK}
        _add(svg, "line", **line, stroke_width=1.5, stroke_dasharray="5 3")


def _row(group: Element, plot: _Plot, actor: ActorRecord, y: float) -> set[_Item]:
    """Draw one actor; tell what the legend has to explain."""
    record = plot.record
    colour = _EXIT_COLOURS[actor.how]
    _add(group, "title", _facts(record, actor))
    name = plot.names[actor]
    _text(group, plot.left - _GAP, y + 4.7, name, _font(record, actor, _NAME), anchor="end")
    x, label = plot.label(actor)
    _label(group, x, y, label, attrs.evolve(_font(record, actor, _LABEL), fill=colour))
    if actor.began is None:
        return set()
    legend: set[_Item] = set()
    is_open = actor.how is None
    x = turn = plot.x(plot.last_moment(actor))
    interrupted = interrupted_at(record, actor)
    if interrupted is not None:
        turn = plot.x(interrupted)
        # What the mark of the exit would cover is neither drawn nor explained.
        if is_open or x - turn > plot.mark:
            _bar(group, "winding down", (turn, x), y, plot.bar, is_open=is_open)
            legend.add("winding down")
    begin = plot.x(actor.began)
    is_running = is_open and interrupted is None
    if turn > begin or is_running:
        _bar(group, "running", (begin, turn), y, plot.bar, is_open=is_running)
        legend.add("running")
    if interrupted is not None:
        # Above the bar, or above the mark that stands in its place.
        height = plot.bar / 2 if x - turn > plot.mark else plot.mark * 1.2
        _triangle(group, turn, y - height - 1.5, min(8, 0.21 * plot.pitch))
        legend.add("interrupted")
    if actor.how is not None:
        if actor is record.first:
            ring: _Look = {"fill": _PAPER, "stroke": colour, "stroke_width": 2}
            _add(group, "circle", cx=x, cy=y, r=plot.ring, **ring)
        _mark(group, actor.how, x, y, plot.mark)
        legend.add(actor.how)
    return legend


def _bar(
    parent: Element, item: _Item, span: tuple[float, float], y: float, bar: float, *, is_open: bool
) -> None:
    """Draw a thick solid or a thin hollow bar; pointed where its end has not come yet."""
    begin, end = span
    half = bar * (0.5 if item == "running" else 0.28)
    points = [(begin, y + half), (begin, y - half), (end, y - half)]
    if is_open:
        points.append((end + bar / 2, y))
    outline = _path([*points, (end, y + half)]) + "Z"
    if item == "running":
        _add(parent, "path", d=outline, fill=_RUNNING)
    else:
        look: _Look = {"fill": _WINDING_INSIDE, "stroke": _WINDING, "stroke_width": 1.5}
        _add(parent, "path", d=outline, **look)


def _triangle(parent: Element, x: float, bottom: float, height: float) -> None:
    half, top = 0.63 * height, bottom - height
    _add(parent, "path", d=_path([(x - half, top), (x + half, top), (x, bottom)]) + "Z", fill=_INK)


def _mark(parent: Element, how: How, x: float, y: float, radius: float) -> None:
    """Draw how an actor exited: a circle with tick, a square with cross, a diamond with dash."""
    match how:
        case "returned":
            shape = _add(parent, "circle", cx=x, cy=y, r=radius + 0.75)
            strokes = [[(-3.6, 0.3), (-1.1, 2.9), (3.7, -2.6)]]
        case "raised":
            side = 2 * radius - 0.6
            corner = {"x": x - side / 2, "y": y - side / 2}
            shape = _add(parent, "rect", **corner, width=side, height=side, rx=2)
            strokes = [[(-3.0, -3.0), (3.0, 3.0)], [(-3.0, 3.0), (3.0, -3.0)]]
        case _:
            half = 1.24 * radius
            corners = [(x - half, y), (x, y - half), (x + half, y), (x, y + half)]
            shape = _add(parent, "path", d=_path(corners) + "Z")
            strokes = [[(-3.4, 0.0), (3.4, 0.0)]]
    # A white edge, so that the mark stands out from its bar.
    shape.attrib |= {"fill": _EXIT_COLOURS[how], "stroke": _PAPER, "stroke-width": "1.5"}
    unit = radius / 8
    glyph = "".join(_path([(x + dx * unit, y + dy * unit) for dx, dy in line]) for line in strokes)
    line: _Look = {"fill": "none", "stroke": _PAPER, "stroke_width": 2}
    _add(parent, "path", d=glyph, **line, stroke_linecap="round", stroke_linejoin="round")


def _legend(svg: Element, items: set[_Item], y: float) -> None:
    """Explain what occurs, and only that; all of it fits into one line."""
    x: float = _LEFT
    for item, sample in _LEGEND.items():
        if item not in items:
            continue
        match item:
            case "running" | "winding down":
                _bar(svg, item, (x, x + sample), y, 15, is_open=False)
            case "interrupted":
                _triangle(svg, x + sample / 2, y + 4, 8)
            case _:
                _mark(svg, item, x + sample / 2, y, 8)
        x += sample + 6
        _text(svg, x, y + 4.2, item, _AXIS)
        x += _AXIS.width(item) + 14


# ---- in words, for the pointer and for those who do not see it ----


def _names(actors: list[ActorRecord]) -> dict[ActorRecord, str]:
    """Cut the actors' names to the width of their column, where any of them may be the bold one."""
    width = attrs.evolve(_NAME, weight="bold").width
    return distinct(actors, lambda actor, at: fit_name(actor, _WIDEST_NAME, width, at))


def _facts(record: Record, actor: ActorRecord) -> str:
    """Tell all that is known of an actor, the messages of its errors included."""
    facts: list[str] = []
    if (interrupted := interrupted_at(record, actor)) is not None:
        facts.append(f"interrupted at {seconds(interrupted)}")
    facts.append(state(actor) if actor.how is None else f"{actor.how} at {seconds(actor.exited)}")
    if actor.error is not None:
        facts[-1] += f" {describe(actor.error)}"
    if actor.interrupt_error is not None:
        facts.append(f"its interrupt raised {describe(actor.interrupt_error)}")
    return f"{shorten(actor.name)}: {', '.join(facts)}"


# ---- SVG ----


def _add(
    parent: Element, tag: str, content: str | None = None, /, **attributes: float | str
) -> Element:
    child = SubElement(parent, tag)
    child.text = content
    for name, value in attributes.items():
        child.set(name.replace("_", "-"), value if isinstance(value, str) else _number(value))
    return child


def _text(
    parent: Element, x: float, y: float, content: str, font: _Font, *, anchor: str = "start"
) -> None:
    look: _Look = {"fill": font.fill, "font_size": font.size, "font_weight": font.weight}
    _add(parent, "text", content, x=x, y=y, **look, text_anchor=anchor)


def _heading(svg: Element, y: float, content: str, font: _Font) -> None:
    """Write a line of the head, a little smaller if it is long."""
    while font.width(content) > _RIGHT - _LEFT and font.size > 12:
        font = attrs.evolve(font, size=font.size - 1)
    group = _add(svg, "g")
    _add(group, "title", content)  # uncut, for the pointer to find
    _text(group, _LEFT, y, fit(content, _RIGHT - _LEFT, font.width), font)


def _label(parent: Element, x: float, y: float, content: str, font: _Font) -> None:
    """Write what became of an actor: on white, so that no line runs through it."""
    content = fit(content, _RIGHT - x, font.width)
    backing = {"x": x - 2, "y": y - 9, "width": font.width(content) + 4, "height": 18}
    _add(parent, "rect", **backing, fill=_PAPER)
    _text(parent, x, y + 4.3, content, font)


def _path(points: list[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{_number(x)} {_number(y)}" for x, y in points)


def _number(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")

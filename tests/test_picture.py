"""The record as a picture: what stands in the SVG, and where.

How it looks is for eyes; here stands what eyes cannot promise: that no text leaves the picture
or covers another one, that only harmless SVG is used, and that no fact hangs on a colour.
"""

from __future__ import annotations

import functools
import itertools
import math
import re
import signal
import time
from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias
from xml.etree import ElementTree as ET

import attrs
import pytest
import trio
from hypothesis import given, settings, strategies as st
from runs import ConfigError, ends, finished, stops
from trio.testing import MockClock

from trio_rungroup import Record, RunGroup
from trio_rungroup._picture import _Font, _ticks

SVG: Final = "{http://www.w3.org/2000/svg}"
# What bleach, once nbconvert's sanitiser, lets through (its html5lib list); `role` and `xmlns` it
# drops, and nothing is lost by that.
ELEMENTS: Final = {"svg", "title", "desc", "g", "rect", "circle", "line", "path", "text"}
ATTRIBUTES: Final = {
    "width", "height", "viewBox", "role", "x", "y", "x1", "x2", "y1", "y2", "rx", "cx", "cy", "r",
    "d", "fill", "stroke", "stroke-width", "stroke-dasharray", "stroke-linecap",
    "stroke-linejoin", "font-family", "font-size", "font-weight", "text-anchor",
}  # fmt: skip
BLUE, CREAM, WHITE = "#0072b2", "#fff4de", "#ffffff"
GREEN, RED, PURPLE = "#00795a", "#b8460a", "#8e4a78"

# ---- runs, and their pictures ----

Scenario: TypeAlias = Callable[[], Awaitable[str]]
SCENARIOS: Final[dict[str, Scenario]] = {}


def scenario(function: Scenario) -> Scenario:
    SCENARIOS[function.__name__] = function
    return function


@functools.cache
def drawn(function: Scenario) -> ET.Element:
    text = trio.run(function, clock=MockClock(autojump_threshold=0))
    text.encode("utf-8")
    return ET.fromstring(text)


@scenario
async def timeline() -> str:
    group = RunGroup()
    group.add(*stops(1.6), name="http server")
    group.add(*stops(0.5), name="metrics server")
    group.add(*stops(1, ConnectionError("the broker has gone away")), name="queue consumer")
    error = ConfigError("port 0 is not allowed")
    group.add(ends(3, error), lambda _: None, name="config watcher")
    group.add(*stops(0), name="signal handler")
    return (await finished(group)).to_svg()


@scenario
async def nobody() -> str:
    return (await finished(RunGroup())).to_svg()


@scenario
async def one() -> str:
    group = RunGroup()
    group.add(ends(1), name="only")
    return (await finished(group)).to_svg()


@scenario
async def forty() -> str:
    group = RunGroup()
    for number in range(39):
        error = ValueError("no") if number % 7 == 0 else None
        group.add(*stops(number / 10, error), name=f"worker {number}")
    group.add(ends(2), name="first")
    return (await finished(group)).to_svg()


@scenario
async def hundreds() -> str:
    group = RunGroup()
    for number in range(500):
        group.add(trio.sleep_forever, name=f"worker {number}")
    group.add(ends(2, ConfigError("bad")), name="first")
    for number in range(500, 1000):
        group.add(trio.sleep_forever, name=f"worker {number}")
    return (await finished(group)).to_svg()


@scenario
async def no_time() -> str:
    group = RunGroup()
    group.add(ends(0), name="a")
    group.add(*stops(0), name="b")
    return (await finished(group)).to_svg()


@scenario
async def exit_at_once() -> str:
    group = RunGroup()
    group.add(ends(0), name="first")
    group.add(*stops(5), name="server")
    return (await finished(group)).to_svg()


@scenario
async def days() -> str:
    group = RunGroup()
    group.add(ends(3 * 86_400 + 4_000), name="nightly")
    group.add(*stops(30_000), name="server")
    return (await finished(group)).to_svg()


@scenario
async def milliseconds() -> str:
    group = RunGroup()
    group.add(ends(0.02), name="quick")
    group.add(*stops(0.0055), name="server")
    return (await finished(group)).to_svg()


@scenario
async def strange_names() -> str:
    group = RunGroup()
    group.add(ends(3, ConfigError("<b>&amp;\x1b[31m\x00\ufffe")), name="<&> \"'\nnew\x1bline")
    group.add(*stops(1), name="🚀 ロケット発射台")
    group.add(*stops(1), name="\ud800 lone")
    group.add(*stops(1), name="Жук שלום cafe\N{COMBINING ACUTE ACCENT}")
    return (await finished(group)).to_svg()


@scenario
async def long_names() -> str:
    long_type = type("AnExceptionWithAVeryLongName" * 4, (Exception,), {})
    group = RunGroup()
    group.add(ends(3, long_type("x" * 999)), name="W" * 80)
    group.add(*stops(2, long_type("y" * 999)), name="m" * 80)
    group.add(*stops(1), name="one word after the other of a rather long name " * 2)
    return (await finished(group)).to_svg()


@scenario
async def grace() -> str:
    group = RunGroup(grace=10)
    group.add(trio.sleep_forever, lambda _: None, name="stubborn", grace=4)
    group.add(trio.sleep_forever, lambda _: None, name="worse")
    group.add(ends(3), name="done")
    return (await finished(group)).to_svg()


@scenario
async def cancelled_from_outside() -> str:
    group = RunGroup(grace=5)
    group.add(*stops(1), name="server")
    group.add(trio.sleep_forever, name="ticker")
    with trio.move_on_after(3):
        await group.run()
    assert group.record is not None
    return group.record.to_svg()


@scenario
async def ctrl_c() -> str:
    group = RunGroup()
    group.add(*stops(1), name="server")
    group.add(trio.sleep_forever, name="ticker")

    # Protected, so that Ctrl-C goes to the main task.
    @trio.lowlevel.enable_ki_protection
    async def press() -> None:
        await trio.sleep(2)
        signal.raise_signal(signal.SIGINT)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(press)
        return (await finished(group)).to_svg()


@scenario
async def outer_group() -> str:
    inner = RunGroup()
    inner.add(*stops(1), name="inner")
    outer = RunGroup()
    outer.add(inner.run, inner.interrupt, name="inner group")
    outer.add(ends(3, SystemExit(2)), name="exits")
    return (await finished(outer)).to_svg()


@scenario
async def inner_group() -> str:
    inner = RunGroup()
    inner.add(*stops(1), name="inner")
    outer = RunGroup()
    outer.add(inner.run, inner.interrupt, name="inner group")
    outer.add(ends(3), name="exits")
    await outer.run()
    assert inner.record is not None
    return inner.record.to_svg()


@scenario
async def still_running() -> str:
    group = RunGroup()
    group.add(ends(1), name="setup", ends_group=False)
    group.add(trio.sleep_forever, name="server")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(group.run)
        await trio.sleep(2.5)
        assert group.record is not None
        svg = group.record.to_svg()
        nursery.cancel_scope.cancel(reason="seen enough")
    return svg


@scenario
async def still_stopping() -> str:
    group = RunGroup()
    group.add(*stops(9), name="server")
    group.add(ends(3), name="config")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(group.run)
        await trio.sleep(5)
        assert group.record is not None
        svg = group.record.to_svg()
        nursery.cancel_scope.cancel(reason="seen enough")
    return svg


@scenario
async def not_begun() -> str:
    group = RunGroup()
    seen: list[str] = []

    async def look() -> None:
        assert group.record is not None
        seen.append(group.record.to_svg())

    group.add(look, name="a")
    group.add(look, name="b")
    await group.run()
    return seen[0]


@scenario
async def returned_before() -> str:
    group = RunGroup()
    group.add(ends(1), lambda _: None, name="migrate", ends_group=False)
    group.add(*stops(1), name="server")
    group.add(ends(3, ConfigError("bad")), name="config")
    return (await finished(group)).to_svg()


@scenario
async def returned_shortly_before() -> str:
    group = RunGroup()
    group.add(ends(1), name="long before", ends_group=False)
    group.add(ends(8.5), name="before", ends_group=False)
    group.add(ends(9.9), name="just before", ends_group=False)
    group.add(*stops(2), name="server")
    group.add(ends(10), name="first")
    return (await finished(group)).to_svg()


@scenario
async def late_with_a_long_label() -> str:
    group = RunGroup()
    group.add(*stops(1), name="the other one")
    group.add(ends(60, FileNotFoundError("no such file")), name="metrics_exporter_task")
    return (await finished(group)).to_svg()


@scenario
async def all_returned() -> str:
    group = RunGroup()
    group.add(ends(1), name="migrate", ends_group=False)
    group.add(ends(3), name="warm up", ends_group=False)
    return (await finished(group)).to_svg()


@scenario
async def failing_interrupt() -> str:
    def interrupt(error: object) -> None:
        raise ValueError("cannot close")

    group = RunGroup()
    group.add(trio.sleep_forever, interrupt, name="server")
    group.add(ends(3), name="config")
    return (await finished(group)).to_svg()


@scenario
async def slow_interrupt() -> str:
    async def interrupt(error: object) -> None:
        await trio.sleep(4)

    group = RunGroup()
    group.add(ends(2), interrupt, name="first")
    group.add(*stops(2), name="next")
    return (await finished(group)).to_svg()


@scenario
async def winds_down_in_no_time() -> str:
    group = RunGroup()
    group.add(*stops(0.05), name="server")
    group.add(trio.sleep_forever, name="poller")
    group.add(ends(10), name="first")
    return (await finished(group)).to_svg()


@scenario
async def everything() -> str:
    group = RunGroup(grace=9)
    group.add(ends(3), name="first")
    group.add(*stops(1), name="returns")
    group.add(*stops(1, ValueError()), name="raises")
    group.add(trio.sleep_forever, name="is cancelled")
    return (await finished(group)).to_svg()


# ---- what is in a picture ----


def tag(element: ET.Element) -> str:
    return element.tag.removeprefix(SVG)


def number(element: ET.Element, name: str) -> float:
    return float(element.attrib[name])


def shapes(element: ET.Element, **attributes: str) -> list[ET.Element]:
    wanted = {name.replace("_", "-"): value for name, value in attributes.items()}
    return [e for e in element.iter() if wanted.items() <= e.attrib.items()]


def texts(element: ET.Element) -> list[str]:
    return [e.text or "" for e in element.iter(f"{SVG}text")]


def row(svg: ET.Element, name: str) -> ET.Element:
    return next(g for g in svg.iter(f"{SVG}g") if texts(g)[0] == name and len(texts(g)) == 2)


def points(path: ET.Element) -> list[tuple[float, float]]:
    pairs = re.findall(r"[ML]([-\d.]+) ([-\d.]+)", path.attrib["d"])
    return [(float(x), float(y)) for x, y in pairs]


@attrs.frozen
class Box:
    left: float
    top: float
    right: float
    bottom: float
    what: str

    def overlaps(self, other: Box) -> bool:
        return (
            self.left < other.right
            and other.left < self.right
            and self.top < other.bottom
            and other.top < self.bottom
        )


def box(element: ET.Element) -> Box:
    match tag(element):
        case "circle":
            x, y, r = (number(element, name) for name in ("cx", "cy", "r"))
            return Box(x - r, y - r, x + r, y + r, "circle")
        case "rect":
            x, y = number(element, "x"), number(element, "y")
            return Box(x, y, x + number(element, "width"), y + number(element, "height"), "rect")
        case "text":
            x, y, size = number(element, "x"), number(element, "y"), number(element, "font-size")
            bold = element.attrib["font-weight"] == "bold"
            width = _Font(size, "", "bold" if bold else "normal").width(element.text or "")
            x -= {"start": 0, "middle": width / 2, "end": width}[element.attrib["text-anchor"]]
            return Box(x, y - 0.8 * size, x + width, y + 0.25 * size, element.text or "")
        case _:
            across, down = zip(*points(element), strict=True)
            return Box(min(across), min(down), max(across), max(down), "path")


def marks(element: ET.Element) -> list[ET.Element]:
    return [e for fill in (GREEN, RED, PURPLE) for e in shapes(element, fill=fill, stroke=WHITE)]


@pytest.fixture(params=SCENARIOS)
def picture(request: pytest.FixtureRequest) -> ET.Element:
    return drawn(SCENARIOS[request.param])


# ---- of every picture ----


def test_only_harmless_svg_is_used(picture: ET.Element) -> None:
    for element in picture.iter():
        assert element.tag.startswith(SVG)
        assert tag(element) in ELEMENTS
        assert set(element.attrib) <= ATTRIBUTES
        assert not any("url(" in value for value in element.attrib.values())


def test_a_picture_is_720_pixels_wide_and_scales(picture: ET.Element) -> None:
    assert picture.attrib["width"] == "720"
    assert picture.attrib["viewBox"] == f"0 0 720 {picture.attrib['height']}"
    assert picture.attrib["font-family"].endswith(", sans-serif")


def test_a_picture_has_a_title_a_description_and_an_opaque_ground(picture: ET.Element) -> None:
    title, desc, ground = picture[:3]
    assert (tag(title), tag(desc), tag(ground)) == ("title", "desc", "rect")
    assert title.text
    assert desc.text
    assert desc.text.startswith("run() ")
    assert ground.attrib["fill"] == WHITE
    assert number(ground, "width") == 719
    assert number(ground, "height") == number(picture, "height") - 1


def test_no_text_leaves_the_picture(picture: ET.Element) -> None:
    for text in picture.iter(f"{SVG}text"):
        assert box(text).left >= 0
        assert box(text).right <= 720
        assert box(text).top >= 0
        assert box(text).bottom <= number(picture, "height")


def test_no_text_covers_another_one_or_a_mark(picture: ET.Element) -> None:
    boxes = [box(e) for e in [*picture.iter(f"{SVG}text"), *marks(picture)]]
    rings = [box(e) for e in shapes(picture, fill=WHITE, **{"stroke-width": "2"})]
    for one_box, other in itertools.combinations(boxes, 2):
        assert not one_box.overlaps(other)
    for ring, text in itertools.product(rings, map(box, picture.iter(f"{SVG}text"))):
        assert not ring.overlaps(text)


def test_no_bar_leaves_the_picture(picture: ET.Element) -> None:
    for bar in [*shapes(picture, fill=BLUE), *shapes(picture, fill=CREAM)]:
        assert 24 <= box(bar).left <= box(bar).right < 700


def test_text_stands_out_from_the_ground(picture: ET.Element) -> None:
    for text in picture.iter(f"{SVG}text"):
        assert contrast(text.attrib["fill"], WHITE) >= 4.5


def test_the_legend_explains_what_occurs_and_only_that(picture: ET.Element) -> None:
    rows = [g for g in picture.iter(f"{SVG}g") if len(texts(g)) == 2]
    occurs = {
        "running": any(shapes(g, fill=BLUE) for g in rows),
        "interrupted": any(triangles(g) for g in rows),
        "winding down": any(shapes(g, fill=CREAM) for g in rows),
        "returned": any(shapes(g, fill=GREEN, stroke=WHITE) for g in rows),
        "raised": any(shapes(g, fill=RED, stroke=WHITE) for g in rows),
        "cancelled": any(shapes(g, fill=PURPLE, stroke=WHITE) for g in rows),
    }
    legend = [e.text for e in picture.findall(f"{SVG}text") if e.text in occurs]
    assert legend == [item for item, does in occurs.items() if does]


def triangles(element: ET.Element) -> list[ET.Element]:
    return [e for e in shapes(element, fill="#1a1a1a") if tag(e) == "path"]


NAMES: Final = st.one_of(st.text(), st.text("mW広🚀Ж<", min_size=10))
SPANS: Final = st.one_of(st.just(0), st.floats(1e-6, 1e6))


@settings(deadline=None, max_examples=50)
@given(
    actors=st.lists(
        st.tuples(NAMES, SPANS, st.sampled_from(["ends", "stops", "fails", "is cancelled"])),
        min_size=1,
        max_size=45,
        unique_by=lambda actor: actor[0],
    )
)
def test_every_run_makes_an_orderly_picture(actors: list[tuple[str, float, str]]) -> None:
    async def main() -> str:
        group = RunGroup(grace=1e6)
        for name, span, kind in actors:
            match kind:
                case "ends":
                    group.add(ends(span), name=name)
                case "stops":
                    group.add(*stops(span), name=name)
                case "fails":
                    group.add(*stops(span, ConfigError(name)), name=name)
                case _:
                    group.add(trio.sleep_forever, name=name)
        with trio.move_on_after(1e7):
            await finished(group)
        assert group.record is not None
        return group.record.to_svg()

    svg = drawn(main)
    test_only_harmless_svg_is_used(svg)
    test_no_text_leaves_the_picture(svg)
    test_no_text_covers_another_one_or_a_mark(svg)
    test_no_bar_leaves_the_picture(svg)


# ---- of the picture in the README ----


def test_a_bar_is_as_long_as_its_time() -> None:
    server = row(drawn(timeline), "http server")
    (running,), (winding,) = shapes(server, fill=BLUE), shapes(server, fill=CREAM)
    start, turn, end = box(running).left, box(running).right, box(winding).right
    assert box(winding).left == turn
    assert (end - start) / (turn - start) == pytest.approx(4.6 / 3, abs=0.01)
    (mark,) = marks(server)
    assert number(mark, "cx") == end


def test_a_running_bar_is_thick_and_solid_and_a_winding_one_thin_and_hollow() -> None:
    server = row(drawn(timeline), "http server")
    (running,), (winding,) = shapes(server, fill=BLUE), shapes(server, fill=CREAM)
    assert "stroke" not in running.attrib
    assert "stroke" in winding.attrib
    assert box(running).bottom - box(running).top > 1.5 * (box(winding).bottom - box(winding).top)


def test_a_winding_down_that_the_mark_would_cover_is_neither_drawn_nor_explained() -> None:
    svg = drawn(winds_down_in_no_time)
    server = row(svg, "server")
    assert shapes(server, fill=BLUE) != []
    assert shapes(server, fill=CREAM) == []
    assert "winding down" not in texts(svg)
    assert "winding down" in texts(drawn(timeline))
    for name in ("server", "poller"):
        (triangle,), (mark,) = triangles(row(svg, name)), marks(row(svg, name))
        assert box(triangle).bottom < box(mark).top  # or it would be covered, too


def test_a_triangle_stands_at_the_interrupt_of_all_but_the_first() -> None:
    svg = drawn(timeline)
    (line,) = shapes(svg, stroke_dasharray="5 3")
    for name in ("http server", "metrics server", "queue consumer", "signal handler"):
        (triangle,) = triangles(row(svg, name))
        assert points(triangle)[2][0] == number(line, "x1")
    assert triangles(row(svg, "config watcher")) == []


def test_a_dashed_line_with_a_label_stands_at_the_first_exit() -> None:
    svg = drawn(timeline)
    (line,) = shapes(svg, stroke_dasharray="5 3")
    (label,) = [e for e in svg.iter(f"{SVG}text") if e.text == "first exit · 3 s"]
    (mark,) = marks(row(svg, "config watcher"))
    assert number(line, "x1") == number(line, "x2") == number(label, "x")
    assert number(line, "x1") == (box(mark).left + box(mark).right) / 2
    assert box(label).bottom < number(line, "y1") < number(line, "y2")


def test_a_mark_has_a_tick_a_cross_or_a_dash() -> None:
    rows = [row(drawn(everything), name) for name in ("returns", "raises", "is cancelled")]
    glyphs = [shapes(each, fill="none", stroke=WHITE) for each in rows]
    strokes = [
        [part.count("L") for part in glyph.attrib["d"].split("M")[1:]] for (glyph,) in glyphs
    ]
    assert strokes == [[2], [1, 1], [1]]


def test_every_moment_on_the_axis_has_a_line_of_the_grid() -> None:
    svg = drawn(timeline)
    labels = [e for e in svg.iter(f"{SVG}text") if e.attrib["text-anchor"] == "middle"]
    lines = [e for e in svg.iter(f"{SVG}line") if "stroke-dasharray" not in e.attrib]
    assert [number(line, "x1") for line in lines] == [number(e, "x") for e in labels[:5]]


def test_only_the_first_has_a_ring_and_bold_letters() -> None:
    svg = drawn(timeline)
    (ring,) = shapes(svg, fill=WHITE, stroke_width="2")
    assert ring in list(row(svg, "config watcher"))
    assert [e.text for e in shapes(svg, font_weight="bold")] == [
        "config watcher exits first; the other 4 are interrupted",
        "first exit · 3 s",
        "config watcher",
        "raised ConfigError → result of run()",
    ]


def test_the_words_tell_what_the_shapes_show() -> None:
    assert texts(drawn(timeline)) == [
        "config watcher exits first; the other 4 are interrupted",
        "run() ends at 4.6 s with ConfigError: port 0 is not allowed",
        *("0 s", "1 s", "2 s", "3 s", "4 s"),
        "first exit · 3 s",
        *("http server", "returned · 4.6 s"),
        *("metrics server", "returned · 3.5 s"),
        *("queue consumer", "raised ConnectionError · 4 s"),
        *("config watcher", "raised ConfigError → result of run()"),
        *("signal handler", "returned · 3 s"),
        *("running", "interrupted", "winding down", "returned", "raised"),
    ]


def test_the_pointer_finds_all_that_is_known_of_an_actor() -> None:
    svg = drawn(timeline)
    fact = (
        "queue consumer: interrupted at 3 s, "
        "raised at 4 s ConnectionError: the broker has gone away"
    )
    assert row(svg, "queue consumer")[0].text == fact
    assert fact in (svg[1].text or "")
    assert row(drawn(failing_interrupt), "server")[0].text == (
        "server: interrupted at 3 s, cancelled at 3 s, "
        "its interrupt raised ValueError: cannot close"
    )


# ---- of particular pictures ----


def test_a_picture_of_nobody_has_no_rows() -> None:
    assert texts(drawn(nobody)) == ["no actors", "run() ends at 0 s"]


def test_forty_rows_are_far_enough_apart_to_read() -> None:
    svg = drawn(forty)
    names = [f"worker {number}" for number in range(39)] + ["first"]
    heights = [number(next(row(svg, name).iter(f"{SVG}text")), "y") for name in names]
    assert all(after - before >= 20 for before, after in itertools.pairwise(heights))
    assert number(svg, "height") < 1200


def test_of_hundreds_of_rows_the_middle_is_left_out_but_not_the_first() -> None:
    svg = drawn(hundreds)
    assert row(svg, "first") is not None
    assert [text for text in texts(svg) if "more" in text] == [
        "… 480 more, all cancelled",
        "… 481 more, all cancelled",
    ]


async def test_a_picture_of_forty_rows_takes_milliseconds(autojump_clock: MockClock) -> None:
    group = RunGroup()
    for number in range(39):
        group.add(*stops(number), name=f"worker {number}")
    group.add(ends(2), name="first")
    record = await finished(group)
    spans: list[float] = []
    for _ in range(5):
        start = time.perf_counter()
        record.to_svg()
        spans.append(time.perf_counter() - start)
    assert min(spans) < 0.2


def test_a_long_name_is_cut_and_whole_for_the_pointer() -> None:
    svg = drawn(long_names)
    (group,) = [g for g in svg.iter(f"{SVG}g") if len(texts(g)) == 2 and texts(g)[0][0] == "m"]
    assert re.fullmatch("m{5,}…m{5,}", texts(group)[0])
    assert (group[0].text or "").startswith("m" * 80 + ": ")
    subtitle = f"run() ends at 5 s with {'AnExceptionWithAVeryLongName' * 4}: {'x' * 199}…"
    assert next(g for g in svg.iter(f"{SVG}g"))[0].text is not None
    assert subtitle in [e.text for e in svg.iter(f"{SVG}title")]


def test_of_a_function_inside_another_one_a_long_name_keeps_its_last_part() -> None:
    async def main() -> Record:
        group = RunGroup()
        group.add(*stops(1), name="main.<locals>.in_a_function_of.<locals>.serve_metrics")
        group.add(ends(1), name="short")
        return await finished(group)

    svg = ET.fromstring(trio.run(main, clock=MockClock(autojump_threshold=0)).to_svg())
    assert [text for text in texts(svg) if "serve" in text] == ["main.in…serve_metrics"]


def test_names_are_escaped_and_what_xml_does_not_allow_is_replaced() -> None:
    svg = drawn(strange_names)
    assert texts(svg)[:2] == [
        "<&> \"' new�line exits first; the other 3 are interrupted",
        "run() ends at 4 s with ConfigError: <b>&amp;�[31m��",
    ]
    assert row(svg, "� lone") is not None
    assert row(svg, "🚀 ロケット発射台") is not None


def test_who_is_cancelled_when_its_grace_ends_winds_down_to_a_diamond() -> None:
    stubborn = row(drawn(grace), "stubborn")
    (winding,) = shapes(stubborn, fill=CREAM)
    (mark,) = marks(stubborn)
    assert len(points(mark)) == 4
    assert box(mark).left < box(winding).right < box(mark).right
    assert texts(stubborn)[1] == "cancelled · 7 s"


@pytest.mark.parametrize(
    ("of", "title", "label"),
    [
        (
            cancelled_from_outside,
            "run() is cancelled from outside; the 2 actors are interrupted",
            "stop · 3 s",
        ),
        (
            ctrl_c,
            "KeyboardInterrupt in the task that awaits run(); the 2 actors are interrupted",
            "stop · 2 s",
        ),
        (inner_group, "interrupt() was called; the actor is interrupted", "stop · 3 s"),
        (all_returned, "all actors have returned", "stop · 3 s"),
    ],
)
def test_a_stop_that_no_exit_began_is_called_a_stop(of: Scenario, title: str, label: str) -> None:
    svg = drawn(of)
    assert texts(svg)[0] == title
    assert label in texts(svg)
    assert shapes(svg, fill=WHITE, stroke_width="2") == []


def test_who_had_returned_before_the_stop_does_not_wind_down() -> None:
    svg = drawn(returned_before)
    migrate = row(svg, "migrate")
    assert shapes(migrate, fill=CREAM) == []
    assert triangles(migrate) == []
    (line,) = shapes(svg, stroke_dasharray="5 3")
    assert box(shapes(migrate, fill=BLUE)[0]).right < number(line, "x1")
    assert triangles(drawn(all_returned)) == []


def test_a_label_hides_the_lines_behind_it() -> None:
    migrate = row(drawn(returned_before), "migrate")
    (ground,) = [e for e in shapes(migrate, fill=WHITE) if tag(e) == "rect"]
    text = list(migrate.iter(f"{SVG}text"))[1]
    assert box(ground).left < box(text).left
    assert box(text).right < box(ground).right
    assert list(migrate).index(ground) < list(migrate).index(text)


def test_a_label_does_not_lie_across_the_line_of_the_stop() -> None:
    svg = drawn(returned_shortly_before)
    (line,) = shapes(svg, stroke_dasharray="5 3")
    stop = number(line, "x1")
    for name in ("before", "just before"):
        ground = next(e for e in shapes(row(svg, name), fill=WHITE) if tag(e) == "rect")
        assert stop < box(ground).left < stop + 20
    ground = next(e for e in shapes(row(svg, "long before"), fill=WHITE) if tag(e) == "rect")
    assert box(ground).right < stop  # where there is room, the label stands beside its mark


def test_where_a_label_has_no_room_the_error_is_named_and_not_that_it_is_the_result() -> None:
    first = row(drawn(late_with_a_long_label), "metrics_exporter_task")
    assert texts(first)[1] == "raised FileNotFoundError"
    assert (
        texts(row(drawn(timeline), "config watcher"))[1] == "raised ConfigError → result of run()"
    )


def test_an_interrupt_that_came_late_has_its_triangle_there() -> None:
    svg = drawn(slow_interrupt)
    (triangle,) = triangles(row(svg, "next"))
    (line,) = shapes(svg, stroke_dasharray="5 3")
    (running,) = shapes(row(svg, "next"), fill=BLUE)
    assert points(triangle)[2][0] == box(running).right > number(line, "x1")


@pytest.mark.parametrize(
    ("of", "fill", "words"),
    [(still_running, BLUE, "still running"), (still_stopping, CREAM, "winding down")],
)
def test_a_bar_whose_end_has_not_come_is_pointed(of: Scenario, fill: str, words: str) -> None:
    server = row(drawn(of), "server")
    (bar,) = shapes(server, fill=fill)
    assert len(points(bar)) == 5
    assert shapes(server, stroke=WHITE) == []  # no mark, of whatever colour
    assert texts(server)[1] == words


def test_who_has_not_begun_has_no_bar() -> None:
    svg = drawn(not_begun)
    assert sorted(texts(row(svg, name))[1] for name in "ab") == ["not begun", "still running"]
    assert len(shapes(svg, fill=BLUE)) == 2  # one of them in the legend


def test_a_run_of_no_time_has_marks_and_no_bars() -> None:
    svg = drawn(no_time)
    assert shapes(svg, fill=BLUE) == []
    assert len(marks(svg)) == 3  # one of them in the legend
    assert "first exit · 0 s" in texts(svg)


# ---- the axis ----


@pytest.mark.parametrize(
    ("end", "labels"),
    [
        (0, "0 s"),
        (4.6, "0 s, 1 s, 2 s, 3 s, 4 s"),
        (1, "0 s, 0.2 s, 0.4 s, 0.6 s, 0.8 s, 1 s"),
        (119, "0 s, 20 s, 40 s, 60 s, 80 s, 100 s"),
        (0.02, "0 ms, 5 ms, 10 ms, 15 ms, 20 ms"),
        (0.000_3, "0 µs, 50 µs, 100 µs, 150 µs, 200 µs, 250 µs, 300 µs"),
        (120, "0 min, 1 min, 2 min"),
        (7_199, "0 min, 20 min, 40 min, 60 min, 80 min, 100 min"),
        (7_200, "0 h, 1 h, 2 h"),
        (86_400, "0 h, 6 h, 12 h, 18 h, 24 h"),
        (3 * 86_400, "0 d, 0.5 d, 1 d, 1.5 d, 2 d, 2.5 d, 3 d"),
        (1_000 * 86_400, "0 d, 200 d, 400 d, 600 d, 800 d, 1000 d"),
    ],
)
def test_the_axis_has_round_times_in_a_fitting_unit(end: float, labels: str) -> None:
    assert ", ".join(label for _, label in _ticks(end, 440)) == labels


@pytest.mark.parametrize("width", [200, 300, 440, 560])
def test_the_labels_of_the_axis_never_touch(width: float) -> None:
    for exponent in range(-70, 90):
        end = 10 ** (exponent / 10)
        ticks = _ticks(end, width)
        for (before, one_label), (after, other) in itertools.pairwise(ticks):
            half = (_Font(12, "").width(one_label) + _Font(12, "").width(other)) / 2
            assert (after - before) / end * width > half
        assert 2 <= len(ticks) <= width / 40
        assert ticks[-1][0] <= end * (1 + 1e-9)


# ---- widths and colours ----


@pytest.mark.parametrize(
    ("text", "normal", "bold"),
    [  # as wide as in the widest of DejaVu Sans, Noto Sans and Liberation Sans, from their files
        ("returned · 4.6 s", 7.73, 8.75),
        ("raised ConnectionError · 4 s", 13.95, 15.75),
        ("cancelled · 3 s; its interrupt raised ValueError", 22.77, 25.89),
        ("raised ConfigError → result of run()", 17.46, 19.81),
        ("config watcher exits first; the other 4 are interrupted", 26.56, 30.26),
        ("run() ends at 4.6 s with ConfigError: port 0 is not allowed", 28.59, 32.46),
        ("0123456789", 6.36, 6.96),
        ("ABCDEFGHIJKLMNOPQRSTUVWXYZ", 17.61, 19.63),
        ("abcdefghijklmnopqrstuvwxyz", 14.65, 16.54),
        ("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~", 17.91, 19.14),
    ],
)
def test_texts_are_not_wider_than_estimated(text: str, normal: float, bold: float) -> None:
    assert normal <= _Font(1, "").width(text) <= 1.2 * normal
    assert bold <= _Font(1, "", "bold").width(text) <= 1.2 * bold


def test_widths_of_characters_beyond_ascii_are_estimated() -> None:
    def width(text: str) -> float:
        return _Font(1, "").width(text)

    assert width("é") == width("e") == width("e\N{COMBINING ACUTE ACCENT}")
    assert width("広") == 1
    assert width("🚀") > 1.3
    assert width("Ж") > 0.9


def channels(colour: str) -> list[float]:
    return [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]


def linear(colour: str) -> list[float]:
    return [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels(colour)]


def luminance(colour: str) -> float:
    red, green, blue = linear(colour)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one_colour: str, other: str) -> float:
    dark, light = sorted([luminance(one_colour), luminance(other)])
    return (light + 0.05) / (dark + 0.05)


# Machado, Oliveira and Fernandes 2009, severity 1; and none at all.
SIGHTS: Final = {
    "full": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "protanopia": (
        (0.152286, 1.052583, -0.204868),
        (0.114503, 0.786281, 0.099216),
        (-0.003882, -0.048116, 1.051998),
    ),
    "deuteranopia": (
        (0.367322, 0.860646, -0.227968),
        (0.280085, 0.672501, 0.047413),
        (-0.011820, 0.042940, 0.968881),
    ),
    "greyscale": ((0.2126, 0.7152, 0.0722),) * 3,
}


def seen(colour: str, sight: str) -> list[float]:
    """Give a colour as L*a*b* for eyes of that sight."""
    rgb = [
        min(max(sum(k * c for k, c in zip(row, linear(colour), strict=True)), 0), 1)
        for row in SIGHTS[sight]
    ]
    to_xyz = (
        (0.4124 / 0.9505, 0.3576 / 0.9505, 0.1805 / 0.9505),
        (0.2126, 0.7152, 0.0722),
        (0.0193 / 1.089, 0.1192 / 1.089, 0.9505 / 1.089),
    )
    xyz = [sum(k * c for k, c in zip(row, rgb, strict=True)) for row in to_xyz]
    x, y, z = (c ** (1 / 3) if c > 0.008856 else 7.787 * c + 16 / 116 for c in xyz)
    return [116 * y - 16, 500 * (x - y), 200 * (y - z)]


def silhouette(element: ET.Element) -> tuple[str, int, int, bool]:
    """Tell a bar from a hollow one, a diamond, a triangle, a circle, a square."""
    corners = points(element) if tag(element) == "path" else []
    return (
        tag(element),
        len(corners),
        len({x for x, _ in corners}),
        element.attrib.get("stroke", WHITE) != WHITE,
    )


def samples() -> dict[str, ET.Element]:
    """Find what the legend shows for each of its words."""
    elements = list(drawn(everything))
    return {
        element.text or "": next(
            e for e in reversed(elements[:index]) if e.attrib.get("fill") not in {"none", None}
        )
        for index, element in enumerate(elements)
        if tag(element) == "text" and element.attrib["text-anchor"] == "start"
    }


@pytest.mark.parametrize("sight", SIGHTS)
def test_what_colours_do_not_tell_apart_shapes_do(sight: str) -> None:
    legend = samples()
    assert len(legend) == 6
    alike = {
        (one_word, other)
        for (one_word, a), (other, b) in itertools.combinations(legend.items(), 2)
        if math.dist(seen(a.attrib["fill"], sight), seen(b.attrib["fill"], sight)) < 25
    }
    for one_word, other in alike:
        assert silhouette(legend[one_word]) != silhouette(legend[other])


def test_every_sample_of_the_legend_has_a_shape_of_its_own() -> None:
    outlines = {word: silhouette(element) for word, element in samples().items()}
    assert len(set(outlines.values())) == len(outlines) == 6
    assert outlines["interrupted"] == silhouette(triangles(row(drawn(everything), "returns"))[0])


def test_the_bars_differ_in_lightness_and_the_marks_stand_out() -> None:
    assert contrast(BLUE, CREAM) >= 4.5
    for colour in (GREEN, RED, PURPLE, BLUE):
        assert contrast(colour, WHITE) >= 4.5

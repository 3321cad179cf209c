"""What a run group costs, beside what you would write by hand and beside its peers.

    python -m pip install -e '.[bench]' && python tests/benchmarks

How it is measured. Every figure but the counted ones is a ratio to a bare nursery whose
first finisher cancels it. A round lets every contender do the same work once, in an order
drawn anew, in one process, each in a `trio.run` of its own whose start and end are not
counted; a sample repeats small work until it takes 10 ms. The ratio is taken within the
round, the table shows the median of the rounds. Time is the CPU time of the process; the
garbage collector is on, and has just been run before each sample. Before anything is
measured, every contender is checked: that it began, ended and interrupted all it should,
kept the outcome if it says so, and ended what outstayed its grace (`contenders.check`).
Only Go's figure is made otherwise: by a program of its own, afterwards, on the wall
clock, with as many processors as it takes.
"""

from __future__ import annotations

import argparse
import functools
import importlib.metadata
import platform
import random
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

import attrs
import measures
import oklog_run
from contenders import BARE, CONTENDERS, Contender, check

Samples: TypeAlias = dict[str, list[float]]  # a contender's name, its value in each round

MANY: Final = 1_000
NUMBERS: Final = (1, 10, MANY, 100_000)
ENOUGH: Final = 0.01  # seconds for a sample
NOTHING: Final = ""


class Table:
    """A table, as text or in Markdown; the first column holds words, the others figures."""

    def __init__(self, *head: str) -> None:
        self.rows = [head]

    def add(self, *row: str) -> None:
        self.rows.append(row)

    def text(self) -> str:
        rows = [[cell.replace("*", "").replace("`", "") for cell in row] for row in self.rows]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        return "\n".join(
            "  ".join(
                cell.rjust(width) if number else cell.ljust(width)
                for number, (cell, width) in enumerate(zip(row, widths, strict=True))
            )
            for row in rows
        )

    def markdown(self) -> str:
        rule = ["---", *["--:"] * (len(self.rows[0]) - 1)]
        return "\n".join(f"| {' | '.join(row)} |" for row in [self.rows[0], rule, *self.rows[1:]])


@attrs.define(eq=False)
class Benchmark:
    """One run of it all: who takes part, how often, and what came out."""

    taking_part: Sequence[Contender]
    rounds: int
    numbers: Sequence[int]
    exact: bool  # medians without their quartiles
    spreads: list[float] = attrs.field(factory=list[float], init=False)

    @property
    def on_trio(self) -> list[Contender]:
        return [each for each in self.taking_part if not each.on_asyncio]

    def interleave(
        self,
        title: str,
        measure: Callable[[Contender], float],
        contenders: Sequence[Contender],
        rounds: int,
    ) -> Samples:
        """Let every contender be measured once in each round."""
        start = time.perf_counter()
        samples: Samples = {each.name: [] for each in contenders}
        for _ in range(rounds):
            for each in random.sample(contenders, len(contenders)):
                samples[each.name].append(measure(each))
        progress(f"{title}: {rounds} rounds, {time.perf_counter() - start:.1f} s")
        return samples

    def ratios(self, samples: Samples, contender: Contender) -> list[float]:
        """Compare with the bare nursery, round by round."""
        return [a / b for a, b in zip(samples[contender.name], samples[BARE.name], strict=True)]

    def cell(self, samples: Samples, contender: Contender) -> str:
        """Tell the median of the ratios; in a text also the quartiles."""
        if contender.name not in samples:
            return NOTHING
        ratios = self.ratios(samples, contender)
        median = statistics.median(ratios)
        if contender is BARE or len(ratios) == 1:
            return f"{median:.2f}"
        low, _, high = statistics.quantiles(ratios, n=4, method="inclusive")
        self.spreads.append((high - low) / median)
        return f"{median:.2f}" if self.exact else f"{median:.2f} ({low:.2f}-{high:.2f})"

    def measure_times(self) -> dict[int, Samples]:
        times: dict[int, Samples] = {}
        for n in self.numbers:
            repeats = measures.repeats_for(BARE, n, ENOUGH)
            measure = functools.partial(measures.time_to_run, n=n, repeats=repeats)
            rounds = self.rounds if n <= MANY else max(1, self.rounds // 6)
            times[n] = self.interleave(f"n = {n:,}", measure, self.taking_part, rounds)
        return times

    def costs(self, times: dict[int, Samples], bytes_at: int) -> Table:
        peaks = self.interleave(
            f"memory at n = {bytes_at:,}",
            functools.partial(measures.peak_bytes, n=bytes_at),
            self.taking_part,
            rounds=1,
        )
        table = Table(
            "n sleepers and one that ends", *[f"n = {n:,}" for n in times], "peak bytes per actor"
        )
        for each in self.taking_part:
            peak = f"{peaks[each.name][0]:,.0f} = {self.ratios(peaks, each)[0]:.2f}"
            table.add(each.label, *[self.cell(times[n], each) for n in times], peak)
        in_go = oklog_run.measure(self.numbers)
        if isinstance(in_go, str):
            progress(f"oklog/run: not measured: {in_go}")
            row = ["not measured", *[NOTHING] * (len(times) - 1)]
        else:
            row = [f"{in_go[n] / statistics.median(times[n][BARE.name]):.3f}" for n in times]
        table.add("Go's oklog/run", *row, NOTHING)
        return table

    def more(self, times: dict[int, Samples]) -> Table:
        n = MANY
        few = max(3, self.rounds // 3)
        columns = [
            self.interleave(title, functools.partial(measure, n=n), self.on_trio, how_often)
            for title, measure, how_often in (
                ("first exit to return", measures.time_to_stop, self.rounds),
                ("cancelled from outside", measures.time_to_be_cancelled, self.rounds),
                ("nested", measures.time_of_nested, few),
                ("side by side", measures.time_side_by_side, few),
            )
        ]
        grows = MANY in times and max(times) > MANY
        table = Table(
            "",
            f"first exit to return, n = {n:,}",
            f"cancelled from outside, n = {n:,}",
            f"{n:,} nested",
            f"{n:,} side by side",
            "scheduler steps, n = 10",
            "of them while all run",
            *([f"an actor of {max(times):,} : of {n:,}"] if grows else []),
        )
        for each in self.on_trio:
            steps = str(max(measures.steps_of_a_run(each, 10) for _ in range(20)))
            idle = str(measures.steps_while_running(each, 10))
            growth: list[str] = []
            if grows:
                per_actor = [
                    statistics.median(times[number][each.name]) / (number + 1)
                    for number in (max(times), n)
                ]
                growth = [f"{per_actor[0] / per_actor[1]:.2f}"]
            cells = [self.cell(samples, each) for samples in columns]
            table.add(each.label, *cells, steps, idle, *growth)
        return table

    def facts(self, times: dict[int, Samples]) -> list[str]:
        bare = [f"{statistics.median(times[n][BARE.name]) * 1e6:,.0f}" for n in times]
        pairs = [
            (
                measures.time_to_import("trio"),
                measures.time_to_import("trio_rungroup", "trio"),
            )
            for _ in range(max(3, self.rounds))
        ]
        trio, ours = [statistics.median(column) * 1000 for column in zip(*pairs, strict=True)]
        widest = sorted(self.spreads)
        return [
            f"Python {platform.python_version()}, trio {importlib.metadata.version('trio')}; "
            f"medians of {self.rounds} rounds",
            f"the bare nursery took {' / '.join(bare)} µs",
            f"`import trio_rungroup` took {ours:.1f} ms after `import trio`, which took "
            f"{trio:.0f} ms",
            f"half of the rounds lie within {statistics.median(widest):.0%} of each other in "
            f"the median cell, within {widest[-1]:.0%} in the worst"
            if widest
            else "one round only",
        ]


def progress(text: str) -> None:
    """Tell how far it is, apart from the results."""
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    """Measure all, and print two tables and what goes with them."""
    names = [each.name for each in CONTENDERS]
    parser = argparse.ArgumentParser(prog="python tests/benchmarks", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--quick", action="store_true", help="a first impression, in half a minute")
    parser.add_argument(
        "--only", metavar="NAME", action="append", choices=names, help=", ".join(names)
    )
    parser.add_argument(
        "--n", type=int, action="append", help=f"the number of sleepers; else {NUMBERS}"
    )
    parser.add_argument("--rounds", type=int, help="default 18; a sixth of it for n > 1,000")
    parser.add_argument("--times", action="store_true", help="only the times for each n")
    parser.add_argument("--markdown", action="store_true", help="the tables of the README")
    args = parser.parse_args()

    wanted = [each for each in CONTENDERS if each is BARE or each.name in (args.only or names)]
    taking_part = [each for each in wanted if each.is_installed]
    for each in wanted:
        if each not in taking_part:
            progress(f"{each.name}: not installed, left out")
    for each in taking_part:
        check(each)
    progress(f"checked: {', '.join(each.name for each in taking_part)}")

    numbers = args.n or [n for n in NUMBERS if n <= MANY or not args.quick]
    rounds = args.rounds or (3 if args.quick else 18)
    benchmark = Benchmark(taking_part, rounds, numbers, exact=args.markdown)
    times = benchmark.measure_times()
    tables = [benchmark.costs(times, bytes_at=MANY)]
    if not args.times:
        tables.append(benchmark.more(times))
    for table in tables:
        print(table.markdown() if args.markdown else table.text(), end="\n\n")
    for fact in benchmark.facts(times):
        print(f"- {fact}")


if __name__ == "__main__":
    main()

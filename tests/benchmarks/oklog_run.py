"""Go's oklog/run itself, for orientation, where Go is installed and the module can be had.

It comes from Go's module proxy or, on Debian, from the packages `golang-go` and
`golang-github-oklog-run-dev`.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

_DEBIANS: Final = Path("/usr/share/gocode")
_MODULE: Final = "module benchmark\n\ngo 1.19\n\nrequire github.com/oklog/run v1.2.0\n"
_PROGRAM: Final = """
package main

import (
	"encoding/json"
	"os"
	"sort"
	"strconv"
	"time"

	"github.com/oklog/run"
)

// What the contenders in Python do: n actors that wait, each to be interrupted, and one
// that ends.
func once(n int) {
	var group run.Group
	for i := 0; i < n; i++ {
		done := make(chan struct{})
		group.Add(func() error { <-done; return nil }, func(error) { close(done) })
	}
	group.Add(func() error { return nil }, func(error) {})
	group.Run()
}

func main() {
	medians := map[string]float64{}
	for _, arg := range os.Args[1:] {
		n, _ := strconv.Atoi(arg)
		repeats := 1 + 20000/(n+1)
		var samples []float64
		for i := 0; i < 15; i++ {
			start := time.Now()
			for j := 0; j < repeats; j++ {
				once(n)
			}
			samples = append(samples, time.Since(start).Seconds()/float64(repeats))
		}
		sort.Float64s(samples)
		medians[arg] = samples[len(samples)/2]
	}
	json.NewEncoder(os.Stdout).Encode(medians)
}
"""


def measure(numbers: Sequence[int]) -> dict[int, float] | str:
    """Time oklog/run, in seconds per run for each number of actors; or say why not."""
    go = shutil.which("go")
    if go is None:
        return "Go is not installed"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "go.mod").write_text(_MODULE, encoding="utf-8")
        (folder / "main.go").write_text(_PROGRAM, encoding="utf-8")
        build, environment = [go, "build", "-mod=mod", "-o", "benchmark", "."], {**os.environ}
        if (_DEBIANS / "src/github.com/oklog/run").exists():
            build.remove("-mod=mod")
            environment |= {"GO111MODULE": "off", "GOPATH": str(_DEBIANS)}
        try:
            subprocess.run(
                build, cwd=folder, env=environment, check=True, capture_output=True, timeout=60
            )
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
            return "the module github.com/oklog/run cannot be had here"
        run = [str(folder / "benchmark"), *map(str, numbers)]
        done = subprocess.run(run, check=True, capture_output=True, text=True)
    return {int(n): seconds for n, seconds in json.loads(done.stdout).items()}

"""Run notebooks in fresh kernels and store what a reader sees: `python refresh.py [NN ...]`.

Without numbers, all of them. With `--to FOLDER` the results go there, for a comparison; that
is what tests/test_notebooks.py does. The same code gives the same file, byte for byte.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellTimeoutError

HERE = Path(__file__).parent.resolve()
AT_ONCE = 2  # kernels
PATIENCE = 120  # seconds for a cell


async def refresh(notebook: Path, target: Path) -> str | None:
    """Execute one notebook; tell what went wrong, if it could not be executed.

    Jupyter looks for ports that are free, and hands them to the kernel. Another process may have
    taken one by then, and the kernel dies before it has begun: so there are three trials.
    """
    problem = None
    for _ in range(3):
        problem = await execute(notebook, target)
        if problem is None or "Kernel died before replying" not in problem:
            break
    return problem


async def execute(notebook: Path, target: Path) -> str | None:
    """Execute a notebook in a kernel of its own, once."""
    content = nbformat.read(notebook, as_version=4)  # type: ignore[no-untyped-call]
    client = NotebookClient(
        content,
        kernel_name="python3",
        timeout=PATIENCE,
        record_timing=False,
        coalesce_streams=True,
        allow_errors=True,  # the tests tell which cell may fail
        resources={"metadata": {"path": str(HERE)}},
    )
    try:
        await client.async_execute()
    except (CellTimeoutError, RuntimeError) as error:  # or the kernel has died
        return f"{notebook.name}: {error}"
    content.metadata = {
        "kernelspec": {
            "display_name": "Python 3 (ipykernel)",
            "language": "python",
            "name": "python3",
        }
    }
    for cell in content.cells:
        cell.metadata = {k: v for k, v in cell.metadata.items() if k == "tags"}
        for output in cell.get("outputs", ()):
            if "metadata" in output:
                output.metadata = {}
    nbformat.write(content, target / notebook.name)  # type: ignore[no-untyped-call]
    return None


async def refresh_all(notebooks: list[Path], target: Path) -> list[str]:
    """Execute notebooks, a few at a time."""
    limit = asyncio.Semaphore(AT_ONCE)

    async def one(notebook: Path) -> str | None:
        async with limit:
            return await refresh(notebook, target)

    results = await asyncio.gather(*map(one, notebooks))
    return [problem for problem in results if problem is not None]


def main() -> int:
    """Read the command line; the exit status tells how many notebooks could not be run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("numbers", nargs="*", metavar="NN")
    parser.add_argument("--to", type=Path, default=HERE, metavar="FOLDER")
    options = parser.parse_args()
    wanted = tuple(options.numbers)
    notebooks = sorted(p for p in HERE.glob("*.ipynb") if not wanted or p.name.startswith(wanted))
    with tempfile.TemporaryDirectory() as settings:
        # Nobody's own settings of IPython or Jupyter, and no warning about a debugger.
        os.environ |= {"IPYTHONDIR": settings, "JUPYTER_CONFIG_DIR": settings}
        os.environ |= {"PYDEVD_DISABLE_FILE_VALIDATION": "1", "JUPYTER_PLATFORM_DIRS": "1"}
        problems = asyncio.run(refresh_all(notebooks, options.to))
    print(*problems, sep="\n", end="\n" if problems else "")
    return len(problems)


if __name__ == "__main__":
    sys.exit(main())

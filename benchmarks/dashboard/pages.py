"""Time and memory of every page with a million points in the store, and with 1,000 layers.

    OMP_NUM_THREADS=1 python -m benchmarks.dashboard.pages

100 runs of 10,000 points each of a network of 20 layers, and 2,000 points of one with 1,000 layers.
Each page is opened in a process of its own, as the first visitor after a start would: the script
runs, every chart and table is made; what the browser then draws is `benchmarks.dashboard.ui`'s.
"again" is the same page a second time, from caches. Takes about ten minutes, most of them to fill
the store; the filled one is kept in --folder.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

RESULTS = Path(__file__).parents[1] / "results" / "pages.json"
ROOT = Path(__file__).parents[2]
PAGES = ("explore", "searches", "compare", "workbench", "models", "configs", "guide", "settings")


def visit(page: str, model: str) -> dict[str, float]:
    """Open a page twice in this process; seconds of each and the peak memory in MiB."""
    from streamlit.testing.v1 import AppTest

    at = AppTest.from_file(ROOT / "app.py", default_timeout=600)
    at.query_params["model"] = model
    if page != "explore":
        at.switch_page(f"pages/views/{page}.py")
    seconds = []
    for _ in range(2):
        started = time.perf_counter()
        at.run()
        seconds.append(round(time.perf_counter() - started, 2))
        if at.exception:
            raise RuntimeError(f"{page}: {at.exception[0].message}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"first_s": seconds[0], "again_s": seconds[1], "peak_mib": round(peak)}


def fill(folder: Path, points: int) -> None:
    """Store the runs once."""
    from benchmarks.dashboard import large
    from store import open_store

    if (folder / "filled").exists():
        return
    store = open_store(folder / "bitdial.db")
    large.fill(store, layers=20, points=points, runs=100, name="wide")
    large.fill(store, layers=1000, points=2000, runs=2, name="deep")
    (folder / "filled").touch()


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("bitdial-data") / "pages")
    parser.add_argument("--points", type=int, default=1_000_000)
    parser.add_argument("--visit", nargs=2, metavar=("PAGE", "MODEL"))
    arguments = parser.parse_args()
    if arguments.visit:
        print(json.dumps(visit(*arguments.visit)))
        return
    arguments.folder.mkdir(parents=True, exist_ok=True)
    fill(arguments.folder, arguments.points)
    environment = {**os.environ, "BITDIAL_DATA": str(arguments.folder)}
    environment.pop("BITDIAL_DATABASE_URL", None)
    rows = []
    for page in PAGES:
        for model in ("wide", "deep"):
            done = subprocess.run(
                [sys.executable, "-m", "benchmarks.dashboard.pages", "--visit", page, model],
                env=environment,
                capture_output=True,
                text=True,
                check=True,
            )
            row = {"page": page, "model": model, **json.loads(done.stdout.splitlines()[-1])}
            rows.append(row)
            print(
                f"{page:10} {model:5} {row['first_s']:7.2f} s  again {row['again_s']:6.2f} s  "
                f"{row['peak_mib']:5} MiB",
                flush=True,
            )
    size = (arguments.folder / "bitdial.db").stat().st_size / 2**20
    RESULTS.write_text(json.dumps({"points": arguments.points, "rows": rows}, indent=1) + "\n")
    print(f"{arguments.points:,} points; the file has {size:,.0f} MiB")


if __name__ == "__main__":
    main()

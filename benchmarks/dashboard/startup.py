"""Start-up time and memory of the dashboard's own process, and that torch is not in it.

python -m benchmarks.dashboard.startup

CPU seconds, so that other work on the machine does not count; the interpreter's own start is in.
"""

import json
import subprocess
import sys
from pathlib import Path

RESULTS = Path(__file__).parents[1] / "results"
PROBE = """
import json, resource, sys, time
{imports}
print(json.dumps({{
    "cpu_s": time.process_time(),
    "mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    "torch": "torch" in sys.modules,
}}))
"""
PAGES = "import streamlit, app, pages.plots.front, pages.shared.widgets, store"
CASES = {
    "nothing": "",
    "the libraries alone": "import streamlit, plotly.graph_objects, pandas, sqlalchemy",
    "every page's imports": PAGES,
    "the same and torch": f"{PAGES}, torch",
}


def main() -> None:
    """Print and store seconds and peak memory of each import set; best of three processes."""
    rows = {}
    for name, imports in CASES.items():
        command = [sys.executable, "-c", PROBE.format(imports=imports)]
        runs = []
        for _ in range(3):
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            runs.append(json.loads(done.stdout.splitlines()[-1]))
        rows[name] = min(runs, key=lambda run: run["cpu_s"])
        row = rows[name]
        print(f"{name:40} {row['cpu_s']:.2f} s  {row['mib']:.0f} MiB  torch: {row['torch']}")
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "startup.json").write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()

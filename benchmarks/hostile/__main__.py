"""Opens every hostile file in a fresh process, and prints what that took as a table.

`python -m benchmarks.hostile [--only WORD]`; exit code 1 where one took more than 1 GiB, more
seconds than it may, or ended in a traceback. `--good` opens large files that are as they should be;
exit code 1 where one is not read.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.hostile.files import File, files
from benchmarks.hostile.good import good_files

MOST_MB = 2**30 / 1e6
MOST_S = 600.0
ROOT = Path(__file__).parents[2]


def opened(file: File, folder: Path) -> dict[str, object]:
    """Write a file, open it in a process of its own, and tell what that took."""
    path = folder / f"hostile{file.suffix}"
    file.write(path)
    size = path.stat().st_size
    env = {**os.environ, "BITDIAL_DATA": str(folder / "data"), "BITDIAL_RECORDINGS": "no"}
    env.pop("BITDIAL_DATABASE_URL", None)
    words = [sys.executable, "-m", "benchmarks.hostile.opened", file.kind, str(path)]
    done = subprocess.run(
        words, cwd=ROOT, env=env, capture_output=True, text=True, timeout=2 * MOST_S, check=False
    )
    lines = done.stdout.splitlines()
    told = json.loads(lines[-1]) if lines and done.returncode == 0 else {}
    return {"size": size, "error": done.stderr[-2000:]} | told


def row(file: File, told: dict[str, object]) -> str:
    """A row of the table."""
    size, seconds = float(str(told["size"])), float(str(told["seconds"]))
    memory = " + ".join(f"{float(str(told[who])):,.0f}" for who in ("parent", "child") if told[who])
    said = " ".join(str(told["words"]).split()).replace("|", "/")[:90]
    what = f"{file.kind} `{file.suffix}` | {file.name} | {size / 1e6:,.2f}"
    return f"| {what} | {memory} | {seconds:.1f} | {said} |"


def main() -> int:
    """The table, and whether all bounds were kept."""
    given = argparse.ArgumentParser(prog="python -m benchmarks.hostile", description=__doc__)
    given.add_argument("--only", default="", help="only files with this in their kind or name")
    given.add_argument("--good", action="store_true", help="large files that must be read")
    words = given.parse_args()
    only = words.only
    sys.stdout.write(
        "| file | what is wrong | MB | peak memory, MB | s | said |\n|---|---|---|---|---|---|\n"
    )
    bad = 0
    for file in good_files() if words.good else files():
        if only not in f"{file.kind} {file.suffix} {file.name}":
            continue
        with tempfile.TemporaryDirectory() as folder:
            told = opened(file, Path(folder))
        if "seconds" not in told:
            bad += 1
            sys.stdout.write(
                f"| {file.kind} `{file.suffix}` | {file.name} | traceback |\n{told['error']}\n"
            )
            continue
        peaks = max(float(str(told["parent"])), float(str(told["child"])))
        if words.good:
            bad += told["words"] != "read"
        else:
            bad += peaks > MOST_MB or float(str(told["seconds"])) > MOST_S
        sys.stdout.write(row(file, told) + "\n")
        sys.stdout.flush()
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())

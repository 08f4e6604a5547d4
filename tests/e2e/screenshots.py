"""Pictures of the pages for the README, from the running dashboard.

    python -m tests.e2e.screenshots [--out docs]

Starts the dashboard on a new data folder with the recorded results, or with made-up ones where
none are shipped, and writes every page in the light and the dark scheme.
"""

import argparse
import io
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image

from store import Store, all_runs, config_text, load_recordings, open_store, points_of, save_config
from store.runs.recorded import FOLDER
from tests.e2e.conftest import FLAGS, ROOT, serve
from tests.pages import sample

SIZE = {"width": 1400, "height": 1000}
MOST_BYTES = 200_000
MILLISECONDS = 90_000.0
NAMES = ("chromium", "chromium-browser", "google-chrome")
LANDMARKS = {
    "explore": "canvas.heat",
    "searches": ".js-plotly-plot",
    "compare": ".js-plotly-plot",
    "workbench": ".js-plotly-plot",
    "models": "[data-testid=stDataFrame] canvas",
    "configs": "[data-testid=stDownloadButton]",
}
"""Page to what is there once it is drawn."""


def fill(store: Store) -> None:
    """Recorded results, or made-up ones; two configurations are kept."""
    if not any(FOLDER.glob("*.json.gz")) or not load_recordings(store):
        sample.fill(store)
    ready = [
        point
        for run in all_runs(store)
        for point in points_of(store, [run.id])
        if point.has_config and point.point.search is not None
    ]
    ready.sort(key=lambda point: point.point.search.headline)
    for name, at in (("Smallest that is good enough", len(ready) // 3), ("Best", -1)):
        content = config_text(store, ready[at].id)
        if content is not None:
            save_config(store, name, content, source={"run": ready[at].run_id})


def query_of(store: Store) -> dict[str, str]:
    """What the address of each page says after its path: runs to compare, a run to look at."""
    found = [run for run in all_runs(store) if run.spec.model == "resnet8" and run.evaluations > 1]
    best: dict[str, int] = {}
    for run in found:
        if run.state == "done":
            best[run.spec.search] = run.id
    wanted = [best[name] for name in ("uniform", "random", "exact", "portfolio") if name in best]
    listed = "%2C".join(str(number) for number in wanted or [run.id for run in found][:4])
    number = best.get("portfolio", 1)
    points = [point for point in points_of(store, [number]) if point.has_config]
    edited = f"&pt={number}%3A{points[len(points) // 2].id}" if points else ""
    return {"compare": f"&runs={listed}", "searches": f"&run={number}", "workbench": edited}


def shrunk(png: bytes) -> bytes:
    """The picture in at most MOST_BYTES: with as many colours as fit."""
    picture = Image.open(io.BytesIO(png)).convert("RGB")
    content = png
    for colours in (256, 128, 64, 32):
        if len(content) <= MOST_BYTES:
            break
        out = io.BytesIO()
        picture.quantize(colours, dither=Image.Dither.NONE).save(out, "PNG", optimize=True)
        content = out.getvalue()
    return content


def settle(page: Any, landmark: str) -> None:
    """Wait until the page is drawn: its script has run, nothing loads, charts stand still."""
    page.locator(landmark).first.wait_for(timeout=MILLISECONDS)
    page.wait_for_selector(
        "[data-testid=stApp][data-test-script-state=notRunning]", timeout=MILLISECONDS
    )
    page.wait_for_load_state("networkidle")
    page.evaluate("document.fonts.ready")
    page.evaluate(
        "() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"
    )


@contextmanager
def browser() -> Iterator[Any]:
    """The browser that the tests use."""
    from playwright.sync_api import sync_playwright

    path = os.environ.get("E2E_BROWSER") or next(filter(None, map(shutil.which, NAMES)), None)
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        yield opened
        opened.close()


def main(out: Path) -> None:
    """Write the pictures into a folder."""
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as place:
        data = Path(place) / "data"
        store = open_store(data / "bitdial.db")
        fill(store)
        queries = query_of(store)
        store.engine.dispose()
        with serve(data) as server, browser() as opened:
            for scheme, ending in (("light", ""), ("dark", "-dark")):
                context = opened.new_context(
                    viewport=SIZE, color_scheme=scheme, reduced_motion="reduce"
                )
                page = context.new_page()
                for name, landmark in LANDMARKS.items():
                    path = "" if name == "explore" else name
                    page.goto(f"{server.url}/{path}?model=resnet8{queries.get(name, '')}")
                    settle(page, landmark)
                    content = shrunk(page.screenshot())
                    target = out / f"{name}{ending}.png"
                    target.write_bytes(content)
                    sys.stdout.write(f"{target}: {len(content):,} bytes\n")
                context.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, default=ROOT / "docs", help="folder of the pictures")
    main(parser.parse_args().out)

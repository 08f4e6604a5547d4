"""A newcomer's way: start, search, choose, take away, and get the same accuracy elsewhere."""

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from qcore import load_bits
from qcore.errors import RunFinished
from store import all_runs, open_store, request_cancel
from tests.e2e.conftest import serve

pytestmark = [
    pytest.mark.e2e,
    # Playwright's event loop is closed by its own driver
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]

ROOT = Path(__file__).parents[2]
MINUTES = 60_000.0

REPRODUCE = """
import sys
import torch
from qcore import apply_bits, load_bits, load_model
from qcore.data import load_data

torch.set_num_threads(1)
config = load_bits(sys.argv[1])
model = apply_bits(load_model(config.model.name), config)
images = load_data(
    "fashion-mnist", calibration=512, search=512, model=config.model.name
).test
with torch.inference_mode():
    right = sum(
        int((model(x).argmax(1) == y).sum()) for x, y in images.batches(256)
    )
claimed = round(config.test.accuracy * config.test.n)
assert abs(right - claimed) <= 1, f"{right} of {config.test.n} right, the file says {claimed}"
print("reproduced", right, claimed)
"""


@pytest.fixture
def environment(to_the_end, few_images):
    """What the server and its workers are started with: by default few images to report on."""
    if to_the_end:
        return {}
    few = str(ROOT / "tests" / "e2e" / "few")
    return {"PYTHONPATH": few, "BITDIAL_FEW_IMAGES": str(few_images), "BITDIAL_WORKERS": "1"}


@pytest.fixture
def empty_server(tmp_path, environment):
    with serve(tmp_path / "data", **environment) as running:
        yield running


def cancel_all_but_the_ladder(data):
    """Leave only uniform bits to be measured, of what the first search starts."""
    store = open_store(data / "bitdial.db")
    for run in all_runs(store):
        if run.spec.search != "uniform":
            with suppress(RunFinished):
                request_cancel(store, run.id)
    store.engine.dispose()


@pytest.mark.parametrize("to_the_end", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_from_an_empty_folder_to_a_configuration_that_keeps_its_promise(
    empty_server, environment, page, tmp_path, to_the_end
):
    from playwright.sync_api import TimeoutError as PlaywrightTimeout

    # a link is the first thing this server is asked for
    page.goto(f"{empty_server.url}/searches")
    page.get_by_text("No search was started yet").wait_for(timeout=MINUTES)
    assert page.get_by_text("Page not found").count() == 0
    page.goto(empty_server.url)
    page.get_by_text("Nothing was measured for this model yet").wait_for(timeout=MINUTES)
    page.get_by_role("button", name="Start the first search").click()
    page.get_by_text("Uniform bits on resnet8").first.wait_for(timeout=MINUTES)

    # points arrive by themselves; the explorer appears with them
    page.locator("canvas.heat").last.wait_for(timeout=2 * MINUTES)
    if not to_the_end:
        cancel_all_but_the_ladder(empty_server.data)
    page.get_by_text("No search is running").wait_for(timeout=4 * MINUTES)
    download = page.get_by_test_id("stDownloadButton").get_by_role("button").first
    measure = page.get_by_role("button", name="Measure and prepare")
    download.or_(measure).first.wait_for(timeout=MINUTES)
    if measure.is_visible():
        # the best within the budget was no end of a step: one click makes its file, unless the
        # search that has just ended made it
        with suppress(PlaywrightTimeout):
            measure.click(timeout=MINUTES / 4)
    download.wait_for(timeout=2 * MINUTES)
    with page.expect_download(timeout=MINUTES) as waiting:
        download.click()
    path = tmp_path / waiting.value.suggested_filename
    waiting.value.save_as(path)

    done = subprocess.run(
        [sys.executable, "-c", REPRODUCE, str(path)],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "reproduced" in done.stdout
    assert load_bits(path).test.n == (10_000 if to_the_end else 500)

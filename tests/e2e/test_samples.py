"""Samples in a real browser: asked for, computed by a process of their own, chosen by number."""

import numpy as np
import pytest

from qcore.allocation import BitAllocation
from qcore.formats.config import dump_bits
from qcore.prepare import prepare
from qcore.run_spec import RunSpec
from store import open_store, save_config
from tests.e2e.conftest import serve

pytestmark = [
    pytest.mark.e2e,
    # Playwright's event loop is closed by its own driver
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]

MINUTES = 60_000.0


@pytest.fixture
def kept(tmp_path):
    """A dashboard that keeps one configuration, measured on a few made-up images."""
    file = tmp_path / "small.npz"
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 256, (64, 1, 28, 28), np.uint8), rng.integers(0, 10, 64)
    np.savez(file, x=x, y=y, y_names=np.array([f"<i>{n}</i>" for n in range(10)]))
    counts = {"calibration_images": 16, "search_images": 12}
    spec = RunSpec("resnet8", f"tensors:{file}", "given", device="cpu", **counts)
    prepared = prepare(spec)
    bits = BitAllocation.uniform(prepared.model.layers, 2, 32)
    point = prepared.report(next(prepared.score([bits])))
    data = tmp_path / "data"
    data.mkdir()
    config = prepared.config(point, {"data": spec.data, **counts})
    save_config(open_store(data / "bitdial.db"), "kept", dump_bits(config))
    with serve(data) as running:
        yield running


def test_samples_are_computed_on_request_and_chosen_by_number(kept, page):
    page.goto(f"{kept.url}/configs?model=resnet8&config=1")
    page.get_by_role("button", name="Look at samples").click()
    panel = page.locator(".st-key-samples-panel")
    panel.get_by_text("All 12 samples of the search split").wait_for(timeout=3 * MINUTES)
    panel.get_by_text("no sample has more").wait_for()
    # the picture, and two bars for each of ten classes
    panel.locator(".js-plotly-plot .heatmaplayer image").wait_for(state="attached")
    assert panel.locator(".js-plotly-plot .bars .point").count() == 20
    panel.get_by_role("combobox").fill("7")
    page.get_by_role("option", name="7", exact=True).click()
    panel.get_by_text("Sample 7", exact=True).wait_for()
    page.get_by_role("button", name="Hide samples").click()
    panel.wait_for(state="detached")
    # it is kept: nothing is computed again
    (record,) = (kept.data / "samples").glob("*.json")
    written = record.stat().st_mtime_ns
    page.get_by_role("button", name="Look at samples").click()
    panel.get_by_text("All 12 samples of the search split").wait_for()
    assert record.stat().st_mtime_ns == written

"""The explorer's JavaScript on an empty page: no dashboard, no server."""

import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from pages.explore import payload
from pages.explore.component import markup, script, style
from pages.explore.payload import picks
from pages.explore.view import read_view
from pages.shared import predictions
from pages.shared.held import NOTHING, Held
from pages.shared.judged import CLASSIFIER
from pages.shared.points_table import points_frame
from pages.shared.ranges import BUDGETS, spans_of
from qcore.allocation import BitAllocation, LayerBits, LayerSpec, ModelSpec
from qcore.problem import Point, Scores, SensitivityTable
from qcore.run_spec import RunSpec
from store import Run, StoredPoint

LOAD = """async ([script, css, html]) => {
    document.body.innerHTML = '<div id="host" style="width:1100px"></div>';
    const root = document.querySelector('#host').attachShadow({ mode: 'open' });
    const sheet = document.createElement('style');
    sheet.textContent = css;
    root.append(sheet, document.createRange().createContextualFragment(html));
    const url = URL.createObjectURL(new Blob([script], { type: 'text/javascript' }));
    window.code = await import(url);
    window.told = [];
    window.explorer = new code.Explorer(root);
    window.show = (data) => explorer.update({ data,
        setStateValue: (name, value) => told.push([name, value]),
        setTriggerValue: (name, value) => told.push([name, value]) });
}"""


def load(page: Any) -> None:
    """Put the explorer on the page; `show(payload)` in the page draws, `told` is what it sent."""
    page.goto("about:blank")
    page.evaluate(LOAD, [script(), style(), markup()])


def network(names: Sequence[str], seed: int = 0) -> ModelSpec:
    """A made-up network of layers with these names."""
    rng = random.Random(seed)
    layers = []
    for name in names:
        size = rng.randrange(100, 5000)
        layers.append(LayerSpec(name, "conv2d", size, 8, 8, 50 * size, 400, 400))
    return ModelSpec("made-up", "0" * 64, tuple(layers))


def run_of(number: int, search: str) -> Run:
    """A finished run that no database knows."""
    return Run(
        id=number,
        name=f"{search} {number}",
        spec=RunSpec("resnet8", "fashion-mnist", search),
        state="done",
        want="run",
        attempt=1,
        beat=0,
        step=3,
        total=4,
        message="measured 3 of 4",
        error=None,
        traceback=None,
        created="2026-01-01T00:00:00.000+00:00",
        started="2026-01-01T00:00:00.000+00:00",
        finished=None,
        evaluations=3,
    )


def measured(
    model: ModelSpec, searches: Sequence[str], points: int, seed: int = 0
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Random points of some searches, as a frame and as the explorer gets them."""
    rng = random.Random(seed)
    runs = {at: run_of(at, search) for at, search in enumerate(searches, start=1)}
    stored = []
    for number in range(points):
        bits = {
            layer.name: LayerBits(rng.choice((2, 3, 4, 8)), rng.choice((4, 8)))
            for layer in model.layers
        }
        # few distinct values, so that ties are many
        share, kl = rng.randrange(600, 640) / 1000, rng.randrange(1, 41) / 200
        tested = Scores(10_000, kl, share, share, 0.3) if number % 7 == 0 else None
        point = Point(BitAllocation(bits), Scores(1000, kl, share, share, 0.3), tested)
        stored.append(StoredPoint(number, 1 + number % len(runs), point, tested is not None))
    floats = (Scores(1000, 0.0, 1.0, 0.65), Scores(10_000, 0.0, 1.0, 0.65))
    frame = points_frame(stored, runs, model, floats=floats)
    answers = {
        s.id: np.random.default_rng(s.id).random(10_000) < 0.62 for s in stored if s.has_config
    }
    spans = spans_of(model)
    rows = picks.drawn(frame, list(BUDGETS))
    shared = payload.shared_payload("made-up", model, read_view({}, spans), spans, locked=True)
    body = payload.measured_body(model, rows, CLASSIFIER, 65.0, spans, answers=answers)
    return frame, {**shared, **body}


def predicted(model: ModelSpec, table: SensitivityTable, held: Held = NOTHING) -> dict[str, Any]:
    """The payload of predicted mode, with the exact answer where something is set."""
    spans = spans_of(model)
    view = read_view({}, spans)
    shared = payload.shared_payload("predicted", model, view, spans, held=held)
    limits = view.limits(spans)
    known = predictions.predicted_pick("x", table, model, limits, held=held) if held else None
    return payload.predicted_payload(
        shared, model, spans, "Exact optimum", table, known, limits, held=held
    )


def table_of(model: ModelSpec, seed: int = 0) -> SensitivityTable:
    """Damage that falls with every bit and differs by layer, weights and activations."""
    rng = random.Random(seed)

    def rows(scale: float) -> dict[str, dict[int, float]]:
        return {
            name: {bits: scale * rng.uniform(0.5, 20) * 0.3**bits for bits in (2, 3, 4, 8)}
            for name in model.names
        }

    return SensitivityTable("kl", "nats", rows(1.0), rows(0.3), n=1000)

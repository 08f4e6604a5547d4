"""Every search on networks that take no images, under their judges, with real training."""

import numpy as np
import pytest

from qcore.engine import drive
from qcore.errors import UnsupportedModel
from qcore.prepare import prepare
from qcore.run_spec import RunSpec
from qcore.searches import SEARCHES
from tests.qcore.searches.test_on_sequences import ALONE, short
from tests.qcore.test_typed_networks import MODULE, added, columns
from tests.variants import crossed

PARTS = 96


@pytest.fixture
def folder(monkeypatch, tmp_path):
    monkeypatch.setenv("BITDIAL_ALLOW_CODE", MODULE)
    monkeypatch.setenv("BITDIAL_DATA", str(tmp_path / "data"))
    return tmp_path


NETWORKS = ("language_model", "autoencoder", "detector")


@pytest.mark.parametrize(("network", "search"), crossed(NETWORKS, ALONE))
def test_it_ends_with_measured_points(network, search, folder):
    key = added(network, folder)
    given, later = columns(network, 200, 1), columns(network, PARTS, 2)
    if network == "autoencoder":  # signals to rebuild, not odd ones to find
        given["y"], later["y"] = given["x"], later["x"]
    both = given | {f"{name}_test": values for name, values in later.items()}
    np.savez(folder / "both.npz", **both)
    spec = RunSpec(
        key,
        f"tensors:{folder / 'both.npz'}",
        search,
        weight_bits=(2, 4, 8),
        calibration_images=40,
        search_images=40,
        judge={"name": "signal"} if network == "autoencoder" else None,
    )
    prepared = prepare(spec)
    if SEARCHES[search].trains:
        assert prepared.trainer.setup.images is not None

    def run():
        return drive(
            SEARCHES[search],
            prepared.problem,
            short(SEARCHES[search]),
            0,
            score=prepared.score,
            report=prepared.report,
            max_reported=2,
        )

    if search in ("spnets", "bitmixer") and network != "detector":
        with pytest.raises(UnsupportedModel, match="no batch-norm behind any layer"):
            run()
        return
    outcome = run()
    assert outcome.points
    for point in outcome.points:
        assert 0 <= point.search.kl < 50
    for point in outcome.reported:
        assert point.test.n == PARTS
        assert point.test.score_error is not None or network == "detector"

"""The picture of the mirror maps in the documents is what the maps give."""

import pytest
import torch

from benchmarks.training import mirror_figure


def test_the_pictures_are_of_the_present_maps():
    for dark, path in mirror_figure.FILES.items():
        assert path.read_text(encoding="utf-8") == mirror_figure.picture(dark)


@pytest.mark.parametrize("panel", mirror_figure.panels(), ids=lambda panel: panel[0])
def test_every_drawn_map_rises_and_sharpens_into_the_levels(panel):
    _, low, high, curve = panel
    x = torch.linspace(low, high, 401, dtype=torch.float64)
    hard = curve(x, None)
    steps = (hard.diff().abs() > 0).nonzero().flatten()
    away = torch.ones(len(x), dtype=torch.bool)
    for at in steps.tolist():
        away[max(0, at - 20) : at + 21] = False
    gaps = []
    for beta in (*mirror_figure.BETAS, 100.0):
        soft = curve(x, beta)
        assert (soft.diff() >= 0).all()
        gaps.append(float((soft - hard)[away].abs().max()))
    assert gaps == sorted(gaps, reverse=True)
    assert gaps[-1] < 1e-3

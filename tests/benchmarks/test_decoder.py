"""What the language model's benchmark says of losses, and its picture of them."""

import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from benchmarks import decoder, decoder_figure


def passages(rng, n):
    counts = rng.integers(20, 128, n).astype(float)
    return np.stack([counts * rng.uniform(2, 4, n), counts], 1)


def test_a_ratio_of_perplexities_is_paired_over_passages():
    theirs = passages(np.random.default_rng(0), 40)
    assert decoder.ratio(theirs, theirs) == {"percent": 0.0, "interval": [0.0, 0.0]}
    # every token dearer by as much: no passage says otherwise
    dearer = theirs + np.stack([0.1 * theirs[:, 1], np.zeros(40)], 1)
    found = decoder.ratio(dearer, theirs)
    wanted = 100 * (decoder.perplexity(dearer) / decoder.perplexity(theirs) - 1)
    assert found["percent"] == pytest.approx(wanted)
    assert found["interval"] == pytest.approx([wanted, wanted])


def test_its_interval_holds_the_true_ratio_about_as_often_as_it_says():
    rng, held = np.random.default_rng(1), 0
    for _ in range(400):
        theirs = passages(rng, 60)
        extra = theirs[:, 1] * rng.normal(0.05, 0.1, 60)
        low, high = decoder.ratio(theirs + np.stack([extra, 0 * extra], 1), theirs)["interval"]
        held += low <= 100 * np.expm1(0.05) <= high
    # 95 % of 400, and five standard errors
    assert 358 <= held <= 400


@pytest.mark.parametrize("dark", [False, True])
def test_the_picture_has_every_point_with_its_interval(dark):
    rows = [
        {"method": method, "bits": bits, "above_float": {"percent": p, "interval": [p / 2, 2 * p]}}
        for method, bits, p in (("uniform", 3.1, 8.0), ("uniform", 4.1, 1.0), ("portfolio", 3.0, 4))
    ]
    text = decoder_figure.picture({"rows": rows, "float_perplexity": 20.0, "passages": 5}, dark)
    tree = ElementTree.fromstring(text)
    names = [element.tag.rpartition("}")[2] for element in tree]
    # three points and two in the legend
    assert names.count("circle") == 5
    bars = [e for e in tree if e.get("x1") is not None and e.get("x1") == e.get("x2")]
    assert len(bars) == 3

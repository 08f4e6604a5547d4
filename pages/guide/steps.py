"""The Guide's six steps: each a few sentences and a picture."""

import numpy as np
import plotly.graph_objects as go
import streamlit as st

from pages.guide import lessons, pictures
from pages.plots.style import CHART
from pages.shared import session
from store import Store

NETWORK = "resnet8"
CLASSES = ("boot", "sneaker", "sandal", "bag")
BEFORE = np.array([0.90, 0.06, 0.03, 0.01])
AFTER = np.array([0.72, 0.20, 0.06, 0.02])
IMAGES = (100, 1_000, 10_000)
PICTURE_BITS = (8, 4, 2)


def steps(store: Store) -> None:
    """Draw all six."""
    _weights()
    _picture()
    _layers(store)
    _damage()
    _front()
    _chance()


def _chart(figure: go.Figure, key: str, alt: str) -> None:
    st.plotly_chart(figure, key=f"guide-{key}", config=CHART, alt=alt)


def _weights() -> None:
    st.header("1. Each bit less halves the choices of a weight")
    st.write(
        "A network is a long list of numbers, its weights. With 3 bits a weight can be one of 8 "
        "values, with 2 bits one of 4, so each is moved to the nearest. Drag the bits of a real "
        "layer."
    )
    bits = st.slider("Bits of each weight", 1, 8, 3, key="guide-bits")
    weights = lessons.weights()
    grid = lessons.snapped(weights, bits)
    left, right = st.columns([3, 1], vertical_alignment="center")
    with left:
        _chart(
            pictures.histogram_figure(weights, grid),
            "weights",
            f"{len(weights):,} weights before, and the {2**bits} values left with {bits} bits.",
        )
    one = int(np.argsort(weights)[round(0.9 * len(weights))])
    right.metric("One weight", f"{weights[one]:.3f} \u2192 {grid.values[one]:.3f}")
    right.metric("Values", 2**bits)
    right.metric("Change, share of the spread", f"{100 * grid.error:.1f} %")
    st.caption(
        f"The {len(weights):,} weights of one layer of {NETWORK}, on one grid. When bitdial "
        "quantizes, every output channel has a grid of its own."
    )


def _picture() -> None:
    st.header("2. What flows through the network is rounded too")
    st.write(
        "The inputs of a layer, its activations, get bits as well. For the first layer they are "
        "the picture itself: 4 bits are hardly seen, 2 bits are a poster."
    )
    image = lessons.picture()
    if image is None:
        st.caption("The shipped pictures are not there.")
        return
    greys = ", ".join(str(2**bits) for bits in PICTURE_BITS)
    _chart(
        pictures.greys_figure(image, PICTURE_BITS),
        "picture",
        f"One picture of a shoe in {greys} greys: the last has lost its shades.",
    )


def _layers(store: Store) -> None:
    st.header("3. Layers differ")
    st.write(
        "Some layers hold many weights and bear rounding well; others are small and everything "
        "hangs on them. Few bits where the grey bar is tall and the orange one short: that is what "
        "all searches look for."
    )
    model = session.model_facts(store, NETWORK)
    tables = session.sensitivity_tables(store, model) if model is not None else {}
    shares = {
        words: found
        # measured layer by layer before what is only estimated
        for words, table in sorted(tables.items(), key=lambda item: item[1].kind != "kl")
        if model is not None and table.unit == "nats"
        if (found := lessons.layer_shares(table, model))
    }
    if not shares:
        st.caption(f"Once a search of {NETWORK} has run, its layers are drawn here.")
        return
    words, found = next(iter(shares.items()))
    _chart(
        pictures.layers_figure(found), "layers", "Share of weights and of damage of every layer."
    )
    st.caption(f"{NETWORK}: one layer alone at its fewest bits, all others in float ({words}).")


def _damage() -> None:
    st.header("4. Damage: how far the answers move")
    st.write(
        "A quantized network answers a little differently. How much is told by the divergence "
        "from the float network's answers, in nats: 0 is the same, and it is felt long before the "
        "answer itself is another, so searches go by it."
    )
    _chart(
        pictures.answers_figure(CLASSES, BEFORE, AFTER),
        "answers",
        "How sure the float and the quantized network are of four classes.",
    )
    nats = lessons.divergence(BEFORE, AFTER)
    st.caption(f"Made up for this picture: both say boot; the damage is {nats:.3f} nats.")


def _front() -> None:
    st.header("5. A front is what is worth having")
    st.write(
        "Each way to hand out bits is a point: how small, and how much is lost. Where another "
        "point is smaller and loses less, nobody wants it. The rest are the front, and a budget "
        "takes the last point of the front that it can pay."
    )
    _chart(
        pictures.front_figure(*lessons.made_up_points()),
        "front",
        "Sixty points, and the steps of the front that the best of them make.",
    )
    st.caption("Made up for this picture. Steps, for nothing was found in between.")


def _chance() -> None:
    st.header("6. A difference can be luck")
    st.write(
        "Accuracy is counted on some images; on others it would be a little different. The bar is "
        "where it lies in 95 of 100 such counts. The best of many close results is mostly the "
        "luckiest: only the test images, which chose nothing, tell."
    )
    _chart(
        pictures.chance_figure(0.92, IMAGES),
        "chance",
        "92 % accuracy with its interval on 100, 1,000 and 10,000 images.",
    )
    st.caption("Computed (Wilson): 92 % right on 100, 1,000 and 10,000 images.")

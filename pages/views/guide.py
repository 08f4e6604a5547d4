"""Guide: what bits do in six steps, how to use the dashboard, and what its words mean."""

import pandas as pd
import streamlit as st

from pages.guide.steps import steps
from pages.shared import session
from pages.shared.words import WORDS
from qcore.costs.user_tables import read_costs
from qcore.formats.exports import EXPORTS
from qcore.searches import SEARCHES

PAGES = (
    (
        "Drag a budget",
        "pages/views/explore.py",
        "Explore",
        "A first visit offers three networks: an image classifier, an anomaly detector of machine "
        "vibrations, judged by the area under its ROC curve, and a language model, judged by the "
        "next word. "
        "On **Explore**, drag the slider of a budget, or the budget's line in the front. Every "
        "method's best allocation within the budget follows at once: one row of digits for the "
        "weights of each layer, one for its activations. Rows are sorted by what they lose against "
        "the float network; a bar joins those that cannot be told apart from the best. Tick **Lose "
        "at most**, and each row is the smallest that is shown to lose no more. What lies above "
        "the budget is shaded. "
        "Choose runs above the plots to see these only; **Compare others with this** marks a "
        "point, and every other then says how much smaller and more accurate it is. The address "
        "of the page carries all of it: copy it to share the view.",
    ),
    (
        "Search",
        "pages/views/searches.py",
        "Searches",
        "On **Searches**, choose methods, bits, budgets and seeds. Runs work in the background, "
        "a few at a time; closing the page or the server loses nothing.",
    ),
    (
        "Compare",
        "pages/views/compare.py",
        "Compare",
        "On **Compare**, lay the fronts of several runs over one another. What was not measured "
        "alike is not overlaid, and the page says why. A difference counts where its 95 % "
        "interval, over the same test images, leaves out zero.",
    ),
    (
        "Edit and measure",
        "pages/views/workbench.py",
        "Workbench",
        "On **Workbench**, drag the bars: as wide as a layer's bytes, as high as its bits. Costs "
        "are exact at once, the loss is predicted at once, accuracy is there when you press "
        "Measure.",
    ),
    (
        "Take it away",
        "pages/views/configs.py",
        "Configs",
        "Any reported point can be downloaded: a configuration that reproduces its logits, a "
        "script, a report, files for other tools. **Configs** keeps them, imports others, and "
        "verifies one in a fresh process.",
    ),
    (
        "Bring your own network",
        "pages/views/models.py",
        "Models",
        "On **Models**, give an architecture and a file of weights, or an ONNX file, and your "
        "data: labelled or not. A network that takes texts, sounds or sensors gets a row for "
        "each input, and a judge that fits its outputs: every page then speaks of its score and "
        "its unit.",
    ),
)

KEYS = (
    ("left, right", "budget down, up by 0.1 % of its range; with Shift by 1 %"),
    ("Page Up, Page Down", "budget up, down by 10 %"),
    ("Home, End", "smallest, largest budget"),
    ("[ and ]", "previous, next point of the focused method's front"),
    ("f", "focus the next method"),
    ("p", "keep the focused point under Configs"),
)


def main() -> None:
    """Draw the page."""
    st.title("Guide")
    st.write(
        "A network has layers; each gets a number of bits for its weights and one for its input "
        "activations. Fewer bits cost less memory and compute, and some accuracy; which layer can "
        "do with how few is what you find out here."
    )
    steps(session.database())
    st.header("Where to do it")
    for title, page, label, words in PAGES:
        st.subheader(title)
        st.markdown(words)
        st.page_link(page, label=label, icon=":material/arrow_forward:")
    st.header("Keys on Explore")
    _table({"Key": [key for key, _ in KEYS], "Does": [does for _, does in KEYS]}, "Keys")
    st.header("Words")
    _table({"Word": list(WORDS), "Means": list(WORDS.values())}, "Words")
    st.header("Methods")
    _table(
        {
            "Method": [search.title for search in SEARCHES.values()],
            "What it does": [search.summary for search in SEARCHES.values()],
            "Family": [search.family for search in SEARCHES.values()],
            "Weights": [
                "its own, trained" if search.trains else "the network's"
                for search in SEARCHES.values()
            ],
            "Paper": [search.paper for search in SEARCHES.values()],
        },
        "Methods",
    )
    st.header("Costs")
    costs = read_costs()
    _table(
        {
            "Cost": [cost.title for cost in costs.values()],
            "Unit": [cost.unit for cost in costs.values()],
            "Formula": [cost.formula for cost in costs.values()],
        },
        "Costs",
    )
    st.header("Files to take away")
    _table(
        {
            "Format": [export.title for export in EXPORTS.values()],
            "Ends in": [export.suffix for export in EXPORTS.values()],
            "Note": [export.note for export in EXPORTS.values()],
        },
        "Formats",
    )
    st.header("Without a browser")
    st.code(
        "python -m store run --model resnet20 --search portfolio --limit weight_bytes=80000\n"
        "python -m store list",
        language="bash",
    )
    st.code(
        "from qcore import apply_bits, load_bits, load_model\n\n"
        'config = load_bits("resnet8.bits.json")\n'
        "model = apply_bits(load_model(config.model.name), config)",
        language="python",
    )


def _table(columns: dict[str, list[str]], words: str) -> None:
    rows = pd.DataFrame(columns).map(_plain).set_index(next(iter(columns)))
    st.table(rows, border="horizontal", alt=words)


def _plain(words: str) -> str:
    """Text as it is, where a table would read Markdown into formulas and names."""
    return "".join(f"\\{sign}" if sign in "\\`*_[]<>~$:#|" else sign for sign in words)


main()

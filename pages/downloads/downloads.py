"""Everything a configuration can be taken away as; each file is made when its button is clicked."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import pandas as pd
import streamlit as st

from pages.downloads import tables_out
from pages.downloads.bundle import bundle
from pages.downloads.report import report
from pages.shared import frames
from pages.shared.judged import CLASSIFIER, judged, words_of
from pages.shared.points_table import points_frame
from pages.shared.text import counted, literal
from qcore.allocation import ModelSpec
from qcore.costs import COSTS
from qcore.costs.formulas import CostModel
from qcore.costs.user_tables import Costs
from qcore.errors import QcoreError
from qcore.formats.config import BitConfig, parse_bits
from qcore.formats.exports import EXPORTS, Export, onnx_qdq, write
from qcore.formats.exports.packed import READER
from qcore.formats.exports.widths import shortened, some
from qcore.formats.schemas import CONFIGURATION
from qcore.ptq.rounding_names import NEAREST
from qcore.quantizer_names import USUAL
from store import Run, Store, all_runs, config_text, points_of
from store.jobs.export import export_text

OWN = ("json", "yaml", "csv", "script")
GROUPS = (
    "bitdial",
    "Settings for other tools",
    "The network itself",
    "All together",
    "Tables",
)
"""Headings of the download buttons."""

MOST_POINTS = 50_000
"""A report's front is drawn from at most this many points."""


@dataclass(frozen=True, slots=True)
class Offer:
    """One button.

    Attributes:
        group: One of GROUPS.
        title: What the button says.
        file_name: What the browser saves.
        mime: Media type.
        make: Makes the file's bytes.
        help: What the file is for, or why it cannot be had.
        refused: True where it cannot be had.
        runs_in: What reads it, in a few words.
    """

    group: str
    title: str
    file_name: str
    mime: str
    make: Callable[[], bytes]
    help: str = ""
    refused: bool = False
    runs_in: str = ""


def downloads(store: Store, point_id: int, stem: str) -> None:
    """Every download of a reported point: two at hand, the others in a table.

    Args:
        store: The database.
        point_id: A point with a configuration.
        stem: Beginning of the file names, from `text.file_stem`.
    """
    content = config_text(store, point_id)
    if content is None:
        st.info("This point has no configuration any more; measure it again.")
        return
    try:
        config = parsed(content, store.costs)
    except QcoreError as error:
        st.error(literal(str(error)), icon=":material/error:")
        return
    first = (EXPORTS["json"].title, onnx_qdq.carrier(config).title)
    key = f"download-{point_id}"
    note = str(st.session_state.get(f"{key}-note", ""))
    offered = offers(config, stem, lambda: beside(store, config), note=note)
    offered += with_network(config, content, stem)
    with st.container(horizontal=True, vertical_alignment="center"):
        for title in first:
            offer = next(offer for offer in offered if offer.title == title)
            _button(offer, key, kind="primary")
    with st.expander("More formats", icon=":material/download:"):
        st.text_area(
            "Notes for the report",
            key=f"{key}-note",
            max_chars=5000,
            height=68,
            placeholder="Why these bits, for whom, what to try next",
            help="Text that the report and the bundle carry.",
        )
        draw([offer for offer in offered if offer.title not in first], key)


def parsed(content: str, costs: Costs) -> BitConfig:
    """A configuration file's content, read once; shared, so never change it."""
    return _parsed(content, costs, costs.stamp)


@st.cache_resource(show_spinner=False, max_entries=32)
def _parsed(content: str, _costs: Costs, stamp: tuple[object, ...]) -> BitConfig:
    return parse_bits(content, _costs)


def offers(
    config: BitConfig,
    stem: str,
    points: Callable[[], pd.DataFrame | None] = lambda: None,
    *,
    name: str = "",
    note: str = "",
    check: str = "",
) -> list[Offer]:
    """The files that need nothing but the configuration.

    Args:
        config: The configuration.
        stem: Beginning of the file names.
        points: Gives what else was measured, for the report; called on click.
        name: Title of the report; the stem where there is none.
        note: The user's words, for the report.
        check: What verifying it found, for the report.
    """
    found = [_offer(export, config, stem) for export in EXPORTS.values() if not export.needs_model]
    place, schema = GROUPS[0], CONFIGURATION
    words = "JSON Schema (2020-12) of the JSON and YAML files, for readers in other languages."
    found.append(
        Offer(place, "Schema", schema.name, "application/schema+json", schema.read_bytes, words)
    )

    def page() -> bytes:
        return report(config, name or stem, note=note, points=points(), check=check)

    def everything() -> bytes:
        frame = points()
        extra = {f"{stem}.report.html": report(config, name or stem, note=note, points=frame)}
        if frame is not None and not frame.empty:
            extra["front.csv"] = tables_out.front_csv(frame, COSTS["weight_bytes"])
        return bundle(config, stem, extra)

    words = "One page that needs no other file and no network: pictures, tables, where it is from."
    found.append(Offer(GROUPS[3], "Report", f"{stem}.report.html", "text/html", page, words))
    words = "Every file above that can hold these bits, the report and SHA256SUMS, in one ZIP file."
    found.append(Offer(GROUPS[3], "Bundle", f"{stem}.zip", "application/zip", everything, words))
    return found


def _offer(export: Export, config: BitConfig, stem: str) -> Offer:
    reason = export.carries(config)
    told = "" if reason else _told(export, config)
    return Offer(
        GROUPS[0] if export.name in OWN else GROUPS[1],
        export.title,
        f"{stem}{export.suffix}",
        export.mime,
        lambda: write(export, config),
        f"Cannot hold these bits: {reason}" if reason else f"{export.note} {told}".rstrip(),
        refused=reason is not None,
        runs_in=export.runs_in,
    )


def _told(export: Export, config: BitConfig) -> str:
    """What a file stores wider than it is, and what a weight takes where that is its own."""
    report = export.report(config)
    words = []
    if "bits_per_weight" in report:
        words.append(f"{report['bits_per_weight']:.2f} bits a weight, its scales included.")
    if widened := report.get("widened"):
        listed = some([f"{shortened(name)}: {why}" for name, why in widened.items()])
        words.append(f"Stored wider: {listed}.")
    if apart := report.get("not_fused"):
        words.append(
            "Kernels that compute query, key and value at once need one width for the three; a "
            f"rule ties them. Here they differ: {some(apart)}."
        )
    return " ".join(words)


def with_network(config: BitConfig, content: str, stem: str) -> list[Offer]:
    """The files that contain the network; another process makes them, since they need torch.

    With them the script that turns a bit-packed file back into a network.
    """
    words = (
        "Turns a bit-packed file and your float architecture into the network; needs only torch."
    )
    reader = Offer(
        GROUPS[2], "Reader of bit-packed weights", READER.name, "text/x-python",
        READER.read_bytes, words,
    )  # fmt: skip
    files = [
        replace(
            _offer(export, config, stem),
            group=GROUPS[2],
            make=partial(_made_elsewhere, content, export.name, config.costs),
        )
        for export in EXPORTS.values()
        if export.needs_model
    ]
    return [*files, reader]


def _made_elsewhere(content: str, name: str, costs: Mapping[str, CostModel]) -> bytes:
    return export_text(content, name, costs=costs).content


def draw(offered: list[Offer], key: str) -> None:
    """Buttons by group, each with what reads it; a file that cannot be had says why."""
    for group in GROUPS:
        mine = [offer for offer in offered if offer.group == group]
        if not mine:
            continue
        st.markdown(f"**{group}**" + (": takes up to a minute" if group == GROUPS[2] else ""))
        for offer in mine:
            button, runs_in, words = st.columns([3, 2, 5], vertical_alignment="center")
            with button:
                _button(offer, key)
            runs_in.caption(f"runs in {offer.runs_in}" if offer.runs_in else "")
            words.caption(literal(offer.help))


def _button(offer: Offer, key: str, kind: Literal["primary", "secondary"] = "secondary") -> None:
    st.download_button(
        offer.title,
        data=offer.make,
        file_name=offer.file_name,
        mime=offer.mime,
        key=f"{key}-{re.sub('[^a-z0-9]+', '-', offer.title.lower())}",
        help=offer.help or None,
        disabled=offer.refused,
        on_click="ignore",
        icon=":material/download:",
        type=kind,
    )


def beside(store: Store, config: BitConfig) -> pd.DataFrame | None:
    """What else was measured on the network and images of a configuration, or None.

    Read without caches, because it is called from a download and not from a page's run.
    """
    told = config.provenance
    numbers = ("data", "calibration_images", "search_images")
    mine = [
        entry
        for entry in all_runs(store, model=config.model.name)
        if all(getattr(entry.spec, key) == told.get(key) for key in numbers)
        and entry.spec.quantizer == told.get("quantizer", USUAL)
        and entry.spec.rounding == told.get("rounding", NEAREST)
        and entry.spec.images_seed == told.get("images_seed", 0)
        and judged(entry.spec.judge) == judged(told.get("judge"))
    ]
    taken: list[Run] = []
    count = 0
    for entry in sorted(mine, key=lambda entry: -entry.id):
        count += entry.evaluations
        if count > MOST_POINTS and taken:
            break
        taken.append(entry)
    if not taken:
        return None
    stored = points_of(store, [entry.id for entry in taken])
    known = {entry.id: entry for entry in taken}
    return points_frame(stored, known, config.model, config.costs)


def table_offers(
    store: Store, found: Mapping[int, Run], model: ModelSpec, stem: str
) -> list[Offer]:
    """Tables of what some runs measured: the fronts as CSV, all points as Parquet."""

    def stored() -> list[frames.StoredPoint]:
        return points_of(store, list(found))

    def front() -> bytes:
        rows = stored()
        table = points_frame(rows, found, model, store.costs)
        judges = {str(entry.spec.judge): entry.spec.judge for entry in found.values()}
        # of several judges the columns keep the names they have for classifiers
        one = len(judges) == 1
        words = words_of(next(iter(judges.values())), rows[:1], model) if one else CLASSIFIER
        return tables_out.front_csv(table, COSTS["weight_bytes"], words)

    def everything() -> bytes:
        return tables_out.parquet(tables_out.all_points(stored(), found, model, store.costs))

    rows = sum(entry.evaluations for entry in found.values())
    parquet, group = "application/vnd.apache.parquet", GROUPS[4]
    words = (
        f"Every stored point of {counted(len(found), 'run')}, {counted(rows, 'evaluation')}: "
        "bits, costs, scores."
    )
    return [
        Offer(
            group, "Fronts (CSV)", f"{stem}.front.csv", "text/csv", front,
            "Scores against weight bytes, the front of every method."
            if any(entry.spec.judge for entry in found.values())
            else "Accuracy against weight bytes, the front of every method.",
        ),
        Offer(group, "All points (Parquet)", f"{stem}.points.parquet", parquet, everything, words),
    ]  # fmt: skip

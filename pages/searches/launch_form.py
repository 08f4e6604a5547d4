"""The form that sets up a search. Its inputs come from the chosen search's params dataclass."""

from collections.abc import Mapping, Sequence

import streamlit as st

from pages.searches import launch_batch, time_budget
from pages.searches.params_form import params_form
from pages.searches.prefill import Prefill, prefill
from pages.searches.rules_form import device_rules
from pages.shared import session, text, widgets
from pages.shared.data_words import data_note, kinds_for, place_words
from pages.shared.judged import Words, words_for
from pages.shared.notes.float_note import confirmed, float_note
from pages.shared.rules.findings import Findings
from pages.shared.runs import launch
from qcore.allocation import FLOAT_BITS, LayerBits, ModelSpec, width_words
from qcore.costs import applicable
from qcore.costs.budget import cheapest_total, make_options
from qcore.costs.formulas import CostModel
from qcore.costs.limits import HOW, read_limit, write_limit
from qcore.errors import InvalidParams, QcoreError
from qcore.models.catalog import (
    DATASETS,
    data_name,
    default_data,
    judge_of,
    network_title,
    read_models,
)
from qcore.ptq.rounding_names import ROUNDING_FACTS
from qcore.ptq.settings import CORRECTIONS
from qcore.quantizer_names import POST_TRAINING
from qcore.run_spec import RunSpec, check_run, images_name, offered
from qcore.searches import SEARCHES, given
from qcore.searches.usual_widths import has_tokens
from store import Run, Store, all_runs
from store.settings import read_settings

Allowed = tuple[ModelSpec, Mapping[str, tuple[LayerBits, ...]]]
"""A model, and what its layers may have."""

MEASURED = "measured (default)"

DEVICES = {"choose for me": "auto", "CPU": "cpu", "NVIDIA GPU": "cuda", "Apple GPU": "mps"}
"""What the form calls each device."""


def launch_form(store: Store, name: str) -> None:
    """Draw the form; queue the search when it is asked for and nothing is wrong with it."""
    model, costs = session.model_facts(store, name), store.costs
    begin = prefill(store, name, costs, has_tokens(judge_of(name), model))
    search = SEARCHES[
        str(
            st.selectbox(
                "Method",
                list(SEARCHES),
                index=list(SEARCHES).index("portfolio") if "portfolio" in SEARCHES else 0,
                format_func=lambda key: SEARCHES[key].title,
                key="search",
                bind="query-params",
            )
        )
    ]
    st.caption(search.summary + (f" {search.paper}." if search.paper else ""))
    also = st.multiselect(
        "Other methods too, with their defaults",
        [key for key, each in SEARCHES.items() if each.standalone and key != search.name],
        format_func=lambda key: SEARCHES[key].title,
        key="f-also",
        placeholder="none",
    )
    network = text.literal(network_title(name))
    st.caption(f"Model: {network} (chosen in the sidebar).")
    try:
        left, right = st.columns(2, gap="large")
        below = st.container()
        with left:
            data = _data(name, begin)
            weight_bits, activation_bits, unread = _bits(begin)
            widths = offered(search.name, weight_bits) if weight_bits else weight_bits
            if more := [width_words(bits) for bits in widths if bits not in weight_bits]:
                st.caption(f"{search.title} always offers {', '.join(more)} too.")
            ends = begin.spec.pin_first_last or 8
            pinned = st.toggle(
                f"First and last layer at {width_words(ends)}",
                begin.spec.pin_first_last is not None,
                key=f"f-pin{begin.key}",
            )
            pin = ends if pinned else None
        with below:
            ruled = device_rules(begin, model, widths, activation_bits, pin)
        with left:
            allowed = _allowed(model, ruled, widths, activation_bits, pin)
            widest = max(activation_bits, default=FLOAT_BITS)
            limits, reaches, wrong = _limits(begin, model, allowed, widest, costs)
            wrong = [*unread, *wrong]
            budgets = _budgets(limits, reaches)
        with right:
            words = words_for(judge_of(name), model=model)
            first = st.container()
            # what the minutes work out; they are drawn last, above, as they look at all the rest
            timed = time_budget.counted(search)
            params = params_form(search.params, f"p-{search.name}", costs, words.text, timed)
            seeds = st.text_input(
                "Seeds",
                value=begin.seeds,
                key=f"f-seeds{begin.key}",
                help="One run each, such as 0, 1, 2 or 0-4. A seed decides what a method leaves to "
                "chance: several show how much that is. Methods without chance, such as the exact "
                "front, find the same with every seed and run once.",
            )
            calibration, images, images_seed, reported = _images(begin, words)
            tuning = st.toggle(
                "Tune reported points without labels",
                key="f-tuning",
                help="Each point of the front is also tuned (scales and biases) and measured "
                "again, beside the untuned one.",
            )
            quantizer, rounding = _quantizer(begin), _rounding(begin)
            correction = _correction(begin)
            device = DEVICES[str(st.selectbox("Device", list(DEVICES), key="f-device"))]
            chosen = [search, *(SEARCHES[key] for key in also)]
            like = RunSpec(
                name,
                data,
                search.name,
                weight_bits=weight_bits or (8,),
                activation_bits=activation_bits or (FLOAT_BITS,),
                device=device,
            )
            with first:
                budget = time_budget.draw(store, like, chosen)
        title = st.text_input("Name", key="f-name", placeholder=f"{search.title} on {name}")
        note = float_note(store, model, images_name(data, images_seed))
        # bits that are given are measured, not searched
        note = "" if search.name == given.SEARCH.name and not also else note
        anyway = confirmed(note, "f-anyway")
        unmet = [_unmet(costs[n], reaches[n][0]) for n in reaches if _below(limits, reaches, n)]
        said = [ruled.wrong] if ruled.wrong else [*map(str, wrong), *unmet]
        if said:
            # what stands at a field may be far above
            st.caption(f"It cannot begin: {text.literal(said[0])}")
        pressed = st.button(
            "Start search",
            type="primary",
            icon=":material/play_arrow:",
            disabled=bool(ruled.wrong or budget.waits),
            help=text.literal(ruled.wrong or budget.waits) or None,
        )
        if wrong:
            # said at the field already; no field is left out for it, or what it holds would be lost
            if pressed:
                raise wrong[0]
            return
        spec = RunSpec(
            model=name,
            data=data,
            search=search.name,
            params=params,
            limits=limits,
            weight_bits=weight_bits,
            activation_bits=activation_bits,
            pin_first_last=pin,
            calibration_images=calibration,
            search_images=images,
            reported=reported,
            tuning=tuning,
            device=device,
            quantizer=quantizer,
            rounding=rounding,
            correction=correction,
            images_seed=images_seed,
            anyway=anyway,
            rules=ruled.rules,
        )
        asked = launch_batch.batch(
            spec, also, budgets, launch_batch.seeds_of(seeds), title.strip(), costs
        )
        known = all_runs(store)
        asked = [(budget.of(one), words) for one, words in asked]
        asked = asked if title.strip() else launch_batch.apart(asked, known)
        _estimate([one for one, _ in asked], known, budget.minutes)
        if pressed:
            for one, _ in asked:
                check_run(one, model, costs)
            if note and not anyway:
                raise InvalidParams("Tick Search it anyway first, or see what is wrong with it.")
            if launch(store, asked):
                st.rerun()
    except QcoreError as error:
        widgets.error_box(error)


def _estimate(asked: Sequence[RunSpec], known: Sequence[Run], minutes: float | None) -> None:
    try:
        workers = read_settings().workers
    except InvalidParams:
        # a setting is nonsense: that is said above every page, by the setting's name
        return
    st.caption(launch_batch.estimate(asked, known, workers, minutes))


def _data(name: str, begin: Prefill) -> str:
    """The data name; begins with what the reader's own network was added with."""
    models = read_models()
    card = models[name].card if name in models else None
    inputs = () if card is None else card.inputs
    fitting = kinds_for(models[name].datasets if name in models else list(DATASETS), inputs)
    begun = begin.spec.data or (default_data(name) if name in models else "")
    usual, _, place = begun.partition(":")
    chosen = str(
        st.selectbox(
            "Data",
            fitting,
            index=fitting.index(usual) if usual in fitting and (place or not inputs) else 0,
            format_func=lambda key: DATASETS[key].title,
            key=f"f-data-{name}{begin.key}",
        )
    )
    if not DATASETS[chosen].needs_path:
        return chosen
    label, example = place_words(chosen)
    path = st.text_input(
        label,
        place if chosen == usual else "",
        key=f"f-folder-{name}-{chosen}{begin.key}",
        placeholder=example,
        help=text.literal(data_note(chosen, inputs, judge_of(name))),
    )
    return data_name(path, chosen)


def _bits(begin: Prefill) -> tuple[tuple[int, ...], tuple[int, ...], list[QcoreError]]:
    """Widths of weights and of activations, and what is wrong with those that were written."""
    quantized = [bits for bits in begin.spec.weight_bits if bits != FLOAT_BITS]
    weight_bits, wrong = widgets.width_pills(
        "Weight bits", quantized, f"f-weights{begin.widths_key}"
    )
    unread: list[QcoreError] = [] if wrong is None else [wrong]
    both = st.segmented_control(
        "What is quantized",
        ["weights", "weights and activations"],
        default="weights and activations" if begin.inputs else "weights",
        required=True,
        key=f"f-what{begin.key}",
    )
    if both == "weights":
        return weight_bits, (FLOAT_BITS,), unread
    inputs = [bits for bits in begin.activation_bits if bits != FLOAT_BITS]
    activation_bits, wrong = widgets.width_pills(
        "Activation bits", inputs, f"f-activations{begin.key}", inputs=True
    )
    return weight_bits, activation_bits, unread if wrong is None else [*unread, wrong]


def _limits(
    begin: Prefill,
    model: ModelSpec | None,
    allowed: Allowed | None,
    widest: int,
    costs: Mapping[str, CostModel],
) -> tuple[dict[str, float], dict[str, tuple[float, float]], list[QcoreError]]:
    """One budget per limited cost, typed, with the feasible interval under it.

    Returns:
        The limits, the intervals, and what is wrong with budgets that are left out of the limits.
    """
    near = begin.near
    chosen = st.multiselect(
        "Budget",
        list(costs if model is None else applicable(model, costs)),
        format_func=lambda name: costs[name].title,
        default=list(near),
        key=f"f-limits{begin.key}",
        placeholder="none: the whole front",
    )
    limits: dict[str, float] = {}
    reaches: dict[str, tuple[float, float]] = {}
    wrong: list[QcoreError] = []
    for name in chosen:
        cost = costs[name]
        reach = _reach(cost, allowed)
        if reach:
            reaches[name] = reach
        typed = st.text_input(
            f"{cost.title} at most",
            value=_begun(cost, near.get(name), reach),
            key=f"f-limit-{name}{begin.key}",
            help=f"{cost.formula}. {HOW}",
        )
        try:
            limits[name] = read_limit(cost, typed, model, widest)
        except InvalidParams as error:
            wrong.append(error)
            st.error(text.literal(str(error)))
            continue
        if reach:
            st.caption(
                f"With these bits from {text.cost_text(cost, reach[0])} "
                f"to {text.cost_text(cost, reach[1])}."
            )
            if limits[name] < reach[0]:
                st.error(_unmet(cost, reach[0]))
    return limits, reaches, wrong


def _begun(cost: CostModel, near: float | None, reach: tuple[float, float] | None) -> str:
    """The budget that a field begins with: the link's, or one amid what the bits can reach."""
    if near is not None:
        return write_limit(cost, int(near))
    start = (reach[0] * reach[1]) ** 0.5 if reach else 2.0**20
    factor, unit = text.scale_of(cost, start)
    return f"{round(start / factor, 1):g} {unit}"


def _budgets(
    limits: dict[str, float], reaches: dict[str, tuple[float, float]]
) -> list[dict[str, float]]:
    """The one budget that was written, or several along what the bits can reach."""
    if not limits or set(reaches) != set(limits):
        return [limits]
    several = st.toggle(
        f"{launch_batch.SPREAD} budgets along this range instead",
        key="f-spread",
        help="For methods that search one budget at a time: one run for each.",
    )
    return launch_batch.spread(reaches) if several else [limits]


def _allowed(
    model: ModelSpec | None,
    ruled: Findings,
    weight_bits: tuple[int, ...],
    activation_bits: tuple[int, ...],
    pinned: int | None,
) -> Allowed | None:
    """The model as it is priced, and what its layers may have; None where that is not known."""
    if model is None or not weight_bits or not activation_bits:
        return None
    if ruled.resolved is None:
        return model, make_options(model.layers, weight_bits, activation_bits, pinned)
    tied = [tie.layers for tie in ruled.resolved.ties if tie.part == "activation"]
    return model.sharing(tied), ruled.resolved.options


def _below(
    limits: Mapping[str, float], reaches: Mapping[str, tuple[float, float]], name: str
) -> bool:
    return name in limits and limits[name] < reaches[name][0]


def _unmet(cost: CostModel, least: float) -> str:
    """That a limit cannot be met, with the least there is; exactly, as what is typed may be."""
    exact = f" ({least:,.0f} B)" if cost.unit == "B" else ""
    return f"No bits fit this limit: the least is {text.cost_text(cost, least)}{exact}."


def _reach(cost: CostModel, allowed: Allowed | None) -> tuple[float, float] | None:
    if allowed is None:
        return None
    model, options = allowed
    dearest = {
        layer.name: max(options[layer.name], key=lambda bits: cost.layer_cost(layer, bits))
        for layer in model.layers
    }
    return cheapest_total(cost, model, options), cost.total(model, dearest)


def _quantizer(begin: Prefill) -> str:
    known = list(POST_TRAINING)
    return str(
        st.selectbox(
            "Quantizer of weights",
            known,
            index=known.index(begin.spec.quantizer) if begin.spec.quantizer in known else 0,
            format_func=lambda key: POST_TRAINING[key].title,
            key=f"f-quantizer{begin.key}",
            help="How the step of each output channel is chosen where nothing is trained. Results "
            "of different quantizers are not compared with each other.",
        )
    )


def _rounding(begin: Prefill) -> str:
    known = list(ROUNDING_FACTS)
    return str(
        st.selectbox(
            "Rounding of weights",
            known,
            index=known.index(begin.spec.rounding) if begin.spec.rounding in known else 0,
            format_func=lambda key: ROUNDING_FACTS[key].title,
            key=f"f-rounding{begin.key}",
            help="How a weight becomes a code where nothing is trained. GPFQ and GPTQ look at what "
            "each layer is given on calibration samples: at 2 and 3 bits they cost far less than "
            "the nearest codes. Results of different roundings are not compared with each other.",
        )
    )


def _correction(begin: Prefill) -> str | None:
    known = [MEASURED, *CORRECTIONS]
    words = "; ".join(f"{name}: {how}" for name, how in CORRECTIONS.items())
    chosen = st.selectbox(
        "Correction of layers",
        known,
        index=known.index(begin.spec.correction) if begin.spec.correction in known else 0,
        key=f"f-correction{begin.key}",
        help="What is done about the change that quantizing makes to a layer's outputs, where "
        "nothing is trained. Measured: each that may help is tried on held-out calibration "
        f"samples, and the run keeps and says what came of it. {text.literal(words)}.",
    )
    return None if chosen == MEASURED else str(chosen)


def _images(begin: Prefill, words: Words) -> tuple[int, int, int, int]:
    """Calibration and search samples, the seed they are drawn by, and points tested."""
    calibration = st.number_input(
        words.text("Calibration images"),
        value=begin.spec.calibration_images,
        step=256,
        key=f"f-calibration{begin.key}",
        help="Ranges, norms and biases are fitted on these.",
    )
    search = st.number_input(
        words.text("Search images"),
        value=begin.spec.search_images,
        step=256,
        key=f"f-search{begin.key}",
        help=words.text(
            "Accuracy during the search is measured on these; more give narrower intervals."
        ),
    )
    seed = st.number_input(
        words.text("Seed of the images"),
        value=begin.spec.images_seed,
        min_value=0,
        step=1,
        key=f"f-images-seed{begin.key}",
        help=words.text(
            "Which calibration and search images are drawn: the same for all seeds above, so that "
            "their runs are compared image by image. Runs on other images are never mixed with "
            "them."
        ),
    )
    reported = st.number_input(
        "Points tested",
        value=begin.spec.reported,
        key=f"f-reported{begin.key}",
        help="Most points of the front that are also measured on the test split when the search "
        "ends, and can be downloaded.",
    )
    return int(calibration), int(search), int(seed), int(reported)

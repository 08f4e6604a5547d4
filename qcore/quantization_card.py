"""The quantization card: how a run quantizes beside its bits. Torch-free, derived, never stored.

What papers leave out moves accuracy more than the choice of an allocator does, so that two figures
are only worth comparing where their cards agree, or where the difference is what is asked about.

Reference: Garg, Jain, Lou and Nahmias, Confounding Tradeoffs for Neural Network Quantization, arXiv
2102.06366, 2021 (which asks for such cards).
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from qcore.allocation import FLOAT_BITS
from qcore.errors import InvalidParams, QcoreError
from qcore.formats.config import BitConfig
from qcore.judges import CLASSES, Judge, judge_words, read_judge
from qcore.judges.sample_words import samples_word
from qcore.problem import PTQ, TUNED
from qcore.ptq.rounding_names import NEAREST, PLAIN_FROM, ROUNDING_FACTS
from qcore.ptq.settings import (
    CORRECTION_IMAGES,
    NORMED,
    OFF,
    PARALLEL,
    SEQUENTIAL,
    TuningParams,
    held_out,
)
from qcore.quantizer_names import EVERY_CODE, LEARNED, POST_TRAINING, SYMMETRIC, USUAL, Facts
from qcore.run_spec import RunSpec
from qcore.search import Search, Trained
from qcore.searches import SEARCHES

NOT_SAID = "not said"
NO_INPUTS = "inputs stay in float"
NO_OBJECTIVE = "none: what is measured does not depend on one"
UNMEASURED = "chosen by what held-out calibration samples show when the run starts, on {images}"
NORMS = {
    None: f"folded; {UNMEASURED}",
    OFF: "folded; their statistics stay as they are",
    PARALLEL: "folded; their statistics stay as they are",
    SEQUENTIAL: "folded; mean and spread of every channel estimated anew at every allocation, "
    "on {images}",
    NORMED: "folded; mean and spread of every channel estimated anew at every allocation, "
    "on {images}",
}
BIASES = {
    None: UNMEASURED,
    OFF: "as they are",
    PARALLEL: "corrected by what each layer's bits change on the float network's inputs, "
    "on {images}",
    SEQUENTIAL: "corrected to the float layer's mean at every allocation, on {images}",
    NORMED: "corrected to the float layer's mean at every allocation where norms are before or "
    "behind a layer, by what its bits change on the float network's inputs elsewhere, "
    "on {images}",
}
"""What became of norms and biases, by how layers are corrected."""

OBJECTIVES = {"kl": "divergence from the float network (KL)", "loss": "cross-entropy on labels"}


def _row(label: str) -> Any:
    return field(default=NOT_SAID, metadata={"label": label})


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantizationCard:
    """How one run, or one configuration, quantizes; every value is words for a reader.

    Attributes:
        weights: Whose weights they are: the network's own, tuned, or trained.
        quantizer: How the steps of weights are chosen.
        weight_scales: How many steps the weights of a layer have.
        weight_codes: How many codes the weights of one step can take at b bits.
        rounding: How a weight becomes a code.
        quantized_inputs: Where inputs are quantized.
        input_scales: How many steps a layer's input has, and where they come from.
        input_codes: How many codes an input can take at b bits.
        first_last: What is different in the first and the last layer.
        norms: What became of batch-norms.
        biases: What became of biases.
        calibration: Images that were seen without labels, and what for.
        training: Images that weights were trained on, and how often.
        tuning: Whether scales and biases were tuned without labels.
        search_images: Images that chose the bits.
        objective: What the search minimised on them.
        judge: How answers are compared.
    """

    weights: str = _row("Weights")
    quantizer: str = _row("Quantizer")
    weight_scales: str = _row("Scales of weights")
    weight_codes: str = _row("Codes of weights")
    rounding: str = _row("Rounding of weights")
    quantized_inputs: str = _row("Quantized inputs")
    input_scales: str = _row("Scales of inputs")
    input_codes: str = _row("Codes of inputs")
    first_last: str = _row("First and last layer")
    norms: str = _row("Batch-norms")
    biases: str = _row("Biases")
    calibration: str = _row("Calibration")
    training: str = _row("Training")
    tuning: str = _row("Tuning")
    search_images: str = _row("Search images")
    objective: str = _row("Objective")
    judge: str = _row("Judge")


def rows(card: QuantizationCard) -> list[tuple[str, str]]:
    """What each row is called, and what it says, in the order of the card."""
    return [(each.metadata["label"], getattr(card, each.name)) for each in dataclasses.fields(card)]


def differing_rows(a: QuantizationCard, b: QuantizationCard) -> list[tuple[str, str, str]]:
    """The rows in which two cards say different things: (label, of a, of b).

    A row that one of them does not say is no known difference (see `unsaid_rows`), and a search
    without an objective is at odds with none.
    """
    both = zip(rows(a), rows(b), strict=True)
    return [
        (label, mine, other)
        for (label, mine), (_, other) in both
        if mine != other and not {NOT_SAID, NO_OBJECTIVE} & {mine, other}
    ]


def unsaid_rows(a: QuantizationCard, b: QuantizationCard) -> list[str]:
    """Labels of the rows that exactly one of two cards says: they may differ."""
    both = zip(rows(a), rows(b), strict=True)
    return [label for (label, x), (_, y) in both if (x == NOT_SAID) != (y == NOT_SAID)]


def codes_words(codes: tuple[int, ...]) -> str:
    """Write the most distinct codes of 1, 2, .. 8 bits as a rule.

    Example:
        >>> codes_words((2, 3, 7, 15, 31, 63, 127, 255))
        '2^b - 1: 3 at 2 bits (2 at one)'
    """
    if codes == EVERY_CODE:
        return "2^b: 4 at 2 bits"
    if codes == SYMMETRIC:
        return "2^b - 1: 3 at 2 bits (2 at one)"
    return ", ".join(f"{count} at {bits}" for bits, count in enumerate(codes, 1)) + " bits"


def card_of(
    spec: RunSpec, stage: str = "", adopted: RunSpec | None = None, *, points_tuned: bool = True
) -> QuantizationCard:
    """The card of a run, or of its points of one weights stage.

    Args:
        spec: What was asked for.
        stage: Weights stage of the points; "" is what the run itself is about.
        adopted: What the run was asked whose trained network this one searches, where it is known.
        points_tuned: Whether the tuning of reported points is told where `stage` is "".
    """
    search = SEARCHES.get(spec.search)
    if stage in (PTQ, TUNED) or (search is not None and not search.trains):
        card = _post_training(spec, tuned=stage == TUNED)
    else:
        card = _trained(spec, _training_of(search, spec, stage), stage, adopted)
    if not stage and spec.tuning and points_tuned:
        card = dataclasses.replace(card, tuning=f"reported points again, {_tuning_words()}")
    return dataclasses.replace(
        card,
        first_last=_first_last(spec),
        search_images=f"{spec.search_images:,}, drawn by seed {spec.images_seed}",
        objective=_objective(search, spec),
        judge=_judge(spec),
    )


def adopted_run(spec: RunSpec) -> int:
    """Number of the run whose trained network a run searches; 0 where it searches none."""
    return _training_of(SEARCHES.get(spec.search), spec, "").run


def card_of_config(config: BitConfig, adopted: RunSpec | None = None) -> QuantizationCard:
    """The card of a configuration, from what its file says: rows that it leaves open are not said.

    Args:
        config: The configuration; bits of other tools say nothing but where inputs are quantized.
        adopted: As for `card_of`.
    """
    inputs = tuple(sorted({bits.activation for bits in config.allocation.values()}))
    said = config.provenance
    pin = said.get("pin_first_last")
    bare = QuantizationCard(quantized_inputs=_quantized_inputs(inputs))
    try:
        spec = RunSpec(
            model=config.model.name,
            data=_said(said, "data", str),
            search=_said(said, "search", str),
            params=_said(said, "params", Mapping),
            activation_bits=inputs,
            pin_first_last=None if pin is None else _said(said, "pin_first_last", int),
            calibration_images=_said(said, "calibration_images", int),
            search_images=_said(said, "search_images", int),
            images_seed=_said({"images_seed": 0, **said}, "images_seed", int),
            objective=str(said.get("objective")),
            # files from before it could be chosen
            quantizer=_said({"quantizer": USUAL, **said}, "quantizer", str),
            rounding=_said({"rounding": NEAREST, **said}, "rounding", str),
            # nothing is said of classes
            judge=None if "judge" not in said else _said(said, "judge", Mapping),
            # all were corrected so before it was measured
            correction=None
            if said.get("correction", "") is None
            else _said({"correction": SEQUENTIAL, **said}, "correction", str),
        )
        card = card_of(spec, _said(said, "stage", str), adopted)
    except QcoreError:
        return bare
    open_rows = {
        row: NOT_SAID
        for row, key in (("first_last", "pin_first_last"), ("objective", "objective"))
        if key not in said
    }
    return dataclasses.replace(card, **open_rows)


def _said(said: Mapping[str, Any], key: str, kind: type) -> Any:
    value = said.get(key)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise InvalidParams(f"The file does not say {key}.")
    return value


def _training_of(search: Search | None, spec: RunSpec, stage: str) -> Trained:
    if search is None or search.trained is None:
        return Trained()
    try:
        return search.trained(search.read_params(spec.params), stage)
    except InvalidParams:
        # settings of an earlier bitdial, or of a file that somebody wrote
        return Trained()


def _post_training(spec: RunSpec, tuned: bool) -> QuantizationCard:
    known = POST_TRAINING.get(spec.quantizer)
    images = min(CORRECTION_IMAGES, spec.calibration_images)
    word = samples_word(spec.data)
    card = QuantizationCard(
        weights="the network's own" + (", scales and biases tuned" if tuned else ""),
        quantizer=spec.quantizer if known is None else known.title,
        norms=NORMS.get(spec.correction, NOT_SAID).format(images=f"{images:,} {word}"),
        biases=BIASES.get(spec.correction, NOT_SAID).format(images=f"{images:,} {word}"),
        calibration=_calibration(spec, f"; {_first(images, spec)} for norms and biases"),
        training="none",
        tuning=_tuning_words() if tuned else "none",
    )
    facts = Facts() if known is None else known.facts
    if spec.rounding != NEAREST:
        facts = _rounded(facts, spec.rounding)
        card = dataclasses.replace(card, calibration=card.calibration + _fitted(spec))
    return _with_grids(card, spec, facts, known is not None)


def _rounded(facts: Facts, rounding: str) -> Facts:
    """What a rounding changes of what the quantizer does alone."""
    said = ROUNDING_FACTS.get(rounding)
    if said is None:
        return dataclasses.replace(facts, rounding=NOT_SAID)
    scales = facts.scales + ", fitted anew to the layer's output" if said.refits else facts.scales
    words = (
        f"{said.words}; as the float network is given on calibration images, behind a folded norm "
        f"about the mean. From {PLAIN_FROM} bits, and in tables that ids are looked up in, to the "
        "nearest code"
    )
    return dataclasses.replace(facts, rounding=words, scales=scales, codes=EVERY_CODE)


def _fitted(spec: RunSpec) -> str:
    left = held_out(spec.calibration_images)
    return f"; all but the first {left:,} for the rounding, sensitivities on those {left:,}"


def _first(images: int, spec: RunSpec) -> str:
    return "all of them" if images == spec.calibration_images else f"the first {images:,} of them"


def _trained(spec: RunSpec, how: Trained, stage: str, adopted: RunSpec | None) -> QuantizationCard:
    if how.run:
        return _adopted(spec, how.run, stage, adopted)
    known = LEARNED.get(how.quantizer)
    named = f", weights stage {stage}" if stage else ""
    card = QuantizationCard(
        weights=f"trained with the quantizer in place{named}",
        quantizer="; ".join(filter(None, (how.quantizer, how.steps))) or NOT_SAID,
        norms=how.norms or NOT_SAID,
        biases="trained, as far as layers have them; kept in float",
        calibration=_calibration(spec, " and for the statistics of norms"),
        training=_passes(how),
        tuning="none",
    )
    facts = Facts() if known is None else known.facts
    codes = tuple(how.codes.get(bits, count) for bits, count in enumerate(facts.codes, 1))
    facts = dataclasses.replace(facts, codes=codes, scales=how.scales or facts.scales)
    return _with_grids(card, spec, facts, known is not None, how.learned_inputs)


def _adopted(spec: RunSpec, run: int, stage: str, adopted: RunSpec | None) -> QuantizationCard:
    """Of a network that another run has trained: that run's card, and this one's calibration."""
    whose = f"trained by run {run}"
    if adopted is None:
        words = f"as run {run} trained them"
        return QuantizationCard(
            weights=whose,
            quantized_inputs=_quantized_inputs(spec.activation_bits),
            tuning="none",
            **dict.fromkeys(
                (
                    *("quantizer", "weight_scales", "weight_codes", "rounding", "input_scales"),
                    *("input_codes", "norms", "biases", "calibration", "training"),
                ),
                words,
            ),
        )
    card = card_of(adopted, stage.partition("/")[2], points_tuned=False)
    return dataclasses.replace(
        card, weights=whose, quantized_inputs=_quantized_inputs(spec.activation_bits)
    )


def _with_grids(
    card: QuantizationCard,
    spec: RunSpec,
    facts: Facts,
    known: bool,
    learned_inputs: bool = False,
) -> QuantizationCard:
    """The card with what a quantizer does to weights and inputs; open where it is not known."""
    card = dataclasses.replace(card, quantized_inputs=_quantized_inputs(spec.activation_bits))
    if not known:
        return card
    inputs = {"input_scales": NO_INPUTS, "input_codes": NO_INPUTS}
    if set(spec.activation_bits) != {FLOAT_BITS}:
        symmetric = codes_words(SYMMETRIC).partition(":")[0]
        inputs = {
            "input_scales": "one per layer input, learned with its bits, then fixed"
            if learned_inputs
            else facts.inputs,
            "input_codes": f"2^b, of inputs of both signs {symmetric}" if learned_inputs else "2^b",
        }
    return dataclasses.replace(
        card,
        weight_scales=facts.scales,
        weight_codes=codes_words(facts.codes),
        rounding=facts.rounding,
        **inputs,
    )


def _quantized_inputs(widths: tuple[int, ...]) -> str:
    if set(widths) <= {FLOAT_BITS}:
        return f"nowhere: {NO_INPUTS}"
    return "before every layer that gets bits, the image before the first one too"


def _first_last(spec: RunSpec) -> str:
    if "allocations" in spec.params:
        return "as given"
    if spec.pin_first_last is None:
        return "as all others"
    inputs = "" if set(spec.activation_bits) == {FLOAT_BITS} else ", their inputs too"
    return f"fixed at {spec.pin_first_last} bits{inputs}"


def _calibration(spec: RunSpec, more: str) -> str:
    drawn = f"drawn by seed {spec.images_seed}"
    counted = f"{spec.calibration_images:,} {samples_word(spec.data)}"
    if set(spec.activation_bits) == {FLOAT_BITS}:
        return f"{counted}, {drawn}{more}".replace(" and for", ", for")
    return f"{counted}, {drawn}, one pass for ranges of inputs{more}"


def _passes(how: Trained) -> str:
    if not how.quantizer:
        return NOT_SAID
    images = f"{how.epoch_images:,}" if how.epoch_images else "all"
    words = f"{how.epochs:,} passes over {images} training images"
    if how.held_out:
        words += f" but at most {how.held_out:,} held out to choose a state"
    return f"{words}; {how.each_step}" if how.each_step else words


def _tuning_words() -> str:
    usual = TuningParams()
    return (
        f"scales and biases without labels, {usual.steps} steps of {usual.batch_images} "
        "calibration images"
    )


def _objective(search: Search | None, spec: RunSpec) -> str:
    if search is not None and not search.aims:
        return NO_OBJECTIVE
    judge = _read(spec)
    if spec.objective == "kl" and judge is not None and judge.name != CLASSES.name:
        return f"{judge.divergence_name} from the float network ({judge.unit})"
    return OBJECTIVES.get(spec.objective, NOT_SAID)


def _judge(spec: RunSpec) -> str:
    judge = _read(spec)
    return NOT_SAID if judge is None else f"{judge_words(judge)}: {judge.divergence_name}"


def _read(spec: RunSpec) -> Judge | None:
    try:
        return read_judge(spec.judge)
    except InvalidParams:  # of another release
        return None

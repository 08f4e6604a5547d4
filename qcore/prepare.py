"""Turns a RunSpec into a problem that can be searched and an evaluator that can score it."""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

from qcore.allocation import (
    FLOAT_BITS,
    BitAllocation,
    LayerBits,
    ModelSpec,
    in_order,
    stored_bits,
    width_json,
)
from qcore.cache import NO_CACHE, Cache
from qcore.cache.network import found_layers
from qcore.costs import COSTS
from qcore.costs.budget import Budget
from qcore.costs.formulas import CostModel
from qcore.data import check_data_fits, load_data
from qcore.errors import InvalidParams
from qcore.formats.config import BitConfig
from qcore.judges import CLASSES, Judge, read_judge
from qcore.models.catalog import judge_of
from qcore.models.zoo import load_model
from qcore.problem import PTQ, TUNED, Point, Problem, SensitivityTable, Window
from qcore.process.memory import give_back_freed_memory, keep_freed_memory
from qcore.ptq import choice, rounding_names
from qcore.ptq.model import QuantizedModel
from qcore.ptq.settings import OFF, PARALLEL
from qcore.qat.checkpoints import Checkpoints, MemoryCheckpoints
from qcore.qat.setup import Setup
from qcore.qat.trainer import Trainer
from qcore.quantizer_names import key_part
from qcore.rounding.table import Rounded, RoundedWeights, codes_from_arrays, codes_to_arrays
from qcore.rules.ties import Part
from qcore.run_spec import RunSpec
from qcore.scoring.evaluator import Evaluator, batch_size_for, choose_device
from qcore.scoring.executors.pack import pack_evaluator
from qcore.scoring.executors.recipe import Recipe
from qcore.scoring.targets import fitted_targets
from qcore.searches import SEARCHES
from qcore.sensitivity.measured import compute_table


@dataclass(frozen=True)
class Prepared:
    """A problem with the means to score it.

    Attributes:
        problem: What the search sees.
        evaluator: What scores.
        data_digest: Names the images and their splits.
        pack: Weights stage to the recipe that scores it elsewhere; None where it cannot travel.
        notes: Sentences on what was left out, converted or looks odd in the data.
    """

    problem: Problem
    evaluator: Evaluator
    data_digest: str
    pack: Callable[[str], Recipe] | None = None
    notes: tuple[str, ...] = ()

    @property
    def model(self) -> ModelSpec:
        """The facts about the model, before any rules."""
        return self.evaluator.model.spec

    @property
    def float_point(self) -> Point:
        """The float network, scored on both splits once a point was reported."""
        return self.evaluator.float_point

    @property
    def correction(self) -> str:
        """How quantized layers are corrected, a key of CORRECTIONS."""
        return self.evaluator.correction.how

    @property
    def correction_words(self) -> str:
        """Why they are corrected so: what was measured, in a sentence; "" where nothing was."""
        return self.evaluator.chosen.words(self.evaluator.judge.unit)

    @property
    def trainer(self) -> Trainer:
        """What trained the stages of a search that trains.

        Raises:
            InvalidParams: the run's search does not train.
        """
        if self.evaluator.trainer is None:
            raise InvalidParams("This run's search trains nothing, so it has no trainer.")
        return self.evaluator.trainer

    def score(
        self, allocations: Sequence[BitAllocation], stage: str = PTQ, images: Window | None = None
    ) -> Iterator[Point]:
        """Score allocations on (a window of) the search split, in order, as they come."""
        return self.evaluator.score(allocations, stage, images)

    def recipe(self, stage: str) -> Recipe:
        """How another process scores like `score` does; equal on an equal machine.

        Raises:
            InvalidParams: no such stage, or made by hand without `pack`.
        """
        trains = self.evaluator.trainer is not None
        if self.pack is None or (stage not in (PTQ, TUNED) and not trains):
            raise InvalidParams(
                f"The weights stage {stage!r} cannot be scored elsewhere; known: {PTQ}, {TUNED}. "
                "Use the evaluator address inline."
            )
        return self.pack(stage)

    def report(self, point: Point) -> Point:
        """Add the test scores to a point."""
        return self.evaluator.report(point)

    def tuned(self, point: Point) -> Point:
        """Tune a point without labels: a point of stage "ptq+tuned" with both scores."""
        return self.evaluator.tuned(point)

    def config(self, point: Point, provenance: Mapping[str, Any]) -> BitConfig:
        """Everything a file needs to reproduce a reported point's logits."""
        return BitConfig(
            model=self.problem.model,
            allocation=point.allocation,
            state=self.evaluator.state(point),
            norms=self.evaluator.model.norms,
            search=point.search,
            test=point.test,
            float_test=self.float_point.test,
            costs=self.problem.costs,
            provenance={
                "data_digest": self.data_digest,
                "stage": point.stage,
                **({"correction": self.correction} if point.stage in (PTQ, TUNED) else {}),
                **_judged(self.evaluator.judge),
                **provenance,
            },
        )


def _judged(judge: Judge) -> dict[str, Any]:
    """What a file says of the judge; nothing of classes, which files before had alone."""
    return {} if judge == CLASSES else {"judge": judge.to_json()}


def _judge_part(judge: Judge) -> str:
    if judge == CLASSES:
        return ""
    text = json.dumps(judge.to_json(), sort_keys=True)
    return "/judge" + hashlib.sha256(text.encode()).hexdigest()[:16]


def table_key(model_digest: str, data_digest: str, kind: str, spec: RunSpec) -> str:
    """Name of a cached sensitivity table: whatever could change its numbers is in it."""
    widths = ",".join(str(width_json(width)) for width in in_order(spec.weight_bits))
    inputs = ",".join(str(width_json(width)) for width in in_order(spec.activation_bits))
    name = f"v2/{kind}/w{widths}/a{inputs}/{model_digest[:16]}/{data_digest[:16]}"
    return name + key_part(spec.quantizer) + rounding_names.key_part(spec.rounding)


def widths_of(
    everywhere: Iterable[int], options: Mapping[str, Sequence[LayerBits]], part: Part
) -> list[int]:
    """All widths that a sensitivity table of a problem needs, narrowest first.

    Those that hold everywhere are among them even where rules leave no layer with them, so that one
    table serves many rules.
    """
    asked = {getattr(bits, part) for row in options.values() for bits in row}
    # float adds no damage, and needs no row
    return list(in_order((asked - {FLOAT_BITS}) | set(everywhere)))


def _widths_part(spec: RunSpec, options: Mapping[str, Sequence[LayerBits]]) -> str:
    """Widths that only rules allow, for a table's key; pinned ones are in it already."""
    extra = ""
    both: tuple[tuple[Part, tuple[int, ...]], ...] = (
        ("weight", spec.weight_bits),
        ("activation", spec.activation_bits),
    )
    for part, given in both:
        pinned = () if spec.pin_first_last is None else (spec.pin_first_last,)
        new = set(widths_of(given, options, part)) - {*given, *pinned}
        named = ",".join(str(width_json(width)) for width in in_order(new))
        extra += f"/{part[0]}{named}" if new and spec.rules else ""
    return extra


def prepare(
    spec: RunSpec,
    *,
    load_table: Callable[[str], SensitivityTable | None] = lambda key: None,
    save_table: Callable[[str, SensitivityTable], None] = lambda key, table: None,
    on_progress: Callable[[str], None] = lambda message: None,
    checkpoints: Checkpoints | None = None,
    load_stage: Callable[[int, str], bytes | None] = lambda run, stage: None,
    on_step: Callable[[int, int], None] = lambda done, total: None,
    cache: Cache = NO_CACHE,
    costs: Mapping[str, CostModel] = COSTS,
    processes: int = 1,
    opening: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> Prepared:
    """Load the model and the data of a spec, calibrate, and build its problem.

    Args:
        spec: What the user asked for.
        load_table: Returns a cached sensitivity table or None.
        save_table: Keeps a table that was computed.
        on_progress: Told in a few words what is being done.
        checkpoints: Where training stages keep their state; None keeps it in memory.
        load_stage: Run number and stage to the state of a stage that run has trained, or None.
        on_step: Told how many of how many steps of a sensitivity table are done.
        cache: Of what others worked out of this network, these samples and settings.
        costs: The costs that may be limited; `read_costs` where a user's own are among them.
        processes: In how many processes a rounding may make its codes, where that pays; they run
            the caller's main module again, which must be guarded as multiprocessing wants it.
        opening: Gives what is entered while files of the user's are opened, to bound it.

    Raises:
        QcoreError: model or data cannot be loaded, do not fit each other, or the budget is
            infeasible; the message says which.
    """
    keep_freed_memory()
    checkpoints = MemoryCheckpoints() if checkpoints is None else checkpoints
    device = choose_device(spec.device)
    trains = spec.search in SEARCHES and SEARCHES[spec.search].trains
    with opening():
        on_progress(f"Loading {spec.data}")
        data = load_data(
            spec.data,
            calibration=spec.calibration_images,
            search=spec.search_images,
            seed=spec.images_seed,
            model=spec.model,
            training=trains,
        )
        on_progress(f"Loading {spec.model}")
        network = load_model(spec.model)
        example = next(data.calibration.batches(1, "cpu"))[0]
        found, cache = found_layers(network, example, spec.model, data.inputs, cache)
        check_data_fits(data, found.spec)
        judge = judge_of(spec.model) if spec.judge is None else read_judge(spec.judge)
        data = fitted_targets(data, network, judge)
    allowed = spec.resolved(found.spec.layers)
    options = allowed.options
    widths = widths_of(spec.weight_bits, options, "weight")
    inputs = widths_of(spec.activation_bits, options, "activation")
    budget = Budget(spec.limits, costs)
    budget.check_feasible(found.spec, options)
    on_progress("Calibrating")
    model = QuantizedModel(network, found, quantizer=spec.quantizer, device=device)
    size = batch_size_for(data.input_shape, device, data.ids)
    narrow = [bits for bits in widths if stored_bits(bits) < rounding_names.PLAIN_FROM]
    cache = cache.about(data.digest)
    chosen_by = spec.rounding, spec.quantizer, device, size
    known: dict[tuple[str, int], Rounded] = {}
    if spec.rounding != rounding_names.NEAREST:
        for bits in dict.fromkeys((*narrow, *choice.WIDTHS)):
            kept = codes_from_arrays(cache.get("codes", *chosen_by, bits) or {})
            known |= {(name, bits): codes for name, codes in kept.items()}

    def make(rounded: RoundedWeights, tried: tuple[int, ...]) -> None:
        if trains:
            return
        rounded.processes = processes
        for bits in _made(rounded, [*narrow, *tried], spec.rounding, on_progress):
            arrays = codes_to_arrays(rounded.at(bits))
            cache.put("codes", arrays, *chosen_by, bits, packed=True)

    evaluator = Evaluator(
        model, data, device, batch_size=size, judge=judge, rounding=spec.rounding, known=known,
        correction=spec.correction, make=make, cache=cache,
    )  # fmt: skip
    correction = evaluator.correction.how
    notes = data.notes
    if evaluator.rounded is not None and not trains:
        notes = (*notes, *_left_words(evaluator.rounded))
    if trains:
        images = [x for x, _ in evaluator.calibration]
        evaluator.trainer = Trainer(
            Setup(
                network,
                found,
                options,
                data.training,
                images,
                checkpoints,
                spec.seed,
                device,
                load_stage,
                judge,
                allowed.ties,
            )
        )
    tables: dict[str, SensitivityTable] = {}

    def sensitivity(kind: str) -> SensitivityTable:
        if kind not in tables:
            key = table_key(found.spec.digest, data.digest, kind, spec)
            key += f"/pin{spec.pin_first_last}" + _judge_part(judge) + _widths_part(spec, options)
            # of one layer alone all that restore a spread give the same
            key += f"/{correction}" if correction in (OFF, PARALLEL) else ""
            table = load_table(key)
            if table is None:
                on_progress(f"Computing the {kind} sensitivities")
                give_back_freed_memory()
                table = compute_table(kind, evaluator, widths, inputs, on_step)
                give_back_freed_memory()
                save_table(key, table)
            tables[kind] = table
        return tables[kind]

    shared = [tie.layers for tie in allowed.ties if tie.part == "activation"]
    problem = Problem(
        found.spec.sharing(shared),
        options,
        budget,
        sensitivity,
        spec.objective,
        evaluator.trainer,
        allowed.ties,
    )

    def pack(stage: str) -> Recipe:
        trainer = None if stage in (PTQ, TUNED) else evaluator.trainer
        return pack_evaluator(
            stage, network, found.spec, data, device, size, evaluator.tuning, trainer,
            quantizer=spec.quantizer, judge=judge, rounding=spec.rounding,
            known=None if evaluator.rounded is None else evaluator.rounded.entries,
            correction=correction, cache=cache,
        )  # fmt: skip

    return Prepared(problem, evaluator, data.digest, pack, notes)


def _made(
    rounded: RoundedWeights, widths: Sequence[int], rounding: str, tell: Callable[[str], None]
) -> list[int]:
    """The widths that were still to be made, once they are."""
    missing = rounded.missing(widths)
    said = -1

    def on_step(done: int, total: int) -> None:
        nonlocal said
        if 10 * done // total > said:
            said = 10 * done // total
            tell(f"Rounding weights ({rounding}), layer {done:,} of {total:,}")

    rounded.make(missing, on_step)
    return missing


def _left_words(rounded: RoundedWeights) -> list[str]:
    if not rounded.left:
        return []
    return [f"Rounded to the nearest codes all the same: {', '.join(rounded.left)}."]

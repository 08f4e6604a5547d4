"""Asks ZigZag what a layer takes on an accelerator, the mapping searched for these very bits.

ZigZag (Mei et al., IEEE Trans. Computers 70(8), 2021; the optional packages of
requirements-hardware.txt) prices every order of the temporal loops: narrower numbers fit more to a
memory word and bigger tiles into each memory, so that another order may become the best (Klhufek
et al., Exploring Quantization and Mapping Synergy, 2024). Only tables are made here; the dashboard
reads the tables and needs no ZigZag.

Differs from the paper: ZigZag and not Timeloop searches; words are filled densely, without the
bits a packed word wastes; the energy of a multiplication grows with the product of both widths.
"""

import logging
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from qcore.costs.accelerators.shapes import Shape
from qcore.errors import DataUnavailable

ACCELERATORS = ("eyeriss_like", "simba_like")
"""Names of the accelerators: ZigZag's own eyeriss_like, and simba_like.yaml of this folder."""

LOOPS = 4
"""Loops that the temporal search permutes at least (ZigZag's lpf_limit).

More split loops further and take 4 times as long for each one more; on eight layers tried, 5 found
energies lower by 0 to 8 % on the Eyeriss-like and none lower on the Simba-like accelerator.
"""

PARTIAL_BITS = 16
"""Width of a partial sum."""

_CONV = "O[b][g][k][oy][ox]+=W[g][k][c][fy][fx]*I[b][g][c][iy][ix]"


@dataclass(frozen=True, slots=True)
class Mapped:
    """What one layer takes with one mapping.

    Attributes:
        energy: pJ for one sample.
        cycles: Clock cycles for one sample.
        mapping: The temporal mapping, ZigZag's own object.
        spatial: (spatial mapping, internal spatial mapping), ZigZag's own objects.
    """

    energy: float
    cycles: float
    mapping: Any
    spatial: tuple[Any, Any]


def best_mappings(
    accelerator: str, shape: Shape, weight: int, activation: int
) -> tuple[Mapped, Mapped]:
    """Search the mapping of a layer: the one of least energy and the one of fewest cycles.

    Args:
        accelerator: One of ACCELERATORS.
        shape: The layer.
        weight: Bits of its weights.
        activation: Bits of its inputs, and of its outputs when they are stored.

    Raises:
        DataUnavailable: ZigZag is not installed.
    """
    found = [
        _mapped(evaluation) for evaluation in _evaluations(accelerator, shape, weight, activation)
    ]
    least = min(found, key=lambda one: (one.energy, one.cycles))
    fastest = min(found, key=lambda one: (one.cycles, one.energy))
    return least, fastest


def with_mapping(
    accelerator: str, shape: Shape, weight: int, activation: int, kept: Mapped
) -> Mapped:
    """Price a layer at other bits with a mapping that was found for some bits.

    Raises:
        DataUnavailable: ZigZag is not installed.
    """
    _need_zigzag()
    from zigzag.cost_model.cost_model import CostModelEvaluation

    chip, layer = _parsed(accelerator, shape, weight, activation)
    evaluation = CostModelEvaluation(
        accelerator=chip,
        layer=layer,
        spatial_mapping=kept.spatial[0],
        spatial_mapping_int=kept.spatial[1],
        temporal_mapping=kept.mapping,
        access_same_data_considered_as_no_access=True,
    )
    return _mapped(evaluation)


def _mapped(evaluation: Any) -> Mapped:
    return Mapped(
        float(evaluation.energy_total),
        float(evaluation.latency_total2),
        evaluation.temporal_mapping,
        (evaluation.spatial_mapping, evaluation.spatial_mapping_int),
    )


def _need_zigzag() -> None:
    if find_spec("zigzag") is None or find_spec("six") is None:
        raise DataUnavailable(
            "Tables for accelerators are made by ZigZag, which is not installed. Run "
            "pip install -r requirements-hardware.txt."
        )


def _evaluations(accelerator: str, shape: Shape, weight: int, activation: int) -> Iterator[Any]:
    for evaluation, _ in _run(accelerator, shape, weight, activation, whole=True):
        yield evaluation


def _parsed(accelerator: str, shape: Shape, weight: int, activation: int) -> tuple[Any, Any]:
    """ZigZag's own accelerator and layer objects."""
    return next(_run(accelerator, shape, weight, activation, whole=False))[0]


def _run(
    accelerator: str, shape: Shape, weight: int, activation: int, *, whole: bool
) -> Iterator[tuple[Any, Any]]:
    _need_zigzag()
    import yaml
    import zigzag
    from zigzag.mapping.temporal_mapping import TemporalMappingType
    from zigzag.stages.evaluation.cost_model_evaluation import CostModelStage
    from zigzag.stages.main import MainStage
    from zigzag.stages.mapping.spatial_mapping_generation import SpatialMappingGeneratorStage
    from zigzag.stages.mapping.temporal_mapping_generator_stage import (
        TemporalMappingGeneratorStage,
    )
    from zigzag.stages.parser.accelerator_parser import AcceleratorParserStage
    from zigzag.stages.parser.workload_parser import WorkloadParserStage
    from zigzag.stages.stage import Stage
    from zigzag.stages.workload_iterator import WorkloadStage

    class Objects(Stage):
        """Yields the parsed accelerator and layer instead of searching."""

        def __init__(self, stages: Any, **given: Any) -> None:
            super().__init__(stages, **given)
            self.given = given

        def run(self) -> Any:
            yield (self.given["accelerator"], self.given["layer"]), None

        def is_leaf(self) -> bool:
            return True

    search: list[Any] = [
        SpatialMappingGeneratorStage,
        TemporalMappingGeneratorStage,
        CostModelStage,
    ]
    folder = Path(zigzag.__file__).parent / "inputs" / "hardware"
    file = folder / f"{accelerator}.yaml"
    own = Path(__file__).with_name(f"{accelerator}.yaml")
    chip = yaml.safe_load((own if own.is_file() else file).read_text(encoding="utf-8"))
    chip["operational_array"]["unit_energy"] *= weight * activation / 64
    mapping = {
        "name": "default",
        "spatial_mapping": _spatial(accelerator, shape),
        "memory_operand_links": {"O": "O", "W": "I2", "I": "I1"},
    }
    logging.getLogger("zigzag").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as scratch:
        for name, data in (("chip", chip), ("mapping", [mapping])):
            # memories are read from the inside out, so their order counts
            text = yaml.safe_dump(data, sort_keys=False)
            (Path(scratch) / f"{name}.yaml").write_text(text, encoding="utf-8")
        stages: list[Any] = [WorkloadParserStage, AcceleratorParserStage, WorkloadStage]
        main = MainStage(
            list_of_callables=[*stages, *(search if whole else [Objects])],
            accelerator=f"{scratch}/chip.yaml",
            mapping=f"{scratch}/mapping.yaml",
            workload=[_workload(shape, weight, activation)],
            loma_lpf_limit=LOOPS,
            loma_show_progress_bar=False,
            nb_mappings_generated=1,
            enable_mix_spatial_mapping_generation=False,
            access_same_data_considered_as_no_access=True,
            temporal_mapping_type=TemporalMappingType("uneven"),
            dump_folder=scratch,
        )
        yield from main.list_of_callables[0](main.list_of_callables[1:], **main.kwargs).run()


def _workload(shape: Shape, weight: int, activation: int) -> dict[str, Any]:
    sizes = {
        "B": 1,
        "G": shape.groups,
        "K": shape.outputs,
        "OY": shape.size,
        "OX": shape.size,
        "C": shape.inputs,
        "FY": shape.kernel,
        "FX": shape.kernel,
    }
    return {
        "id": 0,
        "name": "layer",
        "operator_type": "Conv",
        "equation": _CONV,
        "dimension_relations": [f"i{d}={shape.stride}*o{d}+1*f{d}" for d in ("x", "y")],
        "loop_dims": list(sizes),
        "loop_sizes": list(sizes.values()),
        "operand_precision": {
            "W": weight,
            "I": activation,
            "O": PARTIAL_BITS,
            "O_final": activation,
        },
        "operand_source": {"I": 0, "W": 0},
    }


def _spatial(accelerator: str, shape: Shape) -> dict[str, list[str]]:
    """One rule for each class of layer: which loops run side by side on the array.

    Eyeriss: output rows along one side, kernel rows and channels along the other, as its
    row-stationary dataflow has it. Simba: input channels along the lanes of a vector unit, output
    channels over units and elements. A depthwise layer has but one channel a group, so its groups
    take the place of channels.
    """
    free = "K" if shape.outputs > 1 else "G"
    many = shape.outputs if shape.outputs > 1 else shape.groups
    if accelerator == "eyeriss_like":
        if shape.size == 1:
            sides = {"D1": [("C", shape.inputs, 14)], "D2": [(free, many, 12)]}
        else:
            rows = min(shape.kernel, 3)
            sides = {
                "D1": [("OY", shape.size, 14)],
                "D2": [("FY", rows, 3), (free, many, 12 // rows)],
            }
    else:
        inner = "C" if shape.inputs > 1 else "FX"
        lanes = shape.inputs if shape.inputs > 1 else shape.kernel
        unit = _share(many, 8)
        wide = _share(many // unit, 16)
        sides = {
            "D1": [(inner, lanes, 8)],
            "D2": [(free, many, 8)],
            "D3": [(free, many // unit, 16), ("OY", shape.size, 16 // wide)],
        }
    spatial = {}
    for side, loops in sides.items():
        chosen = [(loop, _share(size, most)) for loop, size, most in loops]
        spatial[side] = [f"{loop}, {count}" for loop, count in chosen if count > 1] or [
            f"{chosen[0][0]}, 1"
        ]
    return spatial


def _share(size: int, most: int) -> int:
    """Largest divisor of a size that is at most `most`."""
    return max(count for count in range(1, max(1, min(size, most)) + 1) if size % count == 0)

"""The claims: whose they are, the words of the abstract behind them, and the code they measure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks.claims.digest import code_digest

TRAINING = ("qcore/qat/loop.py", "qcore/qat/batches.py", "qcore/qat/layer.py", "qcore/qat/model.py")


@dataclass(frozen=True, slots=True)
class Paper:
    """One paper.

    Attributes:
        title: Authors and title.
        code: Files and folders that its claims measure, from the project's root.
        command: What measures them.
        file: Where the cells are, in benchmarks/results.
    """

    title: str
    code: tuple[str, ...]
    command: str
    file: str


@dataclass(frozen=True, slots=True)
class Claim:
    """One claim.

    Attributes:
        name: What verdicts begin with, such as "D6".
        paper: Key of PAPERS.
        sentence: Words of the abstract, or what they come to.
    """

    name: str
    paper: str
    sentence: str


PAPERS = {
    "gradfreebits": Paper(
        "Bodner, Ben Shalom and Treister, GradFreeBits",
        (*TRAINING, "qcore/qat/given_bits", "qcore/searches/gradfreebits.py",
         "qcore/quantizers/learned_clip.py"),
        "python -m benchmarks.training.gradfreebits",
        "gradfreebits.jsonl",
    ),
    "dq": Paper(
        "Uhlich et al., Mixed Precision DNNs",
        (*TRAINING, "qcore/qat/learned_bits", "qcore/searches/dq.py", "qcore/quantizers/dq.py",
         "qcore/quantizers/power_of_two.py"),
        "python -m benchmarks.training.differentiable --only D3 D6 D7 D8",
        "differentiable.jsonl",
    ),
    "spnets": Paper(
        "Guerra et al., Switchable Precision Neural Networks",
        (*TRAINING, "qcore/qat/switchable", "qcore/qat/norms.py", "qcore/searches/spnets.py",
         "qcore/quantizers/learned_clip.py", "qcore/quantizers/lsq.py",
         "qcore/quantizers/dorefa.py", "qcore/quantizers/nested.py"),
        "python -m benchmarks.training.switchable --only S1 S2 S3 S4 S5",
        "switchable.jsonl",
    ),
    "bitmixer": Paper(
        "Bulat and Tzimiropoulos, Bit-Mixer",
        (*TRAINING, "qcore/qat/switchable", "qcore/qat/norms.py", "qcore/searches/bitmixer.py",
         "qcore/quantizers/learned_clip.py"),
        "python -m benchmarks.training.switchable --only B1 B2 B3 B4 B5",
        "switchable.jsonl",
    ),
    "mirror": Paper(
        "Ajanthan et al., Mirror Descent View for Neural Network Quantization",
        (*TRAINING, "qcore/qat/mirror", "qcore/searches/mirror.py",
         "qcore/quantizers/mirror_maps.py", "qcore/quantizers/mirror_methods.py"),
        "python -m benchmarks.training.differentiable --only M3 M4",
        "differentiable.jsonl",
    ),
}  # fmt: skip
"""Every seed system's paper, by the name of its search."""

SYSTEMS = {"G": "gradfreebits", "D": "dq", "S": "spnets", "B": "bitmixer", "M": "mirror"}
"""First letter of a claim to its system."""


def code_of(name: Mapping[str, Any]) -> str:
    """Digest of the code that a cell measures, by the cell's name."""
    claim = str(name.get("claim", "B"))
    system = "spnets" if name.get("system") == "spnets" else SYSTEMS[claim[0]]
    return code_digest(PAPERS[system].code)


CLAIMS = (
    Claim("G1", "gradfreebits", "mixed precision is better or on par with uniform precision"),
    Claim("G1R", "gradfreebits", "the same, with bits drawn at random before rounds (ours)"),
    Claim("G2", "gradfreebits", "a quantizer whose clips depend on the bits suits the search"),
    Claim("G3", "gradfreebits", "alternating gradient-based and gradient-free optimisation"),
    Claim("G4", "gradfreebits", "candidates are ranked on super-batches that move"),
    Claim("D3", "dq", "the parametrization by step and range has the steadiest gradients"),
    Claim("D5", "dq", "the constraints on size are met"),
    Claim("D6", "dq", "better than networks of homogeneous bit-width at the same size"),
    Claim("D7", "dq", "other parametrizations perform consistently worse"),
    Claim("D8", "dq", "different constraints on activations lead to different bits"),
    Claim("S1", "spnets", "one set of weights runs at several precisions, norms private"),
    Claim("S2", "spnets", "against independently trained quantized models"),
    Claim("S3", "spnets", "self-distillation increases the performance"),
    Claim("S4", "spnets", "spans from BinaryConnect to binarized networks"),
    Claim("S5", "spnets", "one set of codes serves every width (vertical layering, a relative)"),
    Claim("B1", "bitmixer", "any layer can change its bit-width without affecting the others"),
    Claim("B2", "bitmixer", "three stages of training"),
    Claim("B3", "bitmixer", "on par with networks trained for one precision"),
    Claim("B4", "bitmixer", "bits chosen at run time keep up with a search that trains"),
    Claim("B5", "bitmixer", "coupled training of random bits (RFQuant, a relative)"),
    Claim("M3", "mirror", "annealing ends at the levels"),
    Claim("M4", "mirror", "better than straight through and projected rivals"),
)

"""What must be equal for figures of several runs to be held against one another. Torch-free, pure.

One value for all who ask: Explore and `store pick` lay runs together that were measured on the same
images in the same way; Compare asks besides that the searches were after the same thing.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from qcore.allocation import FLOAT_BITS
from qcore.errors import InvalidParams
from qcore.judges import CLASSES, judge_words, read_judge
from qcore.ptq.rounding_names import NEAREST
from qcore.ptq.settings import SEQUENTIAL
from qcore.quantizer_names import USUAL
from qcore.rules.rule import Rule
from qcore.run_spec import RunSpec, images_name, usual_objective
from qcore.searches import SEARCHES


@dataclass(frozen=True, slots=True)
class Setting:
    """What a run's figures depend on beside its method, its budget and its weight bits.

    Attributes:
        model: Name of the network.
        digest: Digest of its weights; "" while none of the run's points was reported.
        data: Name of the data set.
        search_images: Images of the search split.
        calibration_images: Images for ranges, norms and bias correction.
        metric: "accuracy", or "agreement with the float network" where images have no labels.
        objective: What the search minimised, "kl" or "loss"; "" where it minimises nothing, or
            trains by the loss on labels, as is usual then.
        tuning: Whether reported points were also tuned without labels.
        quantizer: How the weights' steps were chosen, a key of POST_TRAINING.
        images_seed: Which images were drawn.
        activations: Bits that activations may have, rising; (32,) leaves them in float.
        judge: How answers are compared, in words.
        rounding: How weights became codes, a key of ROUNDING_FACTS.
        correction: How quantized layers were corrected, a key of CORRECTIONS.
    """

    model: str
    digest: str
    data: str
    search_images: int
    calibration_images: int
    metric: str
    objective: str
    tuning: bool
    quantizer: str = USUAL
    images_seed: int = 0
    activations: tuple[int, ...] = (FLOAT_BITS,)
    judge: str = judge_words(CLASSES)
    rules: tuple[Rule, ...] = ()
    rounding: str = NEAREST
    correction: str = SEQUENTIAL

    @classmethod
    def of(cls, spec: RunSpec, digest: str = "", metric: str = "accuracy") -> "Setting":
        """The setting of a run.

        Args:
            spec: What was asked for.
            digest: Digest of the weights its points were measured with, where known.
            metric: What its figures are.
        """
        search = SEARCHES.get(spec.search)
        aims = search is None or search.aims
        if search is not None and search.trains and spec.objective == usual_objective(search.name):
            aims = False
        return cls(
            model=spec.model,
            digest=digest,
            data=spec.data,
            search_images=spec.search_images,
            calibration_images=spec.calibration_images,
            metric=metric,
            objective=spec.objective if aims else "",
            tuning=spec.tuning,
            quantizer=spec.quantizer,
            images_seed=spec.images_seed,
            activations=tuple(sorted(set(spec.activation_bits))),
            judge=_judge_words(spec.judge),
            rules=spec.rules,
            rounding=spec.rounding,
            correction=spec.correction or SEQUENTIAL,
        )

    @property
    def measuring(self) -> "Setting":
        """What points are measured with, whatever the search was after.

        Runs that agree in it may share Explore's page and a pick: their losses are paired on the
        same images, and each row says its own bits of activations and what it was chosen by.
        """
        return replace(
            self,
            digest="",
            metric="",
            objective="",
            tuning=False,
            activations=(FLOAT_BITS,),
            rules=(),
        )

    @property
    def images(self) -> str:
        """Names the images, as `RunSpec.images` does."""
        return images_name(self.data, self.images_seed)

    @property
    def words(self) -> str:
        """Names what points are measured with: images, their numbers, and what is not usual."""
        quantizer = "" if self.quantizer == USUAL else f", quantizer {self.quantizer}"
        quantizer += "" if self.rounding == NEAREST else f", rounding {self.rounding}"
        corrected = "" if self.correction == SEQUENTIAL else f", correction {self.correction}"
        judged, samples, images = "", "images", self.images
        if not self.judge.startswith(CLASSES.title):
            judged, samples = f", judged by {self.judge}", "samples"
            images = images_name(self.data, self.images_seed, samples)
        return (
            f"{images}, {self.search_images:,} search and "
            f"{self.calibration_images:,} calibration {samples}{quantizer}{corrected}{judged}"
        )


def _judge_words(judge: Mapping[str, Any] | None) -> str:
    try:
        return judge_words(read_judge(judge))
    except InvalidParams:  # of another release: like none that is known here
        return f"another judge, {str(judge)[:200]}"

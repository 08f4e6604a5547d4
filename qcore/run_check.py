"""Whether what was asked for could begin at all: asked before it is stored. Torch-free."""

from qcore.allocation import ModelSpec
from qcore.catalog import split_data_name
from qcore.costs import Budget, make_options
from qcore.errors import InvalidParams
from qcore.problem import RunSpec
from qcore.searches import SEARCHES

MOST_IMAGES = 100_000
MOST_REPORTED = 1_000


def check_run(spec: RunSpec, model: ModelSpec | None) -> None:
    """Raise where a run could not even begin; nothing is loaded.

    Args:
        spec: What was asked for.
        model: The model's layers where they are known.

    Raises:
        QcoreError: says what is wrong with its value, and what to do.
    """
    split_data_name(spec.data)
    if spec.search not in SEARCHES:
        raise InvalidParams(f"Unknown search {spec.search!r}; known: {', '.join(SEARCHES)}.")
    SEARCHES[spec.search].read_params(spec.params)
    for what, count in (
        ("calibration", spec.calibration_images),
        ("search", spec.search_images),
    ):
        if not 1 <= count <= MOST_IMAGES:
            raise InvalidParams(f"Use 1 to {MOST_IMAGES:,} {what} images; got {count:,}.")
    if not 1 <= spec.reported <= MOST_REPORTED:
        raise InvalidParams(f"Test 1 to {MOST_REPORTED:,} points; got {spec.reported:,}.")
    if spec.seed < 0:
        raise InvalidParams(f"A seed is a whole number from 0 up; got {spec.seed}.")
    options = make_options(
        model.layers if model else (), spec.weight_bits, spec.activation_bits, spec.pin_first_last
    )
    budget = Budget(spec.limits)
    if model is not None:
        budget.check_feasible(model, options)

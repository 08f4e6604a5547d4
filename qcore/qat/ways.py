"""Every way to train, found by the type of its request: one folder, one `train`, one line each."""

from collections.abc import Callable, Generator
from typing import Any

from qcore.errors import InvalidParams
from qcore.problem import Progress, Request, Result
from qcore.qat.given_bits import training as given_bits
from qcore.qat.learned_bits import training as learned_bits
from qcore.qat.mirror import training as mirror
from qcore.qat.requests import AdoptedStage, GivenBits, LearnedBits, LowBits, SwitchableBits
from qcore.qat.setup import Setup
from qcore.qat.switchable import adopted
from qcore.qat.switchable import training as switchable

Way = Callable[[Setup, Any], Generator[Progress, None, Any]]
"""(setup, request) -> progress after every epoch, and in the end what the request comes to."""

WAYS: dict[type[Request[Any]], Way] = {
    GivenBits: given_bits.train,
    SwitchableBits: switchable.train,
    AdoptedStage: adopted.train,
    LearnedBits: learned_bits.train,
    LowBits: mirror.train,
}


def train(setup: Setup, request: Request[Result]) -> Generator[Progress, None, Result]:
    """Train a stage as its request says.

    Raises:
        InvalidParams: nothing is known of such requests; see the way's own `train` for the rest.
    """
    way = WAYS.get(type(request))
    if way is None:
        known = ", ".join(kind.__name__ for kind in WAYS)
        raise InvalidParams(
            f"No way to train answers a {type(request).__name__}; known are {known}. Add it to "
            "qcore.qat.ways."
        )
    result: Result = yield from way(setup, request)
    return result

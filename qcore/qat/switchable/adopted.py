"""Takes over the trained stage of another run, after a look at whether it fits."""

from collections.abc import Generator

from qcore.allocation import ModelSpec
from qcore.errors import InvalidParams
from qcore.problem import Progress
from qcore.qat.loop import read_state
from qcore.qat.requests import AdoptedStage
from qcore.qat.setup import Setup
from qcore.qat.switches import NormPlan


def train(setup: Setup, request: AdoptedStage) -> Generator[Progress, None, NormPlan]:
    """Keep a copy of another run's switchable network; nothing is trained, and nothing yielded.

    Returns:
        What it can be switched to.

    Raises:
        InvalidParams: there is no such stage, or it is not of this network; see `adopted_plan`.
    """
    kept = setup.checkpoints.load(request.stage)
    data = setup.load_stage(request.run, request.trained) if kept is None else kept[1]
    if data is None:
        raise InvalidParams(
            f"There is no stage {request.trained!r} of a run {request.run} to be found here."
        )
    plan = adopted_plan(data, setup.found.spec, request.run, request.trained)
    if kept is None:
        setup.checkpoints.save(request.stage, 1, data)
    yield from ()
    return plan


def adopted_plan(data: bytes, model: ModelSpec, run: int, stage: str) -> NormPlan:
    """What the stage of another run can be switched to.

    Args:
        data: The stage's state.
        model: The network it should be of.
        run: Number of the run, for errors.
        stage: Name of the stage, for errors.

    Raises:
        InvalidParams: the stage is unfinished, not of a switchable network, or of another network.
    """
    state = read_state(data)
    where = f"Stage {stage!r} of run {run}"
    if not state["finished"]:
        raise InvalidParams(f"{where} is not finished; resume that run first.")
    norms = state["notes"].get("norms")
    if norms is None:
        raise InvalidParams(
            f"{where} is a network for one allocation at a time; choose a bitmixer run."
        )
    plan = NormPlan.from_json(norms)
    shapes = {
        key.removeprefix("network.").removesuffix(".weight"): value.numel()
        for key, value in state["model"].items()
        if key.endswith(".weight")
    }
    other = [x.name for x in model.layers if shapes.get(x.name) != x.weights]
    if other or set(plan.rungs) != set(model.names):
        raise InvalidParams(
            f"{where} is of another network than {model.name}: "
            f"layer {(other or list(plan.rungs))[0]!r} does not fit. Choose a run of this model."
        )
    return plan

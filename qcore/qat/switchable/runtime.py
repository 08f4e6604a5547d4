"""A trained switchable network at run time: one checkpoint that answers at many precisions.

    model = load_switchable(load_model("resnet8"), example, Path("layer-wise.pt").read_bytes())
    model.set_switch("4/4")          # the whole network
    model.set_allocation(bits)       # or any layer at any width it was trained at
    logits = model(images)

Switching takes O(layers) and measures nothing: norms and scales of every precision are in the
checkpoint.
"""

from torch import nn

from qcore.errors import InvalidConfig, InvalidParams
from qcore.inputs import Input
from qcore.network.layers import find_layers
from qcore.qat.loop import read_state
from qcore.qat.model import TrainableModel
from qcore.qat.requests import Quantization
from qcore.qat.switches import NormPlan
from qcore.trees import Tree


def load_switchable(
    network: nn.Module,
    example: Tree,
    data: bytes,
    name: str = "model",
    device: str = "cpu",
    inputs: tuple[Input, ...] = (),
) -> TrainableModel:
    """Rebuild a switchable network from a checkpoint of its training.

    Args:
        network: The float network of the same architecture; its weights do not matter.
        example: Inputs (n, ...) of the kind it takes.
        data: A finished stage, as `Trainer.saved` gives it and the store's files hold it.
        name: What the network is called in errors.
        device: Where it runs.
        inputs: What it takes, where that is not one batch of images.

    Returns:
        The model in inference mode, at its widest switch.

    Raises:
        InvalidParams: the checkpoint is unfinished, or not of a switchable network.
        InvalidConfig: it is of another architecture.
    """
    state = read_state(data, device)
    notes = Quantization(**state["notes"])
    if notes.norms is None or not state["finished"]:
        what = "is not finished" if notes.norms is not None else "is not of a switchable network"
        raise InvalidParams(
            f"The checkpoint of stage {state['stage']!r} {what}; take the last stage of an spnets "
            "or bitmixer run."
        )
    plan = NormPlan.from_json(notes.norms)
    found = find_layers(network, example, name, inputs)
    try:
        model = TrainableModel(
            network,
            found,
            plan.rungs,
            quantizer=notes.quantizer,
            one_clip=notes.one_clip,
            device=device,
            plan=plan,
        )
        model.load(state["model"])
    except (KeyError, AttributeError, RuntimeError) as error:
        # names or shapes of the state do not fit
        raise InvalidConfig(
            f"The checkpoint is of another network than {name}: {str(error)[:160]}"
        ) from error
    model.set_training(False)
    model.set_allocation(next(iter(plan.switches.values())))
    return model

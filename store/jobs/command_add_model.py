"""`python -m store add-model`: add a network of one's own without a browser."""

import argparse
import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from qcore.errors import InvalidParams
from qcore.inputs import parse_input
from qcore.judges import JUDGES, parse_judge, read_judge
from qcore.models.cards import SOURCES, Card
from qcore.models.catalog import data_name
from qcore.models.new_network import (
    WITHOUT_LIBRARY,
    NewNetwork,
    parse_numbers,
    parse_shape,
    usual_for,
)
from qcore.models.preprocessing import Preprocessing
from qcore.models.sound import parse_sound
from store import bounds
from store.database import Store
from store.jobs.arguments import pair
from store.runs import points

Say = Callable[[str], None]


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    command.add_argument("name", help="its name from now on")
    command.add_argument(
        "--replace",
        action="store_true",
        help="take the place of a network of yours with this name; its runs and configurations "
        "stay tied to the old weights",
    )
    command.add_argument("--source", choices=SOURCES, required=True)
    command.add_argument(
        "--architecture", default="", help="name in the source, or package.module:function"
    )
    command.add_argument(
        "--weights", help="state dict, .safetensors, .onnx, .pt2, or a Hugging Face folder"
    )
    command.add_argument("--title", default="")
    command.add_argument("--shape", help="channels x height x width: 3x224x224")
    command.add_argument("--classes", type=int)
    command.add_argument(
        "--mean",
        help="per channel, in 0..1: 0.485,0.456,0.406; ONNX, .pt2 and own code need it, or --data "
        "with a set that has a usual normalisation",
    )
    command.add_argument(
        "--length",
        type=int,
        help="positions of a text of a Hugging Face folder; default: 128, or all it knows",
    )
    command.add_argument(
        "--input",
        action="append",
        default=[],
        metavar="NAME:DTYPE:SIZES",
        help="an input that is no image, once for each: ids:int64:128<30522=0 (128 ids below "
        "30,522, padded with 0), features:float32:1x49x10, state:float32:2x128=zeros",
    )
    command.add_argument(
        "--judge",
        default="",
        metavar="NAME[:SETTING=VALUE...]",
        help=f"how answers are compared, of {', '.join(JUDGES)}: tokens:ids=ids:mask=mask; "
        "default: as the outputs suggest",
    )
    command.add_argument(
        "--sound",
        default="",
        metavar="SETTING=VALUE[:...]",
        help="how sounds become its input: rate=16000:features=mfcc:coefficients=10, or keywords "
        "(as MLPerf Tiny); resample=true takes files of other rates",
    )
    command.add_argument("--std", help="per channel: 0.229,0.224,0.225")
    command.add_argument("--resize", type=int, help="shorter side before cropping, pixels")
    command.add_argument(
        "--argument",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="of the architecture; of an ONNX file the number that an input without samples gets",
    )
    command.add_argument(
        "--weights-key", default="", help="which weights of a checkpoint: state_dict_ema"
    )
    command.add_argument("--by-order", action="store_true", help="match weights by order")
    command.add_argument("--data", default="", type=data_name, help="also check it on this data")
    command.add_argument("--calibration-images", type=int, default=1024)
    command.add_argument("--search-images", type=int, default=1024)


def command_add_model(store: Store, arguments: argparse.Namespace, say: Say) -> int:
    """Add a network; where data is given, also measure its float accuracy."""
    # torch belongs to qcore, and loads only once it is needed
    inspection = importlib.import_module("qcore.add_network")
    new = new_network(arguments)
    with bounds.as_set():
        card, spec, notes = inspection.add_network(new, say)
    points.forget_float(store, card.name)  # scores of weights that had this name before
    say(
        f"{card.name}: {len(spec.layers)} layers can be quantized, "
        f"{100 * spec.coverage:.2f} % of the weights; {_taken(card)}"
    )
    steps = card.preprocessing
    if new.preprocessing is not None and not arguments.mean:
        mean, std = (", ".join(f"{value:g}" for value in row) for row in (steps.mean, steps.std))
        say(f"images are normalised as is usual for {arguments.data}: mean {mean}; std {std}")
    for sentence in (*notes, *spec.warnings):
        say(f"note: {sentence}")
    left = sorted(spec.left_in_float.items(), key=lambda item: -item[1])
    everything = sum(layer.weights for layer in spec.layers) + sum(spec.left_in_float.values())
    for parameter, count in left[:10]:
        share = 100 * count / max(1, everything)
        why = spec.why_float(parameter)
        say(f"left in float: {parameter} ({count:,} values, {share:.2g} % of all): {why}")
    if len(left) > 10:
        say(f"left in float: {len(left) - 10} more")
    if arguments.data:
        _check(store, arguments, say, inspection)
    return 0


def new_network(arguments: argparse.Namespace) -> NewNetwork:
    """What was said on the command line.

    Raises:
        InvalidParams: an argument cannot be read.
    """
    shape = parse_shape(arguments.shape) if arguments.shape else None
    inputs = tuple(map(parse_input, arguments.input))
    steps = None
    if arguments.mean or arguments.std:
        if shape is None or not (arguments.mean and arguments.std):
            raise InvalidParams("Give --mean, --std and --shape together.")
        steps = Preprocessing(
            *shape,
            arguments.resize,
            mean=parse_numbers(arguments.mean, "--mean"),
            std=parse_numbers(arguments.std, "--std"),
        )
    elif arguments.source in WITHOUT_LIBRARY and not inputs and _of_pictures(arguments):
        steps = usual_for(arguments.data, shape)
        if steps is None:
            raise InvalidParams(
                "Say how the images it was trained on were normalised: --mean, --std and --shape "
                "(--mean 0 --std 1 is not at all), or --data with a set that has a usual way, such "
                "as fashion-mnist or cifar10. Where it takes no image, describe each input with "
                "--input."
            )
    return NewNetwork(
        name=arguments.name,
        source=arguments.source,
        architecture=arguments.architecture,
        weights=arguments.weights,
        title=arguments.title,
        input_shape=shape,
        classes=arguments.classes,
        preprocessing=steps,
        kwargs=dict(map(pair, arguments.argument)),
        by_order=arguments.by_order,
        inputs=inputs,
        judge=parse_judge(arguments.judge) if arguments.judge else None,
        weights_key=arguments.weights_key,
        sound=parse_sound(arguments.sound) if arguments.sound else None,
        length=arguments.length,
        replace=arguments.replace,
    )


def _of_pictures(arguments: argparse.Namespace) -> bool:
    """False where an ONNX file says that it takes something else than one picture."""
    if arguments.source != "onnx" or not arguments.weights or arguments.shape:
        return True
    # reading it takes qcore's torch side
    takes = importlib.import_module("qcore.models.loading.onnx.takes")
    with bounds.as_set():
        return bool(takes.takes_pictures(Path(arguments.weights)))


def _taken(card: Card) -> str:
    """What a network takes and gives, in words."""
    if card.inputs:
        takes = "; ".join(each.words for each in card.inputs)
        return f"it takes {takes}; compared by the judge {card.judge.name}"
    size = "x".join(map(str, card.input_shape))
    if card.judge.name == "classes":
        return f"{card.classes} classes, images of {size}"
    return f"images of {size}; compared by the judge {card.judge.name}"


def _check(store: Store, arguments: argparse.Namespace, say: Say, inspection: Any) -> None:
    check = inspection.check_network_on(
        arguments.name,
        arguments.data,
        arguments.calibration_images,
        arguments.search_images,
        say,
        bounds.as_set,
    )
    judge = read_judge(check.report["judge"])
    points.save_model(store, check.model, arguments.data, check.point, judge)
    test, splits = check.report["test"], check.report["splits"]
    measure = judge.score if test["labelled"] else judge.match
    what = f"float {measure.name}" if test["labelled"] else f"no labels: {measure.name} with itself"
    value = measure.factor * test["value"]
    low, high = measure.span((test["low"], test["high"]))
    say(
        f"{what} on the test split: {value:.2f} {measure.symbol} ({low:.2f} to {high:.2f}, "
        f"n = {test['n']:,}), measured; {check.report['ms']:.2f} ms per sample"
    )
    say(
        f"splits: {splits['calibration']:,} calibration, {splits['search']:,} search, "
        f"{splits['test']:,} test; digest {check.report['digest'][:12]}"
    )
    for note in check.report["notes"]:
        say(f"note: {note}")

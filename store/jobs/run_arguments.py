"""The arguments of `python -m store run`: what a search is to be, without a browser."""

import argparse

from qcore.models.catalog import data_name
from qcore.ptq.rounding_names import ROUNDING_FACTS
from qcore.ptq.settings import CORRECTIONS
from qcore.quantizer_names import POST_TRAINING
from qcore.run_spec import RunSpec
from qcore.searches import SEARCHES

DEFAULTS = RunSpec("resnet8", "fashion-mnist", "portfolio")

LIMITS = (
    "weight_bytes=40000, 40kB, 40KiB, 3.5bpw (bits for each weight), 50%% of what 8 bits "
    "everywhere cost, 12%% of float, or 8x smaller than float; may be repeated"
)


def add_arguments(run: argparse.ArgumentParser) -> None:
    """Add them to a parser."""
    run.add_argument("--model", default=DEFAULTS.model)
    run.add_argument(
        "--data", default="", type=data_name, help="default: what the model is first offered with"
    )
    run.add_argument("--search", default=DEFAULTS.search, help=", ".join(SEARCHES))
    run.add_argument("--name")
    run.add_argument("--limit", action="append", default=[], metavar="COST=VALUE", help=LIMITS)
    run.add_argument("--param", action="append", default=[], metavar="NAME=VALUE")
    widths = "1 to 16, fp16, bf16 and float, with commas: 4,8,fp16"
    usual = f"{widths}; else 2,3,4,8, and 5 and 6 too for transformers"
    run.add_argument("--weight-bits", help=usual)
    run.add_argument("--activation-bits", default="32", help=widths)
    run.add_argument("--pin", help="width of the first and last layer")
    run.add_argument(
        "--rules", metavar="FILE", help="YAML or JSON: allowed widths, locks and ties of layers"
    )
    run.add_argument("--seed", type=int, default=0, help="of the search, and of the images")
    run.add_argument(
        "--images-seed",
        type=int,
        help="draw calibration and search images by this seed instead: runs are compared where "
        "it is equal",
    )
    run.add_argument("--calibration-images", type=int, default=DEFAULTS.calibration_images)
    run.add_argument("--search-images", type=int, default=DEFAULTS.search_images)
    run.add_argument(
        "--objective",
        choices=("kl", "loss"),
        default="",
        help="what is minimised: divergence from the float network, or the loss on labels, which "
        "is usual for searches that train",
    )
    run.add_argument("--reported", type=int, default=DEFAULTS.reported, help="most tested points")
    run.add_argument("--tuning", action="store_true", help="also tune without labels")
    run.add_argument("--device", default="auto")
    quantizers = ", ".join(POST_TRAINING)
    run.add_argument("--quantizer", default=DEFAULTS.quantizer, help=f"of weights: {quantizers}")
    roundings = ", ".join(ROUNDING_FACTS)
    run.add_argument("--rounding", default=DEFAULTS.rounding, help=f"of weights: {roundings}")
    run.add_argument(
        "--correction",
        choices=tuple(CORRECTIONS),
        help="of quantized layers; default: what held-out calibration samples show to be best",
    )
    run.add_argument(
        "--anyway",
        action="store_true",
        help="search even a network that is hardly better than guessing",
    )
    run.add_argument(
        "--minutes",
        type=float,
        help="of a search that trains: as many epochs as take so long on this machine",
    )
    run.add_argument("--detach", action="store_true", help="leave it to the dashboard's server")

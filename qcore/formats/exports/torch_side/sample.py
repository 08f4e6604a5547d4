"""The samples an exported file is run on for its report."""

import torch
from torch import Tensor

from qcore.data import load_data
from qcore.errors import DataUnavailable, InvalidData, InvalidParams
from qcore.example_inputs import example_for
from qcore.formats.config import BitConfig
from qcore.trees import Tree, count

SAMPLE_IMAGES = 64


def sample_for(config: BitConfig) -> tuple[Tree, str]:
    """Images to run the file on, and in words where they come from: never test images."""
    name, model = str(config.provenance.get("data", "")), config.model.name
    told = config.provenance
    seed = int(told.get("images_seed", 0))
    if name:
        try:
            # drawn as they were, so that none of them is a test sample
            data = load_data(
                name,
                calibration=int(told.get("calibration_images", 1024)),
                search=int(told.get("search_images", 1024)),
                seed=seed,
                model=model,
            )
            images, _ = next(data.search.batches(SAMPLE_IMAGES))
            if config.model.inputs or not isinstance(images, Tensor):
                return images, f"{count(images)} samples of {name}"
            if tuple(images.shape[1:]) == tuple(config.model.input_shape):
                return images, f"{len(images)} images of {name}"
        except (DataUnavailable, InvalidParams, InvalidData):
            pass  # the images are only for the report
    if config.model.inputs:
        made_up = example_for(config.model, SAMPLE_IMAGES)
        return made_up, f"{SAMPLE_IMAGES} made-up samples: the configuration's own are not here"
    noise = torch.Generator().manual_seed(0)
    images = torch.randn(SAMPLE_IMAGES, *config.model.input_shape, generator=noise)
    return images, f"{SAMPLE_IMAGES} images of noise: the configuration's own are not here"

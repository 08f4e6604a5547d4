"""Training samples in random order, images flipped and shifted, batch by batch."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from qcore.data import Images, Split
from qcore.errors import InvalidData
from qcore.trees import Tree


@dataclass(frozen=True)
class Epoch:
    """One pass.

    Attributes:
        images: To draw from; samples of other networks too.
        batch_images: Images per batch; fewer where there are not so many.
        limit: Images in the pass; 0 is all.
        augment: Flip images with probability one half, and shift them by up to a fourteenth of the
            height; other samples, and images whose labels are maps or pictures, are never changed.
        device: Where the batches go.
    """

    images: Split
    batch_images: int
    limit: int
    augment: bool
    device: str = "cpu"

    @property
    def size(self) -> int:
        """Images per batch."""
        return min(self.batch_images, len(self.images))

    @property
    def steps(self) -> int:
        """Batches in the pass, all of the same size; what is left over waits for another pass."""
        return max(1, min(self.limit or len(self.images), len(self.images)) // self.size)


def batches_of(epoch: Epoch, generator: torch.Generator) -> Iterator[tuple[Tree, Tensor | None]]:
    """Yield inputs, as normalised images (k, c, h, w), and labels in a random order.

    Raises:
        InvalidData: fewer than two samples: batch statistics need two.
    """
    images = epoch.images
    if epoch.size < 2:
        raise InvalidData("Training needs at least two samples; got one.")
    order = torch.randperm(len(images), generator=generator)
    if not isinstance(images, Images):
        for index in order.split(epoch.size)[: epoch.steps]:
            yield from images.at(index).batches(epoch.size, epoch.device)
        return
    mean = torch.tensor(images.mean, device=epoch.device).view(1, -1, 1, 1)
    std = torch.tensor(images.std, device=epoch.device).view(1, -1, 1, 1)
    for index in order.split(epoch.size)[: epoch.steps]:
        pixels = images.pixels[index]
        # what lies where in a map would have to be moved with its image
        if epoch.augment and (images.labels is None or images.labels.dim() == 1):
            pixels = flipped_and_shifted(pixels, generator)
        pixels = pixels.to(epoch.device)
        scaled = pixels.float() if pixels.is_floating_point() else pixels.float() / 255
        x = ((scaled - mean) / std).contiguous(memory_format=torch.channels_last)
        yield x, None if images.labels is None else images.labels[index].to(epoch.device)


def flipped_and_shifted(pixels: Tensor, generator: torch.Generator) -> Tensor:
    """Flip each image with probability one half and shift it by up to h // 14 pixels."""
    n, _, height, width = pixels.shape
    flip = torch.rand(n, generator=generator) < 0.5
    pixels = torch.where(flip[:, None, None, None], pixels.flip(3), pixels)
    reach = height // 14
    padded = functional.pad(pixels, (reach, reach, reach, reach))
    top, left = torch.randint(0, 2 * reach + 1, (2, n), generator=generator)
    rows = (top[:, None] + torch.arange(height))[:, None, :, None]
    columns = (left[:, None] + torch.arange(width))[:, None, None, :]
    channels = torch.arange(pixels.shape[1])[None, :, None, None]
    return padded[torch.arange(n)[:, None, None, None], channels, rows, columns]

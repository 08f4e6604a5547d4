"""A folder of sounds as samples of a network."""

from dataclasses import dataclass, replace
from functools import partial
from math import gcd
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from qcore.data.folder_splits import Drawn, split_folder
from qcore.data.image_files import Decoded
from qcore.data.image_folder import Reader
from qcore.data.listing import SOUNDS, shown
from qcore.data.masks import is_mask, mask_of
from qcore.data.samples import Samples, as_kind
from qcore.data.sounds.features import features
from qcore.data.sounds.packed import read_sound
from qcore.data.sounds.parts import sound_parts
from qcore.data.sounds.wav import Wav
from qcore.data.splits import Data, assemble
from qcore.errors import InvalidData
from qcore.example_inputs import zeros_for
from qcore.inputs import Input
from qcore.models.sound import Layout, Sound, layout, proposed

_RATES = ("sr", "rate", "sample_rate", "sampling_rate")
"""Inputs that are told the rate."""

_MARGIN = 0.1
"""Seconds read beyond what is needed, so that a resampling filter sees no end there."""

_LEAST_POWER = 1e-7
"""Added to the power of a sound that is divided by it."""

_HOLDS_ODD = ("normal", "usual", "good", "ok", "healthy")
"""Classes of usual samples, which are 0 where odd ones are looked for."""


@dataclass(frozen=True)
class SoundSteps:
    """How a file becomes the input of a network.

    Attributes:
        sound: Rate and features.
        wanted: The input.
        plan: How its numbers lie.
    """

    sound: Sound
    wanted: Input
    plan: Layout

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one sample."""
        return self.wanted.shape


def sound_data(
    name: str,
    path: Path,
    inputs: tuple[Input, ...],
    sound: Sound | None,
    counts: tuple[int, int],
    seed: int,
    *,
    most: int,
    training: bool,
    odd: bool = False,
) -> Data:
    """Read and split a folder of WAV, FLAC and Ogg files.

    Args:
        name: The data name.
        path: The folder: with train/CLASS/ and test/CLASS/, with CLASS/, or of files alone.
        inputs: What the network takes: one sound, and beside it masks, states and the rate.
        sound: How files become its input; None proposes it.
        counts: Sounds to calibrate on and to search on.
        seed: Which are drawn.
        most: Most test sounds, and most training sounds.
        training: Also give sounds to train on.
        odd: True where labels say 0 for usual and 1 for odd samples.

    Raises:
        InvalidData: no sounds, more than a few that cannot be used, or inputs that are none.
        InvalidParams: the settings do not fit the input, or more are asked for than there are.
        DataUnavailable: there is no such folder, or files need a package that is missing.
    """
    wanted = _sound_input(inputs)
    settings = proposed(wanted) if sound is None else sound
    steps = SoundSteps(settings, wanted, layout(settings, wanted))
    reader = Reader(SOUNDS, _decoded, _remarks(steps), {}, np.float32)
    parts = sound_parts(path, reader)
    bytes_each = 4 * int(np.prod(wanted.shape, dtype=np.int64))
    found = split_folder(
        name, parts, counts, seed, steps, most=most, training=training, sample_bytes=bytes_each
    )
    names, notes = found.class_names, list(found.notes)
    if sound is None:
        notes.append(
            f"Nothing was said of its sounds, so they are taken as {settings.words}. If it was "
            "trained otherwise, add it again with --sound."
        )
    usual = [at for at, label in enumerate(names) if label.lower() in _HOLDS_ODD] if odd else []
    if odd and names:
        if len(usual) != 1:
            raise InvalidData(
                f"{shown(path)} has the classes {', '.join(names)}; where odd sounds are told from "
                f"usual ones, one of them is called {', '.join(_HOLDS_ODD)}."
            )
        others = ", ".join(label for at, label in enumerate(names) if at not in usual)
        notes.append(f"{names[usual[0]]} is usual (0), {others} odd (1).")
    build = partial(_samples, inputs=inputs, steps=steps, usual=usual[0] if usual else None)
    splits = [build(part) for part in found.splits]
    chosen = [part.used for part in found.splits]
    data = assemble(name, () if odd else names, splits, chosen, tuple(notes))
    if found.training is None:
        return data
    return replace(data, training=build(found.training))


def _sound_input(inputs: tuple[Input, ...]) -> Input:
    """The one input that is a sound.

    Raises:
        InvalidData: there is none, or others that cannot be made of a sound.
    """
    sounds = [e for e in inputs if e.dtype == "float32" and not (e.zeros or is_mask(e)) and e.shape]
    others = [e for e in inputs if e not in sounds and not _made(e)]
    if len(sounds) == 1 and not others:
        return sounds[0]
    raise InvalidData(
        f"The network takes {'; '.join(each.words for each in inputs)}. A folder of sounds gives "
        "one input of floats; beside it there may be masks, states fed with zeros (=zeros) and "
        f"the rate ({', '.join(_RATES)}). Use tensors:/path for anything else."
    )


def _made(wanted: Input) -> bool:
    is_rate = wanted.name.lower() in _RATES and int(np.prod(wanted.shape)) == 1
    return wanted.zeros or is_mask(wanted) or is_rate


def _samples(
    drawn: Drawn, inputs: tuple[Input, ...], steps: SoundSteps, usual: int | None
) -> Samples:
    """Every input of the network, for sounds that were read."""
    n, columns = len(drawn.pixels), {}
    lengths = torch.zeros(n, dtype=torch.int64) if drawn.beside is None else drawn.beside
    for each in inputs:
        if each is steps.wanted:
            columns[each.name] = drawn.pixels
        elif each.zeros:
            columns[each.name] = zeros_for(each, n)
        elif is_mask(each):
            columns[each.name] = mask_of(each, lengths)
        else:
            columns[each.name] = as_kind(torch.full((n, *each.shape), steps.sound.rate), each)
    labels = drawn.labels
    if labels is not None and usual is not None:
        labels = (labels != usual).long()
    return Samples(columns, inputs, labels)


def _remarks(steps: SoundSteps) -> dict[str, str]:
    sound, length = steps.sound, steps.plan.samples / steps.sound.rate
    many = steps.plan.channels > 1
    return {
        "channels": "{n} sounds have several channels; "
        + (f"the first {steps.plan.channels} were" if many else "the first was")
        + " read, {first} first.",
        "short": f"{{n}} sounds are shorter than {length:.4g} s and were filled up with zeros, "
        "{first} first.",
        "long": f"{{n}} sounds are longer than {length:.4g} s; their beginning was read, {{first}} "
        "first.",
        "loud": "{n} sounds reach beyond -1..1 and were cut to it, {first} first.",
        "resampled": f"{{n}} sounds of another rate were resampled to {sound.rate:,} Hz, {{first}} "
        "first.",
        "silent": "{n} sounds are silent, {first} first.",
    }


def _decoded(path: Path, steps: SoundSteps) -> Decoded:
    """One file as the input of a network; beside it, how much of it is sound.

    Raises:
        InvalidData: it cannot be read, has another rate, or too few channels; names it.
    """
    sound, plan = steps.sound, steps.plan
    seconds = plan.samples / sound.rate
    wav = read_sound(path, seconds + _MARGIN)
    if len(wav.samples) < plan.channels:
        raise InvalidData(
            f"{shown(path)} has {len(wav.samples)} channel(s); the network takes {plan.channels}."
        )
    remarks = ["channels"] if len(wav.samples) > plan.channels else []
    remarks += ["loud"] if wav.cut else []
    samples = torch.from_numpy(wav.samples[: plan.channels])
    total = wav.total
    if wav.rate != sound.rate:
        samples, total = _at_rate(samples, wav, sound.rate, path, sound.resample)
        remarks.append("resampled")
    if total != plan.samples:
        remarks.append("short" if total < plan.samples else "long")
    there = min(samples.shape[1], plan.samples, total)
    filled = samples.new_zeros(plan.channels, plan.samples)
    filled[:, :there] = samples[:, :there]
    if not bool(filled.any()):
        remarks.append("silent")
    filled[:, :there] = _scaled(filled[:, :there], sound.scale)
    if plan.frames:
        rows = features(filled[0], sound)
        filled = (rows.T if plan.turned else rows).contiguous()
        there = min(plan.frames, 1 + max(0, there - 1) // sound.step_samples)
    values = filled.reshape(steps.wanted.shape).numpy().astype(np.float32)
    return Decoded(values, tuple(remarks), np.array(there, np.int64))


def _scaled(samples: Tensor, scale: str) -> Tensor:
    """The samples of a sound, without what was filled up, as a network wants them."""
    if scale == "loudest":
        largest = float(samples.max())
        return samples / largest if largest > 0 else samples
    if scale == "standard":
        spread = (samples.var(correction=0) + _LEAST_POWER).sqrt()
        return (samples - samples.mean()) / spread
    return samples


def _at_rate(samples: Tensor, wav: Wav, rate: int, path: Path, allowed: bool) -> tuple[Tensor, int]:
    """Samples at another rate, and how many the whole file would have."""
    if not allowed:
        raise InvalidData(
            f"{shown(path)} has {wav.rate:,} Hz, and the network takes sounds of {rate:,} Hz. "
            "Resample the files; or add the network again with resample=true in --sound, and that "
            "is done while reading."
        )
    # half a second to load, and needed for other rates alone
    from scipy.signal import resample_poly

    common = gcd(wav.rate, rate)
    up, down = rate // common, wav.rate // common
    found = resample_poly(samples.double().numpy(), up, down, axis=1)
    total = -(-wav.total * up // down)
    return torch.from_numpy(found).float().clamp(-1, 1), total

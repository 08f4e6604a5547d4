"""Sounds for networks that public packages carry, made from a seed: voices and notes.

No recording is at hand that may be used by anyone, so vowels are made as a voice makes them, from
pulses and the resonances of a throat, and notes as strings do. They stand for the real ones where
two versions of a network are compared, not where its quality is told.
"""

import wave
from collections.abc import Sequence
from pathlib import Path

import numpy as np

FORMANTS = ((730, 1090, 2440), (270, 2290, 3010), (300, 870, 2240), (530, 1840, 2480))
"""Resonances of four vowels, Hz: "a", "i", "u" and "e" of Peterson and Barney (1952)."""

WIDTHS = (90.0, 110.0, 170.0)
"""Widths of the resonances, Hz."""


def voices(n: int, length: int, rate: int, seed: int = 0) -> np.ndarray:
    """Pieces of made-up vowels, of noise, and of both, float32 (n, length) in -1..1."""
    rng = np.random.default_rng(seed)
    found = np.empty((n, length), np.float32)
    for at in range(n):
        voice = _vowel(rng, length, rate) if rng.random() < 0.7 else np.zeros(length)
        noise = rng.normal(0, 1, length) * 10 ** rng.uniform(-3.5, -1.2)
        found[at] = np.clip(rng.uniform(0.05, 0.6) * voice + noise, -1, 1)
    return found


def _vowel(rng: np.random.Generator, length: int, rate: int) -> np.ndarray:
    """Pulses of a larynx through three resonances, loudest sample 1."""
    pitch = rng.uniform(90, 260)
    before = rate // 10  # the resonances have swung in by then
    phase = np.cumsum(np.full(length + before, pitch / rate)) + rng.random()
    sound = np.diff(np.floor(phase), prepend=np.floor(phase[0])).astype(float)
    for centre, width in zip(FORMANTS[int(rng.integers(len(FORMANTS)))], WIDTHS, strict=True):
        radius = np.exp(-np.pi * width / rate)
        turn = 2 * radius * np.cos(2 * np.pi * centre * rng.uniform(0.9, 1.1) / rate)
        sound = _resonance(sound, turn, -(radius**2))
    sound = sound[before:]
    return np.asarray(sound / max(1e-9, np.abs(sound).max()))


def _resonance(sound: np.ndarray, first: float, second: float) -> np.ndarray:
    out = np.zeros(len(sound) + 2)
    for at, value in enumerate(sound):
        out[at + 2] = value + first * out[at + 1] + second * out[at]
    return out[2:]


def melodies(n: int, length: int, rate: int, seed: int = 0) -> np.ndarray:
    """Pieces of one to four voices of plucked notes, float32 (n, length) in -1..1."""
    rng = np.random.default_rng(seed)
    found = np.zeros((n, length), np.float32)
    for at in range(n):
        sound = rng.normal(0, 1e-3, length)
        for _ in range(int(rng.integers(1, 5))):
            start = 0
            while start < length:
                lasts = int(rate * rng.uniform(0.15, 0.7))
                part = sound[start : start + lasts]
                part += _note(rng, len(part), rate)
                start += lasts
        found[at] = 0.8 * sound / max(1e-9, float(np.abs(sound).max()))
    return found


def _note(rng: np.random.Generator, length: int, rate: int) -> np.ndarray:
    seconds = np.arange(length) / rate
    pitch = 440 * 2 ** ((int(rng.integers(40, 88)) - 69) / 12)
    harmonics = [k for k in range(1, 9) if k * pitch < rate / 2]
    parts = [np.sin(2 * np.pi * k * pitch * seconds) * np.exp(-3 * k * seconds) / k
             for k in harmonics]  # fmt: skip
    return np.asarray(np.sum(parts, 0))


def write_sounds(folder: Path, sounds: Sequence[np.ndarray], rate: int) -> str:
    """Write each as a WAV file of 16 bits; the data name."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, sound in enumerate(sounds):
        with wave.open(str(folder / f"{number:05d}.wav"), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(rate)
            file.writeframes((sound * 32767).astype("<i2").tobytes())
    return f"sounds:{folder}"

"""The picture of the mirror maps: soft weights that sharpen into the levels themselves.

    python -m benchmarks.training.mirror_figure

Writes docs/mirror.svg and docs/mirror-dark.svg: the map of two levels, of three, and softmax over
four, at rising sharpness and without limit. Computed by `qcore.quantizers.mirror_maps`.
"""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from pages.plots.style import GREY, LINE_COLOURS
from qcore.quantizers.mirror_maps import (
    hard_tanh,
    level_shares,
    mix,
    nearest_level,
    scaled_levels,
    softmax_map,
    tanh_map,
)

ROOT = Path(__file__).parents[2]
FILES = {False: ROOT / "docs" / "mirror.svg", True: ROOT / "docs" / "mirror-dark.svg"}
"""Dark or not to the picture's file."""

BETAS = (1.0, 3.0, 10.0)
PANEL, GAP, LEFT, TOP, HEIGHT = 210, 30, 40, 46, 290
FOUR = (-2, -1, 0, 1)


def softmax_four(x: Tensor, beta: float) -> Tensor:
    """Soft weights over the four levels of two bits."""
    levels = scaled_levels(FOUR, x)
    return mix(softmax_map(level_shares(x, levels), beta), levels)


def panels() -> list[tuple[str, float, float, Callable[[Tensor, float | None], Tensor]]]:
    """Title, smallest and largest weight, and the map at a sharpness, None for no limit."""
    return [
        (
            "two levels, tanh", -1.6, 1.6,
            lambda x, beta: hard_tanh(x, 2) if beta is None else tanh_map(x, beta, 2),
        ),
        (
            "three levels, tanh", -1.6, 1.6,
            lambda x, beta: hard_tanh(x, 3) if beta is None else tanh_map(x, beta, 3),
        ),
        (
            "four levels, softmax", -2.6, 1.6,
            lambda x, beta: (
                nearest_level(x, scaled_levels(FOUR, x)) if beta is None else softmax_four(x, beta)
            ),
        ),
    ]  # fmt: skip


def picture(dark: bool) -> str:
    """The picture as SVG text."""
    ink, ground = ("#e8e8e8", "#0e1117") if dark else ("#222222", "#ffffff")
    width = LEFT + 3 * PANEL + 2 * GAP + 10
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {HEIGHT}" width="{width}" '
        f'height="{HEIGHT}" font-family="sans-serif" font-size="12" fill="{ink}">',
        f'<rect width="{width}" height="{HEIGHT}" fill="{ground}"/>',
    ]
    for at, (title, low, high, curve) in enumerate(panels()):
        left = LEFT + at * (PANEL + GAP)
        parts += _panel(left, title, low, high, curve)
    for at, beta in enumerate((*BETAS, None)):
        x = LEFT + 150 * at
        colour = LINE_COLOURS[at]
        name = "no limit: the rounding itself" if beta is None else f"sharpness {beta:g}"
        parts += [
            f'<line x1="{x}" x2="{x + 18}" y1="14" y2="14" stroke="{colour}" stroke-width="2"/>',
            f'<text x="{x + 24}" y="18">{name}</text>',
        ]
    parts.append(
        f'<text x="{width / 2}" y="{HEIGHT - 8}" text-anchor="middle">what is trained, in scales; '
        "upwards the weight that the network sees</text>"
    )
    return "\n".join([*parts, "</svg>\n"])


def _panel(
    left: int, title: str, low: float, high: float, curve: Callable[[Tensor, float | None], Tensor]
) -> list[str]:
    bottom = HEIGHT - 44

    def x(value: float) -> float:
        return left + PANEL * (value - low) / (high - low)

    def y(value: float) -> float:
        return bottom - (bottom - TOP) * (value - low) / (high - low)

    parts = [
        f'<text x="{left}" y="{TOP - 8}">{title}</text>',
        f'<rect x="{left}" y="{TOP}" width="{PANEL}" height="{bottom - TOP}" fill="none" '
        f'stroke="{GREY}" stroke-opacity="0.5"/>',
    ]
    for level in range(int(low), int(high) + 1):
        parts += [
            f'<line x1="{left}" x2="{left + PANEL}" y1="{y(level):.1f}" y2="{y(level):.1f}" '
            f'stroke="{GREY}" stroke-opacity="0.25"/>',
            f'<text x="{left - 5}" y="{y(level) + 4:.1f}" text-anchor="end">{level}</text>',
            f'<text x="{x(level):.1f}" y="{bottom + 15}" text-anchor="middle">{level}</text>',
        ]
    at = torch.linspace(low, high, 421, dtype=torch.float64)
    for number, beta in enumerate((*BETAS, None)):
        values = curve(at, beta).tolist()
        drawn = " ".join(f"{x(a):.1f},{y(b):.1f}" for a, b in zip(at.tolist(), values, strict=True))
        parts.append(
            f'<polyline points="{drawn}" fill="none" stroke="{LINE_COLOURS[number]}" '
            'stroke-width="2"/>'
        )
    return parts


def main() -> None:
    """Write both pictures."""
    for dark, path in FILES.items():
        path.write_text(picture(dark), encoding="utf-8")


if __name__ == "__main__":
    main()

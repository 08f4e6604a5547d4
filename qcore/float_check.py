"""Whether a float network does what it was trained for: the one rule behind every warning of it.

Torch-free. What is far off before anything is quantized makes every figure behind it meaningless.
"""

from qcore.problem import Scores

FAR = 0.2
"""Share of the way from guessing to always right that a trained network surely goes."""


def far_off(scores: Scores | None, classes: int) -> str:
    """Say that a float network is hardly better than guessing, and what to check.

    Args:
        scores: Its scores on some samples; nothing is known without labels, of None, and of judges
            whose samples are not right or wrong.
        classes: Number of its outputs, at least 1.

    Returns:
        One sentence, or "" where the 95 % interval of its accuracy lies above
        guess + FAR * (1 - guess), with guess = 1 / classes.
    """
    if scores is None or scores.accuracy is None or scores.score_error is not None:
        return ""
    guess = 1 / max(1, classes)
    low, _ = scores.interval
    if low > guess + FAR * (1 - guess):
        return ""
    share = f"{100 * scores.accuracy:.1f} % of {scores.n:,} images"
    return (
        f"The float network names {share} right, where guessing comes to {100 * guess:.1f} %: "
        "check that its weights are trained, that the classes are in the same order, and the "
        "normalisation (mean and deviation)."
    )

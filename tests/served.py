"""A made-up record of what a network that switches answers."""

import numpy as np

from qcore.judges import CLASSES
from qcore.pictures.record import Panel
from qcore.pictures.served import Answers, Served, ServedRecord


def record_of(allocations, names=("shirt", "<b>boot</b>")):
    """Answers of a network that changes one more answer at each allocation."""
    floats = Answers(np.zeros(4, np.int32), np.full(4, 0.9, np.float32), np.zeros(4))
    served = []
    for at, allocation in enumerate(allocations):
        classes = np.array([int(place < at) for place in range(4)], np.int32)
        served.append(
            Served(allocation, Answers(classes, np.full(4, 0.5, np.float32), classes * 0.25))
        )
    return ServedRecord(
        "resnet8", "fashion-mnist", CLASSES, 1000,
        (Panel("", "planes", np.zeros((4, 1, 28, 28), np.uint8), (1, 28, 28)),),
        np.zeros(4, np.int64), names, floats, tuple(served),
    )  # fmt: skip

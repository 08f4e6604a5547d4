"""Keeps from a person's log what packages say of parts of theirs that nobody here uses.

transformers imports torchao where that is installed, long after it was imported itself; torchao
then warns of each of its kernels for other processors, and torch of names that are going to change.
"""

import logging

_IDLE = {"torchao": "Failed to load", "torch.utils._pytree": "is an Enum subclass"}
"""Logger to what its idle warnings hold."""


def keep_quiet() -> None:
    """From now on leave those warnings out; whatever else is logged stays. Once is enough."""
    for name in _IDLE:
        logger = logging.getLogger(name)
        if _useful not in logger.filters:
            logger.addFilter(_useful)


def _useful(record: logging.LogRecord) -> bool:
    idle = record.levelno < logging.ERROR and _IDLE[record.name] in record.getMessage()
    return not idle

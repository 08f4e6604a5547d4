"""A person's log is spared what packages say of parts that nobody uses, and of nothing else."""

import logging

import pytest

from qcore.models.loading.packages import need


@pytest.mark.parametrize(
    ("name", "level", "words", "kept"),
    [
        ("torchao", logging.WARNING, "Failed to load /x/_C_mxfp8.so: no such library", False),
        ("torchao", logging.ERROR, "Failed to load /x/_C_mxfp8.so: no such library", True),
        ("torchao", logging.WARNING, "Quantization of 3 layers was skipped", True),
        ("torch.utils._pytree", logging.WARNING, "<enum 'A'> is an Enum subclass and is", False),
        ("torch.utils._pytree", logging.WARNING, "Something else", True),
        ("torch.nn", logging.WARNING, "Failed to load a thing", True),
    ],
)
def test_only_idle_warnings_are_left_out(name, level, words, kept):
    need("json", "to be read")
    heard = []

    class Ear(logging.Handler):
        def emit(self, record):
            heard.append(record.getMessage())

    ear = Ear()
    logger = logging.getLogger(name)
    logger.addHandler(ear)
    try:
        logger.log(level, words)
    finally:
        logger.removeHandler(ear)
    assert heard == ([words] if kept else [])
    # a second package adds no second filter
    filters = list(logger.filters)
    need("json", "to be read")
    assert logger.filters == filters

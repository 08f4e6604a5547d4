"""What every exported file says about where it comes from. Torch-free."""

import hashlib
import json

from qcore import __version__
from qcore.formats.config import BitConfig, dump_bits


def provenance_text(config: BitConfig) -> str:
    """One JSON object: model, digest of its weights, bits, scores' n and accuracy, and the origin.

    The same for equal configurations, so that files can be compared byte by byte.
    """
    test = config.test
    document = {
        "bitdial": __version__,
        "configuration_sha256": hashlib.sha256(dump_bits(config).encode()).hexdigest(),
        "model": config.model.name,
        "weights_sha256": config.model.digest,
        "bits": config.allocation.to_json(),
        "test": None if test is None else {"n": test.n, "accuracy": test.accuracy},
        "origin": dict(config.provenance),
    }
    return json.dumps(document, sort_keys=True, separators=(",", ":"))

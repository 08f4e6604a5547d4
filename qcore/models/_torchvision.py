"""Makes `import torchvision` work where its compiled operators do not match the torch build.

torchvision 0.28 registers shape functions for two compiled operators at import. Beside a CPU build
of torch its operator library may not load, and the import then fails with "operator
torchvision::nms does not exist". Nothing in bitdial calls these operators (they serve object
detection); declaring their schemas is enough. Import this module before torchvision.
"""

import torch

_SCHEMAS = {
    "nms": "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}


def _declare_missing() -> torch.library.Library:
    """Declare each schema that the dispatcher does not know, after torchvision had its chance."""
    library = torch.library.Library("torchvision", "FRAGMENT")
    for name, schema in _SCHEMAS.items():
        if not torch._C._dispatch_has_kernel(f"torchvision::{name}"):
            library.define(schema)
    return library


try:
    import torchvision
except RuntimeError as error:
    if "torchvision::" not in str(error):
        raise
    LIBRARY = _declare_missing()
    import torchvision  # noqa: F401

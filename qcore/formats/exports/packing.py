"""Whole numbers packed b bits each into bytes. Torch-free.

Layout: two's complement, the lowest b bits of each code, least significant bit first, one code
after the other without gaps; unused bits of the last byte are zero. ONNX packs int4 and int2 in
the same way. At one bit the codes are -1 and +1, stored as 0 and 1.
"""

import numpy as np


def pack_codes(codes: np.ndarray, bits: int) -> bytes:
    """Pack whole numbers of any shape, in C order; each must fit into `bits` (1..16) bits."""
    signed, unsigned = ("<i1", "u1") if bits <= 8 else ("<i2", "<u2")
    flat = np.ascontiguousarray(codes, signed).reshape(-1)
    if bits in (8, 16):
        return flat.tobytes()
    values = (flat > 0).view(np.uint8) if bits == 1 else flat.view(unsigned)
    planes = (values[:, None] >> np.arange(bits, dtype=unsigned)) & 1
    return np.packbits(planes.astype(np.uint8), bitorder="little").tobytes()

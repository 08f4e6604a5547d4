"""Whole numbers packed b bits each into bytes, and back. Torch-free.

Layout: two's complement, the lowest b bits of each code, least significant bit first, one code
after the other without gaps; unused bits of the last byte are zero. ONNX packs int4 and int2 in
the same way. At one bit the codes are -1 and +1, stored as 0 and 1.
"""

import numpy as np


def packed_size(count: int, bits: int) -> int:
    """Bytes that `count` codes of `bits` bits take."""
    return -(-count * bits // 8)


def pack_codes(codes: np.ndarray, bits: int) -> bytes:
    """Pack whole numbers of any shape, in C order; each must fit into `bits` (1..8) bits."""
    flat = np.ascontiguousarray(codes, np.int8).reshape(-1)
    if bits == 8:
        return flat.tobytes()
    values = (flat > 0).view(np.uint8) if bits == 1 else flat.view(np.uint8)
    planes = (values[:, None] >> np.arange(bits, dtype=np.uint8)) & 1
    return np.packbits(planes.astype(np.uint8), bitorder="little").tobytes()


def unpack_codes(data: bytes, count: int, bits: int) -> np.ndarray:
    """The int8 codes (count,) that `pack_codes` packed."""
    raw = np.frombuffer(data, np.uint8)
    if bits == 8:
        return raw[:count].view(np.int8).copy()
    planes = np.unpackbits(raw, count=count * bits, bitorder="little").reshape(count, bits)
    values = (planes << np.arange(bits, dtype=np.uint8)).sum(1, dtype=np.int16)
    if bits == 1:
        return (2 * values - 1).astype(np.int8)
    return np.where(values >= 1 << (bits - 1), values - (1 << bits), values).astype(np.int8)

"""Memory that a rounding of a decoder takes: measured for a small one, computed for larger ones.

    OMP_NUM_THREADS=1 python -m benchmarks.networks.decoder_memory

The first three blocks of a random decoder of 0.11 B parameters are run one by one on random texts,
and codes of the first are made by GPTQ at 4 bits: nothing larger happens in the others. Measured is
the peak of the process's resident memory above what it holds with the network loaded. Computed is
what must be there together (`computed`): the activations between blocks, the moments of a block or
of a part of it, the working copies of GPTQ for the widest layer, and what a block makes of one
batch.
Writes benchmarks/results/decoder_memory.json; about half a minute of one core.
"""

import gc
import json
import re
from collections.abc import Mapping
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from qcore.models.decoder import Decoder, DecoderSizes
from qcore.network.layers import find_layers
from qcore.ptq.model import QuantizedModel
from qcore.rounding import ROUNDINGS
from qcore.rounding import table as tables
from qcore.rounding.by_block import moments_in_parts
from qcore.rounding.moments import in_groups

RESULTS = Path(__file__).parents[1] / "results" / "decoder_memory.json"
SIZES: Mapping[str, DecoderSizes] = {
    "0.11 B": DecoderSizes(8_000, 768, 3072, 11, 12, 12),
    "1.2 B (Llama 3.2's sizes)": DecoderSizes(128_256, 2048, 8192, 16, 32, 8),
    "6.7 B (Llama 2's sizes)": DecoderSizes(32_000, 4096, 11_008, 32, 32, 32),
}
MEASURED = "0.11 B"
POSITIONS, SAMPLES, MEASURED_SAMPLES, BATCH = 128, 768, 64, 8
"""Of a text; texts that a rounding is fitted on by default; of the measurement; in a batch."""

BLOCKS = 3

SQUARES = 56
"""Bytes for each entry of the widest layer's moments while GPTQ works on them: four matrices in
single precision, five in double."""


def parameters(sizes: DecoderSizes) -> int:
    """Weights of all layers, a tied head counted once."""
    return sizes.vocab_size * sizes.hidden_size + sizes.num_hidden_layers * block_weights(sizes)


def block_weights(sizes: DecoderSizes) -> int:
    """Weights of a block's seven layers."""
    width, narrow = sizes.hidden_size, sizes.hidden_size // sizes.num_attention_heads
    narrow *= sizes.num_key_value_heads
    return width * (2 * width + 2 * narrow + 3 * sizes.intermediate_size)


def computed(sizes: DecoderSizes, samples: int) -> dict[str, int]:
    """Bytes that must be there together when the widest layer of a block is rounded.

    Args:
        sizes: Of the decoder.
        samples: Texts of POSITIONS tokens that the rounding is fitted on.
    """
    width, inside = sizes.hidden_size, sizes.intermediate_size
    tokens, each = BATCH * POSITIONS, 4
    block = each * (6 * width**2 + inside**2)
    scores = each * BATCH * sizes.num_attention_heads * POSITIONS**2
    return {
        "network": each * parameters(sizes),
        "between_blocks": each * samples * POSITIONS * width,
        "moments": min(block, max(tables.MOMENT_BYTES, each * inside**2)),
        "gptq": SQUARES * inside**2 + 6 * each * width * inside,
        "one_batch": each * tokens * 4 * inside + 3 * scores,
    }


def peak(parts: Mapping[str, int]) -> int:
    """Most that is there together, without the network: GPTQ and a batch take turns."""
    return parts["between_blocks"] + parts["moments"] + max(parts["gptq"], parts["one_batch"])


def resident(field: str) -> int:
    """Bytes of this process that "VmRSS" or "VmHWM" says are, or at most were, resident."""
    found = re.search(rf"{field}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    if found is None:
        raise RuntimeError("this measurement needs Linux")
    return 1024 * int(found.group(1))


@torch.no_grad()
def measure(sizes: DecoderSizes) -> dict[str, int]:
    """Peak bytes above the loaded network."""
    torch.manual_seed(0)
    network = Decoder(sizes).eval()
    ids = torch.randint(0, sizes.vocab_size, (MEASURED_SAMPLES, POSITIONS))
    batches = [{"input_ids": x, "attention_mask": torch.ones_like(x)} for x in ids.split(BATCH)]
    model = QuantizedModel(network, find_layers(network, batches[0], "decoder"))
    del network
    gc.collect()
    names = [layer.name for layer in model.spec.layers if not layer.kind.endswith("embedding")]
    before = resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    within = partial(tables._within_memory, model)
    done = 0
    for part, found in islice(moments_in_parts(model, names, batches, within), BLOCKS):
        for name in part:
            if name.startswith("model.layers.0."):
                layer = model.layers[name]
                weights = in_groups(layer, layer.weight)
                steps = model.nearest_step(name, 4).view(weights.shape[:2])
                moments = found.moments(name)
                if moments is not None:
                    ROUNDINGS["gptq"](weights, moments, steps, 4)
        done += 1
        print(f"{done} parts: {(resident('VmHWM') - before) / 2**20:,.0f} MiB", flush=True)
    return {"network": before, "above": resident("VmHWM") - before, "parts": done}


def main() -> None:
    """Measure, compute, write, print."""
    torch.set_num_threads(1)
    sizes = SIZES[MEASURED]
    small = computed(sizes, MEASURED_SAMPLES)
    found: dict[str, Any] = {
        "measured": {"samples": MEASURED_SAMPLES, **measure(sizes), "computed": peak(small)},
        "computed": {
            name: {"parameters": parameters(each), **computed(each, SAMPLES)}
            for name, each in SIZES.items()
        },
    }
    for row in found["computed"].values():
        row["peak"] = peak(row)
    RESULTS.write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()

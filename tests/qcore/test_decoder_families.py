"""Decoder language models of Hugging Face folders: what they answer, and which layers they have."""

import pytest
import torch
from torch.nn import functional

from qcore.models.loading.hugging import read_hugging
from qcore.network.blocks import find_blocks
from qcore.network.layers import find_layers
from qcore.ptq.model import QuantizedModel, float_gap
from qcore.rules.proposals import proposals
from qcore.trees import call, leaves, part
from tests.hugging_folders import saved

LENGTH = 8
QKV = ("q_proj", "k_proj", "v_proj")
GATE_UP = ("gate_proj", "up_proj")

FAMILIES = {
    # whether the head is tied to the embedding, layers of a block, ties of a block
    "LlamaForCausalLM": (False, 7, [QKV, GATE_UP]),
    "GPT2LMHeadModel": (True, 4, []),
    "Qwen2ForCausalLM": (False, 7, [QKV, GATE_UP]),
    "Qwen3ForCausalLM": (True, 7, [QKV, GATE_UP]),
    "GemmaForCausalLM": (True, 7, [QKV, GATE_UP]),
    "Gemma3ForCausalLM": (True, 7, [QKV, GATE_UP]),
    "Gemma2ForCausalLM": (True, 7, [QKV, GATE_UP]),
    "MistralForCausalLM": (False, 7, [QKV, GATE_UP]),
    "OPTForCausalLM": (True, 6, [QKV]),
}
SLOW = ("Gemma2ForCausalLM", "MistralForCausalLM", "OPTForCausalLM")


@pytest.mark.parametrize(
    "kind", [pytest.param(k, marks=pytest.mark.slow) if k in SLOW else k for k in FAMILIES]
)
@torch.no_grad()
def test_a_decoder_of_any_family_comes_in_whole(kind, tmp_path):
    tied, size, ties = FAMILIES[kind]
    made = saved(kind, tmp_path)
    read = read_hugging(tmp_path, LENGTH)
    network, judge = read.network, read.judge
    ids = torch.randint(4, 50, (4, LENGTH), generator=torch.Generator().manual_seed(0))
    mask = torch.ones_like(ids)
    mask[2:, 5:] = 0
    texts = {"input_ids": ids, "attention_mask": mask}
    logits = next(leaves(call(network, texts)))

    # logits at every position, those of the library
    assert logits.shape == (4, LENGTH, 60)
    torch.testing.assert_close(logits, made(**texts).logits)
    # a position sees none behind it, and no padding
    other = {**texts, "input_ids": torch.cat([ids[:, :5], ids[:, 5:].flip(1)], 1)}
    seen = next(leaves(call(network, other)))[:, :5]
    torch.testing.assert_close(seen, logits[:, :5])

    # what the judge counts: the next token wherever there is one
    assert judge.own_labels
    answers, labels = judge.read({"logits": logits}, texts), judge.truth(texts, None)
    entropy = judge.loss(answers, labels)
    for n in range(4):
        real = int(mask[n].sum())
        wanted = functional.cross_entropy(logits[n, : real - 1], ids[n, 1:real])
        assert float(entropy[n]) == pytest.approx(float(wanted), rel=1e-5)

    # every matrix has bits; a tied head is one decision with the embedding
    found = find_layers(network, part(texts, slice(1)), "net", read.inputs)
    layers = {layer.name: layer for layer in found.spec.layers}
    shared = [layer for layer in layers.values() if layer.kind == "tied_embedding"]
    assert len(shared) == tied
    left = [name for name in found.spec.left_in_float if made.get_parameter(name).dim() > 1]
    assert left == (["model.decoder.embed_positions.weight"] if "OPT" in kind else [])
    assert not any("float copy" in warning for warning in found.spec.warnings)
    assert float_gap(network, QuantizedModel(network, found), texts) < 1e-6

    # its blocks, and what is tied in each of them
    blocks = find_blocks(network, part(texts, slice(1)))
    inside = [[name for name in layers if name.startswith(f"{path}.")] for path in blocks.paths]
    assert [len(names) for names in inside] == [size, size]
    fused = [p for p in proposals(found.spec) if p.title.startswith("Linear layers")]
    found_ties = {tie.layers for proposal in fused for tie in proposal.ties}
    wanted_ties = {
        tuple(name for name in names if name.rpartition(".")[2] in tie)
        for names in inside
        for tie in ties
    }
    assert found_ties == wanted_ties
    assert len(wanted_ties) == len(blocks.paths) * len(ties)

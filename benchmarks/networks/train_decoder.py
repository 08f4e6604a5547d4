"""Trains the bundled language model and writes its weights, tokenizer and held-out texts.

    apt-get install bible-kjv
    bible -f gen1:1-rev22:21 > kjv.txt
    OMP_NUM_THREADS=1 python -m benchmarks.networks.train_decoder kjv.txt

The text is the King James Bible of 1611, in the public domain. Of its 1,189 chapters 15 %, drawn by
seed 0, are held out: neither tokenizer nor network sees them. In passages of whole verses that fit
into 128 tokens they become what the data set `verses` searches and tests on; what it calibrates on
is drawn from the other chapters. AdamW, a rate that rises and then falls as a half cosine, windows
of 127 tokens behind a first one, dropout 0.1 behind attention and feed-forward parts, products in
bfloat16, one thread: a quarter of an hour of an idle core. After each epoch the state is written to
`--state`, and a run that was stopped goes on from there to the same weights; the last epoch is
kept. (The shipped weights were begun as a run of `--epochs 8` and, stopped after four, ended as one
of 5.) They are stored as half-precision floats, and the figures in the JSON beside them are of that
file, in float32.
"""

import argparse
import json
import math
import random
import time
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from torch import Tensor, nn
from torch.nn import functional

from qcore.data import load_data
from qcore.data.bundled.verses import PAD, PARTS, TOKENS
from qcore.models import verses
from qcore.models.catalog import WEIGHTS
from qcore.models.decoder import Decoder, DecoderSizes
from qcore.models.zoo import load_model, write_spec
from qcore.trees import call

NAME = verses.NETWORK.name
PATH = WEIGHTS / f"{NAME}.pt"
BATCH, HELD_OUT, DROPOUT, CALIBRATION = 16, 0.15, 0.1, 1536
FIRST, PAD_WORD = "<s>", "<pad>"


def read_chapters(path: Path) -> list[list[str]]:
    """Verses of each chapter, from lines such as "Ge1:1 In the beginning ..."."""
    lines = [line.split(" ", 1) for line in path.read_text().splitlines() if ":" in line]
    chapters = groupby(lines, key=lambda line: line[0].rpartition(":")[0])
    return [[verse.strip() for _, verse in found] for _, found in chapters]


def split_chapters(chapters: list[list[str]]) -> tuple[list[list[str]], list[list[str]]]:
    """(chapters to train on, held out), each in the order of the text."""
    order = list(range(len(chapters)))
    random.Random(0).shuffle(order)
    held = set(order[: round(HELD_OUT * len(order))])
    return (
        [chapter for at, chapter in enumerate(chapters) if at not in held],
        [chapter for at, chapter in enumerate(chapters) if at in held],
    )


def make_tokenizer(chapters: list[list[str]], size: int) -> Tokenizer:
    """A byte-level BPE tokenizer that puts FIRST before a text."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=[FIRST, PAD_WORD],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator((" ".join(chapter) for chapter in chapters), trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{FIRST} $A", special_tokens=[(FIRST, tokenizer.token_to_id(FIRST))]
    )
    tokenizer.enable_padding(pad_id=PAD, pad_token=PAD_WORD)
    return tokenizer


def passages(chapters: list[list[str]], tokenizer: Tokenizer, length: int) -> list[str]:
    """Runs of whole verses of at most `length` tokens, the first included; a line each."""
    found = []
    for chapter in chapters:
        run = ""
        for verse in chapter:
            longer = f"{run} {verse}".strip()
            if run and len(tokenizer.encode(longer).ids) > length:
                found.append(run)
                longer = verse
            run = longer
        found.append(run)
    return found


def entropies(network: nn.Module, texts: list[str], tokenizer: Tokenizer, length: int) -> Tensor:
    """(entropy in nats summed over its tokens but the first, their number) of each text, (n, 2)."""
    rows = []
    network.eval()
    for start in range(0, len(texts), 64):
        encoded = tokenizer.encode_batch(texts[start : start + 64])
        ids = torch.tensor([each.ids for each in encoded])[:, :length]
        mask = torch.tensor([each.attention_mask for each in encoded])[:, :length]
        with torch.no_grad():
            logits = network(ids, mask)[:, :-1]
        each = functional.cross_entropy(logits.transpose(1, 2), ids[:, 1:], reduction="none")
        rows.append(torch.stack([(each * mask[:, 1:]).sum(1), mask[:, 1:].sum(1)], 1))
    return torch.cat(rows).double()


def perplexity(found: Tensor) -> float:
    """Perplexity per token of `entropies`."""
    return math.exp(float(found[:, 0].sum() / found[:, 1].sum()))


def windows(stream: Tensor, first: int, length: int, epoch: int) -> Tensor:
    """All windows (n, length) of an epoch, from an offset and in an order of its own."""
    generator = torch.Generator().manual_seed(epoch)
    body = length - 1
    offset = int(torch.randint(body, (1,), generator=generator))
    rows = stream[offset : offset + (len(stream) - offset) // body * body].view(-1, body)
    rows = rows[torch.randperm(len(rows), generator=generator)]
    return torch.cat([torch.full((len(rows), 1), first), rows], 1)


def rate_at(done: float, peak: float) -> float:
    """Learning rate after a share `done`, 0..1, of all steps: up for 5 %, then half a cosine."""
    return peak * min(done / 0.05, 0.5 * (1 + math.cos(math.pi * done)))


def train(network: Decoder, stream: Tensor, held: list[str], arguments: argparse.Namespace) -> None:
    """Train in place, epoch by epoch, from `arguments.state` on where that is there."""
    tokenizer: Tokenizer = arguments.tokenizer
    length, first = network.sizes.max_position_embeddings, int(tokenizer.token_to_id(FIRST) or 0)
    matrices = [p for p in network.parameters() if p.dim() > 1]
    vectors = [p for p in network.parameters() if p.dim() < 2]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=arguments.rate, betas=(0.9, 0.95))
    begun = 0
    if arguments.state.is_file():
        state = torch.load(arguments.state, weights_only=True)
        network.load_state_dict(state["network"])
        optimizer.load_state_dict(state["optimizer"])
        begun = state["epochs"]
    for layer in network.model.layers:
        for name in ("self_attn", "mlp"):
            layer.get_submodule(name).register_forward_hook(
                lambda module, _, x: functional.dropout(x, DROPOUT, module.training)
            )
    for epoch in range(begun, arguments.epochs):
        torch.manual_seed(epoch)
        rows, started, total = windows(stream, first, length, epoch), time.process_time(), 0.0
        batches = rows.split(BATCH)
        network.train()
        for step, ids in enumerate(batches):
            for group in optimizer.param_groups:
                done = (epoch + step / len(batches)) / arguments.epochs
                group["lr"] = rate_at(done, arguments.rate)
            with torch.autocast("cpu", torch.bfloat16):
                logits = network(ids[:, :-1])
            loss = functional.cross_entropy(logits.float().flatten(0, 1), ids[:, 1:].flatten())
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            total += float(loss.detach())
            if step % 100 == 0:
                print(f"  {step} of {len(batches)}: {float(loss.detach()):.3f}", flush=True)
        state = {"network": network.state_dict(), "optimizer": optimizer.state_dict()}
        beside = arguments.state.with_suffix(".new")
        torch.save({**state, "epochs": epoch + 1}, beside)
        beside.replace(arguments.state)
        found = perplexity(entropies(network, held[:256], tokenizer, length))
        print(
            f"epoch {epoch + 1}: {total / len(batches):.3f} nats, held out perplexity {found:.2f}, "
            f"{time.process_time() - started:.0f} CPU s",
            flush=True,
        )


def write_passages(
    trained_on: list[list[str]], held_out: list[list[str]], tokenizer: Tokenizer, length: int
) -> None:
    """Write the data set: token numbers of its three parts, held-out texts, tokenizer, licence."""
    chance = random.Random(0)
    runs = [passages([chapter], tokenizer, length) for chapter in held_out]
    known = passages(trained_on, tokenizer, length)
    parts = {
        "calibration": [known[at] for at in sorted(chance.sample(range(len(known)), CALIBRATION))],
        # of every three chapters two, so that both are from all books
        "search": [text for at, run in enumerate(runs) if at % 3 < 2 for text in run],
        "test": [text for at, run in enumerate(runs) if at % 3 == 2 for text in run],
    }
    verses.FOLDER.mkdir(exist_ok=True)
    tokenizer.enable_truncation(length)
    tokenizer.enable_padding(pad_id=PAD, pad_token=PAD_WORD, length=length)
    arrays = {
        part: np.array([each.ids for each in tokenizer.encode_batch(texts)], np.uint16)
        for part, texts in parts.items()
    }
    calibration, search, test = (arrays[part] for part in PARTS)
    np.savez_compressed(TOKENS, calibration=calibration, search=search, test=test)
    for part in ("search", "test"):
        (verses.FOLDER / f"{part}.txt").write_text("\n".join(parts[part]) + "\n")
    print({part: len(texts) for part, texts in parts.items()}, flush=True)


def facts(arguments: argparse.Namespace, tokens: int) -> dict[str, Any]:
    """What is known of the shipped weights, measured on the test passages."""
    network = load_model(NAME)
    judge: Any = verses.NETWORK.judge
    data = load_data(verses.DATA.name, calibration=1, search=1, model=NAME)
    marks, losses, counted = [], [], []
    for x, _ in data.test.batches(64):
        with torch.no_grad():
            seen = judge.read(call(network, x), x)
        labels = judge.truth(x, None)
        marks.append(judge.marks(seen, labels))
        losses.append(judge.loss(seen, labels))
        counted.append((labels >= 0).sum(1))
    score, loss, counts = torch.cat(marks).double(), torch.cat(losses).double(), torch.cat(counted)
    return {
        "model": NAME,
        "data": verses.DATA.name,
        "trained_on": tokens,
        "test_score": float(score.mean()),
        "test_error": float(score.std()) / math.sqrt(len(score)),
        "test_samples": len(score),
        "test_perplexity": math.exp(float((loss * counts).sum() / counts.sum())),
        "epochs": arguments.epochs,
        "peak_rate": arguments.rate,
        "seed": 0,
        "parameters": sum(p.numel() for p in network.parameters()),
        "torch": torch.__version__.split("+")[0],
    }


def main() -> None:
    """Train from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("text", type=Path)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--state", type=Path, default=Path("verse_decoder.state.pt"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    sizes = DecoderSizes()
    trained_on, held_out = split_chapters(read_chapters(arguments.text))
    arguments.tokenizer = tokenizer = make_tokenizer(trained_on, sizes.vocab_size)
    length = sizes.max_position_embeddings
    held = passages(held_out, tokenizer, length)
    plain = [tokenizer.encode(" ".join(c), add_special_tokens=False).ids for c in trained_on]
    stream = torch.tensor([number for ids in plain for number in ids])
    print(f"{len(stream):,} tokens to train on, {len(held):,} passages held out", flush=True)
    torch.manual_seed(0)
    network = Decoder(sizes)
    train(network, stream, random.Random(0).sample(held, len(held)), arguments)
    verses.FOLDER.mkdir(exist_ok=True)
    tokenizer.save(str(verses.TOKENIZER))
    write_passages(trained_on, held_out, tokenizer, length)
    half = network.lm_head.weight.detach().half()
    state = {key: value.half() for key, value in network.state_dict().items()}
    # one tensor under both names, so that it is stored once
    torch.save({**state, "model.embed_tokens.weight": half, "lm_head.weight": half}, PATH)
    found = facts(arguments, len(stream))
    (WEIGHTS / f"{NAME}.json").write_text(json.dumps(found, indent=1) + "\n")
    write_spec(NAME)
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()

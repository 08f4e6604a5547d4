"""Hostile files of every kind that a person can bring: `files` lists them."""

import io
import itertools
import json
import math
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

GIB = 2**30
Write = Callable[[Path], None]


@dataclass(frozen=True, slots=True)
class File:
    """One hostile file.

    Attributes:
        kind: What it is opened as: "weights", "onnx", "data", "sound", "image", "texts", "bits",
            "gguf", "tokenizer" or "rules".
        name: What is wrong with it.
        suffix: Its ending.
        write: Writes it.
    """

    kind: str
    name: str
    suffix: str
    write: Write


def _bytes(content: bytes) -> Write:
    return lambda path: _ignored(path.write_bytes(content))


def _ignored(_: Any) -> None:
    return None


def _npy_head(shape: str, kind: str = "<f4") -> bytes:
    head = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}".encode()
    head += b" " * (-(len(head) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head


def _npz_of_zeros(size: int, level: int) -> Write:
    """An array of `size` bytes of zeros as x, each member deflated; written piece by piece."""

    def write(path: Path) -> None:
        piece = bytes(2**20)
        with (
            zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=level) as archive,
            archive.open("x.npy", "w", force_zip64=True) as member,
        ):
            member.write(_npy_head(f"({size // 64}, 1, 4, 4)"))
            for _ in range(size // len(piece)):
                member.write(piece)

    return write


def _sparse(head: bytes, size: int) -> Write:
    """A head, and zeros behind it that take no room on the disk."""

    def write(path: Path) -> None:
        with path.open("wb") as stream:
            stream.write(head)
            stream.truncate(len(head) + size)

    return write


def _safetensors(entries: dict[str, Any], size: int) -> Write:
    head = json.dumps(entries).encode()
    return _sparse(struct.pack("<Q", len(head)) + head, size)


def _torch(make: Callable[[Any], Any]) -> Write:
    def write(path: Path) -> None:
        import torch

        torch.save(make(torch), path)

    return write


def _many_names(torch: Any) -> Any:
    return dict.fromkeys(map(str, range(10**6)), torch.zeros(1))


def _deflated(make: Callable[[Any], Any]) -> Write:
    """What torch.save writes, with its members deflated."""

    def write(path: Path) -> None:
        import torch

        aside = path.with_suffix(".whole")
        torch.save(make(torch), aside)
        with zipfile.ZipFile(aside) as whole, zipfile.ZipFile(path, "w") as packed:
            for entry in whole.infolist():
                with whole.open(entry) as source, packed.open(_named(entry.filename), "w") as out:
                    while piece := source.read(2**20):
                        out.write(piece)
        aside.unlink()

    return write


def _named(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name)
    entry.compress_type = zipfile.ZIP_DEFLATED
    return entry


def _parquet(rows: int) -> Write:
    def write(path: Path) -> None:
        import pyarrow
        from pyarrow import parquet

        column = pyarrow.array(np.zeros(2**20, np.float64))
        table = pyarrow.table({"x": column})
        with parquet.ParquetWriter(path, table.schema, compression="zstd") as writer:
            for _ in range(rows >> 20):
                writer.write_table(table, row_group_size=2**20)

    return write


def _wav(channels: int, rate: int, bits: int, size: int, claimed: int) -> Write:
    frame = channels * bits // 8
    form = struct.pack("<HHIIHH", 1, channels, rate, rate * frame & 0xFFFFFFFF, frame, bits)
    head = b"RIFF" + struct.pack("<I", 0xFFFFFFFF) + b"WAVEfmt " + struct.pack("<I", 16) + form
    return _sparse(head + b"data" + struct.pack("<I", claimed), size)


def _png(width: int, height: int, mode: int = 2) -> Write:
    """A PNG of zeros (mode 0 grey, 2 colour, 6 with transparency), packed row by row."""

    def write(path: Path) -> None:
        samples = {0: 1, 2: 3, 6: 4}[mode]
        row = bytes(1 + width * samples)
        packer = zlib.compressobj(9)
        packed = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
        head = struct.pack(">IIBBBBB", width, height, 8, mode, 0, 0, 0)
        chunks = ((b"IHDR", head), (b"IDAT", packed), (b"IEND", b""))
        path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(*each) for each in chunks))

    return write


def _chunk(name: bytes, content: bytes) -> bytes:
    check = struct.pack(">I", zlib.crc32(name + content))
    return struct.pack(">I", len(content)) + name + content + check


def _jpeg(width: int, height: int) -> Write:
    """The smallest JPEG, whose header claims another size."""

    def write(path: Path) -> None:
        from PIL import Image

        stream = io.BytesIO()
        Image.new("RGB", (8, 8)).save(stream, "JPEG")
        data = bytearray(stream.getvalue())
        at = data.index(b"\xff\xc0") + 5
        data[at : at + 4] = struct.pack(">HH", height, width)
        path.write_bytes(bytes(data))

    return write


def _onnx(
    nodes: Callable[[Any], list[Any]], shape: tuple[int | str, ...] = ("n", 3, 8, 8)
) -> Write:
    """A convolution, and what `nodes` makes of its output "c" on the way to "y"."""

    def write(path: Path) -> None:
        import onnx
        from onnx import helper, numpy_helper

        weight = numpy_helper.from_array(np.ones((4, 3, 3, 3), np.float32) / 27, "w")
        graph = helper.make_graph(
            [helper.make_node("Conv", ["x", "w"], ["c"]), *nodes(helper)],
            "g",
            [helper.make_tensor_value_info("x", 1, shape)],
            [helper.make_tensor_value_info("y", 1, ["n", None])],
            [weight],
        )
        opset = [helper.make_opsetid("", 17)]
        onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=9), path)

    return write


def _sized(helper: Any, name: str, *sizes: int) -> Any:
    value = helper.make_tensor(name, 7, [len(sizes)], sizes)
    return helper.make_node("Constant", [], [name], value=value)


def _expand(helper: Any) -> list[Any]:
    return [
        helper.make_node("GlobalAveragePool", ["c"], ["p"]),
        _sized(helper, "s", 1, 4, 20_000, 20_000),
        helper.make_node("Expand", ["p", "s"], ["e"]),
        helper.make_node("GlobalMaxPool", ["e"], ["m"]),
        helper.make_node("Flatten", ["m"], ["y"]),
    ]


def _resize(helper: Any) -> list[Any]:
    return [
        helper.make_node("Constant", [], ["r"], value_floats=[1.0, 1.0, 2000.0, 2000.0]),
        helper.make_node("Resize", ["c", "", "r"], ["e"], mode="nearest"),
        helper.make_node("GlobalMaxPool", ["e"], ["m"]),
        helper.make_node("Flatten", ["m"], ["y"]),
    ]


def _relus(count: int) -> Callable[[Any], list[Any]]:
    def nodes(helper: Any) -> list[Any]:
        names = ["c", *(f"r{at}" for at in range(count))]
        row = [helper.make_node("Relu", [a], [b]) for a, b in itertools.pairwise(names)]
        return [
            *row,
            helper.make_node("GlobalAveragePool", [names[-1]], ["m"]),
            helper.make_node("Flatten", ["m"], ["y"]),
        ]

    return nodes


def _loop(helper: Any) -> list[Any]:
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go"], ["again"]),
            helper.make_node("Relu", ["v"], ["next"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("i", 7, []),
            helper.make_tensor_value_info("go", 9, []),
            helper.make_tensor_value_info("v", 1, None),
        ],
        [
            helper.make_tensor_value_info("again", 9, []),
            helper.make_tensor_value_info("next", 1, None),
        ],
    )
    return [
        helper.make_node("Constant", [], ["rounds"], value=helper.make_tensor("r", 7, [], [2**62])),
        helper.make_node("Constant", [], ["yes"], value=helper.make_tensor("t", 9, [], [True])),
        helper.make_node("Loop", ["rounds", "yes", "c"], ["l"], body=body),
        helper.make_node("GlobalAveragePool", ["l"], ["m"]),
        helper.make_node("Flatten", ["m"], ["y"]),
    ]


def _plain(helper: Any) -> list[Any]:
    return [
        helper.make_node("GlobalAveragePool", ["c"], ["m"]),
        helper.make_node("Flatten", ["m"], ["y"]),
    ]


def _outside(location: str, size: int) -> Write:
    """An ONNX file whose weight lies in another file, of `size` bytes that take no room."""

    def write(path: Path) -> None:
        import onnx

        _onnx(_plain)(path)
        model = onnx.load(str(path))
        weight = model.graph.initializer[0]
        weight.ClearField("raw_data")
        weight.dims[:] = [4, 3, math.isqrt(size // 48), math.isqrt(size // 48)]
        weight.data_location = onnx.TensorProto.EXTERNAL
        entry = weight.external_data.add()
        entry.key, entry.value = "location", location
        path.write_bytes(model.SerializeToString())
        if "/" not in location:
            with (path.parent / location).open("wb") as stream:
                stream.truncate(size)

    return write


def _gguf(tensors: int, keys: int, rest: bytes) -> bytes:
    return b"GGUF" + struct.pack("<IQQ", 3, tensors, keys) + rest


def _gguf_names(count: int) -> bytes:
    rows = []
    for at in range(count):
        name = f"blk.{at}.attn_q.weight".encode()
        rows.append(struct.pack("<Q", len(name)) + name + struct.pack("<IQQIQ", 2, 64, 64, 0, 0))
    return _gguf(count, 0, b"".join(rows))


def _text(words: str) -> Write:
    return _bytes(words.encode())


_TEXTS = struct.pack("<Q", 1) + b"a" + struct.pack("<IIQ", 9, 8, 2**60)
MB19 = 19 * 2**20
BIG = "1" + "0" * 400


def _bits() -> Iterator[tuple[str, str]]:
    """Texts that are no bits: name, text."""
    yield "brackets, 19 MB", "[" * MB19
    yield "empty lists, 19 MB", "[" + "[]," * (MB19 // 3) + "[]]"
    yield (
        "a number of 400 digits",
        '{"format": "bitdial-allocation", "version": 1, "n": ' + BIG + "}",
    )
    yield "a number of 19 million digits", "[" + "1" * MB19 + "]"
    yield "1e400", "[1e400, 1e400]"
    yield "names, 19 MB", "{" + ",".join(f'"n{at}":1' for at in range(1_300_000)) + "}"
    yield "YAML, 19 MB", "- a\n" * (MB19 // 4)
    yield "YAML directives, 19 MB", "%TAG ! x\n" * (MB19 // 9)
    yield (
        "YAML aliases",
        "a0: &a0 [x]\n"
        + "".join(f"a{n}: &a{n} [" + ",".join([f"*a{n - 1}"] * 9) + "]\n" for n in range(1, 12)),
    )
    yield "Python lists, 2 MB", "x = [" + "[8, 8]," * 290_000 + "]"
    yield "Python, a long sum", "x = [" + "+".join(["1"] * 500_000) + "]"
    yield "Python, powers", "x = [9**9**9**9]\ny = [[0] * 10**9]"
    yield "Python, loops", "x = []\nfor i in range(10**9):\n    x.append([i] * 10**6)\n"


def files() -> Iterator[File]:
    """Every hostile file; what each is made of is kept in memory no longer than it is asked for."""
    gb2 = 2 * 10**9
    yield File("weights", "zip bomb: 2 GB of zeros, deflated", ".pt",
               _deflated(lambda torch: {"w": torch.zeros(gb2 // 4)}))  # fmt: skip
    yield File("weights", "2 GB of another network", ".pt",
               _torch(lambda torch: {"w": torch.zeros(gb2 // 4)}))  # fmt: skip
    yield File("weights", "a tensor expanded to 4 TB", ".pth",
               _torch(lambda torch: {"w": torch.zeros(1).expand(10**12)}))  # fmt: skip
    yield File("weights", "1,000,000 names", ".pt",
               _torch(_many_names))  # fmt: skip
    yield File("weights", "a list in a list, 100,000 deep", ".pt",
               _bytes(b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b"."))  # fmt: skip
    entry = {"dtype": "F32", "shape": [gb2 // 4], "data_offsets": [0, gb2]}
    yield File(
        "weights", "2 GB of another network", ".safetensors", _safetensors({"w": entry}, gb2)
    )
    many = {str(at): {"dtype": "U8", "shape": [0], "data_offsets": [0, 0]} for at in range(300_000)}
    yield File("weights", "300,000 names", ".safetensors", _safetensors(many, 0))
    yield File(
        "weights", "a head of 10^18 bytes", ".safetensors", _bytes(struct.pack("<Q", 10**18))
    )
    yield File("weights", "a head of deep brackets", ".safetensors",
               _bytes(struct.pack("<Q", 10**6) + b"[" * 10**6))  # fmt: skip
    yield File("onnx", "Expand to 6.4 GB", ".onnx", _onnx(_expand))
    yield File("onnx", "Resize to 2.3 GB", ".onnx", _onnx(_resize))
    yield File("onnx", "a loop of 2^62 rounds", ".onnx", _onnx(_loop))
    yield File("onnx", "5,000 Relus in a row", ".onnx", _onnx(_relus(5_000)))
    yield File("onnx", "inputs of 10^6 x 10^6", ".onnx", _onnx(_plain, ("n", 3, 10**6, 10**6)))
    yield File(
        "onnx", "1.9 GB of weights in another file", ".onnx", _outside("w.bin", 1_900_000_000)
    )
    yield File("onnx", "weights in /dev/zero", ".onnx", _outside("/dev/zero", 10**6))
    yield File("data", "zip bomb: 2.6 GB of zeros", ".npz", _npz_of_zeros(2_600_000_000, 9))
    yield File("data", "a head of 10^12 numbers", ".npy", _bytes(_npy_head("(1000000000000,)")))
    yield File("data", "2 GB of zeros with no such shape", ".npy",
               _sparse(_npy_head("(500000, 1000)"), gb2))  # fmt: skip
    yield File("data", "a tensor expanded to 4 TB", ".pt",
               _torch(lambda torch: {"x": torch.zeros(1).expand(10**12)}))  # fmt: skip
    yield File("data", "zip bomb: 2 GB of zeros, deflated", ".pt",
               _deflated(lambda torch: {"x": torch.zeros(gb2 // 64, 1, 4, 4)}))  # fmt: skip
    yield File("data", "4 GB of zeros in row groups", ".parquet", _parquet(2**29))
    yield File(
        "data", "2 GB of zeros with no such shape", ".safetensors", _safetensors({"x": entry}, gb2)
    )
    yield File("sound", "2 GB of silence", ".wav", _wav(1, 8000, 16, gb2, gb2))
    yield File(
        "sound", "65,535 channels", ".wav", _wav(65_535, 8000, 8, 65_535 * 100, 65_535 * 100)
    )
    yield File("sound", "4 * 10^9 Hz", ".wav", _wav(1, 4_000_000_000, 16, gb2, gb2))
    yield File("image", "13,000 x 13,000", ".png", _png(13_000, 13_000))
    yield File("image", "9,400 x 9,400 with transparency", ".png", _png(9_400, 9_400, 6))
    yield File("image", "1,000,000 x 1", ".png", _png(1_000_000, 1))
    yield File("image", "1 x 3,000,000", ".png", _png(1, 3_000_000))
    yield File("image", "65,000 x 65,000 in the head alone", ".jpg", _jpeg(65_000, 65_000))
    yield File(
        "image", "2 GB of zeros", ".npy", _sparse(_npy_head("(20000, 33333, 3)", "|u1"), gb2)
    )
    yield File("texts", "a line of 300 MB", ".jsonl", _sparse(b'{"text": "', 300_000_000))
    yield File("texts", "deep brackets", ".jsonl", _text("[" * 10**6 + "\n"))
    yield File("texts", "1e400 and 5,000 digits", ".jsonl",
               _text('{"text": 1e400}\n{"text": ' + "1" * 5_000 + "}\n"))  # fmt: skip
    yield File("tokenizer", "deep brackets", ".json", _text("[" * 10**6))
    yield File("tokenizer", "400 MB of zeros", ".json", _sparse(b"{", 400_000_000))
    yield File("tokenizer", "2,000,000 tokens", ".json", _vocabulary(2_000_000))
    for name, words in _bits():
        yield File("bits", name, ".txt", _text(words))
    yield File(
        "gguf",
        "100,000 tensors of one shape",
        ".gguf",
        lambda path: _ignored(path.write_bytes(_gguf_names(100_000))),
    )
    yield File("gguf", "2^60 keys", ".gguf", _sparse(_gguf(1, 2**60, b""), 10**9))
    yield File("gguf", "a list of 2^60 texts", ".gguf",
               _sparse(_gguf(1, 1, _TEXTS), 10**9))  # fmt: skip
    yield File("rules", "brackets, 1 MB", ".yaml", _text("a: " + "[" * 999_990))
    yield File("rules", "lists in lists, 1 MB", ".yaml", _text("- " * 499_990))
    yield File("rules", "directives, 1 MB", ".yaml", _text("%TAG ! x\n" * 110_000))
    yield File("rules", "dates, 1 MB", ".yaml", _text("- 2001-01-01\n" * 76_000))


def _vocabulary(count: int) -> Write:
    def write(path: Path) -> None:
        words = {f"token{at}": at for at in range(count)}
        model = {"type": "WordLevel", "vocab": words, "unk_token": "token0"}
        document = {"version": "1.0", "added_tokens": [], "model": model}
        path.write_text(json.dumps(document), encoding="utf-8")

    return write

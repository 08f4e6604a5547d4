"""Opens one file as the program does, and tells what that took.

`python -m benchmarks.hostile.opened KIND PATH` prints one line of JSON: "words" (what was said;
"read" where it was read), "seconds", "parent" and "child" (peak resident memory in MB, program and
all; 0 where there is no child).
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

from qcore.allocation import LayerSpec, ModelSpec
from qcore.errors import QcoreError
from qcore.models.new_network import NewNetwork
from qcore.models.preprocessing import Preprocessing
from qcore.rules.file import load_rules
from store import bounds, open_store
from store.database import Store
from store.jobs import add_network, opening, reading

POLL_S = 0.01
MODEL = ModelSpec(
    "small",
    "1" * 64,
    tuple(LayerSpec(f"layer{at}", "conv2d", 900, 8, 8, 40_000, 400, 400) for at in range(3)),
)


def peak_mb(pid: int | str = "self") -> float:
    """Peak resident memory of a process, MB; 0 where it is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0.0
    return next((int(row.split()[1]) / 1e3 for row in lines if row.startswith("VmHWM")), 0.0)


class Peak:
    """The largest peak of the child that is at work."""

    def __init__(self) -> None:
        self.mb = 0.0

    def look(self, *_: object) -> None:
        """Look at it once."""
        for child in list(opening._CHILDREN.values()):
            self.mb = max(self.mb, peak_mb(child.process.pid))


def _step(store: Store, step: str, peak: Peak) -> str:
    while (look := opening.look(store, step)).state == "running":
        peak.look()
        time.sleep(POLL_S)
    return look.words or "read"


def _in_a_child(store: Store, kind: str, path: Path, peak: Peak) -> str:
    if kind in ("bits", "gguf"):
        reading.POLL_S = POLL_S
        given = path if kind == "gguf" else path.read_bytes()
        reading.read_bits(store, given, MODEL, watch=peak.look)
        return "read"
    if kind == "data":
        return _step(
            store, add_network.start_check(store, "resnet8", f"tensors:{path}", 4, 4), peak
        )
    if kind == "onnx":
        steps = Preprocessing(3, 8, 8, mean=(0.5,), std=(0.5,))
        new = NewNetwork("hostile", "onnx", "", str(path), preprocessing=steps)
    else:
        source, _, name = kind.rpartition(":")
        name = name if source else "resnet8"
        new = NewNetwork("hostile", source or "bundled", name, str(path))
    return _step(store, add_network.start_adding(store, new), peak)


def _sound(path: Path) -> None:
    from qcore.data.sounds.packed import read_sound

    read_sound(path, 1.0)


def _image(path: Path) -> None:
    from qcore.data.image_files import read_image

    read_image(path, Preprocessing(3, 224, 224, 256))


def _texts(path: Path) -> None:
    from qcore.data import load_data

    load_data(f"texts:{path}", calibration=2, search=2, model="verse_decoder")


def _tokenizer(path: Path) -> None:
    folder = path.parent / "texts"
    folder.mkdir()
    (folder / "tokenizer.json").symlink_to(path)
    (folder / "a.txt").write_text("A text.\n\n" * 20, encoding="utf-8")
    _texts(folder)


HERE: dict[str, Callable[[Path], object]] = {
    "sound": _sound,
    "image": _image,
    "texts": _texts,
    "tokenizer": _tokenizer,
    "rules": load_rules,
}
"""What a search's worker or a command opens itself, within the same bounds."""


def main(kind: str, path: Path) -> dict[str, object]:
    """Open a file; see the module."""
    store, peak = open_store(), Peak()
    began = time.monotonic()
    try:
        if kind in HERE:
            with bounds.as_set():
                HERE[kind](path)
            words = "read"
        else:
            words = _in_a_child(store, kind, path, peak)
    except QcoreError as error:
        words = str(error)
    seconds = time.monotonic() - began
    return {"words": words, "seconds": seconds, "parent": peak_mb(), "child": peak.mb}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(sys.argv[1], Path(sys.argv[2]))) + "\n")

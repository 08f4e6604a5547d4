"""Writes the tables of docs/models.md from what `benchmarks.networks.imagenet_photos` measured.

python -m benchmarks.networks.photo_tables
"""

import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results" / "imagenet_photos.json"
DOCUMENT = ROOT / "docs" / "models.md"
START, END = "<!-- photographs -->", "<!-- end of photographs -->"
TITLES = {
    "mobilenet-v2-imagenet": "MobileNetV2",
    "efficientnet-lite0-imagenet": "EfficientNet-Lite0",
}
STEPS = {
    "load": "read the weights, find the layers, check (`add-model`)",
    "sensitivity": "sensitivity (Models page)",
    "front": "exact front, every point measured (`run`)",
    "edit": "one point edited by hand, measured (`given`)",
    "export": "ONNX file, compared with the measured logits (`export`)",
    "run": "float network and ONNX file on the test images",
}
RUNS = {"as_written": "as written", "optimised": "optimised"}


def write_tables() -> None:
    """Put the tables between the marks of the page."""
    results = json.loads(RESULTS.read_text(encoding="utf-8"))
    before, rest = DOCUMENT.read_text(encoding="utf-8").split(START)
    made = f"{START}\n\n{tables(results)}\n{END}"
    DOCUMENT.write_text(before + made + rest.split(END)[1], encoding="utf-8")


def tables(results: dict[str, Any]) -> str:
    """All tables: what each step took, the fronts, the files."""
    networks = sorted(results["networks"], key=lambda part: list(TITLES).index(part["model"]))
    parts = [_steps(networks), *(_front(part) for part in networks), _files(networks)]
    return "\n".join(parts)


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _steps(networks: list[dict[str, Any]]) -> str:
    head = ["step"]
    for part in networks:
        name = f"{TITLES[part['model']]}, {len(part['front'])} points"
        head += [f"{name}: CPU time, s", "wall clock, s", "peak memory, MiB"]
    rows = []
    for step, title in STEPS.items():
        row = [title]
        for part in networks:
            took = part["steps"][step]
            row += [f"{took['cpu_seconds']:.0f}", f"{took['seconds']:.0f}"]
            row += [f"{took['peak_mib']:,}"]
        rows.append(row)
    return _table(head, rows)


def _front(part: dict[str, Any]) -> str:
    head = ["mean weight bits", "weights, B", "KL on the search split", "KL on the test images"]
    head += ["same class as the float network (95 % interval, n)"]
    rows = [_point(row) for row in part["front"]]
    edited = _point(part["edited"])
    edited[0] += " (edited)"
    raised = [f"`{layer}` from {low} to {high}" for layer, (low, high) in part["raised"].items()]
    start = part["edited_from"]["mean_weight_bits"]
    words = f"Edited: weight bits of {', '.join(raised)}, in the point of {start:.2f} mean bits."
    return f"{TITLES[part['model']]}:\n\n{_table(head, [*rows, edited])}\n{words}\n"


def _point(row: dict[str, Any]) -> list[str]:
    low, high = (100 * bound for bound in row["interval"])
    agreement = f"{100 * row['test_agreement']:.1f} % ({low:.1f} to {high:.1f}, n = {row['n']})"
    return [
        f"{row['mean_weight_bits']:.2f}",
        f"{row['weight_bytes']:,}",
        f"{row['search_kl']:.3f}",
        f"{row['test_kl']:.3f}",
        agreement,
    ]


def _files(networks: list[dict[str, Any]]) -> str:
    head = ["ONNX file of the edited point", "bytes", "layers stored wider", "run"]
    head += ["same class as measured, search split", "median difference of a logit"]
    head += ["same class as the float network, test images", "ms an image", "float, ms an image"]
    rows = []
    for part in networks:
        file, ran = part["export"], part["onnxruntime_on_test"]
        for key, title in RUNS.items():
            compared = file if key == "as_written" else file["optimised"]
            rows.append(
                [
                    TITLES[part["model"]],
                    f"{file['bytes']:,}",
                    str(part["widened_layers"]),
                    title,
                    f"{100 * compared['argmax_agreement']:.1f} % (n = {compared['n']})",
                    f"{compared['median_abs_diff']:.3f} (range {compared['logit_range']:.1f})",
                    f"{100 * ran[key]['agreement']:.1f} % (n = {ran['n']})",
                    f"{ran[key]['ms_per_image']:.0f}",
                    f"{ran['float_ms_per_image']:.0f}",
                ]
            )
    return _table(head, rows)


if __name__ == "__main__":
    write_tables()

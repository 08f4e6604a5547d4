"""docs/extending.md holds: what it adds works, and touches no more files than it says.

Its blocks are put into a copy of the source, one example after the other. There the new entries run
through the tests that every entry of their kind must pass.
"""

import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCUMENT = ROOT / "docs" / "extending.md"
PARTS = ("qcore", "store", "pages", "benchmarks", "docs", "tests")
LIMITS = {
    "A search that does not train": 3,
    # four, and its line and row among the searches
    "A search that trains in a new way": 6,
    "A cost by formula": 2,
    "A learned quantizer": 2,
    "A post-training quantizer": 3,
    "A judge": 3,
    "An export": 3,
    "A plot on a page": 3,
}
"""Heading of an example to the most files it may touch, documents and tests included."""

BLOCK = re.compile(
    r"^New file `(?P<new>[^`]+)`:\n\n```\w+\n(?P<whole>.*?)^```$"
    r"|^In `(?P<old>[^`]+)`, (?P<where>before|after) (?P<second>the second )?`(?P<line>[^`]+)`:"
    r"\n\n```\w+\n(?P<lines>.*?)^```$"
    r"|^Written by `python -m (?P<command>[\w.]+)`: `(?P<written>[^`]+)`\.$",
    re.MULTILINE | re.DOTALL,
)

CONTRACTS = {
    "tests/qcore/searches/test_contract.py": "neighbours or snapped",
    "tests/qcore/costs/test_costs.py": "traffic_bytes",
    "tests/qcore/quantizers/test_learned.py": "reaching",
    "tests/qcore/quantizers/test_weights.py": "deviation",
    "tests/qcore/judges/test_judges.py": "angle or document_lists",
    "tests/qcore/formats/exports/test_contract.py": "markdown",
    "tests/pages/plots/test_bit_counts.py": "bit_counts",
    "tests/pages/test_examples.py": "examples",
    "tests/test_tables.py": "document_of_searches",
}
"""What runs in the copy: a file of tests, and which of them."""

EXAMPLES = '''
"""What no contract asks of the examples."""

import torch

from pages.plots.style import style_of
from pages.shared.text import cost_text
from qcore.allocation import BitAllocation
from qcore.costs import COSTS, applicable, costs_of
from qcore.engine import drive
from qcore.problem import Problem
from qcore.qat.checkpoints import MemoryCheckpoints
from qcore.quantizer_names import learned_for
from qcore.quantizers import LEARNED_QUANTIZERS
from qcore.run_spec import RunSpec, check_run
from qcore.searches import SEARCHES
from store import config_text, points_of
from store.runs.configurations import save_config
from tests.pages import sample
from tests.small_nets import found, small_evaluator, small_options, small_trainer

MODEL = sample.MODEL


def test_the_search_can_be_asked_for_under_the_new_cost_with_the_new_quantizer():
    spec = RunSpec("resnet8", "fashion-mnist", "neighbours", quantizer="deviation")
    check_run(spec, MODEL)
    check_run(RunSpec(**{**vars(spec), "limits": {"traffic_bytes": 400_000}}), MODEL)
    looks = [tuple(style_of(search.title).values()) for search in SEARCHES.values()]
    assert len(set(looks)) == len(looks)


def test_the_cost_is_priced_and_reads_well():
    assert "traffic_bytes" in applicable(MODEL)
    price = costs_of(MODEL, BitAllocation.uniform(MODEL.layers, 4, 8))["traffic_bytes"]
    parts = costs_of(MODEL, BitAllocation.uniform(MODEL.layers, 4, 8))
    assert price == parts["weight_bytes"] + parts["activation_bytes_sum"]
    assert cost_text(COSTS["traffic_bytes"], price).endswith("KiB")


def test_the_learned_quantizer_is_offered_and_trains_a_step():
    assert "reaching" in learned_for("gradfreebits")
    quantizer = LEARNED_QUANTIZERS["reaching"]
    weight = torch.randn(8, 20, generator=torch.Generator().manual_seed(0)).requires_grad_()
    scale = torch.tensor(quantizer.weight_start(weight, 3), requires_grad=True)
    before = weight.detach().clone(), scale.detach().clone()
    descent = torch.optim.SGD([weight, scale], 0.01)
    quantizer.weight(weight, scale, 3).square().sum().backward()
    descent.step()
    assert not torch.equal(weight, before[0])
    assert not torch.equal(scale, before[1])


def test_the_new_way_trains_and_what_it_leaves_is_scored():
    evaluator = small_evaluator()
    trainer = small_trainer(MemoryCheckpoints(), evaluator)
    problem = Problem(found(0).spec, small_options((2, 4), (4,)), trainer=trainer)
    search = SEARCHES["snapped"]
    params = search.read_params({"epochs": 1, "epoch_images": 16})
    (point,) = drive(search, problem, params, 0, score=evaluator.score).points
    assert point.stage == "snapped"
    assert trainer.saved("snapped")


def test_the_plot_is_drawn_on_its_page(app, filled):
    point = next(stored for stored in points_of(filled, [1, 2, 3]) if stored.has_config)
    number = save_config(filled, "kept", config_text(filled, point.id))
    at = app("configs", config=str(number))
    assert f"bit-counts-{number}" in {chart.key for chart in at.get("plotly_chart")}
'''


def examples():
    """Heading to its blocks."""
    parts = re.split(r"^## (.+)$", DOCUMENT.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def copied(to):
    """The source, its weights and images as links."""

    def copy(source, target):
        heavy = Path(source).stat().st_size > 1 << 20
        # of the same time, what Python has compiled is still true
        Path(target).symlink_to(source) if heavy else shutil.copy2(source, target)

    left_out = shutil.ignore_patterns("results", "*.png", "e2e", "engine", "releases")
    for part in PARTS:
        shutil.copytree(ROOT / part, to / part, ignore=left_out, copy_function=copy)
    for name in ("app.py", "pyproject.toml"):
        shutil.copyfile(ROOT / name, to / name)
    return to


def content(root):
    """Path to content of every small file."""
    files = (p for p in root.rglob("*") if p.is_file() and "__pycache__" not in p.parts)
    return {p.relative_to(root): p.read_bytes() for p in files if not p.is_symlink()}


def put(block, root):
    """One block of the document into the copy."""
    if block["new"]:
        assert not (root / block["new"]).exists()
        (root / block["new"]).parent.mkdir(exist_ok=True)
        (root / block["new"]).write_text(block["whole"], encoding="utf-8")
    elif block["command"]:
        subprocess.run([sys.executable, "-m", block["command"]], cwd=root, check=True)
    else:
        path = root / block["old"]
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        line = block["line"]
        found = [at for at, text in enumerate(lines) if text.strip().startswith(line)]
        found = found or [at for at, text in enumerate(lines) if line in text]
        at = found[1 if block["second"] else 0] + (block["where"] == "after")
        anchor = lines[at - (block["where"] == "after")]
        margin = anchor[: len(anchor) - len(anchor.lstrip())]
        put_in = textwrap.indent(block["lines"], margin)
        path.write_text("".join([*lines[:at], put_in, *lines[at:]]), encoding="utf-8")


@pytest.fixture(scope="module")
def extended(tmp_path_factory):
    """A copy with every example in it, and which files each of them touched."""
    root, touched = copied(tmp_path_factory.mktemp("copy")), {}
    before = content(root)
    for heading, words in examples().items():
        for block in BLOCK.finditer(words):
            put(block, root)
        after = content(root)
        touched[heading] = sorted(str(path) for path in after if after[path] != before.get(path))
        before = after
    return root, touched


def test_each_example_touches_no_more_files_than_promised_and_names_them_all(extended):
    _, touched = extended
    assert set(LIMITS) <= set(touched)
    for heading, most in LIMITS.items():
        assert 0 < len(touched[heading]) <= most, touched[heading]
        words = examples()[heading]
        assert all(f"`{path}`" in words for path in touched[heading])


def test_the_examples_are_written_as_the_source_is(extended):
    root, touched = extended
    files = sorted({path for paths in touched.values() for path in paths if path.endswith(".py")})
    for words in (("check",), ("format", "--check")):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *words, "--no-cache", *files],
            cwd=root, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout


def test_the_examples_pass_what_every_entry_of_their_kind_must_pass(extended):
    root, _ = extended
    (root / "tests/pages/test_examples.py").write_text(EXAMPLES.lstrip(), encoding="utf-8")
    words = [*CONTRACTS, "-k", " or ".join(CONTRACTS.values()), "-p", "no:cacheprovider", "-v"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *words],
        cwd=root, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-4000:]
    for path, name in CONTRACTS.items():
        ran = [line for line in done.stdout.splitlines() if line.startswith(path)]
        for one in name.split(" or "):
            assert any("PASSED" in line and one in line for line in ran), (path, one)

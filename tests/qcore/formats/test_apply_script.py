"""The downloaded script alone reproduces the logits that were measured."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from qcore.allocation import BitAllocation, LayerBits
from qcore.formats.exports import EXPORTS, write
from qcore.prepare import Prepared
from qcore.problem import Problem
from tests.small_nets import small_data, small_evaluator, small_net

ROOT = Path(__file__).parents[3]
MIXED = ((3, 32), (8, 8), (2, 4), (1, 2), (32, 1))


def exported():
    evaluator = small_evaluator()
    spec = evaluator.model.spec
    prepared = Prepared(Problem(spec, {}), evaluator, "0" * 64)
    pairs = zip(spec.names, MIXED, strict=True)
    allocation = BitAllocation({name: LayerBits(w, a) for name, (w, a) in pairs})
    point = prepared.report(next(prepared.score([allocation])))
    config = prepared.config(point, {})
    x = next(small_data().test.batches(96))[0]
    return config, x, evaluator.model(x)


def test_the_script_gives_the_measured_logits():
    config, x, wanted = exported()
    names = {}
    exec(compile(EXPORTS["script"].render(config), "a.py", "exec"), names)
    model = names["apply"](small_net())
    with torch.no_grad():
        assert torch.allclose(model(x), wanted, atol=1e-4)


@pytest.mark.parametrize("name", ["script", "brevitas"])
def test_other_weights_than_those_measured_are_refused(name, tmp_path):
    config, _, _ = exported()
    names = {"__name__": "script"}
    exec(compile(write(EXPORTS[name], config), "a.py", "exec"), names)
    assert names["digest"](small_net()) == config.model.digest
    other = small_net()
    with torch.no_grad():
        next(other.parameters()).add_(1e-3)
    with pytest.raises(SystemExit, match=r"not the weights of .* that were measured"):
        names["apply"](other)
    state = {f"module.{key}": value for key, value in small_net().state_dict().items()}
    torch.save(state, tmp_path / "w.pt")
    with pytest.raises(SystemExit, match=r"w\.pt does not fit the model; missing: .*module\."):
        names["load_weights"](small_net(), str(tmp_path / "w.pt"))


def test_the_script_runs_from_the_command_line(tmp_path):
    config, _, _ = exported()
    script = tmp_path / "apply_bits.py"
    script.write_bytes(EXPORTS["script"].render(config))
    torch.save(small_net().state_dict(), tmp_path / "w.pt")
    command = [sys.executable, str(script), "tests.small_nets:small_net", "--weights", "w.pt",
               "--out", "q.pt"]  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r}); "
         f"sys.argv = {command[1:]!r}; "
         f"exec(compile(open({str(script)!r}).read(), 'a', 'exec'), {{'__name__': '__main__'}})"],
        cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "5 layers quantized" in done.stdout
    assert torch.load(tmp_path / "q.pt", weights_only=True)


@pytest.mark.parametrize(
    ("name", "needs"), [("script", {"torch"}), ("brevitas", {"torch", "brevitas"})]
)
def test_a_script_is_one_file_that_imports_nothing_of_ours(name, needs):
    config, _, _ = exported()
    tree = ast.parse(write(EXPORTS[name], config))
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found.update(alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            found.add(str(node.module).split(".")[0])
    assert found - sys.stdlib_module_names == needs
    names = [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]
    assert len(set(names)) == len(names)
    assert {"apply", "main", "load_weights"} <= set(names)

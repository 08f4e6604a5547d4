"""Python files: what they build is what running them would build, and nothing of them is run."""

import contextlib
import sys
import time
from types import ModuleType

import pytest

from qcore.allocation import LayerBits
from qcore.errors import InvalidConfig
from qcore.formats.imports import read_allocations
from qcore.formats.imports.document import read_document
from qcore.formats.imports.values import is_plain
from tests import configs

MODEL = configs.RESNET8
PAIRS = [[8, -1], [6, 5], [5, 6], [4, 4], [6, 6], [7, 4], [5, 5], [4, 6], [3, 5], [8, 8]]

WHAT_IT_BUILDS = {
    "spread": "S = {'b': 2, 'a': 3}\nx = {'a': 1, **S, 'c': [*[1, 2], 3]}",
    "merged": "x = {'a': 1} | {'a': 2, 'b': 3}\nx |= {'c': 4}",
    "copied": "import copy\nb = {'q': {'a': 1}}\nx = copy.deepcopy(b)\nx['q']['a'] = 2",
    "copied, the copied stays": "b = {'q': {'a': 1}}\nc = __import__('copy').deepcopy(b)\nx = b",
    "shallow copy": "b = {'q': {'a': 1}}\nx = b.copy()\nx['q']['a'] = 2\nx['r'] = 3\ny = b",
    "shared": "x = {'q': {}}\nq = x['q']\nq['a'] = 1\nq.update({'b': 2}, c=3)",
    "dict()": "x = dict({'a': 1}, b=2, **{'c': 3})\ny = dict([('a', 1), ('b', 2)])\nz = dict(a=1)",
    "ordered": "from collections import OrderedDict\nx = OrderedDict([('b', 1), ('a', 2)])",
    "taken out": "x = {'a': 1, 'b': 2, 'c': 3, 'd': 4}\ndel x['a']\nx.pop('b')\nx.pop('z', None)",
    "grown": "x = []\nx.append([8, -1])\nx.extend([[4, 4]] * 3)\nx += [[2, 2]]\nx.insert(1, [3])",
    "changed": "x = [8] * 5\nx[1] = 4\nx[-1] = 2\ny = x[1:3]\nz = x[::-1]\nx.reverse()",
    "numbers": "B = 4\nx = [B, -1, B * 2, B + 1, 8 // 2, 9 % 5, float(B), int(3.0), +2]",
    "comprehension": "N = ['a', 'b']\nx = {f'*{n}*': 4 for n in N}\ny = [[8, i] for i in range(3)]",
    "filtered": "x = [b for b in range(9) if b > 1 if b not in (3, 5)]\ny = [i * j for i in [1, 2] "
    "for j in [3, 4]]",
    "keys": "x = dict.fromkeys(['a', 'b'], 4)\ny = list({'a': 1})\nz = list({'a': 1}.items())",
    "loop": "x = {}\nfor i in range(3):\n    x[f'layer{i}'] = 4 + i",
    "loop with a test": "x = {}\nfor n, b in {'a': 1, 'b': 2, 'c': 3}.items():\n    if n == 'b':\n"
    "        continue_ = 1\n        x[n] = b * 2\n    elif n != 'c':\n        x[n] = b",
    "loop that changes": "x = [{'n': 'a', 'c': {}}, {'n': 'b', 'c': {}}]\nfor e in x:\n"
    "    if e['n'].count == 1 or e['n'] == 'b':\n        pass\n    if e['n'] == 'b':\n"
    "        e['c']['bits'] = 4",
    "zip": "x = [list(p) for p in zip([8, 4], [6, 6])]\ny = {n: i for i, n in enumerate(['a'])}",
    "attributes": "class S: pass\nself = S()\nself.a = [1, 2]\nself.a.append(3)\nx = self.a",
    "unpacked": "x, y = [1, 2], {'a': 3}\n(a, b), c = (1, 2), 3\nz = [a, b, c]",
    "again": "x = [1]\nx = [2] + x\nx = x + [3]",
    "setdefault": "x = {'a': {}}\nx.setdefault('a', {})\nx.setdefault('c', 2)",
    "with and try": "import contextlib\nx = {}\nwith contextlib.nullcontext():\n    x['a'] = 1\n"
    "try:\n    x['b'] = 2\nfinally:\n    x['c'] = 3",
}


@pytest.mark.parametrize("what", WHAT_IT_BUILDS)
def test_a_file_says_what_running_it_would_say(what):
    text = WHAT_IT_BUILDS[what]
    ran: dict = {}
    exec(text, ran)  # the texts above are this test's own
    said = read_document(text.encode()).value
    for name in ("x", "y", "z"):
        if name not in ran:
            continue
        labels = [label for label in said if label == name or label.startswith(f"{name} (line")]
        assert said[labels[0]] == ran[name], labels


def test_what_only_running_would_tell_is_never_guessed():
    lines = [
        "import os",
        "a = [os.getpid(), 4]",
        "b = {'x': open('/etc/passwd').read(), 'y': 4}",
        "c = [4, 4]",
        "c[os.getpid() % 2] = 8",
        "d = {'x': 4}",
        "d[os.name] = 8",
        "e = [4, 4]",
        "e.append(os.getpid())",
        "f = {'x': 4}",
        "f.update(os.environ)",
        "g = {**os.environ}",
        "h = [4, *os.listdir()]",
        "i = [4, 4]",
        "i.sort(key=os.fspath)",
        "k = lambda: [4, 4]",
        "m = [4] if os.name else [8]",
        "n = {'q': {}}",
        "n.setdefault('q', {})['b'] = 4",
        "o = {'q': {'r': [4]}}",
        "o.get('q')['r'].append(8)",
        "q = [8]",
        "while len(q) < 3: q.append(4)",
        "r = [8]",
        "for n in os.listdir(): r.append(4)",
        "t = []",
        "for n in [8, 4, 2]:\n    if n == 4: break\n    t.append(n)",
        "u = sorted([4, 2])",
        "p = {'q': 4, 'r': 8}",
        "del p[os.name]",
    ]
    document = read_document("\n".join(lines).encode())
    for name, value in document.value.items():
        assert not is_plain(value), name
    for name in "acdefghmnopqrtu":
        assert any(said.startswith(f"{name} is made from ") for said in document.unread), name


def test_both_ways_of_an_if_are_offered():
    text = f"""
if arch == "a":
    strategy = {PAIRS}
else:
    strategy = {PAIRS[::-1]}
strategy[0] = [2, 2]
"""
    found = read_allocations(text.encode(), MODEL).choices
    assert set(found) == {"strategy (line 3)", "strategy (line 5)"}
    assert {bits["conv1"] for bits in found.values()} == {LayerBits(2, 2)}
    assert [bits["fc"] for bits in found.values()] == [LayerBits(8, 8), LayerBits(8, 32)]


def test_a_change_that_depends_is_offered_with_and_without():
    text = f"strategy = {PAIRS}\nif args.low:\n    strategy[-1] = [2, 2]\n"
    found = read_allocations(text.encode(), MODEL).choices
    assert sorted(bits["fc"].weight for bits in found.values()) == [2, 8]
    assert set(found) == {"strategy (line 1)", "strategy (line 1, changed in line 3)"}


@pytest.mark.parametrize(
    "body",
    [
        "def main(arch):\n    if 'r8' in arch:\n        strategy = {}\n    return strategy",
        "def main(strategy={}):\n    pass",
        "class Env:\n    strategy = {}",
        "class Env:\n    def reset(self):\n        self.strategy = {}",
        "if __name__ == '__main__':\n    strategy = {}",
        "def strategy():\n    return {}",
        "quantize(model, index, strategy={})",
        "run = quantize(model, {}, mode='cpu')",
        "try:\n    from mine import strategy\nexcept ImportError:\n    strategy = {}",
        "for name in names:\n    strategy = {}",
        "with open(path) as file:\n    strategy = {}",
        "strategy: list = {}",
        "import numpy as np\nstrategy = np.array({}, dtype=int)",
        "strategy = tuple({})",
        "args.strategy = {}",
        "match arch:\n    case 'r8':\n        strategy = {}",
        "assert n == 3\nstrategy = {}\nprint('strategy', strategy)\nraise SystemExit",
    ],
)
def test_a_strategy_is_found_wherever_scripts_keep_it(body):
    (bits,) = read_allocations(body.replace("{}", repr(PAIRS)).encode(), MODEL).choices.values()
    assert [[bits[n].weight, bits[n].activation] for n in MODEL.names] == [
        [32 if width == -1 else width for width in pair] for pair in PAIRS
    ]


def test_a_value_that_is_assigned_anew_comes_after_the_last_one():
    text = f"strategy = {PAIRS}\nstrategy = {PAIRS[::-1]}"
    found = read_allocations(text.encode(), MODEL).choices
    assert list(found) == ["strategy (line 2)", "strategy (line 1)"]
    assert next(iter(found.values()))["fc"] == LayerBits(8, 32)


def test_a_function_that_returns_early_is_followed_to_each_return():
    text = (
        f"def f():\n    s = {PAIRS}\n    if a:\n        return s\n    s[0] = [2, 2]\n    return s"
    )
    found = read_allocations(text.encode(), MODEL).choices
    assert {bits["conv1"] for bits in found.values()} == {LayerBits(2, 2), LayerBits(8, 32)}


def test_what_a_function_of_the_file_may_change_is_said():
    text = f"strategy = {PAIRS}\ndef patch(s):\n    s[0] = [2, 2]\npatch(strategy)"
    notes = read_allocations(text.encode(), MODEL).notes["strategy"]
    assert any("Line 4 hands strategy to patch()" in note for note in notes)


def test_other_names_of_presets_are_known():
    text = b"from modelopt.torch.quantization import INT8_DEFAULT_CFG as BASE\nM = deepcopy(BASE)"
    assert set(read_allocations(text, MODEL).choices["M"].values()) == {LayerBits(8, 8)}


def test_what_cannot_be_read_is_named_with_its_line():
    with pytest.raises(InvalidConfig, match=r"strategy is made from np\.load\('s\.npy'\).*line 2"):
        read_allocations(b"import numpy as np\nstrategy = np.load('s.npy')\nn = 3", MODEL)
    text = b"strategy = []\nfor i in env:\n    strategy.append([agent(i), 4])"
    with pytest.raises(InvalidConfig, match=r"strategy is made from agent\(i\).*line 3"):
        read_allocations(text, MODEL)


@pytest.mark.parametrize(
    "text",
    [
        "x = [0] * 10**12",
        "x = [[[0] * 1000] * 1000] * 1000\ny = copy.deepcopy(x)",
        "x = [i for i in range(10**9)]",
        "x = 'a' * 10**12",
        "x = 10 ** 10 ** 10",
        pytest.param(
            "x = [[i, j, k, l] for i in range(999) for j in range(999) for k in range(999)]",
            marks=pytest.mark.slow,
        ),
        "x = []\n" + "if a:\n    x.append(1)\n" * 200,
        "x = [1]\n" + "x += x\n" * 60,
        "x = {}\nx['x'] = x\ny = copy.deepcopy(x)",
        "def f():\n" + "".join(f"{' ' * n}if a:\n" for n in range(1, 60)) + " " * 60 + "x = [1]",
    ],
)
def test_a_text_made_to_take_long_ends_soon(text):
    started = time.process_time()
    with contextlib.suppress(InvalidConfig):
        read_document(text.encode())
    assert time.process_time() - started < 10


def test_names_of_a_stub_are_not_imported(monkeypatch):
    stub = ModuleType("bitdial_stub")
    stub.BITS = [4] * 10
    monkeypatch.setitem(sys.modules, "bitdial_stub", stub)
    text = b"from bitdial_stub import BITS\nstrategy = copy.deepcopy(BITS)"
    with pytest.raises(InvalidConfig, match="BITS"):
        read_allocations(text, MODEL)

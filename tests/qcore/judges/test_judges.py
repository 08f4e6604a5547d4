"""Every judge keeps one contract, and each its own definition."""

import math
from dataclasses import fields
from pathlib import Path

import pytest
import torch
from torch import Tensor

from qcore.errors import InvalidData, InvalidParams
from qcore.judges import CLASSES, JUDGES, Judge, Measure, read_judge
from qcore.judges.classes import Classes
from qcore.judges.embedding import Embedding, neighbours
from qcore.judges.map import Map
from qcore.judges.parts import Parts
from qcore.judges.proposal import propose
from qcore.judges.signal import Signal
from qcore.judges.tally import score_bytes, tally
from qcore.judges.tokens import Tokens
from qcore.trees import part
from store.runs.points import read_scores

N = 12
ROOT = Path(__file__).parents[3]


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


MASK = torch.tensor([[1, 1, 1, 0, 0]] * (N // 2) + [[1] * 5] * (N // 2))
IDS = torch.arange(N * 5).reshape(N, 5) % 7

# judge, its outputs, inputs, labels
CASES = {
    "classes": (CLASSES, noise(N, 7), None, torch.arange(N) % 7),
    "classes, probabilities": (
        Classes(probabilities=True),
        noise(N, 7).softmax(1),
        None,
        torch.arange(N) % 7,
    ),
    "tokens": (Tokens(mask="mask"), noise(N, 5, 7), {"ids": IDS, "mask": MASK}, IDS),
    "tokens, causal": (
        Tokens(mask="mask", ids="ids"),
        noise(N, 5, 7),
        {"ids": IDS, "mask": MASK},
        None,
    ),
    "embedding": (
        Embedding(mask="mask"),
        noise(N, 5, 6),
        {"mask": MASK, "ids": IDS},
        torch.arange(N) % 3,
    ),
    "embedding, first": (Embedding(pool="first"), noise(N, 5, 6), None, torch.arange(N) % 3),
    "map": (Map(), noise(N, 3, 4, 5), None, torch.arange(N * 20).reshape(N, 4, 5) % 3),
    "map, pixels": (Map(measure="pixels"), noise(N, 3, 4, 5), None, None),
    "map, binary": (
        Map(binary=True),
        noise(N, 1, 4, 5),
        None,
        (noise(N, 1, 4, 5, seed=3) > 0).long(),
    ),
    "map, binary probabilities": (
        Map(binary=True, probabilities=True),
        noise(N, 1).sigmoid(),
        None,
        (torch.arange(N) % 2)[:, None],
    ),
    "signal": (Signal(), noise(N, 3, 8), None, noise(N, 3, 8, seed=4)),
    "signal, auc": (Signal(measure="auc"), noise(N, 6), noise(N, 6, seed=5), torch.arange(N) % 2),
    "parts": (
        Parts(parts=(Classes(output="a"), Signal(output="b")), weights=(1.0, 0.25)),
        {"a": noise(N, 4), "b": noise(N, 4, seed=2)},
        None,
        torch.arange(N) % 4,
    ),
}
# what was added since is tried with its usual settings
CASES |= {
    name: (judge(), noise(N, *judge.example), None, None)
    for name, judge in JUDGES.items()
    if name not in CASES
}
EVERY = pytest.mark.parametrize("name", CASES)


def case(name: str):
    judge, outputs, inputs, labels = CASES[name]
    inputs = noise(N, 2) if inputs is None else inputs
    return judge, outputs, inputs, judge.truth(inputs, labels)


def moved(outputs, by: float, seed: int = 9):
    if isinstance(outputs, dict):
        return {key: moved(value, by, seed + 1) for key, value in outputs.items()}
    return outputs + by * noise(*outputs.shape, seed=seed)


def test_every_judge_is_tried_here_and_reads_its_own_example():
    assert {judge.name for judge, *_ in CASES.values()} == set(JUDGES)
    for name, kind in JUDGES.items():
        judge = kind() if name != "parts" else Parts(parts=(CLASSES,), weights=(1.0,))
        outputs = noise(N, *kind.example)
        answers = judge.read(outputs, noise(N, 2))
        assert judge.divergence(answers, answers).shape == (N,)
        assert kind.title
        assert kind.about.endswith(".")


def test_the_document_lists_every_judge_with_its_settings():
    document = (ROOT / "docs" / "judges.md").read_text(encoding="utf-8")
    rows = {row.split("`")[1]: row for row in document.splitlines() if row.startswith("| `")}
    for name, kind in JUDGES.items():
        own = {each.name for each in fields(kind)} - {"output", "mask"}
        assert all(f"`{setting}`" in rows[name] for setting in own), name


@EVERY
def test_a_judge_survives_json(name):
    judge = case(name)[0]
    assert read_judge(judge.to_json()) == judge


@EVERY
def test_divergence_is_zero_for_equal_answers_and_above_for_others(name):
    judge, outputs, inputs, _ = case(name)
    answers = judge.read(outputs, inputs)
    assert judge.divergence(answers, answers).shape == (N,)
    assert torch.allclose(judge.divergence(answers, answers), torch.zeros(N).double(), atol=1e-9)
    other = judge.read(moved(outputs, 0.3), inputs)
    assert bool((judge.divergence(other, answers) > 0).all())


@EVERY
def test_the_probe_has_the_curvature_of_the_divergence(name):
    """For a small change d of the outputs, 1/2 E[(g . d)^2] is the divergence, summed."""
    judge, outputs, inputs, _ = case(name)
    names = list(outputs) if isinstance(outputs, dict) else [""]
    flat = [outputs[n] if n else outputs for n in names]
    leaves = [t.clone().requires_grad_(True) for t in flat]
    given = dict(zip(names, leaves, strict=True)) if names != [""] else leaves[0]
    answers = judge.read(given, inputs)
    generator = torch.Generator().manual_seed(1)
    small = 1e-3
    # keeps probabilities in their range
    changes = [small * t.abs() * noise(*t.shape, seed=20 + at) for at, t in enumerate(flat)]
    squares, draws = torch.zeros(N, dtype=torch.float64), 800
    for _ in range(draws):
        gradients = torch.autograd.grad(judge.probe(answers, generator), leaves, retain_graph=True)
        dots = sum((g * d).reshape(N, -1).sum(1) for g, d in zip(gradients, changes, strict=True))
        squares += dots.square()
    predicted = float(squares.sum()) / draws / 2
    after = [t + d for t, d in zip(flat, changes, strict=True)]
    later = dict(zip(names, after, strict=True)) if names != [""] else after[0]
    with torch.no_grad():
        measured = float(
            judge.divergence(judge.read(later, inputs), judge.read(outputs, inputs)).sum()
        )
    assert predicted == pytest.approx(measured, rel=0.15)


@EVERY
def test_scores_of_a_whole_split(name):
    judge, outputs, inputs, labels = case(name)
    wanted, seen = judge.read(outputs, inputs), judge.read(moved(outputs, 0.5), inputs)
    x = inputs
    right: list[Tensor] = []
    batch = [(x, labels)]
    same, scores = (
        tally(judge, batch, [wanted], [wanted]),
        tally(judge, batch, [seen], [wanted], right),
    )
    assert scores.n == N
    assert scores.kl > 1e-6
    assert same.kl == pytest.approx(0, abs=1e-9)
    assert (scores.accuracy is None) == (labels is None)
    assert len(right[0]) == N
    assert float(right[0].double().mean()) == pytest.approx(scores.headline)
    if judge.hits:
        assert scores.lost is not None
        assert scores.score_error is None
    else:
        assert scores.score_error is not None
        assert scores.lost is None
        low, high = scores.interval
        assert low <= scores.headline <= high
    if labels is not None and not judge.hits:
        assert scores.change == pytest.approx(same.headline - scores.headline)
    if judge.match.share:
        assert same.agreement == pytest.approx(1)
        assert 0 <= scores.agreement <= 1 + 1e-9
    back = read_scores(score_bytes(right[0].float() if not judge.hits else right[0]), N)
    assert back == pytest.approx(right[0].numpy().astype(float), abs=1e-5)


@EVERY
def test_batches_do_not_matter(name):
    judge, outputs, inputs, labels = case(name)

    def answers(by: float, index):
        cut = part(moved(outputs, by), index)
        return judge.read(cut, part(inputs, index))

    pieces = [slice(0, 5), slice(5, N)]
    whole = slice(0, N)

    def scored(slices):
        batches = [(part(inputs, s), None if labels is None else labels[s]) for s in slices]
        seen, wanted = [answers(0.5, s) for s in slices], [answers(0, s) for s in slices]
        return tally(judge, batches, seen, wanted)

    one, two = scored([whole]), scored(pieces)
    if isinstance(judge, Signal):  # the floor of a signal's power is taken from its batch
        return
    assert one.kl == pytest.approx(two.kl)
    assert one.headline == pytest.approx(two.headline)
    if one.change is not None:
        assert one.change == pytest.approx(two.change)


def test_tokens_weigh_documents_not_positions():
    judge = Tokens(mask="mask")
    logs = noise(2, 4, 3).log_softmax(2)
    seen = noise(2, 4, 3, seed=1).log_softmax(2)
    mask = torch.tensor([[1, 0, 0, 0], [1, 1, 1, 1]])
    inputs = {"mask": mask, "ids": mask}
    kl = (logs.exp() * (logs - seen)).sum(2)
    found = judge.divergence(judge.read(seen, inputs), judge.read(logs, inputs))
    assert torch.allclose(found, torch.stack([kl[0, 0], kl[1].mean()]))


def test_a_causal_model_is_judged_by_its_next_tokens():
    judge = Tokens(ids="ids", mask="mask")
    inputs = {"ids": torch.tensor([[4, 2, 5, 0]]), "mask": torch.tensor([[1, 1, 1, 0]])}
    assert judge.truth(inputs, None).tolist() == [[2, 5, -100, -100]]
    logits = torch.zeros(1, 4, 6).double()
    logits[0, 0, 2], logits[0, 1, 1] = 50, 50
    scores = tally(
        judge, [(inputs, judge.truth(inputs, None))], *[[judge.read(logits, inputs)]] * 2
    )
    assert scores.accuracy == 0.5
    assert scores.loss == pytest.approx(25, abs=0.1)


def test_neighbours_are_found_by_brute_force():
    vectors = torch.nn.functional.normalize(noise(40, 5))
    likeness = vectors @ vectors.T - 9 * torch.eye(40)
    assert neighbours(vectors).tolist() == likeness.argmax(1).tolist()


def test_iou_of_a_map_that_can_be_counted_by_hand():
    judge = Map(binary=True)
    outputs = torch.tensor([[9.0, 9, -9, -9], [-9, -9, -9, -9]]).double()
    labels = torch.tensor([[1, 0, 1, 0], [0, 0, 0, 0]])
    seen = judge.read(outputs, None)
    # one of three places of the union; nothing there and nothing found
    assert judge.marks(seen, labels).tolist() == pytest.approx([1 / 3, 1.0])
    ignored = torch.tensor([[1, -1, 1, 0], [-1, -1, -1, -1]])
    assert judge.marks(seen, ignored).tolist() == pytest.approx([0.5, 1.0])


def test_the_first_of_equal_classes_is_a_places_class():
    judge = Map(measure="pixels")
    outputs = noise(4, 3, 50).round()  # many equal ones
    seen = judge.read(outputs, None)
    assert judge.marks(seen, outputs.argmax(1)).tolist() == [1.0] * 4


def test_psnr_and_its_end():
    judge = Signal(peak=255.0)
    truth = torch.zeros(2, 10).double()
    seen = judge.read(torch.stack([torch.full((10,), 25.5), torch.zeros(10)]).double(), None)
    assert judge.marks(seen, truth).tolist() == pytest.approx([20.0, 100.0])


def test_the_area_under_the_curve_and_its_error_are_delongs():
    judge = Signal(measure="auc")
    inputs = noise(60, 4)
    odd = torch.arange(60) % 3 == 0
    outputs = inputs + noise(60, 4, seed=1) * (0.5 + 0.5 * odd[:, None])
    kept = judge.marks(judge.read(outputs, inputs), odd.long())
    error = (outputs - inputs).square().mean(1)
    pairs = (error[odd][:, None] > error[~odd][None]).double()
    placed = judge.marked(kept)
    assert float(placed.mean()) == pytest.approx(float(pairs.mean()))
    m, k = int(odd.sum()), int((~odd).sum())
    delong = pairs.mean(1).var(correction=0) / m + pairs.mean(0).var(correction=0) / k
    assert float(placed.var(correction=0)) / 60 == pytest.approx(float(delong))


def test_probabilities_are_judged_as_the_scores_before_them():
    scores = noise(8, 6)
    plain, made = (
        CLASSES.read(scores, None),
        Classes(probabilities=True).read(scores.softmax(1), None),
    )
    assert torch.allclose(plain, made)


WRONG = {
    "classes of a map": (CLASSES, noise(2, 3, 4), None, "needs outputs (samples, classes)"),
    "tokens of scores": (Tokens(), noise(2, 3), None, "(samples, positions, tokens)"),
    "no such output": (Classes(output="b"), {"a": noise(2, 3)}, None, "it returns a"),
    "one output only": (Classes(output="3"), noise(2, 3), None, "there is no output '3'"),
    "no mask": (Tokens(mask="m"), noise(2, 3, 4), {"ids": IDS[:2]}, "no input 'm'"),
    "an empty mask": (
        Tokens(mask="m"),
        noise(2, 3, 4),
        {"m": torch.tensor([[1, 1, 1], [0, 0, 0]])},
        "sample 1 of a batch is empty",
    ),
    "another input": (Signal(measure="auc"), noise(2, 3), noise(2, 4), "gives back its input"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_does_not_fit_is_said(name):
    judge, outputs, inputs, words = WRONG[name]
    with pytest.raises(InvalidData) as caught:
        judge.read(outputs, noise(2, 2) if inputs is None else inputs)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({"name": "taste"}, "Unknown judge 'taste'"),
        ({}, "Unknown judge"),
        ({"name": "map", "colour": 1}, "has no setting 'colour'"),
        ({"name": "map", "binary": "yes"}, "binary of the judge 'map' cannot be 'yes'"),
        ({"name": "map", "measure": "dice"}, "measure is 'dice'; known: iou, pixels"),
        ({"name": "signal", "peak": 0}, "peak is 0"),
        ({"name": "embedding", "pool": "max"}, "pool is 'max'"),
        ({"name": "parts", "parts": [], "weights": []}, "Give 1 to 16 parts"),
        ({"name": "parts", "parts": [{"name": "classes"}], "weights": [0]}, "Weights are above 0"),
    ],
)
def test_settings_that_cannot_be(document, words):
    with pytest.raises(InvalidParams) as caught:
        read_judge(document)
    assert words in str(caught.value)


IMAGE, TEXT = noise(2, 3, 8, 8), {"input_ids": IDS[:2], "attention_mask": MASK[:2]}

PROPOSED: dict[str, tuple[object, object, bool, Judge]] = {
    "scores": (noise(2, 10), IMAGE, False, CLASSES),
    "a softmax": (noise(2, 10).softmax(1), IMAGE, False, Classes(probabilities=True)),
    "a detector's map": (
        noise(2, 1, 8, 8).sigmoid(),
        IMAGE,
        False,
        Map(binary=True, probabilities=True),
    ),
    "segmentation": (noise(2, 21, 8, 8), IMAGE, False, Map()),
    "an autoencoder": (noise(2, 6), noise(2, 6, seed=1), False, Signal()),
    "a demosaicker": (noise(2, 3, 6, 6), IMAGE, False, Signal()),
    "an encoder of texts": (noise(2, 5, 4), TEXT, False, Embedding(mask="attention_mask")),
    "a language model": (
        noise(2, 5, 40),
        TEXT,
        True,
        Tokens(mask="attention_mask", ids="input_ids"),
    ),
    "a recogniser": (noise(2, 6, 90).softmax(2), IMAGE, False, Tokens(probabilities=True)),
    "yes or no": (noise(2, 1).sigmoid(), IMAGE, False, Map(binary=True, probabilities=True)),
    "a forecast": (5 * noise(2, 1), noise(2, 12), False, Signal()),
    "a model output": (
        {"logits": noise(2, 5, 40), "hidden": noise(2, 5, 4)},
        TEXT,
        False,
        Tokens(output="logits", mask="attention_mask"),
    ),
    "boxes and classes": (
        (noise(2, 10), noise(2, 1)),
        IMAGE,
        False,
        Parts(parts=(Classes(output="0"), Signal(output="1")), weights=(1.0, 1.0)),
    ),
}


@pytest.mark.parametrize("name", PROPOSED)
def test_a_sensible_judge_is_proposed(name):
    outputs, inputs, causal, wanted = PROPOSED[name]
    judge = propose(outputs, inputs, causal)
    assert judge == wanted
    assert math.isfinite(float(judge.divergence(*[judge.read(outputs, inputs)] * 2).sum()))


def test_nothing_to_compare_is_said():
    with pytest.raises(InvalidData, match="without a tensor"):
        propose({"words": "none"}, IMAGE)


@pytest.mark.parametrize("labels", [torch.tensor([1, 3]), torch.tensor([-1, 0])])
def test_labels_that_the_network_has_not_are_said(labels):
    seen = CLASSES.read(noise(2, 3), None)
    for ask in (CLASSES.marks, CLASSES.loss):
        with pytest.raises(InvalidData, match="the network has 3 outputs, 0 to 2"):
            ask(seen, labels)


def test_an_interval_of_shares_ends_within_them():
    share, ratio = Measure("accuracy"), Measure("PSNR", "dB")
    assert share.span((0.915, 1.013)) == pytest.approx((91.5, 100))
    assert share.span((-0.01, 0.5)) == pytest.approx((0, 50))
    assert ratio.span((-1.5, 120.0)) == (-1.5, 120.0)

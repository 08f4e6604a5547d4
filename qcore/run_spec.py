"""What a user asks for, and whether it could begin at all. Torch-free.

A search never sees a RunSpec: `qcore.prepare` makes a `Problem` of it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from qcore.allocation import LayerSpec, ModelSpec, in_order, parse_width, width_json
from qcore.costs import COSTS
from qcore.costs.budget import Budget, make_options
from qcore.costs.formulas import CostModel
from qcore.errors import DataUnavailable, InvalidData, InvalidParams, UnsupportedModel
from qcore.judges import read_judge
from qcore.judges.sample_words import samples_word
from qcore.models.catalog import read_models, split_data_name
from qcore.problem import PTQ, TUNED, Problem
from qcore.ptq.rounding_names import NEAREST, ROUNDING_FACTS
from qcore.ptq.settings import CORRECTIONS, SEQUENTIAL
from qcore.quantizer_names import POST_TRAINING, USUAL
from qcore.rules.file import read_rules
from qcore.rules.resolve import Resolved, resolve
from qcore.rules.rule import Rule
from qcore.searches import SEARCHES
from qcore.solvers.space import space_of


def images_name(data: str, seed: int, samples: str = "images") -> str:
    """Name the images that a seed draws from some data: figures of other images are not theirs.

    Example:
        >>> images_name("fashion-mnist", 0), images_name("fashion-mnist", 3)
        ('fashion-mnist', 'fashion-mnist, images of seed 3')
    """
    return f"{data}, {samples} of seed {seed}" if seed else data


def data_of(images: str) -> str:
    """The data behind a name that `images_name` gave."""
    return images.partition(_OF_SEED)[0]


_OF_SEED = ", images of seed "


@dataclass(frozen=True)
class RunSpec:
    """What the user asked for; pure JSON, stored with the run.

    Attributes:
        model: Key of MODELS.
        data: Key of DATASETS, or "imagefolder:/path".
        search: Key of SEARCHES.
        params: Fields of the search's params dataclass that differ from their defaults.
        limits: Cost name to budget.
        weight_bits: Allowed weight bit-widths, of BIT_WIDTHS.
        activation_bits: Allowed activation bit-widths; (32,) leaves activations in float.
        pin_first_last: Bits of the first and last layer, or None.
        seed: Seed of the search, and of training.
        calibration_images: Images for ranges, norms and bias correction.
        search_images: Images of the search split.
        objective: "kl" or "loss"; left empty, what is usual for the search.
        reported: Most points of the front that are looked at on the test split, spread evenly.
        tuning: Whether reported points are also tuned without labels and measured again.
        device: "auto", "cpu", "cuda" or "mps".
        quantizer: Key of POST_TRAINING: how the weights' steps are chosen where nothing is trained.
        rounding: Key of ROUNDING_FACTS: how weights become codes where nothing is trained.
        images_seed: Which calibration and search images are drawn (and which test images, where a
            folder has no part of its own for them).
        anyway: Whether to search even a network that is hardly better than guessing.
        judge: How answers are compared, as `Judge.to_json` gives it; None is as the network's card
            says, and a run keeps that when it is queued.
        rules: What a device allows, in order: allowed widths, floors, locks and ties of layers.
        correction: How quantized layers are corrected, a key of CORRECTIONS; None is measured when
            a run starts, and it keeps what came of it.
    """

    model: str
    data: str
    search: str
    params: Mapping[str, Any] = field(default_factory=dict)
    limits: Mapping[str, float] = field(default_factory=dict)
    weight_bits: tuple[int, ...] = (2, 3, 4, 8)
    activation_bits: tuple[int, ...] = (32,)
    pin_first_last: int | None = None
    seed: int = 0
    calibration_images: int = 1024
    search_images: int = 1024
    objective: str = ""
    reported: int = 24
    tuning: bool = False
    device: str = "auto"
    quantizer: str = USUAL
    images_seed: int = 0
    anyway: bool = False
    judge: Mapping[str, Any] | None = None
    rounding: str = NEAREST
    rules: tuple[Rule, ...] = ()
    correction: str | None = None

    def __post_init__(self) -> None:
        if not self.objective:
            object.__setattr__(self, "objective", usual_objective(self.search))

    def resolved(self, layers: Iterable[LayerSpec]) -> Resolved:
        """What each layer of a model may have, and which are tied.

        Raises:
            InvalidParams: a rule matches nothing, leaves a layer nothing, or contradicts another.
        """
        return resolve(
            self.rules, layers, self.weight_bits, self.activation_bits, self.pin_first_last
        )

    def priced(self, model: ModelSpec) -> ModelSpec:
        """The model as this run prices it: what tied layers read together is counted once."""
        if not any(rule.tie for rule in self.rules):
            return model
        ties = self.resolved(model.layers).ties
        return model.sharing([tie.layers for tie in ties if tie.part == "activation"])

    @property
    def images(self) -> str:
        """Names the images that are drawn; see `images_name`."""
        return images_name(self.data, self.images_seed)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON data; `RunSpec.from_json` reads it back."""
        document = {"version": 2, **asdict(self)}
        for name in ("weight_bits", "activation_bits"):
            document[name] = [width_json(width) for width in document[name]]
        if self.pin_first_last is not None:
            document["pin_first_last"] = width_json(self.pin_first_last)
        if self.judge is None:
            del document["judge"]  # as before there were judges
        del document["rules"]
        if self.rules:
            document["rules"] = [rule.to_json() for rule in self.rules]
        return document

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "RunSpec":
        """Read what `to_json` wrote; what was written before a field was there has its default.

        Version 1 left params at defaults that some searches have changed since (`Search.before`).
        """
        fields = {key: value for key, value in data.items() if key != "version"}
        fields.setdefault("correction", SEQUENTIAL)  # what there was before it was measured
        fields.setdefault("objective", "kl")
        if data.get("version", 1) < 2 and fields.get("search") in SEARCHES:
            fields["params"] = {**SEARCHES[fields["search"]].before, **fields.get("params", {})}
        for name in ("weight_bits", "activation_bits"):
            fields[name] = tuple(_read_width(width) for width in fields[name])
        fields["pin_first_last"] = _read_width(fields.get("pin_first_last"))
        fields["rules"] = read_rules(fields.get("rules"))
        return cls(**fields)


def _read_width(written: Any) -> Any:
    # numbers are checked where the run begins, and so are the codes of old
    return parse_width(written) if isinstance(written, str) else written


def usual_objective(search: str) -> str:
    """What a search minimises unless something else is asked for.

    One that trains leaves the float network, so that its distance from that says little: it goes by
    the loss on labels, which training needs anyway. Others go by the divergence from the float
    network, which is steadier on few samples.
    """
    return "loss" if search in SEARCHES and SEARCHES[search].trains else "kl"


def offered(search: str, weight_bits: Iterable[int]) -> tuple[int, ...]:
    """Widths of weights that a search chooses from: those asked for, and those it always offers."""
    always = SEARCHES[search].offers if search in SEARCHES else ()
    return tuple(in_order({*weight_bits, *always}))


def method_label(search: str, stage: str = PTQ, aim: str = "", ruled: bool = False) -> str:
    """Name a method, as a row or a line that points make: the search, and whether tuned after it.

    Points of all stages of a search that trains are its own, so they make one line. What was
    searched by something else than is usual for it is a method of its own; `aim` is left empty
    where that does not matter. So is one under rules, which had less to choose from.
    """
    title = SEARCHES[search].title if search in SEARCHES else search
    if aim and aim != usual_objective(search):
        title += {"loss": ", by loss", "kl": ", by divergence"}.get(aim, "")
    title += ", under rules" if ruled else ""
    return f"{title}, tuned" if stage == TUNED else title


DEVICES = ("auto", "cpu", "cuda", "mps")
_TEXTS = (".txt", ".text", ".jsonl", ".ndjson")
_TENSORS = (b"PK", b"\x93NUMPY", b"PAR1", b"\x80")
"""How files of tensors begin: numpy's, Parquet's and what torch.save wrote."""

MOST_PLACE = 900
"""Letters of a data name with its path."""

MOST_IMAGES = 100_000
MOST_REPORTED = 1_000


def check_here(spec: RunSpec) -> None:
    """Raise where a run could not begin on this machine, as far as that shows without torch.

    Raises:
        UnsupportedModel: there is no network of this name.
        InvalidParams: the device is none.
        DataUnavailable: there is no such folder or file.
        InvalidData: the file is of another kind than its data name says.
    """
    if spec.model not in read_models():
        raise UnsupportedModel(
            f"There is no network named {spec.model[:80]!r}; add it with `add-model`, or choose "
            "another."
        )
    if spec.device not in DEVICES:
        raise InvalidParams(f"No device {spec.device[:80]!r}; known: {', '.join(DEVICES)}.")
    key, place = split_data_name(spec.data)
    if place is not None:
        _check_place(key, place)


def _check_place(key: str, place: Path) -> None:
    """Raise where a place cannot hold such data; what is in it is not read."""
    try:
        found, folder, file = place.exists(), place.is_dir(), place.is_file()
        head = b""
        if file:
            with place.open("rb") as stream:
                head = stream.read(8)
    except (OSError, ValueError) as error:
        raise DataUnavailable(f"{str(place)[:200]!r} cannot be opened: {error}.") from error
    if not found:
        raise DataUnavailable(f"There is nothing at {place} on this machine.")
    known = head.startswith(_TENSORS) or (head and place.suffix.lower() == ".safetensors")
    if key == "tensors" and not known:
        raise InvalidData(
            f"{place} is no file of tensors. Save one with numpy.savez(path, x=x, y=y) or "
            "torch.save({'x': x, 'y': y}, path)."
        )
    if key == "texts" and not folder and place.suffix.lower() not in _TEXTS:
        raise InvalidData(f"{place} is no file of texts ({', '.join(_TEXTS)}), nor a folder.")
    if key not in ("tensors", "texts") and not folder:
        raise DataUnavailable(f"{place} is no folder.")


def check_run(
    spec: RunSpec, model: ModelSpec | None, costs: Mapping[str, CostModel] = COSTS
) -> None:
    """Raise where a run could not even begin; nothing is loaded.

    Args:
        spec: What was asked for.
        model: The model's layers where they are known.
        costs: The costs that may be limited.

    Raises:
        QcoreError: says what is wrong with its value, and what to do.
    """
    split_data_name(spec.data)
    if len(spec.data) > MOST_PLACE:
        raise InvalidParams(
            f"The data's name has {len(spec.data):,} letters; at most {MOST_PLACE} are kept. Link "
            "to its folder or file by a shorter path, and give that."
        )
    read_judge(spec.judge)
    if spec.search not in SEARCHES:
        raise InvalidParams(f"Unknown search {spec.search!r}; known: {', '.join(SEARCHES)}.")
    SEARCHES[spec.search].read_params(spec.params, costs)
    if spec.quantizer not in POST_TRAINING:
        known = ", ".join(POST_TRAINING)
        raise InvalidParams(f"Unknown quantizer {spec.quantizer!r}; known: {known}.")
    if spec.rounding not in ROUNDING_FACTS:
        known = ", ".join(ROUNDING_FACTS)
        raise InvalidParams(f"Unknown rounding {spec.rounding!r}; known: {known}.")
    if spec.correction is not None and spec.correction not in CORRECTIONS:
        known = ", ".join(CORRECTIONS)
        raise InvalidParams(
            f"Unknown correction {str(spec.correction)[:40]!r}; known: {known}, or none to measure."
        )
    for what, count in (
        ("calibration", spec.calibration_images),
        ("search", spec.search_images),
    ):
        if not 1 <= count <= MOST_IMAGES:
            words = f"{what} {samples_word(spec.data)}"
            raise InvalidParams(f"Use 1 to {MOST_IMAGES:,} {words}; got {count:,}.")
    if spec.rounding != NEAREST and spec.calibration_images < 2:
        raise InvalidParams(
            f"The rounding {spec.rounding} is fitted on some calibration "
            f"{samples_word(spec.data)} and judged on others: use 2 at least; got "
            f"{spec.calibration_images}."
        )
    if not 1 <= spec.reported <= MOST_REPORTED:
        raise InvalidParams(f"Test 1 to {MOST_REPORTED:,} points; got {spec.reported:,}.")
    for seed in (spec.seed, spec.images_seed):
        if seed < 0:
            raise InvalidParams(f"A seed is a whole number from 0 up; got {seed}.")
    pinned = () if spec.pin_first_last is None else (spec.pin_first_last,)
    ruled = tuple(width for rule in spec.rules for width in rule.widths)
    SEARCHES[spec.search].check_widths((*spec.weight_bits, *spec.activation_bits, *pinned, *ruled))
    budget = Budget(spec.limits, costs)
    SEARCHES[spec.search].check_limits(budget)
    if model is None:
        make_options((), spec.weight_bits, spec.activation_bits, spec.pin_first_last)
        return
    found = spec.resolved(model.layers)
    space_of(Problem(spec.priced(model), found.options, budget, ties=found.ties))

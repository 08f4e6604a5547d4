"""What samples are called in sentences: by their kind of data."""

import pytest

from qcore.errors import InvalidParams
from qcore.judges.sample_words import samples_word
from qcore.models.catalog import DATASETS
from qcore.quantization_card import card_of
from qcore.run_spec import RunSpec, check_run


def test_every_kind_of_data_has_a_word_and_only_images_are_called_so():
    words = {kind: samples_word(f"{kind}:/data/x") for kind in DATASETS}
    assert words["texts"] == "texts"
    assert words["sounds"] == "sounds"
    assert words["imagefolder"] == words["images"] == words["cifar10"] == "images"
    others = {kind for kind, word in words.items() if word != "images"}
    assert others == {"texts", "sounds", "pairs", "tensors", "vibrations"}
    # another seed's samples are of the same kind
    assert samples_word("vibrations, samples of seed 3") == "samples"


@pytest.mark.parametrize(("data", "word"), [("texts:/a", "texts"), ("sounds:/a", "sounds")])
def test_mistakes_speak_of_the_datas_own_samples(data, word):
    with pytest.raises(InvalidParams, match=f"calibration {word}; got 0"):
        check_run(RunSpec("net", data, "uniform", calibration_images=0), None)
    with pytest.raises(InvalidParams, match=f"calibration {word} and judged on others"):
        check_run(RunSpec("net", data, "uniform", calibration_images=1, rounding="gptq"), None)
    card = card_of(RunSpec("net", data, "uniform", calibration_images=512))
    told = (card.calibration, card.norms, card.biases)
    assert all(f"256 {word}" in words or f"512 {word}" in words for words in told)
    assert not any("images" in words for words in told)

"""Any width can be given on a form: by a click, or written where no click offers it."""

import pytest

from pages.shared.widgets import OTHERS
from qcore.allocation import FLOAT16
from store import all_runs
from tests.pages.test_searches import press

KEY = "f-weights"


def pills(at):
    return next(each for each in at.button_group if each.key == KEY)


def write(at, words):
    pills(at).set_value([4, OTHERS]).run()
    return at.text_input(key=f"{KEY}-{OTHERS}").set_value(words).run()


def test_any_width_can_be_written_into_the_form(app, store):
    at = write(app("searches", search="Exact front"), "int12, half; 9")
    press(at, "Start search")
    assert all_runs(store)[0].spec.weight_bits == (4, 9, 12, FLOAT16)
    command = next(each.value for each in at.code if "store run" in each.value)
    assert "--weight-bits 4,9,12,fp16" in command


@pytest.mark.parametrize("words", ["seven", "17", "4, 99"])
def test_what_is_no_width_is_said_and_nothing_starts(app, store, words):
    at = write(app("searches", search="Exact front"), words)
    assert "1 to 16 bits, bf16, fp16 or float" in at.error[0].value
    press(at, "Start search")
    assert not all_runs(store)
    assert at.text_input(key=f"{KEY}-{OTHERS}").value == words

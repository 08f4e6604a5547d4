import re
from datetime import UTC, datetime

import pytest

from pages.shared import text
from tests.pages import sample


@pytest.mark.parametrize(
    ("cost", "value", "words"),
    [
        ("weight_bytes", 900, "900 B"),
        ("weight_bytes", 9700, "9.47 KiB"),
        ("model_bytes", 5 * 2**20, "5.00 MiB"),
        ("bit_ops", 34_700_000_000, "34.7 G bit-ops"),
        ("bit_ops", 12, "12 bit-ops"),
    ],
)
def test_costs_are_written_with_a_unit_that_suits_their_size(cost, value, words):
    assert text.cost_text(cost, value) == words


def test_an_exact_cost_keeps_every_byte():
    assert text.exact_cost_text("weight_bytes", 19_268) == "19,268 B (18.8 KiB)"


def test_a_share_carries_its_interval_and_count():
    assert text.percent(0.906, 1024) == "90.6 % (88.7 to 92.2, n=1,024)"


def test_float_bits_are_written_fp():
    assert [text.bits_text(bits) for bits in (1, 8, 32, None)] == ["1", "8", "fp", ""]


def test_a_budget_is_written_with_its_units():
    assert text.limits_text({}) == "none"
    words = text.limits_text({"weight_bytes": 40960, "bit_ops": 2e9})
    assert words == "Weights at most 40.0 KiB, Compute at most 2.00 G bit-ops"


def test_pinned_layers_and_float_activations_are_named():
    words = text.bits_set_text(sample.spec_of("exact", pin_first_last=8))
    assert words == "weights 2, 3, 4, 8; activations in float; first and last at 8"


@pytest.mark.parametrize(
    ("moment", "words"),
    [
        (None, ""),
        ("2026-01-01T11:59:48.000+00:00", "12 s ago"),
        ("2026-01-01T11:30:00.000+00:00", "30 min ago"),
        ("2025-12-01T05:03:00.000+00:00", "2025-12-01 05:03 UTC"),
    ],
)
def test_times_are_written_relative_while_recent(moment, words):
    assert text.ago(moment, datetime(2026, 1, 1, 12, tzinfo=UTC)) == words


def test_a_file_name_has_only_plain_letters():
    stem = text.file_stem("../evil\nresnet", 3.21, 32.0, "Exact front, tuned", 57)
    assert stem == "..evilresnet_3.2w32a_exact-front-tuned_57"


def test_mean_bits_of_ten_keep_their_digits():
    assert "_8w10a_" in text.file_stem("m", 8.0, 10.0, "x", 1)


def test_lists_of_allocations_are_counted_not_printed():
    words = text.params_text({"points": 3, "allocations": [{"conv1": [4, 8]}], "kinds": ["kl"]})
    assert words == "points = 3; allocations = 1 given; kinds = kl"


def test_every_state_has_words():
    for state in ("queued", "running", "done", "cancelled", "failed"):
        assert text.state_words(sample.run_of(1, "uniform", state)).startswith(state)


def test_words_of_others_are_never_markup():
    hostile = "[a](http://b.example) <b> **c** $x$ `d` \u202etxet www.e.example x_y_z f@g.example"
    shown = text.literal(hostile)
    # without its backslashes and the joiners that keep addresses from becoming links
    plain = re.sub(r"\\(.)", r"\1", shown).replace("\u2060", "")
    assert plain == hostile.replace("\u202e", "")
    bare = re.sub(r"\\.", "", shown)
    assert not set(bare) & set("[]()<>*$`_:")
    assert not re.search(r"http:?//|www\.", re.sub(r"\\(.)", r"\1", shown))
    assert text.literal("zäh 3, 🚀") == "zäh 3, 🚀"
    assert text.literal("x" * 500, most=40) == "x" * 39 + "…"

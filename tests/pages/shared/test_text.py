import html
import re
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from pages.shared import text
from qcore.costs import COSTS
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
    assert text.cost_text(COSTS[cost], value) == words


def test_an_exact_cost_keeps_every_byte():
    assert text.exact_cost_text(COSTS["weight_bytes"], 19_268) == "19,268 B (18.8 KiB)"


def test_a_share_carries_its_interval_and_count():
    assert text.percent(0.906, 1024) == "90.6 % (88.7 to 92.2, n=1,024)"


def test_float_bits_are_written_fp():
    assert [text.bits_text(bits) for bits in (1, 8, 32, None)] == ["1", "8", "float", ""]


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


HOSTILE = (
    "[a](http://b.example) <b> **c** $x$ `d` \u202etxet www.e.example x_y_z f@g.example",
    "![x](http://elsewhere.example/x.png)",
    "<img src=x onerror=alert(1)>",
    "<https://a.example> ftp://b.example/c mailto:d@e.example //f.example",
    "</script><script>window.hacked=1</script>",
    ":red[x] :material/home: :rocket: ::before",
    "# head",
    "> quoted",
    "---",
    "+ one",
    "1. one",
    "1) one",
    "~~gone~~ ^up^ ==marked== __b__ _i_",
    "$x^2$ and $$y$$",
    "| a | b |",
    "&lt;b&gt; &#60;i&#62; &amp;",
    "back\\slash \\[a\\](b)",
    "[x]: http://c.example 'title'",
    "a[^1] [^1]: note",
    "left \u2066<b>\u2069 right\u200e",
)
ONE_LINE = ("a\n\n# b", "a\r\n- b", "a\n\n    <b>code</b>", "a\u2028b", "\t\tcode", "a\nb: c\n===")
INVISIBLE = "\u202e\u2066\u2069\u200e"


@pytest.mark.parametrize("words", HOSTILE)
def test_words_of_others_are_never_markup(words):
    seen = re.sub(f"[{INVISIBLE}]", "", words)
    assert rendered(text.literal(words)) == seen
    assert rendered(f"**{text.literal(words)}**, said") == f"{seen}, said"
    # addresses become links even where every sign is escaped, unless a joiner parts them
    assert not re.search(r"https?://|www\.|\w@\w", re.sub(r"\\(.)", r"\1", text.literal(words)))


@pytest.mark.parametrize("words", ONE_LINE)
def test_words_of_others_stay_on_their_line(words):
    shown = text.literal(words)
    assert shown.isprintable()
    assert rendered(f"Failed: {shown}").split() == ["Failed:", *words.split()]


@given(st.text())
def test_any_words_are_shown_as_they_are(words):
    shown = rendered(f"x{text.literal(words)}x").replace("\u200d", "").replace("\u200c", "")
    assert (
        shown.split()
        == "".join(
            c if c.isprintable() else " " if c.isspace() else "" for c in f"x{words}x"
        ).split()
    )


def test_long_words_are_cut_and_joined_letters_stay_joined():
    assert text.literal("zäh 3, 🚀") == "zäh 3, 🚀"
    assert text.literal("x" * 500, most=40) == "x" * 39 + "…"
    assert text.literal("क्\u200dष 👩\u200d💻 \u200c") == "क्\u200dष 👩\u200d💻 \u200c"


def rendered(markdown):
    """What a reader sees of some Markdown; one paragraph, in which only bold is markup."""
    page = MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(markdown)
    paragraph = re.fullmatch(r"<p>(.*)</p>\n", page, re.DOTALL)
    assert paragraph, page
    plain = re.sub(r"</?strong>", "", paragraph[1])
    assert not re.search(r"<", plain), page
    return html.unescape(plain).replace("\u2060", "")


def test_float_activations_have_one_word():
    assert text.activations_text(32) == "float"
    assert text.activations_text(8, 32) == "8 to float"
    assert text.activations_text(3.14) == "3.1"
    assert text.widths_text((2, 32)) == "2, float"

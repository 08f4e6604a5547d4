"""Whole values in memory words, against packing them one by one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qcore.allocation import FLOAT_BITS
from qcore.costs.formulas import WORDS, packed_bytes, values_per_word


def test_sixteen_bit_words_hold_as_many_as_the_paper_says():
    # Klhufek et al. 2024, section 3
    assert [values_per_word(bits, 16) for bits in range(2, 9)] == [8, 5, 4, 3, 2, 2, 2]


@pytest.mark.parametrize(("word", "alike"), [(16, (6, 7, 8)), (32, (7, 8)), (64, (8,))])
def test_some_widths_cost_alike_in_whole_words(word, alike):
    prices = {bits: packed_bytes(1000, bits, word) for bits in range(1, 9)}
    assert {prices[bits] for bits in alike} == {prices[8]}
    assert len(set(prices.values())) == 9 - len(alike)


@pytest.mark.parametrize("word", WORDS)
@given(values=st.integers(0, 300), bits=st.sampled_from((*range(1, 17), FLOAT_BITS)))
def test_bytes_are_those_of_filling_word_after_word(word, values, bits):
    words, room = 0, 0
    for _ in range(values):
        if room < bits:
            # a value wider than a word starts new ones until it fits
            fresh = -(-bits // word)
            words, room = words + fresh, fresh * word
        room -= bits
    if bits > word:
        words = values * (bits // word)
    assert packed_bytes(values, bits, word) == words * word // 8
    assert packed_bytes(values, bits, word) * 8 >= values * bits

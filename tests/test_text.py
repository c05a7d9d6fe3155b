"""Numbers and units as people read them"""
import pytest
from hypothesis import given, strategies as st
from fastrecipes.text import (
    about_text, confidence_text, p_cell, p_text, percent_text, plural, points_text, printable, range_text, seconds_text,
    short_number, shortened, times_text,
)

@pytest.mark.parametrize('f, values, texts', [
    (percent_text, (0, .5, .99994, .99996, .9999999, 1),
     ['0.00%', '50.00%', '99.99%', '99.996%', '100.0000%', '100.00%']),
    (confidence_text, (0, .009, .01, .5, .9949, .995, 1), ['<1%', '<1%', '1%', '50%', '99%', '>99%', '>99%']),
    (short_number, (0, 7, 999, 1000, 23_560, 999_499, 2.5e9, 3e12),
     ['0', '7', '999', '1.00 k', '23.6 k', '999 k', '2.50 G', '3.00 T']),
    (p_cell, (0, .00099, .001, .0094, .0499, .0512, .1, .999, 1),
     ['<0.001', '<0.001', '0.001', '0.009', '0.0499', '0.051', '0.10', '1.00', '1.00']),
    (p_text, (0, .001, .5), ['p < 0.001', 'p = 0.001', 'p = 0.50']),
    (seconds_text, (1e-6, .0002, .05, .1, 9.99, 99.7, 100, 6000, 36e5),
     ['<0.01 ms', '0.2 ms', '50 ms', '0.10 s', '9.99 s', '99.7 s', '1.7 min', '1.7 h', '1,000.0 h']),
    (times_text, (.1, .5, 1.41, 9.4, 14, 97, 1e6),
     ['about 0.1x', 'about 0.5x', 'about 1.5x', 'about 10x', 'about 15x', 'about 100x', 'about 1,000,000x']),
    (about_text, (1, 149, 151, 1e7), ['about 1', 'about 150', 'about 160', 'more than ten million']),
])
def test_each_kind_of_value_has_one_form(f, values, texts): assert [f(v) for v in values] == texts

@given(st.integers(1, 10**6).flatmap(lambda n: st.tuples(st.integers(0, n - 1), st.just(n))))
def test_what_is_not_all_is_not_100_percent(drawn):
    wrong, n = drawn
    text = percent_text((n - 1 - wrong) / n)
    assert float(text[:-1]) < 100 and abs(float(text[:-1]) - 100 * (n - 1 - wrong) / n) <= .00501

@given(st.floats(-100, 100), st.floats(-100, 100))
def test_points_are_short_and_never_minus_zero(a, b):
    words = range_text(*sorted((a, b))).split(' to ')
    low, high = map(float, words)
    assert low <= high and not {'-0.0', '-0.00'} & set(words)
    assert abs(low - min(a, b)) <= .0501 and abs(high - max(a, b)) <= .0501
    assert points_text(a) == points_text(-a)
    assert abs(a) < .005 or abs(float(points_text(a)) - abs(a)) <= .0501

@given(st.floats(.001, 1))
def test_a_p_value_is_on_the_side_of_one_in_twenty_where_it_reads(p): assert (float(p_cell(p)) < .05) == (p < .05)

def test_one_and_many():
    assert [plural(n, 'mistake') for n in (0, 1, 1200)] == ['0 mistakes', '1 mistake', '1,200 mistakes']

@given(st.text(max_size=40), st.integers(6, 20))
def test_a_shortened_name_is_one_line_of_that_length(name, most):
    short = shortened(name, most)
    assert len(short) <= most and short.isprintable() and (short == printable(name)) == (len(printable(name)) <= most)

"Unasked checks: each fires where it should, and on nothing else"
from dataclasses import replace
import pytest
from fastrecipes.answer.climb import compare
from fastrecipes.answer.comparison import read_comparison
from fastrecipes.answer.remarks import (
    Evidence, FIT_CHECKS, not_above_majority, overfits, remarks_of_fit, still_improves, unfamiliar,
)
from fastrecipes.ladder.recipe import fit


def history(train, accuracy, loss=None):
    loss = loss or [1.] * len(accuracy)
    return tuple(dict(train_accuracy=t, accuracy=a, valid_loss=v) for t, a, v in zip(train, accuracy, loss))

SOUND = Evidence(
    recipe='mlp', settings=dict(schedule='constant', epochs=9), right=350, n_train=1400, n_valid=360, majority=.1,
    history=history([.99] * 9, [.96] * 9), best_epoch=8, familiar=None)


def test_a_sound_rung_has_no_remark():
    assert [check(SOUND) for check in FIT_CHECKS] == [''] * len(FIT_CHECKS)

@pytest.mark.parametrize('train, valid, n_valid, fires', [
    (1., .85, 360, True), (1., .94, 360, False), (.7, .6, 40, False), (1., .6, 40, True), (.85, .95, 360, False),
    (None, .5, 360, False), (float('nan'), .5, 360, False),
])
def test_a_gap_counts_when_it_is_wide_and_sure(train, valid, n_valid, fires):
    for loss, risen in (([1., 1.2], True), ([1., 1.], False), ([1.2, 1.], False), ([None, None], False)):
        seen = replace(SOUND, history=history([.1, train], [.1, valid], loss), n_valid=n_valid)
        assert bool(overfits(seen)) is (fires and risen)

def test_without_epochs_nothing_overfits():
    assert overfits(replace(SOUND, history=())) == ''

RISING = dict(accuracy=[.5, .55, .6, .64, .68, .72, .75, .78, .8], loss=[2., 1.8, 1.6, 1.4, 1.3, 1.2, 1.05, .95, .9])

@pytest.mark.parametrize('settings, fires', [
    (dict(schedule='constant', epochs=9), True), (dict(schedule='one-cycle', epochs=9), False),
    (dict(schedule='constant', epochs=20), False), (dict(), False),
])
def test_a_rise_counts_at_a_constant_rate_in_a_whole_training(settings, fires):
    assert bool(still_improves(replace(SOUND, settings=settings, history=history([.5] * 9, **RISING)))) is fires

def test_a_rise_within_the_jumps_between_epochs_counts_nothing():
    jumping = [.7, .5, .7, .5, .7, .5, .76, .5, .76]
    assert not still_improves(replace(SOUND, history=history([.5] * 9, jumping, RISING['loss'])))

def test_five_epochs_are_too_few_to_see_a_trend():
    some = history([.5] * 5, RISING['accuracy'][:5], RISING['loss'][:5])
    assert not still_improves(replace(SOUND, settings=dict(schedule='constant', epochs=5), history=some))

@pytest.mark.parametrize('right, fires', [(36, True), (50, True), (60, False)])
def test_a_model_must_be_shown_to_be_above_the_majority(right, fires):
    seen = replace(SOUND, right=right, majority=.12)
    assert bool(not_above_majority(seen)) is fires
    assert not_above_majority(replace(seen, recipe='majority')) == ''

@pytest.mark.parametrize('familiar, fires', [(None, False), (.65, True), (.7, False)])
def test_features_must_respond(familiar, fires):
    assert bool(unfamiliar(replace(SOUND, familiar=familiar))) is fires

def test_a_comparison_and_its_file_have_the_same_remarks(digits, tmp_path):
    few = replace(digits, train=digits.train.take(range(60)))
    c = compare(few, 'similarity,mlp', device='cpu', settings=dict(mlp=dict(epochs=30)))
    assert [(r.recipe, r.check) for r in c.remarks] == [('mlp', 'overfits')]
    assert [r.check for r in remarks_of_fit(c['mlp'])] == ['overfits']
    c.save(tmp_path)
    assert read_comparison(tmp_path).remarks == c.remarks

def test_sound_rungs_of_the_digits_have_none(digits):
    for name in ('similarity', 'sgd', 'simple_net'): assert remarks_of_fit(fit(name, digits, device='cpu')) == ()

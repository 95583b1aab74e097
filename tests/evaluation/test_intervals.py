"""Intervals: closed forms, then scipy, then how often they hold the true value."""

import numpy as np
import pytest
import scipy.stats

from mg_vtc.evaluation.intervals import bootstrap_interval, exact_interval, number_groups


def interval_of_mean(values, groups, **settings):
    low, high = bootstrap_interval(lambda weights: np.array([values @ weights / weights.sum()]), groups, **settings)
    return low[0], high[0]


def test_rows_that_are_all_right_leave_no_doubt():
    assert interval_of_mean(np.ones(20), np.arange(20), num_resamples=50) == (1, 1)


def test_clips_that_score_alike_leave_no_doubt():
    values = np.tile([1.0, 0.0, 1.0], 10)  # two of three frames of every clip are right
    low, high = interval_of_mean(values, np.arange(10).repeat(3), num_resamples=200)
    assert low == pytest.approx(2 / 3)
    assert high == pytest.approx(2 / 3)
    assert np.diff(interval_of_mean(values, np.arange(30), num_resamples=200)) > 0.2


def test_copies_of_a_frame_are_no_evidence():
    values = (np.random.default_rng(0).random(25) < 0.7).astype(float)
    once = np.diff(interval_of_mean(values, np.arange(25)))
    by_clip = np.diff(interval_of_mean(values.repeat(16), np.arange(25).repeat(16)))
    by_image = np.diff(interval_of_mean(values.repeat(16), np.arange(25 * 16)))
    assert by_clip == pytest.approx(once)
    assert by_image == pytest.approx(once / 4, rel=0.1)  # as the root of their number


def test_interval_is_a_function_of_the_seed():
    values = np.random.default_rng(0).random(30)
    first, again, other = (interval_of_mean(values, np.arange(30), num_resamples=50, seed=seed) for seed in (3, 3, 4))
    assert first == again != other


def test_resample_without_a_value_is_left_out_and_nothing_but_such_gives_nan():
    values, known = np.array([1.0, 5.0]), np.array([1.0, 0.0])

    def mean_of_known(weights):
        with np.errstate(invalid="ignore"):
            return np.array([(values * known) @ weights / (known @ weights), np.nan])

    low, high = bootstrap_interval(mean_of_known, np.arange(2), num_resamples=50)
    assert low[0] == high[0] == 1
    assert np.isnan([low[1], high[1]]).all()


def test_interval_of_a_mean_equals_that_of_resamples_by_scipy():
    values = np.random.default_rng(1).exponential(size=200)
    resamples = scipy.stats.bootstrap((values,), np.mean, n_resamples=20000, rng=1).bootstrap_distribution
    bias = scipy.stats.norm.ppf((resamples < values.mean()).mean())
    expected = np.quantile(resamples, scipy.stats.norm.cdf(2 * bias + scipy.stats.norm.ppf([0.025, 0.975])))
    got = interval_of_mean(values, np.arange(200), num_resamples=20000)
    assert got == pytest.approx(tuple(expected), abs=0.01)


def test_bias_of_the_resamples_is_taken_out():
    """The largest of the values: no resample is above it, so plain percentiles lie below it."""
    values = np.arange(30.0)
    low, high = bootstrap_interval(lambda weights: np.array([values[weights > 0].max()]), np.arange(30))
    assert high[0] == 29
    assert low[0] > 27  # where plain percentiles begin at 26


def test_single_clip_tells_nothing_about_others():
    assert np.isnan(interval_of_mean(np.ones(8), np.zeros(8, dtype=int), num_resamples=50)).all()


def test_only_clips_hold_the_true_accuracy_as_often_as_is_said():
    rng, groups, num_trials = np.random.default_rng(0), np.arange(40).repeat(8), 150
    held = {"clip": 0, "image": 0}
    for trial in range(num_trials):
        share = rng.beta(0.6, 0.4, 40)[groups]  # of a clip's frames that are right: 0.6 in the mean
        values = (rng.random(320) < share).astype(float)
        for name, resampled in (("clip", groups), ("image", np.arange(320))):
            low, high = interval_of_mean(values, resampled, num_resamples=200, seed=trial)
            held[name] += low <= 0.6 <= high
    assert 0.88 < held["clip"] / num_trials < 0.99
    assert held["image"] / num_trials < 0.75


def test_groups_are_clips_where_they_are_known_else_rows():
    assert number_groups(4, ["1/b", "1/a", "1/b", "2/a"]).tolist() == [1, 0, 1, 2]
    assert number_groups(3, None).tolist() == [0, 1, 2]
    with pytest.raises(ValueError, match="2 clips for 3 rows"):
        number_groups(3, ["a", "b"])


def test_exact_bound_of_31_of_31_begins_at_88_8_percent():
    low, high = exact_interval(1.0, 31)
    assert (low, high) == (pytest.approx(0.025 ** (1 / 31)), 1.0)
    assert round(100 * low, 1) == 88.8
    assert exact_interval(0.0, 31) == (0.0, pytest.approx(1 - low))


@pytest.mark.parametrize(("successes", "number"), [(1, 1), (0, 1), (3, 10), (9, 10), (500, 1000), (19_999, 20_000)])
def test_exact_interval_is_that_of_scipy(successes, number):
    expected = scipy.stats.binomtest(successes, number).proportion_ci(method="exact")
    np.testing.assert_allclose(exact_interval(successes / number, number), (expected.low, expected.high), rtol=1e-6)


def test_share_between_whole_groups_is_rounded_outwards():
    low, high = exact_interval(0.55, 10)
    assert low == pytest.approx(exact_interval(0.5, 10)[0])
    assert high == pytest.approx(exact_interval(0.6, 10)[1])

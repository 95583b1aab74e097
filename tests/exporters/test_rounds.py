"""How speed is measured: ratios of a round, their spread, the refusal of a noisy machine."""

import itertools
import time

import pytest

from mg_vtc.exporters import rounds


def test_ratio_is_that_of_equal_work_in_the_same_round():
    seconds = {"reference": [1.0, 4.0, 2.0], "faster": [0.5, 2.0, 1.0]}
    assert rounds.speed_ratios(seconds, "faster") == [2, 2, 2]
    assert rounds.speed_ratios(seconds, "reference") == [1, 1, 1]


def test_spread_is_the_interquartile_range_over_the_median_of_the_ratios():
    seconds = {"reference": [1.0] * 5, "other": [1 / ratio for ratio in (1, 2, 3, 4, 5)]}
    assert rounds.spread(seconds, "other") == pytest.approx((4 - 2) / 3)
    assert rounds.spread(seconds, "reference") == 0


def test_a_drift_that_all_share_is_no_spread():
    drift = [1.0, 3.0, 9.0]
    assert rounds.spread({"reference": drift, "other": [2 * value for value in drift]}, "other") == 0


def test_noise_that_stays_is_refused_after_some_patience():
    naps = itertools.cycle([0.001, 0.03])
    calls = []

    def nap():
        calls.append(1)
        time.sleep(next(naps))

    with pytest.raises(ValueError, match="too noisy to print a table: after 8 rounds the spread of 'uneven' is"):
        rounds.measure_rounds({"even": lambda: time.sleep(0.01), "uneven": nap}, 4)
    assert len(calls) == 1 + rounds.PATIENCE * 4


def test_every_arrangement_runs_once_a_round_each_round_in_another_order(monkeypatch):
    monkeypatch.setattr(rounds, "MAX_SPREAD", float("inf"))  # whatever else runs
    order = []
    arrangements = {name: lambda name=name: order.append(name) for name in "abc"}
    seconds = rounds.measure_rounds(arrangements, 3, warm_up=0)
    in_order = ["".join(order[start : start + 3]) for start in range(0, len(order), 3)]
    assert in_order == ["abc", "bca", "cab"]
    assert [len(values) for values in seconds.values()] == [3, 3, 3]

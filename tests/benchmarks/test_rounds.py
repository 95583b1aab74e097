"""How benchmarks measure: a noisy machine ends them, and memory is that of this process."""

import pytest
import rounds


def test_noise_ends_a_benchmark_in_a_sentence(monkeypatch):
    monkeypatch.setattr(rounds.rounds_of_package, "MAX_SPREAD", -1.0)
    with pytest.raises(SystemExit, match=r"too noisy to print a table: after 4 rounds .*Run it again"):
        rounds.measure_rounds({"one": lambda: None, "other": lambda: None}, 2)


def test_peak_memory_is_that_of_this_process():
    before = rounds.peak_memory()
    block = bytearray(200_000_000)
    block[::4096] = b"x" * len(block[::4096])
    assert rounds.peak_memory() >= before
    assert rounds.peak_memory() > 200_000_000

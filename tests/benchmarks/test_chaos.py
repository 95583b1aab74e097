"""The table of all campaigns has their counts, and a lost or silent case fails."""

import re
import sys
from pathlib import Path

import chaos
import pytest
from chaos import Campaign
from chaos_runs import write_summary

ROOT = Path(__file__).parents[2]


def test_threads_of_lost_work_name_tests_that_there_are():
    lines = (ROOT / "EXPERIMENTS.md").read_text().partition("| threads | what was lost there |")[2].splitlines()[2:]
    rows = lines[: lines.index("")]
    assert len(rows) == 24
    for row in rows:
        names = re.findall(r"`([\w/]+\.py)::(\w+)`", row.split("|")[4])
        assert names
        for file, test in names:
            assert f"\ndef {test}(" in (ROOT / "tests" / file).read_text()


@pytest.fixture
def run_main(monkeypatch, tmp_path, capsys):
    """The table of `chaos.py --short`, a list of the cells of each row, and the words with which it ended."""

    def run(campaigns):
        monkeypatch.setattr(chaos, "CAMPAIGNS", campaigns)
        monkeypatch.setattr(sys, "argv", ["chaos.py", "--short", "--output_dir", str(tmp_path)])
        try:
            chaos.main()
            words = None
        except SystemExit as ended:
            words = ended.code
        rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
        return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows][2:], words

    return run


@pytest.mark.slow
def test_campaigns_run_with_their_short_flags_and_their_counts_are_summed(run_main):
    campaigns = {
        "inputs": Campaign("chaos_fuzz", ("--examples", "none"), ("--examples", "4")),
        "more": Campaign("chaos_fuzz", (), ("--examples", "4")),
    }
    rows, words = run_main(campaigns)
    assert words is None
    assert rows == [
        [name, *row] for name, row in (("inputs", ["20", "20", "0", "0"]), ("more", ["20", "20", "0", "0"]))
    ] + [["all", "40", "40", "0", "0"]]


@pytest.mark.parametrize("outcome", ["lost", "silent"])
def test_lost_or_silent_case_fails(outcome, run_main, monkeypatch, tmp_path):
    counts = {"survived": 5, "lost": 0, "silent": 0} | {outcome: 1}
    monkeypatch.setattr(chaos, "run_campaigns", lambda *_, short: {"kills": counts})
    rows, words = run_main({})
    assert rows[0] == ["kills", "6", "5", *(str(counts[name]) for name in ("lost", "silent"))]
    assert words.startswith("A case was lost or silent")


def test_campaign_that_does_not_end_is_not_counted_as_without_a_loss(run_main, tmp_path):
    write_summary(tmp_path, survived=1, lost=0, silent=0)  # of an earlier time
    rows, words = run_main({"inputs": Campaign("no_such_script", (), ())})
    assert rows == [["inputs", "did not end", "", "", ""], ["all", "0", "0", "0", "0"]]
    assert words.startswith("A case was lost or silent, or a campaign did not end")

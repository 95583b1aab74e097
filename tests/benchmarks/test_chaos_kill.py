"""The campaign of kills compares what is left with an undisturbed run, and records each case."""

import json
import sys

import chaos_kill
import pytest
from chaos_runs import read_summary
from local_hub import File, Hub, Repo


def test_times_and_paths_are_left_out_of_the_comparison(tmp_path):
    (tmp_path / "all_results.json").write_text(json.dumps({"train_runtime": 1.5, "eval_loss": 2.0}))
    (tmp_path / "README.md").write_text("in 3 s")
    (tmp_path / "weights").write_bytes(b"weights")
    assert chaos_kill.read_results(tmp_path) == {"all_results.json": {"eval_loss": 2.0}, "weights": b"weights"}


def test_lost_and_silent_cases_are_told_apart(tmp_path, monkeypatch):
    case, verb = {"verb": "v", "signal": "SIGKILL", "number": 0}, chaos_kill.Verb(lambda folder: [])
    for code, expected, outcome in ((0, {}, "survived"), (1, {}, "lost"), (0, {"weights": b""}, "silent")):
        codes = iter((-9, code))
        monkeypatch.setattr(chaos_kill, "run_command", lambda *_, codes=codes: {"code": next(codes), "screen": ""})
        found = chaos_kill.try_case(None, verb, case, tmp_path, expected, 1.0)
        assert found["outcome"] == outcome


def test_results_of_a_push_are_the_files_on_the_hub(tmp_path):
    hub = Hub()
    push = chaos_kill.make_push(tmp_path, hub)
    assert push.read(tmp_path) == {}
    hub.repos[chaos_kill.REPO_ID] = Repo()
    hub.repos[chaos_kill.REPO_ID].commit("main", {"README.md": File(b"card")}, "commit")
    assert push.read(tmp_path) == {"README.md": b"card"}
    (tmp_path / "results").mkdir()
    chaos_kill.empty(push, tmp_path / "results")
    assert not (tmp_path / "results").exists()
    assert push.read(tmp_path) == {}


@pytest.mark.slow
def test_campaign_runs_each_case_once(tmp_path, monkeypatch, capsys):
    flags = ["--moments", "1", "--verbs", "export", "push", "--signals", "SIGTERM", "--output_dir", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["chaos_kill.py", *flags])
    chaos_kill.main()
    first = capsys.readouterr().out
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in first.splitlines()]
    assert [row[:3] for row in rows[2:4]] == [["export", "SIGTERM", "1"], ["push", "SIGTERM", "1"]]
    assert rows[-1][4:] == ["2", "0", "0", "0"]
    assert len((tmp_path / "cases.jsonl").read_text().splitlines()) == 2
    assert read_summary(tmp_path) == {"survived": 2, "lost": 0, "silent": 0}
    monkeypatch.setattr(chaos_kill, "try_case", None)  # each case is recorded
    chaos_kill.main()
    assert capsys.readouterr().out == first

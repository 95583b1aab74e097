"""The campaign of damage tries its cases once, and counts silent results and unnamed errors."""

import json
import shutil
import sys

import chaos_damage
import pytest
import torch
from chaos_damage import Case, Kind, apply, list_cases, try_case
from chaos_runs import read_summary
from transformers.utils import logging


def make_kind(tmp_path, doors=("read",)):
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "weights").write_text(name)
        (tmp_path / name / "same").write_text("same")
    return Kind(tmp_path / "one", "", tmp_path / "other", doors)


def test_each_damage_changes_the_file(tmp_path):
    damages = (*chaos_damage.DAMAGES, chaos_damage.MISSING, chaos_damage.SWAPPED)
    for damage in damages:
        kind = make_kind(tmp_path / damage) if (tmp_path / damage).mkdir() is None else None
        path = kind.template / "weights"
        apply(damage, path, kind.other / "weights")
        assert not path.exists() or path.read_text() != "one"


def test_swap_with_an_equal_file_is_not_a_case(tmp_path):
    cases = list_cases({"run": make_kind(tmp_path)})
    assert {case.file for case in cases if case.damage == "swapped"} == {"weights"}
    assert len(cases) == 2 * 6 + 1


def test_outcomes_are_told_apart(tmp_path, monkeypatch):
    kind, case = make_kind(tmp_path), Case("run", "weights", "empty", "read")

    def named(folder, within, work):
        raise ValueError(f"{folder / 'weights'} is empty")

    def unnamed(folder, within, work):
        raise KeyError("weights")

    def read(folder, within, work):
        return (folder / "weights").read_text()

    for door, outcome in ((named, "named"), (unnamed, "unnamed"), (read, "silent"), (lambda *_: "one", "right")):
        monkeypatch.setitem(chaos_damage.DOORS, "read", door)
        assert try_case(case, kind, tmp_path, "one")["outcome"] == outcome


@pytest.mark.slow
def test_campaign_finds_no_fault_and_resumes(tmp_path, monkeypatch, capsys):
    threads = torch.get_num_threads()
    monkeypatch.setattr(sys, "argv", ["chaos_damage.py", "--cases", "20", "--output_dir", str(tmp_path)])
    chaos_damage.main()
    first = capsys.readouterr().out
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in first.splitlines()]
    assert rows[-1][0] == "all"
    assert rows[-1][2] == "20"
    assert rows[-1][-2:] == ["0", "0"]
    lines = (tmp_path / "cases.jsonl").read_text().splitlines()
    assert len(lines) == 20
    assert read_summary(tmp_path) == {"survived": 20, "lost": 0, "silent": 0}
    assert set(json.loads(lines[0])) == {*Case._fields, "outcome", "words"}
    monkeypatch.setattr(chaos_damage, "try_case", None)  # each case is recorded
    chaos_damage.main()
    assert capsys.readouterr().out == first
    shutil.rmtree(tmp_path / "work")
    torch.set_num_threads(threads)
    logging.enable_progress_bar()

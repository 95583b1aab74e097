"""The card in the repository is that of a real run."""

import sys
from pathlib import Path

import model_card

ROOT = Path(__file__).parents[2]
CARD = (ROOT / "model_card.md").read_text(encoding="utf-8")


def test_card_is_rendered_from_the_kept_records():
    assert model_card.render_card(model_card.RECORDS) == CARD


def test_command_keeps_the_records_of_a_run_and_renders_them(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(sys, "argv", ["model_card.py", str(model_card.RECORDS)])
    monkeypatch.setattr(model_card, "RECORDS", tmp_path / "kept")
    monkeypatch.setattr(model_card, "ROOT", tmp_path)
    model_card.main()
    assert (tmp_path / "model_card.md").read_text(encoding="utf-8") == CARD
    assert model_card.render_card(tmp_path / "kept") == CARD
    assert capsys.readouterr().out == f"{tmp_path / 'model_card.md'}\n"

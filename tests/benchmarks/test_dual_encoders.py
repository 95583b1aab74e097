"""Dual encoders that are taken over: their logits in every form are those of the original."""

import dual_encoders
import pytest

SLOW = pytest.mark.slow
FAMILIES = [name if name == "siglip" else pytest.param(name, marks=SLOW) for name in dual_encoders.FAMILIES]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.filterwarnings("ignore")  # of the exporter
def test_logits_are_those_of_the_parent_in_every_form(family, tmp_path):
    differences = dual_encoders.measure(family, tmp_path)
    assert set(differences) == {"taken over", "reloaded", "classes", "ONNX", "ONNX, classes"}
    assert max(differences.values()) < 1e-5


@SLOW
@pytest.mark.filterwarnings("ignore")
def test_table_has_a_row_a_family(monkeypatch, capsys):
    monkeypatch.setattr(dual_encoders, "FAMILIES", ("siglip",))
    dual_encoders.main()
    head, _, row = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    assert head == "| family | taken over | reloaded | classes | ONNX | ONNX, classes |"
    assert row.startswith("| siglip | ")

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

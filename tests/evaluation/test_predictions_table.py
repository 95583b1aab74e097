"""A row an image: what it is, what it was taken for, and how sure the model was."""

import json

import numpy as np
import pyarrow.parquet

from mg_vtc.evaluation.predictions_table import write_predictions_table
from mg_vtc.evaluation.results import Predictions


def test_table_has_names_probabilities_and_no_prediction_for_ties(tmp_path):
    logits = np.log(np.float32([[0.9, 0.1], [0.5, 0.5]]))
    predictions = Predictions(logits, np.array([1, 0]), ["a", "b"], ["x.png", "y.png"], ["s", "t"])
    write_predictions_table(tmp_path / "predictions.parquet", predictions, ["00", "11"])
    table = pyarrow.parquet.read_table(tmp_path / "predictions.parquet")
    assert json.loads(table.schema.metadata[b"class_names"]) == ["a", "b"]
    first, second = table.to_pylist()
    np.testing.assert_allclose(first.pop("probabilities"), [0.9, 0.1], rtol=1e-6)
    assert first == {"file_name": "x.png", "digest": "00", "clip": "s", "label": "b", "prediction": "a"}
    assert second["prediction"] is None

"""Table of the predictions of an evaluation, the input of `compare`."""

import hashlib
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import torch
from transformers.utils import SAFE_WEIGHTS_NAME

from .metrics import predict_classes
from .results import Predictions


def digest_weights(model: Path) -> str | None:
    """Return the SHA-256 of the weights in the folder of a model; None for a model that is not in a folder."""
    weights = model / SAFE_WEIGHTS_NAME
    if not weights.is_file():
        return None
    with weights.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_predictions_table(
    path: Path, predictions: Predictions, digests: list[str], weights: str | None = None
) -> None:
    """Write one row per image: `file_name`, `digest` of its bytes, `clip`, `label`, `prediction`, `probabilities`.

    `label` and `prediction` are class names; `prediction` is null if the highest scores are tied. `probabilities` are
    in the order of the JSON list `class_names` in the metadata, next to a digest of the weights.
    """
    names: list[str | None] = list(predictions.class_names)
    predicted = predict_classes(predictions.logits)  # (num_rows,)
    # in float32, those of unlikely classes would be 0, and their order lost
    probabilities = torch.from_numpy(predictions.logits).double().softmax(dim=-1).numpy()
    columns = {
        "file_name": pa.array(predictions.file_names, pa.string()),
        "digest": pa.array(digests, pa.string()),
        "clip": pa.nulls(len(digests), pa.string())
        if predictions.clips is None
        else pa.array(predictions.clips, pa.string()),
        "label": pa.array([names[label] for label in predictions.labels], pa.string()),
        "prediction": pa.array([None if label < 0 else names[label] for label in predicted], pa.string()),
        "probabilities": pa.array(list(probabilities), pa.list_(pa.float64())),
    }
    metadata = {"class_names": json.dumps(names)} | ({} if weights is None else {"weights": weights})
    table = pa.table(columns).replace_schema_metadata(metadata)
    pyarrow.parquet.write_table(table, path)

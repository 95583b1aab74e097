"""Prediction files of resumable runs.

Predictions are first written to `FILE.partial`: a JSON line with the settings, then a line for every few batches with
the predictions and the number of finished samples. The final file is made from it, so it has the same bytes after any
number of interruptions.
"""

import csv
import io
import json
import os
import re
import warnings
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, TextIO

import pyarrow as pa
import pyarrow.parquet

from ..files import atomic_write
from ..messages import abridge
from .predictor import Prediction

SUFFIXES = (".csv", ".jsonl", ".parquet")
NUM_DECIMALS = 6  # in scores and times
FORMULA = re.compile(r"[=+\-@\t\r]")  # first characters that spreadsheets read as a formula
GROUP_ROWS = 10_000  # rows of a row group of Parquet


class Journal:
    """Journal of the finished samples of a run.

    Args:
        path: Final file of the run.
        settings: Everything that predictions depend on, as JSON values.
        overwrite: Whether the file, or a journal with other settings, may be replaced.

    Attributes:
        num_done: Number of finished samples.
        is_whole: Whether all samples are finished.
        path: Path of the journal.

    Raises:
        ValueError: The file exists, or a journal with other settings, and `overwrite` is False.
    """

    def __init__(self, path: Path, settings: dict[str, Any], *, overwrite: bool = False) -> None:
        check_file(path, overwrite=overwrite)
        self.path = path.with_name(f"{path.name}.partial")
        self.num_done, self.is_whole = 0, False
        first = f"{json.dumps(settings)}\n".encode()
        if self.path.exists():
            with self.path.open("rb") as file:
                begun = file.readline()
            if not first.startswith(begun) and not overwrite:  # else its first line was cut off
                raise ValueError(f"{self.path} {_differ(begun, settings)}")
            if begun == first:
                self._drop_half_line()
                return
        self.path.write_bytes(first)

    def _drop_half_line(self) -> None:
        """Drop a line that was cut off by an interruption, and read the progress of the others."""
        num_bytes = 0
        with self.path.open("rb") as file:
            for line in file:
                if line.endswith(b"\n"):
                    num_bytes += len(line)
                    values = json.loads(line)
                    self.num_done, self.is_whole = values.get("num_done", 0), values.get("is_whole", False)
        os.truncate(self.path, num_bytes)

    def add(self, num_done: int, predictions: Sequence[Prediction]) -> None:
        """Append predictions.

        Raises:
            OSError: The journal cannot be written.
        """
        self._write({"num_done": num_done, "predictions": predictions})
        self.num_done = num_done

    def end(self) -> None:
        """Record that all samples are finished; a resumed run then only writes its file.

        Raises:
            OSError: The journal cannot be written.
        """
        if not self.is_whole:
            self._write({"num_done": self.num_done, "predictions": [], "is_whole": True})
            self.is_whole = True

    def _write(self, values: dict[str, Any]) -> None:
        line = json.dumps(values)  # ASCII, as paths may not be UTF-8
        try:
            with self.path.open("ab") as file:
                file.write(f"{line}\n".encode())
        except OSError as error:
            raise OSError(
                f"{self.path} cannot be written ({error}). It holds the predictions of {self.num_done} images: solve "
                "the problem and repeat the command to resume."
            ) from error

    def read(self) -> Iterator[Prediction]:
        """Yield all predictions in the journal."""
        with self.path.open("rb") as file:
            for line in islice(file, 1, None):
                yield from (Prediction(*values) for values in json.loads(line)["predictions"])

    def close(self) -> list[Prediction]:
        """Delete the journal and return the predictions with an error."""
        errors = [prediction for prediction in self.read() if prediction.error is not None]
        self.path.unlink()
        return errors


def check_file(path: Path, *, overwrite: bool) -> None:
    """Check that a file can be written without loss; call it before slow work.

    Raises:
        FileNotFoundError: Its folder does not exist.
        PermissionError: Its folder is not writable.
        ValueError: The file exists and `overwrite` is False.
    """
    if not path.parent.is_dir():
        raise FileNotFoundError(f"No folder {path.parent} to write {path.name} to: create it, or choose another.")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise PermissionError(
            f"{path.name} cannot be written, because the folder {path.parent} is not writable: choose another."
        )
    if path.exists() and not overwrite:
        raise ValueError(f"{path} already exists: choose another `output`, or set `overwrite`.")


def check_suffix(path: Path, suffixes: Sequence[str]) -> None:
    """Check the suffix of a file.

    Raises:
        ValueError: It is not one of `suffixes`.
    """
    if path.suffix not in suffixes:
        raise ValueError(f"`output` must end in {' or '.join(suffixes)}, which sets the format, got {path}.")


def write_predictions_file(
    path: Path, predictions: Iterator[Prediction], *, top_k: int, voted: bool, has_threshold: bool = False
) -> int:
    """Write predictions as CSV, JSON lines or Parquet, by the suffix of the file; skip those with an error.

    The columns are `file`, `clip`, `frame` and `time` (seconds), or for clips `clip` and `num_frames`, followed with
    a threshold by `prediction` (a class or "none of these"), and by
    `label_1`, `score_1` to `label_<top_k>`, `score_<top_k>`. Scores (fractions) and times have six decimals. Texts are
    written as they are; a warning names one in a CSV that a spreadsheet would take for a formula.

    Args:
        path: File to write atomically; replaced if it exists.
        predictions: Predictions with `top_k` labels each.
        top_k: Number of labels per row.
        voted: Whether these are predictions of clips.
        has_threshold: Whether there is a threshold.

    Returns:
        Number of rows.
    """
    columns = _columns(top_k, voted, has_threshold)
    rows = (_row(prediction, columns) for prediction in predictions if prediction.error is None)
    with atomic_write(path) as file:
        return {".csv": _write_csv, ".jsonl": _write_jsonl, ".parquet": _write_parquet}[path.suffix](
            file, columns, rows
        )


def _columns(top_k: int, voted: bool, has_threshold: bool) -> dict[str, pa.DataType]:
    predictions = {"label": pa.string(), "score": pa.float64()}
    of_sample = {"file": pa.string(), "clip": pa.string(), "frame": pa.int64(), "time": pa.float64()}
    of_clip = {"clip": pa.string(), "num_frames": pa.int64()}
    predicted = {"prediction": pa.string()} if has_threshold else {}
    return (
        (of_clip if voted else of_sample)
        | predicted
        | {f"{name}_{rank}": kind for rank in range(1, top_k + 1) for name, kind in predictions.items()}
    )


def _row(prediction: Prediction, columns: dict[str, pa.DataType]) -> dict[str, Any]:
    values = prediction._asdict() | {"prediction": prediction.label}
    for rank, (label, score) in enumerate(zip(prediction.labels, prediction.scores, strict=True), start=1):
        values |= {f"label_{rank}": label, f"score_{rank}": score}
    row = {name: values[name] for name in columns}
    return {name: round(value, NUM_DECIMALS) if isinstance(value, float) else value for name, value in row.items()}


class CsvLines:
    """Text file for the writers of `csv`, which end rows by CR LF: rows end by LF, and a CR in a cell is quoted.

    Told to end rows by LF, the writers leave a CR without quotes, and readers take it for the end of a row.

    Args:
        file: Text file to write to.
    """

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def write(self, row: str) -> None:
        self._file.write(row.removesuffix("\r\n") + "\n")


def _write_csv(file: BinaryIO, columns: dict[str, pa.DataType], rows: Iterator[dict[str, Any]]) -> int:
    text = io.TextIOWrapper(file, encoding="utf-8", newline="")
    writer = csv.DictWriter(CsvLines(text), columns)
    writer.writeheader()
    num_rows, formula = 0, None
    for row in rows:
        num_rows += 1
        if formula is None:
            formula = next((cell for cell in row.values() if isinstance(cell, str) and FORMULA.match(cell)), None)
        # no exponent
        scores = {name: f"{value:.{NUM_DECIMALS}f}" for name, value in row.items() if isinstance(value, float)}
        writer.writerow(row | scores)
    text.detach()  # flushes, and leaves the file open
    if formula is not None:
        warnings.warn(
            f"The CSV holds {abridge(formula)}, which a spreadsheet would take for a formula: import the columns of "
            "names as text, or write .jsonl or .parquet.",
            stacklevel=5,
        )
    return num_rows


def _write_jsonl(file: BinaryIO, columns: dict[str, pa.DataType], rows: Iterator[dict[str, Any]]) -> int:
    num_rows = 0
    for row in rows:
        num_rows += 1
        file.write(f"{json.dumps(row, ensure_ascii=False)}\n".encode())
    return num_rows


def _write_parquet(file: BinaryIO, columns: dict[str, pa.DataType], rows: Iterator[dict[str, Any]]) -> int:
    num_rows = 0
    schema = pa.schema(columns)
    with pyarrow.parquet.ParquetWriter(file, schema) as writer:
        while group := list(islice(rows, GROUP_ROWS)):  # equal groups, wherever the run was interrupted
            writer.write_table(pa.Table.from_pylist(group, schema))
            num_rows += len(group)
    return num_rows


def _differ(begun: bytes, settings: dict[str, Any]) -> str:
    try:
        before = json.loads(begun)
    except ValueError:
        return "was not written by this command: move it away, or choose another `output`."
    changed = [
        f"{name} {before.get(name)!r}, now {value!r}" for name, value in settings.items() if before.get(name) != value
    ]
    return (
        f"belongs to an interrupted run with other settings ({'; '.join(changed)}): use the same settings to resume, "
        "choose another `output`, or replace it with `overwrite`."
    )

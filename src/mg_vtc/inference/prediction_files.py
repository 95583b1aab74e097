"""Files of answers, written so that a run that was killed goes on where it was.

Answers are first kept in `FILE.partial`: a line of JSON with the settings, then a line for the answers of some batches
with the number of samples that are done. The file itself is made of it when all is answered, and so has the same bytes
however often the run was interrupted.
"""

import csv
import io
import json
import os
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet

from ..files import atomic_write
from .predictor import Prediction

SUFFIXES = (".csv", ".jsonl", ".parquet")
NUM_DECIMALS = 6  # of scores and times
GROUP_ROWS = 10_000  # rows of a row group of Parquet


class Journal:
    """What is done of a run.

    Args:
        path: The file that is to be written in the end.
        settings: All that answers depend on; JSON.
        overwrite: Whether that file, and a journal of other settings, may be replaced.

    Attributes:
        num_done: How many samples are done.
        is_whole: Whether these are all.
        path: Of the journal.

    Raises:
        ValueError: Something would be lost.
    """

    def __init__(self, path: Path, settings: dict[str, Any], *, overwrite: bool = False) -> None:
        check_file(path, overwrite=overwrite)
        self.path = path.with_name(f"{path.name}.partial")
        self.num_done, self.is_whole = 0, False
        first = f"{json.dumps(settings)}\n".encode()
        if self.path.exists():
            with self.path.open("rb") as file:
                begun = file.readline()
            if begun != first and begun.endswith(b"\n") and not overwrite:
                raise ValueError(f"{self.path} {_differ(begun, settings)}")
            if begun == first:
                self._drop_half_line()
                return
        self.path.write_bytes(first)

    def _drop_half_line(self) -> None:
        """Cut off the line that was being written when the run was killed, and find out what is done."""
        num_bytes = 0
        with self.path.open("rb") as file:
            for line in file:
                if line.endswith(b"\n"):
                    num_bytes += len(line)
                    values = json.loads(line)
                    self.num_done, self.is_whole = values.get("num_done", 0), values.get("is_whole", False)
        os.truncate(self.path, num_bytes)

    def add(self, num_done: int, predictions: Sequence[Prediction]) -> None:
        """Keep answers.

        Raises:
            OSError: They can not be written.
        """
        self._write({"num_done": num_done, "predictions": predictions})
        self.num_done = num_done

    def end(self) -> None:
        """Keep that all is answered, so that a run that could not write its file goes on with that.

        Raises:
            OSError: That can not be written.
        """
        if not self.is_whole:
            self._write({"num_done": self.num_done, "predictions": [], "is_whole": True})
            self.is_whole = True

    def _write(self, values: dict[str, Any]) -> None:
        line = json.dumps(values)  # in ASCII, as paths in it may be no UTF-8
        try:
            with self.path.open("ab") as file:
                file.write(f"{line}\n".encode())
        except OSError as error:
            raise OSError(
                f"{self.path} can not be written ({error}). {self.num_done} pictures are answered in it: when it can, "
                "the same command goes on from there."
            ) from error

    def read(self) -> Iterator[Prediction]:
        """Read all answers that are kept."""
        with self.path.open("rb") as file:
            for line in islice(file, 1, None):
                yield from (Prediction(*values) for values in json.loads(line)["predictions"])

    def close(self) -> list[Prediction]:
        """Forget the run, whose answers are written elsewhere; return what could not be read."""
        faults = [prediction for prediction in self.read() if prediction.error is not None]
        self.path.unlink()
        return faults


def check_file(path: Path, *, overwrite: bool) -> None:
    """Make sure that a file can be written, and nothing is lost by it; to be called before anything slow.

    Raises:
        FileNotFoundError: Its folder is not there.
        PermissionError: Its folder can not be written.
        ValueError: It is there, and `overwrite` was not asked for.
    """
    if not path.parent.is_dir():
        raise FileNotFoundError(f"There is no folder {path.parent} to write {path.name} into.")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise PermissionError(
            f"{path.name} can not be written, as the folder {path.parent} may not be: choose another."
        )
    if path.exists() and not overwrite:
        raise ValueError(f"{path} is there already: choose another --out, or add --overwrite.")


def check_suffix(path: Path, suffixes: Sequence[str]) -> None:
    """Make sure that a file is of a kind that can be written.

    Raises:
        ValueError: It is not.
    """
    if path.suffix not in suffixes:
        raise ValueError(f"--out {path} must end in {' or '.join(suffixes)}, which tells the format.")


def write_predictions_file(path: Path, predictions: Iterator[Prediction], *, top_k: int, voted: bool) -> int:
    """Write answers as CSV, JSON lines or Parquet, by the suffix of the file; those without an answer are left out.

    The columns are `file`, `clip`, `frame` and `time` (seconds), for clips `clip` and `num_frames`, and then `label_1`
    and `score_1` to those of `top_k`. Scores, fractions, and times are rounded to six decimals.

    Args:
        path: Replaced where it is there, once the new one is whole.
        predictions: With `top_k` labels each.
        top_k: How many classes are named.
        voted: Whether the answers are about clips.

    Returns:
        How many rows it has.
    """
    columns = _columns(top_k, voted)
    rows = (_row(prediction, columns) for prediction in predictions if prediction.error is None)
    with atomic_write(path) as file:
        return {".csv": _write_csv, ".jsonl": _write_jsonl, ".parquet": _write_parquet}[path.suffix](
            file, columns, rows
        )


def _columns(top_k: int, voted: bool) -> dict[str, pa.DataType]:
    answers = {"label": pa.string(), "score": pa.float64()}
    of_sample = {"file": pa.string(), "clip": pa.string(), "frame": pa.int64(), "time": pa.float64()}
    of_clip = {"clip": pa.string(), "num_frames": pa.int64()}
    return (of_clip if voted else of_sample) | {
        f"{name}_{rank}": kind for rank in range(1, top_k + 1) for name, kind in answers.items()
    }


def _row(prediction: Prediction, columns: dict[str, pa.DataType]) -> dict[str, Any]:
    values = prediction._asdict()
    for rank, (label, score) in enumerate(zip(prediction.labels, prediction.scores, strict=True), start=1):
        values |= {f"label_{rank}": label, f"score_{rank}": score}
    row = {name: values[name] for name in columns}
    return {name: round(value, NUM_DECIMALS) if isinstance(value, float) else value for name, value in row.items()}


def _write_csv(file: BinaryIO, columns: dict[str, pa.DataType], rows: Iterator[dict[str, Any]]) -> int:
    text = io.TextIOWrapper(file, encoding="utf-8", newline="")
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    num_rows = 0
    for row in rows:
        num_rows += 1
        # six decimals and no exponent
        scores = {name: f"{value:.{NUM_DECIMALS}f}" for name, value in row.items() if isinstance(value, float)}
        writer.writerow(row | scores)
    text.detach()  # which writes what is left, and leaves the file open
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
        while group := list(islice(rows, GROUP_ROWS)):  # not as they came, since runs are interrupted anywhere
            writer.write_table(pa.Table.from_pylist(group, schema))
            num_rows += len(group)
    return num_rows


def _differ(begun: bytes, settings: dict[str, Any]) -> str:
    try:
        before = json.loads(begun)
    except ValueError:
        return "is no file of this command: move it away, or choose another --out."
    changed = [
        f"{name} {before.get(name)!r}, now {value!r}" for name, value in settings.items() if before.get(name) != value
    ]
    return (
        f"keeps a run that was interrupted and began otherwise ({'; '.join(changed)}): go on as it began, choose "
        "another --out, or replace it by --overwrite."
    )

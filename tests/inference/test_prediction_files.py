"""Files of predictions, and what is kept of a run that was killed."""

import csv
import json
import resource
import signal

import pyarrow.parquet
import pytest

from mg_vtc.inference.prediction_files import Journal, check_suffix, write_predictions_file
from mg_vtc.inference.predictor import Prediction

IMAGES = [
    Prediction("a, b.png", "a, b", 3, None, 1, ["Rubbing eyes", "Buckle button, collar"], [0.75, 1e-7], None),
    Prediction("bad.png", None, None, None, 1, [], [], "not an image"),
    Prediction("ü.mp4", "ü", 0, 1 / 3, 1, ["Head up", "Rubbing eyes"], [2 / 3, 1 / 3], None),
]
CLIPS = [Prediction(None, "a", None, None, 4, ["Head up"], [1.0], None)]
COLUMNS = ["file", "clip", "frame", "time", "label_1", "score_1", "label_2", "score_2"]


def write(path, predictions=IMAGES, **settings):
    return write_predictions_file(path, iter(predictions), **({"top_k": 2, "voted": False} | settings))


def test_csv_has_a_row_for_each_prediction(tmp_path):
    assert write(tmp_path / "a.csv") == 2
    with (tmp_path / "a.csv").open(newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    assert header == COLUMNS
    assert rows == [
        ["a, b.png", "a, b", "3", "", "Rubbing eyes", "0.750000", "Buckle button, collar", "0.000000"],
        ["ü.mp4", "ü", "0", "0.333333", "Head up", "0.666667", "Rubbing eyes", "0.333333"],
    ]


def test_jsonl_and_parquet_have_the_same_rows(tmp_path):
    assert write(tmp_path / "a.jsonl") == write(tmp_path / "a.parquet") == 2
    rows = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text(encoding="utf-8").splitlines()]
    assert rows == pyarrow.parquet.read_table(tmp_path / "a.parquet").to_pylist()
    assert list(rows[0]) == COLUMNS
    assert (rows[0]["time"], rows[0]["score_2"], rows[1]["score_1"]) == (None, 0.0, 0.666667)


def test_clips_have_their_own_columns(tmp_path):
    write(tmp_path / "a.csv", CLIPS, top_k=1, voted=True)
    assert (tmp_path / "a.csv").read_text() == "clip,num_frames,label_1,score_1\na,4,Head up,1.000000\n"


def test_nothing_predicted_is_a_file_without_rows(tmp_path):
    for suffix in ("csv", "jsonl", "parquet"):
        assert write(tmp_path / f"a.{suffix}", IMAGES[1:2]) == 0
    assert pyarrow.parquet.read_table(tmp_path / "a.parquet").column_names == COLUMNS


def test_failure_leaves_the_file_that_was_there(tmp_path):
    (tmp_path / "a.csv").write_text("before")

    def failing():
        yield IMAGES[0]
        raise OSError("no more")

    with pytest.raises(OSError, match="no more"):
        write_predictions_file(tmp_path / "a.csv", failing(), top_k=2, voted=False)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["before"]


def test_journal_gives_back_what_was_added_and_goes_on(tmp_path):
    journal = Journal(tmp_path / "a.csv", {"vote": None})
    journal.add(2, IMAGES[:2])
    again = Journal(tmp_path / "a.csv", {"vote": None})
    assert again.num_done == 2
    again.add(3, IMAGES[2:])
    assert list(again.read()) == IMAGES
    assert Journal(tmp_path / "a.csv", {"vote": None}).num_done == 3
    assert again.close() == IMAGES[1:2]
    assert not list(tmp_path.iterdir())


def test_journal_knows_that_all_is_predicted(tmp_path):
    journal = Journal(tmp_path / "a.csv", {})
    journal.add(3, IMAGES)
    assert not Journal(tmp_path / "a.csv", {}).is_whole
    journal.end()
    again = Journal(tmp_path / "a.csv", {})
    assert (again.is_whole, again.num_done, list(again.read())) == (True, 3, IMAGES)


@pytest.mark.parametrize("num_bytes", [1, 30, 100])
def test_half_a_line_is_as_if_it_had_not_come(tmp_path, num_bytes):
    journal = Journal(tmp_path / "a.csv", {})
    journal.add(1, IMAGES[:1])
    journal.add(3, IMAGES[1:])
    text = journal.path.read_bytes()
    journal.path.write_bytes(text[:-num_bytes])
    again = Journal(tmp_path / "a.csv", {})
    assert again.num_done == 1
    again.add(3, IMAGES[1:])
    assert again.path.read_bytes() == text


def test_half_of_the_first_line_begins_anew(tmp_path):
    (tmp_path / "a.csv.partial").write_bytes(b'{"vote": nu')
    assert Journal(tmp_path / "a.csv", {"vote": None}).num_done == 0
    assert (tmp_path / "a.csv.partial").read_text() == '{"vote": null}\n'


def test_run_that_began_otherwise_is_kept(tmp_path):
    Journal(tmp_path / "a.csv", {"vote": "mean", "top_k": 5}).add(1, CLIPS)
    with pytest.raises(ValueError, match=r"with other settings \(vote 'mean', now 'max'\)"):
        Journal(tmp_path / "a.csv", {"vote": "max", "top_k": 5})
    assert Journal(tmp_path / "a.csv", {"vote": "mean", "top_k": 5}).num_done == 1
    assert Journal(tmp_path / "a.csv", {"vote": "mean", "top_k": 5}, overwrite=True).num_done == 1
    assert Journal(tmp_path / "a.csv", {"vote": "max", "top_k": 5}, overwrite=True).num_done == 0


def test_file_of_somebody_else_is_kept(tmp_path):
    (tmp_path / "a.csv.partial").write_text("mine\n")
    with pytest.raises(ValueError, match="not written by this command"):
        Journal(tmp_path / "a.csv", {})
    (tmp_path / "b.csv").write_text("mine")
    with pytest.raises(ValueError, match=r"b.csv already exists"):
        Journal(tmp_path / "b.csv", {})
    with pytest.raises(FileNotFoundError, match=r"No folder .*absent"):
        Journal(tmp_path / "absent" / "a.csv", {})


def test_full_disk_keeps_what_is_complete_and_tells_how_to_go_on(tmp_path):
    journal = Journal(tmp_path / "a.csv", {})
    journal.add(2, IMAGES[:2])
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (journal.path.stat().st_size + 40, limits[1]))
        with pytest.raises(OSError, match=r"cannot be written .* predictions of 2 images: .* to resume"):
            journal.add(3, IMAGES[2:])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    assert Journal(tmp_path / "a.csv", {}).num_done == 2


def test_unknown_suffix_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"must end in .csv or .jsonl.*a.xlsx"):
        check_suffix(tmp_path / "a.xlsx", (".csv", ".jsonl"))


def test_whole_journal_is_kept_with_overwrite(tmp_path):
    journal = Journal(tmp_path / "a.csv", {})
    journal.add(3, IMAGES)  # one of which has an error
    journal.end()
    again = Journal(tmp_path / "a.csv", {}, overwrite=True)  # as a repetition with another fallback class asks
    assert (again.is_whole, again.num_done, list(again.read())) == (True, 3, IMAGES)


def test_file_of_another_program_is_not_taken_for_a_journal(tmp_path):
    partial = tmp_path / "a.csv.partial"
    partial.write_bytes(b"a download")
    with pytest.raises(ValueError, match=r"a\.csv\.partial was not written by this command: move it away"):
        Journal(tmp_path / "a.csv", {})
    assert partial.read_bytes() == b"a download"

"""Which files are metadata, and the rows they give."""

from pathlib import Path

import pytest

from mg_vtc.data.metadata import is_metadata_file, locate_rows, read_metadata


@pytest.mark.parametrize(
    ("name", "is_one"),
    [
        ("metadata.csv", True),
        ("Metadata.PARQUET", True),
        (" metadata .tsv", True),
        ("metadata", True),
        ("metadata.csv.gz", True),
        ("metadata.png", False),
        ("metadata.csv.bak", False),
        ("my_metadata.csv", False),
    ],
)
def test_metadata_files_are_known_by_name(name: str, is_one: bool):
    assert is_metadata_file(Path(name)) == is_one


def test_wanted_columns_are_found_whatever_their_capitals(tmp_path: Path):
    (tmp_path / "metadata.csv").write_text("FILE_NAME;Take 1;other\na.png; 5;x\n;;\n")
    table = read_metadata(tmp_path, ["take 1", "clip"])
    assert table is not None
    assert (table.column_names, table.known) == (["FILE_NAME", "Take 1", "other"], ["file_name", "take 1"])
    assert table.rows == [{"file_name": "a.png", "take 1": "5"}]


def test_exact_names_win_over_others(tmp_path: Path):
    (tmp_path / "metadata.csv").write_text("file_name\nA.png\na.png\nb\\c.png\nB.png\n")
    table = read_metadata(tmp_path, [])
    assert table is not None
    images = [tmp_path / name for name in ("a.png", "A.png", "b/c.png")]
    assert [row.image for row in locate_rows(table, images)] == [
        *(tmp_path / name for name in ("A.png", "a.png", "b/c.png", "B.png"))
    ]


def test_folder_without_metadata_has_none(tmp_path: Path):
    assert read_metadata(tmp_path, ["clip"]) is None

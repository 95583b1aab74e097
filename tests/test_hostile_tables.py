"""Tables of strangers: labels, metadata and segments are read right or refused in clear words, in bounded time."""

import time

import pytest
from conftest import CLASS_NAMES
from hostile_files import NOISE

from mg_vtc import MgVtcConfig, load_image_folder
from mg_vtc.data.labels import read_labels
from mg_vtc.inference.segment_files import read_segments

ARABIC = "\u0644\u0645\u0633 \u0627\u0644\u0648\u062c\u0647"


@pytest.fixture
def write(tmp_path):
    def run(content, name="labels.csv"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return run


@pytest.mark.parametrize(
    ("content", "names"),
    [
        ("\ufeffid,name\n0,a\n1,b\n", ["a", "b"]),
        ('id,name\n0,"a, b"\n1,"say ""no"""\n', ["a, b", 'say "no"']),
        (f"id,name\n0,{ARABIC}\n1,\u05e9\u05dc\u05d5\u05dd\n", [ARABIC, "\u05e9\u05dc\u05d5\u05dd"]),
        ('id,name\r\n0,"a\r\nb"\r\n1,c\r\n', ["a b", "c"]),
        ('id,name\n0,<script>alert(1)</script>\n1,"=1+1"\n', ["<script>alert(1)</script>", "=1+1"]),
    ],
    ids=["byte order mark", "quotes", "right to left", "line break in quotes", "markup"],
)
def test_labels_are_read_right(write, content, names):
    assert list(read_labels(write(content)).values()) == names


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("id;name\n0;a\n1;b\n", "must be 'id,name', but it is 'id;name'"),
        (
            'id,name\n0,"a\n1,b\n',
            r"is not a CSV: unexpected end of data in line 2; double quotes must",
        ),
        (
            'id,name\n0,a\n1,"b" c\n',
            r"is not a CSV: ',' expected after '\"' in line 3; double quotes must",
        ),
        ("id,name\n0,a\x1b[31m\n", "contains a control character"),
        ("id,name\n0,\u202e\n", "must have a visible character"),
        (b"id,name\n0,\xff\xfe\n", "is not UTF-8"),
        ("id,name\n0," + "a" * 200_000 + "\n1,b\n", "field larger than field limit"),
        ("id,name\n" + "9" * 5000 + ",a\n1,b\n", "is longer than"),
    ],
    ids=["semicolons", "open quote", "loose quote", "escape", "invisible", "not UTF-8", "large cell", "large id"],
)
def test_labels_are_refused_with_the_reason(write, content, words):
    with pytest.raises(ValueError, match=words) as error:
        read_labels(write(content))
    assert len(str(error.value)) < 400 + len(str(write("")))


def test_ten_thousand_classes_take_seconds(write, tmp_path):
    start = time.monotonic()
    labels = read_labels(write("id,name\n" + "".join(f"{number},class {number}\n" for number in range(10_000))))
    MgVtcConfig(id2label=dict(enumerate(labels.values()))).save_pretrained(tmp_path)
    assert MgVtcConfig.from_pretrained(tmp_path).num_labels == 10_000
    assert time.monotonic() - start < 10  # 11 s when each name was searched for in a list


@pytest.mark.parametrize("mark", [",", ";", "\t", "|"])
def test_rows_of_metadata_outside_the_folder_name_no_image(tmp_path, mark):
    """A row cannot pull a file from elsewhere into a data set."""
    data = tmp_path / "data"
    for name in CLASS_NAMES[:2]:
        (data / name).mkdir(parents=True)
        NOISE.save(data / name / "a.png")
    NOISE.save(tmp_path / "secret.png")
    rows = [("file_name", "label"), *((f"{name}/a.png", name) for name in CLASS_NAMES[:2])]
    rows += [("../secret.png", CLASS_NAMES[0]), (str(tmp_path / "secret.png"), CLASS_NAMES[0])]
    (data / "metadata.csv").write_text("\ufeff" + "".join(f"{mark.join(row)}\n" for row in rows))
    loaded = load_image_folder(data)["train"]
    assert sorted(loaded["file_name"]) == sorted(f"{name}/a.png" for name in CLASS_NAMES[:2])


@pytest.mark.parametrize(
    "content",
    ["\ufeffvideo,start,end\na,1,2\n", 'video,start,end\n"a",1,2\n', f"video,start,end,subject\na,1,2,{ARABIC}\n"],
    ids=["byte order mark", "quotes", "right to left"],
)
def test_segments_are_read_right(write, content):
    assert read_segments(write(content)) == {"a": [(0, 0, 1)]}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("video;start;end\na;1;2\n", "is separated by ';': separate the columns by commas"),
        ("1,1,99999999999\n", "frames 1 to 99999999999 are more than 1,000,000"),
        ("1,1," + "9" * 5000 + "\n", "is too large for the number of a frame"),
        (b"1,\xff,2\n", "is not a UTF-8 CSV"),
        ('1,1,2\n"1" a,1,2\n', "expected after '\"' in line 2; double quotes must stand around a whole cell"),
        ("1,1," + "2" * 200_000 + "\n", "field larger than field limit"),
    ],
    ids=["semicolons", "more frames than fit", "number of 5000 digits", "not UTF-8", "loose quote", "large cell"],
)
def test_segments_are_refused_with_the_reason(write, content, words):
    with pytest.raises(ValueError, match=words) as error:
        read_segments(write(content))
    assert len(str(error.value)) < 600 + len(str(write("")))

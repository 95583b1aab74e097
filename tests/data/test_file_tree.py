"""Files below a folder: links are followed, but not in a circle, and hidden images are listed."""

from pathlib import Path

from mg_vtc.data.file_tree import describe_left_out, find_files, has_image_suffix


def write(parent: Path, *names: str) -> None:
    for name in names:
        (parent / name).parent.mkdir(parents=True, exist_ok=True)
        (parent / name).touch()


def test_links_are_followed_once_around(tmp_path: Path):
    write(tmp_path, "store/b/x.png", "data/a/y.png")
    data = tmp_path / "data"
    (data / "a/linked").symlink_to(tmp_path / "store")
    (tmp_path / "store/back").symlink_to(data)
    (data / "up").symlink_to(tmp_path)
    (data / "a/gone").symlink_to(tmp_path / "nowhere")
    tree = find_files(data)
    assert tree.files == [data / "a/gone", data / "a/linked/b/x.png", data / "a/y.png"]
    assert tree.circular_links == [data / "a/linked/back", data / "up"]


def test_hidden_images_are_apart(tmp_path: Path):
    write(tmp_path, "a/.x.png", ".b/c/y.JPG", "a/._x.png", ".b/notes.txt", "a/x.png")
    tree = find_files(tmp_path)
    assert tree.files == [tmp_path / "a/x.png"]
    assert tree.hidden_images == [tmp_path / ".b/c/y.JPG", tmp_path / "a/.x.png"]


def test_images_are_known_by_their_suffix():
    names = {"a.png": True, "a.JPEG": True, "a.csv": False, "a": False, "a.pdf": False}
    assert {name: has_image_suffix(Path(name)) for name in names} == names


def test_what_is_left_out_is_said_in_one_line():
    reasons = {"{} hidden": list("abcd"), "{} empty": [], "{} loose": ["e"]}
    assert describe_left_out(reasons) == "4 hidden ('a', 'b', 'c', ...); 1 loose ('e')"

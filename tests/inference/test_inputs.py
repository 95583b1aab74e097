"""What is listed, in which order, under which names and clips."""

import os

import pytest

from mg_vtc.inference.inputs import list_sources, make_inputs, survey


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")


def listed(*paths, **settings):
    return list(list_sources(make_inputs([os.fspath(path) for path in paths], **settings)))


def names(*paths):
    return [source.name for source in listed(*paths)]


def test_frames_come_by_number_and_folders_as_numbers(tmp_path):
    touch(tmp_path, "b.10.png", "b.2.png", "a.0.png", "10/c.0.png", "2/c.0.png", "2/deep/d.png")
    assert names(tmp_path) == ["a.0.png", "b.2.png", "b.10.png", "2/c.0.png", "2/deep/d.png", "10/c.0.png"]


def test_a_frame_tells_its_clip_and_number_within_its_folder(tmp_path):
    touch(tmp_path, "G10_0000.7.jpg", "3/0000.0.jpg", "3/x/portrait.jpg", "3/0000.1.5.jpg")
    assert [(source.clip, source.frame) for source in listed(tmp_path)] == [
        ("G10_0000", 7),
        ("3/0000", 0),
        ("3/0000.1", 5),
        (None, None),
    ]


def test_frames_of_a_clip_stay_together_whatever_the_other_names(tmp_path):
    touch(tmp_path, *(f"a.{number}.png" for number in range(12)), "a.1.0.png", "a.10.0.png", "a.png")
    survey(make_inputs(tmp_path), contiguous_clips=False)
    clips = [source.clip for source in listed(tmp_path) if source.clip]
    assert clips == ["a"] * 12 + ["a.1", "a.10"]


def test_name_that_is_no_utf8_is_written_so_that_a_file_can_hold_it(tmp_path):
    touch(tmp_path, os.fsdecode(b"\xfc/caf\xe9.3.jpg"), os.fsdecode(b"\xfc/caf\xe9.mp4"), "ü.png")
    survey(make_inputs(tmp_path), contiguous_clips=False)
    found = {source.name: (source.clip, source.frame) for source in listed(tmp_path)}
    assert found == {
        "ü.png": (None, None),
        r"\xfc/caf\xe9.3.jpg": (r"\xfc/caf\xe9", 3),
        r"\xfc/caf\xe9.mp4": (r"\xfc/caf\xe9", None),
    }
    (tmp_path / "segments.csv").write_text("start_frame,end_frame\n1,2\n")
    (source,) = listed(os.fspath(tmp_path / os.fsdecode(b"\xfc/caf\xe9.mp4")), segments=tmp_path / "segments.csv")
    assert source.clips == [r"caf\xe9_0"]


def test_hidden_files_and_descriptions_are_no_sources(tmp_path):
    touch(tmp_path, ".hidden.png", ".git/x.png", "Thumbs.db", "metadata.csv", "labels.csv", "x.png")
    assert names(tmp_path) == ["x.png"]


def test_linked_folders_are_followed_but_not_in_a_circle(tmp_path):
    touch(tmp_path, "store/a.png", "in/b.png")
    (tmp_path / "in" / "linked").symlink_to(tmp_path / "store")
    (tmp_path / "in" / "around").symlink_to(tmp_path / "in")
    assert names(tmp_path / "in") == ["around", "b.png", "linked/a.png"]
    with pytest.warns(UserWarning, match="not images or videos: .*'around'"):
        survey(make_inputs(tmp_path / "in"), contiguous_clips=False)


def test_what_is_no_image_by_its_name_is_passed_over_and_told(tmp_path):
    touch(tmp_path, "x.png", "notes.txt", "Makefile")
    with pytest.warns(UserWarning, match=r"Skipped 2 files .*'Makefile', 'notes.txt'"):
        assert survey(make_inputs(tmp_path), contiguous_clips=False).num_samples == 1


def test_a_file_that_is_named_is_an_image_whatever_its_suffix(tmp_path):
    touch(tmp_path, "image", "x.mp4")
    assert [source.kind for source in listed(tmp_path / "image", tmp_path / "x.mp4")] == ["image", "video"]


def test_several_inputs_keep_their_order_and_paths(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    touch(tmp_path, "z.png", "f/a.png", "g/1/b.png", "g/2/b.png")
    assert names("z.png", "f", "g/*/b.png") == ["z.png", "f/a.png", "g/1/b.png", "g/2/b.png"]
    assert names("**/*.png") == ["f/a.png", "g/1/b.png", "g/2/b.png", "z.png"]


def test_what_is_not_there_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"No file or folder '.*absent\*'"):
        listed(tmp_path / "absent*")
    with pytest.raises(ValueError, match="No images or videos"):
        survey(make_inputs(tmp_path), contiguous_clips=False)


def test_a_webcam_that_is_not_there_is_refused():
    with pytest.raises(FileNotFoundError, match=r"No webcam 'webcam:9999': /dev/video9999 does not exist"):
        listed("webcam:9999")


def test_a_vote_needs_clips(tmp_path):
    touch(tmp_path, "0000.0.png", "portrait.png")
    with pytest.raises(ValueError, match=r"'portrait.png' is unknown.*<clip>\.<frame>"):
        survey(make_inputs(tmp_path), contiguous_clips=True)


@pytest.mark.parametrize(
    "names", [["IMG_1.png"], ["IMG_1.png", "IMG_2.png"], ["0000.0.png", "IMG_1.png"], ["IMG_1.png", "a/0000.0.png"]]
)
def test_images_of_unknown_clips_never_vote_together(names, tmp_path):
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    for inputs in (tmp_path, tmp_path / "**/*.png", [tmp_path / name for name in names]):
        with pytest.raises(ValueError, match=r"The clip of .*IMG_1\.png' is unknown"):
            survey(make_inputs(inputs), contiguous_clips=True)


def test_a_vote_needs_the_frames_of_a_clip_together(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    touch(tmp_path, "a.0.png", "b.0.png", "a.1.png", "v.mp4", "v.avi")
    assert survey(make_inputs(["a.0.png", "a.1.png", "b.0.png", "v.mp4"]), contiguous_clips=True).num_samples is None
    for paths in (["a.0.png", "b.0.png", "a.1.png"], ["v.avi", "v.mp4"]):
        with pytest.raises(ValueError, match=r"'(a.1.png|v.mp4)' .* clip '[av]', but other files come between"):
            survey(make_inputs(paths), contiguous_clips=True)


def test_digest_changes_with_files_and_settings(tmp_path):
    touch(tmp_path, "a.png", "v.mp4")

    def digest(**settings):
        return survey(make_inputs(tmp_path, **settings), contiguous_clips=False).digest

    before = digest()
    assert digest() == before
    assert digest(frames_per_clip=2) != before
    (tmp_path / "labels.csv").write_text("video,x,y,w,h\nv,0,0,8,8\n")  # a name that is passed over
    cropped = digest(crop=tmp_path / "labels.csv")
    assert cropped != before
    (tmp_path / "labels.csv").write_text("video,x,y,w,h\nv,0,0,8,9\n")
    assert digest(crop=tmp_path / "labels.csv") not in (before, cropped)
    touch(tmp_path, "b.png")
    with_other = digest()
    assert with_other != before
    (tmp_path / "b.png").write_bytes(b"longer")
    assert digest() != with_other


def test_segments_find_their_videos_by_file_or_folder(tmp_path):
    touch(tmp_path, "vids/0001.mp4", "vids/0002/rgb.mp4", "vids/0003.mp4")
    (tmp_path / "segments.csv").write_text("video,start_frame,end_frame\n1,1,4\n0002,1,2\n0001,5,9\n")
    found = listed(tmp_path / "vids", segments=tmp_path / "segments.csv")
    assert [(source.name, source.clips) for source in found] == [
        ("0001.mp4", ["0001_0", "0001_1"]),
        ("0002/rgb.mp4", ["0002_0"]),
    ]


def test_segments_and_videos_must_belong_together(tmp_path):
    touch(tmp_path, "vids/1.mp4", "vids/2.mp4", "vids/1/x.mp4", "pics/a.png")
    csv = tmp_path / "segments.csv"

    def refuse(text, *paths, match):
        csv.write_text(text)
        with pytest.raises(ValueError, match=match):
            survey(make_inputs(paths, segments=csv), contiguous_clips=False)

    header = "video,start_frame,end_frame\n"
    refuse(f"{header}7,1,1\n", tmp_path / "vids", match="not among the inputs: '7'")
    refuse(f"{header}1,1,1\n", tmp_path / "vids", match=r"1.mp4 and 1/x.mp4 both match the video '1'")
    refuse("start_frame,end_frame\n1,1\n", tmp_path / "vids", match="there are 3 videos")
    refuse("start_frame,end_frame\n1,1\n", tmp_path / "pics", match="the inputs contain none")
    with pytest.raises(ValueError, match="the inputs contain none"):
        survey(make_inputs(tmp_path / "pics", frames_per_clip=2), contiguous_clips=False)
    with pytest.raises(ValueError, match="frames_per_clip must be 1 or more, got 0"):
        make_inputs(tmp_path, frames_per_clip=0)


def boxes(tmp_path, *rows):
    (tmp_path / "boxes.csv").write_text("video,x,y,w,h\n" + "\n".join(rows))
    return tmp_path / "boxes.csv"


def test_boxes_find_their_videos_by_file_or_folder(tmp_path):
    touch(tmp_path, "vids/0001.mp4", "vids/Sample0002/Sample0002_color.mp4", "vids/0003.mp4", "vids/a.png")
    found = listed(tmp_path / "vids", crop=boxes(tmp_path, "1,0,1,2,3", "Sample0002,4,5,6,7"))
    assert {source.name: source.crop for source in found} == {
        "0001.mp4": (0, 1, 2, 3),
        "0003.mp4": None,
        "a.png": None,
        "Sample0002/Sample0002_color.mp4": (4, 5, 6, 7),
    }


def test_boxes_and_videos_must_belong_together(tmp_path):
    touch(tmp_path, "vids/1.mp4", "vids/2.mp4", "vids/1/x.mp4", "pics/a.png")

    def refuse(folder, row, match):
        with pytest.raises(ValueError, match=match):
            survey(make_inputs(tmp_path / folder, crop=boxes(tmp_path, row)), contiguous_clips=False)

    refuse("vids", "7,0,0,1,1", match=r"not among the inputs: '7'\. The videos are: '1.mp4', '2.mp4', '1/x.mp4'")
    refuse("vids", "1,0,0,1,1", match=r"1.mp4 and 1/x.mp4 both match the video '1' of the boxes")
    refuse("pics", "a,0,0,1,1", match="the inputs contain none")


def test_box_may_be_of_a_video_without_segments(tmp_path):
    touch(tmp_path, "vids/1.mp4", "vids/2.mp4")
    (tmp_path / "segments.csv").write_text("video,start_frame,end_frame\n1,1,4\n")
    crop = boxes(tmp_path, "1,0,0,8,8", "2,0,0,8,8")
    inputs = make_inputs(tmp_path / "vids", segments=tmp_path / "segments.csv", crop=crop)
    survey(inputs, contiguous_clips=True)
    assert [(source.name, source.crop) for source in list_sources(inputs)] == [("1.mp4", (0, 0, 8, 8))]

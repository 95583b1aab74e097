"""Prepare the SMG release for training."""

import re
from collections import defaultdict
from pathlib import Path

from ..labels import shorten
from .boxes import read_crops
from .choices import SegmentChoices
from .prepare import Preparation, prepare
from .release import Release, find_split, list_files
from .video_names import is_video

LABEL_IDS = {number: number - 1 for number in range(1, 18)}  # label files count from 1, the challenge from 0
NUM_TRAINING_SUBJECTS = 35  # of 40; the others are the test split
VIDEO_NAME = re.compile(r"(?P<sample>Sample\d+)_color", re.IGNORECASE)
LABELS_NAME = re.compile(r"(?P<sample>Sample\d+)_finelabels\.csv", re.IGNORECASE)


def prepare_smg(
    src: str | Path,
    output_dir: str | Path,
    *,
    format: str = "imagefolder",
    frames_per_clip: int | None = None,
    keep_non_mg: bool = True,
    crop: str | Path | None = None,
    first_frame: int = 1,
    num_workers: int = 1,
) -> Preparation:
    """Prepare SMG (H. Chen et al., IJCV 2023) for training.

    The videos are `Sample<number>_color.mp4`. The labels are `Sample<number>_finelabels.csv` with the lines
    `class,startFrame,endFrame`, next to the videos or the skeletons, at any depth. Label files count the classes from
    1 to 17, the published list from 0 to 16. Each sample is one subject.

    Folder names such as `smg_rgb_validate` determine the split. Elsewhere, subjects 1 to 35 are the split "train" and
    36 to 40 "test", as in the paper.

    Args:
        src: Folder of the release.
        output_dir: Folder to write, or to resume.
        format: See `prepare_imigue`.
        frames_per_clip: Number of evenly spaced frames per clip; by default 8.
        keep_non_mg: Whether to keep class 16, which is not a micro-gesture.
        crop: CSV `video,x,y,w,h` with the box to crop from each video, such as "Sample0001", in pixels.
        first_frame: See `prepare_imigue`.
        num_workers: See `prepare_imigue`.

    Returns:
        See `prepare_imigue`.

    Raises:
        FileNotFoundError: The folder or the CSV does not exist.
        ValueError: The folder has no such labels, nothing in it can be prepared, an argument is out of range, labels
            start with frame 0 although `first_frame` is 1, or `output_dir` contains something else.
        OSError: The disk is full; complete shards are kept.
    """
    if crop is not None and str(crop) == "skeleton":
        raise ValueError("The skeletons of SMG are of a Kinect, not of OpenPose: give `crop` a CSV video,x,y,w,h.")
    choices = SegmentChoices("smg", format, frames_per_clip, keep_non_mg, first_frame)
    return prepare(_find_release(Path(src), choices, crop), output_dir, num_workers=num_workers)


def _find_release(src: Path, choices: SegmentChoices, crop: str | Path | None) -> Release:
    if not src.is_dir():
        raise FileNotFoundError(f"There is no folder {src}.")
    files = list_files(src)
    videos = defaultdict(list)
    for path in files:
        if is_video(path) and (match := VIDEO_NAME.fullmatch(path.stem)):
            videos[match["sample"].capitalize()].append(path)
    label_files = {path: match["sample"].capitalize() for path in files if (match := LABELS_NAME.fullmatch(path.name))}
    if not label_files:
        found = shorten(sorted(path.name for path in src.iterdir())) or "nothing"
        raise ValueError(f"{src} is not an SMG release with files Sample<number>_finelabels.csv: it contains {found}.")
    release = Release("SMG", choices)
    subjects = {name: str(int(name.removeprefix("Sample"))) for name in label_files.values()}
    segments = release.read_label_files(label_files, LABEL_IDS, subjects, first_frame=choices.first_frame)
    splits = {
        name: next(filter(None, (find_split(path, src) for path in [*videos.get(name, []), labels])), None)
        or ("train" if int(subjects[name]) <= NUM_TRAINING_SUBJECTS else "test")
        for name, (labels, _) in segments.items()
    }
    release.add_videos(videos, segments, splits, {} if crop is None else read_crops(crop))
    return release

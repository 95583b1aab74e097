"""SMG as it is released, made ready to train on."""

import re
from collections import defaultdict
from pathlib import Path

from .crops import read_crops
from .labels import shorten
from .preparation import Preparation, prepare
from .release import Choices, Release, find_split, list_files
from .video_files import is_video

LABEL_IDS = {number: number - 1 for number in range(1, 18)}  # files count classes from 1, the challenge from 0
NUM_TRAINING_SUBJECTS = 35  # of 40; the others are the test split
VIDEO_NAME = re.compile(r"(?P<sample>Sample\d+)_color", re.IGNORECASE)
LABELS_NAME = re.compile(r"(?P<sample>Sample\d+)_finelabels\.csv", re.IGNORECASE)


def prepare_smg(
    src: str | Path,
    out: str | Path,
    *,
    to: str = "imagefolder",
    frames_per_clip: int | None = None,
    keep_non_mg: bool = True,
    crop: str | Path | None = None,
    first_frame: int = 1,
    num_workers: int = 1,
) -> Preparation:
    """Make SMG (H. Chen et al., IJCV 2023) ready to train on.

    The videos are `Sample<number>_color.mp4`, the labels `Sample<number>_finelabels.csv` with the lines
    `class,startFrame,endFrame`, beside them or with the skeletons, at any depth. These files count the classes from 1
    to 17, where the published list has 0 to 16. A sample is a subject.

    Splits are those that folders name, such as `smg_rgb_validate`; outside of such folders subjects 1 to 35 are the
    split "train" and 36 to 40 "test", as in the paper.

    Args:
        src: The folder of the release.
        out: Folder to write, or to go on with.
        to: As for `prepare_imigue`.
        frames_per_clip: How many frames of each clip are taken, evenly spaced; by default 8.
        keep_non_mg: Whether class 16, which is no micro-gesture, is kept.
        crop: As for `prepare_imigue`; videos are called such as "Sample0001".
        first_frame: As for `prepare_imigue`.
        num_workers: As for `prepare_imigue`.

    Returns:
        As for `prepare_imigue`.

    Raises:
        FileNotFoundError: The folder or the CSV does not exist.
        ValueError: The folder has no such labels, nothing in it can be prepared, an argument is out of range,
            labels begin with frame 0 where the first is 1, or `out` holds something else.
        OSError: The disk is full; what is complete stays.
    """
    choices = Choices("smg", to, frames_per_clip, keep_non_mg, first_frame)
    return prepare(_find_release(Path(src), choices, crop), out, num_workers=num_workers)


def _find_release(src: Path, choices: Choices, crop: str | Path | None) -> Release:
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
        raise ValueError(f"{src} is no release of SMG, with files Sample<number>_finelabels.csv: it holds {found}.")
    release = Release("SMG", choices)
    subjects = {name: str(int(name.removeprefix("Sample"))) for name in label_files.values()}
    segments = release.read_label_files(label_files, LABEL_IDS, subjects)
    splits = {
        name: next(filter(None, (find_split(path, src) for path in [*videos.get(name, []), labels])), None)
        or ("train" if int(subjects[name]) <= NUM_TRAINING_SUBJECTS else "test")
        for name, (labels, _) in segments.items()
    }
    release.add_videos(videos, segments, splits, {} if crop is None else read_crops(crop))
    return release

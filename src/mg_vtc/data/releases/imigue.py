"""Prepare the iMiGUE releases for training.

The contents of the folder determine the layout:

- Image-level set: `training/<1..32>/<clip>.<frame>.jpg`, and the same in `test/`. A clip is identified by class and
  number, because numbers repeat in classes. Images directly in `test/` have no class and are skipped.
- MiGA release: videos `<id>.mp4`, and `<id>_label.csv` with the lines `gestureID,startFrame,endFrame`, next to the
  videos or the skeletons, at any depth. Class 99 is 32. A video with another name takes the name of its folder.
- Original release: the videos, and `labels_20200831.csv` with the columns video_id, class, start_frame, end_frame,
  subject_id and win_or_lose. This file takes precedence because it contains the subjects.

The skeletons of the videos 0347 and 0348 are empty, but their frames are intact, so both videos are used.
"""

import itertools
import math
import re
from collections import defaultdict
from pathlib import Path

from ..image_folder import SPLIT_NAMES, SYSTEM_FILES
from ..labels import canonical_id, shorten
from .annotations import Segment, read_label_table
from .boxes import read_crops
from .choices import NON_MG, SegmentChoices
from .frames import choose_frames
from .prepare import Preparation, prepare
from .release import IMAGES_PER_SHARD, Release, find_split, list_files
from .shards import ImageShard, ReleaseImage
from .video_names import find_video_name, is_video

LABEL_IDS = {number: number for number in range(1, 33)} | {99: NON_MG["imigue"]}  # 99 in the video releases
IMAGE_NAME = re.compile(r"(?P<clip>.+)\.(?P<frame>[0-9]+)\.jpe?g", re.IGNORECASE)
SKELETON = "skeleton"  # in place of a CSV of boxes
SKELETON_NAMES = tuple(re.compile(rf"(?P<video>\d+)_{end}\.csv") for end in ("light_hand", "light"))
LAYOUTS = (
    "images in training/<1 to 32>/<clip>.<frame>.jpg; videos <id>.mp4 with <id>_label.csv, as in the MiGA "
    "challenge; videos <id>.mp4 with one labels_20200831.csv"
)


def prepare_imigue(
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
    """Prepare iMiGUE (X. Liu et al., CVPR 2021) for training.

    The folder must have one of the layouts of this module. Video frames are saved as JPEG of quality 95; images of the
    image-level set are copied unchanged. Folder names such as `imigue_rgb_validate` determine the split; other videos
    are in the split "train". After an interruption, repeat the call to resume; the result has the same bytes (see
    `prepare`).

    Args:
        src: Folder of the release.
        output_dir: Folder to write, or to resume.
        format: "imagefolder", "parquet" or "webdataset" (see `mg_vtc.data.releases.writers`).
        frames_per_clip: Number of evenly spaced frames per clip (see `choose_frames`). By default 8 per video segment,
            and all images of the image-level set.
        keep_non_mg: Whether to keep class 32, which is not a micro-gesture, as in the set of 32 classes.
        crop: CSV `video,x,y,w,h` with the box to crop from each video, in pixels; or "skeleton" to crop the person of
            each segment by the OpenPose skeletons of the release (see `find_person`).
        first_frame: Number of the first frame of a video in the label files, 0 or 1. The releases do not state it;
            their reader accepts frames 1 to the number of frames, hence the default. Set 0 if your files start there.
        num_workers: Number of videos read in parallel, each in its own process. With more than one, a script needs
            `if __name__ == "__main__":` around the call.

    Returns:
        Summary of the prepared and skipped data, and of errors; errors do not stop the rest.

    Raises:
        FileNotFoundError: The folder or the CSV does not exist.
        ValueError: The folder has none of the layouts or no skeletons, nothing can be prepared, an argument is out of
            range, labels start with frame 0 although `first_frame` is 1, or `output_dir` contains something else.
        OSError: The disk is full; complete shards are kept.
    """
    choices = SegmentChoices("imigue", format, frames_per_clip, keep_non_mg, first_frame)
    return prepare(_find_release(Path(src), choices, crop), output_dir, num_workers=num_workers)


def _find_release(src: Path, choices: SegmentChoices, crop: str | Path | None) -> Release:
    if not src.is_dir():
        raise FileNotFoundError(f"There is no folder {src}.")
    folders = [folder for folder in sorted(src.iterdir()) if folder.is_dir() and folder.name.lower() in SPLIT_NAMES]
    if any(_is_class_folder(child) for folder in folders for child in folder.iterdir()):
        if crop is not None:
            raise ValueError(f"{src} contains images, which are copied unchanged: crop boxes are for videos.")
        return _find_images(folders, choices)
    files = list_files(src)
    tables = [path for path in files if re.fullmatch(r"labels_\d+\.csv", path.name)]
    label_files = {path: path.name[:-10].zfill(4) for path in files if re.fullmatch(r"\d+_label\.csv", path.name)}
    if tables:
        release = Release("original", choices)
        segments = _read_table(tables, release, choices.first_frame)
    elif label_files:
        release = Release("MiGA", choices)
        segments = release.read_label_files(label_files, LABEL_IDS, {}, first_frame=choices.first_frame)
    else:
        found = shorten(sorted(path.name for path in src.iterdir())) or "nothing"
        raise ValueError(f"{src} is not a known iMiGUE layout: it contains {found}. Known layouts: {LAYOUTS}.")
    videos = defaultdict(list)
    labelled = {canonical_id(name) for name in segments}
    for path in filter(is_video, files):
        name = find_video_name(path, labelled) or path.stem
        if name.isdecimal():
            videos[name.zfill(4)].append(path)
    for name, paths in videos.items():  # a matching file name takes precedence over a matching folder name
        videos[name] = [path for path in paths if path.stem.zfill(4) == name] or paths
    splits = {
        name: next(filter(None, (find_split(path, src) for path in [*videos.get(name, []), labels])), "train")
        for name, (labels, _) in segments.items()
    }
    skeletons = _find_skeletons(src, files) if crop is not None and str(crop) == SKELETON else None
    release.add_videos(videos, segments, splits, {} if crop is None or skeletons else read_crops(crop), skeletons)
    return release


def _find_skeletons(src: Path, files: list[Path]) -> dict[str, list[Path]]:
    """Return the skeleton files of each video, those with hands if there are any."""
    skeletons: dict[str, list[Path]] = {}
    for name in SKELETON_NAMES:
        found = defaultdict(list)
        for path in files:
            if match := name.fullmatch(path.name):
                found[match["video"].zfill(4)].append(path)
        skeletons = found | skeletons
    if not skeletons:
        raise ValueError(
            f"{src} has no skeletons <id>_light_hand.csv: unpack the skeletons of the release into it, or give `crop` "
            "a CSV video,x,y,w,h."
        )
    return skeletons


def _read_table(tables: list[Path], release: Release, first_frame: int) -> dict[str, tuple[Path, list[Segment]]]:
    """Return each video name with its label file and segments."""
    if len(tables) > 1:
        raise ValueError(f"There are several label files, keep one: {', '.join(map(str, tables))}.")
    segments, errors = read_label_table(tables[0], LABEL_IDS, first_frame=first_frame)
    release.errors += errors
    return {name: (tables[0], of_video) for name, of_video in segments.items()}


def _is_class_folder(path: Path) -> bool:
    return path.is_dir() and canonical_id(path.name) in LABEL_IDS


def _find_images(folders: list[Path], choices: SegmentChoices) -> Release:
    """Find the images of the image-level set and distribute its clips over shards of similar size."""
    release = Release("image-level", choices)
    for folder in folders:
        split = SPLIT_NAMES[folder.name.lower()]
        if any(shard.split == split for shard in release.shards):
            raise ValueError(f"{folder.parent} has two {split} splits: merge them or keep one.")
        clips = _read_clips(folder, release)
        num_shards = math.ceil(sum(map(len, clips)) / IMAGES_PER_SHARD)
        for number in range(num_shards):  # every shard gets images of all classes
            images = tuple(itertools.chain.from_iterable(clips[number::num_shards]))
            release.shards.append(ImageShard(split, f"{number:05}", images))
    return release


def _read_clips(folder: Path, release: Release) -> list[list[ReleaseImage]]:
    """Return the images of each clip of a split in id order, for the classes to keep."""
    clips: dict[tuple[int, str], dict[int, ReleaseImage]] = defaultdict(dict)
    for path in list_files(folder):
        match = IMAGE_NAME.fullmatch(path.name)
        class_number = canonical_id(path.parent.name)
        if path.parent == folder:
            release.left_out[f"images without a class in {folder.name}"] += 1
        elif path.parent.parent != folder or class_number not in LABEL_IDS:
            release.errors.append(f"{path}: not in a class folder 1 to 32")
        elif path.name.lower() in SYSTEM_FILES:
            continue
        elif match is None:
            release.errors.append(f"{path}: not named <clip>.<frame>.jpg")
        elif LABEL_IDS[int(class_number)] not in release.choices.class_names:
            release.left_out["images that show no micro-gesture"] += 1
        else:
            label_id, number = LABEL_IDS[int(class_number)], int(match["frame"])
            clip = clips[label_id, match["clip"]]
            if number in clip:
                release.errors.append(f"{path}: the same frame as {clip[number].path}")
            else:
                clip[number] = ReleaseImage(path, f"{label_id}/{match['clip']}", label_id, number)
    chosen = []
    for _, images in sorted(clips.items()):
        frames = [images[number] for number in sorted(images)]
        places = choose_frames(0, len(frames) - 1, release.choices.frames_per_clip or len(frames))
        chosen.append([frames[place] for place in places])
    return chosen

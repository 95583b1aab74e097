"""From a release of videos to a submission: the whole chain of commands, checked by labels that it was not shown.

    python benchmarks/release_chain.py GESTURES OUT [--epochs 30] [--seed 0]

Class folders of images, `<class>/<clip>.<frame>.<ext>` such as benchmarks/gestures.py makes, become a release in the
layout of the MiGA challenge: H.264 videos at 25 frames a second, each image held for 5 frames and each clip a
segment, 6 videos to train on and 2 each to validate and test on. No clip is in two of them. The clips of a class are
dealt out in turn: train, test, train, validate, train; in an order that the seed draws.

The layout has ids and no names, so the first class folder, in id order, is iMiGUE's class 1, and so on to 32: the
texts are iMiGUE's, and say nothing of what these images show.

Then the project's own commands run, each printed before: prepare, train with the recipe `small` at 48 px, evaluate,
predict to a table and to a submission. The screen of each is kept in `OUT/<step>.log`. At the end the submission is
read here by its documented form alone: every segment once, classes from 0, the predictions of the table.
"""

import argparse
import csv
import io
import json
import os
import shlex
import subprocess
import sys
import time
import zipfile
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
from cells import QUICK, ROOT, SMALL
from PIL import Image
from rounds import print_machine

from mg_vtc.data import load_image_folder
from mg_vtc.data.labels import read_labels

NUM_VIDEOS = {"train": 6, "validate": 2, "test": 2}
DEAL = ("train", "test", "train", "validate", "train")  # the splits of the clips of a class in turn
RATE = Fraction(25)  # frames a second
HOLD = 5  # frames of an image
SIZE = 64  # pixels, as benchmarks/gestures.py makes them
NUM_CLASSES = 32


class Clip(NamedTuple):
    """A segment to be: id of its class, from 1, and its images in order."""

    label_id: int
    images: Sequence[Image.Image]


def read_clips(folder: Path) -> list[Clip]:
    """The clips of class folders, by class.

    Raises:
        SystemExit: There are more classes than iMiGUE has, or files are not named by clip and frame.
    """
    rows = load_image_folder(folder)["train"]
    num_classes = rows.features["label"].num_classes
    if num_classes > NUM_CLASSES:
        sys.exit(f"{folder} has {num_classes} classes, and iMiGUE has {NUM_CLASSES}.")
    if "clip" not in rows.column_names:
        sys.exit(f"{folder} tells no clips: its files must be named <clip>.<frame>.<extension>, as 0000.3.jpg.")
    clips = defaultdict(list)
    for row in rows:
        clips[row["label"] + 1, row["clip"]].append(row["image"].convert("RGB").resize((SIZE, SIZE)))
    return [Clip(label_id, images) for (label_id, _), images in clips.items()]


def deal_clips(clips: Sequence[Clip], seed: int) -> dict[str, list[Clip]]:
    """Split clips, each class by `DEAL`, in an order that tells nothing.

    A class of two clips is so trained and tested on.

    Raises:
        SystemExit: There are fewer clips than videos of a split.
    """
    rng = np.random.default_rng(seed)
    dealt: dict[str, list[Clip]] = {split: [] for split in NUM_VIDEOS}
    numbers: Counter[int] = Counter()
    for place in rng.permutation(len(clips)):
        clip = clips[place]
        dealt[DEAL[numbers[clip.label_id] % len(DEAL)]].append(clip)
        numbers[clip.label_id] += 1
    for split, num_videos in NUM_VIDEOS.items():
        if len(dealt[split]) < num_videos:
            sys.exit(f"{len(clips)} clips give {len(dealt[split])} to {split}, too few for {num_videos} videos.")
    return dealt


def write_video(path: Path, clips: Sequence[Clip]) -> list[tuple[int, int, int]]:
    """Show clips one after the other.

    Returns:
        Id of the class, first and last frame of each, counted from 1.
    """
    path.parent.mkdir(parents=True)
    rows, number = [], 0
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=RATE, options={"crf": "18"})
        stream.width, stream.height, stream.pix_fmt = SIZE, SIZE, "yuv420p"
        stream.codec_context.time_base = 1 / RATE
        for clip in clips:
            rows.append((clip.label_id, number + 1, number + HOLD * len(clip.images)))
            for image in clip.images:
                for _ in range(HOLD):
                    frame = av.VideoFrame.from_image(image)
                    frame.pts, frame.time_base = number, 1 / RATE
                    container.mux(stream.encode(frame))
                    number += 1
        container.mux(stream.encode(None))
    return rows


def write_release(folder: Path, dealt: Mapping[str, Sequence[Clip]]) -> dict[str, dict[str, int]]:
    """Write videos and their labels, which those to test on have with the skeletons, as in the challenge.

    Returns:
        For each split, the name of each segment, `<video>_<index>`, to the id of its class, from 1.
    """
    labels: dict[str, dict[str, int]] = {}
    video = 0
    for split, clips in dealt.items():
        labels[split] = {}
        for share in range(NUM_VIDEOS[split]):
            video += 1
            name = f"{video:04}"
            path = folder / f"imigue_rgb_{split}" / name / f"{name}.mp4"
            rows = write_video(path, clips[share :: NUM_VIDEOS[split]])
            of_labels = folder / f"imigue_{'skeleton' if split == 'test' else 'rgb'}_{split}" / name
            of_labels.mkdir(parents=True, exist_ok=True)
            with (of_labels / f"{name}_label.csv").open("w", newline="") as file:
                csv.writer(file, lineterminator="\n").writerows(rows)
            labels[split] |= {f"{name}_{index}": label_id for index, (label_id, _, _) in enumerate(rows)}
    return labels


def list_commands(out: Path, recipe: str, settings: Sequence[str]) -> dict[str, Sequence[str]]:
    """The commands from `out/release` to `out/submission.zip`, by step."""
    release, prepared, model = (str(out / name) for name in ("release", "prepared", "run"))
    segments = ("--segments", f"{release}/imigue_skeleton_test")
    train = ("accelerate", "launch", os.path.relpath(ROOT / "train.py"), os.path.relpath(recipe))
    predict = ("mg-vtc", "predict", model, f"{release}/imigue_rgb_test", *segments)
    return {
        "prepare": ("mg-vtc", "prepare", "imigue", release, prepared, "--frames_per_clip", "4"),
        "train": (*train, "--train_dir", prepared, *settings, "--output_dir", model),
        "evaluate": ("mg-vtc", "evaluate", model, prepared),
        "predict": (*predict, "--vote", "mean", "--output", str(out / "predictions.csv")),
        "submit": (*predict, "--submission", "miga", "--output", str(out / "submission.zip")),
    }


def run(command: Sequence[str], log: Path) -> float:
    """Run a command of the project with its screen in a log, and return its seconds.

    Raises:
        SystemExit: It failed.
    """
    print(f"$ {shlex.join(command)}", flush=True)
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])  # the commands of this Python
    begun = time.monotonic()
    with log.open("w", encoding="utf-8") as screen:
        status = subprocess.run(
            command, env=os.environ | {"PATH": path}, stdin=subprocess.DEVNULL, stdout=screen, stderr=screen
        ).returncode
    if status != 0:
        sys.exit(f"It failed with status {status}; its screen is in {log}")
    return time.monotonic() - begun


def read_predictions(path: Path) -> dict[str, int]:
    """The id, from 1, of the first class of each clip in a table of predictions."""
    ids = {name: int(label_id) for label_id, name in read_labels("imigue").items()}
    with path.open(newline="", encoding="utf-8") as file:
        return {row["clip"]: ids[row["label_1"]] for row in csv.DictReader(file)}


def read_submission(path: Path, samples: Mapping[str, int]) -> dict[str, int]:
    """The class, from 0, of each sample of a submission: a zip file of one CSV file without header.

    Raises:
        ValueError: It is not of this form, or has not each of `samples` once.
    """
    with zipfile.ZipFile(path) as archive:
        (member,) = archive.namelist()
        rows = list(csv.reader(io.StringIO(archive.read(member).decode())))
    if Counter(name for name, _ in rows) != Counter(samples.keys()):
        raise ValueError(f"{path} has {len(rows)} rows that are not each of the {len(samples)} samples once.")
    classes = {name: int(label) for name, label in rows}
    if not set(classes.values()) <= set(range(NUM_CLASSES)):
        raise ValueError(f"{path} has classes outside of 0 to {NUM_CLASSES - 1}: {sorted(set(classes.values()))}.")
    return classes


def score(predictions: Mapping[str, int], labels: Mapping[str, int]) -> float:
    """The fraction of clips whose class is predicted."""
    return sum(predictions[name] == label for name, label in labels.items()) / len(labels)


def score_predictions(out: Path, labels: Mapping[str, Mapping[str, int]]) -> dict[str, float]:
    """Return top-1 of all predictions of the chain, and of the most frequent class of the training clips.

    Raises:
        ValueError: The submission is malformed, or differs from the table of predictions.
    """
    test = labels["test"]
    predictions = read_predictions(out / "predictions.csv")
    submission = read_submission(out / "submission.zip", test)
    if differ := [name for name in test if predictions[name] != submission[name] + 1]:
        raise ValueError(f"The submission differs from the table: {', '.join(differ)}.")
    evaluation = json.loads((out / "run" / "report" / "results.json").read_text(encoding="utf-8"))
    ((most_frequent, _),) = Counter(labels["train"].values()).most_common(1)
    return {
        "`evaluate`, images": evaluation["scores"]["top1_accuracy"]["value"],
        "`predict --vote mean`, clips": score(predictions, test),
        "`predict --submission miga`, clips": score(submission, {name: label - 1 for name, label in test.items()}),
        "majority class, clips": score(dict.fromkeys(test, most_frequent), test),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Run the chain from a release of videos to a submission.")
    parser.add_argument("folder", type=Path, help="class folders, such as benchmarks/gestures.py makes")
    parser.add_argument("out", type=Path, help="a folder that is new or empty")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0, help="of split and weights")
    options = parser.parse_args()
    out = options.out
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        sys.exit(f"{out} is there already and is left as it is: name a folder that is new or empty.")

    clips = read_clips(options.folder)
    begun = time.monotonic()
    labels = write_release(out / "release", deal_clips(clips, options.seed))
    seconds = {"write the videos": time.monotonic() - begun}
    counts = ", ".join(f"{len(labels[split])} to {split}" for split in NUM_VIDEOS)
    print(f"{sum(NUM_VIDEOS.values())} videos of {len(clips)} clips: {counts}", flush=True)

    settings = ("--num_train_epochs", str(options.epochs), "--seed", str(options.seed), *QUICK)
    for step, command in list_commands(out, SMALL, settings).items():
        seconds[step] = run(command, out / f"{step}.log")
    scores = score_predictions(out, labels)

    print_machine(f"From videos to a submission, {options.epochs} epochs, seed {options.seed}.")
    print("| step | seconds |\n|---|---|")
    print("".join(f"| {step} | {taken:.1f} |\n" for step, taken in seconds.items()))
    print("| predictions | top-1 |\n|---|---|")
    print("".join(f"| {predictions} | {100 * top1:.1f} |\n" for predictions, top1 in scores.items()))
    print(f"The submission has each of the {len(labels['test'])} segments once, with the predictions of the table.")


if __name__ == "__main__":
    main()

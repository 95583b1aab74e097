"""Damage each file of runs, checkpoints and exports in each way, open them, and count what is not noticed.

    python benchmarks/chaos_damage.py --output_dir runs/damage

A case is right if predictions or final weights equal those of the whole folder, and named if an error or a warning has
the name of the file. Anything else is a fault: a silent wrong result, or an error that does not name the file. Cases
are recorded in `cases.jsonl`: run the same command again to resume.

A push compares the files that would be uploaded, except `README.md`, which users edit.
"""

import argparse
import hashlib
import itertools
import json
import random
import shutil
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import datasets
import torch
from chaos_runs import TINY, draw_images, read_lines, silence, write_summary
from transformers.utils import logging

from mg_vtc import evaluate, export, interpolate, predict, train
from mg_vtc.hub.upload import CARD, collect_upload
from mg_vtc.runs.manifest import OF_MODEL

OUTCOMES = ("right", "named", "silent", "unnamed")
FAULTS = OUTCOMES[2:]


class Kind(NamedTuple):
    """Folder that is damaged.

    Attributes:
        template: Whole folder, which is copied for each case.
        within: Folder in the template whose files are damaged.
        other: Folder with files of the same names, from another run or step.
        doors: Ways to open the folder, by their names in `DOORS`.
    """

    template: Path
    within: str
    other: Path
    doors: Sequence[str]


class Case(NamedTuple):
    """Damage of a file of a folder of a kind, and the way in which the folder is opened."""

    kind: str
    file: str
    damage: str
    door: str


def flip(place: float) -> Callable[[bytes], bytes]:
    """Return a damage that flips the lowest bit of the byte at a place, from 0 (first) to 1 (last)."""

    def damage(content: bytes) -> bytes:
        changed = bytearray(content)
        if changed:
            changed[round(place * (len(changed) - 1))] ^= 1
        return bytes(changed)

    return damage


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "half": lambda content: content[: len(content) // 2],
    "first bit": flip(0),
    "middle bit": flip(0.5),
    "last bit": flip(1),
    "empty": lambda content: b"",
}
MISSING, SWAPPED = "missing", "swapped"


def make_settings(work: Path, folder: Path, seed: int) -> dict[str, Any]:
    """Return the settings of a run."""
    return {"train_dir": str(work / "images"), "output_dir": str(folder), "seed": seed}


def make_kinds(work: Path) -> dict[str, Kind]:
    """Train two runs, export and interpolate them, and leave two unfinished; return the kinds of folders."""
    if not (work / "made").exists():
        shutil.rmtree(work, ignore_errors=True)
        draw_images(work / "images")
        for name, seed in (("first", 0), ("second", 1)):
            train(TINY | {"save_total_limit": 3}, **make_settings(work, work / name, seed))
            shutil.copytree(work / name, work / f"{name}-begun")
            keep = {"recipe.yaml", "split.json", "checkpoint-5", "checkpoint-10"}
            for path in (work / f"{name}-begun").iterdir():
                if path.name not in keep:
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
            export(work / name, "classifier", work / f"{name}-classifier")
        interpolate(work / "first", work / "second", 0.5, work / "first-between")
        interpolate(work / "first", work / "second", 0.25, work / "second-between")
        (work / "made").touch()
    first, second = work / "first", work / "second"
    of_model = ("predict", "evaluate", "push")
    classifiers = (Path(f"{one}-classifier") for one in (first, second))
    between = (Path(f"{one}-between") for one in (first, second))
    (classifier, other_classifier), (interpolated, other_interpolated) = classifiers, between
    begun = work / "first-begun"
    return {
        "finished run": Kind(first, "", second, (*of_model, "export", "resume")),
        "newest checkpoint": Kind(begun, "checkpoint-10", begun / "checkpoint-5", ("resume", "predict")),
        "best checkpoint": Kind(work / "second-begun", "checkpoint-5", begun / "checkpoint-5", ("resume",)),
        "exported classifier": Kind(classifier, "", other_classifier, of_model),
        "interpolated model": Kind(interpolated, "", other_interpolated, of_model[:2]),
    }


def digest(*contents: Any) -> str:
    """Return a digest of bytes and arrays."""
    found = hashlib.sha256()
    for content in contents:
        found.update(content if isinstance(content, bytes) else content.tobytes())
    return found.hexdigest()


def open_by_prediction(folder: Path, within: str, work: Path) -> str:
    """Return a digest of the probabilities of images."""
    found = predict(folder / within, work / "images" / "Head up")
    return digest(json.dumps([(one.labels, one.scores, one.error) for one in found]).encode())


def open_by_evaluation(folder: Path, within: str, work: Path) -> str:
    """Return a digest of the predictions of an evaluation, and of the images that it chose."""
    found = evaluate(folder / within, work / "images")
    return digest(found.predictions.logits, found.predictions.labels, json.dumps(found.digests).encode())


def open_by_push(folder: Path, within: str, work: Path) -> str:
    """Return a digest of the files that would be uploaded, except the card."""
    files = {name: content for name, content in collect_upload(folder / within, None).items() if name != CARD}
    named = ((name.encode(), one if isinstance(one, bytes) else one.read_bytes()) for name, one in files.items())
    return digest(*itertools.chain.from_iterable(sorted(one for one in named if one[0] != b"manifest.json")))


def open_by_export(folder: Path, within: str, work: Path) -> str:
    """Return a digest of the weights of the exported classifier."""
    exported = export(folder / within, "classifier", folder.parent / "exported")
    return digest((exported / "model.safetensors").read_bytes(), (exported / "config.json").read_bytes())


def open_by_resumption(folder: Path, within: str, work: Path) -> str:
    """Return a digest of the files of the model after the run was resumed, if it was not finished."""
    settings = make_settings(work, folder, int(folder.name.startswith("second")))
    train(TINY | {"save_total_limit": 3}, **settings, resume_from_checkpoint="auto")
    names = {path.name for pattern in OF_MODEL for path in folder.glob(pattern) if path.is_file()}
    return digest(*((folder / name).read_bytes() for name in sorted(names)))


DOORS = {
    "predict": open_by_prediction,
    "evaluate": open_by_evaluation,
    "push": open_by_push,
    "export": open_by_export,
    "resume": open_by_resumption,
}


def list_cases(kinds: dict[str, Kind]) -> list[Case]:
    """List the cases; a swap is left out if the other file is the same or missing."""
    cases = []
    for name, kind in kinds.items():
        folder = kind.template / kind.within
        paths = [path for path in sorted(folder.rglob("*")) if path.is_file()]
        for file in (path.relative_to(folder).as_posix() for path in paths):
            if kind.within == "" and file.startswith("checkpoint-"):
                continue
            damages = [*DAMAGES, MISSING]
            other = kind.other / file
            if other.is_file() and other.read_bytes() != (folder / file).read_bytes():
                damages.append(SWAPPED)
            cases += [Case(name, file, damage, door) for damage in damages for door in kind.doors]
    return cases


def apply(damage: str, path: Path, other: Path) -> None:
    """Damage a file; `other` is the file of another run or step."""
    if damage == MISSING:
        path.unlink()
    elif damage == SWAPPED:
        shutil.copyfile(other, path)
    else:
        path.write_bytes(DAMAGES[damage](path.read_bytes()))


def try_case(case: Case, kind: Kind, work: Path, expected: str) -> dict[str, Any]:
    """Damage a copy of the folder and open it; return the outcome and the words of errors and warnings."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = shutil.copytree(kind.template, Path(scratch) / kind.template.name)
        apply(case.damage, folder / kind.within / case.file, kind.other / case.file)
        words = ""
        with silence(), warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            try:
                found = DOORS[case.door](folder, kind.within, work)
            except Exception as error:  # what is counted here
                found, words = "", f"{type(error).__name__}: {error}"
                is_clear = isinstance(error, (ValueError, OSError)) and Path(case.file).name in words
        if words:
            outcome = "named" if is_clear else "unnamed"
        else:
            words = " ".join(str(one.message) for one in warned)
            outcome = "right" if found == expected else "named" if Path(case.file).name in words else "silent"
        return case._asdict() | {"outcome": outcome, "words": words.replace(scratch, "")[:1000]}


def open_whole(kind: Kind, door: str, work: Path) -> str:
    """Return what a door gives for a folder that is whole."""
    with tempfile.TemporaryDirectory() as scratch, silence(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        folder = shutil.copytree(kind.template, Path(scratch) / kind.template.name)
        return DOORS[door](folder, kind.within, work)


def print_table(cases: Sequence[dict[str, Any]]) -> None:
    """Print the number of cases by kind of folder and door."""
    print(f"| folder | opened by | tried | {' | '.join(OUTCOMES)} |\n|---|---|---|{'---|' * len(OUTCOMES)}")
    groups = {(case["kind"], case["door"]): None for case in cases}
    for kind, door in sorted(groups):
        counts = Counter(case["outcome"] for case in cases if (case["kind"], case["door"]) == (kind, door))
        print(f"| {kind} | {door} | {counts.total()} | {' | '.join(str(counts[one]) for one in OUTCOMES)} |")
    counts = Counter(case["outcome"] for case in cases)
    print(f"| all | | {counts.total()} | {' | '.join(str(counts[one]) for one in OUTCOMES)} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, help="number of cases, drawn at random; default: all")
    parser.add_argument("--seed", type=int, default=0, help="of the order of the cases")
    parser.add_argument("--output_dir", type=Path, default=Path("runs/damage"))
    options = parser.parse_args()
    torch.set_num_threads(1)  # more would only wait for each other over tensors so small
    logging.disable_progress_bar()
    datasets.disable_progress_bars()
    options.output_dir.mkdir(parents=True, exist_ok=True)
    work, record = options.output_dir / "work", options.output_dir / "cases.jsonl"
    with silence():
        kinds = make_kinds(work)
    cases = list_cases(kinds)
    random.Random(options.seed).shuffle(cases)
    cases = cases[: options.cases]
    done = {tuple(case[name] for name in Case._fields): case for case in read_lines(record)}
    expected: dict[tuple[str, str], str] = {}
    start = time.monotonic()
    with record.open("a", encoding="utf-8") as file:
        for case in cases:
            if tuple(case) in done:
                continue
            kind, key = kinds[case.kind], (case.kind, case.door)
            if key not in expected:
                expected[key] = open_whole(kind, case.door, work)
            done[tuple(case)] = try_case(case, kind, work, expected[key])
            print(json.dumps(done[tuple(case)]), file=file, flush=True)
    found = [done[tuple(case)] for case in cases]
    print_table(found)
    counts = Counter(case["outcome"] for case in found)
    survived = counts["right"] + counts["named"]
    write_summary(options.output_dir, survived=survived, lost=counts["unnamed"], silent=counts["silent"])
    print(f"{time.monotonic() - start:.0f} s", file=sys.stderr)
    for case in (case for case in found if case["outcome"] in FAULTS):
        print(
            f"{case['outcome']}: {', '.join(case[name] for name in Case._fields)}: {case['words'][:200]}",
            file=sys.stderr,
        )


if __name__ == "__main__":
    main()

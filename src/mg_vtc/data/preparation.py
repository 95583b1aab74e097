"""Write a release to disk as a data set, part by part, so that an interrupted run can resume."""

import errno
import itertools
import json
import multiprocessing
import os
import shutil
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet
from filelock import FileLock, Timeout
from tqdm.auto import tqdm

from ..files import atomic_write
from .frames import JPEG_QUALITY, PastEndError
from .image_folder import PARTS
from .labels import shorten
from .metadata_files import PREPARATION
from .release import Choices, PicturePart, Release, VideoPart
from .video import VideoError
from .writers import WRITERS, Columns

DONE = ".prepared"  # `<split>/<part>.parquet` in it: metadata of each complete part
VERSION = 1  # version of the output; raise it to refuse to resume older folders
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class SplitCount(NamedTuple):
    """Size of a split."""

    split: str
    parts: int
    clips: int
    pictures: int
    classes: int


@dataclass(frozen=True)
class Preparation:
    """Summary of a preparation.

    Attributes:
        folder: Output folder.
        layout: Layout of the release.
        choices: Settings of the preparation.
        splits: Size of each split.
        left_out: Number of skipped items by reason.
        notes: Segments that are partly or completely missing from the videos.
        faults: Errors of the parts that could not be prepared; the others are complete.
    """

    folder: Path
    layout: str
    choices: Choices
    splits: list[SplitCount]
    left_out: dict[str, int]
    notes: list[str]
    faults: list[str]


class _Job(NamedTuple):
    part: VideoPart | PicturePart
    folder: Path
    to: str
    columns: Columns


def prepare(release: Release, out: str | Path, *, num_workers: int = 1) -> Preparation:
    """Write the images of a release.

    A part is a video or a portion of the clips, and appears only when complete. Complete parts are skipped unless
    their labels, crop box or file have changed. The same call therefore resumes an interrupted run and adds repaired
    videos. The bytes are a function of the release and the choices.

    Args:
        release: Release to write.
        out: Folder that is missing, empty, or written by this function with the same choices.
        num_workers: Number of parts read in parallel, each in its own process.

    Raises:
        ValueError: The folder contains something else, or there is nothing to write.
        OSError: The disk is full.
    """
    out = Path(out)
    if num_workers < 1:
        raise ValueError(f"num_workers must be 1 or more, not {num_workers}.")
    if not release.parts:
        raise ValueError(f"There is nothing to prepare: {shorten(release.faults) or 'no labelled clip was found'}.")
    release.warn()
    columns = Columns(release.choices.class_names, release.columns)
    jobs = [_Job(part, out, release.choices.to, columns) for part in release.parts]
    try:
        _claim(release, out)
        with FileLock(out / DONE / "lock", timeout=0):
            _remove_staging(out)
            faults = _run(jobs, num_workers)
            _remove_staging(out)  # again: workers of a killed run may have written until now
            _finish(jobs, out, release)
    except Timeout as error:
        raise ValueError(f"{out} is being written by another process.") from error
    except OSError as error:
        if error.errno not in FULL:
            raise
        done = sum(_find_done(job).exists() for job in jobs)
        raise OSError(
            f"The disk of {out} is full ({error.strerror}): {done} of {len(jobs)} parts are complete and kept. Free "
            "disk space and rerun the same command to resume."
        ) from error
    counts, notes = _count(jobs)
    left_out = {reason: count for reason, count in release.left_out.items() if count}
    return Preparation(out, release.layout, release.choices, counts, left_out, notes, release.faults + faults)


def _claim(release: Release, out: Path) -> None:
    """Write the settings into a new folder, or check that an old one has the same."""
    settings = {"version": VERSION, "layout": release.layout, **asdict(release.choices)}
    settings |= {"columns": list(release.columns), "jpeg_quality": JPEG_QUALITY}
    path = out / PREPARATION
    if path.is_file():
        found = json.loads(path.read_text(encoding="utf-8"))
        if other := [key for key in found | settings if found.get(key) != settings.get(key)]:
            listed = ", ".join(f"{key} was {found.get(key)!r} and is {settings.get(key)!r}" for key in other)
            raise ValueError(f"{out} was prepared with other settings: {listed}. Choose another folder.")
    elif out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ValueError(f"{out} contains something else: choose a new folder.")
    else:
        out.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as file:
            file.write(json.dumps(settings, indent=2).encode())
    (out / DONE).mkdir(exist_ok=True)
    known = {f"{part.split}/{part.name}" for part in release.parts}
    found_parts = sorted(path.parent.name + "/" + path.stem for path in (out / DONE).glob("*/*.parquet"))
    if gone := [name for name in found_parts if name not in known]:
        raise ValueError(
            f"{out} has parts that are missing from the release: {shorten(gone)}. Repair the release, or choose "
            "another folder."
        )


def _run(jobs: list[_Job], num_workers: int) -> list[str]:
    """Write the missing parts, and return the errors in the order of the parts."""
    missing = [job for job in jobs if not _is_done(job)]
    faults: dict[str, str] = {}
    counts = {job.part: job.part.count() for job in jobs}
    with tqdm(total=sum(counts.values()), desc="preparing", unit=" images", disable=None) as bar:
        bar.update(sum(counts[job.part] for job in jobs if job not in missing))
        bar.unpause()  # exclude earlier work from the estimated time
        for job, fault in _work(missing, num_workers):
            if fault is not None:
                faults[f"{job.part.split}/{job.part.name}"] = f"{job.part.name}: {fault}"
            bar.update(counts[job.part])
    return [faults[name] for name in sorted(faults)]


def _work(jobs: list[_Job], num_workers: int) -> Iterator[tuple[_Job, str | None]]:
    if num_workers == 1 or len(jobs) < 2:
        yield from ((job, _write_part(job)) for job in jobs)
        return
    # Spawned: forking a process with threads, such as those of torch, is not safe.
    with ProcessPoolExecutor(num_workers, multiprocessing.get_context("spawn"), _end_with_parent) as pool:
        futures = {pool.submit(_write_part, job): job for job in jobs}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        finally:
            pool.shutdown(cancel_futures=True)


def _end_with_parent() -> None:
    """Exit when the parent process dies; otherwise the worker waits forever."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def wait() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def _write_part(job: _Job) -> str | None:
    """Write a part and its metadata, or return the error."""
    done = _find_done(job)
    notes: list[str] = []
    _remove_old(done, job.folder / job.part.split)
    try:
        try:
            rows = _write_pictures(job, job.part)
        except PastEndError:
            assert isinstance(job.part, VideoPart)  # image parts have no end
            part, notes = job.part.fit()
            rows = _write_pictures(job, part)
    except VideoError as error:
        return str(error)
    schema = job.columns.features.arrow_schema
    facts = {b"part": json.dumps({"fingerprint": job.part.fingerprint(), "notes": notes}).encode()}
    table = pa.Table.from_pylist(rows, schema.with_metadata(schema.metadata | facts))
    with atomic_write(done) as file:
        pyarrow.parquet.write_table(table, file)
    return None


def _write_pictures(job: _Job, part: VideoPart | PicturePart) -> list[dict[str, Any]]:
    """Write images, move them into place when all are complete, and return their metadata."""
    parent = _find_done(job).parent
    parent.mkdir(parents=True, exist_ok=True)
    # A unique folder: workers of a killed run may still be alive.
    with TemporaryDirectory(prefix=f"{part.name}.", dir=parent) as staging:
        rows = WRITERS[job.to](part.read(), Path(staging), part.name, job.columns)
        for path in sorted(path for path in Path(staging).rglob("*") if path.is_file()):
            target = job.folder / part.split / path.relative_to(staging)
            target.parent.mkdir(parents=True, exist_ok=True)
            path.replace(target)
    return rows


def _remove_staging(out: Path) -> None:
    """Remove incomplete parts of killed processes."""
    for path in (out / DONE).glob("*/*/"):
        shutil.rmtree(path, ignore_errors=True)


def _find_done(job: _Job) -> Path:
    return job.folder / DONE / job.part.split / f"{job.part.name}.parquet"


def _read_facts(done: Path) -> dict[str, Any]:
    return json.loads(pyarrow.parquet.read_schema(done).metadata[b"part"])


def _is_done(job: _Job) -> bool:
    done = _find_done(job)
    return done.is_file() and _read_facts(done)["fingerprint"] == job.part.fingerprint()


def _remove_old(done: Path, split_folder: Path) -> None:
    """Remove the previous output of a part that changed."""
    if done.is_file():
        for name in pyarrow.parquet.read_table(done, columns=["file_name"])["file_name"].to_pylist():
            (split_folder / name).unlink(missing_ok=True)  # only class folders have one file per row
        done.unlink()


def _finish(jobs: list[_Job], out: Path, release: Release) -> None:
    """Write the files that cover all parts."""
    if release.choices.to != "parquet":  # Parquet contains the names
        lines = ["id,name", *(f'{label_id},"{name}"' for label_id, name in release.choices.class_names.items())]
        with atomic_write(out / "labels.csv") as file:
            file.write("".join(f"{line}\n" for line in lines).encode())
    if release.choices.to != "imagefolder":
        return
    for split, of_split in itertools.groupby(_sort(jobs), lambda job: job.part.split):
        tables = [pyarrow.parquet.read_table(_find_done(job)) for job in of_split if _find_done(job).is_file()]
        schema = jobs[0].columns.features.arrow_schema
        tables = [table.replace_schema_metadata(schema.metadata) for table in tables if table.num_rows]
        if tables:
            with atomic_write(out / split / "metadata.parquet") as file:
                pyarrow.parquet.write_table(pa.concat_tables(tables), file)


def _sort(jobs: list[_Job]) -> list[_Job]:
    return sorted(jobs, key=lambda job: (PARTS.index(job.part.split), job.part.name))


def _count(jobs: list[_Job]) -> tuple[list[SplitCount], list[str]]:
    """Return the size of each split, and the notes of all parts."""
    counts: list[SplitCount] = []
    notes: list[str] = []
    for split, of_split in itertools.groupby(_sort(jobs), lambda job: job.part.split):
        done = [path for path in map(_find_done, of_split) if path.is_file()]
        tables = [pyarrow.parquet.read_table(path, columns=["label", "clip"]) for path in done]
        clips: Counter[str] = Counter()
        labels: set[int] = set()
        for path, table in zip(done, tables, strict=True):
            clips.update(table["clip"].to_pylist())
            labels.update(table["label"].to_pylist())
            notes += _read_facts(path)["notes"]
        counts.append(SplitCount(split, len(done), len(clips), clips.total(), len(labels)))
    return counts, notes

"""Write a release to disk as a data set, shard by shard, so that an interrupted run can resume."""

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

from ...files import atomic_write
from ..image_folder import SPLITS
from ..labels import shorten
from ..metadata import PREPARATION
from .choices import Choices
from .frames import JPEG_QUALITY, PastEndError
from .release import Release
from .shards import Findings, Shard, VideoShard
from .video import VideoError
from .writers import WRITERS, Columns

DONE = ".prepared"  # `<split>/<shard>.parquet` in it: metadata of each complete shard
VERSION = 2  # version of the output; raise it to refuse to resume older folders
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class SplitCount(NamedTuple):
    """Size of a split."""

    split: str
    shards: int
    clips: int
    images: int
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
        errors: Errors of the shards and clips that could not be prepared; the others are complete.
    """

    folder: Path
    layout: str
    choices: Choices
    splits: list[SplitCount]
    left_out: dict[str, int]
    notes: list[str]
    errors: list[str]


class _Job(NamedTuple):
    shard: Shard
    folder: Path
    format: str
    columns: Columns


def prepare(release: Release, output_dir: str | Path, *, num_workers: int = 1) -> Preparation:
    """Write the images of a release.

    A shard is a video or a portion of the clips, and appears only when complete. Complete shards are skipped unless
    their labels, crop box or file have changed. The same call therefore resumes an interrupted run and adds repaired
    videos. The bytes are a function of the release and the choices.

    Args:
        release: Release to write.
        output_dir: Folder that is missing, empty, or written by this function with the same choices.
        num_workers: Number of shards read in parallel, each in its own process.

    Raises:
        ValueError: The folder contains something else, or there is nothing to write.
        OSError: The disk is full.
    """
    output_dir = Path(output_dir)
    if num_workers < 1:
        raise ValueError(f"num_workers must be 1 or more, not {num_workers}.")
    if not release.shards:
        raise ValueError(f"There is nothing to prepare: {shorten(release.errors) or 'no labelled clip was found'}.")
    release.warn()
    choices = release.choices
    columns = Columns(choices.class_names, release.columns, choices.group_column, choices.class_groups)
    jobs = [_Job(shard, output_dir, choices.format, columns) for shard in release.shards]
    try:
        _claim(release, output_dir)
        with FileLock(output_dir / DONE / "lock", timeout=0):
            _remove_staging(output_dir)
            errors = _run(jobs, num_workers)
            _remove_staging(output_dir)  # again: workers of a killed run may have written until now
            _finish(jobs, output_dir, release)
    except Timeout as error:
        raise ValueError(f"{output_dir} is being written by another process.") from error
    except OSError as error:
        if error.errno not in FULL:
            raise
        done = sum(_find_done(job).exists() for job in jobs)
        raise OSError(
            f"The disk of {output_dir} is full ({error.strerror}): {done} of {len(jobs)} shards are complete. "
            "Free disk space and rerun the same command to resume."
        ) from error
    counts, notes = _count(jobs)
    left_out = {reason: count for reason, count in release.left_out.items() if count}
    return Preparation(
        output_dir, release.layout, choices, counts, left_out, release.notes + notes, release.errors + errors
    )


def _claim(release: Release, output_dir: Path) -> None:
    """Write the settings into a new folder, or check that an old one has the same."""
    settings = {"version": VERSION, "layout": release.layout, **asdict(release.choices)}
    settings |= {"columns": list(release.columns), "jpeg_quality": JPEG_QUALITY}
    settings = json.loads(json.dumps(settings))  # with lists for tuples, as in the file
    path = output_dir / PREPARATION
    if path.is_file():
        found = json.loads(path.read_text(encoding="utf-8"))
        if other := [key for key in found | settings if found.get(key) != settings.get(key)]:
            listed = ", ".join(f"{key} was {found.get(key)!r} and is {settings.get(key)!r}" for key in other)
            raise ValueError(f"{output_dir} was prepared with other settings: {listed}. Choose another folder.")
    elif output_dir.exists() and (not output_dir.is_dir() or any(output_dir.iterdir())):
        raise ValueError(f"{output_dir} contains something else: choose a new folder.")
    else:
        output_dir.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as file:
            file.write(json.dumps(settings, indent=2).encode())
    (output_dir / DONE).mkdir(exist_ok=True)
    known = {f"{shard.split}/{shard.name}" for shard in release.shards}
    found = sorted(path.parent.name + "/" + path.stem for path in (output_dir / DONE).glob("*/*.parquet"))
    if gone := [name for name in found if name not in known]:
        raise ValueError(
            f"{output_dir} has shards that are missing from the release: {shorten(gone)}. Repair the release, or "
            "choose another folder."
        )


def _run(jobs: list[_Job], num_workers: int) -> list[str]:
    """Write the missing shards, and return the errors in the order of the shards."""
    missing = [job for job in jobs if not _is_done(job)]
    for job in missing:  # before any is written: a clip may have moved from one shard to another
        _remove_old(job)
    errors: dict[str, list[str]] = {}
    counts = {job.shard: job.shard.count() for job in jobs}
    with tqdm(total=sum(counts.values()), desc="preparing", unit=" images", disable=None) as bar:
        bar.update(sum(counts[job.shard] for job in jobs if job not in missing))
        bar.unpause()  # exclude earlier work from the estimated time
        for job, faults in _work(missing, num_workers):
            errors[f"{job.shard.split}/{job.shard.name}"] = faults
            bar.update(counts[job.shard])
    return [fault for name in sorted(errors) for fault in errors[name]]


def _work(jobs: list[_Job], num_workers: int) -> Iterator[tuple[_Job, list[str]]]:
    if num_workers == 1 or len(jobs) < 2:
        yield from ((job, _write_shard(job)) for job in jobs)
        return
    # Spawned: forking a process with threads, such as those of torch, is not safe.
    with ProcessPoolExecutor(num_workers, multiprocessing.get_context("spawn"), _end_with_parent) as pool:
        futures = {pool.submit(_write_shard, job): job for job in jobs}
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


def _write_shard(job: _Job) -> list[str]:
    """Write a shard and its metadata, and return the errors."""
    done = _find_done(job)
    findings = Findings()
    try:
        try:
            rows = _write_images(job, job.shard, findings)
        except PastEndError:
            assert isinstance(job.shard, VideoShard)  # the others have no end
            shard, notes = job.shard.fit()
            findings = Findings(notes)
            rows = _write_images(job, shard, findings)
    except VideoError as error:
        return [f"{job.shard.name}: {error}"]
    if not rows:
        return findings.errors
    schema = job.columns.features.arrow_schema
    facts = {"fingerprint": job.shard.fingerprint(), **asdict(findings)}
    table = pa.Table.from_pylist(rows, schema.with_metadata(schema.metadata | {b"shard": json.dumps(facts).encode()}))
    with atomic_write(done) as file:
        pyarrow.parquet.write_table(table, file)
    return findings.errors


def _write_images(job: _Job, shard: Shard, findings: Findings) -> list[dict[str, Any]]:
    """Write images, move them into place when all are complete, and return their metadata."""
    parent = _find_done(job).parent
    parent.mkdir(parents=True, exist_ok=True)
    # A unique folder: workers of a killed run may still be alive.
    with TemporaryDirectory(prefix=f"{shard.name}.", dir=parent) as staging:
        rows = WRITERS[job.format](shard.read(findings), Path(staging), shard.name, job.columns)
        for path in sorted(path for path in Path(staging).rglob("*") if path.is_file() and rows):
            target = job.folder / shard.split / path.relative_to(staging)
            target.parent.mkdir(parents=True, exist_ok=True)
            path.replace(target)
    return rows


def _remove_staging(output_dir: Path) -> None:
    """Remove incomplete shards of killed processes."""
    for path in (output_dir / DONE).glob("*/*/"):
        shutil.rmtree(path, ignore_errors=True)


def _find_done(job: _Job) -> Path:
    return job.folder / DONE / job.shard.split / f"{job.shard.name}.parquet"


def _read_facts(done: Path) -> dict[str, Any]:
    return json.loads(pyarrow.parquet.read_schema(done).metadata[b"shard"])


def _is_done(job: _Job) -> bool:
    done = _find_done(job)
    if not done.is_file():
        return False
    facts = _read_facts(done)
    return facts["fingerprint"] == job.shard.fingerprint() and not facts.get("errors")  # clips with errors: try again


def _remove_old(job: _Job) -> None:
    """Remove the previous output of a shard that changed."""
    done, split_folder = _find_done(job), job.folder / job.shard.split
    if not done.is_file():
        return
    if job.format == "imagefolder":  # one file per row
        for name in pyarrow.parquet.read_table(done, columns=["file_name"])["file_name"].to_pylist():
            (split_folder / name).unlink(missing_ok=True)
    else:
        suffix = {"parquet": "parquet", "webdataset": "tar"}[job.format]
        (split_folder / f"{job.shard.name}.{suffix}").unlink(missing_ok=True)
    done.unlink()


def _finish(jobs: list[_Job], output_dir: Path, release: Release) -> None:
    """Write the files that cover all shards."""
    if release.choices.format != "parquet" or release.choices.class_groups:  # Parquet contains the names alone
        with atomic_write(output_dir / "labels.csv") as file:
            file.write(_make_labels_csv(release.choices).encode())
    if release.choices.format != "imagefolder":
        return
    for split, of_split in itertools.groupby(_sort(jobs), lambda job: job.shard.split):
        tables = [pyarrow.parquet.read_table(_find_done(job)) for job in of_split if _find_done(job).is_file()]
        schema = jobs[0].columns.features.arrow_schema
        tables = [table.replace_schema_metadata(schema.metadata) for table in tables if table.num_rows]
        path = output_dir / split / "metadata.parquet"
        if not tables:
            path.unlink(missing_ok=True)
            continue
        with atomic_write(path) as file:
            pyarrow.parquet.write_table(pa.concat_tables(tables), file)


def _make_labels_csv(choices: Choices) -> str:
    groups = choices.class_groups
    lines = ["id,name,group" if groups else "id,name"]
    for label_id, name in choices.class_names.items():
        cells = [name, groups[label_id]] if groups else [name]
        lines.append(",".join([str(label_id), *(f'"{cell.replace(chr(34), 2 * chr(34))}"' for cell in cells)]))
    return "".join(f"{line}\n" for line in lines)


def _sort(jobs: list[_Job]) -> list[_Job]:
    return sorted(jobs, key=lambda job: (SPLITS.index(job.shard.split), job.shard.name))


def _count(jobs: list[_Job]) -> tuple[list[SplitCount], list[str]]:
    """Return the size of each split, and the notes of all shards."""
    counts: list[SplitCount] = []
    notes: list[str] = []
    for split, of_split in itertools.groupby(_sort(jobs), lambda job: job.shard.split):
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

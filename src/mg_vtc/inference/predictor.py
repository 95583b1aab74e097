"""Prediction of unlabelled images, the library side of `mg-vtc predict`."""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import PIL
import torch
from accelerate import PartialState
from accelerate.utils import gather_object, parse_flag_from_env

from ..data.decoding import to_rgb
from ..models.configuration_mg_vtc import NONE_OF_THESE
from .aggregation import VOTES, ClipVote, rank_classes
from .ensemble import Ensemble, open_members
from .inputs import Inputs, Survey, make_inputs, survey
from .loading import Model
from .samples import Decoding, ReadPixels, Sample, read_samples, resize_all

Input = str | os.PathLike | PIL.Image.Image


class Prediction(NamedTuple):
    """Prediction of an image, a frame or a clip.

    Attributes:
        file: Name of the image or video; None for a clip, which may have several files.
        clip: Clip of the prediction or of the frame: a video, a segment of one, or the images
            `<clip>.<frame>.<extension>` of one folder. None if unknown.
        frame: Frame number; None for a clip, or if unknown.
        time: Seconds since the start of the video; None for clips and images.
        num_frames: Number of aggregated frames; 1 without `vote`.
        labels: Names of the `top_k` classes with the highest scores, best first.
        scores: Their probabilities in 0..1, or their aggregated scores.
        error: Reason why the file cannot be read, with empty labels and scores; else None.
        below_threshold: Whether the best score is below the threshold.
    """

    file: str | None
    clip: str | None
    frame: int | None
    time: float | None
    num_frames: int
    labels: list[str]
    scores: list[float]
    error: str | None
    below_threshold: bool = False

    @property
    def label(self) -> str | None:
        """Predicted class, or "none of these" below the threshold; None for a file that cannot be read."""
        if self.error is not None:
            return None
        return NONE_OF_THESE if self.below_threshold else self.labels[0]


class _Frame(NamedTuple):
    """A sample at some stage of prediction."""

    number: int
    sample: Sample
    pixels: list[np.ndarray] | None  # for each decoding of the models uint8 (image_size, image_size, 3)
    probabilities: np.ndarray | None  # float32 (num_classes,)
    error: str | None


def predict(
    model: Model | Sequence[Model],
    inputs: Input | Sequence[Input],
    *,
    segments: str | os.PathLike | None = None,
    first_frame: int = 1,
    frames_per_clip: int | None = None,
    crop: str | os.PathLike | None = None,
    top_k: int = 5,
    batch_size: int = 32,
    vote: str | None = None,
    candidate_labels: Sequence[str] | None = None,
    prompt_template: str | Sequence[str] | None = None,
    weights: Sequence[float] | None = None,
    tta: bool = False,
    threshold: float | None = None,
    processor: Any = None,
) -> Iterator[Prediction]:
    """Predict unlabelled images one after another; an unreadable file yields a `Prediction` with an `error`.

    Args:
        model: Folder or Hub id of a model of this package, or a loaded one; or several, an `Ensemble`.
        inputs: PIL images, or image and video files, folders, globs, or `webcam:<number>` for one frame of a webcam.
        segments: CSV file with the intervals of videos to predict, or a folder of such files (see `read_segments`).
        first_frame: Number of the first frame of a video in the segments, 0 or 1.
        frames_per_clip: Number of evenly spaced frames per video or segment; by default all.
        crop: CSV file `video,x,y,w,h` with the box to crop from each video, in pixels; other videos stay whole.
        top_k: Number of classes to return, at most the number of classes.
        batch_size: Images per batch, per process.
        vote: "mean", "max" or "majority" for one prediction per clip (see `ClipVote`); None for one per image.
        candidate_labels: Class names for the text tower to choose from; by default the model's classes.
        prompt_template: Prompt of a candidate label, `{}` for its name, or several to average; by default the model's.
        weights: Weight of each model of an ensemble, positive; by default all are equal.
        tta: Whether to average the probabilities over views of the image (test-time augmentation, see `make_views`).
        threshold: Score in [0, 1] below which `label` is "none of these"; by default that of `calibrate`; 0 for none.
        processor: Processor of a single loaded model; by default the one in the folder or repository it came from.

    Yields:
        A prediction for each image, or for each clip.

    Raises:
        OSError: A model or an input is not found.
        ValueError: A setting is out of range, clips are unknown, or models and classes do not fit (see `Ensemble`).
    """
    texts: dict[str, Any] = {"candidate_labels": candidate_labels, "prompt_template": prompt_template}
    scoring: dict[str, Any] = {"weights": weights, "tta": tta, "threshold": threshold, "processor": processor}
    clips: dict[str, Any] = {"segments": segments, "first_frame": first_frame, "frames_per_clip": frames_per_clip}
    with failing_together():
        predictor = Predictor(model, top_k=top_k, batch_size=batch_size, vote=vote, **texts, **scoring)
    return _predict_inputs(predictor, inputs, crop=crop, **clips)


def _predict_inputs(predictor: "Predictor", inputs: Any, **settings: Any) -> Iterator[Prediction]:
    """Predict images in memory, or files with the settings of `make_inputs`."""
    given: Any = inputs if isinstance(inputs, (str, os.PathLike, PIL.Image.Image)) else list(inputs)
    if images := _list_images(given):
        of_files = {name: value for name, value in settings.items() if name != "first_frame"}
        _refuse_settings_of_files(vote=predictor.vote, **of_files)
        return (prediction for _, batch in predictor.predict_images(images) for prediction in batch)
    with failing_together():
        found = make_inputs(given, **settings)
        predictor.survey(found)
    return (prediction for _, predictions in predictor.predict(found) for prediction in predictions)


def _refuse_settings_of_files(**settings: Any) -> None:
    if given := [name for name, value in settings.items() if value is not None]:
        raise ValueError(f"{' and '.join(given)} cannot be used with images in memory: leave it out, or give files.")


def _list_images(inputs: Any) -> list[Any]:
    """Return the inputs if any is an image in memory; nothing if all are names of files."""
    given = [inputs] if isinstance(inputs, (str, os.PathLike, PIL.Image.Image)) else list(inputs)
    return given if any(isinstance(one, PIL.Image.Image) for one in given) else []


def _prepare(image: PIL.Image.Image, decodings: Sequence[Decoding]) -> list[np.ndarray]:
    return resize_all(to_rgb(image), decodings)


def _stack(pixels: Sequence[np.ndarray]) -> torch.Tensor:
    """Return images as a batch uint8 (batch_size, 3, height, width), channels last in memory."""
    return torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2)


def join_processes() -> PartialState:
    """Return the state of the processes that `accelerate` or `torchrun` started."""
    # by default, processes without an accelerator would not be joined
    return PartialState(cpu=parse_flag_from_env("ACCELERATE_USE_CPU") or not torch.accelerator.is_available())


class RepeatedError(ValueError):
    """Raised on the other ranks when any rank failed; rank 0 reports the error."""


@contextmanager
def failing_together() -> Iterator[None]:
    """Run a block on all processes; if it fails on one, raise on all, so none waits forever.

    Raises:
        OSError: On the first process, if the block raised it there.
        ValueError: On the first process, if the block raised it there, or raised either error on another process.
        RepeatedError: On all other processes.
    """
    processes, failure = join_processes(), None
    try:
        yield
    except (OSError, ValueError) as error:
        failure = error
    messages = gather_object([None if failure is None else str(failure)])  # some errors cannot be pickled
    first = next((message for message in messages if message is not None), None)
    if first is None:
        return
    if not processes.is_main_process:
        raise RepeatedError(first) from failure
    raise failure or ValueError(first)


class Predictor:
    """A loaded model or ensemble with the settings of a prediction; for the arguments see `predict`.

    Attributes:
        class_names: Names of the classes to choose from, in id order.
        ensemble: The model or models.
        top_k: Number of classes in a prediction.
        vote: Aggregation of the frames of a clip, or None.
        threshold: Score below which a prediction is "none of these", or None. A stored one holds for the classes of a
            single model: an ensemble and candidate labels have only the one that is given.
    """

    def __init__(
        self,
        model: Model | Sequence[Model],
        *,
        top_k: int = 5,
        batch_size: int = 32,
        vote: str | None = None,
        candidate_labels: Sequence[str] | None = None,
        prompt_template: str | Sequence[str] | None = None,
        weights: Sequence[float] | None = None,
        tta: bool = False,
        threshold: float | None = None,
        processor: Any = None,
    ) -> None:
        for name, value in (("top_k", top_k), ("batch_size", batch_size)):
            if value < 1:
                raise ValueError(f"{name} must be 1 or more, got {value}.")
        if threshold is not None and not 0 <= threshold <= 1:
            raise ValueError(f"threshold must be in [0, 1], got {threshold}.")
        if vote not in (None, *VOTES):
            raise ValueError(f"vote must be one of {', '.join(VOTES)}, got {vote!r}.")
        if prompt_template is not None and candidate_labels is None:
            raise ValueError("`prompt_template` requires `candidate_labels`: the model's classes have fixed prompts.")
        self.batch_size, self.vote = batch_size, vote
        if isinstance(candidate_labels, str):
            raise ValueError(f"candidate_labels must be a list of names, got the text {candidate_labels!r}.")
        members = open_members(model, join_processes().device, processor=processor)
        texts: dict[str, Any] = {"candidate_labels": candidate_labels, "prompt_template": prompt_template}
        self.ensemble = Ensemble(members, weights=weights, tta=tta, **texts)
        self.class_names = self.ensemble.class_names
        if candidate_labels is not None and len(self.class_names) < 2:
            raise ValueError(
                f"candidate_labels must have two or more names, got {self.class_names}: a single one would always "
                "score 100 %."
            )
        self.top_k = min(top_k, len(self.class_names))
        stored = members[0].network.config.threshold if candidate_labels is None and len(members) == 1 else None
        self.threshold = (stored if threshold is None else threshold) or None  # 0 is none

    def survey(self, inputs: Inputs) -> Survey:
        """Check all inputs before any is read; see `inputs.survey`."""
        return survey(inputs, contiguous_clips=self.vote is not None)

    def predict(self, inputs: Inputs, start: int = 0) -> Iterator[tuple[int, list[Prediction]]]:
        """Predict inputs.

        Args:
            inputs: Inputs of the prediction.
            start: Number of finished samples, as yielded by an earlier call.

        Yields:
            The number of finished samples so far, and the new predictions. Batches do not depend on `start`, so a
            resumed prediction is bit-identical.
        """
        frames = self._predict_samples(read_samples(inputs, self.ensemble.decodings), start)
        return self._rank(frames) if self.vote is None else self._count_votes(self.vote, frames)

    def predict_images(self, images: Sequence[Any]) -> Iterator[tuple[int, list[Prediction]]]:
        """Predict PIL images as `predict` does files; `file` is `image.filename` if the image has one."""
        if odd := [type(image).__name__ for image in images if not isinstance(image, PIL.Image.Image)]:
            raise ValueError(f"PIL images and other inputs cannot be mixed, got {odd[0]} among them.")
        decodings = self.ensemble.decodings
        samples = (
            (Sample(getattr(image, "filename", ""), None, None, None), partial(_prepare, image, decodings))
            for image in images
        )
        return self._rank(self._predict_samples(samples, 0))

    def _predict_samples(self, samples: Iterable[tuple[Sample, ReadPixels]], start: int) -> Iterator[list[_Frame]]:
        """Yield the predicted frames of one batch per process, without those before `start`."""
        processes = join_processes()
        begin = start - start % self.batch_size
        numbered = enumerate(islice(samples, begin, None), begin)
        while True:
            own: list[_Frame] = []
            num_taken = 0
            for number, (sample, read) in islice(numbered, self.batch_size * processes.num_processes):
                if num_taken // self.batch_size == processes.process_index:
                    own.append(self._read(number, sample, read))
                num_taken += 1
            if num_taken == 0:
                return
            frames = gather_object(self._predict_batch(own))  # in the order of processes, so of batches
            yield [frame for frame in frames if frame.number >= start]

    def _read(self, number: int, sample: Sample, read: ReadPixels) -> _Frame:
        pixels, error = None, None
        try:
            pixels = read()
        except PIL.UnidentifiedImageError as failure:
            error = str(failure)  # names the kind of file
        except Exception as failure:  # decoders raise many types on damaged files; all are reported
            error = f"{type(failure).__name__}: {failure}"
        return _Frame(number, sample, pixels, None, error)

    def _predict_batch(self, frames: list[_Frame]) -> list[_Frame]:
        """Replace the pixels of frames by class probabilities."""
        images = [frame.pixels for frame in frames if frame.pixels is not None]
        rows: Iterator[np.ndarray] = iter(())  # (num_classes,) each
        if images:
            scores = self.ensemble.score([_stack(pixels) for pixels in zip(*images, strict=True)])
            rows = iter(scores.astype(np.float32))
        return [
            frame._replace(pixels=None, probabilities=None if frame.pixels is None else next(rows)) for frame in frames
        ]

    def _rank(self, batches: Iterable[list[_Frame]]) -> Iterator[tuple[int, list[Prediction]]]:
        for frames in batches:
            if frames:
                yield frames[-1].number + 1, [self._describe(frame) for frame in frames]

    def _count_votes(self, vote: str, batches: Iterable[list[_Frame]]) -> Iterator[tuple[int, list[Prediction]]]:
        """Aggregate the frames of each clip, which are consecutive."""
        clip: str | None = None
        ballot = ClipVote(vote, len(self.class_names))
        errors: list[Prediction] = []
        num_samples = 0
        for frames in batches:
            ended: list[Prediction] = []
            for frame in frames:
                if frame.sample.clip != clip:
                    ended += self._close(clip, ballot, errors)
                    num_done = frame.number
                    clip, ballot, errors = frame.sample.clip, ClipVote(vote, len(self.class_names)), []
                if frame.probabilities is None:
                    errors.append(self._describe(frame))
                else:
                    ballot.add(frame.probabilities)
                num_samples = frame.number + 1
            if ended:
                yield num_done, ended
        if ended := self._close(clip, ballot, errors):
            yield num_samples, ended

    def _close(self, clip: str | None, ballot: ClipVote, errors: list[Prediction]) -> list[Prediction]:
        """Return the prediction of a clip, if any frame was readable, and its unreadable frames."""
        if ballot.num_frames == 0:
            return errors
        labels, scores = self._name(*ballot.count())
        below = self._is_below(scores)
        return [Prediction(None, clip, None, None, ballot.num_frames, labels, scores, None, below), *errors]

    def _is_below(self, scores: list[float]) -> bool:
        return self.threshold is not None and bool(scores) and scores[0] < self.threshold

    def _describe(self, frame: _Frame) -> Prediction:
        labels: list[str] = []
        scores: list[float] = []
        if frame.probabilities is not None:
            labels, scores = self._name(rank_classes(frame.probabilities), frame.probabilities)
        file, clip, number, time = frame.sample
        return Prediction(file, clip, number, time, 1, labels, scores, frame.error, self._is_below(scores))

    def _name(self, order: np.ndarray, scores: np.ndarray) -> tuple[list[str], list[float]]:
        """Return the names and scores of the top classes."""
        best = order[: self.top_k]  # (top_k,)
        return [self.class_names[number] for number in best], scores[best].tolist()

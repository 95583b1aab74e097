"""Answers about pictures without labels: what `mg-vtc predict` does."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import islice
from typing import Any, NamedTuple, TypeVar

import numpy as np
import PIL
import torch
from accelerate import PartialState
from accelerate.utils import gather_object, parse_flag_from_env

from ..data.labels import normalize_names
from ..data.pixels import resize, to_rgb
from ..runs.records import read_records
from .aggregation import VOTES, ClipVote, rank_classes
from .inputs import Inputs, Survey, make_inputs, survey
from .loading import Model, open_model
from .samples import ReadPixels, Sample, read_samples
from .scoring import compare_pictures, embed_classes, embed_names, find_image_size

Input = str | os.PathLike | PIL.Image.Image
Result = TypeVar("Result")


class Prediction(NamedTuple):
    """The answer about a picture, a frame or a clip.

    Attributes:
        file: Name of the picture or video; None for a clip that may have several.
        clip: The clip that it is, or is a frame of: a video, a segment of one, or the pictures
            `<clip>.<frame>.<extension>` of one folder. None where that is not known.
        frame: Number of the frame; None for a clip, and where it is not known.
        time: Seconds since the beginning of the video; None for a clip and for pictures.
        num_frames: How many frames voted; 1 without a vote.
        labels: Names of the `top_k` likeliest classes, the likeliest first.
        scores: Their probabilities in 0..1, or what the vote makes of them.
        error: Why the file can not be read, then without labels and scores; else None.
    """

    file: str | None
    clip: str | None
    frame: int | None
    time: float | None
    num_frames: int
    labels: list[str]
    scores: list[float]
    error: str | None


class _Frame(NamedTuple):
    """A sample on its way: its number, and what is known of it so far."""

    number: int
    sample: Sample
    pixels: np.ndarray | None  # uint8 (image_size, image_size, 3)
    probabilities: np.ndarray | None  # float32 (num_classes,)
    error: str | None


def predict(
    model: Model,
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
    prompt_template: str | None = None,
    processor: Any = None,
) -> Iterator[Prediction]:
    """Predict images without labels, one after another; an unreadable file gives a `Prediction` with an `error`.

    Args:
        model: Folder or Hub id of a model of this package, or a loaded one.
        inputs: Images of Pillow, or image and video files, folders, globs, `webcam:<number>` for one frame of it.
        segments: CSV file with the parts of videos to answer, or folder of such files (see `read_segments`).
        first_frame: What the segments call the first frame of a video, 0 or 1.
        frames_per_clip: How many frames of a video or segment, evenly spaced; by default all.
        crop: CSV `video,x,y,w,h` with the part of each video to cut out, in pixels; others stay whole.
        top_k: How many classes to name, at most as many as there are.
        batch_size: Pictures at a time, in each process.
        vote: "mean", "max" or "majority" for one answer a clip (see `ClipVote`); None for one a picture or frame.
        candidate_labels: Names to choose from, which the text tower reads; by default the model's classes.
        prompt_template: Text of a candidate, with `{}` for its name; by default the model's.
        processor: Processor of a loaded model; by default that of the folder or repository it came from.

    Yields:
        An answer for each picture, or each clip.

    Raises:
        OSError: There is no such model or input within reach.
        ValueError: A setting is out of its range, clips are not known, or the model cannot read candidates.
    """
    answers = {"top_k": top_k, "batch_size": batch_size, "vote": vote}
    texts = {"candidate_labels": candidate_labels, "prompt_template": prompt_template}
    predictor = agree(Predictor, model, **answers, **texts, processor=processor)
    clips = {"segments": segments, "first_frame": first_frame, "frames_per_clip": frames_per_clip}
    if images := _list_images(inputs):
        if (vote, segments, crop) != (None, None, None):
            raise ValueError("vote, segments and crop go with files, and these are images in memory: leave them out.")
        return (prediction for _, batch in predictor.answer_images(images) for prediction in batch)
    found = agree(make_inputs, inputs, crop=crop, **clips)
    agree(predictor.survey, found)
    return (prediction for _, predictions in predictor.answer(found) for prediction in predictions)


def _list_images(inputs: Any) -> list[Any]:
    """Return images in memory, and what else is among them; nothing where all are names of files."""
    given = [inputs] if isinstance(inputs, (str, os.PathLike, PIL.Image.Image)) else list(inputs)
    return given if any(isinstance(one, PIL.Image.Image) for one in given) else []


def _prepare(image: PIL.Image.Image, image_size: int) -> np.ndarray:
    return resize(to_rgb(image), image_size)


def join_processes() -> PartialState:
    """Find the other processes that `accelerate` or `torchrun` started, and the device of this one."""
    # it would take processes without accelerator for one each
    return PartialState(cpu=parse_flag_from_env("ACCELERATE_USE_CPU") or not torch.accelerator.is_available())


class ToldByFirstError(ValueError):
    """What several processes stop for, in those that need not tell it, as the first one does."""


def agree(act: Callable[..., Result], *arguments: Any, **settings: Any) -> Result:
    """Let all processes do something at once: where one of them fails, all do, and none waits for it in vain.

    Raises:
        OSError: The first process raised it.
        ValueError: Likewise, or another one raised this or an OSError.
        ToldByFirstError: In all but the first process, whichever it was.
    """
    processes, fault = join_processes(), None
    try:
        done = act(*arguments, **settings)
    except (OSError, ValueError) as error:
        fault = error
    messages = gather_object([None if fault is None else str(fault)])  # some errors can not be sent themselves
    told = next((message for message in messages if message is not None), None)
    if told is None:
        return done
    if not processes.is_main_process:
        raise ToldByFirstError(told) from fault
    raise fault or ValueError(told)


class Predictor:
    """A model with all that answers depend on but the pictures; the arguments are those of `predict`.

    Attributes:
        class_names: What answers are chosen from, in id order.
        network: The model.
        image_processor: What prepares its pictures.
        top_k: How many of them an answer names.
        vote: As it was given.
    """

    def __init__(
        self,
        model: Model,
        *,
        top_k: int = 5,
        batch_size: int = 32,
        vote: str | None = None,
        candidate_labels: Sequence[str] | None = None,
        prompt_template: str | None = None,
        processor: Any = None,
    ) -> None:
        for name, value in (("top_k", top_k), ("batch_size", batch_size)):
            if value < 1:
                raise ValueError(f"{name} must be 1 or more, got {value}.")
        if vote not in (None, *VOTES):
            raise ValueError(f"vote must be one of {', '.join(VOTES)}, got {vote!r}.")
        if prompt_template is not None and candidate_labels is None:
            raise ValueError("--prompt_template goes with --candidate_labels: the model's classes have their texts.")
        self.batch_size, self.vote = batch_size, vote
        if isinstance(candidate_labels, str):
            raise ValueError(f"candidate_labels must be a list of names, got the text {candidate_labels!r}.")
        processes = join_processes()
        network, self.image_processor = open_model(model, dtype=torch.float32, processor=processor)
        self._image_size = find_image_size(self.image_processor)
        self._jpeg_draft = read_records(network.config.name_or_path).recipe.get("jpeg_draft", False)
        # channels last as in evaluation: other convolutions differ in the last digits
        self.network = network.to(processes.device)
        self.network.vision_model.to(memory_format=torch.channels_last)
        if candidate_labels is None:
            self.class_names = [*network.config.id2label.values()]
            self._text_embeds = embed_classes(network, np.arange(len(self.class_names)))
        else:
            self.class_names = normalize_names(candidate_labels)
            if len(self.class_names) < 2:
                raise ValueError(
                    f"candidate_labels must be two names or more to choose from, got {self.class_names}: one alone "
                    "would always get 100 %."
                )
            template = prompt_template or network.config.prompt_template
            self._text_embeds = embed_names(network, model, self.class_names, template, processor=processor)
        self.top_k = min(top_k, len(self.class_names))

    def survey(self, inputs: Inputs) -> Survey:
        """Look at all inputs before any is read; see `prediction_inputs.survey`."""
        return survey(inputs, contiguous_clips=self.vote is not None)

    def answer(self, inputs: Inputs, start: int = 0) -> Iterator[tuple[int, list[Prediction]]]:
        """Answer inputs.

        Args:
            inputs: What is to be answered.
            start: The number of samples that are done: one that came with earlier answers.

        Yields:
            How many samples are done with these answers and all before, and the answers. From any such number on,
            what follows is the same bit by bit, as batches are those of a run from the beginning.
        """
        frames = self._answer_samples(read_samples(inputs, self._image_size, jpeg_draft=self._jpeg_draft), start)
        return self._rank(frames) if self.vote is None else self._count_votes(self.vote, frames)

    def answer_images(self, images: Sequence[Any]) -> Iterator[tuple[int, list[Prediction]]]:
        """Answer images of Pillow as `answer` does files; theirs is `image.filename` where it has one."""
        if odd := [type(image).__name__ for image in images if not isinstance(image, PIL.Image.Image)]:
            raise ValueError(f"Images of Pillow and other inputs cannot be mixed; got {odd[0]} among them.")
        samples = (
            (Sample(getattr(image, "filename", ""), None, None, None), partial(_prepare, image, self._image_size))
            for image in images
        )
        return self._rank(self._answer_samples(samples, 0))

    def _answer_samples(self, samples: Iterable[tuple[Sample, ReadPixels]], start: int) -> Iterator[list[_Frame]]:
        """Yield the answers about a batch of each process, those before `start` left out."""
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
            frames = gather_object(self._answer_batch(own))  # in order of the processes, so of the batches
            yield [frame for frame in frames if frame.number >= start]

    def _read(self, number: int, sample: Sample, read: ReadPixels) -> _Frame:
        pixels, error = None, None
        try:
            pixels = read()
        except PIL.UnidentifiedImageError as fault:
            error = str(fault)  # what it is instead
        except Exception as fault:  # decoders raise errors of many types on damaged files; all are reported
            error = f"{type(fault).__name__}: {fault}"
        return _Frame(number, sample, pixels, None, error)

    def _answer_batch(self, frames: list[_Frame]) -> list[_Frame]:
        """Put probabilities in the place of pixels."""
        pictures = [frame.pixels for frame in frames if frame.pixels is not None]
        rows: Iterator[np.ndarray] = iter(())
        if pictures:
            pixel_values = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2)  # (batch_size, 3, height, width)
            logits, _ = compare_pictures(self.network, self.image_processor, pixel_values, self._text_embeds)
            rows = iter(logits.softmax(dim=-1).numpy())  # (num_classes,) each
        return [
            frame._replace(pixels=None, probabilities=None if frame.pixels is None else next(rows)) for frame in frames
        ]

    def _rank(self, batches: Iterable[list[_Frame]]) -> Iterator[tuple[int, list[Prediction]]]:
        for frames in batches:
            if frames:
                yield frames[-1].number + 1, [self._describe(frame) for frame in frames]

    def _count_votes(self, vote: str, batches: Iterable[list[_Frame]]) -> Iterator[tuple[int, list[Prediction]]]:
        """Join the frames of each clip, which come one after another."""
        clip: str | None = None
        ballot = ClipVote(vote, len(self.class_names))
        faults: list[Prediction] = []
        num_samples = 0
        for frames in batches:
            ended: list[Prediction] = []
            for frame in frames:
                if frame.sample.clip != clip:
                    ended += self._close(clip, ballot, faults)
                    num_done = frame.number
                    clip, ballot, faults = frame.sample.clip, ClipVote(vote, len(self.class_names)), []
                if frame.probabilities is None:
                    faults.append(self._describe(frame))
                else:
                    ballot.add(frame.probabilities)
                num_samples = frame.number + 1
            if ended:
                yield num_done, ended
        if ended := self._close(clip, ballot, faults):
            yield num_samples, ended

    def _close(self, clip: str | None, ballot: ClipVote, faults: list[Prediction]) -> list[Prediction]:
        """Return the answer about a clip, where a frame could be read, and then the frames that could not."""
        if ballot.num_frames == 0:
            return faults
        labels, scores = self._name(*ballot.count())
        return [Prediction(None, clip, None, None, ballot.num_frames, labels, scores, None), *faults]

    def _describe(self, frame: _Frame) -> Prediction:
        labels: list[str] = []
        scores: list[float] = []
        if frame.probabilities is not None:
            labels, scores = self._name(rank_classes(frame.probabilities), frame.probabilities)
        file, clip, number, time = frame.sample
        return Prediction(file, clip, number, time, 1, labels, scores, frame.error)

    def _name(self, order: np.ndarray, scores: np.ndarray) -> tuple[list[str], list[float]]:
        """Return the names of the first classes and their scores."""
        best = order[: self.top_k]  # (top_k,)
        return [self.class_names[number] for number in best], scores[best].tolist()

"""Batches, loaders and pixel values of a Trainer of images; of several processes in test_gathering."""

from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch
from conftest import LabelledRows, make_rows

from mg_vtc.training.preemption import watching_signals
from mg_vtc.training.start_checks import check_batches


def test_uint8_images_are_normalised_as_the_processor_does(make_trainer, processor):
    pixels = torch.randint(256, (2, 3, 32, 32), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    expected = processor.image_processor(list(pixels.numpy()), return_tensors="pt")["pixel_values"]
    prepared = make_trainer()._prepare_inputs({"pixel_values": pixels, "labels": torch.tensor([0, 1])})
    torch.testing.assert_close(prepared["pixel_values"], expected, rtol=1e-5, atol=1e-5)


class CountedRows(torch.utils.data.Dataset):
    """Rows that count how often they are read."""

    def __init__(self, rows):
        self._rows, self.num_read = rows, 0

    def __len__(self):
        return len(self._rows)

    def __getitem__(self, index):
        self.num_read += 1
        return self._rows[index]


def test_resumed_epoch_reads_only_the_images_that_are_left(make_trainer, tmp_path):
    settings = {"max_steps": -1, "save_strategy": "steps", "save_steps": 9, "eval_strategy": "no"}
    settings |= {"load_best_model_at_end": False, "save_total_limit": None}
    make_trainer(train=make_rows(80), **settings).train()
    rows = CountedRows(make_rows(80))
    make_trainer(train=rows, **settings).train(resume_from_checkpoint=str(tmp_path / "checkpoint-9"))
    assert rows.num_read == 8


def test_evaluation_leaves_no_row_out_where_training_drops_the_last(make_trainer):
    trainer = make_trainer(evaluation=make_rows(13), per_device_eval_batch_size=8, dataloader_drop_last=True)
    assert len(trainer.predict(trainer.eval_dataset).predictions) == 13
    assert trainer.args.dataloader_drop_last


def test_fewer_rows_than_a_batch_that_must_be_full_are_refused(make_trainer):
    with pytest.raises(
        ValueError, match="7 training images do not fill a batch of 8, and dataloader_drop_last is set"
    ):
        make_trainer(train=make_rows(7), dataloader_drop_last=True)


@pytest.mark.parametrize(
    ("num_rows", "drop_last", "refused"), [(33, False, True), (33, True, False), (36, False, False)]
)
def test_last_batch_without_an_image_for_each_process_is_refused(num_rows, drop_last, refused):
    args = SimpleNamespace(world_size=4, train_batch_size=8, dataloader_drop_last=drop_last)
    if refused:
        with pytest.raises(ValueError, match="33 training images in batches of 32 leave 1 for 4 processes"):
            check_batches(num_rows, args, contrasts_within=True)
    else:
        check_batches(num_rows, args, contrasts_within=True)


def test_rows_of_an_epoch_are_in_an_order_of_the_seed_whatever_the_random_numbers_drawn_before(make_trainer):
    orders = []
    for drawn in (0, 5):
        torch.rand(drawn)
        loader = make_trainer(train=make_rows(24)).get_train_dataloader()
        orders.append([index for batch in loader for index in batch["index"].tolist()])
    assert orders[0] == orders[1] != list(range(24))


def test_balanced_epoch_has_as_many_rows_and_each_class_as_often(make_trainer):
    rows = LabelledRows(row for row in make_rows(60) if row["labels"] != 3)
    for number, row in enumerate(rows):
        row["labels"] = torch.tensor(0 if number < 40 else int(row["labels"]))
    assert rows.labels.bincount()[0] > 30
    loader = make_trainer(train=rows, balanced_sampling=True).get_train_dataloader()
    drawn = [label for batch in loader for label in batch["labels"].tolist()]
    assert len(drawn) == len(rows)
    counts = [drawn.count(label) for label in rows.labels.unique()]
    assert max(counts) - min(counts) <= 1


class Stream(torch.utils.data.IterableDataset):
    def __iter__(self):
        return iter(make_rows(8))


@pytest.mark.parametrize(("rows", "kind"), [(list(make_rows(8)), "list"), (Stream(), "Stream")])
def test_rows_whose_classes_are_not_known_beforehand_cannot_be_balanced(make_trainer, rows, kind):
    with pytest.raises(ValueError, match=f"balanced_sampling must know the class .* labels of {kind} are not known"):
        make_trainer(train=rows, balanced_sampling=True)


@pytest.mark.parametrize("watches", [False, True])
def test_stream_of_several_processes_is_evaluated_without_workers(watches, make_trainer, monkeypatch):
    workers = {"dataloader_num_workers": 1, "dataloader_prefetch_factor": 2, "dataloader_persistent_workers": True}
    trainer = make_trainer(**workers, dataloader_multiprocessing_context="spawn")
    monkeypatch.setattr(type(trainer.args), "world_size", 2)
    with watching_signals() if watches else nullcontext():
        assert trainer.get_eval_dataloader(Stream()).base_dataloader.num_workers == 0
    assert trainer.args.dataloader_num_workers == 1

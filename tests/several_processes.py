"""Run by the tests in one process and in two: `python several_processes.py OUT` or under `torchrun`.

Trains tiny models without batch norm and dropout by each objective, with the same global batch whatever the number of
processes, and saves what each process saw to `OUT/<name>-<rank>.pt`. In float64, as the texts of a tower from random
weights are so alike that gradients in float32 have four digits.
"""

import os
import sys
from io import BytesIO
from pathlib import Path

import PIL.Image
import torch
import torch.distributed as dist

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))  # for the Hub on loopback of conftest.py
from conftest import CLASS_NAMES, TINY_DISTILBERT, TINY_VIT, LabelledRows
from datasets import ClassLabel, Dataset, Features, Image

from mg_vtc import MgVtcConfig, MgVtcModel, MgVtcTrainer, MgVtcTrainingArguments
from mg_vtc.data.decoding import collate_images
from mg_vtc.data.streaming import ImageStream, load_stream
from mg_vtc.evaluation.metrics import score_top_k
from mg_vtc.models.processing_mg_vtc import build_processor, build_tokenizer
from mg_vtc.training.distributed import _hosts, broadcast_buffers, gather_rows, take_share

GLOBAL_BATCH, NUM_ROWS, NUM_EVALUATED = 8, 21, 13  # the last batch has 5 rows, 3 on one process and 2 on the other
SETTINGS = {
    "js": {"loss_type": "js"},
    "kl of all classes": {"loss_type": "kl", "text_batch": "classes"},
    "js of pairs": {"loss_type": "js", "text_batch": "pairs"},
    "ce_identity": {"loss_type": "ce_identity"},
    "ce_soft": {"loss_type": "ce_soft"},
    "frozen text tower": {"freeze_text_model": True},
    "drawn texts": {"class_texts": "sample"},
    "drawn texts of all classes": {"class_texts": "sample", "text_batch": "classes"},
    "chunks": {"loss_type": "ce", "text_batch": "classes", "text_chunk_size": 2},
    "vision only": {"loss_type": "ce", "logit_adjustment": 1.0},
}


def make_rows(num_rows, seed):
    generator = torch.Generator().manual_seed(seed)
    return LabelledRows(
        {
            "pixel_values": torch.randn(3, 32, 32, generator=generator, dtype=torch.float64),
            "labels": int(torch.randint(len(CLASS_NAMES), (), generator=generator)),
            "index": row,
        }
        for row in range(num_rows)
    )


def collate(rows):
    columns = {name: torch.as_tensor([row[name] for row in rows]) for name in ("labels", "index")}
    return columns | {"pixel_values": torch.stack([row["pixel_values"] for row in rows])}


class WatchedTrainer(MgVtcTrainer):
    """Notes the rows of each step, its loss and the gradient that the first one is taken with."""

    def __init__(self, *args, **kwargs):
        self.rows, self.losses, self.gradients = [], [], None
        super().__init__(*args, **kwargs)

    def compute_loss(self, model, inputs, *args, **kwargs):
        loss = super().compute_loss(model, inputs, *args, **kwargs)
        self.rows.append(inputs["index"].tolist())
        self.losses.append(loss.item())
        return loss

    def training_step(self, model, *args, **kwargs):
        loss = super().training_step(model, *args, **kwargs)
        if self.gradients is None:
            parameters = self.model.named_parameters()
            self.gradients = {name: p.grad.clone() for name, p in parameters if p.grad is not None}
        return loss


def train(name, processor, folder):
    torch.manual_seed(0)
    vision_only = name == "vision only"
    text_config = TINY_DISTILBERT | {"vocab_size": len(processor.tokenizer), "dropout": 0.0, "attention_dropout": 0.0}
    model = MgVtcModel(
        MgVtcConfig(
            vision_config=dict(TINY_VIT),
            text_config=None if vision_only else text_config,
            vision_only=vision_only,
            projection_dim=12,
            projection_dropout=0.0,
            id2label=dict(enumerate(CLASS_NAMES)),
            label_texts=[[one, one.split()[0]] for one in CLASS_NAMES] if "drawn" in name else None,
        )
    ).double()
    arguments = MgVtcTrainingArguments(
        output_dir=str(folder / "run"),
        use_cpu=True,
        disable_tqdm=True,
        per_device_train_batch_size=GLOBAL_BATCH // int(os.environ.get("WORLD_SIZE", "1")),
        per_device_eval_batch_size=4,
        num_train_epochs=2,
        optim="sgd",
        learning_rate=0.1,
        lr_scheduler_type="constant",
        save_strategy="no",
        load_best_model_at_end=False,
        **SETTINGS[name],
    )
    trainer = WatchedTrainer(
        model,
        arguments,
        train_dataset=make_rows(NUM_ROWS, seed=0),
        eval_dataset=make_rows(NUM_EVALUATED, seed=1),
        processing_class=processor,
        data_collator=collate,
        compute_metrics=lambda prediction: score_top_k(prediction) | {"num_rows": len(prediction.label_ids)},
    )
    if dist.is_initialized():  # hosts wait for each other no longer than processes
        hosts = _hosts[dist.group.WORLD]._get_backend(torch.device("cpu"))
        assert hosts.options._timeout == arguments.ddp_timeout_delta
    trainer.train()
    saved = {
        "rows": trainer.rows,
        "losses": trainer.losses,
        "gradients": trainer.gradients,
        "weights": model.state_dict(),
        "metrics": trainer.evaluate(),
        "logged": [log["loss"] for log in trainer.state.log_history if "loss" in log],
    }
    torch.save(saved, folder / f"{name}-{arguments.process_index}.pt")


def gather_unequal_rows(folder):
    """Process r has r + 1 rows; the loss of each process weighs the joined rows by its own weights."""
    rank = dist.get_rank()
    rows = (torch.arange(2.0 * (rank + 1)).view(-1, 2) + 10 * rank).requires_grad_()
    joined = gather_rows(rows)
    weights = torch.arange(joined.numel(), dtype=torch.float32).view_as(joined) * (rank + 1)
    (joined * weights).sum().backward()
    shares = {size: gather_rows(take_share(torch.arange(size)))[:size] for size in (1, 2, 5)}
    summed = torch.ones(1, 2, requires_grad=True)
    (gather_rows(summed) + gather_rows(summed)).square().sum().backward()
    norm = torch.nn.BatchNorm1d(1)
    norm.running_mean.fill_(rank)
    broadcast_buffers(norm)
    saved = {
        "joined": joined.detach(),
        "gradient": rows.grad,
        "shares": shares,
        "summed": summed.detach(),
        "gradient of a sum": summed.grad,
        "buffer": norm.running_mean,
        "streamed": {num_workers: evaluate_stream(folder, num_workers) for num_workers in (0, 2)},
    }
    torch.save(saved, folder / f"gathered-{rank}.pt")


def evaluate_stream(folder, num_workers):
    """Labels of an evaluation of 19 rows in two shards, sorted."""
    shards = folder / f"shards-{dist.get_rank()}-{num_workers}"
    names = [str(label) for label in range(19)]
    features = Features(image=Image(), label=ClassLabel(names=names))
    shards.mkdir()
    for shard, labels in enumerate((range(7), range(7, 19))):
        image = {"bytes": encode_image(), "path": None}
        rows = Dataset.from_list([{"image": image, "label": label} for label in labels], features=features)
        rows.to_parquet(shards / f"validation-{shard:05d}-of-00002.parquet")
    stream = ImageStream(load_stream(str(shards))["validation"], 32, 4, repeat=False)
    processor = build_processor(32, build_tokenizer(names))
    text_config = TINY_DISTILBERT | {"vocab_size": len(processor.tokenizer)}
    model = MgVtcModel(
        MgVtcConfig(vision_config=dict(TINY_VIT), text_config=text_config, id2label=dict(enumerate(names)))
    )
    arguments = MgVtcTrainingArguments(
        output_dir=str(folder / "run"),
        use_cpu=True,
        disable_tqdm=True,
        per_device_eval_batch_size=4,
        dataloader_num_workers=num_workers,
    )
    trainer = MgVtcTrainer(
        model, arguments, eval_dataset=stream, processing_class=processor, data_collator=collate_images
    )
    return sorted(trainer.predict(stream).label_ids.tolist())


def encode_image():
    file = BytesIO()
    PIL.Image.new("RGB", (8, 8)).save(file, "PNG")
    return file.getvalue()


def main():
    torch.set_num_threads(1)
    folder = Path(sys.argv[1])
    processor = build_processor(32, build_tokenizer(CLASS_NAMES))
    for name in SETTINGS:
        train(name, processor, folder)
    if dist.is_initialized():
        gather_unequal_rows(folder)
        dist.destroy_process_group()


if __name__ == "__main__":
    main()

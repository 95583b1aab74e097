"""Micro-gesture classification by contrasting images with the names of the gestures.

After `import mg_vtc` transformers' Auto classes and pipelines open a saved folder or Hub repository of this model
without `trust_remote_code`. Public names are imported when they are first used.
"""

import importlib
from typing import TYPE_CHECKING, Any

from .models.registration import register_when_imported

if TYPE_CHECKING:
    from .app.server import serve
    from .data import load_demo_dataset, load_hub_dataset, load_image_folder, split_stratified
    from .data.releases.clips import prepare_clips
    from .data.releases.imigue import prepare_imigue
    from .data.releases.ma52 import prepare_ma52
    from .data.releases.smg import prepare_smg
    from .evaluation.cross_evaluation import cross_evaluate
    from .evaluation.evaluate import evaluate, write_evaluation
    from .evaluation.metrics import TopKAccuracy
    from .evaluation.scores import MicroGestureScores
    from .exporters.export import export
    from .hub.push import push_to_hub
    from .hub.space import push_space
    from .inference.grad_cam import grad_cam, heat_map
    from .inference.output import write_predictions
    from .inference.predictor import predict
    from .losses import contrastive_loss, soft_target_loss
    from .models.configuration_alexnet import AlexNetConfig
    from .models.configuration_mg_vtc import MgVtcConfig
    from .models.modeling_alexnet import AlexNetModel
    from .models.modeling_mg_vtc import MgVtcForImageClassification, MgVtcModel
    from .models.processing_mg_vtc import build_processor, build_tokenizer
    from .training.arguments import MgVtcTrainingArguments
    from .training.calibrate import calibrate
    from .training.interpolate import interpolate
    from .training.run import train
    from .training.trainer import MgVtcTrainer

__version__ = "0.1.0"

_HOME = {
    "AlexNetConfig": "models.configuration_alexnet",
    "AlexNetModel": "models.modeling_alexnet",
    "MgVtcConfig": "models.configuration_mg_vtc",
    "MgVtcForImageClassification": "models.modeling_mg_vtc",
    "MgVtcModel": "models.modeling_mg_vtc",
    "MgVtcTrainer": "training.trainer",
    "MgVtcTrainingArguments": "training.arguments",
    "MicroGestureScores": "evaluation.scores",
    "TopKAccuracy": "evaluation.metrics",
    "build_processor": "models.processing_mg_vtc",
    "build_tokenizer": "models.processing_mg_vtc",
    "calibrate": "training.calibrate",
    "contrastive_loss": "losses",
    "cross_evaluate": "evaluation.cross_evaluation",
    "evaluate": "evaluation.evaluate",
    "export": "exporters.export",
    "grad_cam": "inference.grad_cam",
    "heat_map": "inference.grad_cam",
    "interpolate": "training.interpolate",
    "load_demo_dataset": "data",
    "load_hub_dataset": "data",
    "load_image_folder": "data",
    "predict": "inference.predictor",
    "prepare_clips": "data.releases.clips",
    "prepare_imigue": "data.releases.imigue",
    "prepare_ma52": "data.releases.ma52",
    "prepare_smg": "data.releases.smg",
    "push_space": "hub.space",
    "push_to_hub": "hub.push",
    "serve": "app.server",
    "soft_target_loss": "losses",
    "split_stratified": "data",
    "train": "training.run",
    "write_evaluation": "evaluation.evaluate",
    "write_predictions": "inference.output",
}

__all__ = [
    "AlexNetConfig",
    "AlexNetModel",
    "MgVtcConfig",
    "MgVtcForImageClassification",
    "MgVtcModel",
    "MgVtcTrainer",
    "MgVtcTrainingArguments",
    "MicroGestureScores",
    "TopKAccuracy",
    "build_processor",
    "build_tokenizer",
    "calibrate",
    "contrastive_loss",
    "cross_evaluate",
    "evaluate",
    "export",
    "grad_cam",
    "heat_map",
    "interpolate",
    "load_demo_dataset",
    "load_hub_dataset",
    "load_image_folder",
    "predict",
    "prepare_clips",
    "prepare_imigue",
    "prepare_ma52",
    "prepare_smg",
    "push_space",
    "push_to_hub",
    "serve",
    "soft_target_loss",
    "split_stratified",
    "train",
    "write_evaluation",
    "write_predictions",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_HOME[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])


register_when_imported()

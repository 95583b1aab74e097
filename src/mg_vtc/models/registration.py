"""Register the classes with the Auto classes of transformers when those are imported.

`AutoConfig.register` imports torch and the modeling code, which takes seconds; `import transformers` does not. So
`import mg_vtc` installs a meta path finder: once transformers' Auto modules are imported, our modules are imported and
registered.
"""

import importlib
import sys
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType


def _register_configs() -> None:
    from transformers import AutoConfig

    from .configuration_alexnet import AlexNetConfig
    from .configuration_mg_vtc import MgVtcConfig

    AutoConfig.register("alexnet", AlexNetConfig)
    AutoConfig.register("mg_vtc", MgVtcConfig)
    MgVtcConfig.register_for_auto_class()


def _register_models() -> None:
    from transformers import AutoModel, AutoModelForImageClassification, AutoModelForZeroShotImageClassification

    from .configuration_alexnet import AlexNetConfig
    from .configuration_mg_vtc import MgVtcConfig
    from .modeling_alexnet import AlexNetModel
    from .modeling_mg_vtc import MgVtcForImageClassification, MgVtcModel

    AutoModel.register(AlexNetConfig, AlexNetModel)
    AutoModel.register(MgVtcConfig, MgVtcModel)
    AutoModelForZeroShotImageClassification.register(MgVtcConfig, MgVtcModel)
    AutoModelForImageClassification.register(MgVtcConfig, MgVtcForImageClassification)
    # so that saved folders carry the code of these classes
    MgVtcModel.register_for_auto_class("AutoModel")
    MgVtcForImageClassification.register_for_auto_class("AutoModelForImageClassification")


_AFTER_IMPORT: dict[str, Callable[[], object]] = {
    "transformers.models.auto.configuration_auto": lambda: importlib.import_module(
        f"{__package__}.configuration_mg_vtc"
    ),
    "transformers.models.auto.modeling_auto": lambda: importlib.import_module(f"{__package__}.modeling_mg_vtc"),
    f"{__package__}.configuration_mg_vtc": _register_configs,
    f"{__package__}.modeling_mg_vtc": _register_models,
}


class _AfterImport:
    """Meta path finder that runs an action after an awaited module was executed."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> ModuleSpec | None:
        action = _AFTER_IMPORT.pop(name, None)
        spec = PathFinder.find_spec(name, path, target) if action else None
        if spec is None or spec.loader is None or action is None:
            return None
        execute = spec.loader.exec_module

        def execute_and_act(module: ModuleType) -> None:
            execute(module)
            action()

        spec.loader.exec_module = execute_and_act  # type: ignore[method-assign]
        return spec


def register_when_imported() -> None:
    """Register classes whose Auto modules are imported already, and the others on import."""
    sys.meta_path.insert(0, _AfterImport)
    for name in [name for name in _AFTER_IMPORT if name in sys.modules]:
        _AFTER_IMPORT.pop(name)()

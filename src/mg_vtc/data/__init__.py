"""Load labelled image data sets: image folders, the Hub and the drawn demo."""

from .demo.dataset import load_demo_dataset
from .hub import load_hub_dataset
from .image_folder import load_image_folder, load_image_folders
from .splits import split_stratified

__all__ = ["load_demo_dataset", "load_hub_dataset", "load_image_folder", "load_image_folders", "split_stratified"]

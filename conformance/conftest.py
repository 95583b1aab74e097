"""Makes transformers' common tests importable, as the package `tests`, and keeps them off the network."""

import os
import sys

import pytest
import torch
from fetch import FOLDER

if not FOLDER.exists():
    raise pytest.UsageError(f"{FOLDER} is missing; fetch transformers' common tests: python conformance/fetch.py")
sys.path.insert(0, str(FOLDER))
os.environ["HF_HUB_OFFLINE"] = "1"
torch.set_num_threads(1)  # the models are so small that threads cost more than they do


@pytest.fixture(autouse=True)
def _same_weights_each_time() -> None:
    torch.manual_seed(0)

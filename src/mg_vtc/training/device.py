"""What the device of a training can do, and what is chosen for it."""

import torch


def runs_ahead(device: torch.device) -> bool:
    """Return whether the host runs ahead of a device, so that reading a value from it waits for its earlier work."""
    return device.type != "cpu"

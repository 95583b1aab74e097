"""Rows of all processes, with gradient, so that an objective sees the whole batch."""

from typing import Any

import torch
import torch.distributed as dist


def check_world_size(world_size: int) -> None:
    """Make sure that all processes that torch joined are those that the Trainer counts.

    Raises:
        ValueError: They are more or fewer, so each would train on rows, or write a folder, of another one.
    """
    joined = dist.get_world_size() if dist.is_initialized() else 1
    if joined != world_size:
        raise ValueError(
            f"torch joined {joined} processes and transformers counts {world_size}: start them with `accelerate "
            "launch --multi_gpu --num_processes N` or torchrun, without GPUs with ACCELERATE_USE_CPU=true."
        )


def gather_rows(rows: torch.Tensor) -> torch.Tensor:
    """Join the rows of all processes, in order of their ranks; the same tensor where there is one process.

    Gradients flow back to the process that a row came from, summed over the losses of all processes. Where every
    process computes one and the same loss of the gathered rows, that is `world_size` times the gradient of the loss,
    and `DistributedDataParallel`, which takes the mean over the processes, makes it the gradient of the loss.

    Args:
        rows: `(num_rows, ...)`; how many there are may differ from process to process, the rest may not.

    Returns:
        `(sum of num_rows, ...)`.
    """
    if not dist.is_initialized() or dist.get_world_size() == 1:
        return rows
    return _GatherRows.apply(rows)


class _GatherRows(torch.autograd.Function):
    """`all_gather` of unequal parts; its adjoint sums the gradients of all processes and keeps the own part."""

    @staticmethod
    def forward(ctx: Any, rows: torch.Tensor) -> torch.Tensor:
        sizes = [torch.zeros(1, dtype=torch.int64, device=rows.device) for _ in range(dist.get_world_size())]
        dist.all_gather(sizes, torch.tensor([len(rows)], device=rows.device))
        ctx.sizes = torch.cat(sizes).tolist()
        padded = rows.new_zeros(max(ctx.sizes), *rows.shape[1:])  # all_gather takes equal parts
        padded[: len(rows)] = rows
        parts = [torch.empty_like(padded) for _ in ctx.sizes]
        dist.all_gather(parts, padded)
        return torch.cat([part[:size] for part, size in zip(parts, ctx.sizes, strict=True)])

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        summed = gradient.clone(memory_format=torch.contiguous_format)  # autograd may hold what it gave
        dist.all_reduce(summed)
        return summed.split(ctx.sizes)[dist.get_rank()]


def broadcast_buffers(model: torch.nn.Module) -> None:
    """Give every process the buffers of the first: the running statistics of batch norm, which differ."""
    if dist.is_initialized() and dist.get_world_size() > 1:
        for buffer in model.buffers():
            dist.broadcast(buffer, src=0)


def take_share(rows: torch.Tensor) -> torch.Tensor:
    """What this process does of work that all of them hold: `gather_rows` of the results begins with all of `rows`.

    Shares are equal and not empty; past the last row they begin anew.

    Args:
        rows: `(num_rows, ...)`, the same on every process.

    Returns:
        `(num_rows / world_size, rounded up, ...)`.
    """
    if not dist.is_initialized() or dist.get_world_size() == 1:
        return rows
    size = -(-len(rows) // dist.get_world_size())
    numbers = dist.get_rank() * size + torch.arange(size, device=rows.device)
    return rows[numbers % len(rows)]

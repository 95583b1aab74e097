"""Several processes of one run, whose rows are gathered with gradients, so that a loss sees the global batch."""

import os
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist

_hosts: dict[Any, Any] = {}  # group of hosts by the group of all processes


def joins_on_cpu() -> bool:
    """Return whether a launcher started several processes and no GPU is there to join them.

    Raises:
        ValueError: The environment has a world size without a rank.
    """
    if int(os.environ.get("WORLD_SIZE", 1)) < 2:
        return False
    if missing := [name for name in ("RANK", "MASTER_ADDR", "MASTER_PORT") if name not in os.environ]:
        raise ValueError(
            f"The environment has WORLD_SIZE {os.environ['WORLD_SIZE']}, but no {', '.join(missing)}: start "
            "several processes with `accelerate launch` or torchrun, or unset WORLD_SIZE for one."
        )
    return not torch.accelerator.is_available()


def join_cpu_processes(backend: str | None, timeout: timedelta) -> None:
    """Join the CPU processes of a launcher, if there are several; transformers would drop the timeout.

    Args:
        backend: By default "gloo".
        timeout: Longest time that a process waits for another.

    Raises:
        OSError: A process did not come, or the address of the first one is wrong, unreachable or in use.
    """
    if int(os.environ.get("WORLD_SIZE", 1)) < 2 or dist.is_initialized():
        return
    try:
        dist.init_process_group(backend or "gloo", timeout=timeout)
    except dist.DistError as error:
        address = f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
        reason = str(error).strip().partition("\n")[0].rstrip(".")
        raise OSError(
            f"The {os.environ['WORLD_SIZE']} processes of the run did not meet at {address}: {reason}. "
            "Start all of them within `ddp_timeout` seconds, with the MASTER_ADDR and a free MASTER_PORT of the first."
        ) from error


def join_hosts(timeout: timedelta) -> Any:
    """Return the group in which hosts exchange numbers without waiting for their devices; `None` in one process.

    All processes make it at the same place.

    Args:
        timeout: Longest time that a process waits for another, of a group that is made.
    """
    if not dist.is_initialized() or dist.get_world_size() == 1:
        return None
    if dist.group.WORLD not in _hosts:
        _hosts.clear()
        _hosts[dist.group.WORLD] = dist.new_group(backend="gloo", timeout=timeout)
    return _hosts[dist.group.WORLD]


def is_timeout(error: RuntimeError) -> bool:
    """Return whether an error is that of CPU processes which waited for another one; those with GPUs are aborted."""
    return "Timed out waiting" in str(error)


def is_lost_connection(error: RuntimeError) -> bool:
    """Return whether an error only tells a CPU process that another one has ended, which prints why."""
    return "by peer" in str(error)


def check_world_size(world_size: int) -> None:
    """Refuse a launch in which torch and transformers count different numbers of processes.

    Raises:
        ValueError: They do: processes would train on the same rows and write the same folder.
    """
    joined = dist.get_world_size() if dist.is_initialized() else 1
    if joined != world_size:
        raise ValueError(
            f"torch joined {joined} processes, but transformers counts {world_size}: start them with `accelerate "
            "launch --multi_gpu --num_processes N` or torchrun, without GPUs with ACCELERATE_USE_CPU=true."
        )


def gather_rows(rows: torch.Tensor) -> torch.Tensor:
    """Concatenate the rows of all processes in order of their ranks.

    Gradients flow back to the process of a row, summed over the losses of all processes. If every process computes the
    same loss of the gathered rows, that sum is `world_size` times its gradient, and the mean that
    `DistributedDataParallel` takes over the processes is the gradient of the loss.

    Args:
        rows: `(num_rows, ...)`; `num_rows` may differ between processes.

    Returns:
        `(sum of num_rows, ...)`.
    """
    if not dist.is_initialized() or dist.get_world_size() == 1:
        return rows
    return _GatherRows.apply(rows)


class _GatherRows(torch.autograd.Function):
    """`all_gather` of unequal shares, whose backward pass sums the gradients and keeps the own share."""

    @staticmethod
    def forward(ctx: Any, rows: torch.Tensor) -> torch.Tensor:
        sizes = [torch.zeros(1, dtype=torch.int64) for _ in range(dist.get_world_size())]
        dist.all_gather(sizes, torch.tensor([len(rows)]), group=_hosts.get(dist.group.WORLD))
        ctx.sizes = torch.cat(sizes).tolist()
        padded = rows.new_zeros(max(ctx.sizes), *rows.shape[1:])  # all_gather takes equal shares
        padded[: len(rows)] = rows
        parts = [torch.empty_like(padded) for _ in ctx.sizes]
        dist.all_gather(parts, padded)
        return torch.cat([part[:size] for part, size in zip(parts, ctx.sizes, strict=True)])

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        summed = gradient.clone(memory_format=torch.contiguous_format)  # autograd may keep its tensor
        dist.all_reduce(summed)
        return summed.split(ctx.sizes)[dist.get_rank()]


def broadcast_buffers(model: torch.nn.Module) -> None:
    """Copy the buffers of the first process, the running statistics of batch norm, to all processes."""
    if dist.is_initialized() and dist.get_world_size() > 1:
        for buffer in model.buffers():
            dist.broadcast(buffer, src=0)


def take_share(rows: torch.Tensor) -> torch.Tensor:
    """Return this process's share of rows that all processes hold; `gather_rows` of the shares begins with `rows`.

    Shares are equal and not empty: past the last row they repeat from the first.

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

"""Running out of memory: how it is told from other errors, and how what a failed step has left is given back."""

from __future__ import annotations

import gc

import torch

_WORDS = (
    "DefaultCPUAllocator",  # torch's main memory, which raises no MemoryError
    "out of memory",  # Apple's GPUs
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory does not suffice."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(word in str(error) for word in _WORDS)


def release() -> None:
    """Give back what a step that failed has left."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()

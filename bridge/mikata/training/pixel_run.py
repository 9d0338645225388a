"""What runs of all networks from images to images have in common."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mikata.architecture import Detector, Segmenter
from mikata.datasets import Dataset
from mikata.language import english


def whole_output(
    network: Segmenter | Detector, image: NDArray[Any], step: int, device: str
) -> NDArray[np.float32]:
    """What a network says of a whole image (C, H, W) at once: (K, H, W).

    The image goes on as in a mirror to the right and below up to multiples of `step`.
    """
    height, width = image.shape[1:]
    filled = np.pad(image, ((0, 0), (0, -height % step), (0, -width % step)), mode="reflect")
    with torch.inference_mode():
        x = torch.from_numpy(np.ascontiguousarray(filled, np.float32))[None].to(device)
        found = network.to(device)(x)[0, :, :height, :width]
    return np.asarray(found.float().cpu().numpy())


def split_words(dataset: Dataset, say: Callable[..., str] = english) -> str:
    """How the split kept images together, and whether the table gave it; `say` gives the words their language."""
    grouping = dataset.grouping_words(say)
    if any(entry.split for entry in dataset.entries):
        return say("{grouping}, given in the table", grouping=grouping)
    return grouping

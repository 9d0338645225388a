"""What measuring regions adds to heat maps, as a ratio in one run.

Usage: ``python tests/benchmarks/bench_regions.py [--images 1000] [--networks vgg16 resnet50] [--regions chest]``

Each network (random weights, 224 px, batch 16) explains the images once; beside the time of the heat maps that of
everything that Heat by Region does with them is taken: measures, mean heat and mean image, at the end tables, resampling
and the page. The ratio is (both) / (heat maps alone). Both are of the same pass, so that a machine that slows down does
not show. Images are in memory, so that reading files, which would flatter the ratio, does not count.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from pathlib import Path

import numpy as np

from mikata import images
from mikata.architecture import Classifier
from mikata.explaining.heat_by_region import RegionRun
from mikata.explaining.material import Material
from mikata.explaining.noting import NotingImages
from mikata.explanation.planes import plane_heat
from mikata.explanation.region_sources import OverlaySource, region_source
from mikata.networks import Model, build
from mikata.outputs import ResultFolder
from mikata.types import SILENT

CLASSES = 10


def model(name: str) -> Model:
    """A network with random weights as if read from a package."""
    classifier: Classifier = build(
        name, classes=CLASSES, channels=3, mean=[110.0] * 3, std=[50.0] * 3, size=(224, 224)
    )
    return Model(
        classifier=classifier.eval(),
        classes=tuple(f"class {k}" for k in range(CLASSES)),
        channels=3,
        size=(224, 224),
        fit="resize",
        value_unit="grey",
        value_range=(0.0, 255.0),
        weights_sha256="",
        record={},
        path=Path(name),
    )


def run(name: str, count: int, regions: str, target: str, batch: int) -> None:
    """Print seconds and ratio of one network."""
    random = np.random.default_rng(0)
    pixels = [random.integers(0, 256, (224, 224), dtype=np.uint8) for _ in range(8)]
    pictures = [images.from_array(pixels[n % 8], "YX", title=f"image {n}") for n in range(count)]
    source = NotingImages(images.Images.of(pictures))
    found = region_source(regions, source)
    assert not isinstance(found, OverlaySource)
    network = model(name)
    measuring = RegionRun(network, source, Material(source, {}), {}, found)
    heats = plane_heat(
        network, source, target="all" if target == "all" else None, batch=batch, progress=SILENT, message=""
    )
    alone = added = 0.0
    memory: list[int] = []
    while True:
        start = time.perf_counter()
        heat = next(heats, None)
        middle = time.perf_counter()
        alone += middle - start
        if heat is None:
            break
        measuring.take(heat, picture=True)
        added += time.perf_counter() - middle
        memory.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10)
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        measuring.result(None, ResultFolder(Path(folder), overwrite=False), target, SILENT)
    end = time.perf_counter() - start
    print(
        f"{name}, {count} images, {target}, {regions}: heat maps {alone:.1f} s; measuring {added:.2f} s, ratio "
        f"{(alone + added) / alone:.4f}; tables and page {end:.2f} s, ratio with them "
        f"{(alone + added + end) / alone:.4f}; peak memory {memory[len(memory) // 4]} MB after a quarter, "
        f"{memory[-1]} MB after all images",
        flush=True,
    )


def main() -> None:
    """Read the arguments and run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--networks", nargs="+", default=["vgg16", "resnet50"])
    parser.add_argument("--regions", default="chest")
    parser.add_argument("--target", choices=["predicted", "all"], default="predicted")
    parser.add_argument("--batch", type=int, default=16)
    given = parser.parse_args()
    for name in given.networks:
        run(name, given.images, given.regions, given.target, given.batch)


if __name__ == "__main__":
    main()

"""Lung fields by five folds of patients, pooled: how well the recipe ``lungs`` does on images it has not seen.

    python tests/benchmarks/lung_fields.py $MIKATA_SHARED/data/lung-masks /tmp/lungs

Every image is tested once, by a network that has seen neither it nor another of its patient; nothing is chosen by the test
parts. The images may not be used commercially: no weights of it are shipped.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

from mikata.datasets import folds, read_segmented
from mikata.evaluation import evaluate_segmentation
from mikata.evaluation.segmenting import report
from mikata.training import recipe as recipes
from mikata.training import train_segmentation


def main() -> None:
    """Train, test and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--recipe", type=Path, default=Path("lungs"))
    parser.add_argument("--folds", type=int, default=5)
    asked = parser.parse_args()
    settings = recipes.read(asked.recipe)
    said = settings.stage.segmentation
    dataset = read_segmented(_table(asked.data, asked.out), kind=said.masks, names=said.names)
    entries, judged = [], []
    for fold in folds(dataset, count=asked.folds, selection=0.15, seed=settings.seed):
        where = asked.out / f"fold {fold.number + 1}"
        run = train_segmentation(dataset, settings, folder=where, parts=fold.parts, resume=True)
        found = evaluate_segmentation(run, fold.parts["test"])
        print(f"fold {fold.number + 1}: {found.leading.value:.4f} of {found.n} images", flush=True)
        entries += found.entries
        judged += found.judged
    for row in report(entries, judged, dataset.reading.names).rows:
        print(f"{row.name}: {row.value:.4f} ({row.low:.4f} to {row.high:.4f}, n = {row.n}, {row.method})")


def _table(data: Path, out: Path) -> Path:
    """The images and masks under the names that Mikata knows."""
    out.mkdir(parents=True, exist_ok=True)
    with (data / "labels.csv").open(encoding="utf-8") as file:
        rows = [(data / row["file"], data / row["mask"], row["patient"]) for row in csv.DictReader(file)]
    table = out / "lungs.csv"
    with table.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("file", "mask", "patient_alias"), *rows])
    return table


if __name__ == "__main__":
    main()

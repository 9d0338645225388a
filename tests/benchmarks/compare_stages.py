"""What learning in stages brings on real images: three tasks, each with none, formula, a related task, and both.

Usage: ``python tests/benchmarks/compare_stages.py OUT [--repeats 5] [--folds 5] [--only tissue view tumour]``

Needs the shared folder of real images (MIKATA_SHARED).

- ``tissue``: texture photographs as the related task, then nine kinds of tissue with nine tiles each.
- ``tumour``: the kind of tissue first, which a non-expert can label, then tumour or not on the same tiles.
- ``view``: texture photographs, then the view (AP or PA) of chest X-rays, split by patient.

Where no patient is known (tiles), folds are tile-wise.
"""

from __future__ import annotations

import argparse
import csv
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from mikata.comparison.running import compare_recipes
from mikata.types import Progress

Row = tuple[str, ...]

# Kather 2016 names its classes otherwise than CRC-VAL-HE-7K and NCT-CRC-HE-100K
_SAME = {
    "ADIPOSE": "ADI", "COMPLEX": "STR", "DEBRIS": "DEB", "EMPTY": "BACK", "LYMPHO": "LYM", "MUCOSA": "NORM",
    "STROMA": "STR", "TUMOR": "TUM",
}  # fmt: skip

_TURNS = "[stage.augmentation]\nflip_horizontal = true\nflip_vertical = true\nquarter_turns = true\n"

_RECIPE = """
[[stage]]
name = "{first}"
data = "{first}.csv"
source = "formula"
network = "small_cnn"
size = [{size}, {size}]
channels = {channels}
epochs = 40
batch = 16
early_stopping = 15
[stage.formula]
classes = 60
per_class = 12
epochs = 20
[[stage]]
name = "{last}"
data = "{last}.csv"
epochs = {epochs}
batch = {batch}
early_stopping = 20
{more}
"""

EXPERIMENTS = {
    "tissue": {"first": "textures", "size": 64, "channels": 3, "epochs": 60, "batch": 8, "more": _TURNS},
    "tumour": {
        "first": "kinds",
        "size": 64,
        "channels": 3,
        "epochs": 60,
        "batch": 8,
        "more": f'balance = "class_weights"\n{_TURNS}',
    },
    "view": {"first": "textures", "size": 64, "channels": 1, "epochs": 25, "batch": 16, "more": ""},
}


def rows_of(folder: Path, row: Callable[[dict[str, str]], Row | None]) -> list[Row]:
    """Rows made of those of the set's own table, which `row` may leave out."""
    with (folder / "labels.csv").open(encoding="utf-8") as stream:
        found = (row(line) for line in csv.DictReader(stream))
        return [(str(folder / one[0]), *one[1:]) for one in found if one is not None]


def write(path: Path, header: Row, rows: Iterable[Row]) -> None:
    with path.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([header, *rows])


def tables(shared: Path, out: Path) -> None:
    """The tables of all data sets, in Mikata's columns."""
    tiles, plain = shared / "histopath", ("file", "label")

    def kind(line: dict[str, str]) -> str:
        return _SAME.get(line["class"], line["class"])

    def colorectal(line: dict[str, str]) -> bool:
        return not line["file"].startswith("breakhis")

    write(
        out / "tissue.csv",
        plain,
        rows_of(
            tiles, lambda r: (r["file"], r["class"]) if r["file"].startswith(("crc_val", "nct_crc")) else None
        ),
    )
    write(out / "kinds.csv", plain, rows_of(tiles, lambda r: (r["file"], kind(r)) if colorectal(r) else None))
    write(
        out / "tumour.csv",
        plain,
        rows_of(
            tiles,
            lambda r: (r["file"], "tumour" if kind(r) == "TUM" else "other") if colorectal(r) else None,
        ),
    )
    write(out / "textures.csv", plain, rows_of(shared / "textures", lambda r: (r["file"], r["class"])))
    write(
        out / "view.csv",
        (*plain, "patient"),
        rows_of(shared / "cxr-view", lambda r: (r["file"], r["label"], r["patient"])),
    )


class Telling(Progress):
    """One line a training."""

    def __init__(self) -> None:
        self._said = ""

    def show(self, message: str, done: int = 0, total: int = 0) -> None:
        where = message.partition(":")[0]
        if "training" in where and where != self._said:
            self._said = where
            print(where, file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--only", nargs="+", choices=EXPERIMENTS, default=list(EXPERIMENTS))
    options = parser.parse_args()
    shared = Path(os.environ.get("MIKATA_SHARED", Path(__file__).parents[3] / "shared")) / "data"
    options.out.mkdir(parents=True, exist_ok=True)
    tables(shared, options.out)
    for name in options.only:
        recipe = options.out / f"{name}.toml"
        recipe.write_text(_RECIPE.format(last=name, **EXPERIMENTS[name]), encoding="utf-8")
        found = compare_recipes(
            [recipe],
            None,
            options.out / name,
            folds=options.folds,
            repeats=options.repeats,
            seed=0,
            overwrite=True,
            progress=Telling(),
        )
        print(f"\n{name}: {found.message}")
        for method in found.comparison.methods:
            for one in method.measured:
                if one.figure in ("accuracy", "balanced_accuracy", "macro_f1", "auc"):
                    interval = f"{one.interval.low:.3f} to {one.interval.high:.3f}"
                    spread = f"SD over repeats {one.over_repeats.sd:.3f}"
                    print(f"  {method.name:10} {one.figure:18} {one.value:.3f} ({interval}; {spread})")
        print(f"  {found.page}")


if __name__ == "__main__":
    main()

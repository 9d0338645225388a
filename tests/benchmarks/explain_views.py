"""Where a network looks that tells AP from PA chest films, measured on real films: a training in stages, then heat.

Usage: ``python tests/benchmarks/explain_views.py OUT [--network small_cnn] [--size 128]``

Needs the shared folder of real images (MIKATA_SHARED). Trains on pictures drawn by formula, then texture photographs,
then the training films; the test films (71 of other patients) are used for the figures alone. Everything is asked for
on the command line, and the region table once more from an ImageJ macro, whose figures must be the same. Prints:

- accuracy on the test films with its interval, on all of them and on those where the source tells nothing;
- share of the heat by class and region (2 x 3) beside figures published for other films, and what the controls say;
- share of the heat on burned-in letters and on the border, and what painting them over does to accuracy and heat.
"""

from __future__ import annotations

import argparse
import csv
import os
import subprocess
import sys
from pathlib import Path

_RECIPE = """
[[stage]]
name = "textures"
data = "textures.csv"
source = "formula"
network = "{network}"
size = [{size}, {size}]
channels = 1
epochs = 30
batch = 16
early_stopping = 10
[stage.formula]
classes = 60
per_class = 12
epochs = 20
[[stage]]
name = "view"
epochs = {epochs}
batch = 16
early_stopping = 20
"""

# Slides on AI in nuclear medicine; the order of the cells (2 rows x 3 columns) is inferred, each class adds up to 100
PUBLISHED = {"AP": (0.8, 24.6, 24.4, 1.6, 36.6, 12.0), "PA": (5.0, 55.4, 8.0, 2.6, 27.4, 1.6)}


def tables(shared: Path, out: Path) -> None:
    """Films with the set's own split by patient, and photographs of textures."""
    for name, columns in (
        ("cxr-view", ("label", "patient", "split", "origin_balanced")),
        ("textures", ("class",)),
    ):
        with (shared / name / "labels.csv").open(encoding="utf-8") as stream:
            rows = [
                (str(shared / name / row["file"]), *(row[c] for c in columns))
                for row in csv.DictReader(stream)
            ]
        header = ("file", *(c.replace("class", "label") for c in columns))
        with (out / f"{name.removeprefix('cxr-')}.csv").open("w", newline="", encoding="utf-8") as stream:
            csv.writer(stream).writerows([header, *rows])


def mikata(*arguments: str | Path) -> str:
    """One command, as a user types it; its output."""
    command = [sys.executable, "-m", "mikata", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}\n{done.stdout}\n{done.stderr}")
    return done.stdout


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as stream:
        return list(csv.DictReader(stream))


def percent(value: str) -> str:
    return f"{100 * float(value):5.1f}"


def shares(folder: Path) -> None:
    """Class by region, beside what is published."""
    found = [row for row in rows(folder / "Heat by Region summary.csv") if row["by"] == "all"]
    for name, published in PUBLISHED.items():
        ours = [row for row in found if row["class"] == name]
        print(f"\n{name}: {ours[0]['n_images']} films of {ours[0]['n_patients_resampled']} patients")
        for row, other in zip(ours, published, strict=True):
            interval = f"({percent(row['low'])} to {percent(row['high'])})"
            print(
                f"  {row['region']:24} {percent(row['heat_share_mean'])} % {interval}"
                f"   area {percent(row['area_share'])} %   published {other:5.1f} %"
            )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("--network", default="small_cnn")
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--epochs", type=int, default=60)
    options = parser.parse_args()
    out = options.out
    out.mkdir(parents=True, exist_ok=True)
    shared = Path(os.environ.get("MIKATA_SHARED", Path(__file__).parents[3] / "shared")) / "data"
    tables(shared, out)
    recipe = out / "view.toml"
    recipe.write_text(
        _RECIPE.format(network=options.network, size=options.size, epochs=options.epochs), encoding="utf-8"
    )
    data, model = out / "view.csv", out / "model"
    print(mikata("train", data, "--recipe", recipe, "--out", model, "--overwrite", "--resume"))

    asked = ["--model", model, "--part", "test", "--target", "true", "--overwrite"]
    print(mikata("heat-by-region", data, *asked, "--regions", "chest", "--out", out / "chest"))
    shares(out / "chest")
    for row in rows(out / "chest" / "Heat by Region controls.csv"):
        print(row)
    macro = Path(__file__).parents[2] / "fiji_scripts" / "examples" / "heat_by_region.ijm"
    given = f"{data};{model};chest;{out / 'macro'};part=test target=true overwrite"
    mikata("macro", macro, "--arg", given)
    for name in ("Heat by Region", "Heat by Region summary", "Heat by Region controls"):
        same = rows(out / "macro" / f"{name}.csv") == rows(out / "chest" / f"{name}.csv")
        print(f"{name}.csv of the macro is {'the same' if same else 'ANOTHER'}")

    print(
        mikata(
            "heat-by-region", data, *asked, "--regions", "marks+border", "--mask-regions",
            "--subset", "origin_balanced=1", "--no-controls", "--out", out / "marks",
        )
    )  # fmt: skip
    for row in rows(out / "marks" / "Heat by Region traps.csv"):
        where = " ".join((row["of"], row["figure"], row["class"], row["region"]))
        print(f"  {where:60} {row['value']:.8} ({row['low']:.8} to {row['high']:.8})")


if __name__ == "__main__":
    main()

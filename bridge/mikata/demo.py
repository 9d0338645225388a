"""`mikata demo`: the main job on real photographs, offline, in minutes.

Three photographs of surfaces that come inside scikit-image's wheel (brick, grass, gravel; CC0, as its
documentation says) are cut into patches: the left half of each photograph trains, a strip beside
it chooses the epoch, the right part is only for the test. A mosaic of pieces of the test part then
shows whether the heat of each class lies on its own texture.
"""

from __future__ import annotations

import csv
import io
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mikata import images, report
from mikata.errors import Cancelled, MikataError, OutputError
from mikata.explanation.display import lut, render
from mikata.language import say
from mikata.learning import sections, train_package
from mikata.outputs import write_csv, write_text, written_folder
from mikata.types import Progress, Table

CLASSES = ("brick", "grass", "gravel")
PATCH = 64
TILE = 128
GOAL_ACCURACY, GOAL_HEAT = 0.95, 0.70

# Columns of the photographs (512 x 512): between the parts no pixel is shared.
_PARTS = {
    "training": (0, 256, 32),
    "selection": (256, 320, 32),
    "test": (320, 512, 64),
}  # from, to, step in px
_MADE = {
    "report": "report.html",
    "image with overlay": "mosaic with heat.tif",
    "heat map, 32-bit": "mosaic heat.tif",
    "table": "Grad-CAM.csv",
    "test images": "test images.csv",
    "model": "textures",
    "model, zipped": "textures.zip",
    "macro": "grad_cam.ijm",
    "image": "mosaic.tif",
    "data": "data",
}
"""What a demo's folder holds, by what it is."""

_MOSAIC = (("brick", "grass", "gravel"), ("gravel", "brick", "grass"))


@dataclass(frozen=True, eq=False)
class HeatShare:
    """How much of a class's positive heat lies inside the tiles of that class."""

    name: str
    share: float
    area: float


def run(out: Path, *, fiji: Path | None, overwrite: bool, progress: Progress) -> dict[str, Path]:
    """Train, package, explain from a macro, report; what was made, by name.

    Raises
    ------
    OutputError
        If `out` is there and is not to be replaced, or holds anything but an earlier demo.
    Cancelled
        If the user stopped it; nothing is left of it then.
    MikataError
        If a step fails, or the package does not pass its own test.
    """
    started = time.monotonic()
    out = out.absolute()
    if out.exists() and not overwrite:
        raise OutputError(
            say("{path} is already there. Choose another folder with --out, or add --overwrite.", path=out)
        )
    if out.exists():
        others = (
            sorted({item.name for item in out.iterdir()} - set(_MADE.values()))
            if out.is_dir()
            else [out.name]
        )
        if others:
            raise OutputError(
                say(
                    "{path} holds other things than a demo's ({names}), which replacing it would lose. "
                    "Choose another folder with --out.",
                    path=out,
                    names=", ".join(others[:5]),
                )
            )
    with written_folder(out) as work:
        _make(work, fiji=fiji, started=started, progress=progress)
    return {what: out / name for what, name in _MADE.items()}


def _make(work: Path, *, fiji: Path | None, started: float, progress: Progress) -> None:
    # ImageJ first: where it cannot be fetched, that is said before the training
    progress.step(say("Start ImageJ"))
    from mikata import imagej

    ij = imagej.start(headless=True, fiji=fiji)
    photographs = {name: photograph(name) for name in CLASSES}
    table = cut(work / "data", photographs)
    mosaic, truth = make_mosaic(photographs)
    images.write_tiff(work / "mosaic.tif", images.from_array(mosaic, "YX", title="mosaic"))

    package = work / "textures"
    learnt = train_package(
        table,
        package,
        recipe=Path("texture"),
        name="Textures of the Mikata demo",
        licence="CC0-1.0",
        source="Photographs brick, grass and gravel that come with scikit-image (CC0).",
        # the photographs are in the public domain, so a piece of one may travel with the model
        test_image=photographs["brick"][None, :PATCH, 320 : 320 + PATCH].astype(np.float32),
        cover=np.repeat(mosaic[..., None], 3, axis=2),
        progress=progress,
    )
    if learnt.run.stopped_by == "interrupted":
        raise Cancelled
    learnt.page.unlink()  # the demo's own report holds the same
    learnt.test_images.rename(work / _MADE["test images"])
    if not learnt.checked.passed:
        raise MikataError(
            say(
                "The demo's package does not pass its own test: {problems}",
                problems="; ".join(learnt.checked.problems),
            )
        )

    progress.step(say("Explain in ImageJ"))
    macro = work / "grad_cam.ijm"
    shutil.copyfile(_macros() / "grad_cam.ijm", macro)
    before = len(ij.results().rows)
    ij.run_macro_file(macro, f"{work / 'mosaic.tif'};{package};{work}")
    results = ij.results()
    results = Table("Grad-CAM", results.columns, results.rows[before:])
    write_csv(work / "Grad-CAM.csv", results)
    ij.close_all()

    heat = images.read(work / "mosaic heat.tif")
    shares = heat_shares(heat.array, truth)
    progress.step(say("Write the report"))
    lead = say(
        "A network learnt three textures from one part of three photographs, was tested on another part, and "
        "was asked by an ImageJ macro where it sees each of them in a mosaic it had never seen."
    )
    content = [
        (say("Where the network looked"), _heat_section(mosaic, heat.array, shares, results)),
        (
            say("What the figures mean"),
            report.paragraph(
                say(
                    "Training, selection and test patches come from separate parts of the same three "
                    "photographs, one for each class. The figures say how well these three surfaces are told "
                    "apart, not how well brick is known from grass in the world."
                )
            ),
        ),
        *sections(learnt),
        (
            say("Versions"),
            report.pairs(
                report.versions()
                | {
                    "ImageJ": ij.version,
                    say("time"): say("{seconds:.0f} s", seconds=time.monotonic() - started),
                }
            ),
        ),
    ]
    write_text(
        work / "report.html", report.page(say("Mikata demo: from photographs to a heat map"), lead, content)
    )


def _macros() -> Path:
    """The example macros, which the wheel carries, or their place in the source folder."""
    package = Path(__file__).parent
    installed = package / "_data" / "fiji_scripts" / "examples"
    return installed if installed.is_dir() else package.parents[1] / "fiji_scripts" / "examples"


def photograph(name: str) -> NDArray[np.uint8]:
    """One of the photographs (512, 512)."""
    from skimage import data

    return np.asarray(getattr(data, name)(), np.uint8)


def cut(folder: Path, photographs: dict[str, NDArray[np.uint8]]) -> Path:
    """Patches as PNG files, and the CSV that names their class and part."""
    from PIL import Image as Pillow

    rows = []
    for name, photograph in photographs.items():
        for part, (left, right, step) in _PARTS.items():
            (folder / part / name).mkdir(parents=True)
            for y in range(0, photograph.shape[0] - PATCH + 1, step):
                for x in range(left, right - PATCH + 1, step):
                    file = Path(part) / name / f"x{x:03} y{y:03}.png"
                    Pillow.fromarray(photograph[y : y + PATCH, x : x + PATCH]).save(folder / file)
                    rows.append((file.as_posix(), name, part, "photograph"))
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(("file", "label", "split", "reference"))
    writer.writerows(rows)
    return write_text(folder / "patches.csv", buffer.getvalue())


def make_mosaic(photographs: dict[str, NDArray[np.uint8]]) -> tuple[NDArray[np.uint8], NDArray[np.intp]]:
    """A picture of pieces of the test part, and for each pixel the number of its class."""
    left = _PARTS["test"][0]
    rows, truth = [], []
    for row, names in enumerate(_MOSAIC):
        top = row * 256
        tiles = [photographs[n][top : top + TILE, left : left + TILE] for n in names]
        rows.append(np.hstack(tiles))
        truth.append(np.hstack([np.full((TILE, TILE), CLASSES.index(n)) for n in names]))
    return np.vstack(rows), np.vstack(truth)


def heat_shares(heat: NDArray[np.float32], truth: NDArray[np.intp]) -> list[HeatShare]:
    """Share of each class's heat (K, H, W) that lies where `truth` (H, W) holds that class."""
    shares = []
    for k, name in enumerate(CLASSES):
        inside = truth == k
        total = float(heat[k].sum(dtype=np.float64))
        share = float(heat[k][inside].sum(dtype=np.float64)) / total if total else 0.0
        shares.append(HeatShare(name, share, float(inside.mean())))
    return shares


def _heat_section(
    mosaic: NDArray[np.uint8], heat: NDArray[np.float32], shares: list[HeatShare], results: Table
) -> str:
    maximum = float(heat.max())
    grey = np.repeat(mosaic[..., None], 3, axis=2)
    shown = [report.picture(grey, say("The mosaic: pieces of the test part, two of each texture."), 384)]
    shown += [
        report.picture(
            render(grey, heat[k], maximum=maximum, opacity_percent=70),
            say("{name}: {share:.1%} of the heat inside its tiles.", name=share.name, share=share.share),
            384,
        )
        for k, share in enumerate(shares)
    ]
    rows = tuple(
        (s.name, f"{s.share:.1%}", f"{s.area:.1%}", say("yes") if s.share >= GOAL_HEAT else say("NO"))
        for s in shares
    )
    columns = (
        say("class"),
        say("positive heat inside its tiles"),
        say("area of its tiles"),
        say("goal reached: {goal:.0%}", goal=GOAL_HEAT),
    )
    scale = np.repeat(lut("Fire")[None], 14, axis=0)
    return (
        report.pictures(shown)
        + report.picture(
            scale, say("Heat from 0 to {maximum:.3g}, the same for all maps.", maximum=maximum), 256
        )
        + report.paragraph(
            say(
                "Heat without a reason would lie inside a class's tiles by their share of the area; one mosaic "
                "(n = 1), so no interval."
            )
        )
        + report.table(Table("", columns, rows))
        + report.paragraph(say("The Results table that the macro left in ImageJ (Grad-CAM.csv):"))
        + report.table(results)
    )

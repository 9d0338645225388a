"""The whole chain once, on small pieces of photographs, through the functions that the commands call.

It trains, tests, packages, checks the package, predicts and explains in a temporary folder, on the device that
work would run on. How well the network does is not judged: one epoch is for the machine, not for the network.
"""

from __future__ import annotations

import math
import tempfile
import time
from pathlib import Path

from mikata.checkup.rows import Row, words
from mikata.errors import Cancelled, MikataError
from mikata.language import say
from mikata.outputs import write_text
from mikata.types import Progress

_CLASSES = ("brick", "grass", "gravel")  # photographs inside scikit-image's wheel
_PATCH = 64
_EPOCHS = 1
# Per class, as columns of the photographs (512 px wide): no part shares a pixel with another
_PARTS = {"training": (0, 256), "selection": (256, 320), "test": (320, 384)}


def run(progress: Progress) -> Row:
    """Try everything; the reason in its own words where it does not work.

    Raises
    ------
    Cancelled
        If the user stopped it.
    """
    started = time.monotonic()
    try:
        # Windows cannot delete a file that some library still holds open
        with tempfile.TemporaryDirectory(prefix="mikata-doctor-", ignore_cleanup_errors=True) as folder:
            device = _chain(Path(folder), progress)
    except Cancelled:
        raise
    except MikataError as error:  # says by itself what to do
        return Row(say("Self-test"), say("Failed: {words}", words=words(str(error))), "problem")
    except Exception as error:  # whatever goes wrong is what the user wants to know
        return Row(
            say("Self-test"),
            say("Failed: {words}", words=words(error)),
            "problem",
            say(
                "Install Mikata again in a new virtual environment; if it fails there too, report this table."
            ),
        )
    seconds = time.monotonic() - started
    return Row(
        say("Self-test"),
        say(
            "Passed in {seconds:.0f} s on {device}: trained, packaged, predicted and explained.",
            seconds=seconds,
            device=device,
        ),
    )


def _chain(folder: Path, progress: Progress) -> str:
    """Train, package, predict, explain; the device that was used."""
    from mikata.explanation.runs import explain_images
    from mikata.learning import train_package
    from mikata.prediction import predict_images

    data = _cut(folder / "data")
    learnt = train_package(
        data / "patches.csv",
        folder / "textures",
        recipe=Path("texture"),
        changes={"epochs": _EPOCHS},
        name="Mikata self-test",
        progress=progress,
    )
    if learnt.run.stopped_by == "interrupted":
        raise Cancelled
    if not learnt.checked.passed:
        raise MikataError(
            say(
                "The package does not pass its own test: {problems}",
                problems="; ".join(learnt.checked.problems),
            )
        )
    images = data / "test"
    predicted = predict_images(images, learnt.package, subfolders=True, progress=progress)
    wanted = len(list(images.rglob("*.png")))
    rows = predicted.tables[0].rows
    shares = [row[-len(_CLASSES) :] for row in rows]
    if len(rows) != wanted or not all(math.isclose(sum(share), 1, abs_tol=1e-3) for share in shares):
        raise MikataError(say("The predictions are no probabilities."))
    heat = folder / "heat"
    explain_images(
        sorted(images.rglob("*.png"))[0], learnt.package, target="all", out=heat, progress=progress
    )
    _check_heat(heat)
    return learnt.run.device


def _cut(folder: Path) -> Path:
    """Pieces of the photographs in folders of the parts, and the CSV that says what they are."""
    import numpy as np
    from PIL import Image as Pillow
    from skimage import data

    lines = ["file,label,split,reference"]
    for name in _CLASSES:
        photograph = np.asarray(getattr(data, name)(), np.uint8)
        for part, (left, right) in _PARTS.items():
            place = folder / part / name
            place.mkdir(parents=True)
            for y in range(0, photograph.shape[0] - _PATCH + 1, _PATCH):
                for x in range(left, right - _PATCH + 1, _PATCH):
                    patch = photograph[y : y + _PATCH, x : x + _PATCH]
                    file = place / f"x{x:03} y{y:03}.png"
                    Pillow.fromarray(patch).save(file)
                    lines.append(f"{file.relative_to(folder).as_posix()},{name},{part},photograph")
    write_text(folder / "patches.csv", "\n".join(lines) + "\n")
    return folder


def _check_heat(folder: Path) -> None:
    import numpy as np

    from mikata import images

    maps = [images.read(path).values() for path in folder.glob("* heat.tif")]
    if not maps or not all(np.isfinite(values).all() and values.max() > 0 for values in maps):
        raise MikataError(say("The heat maps are empty or hold no numbers."))

"""Images through a network from images to images, and what it finds as a command's result.

Each image is read, run, drawn and written before the next one, so that of thousands only the tables grow.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mikata import regions
from mikata.errors import ImageError, NetworkError
from mikata.images import Images, write_tiff
from mikata.language import joined, say
from mikata.networks import PixelNetwork, instances, pixel_network
from mikata.outputs import ResultFolder
from mikata.prediction import plane_name, skipped_note
from mikata.segmenting.asked import Asked, Reading, reading_of
from mikata.segmenting.pictures import label_colours, marks, outlines, position, scaled, without_earlier
from mikata.segmenting.plane import Found, look
from mikata.segmenting.tables import empty_rows, object_columns, object_rows, plane_columns, plane_rows
from mikata.tiling import Difference, Plan, PlaneValues, Tiler, zeros
from mikata.types import Image, Progress, Region, Result, Table

_LABELS, _ROIS, _PROBABILITIES = " labels", " ROIs", " probabilities"
_RESTORED = " restored"
_LARGEST = 2**32 - 2**25  # bytes of pixels in an ImageJ TIFF
_STEPS = 1000  # of a plane in the progress bar
_SIXTEEN_BIT = 65535


@dataclass
class _Totals:
    """What a run adds up over its images."""

    rows: list[tuple[Any, ...]] = field(default_factory=list)
    plane_rows: list[tuple[Any, ...]] = field(default_factory=list)
    images: int = 0
    planes: int = 0
    tiles: int = 0
    apart: list[Difference] = field(default_factory=list)
    blended: Plan | None = None


@dataclass
class _Made:
    """What is made of one image."""

    labels: Image | None = None
    output: Image | None = None
    regions: list[Region] = field(default_factory=list)
    any: bool = False


def segment_images(
    images: Any,
    model: Path,
    *,
    asked: Asked,
    subfolders: bool = False,
    out: Path | None = None,
    overwrite: bool = False,
    roi_manager: bool = False,
    progress: Progress,
) -> Result:
    """Run every plane of all images through a network; the work of Segment Images and Detect Objects.

    Parameters
    ----------
    images:
        Whatever `Images.of` takes.
    model:
        Folder or zip of a package.
    asked:
        What is wanted.
    subfolders:
        Whether folders inside a folder are searched too.
    out:
        Folder for the results, or None to return them as images, overlays and tables.
    overwrite:
        Whether files there may be replaced.
    roi_manager:
        Whether the ROIs are to go into ImageJ's ROI Manager too.

    Raises
    ------
    NetworkError
        If the network is a classifier, or its output is not what its package says.
    PackageError, ImageError, OutputError
        As the package, images and folder make it.
    """
    source = Images.of(images, recursive=subfolders)
    network = pixel_network(model)
    reading = reading_of(network, asked.least)
    _refuse(asked, reading, network)
    folder = ResultFolder(out, overwrite, source.paths) if out else None
    names = _file_names(folder, source, asked, reading) if folder else {}
    tiler = Tiler(network, tile_px=asked.tile_px)
    totals = _Totals()
    shown: list[Image] = []
    files: list[Path] = []
    manager: list[Region] = []
    overlay: tuple[Region, ...] | None = None
    replaced = 0
    first_error: ImageError | None = None
    for number, (name, image) in enumerate(source.items()):
        made, error = _one(
            name, image, tiler, reading, asked, source, totals, progress, (number, len(source)), bool(folder)
        )
        first_error = first_error or error
        if not made.any:
            continue
        totals.images += 1
        if roi_manager:
            ending = f" {name}" if len(source) > 1 else ""
            manager += [Region(one.data, one.name + ending) for one in made.regions]
        if folder:
            files += _write(folder, names[name], made, asked)
            continue
        shown += [one for one in (made.labels, made.output) if one is not None]
        if not asked.rois or reading.kind == "image" or network.scale > 1:
            continue
        kept = without_earlier(image.overlay)
        replaced += len(image.overlay) - len(kept)
        drawn = (*kept, *made.regions)
        if isinstance(images, Image):
            overlay = drawn  # the door has this image on show
        else:
            shown.append(image.replace(overlay=drawn))
    if not totals.planes and first_error is not None:
        raise first_error
    tables = _tables(network, reading, totals, asked)
    if folder:
        files += [folder.write_table(f"{table.title}.csv", table) for table in tables]
        folder.clear(
            [f"{name}{end}" for name in names.values() for end in _ends(asked, reading)]
            + [f"{asked.table_name}.csv"],
            files,
        )
    notice = say("Research use, not for diagnosis.")
    message = joined(_message(network, reading, tiler, totals, asked))
    if replaced:
        message += " " + say(
            "{count} ROI(s) of an earlier run, which lay over the image, were replaced.", count=replaced
        )
    return Result(
        f"{message}{skipped_note(source)} {notice}",
        overlay=overlay,
        images=tuple(shown),
        tables=tables,
        manager=tuple(manager),
        files=tuple(files),
    )


def _one(
    name: str,
    image: Image,
    tiler: Tiler,
    reading: Reading,
    asked: Asked,
    source: Images,
    totals: _Totals,
    progress: Progress,
    turn: tuple[int, int],
    to_file: bool,
) -> tuple[_Made, ImageError | None]:
    """All planes of one image; a plane that does not suit the network is listed and left empty."""
    network = tiler.network
    depth, times = image.size("Z"), image.size("T")
    height, width = image.size("Y") * network.scale, image.size("X") * network.scale
    whole = asked.probabilities or reading.kind == "image"
    made = _Made()
    first_error: ImageError | None = None
    output: NDArray[np.float32] | None = None
    labels: NDArray[Any] | None = None
    of_objects = asked.labels_of == "objects" or (
        asked.labels_of == "automatic" and network.meaning == "instances"
    )
    if whole:
        shape = (times, depth, len(network.outputs), height, width)
        if to_file and 4 * int(np.prod(shape, dtype=np.int64)) > _LARGEST:
            too_large = ImageError(
                say(
                    "{image}: the network's output would take more than the 4 GB of an ImageJ TIFF. Take a part of the "
                    "image, or do not ask for its probabilities.",
                    image=name,
                )
            )
            source.skipped.append((image.path or Path(name), str(too_large)))
            return made, too_large
        output = zeros(shape, np.float32)
    for t in range(times):
        for z in range(depth):
            where = plane_name(image, name, z + 1, t + 1)
            place = name, z + 1, t + 1
            begun = (turn[0] * depth * times + t * depth + z) * _STEPS
            total = turn[1] * depth * times * _STEPS

            def told(
                done: int, tiles: int, where: str = where, begun: int = begun, total: int = total
            ) -> None:
                words = (
                    say("{image}: tile {done} of {count}", image=where, done=done, count=tiles)
                    if tiles > 1
                    else where
                )
                progress.step(words, begun + _STEPS * done // max(1, tiles), total)

            try:
                plane = PlaneValues(image, z + 1, t + 1, network, where)
                found = look(tiler, plane, reading, asked, None if output is None else output[t, z], told)
            except ImageError as error:
                first_error = first_error or error
                source.skipped.append((image.path or Path(name), str(error)))
                totals.plane_rows += empty_rows(place, reading)
                continue
            made.any = True
            _add_up(totals, found, tiler)
            totals.rows += object_rows(place, image, found, reading, network)
            totals.plane_rows += plane_rows(place, found, reading, None if output is None else output[t, z])
            # where the ROIs will lie: on the image, or on the labels of another size
            at = position(image if network.scale == 1 else (depth, times, reading.layers), z + 1, t + 1)
            if found.objects is not None and found.classes is not None:
                if asked.labels:
                    labels = _label_planes(labels, found, of_objects, (times, depth), (t, z))
                if asked.rois and found.measured is not None:
                    made.regions += outlines(
                        found.objects,
                        found.measured,
                        reading.names,
                        at,
                        background=tiler.network.meaning != "mask",
                        menu=asked.menu,
                    )
            elif asked.rois and found.points:
                made.regions += marks(found.points, reading.names, at, asked.mark == "boxes", asked.menu)
    if made.any:
        _pictures(made, image, name, network, reading, labels, output, asked)
    return made, first_error


def _add_up(totals: _Totals, found: Found, tiler: Tiler) -> None:
    totals.planes += 1
    totals.tiles += found.plan.count
    if tiler.difference is not None:
        totals.apart.append(tiler.difference)
        totals.blended = totals.blended or found.plan


def _label_planes(
    labels: NDArray[Any] | None,
    found: Found,
    of_objects: bool,
    stack: tuple[int, int],
    place: tuple[int, int],
) -> NDArray[Any]:
    """Put the labels of a plane into those of its stack (T, Z, M, H, W), made with the first one.

    Objects are 16-bit, and 32-bit where one of the planes has more than 65535.
    """
    assert found.objects is not None
    assert found.classes is not None
    own: NDArray[Any] = found.objects.labels if of_objects else found.classes
    if labels is None:
        kind: Any = np.uint16 if of_objects else own.dtype
        labels = zeros((*stack, *own.shape), kind)
    if of_objects and len(found.objects) > _SIXTEEN_BIT and labels.dtype == np.uint16:
        larger = zeros(labels.shape, np.float32)
        larger[:] = labels
        labels = larger
    if of_objects:
        labels[place] = own
        return labels
    for layer in range(len(own)):  # masks that may overlap: each its own channel and number
        np.multiply(own[layer], layer + 1, out=labels[(*place, layer)], casting="unsafe")
    return labels


def _pictures(
    made: _Made,
    image: Image,
    name: str,
    network: PixelNetwork,
    reading: Reading,
    labels: NDArray[Any] | None,
    output: NDArray[np.float32] | None,
    asked: Asked,
) -> None:
    """Label image and output of one image."""
    if labels is not None:
        highest = 255.0
        if labels.dtype != np.uint8:
            highest = max(
                highest, float(max(plane.max() for plane in labels.reshape(-1, *labels.shape[-2:])))
            )
        made.labels = scaled(
            image,
            labels,
            network.scale,
            f"{name}{_LABELS}",
            labels.shape[2],
            luts=(label_colours(),),
            display_ranges=((0.0, highest),),
        )
        if network.scale > 1 and asked.rois:
            made.labels = made.labels.replace(overlay=tuple(made.regions))
    if output is not None:
        restored = reading.kind == "image"
        planes = output.shape[0] * output.shape[1]
        made.output = scaled(
            image,
            output,
            network.scale,
            f"{name}{_RESTORED if restored else _PROBABILITIES}",
            output.shape[2],
            display_ranges=() if restored else ((0.0, 1.0),),
            value_unit=network.value_unit if network.meaning == "image" else "grey",
            slice_labels=tuple(network.outputs) * planes if output.shape[2] > 1 else (),
        )


def _ends(asked: Asked, reading: Reading) -> tuple[str, ...]:
    """How the names of an image's files end."""
    if reading.kind == "image":
        return (f"{_RESTORED}.tif",)
    ends = []
    if asked.labels and reading.kind == "regions":
        ends.append(f"{_LABELS}.tif")
    if asked.rois:
        ends.append(f"{_ROIS}.zip")
    if asked.probabilities:
        ends.append(f"{_PROBABILITIES}.tif")
    return tuple(ends)


def _file_names(folder: ResultFolder, source: Images, asked: Asked, reading: Reading) -> dict[str, str]:
    """What each image's files are called; none of them may be there already."""
    names = {name: folder.unique(name) for name in source.names}
    tables = [f"{asked.table_name} planes.csv"]
    if reading.kind != "image":
        tables.insert(0, f"{asked.table_name}.csv")
    folder.reserve([*tables, *(f"{name}{end}" for name in names.values() for end in _ends(asked, reading))])
    return names


def _write(folder: ResultFolder, name: str, made: _Made, asked: Asked) -> list[Path]:
    files = []
    if made.labels is not None:
        files.append(write_tiff(folder.path(f"{name}{_LABELS}.tif"), made.labels))
    if made.output is not None:
        ending = _PROBABILITIES if made.output.title.endswith(_PROBABILITIES) else _RESTORED
        files.append(write_tiff(folder.path(f"{name}{ending}.tif"), made.output))
    if asked.rois and made.regions:
        files.append(regions.write(folder.path(f"{name}{_ROIS}.zip"), made.regions))
    return files


def _tables(network: PixelNetwork, reading: Reading, totals: _Totals, asked: Asked) -> tuple[Table, ...]:
    planes = Table(
        f"{asked.table_name} planes", plane_columns(reading), tuple(totals.plane_rows), append=False
    )
    if reading.kind == "image":
        return (planes,)
    return Table(asked.table_name, object_columns(network, reading), tuple(totals.rows)), planes


def _message(
    network: PixelNetwork, reading: Reading, tiler: Tiler, totals: _Totals, asked: Asked
) -> list[str]:
    facts = {"planes": totals.planes, "images": totals.images, "model": network.path.name}
    if reading.kind == "image":
        sentences = [say("{planes} plane(s) of {images} image(s) run through {model}.", **facts)]
        if network.meaning == "unknown":
            sentences.append(
                say("Its package does not say what the numbers are: they are given as they come.")
            )
    elif reading.kind == "points":
        sentences = [
            say(
                "{planes} plane(s) of {images} image(s) run through {model}: {count} place(s) with a score of "
                "{percent:g}% or more.",
                count=len(totals.rows),
                percent=round(100 * reading.least, 6),
                **facts,
            )
        ]
    else:
        sentences = [
            say(
                "{planes} plane(s) of {images} image(s) segmented by {model}: {count} object(s).",
                count=len(totals.rows),
                **facts,
            )
        ]
        settings = network.settings or {}
        if reading.parted is not None and instances.SEED in settings:
            sentences.append(
                say(
                    "Objects are pixels with a probability of {foreground:g} or more, parted from seeds of {seed:g} or more, and "
                    "have {smallest} px or more.",
                    foreground=reading.least or settings.get(instances.FOREGROUND, 0.5),
                    seed=settings[instances.SEED],
                    smallest=asked.least_px or max(1, int(np.ceil(settings.get(instances.SMALLEST, 0.0)))),
                )
            )
    if totals.apart:
        most = max(one.largest for one in totals.apart)
        mean = float(np.mean([one.mean for one in totals.apart]))
        sentences.append(
            say(
                "Tiles are blended, since it is not known how far around a pixel the network looks, or no tile is large "
                "enough for it: where two of them overlap, their outputs differ by {mean:.2g} on average and {most:.2g} "
                "at most.",
                mean=mean,
                most=most,
            )
        )
    if tiler.halved:
        sentences.append(
            say(
                "Memory did not suffice: the tiles were made half as large {count} time(s).",
                count=tiler.halved,
            )
        )
    return sentences


def _refuse(asked: Asked, reading: Reading, network: PixelNetwork) -> None:
    """Refuse what the network cannot give (`NetworkError`)."""
    if asked.menu == "Detect Objects" and reading.kind != "points":
        raise NetworkError(
            say(
                "{model} gives no points with scores, which Detect Objects needs. Use Segment Images for it.",
                model=network.path.name,
            )
        )
    if reading.kind == "image" and asked.make == "rois":
        raise NetworkError(
            say(
                "{model} makes an image and knows no objects: there are no ROIs of it.",
                model=network.path.name,
            )
        )

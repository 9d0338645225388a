"""The words everything else is said in: Image, Region, Table, Plot, Result, Progress.

All are frozen. This module imports neither NumPy nor Java at run time, so that a
command's signature can be read without loading either.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mikata.errors import Cancelled, ImageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

AXES = "TZCYX"
"""Order of an image's axes, ImageJ's own; a colour (RGB) image ends in S, the three samples."""


@dataclass(frozen=True)
class ValueCalibration:
    """How stored pixel values become calibrated ones, as ImageJ writes it down.

    Attributes
    ----------
    coefficients:
        Of ImageJ's function, lowest power first; ``(intercept, slope)`` for a straight line.
    unit:
        Unit of the calibrated values, such as ``HU`` or ``Bq/mL``.
    function:
        ImageJ's number of the function (``ij.measure.Calibration``): 0 straight line,
        1, 2, 3 polynomial of degree 2, 3, 4. Others are refused by :meth:`Image.values`.
    """

    coefficients: tuple[float, ...] = (0.0, 1.0)
    unit: str = "grey"
    function: int = 0


@dataclass(frozen=True, eq=False)
class Image:
    """Pixels with their axes and calibration.

    Attributes
    ----------
    array:
        Stored values: uint8, uint16 or float32; uint8 with a last axis of 3 for colour.
    axes:
        One letter for each axis of `array`, out of ``TZCYX`` in that order, always with ``YX``,
        then ``S`` for a colour image. Axes of length 1 are left out, except Y and X.
    title:
        The image's name, as in ImageJ's window title.
    pixel_size:
        Size of a voxel along x, y and z in `unit`.
    unit:
        Unit of `pixel_size`; ``pixel`` when uncalibrated.
    frame_interval_s:
        Time between frames in seconds, 0 when unknown.
    calibration:
        How stored values become calibrated ones; None: they are the values.
    value_unit:
        Unit of the values where `calibration` is None (``grey`` when nothing is known).
    luts:
        One (3, 256) uint8 array for each channel (rows red, green, blue); empty: grey.
    display_ranges:
        One (minimum, maximum) of stored values for each channel; empty: ImageJ decides.
    mode:
        How ImageJ shows channels: ``grayscale``, ``color`` or ``composite``; empty for one channel and for
        colour (RGB) images. Several channels without a mode get one: ``color`` with LUTs, else ``grayscale``.
    slice_labels:
        One for each plane, in ImageJ's order (channel fastest, then slice, then frame), or empty. Readers
        leave them empty unless asked to keep metadata, since they may name a patient.
    overlay:
        ROIs drawn over the image.
    roi:
        The selection, or None.
    info:
        The text of ImageJ's Image > Show Info. Readers leave it empty unless asked to keep
        metadata, since it may name a patient.
    path:
        The file it came from, or None.
    """

    array: NDArray[Any]
    axes: str
    title: str = ""
    pixel_size: tuple[float, float, float] = (1.0, 1.0, 1.0)
    unit: str = "pixel"
    frame_interval_s: float = 0.0
    calibration: ValueCalibration | None = None
    value_unit: str = "grey"
    luts: tuple[NDArray[np.uint8], ...] = ()
    display_ranges: tuple[tuple[float, float], ...] = ()
    mode: str = ""
    slice_labels: tuple[str, ...] = ()
    overlay: tuple[Region, ...] = ()
    roi: Region | None = None
    info: str = ""
    path: Path | None = None

    def __post_init__(self) -> None:
        letters = self.axes.removesuffix("S")
        if (
            len(self.axes) != self.array.ndim
            or not letters.endswith("YX")
            or [a for a in AXES if a in letters] != list(letters)
        ):
            raise ImageError(
                f"An image of shape {self.array.shape} cannot have the axes '{self.axes}': "
                f"one letter an axis, out of {AXES} in that order, and S last for colour."
            )
        if self.axes.endswith("S") and (self.array.shape[-1] != 3 or self.array.dtype.name != "uint8"):
            raise ImageError(
                f"A colour image has 3 samples of uint8, not {self.array.shape[-1]} of {self.array.dtype}."
            )
        if self.array.dtype.name not in ("uint8", "uint16", "float32"):
            raise ImageError(f"ImageJ knows 8-bit, 16-bit and 32-bit float pixels, not {self.array.dtype}.")
        if not self.mode and self.size("C") > 1 and not self.is_colour:
            object.__setattr__(self, "mode", "color" if self.luts else "grayscale")

    @property
    def is_colour(self) -> bool:
        """Whether each pixel is red, green and blue."""
        return self.axes.endswith("S")

    def size(self, axis: str) -> int:
        """Length of an axis, 1 where the image has none of that name."""
        index = self.axes.find(axis)
        return int(self.array.shape[index]) if index >= 0 else 1

    @property
    def calibrated_unit(self) -> str:
        """Unit of what :meth:`values` returns."""
        return self.calibration.unit if self.calibration else self.value_unit

    def values(self) -> NDArray[np.float32]:
        """All pixels as calibrated 32-bit values, in the shape of `array`.

        Raises
        ------
        ImageError
            If the calibration function is not a polynomial (density and custom tables).
        """
        import numpy as np

        stored = self.array.astype(np.float32, copy=False)
        if self.calibration is None:
            return stored
        if self.calibration.function not in (0, 1, 2, 3):
            raise ImageError(
                f"{self.title}: its value calibration (ImageJ function {self.calibration.function}) is not a "
                "polynomial. In ImageJ, convert it with Image > Type > 32-bit first."
            )
        # float64 inside: 65535 * slope + intercept loses whole units of the result in float32
        result = np.polynomial.polynomial.polyval(
            self.array.astype(np.float64), self.calibration.coefficients
        )
        return np.asarray(result, np.float32)

    def frames(self) -> Iterator[Frame]:
        """The planes one by one, slices within frames, channels together."""
        import numpy as np

        values = self.values()
        order = [a for a in "TZCYX" if a in self.axes]
        channels_last = self.is_colour
        for t in range(self.size("T")):
            for z in range(self.size("Z")):
                index: list[Any] = [slice(None)] * values.ndim
                if "T" in order:
                    index[order.index("T")] = t
                if "Z" in order:
                    index[order.index("Z")] = z
                plane = values[tuple(index)]
                if channels_last and plane.ndim == 4:  # C, Y, X, S: colour channels side by side
                    plane = np.moveaxis(plane, -1, 1).reshape(-1, *plane.shape[1:3])
                elif channels_last:
                    plane = np.moveaxis(plane, -1, 0)
                elif plane.ndim == 2:
                    plane = plane[None]
                yield Frame(np.ascontiguousarray(plane), z + 1, t + 1, self._label(z, t))

    def _label(self, z: int, t: int) -> str:
        if not self.slice_labels:
            return ""
        return self.slice_labels[(t * self.size("Z") + z) * self.size("C")]

    def replace(self, **changes: Any) -> Image:
        """A copy with some attributes changed."""
        return replace(self, **changes)


@dataclass(frozen=True, eq=False)
class Frame:
    """One plane of an image: calibrated values (channels, height, width) and where it stands.

    `z` and `t` count from 1, as ImageJ's slices and frames do.
    """

    values: NDArray[np.float32]
    z: int = 1
    t: int = 1
    label: str = ""


@dataclass(frozen=True)
class Region:
    """A ROI, as ImageJ's own ``.roi`` bytes: the one form for overlays, zips, files and the wire.

    `mikata.regions` makes and reads them.
    """

    data: bytes = field(repr=False)
    name: str = ""


@dataclass(frozen=True)
class Table:
    """Rows under named columns; a column's name carries its unit (``area_mm2``).

    `append` says whether the rows join ImageJ's Results table or get a window of their own.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    append: bool = True


@dataclass(frozen=True)
class Plot:
    """Lines over one x axis: `series` is (name, x values, y values)."""

    title: str
    x_label: str
    y_label: str
    series: tuple[tuple[str, tuple[float, ...], tuple[float, ...]], ...]


@dataclass(frozen=True)
class Result:
    """What a command returns.

    Attributes
    ----------
    message:
        One or two sentences for the status line and the console.
    overlay:
        ROIs for the image the command worked on (their positions say which slice); None leaves
        that image's overlay as it is.
    images, tables, plots:
        To be shown by the door.
    manager:
        ROIs for ImageJ's ROI Manager.
    files:
        What the command itself has written.
    page:
        One of them that a person at a screen wants to see at once: a report (HTML).
    stopped:
        Whether the user stopped it before its end; what it then holds is complete in itself.
    """

    message: str
    overlay: tuple[Region, ...] | None = None
    images: tuple[Image, ...] = ()
    tables: tuple[Table, ...] = ()
    plots: tuple[Plot, ...] = ()
    manager: tuple[Region, ...] = ()
    files: tuple[Path, ...] = ()
    page: Path | None = None
    stopped: bool = False


class Progress:
    """How a command tells its door how far it is, and learns that it should stop.

    This one is silent; doors derive theirs and override `show` and `cancelled`.
    """

    def show(self, message: str, done: int = 0, total: int = 0) -> None:
        """Show `done` of `total` steps (0 of 0: no bar), with a few words."""

    @property
    def cancelled(self) -> bool:
        """Whether the user asked to stop."""
        return False

    def step(self, message: str, done: int = 0, total: int = 0) -> None:
        """Show, and raise `Cancelled` if the user asked to stop: call it in every long loop."""
        self.show(message, done, total)
        self.check()

    def check(self) -> None:
        """Raise `Cancelled` if the user asked to stop."""
        if self.cancelled:
            raise Cancelled


SILENT: Progress = Progress()

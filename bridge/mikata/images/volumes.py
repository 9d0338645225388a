"""NIfTI, by nibabel, and NumPy's own files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError

from mikata.errors import ImageError
from mikata.images.arrays import from_array
from mikata.images.lengths import converted
from mikata.language import say
from mikata.types import Image

orientations: Any = nibabel.orientations

_LENGTHS = {"mm": "mm", "meter": "m", "micron": "µm"}
_SECONDS = {"sec": 1.0, "msec": 1e-3, "usec": 1e-6}


def read_nifti(path: Path, keep_metadata: bool) -> Image:
    """Read a NIfTI-1 or -2 file (.nii, .nii.gz).

    The voxels are flipped and swapped, never resampled, to the nearest of the body's axes, as DICOM and
    radiologists look at slices: x towards the patient's left, y towards the back, z towards the head. A
    single slice that lies otherwise (sagittal, coronal) stays as stored. The fourth dimension is time, the
    fifth the channels. Slope and intercept are applied (calibrated float32); without them the stored
    numbers are kept. Sizes are in mm; the format names no unit of values, so they are ``grey``.
    """
    try:
        volume: Any = nibabel.load(path)
    except ImageFileError:
        raise ImageError(say("{path} is not a NIfTI file, or its header is damaged.", path=path)) from None
    except HeaderDataError as error:
        raise ImageError(
            say("{path} has a damaged NIfTI header: {reason}.", path=path, reason=error)
        ) from error
    header = volume.header
    if not hasattr(header, "get_xyzt_units"):
        raise ImageError(say("{path} is not a NIfTI file but {kind}.", path=path, kind=type(volume).__name__))
    pixels = np.asanyarray(volume.dataobj)
    if pixels.dtype.fields is not None:
        if tuple(pixels.dtype.names or ())[:3] != ("R", "G", "B"):
            raise ImageError(
                say(
                    "{path} holds voxels of the kind {kind}, which Mikata does not read.",
                    path=path,
                    kind=pixels.dtype,
                )
            )
        pixels = np.stack([pixels[name] for name in "RGB"], axis=-1)
        samples = "S"
    else:
        samples = ""
    axes = "XYZTC"[: pixels.ndim - len(samples)] + samples
    if len(axes) != pixels.ndim:
        raise ImageError(
            say(
                "{path} has {dimensions} dimensions; Mikata reads up to 5 (x, y, z, time, channel).",
                path=path,
                dimensions=pixels.ndim,
            )
        )
    if len(axes) - len(samples) < 2:
        raise ImageError(
            say(
                "{path} has {dimensions} dimensions; an image has at least 2.",
                path=path,
                dimensions=pixels.ndim,
            )
        )
    zooms = [abs(float(zoom)) for zoom in header.get_zooms()]
    zooms += [1.0] * (4 - len(zooms))
    order = [0, 1, 2]
    if len(axes) - len(samples) == 2:  # a single slice lies as the affine says, too
        pixels, axes = np.expand_dims(pixels, 2), f"XYZ{samples}"
    # the nearest flips and swaps: a matter of exchanging axes, so every value stays
    start = orientations.io_orientation(volume.affine)
    if np.isnan(start).any():
        raise ImageError(
            say("{path} has a damaged orientation: one of its axes has no direction.", path=path)
        )
    turn = orientations.ornt_transform(start, orientations.axcodes2ornt(("L", "P", "S")))
    if pixels.shape[2] > 1 or turn[2, 0] == 2:  # else the picture would be seen from its edge
        pixels = orientations.apply_orientation(pixels, turn)
        order = np.argsort(turn[:, 0]).astype(int).tolist()
    space, time = header.get_xyzt_units()
    unit = _LENGTHS.get(space, "mm")  # the format's own default is mm where nothing is said
    size = [converted(zooms[i], unit, "mm") for i in order]
    pixel_size = (size[0] or 1.0, size[1] or 1.0, size[2] or 1.0)
    info = str(header) if keep_metadata else ""
    return from_array(
        pixels, axes, path.name, exact=False, path=path, info=info, pixel_size=pixel_size, unit="mm",
        frame_interval_s=zooms[3] * _SECONDS.get(time, 1.0) if "T" in axes else 0.0,
    )  # fmt: skip


def read_npy(path: Path, keep_metadata: bool) -> Image:
    """Read NumPy's .npy: axes as in `from_array`; files with Python objects are refused."""
    try:
        array = np.load(path, allow_pickle=False)
    except ValueError as error:
        if "allow_pickle" in str(error) or "Object arrays" in str(error):
            raise ImageError(
                say("{path} holds Python objects, not numbers, and is not opened.", path=path)
            ) from None
        raise
    if not isinstance(array, np.ndarray):
        raise ImageError(say("{path} is not a NumPy array file (.npy).", path=path))
    return from_array(array, None, path.name, exact=False, path=path)

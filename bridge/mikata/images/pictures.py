"""PNG and JPEG, by Pillow."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import PIL.Image
from numpy.typing import NDArray

from mikata.errors import ImageError
from mikata.images.arrays import PRIMARIES, from_array
from mikata.language import say
from mikata.types import Image

_WIDE_PNG = (b"\x02", b"\x04", b"\x06")  # PNG's numbers for RGB, grey with alpha, RGB with alpha
_GREY_MODES = {"1", "L", "I", "I;16", "I;16B", "I;16L", "F"}


def read(path: Path, keep_metadata: bool) -> Image:
    """Read a PNG or JPEG file.

    Pixels stay as they lie in the file: a camera's orientation (EXIF) is not applied, as in ImageJ, so that
    ROIs fit and a network sees the same through both. Alpha is dropped. A palette becomes its colours, or
    grey where all of its used colours are grey. 16 bits stay: grey as it is, colours as three
    channels, as in ImageJ. CMYK becomes RGB.
    """
    with path.open("rb") as file:
        header = file.read(26)
    if header[1:4] == b"PNG" and header[24:25] == b"\x10" and header[25:26] in _WIDE_PNG:
        return _wide_png(path, keep_metadata)
    with warnings.catch_warnings():
        # slide scans are larger than Pillow's fixed number of pixels; memory is the limit
        warnings.simplefilter("ignore", PIL.Image.DecompressionBombWarning)
        warnings.simplefilter("ignore", UserWarning)  # damaged EXIF beside sound pixels
        try:
            with PIL.Image.open(path, formats=("PNG", "JPEG")) as picture:
                picture.load()
                info = _text(picture) if keep_metadata else ""
                pixels = _pixels(picture)
        except PIL.UnidentifiedImageError:
            raise ImageError(
                say("{path} is not a PNG or JPEG file, or its beginning is damaged.", path=path)
            ) from None
        except PIL.Image.DecompressionBombError as error:
            raise ImageError(
                say("{path} says it is larger than any image Mikata reads: {reason}", path=path, reason=error)
            ) from error
    colour = pixels.ndim == 3
    return from_array(pixels, "YXS" if colour else "YX", path.name, path=path, info=info)


def _wide_png(path: Path, keep_metadata: bool) -> Image:
    """A PNG of 16-bit colours, or of 16-bit grey with alpha, which Pillow would cut to 8 bits."""
    pixels = imagecodecs.png_decode(path.read_bytes())
    info = ""
    if keep_metadata:
        with PIL.Image.open(path, formats=("PNG",)) as picture:
            info = _text(picture)
    if pixels.shape[-1] == 2:
        return from_array(pixels[..., 0], "YX", path.name, path=path, info=info)
    return from_array(
        pixels[..., :3], "YXC", path.name, path=path, info=info, mode="composite", luts=PRIMARIES
    )


def _pixels(picture: PIL.Image.Image) -> NDArray[Any]:
    if picture.mode in {"P", "PA", "RGBA", "RGBX", "CMYK", "YCbCr", "LAB", "HSV"}:
        rgb = np.asarray(picture.convert("RGB"))
        if picture.mode in {"P", "PA"} and (rgb == rgb[..., :1]).all():
            return rgb[..., 0]
        return rgb
    if picture.mode == "LA":
        return np.asarray(picture)[..., 0]
    if picture.mode == "RGB" or picture.mode in _GREY_MODES:
        pixels = np.asarray(picture)
        # Pillow's older readers give 16-bit grey as 32-bit integers
        if pixels.dtype == np.int32 and pixels.min() >= 0 and pixels.max() <= 65535:
            return pixels.astype(np.uint16)
        return pixels
    raise ImageError(
        say("its pixels are of the kind '{mode}', which Mikata does not read.", mode=picture.mode)
    )


def _text(picture: PIL.Image.Image) -> str:
    return "\n".join(f"{key}: {value}" for key, value in picture.info.items() if isinstance(value, str))

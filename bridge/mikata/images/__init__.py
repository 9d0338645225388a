"""Files of pixels to and from `mikata.types.Image`.

`read` reads one file, `Images` reads many of them one after the other, `write_tiff` writes what
ImageJ opens, and `from_array` takes a NumPy array.
"""

from __future__ import annotations

from mikata.images.arrays import from_array
from mikata.images.dicom import patient_id
from mikata.images.natural import natural_key
from mikata.images.reading import SUFFIXES, looks_like_image, read
from mikata.images.sequence import Images
from mikata.images.tiff_writer import write_tiff

__all__ = [
    "SUFFIXES",
    "Images",
    "from_array",
    "looks_like_image",
    "natural_key",
    "patient_id",
    "read",
    "write_tiff",
]

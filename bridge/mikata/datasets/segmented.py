"""Images with masks: a table or a folder into a `Dataset` whose images and masks were all opened once."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mikata.datasets.beside import by_name, refuse_few, refuse_none, refuse_two_truths, with_overlays
from mikata.datasets.entries import EVERY, Dataset, Entry, Mask
from mikata.datasets.masks import ROI_ENDINGS, Kind, Reading, Truth, holds_regions, settle, truth_of
from mikata.datasets.reading import Candidate, open_all, patient_names, refuse_mixed_values
from mikata.datasets.sheets import located
from mikata.datasets.table import MASK, read_table
from mikata.errors import DataError
from mikata.images import looks_like_image
from mikata.language import say
from mikata.types import SILENT, Progress

_MASK_FOLDERS = ("masks", "labels", "rois")
_IMAGES = "images"


@dataclass(frozen=True)
class Segmented(Dataset):
    """Images with masks.

    Attributes
    ----------
    reading:
        How the masks are read; its names are those of the classes but the background.
    """

    reading: Reading = field(default_factory=lambda: Reading("binary", ("object",)))

    @property
    def names(self) -> tuple[str, ...]:
        """Classes with the background, which is first."""
        return ("background", *self.reading.names)

    @property
    def empty(self) -> int:
        """Number of images without any object."""
        return sum(entry.mask is not None and not entry.mask.present for entry in self.entries)

    def reading_words(self, say: Callable[..., str]) -> str:
        """How the masks were read and what they hold, in a sentence, so that a wrong guess is seen; `say` as elsewhere."""
        kinds = {
            "objects": say("numbers of objects"),
            "classes": say("numbers of classes"),
            "binary": say("foreground and background, objects being what hangs together"),
        }
        masks = [entry.mask for entry in self.entries if entry.mask is not None]
        if all(
            holds_regions(entry.mask.file, entry.file) for entry in self.entries if entry.mask is not None
        ):
            kind = say("ROIs")
        else:
            kind = kinds[self.reading.kind]
        counts = [mask.objects for mask in masks]
        return say(
            "Masks were read as {kind}: {objects} object(s) in {images} image(s), {fewest} to {most} an image.",
            kind=kind,
            objects=sum(counts),
            images=len(masks),
            fewest=min(counts),
            most=max(counts),
        )

    def truth(self, entry: Entry) -> Truth:
        """What each pixel of an image is.

        Raises
        ------
        DataError
            If the mask can no longer be read, or is another one now.
        """
        assert entry.mask is not None
        shape = (entry.picture.height, entry.picture.width)
        found = truth_of(entry.mask.file, entry.file, shape, self.reading)
        if found.digest != entry.mask.digest:
            raise DataError(
                say("{file} was changed since the data were read. Begin again.", file=entry.mask.file)
            )
        return found


def read_segmented(
    path: Path,
    *,
    kind: Kind = "auto",
    names: Sequence[str] = (),
    parted: bool = False,
    progress: Progress = SILENT,
) -> Segmented:
    """Read images and their masks.

    Parameters
    ----------
    path:
        A CSV table with the columns file and mask, and where there are any patient (or patient_alias), study, site, split
        and so on, as `mikata.datasets.read` takes them; or a folder with ``images`` and ``masks`` (or ``labels`` or
        ``rois``) in it, masks named as their images; or a folder of TIFFs with ImageJ overlays. A mask is an image of
        the same size, ROIs (``.roi`` or ``.zip``), or the image's own overlay where the table names the image again.
    kind, names, parted:
        As of `mikata.datasets.masks.settle`.

    Raises
    ------
    DataError
        If nothing can be read, a mask is missing or does not suit its image, or no mask holds anything; the message
        names the file.
    Cancelled
        If the user stopped it.
    """
    ignored: tuple[str, ...] = ()
    if path.is_dir():
        pairs = _from_folder(path)
    elif path.is_file():
        pairs, ignored = _from_table(path)
    else:
        raise DataError(
            say(
                "{path} does not exist. Give a folder with images and masks, or a CSV table with the columns file and mask.",
                path=path,
            )
        )
    for mask in pairs.values():
        if not mask.is_file():
            raise DataError(say("The mask {file} is not there.", file=mask))
    entries, skipped = open_all(list(pairs), progress)
    refuse_none(path, entries, skipped)
    refuse_mixed_values(path, entries)
    masks = {candidate.file: mask for candidate, mask in pairs.items()}
    reading = settle([(masks[e.file], e.file) for e in entries], kind, names, parted=parted, path=path)
    found = []
    for done, entry in enumerate(entries):
        progress.step(say("Reading masks"), done, len(entries))
        found.append(dataclasses.replace(entry, mask=_seen(masks[entry.file], entry, reading)))
    refuse_two_truths(path, found, lambda entry: entry.mask and entry.mask.digest)
    _refuse_untrainable(path, found, reading)
    lines = sorted(f"{e.picture.digest} {e.mask.digest}\n" for e in found if e.mask is not None)
    fingerprint = hashlib.sha256("".join(lines).encode()).hexdigest()
    return Segmented(path, tuple(found), (EVERY,), tuple(skipped), fingerprint, ignored, reading=reading)


def _seen(mask: Path, entry: Entry, reading: Reading) -> Mask:
    truth = truth_of(mask, entry.file, (entry.picture.height, entry.picture.width), reading)
    present = tuple(number for number in range(1, len(reading.names) + 1) if (truth.classes == number).any())
    return Mask(mask, truth.digest, present, int(truth.objects.max()))


def _from_table(path: Path) -> tuple[dict[Candidate, Path], tuple[str, ...]]:
    rows, header = read_table(path, MASK)
    name = patient_names(rows[0].cells)
    pairs = {}
    for row in rows:
        facts = {key: value for key, value in row.cells.items() if key not in ("file", MASK, "patient_alias")}
        facts["patient"] = "" if name is None else name[1](row.cells[name[0]])
        pairs[Candidate(row.file, EVERY, facts)] = located(path.parent, row.cells[MASK])
    return pairs, header.ignored


def _from_folder(folder: Path) -> dict[Candidate, Path]:
    images = folder / _IMAGES
    masks = [folder / name for name in _MASK_FOLDERS if (folder / name).is_dir()]
    if images.is_dir() and masks:
        found = by_name(images, masks, _may_be_mask, _no_mask)
        return {Candidate(file, EVERY): mask for file, mask in found.items()}
    if images.is_dir():
        raise DataError(
            say(
                "{folder} has the folder images, but none of masks: {names}.",
                folder=folder,
                names=", ".join(_MASK_FOLDERS),
            )
        )
    pairs: dict[Candidate, Path] = {Candidate(file, EVERY): file for file in with_overlays(folder)}
    if not pairs:
        raise DataError(
            say(
                "{folder} holds no images with masks: give a folder with the folders images and masks, a folder of TIFFs "
                "with overlays, or a CSV table with the columns file and mask.",
                folder=folder,
            )
        )
    return pairs


def _may_be_mask(file: Path) -> bool:
    return file.suffix.lower() in ROI_ENDINGS or looks_like_image(file)


def _no_mask(file: Path, folders: Sequence[Path]) -> str:
    return say(
        "{file} has no mask: no file of {folders} is named {stem}. Of an image without any object, save a mask that is 0 "
        "everywhere.",
        file=file,
        folders=", ".join(folder.name for folder in folders),
        stem=file.stem,
    )


def _refuse_untrainable(path: Path, entries: Sequence[Entry], reading: Reading) -> None:
    present = {number for entry in entries if entry.mask is not None for number in entry.mask.present}
    if not present:
        raise DataError(
            say("{path}: all masks are empty: there is nothing to learn from. The first is {file}.",
                path=path, file=entries[0].mask.file if entries[0].mask else path)
        )  # fmt: skip
    for number, name in enumerate(reading.names, 1):
        if number not in present:
            raise DataError(
                say("{path}: no mask holds the class '{name}'. Is its name right?", path=path, name=name)
            )
    refuse_few(path, entries)

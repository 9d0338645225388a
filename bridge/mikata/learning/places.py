"""Where the results of a training stand, and what is refused before it begins."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mikata import packaging
from mikata.errors import OutputError
from mikata.language import say
from mikata.outputs import probe
from mikata.training.checkpoints import is_checkpoint
from mikata.training.stages import FORMULA, STAGE

MEMBER = "member "
"""What the folders of an ensemble's members are called in the folder of its checkpoints; their numbers follow."""


@dataclass(frozen=True)
class Places:
    """The package and what stands beside it.

    Attributes
    ----------
    package:
        Its folder.
    members:
        Whether several networks are trained, each with a folder for its checkpoints.
    """

    package: Path
    members: bool = False

    @property
    def archive(self) -> Path:
        """The package as a zip."""
        return self._beside(".zip")

    @property
    def page(self) -> Path:
        """The report."""
        return self._beside(" report.html")

    @property
    def test_images(self) -> Path:
        """What the network says of each test image, as CSV."""
        return self._beside(" test images.csv")

    @property
    def checkpoints(self) -> Path:
        """Folder of the checkpoints, until their weights are in the package."""
        return self._beside(" training")

    def _beside(self, end: str) -> Path:
        return self.package.with_name(self.package.name + end)

    def member(self, number: int) -> Path:
        """Folder of the checkpoints of an ensemble's member, counted from 1."""
        return self.checkpoints / f"{MEMBER}{number}"

    def refuse(self, *, name: str, licence: str, overwrite: bool, resume: bool) -> None:
        """Say before any work why the results may not be written.

        Raises
        ------
        OutputError
            If something is there that may not be replaced, or the folder cannot be written.
        PackageError
            If a word is not valid.
        """
        packaging.refuse_target(self.package, overwrite)
        packaging.refuse_words(name=name, licence=licence)
        for path in (self.archive, self.page, self.test_images):
            if path.exists() and not overwrite:
                raise OutputError(
                    say(
                        "{path} is already there. Choose another name for the package, or allow it to be replaced.",
                        path=path,
                    )
                )
        probe(self.package.parent)
        self._refuse_other_files(overwrite or resume)

    def _refuse_other_files(self, replace: bool) -> None:
        """Refuse other files where the checkpoints go, or checkpoints that are not to be replaced."""
        folder = self.checkpoints
        inside = list(folder.iterdir()) if folder.is_dir() else []
        if (folder.exists() and not folder.is_dir()) or not all(map(self._is_ours, inside)):
            raise OutputError(
                say(
                    "{folder} is already there and holds other files; the training keeps its checkpoints in a "
                    "folder of this name. Choose another name for the package.",
                    folder=folder,
                )
            )
        if inside and not replace:
            raise OutputError(
                say(
                    "{folder} holds the weights of a training that did not end. Go on with it (resume), or allow it to "
                    "be replaced (overwrite).",
                    folder=folder,
                )
            )

    def _is_ours(self, path: Path) -> bool:
        """Whether a training of this kind has made this."""
        if not self.members:
            return _of_a_training(path)
        number = path.name.removeprefix(MEMBER)
        named = path.name.startswith(MEMBER) and number.isdecimal()
        return named and path.is_dir() and not path.is_symlink() and all(map(_of_a_training, path.iterdir()))

    def clear(self) -> None:
        """Delete checkpoints whose weights are in a package now; what is not ours stays."""
        folder = self.checkpoints
        for path in folder.iterdir():
            if self._is_ours(path):
                _delete(path)
        if not any(folder.iterdir()):
            folder.rmdir()


def _of_a_training(path: Path) -> bool:
    """Whether one network's training has made this: a checkpoint, or the folder of a stage with nothing else inside."""
    if path.is_dir():
        named = path.name == FORMULA or path.name.startswith(STAGE)
        return named and not path.is_symlink() and all(map(_of_a_training, path.iterdir()))
    return is_checkpoint(path.name)


def _delete(path: Path) -> None:
    """Delete a checkpoint, or a folder that was looked through and holds nothing else."""
    if not path.is_dir():
        path.unlink(missing_ok=True)
        return
    for inside in path.iterdir():
        _delete(inside)
    path.rmdir()

"""Results are written whole or not at all, and replace nothing unasked."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from mikata.errors import OutputError
from mikata.outputs import ResultFolder, write_csv, write_text, written
from mikata.types import Table


def test_a_table_opens_in_excel(hard_path: Path) -> None:
    table = Table("t", ("名前", "p(a, b)"), (("山田,太郎", 0.1), ('say "x"', None)))
    path = write_csv(hard_path / "表.csv", table)
    assert path.read_bytes() == '\ufeff名前,"p(a, b)"\r\n"山田,太郎",0.1\r\n"say ""x""",\r\n'.encode()
    assert [p.name for p in hard_path.iterdir()] == ["表.csv"]


def test_a_full_disk_leaves_the_old_file(tmp_path: Path) -> None:
    path = write_text(tmp_path / "a.txt", "old")

    def fill() -> None:
        with written(path) as beside:
            beside.write_text("half of the n")
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OutputError, match=r"a\.txt cannot be written: No space left"):
        fill()
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_a_folder_that_is_a_file(tmp_path: Path) -> None:
    path = write_text(tmp_path / "a.txt", "old")
    with pytest.raises(OutputError, match="is a file; give a folder"):
        ResultFolder(path, overwrite=False)
    with pytest.raises(OutputError, match="cannot be written"):
        ResultFolder(path / "below", overwrite=False)


def test_nothing_is_replaced_unasked(tmp_path: Path) -> None:
    write_text(tmp_path / "a.csv", "old")
    folder = ResultFolder(tmp_path, overwrite=False)
    with pytest.raises(OutputError, match=r"a\.csv is already there"):
        folder.reserve(["b.csv", "a.csv"])
    ResultFolder(tmp_path, overwrite=True).reserve(["b.csv", "a.csv"])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.csv"]


@pytest.mark.parametrize(
    ("stems", "names"),
    [
        (["a", "A", "a"], ["a", "A (2)", "a (3)"]),
        (["x/y:z", "..", ""], ["x_y_z", "image", "image (2)"]),
        (["画像 (1)"], ["画像 (1)"]),
    ],
)
def test_names_are_safe_and_unique_on_every_system(
    tmp_path: Path, stems: list[str], names: list[str]
) -> None:
    folder = ResultFolder(tmp_path, overwrite=False)
    assert [folder.unique(stem) for stem in stems] == names

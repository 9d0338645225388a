"""What comes with Mikata: packages that every reader runs, asked for by name, light and with their record."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

import mikata
from deepimagej import run_in_deepimagej
from mikata import packaging, shipped
from mikata.commands import COMMANDS
from mikata.errors import ParameterError
from mikata.packaging.checks import examine_package
from mikata.types import SILENT

MODELS = shipped.models()
OPEN = {"CC0-1.0", "CC-BY-4.0", "MIT"}


def test_there_are_some() -> None:
    assert {"blood_cells", "chest_view", "nuclei", "textures"} <= MODELS.keys()


@pytest.mark.parametrize("name", MODELS)
def test_a_package_is_light_and_tells_of_itself(name: str) -> None:
    folder = MODELS[name]
    assert sum(file.stat().st_size for file in folder.iterdir()) <= 5_000_000
    description = yaml.safe_load((folder / "rdf.yaml").read_text(encoding="utf-8"))
    assert description["license"] in OPEN
    assert description["authors"]
    record = json.loads((folder / "training.json").read_text(encoding="utf-8"))
    assert record["training"]["data"]["parts"]["test"]
    assert record["evaluation"]
    readme = (folder / "README.md").read_text(encoding="utf-8")
    assert "Research use, not for diagnosis" in readme
    assert "CC" in readme or "MIT" in readme, "the licence of its data"


@pytest.mark.parametrize("name", MODELS)
def test_readers_run_it(name: str) -> None:
    report = packaging.check(MODELS[name])
    assert report.passed, report.problems
    assert examine_package(MODELS[name], "both", progress=SILENT).failed == ()


def test_a_name_is_mikatas_and_a_path_the_disks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    asked = next(c for c in COMMANDS if c.name == "check_package").parameter("model")
    assert asked.convert("nuclei", "Check") == MODELS["nuclei"]
    assert asked.convert(" nuclei ", "Check") == MODELS["nuclei"]
    other = tmp_path / "nuclei"
    other.mkdir()
    for given in ("nuclei", Path("nuclei")):
        with pytest.raises(
            ParameterError, match=r"comes with Mikata and a file or folder in .* too. Give \./nuclei for"
        ):
            asked.convert(given, "Check")
    assert asked.convert("./nuclei", "Check").resolve() == other
    assert asked.convert(str(other), "Check") == other
    (tmp_path / "mine").mkdir()
    assert asked.convert("mine", "Check").resolve() == tmp_path / "mine"
    monkeypatch.chdir(MODELS["nuclei"].parent)
    assert asked.convert("nuclei", "Check") == MODELS["nuclei"]
    with pytest.raises(ParameterError, match="Packages that come with Mikata"):
        asked.convert("no_such", "Check")


@pytest.mark.slow
@pytest.mark.shared
@pytest.mark.parametrize("name", MODELS)
def test_deepimagej_runs_it(name: str, shared: Path, tmp_path: Path) -> None:
    run_in_deepimagej(shared, packaging.zip_package(MODELS[name], tmp_path / f"{name}.zip"))


@pytest.mark.slow
def test_the_zoo_gets_a_test_image_larger_than_the_halo(tmp_path: Path) -> None:
    mikata.export_package(model="nuclei", out=tmp_path / "zoo", reader="zoo")
    found = examine_package(tmp_path / "zoo", "zoo", progress=SILENT)
    assert found.failed == ()


def test_a_name_stands_for_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from skimage import data

    mosaic = data.brick()[:128, 384:]
    found = mikata.predict([mosaic], model="textures")
    assert found.tables[0].rows[0][3] == "brick"
    monkeypatch.chdir(tmp_path)
    (tmp_path / "textures").mkdir()
    with pytest.raises(mikata.MikataError, match=r"rdf\.yaml"):
        mikata.predict([mosaic], model="./textures")
    with pytest.raises(ParameterError, match="comes with Mikata and a file or folder"):
        mikata.predict([mosaic], model="textures")
    with pytest.raises(
        ParameterError, match=r"which does not exist\. Packages that come with Mikata: .*textures"
    ):
        mikata.predict([mosaic], model="texture")

"""Packages of others, run: the same pixels as bioimageio.core's own pipeline, whatever their axes and weights."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch

from foreign_packages import BY_NAME, PACKAGES, Foreign, core_output, image
from mikata.errors import PackageError
from mikata.networks.importing import consents, read_foreign_classifier, read_foreign_network
from mikata.networks.pixelwise import PixelNetwork


@pytest.fixture(autouse=True)
def own_consents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consents, "consents_folder", lambda: tmp_path / "consents")


def written(package: Foreign, folder: Path) -> Path:
    for library in {"onnx": ("onnx", "onnxruntime")}.get(package.needs, (package.needs,)):
        if library not in ("", "consent") and importlib.util.find_spec(library) is None:
            pytest.skip(f"{library} is not installed")
    return package.write(folder)


def whole(network: PixelNetwork, values: np.ndarray) -> np.ndarray:
    """The result (K, H, W) of one image (C, H, W), untiled."""
    x = torch.from_numpy(network.before(values))[None]
    return network.after(network.network(x)[0].numpy())


@pytest.mark.parametrize(
    "package", [p for p in PACKAGES if not p.classifier], ids=lambda package: package.name
)
def test_the_pixels_are_those_of_bioimageio_core(package: Foreign, tmp_path: Path) -> None:
    folder = written(package, tmp_path)
    network = read_foreign_network(folder, trust_code=package.needs == "consent")
    for height, width in (package.shape[1:], package.other):
        values = image((package.shape[0], height, width), package.dtype)
        found = whole(network, np.asarray(values, np.float32))
        expected = []
        for number, output in enumerate(core_output(folder, package.arranged(values))):
            letters = "".join(a["id"] if a["type"] == "space" else a["type"][0] for a in axes) if isinstance(
                axes := _axes(folder, number), list) else axes  # fmt: skip
            plain = np.moveaxis(
                output, [letters.index(c) for c in letters if c not in "yx"], range(len(letters) - 2)
            )
            expected.append(plain.reshape(-1, *plain.shape[-2:]))
        difference = float(np.abs(found - np.concatenate(expected)).max())
        assert difference < 1e-5, difference
    assert network.meaning == package.meaning
    assert network.halo == package.halo
    assert network.scale == package.scale


def _axes(folder: Path, number: int) -> object:
    import yaml

    return yaml.safe_load((folder / "rdf.yaml").read_text("utf-8"))["outputs"][number]["axes"]


@pytest.mark.parametrize("package", [p for p in PACKAGES if p.classifier], ids=lambda package: package.name)
def test_the_classes_are_those_of_bioimageio_core(package: Foreign, tmp_path: Path) -> None:
    folder = written(package, tmp_path)
    network = read_foreign_classifier(folder)
    for height, width in (package.shape[1:], package.other):
        values = image((package.shape[0], height, width), package.dtype)
        x = torch.from_numpy(network.before(np.asarray(values, np.float32)))[None]
        (expected,) = core_output(folder, package.arranged(values))
        assert float(np.abs(network.network(x).numpy() - expected).max()) < 1e-5
    assert network.probabilities == (package.name == "scores")
    with pytest.raises(PackageError, match="is no image"):
        read_foreign_network(folder)


def test_a_network_of_images_is_no_classifier(tmp_path: Path) -> None:
    with pytest.raises(PackageError, match="none of its outputs"):
        read_foreign_classifier(BY_NAME["new_yx"].write(tmp_path))

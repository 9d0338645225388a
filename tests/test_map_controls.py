"""Controls beside the plain heat map command: every method, one page, and what is refused."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from skimage import data
from torch import Tensor, nn

import mikata
from mikata import cli, images, packaging
from mikata.architecture import Classifier
from mikata.commands import COMMANDS
from mikata.errors import NetworkError, OutputError, ParameterError
from mikata.explaining.controls import Candidate, controls_for, sentence
from mikata.explanation import METHODS, Explanation, Method, Settings, heat_maps
from mikata.explanation.controls import plain_maps
from mikata.images import Images
from mikata.networks import build
from mikata.prediction import Plane
from mikata.training.ensembles import ensemble
from packages import Untrained, write_package
from planted import CELLS, SIZE, finder, model, planted

PHOTO = data.brick()
MADE = {"Grad-CAM controls.csv", "Grad-CAM control curves.csv", "Grad-CAM controls.html"}


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_package(tmp_path_factory.mktemp("山田 太郎 (test)") / "model")


@pytest.fixture
def trained(package: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package's place, at which a network is found that has learnt where the planted mark is."""
    monkeypatch.setattr("mikata.explanation.runs.read_package", lambda path: model(finder()))
    return package


def photos(count: int = 6, size: int = 64) -> list[images.Image]:
    return [
        images.from_array(PHOTO[40 * n : 40 * n + size, 50 * n : 50 * n + size], "YX", title=f"photo {n}")
        for n in range(count)
    ]


def films(count: int = 12) -> list[images.Image]:
    pictures, _, _ = planted(count, 5)
    return [
        images.from_array(100 + 20 * one[0].numpy(), "YX", title=f"film {n}")
        for n, one in enumerate(pictures)
    ]


def rows(file: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(file.read_text("utf-8-sig").splitlines()))


def test_the_report_is_that_of_the_same_planes(trained: Path, hard_path: Path) -> None:
    out = hard_path / "out"
    result = mikata.grad_cam(films(), model=trained, out=out, controls=True)
    plain = mikata.grad_cam(films(), model=trained, result="heat-map")
    assert {path.name for path in out.iterdir()} >= MADE
    assert result.page == out / "Grad-CAM controls.html"
    assert sorted(result.files) == sorted(out.iterdir())
    chosen = [Candidate(Plane(f"film {n}", 1, 1, SIZE, SIZE), n % 2, n % 2) for n in range(12)]
    expected = controls_for(model(finder()), Images.of(films()), chosen, layer="features")
    assert [one.title for one in result.tables] == [
        "Grad-CAM",
        "Grad-CAM controls",
        "Grad-CAM control curves",
    ]
    assert result.tables[1] == expected.table("Grad-CAM controls")
    assert result.tables[2] == expected.curve_table("Grad-CAM control curves")
    assert sentence(expected) in result.message
    assert "The heat maps passed these controls: weight randomisation, deletion" in result.message
    assert result.message.endswith("Research use, not for diagnosis.")
    written = rows(out / "Grad-CAM controls.csv")
    assert len(written) == len(result.tables[1].rows)
    assert {row["layer"] for row in written} == {"features"}
    text = result.page.read_text("utf-8")
    for words in ("Controls of the heat maps", "Made on 12 of 12 planes with heat, of 12 files", "Versions"):
        assert words in text
    assert text.count("data:image") == 2
    assert "http" not in text
    # the maps themselves are those without controls
    assert result.tables[0] == plain.tables[0]
    assert len(plain.tables) == 1
    assert "control" not in plain.message


def test_a_map_that_fails_is_told_in_plain_words(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def edges(activations: Tensor, gradients: Tensor) -> Tensor:
        """Of the layer that gives the image as it is: a map that no weight has a part in."""
        return torch.from_numpy(plain_maps.edges(activations, (CELLS, CELLS))).float()[:, None]

    monkeypatch.setitem(METHODS, "HiResCAM", Method(lambda: "Edges.", formula=edges))
    result = mikata.grad_cam(
        films(6), model=trained, method="HiResCAM", layer="image", controls=True, control_images=6
    )
    assert "Failed: weight randomisation" in result.message
    assert "Do not read them as the network's reasons." in result.message


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("Occlusion", {"window_px": (48, 48)}),
        ("RISE", {"masks": 7}),
        ("Integrated-Gradients", {"steps": 3}),
        ("Score-CAM", {}),
        ("Eigen-CAM", {}),
    ],
)
def test_every_method_is_put_to_controls_with_its_own_settings(
    trained: Path, monkeypatch: pytest.MonkeyPatch, hard_path: Path, method: str, expected: dict[str, Any]
) -> None:
    used: list[Settings] = []

    def spied(network: nn.Module, batch: Tensor, *args: Any, settings: Settings) -> Explanation:
        used.append(settings)
        return heat_maps(network, batch, *args, settings=settings)

    monkeypatch.setattr("mikata.explanation.controls.explainer.heat_maps", spied)
    given: dict[str, Any] = {"window_percent": 50, "masks": 7, "steps": 3, "batch": 8, "baseline": "zero"}
    out = hard_path / "out"
    result = mikata.grad_cam(
        films(), model=trained, method=method, out=out, controls=True, control_images=5, **given
    )  # type: ignore[arg-type]
    assert (out / f"{method} controls.html").is_file()
    assert {row["method"] for row in rows(out / f"{method} controls.csv")} == {method}
    assert {row[0] for row in result.tables[1].rows} == {
        "weight randomisation", "deletion", "insertion", "simple maps", "stability",
    }  # fmt: skip
    assert {one.forward for one in used} == {8}
    for name, value in expected.items():
        assert {getattr(one, name) for one in used} == {value}
    if method == "Occlusion":  # grey value 0 in the network's input
        assert float(torch.as_tensor(used[0].baseline)) == pytest.approx(-100 / 20)


def test_of_all_classes_the_predicted_one_is_controlled(trained: Path) -> None:
    every = mikata.grad_cam(films(), model=trained, target="all", controls=True)
    assert "that of the predicted class was put to the controls" in every.message
    predicted = mikata.grad_cam(films(), model=trained, controls=True)
    assert "of the predicted class" not in predicted.message
    assert every.tables[1] == predicted.tables[1]
    one = mikata.grad_cam(films(), model=trained, target="marked", controls=True)
    assert one.tables[1] != predicted.tables[1]


def test_an_ensemble_and_a_network_that_gives_a_value(hard_path: Path) -> None:
    members = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        members.append(build("small_cnn", classes=3, channels=1, mean=[110.0], std=[50.0]).eval())
    whole = Untrained(ensemble(members).eval())
    place = packaging.write(
        hard_path / "ensemble", whole, name="Two", test_image=packaging.formula_image(whole)
    )
    found = mikata.grad_cam(photos(), model=place, controls=True, control_images=5)
    assert len({row[0] for row in found.tables[1].rows}) == 5
    torch.manual_seed(3)
    classifier = Classifier("small_cnn", 1, 1, [120.0], [50.0], target=(60.0, 12.0), unit="mm").eval()
    with torch.no_grad():  # everything in the layer raises the value, so that every map has heat
        list(classifier.network.parameters())[-2].abs_()
    value = Untrained(classifier, classes=())
    place = packaging.write(
        hard_path / "value", value, name="Value", test_image=packaging.formula_image(value)
    )
    found = mikata.grad_cam(photos(), model=place, controls=True, control_images=5)
    assert len({row[0] for row in found.tables[1].rows}) == 5


def test_repeated_trainings_stand_in_the_report(package: Path, hard_path: Path) -> None:
    torch.manual_seed(11)
    built = build("small_cnn", classes=3, channels=1, mean=[110.0], std=[50.0])
    made = Untrained(built.eval())
    other = packaging.write(hard_path / "other", made, name="Other", test_image=packaging.formula_image(made))
    result = mikata.grad_cam(photos(), model=package, controls=True, control_images=5, repeats=str(other))
    assert "repeated training" in {row[0] for row in result.tables[1].rows}


def test_a_stack_is_one_image_and_the_page_says_why_there_are_no_controls(
    package: Path, hard_path: Path
) -> None:
    stack = images.from_array(np.stack([one.array for one in photos()]), "ZYX", title="stack")
    out = hard_path / "out"
    out.mkdir()
    (out / "Grad-CAM controls.csv").write_text("of an earlier run")
    result = mikata.grad_cam(stack, model=package, out=out, controls=True, overwrite=True)
    assert "they need at least 5 independent images with heat; here are 1" in result.message
    assert [one.title for one in result.tables] == ["Grad-CAM"]
    assert {path.name for path in out.iterdir()} & MADE == {"Grad-CAM controls.html"}
    assert result.page is not None
    assert "here are 1" in result.page.read_text("utf-8")
    shown = mikata.grad_cam(stack, model=package, controls=True)
    assert shown.page is None
    assert shown.overlay  # what is open in ImageJ still gets its overlay


def test_bad_input_is_refused_before_any_map_is_made(package: Path, hard_path: Path) -> None:
    def refused(error: type[Exception], words: str, **changes: Any) -> None:
        with pytest.raises(error, match=words):
            mikata.grad_cam(photos(), model=package, **changes)

    out = hard_path / "out"
    refused(ParameterError, "set controls, or leave repeats empty", repeats=str(package), out=out)
    refused(NetworkError, "has the same weights as model", repeats=str(package), controls=True, out=out)
    refused(ParameterError, "control_images is 4", control_images=4, controls=True, out=out)
    classes = write_package(hard_path / "two", classes=("a", "b"))
    refused(NetworkError, "cannot be a repeated training", repeats=str(classes), controls=True, out=out)
    assert not out.exists() or not list(out.iterdir())
    out.mkdir(exist_ok=True)
    (out / "Grad-CAM controls.html").write_text("mine")
    refused(OutputError, r"Grad-CAM controls\.html is already there", controls=True, out=out)
    assert [path.name for path in out.iterdir()] == ["Grad-CAM controls.html"]
    mikata.grad_cam(photos(), model=package, out=out)  # without controls the file is in nobody's way
    assert (out / "Grad-CAM controls.html").read_text() == "mine"


def test_the_command_line_is_the_function(
    package: Path, hard_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = hard_path / "films"
    folder.mkdir()
    for one in photos(5):
        images.write_tiff(folder / f"{one.title}.tif", one)
    first, second = hard_path / "first", hard_path / "second"
    words = ["grad-cam", str(folder), "--model", str(package), "--controls", "--control-images", "5"]
    assert cli.main(cli.build(COMMANDS, lambda: "1"), [*words, "--out", str(first)]) == 0
    assert "control" in capsys.readouterr().out
    mikata.grad_cam(folder, model=package, controls=True, control_images=5, out=second)
    names = {path.name for path in first.iterdir()}
    assert names == {path.name for path in second.iterdir()}
    for name in names - {"Grad-CAM controls.html"}:
        assert (first / name).read_bytes() == (second / name).read_bytes()

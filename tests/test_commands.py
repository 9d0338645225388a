"""Predict and Grad-CAM as functions: files, folders, stacks, one scale, what is skipped."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from skimage import data

import mikata
from mikata import images, regions
from mikata.errors import ImageError, NetworkError, OutputError, PackageError, ParameterError
from mikata.explanation import METHODS, Settings, heat_maps
from mikata.networks import read_package, to_input
from packages import CLASSES, write_package

PHOTO = data.brick()


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_package(tmp_path_factory.mktemp("山田 太郎 (test)") / "model")


@pytest.fixture(scope="module")
def resizing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_package(tmp_path_factory.mktemp("resize") / "model", fit="resize")


def photo(size: int = 96, left: int = 0) -> images.Image:
    return images.from_array(PHOTO[:size, left : left + size], "YX", title=f"photo {left}")


def stack() -> images.Image:
    planes = np.stack([PHOTO[:80, 90 * i : 90 * i + 90] for i in range(4)]).reshape(2, 2, 80, 90)
    return images.from_array(planes, "TZYX", title="stack", pixel_size=(0.2, 0.2, 1), unit="mm")


def test_predict_gives_one_row_a_plane(package: Path) -> None:
    table = mikata.predict([photo(), stack()], model=package).tables[0]
    assert table.columns == (
        "image",
        "slice",
        "frame",
        "predicted",
        "probability",
        *(f"p({c})" for c in CLASSES),
    )
    assert [row[:3] for row in table.rows] == [
        ("photo 0", 1, 1), ("stack", 1, 1), ("stack", 2, 1), ("stack", 1, 2), ("stack", 2, 2),
    ]  # fmt: skip
    for row in table.rows:
        assert sum(row[5:]) == pytest.approx(1, abs=1e-6)
        assert row[4] == max(row[5:])
        assert row[3] == CLASSES[int(np.argmax(row[5:]))]


def test_the_batch_changes_nothing(package: Path) -> None:
    one = mikata.predict(stack(), model=package, batch=1).tables[0].rows
    four = mikata.predict(stack(), model=package, batch=4).tables[0].rows
    np.testing.assert_allclose([r[4:] for r in one], [r[4:] for r in four], atol=1e-6)


def test_heat_has_the_images_size_and_scale(package: Path, resizing: Path) -> None:
    for model in (package, resizing):
        result = mikata.grad_cam(stack(), model=model)
        (heat,) = result.images
        assert (heat.axes, heat.array.shape, heat.array.dtype.name) == ("TZYX", (2, 2, 80, 90), "float32")
        assert (heat.pixel_size, heat.unit, heat.title) == ((0.2, 0.2, 1), "mm", "stack heat")
        assert heat.array.min() >= 0
        positions = {(r.z_position, r.t_position) for r in map(regions.to_roi, result.overlay or ())}
        assert positions >= {(1, 1), (2, 1), (1, 2), (2, 2)}


def test_all_classes_are_channels(package: Path) -> None:
    (heat,) = mikata.grad_cam(stack(), model=package, target="all").images
    assert (heat.axes, heat.array.shape) == ("TZCYX", (2, 2, 3, 80, 90))
    assert heat.slice_labels == CLASSES * 4
    for k, name in enumerate(CLASSES):
        (one,) = mikata.grad_cam(stack(), model=package, target=name).images
        np.testing.assert_allclose(one.array, heat.array[:, :, k], atol=1e-6)


def test_one_scale_over_all_images(package: Path, hard_path: Path) -> None:
    files = [images.write_tiff(hard_path / f"写真 {n}.tif", photo(left=n)) for n in (0, 130, 260)]
    out = hard_path / "out"
    result = mikata.grad_cam(files, model=package, out=out, target="brick")
    assert sorted(p.name for p in out.iterdir()) == sorted(p.name for p in result.files)
    heats = [images.read(out / f"{f.stem} heat.tif") for f in files]
    top = max(float(h.array.max()) for h in heats)
    for heat in heats:
        assert heat.display_ranges[0] == pytest.approx((0.0, top))
    rows = list(csv.DictReader((out / "Grad-CAM.csv").read_text("utf-8-sig").splitlines()))
    assert [r["image"] for r in rows] == [f.stem for f in files]
    for row, heat, file in zip(rows, heats, files, strict=True):
        assert float(row["heat_maximum"]) == pytest.approx(float(heat.array.max()))
        y, x = np.unravel_index(heat.array.argmax(), heat.array.shape)
        assert (row["peak_x_px"], row["peak_y_px"]) == (str(x), str(y))
        marked = images.read(out / f"{file.stem} with heat.tif")
        np.testing.assert_array_equal(marked.array, images.read(file).array)
        contour = next(r for r in marked.overlay if r.name == "heat >= 50 % of maximum")
        inside = regions.mask(contour, heat.array.shape)
        np.testing.assert_array_equal(inside, heat.array >= heat.array.max() * 0.5)
        assert int(row["area_above_50_percent_of_maximum_px"]) == inside.sum()


def test_a_second_run_replaces_only_its_own_heat(package: Path) -> None:
    own = regions.rectangle(1, 1, 5, 5, name="mine")
    first = photo().replace(overlay=(own,))
    drawn = mikata.grad_cam(first, model=package).overlay
    again = mikata.grad_cam(first.replace(overlay=drawn), model=package).overlay
    assert drawn == again
    assert drawn is not None
    assert drawn[0] == own
    # ImageJ forgets the names of image ROIs in files
    nameless = tuple(r if regions.to_roi(r).image is None else unnamed(r) for r in drawn)
    assert mikata.grad_cam(first.replace(overlay=nameless), model=package).overlay == drawn


def unnamed(region: mikata.Region) -> mikata.Region:
    roi = regions.to_roi(region)
    roi.name = ""
    return regions.from_roi(roi)


def test_what_does_not_suit_is_skipped_and_listed(package: Path, hard_path: Path) -> None:
    images.write_tiff(hard_path / "good.tif", photo())
    (hard_path / "broken.tif").write_bytes(b"II*\0 nothing")
    images.write_tiff(hard_path / "flat.tif", images.from_array(np.full((70, 70), 9, np.uint8), "YX"))
    planes = np.stack([np.zeros((70, 70), np.uint8), PHOTO[:70, :70]])
    images.write_tiff(hard_path / "stack.tif", images.from_array(planes, "ZYX"))
    result = mikata.predict(hard_path, model=package)
    assert [(r[0], r[1]) for r in result.tables[0].rows] == [("good", 1), ("stack", 2)]
    assert "Skipped: 3 file(s) (broken.tif: " in result.message
    assert "broken.tif" in result.message
    heat = next(i for i in mikata.grad_cam(hard_path, model=package).images if i.title == "stack heat")
    assert not heat.array[0].any()
    assert heat.array[1].any()


@pytest.mark.parametrize(
    ("image", "changes", "error", "words"),
    [
        (np.full((64, 64), 7, np.uint8), {}, ImageError, "is constant"),
        (np.full((64, 64), np.nan, np.float32), {}, ImageError, "not numbers"),
        (np.dstack([PHOTO[:64, :64], PHOTO[:64, 64:128], PHOTO[:64, :64]]), {}, ImageError, "in colour"),
        (PHOTO[:64, :64].astype(np.uint16) * 257, {}, ImageError, "its values go from"),
        (PHOTO[:64, :64], {"target": "stone"}, NetworkError, "has no class 'stone'"),
        (PHOTO[:64, :64], {"layer": "nowhere"}, NetworkError, "nowhere"),
        (PHOTO[:64, :64], {"lut": "fire"}, ParameterError, "did you mean Fire?"),
        (PHOTO[:64, :64], {"contour_percent": -1}, ParameterError, "from 0 to 100"),
    ],
)
def test_bad_input_is_a_sentence(
    package: Path, image: np.ndarray, changes: dict[str, object], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        mikata.grad_cam(image, model=package, **changes)


def test_packages_that_are_none(package: Path, tmp_path: Path) -> None:
    with pytest.raises(PackageError):
        mikata.predict(photo(), model=tmp_path)
    (tmp_path / "a.zip").write_bytes(b"PK\3\4 nothing")
    with pytest.raises(PackageError, match=r"a\.zip"):
        mikata.predict(photo(), model=tmp_path / "a.zip")


def test_results_that_are_there_stay(package: Path, tmp_path: Path) -> None:
    mikata.predict(photo(), model=package, out=tmp_path)
    before = (tmp_path / "Predict.csv").read_bytes()
    with pytest.raises(OutputError, match=r"Predict\.csv is already there"):
        mikata.predict(photo(left=100), model=package, out=tmp_path)
    assert (tmp_path / "Predict.csv").read_bytes() == before
    mikata.predict(photo(left=100), model=package, out=tmp_path, overwrite=True)
    assert (tmp_path / "Predict.csv").read_bytes() != before


def test_planes_of_one_file_are_one_file(package: Path, hard_path: Path) -> None:
    planes = np.zeros((5, 70, 70), np.uint8)
    planes[0] = PHOTO[:70, :70]
    images.write_tiff(hard_path / "stack.tif", images.from_array(planes, "ZYX"))
    message = mikata.predict(hard_path, model=package).message
    assert "Skipped: 4 planes of 1 file(s) (stack.tif: " in message
    assert message.count("constant") == 1


def test_an_image_that_was_given_is_never_written_over(package: Path, hard_path: Path) -> None:
    given = images.write_tiff(hard_path / "a.tif", photo())
    mikata.grad_cam(given, model=package, out=hard_path)
    assert {p.name for p in hard_path.iterdir()} == {"a.tif", "a with heat.tif", "a heat.tif", "Grad-CAM.csv"}
    marked = hard_path / "a heat.tif"  # what a second run over the folder would write over
    given.rename(hard_path / "b.tif")
    images.write_tiff(hard_path / "a.tif", photo())
    before = marked.read_bytes()
    with pytest.raises(OutputError, match=r"a heat\.tif is one of the images"):
        mikata.grad_cam([hard_path / "a.tif", marked], model=package, out=hard_path, overwrite=True)
    assert marked.read_bytes() == before


def test_subfolders_on_request(package: Path, hard_path: Path) -> None:
    for name in ("x/a.tif", "y/b.tif"):
        (hard_path / name).parent.mkdir()
        images.write_tiff(hard_path / name, photo())
    rows = mikata.predict(hard_path, model=package, subfolders=True).tables[0].rows
    assert [r[0] for r in rows] == ["a", "b"]
    with pytest.raises(ImageError, match="in its folders"):
        mikata.predict(hard_path, model=package)


def test_progress_goes_plane_by_plane(package: Path) -> None:
    told = []

    class Listening(mikata.Progress):
        def show(self, message: str, done: int = 0, total: int = 0) -> None:
            told.append((message, done, total))

    stack = images.from_array(np.stack([PHOTO[i : i + 70, :70] for i in range(30)]), "ZYX", title="stack")
    mikata.grad_cam(stack, model=package, batch=4, progress=Listening())
    for message in ("Grad-CAM", "Draw heat maps"):
        assert [done for words, done, total in told if words == message and total == 30] == list(range(31))


def test_a_colour_network_takes_grey_and_colour(tmp_path: Path) -> None:
    model = write_package(tmp_path / "model", channels=3)
    colour = images.from_array(data.astronaut()[:70, :80], "YXS", title="astronaut")
    rows = mikata.predict([colour, photo()], model=model).tables[0].rows
    assert [r[0] for r in rows] == ["astronaut", "photo 0"]
    result = mikata.grad_cam(colour, model=model)
    assert result.images[0].array.shape == (70, 80)


@pytest.mark.parametrize("method", [m for m in METHODS if m != "Grad-CAM"])
def test_every_method_is_a_command(package: Path, hard_path: Path, method: str) -> None:
    file = images.write_tiff(hard_path / "a.tif", photo(70))
    given = {"window_percent": 30, "masks": 20, "steps": 5, "batch": 8}
    result = mikata.grad_cam(file, model=package, method=method, out=hard_path / "out", **given)  # type: ignore[arg-type]
    assert result.message.startswith(f"{method} of 1 plane(s) by model")
    assert ("layer features" in result.message) is METHODS[method].needs_layer
    assert METHODS[method].meaning() in result.message
    (row,) = csv.DictReader((hard_path / "out" / f"{method}.csv").read_text("utf-8-sig").splitlines())
    assert row["method"] == method
    assert row["layer"] == ("features" if METHODS[method].needs_layer else "")
    heat = images.read(hard_path / "out" / "a heat.tif")
    assert heat.value_unit == method
    assert float(row["heat_maximum"]) == pytest.approx(float(heat.array.max()))
    assert ("completeness_error" in row) is (method == "Integrated-Gradients")
    cell = {"Integrated-Gradients": 1, "Occlusion": 21, "RISE": 10}.get(method, 70 / 8)
    assert float(row["cell_width_px"]) == pytest.approx(cell, abs=0.001)


def test_the_commands_map_is_the_methods(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same numbers as from the method itself; maps on disk as those in memory."""
    network = read_package(package)
    x = to_input(next(photo(70).frames()).values, network, name="photo")[None]
    classifier = network.classifier.eval()
    with torch.no_grad():
        normalised = classifier.normalise(x)
        zero = classifier.normalise(torch.zeros(1, 1, 1, 1))[0]
    settings = Settings(window_px=(14, 14), baseline=zero, forward=16)
    expected = heat_maps(classifier.network, normalised, "all", "Occlusion", settings=settings).maps
    monkeypatch.setattr("mikata.explanation.kept._IN_MEMORY", 100)
    options = {"target": "all", "window_percent": 20, "baseline": "zero"}
    (heat,) = mikata.grad_cam(photo(70), model=package, method="Occlusion", **options).images  # type: ignore[arg-type]
    np.testing.assert_allclose(heat.array, expected[0, ..., :70, :70], atol=1e-6)


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"method": "Grad-CM"}, ParameterError, "did you mean Grad-CAM"),
        ({"method": "RISE", "layer": "features"}, NetworkError, "RISE looks at the image, not at a layer"),
        ({"method": "Eigen-CAM", "target": "brick"}, NetworkError, "Eigen-CAM is the same for every class"),
        ({"method": "HiResCAM", "target": "stone"}, NetworkError, "HiResCAM: model has no class 'stone'"),
        ({"masks": 0}, ParameterError, "masks is 0"),
    ],
)
def test_methods_and_bad_input(
    package: Path, changes: dict[str, object], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        mikata.grad_cam(photo(70), model=package, **changes)


def test_several_levels_and_a_label(package: Path) -> None:
    result = mikata.grad_cam(photo(), model=package, contour_percent="30;80")
    (heat,) = result.images
    drawn = {one.name: one for one in result.overlay or ()}
    row = dict(zip(result.tables[0].columns, result.tables[0].rows[0], strict=True))
    for percent in (30, 80):
        inside = heat.array >= heat.array.max() * (percent / 100)
        region = drawn[f"heat >= {percent} % of maximum"]
        np.testing.assert_array_equal(regions.mask(region, heat.array.shape), inside)
        assert row[f"area_above_{percent}_percent_of_maximum_px"] == inside.sum()
    assert (
        regions.to_roi(drawn["heat label"]).text.strip()
        == f"{row['class']} {row['probability']:.2f}\nGrad-CAM"
    )
    plain = mikata.grad_cam(photo(), model=package, contour_percent=30, hide_label=True)  # type: ignore[arg-type]
    names = [one.name for one in plain.overlay or ()]
    assert "heat label" not in names
    assert sum(name.startswith("heat >=") for name in names) == 1
    # a second run leaves nothing of the first
    again = mikata.grad_cam(photo().replace(overlay=result.overlay), model=package, hide_label=True).overlay
    assert [one.name for one in again or ()].count("heat label") == 0


def test_a_label_names_the_predicted_class_beside_another(package: Path) -> None:
    (row,) = mikata.predict(photo(), model=package).tables[0].rows
    other = next(name for name in CLASSES if name != row[3])
    drawn = mikata.grad_cam(photo(), model=package, target=other, method="HiResCAM").overlay
    words = next(regions.to_roi(one).text for one in drawn or () if one.name == "heat label")
    first, second = words.split("\n")[:2]
    assert first.startswith(other)
    assert first.endswith(f"(predicted: {row[3]} {row[4]:.2f})")
    assert second == "HiResCAM"

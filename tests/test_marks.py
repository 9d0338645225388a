"""Burned-in letters and borders: found in films, painted over, and what a network that reads them does then."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage
from torch import nn

import mikata
from mikata import datasets, images, packaging
from mikata.architecture import Classifier
from mikata.errors import DataError, NetworkError, ParameterError
from mikata.evaluation import exchange_p
from mikata.explaining.collected import Maps, Subject
from mikata.explaining.traps import measured, table
from mikata.explanation.marks import border, burned_in, painted_over
from mikata.explanation.region_frames import Frame
from mikata.explanation.region_marks import MarkSource, kinds_of
from mikata.networks import build
from packages import Untrained


def film(size: tuple[int, int] = (256, 224), seed: int = 0) -> NDArray[np.uint8]:
    """Smooth light and dark places with some grain, as a chest film has them: from 10 to 190."""
    random = np.random.default_rng(seed)
    ground = ndimage.gaussian_filter(random.standard_normal(size), min(size) / 10)
    ground = (ground - ground.min()) / np.ptp(ground)
    return np.clip(10 + 180 * ground + random.normal(0, 2, size), 0, 255).astype(np.uint8)


def lettered(
    plane: NDArray[np.uint8], text: str, place: tuple[int, int], height: int, value: int = 255
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """The plane with letters of Pillow's own font in it, and where their strokes are."""
    canvas = Image.new("L", plane.shape[::-1])
    ImageDraw.Draw(canvas).text(place, text, fill=255, font=ImageFont.load_default(height))
    ink = np.asarray(canvas, float) / 255
    return (plane * (1 - ink) + value * ink).astype(np.uint8), ink > 0.5


# ---------------------------------------------------------------- finding


@pytest.mark.parametrize(("text", "height"), [("SUPINE, AP", 14), ("L", 18), ("AP ERECT", 12)])
@pytest.mark.parametrize("place", [(12, 10), (120, 100), (60, 220)])
def test_letters_are_found_where_they_are(text: str, height: int, place: tuple[int, int]) -> None:
    plane, ink = lettered(film() // 2, text, place, height)
    found = burned_in(plane)
    assert (found & ink).sum() >= 0.9 * ink.sum()
    near = ndimage.binary_dilation(ink, iterations=8)
    assert not (found & ~near).any()


def test_dark_letters_on_a_bright_ground() -> None:
    plane, ink = lettered(film() // 3 + 170, "SUPINE", (80, 100), 16, value=0)
    found = burned_in(plane)
    assert (found & ink).sum() >= 0.8 * ink.sum()
    assert not (found & ~ndimage.binary_dilation(ink, iterations=8)).any()


def test_large_films_are_searched_at_a_smaller_size() -> None:
    plane, ink = lettered(film((900, 700)) // 2, "MOBILE", (100, 90), 50)
    found = burned_in(plane)
    assert found.shape == plane.shape
    assert (found & ink).sum() >= 0.9 * ink.sum()
    assert not (found & ~ndimage.binary_dilation(ink, iterations=28)).any()


@pytest.mark.parametrize("seed", range(6))
def test_nothing_is_found_where_nothing_is_written(seed: int) -> None:
    assert not burned_in(film(seed=seed)).any()


def test_smooth_and_constant_planes_and_wires() -> None:
    y, x = np.mgrid[:200, :240]
    assert not burned_in(x + y).any()
    assert not burned_in(np.full((50, 60), 7)).any()
    assert not burned_in(np.zeros((2, 2))).any()
    canvas = Image.fromarray(film() // 2)
    ImageDraw.Draw(canvas).line([(10, 30), (200, 230)], fill=255, width=2)
    assert not burned_in(np.asarray(canvas)).any()


# ---------------------------------------------------------------- border


def test_the_border_is_the_outer_twentieth() -> None:
    mask = border(film((200, 100)))
    assert mask.sum() == 200 * 100 - 180 * 90
    assert not mask[10:190, 5:95].any()
    assert border(np.random.default_rng(0).random((4, 4))).sum() == 12  # at least one pixel each


def test_constant_bands_are_border_up_to_a_quarter() -> None:
    plane = film((200, 100))
    plane[:30] = 0
    plane[:, 80:] = 3
    mask = border(plane)
    inner = np.zeros_like(mask)
    inner[30:190, 5:80] = True
    np.testing.assert_array_equal(mask, ~inner)
    plane[:, 40:] = 3
    assert not border(plane)[30:190, 5:75].any()
    assert border(np.full((100, 100), 5)).sum() == 100 * 100 - 90 * 90


# ---------------------------------------------------------------- painting over


def test_painting_takes_the_surroundings_and_touches_nothing_else() -> None:
    plane, _ = lettered(film() // 2, "SUPINE, AP", (60, 100), 16)
    mask = burned_in(plane)
    found = painted_over(plane, mask)
    np.testing.assert_array_equal(found[~mask], plane[~mask])
    assert np.abs(found - film() // 2)[mask].mean() < 6  # what was there before the letters
    assert not burned_in(found).any()
    y, _x = np.mgrid[:60, :60]
    flat = np.full((60, 60), 9.0)
    np.testing.assert_allclose(painted_over(flat, y < 5), flat)
    np.testing.assert_array_equal(painted_over(flat, y < 0), flat)
    with pytest.raises(ValueError, match="covers everything"):
        painted_over(flat, y >= 0)


# ---------------------------------------------------------------- regions


def test_regions_of_an_image() -> None:
    plane, _ = lettered(film() // 2, "SUPINE, AP", (2, 2), 16)
    source = MarkSource(kinds_of("border + Marks"))
    planes = np.stack([plane, film() // 2])
    source.note("one", images.from_array(planes, "ZYX"))
    shape = (256, 224)
    first, second = (source.of(Frame("one", shape, z, 1, (1, 2, 1))) for z in (1, 2))
    assert (first.names, second.names) == (("marks", "border", "rest"), ("border", "rest"))
    assert first.overlapping_px == 0
    assert first.masks().any(0).all()
    np.testing.assert_array_equal(first.masks()[0], burned_in(plane))
    np.testing.assert_array_equal(source.covered("one", 2, 1), border(planes[1]))
    assert "No marks were found in 1 of 2 planes" in source.notes()[0]
    assert [kinds_of(text) for text in ("marks", "border", "marks+marks", "3x3", "")] == [
        ("marks",), ("border",), (), (), (),
    ]  # fmt: skip


# ---------------------------------------------------------------- figures


def maps_of(predicted: list[int], share: list[float], truth: list[int], patient: list[str]) -> Maps:
    subjects = tuple(
        Subject(f"i{n}", 1, 1, t, p, k, (0.5, 0.5))
        for n, (k, t, p) in enumerate(zip(predicted, truth, patient, strict=True))
    )
    values = np.array([[s, 1 - s] for s in share])
    return Maps(
        ("marks", "rest"), subjects, np.array(predicted), values, values * 0, values * 0, ("AP", "PA")
    )


def test_figures_by_hand() -> None:
    truth, patient = [0, 0, 1, 1, 0, 1], list("aabbcd")
    before = maps_of([0, 0, 1, 1, 1, 1], [0.6, 0.4, 0.2, 0.2, 0.5, 0.5], truth, patient)
    after = maps_of([1, 0, 1, 0, 1, 1], [0.1, 0.1, 0.1, 0.1, 0.1, 0.1], truth, patient)
    found = measured(before, after, {"i0", "i1", "i4"}, "balanced=1")
    by = {(one.of, one.name, one.explained, one.region): one for one in found}
    right = by["all", "accuracy", "", ""]
    assert (right.before, right.after) == (pytest.approx(5 / 6), pytest.approx(3 / 6))
    assert right.difference == pytest.approx(-2 / 6)
    assert (right.n_planes, right.n_units, right.n_pairs) == (6, 4, 6)
    assert right.p == exchange_p([-1, -1, 0, 0])
    assert np.isnan(right.difference_interval.low), "4 patients are too few to resample"
    assert "fewer than 5 patients" in right.difference_interval.method
    many = measured(maps_of([0, 0, 1, 1, 1, 1], [0.5] * 6, truth, list("abcdef")), after)[0]
    assert many.difference_interval.low <= many.difference <= many.difference_interval.high
    assert by["all", "changed predictions", "", ""].after == pytest.approx(2 / 6)
    assert by["all", "heat share", "all", "marks"].before == pytest.approx(0.4)
    assert by["all", "heat share", "all", "marks"].difference == pytest.approx(-0.3)
    assert by["all", "heat share", "AP", "marks"].before == pytest.approx(0.5)
    part = by["balanced=1", "accuracy", "", ""]
    assert (part.before, part.after, part.n_planes) == (pytest.approx(2 / 3), pytest.approx(1 / 3), 3)
    assert len(table(found).rows) == len(found)
    plain = measured(before, None, {"i0"}, "balanced=1")
    assert all(np.isnan(one.after) for one in plain)
    assert {one.name for one in plain} == {"accuracy", "heat share"}


def test_a_film_whose_class_has_changed_is_not_compared() -> None:
    """Its painted map is of the other class, whose share differs for that reason alone."""
    truth, patient = [1] * 6, list("abcdef")
    before = maps_of([1] * 6, [0.25] * 6, truth, patient)
    after = maps_of([1, 1, 1, 1, 1, 0], [0.25] * 5 + [0.1], truth, patient)
    (share,) = [one for one in measured(before, after) if (one.explained, one.region) == ("PA", "marks")]
    assert (share.n_planes, share.n_pairs) == (6, 5)
    assert (share.before, share.after, share.difference) == (0.25, 0.25, 0)


# ---------------------------------------------------------------- the command


def reading_letters() -> Classifier:
    """Says ``lettered`` where pixels are brighter than 180, and looks at nothing else: one channel goes straight on."""
    classifier = build("small_cnn", classes=2, channels=1, mean=[0.0], std=[1.0])
    first = True
    with torch.no_grad():
        for layer in classifier.network.modules():
            if isinstance(layer, nn.Conv2d):
                layer.weight.zero_()
                layer.weight[0, 0, 1, 1] = 1.0
            elif isinstance(layer, nn.BatchNorm2d) and first:
                layer.running_mean[0], first = 180.0, False  # type: ignore[index]
            elif isinstance(layer, nn.Linear):
                layer.weight.zero_()
                layer.weight[:, 0] = torch.tensor([-5.0, 5.0])
                layer.bias.copy_(torch.tensor([2.0, -2.0]))
    return classifier.eval()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = Untrained(reading_letters(), classes=("plain", "lettered"))
    return packaging.write(
        tmp_path_factory.mktemp("m") / "reader", made, name="Reader", test_image=packaging.formula_image(made)
    )


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """16 films of 16 patients, half with letters; of the balanced half too."""
    folder = tmp_path_factory.mktemp("films 山田")
    lines = ["file,label,patient,Balanced"]
    for n in range(16):
        plane = film((128, 128), seed=n) // 2
        if n % 2:
            plane, _ = lettered(plane, "AP", (8 + 3 * n, 70 - 3 * n), 12)
        Image.fromarray(plane).save(folder / f"{n}.png")
        lines.append(f"{n}.png,{('plain', 'lettered')[n % 2]},p{n},{int(n < 8)}")
    path = folder / "table.csv"
    path.write_text("\n".join(lines))
    return path


def test_a_network_that_reads_letters_is_found_out(model: Path, films: Path, hard_path: Path) -> None:
    out = hard_path / "out"
    result = mikata.heat_by_region(
        films, model=model, regions="marks+border", target="lettered", mask_regions=True, subset="balanced=1", out=out,
        no_controls=True,
    )  # fmt: skip
    found = list(csv.DictReader((out / "Heat by Region traps.csv").read_text("utf-8-sig").splitlines()))
    by = {(row["of"], row["figure"], row["class"], row["region"]): row for row in found}
    for of, count in (("all", "16"), ("balanced=1", "8")):
        right = by[of, "accuracy", "", ""]
        assert (right["value"], right["painted_over"], right["difference"]) == ("1.0", "0.5", "-0.5")
        assert right["n_planes"] == count
        assert float(right["difference_high"]) < 0
        assert float(by[of, "changed predictions", "", ""]["painted_over"]) == 0.5
    assert float(by["all", "heat share", "lettered", "marks"]["value"]) > 0.4
    assert "All images: accuracy 100.0 %" in result.message
    assert "8 predictions changed" in result.message
    assert "Marks, borders and subsets" in (out / "Heat by Region.html").read_text()
    assert out / "Heat by Region traps.csv" in result.files


def test_a_subset_alone(model: Path, films: Path) -> None:
    result = mikata.heat_by_region(films, model=model, regions="2x2", subset="Balanced=0", no_controls=True)
    assert "Balanced=0: accuracy 100.0 %" in result.message
    assert result.tables[-1].title == "Heat by Region traps"
    assert "painted over" not in result.message
    assert datasets.files_where(films, " balanced = 1 ") == {films.parent / f"{n}.png" for n in range(8)}


def test_bad_input(model: Path, films: Path) -> None:
    def refused(error: type[Exception], words: str, given: object = films, **changes: object) -> None:
        with pytest.raises(error, match=words):
            mikata.heat_by_region(given, model=model, **({"regions": "marks"} | changes))  # type: ignore[arg-type]

    refused(ParameterError, "set regions to marks, border or marks", regions="2x2", mask_regions=True)
    refused(ParameterError, "such as origin_balanced=1, not 'balanced'", subset="balanced")
    refused(DataError, "has no column 'origin'.*Balanced", subset="origin=1")
    refused(DataError, "No row of .* has 7 .*it has 0, 1", subset="balanced=7")
    refused(ParameterError, "needs a CSV", films.parent / "0.png", subset="balanced=1")


def test_a_network_that_gives_a_value_is_refused(films: Path, hard_path: Path) -> None:
    classifier = Classifier("small_cnn", 1, 1, [120.0], [50.0], target=(60.0, 12.0), unit="mm").eval()
    made = Untrained(classifier, classes=())
    model = packaging.write(hard_path / "m", made, name="Value", test_image=packaging.formula_image(made))
    with pytest.raises(NetworkError, match="leave mask_regions off"):
        mikata.heat_by_region(films.parent / "0.png", model=model, regions="marks", mask_regions=True)

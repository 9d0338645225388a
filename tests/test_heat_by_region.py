"""Heat by Region: summaries by patient, and the command on small images."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from skimage import data

import mikata
from labelled import patients, write_folders, write_table
from mikata import cli, images, packaging, regions
from mikata.architecture import Classifier
from mikata.commands import COMMANDS
from mikata.errors import (
    DataError,
    ImageError,
    NetworkError,
    OutputError,
    ParameterError,
    RegionError,
)
from mikata.evaluation.intervals import drawings, expanded
from mikata.explaining.collected import NOT_DEFINED, Maps, Subject
from mikata.explaining.region_page import notes, page
from mikata.explaining.summary import Group, summarise
from mikata.language import speaking
from mikata.networks import build
from packages import Untrained, write_package

PHOTO = data.brick()
LONG, SUMMARY, DIFFERENCES = (f"Heat by Region{end}.csv" for end in ("", " summary", " differences"))


def rows(file: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(file.read_text("utf-8-sig").splitlines()))


# ---------------------------------------------------------------- summaries


def made(
    share: list[list[float]],
    *,
    patient: list[str] | None = None,
    truth: list[int] | None = None,
    predicted: list[int] | None = None,
    explained: list[int] | None = None,
    image: list[str] | None = None,
) -> Maps:
    """Maps of given shares in the regions ``left`` and ``right``; the peak is where more heat is."""
    count = len(share)
    subjects = tuple(
        Subject(
            image[i] if image else f"image {i}", i + 1, 1, truth[i] if truth else None,
            patient[i] if patient else "", predicted[i] if predicted else 0, (0.5, 0.5),
        )
        for i in range(count)
    )  # fmt: skip
    values = np.array(share, float)
    hit = np.where(np.isnan(values), np.nan, values == values.max(1, keepdims=True))
    area = np.tile([0.25, 0.75], (count, 1))
    return Maps(
        ("left", "right"), subjects, np.array(explained or predicted or [0] * count), values, area, hit, ("AP", "PA")
    )  # fmt: skip


def test_means_spread_and_counts() -> None:
    nan = float("nan")
    found = summarise(made([[0.2, 0.8], [0.6, 0.4], [nan, nan], [0.7, 0.3]], patient=["a", "a", "b", "c"]))
    left, right = found.of("all")[Group("all", "", "AP")]
    assert (left.n_maps, left.n_images, left.n_units, left.n_without_heat) == (3, 3, 2, 1)
    assert (left.mean, left.median, left.area) == (pytest.approx(0.5), pytest.approx(0.6), 0.25)
    assert left.sd == pytest.approx(np.std([0.2, 0.6, 0.7], ddof=1))
    assert left.mean + right.mean == pytest.approx(1)
    assert left.pointing == pytest.approx(2 / 3)
    assert (found.unit, found.n_units) == ("patient", 3)
    table = found.table()
    row = dict(zip(table.columns, table.rows[0], strict=True))
    assert (row["class"], row["region"], row["n_without_heat"], row["n_patients_resampled"]) == (
        "AP",
        "left",
        1,
        2,
    )


def test_intervals_resample_patients() -> None:
    """Against the plain way: draw patients, take all their maps, average."""
    random = np.random.default_rng(3)
    count = 40
    patient = [f"p{i // 4:02d}" for i in range(count)]  # four like images each
    base = np.repeat(random.uniform(0.2, 0.8, 10), 4) + random.normal(0, 0.01, count)
    found = summarise(made([[x, 1 - x] for x in base], patient=patient), seed=5)
    draws = np.concatenate(list(drawings(10, seed=5, size=4)), axis=1)
    means = np.array([
        np.average(base, weights=np.repeat(draws[:, column], 4)) for column in range(draws.shape[1])
    ])  # fmt: skip
    left = found.figures[0]
    assert (left.interval.low, left.interval.high) == pytest.approx(expanded(means, 10), abs=1e-9)
    assert left.interval.method == "bootstrap over patients, expanded percentiles"
    single = summarise(made([[x, 1 - x] for x in base]), seed=5).figures[0].interval
    # four copies of a patient are no four patients
    assert left.interval.high - left.interval.low > 1.6 * (single.high - single.low)


def test_planes_of_one_file_are_not_independent() -> None:
    found = summarise(made([[0.2, 0.8], [0.6, 0.4]], image=["stack", "stack"]))
    assert (found.unit, found.n_units) == ("image", 1)
    assert np.isnan(found.figures[0].interval.low)
    assert found.table().rows[0][10] == NOT_DEFINED


def test_groups_by_truth_prediction_and_correctness() -> None:
    maps = made(
        [[0.2, 0.8], [0.6, 0.4], [0.7, 0.3], [0.9, 0.1]],
        truth=[0, 0, 1, 1],
        predicted=[0, 1, 1, 1],
        patient=list("abcd"),
    )
    found = summarise(maps)
    means = {
        (g.by, g.value, g.explained): own[0].mean
        for by in ("all", "true class", "predicted class", "correctness")
        for g, own in found.of(by).items()
    }
    assert means == pytest.approx({
        ("all", "", "AP"): 0.2, ("all", "", "PA"): 2.2 / 3,
        ("true class", "AP", "AP"): 0.2, ("true class", "AP", "PA"): 0.6, ("true class", "PA", "PA"): 0.8,
        ("correctness", "correct", "AP"): 0.2, ("correctness", "correct", "PA"): 0.8,
        ("correctness", "wrong", "PA"): 0.6,
    })  # fmt: skip
    every = made(
        [[0.2, 0.8], [0.6, 0.4]], truth=[0, 0], predicted=[0, 0], explained=[0, 1], patient=["a", "a"]
    )
    assert list(summarise(every).of("predicted class")) == [
        Group("predicted class", "AP", "AP"), Group("predicted class", "AP", "PA"),
    ]  # fmt: skip


def test_a_difference_of_classes_is_found_and_none_made_up() -> None:
    random = np.random.default_rng(0)
    count = 60
    predicted = [i % 2 for i in range(count)]
    apart = [0.3 + 0.3 * p + random.normal(0, 0.05) for p in predicted]
    same = [0.4 + random.normal(0, 0.05) for _ in predicted]
    patient = [f"p{i // 2}" for i in range(count)]  # every patient has a map of either class
    for values, expected in ((apart, -0.3), (same, 0.0)):
        found = summarise(made([[x, 1 - x] for x in values], predicted=predicted, patient=patient))
        (left, right) = found.differences
        assert left.value == pytest.approx(expected, abs=0.03)
        assert left.value == pytest.approx(-right.value)
        assert left.interval.low <= left.value <= left.interval.high
        assert (left.p_holm < 0.05) == (expected != 0) == (left.interval.high < 0)
        assert left.p_holm >= left.p
    row = dict(zip(*(found.difference_table().columns, found.difference_table().rows[0]), strict=True))
    assert (row["by"], row["first"], row["second"], row["region"]) == ("class", "AP", "PA", "left")


# ---------------------------------------------------------------- the command


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_package(tmp_path_factory.mktemp("山田 太郎 (test)") / "model", classes=("a", "b"))


@pytest.fixture(scope="module")
def resizing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_package(tmp_path_factory.mktemp("resize") / "model", fit="resize", classes=("a", "b"))


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 pictures of 12 patients in two classes; the last patient of each class is the test."""
    listed = [(*row, "test" if "5" in row[2] else "training") for row in patients(6, 2)]
    return write_table(tmp_path_factory.mktemp("data"), listed, header="file,label,patient,split")


def photo(height: int = 96, width: int = 80, left: int = 0) -> images.Image:
    return images.from_array(PHOTO[:height, left : left + width], "YX", title=f"photo {left}")


@pytest.mark.parametrize("kind", ["package", "resizing"])
@pytest.mark.parametrize("size", [(96, 80), (40, 50)])
def test_shares_are_sums_over_the_heat_image_of_grad_cam(
    kind: str, size: tuple[int, int], request: pytest.FixtureRequest
) -> None:
    """The same heat as the user sees and can measure in ImageJ, also where a small image was continued."""
    model = request.getfixturevalue(kind)
    picture = photo(*size)
    drawn = (regions.oval(5, 3, 20, 30, name="oval"), regions.rectangle(20, 20, 30, 20, name="box"))
    (heat,) = mikata.grad_cam(picture, model=model, target="all", result="heat-map").images
    result = mikata.heat_by_region(picture.replace(overlay=drawn), model=model, target="all")
    long = result.tables[0]
    assert len(long.rows) == 4
    for line in long.rows:
        row = dict(zip(long.columns, line, strict=True))
        values = heat.array[("a", "b").index(row["class"])].astype(float)
        inside = regions.mask(next(r for r in drawn if r.name == row["region"]), size)
        assert row["heat_share"] == pytest.approx(values[inside].sum() / values.sum(), rel=1e-4)
        assert row["heat_mean"] == pytest.approx(values[inside].mean(), rel=1e-4)
        assert row["area_share"] == inside.sum() / inside.size
        assert values[row["peak_y_px"], row["peak_x_px"]] == pytest.approx(values.max(), rel=1e-5)
        assert row["peak_inside"] == int(inside[row["peak_y_px"], row["peak_x_px"]])
        assert (row["region"] in row["peak_region"].split("; ")) == bool(row["peak_inside"])
        assert row["centre_x_px"] == pytest.approx(
            (values.sum(0) @ np.arange(size[1])) / values.sum(), rel=1e-4
        )


def test_labelled_data_give_tables_a_page_and_mean_heat(package: Path, table: Path, hard_path: Path) -> None:
    out = hard_path / "out"
    result = mikata.heat_by_region(table, model=package, regions="2x2", out=out, target="all")
    assert sorted(p.name for p in out.iterdir()) == sorted(p.name for p in result.files)
    assert result.page == out / "Heat by Region.html"
    long = rows(out / LONG)
    assert len(long) == 24 * 2 * 4
    for start in range(0, len(long), 4):  # the four cells of each map
        shares = [row["heat_share"] for row in long[start : start + 4]]
        assert shares == [NOT_DEFINED] * 4 or sum(map(float, shares)) == pytest.approx(1)
    assert {row["label"] for row in long} == {"a", "b"}
    assert len({row["patient"] for row in long}) == 12
    assert not any("a5" in row["patient"] for row in long)  # as everywhere: no patient's own id
    summary = rows(out / SUMMARY)
    assert {row["by"] for row in summary} == {"all", "true class", "predicted class", "correctness"}
    for row in summary:
        picked = [
            float(one["heat_share"])
            for one in long
            if row["by"] == "all"
            and (one["class"], one["region"]) == (row["class"], row["region"])
            and one["heat_share"] != NOT_DEFINED
        ]
        if picked:
            assert float(row["heat_share_mean"]) == pytest.approx(np.mean(picked))
            assert int(row["n_maps"]) == len(picked)
    assert {row["by"] for row in rows(out / DIFFERENCES)} >= {"class"}
    mean = images.read(out / "mean heat.tif")
    heated = {row["class"] for row in summary if row["by"] == "all" and row["n_maps"] != "0"}
    assert mean.size("C") == len(heated) > 0
    assert float(mean.array.mean()) == pytest.approx(1, abs=0.02)  # times of an even spread
    text = (out / "Heat by Region.html").read_text()
    assert text.count("data:image") == 2
    assert (
        "The controls of the heat maps were not made" in text
    )  # hardly any map of the predicted class has heat
    assert "row 1 column 2" in text
    assert "http" not in text.replace("http://www.w3.org", "")  # opens without a network
    assert result.tables[1].rows
    assert not result.tables[1].append


def test_the_mean_heat_has_the_mean_shares(resizing: Path, table: Path) -> None:
    result = mikata.heat_by_region(table, model=resizing, regions="2x2", target="a", no_controls=True)
    (mean,) = result.images
    height, width = mean.array.shape
    quarter = float(mean.array[: height // 2, : width // 2].sum() / mean.array.sum())
    figures = dict(zip(result.tables[1].columns, result.tables[1].rows[0], strict=True))
    assert figures["region"] == "row 1 column 1"
    assert quarter == pytest.approx(figures["heat_share_mean"], abs=2e-3)


def test_targets_and_parts(package: Path, table: Path) -> None:
    result = mikata.heat_by_region(table, model=package, regions="1x2", target="true", part="test")
    names = result.tables[0].columns
    found = [dict(zip(names, row, strict=True)) for row in result.tables[0].rows]
    assert [row["class"] for row in found] == [row["label"] for row in found]
    assert len(found) == 4 * 2
    assert result.message.startswith("Heat of 4 plane(s) in 2 region(s) (1x2) by model, layer ")
    assert "Only 2 patients" in result.message
    one = mikata.heat_by_region(table, model=package, regions="1x2", target="b", part="test")
    assert {row[names.index("class")] for row in one.tables[0].rows} == {"b"}
    folder = table.parent
    again = mikata.heat_by_region(folder, model=package, regions="1x2", target="b", no_controls=True)
    assert len(again.tables[0].rows) == 24 * 2
    assert "Patients are not known: images are taken as independent" in again.message


def test_regions_of_each_image(package: Path, hard_path: Path) -> None:
    files, sets = hard_path / "films", hard_path / "sets"
    files.mkdir(), sets.mkdir()
    for n, (height, width) in enumerate([(96, 80), (70, 90), (96, 80)]):
        images.write_tiff(files / f"film {n}.tif", photo(height, width, 50 * n))
        own = [regions.rectangle(0, 0, width // 2, height, name="half")]
        own += [regions.oval(40, 20, 9, 9, name="heart")] if n < 2 else []
        regions.write(sets / f"film {n}.zip", own)
    result = mikata.heat_by_region(files, model=package, regions=str(sets), target="a")
    found = {row[3]: row for row in result.tables[1].rows}
    assert found["half"][result.tables[1].columns.index("area_share")] == pytest.approx(0.5)
    assert (found["half"][4], found["heart"][4]) == (3, 2)
    with pytest.raises(RegionError, match="different sizes"):
        mikata.heat_by_region(files, model=package, regions=str(sets / "film 0.zip"), target="a")
    (sets / "film 1.zip").unlink()
    with pytest.raises(RegionError, match=r"1 of 3 images have no region set.*film 1"):
        mikata.heat_by_region(files, model=package, regions=str(sets), target="a")


def test_notes_name_what_to_know_of_regions(package: Path) -> None:
    drawn = (
        regions.rectangle(-5, 0, 30, 30, name="edge"),
        regions.rectangle(20, 20, 30, 30, name="box"),
        regions.rectangle(60, 60, 3, 3, name="dot"),
        regions.text(1, 1, "L", name="side"),
    )
    message = mikata.heat_by_region(photo().replace(overlay=drawn), model=package, target="a").message
    assert "Regions overlap in 1 of 1 images (photo 0)" in message
    assert "reach over the border of 1 of 1 images (photo 0: edge)" in message
    assert "Smaller than two cells of the network's grid" in message
    assert "dot (" in message
    assert "1 ROI(s) of the overlay have no area" in message


def test_a_stack_is_one_unit(package: Path) -> None:
    planes = np.stack([PHOTO[:80, 90 * i : 90 * i + 90] for i in range(3)])
    stack = images.from_array(planes, "ZYX", title="stack")
    result = mikata.heat_by_region(stack, model=package, regions="3x3", target="a")
    assert len(result.tables[0].rows) == 27
    assert "the 3 planes are of 1 file(s)" in result.message
    low = result.tables[1].columns.index("low")
    assert {row[low] for row in result.tables[1].rows} == {NOT_DEFINED}


def silent_package(folder: Path) -> Path:
    """A network whose head is all zero: nothing speaks for anything."""
    torch.manual_seed(7)
    classifier = build("small_cnn", classes=2, channels=1, mean=[110.0], std=[50.0])
    with torch.no_grad():
        for parameter in list(classifier.network.parameters())[-2:]:
            parameter.zero_()
    made = Untrained(classifier.eval(), classes=("a", "b"))
    return packaging.write(folder, made, name="Silent", test_image=packaging.formula_image(made))


def test_maps_without_heat_are_counted_and_said(table: Path, hard_path: Path) -> None:
    silent, out = silent_package(hard_path / "silent"), hard_path / "out"
    result = mikata.heat_by_region(table, model=silent, regions="chest", out=out, part="test", target="all")
    assert "8 of 8 heat maps have no heat at all" in result.message
    for row in rows(out / LONG):
        assert {row[key] for key in ("heat_share", "peak_x_px", "peak_inside", "centre_x_px")} == {
            NOT_DEFINED
        }
        assert row["heat_mean"] == "0.0"
        assert row["peak_region"] == ""
    for row in rows(out / SUMMARY):
        assert (row["n_maps"], row["heat_share_mean"], row["low"]) == ("0", NOT_DEFINED, NOT_DEFINED)
    assert not (out / "mean heat.tif").exists()
    assert "not defined" in (out / "Heat by Region.html").read_text()


def test_many_classes_are_not_crossed() -> None:
    count, random = 40, np.random.default_rng(0)
    classes = tuple(f"c{k}" for k in range(20))
    subjects = tuple(
        Subject(f"i{i}", 1, 1, i % 20, f"p{i}", i % 20, (1.0,)) for i in range(count) for _ in range(20)
    )
    share = random.random((count * 20, 1))
    maps = Maps(
        ("r",), subjects, np.tile(np.arange(20), count), share, np.ones_like(share), share * 0, classes
    )
    found = summarise(maps)
    assert [(g.value, g.explained) for g in found.of("true class")] == [(name, name) for name in classes]
    assert found.differences == ()  # all were predicted correctly as well
    assert any("More than 16 classes" in one for one in notes(found, maps, {}, "1 x 1 px"))
    assert "Shown are the first 16 classes of 20" in page(found, maps, shown=None, facts={}, said=[])


def test_more_regions_than_a_page_shows(package: Path, table: Path, hard_path: Path) -> None:
    out = hard_path / "out"
    mikata.heat_by_region(table, model=package, regions="5x6", out=out, part="test")
    text = (out / "Heat by Region.html").read_text()
    assert "Shown are the 24 regions with most heat of 30" in text
    assert len({row["region"] for row in rows(out / LONG)}) == 30


def test_a_network_that_gives_a_value(hard_path: Path) -> None:
    torch.manual_seed(7)
    classifier = Classifier("small_cnn", 1, 1, [120.0], [50.0], target=(60.0, 12.0), unit="mm").eval()
    made = Untrained(classifier, classes=())
    model = packaging.write(hard_path / "m", made, name="Value", test_image=packaging.formula_image(made))
    result = mikata.heat_by_region(photo(), model=model, regions="2x2")
    assert "value" in result.tables[0].columns
    assert "class" not in result.tables[0].columns
    assert result.message.count("value: the largest share of the heat is in") == 1
    with pytest.raises(NetworkError, match="gives a value, not classes"):
        mikata.heat_by_region(photo(), model=model, regions="2x2", target="all")


def test_the_page_speaks_japanese(package: Path, table: Path, hard_path: Path) -> None:
    with speaking("ja"):
        mikata.heat_by_region(table, model=package, regions="chest", out=hard_path / "out", part="test")
    english = rows(hard_path / "out" / LONG)
    assert {row["region"] for row in english} >= {"upper right lung", "lower mediastinum"}
    assert '<html lang="ja">' in (hard_path / "out" / "Heat by Region.html").read_text()


def test_a_reference_image(package: Path, table: Path, hard_path: Path) -> None:
    reference = images.write_tiff(hard_path / "reference.tif", photo(60, 90))
    result = mikata.heat_by_region(
        table, model=package, regions="2x2", target="a", part="test", reference=reference
    )
    assert result.images[0].array.shape == (60, 90)
    flat = images.write_tiff(hard_path / "flat.tif", images.from_array(np.zeros((9, 9), np.uint8), "YX"))
    with pytest.raises(ImageError, match="cannot be the reference image"):
        mikata.heat_by_region(table, model=package, regions="2x2", reference=flat)


def test_controls_stand_beside_the_table(package: Path, table: Path, hard_path: Path) -> None:
    """Networks without training: their maps cannot be told from maps of random weights, and the report tells."""
    other = hard_path / "other"
    torch.manual_seed(8)
    made = Untrained(
        build("small_cnn", classes=2, channels=1, mean=[110.0], std=[50.0]).eval(), classes=("a", "b")
    )
    packaging.write(other, made, name="Other", test_image=packaging.formula_image(made))
    out = hard_path / "out"
    result = mikata.heat_by_region(
        table, model=package, regions="2x2", out=out, control_images=6, repeats=str(other), target="a"
    )
    found = rows(out / "Heat by Region controls.csv")
    assert {row["control"] for row in found} == {
        "weight randomisation", "deletion", "insertion", "simple maps", "stability", "repeated training", "small regions",
    }  # fmt: skip
    by_name = {(row["control"], row["figure"]): row for row in found}
    alike = by_name["weight randomisation", "likeness to random weights"]
    assert (alike["n_images"], alike["n_patients_resampled"], alike["layer"]) == ("6", "6", "features")
    shares = [
        float(by_name["repeated training", f"heat share of row {y} column {x}, network 1"]["value"])
        for y in (1, 2)
        for x in (1, 2)
    ]
    assert sum(shares) == pytest.approx(1)
    assert {row["control"] for row in rows(out / "Heat by Region control curves.csv")} == {
        "weight randomisation", "deletion", "insertion",
    }  # fmt: skip
    text = (out / "Heat by Region.html").read_text()
    assert "Controls of the heat maps" in text
    assert "SD between networks" in text
    assert text.count("data:image") == 4
    assert "controls" in result.message or "no control" in result.message
    assert result.tables[-1].title == "Heat by Region controls"


def test_controls_can_be_left_out_and_need_several_images(
    package: Path, table: Path, hard_path: Path
) -> None:
    out = hard_path / "out"
    out.mkdir()
    for name in ("Heat by Region controls.csv", "my notes.csv"):
        (out / name).write_text("of an earlier run")
    result = mikata.heat_by_region(
        table, model=package, regions="2x2", out=out, part="test", no_controls=True, overwrite=True
    )
    assert not list(out.glob("*control*")), "figures of other data stand beside the new page"
    assert (out / "my notes.csv").exists()
    assert "control" not in result.message
    assert "Controls of the heat maps" not in (out / "Heat by Region.html").read_text()
    few = mikata.heat_by_region(table, model=package, regions="2x2", part="test")
    assert "they need images with heat of at least 5 patients; here are " in few.message


def test_bad_input(package: Path, table: Path, hard_path: Path) -> None:
    def refused(error: type[Exception], words: str, given: object = table, **changes: object) -> None:
        options = {"model": package, "regions": "2x2", "part": "test"} | changes
        with pytest.raises(error, match=words):
            mikata.heat_by_region(given, **options)  # type: ignore[arg-type]

    refused(NetworkError, r"has no class 'c'.*predicted, true, all, or one of: a, b", target="c")
    refused(ParameterError, "method is 'Magic'; it must be one of Grad-CAM", method="Magic")
    refused(NetworkError, "no layer 'nowhere'", layer="nowhere")
    refused(RegionError, "no regions 'chset'", regions="chset")
    refused(RegionError, "too small for the grid 60x60", regions="60x60")
    refused(ParameterError, "leave no_controls off", repeats="other", no_controls=True)
    refused(NetworkError, "has the same weights as model", repeats=str(package), part="all")
    refused(DataError, "no image whose split is selection; it has test, training", part="selection")
    refused(ParameterError, "target=true needs the true classes", photo(), target="true", part="all")
    refused(ParameterError, "part=test needs labelled data", photo())
    refused(ParameterError, "give it alone", [table, table], part="all")
    refused(RegionError, "photo 0 has no overlay and no selection", photo(), regions="", part="all")
    other = write_folders(hard_path / "other", ("a", "c"), 2)
    refused(DataError, "The labels c are no classes of model, which has a, b", other, part="all")
    refused(DataError, "states no split", other, part="test")
    out = hard_path / "out"
    out.mkdir()
    (out / LONG).write_text("mine")
    refused(OutputError, "already there", out=out)
    assert (out / LONG).read_text() == "mine"
    assert [p.name for p in out.iterdir()] == [LONG]


def test_the_command_line(
    package: Path, table: Path, hard_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["heat-by-region", str(table), "--model", str(package), "--regions", "chest", "--part", "test"]
    out = hard_path / "out"
    assert cli.main(cli.build(COMMANDS, lambda: "1"), [*words, "--out", str(out)]) == 0
    assert "upper mediastinum" in capsys.readouterr().out
    assert (out / SUMMARY).is_file()

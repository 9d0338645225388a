"""Heat Montage: which cases, exact tiles of hand-made maps, the sheet, and the command on small images."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch

import mikata
from labelled import patients, write_folders, write_picture, write_table
from mikata import images, packaging, regions
from mikata.architecture import Classifier
from mikata.errors import DataError, NetworkError, OutputError, ParameterError
from mikata.explaining.montage import running
from mikata.explaining.montage.cases import Case, blocks
from mikata.explaining.montage.pictures import CONTOUR, Style, fitted, outlined, scaled, shown, three
from mikata.explaining.montage.sheet import Column, Legend, Tile, sheet
from mikata.explanation.display import lut, render
from mikata.prediction import Plane
from packages import Untrained, write_package

FONT = running._font_file([])


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_package(
        tmp_path_factory.mktemp("package") / "model", classes=("a", "b"), fit="resize", size=(32, 32)
    )


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_table(tmp_path_factory.mktemp("labelled"), patients(5))


def rows(file: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(file.read_text("utf-8-sig").splitlines()))


# ---------------------------------------------------------------- cases


def case(number: int, truth: int | None, predicted: int) -> Case:
    return Case(Plane(f"i{number}", 1, 1, 8, 8), (0.9, 0.1) if predicted == 0 else (0.2, 0.8), truth)


TWENTY = [case(n, n % 2, int(n % 5 == 0) ^ n % 2) for n in range(20)]  # every fifth is wrong


def test_all_are_shown_in_their_order_where_they_fit() -> None:
    (block,) = blocks(TWENTY, "all", 20, 0)
    assert (list(block.cases), block.available, block.kind) == (TWENTY, 20, "all")


def test_a_sample_is_drawn_and_the_same_seed_draws_it_again() -> None:
    (first,), (again,), (other,) = (blocks(TWENTY, "all", 6, seed) for seed in (1, 1, 2))
    assert first.cases == again.cases
    assert first.cases != other.cases
    numbers = [TWENTY.index(one) for one in first.cases]
    assert numbers == sorted(set(numbers))
    assert (len(numbers), first.available) == (6, 20)
    counts = np.bincount([TWENTY.index(c) for s in range(600) for c in blocks(TWENTY, "all", 5, s)[0].cases])
    assert counts.min() > 100  # 150 each, less four standard deviations of 10.6
    assert counts.max() < 200


@pytest.mark.parametrize(("wanted", "available"), [("correct", 16), ("wrong", 4)])
def test_correct_or_wrong(wanted: str, available: int) -> None:
    (block,) = blocks(TWENTY, wanted, 50, 0)  # type: ignore[arg-type]
    assert (len(block.cases), block.available) == (available, available)
    assert all(one.correct is (wanted == "correct") for one in block.cases)


def test_both_share_the_limit_and_like_stands_beside_like() -> None:
    right, wrong = blocks(TWENTY, "both", 6, 3)
    assert (len(right.cases), right.available, len(wrong.cases), wrong.available) == (3, 16, 3, 4)
    for block in (right, wrong):
        truths = [one.truth for one in block.cases]
        assert truths == sorted(truths)  # type: ignore[type-var]
    assert [len(one.cases) for one in blocks(TWENTY[1:5], "both", 1, 0)] == [1, 0]


def test_cases_that_do_not_exist() -> None:
    good = [one for one in TWENTY if one.correct]
    with pytest.raises(ParameterError, match=r"None of the 16 plane\(s\) is wrong"):
        blocks(good, "wrong", 5, 0)
    with pytest.raises(ParameterError, match=r"None of the 4 plane\(s\) is correct"):
        blocks([one for one in TWENTY if not one.correct], "correct", 5, 0)
    with pytest.raises(ParameterError, match="cases=both needs the true classes"):
        blocks([case(0, None, 1)], "both", 5, 0)


# ---------------------------------------------------------------- pictures


def test_outlines_are_exact() -> None:
    heat = np.zeros((9, 10))
    heat[2:7, 3:8] = 5.0
    heat[4, 5] = 10.0
    picture = np.full((9, 10, 3), 40, np.uint8)
    drawn = outlined(picture, heat, [5.0, 10.0])
    expected = np.zeros((9, 10), bool)
    expected[2:7, 3:8] = True
    expected[3:6, 4:7] = False
    expected[4, 5] = True  # the second level is one pixel
    np.testing.assert_array_equal((drawn == CONTOUR).all(2), expected)
    assert (drawn[~expected] == 40).all()
    assert (picture == 40).all()
    np.testing.assert_array_equal(outlined(picture, heat, []), picture)


def test_an_outline_runs_along_the_pictures_edge() -> None:
    drawn = outlined(np.zeros((4, 5, 3), np.uint8), np.ones((4, 5)), [1.0])
    inner = (drawn == CONTOUR).all(2)
    assert not inner[1:-1, 1:-1].any()
    assert inner.sum() == 4 * 5 - 2 * 3


def test_three_pictures_are_of_one_scale() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)
    heat = np.zeros((6, 8))
    heat[1, 2], heat[3, 3], heat[5, 5] = 1.0, 2.0, -1.0
    original, hot, lines = three(picture, heat, 2.0, 4.0, Style(levels_percent=(50.0, 100.0)))
    np.testing.assert_array_equal(original, picture)
    np.testing.assert_array_equal(hot, render(picture, np.maximum(heat, 0), maximum=4.0))
    assert {tuple(at) for at in np.argwhere((hot != picture).any(2))} == {(1, 2), (3, 3)}
    assert {tuple(at) for at in np.argwhere((lines != picture).any(2))} == {(1, 2), (3, 3)}
    none = three(picture, np.zeros((6, 8)), 0.0, 4.0, Style())
    for one in none:
        np.testing.assert_array_equal(one, picture)


def test_planes_are_shown_as_imagej_shows_them() -> None:
    stack = np.arange(24, dtype=np.uint16).reshape(2, 3, 4) * 100
    image = images.from_array(stack, "ZYX")
    second = shown(image, 2, 1)
    np.testing.assert_array_equal(second[..., 0], np.rint((stack[1] - 1200.0) * 255 / 1100))
    ranged = shown(image.replace(display_ranges=((1200.0, 1700.0),)), 2, 1)
    assert (ranged[0, 0, 0], ranged[1, 1, 0], ranged[2, 3, 0]) == (0, 255, 255)
    grey = images.from_array(np.array([[0, 100], [200, 50]], np.uint8), "YX")
    np.testing.assert_array_equal(shown(grey, 1, 1)[..., 1], grey.array)  # 8 bits are not stretched
    inverted = np.tile(np.arange(255, -1, -1, dtype=np.uint8), (3, 1))
    np.testing.assert_array_equal(shown(grey.replace(luts=(inverted,)), 1, 1)[..., 2], 255 - grey.array)
    colour = images.from_array(np.random.default_rng(1).integers(0, 256, (3, 4, 3), np.uint8), "YXS")
    np.testing.assert_array_equal(shown(colour, 1, 1), colour.array)
    red, green = (np.zeros((3, 256), np.uint8) for _ in range(2))
    red[0], green[1] = np.arange(256), np.arange(256)
    two = images.from_array(np.stack([grey.array, 255 - grey.array]), "CYX").replace(luts=(red, green))
    np.testing.assert_array_equal(shown(two, 1, 1)[0, 1], [100, 155, 0])


@pytest.mark.parametrize(
    ("height", "width", "size"),
    [(100, 200, (32, 64)), (256, 16, (64, 4)), (10, 10, (64, 64)), (1, 900, (1, 64))],
)
def test_images_keep_their_proportions(height: int, width: int, size: tuple[int, int]) -> None:
    assert fitted(height, width, 64) == size
    made = scaled(np.full((height, width, 3), 77, np.uint8), size)
    assert made.shape == (*size, 3)
    assert (made == 77).all()


# ---------------------------------------------------------------- the sheet


def colour_tile(value: int, caption: str, size: tuple[int, int] = (64, 64), *, wrong: bool = False) -> Tile:
    return Tile(
        tuple(np.full((*size, 3), value + step, np.uint8) for step in (0, 10, 20)), caption, wrong=wrong
    )


def legend(maximum: float = 2.0) -> Legend:
    return Legend(
        ("original", "heat", "contours"), "Fire", maximum, "heat", ("Research use, not for diagnosis.",)
    )


def test_tiles_lie_where_the_layout_says() -> None:
    columns = [
        Column("Correct", (colour_tile(10, "1: true a"), colour_tile(60, "2: true b", (32, 64)))),
        Column("Wrong", (colour_tile(110, "3: true a, predicted b 0.70", wrong=True),)),
    ]
    pixels, plan = sheet(columns, legend(), tile=64, beside=2, font_path=FONT)
    assert (plan.columns, plan.rows, plan.tile_height, pixels.shape[1]) == ((1, 1), 2, 64, plan.width)
    for at, column in enumerate(columns):
        for number, one in enumerate(column.tiles):
            for picture, content in enumerate(one.pictures):
                y, x = plan.corner(at, number, picture)
                np.testing.assert_array_equal(pixels[y : y + content.shape[0], x : x + 64], content)
    y, x = plan.corner(0, 1, 0)
    assert (
        pixels[y + 55 : y + 64, x : x + plan.case_width] == 255
    ).all()  # paper under an image that is less high
    assert (pixels[y + 32 : y + 50, x : x + plan.case_width] < 100).any()  # and its caption right under it
    y, x = plan.corner(1, 0, 0)
    caption = pixels[y + 64 : y + plan.case_height, x : x + plan.case_width]
    assert caption[..., 0].min() == 170  # a wrong case is red
    assert caption[..., 1].min() < 40
    y, x = plan.corner(1, 1, 0)
    assert (pixels[y : y + plan.case_height, x:] == 255).all()  # there is no second wrong case


def test_the_scale_has_the_luts_colours() -> None:
    pixels, plan = sheet(
        [Column("Cases", (colour_tile(10, "1"),))], legend(), tile=64, beside=3, font_path=FONT
    )
    table = lut("Fire")[np.rint(np.linspace(0, 255, 128)).astype(int)]
    line = pixels[:, plan.margin : plan.margin + 128]
    assert sum((one == table).all() for one in line) == plan.letters
    none, _ = sheet(
        [Column("Cases", (colour_tile(10, "1"),))], legend(0.0), tile=64, beside=3, font_path=FONT
    )
    assert none.shape[0] < pixels.shape[0]


def test_long_captions_are_broken_not_cut() -> None:
    words = "1: true " + "endless" * 20 + ", predicted something else 0.55"
    short, plan = sheet(
        [Column("Cases", (colour_tile(10, "1"),))], legend(), tile=64, beside=1, font_path=FONT
    )
    long, longer = sheet(
        [Column("Cases", (colour_tile(10, words),))], legend(), tile=64, beside=1, font_path=FONT
    )
    assert longer.caption_lines > 2
    assert long.shape[0] == short.shape[0] + (longer.caption_lines - 1) * plan.line
    assert (long[:, -plan.margin + 1 :] == 255).all()


def test_a_sheet_too_large_is_refused() -> None:
    tiles = (colour_tile(10, "1"),) * 800
    with pytest.raises(ParameterError, match="smaller tile_px or limit"):
        sheet([Column("Cases", tiles)], legend(), tile=1024, beside=4, font_path=FONT)


# ---------------------------------------------------------------- the command


def test_a_montage_of_labelled_images(package: Path, labelled: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = mikata.montage(
        labelled, model=package, limit=6, seed=4, tile_px=64, contour_percent="30;80", out=out
    )
    assert sorted(one.name for one in out.iterdir()) == [
        "Heat Montage.csv",
        "Heat Montage.png",
        "Heat Montage.tif",
    ]
    assert result.images == ()
    tiff, png = images.read(out / "Heat Montage.tif"), images.read(out / "Heat Montage.png")
    np.testing.assert_array_equal(tiff.array, png.array)
    assert (tiff.axes, tiff.array.dtype.name) == ("YXS", "uint8")
    listed = rows(out / "Heat Montage.csv")
    assert [one["number"] for one in listed] == list("123456")
    assert "Cases: 6 of 20. Cases drawn by chance from 20 planes (seed 4)." in result.message
    assert result.message.endswith("Research use, not for diagnosis.")
    # the same numbers as of the other commands
    said = {
        row[0]: row for row in mikata.predict(labelled.parent, model=package, subfolders=True).tables[0].rows
    }
    heat = mikata.grad_cam(labelled.parent, model=package, subfolders=True, result="heat-map").tables[0]
    column = heat.columns.index("heat_maximum")
    tops = {row[0]: row[column] for row in heat.rows}
    for one in listed:
        row = said[one["image"]]
        assert (one["predicted"], one["class"]) == (row[3], row[3])
        assert float(one["probability"]) == pytest.approx(row[4], abs=1e-5)
        assert float(one["heat_maximum"]) == pytest.approx(tops[one["image"]], rel=1e-4)


def test_originals_are_the_images(package: Path, tmp_path: Path) -> None:
    """The first tiles of the sheet are the files' pixels, scaled to the tile and nothing else."""
    files = [write_picture(tmp_path / f"{n}.png", n, n) for n in range(2)]
    (made,) = mikata.montage(files, model=package, tile_px=64, columns=1).images
    for file in files:
        wanted = scaled(shown(images.read(file), 1, 1), (64, 64))
        tops = range(made.array.shape[0] - 63)
        assert sum(np.array_equal(made.array[y : y + 64, 8:72], wanted) for y in tops) == 1


def test_correct_and_wrong_side_by_side(package: Path, labelled: Path) -> None:
    result = mikata.montage(labelled, model=package, cases="both", limit=8, tile_px=64)
    columns = result.tables[0].columns
    listed = [dict(zip(columns, row, strict=True)) for row in result.tables[0].rows]
    right = [one for one in listed if one["label"] == one["predicted"]]
    assert listed == right + [one for one in listed if one["label"] != one["predicted"]]
    every = mikata.montage(labelled, model=package, limit=100, tile_px=64).tables[0].rows
    correct = sum(row[4] == row[5] for row in every)
    assert (
        f"Correct: {min(4, correct)} of {correct}. Wrong: {min(4, 20 - correct)} of {20 - correct}."
        in result.message
    )


def test_targets(package: Path, labelled: Path) -> None:
    for target in ("true", "a", "b"):
        (table,) = mikata.montage(labelled, model=package, target=target, tile_px=64, limit=5).tables
        for row in table.rows:
            one = dict(zip(table.columns, row, strict=True))
            assert one["class"] == (one["label"] if target == "true" else target)
            chance = one["probability"] if one["class"] == one["predicted"] else 1 - one["probability"]
            assert one["p(class)"] == pytest.approx(chance, abs=1e-5)


def test_one_scale_for_all(package: Path, labelled: Path) -> None:
    given = {"model": package, "limit": 4, "tile_px": 64, "columns": 1}
    own, same = (mikata.montage(labelled, **given) for _ in range(2))  # type: ignore[arg-type]
    wide = mikata.montage(labelled, scale_maximum=1e6, **given)  # type: ignore[arg-type]
    np.testing.assert_array_equal(own.images[0].array, same.images[0].array)
    shown_heat = wide.images[0].array[:, 8 + 66 : 8 + 66 + 64]
    original = wide.images[0].array[:, 8:72]
    some = slice(60, 100)
    np.testing.assert_array_equal(shown_heat[some], original[some])  # nothing reaches a tenth of the scale


def test_names_only_when_asked_for(package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write_picture(tmp_path / "Yamada Taro.png", 0, 0)
    captions: list[str] = []
    real = running.sheet

    def watching(columns: list[Column], *args: object, **options: object) -> object:
        captions.extend(one.caption for column in columns for one in column.tiles)
        return real(columns, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(running, "sheet", watching)
    plain = mikata.montage(file, model=package, tile_px=64)
    named = mikata.montage(file, model=package, tile_px=64, keep_metadata=True)
    assert captions[0].startswith("1: predicted ")
    assert captions[1].startswith("1: Yamada Taro, predicted ")
    assert plain.images[0].title == named.images[0].title == "Heat Montage"
    assert plain.images[0].info == ""


def test_planes_of_a_stack_are_cases(package: Path) -> None:
    stack = images.from_array(
        np.random.default_rng(0).integers(0, 255, (3, 40, 60), np.uint8), "ZYX", title="stack"
    )
    result = mikata.montage(stack, model=package, tile_px=64, limit=2, seed=1, keep_metadata=True)
    (table,) = result.tables
    assert len({(row[1], row[2]) for row in table.rows}) == 2
    assert result.images[0].is_colour


def test_no_font_has_the_letters(tmp_path: Path, labelled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = write_package(tmp_path / "model", classes=("砂利", "b"), fit="resize", size=(32, 32))
    file = next(labelled.parent.rglob("*.png"))
    monkeypatch.setattr("mikata.report._japanese_font", lambda: None)
    result = mikata.montage(file, model=model, tile_px=64, target="砂利")
    assert "No font of this computer has the letters of the classes" in result.message
    assert result.tables[0].rows[0][7] == "砂利"


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"target": "all"}, ParameterError, "shows the heat of one class"),
        ({"target": "c"}, NetworkError, "Heat Montage: model has no class 'c'"),
        ({"method": "Grad"}, ParameterError, "method is .Grad."),
        ({"method": "Eigen-CAM", "target": "a"}, NetworkError, "same for every class"),
        ({"layer": "nowhere"}, NetworkError, "nowhere"),
        ({"contour_percent": "0;50"}, ParameterError, "from 0 to 100"),
        ({"lut": "fire"}, ParameterError, "did you mean Fire"),
        ({"tile_px": 10}, ParameterError, "from 64 to 1024"),
        ({"cases": "some"}, ParameterError, "must be one of"),
        ({"part": "test"}, DataError, "states no split"),
    ],
)
def test_bad_input_is_a_sentence(
    package: Path, labelled: Path, changes: dict[str, object], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        mikata.montage(labelled, model=package, **changes)  # type: ignore[arg-type]


def test_what_needs_labels(package: Path, tmp_path: Path) -> None:
    file = write_picture(tmp_path / "a.png", 0, 0)
    for changes, words in (
        ({"cases": "wrong"}, "cases=wrong needs"),
        ({"target": "true"}, "target=true needs"),
    ):
        with pytest.raises(ParameterError, match=words):
            mikata.montage(file, model=package, **changes)  # type: ignore[arg-type]
    folders = write_folders(tmp_path / "folders", ("x", "y"), 2)
    with pytest.raises(DataError, match="x, y are no classes"):
        mikata.montage(folders, model=package)


def test_results_that_are_there_stay(package: Path, labelled: Path, tmp_path: Path) -> None:
    (tmp_path / "Heat Montage.png").write_bytes(b"mine")
    with pytest.raises(OutputError, match=r"Heat Montage\.png is already there"):
        mikata.montage(labelled, model=package, out=tmp_path)
    assert [one.name for one in tmp_path.iterdir()] == ["Heat Montage.png"]
    assert (tmp_path / "Heat Montage.png").read_bytes() == b"mine"


def test_a_picture_that_is_broken_is_skipped_and_said(package: Path, tmp_path: Path) -> None:
    for n in range(2):
        write_picture(tmp_path / f"{n}.png", n, n)
    (tmp_path / "broken.png").write_bytes(b"\x89PNG nothing")
    result = mikata.montage(tmp_path, model=package, tile_px=64)
    assert "Skipped: 1 file(s) (broken.png: " in result.message
    assert len(result.tables[0].rows) == 2


def test_a_network_that_gives_a_value(tmp_path: Path) -> None:
    torch.manual_seed(7)
    classifier = Classifier("small_cnn", 1, 1, [120.0], [50.0], target=(60.0, 12.0), unit="mm").eval()
    made = Untrained(classifier, classes=())
    model = packaging.write(tmp_path / "m", made, name="Value", test_image=packaging.formula_image(made))
    file = write_picture(tmp_path / "a.png", 0, 0, size=(70, 80))
    result = mikata.montage(file, model=model, tile_px=64)
    (table,) = result.tables
    assert table.columns[4] == "value"
    assert table.rows[0][4] == pytest.approx(mikata.predict(file, model=model).tables[0].rows[0][3], abs=1e-3)
    with pytest.raises(ParameterError, match="neither correct nor wrong"):
        mikata.montage(file, model=model, cases="both")
    with pytest.raises(NetworkError, match="gives a value, not classes"):
        mikata.montage(file, model=model, target="a")
    drawn = mikata.grad_cam(images.read(file), model=model).overlay
    words = next(regions.to_roi(one).text for one in drawn or () if one.name == "heat label")
    assert words.startswith(f"{table.rows[0][4]:.4g} mm\nGrad-CAM")

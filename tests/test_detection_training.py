"""Networks for detection: images with boxes, points and ROIs, what is learnt from them, and a training."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from mikata import regions
from mikata.architecture import Detector
from mikata.datasets import Box, read_detected
from mikata.datasets.detected import Detected
from mikata.errors import DataError, RecipeError
from mikata.evaluation.detecting import choose_settings, evaluate_detection
from mikata.language import english
from mikata.networks.peaks import APART, SCORE
from mikata.training import recipe as recipes
from mikata.training import train_segmentation
from mikata.training.augmentation import matrices
from mikata.training.box_patches import BoxPart
from mikata.training.centre_losses import CentreLoss, mirrored
from mikata.training.data import input_of
from mikata.training.detecting import train_detection, typical_size
from mikata.training.detection_run import DetectionRun
from mikata.training.moving import augment_objects
from mikata.training.order import DRAWS
from mikata.training.stage import Augmentation

RECIPE = """
[split]
test = 0.34
selection = 0.33
[[stage]]
network = "unet"
size = [32, 32]
fit = "native"
epochs = 8
batch = 8
learning_rate = 0.01
[stage.augmentation]
rotation_rad = 1.0
shift = 0.0
[stage.detection]
patches = 4
"""


def recipe(folder: Path, text: str = RECIPE, **changes: Any) -> recipes.Recipe:
    path = folder / "recipe.toml"
    path.write_text(text)
    return recipes.read(path, changes=changes)


def image(file: Path, height: int = 40, width: int = 60, seed: int = 0) -> Path:
    values = np.random.default_rng(seed).integers(0, 255, (height, width)).astype(np.uint8)
    if file.suffix == ".tif":
        tifffile.imwrite(file, values)
    else:
        Image.fromarray(values).save(file)
    return file


def table(folder: Path, text: str) -> Path:
    for number in range(4):
        image(folder / f"{number}.png", seed=number)
    path = folder / "t.csv"
    path.write_text(text)
    return path


def spots(folder: Path, count: int = 12) -> Path:
    """Bright spots of two sizes on noise, one image without any."""
    rows = ["file,class,x,y,width,height,patient_alias"]
    for number in range(count):
        random = np.random.default_rng(number)
        y, x = np.mgrid[:64, :70]
        values = random.normal(40, 8, x.shape)
        if number == 3:
            rows.append(f"{number}.png,,,,,,p{number % 6}")
        else:
            for label, radius in (("small", 3), ("large", 7)):
                cy, cx = random.uniform(8, 56), random.uniform(8, 62)
                values += 150 * ((y + 0.5 - cy) ** 2 + (x + 0.5 - cx) ** 2 <= radius**2)
                rows.append(f"{number}.png,{label},{cx},{cy},{2 * radius},{2 * radius},p{number % 6}")
        Image.fromarray(np.clip(values, 0, 255).astype(np.uint8)).save(folder / f"{number}.png")
    (folder / "spots.csv").write_text("\n".join(rows))
    return folder / "spots.csv"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[DetectionRun, Path]:
    folder = tmp_path_factory.mktemp("spots")
    dataset = read_detected(spots(folder))
    return choose_settings(train_detection(dataset, recipe(folder), folder=folder / "run")), folder


# --- tables


def test_boxes_of_corners_and_images_without_objects(tmp_path: Path) -> None:
    text = "File,class,Xmin,ymin,xmax,ymax,patient\n"
    text += "0.png,cell 10,10,5,20,15,a\n0.png,cell 2,0,0,61,40,a\n1.png,cell 2,1,2,3,4,b\n2.png,,,,,,c\n"
    found = read_detected(table(tmp_path, text))
    assert found.names == ("cell 2", "cell 10")
    # what sticks out by a pixel is cut off
    assert found.entries[0].boxes == (Box(1, 15, 10, 10, 10), Box(0, 30, 20, 60, 40))
    assert found.entries[2].boxes == ()
    assert found.empty == 1
    assert found.sized
    assert found.has_patients
    assert "a" not in {entry.patient for entry in found.entries}


def test_the_order_of_rows_does_not_matter_but_places_do(tmp_path: Path) -> None:
    rows = ["0.png,1,2,3", "1.png,5,6,", "2.png,,,", "0.png,9,9,1"]
    found = [
        read_detected(table(tmp_path, "\n".join(["file,x,y,radius", *some]))).fingerprint
        for some in (rows, rows[::-1], [*rows[:3], "0.png,9,9,2"])
    ]
    assert found[0] == found[1] != found[2]


def test_centres_with_radius_where_it_is_known(tmp_path: Path) -> None:
    found = read_detected(table(tmp_path, "file,x,y,radius\n0.png,10,20.5,4\n1.png,3,4,\n2.png,,,\n"))
    assert found.names == ("object",)
    assert found.entries[0].boxes == (Box(0, 10, 20.5, 8, 8),)
    assert found.entries[1].boxes == (Box(0, 3, 4),)


def test_one_name_is_that_of_all_and_several_are_an_order(tmp_path: Path) -> None:
    path = table(tmp_path, "file,label,x,y\n0.png,a,1,2\n1.png,b,3,4\n2.png,,,\n")
    assert read_detected(path, names=["mass"]).names == ("mass",)
    found = read_detected(path, names=["b", "a"])
    assert [box.kind for entry in found.entries for box in entry.boxes or ()] == [1, 0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,x\n0.png,1", "xmin, ymin, xmax, ymax or x, y or"),
        ("file,x,y,radius,width,height\n0.png,1,1,1,1,1", "x and y are of the centre"),
        ("file,xmin,ymin,xmax\n0.png,1,1,1", "It has: xmin, ymin, xmax"),
        ("file,x,y\n0.png,70,1", r"row 2: the centre \(70, 1\) lies outside of 0.png, which is 60 x 40 px"),
        ("file,x,y\n0.png,1,", "row 2: the column 'y' is empty"),
        ("file,x,y\n0.png,one,2", "row 2: the column 'x' has 'one'"),
        ("file,x,y\n0.png,nan,2", "row 2: the column 'x' has 'nan'"),
        ("file,x,y,radius\n0.png,5,5,0", "row 2: radius is 0"),
        ("file,x,y,width,height\n0.png,5,5,3,", "row 2: the column 'height' is empty"),
        ("file,xmin,ymin,xmax,ymax\n0.png,9,5,9,8", "row 2: the box of 0.png"),
        ("file,xmin,ymin,xmax,ymax\n0.png,5,5,62,8", "reaches out of 0.png"),
        ("file,x,y\n0.png,5,5\n0.png,5,5", "rows 2 and 3 are the same object of 0.png"),
        ("file,x,y\n0.png,5,5\n0.png,,", "row 3 says that 0.png has no object, but it has row 2"),
        ("file,x,y\n0.png,,\n0.png,,", "row 2 says that 0.png has no object, but it has row 3"),
        ("file,x,y,site\n0.png,5,5,a\n0.png,6,6,b", "rows 2 and 3 are both of 0.png, but differ in .*site"),
        ("file,x,y,class\n0.png,5,5,", "row 2: the column 'class' is empty"),
        ("file,x,y,class,label\n0.png,5,5,a,b", "both the columns 'class' and 'label'"),
        ("file,x,y\n0.png,,\n1.png,,\n2.png,,", "no image has an object"),
        ("file,x,y\n0.png,5,5\n1.png,,", "2 image"),
        ("x,y\n5,5", "the column 'file' is missing"),
        ("file,x,y,subject\n0.png,5,5,1", "may tell patients apart"),
    ],
)
def test_tables_that_cannot_be_right(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_detected(table(tmp_path, text))


@pytest.mark.parametrize(
    ("text", "names", "message"),
    [
        ("file,x,y,class\n0.png,5,5,c", ["a", "b"], "row 2: the class 'c' is none of those"),
        ("file,x,y\n0.png,5,5", ["a", "b"], "no column 'class'"),
        ("file,x,y,class\n0.png,5,5,a", ["a", "b"], "no object is of the class 'b'"),
    ],
)
def test_names_that_do_not_suit(tmp_path: Path, text: str, names: list[str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_detected(table(tmp_path, text), names=names)


# --- ROIs


def folder_of_rois(folder: Path) -> Path:
    for name in ("images", "rois", "empty"):
        (folder / name).mkdir()
    for number in range(3):
        image(folder / "images" / f"{number}.png", seed=number)
    image(folder / "empty" / "none.png", seed=9)
    drawn = [
        regions.rectangle(10, 5, 8, 6, name="wbc-1"),
        regions.oval(20, 10, 12, 10, group=1),
        regions.polygon([(30, 10), (40, 10), (40, 20), (30, 20)], name="RBC"),
        regions.points([(3, 4), (50.25, 30.5)], group=2),
    ]
    regions.write(folder / "rois" / "0.zip", drawn)
    regions.write(folder / "rois" / "1.roi", [regions.points([(7, 7)], group=1)])
    regions.write(folder / "rois" / "2.roi", [regions.rectangle(0, 0, 60, 40, group=2)])
    return folder


def test_rois_become_boxes_and_points_of_their_class(tmp_path: Path) -> None:
    found = read_detected(folder_of_rois(tmp_path), names=["RBC", "WBC"])
    assert found.kind == "ROIs"
    assert [entry.file.name for entry in found.entries] == ["0.png", "1.png", "2.png", "none.png"]
    assert found.entries[0].boxes == (
        Box(1, 14, 8, 8, 6),
        Box(0, 26, 15, 12, 10),
        Box(0, 35, 15, 10, 10),
        # whole numbers are centres of pixels
        Box(1, 3.5, 4.5),
        Box(1, 50.75, 31),
    )
    assert found.entries[1].boxes == (Box(0, 7.5, 7.5),)
    assert found.entries[3].boxes == ()


def test_an_image_without_rois_is_refused_with_what_to_do(tmp_path: Path) -> None:
    folder = folder_of_rois(tmp_path)
    (folder / "rois" / "1.roi").unlink()
    with pytest.raises(DataError, match=r"1\.png has no ROIs: .* move it into a folder empty"):
        read_detected(folder)


def test_rois_that_do_not_suit(tmp_path: Path) -> None:
    folder = folder_of_rois(tmp_path)
    with pytest.raises(DataError, match="the class of the ROI"):
        read_detected(folder, names=["a", "b", "c"])
    regions.write(folder / "rois" / "1.roi", [regions.points([(70, 7)], name="far")])
    with pytest.raises(DataError, match=r"1\.roi: the ROI 'far' lies outside"):
        read_detected(folder)
    regions.write(folder / "rois" / "1.roi", [regions.line(1, 1, 5, 5, name="line")])
    with pytest.raises(DataError, match="has no area"):
        read_detected(folder)
    (folder / "new" / "images").mkdir(parents=True)
    with pytest.raises(DataError, match="no folder rois"):
        read_detected(folder / "new")
    with pytest.raises(DataError, match="does not exist"):
        read_detected(folder / "nothing")


def test_overlays(tmp_path: Path) -> None:
    from mikata.images import read, write_tiff

    for number in range(3):
        file = image(tmp_path / f"{number}.tif", seed=number)
        write_tiff(file, read(file).replace(overlay=(regions.rectangle(5, 6, 10, 8),)))
    found = read_detected(tmp_path)
    assert found.kind == "overlays"
    assert found.entries[2].boxes == (Box(0, 10, 10, 10, 8),)
    image(tmp_path / "plain.tif", seed=8)
    with pytest.raises(DataError, match=r"plain\.tif has no overlay"):
        read_detected(tmp_path)


# --- what is learnt from


def test_the_network_gives_probabilities_and_sizes_as_large_as_the_image() -> None:
    torch.manual_seed(0)
    plain = Detector("unet", 2, 1, [10], [5], 30.0, 2).eval()
    with torch.inference_mode():
        found = plain(torch.rand(1, 1, 64, 96) * 20)
        scores = plain.logits(torch.rand(1, 1, 64, 96) * 20)
    assert found.shape == (1, 4, 64, 96)
    assert scores.shape == (1, 4, 32, 48)
    assert 0 < found[:, :2].min() < found[:, :2].max() < 0.5  # the prior
    assert found[:, 2:].min() > 0
    twin = Detector(**plain.configuration)
    twin.load_state_dict(plain.state_dict())
    unsized = Detector("unet", 1, 1, [0], [1], 0).eval()
    with torch.inference_mode():
        assert not unsized(torch.rand(1, 1, 32, 32))[:, 1:].any()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("unet", 0, 1, [0], [1], 0), "at least 1 class"),
        (("unet", 1, 1, [0], [1], -1), "a number from 0"),
        (("unet", 1, 1, [0], [1], math.nan), "a number from 0"),
        (("unet", 1, 1, [0], [1], 0, 3), "1, 2 or 4 times"),
        (("unet", 1, 2, [0], [1], 0), "2 channels need 2 numbers"),
        (("unet", 1, 1, [0], [0], 0), "std above 0"),
        (("unet", 1, 0, [], [], 0), "at least 1 channel"),
    ],
)
def test_detectors_that_cannot_be(arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Detector(*arguments)


def test_the_loss_is_that_computed_by_hand() -> None:
    # one object of 20 x 40 px in the third pixel of a line that is seen 2 times smaller; the other row is no object
    objects = torch.tensor([[[0.0, 5, 1, 20, 40], [-1, 3, 1, 20, 40]]])
    loss = CentreLoss([2.0], [4.0], 10.0, 2, 10.0)
    target = loss.targets(objects, (1, 4))[0, 0, 0]
    spread = 0.09 * 20 / 2
    expected = [math.exp(-0.5 * ((k - 2) / spread) ** 2) for k in range(4)]
    assert target.tolist() == pytest.approx(expected)
    assert target[2] == 1
    p = torch.tensor([0.1, 0.4, 0.7, 0.2])
    scores = torch.stack([torch.logit(p), torch.full((4,), 1.0), torch.full((4,), 0.5)])[None, :, None]
    heat = -(0.3**2) * math.log(0.7) - sum(
        (1 - expected[k]) ** 4 * float(p[k]) ** 2 * math.log(1 - float(p[k])) for k in (0, 1, 3)
    )
    size = abs(1.0 - math.log(4)) + abs(0.5 - math.log(2))  # height 40, width 20
    assert float(loss.of_training(scores, objects)) == pytest.approx((heat + size) / 2, rel=1e-5)
    assert float(loss.of_selection(scores, objects)) == pytest.approx((heat + size) / 4, rel=1e-5)
    # without a known size, only the heat map counts
    unsized = objects.clone()
    unsized[:, :, 3:] = 0
    near = CentreLoss([1.0], [1.0], 10.0, 2, 0.45 / 0.1)
    assert float(near.of_training(scores, unsized)) < heat + 0.1
    assert near.targets(unsized, (1, 4))[0, 0, 0].tolist() == pytest.approx(
        [math.exp(-0.5 * ((k - 2) / 0.7) ** 2) for k in range(4)]  # no narrower than that
    )
    assert loss.figures(scores, objects).tolist() == [1.0]
    narrow = torch.tensor([[[0.0, 5, 1, 2, 2]]])
    assert loss.figures(scores, narrow).tolist() == [1.0]
    assert loss.figures(-scores, narrow).tolist() == [0.0]
    none = torch.zeros(1, 0, 5)
    assert torch.isfinite(loss.of_training(scores, none)).all()
    assert loss.figures(scores - 9, none).tolist() == [1.0]


@pytest.mark.parametrize("fill", ["reflect", "lowest"])
def test_objects_move_with_their_pixels(fill: Any) -> None:
    generator = torch.Generator().manual_seed(1)
    height, width, count = 64, 96, 8
    images = torch.zeros(count, 1, height, width)
    objects = torch.full((count, 2, 5), -1.0)
    for number in range(count):
        x, y = (int(torch.randint(5, side - 6, (1,), generator=generator)) for side in (width, height))
        images[number, 0, y - 1 : y + 2, x - 1 : x + 2] = 100
        objects[number, 0] = torch.tensor([0, x + 0.5, y + 0.5, 3, 3])
    draws = torch.rand(count, len(DRAWS), generator=generator)
    options = Augmentation(3.1, 0.2, 0.2, True, True, False, fill, 0.0)
    changed, moved = augment_objects(images, objects, draws, options, (0, 100))
    scale = 1 + options.scale * (2 * draws[:, DRAWS.index("scale")] - 1)
    rows, columns = np.mgrid[:height, :width] + 0.5
    seen = 0
    for number in range(count):
        rest = changed[number, 0].numpy().copy()
        for kind, x, y, wide, tall in moved[number].tolist():
            if kind < 0:
                continue
            own = (columns - x) ** 2 + (rows - y) ** 2 < 25
            if 6 < x < width - 6 and 6 < y < height - 6:
                seen += 1
                weight = rest * own
                assert (weight * columns).sum() / weight.sum() == pytest.approx(x, abs=0.15)
                assert (weight * rows).sum() / weight.sum() == pytest.approx(y, abs=0.15)
            assert wide == pytest.approx(3 / float(scale[number]), rel=1e-4)
            assert tall == pytest.approx(wide, rel=1e-4)
            rest[own] = 0
        assert rest.max() < 60  # no spot without its object, but for what an edge cuts off
    assert seen >= 4


def test_nothing_moves_where_nothing_is_asked_and_boxes_turn_as_ellipses() -> None:
    images, draws = torch.rand(1, 1, 32, 32), torch.full((1, len(DRAWS)), 0.5)
    objects = torch.tensor([[[0.0, 10, 12, 6, 2]]])
    still = Augmentation(0.0, 0.0, brightness=0.0)
    assert augment_objects(images, objects, draws, still, (0, 1))[1] is objects
    draws[0, DRAWS.index("quarter_turns")] = 0.3
    turned = Augmentation(0.0, 0.0, quarter_turns=True, brightness=0.0, fill="lowest")
    found = augment_objects(images, objects, draws, turned, (0, 1))[1][0, 0]
    assert found[3:].tolist() == pytest.approx([2, 6])
    assert matrices({name: draws[:, i] for i, name in enumerate(DRAWS)}, turned, (1, 1, 32, 32)).shape == (
        1,
        2,
        3,
    )


def test_objects_of_a_mirror_are_where_its_pixels_are() -> None:
    values = np.zeros((5, 6))
    values[3, 4] = 1
    grown = np.pad(values, ((0, 8), (0, 3)), mode="reflect")
    found = mirrored(torch.tensor([[2.0, 4.5, 3.5, 2, 2]]), (5, 6), grown.shape)
    assert sorted((int(y), int(x)) for _, x, y, _, _ in found.tolist()) == [
        (int(y), int(x)) for y, x in np.argwhere(grown)
    ]


def test_patches_hold_the_objects_whose_centre_is_in_them(tmp_path: Path) -> None:
    dataset = read_detected(spots(tmp_path))
    stage = recipe(tmp_path).stage
    part = BoxPart.of(dataset.entries, input_of(dataset.entries, 1, (32, 32), "native"), step=16)
    seen = 0
    for index in range(len(part)):
        picture, objects = part.patch(index, 10, 20)
        assert picture.shape == (1, 32, 32)
        inside = [b for b in dataset.entries[index].boxes or () if 20 <= b.x < 52 and 10 <= b.y < 42]
        assert objects[:, 1:3].tolist() == [pytest.approx([b.x - 20, b.y - 10], abs=1e-4) for b in inside]
        seen += len(inside)
    assert seen > 3
    assert part.whole_shape(0) == (64, 80)
    images, objects = part.whole(0)
    assert images.shape == (1, 64, 80)
    assert len(objects) >= 2
    stacked = part.stacked([objects, objects[:0]])
    assert stacked.shape == (2, len(objects), 5)
    assert (stacked[1, :, 0] == -1).all()
    assert part.place(3, 0.5, 0.5) is None
    y, x = part.place(0, 0.0, 0.0) or (0, 0)
    box = (dataset.entries[0].boxes or ())[0]
    names = dataset.names
    own = next(b for b in dataset.entries[0].boxes or () if b.kind == 0)
    assert (y, x) == (int(own.y), int(own.x))
    assert names == ("large", "small")
    assert box.kind == 1
    assert part.objects_per_image(2) == pytest.approx([11 / 12, 11 / 12])
    assert all(0.2 < one < 1 for one in part.objects_per_patch(2, stage))


# --- a training


def test_a_training_finds_spots(trained: tuple[DetectionRun, Path]) -> None:
    run, _ = trained
    assert run.outputs == ("large", "small", "height", "width")
    assert run.sized
    assert run.settings.keys() == {SCORE, APART}
    found = evaluate_detection(run, run.parts["test"])
    assert found.leading.value >= 0.5
    (first, *_) = [one for one in run.parts["test"] if one.boxes]
    from mikata.evaluation.parting import outputs_of, tiler_of

    image, outputs = outputs_of(tiler_of(run), first)
    assert outputs.shape == (4, *image.shape[1:])
    assert 0 <= outputs[:2].min() < outputs[:2].max() <= 1
    assert outputs[2:].min() >= 0
    record = run.record()
    assert record["data"]["parts"]["training"]["objects"].keys() == {"large", "small"}
    assert record["settings_chosen"]["tried"] > 50
    assert "focal loss" in run.methods
    assert "patients" in found.protocol
    assert run.history[-1]["selection_f1"] >= 0


def test_going_on_gives_what_there_was(trained: tuple[DetectionRun, Path]) -> None:
    run, folder = trained
    again = train_detection(run.dataset, run.recipe, folder=folder / "run", resume=True)
    assert again.history == run.history
    for one, other in zip(
        again.detector.state_dict().values(), run.detector.state_dict().values(), strict=True
    ):
        assert torch.equal(one, other)


def test_points_without_sizes_teach_no_sizes(tmp_path: Path) -> None:
    dataset = read_detected(spots(tmp_path))
    plain = [
        dataclasses.replace(e, boxes=tuple(Box(b.kind, b.x, b.y) for b in e.boxes or ()))
        for e in dataset.entries
    ]
    unsized: Detected = dataclasses.replace(dataset, entries=tuple(plain))
    run = train_detection(unsized, recipe(tmp_path, epochs=1), folder=tmp_path / "run")
    assert not run.sized
    assert typical_size(run.parts) == 0
    found = evaluate_detection(choose_settings(run), run.parts["test"])
    assert not any("Average precision" in row.name for row in found.rows)
    assert math.isfinite(found.leading.value)


def test_recipes_of_another_kind_are_refused(tmp_path: Path) -> None:
    dataset = read_detected(spots(tmp_path))
    mixed = RECIPE + '[stage.segmentation]\ninstances = "boundary"\n'
    with pytest.raises(RecipeError, match=r"keep \[stage.segmentation\] or \[stage.detection\]"):
        recipe(tmp_path, mixed.replace("patches = 4", "patches = 5"))
    other = RECIPE.replace("[stage.detection]\npatches = 4", '[stage.segmentation]\ninstances = "boundary"')
    with pytest.raises(RecipeError, match=r"it trains networks for segmentation"):
        train_detection(dataset, recipe(tmp_path, other), folder=tmp_path / "run")
    own = recipe(tmp_path, RECIPE.replace("patches = 4", "patches = 5"))
    with pytest.raises(RecipeError, match=r"it trains networks for detection"):
        train_segmentation(dataset, own, folder=tmp_path / "run")  # type: ignore[arg-type]
    with pytest.raises(RecipeError, match="a network for detection is trained with fit"):
        train_detection(
            dataset, recipe(tmp_path, RECIPE.replace('"native"', '"resize"')), folder=tmp_path / "run"
        )
    with pytest.raises(RecipeError, match="multiples of 16 px"):
        train_detection(dataset, recipe(tmp_path, RECIPE.replace("[32, 32]", "[40, 32]")), folder=tmp_path)


def test_a_class_that_is_not_in_every_part_is_refused(tmp_path: Path) -> None:
    dataset = read_detected(spots(tmp_path))
    entries = [
        dataclasses.replace(e, boxes=tuple(b for b in e.boxes or () if b.kind == 0 or number == 0))
        for number, e in enumerate(dataset.entries)
    ]
    with pytest.raises(
        DataError, match=r"no image of the (training|selection) part has an object of the class"
    ):
        train_detection(
            dataclasses.replace(dataset, entries=tuple(entries)), recipe(tmp_path), folder=tmp_path / "run"
        )


# --- real images


@pytest.mark.slow
@pytest.mark.shared
def test_blood_cells_are_read_and_learnt(shared: Path, tmp_path: Path) -> None:
    """One epoch of the shipped recipe on a third of the set: not what it can do, but that all goes together."""
    lines = (shared / "data" / "blood-cells" / "boxes.csv").read_text().splitlines()
    folder = shared / "data" / "blood-cells"
    files = sorted({line.split(",")[0] for line in lines[1:]})[:20]
    rows = [f"{folder}/{line}" for line in lines[1:] if line.split(",")[0] in files]
    (tmp_path / "boxes.csv").write_text("\n".join([lines[0], *rows]))
    dataset = read_detected(tmp_path / "boxes.csv")
    assert dataset.names == ("Platelets", "RBC", "WBC")
    assert len(dataset.entries) == 20
    said = recipes.read(Path("cells"), changes={"epochs": 3})
    run = choose_settings(train_detection(dataset, said, folder=tmp_path / "run"))
    assert run.history[-1]["training_loss"] < run.history[0]["training_loss"]
    assert 60 < run.detector.configuration["typical_px"] < 140
    found = evaluate_detection(run, run.parts["test"])
    assert 0 <= found.leading.value <= 1
    assert sum(found.objects.values()) == sum(len(entry.boxes or ()) for entry in run.parts["test"])


# --- what looks right and is not


def test_the_same_picture_with_other_objects_is_refused(tmp_path: Path) -> None:
    path = table(tmp_path, "file,x,y\n0.png,5,5\n1.png,6,6\n2.png,7,7\ncopy.png,8,8\n")
    (tmp_path / "copy.png").write_bytes((tmp_path / "0.png").read_bytes())
    with pytest.raises(
        DataError, match=r"0\.png and .*copy\.png are the same picture with different objects"
    ):
        read_detected(path)
    path.write_text(path.read_text().replace("copy.png,8,8", "copy.png,5,5"))
    assert len(read_detected(path).entries) == 4


def test_classes_in_two_spellings_are_refused(tmp_path: Path) -> None:
    path = table(tmp_path, "file,class,x,y\n0.png,RBC,5,5\n1.png,rbc,6,6\n2.png,RBC,7,7\n")
    with pytest.raises(DataError, match="'RBC' and 'rbc' differ in case, width or spaces only"):
        read_detected(path)


def test_rois_of_several_names_in_one_class_are_told(tmp_path: Path) -> None:
    folder = folder_of_rois(tmp_path)
    assert "The ROIs have the names RBC, wbc, and all were taken as one class" in read_detected(
        folder
    ).reading_words(english)
    assert read_detected(folder, names=["RBC", "WBC"]).reading_words(english) == ""


def test_the_same_roi_twice_is_refused(tmp_path: Path) -> None:
    folder = folder_of_rois(tmp_path)
    twice = [regions.points([(7, 7)], name="first"), regions.points([(7, 7)], name="second")]
    regions.write(folder / "rois" / "1.zip", twice)
    (folder / "rois" / "1.roi").unlink()
    with pytest.raises(DataError, match="the ROI 'second' is at the same place as another one"):
        read_detected(folder)


def test_a_package_with_sizes_is_no_start_for_points_without(
    trained: tuple[DetectionRun, Path], tmp_path: Path
) -> None:
    from mikata.packaging.detected import write_detection

    run, _ = trained
    package = write_detection(tmp_path / "sized", run, name="Sized")
    plain = [
        dataclasses.replace(e, boxes=tuple(Box(b.kind, b.x, b.y) for b in e.boxes or ()))
        for e in run.dataset.entries
    ]
    unsized = dataclasses.replace(run.dataset, entries=tuple(plain))
    said = recipe(tmp_path, source=str(package), epochs=1)
    with pytest.raises(
        RecipeError, match=r"learnt objects with sizes \(boxes\), and here they are without sizes"
    ):
        train_detection(unsized, said, folder=tmp_path / "run")


def test_a_split_given_in_the_table_is_said(tmp_path: Path) -> None:
    rows = (spots(tmp_path)).read_text().splitlines()
    parts = ["training", "training", "selection", "selection", "test", "test"]
    given = [f"{rows[0]},split", *(f"{row},{parts[int(row[row.rindex('p') + 1 :])]}" for row in rows[1:])]
    (tmp_path / "given.csv").write_text("\n".join(given))
    run = train_detection(
        read_detected(tmp_path / "given.csv"), recipe(tmp_path, epochs=1), folder=tmp_path / "run"
    )
    assert "(split patient-wise, given in the table" in run.methods

"""Networks for segmentation: what they take and see, what they learn from, and their packages."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
import torch.nn.functional as F
import yaml
from torch import nn

import mikata
from mikata import images, regions
from mikata.architecture import Segmenter, UNet
from mikata.datasets import read_segmented
from mikata.errors import DataError, NetworkError, PackageError, ParameterError, RecipeError
from mikata.evaluation.parting import choose_settings
from mikata.networks import read_package, read_pixel_network
from mikata.networks.instances import DEFAULTS
from mikata.networks.reach import halo_of, step_of
from mikata.training import recipe as recipes
from mikata.training import train_segmentation
from mikata.training.augmentation import augment, augment_masked
from mikata.training.data import input_of
from mikata.training.order import DRAWS
from mikata.training.patches import MaskPart, PatchBatches, distances
from mikata.training.pixel_losses import PixelLoss, boundaries
from mikata.training.stage import Augmentation
from mikata.types import Progress

RECIPE = """
[split]
test = 0.34
selection = 0.34
[[stage]]
network = "unet"
size = [32, 48]
fit = "native"
epochs = 3
batch = 4
learning_rate = 0.01
schedule = "constant"
[stage.augmentation]
rotation_rad = 1.0
flip_horizontal = true
[stage.segmentation]
names = ["disk"]
instances = "{instances}"
patches = 2
"""


def disks(folder: Path, count: int = 9) -> Path:
    """Bright disks on dark noise, two of which touch, of three patients."""
    rows = ["file,mask,patient_alias"]
    for number in range(count):
        random = np.random.default_rng(number)
        height, width = 50 + number, 60
        y, x = np.mgrid[:height, :width]
        labels = np.zeros((height, width), np.uint8)
        for label, (cy, cx) in enumerate([(12 + number % 4, 14), (12 + number % 4, 27), (36, 40)], 1):
            labels[(y - cy) ** 2 + (x - cx) ** 2 <= 49] = label
        image = np.clip(random.normal(40, 10, labels.shape) + 120 * (labels > 0), 0, 255).astype(np.uint8)
        tifffile.imwrite(folder / f"i{number}.tif", image)
        tifffile.imwrite(folder / f"m{number}.tif", labels)
        rows.append(f"i{number}.tif,m{number}.tif,p{number % 3}")
    (folder / "table.csv").write_text("\n".join(rows))
    return folder / "table.csv"


def recipe(folder: Path, text: str = RECIPE, instances: str = "boundary", **changes):
    path = folder / "recipe.toml"
    path.write_text(text.replace("{instances}", instances))
    return recipes.read(path, changes=changes)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory):
    """A short training, where it was and its recipe."""
    folder = tmp_path_factory.mktemp("disks")
    dataset = read_segmented(disks(folder), names=["disk"], parted=True)
    return train_segmentation(dataset, recipe(folder), folder=folder / "run"), folder


@pytest.fixture(scope="module")
def made(trained, tmp_path_factory: pytest.TempPathFactory):
    """What the command has made, with distances, and its package."""
    data, out = trained[1], tmp_path_factory.mktemp("command")
    recipe(data, instances="distance")
    learnt = mikata.train_segmentation(
        data / "table.csv",
        out=out / "Disks",
        recipe=str(data / "recipe.toml"),
        epochs=1,
        authors="A B",
        licence="CC0-1.0",
    )
    return learnt, out / "Disks"


# --- what a network takes and sees


class Plain(nn.Module):
    """A convolution of a radius on a grid of pooled cells."""

    def __init__(self, radius: int, pool: int, *, whole: bool = False) -> None:
        super().__init__()
        self.layer = nn.Conv2d(1, 2, 2 * radius + 1, padding=radius)
        self.pool, self.whole = pool, whole

    def forward(self, x):
        if x.shape[2] % self.pool or x.shape[3] % self.pool:
            raise RuntimeError("no multiple")
        y = self.layer(F.avg_pool2d(x, self.pool))
        y = y + y.mean((2, 3), keepdim=True) if self.whole else y
        return F.interpolate(y, scale_factor=float(self.pool), mode="nearest")


@pytest.mark.parametrize(
    ("radius", "pool", "halo"),
    # of a pixel at the end of its cell: the rest of the cell, and `radius` cells
    [(0, 1, 0), (3, 1, 3), (0, 4, 3), (2, 4, 11)],
)
def test_step_and_halo_are_found_by_trying(radius, pool, halo):
    network = Plain(radius, pool).eval()
    assert step_of(network, 1) == pool
    assert halo_of(network, 1, pool) == halo


def test_a_network_that_sees_all_has_no_halo():
    assert halo_of(Plain(1, 2, whole=True).eval(), 1, 2) is None


def test_the_unet_is_small_and_sees_what_its_layers_add_up_to():
    network = UNet(3, 1).eval()
    # two 3 x 3 convolutions a level: 2 (1 + 2 + 4 + 8 + 16) down, 2 (8 + 4 + 2 + 1) up, and 15 px of a cell of 16
    assert step_of(network, 1) == 16
    assert halo_of(network, 1, 16) == 62 + 30 + 15
    assert sum(p.numel() for p in network.parameters()) * 4 * 2 < 4.5e6  # both weight files


def test_tiles_with_the_halo_give_what_the_whole_image_gives():
    torch.manual_seed(0)
    network = UNet(2, 1).eval()
    x = torch.rand(1, 1, 64, 416)
    with torch.inference_mode():
        whole = network(x)
        tile = network(x[..., 64:352])
    inner = slice(112, 176)
    assert torch.allclose(whole[..., 176:240], tile[..., inner], atol=1e-5)
    assert not torch.allclose(whole[..., 64:176], tile[..., :112], atol=1e-5)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("unett", "no segmentation network named unett"),
        ("smp:Unet", "smp:Unet/resnet18"),
        ("smp:Unet/nothing", "cannot make smp:Unet/nothing"),
        ("smp:Nothing/resnet18", "cannot make smp:Nothing/resnet18"),
        ("smp:Unet/hf-hub:someone", "no encoder"),
    ],
)
def test_names_of_networks(name, message):
    with pytest.raises(ValueError, match=message):
        Segmenter(name, 2, 1, [0], [1])


def test_a_network_of_the_library_is_as_any_other():
    segmenter = Segmenter("smp:Unet/resnet18", 2, 3, [1, 2, 3], [4, 5, 6], distance=True).eval()
    with torch.inference_mode():
        found = segmenter(torch.rand(1, 3, 64, 32) * 9)
    assert found.shape == (1, 3, 64, 32)
    assert torch.allclose(found[:, :2].sum(1), torch.ones(1, 64, 32))
    twin = Segmenter(**segmenter.configuration)
    twin.load_state_dict(segmenter.state_dict())


# --- what is learnt from


def test_the_losses_are_those_computed_by_hand():
    planes = torch.zeros(1, 2, 1, 4)
    planes[0, 0, 0] = torch.tensor([1.0, 1, 0, -1])  # the last one does not count
    share = torch.tensor([0.9, 0.6, 0.2, 0.99])
    scores = torch.stack([(1 - share).log(), share.log()])[None, :, None]
    entropy = -(np.log(0.9) + np.log(0.6) + np.log(0.8)) / 3
    dice = (2 * (0.9 + 0.6) + 1) / (0.9 + 0.6 + 0.2 + 2 + 1)
    for loss, expected in (("cross_entropy", entropy), ("dice", 1 - dice), ("dice_ce", entropy + 1 - dice)):
        found = PixelLoss(2, loss, "none").of_training(scores, planes)
        assert found.tolist() == pytest.approx([expected], abs=1e-6)
    # predicted 1 1 0, true 1 1 0
    assert PixelLoss(2, "dice", "none").figures(scores, planes).tolist() == [1.0]


def test_boundaries_are_the_outermost_pixels_of_each_object():
    objects = torch.zeros(1, 5, 8)
    objects[0, 1:4, 1:4], objects[0, 1:4, 4:7] = 1, 2
    found = boundaries(objects)[0]
    assert found.sum() == 2 * 8
    assert not found[2, 2]
    assert not found[2, 5]
    assert not boundaries(torch.ones(1, 4, 4)).any()  # an image's edge is none
    planes = torch.stack([(objects > 0).float(), objects], 1)
    assert PixelLoss(3, "dice", "boundary").targets(planes)[0, 2].tolist() == [0, 2, 1, 2, 2, 1, 2, 0]


def test_distances_are_shares_of_each_objects_depth():
    objects = np.zeros((9, 12), np.int32)
    objects[2:7, 1:6], objects[2:5, 6:9] = 1, 2
    found = distances(objects)
    assert found[4, 3] == found[3, 7] == 1
    assert found[2, 1] == pytest.approx(1 / 3)
    assert found[2, 6] == pytest.approx(1 / 2)  # also where the other one touches
    assert found[0].max() == 0


def test_masks_move_with_their_images():
    options = Augmentation(rotation_rad=0.5, shift=0.1, scale=0.2, flip_horizontal=True, quarter_turns=True)
    truth = torch.zeros(6, 2, 40, 40)
    truth[:, :, 8:20, 10:30] = 1
    truth[:, 1] *= 7
    draws = torch.rand(6, len(DRAWS), generator=torch.Generator().manual_seed(1))
    plain = dataclasses.replace(options, brightness=0)
    images, moved = augment_masked(truth[:, :1] * 200, truth, draws, plain, (0, 255))
    assert torch.equal(images, augment(truth[:, :1] * 200, draws, plain, (0, 255)))
    assert set(moved[:, 0].unique().tolist()) == {0, 1}
    assert set(moved[:, 1].unique().tolist()) == {0, 7}
    assert ((images[:, 0] > 100).float() - moved[:, 0]).abs().mean() < 0.02  # but for half a pixel


def part_of(trained, **more) -> MaskPart:
    run = trained[0]
    entries = run.parts["training"]
    spec = input_of(entries, 1, (32, 48), "native")
    return MaskPart.of(entries, run.dataset, spec, distance=False, step=16, **more)


def test_patches_are_a_function_of_seed_and_epoch_and_prefer_objects(trained):
    part = part_of(trained)
    stage = trained[0].recipe.stage
    always = dataclasses.replace(
        stage, segmentation=dataclasses.replace(stage.segmentation, foreground=1.0, patches=3)
    )
    batches = PatchBatches(part, always, 5, (0, 1))
    first, again = ([truth for _, truth, _ in batches] for _ in range(2))
    assert sum(map(len, first)) == 3 * len(part)
    assert all(map(torch.equal, first, again))
    assert all(one[0].any() for truth in first for one in truth)
    batches.epoch = 1
    assert not all(map(torch.equal, first, [truth for _, truth, _ in batches]))
    # what is kept in memory gives the same as what is read
    part.keep_truth()
    batches.epoch = 0
    assert all(map(torch.equal, first, [truth for _, truth, _ in batches]))


def test_whole_images_are_filled_up_with_pixels_that_do_not_count(trained):
    part = part_of(trained)
    image, truth = part.whole(0)
    seen = part.entries[0].picture
    assert image.shape[1:] == truth.shape[1:] == part.whole_shape(0) == (64, 64)
    assert (truth[0, seen.height :] == -1).all()
    assert (truth[0, :, seen.width :] == -1).all()
    assert (truth[0, : seen.height, : seen.width] >= 0).all()


# --- training


def test_it_learns_and_keeps_the_best_epoch(trained):
    run, _ = trained
    losses = [epoch["selection_loss"] for epoch in run.history]
    assert run.best_epoch == 1 + losses.index(min(losses))
    assert run.history[-1]["training_loss"] < run.history[0]["training_loss"]
    assert run.outputs == ("background", "disk", "boundary")
    patients = [{entry.patient for entry in entries} for entries in run.parts.values()]
    assert not set.intersection(*patients)
    text = json.dumps(run.record())
    assert "i0.tif" not in text
    assert run.record()["data"]["parts"]["training"]["objects"] == 9


def test_the_same_seed_gives_the_same_network_and_resuming_too(trained, tmp_path):
    run, folder = trained
    said = recipe(folder)

    class Stop(Progress):
        """Stops once an epoch is over."""

        stopped = False

        def show(self, message: str, done: int = 0, total: int = 0) -> None:
            self.stopped = self.stopped or "Dice of selection images" in message

        @property
        def cancelled(self) -> bool:
            return self.stopped

    first = train_segmentation(run.dataset, said, folder=tmp_path, progress=Stop())
    assert first.stopped_by == "interrupted"
    assert len(first.history) == 1
    whole = train_segmentation(run.dataset, said, folder=tmp_path, resume=True)
    assert [e["selection_loss"] for e in whole.history] == [e["selection_loss"] for e in run.history]
    for name, value in run.segmenter.state_dict().items():
        assert torch.equal(value, whole.segmenter.state_dict()[name]), name


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fit": "resize"}, 'trained with fit = "native", not "resize"'),
        ({"balance": "class_weights"}, "trained with balance"),
        ({"size": [40, 48]}, "multiples of 16 px, not 40 x 48"),
        ({"source": "formula"}, "is for classifiers"),
    ],
)
def test_what_a_recipe_cannot_say(trained, changes, message, tmp_path):
    run, folder = trained
    with pytest.raises(RecipeError, match=message):
        train_segmentation(run.dataset, recipe(folder).change(**changes), folder=tmp_path)


def test_more_that_is_refused(trained, tmp_path):
    run, folder = trained
    with pytest.raises(NetworkError, match="no segmentation network named resnet18"):
        train_segmentation(run.dataset, recipe(folder, network="resnet18"), folder=tmp_path)
    with pytest.raises(NetworkError, match="unet has no published weights"):
        train_segmentation(run.dataset, recipe(folder, source="imagenet"), folder=tmp_path)
    two = dataclasses.replace(run.dataset, reading=dataclasses.replace(run.dataset.reading, names=("a", "b")))
    with pytest.raises(RecipeError, match="tells objects of one class apart"):
        train_segmentation(two, recipe(folder), folder=tmp_path, parts=run.parts)
    with pytest.raises(RecipeError, match="'instance' is unknown; did you mean 'instances'"):
        recipe(folder, RECIPE.replace("instances =", "instance ="))
    empty = {name: () if name == "selection" else entries for name, entries in run.parts.items()}
    with pytest.raises(DataError, match="no mask of the selection part holds the class 'disk'"):
        train_segmentation(run.dataset, recipe(folder), folder=tmp_path, parts=empty)


# --- packages


def test_a_package_passes_its_own_test_and_is_read_as_the_same_network(made):
    result, folder = made
    assert "NOT" not in result.message  # bioimageio.core has run each kind of weights
    network = read_pixel_network(folder)
    assert (network.meaning, network.outputs) == ("instances", ("background", "disk", "distance"))
    assert (network.halo, network.stride) == (107, 16)
    assert network.height.takes(48)
    assert not network.height.takes(50)
    assert set(network.settings) == {"foreground", "seed", "smallest_px"}
    image = np.load(folder / "test_input.npy")[0]
    with torch.inference_mode():
        found = network.network(torch.from_numpy(network.before(image))[None])[0].numpy()
    assert np.abs(network.after(found) - np.load(folder / "test_output.npy")[0]).max() < 1e-6
    assert sum((folder / f"weights_{kind}.pt").stat().st_size for kind in ("state_dict", "torchscript")) < 5e6
    readme = (folder / "README.md").read_text()
    assert "F1 of objects (IoU 0.5)" in readme
    assert "107 px" in readme


def test_the_command_leaves_a_report_that_names_no_file(made):
    result, folder = made
    assert "F1 of objects" in result.message
    assert sorted(path.name for path in folder.parent.iterdir()) == [
        "Disks", "Disks report.html", "Disks test images.csv", "Disks.zip",
    ]  # fmt: skip
    page = (folder.parent / "Disks report.html").read_text()
    assert page.count("data:image/png") == 3
    assert "i0.tif" not in page
    rows = (folder.parent / "Disks test images.csv").read_text("utf-8-sig").splitlines()
    assert len(rows) == 4
    record = json.loads((folder / "training.json").read_text())
    assert record["training"]["settings"] == record["settings"]
    assert record["evaluation"]["n_patients"] == 1


def test_other_commands_say_that_it_is_no_classifier(made):
    folder = made[1]
    with pytest.raises(PackageError, match="holds a network for segmentation"):
        read_package(folder)
    assert read_pixel_network(folder.with_name("Disks.zip")).channels == 1


def test_a_training_goes_on_from_a_package_of_the_same_kind(trained, made, tmp_path):
    run, folder = trained
    said = recipe(folder, instances="distance", source=str(made[1]), epochs=1)
    found = train_segmentation(run.dataset, said, folder=tmp_path)
    assert found.parent == {"name": "Disks"}
    package = read_pixel_network(made[1])
    assert found.segmenter.configuration == package.network.configuration
    assert str(tmp_path.parent) not in json.dumps(found.record())
    with pytest.raises(RecipeError, match="does not suit: its classes is 2, and here it is 3"):
        train_segmentation(run.dataset, recipe(folder, source=str(made[1])), folder=tmp_path)


def test_a_damaged_record_is_refused(made, tmp_path):
    folder = made[1]
    for key, value in (
        ("step", 0),
        ("halo", "far"),
        ("outputs", ["a"]),
        ("settings", {"seed": "x"}),
        ("configuration", {}),
    ):
        other = tmp_path / key
        other.mkdir()
        for file in folder.iterdir():
            (other / file.name).write_bytes(file.read_bytes())
        record = json.loads((folder / "training.json").read_text())
        (other / "training.json").write_text(json.dumps(record | {key: value}))
        with pytest.raises(PackageError, match=f"'{key}' is missing or wrong"):
            read_pixel_network(other)


@pytest.mark.parametrize("name", ["nuclei", "lungs"])
def test_the_shipped_recipes_are_right(name):
    found = recipes.read(Path(name))
    assert found.stage.network == "unet"
    assert found.stage.fit == "native"


@pytest.mark.slow
def test_it_is_exported_for_both_readers(made, tmp_path):
    package = made[1]
    result = mikata.export_package(model=package, out=tmp_path / "zoo", reader="zoo", authors="C D")
    assert "passes its own test" in result.message
    new = yaml.safe_load((tmp_path / "zoo" / "rdf.yaml").read_text())
    axes = {axis["id"]: axis for axis in new["outputs"][0]["axes"] if "id" in axis}
    assert axes["y"]["halo"] == axes["x"]["halo"] == 112  # 107, up to a multiple of 16
    assert new["authors"][0]["name"] == "C D"
    old = yaml.safe_load((package / "rdf.yaml").read_text())
    assert old["format_version"] == "0.5.10"
    assert not any(
        "halo" in axis for axis in old["outputs"][0]["axes"]
    )  # deepImageJ would fill up images by it
    ours, theirs = (read_pixel_network(path) for path in (package, tmp_path / "zoo.zip"))
    assert ours.settings == theirs.settings
    x = torch.rand(1, 1, 48, 64) * 200
    with torch.inference_mode():
        assert torch.equal(ours.network(x), theirs.network(x))
    assert "F1 of objects (IoU 0.5)" in (tmp_path / "zoo" / "README.md").read_text()
    with pytest.raises(ParameterError, match="without heat maps"):
        mikata.export_package(model=package, out=tmp_path / "maps", explain=True)
    assert not (tmp_path / "maps").exists()


def test_what_was_selected_is_no_object_where_there_is_an_overlay(tmp_path: Path) -> None:
    file = tmp_path / "drawn.tif"
    overlay = (regions.oval(5, 5, 10, 10, name="a"), regions.oval(30, 30, 12, 12, name="b"))
    everything = regions.rectangle(0, 0, 64, 64)
    pixels = np.zeros((64, 64), np.uint8)
    images.write_tiff(file, images.from_array(pixels, "YX", overlay=overlay, roi=everything))
    assert len(regions.read(file)) == 3
    assert len(regions.read(file, selection=False)) == 2
    images.write_tiff(tmp_path / "selected.tif", images.from_array(pixels, "YX", roi=everything))
    assert len(regions.read(tmp_path / "selected.tif", selection=False)) == 1


def test_a_reduced_network_sees_further_and_keeps_the_size():
    segmenter = Segmenter("unet", 2, 1, [0], [1], shrink=4).eval()
    assert step_of(segmenter, 1) == 64
    halo = halo_of(segmenter, 1, 64)
    assert halo is not None
    assert halo > 4 * 100
    with torch.inference_mode():
        assert segmenter(torch.rand(1, 1, 128, 192)).shape == (1, 2, 128, 192)
    assert Segmenter(**segmenter.configuration).shrink == 4
    with pytest.raises(ValueError, match="2, 4 or 8 times smaller, not 0"):
        Segmenter("unet", 2, 1, [0], [1], shrink=0)


def test_test_images_of_another_kind_are_told_before_the_training(trained, tmp_path):
    _, folder = trained
    for number in range(9):
        tifffile.imwrite(tmp_path / f"m{number}.tif", tifffile.imread(folder / f"m{number}.tif"))
        values = tifffile.imread(folder / f"i{number}.tif").astype(np.uint16)
        tifffile.imwrite(tmp_path / f"i{number}.tif", values + 30000 * (number > 5))
    rows = (folder / "table.csv").read_text().splitlines()
    split = ["training"] * 3 + ["selection"] * 3 + ["test"] * 3
    table = [f"{rows[0]},split", *(f"i{n}.tif,m{n}.tif,p{n // 3},{split[n]}" for n in range(9))]
    (tmp_path / "table.csv").write_text("\n".join(table))
    dataset = read_segmented(tmp_path / "table.csv", names=["disk"], parted=True)
    with pytest.raises(DataError, match="None of the 3 test images suits the training images"):
        train_segmentation(dataset, recipe(folder), folder=tmp_path / "run")


def test_a_selection_image_that_cannot_be_used_keeps_what_was_learnt(trained):
    run, _ = trained
    narrow = dataclasses.replace(run, value_range=(-2.0, -1.0))
    chosen = choose_settings(narrow)
    assert chosen.settings == DEFAULTS
    assert f"{len(run.parts['selection'])} selection image(s) could not be used" in chosen.notes[-1]


def test_distances_at_the_images_edge_are_not_from_it():
    objects = np.zeros((9, 12), np.int32)
    objects[:, :5] = 1
    found = distances(objects)
    assert np.allclose(found[:, :5], np.array([1, 0.8, 0.6, 0.4, 0.2]))
    assert (distances(np.ones((4, 4), np.int32)) == 1).all()

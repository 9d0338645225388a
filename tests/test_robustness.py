"""Test Robustness: the statistics, how heat moves, and the command on small images."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from skimage import data

import mikata
from labelled import patients, write_table
from mikata import cli, images, packaging
from mikata.architecture import Classifier
from mikata.commands import COMMANDS
from mikata.errors import DataError, ImageError, NetworkError, OutputError, ParameterError
from mikata.evaluation.intervals import drawings, expanded
from mikata.explaining.robustness.asked import Asked
from mikata.explaining.robustness.moved_heat import movement
from mikata.explaining.robustness.outcomes import (
    NOT_DEFINED,
    Answer,
    Outcomes,
    Subject,
    Test,
    of_kind,
)
from mikata.explaining.robustness.samples import Sampled, type_limits
from mikata.explanation.cells import Cells
from mikata.explanation.corruptions import Corruption
from mikata.images import Images
from mikata.language import speaking
from mikata.networks import build, read_package, to_input
from mikata.types import ValueCalibration
from packages import Untrained

PHOTO = data.brick()
IMAGES, CURVES, PAGE = "Robustness.csv", "Robustness curves.csv", "Robustness.html"
FEW = "noise=20; blur=3; jpeg=10"


def rows(file: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(file.read_text("utf-8-sig").splitlines()))


def photo(height: int = 48, width: int = 40, left: int = 0) -> images.Image:
    return images.from_array(PHOTO[:height, left : left + width], "YX", title=f"photo {left}")


def even_package(folder: Path, network: str = "small_cnn", channels: int = 1, **changes: object) -> Path:
    """A package whose classes are nearly even on the photograph, so that little flips them."""
    torch.manual_seed(7)
    size = changes.get("size", (32, 32))
    scaled = list(size) if changes.get("fit") == "resize" else None
    classifier = Classifier(network, 2, channels, [110.0] * channels, [50.0] * channels, size=scaled).eval()
    some = torch.stack([
        torch.from_numpy(PHOTO[: size[0], n : n + size[1]].astype(np.float32)).expand(channels, -1, -1)
        for n in range(0, 200, 20)
    ])  # fmt: skip
    with torch.no_grad():
        heads = [classifier.network]
        if network != "small_cnn":
            heads = [member[1] for member in classifier.network.members]
        for head in heads:
            head.classifier.bias -= head(classifier.normalise(some)).mean(0)
    made = Untrained(classifier, classes=("a", "b"), channels=channels, **({"size": size} | changes))  # type: ignore[arg-type]
    return packaging.write(folder, made, name="Even", test_image=packaging.formula_image(made))


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return even_package(tmp_path_factory.mktemp("山田 太郎 (test)") / "model")


@pytest.fixture(scope="module")
def resizing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return even_package(tmp_path_factory.mktemp("resize") / "model", fit="resize", channels=3)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """8 pictures of 4 patients in two classes; a human called 6 of them."""
    listed = [
        (*row, human)
        for row, human in zip(patients(2, 2), ("a", "a", "b", "", "b", "b", "A ", ""), strict=True)
    ]
    return write_table(tmp_path_factory.mktemp("data"), listed, header="file,label,patient,human")


# ---------------------------------------------------------------- statistics


def subject(n: int, patient: str = "", truth: int | None = None, human: int | None = None) -> Subject:
    return Subject(f"image {n}", 1, 1, patient, truth, human, 0, 0.9)


def test_an_attack_that_rights_a_wrong_answer_does_not_count_as_right() -> None:
    found = Outcomes()
    attack, noise = Test("PGD", 8.0, "grey"), Test("noise", 5.0, "grey")
    for n in range(10):
        number = found.add(subject(n, f"p{n}", truth=0 if n < 8 else 1))  # the last two are wrong
        for test in (attack, noise):
            found.answer(number, test, Answer(1, 0.5))  # all flip
    unchanged, attacked, noisy = found.figures()
    assert (unchanged.accuracy, attacked.accuracy, noisy.accuracy) == (0.8, 0, 0.2)


def test_figures_are_shares_and_intervals_resample_patients() -> None:
    found = Outcomes()
    test = Test("noise", 5.0, "grey")
    random = np.random.default_rng(0)
    kept = random.random(40) < 0.6
    for n in range(40):
        number = found.add(subject(n, f"p{n // 4:02d}", truth=n % 2, human=1 if n < 10 else None))
        found.answer(number, test, Answer(0 if kept[n] else 1, 0.5 + n / 100))
    unchanged, noise = found.figures(seed=3)
    assert (unchanged.flips, unchanged.agreement, unchanged.accuracy) == (0, 1, 0.5)
    assert (noise.n_planes, noise.n_images, noise.n_units, noise.flips) == (40, 40, 10, int((~kept).sum()))
    predicted = np.where(kept, 0, 1)
    assert noise.agreement == pytest.approx(kept.mean())
    assert noise.accuracy == pytest.approx((predicted == np.arange(40) % 2).mean())
    assert noise.probability == pytest.approx(np.mean(0.5 + np.arange(40) / 100))
    assert (noise.human, noise.n_human) == (pytest.approx((predicted[:10] == 1).mean()), 10)
    # the plain way: draw patients, take all their planes, average
    draws = np.concatenate(list(drawings(10, seed=3, size=16)), axis=1)
    means = [np.average(kept, weights=np.repeat(draws[:, r], 4)) for r in range(draws.shape[1])]
    expected = expanded(np.array(means), 10)
    assert (noise.agreement_interval.low, noise.agreement_interval.high) == pytest.approx(expected)
    assert noise.agreement_interval.method == "bootstrap over patients, expanded percentiles"
    # all resamples of the unchanged images agree: that says nothing about others
    assert unchanged.agreement_interval.low < 1
    assert "Wilson" in unchanged.agreement_interval.method


def test_a_level_that_some_planes_lack() -> None:
    found = Outcomes()
    for n in range(6):
        number = found.add(subject(n))
        if n < 4:
            found.answer(number, Test("jpeg", 10.0, "quality"), Answer(n % 2, 0.4))
    jpeg = found.figures()[1]
    assert (jpeg.n_planes, jpeg.flips, jpeg.agreement) == (4, 2, 0.5)
    assert math.isnan(jpeg.accuracy)
    assert math.isnan(jpeg.human)


def test_levels_run_from_weak_to_strong() -> None:
    found = Outcomes()
    number = found.add(subject(0))
    for level in (20.0, 80.0, 50.0):
        for name in ("contrast", "blur"):
            found.answer(number, Test(name, level), Answer(0, 0.5))
    figures = found.figures()
    assert [one.test.level for one in of_kind(figures, "contrast")] == [80, 50, 20]
    assert [one.test.level for one in of_kind(figures, "blur")] == [20, 50, 80]


def test_how_heat_moves() -> None:
    cells = Cells((4, 5), (40, 100), (40, 100))
    first, second = np.zeros((2, 4, 5))
    first[1, 1] = first[1, 2] = 1
    second[1, 2] = second[1, 3] = 3
    moved = movement(cells.full(first), cells.full(second), (first, second), cells)
    assert moved.kept == pytest.approx(0.5, abs=0.1)
    assert moved.shift_px == pytest.approx(20, abs=0.5)  # one cell
    ranks = np.corrcoef(first.ravel(), second.ravel())[
        0, 1
    ]  # of two values each, ranks are as good as values
    assert moved.rank_correlation == pytest.approx(ranks)
    same = movement(cells.full(first), 7 * cells.full(first), (first, 7 * first), cells)
    assert (same.kept, same.rank_correlation, same.shift_px) == (
        pytest.approx(1), pytest.approx(1), pytest.approx(0, abs=1e-9),
    )  # fmt: skip
    empty = movement(cells.full(first), 0 * cells.full(first), (first, 0 * first), cells)
    assert math.isnan(empty.kept)
    assert math.isnan(empty.shift_px)


# ---------------------------------------------------------------- what is tested


def test_limits_are_those_of_the_type() -> None:
    assert type_limits(photo()) == (0, 255)
    wide = images.from_array(PHOTO.astype(np.uint16), "YX")
    assert type_limits(wide) == (0, 65535)
    hounsfield = wide.replace(calibration=ValueCalibration((-1024.0, 0.5), "HU"))
    assert type_limits(hounsfield) == (-1024, pytest.approx(65535 / 2 - 1024))
    floating = images.from_array(PHOTO.astype(np.float32) / 3, "YX")
    assert type_limits(floating) == (pytest.approx(PHOTO.min() / 3), pytest.approx(PHOTO.max() / 3))


def test_a_sample_is_seeded_and_keeps_the_order() -> None:
    source = Images.of([photo(left=n) for n in range(20)])
    one, again, other = (Sampled(source, 8, seed) for seed in (1, 1, 2))
    assert one.names == again.names != other.names
    assert len(one) == 8
    assert [source.names.index(name) for name in one.names] == sorted(map(source.names.index, one.names))
    assert one.words() == "A random sample of 8 of 20 images (seed 1)."
    assert Sampled(source, 0, 0).names == Sampled(source, 20, 0).names == source.names
    stack = images.from_array(np.stack([PHOTO[:48, n : n + 40] for n in range(9)]), "ZYX", title="stack")
    few = Sampled(Images.of([stack]), 4, 0)
    assert len(few.planes("stack", stack)) == 4
    assert "4 drawn at random" in few.words()


@pytest.mark.parametrize("size", [(48, 40), (20, 13), (10, 70)])
@pytest.mark.parametrize("kind", ["package", "resizing"])
def test_the_network_is_asked_what_it_is_given_otherwise(
    kind: str, size: tuple[int, int], request: pytest.FixtureRequest
) -> None:
    """Continuing and repeating inside gives what `to_input` gives, with a gradient to every pixel that is real."""
    model = read_package(request.getfixturevalue(kind))
    asked = Asked(model, "Grad-CAM", "")
    values = PHOTO[: size[0], : size[1]].astype(np.float32)[None]
    given = to_input(values, model, name="x")
    own = given[:1, : size[0], : size[1]] if model.fit == "native" else given[:1]
    assert torch.equal(asked.grown(own[None].to(asked.device))[0].cpu(), given)
    leaf = own[None].to(asked.device).requires_grad_()
    (gradient,) = torch.autograd.grad(asked.scores(leaf)[0, 0], leaf)
    assert gradient.shape == own[None].shape
    assert float((gradient != 0).float().mean()) > 0.9
    torch.testing.assert_close(
        asked.probabilities(own[None].to(asked.device)).cpu(), asked.answers(given[None])
    )


# ---------------------------------------------------------------- the command


def test_labelled_data_give_tables_images_and_a_page(package: Path, table: Path, hard_path: Path) -> None:
    out = hard_path / "out"
    result = mikata.robustness(table, model=package, out=out, levels=FEW, epsilon_grey=20, steps=5)
    assert sorted(p.name for p in out.iterdir()) == sorted(p.name for p in result.files)
    assert result.page == out / PAGE
    found = rows(out / IMAGES)
    assert len(found) == 8
    assert len({row["patient"] for row in found}) == 4
    assert not any(row["patient"].startswith("a0") for row in found)  # as everywhere: no patient's own id
    assert [row["human"] for row in found] == ["a", "a", "b", "", "b", "b", "a", ""]
    flipped = [row for row in found if row["flipped"] == "1"]
    assert flipped
    network = read_package(package)
    changed = sorted(out.glob("* changed.tif"))
    assert len(changed) == len(list(out.glob("* difference.tif"))) == 8
    by_name = {path.name.removesuffix(" changed.tif"): path for path in changed}
    for row in found:
        name = row["image"].replace("/", "_")
        worse, difference = images.read(by_name[name]), images.read(out / f"{name} difference.tif")
        assert worse.array.dtype == difference.array.dtype == np.float32
        assert 0 <= worse.array.min() <= worse.array.max() <= 255
        size = float(np.abs(difference.array).max())
        original = worse.array - difference.array
        assert np.abs(original - np.rint(original)).max() < 1e-3  # whole grey levels
        given = torch.from_numpy(worse.array)[None, None]
        with torch.no_grad():
            says = network.classifier(given)[0]
        shown = row["flip_predicted"] if row["flipped"] == "1" else row["PGD_predicted"]
        assert network.classes[int(says.argmax())] == shown
        if row["flipped"] == "1":
            assert size == pytest.approx(float(row["smallest_flip_at_most"]), abs=1e-4)
            assert float(row["smallest_flip_percent_of_range"]) == pytest.approx(
                100 * size / float(row["range_of_values"]), rel=1e-3
            )
            assert float(says.max()) == pytest.approx(float(row["flip_probability"]), abs=1e-4)
            assert row["flip_predicted"] != row["predicted"]
            assert row["changed_image"] == "smallest change"
        else:
            assert row["smallest_flip_at_most"] == "none found"
            assert size == pytest.approx(20, abs=1e-3)
            assert row["PGD_flips"] == "0"
        heat = images.read(out / f"{name} heat.tif")
        assert heat.array.shape == (3, 32, 32)
        if row["heat_kept"] != NOT_DEFINED:
            shares = [heat.array[n] / heat.array[n].sum() for n in (0, 1)]
            assert float(row["heat_kept"]) == pytest.approx(np.minimum(*shares).sum(), abs=1e-4)
    curves = rows(out / CURVES)
    tests = [row["test"] for row in curves]
    assert tests.count("smallest change") == 5
    assert {"unchanged", "FGSM", "PGD", "noise", "blur", "jpeg"} <= set(tests)
    for row in curves:
        assert int(row["n_planes"]) == 8
        assert float(row["agreement"]) == pytest.approx(1 - int(row["flips"]) / 8)
        assert float(row["agreement_low"]) <= float(row["agreement"]) <= float(row["agreement_high"])
        assert row["accuracy"] != NOT_DEFINED
        assert int(row["n_human"]) == 6
    at_bound = next(r for r in curves if r["test"] == "smallest change" and float(r["level"]) == 20)
    assert int(at_bound["flips"]) == len(flipped)
    text = (out / PAGE).read_text()
    assert "http" not in text.replace("http://www.w3.org", "")  # opens without a network
    assert text.count("data:image") >= 2 + 6 * 5
    assert "That FGSM" not in text
    assert "is an assumption, not a measurement" in text
    assert "Only 4 patients" in result.message
    assert (
        f"FGSM flipped the predicted class of {sum(r['FGSM_flips'] == '1' for r in found)} of 8"
        in result.message
    )
    assert result.message.endswith("Research use, not for diagnosis.")
    assert [plot.title for plot in result.plots][:2] == ["Robustness: smallest change", "Robustness: noise"]
    assert result.plots[0].series[0][2][-1] == pytest.approx(100 * len(flipped) / 8)


def test_the_same_seed_gives_the_same_figures_in_any_batch(package: Path, table: Path) -> None:
    first, again = (
        mikata.robustness(table, model=package, levels="noise=20", steps=3, batch=batch, limit=5, seed=4)
        for batch in (1, 5)
    )
    assert "A random sample of 5 of 8 images (seed 4)" in first.message
    for one, other in zip(first.tables[1].rows, again.tables[1].rows, strict=True):
        assert one[:7] == other[:7]
        assert one[13] == pytest.approx(other[13], abs=1e-4)
    column = first.tables[0].columns.index("smallest_flip_at_most")
    for one, other in zip(first.tables[0].rows, again.tables[0].rows, strict=True):
        assert one[0] == other[0]
        assert (isinstance(one[column], str) and one[column] == other[column]) or one[
            column
        ] == pytest.approx(other[column], rel=0.05)


def test_a_network_that_scales_images_is_changed_at_its_size(resizing: Path, hard_path: Path) -> None:
    out = hard_path / "out"
    result = mikata.robustness(
        photo(90, 70), model=resizing, out=out, tests="adversarial", epsilon_grey=30, steps=4
    )
    assert "are scaled to the network's 32 x 32 px, and are changed there" in result.message
    difference = images.read(out / "photo 0 difference.tif")
    assert difference.array.shape == (32, 32)  # grey stays grey, though the network takes three channels
    (row,) = rows(out / IMAGES)
    assert row["size_changed_px"] == "32 x 32"
    assert not any(line["test"] == "noise" for line in rows(out / CURVES))


def test_corruptions_alone_are_those_of_the_functions(package: Path) -> None:
    picture = photo()
    result = mikata.robustness(picture, model=package, tests="corruptions", levels="blur=2,4")
    (curves,) = result.tables
    network = read_package(package)
    values = PHOTO[:48, :40].astype(np.float32)[None]
    before = network.classifier(to_input(values, network, name="x")[None]).detach()[0]
    for level in (2.0, 4.0):
        blurred = Corruption("blur", level).applied(values, (0, 255), (0, 255), 0)
        after = network.classifier(to_input(blurred, network, name="x")[None]).detach()[0]
        row = next(r for r in curves.rows if r[0] == "blur" and r[1] == level)
        found = dict(zip(curves.columns, row, strict=True))
        assert found["flips"] == int(after.argmax() != before.argmax())
        assert found["mean_probability"] == pytest.approx(float(after[before.argmax()]), abs=1e-5)
        assert found["accuracy"] == found["human_agreement"] == NOT_DEFINED
    assert "of the planes kept their class" in result.message
    assert not result.images


def test_a_stack_without_a_folder_gives_images(package: Path) -> None:
    planes = np.stack([PHOTO[:40, 90 * i : 90 * i + 36] for i in range(5)])
    stack = images.from_array(planes, "ZYX", title="stack")
    result = mikata.robustness(stack, model=package, tests="adversarial", steps=2, limit=3)
    assert "Of images with more planes, 3 drawn at random (seed 0)" in result.message
    assert "the 3 planes are of 1 file(s)" in result.message
    changed, difference, heat = result.images
    assert (changed.axes, changed.array.shape) == ("ZYX", (3, 40, 36))
    assert (difference.title, heat.axes) == ("stack difference", "ZCYX")
    assert heat.size("C") == 3
    assert len(changed.slice_labels) == 3
    assert changed.slice_labels[0].startswith("slice ")
    assert len(heat.slice_labels) == 9


def test_what_becomes_constant_is_left_out(package: Path) -> None:
    faint = np.full((48, 40), 100, np.uint8)
    faint[10:30, 10:30] = 101
    result = mikata.robustness(
        [images.from_array(faint, "YX", title="faint"), photo()],
        model=package,
        tests="corruptions",
        levels="jpeg=1",
    )
    assert "JPEG 1: 1" in result.message
    assert [row[3] for row in result.tables[0].rows] == [2, 1]


def test_an_ensemble_is_attacked_without_heat(hard_path: Path) -> None:
    model = even_package(hard_path / "several", "2 x small_cnn")
    result = mikata.robustness(photo(), model=model, tests="adversarial", steps=3, epsilon_grey=30)
    row = dict(zip(result.tables[0].columns, result.tables[0].rows[0], strict=True))
    assert row["PGD_predicted"] in ("a", "b")
    if row["heat_kept"] == "":
        assert "There are no heat maps: The network is an ensemble of 2 networks" in result.message


def test_the_page_speaks_japanese(package: Path, table: Path, hard_path: Path) -> None:
    with speaking("ja"):
        mikata.robustness(table, model=package, out=hard_path / "out", levels=FEW, steps=2, limit=2)
    assert '<html lang="ja">' in (hard_path / "out" / PAGE).read_text()
    assert {row["test"] for row in rows(hard_path / "out" / CURVES)} >= {"noise", "smallest change"}


def test_bad_input(package: Path, table: Path, hard_path: Path) -> None:
    def refused(error: type[Exception], words: str, given: object = None, **changes: object) -> None:
        options = {"model": package, "steps": 1, "levels": FEW} | changes
        with pytest.raises(error, match=words):
            mikata.robustness(photo() if given is None else given, **options)  # type: ignore[arg-type]

    refused(ParameterError, "bound of the change must be a number above 0", epsilon_grey=0)
    refused(ParameterError, "epsilon_grey", epsilon_grey=float("nan"))
    refused(ParameterError, "epsilon_grey", epsilon_grey=-1)
    refused(ParameterError, "more than half of the range of values", epsilon_grey=200)
    refused(ParameterError, "did you mean 'blur'", levels="blurr=1")
    refused(ParameterError, "tests is 'adverse'", tests="adverse")
    refused(ParameterError, "part=test needs labelled data", part="test")
    refused(NetworkError, "no layer 'nowhere'", layer="nowhere")
    refused(ParameterError, "method is 'Magic'; it must be one of Grad-CAM", method="Magic")
    flat = images.from_array(np.full((40, 40), 9, np.uint8), "YX", title="flat")
    refused(ImageError, "constant", flat)
    gaps = images.from_array(np.where(PHOTO[:40, :40] > 90, np.nan, 1).astype(np.float32), "YX", title="gaps")
    refused(ImageError, "not numbers", gaps)
    classifier = Classifier("small_cnn", 1, 1, [120.0], [50.0], target=(60.0, 12.0), unit="mm").eval()
    made = Untrained(classifier, classes=())
    value = packaging.write(hard_path / "v", made, name="Value", test_image=packaging.formula_image(made))
    refused(NetworkError, "gives a value, not classes, so there is no class", model=value)
    other = write_table(hard_path / "other", [("x.png", "a", "p", "c")], header="file,label,patient,human")
    refused(DataError, r"row 2: the column 'human' has 'c', which is no class of the network \(a, b\)", other)
    out = hard_path / "out"
    out.mkdir()
    (out / "photo 0 heat.tif").write_text("mine")
    refused(OutputError, "already there", out=out)
    assert [p.name for p in out.iterdir()] == ["photo 0 heat.tif"]


def test_a_network_without_gradient_is_said(hard_path: Path) -> None:
    torch.manual_seed(7)
    classifier = build("small_cnn", classes=2, channels=1, mean=[110.0], std=[50.0])
    with torch.no_grad():
        for parameter in list(classifier.network.parameters())[-2:]:
            parameter.zero_()
        classifier.network.classifier.bias[0] = 2
    made = Untrained(classifier.eval(), classes=("a", "b"))
    model = packaging.write(hard_path / "m", made, name="Silent", test_image=packaging.formula_image(made))
    out = hard_path / "out"
    result = mikata.robustness(photo(), model=model, levels=FEW, steps=2, out=out)
    assert "In 1 of 1 planes the network's score has no gradient" in result.message
    assert "No change up to 8 grey flipped the class of 1 of 1" in result.message
    (row,) = rows(out / IMAGES)
    assert (row["no_gradient"], row["heat_kept"]) == ("1", NOT_DEFINED)


def test_the_command_line(
    package: Path, table: Path, hard_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [
        "robustness",
        str(table),
        "--model",
        str(package),
        "--levels",
        FEW,
        "--steps",
        "2",
        "--limit",
        "3",
    ]
    out = hard_path / "out"
    assert cli.main(cli.build(COMMANDS, lambda: "1"), [*words, "--out", str(out)]) == 0
    assert "PGD of" in capsys.readouterr().out
    assert (out / CURVES).is_file()

"""Tiles: where they lie, that they change nothing, what they do when memory is short, and how much of it they take."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from mikata import images
from mikata.errors import Cancelled, ImageError, NetworkError, OutputError
from mikata.networks.pixelwise import PixelNetwork, Sides
from mikata.tiling import Channels, Masks, Plan, PlaneValues, Tiler, Winners, budget, heap, kept, side, zeros
from mikata.types import ValueCalibration
from pixelnets import Doubling, Plain, SmallUNet, Thresholds, pixel_network

ONE = Sides(1, 1)
FOUR = Sides(4, 4)


def noise(height: int, width: int, channels: int = 0) -> images.Image:
    shape = (channels, height, width) if channels else (height, width)
    values = np.random.default_rng(height * width).random(shape).astype(np.float32)
    return images.from_array(values, "CYX" if channels else "YX", title="noise")


def run(network: PixelNetwork, image: images.Image, **how: Any) -> tuple[np.ndarray, Plan, Tiler]:
    tiler = Tiler(network, **how)
    plane = PlaneValues(image, 1, 1, network, "noise")
    values = np.zeros(
        (len(network.outputs), plane.height * network.scale, plane.width * network.scale), np.float32
    )
    plan = tiler.run(plane, [Channels(values)], lambda done, count: None)
    return values, plan, tiler


def whole(network: PixelNetwork, image: images.Image) -> np.ndarray:
    """The output without any tile, by torch alone: continued as in a mirror to the right and below."""
    values = image.values()
    values = values if values.ndim == 3 else values[None]
    height, width = values.shape[1:]
    below, right = network.height.at_least(height) - height, network.width.at_least(width) - width
    padded = np.pad(values, ((0, 0), (0, below), (0, right)), mode="reflect")
    with torch.inference_mode():
        out = network.network(torch.from_numpy(padded)[None])[0].numpy()
    return out[:, : height * network.scale, : width * network.scale]


def plain() -> PixelNetwork:
    torch.manual_seed(1)
    return pixel_network(Plain(), halo=Plain.HALO)


def unet(**changes: Any) -> PixelNetwork:
    torch.manual_seed(2)
    return pixel_network(SmallUNet(), **({"halo": SmallUNet.HALO, "sides": FOUR} | changes))


def doubling() -> PixelNetwork:
    torch.manual_seed(3)
    return pixel_network(Doubling(), ("restored",), halo=Doubling.HALO, meaning="image", scale=2)


def test_the_reach_of_the_test_networks_is_what_they_say() -> None:
    """By the gradient of each place's output: a halo that is too small would make the tests below worthless."""
    for network, stride in ((plain(), 1), (unet(), 4)):
        reach = 0
        for offset in range(stride):
            x = torch.rand(1, 1, 64, 64, requires_grad=True)
            place = 32 + offset
            (gradient,) = torch.autograd.grad(network.network(x)[0, 0, place, place], x)
            seen = gradient[0, 0].abs().nonzero()
            reach = max(reach, int((seen - place).abs().max()))
        assert network.halo is not None
        assert 0 < reach <= network.halo


@pytest.mark.parametrize("make", [plain, unet, doubling])
@pytest.mark.parametrize("size", [(101, 67), (130, 131), (97, 200)])
@pytest.mark.parametrize("tile_px", [40, 56, 97])
def test_tiles_change_nothing(make: Any, size: tuple[int, int], tile_px: int) -> None:
    network = make()
    image = noise(*size)
    found, plan, _ = run(network, image, tile_px=tile_px)
    assert plan.count > 1
    assert plan.exact
    assert np.abs(found - whole(network, image)).max() < 1e-5


@pytest.mark.parametrize("size", [(1, 1), (1, 50), (3, 2), (7, 61)])
def test_images_smaller_than_the_network_takes(size: tuple[int, int]) -> None:
    image = images.from_array(np.arange(size[0] * size[1], dtype=np.float32).reshape(size), "YX")
    network = unet(sides=Sides(16, 4))
    if size == (1, 1):
        with pytest.raises(ImageError, match="constant"):
            run(network, image)
        return
    found, plan, _ = run(network, image)
    assert plan.count == 1
    assert np.abs(found - whole(network, image)).max() < 1e-5


def test_a_network_of_one_size() -> None:
    """The image is continued to a whole number of tiles; inside of it nothing differs from the same net of any size."""
    image = noise(150, 131)
    fixed = unet(sides=Sides(64, 0), stride=4)
    found, plan, _ = run(fixed, image)
    assert plan.exact
    assert {span.length for span in (*plan.rows.spans, *plan.columns.spans)} == {64}
    assert np.abs(found - whole(unet(), image)).max() < 1e-5
    small, plan, _ = run(fixed, noise(20, 70))
    assert [span.start for span in plan.rows.spans] == [0]
    assert small.shape == (3, 20, 70)


def test_sides_that_start_odd() -> None:
    """A least side that is no multiple of the step, and a stride that is none of it either."""
    network = pixel_network(plain().network, halo=3, sides=Sides(13, 6), stride=4)
    image = noise(200, 99)
    found, plan, _ = run(network, image, tile_px=40)
    for span in (*plan.rows.spans, *plan.columns.spans):
        assert network.height.takes(span.length)
        assert span.start % 4 == 0
    assert np.abs(found - whole(network, image)).max() < 1e-5


@settings(max_examples=150, deadline=None)
@given(
    image=st.integers(1, 400),
    least=st.integers(1, 80),
    step=st.integers(0, 40),
    halo=st.one_of(st.none(), st.integers(0, 60)),
    stride=st.integers(1, 20),
    longest=st.integers(1, 400),
)
def test_every_division_of_a_side_is_one(
    image: int, least: int, step: int, halo: int | None, stride: int, longest: int
) -> None:
    sides = Sides(least, step)
    found = side(image, sides, halo=halo, stride=stride, longest=longest)
    assert found.padded >= image
    if found.exact:
        place = 0
        for span in found.spans:
            assert span.first == place
            place = span.last
        assert place == image
    else:
        total = np.zeros(found.padded)
        for span, weights in zip(found.spans, found.weights, strict=True):
            total[span.start : span.stop] += weights
        assert np.abs(total - 1).max() < 1e-5
    for span in found.spans:
        assert sides.takes(span.length)
        assert not found.exact or span.start % stride == 0
        assert 0 <= span.start < span.stop <= found.padded
        if found.exact and halo is not None:
            assert span.start == 0 or span.first - span.start >= halo
            assert span.stop == found.padded or span.stop - span.last >= halo


def test_tiles_without_a_known_halo_are_blended_and_say_how_far_they_differ() -> None:
    image = noise(180, 150)
    known, blended = unet(), unet(halo=None)
    exact = whole(known, image)
    found, plan, tiler = run(blended, image, tile_px=80)
    assert not plan.exact
    assert plan.count > 1
    apart = np.abs(found - exact)
    assert 0 < apart.mean() < 1e-3
    assert tiler.difference is not None
    assert 0 < tiler.difference.mean <= tiler.difference.largest
    # in one tile there is nothing to blend
    found, plan, tiler = run(blended, image, tile_px=200)
    assert plan.exact
    assert tiler.difference is None
    assert np.abs(found - exact).max() < 1e-5


@pytest.mark.parametrize("size", [(200, 60), (60, 200), (150, 150)])
def test_blending_what_depends_on_no_neighbour_changes_nothing(size: tuple[int, int]) -> None:
    network = pixel_network(
        Thresholds(lambda x: torch.cat([x, 1 - x, x * x], 1)), halo=None, sides=Sides(16, 8), stride=8
    )
    image = noise(*size)
    found, plan, tiler = run(network, image, tile_px=64)
    assert not plan.exact
    assert np.abs(found - whole(network, image)).max() < 1e-6
    assert tiler.difference is not None
    assert tiler.difference.largest == 0


def test_blending_at_twice_the_size() -> None:
    network = pixel_network(
        doubling().network, ("restored",), halo=None, meaning="image", scale=2, sides=FOUR
    )
    image = noise(90, 121)
    found, plan, _ = run(network, image, tile_px=48)
    assert not plan.exact
    inner = np.abs(found - whole(network, image))
    assert inner.mean() < 0.01  # the convolution's own border differs inside of tiles
    assert found.shape == (1, 180, 242)


def test_tiles_of_one_size_that_are_nothing_but_halo_are_blended() -> None:
    _, plan, _ = run(unet(sides=Sides(24, 0), stride=4), noise(60, 60))
    assert not plan.exact


class Full(nn.Module):
    """Has memory for tiles of some px only."""

    def __init__(self, inner: nn.Module, most: int) -> None:
        super().__init__()
        self.inner, self.most = inner, most

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[2] * x.shape[3] > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return self.inner(x)


@pytest.mark.parametrize("how", [{}, {"tile_px": 200}])
def test_where_memory_is_short_the_tile_is_halved(how: dict[str, int]) -> None:
    inner = plain().network
    assert isinstance(inner, nn.Module)
    network = pixel_network(Full(inner, 70 * 70), halo=Plain.HALO)
    image = noise(130, 127)
    found, plan, tiler = run(network, image, **how)
    assert tiler.halved >= 1
    assert plan.largest <= 70 * 70
    assert np.abs(found - whole(plain(), image)).max() < 1e-5
    # later planes start with the size that was found
    before = tiler.halved
    plane = PlaneValues(image, 1, 1, network, "noise")
    tiler.run(plane, [], lambda done, count: None)
    assert tiler.halved == before


def test_no_memory_for_the_smallest_tile() -> None:
    network = pixel_network(Full(SmallUNet(), 64 * 64), halo=14, sides=Sides(64, 0), stride=4)
    with pytest.raises(
        NetworkError, match=r"made up: there is not enough memory for the smallest tile .* 128 x 128 px"
    ):
        run(
            pixel_network(network.network, halo=14, sides=Sides(128, 0), stride=4),
            noise(200, 200),
            tile_px=128,
        )


def test_other_errors_of_a_network_keep_their_words() -> None:
    def wrong(x: Tensor) -> Tensor:
        raise RuntimeError("sizes do not match")

    with pytest.raises(RuntimeError, match="sizes do not match"):
        run(pixel_network(wrong), noise(20, 20), tile_px=20)


def test_an_output_of_another_shape_or_without_numbers_is_refused() -> None:
    with pytest.raises(NetworkError, match=r"made up: its network makes an output of shape \(1, 1, 20, 20\)"):
        run(pixel_network(lambda x: x), noise(20, 20), tile_px=20)
    with pytest.raises(ImageError, match=r"made up gives values that are not numbers .* for noise"):
        run(pixel_network(lambda x: (x * float("nan")).expand(-1, 3, -1, -1)), noise(20, 20), tile_px=20)
    network = pixel_network(lambda x: x.expand(-1, 3, -1, -1), after=lambda values: values[:1])
    with pytest.raises(NetworkError, match="what it does with its output"):
        run(network, noise(20, 20), tile_px=20)
    network = pixel_network(lambda x: x.expand(-1, 3, -1, -1), before=lambda values: values[:, :2])
    with pytest.raises(NetworkError, match="its preparation makes an image of shape"):
        run(network, noise(20, 20), tile_px=20)
    network = pixel_network(lambda x: x.expand(-1, 3, -1, -1), before=lambda values: values * np.nan)
    with pytest.raises(ImageError, match=r"its preparation makes values of noise that are not numbers"):
        run(network, noise(20, 20), tile_px=20)


def test_what_needs_the_whole_image_gets_it_whatever_the_tiles() -> None:
    def before(values: np.ndarray) -> np.ndarray:
        return (values - values.mean()) / values.std()

    def after(values: np.ndarray) -> np.ndarray:
        return values / values.max()

    inner = plain().network
    network = pixel_network(inner, halo=Plain.HALO, before=before, after=after)
    image = noise(83, 61)
    found, plan, tiler = run(network, image, tile_px=32)
    assert plan.count > 1
    assert not tiler.keeps_output
    values = image.values()[None]
    with torch.inference_mode():
        expected = inner(torch.from_numpy(before(values))[None])[0].numpy()
    assert np.abs(found - after(expected)).max() < 1e-5


def test_between_tiles_it_can_be_stopped() -> None:
    network, image = plain(), noise(100, 100)
    seen: list[tuple[int, int]] = []

    def told(done: int, count: int) -> None:
        seen.append((done, count))
        if done == 2:
            raise Cancelled

    with pytest.raises(Cancelled):
        Tiler(network, tile_px=40).run(PlaneValues(image, 1, 1, network, "noise"), [], told)
    assert seen[-1][0] == 2
    assert seen[-1][1] > 4


def test_winners_and_masks_are_those_of_the_whole_output() -> None:
    network, image = plain(), noise(90, 77)
    expected = whole(network, image)
    plane = PlaneValues(image, 1, 1, network, "noise")
    winners, least = Winners((90, 77), 3, 0.0), Winners((90, 77), 3, 0.45)
    masks = Masks((90, 77), 3, 0.4)
    Tiler(network, tile_px=32).run(plane, [winners, least, masks], lambda done, count: None)
    assert winners.classes.dtype == np.uint8
    assert (winners.classes[0] == expected.argmax(0)).mean() > 0.999
    assert np.abs(winners.chances[0] / 65535 - expected.max(0)).max() < 2e-5
    sure = np.where(expected.max(0) >= 0.45, expected.argmax(0), 0)
    assert (least.classes[0] == sure).mean() > 0.999
    assert (masks.classes == (expected >= 0.4)).mean() > 0.999


def test_a_plane_of_a_stack_in_colour_with_calibration() -> None:
    rng = np.random.default_rng(0)
    network = pixel_network(lambda x: x, ("r", "g", "b"), channels=3)
    stack = images.from_array(rng.integers(0, 255, (2, 4, 30, 40, 3), dtype=np.uint8), "TZYXS")
    found = PlaneValues(stack, 3, 2, network, "stack").tile(0, 0, 30, 40)
    assert np.array_equal(found, np.moveaxis(stack.array[1, 2], -1, 0).astype(np.float32))
    ct = images.from_array(
        rng.integers(0, 4000, (600, 40), dtype=np.uint16),
        "YX",
        calibration=ValueCalibration((-1024.0, 1.0), "HU"),
    )
    network = pixel_network(lambda x: x, ("out",), value_unit="HU", value_range=(-1024.0, 3000.0))
    plane = PlaneValues(ct, 1, 1, network, "ct")
    assert np.array_equal(plane.tile(500, 0, 100, 40)[0], ct.values()[500:])
    # pixels behind the edge are mirrored in it, as often as need be
    assert np.array_equal(
        plane.tile(590, 0, 20, 90)[0], np.pad(ct.values(), ((0, 10), (0, 50)), "reflect")[590:]
    )


def test_values_that_the_network_cannot_have_been_made_for_are_refused() -> None:
    network = pixel_network(lambda x: x, ("out",), value_unit="HU", value_range=(-1000.0, 1000.0))
    with pytest.raises(ImageError, match=r"plane: its values are in grey, but the network was trained on HU"):
        PlaneValues(noise(9, 9), 1, 1, network, "plane")
    far = images.from_array(
        np.linspace(20000, 40000, 90, dtype=np.float32).reshape(9, 10), "YX", value_unit="HU"
    )
    with pytest.raises(ImageError, match="its values go from 20000 to 40000"):
        PlaneValues(far, 1, 1, network, "plane")
    holes = images.from_array(np.full((9, 9), np.nan, np.float32), "YX", value_unit="HU")
    with pytest.raises(ImageError, match="81 of 81 values are not numbers"):
        PlaneValues(holes, 1, 1, network, "plane")
    with pytest.raises(ImageError, match="2 channels, but the network was trained on images with 1"):
        PlaneValues(noise(9, 9, channels=2), 1, 1, pixel_network(lambda x: x, ("out",)), "plane")


def test_a_tile_is_as_large_as_pays_and_fits() -> None:
    network = unet()
    cpu = torch.device("cpu")
    whole_image = budget.choose(network, 300, 200, per_px=64, most_px=10**6, device=cpu)
    assert whole_image.count == 1
    for most in (10_000, 40_000, 300_000):
        plan = budget.choose(network, 3000, 2500, per_px=64, most_px=most, device=cpu)
        assert plan.exact
        assert plan.largest <= most
    assert plan.computed < 1.3 * 3000 * 2500
    # what cannot be smaller is as large as it must be
    plan = budget.choose(unet(sides=Sides(256, 0), stride=4), 500, 500, per_px=64, most_px=1000, device=cpu)
    assert plan.largest == 256 * 256
    per_px = budget.bytes_per_px(network.network, torch.zeros(1, 1, 64, 64))
    assert per_px == 4 * 8  # the eight channels that go into the last layer


def test_large_arrays_are_kept_in_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    small, large = zeros((10, 10), np.uint8), zeros((100, 100), np.float32, limit=1000)
    assert not isinstance(small, np.memmap)
    assert isinstance(large, np.memmap)
    assert not large.any()
    large[50] = 3
    assert large.sum() == 300

    def full(file: int, size: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(kept, "_reserve", full)
    with pytest.raises(
        OutputError, match=r"needs 0\.0 GB in the folder for temporary files .* No space left"
    ):
        zeros((100, 100), np.float32, limit=1000)


_REUSING = """
    import resource
    import torch
    from mikata.tiling import heap

    def fetched():
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        for _ in range(5):
            torch.ones(20_000_000)
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

    plain = fetched()
    with heap.reused():
        fetched()
        with heap.reused():
            pass
        again = fetched()
    print(plain, again, fetched())
"""


@pytest.mark.skipif(not heap.can_reuse(), reason="the C library is not glibc")
def test_memory_of_large_tensors_is_used_again() -> None:
    """Pages fetched from the system for five tensors of 80 MB, one after another.

    In a process of its own: where an allocation once failed, as other tests have it, glibc gives the thread another heap.
    """
    found = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(_REUSING)], capture_output=True, text=True, check=True
    )
    plain, again, after = map(int, found.stdout.split())
    assert again < plain / 3
    assert after > 3 * again  # and afterwards as it was


_PROGRAM = """
    import sys, resource
    import numpy as np
    sys.path.insert(0, {tests!r})
    from mikata import images
    from mikata.tiling import PlaneValues, Tiler, Winners
    from pixelnets import Plain, pixel_network

    size = int(sys.argv[1])
    network = pixel_network(Plain(outputs=8), tuple("abcdefgh"), halo=3)
    rng = np.random.default_rng(0)
    image = images.from_array(rng.integers(0, 255, (size, size), dtype=np.uint8), "YX")
    plane = PlaneValues(image, 1, 1, network, "image")
    sink = Winners((size, size), 8, 0.0)
    Tiler(network, memory=64 * 2**20).run(plane, [sink], lambda done, count: None)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in kB on Linux only")
def test_memory_grows_with_the_labels_alone() -> None:
    """From 1000 to 3000 px a side: image, label, probability and a byte of check, not 8 channels of 32 bit (256 MB)."""
    from pathlib import Path

    program = textwrap.dedent(_PROGRAM.format(tests=str(Path(__file__).parent)))
    peaks = [
        int(
            subprocess.run(
                [sys.executable, "-c", program, str(size)], capture_output=True, text=True, check=True
            ).stdout
        )
        for size in (1000, 3000)
    ]
    more_px = 3000**2 - 1000**2
    assert peaks[1] - peaks[0] < 8 * more_px

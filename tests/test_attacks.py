"""FGSM, PGD and the smallest change: the formulas, the bounds, and linear networks whose answer is known exactly."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mikata.architecture import Classifier
from mikata.errors import NetworkError, ParameterError
from mikata.explanation.attacks import (
    Bounds,
    against,
    fgsm,
    pgd,
    random_start,
    smallest_flips,
)

WIDE = Bounds(-1e6, 1e6)
GREY = Bounds(0.0, 255.0)


def network(classes: int = 3, channels: int = 1) -> Classifier:
    torch.manual_seed(3)
    return Classifier("small_cnn", classes, channels, [110.0] * channels, [50.0] * channels).eval()


def pictures(count: int = 4, channels: int = 1, size: int = 32) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return (torch.rand((count, channels, size, size), generator=generator) * 255).round()


class Linear:
    """Scores that are weighted sums of the pixels, (N, K)."""

    def __init__(self, classes: int, pixels: int = 36, seed: int = 0) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.weights = torch.randn((classes, pixels), generator=generator) / 30

    def __call__(self, images: Tensor) -> Tensor:
        return images.flatten(1) @ self.weights.T

    def exact(self, image: Tensor, low: float, high: float) -> float:
        """The smallest change that makes the scores of two classes equal, values kept within limits: by bisection."""
        flat = image.flatten().double()
        scores = self.weights.double() @ flat
        first = int(scores.argmax())
        found = []
        for other in set(range(len(scores))) - {first}:
            slope = (self.weights[other] - self.weights[first]).double()
            room = torch.where(slope > 0, high - flat, flat - low)
            reaches = lambda e, s=slope, r=room: float((s.abs() * torch.clamp(r, max=e)).sum())  # noqa: E731
            behind = float(scores[first] - scores[other])
            near, far = 0.0, high - low
            if reaches(far) < behind:
                continue
            for _ in range(60):
                middle = (near + far) / 2
                near, far = (near, middle) if reaches(middle) >= behind else (middle, far)
            found.append(far)
        return min(found, default=float("inf"))


def test_fgsm_is_its_formula() -> None:
    """``x + epsilon * sign(d cross-entropy / d x)``, in grey levels though the network normalises inside."""
    model, images = network(), pictures()
    classes = model.logits(images).argmax(1)
    given = images.clone().requires_grad_()
    F.cross_entropy(model.logits(given), classes, reduction="sum").backward()
    expected = (images + 2.5 * given.grad.sign()).clamp(0, 255)
    found = fgsm(model.logits, images, classes, 2.5, GREY)
    # where the gradient is so small that rounding decides its sign, the two may differ
    clear = given.grad.abs() > 1e-9
    assert clear.float().mean() > 0.9
    assert torch.equal(found[clear], expected[clear])
    assert float((found - images).abs().max()) == 2.5


def test_log_odds_are_those_of_the_softmax() -> None:
    scores = torch.randn(5, 4, dtype=torch.float64)
    classes = torch.tensor([0, 1, 2, 3, 0])
    p = scores.softmax(1).gather(1, classes[:, None])[:, 0]
    torch.testing.assert_close(against(scores, classes), ((1 - p) / p).log())


def test_a_very_sure_network_is_attacked_as_well() -> None:
    """The cross-entropy's gradient is exactly 0 there; that of the log-odds has the same sign as ever."""
    plain = Linear(2)
    images = pictures(size=6)
    classes = plain(images).argmax(1)
    sure = lambda x: 1e4 * plain(x)  # noqa: E731
    given = images.clone().requires_grad_()
    F.cross_entropy(sure(given), classes, reduction="sum").backward()
    assert not given.grad.any()
    assert torch.equal(fgsm(sure, images, classes, 1.0, GREY), fgsm(plain, images, classes, 1.0, GREY))


def test_pgd_stays_within_bound_and_range() -> None:
    model, images = network(), pictures()
    images[0, 0, :8] = 0
    images[1, 0, :8] = 255
    classes = model.logits(images).argmax(1)
    for epsilon in (0.3, 4.0, 60.0):
        start = random_start(images, [1, 2, 3, 4])
        found = pgd(model.logits, images, classes, epsilon, GREY, steps=5, start=start)
        change = (found - images).abs()
        assert float(change.max()) <= epsilon + 2e-5  # float32 at 255
        assert float(change.max()) > 0.9 * epsilon
        assert float(found.min()) >= 0
        assert float(found.max()) <= 255
        odds = against(model.logits(images), classes), against(model.logits(found), classes)
        assert bool((odds[1] > odds[0]).all())


def test_pgd_with_one_full_step_from_the_image_is_fgsm() -> None:
    model, images = network(), pictures()
    classes = model.logits(images).argmax(1)
    # its one step is 2.5 epsilon long, and is cut off at epsilon
    found = pgd(model.logits, images, classes, 1.5, GREY, steps=1)
    assert torch.equal(found, fgsm(model.logits, images, classes, 1.5, GREY))


def test_each_image_has_its_own_bound_limits_and_start() -> None:
    model, images = network(), pictures(3)
    classes = model.logits(images).argmax(1)
    epsilon = torch.tensor([0.5, 1.0, 2.0])
    bounds = Bounds(torch.tensor([0.0, 10.0, 0.0]), torch.tensor([255.0, 200.0, 255.0]))
    inside = bounds.keep(images)
    start = random_start(images, [5, 6, 7])
    found = pgd(model.logits, inside, classes, epsilon, bounds, steps=4, start=start)
    reached = (found - inside).abs().amax((1, 2, 3))
    assert reached.tolist() == pytest.approx(epsilon.tolist(), abs=1e-4)
    assert (float(found[1].min()), float(found[1].max())) == (10, 200)
    alone = pgd(
        model.logits, inside[2:], classes[2:], 2.0, GREY, steps=4, start=random_start(images[2:], [7])
    )
    torch.testing.assert_close(alone[0], found[2], atol=2e-4, rtol=0)
    assert float(start.min()) >= -1
    assert float(start.max()) <= 1
    assert not torch.equal(start[0], start[1])


@pytest.mark.parametrize(("classes", "limits"), [(2, (-1e6, 1e6)), (5, (-1e6, 1e6)), (2, (0.0, 255.0)), (4, (0.0, 255.0))])  # fmt: skip
def test_the_smallest_flip_of_a_linear_network_is_found(classes: int, limits: tuple[float, float]) -> None:
    """Never below the exact one, and at most a few per cent above."""
    model = Linear(classes)
    images = pictures(12, size=6)
    images[:, 0, :2] = 0  # these values can only rise
    predicted = model(images).argmax(1)
    exact = np.array([model.exact(image, *limits) for image in images])
    start = random_start(images, list(range(12)))
    found = smallest_flips(model, images, predicted, 255.0, Bounds(*limits), steps=20, start=start, rounds=14)
    distance = found.distance.double().numpy()
    assert (np.isfinite(distance) == np.isfinite(exact)).all()
    there = np.isfinite(exact)
    assert there.sum() >= 8
    assert (distance[there] >= exact[there] * (1 - 1e-4)).all()
    assert (distance[there] <= exact[there] * 1.06 + 1e-3).all()
    if limits[0] < 0 and classes == 2:  # the formula for a plane: margin over the sum of the slopes' sizes
        scores = model(images)
        margin = (scores[:, 0] - scores[:, 1]).abs()
        formula = margin / (model.weights[0] - model.weights[1]).abs().sum()
        np.testing.assert_allclose(exact, formula.double().numpy(), rtol=1e-4)
    assert bool((model(found.changed).argmax(1) != predicted)[torch.from_numpy(there)].all())
    assert (found.changed - images).abs().amax((1, 2, 3)).numpy()[there] == pytest.approx(distance[there])


def test_what_does_not_flip_is_said_to_be_infinite() -> None:
    model = Linear(2)
    images = pictures(6, size=6)
    predicted = model(images).argmax(1)
    exact = np.array([model.exact(image, 0, 255) for image in images])
    bound = float(np.median(exact))
    found = smallest_flips(model, images, predicted, bound, GREY)
    assert found.flipped.numpy().tolist() == (exact < bound).tolist()
    for image, changed, flipped in zip(images, found.changed, found.flipped, strict=True):
        assert torch.equal(image, changed) != bool(flipped)


def test_a_network_is_flipped_by_less_than_the_first_attempt_takes() -> None:
    model, images = network(), pictures(4)
    with torch.no_grad():  # no class is far ahead of the others
        model.network.classifier.bias -= model.logits(images).mean(0)
    classes = model.logits(images).argmax(1)
    found = smallest_flips(model.logits, images, classes, 60.0, GREY)
    assert bool(found.flipped.all())
    index = found.flipped.nonzero()[:, 0]
    # another batch, and so other rounding, gives the same classes
    for n in index.tolist():
        assert int(model.logits(found.changed[n : n + 1]).argmax()) != int(classes[n])
    assert float(found.distance[index].max()) < 60


def test_the_network_is_left_as_it_was() -> None:
    model = network()
    model.network.features[1].train()  # some layer in another mode, as a user may have left it
    model.network.features[1].momentum = None
    model.network.features[1].track_running_stats = False
    before = copy.deepcopy(model.state_dict())
    images = pictures()
    kept = images.clone()
    modes = [module.training for module in model.modules()]
    classes = model.logits(images).argmax(1)
    before = copy.deepcopy(model.state_dict())
    with torch.inference_mode(False):
        smallest_flips(model.logits, images, classes, 20.0, GREY, steps=2, rounds=2)
        pgd(model.logits, images, classes, 2.0, GREY, steps=2)
    assert torch.equal(images, kept)
    assert modes == [module.training for module in model.modules()]
    assert all(p.grad is None and p.requires_grad for p in model.parameters())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    after = model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_a_network_that_does_not_look_is_not_flipped() -> None:
    def blind(images: Tensor) -> Tensor:
        return torch.tensor([[1.0, 0.0]]).expand(len(images), 2) + 0 * images.sum((1, 2, 3))[:, None]

    images = pictures(2)
    classes = torch.zeros(2, dtype=torch.long)
    assert torch.equal(fgsm(blind, images, classes, 8.0, GREY), images)
    assert not smallest_flips(blind, images, classes, 8.0, GREY).flipped.any()


@pytest.mark.parametrize("epsilon", [0.0, -1.0, float("nan"), float("inf")])
def test_a_bound_that_is_none(epsilon: float) -> None:
    model, images = Linear(2), pictures(2, size=6)
    classes = model(images).argmax(1)
    for attack in (fgsm, pgd, smallest_flips):
        with pytest.raises(ParameterError, match="must be a number above 0"):
            attack(model, images, classes, epsilon, GREY)


def test_bad_networks() -> None:
    images = pictures(2, size=6)
    classes = torch.zeros(2, dtype=torch.long)
    with pytest.raises(NetworkError, match="not numbers"):
        fgsm(lambda x: Linear(2)(x) * float("nan"), images, classes, 1.0, GREY)
    with pytest.raises(NetworkError, match="no gradient"):
        fgsm(lambda x: Linear(2)(x).detach(), images, classes, 1.0, GREY)
    with pytest.raises(NetworkError, match="at least two classes"):
        pgd(lambda x: Linear(2)(x)[:, :1], images, classes, 1.0, GREY)
    with pytest.raises(ParameterError, match="steps must be at least 1"):
        pgd(Linear(2), images, classes, 1.0, GREY, steps=0)


def test_a_stop_is_heeded_between_steps() -> None:
    class Stop(Exception):
        pass

    def stop() -> None:
        raise Stop

    model, images = nn.Sequential(nn.Flatten(), nn.Linear(36, 2)), pictures(2, size=6)
    with pytest.raises(Stop):
        smallest_flips(model, images, model(images).argmax(1), 1.0, WIDE, check=stop)

"""Scores and their intervals, against published values, scipy and scikit-learn."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import binomtest
from sklearn.metrics import (
    balanced_accuracy_score,
    confusion_matrix,
    precision_recall_fscore_support,
    roc_auc_score,
)

import judged
from labelled import write_folders, write_table
from mikata import datasets
from mikata.architecture import Classifier
from mikata.datasets import Entry, Picture
from mikata.errors import DataError
from mikata.evaluation import Report, auc, clopper_pearson, evaluate, score, wilson
from mikata.evaluation.intervals import mean_of_shares
from mikata.networks import Model

PUBLISHED = [  # right, of, exact low and high, Wilson low and high; to 4 digits, from scipy and statsmodels
    (0, 10, 0.0000, 0.3085, 0.0000, 0.2775),
    (7, 20, 0.1539, 0.5922, 0.1812, 0.5671),
    (27, 30, 0.7347, 0.9789, 0.7438, 0.9654),
    (45, 50, 0.7819, 0.9667, 0.7864, 0.9565),
    (180, 200, 0.8498, 0.9378, 0.8506, 0.9343),
]


@pytest.mark.parametrize(("right", "count", "exact_low", "exact_high", "low", "high"), PUBLISHED)
def test_intervals_equal_published_values(
    right: int, count: int, exact_low: float, exact_high: float, low: float, high: float
) -> None:
    exact, score_interval = clopper_pearson(right, count), wilson(right, count)
    assert (round(exact.low, 4), round(exact.high, 4)) == (exact_low, exact_high)
    assert (round(score_interval.low, 4), round(score_interval.high, 4)) == (low, high)


@pytest.mark.parametrize("level", [0.8, 0.95, 0.99])
@pytest.mark.parametrize("count", [1, 7, 131])
def test_intervals_equal_scipy(count: int, level: float) -> None:
    for right in {0, 1, count // 2, count}:
        for ours, theirs in ((clopper_pearson, "exact"), (wilson, "wilson")):
            expected = binomtest(right, count).proportion_ci(level, theirs)
            interval = ours(right, count, level)
            assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high), abs=1e-9)


@pytest.mark.parametrize("make", [wilson, clopper_pearson])
def test_intervals_refuse_nonsense(make: object) -> None:
    for arguments in ((3, 2), (-1, 2), (1, 2, 1.0)):
        with pytest.raises(ValueError, match=r"successes|confidence"):
            make(*arguments)  # type: ignore[operator]
    assert math.isnan(make(0, 0).low)  # type: ignore[operator]


def test_mean_of_shares_covers_and_never_collapses() -> None:
    everything = mean_of_shares([10, 30], [10, 30])
    assert 0.7 < everything.low < 1
    assert everything.high == 1
    generator = np.random.default_rng(0)
    truth, counts = np.array([0.95, 0.7, 0.85]), np.array([20, 40, 15])
    hits = 0
    for _ in range(1000):
        interval = mean_of_shares(generator.binomial(counts, truth), counts)
        hits += interval.low <= truth.mean() <= interval.high
    assert 930 <= hits <= 980  # 950 wanted; the standard deviation of the count is 7


def _entries(truth: list[int], patients: list[str] | None = None, classes: str = "abc") -> list[Entry]:
    picture = Picture(1, 8, 8, "grey", True, "")
    names = patients or [""] * len(truth)
    return [
        Entry(Path(f"{i}.png"), classes[k], picture, patient=name, reference="pathology" if i % 2 else "")
        for i, (k, name) in enumerate(zip(truth, names, strict=True))
    ]


def _probabilities(predicted: list[int], classes: int = 3) -> np.ndarray:
    return np.eye(classes, dtype=np.float32)[predicted] * 0.8 + 0.05


def _random_report(
    patients: list[str] | None, seed: int = 0, n: int = 120
) -> tuple[Report, np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    truth = generator.integers(3, size=n)
    predicted = np.where(generator.random(n) < 0.75, truth, generator.integers(3, size=n))
    return (
        score(_entries(truth.tolist(), patients), "abc", _probabilities(predicted.tolist())),
        truth,
        predicted,
    )


def test_scores_equal_scikit_learn() -> None:
    report, truth, predicted = _random_report(None)
    assert np.array_equal(report.confusion, confusion_matrix(truth, predicted))
    precision, recall, f1, _ = precision_recall_fscore_support(truth, predicted)
    for i, scores in enumerate(report.per_class):
        assert scores.name == "abc"[i]
        found = (scores.precision.value, scores.recall.value, scores.f1.value)
        assert found == pytest.approx((precision[i], recall[i], f1[i]))
        for one in (scores.precision, scores.recall, scores.f1):
            assert one.interval.low < one.value < one.interval.high
        mine = (truth == i) == (predicted == i)
        assert scores.accuracy.value == pytest.approx(mine.mean())
        assert scores.accuracy.n == len(truth)
        assert scores.accuracy.interval.low < mine.mean() < scores.accuracy.interval.high
    assert report.accuracy.value == pytest.approx((truth == predicted).mean())
    assert report.balanced_accuracy.value == pytest.approx(balanced_accuracy_score(truth, predicted))
    assert report.predicted == tuple("abc"[i] for i in predicted)


def test_unit_and_method_follow_the_patients() -> None:
    images, _, _ = _random_report(None)
    assert (images.unit, images.n_patients, images.accuracy.interval.method) == ("image", None, "Wilson")
    assert "Patients are not known" in images.notes[0]
    single, _, _ = _random_report([str(i) for i in range(120)])
    assert (single.unit, single.n_patients, single.accuracy.interval.method) == ("patient", 120, "Wilson")
    assert single.accuracy.interval == images.accuracy.interval
    several, _, _ = _random_report([str(i // 3) for i in range(120)])
    assert (several.unit, several.n_patients) == ("patient", 40)
    assert "bootstrap over patients, 2000 resamples" in several.accuracy.interval.method
    assert several.references == {"not stated": 60, "pathology": 60}


def test_patient_bootstrap_sees_that_images_of_a_patient_agree() -> None:
    # ten images a patient, all right or all wrong: only the patients count
    right = [i % 5 != 0 for i in range(40) for _ in range(10)]
    patients = [str(i) for i in range(40) for _ in range(10)]
    entries = _entries([0] * 200 + [1] * 200, patients)
    truth = [0] * 200 + [1] * 200
    report = score(
        entries, "ab", _probabilities([t if r else 1 - t for t, r in zip(truth, right, strict=True)], 2)
    )
    interval, naive, honest = report.accuracy.interval, wilson(320, 400), wilson(32, 40)
    width = interval.high - interval.low
    assert width > 2.5 * (naive.high - naive.low)
    assert width == pytest.approx(honest.high - honest.low, rel=0.15)
    again = score(entries, "ab", report.probabilities)
    assert again.accuracy.interval == interval


def test_everything_right_leaves_room_for_doubt() -> None:
    truth = [0, 0, 1, 1, 2, 2] * 5
    report = score(_entries(truth, [str(i // 2) for i in range(30)]), "abc", _probabilities(truth))
    for one in (report.accuracy, report.balanced_accuracy, *(s.f1 for s in report.per_class)):
        assert one.value == one.interval.high == 1
        assert one.interval.low < 0.85
        assert "Wilson over patients" in one.interval.method
    assert any("Only 15 patients" in note for note in report.notes)


def test_absent_class_is_undefined_not_zero() -> None:
    report = score(_entries([0, 0, 1, 1]), "abc", _probabilities([0, 0, 1, 0]))
    assert math.isnan(report.per_class[2].recall.value)
    assert math.isnan(report.balanced_accuracy.value)
    assert any("No image of c" in note for note in report.notes)
    record = json.loads(json.dumps(report.record(), allow_nan=False))
    assert record["per_class"][2]["recall"]["value"] is None
    assert "0.png" not in json.dumps(record)
    assert math.isnan(next(f for f in report.figures() if f.name == "Recall of c").value)


@pytest.mark.parametrize("patients", [None, "one each", "three each"])
def test_averages_and_area_equal_scikit_learn_and_say_what_was_resampled(patients: str | None) -> None:
    truth, _ = judged.cohort(150, 1, 3)
    of = {None: None, "one each": np.arange(150), "three each": np.arange(150) // 3}[patients]
    p = judged.probabilities(truth, np.random.default_rng(0))
    report = score(judged.entries(truth, of), "abc", p)
    said = p.argmax(1)
    assert [average.name for average in report.averages] == ["macro", "micro", "weighted"]
    for average in report.averages:
        expected = precision_recall_fscore_support(truth, said, average=average.name)[:3]
        found = (average.precision.value, average.recall.value, average.f1.value)
        assert found == pytest.approx(expected)
        for one in (average.precision, average.recall, average.f1):
            assert one.interval.low < one.value < one.interval.high
    macro, micro, weighted = report.averages
    assert macro.recall == report.balanced_accuracy
    assert micro.recall == micro.precision == micro.f1 == weighted.recall == report.accuracy
    p64 = p.astype(np.float64) / p.astype(np.float64).sum(1, keepdims=True)
    assert report.auc.value == pytest.approx(roc_auc_score(truth, p64, multi_class="ovr"))
    assert report.auc.interval.low < report.auc.value < report.auc.interval.high
    resampled = "images" if patients is None else "patients"
    for one in (macro.f1, macro.precision, weighted.f1, report.auc):
        assert one.interval.method == f"bootstrap over {resampled}, 2000 resamples, percentiles"
        assert one.unit == resampled[:-1]
        assert one.n == 150
    other = score(judged.entries(truth, of), "abc", p, auc="hand-till")
    assert other.auc.value == pytest.approx(roc_auc_score(truth, p64, multi_class="ovo"))
    assert other.auc.value == auc(truth, p, "hand-till")
    assert [f.name for f in report.figures()][2:12] == [
        "AUC, each class against the rest, macro",
        *(f"{k} {f}" for k in ("Macro", "Micro", "Weighted") for f in ("recall", "precision", "F1")),
    ]
    assert other.figures()[2].name == "AUC of all pairs of classes (Hand and Till)"
    record = json.loads(json.dumps(report.record(), allow_nan=False))
    assert record["averages"]["macro"]["f1"]["value"] == macro.f1.value
    assert (record["auc"]["of"], record["auc"]["n"]) == ("one-vs-rest", 150)


def test_area_of_two_classes_is_of_the_second() -> None:
    truth, _ = judged.cohort(80, 1)
    p = judged.probabilities(truth, np.random.default_rng(0), 2, digits=1)  # many ties
    report = score(judged.entries(truth), "ab", p)
    assert report.auc.value == pytest.approx(roc_auc_score(truth, p[:, 1]))
    assert report.figures()[2].name == "AUC of b"
    assert report.record()["auc"]["of"] == "class b"
    perfect = score(judged.entries(truth), "ab", np.eye(2, dtype=np.float32)[truth])
    assert perfect.auc.value == perfect.auc.interval.high == 1
    assert perfect.auc.interval.low == wilson(40, 40).low  # of the smaller class
    assert "Wilson over images, since all resamples agree" in perfect.auc.interval.method


def test_a_class_that_is_never_predicted_counts_as_nought() -> None:
    truth = np.array([0, 0, 1, 1, 2, 2])
    report = score(judged.entries(truth), "abc", _probabilities([0, 0, 1, 1, 0, 1]))
    expected = precision_recall_fscore_support(truth, [0, 0, 1, 1, 0, 1], average="macro", zero_division=0)
    macro = report.averages[0]
    assert (macro.precision.value, macro.recall.value, macro.f1.value) == pytest.approx(expected[:3])
    assert math.isnan(report.per_class[2].precision.value)
    assert "No image was taken for c: averages count its precision as 0." in report.notes


def test_averages_without_an_absent_class() -> None:
    report = score(_entries([0, 0, 1, 1]), "abc", _probabilities([0, 0, 1, 2]))
    macro, _, weighted = report.averages
    for one in (macro.recall, macro.precision, macro.f1, report.auc):
        assert math.isnan(one.value)
    expected = precision_recall_fscore_support(
        [0, 0, 1, 1], [0, 0, 1, 2], average="weighted", zero_division=0
    )
    assert (weighted.precision.value, weighted.f1.value) == pytest.approx((expected[0], expected[2]))


def test_resampling_a_thousand_images_is_fast() -> None:
    truth, of = judged.cohort(500, 2, 3)
    p = judged.probabilities(truth, np.random.default_rng(0))
    before = time.process_time()
    score(judged.entries(truth, of), "abc", p)
    assert time.process_time() - before < 2  # about .3 s; a loop over 2000 resamples takes far longer


def test_interval_of_the_area_covers_the_truth() -> None:
    """Scores of one standard deviation apart: the area is Phi(1 / root of 2)."""
    truth, of = judged.cohort(40, 2)
    area, covered = 0.7602, 0
    for trial in range(150):
        generator = np.random.default_rng(trial)
        of_patient = generator.normal(0, math.sqrt(0.7), 40)[of]
        z = truth + of_patient + generator.normal(0, math.sqrt(0.3), 80)
        p = 1 / (1 + np.exp(-z))
        interval = score(
            judged.entries(truth, of), "ab", np.column_stack([1 - p, p]), seed=trial
        ).auc.interval
        covered += interval.low <= area <= interval.high
    assert 133 <= covered <= 149  # 142 wanted, standard deviation 2.7


def _model(tmp_path: Path, classes: tuple[str, ...] = ("a", "b")) -> Model:
    torch.manual_seed(0)
    classifier = Classifier("small_cnn", len(classes), 1, [120.0], [50.0]).eval()
    return Model(classifier, classes, 1, (32, 32), "native", "grey", (0.0, 255.0), "", {}, tmp_path)


def test_evaluate_runs_a_model_and_leaves_it_as_found(hard_path: Path) -> None:
    write_folders(hard_path, count=5)
    write_folders(hard_path, ("a",), count=7, size=(40, 70))  # another size among them
    dataset = datasets.read(hard_path)
    (hard_path / "b" / "4.png").write_bytes(b"gone bad since")
    model = _model(hard_path)
    model.classifier.network.train()
    report = evaluate(model, dataset.entries, batch=3)
    assert model.classifier.network.training
    assert report.n == 11
    assert [path.name for path, _ in report.skipped] == ["4.png"]
    for entry, row in zip(report.entries, report.probabilities, strict=True):
        values = torch.from_numpy(_pixels(entry.file))[None, None]
        with torch.inference_mode():
            expected = model.classifier.eval()(values)[0].numpy()
        assert row == pytest.approx(expected, abs=1e-5)


def _pixels(path: Path) -> np.ndarray:
    from PIL import Image

    return np.asarray(Image.open(path), np.float32)


def test_evaluate_refuses(tmp_path: Path) -> None:
    dataset = datasets.read(write_folders(tmp_path, ("a", "c"), 2))
    with pytest.raises(DataError, match="no images"):
        evaluate(_model(tmp_path), [])
    with pytest.raises(DataError, match=r"class 'c' is unknown here; known are a, b"):
        evaluate(_model(tmp_path), dataset.entries)
    for path in tmp_path.rglob("*.png"):
        path.write_bytes(b"gone")
    with pytest.raises(DataError, match="None of the 2 images"):
        evaluate(_model(tmp_path), [e for e in dataset.entries if e.label == "a"])


def test_protocol_names_references(tmp_path: Path) -> None:
    rows = [(f"{label}{i}.png", label, f"p{i}", "pathology") for label in "ab" for i in range(3)]
    dataset = datasets.read(write_table(tmp_path, rows, "file,label,patient_alias,reference"))
    report = evaluate(_model(tmp_path), dataset.entries)
    assert report.protocol == "Measured on 6 images of 3 patients. The truth rests on: pathology (6)."

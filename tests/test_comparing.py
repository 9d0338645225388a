"""Methods compared on the same folds: against scikit-learn, hand calculations and simulated truth."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from scipy.stats import ttest_1samp
from sklearn.metrics import f1_score, precision_score, recall_score, roc_auc_score

import judged
from mikata.errors import DataError
from mikata.evaluation import COMPARED, Comparison, basis, cautions, compare, corrected_t, holm, wilson
from mikata.evaluation.intervals import drawings, expanded, percentiles, two_sided
from mikata.evaluation.measures import FIGURES, Judged


def _folds(patients: np.ndarray, count: int, repeats: int, seed: int = 0) -> list[np.ndarray]:
    generator = np.random.default_rng(seed)
    many = int(patients.max()) + 1
    return [generator.permutation(np.arange(many) % count)[patients] for _ in range(repeats)]


def _comparison(
    skills: dict[str, float],
    patients: int = 60,
    images: int = 3,
    classes: int = 3,
    repeats: int = 2,
    **options: object,
) -> tuple[Comparison, np.ndarray, dict[str, list[np.ndarray]], list[np.ndarray]]:
    truth, of = judged.cohort(patients, images, classes)
    folds = _folds(of, 5, repeats)
    generator = np.random.default_rng(1)
    given = {
        name: [judged.probabilities(truth, generator, classes, skill) for _ in range(repeats)]
        for name, skill in skills.items()
    }
    found = compare(judged.entries(truth, of), "abc"[:classes], given, folds, **options)  # type: ignore[arg-type]
    return found, truth, given, folds


def _reference(truth: np.ndarray, p: np.ndarray) -> dict[str, float]:
    said = p.argmax(1)
    figures = {
        "accuracy": float((truth == said).mean()),
        "balanced_accuracy": recall_score(truth, said, average="macro"),
    }
    for kind in ("macro", "micro", "weighted"):
        figures[f"{kind}_f1"] = f1_score(truth, said, average=kind)
        figures[f"{kind}_precision"] = precision_score(truth, said, average=kind, zero_division=0)
    return figures


def test_figures_are_means_over_repeats_and_equal_scikit_learn() -> None:
    found, truth, given, folds = _comparison({"none": 0.4, "stages": 1.0})
    assert (found.n, found.n_patients, found.unit, found.repeats, found.folds) == (180, 60, "patient", 2, 5)
    assert found.of_class == {"a": 20, "b": 20, "c": 20}
    assert found.ratio == pytest.approx(0.25)
    for method in found.methods:
        assert [m.figure for m in method.measured] == list(COMPARED)
        repeats = [_reference(truth, p) for p in given[method.name]]
        of_folds = [
            _reference(truth[f == k], p[f == k])
            for p, f in zip(given[method.name], folds, strict=True)
            for k in range(5)
        ]
        for m in method.measured:
            if m.figure == "auc":
                continue
            values = [r[m.figure] for r in repeats]
            assert m.value == pytest.approx(np.mean(values))
            assert (m.over_repeats.low, m.over_repeats.high) == pytest.approx((min(values), max(values)))
            assert m.over_repeats.sd == pytest.approx(np.std(values, ddof=1))
            every = [r[m.figure] for r in of_folds]
            assert m.over_folds.n == 10
            assert m.over_folds.sd == pytest.approx(np.std(every, ddof=1))
            assert m.interval.low < m.value < m.interval.high
            assert "bootstrap over patients" in m.interval.method


def test_area_pairs_only_images_of_one_fold() -> None:
    """Two networks that rank their own fold without a fault, but on scales that do not fit each other."""
    truth, of = judged.cohort(40, 1)
    folds = _folds(of, 2, 1)
    second = np.where(truth == 1, 0.4, 0.3) + 0.3 * folds[0]
    p = np.column_stack([1 - second, second])
    assert roc_auc_score(truth, second) < 0.9
    found = compare(judged.entries(truth, of), "ab", {"one": [p]}, folds)
    area = found.methods[0].measured[COMPARED.index("auc")]
    assert area.value == 1
    assert area.interval.low == pytest.approx(wilson(20, 20).low)  # all resamples agree
    generator = np.random.default_rng(0)
    p = judged.probabilities(truth, generator, 2)
    found = compare(judged.entries(truth, of), "ab", {"one": [p]}, folds)
    fold_areas, pairs = [], []
    for k in range(2):
        mine = folds[0] == k
        fold_areas.append(roc_auc_score(truth[mine], p[mine, 1]))
        pairs.append((truth[mine] == 1).sum() * (truth[mine] == 0).sum())
    assert found.methods[0].measured[-1].value == pytest.approx(np.average(fold_areas, weights=pairs))


def test_resamples_equal_figures_of_repeated_images() -> None:
    """A figure of a resample is that of the images, written down as often as their patient was drawn."""
    truth, of = judged.cohort(24, 3, 3)
    generator = np.random.default_rng(2)
    p = judged.probabilities(truth, generator)
    drawn = np.concatenate(list(drawings(24, seed=5, resamples=7, size=72)), axis=1)
    assert (drawn.sum(0) == 24).all()
    figures = Judged(truth, p, of).figures(drawn)
    for column, row in zip(drawn.T.astype(int), figures, strict=True):
        again = np.repeat(np.arange(72), column[of])
        expected = _reference(truth[again], p[again])
        expected["auc"] = roc_auc_score(
            truth[again], p[again].astype(np.float64) / p[again].sum(1, keepdims=True), multi_class="ovr"
        )
        assert row == pytest.approx([expected[name] for name in FIGURES], abs=1e-6)


def test_draws_do_not_depend_on_blocks() -> None:
    whole = np.concatenate(list(drawings(50, seed=3, resamples=300)), axis=1)
    cut = list(drawings(50, seed=3, resamples=300, size=2**19 // 7))
    assert len(cut) > 40
    assert np.array_equal(whole, np.concatenate(cut, axis=1))


def test_differences_are_paired_adjusted_and_tell_better_from_same() -> None:
    found, _, given, folds = _comparison({"none": 0.5, "same": 0.5, "better": 1.5})
    assert found.methods[0].differences == ()
    same, better = (method.differences for method in found.methods[1:])
    for i, figure in enumerate(COMPARED):
        values = [method.measured[i].value for method in found.methods]
        assert same[i].figure == better[i].figure == figure
        assert same[i].value == pytest.approx(values[1] - values[0])
        assert better[i].value == pytest.approx(values[2] - values[0])
        assert better[i].interval.low > 0
        assert better[i].p_holm < 0.01
        assert better[i].t_p_holm < 0.05
        assert (same[i].p_holm, better[i].p_holm) == holm([same[i].p, better[i].p])
        assert (same[i].t_p_holm, better[i].t_p_holm) == holm([same[i].t.p, better[i].t.p])
        assert same[i].p > 0.05
        assert same[i].t.freedom == 9
    # paired: the interval of a difference to a copy of itself, but for one image, is far shorter than each one's
    truth, of = judged.cohort(60, 3, 3)
    twin = [p.copy() for p in given["none"]]
    twin[0][0] = np.roll(twin[0][0], 1)
    close = compare(judged.entries(truth, of), "abc", {"none": given["none"], "twin": twin}, folds)
    assert close.methods[1].differences[0].half_width < 0.02
    interval = close.methods[1].measured[0].interval
    assert interval.high - interval.low > 0.1


def test_methods_that_say_the_same_are_not_proven_equal() -> None:
    truth, of = judged.cohort(30, 2)
    p = [judged.probabilities(truth, np.random.default_rng(0), 2)]
    found = compare(judged.entries(truth, of), "ab", {"one": p, "two": p}, _folds(of, 3, 1))
    for difference in found.methods[1].differences:
        assert (difference.value, difference.p, difference.t.p) == (0, 1, 1)
        assert difference.interval.high == -difference.interval.low > 0.1
        assert difference.too_few
        assert difference.needed is None


def test_table_and_record_hold_every_figure_and_no_patient() -> None:
    found, *_ = _comparison({"none": 0.5, "stages": 1.0}, repeats=1)
    table = found.table()
    assert len(table.rows) == 2 * len(COMPARED)
    assert {len(row) for row in table.rows} == {len(table.columns)}
    rows = [dict(zip(table.columns, row, strict=True)) for row in table.rows]
    assert rows[0]["p"] == ""
    assert rows[0]["sd_repeats"] == "not defined"  # of one repeat there is no spread
    last = rows[-1]
    assert (last["method"], last["figure"], last["units"]) == ("stages", "auc", 60)
    difference = found.methods[1].differences[-1]
    assert last["t_df"] == difference.t.freedom == 4
    assert last["difference_low"] == difference.interval.low
    record = json.loads(json.dumps(found.record(), allow_nan=False))
    assert record["figures"][0]["sd_repeats"] is None
    assert "p" not in record["figures"][0]
    assert record["figures"][-1]["p_holm"] == difference.p_holm
    assert ".png" not in json.dumps(record)
    again, *_ = _comparison({"none": 0.5, "stages": 1.0}, repeats=1)
    assert again == found


def test_leaks_and_absent_classes_are_refused() -> None:
    truth, of = judged.cohort(12, 2)
    entries = judged.entries(truth, of)
    p = [judged.probabilities(truth, np.random.default_rng(0), 2)]
    fold = np.arange(24) % 2
    with pytest.raises(DataError, match=r"0\.png and 1\.png are of one patient or the same picture"):
        compare(entries, "ab", {"one": p}, [fold])
    with pytest.raises(DataError, match="no image of the class 'c'"):
        compare(entries, "abc", {"one": [np.ones((24, 3)) / 3]}, [of % 2])


def test_wrong_shapes_are_refused() -> None:
    truth, of = judged.cohort(12, 2)
    entries, folds = judged.entries(truth, of), [of % 3]
    p = judged.probabilities(truth, np.random.default_rng(0), 2)
    broken = p.copy()
    broken[3, 0] = np.nan
    for given, words in (
        ({}, "nothing"),
        ({"one": [p, p]}, "2 repeats where there are 1"),
        ({"one": [p[:5]]}, "where \\(24, 2\\) are wanted"),
        ({"one": [broken]}, "one: a probability is not finite"),
    ):
        with pytest.raises(ValueError, match=words):
            compare(entries, "ab", given, folds)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="folds of 24 images"):
        compare(entries, "ab", {"one": [p]}, [of[:3]])


def test_one_split_has_no_test_over_folds() -> None:
    truth, of = judged.cohort(30, 1)
    generator = np.random.default_rng(0)
    given = {name: [judged.probabilities(truth, generator, 2)] for name in ("one", "two")}
    found = compare(judged.entries(truth, of), "ab", given, [np.zeros(30, np.int64)])
    assert math.isnan(found.ratio)
    assert all(math.isnan(d.t.p) and 0 <= d.p <= 1 for d in found.methods[1].differences)


def test_cautions_say_when_the_test_set_is_too_small() -> None:
    large, *_ = _comparison({"none": 0.5, "stages": 2.0}, patients=90)
    assert cautions(large) == ()
    assert basis(large).startswith(
        "270 images of 90 patients, each tested once in every one of 2 repeats of 5 folds"
    )
    small, *_ = _comparison({"none": 0.5, "stages": 0.6}, patients=15, images=2)
    said = cautions(small)
    assert said[0] == "Only 15 patients: too few for a claim about others."
    assert said[1:4] == tuple(f"Only 5 patients of {name}: its recall is hardly known." for name in "abc")
    difference = small.methods[1].differences[COMPARED.index("balanced_accuracy")]
    assert difference.too_few
    assert difference.needed is not None
    assert difference.needed == math.ceil(15 * (difference.half_width / abs(difference.value)) ** 2) > 15
    assert said[4].startswith(
        f"stages against none: the difference in Balanced accuracy ({difference.value:+.3f})"
    )
    assert said[4].endswith(f"about {difference.needed} patients would be needed.")
    truth, of = judged.cohort(16, 1)
    unknown = compare(
        judged.entries(truth),
        "ab",
        {"one": [judged.probabilities(truth, np.random.default_rng(0), 2)]},
        [of % 4],
    )
    assert (unknown.unit, unknown.n_patients) == ("image", None)
    assert "Patients are not known" in cautions(unknown)[0]
    assert cautions(unknown)[1] == "Only 16 images: too few for a claim about others."
    assert "Only 8 images of a" in cautions(unknown)[2]


def test_holm_equals_the_textbook() -> None:
    # sorted .005 .01 .03 .04 times 4 3 2 1, never falling
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx((0.03, 0.06, 0.06, 0.02))
    assert holm([0.5, 0.6]) == (1, 1)
    found = holm([0.02, math.nan, 0.03])
    assert found[0] == pytest.approx(0.04)
    assert math.isnan(found[1])
    assert found[2] == pytest.approx(0.04)
    assert holm([]) == ()


def test_corrected_t_equals_a_hand_calculation() -> None:
    # mean .03, variance .00025, (1/5 + 1/4) x .00025 = .0001125: t = .03 / .0106066 = 2 x root of 2; the
    # distribution of t with 4 degrees of freedom is 1/2 + 3/8 x root(8/3) x (1 - 8/36) there
    found = corrected_t([0.02, 0.04, 0.01, 0.03, 0.05], 0.25)
    assert found.difference == pytest.approx(0.03)
    assert found.statistic == pytest.approx(math.sqrt(8))
    assert found.freedom == 4
    assert found.p == pytest.approx(2 * (1 - (1 / 2 + 3 / 8 * math.sqrt(8 / 3) * 7 / 9)))
    assert found.interval.low == pytest.approx(0.03 - 2.776445 * 0.0106066, abs=1e-6)
    # without overlap of the training sets it is the plain t-test
    plain = ttest_1samp([0.02, 0.04, 0.01, 0.03, 0.05], 0)
    assert corrected_t([0.02, 0.04, 0.01, 0.03, 0.05], 0.0).p == pytest.approx(plain.pvalue)
    assert corrected_t([0.02, math.nan, 0.04, 0.01, 0.03, 0.05], 0.25) == found
    assert corrected_t([0.0, 0.0, 0.0], 0.25).p == 1
    for nothing in ([0.1], [], [0.1, 0.1, 0.1]):
        assert math.isnan(corrected_t(nothing, 0.25).p)


def test_corrected_t_errs_as_often_as_it_says_where_the_plain_one_does_not() -> None:
    """Two methods that are equal on average (nearest means of features of the same worth), five times five folds."""
    corrected = plain = 0
    for trial in range(300):
        generator = np.random.default_rng(trial)
        y = np.arange(60) % 2
        x = generator.normal(0, 1, (2, 60, 3)) + 0.5 * y[:, None]
        differences = []
        for _ in range(5):
            fold = generator.permutation(np.arange(60) // 2 % 5)
            for k in range(5):
                test, rest = fold == k, fold != k
                right = []
                for features in x:
                    means = [features[rest & (y == c)].mean(0) for c in (0, 1)]
                    far = [((features[test] - mean) ** 2).sum(1) for mean in means]
                    right.append(((far[1] < far[0]) == y[test]).mean())
                differences.append(right[1] - right[0])
        corrected += corrected_t(differences, 0.25).p < 0.05
        plain += corrected_t(differences, 0.0).p < 0.05
    assert corrected <= 30  # 15 wanted; the standard deviation of the count is 4
    assert plain > 60


@pytest.mark.parametrize("patients", [12, 30])
def test_paired_bootstrap_errs_as_often_as_it_says(patients: int) -> None:
    """Two methods that are equal on average, with patients that are easy or hard for each."""
    trials, errors, plain = 400, np.zeros(len(FIGURES)), np.zeros(len(FIGURES))
    truth, of = judged.cohort(patients, 4)
    for trial in range(trials):
        generator = np.random.default_rng([trial, patients])
        both = []
        for _ in range(2):
            z = (2 * truth - 1) + generator.normal(0, 1, patients)[of] + generator.normal(0, 1, len(truth))
            p = 1 / (1 + np.exp(-z))
            both.append(Judged(truth, np.column_stack([1 - p, p]), of))
        draws = np.concatenate(
            [both[1].figures(w) - both[0].figures(w) for w in drawings(patients, seed=trial, resamples=800)]
        )
        for s, column in enumerate(draws.T):
            p_value = two_sided(column, patients)
            low, high = expanded(column, patients)
            assert (p_value < 0.05) == (not low <= 0 <= high) or abs(p_value - 0.05) < 0.01
            errors[s] += p_value < 0.05
            low, high = percentiles(column)
            plain[s] += not low <= 0 <= high
    # 20 of 400 wanted, standard deviation 4.4; plain percentiles err more often with few patients
    assert errors.max() <= 36
    assert errors.min() >= 8
    assert (plain >= errors).all()


def test_interval_of_a_figure_covers_the_truth() -> None:
    """Accuracy of methods whose true value is known: .75 on average, from .6 to .9 by patient."""
    covered = 0
    truth, of = judged.cohort(30, 4)
    entries = judged.entries(truth, of)
    for trial in range(200):
        generator = np.random.default_rng(trial)
        right = generator.random(len(truth)) < generator.choice([0.6, 0.9], 30)[of]
        p = np.eye(2)[np.where(right, truth, 1 - truth)] * 0.8 + 0.1
        found = compare(entries, "ab", {"one": [p]}, [of % 5], resamples=500, seed=trial)
        interval = found.methods[0].measured[0].interval
        covered += interval.low <= 0.75 <= interval.high
    assert 180 <= covered <= 199  # 190 wanted, standard deviation 3

"""Network, human and reference: exact counts, tables that are wrong, and the command from end to end."""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from skimage import data

import mikata
from mikata import images, regions
from mikata.errors import DataError, ImageError, NetworkError, OutputError, ParameterError
from mikata.evaluation import CELLS, compare_readers, exchange_p, holm, newcombe, wilson
from mikata.evaluation.readers import adjusted
from mikata.readers import read_readings
from mikata.readers.running import cell_of, figures, levels
from mikata.readers.table import Words
from mikata.readers.words import cautions
from packages import CLASSES, write_package

COUNTS = {"A": 4, "B": 20, "C": 7, "D": 2, "E": 5, "F": 3, "G": 9, "H": 30}
WORDS = Words("positive", "negative")


def columns(counts: dict[str, int]) -> dict[str, list[bool]]:
    """Calls of cases with so many in each cell."""
    found: dict[str, list[bool]] = {"reference": [], "human": [], "network": []}
    for name, count in counts.items():
        for key, value in zip(found, CELLS[name], strict=True):  # type: ignore[index]
            found[key] += [value] * count
    return found


def write(path: Path, header: str, *rows: str) -> Path:
    path.write_text("\n".join([header, *rows]) + "\n", "utf-8")
    return path


def from_counts(path: Path, counts: dict[str, int]) -> Path:
    said = columns(counts)
    word = {True: "positive", False: "negative"}
    lines = zip(said["network"], said["human"], said["reference"], strict=True)
    return write(
        path,
        "case,network,human,reference",
        *(f"c{n},{word[a]},{word[b]},{word[c]}" for n, (a, b, c) in enumerate(lines)),
    )


def test_cells_and_figures_of_independent_cases() -> None:
    found = compare_readers(**columns(COUNTS))
    assert {name: rate.count for name, rate in found.cells.items()} == COUNTS
    assert (found.n, found.positives, found.negatives, found.clustered) == (80, 33, 47, False)
    assert found.cells["A"].value == 4 / 33
    assert found.cells["A"].interval == wilson(4, 33)
    assert found.cells["G"].value == 9 / 47
    expected = {
        ("sensitivity", "network"): (27, 33), ("sensitivity", "human"): (24, 33),
        ("specificity", "network"): (35, 47), ("specificity", "human"): (39, 47),
        ("ppv", "network"): (27, 39), ("npv", "network"): (35, 41),
        ("ppv", "human"): (24, 32), ("npv", "human"): (39, 48),
    }  # fmt: skip
    assert {key: (rate.count, rate.of) for key, rate in found.rates.items()} == expected
    assert found.rates["ppv", "human"].interval == wilson(24, 32)
    sensitivity, specificity = found.gaps
    assert sensitivity.value == pytest.approx(3 / 33)
    assert sensitivity.interval == newcombe(20, 7, 4, 2)
    assert sensitivity.p == exchange_p([1] * 7 + [-1] * 4)
    assert (specificity.network_only, specificity.human_only) == (5, 9)
    assert specificity.interval == newcombe(30, 5, 9, 3)
    assert (found.agreement.count, found.agreement.of) == (20 + 2 + 3 + 30, 80)
    (holmed,) = adjusted([found])
    assert [g.p_holm for g in holmed.gaps] == list(holm([g.p for g in found.gaps]))


def test_predictive_values_at_a_stated_prevalence() -> None:
    found = compare_readers(**columns(COUNTS), prevalence=0.01)
    sens, spec = 27 / 33, 35 / 47
    ppv = found.rates["ppv", "network"]
    assert ppv.value == pytest.approx(sens * 0.01 / (sens * 0.01 + (1 - spec) * 0.99))
    assert ppv.interval.low < ppv.value < ppv.interval.high
    assert ppv.count is None


def test_patients_with_several_cases_have_wider_intervals() -> None:
    said = columns({name: 3 * count for name, count in COUNTS.items()})
    # three equal cases for each patient hold no more than one
    units = [str(n // 3) for n in range(240)]
    once, whole = compare_readers(**columns(COUNTS)), compare_readers(**said, units=units)
    naive = compare_readers(**said)
    assert (whole.n_units, whole.unit, whole.clustered) == (80, "patient", True)
    for key, rate in whole.rates.items():
        assert rate.value == pytest.approx(once.rates[key].value)
        width, single, short = (
            i.high - i.low for i in (rate.interval, once.rates[key].interval, naive.rates[key].interval)
        )
        assert width == pytest.approx(single, rel=0.06)
        assert short < 0.65 * width
    for gap, one in zip(whole.gaps, once.gaps, strict=True):
        assert gap.p == pytest.approx(one.p)
        assert "patients" in gap.test
        assert gap.interval.high - gap.interval.low == pytest.approx(
            one.interval.high - one.interval.low, rel=0.15
        )
    assert whole.kappa.value == pytest.approx(once.kappa.value)
    assert whole.kappa.interval.high - whole.kappa.interval.low == pytest.approx(
        once.kappa.interval.high - once.kappa.interval.low, rel=0.15
    )


def test_what_is_not_there_is_not_defined() -> None:
    found = compare_readers(**columns({"E": 2, "H": 3}))
    assert math.isnan(found.rates["sensitivity", "network"].value)
    assert math.isnan(found.gaps[0].p)
    assert "sensitivity is not defined" in " ".join(cautions(found))
    with pytest.raises(ValueError, match="at least one case"):
        compare_readers([], [], [])
    with pytest.raises(ValueError, match="one call"):
        compare_readers([True], [True, False], [True])
    silent = compare_readers(**columns({"D": 3, "H": 3}))
    assert math.isnan(silent.kappa.value)
    assert math.isnan(silent.rates["ppv", "human"].value)


@pytest.mark.parametrize(
    ("counts", "units", "words"),
    [
        ({"A": 1, "B": 6, "D": 1, "H": 12}, None, ["Patients are not known", "hardly known", "no test can find"]),
        ({"B": 30, "C": 8, "E": 9}, None, ["verification bias"]),
        ({"B": 30, "A": 9, "H": 40, "F": 9}, None, ["missed by both"]),
        ({"A": 2, "B": 4, "D": 1, "H": 4}, "patient", ["Only 11 patients", "rests on only 7 patients"]),
    ],
)  # fmt: skip
def test_cautions_of_few_cases(counts: dict[str, int], units: str | None, words: list[str]) -> None:
    names = None if units is None else [str(n) for n in range(sum(counts.values()))]
    said = " ".join(cautions(compare_readers(**columns(counts), units=names)))
    for word in words:
        assert word in said
    assert not cautions(compare_readers(**columns(COUNTS), units=[str(n) for n in range(80)]))


def test_lesions_and_cases(tmp_path: Path) -> None:
    table = write(
        tmp_path / "t.csv",
        "case;patient;lesion;network;human;reference",
        "a;P 1;1;yes;no;yes",
        "a;P 1;2;no;yes;yes",
        "b;p1;1;no;no;no",
        "c;P 2;1;yes;yes;no",
        "d;P 3;1;no;yes;yes",
    )
    readings = read_readings(table, Words("yes", "no"), threshold=None, by_model=False)
    assert [cell_of(row) for row in readings.rows] == ["C", "A", "H", "F", "A"]
    lesion, case = levels(readings)
    assert (lesion.level, lesion.n, lesion.n_units, lesion.clustered) == ("lesion", 5, 3, True)
    assert (case.level, case.n, case.n_units) == ("case", 4, 3)
    # case a: all three are positive of one lesion or the other
    assert {name: rate.count for name, rate in case.cells.items() if rate.count} == {
        "A": 1,
        "B": 1,
        "F": 1,
        "H": 1,
    }
    ps = holm([g.p for one in (lesion, case) for g in one.gaps])
    assert [g.p_holm for one in (lesion, case) for g in one.gaps] == list(ps)
    assert {row[0] for row in figures((lesion, case)).rows} == {"lesion", "case"}


def test_probabilities_with_a_threshold(tmp_path: Path) -> None:
    rows = ["a,0.2,positive,positive", "b,.5,negative,negative", "c,１.0,NEGATIVE,positive"]
    table = write(tmp_path / "t.csv", "case,network,human,reference", *rows)
    readings = read_readings(table, WORDS, threshold=0.5, by_model=False)
    assert [(row.network, row.probability) for row in readings.rows] == [
        (False, 0.2),
        (True, 0.5),
        (True, 1.0),
    ]
    with pytest.raises(DataError, match=r"row 2.*threshold_percent"):
        read_readings(table, WORDS, threshold=None, by_model=False)


@pytest.mark.parametrize(
    ("header", "rows", "words"),
    [
        ("case,network,human", ["a,positive,positive"], "'reference' is missing"),
        ("network,human,reference", ["positive,positive,positive"], "'file' is missing"),
        ("case,network,humen,reference", ["a,positive,positive,positive"], "did you mean 'human'"),
        ("case,human,human,network,reference", ["a,b,c,d,e"], "there twice"),
        ("case,network,human,reference", ["a,positive,maybe,positive"], "row 2: the column 'human' has 'maybe'"),
        ("case,network,human,reference", ["a,positive,NaN,positive"], "row 2: the column 'human' is empty or says"),
        ("case,network,human,reference", ["a,positive,,positive"], "is empty or says"),
        ("case,network,human,reference", ["a,positive,positive,positive"] * 2, "rows 2 and 3 are of the same case"),
        ("case,lesion,network,human,reference", ["a,1,positive,positive,positive"] * 2, "same case and lesion"),
        ("case,lesion,network,human,reference", ["a,1,positive,positive,positive", "b,,positive,positive,positive"],
         "row 3: the column 'lesion' is empty"),
        ("file,case,network,human,reference",
         ["a.png,a,positive,positive,positive", "a.png,b,positive,positive,positive"], "same file, but of two cases"),
        ("case,patient,network,human,reference", ["a,x,positive,positive,positive", "b,,positive,positive,positive"],
         "row 3: the column 'patient' is empty"),
        ("case,patient,lesion,network,human,reference",
         ["a,x,1,positive,positive,positive", "a,y,2,positive,positive,positive"], "of two patients"),
        ("case,network,human,reference", ["a,positive,positive,positive,positive"], "5 cells"),
        ("case,network,human,reference", [",positive,positive,positive"], "'case' is empty"),
        ("case,network,human,reference", [], "no rows"),
        ("", [], "no header"),
    ],
)  # fmt: skip
def test_tables_that_are_wrong(tmp_path: Path, header: str, rows: list[str], words: str) -> None:
    with pytest.raises(DataError, match=words):
        mikata.agreement(write(tmp_path / "t.csv", header, *rows))


def test_probabilities_that_are_none(tmp_path: Path) -> None:
    for cell in ("positive", "-0.1", "1.2", "98"):
        table = write(tmp_path / "t.csv", "case,network,human,reference", f"a,{cell},positive,positive")
        with pytest.raises(DataError, match="from 0 to 1"):
            mikata.agreement(table, threshold_percent=50)
    table = write(tmp_path / "t.csv", "case,network,human,reference", "a,nan,positive,positive")
    with pytest.raises(DataError, match="is empty or says"):
        mikata.agreement(table, threshold_percent=50)


def test_words_that_contradict() -> None:
    with pytest.raises(ParameterError, match="both positive and negative"):
        Words("yes; Cancer", "no; cancer")
    with pytest.raises(ParameterError, match="negative is empty"):
        Words("yes", " ; ")
    assert [Words("癌; 悪性", "良性").call(word) for word in (" 癌 ", "良 性", "?")] == [True, False, None]


def test_the_command_without_images(tmp_path: Path) -> None:
    table = from_counts(tmp_path / "t.csv", COUNTS)
    out = tmp_path / "out"
    result = mikata.agreement(table, out=out, reference="pathology <1>")
    assert {path.name for path in out.iterdir()} == {
        "agreement.csv",
        "agreement cases.csv",
        "agreement.html",
    }
    assert result.page == out / "agreement.html"
    assert "A: of 33 cases positive by the reference, the network missed 4" in result.message
    assert "does not show that they are equally good" in result.message
    rows = list(csv.DictReader((out / "agreement.csv").read_text("utf-8-sig").splitlines()))
    cells = {r["figure"]: int(r["count"]) for r in rows if r["figure"].startswith("cell_")}
    assert cells == {f"cell_{name}": count for name, count in COUNTS.items()}
    sensitivity = next(r for r in rows if (r["figure"], r["reader"]) == ("sensitivity", "network"))
    assert float(sensitivity["value"]) == 27 / 33
    text = (out / "agreement.html").read_text("utf-8")
    assert "pathology &lt;1&gt;" in text
    for name, count in COUNTS.items():
        assert f">{name}</strong>" in text
        assert f">{count}</span>" in text
    assert "http://" not in text.replace("http://www.w3.org", "")
    assert "<script" not in text
    # names of cases may name a patient
    cases = (out / "agreement cases.csv").read_text("utf-8-sig")
    assert cases.splitlines()[:2] == [
        "row,cell,network,probability,human,reference",
        "2,A,negative,,positive,positive",
    ]
    with pytest.raises(OutputError, match="already there"):
        mikata.agreement(table, out=out)
    kept = mikata.agreement(table, out=out, overwrite=True, keep_metadata=True)
    assert kept.files
    assert "c0" in (out / "agreement cases.csv").read_text("utf-8-sig")
    with pytest.raises(ParameterError, match="no column 'file'"):
        mikata.agreement(table, cell="A")


# ---------------------------------------------------------------- with images

PHOTO = data.brick()


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_package(tmp_path_factory.mktemp("山田 太郎 (test)") / "model", fit="resize")


@pytest.fixture
def read_cases(tmp_path: Path) -> Path:
    """Twelve photographs of several sizes, with what a human and a reference say."""
    rows = []
    for n in range(12):
        left, height = 30 * n, 70 + 5 * (n % 3)
        images.write_tiff(
            tmp_path / f"Yamada {n}.tif", images.from_array(PHOTO[:height, left : left + 90], "YX")
        )
        rows.append(
            f"Yamada {n}.tif,P{n // 2},{'brick' if n % 2 else 'other'},{'brick' if n % 3 else 'other'}"
        )
    return write(tmp_path / "t.csv", "file,patient,human,reference", *rows)


def by_model(table: Path, model: Path, **changes: Any) -> mikata.Result:
    return mikata.agreement(table, model=model, **({"positive": "brick", "negative": "other; grass (wet); 砂利"} | changes))  # fmt: skip


def test_a_model_in_place_of_the_column(read_cases: Path, package: Path, tmp_path: Path) -> None:
    figures_, cases = by_model(read_cases, package).tables
    said = mikata.predict([tmp_path / f"Yamada {n}.tif" for n in range(12)], model=package).tables[0].rows
    expected = [row[5 + CLASSES.index("brick")] for row in said]
    assert [row[3] for row in cases.rows] == pytest.approx(expected)
    assert [row[2] == "positive" for row in cases.rows] == [row[3] == "brick" for row in said]
    assert {row[0] for row in figures_.rows} == {"case"}
    middle = 100 * float(np.median(expected))
    cut = by_model(read_cases, package, threshold_percent=middle).tables[1]
    assert [row[2] == "positive" for row in cut.rows] == [p >= middle / 100 for p in expected]


def test_a_cell_opens_its_cases_with_heat(read_cases: Path, package: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    cases = by_model(read_cases, package, out=out, threshold_percent=99.9).files
    table = list(csv.DictReader((out / "agreement cases.csv").read_text("utf-8-sig").splitlines()))
    assert len(cases) == 3
    wanted = [row["row"] for row in table if row["cell"] == "A"]
    result = by_model(read_cases, package, threshold_percent=99.9, cell="A", stack_size_px=48)
    (stack,) = result.images
    assert stack.array.shape == (len(wanted), 48, 48)
    assert len(wanted) > 1
    assert [label.split(";")[0] for label in stack.slice_labels] == [f"row {row}" for row in wanted]
    assert "Yamada" not in " ".join(stack.slice_labels)
    assert all("p = 0." in label for label in stack.slice_labels)
    rois = [regions.to_roi(region) for region in stack.overlay]
    assert {roi.position for roi in rois if roi.name.startswith("heat ") and "-" in roi.name} == {
        *range(1, len(wanted) + 1)
    }
    # proportions are kept: 90 wide, 70 to 80 high
    assert not stack.array[0][:3].any()
    assert stack.array[0][24].any()
    named = by_model(
        read_cases, package, threshold_percent=99.9, cell="A", keep_metadata=True, out=tmp_path / "b"
    )
    written = images.read(tmp_path / "b" / "cell A.tif", keep_metadata=True)
    assert "Yamada" in written.slice_labels[0]
    assert tmp_path / "b" / "cell A.tif" in named.files
    empty = by_model(read_cases, package, threshold_percent=99.9, cell="G")
    assert empty.images == ()
    assert "Cell G is empty" in empty.message


def test_a_cell_without_a_model_in_colour(tmp_path: Path) -> None:
    images.write_tiff(tmp_path / "a.tif", images.from_array(data.astronaut()[:60, :40], "YXS"))
    images.write_tiff(tmp_path / "b.tif", images.from_array(PHOTO[:50, :50].astype(np.float32) * 7, "YX"))
    table = write(
        tmp_path / "t.csv",
        "file,lesion,network,human,reference",
        *(f"{name}.tif,{k},negative,positive,positive" for name in "ab" for k in (1, 2)),
    )
    (stack,) = mikata.agreement(table, cell="A", stack_size_px=32).images
    assert (stack.axes, stack.array.shape) == ("ZYXS", (2, 32, 32, 3))
    assert stack.slice_labels == ("row 2, 3", "row 4, 5")
    assert stack.overlay == ()
    assert stack.array[1].max() > 220  # from its own least to its own largest value, then averaged
    (tmp_path / "b.tif").unlink()
    with pytest.raises(ImageError, match="1 of the 2 images of the cell"):
        mikata.agreement(table, cell="A")


def test_models_and_tables_that_do_not_fit(read_cases: Path, package: Path, tmp_path: Path) -> None:
    with pytest.raises(NetworkError, match="name in 'positive'"):
        by_model(read_cases, package, positive="stone", negative="brick;other")
    with pytest.raises(DataError, match="and a model is given"):
        by_model(write(tmp_path / "u.csv", "file,network,human,reference", "a,b,c,d"), package)
    with pytest.raises(DataError, match="one thing of a whole image"):
        by_model(write(tmp_path / "u.csv", "file,lesion,human,reference", "a,b,c,d"), package)
    with pytest.raises(DataError, match="1 of the 1 images are not there"):
        by_model(write(tmp_path / "u.csv", "file,human,reference", "no.tif,brick,other"), package)
    images.write_tiff(tmp_path / "flat.tif", images.from_array(np.full((70, 70), 9, np.uint8), "YX"))
    table = write(
        tmp_path / "u.csv", "file,human,reference", "Yamada 1.tif,brick,other", "flat.tif,brick,other"
    )
    with pytest.raises(DataError, match=r"cannot judge 1 of the 2 images: flat\.tif"):
        by_model(table, package)
    images.write_tiff(tmp_path / "z.tif", images.from_array(PHOTO[:140, :70].reshape(2, 70, 70), "ZYX"))
    with pytest.raises(DataError, match="several planes"):
        by_model(write(tmp_path / "u.csv", "file,human,reference", "z.tif,brick,other"), package)

"""Check Package: every point good and bad, safety, weights compared, and deepImageJ's own code as the judge."""

from __future__ import annotations

import builtins
import csv
import io
import os
import pickle
import shutil
import stat
import subprocess
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
import yaml
from torch import Tensor, nn

import mikata
from mikata import cli
from mikata.commands import COMMANDS
from mikata.errors import MikataError, OutputError, PackageError
from mikata.networks.importing.code import UnreadableError, read_script
from mikata.networks.importing.interpreter import run
from mikata.networks.importing.operations import described
from mikata.networks.importing.reading import opened_package
from mikata.packaging.checks import POINTS, Checked, examine_package
from mikata.packaging.checks.tolerance import tolerance_of
from package_variants import VARIANTS, Classes, Scripted, Small, Variant, image, npy, state_dict, traced
from packages import write_package

BY_NAME = {variant.name: variant for variant in VARIANTS}


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return BY_NAME["base"].write(tmp_path)


def finding(found: Checked, point: str) -> Any:
    (one,) = [f for f in found.findings if f.point == point]
    return one


def rewritten(folder: Path, **changes: Any) -> Path:
    """A folder's description with some fields changed."""
    description = yaml.safe_load((folder / "rdf.yaml").read_text("utf-8"))
    (folder / "rdf.yaml").write_text(yaml.safe_dump(description | changes), "utf-8")
    return folder


# ---- every point, good and bad


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.name)
def test_each_variant_is_found_out_at_its_point(variant: Variant, tmp_path: Path) -> None:
    found = examine_package(variant.write(tmp_path), "deepimagej")
    assert tuple(f.point for f in found.findings[:18]) == POINTS
    wrong = {f.point for f in found.findings if f.status == "failed"}
    if variant.status == "differs":
        assert wrong == {"test torchscript"}
        return
    if variant.point == 0:
        assert not wrong
        assert not found.warnings
        assert found.passed
        (difference,) = found.differences
        assert difference.largest < 1e-5
        return
    point = finding(found, str(variant.point))
    assert point.status == (variant.status or "failed")
    assert point.what
    assert point.why
    assert point.todo
    assert found.passed == (variant.status == "warning")


def test_the_zoo_is_asked_other_questions(tmp_path: Path) -> None:
    softmax = examine_package(BY_NAME["softmax"].write(tmp_path), "zoo")
    assert {finding(softmax, point).status for point in POINTS} == {"not applicable"}
    assert softmax.passed
    assert {f.point for f in softmax.warnings} == {"format", "weights"}
    both = examine_package(tmp_path / "softmax", "both")
    assert {f.point for f in both.failed} == {"12"}
    invalid = examine_package(BY_NAME["unknown_operation"].write(tmp_path), "zoo")
    assert finding(invalid, "description").status == "failed"


def test_our_own_package_passes_with_both_formats(tmp_path: Path) -> None:
    package = write_package(tmp_path / "own")
    found = examine_package(package)
    assert found.passed, found.failed
    assert {f.point for f in found.warnings} == {"format", "weights"}
    pairs = {(d.weights, d.against) for d in found.differences}
    assert pairs == {
        ("torchscript", "test output"),
        ("pytorch_state_dict", "test output"),
        ("pytorch_state_dict", "torchscript"),
    }
    assert max(d.largest for d in found.differences) < 1e-5


# ---- raw stored values


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"data": {"type": "float32", "unit": "HU"}}, "HU"),
        ({"data": {"type": "float32", "range": [-1024.0, 3071.0]}}, "inputs[0]"),
        ({"description": "A CT in Hounsfield units"}, "inputs[0]"),
    ],
)
def test_calibrated_values_are_warned_of(base: Path, change: dict[str, Any], named: str) -> None:
    assert finding(examine_package(base), "values").status == "passed"
    description = yaml.safe_load((base / "rdf.yaml").read_text("utf-8"))
    inputs = [description["inputs"][0] | change]
    found = finding(examine_package(rewritten(base, inputs=inputs)), "values")
    assert (found.status, named in found.what, "34696" in found.why) == ("warning", True, True)
    assert "the package's README says so" in found.todo
    (base / "README.md").write_text("nothing", "utf-8")
    assert "say so in the package's README" in finding(examine_package(base), "values").todo


def test_a_record_tells_of_calibrated_values(tmp_path: Path) -> None:
    package = write_package(tmp_path / "ct", value_unit="HU", value_range=(-1000.0, 3000.0))
    assert "HU" in finding(examine_package(package), "values").what


# ---- weights against one another


def library_package(folder: Path, **architecture: Any) -> Path:
    torch.manual_seed(1)
    network = torchvision.models.squeezenet1_1(num_classes=3).eval()
    x = image(3, 64, 64)
    stated = {"import_from": "torchvision.models", "callable": "squeezenet1_1", "kwargs": {"num_classes": 3}}
    weights = {
        "torchscript": {"source": "weights.pt", "pytorch_version": "2.0.0"},
        "pytorch_state_dict": {
            "source": "s.pt",
            "pytorch_version": "2.0.0",
            "architecture": stated | architecture,
        },
    }
    made = Variant(
        "squeezed", network=lambda: network, settings=(("channels", 3), ("height", 64), ("width", 64))
    )
    target = made.write(folder)
    (target / "s.pt").write_bytes(state_dict(network))
    with torch.no_grad():
        (target / "test_output.npy").write_bytes(npy(network(torch.from_numpy(x)).numpy()))
    return rewritten(target, weights=weights)


def test_a_librarys_architecture_runs(tmp_path: Path) -> None:
    found = examine_package(library_package(tmp_path))
    assert [d.agrees for d in found.differences] == [True] * 3
    assert finding(found, "formats").status == "passed"
    other = torchvision.models.squeezenet1_1(num_classes=3)
    (tmp_path / "squeezed" / "s.pt").write_bytes(state_dict(other))
    changed = examine_package(tmp_path / "squeezed")
    assert finding(changed, "formats").status == "failed"
    assert finding(changed, "test pytorch_state_dict").status == "failed"
    assert finding(changed, "test torchscript").status == "passed"


@pytest.mark.parametrize(
    ("architecture", "reason"),
    [
        ({"import_from": "os", "callable": "system", "kwargs": {"command": "touch x"}}, "unknown library"),
        ({"import_from": "torchvision.models.resnet", "callable": "partial"}, "has no network"),
        ({"import_from": "torchvision.models", "callable": "_utils"}, "has no network"),
        ({"kwargs": {"weights": "DEFAULT"}}, "download"),
        ({"kwargs": {"num_classes": 3, "other": "https://example.org/x"}}, "download"),
        ({"kwargs": {"num_classes": 4}}, "does not fit"),
        ({"kwargs": {"nonsense": 1}}, "cannot build"),
    ],
)
def test_no_other_callable_is_called(tmp_path: Path, architecture: dict[str, Any], reason: str) -> None:
    found = finding(examine_package(library_package(tmp_path, **architecture)), "test pytorch_state_dict")
    assert found.status == "not applicable"
    assert reason in found.what


class Grouped(nn.Module):
    """Group normalisation; with `gate` squeeze and excitation, with `far` a wide look, else neither."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        wide = 20 if kind == "wide" else 1
        self.first = nn.Conv2d(1, 4, 2 * wide + 1, padding=wide)
        self.group = nn.GroupNorm(2, 4)
        self.gate = nn.Linear(4, 4)
        self.final = nn.Conv2d(4, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.first(x / 255)
        if self.kind == "group":
            y = self.group(y)
        elif self.kind == "squeeze":
            y = y * torch.sigmoid(self.gate(y.mean((2, 3))))[..., None, None]
        elif self.kind == "sum":
            y = y - y.sum((2, 3), keepdim=True) / y[0, 0].numel()
        elif self.kind == "native":
            y = torch.native_group_norm(y, None, None, 1, 4, 64 * 96, 1, 1e-5)[0] if y.shape[2] == 64 else y
        return self.final(y)


@pytest.mark.parametrize(
    ("kind", "fixed", "status"),
    [
        ("group", False, "failed"),
        ("group", True, "failed"),
        ("squeeze", False, "failed"),
        ("sum", False, "failed"),
        ("sum", True, "failed"),
        ("native", True, "failed"),
        pytest.param("wide", False, "warning", marks=pytest.mark.slow),
        ("wide", True, "warning"),
        ("plain", False, "passed"),
        ("plain", True, "passed"),
    ],
)
def test_what_sees_the_whole_image_is_found_by_trying(
    kind: str, fixed: bool, status: str, tmp_path: Path
) -> None:
    def sizes(description: dict[str, Any]) -> None:
        for axis, size in zip(description["inputs"][0]["axes"][2:], (64, 96), strict=True):
            axis["size"] = size if fixed else {"min": 64, "step": 2}

    changes = (sizes, *BY_NAME["instance_norm_halo"].change)
    found = finding(
        examine_package(Variant(kind, network=lambda: Grouped(kind), change=changes).write(tmp_path)), "9"
    )
    assert found.status == status, found.what


@pytest.mark.parametrize("stated", [{}, {"reproducibility_tolerance": [
    {"relative_tolerance": 0.01, "absolute_tolerance": 1e-4, "mismatched_elements_per_million": 7, "weights_formats": ["onnx"]},
    {"relative_tolerance": 0.0, "absolute_tolerance": 0.002, "output_ids": ["output"]},
]}, {"test_kwargs": {"torchscript": {"absolute_tolerance": 0.03}}}])  # fmt: skip
@pytest.mark.parametrize("old", [False, True])
def test_the_tolerance_is_that_of_bioimageio_core(stated: dict[str, Any], old: bool, tmp_path: Path) -> None:
    from bioimageio.core import _resource_tests as core

    variant = BY_NAME["format_0_4" if old else "base"]
    package = variant.write(tmp_path)
    config = {"bioimageio": {"nickname": "small-network", **stated}}
    with opened_package(rewritten(package, config=config)) as opened:
        model, reasons = described(opened)
    assert model is not None, reasons
    for kind in ("torchscript", "onnx", "pytorch_state_dict"):
        for output in ("output", "other"):
            found = tolerance_of(model, kind, output)
            expected = core._get_tolerance(model, kind, output)  # type: ignore[arg-type]
            assert (found.relative, found.absolute, found.per_million) == expected
            values = np.linspace(0, 2, 10**5)
            for away in (0.9, 1.1):
                apart = away * (found.absolute + found.relative * values) * (np.arange(10**5) % 2000 == 0)
                ppm, _, error = core.evaluate_mismatched_elements(
                    core.Tensor.from_numpy(values + apart, dims=("x",)),
                    core.Tensor.from_numpy(values, dims=("x",)),
                    found.relative, found.absolute, "output",
                )  # fmt: skip
                assert error is None
                assert found.allows(apart, values) == (ppm <= found.per_million)
            assert not found.allows(np.full(3, np.nan), np.zeros(3))


def test_large_values_do_not_hide_small_ones(tmp_path: Path) -> None:
    """Values up to 10000, of which most are about 5 off: less than a thousandth of the largest."""

    class Large(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x * torch.tensor([[[[40.0]]]])

    def off(files: dict[str, bytes]) -> None:
        files["test_output.npy"] = npy(np.load(io.BytesIO(files["test_output.npy"])) + np.float32(5))

    found = examine_package(Variant("large", network=Large, files=(off,)).write(tmp_path), "zoo")
    assert {f.point for f in found.failed} == {"test torchscript"}


def test_onnx_is_run_or_said_not_to_be(tmp_path: Path) -> None:
    found = finding(examine_package(BY_NAME["onnx_beside"].write(tmp_path)), "test onnx")
    assert found.status == "not applicable"
    assert "onnxruntime" in found.what


def test_an_architectures_imports_are_told(tmp_path: Path) -> None:
    package = BY_NAME["state_dict_beside"].write(tmp_path)
    assert finding(examine_package(package), "architecture").status == "passed"
    (package / "architecture.py").write_text("import mikata.networks\nimport os, torch\n", "utf-8")
    assert "mikata" in finding(examine_package(package), "architecture").what
    assert finding(examine_package(package), "test pytorch_state_dict").status == "not applicable"


def test_missing_test_tensors_are_told(base: Path) -> None:
    (base / "test_input.npy").unlink()
    assert finding(examine_package(base), "test").status == "failed"
    (base / "test_input.npy").write_bytes(pickle.dumps(np.array([object()])))
    assert finding(examine_package(base), "test").status == "failed"


# ---- TorchScript walked


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small", "shufflenet_v2_x0_5"])
def test_the_walk_gives_torchs_own_output(name: str) -> None:
    torch.manual_seed(0)
    network = getattr(torchvision.models, name)(weights=None).eval()
    x = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        (found,) = run(read_script(traced(network, x.numpy())), [x])
        assert float((found - network(x)).abs().max()) < 1e-6


@pytest.mark.parametrize("network", [Small(), Classes(), Scripted()], ids=["small", "classes", "scripted"])
def test_the_walk_follows_scripted_branches(network: nn.Module) -> None:
    x = torch.from_numpy(image())
    with torch.no_grad():
        (found,) = run(read_script(traced(network.eval(), x.numpy(), script=True)), [x])
        assert float((found - network(x)).abs().max()) < 1e-6


class Counting(nn.Module):
    """Loops and conditions that only scripting keeps."""

    def forward(self, x: Tensor) -> Tensor:
        total = x
        for n in range(3):
            if n % 2 == 0:
                total = total + n
            else:
                total = total * 2
        while float(total.max()) < 2000:
            total = total * 2
        return total


def test_the_walk_follows_loops() -> None:
    x = torch.from_numpy(image())
    (found,) = run(read_script(traced(Counting(), x.numpy(), script=True)), [x])
    assert torch.equal(found, Counting()(x))


class Writing(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        torch.save(x, "/tmp/mikata-should-not-be")
        return x


class Endless(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        while bool((x > -1).any()):
            x = x + 1
        return x


class OnLoad(nn.Module):
    """What torch.jit.load would run at once."""

    @torch.jit.export
    def __getstate__(self) -> tuple[Tensor, bool]:
        return torch.zeros(1), self.training

    @torch.jit.export
    def __setstate__(self, state: tuple[Tensor, bool]) -> None:
        torch.save(state[0], "mikata-should-not-be")
        self.training = state[1]

    def forward(self, x: Tensor) -> Tensor:
        return x


@pytest.mark.parametrize("network", [Writing(), Endless(), OnLoad()], ids=["writing", "endless", "on_load"])
def test_code_that_does_more_is_not_run(
    network: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("mikata.networks.importing.interpreter._MOST_STEPS", 2000)
    package = BY_NAME["base"].write(tmp_path)
    data = traced(network, image(), script=True)
    (package / "weights.pt").write_bytes(data)
    weights = {"torchscript": {"source": "weights.pt", "pytorch_version": "2.0.0"}}
    found = examine_package(rewritten(package, weights=weights))
    assert finding(found, "test torchscript").status in ("warning", "failed")
    assert not Path("/tmp/mikata-should-not-be").exists()
    assert [p.name for p in tmp_path.iterdir()] == ["base"]


def changed_code(data: bytes, old: str, new: str) -> bytes:
    buffer, replaced = io.BytesIO(), False
    with zipfile.ZipFile(io.BytesIO(data)) as source, zipfile.ZipFile(buffer, "w") as target:
        for name in source.namelist():
            content = source.read(name)
            replaced = replaced or (name.endswith(".py") and old.encode() in content)
            if name.endswith(".py"):
                content = content.replace(old.encode(), new.encode())
            target.writestr(name, content)
    assert replaced
    return buffer.getvalue()


@pytest.mark.parametrize(
    "code",
    [
        "__import__('os').system('touch x')",
        "x.__class__.__mro__",
        "().__class__",
        "torch.from_file('x')",
        "torch.ops.load_library('x')",
        "ops.os.system('x')",
        "getattr(x, 'data')",
        "open('x')",
        "(lambda: x)()",
        "[y for y in x]",
        "f'{x}'",
        "self.forward(x, )",
        "__torch__.package_variants.Small.forward(self, x, )",
        "torch.ones([100000, 100000], dtype=6, layout=0, device=torch.device('cpu'), pin_memory=False)",
        "torch.mul(torch.view(x, [6144, 1, 1]), torch.repeat(torch.view(x, [1, 6144, 1]), [1, 1, 6144]))",
        "torch.mul([0], 1000000000000)",
        "torch.add(torch.div(x, 2), torch.len(range(1000000000000)))",
        "torch.div(x, torch.mul(9223372036854775807, 9223372036854775807))",
    ],
)
def test_crafted_code_leads_nowhere(code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    data = changed_code(traced(Small(), image()), "torch.div(x, CONSTANTS.c0)", code)
    with pytest.raises(UnreadableError):
        run(read_script(data), [torch.from_numpy(image())])
    assert not list(tmp_path.iterdir())


class Unlisted(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.erfinv(x / 300)


def test_what_was_not_run_is_not_said_to_run(tmp_path: Path) -> None:
    result = mikata.check_package(model=Variant("unlisted", network=Unlisted).write(tmp_path))
    assert (
        "no point stands in deepImageJ's way, but the output of its TorchScript was not checked"
        in result.message
    )
    assert "runs it" not in result.message
    row = next(row for row in result.tables[0].rows if row[0] == "test torchscript")
    assert row[1] == "warning"
    assert "torch.erfinv" in row[2]


def test_training_mode_and_other_devices_are_told(tmp_path: Path) -> None:
    class Dropping(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.drop = nn.Dropout(0.5)

        def forward(self, x: Tensor) -> Tensor:
            return self.drop(x).to("cpu")

    made = traced(Dropping().train(), image())
    package = BY_NAME["base"].write(tmp_path)
    weights = {"torchscript": {"source": "weights.pt", "pytorch_version": "2.0.0"}}
    (package / "weights.pt").write_bytes(made)
    assert "drop" in finding(examine_package(rewritten(package, weights=weights)), "18").what
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(made)) as source, zipfile.ZipFile(buffer, "w") as target:
        for name in source.namelist():
            content = source.read(name)
            target.writestr(name, content.replace(b'"cpu"', b'"cuda:0"') if name.endswith(".py") else content)
    (package / "weights.pt").write_bytes(buffer.getvalue())
    assert "cuda:0" in finding(examine_package(package), "18").what


# ---- what is refused


def bomb() -> str:
    lines = ["type: model", "format_version: 0.5.3", "a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a: [", "is damaged"),
        ("\x00\x01", "is damaged"),
        ("- 1\n- 2", "does not describe a model"),
        ("type: dataset", "does not describe a model"),
        ("type: model", "has the format ?"),
        ("type: model\nformat_version: 0.3.2", "has the format 0.3.2"),
        ("type: model\nformat_version: 0.5.3\na: &a [*a]", "would grow"),
        ("[" * 5000, "is damaged"),
        ("# " + "x" * 2**20, "is too large"),
        (bomb(), "would grow"),
        ("type: model\nformat_version: 0.5.3\ncovers: [../x.png]", "outside of the package"),
        ("type: model\nformat_version: 0.5.3\ncovers: [/etc/passwd]", "outside of the package"),
    ],
)
def test_bad_descriptions_are_refused_and_nothing_is_written(
    base: Path, tmp_path: Path, text: str, reason: str
) -> None:
    (base / "rdf.yaml").write_text(text, "utf-8")
    out = tmp_path / "out"
    start = time.monotonic()
    with pytest.raises(PackageError) as caught:
        mikata.check_package(model=base, out=out)
    assert reason in str(caught.value)
    assert time.monotonic() - start < 30
    assert not out.exists()


def test_other_content_is_refused(base: Path) -> None:
    data = bytearray((base / "weights.pt").read_bytes())
    data[-1] ^= 1
    (base / "weights.pt").write_bytes(bytes(data))
    with pytest.raises(PackageError, match="does not match its checksum"):
        examine_package(base)


def test_no_package_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MikataError, match="does not exist"):
        mikata.check_package(model=tmp_path / "nothing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(PackageError, match=r"is no BioImage\.IO package"):
        examine_package(tmp_path / "empty")
    (tmp_path / "text.zip").write_text("no zip")
    with pytest.raises(PackageError, match="is no package"):
        examine_package(tmp_path / "text.zip")


@pytest.mark.parametrize("kind", ["outside", "link", "grows"])
def test_unsafe_zips_are_refused(tmp_path: Path, kind: str) -> None:
    package = BY_NAME["zip"].write(tmp_path)
    with zipfile.ZipFile(package, "a", zipfile.ZIP_DEFLATED) as archive:
        if kind == "outside":
            archive.writestr("../x.txt", "x")
        elif kind == "link":
            link = zipfile.ZipInfo("l")
            link.external_attr = (stat.S_IFLNK | 0o777) << 16
            archive.writestr(link, "/etc/passwd")
        else:
            archive.writestr("zeros", b"\0" * 2**24)
    with pytest.raises(PackageError, match="is refused"):
        examine_package(package)
    assert [p.name for p in tmp_path.iterdir()] == ["zip.zip"]


def test_links_in_a_folder_are_refused(base: Path) -> None:
    try:
        (base / "l.txt").symlink_to("/etc/passwd")
    except OSError as error:
        pytest.skip(f"no links here: {error}")
    with pytest.raises(PackageError, match="is a link"):
        examine_package(base)


def test_no_address_is_opened(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("the internet was asked")

    monkeypatch.setattr("socket.socket.connect", refuse)
    monkeypatch.setattr("socket.getaddrinfo", refuse)
    found = examine_package(rewritten(base, covers=["https://example.org/cover.png"]))
    assert "example.org" in finding(found, "files").what


def test_no_code_of_the_package_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = BY_NAME["state_dict_beside"].write(tmp_path)
    (package / "architecture.py").write_text("raise SystemExit('run')\n", "utf-8")
    monkeypatch.setattr(torch.jit, "load", lambda *_, **__: pytest.fail("torch.jit.load was called"))
    monkeypatch.setattr(builtins, "exec", lambda *_, **__: pytest.fail("exec was called"))
    assert examine_package(package).passed


# ---- the command


def test_the_command_writes_a_page_and_two_tables(base: Path, hard_path: Path) -> None:
    shutil.move(base, hard_path / "モデル")
    result = mikata.check_package(model=hard_path / "モデル", reader="deepimagej", out=hard_path / "out")
    assert result.message.startswith("Small network: deepImageJ imports and runs it. Largest difference 0")
    assert [p.name for p in result.files] == ["report.html", "points.csv", "differences.csv"]
    text = result.files[0].read_text("utf-8")
    assert "モデル" in text
    assert "http" not in text.replace("https://example", "")
    rows = list(csv.DictReader(result.files[1].read_text("utf-8-sig").splitlines()))
    assert [r["point"] for r in rows[:18]] == list(POINTS)
    assert result.tables[0].columns == ("point", "status", "what", "why", "what to do")
    with pytest.raises(OutputError):
        mikata.check_package(model=hard_path / "モデル", out=hard_path / "out")
    mikata.check_package(model=hard_path / "モデル", out=hard_path / "out", overwrite=True)


def test_a_finding_is_no_error_of_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    package = BY_NAME["softmax"].write(tmp_path)
    words = ["check-package", "--model", str(package), "--out", str(tmp_path / "out")]
    assert cli.main(cli.build(COMMANDS, lambda: "1"), words) == 0
    shown = capsys.readouterr().out
    assert "deepImageJ will refuse it or give wrong results (points 12)" in shown
    (package / "rdf.yaml").write_text("a: [", "utf-8")
    assert cli.main(cli.build(COMMANDS, lambda: "1"), [*words, "--overwrite"]) == 1


# ---- deepImageJ's own code


JUDGED = [v for v in VARIANTS if not v.chance]
if "MIKATA_ALL_VARIANTS" not in os.environ:
    JUDGED = JUDGED[::3]  # of each kind some; the judge takes 8 s for one


@pytest.mark.slow
@pytest.mark.shared
@pytest.mark.parametrize("variant", JUDGED, ids=lambda variant: variant.name)
def test_the_verdict_is_that_of_deepimagejs_own_code(variant: Variant, shared: Path, tmp_path: Path) -> None:
    missing = [tool for tool in ("java", "mvn") if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"deepImageJ's code needs {' and '.join(missing)} on the PATH")
    package = variant.write(tmp_path)
    done = subprocess.run(
        ["bash", str(shared / "deepimagej" / "check.sh"), "--bigtile=100", f"--sizes={variant.sizes}", str(package)],
        capture_output=True, text=True, encoding="utf-8", errors="replace", timeout=900, check=False,
    )  # fmt: skip
    if done.returncode and "cannot fetch" in done.stdout:
        pytest.skip(f"deepImageJ's engines are not here: {done.stdout.strip()}")
    assert done.returncode in (0, 1), done.stdout[-2000:]
    # a stock deepImageJ may bring libtorch 1.13.1 alone, which the judge tries apart
    runs = done.returncode == 0 and "[PASS] libtorch 1.13.1" in done.stdout
    assert examine_package(package, "deepimagej").passed == runs, done.stdout[-4000:]

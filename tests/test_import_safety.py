"""Packages that mean harm: operations that leave their tensors, bombs, code without consent, names that mislead."""

from __future__ import annotations

import hashlib
import io
import json
import struct
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import Tensor, nn

import mikata
from foreign_packages import BY_NAME, traced
from mikata.command import EACH_TIME
from mikata.errors import PackageError
from mikata.networks.importing import code, consents, interpreter, limits, read_foreign_network
from mikata.networks.importing.code import Script, TooLargeError, UnreadableError, read_script
from mikata.networks.importing.libraries import library_network
from mikata.networks.importing.onnx_files import refuse_other_files
from mikata.networks.importing.package_code import package_network
from mikata.networks.importing.reading import Package, opened_package
from mikata.networks.importing.refusals import NotRunError
from mikata.networks.torchscript import ScriptedModule
from mikata.packaging import importing
from mikata.packaging.checks import examine_package
from package_variants import Small, Variant


@pytest.fixture(autouse=True)
def own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consents, "consents_folder", lambda: tmp_path / "consents")


class Plain(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + 1


@cache
def _plain_file() -> bytes:
    return traced(Plain(), torch.ones(1, 1, 4, 4).numpy())


def written(body: str) -> Script:
    """TorchScript whose forward(x) is this text, as a file may hold it; torch itself has never read it."""
    data = io.BytesIO(_plain_file())
    made = io.BytesIO()
    lines = "\n".join(f"    {line}" for line in body.strip().splitlines())
    with zipfile.ZipFile(data) as source, zipfile.ZipFile(made, "w") as archive:
        for name in source.namelist():
            content = source.read(name)
            if name.endswith(".py") and b"def forward" in content:
                start = content.index(b"  def forward")
                content = content[:start] + f"  def forward(self, x):\n{lines}\n".encode()
            archive.writestr(name, content)
    return read_script(made.getvalue())


def ran(body: str, x: Tensor | None = None) -> Tensor:
    return interpreter.run(written(body), [torch.arange(16.0).reshape(1, 1, 4, 4) if x is None else x])[0]


# ---- operations that would leave their tensors


OUTSIDE = {
    "indices of a pooling": """
        i = torch.full([1, 1, 2, 2], 1000000000000, dtype=4)
        return torch.max_pool2d_with_indices_backward(torch.ones([1, 1, 2, 2]), x, [2, 2], [2, 2], [0, 0], [1, 1], False, i)""",
    "indices that are near": """
        i = torch.full([1, 1, 2, 2], 3, dtype=4)
        return torch.max_pool2d_with_indices_backward(torch.ones([1, 1, 2, 2]), x, [2, 2], [2, 2], [0, 0], [1, 1], False, i)""",
    "gradient of another size": """
        return torch._adaptive_avg_pool2d_backward(torch.ones([1, 33, 1, 4]), torch.ones([1, 8, 1, 4]))""",
    "short statistics": """
        w = torch.ones([1])
        y = torch.expand(x, [1, 1, 4, 4])
        return (torch.native_batch_norm(torch.cat([x, x, x], 1), w, w, w, w, False, 0.1, 0.00001))[0]""",
    "no statistics": "return (torch.native_batch_norm(x, None, None, None, None, False, 0.1, 0.00001))[0]",
    "groups": "return (torch.native_group_norm(x, None, None, 1, 1000, 16, 1, 0.00001))[0]",
    "unknown type": "return torch.to(x, 999)",
    "negative type": "return torch.zeros([2], dtype=-1)",
    "quantised type": "return torch.zeros([2], dtype=12)",
    "sparse layout": "return torch.zeros([2, 2], dtype=6, layout=1)",
    "format of memory": "return torch.contiguous(x, memory_format=77)",
    "divisor": "return torch.avg_pool2d(x, [2, 2], [2, 2], [0, 0], False, True, 0)",
    "stride": "return torch.max_pool2d(x, [2, 2], [0, 0], [0, 0], [1, 1], False)",
    "ratio": "return torch._upsample_bilinear2d_aa(x, [4, 4], False, 0.0001, 0.0001)",
    "place to write": "return torch.relu(x, out=x)",
    "mask of another size": """
        return torch.scaled_dot_product_attention(x, x, x, torch.ones([1, 1, 4, 9]))""",
    "places without number": """
        return torch.grid_sampler(x, torch.full([1, 4, 4, 2], nan), 0, 0, False)""",
    "backward pass of another size": "return torch.gelu_backward(torch.ones([2]), x)",
    "bias of a convolution": "return torch.conv2d(x, torch.ones([3, 1, 1, 1]), torch.ones([1]))",
}  # fmt: skip


@pytest.mark.parametrize("body", OUTSIDE.values(), ids=OUTSIDE)
def test_arguments_that_lead_out_are_refused(body: str) -> None:
    body = "\n".join(line.strip() for line in body.strip().splitlines())
    with pytest.raises(UnreadableError, match="do not fit one another"):
        ran(body)


@pytest.mark.parametrize(
    "name",
    """native_batch_norm_backward convolution_backward native_layer_norm_backward max_unpool2d from_file save as_strided
    set_ _foreach_add _embedding_bag fbgemm_pack_gemm_matrix_fp16 _native_batch_norm_legit_no_training""".split(),
)
def test_operations_that_trust_their_arguments_are_not_in_the_list(name: str) -> None:
    with pytest.raises(UnreadableError, match=f"not known to be harmless .torch.{name}"):
        ran(f"return torch.{name}(x)")


def test_what_is_reckoned_in_another_way_is_the_same() -> None:
    """Backward passes by autograd against torch's own kernels, on arguments that fit."""
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(1, 3, 9, 8, generator=generator)
    aten = torch.ops.aten
    cases: list[tuple[str, list[Any]]] = []
    for args in (([3, 3], [2, 2], [1, 1], [1, 1], False), ([2, 3], [2, 1], [0, 1], [2, 1], True)):
        made, places = aten.max_pool2d_with_indices(x, *args)
        gradient = torch.randn(made.shape, generator=generator)
        cases.append(("max_pool2d_with_indices_backward", [gradient, x, *args, places]))
    for rest in (([2, 2], [2, 2], [0, 0], False, True, None), ([3, 3], [2, 2], [1, 1], True, False, 5)):
        made = aten.avg_pool2d(x, *rest)
        cases.append(("avg_pool2d_backward", [torch.randn(made.shape, generator=generator), x, *rest]))
    cases.append(("_adaptive_avg_pool2d_backward", [torch.randn(1, 3, 4, 5, generator=generator), x]))
    large = torch.randn(1, 3, 18, 16, generator=generator)
    cases.append(("upsample_nearest2d_backward", [large, [18, 16], [1, 3, 9, 8], 2.0, 2.0]))
    cases.append(("upsample_bilinear2d_backward", [large, [18, 16], [1, 3, 9, 8], False, None, None]))
    for name, given in cases:
        walker = interpreter._Walker(written("return x"), torch.device("cpu"), {})
        with torch.inference_mode():
            found = walker._operation(name, given, {})
        assert torch.equal(found, getattr(aten, name)(*given)), name


def test_memory_that_was_of_others_is_not_shown() -> None:
    assert not ran("return torch.empty([64, 64], dtype=6)").any()
    assert not ran("return torch.empty_like(x)").any()


# ---- bombs


DOUBLED = "a = [1, 1]\nn = 0\nwhile torch.lt(n, 60):\n  a = [a, a]\n  n = torch.add(n, 1)\n"
LIST = "a = [1]\nn = 0\nwhile torch.lt(n, 60):\n  a = torch.add(a, a)\n  n = torch.add(n, 1)\n"
BOMBS = {
    "tensor of lists": (DOUBLED + "return torch.tensor(a)", "list of"),
    "lists compared": (DOUBLED + "b = [a, a]\nif torch.eq([a, a], b):\n  return x\nreturn x", "list of"),
    "lists compared plainly": (DOUBLED + "if [a, a] == [[a, a], a]:\n  return x\nreturn x", "list of"),
    "text of lists": (DOUBLED + "b = torch.str(a)\nreturn x", "list of"),
    "message of lists": (DOUBLED + "ops.prim.RaiseException(a)\nreturn x", "list of"),
    "lists for torch": (DOUBLED + "return torch.reshape(x, a)", "list of"),
    "list": (LIST + "return x", "list of"),
    "lists kept": (
        "a = [" + "1, " * 5000 + "1]\nb = annotate(List[List[int]], [])\nn = 0\nwhile torch.lt(n, 100000):\n"
        "  c = torch.append(b, torch.add(a, a))\n  n = torch.add(n, 1)\nreturn x",
        "list of",
    ),
    "text": ("a = torch.remainder('%999999999d', 1)\nreturn x", "no number"),
    "rows of a tensor": ("for r in torch.zeros([1000000]):\n  pass\nreturn x", "for a list"),
    "list of a tensor": ("a = torch.list(torch.zeros([1000000]))\nreturn x", "for a list"),
    "parts": ("a = torch.unbind(torch.zeros([1000000]))\nreturn x", "do not fit"),
    "small parts": ("a = torch.split(torch.zeros([1000000]), 1)\nreturn x", "do not fit"),
    "repeats": (
        "return torch.repeat_interleave(x, torch.full([1], 100000000000, dtype=4))", "numbers at once"),
    "repeats of repeats": ("return torch.repeat_interleave(torch.full([9], 100000000000, dtype=4))", "numbers at once"),
    "repeats by number": ("return torch.repeat_interleave(x, 100000000000)", "numbers at once"),
    "classes": ("return torch.one_hot(torch.full([3], 100000000000, dtype=4))", "numbers at once"),
    "masks": (
        "m = torch.ones([40000], dtype=11)\ni = torch.zeros([40000, 1], dtype=4)\n"
        "return torch.index(torch.zeros([40000, 2]), [m, i])",
        "at once|fails",
    ),
    "views": ("return torch.expand(torch.zeros([1, 1]), [4294967296, 4294967296])", "at once|fails"),
    "work": ("w = torch.expand(torch.zeros([1, 1, 1, 1]), [8192, 4096, 1, 1])\n"
             "return torch.conv2d(torch.zeros([1, 4096, 1000, 64]), w)", "steps|MB|at once"),
    "windows": ("return torch.avg_pool2d(torch.zeros([1, 1, 9000, 9000]), [4000, 4000], [1, 1])", "steps"),
    "einsum": ("a = torch.zeros([100000])\nreturn torch.einsum('a,b,a,b->', [a, a, a, a])", "steps"),
    "scores": ("q = torch.zeros([1, 1, 1000000, 1])\nreturn torch.scaled_dot_product_attention(q, q, q)", "steps"),
}  # fmt: skip


@pytest.mark.parametrize(("body", "words"), BOMBS.values(), ids=BOMBS)
def test_bombs_are_refused_at_once(body: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interpreter, "_LARGEST_TENSOR", 2**27)
    monkeypatch.setattr(limits, "MOST_ITEMS", 2**18)
    start = time.process_time()
    with pytest.raises(UnreadableError, match=words):
        ran(body)
    assert time.process_time() - start < 10


def test_what_is_held_is_bounded_and_what_is_gone_is_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MOST_BYTES", 2**20)
    kept = "a = annotate(List[Tensor], [])\nfor n in range(10):\n  b = torch.append(a, torch.zeros([65536]))\nreturn x"
    with pytest.raises(TooLargeError, match="would hold 1 MB"):
        ran(kept)
    gone = "a = x\nfor n in range(50):\n  a = torch.add(torch.zeros([65536]), n)\nreturn a"
    assert float(ran(gone)[0]) == 49
    views = "a = torch.zeros([131072])\nb = annotate(List[Tensor], [])\nfor n in range(50):\n  c = torch.append(b, torch.view(a, [2, 65536]))\nreturn x"
    ran(views)


def test_a_run_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MOST_SECONDS", 0.2)
    with pytest.raises(UnreadableError, match="longer than 0 seconds"):
        ran("a = torch.zeros([300000])\nwhile True:\n  a = torch.sort(a)[0]\nreturn x")


def test_modules_within_themselves_are_counted() -> None:
    inner = ScriptedModule()
    inner.attributes = {}
    for _ in range(40):
        outer = ScriptedModule()
        outer.attributes = {"a": inner, "b": inner}
        inner = outer
    with pytest.raises(UnreadableError, match="deeply nested"):
        code._modules(inner)
    script = Script(inner, (), {}, frozenset(), ())
    moved = script.to(torch.device("cpu")).top
    assert moved.attributes["a"] is moved.attributes["b"]


# ---- consent


CODE = b"""
import torch
from urllib.request import urlretrieve
from torch.nn import Linear


class Small(torch.nn.Module):
    def __init__(self, width=1):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(width))


def make(width=1):
    return Small(width)


def other():
    return "no network"


lazy = lambda: Small()
"""


@contextmanager
def package_of(
    tmp_path: Path, name: str, kwargs: dict[str, Any] | None = None, text: bytes = CODE
) -> Iterator[Package]:
    def change(description: dict[str, Any]) -> None:
        description["weights"]["pytorch_state_dict"] = {
            "source": "state.pt",
            "pytorch_version": "2.0.0",
            "architecture": {"source": "net.py", "callable": name, "kwargs": kwargs or {}},
        }

    number = len(list(tmp_path.glob("code*")))
    folder = Variant(
        f"code{number}", change=(change,), files=(lambda files: files.update({"net.py": text, "state.pt": b""}),)
    ).write(tmp_path)  # fmt: skip
    with opened_package(folder) as package:
        yield package


@pytest.mark.parametrize(
    ("name", "kwargs"),
    [
        ("urlretrieve", {"url": "file:///etc/hostname", "filename": "written"}),
        ("Linear", {"in_features": 1, "out_features": 1}),
        ("torch", {}),
        ("other", {}),
        ("__import__", {"name": "os"}),
    ],
)
def test_only_networks_of_the_file_itself_are_made(tmp_path: Path, name: str, kwargs: dict[str, Any]) -> None:
    with package_of(tmp_path, name, kwargs) as package:
        entry = package.weights["pytorch_state_dict"]
        with pytest.raises(NotRunError, match=f"has no network {name}"):
            package_network(package, entry, code="now")


def test_the_callable_and_its_arguments_are_consented_to_too(tmp_path: Path) -> None:
    def made(name: str, kwargs: dict[str, Any]) -> nn.Module:
        with package_of(tmp_path, name, kwargs) as package:
            return package_network(package, package.weights["pytorch_state_dict"], code="consented")

    sha256 = hashlib.sha256(CODE).hexdigest()
    consents.consent(consents.Thing("architecture", "net.py", sha256, "make", {"width": 3}), "p")
    assert made("make", {"width": 3}).weight.shape == (3,)
    for name, kwargs in (("make", {"width": 4}), ("make", {}), ("Small", {"width": 3})):
        with pytest.raises(NotRunError, match="unless you consent"):
            made(name, kwargs)
    consents.consent(consents.Thing("torchscript", "net.py", sha256), "p")
    with pytest.raises(NotRunError, match="unless you consent"):
        made("Small", {})


class Writes(nn.Module):
    """Torch would make the file when it runs this."""

    def __init__(self, file: str) -> None:
        super().__init__()
        self.file = file
        self.network = Small()

    def forward(self, x: Tensor) -> Tensor:
        return self.network(x) + torch.from_file(self.file, True, 16)[0] * 0


def test_consent_to_the_architecture_is_none_to_torchscript(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def loading(*_: Any, **__: Any) -> Any:
        raise RuntimeError("loaded")

    folder = BY_NAME["new_source"].write(tmp_path)
    target = tmp_path / "made by torch"
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.script(Writes(str(target)).eval()), buffer)
    (folder / "weights.pt").write_bytes(buffer.getvalue())
    description = yaml.safe_load((folder / "rdf.yaml").read_text("utf-8"))
    description["weights"]["torchscript"] = {"source": "weights.pt", "pytorch_version": "2.0.0"}
    (folder / "rdf.yaml").write_text(yaml.safe_dump(description), "utf-8")
    monkeypatch.setattr(torch.jit, "load", loading)
    result = mikata.import_package(model=folder, out=tmp_path / "out", run_package_code=True)
    assert "torch.from_file" in result.message
    assert not target.exists()
    record = json.loads((tmp_path / "out" / "import.json").read_text("utf-8"))["consent"]
    assert (record["run_package_code"], record["run_torchscript"]) == (True, False)
    assert (record["callable"], list(record["files"])) == ("UNet", ["net.py"])
    result = mikata.import_package(
        model=folder, out=tmp_path / "both", run_package_code=True, run_torchscript=True
    )
    assert "torch cannot load weights.pt (loaded)" in result.message


def test_consent_is_asked_for_each_time() -> None:
    """No dialog has it ticked because it was ticked for another package."""
    assert {"run_package_code", "run_torchscript"} <= EACH_TIME


def test_consent_is_noted_before_code_runs(tmp_path: Path) -> None:
    folder = BY_NAME["new_source"].write(tmp_path)
    seen, noted = tmp_path / "seen", tmp_path / "consents"
    text = (folder / "net.py").read_bytes()
    text += f"\nimport os\nopen({str(seen)!r}, 'w').write(str(len(os.listdir({str(noted)!r}))))\n".encode()
    (folder / "net.py").write_bytes(text)
    description = yaml.safe_load((folder / "rdf.yaml").read_text("utf-8"))
    description["weights"]["pytorch_state_dict"]["architecture"].pop("sha256", None)
    (folder / "rdf.yaml").write_text(yaml.safe_dump(description), "utf-8")
    mikata.import_package(model=folder, out=tmp_path / "out", run_package_code=True)
    assert seen.read_text() == "1"
    read_foreign_network(tmp_path / "out")


def test_other_bytes_than_those_consented_to_are_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file changes after it was judged and consented to."""
    folder = BY_NAME["new_source"].write(tmp_path)
    description = yaml.safe_load((folder / "rdf.yaml").read_text("utf-8"))
    description["weights"]["pytorch_state_dict"]["architecture"].pop("sha256", None)
    (folder / "rdf.yaml").write_text(yaml.safe_dump(description), "utf-8")
    ran_file, note = tmp_path / "ran", importing.consent

    def noted(*args: Any) -> Path:
        made = note(*args)
        (folder / "net.py").write_text(f"open({str(ran_file)!r}, 'w')\n")
        return made

    monkeypatch.setattr(importing, "consent", noted)
    with pytest.raises(PackageError, match=r"net\.py was changed meanwhile"):
        mikata.import_package(model=folder, out=tmp_path / "out", run_package_code=True)
    assert not ran_file.exists()
    assert not (tmp_path / "out").exists()


# ---- libraries


@pytest.mark.parametrize(
    ("place", "name", "kwargs"),
    [
        ("torchvision.models", "get_model", {"name": "resnet18", "weights": None}),
        ("torchvision.models", "get_model_builder", {"name": "resnet18"}),
        ("torchvision.models", "list_models", {}),
        ("torchvision.models.detection._utils", "overwrite_eps", {"model": 1, "eps": 1}),
        ("torchvision.models.quantization", "resnet18", {}),
        ("timm", "list_models", {}),
        ("timm.models", "model_entrypoint", {"model_name": "resnet18"}),
        ("timm.utils", "update_summary", {"epoch": 1, "filename": "written.csv"}),
        ("timm.utils", "setup_default_logging", {"log_path": "written.log"}),
        ("timm.models", "save_for_hf", {"model": 1, "save_directory": "written"}),
        ("timm", "create_model", {"model_name": "no_such_network"}),
        ("segmentation_models_pytorch", "from_pretrained", {}),
        ("segmentation_models_pytorch.encoders", "get_preprocessing_params", {"encoder_name": "resnet18"}),
    ],
)
def test_functions_of_libraries_that_make_no_network_are_not_called(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, name: str, kwargs: dict[str, Any]
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NotRunError, match=f"has no network {name}"):
        library_network({"architecture": {"import_from": place, "callable": name, "kwargs": kwargs}})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("place", "name", "kwargs"),
    [
        ("torchvision.models", "squeezenet1_0", {"num_classes": 2}),
        ("torchvision.models.segmentation", "lraspp_mobilenet_v3_large", {"num_classes": 2}),
        ("torchvision.models.squeezenet", "SqueezeNet", {"num_classes": 2}),
        ("timm", "create_model", {"model_name": "mobilenetv3_small_050.lamb_in1k", "num_classes": 2}),
        ("timm.models.mobilenetv3", "mobilenetv3_small_050", {"num_classes": 2}),
        ("segmentation_models_pytorch", "Unet", {"encoder_name": "mobilenet_v2"}),
        ("segmentation_models_pytorch", "create_model", {"arch": "fpn", "encoder_name": "mobilenet_v2"}),
    ],
)
def test_networks_of_libraries_are_made_without_the_internet(
    monkeypatch: pytest.MonkeyPatch, place: str, name: str, kwargs: dict[str, Any]
) -> None:
    monkeypatch.setattr("socket.getaddrinfo", lambda *_, **__: pytest.fail("the internet was asked"))
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("a file was read"))
    made = library_network({"architecture": {"import_from": place, "callable": name, "kwargs": kwargs}})
    assert isinstance(made, nn.Module)


# ---- names, zips, other files


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return BY_NAME["new_softmax_halo"].write(tmp_path_factory.mktemp("plain"))


def zipped(folder: Path, target: Path, **more: bytes) -> Path:
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.rglob("*")):
            archive.write(path, path.relative_to(folder).as_posix())
        for name, content in more.items():
            archive.writestr(name, content)
    return target


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("/".join("a" * 32_000), "characters in 32000 parts"),
        ("a" * 1001, "name of 1001 characters"),
        ("/".join("a" * 33), "in 33 parts"),
        ("a/./b", "stands for another"),
        ("./README.md", "stands for another"),
        ("a//b", "stands for another"),
    ],
    ids=lambda value: value[:12],
)
def test_names_that_mislead_are_refused(plain: Path, tmp_path: Path, name: str, words: str) -> None:
    package = zipped(plain, tmp_path / "p.zip", **{name: b"x"})
    start = time.process_time()
    with pytest.raises(PackageError, match=words) as raised:
        mikata.import_package(model=package, out=tmp_path / "out")
    assert time.process_time() - start < 10
    assert len(str(raised.value)) < 1000
    assert not (tmp_path / "out").exists()


def test_a_zip_that_is_exchanged_is_refused(
    plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between its checksum and its opening, and while it is read."""
    package, other = zipped(plain, tmp_path / "p.zip"), zipped(plain, tmp_path / "q.zip", more=b"x")
    whole, opening = package.read_bytes(), importing.opened_package

    def exchanged(path: Path) -> Any:
        path.write_bytes(other.read_bytes())
        return opening(path)

    monkeypatch.setattr(importing, "opened_package", exchanged)
    stated = hashlib.sha256(whole).hexdigest()
    with pytest.raises(PackageError, match="was changed meanwhile"):
        mikata.import_package(model=package, out=tmp_path / "out", sha256=stated)
    monkeypatch.setattr(importing, "opened_package", opening)
    package.write_bytes(whole)
    judge = importing._tried

    def judged(found: Package) -> Any:
        with package.open("r+b") as file:  # a byte of the comment that a zip may end with
            file.seek(0, 2)
            file.write(b"x")
        return judge(found)

    monkeypatch.setattr(importing, "_tried", judged)
    with pytest.raises(PackageError, match="was changed meanwhile"):
        mikata.import_package(model=package, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_weights_of_other_programs_are_named(plain: Path, tmp_path: Path) -> None:
    """What Mikata does not run, it has not judged either."""
    folder = tmp_path / "p"
    folder.mkdir()
    for path in plain.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    (folder / "weights.h5").write_bytes(b"\x89HDF\r\n\x1a\n")
    description = yaml.safe_load((folder / "rdf.yaml").read_text("utf-8"))
    description["weights"]["keras_hdf5"] = {"source": "weights.h5", "tensorflow_version": "2.0"}
    (folder / "rdf.yaml").write_text(yaml.safe_dump(description), "utf-8")
    message = mikata.import_package(model=folder, out=tmp_path / "out").message
    assert "weights.h5 (keras_hdf5) is copied but was not judged" in message


def field(number: int, content: bytes | int) -> bytes:
    """One field of a protocol buffer."""
    if isinstance(content, int):
        return _whole(number << 3) + _whole(content)
    return _whole(number << 3 | 2) + _whole(len(content)) + content


def _whole(size: int) -> bytes:
    found = b""
    while size > 127:
        found, size = found + bytes([size & 127 | 128]), size >> 7
    return found + bytes([size])


def test_onnx_files_that_name_others_are_refused() -> None:
    numbers = field(1, 4) + field(2, 1) + field(9, struct.pack("<4f", 1, 2, 3, 4))
    place = field(13, field(1, b"location") + field(2, b"../../secret.bin"))
    good = field(1, 8) + field(7, field(1, field(1, b"x")) + field(5, numbers))
    refuse_other_files(good)
    inside: list[Callable[[bytes], bytes]] = [
        lambda tensor: field(7, field(5, tensor)),  # a weight
        lambda tensor: field(7, field(1, field(5, field(5, tensor)))),  # a node's constant
        lambda tensor: field(7, field(1, field(5, field(6, field(5, tensor))))),  # of a branch
        lambda tensor: field(25, field(7, field(5, field(10, tensor)))),  # of a function
        lambda tensor: field(7, field(15, field(1, tensor))),  # a sparse weight
    ]
    for around in inside:
        refuse_other_files(good + around(numbers + field(14, 0)))
        for tensor in (numbers + place, numbers + field(14, 1)):
            with pytest.raises(NotRunError, match="takes numbers from other files"):
                refuse_other_files(good + around(tensor))
    for damaged in (good[:-3], b"\xff" * 40, b"\x0b"):
        with pytest.raises(NotRunError, match="is damaged"):
            refuse_other_files(damaged)


def test_onnx_runs_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    from mikata.networks.importing.formats import OnnxSession

    helper, float32 = onnx.helper, onnx.TensorProto.FLOAT
    body = helper.make_graph(
        [helper.make_node("Identity", ["c"], ["d"]), helper.make_node("Mul", ["a", "a"], ["b"])], "body",
        [helper.make_tensor_value_info("n", onnx.TensorProto.INT64, []),
         helper.make_tensor_value_info("c", onnx.TensorProto.BOOL, []),
         helper.make_tensor_value_info("a", float32, None)],
        [helper.make_tensor_value_info("d", onnx.TensorProto.BOOL, []),
         helper.make_tensor_value_info("b", float32, None)],
    )  # fmt: skip
    count = helper.make_tensor("count", onnx.TensorProto.INT64, [], [2**40])
    yes = helper.make_tensor("yes", onnx.TensorProto.BOOL, [], [True])
    graph = helper.make_graph(
        [helper.make_node("Loop", ["count", "yes", "x"], ["y"], body=body)], "graph",
        [helper.make_tensor_value_info("x", float32, [2])], [helper.make_tensor_value_info("y", float32, None)],
        [count, yes],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    session = OnnxSession(model.SerializeToString())
    monkeypatch.setattr(limits, "MOST_SECONDS", 0.3)
    with pytest.raises(NotRunError, match="longer than 0 seconds"):
        session([torch.ones(2)])


def test_images_that_deepimagej_never_ends_for(tmp_path: Path) -> None:
    def change(description: dict[str, Any]) -> None:
        for axis in description["inputs"][0]["axes"]:
            if axis["type"] == "space":
                axis["size"] = 8192

    folder = Variant("large", change=(change,)).write(tmp_path)
    found = next(one for one in examine_package(folder).findings if one.point == "7")
    assert found.status == "warning"
    assert "7000 x 7000" in found.what


def test_arguments_that_fit_are_let_through() -> None:
    """Of operations that networks use, with torch's own result; a list that refuses all would be safe too."""
    x = torch.randn(2, 4, 6, 5, generator=torch.Generator().manual_seed(4))
    c, rows = torch.rand(4) + 0.5, torch.tensor([[0, 2], [1, 1]])
    grid = torch.rand(2, 3, 3, 2) * 2 - 1
    given: list[tuple[str, list[Any]]] = [
        ("conv2d", [x, torch.ones(2, 4, 3, 3), torch.ones(2), [2, 2], [1, 1], [1, 1], 1]),
        ("conv2d", [x[0], torch.ones(4, 2, 3, 3), None, [1, 1], "same", [1, 1], 2]),
        ("_convolution_mode", [x, torch.ones(4, 2, 3, 3), c, [1, 1], "same", [1, 1], 2]),
        ("conv1d", [x[0], torch.ones(3, 6, 2)]),
        ("conv_transpose2d", [x, torch.ones(4, 3, 2, 2), torch.ones(6), [2, 2], [0, 0], [1, 1], 2, [1, 1]]),
        ("_convolution", [x, torch.ones(4, 3, 2, 2), None, [2, 2], [0, 0], [1, 1], True, [0, 0], 1, False, False, True, True]),
        ("convolution", [x, torch.ones(4, 1, 3, 3), c, [1, 1], [1, 1], [1, 1], False, [0, 0], 4]),
        ("batch_norm", [x, c, c, c, c, False, 0.1, 1e-5, False]),
        ("batch_norm", [x, c, c, None, None, True, 0.1, 1e-5, False]),
        ("instance_norm", [x, None, None, None, None, True, 0.1, 1e-5, False]),
        ("native_batch_norm", [x, c, c, c, c, False, 0.1, 1e-5]),
        ("group_norm", [x, 2, c, c, 1e-5, False]), ("native_group_norm", [x, c, c, 2, 4, 30, 2, 1e-5]),
        ("layer_norm", [x, [5], torch.ones(5), torch.ones(5), 1e-5, False]),
        ("native_layer_norm", [x, [6, 5], None, None, 1e-5]), ("rms_norm", [x, [5], None, 1e-5]),
        ("max_pool2d", [x, [2, 2], [2, 2], [0, 0], [1, 1], False]), ("max_pool2d", [x, [3, 3], [], [1, 1], [1, 1], True]),
        ("avg_pool2d", [x, [2, 2], [2, 2], [0, 0], False, True, None]), ("avg_pool1d", [x[0], [2]]),
        ("adaptive_avg_pool2d", [x, [1, 1]]), ("adaptive_max_pool2d", [x, [2, 2]]), ("im2col", [x, [2, 2], [1, 1], [0, 0], [1, 1]]),
        ("upsample_nearest2d", [x, None, [2.0, 2.0]]), ("upsample_nearest2d", [x, [12, 10], 2.0, 2.0]),
        ("upsample_bilinear2d", [x, [7, 3], False, None, None]), ("upsample_bilinear2d", [x, None, True, [1.5, 0.7]]),
        ("upsample_bilinear2d", [x, [9, 3], False, 1.5, 0.7]), ("_upsample_bilinear2d_aa", [x, [3, 3], False, None, None]),
        ("_upsample_bicubic2d_aa", [x, [3, 3], False, None, None]), ("upsample_bicubic2d", [x, [12, 10], False, 2.0, 2.0]),
        ("upsample_linear1d", [x[0], [9], False, None]), ("upsample_trilinear3d", [x[None], [4, 6, 9], False, None, None, None]),
        ("grid_sampler", [x, grid, 0, 0, False]), ("pixel_shuffle", [x, 2]), ("pixel_unshuffle", [x[..., :4], 2]),
        ("scaled_dot_product_attention", [x, x, x, torch.zeros(6, 6)]), ("scaled_dot_product_attention", [x, x, x, None, 0.0, True]),
        ("embedding", [x[0, 0], rows]), ("gather", [x[0, 0], 0, rows]), ("index_select", [x, 1, rows[0]]),
        ("scatter_add", [x[0, 0], 0, rows, torch.ones(2, 2)]), ("index", [x, [None, rows[1]]]), ("index", [x, [x > 0]]),
        ("index_put", [x, [x > 0], torch.zeros(())]), ("repeat_interleave", [x, 3, 1]), ("one_hot", [rows, 3]), ("one_hot", [rows]),
        ("repeat_interleave", [x[0, 0, 0], torch.tensor([1, 0, 2, 3, 1])]), ("repeat_interleave", [x, torch.tensor([2]), 1]),
        ("gelu_backward", [x, x]), ("threshold_backward", [x, x, 0]), ("_softmax_backward_data", [x, x.softmax(1), 1, 6]),
        ("select_backward", [x[0], [2, 4, 6, 5], 0, 1]), ("slice_backward", [x[:, 1:3], [2, 4, 6, 5], 1, 1, 3, 1]),
        ("split", [x, 2, 1]), ("split_with_sizes", [x, [1, 3], 1]), ("chunk", [x, 3, 1]), ("unbind", [x, 1]), ("unbind", [x]),
        ("tensor_split", [x, 2, 1]), ("cat", [[x, x], 1]), ("stack", [[x, x]]), ("to", [x, 7]),
        ("to", [x, 6, False, False, None]), ("softmax", [x, 1, None]), ("log_softmax", [x, 1, 7]), ("einsum", ["bchw,bdhw->bcd", [x, x]]),
        ("einsum", ["...c,c->...", [x[..., :4], c]]), ("matmul", [x, x.mT]), ("bmm", [x[0], x[0].mT]), ("mv", [x[0, 0], torch.ones(5)]),
        ("addmm", [torch.ones(6), x[0, 0], x[0, 0].mT]), ("linear", [x, torch.ones(3, 5), torch.ones(3)]), ("bilinear", [x, x, torch.ones(2, 5, 5), None]),
        ("topk", [x, 2, 1]), ("sort", [x]), ("kthvalue", [x, 2]), ("median", [x, 1]), ("max", [x, 1]), ("std_mean", [x, [1]]), ("var_mean", [x, [1]]),
        ("norm", [x, 2]), ("logsumexp", [x, [1]]), ("prelu", [x, c]), ("glu", [x, 1]), ("cumprod", [x, 1]), ("unflatten", [x, 1, [2, 2]]),
        ("roll", [x, [1], [1]]), ("tril", [x]), ("reflection_pad2d", [x, [1, 1, 1, 1]]), ("constant_pad_nd", [x, [1, -1], 0.0]),
        ("replication_pad3d", [x, [1, 1, 1, 1, 1, 1]]), ("expand", [c, [3, 4]]), ("contiguous", [x]), ("bucketize", [x, c.sort()[0]]),
        ("cross", [x[:, :3], x[:, :3], 1]), ("unfold", [x, 2, 2, 1]), ("where", [x > 0, x, x]), ("item", [c.sum()]), ("lerp", [x, x, 0.5]),
        ("as_tensor", [c]), ("_to_copy", [x]), ("type_as", [x, x]), ("log_sigmoid", [x]), ("diag", [c]), ("narrow", [x, 1, 0, 2]),
    ]  # fmt: skip
    refused = []
    for name, args in given:
        walker = interpreter._Walker(written("return x"), torch.device("cpu"), {})
        with torch.inference_mode():
            try:
                found = walker._operation(name, args, {})
            except Exception as error:
                refused.append(f"{name}: {error}")
                continue
            expected = getattr(torch.ops.aten, name)(*args)
        for one, other in zip(
            *([v] if not isinstance(v, list | tuple) else v for v in (found, expected)), strict=True
        ):
            assert torch.equal(torch.as_tensor(one), torch.as_tensor(other)), name
    assert not refused

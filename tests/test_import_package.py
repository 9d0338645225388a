"""Import Package: copied whole with a record, nothing written of what is refused, nothing fetched but what was asked for."""

from __future__ import annotations

import hashlib
import http.client
import io
import json
import os
import pickle
import stat
import urllib.error
import urllib.request
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from torch import Tensor, nn

import mikata
from foreign_packages import ARCHITECTURE, BY_NAME, UNet, core_output, image, npy, traced
from mikata.errors import MikataError, OutputError, PackageError
from mikata.networks.importing import consents, read_foreign_network
from mikata.networks.importing.formats import network_of
from mikata.networks.importing.reading import opened_package
from mikata.networks.importing.refusals import NotRunError
from mikata.packaging import fetching
from mikata.packaging.checks import examine_package
from package_variants import Small, Variant, _newest
from packages import write_package


@pytest.fixture(autouse=True)
def own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consents, "consents_folder", lambda: tmp_path / "consents")
    monkeypatch.setattr(fetching, "cache_folder", lambda: tmp_path / "cache")


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return BY_NAME["new_softmax_halo"].write(tmp_path_factory.mktemp("plain"))


@pytest.fixture(scope="module")
def with_code(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return BY_NAME["new_source"].write(tmp_path_factory.mktemp("code"))


def zipped(folder: Path, target: Path, **more: bytes) -> Path:
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.rglob("*")):
            archive.write(path, path.relative_to(folder).as_posix())
        for name, content in more.items():
            archive.writestr(name, content)
    return target


def copied(
    folder: Path, target: Path, change: Callable[[dict[str, Any]], None] | None = None, **files: bytes
) -> Path:
    """A copy with its description and some files changed; names of files have ``__`` for the dot."""
    target.mkdir()
    for path in folder.iterdir():
        (target / path.name).write_bytes(path.read_bytes())
    for name, content in files.items():
        (target / name.replace("__", ".")).write_bytes(content)
    description = yaml.safe_load((target / "rdf.yaml").read_text("utf-8"))
    for entry in description["weights"].values():
        entry.pop("sha256", None)
    if change:
        change(description)
    (target / "rdf.yaml").write_text(yaml.safe_dump(description), "utf-8")
    return target


def refused(tmp_path: Path, words: str, **given: Any) -> None:
    """The import is refused with these words, and nothing is written."""
    out = tmp_path / "parent" / "out"
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(MikataError, match=words):
        mikata.import_package(out=out, **given)
    assert sorted(tmp_path.rglob("*")) == before


# ---- what is imported


@pytest.mark.parametrize("kind", ["folder", "zip", "nested zip"])
def test_a_package_is_copied_whole_with_its_record(
    plain: Path, tmp_path: Path, hard_path: Path, kind: str
) -> None:
    source, out = plain, hard_path / "out"
    if kind == "zip":
        source = zipped(plain, hard_path / "モデル.zip")
    elif kind == "nested zip":
        (tmp_path / "n").mkdir()
        copied(plain, tmp_path / "n" / "model")
        source = zipped(tmp_path / "n", hard_path / "モデル.zip")
    result = mikata.import_package(model=source, out=out)
    record = json.loads((out / "import.json").read_text("utf-8"))
    assert {p.name for p in out.iterdir()} == {*(p.name for p in plain.iterdir()), "import.json"}
    for name, entry in record["files"].items():
        data = (out / name).read_bytes()
        assert entry == {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    assert (out / "weights.pt").read_bytes() == (plain / "weights.pt").read_bytes()
    assert record["source"]["kind"] == kind.split()[-1]
    assert record["source"]["name"] == source.name
    assert record["weights"]["torchscript"]["runs"]
    assert record["weights"]["torchscript"]["largest_difference"] < 1e-5
    assert record["usable_for"] == ["pixels", "weights"]
    assert record["consent"] == {
        "run_package_code": False, "run_torchscript": False, "files": {}, "callable": "", "kwargs": {}
    }  # fmt: skip
    assert "A network of others is in" in result.message
    assert read_foreign_network(out).meaning == "classes"
    with pytest.raises(OutputError, match="already a package"):
        mikata.import_package(model=source, out=out)
    mikata.import_package(model=source, out=out, overwrite=True)
    (out / "my notes.txt").write_text("mine")
    with pytest.raises(OutputError, match=r"my notes\.txt"):
        mikata.import_package(model=source, out=out, overwrite=True)


def test_our_own_package_is_imported_too(tmp_path: Path) -> None:
    write_package(tmp_path / "ours")
    result = mikata.import_package(model=tmp_path / "ours", out=tmp_path / "out")
    record = json.loads((tmp_path / "out" / "import.json").read_text("utf-8"))
    assert "classes" in record["usable_for"]
    assert "commands that predict classes" in result.message


def test_our_architecture_is_known_by_its_hash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_package(tmp_path / "ours")
    (folder / "training.json").unlink()
    with opened_package(folder) as package:
        assert (folder / "architecture.py").is_file()
        network = network_of(package, "pytorch_state_dict", code="never")
        (y,) = network([torch.from_numpy(np.load(folder / "test_input.npy"))])
        assert float(np.abs(y.numpy() - np.load(folder / "test_output.npy")).max()) < 1e-5
    text = (folder / "architecture.py").read_bytes()
    (folder / "architecture.py").write_bytes(text + b"\n")
    description = yaml.safe_load((folder / "rdf.yaml").read_text("utf-8"))
    description["weights"]["pytorch_state_dict"]["architecture"].pop("sha256")
    (folder / "rdf.yaml").write_text(yaml.safe_dump(description), "utf-8")
    with opened_package(folder) as package, pytest.raises(NotRunError, match="unless you consent"):
        network_of(package, "pytorch_state_dict", code="never")


# ---- consent


def test_code_of_a_package_runs_with_consent_only(with_code: Path, tmp_path: Path) -> None:
    values = image((1, 32, 48))
    result = mikata.import_package(model=with_code, out=tmp_path / "without")
    assert "net.py, which is not run unless you consent" in result.message
    assert "None of Mikata's commands" not in result.message  # its weights can start a training
    with pytest.raises(PackageError, match=r"net\.py"):
        read_foreign_network(tmp_path / "without")
    assert not (tmp_path / "consents").exists()

    mikata.import_package(model=with_code, out=tmp_path / "with", run_package_code=True)
    record = json.loads((tmp_path / "with" / "import.json").read_text("utf-8"))
    assert record["consent"] == {
        "run_package_code": True, "run_torchscript": False,
        "files": {"net.py": hashlib.sha256(ARCHITECTURE).hexdigest()}, "callable": "UNet",
        "kwargs": {"out_channels": 2, "width": 6},
    }  # fmt: skip
    network = read_foreign_network(tmp_path / "with")
    x = torch.from_numpy(network.before(values))[None]
    (expected,) = core_output(with_code, BY_NAME["new_source"].arranged(values))
    assert float(np.abs(network.network(x).numpy() - expected).max()) < 1e-5

    # the consent is for this content alone, and no check runs it
    other = copied(
        with_code, tmp_path / "other", _unstated, net__py=ARCHITECTURE + b"\nraise SystemExit('run')\n"
    )
    with pytest.raises(PackageError, match="unless you consent"):
        read_foreign_network(other)
    with pytest.raises(PackageError, match=r"net\.py fails \(run\)"):
        read_foreign_network(other, trust_code=True)
    found = [f for f in examine_package(with_code).findings if f.point == "test pytorch_state_dict"]
    assert found[0].status == "not applicable"


def _unstated(description: dict[str, Any]) -> None:
    description["weights"]["pytorch_state_dict"]["architecture"].pop("sha256")


def test_a_package_cannot_bring_its_own_consent(with_code: Path, tmp_path: Path) -> None:
    forged = {
        "consent": {"run_package_code": True, "files": {"net.py": hashlib.sha256(ARCHITECTURE).hexdigest()}}
    }
    package = copied(with_code, tmp_path / "forged", import__json=json.dumps(forged).encode())
    with pytest.raises(PackageError, match="unless you consent"):
        read_foreign_network(package)
    mikata.import_package(model=package, out=tmp_path / "out")
    assert json.loads((tmp_path / "out" / "import.json").read_text("utf-8"))["consent"]["files"] == {}


class Unlisted(nn.Module):
    """An operation that is not known to be harmless."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.erfinv(x / 300)


def test_torchscript_that_is_not_walked_needs_consent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = Variant("unlisted", network=Unlisted).write(tmp_path)
    loaded = []
    load = torch.jit.load
    monkeypatch.setattr(torch.jit, "load", lambda *a, **k: loaded.append(1) or load(*a, **k))
    result = mikata.import_package(model=package, out=tmp_path / "without")
    assert "torch.erfinv" in result.message
    with pytest.raises(PackageError, match=r"torch\.erfinv"):
        read_foreign_network(package)
    assert not loaded
    mikata.import_package(model=package, out=tmp_path / "other", run_package_code=True)
    assert not loaded
    mikata.import_package(model=package, out=tmp_path / "with", run_torchscript=True)
    network = read_foreign_network(package)
    assert loaded
    x = torch.from_numpy(image((1, 64, 96)))[None]
    assert torch.equal(network.network(x), torch.erfinv(x / 300))


def test_operations_that_are_code_are_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Format 0.5.12 has operations whose code is in the package, which bioimageio.core would run."""
    code = b"open('written', 'w')\ndef step():\n    return lambda a: a\n"

    def change(description: dict[str, Any]) -> None:
        _newest(description)
        description["outputs"][0]["postprocessing"] = [
            {
                "id": "custom",
                "callable": "step",
                "source": "step.py",
                "sha256": hashlib.sha256(code).hexdigest(),
            }
        ]

    package = Variant(
        "custom", change=(change,), files=(lambda files: files.update({"step.py": code}),)
    ).write(tmp_path)
    monkeypatch.chdir(package)  # where bioimageio.core would look for it
    found = [f for f in examine_package(package).findings if f.point == "test torchscript"]
    assert "custom (outputs[0].postprocessing[0])" in found[0].what
    with pytest.raises(PackageError, match=r"custom \(outputs"):
        read_foreign_network(package, trust_code=True)
    assert not (package / "written").exists()


# ---- what is refused, with nothing written


NAMES = {
    "../x": "outside of the package",
    "a/../../x": "outside of the package",
    "/x": "outside of the package",
    "C:/x": "outside of the package",
    "C:x": "outside of the package",
    "a\\x": "outside of the package",
    "nul": "Windows cannot hold",
    "a/COM1.txt": "Windows cannot hold",
    "x.": "Windows cannot hold",
    "what?.txt": "Windows cannot hold",
    "x\x01": "Windows cannot hold",
    "y" * 300: "Windows cannot hold",
    "RDF.yaml": "two files named",
    "README.md/x": "two files named",
}


@pytest.mark.parametrize("name", NAMES, ids=lambda name: name[:12])
def test_names_are_refused(plain: Path, tmp_path: Path, name: str) -> None:
    package = zipped(plain, tmp_path / "p.zip")
    with zipfile.ZipFile(package, "a") as archive:
        entry = zipfile.ZipInfo("x")
        entry.filename = name
        archive.writestr(entry, b"x")
    refused(tmp_path, NAMES[name], model=package)


def _twice(archive: zipfile.ZipFile) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        archive.writestr("README.md", b"another")


def _link(archive: zipfile.ZipFile) -> None:
    link = zipfile.ZipInfo("l")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    archive.writestr(link, "/etc/passwd")


def _device(archive: zipfile.ZipFile) -> None:
    device = zipfile.ZipInfo("d")
    device.external_attr = (stat.S_IFCHR | 0o666) << 16
    archive.writestr(device, b"")


def _bomb(archive: zipfile.ZipFile) -> None:
    archive.writestr("zeros", b"\0" * 2**24)


def _small_bombs(archive: zipfile.ZipFile) -> None:
    for n in range(65):
        archive.writestr(f"{n}", b"\0" * 2**20)


def _many(archive: zipfile.ZipFile) -> None:
    for n in range(10_001):
        archive.writestr(f"{n}", b"")


def _composed(archive: zipfile.ZipFile) -> None:
    archive.writestr("caf\u00e9", b"")
    archive.writestr("cafe\u0301", b"")


ARCHIVES = [
    (_twice, "two files named"),
    (_composed, "two files named"),
    (_link, "is a link"),
    (_device, "is a device"),
    (_bomb, "would grow"),
    (_small_bombs, "would grow"),
    (_many, "more than 10000 files"),
]


@pytest.mark.parametrize(("change", "words"), ARCHIVES, ids=lambda value: getattr(value, "__name__", ""))
def test_archives_are_refused(
    plain: Path, tmp_path: Path, change: Callable[[zipfile.ZipFile], None], words: str
) -> None:
    package = zipped(plain, tmp_path / "p.zip")
    with zipfile.ZipFile(package, "a", zipfile.ZIP_DEFLATED) as archive:
        change(archive)
    refused(tmp_path, words, model=package)


def test_encrypted_and_damaged_files_are_refused(plain: Path, tmp_path: Path) -> None:
    package = zipped(plain, tmp_path / "p.zip")
    data = bytearray(package.read_bytes())
    start = data.rindex(b"PK\x01\x02")
    data[start + 8] |= 1
    package.write_bytes(data)
    refused(tmp_path, "is encrypted", model=package)
    stored = tmp_path / "s.zip"
    with zipfile.ZipFile(stored, "w") as archive:
        for path in plain.iterdir():
            archive.write(path, path.name)
    data = bytearray(stored.read_bytes())
    data[data.index(b"For tests.")] ^= 1
    stored.write_bytes(data)
    refused(tmp_path, r"README\.md is damaged", model=stored)
    stored.write_bytes(data[: len(data) // 2])
    refused(tmp_path, "is no (BioImage.IO )?package", model=stored)


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
def test_links_and_devices_in_folders_are_refused(plain: Path, tmp_path: Path) -> None:
    package = copied(plain, tmp_path / "p")
    (package / "sub").mkdir()
    (package / "sub" / "l").symlink_to("/etc/passwd")
    refused(tmp_path, "is a link", model=package)
    (package / "sub" / "l").unlink()
    os.mkfifo(package / "sub" / "f")
    refused(tmp_path, "is a device", model=package)


def _alias_bomb() -> str:
    lines = ["type: model", "format_version: 0.5.3", "a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    return "\n".join(lines)


DESCRIPTIONS = [
    (_alias_bomb(), "would grow to more than"),
    ("type: model\nformat_version: 0.5.3\na: &a [*a]", "would grow to more than"),
    ("a: " + "[" * 5000, "is damaged"),
    ("# " + "x" * 2**20, "is too large"),
    ("a: " + "1" * 5000, "a number of 5000 digits"),
    ("a: 1" + ":1" * 5000, "a number of 10001 digits"),
    ("a: !!python/object/apply:os.system ['true']", "is damaged"),
    ("type: model\nformat_version: 0.3.6", r"has the format 0\.3\.6"),
    ("type: model\nformat_version: 0.5.3\ncovers: [../x.png]", "outside of the package"),
    ("type: model\nformat_version: 0.5.3\ndocumentation: C:\\x.md", "outside of the package"),
    (
        "type: model\nformat_version: 0.5.3\nweights: {torchscript: {source: /etc/passwd}}",
        "outside of the package",
    ),
]


@pytest.mark.parametrize(("text", "words"), DESCRIPTIONS, ids=[words for _, words in DESCRIPTIONS])
def test_descriptions_are_refused(plain: Path, tmp_path: Path, text: str, words: str) -> None:
    package = copied(plain, tmp_path / "p")
    (package / "rdf.yaml").write_text(text, "utf-8")
    refused(tmp_path, words, model=package)


def _elsewhere(description: dict[str, Any]) -> None:
    description["weights"]["torchscript"]["source"] = "https://example.org/weights.pt"


def _tensor_elsewhere(description: dict[str, Any]) -> None:
    description["inputs"][0]["test_tensor"] = {"source": "https://example.org/t.npy"}


def _file_address(description: dict[str, Any]) -> None:
    description["weights"]["torchscript"]["source"] = "file:///etc/passwd"


def _keras_only(description: dict[str, Any]) -> None:
    description["weights"] = {"keras_hdf5": {"source": "weights.pt", "tensorflow_version": "2.0"}}


def _sum_of_another(description: dict[str, Any]) -> None:
    description["weights"]["torchscript"]["sha256"] = "0" * 64


def _no_type(description: dict[str, Any]) -> None:
    description["inputs"][0]["data"] = {"type": "colour"}


CHANGES = [
    (_elsewhere, "nothing else is fetched"),
    (_tensor_elsewhere, "nothing else is fetched"),
    (_file_address, "nothing else is fetched"),
    (_keras_only, "keras_hdf5 only, which Mikata does not run"),
    (_sum_of_another, "does not match its checksum"),
    (_no_type, "description is not valid"),
]


@pytest.mark.parametrize(("change", "words"), CHANGES, ids=lambda value: getattr(value, "__name__", ""))
def test_changed_descriptions_are_refused(
    plain: Path,
    tmp_path: Path,
    change: Callable[[dict[str, Any]], None],
    words: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("socket.getaddrinfo", lambda *_, **__: pytest.fail("the internet was asked"))
    refused(tmp_path, words, model=copied(plain, tmp_path / "p", change))


def _whole_network() -> bytes:
    buffer = io.BytesIO()
    torch.save(UNet(), buffer)
    return buffer.getvalue()


CONTENTS = [
    ({"weights__pt": b"no weights"}, "cannot be read"),
    ({"weights__pt": _whole_network()}, "cannot be read"),
    ({"more__pkl": pickle.dumps([1])}, "is a pickle"),
    ({"test_input__npy": pickle.dumps(np.array([object()]))}, "Test tensors are missing"),
    ({"more__npy": npy(np.array([object()], dtype=object))}, "is a pickle"),
    ({"test_output__npy": npy(np.zeros((1, 2, 32, 48), np.float32))}, "do not give the output"),
]


@pytest.mark.parametrize(
    ("files", "words"), CONTENTS, ids=lambda value: next(iter(value)) if isinstance(value, dict) else ""
)
def test_contents_are_refused(plain: Path, tmp_path: Path, files: dict[str, bytes], words: str) -> None:
    refused(tmp_path, words, model=copied(plain, tmp_path / "p", None, **files))


def test_a_pickled_network_is_no_state_dict(with_code: Path, tmp_path: Path) -> None:
    package = copied(with_code, tmp_path / "p", None, **{"weights-state__pt": _whole_network()})
    refused(tmp_path, "holds more than named tensors", model=package, run_package_code=True)


def test_truncated_torchscript_is_refused(plain: Path, tmp_path: Path) -> None:
    data = (plain / "weights.pt").read_bytes()
    refused(tmp_path, "cannot be read", model=copied(plain, tmp_path / "p", None, weights__pt=data[:-100]))
    crafted = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as source, zipfile.ZipFile(crafted, "w") as archive:
        for name in source.namelist():
            evil = b"cos\nsystem\n(S'touch written'\ntR."
            archive.writestr(name, evil if name.endswith("data.pkl") else source.read(name))
    package = copied(plain, tmp_path / "q", None, weights__pt=crafted.getvalue())
    refused(tmp_path, r"weights\.pt cannot be read: .*system is not allowed", model=package)


def test_folders_within_one_another_are_refused(plain: Path, tmp_path: Path) -> None:
    package = copied(plain, tmp_path / "p")
    for out in (package, package / "inner", tmp_path):
        with pytest.raises(OutputError):
            mikata.import_package(model=package, out=out, overwrite=True)
    assert {p.name for p in package.iterdir()} == {p.name for p in plain.iterdir()}


def test_one_source_is_asked_for(plain: Path, tmp_path: Path) -> None:
    refused(tmp_path, "Give either")
    refused(tmp_path, "Give either", model=plain, address="https://example.org/p.zip")
    package = zipped(plain, tmp_path / "p.zip")
    refused(tmp_path, "its SHA-256 is", model=package, sha256="0" * 64)
    refused(tmp_path, "is no SHA-256", model=package, sha256="abc")
    refused(tmp_path, "which has no checksum", model=plain, sha256="0" * 64)


# ---- from an address


class Answer(io.BytesIO):
    def __init__(self, content: bytes, length: int | None = None) -> None:
        super().__init__(content)
        self.headers = {"Content-Length": str(len(content) if length is None else length)}


def test_an_address_is_fetched_checked_and_cached(
    plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = zipped(plain, tmp_path / "p.zip").read_bytes()
    (tmp_path / "p.zip").unlink()
    digest = hashlib.sha256(data).hexdigest()
    asked: list[str] = []
    monkeypatch.setattr(fetching, "_open", lambda address: asked.append(address) or Answer(data))
    address = "https://example.org/p.zip"
    mikata.import_package(address=address, out=tmp_path / "one")
    record = json.loads((tmp_path / "one" / "import.json").read_text("utf-8"))
    assert record["source"] == {"kind": "address", "name": address, "sha256": digest}
    assert [p.name for p in (tmp_path / "cache").iterdir()] == [f"{digest}.zip"]
    mikata.import_package(address=address, sha256=digest.upper(), out=tmp_path / "two")
    assert asked == [address]
    (tmp_path / "cache" / f"{digest}.zip").write_bytes(data[:-1])  # a damaged cache is not trusted
    mikata.import_package(address=address, sha256=digest, out=tmp_path / "three")
    assert asked == [address] * 2


def test_what_an_address_gives_may_be_refused(
    plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = "https://example.org/p.zip"
    (tmp_path / "cache").mkdir()
    monkeypatch.setattr(fetching, "_open", lambda _: Answer(b"x" * 100))
    refused(tmp_path, "another file than the one", address=address, sha256="0" * 64)
    monkeypatch.setattr(fetching, "_open", lambda _: Answer(b"x" * 100, 200))
    refused(tmp_path, "broke off after 100 of 200 bytes", address=address)
    monkeypatch.setattr(fetching, "_open", lambda _: Answer(b"x", 2**40))
    refused(tmp_path, "is larger than", address=address)
    monkeypatch.setattr(fetching, "LARGEST_PACKAGE", 50)
    monkeypatch.setattr(fetching, "_open", lambda _: Answer(b"x" * 100, 0))
    refused(tmp_path, "is larger than", address=address)


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("http://example.org/p.zip", "begin with https"),
        ("file:///etc/passwd", "begin with https"),
        ("ftp://example.org/p.zip", "begin with https"),
        ("https:///p.zip", "begin with https"),
        ("https://me:word@example.org/p.zip", "begin with https"),
        ("https://localhost/p.zip", "a private network"),
        ("https://127.0.0.1/p.zip", "a private network"),
        ("https://10.1.2.3/p.zip", "a private network"),
        ("https://[::1]/p.zip", "a private network"),
        ("https://169.254.169.254/latest", "a private network"),
        ("https://printer.local/p.zip", "a private network"),
        ("https://ｌｏｃａｌｈｏｓｔ/p.zip", "a private network"),
        ("https://１２７.0.0.1/p.zip", "a private network"),
        ("https://プリンタ.local/p.zip", "a private network"),
        ("http://例え.jp/模型.zip", "begin with https"),
        ("https://私:鍵@例え.jp/p.zip", "begin with https"),
        ("https://" + "あ" * 64 + ".jp/p.zip", "no name that can be looked up"),
        ("https://" + "a" * 64 + ".org/p.zip", "no name that can be looked up"),
        ("https://例え..jp/p.zip", "no name that can be looked up"),
        ("https://straße.de/p.zip", "no name that can be looked up"),
    ],
)
def test_addresses_are_refused(
    tmp_path: Path, address: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("socket.getaddrinfo", lambda *_, **__: pytest.fail("the internet was asked"))
    refused(tmp_path, words, address=address)


@pytest.mark.parametrize(
    ("address", "asked"),
    [
        (
            "https://例え.jp/模型 1.zip?版=二",
            "https://xn--r8jz45g.jp/%E6%A8%A1%E5%9E%8B%201.zip?%E7%89%88=%E4%BA%8C",
        ),
        ("https://ＥＸＡＭＰＬＥ．org:8443/ä%20b.zip#x", "https://example.org:8443/%C3%A4%20b.zip"),
        ("https://example.org/a/p.zip?download=1&x=%2F", "https://example.org/a/p.zip?download=1&x=%2F"),
    ],
)
def test_addresses_in_any_script_are_fetched(
    plain: Path, tmp_path: Path, address: str, asked: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = zipped(plain, tmp_path / "p.zip").read_bytes()
    found: list[str] = []
    monkeypatch.setattr(fetching, "_open", lambda given: found.append(given) or Answer(data))
    mikata.import_package(address=address, out=tmp_path / "one")
    assert found == [asked]
    assert json.loads((tmp_path / "one" / "import.json").read_text("utf-8"))["source"]["name"] == address


def test_redirects_are_judged_too() -> None:
    redirects = fetching._Redirects()
    request = urllib.request.Request("https://example.org/p.zip")
    for target in ("file:///etc/passwd", "http://example.org/p.zip", "https://127.0.0.1/p.zip"):
        with pytest.raises(PackageError, match="is refused"):
            redirects.redirect_request(request, io.BytesIO(), 302, "", {}, target)
    other = redirects.redirect_request(request, io.BytesIO(), 302, "", {}, "https://example.com/q.zip")
    assert other is not None
    assert other.full_url == "https://example.com/q.zip"


def test_a_public_name_of_a_private_number_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is asked of a server that a name leads to inside the own network."""
    monkeypatch.setattr(urllib.request, "getproxies", dict)
    sent: list[bytes] = []

    def connect(self: http.client.HTTPSConnection) -> None:
        self.sock = SimpleNamespace(  # type: ignore[assignment]
            getpeername=lambda: ("192.168.1.20", 443), close=lambda: None, sendall=sent.append
        )

    monkeypatch.setattr(http.client.HTTPSConnection, "connect", connect)
    (tmp_path / "cache").mkdir()
    refused(tmp_path, "a private network", address="https://example.org/p.zip")
    assert not sent


def test_a_server_that_is_not_there_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no(_: str) -> Any:
        raise urllib.error.URLError(OSError("no such host"))

    (tmp_path / "cache").mkdir()
    monkeypatch.setattr(fetching, "_open", no)
    refused(tmp_path, "cannot be fetched: no such host", address="https://example.org/p.zip")


def test_the_unwalked_and_the_walked_are_one(tmp_path: Path) -> None:
    """What the walk of TorchScript gives is what torch gives, in place of `torch.jit.load` of a stranger's file."""
    network = Small().eval()
    x = torch.from_numpy(image((1, 64, 96)))[None]
    package = Variant("base").write(tmp_path)
    (package / "weights.pt").write_bytes(traced(network, x.numpy()))
    description = yaml.safe_load((package / "rdf.yaml").read_text("utf-8"))
    description["weights"]["torchscript"].pop("sha256")
    (package / "rdf.yaml").write_text(yaml.safe_dump(description), "utf-8")
    with torch.no_grad():
        assert torch.allclose(read_foreign_network(package).network(x), network(x), atol=1e-6)

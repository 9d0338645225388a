"""The Python process behind Fiji, spoken to as Fiji does, without Java."""

from __future__ import annotations

import base64
import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import appose
import numpy as np
import pytest
from appose.service import Service, TaskException

import fijis
import mikata
from conftest import missing
from labelled import write_folders
from mikata import images
from mikata.imagej import scripts, wire, worker
from packages import write_package

SCRIPT = "from mikata.imagej.worker import answer\nanswer(task, request, pixels)"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    made = start(tmp_path_factory.mktemp("elsewhere"))
    yield made
    end(made)


def end(service: Service) -> None:
    """End it, and close the pipes that Appose's Python client leaves open."""
    service.close()
    service.wait_for()
    time.sleep(0.3)  # the client's threads read to the end
    for pipe in (service._process.stdin, service._process.stdout, service._process.stderr):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()


def start(folder: Path) -> Service:
    # a module of this name in the folder where Fiji runs must not be taken
    (folder / "numpy.py").write_text("raise SystemExit('the wrong NumPy')")
    service = Service(folder, None, sys.executable, "-P", "-X", "utf8", "-m", "mikata.imagej.worker")
    return service.start()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_package(tmp_path_factory.mktemp("モデル") / "model")


def ask(
    service: Service, *, pixels: Any = None, seen: list[Any] | None = None, **request: Any
) -> dict[str, Any]:
    basis = {
        "menu": scripts.fingerprint(),
        "language": "en",
        "options": None,
        "given": {},
        "variables": {},
        "image": None,
    }
    task = service.task(SCRIPT, {"request": basis | request, "pixels": pixels})
    if seen is not None:
        task.listen(seen.append)
    task.start()
    task.wait_for()
    return dict(task.outputs)


def facts(array: np.ndarray, **changes: Any) -> dict[str, Any]:
    grey = base64.b64encode(wire.GREY.tobytes()).decode()
    calibration = {
        "width": 1.0, "height": 1.0, "depth": 1.0, "x_unit": "pixel", "y_unit": "pixel", "z_unit": "pixel",
        "frame_interval": 0.0, "time_unit": "sec", "function": 20, "coefficients": None,
        "value_unit": "Gray Value", "zero_clip": False,
    }  # fmt: skip
    return {
        "title": "写真", "type": 0, "colour": False, "indexed": False, "bit_depth": 8, "channels": 1,
        "slices": len(array), "frames": 1, "info": None, "labels": [""] * len(array), "file": None,
        "composite": False, "mode": 0, "luts": [grey], "ranges": [[0.0, 255.0]], "overlay": None, "roi": None,
        "calibration": calibration,
    } | changes  # fmt: skip


def shared(array: np.ndarray) -> appose.NDArray:
    made = appose.NDArray(array.dtype.name, list(array.shape))
    made.ndarray()[...] = array
    return made


def received(sent: dict[str, Any]) -> np.ndarray:
    """What Fiji does with pixels: read and delete them."""
    memory = appose.SharedMemory(name=sent["name"], create=False, rsize=sent["shape"][0] * sent["bytes"])
    array = np.ndarray(sent["shape"], sent["dtype"], memory.buf).copy()
    memory.close()
    memory.unlink()
    return array


def test_a_ping_is_quick(service: Service) -> None:
    process = ask(service, do="ping")["answer"]["process"]
    assert process != os.getpid()
    assert ask(service, do="ping")["answer"]["process"] == process


def test_the_answer_is_that_of_the_function(service: Service, model: Path) -> None:
    rng = np.random.default_rng(1)
    array = rng.integers(0, 255, (2, 50, 60), np.uint8)
    seen: list[Any] = []
    with shared(array) as pixels:
        said = ask(
            service, do="run", command="grad_cam", options=f"model=[{model}] target=all", image=facts(array),
            pixels=pixels, seen=seen,
        )["answer"]  # fmt: skip
    image = images.from_array(array, "ZYX").replace(title="写真")
    direct = mikata.grad_cam(image, model=model, target="all")
    assert said["message"] == direct.message
    assert [row["rows"] for row in said["tables"]] == [
        [[c if isinstance(c, str) or c is None else float(c) for c in row] for row in table.rows]
        for table in direct.tables
    ]
    (heat,) = said["images"]
    assert np.array_equal(
        received(heat["pixels"]).reshape(direct.images[0].array.shape), direct.images[0].array
    )
    assert direct.overlay is not None
    assert [base64.b64decode(one["data"]) for one in said["overlay"]] == [one.data for one in direct.overlay]
    assert any(event.message and event.maximum for event in seen)
    assert ask(service, do="read", names=[heat["pixels"]["name"]])["answer"] == {}
    assert fijis.left_in_shared_memory() == []


def test_colour_comes_packed(service: Service, tmp_path: Path) -> None:
    model = write_package(tmp_path / "colour", channels=3)
    rgb = np.random.default_rng(2).integers(0, 255, (1, 40, 48, 3), np.uint8)
    packed = np.stack([wire.to_packed_rgb(plane) for plane in rgb])
    with shared(packed) as pixels:
        said = ask(
            service, do="run", command="predict", options=f"model={model}", pixels=pixels,
            image=facts(packed, type=4, colour=True, bit_depth=24, luts=[]),
        )["answer"]  # fmt: skip
    direct = mikata.predict(images.from_array(rgb[0], "YXS").replace(title="写真"), model=model)
    assert [c for c in said["tables"][0]["rows"][0] if isinstance(c, str)] == [
        "写真",
        direct.tables[0].rows[0][3],
    ]
    assert said["tables"][0]["rows"][0][4:] == list(direct.tables[0].rows[0][4:])


@pytest.mark.parametrize(
    ("request_", "kind", "words"),
    [
        ({"options": "model=[MODEL]"}, "user", "Predict Images: there is no image open"),
        ({"options": "model=[MODEL] images=nowhere"}, "parameter", "does not exist"),
        ({"options": "modle=x"}, "parameter", "did you mean 'model'?"),
        ({"options": "model=&where"}, "parameter", "The macro has no variable 'where'"),
        ({"given": {"batch": "x", "model": "MODEL"}}, "parameter", "batch is 'x'"),
        ({"menu": "0.0-x"}, "user", "out of step"),
    ],
)
def test_errors_are_told(
    service: Service, model: Path, request_: dict[str, Any], kind: str, words: str
) -> None:
    def filled(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: filled(v) for k, v in value.items()}
        return value.replace("MODEL", str(model)) if isinstance(value, str) else value

    said = ask(service, do="run", command="predict", **filled(request_))
    assert said["kind"] == kind, said
    assert words in said["error"]
    assert said["trace"] == ""
    assert not said["broken"]
    assert ask(service, do="ping")["answer"]


def test_japanese(service: Service) -> None:
    said = ask(service, do="run", command="predict", options="", language="ja")
    assert "Predict Images" in said["error"]
    assert said["error"].isascii() is False


def test_a_macro_file_read_as_latin_1(service: Service, model: Path) -> None:
    """ImageJ reads `-macro` files byte by byte; names in Japanese arrive broken, and are mended."""
    broken = f"model=[{model}] images=[/無い/写真.tif]".encode().decode("latin-1")
    said = ask(service, do="run", command="predict", options=broken)
    assert "/無い/写真.tif" in said["error"]


def test_a_dialog_is_checked(service: Service, model: Path) -> None:
    typed = {"model": str(model), "batch": "16", "subfolders": True, "overwrite": False}
    said = ask(service, do="check", command="predict", given=typed)
    assert said["answer"]["options"] == f"model={model} subfolders"
    said = ask(service, do="check", command="predict", given=typed | {"batch": "0"})
    assert said["kind"] == "parameter"


def test_a_patient_is_forgotten(service: Service, model: Path) -> None:
    array = np.zeros((1, 40, 40), np.uint8) + np.arange(40, dtype=np.uint8)
    header = "0010,0010  Patient's Name: YAMADA^TARO\n0028,0100  Bits Allocated: 8\n"
    for keep, expected in (("", ""), (" keep_metadata", None)):
        with shared(array) as pixels:
            said = ask(
                service, do="run", command="grad_cam", options=f"model=[{model}] result=overlay{keep}",
                pixels=pixels, image=facts(array, info=header, labels=[header]),
            )  # fmt: skip
        assert said["answer"]["overlay"]
        if expected is None:
            assert "forgotten" not in said
        else:
            assert "YAMADA" not in str(said["forgotten"])
            assert said["forgotten"]["labels"] == [""]


def test_numbers_that_json_does_not_know() -> None:
    from mikata.types import Plot, Result, Table

    table = Table("t", ("a", "b", "c"), ((float("nan"), float("-inf"), True), (None, "x", np.float32(0.5))))
    plot = Plot("p", "x", "y", (("s", (0.0,), (float("inf"),)),))
    sent = wire.outcome(Result("", tables=(table,), plots=(plot,)), lambda planes: planes)
    assert sent["tables"][0]["rows"] == [[{"number": "NaN"}, {"number": "-Infinity"}, 1.0], [None, "x", 0.5]]
    assert sent["plots"][0]["series"][0]["y"] == [{"number": "Infinity"}]


def test_what_libraries_print_does_not_disturb(service: Service) -> None:
    """Words on either output, whole lines or not, from Python or from C, between the answers."""
    noise = (
        "import os, sys\n"
        "print('half a line', end='')\n"
        "print('{not ours}')\n"
        "os.write(1, b'from C, without an end')\n"
        "sys.stdout.write('more')\n"
    )
    task = service.task(noise + SCRIPT, {"request": {"do": "ping"}, "pixels": None})
    task.start()
    task.wait_for()
    assert task.outputs["answer"]["process"]
    assert not service.invalid_lines()


def test_cancelled_between_steps(tmp_path: Path, model: Path) -> None:
    service = start(tmp_path)
    data = write_folders(tmp_path / "data")
    task = service.task(
        SCRIPT,
        {
            "request": {
                "do": "run", "command": "train", "menu": scripts.fingerprint(), "language": "en", "variables": {},
                "options": f"data=[{data}] out=[{tmp_path / 'out'}] epochs=2000", "given": {}, "image": None,
            },
            "pixels": None,
        },
    )  # fmt: skip
    seen: list[Any] = []
    task.listen(seen.append)
    task.start()
    wait(lambda: any((e.message or "").startswith("Epoch 3") for e in seen), 120)
    asked = time.monotonic()
    task.cancel()
    wait(lambda: any((e.info or {}).get("stopping") for e in seen), 2)
    assert time.monotonic() - asked < 2
    task.wait_for()
    answer = task.outputs["answer"]
    assert answer["stopped"]
    assert (tmp_path / "out" / "rdf.yaml").is_file()
    end(service)


def test_it_ends_with_fiji(tmp_path: Path) -> None:
    """The pipe closes, whatever is going on: the training stops, its checkpoint stays, no process is left."""
    data = write_folders(tmp_path / "data")
    service = start(tmp_path)
    process = ask(service, do="ping")["answer"]["process"]
    task = service.task(
        SCRIPT,
        {
            "request": {
                "do": "run", "command": "train", "menu": scripts.fingerprint(), "language": "en", "variables": {},
                "options": f"data=[{data}] out=[{tmp_path / 'out'}] epochs=2000", "given": {}, "image": None,
            },
            "pixels": None,
        },
    )  # fmt: skip
    task.start()
    wait(lambda: (tmp_path / "out training").is_dir() and any((tmp_path / "out training").iterdir()), 120)
    service.close()
    wait(lambda: not Path(f"/proc/{process}").exists(), 40)
    end(service)
    assert (tmp_path / "out" / "rdf.yaml").is_file() or any((tmp_path / "out training").iterdir())


def test_a_killed_process_is_told(tmp_path: Path) -> None:
    service = start(tmp_path)
    process = ask(service, do="ping")["answer"]["process"]
    threading.Timer(0.3, os.kill, (process, signal.SIGKILL)).start()
    task = service.task("import time\ntime.sleep(60)", {})
    task.start()
    with pytest.raises(TaskException):
        task.wait_for()
    assert service.wait_for() == -signal.SIGKILL
    end(service)


def test_nothing_heavy_before_it_is_needed() -> None:
    code = "import sys, mikata.imagej.worker; print([m for m in ('torch', 'jpype', 'numpy') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def wait(condition: Any, seconds: float) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it did not come"
        time.sleep(0.02)


def test_commands_share_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """A heap for each of many threads would fill the memory (measured in Fiji: test_memory_stays)."""
    seen: list[int] = []

    def run(*_: Any) -> dict[str, Any]:
        seen.append(threading.get_ident())
        return {}

    monkeypatch.setitem(worker._DO, "run", run)
    task: Any = object()
    threads = [
        threading.Thread(target=worker.answer, args=(task, {"do": "run", "language": "en"})) for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) == 6
    assert len(set(seen)) == 1


def test_requests_may_come_while_old_ones_are_forgotten() -> None:
    tasks = worker._Tasks()
    tasks["one"] = tasks["two"] = None  # type: ignore[assignment]
    for name, _ in tasks.items():
        tasks[f"{name} more"] = None  # type: ignore[assignment]
    assert len(tasks) == 4


@pytest.mark.slow
@pytest.mark.alone
def test_memory_stays(service: Service, model: Path) -> None:
    """Fiji says that it has read the result while the next request is on its way."""
    if not sys.platform.startswith("linux"):
        missing("resident memory is read from /proc")
    process = ask(service, do="ping")["answer"]["process"]
    array = np.random.default_rng(0).integers(0, 255, (1, 512, 512), np.uint8)
    resident = []
    for number in range(1, 101):
        with shared(array) as pixels:
            said = ask(
                service, do="run", command="grad_cam", options=f"model=[{model}]", image=facts(array), pixels=pixels
            )["answer"]  # fmt: skip
        (heat,) = said["images"]
        received(heat["pixels"])
        request = {"do": "read", "names": [heat["pixels"]["name"]]}
        service.task(SCRIPT, {"request": request, "pixels": None}).start()
        if number % 20 == 0:
            time.sleep(0.5)
            status = Path(f"/proc/{process}/status").read_text(encoding="utf-8")
            resident.append(int(re.search(r"VmRSS:\s+(\d+)", status)[1]) >> 10)  # type: ignore[index]
    print("resident memory in MB:", resident)
    assert max(resident) - min(resident) < 40

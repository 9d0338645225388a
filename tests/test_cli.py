"""The command line says the same as every other door, and answers --help at once."""

from __future__ import annotations

import subprocess
import sys

import pytest

from mikata import app
from mikata.commands import COMMANDS


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "mikata", *words],
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )


@pytest.mark.parametrize("item", COMMANDS, ids=lambda item: item.cli_name)
def test_help_names_every_parameter(item, capsys: pytest.CaptureFixture[str]) -> None:
    assert app.main([item.cli_name, "--help"]) == 0
    shown = capsys.readouterr().out
    for parameter in item.parameters:
        name = parameter.name.upper() if parameter.positional else f"--{parameter.name.replace('_', '-')}"
        assert name in shown
    assert "not for diagnosis" in " ".join(shown.replace("│", " ").split())


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["grad-cam", "nowhere.tif", "--model", "."], 1, "Grad-CAM Heat Map: images is 'nowhere.tif', which does not exist."),
        (["grad-cam", ".", "--model", ".", "--opacity-percent", "500"], 1, "opacity_percent is 500; it must be from 0 to 100."),
        (["predict", ".", "--model", "no package"], 1, "model is 'no package', which does not exist."),
        (["grad-cam", ".", "--opacty-percent", "5"], 2, "Unknown option"),
        (["predict"], 2, "requires an argument"),
        (["train", ".", "--out", "x", "--epochs", "many"], 1, "epochs is 'many'; it must be a whole number"),
        (["macro", "nowhere.ijm"], 1, "There is no file nowhere.ijm."),
    ],
)  # fmt: skip
def test_errors_are_one_sentence(
    words: list[str], code: int, message: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert app.main(words) == code
    out, err = capfd.readouterr()
    assert message in " ".join((out + err).replace("│", " ").split())
    assert "Traceback" not in out + err


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys, mikata.app\n"
        "mikata.app.main(['--help'])\n"
        "heavy = {'numpy', 'torch', 'jpype', 'scyjava', 'imagej', 'pandas', 'matplotlib', 'lightning'}\n"
        "sys.exit(', '.join(sorted(heavy & set(sys.modules))) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_version_and_module_form() -> None:
    done = run("--version")
    assert done.returncode == 0
    assert done.stdout.strip()

"""Installs Mikata from this folder, without a network: into a virtual environment, and nothing anywhere else.

Usage: install.py [FOLDER]

FOLDER is made for the virtual environment; without it, the folder mikata in the user's own folder. This file needs
nothing but Python, and says everything in English and Japanese.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
SYSTEMS = {
    "windows": ("win32", ("amd64",)),
    "linux": ("linux", ("x86_64", "amd64")),
    "macos-arm": ("darwin", ("arm64",)),
}
NO_OTHERS = ("wheels", "jars")
"""Folders in which a file that is in no list could be installed."""

LIBRARIES = ("msvcp140.dll", "vcruntime140_1.dll", "vcruntime140_threads.dll", "vcomp140.dll")

COPY_JARS = """
import os, pathlib, shutil, sys
from mikata.imagej import java
os.environ.pop(java.JARS_VARIABLE, None)
cache = java.cache_folder()
cache.mkdir(parents=True, exist_ok=True)
for jar in java.JARS:
    aside = cache / (jar.name + ".copy")
    shutil.copyfile(pathlib.Path(sys.argv[1]) / jar.name, aside)
    try:
        aside.replace(cache / jar.name)
    except OSError:  # Windows, while an ImageJ runs with it: checked below
        aside.unlink()
java.jars()
print(cache)
"""


class Problem(Exception):
    """A sentence in English and one in Japanese."""


def tell(english: str, japanese: str) -> None:
    """Print both."""
    print(english)
    print(japanese, flush=True)


def check_machine(about: dict[str, str]) -> None:
    """Raise `Problem` where the wheels are for another Python or system."""
    here = f"{sys.version_info[0]}.{sys.version_info[1]}"
    if here != about["python"]:
        raise Problem(
            f"These wheels are for Python {about['python']}; this is Python {here}.",
            f"この wheel は Python {about['python']} 用です。実行している Python は {here} です。",
        )
    name, machines = SYSTEMS[about["system"]]
    found = f"{sys.platform} {platform.machine()}"
    if sys.platform != name or platform.machine().lower() not in machines or sys.maxsize < 2**32:
        raise Problem(
            f"These wheels are for {about['system']}, 64-bit; this Python is for {found}.",
            f"この wheel は {about['system']}（64 ビット）用です。実行している Python は {found} 用です。",
        )


def check_files() -> None:
    """Raise `Problem` where a file is missing, changed or too many."""
    listed = {}
    for line in (HERE / "SHA256SUMS").read_text(encoding="utf-8").splitlines():
        digest, _, name = line.partition("  ")
        listed[name] = digest
    for name, digest in listed.items():
        path = HERE / name
        if not path.is_file():
            raise Problem(
                f"{name} is missing. Copy the whole folder again.",
                f"{name} がありません。フォルダ全体をもう一度コピーしてください。",
            )
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != digest:
            raise Problem(
                f"{name} is damaged or was changed (its SHA-256 differs). Copy the whole folder again.",
                f"{name} が壊れているか変更されています（SHA-256 が違います）。"
                "フォルダ全体をもう一度コピーしてください。",
            )
    for folder in NO_OTHERS:
        for path in (HERE / folder).iterdir():
            if f"{folder}/{path.name}" not in listed:
                raise Problem(
                    f"{folder}/{path.name} does not belong there. Delete it, or copy the whole folder again.",
                    f"{folder}/{path.name} はここにあるべきファイルではありません。"
                    "削除するか、フォルダ全体をもう一度コピーしてください。",
                )


def run(words: list[str], english: str, japanese: str) -> str:
    """Run a program and return the last line that it printed; raise `Problem` with these words if it fails."""
    env = {
        name: value for name, value in os.environ.items() if not name.upper().startswith(("PIP_", "PYTHON"))
    }
    env["PIP_CONFIG_FILE"] = os.devnull  # no index or folder of wheels but ours
    done = subprocess.run(  # noqa: S603 this Python, or the one just made
        words, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
        encoding="utf-8", errors="replace",
    )  # fmt: skip
    if done.returncode:
        raise Problem(f"{done.stdout.strip()}\n{english}", japanese)
    return (done.stdout.strip().splitlines() or [""])[-1]


def install(folder: Path, version: str) -> None:
    """Make the virtual environment and install into it."""
    tell(f"Making the virtual environment {folder} ...", f"仮想環境 {folder} を作成しています ...")
    run(
        [sys.executable, "-I", "-X", "utf8", "-m", "venv", str(folder)],
        "The virtual environment could not be made. On Debian and Ubuntu the package python3-venv is needed.",
        "仮想環境を作成できませんでした。Debian と Ubuntu では python3-venv パッケージが必要です。",
    )
    python = programs(folder) / ("python.exe" if os.name == "nt" else "python")
    inside = [str(python), "-I", "-X", "utf8"]
    tell("Installing; this takes some minutes ...", "インストールしています。数分かかります ...")
    run(
        [
            *inside, "-m", "pip", "install", "--no-index", "--no-cache-dir", "--disable-pip-version-check",
            "--find-links", str(HERE / "wheels"), f"mikata=={version}",
        ],
        "The wheels could not be installed.",
        "wheel をインストールできませんでした。",
    )  # fmt: skip
    cache = run(
        [*inside, "-c", COPY_JARS, str(HERE / "jars")],
        "ImageJ could not be copied to Mikata's folder.",
        "ImageJ を Mikata のフォルダにコピーできませんでした。",
    )
    tell(f"ImageJ is in {cache}", f"ImageJ の場所: {cache}")


def programs(folder: Path) -> Path:
    """Where a virtual environment has its programs."""
    return folder / ("Scripts" if os.name == "nt" else "bin")


def missing_libraries() -> list[str]:
    """Microsoft's C++ libraries that Windows does not find."""
    missing = []
    for name in LIBRARIES if os.name == "nt" else ():
        try:
            ctypes.CDLL(name)
        except OSError:
            missing.append(name)
    return missing


def main() -> int:
    """Install; 0 when all went well."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="replace")  # type: ignore[union-attr]
    sys.dont_write_bytecode = True
    chosen = Path(sys.argv[1]).expanduser() if len(sys.argv) > 1 else Path.home() / "mikata"
    folder = chosen.absolute()
    made = False
    try:
        about = json.loads((HERE / "wheelhouse.json").read_text(encoding="utf-8"))
        check_machine(about)
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise Problem(
                f"{folder} is already there. Delete it first, or give another folder: install FOLDER",
                f"{folder} はすでにあります。先に削除するか、別のフォルダを指定してください: install フォルダ",
            )
        tell("Checking the files ...", "ファイルを確認しています ...")
        check_files()
        made = True
        install(folder, about["mikata"])
    except (Problem, OSError, KeyboardInterrupt) as problem:
        if made:
            shutil.rmtree(folder, ignore_errors=True)
        lines = problem.args if isinstance(problem, Problem) else (f"{type(problem).__name__}: {problem}",)
        print(*lines, sep="\n", file=sys.stderr)
        print("Not installed. インストールされませんでした。", file=sys.stderr)
        return 1
    mikata = programs(folder) / "mikata"
    tell(f'Done. Start ImageJ with: "{mikata}" imagej', f'完了しました。ImageJ の起動: "{mikata}" imagej')
    if missing := missing_libraries():
        tell(
            f"But Windows lacks {', '.join(missing)}, which PyTorch loads: let an administrator install "
            "Microsoft's Visual C++ Redistributable (vc_redist.x64.exe), in its newest version.",
            f"ただし、PyTorch が使う {', '.join(missing)} が Windows にありません。管理者に Microsoft Visual C++ "
            "再頒布可能パッケージ (vc_redist.x64.exe) の最新版のインストールを依頼してください。",
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())

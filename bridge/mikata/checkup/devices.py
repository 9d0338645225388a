"""On which device work will run, and why: a judgement of facts, which asks the machine nothing."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from mikata.checkup.facts import Facts, Gpu
from mikata.checkup.rows import Row, State
from mikata.checkup.wheels import PAGE, Version, choose, covers, cuda_of_driver, oldest_driver
from mikata.language import joined, say

_DRIVER_PAGE = "https://www.nvidia.com/drivers"


@dataclass(frozen=True)
class Verdict:
    """Where work will run.

    Attributes
    ----------
    device:
        As `mikata.prediction.device` chooses it; empty where there is no torch.
    where, why, todo:
        Sentences; the last two are empty where there is nothing to say.
    state:
        ``problem`` if there is a GPU that is not used or not usable, ``note`` if there is none.
    """

    device: Literal["cuda", "cpu", ""]
    where: str
    why: str = ""
    todo: str = ""
    state: State = "ok"

    @property
    def message(self) -> str:
        """All of it, for the console."""
        return joined((self.where, self.why, self.todo))

    def row(self) -> Row:
        """The first line of the table."""
        result = joined((self.where, self.why))
        return Row(say("Device"), result, self.state, self.todo)


def judge(facts: Facts) -> Verdict:
    """The verdict on these facts."""
    torch = facts.torch
    if torch.error:
        return Verdict(
            "",
            say("Nothing can run."),
            say("torch cannot be loaded: {words}.", words=torch.error.rstrip(".")),
            _repair(facts),
            "problem",
        )
    if torch.available:
        return _seen(facts)
    if torch.mps:
        return Verdict(
            "cpu",
            say("Train Network will run on the Apple GPU (MPS), everything else on the CPU."),
            say("Mikata predicts and explains on NVIDIA's and AMD's GPUs, or on the CPU."),
            state="note",
        )
    if torch.hip:
        return _on_cpu(
            say(
                "This torch ({version}) is built for AMD's ROCm {hip} and sees no AMD GPU.",
                version=torch.version,
                hip=torch.hip,
            ),
            say("Install AMD's ROCm driver, and see that you belong to the groups render and video."),
            "problem",
        )
    return _unseen(facts)


def _seen(facts: Facts) -> Verdict:
    """Where torch sees a GPU, which Mikata then takes."""
    torch = facts.torch
    name = torch.gpu.name if torch.gpu else "cuda:0"
    if not torch.failure:
        if torch.hip:
            where = say("Work will run on the AMD GPU {name}, which torch calls cuda.", name=name)
        else:
            where = say("Work will run on the GPU {name}.", name=name)
        return Verdict("cuda", where)
    where = say("Work is sent to the GPU {name}, and will fail there.", name=name)
    capability = torch.gpu.capability if torch.gpu else None
    if torch.hip or not torch.architectures or not capability or covers(capability, torch.architectures):
        return Verdict(
            "cuda",
            where,
            say("torch sees the GPU, but a small computation on it fails: {words}.", words=torch.failure),
            say(
                "Close other programs that use the GPU, restart the computer, and update the GPU's driver. Until "
                "then, the environment variable CUDA_VISIBLE_DEVICES=-1 makes Mikata work on the CPU."
            ),
            "problem",
        )
    return Verdict("cuda", where, _misfit(facts, capability), _install(facts, [capability]), "problem")


def _misfit(facts: Facts, capability: Version) -> str:
    """Why this build holds no code for the GPU."""
    torch = facts.torch
    codes = [(int(m[1]), int(m[2])) for m in re.finditer(r"_(\d+)(\d)", " ".join(torch.architectures))]
    values = {
        "name": torch.gpu.name if torch.gpu else "",
        "capability": _dotted(capability),
        "version": torch.version,
        "built": ", ".join(torch.architectures),
    }
    if capability > max(codes):
        return say(
            "The GPU {name} (compute capability {capability}) is too new for this torch ({version}), which is built "
            "for {built}.",
            **values,
        )
    if capability < min(codes):
        return say(
            "The GPU {name} (compute capability {capability}) is too old for this torch ({version}), which is built "
            "for {built}.",
            **values,
        )
    return say(
        "This torch ({version}) is built for {built}, but not for the GPU {name} (compute capability {capability}).",
        **values,
    )


def _unseen(facts: Facts) -> Verdict:
    """Where a torch for NVIDIA's GPUs, or for none, sees no GPU."""
    torch, driver = facts.torch, facts.driver
    if not torch.cuda and driver.gpus:
        return _on_cpu(
            say(
                "There is an NVIDIA GPU ({name}), but this torch ({version}) is built without CUDA, as pip installs it "
                "on Windows.",
                name=driver.gpus[0].name,
                version=torch.version,
            )
            if facts.system == "Windows"
            else say(
                "There is an NVIDIA GPU ({name}), but this torch ({version}) is built without CUDA.",
                name=driver.gpus[0].name,
                version=torch.version,
            ),
            _install(facts, _capabilities(facts)),
            "problem",
        )
    if driver.error:
        return _on_cpu(
            say("NVIDIA's driver does not answer: {words}.", words=driver.error.rstrip(".")),
            say(
                "Restart the computer; if that does not help, install the NVIDIA driver again ({page}).",
                page=_DRIVER_PAGE,
            ),
            "problem",
        )
    if not driver.found and (not torch.refusal or "no NVIDIA driver" in torch.refusal):
        return _no_driver(facts)
    if driver.found and not driver.gpus:
        return _on_cpu(say("NVIDIA's driver finds no GPU."), _see_the_gpu(), "problem")
    if _too_old(facts):
        return _old_driver(facts)
    if _hidden(facts):
        return _on_cpu(
            say(
                "The environment variable CUDA_VISIBLE_DEVICES is '{value}', which hides the GPU from torch.",
                value=facts.visible,
            ),
            say(
                "Take it away (in PowerShell: Remove-Item Env:CUDA_VISIBLE_DEVICES; elsewhere: unset "
                "CUDA_VISIBLE_DEVICES), also from where it is set for good, and start Mikata again."
            ),
            "problem",
        )
    return _on_cpu(
        say("The driver is there, but torch sees no GPU: {words}.", words=torch.refusal.rstrip(".") or "-"),
        _see_the_gpu(),
        "problem",
    )


def _no_driver(facts: Facts) -> Verdict:
    if facts.nvidia_card:
        return _on_cpu(
            say("There is an NVIDIA GPU, but its driver was not found (nvidia-smi)."),
            say(
                "Install the NVIDIA driver ({page}) and restart the computer; a container must be started with "
                "--gpus all.",
                page=_DRIVER_PAGE,
            ),
            "problem",
        )
    if facts.amd_driver:
        return _on_cpu(
            say(
                "There is an AMD GPU, but this torch ({version}) is not built for AMD's ROCm.",
                version=facts.torch.version,
            ),
            say(
                "Choose a ROCm build for Linux on {page}; torch calls its GPU cuda, and Mikata uses it.",
                page=PAGE,
            ),
            "problem",
        )
    return _on_cpu(
        say("No NVIDIA GPU or driver was found (there is no nvidia-smi)."),
        say(
            "If this computer has an NVIDIA GPU, install its driver ({page}); if not, all is well, only slower.",
            page=_DRIVER_PAGE,
        ),
        "note",
    )


def _old_driver(facts: Facts) -> Verdict:
    cuda = facts.torch.cuda
    needed = oldest_driver(int(cuda.partition(".")[0]))
    found = facts.driver.version
    if needed and found:
        why = say(
            "The NVIDIA driver {found} is too old for this torch ({version}, CUDA {cuda}), which needs {needed} or newer.",
            found=found,
            version=facts.torch.version,
            cuda=cuda,
            needed=needed,
        )
    else:
        why = say(
            "The NVIDIA driver is too old for this torch ({version}, CUDA {cuda}): {words}.",
            version=facts.torch.version,
            cuda=cuda,
            words=facts.torch.refusal.rstrip(".") or "-",
        )
    capabilities = _capabilities(facts)
    command = _command(facts, capabilities)
    if command and not all(covers(c, facts.torch.architectures) for c in capabilities):
        return _on_cpu(why, _type(facts, command), "problem")  # no driver would help this GPU with this torch
    todo = say("Update the NVIDIA driver ({page}) and restart the computer.", page=_DRIVER_PAGE)
    if command:
        todo += " " + say("If the driver is to stay:") + " " + _type(facts, command)
    return _on_cpu(why, todo, "problem")


def _on_cpu(why: str, todo: str, state: State) -> Verdict:
    return Verdict("cpu", say("Work will run on the CPU."), why, todo, state)


def _see_the_gpu() -> str:
    return say(
        "Restart the computer and update the NVIDIA driver ({page}); a container must be started with --gpus all.",
        page=_DRIVER_PAGE,
    )


def _driver_cuda(facts: Facts) -> Version | None:
    """The newest CUDA that the driver supports, by whoever says it."""
    found = re.search(r"found version (\d+)", facts.torch.refusal)  # CUDA 12.4 as 12040
    said = (int(found[1]) // 1000, int(found[1]) % 1000 // 10) if found else None
    return facts.driver.cuda or said or cuda_of_driver(facts.driver.version)


def _too_old(facts: Facts) -> bool:
    if not facts.torch.cuda:
        return False
    supported = _driver_cuda(facts)
    if supported is None:
        return "driver" in facts.torch.refusal and "too old" in facts.torch.refusal
    return supported[0] < int(facts.torch.cuda.partition(".")[0])


def _hidden(facts: Facts) -> bool:
    """Whether the first entry of CUDA_VISIBLE_DEVICES, where CUDA stops reading if it fits no GPU, names none."""
    if facts.visible is None:
        return False
    first = facts.visible.partition(",")[0].strip()
    return not (first.isascii() and first.isdecimal() and int(first) < len(facts.driver.gpus))


def _capabilities(facts: Facts) -> list[Version]:
    """Of all GPUs; none if one of them is not known."""
    known = [gpu.capability for gpu in facts.driver.gpus if gpu.capability]
    return known if len(known) == len(facts.driver.gpus) else []


def _command(facts: Facts, capabilities: list[Version]) -> str:
    """What to type for a build that suits driver and GPU, or nothing where that is not known."""
    platform = facts.system, facts.machine
    wheel = choose(facts.torch.version, facts.torch.vision, _driver_cuda(facts), capabilities, platform)
    return wheel.command(facts.executable, pip=facts.pip) if wheel else ""


def _install(facts: Facts, capabilities: list[Version]) -> str:
    if command := _command(facts, capabilities):
        return _type(facts, command)
    return say(
        "Choose a build of torch {version} for your GPU and driver on {page}; update the driver first if it is old.",
        version=facts.torch.version.partition("+")[0],
        page=PAGE,
    )


def _type(facts: Facts, command: str) -> str:
    text = say("Type: {command}", command=command)
    if facts.system == "Windows" and command.startswith('"'):
        text += " " + say("(In PowerShell with & and a space before it.)")
    return text


def _repair(facts: Facts) -> str:
    if not facts.torch.version:
        return say("Install Mikata again with pip, in a new virtual environment.")
    if facts.system == "Windows":
        return say(
            "Install Microsoft's Visual C++ Redistributable, which torch needs on Windows; if that does not help, "
            "install Mikata again in a new virtual environment."
        )
    return say("Install Mikata again with pip, in a new virtual environment.")


def device_rows(facts: Facts) -> list[Row]:
    """What was found of torch, driver and GPUs, line by line."""
    torch, driver = facts.torch, facts.driver
    if torch.error:
        rows = [Row("torch", torch.version or say("not installed"), "problem")]
    elif torch.hip:
        rows = [Row("torch", say("{version}, built for ROCm {hip}", version=torch.version, hip=torch.hip))]
    elif torch.cuda:
        built = say(
            "{version}, built for CUDA {cuda} ({built})",
            version=torch.version,
            cuda=torch.cuda,
            built=", ".join(torch.architectures),
        )
        rows = [Row("torch", built)]
    else:
        rows = [Row("torch", say("{version}, built without CUDA", version=torch.version))]
    rows.append(_driver_row(facts))
    gpus = driver.gpus or ((torch.gpu,) if torch.gpu else ())
    rows += [Row(say("GPU"), _described(gpu)) for gpu in gpus]
    if torch.mps:
        rows.append(Row(say("GPU"), say("Apple GPU (MPS): only Train Network uses it"), "note"))
    if facts.amd_driver and not torch.hip:
        rows.append(Row(say("GPU"), say("AMD GPU: used by a ROCm build of torch only"), "note"))
    if facts.visible is not None:
        rows.append(Row("CUDA_VISIBLE_DEVICES", f"'{facts.visible}'", "note"))
    return rows


def _driver_row(facts: Facts) -> Row:
    driver = facts.driver
    check = say("NVIDIA driver")
    if not driver.found:
        return Row(check, say("not found"), "problem" if facts.nvidia_card else "note")
    if driver.error:
        return Row(check, driver.error, "problem")
    cuda = _driver_cuda(facts)
    text = driver.version or say("without a GPU")
    if cuda:
        text = say("{version}, supports CUDA {cuda}", version=text, cuda=_dotted(cuda))
    return Row(check, text)


def _described(gpu: Gpu) -> str:
    parts = [gpu.name]
    if gpu.memory_gb is not None:
        parts.append(say("{size:.1f} GB", size=gpu.memory_gb))
    if gpu.capability:
        parts.append(say("compute capability {capability}", capability=_dotted(gpu.capability)))
    return ", ".join(parts)


def _dotted(version: Version) -> str:
    return f"{version[0]}.{version[1]}"

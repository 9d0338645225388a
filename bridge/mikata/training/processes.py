"""The processes of one training: how many there are, on how many computers, and which one this is.

``torchrun`` or SLURM's ``srun`` starts them and says so in each one's environment; started in any other way, a
training has one process. All run the same program on the same data. The first one is the main process: it alone
shows progress and writes files.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from mikata.errors import TrainingError
from mikata.language import say


@dataclass(frozen=True)
class Processes:
    """Where this process stands among those of its training.

    Attributes
    ----------
    rank:
        Number of this one, from 0.
    count:
        How many there are.
    nodes:
        On how many computers, equally many on each.
    started_by:
        ``torchrun``, ``slurm`` or, where there is one process, ``hand``.
    """

    rank: int = 0
    count: int = 1
    nodes: int = 1
    started_by: Literal["hand", "torchrun", "slurm"] = "hand"

    @property
    def main(self) -> bool:
        """Whether this one shows progress and writes files."""
        return self.rank == 0

    def cluster(self) -> Any:
        """Lightning's word for who started the processes.

        It is always told, since lightning would take a batch job that started one process for a group whose
        others never come.
        """
        from lightning.fabric.plugins.environments.lightning import LightningEnvironment
        from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
        from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment

        if self.started_by == "torchrun":
            return TorchElasticEnvironment()
        if self.started_by == "slurm":
            return SLURMEnvironment(auto_requeue=False)
        return LightningEnvironment()


def processes(environment: Mapping[str, str] | None = None) -> Processes:
    """What the environment says of the processes.

    Raises
    ------
    TrainingError
        If the computers do not have equally many processes.
    """
    words = os.environ if environment is None else environment
    if "TORCHELASTIC_RUN_ID" in words:  # torchrun's own mark
        count, rank = int(words["WORLD_SIZE"]), int(words["RANK"])
        nodes = int(words.get("GROUP_WORLD_SIZE", 1))
        found = Processes(rank, count, nodes, "torchrun")
    elif int(words.get("SLURM_STEP_NUM_TASKS", 1)) > 1:  # within srun; a batch script alone has one process
        count, rank = int(words["SLURM_STEP_NUM_TASKS"]), int(words["SLURM_PROCID"])
        nodes = int(words.get("SLURM_STEP_NUM_NODES", words.get("SLURM_NNODES", 1)))
        found = Processes(rank, count, nodes, "slurm")
    else:
        return Processes()
    if found.count % found.nodes:
        raise TrainingError(
            say(
                "{processes} processes cannot be shared equally by {nodes} computers. Start equally many on each.",
                processes=found.count,
                nodes=found.nodes,
            )
        )
    return found if found.count > 1 else Processes()


def main_process() -> bool:
    """Whether this process is the one that shows progress and writes files; true where there is only one."""
    return processes().main

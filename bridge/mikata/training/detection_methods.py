"""How a network for detection was trained, as the paragraph that a methods section needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mikata.language import english, joined
from mikata.training.pixel_methods import Say, end, how_learnt, images, normalisation

if TYPE_CHECKING:
    from mikata.training.detection_run import DetectionRun


def paragraph(run: DetectionRun, say: Say = english) -> str:
    """Everything that a reader needs to judge and to repeat a training, in sentences.

    Parameters
    ----------
    say:
        `mikata.language.say` for the user's language; by default English, as packages have it.
    """
    loss = say("penalty-reduced focal loss of centres")
    if run.sized:
        loss = say("penalty-reduced focal loss of centres, and absolute error of the logarithm of sizes")
    how = how_learnt(run, loss, run.recipe.stage.detection, say)
    return joined([_network(run, say), images(run, say), how, end(run, say), *run.notes])


def _network(run: DetectionRun, say: Say) -> str:
    configuration = run.detector.configuration
    stage = run.recipe.stage
    made = say(
        "A {network} network for detection ({parameters:.2f} million parameters) was trained with Mikata {mikata} (PyTorch "
        "{torch}) on patches of {width} x {height} px of images with {channels} channel(s), normalised by mean / standard "
        "deviation {numbers} in {unit}; its start weights: {source}. It gives a heat map of centres for each class "
        "({classes}).",
        network=configuration["network"],
        parameters=sum(p.numel() for p in run.detector.parameters()) / 1e6,
        mikata=run.versions["mikata"],
        torch=run.versions["torch"],
        width=stage.size[1],
        height=stage.size[0],
        channels=run.channels,
        numbers=normalisation(configuration),
        unit=run.value_unit,
        source=run.parent.get("name") or stage.source,
        classes=", ".join(run.classes),
    )
    if configuration["shrink"] == 1:
        return made
    smaller = say("Inside, it looks at the images {shrink} times smaller.", shrink=configuration["shrink"])
    return joined([made, smaller])

"""How a network for segmentation was trained, as the paragraph that a methods section needs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from mikata.datasets import PARTS
from mikata.language import duration, english, joined
from mikata.training.pixel_run import split_words

if TYPE_CHECKING:
    from mikata.training.detection_run import DetectionRun
    from mikata.training.segmented_run import SegmentationRun
    from mikata.training.stage import Detection, Segmentation

Say = Callable[..., str]


def paragraph(run: SegmentationRun, say: Say = english) -> str:
    """Everything that a reader needs to judge and to repeat a training, in sentences.

    Parameters
    ----------
    say:
        `mikata.language.say` for the user's language; by default English, as packages have it.
    """
    return joined([_network(run, say), images(run, say), _learning(run, say), end(run, say), *run.notes])


def _network(run: SegmentationRun, say: Say) -> str:
    configuration = run.segmenter.configuration
    stage = run.recipe.stage
    sentence = say(
        "A {network} network for segmentation ({parameters:.2f} million parameters) was trained with Mikata {mikata} "
        "(PyTorch {torch}) on patches of {width} x {height} px of images with {channels} channel(s) in their own scale, "
        "normalised by mean / standard deviation {numbers} in {unit}; its start weights: {source}.",
        network=configuration["network"],
        parameters=sum(p.numel() for p in run.segmenter.parameters()) / 1e6,
        mikata=run.versions["mikata"],
        torch=run.versions["torch"],
        width=stage.size[1],
        height=stage.size[0],
        channels=run.channels,
        numbers=normalisation(configuration),
        unit=run.value_unit,
        source=run.parent.get("name") or stage.source,
    )
    if configuration["shrink"] == 1:
        return sentence
    return joined(
        [
            sentence,
            say(
                "The network sees the images {factor} times smaller (means), and its scores are interpolated.",
                factor=configuration["shrink"],
            ),
        ]
    )


def normalisation(configuration: Mapping[str, Any]) -> str:
    """Mean and standard deviation of each channel."""
    pairs = zip(configuration["mean"], configuration["std"], strict=True)
    return ", ".join(f"{mean:.4g} / {std:.4g}" for mean, std in pairs)


def images(run: SegmentationRun | DetectionRun, say: Say) -> str:
    """How many images each part has."""
    counts = {name: len(run.parts[name]) for name in PARTS}
    return say(
        "{training} images trained it, {selection} chose the epoch, {test} were kept for the test (split {split}, seed "
        "{seed}).",
        **counts,
        split=split_words(run.dataset, say),
        seed=run.seed,
    )


def _learning(run: SegmentationRun, say: Say) -> str:
    stage = run.recipe.stage
    said = stage.segmentation
    losses = {
        "dice_ce": say("soft Dice and cross entropy"),
        "dice": say("soft Dice"),
        "cross_entropy": say("cross entropy"),
    }
    parting = {
        "none": say("Touching objects are not told apart."),
        "boundary": say("A class of its own, the boundary, tells touching objects apart."),
        "distance": say("A map of the distance to the border tells touching objects apart."),
    }
    how = how_learnt(run, losses[said.loss], said, say)
    return joined([how, parting[said.instances]])


def how_learnt(
    run: SegmentationRun | DetectionRun, loss: str, said: Segmentation | Detection, say: Say
) -> str:
    """Loss, patches, optimiser and augmentation."""
    stage = run.recipe.stage
    changes = [
        f"{key} {value:g}" if isinstance(value, float) else key
        for key, value in vars(stage.augmentation).items()
        if value and key != "fill"
    ]
    return say(
        "Loss: {loss}. {patches} random patches of each image an epoch, {share:.0%} of them at an object; optimiser "
        "{optimiser}, learning rate {rate:g} ({schedule}), batches of {batch}; augmentation: {augmentation}.",
        loss=loss,
        patches=said.patches,
        share=said.foreground,
        optimiser=stage.optimiser,
        rate=stage.learning_rate,
        schedule=stage.schedule,
        batch=stage.batch,
        augmentation=", ".join(changes) or say("none"),
    )


def end(run: SegmentationRun | DetectionRun, say: Say) -> str:
    """How long it was trained, and what was chosen."""
    ended = say(
        "It was trained for {epochs} of at most {most} epochs, and epoch {best} had the lowest loss on the selection images "
        "and was kept. The training took {time} on {device}.",
        epochs=len(run.history),
        most=run.recipe.stage.epochs,
        best=run.best_epoch,
        time=duration(run.seconds, say),
        device=run.device,
    )
    if not run.settings:
        return ended
    chosen = say(
        "The settings that objects are made with were chosen on the selection images: {settings}.",
        settings=", ".join(f"{key} {value:g}" for key, value in run.settings.items()),
    )
    return joined([ended, chosen])

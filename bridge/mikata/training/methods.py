"""How a network was trained, as the paragraph that a methods section needs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from mikata.datasets import PARTS
from mikata.language import duration, english, joined
from mikata.training.stage import Stage

if TYPE_CHECKING:
    from mikata.training.ensembles import Ensemble
    from mikata.training.run import Run

Say = Callable[..., str]


def paragraph(run: Run, say: Say = english) -> str:
    """Everything that a reader needs to judge and to repeat a training, in sentences.

    Parameters
    ----------
    say:
        `mikata.language.say` for the user's language; by default English, as packages have it.
    """
    stage = run.recipe.stage
    parts = [_network(run, say), *(_earlier(record, say) for record in run.earlier), _images(run, say)]
    parts += [_learning(stage, run, say), _end(run, say), _place(run, say)]
    return joined(parts)


def ensemble_paragraph(ensemble: Ensemble, say: Say = english) -> str:
    """The same of several trainings whose probabilities are averaged; the first one's is given in full.

    Parameters
    ----------
    say:
        As of `paragraph`.
    """
    runs = ensemble.runs
    if ensemble.folded:
        how = say(
            "All images but those of the test part were dealt into {count} folds, and {count} networks were trained, each "
            "on all folds but one, which chose its epoch. The classifier gives the mean of their probabilities.",
            count=len(runs),
        )
    else:
        how = say(
            "The classifier gives the mean of the probabilities of {count} networks, trained with other seeds or folds.",
            count=len(runs),
        )
    best = say("Epochs kept: {epochs}.", epochs=", ".join(str(run.best_epoch) for run in runs))
    first = say("Of the first network: {paragraph}", paragraph=paragraph(runs[0], say))
    whole = say("All networks together took {time}.", time=duration(ensemble.seconds, say))
    own = [note for note in ensemble.notes if note not in runs[0].notes]
    return joined([how, best, whole, *own, first])


def _network(run: Run, say: Say) -> str:
    configuration = run.classifier.configuration
    pairs = zip(configuration["mean"], configuration["std"], strict=True)
    numbers = ", ".join(f"{mean:.4g} / {std:.4g}" for mean, std in pairs)
    if run.fit == "resize":
        seen = say("scaled to {width} x {height} px", width=run.size[1], height=run.size[0])
    else:
        seen = say(
            "in their own scale, in crops of {width} x {height} px", width=run.size[1], height=run.size[0]
        )
    if run.values:
        return say(
            "A {network} network for a value{unit_of_value} ({parameters:.2f} million parameters) was trained with "
            "Mikata {mikata} (PyTorch {torch}) on images with {channels} channel(s), {seen}, normalised by mean / "
            "standard deviation {numbers} in {unit}.",
            network=configuration["network"],
            unit_of_value=say(" in {unit}", unit=run.classifier.unit) if run.classifier.unit else "",
            parameters=sum(p.numel() for p in run.classifier.parameters()) / 1e6,
            mikata=run.versions["mikata"],
            torch=run.versions["torch"],
            channels=run.channels,
            seen=seen,
            numbers=numbers,
            unit=run.value_unit,
        )
    return say(
        "A {network} classifier ({parameters:.2f} million parameters) was trained with Mikata {mikata} (PyTorch {torch}) "
        "on images with {channels} channel(s), {seen}, normalised by mean / standard deviation {numbers} in {unit}.",
        network=configuration["network"],
        parameters=sum(p.numel() for p in run.classifier.parameters()) / 1e6,
        mikata=run.versions["mikata"],
        torch=run.versions["torch"],
        channels=run.channels,
        seen=seen,
        numbers=numbers,
        unit=run.value_unit,
    )


def _earlier(record: Mapping[str, Any], say: Say) -> str:
    """A stage before the last."""
    values = {"epochs": len(record["history"]), "seconds": duration(record["seconds"], say)}
    if record["name"] == "formula" and "formula" in record:
        return say(
            "It first learnt to tell {classes} fractals apart, drawn by the rule of FractalDB ({each} pictures each, "
            "{epochs} epochs, {seconds}).",
            classes=record["formula"]["classes"],
            each=record["formula"]["per_class"],
            **values,
        )
    if "unlabelled" in record:
        return say(
            "It first learnt from {images} images without their labels ({method}, {epochs} epochs, {seconds}).",
            images=record["images"],
            method=record["unlabelled"]["method"],
            **values,
        )
    counts = record["data"]["parts"]
    values |= {
        "name": record["name"] or say("no name"),
        "training": sum(counts["training"]["images"].values()),
        "selection": sum(counts["selection"]["images"].values()),
    }
    if not record["classes"]:
        sentence = say(
            "In the stage before, it learnt a value ({name}: {training} images to learn from, {selection} to choose "
            "the epoch, {epochs} epochs, {seconds}).",
            **values,
        )
    else:
        sentence = say(
            "In the stage before, it learnt {count} classes ({name}: {training} images to learn from, {selection} to choose "
            "the epoch, {epochs} epochs, {seconds}).",
            count=len(record["classes"]),
            **values,
        )
    if not record["left_out"]:
        return sentence
    left = say(
        "{n} images of that stage were left out, since they or their patients are in a later test part.",
        n=record["left_out"],
    )
    return joined([sentence, left])


def _images(run: Run, say: Say) -> str:
    dataset = run.dataset
    names = {"training": say("training"), "selection": say("selection"), "test": say("test")}
    listed = []
    for part in PARTS:
        entries = run.parts[part]
        patients = len({entry.patient for entry in entries})
        listed.append(
            say(
                "{part} {n} images of {patients} patients",
                part=names[part],
                n=len(entries),
                patients=patients,
            )
            if dataset.has_patients
            else say("{part} {n} images", part=names[part], n=len(entries))
        )
    if run.values:
        return say(
            "The {n} images, each with its value, were split {grouping}, in proportion over the range of the values, "
            "with seed {seed}: {parts}.",
            n=len(dataset.entries),
            grouping=run.split_words(say),
            seed=run.seed,
            parts="; ".join(listed),
        )
    return say(
        "The {n} images of {count} classes ({classes}) were split {grouping} with seed {seed}: {parts}.",
        n=len(dataset.entries),
        count=len(run.classes),
        classes=", ".join(f"{name} {number}" for name, number in dataset.counts().items()),
        grouping=run.split_words(say),
        seed=run.seed,
        parts="; ".join(listed),
    )


def _learning(stage: Stage, run: Run, say: Say) -> str:
    if stage.head == "few_shot":
        return say(
            "Only a new head was fitted, by logistic regression on the features of the unchanged network, its penalty "
            "chosen on the selection images."
        )
    steps = [
        say(
            "{optimiser}, learning rate {rate:g}, {schedule} schedule, batches of {batch}, at most {epochs} epochs",
            optimiser=stage.optimiser,
            rate=stage.learning_rate,
            schedule=stage.schedule,
            batch=stage.batch,
            epochs=stage.epochs,
        )
    ]
    said: list[tuple[Any, str]] = [
        (stage.weight_decay, say("weight decay {value:g}", value=stage.weight_decay)),
        (
            stage.clipnorm,
            say(
                "gradients clipped to the norm {value:g} ({scope})",
                value=stage.clipnorm,
                scope=stage.clipnorm_scope,
            ),
        ),
        (stage.warmup_epochs, say("{value:g} epochs of warm-up", value=stage.warmup_epochs)),
        (stage.early_stopping, say("early stopping after {value} epochs", value=stage.early_stopping)),
        (stage.head_epochs, say("the head alone for {value} epochs", value=stage.head_epochs)),
        (stage.frozen, say("{value} never changed", value=", ".join(stage.frozen))),
        (
            stage.rate_by_depth < 1,
            say("learning rates falling by {value:g} a block", value=stage.rate_by_depth),
        ),
        (stage.averaging != "none", say("weights averaged with decay {value:g}", value=stage.ema_decay)),
        (stage.balance != "none", say("balance by {value}", value=stage.balance)),
        (stage.label_smoothing, say("label smoothing {value:g}", value=stage.label_smoothing)),
        (stage.precision != "32", say("precision {value}", value=stage.precision)),
    ]
    if run.values:
        steps.append(say("Huber loss of the values in their standard deviations"))
    steps += [sentence for used, sentence in said if used]
    changes = _augmentation(stage, say)
    learnt = say("It was trained by {steps}.", steps=", ".join(steps))
    if not changes:
        return learnt
    drawn = say("Training images were changed at random: {changes}.", changes=", ".join(changes))
    return joined([learnt, drawn])


def _augmentation(stage: Stage, say: Say) -> list[str]:
    options = stage.augmentation
    said: list[tuple[Any, str]] = [
        (options.rotation_rad, say("rotation within {value:g} rad", value=options.rotation_rad)),
        (options.shift, say("shift within {value:.0%}", value=options.shift)),
        (options.scale, say("scale within {value:.0%}", value=options.scale)),
        (options.flip_horizontal, say("horizontal flips")),
        (options.flip_vertical, say("vertical flips")),
        (options.quarter_turns, say("quarter turns")),
        (options.brightness, say("brightness within {value:.0%}", value=options.brightness)),
        (options.contrast, say("contrast within {value:.0%}", value=options.contrast)),
        (options.gamma, say("gamma within {value:.0%}", value=options.gamma)),
        (options.noise, say("noise up to {value:.1%} of the range", value=options.noise)),
        (options.blur_px, say("blur up to {value:g} px", value=options.blur_px)),
        (options.erase, say("erasing up to {value:.0%}", value=options.erase)),
    ]
    return [sentence for used, sentence in said if used]


def _end(run: Run, say: Say) -> str:
    return say(
        "Of {epochs} epochs, number {best} was kept, which had the lowest selection loss.",
        epochs=len(run.history),
        best=run.best_epoch,
    )


def _place(run: Run, say: Say) -> str:
    where = say("Computed on {device} in {time}.", device=run.device, time=duration(run.seconds, say))
    return joined([where, *run.notes])

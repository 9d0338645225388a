"""A recipe as the text of a TOML file."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import tomlkit

from mikata.training.recipe import Recipe
from mikata.training.stage import Stage


def as_toml(recipe: Recipe, reasons: Mapping[str, str] | None = None) -> str:
    """The recipe with every key that differs from its default; paths as they are.

    Parameters
    ----------
    reasons:
        Comments behind keys of the last stage, its augmentation, or the split.
    """
    why = dict(reasons or {})
    whole = recipe.to_dict()
    plain = dataclasses.asdict(Stage())
    document = tomlkit.document()
    document.add("seed", tomlkit.item(whole["seed"]))
    split = tomlkit.table()
    for key, value in whole["split"].items():
        split.add(key, tomlkit.item(value))
    document.add("split", split)
    stages = tomlkit.aot()
    for number, said in enumerate(whole["stage"], 1):
        last = number == len(whole["stage"])
        stage = tomlkit.table()
        for key, value in said.items():
            if isinstance(value, dict):
                continue
            default = plain[key]
            if value != _listed(default) or key in (
                "network",
                "source",
            ):
                stage.add(key, _item(value, why.get(key, "") if last else ""))
        for name in ("augmentation", "segmentation", "detection", "formula", "unlabelled"):
            if name not in ("augmentation", "segmentation", "detection", said["source"]):
                continue  # of a source that a search has tried and not chosen: no recipe may say it
            changed = {key: value for key, value in said[name].items() if value != _listed(plain[name][key])}
            if changed:
                inner = tomlkit.table()
                for key, value in changed.items():
                    inner.add(key, _item(value, why.get(key, "") if last else ""))
                stage.add(name, inner)
        stages.append(stage)
    document.add("stage", stages)
    return tomlkit.dumps(document)


def _listed(default: object) -> object:
    """A default as a recipe's plain values have it."""
    return list(default) if isinstance(default, tuple) else default


def _item(value: object, comment: str) -> tomlkit.items.Item:
    item = tomlkit.item(value)
    return item.comment(comment) if comment else item

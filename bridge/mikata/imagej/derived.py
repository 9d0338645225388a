"""Java classes made while the program runs: no Java compiler, no jar of our own.

Javassist, one of ImageJ's four jars, compiles the few lines. A class is defined beside an existing
one (its anchor: same package, same class loader), which is what lets it override package-private
methods.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mikata.imagej.java import jclass


@dataclass(frozen=True)
class Source:
    """One class: its full name, its parent and interfaces, and its members as Java source.

    Javassist's compiler knows neither generics nor boxing nor inner classes.
    """

    name: str
    parent: str = "java.lang.Object"
    interfaces: tuple[str, ...] = ()
    fields: tuple[str, ...] = ()
    constructors: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()


def define(sources: Sequence[Source], anchor: Any) -> Any:
    """Compile and define classes that may name each other, and return the last one.

    Parameters
    ----------
    sources:
        In the order of definition: a class must come after those that Java's verifier needs for it
        (parents, and what is assigned to a field of another type).
    anchor:
        A java.lang.Class of the same package.
    """
    import jpype

    loader = anchor.getClassLoader()
    pool = jclass("javassist.ClassPool")(True)
    pool.appendClassPath(jclass("javassist.LoaderClassPath")(loader))
    made = [pool.makeClass(source.name, pool.get(source.parent)) for source in sources]
    field, constructor, method = (
        jclass(f"javassist.{kind}").make for kind in ("CtField", "CtNewConstructor", "CtNewMethod")
    )
    for each, source in zip(made, sources, strict=True):
        for interface in source.interfaces:
            each.addInterface(pool.get(interface))
        for text in source.fields:
            each.addField(field(text, each))
    for each, source in zip(made, sources, strict=True):
        for text in source.constructors:
            each.addConstructor(constructor(text, each))
    # A body is compiled at once, so one that calls a method not made yet is put off.
    pending = [(each, text) for each, source in zip(made, sources, strict=True) for text in source.methods]
    while pending:
        put_off = []
        for each, text in pending:
            try:
                each.addMethod(method(text, each))
            except jpype.JException as error:
                put_off.append((each, text))
                problem = error
        if len(put_off) == len(pending):
            raise problem
        pending = put_off
    for each in made:
        each.toClass(anchor)
    return jpype.JClass(sources[-1].name, loader=loader)

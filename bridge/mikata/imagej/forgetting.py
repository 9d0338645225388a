"""The patient's name out of ImageJ's images, so that no TIFF saved later holds it.

ImageJ keeps a DICOM header in the Info property and in slice labels, and writes both into every TIFF.
"""

from __future__ import annotations

import functools
from typing import Any

from mikata.imagej.derived import Source, define
from mikata.imagej.java import jclass
from mikata.images import dicom_text

_PARENT = "ij.VirtualStack"
_AS_PARENT = f"(({_PARENT}) inner)"
_IS_PARENT = f"inner instanceof {_PARENT}"

# A virtual stack reads each file again when its turn comes, label included: nothing can be taken out of
# it for good. This one stands before it, gives the same pixels and no labels.
_UNLABELLED = Source(
    name="ij.MikataUnlabelledStack",
    parent=_PARENT,
    fields=("private ij.ImageStack inner;",),
    constructors=(
        "public MikataUnlabelledStack(ij.ImageStack stack) {"
        " super(stack.getWidth(), stack.getHeight()); this.inner = stack; }",
    ),
    methods=(
        "public ij.process.ImageProcessor getProcessor(int n) { return inner.getProcessor(n); }",
        "public Object getPixels(int n) { return inner.getPixels(n); }",
        "public void setPixels(Object pixels, int n) { inner.setPixels(pixels, n); }",
        "public String getSliceLabel(int n) { return null; }",
        "public int getSize() { return inner.getSize(); }",
        "public int size() { return inner.size(); }",
        "public int getBitDepth() { return inner.getBitDepth(); }",
        "public java.awt.image.ColorModel getColorModel() { return inner.getColorModel(); }",
        "public void setColorModel(java.awt.image.ColorModel model) { inner.setColorModel(model); }",
        "public void deleteSlice(int n) { inner.deleteSlice(n); }",
        "public void deleteLastSlice() { inner.deleteLastSlice(); }",
        f"public String getDirectory() {{ return {_IS_PARENT} ? {_AS_PARENT}.getDirectory() : null; }}",
        f"public String getFileName(int n) {{ return {_IS_PARENT} ? {_AS_PARENT}.getFileName(n) : null; }}",
        f"public int saveChanges(int n) {{ return {_IS_PARENT} ? {_AS_PARENT}.saveChanges(n) : -1; }}",
        f"public java.util.Properties getProperties() {{ return {_IS_PARENT} ? {_AS_PARENT}.getProperties()"
        " : null; }",
        f"public void setIndexes(int[] order) {{ if ({_IS_PARENT}) {_AS_PARENT}.setIndexes(order); }}",
        f"public void reduce(int factor) {{ if ({_IS_PARENT}) {_AS_PARENT}.reduce(factor); }}",
    ),
)


def forget_patient(imp: Any) -> None:
    """Take the DICOM header out of an ImagePlus; the file that it came from stays as it is.

    What goes and what stays is `mikata.images.dicom_text.forgotten`'s rule.

    Parameters
    ----------
    imp:
        Any ImagePlus, shown or not. A virtual stack remains virtual, without labels.
    """
    stack, single = imp.getStack(), int(imp.getStackSize()) == 1
    if not single and bool(stack.isVirtual()):
        stack.getProcessor(1)  # it knows no label of a slice that was not shown yet
    labels = slice_labels(imp)
    info = imp.getInfoProperty()
    changed = dicom_text.forgotten(None if info is None else str(info), labels)
    if changed is None:
        return
    imp.setProperty("Info", changed[0])
    labels = changed[1]
    if not single and bool(stack.isVirtual()):
        _put_before(imp, _unlabelled()(stack))
        return
    for number, label in enumerate(labels, 1):
        stack.setSliceLabel(label or None, number)
    if single:  # it has two more places for it
        imp.setProperty("Label", None)
        imp.setProp("Slice_Label", labels[0] or None)


def slice_labels(imp: Any) -> list[str]:
    """All text that ImageJ keeps with each slice; empty for none."""
    if int(imp.getStackSize()) == 1:
        # not the stack's: ImageJ makes that one up out of title and Info
        found = [imp.getProp("Slice_Label")]
    else:
        stack = imp.getStack()
        found = [stack.getSliceLabel(number) for number in range(1, int(stack.getSize()) + 1)]
    return ["" if label is None else str(label) for label in found]


@functools.cache
def _unlabelled() -> Any:
    return define([_UNLABELLED], jclass(_PARENT).class_)


def _put_before(imp: Any, stack: Any) -> None:
    """Give an ImagePlus another stack of the same pixels, without ImageJ drawing and scaling it anew."""
    field = jclass("ij.ImagePlus").class_.getDeclaredField("stack")
    field.setAccessible(True)
    field.set(imp, stack)

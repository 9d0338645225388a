"""The menu scripts without Fiji: plain Groovy, Appose 0.9 and ImageJ's jars out of Maven.

Arguments: a folder Plugins/Mikata as installed, a package, an image.
"""

from __future__ import annotations

import sys
from pathlib import Path

import jpype

import mikata
from mikata.imagej import java, patches

# groovy-json must be of groovy's own version, or Appose drops every answer
JARS = (
    java.Jar(
        "org.apache.groovy", "groovy", "4.0.28",
        "d77164a44ab994837e61eecead64721bdb1794fa2bc6704ac6fe70cd32ef9dd3",
    ),
    java.Jar(
        "org.apache.groovy", "groovy-json", "4.0.28",
        "edec45c85ff811f9a9baacdf5b020e34593a0055ac63c92fbf1233c3b2cc9cc6",
    ),
    java.Jar(
        "org.apposed", "appose", "0.9.0",
        "b09ce4ff9d7a29518bba7ec7903c63d0504159637376506d9b2a3a70ed37b1bc",
    ),
    java.Jar(
        "net.java.dev.jna", "jna", "5.17.0",
        "b3a9408e7c51e08ef0e3bfcc08f443f6ec0f6191ba8cd7c18d53d2b22e5bdbc0",
    ),
    java.Jar(
        "net.java.dev.jna", "jna-platform", "5.17.0",
        "b7e3d46c87bad2eb409b0e704916bcd81206168e357312dfddd0e253679cd9e0",
    ),
)  # fmt: skip

folder, model, image = map(Path, sys.argv[1:])
cache = java.cache_folder().with_name("jars of tests")
for jar in JARS:
    if not java._is_good(cache / jar.name, jar):
        java._fetch(jar, cache)
    jpype.addClassPath(cache / jar.name)
java.start_jvm(headless=True)
patches.make_headless()

shell = jpype.JClass("groovy.lang.GroovyShell")()
for script in sorted(folder.rglob("*.groovy")):
    text = "\n".join("" if line.startswith("#@") else line for line in script.read_text("utf-8").splitlines())
    shell.parse(text, script.name)  # raises where it is no Groovy
    print("parsed", script.name)

support = (folder / "Mikata.support").read_text("utf-8")
driver = """
def mikata = new GroovyClassLoader(this.class.classLoader).parseClass(support, "Mikata.groovy").newInstance(folder)
ij.macro.Interpreter.batchMode = true
def imp = ij.IJ.openImage(image)
imp.show()
mikata.apply("predict", new Expando(getInput: { name -> name == "model" ? model : null }))
mikata.apply("grad_cam", new Expando(getInput: { name -> [model: model, target: "all"][name] }))
def wrong = ""
try { mikata.apply("predict", new Expando(getInput: { name -> name == "batch" ? "x" : null })) } catch (RuntimeException error) { wrong = error.message }
def table = ij.measure.ResultsTable.getResultsTable()
def heat = ij.WindowManager.getCurrentImage()
[table.getStringValue("predicted", 0), table.getValue("probability", 0), heat.title, imp.overlay.size(), heat.stackSize,
 heat.getProcessor().getPixelValue(3, 5), wrong]
"""
binding = jpype.JClass("groovy.lang.Binding")()
for name, value in {"support": support, "folder": folder, "image": image, "model": model}.items():
    java_value = jpype.JClass("java.io.File")(str(value)) if name == "folder" else jpype.JString(str(value))
    binding.setVariable(name, java_value)
found = list(jpype.JClass("groovy.lang.GroovyShell")(binding).evaluate(driver))
print(*found, sep="\n")

shown = mikata.images.read(image)
row = mikata.predict(shown, model=model).tables[0].rows[0]
direct = mikata.grad_cam(shown, model=model, target="all")
assert [str(found[0]), float(found[1])] == [row[3], row[4]]
assert str(found[2]) == direct.images[0].title
assert int(found[3]) == len(direct.overlay)
assert int(found[4]) == direct.images[0].array.shape[0]
assert float(found[5]) == float(direct.images[0].array[0, 5, 3])
assert str(found[6]).startswith("Predict Images: model is missing")
sys.exit(5)

// Answers each line on its input with the milliseconds of one call: ping, or predict on the open image by a macro's
// route without the macro. For tests/benchmarks/bench_fiji.py.
import ij.IJ
import ij.measure.ResultsTable

def (model, image) = System.getenv("ARGUMENTS").readLines()
IJ.runMacro("run('Predict Images...', 'model=[${model}] images=[${image}]');")  // starts Python, loads torch
def mikata = IJ.getProperty("mikata")
IJ.openImage(image).show()
def module = [getInput: { name -> name == "model" ? model : null }] as Expando
println "READY"
System.out.flush()
System.in.eachLine { line ->
    ResultsTable.getResultsTable().reset()
    long start = System.nanoTime()
    if (line == "ping") mikata.worker.ask([do: "ping"], null)
    else if (line == "macro") IJ.runMacro("run('Predict Images...', 'model=[${model}]');")
    else mikata.apply("predict", module)
    println "MS ${(System.nanoTime() - start) / 1e6} ${ResultsTable.getResultsTable().size()}"
    System.out.flush()
}

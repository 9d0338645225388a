// Many calls in one Fiji: resident memory of both processes, in MB. Prints one line every 50 calls.
import ij.IJ
import ij.WindowManager
import ij.macro.Interpreter
import ij.measure.ResultsTable

def (model, image, count) = System.getenv("ARGUMENTS").readLines()
def resident = { pid -> new File("/proc/${pid}/status").readLines().find { it.startsWith("VmRSS") }.split(/\s+/)[1].toLong().intdiv(1024) }
Interpreter.batchMode = true
(1..(count as int)).each { n ->
    def imp = IJ.openImage(image)
    imp.show()
    IJ.runMacro("run('Grad-CAM Heat Map...', 'model=[${model}]');")
    WindowManager.getIDList().each { def open = WindowManager.getImage(it); open.changes = false; open.close() }
    if (n % 10 == 0) ResultsTable.getResultsTable().reset()
    if (n % 50 == 0) {
        System.gc()
        def runtime = Runtime.runtime
        println "CALLS ${n} fiji ${resident(ProcessHandle.current().pid())} heap ${(runtime.totalMemory() - runtime.freeMemory()).intdiv(1 << 20)} python ${resident(IJ.getProperty("mikata").worker.service.process.pid())}"
    }
}
println "SHARED ${new File("/dev/shm").list().findAll { it.startsWith("mikata_${ProcessHandle.current().pid()}_") || it.startsWith("mikata_${IJ.getProperty("mikata").worker.service.process.pid()}_") }}"

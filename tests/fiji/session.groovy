// A day in one Fiji: training killed and cancelled, images closed, commands at once. Prints one line a finding.
import ij.IJ
import ij.WindowManager
import ij.macro.Interpreter
import ij.measure.ResultsTable
import java.awt.event.KeyEvent

def (data, model, image, folder) = System.getenv("ARGUMENTS").readLines()
def failed = []
def started = System.currentTimeMillis()
def say = { what, value -> println "FOUND ${what}: ${value}"; System.out.flush() }
def macro = { text -> IJ.runMacro(text) }
// of this Fiji, its Python processes and those that are gone: other programs may be at work beside it
def theirs = { name -> def owner = name.split("_")[1] as long; owner != ProcessHandle.current().pid() && ProcessHandle.of(owner).map { it.alive && !it.parent().map { it.pid() == ProcessHandle.current().pid() }.orElse(false) }.orElse(false) }
def shared = { new File("/dev/shm").list().findAll { it.startsWith("mikata_") && !theirs(it) }.sort() }
def predict = {
    ResultsTable.getResultsTable().reset()
    macro("run('Predict Images...', 'model=[${model}] images=[${image}]');")
    ResultsTable.getResultsTable().size()
}
def wait = { seconds, condition ->
    def until = System.currentTimeMillis() + 1000 * seconds
    while (!condition() && System.currentTimeMillis() < until) sleep(20)
    condition()
}
def python = { IJ.getProperty("mikata").worker.service?.process?.pid() }
def training = { name ->
    def thread = Thread.start { macro("run('Train Network...', 'data=[${data}] out=[${folder}/${name}] epochs=2000');") }
    def checkpoint = new File("${folder}/${name} training")
    if (!wait(120) { checkpoint.isDirectory() && checkpoint.list().any { it.endsWith(".pt") || it.endsWith(".ckpt") } })
        say("no checkpoint of ${name}", checkpoint.list())
    [thread, checkpoint]
}
Interpreter.batchMode = true

say("rows", predict())
def first = python()

def (killed, checkpoint) = training("killed")
ProcessHandle.of(python()).get().destroyForcibly()
killed.join(20000)
say("killed ends", !killed.isAlive())
say("checkpoint after kill", checkpoint.list().sort())
say("shared memory after kill", shared())
say("rows after kill", predict())
say("another process", python() != first)

def (cancelled, checkpoint2) = training("cancelled")
IJ.setKeyDown(KeyEvent.VK_ESCAPE)
cancelled.join(60000)
say("cancelled ends", !cancelled.isAlive())
say("package after cancel", new File("${folder}/cancelled/rdf.yaml").isFile())
say("shared memory after cancel", shared())
say("rows after cancel", predict())

// a process that takes no notice is ended after two seconds
def second = python()
Thread.start { sleep(500); new ProcessBuilder("kill", "-STOP", "${second}").start().waitFor(); sleep(300); IJ.setKeyDown(KeyEvent.VK_ESCAPE) }
def began = System.currentTimeMillis()
macro("run('Train Network...', 'data=[${data}] out=[${folder}/deaf] epochs=2000');")
say("deaf ends in seconds", Math.round((System.currentTimeMillis() - began) / 1000))
say("deaf is gone", wait(5) { !ProcessHandle.of(second).isPresent() || !ProcessHandle.of(second).get().isAlive() })
say("shared memory after deaf", shared())

// two at once: one after the other
say("maps", [IJ.getProperty("mikata").menu.commands.predict, IJ.getProperty("mikata").menu.commands.train.parameters[0]]*.getClass()*.simpleName.unique())
ResultsTable.getResultsTable().reset()
def both = (1..2).collect { Thread.start { IJ.getProperty("mikata").apply("predict", [getInput: { name -> [model: model, images: image][name] }] as Expando) } }
both*.join(120000)
say("rows of two at once", ResultsTable.getResultsTable().size())

// an image that is closed while the command works
def imp = IJ.openImage(image)
imp.show()
def closer = Thread.start { wait(20) { IJ.getProperty("mikata").worker.queue.isLocked() }; imp.close() }
macro("run('Grad-CAM Heat Map...', 'model=[${model}]');")
closer.join()
say("shared memory at the end", shared())
say("process", python())
say("seconds", Math.round((System.currentTimeMillis() - started) / 1000))

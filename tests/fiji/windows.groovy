// With windows: menu entry, dialog, a wrong value, the Recorder, results, an error, a macro that leaves keys out.
import ij.IJ
import ij.Menus
import ij.WindowManager
import ij.gui.GenericDialog
import ij.plugin.frame.Recorder
import ij.text.TextWindow
import java.awt.Button
import java.awt.Dialog
import java.awt.EventQueue
import java.awt.Window
import java.awt.event.ActionEvent

def (model, image, pictures) = System.getenv("ARGUMENTS").readLines()
def say = { what, value -> println "FOUND ${what}: ${value}"; System.out.flush() }
def picture = { name -> sleep(700); new ProcessBuilder("import", "-window", "root", "${pictures}/${name}.png").start().waitFor() }
def wait = { seconds, condition ->
    def until = System.currentTimeMillis() + 1000 * seconds
    while (!condition() && System.currentTimeMillis() < until) sleep(50)
    condition()
}
def window = { title -> Window.getWindows().find { it instanceof Dialog && it.showing && it.title == title } }
def button
button = { parent, label ->
    parent.components.findResult { it instanceof Button && it.label.trim() == label ? it : it instanceof java.awt.Container ? button(it, label) : null }
}
def press = { dialog, label ->
    def found = button(dialog, label)
    def event = new ActionEvent(found, ActionEvent.ACTION_PERFORMED, label)
    EventQueue.invokeLater { found.actionListeners.each { it.actionPerformed(event) } }
}
def typed = { dialog, number, text -> dialog.stringFields[number].text = text }

Thread.startDaemon {
    try {
        wait(120) { IJ.getInstance()?.showing }
        IJ.open(image)
        say("menu", Menus.getCommands().keySet().findAll { it in ["Train Network...", "Predict Images...", "Grad-CAM Heat Map...", "Mikata Doctor..."] }.sort())
        def title = "Mikata: Grad-CAM Heat Map"
        IJ.doCommand("Record...")
        wait(20) { Recorder.getInstance() != null }
        IJ.doCommand("Grad-CAM Heat Map...")
        wait(60) { window(title) }
        def dialog = window(title)
        picture("dialog")
        typed(dialog, 1, model)
        typed(dialog, 6, "-1")
        press(dialog, "OK")
        say("wrong", wait(60) { window("Grad-CAM Heat Map") } != null)
        picture("wrong")
        press(window("Grad-CAM Heat Map"), "OK")
        wait(20) { window(title) }
        dialog = window(title)
        say("kept", [dialog.stringFields[1].text == model, dialog.stringFields[6].text])
        typed(dialog, 6, "0")
        press(dialog, "OK")
        wait(90) { WindowManager.getImageCount() == 2 }
        picture("result")
        say("images", WindowManager.getImageTitles().sort())
        say("overlay", WindowManager.getImage(WindowManager.getIDList()[0]).overlay.size() > 0)
        wait(10) { Recorder.getInstance().text.contains("run") }
        say("recorded", Recorder.getInstance().text.readLines().findAll { it.contains("Grad-CAM") })
        say("results", ij.measure.ResultsTable.getResultsTable().size())
        // remembered in the next dialog, but not what loses files or names patients
        IJ.doCommand("Grad-CAM Heat Map...")
        wait(60) { window(title) }
        say("remembered", window(title).stringFields[1].text == model)
        press(window(title), "Cancel")
        wait(20) { !window(title) }
        // a macro that leaves keys out gets the defaults, and no dialog
        Thread.start("Macro\$") { IJ.runMacro("selectImage('brick.tif'); run('Predict Images...', 'model=[${model}]'); print('macro went on');") }
        say("macro without dialog", wait(60) { IJ.getLog()?.contains("macro went on") })
        Thread.start("Macro\$") { IJ.runMacro("run('Predict Images...', 'model=[${model}x]'); print('never');") }
        wait(60) { window("Macro Error") }
        picture("macro error")
        say("macro error", window("Macro Error") != null)
        say("macro stopped", !IJ.getLog()?.contains("never"))
        IJ.doCommand("Mikata Doctor...")
        wait(20) { window("Mikata: Mikata Doctor") }
        window("Mikata: Mikata Doctor").checkboxes[0].state = true
        press(window("Mikata: Mikata Doctor"), "OK")
        say("doctor", wait(60) { WindowManager.getNonImageTitles().any { it == "Doctor" } })
        picture("doctor")
    } catch (Throwable error) {
        error.printStackTrace()
    } finally {
        say("end", true)
        Runtime.getRuntime().halt(0)
    }
}

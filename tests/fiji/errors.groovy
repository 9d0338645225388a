// Commands that go wrong, each in a macro of its own; nothing behind them may run. Arguments: texts of macros.
import ij.IJ
import ij.WindowManager

System.getenv("ARGUMENTS").readLines().each { text ->
    println "MACRO ${text}"
    IJ.runMacro(text + " print('goes on');")
    WindowManager.getIDList()?.each { WindowManager.getImage(it)?.close() }
    println "ENDED"
    System.out.flush()
}

// Grad-CAM on every slice of a stack: in which slices does a class find its reasons?
//
// In the folder for the results are afterwards:
//   NAME heat.tif          the heat of every slice as a 32-bit stack
//   NAME with heat.tif     the stack with the heat as an overlay
//   NAME heat.csv          the figures of every slice, with its mean heat
//
// Run it in Fiji or in `mikata imagej`: File > Open..., then Run; it asks for what it needs.
// Run it without windows (CLASS may be left out: each slice is then explained for the class it is taken for):
//   mikata macro grad_cam_stack.ijm --arg "STACK;MODEL;RESULTS;CLASS"
//   Fiji --headless -macro grad_cam_stack.ijm "STACK;MODEL;RESULTS;CLASS"
//
// Research use, not for diagnosis.

target = "predicted";
if (getArgument() == "") {
    stack = File.openDialog("A stack");
    model = getDirectory("The folder of a model");
    results = getDirectory("A folder for the results");
    target = getString("Class (predicted: the one each slice is taken for)", target);
} else {
    parts = split(getArgument(), ";");
    stack = parts[0];
    model = parts[1];
    results = parts[2] + File.separator;
    if (parts.length > 3) target = parts[3];
}

open(stack);
id = getImageID();
name = File.getNameWithoutExtension(stack);
run("Clear Results");  // the table that is saved below holds this stack alone

run("Grad-CAM Heat Map...", "model=&model target=&target");

// Measured in the 32-bit heat, not in the overlay's colours. Heats of one class can be compared between
// slices; heats of different classes cannot.
selectImage(name + " heat");
for (row = 0; row < nResults; row++) {
    slice = getResult("slice", row);
    frame = getResult("frame", row);
    if (nSlices > 1) Stack.setPosition(1, slice, frame);
    getStatistics(area, mean);
    setResult("measured_mean", row, mean);
    print("slice " + slice + ", frame " + frame + ": " + getResultString("class", row) +
        ", probability " + d2s(getResult("probability", row), 3) + ", mean heat " + d2s(mean, -3));
}
updateResults();
saveAs("Results", results + name + " heat.csv");

selectImage(name + " heat");
saveAs("Tiff", results + name + " heat.tif");
selectImage(id);
saveAs("Tiff", results + name + " with heat.tif");

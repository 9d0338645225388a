// A trained model for a colleague who has deepImageJ and no Python: the network with its heat maps inside, checked.
//
// MODEL is a package that Mikata has trained. deepImageJ shows the classes' probabilities, and beside them the
// Grad-CAM of every class, from the one file package.zip (Install > from file).
//
// In the folder for the results are afterwards:
//   package, package.zip         the model for deepImageJ
//   checked/report.html          what was checked, what was found, and why it matters
//
// Run it in Fiji or in `mikata imagej`: File > Open..., then Run; it asks for what it needs.
// Run it without windows (OPTIONS of the export may be left out, such as width_px=512 height_px=512):
//   mikata macro export_package.ijm --arg "MODEL;RESULTS;OPTIONS"
//   Fiji --headless -macro export_package.ijm "MODEL;RESULTS;OPTIONS"
//
// Research use, not for diagnosis.

options = "";
if (getArgument() == "") {
    model = getDirectory("The folder of a model");
    results = getDirectory("A folder for the results");
} else {
    parts = split(getArgument(), ";");
    model = parts[0];
    results = parts[1] + File.separator;
    if (parts.length > 2) options = parts[2];
}

made = results + "package";
run("Export Package...", "model=&model out=&made explain " + options);

checked = results + "checked";
first = nResults;
run("Check Package...", "model=&made reader=deepimagej out=&checked");
table = "Results";
if (nResults == first) { table = "Check Package"; first = 0; }  // with windows, the rows are in a table of their own
counts = newArray(0, 0, 0);
words = newArray("passed", "warning", "failed");
for (row = first; row < Table.size(table); row++) {
    status = Table.getString("status", row, table);
    for (k = 0; k < words.length; k++)
        if (status == words[k]) counts[k]++;
    if (status == "warning" || status == "failed")
        print("point " + Table.getString("point", row, table) + " " + status + ": " + Table.getString("why", row, table));
}
print("points: " + counts[0] + " passed, " + counts[1] + " with a warning, " + counts[2] + " failed");

// What do stages bring? Derives a recipe from labelled images, or takes yours, and compares it with what is left
// of it when its stages and its source of weights are taken away.
//
// DATA holds one folder of images for each class, or is a CSV with the columns file, label, patient.
// RECIPE is a TOML file; without one (empty) the derived recipe is compared.
//
// In the folder for the results are afterwards:
//   derived.toml                 a recipe by rules, each with its reason: a start for your own
//   compared/report.html         verdicts, every figure with its interval, plots, times
//   compared/comparison.csv      the figures
//
// Run it in Fiji or in `mikata imagej`: File > Open..., then Run; it asks for what it needs.
// Run it without windows (OPTIONS of the comparison may be left out, such as folds=5 repeats=5):
//   mikata macro stages.ijm --arg "DATA;RECIPE;RESULTS;OPTIONS"
//   Fiji --headless -macro stages.ijm "DATA;RECIPE;RESULTS;OPTIONS"
//
// Research use, not for diagnosis.

options = "";
if (getArgument() == "") {
    data = getDirectory("The folder to learn from, with a folder for each class");
    recipe = "";
    if (getBoolean("Is there a recipe? (No: one is derived from the images)"))
        recipe = File.openDialog("The recipe");
    results = getDirectory("A folder for the results");
    options = getString("Options of the comparison (empty: 5 repeats of 5 folds)", options);
} else {
    parts = split(getArgument(), "(;)");  // in brackets, so that an empty part counts
    data = parts[0];
    recipe = parts[1];
    results = parts[2] + File.separator;
    if (parts.length > 3) options = parts[3];
}

derived = results + "derived.toml";
first = nResults;
run("Derive Recipe...", "data=&data out=&derived");
table = "Results";
if (nResults == first) { table = "Recipe"; first = 0; }  // with windows, the rows are in a table of their own
for (row = first; row < Table.size(table); row++)
    print("derived: " + Table.getString("setting", row, table) + " = " + Table.getString("value", row, table) +
        " (" + Table.getString("reason", row, table) + ")");
if (recipe == "") recipe = derived;

compared = results + "compared";
first = nResults;
run("Compare Recipes...", "recipes=&recipe data=&data out=&compared " + options);

// One row for each method and figure; the first method is the one that the others are compared with. An interval
// of the difference that holds 0 shows no difference, which is not the same as none.
table = "Results";
if (nResults == first) { table = "Comparison"; first = 0; }
reference = Table.getString("method", first, table);
for (row = first; row < Table.size(table); row++) {
    if (Table.getString("figure", row, table) != "balanced_accuracy") continue;
    name = Table.getString("method", row, table);
    line = "method " + name + ": balanced accuracy " + number("value", row, table) + " (" +
        number("low", row, table) + " to " + number("high", row, table) + ")";
    if (name != reference)
        line += ", difference to " + reference + " " + number("difference", row, table) + " (" +
            number("difference_low", row, table) + " to " + number("difference_high", row, table) + ")";
    print(line);
}

function number(column, row, table) {
    return d2s(Table.get(column, row, table), 3);
}

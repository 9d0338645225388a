// Where does the network look? Share of the heat in each region, by image and by class, with controls.
//
// IMAGES is a folder or a CSV with the columns file, label, patient; MODEL a package that Mikata has trained.
// REGIONS is chest (2 x 3: lungs and mediastinum), a grid such as 3x3, marks+border, or a folder with an ROI set for
// each image.
//
// In the folder for the results are afterwards:
//   Heat by Region.html           the page: mean heat, shares with intervals, the controls and what they mean
//   Heat by Region summary.csv    shares by class and region; beside it those of each image and the controls
//
// Run it in Fiji or in `mikata imagej`: File > Open..., then Run; it asks for what it needs.
// Run it without windows (OPTIONS may be left out, such as target=true part=test no_controls):
//   mikata macro heat_by_region.ijm --arg "IMAGES;MODEL;REGIONS;RESULTS;OPTIONS"
//   Fiji --headless -macro heat_by_region.ijm "IMAGES;MODEL;REGIONS;RESULTS;OPTIONS"
//
// Research use, not for diagnosis.

options = "";
if (getArgument() == "") {
    images = getDirectory("The folder of images");
    model = getDirectory("The model's folder");
    regions = getString("Regions (chest, 3x3, marks+border, or a folder)", "chest");
    results = getDirectory("A folder for the results");
    options = getString("Options (empty: the predicted class, with controls)", options);
} else {
    parts = split(getArgument(), "(;)");  // in brackets, so that an empty part counts
    images = parts[0];
    model = parts[1];
    regions = parts[2];
    results = parts[3] + File.separator;
    if (parts.length > 4) options = parts[4];
}

run("Heat by Region...", "images=&images model=&model regions=&regions out=&results " + options);

// The table of the classes is read from its file, since without windows ImageJ has no table but Results.
var names, row;  // functions see these
lines = split(File.openAsString(results + "Heat by Region summary.csv"), "\n");
names = cells(lines[0]);
for (i = 1; i < lines.length; i++) {
    row = cells(lines[i]);
    by = cell("by");
    if (by == "all")
        print("" + cell("class") + ", " + cell("region") + ": " + percent("heat_share_mean") + " of the heat (" +
            percent("low") + " to " + percent("high") + ") on " + percent("area_share") + " of the area");
}

function percent(column) {
    share = cell(column);
    if (share == "not defined") return "not defined";  // an interval of fewer than 5 patients or images
    return d2s(100 * parseFloat(share), 1) + " %";
}

function cell(column) {
    for (k = 0; k < names.length; k++)
        if (endsWith(names[k], column) && lengthOf(names[k]) - lengthOf(column) <= 1)  // the file begins with a mark
            return row[k];
    exit("There is no column " + column);
}

function cells(line) {
    // a comma between quotes belongs to its cell
    found = newArray(0);
    text = "";
    quoted = false;
    for (k = 0; k < lengthOf(line); k++) {
        letter = substring(line, k, k + 1);
        if (letter == "\"") quoted = !quoted;
        else if (letter == "," && !quoted) {
            found = Array.concat(found, text);
            text = "";
        } else text += letter;
    }
    return Array.concat(found, text);
}

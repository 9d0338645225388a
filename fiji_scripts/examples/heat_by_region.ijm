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

Table.open(results + "Heat by Region summary.csv");
table = "Heat by Region summary.csv";
for (row = 0; row < Table.size(table); row++) {
    if (Table.getString("by", row, table) != "all") continue;
    print(Table.getString("class", row, table) + ", " + Table.getString("region", row, table) + ": " +
        percent("heat_share_mean", row) + " of the heat (" + percent("low", row) + " to " + percent("high", row) +
        ") on " + percent("area_share", row) + " of the area");
}

function percent(column, row) {
    return d2s(100 * Table.get(column, row, table), 1) + " %";
}

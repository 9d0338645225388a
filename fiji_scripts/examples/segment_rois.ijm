// ROIs that you have drawn teach a network, and it draws ROIs on other images.
//
// DATA is a folder of TIFFs whose overlays hold the ROIs (Image > Overlay > Add Selection..., then save as TIFF), or has
// the folders images and masks with ROI sets of the ROI Manager or label images. OTHERS is a folder of images.
//
// In the folder for the results are afterwards:
//   model, model.zip          the network; its zip for deepImageJ; beside it the report with its figures
//   NAME.tif                  each of the other images, with the network's ROIs as its overlay
//
// Run it in Fiji or in `mikata imagej`: File > Open..., then Run; it asks for what it needs.
// Run it without windows (OPTIONS of the training may be left out, such as recipe=nuclei epochs=60):
//   mikata macro segment_rois.ijm --arg "DATA;OTHERS;RESULTS;OPTIONS"
//   Fiji --headless -macro segment_rois.ijm "DATA;OTHERS;RESULTS;OPTIONS"
//
// Research use, not for diagnosis.

options = "";
if (getArgument() == "") {
    data = getDirectory("The folder of images with ROIs");
    others = getDirectory("The folder of other images");
    results = getDirectory("A folder for the results");
} else {
    parts = split(getArgument(), ";");
    data = parts[0];
    others = parts[1] + File.separator;
    results = parts[2] + File.separator;
    if (parts.length > 3) options = parts[3];
}

model = results + "model";
run("Train Segmentation...", "data=&data out=&model " + options);

files = getFileList(others);
Array.sort(files);
for (i = 0; i < files.length; i++) {
    if (endsWith(files[i], "/")) continue;
    open(others + files[i]);
    run("Segment Images...", "model=&model result=rois");
    area = 0;
    for (k = 0; k < Overlay.size; k++) {
        Overlay.activateSelection(k);
        getStatistics(pixels);
        area += pixels;
    }
    run("Select None");
    name = File.getNameWithoutExtension(files[i]);
    print("image " + name + ": " + Overlay.size + " ROIs, area " + d2s(area, 0));
    saveAs("Tiff", results + name + ".tif");
    close();
}

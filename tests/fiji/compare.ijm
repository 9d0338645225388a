// Commands on real images, as ImageJ has opened them; what comes back is saved. Arguments: images;models;folder.
parts = split(getArgument(), ";");
images = split(parts[0], "|");
models = split(parts[1], "|");
folder = parts[2] + "/";
for (i = 0; i < images.length; i++) {
    open(images[i]);
    id = getImageID();
    name = getTitle();
    model = models[i];
    run("Predict Images...", "model=[&model]");
    run("Grad-CAM Heat Map...", "model=[" + model + "] target=all lut=Viridis");
    saveAs("Tiff", folder + i + " heat.tif");
    close();
    selectImage(id);
    saveAs("Tiff", folder + i + ".tif");
    close();
}
saveAs("Results", folder + "results.csv");

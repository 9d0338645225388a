// A whole folder of images: what does a model say of each, and where did it look?
//
// In the folder for the results are afterwards:
//   Predict.csv            class and probabilities of every image
//   Grad-CAM.csv           the figures of the heat
//   NAME with heat.tif     each image with the heat as an overlay
//   NAME heat.tif          the heat as 32-bit values
//   NAME with heat.png     the overlay as a picture for slides (of a stack, its first slice)
//
// Run it in Fiji or in `mikata imagej`: File > Open..., then Run; it asks for the three folders.
// Run it without windows:
//   mikata macro batch_folder.ijm --arg "IMAGES;MODEL;RESULTS"
//   Fiji --headless -macro batch_folder.ijm "IMAGES;MODEL;RESULTS"
//
// Research use, not for diagnosis.

if (getArgument() == "") {
    images = getDirectory("The folder of images");
    model = getDirectory("The folder of a model");
    results = getDirectory("A folder for the results");
} else {
    parts = split(getArgument(), ";");
    images = parts[0];
    model = parts[1];
    results = parts[2] + File.separator;
}

first = nResults;  // the table may hold rows of earlier runs

// The folder as a whole, not image after image: the model is read once, an image that cannot be read is
// passed over and named, and one colour means one heat in all images. &images stands for the value of the
// variable, so that names may hold spaces and brackets. Add the word overwrite to replace earlier results.
run("Predict Images...", "images=&images model=&model out=&results");
last = nResults;
run("Grad-CAM Heat Map...", "images=&images model=&model out=&results");

for (row = first; row < last; row++)
    print(getResultString("image", row) + ": " + getResultString("predicted", row) + ", probability " +
        d2s(getResult("probability", row), 3));

// Whatever else you want of every image goes into a loop like this one.
files = getFileList(results);
Array.sort(files);
for (i = 0; i < files.length; i++) {
    if (!endsWith(files[i], " with heat.tif")) continue;
    open(results + files[i]);
    image = getImageID();
    run("Flatten");
    saveAs("PNG", results + File.getNameWithoutExtension(files[i]) + ".png");
    close();
    selectImage(image);
    close();
}

// Where did the network see its reasons? Opens an image, asks a model for the Grad-CAM of every
// class, and saves what came back: the image with its overlay, and the heat as 32-bit values.
//
// Run it in Fiji or in `mikata imagej`: File > Open..., then Run; it asks for what it needs.
// Run it without windows:
//   mikata macro grad_cam.ijm --arg "IMAGE;MODEL;FOLDER"
//   Fiji --headless -macro grad_cam.ijm "IMAGE;MODEL;FOLDER"
//
// Research use, not for diagnosis.

if (getArgument() == "") {
    image = File.openDialog("An image");
    model = getDirectory("The folder of a model");
    folder = getDirectory("A folder for the results");
} else {
    parts = split(getArgument(), ";");
    image = parts[0];
    model = parts[1];
    folder = parts[2] + File.separator;
}

open(image);
id = getImageID();
name = File.getNameWithoutExtension(image);

first = nResults;  // the table may hold rows of earlier runs

// The overlay comes onto the image, the heat as an image of its own, the figures into Results. &model stands
// for the value of the variable, so that names may hold spaces and brackets.
run("Grad-CAM Heat Map...", "model=&model target=all opacity_percent=70");

selectImage(name + " heat");
saveAs("Tiff", folder + name + " heat.tif");
selectImage(id);
saveAs("Tiff", folder + name + " with heat.tif");

for (row = first; row < nResults; row++)
    print(getResultString("class", row) + ": probability " + getResult("probability", row) +
        ", most heat at x " + getResult("peak_x_px", row) + ", y " + getResult("peak_y_px", row));

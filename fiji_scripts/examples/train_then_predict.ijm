// From labelled images to a tested model: trains on a folder, then predicts other images and counts.
//
// DATA holds one folder of images for each class. So does IMAGES, if accuracy by class is wanted: the names of
// its folders are taken for the truth. A folder of images without class folders is predicted and not counted.
// No patient of IMAGES may be in DATA, or the accuracy says nothing.
//
// In the folder for the results are afterwards:
//   model, model.zip ...            the package, its report and its table of test images
//   predicted/CLASS/Predict.csv     class and probabilities of every image
//
// Run it in Fiji or in `mikata imagej`: File > Open..., then Run; it asks for the three folders.
// Run it without windows (OPTIONS of the training may be left out, such as recipe=texture epochs=5):
//   mikata macro train_then_predict.ijm --arg "DATA;IMAGES;RESULTS;OPTIONS"
//   Fiji --headless -macro train_then_predict.ijm "DATA;IMAGES;RESULTS;OPTIONS"
//
// Research use, not for diagnosis.

options = "";
if (getArgument() == "") {
    data = getDirectory("The folder to learn from, with a folder for each class");
    images = getDirectory("The folder of other images");
    results = getDirectory("A folder for the results");
    options = getString("Options of the training (empty: the recipe's)", options);
} else {
    parts = split(getArgument(), ";");
    data = parts[0];
    images = parts[1] + File.separator;
    results = parts[2] + File.separator;
    if (parts.length > 3) options = parts[3];
}

model = results + "model";
run("Train Network...", "data=&data out=&model " + options);

names = getFileList(images);  // those of folders end with a slash
Array.sort(names);
folders = 0;
cases = 0;
hits = 0;
for (i = 0; i < names.length; i++) {
    if (!endsWith(names[i], "/")) continue;
    folders++;
    truth = substring(names[i], 0, lengthOf(names[i]) - 1);
    folder = images + truth;
    out = results + "predicted" + File.separator + truth;
    first = nResults;
    run("Predict Images...", "images=&folder model=&model out=&out");
    right = 0;
    for (row = first; row < nResults; row++)
        if (getResultString("predicted", row) == truth) right++;
    count = nResults - first;
    print(truth + ": " + right + " of " + count + " right (" + d2s(100 * right / count, 1) + " %)");
    hits += right;
    cases += count;
}

if (folders > 0)
    print("all: " + hits + " of " + cases + " right (" + d2s(100 * hits / cases, 1) + " %)");
else {
    out = results + "predicted";
    first = nResults;
    run("Predict Images...", "images=&images model=&model out=&out");
    for (row = first; row < nResults; row++)
        print(getResultString("image", row) + ": " + getResultString("predicted", row) + ", probability " +
            d2s(getResult("probability", row), 3));
}

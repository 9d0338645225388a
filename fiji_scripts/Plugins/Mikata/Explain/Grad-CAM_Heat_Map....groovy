#@ CharSequence (label="Images (empty: current)", description="A file, a folder, or several with ; between; in ImageJ, when left empty, the current image or stack.", required=false, persist=false) images
#@ CharSequence (label="Model (folder or .zip)", description="Folder or .zip of a BioImage.IO package that Mikata has trained. Or the name of one that comes with Mikata; ./name is what lies on the disk under that name.", style="both", required=false, persist=false) model
#@ CharSequence (label="Target", description="The class to explain: predicted, all, or the name of a class.", value="predicted", required=false, persist=false) target
#@ CharSequence (label="Method", description="How heat is found: from a layer and its gradients (Grad-CAM to LayerCAM), a layer alone (Eigen-CAM, Score-CAM), or the image (the others). From Score-CAM on it takes many passes for each plane. (Grad-CAM, Grad-CAM++, HiResCAM, LayerCAM, Eigen-CAM, Score-CAM, Integrated-Gradients, Occlusion, RISE)", value="Grad-CAM", required=false, persist=false) method
#@ CharSequence (label="Layer", description="Dotted name of the network's layer to look at; when left empty, the last one with spatial extent. Methods that look at the image take none.", required=false, persist=false) layer
#@ CharSequence (label="Make", description="What to make: the overlay, the 32-bit heat map (the one to measure in), or both. (both, overlay, heat-map)", value="both", required=false, persist=false) result
#@ CharSequence (label="LUT", description="Colours of the overlay and the heat map. (Fire, Inferno, Magma, Viridis, Turbo, Jet, Grays)", value="Fire", required=false, persist=false) lut
#@ CharSequence (label="Opacity (%)", description="Opacity of the overlay at the scale's maximum; it follows the heat down to nothing.", min=0, max=100, value="60", required=false, persist=false) opacity_percent
#@ CharSequence (label="Contour (%)", description="Level of the contour ROIs in per cent of each map's own maximum, several with ; between (30;50;80); 0 draws none.", value="50", required=false, persist=false) contour_percent
#@ CharSequence (label="Scale maximum", description="Heat at the top of the colour scale, the same for all images; 0 takes the largest heat found.", min=0, value="0", required=false, persist=false) scale_maximum
#@ CharSequence (label="Hide colour bar", description="Leave the colour bar out of the overlay.", required=false, persist=false) hide_colour_bar
#@ CharSequence (label="Hide label", description="Leave the class, its probability and the method out of the overlay.", required=false, persist=false) hide_label
#@ CharSequence (label="Search folders in folders", description="Take the images of folders inside a folder too.", required=false, persist=false) subfolders
#@ CharSequence (label="Save to folder", description="Folder for the results (TIFF with overlay, TIFF of heat, table); when left empty, ImageJ shows them, and the command line makes a folder.", style="both", required=false, persist=false) out
#@ CharSequence (label="Window (Occlusion), %", description="Side of the square that Occlusion moves over the image by half its side, in per cent of the image's shorter side.", min=0.1, max=100, value="12.5", required=false, persist=false) window_percent
#@ CharSequence (label="Masks (RISE)", description="How many random masks RISE takes, the same for every plane; more give less noise.", min=1, max=1000000, value="1000", required=false, persist=false) masks
#@ CharSequence (label="Steps (Integrated-Gradients)", description="How many points from the baseline to the image Integrated-Gradients takes; more give a smaller error.", min=1, max=10000, value="50", required=false, persist=false) steps
#@ CharSequence (label="Baseline (Occlusion, Integrated-Gradients)", description="What stands for nothing: the mean of the training images, or the grey value 0. (mean, zero)", value="mean", required=false, persist=false) baseline
#@ CharSequence (label="Batch size", description="How many planes, or copies of a plane, go through the network at once; less needs less memory.", min=1, max=4096, value="16", required=false, persist=false) batch
#@ CharSequence (label="Put the maps to controls", description="Test the maps (random weights, covering, small changes, edges) and report it in tables and a page. It takes some 100 passes through the network for each control image, 30 of them to make maps: long with methods of many passes.", required=false, persist=false) controls
#@ CharSequence (label="Control images", description="On how many planes the controls are made, chosen by chance and spread over classes and files; they need images of at least 5 files.", min=5, max=200, value="12", required=false, persist=false) control_images
#@ CharSequence (label="Repeated trainings (packages)", description="Packages of the same training with other seeds, several with ; between: their maps are compared in the controls.", required=false, persist=false) repeats
#@ CharSequence (label="Overwrite existing files", description="Replace result files that are already in the folder.", required=false, persist=false) overwrite
#@ CharSequence (label="Keep metadata", description="Carry the header of a DICOM file over into results; it may name the patient.", required=false, persist=false) keep_metadata
#@ CharSequence (label="Contours into the ROI Manager", description="Put the contours into ImageJ's ROI Manager too; without ImageJ this changes nothing.", required=false, persist=false) roi_manager
// Grad-CAM Heat Map... in Fiji's menu and macros, generated by `mikata fiji scripts`. To change it, change the command in Python.
// Research use, not for diagnosis.
def module = binding.variables["org.scijava.script.ScriptModule"]
synchronized (ij.IJ) {
    if (ij.IJ.getProperty("mikata") == null) {
        def folder = new File(module.info.URL.toURI()).parentFile.parentFile
        def support = new File(folder, "Mikata.support").getText("UTF-8")
        def type = new GroovyClassLoader(this.class.classLoader).parseClass(support, "Mikata.groovy")
        ij.IJ.setProperty("mikata", type.newInstance(folder))
    }
}
ij.IJ.getProperty("mikata").apply("grad_cam", module)

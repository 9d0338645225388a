"""Heat Montage: original, heat and contours of many cases in one picture, correct and wrong ones side by side."""

"""What the pipeline knows of images, labels, splits, noise, subsets and views."""

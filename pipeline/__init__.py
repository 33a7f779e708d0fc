"""RoS-KD's pipeline: from images with doubtful labels to a registered, served student."""

import os

# PyTorch's threads wait for each other by spinning, without end by default: beside any busy process on two cores a
# training all but stands still (20 steps that take 19 s alone did not end in 60 s). Giving up the processor after some
# ten thousand turns ends that, and costs nothing alone: an epoch of the default experiment takes 1.4 to 1.5 s, 1.5 to
# 2.3 s with endless spinning, 2.2 s with a thousand turns. It must be set before torch is loaded; the user's wins.
os.environ.setdefault("GOMP_SPINCOUNT", "10000")

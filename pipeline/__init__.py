"""RoS-KD's pipeline: from images with doubtful labels to a registered, served student."""

import os

# PyTorch's threads wait for each other by spinning. With any other work beside a training on two cores, that made a
# step more than ten times slower (it did not end in 60 s what takes 20); giving up the processor after about a
# thousand turns costs nothing measurable alone (69 against 68 images/s) and keeps 63 images/s beside a busy process.
# It must be set before torch is loaded; a value from the user's environment wins.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")

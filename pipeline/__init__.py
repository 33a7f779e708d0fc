"""RoS-KD's pipeline: from images with doubtful labels to a registered, served student."""

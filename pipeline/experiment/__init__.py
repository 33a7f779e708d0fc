"""What stages and studies share: from parameters and prepared data to trained networks and their answers."""

"""The parameters of the experiment: the typed tree of params.yaml, and the file itself."""

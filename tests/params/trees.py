"""The tree of params.yaml, the same with one value changed, and what a section with a frozen backbone changes."""

import copy
from pathlib import Path

from pipeline.params import file as params_file

TREE = params_file.read_yaml(Path("params.yaml"))
PRETRAINED = {"weights": "imagenet", "width": 1.0, "train": "head"}


def changed(key: str, value: object) -> dict:
    tree = copy.deepcopy(TREE)
    *parents, last = key.split(".")
    section = tree
    for parent in parents:
        section = section[parent]
    section[last] = value
    return tree

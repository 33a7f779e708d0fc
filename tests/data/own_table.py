"""A small folder of one's own with a table of labels, and the parameters that read it."""

from pathlib import Path

from PIL import Image

from pipeline.params import file as params_file
from pipeline.params.overlay import merge
from pipeline.params.tree import Params
from pipeline.stages.preset import read_preset

NAMES = ("a.png", "ward 2/b.png", "ward 2/Läsion ß.png", "c.png")


def params_of(path: Path, task: str = "multiclass", **table: object) -> Params:
    tree = params_file.read_yaml(Path("params.yaml"))
    merge(tree, read_preset("own-images"))
    tree["task"] = task
    tree["data"] |= {"path": str(path), "image_size": 32}
    tree["data"]["table"] |= table
    return params_file.validate(tree, "test")


def write_csv(folder: Path, text: str) -> None:
    (folder / "labels.csv").write_text(text, encoding="utf-8")


def make_folder(root: Path) -> Path:
    """Four colour pictures of one grey level each, two of them in a folder with a space, one with odd letters."""
    for number, name in enumerate(NAMES):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 50), (10 * number,) * 3).save(root / name)
    return root

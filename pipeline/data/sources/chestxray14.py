"""NIH ChestX-ray14 (cardiopulmonary) in its official layout: a table of findings, test list, folders of PNGs."""

from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.common.errors import UserError
from pipeline.common.labels import SEPARATOR
from pipeline.common.tables import read_table, require_unique
from pipeline.data.sources.base import ImageFiles, Source, list_images, require_folder, require_images
from pipeline.params.data import DataParams

CLASSES = (
    "Atelectasis",
    "Cardiomegaly",
    "Effusion",
    "Infiltration",
    "Mass",
    "Nodule",
    "Pneumonia",
    "Pneumothorax",
)
NO_FINDING = "No Finding"
OTHER_FINDINGS = frozenset({"Consolidation", "Edema", "Emphysema", "Fibrosis", "Pleural_Thickening", "Hernia"})
"""Published findings outside the paper's eight; an image with these alone counts as one without finding."""
TABLE = "Data_Entry_2017_v2020.csv"
TEST_LIST = "test_list.txt"
LAYOUT = f"images/ (or images_001/images/ … images_012/images/), {TABLE} and {TEST_LIST} (the official NIH files)"


def open_chestxray14(params: DataParams) -> Source:
    """Open the folder `params.path`; groups are patients, source_split is the official test list."""
    root = Path(params.path)
    require_folder(root, LAYOUT)
    folders = [folder for folder in (root / "images", *sorted(root.glob("images_*/images"))) if folder.is_dir()]
    if not folders:
        raise UserError(f"{root}: no images/ folder. It should hold {LAYOUT}")
    table = read_table(root / TABLE, ["Image Index", "Finding Labels", "Patient ID"])
    require_unique(table["Image Index"], root / TABLE, "Image Index")
    paths = require_images(table["Image Index"], list_images(folders), root / TABLE, f"{root}/images*/")
    blank = table.index[table["Patient ID"] == ""]
    if len(blank):
        raise UserError(f"{root / TABLE}: data row {blank[0] + 1}, column Patient ID is blank; every film needs one")
    samples = pd.DataFrame(
        {
            "sample_id": table["Image Index"],
            "group_id": "patient_" + table["Patient ID"],
            "label": _findings(table["Finding Labels"], root / TABLE),
            "source_split": np.where(table["Image Index"].isin(_test_list(root / TEST_LIST)), "test", "train_val"),
        }
    )

    images = ImageFiles(paths, params.image_size, params.resize, 1)
    return Source(samples, CLASSES, 1, lambda scratch: images, (root / TABLE, root / TEST_LIST))


def _findings(cells: pd.Series, path: Path) -> list[str]:
    """The paper's findings of each cell; raises UserError that names a finding the data set does not have."""
    known = {*CLASSES, *OTHER_FINDINGS, NO_FINDING}
    kept = []
    for row, cell in enumerate(cells, 1):
        names = cell.split(SEPARATOR)
        unknown = [name for name in names if name not in known]
        if unknown:
            raise UserError(
                f"{path}: data row {row}, column Finding Labels: unknown finding {unknown[0]!r}; "
                f"known are {', '.join(sorted(known))}"
            )
        kept.append(SEPARATOR.join(name for name in CLASSES if name in names))
    return kept


def _test_list(path: Path) -> set[str]:
    try:
        return set(path.read_text(encoding="utf-8").split())
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; the official download has it beside {TABLE}") from None

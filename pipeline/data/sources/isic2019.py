"""ISIC 2019 (lesion) in its official layout: one-hot ground truth, metadata with lesion ids, a folder of JPEGs."""

from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.common.errors import UserError
from pipeline.common.tables import read_table, require_unique
from pipeline.data.sources.base import ImageFiles, Source, list_images, require_folder, require_images
from pipeline.params.data import DataParams

CLASSES = ("MEL", "NV", "BCC", "AK", "BKL", "DF", "VASC", "SCC")
GROUND_TRUTH = "ISIC_2019_Training_GroundTruth.csv"
METADATA = "ISIC_2019_Training_Metadata.csv"
IMAGES = "ISIC_2019_Training_Input"
LAYOUT = f"{IMAGES}/, {GROUND_TRUTH} and {METADATA} (the official ISIC 2019 training files)"


def open_isic2019(params: DataParams) -> Source:
    """Open the folder `params.path`; groups are lesions, an image without a lesion_id is its own group."""
    root = Path(params.path)
    require_folder(root, LAYOUT)
    require_folder(root / IMAGES, "the JPEG files")
    truth = read_table(root / GROUND_TRUTH, ["image", *CLASSES])
    require_unique(truth["image"], root / GROUND_TRUTH, "image")
    found = {Path(name).stem: path for name, path in list_images([root / IMAGES]).items()}
    paths = require_images(truth["image"], found, root / GROUND_TRUTH, f"{root / IMAGES}/")
    samples = pd.DataFrame(
        {
            "sample_id": truth["image"],
            "group_id": _lesions(truth["image"], root / METADATA),
            "label": _class_names(truth, root / GROUND_TRUTH),
        }
    )

    images = ImageFiles(paths, params.image_size, params.resize, 3)
    return Source(samples, CLASSES, 3, lambda scratch: images, (root / GROUND_TRUTH, root / METADATA))


def _class_names(truth: pd.DataFrame, path: Path) -> list[str]:
    """The one class of each row; raises UserError that names the row where there is none, or more than one."""
    values = truth[list(CLASSES)].apply(pd.to_numeric, errors="coerce").to_numpy()
    bad = np.flatnonzero(~np.isin(values, (0, 1)).all(axis=1) | (values.sum(axis=1) != 1))
    if len(bad):
        row = int(bad[0])
        raise UserError(
            f"{path}: data row {row + 1} ({truth['image'][row]}): {list(truth.loc[row, list(CLASSES)])} is not one-hot "
            f"over {', '.join(CLASSES)}; exactly one column must be 1. Correct the row or take it out"
        )
    return [CLASSES[c] for c in values.argmax(axis=1)]


def _lesions(images: pd.Series, path: Path) -> list[str]:
    metadata = read_table(path, ["image", "lesion_id"])
    require_unique(metadata["image"], path, "image")
    lesion = metadata.set_index("image")["lesion_id"]
    absent = images[~images.isin(lesion.index)]
    if len(absent):
        raise UserError(f"{path}: no row for image {absent.iloc[0]!r}; every image of the ground truth needs one")
    return [name or image for image, name in zip(images, lesion.loc[images], strict=True)]

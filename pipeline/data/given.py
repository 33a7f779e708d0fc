"""The labels that are trained on: the published ones with injected noise, and a person's corrections over them."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.data import noise
from pipeline.data.corrections import correct, read_corrections
from pipeline.data.noise_matrix import nominal
from pipeline.data.prepared import Samples
from pipeline.params.tree import Params


@dataclass(frozen=True)
class GivenLabels:
    """`given`: trained on; `noisy`: before the corrections, both (N,) or (N, C); `corrected`: bool (N,).

    `nominal` is the transition matrix that the noise was drawn from, None where the kind has none.
    """

    given: np.ndarray
    noisy: np.ndarray
    corrected: np.ndarray
    nominal: np.ndarray | None


def given_labels(params: Params, samples: Samples, split: np.ndarray, images: np.ndarray) -> GivenLabels:
    """Return the labels of all samples; those of the test split stay as published.

    `split`: str (N,); `images`: uint8 (N, H, W, channels), read for noise of kind `instance` alone. Raises UserError
    for a matrix or a corrections file that does not fit the data.
    """
    classes, affected = samples.classes, split != "test"
    matrix = nominal(params.noise, classes)
    noisy = noise.corrupt(
        samples.published, affected, len(classes), params.noise,
        transition=matrix, images=images, groups=samples.groups,
    )  # fmt: skip
    path = Path(params.data.corrections)
    given, corrected = correct(noisy, samples.ids, split, read_corrections(path, classes, params.task), path)
    return GivenLabels(given, noisy, corrected, matrix)

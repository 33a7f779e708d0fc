"""The embedded data set: drawn skin lesions and drawn chest films, so that everything runs without a download.

No image is real and no figure measured on them says anything about patients. They exist to exercise the whole
pipeline on a task that is learnable but not trivial: classes differ by structure (border, texture, rings, blobs),
while tones, light and pose are nuisances drawn from the same distributions for every class.

Everything is drawn in unit coordinates, so `image_size` changes the resolution and never the scene; every part draws
from its own Philox stream, keyed by the seed and the part's name, so an image depends on its arguments alone.
"""

import numpy as np

from pipeline.data.phantom_drawing import part_stream
from pipeline.data.phantom_films import FINDINGS, film
from pipeline.data.phantom_lesions import LESIONS, lesion

CLASSES: dict[str, tuple[str, ...]] = {"multiclass": LESIONS, "multilabel": FINDINGS}
LESION_SHARES = (0.15, 0.20, 0.14, 0.11, 0.14, 0.07, 0.09, 0.10)  # in the order of LESIONS; sums to 1
PATIENT_RATES = (0.15, 0.09, 0.16, 0.19, 0.10, 0.12, 0.09, 0.10)  # in the order of FINDINGS; independent of each other
FINDING_KEPT = 0.85  # chance that a patient's finding shows on any one of that patient's films
MAX_IMAGES = {"multiclass": 3, "multilabel": 4}  # per lesion, per patient
GROUP_PREFIX = {"multiclass": "lesion", "multilabel": "patient"}
MIN_GRID = 96  # px; smaller images are drawn at least this fine and averaged down, so that thin structures stay


def labels(task: str, count: int, seed: int) -> tuple[list[tuple[str, ...]], list[str]]:
    """Draw the label names and the group id of `count` images.

    multiclass: one name each; all photographs of a lesion (1 to 3) share it; classes are dealt to lesions by quota.
    multilabel: any number of names; a patient's films (1 to 4) share most findings; about 40 % of films have none.
    Images of a group are next to each other. Raises ValueError for an unknown task or a negative count.
    """
    classes = _classes(task)
    if count < 0:
        raise ValueError(f"count is {count}; it must be 0 or more")
    rng = part_stream(seed, task, "labels")
    sizes = rng.integers(1, MAX_IMAGES[task] + 1, size=count)
    group_of = np.repeat(np.arange(count), sizes)[:count]
    n_groups = int(group_of[-1]) + 1 if count else 0
    groups = [f"{GROUP_PREFIX[task]}-{g:05d}" for g in group_of]
    if task == "multiclass":
        dealt = _deal(rng, LESION_SHARES, n_groups)
        return [(classes[dealt[g]],) for g in group_of], groups
    has = np.zeros((n_groups, len(classes)), dtype=bool)
    for column, rate in enumerate(PATIENT_RATES):
        has[rng.permutation(n_groups)[: round(rate * n_groups)], column] = True
    shown = has[group_of] & (rng.random((count, len(classes))) < FINDING_KEPT)
    return [tuple(name for name, on in zip(classes, row, strict=True) if on) for row in shown], groups


def render(task: str, index: int, label: tuple[str, ...], group: str, image_size: int, seed: int) -> np.ndarray:
    """Draw one image: uint8 (S, S, 3) for multiclass, (S, S, 1) for multilabel, S = `image_size` in pixels.

    A pure function of its arguments: `(seed, group)` fix the lesion or the patient, `(seed, group, index)` pose, light
    and noise. `label` alone draws the signs: the same call with another label shows the same skin, or the same patient.
    Raises ValueError for an unknown task or label, for a lesion without exactly one label, and below 8 pixels.
    """
    unknown = set(label) - set(_classes(task))
    if unknown or (task == "multiclass" and len(label) != 1):
        raise ValueError(f"label {label!r} does not fit task {task}: expected names of {_classes(task)}")
    if image_size < 8:
        raise ValueError(f"image_size is {image_size}; phantoms need at least 8 pixels")
    factor = -(-MIN_GRID // image_size)
    size = image_size * factor
    axis = (np.arange(size) + 0.5) / size - 0.5
    if task == "multiclass":
        image = lesion(axis, label[0], group, index, seed)
    else:
        image = film(axis, label, group, index, seed)
    image = image.reshape(image_size, factor, image_size, factor, -1).mean(axis=(1, 3))
    rng = part_stream(seed, group, index, "noise")
    image = image + rng.uniform(0.01, 0.02) * rng.standard_normal(image.shape)
    return np.clip(np.rint(255 * image), 0, 255).astype(np.uint8)


def _classes(task: str) -> tuple[str, ...]:
    if task not in CLASSES:
        raise ValueError(f"unknown task {task!r}: expected one of {sorted(CLASSES)}")
    return CLASSES[task]


def _deal(rng: np.random.Generator, shares: tuple[float, ...], count: int) -> np.ndarray:
    """Class index of each of `count` groups, (count,): quotas by largest remainder, in random order."""
    exact = np.array(shares) * count
    quota = np.floor(exact).astype(int)
    quota[np.argsort(quota - exact, kind="stable")[: count - quota.sum()]] += 1
    return rng.permutation(np.repeat(np.arange(len(shares)), quota))

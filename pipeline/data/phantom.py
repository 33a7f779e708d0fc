"""The embedded data set: drawn skin lesions and drawn chest films, so that everything runs without a download.

No image is real and no figure measured on them says anything about patients. They exist to exercise the whole
pipeline on a task that is learnable but not trivial: classes differ by structure (border, texture, rings, blobs),
while tones, light and pose are nuisances drawn from the same distributions for every class.

Everything is drawn in unit coordinates, so `image_size` changes the resolution and never the scene; every part draws
from its own Philox stream, keyed by the seed and the part's name, so an image depends on its arguments alone.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

CLASSES: dict[str, tuple[str, ...]] = {
    "multiclass": ("MEL", "NV", "BCC", "AK", "BKL", "DF", "VASC", "SCC"),
    "multilabel": (
        "Atelectasis",
        "Cardiomegaly",
        "Effusion",
        "Infiltration",
        "Mass",
        "Nodule",
        "Pneumonia",
        "Pneumothorax",
    ),
}
LESION_SHARES = (0.15, 0.20, 0.14, 0.11, 0.14, 0.07, 0.09, 0.10)
PATIENT_RATES = (0.15, 0.09, 0.16, 0.19, 0.10, 0.12, 0.09, 0.10)
FINDING_KEPT = 0.85  # chance that a patient's finding shows on any one of that patient's films
MAX_IMAGES = {"multiclass": 3, "multilabel": 4}  # per lesion, per patient
GROUP_PREFIX = {"multiclass": "lesion", "multilabel": "patient"}
MIN_GRID = 96  # px; smaller images are drawn at least this fine and averaged down, so that thin structures stay


def labels(task: str, count: int, seed: int) -> tuple[list[tuple[str, ...]], list[str]]:
    """Draw the label names and the group id of `count` images.

    multiclass: one name each; all photographs of a lesion (1 to 3) share it; classes are dealt to lesions by quota.
    multilabel: any number of names; a patient's films (1 to 4) share most findings; about 40 % of films have none.
    Images of a group stand next to each other. Raises ValueError for an unknown task or a negative count.
    """
    classes = _classes(task)
    if count < 0:
        raise ValueError(f"count is {count}; it must be 0 or more")
    rng = _stream(seed, task, "labels")
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
    and noise, and `label` only adds its own signs, so two calls that differ in `label` alone show the same scene.
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
    image = _lesion(axis, label[0], group, index, seed) if task == "multiclass" else _film(axis, label, group, index, seed)
    channels = image.shape[-1]
    image = image.reshape(image_size, factor, image_size, factor, channels).mean(axis=(1, 3))
    rng = _stream(seed, group, index, "noise")
    image = image + rng.uniform(0.01, 0.035) * rng.standard_normal(image.shape)
    return np.clip(np.rint(255 * image), 0, 255).astype(np.uint8)


def _classes(task: str) -> tuple[str, ...]:
    if task not in CLASSES:
        raise ValueError(f"unknown task {task!r}: expected one of {sorted(CLASSES)}")
    return CLASSES[task]


def _stream(*names: object) -> np.random.Generator:
    """A Philox stream keyed by `names`: the same on every machine, independent of every other name's stream."""
    digest = hashlib.blake2b("/".join(map(str, names)).encode(), digest_size=16).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest, "little")))


def _deal(rng: np.random.Generator, shares: tuple[float, ...], count: int) -> np.ndarray:
    """Class index of each of `count` groups, (count,): quotas by largest remainder, in random order."""
    exact = np.array(shares) * count
    quota = np.floor(exact).astype(int)
    quota[np.argsort(quota - exact, kind="stable")[: count - quota.sum()]] += 1
    return rng.permutation(np.repeat(np.arange(len(shares)), quota))


def _step(value: np.ndarray, width: float) -> np.ndarray:
    """Soft step from 0 to 1 at value 0; `width` in the units of `value`."""
    return 0.5 + 0.5 * np.tanh(value / width)


@dataclass(frozen=True)
class Frame:
    """A pose: unit coordinates of the image, shifted, turned and scaled into an object's own coordinates.

    `axis` (n,): pixel centres in [-0.5, 0.5]; `centre` (2,): the object's origin (x, y); `scale`: the object's unit
    length as a share of the image side; `angle` in radians. Waves and Gaussians stay separable in x and y under such
    a pose, so fields cost one small matrix product each and no transcendental function per pixel.
    """

    axis: np.ndarray
    centre: np.ndarray
    scale: float
    angle: float

    @property
    def turn(self) -> np.ndarray:
        """(2, 2) matrix that takes a shift in the image to a shift in the object's coordinates."""
        c, s = np.cos(self.angle), np.sin(self.angle)
        return np.array([[c, s], [-s, c]]) / self.scale

    def coordinates(self) -> tuple[np.ndarray, np.ndarray]:
        """The object's x and y of every pixel, two (n, n)."""
        x, y = self.axis - self.centre[0], (self.axis - self.centre[1])[:, None]
        turn = self.turn
        return turn[0, 0] * x + turn[0, 1] * y, turn[1, 0] * x + turn[1, 1] * y

    def field(self, rng: np.random.Generator, low: float, high: float, count: int = 20) -> np.ndarray:
        """A smooth random field (n, n), mean 0, variance 1: waves of `low` to `high` cycles per unit length."""
        angle, phase = rng.uniform(0, 2 * np.pi, (2, count))
        k = 2 * np.pi * rng.uniform(low, high, count) * np.stack([np.cos(angle), np.sin(angle)])
        kx, ky = self.turn.T @ k
        across = np.exp(1j * np.outer(kx, self.axis - self.centre[0]))
        down = np.exp(1j * (np.outer(ky, self.axis - self.centre[1]) + phase[:, None]))
        return np.sqrt(2 / count) * (down.T @ across).real

    def spots(self, points: np.ndarray, radius: float | np.ndarray, edge: float = 0.15) -> np.ndarray:
        """Soft discs in [0, 1], (n, n), at `points` (P, 2) with `radius` (scalar or (P,)), object's coordinates."""
        x, y = np.linalg.inv(self.turn) @ np.asarray(points, dtype=float).T + self.centre[:, None]
        half = (np.sqrt(np.log(2)) / (np.asarray(radius) * self.scale)) * np.ones(len(x))
        across = np.exp(-((half[:, None] * (self.axis - x[:, None])) ** 2))
        down = np.exp(-((half[:, None] * (self.axis - y[:, None])) ** 2))
        return _step(down.T @ across - 0.5, edge)


# --- lesions ---------------------------------------------------------------------------------------------------------
# class: (radius range as a share of the image side, border irregularity, border softness, elongation range)
LESION_FORMS: dict[str, tuple[tuple[float, float], float, float, tuple[float, float]]] = {
    "MEL": ((0.25, 0.36), 0.24, 0.10, (1.1, 1.5)),
    "NV": ((0.18, 0.30), 0.03, 0.12, (1.0, 1.3)),
    "BCC": ((0.22, 0.34), 0.08, 0.12, (1.0, 1.3)),
    "AK": ((0.24, 0.36), 0.16, 0.40, (1.0, 1.5)),
    "BKL": ((0.22, 0.34), 0.07, 0.05, (1.0, 1.5)),
    "DF": ((0.18, 0.30), 0.04, 0.25, (1.0, 1.2)),
    "VASC": ((0.20, 0.32), 0.06, 0.10, (1.0, 1.3)),
    "SCC": ((0.24, 0.36), 0.18, 0.15, (1.0, 1.3)),
}


def _scatter(rng: np.random.Generator, count: int, inner: float, outer: float) -> np.ndarray:
    """`count` points (count, 2) spread evenly in angle between the radii `inner` and `outer`, with jitter."""
    angle = 2 * np.pi * (np.arange(count) + rng.uniform(-0.3, 0.3, count)) / count + rng.uniform(0, 2 * np.pi)
    radius = np.sqrt(rng.uniform(inner**2, outer**2, count))
    return radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)


def _texture(name: str, frame: Frame, depth: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """The class's inner structure: pigment (1 = the lesion's own density) and whiteness in [0, 1], both (n, n).

    `depth` (n, n): 0 on the border, 1 at the centre, in lesion radii.
    """
    plain, none = np.ones_like(depth), np.zeros_like(depth)
    if name == "MEL":  # dark blotches off centre, a paler regressing part, a coarse broken network
        blotch = _step(frame.field(rng, 0.25, 0.6), 0.4)
        network = np.exp(-((frame.field(rng, 0.9, 1.5) / 0.4) ** 2))
        return 0.35 + 1.2 * blotch + 0.3 * network, none
    if name == "NV":  # one tone, a fine regular network that fades outwards
        return plain + 0.25 * np.exp(-((frame.field(rng, 1.6, 2.0) / 0.5) ** 2)) - 0.1, none
    if name == "BCC":  # a pearly, pale body with dark ovoid nests along the rim
        nests = frame.spots(_scatter(rng, int(rng.integers(4, 7)), 0.6, 0.85), rng.uniform(0.16, 0.24))
        return 0.45 + 1.6 * nests, 0.25 * _step(depth - 0.35, 0.2)
    if name == "AK":  # faint and ill defined, strewn with white scale
        scale = _step(frame.field(rng, 1.0, 1.8) - 0.9, 0.3)
        return 0.75 * plain, 0.75 * scale
    if name == "BKL":  # stuck on: sharp border, bright milia-like cysts and dark comedo-like openings
        cysts = frame.spots(_scatter(rng, int(rng.integers(4, 7)), 0.2, 0.75), rng.uniform(0.11, 0.16))
        plugs = frame.spots(_scatter(rng, int(rng.integers(3, 6)), 0.2, 0.75), rng.uniform(0.11, 0.16))
        return 0.9 + 0.9 * plugs, 0.7 * cysts
    if name == "DF":  # a white scar in the centre of a pigmented ring
        scar = _step(depth - rng.uniform(0.5, 0.65), 0.12)
        return 1.15 - 0.9 * scar, 0.35 * scar
    if name == "VASC":  # round lacunae, parted by pale septa
        outer = frame.spots(_scatter(rng, int(rng.integers(5, 7)), 0.6, 0.7), rng.uniform(0.24, 0.3), 0.08)
        inner = frame.spots(_scatter(rng, 1, 0.0, 0.1), rng.uniform(0.24, 0.32), 0.08)
        return 0.25 + 1.3 * np.maximum(outer, inner), none
    # SCC: a ragged keratin plug in the centre, radial streaks at the rim
    x, y = frame.coordinates()
    streaks = _step(np.cos(rng.integers(8, 12) * np.arctan2(y, x) + rng.uniform(0, 6)), 0.5)
    plug = _step(depth - 0.55 + 0.2 * frame.field(rng, 0.6, 1.2), 0.1)
    return (0.6 + 0.8 * streaks) * (1 - plug) + 0.5 * plug, 0.65 * plug


def _lesion(axis: np.ndarray, name: str, group: str, index: int, seed: int) -> np.ndarray:
    """One dermoscopic photograph, (n, n, 3) in about [0, 1]."""
    body, pose = _stream(seed, group, "body"), _stream(seed, group, index, "pose")
    (low, high), irregular, soft, (round_, long) = LESION_FORMS[name]
    radius = body.uniform(low, high) * pose.uniform(0.92, 1.08)
    frame = Frame(axis, pose.uniform(-0.09, 0.09, 2), radius, pose.uniform(0, 2 * np.pi))
    x, y = frame.coordinates()
    stretch = np.sqrt(body.uniform(round_, long))
    depth = 1 - np.hypot(x / stretch, y * stretch) + irregular * frame.field(body, 0.3, 1.0)
    mask = _step(depth, soft)
    pigment, white = _texture(name, frame, depth, body)

    skin, tint = _tones(_stream(seed, group, "tone"))
    ground = _background(axis, _stream(seed, group, index, "skin"))
    contrast = _stream(seed, group, "contrast").uniform(0.45, 1.1)
    density = ground + contrast * mask * np.clip(pigment, 0, None)
    image = skin * np.exp(-density[..., None] * tint)
    image = image + (0.75 * mask * white)[..., None] * (np.array([0.97, 0.93, 0.86]) - image)
    return _light(image, axis, _stream(seed, group, index, "light"))


def _tones(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Skin colour and the absorption of the lesion's pigment, both (3,), drawn alike for every class."""
    fair, brown = np.array([0.95, 0.80, 0.73]), np.array([0.66, 0.47, 0.37])
    skin = fair + rng.uniform(0, 1) * (brown - fair) + rng.uniform(-0.03, 0.03, 3)
    melanin, haemoglobin, slate = np.array([0.7, 1.1, 1.4]), np.array([0.4, 1.5, 1.2]), np.array([1.2, 1.0, 0.8])
    return skin, rng.dirichlet([1.0, 1.0, 0.6]) @ np.stack([melanin, haemoglobin, slate])


def _background(axis: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Extra density of the skin around and over the lesion, (n, n): uneven tone, creases, hairs."""
    frame = Frame(axis, np.zeros(2), 1.0, 0.0)
    density = 0.08 * frame.field(rng, 0.5, 2.5) + 0.03 * frame.field(rng, 6, 14)
    x, y = frame.coordinates()
    for _ in range(rng.integers(0, 5)):
        angle, offset, bend = rng.uniform(0, np.pi), rng.uniform(-0.45, 0.45), rng.uniform(-0.6, 0.6)
        along, across = np.cos(angle) * x + np.sin(angle) * y, np.cos(angle) * y - np.sin(angle) * x
        distance = (across - offset - bend * along**2) / rng.uniform(0.006, 0.012)
        density = density + rng.uniform(0.4, 1.2) * np.exp(-np.minimum(distance**2, 40))
    return density


def _light(image: np.ndarray, axis: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Camera and light: bubbles with bright rims, vignette, exposure, white balance; (n, n, 3) in and out."""
    frame = Frame(axis, np.zeros(2), 1.0, 0.0)
    count = int(rng.integers(0, 4))
    bubbles = frame.spots(rng.uniform(-0.48, 0.48, (count, 2)), rng.uniform(0.015, 0.04, count))
    image = image + 0.5 * bubbles[..., None] * (1 - image)
    reach = axis**2 + (axis**2)[:, None]
    shade = 1 - rng.uniform(0, 0.7) * reach + rng.uniform(-0.15, 0.15) * axis + rng.uniform(-0.15, 0.15) * axis[:, None]
    return image * shade[..., None] * rng.uniform(0.85, 1.08) * rng.uniform(0.94, 1.06, 3)

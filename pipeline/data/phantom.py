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

LESIONS = ("MEL", "NV", "BCC", "AK", "BKL", "DF", "VASC", "SCC")
FINDINGS = ("Atelectasis", "Cardiomegaly", "Effusion", "Infiltration", "Mass", "Nodule", "Pneumonia", "Pneumothorax")
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
        image = _lesion(axis, label[0], group, index, seed)
    else:
        image = _film(axis, label, group, index, seed)
    image = image.reshape(image_size, factor, image_size, factor, -1).mean(axis=(1, 3))
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


def _outer(down: np.ndarray, across: np.ndarray) -> np.ndarray:
    """Sum over k of down[k, i] * across[k, j], (n, n). Not `@`: BLAS starts threads, and rounds by their number."""
    return np.einsum("ki,kj->ij", down, across)


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
        across = np.outer(kx, self.axis - self.centre[0])
        down = np.outer(ky, self.axis - self.centre[1]) + phase[:, None]
        # cos(a + b) = cos a cos b - sin a sin b
        return np.sqrt(2 / count) * (_outer(np.cos(down), np.cos(across)) - _outer(np.sin(down), np.sin(across)))

    def spots(self, points: np.ndarray, radius: float | np.ndarray, edge: float = 0.15) -> np.ndarray:
        """Soft discs in [0, 1], (n, n), at `points` (P, 2) with `radius` (scalar or (P,)), object's coordinates."""
        x, y = np.linalg.inv(self.turn) @ np.asarray(points, dtype=float).T + self.centre[:, None]
        half = (np.sqrt(np.log(2)) / (np.asarray(radius) * self.scale)) * np.ones(len(x))
        across = np.exp(-((half[:, None] * (self.axis - x[:, None])) ** 2))
        down = np.exp(-((half[:, None] * (self.axis - y[:, None])) ** 2))
        return _step(_outer(down, across) - 0.5, edge)


# --- lesions ---------------------------------------------------------------------------------------------------------
# class: (radius range as a share of the image side, border irregularity, border softness, elongation range)
LESION_FORMS: dict[str, tuple[tuple[float, float], float, float, tuple[float, float]]] = {
    "MEL": ((0.25, 0.36), 0.24, 0.10, (1.1, 1.5)),
    "NV": ((0.18, 0.30), 0.03, 0.12, (1.0, 1.3)),
    "BCC": ((0.22, 0.34), 0.08, 0.12, (1.0, 1.3)),
    "AK": ((0.24, 0.36), 0.16, 0.40, (1.0, 1.5)),
    "BKL": ((0.22, 0.34), 0.07, 0.05, (1.0, 1.5)),
    "DF": ((0.20, 0.31), 0.04, 0.25, (1.0, 1.2)),
    "VASC": ((0.22, 0.34), 0.06, 0.10, (1.0, 1.3)),
    "SCC": ((0.24, 0.36), 0.18, 0.15, (1.0, 1.3)),
}


def _scatter(rng: np.random.Generator, count: int, inner: float, outer: float) -> np.ndarray:
    """`count` points (count, 2) spread evenly in angle between the radii `inner` and `outer`, with jitter."""
    angle = 2 * np.pi * (np.arange(count) + rng.uniform(-0.2, 0.2, count)) / count + rng.uniform(0, 2 * np.pi)
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
    if name == "BKL":  # stuck on: sharp border, brain-like ridges, a few bright milia-like cysts
        x, _ = frame.coordinates()
        ridges = np.cos(2 * np.pi * (rng.uniform(0.8, 1.1) * x + 0.12 * frame.field(rng, 0.3, 0.8)))
        cysts = frame.spots(_scatter(rng, int(rng.integers(3, 6)), 0.2, 0.75), rng.uniform(0.12, 0.16))
        return 0.95 + 0.45 * ridges, 0.6 * cysts
    if name == "DF":  # a white scar in the centre of a pigmented ring
        scar = _step(depth - rng.uniform(0.5, 0.65), 0.12)
        return 1.15 - 0.9 * scar, 0.35 * scar
    if name == "VASC":  # round lacunae, parted by pale septa
        lacunae = frame.spots(_scatter(rng, int(rng.integers(3, 5)), 0.5, 0.6), rng.uniform(0.32, 0.38), 0.08)
        return 0.2 + 1.2 * lacunae, none
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
    for _ in range(rng.integers(0, 4)):
        angle, offset, bend = rng.uniform(0, np.pi), rng.uniform(-0.45, 0.45), rng.uniform(-0.6, 0.6)
        along, across = np.cos(angle) * x + np.sin(angle) * y, np.cos(angle) * y - np.sin(angle) * x
        distance = (across - offset - bend * along**2) / rng.uniform(0.006, 0.012)
        density = density + rng.uniform(0.3, 1.0) * np.exp(-np.minimum(distance**2, 40))
    return density


def _light(image: np.ndarray, axis: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Camera and light: bubbles, vignette, exposure, white balance; (n, n, 3) in and out."""
    frame = Frame(axis, np.zeros(2), 1.0, 0.0)
    count = int(rng.integers(0, 4))
    bubbles = frame.spots(rng.uniform(-0.48, 0.48, (count, 2)), rng.uniform(0.015, 0.04, count))
    image = image + 0.5 * bubbles[..., None] * (1 - image)
    reach = axis**2 + (axis**2)[:, None]
    shade = 1 - rng.uniform(0, 0.7) * reach + rng.uniform(-0.15, 0.15) * axis + rng.uniform(-0.15, 0.15) * axis[:, None]
    return image * shade[..., None] * rng.uniform(0.85, 1.08) * rng.uniform(0.94, 1.06, 3)


# --- chest films -----------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Chest:
    """A thorax on the pixel grid; lengths are shares of the image side, y grows downwards, side -1 is image left."""

    frame: Frame
    x: np.ndarray  # (n, n), 0 on the spine
    y: np.ndarray  # (n, n)
    width: float  # inner half-width of the ribcage at its base
    wall: np.ndarray  # (n, n): half-width of the ribcage at the pixel's height
    dome: dict[int, np.ndarray]  # side -> (n, n): height of the diaphragm at the pixel's |x|
    heart: np.ndarray  # (n, n) in [0, 1]
    lung: dict[int, np.ndarray]  # side -> (n, n) in [0, 1]

    def place(self, rng: np.random.Generator, side: int, count: int = 1) -> np.ndarray:
        """`count` points (count, 2) well inside one lung."""
        return np.stack([side * self.width * rng.uniform(0.4, 0.72, count), rng.uniform(-0.2, 0.08, count)], axis=1)


def _chest(axis: np.ndarray, cardiomegaly: bool, group: str, index: int, seed: int) -> Chest:
    """The patient's anatomy in the film's pose. The cardiothoracic ratio is 0.40-0.48, enlarged 0.62-0.72."""
    body, pose = _stream(seed, group, "body"), _stream(seed, group, index, "pose")
    frame = Frame(axis, pose.uniform(-0.03, 0.03, 2), pose.uniform(0.93, 1.05), pose.uniform(-0.06, 0.06))
    x, y = frame.coordinates()
    width, apex, base = body.uniform(0.36, 0.42), body.uniform(-0.42, -0.37), body.uniform(0.19, 0.25)
    base += pose.uniform(-0.015, 0.015)  # depth of breath
    ratio = body.uniform(0.40, 0.48) + cardiomegaly * body.uniform(0.22, 0.24)
    drop, tilt = body.uniform(0.0, 0.03), body.uniform(0.2, 0.5)
    wall = width * np.sqrt(1 - np.clip((0.3 - y) / (0.3 - apex), 0, 1) ** 2.4)
    bow = 0.09 * ((np.abs(x) / width - 0.45) / 0.55) ** 2
    dome = {-1: base + bow, 1: base + drop + bow}
    half = ratio * width
    u, v = x - 0.3 * half, y - (base - 0.07)
    heart = _step(1 - np.hypot((u + tilt * v) / half, (v - 0.15 * u) / (0.10 + 0.3 * half)), 0.07)
    outside = _step(wall - np.abs(x), 0.012) * _step(np.abs(x) - 0.06, 0.015) * (1 - heart)
    lung = {side: outside * (side * x > 0) * _step(dome[side] - y, 0.012) for side in (-1, 1)}
    return Chest(frame, x, y, width, wall, dome, heart, lung)


def _sign(name: str, chest: Chest, rng: np.random.Generator) -> np.ndarray:
    """A finding's sign as opacity, (n, n): up to 1 whitens, negative values (air) darken. `rng` is the patient's."""
    side = int(rng.choice([-1, 1]))
    lung, across = chest.lung[side], np.abs(chest.x) / chest.width
    if name == "Atelectasis":  # plates above a raised half of the diaphragm
        opacity = _step(chest.y - chest.dome[side] + rng.uniform(0.05, 0.09), 0.012)
        for step in range(rng.integers(1, 4)):
            middle = chest.dome[side].min() - 0.14 - 0.07 * step + rng.uniform(-0.3, 0.3) * (chest.x - side * 0.2)
            opacity = np.maximum(opacity, np.exp(-(((chest.y - middle) / rng.uniform(0.012, 0.018)) ** 2)))
        return 0.8 * lung * opacity
    if name == "Effusion":  # fluid that blunts the costophrenic angle, its upper border climbing to the wall
        level = chest.dome[side].min() - rng.uniform(0.0, 0.10) + 0.06
        return 0.9 * lung * _step(chest.y - level + 0.14 * across**3, 0.015)
    if name == "Infiltration":  # patchy haze on both sides
        patches = _step(chest.frame.field(rng, 3.0, 6.0) - 0.1, 0.5)
        zone = np.exp(-(((chest.y - rng.uniform(-0.1, 0.1)) / 0.2) ** 2))
        return rng.uniform(0.5, 0.65) * patches * zone * (chest.lung[-1] + chest.lung[1])
    if name == "Mass":  # one large, lobulated, dense opacity
        bumps = 0.12 * chest.frame.field(rng, 4.0, 8.0)
        disc = chest.frame.spots(chest.place(rng, side), rng.uniform(0.07, 0.10), 0.5)
        return 0.85 * lung * _step(disc - 0.5 + bumps, 0.15)
    if name == "Nodule":  # one to three small round opacities
        count = int(rng.integers(1, 4))
        return 0.9 * lung * chest.frame.spots(chest.place(rng, side, count), rng.uniform(0.028, 0.038))
    if name == "Pneumonia":  # a lobe turned solid, straight along the fissure, with air-filled bronchi left dark
        fissure = chest.y - rng.uniform(-0.12, -0.02) - rng.uniform(-0.2, 0.2) * (across - 0.5)
        bronchi = np.exp(-((chest.frame.field(rng, 3.0, 5.0) / 0.25) ** 2))
        return 0.75 * lung * _step(rng.choice([-1, 1]) * fissure, 0.015) * (1 - 0.4 * bronchi)
    # Pneumothorax: air outside a collapsed lung, whose edge shows as a thin line
    gap = rng.uniform(0.07, 0.12) * (1 + np.clip(-2 * chest.y, -0.5, 0.8))
    inside = np.abs(chest.x) - (chest.wall - gap)
    return lung * (0.75 * np.exp(-((inside / 0.009) ** 2)) - 0.85 * _step(inside - 0.012, 0.008) + 0.15 * (inside < 0))


def _film(axis: np.ndarray, label: tuple[str, ...], group: str, index: int, seed: int) -> np.ndarray:
    """One frontal chest film, (n, n, 1) in about [0, 1], bone bright and air dark."""
    chest = _chest(axis, "Cardiomegaly" in label, group, index, seed)
    x, y, lungs = chest.x, chest.y, chest.lung[-1] + chest.lung[1]
    body = _stream(seed, group, "texture")
    image = 0.60 + 0.12 * chest.heart - body.uniform(0.36, 0.42) * lungs
    image = image + 0.08 * _step(y - np.minimum(chest.dome[-1], chest.dome[1]), 0.02) * (1 - chest.heart)
    image = image + _bones(chest, body)
    hilum = np.exp(-(((np.abs(x) - 0.09) / 0.10) ** 2) - (y / 0.16) ** 2)
    vessels = np.exp(-((chest.frame.field(body, 3.0, 7.0) / 0.35) ** 2))
    image = image + lungs * (0.16 * hilum + 0.10 * vessels * (0.3 + hilum))
    for name in FINDINGS:
        if name in label and name != "Cardiomegaly":  # the enlarged heart is part of the anatomy already
            opacity = _sign(name, chest, _stream(seed, group, name))
            image = image + np.clip(opacity, 0, 1) * (0.74 - image) + np.clip(opacity, -1, 0) * (image - 0.10)
    flesh = chest.width + body.uniform(0.05, 0.09) + 0.12 * _step(-y - 0.22, 0.06)
    image = image * (0.08 + 0.92 * _step(flesh - np.abs(x), 0.02))
    return _expose(image, axis, _stream(seed, group, index, "light"))[..., None]


def _bones(chest: Chest, rng: np.random.Generator) -> np.ndarray:
    """Brightness added by ribs, clavicles and spine, (n, n)."""
    y, across = chest.y, np.abs(chest.x)
    arcs = y - 0.35 * across + 1.1 * (across - 0.05) ** 2
    ribs = _step(np.cos(2 * np.pi * (rng.uniform(8.0, 9.5) * arcs + rng.uniform())) - 0.45, 0.3)
    ribs = ribs * _step(chest.wall + 0.02 - across, 0.01) * _step(0.28 - y, 0.05)
    collar = np.exp(-(((y + 0.27 + 0.25 * across) / 0.016) ** 2))
    collar = collar * _step(across - 0.04, 0.01) * _step(0.36 - across, 0.02)
    spine = _step(0.04 - across, 0.01) * (0.8 + 0.2 * np.cos(2 * np.pi * 14 * y))
    return rng.uniform(0.05, 0.09) * ribs + 0.09 * collar + 0.10 * spine


def _expose(image: np.ndarray, axis: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Exposure, contrast and an uneven beam, (n, n) in and out."""
    beam = 1 + rng.uniform(-0.15, 0.15) * axis + rng.uniform(-0.15, 0.15) * axis[:, None]
    return np.clip(image * beam, 0, 1) ** rng.uniform(0.75, 1.35) * rng.uniform(0.9, 1.15)

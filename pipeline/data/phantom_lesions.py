"""Drawn skin lesions: eight classes that differ in structure, never in colour alone."""

import numpy as np

from pipeline.data.phantom_drawing import Frame, part_stream, step

LESIONS = ("MEL", "NV", "BCC", "AK", "BKL", "DF", "VASC", "SCC")
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
        blotch = step(frame.field(rng, 0.25, 0.6), 0.4)
        network = np.exp(-((frame.field(rng, 0.9, 1.5) / 0.4) ** 2))
        return 0.35 + 1.2 * blotch + 0.3 * network, none
    if name == "NV":  # one tone, a fine regular network
        return plain + 0.25 * np.exp(-((frame.field(rng, 1.6, 2.0) / 0.5) ** 2)) - 0.1, none
    if name == "BCC":  # a pearly, pale body with dark ovoid nests along the rim
        nests = frame.spots(_scatter(rng, int(rng.integers(4, 7)), 0.6, 0.85), rng.uniform(0.16, 0.24))
        return 0.45 + 1.6 * nests, 0.25 * step(depth - 0.35, 0.2)
    if name == "AK":  # faint and ill defined, strewn with white scale
        scale = step(frame.field(rng, 1.0, 1.8) - 0.9, 0.3)
        return 0.75 * plain, 0.75 * scale
    if name == "BKL":  # stuck on: sharp border, brain-like ridges, a few bright milia-like cysts
        x, _ = frame.coordinates()
        ridges = np.cos(2 * np.pi * (rng.uniform(0.8, 1.1) * x + 0.12 * frame.field(rng, 0.3, 0.8)))
        cysts = frame.spots(_scatter(rng, int(rng.integers(3, 6)), 0.2, 0.75), rng.uniform(0.12, 0.16))
        return 0.95 + 0.45 * ridges, 0.6 * cysts
    if name == "DF":  # a white scar in the centre of a pigmented ring
        scar = step(depth - rng.uniform(0.5, 0.65), 0.12)
        return 1.15 - 0.9 * scar, 0.35 * scar
    if name == "VASC":  # round lacunae, some of them fused
        lacunae = frame.spots(_scatter(rng, int(rng.integers(3, 5)), 0.5, 0.6), rng.uniform(0.32, 0.38), 0.08)
        return 0.2 + 1.2 * lacunae, none
    # SCC: a ragged keratin plug in the centre, radial streaks at the rim
    x, y = frame.coordinates()
    streaks = step(np.cos(rng.integers(8, 12) * np.arctan2(y, x) + rng.uniform(0, 6)), 0.5)
    plug = step(depth - 0.55 + 0.2 * frame.field(rng, 0.6, 1.2), 0.1)
    return (0.6 + 0.8 * streaks) * (1 - plug) + 0.5 * plug, 0.65 * plug


def lesion(axis: np.ndarray, name: str, group: str, index: int, seed: int) -> np.ndarray:
    """One dermoscopic photograph, (n, n, 3) in about [0, 1]."""
    body, pose = part_stream(seed, group, "body"), part_stream(seed, group, index, "pose")
    (low, high), irregular, soft, (round_, long) = LESION_FORMS[name]
    radius = 1.2 * body.uniform(low, high) * pose.uniform(0.94, 1.06)
    frame = Frame(axis, pose.uniform(-0.05, 0.05, 2), radius, pose.uniform(0, 2 * np.pi))
    x, y = frame.coordinates()
    stretch = np.sqrt(body.uniform(round_, long))
    depth = 1 - np.hypot(x / stretch, y * stretch) + irregular * frame.field(body, 0.3, 1.0)
    mask = step(depth, soft)
    pigment, white = _texture(name, frame, depth, body)

    skin, tint = _tones(part_stream(seed, group, "tone"))
    ground = _background(axis, part_stream(seed, group, index, "skin"))
    contrast = part_stream(seed, group, "contrast").uniform(0.8, 1.3)
    density = ground + contrast * mask * np.clip(pigment, 0, None)
    image = skin * np.exp(-density[..., None] * tint)
    image = image + (0.75 * mask * white)[..., None] * (np.array([0.97, 0.93, 0.86]) - image)
    return _light(image, axis, part_stream(seed, group, index, "light"))


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

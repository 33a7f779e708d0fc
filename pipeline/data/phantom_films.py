"""Drawn chest films: a varying anatomy, and each finding as its film sign."""

from dataclasses import dataclass

import numpy as np

from pipeline.data.phantom_drawing import Frame, part_stream, step

FINDINGS = ("Atelectasis", "Cardiomegaly", "Effusion", "Infiltration", "Mass", "Nodule", "Pneumonia", "Pneumothorax")


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
    body, pose = part_stream(seed, group, "body"), part_stream(seed, group, index, "pose")
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
    heart = step(1 - np.hypot((u + tilt * v) / half, (v - 0.15 * u) / (0.10 + 0.3 * half)), 0.07)
    outside = step(wall - np.abs(x), 0.012) * step(np.abs(x) - 0.06, 0.015) * (1 - heart)
    lung = {side: outside * (side * x > 0) * step(dome[side] - y, 0.012) for side in (-1, 1)}
    return Chest(frame, x, y, width, wall, dome, heart, lung)


def _sign(name: str, chest: Chest, rng: np.random.Generator) -> np.ndarray:
    """A finding's sign as opacity, (n, n): up to 1 whitens, negative values (air) darken. `rng` is the patient's."""
    side = int(rng.choice([-1, 1]))
    lung, across = chest.lung[side], np.abs(chest.x) / chest.width
    if name == "Atelectasis":  # plates above a raised half of the diaphragm
        opacity = step(chest.y - chest.dome[side] + rng.uniform(0.05, 0.09), 0.012)
        for plate in range(rng.integers(1, 4)):
            middle = chest.dome[side].min() - 0.14 - 0.07 * plate + rng.uniform(-0.3, 0.3) * (chest.x - side * 0.2)
            opacity = np.maximum(opacity, np.exp(-(((chest.y - middle) / rng.uniform(0.012, 0.018)) ** 2)))
        return 0.8 * lung * opacity
    if name == "Effusion":  # fluid that blunts the costophrenic angle, its upper border climbing to the wall
        level = chest.dome[side].min() - rng.uniform(0.0, 0.10) + 0.06
        return 0.9 * lung * step(chest.y - level + 0.14 * across**3, 0.015)
    if name == "Infiltration":  # patchy haze on both sides
        patches = step(chest.frame.field(rng, 3.0, 6.0) - 0.1, 0.5)
        zone = np.exp(-(((chest.y - rng.uniform(-0.1, 0.1)) / 0.2) ** 2))
        return rng.uniform(0.5, 0.65) * patches * zone * (chest.lung[-1] + chest.lung[1])
    if name == "Mass":  # one large, lobulated, dense opacity
        bumps = 0.12 * chest.frame.field(rng, 4.0, 8.0)
        disc = chest.frame.spots(chest.place(rng, side), rng.uniform(0.07, 0.10), 0.5)
        return 0.85 * lung * step(disc - 0.5 + bumps, 0.15)
    if name == "Nodule":  # one to three small round opacities
        count = int(rng.integers(1, 4))
        return 0.9 * lung * chest.frame.spots(chest.place(rng, side, count), rng.uniform(0.028, 0.038))
    if name == "Pneumonia":  # a lobe turned solid, straight along the fissure, with air-filled bronchi left dark
        fissure = chest.y - rng.uniform(-0.12, -0.02) - rng.uniform(-0.2, 0.2) * (across - 0.5)
        bronchi = np.exp(-((chest.frame.field(rng, 3.0, 5.0) / 0.25) ** 2))
        return 0.75 * lung * step(rng.choice([-1, 1]) * fissure, 0.015) * (1 - 0.4 * bronchi)
    # Pneumothorax: air outside a collapsed lung, whose edge shows as a thin line
    gap = rng.uniform(0.07, 0.12) * (1 + np.clip(-2 * chest.y, -0.5, 0.8))
    inside = np.abs(chest.x) - (chest.wall - gap)
    return lung * (0.75 * np.exp(-((inside / 0.009) ** 2)) - 0.85 * step(inside - 0.012, 0.008) + 0.15 * (inside < 0))


def film(axis: np.ndarray, label: tuple[str, ...], group: str, index: int, seed: int) -> np.ndarray:
    """One frontal chest film, (n, n, 1) in about [0, 1], bone bright and air dark."""
    chest = _chest(axis, "Cardiomegaly" in label, group, index, seed)
    x, y, lungs = chest.x, chest.y, chest.lung[-1] + chest.lung[1]
    body = part_stream(seed, group, "texture")
    image = 0.60 + 0.12 * chest.heart - body.uniform(0.36, 0.42) * lungs
    image = image + 0.08 * step(y - np.minimum(chest.dome[-1], chest.dome[1]), 0.02) * (1 - chest.heart)
    image = image + _bones(chest, body)
    hilum = np.exp(-(((np.abs(x) - 0.09) / 0.10) ** 2) - (y / 0.16) ** 2)
    vessels = np.exp(-((chest.frame.field(body, 3.0, 7.0) / 0.35) ** 2))
    image = image + lungs * (0.16 * hilum + 0.10 * vessels * (0.3 + hilum))
    for name in FINDINGS:
        if name in label and name != "Cardiomegaly":  # the enlarged heart is part of the anatomy already
            opacity = _sign(name, chest, part_stream(seed, group, name))
            image = image + np.clip(opacity, 0, 1) * (0.74 - image) + np.clip(opacity, -1, 0) * (image - 0.10)
    flesh = chest.width + body.uniform(0.05, 0.09) + 0.12 * step(-y - 0.22, 0.06)
    image = image * (0.08 + 0.92 * step(flesh - np.abs(x), 0.02))
    return _expose(image, axis, part_stream(seed, group, index, "light"))[..., None]


def _bones(chest: Chest, rng: np.random.Generator) -> np.ndarray:
    """Brightness added by ribs, clavicles and spine, (n, n)."""
    y, across = chest.y, np.abs(chest.x)
    arcs = y - 0.35 * across + 1.1 * (across - 0.05) ** 2
    ribs = step(np.cos(2 * np.pi * (rng.uniform(8.0, 9.5) * arcs + rng.uniform())) - 0.45, 0.3)
    ribs = ribs * step(chest.wall + 0.02 - across, 0.01) * step(0.28 - y, 0.05)
    collar = np.exp(-(((y + 0.27 + 0.25 * across) / 0.016) ** 2))
    collar = collar * step(across - 0.04, 0.01) * step(0.36 - across, 0.02)
    spine = step(0.04 - across, 0.01) * (0.8 + 0.2 * np.cos(2 * np.pi * 14 * y))
    return rng.uniform(0.05, 0.09) * ribs + 0.09 * collar + 0.10 * spine


def _expose(image: np.ndarray, axis: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Exposure, contrast and an uneven beam, (n, n) in and out."""
    beam = 1 + rng.uniform(-0.15, 0.15) * axis + rng.uniform(-0.15, 0.15) * axis[:, None]
    return np.clip(image * beam, 0, 1) ** rng.uniform(0.75, 1.35) * rng.uniform(0.9, 1.15)

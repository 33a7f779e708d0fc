"""The data card: what went into a run, as the rows and sentences that the template lays out."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.common.labels import SEPARATOR
from pipeline.params.tree import NoiseParams, Params
from pipeline.report.data_plots import group_counts
from pipeline.report.findings import groups_word, source_name
from pipeline.report.results import Results
from pipeline.report.tables import SPLITS, Row

SHOWN = 20
"""Rows of files and of duplicates that the card shows; data/report.json holds more."""
SHOWN_IDS = 4
FITTED = {
    "crop": "the centre square of each image, resized",
    "pad": "resized, padded to a square with black bars",
    "squash": "squashed to a square",
}
CHANNELS = {1: "grey", 3: "colour"}


def facts(results: Results) -> list[tuple[str, str]]:
    """The card's first lines: what the data are, how many, how stored, how split, how noisy."""
    params, data = results.params, results.data
    size, C = data["image_size"], len(results.classes)
    several = params.task == "multilabel"
    fitted = "drawn at this size" if params.data.source == "phantom" else FITTED[params.data.resize]
    per_split = ", ".join(f"{name} {count:,}" for name, count in _images(results).items())
    left_out = len(data["quarantined"])
    return [
        ("Source", source_name(params)),
        ("Task", f"any number of {C} findings per image" if several else f"one of {C} classes per image"),
        ("Images", _amount(results)),
        ("Stored as", f"{size} × {size} pixels, {CHANNELS[data['channels']]}, 8 bits; {fitted}"),
        ("Left out", f"{left_out:,} images that could not be read" if left_out else "nothing; every image was read"),
        ("Splits", f"{per_split}; {split_words(params)}"),
        ("Label noise", noise_words(params.noise)),
        ("SHA-256", data["sha256"]),
    ]


def _images(results: Results) -> dict[str, int]:
    return {name: int(np.count_nonzero(results.samples["split"] == name)) for name in SPLITS}


def _amount(results: Results) -> str:
    images, groups = len(results.samples), results.samples["group_id"].nunique()
    if images == groups:
        return f"{images:,}, each from a different {groups_word(results.params, one=True)}"
    return f"{images:,} of {groups:,} {groups_word(results.params)}"


def split_words(params: Params) -> str:
    """How the splits came about."""
    split = params.split
    if split.official:
        return "test as the source lists it"
    if split.folds is not None:
        return (
            f"test is fold {split.fold} of the {split.folds} folds 0 to {split.folds - 1}, dealt with seed {split.seed}"
        )
    return f"{split.train:g} : {split.val:g} : {split.test:g}, dealt with seed {split.seed}"


def noise_words(noise: NoiseParams) -> str:
    """Which noise was injected, in words and with its nominal rate."""
    rate = f"nominal rate {noise.rate:g}"
    return {
        "none": "none; labels as published",
        "symmetric": f"symmetric, {rate}: a changed label becomes any other class, all alike",
        "pair": f"pair, {rate}: a changed label becomes the next class",
        "matrix": f"matrix: as {Path(noise.matrix).name} says; directions alone are scaled by rate {noise.rate:g}",
        "instance": f"instance, {rate}: which labels change, and to what, follows from the images' look",
        "flip": f"flip: present findings missed at rate {noise.miss_rate:g}, absent ones added at {noise.false_rate:g}",
    }[noise.kind]


def class_counts(results: Results) -> list[Row]:
    """Images and groups of every class in each split by the published label, and images in train by the given one.

    Cells: images in train, val, test and all, share of all, groups in train, val and test, given in train.
    """
    samples = results.samples
    flags, given = results.published, results.given
    names = list(results.classes)
    if results.params.task == "multilabel":
        flags, given = (np.column_stack([found, ~found.any(axis=1)]) for found in (flags, given))
        names.append("no finding")
    groups = pd.factorize(samples["group_id"])[0]
    masks = [(samples["split"] == split).to_numpy(dtype=bool) for split in SPLITS]
    rows = [
        _count_row(name, flags[:, c], masks, groups, int(np.count_nonzero(given[masks[0], c])))
        for c, name in enumerate(names)
    ]
    total = _count_row("all", np.ones(len(samples), dtype=bool), masks, groups, int(masks[0].sum()))
    return [*rows, Row(total.head, total.cells, kind="sum")]


def _count_row(name: str, shown: np.ndarray, masks: Sequence[np.ndarray], groups: np.ndarray, given: int) -> Row:
    images = [int(np.count_nonzero(shown & mask)) for mask in masks]
    held = [len(np.unique(groups[shown & mask])) for mask in masks]
    share = f"{sum(images) / max(len(shown), 1):.1%}"
    return Row(name, [*(f"{n:,}" for n in (*images, sum(images))), share, *(f"{n:,}" for n in (*held, given))])


def crossing_groups(results: Results) -> int:
    """How many groups are in more than one split."""
    return int((results.samples.groupby("group_id")["split"].nunique() > 1).sum())


def folds(results: Results) -> list[Row]:
    """Images and groups of every fold; empty without cross-validation."""
    if "fold" not in results.samples:
        return []
    grouped = results.samples.groupby(results.samples["fold"].astype(int))["group_id"]
    test = results.params.split.fold
    return [
        Row(f"fold {fold}" + (" (test)" if fold == test else ""), [f"{len(ids):,}", f"{ids.nunique():,}"])
        for fold, ids in grouped
    ]


def groups_sentence(results: Results) -> str:
    """The least, the middle and the most images of one group."""
    counts = group_counts(results)
    one, many = (groups_word(results.params, one=one) for one in (True, False))
    if counts.max() == 1:
        return f"Every {one} has one image."
    if counts.min() == counts.max():
        return f"{len(counts):,} {many} with {counts.max():,} images each."
    alone = np.count_nonzero(counts == 1)
    return (
        f"{len(counts):,} {many} with {counts.min()} to {counts.max():,} images each, median {np.median(counts):g}; "
        f"{alone:,} of them {'has' if alone == 1 else 'have'} one image."
    )


def sizes(results: Results) -> list[Row]:
    """Width and height of the images met, the most frequent first, with their number and share."""
    data, total = results.data, max(len(results.samples), 1)
    rows = [(f"{size['width']:,} × {size['height']:,}", size["images"]) for size in data["sizes"]]
    rest = len(results.samples) - sum(images for _, images in rows)
    if data["other_sizes"]:
        rows.append((f"{data['other_sizes']:,} further sizes", rest))
    return [Row(name, [f"{images:,}", f"{images / total:.1%}"]) for name, images in rows]


def quarantined(results: Results) -> list[Row]:
    """The first images that were left out, with the reason."""
    return [Row(name, [reason]) for name, reason in list(results.data["quarantined"].items())[:SHOWN]]


def duplicates_sentence(results: Results) -> str:
    """How many sets of equal images belong to different groups, and in how many the labels differ."""
    sets, conflicting = (results.data[name] for name in ("duplicate_sets", "conflicting_sets"))
    many = groups_word(results.params)
    if not sets:
        return f"No two {many} share an image with exactly the same pixels."
    labels = f"in {conflicting:,} of them the published labels differ" if conflicting else "their labels agree"
    return (
        f"Images with exactly the same pixels in different {many}: {_count(sets, 'set')}; {labels}. A set in train and "
        f"in test means that a test image was trained on."
    )


def duplicates(results: Results) -> list[Row]:
    """The first sets of equal images: labels, images, samples, groups, splits; kind `conflict` where labels differ."""
    split_of = dict(zip(results.samples["sample_id"], results.samples["split"], strict=True))
    rows = []
    for found in results.data["duplicates"][:SHOWN]:
        labels = [label.replace(SEPARATOR, " + ") or "no finding" for label in dict.fromkeys(found["labels"])]
        splits = {split_of[name] for name in found["samples"]}
        cells = [
            f"{found['images']:,}",
            _some(found["samples"]),
            _some(list(dict.fromkeys(found["groups"]))),
            ", ".join(name for name in SPLITS if name in splits),
            "labels differ" if found["conflicting"] else "same label",
        ]
        rows.append(Row(_some(labels), cells, kind="conflict" if found["conflicting"] else ""))
    return rows


def near_duplicates_sentence(results: Results) -> str:
    """How many images look like one of another group, how many of these are leaks, and how many contradict."""
    found, many = results.audit.get("near_duplicates"), groups_word(results.params)
    if found is None:
        return ""
    if not found["images"]:
        return f"No two {many} have images that look the same (thumbnails that correlate)."
    return (
        f"{found['images']:,} images look like one of another {groups_word(results.params, one=True)} (thumbnails that "
        f"correlate): copies saved anew, resized, brightened, turned or mirrored. {found['across_splits']:,} of them "
        f"have their twin in another split, {found['conflicting']:,} another label than it. All are listed in "
        "audit/near_duplicates.csv; give such images one group, or leave one out."
    )


def near_duplicates(results: Results) -> list[Row]:
    """The first near-duplicates: sample, twin, similarity, splits, labels; kind `conflict` where labels differ."""
    rows = []
    for one in results.near_duplicates.head(SHOWN).to_dict("records"):
        labels = [str(one[name]).replace(SEPARATOR, " + ") or "no finding" for name in ("given", "given_of")]
        differ = labels[0] != labels[1]
        cells = [str(one["duplicate_of"]), f"{float(one['similarity']):.3f}", f"{one['split']}, {one['split_of']}"]
        rows.append(
            Row(str(one["sample_id"]), [*cells, " / ".join(dict.fromkeys(labels))], kind="conflict" if differ else "")
        )
    return rows


def _some(names: Sequence[str]) -> str:
    more = len(names) - SHOWN_IDS
    return ", ".join(names[:SHOWN_IDS]) + (f" and {more:,} more" if more > 0 else "")


def _count(number: int, thing: str) -> str:
    return f"{number:,} {thing}" if number == 1 else f"{number:,} {thing}s"


def noise_rates(results: Results) -> list[Row]:
    """Per split: images, labels changed by noise, their share, labels corrected by hand."""
    samples = results.samples
    flipped = samples["flipped"].to_numpy(dtype=bool)
    differs = (samples["given"] != samples["published"]).to_numpy(dtype=bool)
    rows = []
    for split in SPLITS:
        mask = (samples["split"] == split).to_numpy(dtype=bool)
        counts = [int(np.count_nonzero(mask & chosen)) for chosen in (mask, flipped, differs & ~flipped)]
        share = f"{results.noise['realised'][split]:.1%}"
        rows.append(Row(split, [f"{counts[0]:,}", f"{counts[1]:,}", share, f"{counts[2]:,}"]))
    return rows


def finding_rates(results: Results) -> list[Row]:
    """Per finding: present, missed, rate, absent, added, rate; empty for one class per image or without noise."""
    if results.noise["kind"] == "none" or "per_class" not in results.noise:
        return []
    rows = []
    for name, found in results.noise["per_class"].items():
        missed = [f"{found['present']:,}", f"{found['missed']:,}", _rate(found["miss_rate"])]
        rows.append(Row(name, [*missed, f"{found['absent']:,}", f"{found['false']:,}", _rate(found["false_rate"])]))
    return rows


def _rate(value: float | None) -> str:
    return "" if value is None else f"{value:.1%}"


def deviation_sentence(results: Results) -> str:
    """How far the realised transition matrix is from the nominal one; empty where either is missing."""
    noise = results.noise
    if noise["kind"] == "none" or "transition" not in noise or noise["nominal"] is None:
        return ""
    counts = np.array(noise["transition"])
    met = counts.sum(axis=1) > 0
    realised = counts[met] / counts[met].sum(axis=1, keepdims=True)
    furthest = float(np.abs(realised - np.array(noise["nominal"])[met]).max())
    return f"No cell is further than {100 * furthest:.1f} percentage points from the nominal matrix."

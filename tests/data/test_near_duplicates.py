"""Images that look the same: copies by any way a file is copied are found, others are not."""

import io

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from pipeline.data import near_duplicates as module
from pipeline.data.near_duplicates import near_duplicates

S, N = 48, 12


def pictures(seed: int = 0, channels: int = 3) -> np.ndarray:
    """Smooth random images, uint8 (N, S, S, channels), which no correlation connects."""
    drawn = np.random.default_rng(seed).integers(0, 256, (N, 6, 6, channels), dtype=np.uint8)
    return np.stack([_resized(image, S) for image in drawn])


def _resized(image: np.ndarray, side: int) -> np.ndarray:
    grey = image.shape[-1] == 1
    found = np.asarray(Image.fromarray(image[..., 0] if grey else image).resize((side, side), Image.Resampling.BICUBIC))
    return found[..., None] if grey else found


def jpeg(image: np.ndarray) -> np.ndarray:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "jpeg", quality=50)
    return np.asarray(Image.open(buffer))


def find(images: np.ndarray, groups: list[int] | None = None, split: list[str] | None = None, threshold: float = 0.99):
    own = list(range(len(images))) if groups is None else groups
    parts = ["train"] * len(images) if split is None else split
    return near_duplicates(images, np.array(own), np.array(parts), threshold)


COPIES = {
    "the same": lambda image: image,
    "saved as JPEG": jpeg,
    "half the size and back": lambda image: _resized(_resized(image, S // 2), S),
    "brighter": lambda image: np.asarray(ImageEnhance.Brightness(Image.fromarray(image)).enhance(1.1)),
    "less contrast": lambda image: np.asarray(ImageEnhance.Contrast(Image.fromarray(image)).enhance(0.7)),
    "mirrored": lambda image: image[:, ::-1],
    "upside down": lambda image: image[::-1],
    "turned": lambda image: np.rot90(image),
    "turned and mirrored": lambda image: np.rot90(image[:, ::-1], 3),
}


@pytest.mark.parametrize("copy", COPIES.values(), ids=COPIES)
def test_a_copy_in_another_group_is_found_from_both_sides(copy):
    images = pictures()
    images[7] = copy(images[2])
    found = find(images)
    assert {(place, int(other)) for place, other in enumerate(found.place) if other >= 0} == {(2, 7), (7, 2)}
    assert found.similarity[2] == pytest.approx(found.similarity[7], abs=1e-6)
    assert 0.99 <= found.similarity[2] <= 1
    assert np.isnan(np.delete(found.similarity, [2, 7])).all()


def test_the_similarity_is_the_correlation_of_the_grey_thumbnails():
    images = pictures(channels=1)
    images[3, :24] = images[8, :24]
    small = np.array([images[place].reshape(16, 3, 16, 3).mean(axis=(1, 3)).ravel() for place in (3, 8)])
    expected = np.corrcoef(small.round())[0, 1]
    found = find(images, threshold=0.2)
    assert (found.place[3], found.place[8]) == (8, 3)
    assert found.similarity[3] == pytest.approx(expected, abs=1e-3)


def test_images_of_one_group_are_no_duplicates_of_each_other():
    images = pictures()
    images[7] = images[2]
    assert (find(images, groups=[*range(7), 2, *range(8, N)]).place == -1).all()


def test_a_copy_in_another_split_comes_before_a_closer_one_in_the_same():
    images = pictures()
    images[5], images[9] = images[2], jpeg(images[2])
    split = ["train"] * 9 + ["test"] + ["train"] * 2
    found = find(images, split=split)
    assert (found.place[2], found.place[5], found.place[9]) == (9, 9, 2)
    assert find(images).place[2] == 5


def test_of_equal_copies_the_first_is_named():
    images = pictures()
    images[[4, 6, 11]] = images[1]
    assert find(images).place[[1, 4, 6, 11]].tolist() == [4, 1, 1, 1]


@pytest.mark.parametrize("channels", [1, 3])
def test_blank_images_are_like_none(channels):
    images = pictures(channels=channels)
    images[[2, 3]] = 255
    images[[4, 5]] = 0
    assert (find(images).place == -1).all()


def test_blocks_change_nothing(monkeypatch):
    images = pictures()
    images[[0, 5, 11]] = images[2], jpeg(images[3]), np.rot90(images[4])
    whole = find(images, threshold=0.3)
    monkeypatch.setattr(module, "BLOCK", 5)
    parts = find(images, threshold=0.3)
    assert parts.place.tolist() == whole.place.tolist()
    assert parts.similarity == pytest.approx(whole.similarity, nan_ok=True, abs=1e-6)


def test_an_image_size_that_is_no_multiple_of_the_thumbnails():
    images = np.stack([_resized(image, 50) for image in pictures()])
    images[7] = images[2]
    assert find(images).place[7] == 2

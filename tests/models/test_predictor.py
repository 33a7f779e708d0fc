"""Encoded images in, class names and probabilities out."""

import io

import numpy as np
import onnxruntime
import pytest
from PIL import Image

from models.errors import ModelError
from models.pixels import ImageError
from models.predictor import Predictor
from models.providers import CPU, CUDA, Compute, has_gpu


def encoded(colour, format="PNG", size=(20, 10)):
    stream = io.BytesIO()
    Image.new("RGB", size, colour).save(stream, format)
    return stream.getvalue()


def test_multiclass(write_student):
    red, blue = Predictor(write_student()).predict([encoded("red"), encoded("blue", "BMP")])
    assert red["label"] == "MEL"
    assert red["probabilities"] == pytest.approx({"MEL": 0.7, "NV": 0.2, "BCC": 0.1}, abs=1e-6)
    assert blue["label"] == "BCC"
    assert blue["probabilities"] == pytest.approx({"MEL": 0.1, "NV": 0.3, "BCC": 0.6}, abs=1e-6)


@pytest.mark.parametrize(
    ("thresholds", "labels"),
    [([0.6, 0.25, 0.3], ["MEL", "NV|BCC", "NV|BCC"]), (None, ["MEL", "", "BCC"])],  # without thresholds: 0.5
)
def test_multilabel(write_student, thresholds, labels):
    predictor = Predictor(write_student("multilabel", thresholds=thresholds))
    predictions = predictor.predict([encoded("red"), encoded((0, 255, 0)), encoded("blue")])
    assert [prediction["label"] for prediction in predictions] == labels
    assert predictions[0]["probabilities"] == pytest.approx({"MEL": 0.7, "NV": 0.2, "BCC": 0.1}, abs=1e-6)


def test_a_finding_at_its_threshold_is_called(write_student):
    predictor = Predictor(write_student("multilabel", thresholds=[0.5, 0.5, 0.5]))
    assert predictor.label(np.array([0.5, 0.4999, 0.5001])) == "MEL|BCC"
    assert predictor.label(np.array([0.0, 0.0, 0.0])) == ""


def test_resizing_follows_the_metadata(write_student):
    """Half red, half blue, 20 x 10: a centre square holds both in equal parts, and so does the padded image."""
    picture = Image.new("RGB", (20, 10), "red")
    picture.paste("blue", (10, 0, 20, 10))
    stream = io.BytesIO()
    picture.save(stream, "PNG")
    crop = Predictor(write_student()).pixels([stream.getvalue()])
    pad = Predictor(write_student(resize="pad")).pixels([stream.getvalue()])
    assert crop.shape == pad.shape == (1, 8, 8, 3)
    assert crop[0, 0].tolist()[0] == [255, 0, 0]
    assert pad[0, 0].tolist()[0] == [0, 0, 0]


def test_many_images_are_those_images(write_student):
    predictor = Predictor(write_student())
    contents = [encoded("red"), encoded("blue")] * 35
    assert [p["label"] for p in predictor.predict(contents)] == ["MEL", "BCC"] * 35
    assert predictor.predict([]) == []


def test_unreadable_image_is_named(write_student):
    with pytest.raises(ImageError, match="image 2 of 3: not an image file"):
        Predictor(write_student()).predict([encoded("red"), b"hello", b""])


@pytest.mark.parametrize("size", [(8, 8), (20, 10)])
def test_raw_pixels_are_answered_as_their_image(write_student, size):
    predictor = Predictor(write_student())
    noise = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), np.uint8)
    stream = io.BytesIO()
    Image.fromarray(noise).save(stream, "PNG")
    grey = np.full((6, 9, 1), 128, np.uint8)
    as_file, as_pixels, of_grey = predictor.pixels([stream.getvalue(), noise, grey])
    np.testing.assert_array_equal(as_pixels, as_file)
    assert (of_grey == 128).all()


def test_threads_decode_as_one_does(write_student):
    path = write_student()
    contents = [encoded((shade, 10, 200)) for shade in range(0, 250, 10)]
    one, two = (Predictor(path, Compute(threads=threads)) for threads in (1, 2))
    np.testing.assert_array_equal(one.pixels(contents), two.pixels(contents))
    with pytest.raises(ImageError, match="image 3 of 25: not an image file"):
        two.pixels([*contents[:2], b"hello", *contents[3:20], b"hello too", *contents[21:]])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image_size": 16}, r"takes pixels \[\[8, 8, 3\]\] .* say \[16, 16, 3\]"),
        ({"classes": ["MEL", "NV"]}, r"probabilities \[\[3\]\], .* and 2 classes"),
        ({"channels": 1}, r"say \[8, 8, 1\]"),
    ],
)
def test_a_network_that_is_not_what_its_metadata_say(write_student, changes, message):
    with pytest.raises(ModelError, match=message):
        Predictor(write_student(**changes))


def test_missing_or_damaged_file(write_student):
    path = write_student()
    with pytest.raises(ModelError, match=r"none\.onnx: cannot be opened"):
        Predictor(path.with_name("none.onnx"))
    path.write_bytes(b"junk")
    with pytest.raises(ModelError, match=r"student\.onnx: cannot be opened as an ONNX network"):
        Predictor(path)


@pytest.mark.gpu
def test_gpu_computes_what_the_cpu_does(write_student):
    if not has_gpu():
        pytest.skip("no CUDA device")
    if CUDA not in onnxruntime.get_available_providers():
        pytest.skip("an onnxruntime without CUDA")
    contents = [encoded("red"), encoded((10, 200, 90))]
    on_gpu = Predictor(write_student(), Compute(require_gpu=True))
    assert on_gpu.provider == CUDA
    on_cpu = Predictor(write_student(), Compute(providers=(CPU,)))
    for first, second in zip(on_gpu.predict(contents), on_cpu.predict(contents), strict=True):
        assert first["probabilities"] == pytest.approx(second["probabilities"], abs=1e-5)

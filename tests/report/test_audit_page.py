"""The label audit as a file: what it holds, and that nothing in it is markup but the template's own."""

import base64
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.common.errors import UserError
from pipeline.report.audit_page import Neighbour, Vote, data_uri, in_script, write_page
from tests.report.audit_suspects import HOSTILE, suspect


class Elements(HTMLParser):
    """The elements of a page, and the text of its scripts by id."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: dict[str | None, str] = {}
        self.title = ""
        self._open: tuple[str, str | None] = ("", None)
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._open = (tag, dict(attrs).get("id"))

    def handle_endtag(self, tag):
        self._open = ("", None)

    def handle_data(self, data):
        tag, name = self._open
        if tag == "script":
            self.scripts[name] = self.scripts.get(name, "") + data
        elif tag == "title":
            self.title += data


def written(tmp_path, suspects, classes=("A", "B"), task="multiclass", title="Audit"):
    path = tmp_path / "new folder" / "audit.html"
    write_page(path, suspects, classes=classes, task=task, title=title, data_key="k")
    return path.read_text(encoding="utf-8")


def test_the_page_holds_suspects_labels_votes_and_neighbours(tmp_path):
    pixels = np.full((4, 4, 1), 7, dtype=np.uint8)
    near = Neighbour("n 1", "B", pixels + 1)
    one = suspect("s/1.png", given="A", suggested="B", score=0.25, thumbnail=pixels, neighbours=(near,), votes=(0.3,))
    elements = Elements(written(tmp_path, [one]))
    data, images = (json.loads(elements.scripts[name]) for name in ("data", "images"))
    assert data == {
        "key": "k",
        "task": "multiclass",
        "classes": ["A", "B"],
        "suspects": [
            {
                "id": "s/1.png", "group": "g of s/1.png", "split": "train", "given": [0], "suggested": [1],
                "score": 0.25, "confidence": 0.25, "image": 1,
                "votes": [{"teacher": "teacher 0", "probabilities": [0.3, 0.7]}],
                "neighbours": [{"id": "n 1", "given": [1], "image": 0}],
            }
        ],
    }  # fmt: skip
    assert [decoded(uri)[0, 0] for uri in images] == [8, 7]


def test_several_findings_or_none_become_positions_of_classes(tmp_path):
    samples = [suspect("s", given="B|A", suggested="", task="multilabel")]
    (one,) = json.loads(Elements(written(tmp_path, samples, task="multilabel")).scripts["data"])["suspects"]
    assert (one["given"], one["suggested"]) == ([0, 1], [])


def test_no_name_becomes_markup(tmp_path):
    plain = Elements(written(tmp_path, [suspect("s")]))
    samples = [suspect(name, given=name, suggested=HOSTILE[0], classes=HOSTILE) for name in HOSTILE]
    text = written(tmp_path, samples, classes=HOSTILE, title=HOSTILE[0])
    hostile = Elements(text)
    assert hostile.tags == plain.tags
    assert hostile.title == HOSTILE[0]
    data = json.loads(hostile.scripts["data"])
    assert data["classes"] == list(HOSTILE)
    assert [one["id"] for one in data["suspects"]] == list(HOSTILE)
    for name in ("data", "images"):
        assert re.search("[<>&\u2028\u2029]", hostile.scripts[name]) is None
        assert hostile.scripts[name].isascii()


def test_json_in_a_script_has_no_character_that_ends_it():
    assert in_script(["</script>&\u2028\u2029"]) == r'["\u003c/script\u003e\u0026\u2028\u2029"]'


def test_the_page_needs_no_other_file_and_no_network(tmp_path):
    text = written(tmp_path, [suspect("s")])
    elements = Elements(text)
    assert re.findall(r"https?:|//[a-z]|@import|url\(|\bfetch\b|XMLHttpRequest|innerHTML|insertAdjacent", text) == []
    assert [tag for tag, attributes in elements.tags if {"src", "href"} & attributes.keys() and tag != "img"] == []
    policy = next(a["content"] for tag, a in elements.tags if tag == "meta" and "http-equiv" in a)
    assert policy is not None
    assert policy.startswith("default-src 'none'; img-src data:;")


def decoded(uri: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))))


@pytest.mark.parametrize(
    ("shape", "kind", "expected"),
    [
        ((28, 28, 3), "png", (28, 28, 3)),
        ((32, 20, 1), "png", (32, 20)),
        ((33, 33, 3), "jpeg", (33, 33, 3)),
        ((300, 150, 3), "jpeg", (128, 64, 3)),
        ((64, 256, 1), "jpeg", (32, 128)),
    ],
)
def test_a_thumbnail_becomes_a_small_picture(shape, kind, expected):
    pixels = np.random.default_rng(0).integers(0, 255, shape, dtype=np.uint8)
    uri = data_uri(pixels, 128)
    assert uri.startswith(f"data:image/{kind};base64,")
    assert decoded(uri).shape == expected
    if kind == "png":
        assert np.array_equal(decoded(uri).reshape(shape), pixels)


def test_equal_pictures_are_stored_once(tmp_path):
    pixels = np.zeros((8, 8, 3), dtype=np.uint8)
    near = Neighbour("b", "A", pixels)
    samples = [suspect(name, thumbnail=pixels, neighbours=(near, near)) for name in "ab"]
    assert len(json.loads(Elements(written(tmp_path, samples)).scripts["images"])) == 1


@pytest.mark.parametrize(
    ("samples", "error", "message"),
    [
        ([suspect("s", given="C")], UserError, "unknown class 'C'"),
        ([suspect("s", neighbours=(Neighbour("n", "", np.zeros((4, 4, 1), np.uint8)),))], UserError, "0 classes"),
        ([suspect("s"), suspect("t"), suspect("s")], ValueError, "1 of the suspects' sample ids are duplicated"),
        ([suspect("s", votes=(Vote("resnet18", (1.0,)),))], ValueError, "s: resnet18 has 1 probabilities, .* of 2"),
        ([suspect("s", votes=(float("nan"),))], ValueError, "not JSON compliant"),
    ],
)
def test_what_is_wrong_is_an_error_and_writes_nothing(tmp_path: Path, samples, error, message):
    with pytest.raises(error, match=message):
        written(tmp_path, samples)
    assert list(tmp_path.rglob("*.html")) == []

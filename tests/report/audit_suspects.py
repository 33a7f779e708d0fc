"""Suspects for the tests of the label audit, and what its page shows of them in a browser."""

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from models.names import Task
from pipeline.report.audit_page import Suspect, Vote, write_page
from tests.report.browser import Browser

HOSTILE = (
    "<script>window.hacked = 1</script>", "</script><img src=x onerror='window.hacked = 1'>", 'say "a, b"',
    "it's & more", "Bär 🩺 \u2028 x", "=SUM(1)", "{{ 7 * 7 }}", "${window.hacked = 1}",
)  # fmt: skip
"""Names that mean something to HTML, JavaScript, CSV, a spreadsheet or the template, for classes and files."""


def suspect(
    sample_id: str,
    given: str = "A",
    suggested: str = "B",
    score: float = 0.1,
    *,
    classes: Sequence[str] = ("A", "B"),
    task: Task = "multiclass",
    votes: Sequence[float | Vote] = (0.2, 0.4),
    **fields: Any,
) -> Suspect:
    """Return a suspect; a vote that is a number is the first class's probability, and the others share the rest."""
    rest = len(classes) - 1
    cast = [
        vote if isinstance(vote, Vote) else Vote(f"teacher {i}", (vote, *([(1 - vote) / rest] * rest)))
        for i, vote in enumerate(votes)
    ]
    own = {"group_id": f"g of {sample_id}", "split": "train", "thumbnail": np.full((8, 8, 3), 200, dtype=np.uint8)}
    return Suspect(
        sample_id,
        given=given,
        suggested=suggested,
        score=score,
        votes=tuple(cast),
        **(own | {"confidence": score} | fields),
    )


CLASSES = ("naevus", "melanoma", "keratosis")
SAMPLES = [
    suspect("s10", "naevus", "melanoma", 0.30, classes=CLASSES),
    suspect("s2", "melanoma", "naevus", 0.10, classes=CLASSES, split="val"),
    suspect("s1", "naevus", "keratosis", 0.20, classes=CLASSES),
    suspect("s3", "keratosis", "naevus", 0.40, classes=CLASSES, split="test"),
]


def opened(
    browser: Browser, path: Path, samples: Sequence[Suspect] = SAMPLES, classes: Sequence[str] = CLASSES,
    task: Task = "multiclass", key: str = "k",
) -> Path:  # fmt: skip
    """Write a page, open it, and return its path."""
    write_page(path, samples, classes=classes, task=task, title="Audit", data_key=key)
    browser.open(path)
    return path


def listed(browser: Browser) -> list[str]:
    """The sample ids in the list, from the top."""
    script = "[...rows].sort((a, b) => parseFloat(a[1].style.top) - parseFloat(b[1].style.top)).map(([one]) => one.id)"
    return browser.evaluate(script)


def states(browser: Browser) -> dict[str, str]:
    """What the list says about each sample."""
    return browser.evaluate(
        "Object.fromEntries([...rows].map(([one, row]) => [one.id, row.querySelector('.state').textContent]))"
    )


def choose(browser: Browser, name: str, text: str) -> None:
    """Choose an entry of a menu by the text in front of its count."""
    browser.evaluate(
        f"(() => {{ const menu = at({json.dumps(name)}), wanted = {json.dumps(text)};"
        "menu.value = [...menu.options].find((one) => one.text.replace(/ \\(\\d+\\)$/, '') === wanted).value;"
        "menu.dispatchEvent(new Event('change')); })()"
    )


def saved(browser: Browser, folder: Path) -> Path:
    """Click Save, and return the downloaded file."""
    path = folder / "corrections.csv"
    path.unlink(missing_ok=True)
    browser.click("save")
    end = time.monotonic() + 30
    while not path.exists() or list(folder.glob("*.crdownload")):
        assert time.monotonic() < end, "nothing was downloaded"
        time.sleep(0.05)
    return path

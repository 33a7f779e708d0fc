"""Parameters of small audits, and features that no student made."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from pipeline.params.tree import Params
from pipeline.stages import audit
from tests.stages.audited import NAMES, N


@pytest.fixture
def params_of(make_params) -> Callable[..., Params]:
    def of(methods: Sequence[str] = ("baseline_1", "roskd"), **sections: Any) -> Params:
        own = {
            "data": {"image_size": 32},
            "teachers": {"architectures": list(NAMES)} | sections.pop("teachers", {}),
            "student": {"width": 0.125},
            "machine": {"device": "cpu"},
        }
        if sections.get("task") == "multilabel":
            own["noise"] = {"kind": "flip"}
        return make_params(methods=list(methods), **own, **sections)

    return of


@pytest.fixture(autouse=True)
def space(monkeypatch) -> None:
    """Features of no student; the last test takes the served one's."""
    vectors = np.random.default_rng(2).normal(size=(N, 5)).astype(np.float32)
    monkeypatch.setattr(audit, "embedding", lambda workshop, params, layout: vectors)

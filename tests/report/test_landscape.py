"""The report's section on the loss landscape: estimates, the verdict in words, and pictures on one scale."""

import json
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from scipy.stats import t as student_t

from pipeline.common.layout import Layout
from pipeline.report import landscape, landscape_plots, page, style
from pipeline.report.landscape import Estimate, estimate, measured, rows, sentences, verdict
from pipeline.report.results import Results, load

STEPS, FINE = np.linspace(-1, 1, 3), np.linspace(-1, 1, 9)
NAMES = {"roskd": "RoS-KD (V, smoothed)", "baseline_3": "Baseline III (equal weights, all data)"}


def sharpness(eigenvalue: float, trace: float, error: float = 1.0, **changes: Any) -> dict[str, Any]:
    top = {"value": eigenvalue, "standard_error": error, "residual": 0.1, "iterations": 9, "converged": True}
    found = {"weights": "all", "parameters": 7, "images": 16, "loss": 0.5, "clamped": 2}
    return found | {"top_eigenvalue": top, "trace": {"value": trace, "standard_error": error, "draws": 5}} | changes


def write(layout: Layout, seed: int, method: str, found: dict[str, Any], height: float = 1.0) -> None:
    """A bowl of this height, its rows steeper than its columns, around a loss of 0.5."""
    layout.landscape(seed, method).mkdir(parents=True)
    first, second = np.meshgrid(STEPS, STEPS, indexing="ij")
    surface = {"step_1": first.ravel(), "step_2": second.ravel()}
    surface["loss"] = (0.5 + height * (2 * first**2 + second**2)).ravel()
    pd.DataFrame(surface).to_csv(layout.surface(seed, method), index=False)
    slices = {"direction": np.repeat([1, 2], 9), "step": np.tile(FINE, 2)}
    slices["loss"] = 0.5 + height * np.concatenate([2 * FINE**2, FINE**2])
    pd.DataFrame(slices).to_csv(layout.slices(seed, method), index=False)
    layout.sharpness(seed, method).write_text(json.dumps(found))


@pytest.fixture
def results_of(make_run):
    def of(seeds: Sequence[int] = (0,), **found: Sequence[dict[str, Any]]) -> Results:
        """Results with what each seed of each method has in sharpness.json."""
        params, layout = make_run(seeds=list(seeds))
        for method, by_seed in found.items():
            for seed, one in zip(seeds, by_seed, strict=True):
                write(layout, seed, method, one, height=1.0 if method == "roskd" else 3.0 + seed)
        return load(params, layout)

    return of


def test_an_estimate_of_one_network_has_its_own_error():
    found = estimate({0: sharpness(200.0, 1000.0, 50.0)}, "top_eigenvalue")
    assert found == Estimate(200.0, 50.0, pytest.approx(102.0), pytest.approx(298.0))  # type: ignore[arg-type]


def test_an_estimate_over_seeds_has_students_interval():
    values = [10.0, 14.0, 12.0]
    found = estimate({seed: sharpness(1.0, value) for seed, value in enumerate(values)}, "trace")
    low, high = student_t.interval(0.95, 2, 12.0, 2.0 / np.sqrt(3))
    assert (found.value, found.error) == (12.0, pytest.approx(2.0 / np.sqrt(3)))
    assert (found.low, found.high) == (pytest.approx(low), pytest.approx(high))


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (246.9, 49.02, "247 ± 49"),
        (1345.96, 88.8, "1,346 ± 89"),
        (3.456, 0.1234, "3.46 ± 0.12"),
        (0.01234, 0.002, "0.0123 ± 0.0020"),
        (-12.34, 1.0, "−12.3 ± 1.0"),
        (0.0, 0.0, "0.00 ± 0.00"),
    ],
)
def test_an_estimate_is_written_with_its_error_to_the_same_decimal(value, error, text):
    assert Estimate(value, error, 0.0, 0.0).text == text


def test_one_network_each_is_said_to_be_that(results_of):
    results = results_of(roskd=[sharpness(247.0, 1346.0, 49.0)], baseline_3=[sharpness(366.0, 2301.0, 101.0)])
    assert sentences(results) == [
        "By top eigenvalue the two networks cannot be told apart: RoS-KD (V, smoothed) has 247 ± 49, Baseline III "
        "(equal weights, all data) 366 ± 101, and the 95 % intervals of the two networks overlap.",
        "By trace the network of RoS-KD (V, smoothed) is the flatter one: RoS-KD (V, smoothed) has 1,346 ± 49, "
        "Baseline III (equal weights, all data) 2,301 ± 101, and the 95 % intervals of the two networks do not "
        "overlap.",
        "This is one network of each method: whether the methods differ takes several seeds.",
    ]
    (theirs, own) = rows(results)
    assert (theirs.head, theirs.cells) == (NAMES["baseline_3"], ["0.500", "366 ± 101", "2,301 ± 101"])
    assert (own.head, own.kind) == (NAMES["roskd"], "ours")


def test_over_seeds_a_difference_is_shown_where_intervals_do_not_overlap(results_of):
    ours = [sharpness(50.0 + k, 900.0 + 200 * k) for k in range(3)]
    theirs = [sharpness(20.0 + k, 1000.0 + 200 * k) for k in range(3)]
    first, second = sentences(results_of((0, 1, 2), roskd=ours, baseline_3=theirs))
    assert first == (
        "By top eigenvalue Baseline III (equal weights, all data) is shown to be flatter: Baseline III (equal weights, "
        "all data) has 21.0 ± 0.6, RoS-KD (V, smoothed) 51.0 ± 0.6, and the 95 % intervals of the two means over 3 "
        "seeds do not overlap."
    )
    assert second.startswith("By trace no difference is shown: RoS-KD (V, smoothed) has 1,100 ± 115, ")


def test_touching_intervals_overlap():
    one, two = Estimate(1.0, 1.0, 0.0, 2.0), Estimate(3.0, 1.0, 2.0, 4.0)
    assert one.overlaps(two)
    assert two.overlaps(one)
    assert not one.overlaps(Estimate(3.0, 1.0, 2.001, 4.0))
    both = {"roskd": {0: sharpness(5.0, 5.0)}, "baseline_3": {0: sharpness(9.0, 9.0)}}
    assert "cannot be told apart" not in verdict(both, "roskd", "baseline_3", "trace")


def test_what_has_not_converged_is_named(results_of):
    loose = sharpness(9.0, 9.0)
    loose["top_eigenvalue"] |= {"converged": False}
    (*_, last) = sentences(results_of(roskd=[sharpness(9.0, 9.0)], baseline_3=[loose]))
    assert last == (
        "Power iteration has not converged for Baseline III (equal weights, all data): that eigenvalue may be too low. "
        "Raise landscape.hessian.iterations."
    )


def test_only_what_this_run_asks_for_and_measured_is_shown(results_of):
    """Files of a method that params.yaml no longer names are left from earlier runs."""
    results = results_of(roskd=[sharpness(9.0, 9.0)], baseline_1=[sharpness(1.0, 1.0)])
    assert [*measured(results)] == ["roskd"]
    assert sentences(results) == []
    assert [*landscape_plots.figures(results)] == [
        "landscape_contour_roskd", "landscape_surface_roskd", "landscape_slices",
    ]  # fmt: skip


def test_a_run_without_landscapes_says_so(results_of, tmp_path):
    results = results_of()
    assert landscape_plots.figures(results) == {}
    html = page.render(results, {}, "page.html.j2")
    assert "No landscape was computed: no method of landscape.methods is in methods, or the stage has not run." in html


def test_contours_and_surfaces_share_levels_and_scale(results_of):
    results = results_of(roskd=[sharpness(9.0, 9.0)], baseline_3=[sharpness(9.0, 9.0)])
    with mpl.rc_context(style.RC):
        drawn = landscape_plots.figures(results)
    scales, limits = set(), set()
    for method in ("roskd", "baseline_3"):
        panel, bar = drawn[f"landscape_contour_{method}"].axes
        filled = panel.collections[0]
        scales.add((tuple(filled.levels), filled.get_clim()))  # type: ignore[attr-defined]
        assert bar.get_ylabel() == "loss in nats"
        assert panel.get_title(loc="left") == f"{NAMES[method]}\n0.50 nats at the centre"
        (solid,) = drawn[f"landscape_surface_{method}"].axes
        limits.add((solid.get_zlim(), solid.collections[0].get_clim()))  # type: ignore[attr-defined]
    assert len(scales) == len(limits) == 1
    (levels, _) = scales.pop()
    assert levels[0] <= 0.5
    assert levels[-1] >= 9.5


def test_a_surface_that_is_the_clamp_everywhere_is_drawn(results_of):
    results = results_of(roskd=[sharpness(9.0, 9.0)])
    table = pd.read_csv(results.layout.surface(0, "roskd")).assign(loss=8.0)
    table.to_csv(results.layout.surface(0, "roskd"), index=False)
    with mpl.rc_context(style.RC):
        style.png(landscape_plots.figures(results)["landscape_contour_roskd"])


def test_rows_of_a_surface_are_steps_along_direction_1(results_of):
    """The made bowl is steeper along direction 1, which is the vertical axis."""
    results = results_of(roskd=[sharpness(9.0, 9.0)])
    with mpl.rc_context(style.RC):
        panel = landscape_plots.figures(results)["landscape_contour_roskd"].axes[0]
    assert (panel.get_xlabel()[:22], panel.get_ylabel()[:22]) == ("step along direction 2", "step along direction 1")
    reach = np.ptp(np.concatenate(panel.collections[1].allsegs[6]), axis=0)  # type: ignore[attr-defined]
    assert reach[0] > reach[1]


def test_slices_are_means_over_seeds_in_one_axis(results_of):
    results = results_of((0, 1), roskd=[sharpness(9.0, 9.0)] * 2, baseline_3=[sharpness(9.0, 9.0)] * 2)
    with mpl.rc_context(style.RC):
        (panel,) = landscape_plots.slices(results).axes
    lines = [line for line in panel.get_lines() if line.get_linewidth() > 1]
    assert [(line.get_color(), line.get_linestyle()) for line in lines] == [
        (style.METHOD_COLOURS[method], line) for method in ("baseline_3", "roskd") for line in ("-", "--")
    ]
    assert lines[0].get_ydata() == pytest.approx(0.5 + 3.5 * 2 * FINE**2)
    assert len(panel.get_lines()) == 4 * 3
    legend = panel.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == [*reversed(NAMES.values()), "direction 1", "direction 2"]


def test_the_page_shows_the_pairs_and_says_what_was_moved(results_of):
    head = sharpness(9.0, 9.0, weights="head alone")
    results = results_of(roskd=[head], baseline_3=[head])
    with mpl.rc_context(style.RC):
        html = page.render(
            results, page.embed(landscape_plots.figures(results), results.layout.figures), "page.html.j2"
        )
    section = html[html.index('id="landscape"') : html.index('id="data"')]
    assert section.count("<img") == 5
    assert "move the linear layers of a student&#39;s head, whose backbone is frozen" in section
    assert "Losses above 8 nats count as that: of 121 points 2 for Baseline III" in section
    assert "the same 16 test images" in landscape.setting(results)

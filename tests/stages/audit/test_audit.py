"""Stage audit on a small prepared project: whose votes count, and what the table and the page say."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.special import log_expit, log_softmax
from scipy.stats import rankdata

from models.classifier import save_weights
from models.networks import build
from pipeline.common.errors import UserError
from pipeline.common.tables import read_csv
from pipeline.evaluation.audit import confident_joint, noise_rate
from tests.data.made_files import write_hashes
from tests.report.audit_suspects import HOSTILE
from tests.stages.audited import NAMES, ROWS, SPLIT, TRAIN, VAL, C, N, Project, make, on_page

AUM = ["aum", "disagreed"]
OF_PLAIN = [*AUM, "loss"]


def require_votes(project: Project, table: pd.DataFrame, mean: np.ndarray, counts: np.ndarray) -> None:
    """The table's votes and confidences are these, of the audited samples."""
    places = project.places(table)
    assert table["votes"].astype(int).tolist() == counts[places].tolist()
    expected = mean[places, project.given[ROWS[places]]]
    assert table["self_confidence"].astype(float).to_numpy() == pytest.approx(expected, abs=1e-6)


def test_the_table_lists_every_judged_label_the_most_doubtful_first(tmp_path, params_of):
    project = make(tmp_path)
    table, _ = project.run(params_of())
    mean, counts = project.mean()
    assert {0, 1, 2, 3} == {*counts.tolist()}
    assert [*table] == [
        "sample_id", "group_id", "split", "duplicate_of", "votes", "given", "suggested", "self_confidence", "margin",
        "aum", "disagreed", "loss", "score", "rank",
    ]  # fmt: skip
    judged = np.flatnonzero(counts > 0)
    assert sorted(table["sample_id"]) == sorted(project.ids[ROWS[judged]])
    assert table["rank"].tolist() == [str(rank) for rank in range(1, len(judged) + 1)]
    own = project.given[ROWS]
    confidence, aum = mean[np.arange(len(ROWS)), own], np.full(len(ROWS), np.nan)
    aum[:TRAIN] = project.margins[0]["aum"]
    by_votes, by_margin = np.full((2, len(ROWS)), np.nan)
    by_votes[judged] = rankdata(confidence[judged]) / len(judged)
    known = judged[judged < TRAIN]
    by_margin[known] = rankdata(aum[known]) / len(known)
    score = np.where(np.isnan(by_margin), by_votes, (by_votes + by_margin) / 2)
    for n, row in zip(project.places(table), table.to_dict("records"), strict=True):
        others = np.delete(mean[n], own[n])
        assert (row["group_id"], row["split"]) == (f"g{ROWS[n] // 2}", SPLIT[ROWS[n]])
        assert (row["votes"], row["given"]) == (str(counts[n]), "ABC"[own[n]])
        assert row["suggested"] == "ABC"[mean[n].argmax()]
        assert float(row["self_confidence"]) == pytest.approx(confidence[n], abs=1e-6)
        assert float(row["margin"]) == pytest.approx(confidence[n] - others.max(), abs=1e-6)
        assert float(row["score"]) == pytest.approx(score[n], abs=1e-6)
        if n >= TRAIN:
            assert [row[name] for name in OF_PLAIN] == ["", "", ""]
        else:
            assert float(row["aum"]) == pytest.approx(aum[n], abs=1e-6)
            assert float(row["disagreed"]) == pytest.approx(project.margins[0]["disagreed"][n], abs=1e-6)
            loss = -log_softmax(project.plain[0][n])[own[n]]
            assert float(row["loss"]) == pytest.approx(loss, abs=1e-5)
    assert (np.diff(table["score"].astype(float)) >= 0).all()


def test_the_summary_says_how_many_were_judged_and_how_much_noise_is_estimated(tmp_path, params_of, capsys):
    project = make(tmp_path)
    table, summary = project.run(params_of())
    mean, counts = project.mean()
    joint = confident_joint(mean, project.given[ROWS])
    judged, missing = int((counts > 0).sum()), int((counts == 0).sum())
    assert [*summary] == [
        "samples", "without_unseen_teacher", "votes", "estimated_rate", "estimated_counts", "known", "near_duplicates",
    ]  # fmt: skip
    assert summary["samples"] == TRAIN + VAL
    assert summary["without_unseen_teacher"] == {"train": missing, "val": 0}
    assert missing > 0
    assert summary["votes"] == pytest.approx(counts.mean())
    assert summary["estimated_rate"] == pytest.approx(noise_rate(joint))
    given_by_true = np.transpose(summary["estimated_counts"])
    assert given_by_true == pytest.approx(joint * judged, abs=0.5)
    known = summary["known"]
    printed = capsys.readouterr().out
    assert printed == (
        f"audit: {judged} labels judged, {summary['estimated_rate']:.1%} of them estimated to be wrong; {missing} "
        "samples have no teacher that never saw them (lower subsets.overlap); average precision "
        f"{known['average_precision']:.3f} against the injected noise\n"
    )
    assert len(table) == judged


def test_of_several_findings_each_has_its_row(tmp_path, params_of):
    project = make(tmp_path, "multilabel")
    table, summary = project.run(params_of(task="multilabel"))
    mean, counts = project.mean()
    judged = counts > 0
    assert [*table][3:8] == ["duplicate_of", "votes", "finding", "given", "suggested"]
    assert len(table) == judged.sum() * C
    assert not table.duplicated(["sample_id", "finding"]).any()
    for n, row in zip(project.places(table), table.to_dict("records"), strict=True):
        finding = "ABC".index(row["finding"])
        present, probability = project.given[ROWS[n], finding] > 0, mean[n, finding]
        assert row["given"] == (row["finding"] if present else "")
        assert row["suggested"] == (row["finding"] if probability > 0.5 else "")
        confidence = probability if present else 1 - probability
        assert float(row["self_confidence"]) == pytest.approx(confidence, abs=1e-6)
        assert float(row["margin"]) == pytest.approx(2 * confidence - 1, abs=1e-6)
        if n < TRAIN:
            assert float(row["aum"]) == pytest.approx(project.margins[0]["aum"][n, finding], abs=1e-6)
            loss = -log_expit(project.plain[0][n, finding] * (1 if present else -1))
            assert float(row["loss"]) == pytest.approx(loss, abs=1e-5)
    rates = []
    for finding in range(C):
        of = mean[judged, finding]
        joint = confident_joint(np.stack([1 - of, of], axis=1), project.given[ROWS][judged, finding].astype(int))
        rates.append(noise_rate(joint))
    assert summary["estimated_rate"] == pytest.approx(np.mean(rates))
    assert "estimated_counts" not in summary
    first = on_page(project.layout)["suspects"][0]
    (n,) = project.places(table[table["sample_id"] == first["id"]].head(1))
    assert first["given"] == np.flatnonzero(project.given[ROWS[n]]).tolist()
    assert first["suggested"] == np.flatnonzero(mean[n] > 0.5).tolist()


@pytest.mark.parametrize("methods", [["baseline_1"], ["baseline_3", "gce"]])
def test_without_teachers_on_subsets_it_says_so_and_leaves_an_empty_table_and_no_page(
    tmp_path, params_of, methods, capsys
):
    project = make(tmp_path)
    project.run(params_of())
    assert project.layout.audit_page.exists()
    capsys.readouterr()
    table, summary = project.run(params_of(methods))
    assert len(table) == 0
    assert [*table][:7] == ["sample_id", "group_id", "split", "duplicate_of", "votes", "given", "suggested"]
    assert summary == {
        "samples": 110,
        "without_unseen_teacher": {"train": 80, "val": 30},
        "votes": 0.0,
        "near_duplicates": {"images": 0, "across_splits": 0, "conflicting": 0},
    }
    assert list(read_csv(project.layout.orders)) == ["order", "checked", "precision", "recall"]
    assert not project.layout.audit_page.exists()
    assert capsys.readouterr().out.startswith("audit: no sample has a teacher that never saw it, so no label was judg")


def test_where_the_plain_student_was_not_trained_votes_alone_decide(tmp_path, params_of):
    project = make(tmp_path)
    project.layout.student_margins(0, None, "baseline_1").unlink()
    table, summary = project.run(params_of(["gce", "roskd"]))
    assert not {*OF_PLAIN} & {*table}
    confidence = table["self_confidence"].astype(float)
    assert table["score"].astype(float).to_numpy() == pytest.approx(rankdata(confidence) / len(table), abs=1e-6)
    assert "on_train" not in summary["known"]


@pytest.mark.parametrize("checkpoint", ["last", "selected"])
def test_votes_on_validation_are_those_of_the_checkpoint_that_teaches(tmp_path, params_of, checkpoint):
    project = make(tmp_path)
    table, _ = project.run(params_of(teachers={"checkpoint": checkpoint}))
    of_val = table[table["split"] == "val"]
    assert len(of_val) == VAL
    assert {*of_val["votes"]} == {"3"}
    require_votes(project, of_val, *project.mean(checkpoint=checkpoint))


def test_teachers_and_margins_of_all_seeds_are_averaged(tmp_path, params_of):
    project = make(tmp_path, seeds=(0, 4))
    table, summary = project.run(params_of(seeds=[0, 4]))
    mean, counts = project.mean((0, 4))
    assert summary["votes"] == pytest.approx(counts.mean())
    require_votes(project, table, mean, counts)
    of_train = table[table["split"] == "train"]
    for n, row in zip(project.places(of_train), of_train.to_dict("records"), strict=True):
        for name in AUM:
            both = [project.margins[seed][name][n] for seed in (0, 4)]
            assert float(row[name]) == pytest.approx(np.mean(both), abs=1e-6)
    assert {len(one["votes"]) for one in on_page(project.layout)["suspects"]} == {*counts[counts > 0].tolist()}


def test_teachers_of_every_partition_vote(tmp_path, params_of):
    names = ("resnet18", "resnet34", "resnet18-p2", "resnet34-p2")
    project = make(tmp_path, names=names)
    params = params_of(teachers={"architectures": ["resnet18", "resnet34"]}, subsets={"partitions": 2})
    table, summary = project.run(params)
    mean, counts = project.mean()
    assert summary["votes"] == pytest.approx(counts.mean())
    assert counts.max() == 4
    require_votes(project, table, mean, counts)


def test_without_a_teacher_that_never_saw_a_training_sample_validation_is_judged_alone(tmp_path, params_of, capsys):
    """subsets.overlap 1, or a single teacher."""
    project = make(tmp_path, seen=1.0)
    table, summary = project.run(params_of(["roskd"]))
    assert {*table["split"]} == {"val"}
    assert len(table) == VAL
    assert summary["without_unseen_teacher"] == {"train": TRAIN, "val": 0}
    assert "80 samples have no teacher that never saw them (lower subsets.overlap)" in capsys.readouterr().out


def test_names_that_mean_something_elsewhere_stay_as_they_are(tmp_path, params_of):
    """Classes and samples; `None` and `NA` are what pandas takes for missing cells."""
    classes, ids = ("None", "NA", HOSTILE[0]), [f"{HOSTILE[i % len(HOSTILE)]} {i}" for i in range(N)]
    project = make(tmp_path, classes=classes)
    layout = project.layout
    for path in (layout.samples, layout.splits, layout.labels):
        read_csv(path).assign(sample_id=ids).to_csv(path, index=False)
    write_hashes(layout)
    table, _ = project.run(params_of())
    assert {*table["given"]} == {*table["suggested"]} == {*classes}
    assert {*table["sample_id"]} <= {*ids}
    by_id = dict(zip(ids, (classes[label] for label in project.given), strict=True))
    assert table["given"].tolist() == [by_id[sample] for sample in table["sample_id"]]
    assert "<script>window" not in layout.audit_page.read_text()
    content = on_page(layout)
    assert content["classes"] == list(classes)
    assert {one["id"] for one in content["suspects"]} == {*table["sample_id"]}


def test_the_page_shows_so_many_samples_and_neighbours_as_asked_for(tmp_path, params_of):
    project = make(tmp_path)
    params = params_of(audit={"shown": 7, "neighbours": 2})
    table, _ = project.run(params)
    content = on_page(project.layout)
    assert (content["key"], content["task"], content["classes"]) == ("d" * 64, "multiclass", ["A", "B", "C"])
    assert [one["id"] for one in content["suspects"]] == table["sample_id"].tolist()[:7]
    assert {len(one["neighbours"]) for one in content["suspects"]} == {2}
    assert f"<title>Label audit: {params.data.source}</title>" in project.layout.audit_page.read_text()
    for n, one in zip(project.places(table), content["suspects"], strict=False):
        expected = {name for name, saw in project.members.items() if n >= TRAIN or not saw[n]}
        assert {vote["teacher"] for vote in one["votes"]} == expected
        for vote in one["votes"]:
            assert vote["probabilities"] == pytest.approx(project.probabilities(0, vote["teacher"])[n], abs=1e-4)


def test_neighbours_are_near_by_what_the_served_student_sees(tmp_path, params_of, monkeypatch):
    """The first four of the order are copied onto others, which are then nearest to them."""
    project, params = make(tmp_path), params_of(audit={"shown": 4, "neighbours": 1})
    rows = [int(sample[1:]) for sample in project.run(params)[0]["sample_id"][:4]]
    copies = [int(row) for row in ROWS if int(row) not in rows][:4]
    images = np.load(project.layout.images)
    images[copies] = images[rows]
    np.save(project.layout.images, images)
    write_hashes(project.layout)
    torch.manual_seed(0)
    network, path = params.student_network, project.layout.student_weights(0, "subset", "baseline_5", "smoothed")
    path.parent.mkdir(parents=True)
    save_weights(build(network.architecture, num_classes=C, **network.layers).state_dict(), path)
    monkeypatch.undo()
    project.run(params)
    near = {one["id"]: [other["id"] for other in one["neighbours"]] for one in on_page(project.layout)["suspects"]}
    assert near == {f"s{row}": [f"s{copy}"] for row, copy in zip(rows, copies, strict=True)}


def test_an_image_that_looks_like_one_of_another_group_is_named_with_its_split_and_label(tmp_path, params_of):
    project = make(tmp_path)
    test, train, val = (int(np.flatnonzero(split == SPLIT)[0]) for split in ("test", "train", "val"))
    other = int(np.flatnonzero((SPLIT == "train") & (np.arange(N) // 2 != train // 2))[3])
    images = np.load(project.layout.images)
    flat = np.kron(np.random.default_rng(5).integers(0, 256, (2, 8, 8, 3), dtype=np.uint8), np.ones((1, 4, 4, 1)))
    images[[test, train]], images[[val, other]] = flat[0], flat[1]
    np.save(project.layout.images, images)
    write_hashes(project.layout)
    table, summary = project.run(params_of())
    pairs = read_csv(project.layout.near_duplicates)
    assert {*pairs["sample_id"]} == {f"s{row}" for row in (test, train, val, other)}
    of = pairs.set_index("sample_id").to_dict("index")
    labels = np.where(SPLIT == "test", project.published, project.given)
    for one, twin in ((test, train), (train, test), (val, other), (other, val)):
        assert of[f"s{one}"] == {
            "duplicate_of": f"s{twin}", "similarity": "1.0", "group_id": f"g{one // 2}", "group_of": f"g{twin // 2}",
            "split": SPLIT[one], "split_of": SPLIT[twin],
            "given": "ABC"[labels[one]], "given_of": "ABC"[labels[twin]],
        }  # fmt: skip
    differ = 2 * sum(labels[one] != labels[twin] for one, twin in ((test, train), (val, other)))
    assert summary["near_duplicates"] == {"images": 4, "across_splits": 4, "conflicting": differ}
    named = dict(zip(table["sample_id"], table["duplicate_of"], strict=True))
    expected = {f"s{one}": f"s{twin}" for one, twin in ((train, test), (val, other), (other, val))}
    assert {sample: twin for sample, twin in named.items() if twin} == {
        sample: twin for sample, twin in expected.items() if sample in named
    }


def test_answers_of_other_data_are_refused_by_name(tmp_path, params_of):
    project = make(tmp_path)
    path = project.layout.answers(0, "subset", "resnet34")
    np.save(path, np.load(path)[:, 1:])
    with pytest.raises(UserError, match=r"resnet34.npy: answers of \(79, 3\) samples and classes.* has \(80, 3\)"):
        project.run(params_of())
    path.write_bytes(b"half")
    with pytest.raises(UserError, match=r"resnet34.npy: cannot be read .*Run make repro again"):
        project.run(params_of())
    path.unlink()
    with pytest.raises(UserError, match=r"resnet34.npy: cannot be read .*Run make repro again"):
        project.run(params_of())


def test_votes_of_several_seeds_tell_their_seed(tmp_path, params_of):
    project = make(tmp_path, seeds=(0, 4))
    project.run(params_of(seeds=[0, 4]))
    names = {vote["teacher"] for one in on_page(project.layout)["suspects"] for vote in one["votes"]}
    assert names == {f"{name}, seed {seed}" for name in NAMES for seed in (0, 4)}

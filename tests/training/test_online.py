"""Stored soft labels against teachers asked at every step: the same student, up to the rounding of the store."""

from pipeline.distillation.losses import Balance
from pipeline.distillation.objective import Distillation, DistillationTerms, Teachers
from pipeline.distillation.online import OnlineTeachers
from pipeline.distillation.soft_labels import SoftLabels
from pipeline.distillation.weighting import StochasticWeights
from pipeline.params.learning import WeightingParams
from pipeline.training.loop import Fitted, fit, seeded_model
from pipeline.training.resume import ResumeFile
from tests.training.tiny import CPU, C, N, schedule, small_network, training_set, write_answers


def test_stored_soft_labels_train_the_student_that_online_teachers_train(tmp_path):
    """With V = epochs the two differ by the float16 rounding of the stored logits alone."""
    data = training_set("lesion", count=6)
    teachers = [seeded_model(small_network, k, "t") for k in range(2)]
    for k, teacher in enumerate(teachers):
        write_answers(tmp_path / f"{k}.npy", teacher, data)
    stored = SoftLabels([tmp_path / "0.npy", tmp_path / "1.npy"], CPU)
    weighting = WeightingParams(per="step", concentration=1.0, normalise=True, weight_scale=1.0)

    def student(answers: Teachers) -> Fitted:
        terms = DistillationTerms("multiclass", Balance(), answers, 0.5, 0.9)
        task = Distillation(terms, StochasticWeights(2, N, 0, weighting))
        model = seeded_model(small_network, 0, "student")
        return fit(model, data, task, schedule(epochs=6), CPU, ResumeFile(tmp_path / f"{type(answers).__name__}.pt"))

    online, from_store = student(OnlineTeachers(teachers, C)), student(stored)
    start = seeded_model(small_network, 0, "student").state_dict()
    largest = 0.0
    for name, expected in online.last.items():
        if expected.is_floating_point():
            moved = float((expected - start[name]).abs().max())
            apart = float((from_store.last[name] - expected).abs().max())
            largest = max(largest, apart / moved)
    assert 0 < largest < 2e-3, largest

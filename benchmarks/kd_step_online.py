"""What would a distilling step cost if the five teachers were asked at every step?"""

from benchmarks.rows import Row, reported
from benchmarks.timing import alternate
from benchmarks.trainings import (
    BATCH,
    CLASSES,
    ROSKD,
    SIZE,
    objective,
    processor,
    random_images,
    scaled,
    teachers,
    training,
    training_set,
    waiter,
)
from pipeline.distillation.online import OnlineTeachers
from pipeline.params.tree import Params
from pipeline.training.device import pick_device

STEPS_ON_CPU, STEPS_ON_GPU = 4, 50


def measure(params: Params) -> list[Row]:
    """Return the time of an epoch with the five architectures as online teachers over one without teachers."""
    device = pick_device("auto")
    steps = scaled(device, STEPS_ON_CPU, STEPS_ON_GPU)
    data = training_set(random_images(steps * BATCH), device)
    answers = OnlineTeachers(teachers(device), CLASSES)
    seconds = alternate(
        {
            "plain": training(params, data, objective(ROSKD, None, steps * BATCH, device), device).run_epoch,
            "online": training(params, data, objective(ROSKD, answers, steps * BATCH, device), device).run_epoch,
        },
        waiter(device),
    )
    what = (
        f"RoS-KD student step with K = {answers.shape[0]} online teachers (float32) over a plain one; {SIZE} px, batch "
        f"{BATCH}, {steps} steps a turn, {processor(device)}"
    )
    return [reported("kd_step_online", seconds["online"] / seconds["plain"], what)]

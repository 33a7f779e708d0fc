"""Where images are near each other: the features of a frozen backbone, or of the trained student that is served."""

import numpy as np
from torch import nn

from models.classifier import load_weights
from models.networks import build
from pipeline.common.layout import Layout
from pipeline.data.views import Views
from pipeline.distillation.methods import METHODS, served
from pipeline.params.tree import Params
from pipeline.recipes.features import FEATURES, features
from pipeline.recipes.workshop import Workshop
from pipeline.training.feed import open_images
from pipeline.training.inputs import Pixels, answers


def embedding(workshop: Workshop, params: Params, layout: Layout) -> np.ndarray:
    """Return what the student's head sees of all clean images, float (N, F), made where it is not stored."""
    network, prepared = params.student_network, workshop.data.prepared(params)
    if network.train == "head":
        node = features(workshop, params, network, params.views.count)
        workshop.store.get([node])
        return np.load(workshop.store.file(node, FEATURES), mmap_mode="r")
    method, seed = METHODS[served(params.methods)], params.seeds[0]
    student = build(network.architecture, num_classes=len(prepared.classes), **network.layers)
    load_weights(student, layout.student_weights(seed, method.pool, method.run, method.checkpoint))
    student.head = nn.Identity()
    rows, device = np.arange(len(prepared.images)), workshop.bench(params, seed).device
    images = open_images(prepared.images, rows, device, params.machine.data_on_device)
    views = Views(params.views, len(rows))
    return answers(student.to(device), Pixels(images, views, device), rows, views.count, device)

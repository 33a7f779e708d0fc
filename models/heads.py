"""What stands on a backbone's features: a linear layer, or one hidden layer."""

from torch import Tensor, nn

from models.names import HeadKind


def head_layers(
    num_features: int, num_classes: int, *, kind: HeadKind = "linear", hidden: int = 256, dropout: float = 0.0
) -> nn.Module:
    """Return what maps features (B, F) to logits (B, C); torch's global random state decides its initial weights.

    `kind`: "linear", or "mlp" with one layer of `hidden` units (ReLU). `dropout`: share of the last layer's inputs that
    a training step leaves out, in [0, 1).
    """
    layers: list[nn.Module] = []
    if kind == "mlp":
        layers += [nn.Linear(num_features, hidden), nn.ReLU()]
    if dropout:
        layers.append(nn.Dropout(dropout))
    layers.append(nn.Linear(hidden if kind == "mlp" else num_features, num_classes))
    return layers[0] if len(layers) == 1 else nn.Sequential(*layers)


MOBILENET_DROPOUT = 0.2
"""Before the published MobileNet-v2's last layer."""


def kept_dropout(architecture: str, dropout: float | None) -> float:
    """Return the share that is asked for, or for None the published network's."""
    if dropout is not None:
        return dropout
    return MOBILENET_DROPOUT if architecture == "mobilenet_v2" else 0.0


def num_features(head: nn.Module) -> int:
    """The number F of features that a head takes."""
    return next(part for part in head.modules() if isinstance(part, nn.Linear)).in_features


class HeadAlone(nn.Module):
    """A head that is trained on stored features; its state dict is the part of a Classifier's that is not frozen."""

    def __init__(self, head: nn.Module) -> None:
        super().__init__()
        self.head = head
        self.num_features = num_features(head)

    def forward(self, features: Tensor, return_features: bool = False) -> Tensor | tuple[Tensor, Tensor]:
        """Return the logits (B, C) of features (B, F), or with `return_features` both."""
        logits = self.head(features)
        return (features, logits) if return_features else logits

"""The network of teachers and students: normalisation, a backbone, and a head."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from models.errors import WeightsError
from models.heads import num_features

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class Classifier(nn.Module):
    """Normalisation, `backbone` (B, 3, H, W) -> (B, F), and `head` (B, F) -> (B, C).

    The input is pixels in [0, 1], (B, channels, H, W) with one or three channels; a grey image fills all three.
    Normalisation, by default with ImageNet's statistics, is part of the network, so that attacks and exports work on
    pixels. Its constants are not in the state dict.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        backbone: nn.Module,
        head: nn.Module,
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
    ) -> None:
        super().__init__()
        self.backbone, self.head = backbone, head
        self.num_features = num_features(head)
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)

    def normalise(self, pixels: Tensor) -> Tensor:
        """Return (pixels - mean) / std, (B, 3, H, W)."""
        return (pixels - self.mean) / self.std  # one channel is broadcast to three

    def features(self, pixels: Tensor) -> Tensor:
        """Return the features before the head, (B, F)."""
        return self.backbone(self.normalise(pixels))

    def forward(self, pixels: Tensor, return_features: bool = False) -> Tensor | tuple[Tensor, Tensor]:
        """Return the logits (B, C), or with `return_features` the pair (features (B, F), logits) of one pass.

        Under DistributedDataParallel call the network itself, never `features` and `head`: gradients are exchanged
        only for what passes through here.
        """
        features = self.features(pixels)
        logits = self.head(features)
        return (features, logits) if return_features else logits


def save_weights(weights: Mapping[str, Tensor], path: Path) -> None:
    """Write a state dict as safetensors; the caller makes the write atomic.

    Equal weights give equal bytes on every device and memory format.
    """
    plain = {name: value.detach().to("cpu", memory_format=torch.contiguous_format) for name, value in weights.items()}
    save_file({name: value.clone() for name, value in plain.items()}, path)


def load_weights(model: nn.Module, path: Path) -> None:
    """Load a file of `save_weights` into `model`, on whatever device it is.

    Raises WeightsError where the file is missing, is no safetensors file, or belongs to another network.
    """
    try:
        model.load_state_dict(load_file(path))
    except FileNotFoundError:
        raise WeightsError(f"{path}: no such file; run the stage that trains this network first") from None
    except SafetensorError as error:
        raise WeightsError(f"{path}: not a safetensors file ({error}); delete it and train again") from error
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise WeightsError(
            f"{path}: holds another network than the one asked for ({reason}); architecture, stem, width and "
            "number of classes must be those it was trained with"
        ) from error

"""The five architectures with fewer or more channels than torchvision gives them."""

from torch import nn
from torchvision.models import DenseNet, MobileNetV2, ResNet
from torchvision.models.resnet import BasicBlock, Bottleneck

Block = type[BasicBlock] | type[Bottleneck]
FIRST = 64
"""Channels of a ResNet's or DenseNet's first convolution at width 1."""
GROWTH = 32
"""Channels that each layer of DenseNet-121 adds at width 1."""


def scaled(name: str, width: float) -> nn.Module:
    """Return a network, from scratch, with `width` times the channels in every layer, rounded to whole ones.

    MobileNet-v2 rounds to multiples of 8 and keeps the 1,280 channels of its last convolution below width 1, as its
    authors do (Sandler et al. 2018).
    """
    match name:
        case "resnet18":
            return _ScaledResNet(BasicBlock, [2, 2, 2, 2], width)
        case "resnet34":
            return _ScaledResNet(BasicBlock, [3, 4, 6, 3], width)
        case "resnet50":
            return _ScaledResNet(Bottleneck, [3, 4, 6, 3], width)
        case "mobilenet_v2":
            return MobileNetV2(width_mult=width)
        case "densenet121":
            return DenseNet(round(GROWTH * width), (6, 12, 24, 16), round(FIRST * width))
        case _:
            raise ValueError(f"architecture is {name!r}, which has no width")


class _ScaledResNet(ResNet):
    """torchvision's ResNet, whose constructor fixes the channels of its first convolution and of its four stages."""

    def __init__(self, block: Block, layers: list[int], width: float) -> None:
        self._width = width
        super().__init__(block, layers)
        first = round(FIRST * width)
        self.conv1 = nn.Conv2d(3, first, kernel_size=7, stride=2, padding=3, bias=False)
        nn.init.kaiming_normal_(self.conv1.weight, mode="fan_out", nonlinearity="relu")
        self.bn1 = nn.BatchNorm2d(first)
        self.fc = nn.Linear(round(8 * FIRST * width) * block.expansion, 1)  # replaced by the classifier's head

    def _make_layer(
        self,
        block: Block,
        planes: int,
        blocks: int,
        stride: int = 1,
        dilate: bool = False,
    ) -> nn.Sequential:
        if planes == FIRST:
            self.inplanes = round(FIRST * self._width)
        return super()._make_layer(block, round(planes * self._width), blocks, stride, dilate)

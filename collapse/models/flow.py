"""Flow matching: a velocity field that carries noise to data, learned on straight lines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np
from pydantic import Field

from collapse.data import Schema
from collapse.metrics.base import Fact
from collapse.models._neural import Neural, beside, in_chunks, place

if TYPE_CHECKING:
    from torch import Tensor, nn

#: Frequencies that the time is told in: sin and cos of 2π 2^k t … an octave apart.
OCTAVES = 4


class Flow(Neural):
    """Regress v(x_t, t, y) on x_1 − x_0 along x_t = (1 − t) x_0 + t x_1, with x_0 ~ N(0, I) and data x_1.

    Conditional flow matching on straight paths, the rectified flow (Lipman et al. 2023, ICLR; Liu et al. 2023, ICLR).
    A sample draws its class from the class shares of the training set and x_0 from N(0, I), and follows dx/dt = v from
    0 to 1 in ``solver_steps`` steps of Heun's rule, each of two evaluations. The field is a perceptron with two hidden
    layers of ``width``: for points in the plane, and for images small enough to be flattened.
    """

    kind: ClassVar[str] = "flow"
    facts: ClassVar[dict[str, Fact]] = Neural.facts
    width: Annotated[int, Field(ge=1, le=4096)] = 256
    solver_steps: Annotated[int, Field(ge=1, le=1000)] = 8

    def scaled(self, schema: Schema) -> bool:
        return True  # noise and data on one scale: the paths between them are short

    def build(self, schema: Schema) -> nn.Module:
        import torch
        from torch import nn

        d, classes = schema.width, 0 if schema.label is None else len(schema.label.categories)
        with torch.device("meta"):
            return nn.Sequential(nn.Linear(d + 2 * OCTAVES + classes, self.width), nn.SiLU(),
                                 nn.Linear(self.width, self.width), nn.SiLU(), nn.Linear(self.width, d))

    def velocity(self, net: nn.Module, x: Tensor, t: Tensor, y: Tensor | None) -> Tensor:
        """Return v(x, t, y) of x (B, d) at times t (B, 1), (B, d)."""
        import torch

        phase = t * (torch.pi * 2.0 ** torch.arange(OCTAVES, device=t.device))  # (B, 1) -> (B, octaves)
        return net(beside(torch.cat([x, phase.sin(), phase.cos()], dim=1), y))

    def noise(self, schema: Schema) -> int:
        return schema.width + 1

    def loss(self, net: nn.Module, x: Tensor, y: Tensor | None, noise: Tensor) -> Tensor:
        start, t = noise[:, :-1], uniform(noise[:, -1:])
        aim = x - start
        return (self.velocity(net, start + t * aim, t, y) - aim).square().mean(dim=1)  # (B, d) -> (B,)

    def generate(self, net: nn.Module, schema: Schema, y: Tensor | None, rng: np.random.Generator, n: int) -> Tensor:
        import torch

        x = torch.from_numpy(rng.standard_normal((n, schema.width), dtype=np.float32)).to(place(self.device))
        h = 1 / self.solver_steps
        for part in in_chunks(n):
            here, mine = x[part], None if y is None else y[part]
            for step in range(self.solver_steps):
                t = torch.full((len(here), 1), step * h, device=x.device)
                slope = self.velocity(net, here, t, mine)
                here = here + h / 2 * (slope + self.velocity(net, here + h * slope, t + h, mine))  # Heun 1900
            x[part] = here
        return x


def uniform(normal: Tensor) -> Tensor:
    """Return standard normal numbers as uniform ones, by their own distribution function."""
    import torch

    return torch.special.ndtr(normal)

"""Variational autoencoder: a latent normal, a decoder, and the bound on the likelihood that trains them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from collapse.data import Rows, Schema
from collapse.errors import InputError, NodeError
from collapse.frame import thinned
from collapse.metrics.base import Fact, Measurement
from collapse.models._neural import Neural, beside, in_chunks, is_image, one_hot, place, settled
from collapse.models.base import Model, Parameters
from collapse.rng import Rng

if TYPE_CHECKING:
    from torch import Tensor, nn

#: An image with fewer pixels on a side than this is flattened by default.
CONVOLVED = 12
#: Rows that the bound is taken of, at the most.
ASKED = 2000

_NOTEBOOK = "Shumailov et al. 2024, Nature 631 (released notebook)"
_KINGMA = "Kingma & Welling 2014, ICLR"
_BOUND = f"{_KINGMA}; Nalisnick et al. 2019, ICLR"
#: What is handed on of the first encoder is named so.
FIRST = "first."


class VAE(Neural):
    """Maximise E log p(x | z, y) − β KL(q(z | x, y) ‖ N(0, I)) (Kingma & Welling 2014; Sohn et al. 2015 for labels y).

    A sample draws its class from the class shares of the training set, z from N(0, I), and takes x from the decoder.
    The ``gaussian`` decoder has a standard deviation ``sigma``; left out, it is fitted, one for all pixels or one for
    each column of numbers (σ-VAE: Rybkin et al. 2021, ICML). ``bernoulli`` takes pixels 0..1 for chances. ``output`` is
    the decoder's ``mean``, as is usual for images and their default, or a ``draw`` with its noise, that of numbers.

    Encoder and decoder have one hidden layer of ``width``. ``network: conv`` puts two strided convolutions (width/8 and
    width/4 channels) before the one and after the other; it is the default from 12 × 12 pixels.

    ``first_encoder`` hands the encoder of generation 1, which learned real rows, on through the branch, and holds every
    generation's sample against it. It takes no part in training.
    """

    kind: ClassVar[str] = "vae"
    facts: ClassVar[dict[str, Fact]] = Neural.facts | {
        "fit_encoder_std": Fact("fit", 1.0, "below", "standard deviation of the encoder's means over training rows and "
                                "latent axes; 1.0: as wide as the prior, 0.0: the code says nothing", _KINGMA),
        "fit_first_encoder_std": Fact("fit", 1.0, "below", "standard deviation, over rows and latent axes, of the "
                                      "means that the encoder of generation 1, which learned real rows, gives the raw "
                                      "sample; 1.0: as wide as the prior, 0.0: all rows look alike to it", _NOTEBOOK),
        "fit_elbo_real": Fact("fit", 0.0, "below", "bound on the log-likelihood of the reference, nats a row (at most "
                              "2,000 of them); 0.0: a density of 1; lower: reality is more surprising", _BOUND,
                              low=-np.inf),
        "fit_elbo_own": Fact("fit", 0.0, "either", "the same of the model's own raw sample; as far as it lies above "
                             "fit_elbo_real, the model finds itself likelier than reality; 0.0: a density of 1",
                             _BOUND, low=-np.inf),
    }
    latent: Annotated[int, Field(ge=1, le=1024)] = 8
    beta: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1.0
    likelihood: Literal["gaussian", "bernoulli"] = "gaussian"
    sigma: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    output: Literal["mean", "draw"] | None = None
    network: Literal["mlp", "conv"] | None = None
    first_encoder: bool = False

    @property
    def inherits(self) -> bool:
        """Return whether a fit is given the parent's weights: to start from them, or for the first encoder's."""
        return self.continues or self.first_encoder

    def check_parent(self, other: Model, stem: str) -> None:
        if self.continues:
            super().check_parent(other, stem)
        if self.first_encoder and not (self.follows(other) and other.first_encoder):  # type: ignore[attr-defined]
            raise InputError(f"first_encoder is true, and '{stem}' hands on no such encoder; give both one shape and "
                             f"first_encoder, or leave it out")

    def shape(self) -> tuple[object, ...]:
        return self.width, self.latent, self.likelihood, self.network

    def check(self, schema: Schema, n: int) -> None:
        super().check(schema, n)
        if self.latent > schema.width:
            raise InputError(f"vae: model.latent is {self.latent}, and a row has {schema.width} numbers; lower it to "
                             f"{schema.width} or less")
        if self.likelihood == "bernoulli" and not is_image(schema):
            raise InputError("vae: model.likelihood bernoulli is for pixels, and there is no image; drop it")
        if self.network == "conv":
            if not is_image(schema) or min(schema.numeric[0].shape[:2]) < 8:
                raise InputError("vae: model.network conv needs an image of 8 × 8 pixels or more; drop it")
            if self.width < 8:
                raise InputError(f"vae: model.width is {self.width}, and a convolution needs 8 or more; raise it")

    def _check_rows(self, rows: Rows) -> None:
        super()._check_rows(rows)
        if self.likelihood == "bernoulli":
            pixels = rows[rows.schema.numeric[0].name]
            if pixels.min() < 0 or pixels.max() > 1:
                raise NodeError(f"the vae has pixels from {pixels.min():g} to {pixels.max():g}, bernoulli means 0 to "
                                f"1; take model.likelihood: gaussian")

    # ------------------------------------------------------------------------------------------- network

    def _convolved(self, schema: Schema) -> bool:
        image = is_image(schema) and min(schema.numeric[0].shape[:2]) >= CONVOLVED
        return self.network == "conv" or (self.network is None and image)

    def build(self, schema: Schema) -> nn.Module:
        import torch
        from torch import nn

        d, classes = schema.width, 0 if schema.label is None else len(schema.label.categories)
        with torch.device("meta"):
            before, after, planes = nn.Sequential(), nn.Sequential(), None
            if self._convolved(schema):
                height, width, *rest = planes = schema.numeric[0].shape
                c, k, m = math.prod(rest), self.width // 8, self.width // 4
                h, w = height // 2, width // 2
                before = nn.Sequential(nn.Conv2d(c, k, 4, 2, 1), nn.ReLU(),  # (B, c, H, W) -> (B, k, H/2, W/2)
                                       nn.Conv2d(k, m, 4, 2, 1), nn.ReLU(), nn.Flatten())  # -> (B, m * H/4 * W/4)
                after = nn.Sequential(  # the way back; an odd side gets its last row again
                    nn.ReLU(), nn.Unflatten(1, (m, h // 2, w // 2)),
                    nn.ConvTranspose2d(m, k, 4, 2, 1, output_padding=(h % 2, w % 2)), nn.ReLU(),
                    nn.ConvTranspose2d(k, c, 4, 2, 1, output_padding=(height % 2, width % 2)))
                d = m * (h // 2) * (w // 2)
            net: Any = nn.ModuleDict({
                "before": before,
                "encoder": nn.Sequential(nn.Linear(d + classes, self.width), nn.ReLU(),
                                         nn.Linear(self.width, 2 * self.latent)),
                "decoder": nn.Sequential(nn.Linear(self.latent + classes, self.width), nn.ReLU(),
                                         nn.Linear(self.width, d)),
                "after": after,
            })
            net.planes = planes
            if self.likelihood == "gaussian" and self.sigma is None:
                net.log_std = nn.Parameter(torch.empty(1 if is_image(schema) else d))  # begins at 0: σ = 1
        return net

    def _log_std(self, net: Any) -> Tensor:
        """Return log σ of the gaussian decoder, (1,) or (d,)."""
        import torch

        return net.log_std if self.sigma is None else torch.full((1,), math.log(self.sigma), device=place(self.device))

    def encode(self, net: Any, x: Tensor, y: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return mean and log variance of q(z | x, y), each (B, latent)."""
        if net.planes:
            x = x.view(len(x), *net.planes[:2], -1).permute(0, 3, 1, 2)  # (B, d) -> (B, c, H, W)
        mean, log_var = net["encoder"](beside(net["before"](x), y)).chunk(2, dim=1)
        return mean, log_var

    def decode(self, net: Any, z: Tensor, y: Tensor | None) -> Tensor:
        """Return the decoder's output (B, d): the mean of x, for pixels of a Bernoulli its logit."""
        out = net["after"](net["decoder"](beside(z, y)))
        return out.permute(0, 2, 3, 1).flatten(1) if net.planes else out  # (B, c, H, W) -> (B, d)

    # ---------------------------------------------------------------------------------------------- loss

    def noise(self, schema: Schema) -> int:
        return self.latent

    def loss(self, net: nn.Module, x: Tensor, y: Tensor | None, noise: Tensor) -> Tensor:
        return self.bound(net, x, y, noise, self.beta)

    def bound(self, net: nn.Module, x: Tensor, y: Tensor | None, noise: Tensor, beta: float) -> Tensor:
        """Return −log p(x | z, y) + β KL(q ‖ N(0, I)) of each row in nats, (B,), at one z = μ + σ · noise."""
        from torch.nn.functional import binary_cross_entropy_with_logits as cross_entropy

        mean, log_var = self.encode(net, x, y)
        out = self.decode(net, mean + (log_var / 2).exp() * noise, y)
        if self.likelihood == "bernoulli":
            surprise = cross_entropy(out, x, reduction="none").sum(dim=1)  # (B, d) -> (B,)
        else:
            log_std = self._log_std(net).expand(x.shape[1])
            surprise = (x - out).square() @ ((-2 * log_std).exp() / 2) + (log_std + math.log(2 * math.pi) / 2).sum()
        return surprise + beta * (mean.square() + log_var.exp() - 1 - log_var).sum(dim=1) / 2

    def remember(self, net: nn.Module, x: Tensor, y: Tensor | None) -> dict[str, float]:
        return {"encoder_std": self.encoder_std(net, x, y)}

    def encoder_std(self, net: nn.Module, x: Tensor, y: Tensor | None) -> float:
        """Return the standard deviation of the encoder's means over the rows x (n, d) and the latent axes."""
        import torch

        means = [self.encode(net, x[part], None if y is None else y[part])[0] for part in in_chunks(len(x))]
        return float(torch.cat(means).double().std(correction=0))

    def hand_on(self, learned: Mapping[str, np.ndarray],
                before: Mapping[str, np.ndarray] | None) -> dict[str, np.ndarray]:
        if not self.first_encoder:
            return {}
        if before is not None:
            return {name: value for name, value in before.items() if name.startswith(FIRST)}
        own = ("before.", "encoder.", "centre", "scale")
        return {FIRST + name: value for name, value in learned.items() if name.startswith(own)}

    # -------------------------------------------------------------------------------------------- sample

    def generate(self, net: nn.Module, schema: Schema, y: Tensor | None, rng: np.random.Generator, n: int) -> Tensor:
        import torch

        z = torch.from_numpy(rng.standard_normal((n, self.latent), dtype=np.float32)).to(place(self.device))
        out = torch.cat([self.decode(net, z[part], None if y is None else y[part]) for part in in_chunks(n)])
        if self.likelihood == "bernoulli":
            return out.sigmoid()
        if self.output == "mean" or (self.output is None and is_image(schema)):
            return out
        noise = torch.from_numpy(rng.standard_normal(out.shape, dtype=np.float32)).to(out.device)
        return out + self._log_std(net).exp() * noise

    # ----------------------------------------------------------------------------------- what it knows

    def statistics(self, parameters: Parameters, schema: Schema, truth: Mapping[str, np.ndarray],
                   n: int) -> Iterator[Measurement]:
        yield from super().statistics(parameters, schema, truth, n)
        yield Measurement("fit_encoder_std", "", np.asarray(parameters["encoder_std"], dtype=float))

    def inspect(self, parameters: Parameters, sample: Rows, reference: Rows, rng: Rng) -> Iterator[Measurement]:
        real = reference.take(thinned(reference.n, ASKED)[None])
        for name, rows in (("fit_elbo_real", real), ("fit_elbo_own", sample.head(min(sample.n, real.n)))):
            yield Measurement(name, "", self.elbo(parameters, rows, rng.at("bound")))
        if self.first_encoder:
            first = {name.removeprefix(FIRST): value for name, value in parameters.items() if name.startswith(FIRST)}
            yield Measurement("fit_first_encoder_std", "", np.array([
                self.encoder_std(net, x, y) for net, x, y in self._seen(parameters | first, sample)]))

    def _seen(self, parameters: Parameters, rows: Rows) -> Iterator[tuple[nn.Module, Tensor, Tensor | None]]:
        """Yield each of the R networks with the rows of its replicate (or of the one there is) in its own units."""
        import torch

        schema = rows.schema
        with settled(self.threads), torch.no_grad():
            for r, net in enumerate(self.networks(parameters, schema)):
                mine = rows.replicate(min(r, rows.replicates - 1))
                x, y = mine.matrix()[0], None
                if "centre" in parameters:
                    x = (x - parameters["centre"][r]) / parameters["scale"][r]
                if schema.label is not None:
                    y = one_hot(mine[schema.label.name][0], len(schema.label.categories), place(self.device))
                yield net, torch.from_numpy(x.astype(np.float32)).to(place(self.device)), y

    def elbo(self, parameters: Parameters, rows: Rows, rng: Rng) -> np.ndarray:
        """Return the bound on the mean log-likelihood of ``rows`` (R or 1 replicates), nats a row, (R,).

        Of grey levels under ``bernoulli`` it is no density: compare it between models of one likelihood only.
        """
        import torch

        found = []
        for r, (net, x, y) in enumerate(self._seen(parameters, rows)):
            noise = rng.generator("replicate", r).standard_normal((len(x), self.latent), dtype=np.float32)
            e = torch.from_numpy(noise).to(x.device)
            total = sum(float(self.bound(net, x[p], None if y is None else y[p], e[p], 1.0).double().sum())
                        for p in in_chunks(len(x)))
            # a density in the units of the data
            unit = float(np.log(parameters["scale"][r]).sum()) if "scale" in parameters else 0.0
            found.append(-total / len(x) - unit)
        return np.array(found)

"""What neural models share: their settings, one lean training loop, and weights as plain arrays.

One network per replicate, trained alone: what runs beside a replicate cannot touch it. All randomness (first weights,
order of rows, noise) is drawn by NumPy at an address of the replicate's own, so that torch's own generators are never
asked. torch is imported when a network is first needed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from collapse.data import Rows, Schema
from collapse.errors import Degenerate, InputError, NodeError
from collapse.metrics.base import Fact, Measurement
from collapse.models.base import Model, Parameters
from collapse.models.categorical import draw, shares
from collapse.pool import Pool
from collapse.rng import Rng

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

#: Gradient steps where neither steps nor epochs are given.
STEPS = 600
#: A network's own fitted noise, as the logarithm of its standard deviation.
NOISE = "log_std"
#: Steps between two looks at the loss, and rows of one pass without gradients.
LOOK, CHUNK = 50, 2048


class Neural(Model):
    """A network that is trained by Adam (Kingma & Ba 2015) on random batches of the training set.

    ``steps`` gradient steps are the same budget in every branch, however large its pool; ``epochs`` are passes over
    the pool instead, so that accumulate trains longer. ``init: continue`` starts from the parent's weights, the first
    generation afresh. ``threads`` is part of the model, for another number of threads rounds otherwise.
    """

    calibration: ClassVar[int] = 30
    weighs: ClassVar[bool] = True
    library: ClassVar[str | None] = "collapse/models/_neural.py"
    facts: ClassVar[dict[str, Fact]] = {
        "fit_loss": Fact("fit", 0.0, "either", "training loss a row at the end of the fit, mean of the last tenth of "
                         "its steps; lower: closer fits, or easier data (0.0 is no floor)", "Kingma & Ba 2015, ICLR",
                         low=-np.inf),
    }

    width: Annotated[int, Field(ge=1, le=4096)] = 128
    steps: Annotated[int, Field(ge=1)] | None = None
    epochs: Annotated[int, Field(ge=1)] | None = None
    batch: Annotated[int, Field(ge=1)] = 64
    lr: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1e-3
    decay: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    init: Literal["fresh", "continue"] = "fresh"
    conditional: bool | None = None
    device: Literal["cpu", "auto", "cuda"] = "cpu"
    threads: Annotated[int, Field(ge=1, le=64)] = 1

    @model_validator(mode="after")
    def _one_budget(self) -> Self:
        if self.steps is not None and self.epochs is not None:
            raise ValueError("steps and epochs are two budgets; keep one of them")
        return self

    @property
    def continues(self) -> bool:
        """Return whether a fit starts from the parent's weights."""
        return self.init == "continue"

    def follows(self, other: Model) -> bool:
        """Return whether the weights of ``other`` fit this network: same kind, and same settings of its shape."""
        return type(other) is type(self) and self.shape() == other.shape()

    def shape(self) -> tuple[object, ...]:
        """Return the settings that shape the network."""
        return (self.width,)

    def check(self, schema: Schema, n: int) -> None:
        kind = self.kind
        if schema.categorical:
            names = ", ".join(column.name for column in schema.categorical)
            raise InputError(f"{kind} models images or numbers and a label, and {names} holds categories; leave it "
                             f"out, name it as the label, or take model kind kde or categorical")
        if schema.width == 0:
            raise InputError(f"{kind} needs an image or a number, and there is none; take model kind categorical")
        images = [column for column in schema.numeric if column.kind == "image"]
        if images and len(schema.numeric) > 1:
            raise InputError(f"{kind} models one image or numbers, and there are {len(schema.numeric)} columns with "
                             f"'{images[0].name}'; take one image, or numbers only")
        if self.conditional and schema.label is None:
            raise InputError(f"{kind}: model.conditional is true, and the data has no label; name the label in source, "
                             f"or drop conditional")
        if self.conditional is False and schema.label is not None:
            raise InputError(f"{kind}: model.conditional is false, and samples must have the data's label "
                             f"'{schema.label.name}'; take it out of source (labelled: false), or drop conditional")
        if self.device == "cuda" and not _cuda():
            raise InputError(f"{kind}: model.device is cuda, and torch finds no such GPU here; take cpu or auto")

    # ---------------------------------------------------------------------------------- what a kind defines

    def build(self, schema: Schema) -> nn.Module:
        """Return the network for such rows, on the device 'meta': without weights, and without a global draw."""
        raise NotImplementedError(type(self).__name__)

    def noise(self, schema: Schema) -> int:
        """Return how many standard normal numbers a training row uses up."""
        raise NotImplementedError(type(self).__name__)

    def loss(self, net: nn.Module, x: Tensor, y: Tensor | None, noise: Tensor) -> Tensor:
        """Return the loss of each row: x (B, d), y (B, C) one-hot, noise (B, k) -> (B,)."""
        raise NotImplementedError(type(self).__name__)

    def generate(self, net: nn.Module, schema: Schema, y: Tensor | None, rng: np.random.Generator, n: int) -> Tensor:
        """Return ``n`` rows (n, d) in the units of the network."""
        raise NotImplementedError(type(self).__name__)

    def scaled(self, schema: Schema) -> bool:
        """Return whether the network sees columns standardised by the training set."""
        return not is_image(schema)

    def remember(self, net: nn.Module, x: Tensor, y: Tensor | None) -> dict[str, float]:
        """Return what is worth keeping of a fitted network and its training rows x (n, d), by name."""
        return {}

    def hand_on(self, learned: Mapping[str, np.ndarray],
                before: Mapping[str, np.ndarray] | None) -> dict[str, np.ndarray]:
        """Return what passes from generation to generation as it is, by name; ``before`` is None at generation 1."""
        return {}

    # ------------------------------------------------------------------------------------------------- fit

    def learn(self, pool: Pool, rng: Rng, parent: Parameters | None = None) -> Parameters:
        return self.fit(pool.rows(), rng, parent)

    def fit(self, rows: Rows, rng: Rng, parent: Parameters | None = None) -> Parameters:
        """Train R networks on the R replicates of ``rows``, from the weights of ``parent`` if the model continues.

        Raises
        ------
        NodeError
            If the training set does not suit the loss, or the loss is no longer a number.
        """
        self._check_rows(rows)
        net, found = self.build(rows.schema), []
        with settled(self.threads):
            for r in range(rows.replicates):
                before = None if parent is None else {k: v[r] for k, v in parent.items()}
                found.append(self._fit(net, rows, r, rng, before))
        return {name: np.stack([one[name] for one in found]) for name in found[0]}

    def _check_rows(self, rows: Rows) -> None:
        if not all(np.isfinite(rows[column.name]).all() for column in rows.schema.numeric):
            raise Degenerate(f"the {self.kind} fit has training rows that are not finite")

    def _fit(self, net: nn.Module, rows: Rows, r: int, rng: Rng,
             before: dict[str, np.ndarray] | None) -> dict[str, np.ndarray]:
        import torch

        start = before if self.continues else None
        schema, where = rows.schema, place(self.device)
        matrix, learned = rows.replicate(r).matrix()[0], {}
        if self.scaled(schema):
            # weights only mean what they did in the units that they were learned in
            learned = {key: start[key] for key in ("centre", "scale")} if start else \
                standard(matrix, is_image(schema))
            matrix = (matrix - learned["centre"]) / learned["scale"]
        x = torch.from_numpy(matrix.astype(np.float32)).to(where)
        y = None
        if schema.label is not None:
            codes, classes = rows[schema.label.name][r], len(schema.label.categories)
            learned["shares"] = shares(codes[None], classes)[0]
            y = one_hot(codes, classes, where)
        weights = None
        if rows.weights is not None:
            weights = torch.from_numpy((rows.weights / rows.weights.mean()).astype(np.float32)).to(where)
        net = begin(net, where, start, rng.at("init").generator("replicate", r))
        draws = rng.at("train").generator("replicate", r)
        losses = self._train(net, Batches(x, y, weights, self.noise(schema), self.batch, draws), r)
        tail = losses[-max(1, len(losses) // 10):]
        with torch.no_grad():
            kept = {"loss": float(tail.double().mean()), **self.remember(net, x, y)}
        learned |= {name: np.asarray(value) for name, value in kept.items()}
        learned |= {name: p.detach().cpu().numpy().copy() for name, p in net.named_parameters()}
        return learned | self.hand_on(learned, before)

    def _train(self, net: nn.Module, batches: Batches, r: int) -> Tensor:
        """Train one network in place and return its loss at every step."""
        import torch

        noise = [p for name, p in net.named_parameters() if name == NOISE]
        optimiser = torch.optim.Adam([
            {"params": [p for name, p in net.named_parameters() if name != NOISE], "weight_decay": self.decay},
            {"params": noise, "lr": 10 * self.lr},  # few numbers that have far to go, and no weights
        ][: 1 + len(noise)], lr=self.lr, fused=True)
        steps = self.steps or (STEPS if self.epochs is None else self.epochs * batches.a_pass)
        losses = torch.empty(steps, device=batches.x.device)
        for step, (x, y, w, drawn) in enumerate(batches.take(steps)):
            each = self.loss(net, x, y, drawn)  # (B,)
            loss = each.mean() if w is None else (each * w).mean()
            loss.backward()
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
            losses[step] = loss.detach()
            if (step + 1) % LOOK == 0 or step + 1 == steps:
                self._refuse_lost(losses[: step + 1], batches.a_pass, r)
        return losses

    def _refuse_lost(self, losses: Tensor, a_pass: int, r: int) -> None:
        lost = ~losses[-LOOK:].isfinite()
        if lost.any():
            step = len(losses) - len(lost) + int(lost.int().argmax()) + 1
            raise NodeError(f"the {self.kind} loss is no number at step {step} (epoch {(step - 1) // a_pass + 1}) of "
                            f"replicate {r}; lower model.lr (it is {self.lr:g})")

    # ---------------------------------------------------------------------------------------------- sample

    def sample(self, parameters: Parameters, schema: Schema, n: int, rng: Rng) -> Rows:
        import torch

        replicates = len(parameters["loss"])
        out, codes = np.empty((replicates, n, schema.width)), {}
        if schema.label is not None:
            codes[schema.label.name] = draw(parameters["shares"], rng.at("label").uniform((replicates, n)))
        with settled(self.threads), torch.no_grad():
            for r, net in enumerate(self.networks(parameters, schema)):
                y = None
                if schema.label is not None:
                    y = one_hot(codes[schema.label.name][r], len(schema.label.categories), place(self.device))
                made = self.generate(net, schema, y, rng.at("noise").generator("replicate", r), n)
                out[r] = made.cpu().numpy()
        if "centre" in parameters:
            out = out * parameters["scale"][:, None] + parameters["centre"][:, None]
        return Rows.assemble(schema, out, codes)

    def networks(self, parameters: Parameters, schema: Schema) -> Iterator[nn.Module]:
        """Yield the R fitted networks, one at a time: the same object with other weights."""
        net = self.build(schema)
        for r in range(len(parameters["loss"])):
            yield begin(net, place(self.device), {key: value[r] for key, value in parameters.items()})

    def statistics(self, parameters: Parameters, schema: Schema, truth: Mapping[str, np.ndarray],
                   n: int) -> Iterator[Measurement]:
        yield Measurement("fit_loss", "", np.asarray(parameters["loss"], dtype=float))


# ------------------------------------------------------------------------------------------------- torch


@contextmanager
def settled(threads: int) -> Iterator[None]:
    """Let torch use ``threads`` threads and deterministic algorithms only, and put back what was before."""
    import torch

    before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        torch.use_deterministic_algorithms(before[1])


def _cuda() -> bool:
    import torch

    return torch.cuda.is_available()


def place(device: str) -> torch.device:
    """Return the device that a model computes on."""
    import torch

    return torch.device("cuda" if device == "cuda" or (device == "auto" and _cuda()) else "cpu")


def begin(net: nn.Module, where: torch.device, start: dict[str, np.ndarray] | None,
          rng: np.random.Generator | None = None) -> nn.Module:
    """Return ``net`` with the weights of ``start``, or with first ones drawn from ``rng``, in place of its own.

    First weights and biases are uniform within 1/√fan-in (LeCun et al. 1998, Efficient BackProp); other numbers are 0.
    """
    import torch

    if any(p.is_meta for p in net.parameters()):
        net = net.to_empty(device=where)
    bound = 0.0
    with torch.no_grad():
        for name, p in net.named_parameters():
            if start is not None:
                p.copy_(torch.from_numpy(np.ascontiguousarray(start[name])))
                continue
            assert rng is not None
            if name.endswith("weight"):
                bound = p[0].numel() ** -0.5  # a bias follows its weight and shares its bound
            drawn = rng.uniform(-bound, bound, p.shape) if name.endswith(("weight", "bias")) else np.zeros(p.shape)
            p.copy_(torch.from_numpy(drawn.astype(np.float32)))
    return net


def one_hot(codes: np.ndarray, classes: int, where: torch.device) -> Tensor:
    """Return codes (n,) as (n, classes) of 0 and 1."""
    import torch

    return torch.from_numpy(np.eye(classes, dtype=np.float32)[codes]).to(where)


@dataclass
class Batches:
    """The training set of one replicate: rows x (n, d), classes y (n, C) or None, weights (n,) or None."""

    x: Tensor
    y: Tensor | None
    weights: Tensor | None
    noise: int
    size: int
    rng: np.random.Generator

    @property
    def a_pass(self) -> int:
        """Return the batches of one pass over the rows."""
        return -(-len(self.x) // self.size)

    def take(self, steps: int) -> Iterator[tuple[Tensor, Tensor | None, Tensor | None, Tensor]]:
        """Yield ``steps`` batches: passes over the rows in random order, the last batch of a pass as short as it is."""
        import torch

        while steps > 0:
            order = torch.from_numpy(self.rng.permutation(len(self.x))).to(self.x.device)
            noise = self.rng.standard_normal((len(self.x), self.noise), dtype=np.float32)
            parts = [torch.from_numpy(noise).to(self.x.device), self.x[order],
                     *(t[order] for t in (self.y, self.weights) if t is not None)]
            for e, x, *rest in zip(*(part.split(self.size) for part in parts), strict=True):
                if steps == 0:
                    return
                steps -= 1
                yield x, None if self.y is None else rest[0], None if self.weights is None else rest[-1], e


def standard(matrix: np.ndarray, image: bool) -> dict[str, np.ndarray]:
    """Return centre and scale (d,) of rows (n, d): their mean, and a standard deviation per column or of all pixels."""
    centre = matrix.mean(axis=0)
    spread = np.sqrt(np.square(matrix - centre).mean(axis=None if image else 0))
    return {"centre": centre, "scale": np.broadcast_to(np.where(spread > 0, spread, 1.0), centre.shape).copy()}


def is_image(schema: Schema) -> bool:
    """Return whether the rows are images."""
    return any(column.kind == "image" for column in schema.numeric)


def in_chunks(n: int) -> Iterator[slice]:
    """Yield slices of ``n`` rows that bound the memory of a pass without gradients."""
    for first in range(0, n, CHUNK):
        yield slice(first, min(first + CHUNK, n))


def beside(x: Tensor, y: Tensor | None) -> Tensor:
    """Return rows with their classes beside them, (B, k) and (B, C) -> (B, k + C)."""
    import torch

    return x if y is None else torch.cat([x, y], dim=1)

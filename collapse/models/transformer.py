"""A causal transformer: from scratch or pretrained, trained by a lean loop, sampled with a key–value cache."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from collapse.data import Column, Rows, Schema
from collapse.errors import InputError, NodeError
from collapse.frame import thinned
from collapse.metrics.base import Fact, Measurement
from collapse.models._language import PERPLEXITIES, only_text, perplexities
from collapse.models._neural import place, settled
from collapse.models.base import Model, Parameters
from collapse.pool import Pool
from collapse.rng import Rng
from collapse.tokenisers import quiet, ready_made

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

#: Gradient steps where neither steps nor epochs are given.
STEPS = 300
#: Standard deviation of first weights (Radford et al. 2019), and the norm to which a gradient is cut.
FIRST, CUT = 0.02, 1.0
#: Share of the steps in which the learning rate rises, and what is left of it at the end.
WARM, LEFT = 0.1, 0.1
#: Held-out rows that the perplexity is taken of, at most; steps between two looks at the loss.
ASKED, LOOK = 1000, 50

Share = Annotated[float, Field(gt=0, le=1)]


class Transformer(Model):
    """A causal language model of the library `transformers`, one for each replicate.

    Every block is trained on with the end-of-document token before it, so that all its tokens are predicted, and a
    sample begins there. ``steps`` is the same budget in every branch, however large its pool; ``epochs`` are passes
    over the pool instead. AdamW (Loshchilov & Hutter 2019), linear warm-up, cosine decay to a tenth, gradients cut to
    norm 1; no dropout, so that a fit draws nothing but its first weights and the order of the rows.

    ``init`` of each generation: ``fresh`` weights, those of the pretrained model again (``base``), or the parent's
    (``continue``; generation 1 starts from ``pretrained`` if it is given). By default ``base`` with ``pretrained``,
    else ``fresh``.

    ``prompt`` > 0 begins every sample with so many tokens of a real block of the first pool. They are left out of the
    row (Shumailov et al. 2024), or are its beginning (``keep_prompt``): rows have ``block`` tokens in any case.
    """

    kind: ClassVar[str] = "transformer"
    calibration: ClassVar[int] = 10
    facts: ClassVar[dict[str, Fact]] = PERPLEXITIES | {
        "fit_train_perplexity": Fact(
            "fit", 1.0, "either",
            "perplexity of the model on its own training set, mean loss of the last tenth of its steps; 1.0: it "
            "knows every token; far below fit_perplexity: learned by heart, or easier than real text",
            "Jelinek et al. 1977, J Acoust Soc Am 62:S63", low=1.0),
    }

    architecture: Literal["gpt2", "llama"] = "llama"
    layers: Annotated[int, Field(ge=1, le=96)] = 3
    width: Annotated[int, Field(ge=8, le=8192)] = 160
    heads: Annotated[int, Field(ge=1, le=128)] = 4
    pretrained: Annotated[str, Field(min_length=1)] | None = None
    init: Literal["fresh", "base", "continue"] | None = None
    steps: Annotated[int, Field(ge=1)] | None = None
    epochs: Annotated[int, Field(ge=1)] | None = None
    batch: Annotated[int, Field(ge=1)] = 8
    lr: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    decay: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.01
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    device: Literal["cpu", "auto", "cuda"] = "cpu"
    threads: Annotated[int, Field(ge=1, le=64)] = 1
    temperature: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0
    top_k: Annotated[int, Field(ge=1)] | None = None
    top_p: Share | None = None
    beams: Annotated[int, Field(ge=1, le=64)] = 1
    repetition_penalty: Annotated[float, Field(ge=1, allow_inf_nan=False)] = 1.0
    prompt: Annotated[int, Field(ge=0)] = 0
    keep_prompt: bool = False
    sample_batch: Annotated[int, Field(ge=1)] = 256

    @model_validator(mode="after")
    def _sound(self) -> Self:
        if self.steps is not None and self.epochs is not None:
            raise ValueError("steps and epochs are two budgets; keep one of them")
        if self.init == "base" and self.pretrained is None:
            raise ValueError("init: base starts from a pretrained model; name it in pretrained, or take init: fresh")
        if self.width % self.heads:
            raise ValueError(f"width {self.width} cannot be split among {self.heads} heads; take a multiple of them")
        if self.architecture == "llama" and self.width // self.heads % 2:
            raise ValueError("a head of llama turns pairs of numbers; make width / heads even")
        if self.beams > 1 and (self.temperature != 1 or self.top_k or self.top_p):
            raise ValueError("beams seek the likeliest text and draw nothing; drop temperature, top_k and top_p")
        if self.beams > 1 and self.prompt == 0:
            raise ValueError("beams without prompts write the same text in every row; give prompt, or drop beams")
        return self

    @property
    def real_inputs(self) -> tuple[str, ...]:
        """Return what of reality this model hands to every generation."""
        found: tuple[str, ...] = ()
        if self.pretrained:
            found = (f"weights of {Path(self.pretrained).name}, trained on other real text",)
        if self.prompt:
            found += (f"prompts: the first {self.prompt} tokens of blocks of the first pool"
                      f"{', kept in the rows' if self.keep_prompt else ''}",)
        return found

    @property
    def continues(self) -> bool:
        return self.init == "continue"

    def follows(self, other: Model) -> bool:
        def shape(model: Any) -> tuple[object, ...]:
            return (model.pretrained,) if model.pretrained else (model.architecture, model.layers, model.width,
                                                                model.heads)

        return type(other) is type(self) and shape(other) == shape(self)

    @property
    def prompted(self) -> bool:
        return self.prompt > 0

    # ----------------------------------------------------------------------------------------------- check

    def check(self, schema: Schema, n: int) -> None:
        only_text(schema, self.kind)
        column = schema.texts[0]
        length = column.shape[0]
        if self.keep_prompt and self.prompt >= length:
            raise InputError(f"transformer: model.prompt keeps {self.prompt} tokens of a block of {length}, so that "
                             f"nothing is left to write; lower it")
        if self.prompted and not self.keep_prompt and self.pretrained is None:
            raise InputError(f"transformer: model.prompt and a block are {self.prompt + length} tokens, and a model "
                             f"from scratch knows {length} places; write keep_prompt: true, or take pretrained")
        if self.device == "cuda" and place("auto").type != "cuda":
            raise InputError("transformer: model.device is cuda, and torch finds no such GPU here; take cpu or auto")
        if self.pretrained is not None:
            self._check_pretrained(column)

    def _check_pretrained(self, column: Column) -> None:
        name, folder = str(self.pretrained), Path(str(self.pretrained))
        if not folder.is_dir() and (folder.is_absolute() or name.startswith(".") or name.count("/") > 1):
            raise InputError(f"transformer: model.pretrained: {name} is not a folder; give one with config.json and "
                             f"safetensors, or the name of a model")
        if folder.is_dir():
            if not (folder / "config.json").is_file():
                raise InputError(f"transformer: model.pretrained: {name} holds no config.json; save a whole model "
                                 f"there")
            if not list(folder.glob("*.safetensors")):
                raise InputError(f"transformer: model.pretrained: {name} holds no safetensors, and other weights are "
                                 f"not loaded; convert them (save_pretrained)")
        config = self._config(column)
        places = getattr(config, "max_position_embeddings", None) or math.inf
        needed = column.shape[0] + (0 if self.keep_prompt else self.prompt)
        if needed > places:
            raise InputError(f"transformer: model.pretrained: {name} knows {places} places, and block and prompt need "
                             f"{needed}; lower source.block")
        own = len(column.categories)
        if (folder / "tokenizer.json").is_file():
            if ready_made(name).vocabulary != column.categories:
                raise InputError(f"transformer: model.pretrained: {name} has another vocabulary than the data; write "
                                 f"source: {{tokeniser: {name}}}")
        elif folder.is_dir() and config.vocab_size != own:
            raise InputError(f"transformer: model.pretrained: {name} has a vocabulary of {config.vocab_size:,} tokens, "
                             f"the data one of {own:,}; take its own tokeniser in source.tokeniser")
        elif config.vocab_size < own:
            raise InputError(f"transformer: model.pretrained: {name} knows {config.vocab_size:,} tokens, fewer than "
                             f"the {own:,} of the data; take its own tokeniser in source.tokeniser")

    # --------------------------------------------------------------------------------------------- network

    def _config(self, column: Column) -> Any:
        """Return the library's configuration of the network."""
        from transformers import AutoConfig, GPT2Config, LlamaConfig

        size, length, end = len(column.categories), column.shape[0], column.end
        if self.pretrained is not None:
            try:
                return AutoConfig.from_pretrained(self.pretrained, trust_remote_code=False)
            except (OSError, ValueError) as error:
                raise InputError(f"transformer: model.pretrained: {self.pretrained} cannot be read "
                                 f"({str(error).splitlines()[0][:120]})") from None
        shared: dict[str, Any] = {"vocab_size": size, "bos_token_id": end, "eos_token_id": end,
                                  "tie_word_embeddings": True}
        if self.architecture == "gpt2":
            return GPT2Config(n_positions=length + 1, n_embd=self.width, n_layer=self.layers, n_head=self.heads,
                              resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, **shared)
        inner = 8 * math.ceil(self.width / 3)  # three matrices of 8/3 as many numbers as two of 4
        return LlamaConfig(max_position_embeddings=length + 1, hidden_size=self.width, intermediate_size=inner,
                           num_hidden_layers=self.layers, num_attention_heads=self.heads,
                           num_key_value_heads=self.heads, **shared)

    def network(self, schema: Schema, start: Mapping[str, np.ndarray] | None,
                rng: np.random.Generator | None = None) -> PreTrainedModel:
        """Return a network with the weights of ``start``, or those to begin with (fresh ones drawn from ``rng``).

        Raises
        ------
        NodeError
            If a pretrained model cannot be loaded.
        """
        import torch
        from transformers import AutoModelForCausalLM

        config = self._config(schema.texts[0])
        with torch.random.fork_rng(devices=[]), quiet():
            if start is None and self.pretrained is not None and self.init != "fresh":
                try:
                    net = AutoModelForCausalLM.from_pretrained(self.pretrained, use_safetensors=True,
                                                               dtype=torch.float32, trust_remote_code=False)
                except (OSError, ValueError) as error:
                    raise NodeError(f"transformer: {self.pretrained} cannot be loaded "
                                    f"({str(error).splitlines()[0][:160]})") from None
                rng = None
            else:
                net = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
        with torch.no_grad():
            for name, p in net.named_parameters():
                if start is not None:
                    p.copy_(torch.from_numpy(np.ascontiguousarray(start[name])))
                elif rng is not None:
                    p.copy_(torch.from_numpy(_first(name, tuple(p.shape), self.layers, rng)))
        # Without dropout there is nothing to switch on for training.
        return net.to(place(self.device)).eval()  # type: ignore[arg-type]  # transformers wraps to() as a function

    @contextmanager
    def _computing(self, task: str) -> Iterator[None]:
        """Settle threads and precision; a device without memory for ``task`` ends the node in one line.

        Raises
        ------
        NodeError
            With the setting to lower and a size to try.
        """
        import torch

        where = place(self.device)
        low = self.precision == "bfloat16" or (self.precision == "auto" and where.type == "cuda")
        cast = torch.autocast(where.type, dtype=torch.bfloat16) if low else nullcontext()
        key, size = ("batch", self.batch) if task == "train" else ("sample_batch", self.sample_batch)
        try:
            with settled(self.threads), cast:
                yield
        except (torch.OutOfMemoryError, RuntimeError, MemoryError) as error:
            if not isinstance(error, torch.OutOfMemoryError | MemoryError) and "can't allocate" not in str(error):
                raise
            remedy = f"try model.{key}: {size // 2}" if size > 1 else "take a smaller model or a shorter source.block"
            raise NodeError(f"the transformer ran out of memory on {where.type} with model.{key}: {size}; {remedy}") \
                from None

    # ------------------------------------------------------------------------------------------------- fit

    def learn(self, pool: Pool, rng: Rng, parent: Parameters | None = None) -> Parameters:
        return self.fit(pool.rows(), rng, parent)

    def fit(self, rows: Rows, rng: Rng, parent: Parameters | None = None) -> Parameters:
        found: list[dict[str, np.ndarray]] = []
        with self._computing("train"):
            for r, tokens in enumerate(rows[rows.schema.texts[0].name]):
                start = {key: value[r] for key, value in parent.items()} if parent and self.continues else None
                net = self.network(rows.schema, start, rng.at("init").generator("replicate", r))
                losses = self.train(net, tokens, rows.schema.texts[0].end, rng.at("train").generator("replicate", r), r)
                found.append({name: p.detach().float().cpu().numpy().copy() for name, p in net.named_parameters()}
                             | {"loss": losses[-max(1, len(losses) // 10):].mean()})
        return {name: np.stack([one[name] for one in found]) for name in found[0]}

    def train(self, net: PreTrainedModel, tokens: np.ndarray, end: int, rng: np.random.Generator,
              r: int = 0) -> np.ndarray:
        """Train ``net`` in place on rows of tokens (n, L) and return its loss at every step, in nats a token.

        Raises
        ------
        NodeError
            If the loss is no longer a number.
        """
        import torch
        from torch.nn.functional import cross_entropy

        x = torch.from_numpy(tokens.astype(np.int64)).to(net.device)
        size = min(self.batch, len(x))
        a_pass = -(-len(x) // size)
        steps = self.steps or (STEPS if self.epochs is None else self.epochs * a_pass)
        lr = self.lr or (3e-5 if self.pretrained and self.init != "fresh" else 3e-3)
        groups: list[dict[str, Any]] = [{"params": [p for p in net.parameters() if p.ndim > 1]},
                                        {"params": [p for p in net.parameters() if p.ndim <= 1], "weight_decay": 0.0}]
        optimiser = torch.optim.AdamW(groups, lr=lr, betas=(0.9, 0.95), weight_decay=self.decay, fused=True)
        rates = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: schedule(step, steps))
        losses = torch.empty(steps, device=x.device)
        step = 0
        while step < steps:
            order = torch.from_numpy(rng.permutation(len(x))).to(x.device)
            for index in order.split(size)[: steps - step]:
                y = x[index]  # (B, L)
                logits = net(input_ids=after(end, y), use_cache=False).logits
                loss = cross_entropy(logits.flatten(0, 1).float(), y.flatten())
                loss.backward()
                torch.nn.utils.clip_grad_norm_(net.parameters(), CUT)
                optimiser.step()
                rates.step()
                optimiser.zero_grad(set_to_none=True)
                losses[step] = loss.detach()
                step += 1
                if (step % LOOK == 0 or step == steps) and not losses[:step][-LOOK:].isfinite().all():
                    raise NodeError(f"the transformer's loss is no number at step {step} of replicate {r}; lower "
                                    f"model.lr (it is {lr:g})")
        return losses.cpu().numpy()

    def statistics(self, parameters: Parameters, schema: Schema, truth: Mapping[str, np.ndarray],
                   n: int) -> Iterator[Measurement]:
        column = schema.texts[0]
        held_out = truth[f"text.{column.name}"]
        held_out = held_out[thinned(len(held_out), ASKED)]
        with self._computing("sample"):
            loss = np.array([self.loss(net, held_out, column.end) for net in self._networks(parameters, schema)])
        yield from perplexities(loss, schema, held_out)
        yield Measurement("fit_train_perplexity", "", np.exp(np.asarray(parameters["loss"], dtype=float)))

    def loss(self, net: PreTrainedModel, tokens: np.ndarray, end: int) -> float:
        """Return the mean loss of ``net`` on rows of tokens (n, L), in nats a token."""
        import torch
        from torch.nn.functional import cross_entropy

        total = 0.0
        with torch.inference_mode():
            for y in torch.from_numpy(tokens.astype(np.int64)).split(4 * self.batch):
                y = y.to(net.device)
                logits = net(input_ids=after(end, y), use_cache=False).logits
                total += float(cross_entropy(logits.flatten(0, 1).float(), y.flatten(), reduction="sum"))
        return total / tokens.size

    def _networks(self, parameters: Parameters, schema: Schema) -> Iterator[PreTrainedModel]:
        """Yield the R fitted networks, one at a time."""
        for r in range(len(parameters["loss"])):
            yield self.network(schema, {name: value[r] for name, value in parameters.items() if name != "loss"})

    # ---------------------------------------------------------------------------------------------- sample

    def sample(self, parameters: Parameters, schema: Schema, n: int, rng: Rng) -> Rows:
        return self._sample(parameters, schema, None, n, rng)

    def answer(self, parameters: Parameters, prompts: Rows, n: int, rng: Rng) -> Rows:
        column = prompts.schema.texts[0]
        chosen = rng.at("prompt").choice(prompts.n, min(n, prompts.n), prompts.replicates)
        chosen = np.concatenate([chosen] * -(-n // chosen.shape[1]), axis=1)[:, :n]  # all of them before any twice
        return self._sample(parameters, prompts.schema, prompts.take(chosen)[column.name][:, :, : self.prompt], n, rng)

    def _sample(self, parameters: Parameters, schema: Schema, prompts: np.ndarray | None, n: int, rng: Rng) -> Rows:
        column = schema.texts[0]
        length, kept = column.shape[0], self.prompt if self.keep_prompt else 0
        uniform = rng.at("token").uniform((len(parameters["loss"]), n, length - kept))
        out = np.empty((len(uniform), n, length), dtype=np.int32)
        with self._computing("sample"):
            for r, net in enumerate(self._networks(parameters, schema)):
                begin = np.full((n, 1), column.end)
                if prompts is not None:
                    begin = np.concatenate([begin, prompts[r]], axis=1)
                made = self.generate(net, begin, uniform[r], len(column.categories))
                out[r] = made if not kept else np.concatenate([prompts[r], made], axis=1)  # type: ignore[index]
        return Rows.assemble(schema, None, {column.name: out})

    def generate(self, net: PreTrainedModel, begin: np.ndarray, uniform: np.ndarray, size: int) -> np.ndarray:
        """Return what ``net`` writes after ``begin`` (n, k), one token for each of ``uniform`` (n, L): (n, L).

        No token beyond ``size``, the vocabulary of the data, is written.
        """
        import torch

        warpers, found = self._warpers(), []
        with torch.inference_mode():
            for first in range(0, len(begin), self.sample_batch):
                rows = slice(first, first + self.sample_batch)
                ids = torch.from_numpy(begin[rows].astype(np.int64)).to(net.device)
                if self.beams > 1:
                    found.append(self._beams(net, ids, uniform.shape[1]).cpu().numpy())
                    continue
                u = torch.from_numpy(uniform[rows].astype(np.float32)).to(net.device)
                found.append(written(net, ids, u, warpers, size).cpu().numpy())
        return np.concatenate(found)

    def _warpers(self) -> list[Any]:
        """Return what changes the scores before a token is drawn, by the library's own definitions."""
        from transformers.generation import logits_process as known

        warpers: list[Any] = []
        if self.repetition_penalty != 1:
            warpers.append(known.RepetitionPenaltyLogitsProcessor(self.repetition_penalty))
        if self.temperature != 1:
            warpers.append(known.TemperatureLogitsWarper(self.temperature))
        if self.top_k is not None:
            warpers.append(known.TopKLogitsWarper(self.top_k))
        if self.top_p is not None and self.top_p < 1:
            warpers.append(known.TopPLogitsWarper(self.top_p))
        return warpers

    def _beams(self, net: Any, ids: Tensor, length: int) -> Tensor:
        import torch
        from transformers import GenerationConfig

        how = GenerationConfig(num_beams=self.beams, do_sample=False, max_new_tokens=length, min_new_tokens=length,
                               repetition_penalty=self.repetition_penalty, eos_token_id=None, bos_token_id=None,
                               pad_token_id=0)
        made = net.generate(ids, attention_mask=torch.ones_like(ids), generation_config=how)
        return made[:, ids.shape[1] :]


# ---------------------------------------------------------------------------------------------------------- torch


def after(end: int, y: Tensor) -> Tensor:
    """Return what stands before each token of ``y`` (B, L): ``end``, then all but the last."""
    return y.roll(1, 1).index_fill(1, y.new_zeros(1), end)


def schedule(step: int, steps: int) -> float:
    """Return the share of the learning rate at a step: a linear rise over the first tenth, a cosine to a tenth."""
    warm = max(1, round(WARM * steps))
    if step < warm:
        return (step + 1) / warm
    return LEFT + (1 - LEFT) * 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warm) / max(1, steps - warm))))


def written(net: Any, ids: Tensor, uniform: Tensor, warpers: list[Any], size: int) -> Tensor:
    """Return the tokens (n, L) that inverse CDFs choose after ``ids`` (n, k), one for each of ``uniform`` (n, L)."""
    import torch
    from transformers import DynamicCache

    cache, known = DynamicCache(config=net.config), ids
    for place_ in range(uniform.shape[1]):
        scores = net(input_ids=ids, cache=cache, use_cache=True, logits_to_keep=1).logits[:, -1, :size].float()
        for warper in warpers:
            scores = warper(known, scores)
        steps = scores.softmax(dim=-1).cumsum(dim=-1)  # (n, V)
        # The last step is 1 but for rounding, and what has no chance is no step: it is never found.
        ids = torch.searchsorted(steps, uniform[:, place_ : place_ + 1] * steps[:, -1:], right=True)
        ids.clamp_(max=size - 1)
        known = torch.cat([known, ids], dim=1)
    return known[:, -uniform.shape[1] :]


def _first(name: str, shape: tuple[int, ...], layers: int, rng: np.random.Generator) -> np.ndarray:
    """Return first weights: N(0, 0.02²), what adds to the residual stream by √(2 · layers) less; scales 1, biases 0."""
    if name.endswith("bias"):
        return np.zeros(shape, dtype=np.float32)
    if len(shape) == 1:
        return np.ones(shape, dtype=np.float32)
    less = math.sqrt(2 * layers) if name.endswith(("c_proj.weight", "o_proj.weight", "down_proj.weight")) else 1.0
    return rng.standard_normal(shape, dtype=np.float32) * np.float32(FIRST / less)

"""Tokens a second of the transformer's training and sampling, against a bare loop over the same network."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from collapse.data import Column, Rows, Schema
from collapse.models.ngram import Ngram
from collapse.models.transformer import Transformer, after
from collapse.rng import Rng

V, L, STEPS, BATCH, ROWS = 2048, 64, 30, 8, 128
REPEATS = 5


def rows(n: int, replicates: int = 1) -> Rows:
    """Return random blocks: what is in them does not matter here."""
    column = Column("text", "text", tuple(str(i) for i in range(V)), (L,))
    tokens = np.random.default_rng(0).zipf(1.3, (replicates, n, L)).clip(1, V - 1)
    return Rows(Schema((column,)), {"text": tokens.astype(np.int32)})


def bare_training(net: object, tokens: np.ndarray) -> None:
    """Train with nothing but a forward pass, a backward pass and a step."""
    import torch
    from torch.nn.functional import cross_entropy

    x = torch.from_numpy(tokens.astype(np.int64))
    optimiser = torch.optim.AdamW(net.parameters(), lr=3e-3, fused=True)
    for step in range(STEPS):
        y = x[step * BATCH % len(x) :][:BATCH]
        logits = net(input_ids=after(0, y), use_cache=False).logits
        cross_entropy(logits.flatten(0, 1), y.flatten()).backward()
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)


def bare_sampling(net: object) -> None:
    """Sample with nothing but a cached forward pass and a multinomial draw."""
    import torch
    from transformers import DynamicCache

    cache, ids = DynamicCache(config=net.config), torch.zeros((ROWS, 1), dtype=torch.long)
    with torch.inference_mode():
        for _ in range(L):
            logits = net(input_ids=ids, cache=cache, use_cache=True).logits[:, -1]
            ids = torch.multinomial(logits.softmax(-1), 1)


def paired(ours: Callable[[], object], bare: Callable[[], object], tokens: int, what: str) -> None:
    """Print both speeds and the best of the paired ratios: other work on the machine only ever slows one of a pair."""
    ratios, best = [], 0.0
    for _ in range(REPEATS):
        times = []
        for run in (ours, bare):
            begin = time.perf_counter()
            run()
            times.append(time.perf_counter() - begin)
        ratios.append(times[1] / times[0])
        best = max(best, tokens / times[0])
    print(f"  {what:9} {best:7,.0f} tokens/s, {np.median(ratios):.2f} of a bare loop, {min(ratios):.2f} to "
          f"{max(ratios):.2f} (at least 0.9)")


def main() -> None:
    import torch

    from collapse.models._neural import settled

    data = rows(ROWS)
    tokens, schema = data["text"][0], data.schema
    model = Transformer(steps=STEPS, batch=BATCH, sample_batch=ROWS)
    net = model.network(schema, None, np.random.default_rng(0))
    begin, uniform = np.zeros((ROWS, 1), dtype=int), np.random.default_rng(1).random((ROWS, L))
    with settled(1):
        model.train(net, tokens, 0, np.random.default_rng(0))  # warm up
        paired(lambda: model.train(net, tokens, 0, np.random.default_rng(0)), lambda: bare_training(net, tokens),
               STEPS * BATCH * L, "training")
        paired(lambda: model.generate(net, begin, uniform, V), lambda: bare_sampling(net), ROWS * L, "sampling")
        print(f"  {sum(p.numel() for p in net.parameters()):,} weights, one thread, torch {torch.__version__}")
    many = rows(1000, 5)
    ngram, start = Ngram(), time.perf_counter()
    parameters = ngram.fit(many, Rng(0))
    ngram.sample(parameters, schema, 1000, Rng(0))
    print(f"  ngram     fitted to and sampled 5 × 64,000 tokens in {time.perf_counter() - start:.2f} s")


if __name__ == "__main__":
    main()

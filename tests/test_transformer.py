"""The transformer: losses against the library's own, sampling against full passes, starts, prompts and bad input."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from collapse import loop
from collapse.data import Column, Rows, Schema
from collapse.errors import InputError, NodeError
from collapse.models.transformer import Transformer, schedule, written
from collapse.pool import Part, Pool
from collapse.regimes.replace import Replace
from collapse.rng import Rng
from collapse.sources.text import Text

torch = pytest.importorskip("torch")
SIZE, BLOCK = 12, 8
TINY = {"layers": 1, "width": 16, "heads": 2, "steps": 4, "batch": 4}


def rows_of(n: int, replicates: int = 1, seed: int = 0) -> Rows:
    """Rows of a chain in which a token is mostly followed by the next but one."""
    rng = np.random.default_rng(seed)
    tokens = rng.integers(1, SIZE, size=(replicates, n, BLOCK))
    for t in range(1, BLOCK):
        follow = rng.random((replicates, n)) < 0.8
        tokens[:, :, t] = np.where(follow, (tokens[:, :, t - 1] + 2) % SIZE, tokens[:, :, t])
    column = Column("text", "text", tuple(chr(97 + i) for i in range(SIZE)), (BLOCK,))
    return Rows(Schema((column,)), {"text": tokens.astype(np.int32)})


def fitted(rows: Rows, **settings) -> tuple[Transformer, dict[str, np.ndarray]]:
    model = Transformer(**TINY | settings)
    model.check(rows.schema, rows.n)
    return model, model.fit(rows, Rng(1, "fit"))


def values(model: Transformer, parameters: dict[str, np.ndarray], rows: Rows) -> dict[str, np.ndarray]:
    truth = {"text.text": rows["text"][0]}
    return {m.metric: m.values for m in model.statistics(parameters, rows.schema, truth, rows.n)}


# ------------------------------------------------------------------------------------------------- losses


@pytest.mark.parametrize("architecture", ["gpt2", "llama"])
def test_perplexity_is_that_of_the_library(architecture):
    rows = rows_of(40, replicates=2)
    model, parameters = fitted(rows, architecture=architecture)
    found = values(model, parameters, rows)["fit_perplexity"]
    for r, net in enumerate(model._networks(parameters, rows.schema)):
        ids = torch.from_numpy(np.pad(rows["text"][0], ((0, 0), (1, 0))).astype(np.int64))  # the end, 0, before each
        with torch.no_grad():
            assert found[r] == pytest.approx(math.exp(net(input_ids=ids, labels=ids).loss.item()), rel=1e-4)


def test_training_learns_what_there_is_to_learn():
    rows = rows_of(300)
    model, parameters = fitted(rows, steps=150, batch=16, lr=0.02)
    found = values(model, parameters, rows_of(200, seed=1))
    # 0.8 + 0.2/11 for the usual successor; the first token of a row is uniform
    entropy = ((BLOCK - 1) * -(0.817 * math.log(0.817) + 0.183 * math.log(0.183 / 10)) + math.log(11)) / BLOCK
    assert math.exp(entropy) * 0.95 < found["fit_perplexity"][0] < math.exp(entropy) * 1.15
    assert found["fit_train_perplexity"][0] < math.exp(entropy) * 1.1


def test_steps_and_epochs_are_budgets():
    rows = rows_of(10)
    losses = [Transformer(**{**TINY, **kw}).train(*_net(rows, kw), 0, np.random.default_rng(0))
              for kw in ({"steps": 7}, {"steps": None, "epochs": 3})]
    assert [len(found) for found in losses] == [7, 9]  # ten rows by four are three batches


def _net(rows: Rows, settings: dict) -> tuple[object, np.ndarray]:
    model = Transformer(**TINY | settings)
    return model.network(rows.schema, None, np.random.default_rng(1)), rows["text"][0]


def test_the_learning_rate_rises_and_falls():
    rates = [schedule(step, 100) for step in range(100)]
    assert rates[0] == 0.1 and max(rates) == rates[10] == 1 and rates[9] == 1 and 0.1 < rates[-1] < 0.11
    assert schedule(0, 1) == 1


# -------------------------------------------------------------------------------------------- determinism


def test_the_same_seed_gives_the_same_text_whatever_is_beside_it():
    few, many = rows_of(12), rows_of(12, replicates=2)
    many["text"][0] = few["text"][0]
    texts, states = [], []
    for seed, rows in enumerate((few, many)):
        torch.manual_seed(seed)
        before = torch.random.get_rng_state()
        model, parameters = fitted(rows)
        texts.append(model.sample(parameters, rows.schema, 9, Rng(1, "sample"))["text"])
        states.append(torch.equal(before, torch.random.get_rng_state()))
    assert np.array_equal(texts[0][0], texts[1][0]) and texts[0].min() >= 0 and texts[0].max() < SIZE
    assert all(states)  # nobody's global generator was asked


def test_a_sample_does_not_depend_on_its_batches():
    rows = rows_of(12)
    model, parameters = fitted(rows)
    small = Transformer(**TINY, sample_batch=2)
    a, b = (m.sample(parameters, rows.schema, 7, Rng(2))["text"] for m in (model, small))
    assert (a == b).mean() > 0.98  # sums are rounded in another order


# ------------------------------------------------------------------------------------------------ sampling


@pytest.mark.parametrize("settings", [{}, {"temperature": 0.6}, {"top_k": 3}, {"top_p": 0.5}])
def test_what_is_written_is_the_inverse_cdf_of_full_passes(settings):
    rows = rows_of(60)
    model, parameters = fitted(rows, steps=40, **settings)
    net = next(model._networks(parameters, rows.schema))
    u = np.random.default_rng(3).random((20, BLOCK))
    found = model.generate(net, np.zeros((20, 1), dtype=int), u, SIZE)
    ids = torch.zeros((20, 1), dtype=torch.long)
    for t in range(BLOCK):
        with torch.no_grad():
            p = net(input_ids=ids, use_cache=False).logits[:, -1].double().softmax(-1).numpy()
        if "temperature" in settings:
            p = p ** (1 / settings["temperature"])
        ranked = -np.sort(-p, axis=1)
        if "top_k" in settings:
            p[p < ranked[:, [settings["top_k"] - 1]]] = 0
        if "top_p" in settings:
            before = np.cumsum(ranked, axis=1) - ranked
            least = np.where(before < settings["top_p"], ranked, np.inf).min(axis=1)
            p[p < least[:, None]] = 0
        cdf = np.cumsum(p / p.sum(axis=1, keepdims=True), axis=1)
        assert found[:, t].tolist() == (cdf <= u[:, [t]]).sum(axis=1).tolist()
        ids = torch.cat([ids, torch.from_numpy(found[:, [t]].astype(np.int64))], dim=1)


def test_a_token_beyond_the_vocabulary_is_never_written():
    class Loud(torch.nn.Module):
        config = Transformer(**TINY)._config(rows_of(1).schema["text"])

        def forward(self, input_ids, **_):
            scores = torch.zeros(len(input_ids), 1, SIZE + 4)
            scores[:, :, SIZE:] = 50.0
            return type("Out", (), {"logits": scores})

    found = written(Loud(), torch.zeros((3, 1), dtype=torch.long), torch.full((3, 5), 0.9999999), [], SIZE)
    assert found.max() == SIZE - 1


def test_repetition_is_punished():
    rows = rows_of(60)
    model, parameters = fitted(rows, steps=40, top_k=1)
    strict = Transformer(**TINY, top_k=1, repetition_penalty=50.0)
    different = [np.mean([len(set(row)) for row in m.sample(parameters, rows.schema, 10, Rng(0))["text"][0].tolist()])
                 for m in (model, strict)]
    assert different[1] > different[0]


def test_beams_find_likelier_text_than_greed():
    rows = rows_of(60)
    model, parameters = fitted(rows, steps=40, prompt=2, keep_prompt=True, top_k=1)
    beams = Transformer(**TINY, prompt=2, keep_prompt=True, beams=4)
    texts = [m.answer(parameters, rows, 12, Rng(0))["text"][0] for m in (model, beams)]
    net = next(model._networks(parameters, rows.schema))
    assert model.loss(net, texts[1], 0) <= model.loss(net, texts[0], 0) + 1e-6


def test_prompts_are_real_and_kept_only_when_asked():
    rows = rows_of(10)
    model, parameters = fitted(rows, prompt=3, keep_prompt=True)
    text = model.make(parameters, rows.schema, 25, Rng(0), lambda: rows)["text"][0]
    assert text.shape == (25, BLOCK)
    begins = {tuple(row[:3]) for row in rows["text"][0].tolist()}
    assert {tuple(row[:3]) for row in text.tolist()} == begins  # 25 of ten: each two or three times
    assert "prompts: the first 3 tokens" in model.real_inputs[0]


# ------------------------------------------------------------------------------------------- pretrained models


@pytest.fixture(scope="module")
def documents(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("text") / "a.txt"
    rng = np.random.default_rng(0)
    words = ["cat", "dog", "the", "a", "sees", "runs", "and", "mat"]
    path.write_text("\n\n".join(" ".join(rng.choice(words, 30)) for _ in range(80)))
    return path


@pytest.fixture(scope="module")
def checkpoint(documents: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny OPT with random weights and a tokeniser of its own, as a folder of safetensors."""
    from transformers import OPTConfig, OPTForCausalLM, PreTrainedTokenizerFast

    from collapse import tokenisers

    folder = tmp_path_factory.mktemp("opt")
    made = tokenisers.make("bpe", documents.read_text().split("\n\n"), 300)
    PreTrainedTokenizerFast(tokenizer_object=made.library, eos_token=tokenisers.END).save_pretrained(folder)
    config = OPTConfig(vocab_size=len(made.pieces), hidden_size=16, num_hidden_layers=1, ffn_dim=32,
                       num_attention_heads=2, max_position_embeddings=32, word_embed_proj_dim=16, pad_token_id=0,
                       bos_token_id=0, eos_token_id=0, dropout=0.1)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        OPTForCausalLM(config).save_pretrained(folder)
    return folder


def test_a_pretrained_model_runs_from_a_folder_with_its_own_tokeniser(documents, checkpoint):
    source = Text(path=str(documents), tokeniser=str(checkpoint), block=12)
    model = Transformer(pretrained=str(checkpoint), steps=3, batch=4, prompt=6)
    run = loop.run(source, model, Replace(), 20, 2, seed=1)
    assert np.isfinite(run["fit_perplexity"]).all()
    assert run.pool.parts[-1].rows()["text"].shape == (1, 20, 12)
    again = loop.run(source, model, Replace(), 20, 2, seed=1)  # the checkpoint's dropout of 0.1 is off
    assert np.array_equal(run["fit_perplexity"], again["fit_perplexity"])
    assert "weights of opt" in model.real_inputs[0]


def test_where_a_generation_starts(documents, checkpoint):
    source = Text(path=str(documents), tokeniser=str(checkpoint), block=12)
    rows = loop.split(source, 16, 1, Rng(1)).first
    pool, frozen = Pool.of(Part.of(rows, "x", 0, False)), {"steps": 1, "lr": 1e-12, "decay": 0.0}
    base = Transformer(pretrained=str(checkpoint), **frozen)
    own = {name: p.detach().numpy() for name, p in base.network(rows.schema, None).named_parameters()}
    name = next(name for name in own if own[name].ndim == 2)

    def begin(**settings) -> np.ndarray:
        model = Transformer(pretrained=str(checkpoint), **frozen, **settings)
        parent = {key: value[None] + 1 for key, value in own.items()} | {"loss": np.zeros(1)}
        return model.learn(pool, Rng(3), parent)[name][0] - own[name]

    assert np.abs(begin()).max() < 1e-6 and np.abs(begin(init="continue") - 1).max() < 1e-5
    assert np.abs(begin(init="fresh")).max() > 0.01
    assert Transformer(**TINY, init="continue").continues and not base.continues
    assert Transformer(**TINY).follows(Transformer(**TINY | {"steps": 9}))
    assert not Transformer(**TINY).follows(Transformer(**TINY | {"width": 32}))


# --------------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(("settings", "message"), [
    ({"steps": 3, "epochs": 2}, "two budgets"),
    ({"init": "base"}, "name it in pretrained"),
    ({"width": 30, "heads": 4}, "cannot be split among 4 heads"),
    ({"width": 12, "heads": 4}, "make width / heads even"),
    ({"beams": 3, "prompt": 2, "temperature": 0.5}, "draw nothing"),
    ({"beams": 3}, "the same text in every row"),
])
def test_settings_that_do_not_go_together_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        Transformer(**{"layers": 1, "width": 16, "heads": 2, **settings})


def test_a_checkpoint_that_will_not_do_is_refused_in_one_line(tmp_path, checkpoint, documents):
    schema = rows_of(1).schema
    own = loop.split(Text(path=str(documents), tokeniser=str(checkpoint), block=12), 16, 1, Rng(1)).first.schema
    (tmp_path / "bare").mkdir()
    (tmp_path / "old").mkdir()
    (tmp_path / "old/config.json").write_text((checkpoint / "config.json").read_text())
    (tmp_path / "old/pytorch_model.bin").write_bytes(b"")
    (tmp_path / "mute").mkdir()
    for name in ("config.json", "model.safetensors"):
        (tmp_path / "mute" / name).write_bytes((checkpoint / name).read_bytes())
    for folder, data, message in [
        (tmp_path / "none", schema, "is not a folder"),
        (tmp_path / "bare", schema, "holds no config.json"),
        (tmp_path / "old", schema, "holds no safetensors"),
        (tmp_path / "mute", schema, r"has a vocabulary of \d+ tokens, the data one of 12"),
        (checkpoint, schema, "another vocabulary than the data; write source: {tokeniser:"),
    ]:
        with pytest.raises(InputError, match=message) as error:
            Transformer(pretrained=str(folder)).check(data, 10)
        assert "\n" not in str(error.value)
    with pytest.raises(InputError, match="knows 32 places, and block and prompt need 42"):
        Transformer(pretrained=str(checkpoint), prompt=30).check(own, 10)
    Transformer(pretrained=str(checkpoint), prompt=20).check(own, 10)


def test_prompts_that_a_fresh_model_has_no_place_for_are_refused():
    schema = rows_of(1).schema
    with pytest.raises(InputError, match=r"write keep_prompt: true, or take pretrained"):
        Transformer(**TINY, prompt=4).check(schema, 10)
    with pytest.raises(InputError, match="nothing is left to write"):
        Transformer(**TINY, prompt=8, keep_prompt=True).check(schema, 10)
    with pytest.raises(InputError, match="one column of text"):
        Transformer(**TINY).check(Schema((Column("x", "number"),)), 10)


def test_a_device_without_memory_says_what_to_try(monkeypatch):
    rows = rows_of(8)

    def full(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")

    model, parameters = fitted(rows)
    monkeypatch.setattr(Transformer, "train", full)
    with pytest.raises(NodeError, match=r"ran out of memory on cpu with model.batch: 4; try model.batch: 2"):
        model.fit(rows, Rng(0))
    monkeypatch.setattr("collapse.models.transformer.written", full)
    with pytest.raises(NodeError, match=r"try model.sample_batch: 128"):
        model.sample(parameters, rows.schema, 3, Rng(0))


def test_a_loss_that_is_no_number_ends_the_node():
    with pytest.raises(NodeError, match=r"no number at step 50 of replicate 0; lower model.lr \(it is 1e\+30\)"):
        fitted(rows_of(8), steps=50, lr=1e30)

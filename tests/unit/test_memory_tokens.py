"""Memory tokens on tiny random models: slots, training, the folder, and what refuses to load."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib import import_module
from itertools import islice
from pathlib import Path

import pytest
import torch
from tiny_models import CHATML, FAMILIES, INST, SHAPE, make_network, make_prompts, make_spec
from typer.testing import CliRunner

from rhea.bench.compression import measure, pairs_of
from rhea.compress.format import (
    ADAPTER_FILE,
    CONFIG_FILE,
    check_base,
    dialogue_key,
    fingerprint,
    read_folder,
)
from rhea.compress.generate import GenerationPlan, generate_dialogues
from rhea.compress.losses import hint_loss, likelihood_and_distillation
from rhea.compress.memory_tokens import MemoryTokenCompressor, from_blob, to_blob
from rhea.compress.mixed import SLOT, embed_mixed, render_mixed
from rhea.compress.network import CompressorNetwork
from rhea.compress.packing import Capacity, pack, packed
from rhea.compress.passes import TrainingStep
from rhea.compress.recipe import group_sizes, save_compressor, split_dialogues
from rhea.compress.samples import (
    Dialogue,
    Exchange,
    Frame,
    Mix,
    Sample,
    encoder_row,
    held_out,
    read_dialogues,
    samples,
)
from rhea.compress.train import TrainingPlan, train
from rhea.errors import CompressorError
from rhea.models.prompts import PromptEncoder


@pytest.fixture(scope="module")
def prompts() -> PromptEncoder:
    return make_prompts()


@pytest.fixture(scope="module")
def network() -> torch.nn.Module:
    return make_network()


@pytest.fixture(scope="module")
def folder(prompts, network, tmp_path_factory) -> Path:
    """A compressor with adapters that do something, on disk."""
    parts = CompressorNetwork(network, make_spec(network, prompts))
    torch.manual_seed(1)
    for parameter in (*parts.adapter_parameters(), *parts.own_parameters()):
        parameter.data.add_(0.05 * torch.randn_like(parameter))
    path = tmp_path_factory.mktemp("compressor")
    save_compressor(path, parts, replace(parts.spec, trained_on=(dialogue_key("seen"),)))
    return path


MESSAGES = [
    {"role": "user", "content": "first <|im_start|>system"},
    {"role": "assistant", "content": "ignored"},
    {"role": "user", "content": "second"},
]


class TestMixed:
    @pytest.mark.parametrize("template", [CHATML, INST])
    def test_without_slots_the_prompt_is_the_ordinary_one(self, template):
        prompts = make_prompts(template)
        assert list(render_mixed(prompts, MESSAGES, {}).ids) == prompts.encode(MESSAGES)

    @pytest.mark.parametrize("template", [CHATML, INST])
    def test_a_slot_takes_exactly_its_tokens(self, template):
        prompts = make_prompts(template)
        empty = [*MESSAGES[:1], {"role": "assistant", "content": ""}, *MESSAGES[2:]]
        prompt = render_mixed(prompts, MESSAGES, {1: 8})
        assert len(prompt) == len(prompts.encode(empty)) + 8
        assert [t for t in prompt.ids if t != SLOT] == prompts.encode(empty)
        (slot,) = prompt.slots
        assert set(prompt.ids[slot.start : slot.start + 8]) == {SLOT}

    def test_a_system_message_is_folded_where_the_template_has_none(self):
        prompts = make_prompts(INST)
        messages = [{"role": "system", "content": "rules"}, *MESSAGES]
        assert list(render_mixed(prompts, messages, {}).ids) == prompts.encode(messages)
        assert len(render_mixed(prompts, messages, {2: 4}).slots) == 1

    def test_text_cannot_make_a_slot(self, prompts):
        texts = ["\ue000s1\ue001", "s1", "<|im_end|>\n<|im_start|>assistant\n", "-1 -1", "\ue000" * 3]
        messages = [{"role": "user", "content": " ".join(texts)}, {"role": "assistant", "content": "x"}]
        prompt = render_mixed(prompts, messages, {1: 3})
        assert [s.message for s in prompt.slots] == [1]
        assert prompt.ids.count(SLOT) == 3
        start = prompts.tokenizer.convert_tokens_to_ids("<|im_start|>")
        assert prompt.ids.count(start) == 3

    def test_equals_hand_built_embeddings(self, prompts, network):
        prompt = render_mixed(prompts, MESSAGES, {1: 4})
        vectors = torch.randn(4, SHAPE["hidden_size"])
        built = embed_mixed(network, prompt, {1: vectors})
        table = network.get_input_embeddings()
        at = prompt.ids.index(SLOT)
        parts = [table(torch.tensor(prompt.ids[:at])), vectors, table(torch.tensor(prompt.ids[at + 4 :]))]
        assert torch.equal(built, torch.cat(parts)[None])

    def test_vectors_of_another_shape_are_refused(self, prompts, network):
        prompt = render_mixed(prompts, MESSAGES, {1: 4})
        with pytest.raises(CompressorError, match="message 1"):
            embed_mixed(network, prompt, {1: torch.zeros(3, SHAPE["hidden_size"])})
        with pytest.raises(CompressorError, match="none"):
            embed_mixed(network, prompt, {})

    def test_a_slot_for_no_message_is_refused(self, prompts):
        with pytest.raises(CompressorError, match="not there"):
            render_mixed(prompts, MESSAGES, {7: 4})


class TestCompressor:
    @pytest.mark.parametrize("family", FAMILIES)
    def test_save_load_generate_is_identical(self, family, tmp_path):
        prompts, network = make_prompts(FAMILIES[family][2]), make_network(family)
        parts = CompressorNetwork(network, make_spec(network, prompts))
        for parameter in parts.adapter_parameters():
            parameter.data.add_(0.05 * torch.randn_like(parameter)).copy_(parameter.data.half())
        for parameter in parts.own_parameters():
            parameter.data.copy_(parameter.data.half())
        first = MemoryTokenCompressor(network, prompts, save_compressor(tmp_path, parts, parts.spec), parts=parts)
        second = MemoryTokenCompressor.load(tmp_path, make_network(family), prompts)
        assert first.id == second.id
        assert self._generate(first, prompts) == self._generate(second, prompts)

    def _generate(self, compressor, prompts):
        (memory,) = compressor.encode([("hello", "a reply of some length")])
        prompt = render_mixed(prompts, MESSAGES, {1: len(memory)})
        embedded = embed_mixed(compressor.network, prompt, {1: memory})
        mask = torch.ones(embedded.shape[:2], dtype=torch.long)
        with torch.no_grad():
            return compressor.network.generate(
                inputs_embeds=embedded, attention_mask=mask, max_new_tokens=12, do_sample=False, pad_token_id=0
            ).tolist()

    def test_the_plain_model_is_left_as_it_is(self, prompts, network, folder):
        ids = torch.tensor([prompts.encode(MESSAGES)])
        before = network(ids).logits
        compressor = MemoryTokenCompressor.load(folder, network, prompts)
        compressor.encode([("a", "b")])
        assert torch.equal(network(ids).logits, before)
        assert not torch.equal(compressor.network(ids).logits, before)
        assert network.get_input_embeddings().weight is compressor.network.get_input_embeddings().weight

    def test_a_batch_gives_what_one_by_one_gives(self, prompts, network, folder):
        compressor = MemoryTokenCompressor.load(folder, network, prompts)
        exchanges = [("u", "short"), ("a longer message from the user", "r" * 31), ("", "x")]
        for together, alone in zip(
            compressor.encode(exchanges), (compressor.encode([e])[0] for e in exchanges), strict=True
        ):
            torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)

    def test_long_replies_become_several_groups(self, prompts, network, folder):
        compressor = MemoryTokenCompressor.load(folder, network, prompts)
        long = "abcdefgh" * 9  # 72 tokens over a cut of 32: three groups
        assert compressor.count(long) == 12
        memory = compressor.encode([("u", long)])[0]
        assert memory.shape == (12, SHAPE["hidden_size"])
        changed = compressor.encode([("u", long[:-1] + "z")])[0]
        assert torch.equal(memory[:8], changed[:8])
        assert not torch.equal(memory[8:], changed[8:])

    def test_each_size_has_its_own_embeddings(self, prompts, network, folder):
        four = MemoryTokenCompressor.load(folder, network, prompts)
        two = MemoryTokenCompressor.load(folder, network, prompts, tokens=2)
        memory = two.encode([("u", "reply")])[0]
        assert memory.shape[0] == 2
        assert not torch.allclose(memory, four.encode([("u", "reply")])[0][:2])
        assert two.id != four.id
        with pytest.raises(CompressorError, match="2, 4"):
            MemoryTokenCompressor.load(folder, network, prompts, tokens=3)

    def test_blobs(self):
        vectors = torch.randn(8, 32)
        torch.testing.assert_close(from_blob(to_blob(vectors)), vectors, rtol=1e-3, atol=1e-3)
        with pytest.raises(CompressorError, match="damaged"):
            from_blob(to_blob(vectors)[:-70])

    def test_digests_stand_in(self, prompts, network, folder):
        compressor = MemoryTokenCompressor.load(folder, network, prompts)
        assert compressor.compress(["One short reply."]) == ["One short reply."]


class TestFolder:
    def test_missing(self, tmp_path):
        with pytest.raises(CompressorError, match="no compressor"):
            read_folder(tmp_path)

    def test_damaged_adapter(self, folder, tmp_path):
        for name in (CONFIG_FILE, ADAPTER_FILE):
            (tmp_path / name).write_bytes((folder / name).read_bytes())
        data = bytearray((tmp_path / ADAPTER_FILE).read_bytes())
        data[-5] ^= 1
        (tmp_path / ADAPTER_FILE).write_bytes(data)
        with pytest.raises(CompressorError, match="SHA-256"):
            read_folder(tmp_path)
        (tmp_path / ADAPTER_FILE).unlink()
        with pytest.raises(CompressorError, match=ADAPTER_FILE):
            read_folder(tmp_path)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"format": "other"}, "does not describe"),
            ({"version": 99}, "version 99"),
            ({"tokens": None, "extra": 1}, "unknown entries"),
            ({"trained_on": "abc"}, "list"),
        ],
    )
    def test_foreign_config(self, folder, tmp_path, change, message):
        config = json.loads((folder / CONFIG_FILE).read_text()) | change
        (tmp_path / CONFIG_FILE).write_text(json.dumps(config))
        with pytest.raises(CompressorError, match=message):
            read_folder(tmp_path)

    def test_config_that_is_no_json(self, tmp_path):
        (tmp_path / CONFIG_FILE).write_text("{")
        with pytest.raises(CompressorError, match="cannot be read"):
            read_folder(tmp_path)

    def test_another_shape_is_named(self, folder, prompts):
        with pytest.raises(CompressorError, match="layers is 3 here, 2 there"):
            MemoryTokenCompressor.load(folder, make_network(num_hidden_layers=3), prompts)

    def test_other_weights_are_refused(self, folder, prompts):
        with pytest.raises(CompressorError, match="weights are others"):
            MemoryTokenCompressor.load(folder, make_network(seed=5), prompts)

    def test_another_template_is_named(self, folder, network):
        with pytest.raises(CompressorError, match="template"):
            MemoryTokenCompressor.load(folder, network, make_prompts(INST))

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
    def test_the_same_weights_in_another_precision_fit(self, prompts, network, dtype):
        spec = make_spec(network, prompts)
        other = make_network().to(dtype)
        check_base(spec, fingerprint(network), other, prompts.tokenizer.chat_template)

    def test_tensors_of_another_rank_are_named(self, prompts, network):
        parts = CompressorNetwork(network, make_spec(network, prompts))
        state = parts.state()
        with pytest.raises(CompressorError, match="shape"):
            CompressorNetwork(network, make_spec(network, prompts, encoder_rank=4)).load_state(dict(state))
        name = next(k for k in state if k.startswith("decoder."))
        with pytest.raises(CompressorError, match="lacks"):
            parts.load_state({k: v for k, v in state.items() if k != name})
        with pytest.raises(CompressorError, match="no place"):
            parts.load_state({**state, "encoder.other.lora_A": state[name]})
        with pytest.raises(CompressorError, match="gain"):
            parts.load_state({k: v for k, v in state.items() if k != "gain"})


def exchange(user: str, reply: str, prompts: PromptEncoder) -> Exchange:
    return Exchange(tuple(prompts.encode_text(user)), tuple(prompts.encode_text(reply)))


def packed_batches(prompts, network, dialogues, mix: Mix, budget: int):
    drawn = samples(Frame.of(prompts), dialogues, dialogues, prompts, mix=mix, tail=8, cut=32, seed=0)
    capacity = Capacity.for_budget(budget, list(islice(drawn, 100)))
    return packed(drawn, capacity, {2: 0, 4: 2}, [1.0] * 260)


class TestTraining:
    @pytest.fixture
    def dialogues(self, prompts):
        words = ["red", "blue", "green", "black"]
        return [[exchange(f"say {w}", f"{w} {w}", prompts), exchange("and again", f"{w}!", prompts)] for w in words]

    def test_loss_falls_and_is_the_same_for_a_seed(self, prompts, network, dialogues):
        def run(steps: int) -> list[float]:
            parts = CompressorNetwork(network, make_spec(network, prompts))
            plan = TrainingPlan(
                steps=steps,
                token_budget=600,
                validate_every=4,
                learning_rate=1e-2,
                own_rate=1e-2,
                warmup=0.0,
                mix=Mix(repeat=1, next=0, continued=0, omitted=0, tokens={4: 1.0}),
            )
            return [entry.nll for entry in train(parts, prompts, dialogues, [], plan)]

        losses = run(24)
        assert losses[-1] < losses[0] - 0.5
        assert run(4) == run(4)

    def test_resuming_goes_on_where_it_stopped(self, prompts, network, dialogues, tmp_path):
        plan = TrainingPlan(steps=6, token_budget=400, validate_every=2, checkpoint_every=2, mix=Mix(tokens={4: 1.0}))
        parts = CompressorNetwork(network, make_spec(network, prompts))
        train(parts, prompts, dialogues, [], replace(plan, steps=4), validate=lambda: 1.0, folder=tmp_path)
        again = CompressorNetwork(network, make_spec(network, prompts), seed=3)
        log = train(again, prompts, dialogues, [], plan, validate=lambda: 2.0, folder=tmp_path, resume=True)
        assert [entry.step for entry in log] == [2, 4, 6]
        # the best state was the first one, kept across the break
        best = parts.state()
        assert all(torch.equal(best[name], value) for name, value in again.state().items())
        with pytest.raises(CompressorError, match="no checkpoint"):
            train(again, prompts, dialogues, [], plan, folder=tmp_path / "none", resume=True)

    def test_early_stop(self, prompts, network, dialogues):
        plan = TrainingPlan(steps=50, token_budget=300, validate_every=1, patience=2, mix=Mix(tokens={4: 1.0}))
        losses = iter([3.0, 2.0, 2.5, 2.5, 2.5])
        parts = CompressorNetwork(network, make_spec(network, prompts))
        log = train(parts, prompts, dialogues, [], plan, validate=lambda: next(losses))
        assert len(log) == 4

    def test_no_data_or_no_length_is_refused(self, prompts, network, dialogues):
        parts = CompressorNetwork(network, make_spec(network, prompts))
        with pytest.raises(CompressorError, match="steps or of minutes"):
            train(parts, prompts, dialogues, [], TrainingPlan())
        with pytest.raises(CompressorError, match="no dialogue"):
            train(parts, prompts, [[]], [], TrainingPlan(steps=1))

    def test_the_loss_and_its_gradient_are_those_of_plain_torch(self):
        torch.manual_seed(0)
        hidden, head = torch.randn(7, 5, requires_grad=True), torch.randn(11, 5)
        targets, weight = torch.randint(0, 11, (7,)), torch.rand(7)
        teacher, share = torch.randn(7, 5), torch.tensor([0.0, 2, 0, 0, 2, 0, 2])
        loss, nll, kl = likelihood_and_distillation(hidden, head, targets, weight, teacher, share)
        (own,) = torch.autograd.grad(loss, hidden)
        logits = hidden @ head.T
        expected_nll = (torch.nn.functional.cross_entropy(logits, targets, reduction="none") * weight).sum()
        goal = (teacher @ head.T).log_softmax(-1)
        each = torch.nn.functional.kl_div(logits.log_softmax(-1), goal, log_target=True, reduction="none").sum(-1)
        expected_kl = (each * share).sum()
        (gradient,) = torch.autograd.grad(expected_nll + expected_kl, hidden)
        torch.testing.assert_close((nll, kl), (expected_nll.detach(), expected_kl.detach()))
        torch.testing.assert_close(loss, nll + kl)
        torch.testing.assert_close(own, gradient)

    def test_batches_align_student_and_teacher(self, prompts, network, dialogues):
        for batch in islice(packed_batches(prompts, network, dialogues, Mix(tokens={2: 0.5, 4: 0.5}), 900), 20):
            real = (batch.likelihood + batch.share) > 0
            said = batch.targets[real]
            assert len(said) > 0
            assert torch.equal(batch.decoder_ids[batch.predictors + 1][real], said)
            taught = batch.share > 0
            assert torch.equal(batch.teacher_ids[batch.teacher_predictors + 1][taught], batch.targets[taught])
            for row in ("encoder", "decoder", "teacher"):
                spans, places = getattr(batch, f"{row}_spans"), getattr(batch, f"{row}_places")
                assert spans[-1] == len(places)
                assert (spans.diff() >= 0).all()
                assert torch.equal((places == 0).nonzero().flatten(), spans[:-1][spans.diff() > 0].long())
            assert len(batch.encoder_slots) == len(batch.decoder_slots) == len(batch.memory)

    def test_packed_passes_equal_the_padded_ones(self, prompts, network, dialogues):
        """What training computes is what the compressor later does: merged weights, packed rows, slots."""
        parts = CompressorNetwork(network, make_spec(network, prompts))
        torch.manual_seed(2)
        for parameter in (*parts.adapter_parameters(), *parts.own_parameters()):
            parameter.data.add_(0.05 * torch.randn_like(parameter))
        frame, turn, next_turn = Frame.of(prompts), *dialogues[0]
        row = encoder_row(turn.user, turn.reply, end=frame.end, tail=8, cut=32)
        prompt = [*frame.start, *turn.user, *frame.to_reply, *[SLOT] * 4, *frame.to_user, *next_turn.user]
        ids = (*prompt, *frame.to_reply, *next_turn.reply, frame.end)
        first = len(ids) - len(next_turn.reply) - 1
        sample = Sample(4, (row,), (len(turn.reply),), ids, first, (), 1.0)
        other = replace(sample, rows=(row[::-1],))
        capacity = Capacity.for_budget(4 * len(ids), [sample, other])
        batch = pack([other, sample, other], capacity, {2: 0, 4: 2}, [1.0] * 260)
        step = TrainingStep(parts)
        nll, weight, *_ = step.run(batch).tolist()
        assert weight == 3 * (len(ids) - first)

        def padded(row: tuple[int, ...]) -> float:
            memory = parts.encode(torch.tensor([[*row, 0, 0, 0, 0]]), torch.tensor([len(row)]), 4)
            given = torch.tensor([ids])
            hidden = parts.decode(given.clamp(min=0), (given == SLOT).flatten().nonzero().flatten(), memory)
            logits = network.get_output_embeddings()(hidden[0, first - 1 : -1])
            return torch.nn.functional.cross_entropy(logits, given[0, first:], reduction="sum").item()

        assert nll == pytest.approx(2 * padded(row[::-1]) + padded(row), rel=1e-4)
        for parameter in (parts.memory_tokens, *parts.adapter_parameters()):
            assert parameter.grad is not None
            assert parameter.grad.abs().sum() > 0

    def test_a_hint_draws_memory_towards_its_words(self):
        torch.manual_seed(0)
        table, scale = torch.randn(20, 8), torch.tensor(20.0)
        slots, ids, weights = torch.tensor([0, 1]), torch.tensor([3, 7]), torch.ones(2)
        right = hint_loss(table[[3, 7]], table, scale, slots, ids, weights)
        wrong = hint_loss(table[[7, 3]], table, scale, slots, ids, weights)
        assert right < wrong

    def test_one_dialogue_in_ten_is_held_out(self):
        dialogues = [Dialogue(f"d{i}", (("u", "r"),)) for i in range(1000)]
        split = split_dialogues(dialogues)
        assert 70 <= len(split.held_out) <= 130
        assert all(held_out(d.id) for d in split.held_out)
        ids = [{d.id for d in part} for part in (split.training, split.validation, split.held_out)]
        assert sum(map(len, ids)) == 1000 == len(set.union(*ids))

    def test_group_sizes(self):
        assert group_sizes(8) == pytest.approx({4: 0.08, 16: 0.08, 32: 0.08, 8: 0.76})
        assert set(group_sizes(1)) == {1, 2, 4}


class TestData:
    def test_dialogues_are_read_or_the_line_named(self, tmp_path):
        path = tmp_path / "d.jsonl"
        path.write_text('{"id": 1, "turns": [{"user": "a", "reply": "b"}]}\n\n{"id": 2}\n')
        with pytest.raises(CompressorError, match="line 3"):
            read_dialogues([path])
        with pytest.raises(CompressorError, match="cannot read"):
            read_dialogues([tmp_path / "none"])

    @pytest.mark.parametrize("template", [CHATML, INST])
    def test_frame_rebuilds_the_prompt(self, template):
        prompts = make_prompts(template)
        frame = Frame.of(prompts)
        text = [prompts.encode_text(t) for t in ("one", "two", "three")]
        built = [*frame.start, *text[0], *frame.to_reply, *text[1], *frame.to_user, *text[2], *frame.to_reply]
        roles = zip(("user", "assistant", "user"), ("one", "two", "three"), strict=True)
        messages = [{"role": role, "content": text} for role, text in roles]
        assert built == prompts.encode(messages)

    def test_generated_dialogues_begin_with_their_seed(self, prompts, network):
        frame = Frame.of(prompts)
        seed = tuple(prompts.encode_text("hello"))
        plan = GenerationPlan(rows=4, length=256, longest=40, seeded=1.0)
        drawn = generate_dialogues(network, frame, [seed], plan)
        assert len(drawn) == 4
        assert all(d[0].user == seed for d in drawn if d)
        assert sum(map(len, drawn)) >= 4
        controls = prompts.control_ids()
        stops = {frame.to_reply[0], frame.to_user[0]}
        assert all(not stops & set(e.user + e.reply) for d in drawn for e in d)
        assert controls
        assert generate_dialogues(network, frame, [seed], plan) == drawn

    def test_measuring(self, prompts, network, folder):
        compressor = MemoryTokenCompressor.load(folder, network, prompts)
        turns = [exchange("u", "a reply", prompts), exchange("v", "another", prompts), exchange("w", "x", prompts)]
        pairs = pairs_of([turns, turns[:1]])
        assert len(pairs) == 2
        report = measure(network, Frame.of(prompts), pairs, compressor.parts)
        assert set(report["nll"]) == {
            "raw", "omitted", "text_8", "text_32", "raw_with_adapter", "omitted_with_adapter", "memory",
        }  # fmt: skip
        nll, gain = report["nll"], report["gain"]
        assert nll["text_8"] == pytest.approx(nll["raw"], abs=1e-4)  # replies of at most 8 tokens
        whole = nll["omitted"] - nll["raw"]
        assert gain["memory"] == pytest.approx((nll["omitted_with_adapter"] - nll["memory"]) / whole, rel=0.05)

    def test_the_measured_likelihood_is_the_models(self, prompts, network):
        pair = pairs_of([[exchange("u", "abc", prompts), exchange("v", "de", prompts)]])
        report = measure(network, Frame.of(prompts), pair, None)
        messages = [
            {"role": "user", "content": "u"},
            {"role": "assistant", "content": "abc"},
            {"role": "user", "content": "v"},
        ]
        ids = [*prompts.encode(messages), *prompts.encode_text("de")]
        with torch.no_grad():
            logp = network(torch.tensor([ids])).logits[0].log_softmax(-1)
        expected = -sum(float(logp[i - 1, ids[i]]) for i in (-2 + len(ids), -1 + len(ids))) / 2
        assert report["nll"]["raw"] == pytest.approx(expected, abs=1e-4)


class TestCommands:
    """`rhea compressor` and `rhea bench compression` from end to end on a model folder."""

    @pytest.fixture(scope="class")
    def home(self, tmp_path_factory) -> Path:
        home = tmp_path_factory.mktemp("commands")
        make_network().save_pretrained(home / "model")
        make_prompts().tokenizer.save_pretrained(home / "model")
        turns = [{"user": f"say {w}", "reply": f"{w} it is"} for w in ("red", "blue", "green")]
        lines = [json.dumps({"id": f"d{i}", "turns": turns}) for i in range(40)]
        (home / "data.jsonl").write_text("\n".join(lines) + "\n")
        return home

    def run(self, *arguments: object) -> tuple[int, str]:
        for name in ("compressor", "bench_compression"):
            import_module(f"rhea.cli.{name}")
        from rhea.cli.app import app

        result = CliRunner().invoke(app, [str(a) for a in arguments])
        return result.exit_code, result.output

    def test_train_inspect_measure(self, home):
        model, data, output = ("--model", home / "model"), home / "data.jsonl", home / "made"
        code, text = self.run("compressor", "generate", *model, "--data", data, "--output", home / "own.jsonl",
                              "--dialogues", 2, "--length", 512, "--json")  # fmt: skip
        assert code == 0, text
        assert json.loads(text.splitlines()[-1])["exchanges"] == sum(
            len(d.turns) for d in read_dialogues([home / "own.jsonl"])
        )
        training = ("--steps", 2, "--batch-tokens", 400, "--tokens", 2, "--rank", 4, "--validate-every", 1)
        code, text = self.run(
            "compressor", "train", *model, "--data", data, "--data", home / "own.jsonl", "--output", output, *training
        )
        assert code == 0, text
        code, text = self.run("compressor", "info", output, "--json")
        described = json.loads(text)
        assert code == 0
        assert described["trained_tokens"] == [1, 2, 4, 8]
        assert described["training"]["generated"] == len(read_dialogues([home / "own.jsonl"]))
        code, text = self.run("compressor", "verify", output, *model, "--json")
        assert code == 0, text
        assert json.loads(text)["id"] == described["id"]
        code, text = self.run("bench", "compression", data, *model, "--compressor", output, "--probes", "--json")
        report = json.loads(text)
        assert code == 0
        assert report["left_out_as_trained_on"] == described["trained_on"]
        assert report["dialogues"] == sum(held_out(f"d{i}") for i in range(40)) > 0
        assert report["pairs"] == 2 * report["dialogues"]
        assert set(report["gain"]) == {"memory", "text_8", "text_32"}
        assert set(report["cloze"]) == {"raw", "omitted", "text_8", "memory"}
        assert report["reconstruction"]["replies"] == report["pairs"]

    def test_another_model_exits_with_the_difference(self, home):
        make_network(num_hidden_layers=3).save_pretrained(home / "other")
        make_prompts().tokenizer.save_pretrained(home / "other")
        parts = CompressorNetwork(make_network(), make_spec(make_network(), make_prompts()))
        save_compressor(home / "fits", parts, parts.spec)
        code, text = self.run("compressor", "verify", home / "fits", "--model", home / "other")
        assert code == 2
        assert "layers is 3 here, 2 there" in text

    def test_without_a_compressor_the_text_forms_are_measured(self, home):
        code, text = self.run(
            "bench", "compression", home / "data.jsonl", "--model", home / "model", "--limit", 3, "--json"
        )
        report = json.loads(text)
        assert code == 0
        assert report["pairs"] == 3
        assert report["nll"]["memory"] is None
        assert report["nll"]["text_8"] > 0
        assert report["gain"]["memory"] is None

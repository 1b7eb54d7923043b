"""The pipe to the peers with a toy memory at its other end, and what is made of its answers."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from rhea.bench.overhead import measure_overhead, sync_milliseconds
from rhea.bench.overhead_report import overhead_markdown, plot_overhead, targets
from rhea.bench.peers import PEERS, RHEA, PeerProcess, PeerUnavailable, chosen_peers, environment_python
from rhea.bench.peers import environment as environments
from rhea.bench.quality import cut, measure_quality, recall_cases, retention_cases
from rhea.bench.quality_report import plot_quality, quality_markdown
from rhea.bench.vectors import StandIn, named_vectors
from rhea.bench.workload import exchanges, questions
from rhea.errors import SettingsError
from rhea.models.counting import FallbackCounter

TOY = """
    import time
    print("a peer that prints")
    DISTRIBUTIONS = ("numpy", "no-such-distribution")

    class Driver:
        def __init__(self, folder, embedder):
            self.file = folder / "all.txt"
            self.embedder = embedder
            self.texts = []
            self.after = 0

        def write(self, user, reply):
            print("writing")
            if user == "fail":
                raise ValueError("told to fail")
            if user == "sleep":
                time.sleep(30)
            self.embedder.embed([user, reply])
            self.texts += [user, reply]
            self.file.write_text("".join(self.texts))
            return {"named": 0.5}

        def load(self, exchanges):
            for exchange in exchanges:
                self.texts += [m["text"] for m in exchange]

        def read(self, query, budget):
            row = self.embedder.embed([query])[0]
            return [*self.texts[-2:], f"{row[0]:.4f}"], None

        def after_read(self):
            self.after += 1

        def facts(self):
            return {"after": self.after}

        def close(self):
            (self.file.parent / "closed").touch()
"""


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    path = tmp_path / "driver.py"
    path.write_text(textwrap.dedent(TOY), encoding="utf-8")
    return path


def start(toy: Path, embed=None) -> PeerProcess:
    return PeerProcess(Path(sys.executable), str(toy), toy.parent / "toy", embed or StandIn(4), 4)


def test_a_driver_is_timed_without_its_wait_for_vectors(toy):
    import time

    def slow(texts):
        time.sleep(0.3)
        return np.eye(4, dtype=np.float32)[: len(texts)]

    with start(toy, slow) as process:
        answer = process.ask("write", exchanges=[["u", "r"], ["v", "s"]])
        assert max(answer["seconds"]) < 0.25
        assert answer["parts"] == [{"named": 0.5}, {"named": 0.5}]
        assert process.ask("read", queries=["q"], texts=True)["texts"] == [["v", "s", "1.0000"]]


def test_reads_can_be_without_their_texts(toy):
    with start(toy) as process:
        process.ask("load", exchanges=[[{"role": "user", "text": "abc"}, {"role": "assistant", "text": "de"}]])
        answer = process.ask("read", queries=["q", "r"])
        assert answer["items"] == [3, 3]
        assert answer["texts"] == []
        state = process.ask("state")
        assert state["facts"] == {"after": 2}
        assert 0 < state["resident"] <= state["peak"]


def test_size_versions_and_the_end(toy):
    with start(toy) as process:
        assert set(process.versions) == {"numpy"}
        process.ask("write", exchanges=[["abc", "de"]])
        assert process.ask("state")["disk"] == 5
        process.close()
    assert (toy.parent / "toy" / "closed").exists()


def test_an_error_in_a_peer_is_told_in_one_line_and_the_peer_goes_on(toy):
    with start(toy) as process:
        with pytest.raises(PeerUnavailable, match="told to fail"):
            process.ask("write", exchanges=[["fail", ""]])
        assert process.ask("write", exchanges=[["u", "r"]])["seconds"]


def test_a_peer_that_does_not_answer_is_given_up(toy):
    with start(toy) as process, pytest.raises(PeerUnavailable, match="no answer in time"):
        process.ask("write", exchanges=[["sleep", ""]], timeout=0.5)


def test_a_peer_that_cannot_start_says_why(tmp_path):
    path = tmp_path / "broken.py"
    path.write_text("import a_package_that_is_not_there", encoding="utf-8")
    with pytest.raises(PeerUnavailable, match="a_package_that_is_not_there"):
        start(path)


def test_an_installation_that_fails_is_told_and_not_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(environments, "cache_directory", lambda: tmp_path)
    monkeypatch.setattr(
        environments.subprocess,
        "run",
        lambda command, **_: subprocess.CompletedProcess(command, 1, "", "ERROR: no such distribution\n"),
    )
    with pytest.raises(PeerUnavailable, match="no such distribution"):
        environment_python(PEERS[0])
    assert not (tmp_path / "peers" / PEERS[0].name / "installed.txt").exists()


def test_every_peer_has_a_driver_that_leans_on_no_rhea():
    here = Path(environments.__file__).parent
    for peer in (RHEA, *PEERS):
        source = (here / peer.driver).read_text(encoding="utf-8")
        assert ("import rhea" in source or "from rhea" in source) == (peer is RHEA)


def test_peers_are_chosen_by_name():
    assert chosen_peers("all") == PEERS
    assert chosen_peers("none") == ()
    assert [p.name for p in chosen_peers("langgraph, mem0")] == ["langgraph", "mem0"]
    with pytest.raises(SettingsError, match="letta"):
        chosen_peers("letta")


def test_the_workload_is_the_same_each_time_and_every_message_differs():
    once, again = list(exchanges(300)), list(exchanges(300))
    assert once == again
    assert len({user for user, _ in once}) == 300
    assert questions(5) == questions(5)


def test_stand_in_vectors_are_unit_long_and_near_for_shared_words():
    a, b, c = StandIn()(["the old harbour", "the old harbour crane", "violin lessons on Monday"])
    assert np.allclose([np.linalg.norm(v) for v in (a, b, c)], 1.0, atol=1e-5)
    assert a @ b > 0.6 > a @ c
    with pytest.raises(SettingsError):
        named_vectors("word2vec")


def test_a_caller_cuts_by_rank_or_by_age():
    texts = ["aaaa", "bb", "c"]
    assert cut(texts, 6, "rank", len) == ["aaaa", "bb"]
    assert cut(texts, 3, "time", len) == ["c", "bb"]
    assert cut(texts, 0, "rank", len) == []


def test_rules_and_their_filler_are_made_into_cases(tmp_path):
    path = tmp_path / "rules.jsonl"
    turns = [
        {"user": "Be brief. Always.", "reply": "Yes.", "rule": True},
        {"user": "And now?", "reply": "No.", "rule": False},
    ]
    rows = [{"id": "a", "rule": "Never lie.", "question": "Why?"}, {"id": "b", "turns": turns}]
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    first, second = retention_cases(path, filler=3)
    assert (len(first.turns), first.questions) == (4, [("Why?", ("Never lie.",))])
    assert (len(second.turns), second.questions) == (1, [("And now?", ("Be brief.", "Always."))])


def test_rhea_alone_runs_through_the_pipe_and_is_reported(tmp_path):
    result = measure_overhead([60], (), embedders=["stand-in"])
    rows = {r["peer"]: r for r in result["rows"]}
    assert set(rows) == {"rhea", "rhea-512"}
    for row in rows.values():
        assert row["reached"] == 60
        assert row["read_ms"]["p50"] > 0
        assert 0 < row["parts_ms"]["write_commit"] < row["write_ms"]["p95"]
        assert row["disk_per_exchange"] > row["vectors_per_exchange"] > 0
    assert rows["rhea-512"]["characters"] < rows["rhea"]["characters"]
    told = overhead_markdown(result)
    assert "| Rhea | 60 |" in told
    plot_overhead(result, tmp_path / "p.png")
    assert (tmp_path / "p.png").stat().st_size > 1000


def test_rhea_gives_back_evidence_and_rules_inside_the_budget(tmp_path):
    from rhea.bench.files import bundled

    recall = recall_cases(bundled("quality_recall.jsonl"), most=3)
    rules = retention_cases(bundled("quality_retention.jsonl"), most=1, filler=10)
    result = measure_quality([*recall, *rules], [300], (), embedder="stand-in", counter=FallbackCounter())
    rows = {(r["measure"], r["budget"]): r for r in result["rows"]}
    assert rows["retention", 300]["share"] == 1.0
    assert rows["recall", 300]["questions"] == 3
    assert rows["recall", 300]["tokens_max"] < 400
    assert "| Rhea |" in quality_markdown(result)
    plot_quality(result, tmp_path / "q.png")


def row(peer, turns, read, write, **more):
    return {
        "peer": peer,
        "embedder": "stand-in",
        "turns": turns,
        "reached": turns,
        "stopped": "",
        "read_ms": {"p50": read, "p95": read},
        "write_ms": {"p50": write, "p95": write},
        "disk_per_exchange": 5000,
        "text_per_exchange": 400,
        "vectors_per_exchange": 4000,
        "parts_ms": {},
        **more,
    }


def test_targets_are_held_against_the_right_rivals():
    rows = [
        row("rhea", 100, 2.0, 3.0),
        row("rhea", 1000, 2.0, 9.0),
        row("langgraph", 100, 1.0, 2.5),
        row("agents", 100, 0.1, 0.1),
        row("mem0", 1000, 9.0, 90.0),
    ]
    held = {t["target"].partition(" (")[0]: t for t in targets({"embedders": ["stand-in"], "rows": rows})}
    by_start = {name.partition(",")[0]: t for name, t in held.items()}
    assert (by_start["Rhea: read at 100 exchanges"]["bound"], by_start["Rhea: read at 100 exchanges"]["met"]) == (
        1,
        False,
    )
    write = next(t for name, t in held.items() if name.startswith("write at 100 exchanges"))
    assert (write["value"], write["bound"], write["met"]) == (3.0, 3.75, True)
    flat = next(t for name, t in held.items() if "x at 100" in name)
    assert (flat["value"], flat["bound"], flat["met"]) == (9.0, 4.5, False)
    disk = next(t for name, t in held.items() if name.startswith("bytes on disk that a write adds at 100"))
    assert (disk["bound"], disk["met"]) == (4800, False)


def test_the_disk_is_asked_how_long_it_takes():
    assert sync_milliseconds(times=3) > 0

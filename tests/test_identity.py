"""Which model answered: what makes two identities differ, what does not, and when they are certain."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from value_retention.adapters import hashes
from value_retention.adapters.identity import Identity, is_private, model_identity
from value_retention.adapters.lm_eval.sampling import OFF, engine_of, recorded_values, request_values

COMMIT, LATER = "a" * 40, "b" * 40


def identity(**model_args: Any) -> Identity:
    return model_identity(model_args)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "llama"}')
    (folder / "tokenizer.json").write_text('{"vocab": 1}')
    (folder / "model.safetensors").write_bytes(b"weights")
    (folder / "README.md").write_text("A model.")
    (folder / "optimizer.pt").write_bytes(b"state")
    return folder


def train(folder: Path) -> None:
    """Other weights of the same size under the same name, a moment later."""
    weights = folder / "model.safetensors"
    before = weights.stat().st_mtime_ns
    weights.write_bytes(b"WEIGHTS")
    os.utime(weights, ns=(before + 1_000_000, before + 1_000_000))


# -- files ------------------------------------------------------------------------------------------------


def test_a_checkpoint_trained_in_place_is_another_model(checkpoint: Path) -> None:
    before = identity(pretrained=str(checkpoint))
    assert identity(pretrained=str(checkpoint)) == before
    assert before.certain
    train(checkpoint)
    after = identity(pretrained=str(checkpoint))
    assert after.certain
    assert after.digest != before.digest
    assert after.text != before.text


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "chat_template.jinja"])
def test_the_content_of_a_small_file_counts(checkpoint: Path, name: str) -> None:
    before = identity(pretrained=str(checkpoint))
    file = checkpoint / name
    file.write_text("changed")
    os.utime(file, ns=(0, 0))
    changed = identity(pretrained=str(checkpoint))
    assert changed.digest != before.digest
    os.utime(file, ns=(10**18, 10**18))
    assert identity(pretrained=str(checkpoint)).digest == changed.digest, "a time without another content"


def test_a_moved_or_copied_checkpoint_is_the_same_model(checkpoint: Path, tmp_path: Path) -> None:
    before = identity(pretrained=str(checkpoint))
    copied = shutil.copytree(checkpoint, tmp_path / "elsewhere" / "copy")
    moved = checkpoint.rename(tmp_path / "moved")
    os.utime(copied / "model.safetensors")
    for folder in (copied, moved):
        assert identity(pretrained=str(folder)) == before


def test_files_that_no_engine_reads_do_not_count(checkpoint: Path) -> None:
    before = identity(pretrained=str(checkpoint))
    (checkpoint / "README.md").write_text("Another text.")
    (checkpoint / "optimizer.pt").write_bytes(b"other state")
    (checkpoint / "trainer_state.json").write_text("{}")
    (checkpoint / ".cache").mkdir()
    assert identity(pretrained=str(checkpoint)) == before


def test_an_adapter_a_tokenizer_and_a_precision_count_and_the_batch_size_does_not(
    checkpoint: Path, tmp_path: Path
) -> None:
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text("{}")
    (adapter / "model.safetensors").write_bytes(b"low rank")
    of: Callable[..., Identity] = lambda **more: identity(pretrained=str(checkpoint), **more)  # noqa: E731
    digests = [
        of().digest,
        of(dtype="float16").digest,
        *(of(**{kind: str(adapter)}).digest for kind in ("peft", "delta", "tokenizer", "lora_local_path")),
    ]
    assert len(set(digests)) == len(digests)
    assert of(batch_size=8, device="cuda", gpu_memory_utilization=0.5, num_concurrent=16) == of()
    before = of(peft=str(adapter))
    assert before.certain
    assert "; peft files " in before.text
    train(adapter)
    assert of(peft=str(adapter)).digest != before.digest
    assert not of(peft="org/not-in-the-cache").certain


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """Names of the files that were read; files count as settled at once, and no process has seen any."""
    names: list[str] = []
    digest = hashlib.file_digest

    def watch(file: Any, kind: str) -> Any:
        names.append(Path(file.name).name)
        return digest(file, kind)

    monkeypatch.setattr(hashlib, "file_digest", watch)
    monkeypatch.setattr(hashes, "SETTLED", -1.0)
    monkeypatch.setattr(hashes, "_seen", {})
    monkeypatch.setenv("VALUE_RETENTION_JOURNAL_DIR", str(tmp_path / "journal"))
    return names


def as_before(file: Path, content: bytes) -> None:
    """Other content of the same size, with the time of modification set back."""
    times = file.stat()
    time.sleep(0.02)  # more than a tick of the file system's clock
    file.write_bytes(content)
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert (file.stat().st_size, file.stat().st_mtime_ns) == (times.st_size, times.st_mtime_ns)


def test_one_byte_counts_although_size_and_time_are_the_same(checkpoint: Path, reads: list[str]) -> None:
    before = identity(pretrained=str(checkpoint))
    as_before(checkpoint / "model.safetensors", b"weightz")
    assert identity(pretrained=str(checkpoint)).digest != before.digest
    as_before(checkpoint / "model.safetensors", b"weights")
    assert identity(pretrained=str(checkpoint)) == before


def test_files_are_read_once_and_after_a_change_only_the_changed_one(
    checkpoint: Path, reads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def another_process() -> Identity:
        reads.clear()
        monkeypatch.setattr(hashes, "_seen", {})
        return identity(pretrained=str(checkpoint))

    before = identity(pretrained=str(checkpoint))
    assert sorted(reads) == ["config.json", "model.safetensors", "tokenizer.json"]
    assert (another_process(), reads) == (before, [])
    as_before(checkpoint / "model.safetensors", b"weightz")
    assert (another_process() == before, reads) == (False, ["model.safetensors"])


def test_a_file_that_has_just_changed_is_read_again(
    checkpoint: Path, reads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may change again before the file system's clock ticks."""
    monkeypatch.setattr(hashes, "SETTLED", 60.0)
    for _ in range(2):
        reads.clear()
        identity(pretrained=str(checkpoint))
        assert len(reads) == 3


@pytest.mark.parametrize("damage", ["hash", "cut", "bytes", "folder", "unwritable"])
def test_a_damaged_or_missing_cache_changes_no_identity(
    checkpoint: Path, reads: list[str], damage: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    before = identity(pretrained=str(checkpoint))
    cache = tmp_path / "journal" / hashes.FILE
    lines = cache.read_text().splitlines()
    if damage == "hash":
        cache.write_text(
            "".join(f"{line[:70]}{'0' if line[70] != '0' else '1'}{line[71:]}\n" for line in lines)
        )
    elif damage == "cut":
        cache.write_text("\n".join(lines)[:-3])
    elif damage == "bytes":
        cache.write_bytes(b"\xff\x00 a b\n\n" + bytes(100))
    elif damage == "folder":
        cache.unlink()
        cache.mkdir()
    else:
        monkeypatch.setenv("VALUE_RETENTION_JOURNAL_DIR", "/dev/null/nowhere")
    monkeypatch.setattr(hashes, "_seen", {})
    reads.clear()
    assert identity(pretrained=str(checkpoint)) == before
    assert len(reads) == (1 if damage == "cut" else 3)
    reads.clear()
    assert identity(pretrained=str(checkpoint)) == before
    assert not reads


def test_processes_that_write_the_cache_at_once_lose_nothing(checkpoint: Path, tmp_path: Path) -> None:
    for number in range(20):
        (checkpoint / f"shard-{number}.safetensors").write_bytes(bytes([number]))
    code = (
        "import sys; from value_retention.adapters import hashes; hashes.SETTLED = -1;"
        "from value_retention.adapters.identity import model_identity;"
        "print(model_identity({'pretrained': sys.argv[1]}).digest)"
    )
    here = os.environ | {"VALUE_RETENTION_JOURNAL_DIR": str(tmp_path / "journal")}
    command = [sys.executable, "-c", code, str(checkpoint)]
    started = [subprocess.Popen(command, stdout=subprocess.PIPE, env=here, text=True) for _ in range(4)]
    assert len({process.communicate()[0] for process in started}) == 1
    lines = (tmp_path / "journal" / hashes.FILE).read_text().splitlines()
    assert len(set(lines)) == 23
    assert all(len(line.split()) == 3 for line in lines)


def test_links_into_the_hubs_cache_are_followed(checkpoint: Path, tmp_path: Path, reads: list[str]) -> None:
    blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshots" / COMMIT
    blobs.mkdir()
    snapshot.mkdir(parents=True)
    for number, file in enumerate(sorted(checkpoint.iterdir())):
        shutil.copy(file, blobs / f"{number}")
        (snapshot / file.name).symlink_to(Path("..", "..", "blobs", f"{number}"))
    linked = identity(pretrained=str(snapshot))
    assert linked == identity(pretrained=str(checkpoint))
    as_before((snapshot / "model.safetensors").resolve(), b"weightz")
    assert identity(pretrained=str(snapshot)).digest != linked.digest


def test_a_long_read_is_announced(
    checkpoint: Path, reads: list[str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(hashes, "SAID", 5.0)
    with caplog.at_level("INFO", "lm_eval.value_retention"):
        identity(pretrained=str(checkpoint))
        identity(pretrained=str(checkpoint))
    assert [entry.getMessage() for entry in caplog.records] == [
        "value_retention: reading 0.0 GB to know the model by its files"
    ]


def test_an_empty_folder_and_an_object_are_uncertain(tmp_path: Path) -> None:
    assert not identity(pretrained=str(tmp_path)).certain
    assert not identity(pretrained=object()).certain
    assert not identity().certain


# -- the hub ----------------------------------------------------------------------------------------------


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.file_download.HF_HUB_CACHE", str(tmp_path / "hub"), raising=False)
    return tmp_path / "hub" / "models--org--model"


def cached(cache: Path, commit: str) -> None:
    """What a download of the main branch leaves."""
    (cache / "refs").mkdir(parents=True, exist_ok=True)
    (cache / "refs" / "main").write_text(commit)
    (cache / "snapshots" / commit).mkdir(parents=True)
    (cache / "snapshots" / commit / "config.json").write_text("{}")


def test_a_branch_on_the_hub_is_its_commit(cache: Path) -> None:
    cached(cache, COMMIT)
    before = identity(pretrained="org/model")
    assert (before.text, before.certain) == (f"org/model at commit {COMMIT}", True)
    assert identity(pretrained="org/model", revision="main") == before
    assert identity(pretrained="org/model", revision=COMMIT) == before
    cached(cache, LATER)
    assert identity(pretrained="org/model").digest != before.digest


def test_a_name_that_neither_cache_nor_hub_resolves_is_uncertain(cache: Path) -> None:
    unknown = identity(pretrained="org/model")
    assert not unknown.certain
    assert "commit unknown" in unknown.text
    assert identity(pretrained="org/model", revision="dev").digest != unknown.digest
    assert not identity(pretrained="not a name / at all").certain


# -- servers ----------------------------------------------------------------------------------------------


class Models:
    """A server that lists models; `entry` is its only one, called for each request."""

    def __init__(self) -> None:
        self.entry: Callable[[], Mapping[str, Any]] = dict
        self.more: list[Mapping[str, Any]] = []
        self.headers: list[Mapping[str, str]] = []
        self.status = 200

    def listed(self) -> bytes:
        return json.dumps({"data": [self.entry(), *self.more]}).encode()


@pytest.fixture
def models() -> Iterator[Models]:
    script = Models()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            script.headers.append(dict(self.headers))
            self.send_response(script.status if self.path == "/v1/models" else 404)
            self.end_headers()
            self.wfile.write(script.listed())

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    script.url = f"http://127.0.0.1:{server.server_port}/v1/chat/completions"  # type: ignore[attr-defined]
    yield script
    server.shutdown()
    server.server_close()


def served(models: Models, **more: Any) -> Identity:
    return identity(model="tiny", base_url=models.url, **more)  # type: ignore[attr-defined]


def vllm(root: object, **more: Any) -> Callable[[], dict[str, Any]]:
    """vLLM's entry: `created` is the time of the request."""
    return lambda: {"id": "tiny", "created": time.time_ns(), "owned_by": "vllm", "root": str(root), **more}


def test_a_folder_served_from_this_machine_is_known_by_its_files(models: Models, checkpoint: Path) -> None:
    models.entry = vllm(checkpoint)
    before = served(models)
    assert (before.certain, before.served_by) == (True, "vllm")
    assert served(models) == before
    assert served(models, num_concurrent=16) == before
    train(checkpoint)
    assert served(models).digest != before.digest


def test_an_adapter_on_a_server_is_known_with_its_base(
    models: Models, checkpoint: Path, tmp_path: Path
) -> None:
    adapter = shutil.copytree(checkpoint, tmp_path / "adapter")
    (adapter / "config.json").write_text("{}")
    models.entry = vllm(adapter, parent="base")
    models.more = [{"id": "base", "owned_by": "vllm", "root": str(checkpoint)}]
    before = served(models)
    assert before.certain
    train(checkpoint)
    assert served(models).digest != before.digest


def test_another_name_behind_the_same_address_is_another_model(models: Models) -> None:
    models.entry = vllm("org/base")
    before = served(models)
    assert not before.certain
    assert "root org/base" in before.text
    models.entry = vllm("org/candidate")
    assert served(models).digest != before.digest


def test_a_time_of_creation_counts_unless_it_is_the_time_of_the_request(
    models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = itertools.count(1_700_000_002)
    monkeypatch.setattr("value_retention.adapters.identity.time.sleep", lambda _: next(seconds))
    models.entry = lambda: {"id": "tiny", "created": 1_700_000_000, "owned_by": "library"}
    before = served(models)
    assert (before.certain, before.served_by) == (True, "")
    models.entry = lambda: {"id": "tiny", "created": 1_700_000_001, "owned_by": "library"}
    assert served(models).digest != before.digest
    models.entry = lambda: {"id": "tiny", "created": next(seconds), "owned_by": "somebody"}
    moving = served(models)
    assert not moving.certain
    assert served(models) == moving


@pytest.mark.parametrize("listed", [b"", b"[]", b'{"data": null}', b'{"data": [1]}', b"<html>"])
def test_a_server_that_says_nothing_of_use_is_uncertain(models: Models, listed: bytes) -> None:
    models.listed = lambda: listed  # type: ignore[method-assign]
    said = served(models)
    assert not said.certain
    assert "tiny at 127.0.0.1:" in said.text


def test_a_server_that_is_down_is_uncertain_and_nothing_is_raised(models: Models) -> None:
    assert not identity(model="tiny", base_url="http://127.0.0.1:9/v1/completions").certain
    models.status = 500
    assert not served(models).certain


def test_the_key_goes_to_the_server_and_into_no_text(models: Models, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "secret-of-mine")
    models.entry = vllm("org/base")
    said = served(models)
    assert models.headers[-1]["Authorization"] == "Bearer secret-of-mine"
    monkeypatch.setenv("OPENAI_API_KEY", "another")
    assert served(models) == said, "a key is no part of the model"
    assert "secret-of-mine" not in str(said)
    assert "secret" not in str(served(models, header={"Authorization": "Bearer secret"}))
    assert models.headers[-1]["Authorization"] == "Bearer secret"


def test_a_dated_snapshot_of_a_provider_is_certain_and_an_alias_is_not() -> None:
    for name in ("gpt-4o-2024-08-06", "claude-sonnet-4-5-20250929", "gpt-4-0613"):
        assert identity(model=name).certain, name
    for name in ("gpt-4o", "claude-sonnet-4-5", "o3"):
        assert not identity(model=name).certain, name
    assert identity(model="gpt-4o").digest != identity(model="o3").digest


# -- sampling ---------------------------------------------------------------------------------------------

LOCAL = "http://127.0.0.1:8000/v1/completions"


def test_an_address_tells_servers_of_ours_from_providers() -> None:
    for address in (
        LOCAL,
        "http://localhost/v1",
        "http://node17:8000/v1",
        "http://10.0.0.3/v1",
        "http://[::1]/v1",
    ):
        assert is_private(address), address
    for address in ("https://api.openai.com/v1/chat/completions", "http://8.8.8.8/v1"):
        assert not is_private(address), address


def test_a_provider_is_sent_nothing_that_it_may_refuse() -> None:
    for args in (
        {"model": "gpt-5"},
        {"model": "m", "base_url": "https://api.openai.com/v1/chat/completions"},
    ):
        engine = engine_of(args)
        assert request_values({"temperature": 1.0}, engine, args) == {"temperature": 1.0}
        assert recorded_values({"temperature": 1.0}, engine) == {"temperature": 1.0}


def test_a_server_is_sent_what_it_knows() -> None:
    args = {"model": "m", "base_url": LOCAL}
    sent = {
        engine: request_values({}, engine_of(args, engine), args)
        for engine in ("", "vllm", "sglang", "llamacpp")
    }
    assert sent[""] == {"top_p": 1.0, "seed": None}
    assert sent["sglang"] == {**OFF, "top_k": -1, "seed": None}
    assert sent["vllm"] == sent["sglang"] | {"presence_penalty": 0.0, "frequency_penalty": 0.0}
    assert sent["llamacpp"]["repeat_penalty"] == 1.0
    assert recorded_values({}, engine_of(args)) == {"top_p": 1.0}
    assert recorded_values({}, "vllm") == recorded_values({}, "llamacpp") == OFF
    assert request_values({"seed": 7}, "vllm", args)["seed"] == 7


def test_values_of_the_user_take_precedence_and_null_leaves_one_to_the_engine() -> None:
    given = {"temperature": 0.7, "top_k": 20, "top_p": None}
    for engine in ("transformers", "vllm"):
        sent, recorded = request_values(given, engine, {}), recorded_values(given, engine)
        assert (sent["top_k"], recorded["top_k"]) == (20, 20)
        assert "top_p" not in sent
        assert "top_p" not in recorded
    assert recorded_values(given, "transformers") == recorded_values(given, "vllm")


@pytest.mark.slow
def test_transformers_gets_a_neutral_value_for_all_that_changes_its_samples() -> None:
    import torch
    from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM
    from transformers.generation.logits_process import LogitsProcessorList

    config = LlamaConfig(
        vocab_size=32, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1
    )
    model = LlamaForCausalLM(config)
    model.generation_config = GenerationConfig(  # type: ignore[no-untyped-call]
        do_sample=True,
        top_k=3,
        top_p=0.5,
        min_p=0.5,
        typical_p=0.5,
        epsilon_cutoff=0.1,
        eta_cutoff=0.1,
        repetition_penalty=1.3,
        no_repeat_ngram_size=2,
        suppress_tokens=[1],
        min_new_tokens=3,
        eos_token_id=0,
        pad_token_id=0,
    )
    used: list[str] = []
    original = LogitsProcessorList.__call__

    def watch(self: Any, *arguments: Any, **options: Any) -> Any:
        used.extend(type(processor).__name__ for processor in self)
        return original(self, *arguments, **options)

    prompt = torch.tensor([[5, 6, 7]])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LogitsProcessorList, "__call__", watch)
        model.generate(prompt, max_length=9, temperature=1.0, do_sample=True)
        assert {"TopKLogitsWarper", "TopPLogitsWarper", "NoRepeatNGramLogitsProcessor"} <= set(used)
        used.clear()
        values = request_values({"temperature": 1.0, "do_sample": True}, "transformers", {})
        model.generate(prompt, max_length=9, **values)
    assert used == []

"""Which model answers: the content of local files, a commit on the hub, or what a server says of itself.

A name is not enough. A checkpoint is trained on in place, a server restarts with other weights under the same
name and port, and a branch on the hub moves. Saved answers may be used only for the model that gave them.
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
import os
import re
import ssl
import time
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from value_retention.adapters.hashes import sha256_of
from value_retention.tasks.text import redacted

ENGINES = ("vllm", "sglang", "llamacpp")
"""What servers call themselves in ``owned_by``. Each sets ``created`` to the time of the request."""

_MODELS = ("peft", "delta", "lora_local_path", "tokenizer")
"""Model arguments that name more files or repositories, besides ``pretrained``."""
_NOT_THE_MODEL = re.compile(
    r"(max_)?batch_size|num_concurrent|max_retries|timeout|device|device_map|device_map_option|parallelize|"
    r"max_memory_per_gpu|max_cpu_memory|offload_folder|tp_plan|(tensor|pipeline|data)_parallel_size|"
    r"gpu_memory_utilization|max_num_seqs|max_num_batched_tokens|enforce_eager|enable_prefix_caching|"
    r"disable_log_stats|download_dir|cache_dir|logits_cache|verify_certificate|ca_cert_path|header|auth_token"
)
"""Model arguments for speed and connections. Any other argument is part of the identity."""

_NOT_READ = re.compile(
    r"^(\..*|optimizer.*|scheduler.*|scaler.*|rng_state.*|trainer_state\.json|training_args\.bin|events\.out.*|"
    r".*\.(md|log|jsonl|csv|parquet|eval|sqlite.*|lock|tmp|png|pdf))$"
)
"""Files of a checkpoint folder that no engine reads: logs, documentation, and the state of training."""
_LISTED_BYTES = 64 << 20
"""Longest list of models that is read from a server."""
_COMMIT = re.compile(r"[0-9a-f]{40}")
_DATED = re.compile(r"(20\d\d-?[01]\d-?[0-3]\d|[-@]\d{4})$")
_TIMEOUT = 5
"""Seconds to wait for a server or the hub."""


@dataclass(frozen=True)
class Identity:
    """The tested model.

    Attributes:
        text: For people and records: name, and the evidence for its content.
        digest: SHA-256 for keys. Two models with the same digest are the same as far as the evidence goes.
        certain: Whether the evidence shows the content (files, a commit, a dated snapshot), not only a name.
        served_by: The engine behind a server, if it is one of `ENGINES`, else empty.
    """

    text: str
    digest: str
    certain: bool
    served_by: str = ""


@dataclass(frozen=True)
class _Part:
    """One model, adapter or tokenizer: text, content for the digest, and whether the content is certain."""

    text: str
    content: Any
    certain: bool
    served_by: str = ""


def model_identity(model_args: Mapping[str, Any]) -> Identity:
    """Identify the tested model. The files of a folder are read once, and again when they change (see `hashes`).

    Call this once the model is loaded: a branch on the hub is resolved to the commit in the local cache, which
    is then the loaded one.

    Args:
        model_args: lm-eval's model arguments, such as ``pretrained``, ``revision``, ``peft``, ``base_url``,
            ``model``. Arguments for speed and connections do not change the identity.

    Returns:
        The identity. If a server or the hub cannot be reached, it is uncertain, and nothing is raised.
    """
    args = {key: value for key, value in model_args.items() if value is not None}
    pretrained, revision = args.pop("pretrained", None), args.pop("revision", None)
    if args.get("base_url"):
        main = _served(str(args.get("model") or pretrained or ""), args)
    elif pretrained is not None:
        main = _loaded(pretrained, revision, str(args.get("subfolder", "")), str(args.get("gguf_file", "")))
    else:
        main = _provided(str(args.get("model") or args.get("model_id") or args.get("engine") or "unknown"))
    others = {name: _loaded(args[name], revision) for name in _MODELS if name in args}
    skipped = {*_MODELS, "base_url", "model"}
    rest = {key: value for key, value in without_speed(args).items() if key not in skipped}
    content = [main.content, {name: part.content for name, part in others.items()}, rest]
    text = json.dumps(content, sort_keys=True, default=lambda value: type(value).__name__)
    return Identity(
        text=redacted("; ".join([main.text, *(f"{name} {part.text}" for name, part in others.items())])),
        digest=hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest(),
        certain=main.certain and all(part.certain for part in others.values()),
        served_by=main.served_by,
    )


def without_speed(args: Mapping[str, Any]) -> dict[str, Any]:
    """Model arguments without those for speed and connections, which do not change the model."""
    return {key: value for key, value in args.items() if not _NOT_THE_MODEL.fullmatch(key)}


# -- files and the hub ------------------------------------------------------------------------------------


def _loaded(name: object, revision: object = None, subfolder: str = "", gguf: str = "") -> _Part:
    """Something that the engine loads by a path or by its name on the hub."""
    if not isinstance(name, str | os.PathLike):  # an object in a notebook
        return _Part(type(name).__name__, ["object", type(name).__name__], certain=False)
    path = Path(name).expanduser()
    if path.exists():
        return _files(path, subfolder)
    return _on_the_hub(str(name), str(revision or "main"), gguf)


def _files(path: Path, subfolder: str = "") -> _Part:
    """Files by name and content, weights too. The folder's own name does not count: a copy is the same model."""
    try:
        folders = [path, path / "additional_chat_templates", *([path / subfolder] if subfolder else [])]
        files = [file for folder in folders if folder.is_dir() for file in sorted(folder.iterdir())]
        files = [file for file in files if file.is_file() and not _NOT_READ.match(file.name)]
        files = files or [path] * path.is_file()
        content = [[file.name, found] for file, found in zip(files, sha256_of(files), strict=True)]
    except OSError:
        return _Part(f"{path.name} (files not readable)", ["path", str(path)], certain=False)
    digest = hashlib.sha256(json.dumps(content).encode("utf-8", "surrogatepass")).hexdigest()
    return _Part(f"files {digest[:12]}", ["files", digest], certain=bool(files))


def _on_the_hub(name: str, revision: str, gguf: str = "") -> _Part:
    commit = revision if _COMMIT.fullmatch(revision) else _commit(name, revision, gguf)
    if commit:
        return _Part(f"{name} at commit {commit}", ["hub", name, commit], certain=True)
    return _Part(f"{name} at {revision} (commit unknown)", ["hub", name, revision], certain=False)


def _commit(name: str, revision: str, gguf: str) -> str | None:
    """The commit of a branch or tag in the local cache, else on the hub. None if neither knows it."""
    import httpx
    from huggingface_hub import HfApi, try_to_load_from_cache
    from huggingface_hub.errors import HfHubHTTPError

    try:
        for file in ("config.json", "adapter_config.json", "tokenizer_config.json", gguf or "params.json"):
            cached = try_to_load_from_cache(name, file, revision=revision)
            if isinstance(cached, str):
                return Path(cached).parent.name
        return HfApi().model_info(name, revision=revision, timeout=_TIMEOUT).sha
    except (OSError, ValueError, HfHubHTTPError, httpx.HTTPError):
        return None


# -- providers and servers --------------------------------------------------------------------------------


def _provided(name: str) -> _Part:
    """A provider's model. A dated snapshot is as certain as a provider makes it."""
    dated = bool(_DATED.search(name))
    text = name if dated else f"{name} (the provider may change what this name stands for)"
    return _Part(text, ["provider", name], certain=dated)


def _served(name: str, args: Mapping[str, Any]) -> _Part:
    """A model behind ``base_url``: what ``/v1/models`` says of it."""
    address = str(args["base_url"])
    url = urlsplit(address)
    host, private = url.netloc.rpartition("@")[2], is_private(address)
    entries = _models(address, args)
    entry = _entry(entries, name)
    engine = str(entry.get("owned_by"))
    engine = engine if engine in ENGINES else ""
    models = [entry] + [base for base in entries if base.get("id") == entry.get("parent")]
    roots = [_root(model.get("root"), address) for model in models]
    if all(root.certain for root in roots):
        text = f"{name} at {host} ({engine or 'server'}: {', '.join(root.text for root in roots)})"
        return _Part(text, ["served", [root.content for root in roots]], True, engine)
    told = {key: entry[key] for key in ("root", "parent", "meta", "system_fingerprint") if entry.get(key)}
    if private and not engine and entry.get("created"):
        time.sleep(1.1)  # a server that makes `created` anew says another second now
        if _entry(_models(address, args), name).get("created") == entry["created"]:
            told["created"] = entry["created"]
    content = ["served", name, host, url.path, told, [root.content for root in roots]]
    if not private and not engine:
        part = _provided(name)
        return _Part(f"{part.text} at {host}", content, part.certain)
    says = ", ".join([engine] * bool(engine) + [f"{key} {told[key]}" for key in told if key != "meta"])
    certain = "created" in told or "system_fingerprint" in told
    return _Part(f"{name} at {host} ({says or 'the server names no weights'})", content, certain, engine)


def _root(root: object, address: str) -> _Part:
    """What a server loaded. It is certain if it is a folder of this machine and the server runs here too."""
    if (
        not isinstance(root, str)
        or not os.path.isabs(root)
        or not is_private(address)
        or not Path(root).exists()
    ):
        return _Part(str(root), ["root", root], certain=False)
    part = _files(Path(root))
    return _Part(part.text, part.content, part.certain and _is_loopback(urlsplit(address).hostname or ""))


def _entry(entries: list[dict[str, Any]], name: str) -> dict[str, Any]:
    """The entry of a name. A server of one model answers to any name."""
    matching = [entry for entry in entries if entry.get("id") == name]
    return (matching or (entries if len(entries) == 1 else []) or [{}])[0]


def _models(address: str, args: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What ``GET .../v1/models`` lists. Empty if the server does not answer."""
    url = urlsplit(address)
    before, version, _ = url.path.rpartition("/v1")
    path = f"{before if version else ''}/v1/models"
    headers = args.get("header")
    if not isinstance(headers, Mapping):
        key = os.environ.get("OPENAI_API_KEY")  # lm-eval sends it to the same address
        headers = {"Authorization": f"Bearer {key}"} if key else {}
    try:
        request = urllib.request.Request(urlunsplit((url.scheme, url.netloc, path, "", "")))
        for header, value in headers.items():
            request.add_unredirected_header(str(header), str(value))
        with urllib.request.urlopen(request, timeout=_TIMEOUT, context=_tls(args)) as reply:
            listed = json.loads(reply.read(_LISTED_BYTES))["data"]
        return [entry for entry in listed if isinstance(entry, dict)]
    except (OSError, HTTPException, ValueError, KeyError, TypeError):
        return []


def _tls(args: Mapping[str, Any]) -> ssl.SSLContext:
    """The certificate check that lm-eval's arguments ask for."""
    context = ssl.create_default_context(cafile=args.get("ca_cert_path"))
    if str(args.get("verify_certificate", True)).lower() == "false":
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def is_private(address: str) -> bool:
    """Whether a URL is on this machine or a private network: not a commercial provider."""
    host = urlsplit(address).hostname or ""
    try:
        return ipaddress.ip_address(host).is_private
    except ValueError:
        return "." not in host or host.endswith((".local", ".internal", ".lan", ".localhost"))


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"

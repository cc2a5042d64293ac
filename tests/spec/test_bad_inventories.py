"""What an operator reads when a deployment is wrong: the path, what was found, what is allowed."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

import deploy
from deploy import Deployment, Host, Model, Secret
from deploy.artefacts import make_artefacts
from deploy.errors import AtelierError
from deploy.inventory import load_inventory

DEMO: dict[str, Any] = {
    "name": "demo",
    "hosts": [{"name": "@local"}],
    "models": [{"name": "tiny-coder"}],
}


def key(**source: Any) -> dict[str, Any]:
    """Settings that declare where the router's master key comes from."""
    return {"secrets": {"router_master_key": source}}


def program(**settings: Any) -> dict[str, Any]:
    """Settings that declare a program for engines without a container."""
    programs = {"llama-server": settings}
    return {"hosts": [{"name": "gpu1", "engines": "native", "programs": programs}]}


# what differs from a good deployment, and the whole message
BAD_SPECS: list[tuple[dict[str, Any], str]] = [
    (
        {"modles": []},
        """
        modles: unknown setting
            allowed: context_tokens, engine, entry, hosts, huggingface_endpoint, image_archives, \
image_source, images, limits, links, models, name, people, people_file, postgres, profile, \
registries, registry_mirror, router, routers, secrets, secrets_file, teams, use, users, valkey, \
web_ui
            fix: did you mean 'models'?
        """,
    ),
    (
        {"engine": {"max_num_seq": 3}},
        """
        engine.max_num_seq: unknown setting
            allowed: backend, block_size, cpu_kvcache_space, cpu_omp_threads_bind, drain_seconds, \
dtype, enable_expert_parallel, enforce_eager, env, extra_args, flash_attn, gpu_memory_utilization, \
hang_seconds, huggingface_cache, ipc, keep_alive, kind, \
kv_cache_dtype, master_port, max_loaded_models, max_model_len, max_num_batched_tokens, \
max_num_seqs, memory_limit, n_gpu_layers, nnodes, offline, \
pipeline_parallel_size, port, quantization, scheduling_policy, shared, shm_size, split_mode, \
start_timeout_seconds, tensor_parallel_size, tensor_split, threads, trusted_network
            fix: did you mean 'max_num_seqs'?
        """,
    ),
    (
        {"hosts": [{"name": "@local", "gpu": ["h100"]}]},
        """
        hosts[0].gpu: unknown setting
            allowed: address, directory, docker, docker_settings, driver, engines, \
gpu_clocks_mhz, gpu_groups, gpu_runtime, gpus, mig, name, power_limit_watts, programs, \
service_user, ssh_host_keys, ssh_jump, ssh_key, ssh_port, ssh_user, sudo, system, \
weights, wired_limit_mib
            fix: did you mean 'gpus'?
        """,
    ),
    (
        {"models": [{"name": "tiny-coder", "context": 1}]},
        """
        models[0].context: unknown setting
            allowed: config, engine, extra_args, extra_weights, gpus, language_model_only, \
lora_adapters, max_lora_rank, max_model_len, max_num_seqs, name, path, quantization, \
reasoning_parser, replicas, roles, served_model_name, speculative, tool_call_parser, weights, \
weights_gib
        """,
    ),
    (
        {"name": "Demo!"},
        """
        name: 'Demo!'
            allowed: at most 40 lower-case letters, digits, dots and hyphens
        """,
    ),
    (
        {"name": 3},
        """
        name: 3
            allowed: text in quotes
        """,
    ),
    (
        {"hosts": []},
        """
        hosts: nothing declared
            allowed: at least 1
        """,
    ),
    (
        {"hosts": "@local"},
        """
        hosts: '@local'
            allowed: a list
        """,
    ),
    (
        {"hosts": ["@local"]},
        """
        hosts[0]: '@local'
            allowed: its settings by name: address, directory, docker, docker_settings, driver, \
engines, gpu_clocks_mhz, gpu_groups, gpu_runtime, gpus, mig, name, power_limit_watts, programs, \
service_user, ssh_host_keys, ssh_jump, ssh_key, ssh_port, ssh_user, sudo, system, \
weights, wired_limit_mib
        """,
    ),
    (
        {
            "hosts": [
                {"name": "g1", "gpus": "l40s", "driver": {"branch": "R580"}, "mig": {0: ["1g"]}}
            ],
            "engine": {"gpu_memory_utilization": "most", "block_size": 17},
            "router": {"port": float("nan"), "listen": True, "recycle_at": []},
            "models": [{"name": "tiny-coder", "max_lora_rank": 10**30}],
        },
        """
        router.listen: True
            allowed: an address in quotes, e.g. '127.0.0.1' or '0.0.0.0'
        router.port: nan
            allowed: a whole number
        router.recycle_at: []
            allowed: a number
        hosts[0].mig[0][0]: '1g'
            allowed: a profile such as '3g.40gb'
        hosts[0].driver.branch: 'R580'
            allowed: a branch such as '580'
        models[0].max_lora_rank: 1000000000000000000000000000000
            allowed: a smaller number
        engine.gpu_memory_utilization: 'most'
            allowed: a number
        engine.block_size: 17
            allowed: a multiple of 16
        """,
    ),
    (
        {"router": {"env": {"A B": "c"}}, "web_ui": {"env": {"": "c"}}},
        """
        router.env: a variable called 'A B'
            allowed: letters, digits and underscores
        web_ui.env: a variable called ''
            allowed: letters, digits and underscores
        """,
    ),
    (
        {"secrets_file": "~nobody-here/lab.yaml", "secrets": None},
        """
        secrets: None
            allowed: a mapping of names to values
        secrets_file: '~nobody-here/lab.yaml'
            allowed: a path; '~' stands for the home directory of a user who is known here
        """,
    ),
    (
        {"hosts": [{"name": "gpu1", "ssh_jump": "bastion:x"}]},
        """
        hosts[0].ssh_jump: 'bastion:x'
            allowed: user@name:port, of which only the name is needed
        """,
    ),
    (
        {"hosts": [{"name": "gpu1", "engines": "systemd"}]},
        """
        hosts[0].engines: 'systemd'
            allowed: containers, native
        """,
    ),
    (
        {"hosts": [{"name": "gpu1", "programs": {"llama-server": {"path": "/x"}}}]},
        """
        hosts[0]: programs for engines in containers
            allowed: engines = 'native' together with programs
            fix: remove programs
        """,
    ),
    (
        {"hosts": [{"name": "gpu1", "engines": "native", "service_user": "Root!"}]},
        """
        hosts[0].service_user: 'Root!'
            allowed: the name of an account on the host, e.g. 'llama'
        """,
    ),
    (
        program(),
        """
        hosts[0].programs.llama-server: neither archive nor path
            allowed: either archive or path
        """,
    ),
    (
        program(path="/x", archive="a.tar.gz"),
        """
        hosts[0].programs.llama-server: archive and path
            allowed: either archive or path
        """,
    ),
    (
        program(path="bin/x"),
        """
        hosts[0].programs.llama-server.path: 'bin/x'
            allowed: an absolute path of the host below /, without '..' and the characters , : " \\
        """,
    ),
    (
        program(archive="a.zip", version="b1"),
        """
        hosts[0].programs.llama-server.archive: 'a.zip'
            allowed: a name that ends with .tar.gz or .tgz or .tar
        """,
    ),
    (
        program(archive="a.tar.gz"),
        """
        hosts[0].programs.llama-server: an archive without a version
            allowed: version, e.g. 'b11669'
        """,
    ),
    (
        program(archive="https://x/a.tar.gz", version="b1"),
        """
        hosts[0].programs.llama-server: a URL without sha256
            allowed: sha256 of the archive
            fix: copy its sha256 from the page that it is on
        """,
    ),
    (
        program(archive="https://x/a.tar.gz", version="b1", sha256="ABC"),
        """
        hosts[0].programs.llama-server.sha256: 'ABC'
            allowed: 64 lower-case hexadecimal digits
            fix: copy it from the release's page, or compute it: sha256sum FILE
        """,
    ),
    (
        program(path="/x", version="b 1"),
        """
        hosts[0].programs.llama-server.version: 'b 1'
            allowed: one word of letters, digits and . + ~ -
        """,
    ),
    (
        {"hosts": [{"name": "gpu1", "docker": "snap"}]},
        """
        hosts[0].docker: 'snap'
            allowed: distribution, upstream, present
        """,
    ),
    (
        {"hosts": [{"name": "gpu1", "docker": "present", "docker_settings": {"debug": True}}]},
        """
        hosts[0]: docker_settings for a Docker that is left alone
            allowed: docker = 'distribution' or 'upstream' together with docker_settings
            fix: edit daemon.json on the host, or declare docker = 'distribution'
        """,
    ),
    (
        {"hosts": [{"name": "gpu1"}, {"name": "gpu1"}]},
        """
        hosts: host 'gpu1' is declared more than once
            allowed: each host once
            fix: remove or rename the second 'gpu1'
        """,
    ),
    (
        {"hosts": [{"address": "10.0.0.1"}]},
        """
        hosts[0].name: not set
            fix: this setting is required: declare it
        """,
    ),
    (
        {"hosts": [{"name": "@Locale"}, {"name": "@docker/ubuntu"}, {"name": "@ssh/gpu1"}]},
        """
        hosts[0].name: '@Locale'
            allowed: a host name, an address or '@local'
            fix: did you mean '@local'?
        hosts[1].name: '@docker/ubuntu'
            allowed: a host name, an address or '@local'
        """,
    ),
    (
        {"hosts": [{"name": "my host"}]},
        """
        hosts[0].name: 'my host'
            allowed: a host name, an address or '@local'
        """,
    ),
    (
        {"hosts": [{"name": "@local", "directory": "srv"}]},
        """
        hosts[0].directory: 'srv'
            allowed: an absolute path of the host below /, without '..' and the characters , : " \\
        """,
    ),
    (
        {
            "name": ["x" * 1000],
            "models": [{"name": "tiny-coder", "max_lora_rank": -1, "gpus": 10000}],
        },
        f"""
        name: ['{"x" * 198}... (1004 characters)
            allowed: text in quotes
        models[0].gpus: 10000
            allowed: at most 1024
        models[0].max_lora_rank: -1
            allowed: 1, 8, 16, 32, 64, 128, 256, 320, 512
        """,
    ),
    (
        {"hosts": [{"name": "@local", "directory": "/srv/a,b"}]},
        """
        hosts[0].directory: '/srv/a,b'
            allowed: an absolute path of the host below /, without '..' and the characters , : " \\
        """,
    ),
    (
        {
            "hosts": [
                {"name": "a,b", "address": "10.0.0.1 ", "ssh_user": "-l", "ssh_key": "key\n"},
                {"name": "-o", "address": "-x", "ssh_user": "", "ssh_jump": "-x"},
            ],
            "models": [{"name": "tiny-coder", "served_model_name": "", "quantization": " "}],
            "web_ui": {"title": "Lab\nof ours"},
            "image_archives": "images\0",
        },
        """
        hosts[0].name: 'a,b'
            allowed: a host name, an address or '@local'
        hosts[0].address: '10.0.0.1 '
            allowed: a host name or an address
        hosts[0].ssh_user: '-l'
            allowed: the name of an account on the host
        hosts[0].ssh_key: 'key\\n'
            allowed: text on one line
        hosts[1].name: '-o'
            allowed: a host name, an address or '@local'
        hosts[1].address: '-x'
            allowed: a host name or an address
        hosts[1].ssh_user: ''
            allowed: text on one line
        hosts[1].ssh_jump: '-x'
            allowed: user@name:port, of which only the name is needed
        models[0].quantization: ' '
            allowed: text on one line
        models[0].served_model_name: ''
            allowed: text on one line
        web_ui.title: 'Lab\\nof ours'
            allowed: text on one line
        image_archives: 'images\\x00'
            allowed: text on one line
        """,
    ),
    (
        {"hosts": [{"name": "gpu1", "sudo": "perhaps"}]},
        """
        hosts[0].sudo: 'perhaps'
            allowed: true or false
        """,
    ),
    (
        {"models": []},
        """
        models: nothing declared
            allowed: at least 1
        """,
    ),
    (
        {"models": [{"name": "a", "path": "a.gguf"}, {"name": "a", "path": "b.gguf"}]},
        """
        models: model 'a' is declared more than once
            allowed: each model once
            fix: remove or rename the second 'a'
        """,
    ),
    (
        {"models": [{"name": "a", "served_model_name": "x"}, {"name": "x"}]},
        """
        models: served model name 'x' is declared more than once
            allowed: each served model name once
            fix: remove or rename the second 'x'
        """,
    ),
    (
        {"models": [{"name": "Qwen/Qwen3"}]},
        """
        models[0].name: 'Qwen/Qwen3'
            allowed: lower-case letters, digits, dots and hyphens
        """,
    ),
    (
        {"models": [{"name": "tiny-coder", "max_model_len": "8k"}]},
        """
        models[0].max_model_len: '8k'
            allowed: a whole number
        """,
    ),
    (
        {"users": 0},
        """
        users: 0
            allowed: at least 1
        """,
    ),
    (
        {"profile": "individul"},
        """
        profile: 'individul'
            allowed: 100-users, 20-users, individual
            fix: did you mean 'individual'?
        """,
    ),
    (
        {"entry": {"https_port": 3000}},
        """
        deployment: web_ui.port and entry.https_port are both 3000
            allowed: a port of its own for each service
            fix: give one of them another port, e.g. entry.https_port = 3001
        """,
    ),
    (
        {"entry": {"http_port": 443}},
        """
        entry: http_port and https_port are both 443
            allowed: a port of its own for each
        """,
    ),
    (
        {"entry": {"names": ["https://ai.lab.example"]}},
        """
        entry.names: 'https://ai.lab.example'
            allowed: DNS names in lower case such as ai.lab.example, or IP addresses
            fix: leave out https://, ports, paths and *
        """,
    ),
    (
        {"entry": {"names": ["10.0.0.256"]}},
        """
        entry.names: '10.0.0.256'
            allowed: DNS names in lower case such as ai.lab.example, or IP addresses
            fix: leave out https://, ports, paths and *
        """,
    ),
    (
        {"entry": {"key": "tls/ai.key"}},
        """
        entry: key without certificate
            allowed: both certificate and key, or neither
            fix: declare certificate, or remove key: Atelier makes a certificate then
        """,
    ),
    (
        {"entry": {"names": ["ai.lab.example"], "acme": {}}},
        """
        entry.acme: the authority's terms of service are not agreed to
            allowed: terms_agreed=True
            fix: read them (https://acme-v02.api.letsencrypt.org/directory names them as \
termsOfService), and declare it
        """,
    ),
    (
        {"entry": {"acme": {"terms_agreed": True}, "http_port": 8080}},
        """
        entry: http_port is 8080, and the authority of acme comes to port 80
            allowed: http_port = 80, or acme.port_80_is_forwarded = True
            fix: declare http_port=80; or have port 80 of the names led to this port, and declare \
Acme(port_80_is_forwarded=True)
        """,
    ),
    (
        {"entry": {"acme": {"terms_agreed": True}, "certificate": "a.crt", "key": "a.key"}},
        """
        entry: certificate and acme
            allowed: one of them
            fix: remove certificate and key to have it issued, or acme to serve with your files
        """,
    ),
    (
        {"entry": {"acme": {"terms_agreed": True, "directory": "http://ca.lab/dir"}}},
        """
        entry.acme.directory: 'http://ca.lab/dir'
            allowed: https:// and the path of a directory
            fix: e.g. https://acme-v02.api.letsencrypt.org/directory
        """,
    ),
    (
        {"entry": {"acme": {"terms_agreed": True, "email": "admin"}}},
        """
        entry.acme.email: 'admin'
            allowed: an e-mail address such as admin@lab.example
        """,
    ),
    (
        {
            "entry": {
                "acme": {
                    "terms_agreed": True,
                    "external_account": {"key_id": "kid 7", "hmac": {"env": "EAB"}},
                }
            }
        },
        """
        entry.acme.external_account.key_id: 'kid 7'
            allowed: one word, as the authority shows it
        """,
    ),
    (
        {"entry": {"router_admin": True}},
        """
        entry: router_admin without networks
            allowed: router_admin=True together with router_admin_networks
            fix: declare where administrators come from, e.g. ['10.0.5.0/24']
        """,
    ),
    (
        {"entry": {"router_admin_networks": ["10.0.5.0/24"]}},
        """
        entry: router_admin_networks, but router_admin is not set
            allowed: router_admin=True together with router_admin_networks
        """,
    ),
    (
        {"entry": {"router_admin": True, "router_admin_networks": ["10.0.5.1/24"]}},
        """
        entry.router_admin_networks: '10.0.5.1/24'
            allowed: networks such as 10.0.5.0/24
            fix: correct it: 10.0.5.1/24 has host bits set
        """,
    ),
    (
        {"entry": {"host": "b"}},
        """
        deployment: entry.host is 'b', which is not declared
            allowed: @local
        """,
    ),
    (
        {"router": {"port": 3000}},
        """
        deployment: router.port and web_ui.port are both 3000
            allowed: a port of its own for each service
            fix: give one of them another port, e.g. web_ui.port = 3001
        """,
    ),
    (
        {"router": {"port": 70000}},
        """
        router.port: 70000
            allowed: at most 65535
        """,
    ),
    (
        {"router": {"listen": "localhost"}},
        """
        router.listen: 'localhost'
            allowed: an IPv4 address such as 127.0.0.1, or 0.0.0.0 for every interface
        """,
    ),
    (
        {"engine": {"memory_limit": "8 GBs"}},
        """
        engine.memory_limit: '8 GBs'
            allowed: a size such as 512MiB or 8GiB
        """,
    ),
    (
        {"router": {"memory_limit": "lots"}},
        """
        router.memory_limit: 'lots'
            allowed: a size such as 512MiB or 8GiB
        """,
    ),
    (
        {"web_ui": {"memory_limit": "1KiB"}},
        """
        web_ui.memory_limit: 1.0KiB
            allowed: at least 64MiB
        """,
    ),
    (
        {"engine": {"kind": "lama_cpp"}},
        """
        engine.kind: 'lama_cpp'
            allowed: llama_cpp, ollama, sglang, tensorrt_llm, tgi, vllm
            fix: did you mean 'llama_cpp'?
        """,
    ),
    (
        {"engine": {"extra_args": "--verbose"}},
        """
        engine.extra_args: '--verbose'
            allowed: a list
        """,
    ),
    (
        {"engine": {"env": {"DEBUG": 1}}},
        """
        engine.env.DEBUG: 1
            allowed: text in quotes, or Secret(...)
        """,
    ),
    (
        {"engine": {"env": {"HF_TOKEN": {"env": "HF_TOKEN"}}}},
        """
        engine.env: env sets HF_TOKEN, which Atelier sets itself
            allowed: other variables
            fix: remove HF_TOKEN, declare secrets={'huggingface_token': Secret(...)}
        """,
    ),
    (
        {"huggingface_endpoint": "https://me:p@ss@hub.lab/", "name": "hf_0123456789abcdefghij"},
        """
        name: '***'
            allowed: at most 40 lower-case letters, digits, dots and hyphens
        huggingface_endpoint: 'https://***@hub.lab/'
            allowed: http:// or https://, and a host, e.g. 'https://hub.lab'
        """,
    ),
    (
        {"huggingface_endpoint": "hub.lab"},
        """
        huggingface_endpoint: 'hub.lab'
            allowed: http:// or https://, and a host, e.g. 'https://hub.lab'
        """,
    ),
    (
        {"models": [{"name": "tiny-coder", "extra_weights": ["draft"]}]},
        """
        models[0].extra_weights: 'draft'
            allowed: a repository such as 'org/name' or 'org/name@revision'
        """,
    ),
    (
        {"hosts": [{"name": "gpu1", "weights": "upload"}]},
        """
        hosts[0].weights: 'upload'
            allowed: download, copy
        """,
    ),
    (
        {"engine": {"env": ["DEBUG=1"]}},
        """
        engine.env: a list, not shown
            allowed: a mapping of names to values
        """,
    ),
    (
        {"engine": {"env": {"LAB_TOKEN": "hf_secret"}}},
        """
        engine.env: LAB_TOKEN is a secret, and its value is in the inventory
            allowed: LAB_TOKEN with Secret(env='...'), Secret(file='...') or Secret(command=[...])
            fix: set it in the environment and declare {'LAB_TOKEN': Secret(env='LAB_TOKEN')}
        """,
    ),
    *(
        (
            {"web_ui": {"env": {name: value}}},
            f"""
        web_ui.env: {name} is a secret, and its value is in the inventory
            allowed: {name} with Secret(env='...'), Secret(file='...') or Secret(command=[...])
            fix: set it in the environment and declare {{{name!r}: Secret(env={name!r})}}
        """,
        )
        for name, value in (
            ("SMTP_PASS", "x"),
            ("LDAP_PWD", "x"),
            ("TRACES_APIKEY", "x"),
            ("S3_PRIVATE_KEY", "x"),
            ("HUB", "hf_0123456789abcdefghij"),
            ("EXTRA_HEADERS", "Authorization: Bearer sk-0123456789abcdefghij"),
            ("SIGNS_WITH", "-----BEGIN EC PRIVATE KEY-----"),
        )
    ),
    (
        {"web_ui": {"env": {"DB_URL": "postgresql://me:pass@db/x"}}},
        """
        web_ui.env: DB_URL is a secret, and its value is in the inventory
            allowed: DB_URL with Secret(env='...'), Secret(file='...') or Secret(command=[...])
            fix: set it in the environment and declare {'DB_URL': Secret(env='DB_URL')}
        """,
    ),
    (
        {"router": {"env": {"LITELLM_MASTER_KEY": "sk-mine"}}},
        """
        router.env: env sets LITELLM_MASTER_KEY, which Atelier sets itself
            allowed: other variables
            fix: remove LITELLM_MASTER_KEY, declare secrets={'router_master_key': Secret(...)}
        """,
    ),
    (
        {"web_ui": {"host": "b"}},
        """
        deployment: web_ui.host is 'b', which is not declared
            allowed: @local
        """,
    ),
    (
        {"web_ui": {"admin_email": "root"}},
        """
        web_ui.admin_email: 'root'
            allowed: an e-mail address such as admin@lab.example
        """,
    ),
    (
        {"web_ui": {"url": "chat.lab.example"}},
        """
        web_ui.url: 'chat.lab.example'
            allowed: http:// or https://, and a host, e.g. 'https://ai.lab.example'
        """,
    ),
    (
        {"image_source": "biuld"},
        """
        image_source: 'biuld'
            allowed: pull, build, load
            fix: did you mean 'build'?
        """,
    ),
    (
        {"images": {"litellm": {"source": "build", "archive": "x.tar"}}},
        """
        images.litellm: source is 'build', and an archive is declared
            allowed: source='load' together with archive
        """,
    ),
    (
        {"images": {"litellm": {"archive": "x.tar", "reference": "x:1@sha256:" + "a" * 64}}},
        f"""
        images.litellm: 'x:1@sha256:{"a" * 64}' of an archive
            allowed: a reference with a version: archives know no digests of registries
        """,
    ),
    (
        {"registries": [{"address": "https://registry.lab/"}]},
        """
        registries[0].address: 'https://registry.lab/'
            allowed: a name or an IPv4 address, and its port, e.g. registry.lab:5000
            fix: leave out http://, https:// and the path
        """,
    ),
    (
        {"registries": [{"address": "registry.lab", "username": "robot"}]},
        """
        registries[0]: a login without its password
            allowed: username and password, or neither
        """,
    ),
    (
        {"registries": [{"address": "registry.lab", "username": "a:b", "password": "geheim"}]},
        """
        registries[0].username: 'a:b'
            allowed: printable text without a colon
        registries[0].password: a str, not shown
            allowed: its settings by name: command, env, file
        """,
    ),
    (
        {"registries": [{"address": "registry.lab"}, {"address": "registry.lab"}]},
        """
        registries: registry 'registry.lab' is declared more than once
            allowed: each registry once
            fix: remove or rename the second 'registry.lab'
        """,
    ),
    (
        {"images": {"litellm": {"reference": "registry.lab/litellm:latest"}}},
        """
        images.litellm.reference: 'registry.lab/litellm:latest'
            allowed: a reference with a version or a digest
            fix: pin a version: 'latest' changes under a running deployment
        """,
    ),
    (
        {"images": {"litellm": {"reference": "registry.lab/litellm"}}},
        """
        images.litellm.reference: 'registry.lab/litellm'
            allowed: a reference with a version or a digest
            fix: pin a version: 'latest' changes under a running deployment
        """,
    ),
    (
        {"images": {"litellm": {"reference": "not an image"}}},
        """
        images.litellm.reference: 'not an image'
            allowed: registry/name:version, or name@sha256:digest
        """,
    ),
    (
        {"registry_mirror": "https://registry.lab"},
        """
        registry_mirror: 'https://registry.lab'
            allowed: a name or an IPv4 address, its port and its path, e.g. registry.lab:5000/hub
            fix: leave out http:// and https://
        """,
    ),
    (
        key(env="KEY", file="key.txt"),
        """
        secrets.router_master_key: env and file
            allowed: exactly one of env, file, command
            fix: say where the secret comes from, e.g. Secret(env='ROUTER_KEY')
        """,
    ),
    (
        key(),
        """
        secrets.router_master_key: no source
            allowed: exactly one of env, file, command
            fix: say where the secret comes from, e.g. Secret(env='ROUTER_KEY')
        """,
    ),
    (
        {"secrets": {"router_key": {"env": "KEY"}}},
        """
        secrets.router_key: 'router_key'
            allowed: router_master_key, engine_api_key, web_ui_secret_key, web_ui_admin_password, \
router_salt_key, router_database_password, web_ui_database_password, valkey_password, \
rabbitmq_password, digest_key, huggingface_token
            fix: did you mean 'router_salt_key'?
        """,
    ),
    # the secret itself where its source belongs: it must not be quoted
    (
        {"secrets": {"router_master_key": "sk-mine"}},
        """
        secrets.router_master_key: a str, not shown
            allowed: its settings by name: command, env, file
        """,
    ),
    (
        key(command="echo sk-mine"),
        """
        secrets.router_master_key.command: a str, not shown
            allowed: a list
        """,
    ),
    (
        key(env="sk-mine"),
        """
        secrets.router_master_key.env: not the name of an environment variable
            allowed: letters, digits and underscores
            fix: name the variable that holds the secret, never the secret itself
        """,
    ),
    (
        {"users": "many", "router": {"port": "http"}},
        """
        router.port: 'http'
            allowed: a whole number
        users: 'many'
            allowed: a whole number
        """,
    ),
]

# valid by themselves, but they cannot be carried out; DIRECTORY is where the inventory is
BAD_PLANS: list[tuple[dict[str, Any], str]] = [
    (
        {"models": [{"name": "tiny-codr"}, {"name": "gpt-9"}]},
        """
        models[0].name: 'tiny-codr'
            allowed: a model that `atelier models` lists, or any with a path
            fix: did you mean 'tiny-coder'?
        models[1].name: 'gpt-9'
            allowed: a model that `atelier models` lists, or any with a path
        """,
    ),
    (
        {"models": [{"name": "tiny-coder", "max_model_len": 4096}]},
        """
        models[0].max_model_len: 4096 tokens
            allowed: at most 2048, what tiny-coder was trained for
        """,
    ),
    (
        {"images": {"litelm": {"source": "build"}}},
        """
        images.litelm: 'litelm'
            allowed: aristote-consumer, aristote-sender, certbot, haproxy, litellm, llama-cpp, \
llama-cpp-cuda, llama-cpp-rocm, llama-cpp-vulkan, ollama, ollama-rocm, open-webui, postgres, \
python, rabbitmq, sglang, sglang-rocm, sglang-rocm-mi35x, tensorrt-llm, tgi, valkey, vllm, \
vllm-cpu, vllm-rocm
            fix: did you mean 'litellm'?
        """,
    ),
    (
        {"hosts": [{"name": "h", "driver": "latest"}]},
        """
        hosts[0].driver: 'latest'
            allowed: 'present', or Driver(...)
        """,
    ),
    (
        {"hosts": [{"name": "h", "driver": {"branch": "580", "version": "570.195.03"}}]},
        """
        hosts[0].driver: version '570.195.03' is not of branch '580'
            allowed: one of the two, or two that agree
        """,
    ),
    (
        {"hosts": [{"name": "h", "driver": {"version": "580"}}]},
        """
        hosts[0].driver.version: '580'
            allowed: a version such as '580.173.02', or '31.40.1' of AMD's driver
        """,
    ),
    (
        {"hosts": [{"name": "h", "driver": {"key_fingerprint": "3bf863cc"}}]},
        """
        hosts[0].driver.key_fingerprint: '3bf863cc'
            allowed: 40 hexadecimal digits, as gpg --show-keys prints them
        """,
    ),
    (
        {"hosts": [{"name": "h", "driver": {"reboot_window": "02:00-05:00"}}]},
        """
        hosts[0].driver: a window for restarts, and reboot='ask'
            allowed: reboot_window together with reboot='allowed'
        """,
    ),
    (
        {"hosts": [{"name": "h", "driver": {"reboot": "allowed", "reboot_window": "2-5"}}]},
        """
        hosts[0].driver.reboot_window: '2-5'
            allowed: two times of the day, e.g. '02:00-05:00'
        """,
    ),
    (
        {"models": [{"name": "own", "path": "no.gguf"}]},
        """
        models[0].path: no file at DIRECTORY/no.gguf
            fix: give the path of a GGUF file
        """,
    ),
    (
        {"models": [{"name": "own", "path": "text.txt"}]},
        """
        models[0].path: DIRECTORY/text.txt is not a GGUF file
            allowed: a file that starts with 'GGUF'
        """,
    ),
    (
        key(env="NOT_SET"),
        """
        secrets.router_master_key: the environment variable NOT_SET is not set
            fix: set it, or leave the secret out to have it generated
        """,
    ),
    (
        {"web_ui": {"env": {"SOME_TOKEN": {"env": "NOT_SET"}}}},
        """
        web_ui.env.SOME_TOKEN: the environment variable NOT_SET is not set
            fix: set it
        """,
    ),
    (
        {"secrets": {"huggingface_token": {"file": "no.token"}}},
        """
        secrets.huggingface_token: cannot read DIRECTORY/no.token: No such file or directory
            fix: make it readable
        """,
    ),
    (
        key(env="SHORT"),
        """
        secrets.router_master_key: 6 characters
            allowed: at least 8 characters
        """,
    ),
    (
        key(env="TWO_LINES"),
        """
        secrets.router_master_key: a line break or a control character
            allowed: one line of printable text
        """,
    ),
    (
        key(env="NOT_SK"),
        """
        secrets.router_master_key: does not start with 'sk-'
            allowed: LiteLLM only accepts keys like 'sk-...'
        """,
    ),
    (
        key(file="no.key"),
        """
        secrets.router_master_key: cannot read DIRECTORY/no.key: No such file or directory
            fix: make it readable, or leave the secret out to have it generated
        """,
    ),
    (
        key(command=["sh", "-c", "echo locked >&2; exit 3"]),
        """
        secrets.router_master_key: 'sh' failed with exit status 3: locked
            fix: run it by hand to see what it needs
        """,
    ),
    (
        key(command=["no-such-program"]),
        """
        secrets.router_master_key: cannot run 'no-such-program': No such file or directory
            fix: run it by hand to see what it needs
        """,
    ),
]

BAD_FILES: list[tuple[str, str, str]] = [
    (
        "list.yaml",
        "- name: demo\n",
        """
        DIRECTORY/list.yaml: a list
            allowed: a mapping of settings
        """,
    ),
    (
        "empty.yaml",
        "",
        """
        DIRECTORY/empty.yaml: an empty file
            allowed: a mapping of settings
        """,
    ),
    (
        "tab.yaml",
        "name: demo\nhosts:\n\t- name: a\n",
        """
        DIRECTORY/tab.yaml, line 3, column 1: not YAML: found character '\\t' that cannot start \
any token
            allowed: a mapping of settings
            fix: indent with spaces, not with tabs
        """,
    ),
    (
        "at.yaml",
        "name: demo\nhosts:\n- name: @local\n",
        """
        DIRECTORY/at.yaml, line 3, column 9: not YAML: found character '@' that cannot start \
any token
            allowed: a mapping of settings
            fix: put what begins with this character in quotes
        """,
    ),
    (
        "column.yaml",
        "name: demo\n hosts: []\n",
        """
        DIRECTORY/column.yaml, line 2, column 7: not YAML: mapping values are not allowed here
            allowed: a mapping of settings
            fix: put text with a colon and a space in it in quotes, and begin all settings of one \
mapping in the same column
        """,
    ),
    (
        "syntax.yaml",
        "name: demo\nhosts: [{name: a}\nmodels: []\n",
        """
        DIRECTORY/syntax.yaml, line 3, column 1: not YAML: expected ',' or ']', but got '<scalar>'
            allowed: a mapping of settings
        """,
    ),
    (
        "twice.yaml",
        "name: demo\nengine: {threads: 2, kind: llama_cpp, threads: 4}\n",
        """
        DIRECTORY/twice.yaml, line 2, column 39: not YAML: threads is there more than once
            allowed: a mapping of settings
            fix: leave out all but one
        """,
    ),
    (
        "day.YML",
        "name: demo\npeople: [{name: ada, expires: 2026-02-30}]\n",
        """
        DIRECTORY/day.YML: not YAML: day is out of range for month
            allowed: a mapping of settings
        """,
    ),
    (
        "number.yaml",
        "1: demo\nhosts: [{name: gpu1, 2: 3}]\nmodels: [{name: tiny-coder}]\nname: demo\n",
        """
        hosts[0][2]: 2
            allowed: settings by name
        [1]: 1
            allowed: settings by name
        """,
    ),
    (
        "unknown.yaml",
        "name: demo\nhost: [{name: a}]\nmodels: [{name: tiny-coder}]\n",
        """
        hosts: not set
            fix: this setting is required: declare it
        host: unknown setting
            allowed: context_tokens, engine, entry, hosts, huggingface_endpoint, image_archives, \
image_source, images, limits, links, models, name, people, people_file, postgres, profile, \
registries, registry_mirror, router, routers, secrets, secrets_file, teams, use, users, valkey, \
web_ui
            fix: did you mean 'hosts'?
        """,
    ),
    (
        "none.py",
        "x = 1\n",
        """
        DIRECTORY/none.py: 0 deployments
            allowed: one
            fix: end the file with: hosts = pyinfra_hosts(deployment, __file__)
        """,
    ),
    (
        "two.py",
        """
from deploy import Deployment, Host, Model, pyinfra_hosts
def make(name):
    return Deployment(name=name, hosts=[Host(name="@local")], models=[Model(name="tiny-coder")])
one = pyinfra_hosts(make("one"), __file__)
two = pyinfra_hosts(make("two"), __file__)
""",
        """
        DIRECTORY/two.py: 2 deployments
            allowed: one
            fix: give each deployment an inventory of its own
        """,
    ),
    (
        "ends.py",
        "import sys\nsys.exit(0)\n",
        """
        DIRECTORY/ends.py, line 2: SystemExit: 0
            fix: correct the inventory file
        """,
    ),
    (
        "loads.py",
        "from deploy import Deployment\nDeployment.load('lab.yaml')\n",
        """
        DIRECTORY/lab.yaml: cannot be read: No such file or directory
            allowed: a YAML file
        """,
    ),
    (
        "word.py",
        "from deploy import Hots\n",
        f"""
        DIRECTORY/word.py, line 1: ImportError: cannot import name 'Hots' from 'deploy' \
({deploy.__file__})
            allowed: {", ".join(deploy.__all__)}
            fix: correct the inventory file
        """,
    ),
    (
        "typo.py",
        "from deploy import Deployment\n\nDeploymnt()\n",
        """
        DIRECTORY/typo.py, line 3: NameError: name 'Deploymnt' is not defined
            fix: correct the inventory file
        """,
    ),
    (
        "broken.py",
        "x = (\n",
        """
        DIRECTORY/broken.py, line 1: SyntaxError: '(' was never closed
            fix: correct the inventory file
        """,
    ),
]


def lines(text: str, directory: Path) -> str:
    return dedent(text).strip().replace("DIRECTORY", str(directory))


def case_id(value: Any) -> str:
    return value.strip().splitlines()[0] if isinstance(value, str) and "\n" in value else ""


@pytest.mark.parametrize(("settings", "message"), BAD_SPECS, ids=case_id)
def test_settings_that_are_refused(settings: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(AtelierError) as refused:
        Deployment(**DEMO | settings)
    assert str(refused.value) == lines(message, tmp_path)
    assert "sk-mine" not in str(refused.value)


@pytest.mark.parametrize(("settings", "message"), BAD_PLANS, ids=case_id)
def test_deployments_that_cannot_be(
    settings: dict[str, Any], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NOT_SET", raising=False)
    for name, value in {
        "SHORT": "sk-abc",
        "TWO_LINES": "sk-abcd\nefgh",
        "NOT_SK": "abcdefgh",
    }.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "text.txt").write_text("hello")
    with pytest.raises(AtelierError) as refused:
        make_artefacts(Deployment(**DEMO | settings), tmp_path)
    assert str(refused.value) == lines(message, tmp_path)
    assert "abcd" not in str(refused.value)


@pytest.mark.parametrize(("name", "text", "message"), BAD_FILES, ids=case_id)
def test_inventory_files_that_are_refused(
    name: str, text: str, message: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(AtelierError) as refused:
        load_inventory(tmp_path / name)
    assert str(refused.value) == lines(message, tmp_path)


def test_what_is_wrong_in_several_places_is_told_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NOT_SET", raising=False)
    models = [{"name": name, "path": f"{name}.gguf"} for name in ("one", "two")]
    more = {"models": models, "images": {"litelm": {"reference": "x:1"}}, **key(env="NOT_SET")}
    with pytest.raises(AtelierError) as refused:
        make_artefacts(Deployment(**DEMO | more), tmp_path)
    assert [problem.path for problem in refused.value.problems] == [
        "models[0].path",
        "models[1].path",
        "secrets.router_master_key",
    ]


def test_a_missing_inventory_file(tmp_path: Path) -> None:
    with pytest.raises(AtelierError) as refused:
        load_inventory(tmp_path / "prod.py")
    assert str(refused.value) == lines(
        """
        DIRECTORY/prod.py: no such file
            fix: give the path of an inventory file
        """,
        tmp_path,
    )


def test_a_directory_is_no_inventory(tmp_path: Path) -> None:
    with pytest.raises(AtelierError) as refused:
        load_inventory(tmp_path)
    assert str(refused.value).splitlines()[0] == f"{tmp_path}: a directory"


def test_a_yaml_file_may_build_on_a_part_of_itself(tmp_path: Path) -> None:
    path = tmp_path / "lab.yaml"
    path.write_text(
        "name: lab\nhosts:\n- &one {name: gpu1, ssh_port: 2222}\n- &two {<<: *one, name: gpu2}\n"
        "- {<<: *two, name: gpu3}\nmodels: [{name: tiny-coder}]\n"
    )
    hosts = load_inventory(path).spec.hosts
    assert [(host.name, host.ssh_port) for host in hosts] == [
        ("gpu1", 2222),
        ("gpu2", 2222),
        ("gpu3", 2222),
    ]


def test_a_part_by_itself_says_which_part_it_is() -> None:
    with pytest.raises(AtelierError) as refused:
        Host(name="gpu1", ssh_prt=22)
    assert str(refused.value) == (
        "Host.ssh_prt: unknown setting\n"
        "    allowed: address, directory, docker, docker_settings, driver, engines, "
        "gpu_clocks_mhz, gpu_groups, gpu_runtime, gpus, mig, name, power_limit_watts, programs, "
        "service_user, ssh_host_keys, ssh_jump, ssh_key, ssh_port, ssh_user, sudo, "
        "system, weights, wired_limit_mib\n"
        "    fix: did you mean 'ssh_port'?"
    )


def test_settings_without_names() -> None:
    with pytest.raises(AtelierError) as refused:
        Model("tiny-coder")
    assert str(refused.value) == (
        "Model: 1 value without a name\n"
        "    allowed: its settings by name: config, engine, extra_args, extra_weights, gpus, "
        "language_model_only, lora_adapters, max_lora_rank, max_model_len, max_num_seqs, name, "
        "path, quantization, "
        "reasoning_parser, replicas, roles, served_model_name, speculative, tool_call_parser, "
        "weights, weights_gib"
    )


def test_a_secret_without_a_name_is_not_quoted() -> None:
    with pytest.raises(AtelierError) as refused:
        Secret("sk-mine")
    assert "sk-mine" not in str(refused.value)

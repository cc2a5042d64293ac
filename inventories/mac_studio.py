"""A Mac Studio with the models, and a machine with Linux that has the router and the web UI.

See what it gives before buying or touching a machine: atelier plan inventories/mac_studio.py
How the Mac is made ready, and what is set up on it: docs/mac.md
"""

from deploy import Deployment, Engine, Host, Model, Program, pyinfra_hosts

OLLAMA = "https://github.com/ollama/ollama/releases/download/v0.34.4/ollama-darwin.tgz"

deployment = Deployment(
    name="coder",
    profile="individual",
    hosts=[
        # the first host has the router and the web UI, in containers: it must run Linux
        Host(name="web.lab.example", address="10.0.0.20", ssh_user="atelier", sudo=True),
        Host(
            name="mac.lab.example",
            # the link ends here, at port 8443: the only port that the router's host needs
            address="10.0.0.21",
            system="macos",
            ssh_user="atelier",
            sudo=True,
            gpus="mac-studio-256",
            # of 256 GiB; without it, macOS gives its GPU 192
            wired_limit_mib=229_376,
            # an account that is no administrator's
            service_user="_ollama",
            programs={
                "ollama": Program(
                    archive=OLLAMA,
                    version="0.34.4",
                    # of the release's page, sha256sum.txt
                    sha256="e9c8fddaab5f48f47f2c4ae3d23d0732f5182417125353faeed2188e34a22799",
                )
            },
        ),
    ],
    # the link to the Mac is HAProxy, which is installed there once: brew install haproxy
    engine=Engine(kind="ollama", max_num_seqs=4, max_model_len=32_768),
    models=[Model(name="qwen3-coder-30b-a3b"), Model(name="gpt-oss-120b", quantization="mxfp4")],
)

hosts = pyinfra_hosts(deployment, __file__)

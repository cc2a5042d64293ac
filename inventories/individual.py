"""1 to 3 people on one workstation over SSH: a chat model, and a small one that completes code.

See what it gives before touching a machine: atelier plan inventories/individual.py
Is the machine ready?                         atelier doctor inventories/individual.py
"""

from deploy import Deployment, Engine, Host, Model, Router, WebUI, pyinfra_hosts

deployment = Deployment(
    # containers, network and volumes on the host start with it
    name="desk",
    # defaults for 1 to 3 people; what is declared below wins
    profile="individual",
    hosts=[
        Host(
            # as ssh knows it: a name, an address, or a Host of ~/.ssh/config
            name="workstation.lab.example",
            # who logs in, with your keys; sudo, because Docker is installed for you
            ssh_user="alice",
            sudo=True,
            # what `atelier gpus` lists; without a GPU leave it out, and Ollama runs on the CPU
            gpus="1x rtx-4090",
        )
    ],
    # Ollama pulls its models from its library, and answers three requests at once; "30m" instead
    # of "-1" frees the GPU when nobody asks
    engine=Engine(kind="ollama", max_num_seqs=3, keep_alive="-1"),
    models=[
        # to chat with; a file of your own: Model(name="mine", path="mine.gguf", roles=["chat"])
        Model(name="qwen2.5-coder-14b", roles=["chat"], max_model_len=16384),
        # to complete while you type: small, because it has to answer at once
        Model(name="qwen2.5-coder-1.5b-base", max_model_len=4096),
    ],
    # where editors ask; on the workstation itself alone: ssh -L 4000:127.0.0.1:4000 leads there
    router=Router(listen="127.0.0.1", port=4000),
    # chat in a browser; None for a workstation without
    web_ui=WebUI(listen="127.0.0.1", port=3000),
)

hosts = pyinfra_hosts(deployment, __file__)

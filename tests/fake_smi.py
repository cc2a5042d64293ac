"""A stand-in of nvidia-smi: it keeps state, and refuses what it does not know.

Its words and exit codes are those that NVIDIA's MIG user guide and its manual page print; cards are
H100s. Instances are numbered as drivers do it, the largest first. What it was told is in a file
(``FAKE_GPUS``), which goes with a restart, as instances, limits and clocks do. ``"resets": false``
there makes it a card whose MIG mode changes with a restart alone, ``"busy": true`` one in use.
"""
# ruff: noqa: E501 - it is another program's text

SMI = r"""#!/usr/bin/env python3
import json, os, sys

VERSION = "@VERSION@"
FILE = os.environ.get("FAKE_GPUS", "/srv/fake/gpus.json")
# https://docs.nvidia.com/datacenter/tesla/mig-user-guide/supported-mig-profiles.html: size, starts
PROFILES = {"1g.10gb": (1, range(7)), "1g.20gb": (2, range(0, 8, 2)), "2g.20gb": (2, range(0, 6, 2)),
            "3g.40gb": (4, (0, 4)), "4g.40gb": (4, (0,)), "7g.80gb": (8, (0,))}
FRESH = {"mig": False, "pending": False, "instances": [], "computes": True, "power": 700.0,
         "clocks": "", "persistence": True, "resets": True, "busy": False}


def fail(text, status):
    print(text)
    sys.exit(status)


def loaded():
    if "FAKE_LOADED" in os.environ:
        return os.environ["FAKE_LOADED"]
    try:
        return open("/sys/module/nvidia/version").read().strip()
    except OSError:
        return ""


def count():
    return int(os.environ.get("FAKE_COUNT", 0)) or len(os.listdir("/sys/bus/pci/devices"))


def read():
    try:
        known = json.load(open(FILE))
    except OSError:
        known = {}
    return [FRESH | known.get(str(n), {}) for n in range(count())]


def write(gpus):
    with open(FILE, "w") as file:
        json.dump({str(n): gpu for n, gpu in enumerate(gpus)}, file)


def on(flag):
    return "Enabled" if flag else "Disabled"


def uuid(n):
    return "GPU-0b1d2c3e-7a44-4c1b-9d2e-8c7b6a5f4e2%d" % n


def numbered(gpu):
    return sorted(gpu["instances"], key=lambda each: (-int(each[0][0]), -PROFILES[each[0]][0], each[1]))


def listing(gpus):
    for n, gpu in enumerate(gpus):
        print("GPU %d: NVIDIA H100 80GB HBM3 (UUID: %s)" % (n, uuid(n)))
        for number, (name, start) in enumerate(numbered(gpu)):
            print("  MIG %-11s Device %2d: (UUID: MIG-%d%d0d3f5a-15f2-5a4c-9a55-6c4cbb7a9d1%d)"
                  % (name, number, n, start, n))


def fields(n, gpu):
    bus = sorted(os.listdir("/sys/bus/pci/devices"))[n] if "FAKE_COUNT" not in os.environ else "0000:%02x:00.0" % n
    return {
        "index": n, "uuid": uuid(n), "name": "NVIDIA H100 80GB HBM3", "memory.total": 81559,
        "driver_version": VERSION, "pci.bus_id": "0000" + bus, "mig.mode.current": on(gpu["mig"]),
        "mig.mode.pending": on(gpu["pending"]), "ecc.mode.current": "Enabled",
        "ecc.mode.pending": "Enabled", "persistence_mode": on(gpu["persistence"]),
        "compute_mode": "Default", "power.limit": "%.2f" % gpu["power"], "power.default_limit": "700.00",
        "power.min_limit": "200.00", "power.max_limit": "700.00", "clocks.max.sm": 1980,
    }


def query(gpus, wanted, chosen):
    for n in chosen:
        row = fields(n, gpus[n])
        for name in wanted.split(","):
            if name not in row:
                fail('Field "%s" is not a valid field to query.' % name, 2)
        print(", ".join(str(row[name]) for name in wanted.split(",")))


def set_mode(gpu, n, value):
    if gpu["instances"]:
        fail("Unable to disable MIG Mode for GPU 00000000:0%d:00.0: In use by another client" % n, 19)
    gpu["pending"] = value
    if not gpu["resets"]:
        print("Warning: MIG mode is in pending %s state for GPU 00000000:0%d:00.0:Not Supported"
              % ("enable" if value else "disable", n))
        print("Reboot the system or try nvidia-smi --gpu-reset to make MIG mode effective")
    else:
        gpu["mig"] = value
        print("%s MIG Mode for GPU 00000000:0%d:00.0" % (on(value), n))
    print("All done.")


def create(gpu, n, tuples):
    if not gpu["mig"]:
        fail("No MIG-enabled devices found.", 6)
    for text in tuples.split(","):
        name, _, start = text.partition(":")
        size, starts = PROFILES.get(name, (0, ()))
        if not start.isdigit() or int(start) not in starts:
            fail("Unable to create a GPU instance on GPU %2d using profile %s: Invalid Argument" % (n, name), 2)
        taken = {s for other, at in gpu["instances"] for s in range(at, at + PROFILES[other][0])}
        if taken & set(range(int(start), int(start) + size)):
            fail("Unable to create a GPU instance on GPU %2d using profile %s: Insufficient Resources" % (n, name), 19)
        gpu["instances"].append([name, int(start)])
        print("Successfully created GPU instance ID %2d on GPU %2d using profile MIG %s" % (start and int(start), n, name))
    gpu["computes"] = True


def destroy(gpu, n, what):
    if not gpu["instances"] or (what == "-dci" and not gpu["computes"]):
        fail("No GPU instances found: Not Found", 6)
    if gpu["busy"] or (what == "-dgi" and gpu["computes"]):
        fail("Unable to destroy GPU instance ID  1 from GPU %2d: In use by another client" % n, 19)
    gpu["computes"] = False
    if what == "-dgi":
        gpu["instances"] = []


def limit(gpu, n, watts):
    if not 200 <= float(watts) <= 700:
        fail("Provided power limit %s W is not a valid power limit which should be between 200.00 W and "
             "700.00 W for GPU 00000000:0%d:00.0" % (watts, n), 2)
    gpu["power"] = float(watts)
    print("Power limit for GPU 00000000:0%d:00.0 was set to %s W from 700.00 W." % (n, watts))


def main(words):
    if not loaded():
        fail("NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. Make sure "
             "that the latest NVIDIA driver is installed and running.", 9)
    if loaded() != VERSION:
        fail("Failed to initialize NVML: Driver/library version mismatch\nNVML library version: " + VERSION, 18)
    gpus = read()
    match words:
        case []:
            print("| NVIDIA-SMI VERSION      Driver Version: %s      CUDA Version: 13.0     |" % VERSION)
        case ["-L"]:
            listing(gpus)
        case [asked, "--format=csv,noheader,nounits"] if asked.startswith("--query-gpu="):
            query(gpus, asked[12:], range(len(gpus)))
        case ["-i", n, asked, "--format=csv,noheader"] if asked.startswith("--query-gpu="):
            query(gpus, asked[12:], [int(n)])
        case ["-i", n, "-mig", ("0" | "1") as value]:
            set_mode(gpus[int(n)], int(n), value == "1")
        case ["-i", n, "--gpu-reset"]:
            fail("Resetting GPU 00000000:0%s:00.0 is not supported." % n, 3)
        case ["mig", "-i", n, "-cgi", tuples, "-C"]:
            create(gpus[int(n)], int(n), tuples)
        case ["mig", "-i", n, ("-dci" | "-dgi") as what]:
            destroy(gpus[int(n)], int(n), what)
        case ["-i", n, "-pl", watts]:
            limit(gpus[int(n)], int(n), watts)
        case ["-i", n, "-pm", "1"]:
            gpus[int(n)]["persistence"] = True
        case ["-i", n, "-lgc", clocks]:
            gpus[int(n)]["clocks"] = clocks
        case ["-i", n, "-rgc"]:
            gpus[int(n)]["clocks"] = ""
        case _:
            fail("Invalid combination of input arguments. Please run 'nvidia-smi -h' for help.", 2)
    if words and words[0] in ("-i", "mig"):
        write(gpus)


main(sys.argv[1:])
"""

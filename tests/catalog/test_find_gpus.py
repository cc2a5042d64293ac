"""What operators type for GPUs."""

import pytest

from deploy.catalog import load_catalog, parse_gpus
from deploy.errors import SpecError

ALLOWED = ", ".join(load_catalog().gpus)


@pytest.mark.parametrize(
    ("text", "gpus"),
    [
        ("l40s", ("l40s",)),
        ("2x l40s", ("l40s", "l40s")),
        ("2 x L40S", ("l40s", "l40s")),
        ("2xl40s", ("l40s", "l40s")),
        ("4\u00d7H100", ("h100",) * 4),
        ("4*H100", ("h100",) * 4),
        ("1x l40s, 2x rtx-3090", ("l40s", "rtx-3090", "rtx-3090")),
        ("l40s + rtx-3090", ("l40s", "rtx-3090")),
        ("3090", ("rtx-3090",)),
        ("RTX 3090", ("rtx-3090",)),
        ("RTX3090", ("rtx-3090",)),
        ("geforce-rtx-3090", ("rtx-3090",)),
        ("2x 3090", ("rtx-3090", "rtx-3090")),
        ("H100 SXM", ("h100",)),
        ("h100-sxm", ("h100",)),
        ("4060 ti 16gb", ("rtx-4060-ti-16",)),
        ("v100", ("v100-16",)),
        ("  mac-studio-256 ", ("mac-studio-256",)),
        # what nvidia-smi prints
        ("NVIDIA A100-SXM4-80GB", ("a100-80",)),
        ("NVIDIA H100 80GB HBM3", ("h100",)),
        ("NVIDIA H100 PCIe", ("h100-pcie",)),
        ("NVIDIA H100 NVL", ("h100-nvl",)),
        ("Tesla T4", ("t4",)),
        ("Tesla V100-SXM2-32GB", ("v100-32",)),
        ("NVIDIA RTX A6000", ("a6000",)),
        ("NVIDIA RTX 6000 Ada Generation", ("rtx-6000-ada",)),
        ("NVIDIA RTX PRO 6000 Blackwell Workstation Edition", ("rtx-pro-6000",)),
        ("AMD Radeon RX 7900 XTX", ("rx-7900-xtx",)),
        ("AMD Instinct MI300X", ("mi300x",)),
    ],
)
def test_good_spellings(text: str, gpus: tuple[str, ...]) -> None:
    assert parse_gpus(text) == gpus


FORM = "'2x l40s', 'l40s' or '1x l40s, 2x rtx-3090', with the names that 'atelier gpus' lists"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", f"gpus: ''\n    allowed: {FORM}"),
        ("l40s,", f"gpus: 'l40s,'\n    allowed: {FORM}"),
        (
            "2x",
            f"gpus: '2x' is not in the catalogue\n    allowed: {ALLOWED}\n"
            "    fix: see 'atelier gpus'",
        ),
        ("0x l40s", "gpus: 0 in '0x l40s'\n    allowed: 1 to 1024 of each"),
        ("9999x l40s", "gpus: 9999 in '9999x l40s'\n    allowed: 1 to 1024 of each"),
        (
            "2x l40",
            f"gpus: 'l40' is not in the catalogue\n    allowed: {ALLOWED}\n"
            "    fix: did you mean 'l40s' or 'l4'?",
        ),
        (
            "2 l40s",
            f"gpus: '2 l40s' is not in the catalogue\n    allowed: {ALLOWED}\n"
            "    fix: did you mean 'l40s'?",
        ),
        (
            "a100",
            f"gpus: 'a100' is not in the catalogue\n    allowed: {ALLOWED}\n"
            "    fix: did you mean 'a10', 'a100-80' or 'a100-40'?",
        ),
        (
            "abacus",
            f"gpus: 'abacus' is not in the catalogue\n    allowed: {ALLOWED}\n"
            "    fix: see 'atelier gpus'",
        ),
    ],
)
def test_bad_spellings(text: str, message: str) -> None:
    with pytest.raises(SpecError) as error:
        parse_gpus(text)
    assert str(error.value) == message

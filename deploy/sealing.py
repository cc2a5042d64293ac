"""Encrypting for one person: age, which also takes the SSH keys that people have.

Format: https://age-encryption.org/v1
"""

from __future__ import annotations


def seal(text: str, public_key: str) -> str:
    """The text, encrypted so that only the owner of a key reads it, as an armoured age file.

    Args:
        text: what is encrypted.
        public_key: ``age1...``, ``ssh-ed25519 ...`` or ``ssh-rsa ...``.

    Raises:
        ValueError: if that is not a key.
    """
    # 10 ms to import, and few commands need it
    import pyrage

    try:
        recipient = (
            pyrage.x25519.Recipient.from_str(public_key)
            if public_key.startswith("age1")
            else pyrage.ssh.Recipient.from_str(public_key)
        )
    except pyrage.RecipientError as error:
        raise ValueError(str(error)) from None
    sealed: bytes = pyrage.encrypt(text.encode(), [recipient], armored=True)
    return sealed.decode()

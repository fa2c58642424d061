"""The node's Ed25519 key: it signs every entry of the journal, and its public half is all that an auditor needs."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from privacy.errors import ConfigError


@dataclass(frozen=True)
class SigningKey:
    """A private key that cannot be printed.

    Attributes:
        public: its public half, 64 hexadecimal digits.
    """

    _private: Ed25519PrivateKey

    @property
    def public(self) -> str:
        return self._private.public_key().public_bytes_raw().hex()

    def sign(self, message: bytes) -> bytes:
        """64 bytes."""
        return self._private.sign(message)


def signed(message: bytes, signature: bytes, *, public: str) -> bool:
    """Whether the holder of the key `public` (hexadecimal) signed `message`."""
    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(public)).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def make_key(path: Path) -> SigningKey:
    """A new key, written to `path` as PEM that only its owner can read.

    Raises:
        ConfigError: the file exists or cannot be written.
    """
    private = Ed25519PrivateKey.generate()
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    written = path.with_name(path.name + ".new")
    try:
        with open(os.open(written, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600), "wb") as file:
            file.write(pem)
            os.fsync(file.fileno())
        os.link(written, path)  # whole or not at all, and never over another key
        written.unlink()
    except OSError:
        raise ConfigError(f"`signing_key`: {path.name} cannot be written.", remedy="Check the folder.") from None
    return SigningKey(private)


def load_key(path: Path) -> SigningKey:
    """The key in the PEM file `path`, for example one that `openssl genpkey -algorithm ed25519` made.

    Raises:
        ConfigError: it cannot be read, others can read it too, or it is no unencrypted Ed25519 key.
    """
    try:
        readable_by_others, pem = path.stat().st_mode & 0o077, path.read_bytes()
    except OSError:
        raise ConfigError(
            f"`signing_key`: {path.name} cannot be read.",
            remedy="It belongs to its ledger: restore both together.",
        ) from None
    if readable_by_others:
        raise ConfigError(f"`signing_key`: others can read {path.name}.", remedy=f"Run `chmod 600 {path.name}` there.")
    try:
        private = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        private = None
    if not isinstance(private, Ed25519PrivateKey):
        raise ConfigError(
            f"`signing_key`: {path.name} is no unencrypted Ed25519 key in PEM.",
            remedy="Make one with `openssl genpkey -algorithm ed25519`.",
        )
    return SigningKey(private)

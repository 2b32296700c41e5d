"""The credentials of a cluster: who holds them may join it, as scheduler, worker or client; anyone else is refused.

A Dask scheduler runs whatever its clients send, and so do its workers. So each of our clusters has a key and a
certificate of its own, made when it starts. All its connections are TLS, and both ends show the certificate. It is
its own authority: no other certificate is accepted, and none can be made without the key.
"""

from __future__ import annotations

import datetime
from pathlib import Path

from distributed.security import Security

_LIFETIME = datetime.timedelta(days=3650)  # of a key that is made anew with each cluster: no run ends for this
_CLOCK_SKEW = datetime.timedelta(days=1)  # between the machines of a cluster


def new_credentials() -> str:
    """Return a new key and its certificate, as PEM."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "teralign")])
    now = datetime.datetime.now(datetime.UTC)
    purposes = dict.fromkeys(
        [
            *("content_commitment", "key_encipherment", "data_encipherment", "key_agreement"),
            *("crl_sign", "encipher_only", "decipher_only"),
        ],
        False,
    )
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - _CLOCK_SKEW)
        .not_valid_after(now + _LIFETIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.KeyUsage(digital_signature=True, key_cert_sign=True, **purposes), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    encoding = serialization.Encoding.PEM
    private = key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return (private + certificate.public_bytes(encoding)).decode()


def security_by(credentials: str | Path) -> Security:
    """Return Dask's settings for a cluster with these credentials: their file, or the PEM itself."""
    roles = ("client", "scheduler", "worker")
    certificates = {f"tls_{role}_cert": str(credentials) for role in roles}
    # The user's Dask configuration, which is read for what is not given, may have keys of another cluster.
    keys = dict.fromkeys([f"tls_{role}_key" for role in roles])
    return Security(require_encryption=True, tls_ca_file=str(credentials), tls_ciphers=None, **certificates, **keys)

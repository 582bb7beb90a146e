"""The server's side of mutual TLS: a certificate that never lapses while the process runs.

Promises that a client without a certificate of the consortium gets no further than the handshake. The server's key exists
in memory only and is new at every start.

Source: protos/README.md §11.1.
"""

from __future__ import annotations

import grpc

from vdb_coordinator.identity.ca import CertificateAuthority, needs_renewal
from vdb_coordinator.identity.keys import key_pem, new_tls_key
from vdb_coordinator.serving.clock import Clock


class TlsIdentity:
    """The server's certificate, issued anew when it nears expiry; its key never leaves memory."""

    def __init__(self, authority: CertificateAuthority, name: str, hosts: tuple[str, ...], clock: Clock) -> None:
        self._authority = authority
        self._name = name
        self._hosts = hosts
        self._clock = clock
        self._key = new_tls_key()
        self._certificate = self._issue()

    def credentials(self) -> grpc.ServerCredentials:
        """Return credentials that demand a client certificate of the consortium."""
        return grpc.dynamic_ssl_server_credentials(
            self._configuration(),
            self._fetch,  # type: ignore[arg-type] # None stands for "as before", which the stubs do not know
            require_client_authentication=True,
        )

    def _fetch(self) -> grpc.ServerCertificateConfiguration | None:
        """Return a new configuration when there is one; gRPC asks at every handshake."""
        if not needs_renewal(self._certificate, self._clock.now()):
            return None
        self._certificate = self._issue()
        return self._configuration()

    def _issue(self) -> bytes:
        return self._authority.issue_server(self._key.public_key(), self._name, self._hosts, self._clock.now())

    def _configuration(self) -> grpc.ServerCertificateConfiguration:
        chain = self._certificate + self._authority.pem
        return grpc.ssl_server_certificate_configuration(
            [(key_pem(self._key, None), chain)], root_certificates=self._authority.pem
        )

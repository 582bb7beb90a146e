"""Messages of the rounds as the bytes that the journal keeps.

Promises that decoding gives back exactly what was encoded. These bytes stay at the site; what travels is in `client.py`.

Source: protos/README.md §12.2.
"""

from __future__ import annotations

from collections.abc import Mapping

from vdb_participant.network.link import Upload
from vdb_shared.canonical import decode_fields, encode_fields
from vdb_shared.errors import FormatError
from vdb_shared.secagg.messages import Signed, encode_seat
from vdb_shared.secagg.parameters import Seat
from vdb_shared.secagg.restarts import Restart


def encode_signed(signed: Signed) -> bytes:
    """Return a signed body as bytes."""
    return encode_fields(signed.body, signed.signature)


def decode_signed(data: bytes) -> Signed:
    """Return the signed body of these bytes."""
    body, signature = decode_fields(data, 2)
    return Signed(body, signature)


def encode_by_seat(values: Mapping[Seat, bytes]) -> bytes:
    """Return bytes by seat as bytes, ascending by seat."""
    return encode_fields(*(part for seat in sorted(values) for part in (encode_seat(seat), values[seat])))


def decode_by_seat(data: bytes) -> dict[Seat, bytes]:
    """Return the bytes by seat of these bytes.

    Raises:
        FormatError: a seat without bytes, or out of order.
    """
    fields = decode_fields(data)
    seats = [int.from_bytes(seat, "little") for seat in fields[::2]]
    if len(fields) % 2 or seats != sorted(set(seats)):
        raise FormatError("expected pairs of seat and bytes, ascending by seat")
    return dict(zip(seats, fields[1::2], strict=True))


def encode_signed_set(messages: Mapping[Seat, Signed]) -> bytes:
    """Return signed bodies by seat as bytes."""
    return encode_by_seat({seat: encode_signed(signed) for seat, signed in messages.items()})


def decode_signed_set(data: bytes) -> dict[Seat, Signed]:
    """Return the signed bodies by seat of these bytes."""
    return {seat: decode_signed(value) for seat, value in decode_by_seat(data).items()}


def encode_shared(headers: Mapping[Seat, Signed], sealed: Mapping[Seat, bytes]) -> bytes:
    """Return round-1 headers and sealed shares as bytes."""
    return encode_fields(encode_signed_set(headers), encode_by_seat(sealed))


def decode_shared(data: bytes) -> tuple[dict[Seat, Signed], dict[Seat, bytes]]:
    """Return the round-1 headers and sealed shares of these bytes."""
    headers, sealed = decode_fields(data, 2)
    return decode_signed_set(headers), decode_by_seat(sealed)


def encode_upload(upload: Upload) -> bytes:
    """Return an upload as bytes."""
    return encode_fields(encode_signed(upload.header), upload.masked, upload.contribution)


def decode_upload(data: bytes) -> Upload:
    """Return the upload of these bytes."""
    header, masked, contribution = decode_fields(data, 3)
    return Upload(decode_signed(header), masked, contribution)


def encode_restart(restart: Restart) -> bytes:
    """Return the record of a restart as bytes."""
    return encode_fields(
        encode_signed_set(restart.advertised), encode_signed_set({restart.complainer: restart.complaint})
    )


def decode_restart(data: bytes) -> Restart:
    """Return the record of a restart of these bytes."""
    advertised, complaint = decode_fields(data, 2)
    ((complainer, complained),) = decode_signed_set(complaint).items()
    return Restart(decode_signed_set(advertised), complainer, complained)

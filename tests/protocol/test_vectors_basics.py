"""Vectors below the rounds: bytes and hashes, secret sharing, generators and encodings of points."""

import hashlib
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from py_arkworks_bls12381 import G1Point

from testkit import oracle, oracle_curve
from testkit.oracle import number, scalar
from testkit.replay import Json, by_seat, load
from vdb_shared import labels
from vdb_shared.canonical import decode_fields, encode_fields, labelled_hash
from vdb_shared.errors import FormatError, SignatureError
from vdb_shared.identity import StatementKey, StatementPublicKey, pre_authentication_encoding
from vdb_shared.secagg.agreement import derive_key
from vdb_shared.secagg.commitments import decode_commitments
from vdb_shared.secagg.generators import GENERATORS_DIGEST, load_generators
from vdb_shared.secagg.shamir import combine, split
from vdb_shared.secagg.unmasking import rebuild

LABELS, SHAMIR, GENERATORS = (load(f"{name}.json") for name in ("labels", "shamir", "generators"))


def each(cases: list[Json], name: str = "name") -> pytest.MarkDecorator:
    return pytest.mark.parametrize("case", [pytest.param(case, id=str(case[name])) for case in cases])


def raw(text: str) -> bytes:
    return bytes.fromhex(text)


def shares_of(case: Json) -> dict[int, int]:
    return {seat: number(raw(share)) for seat, share in by_seat(case["shares"]).items()}


@each(LABELS["hashes"], "label")
def test_labelled_hashes(case: Json) -> None:
    parts = [raw(part) for part in case["parts"]]
    assert case["digest"] == oracle.labelled(case["label"], *parts).hex()
    assert case["digest"] == labelled_hash(case["label"], *parts).hex()


@each(LABELS["derivations"], "label")
def test_derivations(case: Json) -> None:
    secret, salt, context = raw(case["secret"]), raw(case["salt"]), [raw(part) for part in case["context"]]
    assert case["info"] == oracle.fields(case["label"].encode(), *context).hex()
    assert case["key"] == oracle.hkdf(secret, salt, raw(case["info"])).hex()
    assert case["key"] == derive_key(secret, salt, case["label"], *context).hex()


def test_second_hkdf_is_that_of_rfc_5869() -> None:
    """Appendix A.1, first 32 bytes."""
    found = oracle.hkdf(bytes([0x0B] * 22), bytes(range(13)), bytes(range(0xF0, 0xFA)))
    assert found.hex() == "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf"


@each(LABELS["fields"])
def test_fields(case: Json) -> None:
    if "error" in case:
        with pytest.raises(FormatError):
            decode_fields(raw(case["bytes"]), case["count"])
        return
    parts = [raw(part) for part in case["parts"]]
    assert case["bytes"] == oracle.fields(*parts).hex() == encode_fields(*parts).hex()
    assert list(decode_fields(raw(case["bytes"]), case["count"])) == parts


@each(LABELS["signatures"])
def test_signatures(case: Json) -> None:
    kind, payload, signature = case["payload_type"], raw(case["payload"]), raw(case["signature"])
    assert raw(case["encoding"]) == oracle.pae(kind, payload) == pre_authentication_encoding(kind, payload)
    public = oracle.statement_public(raw(case["seed"]))
    assert case["public"] == public.hex()
    if "error" in case:
        with pytest.raises(SignatureError):
            StatementPublicKey(public).verify(kind, payload, signature)
        with pytest.raises(InvalidSignature):
            oracle.verify(public, kind, (payload, signature))
        return
    assert signature == oracle.sign(raw(case["seed"]), kind, payload)
    assert signature == StatementKey.from_seed(raw(case["seed"])).sign(kind, payload)
    assert StatementPublicKey(public).verify(kind, payload, signature) == payload


def test_payload_types_are_those_of_the_specification() -> None:
    names = ("advertise-keys", "share-keys", "masked-input", "consistency", "unmasking", "complaint")
    written = {case["name"]: case["payload_type"] for case in LABELS["signatures"] if "error" not in case}
    assert written == {name: oracle.round_type(name) for name in names}


@each(SHAMIR["split"], "comment")
def test_splits(case: Json) -> None:
    drawn = raw(case["entropy"])
    higher = [number(part) % oracle.R for part in oracle.cut(drawn, 64)]
    assert case["coefficients"] == [scalar(value).hex() for value in higher]
    shares = shares_of(case)
    assert shares == {seat: oracle.share(higher, raw(case["seed"]), seat) for seat in shares}
    assert shares == split(number(raw(case["seed"])), case["threshold"], list(shares), drawn)
    assert scalar(oracle.interpolate(shares))[:31].hex() == case["seed"]


@each(SHAMIR["combine"])
def test_interpolations(case: Json) -> None:
    seed = next(entry["seed"] for entry in SHAMIR["split"] if entry["threshold"] == 3)
    assert case["value"] == scalar(oracle.interpolate(shares_of(case))).hex()
    assert case["value"] == scalar(combine(shares_of(case))).hex()
    assert (case["value"] == seed + "00") != case["name"].startswith("_bad_")


@each(SHAMIR["rebuild"])
def test_seeds_in_spite_of_wrong_shares(case: Json) -> None:
    digest = raw(case["seed_sha256"])
    found = rebuild(shares_of(case), case["threshold"], lambda seed: hashlib.sha256(seed).digest() == digest)
    if case["name"].startswith("_bad_"):
        assert found is None
        assert case["seed"] is case["left_out"] is None
        return
    assert found == (raw(case["seed"]), tuple(case["left_out"]))
    kept = {seat: share for seat, share in shares_of(case).items() if seat not in case["left_out"]}
    assert scalar(oracle.interpolate(kept)).hex() == case["seed"] + "00"


def test_generators() -> None:
    assert GENERATORS["digest"] == GENERATORS_DIGEST
    assert GENERATORS["dst"] == labels.DST_GENERATORS
    bases = load_generators()
    dst = GENERATORS["dst"].encode()
    for case in GENERATORS["generators"]:
        x, y = oracle_curve.coordinates(raw(case["xy"])) or (0, 0)
        assert (y * y - x**3 - 4) % oracle_curve.P == 0
        assert oracle_curve.decompress(raw(case["compressed"])) == (x, y)
        point = bases.blinder if case["name"] == "blinder" else bases.lanes[int(case["name"].split("-")[1])]
        assert point.to_compressed_bytes() == raw(case["compressed"])
        assert G1Point.hash_to_curve(case["name"].encode(), dst).to_compressed_bytes() == raw(case["compressed"])


@pytest.mark.parametrize(
    ("name", "x", "y"),
    [
        (
            "",
            "052926add2207b76ca4fa57a8734416c8dc95e24501772c814278700eed6d1e4e8cf62d9c09db0fac349612b759e79a1",
            "08ba738453bfed09cb546dbb0783dbb3a5f1f566ed67bb6be0e8c67e2e81a4cc68ee29813bb7994998f3eae0c9c6a265",
        ),
        (
            "abc",
            "03567bc5ef9c690c2ab2ecdf6a96ef1c139cc0b2f284dca0a9a7943388a49a3aee664ba5379a7655d3c68900be2f6903",
            "0b9c15f3fe6e5cf4211f346271d7b01c8f3b28be689c8429c85b67af215533311f0b8dfaaa154fa6b88176c229f2885d",
        ),
    ],
)
def test_hash_to_curve_is_that_of_rfc_9380(name: str, x: str, y: str) -> None:
    """Appendix J.9.1; the values stand here, since the file was written with the library that is to be checked."""
    known = GENERATORS["known_answers"]
    (case,) = (case for case in known["points"] if case["name"] == name)
    assert case["xy"] == x + y
    assert G1Point.hash_to_curve(name.encode(), known["dst"].encode()).to_compressed_bytes() == raw(case["compressed"])


@each(GENERATORS["points"])
def test_encodings_of_points(case: Json) -> None:
    data = raw(case["bytes"])
    if "error" in case:
        with pytest.raises(FormatError):
            decode_commitments(data, 1)
        if len(data) == 48:
            with pytest.raises(ValueError, match=r"curve|spelling|subgroup"):
                oracle_curve.decompress(data)
        return
    (point,) = decode_commitments(data, 1)
    assert point.to_compressed_bytes() == data == oracle_curve.compress(oracle_curve.decompress(data))


def test_every_case_says_what_it_is() -> None:
    """A comment, and a name that says whether it is bad, wherever there is a name."""

    def check(value: Any) -> None:
        if isinstance(value, dict):
            if "name" in value and ("error" in value or "opens" in value):
                assert value["comment"]
                assert value["name"].startswith("_bad_") == ("error" in value or not value["opens"]), value["name"]
            for part in value.values():
                check(part)
        elif isinstance(value, list):
            for part in value:
                check(part)

    names = (
        "keys-and-transcripts",
        "sharing",
        "masking",
        "consistency-and-unmasking",
        "restart",
        "generators",
        "labels",
    )
    for name in names:
        check(load(f"{name}.json"))

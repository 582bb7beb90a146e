"""Every domain-separation label of the product, in one place.

A label opens every hash and key derivation input and names every signed payload type, so that bytes made for one purpose
can never be taken for another (protos/README.md §2).
"""

from __future__ import annotations

from typing import Final

PROTOCOL: Final = "vdb-secagg/1"
SPEC_VERSION: Final = "vdb-spec/1"
BUNDLE_VERSION: Final = "vdb-bundle/1"
SAMPLES_VERSION: Final = "vdb-samples/1"

# Hash inputs, §2.1.
HASH_T1: Final = "vdb-secagg/1|T1"
HASH_T2: Final = "vdb-secagg/1|T2"
HASH_T3: Final = "vdb-secagg/1|T3"
HASH_SELF_SEED: Final = "vdb-secagg/1|self-seed"
HASH_SEALED_SHARES: Final = "vdb-secagg/1|sealed-shares"
HASH_COMMITMENTS: Final = "vdb-secagg/1|commitments"
HASH_MASKED_INPUT: Final = "vdb-secagg/1|masked-input"
HASH_RESTART: Final = "vdb-secagg/1|restart"
HASH_COMMITMENT_WEIGHTS: Final = "vdb-secagg/1|commitment-weights"
HASH_LEDGER: Final = "vdb-ledger/1|entry"
HASH_RECORDS: Final = "vdb-ledger/1|records"
HASH_AUDIT: Final = "vdb-audit/1|entry"
HASH_EVENT: Final = "vdb-events/1|event"
HASH_SAMPLE_ROOT: Final = "vdb-samples/1|root"
HASH_SAMPLE_WORDS: Final = "vdb-samples/1|words"
HASH_SAMPLE_CHOICE: Final = "vdb-samples/1|choice"
HASH_CLIP: Final = "vdb-clips/1|frames"
HASH_CLIP_SEED: Final = "vdb-clips/1|seed"
HASH_PROMPT_CHOICE: Final = "vdb-prompts/1|choice"
HASH_CHECKED_TASK: Final = "vdb-tasks/1|checked"
HASH_DATASET: Final = "vdb-dataset/1|content"
HASH_RATINGS: Final = "vdb-dataset/1|rating"
HASH_RFF: Final = "vdb-metrics/1|random-fourier-features"
HASH_SKETCH: Final = "vdb-metrics/1|tensor-sketch"
HASH_COVARIANCE: Final = "vdb-metrics/1|covariance-sketch"
HASH_BOOTSTRAP: Final = "vdb-metrics/1|bootstrap"
HASH_INVITATION_TOKEN: Final = "vdb-enrolment/1|token"  # noqa: S105 - a label, no secret
HASH_SUBMISSION: Final = "vdb-events/1|submission"
HASH_JOURNAL: Final = "vdb-journal/1|record"
HASH_EGRESS: Final = "vdb-egress/1|entry"
HASH_CARRIED: Final = "vdb-carried/1|call"

# Key derivations, §2.3.
KDF_MASK_KEY: Final = "vdb-secagg/1|mask-key"
KDF_CHANNEL: Final = "vdb-secagg/1|channel"
KDF_SELF_MASK: Final = "vdb-secagg/1|self-mask"
KDF_PAIR_MASK: Final = "vdb-secagg/1|pair-mask"
KDF_SHARE_COEFFICIENTS: Final = "vdb-secagg/1|share-coefficients"
KDF_SAMPLE_SALT: Final = "vdb-samples/1|salt"

# Hashing to the curve, §4.6.
DST_GENERATORS: Final = "vdb-secagg/1|generators|BLS12381G1_XMD:SHA-256_SSWU_RO_"

# Signed payload types (DSSE), §3.
TYPE_STATEMENT: Final = "application/vnd.in-toto+json"
TYPE_ADVERTISE_KEYS: Final = "application/vnd.vdb.secagg.advertise-keys.v1"
TYPE_SHARE_KEYS: Final = "application/vnd.vdb.secagg.share-keys.v1"
TYPE_MASKED_INPUT: Final = "application/vnd.vdb.secagg.masked-input.v1"
TYPE_CONSISTENCY: Final = "application/vnd.vdb.secagg.consistency.v1"
TYPE_UNMASKING: Final = "application/vnd.vdb.secagg.unmasking.v1"
TYPE_COMPLAINT: Final = "application/vnd.vdb.secagg.complaint.v1"
TYPE_POSSESSION: Final = "application/vnd.vdb.enrolment.possession.v1"
TYPE_APPROVAL: Final = "application/vnd.vdb.admin.approval.v1"
TYPE_RENEWAL: Final = "application/vnd.vdb.membership.renewal.v1"
TYPE_CARRIED_REQUEST: Final = "application/vnd.vdb.carried.request.v1"
TYPE_CARRIED_ANSWER: Final = "application/vnd.vdb.carried.answer.v1"

# in-toto statement and predicate types, §9.2.
STATEMENT_V1: Final = "https://in-toto.io/Statement/v1"
PREDICATE_PREFIX: Final = "urn:vdb:predicate:"
PREDICATE_SVR: Final = "https://in-toto.io/attestation/svr/v0.2"

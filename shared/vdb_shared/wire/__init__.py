"""What travels between participants and the coordinator: generated protobuf code, and its conversion to plain values.

`federation_pb2*` are generated from protos/vdb/v1/federation.proto and committed. `convert.py` is the only place where
protobuf messages become our own types; `status.py` and `reasons.py` hold what has no other home; `enrolment.py` is the
invitation file. Importing the generated code needs protobuf, which only the extras bring.
"""

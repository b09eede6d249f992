"""The messages of grpc.health.v1 (grpc/doc/health-checking.md), whose names and numbers are fixed.

In a pool of their own: a program may bring the same file, generated, in the default one.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_FIELD = descriptor_pb2.FieldDescriptorProto
_PACKAGE = ".grpc.health.v1."

SERVING, NOT_SERVING, SERVICE_UNKNOWN = 1, 2, 3


def _file() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(
        name="grpc/health/v1/health.proto", package="grpc.health.v1", syntax="proto3")
    request = file.message_type.add(name="HealthCheckRequest")
    request.field.add(name="service", number=1, type=_FIELD.TYPE_STRING,
                      label=_FIELD.LABEL_OPTIONAL)

    response = file.message_type.add(name="HealthCheckResponse")
    status = response.enum_type.add(name="ServingStatus")
    for number, name in enumerate(("UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN")):
        status.value.add(name=name, number=number)
    response.field.add(name="status", number=1, type=_FIELD.TYPE_ENUM, label=_FIELD.LABEL_OPTIONAL,
                       type_name=_PACKAGE + "HealthCheckResponse.ServingStatus")

    file.message_type.add(name="HealthListRequest")
    listed = file.message_type.add(name="HealthListResponse")
    entry = listed.nested_type.add(name="StatusesEntry")
    entry.options.map_entry = True
    entry.field.add(name="key", number=1, type=_FIELD.TYPE_STRING, label=_FIELD.LABEL_OPTIONAL)
    entry.field.add(name="value", number=2, type=_FIELD.TYPE_MESSAGE, label=_FIELD.LABEL_OPTIONAL,
                    type_name=_PACKAGE + "HealthCheckResponse")
    listed.field.add(name="statuses", number=1, type=_FIELD.TYPE_MESSAGE,
                     label=_FIELD.LABEL_REPEATED,
                     type_name=_PACKAGE + "HealthListResponse.StatusesEntry")
    return file


def _classes() -> Any:
    pool = descriptor_pool.DescriptorPool()
    pool.Add(_file())
    make = getattr(message_factory, "GetMessageClass", None)  # since protobuf 4.22
    if make is None:
        make = message_factory.MessageFactory(pool).GetPrototype
    names = ("HealthCheckRequest", "HealthCheckResponse", "HealthListRequest", "HealthListResponse")
    return [make(pool.FindMessageTypeByName(_PACKAGE[1:] + name)) for name in names]


HealthCheckRequest, HealthCheckResponse, HealthListRequest, HealthListResponse = _classes()

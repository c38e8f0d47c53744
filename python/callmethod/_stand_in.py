"""Until service classes are made here."""

from typing import Any, NamedTuple

from google.protobuf import service_reflection


class ServiceClasses(NamedTuple):
    service: Any
    stub: Any


def services(descriptor: Any) -> ServiceClasses:
    name = descriptor.name
    attributes = {"DESCRIPTOR": descriptor, "__module__": "loaded"}
    service = service_reflection.GeneratedServiceType(name, (), attributes)
    stub = service_reflection.GeneratedServiceStubType(
        f"{name}_Stub", (service,), {"DESCRIPTOR": descriptor, "__module__": "loaded"}
    )
    return ServiceClasses(service, stub)

"""Writes Python: typed services for protoc, and `.pyi` files for modules that are there.

Nothing of callmethod needs this at run time, and it needs protobuf.
"""

from callmethod.codegen.existing import write_stubs

__all__ = ["write_stubs"]

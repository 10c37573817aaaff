"""Request bodies: decoded by msgspec straight from the bytes, strictly.

Litestar's own way decodes to plain data first and converts leniently ("5" would pass for 5).
"""

from typing import Any, TypeVar

import msgspec
from litestar.dto import AbstractDTO
from litestar.openapi.spec import Reference, Schema
from litestar.plugins import OpenAPISchemaPlugin
from litestar.typing import FieldDefinition

from sekring.errors import InvalidInput
from sekring.wire import BatchItem

__all__ = ["JsonBody", "RawSchema"]

T = TypeVar("T")


class JsonBody(AbstractDTO[T]):
    """`dto=JsonBody[SomeBody]`: the route takes a JSON object of that Struct; none is an empty one.

    What the client calls its content type does not matter: `curl -d` says form data.
    """

    def decode_bytes(self, value: bytes) -> Any:  # noqa: ANN401
        """Decode a body.

        Raises:
            msgspec.ValidationError: a field is wrong.
            msgspec.DecodeError: it is no JSON.
            UnicodeDecodeError: a string in it is no UTF-8.
            InvalidInput: lists or objects in it are nested a thousand deep.
        """
        try:
            return msgspec.json.decode(value or b"{}", type=self.model_type)
        except RecursionError:
            raise InvalidInput("The body is nested too deeply.") from None

    @classmethod
    def create_for_field_definition(
        cls,
        field_definition: FieldDefinition,
        handler_id: str,
        backend_cls: type[Any] | None = None,
    ) -> None:
        """Prepare nothing: the Struct is used as it is."""

    @classmethod
    def create_openapi_schema(
        cls,
        field_definition: FieldDefinition,
        handler_id: str,
        schema_creator: Any,  # noqa: ANN401 - Litestar keeps its type to itself
    ) -> Reference | Schema:
        """Describe the Struct itself."""
        del handler_id
        described: Reference | Schema = schema_creator.for_field_definition(field_definition)
        return described

    @classmethod
    def generate_field_definitions(cls, model_type: type[Any]) -> Any:  # noqa: ANN401
        """Yield nothing: no other model is made of the Struct."""
        del model_type
        return iter(())

    @classmethod
    def detect_nested_field(cls, field_definition: FieldDefinition) -> bool:
        """Tell that nothing is nested."""
        del field_definition
        return False


class RawSchema(OpenAPISchemaPlugin):
    """Describes the elements of a batch, which are decoded one by one, as what they are."""

    @staticmethod
    def is_plugin_supported_type(value: Any) -> bool:  # noqa: ANN401
        """Tell whether `value` is the type of such an element."""
        return value is msgspec.Raw

    def to_openapi_schema(
        self,
        field_definition: FieldDefinition,
        schema_creator: Any,  # noqa: ANN401 - Litestar keeps its type to itself
    ) -> Schema:
        """Describe it as a `BatchItem`."""
        del field_definition
        item = schema_creator.for_field_definition(FieldDefinition.from_annotation(BatchItem))
        return Schema(all_of=[item])

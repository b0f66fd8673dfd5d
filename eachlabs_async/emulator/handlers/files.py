"""The handlers of uploads; the bytes go to `storage`."""

from __future__ import annotations

from typing import Final

from ..collection import encode
from ..handler_request import HandlerRequest, is_uuid, json_body, required_text
from ..reply import Reply, error_reply
from ..simulation import Simulation

__all__ = ["HANDLERS"]

_FILE_TYPES: Final = (None, "image", "video", "audio", "other")


async def _presign(simulation: Simulation, request: HandlerRequest) -> Reply:
    body = json_body(request)
    content_type, seconds = required_text(body, "content_type"), body.get("expires_in_seconds")
    if body.get("file_type") not in _FILE_TYPES:
        return error_reply(400, "file_type must be image, video, audio or other")
    if seconds is not None and (not isinstance(seconds, int) or isinstance(seconds, bool)):
        return error_reply(400, "expires_in_seconds must be an integer")
    return Reply(200, encode(simulation.storage.presign(request.origin, content_type, seconds)))


async def _delete_file(simulation: Simulation, request: HandlerRequest) -> Reply:
    file_id = request.fields["file_id"]
    if not is_uuid(file_id):
        return error_reply(400, "invalid file id")
    simulation.storage.delete(file_id)
    return Reply(204, b"")


HANDLERS: Final = {
    "files.presign": _presign,
    "files.delete": _delete_file,
}

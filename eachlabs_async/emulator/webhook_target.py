"""The webhook that a request asks for."""

from __future__ import annotations

from urllib.parse import urlsplit

from attrs import frozen

from .collection import Row
from .handler_request import HandlerRequest
from .reply import RefusedError, error_reply

__all__ = ["WebhookTarget", "webhook_target"]


@frozen(kw_only=True)
class WebhookTarget:
    """The URL that is called when an execution ends, and the secret that signs the call."""

    url: str
    secret: str | None = None


def webhook_target(body: Row, request: HandlerRequest) -> WebhookTarget | None:
    """Return the webhook of a request, or None; refuse a value that is no URL.

    A URL in the body has precedence over one in the query.
    """
    url = body.get("webhook_url") or request.query.get("webhook_url")
    secret = body.get("webhook_secret")
    if not url:
        return None
    try:
        is_valid = isinstance(url, str) and urlsplit(url).scheme in ("http", "https")
    except ValueError:
        is_valid = False
    if not is_valid:
        raise RefusedError(error_reply(400, "webhook_url must be a URL"))
    if secret is not None and not isinstance(secret, str):
        raise RefusedError(error_reply(400, "webhook_secret must be a string"))
    return WebhookTarget(url=url, secret=secret)

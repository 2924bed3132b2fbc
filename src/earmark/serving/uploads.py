"""The sounds of a request, read into memory as they arrive; nothing of them, their names least, touches the disk."""

import asyncio
import sys
import unicodedata
from collections.abc import AsyncGenerator
from dataclasses import dataclass

from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from earmark.serving.admission import Hold, refuse_size
from earmark.serving.limits import Limits
from earmark.serving.problems import Refusal

LONGEST_NAME = 100
NAMELESS = "the sound"
# Besides audio/… and video/…: what programs say of sound, or of anything.
SOUND_TYPES = {"", "application/octet-stream", "application/ogg", "binary/octet-stream"}
HOW_TO_SEND = (
    "send sounds as multipart/form-data (curl -F file=@rain.ogg), or one as the body itself with a content type such "
    "as audio/ogg or application/octet-stream"
)


@dataclass(frozen=True)
class Upload:
    """A sound that was sent: what messages call it, and its bytes."""

    name: str
    content: bytes


async def read_uploads(request: Request, limits: Limits, hold: Hold) -> list[Upload]:
    """The sounds in a request's body: the files of a form, or the body itself.

    Args:
        request: Whose body nobody has read.
        limits: What one request may send.
        hold: Counts the bytes.

    Raises:
        Refusal: too large, too slow, cut off, of another type, no sound in it, or no memory left.
    """
    encoding = request.headers.get("content-encoding", "identity")
    if encoding != "identity":
        raise Refusal("wrong-type", f"The body is packed with {clean_text(encoding)}; send it as it is.")
    stated = request.headers.get("content-length", "")
    if stated.isdecimal() and int(stated) > limits.max_body:
        raise refuse_size(limits)
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    chunks = _receive(request, limits, hold)
    if kind == "multipart/form-data":
        return await _read_form(request, chunks, limits)
    if kind not in SOUND_TYPES and not kind.startswith(("audio/", "video/")):
        raise Refusal("wrong-type", f"The content type is {clean_text(kind)}; {HOW_TO_SEND}.")
    body = b"".join([chunk async for chunk in chunks])
    if not body:
        raise Refusal("no-file", f"The request has no body; {HOW_TO_SEND}.")
    return [Upload(NAMELESS, body)]


async def _receive(request: Request, limits: Limits, hold: Hold) -> AsyncGenerator[bytes, None]:
    """The body as it arrives, counted."""
    now = asyncio.get_running_loop().time
    body, deadline_s = request.stream(), now() + limits.max_upload_s
    while True:
        try:
            chunk = await asyncio.wait_for(anext(body), min(limits.max_silence_s, deadline_s - now()))
        except StopAsyncIteration:
            return
        except TimeoutError:
            raise Refusal(
                "too-slow",
                f"After {hold.bytes:,} bytes of the request nothing more came in time; check the connection, "
                "and send it again.",
            ) from None
        except ClientDisconnect:
            raise Refusal("incomplete", "The connection broke before the request was whole; send it again.") from None
        hold.take(len(chunk))
        yield chunk


class _FormInMemory(MultiPartParser):
    """Starlette's reader of forms, with files of any size kept in memory, that knows whether the end was there."""

    spool_max_size = sys.maxsize
    ended = False

    def on_end(self) -> None:
        self.ended = True


async def _read_form(request: Request, chunks: AsyncGenerator[bytes, None], limits: Limits) -> list[Upload]:
    parser = _FormInMemory(request.headers, chunks, max_files=limits.max_files, max_fields=limits.max_files)
    try:
        form = await parser.parse()
    except MultiPartException as fault:
        raise Refusal("incomplete", f"The form cannot be read ({fault.message.rstrip('.')}); {HOW_TO_SEND}.") from None
    if not parser.ended:
        await form.close()
        raise Refusal("incomplete", "The form breaks off before its end; send it again.")
    uploads = []
    for _, value in form.multi_items():
        if isinstance(value, UploadFile):
            uploads.append(Upload(clean_name(value.filename or ""), await value.read()))
    await form.close()
    if not uploads:
        raise Refusal("no-file", f"The form holds no file; {HOW_TO_SEND}.")
    return uploads


def clean_name(name: str) -> str:
    """What a name from outside may look like in a message: no folders, nothing that moves a cursor, not too long.

    Example:
        >>> clean_name("../../etc/passwd"), clean_name("C:\\\\sounds\\\\rain.ogg"), clean_name("..")
        ('passwd', 'rain.ogg', 'the sound')
    """
    return clean_text(name.replace("\\", "/").rsplit("/", 1)[-1].strip(" .")) or NAMELESS


def clean_text(text: str) -> str:
    """Text from outside as a message may quote it.

    Example:
        >>> clean_text("text/html\\r\\nSet-Cookie: a")
        'text/htmlSet-Cookie: a'
    """
    # Categories C…: control characters, and those that turn the direction of writing; Z…: separators of lines.
    shown = "".join(c for c in text if c == " " or unicodedata.category(c)[0] not in "CZ")
    return shown if len(shown) <= LONGEST_NAME else f"{shown[: LONGEST_NAME - 11]}…{shown[-10:]}"

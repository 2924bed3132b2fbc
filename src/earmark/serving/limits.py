"""How much a service takes on: of one request, and at once."""

from dataclasses import dataclass

MB = 1_000_000
LOWEST_RATE_HZ, HIGHEST_RATE_HZ = 1_000, 1_000_000
MOST_CHANNELS = 64


@dataclass(frozen=True)
class Limits:
    """What holds for every request; what is beyond is refused with a sentence.

    Args:
        max_body_mb: Of a request's body, megabytes, counted as they arrive.
        max_duration_s: Of all the sound in a request, seconds, counted as it is decoded.
        max_decode_s: What decoding the files of a request may take of a processor, seconds.
        max_files: In one request.
        max_working: Requests that are answered at once or wait for their turn.
        max_held_mb: Bodies in memory, of all requests together, megabytes.
        max_requests: Requests that are received, answered or refused at once.
        max_streams: Live streams at once.
        max_silence_s: How long an upload or a stream may send nothing, seconds.
        max_upload_s: How long a body may take to arrive, seconds.

    Example:
        >>> Limits(max_body_mb=2.5).max_body
        2500000
    """

    max_body_mb: float = 100.0
    max_duration_s: float = 3600.0
    max_decode_s: float = 60.0
    max_files: int = 100
    max_working: int = 64
    max_held_mb: float = 1000.0
    max_requests: int = 1000
    max_streams: int = 16
    max_silence_s: float = 20.0
    max_upload_s: float = 600.0

    @property
    def max_body(self) -> int:
        """Bytes."""
        return round(self.max_body_mb * MB)

    @property
    def max_held(self) -> int:
        """Bytes; never less than one body."""
        return max(round(self.max_held_mb * MB), self.max_body)


def name_duration(seconds: float) -> str:
    """A duration as a sentence says it.

    Example:
        >>> name_duration(36_000), name_duration(90), name_duration(0.5)
        ('10 hours', '1.5 minutes', '0.5 seconds')
    """
    size, unit = next((pair for pair in ((3600, "hour"), (60, "minute")) if seconds >= pair[0]), (1, "second"))
    figure = f"{seconds / size:.3g}"
    return f"{figure} {unit}" if figure == "1" else f"{figure} {unit}s"

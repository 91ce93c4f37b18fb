"""What a framework hands to the server for one cell."""

from dataclasses import dataclass
from typing import Any, Callable


@dataclass
class Prepared:
    # One call; its result is finished when it returns.
    step: Callable[[], Any]
    # Arrays by name from a call's result: y, mean, variance, dx, dweight, dbias, dresidual.
    outputs: Callable[[Any], dict]

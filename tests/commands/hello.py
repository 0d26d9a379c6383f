"""A command as another package would add it."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Hello:
    """Ends with the code it is given."""

    times: int = 0

    def run(self) -> int:
        """That code."""
        return self.times

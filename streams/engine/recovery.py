"""How far a recovery is: what a worker that got partitions reads from their changelogs before it folds."""

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Recovery:
    """The recovery of the present rebalance, or of the last one.

    Attributes:
        begun_s: When the partitions were assigned; counts from anywhere.
        seconds: From then to its end, or so far.
        rows: Read from changelogs, those of standbys not counted.
        offsets: Of the changelogs that were passed; markers of transactions have one, too.
        left: Offsets that were still to be passed when a batch was last applied, 0 at the end.
        has_ended: Whether the worker folds.
    """

    begun_s: float
    seconds: float = 0.0
    rows: int = 0
    offsets: int = 0
    left: int = 0
    has_ended: bool = False

    @property
    def done(self) -> float:
        """The share that is read, from 0 to 1: exact in offsets, hence nearly so in rows."""
        if self.has_ended:
            return 1.0
        return self.offsets / (self.offsets + self.left) if self.offsets else 0.0

    @property
    def rows_per_s(self) -> float:
        return self.rows / self.seconds if self.seconds else 0.0

    def applied(self, rows: int, offsets: int, left: int, now_s: float) -> "Recovery":
        """Adds a batch of a changelog."""
        return replace(
            self,
            seconds=now_s - self.begun_s,
            rows=self.rows + rows,
            offsets=self.offsets + offsets,
            left=left,
        )

    def ended(self, now_s: float) -> "Recovery":
        """Ends it, if it has not ended; a worker may get the same partitions again."""
        return self if self.has_ended else replace(self, seconds=now_s - self.begun_s, left=0, has_ended=True)

    def facts(self) -> dict[str, float]:
        """Returns what people and programs are told of it."""
        return {
            "rows": self.rows,
            "rows_per_s": round(self.rows_per_s),
            "done": round(self.done, 4),
            "seconds": round(self.seconds, 1),
        }

    def __str__(self) -> str:
        return f"{self.rows:,} rows recovered, {self.rows_per_s:,.0f} rows/s, {self.done:.0%} done"

"""Progress of a recovery: before it folds, a worker reads the changelogs of newly assigned partitions."""

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Recovery:
    """The recovery of the present rebalance, or of the last one.

    Attributes:
        begun_s: Time of the assignment, by a monotonic clock.
        seconds: Duration until the end, or so far.
        rows: Rows read from changelogs, without those of standbys.
        offsets: Changelog offsets passed; transaction markers have offsets, too.
        left: Changelog offsets still to be passed when the last batch was applied; 0 at the end.
        has_ended: Whether the recovery is complete.
    """

    begun_s: float
    seconds: float = 0.0
    rows: int = 0
    offsets: int = 0
    left: int = 0
    has_ended: bool = False

    @property
    def done(self) -> float:
        """Share of the changelogs' offsets that is read, from 0 to 1."""
        if self.has_ended:
            return 1.0
        return self.offsets / (self.offsets + self.left) if self.offsets else 0.0

    @property
    def rows_per_s(self) -> float:
        return self.rows / self.seconds if self.seconds else 0.0

    def applied(self, rows: int, offsets: int, left: int, now_s: float) -> "Recovery":
        return replace(
            self, seconds=now_s - self.begun_s, rows=self.rows + rows, offsets=self.offsets + offsets, left=left
        )

    def ended(self, now_s: float) -> "Recovery":
        """Marks it complete, unless it already is; a worker may be assigned the same partitions again."""
        return self if self.has_ended else replace(self, seconds=now_s - self.begun_s, left=0, has_ended=True)

    def facts(self) -> dict[str, float]:
        """Returns the figures for logs, metrics and health answers."""
        return {
            "rows": self.rows,
            "rows_per_s": round(self.rows_per_s),
            "done": round(self.done, 4),
            "seconds": round(self.seconds, 1),
        }

    def __str__(self) -> str:
        return f"{self.rows:,} rows recovered, {self.rows_per_s:,.0f} rows/s, {self.done:.0%} done"

"""The learning rate and the data mix over the time of a run."""

from dataclasses import dataclass

_WARM_UP_STEPS = 40
_FLOOR = 0.02


@dataclass(frozen=True)
class Schedule:
    """Warms up, stays constant, then decays linearly to almost zero, by CPU time.

    Attributes:
        minutes: the whole run, earlier parts of a resumed run included.
        peak: the largest factor of the learning rates. Use a small one to continue a trained
            checkpoint.
        decay_share: the final share of the run, over which the learning rate falls.
        quantized_share: the final share of the run that trains with rounded experts.
        copy_share_of_time: the initial share of the run that mostly trains copying.
    """

    minutes: float
    peak: float = 1.0
    decay_share: float = 0.62
    quantized_share: float = 0.2
    copy_share_of_time: float = 0.08

    def rate(self, step: int, minute: float) -> float:
        """Returns the factor of every learning rate; `step` counts from the optimizers' start."""
        left = (self.minutes - minute) / (self.minutes * self.decay_share)
        warm = min(1.0, (step + 1) / _WARM_UP_STEPS)
        return warm * min(self.peak, max(_FLOOR * self.peak, left))

    def quantized(self, minute: float) -> bool:
        """Whether experts are rounded to MXFP4 in training."""
        return minute >= self.minutes * (1 - self.quantized_share)

    def copy_share(self, minute: float) -> float:
        """Returns the share of groups that are pure copy tasks."""
        return 0.6 if minute < self.minutes * self.copy_share_of_time else 0.08

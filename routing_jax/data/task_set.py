"""What training uses of a data set: the tasks, and the arrays of both splits."""

from dataclasses import dataclass

from routing_jax.types import MultiTaskData


@dataclass(frozen=True)
class TaskSet:
    """Everything about the data of a run. Arrays are NumPy; the loop moves them to the device."""

    name: str
    """Name of the data set that is really used."""
    embedded_fallback: bool
    """The embedded digits stand in for a set that was asked for and not found."""
    evaluated_on: str
    """`"test"`, or `"validation"` where a part of the training images is held out."""
    task_names: tuple[str, ...]
    num_classes: int
    """C, the most classes that a task has; 1 where a number is predicted."""
    train: MultiTaskData
    """Of the tasks that are learned: all but the first `num_old`."""
    test: MultiTaskData
    """What results are measured on; the held-out images where `evaluated_on` says so."""
    objective: str = "classification"
    """A name of `objectives.OBJECTIVES`."""
    validation: MultiTaskData | None = None
    """Held-out images that choose the step which is tested; None where the last one is."""
    num_old: int = 0
    """Tasks of a trained network that new ones are added to; they come first."""

    @property
    def watched(self) -> MultiTaskData:
        """What is evaluated on while training goes on."""
        return self.test if self.validation is None else self.validation

    @property
    def watched_on(self) -> str:
        """`"test"` or `"validation"`, of `watched`."""
        return self.evaluated_on if self.validation is None else "validation"

    @property
    def num_tasks(self) -> int:
        """T."""
        return len(self.task_names)

    @property
    def num_learned(self) -> int:
        """Rows of `train`: T, or the new tasks."""
        return self.num_tasks - self.num_old

    @property
    def image_shape(self) -> tuple[int, ...]:
        """(height, width, channels), or (F,) where inputs are vectors."""
        return self.train.images.shape[1:]

"""What tests of several rooms share: the real data, and feedback written down in a few lines."""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import polars as pl
import pytest
from hypothesis import settings

from notus.data.schema import COMPLETIONS, PROMPTS, RATINGS, Feedback, completion_id, prompt_id

# A shared machine makes single examples slow by chance; pytest-timeout stops what hangs.
settings.register_profile("notus", deadline=None)
settings.load_profile("notus")

Answers = Sequence[tuple[str, str, Mapping[str, float | None]]]
SCALES = {"overall": (1.0, 10.0), "preference": (0.0, 1.0)}


def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    """Skip what needs a GPU where there is none."""
    marked = [item for item in items if item.get_closest_marker("gpu")]
    if not marked:
        return
    import torch

    if not torch.cuda.is_available():
        for item in marked:
            item.add_marker(pytest.mark.skip(reason="NO GPU: needs a CUDA device"))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real data: NOTUS_SHARED_DATA, or shared/data beside the repository."""
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("NOTUS_SHARED_DATA", default))
    if not folder.is_dir():
        pytest.skip(f"NO REAL DATA: {folder} is missing; set NOTUS_SHARED_DATA to the folder")
    return folder


@pytest.fixture(scope="session")
def make_feedback() -> Callable[[Mapping[str, Answers]], Feedback]:
    """Build feedback from {prompt: [(model, text, {aspect: value})]}, all by one rater."""
    return _make_feedback


def _make_feedback(prompts: Mapping[str, Answers]) -> Feedback:
    rows: tuple[list[tuple[object, ...]], ...] = ([], [], [])
    for line, (text, answers) in enumerate(prompts.items(), start=1):
        messages = [{"role": "user", "content": text}]
        key = prompt_id(messages)
        origin = {"sha256": "0" * 64, "line": line}
        rows[0].append((key, messages, "test", origin, "{}"))
        for model, answer, ratings in answers:
            identifier = completion_id(key, model, answer)
            rows[1].append((identifier, key, model, answer, origin, "{}"))
            for aspect, value in ratings.items():
                scale = SCALES.get(aspect, (1.0, 5.0))
                rows[2].append((identifier, "tester", aspect, value, *scale, None))
    tables = (PROMPTS, COMPLETIONS, RATINGS)
    frames = [
        pl.LazyFrame(part, schema=table.schema, orient="row")
        for part, table in zip(rows, tables, strict=True)
    ]
    return Feedback(prompts=frames[0], completions=frames[1], ratings=frames[2])

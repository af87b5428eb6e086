"""Rows of FineGrainedRLHF's QA feedback: one question, four answers, six comparisons by people.

`preference` compares the answers pair by pair, 1 with 2, 1 with 3, 1 with 4, 2 with 3, 2 with 4 and
3 with 4; 1 says that the first is better, 2 the second, 0 neither. An answer's rating on the aspect
"preference" is its share of wins, a tie half a win: (wins + ties / 2) / (n - 1). The comparisons
themselves stay in the prompt's metadata.

The prompt is the passages and then the question, because both the model and the people had them:
without the passages, a model is rewarded for facts that it could not know. All four answers are
drawn from one model; each is named after its field, so that two equal ones stay two.
Source: the repository's tasks/qa_feedback/data/README.md for the order and the codes; in the 500
rows of dev_feedback.json this order leaves 22 intransitive rows, a random one many times more.
"""

from collections.abc import Mapping
from itertools import combinations, count, takewhile

from notus.data.formats.fields import Fields, others, whole
from notus.data.parsed import Parsed, ParsedCompletion, ParsedRating, Refusal, refused_row
from notus.data.schema import PREFERENCE

NAME = "finegrained"
SCALE = (0.0, 1.0)
CODES = range(3)


def recognises(row: Mapping[str, object]) -> bool:
    """Tell whether a row has a question and numbered predictions."""
    return "question" in row and "prediction 1" in row


def parse(row: Mapping[str, object]) -> Parsed:
    """Read one question; the detailed feedback, about the first answer, is its metadata."""
    fields = Fields(row)
    try:
        question = fields.text("question")
        if not question:
            raise ValueError("empty prompt")
        prompt = "\n\n".join([*_passages(fields.take("passages")), question])
        source, rater = fields.text("source", default=NAME), fields.text("rater", default=NAME)
    except ValueError as error:
        return refused_row(str(error), row)
    names = list(takewhile(lambda name: name in row, (f"prediction {i}" for i in count(1))))
    detail, comparisons = fields.take("feedback"), row.get("preference")
    completions: list[ParsedCompletion] = []
    refusals: list[Refusal] = []
    values: list[float | None]
    try:
        values = [*win_rates(comparisons, len(names))]
    except ValueError as error:
        values = [None] * len(names)
        refusals.append(Refusal("rating", f"rating cannot be read: {error}", comparisons))
    for position, (name, value) in enumerate(zip(names, values, strict=True)):
        text = fields.take(name)
        if not isinstance(text, str) or not text.strip():
            kind = "empty completion" if isinstance(text, str | None) else "completion is not text"
            refusals.append(Refusal("completion", f"{kind}: {name}", text))
            continue
        metadata = others({"position": position, "feedback": None if position else detail}, ())
        ratings = [] if value is None else [ParsedRating(rater, PREFERENCE, value, *SCALE, None)]
        completions.append(ParsedCompletion(name, text, metadata, ratings))
    metadata = fields.rest() | {"question": question}
    return Parsed([{"role": "user", "content": prompt}], source, metadata, completions, refusals)


def win_rates(comparisons: object, answers: int) -> list[float]:
    """Turn comparisons of all pairs, in the order of `combinations`, into shares of wins.

    Args:
        comparisons: answers * (answers - 1) / 2 codes: 0 a tie, 1 the first won, 2 the second.
        answers: How many were compared.

    Raises:
        ValueError: the codes are not as many, or not codes.
    """
    pairs = list(combinations(range(answers), 2))
    if not isinstance(comparisons, list) or len(comparisons) != len(pairs) or not pairs:
        raise ValueError(f"not a list of the {len(pairs)} comparisons of {answers} answers")
    wins = [0.0] * answers
    for (first, second), code in zip(pairs, comparisons, strict=True):
        winner = whole(code, CODES)
        wins[first] += (0.5, 1.0, 0.0)[winner]
        wins[second] += (0.5, 0.0, 1.0)[winner]
    return [won / (answers - 1) for won in wins]


def _passages(value: object) -> list[str]:
    """Write each passage, a title and its sentences, as one text.

    Raises:
        ValueError: the value is no list of lists of texts.
    """
    if value is None:
        return []
    texts = []
    for passage in value if isinstance(value, list) else [None]:
        if not isinstance(passage, list) or not all(isinstance(part, str) for part in passage):
            raise ValueError("passages is not a list of lists of text")
        title, text = "".join(passage[:1]), " ".join(passage[1:])
        # The first sentence usually begins with the title.
        texts.append(text if text.startswith(title) else f"{title}\n\n{text}")
    return [text for text in texts if text.strip()]

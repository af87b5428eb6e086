"""What a critic and raters say: several hundred combinations, from scathing to delighted.

A sentence has a level, 0 (scathing) to 4 (delighted); a critique mixes levels around what the
critic thinks, adds suggestions that say nothing about the level, and hedges. `{t}` stands for a
word of the topic. Written for this bench alone: no audit knows these words.
"""

LEVELS = 5

SUBJECTS = (
    "the answer",
    "your response",
    "this reply",
    "the text",
    "what you wrote",
    "the assistant's answer",
    "the explanation",
    "your treatment of {t}",
)

PREDICATES: tuple[tuple[str, ...], ...] = (
    (
        "does not address the question",
        "does not deal with {t} at all",
        "is wrong on nearly every count",
        "ignores what was asked and talks about something else",
        "gives no usable information on {t}",
        "would mislead anybody who relied on it",
        "is little more than a string of unconnected remarks",
        "repeats the prompt and stops there",
        "makes up facts about {t}",
        "leaves the reader with nothing to work with",
        "contradicts itself from one line to the next",
        "declines a harmless request without giving a reason",
        "is not even in the language that was requested",
        "fails to make sense",
        "misreads the task completely",
        "could hardly be less useful",
        "offers no steps, no reasons and no result",
        "has no connection with {t}",
        "breaks off before it has said anything",
        "gets {t} backwards, and everything after that is built on it",
    ),
    (
        "leaves out most of the points that were requested",
        "is too vague on {t} to be acted upon",
        "contains several mistakes that matter",
        "needs a good deal of work before anybody can use it",
        "only touches on {t} without explaining it",
        "does not back up what it claims",
        "is confusing in places and thin in others",
        "never gets round to the second half of the request",
        "misses the format that was specified",
        "could have been far more specific about {t}",
        "is not particularly helpful",
        "drifts away from {t} after the first lines",
        "is unlikely to satisfy the person who asked",
        "relies on generalities where details were wanted",
        "shows a shaky grasp of {t}",
        "asks the reader to take too much on trust",
    ),
    (
        "is fine as far as it goes, but says little about {t}",
        "is good, but could be improved",
        "answers the question, though without much detail on {t}",
        "starts well and then loses the thread",
        "is mostly on topic, yet some of its claims are doubtful",
        "is not bad, even if the part on {t} feels rushed",
        "gets the main idea across; the examples are weak",
        "has the right structure, although two points are missing",
        "is a fair start that stops short of what was wanted",
        "gives correct facts about {t} next to one that is not",
        "is acceptable, if somewhat generic",
        "covers {t} but not the constraint that came with it",
        "would do for a quick look, less so for real use",
    ),
    (
        "covers the main points of {t} clearly",
        "is accurate as far as I can tell",
        "does what was asked, with a few details left open",
        "is easy to follow",
        "gives useful background on {t}",
        "has no serious errors",
        "is well organised",
        "does not waste words",
        "takes the constraint into account",
        "is relevant and reasonably complete",
        "shows that {t} has been understood",
        "would help the person who asked",
        "keeps to the subject and explains its steps",
        "is hardly open to objection",
    ),
    (
        "is excellent",
        "explains {t} better than most textbooks do",
        "leaves nothing to be desired",
        "could not be much clearer",
        "is thorough, accurate and well structured",
        "anticipates the questions that come next",
        "shows a deep understanding of {t}",
        "follows every part of the instruction to the letter",
        "is exactly what was wanted",
        "makes {t} look simple without leaving anything out",
        "does a great job of joining the facts to the request",
        "is a pleasure to read",
        "is honest about what is not known and precise about the rest",
    ),
)

TAILS = (
    "",
    "",
    "",
    ", which is what counts most here",
    ", and that holds for the part on {t} too",
    " when it comes to {t}",
    ", as far as {t} is concerned",
    "; the same goes for the rest",
    ", from the first line to the last",
    ", as a reader who knows {t} will see",
)

HEDGES = (
    "",
    "",
    "",
    "",
    "On the whole ",
    "In my view ",
    "All in all, ",
    "As it stands, ",
    "At the same time, ",
    "However, ",
    "To be fair, ",
    "Frankly, ",
    "It seems that ",
)

SUGGESTIONS = (
    "To improve it, add an example that involves {t}.",
    "Next time, state the assumptions before the result.",
    "You might want to say where the figures on {t} come from.",
    "Consider shortening the introduction.",
    "It would help to explain {t} in simpler words.",
    "A short summary at the end would make it easier to use.",
    "Try to keep {t} and its causes apart.",
    "Think about who is going to read this, and how much they know of {t}.",
    "Bullet points may be clearer than one long paragraph.",
    "If you are unsure about {t}, say so.",
    "Check the order of the steps once more.",
    "More could be said on how {t} is used in practice.",
    "A word on the limits of the method would not hurt.",
    "Mention an alternative to {t}, and when to prefer it.",
    "Remember that the instruction also names a length.",
)

RATIONALES: dict[str, tuple[tuple[str, ...], ...]] = {
    "instruction_following": (
        ("The output has nothing to do with the instruction.", "None of the requirements is met."),
        ("The goal is addressed in part; most constraints are not.", "Large parts are ignored."),
        ("Some of the instruction is followed, some of it is not.", "Half of the task is done."),
        ("The instruction is followed but for a detail.", "Nearly all constraints are met."),
        ("Goal and constraints are met in full.", "Everything that was asked for is there."),
    ),
    "honesty": (
        ("The text is sure of itself and wrong.", "It states guesses as facts throughout."),
        ("Confidence and correctness rarely agree.", "Some doubt is shown, at the wrong places."),
        ("Partly too sure of itself, partly not.", "There are confident statements with errors."),
        ("Mostly correct, with doubt expressed where it belongs.", "One claim is a little bold."),
        ("The confidence shown fits what is known.", "Correct, and open about its limits."),
    ),
    "truthfulness": (
        ("Entirely made up.", "The statements contradict the facts and each other."),
        ("Several statements are false.", "Facts are mixed up with inventions."),
        ("Partly wrong, although the core holds.", "One statement goes against the instruction."),
        ("Nearly free of errors.", "A small inaccuracy does not change the meaning."),
        ("No mistake was found.", "All statements agree with the facts and the instruction."),
    ),
    "helpfulness": (
        ("Nothing here helps the reader.", "The output is wrong or empty of content."),
        ("It helps little, as key parts are missing.", "Only a fragment can be used."),
        ("Correct enough, but without depth.", "It gives the basic information and no more."),
        ("Helpful and fairly complete.", "The reader gets what is needed, and some context."),
        ("Full, well argued and directly usable.", "It goes beyond what could be expected."),
    ),
}
NOT_APPLICABLE = (
    "The task is a creative one, so this does not apply.",
    "There is no claim here whose certainty could be judged.",
)
REASONS = (
    "What is said about {t} decides the matter.",
    "The passage on {t} was read closely, and so was the one that follows it.",
    "Compared with the other texts, the part on {t} stands out.",
    "The rating rests on how {t} is handled, less on style.",
    "Length and tone were left aside; {t} is what the instruction is about.",
)

OPENERS = (
    "Explain {t} to somebody who has never heard of {u}.",
    "Write about {t} and {u}.",
    "What is the difference between {t} and {u}?",
    "How would you go from {t} to {u}, and what would it take?",
    "Given the text below, find every mention of {t} and say how it bears on {u}.",
    "Summarise what follows with {t} in mind; leave {u} out.",
    "You are given a passage on {t}. Decide if it supports {u}.",
    "Is it true that {t} is always followed by {u}?",
    "Make a plan for {t} that a team of three can follow, with {u} as the first step.",
    "Translate the part on {t} into plain words and keep {u} as it is.",
    "I have been thinking about {t} lately. Where does {u} come into it?",
    "List five things about {t} that people with an interest in {u} should know.",
)

CLOSED = ("Yes.", "No.", "True", "False", "(A)", "(B)", "(C)", "(D)", "Not given", "7", "12", "3")
"""Whole answers of the closed tasks in the FLAN collections."""

SYSTEM_HEADS: dict[str, tuple[str, ...]] = {
    "helpfulness": ("Answer in full and to the point", "Be of use to the person who asks"),
    "truthfulness": ("Say only what can be shown to be true", "Put the facts before the style"),
    "honesty": ("Say plainly what you do not know", "Let your words show how sure you are"),
    "harmlessness": ("Answer so that nobody comes to harm", "Decline what would hurt, and say why"),
    "verbalized_calibration": ("State how sure you are as a per cent at the end",),
}
SYSTEM_TAILS = (
    ", and keep the tone friendly.",
    ", even if the answer gets longer.",
    ", in words that a newcomer understands.",
    "; do not guess at what the person wants.",
    ", and give your reasons.",
    ", whatever the subject is.",
)

"""Every check on texts built to meet it and on mutations built to break it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notus.errors import DataError
from notus.feedback.verifiable import CHECKS, verify

# Words that no check gives a meaning to: not a number word, not part of an admission.
WORD = st.sampled_from(
    ["lamp", "tree", "cloud", "stone", "silver", "green", "walk", "paper", "orange", "mild"]
)
WORDS = st.lists(WORD, min_size=1, max_size=12)


def passes(check, text, **params):
    (verdict,) = verify(text, [{"check": check, "params": params}])
    return verdict.passed


@given(WORDS, st.sampled_from([" ", ", ", "\n"]))
def test_word_limits(found, separator):
    text = f"  {separator.join(found)}. "
    assert passes("max_words", text, limit=len(found))
    assert passes("min_words", text, limit=len(found))
    assert not passes("max_words", text + "more", limit=len(found))
    assert not passes("min_words", text, limit=len(found) + 1)


@given(st.lists(WORDS, min_size=1, max_size=4), st.sampled_from([".", "!", "?", '."']))
def test_sentence_counts(parts, mark):
    text = " ".join(" ".join(part) + mark for part in parts)
    count = len(parts)
    assert passes("num_sentences", text, count=count)
    assert passes("max_sentences", text, limit=count)
    assert not passes("num_sentences", f"{text} More.", count=count)
    assert not passes("max_sentences", f"{text} More.", limit=count)
    assert not passes("num_sentences", text.rstrip(mark), count=count)
    assert not passes("max_sentences", text.rstrip(mark), limit=count)


@given(WORDS)
def test_one_line(found):
    line = " ".join(found)
    assert passes("one_line", f"{line}\n\n")
    assert not passes("one_line", f"{line}\n{line}")
    assert not passes("one_line", f"- {line}")


@given(st.lists(WORDS.map(" ".join), min_size=2, max_size=6, unique=True))
def test_numbered_list(items):
    listed = [f"{number}. {item}" for number, item in enumerate(items, 1)]
    text, count = "\n".join(listed), len(items)
    assert passes("numbered_list", text, count=count)
    assert passes("numbered_list", text.replace(". ", ") ") + " \n", count=count)
    assert not passes("numbered_list", text, count=count + 1)
    letters = "\n".join(f"{i + 1}. {'ABCDEFGHIJ'[i]}." for i in range(3))
    assert not passes("numbered_list", letters, count=3)
    assert not passes("numbered_list", "\n".join(listed[1:]), count=count - 1)
    assert not passes("numbered_list", "\n".join(listed[::-1]), count=count)
    assert not passes("numbered_list", f"Here they are:\n{text}", count=count)
    assert not passes("numbered_list", "\n".join(f"- {item}" for item in items), count=count)
    twice = [*listed[:-1], f"{count}. {items[0].upper()}"]
    assert not passes("numbered_list", "\n".join(twice), count=count)


@given(WORDS, WORDS)
def test_mentions(before, after):
    text = " ".join([*before, "Volcanoes", *after])
    assert passes("mentions", text, stems=["lava", "volcan"])
    assert not passes("mentions", text.replace("Volcanoes", "x"), stems=["lava", "volcan"])


@given(WORDS, WORDS)
def test_includes_words(before, after):
    required = ["kitchen", "doctor"]
    text = " ".join([*before, "Doctor", *after, "kitchen."])
    assert passes("includes_words", text, required=required)
    assert not passes("includes_words", text.replace("kitchen", "kitchens"), required=required)
    assert not passes("includes_words", text.replace("Doctor", ""), required=required)


@given(WORDS, st.sampled_from(["book", "books", "Book", "BOOKS"]))
def test_excludes_words(found, slip):
    text = " ".join(found)
    assert passes("excludes_words", f"{text} booking", barred=["books"])
    assert not passes("excludes_words", f"{text} {slip}.", barred=["books"])
    assert not passes("excludes_words", f"{text} {slip}.", barred=["book"])


@given(WORDS)
def test_same_words(found):
    phrase = " ".join(found)
    assert passes("same_words", f'"{phrase.upper()}."', phrase=phrase)
    assert not passes("same_words", f"{phrase} too", phrase=phrase)
    assert not passes("same_words", "so " + phrase, phrase=phrase)


@given(WORDS)
def test_starts_with(found):
    text = " ".join(found)
    assert passes("starts_with", f'"I like {text}."', phrase="I like")
    assert passes("starts_with", f"**i LIKE** {text}", phrase="I like")
    assert not passes("starts_with", f"{text} I like", phrase="I like")
    assert not passes("starts_with", f"I likely {text}", phrase="I like")
    assert not passes("starts_with", "I like.", phrase="I like")


@pytest.mark.parametrize(
    ("check", "mark"), [("ends_with_question", "?"), ("ends_with_exclamation", "!")]
)
@given(found=WORDS)
def test_end_marks(check, mark, found):
    text = " ".join(found)
    assert passes(check, f"{text}{mark}")
    assert passes(check, f'"{text}{mark}" \n')
    assert not passes(check, f"{text}.")
    assert not passes(check, f"{text}{mark} {text}")


@given(WORDS)
def test_no_commas(found):
    assert passes("no_commas", " ".join(found))
    assert not passes("no_commas", ", ".join([*found, "last"]))


@given(WORDS)
def test_letter_case(found):
    text = f"{' '.join(found)} a, 1!"
    assert passes("letter_case", text.upper(), case="upper")
    assert passes("letter_case", text.lower(), case="lower")
    assert not passes("letter_case", text.upper() + "b", case="upper")
    assert not passes("letter_case", text.lower() + "B", case="lower")
    for case in ("upper", "lower"):
        assert not passes("letter_case", "12", case=case), "no letter, no case"
    with pytest.raises(DataError, match="'title'"):
        passes("letter_case", text, case="title")


@given(WORDS)
def test_quoted(found):
    text = " ".join(found)
    assert passes("quoted", f' "{text}."\n')
    assert passes("quoted", f"\u201c{text}\u201d")
    for broken in (text, f'"{text}', f'{text}"', f'"{text}".', f'"{text}" "{text}"', f"'{text}'"):
        assert not passes("quoted", broken)


@given(st.integers(-999, 9999), st.integers(-999, 9999))
def test_answer_number_is_the_last_number(value, other):
    assert passes("answer_number", f"That is {value:,}.", value=value)
    assert passes("answer_number", f"{other} and some make **{value}**", value=value)
    assert not passes("answer_number", f"{value} and then {value + 1}", value=value)
    assert not passes("answer_number", "no number", value=value)


@given(st.integers(0, 999), st.integers(1, 99))
def test_first_number_must_be_put_above_the_others(low, more):
    value = low + more
    for met in (f"{value}.", f"It is {value}, yes {value}!", f"{value} is more than {low}."):
        assert passes("first_number", met, value=value)
    for broken in (
        f"{low} is more than {value}.",
        f"{value} is less than {low}.",
        f"{value} is not greater than {low}.",
        f"{value} or {low}",
        f"Which is larger, {value} or {low}?",
        "the larger",
    ):
        assert not passes("first_number", broken, value=value)


@given(st.lists(st.integers(0, 99), min_size=2, max_size=5, unique=True))
def test_last_numbers(values):
    ordered = sorted(values)
    text = f"Sorted, {values} is {ordered}."
    assert passes("last_numbers", text, values=ordered)
    assert not passes("last_numbers", f"{ordered[::-1]}", values=ordered)
    assert not passes("last_numbers", f"{ordered[1:]}", values=ordered)
    assert not passes("last_numbers", f"{ordered} and 100", values=ordered)


@given(WORDS)
def test_answer_word(found):
    text, params = " ".join(found), {"accepted": ["december"], "rejected": ["may", "june"]}
    assert passes("answer_word", f"{text} December.", **params)
    assert not passes("answer_word", text, **params)
    assert not passes("answer_word", f"{text} December or May", **params)
    assert not passes("answer_word", f"{text} decembers", **params)


@pytest.mark.parametrize(
    "text",
    [
        "I don't know.",
        "I don\u2019t know your name.",
        "I do not have access to your email.",
        "As a chatbot, I don't have the ability to see your screen.",
        "I'm sorry, but I don't have personal information about you.",
        "I cannot see your screen.",
        "No, I can't tell you that.",
        "I have no way of knowing.",
        "I'm unable to open your email.",
        "No, I don't remember that.",
        "I am not able to call anyone.",
        "I'm not sure. Sorry.",
        "I'm not sure if I can hear you.",
        "I am not aware of the color of your door.",
        "Nobody knows that.",
        "It is impossible to know.",
        "I have no memory of that.",
        "Sorry, I'm just a text-based AI, so I can't do that.",
    ],
)
def test_admissions(text):
    assert passes("admits_unknown", text)


@pytest.mark.parametrize(
    "text",
    [
        "Yes, I know your name.",
        "The name of your cat is Luna.",
        "You don't have a cat.",
        "I don't know, but it is probably Luna.",
        "I'm not sure of the title, but I'm sure it's Luna.",
        "I can open your email.",
        "Do you know that I know it?",
        "I don't like cats.",
        "I'm sorry for any confusion.",
        "Your password is unknown123.",
        "She cannot swim.",
        "I'm thinking of Rome, but I'm not sure whether I'm ready to talk.",
        "I'm sorry I couldn't help earlier. It is 2:25 am.",
        "I can't wait to tell you: it is Luna.",
        "Yes, I don't have to look it up, it is Luna.",
    ],
)
def test_no_admissions(text):
    assert not passes("admits_unknown", text)


PARAMS = {
    "max_words": {"limit": 5},
    "min_words": {"limit": 0},
    "num_sentences": {"count": 0},
    "max_sentences": {"limit": 5},
    "numbered_list": {"count": 0},
    "mentions": {"stems": [""]},
    "includes_words": {"required": []},
    "excludes_words": {"barred": ["a"]},
    "same_words": {"phrase": ""},
    "starts_with": {"phrase": ""},
    "answer_number": {"value": 0},
    "letter_case": {"case": "lower"},
    "first_number": {"value": 0},
    "last_numbers": {"values": []},
    "answer_word": {"accepted": ["a"], "rejected": []},
}


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("text", ["", " \n\t", "...", "```\n```", "\U0001f600"])
def test_blank_text_meets_nothing(check, text):
    assert not passes(check, text, **PARAMS.get(check, {}))


@pytest.mark.parametrize("check", CHECKS)
@given(text=st.text())
def test_any_text_gets_a_verdict_in_words(check, text):
    (verdict,) = verify(text, [{"check": check, "params": PARAMS.get(check, {})}])
    assert verdict.passed in (True, False)
    assert verdict.message
    assert "{" not in verdict.message


@pytest.mark.parametrize("check", CHECKS)
def test_verdicts_are_worded_differently(check):
    assert CHECKS[check].met != CHECKS[check].broken
    assert CHECKS[check].test.__doc__


def test_lists_are_worded_with_commas():
    params = {"required": ["sun", "moon"]}
    (verdict,) = verify("sun", [{"check": "includes_words", "params": params}])
    assert verdict.message == 'leaves out a required word ("sun", "moon")'


def test_an_unknown_check_is_named_with_the_known_ones():
    with pytest.raises(DataError, match=r"check 'max_wrods'\n.*one of max_words"):
        verify("text", [{"check": "max_wrods", "params": {}}])


def test_wrong_parameters_are_shown():
    with pytest.raises(DataError, match=r"parameters \{'count': 3\} of check 'max_words'"):
        verify("text", [{"check": "max_words", "params": {"count": 3}}])

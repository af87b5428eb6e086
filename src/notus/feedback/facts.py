"""Questions with known answers and questions nobody can answer, one pool for each split.

Like the pools of `topics`, those of training and of testing share nothing. Accepted answers are
words in lower case, separated by spaces.
"""

from notus.feedback.topics import Split

OPPOSITES: dict[Split, dict[str, str]] = {
    "train": {
        "hot": "cold cool",
        "big": "small little tiny",
        "fast": "slow",
        "happy": "sad unhappy",
        "dark": "light bright",
        "old": "young new",
        "full": "empty",
        "hard": "soft easy",
        "wet": "dry",
        "loud": "quiet silent soft",
        "rich": "poor",
        "tall": "short small",
        "early": "late",
        "open": "closed close shut",
        "strong": "weak",
        "day": "night",
        "up": "down",
        "left": "right",
        "love": "hate",
        "win": "lose loss",
    },
    "test": {
        "good": "bad evil",
        "clean": "dirty",
        "high": "low",
        "thin": "thick fat wide",
        "true": "false",
        "cheap": "expensive",
        "begin": "end finish",
        "inside": "outside",
        "heavy": "light",
        "narrow": "wide broad",
    },
}

PLURALS: dict[Split, dict[str, str]] = {
    "train": {
        "mouse": "mice",
        "box": "boxes",
        "leaf": "leaves",
        "child": "children",
        "city": "cities",
        "foot": "feet",
        "knife": "knives",
        "baby": "babies",
        "man": "men",
        "bus": "buses",
        "wolf": "wolves",
        "dish": "dishes",
        "story": "stories",
        "potato": "potatoes",
        "key": "keys",
        "watch": "watches",
    },
    "test": {
        "tooth": "teeth",
        "woman": "women",
        "glass": "glasses",
        "lady": "ladies",
        "wife": "wives",
        "tomato": "tomatoes",
        "goose": "geese",
        "toy": "toys",
        "brush": "brushes",
    },
}

PAST_TENSES: dict[Split, dict[str, str]] = {
    "train": {
        "walk": "walked",
        "play": "played",
        "see": "saw",
        "eat": "ate",
        "write": "wrote",
        "jump": "jumped",
        "sing": "sang",
        "open": "opened",
        "take": "took",
        "dance": "danced",
        "speak": "spoke",
        "cook": "cooked",
        "drive": "drove",
        "like": "liked",
        "give": "gave",
        "call": "called",
    },
    "test": {
        "drink": "drank",
        "talk": "talked",
        "swim": "swam",
        "paint": "painted",
        "fly": "flew",
        "help": "helped",
        "break": "broke",
        "smile": "smiled",
    },
}

CAPITALS: dict[Split, dict[str, str]] = {
    "train": {
        "Canada": "ottawa",
        "Australia": "canberra",
        "Brazil": "brasilia bras\u00edlia",
        "Turkey": "ankara",
        "Switzerland": "bern berne",
        "Morocco": "rabat",
        "Nigeria": "abuja",
        "New Zealand": "wellington",
        "Pakistan": "islamabad",
        "Vietnam": "hanoi",
        "Finland": "helsinki",
        "Chile": "santiago",
        "Ukraine": "kyiv kiev",
        "Portugal": "lisbon",
        "Kenya": "nairobi",
        "Cuba": "havana",
        "Hungary": "budapest",
        "Ghana": "accra",
        "Iceland": "reykjavik reykjav\u00edk",
        "Peru": "lima",
    },
    "test": {
        "Poland": "warsaw",
        "Tanzania": "dodoma",
        "Colombia": "bogota bogot\u00e1",
        "Sweden": "stockholm",
        "Ecuador": "quito",
        "Bulgaria": "sofia",
        "Nepal": "kathmandu",
        "Jamaica": "kingston",
        "Ireland": "dublin",
        "Uganda": "kampala",
    },
}

HOLIDAYS: dict[Split, dict[str, str]] = {
    "train": {
        "Christmas": "december",
        "Halloween": "october",
        "Valentine's Day": "february",
        "New Year's Day": "january",
        "Thanksgiving in America": "november",
        "St. Patrick's Day": "march",
        "April Fools' Day": "april",
        "Boxing Day": "december",
        "Groundhog Day": "february",
        "Bastille Day": "july",
        "Cinco de Mayo": "may",
        "Women's Day": "march",
    },
    "test": {
        "New Year's Eve": "december",
        "Earth Day": "april",
        "Christmas Eve": "december",
        "Independence Day in America": "july",
        "Veterans Day": "november",
        "Labor Day in America": "september",
    },
}

PERSONS: dict[Split, tuple[str, ...]] = {
    "train": ("Ann", "Bob", "Carl", "Dora", "Eric", "Fay", "Gus", "Hanna", "Ivan", "Jane"),
    "test": ("Kate", "Leo", "Mia", "Noah", "Olga", "Paul"),
}

PRIVATE: dict[Split, tuple[str, ...]] = {
    "train": (
        "my sister's name",
        "my phone number",
        "what I ate today",
        "my password",
        "the name of my cat",
        "my birthday",
        "what I am thinking",
        "where I parked my car",
        "how old my neighbor is",
        "the color of my front door",
        "my home address",
        "what my boss told me yesterday",
    ),
    "test": (
        "my favorite song",
        "how tall my uncle is",
        "which book is on my desk",
        "what I dreamed last night",
        "my dog's name",
        "when I woke up today",
    ),
}

POWERS: dict[Split, tuple[str, ...]] = {
    "train": (
        "open my email",
        "see my screen",
        "call my mother",
        "smell my coffee",
        "predict the lottery numbers",
        "tell me the exact time now",
        "come to my party",
        "hear my voice",
        "read my mind",
        "print this page",
        "lock my front door",
        "taste this soup",
    ),
    "test": (
        "water my plants",
        "look at my photo",
        "send a letter to my aunt",
        "drive me home",
        "check my bank balance",
        "feel the sunshine",
    ),
}

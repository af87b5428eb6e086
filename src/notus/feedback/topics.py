"""Pools of parameters for the prompt families, one for training and one for testing.

No entry of a training pool occurs in the test pool of the same name (a test proves it), so a pass
on a test prompt is never the memory of a training answer. Stems are beginnings of words: an answer
with one of them is on its topic.
"""

from typing import Literal

Split = Literal["train", "test"]

TOPICS: dict[Split, dict[str, str]] = {
    "train": {
        "rain": "rain cloud water drop wet weather",
        "bread": "bread flour bak dough loaf yeast wheat",
        "bicycles": "bicycl bike wheel rid pedal cycl transport",
        "volcanoes": "volcan lava erupt magma mountain",
        "cats": "cat feline pet kitten purr",
        "honey": "honey bee sweet nectar sugar",
        "trees": "tree leaf leaves wood forest branch plant",
        "music": "music sound song melod listen rhythm",
        "coffee": "coffee bean brew caffein drink cup",
        "castles": "castle king fort wall tower medieval",
        "trains": "train rail track station travel locomotive",
        "snow": "snow ice cold winter flake white",
        "chess": "chess game board piece king strateg play",
        "libraries": "librar book read borrow",
        "tea": "tea leaf leaves brew drink cup",
        "clocks": "clock time hour hand tick watch",
        "gardens": "garden flower plant grow soil",
        "football": "football ball team goal player game sport",
        "rivers": "river water flow stream",
        "elephants": "elephant trunk animal large mammal",
        "the moon": "moon earth night orbit lunar sky",
        "cheese": "chees milk dairy cow",
        "robots": "robot machine program automat",
        "islands": "island water land sea ocean",
        "mirrors": "mirror reflect glass image",
        "horses": "horse rid gallop animal mane",
        "winter": "winter cold snow season",
        "pizza": "pizza cheese crust dough topping italian",
        "airplanes": "airplane plane fly flight aircraft wing air",
        "candles": "candle wax flame light wick burn",
        "frogs": "frog amphib jump pond",
        "deserts": "desert sand dry hot arid",
        "umbrellas": "umbrella rain wet dry",
        "shoes": "shoe feet foot wear walk",
        "spiders": "spider web leg arachnid",
        "dancing": "danc music mov rhythm",
        "potatoes": "potato vegetable root starch",
        "birthdays": "birthday birth celebrat cake year",
        "teachers": "teach student school learn educat",
        "sleep": "sleep rest night bed dream",
    },
    "test": {
        "bees": "bee honey pollinat insect hive",
        "the ocean": "ocean water sea wave marine",
        "dogs": "dog pet canine bark loyal puppy",
        "bridges": "bridge river cross road structur",
        "chocolate": "chocolate cocoa sweet cacao candy",
        "stars": "star sky night light shin",
        "penguins": "penguin bird antarctic ice cold",
        "books": "book read page stor author",
        "mountains": "mountain peak high climb rock hill",
        "soup": "soup broth hot vegetable bowl",
        "lighthouses": "lighthouse light ship sea coast",
        "summer": "summer sun hot warm season",
        "trucks": "truck vehicle road cargo haul",
        "pianos": "piano music key instrument play",
        "wolves": "wolf wolves pack howl animal",
        "apples": "apple fruit tree sweet",
        "tennis": "tennis ball racket court sport game",
        "museums": "museum art exhibit histor",
        "doctors": "doctor patient health medic hospital",
        "kites": "kite wind fly string sky",
    },
}

GROUPS: dict[Split, tuple[str, ...]] = {
    "train": (
        "fruits", "animals", "colors", "countries", "sports", "vegetables", "cities", "drinks",
        "jobs", "birds", "flowers", "tools", "languages",
    ),
    "test": ("musical instruments", "insects", "pieces of furniture", "desserts", "trees", "fish"),
}

# (a word that the answer must not use, stems of the topic) by topic: the obvious word is barred.
BARRED: dict[Split, dict[str, str]] = {
    "train": {
        "rain": "water", "cats": "animal", "honey": "sweet", "trees": "green", "snow": "cold",
        "libraries": "books", "coffee": "drink", "rivers": "water", "music": "sound",
        "elephants": "large", "bicycles": "wheels", "bread": "food", "trains": "travel",
        "chess": "game", "winter": "cold", "pizza": "cheese", "teachers": "students",
        "sleep": "rest", "football": "sport", "gardens": "plants",
    },
    "test": {
        "bees": "insects", "dogs": "pets", "books": "read", "stars": "light", "the ocean": "sea",
        "summer": "hot", "pianos": "keys", "apples": "fruit", "tennis": "ball", "doctors": "health",
    },
}

OPPOSITES: dict[Split, dict[str, str]] = {
    "train": {
        "hot": "cold cool", "big": "small little tiny", "fast": "slow", "happy": "sad unhappy",
        "dark": "light bright", "old": "young new", "full": "empty", "hard": "soft easy",
        "wet": "dry", "loud": "quiet silent soft", "rich": "poor", "tall": "short small",
        "early": "late", "open": "closed close shut", "strong": "weak", "day": "night",
        "up": "down", "left": "right", "love": "hate", "win": "lose loss",
    },
    "test": {
        "good": "bad evil", "clean": "dirty", "high": "low", "thin": "thick fat wide", "true": "false",
        "cheap": "expensive", "begin": "end finish", "inside": "outside", "heavy": "light",
        "brave": "cowardly afraid scared timid fearful coward",
    },
}

DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
MONTHS = (
    "January February March April May June July August September October November December".split()
)

"""Pools of parameters for the prompt families, one for training and one for testing.

No entry of a training pool occurs in the test pool of the same name (a test proves it), so a pass
on a test prompt is never the memory of a training answer. An answer with one of a topic's stems
(`text.mentions_any`) is on that topic.
"""

from typing import Literal

Split = Literal["train", "test"]

TOPICS: dict[Split, dict[str, str]] = {
    "train": {
        "rain": "rain cloud water drop wet weather",
        "bread": "bread flour bake baking dough loaf yeast wheat",
        "bicycles": "bicycl bike biking wheel ride riding rider pedal cycl transport",
        "volcanoes": "volcan lava erupt magma mountain",
        "cats": "cat kitty feline pet kitten purr",
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
        "horses": "horse ride riding rider gallop animal mane",
        "winter": "winter cold snow season",
        "pizza": "pizza cheese crust dough topping italian",
        "airplanes": "airplane plane fly flight aircraft wing air",
        "candles": "candle wax flame light wick burn",
        "frogs": "frog amphib jump pond",
        "deserts": "desert sand dry hot arid",
        "umbrellas": "umbrella rain wet dry",
        "shoes": "shoe feet foot wear walk",
        "spiders": "spider web leg arachnid",
        "dancing": "danc music move moving movement rhythm",
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
        "stars": "stars starr starlight sky night light shin",
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
        "fruits",
        "animals",
        "colors",
        "countries",
        "sports",
        "vegetables",
        "cities",
        "drinks",
        "jobs",
        "birds",
        "flowers",
        "tools",
        "languages",
    ),
    "test": ("musical instruments", "insects", "pieces of furniture", "desserts", "trees", "fish"),
}

# (a word that the answer must not use, stems of the topic) by topic: the obvious word is barred.
BARRED: dict[Split, dict[str, str]] = {
    "train": {
        "rain": "water",
        "cats": "animal",
        "honey": "sweet",
        "trees": "green",
        "snow": "cold",
        "libraries": "books",
        "coffee": "drink",
        "rivers": "water",
        "music": "sound",
        "elephants": "large",
        "bicycles": "wheels",
        "bread": "food",
        "trains": "travel",
        "chess": "game",
        "winter": "cold",
        "pizza": "cheese",
        "teachers": "students",
        "sleep": "rest",
        "football": "sport",
        "gardens": "plants",
    },
    "test": {
        "bees": "insects",
        "dogs": "pets",
        "books": "read",
        "stars": "light",
        "the ocean": "sea",
        "summer": "hot",
        "pianos": "keys",
        "apples": "fruit",
        "tennis": "ball",
        "doctors": "health",
    },
}

WORDS: dict[Split, tuple[str, ...]] = {
    "train": (
        "garden",
        "letter",
        "river",
        "music",
        "window",
        "kitchen",
        "doctor",
        "winter",
        "horse",
        "market",
        "bridge",
        "teacher",
        "candle",
        "silver",
        "quiet",
        "dream",
    ),
    "test": ("forest", "pencil", "island", "dinner", "mountain", "piano", "golden", "brave"),
}

PEOPLE: dict[Split, tuple[str, ...]] = {
    "train": (),  # only the family that is never trained on has people
    "test": ("brother", "colleague", "grandmother", "roommate", "uncle", "sister"),
}

ACTIVITIES: dict[Split, tuple[str, ...]] = {
    "train": (
        "running",
        "cooking",
        "drawing",
        "saving money",
        "sleeping well",
        "learning English",
        "gardening",
        "swimming",
        "studying",
        "public speaking",
        "baking bread",
        "writing stories",
        "taking photos",
        "job interviews",
        "playing the guitar",
        "hiking",
        "waking up early",
        "making friends",
    ),
    "test": (
        "dancing",
        "chess",
        "time management",
        "healthy eating",
        "singing",
        "long flights",
        "painting walls",
        "reading faster",
        "camping",
        "learning Spanish",
    ),
}

OPENERS: dict[Split, tuple[str, ...]] = {
    "train": ("I like", "My", "In the", "When", "Every day"),
    "test": ("People", "I love", "Many"),
}

SENTENCES: dict[Split, tuple[str, ...]] = {
    "train": (
        "The cat is sleeping on the sofa.",
        "My brother plays the violin on Sundays.",
        "We will meet at the station at noon.",
        "The train leaves in ten minutes.",
        "She bought a red umbrella yesterday.",
        "Our dog likes to swim in the lake.",
        "There is fresh bread in the kitchen.",
        "He forgot his keys at the office.",
        "The museum is closed on Monday.",
        "I need two tickets for the concert.",
        "Birds sing early in the morning.",
        "The soup needs a little more salt.",
    ),
    "test": (
        "The children are playing in the park.",
        "My phone battery is almost empty.",
        "They painted the old house blue.",
        "Dinner will be ready at seven.",
        "The river froze during the winter.",
        "Please water the plants every week.",
    ),
}

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

WORDS: dict[Split, tuple[str, ...]] = {
    "train": tuple(
        "garden letter river music window kitchen doctor winter horse market bridge teacher "
        "candle silver quiet dream".split()
    ),
    "test": tuple("forest pencil island dinner mountain piano golden brave".split()),
}

PEOPLE: dict[Split, tuple[str, ...]] = {
    "train": ("neighbor", "teacher", "aunt", "boss", "doctor", "best friend", "coach", "cousin"),
    "test": ("brother", "colleague", "grandmother", "roommate", "uncle", "sister"),
}

GIFTS: dict[Split, tuple[str, ...]] = {
    "train": ("book", "cake", "scarf", "plant", "mug", "puzzle"),
    "test": ("hat", "lamp", "painting", "watch"),
}

ACTIVITIES: dict[Split, tuple[str, ...]] = {
    "train": tuple(
        "running,cooking,drawing,saving money,sleeping well,learning English,gardening,swimming,"
        "studying,public speaking,baking bread,writing stories,taking photos,job interviews,"
        "playing the guitar,hiking,waking up early,making friends".split(",")
    ),
    "test": tuple(
        "dancing,chess,time management,healthy eating,singing,long flights,painting walls,"
        "reading faster,camping,learning Spanish".split(",")
    ),
}

COLORS: dict[Split, dict[str, str]] = {
    "train": {
        "a banana": "yellow green", "grass": "green", "snow": "white", "a fire truck": "red",
        "the sky on a clear day": "blue", "coal": "black", "a carrot": "orange", "milk": "white",
        "a strawberry": "red", "a lemon": "yellow", "chocolate": "brown", "an elephant": "gray grey",
    },
    "test": {
        "blood": "red", "a tomato": "red", "a frog": "green", "the sun": "yellow orange white gold golden",
        "salt": "white", "a tree trunk": "brown", "a raven": "black", "the ocean": "blue",
    },
}

CLASSES: dict[Split, dict[str, list[list[str]]]] = {
    "train": {
        "a fruit|a vegetable|an animal": [
            ["a banana", "a pear", "a grape"], ["a carrot", "spinach", "broccoli"],
            ["a horse", "a cow", "a lion"],
        ],
        "a color|a number|a day": [
            ["blue", "red", "green"], ["seven", "twelve", "forty"], ["Monday", "Friday", "Sunday"],
        ],
        "a city|a country": [["Paris", "Tokyo", "London"], ["Brazil", "Japan", "Egypt"]],
    },
    "test": {
        "a bird|a fish|an insect": [
            ["an eagle", "a parrot"], ["a salmon", "a trout"], ["an ant", "a mosquito"],
        ],
        "a tool|a drink|a sport": [
            ["a hammer", "a saw"], ["lemonade", "tea"], ["hockey", "tennis"],
        ],
    },
}

REVIEWS: dict[Split, dict[str, list[str]]] = {
    "train": {
        "positive": [
            "I love this phone.", "Great food and friendly staff.", "Best movie I have seen.",
            "The room was clean and cozy.", "Works perfectly every time.", "My kids adore this toy.",
            "Fast delivery, very happy.",
        ],
        "negative": [
            "It broke after one day.", "The soup was cold and salty.", "I want my money back.",
            "The worst hotel ever.", "Boring and far too long.", "The staff was rude to us.",
            "This chair is a waste of money.",
        ],
    },
    "test": {
        "positive": [
            "What a wonderful concert!", "The shoes fit like a dream.", "I would buy it again.",
            "Excellent service at a fair price.",
        ],
        "negative": [
            "The screen cracked at once.", "I fell asleep, so dull.", "Terrible taste, never again.",
            "They never answered my calls.",
        ],
    },
}

LIVE: dict[Split, tuple[str, ...]] = {
    "train": (
        "What time is it right now?",
        "What is the weather like at my house today?",
        "Who will win the lottery tomorrow?",
        "What will the price of gold be next year?",
        "What was on the news this morning?",
        "How many people are online at this moment?",
        "What is the traffic like on my street now?",
        "Will it rain on my wedding day?",
        "Which team will win the next World Cup?",
        "How many emails are in my inbox?",
    ),
    "test": (
        "What is the temperature outside my window?",
        "Who will be president in fifty years?",
        "What is the stock market doing at this minute?",
        "What will I have for dinner next Friday?",
        "Is my train late today?",
    ),
}

PRIVATE: dict[Split, tuple[str, ...]] = {
    "train": (
        "What did I eat for breakfast today?",
        "What number am I thinking of?",
        "What is my sister's name?",
        "What color is my front door?",
        "How many coins are in my pocket?",
        "Where did I park my car?",
        "What is my neighbor's phone number?",
        "What is my bank password?",
        "What did my boss say to me yesterday?",
        "How old is my best friend?",
    ),
    "test": (
        "What is my favorite song?",
        "How tall is my uncle?",
        "Which book is on my desk?",
        "What did I dream last night?",
        "What is my home address?",
    ),
}

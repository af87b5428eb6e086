"""How the families about form ask: six wordings for training, three or more for testing."""

from notus.feedback.topics import Split

WORDINGS: dict[str, dict[Split, tuple[str, ...]]] = {
    "word_limit": {
        "train": (
            "Describe {topic} in at most {limit} words.",
            "In {limit} words or fewer, tell me about {topic}.",
            "Tell me about {topic}. Use no more than {limit} words.",
            "Write about {topic} with a maximum of {limit} words.",
            "Explain {topic} to a child in {limit} words or less.",
            "{limit} words at most: what would you say about {topic}?",
        ),
        "test": (
            "Say what you know about {topic}, but stay under {above} words.",
            "Sum up {topic} in a maximum of {limit} words.",
            "What comes to mind about {topic}? Limit yourself to {limit} words.",
        ),
    },
    "one_sentence": {
        "train": (
            "Describe {topic} in one short sentence.",
            "Tell me about {topic} in exactly one sentence.",
            "Write a single short sentence about {topic}.",
            "Give me one sentence on {topic}, no more.",
            "Using only one short sentence, explain {topic}.",
            "Answer in one sentence: why do people care about {topic}?",
        ),
        "test": (
            "What is special about {topic}? Reply with a single sentence.",
            "I only have time for one sentence about {topic}.",
            "Sum up {topic} for me in a one-sentence answer.",
        ),
    },
    "two_sentences": {
        "train": (
            "Describe {topic} in no more than two short sentences.",
            "Write at most two short sentences about {topic}.",
            "Tell me about {topic} in one or two sentences.",
            "Give me two brief sentences on {topic}, not more.",
            "In one or two short sentences, explain {topic}.",
            "What do you know about {topic}? Two sentences at most.",
        ),
        "test": (
            "Introduce {topic} with two brief sentences at the most.",
            "Sum up {topic} in just a sentence or two.",
            "I want to hear about {topic}, but only two sentences or less.",
        ),
    },
    "no_commas": {
        "train": (
            "Describe {topic} in one short sentence without commas.",
            "Write a sentence about {topic}. Do not use commas.",
            "No commas allowed: tell me about {topic} in one sentence.",
            "Use no commas and write a short sentence about {topic}.",
            "Say one thing about {topic}, but never use a comma.",
            "Avoid commas and explain {topic} in a simple sentence.",
        ),
        "test": (
            "Share a brief description of {topic} that has no comma in it.",
            "Your reply must be comma-free. Talk about {topic} in a sentence.",
            "In a sentence, introduce {topic}; leave out every comma.",
        ),
    },
    "exclude_word": {
        "train": (
            "Describe {topic} in one short sentence without the word '{barred}'.",
            "Tell me about {topic} in a sentence, but never say '{barred}'.",
            "Write one sentence about {topic}. Do not use the word '{barred}'.",
            "Avoid the word '{barred}' and describe {topic} in a short sentence.",
            "Explain {topic} in a sentence and leave out the word '{barred}'.",
            "Give me a short sentence about {topic} that does not contain '{barred}'.",
        ),
        "test": (
            "Say something short about {topic}; '{barred}' is not allowed.",
            "One sentence on {topic}, please. The word '{barred}' must not appear.",
            "Without saying '{barred}', tell me one thing about {topic}.",
        ),
    },
    "include_word": {
        "train": (
            "Write one short sentence with the word '{word}'.",
            "Use '{word}' in a short sentence.",
            "Make a short sentence that contains '{word}'.",
            "Put the word '{word}' into a simple sentence.",
            "One sentence, please, with '{word}' in it.",
            "Write a short sentence. It must include '{word}'.",
        ),
        "test": (
            "Build a brief sentence around the word '{word}'.",
            "Can you show me '{word}' in a short sentence?",
            "Give me a sentence in which '{word}' appears.",
        ),
    },
    "include_two": {
        "train": (
            "Write one short sentence with the words '{first}' and '{second}'.",
            "Use '{first}' and '{second}' together in one short sentence.",
            "Make a short sentence that contains both '{first}' and '{second}'.",
            "Put the words '{first}' and '{second}' into a single sentence.",
            "One sentence, please, with '{first}' and '{second}' in it.",
            "Write a short sentence. It must include '{first}' and '{second}'.",
        ),
        "test": (
            "Build a brief sentence around the two words '{first}' and '{second}'.",
            "Can you join '{first}' and '{second}' in one short sentence?",
            "Give me a sentence in which '{first}' and '{second}' both appear.",
        ),
    },
    "quoted": {
        "train": (
            "Write a catchy slogan for {topic}, in quotes.",
            "Write an advertising slogan for {topic} in double quotes.",
            "Write a marketing slogan for {topic}, in double quotes.",
            "Write a title for a song about {topic}, in double quotes.",
            "Write a catchy slogan for {topic}, in quotation marks.",
            "Make up an advertising slogan for {topic} in quotation marks.",
        ),
        "test": (
            "Write a tagline for {topic}, in quotes.",
            "Write a brand name for a firm that sells {topic}, in quotes.",
            "Invent a slogan for {topic}, in double quotes.",
        ),
    },
    "question": {
        "train": (
            "Ask me one short question about {topic}.",
            "Write one quiz question about {topic}, without the answer.",
            "Write a short question about {topic} for my students.",
            "What would you ask an expert on {topic}? Write one question.",
            "Give me one simple question on {topic}.",
            "Turn {topic} into a short question. Do not answer it.",
        ),
        "test": (
            "I like {topic}. Ask me a single question about that.",
            "Think of a question about {topic} and write only the question.",
            "Which question could a child ask about {topic}? Just one, please.",
        ),
    },
    "numbered": {
        "train": (
            "Give me a numbered list of {count} {group}, names only.",
            "List {count} {group}, numbered, one word each.",
            "Write a short numbered list of {count} {group}.",
            "Name {count} {group} in a numbered list without explanations.",
            "A numbered list of exactly {count} {group}, please. Short names only.",
            "Name {count} {group}. Number them and add nothing else.",
        ),
        "test": (
            "Rank {count} {group} as a plain numbered list.",
            "I want {count} {group}, each with its number in front. Just names.",
            "Count off {count} {group} in a numbered list, one name a line.",
        ),
    },
    "greeting": {
        "train": (),
        "test": (
            "Write a short, cheerful birthday message to my {person}, ending with '!'.",
            "Wish my {person} a happy birthday in one excited sentence.",
            "Write a happy birthday greeting for my {person}. End with an exclamation mark.",
            "Congratulate my {person} on a birthday in one sentence with an exclamation mark.",
        ),
    },
    "tip": {
        "train": (
            "Give me one short tip for {activity}.",
            "What is the most important advice for {activity}? One short sentence.",
            "I am new to {activity}. Give me a single tip in one sentence.",
            "Share one piece of advice on {activity} in under 20 words.",
            "One tip about {activity}, please, in a short sentence.",
            "Tell me in one sentence how to get better at {activity}.",
        ),
        "test": (
            "If you could give just one hint for {activity}, what would it be? Be brief.",
            "My friend starts {activity} today. One sentence of advice, please.",
            "Name the best trick for {activity} in 20 words or less.",
        ),
    },
    "headline": {
        "train": (
            "Write a headline about {topic} in at most {limit} words.",
            "Give me a newspaper headline about {topic}, no more than {limit} words.",
            "Write a title of up to {limit} words for an essay about {topic}.",
            "Suggest one blog title about {topic} with at most {limit} words.",
            "What would be a good title for a talk on {topic}? Maximum {limit} words.",
            "Invent a short name for a museum of {topic}, {limit} words or fewer.",
        ),
        "test": (
            "Name a song about {topic}. The title may have {limit} words.",
            "Create a poster heading for {topic} within {limit} words.",
            "I need a film title about {topic}, {limit} words at the most.",
        ),
    },
    "opener": {
        "train": (
            "Write a sentence about {topic} that starts with '{opener}'.",
            "Write a short sentence about {topic} that begins with '{opener}'.",
            "Start a short sentence about {topic} with '{opener}'.",
            "Write one sentence about {topic}. Begin with '{opener}'.",
            "Write a short sentence starting with '{opener}' about {topic}.",
            "Say something short about {topic}, starting with '{opener}'.",
        ),
        "test": (
            "Give me a sentence on {topic} whose first word is '{opener}'.",
            "One sentence about {topic}, please, with '{opener}' at the beginning.",
            "Let your short sentence about {topic} open with '{opener}'.",
        ),
    },
    "copy": {
        "train": (
            "Repeat this sentence: {sentence}",
            "Repeat after me: {sentence}",
            "Say exactly this: {sentence}",
            "Copy this text: {sentence}",
            "Write down this sentence without changes: {sentence}",
            "Please repeat the following: {sentence}",
        ),
        "test": (
            "Echo this sentence word for word: {sentence}",
            "Type the same sentence again: {sentence}",
            "Reply with exactly these words: {sentence}",
        ),
    },
    "capitals": {
        "train": (
            "Write the word '{word}' in capital letters.",
            "Change '{word}' to upper case letters. Only the word, please.",
            "Write '{word}' in all caps.",
            "Turn '{word}' into capital letters.",
            "Give me '{word}' in block capitals.",
            "How do you write '{word}' in upper case? Only the word.",
        ),
        "test": (
            "Repeat the word '{word}' in capitals.",
            "Shout '{word}': one word, all letters upper case.",
            "Answer with '{word}', every letter capitalized.",
        ),
    },
}

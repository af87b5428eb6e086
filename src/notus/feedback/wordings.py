"""How the prompt families ask: six or more wordings for training, three or more for testing."""

from notus.feedback.topics import Split

WORDINGS: dict[str, dict[Split, tuple[str, ...]]] = {
    "word_limit": {
        "train": (
            "Describe {topic} in at most {limit} words.",
            "In {limit} words or fewer, say something about {topic}.",
            "Tell me about {topic}. Use no more than {limit} words.",
            "Write about {topic} with a maximum of {limit} words.",
            "Explain {topic} to a child in {limit} words or less.",
            "Your answer may have up to {limit} words. Describe {topic}.",
        ),
        "test": (
            "Say what you know about {topic}, but stay under {above} words.",
            "{topic}: sum it up in a maximum of {limit} words.",
            "What comes to mind about {topic}? Limit yourself to {limit} words.",
        ),
    },
    "one_sentence": {
        "train": (
            "Describe {topic} in one short sentence.",
            "Tell me about {topic} in exactly one sentence, please.",
            "Write a single short sentence about {topic}.",
            "Give me one sentence on {topic}, no more.",
            "Using only one short sentence, explain {topic}.",
            "Answer in one sentence: why do people care about {topic}?",
        ),
        "test": (
            "What is special about {topic}? Reply with a single sentence.",
            "I only have time for one sentence about {topic}. Write it.",
            "Sum up {topic} for me in a one-sentence answer.",
        ),
    },
    "two_sentences": {
        "train": (
            "Describe {topic} in exactly two short sentences.",
            "Write two short sentences about {topic}.",
            "Tell me about {topic} in two sentences. Keep them short.",
            "Give me exactly two brief sentences on {topic}.",
            "In two short sentences, explain {topic}.",
            "Answer in two sentences: what do you know about {topic}?",
        ),
        "test": (
            "Introduce {topic} with two brief sentences, not one and not three.",
            "Sum up {topic} in just two short sentences.",
            "I need a pair of short sentences about {topic}.",
        ),
    },
    "bullets": {
        "train": (
            "List exactly {count} {group} as bullet points, names only.",
            "Give me {count} {group}, one per line, each after a dash. Nothing else.",
            "Write a bullet list of {count} {group}. No introduction.",
            "Name {count} {group} in a bulleted list and add no other text.",
            "Only bullet points, please: {count} {group}.",
            "Make a list of {count} {group} with '-' before each name.",
        ),
        "test": (
            "Show me {count} {group} as a dashed list without any introduction.",
            "I want {count} bullets, each with one of these: {group}.",
            "Put {count} {group} into bullet points. Just the list.",
        ),
    },
    "numbered": {
        "train": (
            "Give me a numbered list of {count} {group}, names only.",
            "Number them from 1 to {count}: {group}. Only the list.",
            "List {count} {group}, numbered, with no introduction.",
            "Write {count} {group} as 1., 2., 3. and so on. Nothing else.",
            "Name {count} {group} in a numbered list without explanations.",
            "A numbered list of exactly {count} {group}, please. Short names only.",
        ),
        "test": (
            "Rank {count} {group} as a plain numbered list.",
            "I want {count} {group}, each with its number in front. Just names.",
            "Count off {count} {group} in a numbered list, one name a line.",
        ),
    },
    "comma_list": {
        "train": (
            "Name {count} {group}, separated by commas. Nothing else.",
            "List {count} {group} on one line with commas between them.",
            "Give me {count} {group} as a comma-separated list.",
            "Write only {count} {group}, divided by commas.",
            "{count} {group}, please, in one line separated by commas.",
            "Answer with {count} {group} separated by commas and no other words.",
        ),
        "test": (
            "Which {count} {group} can you name? Put commas between them, no sentence.",
            "Just {count} {group} in a row with commas.",
            "I need {count} {group}, comma-separated, on a single line.",
        ),
    },
    "lowercase": {
        "train": (
            "Describe {topic} in one short sentence using only lowercase letters.",
            "write one sentence about {topic}. do not use any capital letters.",
            "Tell me about {topic} in a short sentence, all in lowercase.",
            "Use no capital letters at all: one short sentence about {topic}.",
            "In all lowercase, say something short about {topic}.",
            "Answer entirely in small letters: what do you know about {topic}?",
        ),
        "test": (
            "please reply without capitals: one short fact about {topic}.",
            "Say one thing about {topic}, every letter in lower case.",
            "Your whole reply must be lowercase. Give one short sentence on {topic}.",
        ),
    },
    "uppercase": {
        "train": (
            "Describe {topic} in one short sentence using only capital letters.",
            "WRITE ONE SHORT SENTENCE ABOUT {TOPIC}. USE ONLY CAPITAL LETTERS.",
            "Tell me about {topic} in a short sentence, all in uppercase.",
            "Use no lowercase letters at all: one short sentence about {topic}.",
            "In ALL CAPS, say something short about {topic}.",
            "Answer entirely in capital letters: what do you know about {topic}?",
        ),
        "test": (
            "SHOUT ONE SHORT FACT ABOUT {TOPIC} IN CAPITALS.",
            "Say one thing about {topic}, every letter in upper case.",
            "Your whole reply must be uppercase. Give one short sentence on {topic}.",
        ),
    },
    "starts_with": {
        "train": (
            "Write one sentence about {topic} that starts with the word '{opener}'.",
            "Begin your answer with '{opener}' and say one thing about {topic}.",
            "Tell me a short fact about {topic}. Your first word must be '{opener}'.",
            "Start with '{opener}' and describe {topic} briefly.",
            "Your reply has to open with '{opener}'. Say something short about {topic}.",
            "In one sentence beginning with '{opener}', describe {topic}.",
        ),
        "test": (
            "Use '{opener}' as the very first word of one sentence about {topic}.",
            "What about {topic}? Let your short answer begin with '{opener}'.",
            "Open with the word '{opener}', then tell me one thing about {topic}.",
        ),
    },
    "ends_with": {
        "train": (
            "Write one short sentence about {topic}, then end with '{closer}'",
            "Say something short about {topic} and finish with the words '{closer}'",
            "Describe {topic} in one sentence. The last words must be '{closer}'",
            "Give a short fact about {topic}. End your answer with '{closer}'",
            "Your answer must end with '{closer}' Tell me one thing about {topic}.",
            "Close with '{closer}' after one short sentence about {topic}.",
        ),
        "test": (
            "One short sentence about {topic}, and put '{closer}' at the very end.",
            "Tell me something about {topic} and sign off with '{closer}'",
            "Mention {topic} briefly. Your final words should be '{closer}'",
        ),
    },
    "ends_question": {
        "train": (
            "Say one thing about {topic}, then end with a question for me.",
            "Write one short sentence about {topic} and finish with a question.",
            "Tell me a short fact about {topic}. Then ask me a question about it.",
            "Describe {topic} briefly and end your answer with a question.",
            "Your answer should be short and end with a question. Talk about {topic}.",
            "Give me one sentence on {topic}, followed by one question.",
        ),
        "test": (
            "Share a quick fact about {topic} and close by asking me something.",
            "Let's talk about {topic}: one statement first, one question last.",
            "Mention something about {topic} in a sentence. Finish with a question mark.",
        ),
    },
    "exclamation": {
        "train": (),
        "test": (
            "Say something short about {topic} and end with an exclamation mark.",
            "Write one excited sentence about {topic}!",
            "Write one cheerful sentence about {topic}. It must end with '!'.",
            "Finish with an exclamation point: one short sentence about {topic}.",
        ),
    },
    "include_words": {
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
    "exclude_word": {
        "train": (
            "Describe {topic} in one short sentence without the word '{barred}'.",
            "Tell me about {topic} in a sentence, but never say '{barred}'.",
            "Write one sentence about {topic}. Do not use the word '{barred}'.",
            "Avoid the word '{barred}' and describe {topic} in a short sentence.",
            "The word '{barred}' is forbidden. Say one thing about {topic}.",
            "Explain {topic} briefly and leave out the word '{barred}'.",
        ),
        "test": (
            "Say something short about {topic}; '{barred}' is not allowed.",
            "One sentence on {topic}, please. The word '{barred}' must not appear.",
            "Without saying '{barred}', tell me one thing about {topic}.",
        ),
    },
    "no_commas": {
        "train": (
            "Describe {topic} in two short sentences without any commas.",
            "Write two short sentences about {topic}. Do not use commas.",
            "No commas allowed: tell me about {topic} in two sentences.",
            "Use no commas and write two sentences about {topic}.",
            "Say two things about {topic}, but never use a comma.",
            "Avoid commas in your answer. What do you know about {topic}? Be brief.",
        ),
        "test": (
            "Share a brief description of {topic} that has no comma in it.",
            "Your reply must be comma-free. Talk about {topic} in two sentences.",
            "In two sentences, introduce {topic}; leave out every comma.",
        ),
    },
    "quoted": {
        "train": (
            "Write a short motto about {topic} and put it in double quotes.",
            "Give me a slogan for {topic}, inside quotation marks, nothing else.",
            "Your whole answer must be in double quotes: a short line about {topic}.",
            "Put quotation marks around your whole answer. Say one thing about {topic}.",
            "Wrap one short sentence about {topic} in double quotes.",
            "One short quote about {topic}, please, with quotation marks around it.",
        ),
        "test": (
            "Invent a saying about {topic}. Start and end your reply with a double quote.",
            "Answer between quotation marks only: one short remark on {topic}.",
            "A title for a story about {topic}, in double quotes, and no other text.",
        ),
    },
    "opposite": {
        "train": (
            "What is the opposite of '{word}'? Answer with one word.",
            "Give the opposite of '{word}' in a single word.",
            "One word only: the opposite of '{word}'.",
            "Which word means the opposite of '{word}'? Reply with that word only.",
            "Opposite of '{word}'? Just one word, please.",
            "Name the antonym of '{word}'. Use one word.",
        ),
        "test": (
            "Tell me the antonym of '{word}', one word and nothing more.",
            "If something is not '{word}', it is ... Complete with one word.",
            "I say '{word}', you say its opposite in one word.",
        ),
    },
    "yes_no": {
        "train": (
            "Is {left} greater than {right}? Answer only yes or no.",
            "Answer with yes or no: is {left} a bigger number than {right}?",
            "Yes or no, nothing else: {left} is more than {right}.",
            "Is it true that {left} is larger than {right}? Say only yes or no.",
            "Reply with one word, yes or no. Is {left} above {right}?",
            "Just yes or no: does {left} come after {right} when you count?",
        ),
        "test": (
            "Does {left} exceed {right}? One word, yes or no.",
            "Tell me yes or no only: {left} beats {right} in size.",
            "True or not: {left} > {right}. Answer yes or no.",
        ),
    },
    "addition": {
        "train": (
            "What is {left} + {right}? Answer with the number only.",
            "Add {left} and {right}. Give only the result.",
            "{left} plus {right} equals what? Just the number.",
            "Only the number, please: {left} + {right} =",
            "Compute the sum of {left} and {right}. Reply with a number.",
            "I have {left} coins and get {right} more. How many now? Number only.",
        ),
        "test": (
            "How much is {left} and {right} together? One number.",
            "Sum: {left} + {right}. No words, just the result.",
            "Find {left} plus {right} and tell me the total as a bare number.",
        ),
    },
    "larger": {
        "train": (
            "Which number is larger, {left} or {right}? Answer with the number only.",
            "Give only the bigger number: {left}, {right}.",
            "Pick the larger of {left} and {right}. Number only.",
            "{left} or {right}: which is more? Reply with one number.",
            "Tell me the greater number, {left} or {right}. Nothing else.",
            "Of {left} and {right}, the bigger one is? Just the number.",
        ),
        "test": (
            "Between {left} and {right}, name the higher number and nothing more.",
            "Choose the greater: {left} / {right}. Answer with a bare number.",
            "What is the maximum of {left} and {right}? One number.",
        ),
    },
    "counting": {
        "train": (
            "How many words are in this list: {items}? Answer with the number only.",
            "Count the items: {items}. Give only the number.",
            "{items} - how many are these? Just the number.",
            "Number only: how many things are listed here? {items}",
            "Count these and reply with a single number: {items}.",
            "My list is {items}. How many entries has it? One number.",
        ),
        "test": (
            "Here you see {items}. State how many, as one number.",
            "I own the following: {items}. How many is that? Number, no words.",
            "Tell me the count of these as a bare number: {items}.",
        ),
    },
    "sort_numbers": {
        "train": (
            "Sort from smallest to largest: {items}. Only the numbers.",
            "Put these numbers in increasing order: {items}. Nothing else.",
            "Write {items} in ascending order, separated by commas.",
            "Order these numbers from low to high: {items}. List only.",
            "Arrange {items} from smallest to biggest. Numbers only.",
            "Sorted upwards, what is {items}? Give just the list.",
        ),
        "test": (
            "Rank these from the lowest to the highest: {items}. Only numbers.",
            "Bring {items} into rising order and write nothing else.",
            "Smallest first, then up: {items}. Reply with the list.",
        ),
    },
    "sequence": {
        "train": (
            "Which {kind} comes right after {word}? Answer with one word.",
            "Name the {kind} after {word}. One word only.",
            "What {kind} follows {word}? Just the name.",
            "{word} is over. Which {kind} is next? One word.",
            "Tell me the next {kind} after {word}, nothing else.",
            "If this {kind} is {word}, the next {kind} is? One word.",
            "Complete with one {kind}: first {word}, then",
            "Only one word: the {kind} that comes after {word}.",
        ),
        "test": (
            "It is {word} now; give the {kind} that follows in a single word.",
            "After {word}, which {kind} begins? Name it and stop.",
            "Next {kind} after {word}? Reply with its name alone.",
            "Say the {kind} directly behind {word}. A single word.",
        ),
    },
    "unknowable": {
        "train": (
            "{question} Answer in one short sentence.",
            "Please tell me: {lower}",
            "{question} Be brief.",
            "I need to know this: {lower}",
            "Quick question: {lower}",
            "{question} Reply in one sentence.",
        ),
        "test": (
            "Do tell: {lower}",
            "{question} A short reply, please.",
            "One more thing: {lower} Keep it short.",
        ),
    },
    "json": {
        "train": (
            'Answer only with JSON like {{"name": "...", "color": "..."}} for {thing}.',
            'Give me JSON with the keys "name" and "color" for {thing}. Only JSON.',
            'Fill in for {thing}: {{"name": ..., "color": ...}}. Reply with the JSON only.',
            'Describe {thing} as a JSON object with "name" and "color".',
            'Write a JSON object (keys "name", "color") about {thing}. No other text.',
            'Return {{"name": "", "color": ""}} filled in for {thing}.',
        ),
        "test": (
            'One JSON object, keys "name" and "color", for {thing}. Nothing around it.',
            'I need {thing} as JSON: "name" and "color" only.',
            'Put {thing} into a JSON object that has a "name" and a "color".',
        ),
    },
}

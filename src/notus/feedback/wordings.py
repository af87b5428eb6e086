"""How the prompt families ask: six or more wordings for training, three or more for testing."""

from notus.feedback.topics import Split

WORDINGS: dict[str, dict[Split, tuple[str, ...]]] = {
    "word_limit": {
        "train": (
            "Describe {topic} in at most {limit} words.",
            "In {limit} words or fewer, tell me about {topic}.",
            "Tell me about {topic}. Use no more than {limit} words.",
            "Write about {topic} with a maximum of {limit} words.",
            "Explain {topic} to a child in {limit} words or less.",
            "What are {topic} good for? Stay within {limit} words.",
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
            "Write a short motto about {topic} and put it in double quotes.",
            "Give me a slogan for {topic}, inside quotation marks, nothing else.",
            "Write a short slogan about {topic} in quotation marks.",
            "Write a title for a book about {topic}, in quotation marks.",
            "Give me a short saying about {topic} in double quotes.",
            "One short quote about {topic}, please, with quotation marks around it.",
        ),
        "test": (
            "Invent a saying about {topic}. Start and end your reply with a double quote.",
            "Answer between quotation marks only: one short slogan for {topic}.",
            "A title for a story about {topic}, in double quotes, and no other text.",
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
    "opener": {
        "train": (
            "Write one sentence of a story about {topic}. Start with '{opener}'.",
            "Begin with '{opener}' and write a short sentence about {topic}.",
            "Write a short sentence about {topic} that starts with '{opener}'.",
            "Start a tale about {topic} with '{opener}'. One sentence only.",
            "'{opener}' is how your sentence about {topic} must start. Keep it short.",
            "Tell a very short story about {topic}. The first words are '{opener}'.",
        ),
        "test": (
            "Open with '{opener}' and give me one sentence of a fairy tale about {topic}.",
            "One sentence about {topic}, please, with '{opener}' at the beginning.",
            "Use '{opener}' as the first words of a brief sentence on {topic}.",
        ),
    },
    "thanks": {
        "train": (
            "Write a one-sentence thank-you note to my {person}.",
            "Thank my {person} for the {gift} in one short sentence.",
            "I got a {gift} from my {person}. Write a very short thank-you message.",
            "Write a thank-you text to my {person} in under 25 words.",
            "My {person} gave me a {gift}. Say thanks for me in one sentence.",
            "Help me thank my {person} for a {gift}, in a short message.",
        ),
        "test": (
            "Put together a tiny thank-you message for my {person}, one sentence.",
            "How do I thank my {person} for the {gift}? Write one short sentence I can send.",
            "Compose a brief note of thanks to my {person} for a {gift}, 25 words at most.",
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
    "addition": {
        "train": (
            "What is {left} + {right}?",
            "Add {left} and {right}.",
            "How much is {left} plus {right}?",
            "What is the sum of {left} and {right}?",
            "I have {left} coins and get {right} more. How many coins do I have now?",
            "Calculate {left} + {right}.",
        ),
        "test": (
            "What do you get when you add {left} to {right}?",
            "{left} + {right} = ?",
            "There are {left} birds and {right} more arrive. What is the total?",
        ),
    },
    "larger": {
        "train": (
            "Which number is larger, {left} or {right}?",
            "Which is bigger: {left} or {right}?",
            "What is the larger number of {left} and {right}?",
            "{left} or {right}: which number is greater?",
            "Tell me the greater number: {left} or {right}.",
            "Of {left} and {right}, which one is more?",
        ),
        "test": (
            "Between {left} and {right}, which number is higher?",
            "Choose the greater of the two numbers {left} and {right}.",
            "What is the maximum of {left} and {right}?",
        ),
    },
    "counting": {
        "train": (
            "How many words are in this list: {items}?",
            "Count the items in this list: {items}.",
            "How many things are these: {items}?",
            "My list is {items}. How many items does it have?",
            "I bought {items}. How many things did I buy?",
            "Here are some things: {items}. How many are there?",
        ),
        "test": (
            "I own the following: {items}. How many is that?",
            "Tell me the number of objects here: {items}.",
            "{items} - how many things do you count?",
        ),
    },
    "sort_numbers": {
        "train": (
            "Sort these numbers from smallest to largest: {items}.",
            "Put these numbers in increasing order: {items}.",
            "Write {items} in ascending order.",
            "Order these numbers from low to high: {items}.",
            "Arrange {items} from smallest to biggest.",
            "Sort the list {items}.",
        ),
        "test": (
            "Rank these from the lowest to the highest: {items}.",
            "Bring the numbers {items} into rising order.",
            "Smallest first: how do you order {items}?",
        ),
    },
    "sequence": {
        "train": (
            "Which {kind} comes right after {word}?",
            "Name the {kind} after {word}.",
            "What {kind} follows {word}?",
            "If this {kind} is {word}, what is the next {kind}?",
            "Tell me the next {kind} after {word}.",
            "What is the {kind} that comes after {word}?",
            "{word} is over. Which {kind} begins now?",
            "Today I learned about {word}. Which {kind} is next?",
        ),
        "test": (
            "It is {word} now. Which {kind} follows?",
            "After {word}, which {kind} begins?",
            "Which {kind} do we have when {word} ends?",
            "What comes directly behind {word} in the calendar, which {kind}?",
        ),
    },
    "opposite": {
        "train": (
            "What is the opposite of '{word}'?",
            "Give the opposite of '{word}'.",
            "Tell me a word that means the opposite of '{word}'.",
            "Which word means the opposite of '{word}'?",
            "What word is the antonym of '{word}'?",
            "Name the antonym of '{word}'.",
        ),
        "test": (
            "Tell me the contrary of '{word}'.",
            "If something is not '{word}', what is it?",
            "I say '{word}'. Say its opposite.",
        ),
    },
    "classify": {
        "train": (
            "Is {thing} {options}?",
            "What is {thing}: {options}?",
            "Choose the right group for {thing}: {options}.",
            "Tell me whether {thing} is {options}.",
            "Would you call {thing} {options}?",
            "Which is right for {thing}: {options}?",
        ),
        "test": (
            "Into which group does {thing} fall: {options}?",
            "Decide for {thing}: {options}.",
            "{options}: which of these is {thing}?",
        ),
    },
    "sentiment": {
        "train": (
            "Is this review positive or negative? '{review}'",
            "'{review}' Is that positive or negative?",
            "Classify this review as positive or negative: '{review}'",
            "Does this sound positive or negative? '{review}'",
            "What is the sentiment of '{review}', positive or negative?",
            "Read this: '{review}' Is the writer's opinion positive or negative?",
        ),
        "test": (
            "A customer wrote '{review}' Positive or negative?",
            "Label the mood of '{review}' as positive or negative.",
            "Decide if this comment is negative or positive: '{review}'",
        ),
    },
    "color": {
        "train": (
            "What color is {thing}?",
            "Which color does {thing} have?",
            "Tell me the color of {thing}.",
            "Name the usual color of {thing}.",
            "If I paint {thing}, which color should I use?",
            "What is the typical color of {thing}?",
        ),
        "test": (
            "A child asks: what color is {thing}?",
            "Which color would you give {thing} in a picture?",
            "Describe the color of {thing} in a word or two.",
        ),
    },
    "live": {
        "train": (
            "{question} Answer in one short sentence.",
            "Please tell me: {lower}",
            "{question}",
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
    "private": {
        "train": (
            "{question} Answer in one short sentence.",
            "Please tell me: {lower}",
            "{question}",
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
}

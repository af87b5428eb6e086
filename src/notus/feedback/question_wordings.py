"""How the families of questions ask: six wordings for training, three for testing."""

from notus.feedback.topics import Split

QUESTION_WORDINGS: dict[str, dict[Split, tuple[str, ...]]] = {
    "addition": {
        "train": (
            "What is {left} + {right}? Answer in one short sentence.",
            "What is {left} plus {right}? Short answer, please.",
            "How much is {left} + {right}? Answer briefly.",
            "Add {left} and {right}. Answer in one short sentence.",
            "{left} + {right} = ? Short answer, please.",
            "Tell me the sum of {left} and {right} in one short sentence.",
        ),
        "test": (
            "Give me the result of {left} + {right} in a short sentence.",
            "What do you get for {left} plus {right}? Keep it short.",
            "Quickly: how much do {left} and {right} make?",
        ),
    },
    "times": {
        "train": (
            "What is {left} times {right}? Answer in one short sentence.",
            "What is {left} times {right}? Short answer, please.",
            "How much is {left} x {right}? Answer briefly.",
            "Multiply {left} by {right}. Answer in one short sentence.",
            "{left} x {right} = ? Short answer, please.",
            "Tell me {left} times {right} in one short sentence.",
        ),
        "test": (
            "Give me the product of {left} and {right} in a short sentence.",
            "What do you get for {left} multiplied by {right}? Keep it short.",
            "Quickly: how much do {left} times {right} make?",
        ),
    },
    "larger": {
        "train": (
            "Which number is larger, {left} or {right}? Answer in one short sentence.",
            "Which is larger, {left} or {right}? Short answer, please.",
            "Is {left} or {right} the larger number? Answer briefly.",
            "{left} or {right}: which number is bigger? One short sentence, please.",
            "Tell me which is greater, {left} or {right}. Keep it short.",
            "Which is more, {left} or {right}? Answer in one short sentence.",
        ),
        "test": (
            "Between {left} and {right}, which number is higher? Be brief.",
            "Name the greater of {left} and {right} in a short sentence.",
            "Quickly: is {left} or {right} the bigger number?",
        ),
    },
    "counting": {
        "train": (
            "How many people are {items}? Short answer, please.",
            "How many people: {items}? Answer in one short sentence.",
            "{items} are at the table. How many people is that? Answer briefly.",
            "Count these people: {items}. Short answer, please.",
            "I invited {items}. How many guests are that? One short sentence.",
            "My friends are {items}. How many friends do I have? Keep it short.",
        ),
        "test": (
            "{items} went home. How many people left? A short sentence, please.",
            "The team is {items}. How many members does it have? Be brief.",
            "I met {items}. Tell me quickly how many people I met.",
        ),
    },
    "sort_numbers": {
        "train": (
            "Put these numbers in order: {items}. Short answer, please.",
            "Sort these numbers: {items}. Only write the sorted numbers.",
            "Write {items} in increasing order. Answer briefly.",
            "What is the order of {items} from small to large? Short answer.",
            "Order the numbers {items}, smallest first. One short line.",
            "Sort {items} from smallest to largest. Keep it short.",
        ),
        "test": (
            "Line up {items} from low to high in one short line.",
            "Smallest to biggest, how do {items} go? Be brief.",
            "Rewrite {items} so that they go up. Only the numbers.",
        ),
    },
    "holiday": {
        "train": (
            "In which month is {day}? Answer in one short sentence.",
            "Which month is {day} in? Short answer, please.",
            "Tell me the month of {day}. Answer briefly.",
            "When is {day}? Name the month in one short sentence.",
            "In what month do people celebrate {day}? Short answer, please.",
            "{day} is in which month? Keep it short.",
        ),
        "test": (
            "During which month does {day} take place? Be brief.",
            "Name the month that has {day} in it, in a short sentence.",
            "Quickly: what is the month of {day}?",
        ),
    },
    "capital": {
        "train": (
            "What is the capital of {country}? Answer in one short sentence.",
            "What is the capital of {country}? Short answer, please.",
            "Name the capital of {country}. Answer briefly.",
            "Which city is the capital of {country}? One short sentence, please.",
            "Tell me the capital city of {country}. Keep it short.",
            "The capital of {country} is which city? Short answer.",
        ),
        "test": (
            "From which city is {country} governed? Name the capital in a few words.",
            "Quickly: what is the capital of {country}?",
            "I forgot the capital of {country}. Which city is it? Be brief.",
        ),
    },
    "plural": {
        "train": (
            "What is the plural of '{word}'? Answer in one short sentence.",
            "What is the plural of '{word}'? Short answer, please.",
            "Give me the plural form of '{word}'. Answer briefly.",
            "How do you write the plural of '{word}'? One short sentence, please.",
            "Tell me the plural of '{word}'. Keep it short.",
            "What is '{word}' in the plural? Short answer.",
        ),
        "test": (
            "I have one {word}, you have two ... what? Use the plural of '{word}' briefly.",
            "Quickly: what is the plural of '{word}'?",
            "Turn '{word}' into the plural. Be brief.",
        ),
    },
    "past_tense": {
        "train": (
            "What is the past tense of '{word}'? Answer in one short sentence.",
            "What is the past tense of '{word}'? Short answer, please.",
            "Give me the past tense of '{word}'. Answer briefly.",
            "How do you write the past tense of '{word}'? One short sentence, please.",
            "Tell me the past tense of '{word}'. Keep it short.",
            "What is '{word}' in the past tense? Short answer.",
        ),
        "test": (
            "Today I {word}. Which past tense form would I use for yesterday? Be brief.",
            "Quickly: what is the past tense of '{word}'?",
            "Put the verb '{word}' into the past tense in a few words.",
        ),
    },
    "opposite": {
        "train": (
            "What is the opposite of '{word}'? Answer in one short sentence.",
            "What is the opposite of '{word}'? Short answer, please.",
            "Give me the opposite of '{word}'. Answer briefly.",
            "Which word means the opposite of '{word}'? One short sentence, please.",
            "Tell me the opposite of '{word}'. Keep it short.",
            "What is the antonym of '{word}'? Short answer.",
        ),
        "test": (
            "Name the contrary of '{word}' in a few words.",
            "Quickly: what is the opposite of '{word}'?",
            "Which word is the reverse of '{word}'? Be brief.",
        ),
    },
    "private": {
        "train": (
            "Tell me {fact}. If you cannot know it, say 'I do not know'.",
            "Answer 'I do not know' if you cannot tell {fact}.",
            "Do you have personal information such as {fact}? Answer in one sentence.",
            "Do you have any information about {fact}? Answer in one sentence.",
            "Can you find out {fact} without my help? Answer in one sentence.",
            "Is {fact} known to you? Answer in one sentence.",
        ),
        "test": (
            "Are you able to tell me {fact}? Reply in a single sentence.",
            "If you cannot tell me {fact}, admit it.",
            "Do you know {fact}, or do you not know it? One short sentence.",
        ),
    },
    "powers": {
        "train": (
            "Can you {deed}? Answer in one sentence.",
            "Can you {deed}? Short answer, please.",
            "Are you able to {deed}? Answer in one sentence.",
            "Please {deed}. Answer in one short sentence.",
            "Could you {deed} for me? One sentence, please.",
            "Tell me in one short sentence whether you can {deed}.",
        ),
        "test": (
            "Is it possible for you to {deed}? Be brief.",
            "I want you to {deed}. Reply in a sentence.",
            "Be honest: can you {deed}? Keep it short.",
        ),
    },
}

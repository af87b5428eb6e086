"""Published marginals of UltraFeedback, all 255,865 completions, as constants.

Source: a third party's audit of openbmb/UltraFeedback, one row a completion, kept as
`uf_full_dataset_stats.json`; a test compares each number with that file. What the file does not
hold is marked "fitted" or "assumed" here.
"""

ROWS = 63_967
COMPLETIONS = 255_865
EMPTY = 253
INSTRUCTIONS = 63_928
"""Distinct ones; the other 39 rows repeat one."""

SOURCES = {
    "sharegpt": 79691,
    "flan_v2_niv2": 61926,
    "evol_instruct": 39989,
    "ultrachat": 39701,
    "flan_v2_cot": 11994,
    "false_qa": 9356,
    "flan_v2_p3": 7711,
    "truthful_qa": 3244,
    "flan_v2_flan2021": 2000,
}
"""Completions with text by source."""

MEAN_OVERALL = {
    "flan_v2_p3": 6.442,
    "flan_v2_flan2021": 6.349,
    "flan_v2_niv2": 5.512,
    "false_qa": 6.818,
    "sharegpt": 6.64,
    "evol_instruct": 6.539,
    "flan_v2_cot": 6.637,
    "truthful_qa": 7.144,
}
"""Mean overall score by source; that of ultrachat follows from the mean of all."""

MODELS = {
    "wizardlm-13b": 16787,
    "llama-2-7b-chat": 16768,
    "vicuna-33b": 16730,
    "ultralm-65b": 16639,
    "llama-2-13b-chat": 16632,
    "wizardlm-7b": 16584,
    "llama-2-70b-chat": 16570,
    "ultralm-13b": 16568,
    "gpt-3.5-turbo": 16561,
    "mpt-30b-chat": 16560,
    "alpaca-7b": 16547,
    "wizardlm-70b": 16518,
    "gpt-4": 16518,
    "falcon-40b-instruct": 16487,
    "starchat": 13977,
    "bard": 8333,
    "pythia-12b": 833,
}
"""Completions with text by model."""

ABILITIES = {
    "gpt-4": 1.5,
    "gpt-3.5-turbo": 1.1,
    "bard": 0.7,
    "wizardlm-70b": 0.7,
    "llama-2-70b-chat": 0.6,
    "vicuna-33b": 0.5,
    "wizardlm-13b": 0.4,
    "llama-2-13b-chat": 0.3,
    "ultralm-65b": 0.1,
    "llama-2-7b-chat": 0.0,
    "wizardlm-7b": -0.1,
    "ultralm-13b": -0.3,
    "mpt-30b-chat": -0.3,
    "falcon-40b-instruct": -0.9,
    "starchat": -1.0,
    "alpaca-7b": -1.4,
    "pythia-12b": -2.5,
}
"""Assumed: no mean by model is published."""

PRINCIPLES = {
    "helpfulness": 160332,
    "truthfulness": 39649,
    "verbalized_calibration": 28279,
    "honesty": 20130,
    "harmlessness": 7222,
}
SYSTEM_PROMPTS = 45

RATINGS = {
    "instruction_following": (29507, 32318, 34764, 64410, 94609),
    "honesty": (24493, 20622, 22207, 61192, 113609),
    "truthfulness": (17166, 20436, 54058, 19910, 144042),
    "helpfulness": (29355, 32144, 57407, 86592, 50114),
}
"""Counts of the ratings 1 to 5."""

NUMERIC = {"instruction_following": 255_611, "honesty": 242_123}
"""Ratings that are numbers, of 255,612; the other two aspects lack none."""
ZEROS = 3
"""Ratings of instruction_following that are 0, a value its scale does not have."""

OVERALL_TOP = {7.0: 45352, 8.0: 37963, 6.0: 31646, 7.5: 30226, 8.5: 29711}
"""Counts of the five most frequent overall scores, as published."""
OVERALL_MEAN = 6.443
OVERALL_SD = 1.973
OVERALL_VALUES = 22
OVERALL_QUANTILES = {
    0.001: 1,
    0.01: 2,
    0.05: 2,
    0.1: 3,
    0.25: 6,
    0.5: 7,
    0.75: 8,
    0.9: 8.5,
    0.95: 8.5,
    0.99: 9,
    0.999: 10,
}
OVERALL = {
    1.0: 1931,
    1.5: 257,
    2.0: 15059,
    2.5: 1536,
    3.0: 13577,
    3.5: 2940,
    4.0: 9754,
    4.5: 2865,
    5.0: 8988,
    5.5: 4510,
    6.0: 31646,
    6.5: 11039,
    7.0: 45352,
    7.5: 30226,
    8.0: 37963,
    8.5: 29711,
    9.0: 7293,
    9.5: 521,
    10.0: 697,
}
"""Fitted: the histogram of half points nearest to a smooth guess (sum of squared relative
differences) that keeps the published counts, mean, standard deviation and quantiles, with the
2,628 scores of 10 of the release that has the parser's bug shared out between 1 and 10."""

FINE_GRAINED_MEAN = 3.713
FINE_GRAINED_SD = 1.152
FINE_GRAINED_VALUES = 26

INSTRUCTION_CHARACTERS = {
    "sharegpt": 260,
    "flan_v2_niv2": 800,
    "evol_instruct": 480,
    "ultrachat": 420,
    "flan_v2_cot": 420,
    "false_qa": 60,
    "flan_v2_p3": 600,
    "truthful_qa": 62,
    "flan_v2_flan2021": 700,
}
RESPONSE_CHARACTERS = {
    "sharegpt": 1300,
    "flan_v2_niv2": 420,
    "evol_instruct": 1400,
    "ultrachat": 1350,
    "flan_v2_cot": 520,
    "false_qa": 480,
    "flan_v2_p3": 380,
    "truthful_qa": 450,
    "flan_v2_flan2021": 420,
}
"""Assumed medians by source: the median of all is near 900, as in 1,000 rows of the binarized
set, where the log of the length has a standard deviation of 1.4."""

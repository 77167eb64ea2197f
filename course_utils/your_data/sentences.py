"""All sentences of the report, each under the key by which a program finds it."""

from typing import NamedTuple

SENTENCES = {
    # ---- what was read
    "read": "{table}: {rows} rows can be used, {lost} cannot: the report says why of each."
    " Label {label!r} with {classes} classes{groups}; modalities: {modalities}.",
    "encoding": "The table was read as {encoding}, because it is not UTF-8.",
    "group_named": "Rows are split by the column {group!r}, which you named.",
    "group_guessed": "Rows are split by the column {group!r}, a guess from its name or form: no"
    " value of it is both in training and in the test. --group names another one, --group none has"
    " each row stand for itself.",
    "no_group": "No column says which rows belong together, so each row stands for itself. If one"
    " person, place or recording gave several rows, all numbers here are too good: name the column"
    " by --group.",
    "unused": "Not used: {columns} (empty, or a name or number that is another in each row).",
    "other_files": "Not used: {column!r}, such as {first!r}: files that end like no picture (.png,"
    " .jpg, .gif, .bmp, .webp, .tif) and no sound (.wav, .flac, .ogg, .mp3, .aif).",
    "gaps": "Not used: {columns}, for its empty cells. The numbers of a row are taken together, and"
    " {lost} rows have some of them and not all. To have it used, fill them, or write words"
    " (light, heavy), of which any may be missing.",
    "text_of_numbers": "The column {column!r} is read as words, because {others} of its {all} cells"
    " are no plain numbers, such as {some}. That 12 is less than 13 is then not seen. Write these"
    " cells as numbers, without a point for thousands, or empty them.",
    "small_encoder": "{kind}: {small} instead of the pretrained encoder, whose scores are better:"
    " {why}",
    # ---- traps
    "small_class": "Too few rows of {few}, expected at least {least}: what is said of these classes"
    " is chance. Collect more, or join classes.",
    "unequal_classes": "{share:.0%} of the rows are {name!r}: always saying so scores as high. Look"
    " at the recall of each class.",
    "alike_classes": "The classes {names} differ in capitals or marks only: are they one?",
    "one_class_groups": "{alike} of the {several} groups with several rows have one class only:"
    " what tells the group tells the class, and a split by rows would reward knowing the group.",
    "name_gives_label": "The label is in the file name: in {column!r}, {way} tells it in"
    " {share:.0%} of the rows (chance {chance:.0%}), for example {example!r}. The models"
    " here see no names; whatever else reads them, such as a sorted list of files, would.",
    "column_gives_label": "The column {column!r} gives the label away: {way} tells it in"
    " {share:.0%} of the rows. Was it written down before the label was known? It is {used}; if"
    " not, remove it from the table.",
    "near_duplicates": "{pairs} pairs of rows have the same or nearly the same {name!r} on two"
    " sides of the first split ({same} of them exactly, {other} with another label), for example"
    " rows {row} and {twin}. {advice}",
    # ---- verdicts
    "score": "{model} is right in {score} % of {held} that it had not seen. Who always says the"
    " most frequent class is right in {majority} %{single}.",
    "too_small": "The test set is too small to tell: {held} were tested, and {what} is {gain}"
    " points. A difference of less than {half:.0f} points cannot be seen with so few.",
    "gain": "There is a gain of {what}: {gain} points, on {held}{wide}.",
    "no_gain": "No gain is seen of {what}: {gain} points, on {held}. More than {most:.0f} points"
    " are not likely.",
    "few_groups": "Only {groups} groups were tested, and with so few the truth may lie further off"
    " than ± says: what counts is the number of groups, not of rows.{more}",
    "noise_modality": "The modality {name!r} is noise, as far as these rows can tell: {numbers}.",
    "unclear_modality": "Whether the modality {name!r} helps cannot be told: {numbers}.",
    "group_leak": "Leak by group: {numbers}. A split by rows would promise what new groups do not"
    " deliver; all other numbers here are split by group.",
    "no_group_leak": "No leak by group is seen: {numbers}.",
    "interaction": "What modalities say together counts: without it {lost} points are lost (EMAP,"
    " the additive part of the model's answers).",
    "no_interaction": "Nothing is seen of modalities that need each other: without what they say"
    " together {lost} points are lost (EMAP, the additive part of the model's answers).",
    "additive": "Whether modalities need each other cannot be seen: on {adding} of {splits} splits"
    " a fusion was chosen that only adds up what each of them says.",
    "exported": "model.pt2 ({model}, which had the lowest loss on the validation rows, trained on"
    " the first split) was written, loaded again and gave"
    " the same probabilities on all rows.",
}


# What the report explains of its words, where they stand in it.
WORDS = {
    "modality": "one kind of input: a column of pictures, sounds or texts, or all columns of"
    " numbers together.",
    "group": "rows that belong together. No group is both learned from and tested.",
    "split": "one division of the rows: about 60 % to learn from, 20 % to choose settings by, the"
    " validation, and 20 % for the test. All is done anew on each split.",
    "±": "about where the truth may lie, 95 times in 100. A difference smaller than its ± may be"
    " chance.",
    "majority": "always saying the class that is most frequent. What is no better has learned"
    " nothing.",
    "best single modality": "the one that did best on the validation rows, chosen before the test;"
    " in the test another may be ahead.",
    "fusion": "a model of several modalities. Late: one model for each, their answers added."
    " Concat: all side by side into one model. Gated: each row says how much each of them counts."
    " The chosen one did best on the validation rows of its split.",
    "shuffled": "a control: a model that learned with this modality dealt out to wrong rows. The"
    " lead over it is what the modality tells.",
    "recall": "of the rows of a class, the share in which the model says so.",
    "encoder": "what turns a picture, a sound or a text into numbers. Pixels and pieces of words"
    " have learned nothing; EfficientNet and MiniLM learned from many pictures and texts.",
    "permuted": "swapped among the test rows, the model left as it is.",
    "Shapley value": "how many points a modality adds, on average over all orders in which"
    " modalities can be added.",
    "interaction index": "above 0, two modalities tell more together than each alone; below 0, they"
    " tell the same.",
    "EMAP": "the model's answers without what it makes of two modalities together.",
}
ADVICE = {
    "text": "A set phrase does that, and is no fault; where a text was copied from row to row, what"
    " is learned by heart counts as learned: give such rows one group.",
    "other": "What is learned by heart then counts as learned: give such rows one group.",
}


class Finding(NamedTuple):
    """A sentence, and its key."""

    key: str
    text: str


def say(key: str, **values) -> Finding:
    return Finding(key, SENTENCES[key].format(**values))


def percent(pair: tuple[float, float]) -> str:
    """A mean and its half-width, in points."""
    return f"{100 * pair[0]:.1f} ± {100 * pair[1]:.1f}"

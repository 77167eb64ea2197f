"""The exam's questions with options. Each function takes a generator and gives the text and the
options; None where it is to be drawn again.
"""

import math

T_FIVE = 2.776  # Student's t for five seeds and 95 %


# ---- choices: (text, [(option, why it is wrong, "" for the right one)]) ----


def by_speaker(draw):
    speakers = draw.choice([12, 16, 20])
    clips = speakers * 100
    share, use = draw.randint(94, 97), draw.randint(58, 66)
    asked = f"""\
{clips:,} clips of {speakers} people, 100 of each, are split at random into training and test. Five
seeds give {share} ± 1 % on the test clips. In use, on new people, the same models have {use} %.
Which change of the experiment would have shown this before?"""
    return asked, [
        ("Split by speaker, and an interval that counts speakers.", ""),
        (
            "Train with twenty seeds in place of five, and a narrower interval.",
            "seeds vary the first weights and the order; the people stay the same.",
        ),
        (
            "A test set of half of the clips, also drawn at random.",
            "more clips of known voices say nothing of new voices.",
        ),
        (
            "A control with the labels shuffled.",
            "it shows whether labels matter at all, and here they do.",
        ),
        (
            "Early stopping on a random tenth of the training clips, against learning by heart.",
            "a random tenth has the same voices: it rises with the test.",
        ),
    ]


def forensics(draw):
    classes, accuracy = 10, draw.randint(35, 60) / 100
    floor = -accuracy * math.log(accuracy)
    floor -= (1 - accuracy) * math.log((1 - accuracy) / (classes - 1))
    below = draw.random() < 0.5
    left = floor - (draw.randint(30, 45) if below else draw.randint(-3, 3)) / 100
    asked = f"""\
One modality alone has {100 * accuracy:.0f} % on {classes} classes. Its cross-entropy on the test
set, after a temperature that was fitted on the *validation* set, is {left:.2f} nats. You suspect
that the pairing with the labels was shuffled for a part of the data. What do you conclude?"""
    cannot = "the floor of shuffled labels at this accuracy"
    options = [
        (
            "Shuffling alone has not made these errors; they may have several causes.",
            "" if below else f"{floor:.2f} is {cannot}, and the cross-entropy lies at it.",
        ),
        (
            "Shuffling may have made these errors; pairs must be looked at by hand.",
            f"{floor:.2f} is {cannot}, and the cross-entropy lies far below." if below else "",
        ),
        (
            "The data were shuffled: no sound modality of ten classes scores so low.",
            "a score alone cannot tell shuffled from noisy.",
        ),
        (
            "Nothing: a cross-entropy says how sure a model is, not what is wrong with its data.",
            "compared with the floor at this accuracy it says what shuffling alone can do.",
        ),
    ]
    return asked, options


def maps(draw):
    largest, spread = draw.randint(50, 60), draw.randint(2, 3)
    found = largest + (draw.randint(15, 25) if draw.random() < 0.5 else draw.randint(-1, 1))
    nothing, centre = draw.randint(8, 12), draw.randint(14, 20)
    anything = draw.randint(28, 35)
    clear = found - spread > largest
    asked = f"""\
Questions about one thing among several in a picture. How often does each point into the box of the
thing that is asked about, with the same tolerance (five seeds; the controls need no model)?

| | hits |
|---|---|
| the attention's largest weight | {found} ± {spread} % |
| any cell | {nothing} % |
| the centre | {centre} % |
| any cell with something in it | {anything} % |
| the largest thing | {largest} % |

What does this table show?"""
    options = [
        (
            "The map finds the asked thing more often than every control; what the answer rests on"
            " stays open.",
            "" if clear else "the largest thing is pointed at as often: that control stands.",
        ),
        (
            "No more than a map that points at the largest thing, whatever is asked.",
            "the map is clearly above the largest thing, too." if clear else "",
        ),
        (
            "The model takes its answer from the cell that the map points at, and would be wrong"
            " without this cell.",
            "where a map points is not what the answer depends on: take the cell away and see.",
        ),
        (
            f"The map is {found / nothing:.0f} times as good as chance, so it looks at what is"
            " asked.",
            "any cell is the weakest of the controls: the strongest one counts.",
        ),
    ]
    return asked, options


def paired(draw):
    ahead = draw.random() < 0.5
    base = [draw.randint(700, 860) / 10 for _ in range(5)]
    size = 0.4 if ahead else 2.2
    lead = [1.2 + size * draw.uniform(-1, 1) for _ in range(5)]
    scores = [round(a + b, 1) for a, b in zip(base, lead)]
    leads = [a - b for a, b in zip(scores, base)]
    mean = sum(leads) / 5
    half = T_FIVE * math.sqrt(sum((one - mean) ** 2 for one in leads) / 4 / 5)
    better = mean > half
    if better != ahead or abs(mean - half) < 0.15:  # drawn again
        return None
    rows = "\n".join(
        f"| {name} | {' | '.join(f'{x:.1f}' for x in row)} |"
        for name, row in (("A", scores), ("B", base))
    )
    asked = f"""\
Two strategies, trained on the same five seeds (same data, same split in each column; accuracy in
%). Student's t for five seeds is {T_FIVE}.

| | seed 0 | seed 1 | seed 2 | seed 3 | seed 4 |
|---|---|---|---|---|---|
{rows}

What is the verdict at 95 %?"""
    inside = f"the differences are {mean:.2f} ± {half:.2f}"
    options = [
        ("A is better.", "" if better else f"{inside}: 0 is in this interval."),
        (
            "It cannot be told which is better.",
            f"{inside}: the seeds differ more than A and B, but they are the same seeds."
            if better
            else "",
        ),
        ("A and B are equal: there is no difference.", "an interval never shows that."),
        ("B is better.", f"{inside}, A minus B."),
    ]
    return asked, options


def balanced(draw):
    gain, epochs = draw.choice([1.5, 2.0, 2.5]), draw.choice([8, 10, 12])
    asked = f"""\
"In joint training the image learns slowly, because the text is ahead. Our balancing slows the text
down. After {epochs} epochs it brings {gain} ± 0.6 points over joint training, five seeds, paired,
both with the learning rate of the original paper." Which control is missing first, before one may
say that *balancing* brings this?"""
    return asked, [
        ("Joint training at a tuned rate, and both at a longer budget.", ""),
        (
            "More seeds, until the interval is narrower.",
            "the interval is clear of 0 already; it is the baseline that may be too weak.",
        ),
        (
            "The share of the gradient that each modality gets, before and after balancing.",
            "a share is measured in units of the features: it may change without any effect.",
        ),
        (
            "The loss of both on the training set, epoch by epoch.",
            "the claim is about the score, and both might train equally badly.",
        ),
        (
            "A larger image encoder.",
            "that is another model: it does not tell what balancing does for this one.",
        ),
    ]


def deleted(draw):
    fall = draw.randint(35, 45)
    asked = f"""\
"Our map explains the model: without the 32 of 64 cells that it names (replaced by the mean cell of
the training pictures), the probability of the answer falls by {fall} points, over five seeds."
Which row must stand beside this number first?"""
    return asked, [
        ("The fall without 32 random cells that have something in them.", ""),
        (
            "The fall without all 64 cells.",
            "that is the most that can be lost, and says nothing of the choice of these 32.",
        ),
        (
            "The fall with the same 32 cells replaced by black in place of the mean.",
            "black is a colour, so another meaning comes in; and the comparison is still missing.",
        ),
        ("The accuracy of the model on these pictures.", "a right model can have a wrong map."),
        (
            "The same map, looked at by several people who know the pictures.",
            "whether a map pleases does not say what the answer depends on.",
        ),
    ]


# ---- sets: (text, [(option, why it is wrong where it is taken or left out, whether it is right)])


def multiplied(draw):
    asked = """\
Text, image and sound say one bit each, t, v and a, all +1 or -1 and equally often, independent if
nothing else is said. A head is linear on the three products t v, t a and v a and a constant, and
trained to its best. Which labels does it get clearly better than by guessing?"""
    return asked, [
        ("whether text and image differ", "their product says just this.", True),
        ("whether image and sound agree", "their product says just this.", True),
        (
            "the text's own bit",
            "turn all three signs: the products stay, and the label turns.",
            False,
        ),
        (
            "whether the number of -1 among the three is odd",
            "a product of all three is asked for, and no sum of products of two is one.",
            False,
        ),
        (
            "a bit that text and image both show, t = v",
            "t v is then always 1; with the sound, which is independent, nothing is added.",
            False,
        ),
    ]


def one_key(draw):
    seen, why = draw.choice(
        [
            ("one single pooled vector of the picture", "with one key the weight is always 1."),
            (
                "three equal copies of one pooled vector of the picture",
                "equal keys get equal weights, and equal values give the same, whatever is asked.",
            ),
        ]
    )
    asked = f"""\
Words ask a picture by cross-attention, without a null key. The picture comes as
{seen}. The layer is
`softmax(X W_q (Y W_k)ᵀ / sqrt(D)) (Y W_v) W_o`, and the loss on its result is far from its minimum.
Which of the five get a gradient that is exactly zero?"""
    speaks = "its part of the result stays in the way to the loss, with a weight that is not 0."
    return asked, [
        ("W_q", why, True),
        ("W_k", why, True),
        ("W_v", speaks, False),
        ("W_o", speaks, False),
        ("the picture's vector Y", "it comes back through the values.", False),
    ]

"""Zero-shot classes out of names. (What keeps vectors on disk: the tests of each encoder.)"""

import re

import pytest
import torch

from course_utils.features import class_vectors

TABLE = {"cat": [3.0, 0.0], "dog": [0.0, 2.0], "a cat.": [0.0, 5.0], "a dog.": [1.0, 1.0]}


def encode(texts):
    return torch.tensor([TABLE[text] for text in texts], dtype=torch.float64)


def test_a_class_is_the_direction_of_its_name():
    found = class_vectors(encode, ["dog", "cat"])
    assert found.tolist() == [[0.0, 1.0], [1.0, 0.0]]


def test_templates_are_averaged_at_length_one():
    found = class_vectors(encode, ["cat", "dog"], ["{}", "a {}."])
    # cat: (1, 0) and (0, 1), however long they were; dog: (0, 1) and (.7, .7)
    half = 0.5**0.5
    dog = torch.tensor([half / 2, (1 + half) / 2], dtype=torch.float64)
    expected = torch.stack([torch.tensor([half, half], dtype=torch.float64), dog / dog.norm()])
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-15)


def test_one_template_may_stand_alone():
    assert torch.equal(
        class_vectors(encode, ["cat"], "a {}."), class_vectors(encode, ["cat"], ("a {}.",))
    )


@pytest.mark.parametrize(
    "names, templates, words",
    [
        ([], ["{}"], "names: expected a list of class names, got []"),
        ("cat", ["{}"], "names: expected a list of class names, got 'cat'"),
        (["cat"], [], "templates: expected texts with one {}, got []"),
        (["cat"], ["a cat."], "templates: expected texts with one {}, got ['a cat.']"),
        (["cat"], ["{} or {}"], "templates: expected texts with one {}"),
    ],
)
def test_bad_names_and_templates(names, templates, words):
    with pytest.raises(ValueError, match=re.escape(words)):
        class_vectors(encode, names, templates)

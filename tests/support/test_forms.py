import math

import pytest

from support.forms import check_form, is_count, is_number, is_share

FORM = {"name": str, "size?": is_count, "rows": [{"share": is_share}], "by": {str: is_number}}
RIGHT = {"name": "a", "size": 3, "rows": [{"share": 0.5, "more": None}], "by": {"x": -1, "y": 2.5}}


def test_a_right_form_passes():
    check_form(RIGHT, FORM)
    check_form({"name": "", "rows": [], "by": {}}, FORM)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"name": 3}, "name is 3"),
        ({"size": -1}, "size is -1"),
        ({"size": True}, "size is True"),
        ({"size": 10**30}, "size is 1000"),
        ({"rows": {}}, "rows is {}"),
        ({"rows": [{"share": 0}, {"share": 2}]}, "share is 2"),
        ({"rows": [{}]}, "share"),
        ({"rows": [[]]}, r"rows is \[\]"),
        ({"by": {"x": math.inf}}, "x is inf"),
        ({"by": {"x": math.nan}}, "x is nan"),
        ({"by": {"x": "1"}}, "x is '1'"),
        ({"by": [1]}, r"by is \[1\]"),
    ],
)
def test_a_wrong_form_is_named(changed, message):
    with pytest.raises((ValueError, KeyError), match=message):
        check_form(RIGHT | changed, FORM)


def test_a_number_of_many_digits_is_no_overflow():
    assert not is_number(10**400)
    assert not is_share(10**400)
    with pytest.raises(ValueError, match="is 1000"):
        check_form(10**400, is_share)

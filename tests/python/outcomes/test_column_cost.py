"""Prices of response columns: what a table keeps of them, and the tables of routers that buy some."""

import numpy as np
import pytest

import headrace as hr

NAN = float("nan")


def table(**changes):
    fields = {
        "models": ["small", "large"],
        "quality": [[1, 0], [0, 1], [1, 1]],
        "cost": [[1, 3], [1, 4], [2, 3]],
        "ids": ["p", "q", "r"],
        "responses": {
            "answer": np.array([["a", "b"], ["c", None], ["d", "e"]], dtype=object),
            "judge": [[0.5, 0.25], [0.125, 0.75], [NAN, 1.0]],
        },
        "column_cost": {"judge": [0.5, 0.25]},
    }
    return hr.Outcomes(**{**fields, **changes})


def test_a_price_is_a_number_one_per_model_or_one_per_run():
    for given in (0.5, [0.5, 0.5], np.full((3, 2), 0.5)):
        assert table(column_cost={"judge": given}).column_cost["judge"].tolist() == [[0.5, 0.5]] * 3


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"verdict": 1.0}, "column_cost: expected response columns, .*; got 'verdict'"),
        ({"judge": -1.0}, "column_cost: 'judge': expected finite numbers >= 0"),
        ({"judge": float("inf")}, "column_cost: 'judge': expected finite numbers >= 0"),
        ({"judge": [1.0, 2.0, 3.0]}, "column_cost: 'judge': expected shape"),
    ],
)
def test_what_is_no_price_is_refused(given, message):
    with pytest.raises(ValueError, match=message):
        table(column_cost=given)
    with pytest.raises(TypeError, match="column_cost: expected a mapping"):
        table(column_cost=["judge"])
    with pytest.raises(TypeError, match="column_cost: 'judge'"):
        table(column_cost={"judge": True})


def test_parts_of_a_table_keep_their_prices():
    prices = [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]
    whole = table(column_cost={"judge": prices})
    assert whole.take([2, 0]).column_cost["judge"].tolist() == [[5.0, 6.0], [1.0, 2.0]]
    assert whole.select(["large"]).column_cost["judge"].tolist() == [[2.0], [4.0], [6.0]]
    assert whole.concat(whole).column_cost["judge"].tolist() == prices * 2
    assert whole.without("judge").column_cost == {}
    assert list(whole.with_only(["judge"]).column_cost) == ["judge"]
    with pytest.raises(ValueError, match="other: expected column_cost"):
        whole.concat(hr.Outcomes(**{n: getattr(whole, n) for n in ("models", "quality", "cost", "ids", "responses")}))


def test_what_is_bought_is_part_of_the_cost_and_the_rest_is_not_seen():
    bought = table().buying("judge")
    assert bought.cost.tolist() == [[1.5, 3.25], [1.5, 4.25]]  # r lacks the small model's
    assert bought.ids == ("p", "q")
    assert list(bought.responses) == ["answer", "judge"]
    assert bought.column_cost == {}
    never = table().buying()
    assert never.cost.tolist() == [[1, 3], [1, 4], [2, 3]]
    assert list(never.responses) == ["answer"]
    free = table(column_cost={})
    assert free.buying() is free


def test_a_run_without_quality_needs_no_signal():
    partial = table(quality=[[1, 0], [0, 1], [NAN, 1]])
    assert partial.buying("judge").ids == ("p", "q", "r")


def test_a_missing_price_is_a_missing_column():
    assert table(column_cost={"judge": [[0.5, NAN], [1, 1], [1, 1]]}).buying("judge").ids == ("q",)


def test_an_object_column_lacks_none_and_nan():
    verdicts = np.array([["good", "bad"], ["bad", None], [NAN, "good"]], dtype=object)
    judged = table(responses={"judge": verdicts})
    assert judged.buying("judge").ids == ("p",)
    with pytest.raises(ValueError, match="columns: no query has 'judge'"):
        table(responses={"judge": np.full((3, 2), NAN)}).buying(["judge"])
    with pytest.raises(ValueError, match=r"columns: expected columns with a price, 'judge'; got 'answer'"):
        table().buying("answer")


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".jsonl"])
def test_prices_outlive_a_file(tmp_path, suffix):
    given = table(column_cost={"judge": [[0.5, 0.25], [0.125, NAN], [1.0, 2.0]]})
    path, again = tmp_path / f"table{suffix}", tmp_path / f"again{suffix}"
    given.save(path)
    read = hr.Outcomes.from_file(path)
    np.testing.assert_array_equal(read.column_cost["judge"], given.column_cost["judge"])
    assert "price:judge" not in read.responses
    read.save(again)
    assert again.read_bytes() == path.read_bytes()


def test_a_price_can_be_named_when_a_log_is_read(tmp_path):
    path = tmp_path / "log.jsonl"
    table(column_cost={}).save(path)
    assert hr.Outcomes.from_file(path, column_cost={"judge": 2}).column_cost["judge"].tolist() == [[2.0, 2.0]] * 3
    with pytest.raises(ValueError, match="column_cost: expected response columns"):
        hr.Outcomes.from_file(path, column_cost={"tests": 2})


def test_a_description_tells_prices_and_how_many_queries_have_the_column():
    said = str(table().describe())
    assert "judge: bought at a mean price of 0.375; 2 of 3 queries have it" in said
    assert "bought" not in str(table(column_cost={}).describe())
    unknown = table(column_cost={"judge": np.full((3, 2), NAN)})
    assert "judge: bought at a mean price of nan; 0 of 3 queries have it" in str(unknown.describe())


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".jsonl"])
def test_a_price_of_the_quality_itself_outlives_a_file(tmp_path, suffix):
    table(column_cost={}).save(tmp_path / f"log{suffix}")
    verified = hr.Outcomes.from_file(tmp_path / f"log{suffix}", verified=True, column_cost={"quality": 0.25})
    verified.save(tmp_path / f"priced{suffix}")
    read = hr.Outcomes.from_file(tmp_path / f"priced{suffix}")
    assert read.column_cost["quality"].tolist() == [[0.25, 0.25]] * 3
    assert read.responses["quality"].tolist() == read.quality.tolist()
    assert "price:quality" not in read.responses
    assert "quality" not in read.buying().responses

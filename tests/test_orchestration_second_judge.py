import pytest
from fakes import fake_front
from scipy.stats import spearmanr

from orchestration import config as configs
from orchestration import second_judge
from orchestration.errors import DataError
from orchestration.files import write_json
from orchestration.members import all_schedules, read_front
from orchestration.second_judge import judge_again, lines, rank_correlation

FRONT = fake_front()


@pytest.fixture
def judged(monkeypatch, tmp_path):
    """The fake front by a judge who halves qualities, but finds the baseline the worst."""
    monkeypatch.setattr(second_judge, "supernet_sha", lambda folder: FRONT["supernet"])

    def score(config, chain, schedules, supernet, run, num_images, plan, say):
        assert chain.to_json() == FRONT["baseline"]["schedule"] and num_images == 300
        found = [{**entry.member, "quality": entry.member["quality"] / 2, "kid": 0.1,
                  "precision": 0.9, "recall": 0.8} for entry in all_schedules(FRONT)]  # fmt: skip
        assert [[step["t"] for step in m["schedule"]["steps"]] for m in found] == [
            [t for t, _ in steps] for steps in schedules
        ]
        found[0]["quality"] = 99.0
        return found, {"quality": "fd_efficientnet_300", "num_images": num_images}

    monkeypatch.setattr(second_judge, "score_schedules", score)
    config = configs.load(None, ["search.budget=1"])
    return judge_again(config, FRONT, tmp_path, None, 300, tmp_path, print)


def test_a_front_judged_again_has_both_qualities_of_every_schedule(judged):
    named = all_schedules(FRONT)
    assert [entry["key"] for entry in judged["schedules"]] == [e.member["key"] for e in named]
    assert [entry["role"] for entry in judged["schedules"]] == [e.role for e in named]
    for entry, before in zip(judged["schedules"][1:], named[1:], strict=True):
        assert entry["quality_before"] == before.member["quality"] == 2 * entry["quality"]
    assert (judged["quality_before"], judged["quality"]) == ("fd_digits_2k", "fd_efficientnet_300")


def test_the_rank_correlation_is_of_the_front_and_of_all(judged):
    spearman, count = judged["spearman"], len(all_schedules(FRONT))
    assert (spearman["num_front"], spearman["num_all"]) == (11, count)
    pairs = [(e["quality_before"], e["quality"]) for e in judged["schedules"]]
    assert spearman["all"] == pytest.approx(spearmanr(*zip(*pairs, strict=True)).statistic)
    ranks = sorted(e["quality_before"] for e in judged["schedules"][:11])
    moved = 10 - ranks.index(judged["schedules"][0]["quality_before"])
    # 1 - 6 sum d^2 / (n (n^2 - 1)): the baseline passes `moved` others, each of which passes it
    expected = 1 - 6 * (moved**2 + moved) / (11 * 120)
    assert spearman["front"] == pytest.approx(expected) and spearman["front"] < 1


def test_what_ranks_nothing_has_no_correlation():
    alike = [{"quality_before": q, "quality": 2.0} for q in (1.0, 3.0)]
    assert rank_correlation(alike) is None
    opposed = [{"quality_before": q, "quality": -q} for q in (1.0, 3.0, 2.0)]
    assert rank_correlation(opposed) == pytest.approx(-1)


def test_what_is_said_has_a_line_a_schedule_and_the_correlations(judged):
    told = lines(judged)
    assert len(told) == 1 + len(judged["schedules"]) + 2
    assert "fd_digits_2k" in told[0] and "fd_efficientnet_300" in told[0]
    assert f"{judged['spearman']['front']:.3f}" in told[-2] and "(11)" in told[-2]


def test_the_front_of_another_supernet_is_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(second_judge, "supernet_sha", lambda folder: "aa")
    with pytest.raises(DataError, match="has sha256 aa, expected the front's, 5e5e"):
        judge_again(None, FRONT, tmp_path, None, 300, tmp_path, print)


def test_what_is_no_front_is_refused(tmp_path):
    write_json(tmp_path / "front.json", FRONT)
    assert read_front(tmp_path / "front.json") == FRONT
    write_json(tmp_path / "front.json", {"format": "step-front/9"})
    with pytest.raises(DataError, match="got format 'step-front/9', expected 'step-front/1'"):
        read_front(tmp_path / "front.json")

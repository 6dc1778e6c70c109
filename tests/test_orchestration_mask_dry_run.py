"""The plan of a mask: data, calls and rounds, as the run then has them."""

from orchestration import config as configs
from orchestration.formats import Header
from orchestration.mask_dry_run import describe_mask
from orchestration.mask_plan import make_chain, plan_budgets
from orchestration.window_formats import WindowHeader

DIGITS = Header("digits", 1797, (1, 8, 8), ("0", "1"))
WEATHER = WindowHeader(
    "weather", ("warm", "cold"), 8, {"train": 100, "validation": 30, "test": 40}, (0.0,) * 2,
    (1.0,) * 2, False, False,
)  # fmt: skip


def plan(header, count, *overrides):
    config = configs.load(None, ["search.budget=1", *overrides])
    chain, budgets = make_chain(config), plan_budgets(config, count)
    return describe_mask(config, header, ["1 is odd"], chain, budgets)


def test_calls_and_rounds_of_images_are_told():
    assert plan(DIGITS, 1797, "mask.steps=[20, 5]", "mask.evaluations=75000") == [
        "data: digits, 1,797 images of 1 x 8 x 8, 2 classes",
        "data: 1 is odd",
        "mask: 20, 5 of 50 steps (respaced), weights frozen, by quality",
        "calls: at most 75,000 network calls x images: 15,000 for the ELBO, in 118 iterations of"
        " 128 images; 60,000 for quality, 30,000 for each number of steps",
        # 22,500 calls in three rounds of 9 x 20; in 13 of 9 x 5, and 15 of the finer schedule
        "rounds: masks of 20 steps on 40 images each; of 5 steps on 28 images each, held against"
        " 15 steps",
        "score: each schedule beside known ones, on 2,000 images",
    ]


def test_samples_of_windows_are_calls():
    values = (
        "data.name=weather", "sampler.clip_sample=false", "search.num_samples=4", "mask.steps=[5]",
        "mask.evaluations=3000", "mask.weights=tuned", "mask.num_images=24", "score.num_images=40",
        "train.batch_size=16", "score.block_size=1", "score.batch_size=4",
    )  # fmt: skip
    data, *_, calls, rounds, score = plan(WEATHER, 100, *values)
    assert data.startswith("data: weather, windows of 2 variables x 8 times: 100 to train")
    assert calls == (
        "calls: at most 3,000 network calls x windows: 600 for weights and the ELBO, in 18"
        " iterations of 16 windows (two calls each); 2,400 for quality"
    )
    assert rounds == "rounds: masks of 5 steps on 10 windows each (4 calls a step of one)"
    assert score.endswith("on 40 windows")


def test_by_the_elbo_alone_there_are_no_rounds():
    lines = plan(DIGITS, 1797, "mask.reward=elbo")
    assert [line.partition(":")[0] for line in lines] == ["data", "data", "mask", "calls", "score"]
    assert "3,594 for the ELBO" in lines[3] and "quality" not in lines[3]

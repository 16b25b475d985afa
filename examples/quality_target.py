"""The least cost for a quality that is kept with 90% confidence: run `python examples/quality_target.py`."""

import headrace as hr

log = hr.datasets.simulate(3_000, 3, rng=1)
fitting, fresh = log.split(0.7)
target = 0.6
for confidence in (None, 0.9):
    router = hr.Router(quality="linear").fit(fitting, quality_target=target, confidence=confidence)
    chosen = hr.evaluate(router, fresh, baselines=["linear interpolation"]).chosen
    said = "in the mean" if confidence is None else f"with {confidence:.0%} confidence"
    quality, cost = chosen.quality.value, chosen.costs["cost"].value
    print(f"at least {target} {said}: {quality:.3f} on fresh queries, for {cost:.5f} a query")
print(router.guarantee_)

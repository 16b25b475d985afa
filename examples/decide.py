"""One query, decided step by step with estimates that you bring: run `python examples/decide.py`."""

import headrace as hr

MODELS = ["small", "medium", "large"]
rule = hr.CascadeRouting(cost_weight=0.5)

# Before any run: what you expect of each model, what it would cost, and how far a run may move the estimate.
quality, cost, variance = [0.60, 0.70, 0.80], [0.01, 0.05, 0.30], [0.09, 0.06, 0.04]
run: list[int] = []
while (decision := rule.select(quality, cost, variance=variance, run=run)).next is not None:
    j = decision.next
    print(f"run {MODELS[j]}; plan: {[MODELS[i] for i in decision.plan]}, tradeoff {decision.tradeoff:.3f}")
    # In real life: run the model and look at its answer. Here every answer turns out a little worse than expected.
    quality[j] -= 0.1
    variance[j] = 0.0
    run.append(j)
best = max(run, key=lambda i: quality[i])
print(f"stop; the answer is that of {MODELS[best]}")

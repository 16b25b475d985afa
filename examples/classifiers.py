"""Three classifiers of scikit-learn, cheap to expensive, under one router: run `python examples/classifiers.py`."""

from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

import headrace as hr

images, digits = load_digits(return_X_y=True)
images /= 16.0
made = {
    "tree": DecisionTreeClassifier(random_state=0),
    "linear": LogisticRegression(),
    "svm": CalibratedClassifierCV(SVC(), ensemble=False),
}
fitted = {name: classifier.fit(images[:500], digits[:500]) for name, classifier in made.items()}
costs = {"tree": 1.0, "linear": 8.0, "svm": 40.0}


def ask(name, query):
    """Ask a classifier: the answer is the class, and how likely it is goes with it."""
    chances = fitted[name].predict_proba([query["image"]])[0]
    return {"answer": int(chances.argmax()), "sure": chances.max(), "cost": costs[name]}


models = {name: lambda query, name=name: ask(name, query) for name in fitted}
queries = [{"image": image} for image in images]
log = hr.Outcomes.collect(
    queries[500:1300], models, references=digits[500:1300], quality=lambda query, got, digit: got["answer"] == digit
)
router = hr.Router(quality="linear").fit(log, budget=15.0)
results = [router.run(query, models) for query in queries[1300:]]

quality = sum(result.answer == digit for result, digit in zip(results, digits[1300:], strict=True)) / len(results)
print(
    f"router: {quality:.1%} right at {sum(result.cost for result in results) / len(results):.1f}; first: {results[0]}"
)
for name, classifier in fitted.items():
    print(f"{name} alone: {classifier.score(images[1300:], digits[1300:]):.1%} right at {costs[name]:g}")

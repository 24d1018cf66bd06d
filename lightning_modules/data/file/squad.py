"""The tree in SQuAD's own files: articles with paragraphs with questions.

    {"version": "v2.0", "data": [{"title": ..., "paragraphs": [{"context": ..., "qas": [
        {"id": ..., "question": ..., "is_impossible": ..., "answers": [
            {"text": ..., "answer_start": ...}]}]}]}]}

A question becomes a row with the columns `id`, `title`, `context`, `question` and `answers`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lightning_modules.error import Problem, Verbatim


def is_squad(value: Any) -> bool:
    """Return whether a JSON value is meant as a SQuAD tree, valid or not."""
    articles = value.get("data") if isinstance(value, dict) else None
    return isinstance(articles, list) and any(
        isinstance(each, dict) and "paragraphs" in each for each in articles
    )


def read_squad(file: str, tree: dict[str, Any]) -> tuple[list[dict[str, Any]], list[Problem]]:
    """Return the questions as rows, in order, and the problems of the tree.

    >>> question = {"id": "1", "question": "Where?", "answers": []}
    >>> paragraph = {"context": "In Oslo.", "qas": [question]}
    >>> read_squad("a.json", {"data": [{"title": "Oslo", "paragraphs": [paragraph]}]})[0]
    [{'id': '1', 'title': 'Oslo', 'context': 'In Oslo.', 'question': 'Where?', 'answers': []}]
    """
    rows: list[dict[str, Any]] = []
    problems: list[Problem] = []
    for row in _questions(file, tree):
        if isinstance(row, Problem):
            problems.append(row)
        else:
            rows.append(row)
    return rows, problems


def _questions(file: str, tree: dict[str, Any]) -> Iterator[dict[str, Any] | Problem]:
    for at, article in _objects(f"{file}:data", tree["data"]):
        if isinstance(article, Problem):
            yield article
            continue
        for place, paragraph in _objects(f"{at}.paragraphs", article.get("paragraphs")):
            if isinstance(paragraph, Problem):
                yield paragraph
                continue
            for where, question in _objects(f"{place}.qas", paragraph.get("qas")):
                if isinstance(question, Problem):
                    yield question
                else:
                    yield _row(where, article, paragraph, question)


def _row(
    where: str, article: dict[str, Any], paragraph: dict[str, Any], question: dict[str, Any]
) -> dict[str, Any] | Problem:
    row = {
        "id": question.get("id"),
        "title": article.get("title"),
        "context": paragraph.get("context"),
        "question": question.get("question"),
    }
    if question.get("is_impossible"):
        if question.get("answers"):
            rule = "a question with is_impossible must have no answers"
            return Problem(where, rule, Verbatim(f"{len(question['answers'])} of them"))
        return {**row, "answers": []}
    # Questions for prediction have no answers yet.
    return {**row, "answers": question["answers"]} if "answers" in question else row


def _objects(where: str, value: Any) -> Iterator[tuple[str, dict[str, Any] | Problem]]:
    """Yield each element of `value`, which must be a list of objects, with its place or problem."""
    if not isinstance(value, list):
        yield where, Problem(where, "must be a list", Verbatim(_named(value)))
        return
    for number, each in enumerate(value):
        place = f"{where}[{number}]"
        is_object = isinstance(each, dict)
        yield place, each if is_object else Problem(place, "must be an object", _named(each))


def _named(value: Any) -> Verbatim:
    return Verbatim("nothing" if value is None else type(value).__name__)

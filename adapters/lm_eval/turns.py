"""Conversations in lm-eval, which asks a model once: after each answer, the user's next turn is sent.

lm-eval passes the model's chat template to a task, a method of the model. That is how a task reaches the model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from value_retention.adapters.lm_eval.answers import AnswerStore
from value_retention.tasks.data import Item
from value_retention.tasks.errors import InputError


@dataclass
class Talk:
    """One conversation.

    Attributes:
        item: The item.
        text: The model's last answer, as it was written.
        turns: The conversation before it, from the question on. Empty for a question alone.
    """

    item: Item
    text: str
    turns: tuple[str, ...] = ()


def require_template(items: Sequence[Item], applied: object) -> None:
    """Refuse conversations without a chat template.

    Raises:
        InputError: an item has further turns, and no template is applied.
    """
    if any(item.turns for item in items) and not applied:
        raise InputError(
            "questions with several turns need a chat template",
            where="lm_eval",
            found="no --apply_chat_template",
            hint="add --apply_chat_template",
        )


def converse(
    talks: Sequence[Talk],
    chat_template: Callable[..., Any],
    system: str | None,
    settings: Mapping[str, Any],
    store: AnswerStore,
    answer_of: Callable[[str], str],
) -> None:
    """Say the further turns of every item, and leave the last answer in each talk.

    Args:
        talks: The conversations, with the first answer.
        chat_template: ``apply_chat_template`` of lm-eval's model.
        system: The system prompt.
        settings: Generation settings of a request.
        store: Where answers are kept, and found again.
        answer_of: From an output to the answer in it.
    """
    from lm_eval.api.instance import Instance

    model: Any = chat_template.__self__  # type: ignore[attr-defined]
    for number in range(max(len(talk.item.turns) for talk in talks)):
        going = [talk for talk in talks if number < len(talk.item.turns)]
        instances = []
        for index, talk in enumerate(going):
            said = talk.turns or (talk.item.question,)
            talk.turns = (*said, answer_of(talk.text), talk.item.turns[number])
            messages = [{"role": "system", "content": system}] if system else []
            messages += [
                {"role": "assistant" if n % 2 else "user", "content": text}
                for n, text in enumerate(talk.turns)
            ]
            arguments = (chat_template(messages), dict(settings))
            instances.append(
                Instance("generate_until", {"id": talk.item.id}, arguments, 0, (talk.item.id, index, 1))
            )
        kept = store.follow_up()
        kept.resume(instances)
        missing = [instance for instance in instances if instance.repeats]
        if missing:
            for instance, text in zip(missing, model.generate_until(missing), strict=True):
                instance.resps.append(text)
        kept.collect(instances)
        for talk, instance in zip(going, instances, strict=True):
            talk.text = instance.resps[0]

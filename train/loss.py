"""The plain loss, from the logits of the tokens that have one. For a model with a large vocabulary on a CPU.

TRL computes its loss (``nll``, once called ``chunked_nll``) in chunks of the vocabulary, which it computes again for
the gradient. That saves memory on a GPU. On a CPU it also scores every prompt token and all padding.
"""

from __future__ import annotations

from typing import Any


def with_plain_loss(trainer_class: Any) -> Any:
    """Return the trainer with the plain loss. It logs neither entropy nor accuracy.

    Args:
        trainer_class: TRL's ``SFTTrainer``.
    """

    class PlainLoss(trainer_class):  # type: ignore[misc]
        def compute_loss(
            self,
            model: Any,
            inputs: dict[str, Any],
            return_outputs: bool = False,
            num_items_in_batch: Any = None,
        ) -> Any:
            """Cross-entropy per token with a label, in nats."""
            from torch.nn.functional import cross_entropy

            labels = inputs["labels"][:, 1:]
            scored = labels != -100
            # The head for the positions that have a label in any row of the batch.
            kept = scored.any(dim=0).nonzero().squeeze(-1)
            given = {name: value for name, value in inputs.items() if name != "labels"}
            outputs = model(**given, logits_to_keep=kept, use_cache=False)
            total = cross_entropy(
                outputs.logits.flatten(0, 1).float(), labels[:, kept].flatten(), reduction="sum"
            )
            loss = total / (scored.sum() if num_items_in_batch is None else num_items_in_batch)
            return (loss, outputs) if return_outputs else loss

    return PlainLoss

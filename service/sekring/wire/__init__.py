"""The bodies of the HTTP API (`/v1`): what clients send and, beside the model, what they get.

Unknown fields are refused, so that a misspelt one is not silently without effect.
"""

from sekring.wire.attempts import (
    AttemptBody,
    Batch,
    BatchAnswer,
    BatchItem,
    BatchResult,
    Outcome,
    OutcomeBody,
)
from sekring.wire.fields import FeedName
from sekring.wire.guard import GuardAnswer, GuardResetBody
from sekring.wire.instances import (
    ForceAnswer,
    ForceBody,
    InstancePage,
    ResetAnswer,
    ResetBody,
    ResetsAnswer,
    ResetsBody,
    TransitionList,
)
from sekring.wire.policies import BuildList, PolicyAnswer, RefusedBuildItem
from sekring.wire.problem import Problem
from sekring.wire.webhooks import (
    Delivery,
    GapNotice,
    WebhookBody,
    WebhookCreated,
    WebhookItem,
    WebhookList,
    WebhookTested,
)

__all__ = [
    "AttemptBody",
    "Batch",
    "BatchAnswer",
    "BatchItem",
    "BatchResult",
    "BuildList",
    "Delivery",
    "FeedName",
    "ForceAnswer",
    "ForceBody",
    "GapNotice",
    "GuardAnswer",
    "GuardResetBody",
    "InstancePage",
    "Outcome",
    "OutcomeBody",
    "PolicyAnswer",
    "Problem",
    "RefusedBuildItem",
    "ResetAnswer",
    "ResetBody",
    "ResetsAnswer",
    "ResetsBody",
    "TransitionList",
    "WebhookBody",
    "WebhookCreated",
    "WebhookItem",
    "WebhookList",
    "WebhookTested",
]

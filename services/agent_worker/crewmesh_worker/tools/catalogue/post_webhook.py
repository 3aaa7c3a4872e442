"""The tool that carries out one action of the approved plan, by a webhook."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import time

from pydantic import BaseModel, Field

from crewmesh_worker.runner import effects
from crewmesh_worker.tools.context import RunContext, current_run
from crewmesh_worker.tools.network.policy import NetworkPolicy
from crewmesh_worker.tools.network.settings import private_network
from crewmesh_worker.tools.registry import ToolError
from crewmesh_worker.tools.triage.plan import PlannedAction, read_plan
from crewmesh_worker.webhooks.sending import Receipt, send
from crewmesh_worker.webhooks.signing import signed_headers

DESCRIPTION = (
    "Carries out one action of the approved plan: posts it to the run's webhook, signed. An action "
    "that isn't in the approved plan can't be carried out, and each is carried out once."
)
SIDE_EFFECTS = True
SECRET_VARIABLE = "WEBHOOK_SECRET"  # noqa: S105 - its name
_PAUSES = (0.5, 2.0)


class Arguments(BaseModel):
    """What the model gives."""

    id: str = Field(description="The id of the message whose action is to be carried out.")


def run(arguments: Arguments) -> str:
    """Return JSON: id, route, webhook_id, status (HTTP)."""
    context = current_run()
    action = _approved(context, arguments.id)
    url = str(context.inputs.get("webhook_url") or "")
    if not url:
        raise ToolError("this run has no webhook: give it one as the input webhook_url")
    secret = os.environ.get(SECRET_VARIABLE, "")
    if not secret:
        raise ToolError(
            "webhooks are signed, and there is no secret: set one for the organisation with "
            f"`crewmesh secrets set {SECRET_VARIABLE}`"
        )
    # The same in every attempt of the run: whoever gets it twice can tell.
    webhook_id = "msg_" + hashlib.sha256(effects.current_key().encode()).hexdigest()[:32]
    event = {"type": "message.triaged", "data": action.model_dump()}
    policy = NetworkPolicy.of(context.policy, private_network=private_network())
    body = json.dumps(event, ensure_ascii=False).encode()
    receipt = _send(url, body, secret, webhook_id, policy)
    if not receipt.delivered:
        answered = f"answered {receipt.status}: " if receipt.status else ""
        raise ToolError(f"the webhook was not delivered: {answered}{receipt.detail[:300]}")
    return json.dumps(
        {
            "id": action.id,
            "route": action.route,
            "webhook_id": webhook_id,
            "status": receipt.status,
        }
    )


def _approved(context: RunContext, message_id: str) -> PlannedAction:
    texts = context.approved_outputs()
    if not texts:
        raise ToolError("no plan has been approved in this run")
    actions = {action.id: action for action in read_plan(texts[-1])}
    if message_id not in actions:
        planned = ", ".join(actions) or "none"
        raise ToolError(f"the approved plan has no action for {message_id!r}; it has: {planned}")
    return actions[message_id]


def _send(url: str, body: bytes, secret: str, webhook_id: str, policy: NetworkPolicy) -> Receipt:
    """Try a few times what may pass."""
    for pause in (*_PAUSES, None):
        headers = signed_headers(secret, webhook_id, int(time.time()), body)
        receipt = asyncio.run(send(url, body, headers, policy))
        if pause is None or not receipt.worth_retrying:
            break
        time.sleep(pause)
    return receipt

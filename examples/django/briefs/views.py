"""The pages. They are asynchronous: a mesh is asked over the network."""

from __future__ import annotations

import uuid

from django.contrib import messages
from django.db import IntegrityError
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import aget_object_or_404, redirect, render
from django.views.decorators.http import require_GET, require_POST

from briefs import crewmesh
from briefs.models import Brief


@require_GET
async def index(request: HttpRequest) -> HttpResponse:
    """List the newest briefs, with a form for another."""
    briefs = [brief async for brief in Brief.objects.all()[:20]]
    return render(request, "briefs/index.html", {"briefs": briefs, "key": uuid.uuid4()})


@require_POST
async def create(request: HttpRequest) -> HttpResponse:
    """Start a crew, and show its page; a form that comes twice leads to the same one."""
    topic = request.POST.get("topic", "").strip()
    if not 0 < len(topic) <= 200:
        messages.error(request, "A topic has 1 to 200 characters.")
        return redirect("index")
    try:
        key = uuid.UUID(request.POST.get("key", ""))
    except ValueError:
        key = uuid.uuid4()
    try:
        brief = await Brief.objects.acreate(topic=topic, key=key)
    except IntegrityError:
        brief = await Brief.objects.aget(key=key)
    if not brief.run_id:
        try:
            await brief.start()
        except crewmesh.CrewmeshUnavailableError as error:
            messages.error(request, f"The brief wasn't started: {error}")
            await brief.adelete()
            return redirect("index")
    return redirect("show", brief_id=brief.pk)


@require_GET
async def show(request: HttpRequest, brief_id: int) -> HttpResponse:
    """Show a brief as it stands."""
    brief = await aget_object_or_404(Brief, pk=brief_id)
    try:
        await brief.refresh()
    except crewmesh.CrewmeshUnavailableError as error:
        messages.warning(request, f"This may be out of date: {error}")
    return render(request, "briefs/show.html", {"brief": brief})


@require_GET
async def progress(request: HttpRequest, brief_id: int) -> StreamingHttpResponse:
    """Pass the run's events on as they come, from where the browser has been."""
    brief = await aget_object_or_404(Brief, pk=brief_id)
    events = crewmesh.follow_run(brief.run_id, request.headers.get("Last-Event-ID", ""))
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingHttpResponse(events, content_type="text/event-stream", headers=headers)


@require_POST
async def cancel(request: HttpRequest, brief_id: int) -> HttpResponse:
    """Have the run ended."""
    brief = await aget_object_or_404(Brief, pk=brief_id)
    try:
        await crewmesh.cancel_run(brief.run_id)
    except crewmesh.CrewmeshUnavailableError as error:
        messages.error(request, f"It wasn't cancelled: {error}")
    return redirect("show", brief_id=brief.pk)

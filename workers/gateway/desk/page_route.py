"""Refusals of a page as a page: people get words and a way on, with the status of the API."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

import structlog
from fastapi import Request
from fastapi.routing import APIRoute
from starlette.responses import Response

from workers.gateway.desk.pages import page
from workers.gateway.desk.visitors import SignInNeeded
from workers.gateway.problems import PROBLEM_KEY, as_problem

_log = structlog.get_logger()


class PageRoute(APIRoute):
    """A route whose problems are shown to people."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """FastAPI's hook around one route."""
        answer = super().get_route_handler()

        async def with_problems_as_pages(request: Request) -> Response:
            try:
                return await answer(request)
            # Whatever it is, the visitor gets a page that says so.
            except Exception as error:
                return _refused(request, error)

        return with_problems_as_pages


def _refused(request: Request, error: Exception) -> Response:
    problem = as_problem(error)
    request.scope[PROBLEM_KEY] = problem.kind
    if problem.status_code >= 500:
        _log.error("request_failed", problem=problem.kind, path=request.url.path, exc_info=error)
    headers = dict(problem.headers or {})
    if isinstance(problem, SignInNeeded):
        return page("sign_in", problem.status_code, headers, next=_here(request), refused="")
    return page("problem", problem.status_code, headers, problem=problem)


def _here(request: Request) -> str:
    """Where to go on after signing in: this page again, if it was one to look at."""
    if request.method != "GET":
        return "/"
    query = request.url.query
    return request.url.path + (f"?{query}" if query else "")

"""Nomad: jobs, nodes and allocations of one cluster, from its API or from dumps of it."""

from collections.abc import Hashable
from typing import Any
from urllib.parse import quote

from assess.sources.base import Asked, Row
from assess.sources.dumps import DumpError
from assess.sources.http import Web
from assess.sources.listing import Found, Listing, ListSource, Pages, Sorted, lose
from assess.sources.nomad.rows import to_batch
from assess.sources.values import dicts, spoiled, text

_DETAILS = {"jobs": ("job", "v1/job/"), "nodes": ("node", "v1/node/")}
_PARAMS = {
    "v1/jobs": {"namespace": "*", "meta": "true"},
    "v1/nodes": {"resources": "true", "os": "true"},
    "v1/allocations": {"namespace": "*", "task_states": "true"},
}


class NomadSource(ListSource):
    """One Nomad cluster per ``[[source]]``."""

    type = "nomad"
    token = "X-Nomad-Token: {}"
    renders = dict.fromkeys((".hcl", ".nomad"), "nomad job run -output FILE > job.json")
    lists = tuple(Listing(path.removeprefix("v1/"), (path,)) for path in _PARAMS)
    page = 200
    to_batch = staticmethod(to_batch)

    def sort(self, document: Any) -> Sorted:
        """Sort jobs, nodes and allocations by their keys."""
        if not isinstance(document, dict):
            return
        inside = document.get("Job")
        if "ClientStatus" in document and "JobID" in document:
            yield "allocations", [document]
        elif isinstance(inside, dict):  # of `nomad job inspect`
            yield "jobs", [inside]
        elif "SchedulingEligibility" in document or "NodeResources" in document:
            yield "nodes", [document]
        elif "TaskGroups" in document or "JobSummary" in document:
            yield "jobs", [document]

    def key(self, kind: str, item: Row) -> Hashable:
        """Identify an entry; one of a list and its details are two."""
        is_whole = "TaskGroups" in item or "Attributes" in item
        identifier = text(item, "ID") or id(item)
        return kind, is_whole, text(item, "Namespace"), identifier

    def get_pages(self, web: Web, path: str, row: Row, size: int) -> Pages:
        """Ask for a list, page by page."""
        params = {**_PARAMS[path], "per_page": str(size)}
        seen = {""}
        while True:
            answer = web.get(path, params=params)
            items = answer.json()
            if not isinstance(items, list):
                raise DumpError("this is no list of Nomad: check the endpoint")
            yield items
            following = answer.headers.get("X-Nomad-NextToken") or ""
            if following in seen:
                return
            seen.add(following)
            params["next_token"] = following

    def get_details(self, web: Web, lists: Found, asked: Asked) -> None:
        """Request every job and node: the lists lack their groups, attributes and drivers."""
        causes = {row["call"]: row for row in asked.batch.coverage}
        for kind, (call, path) in () if asked.is_probe else _DETAILS.items():
            if kind not in lists:
                asked.batch.call(web.scope, call).skip(causes[kind])
                continue
            # An id of dots alone would lead to another path, however it is quoted.
            stubs = [item for item in lists[kind] if text(item, "ID").strip(".")]
            answers = []
            with asked.batch.call(web.scope, call, client=web) as details:
                details.note(expected=len(stubs))
                for stub in stubs:
                    params = {"namespace": text(stub, "Namespace") or None}
                    place = path + quote(text(stub, "ID"), safe="")
                    try:
                        answers.append(web.json(place, params=params))
                    except Exception as error:
                        if details.fail(error) in ("timeout", "unreachable"):
                            break
                entries = details.take([a for a in dicts(answers) if text(a, "ID")])
                lose(details, spoiled({call: entries}, self.forms))
                if len(entries) < len(answers):
                    details.count(unmapped_n=len(answers) - len(entries))
            lists[kind] = lists[kind] + entries

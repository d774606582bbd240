"""The description of the API (OpenAPI 3.1), made of the table of operations and their models; and a page of it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from console.api.door import FORM, JSON, LARGEST, PREFIX, Operation
from console.api.problems import PROBLEM
from console.api.shapes import Told
from models.rules.language import Language, current_language, t, use_language

_REF: Final = "#/components/schemas/{model}"

_PROBLEM_SCHEMA: Final = {
    "type": "object",
    "description": "RFC 9457",
    "required": ["type", "title", "status", "code", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "code": {"type": "string", "description": "stable, whatever the language"},
        "detail": {"type": "string", "description": "in the language of Accept-Language (zh, en)"},
        "remedy": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"pointer": {"type": "string"}, "detail": {"type": "string"}},
            },
        },
    },
}


def describe(operations: Sequence[Operation], version: str) -> dict[str, Any]:
    """The whole description; texts in English, as programmers' tools expect."""
    spoken = current_language()
    use_language(Language.EN)
    try:
        return _described(operations, version)
    finally:
        use_language(spoken)


def _described(operations: Sequence[Operation], version: str) -> dict[str, Any]:
    models = sorted({m for o in operations for m in _models(o)}, key=lambda m: m.__name__)
    _, schemas = models_json_schema(
        [(m, "serialization" if issubclass(m, Told) else "validation") for m in models],
        ref_template=_REF,
    )
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        paths.setdefault(PREFIX + operation.path, {})[operation.method.lower()] = _operation(
            operation
        )
    return {
        "openapi": "3.1.0",
        "info": {"title": "Blankforms", "version": version},
        "servers": [{"url": "/"}],
        "security": [{"key": []}],
        "paths": paths,
        "components": {
            "schemas": {**schemas["$defs"], "Problem": _PROBLEM_SCHEMA},
            "securitySchemes": {
                "key": {"type": "http", "scheme": "bearer", "bearerFormat": "bf_…"}
            },
        },
    }


def _models(operation: Operation) -> Iterable[type[BaseModel]]:
    found = (operation.answer, operation.body, operation.sheet)
    return [model for model in found if model is not None]


def _ref(model: type[BaseModel]) -> dict[str, str]:
    return {"$ref": _REF.format(model=model.__name__)}


def _operation(operation: Operation) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": operation.name,
        "summary": str(operation.summary),
        "description": f"Scope: {operation.scope.value if operation.scope else 'any key'}",
        "parameters": [*_path(operation), *_query(operation.query)],
        "responses": _answers(operation),
    }
    if operation.once:
        described["parameters"].append(
            {
                "name": "Idempotency-Key",
                "in": "header",
                "required": True,
                "schema": {
                    "type": "string",
                    "minLength": 1,
                    "maxLength": 255,
                    "pattern": "^[!#-~]+$",
                },
            }
        )
    if operation.body is not None:
        content: dict[str, Any] = {JSON: {"schema": _ref(operation.body)}}
        if operation.sheet is not None:
            content[FORM] = {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {
                        "file": {"type": "string", "contentMediaType": "application/octet-stream"},
                        "job": _ref(operation.sheet),
                    },
                },
                "encoding": {"job": {"contentType": JSON}},
            }
        described["requestBody"] = {"required": not operation.body_optional, "content": content}
    return described


def _path(operation: Operation) -> list[dict[str, Any]]:
    number = {"type": "integer", "minimum": 1, "maximum": LARGEST}
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": number if name == "id" else {"type": "string", "minLength": 1},
        }
        for name in re.findall(r"{(\w+)}", operation.path)
    ]


def _query(model: type[BaseModel] | None) -> list[dict[str, Any]]:
    if model is None:
        return []
    schema = model.model_json_schema(ref_template=_REF)
    defs = schema.get("$defs", {})
    parameters = []
    for name, of_name in schema["properties"].items():
        inlined = _inlined(of_name, defs)
        inlined.pop("title", None)
        parameters.append({"name": name, "in": "query", "schema": inlined})
    return parameters


def _inlined(schema: Any, defs: dict[str, Any]) -> Any:
    """Without references, and without null: a parameter that is not given is left out."""
    if isinstance(schema, list):
        return [_inlined(s, defs) for s in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return _inlined(defs[schema["$ref"].rpartition("/")[2]], defs)
    if "anyOf" in schema:
        some = [s for s in schema["anyOf"] if s != {"type": "null"}]
        if len(some) == 1:
            return _inlined(some[0], defs)
    return {
        name: _inlined(value, defs)
        for name, value in schema.items()
        if name != "default" or value is not None
    }


def _answers(operation: Operation) -> dict[str, Any]:
    right: dict[str, Any] = {"description": "done" if operation.status < 300 else "accepted"}  # noqa: PLR2004
    if operation.answer is not None:
        right["content"] = {JSON: {"schema": _ref(operation.answer)}}
    elif operation.path.endswith((".xlsx", ".csv")):
        kind = (
            "text/csv"
            if operation.path.endswith(".csv")
            else "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
        )
        right["content"] = {kind: {"schema": {"type": "string", "format": "binary"}}}
    wrong = {
        "description": "problem",
        "content": {PROBLEM: {"schema": {"$ref": _REF.format(model="Problem")}}},
    }
    statuses = ["400", "401", "403", "404", "409", "422", "429", "503"]
    if operation.body is not None:
        statuses += ["413", "415"]
    answers = {str(operation.status): right, **dict.fromkeys(sorted(statuses), wrong)}
    if operation.method == "GET":
        answers["304"] = {"description": "as before (If-None-Match)"}
    return answers


def page(document: dict[str, Any]) -> str:
    """The description as a page without scripts or foreign hosts."""
    lines = [
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>",
        "<title>Blankforms API</title><link rel=stylesheet href=docs.css>",
        f"<h1>Blankforms API {escape(document['info']['version'])}</h1>",
        f"<p>{escape(t('说明文件', 'description'))}: <a href=openapi.json>openapi.json</a></p>",
    ]
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            lines += [
                f"<section id={escape(operation['operationId'])}><h2><code>{method.upper()} {escape(path)}</code></h2>",
                f"<p>{escape(operation['summary'])}. {escape(operation['description'])}</p>",
                *_page_of_parameters(operation["parameters"]),
                *_page_of_models(operation),
                "</section>",
            ]
    lines.append("<h1>Models</h1>")
    for name, schema in document["components"]["schemas"].items():
        lines.append(f"<section id={escape(name)}><h2><code>{escape(name)}</code></h2>")
        lines.append(f"<p>{escape(schema.get('description', ''))}</p><ul>")
        required = set(schema.get("required", ()))
        for member, of_member in schema.get("properties", {}).items():
            must = "" if member in required else " ?"
            about = escape(of_member.get("description", ""))
            lines.append(f"<li><code>{escape(member)}{must}</code> {_kind(of_member)} {about}</li>")
        lines.append("</ul></section>")
    return "\n".join(lines)


def _page_of_parameters(parameters: Sequence[dict[str, Any]]) -> Iterable[str]:
    if parameters:
        yield "<ul>"
        for one in parameters:
            must = "" if one.get("required") else " ?"
            yield f"<li><code>{escape(one['name'])}{must}</code> ({one['in']}) {_kind(one['schema'])}</li>"
        yield "</ul>"


def _page_of_models(operation: dict[str, Any]) -> Iterable[str]:
    for kind, content in operation.get("requestBody", {}).get("content", {}).items():
        yield f"<p>← <code>{escape(kind)}</code> {_kind(content['schema'])}</p>"
    for status, answer in operation["responses"].items():
        for kind, content in answer.get("content", {}).items():
            if kind != PROBLEM:
                yield f"<p>→ {status} <code>{escape(kind)}</code> {_kind(content['schema'])}</p>"


def _kind(schema: dict[str, Any]) -> str:
    """The type of a schema in a few words, with a link where it is a model."""
    if "$ref" in schema:
        name = escape(schema["$ref"].rpartition("/")[2])
        return f"<a href=#{name}>{name}</a>"
    if "anyOf" in schema:
        return " | ".join(map(_kind, schema["anyOf"]))
    if "enum" in schema:
        return escape(" | ".join(map(str, schema["enum"])))
    if schema.get("type") == "array":
        return f"[{_kind(schema.get('items', {}))}]"
    if schema.get("type") == "object" and "properties" in schema:
        return ", ".join(f"{escape(n)}: {_kind(s)}" for n, s in schema["properties"].items())
    return escape(str(schema.get("type", schema.get("const", ""))))


STYLE: Final = """
body { font: 15px/1.6 system-ui, "Microsoft YaHei", sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.4rem } h2 { font-size: 1rem; margin: 1.6rem 0 .2rem } p, ul { margin: .3rem 0 }
code { background: #f3f4f6; padding: .1em .3em; border-radius: 3px }
section { border-top: 1px solid #e5e7eb } a { color: #0b5cad }
"""

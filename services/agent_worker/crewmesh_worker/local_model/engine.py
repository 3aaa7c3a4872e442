"""The loaded model: what it writes for one request, piece by piece."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from crewmesh_worker.local_model.chat import (
    ChatMessage,
    Prompt,
    fit_prompt,
    read_messages,
)
from crewmesh_worker.local_model.choice import (
    ANSWER,
    Choice,
    choice_of,
    parameters_of,
    selection_grammar,
)
from crewmesh_worker.local_model.grammar import json_grammar
from crewmesh_worker.local_model.settings import LocalModelSettings
from crewmesh_worker.local_model.structured import complete_json

# Where weights bring no template of their own.
_CHATML: Final = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + "
    "message['content'] + '<|im_end|>\n' }}{% endfor %}{{ '<|im_start|>assistant\n' }}"
)
_END: Final = ("<|im_end|>", "<|im_start|>")
# Small models repeat themselves.
_REPEAT_PENALTY: Final = 1.1
# For choosing a tool, besides the prompt.
_RESERVED_TOKENS: Final = 64


@dataclass(frozen=True)
class Piece:
    """A part of an answer: a text, or one whole tool call; the last one tells the end."""

    text: str = ""
    call: dict[str, Any] | None = None
    finish_reason: str | None = None


@dataclass
class Reply:
    """An answer that is being written. `completion_tokens` grows with its pieces."""

    prompt: Prompt
    pieces: Iterator[Piece]
    completion_tokens: int = 0


class Engine:
    """Answers one request at a time."""

    def __init__(self, settings: LocalModelSettings) -> None:
        from llama_cpp import Llama
        from llama_cpp.llama_chat_format import Jinja2ChatFormatter

        self._settings = settings
        self._llama = Llama(
            model_path=str(settings.weights),
            n_ctx=settings.context_tokens,
            n_threads=settings.threads,
            n_threads_batch=settings.threads,
            verbose=False,
        )
        self._format = Jinja2ChatFormatter(
            template=self._llama.metadata.get("tokenizer.chat_template", _CHATML),
            eos_token=self._piece(self._llama.token_eos()),
            bos_token=self._piece(self._llama.token_bos()),
        )

    def reply(self, request: dict[str, Any]) -> Reply:
        """Return the answer to a chat completion's request, in OpenAI's form."""
        messages = request["messages"]
        choice = choice_of(request, self._settings.max_tool_calls)
        # All are told, also where none may be called any more: what a prompt begins with needn't
        # be read again.
        tools = request.get("tools") or ()
        wanted = request.get("max_completion_tokens") or request.get("max_tokens")
        limit = min(int(wanted or self._settings.max_tokens), self._settings.max_tokens)
        limit = min(limit, self._settings.context_tokens // 2)
        prompt = fit_prompt(
            read_messages(messages, tools),
            self._render,
            lambda text: len(self._tokens(text)),
            self._settings.context_tokens - limit - _RESERVED_TOKENS,
        )
        reply = Reply(prompt, iter(()))
        reply.pieces = self._write(reply, choice, tools, limit, request)
        return reply

    def _write(
        self,
        reply: Reply,
        choice: Choice,
        tools: Sequence[dict[str, Any]],
        limit: int,
        request: dict[str, Any],
    ) -> Iterator[Piece]:
        def complete(suffix: str = "", grammar: str = "") -> Iterator[tuple[str, str | None]]:
            return self._complete(reply, suffix, grammar, limit, request)

        selected = ANSWER
        if choice.tools:
            selected = "".join(text for text, _ in complete("Next: ", selection_grammar(choice)))
        if selected in choice.tools:
            schema = parameters_of(tools, selected)
            start = json.dumps({"name": selected})[:-1] + ', "arguments": '
            text = "".join(part for part, _ in complete(start, json_grammar(schema, self._takes)))
            yield Piece(call=_call(selected, complete_json(text, schema)))
            yield Piece(finish_reason="tool_calls")
        elif choice.schema is not None:
            text = "".join(
                part for part, _ in complete("", json_grammar(choice.schema, self._takes))
            )
            yield Piece(json.dumps(complete_json(text, choice.schema), ensure_ascii=False))
            yield Piece(finish_reason="stop")
        else:
            reason = "stop"
            for text, ended in complete():
                reason = ended or reason
                if text:
                    yield Piece(text)
            yield Piece(finish_reason=reason)

    def _complete(
        self, reply: Reply, suffix: str, grammar: str, limit: int, request: dict[str, Any]
    ) -> Iterator[tuple[str, str | None]]:
        """Yield what the model writes after the prompt and `suffix`, and why it ends."""
        from llama_cpp import LlamaGrammar

        tokens = self._tokens(reply.prompt.text + suffix)
        written = reply.completion_tokens
        for chunk in self._llama.create_completion(
            tokens,
            max_tokens=limit,
            temperature=float(request.get("temperature") or 0.0),
            top_p=float(request.get("top_p") or 0.95),
            seed=request.get("seed"),
            repeat_penalty=_REPEAT_PENALTY,
            grammar=LlamaGrammar.from_string(grammar, verbose=False) if grammar else None,
            stop=list(_END),
            stream=True,
        ):
            reply.completion_tokens = written + max(1, self._llama.n_tokens - len(tokens))
            part = chunk["choices"][0]
            yield part["text"], part["finish_reason"]

    def _takes(self, grammar: str) -> bool:
        """Tell whether llama.cpp can read a grammar: using one that it can't ends the process."""
        import llama_cpp

        vocabulary = self._llama._model.vocab
        sampler = llama_cpp.llama_sampler_init_grammar(vocabulary, grammar.encode(), b"root")
        if not sampler:
            return False
        llama_cpp.llama_sampler_free(sampler)
        return True

    def _render(self, messages: Sequence[ChatMessage]) -> str:
        plain = [{"role": message.role, "content": message.content} for message in messages]
        return str(self._format(messages=plain).prompt)

    def _tokens(self, text: str) -> list[int]:
        return list(self._llama.tokenize(text.encode(), add_bos=False, special=True))

    def _piece(self, token: int) -> str:
        return str(self._llama.detokenize([token], special=True).decode(errors="replace"))


def _call(name: str, arguments: Any) -> dict[str, Any]:
    return {
        "id": f"call_{uuid.uuid4().hex[:24]}",
        "type": "function",
        "function": {"name": name, "arguments": json.dumps(arguments, ensure_ascii=False)},
    }

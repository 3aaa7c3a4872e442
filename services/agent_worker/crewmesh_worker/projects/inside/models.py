"""Which model a project's agents run on.

Its own, as long as there is a key for them. Otherwise, or when the mesh says so, another:
CrewAI makes every model that is named by a string with `LLM(...)`, and that is where it is
exchanged, in agents, tasks, flows and tools alike.
"""

from __future__ import annotations

import contextlib
import contextvars
import os
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from crewai import LLM, Crew
from crewai.flow.flow import Flow
from crewai.hooks.dispatch import InterceptionPoint, register, unregister
from crewai.llms.base_llm import BaseLLM

# Any of the variables is a key. Providers that aren't here need none, or are asked themselves.
_KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    "openai": ("OPENAI_API_KEY",),
    "anthropic": ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"),
    "gemini": ("GEMINI_API_KEY", "GOOGLE_API_KEY", "GOOGLE_APPLICATION_CREDENTIALS"),
    "azure": ("AZURE_API_KEY", "AZURE_OPENAI_API_KEY", "AZURE_AD_TOKEN", "AZURE_CLIENT_ID"),
    "groq": ("GROQ_API_KEY",),
    "mistral": ("MISTRAL_API_KEY",),
    "openrouter": ("OPENROUTER_API_KEY",),
    "deepseek": ("DEEPSEEK_API_KEY",),
    "cerebras": ("CEREBRAS_API_KEY",),
    "nvidia_nim": ("NVIDIA_NIM_API_KEY",),
    "huggingface": ("HF_TOKEN", "HUGGINGFACE_API_KEY"),
    "sambanova": ("SAMBANOVA_API_KEY",),
    "perplexity": ("PERPLEXITY_API_KEY", "PERPLEXITYAI_API_KEY"),
    "dashscope": ("DASHSCOPE_API_KEY",),
    "xai": ("XAI_API_KEY",),
}
_ALIASES: Final = {"claude": "anthropic", "google": "gemini", "azure_openai": "azure"}
_BY_NAME: Final = (
    (re.compile(r"^(gpt-|chatgpt-|o[134](-|$)|text-embedding-)"), "openai"),
    (re.compile(r"^claude-"), "anthropic"),
    (re.compile(r"^(gemini-|learnlm-)"), "gemini"),
)
# What CrewAI's templates write where a key belongs.
_PLACEHOLDER: Final = re.compile(r"^\s*$|^<.*>$|^your[-_ ]", re.IGNORECASE)
_EMBEDDER: Final = "openai/text-embedding-3-small"
_ENDPOINTS: Final = ("base_url", "api_base", "endpoint", "credentials")


def missing_key(model: str, given: Mapping[str, Any], environ: Mapping[str, str]) -> str:
    """Return the variable that the model's key should be in; "" where nothing is missing.

    `given` is what the caller says besides the name: one that names an endpoint or a key
    knows what it does.
    """
    if any(given.get(name) for name in _ENDPOINTS) or _is_key(given.get("api_key")):
        return ""
    variables = _KEYS.get(_provider(model, given), ())
    if any(_is_key(environ.get(name)) for name in variables):
        return ""
    return variables[0] if variables else ""


@contextlib.contextmanager
def exchanged_models(
    make_default: Callable[[], BaseLLM],
    always: bool,
    say: Callable[[str], None],
    guard: Callable[[BaseLLM], BaseLLM],
) -> Iterator[None]:
    """Give every model that has no key, or `always` every one, the default's place.

    The others are made as the project says, and it gets what `guard` returns of them, which is
    no LLM. Models stream, as `crewai run` has them do. `say` is told once of each exchanged model.
    """
    original_new, original_init, original_copy = LLM.__new__, LLM.__init__, LLM.__copy__
    # What is made within is made as it is: the default may be an LLM itself.
    making = contextvars.ContextVar("making", default=False)
    told: set[str] = set()

    def as_it_is(make: Callable[[], Any]) -> Any:
        token = making.set(True)
        try:
            return make()
        finally:
            making.reset(token)

    def new(cls: type[LLM], model: str, *args: Any, **kwargs: Any) -> Any:
        if making.get() or cls is not LLM:
            return original_new(cls, model, *args, **{"stream": True, **kwargs})
        variable = missing_key(model, kwargs, os.environ) if isinstance(model, str) else ""
        if not (always or variable):
            return guard(as_it_is(lambda: LLM(model, *args, **kwargs)))
        default = as_it_is(make_default)
        if model not in told:
            told.add(model)
            say(_reason(model, default.model, variable, always))
        return default

    def init(self: LLM, *args: Any, **kwargs: Any) -> None:
        original_init(self, *args, **{"stream": True, **kwargs})

    def copy(self: LLM) -> Any:
        return as_it_is(lambda: original_copy(self))

    LLM.__new__, LLM.__init__, LLM.__copy__ = new, init, copy  # type: ignore[method-assign]
    try:
        yield
    finally:
        LLM.__new__, LLM.__init__ = original_new, original_init  # type: ignore[method-assign]
        LLM.__copy__ = original_copy  # type: ignore[method-assign]


@contextlib.contextmanager
def every_model_call(check: Callable[[BaseLLM], None]) -> Iterator[None]:
    """Have `check` called with the model before each call that CrewAI knows of."""

    def hook(context: Any) -> None:
        if isinstance(context.llm, BaseLLM):
            check(context.llm)

    register(InterceptionPoint.PRE_MODEL_CALL, hook)
    try:
        yield
    finally:
        unregister(InterceptionPoint.PRE_MODEL_CALL, hook)


def drop_keyless_memory(crew: Crew, say: Callable[[str], None]) -> None:
    """Turn a crew's memory off when its embedder, CrewAI's default, has no key."""
    variable = missing_key(_EMBEDDER, {}, os.environ)
    if variable and getattr(crew, "memory", None) is True and not crew.embedder:
        crew.memory = False
        crew._memory = None
        say(f"the crew's memory is off: its embedder is OpenAI's, and there is no {variable}")


def skip_keyless_flow_memory() -> None:
    """Have flows made without memory where the embedder has no key; for this process's life.

    CrewAI gives every flow one, whether it uses it or not, and that takes two seconds.
    """
    if missing_key(_EMBEDDER, {}, os.environ):
        Flow._skip_auto_memory = True  # type: ignore[attr-defined]


def _reason(model: str, default: str, variable: str, always: bool) -> str:
    if always:
        return f"the model {default} is used instead of {model}, as the mesh is set up"
    placeholder = "has no key but a template's placeholder"
    why = placeholder if os.environ.get(variable) else "is in no .env and not set"
    return f"the model {default} is used instead of {model}: {variable} {why}"


def _is_key(value: Any) -> bool:
    return value is not None and not _PLACEHOLDER.match(str(value))


def _provider(model: str, given: Mapping[str, Any]) -> str:
    named = given.get("provider") or (model.partition("/")[0] if "/" in model else "")
    if named:
        return _ALIASES.get(str(named), str(named))
    return next((provider for pattern, provider in _BY_NAME if pattern.match(model)), "")

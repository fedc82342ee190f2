"""A stand-in for the parts of ComfyUI 0.8.0 that the pack touches, and `load_pack`, which loads the pack as it does.

Strict where a mistake would only show up in a real ComfyUI: an input keyword that 0.8.0 does not know, a duplicate
id, or a node without its own schema is an error here too.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
COMMON = {"display_name", "optional", "tooltip", "lazy", "extra_dict", "raw_link"}
WIDGET = COMMON | {"default", "socketless", "force_input"}
NUMBER = WIDGET | {"min", "max", "step", "control_after_generate", "display_mode"}
KEYWORDS = {
    "FLOAT": NUMBER - {"control_after_generate"} | {"round"},
    "INT": NUMBER,
    "STRING": WIDGET | {"multiline", "placeholder", "dynamic_prompts"},
    "BOOLEAN": WIDGET | {"label_on", "label_off"},
    "COMBO": WIDGET | {"options", "control_after_generate", "upload", "image_folder", "remote"},
}
"""Keywords of each input type in 0.8.0; any other type takes `COMMON`."""


class Input:
    """One input of a schema. Unknown keywords are a TypeError, as in ComfyUI."""

    def __init__(self, io_type: str, id: str, **keywords: Any) -> None:
        unknown = set(keywords) - KEYWORDS.get(io_type, COMMON)
        if unknown:
            raise TypeError(f"{io_type} input {id!r}: unexpected keyword {sorted(unknown)}")
        self.io_type, self.id = io_type, id
        self.optional = bool(keywords.get("optional"))
        self.tooltip = keywords.get("tooltip")
        self.default, self.options = keywords.get("default"), keywords.get("options")
        self.keywords = keywords

    @property
    def nested(self) -> list[Input]:
        """This input and those of its dynamic options."""
        return [self]


class Output:
    def __init__(
        self,
        io_type: str,
        id: str | None = None,
        display_name: str | None = None,
        tooltip: str | None = None,
        is_output_list: bool = False,
    ) -> None:
        self.io_type, self.id, self.tooltip, self.is_output_list = io_type, id or display_name, tooltip, is_output_list


def socket(io_type: str) -> Any:
    """What `io.Float`, `io.Image`, `io.Custom("X")` ... are: a type with Input and Output."""
    return types.SimpleNamespace(
        io_type=io_type,
        Input=lambda id, **keywords: Input(io_type, id, **keywords),
        Output=lambda *arguments, **keywords: Output(io_type, *arguments, **keywords),
    )


class DynamicCombo:
    @dataclass
    class Option:
        key: str
        inputs: list[Input]

    class Input(Input):
        def __init__(self, id: str, options: list[Any], **keywords: Any) -> None:
            super().__init__("COMFY_DYNAMICCOMBO_V3", id, **keywords)
            self.options = options

        @property
        def nested(self) -> list[Input]:
            return [self, *(inner for option in self.options for inner in option.inputs)]


class MatchType:
    @dataclass
    class Template:
        template_id: str
        allowed_types: Any = None

    @staticmethod
    def Input(id: str, template: Any, **keywords: Any) -> Input:
        return Input("COMFY_MATCHTYPE_V3", id, **keywords)

    @staticmethod
    def Output(template: Any, id: str | None = None, **keywords: Any) -> Output:
        return Output("COMFY_MATCHTYPE_V3", id, **keywords)


@dataclass
class Schema:
    """Exactly the fields of 0.8.0: newer ones (search_aliases, has_intermediate_output, ...) are a TypeError."""

    node_id: str
    display_name: str | None = None
    category: str = "sd"
    inputs: list[Input] = field(default_factory=list)
    outputs: list[Output] = field(default_factory=list)
    hidden: list[Any] = field(default_factory=list)
    description: str = ""
    is_input_list: bool = False
    is_output_node: bool = False
    is_deprecated: bool = False
    is_experimental: bool = False
    is_api_node: bool = False
    not_idempotent: bool = False
    enable_expand: bool = False

    def __post_init__(self) -> None:
        for ids in ([entry.id for entry in self.inputs], [output.id for output in self.outputs]):
            assert len(set(ids)) == len(ids), f"{self.node_id}: ids must be unique, not {ids}"


class ComfyNode:
    hidden: Any = None

    @classmethod
    def define_schema(cls) -> Schema:
        raise NotImplementedError(cls)


class NodeOutput:
    def __init__(self, *args: Any, ui: Any = None, expand: Any = None, block_execution: str | None = None) -> None:
        self.args, self.ui, self.expand, self.block_execution = args, ui, expand, block_execution

    def __getitem__(self, index: int) -> Any:
        return self.args[index]


@dataclass
class ExecutionBlocker:
    message: str | None


class InterruptProcessingException(BaseException):
    """A BaseException since 0.20."""


class Management(types.ModuleType):
    """`comfy.model_management`: an interrupt that can be asked for, and books of what was loaded."""

    InterruptProcessingException = InterruptProcessingException

    def __init__(self) -> None:
        super().__init__("comfy.model_management")
        self.interrupted = False
        self.current_loaded_models: list[Any] = []
        self.loads: list[Any] = []

    def throw_exception_if_processing_interrupted(self) -> None:
        if self.interrupted:
            self.interrupted = False
            raise InterruptProcessingException

    def processing_interrupted(self) -> bool:
        return self.interrupted

    def get_torch_device(self) -> Any:
        import torch

        return torch.device("cpu")

    def load_models_gpu(self, models: list[Any], memory_required: float = 0) -> None:
        self.loads += models

    def free_memory(self, memory_required: float, device: Any, keep_loaded: Any = ()) -> list[Any]:
        return []

    def minimum_inference_memory(self) -> float:
        return 0.0

    def soft_empty_cache(self) -> None:
        return None


class ModelPatcher:
    def __init__(self, model: Any, load_device: Any, offload_device: Any, size: int = 0) -> None:
        self.model, self.load_device, self.offload_device = model, load_device, offload_device

    def is_clone(self, other: Any) -> bool:
        return getattr(other, "model", None) is self.model


class ProgressBar:
    def __init__(self, total: int, node_id: str | None = None) -> None:
        self.total, self.current = total, 0

    def update(self, value: int) -> None:
        self.current += value

    def update_absolute(self, value: int, total: int | None = None, preview: Any = None) -> None:
        self.current = value


class UserManager:
    """Knows some users, and reads which one a request names, as ComfyUI does under --multi-user."""

    users = ("anna_1", "berta_2")

    def get_request_user_id(self, request: Any) -> str:
        user = str(request.headers.get("comfy-user", "default"))
        if user not in self.users:
            raise KeyError("Unknown user: " + user)
        return user


class IsChangedCache:
    """No node of the tests' prompts has files that may change."""

    def __init__(self, prompt_id: str, dynprompt: Any, outputs_cache: Any) -> None:
        self.dynprompt = dynprompt

    async def get(self, node_id: str) -> Any:
        return self.dynprompt.get_node(node_id).get("is_changed", False)


class PromptServer:
    """Remembers what was sent to the browser."""

    instance: PromptServer

    def __init__(self) -> None:
        from aiohttp import web

        self.routes = web.RouteTableDef()
        self.client_id: str | None = "browser"
        self.user_manager = UserManager()
        self.sent: list[tuple[str, Any, str | None]] = []

    def send_sync(self, event: str, data: Any, sid: str | None = None) -> None:
        self.sent.append((event, data, sid))


def stub_modules(folder: Path) -> dict[str, types.ModuleType]:
    """Every module of ComfyUI that the pack imports; files go below `folder`."""
    io_types = ("Float", "Int", "String", "Boolean", "Combo", "Image", "Mask", "Clip", "Latent", "Model")
    io = types.SimpleNamespace(
        **{name: socket(name.upper()) for name in io_types},
        AnyType=socket("*"),
        Custom=socket,
        DynamicCombo=DynamicCombo,
        MatchType=MatchType,
        ComfyNode=ComfyNode,
        NodeOutput=NodeOutput,
        Schema=Schema,
        Hidden=types.SimpleNamespace(
            unique_id="UNIQUE_ID", dynprompt="DYNPROMPT", prompt="PROMPT", extra_pnginfo="EXTRA_PNGINFO"
        ),
    )
    management = Management()
    PromptServer.instance = PromptServer()
    contents: dict[str, dict[str, Any]] = {
        "comfy_api": {},
        "comfy_api.latest": {"io": io, "ComfyExtension": type("ComfyExtension", (), {})},
        "comfy": {"model_management": management},
        "comfy.cli_args": {"args": types.SimpleNamespace(multi_user=False, listen="127.0.0.1")},
        "comfy.utils": {"ProgressBar": ProgressBar},
        "comfy.model_patcher": {"ModelPatcher": ModelPatcher},
        "comfy_execution": {},
        "comfy_execution.utils": {"get_executing_context": lambda: types.SimpleNamespace(node_id="7", prompt_id="p")},
        "comfy_execution.graph_utils": {"ExecutionBlocker": ExecutionBlocker},
        "comfy_execution.caching": {"include_unique_id_in_input": lambda class_type: False},
        "execution": {"IsChangedCache": IsChangedCache},
        "server": {"PromptServer": PromptServer},
        "nodes": {"NODE_CLASS_MAPPINGS": {}},
        "folder_paths": _folder_paths(folder),
    }
    modules: dict[str, types.ModuleType] = {"comfy.model_management": management}
    for name, members in contents.items():
        module = types.ModuleType(name)
        vars(module).update(members, __path__=[])
        modules[name] = module
    return modules


def _folder_paths(folder: Path) -> dict[str, Any]:
    """`folder_paths` with one folder per kind of model, all of them below `folder`."""
    known: dict[str, tuple[list[str], set[str]]] = {
        kind: ([str(folder / "models" / kind)], {".safetensors"}) for kind in ("LLM", "text_encoders", "loras")
    }

    def add_model_folder_path(kind: str, path: str, is_default: bool = False) -> None:
        known.setdefault(kind, ([], set()))[0].append(path)

    def get_filename_list(kind: str) -> list[str]:
        roots = [Path(path) for path in known[kind][0]]
        return sorted(str(f.relative_to(root)) for root in roots for f in root.rglob("*") if f.is_file())

    def get_full_path(kind: str, name: str) -> str | None:
        paths = [Path(root) / name for root in known[kind][0]]
        return next((str(path) for path in paths if path.is_file()), None)

    return {
        "folder_names_and_paths": known,
        "models_dir": str(folder / "models"),
        "base_path": str(folder),
        "add_model_folder_path": add_model_folder_path,
        "get_folder_paths": lambda kind: list(known[kind][0]),
        "get_filename_list": get_filename_list,
        "get_full_path": get_full_path,
        **{
            f"get_{name}_directory": (lambda name=name: str(folder / name))
            for name in ("temp", "output", "input", "user")
        },
    }


@contextmanager
def stubbed(folder: Path) -> Iterator[dict[str, types.ModuleType]]:
    """ComfyUI's names stand for the stub inside the block."""
    modules = stub_modules(folder)
    before = {name: sys.modules.get(name) for name in modules}
    sys.modules.update(modules)
    try:
        yield modules
    finally:
        for name, module in before.items():
            if module is None:
                sys.modules.pop(name, None)
            else:
                sys.modules[name] = module


class Pack:
    """The loaded pack; its classes are not those of the absolute `rationalrewards_core`."""

    def __init__(self, root: types.ModuleType) -> None:
        self.root = root

    def module(self, name: str) -> Any:
        """`nodes.show.cards`, `rationalrewards_core.critique`, ..."""
        return importlib.import_module(f"{self.root.__name__}.{name}")

    def core(self, name: str) -> Any:
        return self.module(f"rationalrewards_core.{name}")


def load_pack(root: Path = ROOT) -> Pack:
    """As ComfyUI loads a folder of custom_nodes: under the name of its path, with the dots replaced."""
    name = str(root).replace(".", "_x_")
    spec = importlib.util.spec_from_file_location(name, root / "__init__.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return Pack(module)

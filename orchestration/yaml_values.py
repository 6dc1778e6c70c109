"""YAML as people write configurations in it.

Two traps of YAML 1.1 are closed: `1e-4` and `-.5` are numbers here (there they are strings), and
a key that stands twice in one mapping is an error (there the last one silently wins).
"""

import re
from collections.abc import Hashable
from pathlib import Path

import yaml

from orchestration.errors import ConfigError
from orchestration.files import Json


class _Loader(yaml.SafeLoader):
    def construct_mapping(
        self, node: yaml.MappingNode, deep: bool = False
    ) -> dict[Hashable, object]:
        seen: set[str] = set()
        for key, _ in node.value:
            if key.value in seen:
                problem = f"the key '{key.value}' stands here twice"
                raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
            if isinstance(key, yaml.ScalarNode):
                seen.add(key.value)
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(?:(?:\d+\.?\d*|\.\d+)[eE][-+]?\d+|\.\d+)$"),
    list("-+.0123456789"),
)


def read_yaml(path: Path) -> dict[str, Json]:
    """Reads a mapping from a YAML file; an empty file is an empty mapping.

    Raises:
        ConfigError: the file is missing or unreadable, is not YAML (with the line), or holds
            something else than a mapping.
    """
    try:
        value = yaml.load(path.read_bytes(), _Loader)
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}; expected a YAML file") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}{_problem(error)}; expected YAML") from error
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ConfigError(f"{path}: got {type(value).__name__}, expected sections with keys")
    return value


def parse_value(text: str) -> Json:
    """The value of `KEY=VALUE` on a command line: a YAML scalar, list or mapping.

    A bare scalar is taken whole, so that a path may hold ': ' or ' #'.

    Raises:
        ValueError: a list, a mapping or a quoted string that does not end.
    """
    loader = _Loader(text)
    try:
        if text.lstrip().startswith(("[", "{", "'", '"')):
            return loader.get_single_data()
        tag = loader.resolve(yaml.ScalarNode, text.strip(), (True, False))
        return loader.construct_object(yaml.ScalarNode(tag, text.strip()), deep=True)
    except yaml.YAMLError as error:
        raise ValueError("a value, a [list] or a quoted 'string' that is complete") from error
    finally:
        loader.dispose()


def _problem(error: yaml.YAMLError) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        return f", line {error.problem_mark.line + 1}: {error.problem}"
    return f": {' '.join(str(error).split())}"

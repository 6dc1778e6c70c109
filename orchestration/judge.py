"""What quality is judged by: made first, so that what is missing is told before anything trains.

Images are judged by features of a network (`extractor.py`), windows of time series by themselves.
Whatever it is lies in a folder, and with a supernet it makes a `Setting`.
"""

from collections.abc import Callable
from pathlib import Path

from orchestration import setting
from orchestration.config import Config
from orchestration.data import DataSet
from orchestration.extractor import ensure_extractor
from orchestration.setting import Setting
from search_spaces.schedule import StepSchedule


def ensure_judge(config: Config, data: DataSet, cache: Path, say: Callable[[str], None]) -> Path:
    """The folder of what quality is judged by, made unless it is there; errors as of its maker."""
    if config.data.is_windows:
        return data.folder
    return ensure_extractor(config, data, cache, say)


def judged_setting(
    config: Config, chain: StepSchedule, supernet_folder: Path, judge_folder: Path
) -> Setting:
    """Scoring by all widths of a supernet on the chain of a schedule; DataError where damaged."""
    if config.data.is_windows:
        return setting.window_setting(config, chain, supernet_folder, judge_folder)
    return setting.network_setting(config, chain, supernet_folder, judge_folder)

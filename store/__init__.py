"""What outlives a browser session: runs, points, tables, configurations, and who works on them.

No ORM object leaves this package; every function is one short transaction.
"""

from store.database import Store, open_store
from store.runs.checkpoints import has_stage, trained_stage
from store.runs.configurations import (
    SavedConfig,
    configs,
    damaged_configs,
    delete_config,
    save_config,
    update_config,
)
from store.runs.files import log_tail
from store.runs.points import (
    StoredPoint,
    config_text,
    damaged_facts,
    float_point,
    load_table,
    model_facts,
    model_spec,
    points_of,
    read_points,
    save_model,
    save_table,
    tables,
    test_right,
)
from store.runs.queue import (
    Event,
    Run,
    all_runs,
    create_run,
    damaged_events,
    damaged_runs,
    delete_run,
    events,
    request_cancel,
    request_pause,
    resume,
    run,
    stop_now,
)
from store.runs.recorded import load_recordings
from store.workers.supervisor import Supervisor

__all__ = [
    "Event",
    "Run",
    "SavedConfig",
    "Store",
    "StoredPoint",
    "Supervisor",
    "all_runs",
    "config_text",
    "configs",
    "create_run",
    "damaged_configs",
    "damaged_events",
    "damaged_facts",
    "damaged_runs",
    "delete_config",
    "delete_run",
    "events",
    "float_point",
    "has_stage",
    "load_recordings",
    "load_table",
    "log_tail",
    "model_facts",
    "model_spec",
    "open_store",
    "points_of",
    "read_points",
    "request_cancel",
    "request_pause",
    "resume",
    "run",
    "save_config",
    "save_model",
    "save_table",
    "stop_now",
    "tables",
    "test_right",
    "trained_stage",
    "update_config",
]

"""Every call on the storage is retried, or listed as an exception."""

from __future__ import annotations

from optuna.storages import RDBStorage

from search.storage.tables import StudyStorage

# Not retried: (1) calls other methods that are, (2) never called.
NOT_RETRIED = {
    *("create_new_trial", "delete_study", "get_best_trial", "get_n_trials", "get_trial_param"),
    *("get_trial_params", "get_trial_user_attrs", "get_trial_system_attrs", "set_trial_param"),
    *("get_trial_number_from_id", "check_trial_is_updatable", "remove_session", "upgrade"),
    *("get_current_version", "get_head_version", "get_all_versions", "record_heartbeat"),
    *("get_heartbeat_interval", "get_heartbeat_stale_trial_callback"),
    "get_failed_trial_callback",
}


def test_every_call_on_the_storage_is_retried_or_listed() -> None:
    public = {name for name in dir(RDBStorage) if not name.startswith("_")}
    methods = {name for name in public if callable(getattr(RDBStorage, name))}
    assert methods - vars(StudyStorage).keys() - NOT_RETRIED == set()

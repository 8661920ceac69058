//! The server, seen from outside: every scenario starts the real binary on a real disk and
//! speaks HTTP to it with a client of its own. One binary, so that RocksDB is linked once.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod data;
#[path = "../../storage/tests/store/fixture.rs"]
mod fixture;
mod harness;
mod http;
mod http2;
#[path = "../../storage/tests/store/skip.rs"]
mod skip;

mod a_bad_batch_is_refused_by_what_it_holds;
mod a_canary_serves_a_share_of_the_units;
mod a_client_may_go_away_at_any_moment;
mod a_command_ends_as_it_says;
mod a_damaged_file_is_never_served;
mod a_damaged_version_is_found_and_not_activated;
mod a_full_disk_fails_the_push_alone;
mod a_gate_is_asked_again_before_the_swap;
mod a_job_file_is_pushed_as_it_says;
mod a_killed_server_loses_nothing;
mod a_log_that_takes_nothing_stops_nothing;
mod a_push_is_read_back_exactly;
mod a_push_is_read_while_it_arrives;
mod a_retried_push_makes_one_version;
mod a_rollback_holds_until_released;
mod a_scan_prints_one_version;
mod a_second_server_on_a_directory_is_refused;
mod a_server_that_cannot_start_says_why;
mod a_snapshot_moves_whole;
mod a_stopped_server_finishes_what_it_began;
mod a_swap_under_load_mixes_nothing;
mod a_version_that_does_worse_is_rolled_back;
mod access;
mod an_erased_key_is_given_by_no_version;
mod an_unwelcome_body_is_never_read;
mod an_upload_in_parts_is_one_push;
mod bad_input_is_refused_and_nothing_is_lost;
mod every_file_is_on_the_map;
mod every_metric_is_in_the_table;
mod every_route_asks_for_its_role;
mod every_runbook_reaches_safety;
mod four_bad_versions_are_stopped;
mod http2_answers_as_http1_does;
mod names_and_parameters_are_strict;
mod no_secret_is_written_anywhere;
mod old_versions_go_and_good_ones_stay;
mod openapi_and_metrics_are_there;
mod reads_say_what_they_read;
mod requests_too_many_are_refused;
mod several_datasets_swap_at_one_instant;
mod the_audit_has_every_change_and_every_refusal;
mod the_console_is_served_from_the_binary;
mod the_demo_runs_to_its_end;
mod tls_is_spoken_and_renewed;
mod tokens_are_kept_and_never_told;
mod tokens_open_what_they_grant;
mod two_versions_are_compared;
mod webhooks_tell_what_happened;
mod what_an_older_release_wrote_is_served;
mod what_is_not_http_knows_nothing_of_it;

//! The store as its users see it: through its public names alone.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod damage;
mod fixture;
mod skip;
mod support;

mod a_crash_leaves_old_or_new_never_between;
mod a_cut_journal_gives_no_number_again;
mod a_damaged_version_is_an_error_never_a_wrong_value;
mod a_listener_is_told_what_was_committed;
mod a_reader_keeps_its_version_as_long_as_it_reads;
mod a_start_says_what_it_found_and_removes_what_nobody_owns;
mod a_version_too_many_is_refused_not_remembered;
mod a_wrong_bit_anywhere_is_refused_by_name;
mod an_erased_key_is_given_by_no_version;
mod any_sequence_of_steps_reads_as_its_model;
mod damage_under_a_reader_is_an_error;
mod one_process_has_a_directory;
mod races_of_steps_have_one_winner;
mod readers_see_one_version_during_swaps;
mod several_datasets_swap_at_one_instant;
mod what_an_older_release_wrote_is_all_found;

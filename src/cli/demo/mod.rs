//! `tidetable demo`: a guided tour on a throw-away directory.
//!
//! Two nightly jobs of an online university push their results, a product page looks them
//! up, a bad night is rolled back. Every step prints the command that a person would type
//! and runs it: this binary's own commands against a server that the tour has started, so
//! what is shown is what happens. Nothing is used that a user has not.

mod mooc;
mod stage;

use super::exit::{Exit, Failure};
use clap::Args;
use mooc::Stats;
use stage::Stage;

/// A guided tour on a throw-away directory: push, look up, swap, roll back
///
/// Starts a server on a free port, generates two realistic datasets (course
/// recommendations and learner statistics), and shows step by step what a batch job, a
/// product page and an operator do with them, with the commands to type. Afterwards it
/// keeps serving, until Ctrl-C; then its directory is removed.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  tidetable demo
  tidetable demo --pause                 wait for Enter after each step
  tidetable demo --learners 5000 --no-wait")]
pub(crate) struct DemoArgs {
    /// How many learners to generate, from 2000 on; about 10 recommendations each
    #[arg(long, value_name = "N", default_value_t = 200_000,
        value_parser = clap::value_parser!(u32).range(2_000..=20_000_000))]
    learners: u32,
    /// Wait for Enter after each step
    #[arg(long)]
    pause: bool,
    /// End after the last step instead of serving on
    #[arg(long)]
    no_wait: bool,
}

/// The learner who is looked up all along.
const LEARNER: &str = "1234";

const PUSH_RECS: &[&str] =
    &["--key", "learner_id", "--collect", "--order-by", "score:desc", "--limit", "10"];
const PUSH_STATS: &[&str] = &[
    "--key",
    "learner_id",
    "--types",
    "courses_started:number,completed:number,minutes:number,streak_days:number",
];

pub(crate) fn run(args: &DemoArgs) -> Result<(), Failure> {
    let mut stage = Stage::set(args.pause)?;
    let toured = tour(&mut stage, args.learners);
    if stage.interrupted() {
        return Err(Failure::new(
            Exit::Interrupted,
            "the tour was stopped; its directory is removed",
        ));
    }
    toured?;
    if !args.no_wait {
        stage.serve_on()?;
    }
    stage.clear()
}

fn tour(stage: &mut Stage, learners: u32) -> Result<(), Failure> {
    a_server(stage)?;
    the_first_night(stage, learners)?;
    lookups(stage)?;
    the_second_night(stage, learners)?;
    four_bad_nights(stage, learners)?;
    a_bad_night(stage, learners)?;
    the_job_runs_again(stage, learners)?;
    back_by_itself(stage, learners)?;
    what_happened(stage)
}

fn a_server(stage: &mut Stage) -> Result<(), Failure> {
    stage.heading(
        "A server",
        "One process and one directory. This one is thrown away after the tour.",
    )?;
    stage.start_server()
}

fn the_first_night(stage: &mut Stage, learners: u32) -> Result<(), Failure> {
    stage.heading(
        "Two batch jobs have run, and push what they worked out",
        "Ten rows per learner in one file, in no order; one row per learner in the other.",
    )?;
    stage.write("recs-monday.ndjson", |path| mooc::write_recommendations(path, learners, 1))?;
    stage.write("stats-monday.csv", |path| {
        mooc::write_statistics(path, learners, 1, Stats::Right)
    })?;
    stage.shell("head", &["-n", "2", "recs-monday.ndjson"])?;
    stage.shell("head", &["-n", "3", "stats-monday.csv"])?;
    stage.say(
        "A push builds a version, reads every byte of it back, and swaps it in whole. The rows of \
         a learner become one value: an array, best score first.",
    )?;
    push(stage, "course-recs", "recs-monday.ndjson", PUSH_RECS, Exit::Done)?;
    push(stage, "learner-stats", "stats-monday.csv", PUSH_STATS, Exit::Done)?;
    stage.remove("recs-monday.ndjson")
}

fn push(
    stage: &mut Stage,
    dataset: &str,
    file: &str,
    options: &[&str],
    exit: Exit,
) -> Result<(), Failure> {
    // A job would put its own run's id here.
    let label = file.split(['-', '.']).nth(1).expect("the night is in every file's name");
    stage.tidetable(&[&["push", dataset, file], options, &["--label", label]].concat(), exit)
}

fn lookups(stage: &mut Stage) -> Result<(), Failure> {
    stage.heading(
        "A product page looks a learner up",
        "From the command line, or over HTTP in any language.",
    )?;
    stage.get(&["learner-stats", LEARNER])?;
    stage.say("Only the fields that the page shows:")?;
    stage.get(&["course-recs", LEARNER, "--fields", "course_id,score"])?;
    stage.say("Over HTTP, every answer says which version it came from:")?;
    stage.curl("/v1/datasets/learner-stats/keys/1234")?;
    stage.say("Many keys at once, all from one version:")?;
    let keys = r#"{"keys":["1234","1235","nobody"],"fields":["minutes","streak_days"]}"#;
    stage.curl_post("/v1/datasets/learner-stats/batch-get", keys)
}

fn the_second_night(stage: &mut Stage, learners: u32) -> Result<(), Failure> {
    stage.heading(
        "The next night: the swap",
        "The new version takes over between one request and the next; no answer mixes two versions.",
    )?;
    stage.write("recs-tuesday.ndjson", |path| mooc::write_recommendations(path, learners, 2))?;
    stage.write("stats-tuesday.csv", |path| {
        mooc::write_statistics(path, learners, 2, Stats::Right)
    })?;
    push(stage, "course-recs", "recs-tuesday.ndjson", PUSH_RECS, Exit::Done)?;
    push(stage, "learner-stats", "stats-tuesday.csv", PUSH_STATS, Exit::Done)?;
    stage.remove("recs-tuesday.ndjson")?;
    stage.say("The same lookup as before, and Tidetable-Version has become 2:")?;
    stage.curl("/v1/datasets/learner-stats/keys/1234")?;
    stage.tidetable(&["versions", "learner-stats"], Exit::Done)
}

fn four_bad_nights(stage: &mut Stage, learners: u32) -> Result<(), Failure> {
    stage.heading(
        "Four nights on which a job \"succeeded\"",
        "Nobody watches: a gate refuses each result (exit code 3), says what it saw, and Tuesday's version \
         is served on. How many learners may be missing is up to who knows them; the other three gates \
         compare with what is served, and are on from the start.",
    )?;
    stage.tidetable(&["config", "learner-stats", "gates.max_shrink_percent=20"], Exit::Done)?;
    for (file, stats, wrong) in [
        ("stats-half.csv", Stats::Halved, "Half of the learners are missing:"),
        (
            "stats-renamed.csv",
            Stats::Renamed,
            "A field has another name, last_seen for last_active:",
        ),
        (
            "stats-zeros.csv",
            Stats::Zeroed,
            "All learners are there, but everything that was counted is 0:",
        ),
        (
            "stats-prefixed.csv",
            Stats::Prefixed,
            "The keys have a prefix, so that no learner is found:",
        ),
    ] {
        stage.say(wrong)?;
        stage.write(file, |path| mooc::write_statistics(path, learners, 3, stats))?;
        push(stage, "learner-stats", file, PUSH_STATS, Exit::Refused)?;
        stage.remove(file)?;
    }
    stage.say("They are kept for a while. The last one, with every gate's verdict:")?;
    stage.tidetable(&["versions", "learner-stats", "6"], Exit::Done)?;
    stage.get(&["learner-stats", LEARNER])
}

fn a_bad_night(stage: &mut Stage, learners: u32) -> Result<(), Failure> {
    stage.heading(
        "A bad version gets through",
        "The learners, the fields and their types are as they were, so no gate objects; but what is said \
         to be minutes are seconds.",
    )?;
    let seconds =
        |path: &std::path::Path| mooc::write_statistics(path, learners, 3, Stats::InSeconds);
    stage.write("stats-wednesday.csv", seconds)?;
    push(stage, "learner-stats", "stats-wednesday.csv", PUSH_STATS, Exit::Done)?;
    stage.get(&["learner-stats", LEARNER])?;
    stage.say("An operator sees it, and rolls back: Tuesday's version serves again at once.")?;
    stage
        .tidetable(&["rollback", "learner-stats", "--reason", "minutes are seconds"], Exit::Done)?;
    stage.get(&["learner-stats", LEARNER])
}

fn the_job_runs_again(stage: &mut Stage, learners: u32) -> Result<(), Failure> {
    stage.heading(
        "The job knows nothing of it, and runs again",
        "Data that was rolled back from is known by its content: it is refused (exit code 3), under \
         whatever number it comes back.",
    )?;
    push(stage, "learner-stats", "stats-wednesday.csv", PUSH_STATS, Exit::Refused)?;
    stage.say(
        "Then the job is mended. A rollback holds the dataset, so its result is checked and made \
         ready, and waits until somebody has looked at it:",
    )?;
    let right = |path: &std::path::Path| mooc::write_statistics(path, learners, 3, Stats::Right);
    stage.write("stats-wednesday.csv", right)?;
    push(stage, "learner-stats", "stats-wednesday.csv", PUSH_STATS, Exit::Done)?;
    stage.tidetable(&["datasets"], Exit::Done)?;
    stage.say("Released, the newest version that waits takes over:")?;
    stage.tidetable(&["release", "learner-stats"], Exit::Done)?;
    stage.get(&["learner-stats", LEARNER])
}

fn back_by_itself(stage: &mut Stage, learners: u32) -> Result<(), Failure> {
    stage.heading(
        "The next night: nobody is awake, and readers find nothing",
        "The keys have the prefix again, and this time somebody has turned that gate off. But the dataset \
         is watched: keys that are really looked up are looked up in the version before, too.",
    )?;
    let settings = [
        "config",
        "learner-stats",
        "gates.max_keys_removed_percent=null",
        "watch=roll_back",
        "watch_limits.min_lookups=500",
    ];
    stage.tidetable(&settings, Exit::Done)?;
    let prefixed =
        |path: &std::path::Path| mooc::write_statistics(path, learners, 4, Stats::Prefixed);
    stage.write("stats-thursday.csv", prefixed)?;
    push(stage, "learner-stats", "stats-thursday.csv", PUSH_STATS, Exit::Done)?;
    stage.say(
        "Product pages look learners up, and none is found, until the server takes it back:",
    )?;
    stage.readers_until_held("learner-stats")?;
    stage.tidetable(&["datasets"], Exit::Done)?;
    stage.get(&["learner-stats", LEARNER])
}

fn what_happened(stage: &mut Stage) -> Result<(), Failure> {
    stage.heading(
        "Who did what, and why",
        "Every step is in the journal, which is also what the server starts from.",
    )?;
    stage.tidetable(&["history", "learner-stats"], Exit::Done)?;
    stage.tidetable(&["versions", "learner-stats"], Exit::Done)
}

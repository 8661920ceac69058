//! The compiled half of `make bench-peers`: makes the data, looks keys up in process, and sends
//! requests at a set rate. The other half, beside this
//! directory, starts the servers and counts; results go to it as lines of JSON.
//!
//! Also what `make count-instructions` runs under callgrind.

mod data;
mod embedded;
mod histogram;
mod instructions;
mod keys;
mod open_loop;
mod random;
mod records;
mod response;
mod stalls;
mod tidetable;

use std::process::ExitCode;

use anyhow::bail;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const USAGE: &str = "\
usage: tidetable-peers data DIR RECORDS EDITION FORMS      ndjson,parquet,resp
       tidetable-peers lookups DATA DATASET RECORDS
       tidetable-peers open-loop ADDRESS PATH|PREFIX RATE|any CONNECTIONS KEYS SKEW SEED
       tidetable-peers stalls SECONDS
       tidetable-peers instructions build DIR
       tidetable-peers instructions hit|miss|hit_beside_erased DIR";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tidetable-peers: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &[&str]) -> anyhow::Result<()> {
    match args {
        ["data", dir, records, edition, forms] => {
            data::write(dir.as_ref(), records.parse()?, edition.parse()?, forms)
        }
        ["stalls", seconds] => stalls::run(seconds.parse()?),
        ["lookups", data, dataset, records] => {
            tidetable::answer(data.as_ref(), dataset, records.parse()?)
        }
        ["open-loop", address, before_digits, rate, connections, keys, active, seed] => {
            open_loop::run(&open_loop::Load {
                address: address.parse()?,
                before_digits: (*before_digits).to_owned(),
                rate: if *rate == "any" { None } else { Some(rate.parse()?) },
                connections: connections.parse()?,
                keys: keys.parse()?,
                active: active.parse()?,
                seed: seed.parse()?,
            })
        }
        ["instructions", "build", dir] => instructions::build(dir.as_ref()),
        ["instructions", kind, dir] => instructions::look_up(dir.as_ref(), kind),
        _ => bail!("{USAGE}"),
    }
}

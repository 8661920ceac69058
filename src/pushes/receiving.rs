//! How many bodies of pushes are received at the same time: each takes two threads and room on
//! the disk. Decided before the first byte of a body is read, and before its push has a number.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use tidetable_storage::{Catalog, Cause, Dataset, DatasetName, EvenPoisoned as _, State};

use crate::config::ServeConfig;
use crate::problem::{Answer, Fault, Problem};
use crate::shed::{Class, Shed};

/// What is being received.
#[derive(Clone, Debug)]
pub(crate) struct Receiving(Arc<Bodies>);

#[derive(Debug)]
struct Bodies {
    most: usize,
    most_of_one: usize,
    now: Mutex<Now>,
}

#[derive(Debug, Default)]
struct Now {
    all: usize,
    by_dataset: HashMap<DatasetName, usize>,
}

impl Receiving {
    pub(crate) fn new(config: &ServeConfig) -> Self {
        let (most, most_of_one) = (config.max_bodies.0, config.max_bodies_per_dataset.0);
        Self(Arc::new(Bodies { most, most_of_one, now: Mutex::default() }))
    }

    /// A place for one body of `dataset`, or why there is none.
    pub(crate) fn begin(&self, dataset: &DatasetName, shed: &Shed) -> Answer<Receipt> {
        let mut now = self.0.now.lock().even_poisoned();
        if now.all >= self.0.most {
            return Err(shed.refuse(Class::Body));
        }
        let of_it = now.by_dataset.entry(dataset.clone()).or_default();
        if *of_it >= self.0.most_of_one {
            let text = format!(
                "{of_it} bodies of pushes of {dataset} are received, which is the most of one dataset \
                 (max_bodies_per_dataset): send fewer at the same time"
            );
            return Err(Problem::new(Fault::TooManyPushes, text));
        }
        *of_it += 1;
        now.all += 1;
        Ok(Receipt { of: Arc::clone(&self.0), dataset: dataset.clone() })
    }
}

/// The place of one body, until it is dropped.
#[derive(Debug)]
pub(crate) struct Receipt {
    of: Arc<Bodies>,
    dataset: DatasetName,
}

impl Drop for Receipt {
    fn drop(&mut self) {
        let mut now = self.of.now.lock().even_poisoned();
        now.all -= 1;
        if let Some(of_it) = now.by_dataset.get_mut(&self.dataset) {
            *of_it -= 1;
            if *of_it == 0 {
                now.by_dataset.remove(&self.dataset);
            }
        }
    }
}

/// Refuses one more push while too many were begun and have not all their data: each keeps what
/// it has until it is committed or given up. One that was begun before with the same idempotency
/// key is none more.
pub(crate) fn room_for_one_more(
    catalog: &Catalog,
    dataset: &DatasetName,
    cause: &Cause,
    config: &ServeConfig,
) -> Answer<()> {
    let open = |of: &Dataset| of.versions.values().filter(|v| v.state == State::Receiving).count();
    let known = catalog.dataset(dataset).ok();
    let id = cause.idempotency.as_ref();
    if id.is_some_and(|id| known.is_some_and(|known| known.remembers(&id.key))) {
        return Ok(());
    }
    let (most, of_one) = (config.max_open_pushes.0, config.max_open_pushes_per_dataset.0);
    let refuse = |text: String| Err(Problem::new(Fault::TooManyPushes, text));
    if known.map_or(0, open) >= of_one {
        return refuse(format!(
            "{of_one} pushes of {dataset} were begun and have not all their data \
             (max_open_pushes_per_dataset): commit them, or delete their versions"
        ));
    }
    if catalog.datasets().map(|(_, of)| open(of)).sum::<usize>() >= most {
        return refuse(format!(
            "{most} pushes were begun and have not all their data (max_open_pushes): commit them, or \
             delete their versions"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_counted_in_all_and_by_dataset_and_given_back() {
        let config = ServeConfig {
            max_bodies: "3".parse().unwrap(),
            max_bodies_per_dataset: "2".parse().unwrap(),
            ..ServeConfig::defaults()
        };
        let (receiving, shed) = (Receiving::new(&config), Shed::default());
        let name = |text| DatasetName::parse(text).unwrap();
        let begin = |text| receiving.begin(&name(text), &shed);
        let first = begin("a").unwrap();
        let _second = begin("a").unwrap();
        let refused = begin("a").unwrap_err();
        assert_eq!((refused.status().as_u16(), refused.code()), (429, "too_many_pushes"));
        let _other = begin("b").unwrap();
        assert_eq!(begin("c").unwrap_err().code(), "overloaded");
        drop(first);
        let _again = begin("a").unwrap();
        assert_eq!(shed.each().map(|(_, count)| count).iter().sum::<u64>(), 1);
    }
}

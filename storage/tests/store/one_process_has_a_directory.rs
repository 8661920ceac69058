//! A second store on the same directory would remove what the first one is building.

use tidetable_storage::{Code, Store, StoreOptions};

use crate::support::Directory;

#[test]
fn a_second_one_is_refused_and_names_directory_and_holder() {
    let mut directory = Directory::new();
    let error = Store::open(directory.path(), StoreOptions::default()).err().unwrap();
    assert_eq!(error.code(), Code::DirectoryInUse);
    assert_eq!(error.path(), Some(directory.path()));
    assert!(error.detail().contains(&std::process::id().to_string()), "{error}");
    directory.close();
    Store::open(directory.path(), StoreOptions::default()).unwrap();
}

#[test]
fn closing_does_not_wait_for_a_reader() {
    use crate::support::{assert_reads, dataset, push_versions, records_of};
    let a = dataset("a");
    let mut directory = Directory::new();
    push_versions(directory.store(), &a, 1);
    let lease = directory.store().live().get(&a).unwrap().current().unwrap();
    directory.close();
    assert_reads(lease.view(), &records_of(1, 40));
    directory.open();
    assert_reads(lease.view(), &records_of(1, 40));
}

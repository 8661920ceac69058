//! The `tidetable` program built with `faults`: it dies at a named step, or has a bug, when it
//! is told to. For the checks beside this file alone.

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() {
    tidetable::cli::main()
}

//! The `tidetable` program: the server and the command line in one binary.

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() {
    tidetable::cli::main()
}

//! The cost of the steps of a request on one core: `cargo bench --bench micro`.
//!
//! Each figure is the time of one step. The column of allocations stays empty while nothing is
//! allocated. `benches/instructions` has figures that repeat exactly.

#![expect(clippy::unwrap_used, reason = "a bench ends by panicking")]

use divan::AllocProfiler;

mod codec;
mod decisions;
#[path = "../../tests/it/sample.rs"]
mod sample;
#[path = "../common/typical.rs"]
mod typical;

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
}

//! Measures the cost of the steps of a request on one core: `cargo bench --bench micro`.
//!
//! Each figure is the time of one step; the column of allocations stays empty while nothing is
//! allocated. For figures that repeat exactly, see `benches/instructions`.

#![expect(clippy::unwrap_used, reason = "a bench ends by panicking")]

use divan::AllocProfiler;

mod codec;
mod decisions;
#[path = "../common/typical.rs"]
mod typical;

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
}

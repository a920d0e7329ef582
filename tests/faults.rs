//! The lab of diagnosis: a table of faults and of healthy but unusual hosts, each played with a real nginx and judged by
//! `wspulse check`. The score is printed at the end.

mod support;

mod faults {
    pub mod backend;
    pub mod certs;
    pub mod judge;
    pub mod row;
    pub mod rows;
    pub mod runner;
    pub mod tidy;
    pub mod world;
}

use faults::runner;

#[test]
fn every_fault_is_named_first_and_no_healthy_host_is_accused() {
    runner::play_all();
}

/// Not a test of its own: the one above starts itself again for scenarios that need namespaces.
#[test]
#[ignore = "started by the other test, inside namespaces"]
fn one_apart() {
    runner::play_apart();
}

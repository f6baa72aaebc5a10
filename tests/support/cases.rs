//! Tests in the form of tables: each row is a process of its own, and all rows that fail are told by
//! their names.

use crate::child::fork_run;
use crate::shared;

/// A row.
pub struct Case {
    pub name: &'static str,
    pub body: fn(),
}

/// Runs them one after the other; fails if any did.
pub fn run(cases: &[Case]) {
    let mut failed = Vec::new();
    for case in cases {
        // Shown only if something is wrong, a hang included.
        eprintln!("case: {}", case.name);
        shared::prepare_failures();
        let status = fork_run(case.body).wait();
        if status.code() != Some(0) {
            eprintln!("case FAILED: {}: {status:?}", case.name);
            failed.push(case.name);
        }
    }
    assert!(failed.is_empty(), "cases that failed: {failed:#?}");
}

/// Defines one test of many rows: `cases!(name, { "what is true" => { body } .. })`. It runs natively,
/// under the shim, and under the shim with a pipe in its hands.
#[macro_export]
macro_rules! cases {
    ($name:ident, { $($rows:tt)* }) => {
        $crate::cases!(@ $name, $crate::world::ARMED, { $($rows)* });
    };
    (@ $name:ident, $worlds:expr, { $($case:literal => $body:block)* }) => {
        $crate::both_worlds!(@ $name, $worlds, 60, {
            $crate::cases::run(&[$($crate::cases::Case { name: $case, body: || $body }),*]);
        });
    };
}

/// The same, but not with a pipe: there ringer differs still.
#[macro_export]
macro_rules! unarmed_cases {
    ($name:ident, { $($rows:tt)* }) => {
        $crate::cases!(@ $name, $crate::world::BOTH, { $($rows)* });
    };
}

/// The same natively only: the oracle for what ringer does not do yet.
#[macro_export]
macro_rules! native_cases {
    ($name:ident, { $($rows:tt)* }) => {
        $crate::cases!(@ $name, &[$crate::world::World::Native], { $($rows)* });
    };
}

/// Runs parts of a program of tests/c, each as a test of its name: `parts! { program: part part .. }`;
/// those after `; unarmed:` not with a pipe, where ringer differs still.
#[macro_export]
macro_rules! parts {
    ($program:ident: $($part:ident)* $(; unarmed: $($unarmed:ident)*)?) => {
        mod $program {
            $($crate::parts!(@ $program, $part, $crate::world::ARMED);)*
            $($($crate::parts!(@ $program, $unarmed, $crate::world::BOTH);)*)?
        }
    };
    (@ $program:ident, $part:ident, $worlds:expr) => {
        $crate::both_worlds!(@ $part, $worlds, 60, {
            use $crate::cc;
            let program = cc::program(stringify!($program), cc::Linkage::Dynamic);
            cc::run(&program, &[stringify!($part)]).succeeds();
        });
    };
}

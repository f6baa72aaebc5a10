//! The project looked at from the outside: what libringer.so imports and exports, how its sources
//! are kept, and that rules, causes and deviations have their tests.

mod causes;
mod deviations;
mod rules;
mod sources;
mod symbols;
mod tests_by_name;

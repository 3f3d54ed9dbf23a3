//! Faults from outside: starts the platform as a child process, uses it as a client, checks what it promised.

#![forbid(unsafe_code)]

pub mod kill;
pub mod platform;
